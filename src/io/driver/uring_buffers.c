/*
 * uring_buffers.c - which blocks the kernel may receive into.
 *
 * A block is offered, filled, lent, given back and offered again; uring_blocks.c holds them.
 *
 * What a newcomer gets wrong: to offer a block twice. `offered` falls with the completion that
 * names it, not when it is given back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

void
ol_uring_offer_spares(struct uring *u, unsigned up_to)
{
    while (u->offered < up_to && ol_blocks_spares(&u->blocks) > 0)
        uring_offer_block(u, ol_blocks_unspare(&u->blocks));
}

int
ol_uring_make_blocks(struct uring *u)
{
    int err;

    if (u->blocks.count > 0)
        return 0;
    err = ol_blocks_make(&u->blocks, u->budget);
    for (unsigned id = 0; id < u->blocks.count; id++)
        uring_offer_block(u, id);
    return err;
}

OL_APART void
ol_uring_renew_blocks(struct uring *u)
{
    int id;

    while ((id = ol_blocks_renew(&u->blocks)) >= 0)
        uring_offer_block(u, (unsigned)id);
}

/*
 * The kernel takes the block that was offered first, so all that are offered go round.  For small
 * messages that is what we want: a burst finds room, and little memory is touched.  Full blocks
 * would go round through 4 MiB and find none of it in the cache (measured: half as much work
 * again), so while they come back full only a few stay.
 */
static void
take_back_block(struct uring *u, unsigned id)
{
    bool is_full = ol_blocks_was_full(&u->blocks, id);

    if (OL_UNLIKELY(!ol_blocks_take_back(&u->blocks, id)))
        return;
    if (OL_UNLIKELY(is_full) && u->offered >= URING_HOT_BLOCKS) {
        ol_blocks_spare(&u->blocks, id);
        return;
    }
    uring_offer_block(u, id);
    if (OL_UNLIKELY(ol_blocks_spares(&u->blocks) > 0) && !is_full)
        ol_uring_offer_spares(u, u->offered + 1);
}

void
ol_uring_give_back(struct ol_driver *d, struct ol_lent *bytes)
{
    struct uring *u = uring_self(d);

    if (OL_LIKELY(bytes->id < URING_NO_BUFFER)) {
        take_back_block(u, bytes->id);
    } else if (bytes->block) {
        ol_lender_give_back(&u->dgrams->lender, bytes);
    }
    bytes->block = NULL;
}
