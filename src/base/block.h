/*
 * block.h - reference-counted memory: what drivers receive into and what outlet_buf shares.
 *
 * A driver receives into a block and lends parts of it.  Who wants to keep bytes takes a reference;
 * the driver sees that it is no longer alone and receives into another block from then on.
 *
 * struct outlet_buf is a view of bytes together with what keeps them alive.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_BLOCK_H
#define OL_BLOCK_H

#include "alloc.h"
#include "outlet/buf.h"

enum {
    OL_BLOCK_LINE = 64 /* bytes of a cache line, that a block's bytes begin at */
};

struct ol_block {
    _Atomic uint32_t refs;
    size_t size;
    struct ol_budget *budget; /* NULL: nobody counts it */
    uint8_t *bytes;
};

/* Its bytes begin on a cache line: the kernel copies 64 KiB to anywhere else 2 to 7 % slower.  Not
 * charged: a driver's receive buffer is fixed cost.  The block holds a reference of the budget for
 * its heap table.  NULL: no memory. */
struct ol_block *ol_block_new(struct ol_budget *b, size_t size);
struct ol_block *ol_block_ref(struct ol_block *b);
void ol_block_unref(struct ol_block *b);

/* Exactly one reference: the caller's. */
static inline bool
ol_block_alone(const struct ol_block *b)
{
    return atomic_load_explicit(&b->refs, memory_order_acquire) == 1;
}

struct outlet_buf {
    _Atomic uint32_t refs;
    const uint8_t *bytes;
    size_t len;
    struct ol_block *block;   /* what the bytes lie in, or NULL */
    struct ol_budget *budget; /* charged with `charged`, or NULL; also whose heap made this */
    size_t charged;
    void (*release)(void *bytes, void *arg); /* outlet_buf_wrap, or NULL */
    void *arg;
    /* a copied buffer's bytes follow this struct */
};

/* A copy whose memory is counted in `budget` (NULL: malloc, uncounted), this struct included.
 * NULL: no memory or over max.  Room for `head` bytes before and `tail` after the copied
 * ones is not part of it: build with ol_buf_blank and fill. */
struct outlet_buf *ol_buf_copy(struct ol_budget *budget, const void *bytes, size_t len);
/* Uninitialised bytes to fill before the buffer is shared: cast the const away there only. */
struct outlet_buf *ol_buf_blank(struct ol_budget *budget, size_t len);
/* A view of `len` bytes inside `block`; takes a reference of the block and charges its whole size.
 * Each view charges, which overcounts when several messages share one block: safe side. */
struct outlet_buf *ol_buf_view(struct ol_budget *budget, struct ol_block *block,
                               const uint8_t *bytes, size_t len);

#endif
