/*
 * queued.c - what waits to leave a connection: in its queue, lent to the driver, or in the mail.
 *
 * A queue is made when something must wait, and freed when nothing does: a connection at rest has
 * none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

/* In the queue, or with the driver.  A queue holds what was lent, too. */
size_t
ol_conn_waiting(const struct ol_conn *c)
{
    return c->lent ? ol_wire_lent(c).iov_len : c->queue ? c->queue->bytes : 0;
}

int64_t
ol_conn_queued(const struct ol_conn *c)
{
    const struct ol_wire *w = ol_wire_of(c);

    return (int64_t)ol_conn_waiting(c) + (w->conn == c ? (int64_t)w->used : 0) + ol_conn_mailed(c);
}

int64_t
ol_conn_queued_seen(const struct ol_conn *c)
{
    uint32_t shown = atomic_load_explicit(&c->cold->shown_queued, memory_order_relaxed);

    return (int64_t)(shown & ~OL_SHOWN_OWED) * 16 + ol_conn_mailed(c);
}

/* After the queue grew or shrank.  It may take OL_SHOWN_OWED away: then one more mail is posted. */
void
ol_conn_show_queued(struct ol_conn *c)
{
    uint64_t units = c->queue ? (c->queue->bytes + 15) / 16 : 0;

    atomic_store_explicit(&c->cold->shown_queued, (uint32_t)ol_min(units, OL_SHOWN_OWED - 1),
                          memory_order_relaxed);
}

bool
ol_keeps_borders(const struct ol_settings *s)
{
    return !s->transport->stream || s->full == OUTLET_FULL_DROP_OLD;
}

/* Made when it is needed.  What the wire has lent then becomes its first message. */
struct ol_queue *
ol_conn_queue_of(struct ol_conn *c)
{
    struct ol_queue *q = c->queue;

    if (q)
        return q;
    OL_ASSERT(ol_wire_of(c)->conn != c); /* else what waits there would be overtaken */
    q = ol_queue_new(&ol_net_of(c->cold->reactor)->store, ol_keeps_borders(ol_conn_settings(c)));
    if (!q)
        return NULL;
    q->owner = c;
    c->queue = q;
    if (c->lent) {
        struct iovec lent = ol_wire_lent(c);

        ol_queue_borrow(q, lent.iov_base, lent.iov_len);
        c->lent = 0;
        c->flags |= CONN_SENDING;
    }
    return q;
}

/* The driver reads it no more, and no queue has it. */
void
ol_conn_take_back(struct ol_conn *c)
{
    c->lent = 0;
    ol_wire_returned(ol_wire_of(c));
}

void
ol_net_forget_dirty(struct ol_net *n, struct ol_queue *gone)
{
    struct ol_queue **at = &n->dirty_first;
    struct ol_queue *before = NULL;

    while (*at != gone) {
        before = *at;
        at = &before->next_dirty;
    }
    *at = gone->next_dirty;
    if (n->dirty_last == gone)
        n->dirty_last = before;
    gone->dirty = false;
}

void
ol_conn_queue_free(struct ol_conn *c)
{
    struct ol_queue *q = c->queue;

    if (c->lent)
        ol_conn_take_back(c);
    if (!q)
        return;
    if (q->dirty)
        ol_net_forget_dirty(ol_net_of(c->cold->reactor), q);
    if (q->borrows)
        ol_wire_returned(ol_wire_of(c));
    ol_queue_returned(q);
    ol_queue_free(q);
    c->queue = NULL;
}

void
ol_conn_mark_dirty(struct ol_conn *c)
{
    struct ol_net *n = ol_net_of(c->cold->reactor);
    struct ol_queue *q = c->queue;

    if (q->dirty)
        return;
    q->dirty = true;
    q->next_dirty = NULL;
    if (n->dirty_last)
        n->dirty_last->next_dirty = q;
    else
        n->dirty_first = q;
    n->dirty_last = q;
}

void
ol_conn_count_sent(struct ol_conn *c, size_t bytes)
{
    struct ol_reactor *r = c->cold->reactor;

    if (!bytes)
        return;
    ol_count_add(&c->bytes_out, (int64_t)bytes);
    if (ol_conn_state(c) == CONN_OPEN)
        atomic_store_explicit(&c->active, r->now, memory_order_relaxed);
    if (c->queue && c->queue->stalled_since != OL_NEVER)
        c->queue->stalled_since = r->now;
}

void
ol_conn_count_dropped(struct ol_conn *c, size_t messages)
{
    struct ol_extra *extra = ol_conn_extra(c); /* without memory the count is lost, nothing else */

    if (extra)
        ol_count_add(&extra->dropped, (int64_t)messages);
    c->queue->dropped += messages;
    ol_conn_mark_dirty(c); /* on_event is told at the end of the turn */
}

void
ol_conn_count_missed(struct ol_conn *c)
{
    struct ol_extra *extra = ol_conn_extra(c); /* without memory the count is lost, nothing else */

    if (extra)
        ol_count_add(&extra->dropped, 1);
}
