/*
 * multicast_test.c - datagrams to many: groups, broadcasts, and who answers them.
 *
 * Everything stays on the loopback interface, where kernels carry IPv4 groups; what needs an IPv6
 * group or two machines is among the end-to-end cases.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>

static unsigned
port_of(const struct server *s)
{
    unsigned port = 0;

    sscanf(strrchr(s->at, ':'), ":%u", &port);
    return port;
}

/* Who sent the messages of an end, one behind the other. */
struct senders {
    int count;
    char text[8][64];
};

static void
note_sender(struct end *e, outlet_msg *m)
{
    struct senders *s = e->arg;

    e->result = (int64_t)outlet_msg_peer(m, NULL, 0);
    if (s->count < 8 &&
        outlet_msg_peer(m, s->text[s->count], sizeof s->text[0]) == (size_t)e->result)
        s->count++;
}

static const struct does notes_senders = {.on_message = note_sender};

static void
every_member_hears_what_is_sent_to_the_group(void **state)
{
    struct net n;
    struct server s[3] = {{0}};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s[0], NULL, "udp://239.255.42.1:0#interface=lo");
    for (int i = 1; i < 3; i++) {
        net_listen(&n, &s[i], NULL, "%s#interface=127.0.0.1", s[0].at);
    }
    net_connect(&n, &e, NULL, "%s#interface=1", s[0].at);
    for (size_t round = 1; round < 4; round++) {
        assert_true(outlet_send(e.c, "hello", 5) >= 0);
        for (int i = 0; i < 3; i++) {
            UNTIL(&n, s[i].count == 1 && s[i].ends[0].messages == round);
            assert_memory_equal(s[i].ends[0].bytes, "hello", 5);
        }
    }
    for (int i = 0; i < 3; i++) {
        net_server_fini(&s[i]);
    }
    net_close(&n);
}

static void
each_answer_names_its_sender(void **state)
{
    struct senders from = {0};
    struct net n;
    struct server member = {.does = &net_echoes};
    struct server asked = {0};
    struct end e = {.does = &notes_senders, .arg = &from};
    struct end stranger = {0};
    char local[64];
    char own[64];
    char want[64];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &member, NULL, "udp://239.255.42.2:0#interface=lo");
    net_listen(&n, &asked, NULL, "udp://127.0.0.1:0"); /* no more than a socket that can speak */
    net_connect(&n, &e, NULL, "%s#interface=lo,local=127.0.0.1", member.at);
    UNTIL(&n, e.opens);
    assert_true(outlet_send(e.c, "who?", 4) >= 0);
    UNTIL(&n, e.messages == 1);
    assert_memory_equal(e.bytes, "who?", 4);
    /* And somebody who was never asked. */
    assert_true(outlet_info(e.c, "local", local, sizeof local) > 0);
    net_connect(&n, &stranger, NULL, "udp://127.0.0.1%s", strrchr(local, ':'));
    assert_true(outlet_send(stranger.c, "me!", 3) >= 0);
    UNTIL(&n, e.messages == 2);
    assert_memory_equal(e.bytes + 4, "me!", 3);
    assert_int_equal(from.count, 2);
    assert_int_equal(strcmp(strrchr(from.text[0], ':'), strrchr(member.at, ':')), 0);
    assert_true(outlet_info(stranger.c, "local", own, sizeof own) > 0);
    assert_string_equal(from.text[1], own);
    /* The connection itself stands for the group. */
    snprintf(want, sizeof want, "239.255.42.2:%u", port_of(&member));
    assert_true(outlet_info(e.c, "peer", local, sizeof local) > 0);
    assert_string_equal(local, want);
    net_end_fini(&e);
    net_server_fini(&member);
    net_close(&n);
}

/* Where a connection has one peer, that is who sent it. */
static void
the_sender_of_other_messages_is_the_peer(void **state)
{
    static const char *const schemes[] = {"tcp", "udp", "unix", "pair"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct senders from = {0};
        struct net n;
        struct server s = {.does = &notes_senders, .arg = &from};
        struct end e = {0};
        char peer[128];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, schemes[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, from.count);
        if (i < 2) {
            assert_true(outlet_info(e.c, "local", peer, sizeof peer) > 0);
            assert_string_equal(from.text[0], peer);
        } else {
            assert_string_equal(from.text[0], "");
        }
        net_server_fini(&s);
        net_close(&n);
    }
}

struct question {
    struct server *from;
    char url[160];
    int64_t result;
};

static void
ask(void *arg)
{
    struct question *q = arg;

    q->result = outlet_send_to(q->from->l, q->url, "who is there?", 13);
}

static void
a_listener_asks_a_group_and_has_a_connection_for_each_answer(void **state)
{
    static const char *const places[] = {"udp://127.0.0.1:0#interface=lo",
                                         "udp://*:0#interface=lo"};

    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        struct net n;
        struct server member[3] = {
            {.does = &net_echoes}, {.does = &net_echoes}, {.does = &net_echoes}};
        struct server s = {0};
        struct question q = {.from = &s};

        net_open(&n, NULL);
        net_listen(&n, &member[0], NULL, "udp://239.255.42.3:0#interface=lo");
        net_listen(&n, &s, NULL, "%s", places[outside]);
        snprintf(q.url, sizeof q.url, "%s", member[0].at);
        net_run_ms(&n, 1);
        if (outside)
            ask(&q);
        else
            net_do(&n, ask, &q);
        assert_int_equal(q.result, 0);
        UNTIL(&n, s.count == 1 && s.ends[0].messages == 1);
        assert_memory_equal(s.ends[0].bytes, "who is there?", 13);
        assert_true(outlet_send(s.ends[0].c, "you in particular", 17) >= 0);
        UNTIL(&n,
              s.ends[0].messages == 2); /* a conversation of two, although it began in a group */
        assert_int_equal(member[0].ends[0].messages, 2);
        assert_int_equal(s.count, 1);
        assert_int_equal(outlet_send_to(s.l, "udp://239.255.42.3:9#ttl=3", "x", 1), OUTLET_EINVAL);
        net_server_fini(&s);
        for (int i = 0; i < 3; i++) {
            net_server_fini(&member[i]);
        }
        net_close(&n);
    }
}

static void
without_loop_this_computer_does_not_hear_itself(void **state)
{
    struct net n;
    struct server s = {0};
    struct end silent = {0};
    struct end loud = {0};

    (void)state;
    if (!net_is_sim())
        skip(); /* the loopback interface brings back what it was given: see the e2e cases */
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://239.255.42.4:0#interface=lo");
    net_connect(&n, &silent, NULL, "%s#interface=lo,loop=off", s.at);
    net_connect(&n, &loud, NULL, "%s#interface=lo,loop=on", s.at);
    UNTIL(&n, silent.opens && loud.opens);
    for (size_t i = 1; i < 4; i++) {
        assert_true(outlet_send(silent.c, "unheard", 7) >= 0);
        UNTIL(&n, outlet_queued(silent.c) == 0);
        assert_true(outlet_send(loud.c, "heard", 5) >= 0);
        UNTIL(&n, s.count && s.ends[0].messages == i);
    }
    assert_int_equal(s.count, 1);
    assert_memory_equal(s.ends[0].bytes, "heardheard", 10);
    net_server_fini(&s);
    net_close(&n);
}

static void
other_groups_of_the_port_are_not_heard(void **state)
{
    struct net n;
    struct server s[2] = {{0}};
    struct end e[2] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s[0], NULL, "udp://239.255.42.5:0#interface=lo");
    net_listen(&n, &s[1], NULL, "udp://239.255.42.6:%u#interface=lo", port_of(&s[0]));
    for (int i = 0; i < 2; i++) {
        net_connect(&n, &e[i], NULL, "%s#interface=lo", s[i].at);
    }
    for (size_t round = 1; round < 4; round++) {
        for (int i = 0; i < 2; i++) {
            assert_true(outlet_send(e[i].c, i ? "six" : "five!", i ? 3 : 5) >= 0);
            UNTIL(&n, s[i].count == 1 && s[i].ends[0].messages == round);
        }
    }
    assert_int_equal(s[0].count + s[1].count, 2);
    assert_int_equal(s[0].ends[0].len, 15);
    assert_int_equal(s[1].ends[0].len, 9);
    net_server_fini(&s[0]);
    net_server_fini(&s[1]);
    net_close(&n);
}

/* Another member hears both: so what the first one sent did arrive. */
static void
of_two_senders_only_the_source_is_heard(void **state)
{
    struct net n;
    struct server all = {0};
    struct server one = {0};
    struct end e[2] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &all, NULL, "udp://232.255.42.8:0#interface=lo");
    net_listen(&n, &one, NULL, "%s#interface=lo,source=127.0.0.3", all.at);
    for (int i = 0; i < 2; i++) {
        net_connect(&n, &e[i], NULL, "%s#interface=lo,local=127.0.0.%d", all.at, i + 2);
    }
    UNTIL(&n, e[0].opens && e[1].opens);
    for (size_t round = 1; round < 4; round++) {
        for (int i = 0; i < 2; i++) {
            assert_true(outlet_send(e[i].c, i ? "heard" : "unheard", i ? 5 : 7) >= 0);
            UNTIL(&n, all.count == 2 || (!i && all.count == 1));
            UNTIL(&n, all.ends[i].messages == round);
        }
        UNTIL(&n, one.count && one.ends[0].messages == round);
    }
    assert_int_equal(one.count, 1);
    assert_int_equal(one.ends[0].len, 15);
    assert_memory_equal(one.ends[0].bytes, "heardheardheard", 15);
    net_server_fini(&all);
    net_server_fini(&one);
    net_close(&n);
}

static void
many_in_one_turn_reach_the_group_in_order(void **state)
{
    struct net n;
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    uint8_t sent[100 * 4];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://239.255.42.7:0#interface=lo");
    net_connect(&n, &e, NULL, "%s#interface=lo", s.at);
    UNTIL(&n, e.opens);
    net_pattern(sent, sizeof sent, 5);
    for (int i = 0; i < 100; i++) {
        assert_true(outlet_send(e.c, sent + 4 * i, 4) >= 0);
    }
    UNTIL(&n, e.messages == 100);
    assert_memory_equal(s.ends[0].bytes, sent, sizeof sent);
    assert_memory_equal(e.bytes, sent, sizeof sent);
    assert_int_equal(e.sizes[99], 4);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- broadcast --------------------------------------------------------------------------- */

/* The simulated network has no subnets; on the loopback interface the kernel has this one. */
static const char *
broadcast_address(void)
{
    return net_is_sim() ? "255.255.255.255" : "127.255.255.255";
}

static void
a_broadcast_is_heard_and_answered(void **state)
{
    struct senders from = {0};
    struct net n;
    struct server s[2] = {{.does = &net_echoes}, {.does = &net_echoes}};
    struct end e = {.does = &notes_senders, .arg = &from};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s[0], NULL, "udp://0.0.0.0:0#reuse");
    net_listen(&n, &s[1], NULL, "%s#reuse", s[0].at);
    net_connect(&n, &e, NULL, "udp://%s:%u#broadcast,interface=lo", broadcast_address(),
                port_of(&s[0]));
    assert_true(outlet_send(e.c, "all", 3) >= 0);
    UNTIL(&n, e.messages == 2);
    assert_memory_equal(e.bytes, "allall", 6);
    assert_int_equal(s[0].count + s[1].count, 2);
    assert_int_equal(from.count, 2);
    net_end_fini(&e);
    net_server_fini(&s[0]);
    net_server_fini(&s[1]);
    net_close(&n);
}

static void
a_broadcast_address_without_the_key_names_it(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .why = &why};
    struct net n;
    struct server s = {0};
    struct end e = {0};
    outlet_conn refused;
    char url[96];

    (void)state;
    net_open(&n, NULL);
    assert_int_equal(outlet_connect(n.loop, "udp://255.255.255.255:9", &opts, &refused),
                     OUTLET_EINVAL);
    assert_string_equal(why.key, "broadcast");
    assert_int_equal(why.position, 6);
    net_listen(&n, &s, NULL, "udp://0.0.0.0:0");
    snprintf(url, sizeof url, "udp://%s:9", broadcast_address());
    net_do(&n, ask, &(struct question){.from = &s});
    {
        struct question q = {.from = &s};

        snprintf(q.url, sizeof q.url, "%s", url);
        net_do(&n, ask, &q);
        assert_int_equal(q.result, OUTLET_EPERM);
    }
    if (!net_is_sim()) { /* that one only the kernel knows */
        net_connect(&n, &e, NULL, "%s", url);
        UNTIL(&n, e.closes);
        assert_int_equal(e.why.code, OUTLET_EPERM);
        assert_non_null(strstr(e.why.text, "broadcast=on"));
        assert_int_equal(e.why.sys_errno, EACCES);
    }
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_member_hears_what_is_sent_to_the_group),
    cmocka_unit_test(each_answer_names_its_sender),
    cmocka_unit_test(the_sender_of_other_messages_is_the_peer),
    cmocka_unit_test(a_listener_asks_a_group_and_has_a_connection_for_each_answer),
    cmocka_unit_test(without_loop_this_computer_does_not_hear_itself),
    cmocka_unit_test(other_groups_of_the_port_are_not_heard),
    cmocka_unit_test(of_two_senders_only_the_source_is_heard),
    cmocka_unit_test(many_in_one_turn_reach_the_group_in_order),
    cmocka_unit_test(a_broadcast_is_heard_and_answered),
    cmocka_unit_test(a_broadcast_address_without_the_key_names_it),
};

NET_MAIN(tests)
