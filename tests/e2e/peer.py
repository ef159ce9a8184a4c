#!/usr/bin/python3
"""peer.py - a stranger made of plain sockets, for the end-to-end tests.

    peer.py listen  tcp|udp|unix [ADDRESS] echo|twist|leave|stop|count|greet|reset|silent|hold|
                                           full|all|half|slow|modbus|modbus-split|modbus-bad|gbk
    peer.py connect tcp|udp|unix ADDRESS   pipe|reset|modbus|gbk
    peer.py pass    NAME=KIND[:ADDRESS]... -- PROGRAM...   with these sockets, as systemd does

A listener prints {"event":"listening","url":...} like outlet does, serves one client and ends
(twist: the first byte it sends back is another; leave: sends one piece back and closes; stop: sends
one piece back and then reads and says nothing; all: serves any number, and what one says all the
others get; half: answers every second datagram; slow: answers 64 bytes every 40 µs; silent: accepts
and says nothing until it is ended; hold: never accepts; full: never accepts, and has so many
waiting that the kernel leaves more without an answer; modbus: a device that speaks RTU, which
answers only when the checksum is right; -split: a byte at a time; -bad: with a checksum that is
wrong; gbk: answers each line, in GBK, a byte at a time). `pipe` sends standard input, half-closes
and prints what comes back; `modbus` asks for two registers and judges the answer; `gbk` sends a
line a byte at a time and prints the answer.

SPDX-License-Identifier: MIT
"""
import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time

LOCAL = {"unix": socket.SOCK_STREAM, "unix-seqpacket": socket.SOCK_SEQPACKET,
         "unix-dgram": socket.SOCK_DGRAM}


def bind(kind, address):
    if kind in LOCAL:
        s = socket.socket(socket.AF_UNIX, LOCAL[kind])
        s.bind("\0" + address[1:] if address.startswith("@") else address)
        url = f"{kind}:{address}" if address.startswith("@") else f"{kind}://{address}"
    else:
        s = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        s.bind(("127.0.0.1", 0))
        url = f"{kind}://127.0.0.1:{s.getsockname()[1]}"
    if kind not in ("udp", "unix-dgram"):
        s.listen()
    return s, url


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def serve_datagrams(s, what):
    peers = set()
    came = 0
    while True:
        data, peer = s.recvfrom(65536)
        peers.add(peer)
        came += 1
        if data == b"end":
            return
        if what == "silent" or what == "half" and came % 2:
            continue
        for p in peers - {peer} if what == "all" else {peer}:
            s.sendto(data, p)
        if what == "leave":
            return


def fill(s):
    """Connect until the queue of those who wait to be accepted is full."""
    s.listen(0)
    waiting = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        waiting.append(c)
    return waiting


def serve_all(s):
    with selectors.DefaultSelector() as ready:
        ready.register(s, selectors.EVENT_READ)
        clients = set()
        while True:
            for key, _ in ready.select():
                if key.fileobj is s:
                    c, _ = s.accept()
                    clients.add(c)
                    ready.register(c, selectors.EVENT_READ)
                    continue
                data = key.fileobj.recv(65536)
                if not data:
                    ready.unregister(key.fileobj)
                    clients.remove(key.fileobj)
                for c in clients - {key.fileobj}:
                    c.sendall(data)


def crc(data):
    """The CRC of Modbus, bit by bit, as its specification has it: the low byte goes first."""
    reg = 0xFFFF
    for byte in data:
        reg ^= byte
        for _ in range(8):
            reg = reg >> 1 ^ 0xA001 if reg & 1 else reg >> 1
    return struct.pack("<H", reg)


def in_bytes(c, data):
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        c.sendall(bytes([byte]))


def serve_modbus(c, what):
    """Function 3: read registers, of which each holds its own number times 10."""
    data = b""
    while piece := c.recv(65536):
        data += piece
        while len(data) >= 8:
            request, data = data[:8], data[8:]
            unit, function, first, count = struct.unpack(">BBHH", request[:6])
            if request[6:] != crc(request[:6]) or function != 3:
                print(json.dumps({"event": "refused", "hex": request.hex()}), flush=True)
                return
            values = struct.pack(f">{count}H", *(10 * n for n in range(first, first + count)))
            answer = bytes([unit, 3, len(values)]) + values
            answer += bytes(2) if what == "modbus-bad" else crc(answer)
            in_bytes(c, answer) if what == "modbus-split" else c.sendall(answer)
            if what == "modbus-bad":
                return  # nobody is to wait for a better one


def serve_gbk(c):
    data = b""
    while piece := c.recv(65536):
        data += piece
        while b"\n" in data:
            line, data = data.split(b"\n", 1)
            in_bytes(c, ("收到：" + line.decode("gbk") + "\n").encode("gbk"))


def ask_modbus(s):
    request = bytes([1, 3, 0, 0, 0, 2])
    s.sendall(request + crc(request))
    data = b""
    while len(data) < 9 and (piece := s.recv(65536)):
        data += piece
    print(data[:-2].hex(), "good" if data[-2:] == crc(data[:-2]) else "bad")


def answer_slowly(c):
    """One message of 64 bytes after the other, without a pause: it takes two seconds and more."""
    held = bytearray()

    def take():
        while data := c.recv(65536):
            held.extend(data)

    reader = threading.Thread(target=take, daemon=True)
    reader.start()
    begun = time.monotonic()
    at = 0
    try:
        while reader.is_alive() or at + 64 <= len(held):
            if at + 64 <= len(held):
                c.sendall(held[at:at + 64])
                at += 64
            while time.monotonic() < begun + at / 64 * 40e-6:
                pass
    except OSError:
        pass


def serve(s, what):
    if what == "all":
        serve_all(s)
    c, _ = s.accept()
    if what.startswith("modbus"):
        serve_modbus(c, what)
        return
    if what == "gbk":
        serve_gbk(c)
        return
    if what == "slow":
        answer_slowly(c)
        return
    if what == "reset":
        c.recv(1)
        reset(c)
        return
    if what == "silent":
        threading.Event().wait()
    if what == "greet":
        c.sendall(b"welcome\n")
        return
    count = 0
    while data := c.recv(65536):
        count += len(data)
        if what == "twist":
            data = bytes([data[0] ^ 1]) + data[1:]
        if what in ("echo", "twist", "leave", "stop"):
            c.sendall(data)
        if what == "stop":
            threading.Event().wait()
        if what == "leave":
            return
    if what == "count":
        print(json.dumps({"event": "counted", "bytes": count}), flush=True)


def dial(kind, address):
    if kind in LOCAL:
        s = socket.socket(socket.AF_UNIX, LOCAL[kind])
        if kind == "unix-dgram":
            s.bind("")  # the kernel picks a name, to be answered at
        s.connect("\0" + address[1:] if address.startswith("@") else address)
        return s
    s = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.connect(("127.0.0.1", int(address)))
    return s


def pipe(s):
    def send():
        while data := sys.stdin.buffer.read1(65536):
            s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    if s.type == socket.SOCK_DGRAM:
        s.send(sys.stdin.buffer.read())
        sys.stdout.buffer.write(s.recv(65536))
        return
    threading.Thread(target=send, daemon=True).start()
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)


def hand_over(sockets, program):
    """Sockets from descriptor 3 on, said in the environment: sd_listen_fds(3)."""
    names = []
    kept = []
    for text in sockets:
        name, place = text.split("=", 1)
        kind, _, address = place.partition(":")
        s, _ = bind(kind, address)
        names.append(name)
        kept.append(fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100))
        s.close()
    for i, fd in enumerate(kept):
        os.dup2(fd, 3 + i)
        os.close(fd)
    os.environ.update(LISTEN_FDS=str(len(names)), LISTEN_PID=str(os.getpid()),
                      LISTEN_FDNAMES=":".join(names))
    os.execv(program[0], program)


def main():
    if sys.argv[1] == "pass":
        at = sys.argv.index("--")
        hand_over(sys.argv[2:at], sys.argv[at + 1:])
    role, kind = sys.argv[1:3]
    what = sys.argv[-1]
    address = sys.argv[3] if len(sys.argv) > 4 else ""
    if role == "listen":
        s, url = bind(kind, address)
        waiting = fill(s) if what == "full" else []
        print(json.dumps({"event": "listening", "url": url}), flush=True)
        if waiting or what == "hold":
            threading.Event().wait()
        if kind in ("udp", "unix-dgram"):
            serve_datagrams(s, what)
        else:
            serve(s, what)
    else:
        s = dial(kind, address)
        if what == "reset":
            s.sendall(b"x")
            reset(s)
        elif what == "modbus":
            ask_modbus(s)
        elif what == "gbk":
            in_bytes(s, "来自中文\n".encode("gbk"))
            print(s.makefile("rb").readline().decode("gbk"), end="")
        else:
            pipe(s)


if __name__ == "__main__":
    main()
