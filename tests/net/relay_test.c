/*
 * relay_test.c - two connections plugged together: nothing is lost, nothing grows, both end.
 *
 *     client ----> front | out ----> back
 *                    `relay'
 *
 * Each client of `front` gets a connection `out` to `back`, and the two are relayed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MIB = 1 << 20 };

struct chain {
    struct net n;
    struct server front;
    struct server back;
    struct end out[NET_ENDS];
    const struct does *out_does;
    const char *options; /* of what connects to back */
    outlet_loop *out_loop;
    int64_t errs; /* what could not be done in a callback */
};

/* ---- the relay --------------------------------------------------------------------------- */

static void
plug(struct end *front)
{
    struct chain *x = front->arg;
    struct end *out = &x->out[front - x->front.ends];
    struct outlet_opts o = OUTLET_OPTS;
    char url[256];

    out->net = &x->n;
    out->does = x->out_does;
    out->arg = x;
    o.on = &net_handlers;
    o.user = out;
    snprintf(url, sizeof url, "%s%s", x->back.at, x->options ? x->options : "");
    x->errs += outlet_connect(x->out_loop, url, &o, &out->c);
    x->errs += outlet_relay(front->c, out->c);
}

static const struct does plugs = {.on_open = plug};

static void
chain_open_at(struct chain *x, const char *front, const char *back)
{
    x->front.does = x->front.does ? x->front.does : &plugs;
    x->front.arg = x;
    x->out_loop = x->out_loop ? x->out_loop : x->n.loop;
    net_listen(&x->n, &x->back, NULL, "%s", back);
    net_listen(&x->n, &x->front, NULL, "%s", front);
}

static void
chain_open(struct chain *x, const char *front, const char *back)
{
    net_open(&x->n, NULL);
    chain_open_at(x, front, back);
}

static void
chain_fini(struct chain *x)
{
    assert_int_equal(x->errs, 0);
    for (int i = 0; i < NET_ENDS; i++) {
        net_end_fini(&x->out[i]);
    }
    net_server_fini(&x->front);
    net_server_fini(&x->back);
}

static void
chain_close(struct chain *x)
{
    net_close(&x->n);
    chain_fini(x);
}

/* ---- bytes and messages ------------------------------------------------------------------ */

static void
any_transport_is_relayed_to_any(void **state)
{
    static const char *const schemes[] = {"tcp", "unix", "pair", "udp"};
    static uint8_t bytes[3000];

    (void)state;
    net_pattern(bytes, sizeof bytes, 3);
    for (int i = 0; i < 16; i++) {
        struct chain x = {.back.does = &net_echoes};
        struct end e = {0};
        char front[128];

        net_open(&x.n, NULL);
        snprintf(front, sizeof front, "%s", net_place(&x.n, schemes[i / 4]));
        chain_open_at(&x, front, net_place(&x.n, schemes[i % 4]));
        net_connect(&x.n, &e, NULL, "%s", x.front.at);
        for (size_t round = 1; round < 4; round++) {
            assert_true(outlet_send(e.c, bytes + 1000 * (round - 1), 1000) >= 0);
            UNTIL(&x.n, e.len == 1000 * round);
        }
        assert_memory_equal(e.bytes, bytes, sizeof bytes);
        assert_int_equal(x.back.count, 1);
        net_end_fini(&e);
        chain_close(&x);
    }
}

static void
messages_stay_messages_where_both_have_borders(void **state)
{
    static const struct {
        const char *front;
        const char *client;
        const char *out;
        const char *back;
    } cases[] = {
        {"tcp://127.0.0.1:0#frame=line", "#frame=line", "#frame=len:4be",
         "tcp://127.0.0.1:0#frame=len:4be"},
        {"tcp://127.0.0.1:0#frame=varint", "#frame=varint", "", "udp://127.0.0.1:0"},
        {"udp://127.0.0.1:0", "", "#frame=len:2le", "tcp://127.0.0.1:0#frame=len:2le"},
        {"udp://127.0.0.1:0", "", "", "udp://127.0.0.1:0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chain x = {.back.does = &net_echoes, .options = cases[i].out};
        struct end e = {0};

        chain_open(&x, cases[i].front, cases[i].back);
        net_connect(&x.n, &e, NULL, "%s%s", x.front.at, cases[i].client);
        UNTIL(&x.n, e.opens);
        for (size_t k = 0; k < 100; k++) {
            assert_true(outlet_send(e.c, "abcdefghijklmnopqrstuvwxyz", k % 26 + 1) >= 0);
        }
        UNTIL(&x.n, e.messages == 100);
        for (size_t k = 0; k < 100; k++) {
            assert_int_equal(e.sizes[k], k % 26 + 1);
            assert_int_equal(x.back.ends[0].sizes[k], k % 26 + 1);
        }
        net_end_fini(&e);
        chain_close(&x);
    }
}

/* A stream has no messages, so what came at once may be more than a datagram carries. */
static void
bytes_are_cut_to_what_the_other_side_carries(void **state)
{
    static uint8_t bytes[200000];
    struct chain x = {.options = "#max=1000"};
    struct end e = {0};

    (void)state;
    net_pattern(bytes, sizeof bytes, 9);
    chain_open(&x, "tcp://127.0.0.1:0", "udp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    for (size_t at = 0; at < sizeof bytes; at += 20000) { /* no more than a socket holds at once */
        assert_true(outlet_send(e.c, bytes + at, 20000) >= 0);
        UNTIL(&x.n, x.back.count && x.back.ends[0].len == at + 20000);
    }
    assert_memory_equal(x.back.ends[0].bytes, bytes, sizeof bytes);
    for (size_t i = 0; i < x.back.ends[0].messages && i < NET_SIZES; i++) {
        assert_true(x.back.ends[0].sizes[i] <= 1000);
    }
    chain_close(&x);
}

static void
what_the_other_side_cannot_carry_aborts_both(void **state)
{
    static const struct {
        const char *front;
        const char *client;
        const char *out;
        const char *back;
        size_t len;
        outlet_err code;
    } cases[] = {
        {"tcp://127.0.0.1:0#frame=len:4be", "#frame=len:4be", "#max=10", "udp://127.0.0.1:0", 11,
         OUTLET_EMSGSIZE},
        {"tcp://127.0.0.1:0#frame=len:4be", "#frame=len:4be", "#cap=10", "tcp://127.0.0.1:0", 11,
         OUTLET_EMSGSIZE},
        {"tcp://127.0.0.1:0#frame=len:4be", "#frame=len:4be", "#frame=delim:b", "tcp://127.0.0.1:0",
         3, OUTLET_EINVAL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chain x = {.options = cases[i].out};
        struct end e = {0};

        chain_open(&x, cases[i].front, cases[i].back);
        net_connect(&x.n, &e, NULL, "%s%s", x.front.at, cases[i].client);
        UNTIL(&x.n, x.front.count && x.out[0].opens);
        assert_true(outlet_send(e.c, "abcdefghijk", cases[i].len) >= 0);
        UNTIL(&x.n, x.front.ends[0].closes && x.out[0].closes);
        assert_int_equal(x.front.ends[0].why.code, cases[i].code);
        assert_non_null(strstr(x.front.ends[0].why.text, "other side of the relay"));
        assert_int_equal(x.out[0].why.code, OUTLET_ECANCELED);
        UNTIL(&x.n, e.closes);
        chain_close(&x);
    }
}

static void
shout(struct end *e, outlet_msg *m)
{
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);

    (void)e;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(bytes[i] - 'a' + 'A');
    }
}

static void
on_message_sees_what_is_passed_on_and_may_change_it(void **state)
{
    static const struct does plugs_and_shouts = {.on_open = plug, .on_message = shout};
    struct chain x = {.back.does = &net_echoes, .front.does = &plugs_and_shouts};
    struct end e = {0};

    (void)state;
    chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    assert_true(outlet_send(e.c, "hello", 5) >= 0);
    UNTIL(&x.n, e.len == 5);
    assert_memory_equal(e.bytes, "HELLO", 5);
    assert_memory_equal(x.front.ends[0].bytes, "hello", 5); /* kept before it was changed */
    assert_memory_equal(x.out[0].bytes, "HELLO", 5);
    net_end_fini(&e);
    chain_close(&x);
}

/* ---- a slow reader ----------------------------------------------------------------------- */

static void
stop_reading(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static void
a_slow_reader_stops_the_sender_and_nothing_is_lost(void **state)
{
    static const struct does sleeps = {.on_accept = NULL, .on_open = stop_reading};
    static uint8_t bytes[64 * 1024];
    struct chain x = {.back.does = &sleeps, .options = "#high=100000,low=20000"};
    struct end e = {0};
    int64_t before = -1;
    size_t total = 24 * MIB;

    (void)state;
    net_pattern(bytes, sizeof bytes, 11);
    chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s#cap=off", x.front.at);
    UNTIL(&x.n, e.opens && x.back.count && x.back.ends[0].opens);
    for (size_t sent = 0; sent < total; sent += sizeof bytes) {
        assert_true(outlet_send(e.c, bytes, sizeof bytes) >= 0);
    }
    /* Until everything stands still. */
    while (net_number(x.out[0].c, "bytes_out") + net_number(e.c, "bytes_out") != before) {
        before = net_number(x.out[0].c, "bytes_out") + net_number(e.c, "bytes_out");
        net_run_ms(&x.n, 30);
    }
    assert_true(outlet_queued(x.out[0].c) > 20000);
    assert_true(outlet_queued(x.out[0].c) < 100000 + MIB); /* one receive beyond `high` */
    assert_true(outlet_queued(e.c) > 0);                   /* the sender feels it */
    assert_int_equal(outlet_resume(x.back.ends[0].c), OUTLET_OK);
    UNTIL(&x.n, x.back.ends[0].len == total);
    for (size_t at = 0; at < total; at += sizeof bytes) {
        assert_memory_equal(x.back.ends[0].bytes + at, bytes, sizeof bytes);
    }
    chain_close(&x);
}

static void
flood_back(struct end *e)
{
    static uint8_t bytes[100000];

    net_pattern(bytes, sizeof bytes, 13);
    for (int i = 0; i < 40; i++) {
        e->result += outlet_send(e->c, bytes, sizeof bytes) < 0;
    }
}

static void
the_way_back_waits_too(void **state)
{
    static const struct does floods = {.on_open = flood_back};
    static const struct does sleeps = {.on_open = stop_reading};
    static uint8_t bytes[100000];
    struct chain x = {.back.does = &floods};
    struct end e = {.does = &sleeps};

    (void)state;
    net_pattern(bytes, sizeof bytes, 13);
    chain_open(&x, "tcp://127.0.0.1:0#high=50000,low=10000", "tcp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    UNTIL(&x.n, e.opens && x.back.count && x.back.ends[0].opens);
    net_run_ms(&x.n, 50);
    assert_true(outlet_queued(x.front.ends[0].c) < 50000 + MIB);
    assert_int_equal(outlet_resume(e.c), OUTLET_OK);
    UNTIL(&x.n, e.len == 40 * sizeof bytes);
    for (int i = 0; i < 40; i++) {
        assert_memory_equal(e.bytes + (size_t)i * sizeof bytes, bytes, sizeof bytes);
    }
    assert_int_equal(x.back.ends[0].result, 0);
    net_end_fini(&e);
    chain_close(&x);
}

/* More than the other queue may ever hold comes in one piece. */
static void
what_does_not_fit_into_the_queue_is_held(void **state)
{
    static const char *const options[] = {"#cap=1000", "#cap=5000,frame=len:4be",
                                          "#cap=2000,high=off"};
    static uint8_t bytes[300000];

    (void)state;
    net_pattern(bytes, sizeof bytes, 21);
    for (int i = 0; i < 3; i++) {
        struct chain x = {.options = options[i]};
        struct end e = {0};
        size_t got = 0;

        chain_open(&x, "tcp://127.0.0.1:0",
                   i == 1 ? "tcp://127.0.0.1:0#frame=len:4be" : "tcp://127.0.0.1:0");
        net_connect(&x.n, &e, NULL, "%s", x.front.at);
        assert_true(outlet_send(e.c, bytes, sizeof bytes) >= 0);
        assert_int_equal(outlet_end(e.c), OUTLET_OK);
        UNTIL(&x.n, x.back.count && x.back.ends[0].closes);
        got = x.back.ends[0].len;
        assert_int_equal(got, sizeof bytes);
        assert_memory_equal(x.back.ends[0].bytes, bytes, sizeof bytes);
        assert_int_equal(x.back.ends[0].why.code, OUTLET_OK);
        chain_close(&x);
    }
}

static void
a_pause_of_the_program_stays_one(void **state)
{
    struct chain x = {.back.does = &net_echoes};
    struct end e = {0};

    (void)state;
    chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    assert_true(outlet_send(e.c, "one", 3) >= 0);
    UNTIL(&x.n, e.len == 3);
    assert_int_equal(outlet_pause(x.front.ends[0].c), OUTLET_OK);
    net_run_ms(&x.n, 1);
    assert_true(outlet_send(e.c, "two", 3) >= 0);
    net_run_ms(&x.n, 20);
    assert_int_equal(x.back.ends[0].len, 3);
    assert_int_equal(outlet_resume(x.front.ends[0].c), OUTLET_OK);
    UNTIL(&x.n, e.len == 6);
    net_end_fini(&e);
    chain_close(&x);
}

/* ---- ends -------------------------------------------------------------------------------- */

static void
answer_the_end(struct end *e)
{
    static uint8_t bytes[200000];

    if (e->event != OUTLET_EVENT_END)
        return;
    net_pattern(bytes, sizeof bytes, 17);
    e->result += outlet_send(e->c, bytes, sizeof bytes) < 0;
    e->result += outlet_end(e->c);
}

static void
a_half_close_is_passed_on(void **state)
{
    static const struct does answers = {.on_event = answer_the_end};
    static const char *const schemes[] = {"tcp", "unix", "pair"};
    static uint8_t bytes[200000];

    (void)state;
    net_pattern(bytes, sizeof bytes, 17);
    for (int i = 0; i < 9; i++) {
        struct chain x = {.back.does = &answers};
        struct end e = {0};
        char front[128];
        char back[160];

        net_open(&x.n, NULL);
        snprintf(front, sizeof front, "%s", net_place(&x.n, schemes[i / 3]));
        snprintf(back, sizeof back, "%s#half_open", net_place(&x.n, schemes[i % 3]));
        chain_open_at(&x, front, back);
        net_connect(&x.n, &e, NULL, "%s#half_open", x.front.at);
        assert_true(outlet_send(e.c, bytes, 100000) >= 0);
        assert_int_equal(outlet_end(e.c), OUTLET_OK);
        UNTIL(&x.n, e.closes && x.back.count && x.back.ends[0].closes && x.out[0].closes &&
                        x.front.ends[0].closes);
        assert_int_equal(x.back.ends[0].len, 100000);
        assert_memory_equal(x.back.ends[0].bytes, bytes, 100000);
        assert_int_equal(e.len, sizeof bytes);
        assert_memory_equal(e.bytes, bytes, sizeof bytes);
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(x.back.ends[0].why.code, OUTLET_OK);
        assert_int_equal(x.front.ends[0].why.code, OUTLET_OK);
        assert_int_equal(x.out[0].why.code, OUTLET_OK);
        assert_int_equal(x.back.ends[0].result, 0);
        net_end_fini(&e);
        chain_close(&x);
    }
}

/* The client goes, and what it sent is still on its way everywhere. */
static void
bytes_under_way_arrive_after_a_close(void **state)
{
    static uint8_t bytes[3 * MIB];

    (void)state;
    net_pattern(bytes, sizeof bytes, 19);
    for (int by_server = 0; by_server < 2; by_server++) {
        struct chain x = {0};
        struct end e = {0};
        struct end *from = &e;
        struct end *to = &x.back.ends[0];

        chain_open(&x, "tcp://127.0.0.1:0", "unix:@outlet-relay-test");
        net_connect(&x.n, &e, NULL, "%s", x.front.at);
        UNTIL(&x.n, e.opens && x.back.count && x.back.ends[0].opens);
        if (by_server) {
            from = to;
            to = &e;
        }
        assert_true(outlet_send(from->c, bytes, sizeof bytes) >= 0);
        assert_int_equal(outlet_close(from->c), OUTLET_OK);
        UNTIL(&x.n, from->closes && to->closes && x.front.ends[0].closes && x.out[0].closes);
        assert_int_equal(to->len, sizeof bytes);
        assert_memory_equal(to->bytes, bytes, sizeof bytes);
        assert_int_equal(to->why.code, OUTLET_OK);
        assert_int_equal(x.front.ends[0].why.code, OUTLET_OK);
        assert_int_equal(x.out[0].why.code, OUTLET_OK);
        net_end_fini(&e);
        chain_close(&x);
    }
}

static void
an_abort_of_either_side_is_passed_on(void **state)
{
    (void)state;
    for (int who = 0; who < 4; who++) {
        struct chain x = {.back.does = &net_echoes};
        struct end e = {0};
        outlet_conn all[4];

        chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
        net_connect(&x.n, &e, NULL, "%s", x.front.at);
        assert_true(outlet_send(e.c, "hello", 5) >= 0);
        UNTIL(&x.n, e.len == 5);
        all[0] = e.c;
        all[1] = x.front.ends[0].c;
        all[2] = x.out[0].c;
        all[3] = x.back.ends[0].c;
        assert_int_equal(outlet_abort(all[who]), OUTLET_OK);
        UNTIL(&x.n, e.closes && x.front.ends[0].closes && x.out[0].closes && x.back.ends[0].closes);
        assert_int_equal(e.why.code, who == 0 ? OUTLET_ECANCELED : OUTLET_ERESET);
        assert_int_equal(x.back.ends[0].why.code, who == 3 ? OUTLET_ECANCELED : OUTLET_ERESET);
        assert_int_not_equal(x.front.ends[0].why.code, OUTLET_OK);
        assert_int_not_equal(x.out[0].why.code, OUTLET_OK);
        if (who < 2)
            assert_non_null(strstr(x.out[0].why.text, "other side of the relay"));
        else
            assert_non_null(strstr(x.front.ends[0].why.text, "other side of the relay"));
        net_end_fini(&e);
        chain_close(&x);
    }
}

static void
a_close_of_either_side_closes_both(void **state)
{
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct chain x = {.back.does = &net_echoes};
        struct end e = {0};

        chain_open(&x, "tcp://127.0.0.1:0", "udp://127.0.0.1:0");
        net_connect(&x.n, &e, NULL, "%s", x.front.at);
        assert_true(outlet_send(e.c, "hello", 5) >= 0);
        UNTIL(&x.n, e.len == 5);
        assert_int_equal(outlet_close(who ? x.out[0].c : x.front.ends[0].c), OUTLET_OK);
        UNTIL(&x.n, e.closes && x.front.ends[0].closes && x.out[0].closes);
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(x.front.ends[0].why.code, OUTLET_OK);
        assert_int_equal(x.out[0].why.code, OUTLET_OK);
        net_end_fini(&e);
        chain_close(&x);
    }
}

static void
a_server_that_is_not_there_is_told_to_the_client(void **state)
{
    struct chain x = {0};
    struct end e = {0};

    (void)state;
    chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0");
    assert_int_equal(outlet_listener_close(x.back.l), OUTLET_OK);
    net_run_ms(&x.n, 1);
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    assert_true(outlet_send(e.c, "hello", 5) >= 0);
    UNTIL(&x.n, e.closes && x.front.ends[0].closes && x.out[0].closes);
    assert_int_equal(x.out[0].why.code, OUTLET_EREFUSED);
    assert_int_equal(x.front.ends[0].why.code, OUTLET_ECANCELED);
    assert_int_equal(e.why.code, OUTLET_ERESET);
    chain_close(&x);
}

/* A datagram socket cannot be told of an end, but its peer may still have something to say. */
static void
an_end_that_cannot_be_passed_on_leaves_time_to_answer(void **state)
{
    struct chain x = {.back.does = &net_echoes};
    struct end e = {0};

    (void)state;
    chain_open(&x, "tcp://127.0.0.1:0#flush_ms=60", "udp://127.0.0.1:0");
    net_connect(&x.n, &e, NULL, "%s", x.front.at);
    assert_true(outlet_send(e.c, "question", 8) >= 0);
    assert_int_equal(outlet_end(e.c), OUTLET_OK);
    UNTIL(&x.n, e.closes && x.front.ends[0].closes && x.out[0].closes);
    assert_int_equal(e.len, 8);
    assert_int_equal(e.why.code, OUTLET_OK);
    assert_int_equal(x.front.ends[0].why.code, OUTLET_OK);
    assert_int_equal(x.out[0].why.code, OUTLET_OK);
    net_end_fini(&e);
    chain_close(&x);
}

/* ---- made and refused -------------------------------------------------------------------- */

static void
a_connection_is_relayed_once(void **state)
{
    struct net n;
    struct end e[6] = {{0}};
    outlet_conn gone;

    (void)state;
    net_open(&n, NULL);
    net_pair(&n, &e[0], &e[1], "pair:");
    net_pair(&n, &e[2], &e[3], "pair:");
    net_pair(&n, &e[4], &e[5], "pair:");
    assert_int_equal(outlet_relay(e[1].c, e[1].c), OUTLET_EINVAL);
    assert_int_equal(outlet_relay(e[1].c, e[2].c), OUTLET_OK);
    assert_int_equal(outlet_relay(e[1].c, e[4].c), OUTLET_EEXIST);
    assert_int_equal(outlet_relay(e[4].c, e[2].c), OUTLET_EEXIST); /* and 4 is free again */
    assert_int_equal(outlet_relay(e[3].c, e[4].c), OUTLET_OK);
    UNTIL(&n, e[0].opens && e[5].opens);
    assert_true(outlet_send(e[0].c, "through three", 13) >= 0);
    UNTIL(&n, e[5].len == 13);
    assert_memory_equal(e[5].bytes, "through three", 13);
    assert_true(outlet_send(e[5].c, "and back", 8) >= 0);
    UNTIL(&n, e[0].len == 8);
    gone = e[0].c;
    assert_int_equal(outlet_close(e[0].c), OUTLET_OK);
    UNTIL(&n,
          e[0].closes && e[1].closes && e[2].closes && e[3].closes && e[4].closes && e[5].closes);
    net_pair(&n, &e[0], &e[1], "pair:");
    assert_int_equal(outlet_relay(gone, e[0].c), OUTLET_ESTALE);
    assert_int_equal(outlet_relay(e[0].c, gone), OUTLET_ESTALE);
    net_close(&n);
    for (int i = 0; i < 6; i++) {
        net_end_fini(&e[i]);
    }
}

static void
a_relay_of_two_loops_is_one_too(void **state)
{
    static const struct does answers = {.on_event = answer_the_end};
    static uint8_t bytes[200000];

    (void)state;
    net_pattern(bytes, sizeof bytes, 17);
    for (int i = 0; i < 3; i++) {
        struct chain x = {.back.does = &answers, .options = i ? "#high=30000,low=1000" : ""};
        struct end e = {0};

        net_open(&x.n, NULL);
        x.out_loop = net_another_loop(&x.n, NULL);
        chain_open_at(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0#half_open");
        net_connect(&x.n, &e, NULL, "%s#half_open", x.front.at);
        if (i == 2) { /* an abort goes the same way */
            assert_true(outlet_send(e.c, bytes, 100) >= 0);
            UNTIL(&x.n, x.back.count && x.back.ends[0].len == 100);
            assert_int_equal(outlet_abort(e.c), OUTLET_OK);
        } else {
            assert_true(outlet_send(e.c, bytes, sizeof bytes) >= 0);
            assert_int_equal(outlet_end(e.c), OUTLET_OK);
        }
        UNTIL(&x.n, e.closes && x.back.count && x.back.ends[0].closes && x.out[0].closes &&
                        x.front.ends[0].closes);
        if (i < 2) {
            assert_int_equal(x.back.ends[0].len, sizeof bytes);
            assert_memory_equal(x.back.ends[0].bytes, bytes, sizeof bytes);
            assert_int_equal(e.len, sizeof bytes);
            assert_memory_equal(e.bytes, bytes, sizeof bytes);
            assert_int_equal(e.why.code, OUTLET_OK);
            assert_int_equal(x.out[0].why.code, OUTLET_OK);
        } else {
            assert_int_equal(x.back.ends[0].why.code, OUTLET_ERESET);
            assert_int_equal(x.out[0].why.code, OUTLET_ECANCELED);
        }
        net_end_fini(&e);
        chain_close(&x);
    }
}

/* ---- a bad network, many times ----------------------------------------------------------- */

enum { SEEDS = 300, CLIENTS = 5 };

/* What comes out is what went in, from the start on; all of it where the end was in order. */
static void
check_prefix(const struct end *got, const uint8_t *sent, size_t len, uint64_t seed)
{
    if (got->len > len || (got->len && memcmp(got->bytes, sent, got->len) != 0))
        fail_msg("seed %llu: other bytes than were sent; OUTLET_SEED=%llu %s", (long long)seed,
                 (long long)seed, "test_net_relay sim");
    if (got->why.code == OUTLET_OK && got->len != len)
        fail_msg("seed %llu: an orderly end after %zu of %zu bytes; OUTLET_SEED=%llu %s",
                 (long long)seed, got->len, len, (long long)seed, "test_net_relay sim");
}

static void
one_world(uint64_t seed)
{
    static const struct does answers = {.on_event = answer_the_end};
    static uint8_t back[200000];
    static uint8_t bytes[60000];
    struct ol_sim_faults faults = {.delay_max_us = 2000,
                                   .send_room = 1 + (uint32_t)(seed * 7919 % 20000)};
    struct chain *x = calloc(1, sizeof *x);
    struct end *e = calloc(CLIENTS, sizeof *e);
    int ended = 0;

    net_pattern(back, sizeof back, 17);
    net_pattern(bytes, sizeof bytes, (unsigned)seed);
    x->back.does = &answers;
    x->options = seed % 3 == 0 ? "#high=3000,low=100" : seed % 3 == 1 ? "#cap=900" : "";
    net_open_world(&x->n, seed, &faults);
    x->out_loop = seed % 2 ? net_another_loop(&x->n, NULL) : NULL;
    chain_open_at(x, seed % 5 ? "tcp://127.0.0.1:0" : "tcp://127.0.0.1:0#high=5000,low=0",
                  "tcp://127.0.0.1:0#half_open");
    for (int i = 0; i < CLIENTS; i++) {
        net_connect(&x->n, &e[i], NULL, "%s#half_open", x->front.at);
        assert_true(outlet_send(e[i].c, bytes, sizeof bytes) >= 0);
        assert_int_equal(outlet_end(e[i].c), OUTLET_OK);
    }
    while (ended < CLIENTS) {
        UNTIL(&x->n, e[ended].closes || (seed % 4 == 0 && x->back.count > ended &&
                                         x->back.ends[ended].len > 20000));
        if (!e[ended].closes) /* the server of some client dies in the middle, or is through */
            (void)outlet_abort(x->back.ends[ended].c);
        UNTIL(&x->n, e[ended].closes);
        ended++;
    }
    UNTIL(&x->n, x->front.count == CLIENTS && x->back.count == CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        UNTIL(&x->n, x->front.ends[i].closes && x->out[i].closes && x->back.ends[i].closes);
        check_prefix(&e[i], back, sizeof back, seed);
        check_prefix(&x->back.ends[i], bytes, sizeof bytes, seed);
        net_end_fini(&e[i]);
    }
    chain_close(x);
    free(x);
    free(e);
}

static void
nothing_is_lost_or_changed_whatever_the_network_does(void **state)
{
    const char *seed = getenv("OUTLET_SEED");

    (void)state;
    if (!net_is_sim())
        skip();
    if (seed) {
        one_world(strtoull(seed, NULL, 0));
        return;
    }
    for (uint64_t i = 1; i <= SEEDS; i++) {
        one_world(i);
    }
}

/* ---- without memory ---------------------------------------------------------------------- */

static uint64_t fail_at;

static int
begin_to_fail(struct end *front)
{
    failing_heap_reset(&front->net->heap, fail_at);
    return 0;
}

static void
plug_or_abort(struct end *front)
{
    struct chain *x = front->arg;

    plug(front);
    if (x->errs)
        front->result = outlet_abort(front->c);
}

static void
without_memory_both_end_and_nothing_is_made_up(void **state)
{
    static const struct does plugs_or_aborts = {.on_accept = begin_to_fail,
                                                .on_open = plug_or_abort};
    static const struct does answers = {.on_event = answer_the_end};
    static uint8_t back[200000];
    static uint8_t bytes[100000];
    uint64_t failed = 1;

    (void)state;
    if (!net_is_sim())
        skip(); /* the same code above all drivers, and the kernel's timing is no one's */
    net_pattern(back, sizeof back, 17);
    net_pattern(bytes, sizeof bytes, 29);
    for (fail_at = 1; failed; fail_at++) {
        struct chain x = {.back.does = &answers,
                          .front.does = &plugs_or_aborts,
                          .options = fail_at % 2 ? "#high=3000,low=100" : "#cap=900"};
        struct end e = {0};

        chain_open(&x, "tcp://127.0.0.1:0", "tcp://127.0.0.1:0#half_open");
        net_connect(&x.n, &e, NULL, "%s#half_open", x.front.at);
        assert_true(outlet_send(e.c, bytes, sizeof bytes) >= 0);
        assert_int_equal(outlet_end(e.c), OUTLET_OK);
        UNTIL(&x.n, e.closes);
        if (x.back.count)
            UNTIL(&x.n, x.back.ends[0].closes);
        failed = failing_heap_failed(&x.n.heap);
        failing_heap_reset(&x.n.heap, 0);
        check_prefix(&e, back, sizeof back, fail_at);
        if (x.back.count)
            check_prefix(&x.back.ends[0], bytes, sizeof bytes, fail_at);
        x.errs = 0;
        net_end_fini(&e);
        chain_close(&x);
    }
    assert_true(fail_at > 10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_transport_is_relayed_to_any),
    cmocka_unit_test(messages_stay_messages_where_both_have_borders),
    cmocka_unit_test(bytes_are_cut_to_what_the_other_side_carries),
    cmocka_unit_test(what_the_other_side_cannot_carry_aborts_both),
    cmocka_unit_test(on_message_sees_what_is_passed_on_and_may_change_it),
    cmocka_unit_test(a_slow_reader_stops_the_sender_and_nothing_is_lost),
    cmocka_unit_test(the_way_back_waits_too),
    cmocka_unit_test(what_does_not_fit_into_the_queue_is_held),
    cmocka_unit_test(a_pause_of_the_program_stays_one),
    cmocka_unit_test(a_half_close_is_passed_on),
    cmocka_unit_test(bytes_under_way_arrive_after_a_close),
    cmocka_unit_test(an_abort_of_either_side_is_passed_on),
    cmocka_unit_test(a_close_of_either_side_closes_both),
    cmocka_unit_test(a_server_that_is_not_there_is_told_to_the_client),
    cmocka_unit_test(an_end_that_cannot_be_passed_on_leaves_time_to_answer),
    cmocka_unit_test(a_connection_is_relayed_once),
    cmocka_unit_test(a_relay_of_two_loops_is_one_too),
    cmocka_unit_test(without_memory_both_end_and_nothing_is_made_up),
    cmocka_unit_test(nothing_is_lost_or_changed_whatever_the_network_does),
};

NET_MAIN(tests)
