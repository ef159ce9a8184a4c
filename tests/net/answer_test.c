/*
 * answer_test.c - what is sent in on_message takes a short way out where it can: it must be told
 * from the long one by nothing but its speed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const streams[] = {"tcp", "unix", "pair"};
#define EACH_STREAM(i) for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)

/* One answer: s (send), v (sendv) or b (a shared buffer), of so many bytes. */
struct answer {
    char how;
    size_t len;
};

static const struct answer mixed[] = {
    {'s', 1},    {'s', 64},    {'v', 100},   {'s', 16383}, {'s', 16384}, {'s', 5},     {'b', 3000},
    {'s', 7},    {'s', 50},    {'s', 9},     {'s', 70000}, {'s', 2},     {'b', 10},    {'s', 12},
    {'s', 8000}, {'s', 16000}, {'s', 16000}, {'s', 16000}, {'s', 16000}, {'s', 16000}, {'s', 3}};
enum { MIXED = sizeof mixed / sizeof *mixed };

static int64_t
give(struct end *e, const struct answer *a, unsigned seed)
{
    uint8_t *bytes = malloc(a->len + 1);
    struct iovec pieces[2] = {{bytes, a->len / 2}, {bytes + a->len / 2, a->len - a->len / 2}};
    outlet_buf *b = NULL;
    int64_t result = 0;

    if (!bytes)
        abort();
    net_pattern(bytes, a->len, seed);
    if (a->how == 's')
        result = outlet_send(e->c, bytes, a->len);
    if (a->how == 'v')
        result = outlet_sendv(e->c, pieces, 2);
    if (a->how == 'b') {
        b = outlet_buf_copy(bytes, a->len);
        result = outlet_send_buf(e->c, b);
    }
    outlet_buf_unref(b);
    free(bytes);
    return result;
}

static void
give_all(struct end *e, outlet_msg *m)
{
    (void)m;
    for (int i = 0; i < MIXED; i++) {
        if (give(e, &mixed[i], (unsigned)i) < 0)
            e->result = -1;
    }
}

static void
answers_of_every_kind_keep_their_order(void **state)
{
    static const struct does gives = {.on_message = give_all};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &gives};
        struct end e = {0};
        size_t at = 0;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#frame=len:4be", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s#frame=len:4be", s.at);
        assert_true(outlet_send(e.c, "go", 2) >= 0);
        UNTIL(&n, e.messages == MIXED);
        assert_int_equal(s.ends[0].result, 0);
        for (int k = 0; k < MIXED; k++) {
            uint8_t *want = malloc(mixed[k].len);

            assert_non_null(want);
            net_pattern(want, mixed[k].len, (unsigned)k);
            assert_int_equal(e.sizes[k], mixed[k].len);
            assert_memory_equal(e.bytes + at, want, mixed[k].len);
            at += mixed[k].len;
            free(want);
        }
        assert_int_equal(net_number(s.ends[0].c, "messages_out"), MIXED);
        assert_int_equal(net_number(s.ends[0].c, "bytes_out"), (int64_t)at + 4 * MIXED);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- the end, right after an answer -----------------------------------------------------------
 */

static void
answer_and_close(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->results[15]++)
        return; /* the two bytes came apart */
    e->results[0] = outlet_send(e->c, "bye", 3);
    e->results[1] = outlet_close(e->c);
    e->results[2] = outlet_send(e->c, "more", 4);
}

static void
answer_and_end(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->results[15]++)
        return; /* the two bytes came apart */
    e->results[0] = outlet_send(e->c, "bye", 3);
    e->results[1] = outlet_end(e->c);
    e->results[2] = outlet_send(e->c, "more", 4);
}

static void
answer_and_abort(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->results[15]++)
        return; /* the two bytes came apart */
    e->results[0] = outlet_send(e->c, "bye", 3);
    e->results[1] = outlet_abort(e->c);
    e->results[2] = outlet_send(e->c, "more", 4);
}

static void
an_answer_leaves_before_the_end_that_follows_it(void **state)
{
    static const struct does ends[] = {{.on_message = answer_and_close},
                                       {.on_message = answer_and_end},
                                       {.on_message = answer_and_abort}};

    (void)state;
    for (size_t how = 0; how < 3; how++) {
        EACH_STREAM(i)
        {
            struct net n;
            struct server s = {.does = &ends[how]};
            struct end e = {0};

            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "%s", net_place(&n, streams[i]));
            net_connect(&n, &e, NULL, "%s", s.at);
            assert_true(outlet_send(e.c, "go", 2) >= 0);
            UNTIL(&n, e.closes && s.ends[0].closes);
            assert_int_equal(s.ends[0].results[0], 3);
            assert_int_equal(s.ends[0].results[1], OUTLET_OK);
            assert_int_equal(s.ends[0].results[2], OUTLET_ESTATE);
            if (how < 2) {
                assert_int_equal(e.len, 3);
                assert_memory_equal(e.bytes, "bye", 3);
                assert_int_equal(s.ends[0].why.code, OUTLET_OK);
            } else {
                assert_int_equal(s.ends[0].why.code, OUTLET_ECANCELED);
            }
            net_end_fini(&e);
            net_server_fini(&s);
            net_close(&n);
        }
    }
}

/* ---- what is told -----------------------------------------------------------------------------
 */

static void
answer_above_high(struct end *e, outlet_msg *m)
{
    uint8_t bytes[80] = {0};

    (void)m;
    if (e->results[15]++)
        return; /* the two bytes came apart */
    for (int i = 0; i < 3; i++) {
        e->results[2 * i] = outlet_send(e->c, bytes, sizeof bytes);
        e->results[2 * i + 1] = outlet_queued(e->c);
    }
}

static void
the_queue_is_told_and_writable_is_paid(void **state)
{
    static const struct does answers = {.on_message = answer_above_high};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &answers};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#high=200,low=100", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "go", 2) >= 0);
        UNTIL(&n, e.len == 240 && s.ends[0].writables);
        for (int k = 0; k < 3; k++) {
            /* What left meanwhile is not counted any more; what was just taken is. */
            assert_true(s.ends[0].results[2 * k] >= 80 && s.ends[0].results[2 * k] <= 80 * (k + 1));
            assert_int_equal(s.ends[0].results[2 * k], s.ends[0].results[2 * k + 1]);
        }
        assert_int_equal(s.ends[0].writables, 1);
        assert_int_equal(net_number(s.ends[0].c, "queued"), 0);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- more than the kernel takes ---------------------------------------------------------------
 */

enum { BLOCK = 8192, BLOCKS = 2048 };

static void
answer_with_blocks(struct end *e, outlet_msg *m)
{
    uint8_t bytes[BLOCK];

    (void)m;
    for (int i = 0; i < 8; i++) {
        net_pattern(bytes, sizeof bytes, (unsigned)e->results[0]);
        if (outlet_send(e->c, bytes, sizeof bytes) < 0)
            e->result = -1;
        e->results[0]++;
    }
}

static void
pause_it(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static void
what_the_kernel_does_not_take_follows_in_order(void **state)
{
    static const struct does answers = {.on_message = answer_with_blocks};
    static const struct does sleeps = {.on_open = pause_it};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &answers};
        struct end e = {.does = &sleeps};
        uint8_t want[BLOCK];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#cap=64M", net_place(&n, streams[i]));
        net_connect(&n, &e, NULL, "%s#frame=none", s.at);
        UNTIL(&n, e.opens);
        for (int k = 0; k < BLOCKS / 8; k++) {
            assert_true(outlet_send(e.c, "x", 1) >= 0);
            UNTIL(&n, s.count == 1 && s.ends[0].messages == (size_t)k + 1);
        }
        assert_true(net_number(s.ends[0].c, "queued") > 0);
        assert_int_equal(outlet_resume(e.c), OUTLET_OK);
        UNTIL(&n, e.len == (size_t)BLOCK * BLOCKS);
        assert_int_equal(s.ends[0].result, 0);
        for (int k = 0; k < BLOCKS; k++) {
            net_pattern(want, sizeof want, (unsigned)k);
            assert_memory_equal(e.bytes + (size_t)k * BLOCK, want, BLOCK);
        }
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- what came goes back ----------------------------------------------------------------------
 */

/* What a server has sent, by its own copy. */
struct ledger {
    uint32_t seed;
    uint8_t *bytes;
    size_t len;
};

enum { LEDGER = 32 << 20, ROUNDS = 150, PARTS_MAX = 6, SENT_MAX = 12000 };

static uint32_t
roll(struct ledger *l, uint32_t sides)
{
    l->seed = l->seed * 1664525 + 1013904223;
    return (l->seed >> 8) % sides;
}

static void
send_part(struct end *e, const uint8_t *at, size_t len, bool vectored)
{
    struct ledger *l = e->server->arg;
    struct iovec pieces[2] = {{(void *)(uintptr_t)at, len / 2},
                              {(void *)(uintptr_t)(at + len / 2), len - len / 2}};

    if (l->len + len > LEDGER)
        return;
    memcpy(l->bytes + l->len, at, len);
    l->len += len;
    if ((vectored ? outlet_sendv(e->c, pieces, 2) : outlet_send(e->c, at, len)) < 0)
        e->result = -1;
}

/* Of the message: all, the next part, any part; or bytes of our own.  All are other ones as soon as
 * they have been sent: a message's bytes may be written. */
static void
give_parts(struct end *e, outlet_msg *m)
{
    struct ledger *l = e->server->arg;
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);
    size_t next = 0;

    for (uint32_t n = 1 + roll(l, PARTS_MAX); n > 0; n--) {
        uint32_t what = roll(l, 8);
        size_t from = what < 4 ? next % len : what == 4 ? 0 : roll(l, (uint32_t)len);
        size_t part = what == 4 ? len : 1 + roll(l, (uint32_t)(len - from));
        uint8_t own[7];

        memset(own, (int)roll(l, 256), sizeof own);
        if (what < 7)
            send_part(e, bytes + from, part, what == 6);
        else
            send_part(e, own, sizeof own, false);
        memset(own, 0, sizeof own);
        memset(bytes + from, (int)n, part);
        next = from + part;
    }
}

static void
echo_parts(const char *scheme, uint32_t seed, bool paused)
{
    static const struct does gives = {.on_message = give_parts};
    static const struct does sleeps = {.on_open = pause_it};
    static uint8_t sent[SENT_MAX];
    struct ledger l = {.seed = seed, .bytes = malloc(LEDGER)};
    struct net n;
    struct server s = {.does = &gives, .arg = &l, .forget = true};
    struct end e = {.does = paused ? &sleeps : NULL};
    size_t came = 0;

    assert_non_null(l.bytes);
    net_pattern(sent, sizeof sent, seed);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#cap=64M", net_place(&n, scheme));
    net_connect(&n, &e, NULL, "%s#frame=none", s.at);
    UNTIL(&n, e.opens);
    /* A paused one: on until the kernel takes no more. */
    for (int k = 0;
         k < ROUNDS || (paused && l.len < LEDGER / 2 && net_number(s.ends[0].c, "queued") == 0);
         k++) {
        size_t len = 1 + (size_t)(k * 79) % sizeof sent;

        assert_true(outlet_send(e.c, sent, len) >= 0);
        came += len;
        UNTIL(&n, s.count == 1 && s.ends[0].len == came);
    }
    if (paused) {
        assert_true(net_number(s.ends[0].c, "queued") > 0);
        assert_int_equal(outlet_resume(e.c), OUTLET_OK);
    }
    UNTIL(&n, e.len == l.len);
    assert_int_equal(s.ends[0].result, 0);
    assert_true(l.len < LEDGER && l.len > came);
    assert_memory_equal(e.bytes, l.bytes, l.len);
    assert_int_equal(net_number(s.ends[0].c, "bytes_out"), (int64_t)l.len);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
    free(l.bytes);
}

/* They lie in memory that stays until the delivery ends, so they seem to need no copy. */
static void
parts_of_what_came_go_back_in_any_order(void **state)
{
    (void)state;
    EACH_STREAM(i)
    {
        for (uint32_t seed = 1; seed < 4; seed++) {
            echo_parts(streams[i], seed, false);
            echo_parts(streams[i], seed, true);
        }
    }
}

/* ---- a framing that counts --------------------------------------------------------------------
 */

static int
split_byte(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame, size_t *need)
{
    (void)user;
    (void)bytes;
    (void)need;
    *frame = (struct outlet_frame){.message = len};
    return 1;
}

static int
wrap_with_number(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
                 uint8_t *tail, size_t *tail_len)
{
    uint8_t *count = user;

    (void)bytes;
    (void)len;
    head[0] = (*count)++;
    *head_len = 1;
    tail[0] = 0xff;
    *tail_len = 1;
    return 0;
}

static void
answer_until_full(struct end *e, outlet_msg *m)
{
    static const uint8_t zeros[1000];

    (void)m;
    for (int i = 0; i < 100; i++) {
        if (outlet_send(e->c, zeros, sizeof zeros) < 0)
            e->result = -1;
    }
}

static void
each_message_is_wrapped_once(void **state)
{
    static const struct does answers = {.on_message = answer_until_full};
    uint8_t count = 0;
    struct outlet_framing custom = {sizeof custom, &count, split_byte, wrap_with_number};
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    struct server s = {.does = &answers};
    struct end e = {0};

    (void)state;
    opts.framing = &custom;
    net_open(&n, NULL);
    net_listen(&n, &s, &opts, "tcp://127.0.0.1:0#frame=custom");
    net_connect(&n, &e, NULL, "%s#frame=none", s.at);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.len == 100 * 1002);
    assert_int_equal(count, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(e.bytes[i * 1002], i);
        assert_int_equal(e.bytes[i * 1002 + 1001], 0xff);
    }
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- framings ------------------------------------------------------------------------------ */

static const struct {
    const char *text;
    size_t most;
} framings[] = {{"frame=len:1", 255},
                {"frame=len:2be", SIZE_MAX},
                {"frame=len:2le", SIZE_MAX},
                {"frame=len:3be", SIZE_MAX},
                {"frame=len:3le", SIZE_MAX},
                {"frame=len:4be", SIZE_MAX},
                {"frame=len:4le", SIZE_MAX},
                {"frame=len:8be", SIZE_MAX},
                {"frame=len:8le", SIZE_MAX},
                {"frame=len:4be,max=200", 200},
                {"frame=len:4be@2", SIZE_MAX},
                {"frame=varint", SIZE_MAX},
                {"frame=line", SIZE_MAX},
                {"frame=delim:%7C%7C", SIZE_MAX},
                {"frame=between:%5B..%5D", SIZE_MAX},
                {"frame=hp:7", SIZE_MAX}};

static const size_t lengths[] = {1, 127, 128, 200, 201, 255, 256, 9000, 2};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static void
answer_lengths(struct end *e, outlet_msg *m)
{
    static uint8_t bytes[9000];

    (void)m;
    for (int i = 0; i < LENGTHS; i++) {
        memset(bytes, 'a' + i, lengths[i]);
        e->results[i] = (int)outlet_send(e->c, bytes, lengths[i]);
    }
}

/* What cannot be said is refused, and nothing of it stands before the next one. */
static void
messages_of_every_framing_go_by_themselves(void **state)
{
    static const struct does answers = {.on_message = answer_lengths};

    (void)state;
    for (size_t f = 0; f < sizeof framings / sizeof *framings; f++) {
        struct net n;
        struct server s = {.does = &answers};
        struct end e = {0};
        size_t at = 0;
        int fit = 0;

        for (int i = 0; i < LENGTHS; i++)
            fit += lengths[i] <= framings[f].most ? 1 : 0;
        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#%s", framings[f].text);
        net_connect(&n, &e, NULL, "%s#%s", s.at, framings[f].text);
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, (int)e.messages == fit);
        for (int i = 0, k = 0; i < LENGTHS; i++) {
            if (lengths[i] > framings[f].most) {
                assert_int_equal(s.ends[0].results[i], OUTLET_EMSGSIZE);
                continue;
            }
            assert_true(s.ends[0].results[i] > 0);
            assert_int_equal(e.sizes[k++], lengths[i]);
            for (size_t b = 0; b < lengths[i]; b++)
                assert_int_equal(e.bytes[at + b], 'a' + i);
            at += lengths[i];
        }
        assert_int_equal(net_number(s.ends[0].c, "messages_out"), fit);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
answer_in_three_framings(struct end *e, outlet_msg *m)
{
    (void)m;
    e->results[0] = (int)outlet_send(e->c, "one", 3);
    e->results[1] = outlet_set_framing(e->c, "len:2be", NULL);
    e->results[2] = (int)outlet_send(e->c, "two", 3);
    e->results[3] = outlet_set_framing(e->c, "none", NULL);
    e->results[4] = (int)outlet_send(e->c, "three", 5);
}

static void
each_answer_has_the_framing_of_its_time(void **state)
{
    static const struct does answers = {.on_message = answer_in_three_framings};
    struct net n;
    struct server s = {.does = &answers};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s#frame=none", s.at);
    assert_true(outlet_send(e.c, "go\n", 3) >= 0);
    UNTIL(&n, e.len == 4 + 5 + 5);
    assert_memory_equal(e.bytes, "one\n\0\3twothree", 14);
    for (int i = 0; i < 5; i++)
        assert_true(s.ends[0].results[i] >= 0);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

/* ---- others -----------------------------------------------------------------------------------
 */

static void
answer_to_all(struct end *e, outlet_msg *m)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    for (int i = 0; i < e->server->count; i++) {
        if (outlet_send(e->server->ends[i].c, bytes, len) < 0)
            e->result = -1;
    }
    if (outlet_send(e->c, "!", 1) < 0)
        e->result = -1;
}

static void
others_are_reached_from_the_same_callback(void **state)
{
    static const struct does answers = {.on_message = answer_to_all};

    (void)state;
    EACH_STREAM(i)
    {
        struct net n;
        struct server s = {.does = &answers};
        struct end e[3] = {{0}};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#frame=line", net_place(&n, streams[i]));
        for (int k = 0; k < 3; k++) {
            net_connect(&n, &e[k], NULL, "%s#frame=line", s.at);
        }
        UNTIL(&n, s.count == 3);
        for (int k = 0; k < 3; k++) {
            assert_true(outlet_send(e[k].c, "abc", (size_t)k + 1) >= 0);
        }
        UNTIL(&n, e[0].messages == 4 && e[1].messages == 4 && e[2].messages == 4);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(e[k].len, 1 + 2 + 3 + 1);
            assert_int_equal(s.ends[k].result, 0);
            net_end_fini(&e[k]);
        }
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- datagrams --------------------------------------------------------------------------------
 */

static const size_t dgrams[] = {64,  64,   64,   10,   64,  64, 1400, 1400, 1401, 1401, 8000, 1,
                                100, 1400, 1300, 1300, 200, 64, 64,   64,   63,   65,   65};
enum { DGRAMS = sizeof dgrams / sizeof *dgrams, SAME = 150 };

static void
answer_with_dgrams(struct end *e, outlet_msg *m)
{
    uint8_t bytes[8000];

    (void)m;
    for (int i = 0; i < SAME + DGRAMS; i++) {
        size_t len = i < SAME ? 30 : dgrams[i - SAME];

        net_pattern(bytes, len, (unsigned)i);
        if (outlet_send(e->c, bytes, len) < 0)
            e->result = -1;
    }
}

static void
datagrams_of_any_sizes_arrive_as_they_were_sent(void **state)
{
    static const struct does answers = {.on_message = answer_with_dgrams};
    struct net n;
    struct server s = {.does = &answers};
    struct end e[2] = {{0}};
    uint8_t want[8000];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    for (int k = 0; k < 2; k++) {
        net_connect(&n, &e[k], NULL, "%s", s.at);
        assert_true(outlet_send(e[k].c, "go", 2) >= 0);
    }
    UNTIL(&n, e[0].messages == SAME + DGRAMS && e[1].messages == SAME + DGRAMS);
    for (int k = 0; k < 2; k++) {
        size_t at = 0;

        for (int i = 0; i < SAME + DGRAMS; i++) {
            size_t len = i < SAME ? 30 : dgrams[i - SAME];

            net_pattern(want, len, (unsigned)i);
            assert_int_equal(e[k].sizes[i], len);
            assert_memory_equal(e[k].bytes + at, want, len);
            at += len;
        }
        assert_int_equal(s.ends[k].result, 0);
        assert_int_equal(net_number(s.ends[k].c, "messages_out"), SAME + DGRAMS);
        assert_int_equal(net_number(s.ends[k].c, "bytes_out"), (int64_t)at);
        assert_int_equal(net_number(s.ends[k].c, "queued"), 0);
        net_end_fini(&e[k]);
    }
    net_server_fini(&s);
    net_close(&n);
}

static void
answer_and_close_dgram(struct end *e, outlet_msg *m)
{
    (void)m;
    for (int i = 0; i < 5; i++) {
        e->results[i] = outlet_send(e->c, "bye", 3);
    }
    e->results[5] = outlet_close(e->c);
    e->results[6] = outlet_send(e->c, "more", 4);
}

static void
a_train_leaves_before_its_connection_closes(void **state)
{
    static const struct does answers = {.on_message = answer_and_close_dgram};
    struct net n;
    struct server s = {.does = &answers};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "go", 2) >= 0);
    UNTIL(&n, e.messages == 5 && s.ends[0].closes);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(s.ends[0].results[i], 3 * (i + 1));
    }
    assert_int_equal(s.ends[0].results[5], OUTLET_OK);
    assert_int_equal(s.ends[0].results[6], OUTLET_ESTATE);
    assert_int_equal(s.ends[0].why.code, OUTLET_OK);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
answer_around_max(struct end *e, outlet_msg *m)
{
    static const uint8_t zeros[101];

    (void)m;
    e->results[0] = (int)outlet_send(e->c, zeros, 100);
    e->results[1] = (int)outlet_send(e->c, zeros, 101);
    e->results[2] = (int)outlet_send(e->c, zeros, 100);
}

static void
a_train_takes_nothing_above_max(void **state)
{
    static const struct does answers = {.on_message = answer_around_max};
    struct net n;
    struct server s = {.does = &answers};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#max=100");
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "go", 2) >= 0);
    UNTIL(&n, e.messages == 2);
    assert_int_equal(s.ends[0].results[0], 100);
    assert_int_equal(s.ends[0].results[1], OUTLET_EMSGSIZE);
    assert_true(s.ends[0].results[2] >= 100);
    assert_int_equal(e.len, 200);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(answers_of_every_kind_keep_their_order),
    cmocka_unit_test(an_answer_leaves_before_the_end_that_follows_it),
    cmocka_unit_test(the_queue_is_told_and_writable_is_paid),
    cmocka_unit_test(what_the_kernel_does_not_take_follows_in_order),
    cmocka_unit_test(parts_of_what_came_go_back_in_any_order),
    cmocka_unit_test(each_message_is_wrapped_once),
    cmocka_unit_test(messages_of_every_framing_go_by_themselves),
    cmocka_unit_test(each_answer_has_the_framing_of_its_time),
    cmocka_unit_test(others_are_reached_from_the_same_callback),
    cmocka_unit_test(datagrams_of_any_sizes_arrive_as_they_were_sent),
    cmocka_unit_test(a_train_leaves_before_its_connection_closes),
    cmocka_unit_test(a_train_takes_nothing_above_max),
};

NET_MAIN(tests)
