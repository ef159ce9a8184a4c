/*
 * info.c - facts about a connection, as text, from published values.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <errno.h>
#include <stdio.h>

struct asked {
    struct ol_visit *v;
    char *text;
    size_t room;
};

static int64_t
put_text(const struct asked *a, const char *text)
{
    size_t len = strlen(text);

    if (a->room) {
        size_t part = ol_min(len, a->room - 1);

        memcpy(a->text, text, part);
        a->text[part] = 0;
    }
    return (int64_t)len;
}

static int64_t
put_number(const struct asked *a, int64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)n);
    return put_text(a, text);
}

static const struct ol_settings *
settings(const struct asked *a)
{
    return atomic_load_explicit(&a->v->conn->settings, memory_order_acquire);
}

static int64_t
peer(const struct asked *a)
{
    return (int64_t)ol_conn_print_addr(a->v->conn, OL_OF_PEER, a->text, a->room);
}

static int64_t
local(const struct asked *a)
{
    return (int64_t)ol_conn_print_addr(a->v->conn, OL_OF_US, a->text, a->room);
}

static int64_t
transport(const struct asked *a)
{
    return put_text(a, ol_scheme_name(settings(a)->scheme));
}

static int64_t
driver(const struct asked *a)
{
    return put_text(a, a->v->reactor->ops->name);
}

static int64_t
url(const struct asked *a)
{
    return put_text(a, settings(a)->url);
}

static int64_t
state(const struct asked *a)
{
    return put_text(a, ol_conn_state_name(ol_conn_state(a->v->conn)));
}

static int64_t
age_ms(const struct asked *a)
{
    struct ol_reactor *r = a->v->reactor;
    uint32_t now = (uint32_t)(ol_driver_now(r->driver) / (OL_MS * 125));

    return put_number(a, (int64_t)(now - a->v->conn->cold->born) * 125);
}

static int64_t
idle_ms(const struct asked *a)
{
    struct ol_reactor *r = a->v->reactor;
    ol_time since = atomic_load_explicit(&a->v->conn->active, memory_order_relaxed);
    ol_time idle = ol_driver_now(r->driver) - since;

    return put_number(a, idle > 0 ? idle / OL_MS : 0);
}

static int64_t
counter(const struct asked *a, const _Atomic int64_t *n)
{
    return put_number(a, atomic_load_explicit(n, memory_order_relaxed));
}

static int64_t
bytes_in(const struct asked *a)
{
    return counter(a, &a->v->conn->bytes_in);
}

static int64_t
bytes_out(const struct asked *a)
{
    return counter(a, &a->v->conn->bytes_out);
}

static int64_t
messages_in(const struct asked *a)
{
    return counter(a, &a->v->conn->messages_in);
}

static int64_t
messages_out(const struct asked *a)
{
    return counter(a, &a->v->conn->messages_out);
}

static int64_t
queued(const struct asked *a)
{
    return put_number(a, a->v->own ? ol_conn_queued(a->v->conn) : ol_conn_queued_seen(a->v->conn));
}

static int64_t
held(const struct asked *a)
{
    const struct ol_conn *c = a->v->conn;

    if (!settings(a)->transport->stream)
        return OUTLET_ENOENT;
    if (!a->v->own)
        return OUTLET_ETHREAD;
    return put_number(a, c->input ? (int64_t)c->input->bytes.len : 0);
}

static int64_t
dropped(const struct asked *a)
{
    struct ol_extra *extra = atomic_load(&a->v->conn->cold->extra);

    return extra ? counter(a, &extra->dropped) : put_number(a, 0);
}

static int64_t
name(const struct asked *a)
{
    return (int64_t)ol_name_print(a->v->conn, a->text, a->room);
}

static int64_t
tcp_fact(const struct asked *a, size_t field)
{
    struct ol_reactor *r = a->v->reactor;
    struct ol_conn *c = a->v->conn;
    struct ol_tcp_facts facts;
    uint32_t value;

    if (settings(a)->scheme != OL_SCHEME_TCP)
        return OUTLET_ENOENT;
    if (!a->v->own)
        return OUTLET_ETHREAD;
    if (!(c->flags & CONN_LINKED) || r->ops->tcp_facts(r->driver, &c->link, &facts) < 0)
        return OUTLET_ESTATE;
    memcpy(&value, (const char *)&facts + field, sizeof value);
    return put_number(a, value);
}

static int64_t
rtt_us(const struct asked *a)
{
    return tcp_fact(a, offsetof(struct ol_tcp_facts, rtt_us));
}

static int64_t
retransmits(const struct asked *a)
{
    return tcp_fact(a, offsetof(struct ol_tcp_facts, retransmits));
}

static int64_t
credential(const struct asked *a, size_t field)
{
    struct ol_reactor *r = a->v->reactor;
    struct ol_conn *c = a->v->conn;
    enum ol_scheme scheme = settings(a)->scheme;
    struct ol_credentials who;
    uint32_t value;

    if (!ol_scheme_is_unix(scheme) && scheme != OL_SCHEME_PAIR)
        return OUTLET_ENOENT;
    if (!a->v->own)
        return OUTLET_ETHREAD;
    if (!(c->flags & CONN_LINKED) || r->ops->credentials(r->driver, &c->link, &who) < 0)
        return OUTLET_ESTATE;
    memcpy(&value, (const char *)&who + field, sizeof value);
    return put_number(a, value);
}

static int64_t
peer_pid(const struct asked *a)
{
    return credential(a, offsetof(struct ol_credentials, pid));
}

static int64_t
peer_uid(const struct asked *a)
{
    return credential(a, offsetof(struct ol_credentials, uid));
}

static int64_t
peer_gid(const struct asked *a)
{
    return credential(a, offsetof(struct ol_credentials, gid));
}

static int64_t
dgram_fact(const struct asked *a, size_t field)
{
    struct ol_conn *c = a->v->conn;
    const struct ol_transport *t = settings(a)->transport;
    struct ol_dgram_facts facts;
    uint64_t value;
    int sys;

    if (!t->facts)
        return OUTLET_ENOENT;
    if (!a->v->own)
        return OUTLET_ETHREAD;
    sys = t->facts(c, &facts);
    if (sys < 0)
        return sys == -ENOPROTOOPT ? OUTLET_ENOTSUP : OUTLET_ESTATE;
    memcpy(&value, (const char *)&facts + field, sizeof value);
    return put_number(a, (int64_t)value);
}

static int64_t
lost(const struct asked *a)
{
    return dgram_fact(a, offsetof(struct ol_dgram_facts, lost));
}

static int64_t
unread(const struct asked *a)
{
    return dgram_fact(a, offsetof(struct ol_dgram_facts, unread));
}

static const struct {
    const char *key;
    int64_t (*tell)(const struct asked *a);
} keys[] = {{"peer", peer},
            {"local", local},
            {"transport", transport},
            {"driver", driver},
            {"url", url},
            {"state", state},
            {"age_ms", age_ms},
            {"idle_ms", idle_ms},
            {"bytes_in", bytes_in},
            {"bytes_out", bytes_out},
            {"messages_in", messages_in},
            {"messages_out", messages_out},
            {"queued", queued},
            {"held", held},
            {"dropped", dropped},
            {"name", name},
            {"rtt_us", rtt_us},
            {"retransmits", retransmits},
            {"lost", lost},
            {"unread", unread},
            {"peer_pid", peer_pid},
            {"peer_uid", peer_uid},
            {"peer_gid", peer_gid}};

int64_t
outlet_info(outlet_conn h, const char *key, char *text, size_t room)
{
    struct ol_visit v;
    struct asked a = {&v, text, text ? room : 0};
    int64_t result = OUTLET_ENOENT;

    if (!key)
        return OUTLET_EINVAL;
    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    for (size_t i = 0; i < OL_COUNT(keys); i++) {
        if (strcmp(keys[i].key, key) == 0) {
            result = keys[i].tell(&a);
            break;
        }
    }
    ol_visit_end(&v);
    return result;
}

/* ---- iteration --------------------------------------------------------------------------- */

/* Handles are gathered inside the cell and told outside of it: `each` may take its time. */
enum { GATHER = 128 };

struct gathered {
    uint32_t next_slot;
    uint32_t count;
    outlet_conn conns[GATHER];
};

static bool
wanted(const struct ol_conn *c, outlet_listener only)
{
    const struct ol_settings *s = atomic_load_explicit(&c->settings, memory_order_acquire);

    return ol_conn_state(c) == CONN_OPEN && (!only.id || s->listener.id == only.id);
}

static bool
gather(struct ol_reactor *r, outlet_listener only, struct gathered *g)
{
    struct ol_slots *slots = &r->slots[OL_KIND_CONN];
    struct ol_cell *cell = r->cell;
    uint32_t made;
    uint32_t epoch;

    g->count = 0;
    if (!ol_enter(cell, &epoch))
        return false;
    made = ol_slots_made(slots);
    while (g->next_slot < made && g->count < GATHER) {
        uint32_t generation;
        struct ol_conn *c = ol_slot_peek(slots, g->next_slot, &generation);
        struct ol_handle h = {OL_KIND_CONN, cell->index, g->next_slot, generation};

        if (c && wanted(c, only))
            g->conns[g->count++].id = ol_handle_pack(h);
        g->next_slot++;
    }
    ol_leave(cell, epoch);
    return g->count > 0;
}

int64_t
outlet_each(outlet_loop *l, outlet_listener only, int (*each)(outlet_conn c, void *arg), void *arg)
{
    int64_t visited = 0;

    if (!each)
        return OUTLET_EINVAL;
    if (only.id && !ol_handle_alive(only.id, OL_KIND_LISTENER))
        return OUTLET_ESTALE;
    if (!atomic_load_explicit(&l->hooks, memory_order_acquire))
        return 0;
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        struct gathered g = {0};

        while (gather(l->reactors[i], only, &g)) {
            for (uint32_t k = 0; k < g.count; k++) {
                visited++;
                if (each(g.conns[k], arg))
                    return visited;
            }
        }
    }
    return visited;
}
