/*
 * schedule_test.c - a fake clock: however late each message is, the last one is not later for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static void
the_kth_message_is_due_at_start_plus_k_intervals(void **state)
{
    struct eng_schedule s = {.start_ns = 5 * MS, .every_ns = MS};

    (void)state;
    for (uint64_t k = 0; k < 100000; k++) {
        s.sent = k;
        assert_int_equal(eng_schedule_due(&s), 5 * MS + (int64_t)k * MS);
        assert_false(eng_schedule_is_due(&s, eng_schedule_due(&s) - 1));
        assert_true(eng_schedule_is_due(&s, eng_schedule_due(&s)));
    }
}

/* A clock that wakes late by up to most of an interval, every time, for an hour. */
static void
lateness_does_not_add_up(void **state)
{
    struct eng_schedule s = {.start_ns = 0, .every_ns = MS};
    uint64_t chance = 3;
    int64_t now = 0;

    (void)state;
    while (s.sent < 3600 * 1000) {
        now = eng_schedule_due(&s) + (int64_t)(eng_chance(&chance) % (uint64_t)MS);
        assert_true(eng_schedule_is_due(&s, now));
        s.sent++;
    }
    assert_true(now - (int64_t)(s.sent - 1) * MS < MS);
}

/* After a stall, all that was due is due at once, and then the rhythm is the old one. */
static void
a_stall_is_made_up_for(void **state)
{
    struct eng_schedule s = {.start_ns = 0, .every_ns = 10 * MS, .sent = 1};
    int late = 0;

    (void)state;
    while (eng_schedule_is_due(&s, 95 * MS)) {
        s.sent++;
        late++;
    }
    assert_int_equal(late, 9);
    assert_int_equal(eng_schedule_due(&s), 100 * MS);
}

static void
an_interval_without_end_does_not_overflow(void **state)
{
    struct eng_schedule s = {
        .start_ns = INT64_MAX - 5, .every_ns = INT64_C(1000000000) * 3600 * 24 * 3660, .sent = 0};

    (void)state;
    assert_int_equal(eng_schedule_due(&s), INT64_MAX - 5);
    s.sent = 1;
    assert_int_equal(eng_schedule_due(&s), INT64_MAX);
    s.sent = UINT64_MAX;
    assert_int_equal(eng_schedule_due(&s), INT64_MAX);
    assert_false(eng_schedule_is_due(&s, INT64_MAX - 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kth_message_is_due_at_start_plus_k_intervals),
        cmocka_unit_test(lateness_does_not_add_up),
        cmocka_unit_test(a_stall_is_made_up_for),
        cmocka_unit_test(an_interval_without_end_does_not_overflow),
    };

    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
