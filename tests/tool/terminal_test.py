#!/usr/bin/python3
"""terminal_test.py - the command at a terminal: colours, the keys that end it, sizes, hang-up.

    terminal_test.py OUTLET

SPDX-License-Identifier: MIT
"""
import os
import re
import signal
import subprocess
import sys
import unicodedata
import unittest

from tool import Running, environment

OUTLET = ""
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
STAMP = r"\d\d:\d\d:\d\d\.\d\d\d"


class TerminalTest(unittest.TestCase):
    """Each method is a session at a keyboard."""

    def start(self, *argv, errors=subprocess.STDOUT, size=(24, 100), **env):
        running = Running([OUTLET, *argv], size=size, errors=errors, env=environment(**env))
        self.addCleanup(running.close)
        return running

    def echo_server(self, *options):
        """A server that echoes, and its URL."""
        server = Running([OUTLET, "--json", "-o", "none", "listen", "--echo", *options,
                          "tcp://127.0.0.1:0"])
        self.addCleanup(server.close)
        return server.until(lambda t: re.search(r'"url":"(tcp:[^"#]*)', t)).group(1)

    def talk(self, *options, **env):
        """What a client shows of "hello" there and back, and of its end."""
        client = self.start("connect", *options, self.echo_server(), "-x", "68656c6c6f", **env)
        return client.rest()[1].replace("\r\n", "\n")

    # ---- colours ----

    def test_colours_repeat_what_signs_say(self):
        plain = self.talk("--color", "never")
        coloured = self.talk()
        self.assertNotIn("\x1b", plain)
        self.assertIn("\x1b[33m→", coloured)
        self.assertIn("\x1b[36m←", coloured)

        def without_numbers(text):
            return re.sub(STAMP + r"|127.0.0.1:\d+|\d\.\d{3}", "", CONTROL.sub("", text))

        self.assertEqual(without_numbers(coloured), without_numbers(plain))
        for sign in ("→", "←", "+ ", "- "):
            self.assertIn(sign, plain)

    def test_no_colours_where_nobody_wants_them(self):
        for options, env in (([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"}), ([], {"TERM": ""}),
                             (["--color=never"], {})):
            self.assertNotIn("\x1b", self.talk(*options, **env), (options, env))
        self.assertIn("\x1b", self.talk(NO_COLOR=""))  # set to nothing is not set
        self.assertIn("\x1b", self.talk("--color", "always", NO_COLOR="1", TERM="dumb"))

    def test_no_recording_on_a_terminal(self):
        for lang, says in (("en", "no terminal shows"), ("zh", "终端无法显示")):
            code, text = self.start("--lang", lang, "connect", "tcp://127.0.0.1:1", "x",
                                    "--record", "-").rest()
            self.assertEqual(code, 2)
            self.assertIn(says, text)

    def test_a_pipe_is_never_coloured_by_itself(self):
        url = self.echo_server()
        for form in ("text", "hex", "both", "raw"):
            done = subprocess.run([OUTLET, "-v", "-o", form, "connect", url, "hi"], check=True,
                                  capture_output=True, env=environment(), timeout=60)
            self.assertNotIn(b"\x1b", done.stdout + done.stderr)

    def test_errors_are_coloured_before_the_options_are_read(self):
        for options, wanted in (([], True), (["--color=never"], False)):
            running = self.start("lisetn", *options)
            code, text = running.rest()
            self.assertEqual((code, "\x1b[31moutlet:" in text), (2, wanted))
        done = subprocess.run([OUTLET, "--color", "red", "version"], capture_output=True, text=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("auto|always|never", done.stderr)

    # ---- what a line has ----

    def test_every_message_has_its_time_in_every_form(self):
        for form, payload in (("text", "hello"), ("hex", "68 65 6c 6c 6f"),
                              ("both", r"\n00000000  68 65 6c 6c 6f +\|hello\|")):
            text = self.talk("-o", form, "--color=never")
            for sign in "→←":
                self.assertRegex(text, rf"(?m)^{STAMP}  {sign} \S+  5 B  {payload}")

    def test_chinese_is_shown_as_it_is_and_tables_stay_aligned(self):
        url = self.echo_server()
        client = self.start("connect", url, "中文", OUTLET_LANG="zh", LC_ALL="C")
        self.assertRegex(CONTROL.sub("", client.rest()[1]), "← .*  6 B  中文")
        demo = self.start("demo", "--time", "1ms", OUTLET_LANG="zh", LC_ALL="C")
        lines = CONTROL.sub("", demo.rest()[1]).replace("\r", "").splitlines()
        head = next(i for i, line in enumerate(lines) if "客户端" in line)
        rows = [line for line in lines[head:head + 5] if "epoll" in line or "客户端" in line]
        self.assertEqual(len({width(line.rstrip()) for line in rows}), 1, rows)

    # ---- how it ends ----

    def test_ctrl_c_ends_with_a_summary(self):
        url = self.echo_server()
        for argv, ready in ((["listen", "tcp://127.0.0.1:0"], "listening at"),
                            (["connect", url], "connected"),
                            (["load", url, "--time", "1h"], "/s"),
                            (["demo"], "epoll")):
            running = self.start(*argv)
            running.until(lambda t, ready=ready: ready in t)
            running.type(b"\x03")
            code, text = running.rest()
            self.assertEqual(code, 0, (argv, text))
            if argv[0] in ("listen", "connect"):
                self.assertIn("connections: ", text)

    def test_a_terminal_that_goes_away_ends_it(self):
        running = Running([OUTLET, "listen", "tcp://127.0.0.1:0"], size=(24, 80))
        line = running.child.stderr.readline().decode()
        self.assertIn("listening at", line)
        os.close(running.fd)
        self.assertEqual(running.finish()[0], 0)

    def test_another_size_disturbs_nobody(self):
        running = self.start("listen", "tcp://127.0.0.1:0")
        port = running.until(lambda t: re.search(r"listening at tcp://127.0.0.1:(\d+)", t)).group(1)
        running.resize((5, 20))
        done = subprocess.run([OUTLET, "connect", f"tcp://127.0.0.1:{port}", "after"], check=True,
                              capture_output=True, env=environment(), timeout=60)
        self.assertEqual(done.returncode, 0)
        running.until(lambda t: "5 B" in t and "after" in t)
        self.assertEqual(running.finish(signal.SIGINT)[0], 0)


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


if __name__ == "__main__":
    OUTLET = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
