/*
 * lend.h - one large block that received bytes are lent from.
 *
 * All receives of a batch are carved out of one block, and the next batch starts at its beginning
 * again: the same few pages stay in the cache however many connections there are.  That is only
 * allowed while nobody else holds the block, so whoever keeps bytes takes a reference, and the
 * lender goes on with another block.  Not for other threads, except that a reference may be dropped
 * anywhere.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_LEND_H
#define OL_LEND_H

#include "driver.h"

#include <errno.h>

struct ol_lender {
    struct ol_budget *budget;
    struct ol_block *block; /* NULL: to be made when it is needed */
    size_t size;            /* of each block */
    size_t used;            /* bytes that this batch has carved off */
    uint32_t lent;          /* parts of `block` that have not come back */
};

void ol_lender_init(struct ol_lender *l, struct ol_budget *budget, size_t size);
void ol_lender_fini(struct ol_lender *l);
bool ol_lender_fill(struct ol_lender *l); /* make sure there is a block; false: no memory */

void ol_lender_let_go(struct ol_lender *l); /* of a block that somebody else holds */

/* A new batch: everything lent before should have come back; what has not, stays valid. */
static inline void
ol_lender_renew(struct ol_lender *l)
{
    l->used = 0;
    if (OL_LIKELY(l->block) && OL_UNLIKELY(l->lent > 0 || !ol_block_alone(l->block)))
        ol_lender_let_go(l);
}

/* ---- one part at a time: inline, because it is done for each message ----------------------- */

/* Parts begin on cache lines, as the block does. */
_Static_assert(OL_LENT_ROOM % OL_BLOCK_LINE == 0, "so that data lies on a line, too");

static inline size_t
ol_lender_round_up(size_t n)
{
    return (n + OL_BLOCK_LINE - 1) / OL_BLOCK_LINE * OL_BLOCK_LINE;
}

/* All the room that is left, if it is at least `min` beside OL_LENT_ROOM before and after it.
 * -ENOBUFS: not in this batch any more.  -ENOMEM. */
static inline int
ol_lender_offer(struct ol_lender *l, size_t min, uint8_t **data, size_t *room)
{
    size_t left;

    if (OL_UNLIKELY(!l->block) && !ol_lender_fill(l))
        return -ENOMEM;
    OL_ASSERT(l->used <= l->size);
    left = l->size - l->used;
    if (OL_UNLIKELY(left < min + 2 * OL_LENT_ROOM))
        return -ENOBUFS;
    *data = l->block->bytes + l->used + OL_LENT_ROOM;
    *room = left - 2 * OL_LENT_ROOM;
    return 0;
}

static inline void
ol_lender_carve(struct ol_lender *l, uint8_t *data, size_t len, size_t room_after,
                struct ol_lent *out)
{
    OL_ASSERT(data == l->block->bytes + l->used + OL_LENT_ROOM);
    *out = (struct ol_lent){.data = data,
                            .len = (uint32_t)len,
                            .room_before = OL_LENT_ROOM,
                            .room_after = (uint32_t)room_after,
                            .block = l->block};
    l->used = (size_t)(data + len + room_after - l->block->bytes);
    l->lent++;
    OL_ASSERT(l->used <= l->size);
}

/* `len` bytes were received at the beginning of what was offered. */
static inline void
ol_lender_lend(struct ol_lender *l, uint8_t *data, size_t len, struct ol_lent *out)
{
    size_t end = (size_t)(data + len - l->block->bytes) + OL_LENT_ROOM;

    ol_lender_carve(l, data, len, ol_min(ol_lender_round_up(end), l->size) - end + OL_LENT_ROOM,
                    out);
}

static inline void
ol_lender_give_back(struct ol_lender *l, struct ol_lent *bytes)
{
    if (OL_LIKELY(bytes->block == l->block)) {
        OL_ASSERT(l->lent > 0);
        l->lent--;
    } else {
        ol_block_unref(bytes->block);
    }
    bytes->block = NULL;
}

/* ---- several ------------------------------------------------------------------------------- */

/* Several equal parts at once, each for `room` bytes: how many of at most `count` there are. */
int ol_lender_offer_slots(struct ol_lender *l, size_t room, int count, uint8_t **first);
size_t ol_lender_stride(size_t room); /* from one slot's data to the next */
void ol_lender_lend_slot(struct ol_lender *l, uint8_t *data, size_t len, size_t room,
                         struct ol_lent *out); /* in order, without gaps */

#endif
