/*
 * failing_heap.c - a heap that counts what is alive, and can refuse the n-th request.
 *
 * Each allocation carries its size and a mark in front: releasing what never came from here,
 * or twice, ends the test at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"

#include <stdlib.h>

#define MARK_LIVE 0x616c6976652e2e2eu
#define MARK_DEAD 0x646561642e2e2e2eu

union front {
    struct {
        size_t size;
        uint64_t mark;
    } of;
    max_align_t align;
};

static bool
refused(struct failing_heap *f)
{
    uint64_t n = atomic_fetch_add(&f->requests, 1) + 1;

    if (!atomic_load(&f->exhausted) && n != atomic_load(&f->fail_at))
        return false;
    atomic_fetch_add(&f->failed, 1);
    return true;
}

static void *
take(struct failing_heap *f, size_t size)
{
    union front *front;
    size_t whole;

    OL_ASSERT(size > 0);
    if (!ol_add(sizeof *front, size, &whole))
        return NULL;
    front = malloc(whole);
    if (!front)
        return NULL;
    front->of.size = size;
    front->of.mark = MARK_LIVE;
    atomic_fetch_add(&f->live, 1);
    atomic_fetch_add(&f->bytes, (int64_t)size);
    memset(front + 1, 0xa5, size); /* nobody may count on zeroes */
    return front + 1;
}

static void
give_back(struct failing_heap *f, void *p)
{
    union front *front = (union front *)p - 1;

    OL_ASSERT(front->of.mark == MARK_LIVE);
    front->of.mark = MARK_DEAD;
    atomic_fetch_sub(&f->live, 1);
    atomic_fetch_sub(&f->bytes, (int64_t)front->of.size);
    free(front);
}

static void *
heap_alloc(void *ctx, size_t size)
{
    struct failing_heap *f = ctx;

    return refused(f) ? NULL : take(f, size);
}

static void *
heap_resize(void *ctx, void *p, size_t size)
{
    struct failing_heap *f = ctx;
    size_t old = ((union front *)p - 1)->of.size;
    void *moved;

    if (refused(f))
        return NULL;
    moved = take(f, size);
    if (!moved)
        return NULL;
    memcpy(moved, p, ol_min(old, size));
    give_back(f, p);
    return moved;
}

static void
heap_release(void *ctx, void *p)
{
    give_back(ctx, p);
}

void
failing_heap_init(struct failing_heap *f, uint64_t fail_at)
{
    memset(f, 0, sizeof *f);
    f->heap.alloc = heap_alloc;
    f->heap.resize = heap_resize;
    f->heap.release = heap_release;
    f->heap.ctx = f;
    atomic_store(&f->fail_at, fail_at);
}

void
failing_heap_reset(struct failing_heap *f, uint64_t fail_at)
{
    atomic_store(&f->exhausted, false);
    atomic_store(&f->requests, 0);
    atomic_store(&f->failed, 0);
    atomic_store(&f->fail_at, fail_at);
}

void
failing_heap_exhaust(struct failing_heap *f)
{
    atomic_store(&f->exhausted, true);
}

uint64_t
failing_heap_requests(struct failing_heap *f)
{
    return atomic_load(&f->requests);
}

uint64_t
failing_heap_failed(struct failing_heap *f)
{
    return atomic_load(&f->failed);
}

int64_t
failing_heap_live(struct failing_heap *f)
{
    return atomic_load(&f->live);
}

int64_t
failing_heap_bytes(struct failing_heap *f)
{
    return atomic_load(&f->bytes);
}
