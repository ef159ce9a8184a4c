/*
 * schedule.c - start + k * every, without an overflow.
 *
 * SPDX-License-Identifier: MIT
 */
#include "schedule.h"

int64_t
eng_schedule_due(const struct eng_schedule *s)
{
    int64_t after;
    int64_t due;

    if (__builtin_mul_overflow(s->sent, s->every_ns, &after) ||
        __builtin_add_overflow(s->start_ns, after, &due))
        return INT64_MAX;
    return due;
}

bool
eng_schedule_is_due(const struct eng_schedule *s, int64_t now_ns)
{
    return eng_schedule_due(s) <= now_ns;
}
