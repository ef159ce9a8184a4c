/*
 * uring_send.c - what is sent, by the ring or directly, and the waiting for room.
 *
 * What a newcomer gets wrong: to use `work` of a link that passes descriptors. It says how many
 * there may be, so such a link sends directly, and has no operation but the poll for room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>
#include <poll.h>

enum {
    SEND_MAX = 1 << 30, /* bytes of one piece: the kernel's length has 32 bits */
    OPS_KEPT = 256      /* idle operation structs */
};

/* ---- operation structs ----------------------------------------------------------------- */

struct uring_op *
ol_uring_take_op(struct uring *u)
{
    struct uring_op *op = u->ops;

    if (!op)
        return ol_alloc_zero(uring_heap(u), sizeof *op);
    u->ops = op->next;
    u->op_count--;
    op->is_poll = false;
    return op;
}

static bool
is_word(const void *work)
{
    return work == &ol_uring_quiet_send || work == &ol_uring_no_room;
}

void
ol_uring_return_op(struct uring *u, struct uring_op *op)
{
    if (!op || is_word(op))
        return;
    if (u->op_count >= OPS_KEPT) {
        ol_free(uring_heap(u), op);
        return;
    }
    op->next = u->ops;
    u->ops = op;
    u->op_count++;
}

void
ol_uring_free_ops(struct uring *u)
{
    while (u->ops) {
        struct uring_op *next = u->ops->next;

        ol_free(uring_heap(u), u->ops);
        u->ops = next;
    }
}

/* ---- streams --------------------------------------------------------------------------- */

int64_t
ol_uring_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    int64_t n;

    (void)d;
    OL_ASSERT(!(l->flags & URING_SENDING));
    n = ol_sock_send(l->token, pieces, count);
    if (n == -EINTR)
        n = -EAGAIN;
    if (n < 0 && n != -EAGAIN && l->kind == OL_LINK_STREAM)
        l->flags |= URING_BROKEN;
    return n;
}

/*
 * Without MSG_WAITALL, so that a peer that takes little is seen to take something.  No memory for a
 * gathered send: the first piece alone.
 */
static int64_t
submit_send(struct uring *u, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct uring_op *op = count > 1 ? ol_uring_take_op(u) : NULL;
    struct io_uring_sqe *s = uring_submission(u);

    OL_ASSERT(count > 0 && !(l->flags & (URING_SENDING | URING_CONNECTING)));
    if (!s) {
        ol_uring_return_op(u, op);
        return -ENOMEM;
    }
    if (op) {
        size_t n = count < URING_SEND_PIECES ? (size_t)count : URING_SEND_PIECES;

        memcpy(op->pieces, pieces, n * sizeof *pieces);
        op->head = (struct msghdr){.msg_iov = op->pieces, .msg_iovlen = n};
        io_uring_prep_sendmsg(s, l->token, &op->head, MSG_NOSIGNAL);
        uring_set_tag(s, l, URING_TAG_SEND);
        l->work = op;
    } else if (ol_uring_can_be_quiet(u, l, pieces->iov_len)) {
        ol_uring_prepare_quiet(u, s, l, pieces);
    } else {
        io_uring_prep_send(s, l->token, pieces->iov_base, ol_min(pieces->iov_len, SEND_MAX),
                           MSG_NOSIGNAL);
        uring_set_tag(s, l, URING_TAG_SEND);
        l->work = NULL;
    }
    l->pending++;
    l->flags |= URING_SENDING;
    return OL_SEND_PENDING;
}

static int
wait_for_room(struct uring *u, struct ol_link *l)
{
    struct io_uring_sqe *s;

    if (l->flags & URING_SENDING)
        return 0;
    s = uring_submission(u);
    if (!s)
        return -ENOMEM;
    io_uring_prep_poll_add(s, l->token, POLLOUT);
    uring_set_tag(s, l, URING_TAG_SEND);
    l->pending++;
    l->flags |= URING_SENDING;
    return 0;
}

/* What was tried directly found none. */
static int64_t
or_wait_for_room(struct uring *u, struct ol_link *l, int64_t n)
{
    int err;

    if (n != -EAGAIN)
        return n;
    err = wait_for_room(u, l);
    return err ? err : OL_SEND_PENDING;
}

int64_t
ol_uring_send(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct uring *u = uring_self(d);

    if (l->kind == OL_LINK_PASSING) /* `work` is in use */
        return or_wait_for_room(u, l, ol_uring_send_now(d, l, pieces, count));
    return submit_send(u, l, pieces, count);
}

/* ---- descriptors, files and datagrams -------------------------------------------------- */

int64_t
ol_uring_send_fd(struct ol_driver *d, struct ol_link *l, const struct iovec *piece, int fd)
{
    return or_wait_for_room(uring_self(d), l, ol_sock_send_fd(l->token, piece, fd));
}

/* Tried directly: a splice on the ring would need a pipe for each connection. */
int64_t
ol_uring_send_file(struct ol_driver *d, struct ol_link *l, int file, int64_t offset, size_t len)
{
    struct uring *u = uring_self(d);
    int on = 1;
    int64_t n;
    struct uring_op *op;
    int err;

    /* sendfile has no MSG_DONTWAIT, and our sockets block: the ring waits better that way.  What it
     * has under way took note of the flag when it began. */
    (void)ioctl(l->token, FIONBIO, &on);
    n = ol_sock_send_file(l->token, file, offset, len);
    uring_set_blocking(l->token);
    if (n != -EAGAIN || l->kind == OL_LINK_PASSING)
        return or_wait_for_room(u, l, n);
    op = ol_uring_take_op(u);
    if (!op)
        return -ENOMEM;
    err = wait_for_room(u, l);
    if (err) {
        ol_uring_return_op(u, op);
        return err;
    }
    op->is_poll = true;
    l->work = op;
    return OL_SEND_PENDING;
}

int
ol_uring_send_dgrams(struct ol_driver *d, struct ol_link *l, const struct ol_dgram *messages,
                     int count)
{
    int n = ol_sock_send_dgrams(l->token, messages, count, l->kind == OL_LINK_DGRAM);
    int err;

    if (n == count || (n < 0 && n != -EAGAIN) || (l->kind == OL_LINK_LOCAL && messages->to))
        return n;
    /* No room, or the next one fails: then the socket is writable at once, and so OL_SENT comes. */
    err = wait_for_room(uring_self(d), l);
    return err && n <= 0 ? err : n;
}
