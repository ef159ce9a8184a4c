/*
 * send_test.c - what is sent arrives whole, once and in order, whichever way it takes: copied,
 * gathered, shared, or straight to the kernel.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const streams[] = {"tcp", "unix", "pair"};
#define EACH_STREAM(i) for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)

enum { MIB = 1 << 20 };

static void
pause_it(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static const struct does sleepy = {.on_open = pause_it};

/* ---- sizes -------------------------------------------------------------------------------------
 */

static const size_t sizes[] = {0,     1,     15,    1023,   1024,  1025,    8191,  8192,
                               16380, 16383, 16384, 16385,  65535, 65536,   65537, 100,
                               0,     1000,  20000, 300000, 3,     1048576, 7,     40000};
enum { SIZES = sizeof sizes / sizeof *sizes };

struct sending {
    struct end *e;
    int how; /* 0: send, 1: sendv, 2: send_buf, 3: all in turn */
    bool failed;
};

/* Message i is the pattern of seed i. */
static void
send_all_sizes(void *arg)
{
    struct sending *s = arg;

    for (size_t i = 0; i < SIZES; i++) {
        size_t len = sizes[i];
        uint8_t *bytes = malloc(len + 1);
        int how = s->how == 3 ? (int)(i % 3) : s->how;
        int64_t result;

        if (!bytes)
            abort();
        net_pattern(bytes, len, (unsigned)i);
        if (how == 0) {
            result = outlet_send(s->e->c, bytes, len);
        } else if (how == 1) {
            struct iovec pieces[3] = {
                {bytes, len / 3}, {bytes + len / 3, 0}, {bytes + len / 3, len - len / 3}};

            result = outlet_sendv(s->e->c, pieces, 3);
        } else {
            outlet_buf *b = outlet_buf_copy(bytes, len);

            result = outlet_send_buf(s->e->c, b);
            outlet_buf_unref(b);
        }
        s->failed = s->failed || result < 0;
        free(bytes);
    }
}

static bool
all_sizes_came(const struct end *e)
{
    size_t at = 0;

    for (size_t i = 0; i < SIZES; i++) {
        uint8_t *want = malloc(sizes[i] + 1);
        bool same;

        if (!want)
            abort();
        net_pattern(want, sizes[i], (unsigned)i);
        same = e->sizes[i] == sizes[i] && memcmp(e->bytes + at, want, sizes[i]) == 0;
        free(want);
        if (!same)
            return false;
        at += sizes[i];
    }
    return e->messages == SIZES;
}

static void
every_size_arrives_in_order_by_every_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        for (int how = 0; how < 4; how++) {
            for (int on_reactor = 0; on_reactor < 2; on_reactor++) {
                for (int slow = 0; slow < 2; slow++) {
                    struct net n;
                    struct server s = {.does = slow ? &sleepy : NULL};
                    struct end e = {0};
                    struct sending sending = {&e, how, false};

                    net_open(&n, NULL);
                    net_listen(&n, &s, NULL, "%s#frame=len:4be", net_place(&n, streams[i]));
                    net_connect(&n, &e, NULL, "%s#frame=len:4be", s.at);
                    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
                    if (on_reactor)
                        net_do(&n, send_all_sizes, &sending);
                    else
                        send_all_sizes(&sending);
                    assert_false(sending.failed);
                    if (slow) {
                        net_run_ms(&n, 2);
                        assert_int_equal(s.ends[0].messages, 0);
                        assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
                    }
                    UNTIL(&n, s.ends[0].messages >= SIZES || e.closes);
                    assert_true(all_sizes_came(&s.ends[0]));
                    assert_int_equal(outlet_queued(e.c), 0);
                    assert_int_equal(net_number(e.c, "messages_out"), SIZES);
                    assert_int_equal(net_number(s.ends[0].c, "messages_in"), SIZES);
                    assert_int_equal(net_number(e.c, "bytes_out"),
                                     net_number(s.ends[0].c, "bytes_in"));
                    assert_int_equal(net_number(e.c, "bytes_out"),
                                     (int64_t)s.ends[0].len + 4 * SIZES);
                    net_server_fini(&s);
                    net_close(&n);
                }
            }
        }
    }
}

/* ---- pieces
 * -------------------------------------------------------------------------------------- */

static void
send_pieces(struct end *e)
{
    static const int counts[] = {0, 1, 15, 16, 17, 1024, 1025, -1};
    static uint8_t bytes[1025];
    struct iovec pieces[1025];

    net_pattern(bytes, sizeof bytes, 5);
    for (int i = 0; i < 1025; i++) {
        pieces[i] = (struct iovec){bytes + i, 1};
    }
    for (size_t i = 0; i < 8; i++) {
        e->results[i] = outlet_sendv(e->c, pieces, counts[i]);
    }
    e->results[8] = outlet_sendv(e->c, NULL, 1);
    e->results[9] = outlet_sendv(e->c, NULL, 0);
}

static void
up_to_1024_pieces_make_one_message(void **state)
{
    static const struct does sends = {.on_open = send_pieces};
    uint8_t want[1024];

    (void)state;
    net_pattern(want, sizeof want, 5);
    for (int outside = 0; outside < 2; outside++) {
        struct net n;
        struct server s = {0};
        struct end e = {.does = outside ? NULL : &sends};
        struct end *p = &s.ends[0];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=varint");
        net_connect(&n, &e, NULL, "%s#frame=varint", s.at);
        if (outside)
            send_pieces(&e);
        UNTIL(&n, s.count && p->messages == 7);
        for (int i = 0; i < 6; i++) {
            assert_true(e.results[i] > 0);
        }
        assert_int_equal(e.results[6], OUTLET_EINVAL);
        assert_int_equal(e.results[7], OUTLET_EINVAL);
        assert_int_equal(e.results[8], OUTLET_EINVAL);
        assert_true(e.results[9] > 0);
        assert_int_equal(p->sizes[0], 0);
        assert_int_equal(p->sizes[1], 1);
        assert_int_equal(p->sizes[2], 15);
        assert_int_equal(p->sizes[3], 16);
        assert_int_equal(p->sizes[4], 17);
        assert_int_equal(p->sizes[5], 1024);
        assert_int_equal(p->sizes[6], 0);
        assert_memory_equal(p->bytes + 1 + 15 + 16 + 17, want, 1024);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- shared buffers
 * -------------------------------------------------------------------------------- */

static void
note_release(void *bytes, void *arg)
{
    (void)bytes;
    ++*(int *)arg;
}

static void
a_shared_buffer_is_released_when_the_last_one_has_it(void **state)
{
    static uint8_t bytes[3 * MIB];
    struct net n;
    struct server s = {.does = &sleepy};
    struct end e[3] = {{0}};
    int released = 0;
    int64_t before;
    outlet_buf *b;

    (void)state;
    net_pattern(bytes, sizeof bytes, 1);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#frame=len:4be,max=4M", net_place(&n, "abstract"));
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s#frame=%s,max=4M", s.at, i ? "len:4be" : "varint");
    }
    UNTIL(&n, s.count == 3 && s.ends[0].opens && s.ends[1].opens && s.ends[2].opens && e[0].opens &&
                  e[1].opens && e[2].opens);
    b = outlet_buf_wrap(bytes, sizeof bytes, note_release, &released);
    assert_non_null(b);
    before = failing_heap_bytes(&n.heap);
    for (int i = 0; i < 3; i++) {
        assert_true(outlet_send_buf(e[i].c, b) > (int64_t)sizeof bytes);
    }
    net_run_ms(&n, 2);
    assert_in_range(failing_heap_bytes(&n.heap) - before, 0, 8 * MIB); /* not three copies */
    outlet_buf_unref(b);
    assert_int_equal(released, 0);
    assert_int_equal(outlet_abort(e[0].c), OUTLET_OK);
    UNTIL(&n, e[0].closes);
    assert_int_equal(released, 0);
    for (int i = 0; i < 3; i++) {
        (void)outlet_resume(s.ends[i].c); /* one of them may be gone */
    }
    UNTIL(&n, s.ends[0].messages + s.ends[1].messages + s.ends[2].messages == 2);
    UNTIL(&n, released == 1);
    for (int i = 0; i < 3; i++) {
        if (s.ends[i].messages)
            assert_memory_equal(s.ends[i].bytes, bytes, sizeof bytes);
    }
    net_server_fini(&s);
    net_close(&n);
    assert_int_equal(released, 1);
}

static void
a_buffer_that_never_left_is_released_with_its_connection(void **state)
{
    static uint8_t bytes[MIB];
    (void)state;
    for (int stop = 0; stop < 3; stop++) {
        struct net n;
        struct server s = {.does = &sleepy};
        struct end e = {0};
        int released = 0;
        outlet_buf *b = outlet_buf_wrap(bytes, sizeof bytes, note_release, &released);

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "unix:@outlet-send-test");
        net_connect(&n, &e, NULL, "%s", s.at);
        if (stop < 2)
            UNTIL(&n, e.opens && s.count);
        for (int i = 0; i < 8; i++) {
            assert_true(outlet_send_buf(e.c, b) > 0);
        }
        outlet_buf_unref(b);
        if (stop == 1)
            assert_int_equal(outlet_abort(e.c), OUTLET_OK);
        if (stop == 1)
            UNTIL(&n, released == 1);
        net_close(&n); /* also with the sends still in the mail */
        assert_int_equal(released, 1);
        assert_int_equal(e.closes, 1);
    }
}

/* ---- refused
 * ------------------------------------------------------------------------------------------ */

static void
what_cannot_be_carried_is_refused_whole(void **state)
{
    static uint8_t bytes[70000];
    static const struct {
        const char *frame;
        const char *bytes;
        size_t len;
        int64_t want;
    } cases[] = {{"line", "a\nb", 3, OUTLET_EINVAL},
                 {"line", "a\r", 2, OUTLET_EINVAL},
                 {"line,max=5", "123456", 6, OUTLET_EMSGSIZE},
                 {"fixed:4", "123", 3, OUTLET_EINVAL},
                 {"delim:ab", "cabc", 4, OUTLET_EINVAL},
                 {"len:1", NULL, 256, OUTLET_EMSGSIZE},
                 {"len:2be", NULL, 65536, OUTLET_EMSGSIZE},
                 {"hp:123", "", 0, OUTLET_EINVAL},
                 {"len:4be,max=10,cap=13,high=13,low=13", "0123456789", 10, OUTLET_EMSGSIZE}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net n;
        struct end a = {0};
        struct end b = {0};
        char url[64];
        const void *what = cases[i].bytes ? (const void *)cases[i].bytes : bytes;

        snprintf(url, sizeof url, "pair:#frame=%s", cases[i].frame);
        net_open(&n, NULL);
        net_pair(&n, &a, &b, url);
        UNTIL(&n, a.opens && b.opens);
        if (outlet_send(a.c, what, cases[i].len) != cases[i].want)
            print_error("%s\n", cases[i].frame);
        assert_int_equal(outlet_send(a.c, what, cases[i].len), cases[i].want);
        assert_int_equal(outlet_queued(a.c), 0);
        assert_int_equal(outlet_send(a.c, NULL, 3), OUTLET_EINVAL);
        assert_int_equal(outlet_send_buf(a.c, NULL), OUTLET_EINVAL);
        net_run_ms(&n, 1);
        assert_int_equal(b.messages, 0);
        assert_int_equal(net_number(a.c, "messages_out"), 0);
        net_close(&n);
    }
}

static void
nothing_is_no_message_on_a_stream_without_borders(void **state)
{
    struct net n;
    struct end a = {0};
    struct end b = {0};

    (void)state;
    net_open(&n, NULL);
    net_pair(&n, &a, &b, "pair:");
    UNTIL(&n, a.opens && b.opens);
    assert_int_equal(outlet_send(a.c, NULL, 0), 0);
    assert_int_equal(outlet_send(a.c, "x", 1), 1);
    UNTIL(&n, b.len == 1);
    assert_int_equal(b.messages, 1);
    net_end_fini(&b);
    net_close(&n);
}

/* What one turn sends leaves together: many small messages, few writes. */
static void
send_hundred(struct end *e)
{
    for (int i = 0; i < 100; i++) {
        e->result = outlet_send(e->c, "0123456789", 10);
    }
}

static void
what_one_turn_sends_leaves_together(void **state)
{
    static const struct does sends = {.on_open = send_hundred};
    struct net n;
    struct server s = {0};
    struct end e = {.does = &sends};

    (void)state;
    if (net_is_sim())
        skip(); /* it slices at random */
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, s.count && s.ends[0].len == 1000);
    assert_int_equal(s.ends[0].messages, 1);
    assert_int_equal(e.result, 1000);
    net_server_fini(&s);
    net_close(&n);
}

/* When the mail is run, the queue itself need not stand as high as the sender was told. */
static void
who_posted_and_was_told_of_a_full_queue_hears_of_room(void **state)
{
    static const uint8_t bytes[600];
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s#high=1000,low=100", s.at);
    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
    assert_int_equal(e.writables, 0);
    assert_true(outlet_send(e.c, bytes, sizeof bytes) <= 1000);
    assert_true(outlet_send(e.c, bytes, sizeof bytes) > 1000);
    UNTIL(&n, e.writables && s.ends[0].len == 2 * sizeof bytes);
    net_server_fini(&s);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_size_arrives_in_order_by_every_way),
    cmocka_unit_test(up_to_1024_pieces_make_one_message),
    cmocka_unit_test(a_shared_buffer_is_released_when_the_last_one_has_it),
    cmocka_unit_test(a_buffer_that_never_left_is_released_with_its_connection),
    cmocka_unit_test(what_cannot_be_carried_is_refused_whole),
    cmocka_unit_test(nothing_is_no_message_on_a_stream_without_borders),
    cmocka_unit_test(what_one_turn_sends_leaves_together),
    cmocka_unit_test(who_posted_and_was_told_of_a_full_queue_hears_of_room),
};

NET_MAIN(tests)
