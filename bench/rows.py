"""rows.py - what is measured: the servers, the rows, and the goals that the figures are held to.

To add a server or a row, add it to these tables and nothing else.  A server is a command line in
which {port}, {path} and {size} are filled in; it prints "ready PORT" when it can be connected to.

SPDX-License-Identifier: MIT
"""
import dataclasses

EPOLL = {"OUTLET_DRIVER": "epoll"}
URING = {"OUTLET_DRIVER": "uring"}


@dataclasses.dataclass(frozen=True)
class Server:
    """One way to serve a row."""
    name: str
    argv: tuple
    family: str  # bare, outlet, peer: the colour of its bar
    package: str = ""  # Debian's, to name when the program was not built
    env: dict = dataclasses.field(default_factory=dict)
    client: tuple = ()  # more options for the client
    client_program: str = "client"
    behind: tuple = ()  # a server that this one needs; {behind} in argv is its port
    ready: str = ""  # a program of others: what it says on standard error, its port in brackets


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of work.  The first server is what all others are compared with."""
    name: str
    title: str
    mode: str  # of the client
    connections: int
    depth: int
    size: int
    servers: tuple
    metric: str = "cpu"  # what the picture shows: cpu, rate or memory
    of: str = "server"  # or client: whose CPU is counted
    client: tuple = ()
    spread: bool = False  # the server may use every CPU but the client's
    # Into how many slices a run is cut, which alternate with those of the other servers, all of
    # them up.  1: one server after the other, where one of them never sleeps or opening takes long.
    slices: int = 1


def bare(kind, *buffers):
    """The two limits."""
    where = "{path}" if kind == "unix" else "{port}"
    return (Server("epoll", ("server_epoll", kind, where), "bare"),
            Server("uring", ("server_uring", kind, where, *buffers), "bare", "liburing-dev"))


def outlet(url, program="server_outlet", more=(), prefix="outlet", **options):
    """outlet on both drivers."""
    return (Server(prefix + "-epoll", (program, url, *more), "outlet", env=EPOLL, **options),
            Server(prefix + "-uring", (program, url, *more), "outlet", env=URING, **options))


def peers(kind):
    """The other libraries, for streams."""
    where = "{path}" if kind == "unix" else "{port}"
    return (Server("libuv", ("server_libuv", kind, where), "peer", "libuv1-dev"),
            Server("libevent", ("server_libevent", kind, where), "peer", "libevent-dev"),
            Server("libev", ("server_libev", kind, where), "peer", "libev-dev"),
            Server("asio", ("server_asio", kind, where), "peer", "libasio-dev"))


TCP = (*bare("tcp"), *outlet("tcp://127.0.0.1:{port}"), *peers("tcp"))
UNIX = (*bare("unix"), *outlet("unix://{path}"), *peers("unix"))
# Few enough buffers of 64 KiB to stay in the cache.
TCP_LARGE = (*bare("tcp", "8"), *TCP[2:])
UNIX_LARGE = (*bare("unix", "8"), *UNIX[2:])
FRAME = (*bare("frame"), *outlet("tcp://127.0.0.1:{port}#frame=len:4be"), *peers("frame"),
         Server("libuv-gather", ("server_libuv", "gather", "{port}"), "peer", "libuv1-dev"))
UDP_PLAIN = Server("epoll", ("server_udp", "plain", "{port}"), "bare")
UDP_PEERS = (Server("libuv", ("server_libuv", "udp", "{port}"), "peer", "libuv1-dev"),
             Server("asio", ("server_asio", "udp", "{port}"), "peer", "libasio-dev"))
UDP_GSO = Server("epoll-gso", ("server_udp", "gso", "{port}"), "bare")
UDP = (UDP_PLAIN, Server("uring", ("server_uring", "udp", "{port}"), "bare", "liburing-dev"),
       UDP_GSO, *outlet("udp://127.0.0.1:{port}"), *UDP_PEERS)
# Each pair with all it has: who cannot do trains meets a client that does not send them.
UDP_BOTH = (UDP_PLAIN, dataclasses.replace(UDP_GSO, client=("gso",)),
            *outlet("udp://127.0.0.1:{port}", client=("gso",)),
            *outlet("udp://127.0.0.1:{port}", prefix="outlet-pair",
                    client_program="client_outlet"), *UDP_PEERS)
PUBLISH = (Server("epoll", ("server_publish", "single", "{port}", "{size}"), "bare"),
           Server("epoll-gather", ("server_publish", "gather", "{port}", "{size}"), "bare"),
           *outlet("tcp://127.0.0.1:{port}#frame=fixed:{size}", "publish_outlet"))
SENDERS = (Server("mutex", ("server_senders", "mutex", "{port}", "4", "{size}"), "bare"),
           Server("mutex-queue", ("server_senders", "queue", "{port}", "4", "{size}"), "bare"),
           *outlet("{port}", "senders_outlet", ("4", "{size}")))
REACTORS = (bare("tcp")[0], Server("epoll2", ("server_epoll", "tcp", "{port}", "two"), "bare"),
            *outlet("tcp://127.0.0.1:{port}"),
            *outlet("tcp://127.0.0.1:{port}", more=("2",), prefix="outlet2"))
PAIR = {"prefix": "outlet-pair", "client_program": "client_outlet"}
# Outlet at both ends, with busy_poll and without.
BUSY = (bare("tcp")[0],
        Server("epoll-spin", ("server_epoll", "tcp", "{port}", "spin"), "bare", client=("spin",)),
        *outlet("tcp://127.0.0.1:{port}", **PAIR),
        *outlet("tcp://127.0.0.1:{port}", more=("1", "200"), client=("busy=200",),
                **{**PAIR, "prefix": "outlet-busy"}))

# Between the client and an echo server, which runs where the client does.
ECHO_BEHIND = ("server_epoll", "tcp", "{port}")
RELAY = (Server("socat", ("socat", "-d", "-d", "-b65536", "TCP-LISTEN:0,bind=127.0.0.1,fork,"
                          "reuseaddr,backlog=1024,nodelay", "TCP:127.0.0.1:{behind},nodelay"),
                "peer", "socat", behind=ECHO_BEHIND,
                ready=r"listening on AF=2 127\.0\.0\.1:(\d+)"),
         *(Server("outlet-" + env["OUTLET_DRIVER"],
                  ("../tool/outlet", "relay", "-o", "none", "tcp://127.0.0.1:0",
                   "tcp://127.0.0.1:{behind}"),
                  "outlet", "the outlet command (-Dtool=true)", env, behind=ECHO_BEHIND,
                  ready=r"listening at tcp://127\.0\.0\.1:(\d+)") for env in (EPOLL, URING)))

# Who puts load on the same server: the bare client of this benchmark, and the command.
LOAD = (Server("client", ("server_epoll", "tcp", "{port}"), "bare"),
        *(Server("outlet-load-" + env["OUTLET_DRIVER"], ("server_epoll", "tcp", "{port}"),
                 "outlet", "the outlet command (-Dtool=true)", env, client_program="../tool/outlet")
          for env in (EPOLL, URING)))


SLICES = 6  # of 0.1 s


def stream(name, connections, depth, size, servers=TCP, mode="echo"):
    """A row of stream echo."""
    transport = name.split("-")[0]
    shown = f"{size // 1024} KiB" if size % 1024 == 0 else f"{size} B"
    return Row(name, f"{transport} echo, {connections} connection{'s' * (connections > 1)}, "
                     f"{depth} in flight, {shown}", mode, connections, depth, size, servers,
               slices=SLICES if connections <= 64 else 1)


ROWS = (
    stream("tcp-1x1", 1, 1, 64),
    stream("tcp-1x16", 1, 16, 64),
    stream("tcp-64x1", 64, 1, 64),
    stream("tcp-64x16", 64, 16, 64),
    stream("tcp-1000x1", 1000, 1, 64),
    stream("tcp-1000x16", 1000, 16, 64),
    stream("tcp-64k", 16, 1, 65536, TCP_LARGE),
    stream("unix-64x1", 64, 1, 64, UNIX),
    stream("unix-64x16", 64, 16, 64, UNIX),
    stream("unix-64k", 16, 1, 65536, UNIX_LARGE),
    stream("frame-64x1", 64, 1, 68, FRAME, "frame"),
    stream("frame-64x16", 64, 16, 68, FRAME, "frame"),
    Row("udp-4x32", "udp echo to a plain sender, 4 sockets, 32 in flight, 64 B", "udp", 4, 32, 64,
        UDP, slices=SLICES),
    Row("udp-gso", "udp echo, both ends with all they have, 4 sockets, 128 in flight, 64 B", "udp",
        4, 128, 64, UDP_BOTH, "rate"),
    Row("churn", "tcp connect, one round trip, close; 32 at once, 64 B", "churn", 32, 1, 64, TCP,
        slices=SLICES),
    Row("idle", "tcp, memory of an idle connection, 10,000 of them", "idle", 10000, 1, 64, TCP,
        "memory"),
    Row("publish", "publish to 10,000 connections, 4 under way, 100 B", "publish", 10000, 4, 100,
        PUBLISH),
    Row("senders", "4 threads send to 1,000 connections, 8 messages each in a turn, 64 B",
        "senders", 1000, 4, 64, SENDERS),
    Row("reactors", "tcp echo, 64 connections, 16 in flight, 64 B; on every CPU but the client's",
        "echo", 64, 16, 64, REACTORS, spread=True),
    *(Row(f"load-{connections}x{depth}",
          f"outlet load against a bare client, {connections} connections, {depth} in flight, 64 B",
          "echo", connections, depth, 64, LOAD, of="client")
      for connections, depth in ((64, 1), (64, 16), (1000, 1))),
    Row("relay-64x16", "relay to an echo server behind it, 64 connections, 16 in flight, 64 B",
        "echo", 64, 16, 64, RELAY, "rate"),
    Row("relay-64k", "relay to an echo server behind it, 64 connections, 1 in flight, 64 KiB",
        "echo", 64, 1, 65536, RELAY, "rate"),
    Row("busy", "tcp round trips of one connection, 64 B; both ends sleep, or both spin", "echo",
        1, 1, 64, BUSY, "rate"),
)


@dataclasses.dataclass(frozen=True)
class Goal:
    """A median over rounds of a / b (of each list, the better one) against a limit."""
    text: str
    row: str
    metric: str  # cpu or rate
    a: tuple
    b: tuple
    limit: float
    at_least: bool = False


OURS = ("outlet-epoll", "outlet-uring")
PAIRS = ("outlet-pair-epoll", "outlet-pair-uring")
LIMITS = ("epoll", "uring")

GOALS = (
    *(Goal(f"{row}: CPU per message against the better bare loop", row, "cpu", OURS, LIMITS, 1.05)
      for row in ("tcp-1x1", "tcp-1x16", "tcp-64x1", "tcp-64x16", "tcp-1000x1", "tcp-1000x16",
                  "tcp-64k", "unix-64x1", "unix-64x16")),
    *(Goal(f"{row}: our uring against our epoll", row, "cpu", OURS[1:], OURS[:1], 1.08)
      for row in ("tcp-64x1", "tcp-64x16")),
    *(Goal(f"{row}: ahead of libuv and libevent", row, "cpu", OURS, ("libuv", "libevent"), 1.0)
      for row in ("frame-64x1", "frame-64x16")),
    Goal("churn: CPU per connection against the better bare loop", "churn", "cpu", OURS, LIMITS,
         1.10),
    Goal("udp-4x32: CPU against recvfrom and sendto", "udp-4x32", "cpu", OURS, ("epoll",), 0.95),
    Goal("udp-gso: rate against libuv", "udp-gso", "rate", PAIRS, ("libuv",), 15, True),
    Goal("busy: round trips against the same without", "busy", "rate",
         ("outlet-busy-epoll", "outlet-busy-uring"), PAIRS, 2.5, True),
    Goal("publish: rate against a loop of sends", "publish", "rate", OURS, ("epoll",), 2.2, True),
    Goal("senders: rate against a mutex per connection", "senders", "rate", OURS, ("mutex",), 2,
         True),
    *(Goal(f"{row}: CPU per message of outlet load against the bare client", row, "cpu",
           ("outlet-load-epoll", "outlet-load-uring"), ("client",), 1.1)
      for row in ("load-64x1", "load-64x16", "load-1000x1")),
    Goal("relay-64x16: rate against socat", "relay-64x16", "rate", OURS, ("socat",), 1.3, True),
    Goal("relay-64k: rate against socat", "relay-64k", "rate", OURS, ("socat",), 0.95, True),
    *(Goal(f"reactors: two against one, {driver}", "reactors", "cpu", (f"outlet2-{driver}",),
           (f"outlet-{driver}",), 1.1) for driver in ("epoll", "uring")),
)
