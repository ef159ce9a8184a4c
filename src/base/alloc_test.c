/*
 * alloc_test.c - heaps, budgets, and shares of budgets used by many threads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"
#include "failing_heap.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { STEP = 1024 * 1024, THREADS = 4 };

static void
a_heap_gives_zeroes_copies_and_room_for_nothing(void **state)
{
    struct failing_heap f;
    uint8_t *zeroes;
    char *text;
    void *p;

    (void)state;
    failing_heap_init(&f, 0);
    zeroes = ol_alloc_zero(&f.heap, 100);
    assert_non_null(zeroes);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(zeroes[i], 0);
    }
    ol_free(&f.heap, zeroes);

    text = ol_copy_text(&f.heap, "outlet", 3);
    assert_string_equal(text, "out");
    ol_free(&f.heap, text);
    text = ol_copy_text(&f.heap, NULL, 0);
    assert_string_equal(text, "");
    ol_free(&f.heap, text);
    assert_null(ol_copy_text(&f.heap, "x", SIZE_MAX));

    p = ol_alloc(&f.heap, 0); /* the table is never asked for 0 bytes */
    assert_non_null(p);
    p = ol_resize(&f.heap, p, 10);
    assert_non_null(p);
    ol_free(&f.heap, p);
    p = ol_resize(&f.heap, NULL, 10);
    assert_non_null(p);
    ol_free(&f.heap, p);
    ol_free(&f.heap, NULL);
    assert_int_equal(failing_heap_live(&f), 0);
    assert_int_equal(failing_heap_bytes(&f), 0);
}

static void
the_system_heap_works_without_a_context(void **state)
{
    char *p = ol_alloc(&ol_heap_system, 4);

    (void)state;
    assert_non_null(p);
    memcpy(p, "abc", 4);
    p = ol_resize(&ol_heap_system, p, 100000);
    assert_string_equal(p, "abc");
    ol_free(&ol_heap_system, p);
}

static void
the_nth_request_fails_and_leaves_memory_as_it_was(void **state)
{
    struct failing_heap f;
    char *p;

    (void)state;
    failing_heap_init(&f, 2);
    p = ol_copy_text(&f.heap, "kept", 4);
    assert_non_null(p);
    assert_null(ol_resize(&f.heap, p, 1000));
    assert_string_equal(p, "kept");
    assert_int_equal(failing_heap_failed(&f), 1);
    failing_heap_exhaust(&f);
    assert_null(ol_alloc_zero(&f.heap, 1));
    assert_null(ol_copy_text(&f.heap, "a", 1));
    assert_null(ol_budget_new(&f.heap, 1));
    failing_heap_reset(&f, 0);
    ol_free(&f.heap, p);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
a_budget_is_exact_at_its_limit(void **state)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, 1000);

    (void)state;
    assert_true(ol_budget_charge(b, 0));
    assert_true(ol_budget_charge(b, 999));
    assert_false(ol_budget_charge(b, 2));
    assert_int_equal(b->used, 999);
    assert_true(ol_budget_charge(b, 1));
    assert_false(ol_budget_charge(b, 1));
    assert_true(ol_budget_charge(b, 0));
    ol_budget_release(b, 1000);
    assert_false(ol_budget_charge(b, 1001));
    assert_false(ol_budget_charge(b, SIZE_MAX));
    assert_false(ol_budget_charge(b, (size_t)INT64_MAX + 1));
    assert_true(ol_budget_charge(b, 1000));
    ol_budget_release(b, 1000);
    assert_int_equal(b->used, 0);
    ol_budget_unref(b);
}

static void
a_budget_that_is_off_still_does_not_overflow(void **state)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, INT64_MAX);

    (void)state;
    assert_true(ol_budget_charge(b, (size_t)INT64_MAX - 1));
    assert_false(ol_budget_charge(b, 2));
    assert_false(ol_budget_charge(b, SIZE_MAX));
    assert_true(ol_budget_charge(b, 1));
    ol_budget_release(b, (size_t)INT64_MAX);
    assert_int_equal(b->used, 0);
    ol_budget_unref(b);
}

static void
the_last_reference_frees_the_budget(void **state)
{
    struct failing_heap f;
    struct ol_budget *b;
    struct ol_share share;

    (void)state;
    failing_heap_init(&f, 0);
    b = ol_budget_new(&f.heap, 10);
    assert_ptr_equal(ol_budget_ref(b), b);
    ol_budget_unref(b);
    ol_share_init(&share, b);
    ol_budget_unref(b);
    assert_int_equal(failing_heap_live(&f), 1);
    assert_true(ol_share_charge(&share, 10));
    ol_share_release(&share, 10);
    ol_share_fini(&share);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
a_share_draws_in_steps_and_gives_back_above_two(void **state)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, 100 * STEP);
    struct ol_share share;

    (void)state;
    ol_share_init(&share, b);
    assert_true(ol_share_charge(&share, 1));
    assert_int_equal(b->used, STEP);
    assert_true(ol_share_charge(&share, STEP - 1));
    assert_int_equal(b->used, STEP);
    assert_true(ol_share_charge(&share, 1));
    assert_int_equal(b->used, 2 * STEP);
    assert_true(ol_share_charge(&share, 5 * STEP)); /* more than a step: what is asked */
    assert_int_equal(b->used, 6 * STEP + 1);
    ol_share_release(&share, 2 * STEP);
    assert_int_equal(b->used, 6 * STEP + 1); /* exactly two steps spare: kept */
    ol_share_release(&share, 1);
    assert_int_equal(b->used, 5 * STEP);
    ol_share_release(&share, 4 * STEP);
    assert_int_equal(share.used, 0);
    assert_in_range(b->used, 0, 2 * STEP);
    ol_share_fini(&share);
    assert_int_equal(b->used, 0);
    ol_budget_unref(b);
}

static void
two_shares_reach_the_limit_to_the_byte(void **state)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, STEP + 100);
    struct ol_share one;
    struct ol_share two;

    (void)state;
    ol_share_init(&one, b);
    ol_share_init(&two, b);
    assert_true(ol_share_charge(&one, STEP));
    assert_true(ol_share_charge(&two, 99)); /* no step left: just what is asked */
    assert_false(ol_share_charge(&two, 2));
    assert_int_equal(two.used, 99);
    assert_int_equal(two.drawn, 99);
    assert_true(ol_share_charge(&two, 1));
    assert_false(ol_share_charge(&two, 1));
    assert_false(ol_share_charge(&two, SIZE_MAX));
    assert_false(ol_share_charge(&one, 1));
    assert_int_equal(b->used, b->max);
    ol_share_release(&one, STEP);
    ol_share_release(&two, 100);
    ol_share_fini(&one);
    ol_share_fini(&two);
    assert_int_equal(b->used, 0);
    ol_budget_unref(b);
}

static void
what_nobody_uses_nobody_keeps_when_memory_is_short(void **state)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, 64000);
    struct ol_share one;
    struct ol_share two;

    (void)state;
    ol_share_init(&one, b);
    ol_share_init(&two, b);
    assert_true(ol_share_charge(&one, 1));
    assert_int_equal(b->used, 1000); /* a small budget has small steps */
    assert_true(ol_share_charge(&two, 60000));
    ol_share_release(&two, 20000);
    assert_int_equal(b->used, 41000);
    ol_share_release(&two, 39999);
    assert_in_range(b->used, 1000, 3001);
    ol_share_release(&two, 1);
    ol_share_release(&one, 1);
    ol_share_fini(&one);
    ol_share_fini(&two);
    ol_budget_unref(b);
}

/* What a thread of the hammer below found; asserted in the test's body. */
struct hammer {
    pthread_t thread;
    struct ol_budget *budget;
    uint64_t seed;
    bool shared;
    uint64_t taken;
    uint64_t refused;
    uint64_t wrong;
};

static void
hammer_once(struct hammer *h, struct ol_share *share, struct ol_rng *rng, size_t *held)
{
    size_t n = (size_t)ol_rng_below(rng, 200000);
    int64_t used;
    bool ok;

    if (*held > 0 && ol_rng_below(rng, 2) == 0) {
        n = (size_t)ol_rng_below(rng, *held + 1);
        if (h->shared) {
            ol_share_release(share, n);
        } else {
            ol_budget_release(h->budget, n);
        }
        *held -= n;
    } else {
        ok = h->shared ? ol_share_charge(share, n) : ol_budget_charge(h->budget, n);
        *held += ok ? n : 0;
        h->taken += ok;
        h->refused += !ok;
    }
    used = atomic_load(&h->budget->used);
    if (used < 0 || used > h->budget->max || used < (int64_t)*held)
        h->wrong++;
    if (h->shared &&
        (share->used != (int64_t)*held || share->drawn - share->used > h->budget->max / 32))
        h->wrong++;
}

static void *
hammer_main(void *arg)
{
    struct hammer *h = arg;
    struct ol_share share;
    struct ol_rng rng;
    size_t held = 0;

    ol_rng_seed(&rng, h->seed);
    ol_share_init(&share, h->budget);
    for (int i = 0; i < 50000; i++) {
        hammer_once(h, &share, &rng, &held);
    }
    if (h->shared) {
        ol_share_release(&share, held);
    } else {
        ol_budget_release(h->budget, held);
    }
    ol_share_fini(&share);
    return NULL;
}

/* The limit is low enough that about as many charges fail as succeed. */
static void
hammer(bool shared)
{
    struct ol_budget *b = ol_budget_new(&ol_heap_system, 1000000);
    struct hammer threads[THREADS] = {0};
    uint64_t taken = 0;
    uint64_t refused = 0;

    for (int i = 0; i < THREADS; i++) {
        threads[i].budget = b;
        threads[i].seed = (uint64_t)i;
        threads[i].shared = shared;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, hammer_main, &threads[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        assert_int_equal(threads[i].wrong, 0);
        taken += threads[i].taken;
        refused += threads[i].refused;
    }
    assert_true(taken > 0);
    assert_true(refused > 0);
    assert_int_equal(b->used, 0);
    assert_int_equal(b->refs, 1);
    ol_budget_unref(b);
}

static void
threads_on_one_budget_never_pass_the_limit_and_end_at_zero(void **state)
{
    (void)state;
    hammer(false);
}

static void
threads_with_shares_never_pass_the_limit_and_end_at_zero(void **state)
{
    (void)state;
    hammer(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heap_gives_zeroes_copies_and_room_for_nothing),
        cmocka_unit_test(the_system_heap_works_without_a_context),
        cmocka_unit_test(the_nth_request_fails_and_leaves_memory_as_it_was),
        cmocka_unit_test(a_budget_is_exact_at_its_limit),
        cmocka_unit_test(a_budget_that_is_off_still_does_not_overflow),
        cmocka_unit_test(the_last_reference_frees_the_budget),
        cmocka_unit_test(a_share_draws_in_steps_and_gives_back_above_two),
        cmocka_unit_test(two_shares_reach_the_limit_to_the_byte),
        cmocka_unit_test(what_nobody_uses_nobody_keeps_when_memory_is_short),
        cmocka_unit_test(threads_on_one_budget_never_pass_the_limit_and_end_at_zero),
        cmocka_unit_test(threads_with_shares_never_pass_the_limit_and_end_at_zero),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
