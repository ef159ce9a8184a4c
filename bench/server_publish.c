/*
 * server_publish.c - fan-out over bare epoll: what one connection says goes to all others.
 *
 *     server_publish single PORT SIZE     one send for each message and member
 *     server_publish gather PORT SIZE     one send for each member, of all that one receive brought
 *
 * "single" is the loop that everybody writes first; "gather" is the limit of what can be done about
 * it.  Messages have a fixed SIZE.  Every new connection is sent SIZE bytes of zeros, so that its
 * client knows that it is a member.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <errno.h>
#include <sys/epoll.h>

enum { CONNS = 65536 };

struct conn {
    int fd;
    int place; /* in `members` */
    struct bare_bytes part;
    struct bare_bytes rest;
};

static _Alignas(BARE_LINE) uint8_t buffer[BARE_ROOM * 2];
static struct conn *members[CONNS];
static int member_count;
static size_t size;
static bool is_gathering;
static int epfd;

static void
drop(struct conn *c)
{
    members[c->place] = members[--member_count];
    members[c->place]->place = c->place;
    close(c->fd);
    free(c->part.at);
    free(c->rest.at);
    free(c);
}

static void
arm(struct conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e))
        bare_die("epoll_ctl");
}

/* A broken connection is found out by the next receive. */
static void
put(struct conn *c, const uint8_t *bytes, size_t len)
{
    ssize_t n = c->rest.len ? 0 : send(c->fd, bytes, len, MSG_NOSIGNAL);

    if (n < 0)
        n = 0;
    if ((size_t)n == len)
        return;
    if (!c->rest.len)
        arm(c, EPOLLIN | EPOLLOUT);
    bare_keep(&c->rest, bytes + n, len - (size_t)n);
}

static void
publish(const struct conn *from, const uint8_t *bytes, size_t len)
{
    for (int i = 0; i < member_count; i++) {
        if (members[i] != from)
            put(members[i], bytes, len);
    }
}

static void
hear(struct conn *c)
{
    size_t before = c->part.len;
    ssize_t n = recv(c->fd, buffer + before, BARE_ROOM, 0);
    size_t all;
    size_t whole;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    all = before + (size_t)n;
    whole = all / size * size;
    if (before) {
        memcpy(buffer, c->part.at, before);
        bare_drop(&c->part, before);
    }
    bare_keep(&c->part, buffer + whole, all - whole);
    if (is_gathering) {
        publish(c, buffer, whole);
        return;
    }
    for (size_t at = 0; at < whole; at += size) {
        publish(c, buffer + at, size);
    }
}

static void
flush(struct conn *c)
{
    ssize_t n = send(c->fd, c->rest.at, c->rest.len, MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN)
            drop(c);
        return;
    }
    bare_drop(&c->rest, (size_t)n);
    if (!c->rest.len)
        arm(c, EPOLLIN);
}

static void
welcome(int listener)
{
    static const uint8_t zeros[BARE_ROOM];

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;
        struct epoll_event e = {.events = EPOLLIN};

        if (fd < 0)
            return;
        if (member_count == CONNS) {
            close(fd);
            return;
        }
        bare_nodelay(fd);
        c = calloc(1, sizeof *c);
        if (!c)
            bare_die("calloc");
        c->fd = fd;
        c->place = member_count;
        members[member_count++] = c;
        e.data.ptr = c;
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e))
            bare_die("epoll_ctl");
        put(c, zeros, size);
    }
}

int
main(int argc, char **argv)
{
    struct epoll_event e = {.events = EPOLLIN};
    int listener;

    if (argc < 4)
        return 2;
    is_gathering = strcmp(argv[1], "gather") == 0;
    size = (size_t)atol(argv[3]);
    if (size < 1 || size > BARE_ROOM)
        return 2;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    listener = bare_listen("tcp", argv[2], SOCK_STREAM | SOCK_NONBLOCK);
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e))
        bare_die("epoll_ctl");
    for (;;) {
        struct epoll_event events[BARE_EVENTS];
        int n = epoll_wait(epfd, events, BARE_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c)
                welcome(listener);
            else if (events[i].events & EPOLLOUT)
                flush(c);
            else
                hear(c);
        }
    }
}
