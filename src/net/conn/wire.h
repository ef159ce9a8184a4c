/*
 * wire.h - the short way out: what a connection answers while it is being delivered to.
 *
 *     received -> open -> callbacks, whose sends are copied here -> flush: one system call
 *
 * Nearly every server answers in the callback.  A queue for that is made, filled, walked and given
 * back within microseconds; one buffer for each reactor does the same with a copy and a send, while
 * all that it touches is still in the cache.  It is used only where nothing is queued, nothing is
 * posted, and `high` and memory_max are far; in every other case, and for what the kernel does not
 * take, there is the queue.
 *
 * A stream's wire ends with the delivery, and borders that must be kept are left to the queue.  A
 * driver that gathers the sends of a turn reads what was answered from here when it enters the
 * kernel, so each connection's answers have a place of their own until it has.  Datagrams of one
 * size form a train, which waits for more of them until another connection answers or the turn
 * ends.
 *
 * What a newcomer gets wrong: while the wire is open it stands *before* the queue.  Whatever looks
 * at the queue, adds to it or ends the connection must flush it first (ol_wire_leave).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_WIRE_H
#define OL_WIRE_H

#include "conn.h"

enum { OL_WIRE_AROUND_MAX = OUTLET_FRAME_HEAD_MAX + OUTLET_FRAME_TAIL_MAX };

/* Not by this way: take the queue. */
#define OL_WIRE_PAST INT64_MIN

static inline void
ol_wire_close(struct ol_wire *w)
{
    w->conn = NULL;
    w->id = 0;
    w->used = 0;
    w->count = 0;
    w->segment = 0;
    w->is_ended = false;
}

/* For c, if all of its sends may go this way. */
static inline void
ol_wire_open(struct ol_wire *w, struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    const struct ol_budget *b = c->cold->reactor->share.budget;

    if (OL_UNLIKELY(w->conn)) {
        if (w->conn == c)
            return;
        ol_wire_yield(w);
    }
    if (OL_UNLIKELY(!s->wire_room) || ol_conn_has_unsent(c) ||
        OL_UNLIKELY(c->flags & (CONN_END_ASKED | CONN_ENDED)) ||
        OL_UNLIKELY(atomic_load_explicit(&b->used, memory_order_relaxed) > w->used_max))
        return;
    w->conn = c;
    w->id = c->id;
    w->at = w->bytes + w->from;
    w->room = ol_min(s->wire_room, w->size - w->from);
    w->is_train = !s->transport->stream;
}

/* May a message of `len` bytes stand behind the others? */
static inline bool
ol_wire_fits(const struct ol_wire *w, size_t len)
{
    if (len + OL_WIRE_AROUND_MAX > w->room - w->used)
        return false;
    return OL_LIKELY(!w->is_train) || w->count == 0 ||
           (len <= w->segment && !w->is_ended && w->count < OL_TRAIN_MAX);
}

/* The next train, if the last one left as a whole. */
static inline bool
ol_wire_again(struct ol_wire *w, size_t len)
{
    struct ol_conn *c = w->conn;

    if (!w->is_train || w->count == 0)
        return false;
    ol_wire_flush(w);
    ol_wire_open(w, c);
    return w->conn == c && ol_wire_fits(w, len);
}

/* Framed and behind what is there.  Room for the longest head and tail must be left. */
static inline outlet_err
ol_wire_append(struct ol_wire *w, const struct ol_settings *s, const void *bytes, size_t len)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    struct ol_frame_wrap around;
    uint8_t *at = w->at + w->used;
    outlet_err err = ol_settings_wrap(s, &piece, 1, len, &around);

    if (OL_UNLIKELY(err))
        return err;
    if (around.head_len == 4) /* mostly: a store instead of a call */
        memcpy(at, around.head, 4);
    else if (around.head_len)
        memcpy(at, around.head, around.head_len);
    at += around.head_len;
    if (OL_LIKELY(len))
        memcpy(at, bytes, len);
    at += len;
    if (around.tail_len)
        memcpy(at, around.tail, around.tail_len);
    at += around.tail_len;
    w->used = (size_t)(at - w->at);
    return OUTLET_OK;
}

/* As outlet_send() on the connection that it is open for, or OL_WIRE_PAST. */
static inline int64_t
ol_wire_put(struct ol_wire *w, const void *bytes, size_t len)
{
    struct ol_conn *c = w->conn;
    const struct ol_settings *s = ol_conn_settings(c);
    size_t most = w->is_train ? OL_TRAIN_SEGMENT_MAX : OL_DIRECT_MIN;
    outlet_err err;

    /* Before the framing looks at it, which may count its calls. */
    if (OL_UNLIKELY(len == 0 || len > most || ol_conn_mailed(c)))
        return OL_WIRE_PAST;
    if (OL_UNLIKELY(!ol_wire_fits(w, len)) && !ol_wire_again(w, len))
        return OL_WIRE_PAST;
    err = ol_wire_append(w, s, bytes, len);
    if (OL_UNLIKELY(err))
        return err;
    if (OL_LIKELY(w->count++ == 0))
        w->segment = (uint32_t)len;
    w->is_ended = len < w->segment;
    ol_count_add(&c->messages_out, 1);
    return (int64_t)w->used;
}

#endif
