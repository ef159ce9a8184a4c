/*
 * send.c - messages on their way out.
 *
 *     send --> wrap --> (large, nothing waiting: straight to the kernel) --> queue --> turn's end:
 * flush
 *
 * Small messages are copied and gathered; what one turn sends leaves in one write.  What a newcomer
 * gets wrong: a message is taken whole or refused whole, so every check comes before the first
 * byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "relay.h"

#include <errno.h>
#include <unistd.h>

/* ---- the queue --------------------------------------------------------------------------- */

/* In the queue, or with the driver.  A queue holds what was lent, too. */
static size_t
waiting(const struct ol_conn *c)
{
    return c->lent ? ol_wire_lent(c).iov_len : c->queue ? c->queue->bytes : 0;
}

int64_t
ol_conn_queued(const struct ol_conn *c)
{
    const struct ol_wire *w = ol_wire_of(c);

    return (int64_t)waiting(c) + (w->conn == c ? (int64_t)w->used : 0) + ol_conn_mailed(c);
}

int64_t
ol_conn_queued_seen(const struct ol_conn *c)
{
    uint32_t shown = atomic_load_explicit(&c->cold->shown_queued, memory_order_relaxed);

    return (int64_t)(shown & ~OL_SHOWN_OWED) * 16 + ol_conn_mailed(c);
}

/* After the queue grew or shrank.  It may take OL_SHOWN_OWED away: then one more mail is posted. */
static void
show_queued(struct ol_conn *c)
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
static struct ol_queue *
queue_of(struct ol_conn *c)
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
static void
take_back(struct ol_conn *c)
{
    c->lent = 0;
    ol_wire_returned(ol_wire_of(c));
}

void
ol_conn_queue_free(struct ol_conn *c)
{
    struct ol_queue *q = c->queue;

    if (c->lent)
        take_back(c);
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

static void
count_dropped(struct ol_conn *c, size_t messages)
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

/* ---- taken or refused -------------------------------------------------------------------- */

static outlet_err
check_state(const struct ol_conn *c)
{
    enum ol_conn_state s = ol_conn_state(c);

    if (s != CONN_OPEN && s != CONN_DIALING && s != CONN_SHAKING && s != CONN_NONE)
        return OUTLET_ESTATE;
    return c->flags & CONN_END_ASKED ? OUTLET_ESTATE : OUTLET_OK;
}

/* What was taken when it was posted leaves although a close or an end came meanwhile. */
static outlet_err
check_taken(const struct ol_conn *c)
{
    return ol_conn_state(c) > CONN_FLUSHING || c->flags & CONN_ENDED ? OUTLET_ESTATE : OUTLET_OK;
}

/* The queue is at cap.  1: go on and queue; 0: dropped, the call succeeds; negative: refused. */
static int
when_full(struct ol_conn *c, size_t len)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_queue *q = queue_of(c); /* what fills it may be in the mail */

    if (!q)
        return OUTLET_ENOMEM;
    ol_conn_mark_dirty(c);
    switch (s->full) {
    case OUTLET_FULL_DROP_NEW:
        count_dropped(c, 1);
        return 0;
    case OUTLET_FULL_DROP_OLD: {
        size_t dropped = ol_queue_drop_oldest(q, len, s->cap);

        if (dropped)
            count_dropped(c, dropped);
        if (q->bytes + len <= s->cap)
            return 1;
        break;
    }
    case OUTLET_FULL_CLOSE:
        ol_conn_break(c, CAUSE_QUEUE_FULL, OUTLET_EFULL, OUTLET_BY_US);
        return OUTLET_EFULL;
    case OUTLET_FULL_REFUSE:
        break;
    }
    q->owed = true;
    return OUTLET_EFULL;
}

/* Answers the bytes that the kernel took at once, or a negated errno. */
static int64_t
try_direct(struct ol_conn *c, const struct iovec *iov, int n, size_t whole)
{
    int64_t sent;

    if (whole < OL_DIRECT_MIN || ol_conn_has_unsent(c) || !ol_conn_settings(c)->transport->stream ||
        ol_conn_state(c) != CONN_OPEN || n > OL_DIRECT_PIECES)
        return 0;
    sent = ol_conn_send_now(c, iov, n);
    if (sent > 0)
        ol_conn_count_sent(c, (size_t)sent);
    return sent == -EAGAIN ? 0 : sent;
}

static int64_t
enqueue(struct ol_conn *c, const struct iovec *iov, int n, size_t skip, struct outlet_buf *buf)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_queue *q = queue_of(c);
    outlet_err err = OUTLET_ENOMEM;

    if (q && buf && buf->len >= OL_SHARE_MIN) {
        err = ol_queue_share(q, &iov[0], buf, &iov[n - 1]);
        if (!err && skip)
            ol_queue_taken(q,
                           skip); /* only an empty queue is passed by: this is its first message */
    } else if (q) {
        err = ol_queue_copy(q, iov, n, skip);
    }
    if (err) {
        if (q && q->count == 0)
            ol_conn_queue_free(c);
        if (skip) /* half of a message has left and the rest has no place: the stream is broken */
            ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
        return err;
    }
    if (skip)
        q->begun = true;
    if (q->bytes > s->high)
        q->owed = true;
    show_queued(c);
    ol_conn_mark_dirty(c);
    return OUTLET_OK;
}

void
ol_conn_queue_rest(struct ol_conn *c, const struct iovec *rest)
{
    struct ol_queue *q = queue_of(c);

    if (!q || ol_queue_copy(q, rest, 1, 0)) {
        ol_conn_queue_free(c);
        /* It was taken, so it cannot be refused any more. */
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
        return;
    }
    q->begun = true;
    show_queued(c);
    ol_conn_mark_dirty(c);
}

void
ol_conn_queue_train(struct ol_conn *c, const struct iovec *all, uint32_t segment, int sys_errno)
{
    struct ol_queue *q = queue_of(c);
    size_t lost = 0;

    for (size_t at = 0; at < all->iov_len; at += segment) {
        struct iovec one = {(uint8_t *)all->iov_base + at, ol_min(segment, all->iov_len - at)};

        if (!q || ol_queue_copy(q, &one, 1, 0))
            lost++;
    }
    if (!q) {
        while (lost--)
            ol_conn_count_missed(c);
        return;
    }
    q->peer_errno = sys_errno;
    if (lost)
        count_dropped(c, lost); /* of memory; datagrams may be lost */
    show_queued(c);
    ol_conn_mark_dirty(c);
}

/*
 * What counts against cap.  What is in the mail was let in already and must find room; where
 * messages are dropped instead, each takes its turn when its mail is read.
 */
static size_t
filled(const struct ol_conn *c)
{
    size_t mailed = 0;

    if (ol_conn_settings(c)->full == OUTLET_FULL_REFUSE)
        mailed = (size_t)ol_conn_mailed(c);
    return mailed + waiting(c);
}

/* iov[0] is the head, iov[n - 1] the tail; `buf` is what stands between, or NULL. */
static int64_t
put(struct ol_conn *c, const struct iovec *iov, int n, size_t whole, struct outlet_buf *buf)
{
    const struct ol_settings *s = ol_conn_settings(c);
    int64_t sent;
    int64_t err;

    sent = try_direct(c, iov, n, whole);
    if (sent < 0) {
        ol_conn_fail(c, (int)-sent);
        return OUTLET_ESTATE; /* it was broken before this message; on_close says why */
    }
    if ((size_t)sent < whole || !s->transport->stream) {
        err = enqueue(c, iov, n, (size_t)sent, buf);
        if (err)
            return err;
    }
    ol_count_add(&c->messages_out, 1);
    return ol_conn_queued(c);
}

static int64_t
take(struct ol_conn *c, const struct iovec *iov, int n, size_t whole, struct outlet_buf *buf)
{
    const struct ol_settings *s = ol_conn_settings(c);

    if (whole > s->cap)
        return OUTLET_EMSGSIZE;
    if (filled(c) + whole > s->cap) {
        int go = when_full(c, whole);

        if (go <= 0)
            return go < 0 ? go : ol_conn_queued(c);
    }
    return put(c, iov, n, whole, buf);
}

int64_t
ol_conn_send(struct ol_conn *c, const struct iovec *pieces, int n, struct outlet_buf *buf)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct iovec iov[OL_DIRECT_PIECES];
    struct ol_frame_wrap w;
    struct outlet_buf *joined = NULL;
    size_t len = 0;
    int64_t result;
    outlet_err err;

    ol_wire_leave(c);
    err = check_state(c);
    if (err)
        return err;
    for (int i = 0; i < n; i++) {
        if (!ol_add(len, pieces[i].iov_len, &len))
            return OUTLET_EMSGSIZE;
    }
    /* A custom framing sees the message in one piece. */
    if (n + 2 > OL_DIRECT_PIECES || (n > 1 && s->framing.kind == OL_FRAME_CUSTOM)) {
        joined = ol_buf_join(c->cold->reactor->share.budget, pieces, n, len);
        if (!joined)
            return OUTLET_ENOMEM;
        iov[1] = (struct iovec){(void *)(uintptr_t)joined->bytes, len};
        pieces = &iov[1];
        n = 1;
        buf = joined;
    }
    err = s->wrap(&s->framing, pieces, n, len, &w);
    if (err) {
        result = err;
        goto unref_joined;
    }
    if (len == 0 && w.head_len + w.tail_len == 0 && s->transport->stream) {
        result = ol_conn_queued(c); /* nothing to write, on a stream without borders */
        goto unref_joined;
    }
    iov[0] = (struct iovec){w.head, w.head_len};
    if (n && pieces != &iov[1])
        memcpy(&iov[1], pieces, (size_t)n * sizeof *pieces);
    iov[n + 1] = (struct iovec){w.tail, w.tail_len};
    result = take(c, iov, n + 2, len + w.head_len + w.tail_len, buf);

unref_joined:
    outlet_buf_unref(joined);
    return result;
}

int64_t
ol_conn_send_file(struct ol_conn *c, int fd, int64_t offset, size_t len, bool taken)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct iovec unseen = {NULL, len};
    struct iovec head;
    struct iovec tail;
    struct ol_frame_wrap w;
    struct ol_queue *q;
    outlet_err err;

    ol_wire_leave(c);
    err = taken ? check_taken(c) : check_state(c);
    if (err)
        return err;
    if (!s->transport->stream || !ol_frame_is_blind(&s->framing))
        return OUTLET_ENOTSUP;
    err = s->wrap(&s->framing, &unseen, 1, len, &w);
    if (err)
        return err;
    q = queue_of(c);
    if (!q)
        return OUTLET_ENOMEM;
    head = (struct iovec){w.head, w.head_len};
    tail = (struct iovec){w.tail, w.tail_len};
    err = ol_queue_file(q, &head, fd, offset, len, &tail);
    if (err) {
        if (q->count == 0)
            ol_conn_queue_free(c);
        return err;
    }
    if (q->bytes > s->high)
        q->owed = true;
    show_queued(c);
    ol_conn_mark_dirty(c);
    ol_count_add(&c->messages_out, 1);
    return ol_conn_queued(c);
}

/* On an otherwise empty queue, too: the descriptor leaves with the turn's end. */
static outlet_err
enqueue_fd(struct ol_conn *c, const struct iovec *iov, int fd, bool taken)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_queue *q = queue_of(c);
    outlet_err err;

    if (!q)
        return OUTLET_ENOMEM;
    if (!taken && q->passing >= s->fds) {
        q->owed = true;
        ol_conn_mark_dirty(c);
        return OUTLET_EFULL;
    }
    err = ol_queue_pass(q, iov, 3, fd);
    if (err) {
        if (q->count == 0)
            ol_conn_queue_free(c);
        return err;
    }
    if (q->bytes > s->high)
        q->owed = true;
    show_queued(c);
    ol_conn_mark_dirty(c);
    return OUTLET_OK;
}

int64_t
ol_conn_send_fd(struct ol_conn *c, int fd, const struct iovec *piece, bool taken)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_frame_wrap w;
    struct iovec iov[3];
    size_t whole;
    outlet_err err;

    ol_wire_leave(c);
    err = taken ? check_taken(c) : check_state(c);
    if (err)
        return err;
    err = s->wrap(&s->framing, piece, 1, piece->iov_len, &w);
    if (err)
        return err;
    iov[0] = (struct iovec){w.head, w.head_len};
    iov[1] = *piece;
    iov[2] = (struct iovec){w.tail, w.tail_len};
    whole = w.head_len + piece->iov_len + w.tail_len;
    if (whole == 0)
        return OUTLET_EINVAL; /* the kernel lets none travel without a byte */
    if (!taken && whole > s->cap)
        return OUTLET_EMSGSIZE;
    if (!taken && filled(c) + whole > s->cap) {
        int go = when_full(c, whole);

        if (go == 0)
            close(fd); /* dropped with its message */
        if (go <= 0)
            return go < 0 ? go : ol_conn_queued(c);
    }
    err = enqueue_fd(c, iov, fd, taken);
    if (err)
        return err;
    ol_count_add(&c->messages_out, 1);
    return ol_conn_queued(c);
}

int64_t
ol_conn_send_wrapped(struct ol_conn *c, struct outlet_buf *buf)
{
    struct iovec iov[3] = {{NULL, 0}, {(void *)(uintptr_t)buf->bytes, buf->len}, {NULL, 0}};
    outlet_err err;

    ol_wire_leave(c);
    err = check_state(c);
    if (err)
        return err;
    if (buf->len == 0 && ol_conn_settings(c)->transport->stream)
        return ol_conn_queued(c); /* nothing to write, on a stream without borders */
    return take(c, iov, 3, buf->len, buf);
}

int64_t
ol_conn_send_taken(struct ol_conn *c, const struct ol_frame_wrap *w, struct outlet_buf *buf)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct iovec iov[3] = {{(void *)(uintptr_t)w->head, w->head_len},
                           {(void *)(uintptr_t)buf->bytes, buf->len},
                           {(void *)(uintptr_t)w->tail, w->tail_len}};
    size_t whole = w->head_len + buf->len + w->tail_len;
    int64_t result;

    ol_wire_leave(c);
    if (check_taken(c))
        return OUTLET_ESTATE;
    if (whole == 0 && s->transport->stream)
        return ol_conn_queued(c); /* nothing to write, on a stream without borders */
    if (s->full == OUTLET_FULL_REFUSE)
        return put(c, iov, 3, whole, buf);
    result = take(c, iov, 3, whole, buf);
    if (result == OUTLET_EFULL && s->full == OUTLET_FULL_DROP_OLD) {
        count_dropped(c, 1); /* nothing older could go: the oldest has begun to leave */
        return ol_conn_queued(c);
    }
    return result;
}

/* ---- out --------------------------------------------------------------------------------- */

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
    if (ol_conn_has_unsent(c) && queue_of(c)) {
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

    show_queued(c);
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
    show_queued(c);
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
    take_back(c);
    ol_count_add(&c->bytes_out, (int64_t)bytes); /* `active` was set by what was answered */
    return true;
}

/* Of what was lent.  What is left goes to a queue. */
static outlet_err
lent_sent(struct ol_conn *c, int32_t result)
{
    if (result >= 0 && (size_t)result == ol_wire_lent(c).iov_len) {
        take_back(c);
    } else if (!queue_of(c)) {
        take_back(c);
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
