/*
 * sock.c - create, bind and use sockets: what is the same for every kernel driver.
 *
 * A newcomer would set options on the accepted sockets.  They come with those of their listener,
 * which are set before it listens: no system call for each client.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum {
    /* The default of 208 KiB holds a single datagram of 65,507 bytes with its bookkeeping. */
    DGRAM_RECEIVE_BUFFER = 4 << 20,
    DGRAM_SEND_BUFFER = 1 << 20,
    MULTICAST_ALL_V6 = 29 /* IPV6_MULTICAST_ALL, which the C library does not name */
};

/* ---- making sockets ---------------------------------------------------------------------- */

static int
set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static int
type_of(enum ol_link_kind kind)
{
    if (kind == OL_LINK_DGRAM || kind == OL_LINK_LOCAL)
        return SOCK_DGRAM;
    return kind == OL_LINK_PACKET ? SOCK_SEQPACKET : SOCK_STREAM;
}

static int
new_socket(const struct ol_addr *a, int type)
{
    int fd;

    type |= SOCK_NONBLOCK | SOCK_CLOEXEC;

    switch ((enum ol_addr_kind)a->kind) {
    case OL_ADDR_V4:
        fd = socket(AF_INET, type, 0);
        break;
    case OL_ADDR_V6:
        fd = socket(AF_INET6, type, 0);
        break;
    case OL_ADDR_PATH:
    case OL_ADDR_ABSTRACT:
        fd = socket(AF_UNIX, type, 0);
        break;
    case OL_ADDR_NONE:
    default:
        return -EAFNOSUPPORT;
    }
    return fd < 0 ? -errno : fd;
}

static bool
is_internet(const struct ol_addr *a)
{
    return a->kind == OL_ADDR_V4 || a->kind == OL_ADDR_V6;
}

static int
set_keepalive(int fd, const struct ol_tuning *t)
{
    int err = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);

    if (!err)
        err = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, t->keepalive_s);
    if (!err && t->keepalive_interval_s)
        err = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, t->keepalive_interval_s);
    if (!err && t->keepalive_probes)
        err = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, t->keepalive_probes);
    return err;
}

/* The two lowest bits of the byte are the congestion's (RFC 3168), not ours. */
static int
set_dscp(int fd, enum ol_addr_kind kind, int dscp)
{
    if (kind == OL_ADDR_V6)
        return set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
    return set_int(fd, IPPROTO_IP, IP_TOS, dscp << 2);
}

/* What is sent to groups and broadcast addresses. */
static int
tune_many(int fd, enum ol_addr_kind kind, const struct ol_tuning *t)
{
    bool v6 = kind == OL_ADDR_V6;
    int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    struct ip_mreqn via = {.imr_ifindex = (int)t->interface};
    int err = 0;

    if (t->ttl)
        err = set_int(fd, level, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, t->ttl);
    if (!err && t->deaf)
        err = set_int(fd, level, v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, 0);
    if (!err && t->interface && v6)
        err = set_int(fd, level, IPV6_MULTICAST_IF, (int)t->interface);
    if (!err && t->interface && !v6 &&
        setsockopt(fd, level, IP_MULTICAST_IF, &via, sizeof via) != 0)
        err = -errno;
    if (!err && t->broadcast && !v6)
        err = set_int(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (!err && t->broadcast && !v6 && t->interface)
        err = set_int(fd, level, IP_UNICAST_IF, (int)htonl(t->interface));
    return err;
}

/* Before bind and connect; does nothing to what is no internet socket. */
static int
tune(int fd, const struct ol_addr *a, bool is_dgram, const struct ol_tuning *t)
{
    bool is_tcp = is_internet(a) && !is_dgram;
    size_t len = strlen(t->device);
    int err = 0;

    if (is_tcp && t->nodelay)
        err = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!err && is_tcp && t->keepalive_s)
        err = set_keepalive(fd, t);
    if (!err && is_tcp && t->user_timeout_ms)
        err = set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, t->user_timeout_ms);
    if (!err && is_internet(a) && is_dgram)
        err = tune_many(fd, (enum ol_addr_kind)a->kind, t);
    if (!err && is_internet(a) && t->dscp)
        err = set_dscp(fd, (enum ol_addr_kind)a->kind, t->dscp);
    if (!err && is_internet(a) && len)
        err = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, t->device, (socklen_t)len) == 0 ? 0
                                                                                          : -errno;
    return err;
}

/* Where the kernel does not know it (before 5.0) datagrams come one by one. */
static void
take_trains(int fd)
{
    (void)set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
}

/* Which of our addresses a datagram was sent to: answers leave from there. */
static int
ask_destination(int fd, const struct ol_addr *at)
{
    if (at->kind == OL_ADDR_V4)
        return set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (at->kind == OL_ADDR_V6)
        return set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    return 0;
}

static void
grow_dgram_buffers(int fd)
{
    /* The kernel cuts to its own limit; less room only means that a burst loses more. */
    (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, DGRAM_RECEIVE_BUFFER);
    (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, DGRAM_SEND_BUFFER);
}

/* The default of 208 KiB counts bookkeeping, too, and so cannot hold a message of 256 KiB. */
void
ol_sock_use_packets(int fd)
{
    (void)set_int(fd, SOL_SOCKET, SO_SNDBUF,
                  DGRAM_SEND_BUFFER); /* the kernel cuts it to its limit */
}

/* What must be set before bind. */
static int
prepare_listener(int fd, const struct ol_listen_spec *spec)
{
    bool is_dgram = spec->kind == OL_LINK_DGRAM;
    int err = 0;

    if (is_dgram)
        grow_dgram_buffers(fd);
    if (spec->kind == OL_LINK_LOCAL)
        ol_sock_use_packets(fd);
    if (!is_internet(&spec->at))
        return 0;
    if (spec->at.kind == OL_ADDR_V6)
        err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    /* For tcp: connections of an earlier run in TIME_WAIT must not hold the port.  For udp it would
     * let a stranger share the port. */
    if (!err && !is_dgram)
        err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err)
        err = tune(fd, &spec->at, is_dgram, &spec->tuning);
    if (!err && is_dgram)
        err = ask_destination(fd, &spec->at);
    /*
     * Every member of a group on this machine gets a copy, so they all may have its port.  Not by
     * SO_REUSEPORT: what only one member is to have (of another group at that port, or by its
     * source) the kernel would give to any of the sockets that share so, by the sender's port.
     */
    if (!err && is_dgram && ol_addr_is_group(&spec->at))
        err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    else if (!err && (spec->share == OL_PORT_SIBLING || spec->share == OL_PORT_SHARED))
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err && is_dgram)
        take_trains(fd);
    return err;
}

int
ol_sock_bind(int fd, const struct ol_addr *at)
{
    union ol_sockaddr name;
    socklen_t len = ol_sockaddr_set(&name, at);

    return bind(fd, &name.any, len) == 0 ? 0 : -errno;
}

int
ol_sock_start_listening(int fd, const struct ol_listen_spec *spec)
{
    if (spec->kind == OL_LINK_DGRAM || spec->kind == OL_LINK_LOCAL)
        return 0;
    return listen(fd, spec->backlog > 0 ? spec->backlog : SOMAXCONN) == 0 ? 0 : -errno;
}

/* ---- listening and connecting ------------------------------------------------------------ */

static void
put_address(struct sockaddr_storage *out, const struct ol_addr *a)
{
    union ol_sockaddr name;
    socklen_t len = ol_sockaddr_set(&name, a);

    memcpy(out, &name, len);
}

/* RFC 3678's way, one for both families: IP_ADD_SOURCE_MEMBERSHIP knows the interface by an address
 * of it only. */
static int
join(int fd, const struct ol_listen_spec *spec)
{
    int level = spec->at.kind == OL_ADDR_V4 ? IPPROTO_IP : IPPROTO_IPV6;
    struct group_source_req one = {.gsr_interface = spec->tuning.interface};
    struct group_req all = {.gr_interface = spec->tuning.interface};
    int err;

    put_address(&all.gr_group, &spec->at);
    one.gsr_group = all.gr_group;
    if (spec->source.kind == OL_ADDR_NONE) {
        err = setsockopt(fd, level, MCAST_JOIN_GROUP, &all, sizeof all);
    } else {
        put_address(&one.gsr_source, &spec->source);
        err = setsockopt(fd, level, MCAST_JOIN_SOURCE_GROUP, &one, sizeof one);
    }
    return err == 0 ? 0 : -errno;
}

/*
 * At any address, not at the group's: who answers something that was sent from here answers to this
 * machine, and would not be heard.  Groups that others joined at the same port are not for us.
 */
static int
join_group(int fd, const struct ol_listen_spec *spec)
{
    struct ol_addr at = {.kind = spec->at.kind, .port = spec->at.port};
    int err = ol_sock_bind(fd, &at);

    if (!err && at.kind == OL_ADDR_V4)
        err = set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    else if (!err) /* before Linux 4.20 it always is */
        (void)set_int(fd, IPPROTO_IPV6, MULTICAST_ALL_V6, 0);
    return err ? err : join(fd, spec);
}

static int
bind_plain(int fd, const struct ol_listen_spec *spec)
{
    int err;

    if (spec->kind == OL_LINK_DGRAM && ol_addr_is_group(&spec->at))
        return join_group(fd, spec);
    err = ol_sock_bind(fd, &spec->at);
    /* After bind, so that a port that is somebody's is refused; before listen(), which founds the
     * group that siblings join. */
    if (!err && spec->share == OL_PORT_FIRST && is_internet(&spec->at))
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    return err ? err : ol_sock_start_listening(fd, spec);
}

/* What can still be set, and was asked for: where it goes is settled. */
static int
use_given(int fd, const struct ol_addr *a, bool is_dgram, const struct ol_tuning *asked)
{
    struct ol_tuning t = {.nodelay = asked->nodelay,
                          .keepalive_s = asked->keepalive_s,
                          .keepalive_interval_s = asked->keepalive_interval_s,
                          .keepalive_probes = asked->keepalive_probes,
                          .user_timeout_ms = asked->user_timeout_ms,
                          .dscp = asked->dscp};
    int err = ol_sock_use_given(fd);

    return err ? err : tune(fd, a, is_dgram, &t);
}

/* Bound, and perhaps shared with other processes: neither its file nor its end is ours. */
static int
listen_given(const struct ol_listen_spec *spec, struct ol_addr *bound)
{
    int fd = spec->given;
    int err = ol_sock_name(fd, false, bound);

    if (!err)
        err = use_given(fd, bound, spec->kind == OL_LINK_DGRAM, &spec->tuning);
    if (!err && spec->kind == OL_LINK_DGRAM)
        err = ask_destination(fd, bound);
    if (err) {
        close(fd);
        return err;
    }
    if (spec->kind == OL_LINK_DGRAM)
        take_trains(fd);
    return fd;
}

int
ol_sock_listen(const struct ol_listen_spec *spec, struct ol_addr *bound, struct ol_sock_file *file)
{
    int fd;
    int err;

    memset(file, 0, sizeof *file);
    if (spec->given)
        return listen_given(spec, bound);
    fd = new_socket(&spec->at, spec->packets ? SOCK_SEQPACKET : type_of(spec->kind));
    if (fd < 0)
        return fd;
    err = prepare_listener(fd, spec);
    if (err)
        goto close_fd;
    err = spec->at.kind == OL_ADDR_PATH ? ol_sock_bind_path(fd, spec, file) : bind_plain(fd, spec);
    if (err)
        goto close_fd;
    err = ol_sock_name(fd, false, bound);
    if (err)
        goto remove_file;
    return fd;

remove_file:
    ol_sock_unlink(file);
close_fd:
    close(fd);
    return err;
}

int
ol_sock_accept(int fd, struct ol_addr *from)
{
    union ol_sockaddr name;
    socklen_t len = sizeof name;
    int got = accept4(fd, &name.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (got < 0)
        return -errno;
    if (from)
        ol_sockaddr_get(&name, len, from);
    return got;
}

/*
 * With an address alone the port is picked when connecting: for each peer anew, so there may be
 * more connections than ports.  With a port, an earlier one in TIME_WAIT must not hold it.
 */
static int
bind_local(int fd, const struct ol_connect_spec *spec)
{
    struct ol_addr at = spec->local;
    struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    int err;

    /* With a family alone the kernel picks an abstract name: answers need one. */
    if (spec->kind == OL_LINK_LOCAL)
        return bind(fd, (struct sockaddr *)&unnamed, sizeof unnamed.sun_family) == 0 ? 0 : -errno;
    if (!is_internet(&spec->to) || (at.kind == OL_ADDR_NONE && at.port == 0 && !spec->many))
        return 0;
    if (at.kind == OL_ADDR_NONE)
        at.kind = spec->to.kind;
    if (at.port == 0 && !spec->many)
        err = set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    else
        err = spec->kind == OL_LINK_STREAM ? set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) : 0;
    return err ? err : ol_sock_bind(fd, &at);
}

int
ol_sock_open(const struct ol_connect_spec *spec)
{
    bool is_dgram = spec->kind == OL_LINK_DGRAM;
    int fd = spec->given ? spec->given : new_socket(&spec->to, type_of(spec->kind));
    int err;

    if (fd < 0)
        return fd;
    if (spec->given) {
        err = use_given(fd, &spec->to, is_dgram, &spec->tuning);
        if (err)
            close(fd);
        return err ? err : fd;
    }
    if (spec->kind == OL_LINK_PACKET || spec->kind == OL_LINK_LOCAL) {
        ol_sock_use_packets(fd);
    } else if (spec->kind == OL_LINK_DGRAM) {
        grow_dgram_buffers(fd);
        take_trains(fd);
    }
    err = tune(fd, &spec->to, is_dgram, &spec->tuning);
    if (!err)
        err = bind_local(fd, spec);
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

int
ol_sock_connect(int fd, const struct ol_connect_spec *spec)
{
    union ol_sockaddr name;
    socklen_t len = ol_sockaddr_set(&name, &spec->to);

    if (spec->many || connect(fd, &name.any, len) == 0)
        return 0;
    /* Interrupted means under way, like EINPROGRESS: calling again would answer EALREADY. */
    return errno == EINTR ? -EINPROGRESS : -errno;
}

int
ol_sock_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof err;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return -errno;
    return -err;
}

int
ol_sock_pair(int32_t tokens[2])
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return -errno;
    tokens[0] = fds[0];
    tokens[1] = fds[1];
    return 0;
}

void
ol_sock_close(int fd, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    /* Not a TCP socket: there is no reset to send, and closing is the same. */
    if (reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

int
ol_sock_end_writing(int fd)
{
    return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno;
}

int
ol_sock_credentials(int fd, struct ol_credentials *out)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return -errno;
    /* What is no unix socket, or has no peer, answers with nobody. */
    if (peer.pid == 0 && peer.uid == (uid_t)-1)
        return -EOPNOTSUPP;
    *out = (struct ol_credentials){(uint32_t)peer.pid, peer.uid, peer.gid};
    return 0;
}

int
ol_sock_tcp_facts(int fd, struct ol_tcp_facts *out)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return -errno;
    out->rtt_us = info.tcpi_rtt;
    out->retransmits = info.tcpi_total_retrans;
    return 0;
}

/* ---- bytes ------------------------------------------------------------------------------- */

int64_t
ol_sock_send_pieces(int fd, const struct iovec *pieces, int count)
{
    struct msghdr head = {.msg_iov = (struct iovec *)pieces,
                          .msg_iovlen = (size_t)(count < OL_SOCK_PIECES ? count : OL_SOCK_PIECES)};
    ssize_t n = sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);

    return n < 0 ? -errno : n;
}

/* sendfile has no MSG_NOSIGNAL.  The signal is synchronous and meant for this thread: held back
 * here, it can be taken away before anybody else hears of it. */
struct pipe_signal {
    sigset_t just_it;
    sigset_t before;
    bool was_pending;
};

static void
hold_pipe_signal(struct pipe_signal *s)
{
    sigset_t pending;

    sigemptyset(&s->just_it);
    sigaddset(&s->just_it, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &s->just_it, &s->before);
    s->was_pending = sigismember(&s->before, SIGPIPE) && sigpending(&pending) == 0 &&
                     sigismember(&pending, SIGPIPE);
}

static void
release_pipe_signal(const struct pipe_signal *s, bool raised)
{
    static const struct timespec at_once = {0};

    if (raised && !s->was_pending) {
        while (sigtimedwait(&s->just_it, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

int64_t
ol_sock_send_file(int fd, int file, int64_t offset, size_t len)
{
    struct pipe_signal signal;
    off_t at = (off_t)offset;
    ssize_t n;
    int err;

    hold_pipe_signal(&signal);
    n = sendfile(fd, file, &at, len);
    err = n < 0 ? -errno : n == 0 ? -ENODATA : 0;
    release_pipe_signal(&signal, err == -EPIPE);
    return err ? err : n;
}

bool
ol_sock_is_lost_client(int sys_errno)
{
    switch (sys_errno) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}
