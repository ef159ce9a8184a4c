/*
 * sim_dgram.c - datagrams: lost, doubled, overtaken, refused, or simply delivered.
 *
 * A datagram on its way lies with the socket that will get it.  Those that nothing happens to
 * arrive in order, as they do between two sockets of one machine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

#include <stdio.h>

enum {
    OVERHEAD = 256,       /* what a kernel counts for each, about */
    ARRIVED_MAX = 212992, /* Linux's default receive buffer */
    FLYING_MAX = 4 * ARRIVED_MAX
};

struct sim_message {
    struct sim_message *next;
    ol_time at;
    struct ol_addr from;
    struct ol_addr to;
    uint32_t len;
    bool refused; /* no datagram but the news that nobody is there */
    uint8_t bytes[];
};

/* ---- lists ------------------------------------------------------------------------------- */

static size_t
cost(const struct sim_message *m)
{
    return m->len + OVERHEAD;
}

static struct sim_message *
take_first(struct sim_messages *l)
{
    struct sim_message *m = l->first;

    l->first = m->next;
    if (!l->first)
        l->last = NULL;
    l->bytes -= cost(m);
    return m;
}

/* After all that are not later. */
static void
insert(struct sim_messages *l, struct sim_message *m)
{
    struct sim_message **at = &l->first;

    if (l->last && l->last->at <= m->at)
        at = &l->last->next;
    else
        while (*at && (*at)->at <= m->at)
            at = &(*at)->next;
    m->next = *at;
    *at = m;
    if (!m->next)
        l->last = m;
    l->bytes += cost(m);
}

static void
free_all(const ol_heap *heap, struct sim_messages *l)
{
    while (l->first)
        ol_free(heap, take_first(l));
}

/* ---- lives ------------------------------------------------------------------------------- */

static int
dgram_new(struct sim_driver *d, struct ol_link *l, enum ol_link_kind kind, const struct ol_addr *at,
          enum ol_share_port share, struct sim_dgram **out)
{
    struct ol_sim *w = d->world;
    struct sim_dgram *g;
    int err;

    if (ol_sim_chance(w, w->faults.socket_fails))
        return -EMFILE;
    if (ol_sim_is_inet(at) != (kind == OL_LINK_DGRAM) || at->kind == OL_ADDR_NONE)
        return -EAFNOSUPPORT;
    err = ol_sim_reserve(w, 1);
    if (err)
        return err;
    g = ol_alloc_zero(w->heap, sizeof *g);
    if (!g) {
        err = -ENOMEM;
        goto unreserve;
    }
    ol_sim_socket_init(&g->s, SIM_DGRAM, d, l);
    g->local = kind == OL_LINK_LOCAL;
    err = ol_sim_bind(w, &g->bound, &g->s, at, share);
    if (err)
        goto free_dgram;
    err = ol_sim_token_take(w, &g->s);
    if (err)
        goto unbind;

    ol_sim_link_init(l, kind, g->s.token);
    *out = g;
    return 0;

unbind:
    ol_sim_unbind(w, &g->bound);
free_dgram:
    ol_free(w->heap, g);
unreserve:
    ol_sim_unreserve(w, 1);
    return err;
}

int
ol_sim_dgram_listen(struct sim_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
                    struct ol_addr *bound)
{
    struct ol_addr at = spec->at;
    struct sim_dgram *g;
    int err;

    if (ol_addr_is_group(&at))
        memset(at.ip, 0, sizeof at.ip);
    err = dgram_new(d, l, spec->kind, &at, spec->share, &g);
    if (err)
        return err;
    if (ol_addr_is_group(&spec->at)) {
        g->group = spec->at;
        g->source = spec->source;
    }
    g->deaf = spec->tuning.deaf;
    g->broadcast = spec->tuning.broadcast;
    if (bound)
        *bound = g->bound.at;
    return 0;
}

/* As Linux does for who asks for none. */
static void
pick_name(struct ol_sim *w, struct ol_addr *at)
{
    *at = (struct ol_addr){.kind = OL_ADDR_ABSTRACT};
    at->path_len = (uint8_t)snprintf(at->path, sizeof at->path, "%05x",
                                     (unsigned)w->ephemeral++ & 0xfffff);
}

int
ol_sim_dgram_connect(struct sim_driver *d, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct ol_addr to = spec->to;
    struct ol_addr from;
    struct sim_dgram *g;
    int err;

    ol_sim_destination(&to);
    ol_sim_source(&to, &from);
    if (spec->kind == OL_LINK_LOCAL)
        pick_name(d->world, &from);
    if (spec->kind == OL_LINK_LOCAL && !ol_sim_find(d->world, SIM_DGRAM, &to, &from))
        return to.kind == OL_ADDR_PATH ? -ENOENT : -ECONNREFUSED;
    if (spec->many)
        memset(from.ip, 0, sizeof from.ip);
    ol_sim_local(&spec->local, &from);
    err = dgram_new(d, l, spec->kind, &from, OL_PORT_ALONE, &g);
    if (err)
        return err;
    g->peer = to;
    g->deaf = spec->tuning.deaf;
    g->broadcast = spec->tuning.broadcast;
    g->s.flags |= spec->many ? SIM_TELL : SIM_CONNECTED | SIM_TELL;
    ol_sim_ready(d->world, &g->s);
    return 0;
}

void
ol_sim_dgram_discard(struct ol_sim *w, struct sim_dgram *g)
{
    ol_sim_unbind(w, &g->bound);
    ol_sim_unschedule(w, &g->s);
    free_all(w->heap, &g->flying);
    free_all(w->heap, &g->arrived);
    ol_sim_token_give_back(w, &g->s);
    ol_sim_unreserve(w, 1);
    ol_free(w->heap, g);
}

void
ol_sim_dgram_close(struct ol_sim *w, struct sim_dgram *g)
{
    OL_ASSERT(!(g->s.flags & SIM_CLOSING));
    ol_sim_dgram_receive(w, g, false);
    g->s.flags |= SIM_CLOSING;
    ol_sim_unbind(w, &g->bound);
    ol_sim_ready(w, &g->s);
}

/* ---- on the way -------------------------------------------------------------------------- */

bool
ol_sim_dgram_has(const struct sim_dgram *g)
{
    if (g->s.flags & (SIM_CLOSING | SIM_TELL | SIM_WANTS_ROOM))
        return true;
    return (g->s.flags & (SIM_RECEIVING | SIM_LATE)) && (g->arrived.first || g->err);
}

void
ol_sim_dgram_receive(struct ol_sim *w, struct sim_dgram *g, bool on)
{
    uint16_t was = g->s.flags;

    g->s.flags &= (uint16_t) ~(SIM_RECEIVING | SIM_LATE);
    if (on)
        g->s.flags |= SIM_RECEIVING;
    else if ((was & SIM_LATE) ||
             ((was & SIM_RECEIVING) && (g->arrived.first || g->err) && ol_sim_odds(w, 4)))
        g->s.flags |= SIM_LATE;
    if (ol_sim_dgram_has(g))
        ol_sim_ready(w, &g->s);
}

/* What comes first: a message, or another try to send one. */
static void
schedule(struct ol_sim *w, struct sim_dgram *g)
{
    ol_time at = g->flying.first ? g->flying.first->at : OL_NEVER;

    if (g->retry_at && g->retry_at < at)
        at = g->retry_at;
    if (at != OL_NEVER)
        ol_sim_schedule(w, &g->s, at);
}

void
ol_sim_dgram_happens(struct ol_sim *w, struct sim_dgram *g)
{
    while (g->flying.first && g->flying.first->at <= w->now) {
        struct sim_message *m = take_first(&g->flying);

        if (m->refused) {
            g->err = ECONNREFUSED;
            ol_free(w->heap, m);
        } else if (!g->local && g->arrived.bytes + cost(m) > ARRIVED_MAX) {
            g->lost++;
            ol_free(w->heap, m);
        } else {
            insert(&g->arrived, m);
        }
    }
    if (g->retry_at && g->retry_at <= w->now) {
        g->retry_at = 0;
        g->s.flags |= SIM_WANTS_ROOM;
    }
    schedule(w, g);
    if (ol_sim_dgram_has(g))
        ol_sim_ready(w, &g->s);
}

static void
launch(struct ol_sim *w, struct sim_dgram *to, struct sim_message *m)
{
    m->at = w->now + ol_sim_delay(w);
    if (!to->local && ol_sim_chance(w, w->faults.reorder)) {
        m->at += (ol_time)(1 + ol_rng_below(&w->rng, 1 + w->faults.delay_max_us)) * 1000;
    } else {
        m->at = m->at > to->last_at ? m->at : to->last_at;
        to->last_at = m->at;
    }
    insert(&to->flying, m);
    schedule(w, to);
}

static struct sim_message *
message_new(struct ol_sim *w, const struct ol_dgram *d, const struct ol_addr *from,
            const struct ol_addr *to)
{
    size_t len = ol_sim_pieces_len(d->pieces, d->count);
    struct sim_message *m = ol_alloc(w->heap, sizeof *m + len);
    uint8_t *at;

    if (!m)
        return NULL;
    m->next = NULL;
    m->from = *from;
    m->to = *to;
    m->len = (uint32_t)len;
    m->refused = false;
    at = m->bytes;
    for (int i = 0; i < d->count; i++) {
        if (d->pieces[i].iov_len > 0)
            memcpy(at, d->pieces[i].iov_base, d->pieces[i].iov_len);
        at += d->pieces[i].iov_len;
    }
    return m;
}

/* Nobody is at `to`: only a connected socket gets to know, and it may miss it. */
static void
refused(struct ol_sim *w, struct sim_dgram *g)
{
    struct sim_message *m;

    if (!(g->s.flags & SIM_CONNECTED) || g->flying.bytes > FLYING_MAX)
        return;
    m = ol_alloc_zero(w->heap, sizeof *m);
    if (m) {
        m->refused = true;
        launch(w, g, m);
    }
}

static int
addresses(const struct sim_dgram *g, const struct ol_dgram *d, struct ol_addr *from,
          struct ol_addr *to)
{
    if (g->s.flags & SIM_CONNECTED) {
        if (d->to)
            return -EISCONN;
        *to = g->peer;
        *from = g->bound.at;
        return 0;
    }
    if (!d->to)
        return -EDESTADDRREQ;
    if (g->local) {
        *to = *d->to;
        *from = g->bound.at;
        return to->kind == OL_ADDR_NONE ? -ENOTCONN : 0;
    }
    if (d->to->kind != g->bound.at.kind)
        return -EAFNOSUPPORT;
    *to = *d->to;
    ol_sim_destination(to);
    if (d->from)
        *from = *d->from;
    else if (ol_addr_is_any(&g->bound.at))
        ol_sim_source(to, from);
    else
        *from = g->bound.at;
    from->port = g->bound.at.port;
    return 0;
}

static int
deliver(struct ol_sim *w, struct sim_dgram *r, const struct ol_dgram *d, const struct ol_addr *from,
        const struct ol_addr *to)
{
    int copies = ol_sim_chance(w, w->faults.duplicate) ? 2 : 1;

    for (; copies > 0; copies--) {
        struct sim_message *m;

        if (r->flying.bytes > FLYING_MAX)
            return 0; /* lost in some router */
        m = message_new(w, d, from, to);
        if (!m)
            return -ENOMEM;
        launch(w, r, m);
    }
    return 0;
}

/* Somebody else than the one who is heard at the group? */
static bool
is_other_source(const struct sim_dgram *r, const struct ol_addr *from, const struct ol_addr *to)
{
    return r->source.kind != OL_ADDR_NONE && ol_addr_is_group(to) &&
           memcmp(r->source.ip, from->ip, sizeof from->ip) != 0;
}

/* To each who hears it; lost to one, it may still reach another. */
static int
deliver_to_many(struct ol_sim *w, const struct sim_dgram *g, const struct ol_dgram *d,
                const struct ol_addr *from, const struct ol_addr *to)
{
    struct sim_dgram *r = NULL;
    int err = 0;

    if (ol_addr_is_broadcast(to) && !g->broadcast)
        return -EACCES;
    if (g->deaf && ol_addr_is_group(to))
        return 0;
    while (!err && (r = ol_sim_next_member(w, to, r)) != NULL) {
        if (!is_other_source(r, from, to) && !ol_sim_chance(w, w->faults.lose))
            err = deliver(w, r, d, from, to);
    }
    return err;
}

/* On one machine a message arrives, or the sender is told why it does not. */
static int
send_local(struct ol_sim *w, const struct ol_dgram *d, const struct ol_addr *from,
           const struct ol_addr *to)
{
    struct sim_socket *s = ol_sim_find(w, SIM_DGRAM, to, from);
    struct sim_dgram *r = s ? sim_dgram_of(s) : NULL;
    struct sim_message *m;

    if (!r)
        return -ECONNREFUSED;
    if (r->flying.bytes + r->arrived.bytes >= ARRIVED_MAX)
        return -EAGAIN;
    m = message_new(w, d, from, to);
    if (!m)
        return -ENOMEM;
    launch(w, r, m);
    return 0;
}

static int
send_one(struct ol_sim *w, struct sim_dgram *g, const struct ol_dgram *d)
{
    struct ol_addr from;
    struct ol_addr to;
    struct sim_socket *s;
    int err = addresses(g, d, &from, &to);

    if (err)
        return err;
    if (ol_sim_pieces_len(d->pieces, d->count) > (g->local ? OL_PACKET_MAX : OL_DGRAM_MAX))
        return -EMSGSIZE;
    if (g->local)
        return send_local(w, d, &from, &to);
    if (g->err && ol_sim_odds(w, 2)) {
        err = -g->err;
        g->err = 0;
        return err;
    }
    if (ol_addr_is_group(&to) || ol_addr_is_broadcast(&to))
        return deliver_to_many(w, g, d, &from, &to);
    if (ol_sim_chance(w, w->faults.lose))
        return 0;
    s = ol_sim_find(w, SIM_DGRAM, &to, &from);
    if (!s) {
        refused(w, g);
        return 0;
    }
    return deliver(w, sim_dgram_of(s), d, &from, &to);
}

/* The send buffer is empty again an instant later.  As with a kernel, a datagram that finds any
 * room at all is taken whole. */
static bool
has_room(struct ol_sim *w, struct sim_dgram *g)
{
    size_t max = w->faults.send_room ? w->faults.send_room : ARRIVED_MAX;

    if (g->burst_at != w->now)
        g->burst = 0;
    g->burst_at = w->now;
    return g->burst < max;
}

/* Who sends to many of one machine is not told: the room is the peer's. */
static void
owe_room(struct ol_sim *w, struct sim_dgram *g, int err)
{
    if (g->local && !(g->s.flags & SIM_CONNECTED))
        return;
    if (g->local && err == -EAGAIN) {
        g->retry_at = w->now + OL_MS;
        schedule(w, g);
        return;
    }
    g->s.flags |= SIM_WANTS_ROOM;
    ol_sim_ready(w, &g->s);
}

int
ol_sim_dgram_send(struct ol_sim *w, struct sim_dgram *g, const struct ol_dgram *messages, int count)
{
    int most = (int)ol_sim_slice(w, (size_t)count);
    int err = 0;
    int taken = 0;

    OL_ASSERT(!(g->s.flags & SIM_CLOSING));
    while (taken < most) {
        err = has_room(w, g) ? send_one(w, g, &messages[taken]) : -EAGAIN;
        if (err)
            break;
        g->burst += OVERHEAD + ol_sim_pieces_len(messages[taken].pieces, messages[taken].count);
        taken++;
    }
    if (err && taken == 0 && err != -EAGAIN)
        return err;
    if (taken < count)
        owe_room(w, g, err);
    return taken > 0 || !err ? taken : err;
}

/* ---- completions ------------------------------------------------------------------------- */

static bool
received(struct ol_sim *w, struct sim_dgram *g, struct ol_completion *c, struct ol_addr addrs[2])
{
    struct sim_message *m;
    uint8_t *to;

    if (!(g->s.flags & (SIM_RECEIVING | SIM_LATE)))
        return false;
    g->s.flags &= (uint16_t)~SIM_LATE;
    if (!g->err && !g->arrived.first)
        return false;

    c->kind = OL_RECEIVED;
    if (g->err) {
        c->result = -g->err; /* news from the network, not an end */
        c->more = (g->s.flags & SIM_RECEIVING) != 0;
        g->err = 0;
        return true;
    }
    to = ol_sim_lend(g->s.driver, &c->bytes, g->arrived.first->len, 0);
    if (!to) {
        c->result = -ENOMEM;
        g->s.flags &= (uint16_t)~SIM_RECEIVING;
        return true;
    }
    m = take_first(&g->arrived);
    memcpy(to, m->bytes, m->len);
    addrs[0] = m->from;
    addrs[1] = m->to;
    c->result = (int32_t)m->len;
    c->more = (g->s.flags & SIM_RECEIVING) != 0;
    c->from = &addrs[0];
    /* What no answer can leave from is not told. */
    c->to = g->local || ol_addr_is_group(&addrs[1]) || ol_addr_is_broadcast(&addrs[1]) ? NULL
                                                                                       : &addrs[1];
    ol_free(w->heap, m);
    return true;
}

bool
ol_sim_dgram_complete(struct ol_sim *w, struct sim_dgram *g, struct ol_completion *c,
                      struct ol_addr addrs[2])
{
    struct ol_link *l = g->s.link;

    if (g->s.flags & SIM_TELL) {
        g->s.flags &= (uint16_t)~SIM_TELL;
        c->kind = OL_CONNECTED;
        return true;
    }
    if (received(w, g, c, addrs))
        return true;
    if (g->s.flags & SIM_CLOSING) {
        c->kind = OL_CLOSED;
        ol_sim_dgram_discard(w, g);
        ol_sim_link_fini(l);
        return true;
    }
    if (g->s.flags & SIM_WANTS_ROOM) {
        g->s.flags &= (uint16_t)~SIM_WANTS_ROOM;
        g->burst = 0; /* even if no time has passed, or it would be told so for ever */
        c->kind = OL_SENT;
        return true;
    }
    return false;
}
