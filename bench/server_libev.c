/*
 * server_libev.c - the echo server on libev.
 *
 *     server_libev tcp PORT | unix PATH | frame PORT
 *
 * libev tells readiness and leaves buffers to the program, so this is the bare loop with ev_io
 * watchers: one for reading, which is started again when what the kernel did not take is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <errno.h>
#include <ev.h>

struct conn {
    ev_io read;
    ev_io write;
    struct bare_bytes part;
    struct bare_bytes rest;
};

static _Alignas(BARE_LINE) uint8_t buffer[BARE_MESSAGE_MAX + 4 + BARE_ROOM];
static bool is_framed;

static void
drop(struct ev_loop *loop, struct conn *c)
{
    ev_io_stop(loop, &c->read);
    ev_io_stop(loop, &c->write);
    close(c->read.fd);
    free(c->part.at);
    free(c->rest.at);
    free(c);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = w->data;
    ssize_t n = send(w->fd, c->rest.at, c->rest.len, MSG_NOSIGNAL);

    (void)events;
    if (n < 0) {
        if (errno != EAGAIN)
            drop(loop, c);
        return;
    }
    bare_drop(&c->rest, (size_t)n);
    if (c->rest.len)
        return;
    ev_io_stop(loop, &c->write);
    ev_io_start(loop, &c->read);
}

static void
answer(struct ev_loop *loop, struct conn *c, size_t len)
{
    ssize_t sent = send(c->read.fd, buffer, len, MSG_NOSIGNAL);

    if (sent < 0 && errno != EAGAIN) {
        drop(loop, c);
        return;
    }
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < len) {
        bare_keep(&c->rest, buffer + sent, len - (size_t)sent);
        ev_io_stop(loop, &c->read);
        ev_io_start(loop, &c->write);
    }
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct conn *c = w->data;
    size_t before = c->part.len;
    size_t len;
    ssize_t n = recv(w->fd, buffer + before, BARE_ROOM, 0);

    (void)events;
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(loop, c);
        return;
    }
    len = (size_t)n;
    if (is_framed) {
        size_t all = before + len;

        if (before)
            memcpy(buffer, c->part.at, before);
        len = bare_whole_frames(buffer, all);
        if (len == SIZE_MAX) {
            drop(loop, c);
            return;
        }
        if (before)
            bare_drop(&c->part, before);
        bare_keep(&c->part, buffer + len, all - len);
    }
    if (len)
        answer(loop, c, len);
}

static void
on_client(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    for (;;) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;

        if (fd < 0)
            return;
        bare_nodelay(fd);
        c = calloc(1, sizeof *c);
        if (!c)
            bare_die("calloc");
        c->read.data = c->write.data = c;
        ev_io_init(&c->read, on_readable, fd, EV_READ);
        ev_io_init(&c->write, on_writable, fd, EV_WRITE);
        ev_io_start(loop, &c->read);
    }
}

int
main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io accepting;

    if (argc < 3 || !loop)
        return 2;
    is_framed = strcmp(argv[1], "frame") == 0;
    ev_io_init(&accepting, on_client, bare_listen(argv[1], argv[2], SOCK_STREAM | SOCK_NONBLOCK),
               EV_READ);
    ev_io_start(loop, &accepting);
    ev_run(loop, 0);
    return 1;
}
