/*
 * uring_read.c - what the ring only polls: read, or accepted, by system calls of our own.
 *
 * Datagrams come in batches that way, with their addresses and sizes, descriptors come along with
 * messages, and a listener that other processes may hold, too, cannot be made blocking behind their
 * backs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include <errno.h>

enum {
    DGRAM_ROOM = 65536,   /* more than any udp datagram */
    ACCEPTS_PER_WAIT = 64 /* of an inherited listener */
};

int
ol_uring_make_dgrams(struct uring *u)
{
    if (u->dgrams)
        return 0;
    u->dgrams = ol_alloc(uring_heap(u), sizeof *u->dgrams);
    if (!u->dgrams)
        return -ENOMEM;
    u->dgrams->fds.used = 0;
    /* 2 MiB of which only the pages that hold datagrams are ever touched. */
    ol_lender_init(&u->dgrams->lender, u->budget, OL_SOCK_BATCH * ol_lender_stride(DGRAM_ROOM));
    return 0;
}

void
ol_uring_free_dgrams(struct uring *u)
{
    if (u->dgrams)
        ol_lender_fini(&u->dgrams->lender);
    ol_free(uring_heap(u), u->dgrams);
}

void
ol_uring_renew_dgrams(struct uring_dgrams *g)
{
    ol_lender_renew(&g->lender);
    g->fds.used = 0;
}

/* ---- datagrams and packets ------------------------------------------------------------- */

static size_t
message_room(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM ? DGRAM_ROOM : OL_PACKET_MAX;
}

static void
tell_dgram(struct uring *u, struct ol_link *l, int i, uint8_t *data)
{
    struct uring_dgrams *g = u->dgrams;
    size_t len = g->inbox.heads[i].msg_len;
    struct ol_completion *c = uring_tell(u, l, OL_RECEIVED, (int32_t)len, true);
    struct ol_addr *from = &u->from[u->out_count - 1];
    struct ol_addr *to = &g->to[u->out_count - 1];

    ol_lender_lend_slot(&g->lender, data, len, message_room(l), &c->bytes);
    c->bytes.id = URING_NO_BUFFER;
    c->truncated = ol_sock_dgram_truncated(&g->inbox, i);
    c->segment = ol_sock_dgram_segment(&g->inbox, i);
    ol_sock_dgram_from(&g->inbox, i, from);
    c->from = from;
    c->to = ol_sock_dgram_to(&g->inbox, i, to) ? to : NULL;
}

static void
tell_end(struct uring *u, struct ol_link *l)
{
    ol_uring_cease(u, l);
    uring_clear(l, URING_READABLE);
    uring_tell(u, l, OL_RECEIVED, 0, false)->end = l->kind == OL_LINK_PACKET;
}

/* One message, or what a stream has up to the next descriptors.  A ring's receive brings none. */
static void
receive_passing(struct uring *u, struct ol_link *l)
{
    struct uring_dgrams *g = u->dgrams;
    bool packet = l->kind == OL_LINK_PACKET;
    size_t size = packet ? OL_PACKET_MAX : OL_RECEIVE_MIN;
    struct ol_completion got = {.fd_count = 0};
    struct ol_completion *c;
    uint8_t *data = NULL;
    int64_t n;

    if (ol_lender_offer_slots(&g->lender, size, 1, &data) <= 0)
        return; /* this batch's room is used up, or there is no memory */
    n = ol_sock_receive_fds(l->token, &(struct iovec){data, size}, (unsigned)(uintptr_t)l->work,
                            &g->fds, &got);
    if (n == -EINTR || n == -ENOBUFS)
        return;
    if (n == -EAGAIN) {
        uring_clear(l, URING_READABLE); /* the next arrival completes the poll once more */
        return;
    }
    if (n == 0 && !got.fd_count && (!packet || ol_sock_at_end(l->token))) {
        tell_end(u, l);
        return;
    }
    c = uring_tell(u, l, OL_RECEIVED, (int32_t)n, n >= 0);
    if (n < 0) {
        ol_uring_cease(u, l);
        return;
    }
    ol_lender_lend_slot(&g->lender, data, (size_t)n, size, &c->bytes);
    c->bytes.id = URING_NO_BUFFER;
    c->truncated = packet && got.truncated;
    c->fds = got.fds;
    c->fd_count = got.fd_count;
    c->fds_lost = got.fds_lost;
}

/* One system call's worth, so that other sockets get their turn; URING_READABLE stays until a call
 * brings less than it could have. */
static void
receive_dgrams(struct uring *u, struct ol_link *l)
{
    struct uring_dgrams *g = u->dgrams;
    size_t size = message_room(l);
    size_t stride = ol_lender_stride(size);
    int room = u->out_max - u->out_count;
    uint8_t *first = NULL;
    int asked;
    int n;

    asked = ol_lender_offer_slots(&g->lender, size, room < OL_SOCK_BATCH ? room : OL_SOCK_BATCH,
                                  &first);
    if (asked <= 0) /* this batch's room is used up, or there is no memory */
        return;
    for (int i = 0; i < asked; i++)
        g->inbox.pieces[i] = (struct iovec){first + (size_t)i * stride, size};
    n = ol_sock_receive_dgrams(l->token, &g->inbox, asked, l->kind != OL_LINK_DGRAM);
    if (n == -EINTR)
        return;
    if (n < asked && (n >= 0 || n == -EAGAIN))
        uring_clear(l, URING_READABLE); /* the next arrival completes the poll once more */
    if (n < 0 && n != -EAGAIN) {
        bool more = l->kind != OL_LINK_PACKET && ol_sock_is_peer_error(-n);

        uring_tell(u, l, OL_RECEIVED, n, more);
        if (!more)
            ol_uring_cease(u, l);
    }
    for (int i = 0; i < n; i++) {
        if (l->kind == OL_LINK_PACKET && g->inbox.heads[i].msg_len == 0 &&
            ol_sock_packet_end(l->token, &g->inbox, i, n)) {
            tell_end(u, l);
            return;
        }
        tell_dgram(u, l, i, first + (size_t)i * stride);
    }
}

/* ---- inherited listeners --------------------------------------------------------------- */

static void
accept_some(struct uring *u, struct ol_link *l)
{
    for (int i = 0; i < ACCEPTS_PER_WAIT && uring_has_room(u); i++) {
        struct ol_addr *from = &u->from[u->out_count];
        int fd = ol_sock_accept(l->token, from);

        if (fd == -EAGAIN) {
            uring_clear(l, URING_READABLE); /* the next arrival completes the poll once more */
            return;
        }
        if (fd < 0 && ol_sock_is_lost_client(-fd))
            continue;
        if (fd < 0) {
            /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
            ol_uring_cease(u, l);
            uring_tell(u, l, OL_ACCEPTED, fd, false);
            return;
        }
        uring_set_blocking(fd);
        if (l->work) /* singly */
            uring_clear(l, URING_WANTED);
        uring_tell(u, l, OL_ACCEPTED, fd, l->flags & URING_WANTED)->from = from;
        if (l->work)
            return;
    }
}

/* ---- whichever it is ------------------------------------------------------------------- */

void
ol_uring_read_on(struct uring *u, struct ol_link *l)
{
    if (uring_has_room(u) && l->kind == OL_LINK_INHERITED)
        accept_some(u, l);
    else if (uring_has_room(u) && uring_passes(l))
        receive_passing(u, l);
    else if (uring_has_room(u))
        receive_dgrams(u, l);
    if (l->flags & URING_READABLE && l->flags & URING_WANTED)
        uring_put_on(&u->todo, l);
}
