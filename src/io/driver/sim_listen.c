/*
 * sim_listen.c - listeners and their backlog.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

enum {
    BACKLOG = 128 /* when the caller gives none */
};

int
ol_sim_listen(struct sim_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
              struct ol_addr *bound)
{
    struct ol_sim *w = d->world;
    struct sim_listener *n;
    int err;

    if (ol_sim_chance(w, w->faults.socket_fails))
        return -EMFILE;
    if (spec->at.kind == OL_ADDR_NONE)
        return -EAFNOSUPPORT;
    n = ol_alloc_zero(w->heap, sizeof *n);
    if (!n)
        return -ENOMEM;
    ol_sim_socket_init(&n->s, SIM_LISTENER, d, l);
    n->packets = spec->packets;
    n->backlog = spec->backlog > 0 ? spec->backlog : BACKLOG;
    n->singly = spec->singly;
    err = ol_sim_bind(w, &n->bound, &n->s, &spec->at, spec->share);
    if (err)
        goto free_listener;
    err = ol_sim_token_take(w, &n->s);
    if (err)
        goto unbind;

    ol_sim_link_init(l, OL_LINK_LISTENER, n->s.token);
    if (bound)
        *bound = n->bound.at;
    return 0;

unbind:
    ol_sim_unbind(w, &n->bound);
free_listener:
    ol_free(w->heap, n);
    return err;
}

bool
ol_sim_listener_has(const struct sim_listener *l)
{
    if (l->s.flags & SIM_CLOSING)
        return true;
    return l->first && (l->s.flags & (SIM_RECEIVING | SIM_LATE));
}

int
ol_sim_listener_offer(struct ol_sim *w, struct sim_listener *l, struct sim_end *e)
{
    if (l->queued >= l->backlog)
        return -EAGAIN;
    e->s.state = SIM_OPEN;
    e->s.flags |= SIM_QUEUED;
    e->s.next_queued = NULL;
    if (l->first)
        l->last->s.next_queued = e;
    else
        l->first = e;
    l->last = e;
    l->queued++;
    if (ol_sim_listener_has(l))
        ol_sim_ready(w, &l->s);
    return 0;
}

static struct sim_end *
take(struct sim_listener *l)
{
    struct sim_end *e = l->first;

    l->first = e->s.next_queued;
    e->s.next_queued = NULL;
    l->queued--;
    return e;
}

void
ol_sim_listener_accept(struct ol_sim *w, struct sim_listener *l, bool on)
{
    uint16_t was = l->s.flags;

    l->s.flags &= (uint16_t) ~(SIM_RECEIVING | SIM_LATE);
    if (on)
        l->s.flags |= SIM_RECEIVING;
    else if ((was & SIM_LATE) || ((was & SIM_RECEIVING) && l->first && ol_sim_odds(w, 4)))
        l->s.flags |= SIM_LATE;
    if (ol_sim_listener_has(l))
        ol_sim_ready(w, &l->s);
}

static void
refuse_rest(struct ol_sim *w, struct sim_listener *l, int keep)
{
    struct sim_end *kept = keep ? take(l) : NULL;

    while (l->first)
        ol_sim_end_refuse(w, take(l));
    if (kept) {
        l->first = kept;
        l->last = kept;
        l->queued = 1;
    }
}

void
ol_sim_listener_close(struct ol_sim *w, struct sim_listener *l)
{
    OL_ASSERT(!(l->s.flags & SIM_CLOSING));
    ol_sim_listener_accept(w, l, false);
    l->s.flags |= SIM_CLOSING;
    ol_sim_unbind(w, &l->bound);
    refuse_rest(w, l, (l->s.flags & SIM_LATE) && l->first);
    ol_sim_ready(w, &l->s);
}

void
ol_sim_listener_discard(struct ol_sim *w, struct sim_listener *l)
{
    ol_sim_unbind(w, &l->bound);
    refuse_rest(w, l, false);
    ol_sim_token_give_back(w, &l->s);
    ol_free(w->heap, l);
}

static void
accepted(struct ol_sim *w, struct sim_listener *l, struct ol_completion *c, struct ol_addr *from)
{
    struct sim_end *e = l->first;
    int err = ol_sim_chance(w, w->faults.accept_fails) ? -EMFILE : ol_sim_token_take(w, &e->s);

    c->kind = OL_ACCEPTED;
    l->s.flags &= (uint16_t)~SIM_LATE;
    if (err) {
        c->result = err; /* it stays in the backlog */
        l->s.flags &= (uint16_t)~SIM_RECEIVING;
        return;
    }
    (void)take(l); /* it is `e` */
    e->s.flags &= (uint16_t)~SIM_QUEUED;
    e->s.driver = l->s.driver;
    c->result = e->s.token;
    if (l->singly)
        l->s.flags &= (uint16_t)~SIM_RECEIVING;
    c->more = (l->s.flags & SIM_RECEIVING) != 0;
    if (ol_sim_odds(w, 4))
        return; /* a multishot accept does not know the peer */
    ol_sim_end_name(e, true, from);
    c->from = from;
}

bool
ol_sim_listener_complete(struct ol_sim *w, struct sim_listener *l, struct ol_completion *c,
                         struct ol_addr *from)
{
    struct ol_link *link = l->s.link;

    if (l->first && (l->s.flags & (SIM_RECEIVING | SIM_LATE))) {
        accepted(w, l, c, from);
        return true;
    }
    l->s.flags &= (uint16_t)~SIM_LATE;
    if (!(l->s.flags & SIM_CLOSING))
        return false;
    c->kind = OL_CLOSED;
    ol_sim_listener_discard(w, l);
    ol_sim_link_fini(link);
    return true;
}
