/*
 * net.c - what a loop and its reactors need once they carry connections.
 *
 * Attached when the first listen, connect or publish asks for it, also to a loop that runs already:
 * each reactor takes up its part by mail, which arrives before anything that needs it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

/* ---- the end of a turn ------------------------------------------------------------------- */

static void
end_those_without_link(struct ol_net *n)
{
    while (n->ending) {
        struct ol_conn *c = n->ending;

        n->ending = (struct ol_conn *)(void *)c->link.next;
        c->link.next = NULL;
        ol_conn_closed(c);
    }
}

enum { LOOK_AGAIN_MS = 10 };

/* The turn's end does the work. */
static void
look_again(struct ol_reactor *r, struct ol_alarm *a)
{
    (void)r;
    (void)a;
}

/* Another reactor, or a thread of the program, may give memory back: that wakes nobody. */
static void
feed_starved(struct ol_net *n)
{
    struct ol_reactor *r = n->reactor;

    ol_net_feed_starved(n);
    n->hungry.fire = look_again;
    if (n->starved && !ol_timer_running(&n->hungry.timer))
        ol_alarm_set(r, &n->hungry, r->now + LOOK_AGAIN_MS * OL_MS);
}

static void
turn_end(struct ol_reactor *r, struct ol_turn_end *e)
{
    struct ol_net *n = OL_CONTAINER(e, struct ol_net, turn_end);

    ol_net_flush(n);
    if (OL_UNLIKELY(n->ending))
        end_those_without_link(n);
    if (OL_UNLIKELY(n->starved))
        feed_starved(n);
    /* Sent by a callback in the flush: it leaves in the next turn. */
    if (OL_UNLIKELY(n->dirty_first))
        r->hurry = true;
}

static void
take_up(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_net *n = OL_CONTAINER(m, struct ol_net, attach);

    ol_list_insert(&r->turn_ends, &n->turn_end.node);
}

/* ---- attach and detach ------------------------------------------------------------------- */

static void
forget_slots(struct ol_reactor *r)
{
    static const enum ol_kind kinds[] = {OL_KIND_CONN, OL_KIND_LISTENER};

    for (size_t i = 0; i < OL_COUNT(kinds); i++) {
        struct ol_slots *s = &r->slots[kinds[i]];

        if (s->chunks)
            ol_slots_fini(s);
        *s = (struct ol_slots){0};
    }
}

static outlet_err
net_init(struct ol_net *n, struct ol_reactor *r)
{
    const struct ol_budget *b = r->share.budget;
    outlet_err err = ol_slots_init(&r->slots[OL_KIND_CONN], r->cell->generations[OL_KIND_CONN],
                                   r->heap, sizeof(struct ol_conn), sizeof(struct ol_conn_cold));

    if (err)
        return err;
    ol_slots_set_owner(&r->slots[OL_KIND_CONN], r);
    err = ol_slots_init(&r->slots[OL_KIND_LISTENER], r->cell->generations[OL_KIND_LISTENER],
                        r->heap, OL_LISTENER_SIZE, 0);
    if (err) {
        forget_slots(r);
        return err;
    }
    n->reactor = r;
    err = ol_wire_init(n);
    if (err) {
        forget_slots(r);
        return err;
    }
    n->starve_from = b->max - b->max / 8; /* without a limit nothing comes near it */
    n->attach.run = take_up;
    n->turn_end.run = turn_end;
    ol_store_init(&n->store, &r->share, r->heap);
    ol_list_init(&n->closables);
    return OUTLET_OK;
}

static outlet_err
attach(struct outlet_loop *l)
{
    struct ol_net_loop *nl = ol_alloc_zero(&l->heap, sizeof *nl);
    uint32_t i = 0;
    outlet_err err = OUTLET_ENOMEM;

    if (!nl)
        return OUTLET_ENOMEM;
    nl->nets = ol_alloc_zero(&l->heap, l->reactor_count * sizeof *nl->nets);
    if (!nl->nets)
        goto free_loop_part;
    for (; i < l->reactor_count; i++) {
        err = net_init(&nl->nets[i], l->reactors[i]);
        if (err)
            goto fini_slots;
    }
    ol_map_init(&nl->names, &l->heap, l->hash_key);
    ol_map_init(&nl->group_counts, &l->heap, l->hash_key);
    ol_list_init(&nl->ports);
    l->net = nl;
    for (i = 0; i < l->reactor_count; i++) {
        struct ol_reactor *r = l->reactors[i];
        uint32_t epoch;

        atomic_store_explicit(&r->net, &nl->nets[i], memory_order_release);
        if (ol_enter(r->cell, &epoch)) {
            ol_post(r, &nl->nets[i].attach);
            ol_leave(r->cell, epoch);
        }
    }
    return OUTLET_OK;

fini_slots:
    while (i-- > 0) {
        ol_wire_fini(&nl->nets[i]);
        forget_slots(l->reactors[i]);
    }
    ol_free(&l->heap, nl->nets);
free_loop_part:
    ol_free(&l->heap, nl);
    return err;
}

/* Ports have no socket that a reactor could close.  Their listeners live at least until the first
 * reactor's next turn. */
static void
end_ports(struct outlet_loop *l)
{
    struct ol_net_loop *nl = l->net;

    for (;;) {
        struct ol_pair_port *p = NULL;

        pthread_mutex_lock(&l->lock);
        if (!ol_list_empty(&nl->ports)) {
            p = OL_CONTAINER(nl->ports.next, struct ol_pair_port, node);
            ol_list_remove(&p->node);
        }
        pthread_mutex_unlock(&l->lock);
        if (!p)
            return;
        p->end(p);
    }
}

static void
detach(struct outlet_loop *l)
{
    struct ol_net_loop *nl = l->net;

    if (l->fork_count == ol_fork_count())
        end_ports(l); /* one that another thread opened while we stopped */
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        struct ol_net *n = &nl->nets[i];

        if (n->groups_free)
            n->groups_free(n);
        ol_wire_fini(n);
        ol_store_fini(&n->store);
        ol_inputs_free(&n->inputs, n->reactor->heap);
    }
    ol_map_fini(&nl->names);
    ol_map_fini(&nl->group_counts);
    ol_free(&l->heap, nl->nets);
    ol_free(&l->heap, nl);
    l->net = NULL;
}

void
ol_link_abandon(struct ol_reactor *r, struct ol_link *l, bool by_driver)
{
    if (l->token < 0 || r->loop->world)
        return; /* a simulated one ends with its driver */
    if (by_driver)
        r->ops->close(r->driver, l, false);
    else
        r->ops->discard(r->driver, l->token, false);
}

static void
abandon_conns(struct ol_reactor *r, bool at_rest)
{
    struct ol_slots *slots = &r->slots[OL_KIND_CONN];
    uint32_t made = ol_slots_made(slots);

    for (uint32_t slot = 0; slot < made; slot++) {
        uint32_t generation;
        struct ol_conn *c = ol_slot_peek(slots, slot, &generation);

        if (c)
            ol_conn_abandon(c, at_rest);
    }
}

static void
abandon(struct outlet_loop *l, bool at_rest)
{
    struct ol_net_loop *nl = l->net;
    void (*listeners)(struct outlet_loop * l, bool at_rest) = atomic_load(&nl->listeners_abandon);

    for (uint32_t i = 0; i < l->reactor_count; i++) {
        abandon_conns(l->reactors[i], at_rest);
    }
    if (listeners)
        listeners(l, at_rest);
    if (at_rest)
        detach(l);
}

/* ---- drain and stop ---------------------------------------------------------------------- */

static void
close_closables(struct ol_net *n)
{
    if (n->reactor->index == 0)
        end_ports(n->reactor->loop);
    while (!ol_list_empty(&n->closables)) {
        struct ol_closable *x = OL_CONTAINER(n->closables.next, struct ol_closable, node);

        ol_list_remove(&x->node);
        x->close(x);
    }
}

static void
for_all(struct ol_reactor *r, void (*what)(struct ol_conn *c))
{
    struct ol_slots *slots = &r->slots[OL_KIND_CONN];
    uint32_t made = ol_slots_made(slots);

    for (uint32_t slot = 0; slot < made; slot++) {
        uint32_t generation;
        struct ol_conn *c = ol_slot_peek(slots, slot, &generation);

        if (c)
            what(c);
    }
}

static void
close_one(struct ol_conn *c)
{
    ol_conn_close(c, OUTLET_BY_US);
}

static void
stop_one(struct ol_conn *c)
{
    ol_conn_break(c, CAUSE_STOP, OUTLET_ECANCELED, OUTLET_BY_US);
}

static void
drain(struct ol_reactor *r)
{
    close_closables(ol_net_of(r));
    for_all(r, close_one);
}

static void
stop(struct ol_reactor *r)
{
    close_closables(ol_net_of(r));
    for_all(r, stop_one);
}

const struct ol_loop_hooks ol_net_hooks = {.attach = attach,
                                           .drain = drain,
                                           .stop = stop,
                                           .detach = detach,
                                           .abandon = abandon};
