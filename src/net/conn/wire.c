/*
 * wire.c - the short way out: its memory, and its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wire.h"

#include <errno.h>

/* Fewer are put off to the turn's end, where what others answered meanwhile leaves in the same
 * system call. */
enum { YIELD_MIN = 8 };

enum {
    LINE = 64,                   /* of the cache */
    GATHERED = 2 * OL_WIRE_ROOM, /* a turn's answers, of which most touch the first pages only */
};

outlet_err
ol_wire_init(struct ol_net *n)
{
    const struct ol_budget *b = n->reactor->share.budget;
    bool gathers = n->reactor->driver->gathers;
    size_t size = gathers ? GATHERED : OL_WIRE_ROOM;
    /* What each reactor may have taken and still has to queue: of one connection, in a chunk that
     * may be half empty; or of many, in chunks that are eight times larger than need be. */
    size_t reserve = (size_t)n->reactor->loop->reactor_count * (gathers ? 8 : 2) * size;

    n->wire = (struct ol_wire){.bytes = ol_alloc(n->reactor->heap, size),
                               .size = size,
                               .used_max = b->max - (int64_t)ol_max((size_t)b->max / 8, reserve)};
    return n->wire.bytes ? OUTLET_OK : OUTLET_ENOMEM;
}

void
ol_wire_fini(struct ol_net *n)
{
    ol_free(n->reactor->heap, n->wire.bytes);
    n->wire = (struct ol_wire){0};
}

/*
 * Stays here until the driver has entered the kernel.  The connection gets no queue for it unless
 * something has to stand behind it, or some of it is left: then queued.c makes one that borrows it.
 */
static void
flush_later(struct ol_wire *w, struct ol_conn *c, struct iovec all)
{
    const struct ol_reactor *r = c->cold->reactor;

    if (OL_UNLIKELY(w->lent_last == OL_WIRE_LENT_MAX ||
                    !r->ops->send_quiet(r->driver, &c->link, &all))) {
        ol_conn_queue_rest(c, &all);
        return;
    }
    w->lent_pieces[w->lent_last++] = all;
    c->lent = (uint8_t)w->lent_last;
    w->from = (size_t)((uint8_t *)all.iov_base + all.iov_len - w->bytes);
    w->from = ol_min((w->from + LINE - 1) / LINE * LINE, w->size);
    w->lent++;
}

static void
flush_stream(struct ol_conn *c, struct iovec all)
{
    int64_t sent = ol_conn_send_now(c, &all, 1);

    if (OL_UNLIKELY(sent < 0) && sent != -EAGAIN) {
        ol_conn_fail(c, (int)-sent);
        return;
    }
    if (OL_LIKELY(sent > 0)) {
        ol_count_add(&c->bytes_out, sent); /* `active` was set by what is being answered */
        all.iov_base = (uint8_t *)all.iov_base + sent;
        all.iov_len -= (size_t)sent;
    }
    if (OL_UNLIKELY(all.iov_len))
        ol_conn_queue_rest(c, &all);
}

/* What was not taken goes to the queue one by one: so a path that does not take trains gets them,
 * too, and what the network said of an earlier datagram costs none of these. */
static void
flush_train(struct ol_conn *c, struct iovec all, uint32_t count, uint32_t segment)
{
    int err = ol_conn_settings(c)->transport->send_train(c, &all, count > 1 ? segment : 0);

    if (err == 0)
        ol_count_add(&c->bytes_out, (int64_t)all.iov_len);
    else
        ol_conn_queue_train(c, &all, segment, err == -EAGAIN || err == -EOPNOTSUPP ? 0 : -err);
}

void
ol_wire_flush(struct ol_wire *w)
{
    struct ol_conn *c = w->conn;
    struct iovec all = {w->at, w->used};
    bool is_train = w->is_train;
    uint32_t count = w->count;
    uint32_t segment = w->segment;

    ol_wire_close(w);
    if (OL_UNLIKELY(count && is_train))
        flush_train(c, all, count, segment);
    else if (count && c->cold->reactor->driver->gathers)
        flush_later(w, c, all);
    else if (OL_LIKELY(count))
        flush_stream(c, all);
}

void
ol_wire_yield(struct ol_wire *w)
{
    struct ol_conn *c = w->conn;
    struct iovec all = {w->at, w->used};
    uint32_t count = w->count;
    uint32_t segment = w->segment;

    if (count == 0 || count >= YIELD_MIN || !w->is_train) {
        ol_wire_flush(w);
        return;
    }
    ol_wire_close(w);
    ol_conn_queue_train(c, &all, segment, 0);
}

outlet_err
ol_wire_append_wrapped(struct ol_wire *w, const struct ol_settings *s, const void *bytes,
                       size_t len)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    struct ol_frame_wrap around;
    uint8_t *at = w->at + w->used;
    outlet_err err = s->wrap(&s->framing, &piece, 1, len, &around);

    if (OL_UNLIKELY(err))
        return err;
    if (around.head_len)
        memcpy(at, around.head, around.head_len);
    at += around.head_len;
    memcpy(at, bytes, len);
    at += len;
    if (around.tail_len)
        memcpy(at, around.tail, around.tail_len);
    at += around.tail_len;
    w->used = (size_t)(at - w->at);
    return OUTLET_OK;
}

/* May a datagram of `len` bytes stand behind the others? */
static bool
train_takes(const struct ol_wire *w, size_t len)
{
    return w->used + len <= w->room &&
           (w->count == 0 || (len <= w->segment && !w->is_ended && w->count < OL_TRAIN_MAX));
}

/* The next train, if the last one left as a whole. */
static bool
begin_next_train(struct ol_wire *w, size_t len)
{
    struct ol_conn *c = w->conn;

    if (w->count == 0)
        return false;
    ol_wire_flush(w);
    ol_wire_open(w, c);
    return w->conn == c && train_takes(w, len);
}

bool
ol_wire_couple(struct ol_wire *w, size_t len)
{
    if (OL_UNLIKELY(len > OL_TRAIN_SEGMENT_MAX))
        return false;
    if (OL_UNLIKELY(!train_takes(w, len)) && !begin_next_train(w, len))
        return false;
    /* Refused above `max` it changes nothing: nothing so long stands there, or nothing at all. */
    if (w->count == 0)
        w->segment = (uint32_t)len;
    w->is_ended = len < w->segment;
    return true;
}
