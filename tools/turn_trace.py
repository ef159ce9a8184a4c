#!/usr/bin/python3
"""turn_trace.py - what a server does in the user's part of a turn with one message, step by step.

    tools/turn_trace.py SERVER [ARG...] [--jumps]

    OUTLET_DRIVER=uring tools/turn_trace.py build-bench/bench/server_outlet tcp://127.0.0.1:0
    tools/turn_trace.py build-bench/bench/server_epoll tcp 0

SERVER is a stream echo server that says "ready PORT".  gdb steps it from one wait to the next, and
the turn with the fewest instructions that answered something is shown: instructions, branches,
branches taken, and lines of code of 64 bytes that it went through, for each function.  After a
sleep a core guesses branches anew and has little code at hand, so the last two are what a turn
costs beyond the kernel's part.  --jumps lists each branch.  The clock's own steps (vdso) are left
out.  Needs gdb and a server with symbols.

SPDX-License-Identifier: MIT
"""
import argparse
import collections
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "io_uring_enter",
         "?")  # liburing's own, of which Debian's build keeps no name
STEPS = 6000
LINE = 64
WARM = 200
IS_BRANCH = re.compile(r"(notrack |bnd )?(j|call|ret)")

# What gdb runs: a step a line, then every address that was seen.
STEPPER = r"""
import gdb
import json
import os

gdb.execute("set pagination off")
gdb.execute("set confirm off")
clock = (0, 0)
with open("/proc/%d/maps" % gdb.selected_inferior().pid, encoding="ascii") as maps:
    for line in maps:
        if "[vdso]" in line:
            clock = tuple(int(end, 16) for end in line.split()[0].split("-"))


def number(what):
    return int(gdb.parse_and_eval("(unsigned long)" + what))


steps = []
for _ in range(int(os.environ["TRACE_STEPS"])):
    gdb.execute("stepi", to_string=True)
    at = number("$pc")
    if clock[0] <= at < clock[1]:
        gdb.execute("tbreak *0x%x" % number("*(unsigned long *)$sp"), to_string=True)
        gdb.execute("continue", to_string=True)
        at = number("$pc")
    steps.append(at)
code = gdb.selected_frame().architecture()
seen = {}
for at in set(steps):
    what = code.disassemble(at)[0]
    where = gdb.execute("info symbol 0x%x" % at, to_string=True)
    name = "?" if where.startswith("No symbol") else where.split(" ")[0]
    seen[at] = (what["asm"].strip(), what["length"], name)
with open(os.environ["TRACE_OUT"], "w", encoding="utf-8") as out:
    json.dump([steps, list(seen.items())], out)
gdb.execute("detach")
"""


def start(argv):
    """The server and its port."""
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    said = server.stdout.readline().split()
    if len(said) != 2 or said[0] != "ready":
        server.kill()
        sys.exit(f"{argv[0]} did not say \"ready PORT\"")
    return server, int(said[1])


def talk(port, warm, over):
    """Ask again as soon as the answer is there."""
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(0.2)
    message = b"x" * 64
    asked = 0
    client.sendall(message)
    missing = len(message)
    while not over.is_set():
        try:
            got = client.recv(missing)
        except TimeoutError:
            continue  # it is being stepped
        except OSError:
            return
        if not got:
            return
        missing -= len(got)
        if missing == 0:
            asked += 1
            if asked == WARM:
                warm.set()
            client.sendall(message)
            missing = len(message)


def trace(pid):
    """Addresses in order, and what is at each: (text, length, function)."""
    with tempfile.TemporaryDirectory() as where:
        stepper = pathlib.Path(where) / "stepper.py"
        out = pathlib.Path(where) / "out.json"
        stepper.write_text(STEPPER, encoding="utf-8")
        env = dict(os.environ, TRACE_STEPS=str(STEPS), TRACE_OUT=str(out))
        done = subprocess.run(["gdb", "-nx", "-batch", "-p", str(pid), "-x", str(stepper)],
                              env=env, capture_output=True, text=True, check=False)
        if not out.exists():
            sys.exit(f"gdb: {done.stderr.strip()}")
        steps, seen = json.loads(out.read_text(encoding="utf-8"))
    return steps, dict(seen)


def turns_of(steps, seen):
    """From behind a wait up to the next one."""
    waits = [i for i, at in enumerate(steps)
             if seen[at][0] == "syscall" and any(name in seen[at][2] for name in WAITS)]
    return [steps[a + 1:b + 1] for a, b in zip(waits, waits[1:])]


def answers(turn, seen):
    """Something was sent in it, or given to a ring."""
    return any(re.search("echo|serve|send", seen[at][2]) for at in turn)


def show(turn, seen, with_jumps):
    """The table."""
    counts = collections.OrderedDict()
    whole = [0, 0, 0]
    for at, after in zip(turn, turn[1:] + [None]):
        text, length, function = seen[at]
        is_branch = bool(IS_BRANCH.match(text))
        is_taken = is_branch and after is not None and after != at + length
        for count in (whole, counts.setdefault(function, [0, 0, 0])):
            count[0] += 1
            count[1] += is_branch
            count[2] += is_taken
        if with_jumps and is_branch:
            print(f"{'taken' if is_taken else '     '} {function:32} {text.split('<')[0].strip()}"
                  f"{'  -> ' + seen[after][2] if is_taken else ''}")
    print(f"{'function':32} instructions branches taken")
    for function, count in sorted(counts.items(), key=lambda one: -one[1][0]):
        print(f"{function:32} {count[0]:12} {count[1]:8} {count[2]:5}")
    lines = len({at // LINE for at in turn})
    print(f"{'all':32} {whole[0]:12} {whole[1]:8} {whole[2]:5}   {lines} lines of code")


def main():
    """Start, warm up, step, show, end."""
    parser = argparse.ArgumentParser(description="One turn of a server, step by step.")
    parser.add_argument("--jumps", action="store_true", help="each branch, too")
    parser.add_argument("server", nargs="+")
    options, rest = parser.parse_known_args()
    server, port = start(options.server + rest)
    warm = threading.Event()
    over = threading.Event()
    client = threading.Thread(target=talk, args=(port, warm, over), daemon=True)
    client.start()
    try:
        if not warm.wait(10):
            sys.exit("the server does not answer")
        steps, seen = trace(server.pid)
    finally:
        over.set()
        server.kill()
    turns = [turn for turn in turns_of(steps, seen) if answers(turn, seen)]
    if not turns:
        sys.exit(f"no whole turn in {STEPS} steps")
    show(min(turns, key=len), seen, options.jumps)


if __name__ == "__main__":
    main()
