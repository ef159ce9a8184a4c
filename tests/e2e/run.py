#!/usr/bin/python3
"""run.py - end-to-end tests of the outlet command, as data: one case is one file in cases/.

    run.py OUTLET [--driver epoll|uring] [CASE...]

A case is a list of steps (TOML).  A step starts a program and, unless it says `background`, waits
for its end and compares.  What a step may say:

    run          the command line; "outlet" is the command under test, "peer" is peer.py
    background   a name: do not wait; later steps say {name.url} and the like
    ready        background only: "listening" (the JSON event, gives {name.url} {name.port}) or a
                 regular expression for standard error (its group gives {name.port})
    port_of      background only: "tcp" or "udp": {name.port} is what the program has open
    stdin        text; stdin_hex; stdin_data = "name" (made by [data]); stdin_file = path;
                 "open" leaves it open
    stdout       the exact text; stdout_hex; stdout_data = "name"; stdout_match = [patterns]
    stdout_json  objects, each of which must be part of some line, in this order
    stdout_not   patterns that must not match;  stderr_not
    stdout_to    "closed" (nobody reads), "none" (no such descriptor) or a path
    file         a path that must hold `holds` (or holds_hex, holds_data) in the end
    stderr       the exact text; stderr_match = [patterns]
    exit         the exit code, 0 unless said; a list when several are right
    tty          standard input and output are a terminal, `columns` wide (80 unless said)
    env          more environment
    await        a name: wait until its standard output (stdout, stdout_match, stdout_json) or
                 standard error (stderr_match) has that
    type         a name: write `text` to its standard input;  close = name: end its standard input
    signal       a name, with `number` ("TERM");  wait = name: its end, compared as above
    exists       a path that must be there, or must not: answer = false

`each` at the top runs the case once per row, {key} being replaced (where a row has a list, by all
its items); `needs` names programs without which the case is left out.  {tmp} is a fresh folder,
{name} a unique word for abstract addresses.  With OUTLET_TEST_THREADS_ONLY in the environment only
cases run whose programs make threads: for the checker of races, which has nothing to see in others.
With OUTLET_TEST_SHARED the two drivers share the cases between them, each runs with one.
Nothing sleeps and no port is fixed.

SPDX-License-Identifier: MIT
"""
import argparse
import concurrent.futures
import errno
import itertools
import json
import os
import pathlib
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tomllib

DRIVERS = ("epoll", "uring")
# What makes the command start a thread: reactors of load and demo, what writes a recording, what
# edits a line.
MAKES_THREADS = re.compile(r'--threads|--record|"demo"|^tty', re.M)
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import children
import home

PATIENCE = 60  # seconds that any one wait may take: reached only by failures
SKIPPED = 77


class Failure(Exception):
    """A step that did not do what its case says."""


class Process:
    """A program that runs, with what it has written so far."""

    def __init__(self, argv, step, env, data):
        self.argv = argv
        self.text = {"stdout": bytearray(), "stderr": bytearray()}
        self.changed = threading.Condition()
        self.open = 0
        self.typed = None
        self.readers = []
        files = self.files(step)
        try:
            self.child = subprocess.Popen(
                argv, stdin=files["stdin"], stdout=files["stdout"], stderr=subprocess.PIPE, env=env,
                start_new_session=True, preexec_fn=files["before"])
        finally:
            for fd in files["ours"]:
                os.close(fd)
        children.running.add(self.child)
        self.read("stderr", self.child.stderr.fileno())
        if self.typed is not None:
            self.read("stdout", self.typed)
        else:
            if self.child.stdout:
                self.read("stdout", self.child.stdout.fileno())
            self.feed(step, data)

    def files(self, step):
        out = step.get("stdout_to")
        files = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "ours": [], "before": None}
        if step.get("tty"):
            self.typed, slave = pty.openpty()
            termios.tcsetwinsize(slave, (24, step.get("columns", 80)))
            files.update(stdin=slave, stdout=slave, ours=[slave])
        elif out == "closed":
            reader, writer = os.pipe()
            os.close(reader)
            files.update(stdout=writer, ours=[writer])
        elif out == "none":
            files.update(stdout=None, before=lambda: os.close(1))
        elif out:
            fd = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            files.update(stdout=fd, ours=[fd])
        if "stdin_file" in step:
            fd = os.open(step["stdin_file"], os.O_RDONLY)
            files["stdin"] = fd
            files["ours"] = files["ours"] + [fd]
        return files

    def read(self, name, fd):
        self.open += 1
        thread = threading.Thread(target=self.reader, args=(name, fd), daemon=True)
        self.readers.append(thread)
        thread.start()

    def reader(self, name, fd):
        while True:
            try:
                got = os.read(fd, 1 << 16)
            except OSError as error:  # EIO: the terminal's other end is closed
                if error.errno != errno.EIO:
                    raise
                got = b""
            with self.changed:
                self.text[name] += got
                if not got:
                    self.open -= 1
                self.changed.notify_all()
            if not got:
                return

    def feed(self, step, data):
        if self.child.stdin is None or step.get("stdin") == "open":
            return
        given = bytes_of(step, "stdin", data) or b""

        def write():
            try:
                self.child.stdin.write(given)
                self.child.stdin.close()
            except BrokenPipeError:
                pass

        threading.Thread(target=write, daemon=True).start()

    def type(self, given):
        if self.typed is not None:
            os.write(self.typed, given)
        else:
            self.child.stdin.write(given)
            self.child.stdin.flush()

    def until(self, test, what):
        """Wait until test() answers something, which is answered; the end of all output ends it."""
        end = time.monotonic() + PATIENCE
        with self.changed:
            while True:
                answer = test()
                if answer:
                    return answer
                if self.open == 0 or not self.changed.wait(end - time.monotonic()):
                    raise Failure(f"{what}\n{self.said()}")

    def said(self):
        shown = [f"  ran: {' '.join(self.argv)}", f"  exit: {self.child.poll()}"]
        for name, text in self.text.items():
            shown.append(f"  {name}: {bytes(text[:2000])!r}{'...' if len(text) > 2000 else ''}")
        return "\n".join(shown)

    def wait(self):
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"it does not end\n{self.said()}") from None
        for thread in self.readers:
            thread.join(PATIENCE)
        return code

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        children.running.discard(self.child)
        for reader in self.readers:  # one that still reads would get what the number is given to
            reader.join(PATIENCE)
        if self.typed is not None:
            os.close(self.typed)


def bytes_of(step, name, data):
    """The bytes that `name`, `name`_hex or `name`_data stand for; None: nothing is said."""
    if f"{name}_hex" in step:
        return bytes.fromhex(step[f"{name}_hex"])
    if f"{name}_data" in step:
        return data[step[f"{name}_data"]]
    if name in step:
        return step[name].encode()
    return None


def lines_of(text):
    """The JSON lines among what was written so far."""
    for line in bytes(text).split(b"\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def is_part(want, got):
    """Every key of `want` is in `got` with that value; "*" is any value, "/x/" a pattern."""
    for key, value in want.items():
        if key not in got:
            return False
        if value == "*":
            continue
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == "/":
            if not re.search(value[1:-1], str(got[key])):
                return False
        elif got[key] != value or isinstance(got[key], bool) != isinstance(value, bool):
            return False
    return True


def json_missing(want, text):
    """The first wanted object that is not there, in order; None: all are."""
    lines = iter(list(lines_of(text)))
    for obj in want:
        if not any(is_part(obj, line) for line in lines):
            return obj
    return None


def replaced(value, words):
    """`value` with {word} replaced, in all strings inside."""
    if isinstance(value, str):
        return re.sub(r"\{([a-z_]+(?:\.[a-z_]+)?)\}",
                      lambda m: str(words.get(m.group(1), m.group(0))), value)
    if isinstance(value, list):
        whole = []
        for v in value:
            word = re.fullmatch(r"\{([a-z_]+)\}", v) if isinstance(v, str) else None
            if word and isinstance(words.get(word.group(1)), list):
                whole += replaced(words[word.group(1)], words)  # a row's list: its items
            else:
                whole.append(replaced(v, words))
        return whole
    if isinstance(value, dict):
        return {k: replaced(v, words) for k, v in value.items()}
    return value


def port_of(pid, kind):
    """The port that a process listens at (tcp) or is bound to (udp), from /proc."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue
    state = {"tcp": "0A", "udp": "07"}[kind]
    for table in (kind, kind + "6"):
        rows = pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        for cells in (row.split() for row in rows):
            if cells[3] == state and f"socket:[{cells[9]}]" in inodes:
                return int(cells[1].rsplit(":", 1)[1], 16)
    return None


class Case:
    """One file, and one row of its `each`."""

    def __init__(self, path, row, outlet, driver):
        self.path = path
        self.row = row
        self.outlet = outlet
        self.driver = driver
        self.running = {}
        self.data = {}

    def name(self):
        row = " ".join(str(v) for v in self.row.values())
        return f"{self.path.stem}{' ' + row if row else ''}"

    def run(self):
        """None, or what went wrong."""
        spec = tomllib.loads(self.path.read_text(encoding="utf-8"))
        for program in spec.get("needs", []):
            if not shutil.which(program):
                return None
        for name, size in spec.get("data", {}).items():
            self.data[name] = random.Random(name).randbytes(size)
        tmp = tempfile.mkdtemp(prefix="outlet-e2e-")
        words = {**self.row, "tmp": tmp, "name": f"outlet-e2e-{os.path.basename(tmp)}",
                 "driver": self.driver, "outlet": self.outlet}
        at = 0
        try:
            for name in spec.get("data", {}):
                pathlib.Path(tmp, name).write_bytes(self.data[name])
            for at, step in enumerate(spec["step"], 1):
                # Twice: what a row says may itself contain words.
                self.step(replaced(replaced(step, words), words), words)
        except Failure as failure:
            return f"step {at}: {failure}"
        finally:
            for process in self.running.values():
                process.end()
            shutil.rmtree(tmp, ignore_errors=True)
        return None

    def step(self, step, words):
        if "run" in step:
            self.start(step, words)
        elif "await" in step:
            self.await_output(self.running[step["await"]], step)
        elif "type" in step:
            self.running[step["type"]].type(bytes_of(step, "text", self.data))
        elif "close" in step:
            self.running[step["close"]].child.stdin.close()
        elif "signal" in step:
            number = getattr(signal, "SIG" + step.get("number", "TERM"))
            self.running[step["signal"]].child.send_signal(number)
        elif "wait" in step:
            self.compare(self.running[step["wait"]], step)
        elif "exists" in step:
            if os.path.exists(step["exists"]) != step.get("answer", True):
                raise Failure(f"{step['exists']}: exists is {not step.get('answer', True)}")
        else:
            raise Failure(f"a step that says nothing: {step}")

    def start(self, step, words):
        argv = list(step["run"])
        if argv[0] == "outlet":
            argv[0] = self.outlet
        elif argv[0] == "peer":
            argv[:1] = [sys.executable, str(HERE / "peer.py")]
        env = {k: v for k, v in os.environ.items()
               if k not in ("LANG", "LC_ALL", "LC_MESSAGES", "OUTLET_LANG")}
        # Colours have tests of their own (tests/tool/terminal_test.py); here words are compared.
        env.update({"OUTLET_DRIVER": self.driver, "TERM": "xterm", "NO_COLOR": "1",
                    "HOME": words["tmp"],
                    **step.get("env", {})})
        process = Process(argv, step, env, self.data)
        name = step.get("background")
        self.running[name or f"step {len(self.running)}"] = process
        if name is None:
            self.compare(process, step)
            return
        if "ready" in step:
            self.get_ready(process, step, name, words)
        if "port_of" in step:
            words[f"{name}.port"] = port_of(process.child.pid, step["port_of"])

    def get_ready(self, process, step, name, words):
        def listening():
            return next((line for line in lines_of(process.text["stdout"])
                         if line.get("event") == "listening"), None)

        if step["ready"] == "listening":
            event = process.until(listening, "it does not listen")
            words[f"{name}.url"] = event["url"].split("#")[0].split("?")[0]
            port = re.search(r":(\d+)$", words[f"{name}.url"])
            words[f"{name}.port"] = port.group(1) if port else ""
            return
        found = process.until(
            lambda: re.search(step["ready"], process.text["stderr"].decode(errors="replace")),
            f"it does not say {step['ready']}")
        if found.groups():
            words[f"{name}.port"] = found.group(1)

    def await_output(self, process, step):
        def there():
            for name in ("stdout", "stderr"):
                text = process.text[name].decode(errors="replace")
                if not all(re.search(p, text, re.S) for p in step.get(f"{name}_match", [])):
                    return False
            want = bytes_of(step, "stdout", self.data)
            if want is not None and bytes(process.text["stdout"]) != want:
                return False
            return json_missing(step.get("stdout_json", []), process.text["stdout"]) is None

        process.until(there, f"it does not come to {step}")

    def compare(self, process, step):
        code = process.wait()
        problem = None
        wanted = step.get("exit", 0)
        if code not in (wanted if isinstance(wanted, list) else [wanted]):
            problem = f"exit is {code}, not {wanted}"
        for name in ("stdout", "stderr"):
            got = bytes(process.text[name])
            want = bytes_of(step, name, self.data)
            if want is not None and got != want:
                problem = problem or f"{name} is {len(got)} other bytes, not {want[:300]!r}"
            text = got.decode(errors="replace")
            for pattern in step.get(f"{name}_match", []):
                if not re.search(pattern, text, re.S):
                    problem = problem or f"{name} has no {pattern!r}"
            for pattern in step.get(f"{name}_not", []):
                if re.search(pattern, text, re.S):
                    problem = problem or f"{name} has {pattern!r}"
        missing = json_missing(step.get("stdout_json", []), process.text["stdout"])
        if missing is not None:
            problem = problem or f"no line, in this order, has {missing}"
        if "file" in step:
            got = pathlib.Path(step["file"]).read_bytes()
            if got != bytes_of(step, "holds", self.data):
                problem = problem or f"{step['file']} holds {len(got)} other bytes"
        if problem:
            raise Failure(f"{problem}\n{process.said()}")


def cases_of(paths, outlet, driver):
    threads_only = "OUTLET_TEST_THREADS_ONLY" in os.environ
    shared = "OUTLET_TEST_SHARED" in os.environ and all(works(outlet, d) for d in DRIVERS)
    turn = itertools.cycle(DRIVERS)
    for path in paths:
        text = path.read_text(encoding="utf-8")
        spec = tomllib.loads(text)
        if threads_only and not MAKES_THREADS.search(text):
            continue
        drivers = spec.get("drivers", DRIVERS)
        for row in spec.get("each", [{}]):
            its = next(turn) if shared and len(drivers) > 1 else driver
            if driver == its and driver in drivers:
                yield Case(path, row, outlet, driver)


def works(outlet, driver):
    """Does this driver work on this machine?  A fallback to another one shows in the event."""
    done = subprocess.run([outlet, "--json", "listen", "tcp://127.0.0.1:0", "--time", "1ms"],
                          env={**os.environ, "OUTLET_DRIVER": driver}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    return any(line.get("driver") == driver for line in lines_of(done.stdout))


def main():
    parser = argparse.ArgumentParser(description="end-to-end tests of the outlet command")
    parser.add_argument("outlet")
    parser.add_argument("--driver", default="epoll", choices=DRIVERS)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("cases", nargs="*")
    args = parser.parse_intermixed_args()
    outlet = os.path.abspath(args.outlet)
    paths = sorted((HERE / "cases").glob("*.toml"))
    if args.cases:
        unknown = set(args.cases) - {p.stem for p in paths}
        if unknown:
            parser.error(f"no such case: {' '.join(sorted(unknown))}")
        paths = [p for p in paths if p.stem in args.cases]
    if args.driver != "epoll" and not works(outlet, args.driver):
        print(f"{args.driver} does not work here")
        return SKIPPED
    cases = list(cases_of(paths, outlet, args.driver))
    failed = 0
    children.end_with_us()
    home.use_own()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for case, problem in zip(cases, pool.map(Case.run, cases)):
            if problem:
                failed += 1
                print(f"not ok  {case.name()}: {problem}\n"
                      f"  again: tests/e2e/run.py {args.outlet} --driver {args.driver} "
                      f"{case.path.stem}")
    print(f"{len(cases) - failed} of {len(cases)} cases ok, {args.driver}")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
