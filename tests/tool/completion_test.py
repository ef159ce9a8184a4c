#!/usr/bin/python3
"""completion_test.py - what the shells really offer, after loading what outlet completion writes.

    completion_test.py OUTLET

bash is asked twice: by its function with the variables that bash sets, and by a Tab in an
interactive one.  zsh is asked by a Tab, fish by its own `complete -C`.  A shell that is not
installed is skipped by name.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

from tool import Running, environment

URLS = pathlib.Path(__file__).resolve().parent.parent.parent / "docs/url.md"

OUTLET = ""
VERB_WORDS = ("connect", "listen", "load", "ps", "demo", "completion", "help", "version")

PRESETS = """\
[read]
note = ten registers: of unit 1
hex = 01 03
[reset]
text = $(touch broken) `touch broken`
[modbus.write]
url = tcp://:1
"""

ASK_BASH = """
source "$1"
COMP_LINE=$2 COMP_POINT=${#2}
_outlet
printf '%s\\n' "${COMPREPLY[@]}"
complete -p outlet >&2
"""


class CompletionTest(unittest.TestCase):
    """Each method asks one shell."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="outlet-completion-")
        cls.folder = pathlib.Path(cls.scratch.name)
        bin_folder = cls.folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "outlet").symlink_to(os.path.abspath(OUTLET))
        (cls.folder / "some file.bin").write_text("x", encoding="utf-8")
        (cls.folder / ".config/outlet").mkdir(parents=True)
        (cls.folder / ".config/outlet/presets").write_text(PRESETS, encoding="utf-8")
        (cls.folder / "others").write_text("[elsewhere]\nhex = 01\n", encoding="utf-8")
        cls.env = environment(PATH=f"{bin_folder}:{os.environ['PATH']}", PS1="% ",
                              HOME=str(cls.folder))
        for shell in ("bash", "zsh", "fish"):
            for lang in ("en", "zh"):
                text = subprocess.run([OUTLET, "--lang", lang, "completion", shell], check=True,
                                      capture_output=True, text=True, timeout=60).stdout
                (cls.folder / f"{shell}.{lang}").write_text(text, encoding="utf-8")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def script(self, shell, lang="en"):
        if not shutil.which(shell):
            self.skipTest(f"{shell} is not here")
        return str(self.folder / f"{shell}.{lang}")

    def ask_bash(self, line):
        done = subprocess.run(["bash", "--norc", "-c", ASK_BASH, "bash", self.script("bash"), line],
                              capture_output=True, text=True, check=True, cwd=self.folder,
                              env=self.env, timeout=60)
        self.assertEqual(done.stderr, "complete -F _outlet outlet\n")
        return [word for word in done.stdout.split("\n") if word]

    def test_the_scripts_are_what_the_shells_can_read(self):
        for shell in ("bash", "zsh", "fish"):
            for lang in ("en", "zh"):
                if shutil.which(shell):
                    done = subprocess.run([shell, "-n", self.script(shell, lang)],
                                          capture_output=True, text=True, check=False, timeout=60)
                    self.assertEqual((done.returncode, done.stderr), (0, ""), shell)

    def test_bash_completes_verbs_and_schemes(self):
        self.assertTrue(set(VERB_WORDS) <= set(self.ask_bash("outlet ")))
        self.assertIn("tcp://", self.ask_bash("outlet "))
        self.assertEqual(self.ask_bash("outlet lis"), ["listen"])
        self.assertEqual(self.ask_bash("outlet --lang zh lis"), ["listen"])
        self.assertEqual(self.ask_bash("outlet listen ud"), ["udp://"])
        self.assertEqual(self.ask_bash("outlet help comp"), ["completion"])
        self.assertEqual(self.ask_bash("outlet completion "), ["bash", "zsh", "fish"])

    def test_bash_completes_options_of_the_verb_only(self):
        self.assertEqual(self.ask_bash("outlet listen tcp://:1 --ec"), ["--echo"])
        self.assertEqual(self.ask_bash("outlet demo --ec"), [])
        self.assertEqual(self.ask_bash("outlet ps --wa"), ["--watch"])
        # A bare address is connect.
        self.assertEqual(self.ask_bash("outlet tcp://h:1 --ec"), ["--echo"])

    def test_bash_completes_values(self):
        self.assertEqual(self.ask_bash("outlet listen --eol "), ["none", "lf", "crlf"])
        self.assertEqual(self.ask_bash("outlet listen --eol=l"), ["lf"])
        self.assertEqual(self.ask_bash("outlet listen -o h"), ["hex"])
        self.assertEqual(self.ask_bash("outlet --lang "), ["en", "zh"])
        self.assertEqual(self.ask_bash("outlet connect --hex "), [])
        self.assertEqual(self.ask_bash("outlet send --append crc16/mod"), ["crc16/modbus"])
        self.assertEqual(self.ask_bash("outlet connect -f so"), ["some file.bin"])
        self.assertEqual(self.ask_bash("outlet load --plot=so"), ["some file.bin"])

    def test_bash_completes_the_names_of_presets(self):
        self.assertEqual(self.ask_bash("outlet send -p "), ["read", "reset", "modbus.write"])
        self.assertEqual(self.ask_bash("outlet send --preset=m"), ["modbus.write"])
        self.assertEqual(self.ask_bash("outlet listen --save rea"), ["read"])
        self.assertEqual(self.ask_bash("outlet load -p rea"), ["read"])
        self.assertEqual(self.ask_bash("outlet preset rea"), ["read"])
        self.assertEqual(self.ask_bash("outlet send --presets others -p "), ["elsewhere"])
        self.assertEqual(self.ask_bash("outlet preset --presets ~/others "), ["elsewhere"])
        self.assertEqual(self.ask_bash("outlet send --presets none -p "), [])
        self.assertFalse((self.folder / "broken").exists())

    def test_bash_completes_urls_charsets_and_topics(self):
        keys = self.keys()
        self.assertEqual(self.ask_bash("outlet listen 'tcp://:1#"), ["tcp://:1#" + k for k in keys])
        self.assertEqual(self.ask_bash("outlet connect 'tcp://h:1#frame=line,idl"),
                         ["tcp://h:1#frame=line,idle_ms="])
        self.assertEqual(self.ask_bash("outlet relay 'tcp://:1' 'udp://h:1#max=1,tt"),
                         ["udp://h:1#max=1,ttl="])
        for begin in ("unix:", "unix://", "unix-dgram://"):
            self.assertEqual(self.ask_bash(f"outlet listen '{begin}{self.folder}/so"),
                             [f"{begin}{self.folder}/some file.bin"])
            self.assertEqual(self.ask_bash(f"outlet listen '{begin}{self.folder}/bi"),
                             [f"{begin}{self.folder}/bin/"])
        # Without a quote bash cuts the word itself.
        self.assertEqual(self.ask_bash(f"outlet listen unix://{self.folder}/bi"),
                         [f"//{self.folder}/bin/"])
        self.assertEqual(self.ask_bash("outlet listen tcp://:1#max=1,dsc"), ["1,dscp="])
        self.assertEqual(self.ask_bash("outlet send --charset shift"), ["shift_jis"])
        self.assertEqual(self.ask_bash("outlet help tem"), ["templates"])
        self.assertEqual(self.ask_bash("outlet relay ud"), ["udp://"])

    def keys(self):
        """Those that the table of options has, each in front of its value."""
        rows = re.findall(r"^\| `([a-z_0-9]+)` \|", URLS.read_text(encoding="utf-8"), re.M)
        self.assertGreater(len(rows), 20)
        return [key + "=" for key in rows]

    def test_bash_replaces_only_what_stands_behind_the_colon(self):
        self.assertEqual(self.ask_bash("outlet ps state:time"), ["time-wait"])
        self.assertEqual(self.ask_bash("outlet listen tcp:"), ["//"])

    def typed(self, argv, setup, line, want):
        """Type into an interactive shell and press Tab."""
        shell = Running(argv, size=(24, 200), errors=subprocess.STDOUT, env=self.env)
        self.addCleanup(shell.close)
        shell.type(setup + b"\n")
        shell.until(lambda t: "ready-now" in t)
        shell.text = b""
        shell.type(line + b"\t")
        # Line editors repaint parts of a line with control sequences between.
        shell.until(lambda t: want in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|[\x07\x08\r]", "", t))

    def test_bash_at_the_keyboard(self):
        argv = ["bash", "--norc", "--noprofile", "-i"]
        setup = f"source {shlex.quote(self.script('bash'))}; echo ready-'now'".encode()
        self.typed(argv, setup, b"outlet comp", "outlet completion ")
        self.typed(argv, setup, b"outlet ps state:time", "outlet ps state:time-wait ")

    def test_zsh_at_the_keyboard(self):
        script = shlex.quote(self.script("zsh"))
        setup = f"autoload -Uz compinit; compinit -u -D; source {script}; echo ready-'now'".encode()
        self.typed(["zsh", "-f", "-i"], setup, b"outlet comp", "completion")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet listen --ech", "--echo")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet listen --eol cr", "crlf")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet ps state:time", "time-wait")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet send -p mod", "modbus.write")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet preset mod", "modbus.write")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet listen 'tcp://:1#max=1,idl", "idle_ms=")
        self.typed(["zsh", "-f", "-i"], setup,
                   f"outlet listen 'unix://{self.folder}/so".encode(), "some file.bin")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet listen --charset shi", "shift_jis")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet relay ud", "udp://")
        self.typed(["zsh", "-f", "-i"], setup, b"outlet send --presets ~/others -p ", "elsewhere")

    def ask_fish(self, line, lang="en"):
        ask = f"source {self.script('fish', lang)}; complete -C {shlex.quote(line)}"
        done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True,
                              check=True, cwd=self.folder, env=self.env, timeout=60)
        return dict((row + "\t").split("\t")[:2] for row in done.stdout.splitlines())

    def test_fish_completes_all_of_it(self):
        self.assertTrue(set(VERB_WORDS) <= set(self.ask_fish("outlet ")))
        self.assertEqual(list(self.ask_fish("outlet listen --echo --eol cr")), ["crlf"])
        self.assertEqual(list(self.ask_fish("outlet listen --ech")), ["--echo"])
        self.assertEqual(self.ask_fish("outlet demo --ech"), {})
        self.assertIn("some file.bin", self.ask_fish("outlet connect --file "))
        self.assertNotIn("some file.bin", self.ask_fish("outlet connect "))
        self.assertIn("state:listen", self.ask_fish("outlet ps state"))
        self.assertEqual(self.ask_fish("outlet send -p rea"), {"read": "ten registers: of unit 1"})
        self.assertEqual(list(self.ask_fish("outlet preset mod")), ["modbus.write"])
        self.assertEqual(list(self.ask_fish("outlet send --presets others --preset ")),
                         ["elsewhere"])
        self.assertEqual(self.ask_fish("outlet listen --eol "), {"none": "", "lf": "", "crlf": ""})
        self.assertEqual(self.ask_fish("outlet listen --charset shif"), {"shift_jis": ""})
        self.assertIn("templates", self.ask_fish("outlet help tem"))
        self.assertIn("udp://", self.ask_fish("outlet relay ud"))
        self.assertEqual([k for k in self.ask_fish("outlet listen 'tcp://:1#max=1,") if "#" in k],
                         ["tcp://:1#max=1," + key for key in sorted(self.keys())])
        self.assertIn(f"unix://{self.folder}/bin/",
                      self.ask_fish(f"outlet listen 'unix://{self.folder}/b"))
        self.assertIn("内容", self.ask_fish("outlet connect --quie", "zh")["--quiet"])

    def test_an_unknown_shell_is_refused(self):
        for argv in (["completion"], ["completion", "tcsh"]):
            done = subprocess.run([OUTLET, *argv], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("bash, zsh or fish", done.stderr)


if __name__ == "__main__":
    OUTLET = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
