#!/usr/bin/python3
"""record_test.py - a flood that is recorded, and recordings read by somebody else.

    record_test.py OUTLET epoll|uring [sanitized]

What is in a recording is counted and compared by a reader of pcapng that is written here from its
specification (draft-ietf-opsawg-pcapng) and shares nothing with outlet, and by tshark, where it is
installed.  Nothing is measured in time.  A sanitizer's own memory is not ours to compare.

SPDX-License-Identifier: MIT
"""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from tool import PATIENCE, Running, environment

OUTLET, DRIVER, SANITIZED = "", "", False
FLOOD = 300_000
MANY = 1_000_000  # at a terminal: records of them are more than twice the memory that they may take
LONG, LONG_COUNT = 1000, 100_000  # 100 MB
MEMORY_KB = 64 * 1024  # of the recorder: two buffers of 8 MiB that have grown by doubling


def sum_of(data):
    """The sum of RFC 1071, complemented: 0 over a header that has its own in it."""
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def options_of(body, order):
    at, found = 0, {}
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            assert size == 0 and at + 4 == len(body), "options end before their end"
            return found
        found.setdefault(code, []).append(body[at + 4:at + 4 + size])
        at += 4 + (size + 3) // 4 * 4
    assert at == len(body)
    return found


class Packet:
    """An IP packet, every field of which has been looked at."""

    def __init__(self, data, ns, options):
        self.ns = ns
        self.comments = [c.decode() for c in options.get(1, [])]
        self.flags, = struct.unpack("=I", options[2][0])
        if data[0] >> 4 == 4:
            head, size = 20, struct.unpack(">H", data[2:4])[0]
            assert data[0] == 0x45 and sum_of(data[:20]) == 0
            protocol, ends = data[9], (data[12:16], data[16:20])
        else:
            head, size = 40, 40 + struct.unpack(">H", data[4:6])[0]
            protocol, ends = data[6], (data[8:24], data[24:40])
        assert size == len(data), "the length of IP"
        rest = data[head:]
        pseudo = ends[0] + ends[1] + struct.pack(">II", len(rest), protocol)
        assert sum_of(pseudo + rest) == 0, "the sum of TCP or UDP"
        ports = struct.unpack(">HH", rest[:4])
        self.tcp = protocol == 6
        self.source, self.target = (ends[0], ports[0]), (ends[1], ports[1])
        if self.tcp:
            self.sequence, self.acknowledged, offset, self.bits = struct.unpack(">IIBB", rest[4:14])
            self.payload = rest[(offset >> 4) * 4:]
        else:
            assert protocol == 17 and struct.unpack(">H", rest[4:6])[0] == len(rest)
            self.payload = rest[8:]


def packets_of(path):
    """Every packet of a file, in order."""
    data = pathlib.Path(path).read_bytes()
    at, resolution, names = 0, None, []
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        assert size % 4 == 0 and struct.unpack_from("=I", data, at + size - 4)[0] == size
        body = data[at + 8:at + size - 4]
        if kind == 0x0A0D0D0A:
            assert at == 0 and struct.unpack("=IHHq", body[:16]) == (0x1A2B3C4D, 1, 0, -1)
            names = options_of(body[16:], "=")[4]
        elif kind == 1:
            link, _, snap = struct.unpack("=HHI", body[:8])
            resolution = options_of(body[8:], "=")[9][0]
            assert (link, snap, resolution) == (101, 0, b"\x09")
        elif kind == 6:
            assert resolution is not None
            interface, high, low, captured, whole = struct.unpack("=IIIII", body[:20])
            assert interface == 0 and captured == whole
            padded = (captured + 3) // 4 * 4
            yield Packet(body[20:20 + captured], high << 32 | low,
                         options_of(body[20 + padded:], "="))
        else:
            assert kind == 5, f"block {kind}"
        at += size
    assert at == len(data) and names and names[0].startswith(b"outlet ")


def streams_of(path):
    """{(us, them): (bytes in, bytes out)} of all TCP conversations, numbers and flags checked."""
    streams, state = {}, {}
    for p in packets_of(path):
        assert p.tcp
        key = frozenset((p.source, p.target))
        if p.bits == 2:
            assert key not in state
            state[key] = {p.source: p.sequence + 1, p.target: None, "fins": 0}
            assert json.loads(p.comments[0])["event"] == "open"
            continue
        s = state[key]
        if s[p.source] is None:  # SYN ACK
            assert p.bits == 18
            s[p.source] = p.sequence + 1
        else:
            assert p.sequence == s[p.source], "bytes are missing"
            s[p.source] = (s[p.source] + len(p.payload) + (p.bits & 1)) % 2**32
            s["fins"] += p.bits & 1
        assert p.acknowledged == s[p.target], "what was not sent is acknowledged"
        us, them = (p.source, p.target) if p.flags & 3 == 2 else (p.target, p.source)
        both = streams.setdefault((us, them), (bytearray(), bytearray()))
        both[p.flags & 3 == 2].extend(p.payload)
    assert all(s["fins"] == 2 for s in state.values())
    return streams


def memory_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1))


def numbered(first, count):
    return b"".join(struct.pack(">IQ", i, i * 7) for i in range(first, first + count))


def backlog_drops():
    """Packets that the computer as a whole had no room for, before they came to any socket."""
    rows = pathlib.Path("/proc/net/softnet_stat").read_text(encoding="utf-8").splitlines()
    return sum(int(row.split()[1], 16) for row in rows)


class Screen(threading.Thread):
    """Somebody who reads a terminal all the time."""

    def __init__(self, fd):
        super().__init__(daemon=True)
        self.fd, self.text, self.come = fd, bytearray(), threading.Event()
        self.start()

    def run(self):
        try:
            while got := os.read(self.fd, 1 << 16):
                self.text += got
                if b"12 B  " in got:
                    self.come.set()  # the flood is on the screen
        except OSError:
            pass  # nobody has the terminal any more


class Flood(threading.Thread):
    """Numbered messages over one connection until `enough(flood)`, or until it breaks."""

    def __init__(self, port, enough):
        super().__init__(daemon=True)
        self.enough, self.sent, self.broken, self.heard = enough, 0, False, bytearray()
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.hears = threading.Thread(target=self.hear, daemon=True)
        self.hears.start()
        self.start()

    def hear(self):
        try:
            while got := self.connection.recv(1 << 16):
                self.heard += got
        except OSError:
            pass

    def run(self):
        try:
            while not self.enough(self):
                self.connection.sendall(b"".join(struct.pack(">HIQ", 12, i, i * 7)
                                                 for i in range(self.sent, self.sent + 5000)))
                self.sent += 5000
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.broken = True
        self.hears.join()
        self.connection.close()


def show(*argv):
    done = subprocess.run([OUTLET, "show", *map(str, argv)], capture_output=True, check=True,
                          env=environment(), timeout=300)
    return done.stdout


class RecordTest(unittest.TestCase):
    """Each method records something, and reads it back."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="outlet-record-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def listen(self, url, *argv, size=None):
        run = Running([OUTLET, "--json", "listen", url, *map(str, argv)] if not size else
                      [OUTLET, "listen", url, *map(str, argv)], size=size,
                      errors=subprocess.STDOUT if size else subprocess.PIPE,
                      env=environment(OUTLET_DRIVER=DRIVER))
        self.addCleanup(run.close)
        port = run.until(lambda t: re.search(r'listening( at |.*?"url":")[^# "]*:(\d+)', t))
        return run, int(port.group(2))

    def flood(self, port):
        """Numbered messages, as fast as they are taken."""
        with socket.create_connection(("127.0.0.1", port)) as s:
            for at in range(0, FLOOD, 5000):
                s.sendall(b"".join(struct.pack(">HIQ", 12, i, i * 7) for i in range(at, at + 5000)))
            s.shutdown(socket.SHUT_WR)
            while s.recv(1 << 16):
                pass

    def check_memory(self, run):
        if not SANITIZED:
            self.assertLess(memory_kb(run.child.pid), MEMORY_KB)

    def test_a_slow_disk_makes_the_sender_wait_and_takes_no_memory(self):
        path = self.folder / "slow.jsonl"
        os.mkfifo(path)
        slow = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        run, port = self.listen("tcp://127.0.0.1:0#frame=len:2be", "-o", "none", "--record", path)
        os.set_blocking(slow, True)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.setblocking(False)
            left, at = memoryview((struct.pack(">H", LONG) + b"x" * LONG) * LONG_COUNT), 0
            # Nobody reads what is recorded, so one day nothing more is taken.
            while select.select([], [s], [], 1)[1] and at < len(left):
                at += s.send(left[at:at + (1 << 20)])
            self.assertLess(at, len(left))
            self.check_memory(run)
            s.setblocking(True)
            sender = threading.Thread(target=s.sendall, args=(left[at:],))
            sender.start()
            recorded = []
            lines = self.enterContext(open(slow, "rb"))
            reader = threading.Thread(target=lambda: recorded.extend(lines))
            reader.start()
            sender.join()
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(s.recv(1), b"")
        self.check_memory(run)
        self.assertEqual(run.rest(signal.SIGTERM)[0], 0)
        reader.join()
        self.assertEqual(json.loads(recorded[-1])["messages"], LONG_COUNT)
        self.assertEqual(len(recorded), LONG_COUNT + 4)

    def test_a_pipe_whose_reader_stands_still_is_not_waited_for_when_asked_twice(self):
        path = self.folder / "still.jsonl"
        os.mkfifo(path)
        still = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, still)
        run, port = self.listen("tcp://127.0.0.1:0", "-o", "none", "--record", path)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(bytes(300_000))  # more than a pipe holds
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(s.recv(1), b"")
        run.child.send_signal(signal.SIGINT)
        while run.child.poll() is None:  # the first may still be read as an event
            try:
                run.child.wait(0.2)
            except subprocess.TimeoutExpired:
                run.child.send_signal(signal.SIGINT)
        self.assertEqual(run.child.returncode, -signal.SIGINT)

    def flooded(self, suffix):
        path = self.folder / f"flood.{suffix}"
        run, port = self.listen("tcp://127.0.0.1:0#frame=len:2be", "-o", "none", "--record", path)
        self.flood(port)
        self.check_memory(run)
        code, said = run.rest(signal.SIGTERM)
        self.assertEqual((code, json.loads(said.splitlines()[-1])["messages_in"]), (0, FLOOD), said)
        raw = show(path, "-o", "raw", "-q")
        self.assertEqual(raw, numbered(0, FLOOD))
        return path

    def test_a_flood_is_recorded_whole_as_json(self):
        with open(self.flooded("jsonl"), encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        self.assertEqual([r["event"] for r in records[:2]], ["recording", "open"])
        self.assertEqual([r["event"] for r in records[-2:]], ["close", "end"])
        self.assertEqual(records[-1]["messages"], FLOOD)
        comm = pathlib.Path("/proc/self/comm").read_text(encoding="utf-8").strip()
        self.assertEqual(records[1]["process"], f"{comm}, pid {os.getpid()}")
        messages = records[2:-2]
        self.assertEqual(len(messages), FLOOD)
        times = [m["ns"] for m in messages]
        self.assertEqual(times, sorted(times))

    def test_a_flood_is_recorded_whole_as_pcapng(self):
        streams = streams_of(self.flooded("pcapng"))
        self.assertEqual(len(streams), 1)
        got, sent = next(iter(streams.values()))
        self.assertEqual(sent, b"")
        self.assertEqual(got, numbered(0, FLOOD))

    def test_a_terminal_leaves_out_what_it_is_too_slow_for_and_says_how_much(self):
        path = self.folder / "screen.jsonl"
        run, port = self.listen("tcp://127.0.0.1:0#frame=len:2be", "--record", path, size=(24, 80))
        self.flood(port)  # nobody reads the screen meanwhile
        run.until(lambda t: "were not shown" in t)  # somebody does again
        self.check_memory(run)
        code, text = run.rest(signal.SIGINT)
        self.assertEqual(code, 0)
        left_out = self.left_out(text)
        shown = len(re.findall(r"12 B  ", text))
        self.assertGreater(left_out, 0)
        self.assertEqual(shown + left_out, FLOOD)
        self.assertIn(f"messages that were not shown: {left_out}", text)
        self.assertEqual(show(path, "-o", "raw", "-q"), numbered(0, FLOOD))

    def at_a_terminal(self, enough):
        """A flood that somebody looks at: (path, run, screen, flood) once it is on the screen."""
        path = self.folder / "looked-at.jsonl"
        run, port = self.listen("tcp://127.0.0.1:0#frame=len:2be", "--record", path, size=(24, 80))
        screen = Screen(run.fd)
        flood = Flood(port, enough)
        self.assertTrue(screen.come.wait(PATIENCE), screen.text[-1000:])
        return path, run, screen, flood

    @staticmethod
    def left_out(text):
        return sum(map(int, re.findall(r"\.\.\. (\d+) messages were not shown", text)))

    def accounted(self, screen):
        """Messages that are on it, or counted as left out."""
        text = screen.text.decode(errors="replace")
        return len(re.findall(r" (?:12|4) B  ", text)) + self.left_out(text)

    def test_a_line_that_is_typed_into_a_flood_is_sent(self):
        """The flood goes on until that line has come, so it was sent in the midst of it."""
        end = time.monotonic() + PATIENCE
        path, run, screen, flood = self.at_a_terminal(
            lambda f: f.sent >= MANY and f.heard or time.monotonic() > end)
        run.type(b"stop\n")
        flood.join()
        self.assertEqual(bytes(flood.heard), b"\0\4stop")
        self.check_memory(run)
        # Before Ctrl-C, at which the terminal itself forgets what it has not shown yet.
        end = time.monotonic() + PATIENCE
        while self.accounted(screen) < flood.sent + 1 and time.monotonic() < end:
            screen.join(0.1)
        self.assertEqual(self.accounted(screen), flood.sent + 1, screen.text[-1000:])
        self.check_memory(run)
        run.type(b"\x03")
        self.assertEqual(run.finish()[0], 0)
        screen.join()
        text = screen.text.decode(errors="replace")
        if self.left_out(text):
            self.assertIn(f"messages that were not shown: {self.left_out(text)}", text)
        if not SANITIZED:
            self.assertGreater(path.stat().st_size, 2 * MEMORY_KB * 1024)
        self.assertEqual(show(path, "--dir", "in", "-o", "raw", "-q"), numbered(0, flood.sent))
        self.assertEqual(show(path, "--dir", "out", "-o", "raw", "-q"), b"stop")

    def test_ctrl_c_ends_a_flood_and_the_record_is_whole(self):
        """The sender never ends by itself."""
        end = time.monotonic() + 2 * PATIENCE
        path, run, screen, flood = self.at_a_terminal(lambda f: time.monotonic() > end)
        self.check_memory(run)
        run.type(b"\x03")
        self.assertEqual(run.finish()[0], 0)
        flood.join()
        screen.join()
        self.assertTrue(flood.broken)
        with open(path, "rb") as lines:
            last = json.loads(list(lines)[-1])
        self.assertEqual(last["event"], "end")
        self.assertGreater(last["messages"], 0)
        self.assertEqual(show(path, "-o", "raw", "-q"), numbered(0, last["messages"]))
        self.assertLessEqual(self.accounted(screen), last["messages"])
        self.assertIn(f" in {last['messages']} messages, ", screen.text.decode(errors="replace"))

    def test_datagrams_before_the_end_are_recorded_or_counted(self):
        path = self.folder / "lost.jsonl"
        run, port = self.listen("udp://127.0.0.1:0", "--echo", "-o", "none", "--record", path)
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", port))
            s.send(b"first")
            self.assertEqual(s.recv(100), b"first")
            run.child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, run.child.pid, os.WSTOPPED)
            elsewhere = backlog_drops()
            for _ in range(2000):
                s.send(b"x" * 8000)
            run.child.send_signal(signal.SIGTERM)  # before it has seen one of them
            elsewhere = backlog_drops() - elsewhere
        code, said = run.rest(signal.SIGCONT)
        self.assertEqual(code, 0)
        summary = json.loads(said.splitlines()[-1])
        self.assertGreater(summary["dropped"], 0)
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = sum(r["event"] == "message" and r["dir"] == "in" for r in records)
        self.assertEqual([r["datagrams"] for r in records if r["event"] == "lost"],
                         [summary["dropped"]])
        self.assertEqual(kept, summary["messages_in"])
        missing = 2001 - kept - summary["dropped"]
        self.assertTrue(0 <= missing <= elsewhere, (missing, elsewhere))

    def test_messages_of_unix_before_the_end_are_recorded(self):
        path, place = self.folder / "unix.jsonl", self.folder / "place"
        run = Running([OUTLET, "--json", "listen", f"unix-dgram://{place}", "-o", "none",
                       "--record", str(path)], env=environment(OUTLET_DRIVER=DRIVER))
        self.addCleanup(run.close)
        run.until(lambda t: "listening" in t)
        run.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, run.child.pid, os.WSTOPPED)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            for _ in range(5):
                s.sendto(b"late", str(place))
            run.child.send_signal(signal.SIGTERM)
        code, said = run.rest(signal.SIGCONT)
        self.assertEqual((code, json.loads(said.splitlines()[-1])["messages_in"]), (0, 5), said)
        self.assertEqual(path.read_text(encoding="utf-8").count('"late"'), 5)

    def test_a_flood_of_datagrams_that_goes_on_does_not_keep_the_end(self):
        path = self.folder / "goes-on.jsonl"
        run, port = self.listen("udp://127.0.0.1:0", "-o", "none", "--record", path)
        refused = threading.Event()

        def send():
            with socket.socket(type=socket.SOCK_DGRAM) as s:
                s.connect(("127.0.0.1", port))
                try:
                    while True:
                        s.send(b"x" * 1000)
                except ConnectionRefusedError:
                    refused.set()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and (not path.exists() or path.stat().st_size < 1 << 20):
            select.select([], [], [], 0.01)
        code, said = run.rest(signal.SIGTERM)
        self.assertEqual(code, 0, said)
        self.assertTrue(refused.wait(PATIENCE))
        summary = json.loads(said.splitlines()[-1])
        with open(path, encoding="utf-8") as lines:
            self.assertEqual(sum('"dir":"in"' in line for line in lines), summary["messages_in"])

    def conversation(self, url, path):
        """Long, short and many, both ways, on two connections."""
        run, port = self.listen(url, "--echo", "-o", "none", "--record", path)
        address = url.split("#")[0].rsplit(":", 1)[0] + f":{port}"
        long = self.folder / "long"
        long.write_bytes(os.urandom(300_000))
        for argv in (["-f", str(long)], ["short"]):
            subprocess.run([OUTLET, "connect", address, *argv], check=True, timeout=60,
                           stdout=subprocess.DEVNULL, env=environment(OUTLET_DRIVER=DRIVER))
        self.assertEqual(run.rest(signal.SIGTERM)[0], 0)
        return long.read_bytes()

    def test_conversations_add_up(self):
        for host in ("127.0.0.1", "[::1]"):
            path = self.folder / "talk.pcapng"
            long = self.conversation(f"tcp://{host}:0", path)
            streams = list(streams_of(path).values())
            self.assertEqual(streams, [(long, long), (b"short", b"short")])

    def tshark(self, path, *argv):
        if not shutil.which("tshark"):
            self.skipTest("tshark is not here")
        done = subprocess.run(["tshark", "-r", str(path), *argv], capture_output=True, text=True,
                              check=True, timeout=120)
        # It warns of being root, and of nothing else.
        said = [line for line in done.stderr.splitlines() if "Running as user" not in line]
        self.assertEqual(said, [])
        return done.stdout

    def test_wireshark_finds_nothing_wrong_and_every_byte(self):
        for url in ("tcp://127.0.0.1:0", "tcp://[::1]:0"):
            path = self.folder / "talk.pcapng"
            long = self.conversation(url, path)
            said = self.tshark(path, "-q", "-z", "expert", "-o", "tcp.check_checksum:TRUE",
                               "-o", "ip.check_checksum:TRUE")
            self.assertNotRegex(said, "Errors|Warns")
            self.assertIn("Comments", said)
            for stream, want in ((0, long), (1, b"short")):
                said = self.tshark(path, "-q", "-z", f"follow,tcp,raw,{stream}")
                lines = said.splitlines()[6:-1]
                for back in (False, True):
                    got = "".join(x.strip() for x in lines if x.startswith("\t") == back)
                    self.assertEqual(bytes.fromhex(got), want)
            times = self.tshark(path, "-T", "fields", "-e", "frame.time_epoch").split()
            self.assertTrue(all(re.fullmatch(r"\d+\.\d{9}", t) for t in times))

    def test_wireshark_reads_datagrams(self):
        path = self.folder / "datagrams.pcapng"
        run, port = self.listen("udp://127.0.0.1:0", "--echo", "-o", "none", "--record", path)
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.connect(("127.0.0.1", port))
            for text in (b"one", b"", b"x" * 65507):
                s.send(text)
                self.assertEqual(s.recv(65536), text)
        self.assertEqual(run.rest(signal.SIGTERM)[0], 0)
        self.assertEqual([len(p.payload) for p in packets_of(path)], [3, 3, 0, 0, 65507, 65507])
        said = self.tshark(path, "-o", "udp.check_checksum:TRUE", "-T", "fields", "-e",
                           "udp.length", "-e", "udp.checksum.status")
        self.assertEqual(said.split("\n")[:-1], [f"{n + 8}\t1" for n in (3, 3, 0, 0, 65507, 65507)])

    def test_files_of_wireshark_are_read(self):
        path, other = self.folder / "talk.pcapng", self.folder / "other.pcapng"
        long = self.conversation("tcp://127.0.0.1:0", path)
        self.tshark(path, "-F", "pcapng", "-w", str(other))
        self.assertEqual(show(other, "-o", "raw", "-q", "--dir", "in"), long + b"short")


if __name__ == "__main__":
    OUTLET, DRIVER, SANITIZED = sys.argv[1], sys.argv[2], "sanitized" in sys.argv
    if SANITIZED:
        FLOOD //= 5  # all of it is slower by that much, and memory is not looked at
        MANY //= 5
    unittest.main(argv=sys.argv[:1])
