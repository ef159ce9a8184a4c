/*
 * rate.c - see rate.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base.h"

enum { BURSTS_PER_SECOND = 10 };

#define SECOND (1000 * OL_MS)

void
ol_rate_init(struct ol_rate *r, int64_t per_second)
{
    OL_ASSERT(per_second <= OL_RATE_MAX);
    *r = (struct ol_rate){0};
    if (per_second <= 0)
        return;
    r->interval = (SECOND + per_second - 1) / per_second; /* never above the limit */
    if (per_second > BURSTS_PER_SECOND)
        r->slack = (per_second / BURSTS_PER_SECOND - 1) * r->interval;
    atomic_init(&r->due, INT64_MIN);
}

static bool
step(struct ol_rate *r, int64_t now, int64_t latest)
{
    int64_t due = atomic_load_explicit(&r->due, memory_order_relaxed);
    int64_t from;

    OL_ASSERT(ol_rate_is_on(r));
    do {
        from = due > now ? due : now;
        if (from > latest)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&r->due, &due, from + r->interval,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool
ol_rate_take(struct ol_rate *r, int64_t now)
{
    return step(r, now, now + r->slack);
}

void
ol_rate_charge(struct ol_rate *r, int64_t now)
{
    (void)step(r, now, INT64_MAX); /* nothing is later than that */
}

int64_t
ol_rate_when(const struct ol_rate *r)
{
    int64_t due = atomic_load_explicit(&r->due, memory_order_relaxed);

    return due > INT64_MIN + r->slack ? due - r->slack : INT64_MIN;
}
