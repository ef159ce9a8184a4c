/*
 * packet_test.c - unix-seqpacket: whole messages in order, none lost, and an end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LONGEST = 262144, MANY = 3000 };

static uint8_t block[LONGEST + 1];

/* A plain socket of the same kind. */
static int
raw_to(const struct server *s)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = s->at + strlen("unix-seqpacket://");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    assert_true(strlen(path) < sizeof un.sun_path);
    memcpy(un.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

/* ---- borders ----------------------------------------------------------------------------------
 */

static void
each_send_is_one_message_of_any_length(void **state)
{
    static const size_t sizes[] = {1, 2, 1000, 1400, 4096, 65507, 65536, 65537, 200000, LONGEST};
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct net n;
    size_t at = 0;

    (void)state;
    net_pattern(block, sizeof block, 3);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s", s.at);
    for (size_t i = 0; i < 10; i++) {
        assert_true(outlet_send(e.c, block, sizes[i]) >= 0); /* the first ones before it opened */
    }
    UNTIL(&n, e.messages == 10 || e.closes);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(e.sizes[i], sizes[i]);
        assert_memory_equal(e.bytes + at, block, sizes[i]);
        at += sizes[i];
    }
    assert_int_equal(e.flags, 0);
    assert_int_equal(net_number(e.c, "messages_in"), 10);
    assert_int_equal(net_number(e.c, "messages_out"), 10);
    assert_int_equal(net_number(e.c, "bytes_out"), at);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
send_many(struct end *e)
{
    for (uint32_t i = 0; i < MANY; i++) {
        struct iovec pieces[2] = {{&i, sizeof i}, {block, i % 50}};

        e->results[0] += outlet_sendv(e->c, pieces, 2) < 0;
    }
}

static void
a_burst_stays_in_order(void **state)
{
    static const struct does bursts = {.on_open = send_many};
    struct server s = {0};
    struct end e = {.does = &bursts};
    struct net n;
    const uint8_t *at;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "unix-seqpacket:@outlet-test-%d", (int)getpid());
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && s.ends[0].messages == MANY);
    assert_int_equal(e.results[0], 0);
    at = s.ends[0].bytes;
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t got;

        memcpy(&got, at, sizeof got);
        assert_int_equal(got, i);
        at += sizeof got + i % 50;
    }
    net_close(&n);
    net_server_fini(&s);
}

/* ---- what cannot be sent ----------------------------------------------------------------------
 */

/* On the wire it would be the end. */
static void
an_empty_message_is_refused_and_nothing_else_happens(void **state)
{
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct iovec none = {block, 0};
    struct net n;
    outlet_buf *b;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count);
    b = outlet_buf_copy(block, 0);
    assert_non_null(b);
    assert_int_equal(outlet_send(e.c, NULL, 0), OUTLET_EINVAL);
    assert_int_equal(outlet_sendv(e.c, &none, 1), OUTLET_EINVAL);
    assert_int_equal(outlet_sendv(e.c, NULL, 0), OUTLET_EINVAL);
    assert_int_equal(outlet_send_buf(e.c, b), OUTLET_EINVAL);
    assert_int_equal(outlet_join(s.ends[0].c, "g"), OUTLET_OK);
    assert_int_equal(outlet_publish(n.loop, "g", b, (outlet_conn){0}), OUTLET_OK);
    outlet_buf_unref(b);
    UNTIL(&n, net_number(s.ends[0].c, "dropped") == 1); /* it misses what it cannot get */
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.messages);
    assert_int_equal(e.len, 1);
    assert_int_equal(e.closes + s.ends[0].closes, 0);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
refuse_in_callback(struct end *e, outlet_msg *m)
{
    (void)m;
    e->results[0] = outlet_send(e->c, "", 0);
    e->results[1] = outlet_send(e->c, block, LONGEST + 1);
    e->results[2] = outlet_send_file(e->c, 0, 0, 1);
    e->results[3] = outlet_set_framing(e->c, "line", NULL);
    e->results[4] = outlet_send(e->c, block, LONGEST);
}

static void
what_is_too_long_is_refused_or_cut(void **state)
{
    static const struct does refused = {.on_message = refuse_in_callback};
    struct server s = {.does = &refused};
    struct end e = {0};
    struct end longer = {0};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s#max=1000", s.at);
    UNTIL(&n, e.opens && s.count);
    net_connect(&n, &longer, NULL, "%s", s.at);
    assert_int_equal(outlet_send(e.c, block, 1001), OUTLET_EMSGSIZE);
    assert_int_equal(outlet_send(longer.c, block, LONGEST + 1), OUTLET_EMSGSIZE);
    assert_true(outlet_send(e.c, block, 1000) >= 0);
    UNTIL(&n, e.messages);
    assert_int_equal(s.ends[0].results[0], OUTLET_EINVAL);
    assert_int_equal(s.ends[0].results[1], OUTLET_EMSGSIZE);
    assert_true(s.ends[0].results[2] < 0);
    assert_int_equal(s.ends[0].results[3], OUTLET_ENOTSUP);
    assert_true(s.ends[0].results[4] >= 0);
    assert_int_equal(e.sizes[0], 1000); /* 256 KiB were sent to whom 1,000 are enough */
    assert_int_equal(e.flags, OUTLET_MSG_TRUNCATED);
    assert_int_equal(e.closes, 0);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

/* ---- backpressure and pauses ------------------------------------------------------------------
 */

static void
pause_at_once(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static void
fill(struct end *e)
{
    int64_t sent = 0;

    while (sent >= 0 && e->results[1] < 100000) {
        uint32_t number = (uint32_t)e->results[1];
        struct iovec pieces[2] = {{&number, sizeof number}, {block, 5000}};

        sent = outlet_sendv(e->c, pieces, 2);
        e->results[1] += sent >= 0;
    }
    e->results[0] = sent;
}

static void
who_does_not_read_stops_the_sender_and_loses_nothing(void **state)
{
    static const struct does fills = {.on_open = fill};
    static const struct does pauses = {.on_open = pause_at_once};
    struct server s = {.does = &pauses};
    struct end e = {.does = &fills};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s#cap=8M", s.at);
    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
    assert_int_equal(e.results[0], OUTLET_EFULL);
    net_run_ms(&n, 20);
    assert_int_equal(s.ends[0].messages, 0);
    assert_true(outlet_queued(e.c) > 300000); /* the rest the kernel has */
    assert_int_equal(e.writables, 0);
    assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
    UNTIL(&n, s.ends[0].messages == (size_t)e.results[1]);
    assert_true(e.writables > 0);
    for (uint32_t i = 0; i < s.ends[0].messages; i++) {
        uint32_t got;

        memcpy(&got, s.ends[0].bytes + (size_t)i * 5004, sizeof got);
        assert_int_equal(got, i);
    }
    net_close(&n);
    net_server_fini(&s);
}

static void
pause_now(struct end *e, outlet_msg *m)
{
    (void)m;
    e->result |= outlet_pause(e->c);
}

/* A batch holds more than one message; those behind the pause are held back with their borders. */
static void
what_comes_during_a_pause_waits_in_order(void **state)
{
    static const struct does bursts = {.on_open = send_many};
    static const struct does pauses = {.on_message = pause_now};
    struct server s = {.does = &pauses};
    struct end e = {.does = &bursts};
    struct net n;
    const uint8_t *at;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s", s.at);
    for (size_t i = 1; i <= 200; i++) {
        UNTIL(&n, s.count && s.ends[0].messages == i);
        if (i % 10 == 0)
            net_run_ms(&n, 1);
        assert_int_equal(s.ends[0].messages, i);
        assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
        assert_int_equal(s.ends[0].messages, i);
    }
    at = s.ends[0].bytes;
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t got;

        assert_int_equal(s.ends[0].sizes[i], sizeof got + i % 50);
        memcpy(&got, at, sizeof got);
        assert_int_equal(got, i);
        at += sizeof got + i % 50;
    }
    net_close(&n);
    net_server_fini(&s);
}

static void
send_and_close(struct end *e)
{
    send_many(e);
    e->results[1] = outlet_close(e->c);
}

/* Also what lies behind a pause, and the end behind that. */
static void
the_end_comes_after_all_messages(void **state)
{
    static const struct does leaves = {.on_open = send_and_close};
    static const struct does pauses = {.on_message = pause_now};

    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        struct server s = {.does = paused ? &pauses : NULL};
        struct end e = {.does = &leaves};
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
        net_connect(&n, &e, NULL, "%s#flush_ms=off", s.at);
        UNTIL(&n, s.count && s.ends[0].messages);
        while (paused && s.ends[0].messages < MANY) {
            size_t had = s.ends[0].messages;

            assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
            UNTIL(&n, s.ends[0].messages > had);
        }
        if (paused)
            assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
        UNTIL(&n, e.closes && s.ends[0].closes);
        assert_int_equal(s.ends[0].messages, MANY);
        assert_int_equal(s.ends[0].why.code, OUTLET_OK);
        assert_int_equal(s.ends[0].why.side, OUTLET_BY_PEER);
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(e.why.side, OUTLET_BY_US);
        net_close(&n);
        net_server_fini(&s);
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void
each_side_ends_for_itself(void **state)
{
    struct server s = {0};
    struct end e = {0};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#half_open", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s#half_open", s.at);
    assert_true(outlet_send(e.c, "last words", 10) >= 0);
    assert_int_equal(outlet_end(e.c), OUTLET_OK);
    UNTIL(&n, s.count && s.ends[0].events);
    assert_int_equal(s.ends[0].event, OUTLET_EVENT_END);
    assert_string_equal(s.ends[0].story, "AOME");
    assert_true(outlet_send(s.ends[0].c, "answer", 6) >= 0);
    UNTIL(&n, e.messages == 1);
    assert_int_equal(e.closes, 0);
    assert_int_equal(outlet_end(s.ends[0].c), OUTLET_OK);
    UNTIL(&n, e.closes && s.ends[0].closes);
    assert_int_equal(e.why.code, OUTLET_OK);
    assert_int_equal(s.ends[0].why.code, OUTLET_OK);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
who_is_aborted_is_seen_to_go(void **state)
{
    struct server s = {0};
    struct end e = {0};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
    assert_int_equal(outlet_abort(e.c), OUTLET_OK);
    UNTIL(&n, e.closes && s.ends[0].closes);
    assert_int_equal(e.why.code, OUTLET_ECANCELED);
    assert_true(net_stale(e.c));
    net_close(&n);
    net_server_fini(&s);
}

/* ---- places -----------------------------------------------------------------------------------
 */

static void
a_listener_of_the_other_kind_refuses(void **state)
{
    struct server s = {0};
    struct end e[2] = {{0}};
    struct net n;
    char stream[200];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    snprintf(stream, sizeof stream, "unix%.150s", s.at + strlen("unix-seqpacket"));
    net_connect(&n, &e[0], NULL, "%s", stream);
    net_connect(&n, &e[1], NULL, "%sx", s.at);
    UNTIL(&n, e[0].closes && e[1].closes);
    assert_int_equal(e[0].opens + e[1].opens, 0);
    assert_int_equal(e[0].why.code, OUTLET_ENOTSUP);
    assert_int_equal(e[0].why.sys_errno, EPROTOTYPE);
    assert_int_equal(e[1].why.code, OUTLET_ENOENT);
    assert_int_equal(e[1].why.phase, OUTLET_AT_CONNECT);
    net_close(&n);
}

static void
the_same_place_is_in_use_until_the_listener_closes(void **state)
{
    struct outlet_opts o = OUTLET_OPTS;
    struct server s = {0};
    struct server again = {.does = &net_echoes};
    struct end e = {0};
    struct net n;
    outlet_listener l;
    char at[160];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#mode=0600", net_place(&n, "unix-seqpacket"));
    snprintf(at, sizeof at, "%s", s.at);
    assert_int_equal(outlet_listen(n.loop, at, &o, &l), OUTLET_EADDRINUSE);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_run_ms(&n, 5);
    net_listen(&n, &again, NULL, "%s", at);
    net_connect(&n, &e, NULL, "%s", at);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.messages);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&again);
}

static void
limits_hold_as_for_streams(void **state)
{
    struct server s = {0};
    struct end e[3] = {{0}};
    struct net n;
    char text[64];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#conns=2,idle_ms=60", net_place(&n, "unix-seqpacket"));
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    UNTIL(&n, e[0].closes && e[1].closes && e[2].closes);
    assert_int_equal(s.count, 2);
    assert_int_equal(net_listener_number(&s, "refused"), 1);
    assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
    assert_true(outlet_listener_info(s.l, "transport", text, sizeof text) > 0);
    assert_string_equal(text, "unix-seqpacket");
    net_close(&n);
}

static void
who_takes_nothing_is_given_up(void **state)
{
    static const struct does fills = {.on_open = fill};
    static const struct does pauses = {.on_open = pause_at_once};
    struct server s = {.does = &pauses};
    struct end e = {.does = &fills};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s#cap=8M,stall_ms=50", s.at);
    UNTIL(&n, e.closes);
    assert_int_equal(e.why.code, OUTLET_ETIMEDOUT);
    net_close(&n);
    net_server_fini(&s);
}

/* ---- relayed ----------------------------------------------------------------------------------
 */

static void
a_relay_keeps_borders_and_misses_what_has_no_place(void **state)
{
    struct server packets = {0};
    struct server dgrams = {0};
    struct end e[2] = {{0}};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &packets, NULL, "%s", net_place(&n, "unix-seqpacket"));
    net_listen(&n, &dgrams, NULL, "%s", net_place(&n, "udp"));
    net_connect(&n, &e[0], NULL, "%s", packets.at);
    net_connect(&n, &e[1], NULL, "%s", dgrams.at);
    assert_true(outlet_send(e[1].c, "hello", 5) >= 0); /* before that it is no connection */
    UNTIL(&n, packets.count && packets.ends[0].opens && dgrams.count && dgrams.ends[0].messages);
    assert_int_equal(outlet_relay(packets.ends[0].c, dgrams.ends[0].c), OUTLET_OK);
    net_run_ms(&n, 1);
    assert_true(outlet_send(e[0].c, "ab", 2) >= 0);
    assert_true(outlet_send(e[0].c, "c", 1) >= 0);
    UNTIL(&n, e[1].messages == 2);
    assert_int_equal(e[1].sizes[0], 2);
    assert_true(outlet_send(e[1].c, "", 0) >= 0);
    assert_true(outlet_send(e[1].c, "xyz", 3) >= 0);
    UNTIL(&n, e[0].messages == 1);
    assert_int_equal(e[0].sizes[0], 3);
    assert_int_equal(net_number(dgrams.ends[0].c, "dropped"), 1);
    net_close(&n);
    net_end_fini(&e[0]);
    net_end_fini(&e[1]);
    net_server_fini(&packets);
    net_server_fini(&dgrams);
}

/* ---- plain sockets ----------------------------------------------------------------------------
 */

static void
a_plain_program_on_the_other_side(void **state)
{
    struct server s = {.does = &net_echoes};
    struct net n;
    char text[64];
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#half_open", net_place(&n, "unix-seqpacket"));
    fd = raw_to(&s);
    assert_int_equal(send(fd, "one", 3, 0), 3);
    assert_int_equal(send(fd, "three", 5, 0), 5);
    UNTIL(&n, s.count && s.ends[0].messages == 2 && outlet_queued(s.ends[0].c) == 0);
    assert_int_equal(recv(fd, text, sizeof text, 0), 3);
    assert_int_equal(recv(fd, text, sizeof text, 0), 5);

    /* The kernel allows an empty message; it is none but itself. */
    assert_int_equal(send(fd, "", 0, 0), 0);
    UNTIL(&n, s.ends[0].messages == 3);
    assert_int_equal(s.ends[0].sizes[2], 0);
    assert_int_equal(s.ends[0].result, OUTLET_EINVAL);
    assert_int_equal(s.ends[0].closes + s.ends[0].events, 0);
    assert_int_equal(send(fd, "", 0, 0), 0);
    assert_int_equal(send(fd, "y", 1, 0), 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&n, s.ends[0].events);
    assert_int_equal(s.ends[0].messages, 5);
    assert_int_equal(s.ends[0].event, OUTLET_EVENT_END);
    assert_true(outlet_send(s.ends[0].c, block, 100000) >= 0);
    assert_int_equal(outlet_close(s.ends[0].c), OUTLET_OK);
    UNTIL(&n, s.ends[0].closes);
    assert_int_equal(s.ends[0].why.code, OUTLET_OK);
    assert_int_equal(recv(fd, text, sizeof text, 0), 1);
    assert_int_equal(recv(fd, block, sizeof block, 0), 100000);
    assert_int_equal(recv(fd, text, sizeof text, 0), 0);
    close(fd);
    net_close(&n);
    net_server_fini(&s);
}

static void
descriptors_of_this_kind_can_be_given(void **state)
{
    struct end e = {0};
    struct net n;
    char text[16];
    int pair[2];

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    net_connect(&n, &e, NULL, "fd:%d#half_open", pair[0]);
    close(pair[0]);
    assert_int_equal(send(pair[1], "a", 1, 0), 1);
    assert_int_equal(send(pair[1], "bc", 2, 0), 2);
    UNTIL(&n, e.messages == 2);
    assert_true(outlet_info(e.c, "transport", text, sizeof text) > 0);
    assert_string_equal(text, "unix-seqpacket");
    assert_int_equal(outlet_send(e.c, "", 0), OUTLET_EINVAL);
    close(pair[1]);
    UNTIL(&n, e.events);
    net_close(&n);
    net_end_fini(&e);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_send_is_one_message_of_any_length),
    cmocka_unit_test(a_burst_stays_in_order),
    cmocka_unit_test(an_empty_message_is_refused_and_nothing_else_happens),
    cmocka_unit_test(what_is_too_long_is_refused_or_cut),
    cmocka_unit_test(who_does_not_read_stops_the_sender_and_loses_nothing),
    cmocka_unit_test(what_comes_during_a_pause_waits_in_order),
    cmocka_unit_test(the_end_comes_after_all_messages),
    cmocka_unit_test(each_side_ends_for_itself),
    cmocka_unit_test(who_is_aborted_is_seen_to_go),
    cmocka_unit_test(a_listener_of_the_other_kind_refuses),
    cmocka_unit_test(the_same_place_is_in_use_until_the_listener_closes),
    cmocka_unit_test(limits_hold_as_for_streams),
    cmocka_unit_test(who_takes_nothing_is_given_up),
    cmocka_unit_test(a_relay_keeps_borders_and_misses_what_has_no_place),
    cmocka_unit_test(a_plain_program_on_the_other_side),
    cmocka_unit_test(descriptors_of_this_kind_can_be_given),
};

NET_MAIN(tests)
