/*
 * bytes_test.c - a growing buffer at its limits, against a plain array, and without memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"
#include "failing_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A heap, a budget, a share: what every buffer needs. */
struct ground {
    struct failing_heap heap;
    struct ol_budget *budget;
    struct ol_share share;
};

static void
ground_init(struct ground *g, int64_t memory_max)
{
    failing_heap_init(&g->heap, 0);
    g->budget = ol_budget_new(&g->heap.heap, memory_max);
    ol_share_init(&g->share, g->budget);
}

static int64_t
ground_fini(struct ground *g) /* answers the allocations left behind */
{
    ol_share_fini(&g->share);
    ol_budget_unref(g->budget);
    return failing_heap_live(&g->heap);
}

static void
the_maximum_is_exact(void **state)
{
    static const uint8_t bytes[300];

    (void)state;
    for (size_t max = 1; max <= 200; max++) {
        struct ground g;
        struct ol_bytes b;

        ground_init(&g, INT64_MAX);
        ol_bytes_init(&b, &g.share, max);
        assert_int_equal(ol_bytes_append(&b, bytes, max + 1), OUTLET_EMSGSIZE);
        assert_null(b.data); /* nothing allocated */
        assert_int_equal(ol_bytes_append(&b, bytes, max - 1), OUTLET_OK);
        assert_int_equal(b.len, max - 1);
        assert_int_equal(ol_bytes_reserve(&b, 2), OUTLET_EMSGSIZE);
        assert_int_equal(ol_bytes_append(&b, bytes, 1), OUTLET_OK);
        assert_int_equal(b.len, max);
        assert_true(b.room <= max);
        assert_int_equal(ol_bytes_append(&b, bytes, 0), OUTLET_OK);
        assert_int_equal(ol_bytes_append(&b, bytes, 1), OUTLET_EMSGSIZE);
        assert_int_equal(ol_bytes_reserve(&b, SIZE_MAX), OUTLET_EMSGSIZE);
        assert_int_equal(g.share.used, b.room);
        ol_bytes_fini(&b);
        assert_int_equal(g.share.used, 0);
        assert_int_equal(ground_fini(&g), 0);
    }
}

static void
an_empty_buffer_owns_nothing(void **state)
{
    struct ground g;
    struct ol_bytes b;

    (void)state;
    ground_init(&g, INT64_MAX);
    ol_bytes_init(&b, &g.share, 100);
    assert_int_equal(ol_bytes_append(&b, NULL, 0), OUTLET_OK);
    assert_int_equal(ol_bytes_reserve(&b, 0), OUTLET_OK);
    ol_bytes_consume(&b, 0);
    assert_null(b.data);
    assert_int_equal(ol_bytes_append(&b, "abc", 3), OUTLET_OK);
    ol_bytes_consume(&b, 2);
    assert_memory_equal(b.data, "c", 1);
    ol_bytes_consume(&b, 1);
    assert_null(b.data);
    assert_int_equal(g.share.used, 0);
    assert_int_equal(ol_bytes_append(&b, "again", 5), OUTLET_OK); /* usable afterwards */
    ol_bytes_fini(&b);
    ol_bytes_fini(&b);
    assert_int_equal(ol_bytes_append(&b, "again", 5), OUTLET_OK); /* even after fini */
    ol_bytes_fini(&b);
    assert_int_equal(ground_fini(&g), 0);
}

static void
growing_byte_by_byte_asks_for_memory_rarely(void **state)
{
    struct ground g;
    struct ol_bytes b;

    (void)state;
    ground_init(&g, INT64_MAX);
    ol_bytes_init(&b, &g.share, 1 << 20);
    failing_heap_reset(&g.heap, 0);
    for (int i = 0; i < 1 << 20; i++) {
        if (ol_bytes_append(&b, "x", 1) != OUTLET_OK)
            fail_msg("at %d", i);
    }
    assert_true(failing_heap_requests(&g.heap) <= 20);
    assert_int_equal(b.room, 1 << 20);
    ol_bytes_fini(&b);
    assert_int_equal(ground_fini(&g), 0);
}

static void
the_budget_is_used_to_the_last_byte(void **state)
{
    static const uint8_t bytes[1000];
    struct ground g;
    struct ol_bytes b;

    (void)state;
    ground_init(&g, 1000);
    ol_bytes_init(&b, &g.share, 100000);
    assert_int_equal(ol_bytes_append(&b, bytes, 600), OUTLET_OK);
    assert_int_equal(ol_bytes_append(&b, bytes, 399), OUTLET_OK); /* 1,200 would not fit */
    assert_int_equal(b.len, 999);
    assert_int_equal(ol_bytes_append(&b, bytes, 2), OUTLET_ENOMEM);
    assert_int_equal(b.len, 999);
    assert_int_equal(ol_bytes_append(&b, bytes, 1), OUTLET_OK);
    assert_int_equal(ol_bytes_append(&b, bytes, 1), OUTLET_ENOMEM);
    assert_int_equal(b.len, 1000);
    assert_int_equal(g.share.used, 1000);
    ol_bytes_fini(&b);
    assert_int_equal(ground_fini(&g), 0);
}

static void
the_maximum_may_be_lowered_below_what_is_held(void **state)
{
    struct ground g;
    struct ol_bytes b;

    (void)state;
    ground_init(&g, INT64_MAX);
    ol_bytes_init(&b, &g.share, 100);
    assert_int_equal(ol_bytes_append(&b, "0123456789", 10), OUTLET_OK);
    b.max = 5;
    assert_int_equal(ol_bytes_append(&b, "x", 1), OUTLET_EMSGSIZE);
    ol_bytes_consume(&b, 8);
    assert_int_equal(ol_bytes_append(&b, "abc", 3), OUTLET_OK);
    assert_memory_equal(b.data, "89abc", 5);
    assert_int_equal(ol_bytes_append(&b, "x", 1), OUTLET_EMSGSIZE);
    ol_bytes_fini(&b);
    assert_int_equal(ground_fini(&g), 0);
}

enum { MODEL_MAX = 3000 };

static void
random_work_gives_what_an_array_gives(void **state)
{
    static uint8_t model[MODEL_MAX];
    static uint8_t chunk[2 * MODEL_MAX];
    struct ground g;
    struct ol_bytes b;
    struct ol_rng rng;
    size_t len = 0;

    (void)state;
    ol_rng_seed(&rng, 1);
    ground_init(&g, 2500); /* both limits are met */
    ol_bytes_init(&b, &g.share, MODEL_MAX);
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)ol_rng_below(&rng, (uint64_t)1 << ol_rng_below(&rng, 13));
        outlet_err err;

        if (ol_rng_below(&rng, 3) == 0) {
            n = ol_min(n, len);
            ol_bytes_consume(&b, n);
            len -= n;
            memmove(model, model + n, len);
        } else {
            n = ol_min(n, sizeof chunk);
            ol_rng_fill(&rng, chunk, n);
            if (ol_rng_below(&rng, 4) == 0)
                failing_heap_reset(&g.heap, 1);
            err = ol_bytes_append(&b, chunk, n);
            if (len + n > MODEL_MAX) {
                assert_int_equal(err, OUTLET_EMSGSIZE);
            } else if (err) {
                assert_int_equal(err, OUTLET_ENOMEM);
                assert_true(len + n > 2500 || failing_heap_failed(&g.heap) > 0);
            } else {
                memcpy(model + len, chunk, n);
                len += n;
            }
            failing_heap_reset(&g.heap, 0);
        }
        assert_int_equal(b.len, len);
        assert_int_equal(g.share.used, b.room);
        if (len > 0)
            assert_memory_equal(b.data, model, len);
    }
    ol_bytes_fini(&b);
    assert_int_equal(ground_fini(&g), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(an_empty_buffer_owns_nothing),
        cmocka_unit_test(growing_byte_by_byte_asks_for_memory_rarely),
        cmocka_unit_test(the_budget_is_used_to_the_last_byte),
        cmocka_unit_test(the_maximum_may_be_lowered_below_what_is_held),
        cmocka_unit_test(random_work_gives_what_an_array_gives),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
