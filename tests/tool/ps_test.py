#!/usr/bin/python3
"""ps_test.py - outlet ps finds the sockets that this test itself has open.

    ps_test.py OUTLET OUTLET_WITHOUT_LIBMNL

It runs in a network of its own: in one shared with other programs, a port that the kernel gives
has a past, such as the connections in time-wait of who had it before.

Being another user and having a network of one's own need root, or a kernel that gives everybody a
user namespace; where neither is there the tests of that are skipped by name, and the others run in
the network that there is.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import unicodedata
import unittest

from tool import Running, environment

OUTLET, WITHOUT = "", ""
ALONE = "OUTLET_PS_TEST_ALONE"
PID = os.getpid()
COMM = open("/proc/self/comm", encoding="utf-8").read().strip()


def run(*argv, wrapper=(), **env):
    return subprocess.run([*wrapper, OUTLET, *argv], capture_output=True, text=True, check=False,
                          env=environment(**env), timeout=60)


def works(*argv):
    return shutil.which(argv[0]) and subprocess.run(
        [*argv, "true"], capture_output=True, check=False).returncode == 0


def in_a_network_of_its_own():
    """This program again, with nobody else's sockets around it; where that is not allowed, not."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = ["unshare", *as_root, "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if ALONE not in os.environ and works(*inside):
        os.execvpe(inside[0], [*inside, sys.executable, *sys.argv], {**os.environ, ALONE: "1"})


def listen(kind=socket.SOCK_STREAM, family=socket.AF_INET, address=("127.0.0.1", 0)):
    s = socket.socket(family, kind)
    s.bind(address)
    if kind != socket.SOCK_DGRAM:
        s.listen()
    return s


class PsTest(unittest.TestCase):
    """Each method looks at sockets of this process."""

    def keep(self, *things):
        for thing in things:
            self.addCleanup(thing.close)
        return things[0]

    def found(self, *filters, **more):
        done = run("--json", "ps", *filters, **more)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual((done.returncode, done.stderr), (0 if lines[1:] else 1, ""))
        self.assertEqual(lines[-1]["exit"], done.returncode)
        self.assertTrue(all(line["v"] == 1 for line in lines))
        self.assertEqual(lines[-1]["event"], "summary")
        self.assertEqual(lines[-1]["sockets"], len(lines) - 1)
        return lines[:-1]

    def test_tcp_listener(self):
        port = self.keep(listen()).getsockname()[1]
        rows = self.found(f":{port}", "state:listen")
        self.assertEqual(len(rows), 1)
        row = rows[0]
        self.assertEqual(row["event"], "socket")
        self.assertEqual((row["proto"], row["local"], row["peer"], row["state"]),
                         ("tcp", f"127.0.0.1:{port}", "", "listen"))
        self.assertEqual((row["pid"], row["process"]), (PID, COMM))
        self.assertTrue(row["user"])

    def test_udp_and_unix(self):
        port = self.keep(listen(socket.SOCK_DGRAM)).getsockname()[1]
        rows = self.found("udp", f":{port}")
        self.assertEqual([(r["pid"], r["state"]) for r in rows], [(PID, "unconnected")])
        name = f"\0outlet-ps-{PID}"
        self.keep(listen(family=socket.AF_UNIX, address=name))
        rows = [r for r in self.found("unix", f"pid:{PID}") if r["local"] == "@" + name[1:]]
        self.assertEqual([(r["pid"], r["state"], r["process"]) for r in rows],
                         [(PID, "listen", COMM)])

    def test_both_ends_and_their_queues(self):
        server = self.keep(listen())
        client = self.keep(socket.create_connection(server.getsockname()))
        accepted = self.keep(server.accept()[0])
        client.sendall(b"unread")
        ours = [r for r in self.found(f"pid:{PID}", "state:established", "tcp")
                if r["local"] == "%s:%d" % accepted.getsockname()]
        self.assertEqual([(r["queue_in"], r["peer"]) for r in ours],
                         [(6, "%s:%d" % client.getsockname())])

    def test_filters_are_joined_by_and(self):
        port = self.keep(listen()).getsockname()[1]
        self.assertEqual(len(self.found(f":{port}", f"proc:{COMM[:4]}", "tcp", f"pid:{PID}")), 1)
        self.assertEqual(self.found(f":{port}", "proc:no-such-process"), [])
        self.assertEqual(self.found(f":{port}", "udp"), [])
        self.assertEqual(self.found(f":{port}", f"pid:{PID}", "state:close-wait"), [])

    def test_filters_of_a_kind_are_alternatives(self):
        tcp = self.keep(listen()).getsockname()[1]
        udp = self.keep(listen(socket.SOCK_DGRAM)).getsockname()[1]
        rows = self.found("tcp", "udp", f":{tcp}", f":{udp}", f"pid:{PID}")
        self.assertEqual([r["proto"] for r in rows], ["tcp", "udp"])
        self.assertEqual(len(self.found("TCP", "state:LISTEN", f":{tcp}", f"pid:{PID}")), 1)

    def test_nothing_found_is_an_answer_for_scripts(self):
        port = self.keep(listen()).getsockname()[1]
        self.assertEqual(run("ps", f":{port}", "state:listen").returncode, 0)
        done = run("ps", f":{port}", "udp")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "no socket matches\n"))

    def test_time_wait_is_shown_when_asked_for(self):
        server = self.keep(listen())
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
        port = server.getsockname()[1]
        accepted.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(1), b"")
        client.close()
        self.assertEqual(accepted.recv(1), b"")
        accepted.close()
        done = run("ps", f":{port}")
        self.assertNotIn("time-wait", done.stdout)
        self.assertEqual(done.stderr,
                         "1 in time-wait are not shown; -v or state:time-wait shows them\n")
        self.assertIn("time-wait", run("ps", "-v", f":{port}").stdout)
        self.assertIn("time-wait", run("ps", f":{port}", "state:time-wait").stdout)

    def test_a_table_for_people_is_aligned(self):
        port = self.keep(listen()).getsockname()[1]
        for lang, local, process in (("en", "LOCAL", "PROCESS"), ("zh", "本地地址", "进程")):
            for locale in ("C", "zh_CN.UTF-8"):
                lines = run("ps", f":{port}", "state:listen", LC_ALL=locale,
                            OUTLET_LANG=lang).stdout.splitlines()
                self.assertEqual(len(lines), 2)
                head, row = map(columns, lines)
                self.assertEqual(head.index(columns(local)), row.index("127.0.0.1"), lines)
                self.assertEqual(head.rindex(columns(process)), row.rindex(COMM), lines)

    def test_a_process_with_a_chinese_name_does_not_shift_the_columns(self):
        comm = pathlib.Path("/proc/self/comm")
        port = self.keep(listen()).getsockname()[1]
        self.addCleanup(comm.write_text, COMM, encoding="utf-8")
        comm.write_text("中文进程", encoding="utf-8")
        head, row = map(columns, run("ps", f":{port}", "state:listen").stdout.splitlines())
        self.assertEqual(head.index("PROCESS"), row.index(columns("中文进程")))
        self.assertEqual(head.index("USER"), len(row.rsplit(" ", 1)[0]) + 1)

    def test_a_wrong_filter_is_refused_before_anything_is_read(self):
        for word in ("9000", ":x", "state:up", "proc:", "port:1"):
            done = run("ps", word)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(f"{word} is no filter", done.stderr)
            self.assertIn("time-wait", done.stderr)
        self.assertEqual(run("ps", "--watch=x").returncode, 2)

    def test_without_libmnl_it_says_how_to_get_it(self):
        done = subprocess.run([WITHOUT, "ps"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (70, ""))
        self.assertIn("install libmnl-dev", done.stderr)

    def test_without_libjansson_it_says_how_to_get_it(self):
        for argv in (["show", "day.jsonl"], ["replay", "day.jsonl", "tcp://127.0.0.1:1"]):
            done = subprocess.run([WITHOUT, *argv], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (70, ""))
            self.assertIn("install libjansson-dev", done.stderr)

    # ---- what may not be seen ----

    def test_another_user_sees_the_socket_and_is_told_what_not(self):
        another = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        if os.geteuid() != 0 or not works(*another):
            self.skipTest("needs root and setpriv")
        port = self.keep(listen()).getsockname()[1]
        done = run("ps", f":{port}", wrapper=another)
        if done.returncode == 126 or "Permission denied" in done.stderr:
            self.skipTest("another user cannot start the command from here")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, rf"tcp +listen .*127.0.0.1:{port} +- +- +- +root\n")
        self.assertEqual(done.stderr, "1 of these belong to processes that you may not look into;"
                                      " all are shown by: sudo outlet ps\n")
        done = run("--json", "ps", f":{port}", wrapper=another)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertIsNone(rows[0]["pid"])
        self.assertEqual((rows[1]["sockets"], rows[1]["hidden"]), (1, 1))
        self.assertEqual(done.stderr, "")

    def test_a_network_with_nothing_in_it(self):
        alone = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "-r", "--net")
        if not works(*alone):
            self.skipTest("no namespaces here")
        self.keep(listen())
        self.assertEqual(self.found(wrapper=alone), [])
        done = run("ps", wrapper=alone)
        self.assertEqual((done.returncode, done.stderr, done.stdout),
                         (1, "no socket matches\n", ""))
        self.assertEqual(run("ps", "-q", wrapper=alone).stderr, "")

    # ---- watching ----

    def test_a_pipe_gets_what_came_and_what_went(self):
        port = self.keep(listen()).getsockname()[1]
        with_it = self.keep(Running([OUTLET, "ps", "--watch=20ms", f"pid:{PID}", "tcp"]))
        with_it.until(lambda t: re.search(rf"^  PROTO.*\n(.*\n)*  tcp .*:{port} ", t))
        other = listen()
        came = other.getsockname()[1]
        with_it.until(lambda t: re.search(rf"^\+ tcp +listen .*:{came} .* {PID} ", t, re.M))
        other.close()
        with_it.until(lambda t: re.search(rf"^- tcp +listen .*:{came} .* {PID} ", t, re.M))
        self.assertEqual(with_it.finish(signal.SIGTERM), (0, ""))

    def test_changes_for_programs(self):
        watching = self.keep(Running([OUTLET, "ps", "--json", "--watch", "20ms", f"pid:{PID}"]))
        s = listen()
        port = s.getsockname()[1]
        watching.until(lambda t: f'"local":"127.0.0.1:{port}"' in t)
        s.close()
        line = watching.until(lambda t: [x for x in t.splitlines() if '"change":"-"' in x
                                         and f":{port}\"" in x and x.endswith("}")])
        self.assertEqual(json.loads(line[0])["pid"], PID)
        self.assertEqual(watching.finish(signal.SIGINT)[0], 0)

    def test_a_reader_that_left_ends_it(self):
        watching = Running([OUTLET, "ps", "--watch=20ms", f"pid:{PID}"])
        watching.until(lambda t: "PROTO" in t)
        os.close(watching.fd)
        self.assertEqual(watching.finish(), (0, ""))

    def test_a_terminal_is_painted_again_and_fits(self):
        for _ in range(12):
            self.keep(listen())
        screen = self.keep(Running([OUTLET, "ps", "--watch=1h", f"pid:{PID}", "tcp"],
                                   size=(10, 100)))
        screen.until(lambda t: t.count("\033[H") == 1 and "more; a taller window" in t)
        self.assertEqual(len(re.findall(r"^tcp ", screen.text.decode(), re.M)), 4)
        screen.resize((40, 60))  # at once, not after the hour
        screen.until(lambda t: t.count("\033[H") == 2 and t.endswith("\033[J"))
        last = screen.text.decode().split("\033[H")[-1]
        self.assertGreaterEqual(len(re.findall(r"^tcp ", last, re.M)), 12)
        screen.type(b"\x03")  # Ctrl-C
        self.assertEqual(screen.finish(), (0, ""))


def columns(text):
    """The text with wide characters twice, so that an index is a column."""
    return "".join(c * (2 if unicodedata.east_asian_width(c) in "WF" else 1) for c in text)


if __name__ == "__main__":
    in_a_network_of_its_own()
    OUTLET, WITHOUT = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
