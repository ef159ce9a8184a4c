/*
 * alloc.c - heaps, budgets and shares of budgets.
 *
 * A newcomer's mistake: to free through the table inside the thing that is being freed.  Copy the
 * table out first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"

#include "assert.h"
#include "math.h"

#include <stdlib.h>
#include <string.h>

enum { SHARE_STEP = 1024 * 1024 };

static void *
system_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *
system_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    return realloc(p, size);
}

static void
system_release(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

const ol_heap ol_heap_system = {
    .alloc = system_alloc,
    .resize = system_resize,
    .release = system_release,
};

void *
ol_alloc(const ol_heap *heap, size_t size)
{
    return heap->alloc(heap->ctx, ol_max(size, 1));
}

void *
ol_alloc_zero(const ol_heap *heap, size_t size)
{
    void *p = ol_alloc(heap, size);

    if (p)
        memset(p, 0, size);
    return p;
}

void *
ol_resize(const ol_heap *heap, void *p, size_t size)
{
    if (!p)
        return ol_alloc(heap, size);
    return heap->resize(heap->ctx, p, ol_max(size, 1));
}

void
ol_free(const ol_heap *heap, void *p)
{
    if (p)
        heap->release(heap->ctx, p);
}

char *
ol_copy_text(const ol_heap *heap, const char *text, size_t len)
{
    size_t size;
    char *copy;

    if (!ol_add(len, 1, &size))
        return NULL;
    copy = ol_alloc(heap, size);
    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

struct ol_budget *
ol_budget_new(const ol_heap *heap, int64_t max)
{
    struct ol_budget *b = ol_alloc(heap, sizeof *b);

    OL_ASSERT(max >= 0);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    atomic_init(&b->used, 0);
    b->max = max;
    b->heap = *heap;
    return b;
}

struct ol_budget *
ol_budget_ref(struct ol_budget *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);

    OL_ASSERT(before > 0 && before < UINT32_MAX);
    return b;
}

void
ol_budget_unref(struct ol_budget *b)
{
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ol_heap heap;

    OL_ASSERT(before > 0);
    if (before > 1)
        return;
    OL_ASSERT(atomic_load_explicit(&b->used, memory_order_relaxed) == 0);
    heap = b->heap;
    ol_free(&heap, b);
}

/* Compare and swap, not add and take back: a refused giant must not make others fail meanwhile. */
bool
ol_budget_charge(struct ol_budget *b, size_t bytes)
{
    int64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);

    do {
        if (bytes > (uint64_t)(b->max - used))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->used, &used, used + (int64_t)bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void
ol_budget_release(struct ol_budget *b, size_t bytes)
{
    int64_t before = atomic_fetch_sub_explicit(&b->used, (int64_t)bytes, memory_order_relaxed);

    OL_ASSERT(bytes <= (uint64_t)before);
}

void
ol_share_init(struct ol_share *s, struct ol_budget *b)
{
    s->budget = ol_budget_ref(b);
    s->drawn = 0;
    s->used = 0;
}

void
ol_share_fini(struct ol_share *s)
{
    OL_ASSERT(s->used == 0);
    ol_budget_release(s->budget, (size_t)s->drawn);
    ol_budget_unref(s->budget);
    s->budget = NULL;
    s->drawn = 0;
}

/*
 * What a reactor keeps in hand no other can have.  So a small budget is shared out in small steps,
 * and beyond half of it in none at all.
 */
static int64_t
step_of(const struct ol_budget *b)
{
    if (atomic_load_explicit(&b->used, memory_order_relaxed) > b->max / 2)
        return 0;
    return ol_min(SHARE_STEP, b->max / 64);
}

bool
ol_share_charge(struct ol_share *s, size_t bytes)
{
    int64_t spare = s->drawn - s->used;
    size_t missing;
    size_t step;

    if (bytes > (uint64_t)spare) {
        missing = bytes - (size_t)spare;
        step = ol_max(missing, (size_t)step_of(s->budget));
        if (!ol_budget_charge(s->budget, step)) {
            step = missing;
            if (!ol_budget_charge(s->budget, step))
                return false;
        }
        s->drawn += (int64_t)step;
    }
    s->used += (int64_t)bytes;
    return true;
}

void
ol_share_release(struct ol_share *s, size_t bytes)
{
    int64_t step = step_of(s->budget);
    int64_t spare;

    OL_ASSERT(bytes <= (uint64_t)s->used);
    s->used -= (int64_t)bytes;
    spare = s->drawn - s->used;
    if (spare > 2 * step) {
        ol_budget_release(s->budget, (size_t)(spare - step));
        s->drawn = s->used + step;
    }
}
