/*
 * admission_test.c - who may come in, and how many in a second.
 *
 * The simulator's clock is virtual, and there the moments are exact.  Elsewhere only "not before"
 * is looked at: how late something happens says nothing on a busy machine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/loop/loop.h"
#include "net.h"

#include <stdio.h>
#include <string.h>

enum {
    CLIENTS = 60,
    WAIT_MS = 12,   /* a rest is at least 10 ms, and a tick */
    TRAVEL_MS = 100 /* in the simulated network, more than a connection takes */
};

static int64_t moments[NET_ENDS];

static int
note_the_moment(struct end *e)
{
    moments[e->server->count - 1] = net_now_ms(e->net);
    return 0;
}

static const struct does notes_moments = {.on_accept = note_the_moment};

/* ---- accepts_per_second ------------------------------------------------------------------ */

static const struct {
    int rate;
    int burst;
} rates[] = {{20, 2}, {50, 5}, {100, 10}, {400, 40}};

static void
a_burst_is_let_in_and_the_rest_evenly(void **state)
{
    static const char *const schemes[] = {"tcp", "tcp6", "unix", "abstract"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        int rate = rates[i].rate;
        int clients = rate == 20 ? 10 : CLIENTS;
        struct net n;
        struct server s = {.does = &notes_moments};
        struct end e[CLIENTS] = {{0}};
        int64_t began;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#accepts_per_second=%d", net_place(&n, schemes[i]), rate);
        began = net_now_ms(&n);
        for (int k = 0; k < clients; k++) {
            net_connect(&n, &e[k], NULL, "%s", s.at);
        }
        UNTIL(&n, s.count == clients && s.ends[clients - 1].opens);
        for (int k = 0; k < clients; k++) {
            int64_t due = (int64_t)(k + 1 - rates[i].burst) * 1000 / rate;

            if (moments[k] + 1 < began + due)
                fail_msg("%s: client %d came %d ms too early", s.at, k,
                         (int)(began + due - moments[k]));
        }
        for (int k = 0; k < clients && net_is_sim(); k++) { /* from when the first one was there */
            int64_t due = k < rates[i].burst ? 0 : (k + 1 - rates[i].burst) * 1000 / rate;

            assert_in_range(moments[k], moments[0] + due, moments[0] + due + TRAVEL_MS);
            if (due > TRAVEL_MS) /* all have arrived and wait */
                assert_in_range(moments[k], moments[0] + due, moments[0] + due + WAIT_MS);
        }
        UNTIL(&n, e[clients - 1].opens); /* nobody was turned away */
        assert_int_equal(net_listener_number(&s, "refused"), 0);
        assert_int_equal(net_listener_number(&s, "accepted"), clients);
        if (net_is_sim() || rate <= 100) /* 400: a busy machine may be slower than that */
            assert_true(net_listener_number(&s, "pauses") > 0);
        for (int k = 0; k < clients; k++) {
            assert_int_equal(e[k].opens, 1);
            assert_int_equal(e[k].closes, 0);
        }
        net_close(&n);
    }
}

/* Also for one who comes when the others are in. */
static void
over_time_it_is_the_rate(void **state)
{
    struct net n;
    struct server s = {.does = &notes_moments};
    struct end e[CLIENTS] = {{0}};
    int64_t began;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#accepts_per_second=200");
    began = net_now_ms(&n);
    for (int k = 0; k < CLIENTS - 1; k++) {
        net_connect(&n, &e[k], NULL, "%s", s.at);
    }
    UNTIL(&n, s.count == CLIENTS - 1);
    net_connect(&n, &e[CLIENTS - 1], NULL, "%s", s.at);
    UNTIL(&n, s.count == CLIENTS);
    assert_true(net_now_ms(&n) + 1 >= began + (CLIENTS - 20) * 5);
    net_close(&n);
}

/* The limit is the listener's: two families and three reactors have one. */
static void
reactors_share_one_limit(void **state)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct net n;
    struct server s = {.does = &notes_moments};
    struct end e[CLIENTS] = {{0}};
    enum { RATE = 50, BURST = 5, SOCKETS = 6 };

    (void)state;
    if (!net_is_sim())
        return; /* threads_rate does it with threads */
    opts.threads = 3;
    net_open(&n, &opts);
    net_listen(&n, &s, NULL, "tcp://:0#accepts_per_second=%d", RATE);
    for (int k = 0; k < CLIENTS; k++) {
        net_connect(&n, &e[k], NULL, "%s", s.at);
    }
    net_begin(&n);
    while (s.count < CLIENTS) { /* net_step() turns loops of one reactor */
        struct ol_driver *d = ol_sim_next(n.world, n.until);

        assert_non_null(d);
        assert_int_equal(ol_reactor_turn(ol_loop_reactor_of(n.loop, d), 0), 0);
    }
    for (int k = 0; k < CLIENTS; k++) {
        /* Each other socket may have asked for one already. */
        int64_t due = (int64_t)(k + 1 - BURST - (SOCKETS - 1)) * 1000 / RATE;

        assert_true(moments[k] >= moments[0] + due);
    }
    assert_true(moments[CLIENTS - 1] <= moments[0] + (CLIENTS - BURST) * 1000 / RATE + TRAVEL_MS);
    net_close(&n);
}

static void
a_listener_that_rests_can_be_closed(void **state)
{
    (void)state;
    for (int whole_loop = 0; whole_loop < 2; whole_loop++) {
        struct net n;
        struct server s = {0};
        struct end e[3] = {{0}};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#accepts_per_second=1");
        net_connect(&n, &e[0], NULL, "%s", s.at);
        UNTIL(&n, s.count == 1 && s.ends[0].opens && net_listener_number(&s, "pauses") == 1);
        net_connect(&n, &e[1], NULL, "%s", s.at); /* waits in the backlog */
        UNTIL(&n, e[1].opens);
        if (net_is_sim())
            assert_int_equal(s.count, 1);
        if (!whole_loop) {
            assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
            UNTIL(&n, e[1].closes || s.count == 2); /* on a busy machine a second has passed */
            assert_int_equal(s.ends[0].closes, 0);
        }
        net_close(&n); /* nothing is left of it */
    }
}

static void
new_peers_above_the_rate_are_dropped(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[8] = {{0}};
    int64_t began;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#accepts_per_second=2");
    began = net_now_ms(&n);
    for (int k = 0; k < 8; k++) {
        net_connect(&n, &e[k], NULL, "%s", s.at);
        UNTIL(&n, e[k].opens);
        assert_true(outlet_send(e[k].c, "x", 1) >= 0);
    }
    UNTIL(&n, net_listener_number(&s, "accepted") + net_listener_number(&s, "dropped") == 8);
    assert_in_range(s.count, 1, 1 + (net_now_ms(&n) - began) / 500);
    if (net_is_sim())
        assert_int_equal(s.count, 1);
    assert_int_equal(net_listener_number(&s, "refused"), 0);
    for (int k = 0; k < 3; k++) { /* who is known goes on */
        size_t had = s.ends[0].messages;

        assert_true(outlet_send(e[0].c, "y", 1) >= 0);
        UNTIL(&n, s.ends[0].messages == had + 1);
    }
    net_run_ms(&n, 501);
    assert_true(outlet_send(e[7].c, "z", 1) >= 0);
    UNTIL(&n, s.ends[s.count - 1].messages && s.ends[s.count - 1].bytes[0] == 'z');
    if (net_is_sim())
        assert_int_equal(s.count, 2);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- allow and deny ---------------------------------------------------------------------- */

static unsigned
port_of(const struct server *s)
{
    unsigned port = 0;

    assert_int_equal(sscanf(strrchr(s->at, ':'), ":%u", &port), 1);
    return port;
}

static const struct {
    const char *options;
    bool v4;
    bool v6;
} lists[] = {
    {"#deny=127.0.0.1", false, true},
    {"#deny=127.0.0.0/8", false, true},
    {"#allow=127.0.0.0/8", true, false},
    {"#allow=127.0.0.1&allow=::1", true, true},
    {"#allow=10.0.0.0/8", false, false},
    {"#deny=::/0", true, false},
    {"#deny=0.0.0.0/0,allow=127.0.0.1,allow=::/64", true, true},
    {"#allow=127.0.0.0/8,deny=127.0.0.1,deny=::1", false, false},
    {"#deny=10.0.0.0/8", true, true},
};

static void
who_is_denied_is_closed_before_anybody_hears_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct net n;
        struct server s = {0};
        struct end e[2] = {{0}};
        int let_in = lists[i].v4 + lists[i].v6;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://:0%s", lists[i].options);
        for (int k = 0; k < 2; k++) {
            bool may = k ? lists[i].v6 : lists[i].v4;

            net_connect(&n, &e[k], NULL, "tcp://%s:%u", k ? "[::1]" : "127.0.0.1", port_of(&s));
            UNTIL(&n, may ? e[k].opens : e[k].closes);
        }
        UNTIL(&n, s.count == let_in);
        assert_int_equal(net_listener_number(&s, "denied"), 2 - let_in);
        assert_int_equal(net_listener_number(&s, "refused"), 2 - let_in);
        assert_int_equal(net_listener_number(&s, "accepted"), let_in);
        assert_int_equal(net_listener_number(&s, "connections"), let_in);
        for (int k = 0; k < let_in; k++)
            assert_int_equal(s.ends[k].closes, 0);
        net_close(&n);
    }
}

static void
datagrams_of_the_denied_are_dropped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct net n;
        struct server s = {0};
        struct end e[2] = {{0}};
        int let_in = lists[i].v4 + lists[i].v6;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "udp://:0%s", lists[i].options);
        for (int k = 0; k < 2; k++) {
            net_connect(&n, &e[k], NULL, "udp://%s:%u", k ? "[::1]" : "127.0.0.1", port_of(&s));
            UNTIL(&n, e[k].opens);
            assert_true(outlet_send(e[k].c, "one", 3) >= 0);
            assert_true(outlet_send(e[k].c, "two", 3) >= 0);
        }
        UNTIL(&n, net_listener_number(&s, "dropped") == 2 * (2 - let_in));
        UNTIL(&n, s.count == let_in);
        for (int k = 0; k < let_in; k++)
            UNTIL(&n, s.ends[k].messages == 2);
        assert_int_equal(net_listener_number(&s, "denied"), 2 * (2 - let_in));
        assert_int_equal(net_listener_number(&s, "accepted"), let_in);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
the_denied_cost_the_others_nothing_of_the_rate(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[6] = {{0}};
    int64_t began;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://:0#accepts_per_second=1,deny=127.0.0.1");
    began = net_now_ms(&n);
    for (int k = 0; k < 6; k++) {
        net_connect(&n, &e[k], NULL, "tcp://%s:%u", k < 5 ? "127.0.0.1" : "[::1]", port_of(&s));
        UNTIL(&n, k < 5 ? e[k].closes : s.count);
    }
    if (net_is_sim())
        assert_true(net_now_ms(&n) - began < 1000);
    assert_int_equal(net_listener_number(&s, "denied"), 5);
    assert_int_equal(net_listener_number(&s, "accepted"), 1);
    net_close(&n);
}

static void
lists_of_the_struct_are_copied(void **state)
{
    char allow[] = "::1, 10.0.0.0/8";
    char deny[] = "10.1.0.0/16";
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    struct server s = {0};
    struct end e = {0};
    char url[256];

    (void)state;
    opts.allow = allow;
    opts.deny = deny;
    net_open(&n, NULL);
    net_listen(&n, &s, &opts, "tcp://127.0.0.1:0");
    memset(allow, 'x', sizeof allow);
    memset(deny, 'x', sizeof deny);
    net_connect(&n, &e, NULL, "tcp://127.0.0.1:%u", port_of(&s));
    UNTIL(&n, e.closes);
    assert_int_equal(net_listener_number(&s, "denied"), 1);
    assert_true(outlet_listener_info(s.l, "url", url, sizeof url) > 0);
    assert_non_null(strstr(url, "#allow=::1,allow=10.0.0.0/8,deny=10.1.0.0/16"));
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_burst_is_let_in_and_the_rest_evenly),
    cmocka_unit_test(over_time_it_is_the_rate),
    cmocka_unit_test(reactors_share_one_limit),
    cmocka_unit_test(a_listener_that_rests_can_be_closed),
    cmocka_unit_test(new_peers_above_the_rate_are_dropped),
    cmocka_unit_test(who_is_denied_is_closed_before_anybody_hears_of_it),
    cmocka_unit_test(datagrams_of_the_denied_are_dropped),
    cmocka_unit_test(the_denied_cost_the_others_nothing_of_the_rate),
    cmocka_unit_test(lists_of_the_struct_are_copied),
};

NET_MAIN(tests)
