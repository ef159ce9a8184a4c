#!/usr/bin/python3
"""install_needs_test.py - what tools/install-needs does when things are there, and when not.

The script runs with a PATH of our own making, in which apt-get, sudo and id are small scripts that
write down how they were called: nothing is installed, no network is touched.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "tools" / "install-needs"
TOOLS = ("python3", "meson", "ninja", "gcc", "pkg-config", "cc")


class InstallNeedsTest(unittest.TestCase):
    """Each method makes one kind of machine."""

    def setUp(self):
        self.bin = pathlib.Path(tempfile.mkdtemp(prefix="outlet-needs-"))
        self.addCleanup(shutil.rmtree, self.bin)
        self.log = self.bin / "log"
        for name in ("sh", "cat", "grep", "env", "ls", "true"):
            (self.bin / name).symlink_to(shutil.which(name))
        for name in TOOLS:
            self.fake(name, "exit 0")
        self.fake("apt-get", f'echo "apt-get $*" >>{self.log}')
        self.fake("id", "echo 0")

    def fake(self, name, body):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!{shutil.which('sh')}\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def call(self, level="build"):
        env = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(["sh", str(SCRIPT), level], env=env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)

    def calls(self):
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def test_nothing_missing_asks_nobody(self):
        self.fake("sudo", f'echo sudo >>{self.log}')
        done = self.call()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.calls(), "")

    def test_root_installs_exactly_what_is_missing(self):
        (self.bin / "meson").unlink()
        (self.bin / "ninja").unlink()
        done = self.call()
        self.assertEqual(done.returncode, 0)
        self.assertEqual(self.calls(),
                         "apt-get install -y --no-install-recommends meson ninja-build\n")

    def test_a_first_failure_fetches_the_lists_and_tries_again(self):
        (self.bin / "meson").unlink()
        self.fake("apt-get", f'echo "apt-get $*" >>{self.log}\n'
                             f'case "$*" in *update*) echo 1 >{self.bin}/updated ;;\n'
                             f'*) test -e {self.bin}/updated ;; esac')
        self.assertEqual(self.call().returncode, 0)
        self.assertEqual([line.split()[1] for line in self.calls().splitlines()],
                         ["install", "-q", "install"])

    def test_without_rights_it_prints_the_line_and_fails(self):
        (self.bin / "meson").unlink()
        self.fake("id", "echo 1000")
        self.fake("sudo", "exit 1")
        done = self.call()
        self.assertEqual(done.returncode, 1)
        self.assertIn("    sudo apt-get install -y --no-install-recommends meson\n", done.stderr)
        self.assertEqual(self.calls(), "")

    def test_sudo_without_a_password_is_used(self):
        (self.bin / "meson").unlink()
        self.fake("id", "echo 1000")
        self.fake("sudo", 'shift; exec "$@"')
        self.assertEqual(self.call().returncode, 0)
        self.assertIn("meson", self.calls())

    def test_another_system_gets_the_names(self):
        (self.bin / "meson").unlink()
        (self.bin / "apt-get").unlink()
        done = self.call()
        self.assertEqual(done.returncode, 1)
        self.assertIn("names of Debian's packages): meson", done.stderr)

    def test_what_cannot_be_installed_is_said(self):
        (self.bin / "meson").unlink()
        self.fake("apt-get", "exit 100")
        done = self.call()
        self.assertEqual(done.returncode, 1)
        self.assertIn("By hand", done.stderr)

    def test_tests_need_a_fuzzer_of_clangs_version(self):
        self.fake("clang", 'case "$1" in -dumpversion) echo 16.0.6 ;; *) echo /nowhere ;; esac')
        self.call("test")
        self.assertIn("libclang-rt-16-dev", self.calls())
        self.assertIn("socat", self.calls())

    def test_the_benchmark_asks_for_the_libraries_it_compares_with(self):
        self.fake("pkg-config", "exit 1")
        self.fake("cc", "exit 1")
        self.call("bench")
        for package in ("libuv1-dev", "libevent-dev", "libev-dev", "libasio-dev"):
            self.assertIn(package, self.calls())

    def test_an_unknown_job_is_refused(self):
        self.assertEqual(self.call("everything").returncode, 2)


if __name__ == "__main__":
    unittest.main()
