/*
 * idle_test.c - what a connection costs that has nothing to do.
 *
 * Each client has had one message echoed, so whatever an echo takes has been taken.  The heap
 * counts exactly what we asked for; what is resident shows that nothing else grows, and is the
 * allocator's and the system's affair.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    /* Whole chunks of slots: else the last one is counted for connections it does not have. */
    FEW = 8 * 256,
    MANY = 35 * 256,
    HEAP_MAX = 256, /* bytes of each connection */
    RSS_MAX = 512
};

/* ---- the clients' process: plain sockets ---- */

static int
connect_one(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool
echo_one(int fd)
{
    char text[64] = "is anybody there?";
    char back[64];

    return send(fd, text, sizeof text, MSG_NOSIGNAL) == (ssize_t)sizeof text &&
           recv(fd, back, sizeof back, MSG_WAITALL) == (ssize_t)sizeof back &&
           memcmp(text, back, sizeof text) == 0;
}

/* One word says the port and how many connections there shall be; the answer, how many there are.
 */
static void
be_idle(int control, const void *arg)
{
    struct scale_word w;
    int64_t count = 0;

    (void)arg;
    while (scale_hear(control, &w)) {
        for (; count < w.n[1]; count++) {
            int fd = connect_one((int)w.n[0]);

            if (fd < 0 || !echo_one(fd)) {
                snprintf(w.text, sizeof w.text, "connection %d: %s", (int)count, strerror(errno));
                break;
            }
        }
        w.n[1] = count;
        scale_say(control, &w);
    }
}

/* ---- the server's process ---- */

static struct server {
    struct scale_side side;
    struct scale_peer peer;
    outlet_listener at;
    int port;
} server;

static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};

static int
set_up(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    server.peer = scale_fork(be_idle, NULL);
    opts.on = &on;
    if (server.peer.pid < 0 || !scale_side_open(&server.side, scale_driver, 0, server.peer.fd))
        return -1;
    server.port = scale_listen(server.side.loop, "tcp://127.0.0.1:0", &opts, &server.at);
    return server.port < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
    (void)state;
    scale_side_close(&server.side);
    return scale_join(&server.peer);
}

static struct scale_use
with_connections(int count)
{
    struct scale_word w = {.n = {server.port, count}};

    scale_say(server.peer.fd, &w);
    if (!scale_side_hear(&server.side))
        fail_msg("the clients' process is gone");
    if (server.side.word.text[0])
        fail_msg("%s", server.side.word.text);
    assert_int_equal(scale_listener_number(server.at, "connections"), count);
    return scale_use_now(&server.side.heap);
}

static void
an_idle_connection_costs_256_bytes(void **state)
{
    int many = scale_affordable(MANY) / 256 * 256;
    struct scale_use before = with_connections(FEW);
    struct scale_use after = with_connections(many);
    double heap = (double)(after.live - before.live) / (many - FEW);
    double rss = (double)(after.rss - before.rss) / (many - FEW);

    (void)state;
    printf("# each of %d more idle connections: %.1f bytes of the heap, %.1f bytes resident\n",
           many - FEW, heap, rss);
    assert_int_equal(after.descriptors - before.descriptors, many - FEW);
    assert_true(heap > 0);
    assert_true(heap <= HEAP_MAX);
    assert_true(rss <= RSS_MAX);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_connection_costs_256_bytes)};
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("idle", tests, set_up, tear_down);
}
