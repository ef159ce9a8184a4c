"""tool.py - the command as a child process, with or without a terminal, for the tests beside it.

SPDX-License-Identifier: MIT
"""
import fcntl
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import children
import home

children.end_with_us()
home.use_own()

PATIENCE = 60  # seconds that any one wait may take: reached only by failures


def environment(**more):
    """Ours, without a language and with a terminal that is known."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("LANG", "LC_ALL", "LC_MESSAGES", "OUTLET_LANG", "NO_COLOR")}
    return {**env, "TERM": "xterm", **more}


class Running:
    """A program that runs; its standard output is read as it comes."""

    def __init__(self, argv, size=None, errors=subprocess.PIPE, env=None):
        """`size`: (rows, columns) of a terminal that is its standard input and output, and with
        `errors` subprocess.STDOUT its standard error."""
        self.text = b""
        self.ended = False
        slave = None
        if size:
            self.fd, slave = pty.openpty()
            self.resize(size)
        else:
            self.fd, slave = os.pipe()
        try:
            self.child = subprocess.Popen(
                argv, stdin=slave if size else subprocess.DEVNULL, stdout=slave, stderr=errors,
                env=env or environment(), start_new_session=True,
                preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if size else None)
        finally:
            os.close(slave)
        children.running.add(self.child)

    def resize(self, size):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def more(self, seconds):
        """Read once; False: nothing came in time, or nothing will."""
        if self.ended or not select.select([self.fd], [], [], max(0, seconds))[0]:
            return False
        try:
            got = os.read(self.fd, 1 << 16)
        except OSError:  # the other end of the terminal is closed
            got = b""
        self.ended = not got
        self.text += got
        return bool(got)

    def until(self, test):
        """Read until test(text) answers something, which is answered."""
        end = time.monotonic() + PATIENCE
        while True:
            answer = test(self.text.decode(errors="replace"))
            if answer:
                return answer
            if not self.more(end - time.monotonic()):
                self.child.send_signal(signal.SIGKILL)
                raise AssertionError(f"it did not come: {self.text[-2000:]!r}\n{self.finish()}")

    def type(self, text):
        os.write(self.fd, text)

    def finish(self, number=None):
        """(exit code, standard error); `number` is a signal to send first."""
        if number:
            self.child.send_signal(number)
        try:
            said = (self.child.communicate(timeout=PATIENCE)[1] or b"").decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGKILL)
            self.child.communicate()
            raise AssertionError("it does not end") from None
        return self.child.returncode, said

    def rest(self, number=None):
        """(exit code, all that it wrote); `number` is a signal to send first."""
        if number:
            self.child.send_signal(number)
        end = time.monotonic() + PATIENCE
        # Who writes its last lines to a full terminal ends when somebody reads them.
        while self.child.poll() is None and not self.ended and time.monotonic() < end:
            self.more(0.05)
        code = self.finish()[0]
        while self.more(0):
            pass
        return code, self.text.decode(errors="replace")

    def close(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.communicate()
        children.running.discard(self.child)
        if self.child.stderr:
            self.child.stderr.close()
        os.close(self.fd)
