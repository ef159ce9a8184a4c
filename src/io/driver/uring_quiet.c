/*
 * uring_quiet.c - sends that complete only when they fail.
 *
 * Most sends take all at once, and nobody waits to hear it.  So an echo server sleeps in the same
 * entry that submits its answers, and what no completion has told of once the kernel has all
 * submissions was sent.
 *
 *     quiet[]:  | sent: to be told |  submitted, or about to be  |
 *               0                  quiet_sent                    quiet_count
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

enum { QUIET_BYTES = 16384 /* of one: a longer one seldom finds room for all of it at once */ };

const char ol_uring_quiet_send = 0;
const char ol_uring_no_room = 0;

static void
set_word(struct ol_link *l, const char *word)
{
    l->work = (void *)(uintptr_t)word;
}

void
ol_uring_forget_quiet(struct uring *u, struct ol_link *l)
{
    unsigned i = u->quiet_sent;

    set_word(l, &ol_uring_no_room);
    while (i < u->quiet_count && u->quiet[i].link != l)
        i++;
    if (i == u->quiet_count)
        return; /* settle() has seen it coming */
    u->quiet_count--;
    if (i < u->quiet_marked)
        u->quiet_marked--;
    memmove(&u->quiet[i], &u->quiet[i + 1], (u->quiet_count - i) * sizeof u->quiet[0]);
}

bool
ol_uring_can_be_quiet(const struct uring *u, const struct ol_link *l, size_t len)
{
    return len <= QUIET_BYTES && l->work != &ol_uring_no_room && l->ops->is_awaited &&
           u->quiet_count < URING_QUIET_MAX && !ol_embed_is_open(&u->embed);
}

/* Does not wait for room, and fails unless it takes all. */
void
ol_uring_prepare_quiet(struct uring *u, struct io_uring_sqe *s, struct ol_link *l,
                       const struct iovec *piece)
{
    io_uring_prep_send(s, l->token, piece->iov_base, piece->iov_len,
                       MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
    s->flags |= IOSQE_CQE_SKIP_SUCCESS;
    uring_set_tag(s, l, URING_TAG_QUIET);
    if (OL_LIKELY(u->quiet_count == u->quiet_sent))
        u->quiet_from = *u->ring.cq.khead + io_uring_cq_ready(&u->ring);
    u->quiet[u->quiet_count++] = (struct uring_quiet){l, (int32_t)piece->iov_len};
    set_word(l, &ol_uring_quiet_send);
}

bool
ol_uring_send_quiet(struct ol_driver *d, struct ol_link *l, const struct iovec *piece)
{
    struct uring *u = uring_self(d);
    struct io_uring_sqe *s = NULL;

    if (l->kind == OL_LINK_STREAM && ol_uring_can_be_quiet(u, l, piece->iov_len))
        s = uring_submission(u);
    if (!s)
        return false;
    ol_uring_prepare_quiet(u, s, l, piece);
    l->pending++;
    l->flags |= URING_SENDING;
    return true;
}

/* What is submitted and waited for in one entry would be heard of too late. */
bool
ol_uring_is_quiet_awaited(const struct uring *u)
{
    for (unsigned i = u->quiet_sent; i < u->quiet_count; i++) {
        struct ol_link *l = u->quiet[i].link;

        if (l->flags & URING_CLOSING || l->ops->is_awaited(l))
            return true;
    }
    return u->quiet_sent > 0;
}

/*
 * While completions overflow, the kernel may hold back one of a send that has failed, and that may
 * last.  But it keeps their order: once the completion of a submission is read that came after the
 * sends, so are all of theirs.
 */
static void
send_marker(struct uring *u)
{
    struct io_uring_sqe *s = u->has_marker ? NULL : uring_submission(u);

    if (!s)
        return;
    io_uring_prep_nop(s);
    uring_set_tag(s, NULL, URING_TAG_QUIET);
    u->has_marker = true;
    u->quiet_marked = u->quiet_count;
}

void
ol_uring_read_marker(struct uring *u)
{
    if (u->quiet_marked > u->quiet_sent)
        u->quiet_sent = u->quiet_marked;
    u->has_marker = false;
    u->quiet_marked = 0;
}

/* After an entry: those that have failed are struck out, the others were sent. */
static void
settle(struct uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned ready = io_uring_cq_ready(&u->ring);
    unsigned end = *cq->khead + ready;
    unsigned kept = u->quiet_sent;
    bool has_failures = false;

    if (u->quiet_count == u->quiet_sent || OL_UNLIKELY(io_uring_sq_ready(&u->ring) > 0))
        return;
    if (OL_UNLIKELY(uring_held_back(u) & IORING_SQ_CQ_OVERFLOW)) {
        send_marker(u);
        return;
    }
    /* Of those that were read meanwhile ol_uring_forget_quiet() knows; their links may be gone. */
    if (OL_UNLIKELY(end - u->quiet_from > ready))
        u->quiet_from = end - ready;
    for (unsigned at = u->quiet_from; at != end; at++) {
        const struct io_uring_cqe *e = &cq->cqes[at & cq->ring_mask];

        struct ol_link *l = (struct ol_link *)(uintptr_t)(e->user_data & ~(uint64_t)URING_TAG_BITS);

        if (OL_UNLIKELY((e->user_data & URING_TAG_BITS) == URING_TAG_QUIET) && l) {
            set_word(l, &ol_uring_no_room);
            has_failures = true;
        }
    }
    if (OL_UNLIKELY(has_failures)) {
        for (unsigned i = kept; i < u->quiet_count; i++) {
            if (u->quiet[i].link->work == &ol_uring_quiet_send)
                u->quiet[kept++] = u->quiet[i];
        }
        u->quiet_count = kept;
    }
    u->quiet_sent = u->quiet_count;
    u->quiet_marked = 0; /* what the marker would tell is known */
}

/* Before what was received: who answers that then finds nothing in its way. */
void
ol_uring_tell_quiet(struct uring *u)
{
    unsigned told = 0;

    settle(u);
    if (u->quiet_sent == 0)
        return;
    for (; told < u->quiet_sent && uring_has_room(u); told++) {
        struct ol_link *l = u->quiet[told].link;

        OL_ASSERT(l->work == &ol_uring_quiet_send && l->pending > 0);
        l->pending--;
        l->work = NULL;
        uring_clear(l, URING_SENDING);
        if (OL_LIKELY(!(l->flags & URING_CLOSING))) {
            if (OL_UNLIKELY(!l->ops->took) ||
                OL_UNLIKELY(!l->ops->took(l, (size_t)u->quiet[told].len)))
                uring_tell(u, l, OL_SENT, u->quiet[told].len, false);
        } else if (l->pending == 0 && !(l->flags & URING_LISTED)) {
            ol_uring_tell_closed(u, l);
        }
    }
    u->quiet_sent -= told;
    u->quiet_count -= told;
    u->quiet_marked -= u->quiet_marked < told ? u->quiet_marked : told;
    if (OL_UNLIKELY(u->quiet_count > 0))
        memmove(&u->quiet[0], &u->quiet[told], u->quiet_count * sizeof u->quiet[0]);
}
