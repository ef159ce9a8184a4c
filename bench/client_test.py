#!/usr/bin/python3
"""client_test.py CLIENT - the client of the benchmark believes nobody: servers that lie.

Each server here is a thread with one socket; what it answers is a function of the messages that it
heard.  No clock is looked at: a run ends when it has seen enough or too much.

SPDX-License-Identifier: MIT
"""
import json
import os
import socket
import subprocess
import sys
import threading
import unittest

SIZE = 64
CLIENT = ""


def flip(messages):
    """One bit of the last byte."""
    return [m[:-1] + bytes([m[-1] ^ 1]) for m in messages]


class Liar(threading.Thread):
    """Answers the first messages honestly, and the next ones as `lie` says."""

    def __init__(self, kind, lie, honest=8):
        super().__init__(daemon=True)
        self.kind, self.lie, self.honest = kind, lie, honest
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self.start()

    def answer(self, messages):
        if self.honest > 0:
            self.honest -= len(messages)
            return messages
        return self.lie(messages)

    def run(self):
        try:
            self.serve_datagrams() if self.kind == socket.SOCK_DGRAM else self.serve_stream()
        except OSError:
            pass  # the client has seen enough

    def serve_stream(self):
        conn, _ = self.socket.accept()
        with conn:
            held = b""
            while (got := conn.recv(65536)):
                held += got
                whole = len(held) // SIZE * SIZE
                messages = [held[i:i + SIZE] for i in range(0, whole, SIZE)]
                held = held[whole:]
                answers = self.answer(messages)
                if answers is None:
                    return
                conn.sendall(b"".join(answers))

    def serve_datagrams(self):
        while True:
            message, peer = self.socket.recvfrom(65536)
            for m in self.answer([message]):
                self.socket.sendto(m, peer)


class ClientTest(unittest.TestCase):
    """What the client says of each of them."""

    def call(self, mode, lie, least=1000):
        kind = socket.SOCK_DGRAM if mode == "udp" else socket.SOCK_STREAM
        liar = Liar(kind, lie)
        self.addCleanup(liar.socket.close)
        return subprocess.run(
            [CLIENT, mode, f"127.0.0.1:{liar.port}", "1", "4", str(SIZE), "0.01",
             str(os.getpid()), "warm=0", f"least={least}"],
            capture_output=True, text=True, check=False, timeout=100)

    def wrong(self, done):
        self.assertEqual(done.returncode, 1, done)
        self.assertGreater(json.loads(done.stdout)["wrong"], 0)

    def test_an_honest_server_is_believed(self):
        for mode in ("echo", "frame", "udp"):
            done = self.call(mode, lambda messages: messages)
            self.assertEqual(done.returncode, 0, done)
            said = json.loads(done.stdout)
            self.assertEqual((said["wrong"], said["lost"]), (0, 0))
            self.assertGreaterEqual(said["messages"], 1000)

    def test_a_changed_bit_is_seen(self):
        self.wrong(self.call("echo", flip))
        self.wrong(self.call("frame", flip))
        self.wrong(self.call("udp", lambda ms: flip(ms) + ms))

    def test_messages_that_change_places_are_seen(self):
        swapped = []

        def swap(messages):
            swapped.extend(messages)
            if len(swapped) < 2:
                return []
            pair, swapped[:] = swapped[1::-1] + swapped[2:], []
            return pair
        self.wrong(self.call("echo", swap))

    def test_a_repeated_message_is_seen(self):
        self.wrong(self.call("echo", lambda ms: ms + ms[-1:]))
        self.wrong(self.call("udp", lambda ms: ms + ms))

    def test_a_message_left_out_is_seen_on_a_stream(self):
        first = []

        def leave_out(messages):
            if not first:
                first.append(True)
                return messages[1:]
            return messages
        self.wrong(self.call("echo", leave_out, least=200))

    def test_a_lost_datagram_is_counted_and_not_wrong(self):
        count = [0]

        def lose(messages):
            count[0] += 1
            return [] if count[0] % 3 == 0 else messages
        done = self.call("udp", lose, least=100)
        self.assertEqual(done.returncode, 0, done)
        self.assertGreater(json.loads(done.stdout)["lost"], 0)

    def test_a_server_that_closes_is_said(self):
        done = self.call("echo", lambda _: None)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, "closed a connection|Connection reset")

    def test_no_server_is_said(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        done = subprocess.run([CLIENT, "echo", f"127.0.0.1:{port}", "1", "1", "64", "0.01", "1"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("connect: Connection refused", done.stderr)

    def test_arguments_that_make_no_sense_are_refused(self):
        for argv in ([], ["echo", "127.0.0.1:1", "0", "1", "64", "1", "1"],
                     ["frame", "127.0.0.1:1", "1", "1", "4", "1", "1"],
                     ["walk", "127.0.0.1:1", "1", "1", "64", "1", "1"]):
            done = subprocess.run([CLIENT, *argv], capture_output=True, check=False)
            self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    CLIENT = sys.argv.pop(1)
    unittest.main()
