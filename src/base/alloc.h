/*
 * alloc.h - where memory comes from, and how much of it a loop may take.
 *
 * A heap is a table of three functions, so that a program can bring its own and a test can make the
 * n-th call fail.  A budget counts the bytes of a loop that peers can make us hold.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ALLOC_H
#define OL_ALLOC_H

#include "outlet/loop.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same table as the public one; handed around as a pointer, alive as long as its loop. */
typedef struct outlet_allocator ol_heap;

extern const ol_heap ol_heap_system; /* malloc */

void *ol_alloc(const ol_heap *heap, size_t size) __attribute__((warn_unused_result, alloc_size(2)));
void *ol_alloc_zero(const ol_heap *heap, size_t size)
    __attribute__((warn_unused_result, alloc_size(2)));
/* NULL leaves `p` as it was.  p may be NULL. */
void *ol_resize(const ol_heap *heap, void *p, size_t size) __attribute__((warn_unused_result));
void ol_free(const ol_heap *heap, void *p); /* NULL is allowed */
char *ol_copy_text(const ol_heap *heap, const char *text, size_t len)
    __attribute__((warn_unused_result)); /* NUL added */

/*
 * Memory that peers can make us hold, for one loop: queues, partial messages, retained buffers.
 * Reference-counted, because a retained buffer may outlive its loop; owns a copy of the heap table.
 */
struct ol_budget {
    _Atomic uint32_t refs;
    _Atomic int64_t used; /* never above max */
    int64_t max;          /* INT64_MAX: off */
    ol_heap heap;
};

/* One reference; NULL: no memory. */
struct ol_budget *ol_budget_new(const ol_heap *heap, int64_t max);
struct ol_budget *ol_budget_ref(struct ol_budget *b);
void ol_budget_unref(struct ol_budget *b);
bool ol_budget_charge(struct ol_budget *b, size_t bytes); /* false: over max, nothing charged */
void ol_budget_release(struct ol_budget *b, size_t bytes);

/*
 * One reactor's share of a budget, so that reactors do not write the same cache line for each
 * message: it draws from the budget in steps of 1 MiB (more when more is asked, just that when
 * less is left) and gives back what exceeds two steps.  A step is never more than a 64th of the
 * budget, and when half of that is in use there are none: what is asked is drawn, what is not used
 * is given back.  One thread only.
 */
struct ol_share {
    struct ol_budget *budget;
    int64_t drawn;
    int64_t used;
};

void ol_share_init(struct ol_share *s, struct ol_budget *b); /* takes a reference */
void ol_share_fini(struct ol_share *s);                      /* used must be 0 */
bool ol_share_charge(struct ol_share *s, size_t bytes);
void ol_share_release(struct ol_share *s, size_t bytes);

#endif
