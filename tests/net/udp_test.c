/*
 * udp_test.c - datagrams: a connection for each peer, whole messages, forgotten peers, and errors
 * that the network reports.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DGRAM_MAX = 65507 };

static unsigned
port_of(const struct server *s)
{
    unsigned port = 0;

    sscanf(strrchr(s->at, ':'), ":%u", &port);
    return port;
}

static void
each_peer_is_a_connection(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e[10] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    for (int i = 0; i < 10; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++) {
            char text[8];

            snprintf(text, sizeof text, "peer %d", i);
            assert_int_equal(outlet_send(e[i].c, text, 6) >= 0, 1);
            UNTIL(&n, e[i].messages == (size_t)round + 1);
            assert_memory_equal(e[i].bytes + 6 * round, text, 6);
        }
    }
    assert_int_equal(s.count, 10);
    assert_int_equal(net_listener_number(&s, "connections"), 10);
    for (int i = 0; i < 10; i++) {
        char peer[64];
        char local[64];

        assert_string_equal(s.ends[i].story, "AOM");
        assert_int_equal(s.ends[i].messages, 3);
        assert_true(outlet_info(s.ends[i].c, "peer", peer, sizeof peer) > 0);
        assert_true(outlet_info(e[i].c, "local", local, sizeof local) > 0);
        assert_string_equal(peer, local);
    }
    assert_int_equal(outlet_close(s.ends[3].c), OUTLET_OK);
    UNTIL(&n, s.ends[3].closes);
    assert_int_equal(s.ends[3].why.code, OUTLET_OK);
    assert_true(outlet_send(e[3].c, "a new one", 9) >= 0);
    UNTIL(&n, s.count == 11 && e[3].messages == 4);
    for (int i = 0; i < 10; i++) {
        net_end_fini(&e[i]);
    }
    net_server_fini(&s);
    net_close(&n);
}

static void
datagrams_are_whole_from_nothing_to_the_most(void **state)
{
    static const size_t sizes[] = {0, 1, 1472, 1473, 9000, 65000, DGRAM_MAX, 0, 5};
    static uint8_t bytes[DGRAM_MAX + 1];
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e = {0};

    (void)state;
    net_pattern(bytes, sizeof bytes, 4);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        e.len = 0;
        assert_true(outlet_send(e.c, bytes, sizes[i]) >= 0);
        UNTIL(&n, e.messages == i + 1);
        assert_int_equal(e.sizes[i], sizes[i]);
        assert_memory_equal(e.bytes ? e.bytes : bytes, bytes, sizes[i]);
        assert_int_equal(e.flags, 0);
    }
    assert_int_equal(outlet_send(e.c, bytes, DGRAM_MAX + 1), OUTLET_EMSGSIZE);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
what_is_longer_than_max_is_cut_and_says_so(void **state)
{
    static uint8_t bytes[2000];

    (void)state;
    net_pattern(bytes, sizeof bytes, 8);
    for (int by_client = 0; by_client < 2; by_client++) {
        struct net n;
        struct server s = {.does = &net_echoes};
        struct end e = {0};
        struct end *who = by_client ? &e : &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "udp://127.0.0.1:0%s", by_client ? "" : "#max=1000");
        net_connect(&n, &e, NULL, "%s%s", s.at, by_client ? "#max=1000" : "");
        for (int i = 0; i < 2; i++) {
            struct iovec piece = {bytes, 1000};

            who->len = 0;
            assert_true(outlet_sendv(e.c, &piece, 1) >= 0);
            UNTIL(&n, who->messages == (size_t)i * 2 + 1);
            assert_int_equal(who->flags, 0);
            if (by_client) { /* it may not send more than its own max: the server does */
                assert_int_equal(outlet_send(e.c, bytes, 1001), OUTLET_EMSGSIZE);
                assert_true(outlet_send(s.ends[0].c, bytes, 2000) >= 0);
            } else {
                assert_true(outlet_send(e.c, bytes, 2000) >= 0);
            }
            UNTIL(&n, who->messages == (size_t)i * 2 + 2);
            assert_int_equal(who->sizes[i * 2 + 1], 1000);
            assert_int_equal(who->flags, OUTLET_MSG_TRUNCATED);
            assert_memory_equal(who->bytes + 1000, bytes, 1000);
        }
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
a_silent_peer_is_forgotten(void **state)
{
    (void)state;
    for (int by_default = 0; by_default <= net_is_sim(); by_default++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        int64_t began;
        int64_t took;
        char url[256];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "udp://127.0.0.1:0%s", by_default ? "" : "#idle_ms=40");
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, s.count && s.ends[0].messages);
        began = net_now_ms(&n);
        assert_true(outlet_info(s.ends[0].c, "url", url, sizeof url) > 0);
        UNTIL(&n, s.ends[0].closes);
        took = net_now_ms(&n) - began;
        assert_in_range(took, (by_default ? 60000 : 40) - 15, (by_default ? 60000 : 40) + 3000);
        assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
        assert_int_equal(e.closes, 0);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
the_longest_silent_unconfirmed_peer_makes_room(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[8] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#conns=3");
    for (int i = 0; i < 8; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(outlet_send(e[i].c, "x", 1) >= 0);
        UNTIL(&n, s.count == i + 1 && s.ends[i].messages == 1);
    }
    /* The first one answers us: it is who it says. */
    assert_true(outlet_send(s.ends[0].c, "y", 1) >= 0);
    UNTIL(&n, e[0].messages == 1);
    assert_true(outlet_send(e[0].c, "z", 1) >= 0);
    UNTIL(&n, s.ends[0].messages == 2);
    /* The second one is heard again, so the third has been silent longest. */
    assert_true(outlet_send(e[1].c, "x", 1) >= 0);
    UNTIL(&n, s.ends[1].messages == 2);
    assert_true(outlet_send(e[3].c, "new", 3) >= 0);
    UNTIL(&n, s.count == 4 && s.ends[3].messages == 1); /* what it said first is not lost */
    UNTIL(&n, s.ends[2].closes);
    assert_int_equal(s.ends[2].why.code, OUTLET_ELIMIT);
    assert_int_equal(s.ends[0].closes + s.ends[1].closes + s.ends[3].closes, 0);
    assert_int_equal(net_listener_number(&s, "connections"), 3);
    /* A crowd in one turn. */
    for (int i = 4; i < 8; i++) {
        assert_true(outlet_send(e[i].c, "crowd", 5) >= 0);
    }
    UNTIL(&n, s.count == 8 && s.ends[7].messages == 1);
    net_run_ms(&n, 1);
    assert_int_equal(net_listener_number(&s, "connections"), 3);
    assert_int_equal(s.ends[0].closes, 0);
    assert_true(net_stale(s.ends[4].c));
    net_server_fini(&s);
    for (int i = 0; i < 8; i++) {
        net_end_fini(&e[i]);
    }
    net_close(&n);
}

static void
confirmed_peers_stay_and_newcomers_are_dropped(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e[4] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#conns=2");
    for (int i = 0; i < 2; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
        for (size_t k = 1; k < 3; k++) {
            assert_true(outlet_send(e[i].c, "x", 1) >= 0);
            UNTIL(&n, e[i].messages == k);
        }
    }
    net_connect(&n, &e[2], NULL, "%s", s.at);
    assert_true(outlet_send(e[2].c, "x", 1) >= 0);
    UNTIL(&n, net_listener_number(&s, "dropped") == 1);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.ends[0].closes + s.ends[1].closes, 0);
    for (int i = 0; i < 4; i++) {
        net_end_fini(&e[i]);
    }
    net_server_fini(&s);
    net_close(&n);
}

/* ---- to anyone
 * ---------------------------------------------------------------------------------------------- */

struct to {
    struct server *from;
    char url[160];
    int64_t result;
};

static void
send_it_to(void *arg)
{
    struct to *t = arg;

    t->result = outlet_send_to(t->from->l, t->url, "first words", 11);
}

static void
a_listener_may_speak_first(void **state)
{
    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        struct net n;
        struct server a = {0};
        struct server b = {.does = &net_echoes};
        struct server t = {0};
        struct to to = {.from = &a};

        net_open(&n, NULL);
        net_listen(&n, &a, NULL, "udp://127.0.0.1:0");
        net_listen(&n, &b, NULL, "udp://127.0.0.1:0");
        net_listen(&n, &t, NULL, "tcp://127.0.0.1:0");
        net_run_ms(&n, 1);
        snprintf(to.url, sizeof to.url, "%s", b.at);
        if (outside)
            send_it_to(&to);
        else
            net_do(&n, send_it_to, &to);
        assert_true(to.result >= 0);
        UNTIL(&n, b.count && a.count && a.ends[0].messages);
        assert_memory_equal(a.ends[0].bytes, "first words",
                            11); /* the answer is its first message */
        assert_int_equal(outlet_send_to(t.l, to.url, "x", 1), OUTLET_ENOTSUP);
        assert_int_equal(outlet_send_to(a.l, "udp://[::1]:9", "x", 1), OUTLET_EINVAL);
        assert_int_equal(outlet_send_to(a.l, "tcp://127.0.0.1:9", "x", 1), OUTLET_EINVAL);
        assert_int_equal(outlet_send_to(a.l, "nonsense://", "x", 1), OUTLET_EINVAL);
        assert_int_equal(outlet_listener_close(a.l), OUTLET_OK);
        assert_int_equal(outlet_send_to(a.l, to.url, "x", 1), OUTLET_ESTALE);
        net_server_fini(&a);
        net_server_fini(&b);
        net_close(&n);
    }
}

static void
answers_leave_from_the_address_that_was_asked(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e[3] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://0.0.0.0:0");
    for (int i = 0; i < 3; i++) {
        /* A connected socket hears only the address that it wrote to. */
        net_connect(&n, &e[i], NULL, "udp://127.0.0.%d:%u", i + 1, port_of(&s));
        assert_true(outlet_send(e[i].c, "x", 1) >= 0);
        UNTIL(&n, e[i].messages == 1);
    }
    for (int i = 0; i < 3; i++) {
        char local[64];
        char want[64];

        snprintf(want, sizeof want, "127.0.0.%d:%u", i + 1, port_of(&s));
        assert_true(outlet_info(s.ends[i].c, "local", local, sizeof local) > 0);
        assert_string_equal(local, want);
        net_end_fini(&e[i]);
    }
    net_server_fini(&s);
    net_close(&n);
}

/* ---- what the system had no room for
 * -----------------------------------------------------------------------------------------------
 */

/* More than a receive buffer holds, and less than what a network between may drop: as few packets
 * as that takes. */
enum { FLOODERS = 3, FLOOD_EACH = 300, FLOOD_SIZE = 60000, FLOOD_ROUND = 12 };

struct flood {
    struct server *to;
    struct server from[FLOODERS];
    int64_t sent;
    int64_t lost;
    int64_t unread;
};

/* In one callback: nobody can receive meanwhile. */
static void
flood(void *arg)
{
    static const uint8_t bytes[FLOOD_SIZE];
    struct flood *f = arg;

    for (int i = 0; i < FLOODERS; i++) {
        for (int k = 0; k < FLOOD_EACH && net_listener_number(f->to, "lost") <= 0; k++)
            f->sent += outlet_send_to(f->from[i].l, f->to->at, bytes, sizeof bytes) >= 0;
    }
}

static void
ask_what_is_lost(void *arg)
{
    struct flood *f = arg;

    f->lost = net_listener_number(f->to, "lost");
    f->unread = net_listener_number(f->to, "unread");
}

static size_t
messages_of(const struct server *s)
{
    size_t sum = 0;

    for (int i = 0; i < s->count; i++) {
        sum += s->ends[i].messages;
    }
    return sum;
}

static void
what_the_system_dropped_is_known(void **state)
{
    struct net n;
    struct server s = {.forget = true};
    struct flood f = {.to = &s};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    for (int i = 0; i < FLOODERS; i++) {
        net_listen(&n, &f.from[i], NULL, "udp://127.0.0.1:0");
    }
    assert_int_equal(net_listener_number(&s, "lost"), OUTLET_ETHREAD);
    assert_int_equal(net_listener_number(&s, "unread"), OUTLET_ETHREAD);
    net_do(&n, ask_what_is_lost, &f);
    assert_int_equal(f.lost, 0);
    assert_int_equal(f.unread, 0);
    net_do(&n, flood, &f);
    do {
        net_run_ms(&n, 1);
        net_do(&n, ask_what_is_lost, &f);
        assert_true(messages_of(&s) + (size_t)f.lost <= (size_t)f.sent);
    } while (messages_of(&s) + (size_t)f.lost < (size_t)f.sent);
    assert_true(f.lost > 0);
    assert_int_equal(f.unread, 0);
    for (int i = 0; i < FLOODERS; i++) {
        net_server_fini(&f.from[i]);
    }
    net_server_fini(&s);
    net_close(&n);
}

static void
ask_end(void *arg)
{
    struct end *e = arg;

    e->results[0] = net_number(e->c, "lost");
    e->results[1] = net_number(e->c, "unread");
}

static void
flood_a_client(void *arg)
{
    static const uint8_t bytes[FLOOD_SIZE];
    struct end *e = arg; /* of the server; its arg is the client */
    struct end *to = e->arg;

    for (int k = 0; k < FLOOD_ROUND && net_number(to->c, "lost") <= 0; k++)
        e->result += outlet_send(e->c, bytes, sizeof bytes) >= 0;
}

static void
ask_at_the_end(struct end *e)
{
    ask_end(e);
}

/* It is paused meanwhile, and asks once more when its socket is gone. */
static void
a_client_knows_what_it_lost(void **state)
{
    static const struct does asks = {.on_close = ask_at_the_end};
    struct net n;
    struct server s = {0};
    struct end e = {.does = &asks, .forget = true};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s#connect_ms=off", s.at);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.opens && s.count && p->messages);
    assert_int_equal(net_number(e.c, "lost"), OUTLET_ETHREAD);
    net_do(&n, ask_end, p);
    assert_int_equal(p->results[0], 0);
    assert_int_equal(outlet_pause(e.c), OUTLET_OK);
    p->arg = &e;
    do {
        net_do(&n, flood_a_client, p);
        UNTIL(&n, outlet_queued(p->c) == 0);
        net_run_ms(&n, 1);
        net_do(&n, ask_end, &e);
    } while (e.results[0] == 0);
    assert_true(e.results[1] > 0);
    assert_int_equal(outlet_resume(e.c), OUTLET_OK);
    do {
        net_run_ms(&n, 1);
        net_do(&n, ask_end, &e);
    } while (e.results[1] > 0 || e.messages + (size_t)e.results[0] < (size_t)p->result);
    assert_int_equal(e.messages + (size_t)e.results[0], p->result);
    assert_int_equal(outlet_close(e.c), OUTLET_OK);
    e.results[0] = 0;
    UNTIL(&n, e.closes);
    assert_int_equal(e.messages + (size_t)e.results[0], p->result);
    assert_int_equal(e.results[1], 0);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- errors
 * -----------------------------------------------------------------------------------------------
 */

static void
say_it_again(outlet_timer t, void *arg)
{
    struct end *e = arg;

    (void)t;
    e->result = outlet_send(e->c, "anybody?", 8);
}

static void
a_closed_port_is_told_and_traffic_goes_on(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    outlet_timer t;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0"); /* a port that is free afterwards */
    net_run_ms(&n, 1);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_run_ms(&n, 1);
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens);
    assert_int_equal(outlet_timer_start(n.loop, 1, 5, say_it_again, &e, &t), OUTLET_OK);
    UNTIL(&n, e.events >= 3);
    assert_int_equal(e.event, OUTLET_EVENT_PEER_ERROR);
    assert_int_equal(e.value, ECONNREFUSED);
    assert_int_equal(e.closes, 0);
    net_listen(&n, &s, NULL, "%s", s.at);
    UNTIL(&n, e.messages > 0);
    assert_memory_equal(e.bytes, "anybody?", 8);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
closing_the_listener_lets_its_peers_finish(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct end late = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.messages == 1);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_connect(&n, &late, NULL, "%s", s.at);
    assert_true(outlet_send(late.c, "x", 1) >= 0);
    net_run_ms(&n, 2);
    assert_true(outlet_send(e.c, "y", 1) >= 0);
    UNTIL(&n, e.messages == 2);
    assert_int_equal(s.count, 1);
    assert_int_equal(outlet_close(s.ends[0].c), OUTLET_OK);
    UNTIL(&n, s.ends[0].closes);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_peer_is_a_connection),
    cmocka_unit_test(datagrams_are_whole_from_nothing_to_the_most),
    cmocka_unit_test(what_is_longer_than_max_is_cut_and_says_so),
    cmocka_unit_test(a_silent_peer_is_forgotten),
    cmocka_unit_test(the_longest_silent_unconfirmed_peer_makes_room),
    cmocka_unit_test(confirmed_peers_stay_and_newcomers_are_dropped),
    cmocka_unit_test(a_listener_may_speak_first),
    cmocka_unit_test(answers_leave_from_the_address_that_was_asked),
    cmocka_unit_test(what_the_system_dropped_is_known),
    cmocka_unit_test(a_client_knows_what_it_lost),
    cmocka_unit_test(a_closed_port_is_told_and_traffic_goes_on),
    cmocka_unit_test(closing_the_listener_lets_its_peers_finish),
};

NET_MAIN(tests)
