/*
 * sim_names.c - who is at which address.
 *
 * One machine owns every address of the world.  A port is a list of the sockets bound to it, each
 * with its address; "any" takes what no exact address takes.  IPv4 and IPv6 ports are separate, as
 * with IPV6_V6ONLY.
 *
 * The ports of connecting tcp sockets are only numbers: they are not bound, so that a world can
 * hold more connections than there are ports.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

enum { EPHEMERAL_FIRST = 32768, EPHEMERAL_COUNT = 28232, KEY_MAX = 2 + OL_PATH_MAX };

struct sim_port {
    struct ol_map_node node;
    struct sim_bound *first;
    size_t len;
    uint8_t key[KEY_MAX];
};

bool
ol_sim_is_inet(const struct ol_addr *a)
{
    return a->kind == OL_ADDR_V4 || a->kind == OL_ADDR_V6;
}

static size_t
ip_len(const struct ol_addr *a)
{
    return a->kind == OL_ADDR_V4 ? 4 : 16;
}

size_t
ol_sim_name_size(const struct ol_addr *a)
{
    if (a->kind == OL_ADDR_NONE)
        return 1;
    if (ol_sim_is_inet(a))
        return 1 + sizeof a->port + (a->kind == OL_ADDR_V6 ? sizeof a->zone : 0) + ip_len(a);
    return 2 + (size_t)a->path_len;
}

static uint8_t *
put(uint8_t *to, const void *from, size_t n)
{
    memcpy(to, from, n);
    return to + n;
}

static const uint8_t *
get(const uint8_t *from, void *to, size_t n)
{
    memcpy(to, from, n);
    return from + n;
}

uint8_t *
ol_sim_name_pack(const struct ol_addr *a, uint8_t *to)
{
    *to++ = a->kind;
    if (a->kind == OL_ADDR_NONE)
        return to;
    if (!ol_sim_is_inet(a)) {
        *to++ = a->path_len;
        return put(to, a->path, a->path_len);
    }
    to = put(to, &a->port, sizeof a->port);
    if (a->kind == OL_ADDR_V6)
        to = put(to, &a->zone, sizeof a->zone);
    return put(to, a->ip, ip_len(a));
}

const uint8_t *
ol_sim_name_unpack(const uint8_t *from, struct ol_addr *a)
{
    memset(a, 0, sizeof *a);
    a->kind = *from++;
    if (a->kind == OL_ADDR_NONE)
        return from;
    if (!ol_sim_is_inet(a)) {
        a->path_len = *from++;
        return get(from, a->path, a->path_len);
    }
    from = get(from, &a->port, sizeof a->port);
    if (a->kind == OL_ADDR_V6)
        from = get(from, &a->zone, sizeof a->zone);
    return get(from, a->ip, ip_len(a));
}

void
ol_sim_destination(struct ol_addr *to)
{
    if (!ol_sim_is_inet(to) || !ol_addr_is_any(to))
        return;
    if (to->kind == OL_ADDR_V4)
        memcpy(to->ip, "\x7f\0\0\1", 4);
    else
        to->ip[15] = 1;
}

/* Every address is this machine's own, so Linux would answer from the address that was asked;
 * all of 127/8 is asked from 127.0.0.1. */
void
ol_sim_source(const struct ol_addr *to, struct ol_addr *from)
{
    memset(from, 0, sizeof *from);
    if (!ol_sim_is_inet(to))
        return;
    from->kind = to->kind;
    from->zone = to->zone;
    if (ol_addr_is_group(to) || ol_addr_is_broadcast(to))
        ol_sim_destination(from); /* nothing leaves from these */
    else if (to->kind == OL_ADDR_V4 && to->ip[0] == 127)
        memcpy(from->ip, "\x7f\0\0\1", 4);
    else
        memcpy(from->ip, to->ip, ip_len(to));
}

/* This machine has every address. */
void
ol_sim_local(const struct ol_addr *local, struct ol_addr *from)
{
    if (local->kind == from->kind) {
        memcpy(from->ip, local->ip, ip_len(from));
        from->zone = local->zone;
    }
    from->port = local->port;
}

uint16_t
ol_sim_ephemeral_port(struct ol_sim *w)
{
    return (uint16_t)(EPHEMERAL_FIRST + w->ephemeral++ % EPHEMERAL_COUNT);
}

/* ---- ports ------------------------------------------------------------------------------- */

static size_t
port_key(enum sim_kind kind, const struct ol_addr *a, uint8_t key[KEY_MAX])
{
    key[0] = kind == SIM_DGRAM;
    key[1] = a->kind;
    if (ol_sim_is_inet(a)) {
        memcpy(key + 2, &a->port, sizeof a->port);
        return 2 + sizeof a->port;
    }
    memcpy(key + 2, a->path, a->path_len);
    return 2 + (size_t)a->path_len;
}

static bool
same_port(const struct ol_map_node *n, const void *key, size_t len)
{
    const struct sim_port *p = OL_CONTAINER(n, struct sim_port, node);

    return p->len == len && memcmp(p->key, key, len) == 0;
}

static struct sim_port *
port_find(const struct ol_sim *w, enum sim_kind kind, const struct ol_addr *at)
{
    uint8_t key[KEY_MAX];
    size_t len = port_key(kind, at, key);
    struct ol_map_node *n = ol_map_find(&w->ports, key, len, same_port);

    return n ? OL_CONTAINER(n, struct sim_port, node) : NULL;
}

static bool
same_ip(const struct ol_addr *a, const struct ol_addr *b)
{
    return !ol_sim_is_inet(a) || memcmp(a->ip, b->ip, ip_len(a)) == 0;
}

static bool
taken(const struct sim_port *p, const struct ol_addr *at, enum ol_share_port share)
{
    for (const struct sim_bound *b = p ? p->first : NULL; b; b = b->next) {
        bool meet = same_ip(at, &b->at) ||
                    (ol_sim_is_inet(at) && (ol_addr_is_any(at) || ol_addr_is_any(&b->at)));

        bool may = share == OL_PORT_SHARED ? b->share == OL_PORT_SHARED
                                           : share == OL_PORT_SIBLING && b->share != OL_PORT_ALONE;

        if (meet && !may)
            return true;
    }
    return false;
}

/* A port that nobody has, in either family: a listener wants the same number in both. */
static uint16_t
pick_port(struct ol_sim *w, enum sim_kind kind)
{
    uint64_t start = ol_rng_below(&w->rng, EPHEMERAL_COUNT);
    struct ol_addr at = {0};

    for (uint64_t i = 0; i < EPHEMERAL_COUNT; i++) {
        bool used;

        at.port = (uint16_t)(EPHEMERAL_FIRST + (start + i) % EPHEMERAL_COUNT);
        at.kind = OL_ADDR_V4;
        used = port_find(w, kind, &at) != NULL;
        at.kind = OL_ADDR_V6;
        if (!used && !port_find(w, kind, &at))
            return at.port;
    }
    return 0;
}

int
ol_sim_bind(struct ol_sim *w, struct sim_bound *b, struct sim_socket *s, const struct ol_addr *at,
            enum ol_share_port share)
{
    struct sim_port *p;

    b->at = *at;
    b->share = share;
    b->socket = s;
    if (ol_sim_is_inet(at) && at->port == 0) {
        b->at.port = pick_port(w, s->kind);
        if (b->at.port == 0)
            return -EADDRINUSE;
    }
    p = port_find(w, s->kind, &b->at);
    if (taken(p, &b->at, share))
        return -EADDRINUSE;
    if (!p) {
        p = ol_alloc_zero(w->heap, sizeof *p);
        if (!p)
            return -ENOMEM;
        p->len = port_key(s->kind, &b->at, p->key);
        if (ol_map_insert(&w->ports, &p->node, p->key, p->len)) {
            ol_free(w->heap, p);
            return -ENOMEM;
        }
    }
    b->port = p;
    b->next = p->first;
    p->first = b;
    return 0;
}

void
ol_sim_unbind(struct ol_sim *w, struct sim_bound *b)
{
    struct sim_port *p = b->port;

    if (!p)
        return;
    for (struct sim_bound **at = &p->first; *at; at = &(*at)->next) {
        if (*at == b) {
            *at = b->next;
            break;
        }
    }
    b->port = NULL;
    if (!p->first) {
        ol_map_remove(&w->ports, &p->node);
        ol_free(w->heap, p);
    }
}

/* How well a bound socket fits: 0 not at all. */
static int
fit(const struct sim_bound *b, const struct ol_addr *to, const struct ol_addr *from)
{
    bool exact = same_ip(&b->at, to);

    if (!exact && !(ol_sim_is_inet(to) && ol_addr_is_any(&b->at)))
        return 0;
    if (b->socket->flags & SIM_CONNECTED) {
        const struct ol_addr *peer = &sim_dgram_of(b->socket)->peer;

        if (!ol_sim_is_inet(to))
            return from && ol_addr_same(peer, from) ? 3 : 0;
        return from && peer->port == from->port && same_ip(peer, from) ? 3 : 0;
    }
    return exact ? 2 : 1;
}

static bool
is_member(const struct sim_bound *b, const struct ol_addr *to)
{
    const struct sim_dgram *g = sim_dgram_of(b->socket);

    if (g->s.flags & SIM_CONNECTED)
        return false;
    if (ol_addr_is_broadcast(to))
        return ol_addr_is_any(&b->at) || same_ip(&b->at, to);
    return g->group.kind == to->kind && same_ip(&g->group, to);
}

struct sim_dgram *
ol_sim_next_member(struct ol_sim *w, const struct ol_addr *to, const struct sim_dgram *after)
{
    struct sim_port *p = port_find(w, SIM_DGRAM, to);
    struct sim_bound *b = after ? after->bound.next : p ? p->first : NULL;

    while (b && !is_member(b, to))
        b = b->next;
    return b ? sim_dgram_of(b->socket) : NULL;
}

struct sim_socket *
ol_sim_find(struct ol_sim *w, enum sim_kind kind, const struct ol_addr *to,
            const struct ol_addr *from)
{
    struct sim_port *p = port_find(w, kind, to);
    struct sim_socket *found = NULL;
    unsigned among = 0;
    int best = 1;

    for (struct sim_bound *b = p ? p->first : NULL; b; b = b->next) {
        int f = fit(b, to, from);

        if (f < best)
            continue;
        among = f > best ? 1 : among + 1;
        best = f;
        if (among == 1 || ol_sim_odds(w, among)) /* each with the same chance in the end */
            found = b->socket;
    }
    return found;
}
