/*
 * idle_test.c - as many idle connections as the limit of descriptors allows, and what each costs.
 *
 * Each client has had one message echoed, so whatever an echo takes has been taken.  The heap
 * counts exactly what we asked for; what is resident shows that nothing else grows, and is the
 * allocator's and the system's affair.  In the end every one of them must still answer.
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
    CHUNK = 256,
    FEW = 8 * CHUNK,
    WANTED = 59 * CHUNK, /* 15,104 */
    MOST = 234 * CHUNK,  /* 59,904: beyond that it takes long, and shows nothing new */
    FROM_ONE = 16384,    /* connections of one source address: it has 28,232 ports */
    AT_ONCE = CHUNK,     /* messages under way when all answer: fits any socket's buffers */
    MESSAGE = 64,
    HEAP_MAX = 256, /* bytes of each connection */
    RSS_MAX = 512
};

enum word { HOLD = 1, ANSWER };

/* ---- the clients' process: plain sockets ---- */

static struct clients {
    int fds[MOST];
    int count;
    char text[256]; /* what went wrong */
} clients;

static bool
wrong(int i, const char *what)
{
    snprintf(clients.text, sizeof clients.text, "connection %d, %s: %s", i, what, strerror(errno));
    return false;
}

static bool
send_one(int i)
{
    char text[MESSAGE] = {0};

    memcpy(text, &i, sizeof i);
    return send(clients.fds[i], text, sizeof text, MSG_NOSIGNAL) == (ssize_t)sizeof text ||
           wrong(i, "send");
}

static bool
receive_one(int i)
{
    char text[MESSAGE] = {0};
    int number = -1;

    errno = 0;
    if (recv(clients.fds[i], text, sizeof text, MSG_WAITALL) != (ssize_t)sizeof text)
        return wrong(i, "receive");
    memcpy(&number, text, sizeof number);
    return number == i || wrong(i, "another one's answer");
}

static bool
connect_one(int i, int port)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / FROM_ONE)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    clients.fds[i] = fd;
    /* The port is picked when both ends are known: one may then serve many connections. */
    return (fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
            bind(fd, (struct sockaddr *)&from, sizeof from) == 0 &&
            connect(fd, (struct sockaddr *)&to, sizeof to) == 0) ||
           wrong(i, "connect");
}

static void
hold(int count, int port)
{
    while (clients.count < count && connect_one(clients.count, port) && send_one(clients.count) &&
           receive_one(clients.count)) {
        clients.count++;
    }
}

/* How many did. */
static int
have_all_answer(void)
{
    for (int i = 0; i < clients.count + AT_ONCE; i++) {
        if (i >= AT_ONCE && !receive_one(i - AT_ONCE))
            return i - AT_ONCE;
        if (i < clients.count && !send_one(i))
            return i;
    }
    return clients.count;
}

/* HOLD says how many connections there shall be, and the port; the answer, how many there are. */
static void
be_idle(int control, const void *arg)
{
    struct scale_word w;

    (void)arg;
    while (scale_hear(control, &w)) {
        switch ((enum word)w.what) {
        case HOLD:
            hold((int)w.n[0], (int)w.n[1]);
            w.n[0] = clients.count;
            break;
        case ANSWER:
            w.n[0] = have_all_answer();
            break;
        }
        memcpy(w.text, clients.text, sizeof w.text);
        scale_say(control, &w);
    }
}

/* ---- the server's process ---- */

static struct server {
    struct scale_side side;
    struct scale_peer peer;
    outlet_listener at;
    int port;
    int many;
    int64_t closes;
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

static void
count_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    (void)user;
    server.closes++;
}

static const struct outlet_handlers on = {.size = sizeof on,
                                          .on_message = echo,
                                          .on_close = count_close};

static int
set_up(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    server.many = scale_affordable_range(WANTED, MOST) / CHUNK * CHUNK;
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

static void
have_done(enum word what, int count)
{
    struct scale_word w = {.what = what, .n = {count, server.port}};

    scale_say(server.peer.fd, &w);
    if (!scale_side_hear(&server.side))
        fail_msg("the clients' process is gone");
    if (server.side.word.text[0])
        fail_msg("%s", server.side.word.text);
    assert_int_equal(server.side.word.n[0], count);
    assert_int_equal(scale_listener_number(server.at, "connections"), count);
}

static struct scale_use
with_connections(int count)
{
    struct scale_use use;

    have_done(HOLD, count);
    use = scale_use_now(&server.side.heap);
    printf("# %d idle connections: %lld bytes of the heap, %lld KiB resident, %lld descriptors\n",
           count, (long long)use.live, (long long)use.rss / 1024, (long long)use.descriptors);
    return use;
}

static void
an_idle_connection_costs_256_bytes(void **state)
{
    int many = server.many;
    int few = many > 2 * FEW ? FEW : CHUNK;
    struct scale_use before;
    struct scale_use after;
    double heap;
    double rss;

    (void)state;
    if (many < 2 * CHUNK) {
        printf("# %d connections are not enough to measure; raise the limit (ulimit -n) to %d\n",
               many, WANTED + 128);
        skip();
    }
    before = with_connections(few);
    after = with_connections(many);
    heap = (double)(after.live - before.live) / (many - few);
    rss = (double)(after.rss - before.rss) / (many - few);
    printf("# each of %d more: %.1f bytes of the heap, %.1f bytes resident\n", many - few, heap,
           rss);
    assert_int_equal(after.descriptors - before.descriptors, many - few);
    assert_true(heap > 0);
    assert_true(heap <= HEAP_MAX);
    assert_true(rss <= RSS_MAX);
}

static void
all_that_were_held_answer(void **state)
{
    (void)state;
    assert_true(server.many > 0);
    have_done(HOLD, server.many);
    have_done(ANSWER, server.many);
    assert_int_equal(server.closes, 0);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_connection_costs_256_bytes),
                                       cmocka_unit_test(all_that_were_held_answer)};
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("idle", tests, set_up, tear_down);
}
