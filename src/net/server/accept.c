/*
 * accept.c - clients arriving at stream listeners.
 *
 * tcp: every reactor has its own socket and keeps what arrives there.  unix and pair: one reactor
 * accepts and places connections on all in turn.
 *
 * With accepts_per_second the driver is asked for one client at a time, and not before the rate has
 * room for it: the others wait in the backlog.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listener.h"

#include <errno.h>

enum {
    AGAIN_MS = 100, /* between attempts while no descriptor is left */
    PACE_MS = 10    /* at least, when the rate is used up: then several may come */
};

/* The rate has no room: accepting rests until it has.  What the driver brings all the same is let
 * in and charged, by other sockets too: those after it wait the longer. */
static bool
must_rest(struct ol_lsock *s)
{
    struct ol_reactor *r = s->reactor;
    struct ol_counts *n = s->listener->settings->counts;
    ol_time when;

    if (!ol_rate_is_on(&n->rate))
        return false;
    when = ol_rate_when(&n->rate);
    if (when <= r->now) {
        if (s->resting)
            ol_alarm_clear(r, &s->again);
        s->resting = false;
        return false;
    }
    if (!s->resting)
        atomic_fetch_add(&n->pauses, 1);
    s->resting = true;
    ol_alarm_set(r, &s->again, when > r->now + PACE_MS * OL_MS ? when : r->now + PACE_MS * OL_MS);
    return true;
}

static void
try_again(struct ol_reactor *r, struct ol_alarm *a)
{
    struct ol_lsock *s = OL_CONTAINER(a, struct ol_lsock, again);
    int sys;

    s->resting = false;
    if (s->closing || must_rest(s))
        return;
    sys = r->ops->accept_start(r->driver, &s->link);
    if (sys < 0)
        ol_alarm_set(r, a, r->now + AGAIN_MS * OL_MS);
}

/* The clients wait in the kernel's backlog meanwhile, and nobody spins. */
static void
pause_accepting(struct ol_lsock *s, int sys_errno)
{
    struct ol_reactor *r = s->reactor;

    if (!s->warned)
        ol_log(&r->loop->log, OUTLET_LOG_WARN, "cannot accept at %s: %s; trying again every %d ms",
               s->listener->settings->url, strerror(sys_errno), AGAIN_MS);
    s->warned = true;
    ol_alarm_set(r, &s->again, r->now + AGAIN_MS * OL_MS);
}

void
ol_accept_start(struct ol_lsock *s)
{
    struct ol_reactor *r = s->reactor;
    int sys;

    s->again.fire = try_again;
    if (must_rest(s))
        return;
    sys = r->ops->accept_start(r->driver, &s->link);
    if (sys < 0)
        pause_accepting(s, -sys);
}

/* Who is denied costs the others nothing of the rate. */
static bool
come_in(struct ol_reactor *r, struct ol_counts *n, const struct ol_addr *peer)
{
    if (n->rules && !ol_counts_admit(n, peer))
        return false;
    if (ol_rate_is_on(&n->rate))
        ol_rate_charge(&n->rate, r->now);
    return true;
}

/* Over a limit or denied: nobody is told of this connection, the driver only has to close it. */
static void
refuse_quietly(struct ol_conn *c)
{
    c->flags |= CONN_UNTOLD;
    ol_conn_publish(c);
    ol_conn_begin(c);
    ol_conn_break(c, CAUSE_REFUSED_BY_CALLBACK, OUTLET_EDENIED, OUTLET_BY_US);
}

void
ol_accept_token(struct ol_reactor *r, struct ol_settings *settings, int32_t token,
                const struct ol_addr *from, const struct ol_addr *local)
{
    struct ol_counts *n = settings->counts;
    struct ol_addr none = {.kind = OL_ADDR_NONE};
    struct ol_addr peer = from ? *from : none;
    struct ol_conn *c;
    int refused = 0;
    int sys;

    if (r->stopping || atomic_load_explicit(&r->loop->draining, memory_order_relaxed))
        goto discard;
    if (ol_conn_new(r, settings, settings->user, &c))
        goto discard; /* no memory or handles: the client sees a closed connection */
    sys = r->ops->adopt(r->driver, &c->link, settings->transport->link, token);
    if (sys < 0) {
        ol_conn_discard(c);
        goto discard;
    }
    if (!from)
        (void)r->ops->address(r->driver, &c->link, true, &peer); /* stays "none" if it is gone */
    c->flags |= CONN_LINKED;
    /* With rules, a peer that the driver did not name is looked at here; one that is gone already
     * stays nameless, and is denied. */
    if ((!from && n->rules && !come_in(r, n, &peer)) || !ol_counts_enter(n, &peer)) {
        refuse_quietly(c);
        return;
    }
    c->flags |= CONN_COUNTED;
    ol_shown_addr_set(&c->cold->peer, &peer);
    ol_shown_addr_set(&c->cold->local, local);
    ol_conn_publish(c);
    ol_conn_begin(c);
    if (settings->on.on_accept)
        refused = settings->on.on_accept(ol_conn_handle(c), settings->user);
    if (refused) {
        ol_counts_refuse(settings->counts);
        ol_conn_break(c, CAUSE_REFUSED_BY_CALLBACK, OUTLET_EDENIED, OUTLET_BY_US);
    }
    if (ol_conn_state(c) == CONN_NONE)
        ol_conn_linked_up(c);
    return;

discard:
    r->ops->discard(r->driver, token, false);
}

/* ---- placed on another reactor ----------------------------------------------------------- */

struct place_mail {
    struct ol_mail mail;
    struct ol_settings *settings;
    int32_t token;
    bool has_from;
    struct ol_addr from;
    struct ol_addr local;
};

static void
run_place(struct ol_reactor *r, struct ol_mail *mail)
{
    struct place_mail *m = OL_CONTAINER(mail, struct place_mail, mail);

    ol_accept_token(r, m->settings, m->token, m->has_from ? &m->from : NULL, &m->local);
    ol_settings_unref(m->settings);
    ol_free(r->heap, m);
}

static bool
post_place(struct ol_reactor *r, struct ol_listener *l, int32_t token, const struct ol_addr *from,
           const struct ol_addr *local)
{
    struct place_mail *m = ol_alloc_zero(r->heap, sizeof *m);
    uint32_t epoch;

    if (!m)
        return false;
    m->mail.run = run_place;
    m->token = token;
    m->local = *local;
    if (from) {
        m->has_from = true;
        m->from = *from;
    }
    if (!ol_enter(r->cell, &epoch)) {
        ol_free(r->heap, m);
        return false;
    }
    m->settings = ol_settings_ref(l->settings);
    ol_post(r, &m->mail);
    ol_leave(r->cell, epoch);
    return true;
}

static struct ol_reactor *
next_place(struct ol_listener *l)
{
    uint32_t n = atomic_fetch_add_explicit(&l->next_place, 1, memory_order_relaxed);

    return l->loop->reactors[n % l->loop->reactor_count];
}

bool
ol_accept_arrived(struct ol_pair_port *p, int32_t token)
{
    struct ol_listener *l = OL_CONTAINER(p, struct ol_listener, port);
    struct ol_addr none = {.kind = OL_ADDR_NONE};

    return post_place(next_place(l), l, token, NULL, &none);
}

void
ol_accept_port_end(struct ol_pair_port *p)
{
    ol_listener_end(OL_CONTAINER(p, struct ol_listener, port));
}

/* ---- completions ------------------------------------------------------------------------- */

static void
accepted(struct ol_lsock *s, struct ol_completion *done)
{
    struct ol_reactor *r = s->reactor;
    struct ol_reactor *place = s->listener->shared_out ? next_place(s->listener) : r;
    struct ol_counts *n = s->listener->settings->counts;
    struct ol_addr local = s->bound;
    bool is_known = done->from || !n->rules; /* else ol_accept_token() looks at it */

    if (done->result < 0) {
        if (!s->closing)
            pause_accepting(s, -done->result);
        return;
    }
    s->warned = false;
    if (s->closing || (is_known && !come_in(r, n, done->from))) {
        r->ops->discard(r->driver, done->result, false);
    } else if (place == r) {
        ol_accept_token(r, s->listener->settings, done->result, done->from, &local);
    } else if (!post_place(place, s->listener, done->result, done->from, &local)) {
        r->ops->discard(r->driver, done->result, false);
    }
    if (s->closing)
        return;
    if (!done->more)
        ol_accept_start(s);
    else if (must_rest(s))
        r->ops->accept_stop(r->driver, &s->link);
}

static void
complete(struct ol_link *l, struct ol_completion *done)
{
    struct ol_lsock *s = OL_CONTAINER(l, struct ol_lsock, link);

    if (done->kind == OL_CLOSED) {
        ol_lsock_closed(s);
        return;
    }
    OL_ASSERT(done->kind == OL_ACCEPTED);
    accepted(s, done);
}

const struct ol_link_ops ol_lsock_ops = {.complete = complete};
