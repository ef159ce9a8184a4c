/*
 * sim_lent.c - the blocks that received bytes are lent in.
 *
 * Made to catch whoever keeps a pointer: a block that comes back unreferenced is overwritten and
 * stays so for a while before it is freed.  Most blocks end where their bytes end, so that the
 * address sanitizer sees a reader that goes on; some are as large as a kernel driver's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

enum { POISON = 0xdb };

uint8_t *
ol_sim_lend(struct sim_driver *d, struct ol_lent *lent, size_t len, size_t room)
{
    struct ol_rng *rng = &d->world->rng;
    size_t after = ol_rng_below(rng, 16) ? ol_rng_below(rng, 32) : OL_RECEIVE_MIN;
    struct ol_block *b;

    room += ol_rng_below(rng, 16);
    b = ol_block_new(d->budget, room + len + after + (room + len + after == 0));
    if (!b)
        return NULL;
    lent->data = b->bytes + room;
    lent->len = (uint32_t)len;
    lent->room_before = (uint32_t)room;
    lent->room_after = (uint32_t)after;
    lent->block = b;
    lent->id = 1;
    d->lent++;
    return lent->data;
}

void
ol_sim_lend_nothing(struct sim_driver *d, struct ol_lent *lent)
{
    memset(lent, 0, sizeof *lent);
    lent->id = 1;
    d->lent++;
}

void
ol_sim_give_back(struct sim_driver *d, struct ol_lent *lent)
{
    struct ol_block *b = lent->block;

    OL_ASSERT(lent->id != 0 && d->lent > 0); /* else it was given back twice */
    lent->id = 0;
    d->lent--;
    if (!b)
        return;
    lent->block = NULL;
    if (ol_block_alone(b)) {
        struct ol_block **place = &d->quarantine[d->quarantine_at++ % SIM_QUARANTINE];

        memset(b->bytes, POISON, (size_t)(lent->data + lent->len - b->bytes));
        if (*place)
            ol_block_unref(*place);
        *place = b;
        return;
    }
    ol_block_unref(b);
}

void
ol_sim_lent_fini(struct sim_driver *d)
{
    for (size_t i = 0; i < SIM_QUARANTINE; i++) {
        if (d->quarantine[i])
            ol_block_unref(d->quarantine[i]);
    }
}
