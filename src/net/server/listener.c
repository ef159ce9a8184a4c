/*
 * listener.c - a listener's life: its sockets are started on their reactors and closed there.
 *
 * Closing is asked from any thread, or by a reactor that drains or stops.  The first to ask makes
 * the handle stale and mails every socket's reactor; each socket is closed by its own, and the last
 * reference frees what they share.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listener.h"

#include <errno.h>
#include <stdio.h>

/* ---- references -------------------------------------------------------------------------- */

void
ol_listener_unref(struct ol_listener *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->socks[i].dgram)
            ol_dsock_free(l->socks[i].dgram);
    }
    ol_settings_unref(l->settings);
    ol_free(&l->loop->heap, l);
}

/* With a reference for the mail.  False: the reactor has ended, and everything on it. */
static bool
post(struct ol_listener *l, struct ol_reactor *r, struct ol_mail *m)
{
    uint32_t epoch;

    if (!ol_enter(r->cell, &epoch))
        return false;
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    ol_post(r, m);
    ol_leave(r->cell, epoch);
    return true;
}

/* ---- one socket -------------------------------------------------------------------------- */

void
ol_lsock_closed(struct ol_lsock *s)
{
    s->reactor->live--;
    s->reactor->busy--;
    ol_listener_unref(s->listener);
}

void
ol_lsock_close(struct ol_lsock *s)
{
    struct ol_reactor *r = s->reactor;

    if (!s->started)
        return; /* its start is still in the mail, and will find the listener ended */
    s->closing = true;
    ol_list_remove(&s->closable.node);
    ol_alarm_clear(r, &s->again);
    /* A datagram socket serves its peers until they are gone. */
    if (s->asked_driver || (s->dgram && ol_dsock_has_peers(s)))
        return;
    s->asked_driver = true;
    r->ops->close(r->driver, &s->link, false);
}

static void
close_closable(struct ol_closable *x)
{
    struct ol_lsock *s = OL_CONTAINER(x, struct ol_lsock, closable);

    ol_listener_end(s->listener);
    ol_lsock_close(s);
}

static void
run_start(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_lsock *s = OL_CONTAINER(m, struct ol_lsock, start);

    r->live++;
    r->busy++;
    s->started = true;
    s->closable.close = close_closable;
    ol_list_insert(&ol_net_of(r)->closables, &s->closable.node);
    if (r->stopping || atomic_load(&r->loop->draining))
        ol_listener_end(s->listener);
    if (atomic_load(&s->listener->ended))
        ol_lsock_close(s);
    else if (s->dgram)
        ol_dsock_start(s);
    else
        ol_accept_start(s);
    /* The mail's reference becomes the socket's. */
}

static void
run_end(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_lsock *s = OL_CONTAINER(m, struct ol_lsock, end);

    (void)r;
    ol_lsock_close(s);
    ol_listener_unref(s->listener);
}

/* ---- the handle -------------------------------------------------------------------------- */

static void
destroy_slot(struct ol_reactor *r, struct ol_retired *x)
{
    struct ol_listener_slot *slot = OL_CONTAINER(x, struct ol_listener_slot, retired);
    struct ol_listener *l = slot->listener;

    ol_slot_give_back(&r->slots[OL_KIND_LISTENER], slot->slot);
    ol_listener_unref(l); /* the handle's */
}

static void
run_home(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_listener *l = OL_CONTAINER(m, struct ol_listener, home);

    ol_list_remove(&l->port_closable.node);
    ol_retire(r, &l->slot->retired, destroy_slot);
    ol_listener_unref(l); /* the mail's */
}

static void
close_port(struct ol_listener *l)
{
    pthread_mutex_lock(&l->loop->lock);
    if (l->port.arrived)
        ol_list_remove(&l->port.node);
    pthread_mutex_unlock(&l->loop->lock);
}

void
ol_listener_end(struct ol_listener *l)
{
    struct ol_reactor *home = l->loop->reactors[0];
    uint32_t epoch;

    if (atomic_exchange(&l->ended, true))
        return;
    ol_slot_hide(&home->slots[OL_KIND_LISTENER], l->slot->slot);
    close_port(l);
    for (uint32_t i = 0; i < l->count; i++) {
        (void)post(l, l->socks[i].reactor, &l->socks[i].end); /* ended: its socket is closed */
    }
    if (ol_enter(home->cell, &epoch)) {
        (void)post(l, home, &l->home); /* we are in its cell */
        ol_leave(home->cell, epoch);
    } else {
        ol_listener_unref(l); /* no visitor can come any more */
    }
}

/* ---- in a forked child ------------------------------------------------------------------- */

static void
abandon_descriptors(struct ol_listener *l, bool at_rest)
{
    for (uint32_t i = 0; i < l->count; i++) {
        struct ol_lsock *s = &l->socks[i];

        ol_link_abandon(s->reactor, &s->link, at_rest && !s->asked_driver);
    }
}

static void
abandon_memory(struct ol_listener *l, bool at_rest)
{
    (void)at_rest;
    atomic_store(&l->refs, 1); /* the others are sockets and mail, which end without a word */
    ol_listener_unref(l);
}

static void
for_all(struct outlet_loop *loop, bool at_rest, void (*what)(struct ol_listener *l, bool at_rest))
{
    struct ol_slots *slots = &loop->reactors[0]->slots[OL_KIND_LISTENER];
    uint32_t made = ol_slots_made(slots);

    for (uint32_t slot = 0; slot < made; slot++) {
        uint32_t generation;
        struct ol_listener_slot *s = ol_slot_peek(slots, slot, &generation);

        if (s)
            what(s->listener, at_rest);
    }
}

/* None is freed before the last is closed: a driver strings together what it has closed. */
static void
abandon_all(struct outlet_loop *loop, bool at_rest)
{
    for_all(loop, at_rest, abandon_descriptors);
    if (at_rest)
        for_all(loop, at_rest, abandon_memory);
}

/* ---- started ----------------------------------------------------------------------------- */

static void
close_port_closable(struct ol_closable *x)
{
    ol_listener_end(OL_CONTAINER(x, struct ol_listener, port_closable));
}

static void
run_port_start(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_listener *l = OL_CONTAINER(m, struct ol_listener, port_start);

    if (r->stopping || atomic_load(&r->loop->draining))
        ol_listener_end(l);
    else if (!atomic_load(&l->ended))
        ol_list_insert(&ol_net_of(r)->closables, &l->port_closable.node);
    ol_listener_unref(l); /* the mail's */
}

void
ol_listener_start(struct ol_listener *l)
{
    struct ol_net_loop *nl = l->loop->net;

    atomic_store(&nl->listeners_abandon, abandon_all);
    l->home.run = run_home;
    l->port_start.run = run_port_start;
    l->port_closable.close = close_port_closable;
    if (l->port.arrived)
        post(l, l->loop->reactors[0], &l->port_start);
    for (uint32_t i = 0; i < l->count; i++) {
        struct ol_lsock *s = &l->socks[i];

        s->start.run = run_start;
        s->end.run = run_end;
        if (!post(l, s->reactor, &s->start)) /* the loop is being stopped */
            s->reactor->ops->discard(s->reactor->driver, s->link.token, false);
    }
}

/* ---- public ------------------------------------------------------------------------------ */

static struct ol_listener *
visit(outlet_listener handle, struct ol_cell **cell, uint32_t *epoch)
{
    struct ol_handle h;
    struct ol_reactor *r;
    struct ol_listener_slot *slot = NULL;

    if (!ol_handle_unpack(handle.id, OL_KIND_LISTENER, &h))
        return NULL;
    *cell = ol_cell_at(h.cell);
    r = *cell ? ol_enter(*cell, epoch) : NULL;
    if (!r)
        return NULL;
    if (r->net) /* before that there are no slots */
        slot = ol_slot_get(&r->slots[OL_KIND_LISTENER], h.slot, h.generation);
    if (slot)
        return slot->listener;
    ol_leave(*cell, *epoch);
    return NULL;
}

outlet_err
outlet_listener_close(outlet_listener handle)
{
    struct ol_cell *cell;
    uint32_t epoch;
    struct ol_listener *l = visit(handle, &cell, &epoch);

    if (!l)
        return OUTLET_ESTALE;
    ol_listener_end(l);
    ol_leave(cell, epoch);
    return OUTLET_OK;
}

static int64_t
put(char *text, size_t room, const char *value)
{
    size_t len = strlen(value);

    if (room) {
        size_t part = ol_min(len, room - 1);

        memcpy(text, value, part);
        text[part] = 0;
    }
    return (int64_t)len;
}

static int64_t
put_number(char *text, size_t room, const _Atomic int64_t *n)
{
    char value[24];

    snprintf(value, sizeof value, "%lld", (long long)atomic_load(n));
    return put(text, room, value);
}

/* A datagram listener's sockets are all of one reactor. */
static int64_t
put_dgram_fact(struct ol_listener *l, size_t field, char *text, size_t room)
{
    _Atomic int64_t sum = 0;

    if (!ol_scheme_is_dgram(l->settings->scheme))
        return OUTLET_ENOENT;
    for (uint32_t i = 0; i < l->count; i++) {
        struct ol_reactor *r = l->socks[i].reactor;
        struct ol_dgram_facts facts;
        uint64_t value;
        int sys;

        if (ol_current() != r)
            return OUTLET_ETHREAD;
        sys = r->ops->dgram_facts(r->driver, &l->socks[i].link, &facts);
        if (sys < 0)
            return sys == -ENOPROTOOPT ? OUTLET_ENOTSUP : OUTLET_ESTATE;
        memcpy(&value, (const char *)&facts + field, sizeof value);
        sum += (int64_t)value;
    }
    return put_number(text, room, &sum);
}

static int64_t
tell(struct ol_listener *l, const char *key, char *text, size_t room)
{
    const struct ol_counts *n = l->settings->counts;
    char addr[OL_ADDR_TEXT];

    if (strcmp(key, "url") == 0)
        return put(text, room, l->settings->url);
    if (strcmp(key, "transport") == 0)
        return put(text, room, ol_scheme_name(l->settings->scheme));
    if (strcmp(key, "driver") == 0)
        return put(text, room, l->loop->driver_name);
    if (strcmp(key, "connections") == 0)
        return put_number(text, room, &n->connections);
    if (strcmp(key, "accepted") == 0)
        return put_number(text, room, &n->accepted);
    if (strcmp(key, "refused") == 0)
        return put_number(text, room, &n->refused);
    if (strcmp(key, "denied") == 0)
        return put_number(text, room, &n->denied);
    if (strcmp(key, "pauses") == 0)
        return put_number(text, room, &n->pauses);
    if (strcmp(key, "dropped") == 0)
        return put_number(text, room, &n->dropped);
    if (strcmp(key, "lost") == 0)
        return put_dgram_fact(l, offsetof(struct ol_dgram_facts, lost), text, room);
    if (strcmp(key, "unread") == 0)
        return put_dgram_fact(l, offsetof(struct ol_dgram_facts, unread), text, room);
    if (strcmp(key, "local") == 0) {
        ol_addr_print(l->count ? &l->socks[0].bound : &l->port_name, addr, sizeof addr);
        return put(text, room, addr);
    }
    return OUTLET_ENOENT;
}

int64_t
outlet_listener_info(outlet_listener handle, const char *key, char *text, size_t room)
{
    struct ol_cell *cell;
    uint32_t epoch;
    struct ol_listener *l;
    int64_t result;

    if (!key)
        return OUTLET_EINVAL;
    l = visit(handle, &cell, &epoch);
    if (!l)
        return OUTLET_ESTALE;
    result = tell(l, key, text, text ? room : 0);
    ol_leave(cell, epoch);
    return result;
}

int64_t
outlet_send_to(outlet_listener handle, const char *url, const void *bytes, size_t len)
{
    struct ol_cell *cell;
    uint32_t epoch;
    struct ol_listener *l;
    int64_t result;

    if (!url || (!bytes && len))
        return OUTLET_EINVAL;
    l = visit(handle, &cell, &epoch);
    if (!l)
        return OUTLET_ESTALE;
    result = ol_dsock_send_to(l, url, bytes, len);
    ol_leave(cell, epoch);
    return result;
}
