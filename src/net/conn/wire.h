/*
 * wire.h - the short way out: what a connection answers while it is being delivered to.
 *
 *     received -> open -> callbacks, whose sends are copied here -> flush: one system call
 *
 * Nearly every server answers in the callback.  A queue for that is made, filled, walked and given
 * back within microseconds; one buffer for each reactor does the same with a copy and a send, while
 * all that it touches is still in the cache.  It is used only where nothing is queued, nothing is
 * posted, no borders must be kept and `high` is far; in every other case, and for what the kernel
 * does not take, there is the queue.
 *
 * What a newcomer gets wrong: while the wire is open it stands *before* the queue.  Whatever looks
 * at the queue, adds to it or ends the connection must flush it first (ol_wire_leave).
 *
 * Not on drivers that gather the sends of a turn into one system call anyway.
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
}

/* For c, if all of its sends may go this way. */
static inline void
ol_wire_open(struct ol_wire *w, struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);

    if (!w->bytes || !s->wire_room || c->queue || c->flags & (CONN_END_ASKED | CONN_ENDED))
        return;
    w->conn = c;
    w->id = c->id;
    w->room = s->wire_room;
}

/* As outlet_send() on the connection that it is open for, or OL_WIRE_PAST. */
static inline int64_t
ol_wire_put(struct ol_wire *w, const void *bytes, size_t len)
{
    struct ol_conn *c = w->conn;
    const struct ol_settings *s = ol_conn_settings(c);
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    struct ol_frame_wrap around;
    uint8_t *begin = w->bytes + w->used;
    uint8_t *at = begin;
    outlet_err err;

    /* Before the framing looks at it, which may count its calls. */
    if (len >= OL_DIRECT_MIN || len + OL_WIRE_AROUND_MAX > w->room - w->used || ol_conn_mailed(c))
        return OL_WIRE_PAST;
    err = s->wrap(&s->framing, &piece, 1, len, &around);
    if (err)
        return err;
    if (around.head_len == 4) /* mostly: a store instead of a call */
        memcpy(at, around.head, 4);
    else if (around.head_len)
        memcpy(at, around.head, around.head_len);
    at += around.head_len;
    if (len)
        memcpy(at, bytes, len);
    at += len;
    if (around.tail_len)
        memcpy(at, around.tail, around.tail_len);
    at += around.tail_len;
    if (at == begin)
        return OL_WIRE_PAST; /* nothing to write */
    w->used += (size_t)(at - begin);
    ol_count_add(&c->messages_out, 1);
    return (int64_t)w->used;
}

#endif
