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

/* A new batch: everything lent before should have come back; what has not, stays valid. */
void ol_lender_renew(struct ol_lender *l);

/* All the room that is left, if it is at least `min` beside OL_LENT_ROOM before and after it.
 * -ENOBUFS: not in this batch any more.  -ENOMEM. */
int ol_lender_offer(struct ol_lender *l, size_t min, uint8_t **data, size_t *room);
/* `len` bytes were received at the beginning of what was offered. */
void ol_lender_lend(struct ol_lender *l, uint8_t *data, size_t len, struct ol_lent *out);

/* Several equal parts at once, each for `room` bytes: how many of at most `count` there are. */
int ol_lender_offer_slots(struct ol_lender *l, size_t room, int count, uint8_t **first);
size_t ol_lender_stride(size_t room); /* from one slot's data to the next */
void ol_lender_lend_slot(struct ol_lender *l, uint8_t *data, size_t len, size_t room,
                         struct ol_lent *out); /* in order, without gaps */

void ol_lender_give_back(struct ol_lender *l, struct ol_lent *bytes);

#endif
