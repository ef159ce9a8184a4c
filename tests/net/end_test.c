/*
 * end_test.c - how connections end: half by half, in order, with everything sent, and for which
 * reason.
 *
 * The peers here are plain sockets where it matters: they do what no outlet program would.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const streams[] = {"tcp", "unix", "pair"};
#define EACH_STREAM(i) for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)

enum { MIB = 1 << 20 };

/* ---- half by half
 * ------------------------------------------------------------------------------------ */

static void
answer_the_end(struct end *e)
{
    e->results[0] = outlet_send(e->c, "after your end", 14);
    e->results[1] = outlet_end(e->c);
    e->results[2] = outlet_end(e->c);
}

static void
each_side_ends_for_itself(void **state)
{
    static const struct does answers = {.on_event = answer_the_end};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &answers};
        struct end e = {0};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#half_open", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "hello", 5) > 0);
        assert_int_equal(outlet_end(e.c), OUTLET_OK); /* before it opened, after what is queued */
        UNTIL(&n, e.closes && p->closes);
        assert_string_equal(p->story, "AOMEC");
        assert_string_equal(e.story, "OMC");
        assert_int_equal(p->event, OUTLET_EVENT_END);
        assert_int_equal(p->len, 5);
        assert_int_equal(e.len, 14);
        assert_true(p->results[0] > 0);
        assert_int_equal(p->results[1], OUTLET_OK);
        assert_int_equal(p->results[2], OUTLET_ESTATE);
        assert_int_equal(p->why.code, OUTLET_OK);
        assert_int_equal(e.why.code, OUTLET_OK);
        assert_int_equal(e.why.side, OUTLET_BY_PEER);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
without_half_open_the_peers_end_closes_ours_after_the_queue(void **state)
{
    static uint8_t bytes[2 * MIB];

    (void)state;
    net_pattern(bytes, sizeof bytes, 3);
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s#half_open", s.at);
        UNTIL(&n, s.count && p->opens && e.opens);
        assert_int_equal(outlet_pause(e.c), OUTLET_OK);
        assert_true(outlet_send(p->c, bytes, sizeof bytes) > 0);
        assert_int_equal(outlet_end(e.c), OUTLET_OK);
        net_run_ms(&n, 3);
        assert_int_equal(e.messages, 0);
        assert_int_equal(outlet_resume(e.c), OUTLET_OK);
        UNTIL(&n, e.closes && p->closes);
        assert_int_equal(e.len, sizeof bytes);
        assert_memory_equal(e.bytes, bytes, sizeof bytes);
        assert_string_equal(e.story,
                            "OMC"); /* both have ended: there is nothing to tell by itself */
        /* Whether it is told to be writable again depends on what the kernel takes at once. */
        assert_true(strcmp(p->story, "AOC") == 0 || strcmp(p->story, "AOWC") == 0);
        assert_int_equal(p->why.code, OUTLET_OK);
        assert_int_equal(p->why.side, OUTLET_BY_PEER);
        assert_int_equal(e.why.code, OUTLET_OK);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
datagrams_have_no_half_close(void **state)
{
    struct net n;
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_connect(&n, &e, NULL, "udp://127.0.0.1:9");
    UNTIL(&n, e.opens);
    assert_int_equal(outlet_end(e.c), OUTLET_ENOTSUP);
    net_close(&n);
}

/* ---- everything is flushed
 * ------------------------------------------------------------------------------ */

static uint8_t flood[64 * 1024];

static void
go_on_sending(struct end *e)
{
    while (outlet_queued(e->c) < 512 * 1024 && outlet_send(e->c, flood, sizeof flood) >= 0) {
    }
}

static void
send_much_and_close(struct end *e, outlet_msg *m)
{
    static uint8_t bytes[4 * MIB];

    (void)m;
    if (e->results[2])
        return;
    e->results[2] = 1;
    net_pattern(bytes, sizeof bytes, 9);
    e->results[0] = outlet_send(e->c, bytes, sizeof bytes);
    e->results[1] = outlet_close(e->c);
}

static void
a_peer_that_still_sends_gets_all_of_ours(void **state)
{
    static const struct does floods = {.on_open = go_on_sending, .on_writable = go_on_sending};
    static const struct does closes = {.on_message = send_much_and_close};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &closes};
        struct end e = {.does = &floods};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.closes && s.count && p->closes);
        assert_int_equal(p->results[1], OUTLET_OK);
        assert_int_equal(e.len, 4 * MIB);
        assert_int_equal(p->why.code, OUTLET_OK);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

struct raw_peer {
    int fd;
    size_t write_first; /* bytes to write before reading at all */
    bool write_always;
    size_t read;
    int end; /* 0: in order, or the errno of the read */
    _Atomic bool done;
    pthread_t thread;
};

static void *
raw_writer(void *arg)
{
    struct raw_peer *p = arg;

    while (send(p->fd, flood, sizeof flood, MSG_NOSIGNAL) > 0) {
    }
    return NULL;
}

static void *
raw_main(void *arg)
{
    static _Thread_local uint8_t bytes[65536];
    struct raw_peer *p = arg;
    pthread_t writer = 0;

    for (size_t sent = 0; sent < p->write_first;) {
        ssize_t n = send(p->fd, flood, sizeof flood, MSG_NOSIGNAL);

        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    if (p->write_always)
        pthread_create(&writer, NULL, raw_writer, p);
    for (;;) {
        ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);

        if (n <= 0) {
            p->end = n < 0 ? errno : 0;
            break;
        }
        p->read += (size_t)n;
    }
    shutdown(p->fd, SHUT_RDWR);
    if (p->write_always)
        pthread_join(writer, NULL);
    close(p->fd);
    p->done = true;
    return NULL;
}

static void
a_plain_peer_that_still_sends_gets_all_of_ours(void **state)
{
    static const struct does closes = {.on_message = send_much_and_close};

    (void)state;
    if (net_is_sim())
        skip();
    for (size_t i = 0; i < 2; i++) {
        for (int round = 0; round < 3; round++) {
            struct net n;
            struct server s = {.does = &closes};
            struct raw_peer raw = {.write_always = true};
            struct end *p = &s.ends[0];

            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
            raw.fd = net_raw(&s);
            assert_int_equal(pthread_create(&raw.thread, NULL, raw_main, &raw), 0);
            UNTIL(&n, raw.done && s.count && p->closes);
            pthread_join(raw.thread, NULL);
            assert_int_equal(raw.end, 0);
            assert_int_equal(raw.read, 4 * MIB);
            assert_int_equal(p->why.code, OUTLET_OK);
            net_server_fini(&s);
            net_close(&n);
        }
    }
}

static void
pause_send_much_and_close(struct end *e)
{
    e->result = outlet_pause(e->c);
    send_much_and_close(e, NULL);
}

/* It writes all of its own before it reads a byte: we must read to be read. */
static void
a_paused_connection_that_closes_reads_again(void **state)
{
    static const struct does closes = {.on_open = pause_send_much_and_close};

    (void)state;
    if (net_is_sim())
        skip();
    for (size_t i = 0; i < 2; i++) {
        struct net n;
        struct server s = {.does = &closes};
        struct raw_peer raw = {.write_first = 16 * MIB};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
        raw.fd = net_raw(&s);
        assert_int_equal(pthread_create(&raw.thread, NULL, raw_main, &raw), 0);
        UNTIL(&n, raw.done && s.count && p->closes);
        pthread_join(raw.thread, NULL);
        assert_int_equal(raw.end, 0);
        assert_int_equal(raw.read, 4 * MIB);
        assert_int_equal(p->why.code, OUTLET_OK);
        assert_int_equal(p->messages, 0);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* A peer that reads nothing: the rest is lost, both sides hear of it, and the peer does not take it
 * for an orderly end. */
static void
what_cannot_be_flushed_in_time_is_no_orderly_end(void **state)
{
    static const struct does closes = {.on_open = pause_send_much_and_close};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net n;
        struct server s = {.does = &closes};
        struct end *p = &s.ends[0];
        struct end e = {0};
        struct raw_peer raw = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#flush_ms=40", net_place(&n, streams[i]));
        if (net_is_sim()) {
            net_connect(&n, &e, NULL, "%s", s.at);
            UNTIL(&n, e.opens);
            assert_int_equal(outlet_pause(e.c), OUTLET_OK);
        } else {
            int small = 4096;

            raw.fd = net_raw(&s);
            setsockopt(raw.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        }
        UNTIL(&n, s.count && p->closes);
        assert_int_equal(p->why.code, OUTLET_ETIMEDOUT);
        assert_int_equal(p->why.phase, OUTLET_AT_DRAIN);
        if (!net_is_sim()) {
            raw_main(&raw);
            assert_true(raw.read < 4 * MIB);
            if (i == 0)
                assert_int_equal(raw.end, ECONNRESET);
        }
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
an_abort_after_a_close_says_that_the_rest_is_lost(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end *p = &s.ends[0];
    static uint8_t bytes[8 * MIB];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix"));
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count);
    assert_int_equal(outlet_pause(e.c), OUTLET_OK);
    assert_true(outlet_send(p->c, bytes, sizeof bytes) > 0);
    assert_int_equal(outlet_close(p->c), OUTLET_OK);
    net_run_ms(&n, 2);
    assert_int_equal(p->closes, 0);
    assert_int_equal(outlet_abort(p->c), OUTLET_OK);
    UNTIL(&n, p->closes);
    assert_int_equal(p->why.code, OUTLET_ECANCELED);
    assert_int_equal(p->why.side, OUTLET_BY_US);
    net_close(&n);
}

/* ---- reasons
 * ------------------------------------------------------------------------------------------------
 */

static void
a_failed_connect_says_where_and_why(void **state)
{
    static const struct {
        const char *url;
        outlet_err code;
        enum outlet_phase phase;
    } cases[] = {{"tcp://127.0.0.1:1", OUTLET_EREFUSED, OUTLET_AT_CONNECT},
                 {"tcp://[::1]:1", OUTLET_EREFUSED, OUTLET_AT_CONNECT},
                 {"tcp://localhost:1", OUTLET_EREFUSED, OUTLET_AT_CONNECT},
                 {"unix:@outlet-nobody", OUTLET_EREFUSED, OUTLET_AT_CONNECT},
                 {"unix:///tmp/outlet-no-such-path", OUTLET_ENOENT, OUTLET_AT_CONNECT},
                 {"pair:nobody", OUTLET_EREFUSED, OUTLET_AT_CONNECT},
                 {"tcp://no.such.host.invalid:80", OUTLET_ERESOLVE, OUTLET_AT_RESOLVE},
                 {"udp://no.such.host.invalid:80", OUTLET_ERESOLVE, OUTLET_AT_RESOLVE}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net n;
        struct end e = {0};

        net_open(&n, NULL);
        net_connect(&n, &e, NULL, "%s", cases[i].url);
        UNTIL(&n, e.closes);
        assert_string_equal(e.story, "C");
        if (e.why.code != cases[i].code)
            print_error("%s: %s\n", cases[i].url, e.why.text);
        assert_int_equal(e.why.code, cases[i].code);
        assert_int_equal(e.why.phase, cases[i].phase);
        assert_int_equal(e.why.sys_errno != 0, e.why.phase == OUTLET_AT_CONNECT);
        assert_int_equal(e.why.position, -1);
        assert_true(e.why.text[0]);
        net_close(&n);
    }
}

static void
a_stopped_loop_is_the_reason_too(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end dialing = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count);
    net_connect(&n, &dialing, NULL, "%s", s.at);
    assert_int_equal(outlet_loop_stop(n.loop), OUTLET_OK);
    UNTIL(&n, e.closes && s.ends[0].closes && dialing.closes);
    assert_int_equal(e.why.code, OUTLET_ECANCELED);
    assert_int_equal(s.ends[0].why.code, OUTLET_ECANCELED);
    assert_int_equal(dialing.why.code, OUTLET_ECANCELED);
    assert_int_equal(e.why.side, OUTLET_BY_US);
    net_close(&n);
}

static void
ask_held(struct end *e)
{
    e->results[0] = net_number(e->c, "held");
}

/* With how much of it had come. */
static void
the_peers_end_inside_a_message_is_told(void **state)
{
    static const struct does asks_held = {.on_close = ask_held};
    static const char *const frames[] = {"line", "len:4be", "fixed:8", "varint",
                                         "between:%02..%03"};

    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        for (int half_open = 0; half_open < 2; half_open++) {
            struct net n;
            struct server s = {.does = &asks_held};
            struct end e = {.does = &asks_held};
            struct end *p = &s.ends[0];

            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=%s%s", frames[i],
                       half_open ? ",half_open" : "");
            net_connect(&n, &e, NULL, "%s", s.at);
            UNTIL(&n, e.opens);
            assert_true(outlet_send(e.c, i == 4 ? "\2bc" : i == 3 ? "\5bc" : "\0\0c", 3) > 0);
            assert_int_equal(outlet_close(e.c), OUTLET_OK);
            UNTIL(&n, e.closes && s.count && p->closes);
            assert_int_equal(p->messages, 0);
            assert_int_equal(p->events, 0);
            assert_int_equal(p->why.code, OUTLET_EEOF);
            assert_int_equal(p->why.side, OUTLET_BY_PEER);
            assert_int_equal(p->results[0], 3);
            assert_int_equal(e.why.code, OUTLET_OK);
            assert_int_equal(e.results[0], 0);
            net_close(&n);
        }
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_side_ends_for_itself),
    cmocka_unit_test(without_half_open_the_peers_end_closes_ours_after_the_queue),
    cmocka_unit_test(datagrams_have_no_half_close),
    cmocka_unit_test(a_peer_that_still_sends_gets_all_of_ours),
    cmocka_unit_test(a_plain_peer_that_still_sends_gets_all_of_ours),
    cmocka_unit_test(a_paused_connection_that_closes_reads_again),
    cmocka_unit_test(what_cannot_be_flushed_in_time_is_no_orderly_end),
    cmocka_unit_test(an_abort_after_a_close_says_that_the_rest_is_lost),
    cmocka_unit_test(a_failed_connect_says_where_and_why),
    cmocka_unit_test(a_stopped_loop_is_the_reason_too),
    cmocka_unit_test(the_peers_end_inside_a_message_is_told),
};

NET_MAIN(tests)
