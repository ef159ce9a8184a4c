/*
 * framing_test.c - message borders as connections see them: cut and wrapped by text or by two
 * functions, changed on the way, and broken by a peer without harm to others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>

enum { MIB = 1 << 20 };

/* ---- a peer that breaks it
 * ---------------------------------------------------------------------------- */

static void
a_message_over_max_ends_its_connection_before_it_takes_memory(void **state)
{
    static const struct {
        const char *frame;
        const char *wire;
        size_t len;
        size_t more; /* bytes without a border after it */
        outlet_err want;
    } cases[] = {{"line", "", 0, 3000, OUTLET_EMSGSIZE},
                 {"delim:;;", "", 0, 3000, OUTLET_EMSGSIZE},
                 {"len:4be", "\x7f\xff\xff\xff", 4, 0, OUTLET_EMSGSIZE},
                 {"len:8be", "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0, OUTLET_EMSGSIZE},
                 {"len:4le", "\x01\x04\x00\x00", 4, 0, OUTLET_EMSGSIZE},
                 {"varint", "\xff\xff\xff\xff\x0f", 5, 0, OUTLET_EMSGSIZE},
                 {"varint", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, 0, OUTLET_EPROTO},
                 {"between:%02..%03", "\x02", 1, 3000, OUTLET_EMSGSIZE},
                 {"between:%02..%03", "x", 1, 0, OUTLET_EPROTO},
                 {"hp:123", "\x10\x00\x00\x00", 4, 0, OUTLET_EPROTO},
                 {"idle:20ms", "", 0, 3000, OUTLET_EMSGSIZE}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net n;
        struct server s = {0};
        struct end good = {0};
        struct end bad = {0};
        uint8_t *bytes = malloc(cases[i].len + cases[i].more + 1);
        int64_t before;

        assert_non_null(bytes);
        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#max=1024,frame=%s", cases[i].frame);
        net_connect(&n, &good, NULL, "%s#max=1024,frame=%s", s.at, cases[i].frame);
        UNTIL(&n, good.opens && s.count == 1);
        net_connect(&n, &bad, NULL, "%s", s.at);
        UNTIL(&n, bad.opens && s.count == 2 && s.ends[1].opens);
        before = failing_heap_bytes(&n.heap);
        memcpy(bytes, cases[i].wire, cases[i].len);
        memset(bytes + cases[i].len, 'x', cases[i].more);
        assert_true(outlet_send(bad.c, bytes, cases[i].len + cases[i].more) > 0);
        UNTIL(&n, s.ends[1].closes && bad.closes);
        if (s.ends[1].why.code != cases[i].want)
            print_error("%s: %s\n", cases[i].frame, s.ends[1].why.text);
        assert_int_equal(s.ends[1].why.code, cases[i].want);
        assert_int_equal(s.ends[1].why.side, OUTLET_BY_PEER);
        assert_int_equal(s.ends[1].messages, 0);
        if (!net_is_sim()) /* whose pipes hold bytes, too */
            assert_in_range(failing_heap_bytes(&n.heap), 0, before + 64 * 1024);
        assert_true(outlet_send(good.c, "untouched", 9) > 0);
        UNTIL(&n, s.ends[0].messages == 1);
        assert_memory_equal(s.ends[0].bytes, "untouched", 9);
        free(bytes);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* A length that is allowed is believed only as bytes arrive. */
static void
a_long_length_alone_takes_no_memory(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[20];
    int64_t before;

    (void)state;
    memset(e, 0, sizeof e);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#max=16M,frame=len:4be");
    for (int i = 0; i < 20; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    UNTIL(&n, s.count == 20);
    net_run_ms(&n, 1);
    before = failing_heap_bytes(&n.heap);
    for (int i = 0; i < 20; i++) {
        assert_true(outlet_send(e[i].c, "\x00\xff\xff\xff!", 5) > 0);
    }
    UNTIL(&n,
          net_number(s.ends[0].c, "bytes_in") == 5 && net_number(s.ends[19].c, "bytes_in") == 5);
    assert_in_range(failing_heap_bytes(&n.heap) - before, 0, 20 * 20000);
    net_close(&n);
}

/* ---- two functions
 * ----------------------------------------------------------------------------------------- */

/* Decimal length, a colon, the message, a comma. */
static int
split_netstring(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame,
                size_t *need)
{
    size_t number = 0;
    size_t at = 0;

    ++*(int *)user;
    while (at < len && bytes[at] >= '0' && bytes[at] <= '9') {
        number = number * 10 + (size_t)(bytes[at++] - '0');
    }
    if (at == len)
        return at > 7 ? OUTLET_EPROTO : 0;
    if (bytes[at++] != ':')
        return OUTLET_EPROTO;
    *need = at + number + 1;
    if (len < *need)
        return 0;
    *frame = (struct outlet_frame){.skip = at, .message = number, .tail = 1};
    return bytes[at + number] == ',' ? 1 : OUTLET_EPROTO;
}

static int
wrap_netstring(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
               uint8_t *tail, size_t *tail_len)
{
    (void)user;
    if (len && bytes[0] == '!') /* every byte is read: a test with sanitizers sees a short piece */
        return OUTLET_EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == 255)
            return OUTLET_EINVAL;
    }
    *head_len = (size_t)snprintf((char *)head, OUTLET_FRAME_HEAD_MAX, "%zu:", len);
    tail[0] = ',';
    *tail_len = 1;
    return OUTLET_OK;
}

static void
send_in_pieces(struct end *e)
{
    static char text[] = "hello, world";
    char *parts[3] = {malloc(5), malloc(2), malloc(5)};
    struct iovec pieces[3] = {{parts[0], 5}, {parts[1], 2}, {parts[2], 5}};

    if (!parts[0] || !parts[1] || !parts[2])
        abort();
    memcpy(parts[0], text, 5);
    memcpy(parts[1], text + 5, 2);
    memcpy(parts[2], text + 7, 5);
    e->results[0] = outlet_sendv(e->c, pieces, 3);
    e->results[1] = outlet_send(e->c, "!no", 3);
    e->results[2] = outlet_sendv(e->c, NULL, 0);
    for (int i = 0; i < 3; i++) {
        free(parts[i]);
    }
}

static void
two_functions_can_be_a_framing(void **state)
{
    static const struct does sends = {.on_open = send_in_pieces};

    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        int splits = 0;
        struct outlet_framing custom = {sizeof custom, &splits, split_netstring, wrap_netstring};
        struct outlet_opts opts = OUTLET_OPTS;
        struct net n;
        struct server s = {0};
        struct end e = {.does = outside ? NULL : &sends};
        struct end plain = {0};
        struct end wrong = {0};

        opts.framing = &custom;
        net_open(&n, NULL);
        net_listen(&n, &s, &opts, "tcp://127.0.0.1:0#frame=custom,max=100");
        net_connect(&n, &e, &opts, "%s#frame=custom", s.at);
        memset(&opts, 0, sizeof opts);
        UNTIL(&n, e.opens && s.count == 1);
        if (outside)
            send_in_pieces(&e);
        UNTIL(&n, s.ends[0].messages == 2);
        assert_memory_equal(s.ends[0].bytes, "hello, world", 12);
        assert_int_equal(s.ends[0].sizes[1], 0);
        assert_true(e.results[0] > 0);
        assert_int_equal(e.results[1], OUTLET_EINVAL);
        assert_true(splits > 0);
        net_connect(&n, &plain, NULL, "%s", s.at);
        net_connect(&n, &wrong, NULL, "%s", s.at);
        assert_true(outlet_send(plain.c, "3:ab", 4) > 0);
        assert_true(outlet_send(wrong.c, "900:", 4) > 0);
        UNTIL(&n, s.count == 3 && wrong.closes);
        assert_true(outlet_send(plain.c, "c,1:d;", 6) > 0);
        UNTIL(&n, plain.closes && s.ends[1].closes && s.ends[2].closes);
        assert_int_equal(s.ends[1].messages + s.ends[2].messages, 1);
        assert_true(s.ends[1].why.code == OUTLET_EPROTO || s.ends[2].why.code == OUTLET_EPROTO);
        assert_true(s.ends[1].why.code == OUTLET_EMSGSIZE || s.ends[2].why.code == OUTLET_EMSGSIZE);
        assert_int_equal(s.ends[0].closes, 0);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
custom_without_functions_is_refused(void **state)
{
    struct outlet_framing half = {.size = sizeof half, .split = split_netstring};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    outlet_listener l;

    (void)state;
    net_open(&n, NULL);
    opts.why = &why;
    assert_int_equal(outlet_listen(n.loop, "tcp://:0#frame=custom", &opts, &l), OUTLET_EINVAL);
    assert_string_equal(why.key, "frame");
    opts.framing = &half;
    assert_int_equal(outlet_listen(n.loop, "tcp://:0#frame=custom", &opts, &l), OUTLET_EINVAL);
    net_close(&n);
}

/* ---- changed on the way
 * ---------------------------------------------------------------------------------------- */

static void
follow_the_orders(struct end *e, outlet_msg *m)
{
    size_t len;
    const char *text = (const char *)outlet_msg_data(m, &len);
    char name[32];

    if (len > 5 && len < sizeof name && memcmp(text, "USE ", 4) == 0) {
        memcpy(name, text + 4, len - 4);
        name[len - 4] = 0;
        e->result |= outlet_set_framing(e->c, name, NULL);
    }
}

static void
bytes_behind_the_message_are_cut_the_new_way(void **state)
{
    static const struct does follows = {.on_message = follow_the_orders};
    static const char wire[] = "first\nUSE len:1\n\003a\nb\013USE delim:;"
                               "x;USE varint;\2hi\010USE none"
                               "every";
    static const char want[] = "firstUSE len:1a\nbUSE delim:;xUSE varinthiUSE noneevery";
    size_t len = sizeof wire - 1;

    (void)state;
    for (size_t step = 1; step <= len; step += step < 8 ? 1 : 7) {
        struct net n;
        struct server s = {.does = &follows};
        struct end e = {0};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && p->opens);
        for (size_t at = 0; at < len; at += step) {
            size_t part = len - at < step ? len - at : step;

            assert_true(outlet_send(e.c, wire + at, part) > 0);
            UNTIL(&n, net_number(p->c, "bytes_in") == (int64_t)(at + part) || p->closes);
        }
        assert_int_equal(p->result, OUTLET_OK);
        assert_int_equal(p->closes, 0);
        assert_int_equal(p->len, sizeof want - 1);
        assert_memory_equal(p->bytes, want, sizeof want - 1);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
reframe_to_none(void *arg)
{
    struct end *e = arg;

    e->results[0] = outlet_set_framing(e->c, "none", NULL);
    e->results[1] = outlet_set_framing(e->c, "nonsense", NULL);
    e->results[2] = outlet_set_framing(e->c, "custom", NULL);
}

static void
an_unfinished_message_is_cut_anew(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "no line", 7) > 0);
    UNTIL(&n, s.count && net_number(p->c, "bytes_in") == 7);
    assert_int_equal(outlet_set_framing(p->c, "none", NULL), OUTLET_ETHREAD);
    net_run_ms(&n, 1);
    assert_int_equal(p->messages, 0);
    net_do(&n, reframe_to_none, p);
    assert_int_equal(p->results[0], OUTLET_OK);
    assert_int_equal(p->results[1], OUTLET_EINVAL);
    assert_int_equal(p->results[2], OUTLET_EINVAL);
    UNTIL(&n, p->len == 7);
    assert_int_equal(outlet_close(e.c), OUTLET_OK);
    UNTIL(&n, p->closes);
    assert_int_equal(p->why.code, OUTLET_OK);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- a border in time --------------------------------------------------------------------- */

static void
a_silence_ends_a_message(void **state)
{
    static const size_t sizes[] = {1, 1000, 40000, 2, 65536};
    static uint8_t bytes[65536];

    (void)state;
    for (uint64_t seed = 1; seed <= (net_is_sim() ? 50 : 1); seed++) {
        struct ol_sim_faults slow = {.delay_max_us = 15000}; /* pieces come, but never so late */
        struct net n;
        struct server s = {0};
        struct end e = {0};
        size_t at = 0;

        net_open_world(&n, seed, &slow);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=idle:50ms");
        net_connect(&n, &e, NULL, "%s", s.at);
        net_pattern(bytes, sizeof bytes, (uint32_t)seed);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            assert_true(outlet_send(e.c, bytes, sizes[i] / 2) >= 0);
            assert_true(outlet_send(e.c, bytes + sizes[i] / 2, sizes[i] - sizes[i] / 2) >= 0);
            UNTIL(&n, s.count && s.ends[0].messages == i + 1);
            assert_int_equal(s.ends[0].sizes[i], sizes[i]);
            assert_memory_equal(s.ends[0].bytes + at, bytes, sizes[i]);
            at += sizes[i];
        }
        assert_int_equal(s.ends[0].closes, 0);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* However it is sliced in time: only the clock of the simulator is that exact. */
static void
less_than_the_silence_ends_nothing(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    if (!net_is_sim())
        skip();
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=idle:20ms,partial_ms=1000");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count);
    for (int i = 0; i < 40; i++) {
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        net_run_ms(&n, 19);
        assert_int_equal(s.ends[0].messages, 0);
    }
    net_run_ms(&n, 3);
    assert_int_equal(s.ends[0].messages, 1);
    assert_int_equal(s.ends[0].sizes[0], 40);
    /* Nobody talks on and on: the time of a whole message has its limit, too. */
    for (int i = 0; i < 60 && !s.ends[0].closes; i++) {
        assert_true(outlet_send(e.c, "x", 1) >= 0 || e.closes);
        net_run_ms(&n, 19);
    }
    assert_int_equal(s.ends[0].messages, 1);
    assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
the_end_of_the_peer_ends_a_message(void **state)
{
    static const char *const how[] = {"", ",half_open", NULL};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=idle:3600s,partial_ms=off,idle_ms=off%s",
                   how[i] ? how[i] : "");
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "the last words", 14) >= 0);
        UNTIL(&n, s.count && net_number(p->c, "bytes_in") == 14);
        assert_int_equal(p->messages, 0);
        if (how[i])
            assert_int_equal(outlet_end(e.c), OUTLET_OK);
        else
            assert_int_equal(outlet_abort(e.c), OUTLET_OK); /* a reset loses nothing that came */
        UNTIL(&n, i == 1 ? p->events : p->closes);
        assert_int_equal(p->messages, 1);
        assert_memory_equal(p->bytes, "the last words", 14);
        assert_string_equal(p->story, i == 1 ? "AOME" : "AOMC");
        if (i == 0)
            assert_int_equal(p->why.code, OUTLET_OK);
        if (!how[i])
            assert_int_equal(p->why.code, OUTLET_ERESET);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* Who does not read cannot tell whether anything came meanwhile. */
static void
a_pause_is_no_silence(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end *p = &s.ends[0];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=idle:30ms");
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "first", 5) >= 0);
    UNTIL(&n, s.count && p->opens && net_number(p->c, "bytes_in") == 5);
    assert_int_equal(outlet_pause(p->c), OUTLET_OK);
    net_run_ms(&n, 1);
    if (p->messages == 0) { /* else that took so long that the message had ended */
        assert_true(outlet_send(e.c, " half", 5) >= 0);
        net_run_ms(&n, 60);
        assert_int_equal(p->messages, 0);
        assert_int_equal(outlet_resume(p->c), OUTLET_OK);
        UNTIL(&n, p->messages);
        assert_int_equal(p->sizes[0], 10);
        assert_memory_equal(p->bytes, "first half", 10);
    }
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
goes_by_silence(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->messages == 1)
        e->result = outlet_set_framing(e->c, "idle:20ms", NULL);
}

static void
the_rest_behind_a_line_may_end_by_silence(void **state)
{
    static const struct does does = {.on_message = goes_by_silence};
    struct net n;
    struct server s = {.does = &does};
    struct end e = {0};
    struct end *p = &s.ends[0];

    (void)state;
    for (int split = 0; split < 2; split++) {
        net_open(&n, NULL);
        s = (struct server){.does = &does};
        e = (struct end){0};
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
        net_connect(&n, &e, NULL, "%s", s.at);
        if (split) { /* the line ends in what is held */
            assert_true(outlet_send(e.c, "up", 2) >= 0);
            UNTIL(&n, s.count && net_number(p->c, "bytes_in") == 2);
            assert_true(outlet_send(e.c, "grade\n\1\2\n", 9) >= 0);
        } else {
            assert_true(outlet_send(e.c, "upgrade\n\1\2\n", 11) >= 0);
        }
        UNTIL(&n, s.count && p->messages == 2);
        assert_int_equal(p->result, OUTLET_OK);
        assert_int_equal(p->sizes[0], 7);
        assert_int_equal(p->sizes[1], 3);
        assert_memory_equal(p->bytes, "upgrade\1\2\n", 10);
        assert_true(outlet_send(p->c, "", 0) == OUTLET_EINVAL); /* it would not be heard */
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_silence_ends_a_message),
    cmocka_unit_test(less_than_the_silence_ends_nothing),
    cmocka_unit_test(the_end_of_the_peer_ends_a_message),
    cmocka_unit_test(a_pause_is_no_silence),
    cmocka_unit_test(the_rest_behind_a_line_may_end_by_silence),
    cmocka_unit_test(a_message_over_max_ends_its_connection_before_it_takes_memory),
    cmocka_unit_test(a_long_length_alone_takes_no_memory),
    cmocka_unit_test(two_functions_can_be_a_framing),
    cmocka_unit_test(custom_without_functions_is_refused),
    cmocka_unit_test(bytes_behind_the_message_are_cut_the_new_way),
    cmocka_unit_test(an_unfinished_message_is_cut_anew),
};

NET_MAIN(tests)
