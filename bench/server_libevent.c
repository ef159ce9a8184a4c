/*
 * server_libevent.c - the echo server on libevent: bufferevents, as its book shows them.
 *
 *     server_libevent tcp PORT | unix PATH | frame PORT
 *
 * evbuffer_add_buffer and evbuffer_remove_buffer move bytes from input to output without a copy.
 * libevent 2.1 reads at most 4 KiB at a time whatever one sets; that is its own choice.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>

static void
echo(struct bufferevent *b, void *user)
{
    (void)user;
    evbuffer_add_buffer(bufferevent_get_output(b), bufferevent_get_input(b));
}

static void
echo_frames(struct bufferevent *b, void *user)
{
    struct evbuffer *in = bufferevent_get_input(b);
    struct evbuffer *out = bufferevent_get_output(b);
    uint32_t head;

    (void)user;
    while (evbuffer_copyout(in, &head, sizeof head) == sizeof head) {
        uint32_t len = ntohl(head);

        if (len > BARE_MESSAGE_MAX) {
            bufferevent_free(b);
            return;
        }
        if (evbuffer_get_length(in) < sizeof head + len)
            return;
        evbuffer_remove_buffer(in, out, sizeof head + len);
    }
}

static void
on_end(struct bufferevent *b, short events, void *user)
{
    (void)user;
    if (events & (BEV_EVENT_ERROR | BEV_EVENT_EOF))
        bufferevent_free(b);
}

static void
on_client(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *user)
{
    struct bufferevent *b = bufferevent_socket_new(evconnlistener_get_base(l), fd,
                                                   BEV_OPT_CLOSE_ON_FREE);

    (void)from;
    (void)len;
    if (!b)
        bare_die("bufferevent");
    bare_nodelay(fd);
    bufferevent_setcb(b, *(bool *)user ? echo_frames : echo, NULL, on_end, NULL);
    bufferevent_enable(b, EV_READ | EV_WRITE);
}

int
main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    bool is_framed;
    int fd;

    if (argc < 3 || !base)
        return 2;
    signal(SIGPIPE, SIG_IGN); /* a client may leave with answers under way */
    is_framed = strcmp(argv[1], "frame") == 0;
    fd = bare_bind(argv[1], argv[2], SOCK_STREAM | SOCK_NONBLOCK);
    if (!evconnlistener_new(base, on_client, &is_framed, LEV_OPT_CLOSE_ON_FREE, BARE_BACKLOG, fd))
        bare_die("listen");
    bare_ready_fd(fd);
    event_base_dispatch(base);
    return 1;
}
