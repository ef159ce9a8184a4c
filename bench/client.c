/*
 * client.c - the bare client that every server of the benchmark is measured with: epoll, one
 * thread.
 *
 *     client echo  HOST:PORT|unix:PATH  connections depth size seconds server-pid [head]
 *     client churn HOST:PORT            at-once 0 size seconds server-pid
 *     client udp   HOST:PORT            sockets depth size seconds server-pid
 *
 * It keeps `depth` messages in flight on each connection, compares every echoed byte, and prints
 * one line of JSON: messages, seconds, the CPU time that the server's threads used meanwhile (the
 * scheduler's own accounting) and its own.  `head` puts a 4-byte big-endian length before messages.
 *
 * What a newcomer gets wrong: to trust the rate.  On loopback the client pays about what the server
 * pays, so rates saturate for every good server; the server's CPU per message is the figure to
 * compare.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, ROOM = 1 << 18, WARM_MS = 300, MAX_CONNS = 20000 };

struct conn {
    int fd;
    uint64_t sent;     /* bytes that were to go */
    uint64_t unsent;   /* of these, not taken by the kernel yet */
    uint64_t received; /* bytes */
    bool writing;      /* EPOLLOUT is armed */
};

static struct {
    struct sockaddr_storage to;
    socklen_t to_len;
    int type;
    int connections;
    int depth;
    size_t size; /* of a message on the wire */
    double seconds;
    int server;
    bool head;
} o;

static struct conn *conns;
static uint8_t *pattern; /* two periods of what is sent, so that any offset can be read on */
static size_t period;
static uint8_t room[ROOM];
static int epfd;
static uint64_t messages;
static uint64_t wrong;

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t
now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CPU time of all threads of the server, in ns; 0 where /proc does not say. */
static int64_t
server_cpu(void)
{
    char path[300];
    DIR *tasks;
    struct dirent *entry;
    int64_t sum = 0;

    snprintf(path, sizeof path, "/proc/%d/task", o.server);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        long long run;
        FILE *f;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", o.server, entry->d_name);
        f = fopen(path, "r");
        if (f && fscanf(f, "%lld", &run) == 1)
            sum += run;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return sum;
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

static int
connected_socket(void)
{
    int one = 1;
    int fd = socket(o.to.ss_family, o.type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&o.to, o.to_len) < 0)
        die("connect");
    if (o.to.ss_family == AF_INET && o.type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* ---- streams ----------------------------------------------------------------------------- */

static void
make_pattern(void)
{
    period = o.size;
    while (period < 65536) {
        period += o.size;
    }
    pattern = malloc(period * 2 + ROOM);
    for (size_t i = 0; i < period * 2 + ROOM; i++) {
        pattern[i] = (uint8_t)(i % o.size * 7 + 3);
        if (o.head && i % o.size < 4)
            pattern[i] = (uint8_t)((o.size - 4) >> (8 * (3 - i % o.size)));
    }
}

static void
arm(struct conn *c, bool writing)
{
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = c};

    if (c->writing == writing)
        return;
    c->writing = writing;
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
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

static void
pull(struct conn *c)
{
    ssize_t n = recv(c->fd, room, sizeof room, MSG_DONTWAIT);
    uint64_t before = c->received / o.size;
    uint64_t whole;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("recv");
    if (memcmp(room, pattern + c->received % period, (size_t)n) != 0)
        wrong++;
    c->received += (uint64_t)n;
    whole = c->received / o.size - before;
    messages += whole;
    c->sent += whole * o.size;
    c->unsent += whole * o.size;
    if (c->unsent)
        push(c);
}

static void
echo_open(void)
{
    make_pattern();
    for (int i = 0; i < o.connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};

        conns[i].fd = connected_socket();
        epoll_ctl(epfd, EPOLL_CTL_ADD, conns[i].fd, &e);
        conns[i].sent = conns[i].unsent = (uint64_t)o.depth * o.size;
        push(&conns[i]);
    }
}

static void
echo_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epfd, events, EVENTS, 1000);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        if (events[i].events & EPOLLOUT)
            push(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            pull(c);
    }
}

/* ---- datagrams: depth in flight per socket; what is lost is sent again after a quiet 50 ms ----
 */

static void
udp_send(struct conn *c, int n)
{
    for (int i = 0; i < n; i++) {
        if (send(c->fd, pattern, o.size, MSG_DONTWAIT) == (ssize_t)o.size)
            c->sent++;
    }
}

static void
udp_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epfd, events, EVENTS, 50);

    if (n == 0) {
        for (int i = 0; i < o.connections; i++) {
            udp_send(&conns[i], o.depth);
        }
    }
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        int got = 0;

        while (got < o.depth && recv(c->fd, room, sizeof room, MSG_DONTWAIT) >= 0) {
            wrong += memcmp(room, pattern, o.size) != 0;
            got++;
        }
        messages += (uint64_t)got;
        udp_send(c, got);
    }
}

/* ---- churn: connect, one round trip, close ----------------------------------------------- */

static void
churn_start(struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};

    c->fd = connected_socket();
    c->received = 0;
    epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &e);
    if (send(c->fd, pattern, o.size, MSG_NOSIGNAL) != (ssize_t)o.size)
        die("send");
}

static void
churn_turn(void)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epfd, events, EVENTS, 1000);

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        ssize_t got = recv(c->fd, room, sizeof room, MSG_DONTWAIT);

        if (got <= 0)
            die("recv");
        c->received += (uint64_t)got;
        if (c->received < o.size)
            continue;
        messages++;
        close(c->fd);
        churn_start(c);
    }
}

/* ---- measuring --------------------------------------------------------------------------- */

static void
run(void (*turn)(void), double seconds)
{
    int64_t end = now_ns(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e9);

    while (now_ns(CLOCK_MONOTONIC) < end) {
        turn();
    }
}

int
main(int argc, char **argv)
{
    void (*turn)(void) = echo_turn;
    int64_t began;
    int64_t cpu;
    int64_t own;
    double took;

    if (argc < 8)
        return 2;
    o.type = strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    parse_address(argv[2]);
    o.connections = atoi(argv[3]);
    o.depth = atoi(argv[4]);
    o.size = (size_t)atol(argv[5]);
    o.seconds = atof(argv[6]);
    o.server = atoi(argv[7]);
    o.head = argc > 8;
    if (o.connections < 1 || o.connections > MAX_CONNS || o.size < 1 || o.size > ROOM)
        return 2;
    conns = calloc((size_t)o.connections, sizeof *conns);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (strcmp(argv[1], "echo") == 0) {
        echo_open();
    } else {
        make_pattern();
        for (int i = 0; i < o.connections; i++) {
            struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};

            if (o.type == SOCK_STREAM) {
                churn_start(&conns[i]);
                continue;
            }
            conns[i].fd = connected_socket();
            epoll_ctl(epfd, EPOLL_CTL_ADD, conns[i].fd, &e);
            udp_send(&conns[i], o.depth);
        }
        turn = o.type == SOCK_STREAM ? churn_turn : udp_turn;
    }
    run(turn, WARM_MS / 1000.0);
    messages = 0;
    cpu = server_cpu();
    own = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    began = now_ns(CLOCK_MONOTONIC);
    run(turn, o.seconds);
    took = (double)(now_ns(CLOCK_MONOTONIC) - began) / 1e9;
    cpu = server_cpu() - cpu;
    own = now_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    printf("{\"messages\":%llu,\"seconds\":%.6f,\"server_cpu_ns\":%lld,\"client_cpu_ns\":%lld,"
           "\"wrong\":%llu}\n",
           (unsigned long long)messages, took, (long long)cpu, (long long)own,
           (unsigned long long)wrong);
    return wrong != 0 || messages == 0;
}
