/*
 * uring_links.c - what a link wants of the kernel: begun, begun again, called off, ended.
 *
 * Every link that something must be done about, other than by a completion, stands on `todo`, or on
 * `starved` when what it lacks is a buffer to receive into.
 *
 * What a newcomer gets wrong: to close the descriptor while an operation is under way, which holds
 * the socket, so that it would end nothing.  link->pending counts what the kernel holds, and a link
 * is closed when that is zero.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* ---- beginning and calling off --------------------------------------------------------- */

/* false: the kernel takes nothing more for now. */
bool
ol_uring_begin(struct uring *u, struct ol_link *l)
{
    struct io_uring_sqe *s = uring_submission(u);

    if (!s)
        return false;
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
        if (l->flags & URING_SINGLY)
            io_uring_prep_accept(s, l->token, NULL, NULL, SOCK_CLOEXEC);
        else
            io_uring_prep_multishot_accept(s, l->token, NULL, NULL, SOCK_CLOEXEC);
        break;
    case OL_LINK_STREAM:
        io_uring_prep_recv_multishot(s, l->token, NULL, 0, 0);
        s->flags |= IOSQE_BUFFER_SELECT;
        s->buf_group = URING_BUFFER_GROUP;
        break;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
    case OL_LINK_PACKET:
    case OL_LINK_PASSING:
    case OL_LINK_INHERITED:
        io_uring_prep_poll_multishot(s, l->token, POLLIN);
        break;
    case OL_LINK_WATCH:
        io_uring_prep_poll_add(s, l->token,
                               l->flags & URING_NESTED ? POLLIN : (unsigned)(uintptr_t)l->work);
        break;
    case OL_LINK_NONE:
        OL_ASSERT(false); /* such a link is not in use */
    }
    uring_set_tag(s, l, URING_TAG_MAIN);
    l->pending++;
    l->flags |= URING_ARMED;
    return true;
}

int
ol_uring_start(struct uring *u, struct ol_link *l)
{
    OL_ASSERT(l->token >= 0 && !(l->flags & (URING_CONNECTING | URING_CLOSING)));
    l->flags |= URING_WANTED;
    if (uring_goes_by_readiness(l) && l->flags & URING_READABLE)
        uring_put_on(&u->todo, l); /* the poll has told already */
    uring_kick(u);
    if (l->flags & (URING_ARMED | URING_LISTED) || ol_uring_begin(u, l))
        return 0;
    uring_clear(l, URING_WANTED);
    return -ENOMEM;
}

static bool
cancel(struct uring *u, struct ol_link *l, enum uring_tag tag)
{
    struct io_uring_sqe *s = uring_submission(u);

    if (!s)
        return false;
    /* By user_data, which the kernel has hashed; by descriptor it would walk all operations. */
    io_uring_prep_cancel64(s, (uintptr_t)l | tag, 0);
    uring_set_tag(s, NULL, URING_TAG_CANCEL);
    return true;
}

void
ol_uring_cease(struct uring *u, struct ol_link *l)
{
    uring_clear(l, URING_WANTED);
    if (!(l->flags & URING_ARMED) || l->flags & URING_CANCELLED)
        return;
    /* Not cancelled, for want of memory: what comes is told, which the contract allows. */
    if (cancel(u, l, URING_TAG_MAIN))
        l->flags |= URING_CANCELLED;
}

/* ---- the end of a link ----------------------------------------------------------------- */

void
ol_uring_tell_closed(struct uring *u, struct ol_link *l)
{
    if (l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_LOCAL) {
        if (l->work)
            ol_sock_unlink(l->work); /* before the descriptor, see sock.h */
        ol_free(uring_heap(u), l->work);
    }
    if (l->kind == OL_LINK_WATCH && l->flags & URING_NESTED)
        close(l->token);
    else if (l->kind != OL_LINK_WATCH && l->token >= 0)
        ol_sock_close(l->token, l->flags & URING_RESET);
    l->token = -1;
    l->kind = OL_LINK_NONE;
    l->flags = 0;
    l->work = NULL;
    uring_tell(u, l, OL_CLOSED, 0, false);
}

/* Cancel what is under way, once each; then wait for the completions, on no list. */
static void
go_on_closing(struct uring *u, struct ol_link *l)
{
    if (l->flags & URING_ARMED && !(l->flags & URING_CANCELLED)) {
        if (!cancel(u, l, URING_TAG_MAIN))
            goto later;
        l->flags |= URING_CANCELLED;
    }
    if (l->flags & URING_SENDING && l->work != &ol_uring_quiet_send) {
        if (!cancel(u, l, URING_TAG_SEND))
            goto later;
        uring_clear(l, URING_SENDING);
    }
    if (l->flags & URING_CONNECTING && l->work) {
        if (!cancel(u, l, URING_TAG_CONNECT))
            goto later;
    }
    uring_clear(l, URING_CONNECTING);
    if (l->pending > 0)
        return;
    if (uring_has_room(u)) {
        ol_uring_tell_closed(u, l);
        return;
    }

later:
    uring_put_on(&u->todo, l);
}

/* A forked child shares the sockets with its parent, and has no ring. */
static void
close_in_child(struct uring *u, struct ol_link *l)
{
    u->is_child = true;
    u->is_armed = false; /* its descriptors are shared, too */
    if (l->kind != OL_LINK_WATCH || l->flags & URING_NESTED)
        close(l->token);
    if (l->kind == OL_LINK_STREAM)
        ol_uring_return_op(u, l->work);
    else if (l->kind != OL_LINK_WATCH && l->kind != OL_LINK_INHERITED && !uring_passes(l))
        ol_free(uring_heap(u), l->work);
    l->work = NULL;
    l->token = -1;
    l->pending = 0;
    uring_clear(l, URING_ARMED | URING_SENDING | URING_CONNECTING | URING_RESET);
}

void
ol_uring_close(struct ol_driver *d, struct ol_link *l, bool reset)
{
    struct uring *u = uring_self(d);

    OL_ASSERT(l->kind != OL_LINK_NONE && !(l->flags & URING_CLOSING));
    uring_clear(l, l->kind == OL_LINK_WATCH ? URING_WANTED : URING_WANTED | URING_READABLE);
    l->flags |= URING_CLOSING;
    if (reset && l->kind == OL_LINK_STREAM)
        l->flags |= URING_RESET;
    if (atomic_load_explicit(&u->forks->depth, memory_order_relaxed) != u->depth)
        close_in_child(u, l);
    if (l->flags & URING_LISTED)
        u->sweep_starved = true; /* it may be on that list */
    uring_put_on(&u->todo, l);
    uring_kick(u);
}

/* ---- links that something must be done about ------------------------------------------- */

static struct ol_link *
pop(struct uring_links *list)
{
    struct ol_link *l = list->first;

    if (!l)
        return NULL;
    list->first = l->next;
    if (!list->first)
        list->last = NULL;
    l->next = NULL;
    return l;
}

static void
go_on(struct uring *u, struct ol_link *l)
{
    if (l->flags & URING_CLOSING) {
        go_on_closing(u, l);
        return;
    }
    if (l->flags & URING_CONNECTING && !l->work) {
        if (!uring_has_room(u)) {
            uring_put_on(&u->todo, l);
            return;
        }
        uring_clear(l, URING_CONNECTING);
        uring_tell(u, l, OL_CONNECTED, 0, false);
    }
    uring_begin_again(u, l);
    if (uring_goes_by_readiness(l) && l->flags & URING_WANTED && l->flags & URING_READABLE)
        ol_uring_read_on(u, l);
}

/* Each link that is there now, once. */
OL_APART void
ol_uring_go_through_todo(struct uring *u)
{
    struct uring_links list = u->todo;
    struct ol_link *l;

    u->todo = (struct uring_links){NULL, NULL};
    while ((l = pop(&list))) {
        uring_clear(l, URING_LISTED);
        if (!u->is_child || l->flags & URING_CLOSING)
            go_on(u, l);
    }
}

/* Receive again, as many links as there are buffers: more would only come back. */
OL_APART void
ol_uring_feed_starved(struct uring *u)
{
    struct uring_links list = u->starved;
    unsigned buffers;
    bool is_sweep = u->sweep_starved;
    struct ol_link *l;

    if (!u->is_child)
        ol_uring_offer_spares(u, URING_HOT_BLOCKS);
    buffers = u->is_child ? 0 : u->offered;
    if (buffers == 0 && !is_sweep)
        return;
    u->starved = (struct uring_links){NULL, NULL};
    u->sweep_starved = false;
    /* Whoever is armed first may take all the buffers, and then all come back in the same order:
     * begin with another one each time, or a busy link starves the others for ever. */
    for (unsigned skip = buffers ? u->feeds++ % buffers : 0; skip > 0; skip--) {
        uring_push(&list, pop(&list));
    }
    while ((l = pop(&list))) {
        bool is_closing = l->flags & URING_CLOSING;

        if (!is_closing && l->flags & URING_WANTED && buffers == 0) {
            uring_push(&u->starved, l);
            if (is_sweep)
                continue;
            /* The rest as it is: it may be long. */
            if (list.first) {
                u->starved.last->next = list.first;
                u->starved.last = list.last;
            }
            return;
        }
        uring_clear(l, URING_LISTED);
        if (is_closing) {
            uring_put_on(&u->todo, l);
        } else if (l->flags & URING_WANTED) {
            buffers--;
            uring_begin_again(u, l);
        }
    }
}
