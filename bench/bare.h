/*
 * bare.h - what the servers without a library share: the listening socket, the line that tells the
 * runner that it may begin, and where framed messages end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BARE_ROOM = 65536,          /* what one receive may bring */
    BARE_LINE = 64,             /* where it begins: copied to anywhere else it costs 7 % more */
    BARE_MESSAGE_MAX = 1 << 20, /* a framed message, as in outlet */
    BARE_BACKLOG = 4096,
    BARE_EVENTS = 512 /* of one epoll_wait */
};

static inline void
bare_die(const char *what)
{
    perror(what);
    exit(1);
}

static inline void
bare_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on unix, and may */
}

/* Every server prints this line when it can be connected to; 0 for what has no port. */
static inline void
bare_ready(int port)
{
    printf("ready %d\n", port);
    fflush(stdout);
}

static inline int
bare_port(int fd)
{
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;

    getsockname(fd, (struct sockaddr *)&in, &len);
    return in.sin_family == AF_INET ? ntohs(in.sin_port) : 0;
}

static inline void
bare_ready_fd(int fd)
{
    bare_ready(bare_port(fd));
}

/* A bound socket: `where` is a path for "unix" and a port on 127.0.0.1 for everything else. */
static inline int
bare_bind(const char *kind, const char *where, int type)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_unix = strcmp(kind, "unix") == 0;
    int one = 1;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        bare_die("socket");
    in.sin_port = htons((uint16_t)atoi(where));
    snprintf(un.sun_path, sizeof un.sun_path, "%s", where);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one); /* fails on unix, and may */
    if (bind(fd, is_unix ? (void *)&un : (void *)&in, is_unix ? sizeof un : sizeof in))
        bare_die("bind");
    return fd;
}

/* `type` is SOCK_STREAM, with SOCK_NONBLOCK or without. */
static inline int
bare_listen(const char *kind, const char *where, int type)
{
    int fd = bare_bind(kind, where, type);

    if (listen(fd, BARE_BACKLOG))
        bare_die("listen");
    bare_ready_fd(fd);
    return fd;
}

/*
 * How many of `len` bytes are whole messages with a 4-byte big-endian length before each?
 * SIZE_MAX: one is longer than allowed.
 */
static inline size_t
bare_whole_frames(const uint8_t *bytes, size_t len)
{
    size_t at = 0;

    while (len - at >= 4) {
        uint32_t n = (uint32_t)bytes[at] << 24 | (uint32_t)bytes[at + 1] << 16 |
                     (uint32_t)bytes[at + 2] << 8 | bytes[at + 3];

        if (n > BARE_MESSAGE_MAX)
            return SIZE_MAX;
        if (n > len - at - 4)
            break;
        at += 4 + n;
    }
    return at;
}

/* Bytes that wait: for the rest of their message, or for room in the kernel.  NULL when empty. */
struct bare_bytes {
    uint8_t *at;
    size_t len;
    size_t room;
};

static inline void
bare_keep(struct bare_bytes *b, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    if (b->len + len > b->room) {
        b->room = (b->len + len) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at)
            bare_die("realloc");
    }
    memcpy(b->at + b->len, bytes, len);
    b->len += len;
}

static inline void
bare_drop(struct bare_bytes *b, size_t len)
{
    b->len -= len;
    if (b->len) {
        memmove(b->at, b->at + len, b->len);
        return;
    }
    free(b->at);
    *b = (struct bare_bytes){0};
}

#endif
