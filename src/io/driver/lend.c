/*
 * lend.c - carve received bytes out of one block and notice who keeps them.
 *
 * The mistake to make here is to count each part with a reference of its own: two atomic operations
 * per message for a case that never happens in a batch.  Parts are counted plainly, and only those
 * that have not come back when the batch is over get references.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lend.h"

#include <errno.h>

void
ol_lender_init(struct ol_lender *l, struct ol_budget *budget, size_t size)
{
    *l = (struct ol_lender){.budget = budget, .size = size};
}

void
ol_lender_fini(struct ol_lender *l)
{
    ol_lender_renew(l);
    if (l->block)
        ol_block_unref(l->block);
    l->block = NULL;
}

bool
ol_lender_fill(struct ol_lender *l)
{
    if (!l->block)
        l->block = ol_block_new(l->budget, l->size);
    return l->block;
}

void
ol_lender_let_go(struct ol_lender *l)
{
    for (; l->lent > 0; l->lent--)
        (void)ol_block_ref(l->block); /* dropped by give_back */
    ol_block_unref(l->block);
    l->block = NULL;
}

size_t
ol_lender_stride(size_t room)
{
    return ol_lender_round_up(room) + 2 * OL_LENT_ROOM;
}

int
ol_lender_offer_slots(struct ol_lender *l, size_t room, int count, uint8_t **first)
{
    size_t left;

    if (!ol_lender_fill(l))
        return -ENOMEM;
    left = (l->size - l->used) / ol_lender_stride(room);
    *first = l->block->bytes + l->used + OL_LENT_ROOM;
    return left < (size_t)count ? (int)left : count;
}

void
ol_lender_lend_slot(struct ol_lender *l, uint8_t *data, size_t len, size_t room,
                    struct ol_lent *out)
{
    OL_ASSERT(len <= room);
    ol_lender_carve(l, data, len, ol_lender_stride(room) - OL_LENT_ROOM - len, out);
}
