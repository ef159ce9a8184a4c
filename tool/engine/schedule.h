/*
 * schedule.h - when messages are due that are sent every so often.  Pure: the clock is given.
 *
 * The k-th message, from 0, is due at start + k * every.  A newcomer's mistake: to count from the
 * last one that was sent.  Each would be late by a little, and the lateness adds up.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_SCHEDULE_H
#define ENG_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct eng_schedule {
    int64_t start_ns;
    int64_t every_ns; /* 0: all are due at once */
    uint64_t sent;
};

int64_t eng_schedule_due(const struct eng_schedule *s); /* of the next one */
bool eng_schedule_is_due(const struct eng_schedule *s, int64_t now_ns);

#endif
