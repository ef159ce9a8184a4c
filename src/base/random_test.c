/*
 * random_test.c - the generator against its authors' numbers, and no favourites among results.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
it_is_xoshiro256_starstar(void **state)
{
    struct ol_rng r = {{1, 2, 3, 4}};
    const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(want); i++) {
        assert_int_equal(ol_rng_next(&r), want[i]);
    }
}

static void
a_seed_is_spread_by_splitmix64(void **state)
{
    const uint64_t want[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                             4593380528125082431u};
    struct ol_rng r;

    (void)state;
    ol_rng_seed(&r, 1234567);
    assert_memory_equal(r.s, want, sizeof want);
    ol_rng_seed(&r, 0); /* all zero would stay zero for ever */
    assert_true(r.s[0] | r.s[1] | r.s[2] | r.s[3]);
    assert_int_not_equal(ol_rng_next(&r), ol_rng_next(&r));
}

static void
below_stays_below_and_reaches_everything(void **state)
{
    const uint64_t edges[] = {1, 2, 3, 1000, UINT32_MAX, (uint64_t)3 << 62, UINT64_MAX};
    uint64_t seen[7] = {0};
    struct ol_rng r;

    (void)state;
    ol_rng_seed(&r, 42);
    for (size_t i = 0; i < OL_COUNT(edges); i++) {
        for (int k = 0; k < 1000; k++) {
            assert_true(ol_rng_below(&r, edges[i]) < edges[i]);
        }
    }
    for (int i = 0; i < 70000; i++) {
        seen[ol_rng_below(&r, 7)]++;
    }
    for (size_t i = 0; i < OL_COUNT(seen); i++) {
        assert_in_range(seen[i], 9500, 10500); /* five standard deviations */
    }
}

/* With n = 3/4 of 2^64 a plain remainder would give the first third twice as often as the others.
 */
static void
below_has_no_bias_for_huge_ranges(void **state)
{
    const uint64_t n = (uint64_t)3 << 62;
    uint64_t low = 0;
    struct ol_rng r;

    (void)state;
    ol_rng_seed(&r, 7);
    for (int i = 0; i < 30000; i++) {
        low += ol_rng_below(&r, n) < n / 3;
    }
    assert_in_range(low, 9500, 10500);
}

static void
fill_writes_exactly_what_it_was_given(void **state)
{
    (void)state;
    for (size_t len = 0; len < 40; len++) {
        uint8_t bytes[48];
        uint8_t again[48];
        struct ol_rng r;

        memset(bytes, 0xee, sizeof bytes);
        ol_rng_seed(&r, 99);
        ol_rng_fill(&r, bytes, len);
        for (size_t i = len; i < sizeof bytes; i++) {
            assert_int_equal(bytes[i], 0xee);
        }
        ol_rng_seed(&r, 99);
        ol_rng_fill(&r, again, len); /* the same seed, the same bytes */
        assert_memory_equal(again, bytes, len);
        if (len >= 16)
            assert_memory_not_equal(bytes, bytes + 8, 8);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_xoshiro256_starstar),
        cmocka_unit_test(a_seed_is_spread_by_splitmix64),
        cmocka_unit_test(below_stays_below_and_reaches_everything),
        cmocka_unit_test(below_has_no_bias_for_huge_ranges),
        cmocka_unit_test(fill_writes_exactly_what_it_was_given),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
