/*
 * timer.c - the wheel: six levels of 64 slots, each level 64 times coarser than the one below.
 *
 * A timer lies on the level of the highest base-64 digit in which its tick differs from the
 * wheel's, in the slot of its own digit there.  So on every level the used slots lie ahead of the
 * wheel's own digit, nothing wraps around, and the first used slot of the lowest used level is the
 * next event. Slot 0 of the top level can never be used by that rule (0 is ahead of nothing):
 * timers beyond the top level's 2^36 ms wait there for its next turn.
 *
 * A newcomer's mistake: to fire timers while slots are being walked.  Here everything due is first
 * moved to a list of its own; `fire` may then do to any timer what it likes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "timer.h"

enum {
    TOP = OL_WHEEL_LEVELS - 1,
    SLOT_MASK = OL_WHEEL_SLOTS - 1,
    RANGE_BITS = OL_WHEEL_BITS * OL_WHEEL_LEVELS
};

struct event {
    int level;
    int slot;
    int64_t tick;
};

/* Rounded up: the first tick that is not early. */
static int64_t
tick_of(ol_time deadline)
{
    return deadline / OL_MS + (deadline % OL_MS > 0);
}

static int
digit(int64_t tick, int level)
{
    return (int)(tick >> (OL_WHEEL_BITS * level)) & SLOT_MASK;
}

void
ol_wheel_init(struct ol_wheel *w, ol_time now)
{
    OL_ASSERT(now >= 0);
    memset(w, 0, sizeof *w);
    w->tick = now / OL_MS;
    w->next = INT64_MAX;
}

static void
push(struct ol_timer **where, struct ol_timer *t)
{
    t->next = *where;
    t->where = where;
    if (t->next)
        t->next->where = &t->next;
    *where = t;
}

static void
place(struct ol_wheel *w, struct ol_timer *t)
{
    int64_t tick = tick_of(t->deadline);
    uint64_t ahead;
    int level;
    int slot;

    if (tick < w->tick)
        tick = w->tick;
    ahead = (uint64_t)(tick ^ w->tick);
    if (ahead >> RANGE_BITS) {
        level = TOP;
        slot = 0;
    } else {
        level = ahead ? (63 - __builtin_clzll(ahead)) / OL_WHEEL_BITS : 0;
        slot = digit(tick, level);
    }
    push(&w->slots[level][slot], t);
    w->occupied[level] |= (uint64_t)1 << slot;
    w->next = -1;
}

/* If `where` is a slot that has become empty, its bit must go. */
static void
mark_empty(struct ol_wheel *w, struct ol_timer **where)
{
    uintptr_t first = (uintptr_t)&w->slots[0][0];
    uintptr_t at = (uintptr_t)where;
    size_t i;

    if (at < first || at >= first + sizeof w->slots)
        return; /* another timer's next, or the head of the due list */
    i = (at - first) / sizeof w->slots[0][0];
    w->occupied[i / OL_WHEEL_SLOTS] &= ~((uint64_t)1 << (i % OL_WHEEL_SLOTS));
    w->next = -1;
}

void
ol_timer_start(struct ol_wheel *w, struct ol_timer *t, ol_time deadline)
{
    ol_timer_stop(w, t);
    t->deadline = deadline;
    place(w, t);
    w->count++;
}

void
ol_timer_stop(struct ol_wheel *w, struct ol_timer *t)
{
    struct ol_timer **where = t->where;

    if (!where)
        return;
    OL_ASSERT(*where == t && w->count > 0);
    *where = t->next;
    if (t->next) {
        t->next->where = where;
    } else {
        mark_empty(w, where);
    }
    t->next = NULL;
    t->where = NULL;
    w->count--;
}

bool
ol_timer_running(const struct ol_timer *t)
{
    return t->where != NULL;
}

/* The next slot to be fired (level 0) or sorted down (above).  False: the wheel is empty. */
static bool
next_event(const struct ol_wheel *w, struct event *e)
{
    const uint64_t beyond = 1; /* slot 0 of the top level: after everything else */

    for (int level = 0; level < OL_WHEEL_LEVELS; level++) {
        uint64_t ahead = w->occupied[level] & UINT64_MAX << digit(w->tick, level);
        int bits = OL_WHEEL_BITS * level;
        int turn = bits + OL_WHEEL_BITS;

        if (level == TOP)
            ahead &= ~beyond;
        if (!ahead)
            continue;
        e->level = level;
        e->slot = __builtin_ctzll(ahead);
        e->tick = w->tick >> turn << turn | (int64_t)e->slot << bits;
        OL_ASSERT(level == 0 ? e->tick >= w->tick : e->tick > w->tick);
        return true;
    }
    if (w->occupied[TOP] & beyond) {
        e->level = TOP;
        e->slot = 0;
        e->tick = ((w->tick >> RANGE_BITS) + 1) << RANGE_BITS;
        return true;
    }
    return false;
}

int64_t
ol_wheel_find_next(struct ol_wheel *w)
{
    struct event e;

    if (w->next < 0)
        w->next = next_event(w, &e) ? e.tick : INT64_MAX;
    return w->next;
}

static struct ol_timer *
take_slot(struct ol_wheel *w, int level, int slot)
{
    struct ol_timer *first = w->slots[level][slot];

    w->slots[level][slot] = NULL;
    w->occupied[level] &= ~((uint64_t)1 << slot);
    w->next = -1;
    return first;
}

/* Move the wheel to `tick`; what is due on the way goes into the list *due, earliest first. */
OL_APART static void
advance(struct ol_wheel *w, int64_t tick, struct ol_timer **due)
{
    struct event e;
    struct ol_timer *t;
    struct ol_timer *next;

    while (next_event(w, &e) && e.tick <= tick) {
        w->tick = e.tick;
        for (t = take_slot(w, e.level, e.slot); t; t = next) {
            next = t->next;
            if (e.level > 0) {
                place(w, t);
            } else {
                push(due, t);
                due = &t->next;
            }
        }
    }
    w->tick = tick;
}

void
ol_wheel_fire(struct ol_wheel *w, int64_t tick, void (*fire)(struct ol_timer *t, void *arg),
              void *arg)
{
    struct ol_timer *due = NULL;
    struct ol_timer *t;

    if (tick < w->tick)
        return; /* the clock of somebody else; early is worse than late */
    if (tick < ol_wheel_find_next(w)) {
        w->tick = tick;
        return;
    }
    advance(w, tick, &due);
    while (due) {
        t = due;
        ol_timer_stop(w, t);
        fire(t, arg);
    }
}
