/*
 * failing_heap.h - a heap that counts what is alive, and can refuse the n-th request.
 *
 *     struct failing_heap f;
 *     failing_heap_init(&f, 3);              the third request fails, all others succeed
 *     thing = thing_new(&f.heap);
 *     thing_free(thing);
 *     assert_int_equal(failing_heap_live(&f), 0);
 *
 * A torture test repeats its scenario with fail_at 1, 2, 3... until nothing failed any more.
 * Thread-safe.  Everything moves when it is resized, so that a kept pointer is found out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FAILING_HEAP_H
#define FAILING_HEAP_H

#include "base/base.h"

struct failing_heap {
    ol_heap heap; /* give out a pointer to this; the struct must stay where it is */
    _Atomic uint64_t requests;
    _Atomic uint64_t fail_at;
    _Atomic uint64_t failed;
    _Atomic int64_t live;
    _Atomic int64_t bytes;
    _Atomic bool exhausted;
};

void failing_heap_init(struct failing_heap *f, uint64_t fail_at); /* 0: nothing fails */
/* Count requests from 0 again; what is alive goes on being counted. */
void failing_heap_reset(struct failing_heap *f, uint64_t fail_at);
/* Every request fails until the next reset. */
void failing_heap_exhaust(struct failing_heap *f);
uint64_t failing_heap_requests(struct failing_heap *f); /* alloc and resize since the reset */
uint64_t failing_heap_failed(struct failing_heap *f);   /* how many of them were refused */
int64_t failing_heap_live(struct failing_heap *f);      /* allocations not yet released */
int64_t failing_heap_bytes(struct failing_heap *f);     /* their size as asked for */

#endif
