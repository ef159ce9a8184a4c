/*
 * uring_reap.c - the ring's completions become ours: at most one of each.
 *
 * What a newcomer gets wrong: to take a completion for the end of its operation. A multishot one
 * goes on until a completion comes without IORING_CQE_F_MORE; `pending` counts operations, not
 * completions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "host.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- of listeners, streams and polls --------------------------------------------------- */

static void
on_accepted(struct uring *u, struct ol_link *l, int32_t result)
{
    if (result >= 0) {
        struct ol_addr *from = &u->from[u->out_count];
        struct ol_completion *c;

        if (l->flags & URING_SINGLY)
            uring_clear(l, URING_WANTED);
        c = uring_tell(u, l, OL_ACCEPTED, result, l->flags & URING_WANTED);
        /* A multishot accept has one place for the address and many clients.  One that has gone
         * already has none. */
        if (ol_sock_name(result, true, from) == 0)
            c->from = from;
    } else if (result == -EAGAIN) {
        uring_set_blocking(l->token);
    } else if (result != -ECANCELED && !ol_sock_is_lost_client(-result)) {
        /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
        uring_clear(l, URING_WANTED);
        uring_tell(u, l, OL_ACCEPTED, result, false);
    }
    uring_begin_again(u, l);
}

static void
on_received(struct uring *u, struct ol_link *l, const struct io_uring_cqe *e)
{
    unsigned id = e->flags >> IORING_CQE_BUFFER_SHIFT;

    if (OL_LIKELY(e->res > 0)) {
        struct ol_completion *c = uring_tell(u, l, OL_RECEIVED, e->res, l->flags & URING_WANTED);

        OL_ASSERT(e->flags & IORING_CQE_F_BUFFER);
        ol_blocks_lend(&u->blocks, id, (size_t)e->res, &c->bytes);
        uring_begin_again(u, l); /* it ends by itself when completions overflow */
        return;
    }
    if (e->flags & IORING_CQE_F_BUFFER)
        uring_offer_block(u, id);
    switch (e->res) {
    case -ENOBUFS:
        if (l->flags & URING_WANTED)
            uring_put_on(&u->starved, l);
        return;
    case -EAGAIN: /* a descriptor that we did not make */
        uring_set_blocking(l->token);
        break;
    case -ECANCELED: /* perhaps receiving was started again meanwhile */
    case -EINTR:
        break;
    default:
        uring_clear(l, URING_WANTED);
        /* A socket tells of a reset once.  If it told a send, this looks like an end in order. */
        uring_tell(u, l, OL_RECEIVED, e->res == 0 && l->flags & URING_BROKEN ? -ECONNRESET : e->res,
                   false);
        return;
    }
    uring_begin_again(u, l);
}

static void
on_readable(struct uring *u, struct ol_link *l, int32_t result)
{
    if (result < 0 && result != -ECANCELED) {
        uring_clear(l, URING_WANTED);
        uring_tell(u, l, l->kind == OL_LINK_INHERITED ? OL_ACCEPTED : OL_RECEIVED, result, false);
        return;
    }
    if (result >= 0)
        l->flags |= URING_READABLE;
    uring_put_on(&u->todo, l);
}

/* ---- of watched descriptors ------------------------------------------------------------ */

/*
 * A poll that was woken in vain is started again by the kernel, and fails then with EINVAL if the
 * descriptor has two places to wait at (Linux 6.18): a terminal whose modes are set, as before and
 * after a stop by Ctrl-Z.  One with three places fails at once.  An epoll has one, whatever is in
 * it.
 */
static bool
nest(struct ol_link *l)
{
    struct epoll_event e = {.events = (uint32_t)(uintptr_t)l->work}; /* as host.c says */
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return false;
    if (epoll_ctl(fd, EPOLL_CTL_ADD, l->token, &e) != 0) {
        close(fd);
        return false;
    }
    l->token = fd;
    l->flags |= URING_NESTED;
    return true;
}

/* What the descriptor in it is ready for; 0: nothing any more. */
static int32_t
look_into(const struct ol_link *l)
{
    struct epoll_event e;

    return epoll_wait(l->token, &e, 1, 0) == 1 ? (int32_t)e.events : 0;
}

static void
on_watch_ready(struct uring *u, struct ol_link *l, int32_t result)
{
    if (result == -EINVAL && !(l->flags & URING_NESTED) && nest(l))
        result = 0;
    if (result > 0 && l->flags & URING_NESTED)
        result = look_into(l);
    if (result == 0) {
        uring_put_on(&u->todo, l);
        return;
    }
    if (result < 0) {
        uring_clear(l, URING_WANTED);
        uring_tell(u, l, OL_READY, result, false);
        return;
    }
    uring_tell(u, l, OL_READY, ol_host_ready((uint32_t)result), true);
    uring_put_on(&u->todo, l); /* polled again when the next wait() submits: level-triggered */
}

/* ---- of each --------------------------------------------------------------------------- */

static void
on_main(struct uring *u, struct ol_link *l, const struct io_uring_cqe *e)
{
    if (OL_LIKELY(l->kind == OL_LINK_STREAM)) {
        on_received(u, l, e);
        return;
    }
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
        on_accepted(u, l, e->res);
        return;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
    case OL_LINK_PACKET:
    case OL_LINK_PASSING:
    case OL_LINK_INHERITED:
        on_readable(u, l, e->res);
        return;
    case OL_LINK_WATCH:
        on_watch_ready(u, l, e->res);
        return;
    case OL_LINK_STREAM:
    case OL_LINK_NONE:
        break;
    }
    OL_ASSERT(false); /* such a link has no operations */
}

static void
on_sent(struct uring *u, struct ol_link *l, int32_t result)
{
    if (uring_goes_by_readiness(l)) {
        uring_tell(u, l, OL_SENT, 0, false); /* what is wrong the next send will say */
        return;
    }
    if (l->work && ((struct uring_op *)l->work)->is_poll && result > 0)
        result = 0; /* an event mask; an error on the socket is told by the next send */
    ol_uring_return_op(u, l->work);
    l->work = NULL;
    if (result == -EAGAIN)
        uring_set_blocking(l->token); /* a descriptor that we did not make */
    if (result == -EAGAIN || result == -EINTR)
        result = 0;
    if (result < 0)
        l->flags |= URING_BROKEN;
    uring_tell(u, l, OL_SENT, result, false);
}

/* A completion of a link that is closing. */
static void
drop(struct uring *u, struct ol_link *l, enum uring_tag tag, const struct io_uring_cqe *e)
{
    if (e->flags & IORING_CQE_F_BUFFER)
        uring_offer_block(u, e->flags >> IORING_CQE_BUFFER_SHIFT);
    if (tag == URING_TAG_MAIN && l->kind == OL_LINK_LISTENER && e->res >= 0)
        ol_sock_close(e->res, false);
    if (tag == URING_TAG_QUIET)
        ol_uring_forget_quiet(u, l);
    if (tag == URING_TAG_CONNECT || (tag == URING_TAG_SEND && l->kind == OL_LINK_STREAM)) {
        ol_uring_return_op(u, l->work);
        l->work = NULL;
    }
    if (l->pending == 0 && !(l->flags & URING_LISTED))
        ol_uring_tell_closed(u, l);
}

static void
on_completion(struct uring *u, const struct io_uring_cqe *e)
{
    enum uring_tag tag = (enum uring_tag)(e->user_data & URING_TAG_BITS);
    struct ol_link *l = (struct ol_link *)(uintptr_t)(e->user_data & ~(uint64_t)URING_TAG_BITS);

    if (OL_UNLIKELY(!l)) {
        if (tag == URING_TAG_WAKE)
            u->is_wake_heard = false;
        if (tag == URING_TAG_TIMER)
            u->rings_at = OL_NEVER;
        if (tag == URING_TAG_TICK)
            u->is_ticking = false;
        if (tag == URING_TAG_QUIET)
            ol_uring_read_marker(u);
        return;
    }
    if (e->flags & IORING_CQE_F_BUFFER) {
        OL_ASSERT(u->offered > 0);
        u->offered--;
    }
    if (OL_UNLIKELY(!(e->flags & IORING_CQE_F_MORE))) {
        OL_ASSERT(l->pending > 0);
        l->pending--;
        uring_clear(l, tag == URING_TAG_MAIN ? URING_ARMED | URING_CANCELLED
                       : tag == URING_TAG_SEND || tag == URING_TAG_QUIET ? URING_SENDING
                                                                         : 0);
    }
    if (OL_UNLIKELY(l->flags & URING_CLOSING)) {
        drop(u, l, tag, e);
        return;
    }
    if (OL_LIKELY(tag == URING_TAG_MAIN)) {
        on_main(u, l, e);
    } else if (tag == URING_TAG_SEND) {
        on_sent(u, l, e->res);
    } else if (tag == URING_TAG_QUIET) {
        l->work = NULL;                                /* a word is no operation */
        on_sent(u, l, e->res == -EAGAIN ? 0 : e->res); /* no room is no fault of the descriptor's */
        ol_uring_forget_quiet(u, l);
    } else {
        OL_ASSERT(tag == URING_TAG_CONNECT);
        ol_uring_return_op(u, l->work);
        l->work = NULL;
        uring_clear(l, URING_CONNECTING);
        uring_tell(u, l, OL_CONNECTED, e->res, false);
    }
}

/* A completion of the ring makes at most one of ours. */
void
ol_uring_reap(struct uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned ready = io_uring_cq_ready(&u->ring);
    unsigned head = *cq->khead; /* only we write it */
    unsigned seen = 0;

    ol_uring_tell_quiet(u);
    for (; seen < ready && uring_has_room(u); seen++)
        on_completion(u, &cq->cqes[(head + seen) & cq->ring_mask]);
    io_uring_cq_advance(&u->ring, seen);
}
