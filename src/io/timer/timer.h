/*
 * timer.h - a hierarchical timer wheel: start, stop and fire in constant time, a million at once.
 *
 * Ticks are milliseconds.  It never looks at a clock: `now` is an argument.  A timer never fires
 * early; it fires in the first ol_wheel_run() whose now is at or after its deadline.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_TIMER_H
#define OL_TIMER_H

#include "base/base.h"

/* All zero is a stopped timer. */
struct ol_timer {
    struct ol_timer *next;
    struct ol_timer **where; /* what points at us; NULL: stopped */
    ol_time deadline;
};

enum {
    OL_WHEEL_BITS = 6,
    OL_WHEEL_SLOTS = 1 << OL_WHEEL_BITS,
    OL_WHEEL_LEVELS = 6 /* 2^36 ms: two years; later deadlines wait in the last slot again */
};

struct ol_wheel {
    struct ol_timer *slots[OL_WHEEL_LEVELS][OL_WHEEL_SLOTS];
    uint64_t occupied[OL_WHEEL_LEVELS]; /* a bit per slot */
    int64_t tick;                       /* ms that have been run */
    int64_t next; /* tick of what comes next, INT64_MAX: nothing; below 0: must be looked for */
    size_t count;
};

void ol_wheel_init(struct ol_wheel *w, ol_time now);
/* (Re)start.  deadline is absolute, rounded up to the next tick. */
void ol_timer_start(struct ol_wheel *w, struct ol_timer *t, ol_time deadline);
void ol_timer_stop(struct ol_wheel *w, struct ol_timer *t); /* a stopped one is fine */
bool ol_timer_running(const struct ol_timer *t);
int64_t ol_wheel_find_next(struct ol_wheel *w); /* a tick; for the two below */
void ol_wheel_fire(struct ol_wheel *w, int64_t tick, void (*fire)(struct ol_timer *t, void *arg),
                   void *arg);

/* The two are asked for in each turn of a reactor, in most of which no timer was touched. */

/* When the wheel next has something to do; OL_NEVER: nothing.  Never later than the next deadline,
 * may be earlier when a coarse level must be sorted down. */
static inline ol_time
ol_wheel_next(struct ol_wheel *w)
{
    int64_t tick = w->next;

    if (OL_UNLIKELY(tick < 0))
        tick = ol_wheel_find_next(w);
    return tick > OL_NEVER / OL_MS ? OL_NEVER : tick * OL_MS;
}

/* Call fire(t, arg) for each timer that is due; it is stopped before the call and may be started
 * again, stopped or freed in it, like any other timer.  A timer started in `fire` with a deadline
 * that is already past fires in the next run, so that a run always ends. */
static inline void
ol_wheel_run(struct ol_wheel *w, ol_time now, void (*fire)(struct ol_timer *t, void *arg),
             void *arg)
{
    int64_t tick = now / OL_MS;

    if (OL_UNLIKELY(tick >= w->next || tick < w->tick))
        ol_wheel_fire(w, tick, fire, arg);
    else
        w->tick = tick;
}

#endif
