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

enum {
    LINE = 64 /* parts begin on cache lines */
};
_Static_assert(OL_LENT_ROOM % LINE == 0, "so that data lies on a line, too");

static size_t
round_up(size_t n)
{
    return (n + LINE - 1) / LINE * LINE;
}

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
ol_lender_renew(struct ol_lender *l)
{
    l->used = 0;
    if (!l->block || (l->lent == 0 && ol_block_alone(l->block)))
        return;
    for (; l->lent > 0; l->lent--)
        (void)ol_block_ref(l->block); /* dropped by give_back */
    ol_block_unref(l->block);
    l->block = NULL;
}

int
ol_lender_offer(struct ol_lender *l, size_t min, uint8_t **data, size_t *room)
{
    size_t left;

    if (!ol_lender_fill(l))
        return -ENOMEM;
    OL_ASSERT(l->used <= l->size);
    left = l->size - l->used;
    if (left < min + 2 * OL_LENT_ROOM)
        return -ENOBUFS;
    *data = l->block->bytes + l->used + OL_LENT_ROOM;
    *room = left - 2 * OL_LENT_ROOM;
    return 0;
}

static void
lend(struct ol_lender *l, uint8_t *data, size_t len, size_t room_after, struct ol_lent *out)
{
    *out = (struct ol_lent){.data = data,
                            .len = (uint32_t)len,
                            .room_before = OL_LENT_ROOM,
                            .room_after = (uint32_t)room_after,
                            .block = l->block};
    l->used = (size_t)(data + len + room_after - l->block->bytes);
    l->lent++;
    OL_ASSERT(l->used <= l->size);
}

void
ol_lender_lend(struct ol_lender *l, uint8_t *data, size_t len, struct ol_lent *out)
{
    size_t end = (size_t)(data + len - l->block->bytes) + OL_LENT_ROOM;
    size_t room_after = ol_min(round_up(end), l->size) - end + OL_LENT_ROOM;

    OL_ASSERT(data == l->block->bytes + l->used + OL_LENT_ROOM);
    lend(l, data, len, room_after, out);
}

size_t
ol_lender_stride(size_t room)
{
    return round_up(room) + 2 * OL_LENT_ROOM;
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
    OL_ASSERT(data == l->block->bytes + l->used + OL_LENT_ROOM && len <= room);
    lend(l, data, len, ol_lender_stride(room) - OL_LENT_ROOM - len, out);
}

void
ol_lender_give_back(struct ol_lender *l, struct ol_lent *bytes)
{
    if (bytes->block == l->block) {
        OL_ASSERT(l->lent > 0);
        l->lent--;
    } else {
        ol_block_unref(bytes->block);
    }
    bytes->block = NULL;
}
