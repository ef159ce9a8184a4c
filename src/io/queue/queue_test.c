/*
 * queue_test.c - the queue against a plain array of bytes.
 *
 * The model keeps every message as bytes in order; the queue must show the same bytes, keep pieces
 * that are out where they are, drop whole messages only, and charge for what it holds.
 *
 * OUTLET_TEST_RUNS: how many random lives are tried.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MODEL_BYTES = 1 << 21, MODEL_MESSAGES = 4096, GATHER = 1024 };

/* What should be in the queue. */
struct model {
    uint8_t bytes[MODEL_BYTES];
    size_t len[MODEL_MESSAGES]; /* of each message, what has not left yet */
    size_t first;
    size_t count;
    size_t start; /* of the first message in bytes */
    size_t end;
    bool begun;
    size_t out; /* messages that were there when the queue was held */
};

struct world {
    struct failing_heap f;
    struct ol_budget *budget;
    struct ol_share share;
    struct ol_store store;
};

static struct model m; /* two megabytes: too much for a stack */

static void
world_open(struct world *w)
{
    failing_heap_init(&w->f, 0);
    w->budget = ol_budget_new(&w->f.heap, INT64_MAX);
    assert_non_null(w->budget);
    ol_share_init(&w->share, w->budget);
    ol_store_init(&w->store, &w->share, &w->f.heap);
}

/* Nothing is charged or allocated when all is over. */
static void
world_close(struct world *w)
{
    assert_int_equal(w->share.used, 0);
    ol_store_fini(&w->store);
    ol_share_fini(&w->share);
    assert_int_equal(atomic_load(&w->budget->used), 0);
    ol_budget_unref(w->budget);
    assert_int_equal(failing_heap_live(&w->f), 0);
}

static void
model_reset(void)
{
    m.first = m.count = m.start = m.end = m.out = 0;
    m.begun = false;
}

static size_t
model_total(void)
{
    return m.end - m.start;
}

static void
model_add(const uint8_t *bytes, size_t len)
{
    assert_true(m.end + len <= MODEL_BYTES && m.first + m.count < MODEL_MESSAGES);
    if (len)
        memcpy(m.bytes + m.end, bytes, len);
    m.end += len;
    m.len[m.first + m.count++] = len;
}

static void
model_taken(size_t n)
{
    m.start += n;
    while (m.count) {
        size_t *len = &m.len[m.first];

        if (*len > n) {
            *len -= n;
            if (n)
                m.begun = true;
            return;
        }
        n -= *len;
        m.first++;
        m.count--;
        m.begun = false;
        if (m.out)
            m.out--;
    }
}

static size_t
model_drop_oldest(size_t need, size_t cap)
{
    size_t keep = m.out > (m.begun ? 1 : 0) ? m.out : (m.begun ? 1 : 0);
    size_t at = m.start;
    size_t dropped = 0;
    size_t gone = 0;

    for (size_t i = 0; i < keep; i++) {
        at += m.len[m.first + i];
    }
    if (at - m.start + need > cap)
        return 0; /* nothing in vain */
    while (model_total() - gone + need > cap && keep + dropped < m.count) {
        gone += m.len[m.first + keep + dropped];
        dropped++;
    }
    memmove(m.bytes + at, m.bytes + at + gone, m.end - at - gone);
    m.end -= gone;
    memmove(&m.len[m.first + keep], &m.len[m.first + keep + dropped],
            (m.count - keep - dropped) * sizeof m.len[0]);
    m.count -= dropped;
    return dropped;
}

/* All of the queue, read as the kernel would. */
static bool
same_as_model(struct ol_queue *q)
{
    static struct iovec iov[GATHER];
    int n = ol_queue_gather(q, iov, GATHER);
    size_t at = m.start;

    if (q->bytes != model_total() || (q->borders && q->begun != m.begun))
        return false;
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len > m.end - at ||
            (iov[i].iov_len && memcmp(iov[i].iov_base, m.bytes + at, iov[i].iov_len) != 0))
            return false;
        at += iov[i].iov_len;
    }
    return at == m.end || n == GATHER;
}

/* With borders kept, message by message. */
static bool
same_messages(struct ol_queue *q)
{
    static struct iovec iov[GATHER];
    uint32_t after = 0;
    size_t at = m.start;

    for (size_t i = 0; i < m.count; i++) {
        uint32_t pieces = 0;
        size_t len = 0;
        int n = ol_queue_first_message(q, iov, GATHER, after, &pieces);

        if (n == 0)
            return false;
        for (int k = 0; k < n; k++) {
            if (iov[k].iov_len && memcmp(iov[k].iov_base, m.bytes + at + len, iov[k].iov_len) != 0)
                return false;
            len += iov[k].iov_len;
        }
        if (len != m.len[m.first + i])
            return false;
        at += len;
        after += pieces;
    }
    return after == q->count;
}

static bool
same(struct ol_queue *q)
{
    return same_as_model(q) && (!q->borders || same_messages(q));
}

static struct ol_rng rng;
static uint8_t noise[3 * OL_CHUNK_LARGE];

static size_t
some_length(bool big)
{
    static const size_t usual[] = {1, 7, 100, 1000, OL_CHUNK_SMALL, OL_CHUNK_SMALL - 32, 3000};

    if (big && ol_rng_below(&rng, 20) == 0)
        return ol_rng_below(&rng, sizeof noise / 2);
    return ol_rng_below(&rng, usual[ol_rng_below(&rng, OL_COUNT(usual))] + 1);
}

/* A message in some pieces, at some place of the noise. */
static outlet_err
copy_something(struct ol_queue *q, bool allow_empty)
{
    struct iovec iov[5];
    int n = 1 + (int)ol_rng_below(&rng, OL_COUNT(iov));
    uint8_t *all = noise + ol_rng_below(&rng, sizeof noise / 2);
    size_t len = some_length(true);
    size_t at = 0;
    size_t skip = 0;
    outlet_err err;

    if (len == 0 && !allow_empty)
        len = 1;
    for (int i = 0; i < n; i++) {
        size_t part = i == n - 1 ? len - at : ol_rng_below(&rng, len - at + 1);

        iov[i] = (struct iovec){all + at, part};
        at += part;
    }
    /* Part of it was taken by the kernel before it came here: only into an empty queue. */
    if (q->count == 0 && len > 1 && ol_rng_below(&rng, 4) == 0)
        skip = 1 + ol_rng_below(&rng, len - 1);
    err = ol_queue_copy(q, iov, n, skip);
    if (err)
        return err;
    model_add(all + skip, len - skip);
    if (skip)
        q->begun = m.begun = true;
    return OUTLET_OK;
}

static outlet_err
share_something(struct ol_queue *q, struct world *w)
{
    size_t head = ol_rng_below(&rng, 12);
    size_t body = some_length(true);
    size_t tail = ol_rng_below(&rng, 4);
    uint8_t *all = noise + ol_rng_below(&rng, sizeof noise / 2);
    struct outlet_buf *b;
    outlet_err err;

    if (head + body + tail == 0)
        body = 1;
    b = ol_buf_copy(w->budget, all + head, body);
    if (!b)
        return OUTLET_ENOMEM;
    err = ol_queue_share(q, &(struct iovec){all, head}, b,
                         &(struct iovec){all + head + body, tail});
    outlet_buf_unref(b);
    if (!err)
        model_add(all, head + body + tail);
    return err;
}

static void
one_step(struct ol_queue *q, struct world *w)
{
    bool room = m.end + sizeof noise < MODEL_BYTES && m.first + m.count + 1 < MODEL_MESSAGES;
    const void *held = NULL;
    struct iovec first;

    switch (ol_rng_below(&rng, 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (room)
            assert_int_equal(copy_something(q, q->borders), OUTLET_OK);
        break;
    case 4:
        if (room)
            assert_int_equal(share_something(q, w), OUTLET_OK);
        break;
    case 5: {
        /* Memory fails somewhere inside: nothing has changed, then it works. */
        uint64_t fail_at = 1 + ol_rng_below(&rng, 3);
        outlet_err err;

        if (!room)
            break;
        failing_heap_reset(&w->f, fail_at);
        err = ol_rng_below(&rng, 2) ? copy_something(q, q->borders) : share_something(q, w);
        failing_heap_reset(&w->f, 0);
        assert_true(err == OUTLET_OK || err == OUTLET_ENOMEM);
        break;
    }
    case 6:
        if (q->out) { /* the kernel answers with what it took of them */
            size_t most = 0;
            size_t n;

            for (size_t i = 0; i < m.out; i++) {
                most += m.len[m.first + i];
            }
            n = ol_rng_below(&rng, most + 1);
            ol_queue_returned(q);
            m.out = 0;
            if (n) {
                ol_queue_taken(q, n);
                model_taken(n);
            }
        } else if (q->bytes) {
            size_t n = 1 + ol_rng_below(&rng, q->bytes);

            ol_queue_taken(q, n);
            model_taken(n);
        }
        break;
    case 7:
        if (q->count && !q->out) {
            ol_queue_hold(q, q->bytes);
            m.out = m.count;
            while (m.out && m.len[m.first + m.out - 1] == 0) {
                m.out--; /* an empty message at the end holds no byte */
            }
        }
        break;
    case 8:
        if (q->borders && q->count && !q->out) {
            ol_queue_drop_message(q);
            m.start += m.len[m.first];
            m.first++;
            m.count--;
            m.begun = false;
        }
        break;
    default:
        if (q->borders) {
            size_t need = some_length(false);
            size_t cap = ol_rng_below(&rng, q->bytes + need + 1);

            if (q->out && ol_queue_gather(q, &first, 1) == 1)
                held = first.iov_base;
            assert_int_equal(ol_queue_drop_oldest(q, need, cap), model_drop_oldest(need, cap));
            if (held) {
                assert_int_equal(ol_queue_gather(q, &first, 1), 1);
                assert_ptr_equal(first.iov_base, held); /* what is out did not move */
            }
        }
        break;
    }
}

static void
live(uint64_t seed, bool borders)
{
    struct world w;
    struct ol_queue *q;

    ol_rng_seed(&rng, seed);
    ol_rng_fill(&rng, noise, sizeof noise);
    world_open(&w);
    model_reset();
    q = ol_queue_new(&w.store, borders);
    assert_non_null(q);
    for (int i = 0; i < 400; i++) {
        one_step(q, &w);
        if (!same(q))
            fail_msg("seed %llu borders %d step %d", (unsigned long long)seed, borders, i);
    }
    if (ol_rng_below(&rng, 2)) { /* to the last byte, or thrown away */
        ol_queue_returned(q);
        while (q->count) {
            ol_queue_taken(q, q->bytes);
        }
        assert_int_equal(q->bytes, 0);
    }
    ol_queue_returned(q);
    ol_queue_free(q);
    world_close(&w);
}

static uint64_t
runs(uint64_t usual)
{
    const char *text = getenv("OUTLET_TEST_RUNS");

    return text ? strtoull(text, NULL, 10) : usual;
}

static void
a_random_life_is_the_life_of_an_array_of_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= runs(60); seed++) {
        live(seed, false);
        live(seed, true);
    }
}

/* ---- one thing at a time ---- */

static struct iovec
text(const char *s)
{
    return (struct iovec){(void *)(uintptr_t)s, strlen(s)};
}

static void
small_messages_leave_as_one_piece(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec iov[4];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, false);
    for (int i = 0; i < 50; i++) {
        struct iovec hello = text("hello");

        assert_int_equal(ol_queue_copy(q, &hello, 1, 0), OUTLET_OK);
    }
    assert_int_equal(q->count, 1);
    assert_int_equal(ol_queue_gather(q, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 250);
    ol_queue_free(q);
    world_close(&w);
}

/* The kernel was given a length: a message that joins a piece now would be lost. */
static void
a_piece_that_is_out_does_not_grow(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec one = text("one");
    struct iovec two = text("two");
    struct iovec iov[4];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, false);
    assert_int_equal(ol_queue_copy(q, &one, 1, 0), OUTLET_OK);
    ol_queue_hold(q, 3);
    assert_int_equal(ol_queue_copy(q, &two, 1, 0), OUTLET_OK);
    assert_int_equal(q->count, 2);
    assert_int_equal(q->out, 1);
    ol_queue_returned(q);
    ol_queue_taken(q, 3);
    assert_int_equal(ol_queue_gather(q, iov, 4), 1);
    assert_memory_equal(iov[0].iov_base, "two", 3);
    ol_queue_free(q);
    world_close(&w);
}

/* What the kernel did not take has a place of its own from then on, whoever waits behind it. */
static void
what_is_borrowed_stays_until_it_is_settled(void **state)
{
    static const size_t takes[] = {0, 1, 299, 300};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(takes) * 2; i++) {
        size_t taken = takes[i / 2];
        uint8_t lent[300];
        uint8_t left[700];
        struct iovec more = {left, 400};
        struct iovec iov[2];
        struct world w;
        struct ol_queue *q;
        size_t len = 0;
        int n;

        world_open(&w);
        memset(lent, 'a', sizeof lent);
        memset(left, 'b', sizeof left);
        q = ol_queue_new(&w.store, false);
        assert_non_null(q);
        ol_queue_borrow(q, lent, sizeof lent);
        assert_int_equal(q->bytes, 300);
        if (i % 2)
            assert_int_equal(ol_queue_copy(q, &more, 1, 0), OUTLET_OK);
        assert_int_equal(ol_queue_settle(q, taken), OUTLET_OK);
        memset(lent, '!', sizeof lent);
        assert_int_equal(q->bytes, 300 - taken + (i % 2 ? 400 : 0));
        assert_int_equal(q->begun, taken > 0 && taken < 300);
        n = ol_queue_gather(q, iov, 2);
        for (int k = 0; k < n; k++) {
            memcpy(left + len, iov[k].iov_base, iov[k].iov_len);
            len += iov[k].iov_len;
        }
        assert_int_equal(len, q->bytes);
        for (size_t k = 0; k < len; k++)
            assert_int_equal(left[k], k < 300 - taken ? 'a' : 'b');
        ol_queue_taken(q, len);
        assert_int_equal(q->count, 0);
        ol_queue_free(q);
        world_close(&w);
    }
}

static void
without_memory_for_what_was_borrowed_the_rest_is_whole(void **state)
{
    uint8_t lent[300] = {0};
    struct iovec more = {(uint8_t[]){1, 2, 3}, 3};
    struct iovec iov[2];
    struct world w;
    struct ol_queue *q;

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, false);
    assert_non_null(q);
    ol_queue_borrow(q, lent, sizeof lent);
    assert_int_equal(ol_queue_copy(q, &more, 1, 0), OUTLET_OK);
    failing_heap_exhaust(&w.f);
    assert_int_equal(ol_queue_settle(q, 100), OUTLET_ENOMEM);
    failing_heap_reset(&w.f, 0);
    assert_int_equal(q->bytes, 3);
    assert_int_equal(ol_queue_gather(q, iov, 2), 1);
    assert_memory_equal(iov[0].iov_base, more.iov_base, 3);
    ol_queue_free(q);
    world_close(&w);
}

static void
the_heads_of_shared_buffers_lie_together(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct outlet_buf *b;
    struct iovec head = text("<");
    struct iovec tail = text(">");
    struct iovec iov[64];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, true);
    b = ol_buf_copy(w.budget, "body", 4);
    assert_non_null(b);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ol_queue_share(q, &head, b, &tail), OUTLET_OK);
    }
    assert_int_equal(ol_queue_gather(q, iov, 64), 41);
    assert_memory_equal(iov[0].iov_base, "<", 1);
    for (int i = 1; i < 20; i++) {
        assert_int_equal(iov[2 * i].iov_len, 2);
        assert_memory_equal(iov[2 * i].iov_base, "><", 2);
        assert_memory_equal(iov[2 * i + 1].iov_base, "body", 4);
    }
    assert_in_range(w.store.share->used, 0, OL_CHUNK_SMALL + 64 * sizeof(struct ol_piece));
    ol_queue_free(q);
    outlet_buf_unref(b);
    world_close(&w);
}

static void
a_shared_buffer_is_not_copied_and_let_go_when_it_has_left(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct outlet_buf *b;
    struct iovec head = text("<");
    struct iovec tail = text(">");
    struct iovec iov[4];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, false);
    b = ol_buf_copy(w.budget, "body", 4);
    assert_non_null(b);
    assert_int_equal(ol_queue_share(q, &head, b, &tail), OUTLET_OK);
    assert_int_equal(atomic_load(&b->refs), 2);
    assert_int_equal(ol_queue_gather(q, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, b->bytes);
    ol_queue_taken(q, 4);
    assert_int_equal(atomic_load(&b->refs), 2);
    ol_queue_taken(q, 1);
    assert_int_equal(atomic_load(&b->refs), 1);
    ol_queue_free(q);
    outlet_buf_unref(b);
    world_close(&w);
}

static void
gather_stops_at_the_room_it_was_given(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec iov[3];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, true);
    for (int i = 0; i < 5; i++) {
        struct outlet_buf *b = ol_buf_copy(w.budget, "x", 1);
        struct iovec none = {NULL, 0};

        assert_non_null(b);
        assert_int_equal(ol_queue_share(q, &none, b, &none), OUTLET_OK);
        outlet_buf_unref(b);
    }
    assert_int_equal(ol_queue_gather(q, iov, 3), 3);
    ol_queue_free(q);
    world_close(&w);
}

static void
an_empty_message_is_one_where_borders_are_kept(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec none = {NULL, 0};
    struct iovec iov[2];
    uint32_t pieces = 0;

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, true);
    assert_int_equal(ol_queue_copy(q, &none, 1, 0), OUTLET_OK);
    assert_int_equal(ol_queue_first_message(q, iov, 2, 0, &pieces), 1);
    assert_int_equal(pieces, 1);
    assert_int_equal(iov[0].iov_len, 0);
    ol_queue_drop_message(q);
    assert_int_equal(q->count, 0);
    ol_queue_free(q);
    q = ol_queue_new(&w.store, false);
    assert_int_equal(ol_queue_copy(q, &none, 1, 0), OUTLET_OK);
    assert_int_equal(q->count, 0); /* on a stream it is nothing at all */
    ol_queue_free(q);
    world_close(&w);
}

static void
dropping_spares_what_has_begun_to_leave(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec first = text("first");
    struct iovec second = text("second");
    struct iovec third = text("third");
    struct iovec iov[4];

    (void)state;
    world_open(&w);
    q = ol_queue_new(&w.store, true);
    assert_int_equal(ol_queue_copy(q, &first, 1, 0), OUTLET_OK);
    assert_int_equal(ol_queue_copy(q, &second, 1, 0), OUTLET_OK);
    assert_int_equal(ol_queue_copy(q, &third, 1, 0), OUTLET_OK);
    ol_queue_taken(q, 2);
    assert_int_equal(ol_queue_drop_oldest(q, 100, 10), 0); /* nothing in vain */
    assert_int_equal(ol_queue_drop_oldest(q, 7, 10), 2);
    assert_int_equal(q->bytes, 3);
    assert_int_equal(ol_queue_gather(q, iov, 4), 1);
    assert_memory_equal(iov[0].iov_base, "rst", 3);
    assert_int_equal(ol_queue_drop_oldest(q, 0, 3), 0);
    ol_queue_free(q);
    world_close(&w);
}

/* ---- memory ---- */

static void
chunks_grow_with_what_waits(void **state)
{
    static const struct {
        size_t want;
        uint8_t class_min;
        uint8_t class_;
    } table[] = {
        {1, 0, 0},
        {OL_CHUNK_SMALL - sizeof(struct ol_chunk), 0, 0},
        {OL_CHUNK_SMALL - sizeof(struct ol_chunk) + 1, 0, 1},
        {OL_CHUNK_MIDDLE - sizeof(struct ol_chunk), 0, 1},
        {OL_CHUNK_MIDDLE - sizeof(struct ol_chunk) + 1, 0, 2},
        {1 << 20, 0, 2},
        {1, 1, 1},
        {1, 2, 2},
    };
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < OL_COUNT(table); i++) {
        struct ol_chunk *c = ol_chunk_take(&w.store, table[i].want, table[i].class_min);

        assert_non_null(c);
        assert_int_equal(c->class_, table[i].class_);
        assert_true(w.share.used >= c->room);
        ol_chunk_give_back(&w.store, c);
        assert_int_equal(w.share.used, 0);
    }
    world_close(&w);
}

static void
a_store_keeps_a_bounded_number(void **state)
{
    enum { N = 2 * OL_STORE_KEEPS };
    struct ol_queue *q[N];
    struct ol_chunk *c[N];
    struct world w;

    (void)state;
    world_open(&w);
    for (int i = 0; i < N; i++) {
        q[i] = ol_queue_new(&w.store, false);
        c[i] = ol_chunk_take(&w.store, 1, 0);
        assert_non_null(q[i]);
        assert_non_null(c[i]);
    }
    for (int i = 0; i < N; i++) {
        ol_queue_free(q[i]);
        ol_chunk_give_back(&w.store, c[i]);
    }
    assert_int_equal(w.store.free_queue_count, OL_STORE_KEEPS);
    assert_int_equal(w.store.free_chunk_count[0], OL_STORE_KEEPS);
    assert_int_equal(failing_heap_live(&w.f), 1 + 2 * OL_STORE_KEEPS); /* 1: the budget */
    world_close(&w);
}

static void
in_a_steady_flow_nothing_is_allocated(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (int round = 0; round < 1000; round++) {
        struct ol_queue *q;

        if (round == 1)
            failing_heap_reset(&w.f, 0);
        q = ol_queue_new(&w.store, false);
        assert_non_null(q);
        for (int i = 0; i < 40; i++) {
            assert_int_equal(ol_queue_copy(q, &(struct iovec){noise, 700}, 1, 0), OUTLET_OK);
        }
        ol_queue_taken(q, q->bytes);
        ol_queue_free(q);
    }
    assert_int_equal(failing_heap_requests(&w.f), 0);
    world_close(&w);
}

static void
at_memory_max_a_message_is_refused_whole(void **state)
{
    struct world w;
    struct ol_queue *q;
    struct iovec small = {noise, 10};
    struct iovec large = {noise, 2 * OL_CHUNK_LARGE};
    struct iovec iov[4];

    (void)state;
    world_open(&w);
    w.budget->max = OL_CHUNK_LARGE + OL_CHUNK_SMALL;
    q = ol_queue_new(&w.store, false);
    assert_int_equal(ol_queue_copy(q, &small, 1, 0), OUTLET_OK);
    assert_int_equal(ol_queue_copy(q, &large, 1, 0), OUTLET_ENOMEM);
    assert_int_equal(q->bytes, 10);
    assert_int_equal(ol_queue_gather(q, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 10);
    assert_int_equal(ol_queue_copy(q, &small, 1, 0), OUTLET_OK);
    assert_int_equal(q->bytes, 20);
    ol_queue_free(q);
    world_close(&w);
}

static void
without_memory_there_is_no_queue(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    failing_heap_exhaust(&w.f);
    assert_null(ol_queue_new(&w.store, false));
    failing_heap_reset(&w.f, 0);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_life_is_the_life_of_an_array_of_bytes),
        cmocka_unit_test(small_messages_leave_as_one_piece),
        cmocka_unit_test(a_piece_that_is_out_does_not_grow),
        cmocka_unit_test(what_is_borrowed_stays_until_it_is_settled),
        cmocka_unit_test(without_memory_for_what_was_borrowed_the_rest_is_whole),
        cmocka_unit_test(the_heads_of_shared_buffers_lie_together),
        cmocka_unit_test(a_shared_buffer_is_not_copied_and_let_go_when_it_has_left),
        cmocka_unit_test(gather_stops_at_the_room_it_was_given),
        cmocka_unit_test(an_empty_message_is_one_where_borders_are_kept),
        cmocka_unit_test(dropping_spares_what_has_begun_to_leave),
        cmocka_unit_test(chunks_grow_with_what_waits),
        cmocka_unit_test(a_store_keeps_a_bounded_number),
        cmocka_unit_test(in_a_steady_flow_nothing_is_allocated),
        cmocka_unit_test(at_memory_max_a_message_is_refused_whole),
        cmocka_unit_test(without_memory_there_is_no_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
