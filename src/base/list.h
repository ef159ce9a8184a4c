/*
 * list.h - an intrusive doubly linked ring.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_LIST_H
#define OL_LIST_H

#include <stdbool.h>

struct ol_list {
    struct ol_list *next;
    struct ol_list *prev;
};

static inline void
ol_list_init(struct ol_list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool
ol_list_empty(const struct ol_list *l)
{
    return l->next == l;
}

/* Before `at`: at the end when `at` is the list's head. */
static inline void
ol_list_insert(struct ol_list *at, struct ol_list *n)
{
    n->next = at;
    n->prev = at->prev;
    at->prev->next = n;
    at->prev = n;
}

/* The node is a ring of its own afterwards, so removing twice does no harm. */
static inline void
ol_list_remove(struct ol_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    ol_list_init(n);
}

/* Move everything from `from`, which becomes empty, to the end of `to`. */
static inline void
ol_list_join(struct ol_list *to, struct ol_list *from)
{
    if (ol_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ol_list_init(from);
}

#endif
