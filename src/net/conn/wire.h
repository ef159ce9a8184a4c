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
    size_t room;

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
    room = ol_min(s->wire_room, w->size - w->from);
    w->room = room > OL_WIRE_AROUND_MAX ? room - OL_WIRE_AROUND_MAX : 0;
    w->is_train = !s->transport->stream;
}

/* As ol_wire_append(), for any framing. */
outlet_err ol_wire_append_wrapped(struct ol_wire *w, const struct ol_settings *s, const void *bytes,
                                  size_t len);
/* Is there room in the train for a datagram of `len` bytes, which is about to be appended?  The one
 * that stood there may have left: then w stands for the next one, or for false is closed, and the
 * connection may be broken. */
bool ol_wire_couple(struct ol_wire *w, size_t len);

/* Framed and behind what is there, where there must be room.  On an error nothing is added. */
static inline outlet_err
ol_wire_append(struct ol_wire *w, const struct ol_settings *s, const void *bytes, size_t len)
{
    uint8_t *at = w->at + w->used;

    switch ((enum ol_in_place)s->in_place) {
    case OL_IN_PLACE_NOT:
        return ol_wire_append_wrapped(w, s, bytes, len);
    case OL_IN_PLACE_NONE:
        break;
    case OL_IN_PLACE_FIELD:
        if (OL_UNLIKELY(!ol_field_fits(&s->framing, len)))
            return OUTLET_EMSGSIZE;
        ol_field_put(at, s->framing.width, s->framing.little, len);
        at += s->framing.width;
        break;
    case OL_IN_PLACE_DGRAM:
        if (OL_UNLIKELY(len > s->framing.max))
            return OUTLET_EMSGSIZE;
        break;
    }
    memcpy(at, bytes, len);
    w->used = (size_t)(at - w->at) + len;
    return OUTLET_OK;
}

/* As outlet_send() on the connection that it is open for, with its *result.  false: not this way,
 * take the queue. */
static inline bool
ol_wire_put(struct ol_wire *w, const void *bytes, size_t len, int64_t *result)
{
    struct ol_conn *c = w->conn;

    /* Before the framing looks at it, which may count its calls. */
    if (OL_UNLIKELY(len == 0 || len > OL_DIRECT_MIN || ol_conn_mailed(c)))
        return false;
    if (OL_UNLIKELY(w->is_train) ? !ol_wire_couple(w, len) : OL_UNLIKELY(w->used + len > w->room))
        return false;
    *result = ol_wire_append(w, ol_conn_settings(c), bytes, len);
    if (OL_UNLIKELY(*result))
        return true;
    w->count++;
    ol_count_add(&c->messages_out, 1);
    *result = (int64_t)w->used;
    return true;
}

#endif
