/*
 * flush.c - the turn's end: what waits goes to the driver, and what follows when it has left.
 *
 *     queue --> flush --> driver --> sent: room again, on_writable, an end or a close that waited
 *
 * What a newcomer gets wrong: callbacks are told here that may close the connection or fill its
 * queue anew, so queue and state are looked at again after each.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "relay.h"

#include <errno.h>

static void
tell_dropped(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    size_t dropped = c->queue ? c->queue->dropped : 0;

    if (!dropped)
        return;
    c->queue->dropped = 0;
    if (s->on.on_event)
        s->on.on_event(ol_conn_handle(c), OUTLET_EVENT_DROPPED, (int64_t)dropped,
                       atomic_load_explicit(&c->user, memory_order_relaxed));
}

/* The network said of an earlier datagram that it could not be delivered; the next one may. */
void
ol_conn_peer_error(struct ol_conn *c, int sys_errno)
{
    const struct ol_settings *s = ol_conn_settings(c);

    if (ol_conn_state(c) == CONN_OPEN && s->on.on_event)
        s->on.on_event(ol_conn_handle(c), OUTLET_EVENT_PEER_ERROR, sys_errno,
                       atomic_load_explicit(&c->user, memory_order_relaxed));
}

static void
tell_writable(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);

    if (ol_conn_state(c) == CONN_OPEN && s->on.on_writable)
        s->on.on_writable(ol_conn_handle(c), atomic_load_explicit(&c->user, memory_order_relaxed));
    if (ol_conn_state(c) == CONN_OPEN)
        ol_relay_room(c);
}

/* What was on its way then may have left without the queue ever standing that high here. */
void
ol_conn_owe_writable(struct ol_conn *c)
{
    if (ol_conn_has_unsent(c) && ol_conn_queue_of(c)) {
        c->queue->owed = true;
        ol_conn_mark_dirty(c);
    } else {
        tell_writable(c);
    }
}

/* The driver holds pieces of the queue. */
static void
wait_for_sent(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);

    ol_conn_show_queued(c);
    if (c->queue->stalled_since != OL_NEVER)
        return;
    c->queue->stalled_since = c->cold->reactor->now;
    if (s->stall != OL_NEVER)
        ol_conn_limit_by(c, c->queue->stalled_since + s->stall);
}

/* The kernel took something, or everything. */
void
ol_conn_after_flush(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_queue *q = c->queue;
    bool writable = q && q->owed && q->bytes <= s->low;

    tell_dropped(c);
    q = c->queue;
    if (writable && q)
        q->owed = false;
    if (q && q->count == 0 && !(c->flags & CONN_SENDING))
        ol_conn_queue_free(c);
    ol_conn_show_queued(c);
    if (writable)
        tell_writable(c);
    if (c->queue && c->flags & CONN_SENDING)
        wait_for_sent(c);
    if (ol_conn_has_unsent(c))
        return;
    if (ol_conn_mailed(c))
        return; /* more was taken: its mail leads here again */
    if (ol_conn_state(c) == CONN_FLUSHING) {
        ol_conn_flush_step(c);
        return;
    }
    if (c->flags & CONN_END_ASKED && !(c->flags & CONN_ENDED) && ol_conn_state(c) == CONN_OPEN) {
        int sys = s->transport->end_writing(c);

        c->flags |= CONN_ENDED;
        if (sys < 0)
            ol_conn_fail(c, -sys);
        else if (c->flags & CONN_PEER_ENDED && !c->input)
            ol_conn_close(c, OUTLET_BY_PEER); /* else once what is held was delivered */
    }
}

void
ol_conn_mail_done(struct ol_conn *c)
{
    enum ol_conn_state state = ol_conn_state(c);

    if (ol_conn_has_unsent(c))
        return;
    if (state == CONN_LINGERING)
        ol_conn_flush_step(c);
    else if (state == CONN_OPEN || state == CONN_FLUSHING)
        ol_conn_after_flush(c);
}

static void
flush(struct ol_conn *c)
{
    enum ol_conn_state state = ol_conn_state(c);
    int sys;

    if (state != CONN_OPEN && state != CONN_FLUSHING)
        return; /* not open yet: stays queued.  Closing: nothing leaves any more */
    if (c->flags & CONN_SENDING) {
        tell_dropped(c);
        return;
    }
    sys = ol_conn_settings(c)->transport->flush(c);
    if (sys == -ENODATA)
        ol_conn_break(c, CAUSE_FILE, OUTLET_ESYS, OUTLET_BY_US);
    else if (sys < 0)
        ol_conn_fail(c, -sys);
    else if (c->flags & CONN_SENDING && !c->queue->owed && !c->queue->dropped)
        wait_for_sent(c); /* nobody is to be told anything */
    else
        ol_conn_after_flush(c);
}

/* Does an end wait for what was taken, or a program that looks at it between two turns? */
static bool
must_hear(const struct ol_conn *c)
{
    return OL_UNLIKELY(ol_conn_state(c) != CONN_OPEN) || OL_UNLIKELY(c->flags & CONN_END_ASKED) ||
           OL_UNLIKELY(c->cold->reactor->by_turns);
}

/* Will anything be done when the pending send is heard of, but to free memory and to count? */
bool
ol_conn_awaits_sent(const struct ol_conn *c)
{
    const struct ol_queue *q = c->queue;

    return must_hear(c) ||
           (OL_UNLIKELY(!c->lent) && (!q || q->owed || q->dropped || q->out < q->count));
}

bool
ol_conn_took(struct ol_conn *c, size_t bytes)
{
    if (OL_UNLIKELY(!c->lent) || must_hear(c))
        return false;
    ol_conn_take_back(c);
    ol_count_add(&c->bytes_out, (int64_t)bytes); /* `active` was set by what was answered */
    return true;
}

/* Of what was lent.  What is left goes to a queue. */
static outlet_err
lent_sent(struct ol_conn *c, int32_t result)
{
    if (result >= 0 && (size_t)result == ol_wire_lent(c).iov_len) {
        ol_conn_take_back(c);
    } else if (!ol_conn_queue_of(c)) {
        ol_conn_take_back(c);
        return OUTLET_ENOMEM;
    }
    return OUTLET_OK;
}

void
ol_conn_sent(struct ol_conn *c, int32_t result)
{
    bool was_lent = c->lent;
    outlet_err err = was_lent ? lent_sent(c, result) : OUTLET_OK;
    struct ol_queue *q = c->queue;

    c->flags &= (uint16_t)~CONN_SENDING;
    if (!q && !was_lent)
        return;
    if (q && q->borrows) {
        err = ol_queue_settle(q, result > 0 ? (size_t)result : 0);
        ol_wire_returned(ol_wire_of(c));
    } else if (q) {
        ol_queue_returned(q);
        if (result > 0) /* 0: room again.  An empty datagram must not count as taken by that */
            ol_queue_taken(q, (size_t)result);
    }
    if (ol_conn_state(c) >= CONN_CLOSING)
        return;
    if (result < 0) {
        ol_conn_fail(c, -result);
        return;
    }
    if (err) { /* it was taken, so it cannot be refused any more */
        ol_conn_break(c, CAUSE_MEMORY, err, OUTLET_BY_US);
        return;
    }
    ol_conn_count_sent(c, (size_t)result);
    if (q && q->count)
        flush(c);
    else if (ol_conn_state(c) == CONN_OPEN || ol_conn_state(c) == CONN_FLUSHING)
        ol_conn_after_flush(c);
}

/* Callbacks in a flush may make more dirty.  A pair that answer each other for ever must not hold
 * the turn: only what was there at the start is walked, the rest leaves in the next turn, soon. */
OL_APART static void
flush_dirty(struct ol_net *n)
{
    struct ol_queue *last = n->dirty_last;

    while (n->dirty_first) {
        struct ol_queue *q = n->dirty_first;
        bool is_last = q == last;

        n->dirty_first = q->next_dirty;
        if (!n->dirty_first)
            n->dirty_last = NULL;
        q->dirty = false;
        flush(q->owner);
        if (is_last)
            break;
    }
}

void
ol_net_flush(struct ol_net *n)
{
    if (OL_UNLIKELY(n->wire.conn)) {
        OL_ASSERT(n->wire.is_train); /* a stream's wire ends with the delivery */
        ol_wire_flush(&n->wire);
    }
    if (OL_UNLIKELY(n->dirty_first))
        flush_dirty(n);
}
