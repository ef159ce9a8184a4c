#!/usr/bin/python3
"""line_test.py - somebody types at the interactive line of outlet connect and outlet listen.

    line_test.py OUTLET epoll|uring|none

"none" is a command that was built without libedit: then the terminal's own line is used.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

from tool import PATIENCE, Running, environment, home

OUTLET = ""
DRIVER = ""
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


class Listener:
    """A peer that keeps what it is sent."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE)
        self.port = self.server.getsockname()[1]
        self.got = b""
        self.conn = None

    def accept(self):
        self.conn = self.server.accept()[0]
        self.conn.settimeout(PATIENCE)

    def until(self, want):
        """Receive until `want` bytes, or exactly these bytes, are there."""
        while not (len(self.got) >= want if isinstance(want, int) else self.got == want):
            more = self.conn.recv(1 << 16)
            if not more:
                raise AssertionError(f"it ended: {self.got[-200:]!r}")
            self.got += more

    def until_end(self):
        while more := self.conn.recv(1 << 16):
            self.got += more

    def ended(self):
        return self.conn.recv(1) == b""

    def close(self):
        for s in (self.conn, self.server):
            if s:
                s.close()


class Base(unittest.TestCase):
    """A keyboard, a peer and a folder for the history."""

    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="outlet-line-")
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name)
        self.peer = Listener()
        self.addCleanup(self.peer.close)

    def start(self, *argv, size=(24, 100), errors=subprocess.STDOUT, **env):
        more = {} if DRIVER == "none" else {"OUTLET_DRIVER": DRIVER}
        env = environment(XDG_STATE_HOME=str(self.folder), **more, **env)
        running = Running([OUTLET, *argv], size=size, errors=errors, env=env)
        self.addCleanup(running.close)
        return running

    def connect(self, *options, **more):
        client = self.start("connect", *options, f"tcp://127.0.0.1:{self.peer.port}", **more)
        self.peer.accept()
        client.until(lambda t: "+ " in t)
        return client


class PlainTest(Base):
    """What holds with and without libedit."""

    def test_a_line_is_sent_and_an_answer_shown(self):
        client = self.connect("--eol", "crlf")
        client.type(b"hello\n" if DRIVER == "none" else b"hello\r")
        self.peer.until(b"hello\r\n")
        self.peer.conn.sendall(b"answer")
        client.until(lambda t: "answer" in t)
        client.type(b"\x03")
        code, text = client.rest()
        self.assertEqual(code, 0)
        self.assertIn("connections: 1", text)

    def test_ctrl_d_ends_what_is_sent(self):
        client = self.connect()
        client.type(b"\x04")
        self.assertTrue(self.peer.ended())
        self.peer.conn.sendall(b"still")
        client.until(lambda t: "still" in t)
        self.peer.conn.close()
        self.assertEqual(client.rest()[0], 0)

    def test_the_terminal_is_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.peer.close()
            self.peer = Listener()
            self.addCleanup(self.peer.close)
            client = self.connect()
            self.assertEqual(bool(termios.tcgetattr(client.fd)[3] & termios.ICANON),
                             DRIVER == "none")
            self.assertEqual(client.finish(number)[0], 0)
            master, slave = pty.openpty()
            self.assertEqual(termios.tcgetattr(client.fd)[:4], termios.tcgetattr(master)[:4])
            os.close(slave)
            os.close(master)

    def test_a_dumb_terminal_has_a_plain_line(self):
        client = self.connect(TERM="dumb")
        client.type(b"/hex 00\n")
        self.peer.until(b"/hex 00")
        self.assertNotIn("\x1b", client.text.decode())


class LineTest(Base):
    """Each method types."""

    def test_what_is_typed_is_edited(self):
        client = self.connect()
        client.type(b"wrld\x01hello \x05\x02\x02\x02o\r")
        self.peer.until(b"hello world")
        client.type("中文字\x7f\x1b[D间\r".encode())
        self.peer.until(b"hello world" + "中间文".encode())

    def test_a_key_in_pieces(self):
        client = self.connect()
        for byte in b"ac\x02b\r":
            client.type(bytes([byte]))
        self.peer.until(b"abc")

    def test_history_below_folders_that_are_not_there_yet(self):
        state = self.folder / "not" / "there"
        client = Running([OUTLET, "connect", f"tcp://127.0.0.1:{self.peer.port}"], size=(24, 80),
                         env=environment(XDG_STATE_HOME=str(state)))
        self.addCleanup(client.close)
        self.peer.accept()
        client.until(lambda t: "+ " in t)
        client.type(b"kept\r")
        self.peer.until(b"kept")
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 0)
        name = f"tcp___127.0.0.1_{self.peer.port}"
        self.assertIn("kept", (state / "outlet/history" / name).read_text(encoding="utf-8"))
        for folder in (state.parent, state, state / "outlet", state / "outlet/history"):
            self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)

    def test_no_history_of_a_test_is_kept_for_whoever_runs_it(self):
        name = f"tcp___127.0.0.1_{self.peer.port}"
        before = os.path.exists(home.THEIRS / name)
        client = Running([OUTLET, "connect", f"tcp://127.0.0.1:{self.peer.port}"], size=(24, 80))
        self.addCleanup(client.close)
        self.peer.accept()
        client.until(lambda t: "+ " in t)
        client.type(b"x\r")
        self.peer.until(b"x")
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 0)
        self.assertNotEqual(home.history(), home.THEIRS)
        self.assertTrue((home.history() / name).exists())
        self.assertEqual(os.path.exists(home.THEIRS / name), before)

    def test_history_over_two_runs(self):
        client = self.connect()
        client.type(b"first\rsecond\r")
        self.peer.until(b"firstsecond")
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 0)
        files = list((self.folder / "outlet" / "history").iterdir())
        self.assertEqual([stat.S_IMODE(f.stat().st_mode) for f in files], [0o600])
        self.assertEqual(files[0].name, f"tcp___127.0.0.1_{self.peer.port}")
        self.peer.conn.close()
        self.peer.got = b""
        client = self.connect()
        client.type(b"\x1b[A\x1b[A\r")
        self.peer.until(b"first")
        client.type(b"\x12sec\r\r")
        self.peer.until(b"firstsecond")

    def paste(self, client, text):
        """Written as a terminal does, which does not read it in one piece."""
        data = b"\x1b[200~" + text + b"\x1b[201~"
        os.set_blocking(client.fd, False)
        end = time.monotonic() + PATIENCE
        while data:
            self.assertLess(time.monotonic(), end)
            select.select([client.fd], [client.fd], [], PATIENCE)
            client.more(0)
            try:
                data = data[os.write(client.fd, data):]
            except BlockingIOError:
                pass
        os.set_blocking(client.fd, True)

    def test_a_long_paste_is_whole(self):
        text = b"".join(b"%07d " % i for i in range(12800))
        client = self.connect("--eol", "lf")
        self.paste(client, text)
        client.type(b"end\r")
        drain = threading.Thread(target=self.peer.until, args=(text + b"end\n",), daemon=True)
        drain.start()
        while drain.is_alive():
            client.more(0.05)
        self.assertEqual(self.peer.got, text + b"end\n")

    def test_lines_of_a_paste_are_no_commands(self):
        client = self.connect("--eol", "lf")
        client.type(b"a")
        self.paste(client, b"b\r\n/quit\r\tx\x01\n\nlast")
        self.peer.until(b"ab\n/quit\n\tx\x01\n\n")
        client.type(b"!\r")
        self.peer.until(b"ab\n/quit\n\tx\x01\n\nlast!\n")

    def test_a_message_arrives_above_half_a_line(self):
        client = self.connect()
        client.type(b"half")
        client.until(lambda t: t.endswith("half"))
        self.peer.conn.sendall(b"arrived")
        text = client.until(lambda t: "arrived" in t and t.endswith("half") and t)
        self.assertRegex(text, r"\r\x1b\[J.*arrived[^\n]*\r\n[^\n]*> half$")
        client.type(b" more\r")
        self.peer.until(b"half more")

    def test_a_line_of_several_rows_is_taken_away_whole(self):
        client = self.connect(size=(24, 40))
        client.type("中".encode() * 30)
        client.until(lambda t: t.count("中") >= 30)
        self.peer.conn.sendall(b"arrived")
        client.until(lambda t: re.search(r"\r\x1b\[2A\x1b\[J[^中]*arrived", t))
        client.type(b"\r")
        self.peer.until("中".encode() * 30)

    def test_another_size(self):
        client = self.connect()
        client.type(b"half")
        client.until(lambda t: t.endswith("half"))
        client.text = b""
        client.resize((10, 30))
        client.child.send_signal(signal.SIGWINCH)
        client.until(lambda t: t.endswith("half"))
        client.type(b"-done\r")
        self.peer.until(b"half-done")

    def test_no_colours_are_drawn(self):
        client = self.connect(NO_COLOR="1")
        client.type(b"x\r")
        self.peer.until(b"x")
        client.type(b"\x03")
        self.assertNotRegex(client.rest()[1], r"\x1b\[[\d;]*m")

    def test_suspended_and_back(self):
        client = self.connect()
        before = termios.tcgetattr(client.fd)
        client.type(b"half")
        client.until(lambda t: t.endswith("half"))
        client.child.send_signal(signal.SIGTSTP)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(client.child.pid, os.WUNTRACED)[1]))
        self.assertTrue(termios.tcgetattr(client.fd)[3] & termios.ICANON)
        client.text = b""
        client.child.send_signal(signal.SIGCONT)
        client.until(lambda t: t.endswith("half"))
        self.assertEqual(termios.tcgetattr(client.fd)[:4], before[:4])
        client.type(b"\r")
        self.peer.until(b"half")

    def test_a_terminal_that_goes_away_ends_it(self):
        env = environment(XDG_STATE_HOME=str(self.folder), OUTLET_DRIVER=DRIVER)
        client = Running([OUTLET, "connect", f"tcp://127.0.0.1:{self.peer.port}"], size=(24, 80),
                         env=env)
        self.peer.accept()
        client.until(lambda t: "+ " in t)
        client.type(b"half")
        client.until(lambda t: t.endswith("half"))
        os.close(client.fd)
        self.assertEqual(client.finish()[0], 0)

    # ---- commands ----

    def say(self, client, line, want):
        client.text = b""
        client.type(line.encode() + b"\r")
        return client.until(lambda t: re.search(want, CONTROL.sub("", t)))

    def test_bytes_escapes_files(self):
        client = self.connect("--append", "crc16/modbus", "--eol", "lf")
        client.type(b"/hex 01 03 00 00 00 01\r")
        self.peer.until(bytes.fromhex("010300000001840a"))
        self.peer.got = b""
        client.type(b"/escape \\x31\\r\r")
        self.peer.until(5)
        self.assertEqual(self.peer.got[:2] + self.peer.got[-1:], b"1\r\n")
        self.peer.got = b""
        (self.folder / "a file").write_bytes(bytes.fromhex("010300000001"))
        client.type(f"/file {self.folder}/a file\r".encode())
        self.peer.until(bytes.fromhex("010300000001840a"))
        self.say(client, "/file /no/such", "/no/such cannot be read: No such file")

    def test_what_the_framing_cannot_carry_is_typed_anew(self):
        client = self.start("connect", f"tcp://127.0.0.1:{self.peer.port}#frame=fixed:4")
        self.peer.accept()
        client.until(lambda t: "+ " in t)
        self.say(client, "abc", "not sent: length 3, but a message of frame=fixed:4 has length 4")
        self.say(client, "/hex 01", "not sent: length 1, but")
        client.type(b"abcd\r")
        self.peer.until(b"abcd")
        self.assertEqual(bytes(self.peer.got), b"abcd")
        self.assertNotIn("nobody is connected", client.text.decode())

    def test_a_large_file_is_streamed(self):
        data = os.urandom(3 << 20)
        (self.folder / "large").write_bytes(data)
        client = self.connect("-o", "hex")
        client.type(f"/file {self.folder}/large\rafter\r".encode())
        drain = threading.Thread(target=self.peer.until, args=(len(data) + 5,), daemon=True)
        drain.start()
        while drain.is_alive():
            client.more(0.05)
        self.assertEqual(self.peer.got, data + b"after")

    def test_mistakes_send_nothing(self):
        client = self.connect("--charset", "gbk")
        self.say(client, "/hex 01 0g", r"/hex: character 5 of '01 0g'")
        self.say(client, "/escape a\\q", r"/escape: unknown escape at character 2 of")
        self.say(client, "ab☃", r"character 3 of 'ab☃' has no code in gbk")
        self.say(client, "/hec 00", r"unknown command /hec, nothing was sent; did you mean /hex\?")
        self.say(client, "/hel", r"unknown command /hel, nothing was sent; did you mean /help\?")
        self.say(client, "/", r"unknown command /, nothing was sent; /help lists them")
        self.say(client, "/nonsense", r"unknown command /nonsense, nothing was sent; /help")
        self.say(client, "/hex", r"/hex needs something behind it")
        self.say(client, "/every soon x", r"/every soon is not possible")
        client.type("//中\r".encode())
        self.peer.until("/中".encode("gbk"))

    def test_a_client_that_is_not_there(self):
        server = self.start("listen", "tcp://127.0.0.1:0")
        server.until(lambda t: "listening at" in t)
        for command in ("/to 1", "/kick 1"):
            self.say(server, command, r"nobody is connected")
            self.assertNotIn("not possible", CONTROL.sub("", server.text.decode()))
        self.say(server, "/to one", r"/to one is not possible; write /to 1")
        client = self.connect()
        self.say(client, "/to 2", r"there is no client 2; /clients lists them")

    def test_an_empty_line_is_nothing_on_a_stream(self):
        client = self.connect()
        client.type(b"\r\rx\r")
        self.peer.until(b"x")
        client.type(b"\x03")
        text = client.rest()[1]
        self.assertNotRegex(CONTROL.sub("", text), r"\u2192 \S+  0 B")
        self.assertRegex(text, r"sent: 1 B in 1 messages")

    def test_what_a_peer_hides_is_shown(self):
        client = self.connect()
        self.peer.conn.sendall("a\u202eb\u2066c\u200b".encode())
        client.until(lambda t: "a\\u202eb\\u2066c\\u200b" in t)
        self.assertNotIn("\u202e", client.text.decode())

    def test_every_ends_with_what_is_sent(self):
        client = self.connect()
        client.type(b"/every 1ms tick\r")
        self.peer.until(8)
        client.type(b"\x04")
        self.peer.until_end()
        self.assertEqual(self.peer.got.replace(b"tick", b""), b"")
        client.text = b""
        self.peer.conn.sendall(b"still")
        client.until(lambda t: "still" in t)
        self.peer.conn.close()
        self.assertEqual(client.rest()[0], 0)
        self.assertNotIn("not taken", client.text.decode())

    def test_every_so_often(self):
        client = self.connect()
        self.say(client, "/every 1ms", "nothing has been sent that could be repeated")
        client.type(b"/every 1ms ab\r")
        self.peer.until(20)
        client.type(b"/every off\r//\r")
        while not self.peer.got.endswith(b"/"):
            self.peer.got += self.peer.conn.recv(4096)
        self.assertEqual(self.peer.got.replace(b"ab", b""), b"/")

    def stuck(self):
        """A listener with a client that reads nothing, and more for it than all queues take."""
        server = self.start("listen", "-o", "hex", "tcp://127.0.0.1:0")
        port = int(server.until(lambda t: re.search(r"listening at tcp://127.0.0.1:(\d+)", t))
                   .group(1))
        (self.folder / "large").write_bytes(bytes(16 << 20))
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.connect(("127.0.0.1", port))
        server.until(lambda t: "connected" in t)
        server.type(f"/file {self.folder}/large\r".encode())
        for _ in range(1000):
            if "behind" in self.say(server, "/clients", r"client 1 .* messages(, behind)?\r\n"
                                    ).string:
                return server, client
        raise AssertionError("16 MiB fit into the queues")

    def receive(self, server, client, end):
        """How much comes until the end, or until `end`; what the terminal shows is read, too."""
        got = 0
        last = b""
        while not (end and last.endswith(end)):
            ready = select.select([client, server.fd], [], [], PATIENCE)[0]
            self.assertTrue(ready)
            if server.fd in ready:
                server.more(0)
            if client not in ready:
                continue
            more = client.recv(1 << 20)
            if not more:
                break
            got += len(more)
            last = (last + more)[-7:]
        return got, last

    def test_what_waits_is_sent_before_the_end(self):
        for how in ("/quit\r", "\x03"):
            server, client = self.stuck()
            server.text = b""
            self.say(server, "one\rtwo\r/clients", "client 1")
            server.type(how.encode())
            server.until(lambda t: re.search(
                r"still to be sent: 3 messages, [\d.]+ MB; waiting", CONTROL.sub("", t)))
            self.assertEqual(self.receive(server, client, None), ((16 << 20) + 6, b"\0onetwo"))
            client.close()
            server.until(lambda t: re.search(r"- 127\.0\.0\.1:\d+  closed", t))
            code, text = server.rest()
            self.assertEqual(code, 0)
            self.assertNotIn("not sent", text)

    def test_what_nobody_takes_in_time_is_counted(self):
        server, _ = self.stuck()
        self.say(server, "one\r/clients", "client 1")
        server.type(b"\x03")
        server.until(lambda t: "still to be sent: 2 messages" in t)
        code, text = server.rest()
        self.assertEqual(code, 4)
        self.assertRegex(CONTROL.sub("", text), r"not sent: 2 messages, [\d.]+ MB; whom")
        self.assertRegex(text, r"not delivered in time: [\d.]+ [KM]?B; the other side did not")

    def test_who_is_sent_away_is_there_until_it_has_gone(self):
        server, client = self.stuck()
        self.say(server, "/kick 1\r/clients",
                 r"client 1  127\.0\.0\.1:\d+ .*, closing: [\d.]+ [KM]?B still waits")
        self.say(server, "/kick 1", r"client 1 is closing, [\d.]+ [KM]?B still waits for it; "
                                    r"/kick 1 reset closes it at once")
        self.say(server, "/to 1", "client 1 is closing")
        server.type(b"/kick 1 reset\r")
        server.until(lambda t: re.search(r"- 127\.0\.0\.1:\d+  ", t))
        self.say(server, "/clients", "nobody is connected")
        with self.assertRaises(ConnectionResetError):
            while client.recv(1 << 20):
                pass

    def test_asked_twice_it_ends_at_once(self):
        server, _ = self.stuck()
        server.type(b"one\r/quit\r")
        server.until(lambda t: "still to be sent: 2 messages" in t)
        begun = time.monotonic()
        server.type(b"\x03")
        server.type(b"\x03")
        code, text = server.rest()
        self.assertEqual(code, 4)
        self.assertIn("not sent: 2 messages", text)
        self.assertIn("not delivered in time", text)
        self.assertLess(time.monotonic() - begun, PATIENCE)

    def test_every_to_who_does_not_read_is_complained_of_once(self):
        server, client = self.stuck()
        self.say(server, "/every 1ms tick", "/every: somebody does not read as fast")
        begun = time.monotonic()
        while time.monotonic() - begun < 0.05:  # many times /every's, however fast the answers are
            self.say(server, "/clients", "client 1 .*, behind")
        server.text = b""
        server.type(b"/every off\rend\r")
        left_out = server.until(lambda t: re.search(r"/every: left out (\d+) times", t)).group(1)
        self.assertGreater(int(left_out), 1)
        self.assertNotIn("does not read as fast", server.text.decode())
        self.assertEqual(self.receive(server, client, b"end"),
                         ((16 << 20) + 64 * 4 + 3, b"tickend"))

    def test_every_to_nobody_is_complained_of_once(self):
        server = self.start("listen", "tcp://127.0.0.1:0")
        port = int(server.until(lambda t: re.search(r"listening at tcp://127.0.0.1:(\d+)", t))
                   .group(1))
        self.say(server, "/every 1ms tick", "/every: nobody is connected")
        for _ in range(20):
            self.say(server, "/clients", "nobody is connected")
        self.assertNotIn(b"/every: nobody", server.text)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            self.assertEqual(client.recv(4), b"tick")
            self.say(server, "/every off", r"/every: left out \d+ times")

    def test_rules_while_it_runs(self):
        client = self.connect("--eol", "lf")
        good = self.folder / "good.rules"
        good.write_text("[ping]\nis = PING\nreply = PONG\n\n[x]\nstarts = x\necho = on\n")
        (self.folder / "bad.rules").write_text("[ping]\nis = PING\nrepyl = NEVER\n")
        os.mkfifo(self.folder / "pipe")
        self.say(client, f"/rules {good}", rf"rules of {good} act from now on: 2\r")
        self.peer.conn.sendall(b"PING\n")
        self.peer.until(b"PONG\n")
        self.say(client, f"/rules {self.folder}/bad.rules",
                 r"bad\.rules:3:1: unknown key repyl; did you mean reply\?")
        self.say(client, "/rules /no/such", r"the rules in /no/such cannot be used: No such file")
        self.say(client, f"/rules {self.folder}", r"cannot be used: Is a directory")
        self.say(client, f"/rules {self.folder}/pipe", r"cannot be used: Invalid argument")
        self.peer.conn.sendall(b"PING\n")
        self.peer.until(b"PONG\nPONG\n")
        self.say(client, "/rules off", "no rules act any more")
        self.peer.conn.sendall(b"PING unanswered\n")
        client.until(lambda t: "PING unanswered" in t)
        client.type(b"end\r")
        self.peer.until(b"PONG\nPONG\nend\n")
        # What rules did stays counted when others come, and one that comes again goes on.
        other = self.folder / "other.rules"
        other.write_text("[idle]\nis = NOTHING\necho = on\n[what]\nis = WHAT\nreply = THAT\n")
        self.say(client, f"/rules {other}", "act from now on: 2")
        self.peer.conn.sendall(b"WHAT\n")
        self.peer.until(b"PONG\nPONG\nend\nTHAT\n")
        self.say(client, f"/rules {good}", "act from now on: 2")
        self.peer.conn.sendall(b"PING\n")
        self.peer.until(b"PONG\nPONG\nend\nTHAT\nPONG\n")
        client.type(b"\x03")
        rules = [line for line in client.rest()[1].splitlines() if "rule " in line]
        self.assertEqual([re.sub(r".*rule ", "", line) for line in rules],
                         ["ping: matches 3, replies 3", "what: matches 1, replies 1",
                          "x: matches 0, replies 0"])

    def records(self, name):
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def test_saved_from_now_on(self):
        client = self.connect()
        client.type(b"before\r")
        self.peer.until(b"before")
        os.mkfifo(self.folder / "pipe.jsonl")
        self.say(client, "/save day.txt", r"/save day\.txt: .*must end in \.jsonl or \.pcapng")
        self.say(client, "/save /no/such/day.jsonl", r"/no/such/day\.jsonl cannot be written: No")
        self.say(client, f"/save {self.folder}/pipe.jsonl",
                 "is a pipe that nobody reads; start its reader")
        day = self.folder / "day.jsonl"
        self.say(client, f"/save {day}", f"recording to {day} from now on")
        self.say(client, f"/save {self.folder}/other.jsonl", f"recording to {day} already")
        client.type(b"after\r")
        self.peer.until(b"beforeafter")
        self.peer.conn.sendall(b"answer")
        client.until(lambda t: "answer" in t)
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 0)
        self.assertFalse((self.folder / "other.jsonl").exists())
        records = self.records("day.jsonl")
        self.assertEqual([r["event"] for r in records],
                         ["recording", "open", "message", "message", "close", "end"])
        self.assertEqual([r["text"] for r in records[2:4]], ["after", "answer"])
        self.assertEqual(records[1]["peer"], f"127.0.0.1:{self.peer.port}")

    def test_a_full_disk_is_said_and_another_file_taken(self):
        client = self.connect()
        (self.folder / "full.jsonl").symlink_to("/dev/full")
        self.say(client, f"/save {self.folder}/full.jsonl", "full.jsonl has stopped: No space left")
        self.say(client, f"/save {self.folder}/day.jsonl", "day.jsonl from now on")
        client.type(b"kept\r")
        self.peer.until(b"kept")
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 7)
        self.assertEqual([r["text"] for r in self.records("day.jsonl") if r["event"] == "message"],
                         ["kept"])

    def test_what_is_recorded_already_stays_so(self):
        day = self.folder / "day.jsonl"
        client = self.connect("--record", str(day))
        self.say(client, f"/save {self.folder}/other.jsonl", f"recording to {day} already")
        client.type(b"\x03")
        self.assertEqual(client.rest()[0], 0)

    def test_tab_completes_a_command(self):
        client = self.connect()
        client.type(b"/he\tx 41\r/cl\t\r")
        client.until(lambda t: "client 1  127.0.0.1" in CONTROL.sub("", t))
        self.peer.got = b""
        client.type(b"/hex\t42\r")
        self.peer.until(1)

    def test_help_and_quit_in_chinese(self):
        client = self.connect("--lang", "zh")
        self.say(client, "/help", "列出已连接的客户端")
        self.say(client, "/hlep", "未知命令 /hlep，未发送；是否想用 /help？")
        client.type(b"/quit\r")
        code, text = client.rest()
        self.assertEqual(code, 0)
        self.assertIn("连接：1", text)

    def test_one_of_three_clients(self):
        server = self.start("listen", "tcp://127.0.0.1:0")
        port = int(server.until(lambda t: re.search(r"listening at tcp://127.0.0.1:(\d+)", t))
                   .group(1))
        self.say(server, "early", "nobody is connected: not sent")
        clients = []
        for i in range(3):
            clients.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
            self.addCleanup(clients[i].close)
            server.until(lambda t, i=i: t.count("connected\x1b") == i + 1)
        self.say(server, "/clients", r"client 3  127\.0\.0\.1:\d+  since \d\d:\d\d:\d\d  received")
        server.type(b"/to 2\rtwo\r/all all\r/to all\rend\r")
        for client, want in zip(clients, (b"allend", b"twoallend", b"allend")):
            got = b""
            while len(got) < len(want):
                got += client.recv(100)
            self.assertEqual(got, want)
        self.say(server, "/to 9", "there is no client 9")
        server.type(b"/to 2\r/kick 2\r")
        self.assertEqual(clients[1].recv(1), b"")
        clients[1].close()
        server.until(lambda t: "client 2 has left: lines go to all again" in t)
        server.type(b"/kick 1 reset\r")
        with self.assertRaises(ConnectionResetError):
            clients[0].recv(1)
        server.type(b"alone\r")
        self.assertEqual(clients[2].recv(5), b"alone")
        self.say(server, "/kick 1", "there is no client 1")

    def test_who_does_not_read_holds_nothing_but_messages(self):
        server, _ = self.stuck()
        self.say(server, "/kick 1 reset", "- 127.0.0.1")
        self.say(server, "/clients", "nobody is connected")


if __name__ == "__main__":
    OUTLET, DRIVER = sys.argv[1:]
    unittest.main(argv=sys.argv[:1] + (["PlainTest"] if DRIVER == "none" else []))
