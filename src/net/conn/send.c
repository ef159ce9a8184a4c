/*
 * send.c - a message is taken or refused.
 *
 *     send --> wrap --> (large, nothing waiting: straight to the kernel) --> queue --> flush.c
 *
 * Small messages are copied and gathered; what one turn sends leaves in one write.  What a newcomer
 * gets wrong: a message is taken whole or refused whole, so every check comes before the first
 * byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <errno.h>
#include <unistd.h>

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
    struct ol_queue *q = ol_conn_queue_of(c); /* what fills it may be in the mail */

    if (!q)
        return OUTLET_ENOMEM;
    ol_conn_mark_dirty(c);
    switch (s->full) {
    case OUTLET_FULL_DROP_NEW:
        ol_conn_count_dropped(c, 1);
        return 0;
    case OUTLET_FULL_DROP_OLD: {
        size_t dropped = ol_queue_drop_oldest(q, len, s->cap);

        if (dropped)
            ol_conn_count_dropped(c, dropped);
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
    struct ol_queue *q = ol_conn_queue_of(c);
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
    ol_conn_show_queued(c);
    ol_conn_mark_dirty(c);
    return OUTLET_OK;
}

void
ol_conn_queue_rest(struct ol_conn *c, const struct iovec *rest)
{
    struct ol_queue *q = ol_conn_queue_of(c);

    if (!q || ol_queue_copy(q, rest, 1, 0)) {
        ol_conn_queue_free(c);
        /* It was taken, so it cannot be refused any more. */
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
        return;
    }
    q->begun = true;
    ol_conn_show_queued(c);
    ol_conn_mark_dirty(c);
}

void
ol_conn_queue_train(struct ol_conn *c, const struct iovec *all, uint32_t segment, int sys_errno)
{
    struct ol_queue *q = ol_conn_queue_of(c);
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
        ol_conn_count_dropped(c, lost); /* of memory; datagrams may be lost */
    ol_conn_show_queued(c);
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
    return mailed + ol_conn_waiting(c);
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
    q = ol_conn_queue_of(c);
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
    ol_conn_show_queued(c);
    ol_conn_mark_dirty(c);
    ol_count_add(&c->messages_out, 1);
    return ol_conn_queued(c);
}

/* On an otherwise empty queue, too: the descriptor leaves with the turn's end. */
static outlet_err
enqueue_fd(struct ol_conn *c, const struct iovec *iov, int fd, bool taken)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_queue *q = ol_conn_queue_of(c);
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
    ol_conn_show_queued(c);
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
        ol_conn_count_dropped(c, 1); /* nothing older could go: the oldest has begun to leave */
        return ol_conn_queued(c);
    }
    return result;
}
