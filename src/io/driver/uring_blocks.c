/*
 * uring_blocks.c - see uring_blocks.h.
 *
 * A block is 64 KiB of which a small message touches one page, so places cost address space rather
 * than memory until they are used.  What a newcomer would get wrong: a block that somebody keeps a
 * reference of must never go back into its place, however small the part is that they look at.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring_blocks.h"

#include <errno.h>

static struct ol_block *
new_block(const struct ol_blocks *b)
{
    return ol_block_new(b->budget, OL_LENT_ROOM + OL_RECEIVE_MIN + OL_LENT_ROOM);
}

int
ol_blocks_make(struct ol_blocks *b, struct ol_budget *budget)
{
    OL_ASSERT(b->count == 0);
    b->budget = budget;
    b->missing = 0;
    for (; b->count < OL_BLOCKS; b->count++) {
        b->at[b->count] = new_block(b);
        if (!b->at[b->count]) {
            ol_blocks_free(b);
            return -ENOMEM;
        }
    }
    return 0;
}

void
ol_blocks_free(struct ol_blocks *b)
{
    for (unsigned id = 0; id < b->count; id++) {
        if (b->at[id])
            ol_block_unref(b->at[id]);
    }
    b->count = 0;
    b->missing = 0;
    b->spare_count = 0;
}

bool
ol_blocks_replace(struct ol_blocks *b, unsigned id)
{
    ol_block_unref(b->at[id]);
    b->at[id] = new_block(b);
    if (!b->at[id])
        b->missing++;
    return b->at[id];
}

int
ol_blocks_renew(struct ol_blocks *b)
{
    unsigned id = 0;

    if (b->missing == 0)
        return -ENOENT;
    while (b->at[id])
        id++;
    OL_ASSERT(id < b->count);
    b->at[id] = new_block(b);
    if (!b->at[id])
        return -ENOMEM;
    b->missing--;
    return (int)id;
}

void
ol_blocks_spare(struct ol_blocks *b, unsigned id)
{
    OL_ASSERT(b->spare_count < b->count && b->at[id]);
    b->spares[b->spare_count++] = (uint8_t)id;
}

unsigned
ol_blocks_unspare(struct ol_blocks *b)
{
    OL_ASSERT(b->spare_count > 0);
    return b->spares[--b->spare_count];
}
