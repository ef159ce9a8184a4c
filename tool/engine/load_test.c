/*
 * load_test.c - load on servers that lose, repeat, change, stall and leave, counted to the message.
 *
 * The servers live in a loop of their own thread.  Nothing here depends on how fast the machine
 * is: what is timed has only lower bounds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000, STALL_MS = 100, LATE_BY = 2000 };

enum manner { ECHO, DROP, HALF, REPEAT, SWAP, LATE, TWIST, LEAVE, SILENT, STALL, EVERYONE, MOST };

struct server {
    outlet_loop *loop;
    outlet_listener listener;
    char url[256];
    enum manner manner;
    int64_t came; /* only its own thread counts */
    struct timespec last_open;
    outlet_buf *held;
    outlet_conn held_for;
};

static void
reply(outlet_conn c, const void *bytes, size_t len)
{
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

static void
give_held(struct server *s)
{
    size_t len;
    const uint8_t *bytes = outlet_buf_data(s->held, &len);

    if (s->held)
        reply(s->held_for, bytes, len);
    outlet_buf_unref(s->held);
    s->held = NULL;
}

static void
stall_over(outlet_timer t, void *arg)
{
    (void)t;
    give_held(arg);
}

static void
hold(struct server *s, outlet_conn c, outlet_msg *m)
{
    s->held = outlet_msg_retain(m);
    s->held_for = c;
}

static void
came(outlet_conn c, outlet_msg *m, void *user)
{
    struct server *s = user;
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);
    int64_t number = s->came++;
    outlet_timer t;
    outlet_buf *b;

    switch (s->manner) {
    case ECHO:
        reply(c, bytes, len);
        return;
    case DROP:
        if (number % 10 != 5)
            reply(c, bytes, len);
        return;
    case HALF:
        if (number % 2)
            reply(c, bytes, len);
        return;
    case REPEAT:
        reply(c, bytes, len);
        if (number % 10 == 5)
            reply(c, bytes, len);
        return;
    case SWAP:
        if (number % 10 == 5) {
            hold(s, c, m);
            return;
        }
        reply(c, bytes, len);
        give_held(s);
        return;
    case LATE:
        if (number == 5) {
            hold(s, c, m);
            return;
        }
        reply(c, bytes, len);
        if (number == LATE_BY)
            give_held(s);
        return;
    case TWIST:
        if (number == 50)
            bytes[len - 1] ^= 1;
        reply(c, bytes, len);
        return;
    case LEAVE:
        reply(c, bytes, len);
        if (number == 50)
            outlet_close(c);
        return;
    case SILENT:
        return;
    case STALL:
        if (number > 0) {
            reply(c, bytes, len);
        } else {
            hold(s, c, m);
            if (outlet_timer_start(s->loop, STALL_MS, 0, stall_over, s, &t))
                outlet_abort(c);
        }
        return;
    case MOST:
        if (number % 10 == 5)
            return;
        /* fall through */
    case EVERYONE:
        b = outlet_msg_retain(m);
        if (outlet_publish(s->loop, "all", b, c) < 0)
            outlet_abort(c);
        outlet_buf_unref(b);
        return;
    }
}

static void
opened(outlet_conn c, void *user)
{
    struct server *s = user;

    clock_gettime(CLOCK_MONOTONIC, &s->last_open);
    if ((s->manner == EVERYONE || s->manner == MOST) && outlet_join(c, "all") < 0)
        outlet_abort(c);
}

static void
server_open(struct server *s, const char *url, enum manner manner)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_open = opened, .on_message = came};
    struct outlet_opts opts = OUTLET_OPTS;

    memset(s, 0, sizeof *s);
    s->manner = manner;
    opts.on = &on;
    opts.user = s;
    assert_int_equal(outlet_loop_new(&s->loop, NULL), OUTLET_OK);
    assert_int_equal(outlet_listen(s->loop, url, &opts, &s->listener), OUTLET_OK);
    assert_true(outlet_listener_info(s->listener, "url", s->url, sizeof s->url) > 0);
    assert_int_equal(outlet_loop_start(s->loop), OUTLET_OK);
}

static void
server_end(struct server *s)
{
    outlet_loop_stop(s->loop);
    outlet_loop_free(s->loop);
    outlet_buf_unref(s->held);
}

static struct eng_load_opts
load_opts(const char *url)
{
    return (struct eng_load_opts){
        .url = url, .connections = 1, .depth = 1, .threads = 1, .size = 64, .check = true};
}

/* The whole run; r->hist is new. */
static void
run(const struct eng_load_opts *opts, struct eng_load_result *r)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_load *load;
    int code = eng_load_start(opts, &load, &why);

    if (code)
        fail_msg("%s: %s", opts->url, why.text);
    if (eng_load_wait(load, -1, PATIENCE_MS) != ENG_LOAD_ENDED)
        fail_msg("it does not end");
    memset(r, 0, sizeof *r);
    r->hist = eng_hist_new();
    eng_load_look(load, r);
    eng_load_end(load);
}

static void
every_message_of_a_count_comes_back(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "tcp://127.0.0.1:0#frame=len:4be",
                                       "udp://127.0.0.1:0", "tcp://127.0.0.1:0#frame=line"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        for (int64_t size = 1; size < 1000; size = size * 9 + 1) {
            struct eng_load_result r;
            struct eng_load_opts opts;
            struct server s;
            char url[300];

            server_open(&s, urls[i], ECHO);
            snprintf(url, sizeof url, "%s", s.url);
            opts = load_opts(url);
            opts.connections = 7;
            opts.threads = 3;
            opts.depth = 5;
            opts.count = 1000;
            opts.size = (size_t)size;
            run(&opts, &r);
            server_end(&s);
            assert_int_equal(r.result, ENG_DONE);
            assert_int_equal(r.messages, 1000);
            assert_int_equal(eng_hist_total(r.hist), 1000);
            assert_int_equal(r.bytes_in, 1000 * size);
            assert_int_equal(r.bytes_out, 1000 * size);
            assert_int_equal(r.errors, 0);
            assert_int_equal(r.lost + r.reordered + r.duplicates, 0);
            assert_int_equal(r.connections, 0);
            eng_free(r.hist);
        }
    }
}

static void
lost_repeated_and_swapped_datagrams_are_counted(void **state)
{
    static const struct {
        enum manner manner;
        uint64_t messages;
        uint64_t lost;
        uint64_t repeated;
        uint64_t swapped;
    } cases[] = {{DROP, 180, 20, 0, 0}, {REPEAT, 200, 0, 20, 0}, {SWAP, 200, 0, 0, 20}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eng_load_result r;
        struct eng_load_opts opts;
        struct server s;

        server_open(&s, "udp://127.0.0.1:0", cases[i].manner);
        opts = load_opts(s.url);
        opts.depth = 32;
        opts.count = 200;
        run(&opts, &r);
        server_end(&s);
        assert_int_equal(r.result, ENG_DONE);
        assert_int_equal(r.messages, cases[i].messages);
        assert_int_equal(r.lost, cases[i].lost);
        assert_int_equal(r.duplicates, cases[i].repeated);
        assert_int_equal(r.reordered, cases[i].swapped);
        assert_int_equal(r.errors, 0);
        eng_free(r.hist);
    }
}

static void
what_a_server_does_wrong_is_named(void **state)
{
    static const struct {
        const char *url;
        enum manner manner;
        enum eng_load_fault fault;
        int result;
    } cases[] = {
        {"tcp://127.0.0.1:0", TWIST, ENG_LOAD_WRONG, ENG_BROKEN},
        {"tcp://127.0.0.1:0#frame=len:2be", TWIST, ENG_LOAD_WRONG, ENG_BROKEN},
        {"udp://127.0.0.1:0", TWIST, ENG_LOAD_WRONG, ENG_BROKEN},
        {"tcp://127.0.0.1:0", LEAVE, ENG_LOAD_CLOSED, ENG_BROKEN},
        {"tcp://127.0.0.1:0", SILENT, ENG_LOAD_UNANSWERED, ENG_TIMED_OUT},
        {"udp://127.0.0.1:0", SILENT, ENG_LOAD_UNANSWERED, ENG_TIMED_OUT},
        {"tcp://127.0.0.1:0#frame=len:2be", REPEAT, ENG_LOAD_WRONG, ENG_BROKEN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eng_load_result r;
        struct eng_load_opts opts;
        struct server s;

        server_open(&s, cases[i].url, cases[i].manner);
        opts = load_opts(s.url);
        opts.count = 1000;
        opts.time_ms = cases[i].manner == SILENT ? 10 : PATIENCE_MS / 2;
        run(&opts, &r);
        server_end(&s);
        if (r.fault != cases[i].fault || r.result != cases[i].result)
            fail_msg("case %zu: fault %d, result %d: %s", i, r.fault, r.result, r.why.text);
        if (strncmp(cases[i].url, "tcp", 3) == 0)
            assert_true(r.errors > 0);
        eng_free(r.hist);
    }
}

static void
a_count_without_a_time_ends_when_nothing_is_answered(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0", SILENT);
    opts = load_opts(s.url);
    opts.count = 10;
    opts.stall_ms = 20;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.fault, ENG_LOAD_UNANSWERED);
    assert_int_equal(r.unanswered, 1);
    assert_int_equal(r.messages, 0);
    eng_free(r.hist);
}

/*
 * The first answer takes 100 ms.  At 1,000 a second on one connection with one under way,
 * everything that was due meanwhile has waited for it: 50 messages for 50 ms or more.  A closed run
 * sees one.
 */
static void
a_stall_is_charged_to_all_that_were_due_in_it(void **state)
{
    const int64_t half = STALL_MS / 2 * INT64_C(1000000);

    (void)state;
    for (int open = 0; open < 2; open++) {
        struct eng_load_result r;
        struct eng_load_opts opts;
        struct server s;

        server_open(&s, "tcp://127.0.0.1:0", STALL);
        opts = load_opts(s.url);
        opts.count = 200;
        opts.rate = open ? 1000 : 0;
        run(&opts, &r);
        server_end(&s);
        assert_int_equal(r.result, ENG_DONE);
        assert_int_equal(r.messages, 200);
        assert_int_equal(eng_hist_total(r.hist), 200);
        assert_true(eng_hist_max(r.hist) >= 2 * half);
        assert_true(eng_hist_between(r.hist, half, ENG_HIST_MAX) >= (open ? 50 : 1));
        eng_free(r.hist);
    }
}

static void
everyone_hears_everything_once(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "tcp://127.0.0.1:0#frame=len:4be",
                                       "udp://127.0.0.1:0"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct eng_load_result r;
        struct eng_load_opts opts;
        struct server s;

        server_open(&s, urls[i], EVERYONE);
        opts = load_opts(s.url);
        opts.mode = ENG_LOAD_FANOUT;
        opts.connections = 5;
        opts.depth = 4;
        opts.count = 30;
        run(&opts, &r);
        server_end(&s);
        assert_int_equal(r.result, ENG_DONE);
        assert_int_equal(r.messages, 150);
        assert_int_equal(eng_hist_total(r.hist), 150);
        assert_int_equal(r.bytes_out, 30 * 64);
        assert_int_equal(r.lost + r.reordered + r.duplicates, 0);
        eng_free(r.hist);
    }
}

/* One that is lost keeps its place, for longer than this takes. */
static void
datagrams_that_are_lost_are_under_way(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "udp://127.0.0.1:0", SILENT);
    opts = load_opts(s.url);
    opts.connections = 3;
    opts.depth = 7;
    opts.time_ms = 10;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.result, ENG_TIMED_OUT);
    assert_int_equal(r.lost, 21);
    eng_free(r.hist);
}

/* ... but at a fixed rate they hold nothing up.  If they did, DEPTH would be answered in each half
 * a second.  A machine that is slow answers fewer than 2,500, but hardly fewer than a tenth. */
static void
a_rate_goes_on_while_datagrams_are_lost(void **state)
{
    enum { DEPTH = 16, ANSWERED = 250 };
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "udp://127.0.0.1:0", HALF);
    opts = load_opts(s.url);
    opts.depth = DEPTH;
    opts.rate = 5000;
    opts.time_ms = 1000;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.result, ENG_DONE);
    assert_true(r.messages > ANSWERED);
    assert_true(r.lost > ANSWERED);
    assert_int_equal(r.reordered + r.duplicates, 0);
    eng_free(r.hist);
}

/* It is not waited for meanwhile, and known again when it comes. */
static void
a_datagram_that_comes_very_late_is_no_loss(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    for (int64_t depth = 2; depth <= 32; depth *= 4) {
        server_open(&s, "udp://127.0.0.1:0", LATE);
        opts = load_opts(s.url);
        opts.depth = depth;
        opts.count = LATE_BY + 100;
        run(&opts, &r);
        server_end(&s);
        assert_int_equal(r.result, ENG_DONE);
        assert_int_equal(r.messages, LATE_BY + 100);
        assert_int_equal(r.reordered, 1);
        assert_int_equal(r.lost + r.duplicates + r.errors, 0);
        eng_free(r.hist);
    }
}

/* Five have said hello, so that the server knows them; of what comes then it keeps 3 in 30. */
static void
a_datagram_that_nobody_hears_is_lost_for_each(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "udp://127.0.0.1:0", MOST);
    opts = load_opts(s.url);
    opts.mode = ENG_LOAD_FANOUT;
    opts.connections = 5;
    opts.depth = 4;
    opts.count = 30;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.result, ENG_DONE);
    assert_int_equal(r.messages, 135);
    assert_int_equal(r.lost, 15);
    assert_int_equal(r.reordered + r.duplicates, 0);
    eng_free(r.hist);
}

static void
no_more_is_under_way_than_was_asked_for(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0#frame=len:4be", SILENT);
    opts = load_opts(s.url);
    opts.connections = 3;
    opts.depth = 7;
    opts.count = 1000;
    opts.stall_ms = 20;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.fault, ENG_LOAD_UNANSWERED);
    assert_int_equal(r.unanswered, 21);
    eng_free(r.hist);
}

static void
a_ramp_opens_connections_over_its_time(void **state)
{
    enum { RAMP_MS = 100, CONNECTIONS = 5 };
    struct timespec began;
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;
    int64_t took;

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0", ECHO);
    opts = load_opts(s.url);
    opts.connections = CONNECTIONS;
    opts.ramp_ms = RAMP_MS;
    opts.count = CONNECTIONS;
    clock_gettime(CLOCK_MONOTONIC, &began);
    run(&opts, &r);
    server_end(&s);
    took = (s.last_open.tv_sec - began.tv_sec) * INT64_C(1000) +
           (s.last_open.tv_nsec - began.tv_nsec) / 1000000;
    assert_int_equal(r.messages, CONNECTIONS);
    assert_true(took >= RAMP_MS * (CONNECTIONS - 1) / CONNECTIONS - 1);
    eng_free(r.hist);
}

/* 50 messages, all of them before anything is measured. */
static void
what_is_answered_in_the_warm_up_is_not_counted(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0#frame=line", ECHO);
    opts = load_opts(s.url);
    opts.count = 50;
    opts.warm_ms = PATIENCE_MS;
    run(&opts, &r);
    server_end(&s);
    assert_int_equal(r.result, ENG_DONE);
    assert_int_equal(s.came, 50);
    assert_int_equal(r.messages + r.bytes_in + r.bytes_out + (uint64_t)r.cpu_ns, 0);
    assert_int_equal(eng_hist_total(r.hist), 0);
    eng_free(r.hist);
}

static void
churn_makes_a_connection_for_each_message(void **state)
{
    struct eng_load_result r;
    struct eng_load_opts opts;
    struct server s;
    char accepted[32];

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0", ECHO);
    opts = load_opts(s.url);
    opts.mode = ENG_LOAD_CHURN;
    opts.connections = 4;
    opts.threads = 2;
    opts.count = 50;
    run(&opts, &r);
    assert_true(outlet_listener_info(s.listener, "accepted", accepted, sizeof accepted) > 0);
    server_end(&s);
    assert_int_equal(r.result, ENG_DONE);
    assert_int_equal(r.messages, 50);
    assert_string_equal(accepted, "50");
    eng_free(r.hist);
}

static void
asked_to_stop_it_ends_in_order(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_load_result r = {0};
    struct eng_load_opts opts;
    struct eng_load *load;
    struct server s;

    (void)state;
    server_open(&s, "tcp://127.0.0.1:0", ECHO);
    opts = load_opts(s.url);
    opts.connections = 3;
    opts.time_ms = 10 * PATIENCE_MS;
    r.hist = eng_hist_new();
    assert_int_equal(eng_load_start(&opts, &load, &why), ENG_DONE);
    while (r.messages == 0) {
        assert_int_equal(eng_load_wait(load, -1, 1), ENG_LOAD_RUNS);
        eng_load_look(load, &r);
    }
    eng_load_stop(load);
    assert_int_equal(eng_load_wait(load, -1, PATIENCE_MS), ENG_LOAD_ENDED);
    eng_load_look(load, &r);
    eng_load_end(load);
    server_end(&s);
    assert_int_equal(r.result, ENG_DONE);
    assert_int_equal(r.errors, 0);
    eng_free(r.hist);
}

static void
what_cannot_be_used_is_refused_before_anything_starts(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_load_opts opts = load_opts("tcp://127.0.0.1:1#idle=1");
    struct eng_load *load = NULL;

    (void)state;
    assert_int_equal(eng_load_start(&opts, &load, &why), ENG_USAGE);
    assert_string_equal(why.key, "idle");
    assert_null(load);
    opts = load_opts("tcp://127.0.0.1:1");
    opts.driver = "kqueue";
    assert_int_equal(eng_load_start(&opts, &load, &why), ENG_USAGE);
    assert_null(load);
    eng_load_end(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_of_a_count_comes_back),
        cmocka_unit_test(lost_repeated_and_swapped_datagrams_are_counted),
        cmocka_unit_test(what_a_server_does_wrong_is_named),
        cmocka_unit_test(a_count_without_a_time_ends_when_nothing_is_answered),
        cmocka_unit_test(a_stall_is_charged_to_all_that_were_due_in_it),
        cmocka_unit_test(everyone_hears_everything_once),
        cmocka_unit_test(datagrams_that_are_lost_are_under_way),
        cmocka_unit_test(a_rate_goes_on_while_datagrams_are_lost),
        cmocka_unit_test(a_datagram_that_comes_very_late_is_no_loss),
        cmocka_unit_test(a_datagram_that_nobody_hears_is_lost_for_each),
        cmocka_unit_test(no_more_is_under_way_than_was_asked_for),
        cmocka_unit_test(a_ramp_opens_connections_over_its_time),
        cmocka_unit_test(what_is_answered_in_the_warm_up_is_not_counted),
        cmocka_unit_test(churn_makes_a_connection_for_each_message),
        cmocka_unit_test(asked_to_stop_it_ends_in_order),
        cmocka_unit_test(what_cannot_be_used_is_refused_before_anything_starts),
    };

    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
