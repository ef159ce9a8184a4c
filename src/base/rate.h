/*
 * rate.h - so many in a second: a token bucket that is one number.
 *
 * The number is when the next one is due if they come evenly (the generic cell rate algorithm of
 * ATM).  It may run ahead of the clock by a burst, a tenth of a second's worth.  Any thread may
 * take: no lock, and what several reactors take at once is counted once for each.  `now` is an
 * argument; clocks that differ a little between reactors do no harm.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_RATE_H
#define OL_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { OL_RATE_MAX = 1000000 /* in a second: above it the rounding would show */ };

struct ol_rate {
    int64_t interval;    /* ns from one to the next, rounded up; 0: no limit */
    int64_t slack;       /* ns that a burst runs ahead */
    _Atomic int64_t due; /* of the next one, by even steps */
};

/* per_second <= 0: no limit. */
void ol_rate_init(struct ol_rate *r, int64_t per_second);
/* One more, if it may be now.  Only with a limit. */
bool ol_rate_take(struct ol_rate *r, int64_t now);
/* One more, which is here and cannot be sent back: those after it wait the longer. */
void ol_rate_charge(struct ol_rate *r, int64_t now);
/* From when on the next one may be taken; in the past: it may be now. */
int64_t ol_rate_when(const struct ol_rate *r);

static inline bool
ol_rate_is_on(const struct ol_rate *r)
{
    return r->interval > 0;
}

#endif
