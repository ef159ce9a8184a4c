#!/usr/bin/python3
"""run.py - the examples, run as their opening comments say, with real traffic.

    run.py NAME FOLDER [DRIVER]      one example, from the folder where they were built

An example prints the URL it listens at as its first line, so port 0 serves and nothing is waited
for but that line and the answers.  A time limit is there for what hangs, never to wait for.

SPDX-License-Identifier: MIT
"""
import contextlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile

DOCS = pathlib.Path(__file__).resolve().parent.parent.parent / "docs"
LIMIT = 60  # seconds; under a sanitizer and on a busy machine all of this takes a few


class Program:
    """A running example."""

    def __init__(self, name, *args):
        self.name = name
        self.child = subprocess.Popen([FOLDER / f"example_{name}", *args], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def line(self):
        """Its next line of output."""
        text = self.child.stdout.readline().decode()
        if not text.endswith("\n"):
            self.fail(f"said {text!r} and ended")
        return text[:-1]

    def tell(self, text):
        """A line for its standard input."""
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

    def end(self, *, code=0):
        """Wait for its end; answers what it said and complained of."""
        said, complained = self.child.communicate(timeout=LIMIT)
        if self.child.returncode != code:
            sys.exit(f"{self.name}: exit code {self.child.returncode}, not {code}\n"
                     f"{said.decode()}{complained.decode()}")
        return said.decode(), complained.decode()

    def kill(self):
        """A server has no end of its own; nothing that it says on the way out is expected."""
        if self.child.poll() is not None:
            self.fail("ended by itself")
        self.child.send_signal(signal.SIGTERM)
        _, complained = self.end(code=-signal.SIGTERM)
        same(complained, "")

    def fail(self, text):
        """Give up, with what it complained of."""
        self.child.kill()
        sys.exit(f"{self.name}: {text}\n{self.child.stderr.read().decode()}")


@contextlib.contextmanager
def serving(name, url, *more):
    """An example that listens, and the URL with the port that it got."""
    program = Program(name, url, *more)
    try:
        yield program, program.line()
        program.kill()
    finally:
        program.child.kill()
        program.child.communicate()


def same(got, want):
    """The one assertion."""
    if got != want:
        raise SystemExit(f"got {got!r}\nnot {want!r}")


def port_of(url):
    """41233 of tcp://localhost:41233#frame=line."""
    return int(re.match(r"\w+://[^:]+:(\d+)", url).group(1))


def plug(url):
    """A plain socket connected to where an example listens."""
    s = socket.create_connection(("127.0.0.1", port_of(url)), timeout=LIMIT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read(s, count):
    """Exactly that many bytes."""
    got = b""
    while len(got) < count:
        more = s.recv(count - len(got))
        if not more:
            raise SystemExit(f"the end after {got!r}, {count - len(got)} bytes early")
        got += more
    return got


def read_line(s):
    """Up to LF, byte by byte: what follows stays in the socket."""
    got = b""
    while not got.endswith(b"\n"):
        got += read(s, 1)
    return got[:-1].decode()


def test_echo():
    """Any transport."""
    big = os.urandom(3 << 20)
    with serving("echo", "tcp://127.0.0.1:0") as (_, url), plug(url) as s:
        s.sendall(b"plug in")
        same(read(s, 7), b"plug in")
        s.sendall(big)
        s.shutdown(socket.SHUT_WR)
        same(read(s, len(big)) == big, True)
        same(s.recv(1), b"")
    with serving("echo", "tcp://:0#frame=line") as (_, url), plug(url) as s:
        s.sendall(b"one\r\ntw")
        s.sendall(b"o\n")
        same(read(s, 8), b"one\ntwo\n")
    with serving("echo", "udp://127.0.0.1:0") as (_, url), \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(LIMIT)
        s.connect(("127.0.0.1", port_of(url)))
        for text in (b"", b"a datagram", b"x" * 65507):
            s.send(text)
            same(s.recv(70000), text)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/echo.sock"
        with serving("echo", f"unix://{path}"), socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LIMIT)
            s.connect(path)
            s.sendall(b"plug in")
            same(read(s, 7), b"plug in")
    wrong = Program("echo", "tcp://:0#frme=line")
    same("did you mean `frame`" in wrong.end(code=1)[1], True)


def test_chat():
    """What one says all others hear, and the speaker does not."""
    chat = serving("chat", "tcp://127.0.0.1:0#frame=line")
    with chat as (_, url), contextlib.ExitStack() as stack:
        people = []
        for count in (1, 2, 3):
            people.append(stack.enter_context(plug(url)))
            same([read_line(s) for s in people], [f"* {count} here"] * count)
        a, b, c = people
        a.sendall(b"hello\n")
        same([read_line(b), read_line(c)], ["hello"] * 2)
        c.sendall(b"hello yourself\n")
        same([read_line(a), read_line(b)], ["hello yourself"] * 2)


def test_request():
    """An answer; a late one; nobody there."""
    with serving("reply", "tcp://127.0.0.1:0") as (_, url):
        same(Program("request", url, "how are you", "60000").end(), ("HOW ARE YOU\n", ""))
        with plug(url) as s:
            for byte in struct.pack(">I", 2) + b"ab" + struct.pack(">I", 0):
                s.sendall(bytes([byte]))
            same(read(s, 10), b"\0\0\0\x02AB\0\0\0\0")
            s.sendall(struct.pack(">I", 65537))  # above max: closed before it comes
            same(s.recv(1) if not reset_by(s) else b"", b"")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        same(Program("request", url, "anyone", "100").end(code=1),
             ("", "no answer: aborted by this program\n"))
    said, complained = Program("request", url, "anyone", "60000").end(code=1)
    same((said, "nobody listens there" in complained), ("", True))


def reset_by(s):
    """Did the peer reset the connection (and not just end it)?"""
    try:
        return s.recv(1, socket.MSG_PEEK) is None
    except ConnectionResetError:
        return True


def test_udp():
    """One waits, one says hello."""
    with serving("udp", "udp://127.0.0.1:0") as (waits, url):
        asks = Program("udp", "udp://127.0.0.1:0", f"udp://127.0.0.1:{port_of(url)}")
        asks_port = port_of(asks.line())
        same(waits.line(), f"127.0.0.1:{asks_port}: hello")
        same(asks.end(), (f"127.0.0.1:{port_of(url)}: hello yourself\n", ""))


def test_custom():
    """Netstrings, in slices and many at once; what is none ends the connection."""
    with serving("custom", "tcp://127.0.0.1:0") as (_, url):
        wire = b"5:hello,0:,12:plug in here,"
        with plug(url) as s:
            for byte in wire:
                s.sendall(bytes([byte]))
            same(read(s, len(wire)), wire)
            s.sendall(wire * 1000)
            same(read(s, len(wire) * 1000), wire * 1000)
        for wrong in (b"5:hello;", b"05:hello,", b":,", b"hello", b"9999999:"):
            with plug(url) as s:
                s.sendall(wrong)
                same(s.recv(1) if not reset_by(s) else b"", b"")


def test_embed():
    """Lines both ways through poll(), and the end of the input."""
    with serving("echo", "tcp://127.0.0.1:0#frame=line") as (_, url):
        embed = Program("embed", url)
        for text in ("one", "two", ""):
            embed.tell(text)
            same(embed.line(), text)
        embed.tell("three")
        same(embed.end(), ("three\n", "closed by the peer\n"))


def test_threads():
    """Four reactors: by name across them, from the main thread to all, and drained at the end."""
    threads = Program("threads", "tcp://127.0.0.1:0#frame=line")
    url = threads.line()
    with contextlib.ExitStack() as stack:
        people = {}
        for name in ("ann", "bob", "cem", "dan", "eve", "fay", "gus", "hal"):
            people[name] = stack.enter_context(plug(url))
            people[name].sendall(name.encode() + b"\n" + name.encode() + b" it is me\n")
            same(read_line(people[name]), "it is me")  # the name is known
        for name, s in people.items():
            for to in (*people, "nobody"):
                s.sendall(f"{to} from {name}\n".encode())
        for s in people.values():
            same(sorted(read_line(s) for _ in range(len(people) + 1)),
                 [*(f"from {name}" for name in people), "not sent"])
        threads.tell("closing time")
        threads.child.stdin.close()
        threads.child.stdin = None
        for s in people.values():
            same(read_line(s), "closing time")
            same(s.recv(1), b"")
            s.close()
    same(threads.end(), ("", ""))


def wire_table(path):
    """(framing, bytes) of each row of the table of docs/framing.md."""
    text = path.read_text(encoding="utf-8")
    table = text[text.index("<!-- wire -->"):text.index("<!-- /wire -->")]
    rows = re.findall(r"^\| `([^`]+)` \| `([0-9a-f ]+)` \|$", table, re.M)
    same(len(rows), table.count("\n") - 3)
    return [(framing, bytes.fromhex(wire)) for framing, wire in rows]


def test_framings():
    """What docs/framing.md says is on the wire, in both directions."""
    for name in ("framing.md", "framing.zh-CN.md"):
        for framing, wire in wire_table(DOCS / name):
            with socket.create_server(("127.0.0.1", 0)) as server:
                server.settimeout(LIMIT)
                embed = Program("embed",
                                f"tcp://127.0.0.1:{server.getsockname()[1]}#frame={framing}")
                s, _ = server.accept()
                with s:
                    s.settimeout(LIMIT)
                    embed.tell("hello")
                    same((framing, read(s, len(wire))), (framing, wire))
                    s.sendall(wire)
                    same((framing, embed.line()), (framing, "hello"))
                    embed.child.stdin.close()
                    embed.child.stdin = None
                    same((framing, s.recv(1)), (framing, b""))
                embed.end()


def test_guide():
    """The URLs that docs/guide/first-server.md gives to the chat, on ports of their own."""
    text = (DOCS / "guide/first-server.md").read_text(encoding="utf-8")
    translated = (DOCS / "guide/first-server.zh-CN.md").read_text(encoding="utf-8")
    urls = re.findall(r"example_chat '([^']+)'", text)
    same(urls, re.findall(r"example_chat '([^']+)'", translated))
    same(len(urls), 5)
    for url in urls:
        with tempfile.TemporaryDirectory() as folder:
            here = url.replace(":7000", ":0").replace("/tmp/", folder + "/")
            if "frme" in url:
                same("did you mean `frame`" in Program("chat", here).end(code=1)[1], True)
            else:
                with serving("chat", here):
                    pass


def main():
    """One example by name."""
    test = globals().get("test_" + sys.argv[1])
    if len(sys.argv) not in (3, 4) or not test:
        sys.exit(__doc__)
    if len(sys.argv) == 4:
        os.environ["OUTLET_DRIVER"] = sys.argv[3]
    try:
        test()
    except (TimeoutError, socket.timeout, subprocess.TimeoutExpired) as late:
        sys.exit(f"{sys.argv[1]}: {late!r}")


if __name__ == "__main__":
    FOLDER = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")
    main()
