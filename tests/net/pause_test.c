/*
 * pause_test.c - receiving stopped and taken up again, at any moment, without a lost or doubled
 * byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>

enum { LINES = 200 };

static void
send_lines(struct end *e, int count)
{
    char all[LINES * 4 + 1];
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        len += (size_t)snprintf(all + len, sizeof all - len, "%03d\n", i);
    }
    e->results[0] = outlet_send(e->c, all, len); /* without framing: one write of all lines */
}

static bool
lines_came(const struct end *e, size_t count)
{
    bool good = e->messages == count && e->len == 3 * count;

    for (size_t i = 0; good && i < count; i++) {
        char line[8];

        snprintf(line, sizeof line, "%03zu", i);
        good = memcmp(e->bytes + 3 * i, line, 3) == 0;
    }
    return good;
}

static void
send_the_lines(struct end *e)
{
    send_lines(e, LINES);
}

static const struct does sends_lines = {.on_open = send_the_lines};

/* ---- in the middle of a batch
 * ---------------------------------------------------------------------- */

static void
pause_at_every_third(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->messages % 3 == 0)
        e->result = outlet_pause(e->c);
}

static void
a_pause_in_a_batch_holds_the_rest_back(void **state)
{
    static const struct does pauses = {.on_message = pause_at_every_third};
    struct net n;
    struct server s = {.does = &pauses};
    struct end e = {.does = &sends_lines};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    for (size_t i = 3; i < LINES; i += 3) {
        UNTIL(&n, s.count && p->messages == i);
        if (i % 30 == 0)
            net_run_ms(&n, 1);
        assert_int_equal(p->messages, i);
        assert_int_equal(outlet_resume(p->c), OUTLET_OK);
        assert_int_equal(p->messages, i); /* not inside the call */
    }
    UNTIL(&n, p->messages == LINES);
    assert_true(lines_came(p, LINES));
    net_server_fini(&s);
    net_close(&n);
}

static void
pause_and_resume(struct end *e, outlet_msg *m)
{
    (void)m;
    e->result = outlet_pause(e->c);
    if (e->messages % 2)
        e->result |= outlet_resume(e->c);
    else
        e->result |= outlet_resume(e->c) | outlet_pause(e->c) | outlet_resume(e->c);
}

static void
resuming_in_the_same_callback_changes_nothing(void **state)
{
    static const struct does flickers = {.on_message = pause_and_resume};
    struct net n;
    struct server s = {.does = &flickers};
    struct end e = {.does = &sends_lines};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && s.ends[0].messages == LINES);
    assert_true(lines_came(&s.ends[0], LINES));
    assert_int_equal(s.ends[0].result, OUTLET_OK);
    assert_int_equal(outlet_close(e.c), OUTLET_OK);
    UNTIL(&n, s.ends[0].closes && e.closes);
    assert_int_equal(s.ends[0].why.code, OUTLET_OK);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- and the peer's end
 * ------------------------------------------------------------------------------- */

static void
pause_first(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->messages == 1)
        e->result = outlet_pause(e->c);
}

static void
send_lines_and_close(struct end *e)
{
    send_lines(e, LINES);
    e->result = outlet_close(e->c);
}

static void
what_was_held_back_comes_before_the_close(void **state)
{
    static const struct does pauses = {.on_message = pause_first};
    static const struct does sends = {.on_open = send_lines_and_close};
    static const char *const schemes[] = {"tcp", "unix", "pair"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct net n;
        struct server s = {.does = &pauses};
        struct end e = {.does = &sends};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#frame=line", net_place(&n, schemes[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, s.count && p->messages == 1);
        net_run_ms(&n, 5);
        assert_int_equal(p->messages, 1);
        assert_int_equal(p->closes, 0);
        assert_int_equal(outlet_resume(p->c), OUTLET_OK);
        UNTIL(&n, p->closes && e.closes);
        assert_true(lines_came(p, LINES));
        assert_string_equal(p->story, "AOMC");
        assert_int_equal(p->why.code, OUTLET_OK);
        assert_int_equal(e.why.code, OUTLET_OK);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
closing_while_paused_delivers_nothing_more(void **state)
{
    static const struct does pauses = {.on_message = pause_first};
    struct net n;
    struct server s = {.does = &pauses};
    struct end e = {.does = &sends_lines};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && p->messages == 1);
    assert_int_equal(outlet_close(p->c), OUTLET_OK);
    assert_int_equal(outlet_resume(p->c), OUTLET_OK);
    UNTIL(&n, p->closes && e.closes);
    assert_int_equal(p->messages, 1);
    assert_int_equal(p->why.code, OUTLET_OK);
    assert_int_equal(e.why.code, OUTLET_OK); /* its lines were read, so nothing was reset */
    net_server_fini(&s);
    net_close(&n);
}

/* ---- from the beginning, from elsewhere
 * ------------------------------------------------------------------ */

static void
pause_it(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static void
a_connection_may_be_paused_before_it_reads(void **state)
{
    static const struct does pauses = {.on_open = pause_it};
    struct net n;
    struct server s = {.does = &pauses};
    struct end e = {.does = &sends_lines};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && p->opens && e.opens);
    net_run_ms(&n, 5);
    assert_int_equal(p->messages, 0);
    assert_int_equal(outlet_resume(p->c), OUTLET_OK);
    UNTIL(&n, p->messages == LINES);
    assert_true(lines_came(p, LINES));
    net_server_fini(&s);
    net_close(&n);
}

/* Any interleaving of pauses and resumes from outside, while much is on its way. */
static void
pausing_and_resuming_at_random_loses_nothing(void **state)
{
    enum { ROUNDS = 60 };
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end *p = &s.ends[0];
    unsigned dice = 7;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=len:2be,idle_ms=off,partial_ms=off");
    net_connect(&n, &e, NULL, "%s#frame=len:2be,stall_ms=off", s.at);
    UNTIL(&n, e.opens && s.count && p->opens);
    for (unsigned i = 0; i < ROUNDS; i++) {
        static uint8_t bytes[50000];

        net_pattern(bytes, sizeof bytes, i);
        assert_true(outlet_send(e.c, bytes, i * 800 + 1) > 0);
        dice = dice * 1103515245 + 12345;
        assert_int_equal(dice & 0x10000 ? outlet_pause(p->c) : outlet_resume(p->c), OUTLET_OK);
        net_begin(&n);
        for (unsigned t = 0; t < (dice >> 20 & 3); t++) {
            (void)net_step(&n); /* false: nothing to do while it is paused */
        }
    }
    assert_int_equal(outlet_resume(p->c), OUTLET_OK);
    UNTIL(&n, p->messages == ROUNDS);
    for (unsigned i = 0, at = 0; i < ROUNDS; i++) {
        static uint8_t want[50000];

        net_pattern(want, sizeof want, i);
        assert_int_equal(p->sizes[i], i * 800 + 1);
        assert_memory_equal(p->bytes + at, want, i * 800 + 1);
        at += i * 800 + 1;
    }
    net_server_fini(&s);
    net_close(&n);
}

static void
idleness_stands_still_in_a_pause(void **state)
{
    static const struct does pauses = {.on_open = pause_it};
    struct net n;
    struct server s = {.does = &pauses};
    struct end e = {0};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line,idle_ms=20,partial_ms=20");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && p->opens && e.opens);
    assert_true(outlet_send(e.c, "half a line", 11) > 0);
    net_run_ms(&n, 60);
    assert_int_equal(p->closes, 0);
    assert_int_equal(outlet_resume(p->c), OUTLET_OK);
    UNTIL(&n, p->closes);
    assert_int_equal(p->why.code, OUTLET_ETIMEDOUT);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_pause_in_a_batch_holds_the_rest_back),
    cmocka_unit_test(resuming_in_the_same_callback_changes_nothing),
    cmocka_unit_test(what_was_held_back_comes_before_the_close),
    cmocka_unit_test(closing_while_paused_delivers_nothing_more),
    cmocka_unit_test(a_connection_may_be_paused_before_it_reads),
    cmocka_unit_test(pausing_and_resuming_at_random_loses_nothing),
    cmocka_unit_test(idleness_stands_still_in_a_pause),
};

NET_MAIN(tests)
