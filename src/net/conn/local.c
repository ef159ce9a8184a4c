/*
 * local.c - what only unix connections may have: addresses that are names, and descriptors.
 *
 * An idle connection is not to pay for it, so it is one pointer of the extra part.  Any thread may
 * make it and look at it; it lives as long as the connection's memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

struct ol_local *
ol_conn_local_if_any(const struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load_explicit(&c->cold->extra, memory_order_acquire);

    return extra ? atomic_load_explicit(&extra->local, memory_order_acquire) : NULL;
}

struct ol_local *
ol_conn_local(struct ol_conn *c)
{
    const ol_heap *heap = c->cold->reactor->heap;
    struct ol_local *local = ol_conn_local_if_any(c);
    struct ol_extra *extra = local ? NULL : ol_conn_extra(c);
    struct ol_local *none = NULL;

    if (local || !extra)
        return local;
    local = ol_alloc_zero(heap, sizeof *local);
    if (local && !atomic_compare_exchange_strong(&extra->local, &none, local)) {
        ol_free(heap, local);
        return none; /* somebody was faster */
    }
    return local;
}

void
ol_conn_local_free(struct ol_conn *c)
{
    const ol_heap *heap = c->cold->reactor->heap;
    struct ol_local *local = ol_conn_local_if_any(c);

    if (!local)
        return;
    ol_free(heap, atomic_load(&local->named[OL_OF_PEER]));
    ol_free(heap, atomic_load(&local->named[OL_OF_US]));
    ol_free(heap, local);
}

void
ol_conn_name_addr(struct ol_conn *c, enum ol_whose whose, const struct ol_addr *a)
{
    struct ol_local *local = ol_conn_local(c);
    struct ol_addr *copy = local ? ol_alloc(c->cold->reactor->heap, sizeof *copy) : NULL;

    if (!copy)
        return;
    *copy = *a;
    atomic_store_explicit(&local->named[whose], copy, memory_order_release);
}

/* Internet addresses are published.  A unix socket mostly has the one that stands in the URL, or
 * none. */
size_t
ol_conn_print_addr(const struct ol_conn *c, enum ol_whose whose, char *text, size_t room)
{
    const struct ol_settings *s = atomic_load_explicit(&c->settings, memory_order_acquire);
    struct ol_local *local = ol_conn_local_if_any(c);
    struct ol_addr *named = NULL;
    struct ol_addr a;
    size_t len;

    ol_shown_addr_get(whose == OL_OF_PEER ? &c->cold->peer : &c->cold->local, &a);
    if (a.kind != OL_ADDR_PATH && a.kind != OL_ADDR_ABSTRACT)
        return ol_addr_print(&a, text, room);
    if (local)
        named = atomic_load_explicit(&local->named[whose], memory_order_acquire);
    if (named)
        return ol_addr_print(named, text, room);
    len = strlen(s->url);
    if (room) {
        size_t part = ol_min(len, room - 1);

        memcpy(text, s->url, part);
        text[part] = '\0';
    }
    return len;
}
