/*
 * many_test.c - 10,000 clients at once, each with 100 messages that must come back as they went;
 * then 10,000 more lives in the same two processes, which must leave nothing behind.
 *
 * Every message can be computed from its client and number, so each is compared byte by byte and
 * nobody has to remember it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    CLIENTS = 10000,
    MESSAGES = 100,      /* of each client */
    IN_FLIGHT = 4,       /* of each client */
    CYCLES = 10000,      /* connect, one message, close */
    CYCLES_FIRST = 1000, /* of these, before the first look */
    AT_ONCE = 500,       /* connects under way: fewer than any backlog */
    CYCLES_AT_ONCE = 64,
    MESSAGE_MIN = 16,
    MESSAGE_MAX = 65536,
    LIVE_TOLERANCE = 64 << 10, /* bytes of growth over 9,000 lives */
    RSS_TOLERANCE = 2 << 20
};

/* What the server tells the crowd to do; the crowd says the same word when it is done. */
enum word { OPEN = 1, ECHO, CLOSE, LIVE };

/* ---- messages ---- */

static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Mostly small; now and then as long as a receive buffer.  About 280 bytes on average. */
static size_t
message_size(uint64_t seed)
{
    uint64_t r = mix(seed);
    uint64_t kind = r % 1000;
    uint64_t max = kind < 945 ? 128 : kind < 995 ? 2048 : MESSAGE_MAX;

    return MESSAGE_MIN + (r >> 10) % (max - MESSAGE_MIN + 1);
}

static uint64_t
checksum(const uint8_t *bytes, size_t len)
{
    uint64_t sum = len;

    for (; len >= 8; bytes += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, bytes, 8);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    for (; len; bytes++, len--)
        sum = (sum ^ *bytes) * 0x100000001b3u;
    return sum;
}

/* Seed, checksum of the rest, the rest. */
static size_t
message_make(uint64_t seed, uint8_t *out)
{
    size_t len = message_size(seed);
    uint64_t word = mix(seed ^ 0x5ca1e);
    uint64_t sum;

    for (size_t at = MESSAGE_MIN; at < len; at += 8) {
        word = word * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        memcpy(out + at, &word, len - at < 8 ? len - at : 8);
    }
    sum = checksum(out + MESSAGE_MIN, len - MESSAGE_MIN);
    memcpy(out, &seed, 8);
    memcpy(out + 8, &sum, 8);
    return len;
}

/* Is this a message at all, whoever sent it? */
static bool
is_intact(const uint8_t *bytes, size_t len)
{
    uint64_t sum;

    if (len < MESSAGE_MIN)
        return false;
    memcpy(&sum, bytes + 8, 8);
    return sum == checksum(bytes + MESSAGE_MIN, len - MESSAGE_MIN);
}

/* ---- the clients' process ---- */

struct client {
    outlet_conn conn;
    uint32_t number;
    uint32_t sent;
    uint32_t received;
    uint32_t closes;
};

static struct crowd {
    struct scale_side side;
    char url[64];
    struct client *clients;
    int count;    /* of them */
    int begun;    /* of them */
    int messages; /* of each */
    int open;
    int done;      /* got all of their messages back */
    int64_t lives; /* to be begun when one ends; -1: all live at the same time */
    int64_t lives_over;
    int64_t received;
    int64_t bytes;
    int64_t wrong; /* messages that came back otherwise than they went, or were refused */
    int64_t badly_closed;
    char text[256]; /* of the first of these */
    uint8_t out[MESSAGE_MAX + 8];
} crowd;

static void
complain(const char *what, const struct client *c, const char *more)
{
    if (!crowd.text[0])
        snprintf(crowd.text, sizeof crowd.text, "client %u, message %u: %s %s", c->number,
                 c->received, what, more);
}

static uint64_t
seed_of(const struct client *c, uint32_t message)
{
    return (uint64_t)c->number << 32 | message;
}

static void
send_next(struct client *c)
{
    size_t len = message_make(seed_of(c, c->sent), crowd.out);
    int64_t sent = outlet_send(c->conn, crowd.out, len);

    if (sent < 0) {
        complain("was not taken:", c, outlet_error_name(sent));
        crowd.wrong++;
        return;
    }
    c->sent++;
    crowd.bytes += (int64_t)len;
}

static const struct outlet_handlers client_on;

static void
begin(struct client *c)
{
    struct outlet_opts opts = OUTLET_OPTS;
    outlet_err err;

    c->sent = c->received = c->closes = 0;
    opts.on = &client_on;
    opts.user = c;
    opts.connect_ms = 60000;
    err = outlet_connect(crowd.side.loop, crowd.url, &opts, &c->conn);
    if (err) {
        complain("cannot connect:", c, outlet_error_name(err));
        crowd.badly_closed++;
        crowd.lives_over++;
    }
}

static void
client_open(outlet_conn conn, void *user)
{
    struct client *c = user;

    c->conn = conn;
    crowd.open++;
    if (crowd.lives >= 0)
        send_next(c);
    else if (crowd.begun < crowd.count)
        begin(&crowd.clients[crowd.begun++]);
}

static void
client_message(outlet_conn conn, outlet_msg *m, void *user)
{
    struct client *c = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    size_t want = message_make(seed_of(c, c->received), crowd.out);

    if (len != want || memcmp(bytes, crowd.out, len) != 0) {
        complain("came back changed", c, "");
        crowd.wrong++;
    }
    c->received++;
    crowd.received++;
    if ((int)c->sent < crowd.messages)
        send_next(c);
    if ((int)c->received != crowd.messages)
        return;
    crowd.done++;
    if (crowd.lives >= 0)
        outlet_close(conn);
}

static void
client_close(outlet_conn conn, const struct outlet_reason *why, void *user)
{
    struct client *c = user;

    (void)conn;
    c->closes++;
    crowd.open--;
    crowd.lives_over++;
    if (why->code != OUTLET_OK || c->closes != 1 || (int)c->received != crowd.messages) {
        complain("closed too early, too often, or with:", c, why->text);
        crowd.badly_closed++;
    }
    if (crowd.lives > 0) {
        crowd.lives--;
        begin(c);
    }
}

static const struct outlet_handlers client_on = {.size = sizeof client_on,
                                                 .on_open = client_open,
                                                 .on_message = client_message,
                                                 .on_close = client_close};

static bool
all_open(void *arg)
{
    (void)arg;
    return crowd.open == crowd.count || crowd.badly_closed;
}

static bool
all_done(void *arg)
{
    (void)arg;
    return crowd.done == crowd.count || crowd.wrong || crowd.badly_closed;
}

static bool
lives_over(void *arg)
{
    return crowd.lives_over >= *(int64_t *)arg;
}

static void
report(enum word what)
{
    struct scale_use use = scale_use_now(&crowd.side.heap);
    struct scale_word w = {.what = what,
                           .n = {crowd.received, crowd.bytes, crowd.wrong, crowd.badly_closed,
                                 crowd.lives_over, use.live, use.rss, use.descriptors}};

    memcpy(w.text, crowd.text, sizeof w.text);
    scale_say(crowd.side.fd, &w);
}

/* Connects, a few at a time: a full backlog would be answered by waiting a second. */
static void
open_all(int count)
{
    crowd.clients = calloc((size_t)count, sizeof *crowd.clients);
    crowd.count = count;
    crowd.messages = MESSAGES;
    crowd.lives = -1;
    for (int i = 0; i < count; i++)
        crowd.clients[i].number = (uint32_t)i;
    while (crowd.begun < count && crowd.begun < AT_ONCE)
        begin(&crowd.clients[crowd.begun++]);
    scale_side_until(&crowd.side, all_open, NULL);
}

static void
echo_all(void)
{
    for (int i = 0; i < crowd.count; i++) {
        for (int k = 0; k < IN_FLIGHT; k++)
            send_next(&crowd.clients[i]);
    }
    scale_side_until(&crowd.side, all_done, NULL);
}

static void
close_all(void)
{
    int64_t all = crowd.count;

    for (int i = 0; i < crowd.count; i++)
        outlet_close(crowd.clients[i].conn);
    scale_side_until(&crowd.side, lives_over, &all);
}

static void
live_on(int64_t lives)
{
    int64_t all = crowd.lives_over + lives;

    crowd.messages = 1;
    crowd.lives = lives;
    for (int i = 0; i < CYCLES_AT_ONCE && crowd.lives > 0; i++) {
        crowd.lives--;
        begin(&crowd.clients[i]);
    }
    scale_side_until(&crowd.side, lives_over, &all);
}

static void
be_the_crowd(int fd, const void *arg)
{
    struct scale_side *s = &crowd.side;

    (void)arg;
    if (!scale_side_open(s, scale_driver, 0, fd))
        return;
    while (scale_side_hear(s)) {
        switch ((enum word)s->word.what) {
        case OPEN:
            snprintf(crowd.url, sizeof crowd.url, "tcp://127.0.0.1:%d#frame=len:4be",
                     (int)s->word.n[0]);
            open_all((int)s->word.n[1]);
            break;
        case ECHO:
            echo_all();
            break;
        case CLOSE:
            close_all();
            break;
        case LIVE:
            live_on(s->word.n[0]);
            break;
        }
        report((enum word)s->word.what);
    }
    scale_side_close(s);
    free(crowd.clients);
}

/* ---- the server's process ---- */

static struct server {
    struct scale_side side;
    struct scale_peer peer;
    outlet_listener at;
    int port;
    int clients;
    int64_t opens;
    int64_t closes;
    int64_t messages;
    int64_t not_intact;
    int64_t refused;
    int64_t badly_closed;
    char text[256];
    uint8_t *closed; /* how often each connection was, in the order of their coming */
} server;

static void
server_open(outlet_conn conn, void *user)
{
    (void)user;
    outlet_set_user(conn, &server.closed[server.opens]);
    server.opens++;
}

static void
server_message(outlet_conn conn, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    server.messages++;
    server.not_intact += !is_intact(bytes, len);
    server.refused += outlet_send(conn, bytes, len) < 0;
}

static void
server_close(outlet_conn conn, const struct outlet_reason *why, void *user)
{
    uint8_t *closed = user;

    (void)conn;
    server.closes++;
    if (++*closed == 1 && why->code == OUTLET_OK)
        return;
    server.badly_closed++;
    if (!server.text[0])
        snprintf(server.text, sizeof server.text, "%s", why->text);
}

static const struct outlet_handlers server_on = {.size = sizeof server_on,
                                                 .on_open = server_open,
                                                 .on_message = server_message,
                                                 .on_close = server_close};

static bool
everybody_is_here(void *arg)
{
    (void)arg;
    return server.opens - server.closes == server.clients;
}

static bool
nobody_is_here(void *arg)
{
    (void)arg;
    return server.opens == server.closes;
}

static int
set_up(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    server.clients = scale_affordable(CLIENTS);
    server.peer = scale_fork(be_the_crowd, NULL);
    server.closed = calloc((size_t)server.clients + CYCLES, 1);
    opts.on = &server_on;
    if (server.peer.pid < 0 || !server.closed ||
        !scale_side_open(&server.side, scale_driver, 0, server.peer.fd))
        return -1;
    server.port = scale_listen(server.side.loop, "tcp://127.0.0.1:0#frame=len:4be", &opts,
                               &server.at);
    return server.port < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
    (void)state;
    scale_side_close(&server.side);
    free(server.closed);
    return scale_join(&server.peer);
}

/* Tell the crowd what to do, and serve it until it is done. */
static const struct scale_word *
have_done(enum word what, int64_t n0, int64_t n1)
{
    struct scale_word w = {.what = what, .n = {n0, n1}};

    scale_say(server.peer.fd, &w);
    if (!scale_side_hear(&server.side))
        fail_msg("the clients' process is gone");
    if (server.side.word.text[0])
        fail_msg("%s", server.side.word.text);
    assert_int_equal(server.side.word.what, what);
    return &server.side.word;
}

static void
every_message_comes_back_as_it_went(void **state)
{
    const struct scale_word *w;
    int64_t all = (int64_t)server.clients * MESSAGES;

    (void)state;
    (void)have_done(OPEN, server.port, server.clients);
    assert_true(scale_side_until(&server.side, everybody_is_here, NULL));
    printf("# %d clients are connected, the server has %d descriptors\n", server.clients,
           scale_descriptors());
    assert_true(scale_descriptors() > server.clients);
    assert_int_equal(scale_listener_number(server.at, "connections"), server.clients);

    w = have_done(ECHO, 0, 0);
    printf("# %lld messages, %lld MB each way\n", (long long)w->n[0], (long long)w->n[1] / 1000000);
    assert_int_equal(w->n[0], all);
    assert_int_equal(w->n[2], 0);
    assert_int_equal(server.messages, all);
    assert_int_equal(server.not_intact, 0);
    assert_int_equal(server.refused, 0);
    assert_int_equal(server.closes, 0);

    w = have_done(CLOSE, 0, 0);
    assert_true(scale_side_until(&server.side, nobody_is_here, NULL));
    assert_int_equal(w->n[3], 0);
    assert_int_equal(w->n[4], server.clients);
    assert_string_equal(server.text, "");
    assert_int_equal(server.badly_closed, 0);
    assert_int_equal(server.opens, server.clients);
    for (int i = 0; i < server.clients; i++)
        assert_int_equal(server.closed[i], 1);
}

static struct scale_use
rest(void)
{
    assert_true(scale_side_until(&server.side, nobody_is_here, NULL));
    /* What was retired goes a turn or two later. */
    for (int i = 0; i < 3; i++)
        outlet_loop_turn(server.side.loop, 5);
    return scale_use_now(&server.side.heap);
}

static void
print_use(const char *who, struct scale_use a, struct scale_use b)
{
    printf("# %s: %lld -> %lld descriptors, %lld -> %lld bytes of the heap, %lld -> %lld KiB "
           "resident\n",
           who, (long long)a.descriptors, (long long)b.descriptors, (long long)a.live,
           (long long)b.live, (long long)a.rss / 1024, (long long)b.rss / 1024);
}

static void
lives_leave_nothing_behind(void **state)
{
    const struct scale_word *w;
    struct scale_use crowd_before;
    struct scale_use crowd_after;
    struct scale_use before;
    struct scale_use after;
    int64_t messages = server.messages;

    (void)state;
    w = have_done(LIVE, CYCLES_FIRST, 0);
    crowd_before = (struct scale_use){w->n[5], w->n[6], w->n[7]};
    before = rest();
    w = have_done(LIVE, CYCLES - CYCLES_FIRST, 0);
    crowd_after = (struct scale_use){w->n[5], w->n[6], w->n[7]};
    after = rest();
    print_use("server", before, after);
    print_use("clients", crowd_before, crowd_after);

    assert_int_equal(server.messages - messages, CYCLES);
    assert_int_equal(w->n[4], server.clients + CYCLES);
    assert_int_equal(w->n[2] + w->n[3], 0);
    assert_string_equal(server.text, "");
    assert_int_equal(server.badly_closed + server.not_intact + server.refused, 0);
    assert_int_equal(server.opens, server.clients + CYCLES);
    for (int i = 0; i < server.clients + CYCLES; i++)
        assert_int_equal(server.closed[i], 1);

    assert_int_equal(after.descriptors, before.descriptors);
    assert_int_equal(crowd_after.descriptors, crowd_before.descriptors);
    assert_true(after.live <= before.live + LIVE_TOLERANCE);
    assert_true(crowd_after.live <= crowd_before.live + LIVE_TOLERANCE);
    assert_true(after.rss <= before.rss + RSS_TOLERANCE);
    assert_true(crowd_after.rss <= crowd_before.rss + RSS_TOLERANCE);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_comes_back_as_it_went),
        cmocka_unit_test(lives_leave_nothing_behind),
    };
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("many", tests, set_up, tear_down);
}
