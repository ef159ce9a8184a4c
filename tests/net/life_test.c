/*
 * life_test.c - a connection from open to close: the order of callbacks, who ends it and how, on
 * every stream transport.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>

static const char *const streams[] = {"tcp", "tcp6", "unix", "abstract", "pair"};
#define EACH_STREAM(i) for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)

static void
callbacks_come_in_order(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &net_echoes};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_int_equal(e.opens, 0); /* nothing calls back inside the call */
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        assert_true(outlet_send(e.c, "hello", 5) >= 0);
        UNTIL(&n, e.len == 5);
        assert_memory_equal(e.bytes, "hello", 5);
        assert_int_equal(outlet_close(e.c), OUTLET_OK);
        assert_int_equal(e.closes, 0);
        UNTIL(&n, e.closes && s.ends[0].closes);
        assert_string_equal(e.story, "OMC");
        assert_string_equal(s.ends[0].story, "AOMC");
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(e.why.side, OUTLET_BY_US);
        assert_int_equal(s.ends[0].why.code, OUTLET_OK);
        assert_int_equal(s.ends[0].why.side, OUTLET_BY_PEER);
        assert_true(e.why.text[0] && s.ends[0].why.text[0]);
        assert_true(net_stale(e.c));
        assert_true(net_stale(s.ends[0].c));
        net_run_ms(&n, 5);
        assert_int_equal(e.closes, 1);
        assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
        assert_int_equal(outlet_listener_close(s.l), OUTLET_ESTALE);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
what_is_sent_before_open_arrives_after_it(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {0};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#frame=line", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s#frame=line", s.at);
        for (int k = 0; k < 10; k++) {
            char line[8];
            int len = snprintf(line, sizeof line, "%d", k);

            assert_true(outlet_send(e.c, line, (size_t)len) > 0);
        }
        assert_true(outlet_queued(e.c) >= 20);
        UNTIL(&n, s.count && s.ends[0].messages == 10);
        assert_memory_equal(s.ends[0].bytes, "0123456789", 10);
        assert_int_equal(outlet_queued(e.c), 0);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- sends from every callback
 * -------------------------------------------------------------------- */

static int
greet_in_accept(struct end *e)
{
    e->results[0] = outlet_send(e->c, "accept;", 7);
    return 0;
}

static void
greet_in_open(struct end *e)
{
    e->results[1] = outlet_send(e->c, "open;", 5);
}

static void
answer_and_end(struct end *e, outlet_msg *m)
{
    (void)m;
    e->results[2] = outlet_send(e->c, "message;", 8);
    e->results[3] = outlet_end(e->c);
    e->results[4] = outlet_send(e->c, "late", 4);
}

static void
too_late_in_close(struct end *e)
{
    e->results[5] = outlet_send(e->c, "close", 5);
    e->results[6] = outlet_close(e->c);
    e->results[7] = outlet_set_user(e->c, e);
}

static void
every_callback_may_send(void **state)
{
    static const struct does talks = {greet_in_accept,  greet_in_open, answer_and_end, NULL, NULL,
                                      too_late_in_close};
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &talks};
        struct end e = {0};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "x", 1) > 0);
        UNTIL(&n, e.closes && s.count && p->closes);
        assert_int_equal(e.len, 20);
        assert_memory_equal(e.bytes, "accept;open;message;", 20);
        assert_int_equal(p->results[0], 7);
        assert_int_equal(p->results[1], 12);
        assert_true(p->results[2] >= 8);
        assert_int_equal(p->results[3], OUTLET_OK);
        assert_int_equal(p->results[4], OUTLET_ESTATE);
        assert_int_equal(p->results[5], OUTLET_ESTATE);
        assert_int_equal(p->results[6], OUTLET_OK);
        assert_int_equal(p->results[7], OUTLET_OK);
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(p->why.code, OUTLET_OK);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- ended in every callback
 * ------------------------------------------------------------------------ */

struct ending {
    const char *name;
    void (*end)(struct end *e);
};

static void
by_close(struct end *e)
{
    e->result = outlet_close(e->c);
}

static void
by_abort(struct end *e)
{
    e->result = outlet_abort(e->c);
}

static void
by_stop(struct end *e)
{
    e->result = outlet_loop_stop(e->net->loop);
}

static void
by_drain(struct end *e)
{
    e->result = outlet_loop_drain(e->net->loop, 0);
}

static void
by_close_then_abort(struct end *e)
{
    e->result = outlet_close(e->c);
    e->result |= outlet_abort(e->c);
    e->result |= outlet_close(e->c);
}

static const struct ending endings[] = {{"close", by_close},
                                        {"abort", by_abort},
                                        {"stop", by_stop},
                                        {"drain", by_drain},
                                        {"close, abort, close", by_close_then_abort}};

static void
use_arg(struct end *e)
{
    if (e->results[0]++ == 0) /* the simulator may slice one message into several */
        ((const struct ending *)e->arg)->end(e);
}

static int
use_arg_in_accept(struct end *e)
{
    use_arg(e);
    return 0;
}

static void
use_arg_in_message(struct end *e, outlet_msg *m)
{
    (void)m;
    use_arg(e);
}

static const struct {
    char letter;
    struct does does;
} places[] = {{'A', {.on_accept = use_arg_in_accept}},
              {'O', {.on_open = use_arg}},
              {'M', {.on_message = use_arg_in_message}},
              {'W', {.on_writable = use_arg}},
              {'E', {.on_event = use_arg}},
              {'C', {.on_close = use_arg}}};

/* Makes each callback happen on the server's end: a message, an event (half-open) and, because
 * something above `high` is queued, an on_writable. */
static void
any_callback_may_end_its_connection_or_the_loop(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
            for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
                struct net n;
                struct server s = {.does = &places[p].does, .arg = (void *)(uintptr_t)&endings[k]};
                struct end e = {0};
                struct end *b = &s.ends[0];
                bool alone = endings[k].end != by_stop && endings[k].end != by_drain;

                net_open(&n, NULL);
                net_listen(&n, &s, NULL, "%s#half_open,high=4,low=2,flush_ms=5",
                           net_place(&n, streams[i]));
                net_connect(&n, &e, NULL, "%s#half_open", s.at);
                assert_true(outlet_send(e.c, "hello", 5) > 0);
                UNTIL(&n, b->messages || b->closes);
                if (places[p].letter == 'W')
                    assert_true(outlet_send(b->c, "hello", 5) > 0);
                if (places[p].letter == 'E')
                    assert_int_equal(outlet_end(e.c), OUTLET_OK);
                if (places[p].letter == 'C')
                    assert_int_equal(outlet_abort(b->c), OUTLET_OK);
                UNTIL(&n, b->closes);
                assert_true(strchr(b->story, places[p].letter));
                assert_int_equal(b->story[strlen(b->story) - 1], 'C');
                assert_int_equal(b->result, OUTLET_OK);
                if (alone)
                    (void)outlet_close(e.c); /* OUTLET_ESTALE when the abort was quicker */
                UNTIL(&n, e.closes);
                if (alone)
                    net_run_ms(&n, 1);
                assert_int_equal(b->closes, 1);
                assert_int_equal(e.closes, 1);
                net_end_fini(&e);
                net_server_fini(&s);
                net_close(&n);
            }
        }
    }
}

static void
an_accept_callback_may_refuse(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.refuse = 1};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.closes && s.count && s.ends[0].closes);
        assert_string_equal(s.ends[0].story, "AC");
        assert_int_equal(s.ends[0].why.code, OUTLET_EDENIED);
        assert_int_equal(s.ends[0].why.side, OUTLET_BY_US);
        assert_int_equal(net_listener_number(&s, "refused"), 1);
        assert_int_equal(net_listener_number(&s, "accepted"), 0);
        assert_int_equal(net_listener_number(&s, "connections"), 0);
        net_close(&n);
    }
}

static void
an_abort_resets_the_peer(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        bool has_reset = strncmp(streams[i], "tcp", 3) == 0;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        assert_int_equal(outlet_abort(s.ends[0].c), OUTLET_OK);
        UNTIL(&n, e.closes && s.ends[0].closes);
        assert_int_equal(s.ends[0].why.code, OUTLET_ECANCELED);
        assert_int_equal(s.ends[0].why.side, OUTLET_BY_US);
        assert_int_equal(s.ends[0].why.phase, OUTLET_AT_OPEN);
        if (has_reset) {
            assert_int_equal(e.why.code, OUTLET_ERESET);
            assert_int_equal(e.why.side, OUTLET_BY_PEER);
            assert_int_equal(e.why.phase, OUTLET_AT_OPEN);
            assert_int_not_equal(e.why.sys_errno, 0);
        }
        net_close(&n);
    }
}

/* A dial is a handful of turns: end it after each of them, wherever it leads. */
static void
a_dial_can_be_ended_at_any_moment(void **state)
{
    static const char *const nowhere[] = {"tcp://127.0.0.1:1",
                                          "tcp://localhost:1",
                                          "unix:@outlet-nobody-is-here",
                                          "pair:nobody",
                                          "tcp://no.such.host.invalid:1",
                                          "udp://127.0.0.1:9"};
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams + sizeof nowhere / sizeof *nowhere;
         i++) {
        for (size_t k = 0; k < 2; k++) {
            for (int turns = 0; turns < 8; turns++) {
                struct net n;
                struct server s = {0};
                struct end e = {0};
                bool real = i < sizeof streams / sizeof *streams;
                outlet_err err;

                net_open(&n, NULL);
                if (real)
                    net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
                net_connect(&n, &e, NULL, "%s",
                            real ? s.at : nowhere[i - sizeof streams / sizeof *streams]);
                net_begin(&n);
                for (int t = 0; t < turns; t++) {
                    (void)outlet_loop_turn(n.loop, 0); /* it is alive */
                }
                err = k ? outlet_close(e.c) : outlet_abort(e.c);
                assert_true(err == OUTLET_OK || (err == OUTLET_ESTALE && e.closes));
                UNTIL(&n, e.closes);
                assert_true(e.opens == 1 || e.why.code != OUTLET_OK);
                assert_int_equal(e.closes, 1);
                net_close(&n);
            }
        }
    }
}

static void
ends_of_a_pair_talk_and_end_together(void **state)
{
    struct net n;
    struct end a = {0};
    struct end b = {.does = &net_echoes};

    (void)state;
    net_open(&n, NULL);
    net_pair(&n, &a, &b, "pair:#frame=len:2be");
    assert_true(outlet_send(a.c, "one", 3) > 0);
    assert_true(outlet_send(a.c, "", 0) > 0);
    assert_true(outlet_send(a.c, "two", 3) > 0);
    UNTIL(&n, a.messages == 3);
    assert_memory_equal(a.bytes, "onetwo", 6);
    assert_int_equal(a.sizes[1], 0);
    assert_int_equal(outlet_close(b.c), OUTLET_OK);
    UNTIL(&n, a.closes && b.closes);
    assert_int_equal(a.why.side, OUTLET_BY_PEER);
    net_pair(&n, &a, &b, "pair:");
    assert_int_equal(outlet_close(a.c), OUTLET_OK); /* before it began */
    UNTIL(&n, a.closes == 2 && b.closes == 2);
    net_end_fini(&a);
    net_end_fini(&b);
    net_close(&n);
}

static void
closing_a_listener_leaves_its_connections(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &net_echoes};
        struct end e = {0};
        struct end late = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count);
        assert_int_equal(outlet_listener_of(s.ends[0].c).id, s.l.id);
        assert_int_equal(outlet_listener_of(e.c).id, 0);
        assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
        net_run_ms(&n, 5);
        net_connect(&n, &late, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "still", 5) > 0);
        UNTIL(&n, e.len == 5 && late.closes);
        assert_int_equal(late.why.code,
                         strcmp(streams[i], "unix") == 0 ? OUTLET_ENOENT : OUTLET_EREFUSED);
        assert_int_equal(late.why.phase, OUTLET_AT_CONNECT);
        assert_int_equal(late.opens, 0);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(callbacks_come_in_order),
    cmocka_unit_test(what_is_sent_before_open_arrives_after_it),
    cmocka_unit_test(every_callback_may_send),
    cmocka_unit_test(any_callback_may_end_its_connection_or_the_loop),
    cmocka_unit_test(an_accept_callback_may_refuse),
    cmocka_unit_test(an_abort_resets_the_peer),
    cmocka_unit_test(a_dial_can_be_ended_at_any_moment),
    cmocka_unit_test(ends_of_a_pair_talk_and_end_together),
    cmocka_unit_test(closing_a_listener_leaves_its_connections),
};

NET_MAIN(tests)
