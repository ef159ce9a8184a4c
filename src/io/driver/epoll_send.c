/*
 * epoll_send.c - what is sent at once, and the waiting for room.
 *
 * What a newcomer gets wrong: to answer OL_SEND_PENDING without interest in room: then nobody tells
 * when there is some, and the connection stands still.
 *
 * SPDX-License-Identifier: MIT
 */
#include "epoll.h"

/* How much one system call can take. */
static size_t
total(const struct iovec *pieces, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count && i < OL_SOCK_PIECES; i++)
        sum += pieces[i].iov_len;
    return sum;
}

static int
wait_for_room(struct epoll_driver *d, struct ol_link *l)
{
    int err;

    l->flags |= EP_WANT_OUT;
    err = ol_epoll_arm_wanted(d, l);
    if (err)
        l->flags &= (uint8_t)~EP_WANT_OUT;
    return err;
}

/* `n` is what a send answered. */
static int64_t
or_wait_for_room(struct epoll_driver *d, struct ol_link *l, int64_t n)
{
    int err;

    if (n != -EAGAIN)
        return n;
    err = wait_for_room(d, l);
    return err ? err : OL_SEND_PENDING;
}

int64_t
ol_epoll_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    int64_t n;

    (void)d;
    OL_ASSERT(!(l->flags & EP_WANT_OUT));
    n = ol_sock_send(l->token, pieces, count);
    return OL_UNLIKELY(n < 0) && n == -EINTR ? -EAGAIN : n;
}

/* A send that is cut means that the next one would find no room: that system call is spared. */
int64_t
ol_epoll_send(struct ol_driver *base, struct ol_link *l, const struct iovec *pieces, int count)
{
    int64_t n = l->flags & EP_FULL ? -EAGAIN : ol_epoll_send_now(base, l, pieces, count);

    if (n >= 0 && (size_t)n < total(pieces, count))
        l->flags |= EP_FULL;
    return or_wait_for_room(ep_self(base), l, n);
}

int64_t
ol_epoll_send_file(struct ol_driver *base, struct ol_link *l, int file, int64_t offset, size_t len)
{
    int64_t n = l->flags & EP_FULL ? -EAGAIN : ol_sock_send_file(l->token, file, offset, len);

    return or_wait_for_room(ep_self(base), l, n);
}

int64_t
ol_epoll_send_fd(struct ol_driver *base, struct ol_link *l, const struct iovec *piece, int fd)
{
    int64_t n = l->flags & EP_FULL ? -EAGAIN : ol_sock_send_fd(l->token, piece, fd);

    return or_wait_for_room(ep_self(base), l, n);
}

int
ol_epoll_send_dgrams(struct ol_driver *base, struct ol_link *l, const struct ol_dgram *messages,
                     int count)
{
    int n = ol_sock_send_dgrams(l->token, messages, count, l->kind == OL_LINK_DGRAM);
    int err;

    if (n == count || (n < 0 && n != -EAGAIN) || (l->kind == OL_LINK_LOCAL && messages->to))
        return n;
    /* No room, or the next one fails: then the socket is writable at once, and so OL_SENT comes. */
    err = wait_for_room(ep_self(base), l);
    return err && n <= 0 ? err : n;
}
