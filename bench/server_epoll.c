/*
 * server_epoll.c - the bare loop: what a stream echo costs when nothing stands between the program
 * and epoll.
 *
 *     server_epoll tcp PORT | unix PATH | frame PORT [spin | two]
 *
 * One receive of up to 64 KiB into one buffer and one send for each readable connection and turn;
 * what the kernel does not take at once waits in memory of that connection, which reads nothing
 * until it is gone.  "frame" sends whole messages only (a 4-byte big-endian length before each), in
 *  one send.  "spin" never sleeps.  "two" threads listen at the port and share nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>

struct conn {
    int fd;
    struct bare_bytes part; /* the beginning of a message */
    struct bare_bytes rest; /* what the kernel did not take */
};

static _Thread_local _Alignas(BARE_LINE) uint8_t buffer[BARE_MESSAGE_MAX + 4 + BARE_ROOM];
static _Thread_local int epfd;
static bool is_framed;
static int timeout = -1;

static void
arm(struct conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e))
        bare_die("epoll_ctl");
}

static void
drop(struct conn *c)
{
    close(c->fd);
    free(c->part.at);
    free(c->rest.at);
    free(c);
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
answer(struct conn *c, size_t len)
{
    ssize_t sent = send(c->fd, buffer, len, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < len) {
        bare_keep(&c->rest, buffer + sent, len - (size_t)sent);
        arm(c, EPOLLOUT);
    }
}

static void
echo(struct conn *c)
{
    size_t before = c->part.len;
    size_t len;
    ssize_t n = recv(c->fd, buffer + before, BARE_ROOM, 0);

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    len = (size_t)n;
    if (is_framed) {
        size_t all = before + len;

        if (before)
            memcpy(buffer, c->part.at, before);
        len = bare_whole_frames(buffer, all);
        if (len == SIZE_MAX) {
            drop(c);
            return;
        }
        if (before)
            bare_drop(&c->part, before);
        bare_keep(&c->part, buffer + len, all - len);
    }
    if (len)
        answer(c, len);
}

static void
welcome(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;
        struct epoll_event e = {.events = EPOLLIN};

        if (fd < 0)
            return;
        bare_nodelay(fd);
        c = calloc(1, sizeof *c);
        if (!c)
            bare_die("calloc");
        c->fd = fd;
        e.data.ptr = c;
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e))
            bare_die("epoll_ctl");
    }
}

static void *
serve(void *arg)
{
    struct epoll_event e = {.events = EPOLLIN};
    int listener = *(int *)arg;

    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e))
        bare_die("epoll_ctl");
    for (;;) {
        struct epoll_event events[BARE_EVENTS];
        int n = epoll_wait(epfd, events, BARE_EVENTS, timeout);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c)
                welcome(listener);
            else if (c->rest.len)
                flush(c);
            else
                echo(c);
        }
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    const char *more = argc > 3 ? argv[3] : "";
    pthread_t other;
    int fds[2];

    if (argc < 3)
        return 2;
    is_framed = strcmp(argv[1], "frame") == 0;
    timeout = strcmp(more, "spin") == 0 ? 0 : -1;
    fds[0] = bare_bind(argv[1], argv[2], SOCK_STREAM | SOCK_NONBLOCK);
    if (strcmp(more, "two") == 0) {
        char port[8];

        snprintf(port, sizeof port, "%d", bare_port(fds[0]));
        fds[1] = bare_bind(argv[1], port, SOCK_STREAM | SOCK_NONBLOCK);
        if (listen(fds[1], BARE_BACKLOG) || pthread_create(&other, NULL, serve, &fds[1]))
            bare_die("the other thread");
    }
    if (listen(fds[0], BARE_BACKLOG))
        bare_die("listen");
    bare_ready_fd(fds[0]);
    serve(&fds[0]);
}
