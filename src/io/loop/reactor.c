/*
 * reactor.c - one turn, and a reactor's life.
 *
 *     wait -> completions -> mail -> alarms -> flush what the turn left -> (wait)
 *
 * The clock is read once per turn, after waiting.  Nothing in a turn blocks but wait().
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <errno.h>
#include <sched.h>

enum { MISSES_MAX = 8, BUSY_LOOKS_PER_WAIT = 8, CROWDED_LOOKS = 8 };

static const ol_time SHORT_SLEEP = OL_MS / 20; /* less than this was not worth lying down for */

_Thread_local struct ol_reactor *ol_current_reactor;

void
ol_alarm_set(struct ol_reactor *r, struct ol_alarm *a, ol_time deadline)
{
    OL_ASSERT(a->fire);
    ol_timer_start(&r->wheel, &a->timer, deadline);
}

void
ol_alarm_clear(struct ol_reactor *r, struct ol_alarm *a)
{
    ol_timer_stop(&r->wheel, &a->timer);
}

static void
alarm_fired(struct ol_timer *t, void *arg)
{
    struct ol_alarm *a = OL_CONTAINER(t, struct ol_alarm, timer);

    a->fire(arg, a);
    OL_ASSERT(ol_current() == arg); /* see ol_reactor_turn() */
}

outlet_err
ol_reactor_open(struct outlet_loop *l, uint32_t index, const struct ol_driver_ops *ops,
                struct ol_reactor **out)
{
    struct ol_driver_opts opts = {.budget = l->budget, .log = &l->log, .world = l->world};
    struct ol_reactor *r = ol_alloc_zero(&l->heap, sizeof *r);
    outlet_err err = OUTLET_ENOMEM;
    int sys;

    if (!r)
        return OUTLET_ENOMEM;
    r->loop = l;
    r->index = index;
    r->heap = &l->heap;
    r->ops = ops;
    r->stop_mail.run = ol_loop_run_stop;
    r->drain_mail.run = ol_loop_run_drain;
    ol_list_init(&r->turn_ends);
    r->cell = ol_cell_take();
    if (!r->cell)
        goto free_reactor;
    sys = ops->open(&r->driver, &opts);
    if (sys < 0) {
        err = sys == -ENOMEM ? OUTLET_ENOMEM : sys == -EMFILE ? OUTLET_ENOFILE : OUTLET_ENOTSUP;
        goto give_back_cell;
    }
    r->now = ol_driver_now(r->driver);
    ol_wheel_init(&r->wheel, r->now);
    ol_share_init(&r->share, l->budget);
    err = ol_timers_init(r);
    if (err)
        goto free_driver;
    err = ol_watches_init(r);
    if (err)
        goto free_timers;
    ol_cell_open(r->cell, r);
    *out = r;
    return OUTLET_OK;

free_timers:
    ol_slots_fini(&r->slots[OL_KIND_TIMER]);
free_driver:
    ol_share_fini(&r->share);
    ops->free(r->driver);
give_back_cell:
    ol_cell_give_back(r->cell);
free_reactor:
    ol_free(&l->heap, r);
    return err;
}

bool
ol_lent_segment(const struct ol_completion *done, uint32_t at, struct ol_lent *out)
{
    uint32_t left;

    if (at >= done->bytes.len)
        return false;
    left = done->bytes.len - at;
    *out = done->bytes;
    out->data += at;
    out->room_before += at;
    out->len = left < done->segment ? left : done->segment;
    out->room_after += left - out->len;
    return true;
}

static void
run_turn_ends(struct ol_reactor *r)
{
    for (struct ol_list *n = r->turn_ends.next; n != &r->turn_ends;) {
        struct ol_turn_end *e = OL_CONTAINER(n, struct ol_turn_end, node);

        n = n->next;
        e->run(r, e);
    }
}

static bool
has_mail(const struct ol_reactor *r)
{
    return atomic_load_explicit(&r->cell->mail, memory_order_acquire) != NULL;
}

static bool
has_retired(const struct ol_reactor *r)
{
    return OL_UNLIKELY(r->retired_now) || OL_UNLIKELY(r->retired_before);
}

/* Retired things wait for visitors, who do not wake us: look again soon, not in a spin. */
static ol_time
next_deadline(struct ol_reactor *r)
{
    ol_time next = ol_wheel_next(&r->wheel);

    if (OL_UNLIKELY(has_mail(r)) || OL_UNLIKELY(r->hurry))
        return 0;
    if (has_retired(r) && next > r->now + OL_MS)
        return r->now + OL_MS;
    return next;
}

static int
look(struct ol_reactor *r)
{
    /* Counted over turns: one that always finds something must not hide all the others. */
    if (!r->busy_poll || !r->ops->look || r->busy_looks++ % BUSY_LOOKS_PER_WAIT == 0)
        return r->ops->wait(r->driver, 0, r->batch, OL_BATCH_MAX);
    return r->ops->look(r->driver, r->batch, OL_BATCH_MAX);
}

/*
 * A sleeping core takes tens of microseconds to wake, so a busy reactor looks again for a while
 * before it sleeps.  Looking that finds nothing several times in a row is waste: then it sleeps at
 * once, until a sleep turns out to have been shorter than the looking would have been.
 *
 * Reactors that share a CPU look a few times, and give way to each other meanwhile.  One that
 * sleeps is woken by its next message in the midst of another's turn, and all that costs more than
 * the message.
 */
OL_APART static int
wait_patiently(struct ol_reactor *r, ol_time until)
{
    ol_time began = ol_driver_now(r->driver);
    ol_time now = began;
    int looks = r->is_crowded ? CROWDED_LOOKS : 0;
    int n = 0;

    while (r->misses < MISSES_MAX && now < until && (looks > 0 || now - began < r->busy_poll)) {
        n = look(r);
        if (n != 0 || has_mail(r)) {
            r->misses = 0;
            return n;
        }
        if (r->is_crowded)
            (void)sched_yield();
        now = ol_driver_now(r->driver);
        looks--;
    }
    r->misses += r->misses < MISSES_MAX;
    n = r->ops->wait(r->driver, until, r->batch, OL_BATCH_MAX);
    if (ol_driver_now(r->driver) - now < (r->busy_poll ? r->busy_poll : SHORT_SLEEP))
        r->misses = 0;
    return n;
}

static int
wait_for_work(struct ol_reactor *r, ol_time until)
{
    if ((OL_UNLIKELY(r->busy_poll) || OL_UNLIKELY(r->is_crowded)) && !r->embedded)
        return wait_patiently(r, until);
    return r->ops->wait(r->driver, until, r->batch, OL_BATCH_MAX);
}

static OL_INSIDE int
turn(struct ol_reactor *r, ol_time until)
{
    struct ol_reactor *outer = ol_current();
    ol_time next = next_deadline(r);
    int n;

    ol_current_set(r);
    r->turning = true;
    n = wait_for_work(r, next < until ? next : until);
    r->hurry = false;
    r->now = ol_driver_now(r->driver);
    for (int i = 0; i < n; i++) {
        struct ol_completion *c = &r->batch[i];

        c->link->ops->complete(c->link, c);
        OL_ASSERT(ol_current() ==
                  r); /* else a forked child came back from a callback of its parent's */
    }
    if (OL_UNLIKELY(has_mail(r)))
        ol_mail_run(r);
    ol_wheel_run(&r->wheel, r->now, alarm_fired, r);
    run_turn_ends(r);
    if (has_retired(r))
        ol_retired_run(r);
    if (OL_UNLIKELY(atomic_load_explicit(&r->loop->draining, memory_order_acquire)))
        ol_loop_note_drained(r);
    /* Whoever decides when the next turn comes must know: a foreign loop, or the simulated world.
     */
    if (OL_UNLIKELY(r->embedded) || OL_UNLIKELY(r->loop->world))
        r->ops->arm(r->driver, next_deadline(r));
    r->turning = false;
    ol_current_set(outer);
    return n < 0 ? n : 0;
}

int
ol_reactor_turn(struct ol_reactor *r, ol_time until)
{
    return turn(r, until);
}

int
ol_reactor_run(struct ol_reactor *r)
{
    while (!ol_reactor_done(r)) {
        int sys = turn(r, OL_NEVER);

        if (OL_UNLIKELY(sys < 0))
            return sys;
    }
    return 0;
}

/*
 * Mail that arrives while the cell is being shut may begin things (a connect), which end at once
 * because the reactor is stopping, but whose links need more turns.
 */
void
ol_reactor_end(struct ol_reactor *r)
{
    struct ol_reactor *outer = ol_current();

    OL_ASSERT(!r->ended);
    ol_cell_close(r->cell);
    ol_current_set(r);
    do {
        while (ol_mail_run(r)) {
        }
        if (r->live && !r->failed && ol_reactor_turn(r, 0) < 0)
            r->failed = true;
        ol_current_set(r);
    } while (!r->failed && (r->live || has_mail(r)));
    while (ol_mail_run(r)) {
    }
    ol_retired_flush(r);
    ol_current_set(outer);
    r->ended = true;
}

void
ol_reactor_free(struct ol_reactor *r)
{
    if (!r->ended)
        ol_cell_close(r->cell);
    for (size_t k = 0; k < OL_KIND_COUNT; k++) {
        if (r->slots[k].chunks)
            ol_slots_fini(&r->slots[k]);
    }
    r->ops->free(r->driver);
    ol_share_fini(&r->share);
    ol_cell_give_back(r->cell);
    ol_free(&r->loop->heap, r);
}
