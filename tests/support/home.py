"""home.py - a home of a test's own: histories and presets of whoever runs it are left alone.

SPDX-License-Identifier: MIT
"""
import atexit
import os
import pathlib
import shutil
import tempfile

FOLDERS = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")


def history():
    """The folder of histories of whoever lives here."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(
        os.environ.get("HOME", "/nonexistent"), ".local/state")
    return pathlib.Path(state, "outlet/history")


THEIRS = history()


def use_own():
    """Of this process and all that it starts."""
    folder = tempfile.mkdtemp(prefix="outlet-home-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["HOME"] = folder
    for name in FOLDERS:
        os.environ.pop(name, None)
    return pathlib.Path(folder)
