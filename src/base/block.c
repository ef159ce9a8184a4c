/*
 * block.c - reference-counted memory and the buffers that look at it.
 *
 * The bytes lie right behind their struct: one allocation each.  The last reference may end on any
 * thread, long after the loop is gone; the reference on the budget keeps the heap table alive.
 *
 * SPDX-License-Identifier: MIT
 */
#include "block.h"

#include "assert.h"
#include "math.h"

#include <string.h>

static const ol_heap *
heap_of(const struct ol_budget *budget)
{
    return budget ? &budget->heap : &ol_heap_system;
}

static void
ref(_Atomic uint32_t *refs)
{
    uint32_t before = atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);

    OL_ASSERT(before > 0 && before < UINT32_MAX);
}

/* True: it was the last one, and what other threads wrote before they let go is visible here. */
static bool
unref(_Atomic uint32_t *refs)
{
    uint32_t before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);

    OL_ASSERT(before > 0);
    return before == 1;
}

/* The first address behind the struct that a cache line begins at. */
static uint8_t *
first_line(struct ol_block *block)
{
    uintptr_t behind = (uintptr_t)(block + 1);

    return (uint8_t *)(block + 1) + (OL_BLOCK_LINE - behind % OL_BLOCK_LINE) % OL_BLOCK_LINE;
}

struct ol_block *
ol_block_new(struct ol_budget *b, size_t size)
{
    struct ol_block *block;
    size_t whole;

    if (!ol_add(sizeof *block + OL_BLOCK_LINE - 1, size, &whole))
        return NULL;
    block = ol_alloc(heap_of(b), whole);
    if (!block)
        return NULL;
    atomic_init(&block->refs, 1);
    block->size = size;
    block->budget = b ? ol_budget_ref(b) : NULL;
    block->bytes = first_line(block);
    return block;
}

struct ol_block *
ol_block_ref(struct ol_block *b)
{
    ref(&b->refs);
    return b;
}

void
ol_block_unref(struct ol_block *b)
{
    struct ol_budget *budget = b->budget;

    if (!unref(&b->refs))
        return;
    ol_free(heap_of(budget), b);
    if (budget)
        ol_budget_unref(budget);
}

/* A buffer with `extra` bytes behind it, `charge` of the budget taken. */
static struct outlet_buf *
buf_new(struct ol_budget *budget, size_t extra, size_t charge)
{
    struct outlet_buf *b;
    size_t whole;

    if (!ol_add(sizeof *b, extra, &whole))
        return NULL;
    if (budget && !ol_budget_charge(budget, charge))
        return NULL;
    b = ol_alloc(heap_of(budget), whole);
    if (!b)
        goto release_charge;
    memset(b, 0, sizeof *b);
    atomic_init(&b->refs, 1);
    if (budget) {
        b->budget = ol_budget_ref(budget);
        b->charged = charge;
    }
    return b;

release_charge:
    if (budget)
        ol_budget_release(budget, charge);
    return NULL;
}

struct outlet_buf *
ol_buf_blank(struct ol_budget *budget, size_t len)
{
    struct outlet_buf *b;
    size_t charge;

    /* The struct is charged too: empty messages are not free. */
    if (!ol_add(sizeof *b, len, &charge))
        return NULL;
    b = buf_new(budget, len, charge);
    if (!b)
        return NULL;
    b->bytes = (const uint8_t *)(b + 1);
    b->len = len;
    return b;
}

struct outlet_buf *
ol_buf_copy(struct ol_budget *budget, const void *bytes, size_t len)
{
    struct outlet_buf *b = ol_buf_blank(budget, len);

    if (b && len > 0)
        memcpy(b + 1, bytes, len);
    return b;
}

struct outlet_buf *
ol_buf_view(struct ol_budget *budget, struct ol_block *block, const uint8_t *bytes, size_t len)
{
    struct outlet_buf *b;

    OL_ASSERT(bytes >= block->bytes && len <= block->size);
    OL_ASSERT((size_t)(bytes - block->bytes) <= block->size - len);
    b = buf_new(budget, 0, block->size);
    if (!b)
        return NULL;
    b->bytes = bytes;
    b->len = len;
    b->block = ol_block_ref(block);
    return b;
}

outlet_buf *
outlet_buf_copy(const void *bytes, size_t len)
{
    if (!bytes && len > 0)
        return NULL;
    return ol_buf_copy(NULL, bytes, len);
}

outlet_buf *
outlet_buf_wrap(void *bytes, size_t len, void (*release)(void *bytes, void *arg), void *arg)
{
    struct outlet_buf *b;

    if (!bytes && len > 0)
        return NULL;
    b = buf_new(NULL, 0, 0);
    if (!b)
        return NULL;
    b->bytes = bytes;
    b->len = len;
    b->release = release;
    b->arg = arg;
    return b;
}

outlet_buf *
outlet_buf_ref(outlet_buf *b)
{
    if (b)
        ref(&b->refs);
    return b;
}

void
outlet_buf_unref(outlet_buf *b)
{
    struct ol_budget *budget;

    if (!b || !unref(&b->refs))
        return;
    budget = b->budget;
    if (b->release)
        b->release((void *)(uintptr_t)b->bytes, b->arg);
    if (b->block)
        ol_block_unref(b->block);
    if (budget)
        ol_budget_release(budget, b->charged);
    ol_free(heap_of(budget), b);
    if (budget)
        ol_budget_unref(budget);
}

const uint8_t *
outlet_buf_data(const outlet_buf *b, size_t *len)
{
    if (len)
        *len = b ? b->len : 0;
    return b ? b->bytes : NULL;
}
