/*
 * limits.c - everything of a connection that runs out of time, on one lazily re-armed alarm.
 *
 * The alarm is never moved by traffic.  When it fires, the deadlines are computed from what is
 * known (when bytes last moved, since when a message is unfinished): either one has come, or the
 * alarm is set to the next.  Only something new with an earlier deadline moves it forward.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "relay.h"

struct deadline {
    ol_time at;
    enum ol_cause cause;
    enum outlet_side side;
};

static ol_time
after(ol_time since, ol_time duration)
{
    return since == OL_NEVER || duration == OL_NEVER ? OL_NEVER : since + duration;
}

static void
earlier(struct deadline *d, ol_time at, enum ol_cause cause, enum outlet_side side)
{
    if (at < d->at)
        *d = (struct deadline){at, cause, side};
}

/*
 * While we do not read, the peer's time stands still.  But a message that began before memory_max
 * was reached holds memory: if it waited for ever, and others like it, nothing would move again.
 */
static void
reading_deadline(const struct ol_conn *c, ol_time active, struct deadline *d)
{
    const struct ol_settings *s = ol_conn_settings(c);
    bool starved = c->flags & CONN_STARVED;

    if (c->flags & CONN_STOPPED)
        return;
    if (c->flags & CONN_RELAYED && c->flags & CONN_PEER_ENDED && ol_relay_waits_to_end(c))
        earlier(d, after(active, s->flush), CAUSE_PEER, OUTLET_BY_PEER);
    if (!starved)
        earlier(d, after(active, s->idle), CAUSE_IDLE, OUTLET_BY_PEER);
    if (c->input && !starved)
        earlier(d, after(c->input->last, ol_conn_silence(c)), CAUSE_NONE, OUTLET_BY_PEER);
    if (c->input)
        earlier(d, after(c->input->since, s->partial), starved ? CAUSE_MEMORY : CAUSE_PARTIAL,
                starved ? OUTLET_BY_US : OUTLET_BY_PEER);
}

static struct deadline
next_deadline(const struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct deadline d = {OL_NEVER, CAUSE_NONE, OUTLET_BY_PEER};
    ol_time active = atomic_load_explicit(&c->active, memory_order_relaxed);

    switch (ol_conn_state(c)) {
    case CONN_DIALING:
        earlier(&d, after(active, s->connect), CAUSE_CONNECT_TIME, OUTLET_BY_SYSTEM);
        break;
    case CONN_SHAKING:
        earlier(&d, after(active, s->handshake), CAUSE_CONNECT_TIME, OUTLET_BY_PEER);
        break;
    case CONN_OPEN:
        reading_deadline(c, active, &d);
        if (c->queue)
            earlier(&d, after(c->queue->stalled_since, s->stall), CAUSE_STALL, OUTLET_BY_PEER);
        break;
    case CONN_FLUSHING:
    case CONN_LINGERING:
        /* `active` stands still from the close on. */
        earlier(&d, after(active, s->flush), CAUSE_FLUSH_TIME, OUTLET_BY_PEER);
        break;
    case CONN_NONE:
    case CONN_CLOSING:
    case CONN_CLOSED:
        break;
    }
    return d;
}

/* A peer that does not end after us, when all was sent, is no failure: we just stop listening to
 * it. */
static void
expire(struct ol_conn *c, const struct deadline *d)
{
    if (d->cause == CAUSE_FLUSH_TIME) {
        /* With a reset: the peer must not take half of a message for an orderly end. */
        if (ol_conn_has_unsent(c))
            ol_conn_break(c, CAUSE_FLUSH_TIME, OUTLET_ETIMEDOUT, OUTLET_BY_PEER);
        else
            ol_conn_break(c, c->cause, OUTLET_OK, OUTLET_BY_US);
        return;
    }
    if (d->cause == CAUSE_NONE) { /* a message has ended, and nothing else */
        ol_conn_deliver_silent(c);
        ol_conn_limits_start(c);
        return;
    }
    if (d->cause == CAUSE_PEER) {
        ol_conn_close(c, OUTLET_BY_PEER);
        return;
    }
    ol_conn_break(c, (uint8_t)d->cause, d->cause == CAUSE_MEMORY ? OUTLET_ENOMEM : OUTLET_ETIMEDOUT,
                  d->side);
}

static void
fired(struct ol_reactor *r, struct ol_alarm *a)
{
    struct ol_conn_cold *cold = OL_CONTAINER(a, struct ol_conn_cold, alarm);
    struct ol_conn *c = cold->conn;
    struct deadline d = next_deadline(c);

    if (d.at == OL_NEVER)
        return;
    if (d.at > r->now) {
        ol_alarm_set(r, a, d.at);
        return;
    }
    expire(c, &d);
}

void
ol_conn_limit_by(struct ol_conn *c, ol_time deadline)
{
    struct ol_alarm *a = &c->cold->alarm;

    if (deadline == OL_NEVER)
        return;
    a->fire = fired;
    if (!ol_timer_running(&a->timer) || a->timer.deadline > deadline)
        ol_alarm_set(c->cold->reactor, a, deadline);
}

void
ol_conn_limits_start(struct ol_conn *c)
{
    ol_conn_limit_by(c, next_deadline(c).at);
}

/* Set so early that nothing which this connection may ask for later is earlier: one that is short
 * never moves its alarm.  One that stays looks once at what it waits for, and goes by that. */
void
ol_conn_limits_open(struct ol_conn *c)
{
    ol_conn_limit_by(c, after(c->cold->reactor->now, ol_conn_settings(c)->soonest));
}

/* We did not read: the time that passed says nothing about the peer. */
void
ol_conn_limits_resume(struct ol_conn *c)
{
    ol_time now = c->cold->reactor->now;

    atomic_store_explicit(&c->active, now, memory_order_relaxed);
    if (c->input) {
        c->input->since = now;
        c->input->last = now;
    }
    ol_conn_limits_start(c);
}
