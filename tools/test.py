#!/usr/bin/python3
"""test.py - build and run the tests under every configuration, and add up what came out.

    tools/test.py quick     what a change must pass: plain, address and undefined, thread, fuzzing
    tools/test.py all       the same under clang and valgrind, long fuzzing, clang-tidy, coverage
    tools/test.py fuzz      the fuzz targets only
    tools/test.py NAME...   some configurations by name

Each configuration has a build directory of its own under build-test/, so a second run builds only
what changed.  The last line is always "N passed, M failed" with ", K skipped" when some were.

FUZZ_SECONDS is how long each fuzz target searches.

SPDX-License-Identifier: MIT
"""
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build-test"
BAD = {"FAIL", "TIMEOUT", "ERROR", "INTERRUPT", "UNEXPECTEDPASS"}

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
ASAN = ("-Db_sanitize=address,undefined", "-Db_lundef=false")
TSAN = ("-Db_sanitize=thread", "-Db_lundef=false")
FUZZ = (*ASAN, "-Dfuzz=true", "-Dtests=false", "-Dexamples=false")
CODE = ("unit", "sim", "e2e")  # suites that run our code; tidy and install need one look only


@dataclasses.dataclass(frozen=True)
class Config:
    """One way to build, and which suites to run in it.  No suites: all."""
    name: str
    cc: str
    options: tuple = ()
    suites: tuple = ()
    wrapper: tuple = ()  # goes before each test; {build} is the build directory
    timeout: int = 1  # multiplies each test's limit
    builds_in: str = ""  # another configuration's directory
    threads_only: bool = False  # only what makes threads: see with_threads()
    shares_e2e: bool = False  # each case with one of the two drivers, not with both
    leaves_out: tuple = ()  # tests that cannot pass in it


CONFIGS = {c.name: c for c in (
    Config("plain", "gcc", ("-Dbench=true",)),
    Config("asan", "gcc", ASAN, CODE, timeout=3, shares_e2e=True),
    Config("tsan", "gcc", TSAN, ("unit", "threads"), threads_only=True, timeout=5),
    Config("fuzz", "clang", FUZZ, ("fuzz",)),
    Config("clang", "clang", (), CODE),
    Config("clang-asan", "clang", ASAN, CODE, timeout=3),
    # valgrind misreads the buffers that io_uring fills.
    Config("valgrind", "gcc", (), ("unit", "sim"), timeout=20, builds_in="plain",
           wrapper=("{build}/tests/without_uring", "valgrind", "--quiet", "--error-exitcode=1",
                    "--leak-check=full", "--errors-for-leak-kinds=definite",
                    f"--suppressions={ROOT}/tests/valgrind.supp", "--trace-children=no"),
           # It looks for leaks in forked children, keeps descriptors of its own where a test lets
           # the table of them end, and is too slow for a test whose peer must not stall.
           leaves_out=("threads-fork", "net limits epoll", "net pass epoll")),
    # Another user's `outlet ps` may not write into our counters, and says so.
    Config("coverage", "gcc", ("-Db_coverage=true",), CODE, timeout=3, leaves_out=("ps",)),
)}
SETS = {
    "quick": ["plain", "asan", "tsan", "fuzz"],
    "all": ["plain", "asan", "tsan", "clang", "clang-asan", "valgrind", "fuzz", "coverage",
            "clang-tidy"],
    "fuzz": ["fuzz"],
}


def find_meson():
    """Debian's own meson first: it runs under Debian's python whatever stands first in PATH."""
    for candidate in ("/usr/bin/meson", shutil.which("meson")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    sys.exit("meson is missing: tools/install-needs test")


MESON = find_meson()


def say(text):
    """A line that is seen at once, also through a pipe."""
    print(text, flush=True)


def run(argv, **more):
    """Run a command with no input, showing what it says.  Answers its exit code."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, **more).returncode


def quietly(argv, env):
    """Run a command; answers None, or what it said when it failed."""
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return None if done.returncode == 0 else done.stdout


class Tally:
    """What came out, by configuration."""

    def __init__(self):
        self.rows = []
        self.failed_names = []

    def add(self, config, passed=0, failed=0, skipped=0, seconds=0.0):
        self.rows.append((config, passed, failed, skipped, seconds))

    def fail(self, config, what):
        self.failed_names.append(f"{config}: {what}")

    def total(self, column):
        return sum(row[column] for row in self.rows)

    def last_line(self):
        """The line that machines read."""
        line = f"{self.total(1)} passed, {self.total(2)} failed"
        return line + (f", {self.total(3)} skipped" if self.total(3) else "")

    def print(self):
        """The summary of summaries, and the last line."""
        say("\n" + "configuration".ljust(16) + "passed  failed  skipped   seconds")
        for config, passed, failed, skipped, seconds in self.rows:
            say(f"{config:<16}{passed:>6}{failed:>8}{skipped:>9}{seconds:>10.0f}")
        for name in self.failed_names:
            say(f"failed: {name}")
        say(self.last_line())


def tsan_wrapper():
    """How a program built for ThreadSanitizer can start here: [] as it is, or without address
    randomization, which newer kernels overdo for this runtime; None: not at all."""
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch, "probe.c")
        source.write_text("int main(void) { return 0; }\n", encoding="utf-8")
        probe = str(source.with_suffix(""))
        if run(["gcc", "-fsanitize=thread", str(source), "-o", probe]):
            return None
        for wrapper in ([], ["setarch", "-R"]):
            if run(wrapper + [probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
                return wrapper
    return None


def set_up(config, where):
    """Configure the build directory, or bring its options up to date."""
    options = [*config.options, "-Dwerror=true"]
    if "fuzz" in config.suites:
        options.append(f"-Dfuzz_seconds={os.environ.get('FUZZ_SECONDS', '3')}")
    env = dict(os.environ, CC=config.cc)
    env.pop("DESTDIR", None)
    if (where / "build.ninja").exists():
        if quietly([MESON, "configure", str(where), *options], env) is None:
            return True
        shutil.rmtree(where)  # made by another version, or for another place
    said = quietly([MESON, "setup", str(where), str(ROOT), *options], env)
    if said is not None:
        say(said)
    return said is None


def introspect(where, what):
    """What meson knows about a build directory."""
    done = subprocess.run([MESON, "introspect", str(where), "--" + what], check=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout)


def with_threads(where, suites):
    """Names of the tests in these suites that have threads.  A unit test has when its source names
    them; other suites are named for theirs."""
    sources = {t["id"]: [s for group in t["target_sources"] for s in group["sources"]]
               for t in introspect(where, "targets")}
    makes = re.compile(r"pthread_create|thrd_create|outlet_loop_start|\.threads\b")
    names = []
    for test in introspect(where, "tests"):
        own = {suite.split(":")[-1] for suite in test["suite"]}
        if not own & set(suites):
            continue
        text = "".join(pathlib.Path(s).read_text(encoding="utf-8")
                       for target in test["depends"] for s in sources.get(target, ())
                       if s.endswith("_test.c"))
        if "unit" not in own or makes.search(text):
            names.append(test["name"])
    return names


def read_results(log, config, tally):
    """Count the lines of meson's log, one test each."""
    passed = failed = skipped = 0
    for line in log.read_text(encoding="utf-8").splitlines():
        test = json.loads(line)
        if test["result"] in BAD:
            failed += 1
            tally.fail(config.name, test["name"])
        elif test["result"] == "SKIP":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def run_config(config, tally):
    """Build one configuration, run its tests, add them up."""
    say(f"\n=== {config.name}: {config.cc} {' '.join(config.options)}")
    began = time.monotonic()
    where = OUT / (config.builds_in or config.name)
    wrapper = [word.format(build=where) for word in config.wrapper]
    if "-Db_sanitize=thread" in config.options:
        found = tsan_wrapper()
        if found is None:
            say("skipped: a program built with -fsanitize=thread does not start on this machine")
            tally.add(config.name, skipped=1)
            return
        wrapper = found

    if not set_up(config, where) or run(["ninja", "-C", str(where)]):
        tally.fail(config.name, "the build")
        tally.add(config.name, failed=1, seconds=time.monotonic() - began)
        return

    logs = where / "meson-logs"
    base = "testlog-" + config.name
    for old in logs.glob(base + "*"):
        old.unlink()
    argv = [MESON, "test", "-C", str(where), "--no-rebuild", "--print-errorlogs",
            "--logbase", base, "--timeout-multiplier", str(config.timeout),
            "--num-processes", str(2 * len(os.sched_getaffinity(0)))]  # most of them wait
    for suite in config.suites:
        argv += ["--suite", suite]
    if config.threads_only:
        argv += with_threads(where, config.suites)
    if config.leaves_out:
        argv += [test["name"] for test in introspect(where, "tests")
                 if {suite.split(":")[-1] for suite in test["suite"]} & set(config.suites)
                 and test["name"] not in config.leaves_out]
    if wrapper:
        argv += ["--wrapper", " ".join(wrapper)]
    env = {**os.environ, **SANITIZER_ENV}
    if config.threads_only:
        env["OUTLET_TEST_THREADS_ONLY"] = "1"
    if config.shares_e2e:
        env["OUTLET_TEST_SHARED"] = "1"
    code = run(argv, env=env)

    written = list(logs.glob(base + "*.json"))
    counts = read_results(written[0], config, tally) if written else (0, 0, 0)
    if code and not counts[1]:
        tally.fail(config.name, "meson test itself")
        counts = (counts[0], counts[1] + 1, counts[2])
    tally.add(config.name, *counts, seconds=time.monotonic() - began)


def run_coverage(tally):
    """The tests once more with counters, then which lines they reached."""
    run_config(CONFIGS["coverage"], tally)
    if shutil.which("gcovr"):
        report = OUT / "coverage.txt"
        run(["gcovr", "--root", str(ROOT), "--filter", "src/", "--filter", "tool/",
             "--exclude", ".*_(test|fuzz)\\.c", "--output", str(report), "--print-summary",
             str(OUT / "coverage")], cwd=ROOT)
        say(f"line by line: {report.relative_to(ROOT)}")


def run_clang_tidy(tally):
    """clang-tidy over our own sources, with the flags of the clang build."""
    say("\n=== clang-tidy")
    began = time.monotonic()
    where = OUT / "clang"
    if not set_up(CONFIGS["clang"], where):
        tally.fail("clang-tidy", "the build")
        tally.add("clang-tidy", failed=1)
        return
    commands = json.loads((where / "compile_commands.json").read_text(encoding="utf-8"))
    sources = sorted({os.path.normpath(os.path.join(c["directory"], c["file"]))
                      for c in commands})
    sources = [s for s in sources if re.search(r"/(src|tool|examples)/", s[len(str(ROOT)):])]
    passed = failed = 0
    for source in sources:
        name = os.path.relpath(source, ROOT)
        bad = run(["clang-tidy", "--quiet", "--warnings-as-errors=*", "-p", str(where), source],
                  stderr=subprocess.DEVNULL)
        say(f"{'FAIL' if bad else 'OK  '} {name}")
        passed += not bad
        failed += bool(bad)
        if bad:
            tally.fail("clang-tidy", name)
    tally.add("clang-tidy", passed, failed, seconds=time.monotonic() - began)


def main(argv):
    names = [n for word in argv or ["quick"] for n in SETS.get(word, [word])]
    runners = {"clang-tidy": run_clang_tidy, "coverage": run_coverage}
    unknown = [n for n in names if n not in CONFIGS and n not in runners]
    if unknown:
        sys.exit(f"no such configuration: {' '.join(unknown)}; "
                 f"there are {' '.join([*SETS, *CONFIGS, 'clang-tidy'])}")
    tally = Tally()
    for name in names:
        if name in runners:
            runners[name](tally)
        else:
            run_config(CONFIGS[name], tally)
    tally.print()
    return 1 if tally.total(2) or not tally.total(1) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
