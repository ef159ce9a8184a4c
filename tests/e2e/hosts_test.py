#!/usr/bin/python3
"""hosts_test.py - two hosts: groups, broadcasts, and a relay between them.

    hosts_test.py OUTLET [--driver epoll|uring]

Two network namespaces with a cable between them (veth), inside namespaces of our own, so that
nothing of this machine is touched and root is not needed where users may have namespaces.  Where
the kernel forbids that the test is skipped, with what it said.

SPDX-License-Identifier: MIT
"""
import argparse
import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time

PATIENCE = 60  # seconds: reached only by failures
SKIPPED = 77
INSIDE = "OUTLET_HOSTS_TEST_INSIDE"
HOSTS = ("left", "right")
ADDRESSES = {"left": "10.77.0.1", "right": "10.77.0.2"}
ADDRESSES6 = {"left": "fd77::1", "right": "fd77::2"}
SECOND = ("10.77.0.3/24", "fd77::3/64")  # two more of the right one
IFACE = "cable"


class Impossible(Exception):
    """The kernel does not let us."""


def must(*argv):
    """Run a command that makes the hosts."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Impossible(f"{' '.join(argv)}: {done.stderr.strip()}")


def make_hosts():
    """Two of them, with a cable."""
    must("mount", "-t", "tmpfs", "tmpfs", "/run")  # where ip keeps their names
    for host in HOSTS:
        must("ip", "netns", "add", host)
    must("ip", "-n", "left", "link", "add", IFACE, "type", "veth", "peer", "name", IFACE,
         "netns", "right")
    for host in HOSTS:
        must("ip", "-n", host, "link", "set", "lo", "up")
        must("ip", "-n", host, "address", "add", f"{ADDRESSES[host]}/24", "broadcast",
             "10.77.0.255", "dev", IFACE)
        # nodad: usable at once
        must("ip", "-n", host, "address", "add", f"{ADDRESSES6[host]}/64", "dev", IFACE, "nodad")
        must("ip", "netns", "exec", host, "sh", "-c",
             f"echo 0 > /proc/sys/net/ipv6/conf/{IFACE}/accept_dad")
        must("ip", "-n", host, "link", "set", IFACE, "up")
    for address in SECOND:
        must("ip", "-n", "right", "address", "add", address, "dev", IFACE,
             *(["nodad"] if ":" in address else []))


def link_local(host):
    """Its own IPv6 address on the cable."""
    shown = subprocess.run(["ip", "-n", host, "-6", "-o", "address", "show", "dev", IFACE, "scope",
                            "link"], capture_output=True, text=True, check=True).stdout
    return re.search(r"inet6 (fe80:[0-9a-f:]+)/", shown).group(1)


class Outlet:
    """The command, on a host."""

    def __init__(self, host, *words):
        self.words = words
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", host, OPTIONS.outlet, "--json", *words],
            env={**os.environ, "OUTLET_DRIVER": OPTIONS.driver}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = []
        self.rest = b""

    def until(self, what, **want):
        """The first event of that kind with these fields, seen already or still to come."""
        end = time.monotonic() + PATIENCE
        while True:
            for event in self.seen:
                if event.get("event") == what and \
                        all(re.fullmatch(str(v), str(event.get(k))) for k, v in want.items()):
                    return event
            ready, _, _ = select.select([self.child.stdout], [], [],
                                        max(0, end - time.monotonic()))
            got = os.read(self.child.stdout.fileno(), 65536) if ready else b""
            if not got:
                sys.exit(f"{' '.join(self.words)}: no {what} with {want}, but {self.seen} "
                         f"{self.rest}")
            *lines, self.rest = (self.rest + got).split(b"\n")
            self.seen += [json.loads(line) for line in lines]

    def end(self):
        """Ctrl-C, or it has ended of itself; the exit code."""
        self.child.terminate()
        out, _ = self.child.communicate(timeout=PATIENCE)
        self.seen += [json.loads(line) for line in (self.rest + out).split(b"\n") if line]
        self.rest = b""
        return self.child.returncode

    def all(self, what):
        """Every event of that kind so far."""
        return [e for e in self.seen if e.get("event") == what]


@contextlib.contextmanager
def running(host, *words):
    """Outlet while it runs."""
    it = Outlet(host, *words)
    try:
        yield it
    finally:
        if it.child.poll() is None:
            it.end()


def port_of(listener):
    """Where it listens."""
    return listener.until("listening")["url"].rsplit(":", 1)[1].split("#")[0]


def check(holds, words):
    """One thing that must be so."""
    if not holds:
        sys.exit(words)


def two_hosts_talk():
    """Through the cable, in both families."""
    for address in (ADDRESSES["left"], f"[{ADDRESSES6['left']}]"):
        with running("left", "listen", "--echo", f"tcp://{address}:0") as server, \
                running("right", "connect", f"tcp://{address}:{port_of(server)}", "hello",
                        "--expect", "hello", "--time", "30s") as client:
            client.until("summary", exit=0)
            server.until("message", dir="in", text="hello")


def a_group_is_heard_on_both_hosts():
    """A member on each; whoever asks hears both answers, and from whom."""
    local6 = [link_local(host) for host in HOSTS]
    for group, answers in (("239.1.2.3", (r"10\.77\.0\.1:{}", r"10\.77\.0\.2:{}")),
                           (f"[ff02::77%{IFACE}]", [rf"\[{a}%\d+\]:{{}}" for a in local6])):
        by = f"#interface={IFACE}"
        with running("left", "listen", "--echo", f"udp://{group}:0{by}") as left:
            port = port_of(left)
            with running("right", "listen", "--echo", f"udp://{group}:{port}{by}") as right:
                right.until("listening")
                with running("right", "connect", f"udp://{group}:{port}{by}", "who?", "--every",
                             "200ms") as asks:
                    left.until("message", dir="in", text="who\\?")
                    right.until("message", dir="in", text="who\\?")
                    for peer in answers:
                        asks.until("message", dir="in", peer=peer.format(port))
                with running("right", "connect", f"udp://{group}:{port}{by},loop=off", "alone?",
                             "--every", "200ms") as alone:
                    left.until("message", dir="in", text="alone\\?")
                    alone.until("message", dir="in", text="alone\\?")
                # What it said to the group came back on the cable before this: see the other host.
                right.end()
                check(not [e for e in right.all("message") if e.get("text") == "alone?"],
                      "loop=off, and this host heard itself")


def groups_of_one_port_are_not_mixed():
    """Each member hears its own group, whichever port the sender has."""
    by = f"#interface={IFACE}"
    with running("left", "listen", f"udp://239.1.2.5:0{by}") as five:
        port = port_of(five)
        with running("left", "listen", f"udp://239.1.2.6:{port}{by}") as six:
            six.until("listening")
            for turn in range(6):
                for member, group, word in ((five, 5, f"five {turn}"), (six, 6, f"six {turn}")):
                    with running("right", "connect", f"udp://239.1.2.{group}:{port}{by}", word,
                                 "--every", "50ms"):
                        member.until("message", text=word)
            for member, word in ((five, "five"), (six, "six")):
                member.end()
                check(all(e["text"].startswith(word) for e in member.all("message")),
                      f"{word} heard another group")


def of_two_senders_only_the_source_is_heard():
    """What another one sends to the group reaches a member that asked for everybody."""
    for group, other, source in (("232.1.2.3", ADDRESSES["right"], "10.77.0.3"),
                                 ("[ff35::8000:77]", ADDRESSES6["right"], "fd77::3")):
        by = f"#interface={IFACE}"
        with running("left", "listen", f"udp://{group}:0{by}") as everyone:
            port = port_of(everyone)
            to = f"udp://{group}:{port}{by}"
            with running("left", "listen", f"{to},source={source}") as one:
                one.until("listening")
                with running("right", "connect", f"{to},local={other}", "unheard", "--every",
                             "50ms"), \
                        running("right", "connect", f"{to},local={source}", "heard", "--every",
                                "50ms"):
                    everyone.until("message", text="unheard")
                    everyone.until("message", text="heard")
                    one.until("message", text="heard")
                one.end()
                check({e["text"] for e in one.all("message")} == {"heard"},
                      f"source={source}, and this came: {one.all('message')}")


def a_broadcast_is_heard_with_its_key_only():
    """The subnet's address, and everybody's."""
    with running("left", "listen", "--echo", "udp://0.0.0.0:0") as server:
        port = port_of(server)
        for address in ("10.77.0.255", "255.255.255.255"):
            with running("right", "connect",
                         f"udp://{address}:{port}#broadcast,interface={IFACE}", "anybody?",
                         "--every", "200ms") as asks:
                asks.until("message", dir="in", peer=f"10\\.77\\.0\\.1:{port}")
            with running("right", "connect", f"udp://{address}:{port}", "anybody?") as refused:
                error = refused.until("error")
                check("broadcast=on" in error["text"], f"the key is not named: {error}")
                check(refused.child.wait(PATIENCE) in (2, 3), "it should have failed")


def a_device_is_the_only_way():
    """Through the loopback device there is no way to the other host."""
    with running("left", "listen", "--echo", "tcp://10.77.0.1:0") as server:
        port = port_of(server)
        with running("right", "connect", f"tcp://10.77.0.1:{port}#device={IFACE}", "hello",
                     "--expect", "hello", "--time", "30s") as client:
            client.until("summary", exit=0)
        with running("right", "connect", f"tcp://10.77.0.1:{port}#device=lo,connect_ms=300",
                     "hello") as client:
            client.until("error")
            check(client.child.wait(PATIENCE) in (3, 5), "it should not have been connected")


def a_relay_stands_between_the_hosts():
    """A client of this host, a group on the other one."""
    with running("left", "listen", "--echo", f"udp://239.1.2.4:0#interface={IFACE}") as member:
        port = port_of(member)
        with running("right", "relay", "tcp://127.0.0.1:0",
                     f"udp://239.1.2.4:{port}#interface={IFACE}") as relay:
            with running("right", "connect", relay.until("listening")["url"], "hello", "--expect",
                         "hello", "--time", "30s") as client:
                client.until("summary", exit=0)


TESTS = (two_hosts_talk, a_group_is_heard_on_both_hosts, groups_of_one_port_are_not_mixed,
         of_two_senders_only_the_source_is_heard,
         a_broadcast_is_heard_with_its_key_only, a_device_is_the_only_way,
         a_relay_stands_between_the_hosts)


def enter():
    """Again, in namespaces of our own; as root, where that needs no user namespace."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    try:
        return subprocess.call(["unshare", *own, "--net", "--mount", sys.executable, *sys.argv],
                               env={**os.environ, INSIDE: "1"})
    except OSError as why:
        print(f"skipped: unshare: {why}")
        return SKIPPED


def main():
    """Everything in order."""
    if INSIDE not in os.environ:
        code = enter()
        if code not in (0, 1, SKIPPED):
            print("skipped: namespaces are not permitted here")
            return SKIPPED
        return code
    try:
        make_hosts()
    except (Impossible, OSError) as why:
        print(f"skipped: {why}")
        return SKIPPED
    for test in TESTS:
        test()
        print(f"ok {test.__name__}")
    return 0


if __name__ == "__main__":
    PARSER = argparse.ArgumentParser()
    PARSER.add_argument("outlet")
    PARSER.add_argument("--driver", default="epoll")
    OPTIONS = PARSER.parse_args()
    OPTIONS.outlet = os.path.abspath(OPTIONS.outlet)
    sys.exit(main())
