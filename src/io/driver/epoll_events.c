/*
 * epoll_events.c - each event that is not just bytes of a stream becomes completions.
 *
 * What a newcomer gets wrong: an event may be told only in part and comes again with the next
 * batch, so what was told is struck out of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "epoll.h"

#include "host.h"

/* ---- datagrams and packets ------------------------------------------------------------- */

static size_t
message_room(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM ? EP_DGRAM_ROOM : OL_PACKET_MAX;
}

static void
tell_dgram(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l, int i, uint8_t *data)
{
    size_t len = d->inbox.heads[i].msg_len;
    struct ol_completion *c = ep_tell(b, l, OL_RECEIVED, (int32_t)len, true);
    struct ol_addr *from = &d->from[b->count - 1];
    struct ol_addr *to = &d->to[b->count - 1];

    ol_lender_lend_slot(&d->dgrams, data, len, message_room(l), &c->bytes);
    c->truncated = ol_sock_dgram_truncated(&d->inbox, i);
    c->segment = ol_sock_dgram_segment(&d->inbox, i);
    ol_sock_dgram_from(&d->inbox, i, from);
    c->from = from;
    c->to = ol_sock_dgram_to(&d->inbox, i, to) ? to : NULL;
}

static bool
is_end(struct epoll_driver *d, const struct ol_link *l, int i, int n)
{
    return l->kind == OL_LINK_PACKET && d->inbox.heads[i].msg_len == 0 &&
           ol_sock_packet_end(l->token, &d->inbox, i, n);
}

static void
tell_end(struct ep_batch *b, struct ol_link *l)
{
    l->flags &= (uint8_t)~EP_WANT_IN;
    ep_tell(b, l, OL_RECEIVED, 0, false)->end = true;
}

/* Asks for as many as came last time, and for twice that when they all came: a lone datagram then
 * costs no second look. */
OL_APART static void
tell_dgrams(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l)
{
    size_t room = message_room(l);
    size_t stride = ol_lender_stride(room);
    uint8_t *first = NULL;
    int asked = l->pending < b->max - b->count ? l->pending : b->max - b->count;
    int n = ol_lender_offer_slots(&d->dgrams, room, asked, &first);

    if (n == 0) {
        b->is_over = true;
        return;
    }
    if (n > 0) {
        for (int i = 0; i < n; i++)
            d->inbox.pieces[i] = (struct iovec){first + (size_t)i * stride, room};
        asked = n;
        n = ol_sock_receive_dgrams(l->token, &d->inbox, asked, l->kind != OL_LINK_DGRAM);
    }
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n < 0) {
        bool more = l->kind != OL_LINK_PACKET && ol_sock_is_peer_error(-n);

        ep_tell(b, l, OL_RECEIVED, n, more);
        if (!more)
            l->flags &= (uint8_t)~EP_WANT_IN;
        return;
    }
    for (int i = 0; i < n; i++) {
        if (is_end(d, l, i, n)) {
            tell_end(b, l);
            break;
        }
        tell_dgram(d, b, l, i, first + (size_t)i * stride);
    }
    l->pending = (uint16_t)(n < asked ? n : n * 2 < OL_SOCK_BATCH ? n * 2 : OL_SOCK_BATCH);
}

/* One message, or what a stream has up to the next descriptors. */
OL_APART static void
tell_passing(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l)
{
    bool packet = l->kind == OL_LINK_PACKET;
    size_t size = packet ? OL_PACKET_MAX : OL_RECEIVE_MIN;
    struct ol_completion got = {.fd_count = 0};
    struct ol_completion *c;
    uint8_t *data = NULL;
    int64_t n = ol_lender_offer_slots(&d->dgrams, size, 1, &data);

    if (n == 0)
        n = -ENOBUFS;
    if (n > 0)
        n = ol_sock_receive_fds(l->token, &(struct iovec){data, size}, (unsigned)(uintptr_t)l->work,
                                d->fds, &got);
    if (n == -ENOBUFS) {
        b->is_over = true;
        return;
    }
    if (n == -EAGAIN || n == -EINTR)
        return;
    if (n == 0 && packet && ol_sock_at_end(l->token) && !got.fd_count) {
        tell_end(b, l);
        return;
    }
    c = ep_tell(b, l, OL_RECEIVED, (int32_t)n, n > 0 || (n == 0 && packet));
    if (!c->more)
        l->flags &= (uint8_t)~EP_WANT_IN;
    if (n < 0)
        return;
    ol_lender_lend_slot(&d->dgrams, data, (size_t)n, size, &c->bytes);
    c->truncated = packet && got.truncated;
    c->fds = got.fds;
    c->fd_count = got.fd_count;
    c->fds_lost = got.fds_lost;
}

/* ---- clients --------------------------------------------------------------------------- */

OL_APART static void
tell_accepts(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l)
{
    bool singly = l->pending == 1;

    for (int i = 0; i < l->pending && b->count < b->max; i++) {
        struct ol_addr *from = &d->from[b->count];
        int fd = ol_sock_accept(l->token, from);

        if (fd == -EAGAIN)
            return;
        if (fd < 0 && ol_sock_is_lost_client(-fd))
            continue;
        if (fd < 0) {
            /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
            l->flags &= (uint8_t)~EP_WANT_IN;
            ep_tell(b, l, OL_ACCEPTED, fd, false);
            return;
        }
        if (singly)
            l->flags &= (uint8_t)~EP_WANT_IN;
        ep_tell(b, l, OL_ACCEPTED, fd, !singly)->from = from;
    }
}

/* ---- whichever it is ------------------------------------------------------------------- */

static void
tell_in(struct epoll_driver *d, struct ep_batch *b, struct ol_link *l)
{
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
    case OL_LINK_INHERITED:
        tell_accepts(d, b, l);
        return;
    case OL_LINK_STREAM:
        ep_tell_stream(d, b, l);
        return;
    case OL_LINK_PASSING:
        tell_passing(d, b, l);
        return;
    case OL_LINK_PACKET:
        if (l->work)
            tell_passing(d, b, l);
        else
            tell_dgrams(d, b, l);
        return;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
        tell_dgrams(d, b, l);
        return;
    case OL_LINK_NONE:
    case OL_LINK_WATCH:
        break;
    }
    OL_ASSERT(false); /* a link that cannot receive */
}

OL_APART static void
tell_watch(struct ep_batch *b, struct ol_link *l, uint32_t bits)
{
    ep_tell(b, l, OL_READY, ol_host_ready(bits), true);
}

/* HUP and ERR count as whatever is wanted: the system call then finds out what it was. */
OL_APART bool
ol_epoll_tell_event(struct epoll_driver *d, struct ep_batch *b, struct epoll_event *e)
{
    struct ol_link *l = e->data.ptr;
    uint32_t broken = e->events & (EPOLLHUP | EPOLLERR);

    bool in = l->flags & EP_WANT_IN && (e->events & EPOLLIN || broken);
    bool out = l->flags & EP_WANT_OUT && (e->events & EPOLLOUT || broken);

    if (l->kind == OL_LINK_WATCH) {
        tell_watch(b, l, e->events);
        return true;
    }
    if (l->flags & EP_CONNECTING && (e->events & EPOLLOUT || broken)) {
        l->flags &= (uint8_t)~EP_CONNECTING;
        ep_tell(b, l, OL_CONNECTED, ol_sock_error(l->token), false);
        return true;
    }
    if (!in && !out)
        ol_epoll_quiet(d, l);
    if (out) {
        l->flags &= (uint8_t) ~(EP_WANT_OUT | EP_FULL);
        ep_tell(b, l, OL_SENT, 0, false);
        e->events &= ~(uint32_t)EPOLLOUT; /* told */
    }
    if (in && b->count == b->max)
        return false;
    if (in)
        tell_in(d, b, l);
    return !b->is_over;
}
