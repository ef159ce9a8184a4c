#!/usr/bin/python3
"""run.py - run the benchmark: start each server, point the client at it, write down what it says.

    bench/run.py --build build-bench/bench --out build-bench     what `make bench` does
    bench/run.py --list                                          the rows and their servers
    bench/run.py --rows 'tcp-*' --servers 'outlet*,libuv'        some of them
    bench/run.py --quick                                         a first impression
    bench/run.py --smoke                                         does everything echo?  No figures

A round starts every server of a row anew, the next round does it again in another order.  Where it
can be, a run is cut into slices which alternate between the servers, and its figures are their
medians: whatever the machine does besides, mostly for a second or so, it does to all.  Server and
client have a CPU each.  While a goal is nearer to its limit, on either side, than the figures tell,
or a peer seems to be ahead, those whom it is about go on for more rounds.

Every slice has a new client.  Each process is given so long and no longer.  The exit code is 1 when
a server answered wrongly or not at all, and with --strict also when a goal is not met.

SPDX-License-Identifier: MIT
"""
import argparse
import contextlib
import fnmatch
import json
import os
import pathlib
import platform
import re
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import picture
import results
import rows

HERE = pathlib.Path(__file__).resolve().parent
SPARE_FDS = 100  # of a process with many connections, for other things
ROUNDS = 5
ROUNDS_MOST = 40  # of those whom an undecided goal is about
IDLE_ROUNDS = 2  # memory hardly differs from round to round
PATIENCE = 90  # seconds that a client may take beyond what it was told; it has 60 itself
WARM_MS = 300
WARM_SLICE_MS = 30  # of a server that was warm a moment ago
SKIP = 77


class Skip(Exception):
    """This server cannot run here, which is nobody's fault."""


class Wrong(Exception):
    """A server did not do what it should."""


def say(words, end="\n"):
    """To the terminal, at once."""
    print(words, end=end, flush=True)


class Setting:
    """What is the same for every run of this benchmark."""

    def __init__(self, options):
        cpus = sorted(os.sched_getaffinity(0))
        self.options = options
        self.build = pathlib.Path(options.build)
        self.server_cpus = {cpus[0]}
        self.client_cpus = {cpus[1 % len(cpus)]}
        self.is_pinned = not options.smoke
        self.seconds = 0.05 if options.smoke else options.seconds
        self.warm_ms = 0 if options.smoke else WARM_MS
        self.scratch = tempfile.mkdtemp(prefix="outlet-bench-")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.fds = hard if hard != resource.RLIM_INFINITY else 1 << 20

    def connections(self, row):
        """As many as the row says, if this machine lets one process have them."""
        most = 50 if self.options.smoke else self.fds - SPARE_FDS
        return min(row.connections, most)

    def slices(self, row):
        """How often the servers of a row alternate in one round."""
        return min(row.slices, 2) if self.options.smoke else row.slices

    def least(self, row):
        """Messages that a run must have seen.  A smoke test looks at some of every connection,
        however slow the machine is."""
        return 2 * self.connections(row) * row.depth if self.options.smoke else 1

    def pin(self, row, cpus):
        """What a child does before it becomes the program."""
        if row.spread and cpus == self.server_cpus:
            cpus = (os.sched_getaffinity(0) - self.client_cpus) or cpus
        if self.is_pinned:
            return lambda: os.sched_setaffinity(0, cpus)
        return None


def start(argv, env, before):
    """A program of the benchmark, in a group of its own."""
    return subprocess.Popen(argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=before, start_new_session=True)


def drain(stream):
    """Read to the end."""
    with stream:
        while os.read(stream.fileno(), 65536):
            pass


class Running:
    """A server that is up, as a context."""

    def __init__(self, setting, row, server):
        self.path = os.path.join(setting.scratch, server.name)
        self.server = server
        self.ready = server.ready
        self.behind = None
        words = {"port": "0", "path": self.path, "size": row.size}
        program = setting.build / server.argv[0]
        if not program.exists() and server.ready:
            program = shutil.which(server.argv[0]) or program
        if not os.path.exists(program):
            raise Skip(f"not built, {server.package} is missing")
        self.address = f"unix:{self.path}" if "{path}" in " ".join(server.argv) else ""
        if server.behind:
            self.behind = start([setting.build / server.behind[0],
                                 *(a.format(**words) for a in server.behind[1:])], {},
                                setting.pin(row, setting.client_cpus))
            words["behind"] = self.port(self.behind, "")
        self.process = start([program, *(a.format(**words) for a in server.argv[1:])], server.env,
                             setting.pin(row, setting.server_cpus))

    def __enter__(self):
        try:
            port = self.port(self.process, self.ready)
        except BaseException:
            self.__exit__()
            raise
        self.address = self.address or f"127.0.0.1:{port}"
        return self

    @staticmethod
    def port(process, ready):
        """What it says when it can be connected to."""
        stream = process.stderr if ready else process.stdout
        wanted = re.compile(ready or r"^ready (\S+)$", re.M)
        end = time.monotonic() + PATIENCE
        said = ""
        while select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
            got = os.read(stream.fileno(), 4096).decode(errors="replace")
            said += got
            found = wanted.search(said)
            if found:
                # What it says later is not looked at, and must not make it wait.
                threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
                return found.group(1)
            if not got:
                break
        process.kill()
        out, errors = process.communicate()
        if process.returncode == SKIP:
            raise Skip((said + errors).strip())
        raise Wrong(f"the server did not begin: {(said + out + errors).strip()}")

    def __exit__(self, *_):
        for process in (self.process, self.behind):
            if process:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with the processes that it made
                process.wait()
                process.stdout.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def memory(self):
        """Bytes of its memory that are really there."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in rollup.splitlines()
                    if line.startswith("Rss:"))


def load_argv(setting, row, running, seconds, warm_ms):
    """The command line of outlet load."""
    length = ["--count", setting.least(row)] if setting.options.smoke else \
        ["--time", f"{seconds * 1000:.0f}ms"]
    return [str(a) for a in ("--json", "load", f"tcp://{running.address}", "-c",
                             setting.connections(row), "-d", row.depth, "-s", row.size,
                             "--warm-up", f"{warm_ms}ms" if warm_ms else 0, *length)]


def client_argv(setting, row, running, seconds, warm_ms):
    """The command line of the client."""
    server = running.server
    program = setting.build / server.client_program
    if not program.exists():
        raise Skip(f"not built, {server.package} is missing")
    if program.name == "outlet":
        return [str(program), *load_argv(setting, row, running, seconds, warm_ms)]
    return [str(setting.build / server.client_program), row.mode, running.address,
            str(setting.connections(row)), str(row.depth), str(row.size), str(seconds),
            str(running.process.pid), f"warm={warm_ms}", f"least={setting.least(row)}",
            *row.client, *server.client]


def measure(setting, row, running, number):
    """One slice of a run: a sample."""
    seconds = setting.seconds / setting.slices(row)
    warm_ms = min(setting.warm_ms, WARM_SLICE_MS) if number else setting.warm_ms
    argv = client_argv(setting, row, running, seconds, warm_ms)
    pin = setting.pin(row, setting.client_cpus)
    if row.metric == "memory":
        return measure_memory(running, argv, pin)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, preexec_fn=pin,
                              env={**os.environ, **running.server.env}, timeout=seconds + PATIENCE)
    except subprocess.TimeoutExpired:
        raise Wrong("the client did not end") from None
    if done.returncode:
        raise Wrong((done.stderr.strip() + " " + done.stdout.strip()).strip()
                    or f"the client ended with {done.returncode}")
    return sample(row, json.loads(done.stdout))


def together(slices):
    """The sample of a run from those of its slices: medians, but every loss counts."""
    return {key: (sum if key == "lost" else statistics.median)([s[key] for s in slices])
            for key in slices[0]}


def sample(row, said):
    """What a client said, per message.  outlet load knows its own CPU time and no server's."""
    own = said.get("client_cpu_ns", said.get("cpu_ns", 0)) / said["messages"]
    if row.of == "client":
        return {"rate": said["messages"] / said["seconds"], "cpu": own, "client_cpu": own,
                "lost": said["lost"]}
    return {"rate": said["messages"] / said["seconds"],
            "cpu": said["server_cpu_ns"] / said["messages"], "client_cpu": own,
            "lost": said["lost"]}


def measure_memory(running, argv, pin):
    """How much the server grows from a tenth of the connections to all of them, for each."""
    seen = []
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, preexec_fn=pin) as client:
        try:
            while len(seen) < 2:
                ready, _, _ = select.select([client.stdout], [], [], PATIENCE)
                words = client.stdout.readline() if ready else ""
                if not words:
                    client.kill()
                    raise Wrong(client.stderr.read().strip() or "the client did not end")
                said = json.loads(words)
                if said["wrong"]:
                    raise Wrong("wrong bytes")
                seen.append((said["open"], running.memory()))
                client.stdin.write("\n")
                client.stdin.flush()
        finally:
            client.kill()
    (few, before), (many, after) = seen
    return {"memory": (after - before) / max(many - few, 1)}


def selected(names, patterns):
    """Those of the names that some pattern asks for; no pattern asks for all."""
    wanted = [p for p in patterns.split(",") if p]
    return [n for n in names if not wanted or any(fnmatch.fnmatch(n, p) for p in wanted)]


class Book:
    """A row while it is being measured."""

    def __init__(self, setting, row):
        self.row = row
        chosen = selected([s.name for s in row.servers], setting.options.servers)
        # The first one is what the others are compared with.
        self.servers = [s for s in row.servers if s.name in chosen or s is row.servers[0]]
        self.out = {s.name: {"name": s.name, "family": s.family, "samples": [], "errors": []}
                    for s in self.servers}
        self.skipped = []
        self.notes = []
        if row.spread and len(os.sched_getaffinity(0)) < 3:
            self.notes.append("all reactors share one CPU: the other one is the client's")
        if setting.connections(row) < row.connections and not setting.options.smoke:
            self.notes.append(f"{setting.connections(row)} connections: more descriptors than "
                              "that a process may not have here")

    def round(self, setting, number, names=None):
        """Each server once; with names, only these."""
        turn = number % max(len(self.servers), 1)
        chosen = []
        for server in self.servers[turn:] + self.servers[:turn]:
            if names and server.name not in names:
                self.out[server.name]["samples"].append(None)
            else:
                chosen.append(server)
        if setting.slices(self.row) > 1:
            self.alternate(setting, chosen)
        else:
            for server in chosen:
                self.alternate(setting, [server])

    def alternate(self, setting, servers):
        """Slice by slice, all of these servers up; each gets one sample."""
        slices = {server.name: [] for server in servers}
        with contextlib.ExitStack() as stack:
            up = list(filter(None, (self.started(setting, s, stack) for s in servers)))
            for number in range(setting.slices(self.row)):
                for running in up[:]:
                    name = running.server.name
                    try:
                        slices[name].append(measure(setting, self.row, running, number))
                    except Skip as why:
                        up.remove(running)
                        self.skip(running.server, why)
                    except Wrong as why:
                        up.remove(running)
                        self.out[name]["errors"].append(str(why))
                        slices[name].clear()
        for name, parts in slices.items():
            self.out[name]["samples"].append(together(parts) if parts else None)

    def started(self, setting, server, stack):
        """The server as it runs; None when it does not."""
        try:
            return stack.enter_context(Running(setting, self.row, server))
        except Skip as why:
            self.skip(server, why)
        except Wrong as why:
            self.out[server.name]["errors"].append(str(why))
        return None

    def skip(self, server, why):
        """It cannot be measured here, nor in the rounds that follow."""
        self.skipped.append((server.name, str(why)))
        self.servers = [s for s in self.servers if s is not server]

    def undecided(self):
        """The servers of whom more rounds would tell more."""
        row = self.summary()
        return results.undecided([g for g in rows.GOALS if g.row == row["name"]], row)

    def summary(self):
        """What goes into the results."""
        gone = {name for name, _ in self.skipped}
        row = {"name": self.row.name, "title": self.row.title, "metric": self.row.metric,
               "of": self.row.of,
               "connections": self.row.connections, "depth": self.row.depth,
               "size": self.row.size, "base": self.row.servers[0].name,
               "servers": [o for n, o in self.out.items() if n not in gone],
               "skipped": self.skipped, "notes": self.notes}
        results.summarize(row)
        return row


# ---- where and what ----------------------------------------------------------------------------


def read(path, otherwise=""):
    """A small file of the system."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return otherwise


def first_line(*argv):
    """The first line that a command prints, or nothing."""
    if not shutil.which(argv[0]):
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=HERE)
    return done.stdout.split("\n")[0].strip() if done.returncode == 0 else ""


def machine(setting):
    """What one must know to judge the figures."""
    cpu = next((line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines()
                if line.startswith("model name")), platform.machine())
    where = min(setting.server_cpus)
    topology = f"/sys/devices/system/cpu/cpu{where}"
    packages = {}
    for name in ("libuv1-dev", "libevent-dev", "libev-dev", "libasio-dev", "liburing-dev"):
        packages[name] = first_line("dpkg-query", "-W", "-f", "${Version}", name)
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(),
            "memory_gib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
            "virtual": " hypervisor" in read("/proc/cpuinfo"),
            "server_cpus": sorted(setting.server_cpus), "client_cpus": sorted(setting.client_cpus),
            "siblings": read(topology + "/topology/thread_siblings_list"),
            "governor": read(topology + "/cpufreq/scaling_governor"),
            "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
            "load": os.getloadavg()[0], "descriptors": setting.fds,
            "cc": first_line("cc", "--version"), "packages": packages}


def notes_on(setting, found):
    """What spoils figures."""
    if setting.server_cpus == setting.client_cpus:
        yield "only one CPU: server and client share it"
    if found["load"] > 0.5:
        yield f"the machine is busy with other work (load {found['load']:.1f}): do not trust this"
    if len(found["siblings"].replace("-", ",").split(",")) > 1 and \
            str(min(setting.client_cpus)) in found["siblings"].replace("-", ",").split(","):
        yield "server and client are threads of one core: they slow each other"


def commit():
    """The commit that was measured; + means that there was more."""
    name = first_line("git", "rev-parse", "--short=12", "HEAD")
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no")
    return (name or "unknown") + ("+" if changed else "")


# ---- the whole ---------------------------------------------------------------------------------


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the benchmark.")
    parser.add_argument("--build", default="build-bench/bench", help="where the programs are")
    parser.add_argument("--out", help="write results.json, .svg and .txt there")
    parser.add_argument("--rows", default="", help="names, with * and ?, separated by commas")
    parser.add_argument("--servers", default="", help="the same for servers")
    parser.add_argument("--rounds", type=int,
                        help=f"so many; else {ROUNDS}, up to {ROUNDS_MOST} to decide a goal")
    parser.add_argument("--seconds", type=float, help="of one measured run; 0.6")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.3 s")
    parser.add_argument("--smoke", action="store_true", help="only whether everything echoes")
    parser.add_argument("--strict", action="store_true", help="a goal that is not met fails")
    parser.add_argument("--list", action="store_true", help="the rows, and end")
    options = parser.parse_args()
    if options.rounds is None and (options.smoke or options.quick):
        options.rounds = 1 if options.smoke else 2
    options.rounds_most = ROUNDS_MOST if options.rounds is None else options.rounds
    if options.rounds is None:
        options.rounds = ROUNDS
    if options.seconds is None:
        options.seconds = 0.3 if options.quick else 0.6
    if options.rounds_most < 1 or options.seconds <= 0:
        parser.error("nothing to measure")
    return options


def rounds_of(setting, row):
    """How often a row is measured at least."""
    return min(setting.options.rounds, IDLE_ROUNDS) if row.metric == "memory" \
        else setting.options.rounds


def measure_all(setting, chosen):
    """Every row; its table appears as soon as it is there."""
    done = []
    for row in chosen:
        book = Book(setting, row)
        names = set()
        for number in range(setting.options.rounds_most):
            if number >= rounds_of(setting, row):
                names = book.undecided()
                if not names:
                    break
            if sys.stderr.isatty():
                print(f"\r{row.name}: round {number + 1} ", end="", file=sys.stderr, flush=True)
            book.round(setting, number, names)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        done.append(book.summary())
        if setting.options.smoke:
            for s in done[-1]["servers"]:
                say(f"{row.name} {s['name']}: {'; '.join(s['errors']) or 'ok'}")
            for name, why in book.skipped:
                say(f"{row.name} {name}: skipped, {why}")
        else:
            say("\n".join(results.row_table(done[-1])) + "\n")
    return done


def write(result, out):
    """The three files."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("results.json", json.dumps(result, indent=1) + "\n"),
                          ("results.svg", picture.draw(result)),
                          ("results.txt", results.table(result))):
        (folder / name).write_text(content, encoding="utf-8")
    say(f"written: {folder}/results.json, results.svg, results.txt")


def run(setting):
    """Answers the exit code."""
    options = setting.options
    names = selected([r.name for r in rows.ROWS], options.rows)
    chosen = [r for r in rows.ROWS if r.name in names]
    if not chosen:
        sys.exit(f"no row is called {options.rows}: see --list")
    result = {"v": 1, "commit": commit(), "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
              "rounds": options.rounds, "seconds": setting.seconds, "machine": machine(setting)}
    result["notes"] = list(notes_on(setting, result["machine"]))
    if not options.smoke:
        runs = sum(len(r.servers) * rounds_of(setting, r) for r in chosen)
        minutes = runs * (setting.seconds + WARM_MS / 1000 + 0.4) / 60
        say("\n".join(results.machine_table(result)))
        say(f"{len(chosen)} rows, {runs} runs in about {minutes:.0f} minutes, more where the "
            "figures do not tell\n")

    result["rows"] = measure_all(setting, chosen)
    result["goals"] = [results.judge(g, result["rows"]) for g in rows.GOALS if g.row in names]
    result["peers_ahead"] = list(results.peers_ahead(result["rows"]))
    failed = any(s["errors"] for r in result["rows"] for s in r["servers"])
    if options.smoke:
        measured = any(s["samples"] for r in result["rows"] for s in r["servers"])
        return 1 if failed else 0 if measured else SKIP
    say("\n".join(results.goal_table(result)))
    if options.out:
        write(result, options.out)
    if options.strict and (result["peers_ahead"] or
                           any(g["holds"] is False for g in result["goals"])):
        return 1
    return 1 if failed else 0


def main():
    """Everything that was started ends, also on Ctrl-C."""
    options = parse()
    if options.list:
        for row in rows.ROWS:
            say(f"{row.name:<12} {row.title}\n{'':<12} {' '.join(s.name for s in row.servers)}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    setting = Setting(options)
    if not (setting.build / "client").exists():
        sys.exit(f"{setting.build}/client is missing: make bench builds it")
    try:
        return run(setting)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(setting.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
