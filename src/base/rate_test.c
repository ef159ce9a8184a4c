/*
 * rate_test.c - so many in a second, on a clock that the test moves.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND (1000 * OL_MS)

enum { THREADS = 4 };

static const struct {
    int64_t per_second;
    int burst;
} rates[] = {{1, 1},  {2, 1},  {3, 1},    {10, 1},     {11, 1},
             {19, 1}, {20, 2}, {100, 10}, {7777, 777}, {OL_RATE_MAX, OL_RATE_MAX / 10}};

/* How many can be taken at `now`. */
static int
take_all(struct ol_rate *r, int64_t now)
{
    int n = 0;

    while (ol_rate_take(r, now))
        n++;
    return n;
}

static void
no_limit_is_none(void **state)
{
    struct ol_rate r;

    (void)state;
    for (int64_t off = -1; off <= 0; off++) {
        ol_rate_init(&r, off);
        assert_false(ol_rate_is_on(&r));
    }
    ol_rate_init(&r, 1);
    assert_true(ol_rate_is_on(&r));
}

static void
a_burst_comes_at_once_and_the_rest_evenly(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(rates); i++) {
        struct ol_rate r;
        int64_t now = 77 * SECOND;

        ol_rate_init(&r, rates[i].per_second);
        assert_true(ol_rate_when(&r) <= now);
        assert_int_equal(take_all(&r, now), rates[i].burst);
        for (int n = 0; n < 5; n++) {
            int64_t when = ol_rate_when(&r);

            assert_int_equal(when, now + r.interval);
            now = when;
            assert_int_equal(take_all(&r, now - 1), 0);
            assert_int_equal(take_all(&r, now), 1);
        }
    }
}

/* Whatever the steps of the clock: never more than the rate and a burst, never less than the rate
 * while somebody waits and the clock is looked at within a burst. */
static void
a_long_time_has_the_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(rates); i++) {
        struct ol_rate r;
        int64_t step = rates[i].per_second < 20 ? OL_MS : 50 * OL_MS;
        int64_t begin = -3 * SECOND; /* a monotonic clock may begin anywhere */
        int64_t taken = 0;

        ol_rate_init(&r, rates[i].per_second);
        for (int64_t now = begin; now < begin + 10 * SECOND; now += step)
            taken += take_all(&r, now);
        assert_in_range(taken, 99 * rates[i].per_second / 10 - 1,
                        10 * rates[i].per_second + rates[i].burst);
    }
}

static void
idle_time_saves_up_a_burst_and_no_more(void **state)
{
    struct ol_rate r;

    (void)state;
    ol_rate_init(&r, 100);
    assert_int_equal(take_all(&r, 0), 10);
    assert_int_equal(take_all(&r, 35 * OL_MS), 3);
    assert_int_equal(take_all(&r, 3600 * SECOND), 10);
}

static void
what_is_charged_above_the_rate_is_waited_for(void **state)
{
    struct ol_rate r;

    (void)state;
    ol_rate_init(&r, 100);
    for (int i = 0; i < 64; i++)
        ol_rate_charge(&r, SECOND);
    assert_int_equal(ol_rate_when(&r), SECOND + (64 - 9) * 10 * OL_MS);
    assert_int_equal(take_all(&r, ol_rate_when(&r) - 1), 0);
    assert_int_equal(take_all(&r, ol_rate_when(&r)), 1);
}

static void
a_clock_that_is_behind_another_takes_nothing_back(void **state)
{
    struct ol_rate r;

    (void)state;
    ol_rate_init(&r, 10);
    assert_true(ol_rate_take(&r, SECOND));
    assert_false(ol_rate_take(&r, SECOND - OL_MS));
    assert_int_equal(ol_rate_when(&r), SECOND + 100 * OL_MS);
}

static void *
take_some(void *arg)
{
    struct ol_rate *r = arg;
    intptr_t n = 0;

    for (int64_t now = 0; now < SECOND; now += OL_MS)
        n += take_all(r, now);
    return (void *)n;
}

static void
threads_together_take_what_one_may(void **state)
{
    pthread_t threads[THREADS];
    struct ol_rate r;
    intptr_t taken = 0;

    (void)state;
    ol_rate_init(&r, 10000);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_some, &r), 0);
    for (int i = 0; i < THREADS; i++) {
        void *n;

        assert_int_equal(pthread_join(threads[i], &n), 0);
        taken += (intptr_t)n;
    }
    assert_in_range(taken, 10000 - 10, 11000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(a_burst_comes_at_once_and_the_rest_evenly),
        cmocka_unit_test(a_long_time_has_the_rate),
        cmocka_unit_test(idle_time_saves_up_a_burst_and_no_more),
        cmocka_unit_test(what_is_charged_above_the_rate_is_waited_for),
        cmocka_unit_test(a_clock_that_is_behind_another_takes_nothing_back),
        cmocka_unit_test(threads_together_take_what_one_may),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
