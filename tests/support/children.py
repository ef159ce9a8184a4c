"""children.py - the programs that a test has started end with it, however it ends.

They have sessions of their own, so that a signal to the test does not reach them: one that listens
would stay for ever.

SPDX-License-Identifier: MIT
"""
import contextlib
import os
import signal

running = set()


def end_with_us():
    """Of the main thread, before the first child is started."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def stop(number, _):
    for child in list(running):
        if child.returncode is None:  # else its number may be another's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # its session, with what it started
    os._exit(128 + number)
