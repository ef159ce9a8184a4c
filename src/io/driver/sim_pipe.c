/*
 * sim_pipe.c - the bytes of one direction, and the send that waits for room there.
 *
 * A pending send is read when it completes and not before, as io_uring may do.  Whoever frees or
 * changes its bytes early is caught twice: by the address sanitizer, and by a sum over them that is
 * taken when they are given and again when the send ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

enum { CHUNK_MIN = 240 };

struct sim_chunk {
    struct sim_chunk *next;
    uint32_t start;
    uint32_t end;
    uint32_t room;
    uint8_t bytes[];
};

size_t
ol_sim_pieces_len(const struct iovec *pieces, int count)
{
    size_t len = 0;

    for (int i = 0; i < count; i++)
        len += pieces[i].iov_len;
    return len;
}

/* Copy `n` bytes, beginning `skip` bytes into the pieces. */
static void
gather(uint8_t *to, const struct iovec *pieces, size_t skip, size_t n)
{
    for (; n > 0; pieces++) {
        size_t len;

        if (skip >= pieces->iov_len) {
            skip -= pieces->iov_len;
            continue;
        }
        len = ol_min(pieces->iov_len - skip, n);
        memcpy(to, (const uint8_t *)pieces->iov_base + skip, len);
        to += len;
        n -= len;
        skip = 0;
    }
}

static struct sim_pipe *
pipe_need(const ol_heap *heap, struct sim_pipe **pipe)
{
    if (!*pipe)
        *pipe = ol_alloc_zero(heap, sizeof **pipe);
    return *pipe;
}

/* An idle direction costs nothing. */
static void
pipe_settle(const ol_heap *heap, struct sim_pipe **pipe)
{
    if (*pipe && !(*pipe)->first && !(*pipe)->pending) {
        ol_free(heap, *pipe);
        *pipe = NULL;
    }
}

int
ol_sim_pipe_append(const ol_heap *heap, struct sim_pipe **pipe, const struct iovec *pieces,
                   int count, size_t skip, size_t n)
{
    struct sim_pipe *p = pipe_need(heap, pipe);
    struct sim_chunk *c = NULL;
    size_t first = 0;

    OL_ASSERT(skip + n <= ol_sim_pieces_len(pieces, count));
    if (!p)
        return -ENOMEM;
    if (p->last)
        first = ol_min(n, p->last->room - p->last->end);
    if (first < n) {
        size_t room = ol_max(n - first, CHUNK_MIN);

        c = ol_alloc(heap, sizeof *c + room);
        if (!c) {
            pipe_settle(heap, pipe);
            return -ENOMEM;
        }
        c->next = NULL;
        c->start = 0;
        c->end = (uint32_t)(n - first);
        c->room = (uint32_t)room;
        gather(c->bytes, pieces, skip + first, n - first);
    }
    if (first > 0) {
        gather(p->last->bytes + p->last->end, pieces, skip, first);
        p->last->end += (uint32_t)first;
    }
    if (c) {
        if (p->last)
            p->last->next = c;
        else
            p->first = c;
        p->last = c;
    }
    p->len += (uint32_t)n;
    return 0;
}

void
ol_sim_pipe_read(const ol_heap *heap, struct sim_pipe **pipe, uint8_t *to, size_t n)
{
    struct sim_pipe *p = *pipe;

    OL_ASSERT(n <= p->arrived && p->arrived <= p->len);
    p->arrived -= (uint32_t)n;
    p->len -= (uint32_t)n;
    while (n > 0) {
        struct sim_chunk *c = p->first;
        size_t len = ol_min(n, c->end - c->start);

        memcpy(to, c->bytes + c->start, len);
        to += len;
        n -= len;
        c->start += (uint32_t)len;
        if (c->start == c->end) {
            p->first = c->next;
            if (!p->first)
                p->last = NULL;
            ol_free(heap, c);
        }
    }
    pipe_settle(heap, pipe);
}

bool
ol_sim_pipe_peek(const struct sim_pipe *pipe, uint8_t *to, size_t n)
{
    if (!pipe || pipe->arrived < n)
        return false;
    for (const struct sim_chunk *c = pipe->first; n > 0; c = c->next) {
        size_t len = ol_min(n, c->end - c->start);

        memcpy(to, c->bytes + c->start, len);
        to += len;
        n -= len;
    }
    return true;
}

void
ol_sim_pipe_cut(const ol_heap *heap, struct sim_pipe **pipe, size_t keep)
{
    struct sim_pipe *p = *pipe;
    struct sim_chunk **at;
    struct sim_chunk *rest;

    if (!p || keep >= p->len)
        return;
    p->len = (uint32_t)keep;
    p->arrived = (uint32_t)ol_min(p->arrived, keep);
    p->last = NULL;
    for (at = &p->first; keep > 0; at = &(*at)->next) {
        struct sim_chunk *c = *at;
        size_t len = ol_min(keep, c->end - c->start);

        c->end = c->start + (uint32_t)len;
        keep -= len;
        p->last = c;
    }
    rest = *at;
    *at = NULL;
    while (rest) {
        struct sim_chunk *next = rest->next;

        ol_free(heap, rest);
        rest = next;
    }
    pipe_settle(heap, pipe);
}

void
ol_sim_pipe_free(const ol_heap *heap, struct sim_pipe **pipe)
{
    if (!*pipe)
        return;
    ol_free(heap, (*pipe)->pending); /* not checked: its owner may be gone in a forked child */
    (*pipe)->pending = NULL;
    ol_sim_pipe_cut(heap, pipe, 0);
    pipe_settle(heap, pipe);
}

/* ---- a send that waits ------------------------------------------------------------------- */

static uint64_t
mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    return sum ^ sum >> 32;
}

static uint64_t
sum_of(const struct iovec *pieces, int count)
{
    uint64_t sum = 1;

    for (int i = 0; i < count; i++) {
        const uint8_t *bytes = pieces[i].iov_base;
        size_t len = pieces[i].iov_len;
        uint64_t word;

        for (; len >= sizeof word; len -= sizeof word, bytes += sizeof word) {
            memcpy(&word, bytes, sizeof word);
            sum = mix(sum, word);
        }
        for (; len > 0; len--)
            sum = mix(sum, *bytes++);
    }
    return sum;
}

int
ol_sim_pipe_pend(const ol_heap *heap, struct sim_pipe **pipe, const struct iovec *pieces, int count,
                 enum sim_finish finish)
{
    struct sim_pipe *p = pipe_need(heap, pipe);
    struct sim_pending *s;

    if (!p)
        return -ENOMEM;
    OL_ASSERT(!p->pending);
    s = ol_alloc(heap, sizeof *s + (size_t)count * sizeof *pieces);
    if (!s) {
        pipe_settle(heap, pipe);
        return -ENOMEM;
    }
    s->total = ol_min(ol_sim_pieces_len(pieces, count), INT32_MAX);
    s->taken = 0;
    s->sum = sum_of(pieces, count);
    s->finish = finish;
    s->count = count;
    memcpy(s->pieces, pieces, (size_t)count * sizeof *pieces);
    p->pending = s;
    return 0;
}

void
ol_sim_pipe_unpend(const ol_heap *heap, struct sim_pipe **pipe)
{
    struct sim_pending *s = (*pipe)->pending;

    if (sum_of(s->pieces, s->count) != s->sum)
        ol_assert_failed(__FILE__, __LINE__,
                         "the bytes of a pending send changed before OL_SENT or OL_CLOSED");
    (*pipe)->pending = NULL;
    ol_free(heap, s);
    pipe_settle(heap, pipe);
}
