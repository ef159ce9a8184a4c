/*
 * listen.c - outlet_listen(): from a URL to bound sockets.
 *
 * Binding happens on the calling thread, so that "address in use" is the answer of the call.  What
 * a newcomer gets wrong: port 0 must become the same number on every socket of the listener, and
 * the first socket of each address is bound plainly so that a stranger's port is noticed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listener.h"

#include <errno.h>
#include <sys/resource.h>

enum { PORT_TRIES = 16, SPARE_DESCRIPTORS = 64, UDP_PEERS = 65536, BACKLOG = 4096 };

struct plan {
    struct outlet_loop *loop;
    struct ol_endpoint e;
    struct ol_addr addrs[OL_ENDPOINT_ADDRS];
    int addr_count;
    uint32_t per_addr;         /* sockets: one for each reactor, or one */
    struct ol_given_set given; /* instead of addresses */
    bool shared;               /* the port, with others who say so */
};

static int64_t
connections_max(const struct ol_endpoint *e)
{
    struct rlimit files;

    if (e->opts.conns < 0)
        return INT64_MAX;
    if (e->opts.conns > 0)
        return e->opts.conns;
    if (ol_scheme_is_dgram(e->carrier))
        return UDP_PEERS;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == RLIM_INFINITY)
        return INT64_MAX;
    return files.rlim_cur > SPARE_DESCRIPTORS ? (int64_t)files.rlim_cur - SPARE_DESCRIPTORS : 1;
}

/* ---- one socket -------------------------------------------------------------------------- */

static int
bind_one(struct ol_listener *l, const struct plan *p, struct ol_lsock *s, struct ol_addr at,
         enum ol_share_port share, int32_t given)
{
    bool dgram = ol_scheme_is_dgram(p->e.carrier);
    enum ol_link_kind packets = p->e.carrier == OL_SCHEME_UDP ? OL_LINK_DGRAM : OL_LINK_LOCAL;
    enum ol_link_kind stream = given ? OL_LINK_INHERITED : OL_LINK_LISTENER;
    struct ol_listen_spec spec = {.kind = dgram ? packets : stream,
                                  .given = given,
                                  .packets = p->e.carrier == OL_SCHEME_PACKET,
                                  .at = at,
                                  .source = p->e.source,
                                  .share = share,
                                  .backlog = p->e.opts.backlog > 0 ? (int)p->e.opts.backlog
                                                                   : BACKLOG,
                                  .mode = p->e.opts.mode > 0 ? (int)p->e.opts.mode : -1,
                                  .tuning = l->settings->tuning,
                                  .singly = ol_rate_is_on(&l->settings->counts->rate)};

    s->link = (struct ol_link){.ops = dgram ? &ol_dsock_ops : &ol_lsock_ops, .token = -1};
    ol_list_init(&s->closable.node);
    s->listener = l;
    return s->reactor->ops->listen(s->reactor->driver, &s->link, &spec, &s->bound);
}

static void
unbind_all(struct ol_listener *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        struct ol_lsock *s = &l->socks[i];

        s->reactor->ops->discard(s->reactor->driver, s->link.token, false);
        if (s->dgram)
            ol_dsock_free(s->dgram);
        s->dgram = NULL;
    }
    l->count = 0;
}

/* This machine may have one family only: that is no failure of "every interface" or "loopback". */
static bool
may_be_missing(const struct plan *p, int sys)
{
    return (p->e.any_host || p->e.loopback) &&
           (sys == -EAFNOSUPPORT || sys == -EADDRNOTAVAIL || sys == -EPROTONOSUPPORT);
}

/* 0, or the negated errno of the first socket that could not be bound; *at is its address. */
static int
bind_all(struct ol_listener *l, const struct plan *p, struct ol_addr *at)
{
    uint16_t port = p->e.port;
    int missing = 0;

    for (int a = 0; a < p->addr_count; a++) {
        for (uint32_t i = 0; i < p->per_addr; i++) {
            struct ol_lsock *s = &l->socks[l->count];
            enum ol_share_port share = p->shared          ? OL_PORT_SHARED
                                       : p->per_addr == 1 ? OL_PORT_ALONE
                                       : i == 0           ? OL_PORT_FIRST
                                                          : OL_PORT_SIBLING;
            int sys;

            *at = p->addrs[a];
            at->port = port;
            s->reactor = p->per_addr == 1 ? ol_loop_pick(p->loop, true) : p->loop->reactors[i];
            sys = bind_one(l, p, s, *at, share, 0);
            if (sys < 0 && i == 0 && may_be_missing(p, sys)) {
                missing = sys;
                break;
            }
            if (sys < 0)
                return sys;
            l->count++;
            port = s->bound.port;
        }
    }
    return l->count ? 0 : missing;
}

/* A port that was picked for one family may be taken in the other: pick again. */
static int
bind_with_port(struct ol_listener *l, const struct plan *p, struct ol_addr *at)
{
    int sys = -EADDRINUSE;

    for (int i = 0; i < PORT_TRIES && sys < 0; i++) {
        sys = bind_all(l, p, at);
        if (sys < 0)
            unbind_all(l);
        if (sys != -EADDRINUSE || p->e.port != 0)
            break;
    }
    return sys;
}

/* Sockets that are bound already. */
static int
take_given(struct ol_listener *l, struct plan *p, struct ol_addr *at)
{
    while (p->given.next < p->given.count) {
        struct ol_lsock *s = &l->socks[l->count];
        int sys;

        s->reactor = ol_loop_pick(p->loop, true);
        sys = bind_one(l, p, s, *at, OL_PORT_ALONE, p->given.tokens[p->given.next++]);
        if (sys < 0) {
            unbind_all(l);
            return sys;
        }
        l->count++;
    }
    return 0;
}

/* ---- in-process ports -------------------------------------------------------------------- */

static outlet_err
open_port(struct ol_listener *l, const struct ol_addr *name)
{
    struct ol_net_loop *nl = l->loop->net;
    outlet_err err = OUTLET_OK;

    l->port_name = *name;
    pthread_mutex_lock(&l->loop->lock);
    for (struct ol_list *n = nl->ports.next; n != &nl->ports && !err; n = n->next) {
        struct ol_pair_port *p = OL_CONTAINER(n, struct ol_pair_port, node);

        if (p->name_len == name->path_len && memcmp(p->name, name->path, p->name_len) == 0)
            err = OUTLET_EADDRINUSE;
    }
    if (!err) {
        l->port.name = l->port_name.path;
        l->port.name_len = l->port_name.path_len;
        l->port.arrived = ol_accept_arrived;
        l->port.end = ol_accept_port_end;
        ol_list_insert(&nl->ports, &l->port.node);
    }
    pthread_mutex_unlock(&l->loop->lock);
    return err;
}

/* ---- all of it --------------------------------------------------------------------------- */

static outlet_err
cannot_bind(struct outlet_reason *why, int sys, const struct ol_addr *at, const char *device)
{
    outlet_err err = ol_err_from_errno(-sys);
    char text[OL_ADDR_TEXT];

    if (!why)
        return err;
    if (ol_addr_print(at, text, sizeof text) == 0)
        memcpy(text, "fd",
               sizeof "fd"); /* the address of a socket that was given is its own matter */
    why->sys_errno = -sys;
    why->phase = OUTLET_AT_CONNECT;
    if (sys == -EPERM && device[0]) {
        memcpy(why->key, "device", sizeof "device");
        ol_reason_set(why, err, "cannot listen through device %s: that needs CAP_NET_RAW here",
                      device);
        return err;
    }
    if (sys == -ENODEV && ol_addr_is_group(at))
        ol_reason_set(why, err,
                      "cannot listen at %s: no interface leads to that group; name one with "
                      "interface=",
                      text);
    else
        ol_reason_set(why, err, "cannot listen at %s: %s", text, outlet_strerror(err));
    return err;
}

static outlet_err
open_sockets(struct ol_listener *l, struct plan *p, struct outlet_reason *why)
{
    struct ol_addr at = {.kind = OL_ADDR_NONE};
    int sys;

    if (p->e.scheme == OL_SCHEME_PAIR)
        return open_port(l, &p->e.addr);
    sys = p->given.count ? take_given(l, p, &at) : bind_with_port(l, p, &at);
    if (sys < 0)
        return cannot_bind(why, sys, &at, l->settings->tuning.device);
    if (ol_scheme_is_dgram(p->e.carrier)) {
        for (uint32_t i = 0; i < l->count; i++) {
            l->socks[i].dgram = ol_dsock_new(&l->loop->heap, l->loop->hash_key);
            if (!l->socks[i].dgram) {
                unbind_all(l);
                return OUTLET_ENOMEM;
            }
        }
    }
    if (p->e.scheme != OL_SCHEME_FD && l->count && (at.kind == OL_ADDR_V4 || at.kind == OL_ADDR_V6))
        ol_settings_set_port(l->settings, &p->e, l->socks[0].bound.port);
    return OUTLET_OK;
}

static outlet_err
new_listener(const struct plan *p, struct outlet_reason *why, struct ol_listener **out)
{
    const ol_heap *heap = &p->loop->heap;
    size_t room = (size_t)p->addr_count * p->per_addr + (size_t)p->given.count;
    struct ol_listener *l = ol_alloc_zero(heap, sizeof *l + room * sizeof l->socks[0]);
    outlet_err err;

    if (!l)
        return OUTLET_ENOMEM;
    atomic_store(&l->refs, 1);
    l->loop = p->loop;
    ol_list_init(&l->port.node);
    ol_list_init(&l->port_closable.node);
    l->shared_out = (ol_scheme_is_unix(p->e.scheme) || p->e.scheme == OL_SCHEME_FD) &&
                    p->loop->reactor_count > 1;
    err = ol_settings_new(p->loop, &p->e, why, &l->settings);
    if (err)
        goto free_listener;
    if (ol_scheme_is_dgram(p->e.carrier))
        l->settings->transport = &ol_transport_peer;
    l->settings->counts = ol_counts_new(heap, p->loop->hash_key);
    if (!l->settings->counts) {
        err = OUTLET_ENOMEM;
        goto unref_settings;
    }
    l->settings->counts->connections_max = connections_max(&p->e);
    l->settings->counts->per_address_max = p->e.opts.conns_per_address;
    ol_rate_init(&l->settings->counts->rate, p->e.opts.accepts_per_second);
    err = ol_rules_new(heap, &p->e, &l->settings->counts->rules);
    if (err)
        goto unref_settings;
    *out = l;
    return OUTLET_OK;

unref_settings:
    ol_settings_unref(l->settings);
free_listener:
    ol_free(heap, l);
    return err;
}

static outlet_err
give_handle(struct ol_listener *l, struct ol_reactor *home, uint32_t *generation)
{
    struct ol_handle h = {.kind = OL_KIND_LISTENER, .cell = home->cell->index};
    void *hot;
    void *cold;
    outlet_err err = ol_slot_take(&home->slots[OL_KIND_LISTENER], &h.slot, &h.generation, &hot,
                                  &cold);

    if (err)
        return err;
    l->slot = hot;
    l->slot->listener = l;
    l->slot->slot = h.slot;
    l->id = ol_handle_pack(h);
    *generation = h.generation;
    return OUTLET_OK;
}

/* In the home reactor's cell. */
static outlet_err
listen_at(struct plan *p, struct outlet_reason *why, outlet_listener *out)
{
    struct ol_reactor *home = p->loop->reactors[0];
    struct ol_listener *l;
    uint32_t generation;
    outlet_err err = new_listener(p, why, &l);

    if (err)
        return err;
    err = give_handle(l, home, &generation);
    if (err)
        goto unref_listener;
    l->settings->listener.id = l->id;
    err = open_sockets(l, p, why);
    if (err) {
        ol_slot_give_back(&home->slots[OL_KIND_LISTENER], l->slot->slot); /* never published */
        goto unref_listener;
    }
    out->id = l->id;
    ol_slot_publish(&home->slots[OL_KIND_LISTENER], l->slot->slot);
    ol_listener_start(l);
    return OUTLET_OK;

unref_listener:
    ol_listener_unref(l);
    return err;
}

static outlet_err
make_plan(struct plan *p, struct outlet_reason *why)
{
    bool sharded = p->e.scheme == OL_SCHEME_TCP;

    p->shared = p->e.opts.reuse > 0 ||
                (p->e.scheme == OL_SCHEME_UDP && p->e.has_literal && ol_addr_is_group(&p->e.addr));
    p->per_addr = sharded ? p->loop->reactor_count : 1;
    p->addr_count = 0;
    if (p->e.scheme == OL_SCHEME_PAIR || p->e.scheme == OL_SCHEME_FD)
        return OUTLET_OK;
    p->addr_count = ol_endpoint_addrs(&p->e, p->addrs, OL_ENDPOINT_ADDRS);
    if (p->addr_count)
        return OUTLET_OK;
    if (why) {
        why->phase = OUTLET_AT_RESOLVE;
        ol_reason_set(why, OUTLET_ERESOLVE,
                      "cannot listen at \"%s\": it is neither an address nor in /etc/hosts",
                      p->e.host);
    }
    return OUTLET_ERESOLVE;
}

outlet_err
outlet_listen(outlet_loop *l, const char *url, const struct outlet_opts *opts, outlet_listener *out)
{
    struct outlet_reason *why = ol_why_of(opts);
    struct plan p = {.loop = l, .given = {.count = 0}};
    uint32_t epoch;
    outlet_err err = url && out ? ol_loop_check(l) : OUTLET_EINVAL;

    if (!err && atomic_load(&l->draining))
        err = OUTLET_ESTATE;
    if (!err)
        err = ol_endpoint_parse(url, OUTLET_TO_LISTEN, opts, &p.e, why);
    if (!err)
        err = make_plan(&p, why);
    if (!err)
        err = ol_loop_attach(l, &ol_net_hooks);
    if (!err)
        err = ol_given_find(l, url, opts, &p.e, why, &p.given);
    if (err)
        return ol_why_fail(why, err);
    err = OUTLET_ESTATE;
    if (ol_enter(l->reactors[0]->cell, &epoch)) {
        err = listen_at(&p, why, out);
        ol_leave(l->reactors[0]->cell, epoch);
    }
    ol_given_discard(l, &p.given); /* those that were not taken */
    return ol_why_fail(why, err);
}
