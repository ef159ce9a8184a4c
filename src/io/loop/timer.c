/*
 * timer.c - the public timers: an alarm behind a handle.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

struct timer {
    struct ol_alarm alarm;
    struct ol_retired retired;
    void (*fn)(outlet_timer t, void *arg);
    void *arg;
    ol_time repeat;
    ol_time deadline;
    uint64_t id;
    uint32_t slot;
    bool ended;
};

struct timer_mail {
    struct ol_mail mail;
    uint64_t id;
    ol_time deadline; /* start; -1: stop */
};

static struct timer *
timer_of(struct ol_reactor *r, uint64_t id)
{
    struct ol_handle h;

    if (!ol_handle_unpack(id, OL_KIND_TIMER, &h) || h.cell != r->cell->index)
        return NULL;
    return ol_slot_get(&r->slots[OL_KIND_TIMER], h.slot, h.generation);
}

static void
destroy(struct ol_reactor *r, struct ol_retired *x)
{
    struct timer *t = OL_CONTAINER(x, struct timer, retired);

    ol_slot_give_back(&r->slots[OL_KIND_TIMER], t->slot);
}

static void
end(struct ol_reactor *r, struct timer *t)
{
    OL_ASSERT(!t->ended);
    t->ended = true;
    ol_alarm_clear(r, &t->alarm);
    ol_slot_hide(&r->slots[OL_KIND_TIMER], t->slot);
    ol_retire(r, &t->retired, destroy);
}

/* The next deadline is counted from the last one, not from now: a late call does not shift those
 * after it.  Calls that were missed altogether are not made up for. */
static void
fired(struct ol_reactor *r, struct ol_alarm *a)
{
    struct timer *t = OL_CONTAINER(a, struct timer, alarm);

    if (t->repeat) {
        t->deadline += t->repeat;
        if (t->deadline <= r->now)
            t->deadline += (r->now - t->deadline) / t->repeat * t->repeat + t->repeat;
        ol_alarm_set(r, &t->alarm, t->deadline);
        t->fn((outlet_timer){t->id}, t->arg);
        return;
    }
    end(r, t);
    t->fn((outlet_timer){t->id}, t->arg);
}

static void
run_mail(struct ol_reactor *r, struct ol_mail *m)
{
    struct timer_mail *mail = OL_CONTAINER(m, struct timer_mail, mail);
    struct timer *t = timer_of(r, mail->id);

    if (t && mail->deadline < 0) {
        end(r, t);
    } else if (t) {
        t->deadline = mail->deadline;
        ol_alarm_set(r, &t->alarm, t->deadline);
    }
    ol_free(r->heap, mail);
}

static struct timer_mail *
mail_new(struct ol_reactor *r, ol_time deadline)
{
    struct timer_mail *m = ol_alloc(r->heap, sizeof *m);

    if (m)
        *m = (struct timer_mail){.mail.run = run_mail, .deadline = deadline};
    return m;
}

/* Counted from the clock, not from when the turn began: a timer is never early. */
static outlet_err
make(struct ol_reactor *r, struct timer what, ol_time after, outlet_timer *out)
{
    struct ol_slots *slots = &r->slots[OL_KIND_TIMER];
    struct ol_handle h = {.kind = OL_KIND_TIMER, .cell = r->cell->index};
    struct timer_mail *m = NULL;
    void *hot;
    void *cold;
    struct timer *t;
    outlet_err err;

    what.deadline = ol_driver_now(r->driver) + after;
    if (ol_current() != r) {
        m = mail_new(r, what.deadline);
        if (!m)
            return OUTLET_ENOMEM;
    }
    err = ol_slot_take(slots, &h.slot, &h.generation, &hot, &cold);
    if (err) {
        ol_free(r->heap, m);
        return err;
    }
    t = hot;
    *t = what;
    t->slot = h.slot;
    t->id = ol_handle_pack(h);
    out->id = t->id; /* before the mail: fn may run on the reactor at once */
    ol_slot_publish(slots, h.slot);
    if (m) {
        m->id = out->id;
        ol_post(r, &m->mail);
    } else {
        ol_alarm_set(r, &t->alarm, t->deadline);
    }
    return OUTLET_OK;
}

outlet_err
outlet_timer_start(outlet_loop *l, int64_t after_ms, int64_t repeat_ms,
                   void (*fn)(outlet_timer t, void *arg), void *arg, outlet_timer *out)
{
    struct timer what = {.alarm.fire = fired, .fn = fn, .arg = arg};
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = ol_loop_check(l);

    if (err)
        return err;
    if (!fn || !out || after_ms < 0 || repeat_ms < 0 || after_ms > INT64_MAX / OL_MS / 4 ||
        repeat_ms > INT64_MAX / OL_MS / 4)
        return OUTLET_EINVAL;
    what.repeat = repeat_ms * OL_MS;
    r = ol_loop_pick(l, true);
    if (!ol_enter(r->cell, &epoch))
        return OUTLET_ESTATE;
    err = make(r, what, after_ms * OL_MS, out);
    ol_leave(r->cell, epoch);
    return err;
}

static outlet_err
mail_stop(struct ol_reactor *r, uint64_t id)
{
    struct timer_mail *m = mail_new(r, -1);

    if (!m)
        return OUTLET_ENOMEM;
    m->id = id;
    ol_post(r, &m->mail);
    return OUTLET_OK;
}

outlet_err
outlet_timer_stop(outlet_timer handle)
{
    struct ol_handle h;
    struct ol_cell *c;
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = OUTLET_ESTALE;

    if (!ol_handle_unpack(handle.id, OL_KIND_TIMER, &h) || !(c = ol_cell_at(h.cell)))
        return OUTLET_ESTALE;
    r = ol_enter(c, &epoch);
    if (!r)
        return OUTLET_ESTALE;
    if (timer_of(r, handle.id)) {
        if (ol_current() == r) {
            end(r, timer_of(r, handle.id));
            err = OUTLET_OK;
        } else {
            err = mail_stop(r, handle.id);
        }
    }
    ol_leave(c, epoch);
    return err;
}

outlet_err
ol_timers_init(struct ol_reactor *r)
{
    return ol_slots_init(&r->slots[OL_KIND_TIMER], r->cell->generations[OL_KIND_TIMER], r->heap,
                         sizeof(struct timer), 0);
}
