/*
 * client.c - the bare client that every server of the benchmark is measured with: epoll, one
 * thread.
 *
 *     client MODE HOST:PORT|unix:PATH CONNECTIONS DEPTH SIZE SECONDS SERVER-PID [OPTION...]
 *
 *     echo     DEPTH messages of SIZE bytes are kept in flight on each connection
 *     frame    the same with a 4-byte big-endian length before each, counted in SIZE
 *     udp      the same with datagrams; what is lost is sent again after 100 quiet ms and counted
 *     churn    CONNECTIONS at once: connect, one round trip, close, again
 *     publish  one connection more, which keeps DEPTH messages under way that everyone else gets
 *     senders  one connection more, which directs DEPTH threads of the server (senders.h)
 *     idle     open, one round trip each, wait: a line is printed at a tenth and at the end, and
 *              a line read from standard input lets it go on
 *
 *     gso      udp: send trains (UDP_SEGMENT) and gather them (UDP_GRO)
 *     spin     never sleep
 *     warm=MS  before anything is counted; 300
 *     least=N  go on until N messages have come, however long that takes; 1
 *
 * It compares every byte that comes back, and prints one line of JSON: messages, seconds, the CPU
 * time that the server's threads used meanwhile (the scheduler's own accounting) and its own.
 *
 * What a newcomer gets wrong: to trust the rate.  On loopback the client pays about what the server
 * pays, so rates saturate for every good server; the server's CPU per message is the figure to
 * compare.
 *
 * SPDX-License-Identifier: MIT
 */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    EVENTS = 512,
    MAX_CONNS = 65536,
    MAX_DEPTH = 1024,
    QUIET_NS = 100 * 1000 * 1000,
    TRAIN_MAX = 64, /* datagrams, and... */
    TRAIN_BYTES = 65000,
    SENDERS = 16,
    TURN = 8,       /* messages of a sender to a connection, as in senders.h */
    TURNS_AHEAD = 2 /* of each sender */
};

struct conn {
    int fd;
    bool is_writing;   /* EPOLLOUT is armed */
    uint64_t sent;     /* bytes that were to go; udp: datagrams */
    uint64_t unsent;   /* of these, not taken by the kernel yet */
    uint64_t received; /* bytes; udp: datagrams, lost ones included */
    int64_t heard;     /* udp: when the last one came */
    uint32_t *turns;   /* senders: the next number of each thread */
    uint8_t *part;     /* senders: a message that has begun */
    size_t part_len;
};

static struct {
    const char *mode;
    struct sockaddr_storage to;
    socklen_t to_len;
    int type;
    int connections;
    int depth;
    size_t size; /* of a message on the wire */
    double seconds;
    int server;
    double warm;
    uint64_t least;
    bool is_framed;
    bool is_gso;
    bool is_spinning;
} o;

static struct conn *conns;
static uint8_t room[ROOM + 65536];
static int epfd;

static void
give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void
parse_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&o.to;
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&o.to;
    char host[64];

    if (strncmp(text, "unix:", 5) == 0) {
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "%s", text + 5);
        o.to_len = sizeof *un;
        return;
    }
    if (!colon || (size_t)(colon - text) >= sizeof host)
        exit(2);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
        exit(2);
    o.to_len = sizeof *in;
}

/*
 * Each connection comes from one of 250 loopback addresses in turn, so that churn does not run out
 * of ports while closed ones are in TIME_WAIT.
 */
static int
connected_socket(void)
{
    static uint32_t turn;
    struct sockaddr_in from = {.sin_family = AF_INET};
    int one = 1;
    int fd = socket(o.to.ss_family, o.type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (o.to.ss_family == AF_INET) {
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % 250);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            die("bind");
    }
    if (connect(fd, (struct sockaddr *)&o.to, o.to_len) < 0)
        die("connect");
    if (o.to.ss_family == AF_INET && o.type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void
watch(struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &e))
        die("epoll_ctl");
}

static int
wait_events(struct epoll_event *events, int ms)
{
    int n = epoll_wait(epfd, events, EVENTS, o.is_spinning ? 0 : ms);

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    return n;
}

/* Bytes that came, or 0 when nothing is there. */
static size_t
receive(struct conn *c, uint8_t *into, size_t len)
{
    ssize_t n = recv(c->fd, into, len, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == 0)
        give_up("the server closed a connection");
    if (n < 0)
        die("recv");
    return (size_t)n;
}

/* ---- streams ----------------------------------------------------------------------------- */

static void
arm(struct conn *c, bool writing)
{
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = c};

    if (c->is_writing == writing)
        return;
    c->is_writing = writing;
    if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e))
        die("epoll_ctl");
}

static void
push(struct conn *c)
{
    while (c->unsent) {
        uint64_t at = c->sent - c->unsent;
        size_t len = c->unsent > period ? period : (size_t)c->unsent;
        ssize_t n = send(c->fd, pattern + at % period, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            arm(c, true);
            return;
        }
        if (n < 0)
            die("send");
        c->unsent -= (uint64_t)n;
    }
    arm(c, false);
}

/* Answers with the number of messages that are whole now and were not before. */
static uint64_t
pull(struct conn *c)
{
    size_t n = receive(c, room, ROOM);
    uint64_t before = c->received / o.size;

    if (n && memcmp(room, pattern + c->received % period, n) != 0)
        wrong++;
    c->received += n;
    if (c->received > c->sent)
        wrong++;
    return c->received / o.size - before;
}

static void
echo_pull(struct conn *c)
{
    uint64_t whole = pull(c);

    messages += whole;
    c->sent += whole * o.size;
    c->unsent += whole * o.size;
    if (c->unsent)
        push(c);
}

static void
echo_open(void)
{
    for (int i = 0; i < o.connections; i++) {
        conns[i].fd = connected_socket();
        watch(&conns[i]);
        conns[i].sent = conns[i].unsent = (uint64_t)o.depth * o.size;
        push(&conns[i]);
    }
}

static void
echo_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = wait_events(events, 100);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        if (events[i].events & EPOLLOUT)
            push(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            echo_pull(c);
    }
}

/* ---- datagrams --------------------------------------------------------------------------- */

static void
udp_send_train(struct conn *c, int n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {
        .align = {.cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(2)}};
    uint16_t segment = (uint16_t)o.size;
    struct iovec piece = {.iov_base = pattern + c->sent % (period / o.size) * o.size,
                          .iov_len = (size_t)n * o.size};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};

    if (n > 1) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        memcpy(CMSG_DATA(&control.align), &segment, sizeof segment);
    }
    if (sendmsg(c->fd, &m, MSG_DONTWAIT) >= 0)
        c->sent += (uint64_t)n;
    else if (errno != EAGAIN && errno != ENOBUFS)
        die("sendmsg");
}

/* Up to `depth` in flight; what the kernel does not take is tried when something was heard. */
static void
udp_fill(struct conn *c)
{
    int train = o.is_gso ? TRAIN_BYTES / (int)o.size : 1;

    if (train > TRAIN_MAX)
        train = TRAIN_MAX;
    while (c->sent - c->received < (uint64_t)o.depth) {
        uint64_t before = c->sent;
        uint64_t left = (uint64_t)o.depth - (c->sent - c->received);

        udp_send_train(c, left < (uint64_t)train ? (int)left : train);
        if (c->sent == before)
            return;
    }
}

static void
udp_check(struct conn *c, const uint8_t *bytes, size_t len)
{
    c->received += datagram_ahead(bytes, len, o.size, c->received, c->sent);
}

/* False: nothing was there. */
static bool
udp_receive(struct conn *c)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = room, .iov_len = ROOM};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1};
    size_t segment;
    ssize_t n;

    if (o.is_gso) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
    }
    n = recvmsg(c->fd, &m, MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("recvmsg");
    if (n <= 0)
        return false;
    segment = (size_t)n;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        int size;

        if (h->cmsg_level != SOL_UDP || h->cmsg_type != UDP_GRO)
            continue;
        memcpy(&size, CMSG_DATA(h), sizeof size);
        segment = (size_t)size;
    }
    for (size_t at = 0; at < (size_t)n; at += segment) {
        udp_check(c, room + at, (size_t)n - at < segment ? (size_t)n - at : segment);
    }
    return true;
}

static void
udp_open(void)
{
    int one = 1;

    for (int i = 0; i < o.connections; i++) {
        conns[i].fd = connected_socket();
        if (o.is_gso && setsockopt(conns[i].fd, SOL_UDP, UDP_GRO, &one, sizeof one))
            die("UDP_GRO");
        watch(&conns[i]);
        conns[i].heard = now_ns(CLOCK_MONOTONIC);
        udp_fill(&conns[i]);
    }
}

static void
udp_turn(void)
{
    static int64_t swept;
    struct epoll_event events[EVENTS];
    int n = wait_events(events, QUIET_NS / 1000000);
    int64_t now = now_ns(CLOCK_MONOTONIC);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        for (int got = 0; got < o.depth && udp_receive(c); got++) {
        }
        c->heard = now;
        udp_fill(c);
    }
    if (now - swept < QUIET_NS)
        return;
    swept = now;
    for (int i = 0; i < o.connections; i++) {
        struct conn *c = &conns[i];

        if (now - c->heard < QUIET_NS)
            continue;
        datagrams_lost(c->sent - c->received);
        c->received = c->sent;
        c->heard = now;
        udp_fill(c);
    }
}

/* ---- churn: connect, one round trip, close ----------------------------------------------- */

static void
churn_start(struct conn *c)
{
    c->fd = connected_socket();
    watch(c);
    c->received = 0;
    c->sent = o.size;
    c->is_writing = false;
    if (send(c->fd, pattern, o.size, MSG_NOSIGNAL) != (ssize_t)o.size)
        die("send");
}

static void
churn_open(void)
{
    for (int i = 0; i < o.connections; i++) {
        churn_start(&conns[i]);
    }
}

static void
churn_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = wait_events(events, 100);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        if (!pull(c))
            continue;
        messages++;
        close(c->fd);
        churn_start(c);
    }
}

/* ---- publish: the last connection speaks, all others hear ---------------------------------- */

static uint64_t published;     /* messages that everybody has */
static int hearers[MAX_DEPTH]; /* how many have message i, modulo */

/* The server says `len` bytes when a connection is in its books. */
static void
await_greeting(struct conn *c, size_t len)
{
    if (recv(c->fd, room, len, MSG_WAITALL) != (ssize_t)len)
        give_up("the server did not greet");
}

static void
publish_open(void)
{
    struct conn *speaker = &conns[o.connections];

    for (int i = 0; i <= o.connections; i++) {
        conns[i].fd = connected_socket();
        await_greeting(&conns[i], o.size);
        watch(&conns[i]);
    }
    speaker->sent = speaker->unsent = (uint64_t)o.depth * o.size;
    push(speaker);
}

static void
publish_heard(struct conn *c)
{
    struct conn *speaker = &conns[o.connections];
    uint64_t from = c->received / o.size;
    uint64_t whole;

    c->sent = speaker->sent; /* what may have come at most */
    whole = pull(c);
    messages += whole;
    for (uint64_t i = from; i < from + whole; i++) {
        hearers[i % (uint64_t)o.depth]++;
    }
    while (hearers[published % (uint64_t)o.depth] == o.connections) {
        hearers[published++ % (uint64_t)o.depth] = 0;
        speaker->sent += o.size;
        speaker->unsent += o.size;
    }
}

static void
publish_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = wait_events(events, 100);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        if (c != &conns[o.connections])
            publish_heard(c);
        else if (!(events[i].events & EPOLLOUT))
            give_up("the speaker heard itself, or was closed");
    }
    push(&conns[o.connections]);
}

/* ---- senders: the last connection directs the server's threads ------------------------------ */

static uint64_t turn_left[SENDERS]; /* messages until all that was begun has come */

static void
senders_direct(int sender)
{
    char name = (char)('0' + sender);

    turn_left[sender] += (uint64_t)TURN * (uint64_t)o.connections;
    if (send(conns[o.connections].fd, &name, 1, MSG_NOSIGNAL) != 1)
        die("send");
}

static void
senders_open(void)
{
    for (int i = 0; i <= o.connections; i++) {
        conns[i].fd = connected_socket();
        conns[i].turns = calloc((size_t)o.depth, sizeof *conns[i].turns);
        conns[i].part = malloc(o.size);
        await_greeting(&conns[i], 1);
        watch(&conns[i]);
    }
    for (int i = 0; i < o.depth * TURNS_AHEAD; i++) {
        senders_direct(i % o.depth);
    }
}

static void
senders_message(struct conn *c, const uint8_t *bytes)
{
    uint32_t sender;
    uint32_t number;

    memcpy(&sender, bytes, sizeof sender);
    memcpy(&number, bytes + 4, sizeof number);
    if (sender >= (uint32_t)o.depth || memcmp(bytes + 8, pattern + 8, o.size - 8) != 0 ||
        number != c->turns[sender]++) {
        wrong++;
        return;
    }
    messages++;
    turn_left[sender]--;
    /* All but the turns ahead have come: one more. */
    if (turn_left[sender] == (uint64_t)TURN * (uint64_t)o.connections * (TURNS_AHEAD - 1))
        senders_direct((int)sender);
}

static void
senders_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = wait_events(events, 100);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        size_t len = c->part_len;
        size_t at = 0;

        memcpy(room, c->part, len);
        len += receive(c, room + len, ROOM);
        while (len - at >= o.size) {
            senders_message(c, room + at);
            at += o.size;
        }
        c->part_len = len - at;
        memcpy(c->part, room + at, c->part_len);
    }
}

/* ---- idle: how much memory a connection is ------------------------------------------------- */

static void
idle(void)
{
    for (int i = 0; i < o.connections; i++) {
        struct conn *c = &conns[i];

        c->fd = connected_socket();
        c->sent = o.size;
        if (send(c->fd, pattern, o.size, MSG_NOSIGNAL) != (ssize_t)o.size)
            die("send");
        while (c->received < o.size) {
            ssize_t n = recv(c->fd, room, o.size - c->received, 0);

            if (n <= 0)
                give_up("the server closed a connection");
            wrong += memcmp(room, pattern + c->received, (size_t)n) != 0;
            c->received += (uint64_t)n;
        }
        messages++;
        if (i + 1 == o.connections / 10 || i + 1 == o.connections) {
            printf("{\"open\":%d,\"wrong\":%llu}\n", i + 1, (unsigned long long)wrong);
            fflush(stdout);
            if (getchar() == EOF)
                return;
        }
    }
}

/* ---- measuring --------------------------------------------------------------------------- */

static const struct mode {
    const char *name;
    void (*open)(void);
    void (*turn)(void);
} modes[] = {
    {"echo", echo_open, echo_turn},
    {"frame", echo_open, echo_turn},
    {"udp", udp_open, udp_turn},
    {"churn", churn_open, churn_turn},
    {"publish", publish_open, publish_turn},
    {"senders", senders_open, senders_turn},
    {"idle", idle, NULL},
};

static const struct mode *
parse(int argc, char **argv)
{
    if (argc < 8)
        return NULL;
    o.mode = argv[1];
    o.type = strcmp(o.mode, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    parse_address(argv[2]);
    o.connections = atoi(argv[3]);
    o.depth = atoi(argv[4]);
    o.size = (size_t)atol(argv[5]);
    o.seconds = atof(argv[6]);
    o.server = atoi(argv[7]);
    o.warm = 0.3;
    o.least = 1;
    o.is_framed = strcmp(o.mode, "frame") == 0;
    for (int i = 8; i < argc; i++) {
        o.is_gso |= strcmp(argv[i], "gso") == 0;
        o.is_spinning |= strcmp(argv[i], "spin") == 0;
        if (strncmp(argv[i], "warm=", 5) == 0)
            o.warm = atof(argv[i] + 5) / 1000;
        if (strncmp(argv[i], "least=", 6) == 0)
            o.least = strtoull(argv[i] + 6, NULL, 10);
    }
    if (o.connections < 1 || o.connections >= MAX_CONNS || o.depth < 1 || o.depth > MAX_DEPTH ||
        o.size < (o.is_framed ? 5 : 1) || o.size > ROOM)
        return NULL;
    if (strcmp(o.mode, "senders") == 0 && (o.depth > 10 || o.size < 8))
        return NULL;
    if (o.type == SOCK_DGRAM && (o.size < 2 || o.size > 65507))
        return NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(o.mode, modes[i].name) == 0)
            return &modes[i];
    }
    return NULL;
}

static void
run(void (*turn)(void), double seconds, uint64_t least)
{
    int64_t end = now_ns(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e9);

    while (now_ns(CLOCK_MONOTONIC) < end || messages < least) {
        turn();
    }
}

int
main(int argc, char **argv)
{
    const struct mode *mode = parse(argc, argv);

    if (!mode) {
        fprintf(stderr, "usage: see the head of client.c\n");
        return 2;
    }
    alarm((unsigned)(o.warm + o.seconds) + 60); /* a server that hangs does not keep us */
    make_pattern(o.size, o.is_framed);
    conns = calloc((size_t)o.connections + 1, sizeof *conns);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || epfd < 0)
        die("memory");
    mode->open();
    if (!mode->turn)
        return wrong != 0;

    run(mode->turn, o.warm, 0);
    measure_begin(o.server);
    run(mode->turn, o.seconds, o.least);
    return measure_end();
}
