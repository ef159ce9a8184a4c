/*
 * uring_blocks.h - the numbered blocks that stream bytes are received into and lent from.
 *
 * Knows nothing of rings: an id is a place, and a place holds a block that is ours alone or, when
 * memory ran out while somebody kept the last one, nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_URING_BLOCKS_H
#define OL_URING_BLOCKS_H

#include "driver.h"

enum {
    OL_BLOCKS = 64,                    /* a power of two, as the kernel wants it */
    OL_BLOCK_FULL = OL_RECEIVE_MIN / 4 /* more bytes than this matter to the cache */
};

struct ol_blocks {
    struct ol_budget *budget; /* not a reference: the driver holds one */
    unsigned count;           /* OL_BLOCKS, or 0 before they were made */
    unsigned missing;         /* places without a block */
    struct ol_block *at[OL_BLOCKS];
    bool is_full[OL_BLOCKS]; /* when it was lent last */
    unsigned spare_count;
    uint8_t spares[OL_BLOCKS]; /* places that are held back; last in, first out */
};

int ol_blocks_make(struct ol_blocks *b, struct ol_budget *budget); /* all or -ENOMEM */
void ol_blocks_free(struct ol_blocks *b);

bool ol_blocks_replace(struct ol_blocks *b, unsigned id); /* what somebody keeps */
/* Fill one missing place: its id, -ENOENT when none is missing, or -ENOMEM. */
int ol_blocks_renew(struct ol_blocks *b);

void ol_blocks_spare(struct ol_blocks *b, unsigned id);
unsigned ol_blocks_unspare(struct ol_blocks *b); /* there must be one */

/* ---- inline, because it is done for each message --------------------------------------- */

static inline uint8_t *
ol_blocks_room(const struct ol_blocks *b, unsigned id) /* OL_RECEIVE_MIN bytes */
{
    OL_ASSERT(id < b->count && b->at[id]);
    return b->at[id]->bytes + OL_LENT_ROOM;
}

static inline void
ol_blocks_lend(struct ol_blocks *b, unsigned id, size_t len, struct ol_lent *out)
{
    OL_ASSERT(len <= OL_RECEIVE_MIN);
    out->data = ol_blocks_room(b, id);
    out->len = (uint32_t)len;
    out->room_before = OL_LENT_ROOM;
    out->room_after = (uint32_t)(OL_RECEIVE_MIN - len) + OL_LENT_ROOM;
    out->block = b->at[id];
    out->id = id;
    b->is_full[id] = len >= OL_BLOCK_FULL;
}

static inline bool
ol_blocks_was_full(const struct ol_blocks *b, unsigned id)
{
    OL_ASSERT(id < b->count);
    return b->is_full[id];
}

/* What was lent comes back.  true: the place has a block of ours alone, perhaps a new one; false:
 * no memory, the place is missing until ol_blocks_renew() fills it. */
static inline bool
ol_blocks_take_back(struct ol_blocks *b, unsigned id)
{
    OL_ASSERT(id < b->count && b->at[id]);
    return OL_LIKELY(ol_block_alone(b->at[id])) || ol_blocks_replace(b, id);
}

static inline unsigned
ol_blocks_spares(const struct ol_blocks *b)
{
    return b->spare_count;
}

#endif
