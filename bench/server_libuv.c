/*
 * server_libuv.c - the echo server on libuv.
 *
 *     server_libuv tcp PORT | unix PATH | udp PORT
 *     server_libuv frame PORT     a 4-byte length before each message, answered one by one
 *     server_libuv gather PORT    the same; the answers to what one read brought leave together
 *
 * Written the fast way that its manual offers: one buffer of the suggested 64 KiB for the whole
 * loop, uv_try_write first, and uv_write with a copy only for what the kernel did not take.
 * Datagrams with UV_UDP_RECVMMSG and uv_udp_try_send.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <signal.h>
#include <uv.h>

enum { DATAGRAMS = 20 }; /* libuv takes at most 20 at a time, 64 KiB for each */

struct conn {
    union {
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } as;
    struct bare_bytes part;
};

struct copy {
    uv_write_t request;
    char bytes[];
};

static _Alignas(BARE_LINE) char buffer[BARE_ROOM * DATAGRAMS];
static uint8_t frames[BARE_MESSAGE_MAX + 4 + BARE_ROOM];
static bool is_unix;
static bool is_framed;
static bool is_gathering;

static void
check(int err, const char *what)
{
    if (err >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(err));
    exit(1);
}

static void
on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;

    free(c->part.at);
    free(c);
}

static void
drop(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->as))
        uv_close((uv_handle_t *)&c->as, on_closed);
}

static void
on_written(uv_write_t *request, int err)
{
    if (err && err != UV_ECANCELED)
        drop(request->handle->data);
    free(request->data);
}

static void
answer(struct conn *c, const void *bytes, size_t len)
{
    uv_buf_t piece = uv_buf_init((char *)bytes, (unsigned)len);
    int n = uv_try_write(&c->as.stream, &piece, 1);
    struct copy *copy;

    if (n == (int)len)
        return;
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        drop(c);
        return;
    }
    copy = malloc(sizeof *copy + len - (size_t)n);
    if (!copy)
        bare_die("malloc");
    copy->request.data = copy;
    memcpy(copy->bytes, (const char *)bytes + n, len - (size_t)n);
    piece = uv_buf_init(copy->bytes, (unsigned)(len - (size_t)n));
    if (uv_write(&copy->request, &c->as.stream, &piece, 1, on_written)) {
        free(copy);
        drop(c);
    }
}

static void
answer_frames(struct conn *c, const uint8_t *bytes, size_t len)
{
    size_t whole = bare_whole_frames(bytes, len);

    if (whole == SIZE_MAX) {
        drop(c);
        return;
    }
    if (is_gathering) {
        if (whole)
            answer(c, bytes, whole);
    } else {
        for (size_t at = 0; at < whole;) {
            uint32_t n;

            memcpy(&n, bytes + at, sizeof n);
            answer(c, bytes + at, 4 + ntohl(n));
            at += 4 + ntohl(n);
        }
    }
    bare_keep(&c->part, bytes + whole, len - whole);
}

static void
on_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    (void)h;
    *out = uv_buf_init(buffer, (unsigned)(suggested < BARE_ROOM ? suggested : BARE_ROOM));
}

static void
on_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct conn *c = s->data;
    size_t before = c->part.len;

    if (n < 0) {
        drop(c);
        return;
    }
    if (n == 0)
        return;
    if (!is_framed) {
        answer(c, b->base, (size_t)n);
        return;
    }
    if (!before) {
        answer_frames(c, (const uint8_t *)b->base, (size_t)n);
        return;
    }
    memcpy(frames, c->part.at, before);
    memcpy(frames + before, b->base, (size_t)n);
    bare_drop(&c->part, before);
    answer_frames(c, frames, before + (size_t)n);
}

static void
on_client(uv_stream_t *listener, int err)
{
    struct conn *c = calloc(1, sizeof *c);

    check(err, "accept");
    if (!c)
        bare_die("calloc");
    if (is_unix) {
        check(uv_pipe_init(listener->loop, &c->as.pipe, 0), "pipe");
    } else {
        check(uv_tcp_init(listener->loop, &c->as.tcp), "tcp");
    }
    c->as.stream.data = c;
    if (uv_accept(listener, &c->as.stream)) {
        drop(c);
        return;
    }
    if (!is_unix)
        uv_tcp_nodelay(&c->as.tcp, 1);
    check(uv_read_start(&c->as.stream, on_buffer, on_bytes), "read");
}

static void
on_datagram_buffer(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
    (void)h;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void
on_datagram(uv_udp_t *u, ssize_t n, const uv_buf_t *b, const struct sockaddr *from, unsigned flags)
{
    uv_buf_t piece;

    (void)flags;
    if (n < 0 || !from)
        return;
    piece = uv_buf_init(b->base, (unsigned)n);
    uv_udp_try_send(u, &piece, 1, from); /* what does not fit is lost, as datagrams are */
}

static void
serve_datagrams(uv_loop_t *loop, uv_udp_t *u, const char *port)
{
    struct sockaddr_in at;
    int len = sizeof at;

    uv_ip4_addr("127.0.0.1", atoi(port), &at);
    check(uv_udp_init_ex(loop, u, AF_INET | UV_UDP_RECVMMSG), "udp");
    check(uv_udp_bind(u, (struct sockaddr *)&at, 0), "bind");
    check(uv_udp_recv_start(u, on_datagram_buffer, on_datagram), "receive");
    check(uv_udp_getsockname(u, (struct sockaddr *)&at, &len), "name");
    bare_ready(ntohs(at.sin_port));
}

static void
serve_streams(uv_loop_t *loop, struct conn *listener, const char *where)
{
    struct sockaddr_in at = {0};
    int len = sizeof at;

    if (is_unix) {
        check(uv_pipe_init(loop, &listener->as.pipe, 0), "pipe");
        check(uv_pipe_bind(&listener->as.pipe, where), "bind");
    } else {
        uv_ip4_addr("127.0.0.1", atoi(where), &at);
        check(uv_tcp_init(loop, &listener->as.tcp), "tcp");
        check(uv_tcp_bind(&listener->as.tcp, (struct sockaddr *)&at, 0), "bind");
    }
    check(uv_listen(&listener->as.stream, BARE_BACKLOG, on_client), "listen");
    if (!is_unix)
        check(uv_tcp_getsockname(&listener->as.tcp, (struct sockaddr *)&at, &len), "name");
    bare_ready(ntohs(at.sin_port));
}

int
main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct conn listener;
    uv_udp_t udp;

    if (argc < 3)
        return 2;
    signal(SIGPIPE, SIG_IGN); /* a client may leave with answers under way */
    is_unix = strcmp(argv[1], "unix") == 0;
    is_gathering = strcmp(argv[1], "gather") == 0;
    is_framed = is_gathering || strcmp(argv[1], "frame") == 0;
    if (strcmp(argv[1], "udp") == 0)
        serve_datagrams(loop, &udp, argv[2]);
    else
        serve_streams(loop, &listener, argv[2]);
    return uv_run(loop, UV_RUN_DEFAULT);
}
