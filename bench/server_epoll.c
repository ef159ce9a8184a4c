/*
 * server_epoll.c - the bare loop: what an echo server costs when nothing stands between it and
 * epoll.
 *
 *     server_epoll tcp PORT | unix PATH
 *
 * One receive of up to 64 KiB into one buffer and one send per readable connection and turn; what
 * the kernel does not take at once waits in memory of that connection.  Prints "ready PORT".
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, ROOM = 65536 };

struct conn {
    int fd;
    size_t waiting; /* bytes of `rest` */
    size_t room;
    char *rest;
};

static char buffer[ROOM];
static int epfd;

static void
arm(struct conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
}

static void
drop(struct conn *c)
{
    close(c->fd);
    free(c->rest);
    free(c);
}

static void
keep(struct conn *c, const char *bytes, size_t len)
{
    if (c->waiting + len > c->room) {
        c->room = (c->waiting + len) * 2;
        c->rest = realloc(c->rest, c->room);
    }
    memcpy(c->rest + c->waiting, bytes, len);
    c->waiting += len;
    arm(c, EPOLLOUT);
}

static void
flush(struct conn *c)
{
    ssize_t n = send(c->fd, c->rest, c->waiting, MSG_NOSIGNAL);

    if (n < 0)
        return;
    memmove(c->rest, c->rest + n, c->waiting - (size_t)n);
    c->waiting -= (size_t)n;
    if (!c->waiting)
        arm(c, EPOLLIN);
}

static void
echo(struct conn *c)
{
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    ssize_t sent;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (sent < n)
        keep(c, buffer + (sent > 0 ? sent : 0), (size_t)(n - (sent > 0 ? sent : 0)));
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
        c->fd = fd;
        e.data.ptr = c;
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

int
main(int argc, char **argv)
{
    int listener = bare_listen(argc, argv);
    struct epoll_event e = {.events = EPOLLIN};

    epfd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epfd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c)
                welcome(listener);
            else if (events[i].events & EPOLLOUT)
                flush(c);
            else
                echo(c);
        }
    }
}
