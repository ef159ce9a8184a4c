/*
 * keep_test.c - received messages: written in place, and kept after their callback.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <ctype.h>
#include <stdlib.h>

enum { MIB = 1 << 20, KEEPS = 512, SMALL = 2000, LARGE = 40000 };

/* What was kept, and what it was when it came. */
struct kept {
    outlet_buf *buf;
    uint8_t *copy;
    size_t len;
    bool same_place;
};

struct keeper {
    struct kept kept[KEEPS];
    size_t count;
    bool failed;
};

static void
keep_it(struct end *e, outlet_msg *m)
{
    struct keeper *k = e->arg;
    struct kept *at = &k->kept[k->count];
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);
    size_t kept_len;

    if (k->count == KEEPS) {
        k->failed = true;
        return;
    }
    k->count++;
    at->len = len;
    at->copy = malloc(len + 1);
    at->buf = outlet_msg_retain(m);
    if (!at->copy || !at->buf) {
        k->failed = true;
        return;
    }
    memcpy(at->copy, bytes, len);
    at->same_place = outlet_buf_data(at->buf, &kept_len) == bytes;
    k->failed = k->failed || kept_len != len;
    if (k->count % 3 == 0) { /* a second reference, gone at once */
        outlet_buf *again = outlet_msg_retain(m);

        k->failed = k->failed || !again;
        outlet_buf_unref(again);
    }
    if (k->count % 5 == 0) { /* dropped at once: the message must stay readable */
        outlet_buf_unref(at->buf);
        k->failed = k->failed || memcmp(bytes, at->copy, len) != 0;
        at->buf = NULL;
    }
}

static void
check_and_drop(struct keeper *k)
{
    assert_false(k->failed);
    for (size_t i = 0; i < k->count; i++) {
        struct kept *at = &k->kept[i];

        if (at->buf)
            assert_memory_equal(outlet_buf_data(at->buf, NULL), at->copy, at->len);
        outlet_buf_unref(at->buf);
        free(at->copy);
    }
}

static const struct does keeps = {.on_message = keep_it};

static void
send_message(struct end *e, size_t len, unsigned seed)
{
    uint8_t *bytes = malloc(len + 1);

    assert_non_null(bytes);
    net_pattern(bytes, len, seed);
    assert_true(outlet_send(e->c, bytes, len) >= 0);
    free(bytes);
}

static void
kept_messages_outlive_their_connection_and_their_loop(void **state)
{
    static const size_t sizes[] = {0,     4,      100, 1000, 5000,  17000,
                                   65000, 200000, MIB, 3,    70000, 70000};
    static const char *const frames[] = {"len:4be", "varint", "between:%02..%03%04%05%06"};
    (void)state;
    for (size_t f = 0; f < sizeof frames / sizeof *frames; f++) {
        struct net n;
        struct keeper k = {0};
        struct server s = {.does = &keeps, .arg = &k};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=%s", frames[f]);
        net_connect(&n, &e, NULL, "%s#frame=%s", s.at, frames[f]);
        for (int round = 0; round < 4; round++) {
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                send_message(&e, sizes[i], (unsigned)i);
            }
        }
        UNTIL(&n, k.count == 4 * sizeof sizes / sizeof *sizes);
        assert_int_equal(outlet_close(e.c), OUTLET_OK);
        UNTIL(&n, e.closes && s.ends[0].closes);
        net_free_loops(&n);
        check_and_drop(&k);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* The quarter rule, both ways that bytes are lent: by the driver, and from held input. */
static void
large_messages_are_kept_without_a_copy_and_small_ones_with(void **state)
{
    struct net n;
    struct keeper k = {0};
    struct server s = {.does = &keeps, .arg = &k};
    struct end e = {0};
    int large = 0;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=len:4be");
    net_connect(&n, &e, NULL, "%s#frame=len:4be", s.at);
    UNTIL(&n, e.opens && s.count);
    for (int i = 0; i < 40; i++) {
        size_t before = k.count;

        send_message(&e, i % 2 ? SMALL : i < 20 ? LARGE : MIB, (unsigned)i);
        UNTIL(&n, k.count == before + 1);
    }
    for (size_t i = 0; i < k.count; i++) {
        if (k.kept[i].len >= LARGE)
            large += k.kept[i].same_place;
        else if (k.kept[i].len <= SMALL && !net_is_sim()) /* in pieces, held input is small, too */
            assert_false(k.kept[i].same_place);
    }
    assert_int_equal(large, 20);
    net_free_loops(&n);
    check_and_drop(&k);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- in place
 * -------------------------------------------------------------------------------------- */

static void
shout(struct end *e, outlet_msg *m)
{
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)toupper(bytes[i]);
    }
    e->result = outlet_send(e->c, bytes, len);
}

static void
a_message_may_be_written_in_place(void **state)
{
    static const struct does shouts = {.on_message = shout};
    static const char *const frames[] = {"line", "len:2be", "fixed:6", "delim:;;"};
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        struct net n;
        struct server s = {.does = &shouts};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=%s", frames[f]);
        net_connect(&n, &e, NULL, "%s#frame=%s", s.at, frames[f]);
        for (int i = 0; i < 200; i++) {
            assert_true(outlet_send(e.c, i % 2 ? "abcdef" : "ghijkl", 6) >= 0);
        }
        UNTIL(&n, e.messages == 200);
        for (size_t i = 0; i < 200; i++) {
            assert_memory_equal(e.bytes + 6 * i, i % 2 ? "ABCDEF" : "GHIJKL", 6);
        }
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
a_kept_message_can_be_sent_on(void **state)
{
    struct net n;
    struct keeper k = {0};
    struct server s = {.does = &keeps, .arg = &k};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=len:4be");
    net_connect(&n, &e, NULL, "%s#frame=len:4be", s.at);
    send_message(&e, 500000, 1);
    send_message(&e, 10, 2);
    UNTIL(&n, k.count == 2);
    assert_true(outlet_send_buf(s.ends[0].c, k.kept[0].buf) > 0);
    assert_true(outlet_send_buf(s.ends[0].c, k.kept[1].buf) > 0);
    UNTIL(&n, e.messages == 2);
    assert_memory_equal(e.bytes, k.kept[0].copy, 500000);
    assert_memory_equal(e.bytes + 500000, k.kept[1].copy, 10);
    net_end_fini(&e);
    net_free_loops(&n);
    check_and_drop(&k);
    net_server_fini(&s);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(kept_messages_outlive_their_connection_and_their_loop),
    cmocka_unit_test(large_messages_are_kept_without_a_copy_and_small_ones_with),
    cmocka_unit_test(a_message_may_be_written_in_place),
    cmocka_unit_test(a_kept_message_can_be_sent_on),
};

NET_MAIN(tests)
