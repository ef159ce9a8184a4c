/*
 * settings.c - what all connections of a listener share: handlers, limits, framing, numbers.
 *
 * Settings never change.  set_framing gives its connection other ones, and the old ones are freed
 * when no other thread can be reading them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

enum { PORT_DIGITS = 6 };

static ol_time
duration(int64_t ms)
{
    return ms < 0 ? OL_NEVER : ms * OL_MS;
}

static ol_time
earlier(ol_time a, ol_time b)
{
    return a < b ? a : b;
}

static size_t
size_or_none(int64_t bytes)
{
    return bytes < 0 ? SIZE_MAX : (size_t)bytes;
}

static outlet_err
copy_handlers(const struct outlet_handlers *from, struct outlet_handlers *to)
{
    *to = (struct outlet_handlers){.size = sizeof *to};
    if (!from)
        return OUTLET_OK;
    if (from->size < sizeof(size_t) || from->size > sizeof *to)
        return OUTLET_EINVAL;
    memcpy(to, from, from->size);
    return OUTLET_OK;
}

/* The kind that may have been meant; NULL: it is one, or near none. */
static const char *
kind_near(const char *text)
{
    size_t len = strcspn(text, ":");
    size_t best = SIZE_MAX;
    const char *near = NULL;
    const char *kind;

    for (size_t i = 0; (kind = ol_framing_kind(i)) != NULL; i++) {
        size_t edits = ol_edits(text, len, kind);

        if (edits < best) {
            best = edits;
            near = kind;
        }
    }
    if (!ol_is_near(best, len) || (best == 0 && memcmp(text, near, len) == 0))
        return NULL;
    return near;
}

outlet_err
ol_framing_of(const struct ol_endpoint *e, struct outlet_reason *why, struct ol_framing *out)
{
    size_t bad_at = 0;
    outlet_err err = ol_framing_parse(e->frame, size_or_none(e->opts.max), e->opts.framing, out,
                                      &bad_at);

    if (err && why) {
        const char *near = bad_at == 0 ? kind_near(e->frame) : NULL;

        why->position = e->frame_at < 0 ? -1 : e->frame_at + (int32_t)bad_at;
        memcpy(why->key, "frame", sizeof "frame");
        if (near)
            ol_reason_set(why, err, "unknown framing \"%s\"; did you mean \"%s\"?", e->frame, near);
        else
            ol_reason_set(why, err, "the framing \"%s\" is wrong at \"%s\": see outlet-url(7)",
                          e->frame, e->frame + bad_at);
    }
    return err;
}

static void
use_filter(struct ol_settings *s)
{
    s->filter = ol_filter_for(s->transport->stream, &s->framing);
    if (s->transport == &ol_transport_packet)
        s->filter = &ol_filter_packet;
    s->next = s->filter->next_of(&s->framing);
    s->wrap = s->filter->wrap_of(&s->framing);
    s->in_place = OL_IN_PLACE_NOT;
    if (s->filter == &ol_filter_none)
        s->in_place = OL_IN_PLACE_NONE;
    else if (s->filter == &ol_filter_frame && ol_field_is_all(&s->framing))
        s->in_place = OL_IN_PLACE_FIELD;
    else if (s->filter == &ol_filter_dgram)
        s->in_place = OL_IN_PLACE_DGRAM;
}

static const struct ol_transport *
transport_of(const struct ol_endpoint *e)
{
    switch (e->carrier) {
    case OL_SCHEME_UDP:
        return e->many ? &ol_transport_many : &ol_transport_dgram;
    case OL_SCHEME_LOCAL:
        return &ol_transport_local;
    case OL_SCHEME_PACKET:
        return &ol_transport_packet;
    case OL_SCHEME_TCP:
    case OL_SCHEME_UNIX:
    case OL_SCHEME_PAIR:
    case OL_SCHEME_FD:
        break;
    }
    return &ol_transport_stream;
}

static int
count_or_none(int64_t n)
{
    return n < 0 ? 0 : (int)n;
}

static void
set_tuning(struct ol_tuning *t, const struct ol_endpoint *e)
{
    const struct outlet_opts *o = &e->opts;

    t->nodelay = o->nodelay > 0;
    t->keepalive_s = count_or_none(o->keepalive_s);
    t->keepalive_interval_s = count_or_none(o->keepalive_interval_s);
    t->keepalive_probes = count_or_none(o->keepalive_probes);
    t->user_timeout_ms = count_or_none(o->user_timeout_ms);
    t->dscp = count_or_none(o->dscp);
    t->interface = e->interface;
    t->ttl = count_or_none(o->ttl);
    t->deaf = o->loop < 0;
    t->broadcast = o->broadcast > 0;
    if (o->device) /* its length was checked */
        memcpy(t->device, o->device, strlen(o->device) + 1);
}

outlet_err
ol_settings_new(struct outlet_loop *l, const struct ol_endpoint *e, struct outlet_reason *why,
                struct ol_settings **out)
{
    size_t url_room = ol_endpoint_print(e, 0, NULL, 0) + PORT_DIGITS + 1;
    struct ol_settings *s = ol_alloc_zero(&l->heap, sizeof *s + url_room);
    const struct outlet_opts *o = &e->opts;
    outlet_err err;

    if (!s) {
        if (why)
            ol_reason_set(why, OUTLET_ENOMEM, "%s", outlet_strerror(OUTLET_ENOMEM));
        return OUTLET_ENOMEM;
    }
    err = ol_framing_of(e, why, &s->framing);
    if (err)
        goto free_settings;
    err = copy_handlers(o->on, &s->on);
    if (err) {
        if (why)
            ol_reason_set(why, err,
                          "the size of the handlers struct is not one that this version "
                          "of the library knows");
        goto free_settings;
    }
    ol_endpoint_print(e, 0, s->url, url_room);
    s->url_room = url_room;
    s->refs = 1;
    s->heap = &l->heap;
    s->loop = l;
    s->scheme = e->carrier;
    s->transport = transport_of(e);
    use_filter(s);
    s->user = o->user;
    s->connect = duration(o->connect_ms);
    s->handshake = duration(o->handshake_ms);
    s->idle = duration(o->idle_ms);
    s->partial = duration(o->partial_ms);
    s->stall = duration(o->stall_ms);
    s->flush = duration(o->flush_ms);
    s->soonest = earlier(earlier(s->idle, s->partial), earlier(s->stall, s->flush));
    s->high = size_or_none(o->high);
    s->low = size_or_none(o->low);
    s->cap = size_or_none(o->cap);
    s->full = (enum outlet_full)o->full;
    s->half_open = o->half_open > 0;
    s->fds = o->fds > 0 ? (uint8_t)o->fds : 0;
    set_tuning(&s->tuning, e);
    if (s->transport->send_train || !ol_keeps_borders(s))
        s->wire_room = ol_min(OL_WIRE_ROOM, ol_min(s->high, s->cap));
    *out = s;
    return OUTLET_OK;

free_settings:
    ol_free(&l->heap, s);
    return err;
}

void
ol_settings_set_port(struct ol_settings *s, const struct ol_endpoint *e, uint16_t port)
{
    ol_endpoint_print(e, port, s->url, s->url_room);
}

struct ol_settings *
ol_settings_ref(struct ol_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void
ol_settings_unref(struct ol_settings *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (s->counts)
        ol_counts_unref(s->counts);
    ol_free(s->heap, s);
}

outlet_err
ol_settings_reframe(const struct ol_settings *s, const char *text,
                    const struct outlet_framing *custom, struct ol_settings **out)
{
    size_t size = sizeof *s + s->url_room;
    struct ol_framing framing;
    struct ol_settings *copy;
    size_t bad_at;
    outlet_err err = ol_framing_parse(text, s->framing.max, custom, &framing, &bad_at);

    if (err)
        return err;
    copy = ol_alloc(s->heap, size);
    if (!copy)
        return OUTLET_ENOMEM;
    /* All but the count of references, which other reactors write. */
    memcpy((uint8_t *)copy + sizeof copy->refs, (const uint8_t *)s + sizeof s->refs,
           size - sizeof s->refs);
    atomic_init(&copy->refs, 1);
    copy->framing = framing;
    use_filter(copy);
    if (copy->counts)
        ol_counts_ref(copy->counts);
    *out = copy;
    return OUTLET_OK;
}

/* ---- a listener's numbers ---------------------------------------------------------------- */

struct address_count {
    struct ol_map_node node;
    struct ol_addr addr;
    int64_t connections;
};

struct ol_counts *
ol_counts_new(const ol_heap *heap, struct ol_hash_key key)
{
    struct ol_counts *n = ol_alloc_zero(heap, sizeof *n);

    if (!n)
        return NULL;
    atomic_store(&n->refs, 1);
    n->heap = heap;
    n->connections_max = INT64_MAX;
    pthread_mutex_init(&n->lock, NULL);
    ol_map_init(&n->addresses, heap, key);
    return n;
}

struct ol_counts *
ol_counts_ref(struct ol_counts *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

void
ol_counts_unref(struct ol_counts *n)
{
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
        return;
    OL_ASSERT(n->addresses.count == 0); /* every connection has left */
    ol_map_fini(&n->addresses);
    ol_rules_free(n->heap, n->rules);
    pthread_mutex_destroy(&n->lock);
    ol_free(n->heap, n);
}

static bool
same_address(const struct ol_map_node *node, const void *key, size_t len)
{
    const struct address_count *a = OL_CONTAINER((void *)(uintptr_t)node, struct address_count,
                                                 node);

    return memcmp(a->addr.ip, key, len) == 0;
}

static struct address_count *
find_address(struct ol_counts *n, const struct ol_addr *peer)
{
    struct ol_map_node *node = ol_map_find(&n->addresses, peer->ip, sizeof peer->ip, same_address);

    return node ? OL_CONTAINER(node, struct address_count, node) : NULL;
}

static bool
by_address(const struct ol_counts *n, const struct ol_addr *peer)
{
    return n->per_address_max > 0 && (peer->kind == OL_ADDR_V4 || peer->kind == OL_ADDR_V6);
}

static bool
enter_address(struct ol_counts *n, const struct ol_addr *peer)
{
    struct address_count *a;
    bool ok = true;

    pthread_mutex_lock(&n->lock);
    a = find_address(n, peer);
    if (a) {
        ok = a->connections < n->per_address_max;
        a->connections += ok;
    } else {
        a = ol_alloc_zero(n->heap, sizeof *a);
        if (a) {
            a->addr = *peer;
            a->connections = 1;
        }
        if (!a || ol_map_insert(&n->addresses, &a->node, a->addr.ip, sizeof a->addr.ip)) {
            ol_free(n->heap, a);
            ok = false;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return ok;
}

bool
ol_counts_admit(struct ol_counts *n, const struct ol_addr *peer)
{
    if (ol_rules_admit(n->rules, peer))
        return true;
    atomic_fetch_add(&n->denied, 1);
    atomic_fetch_add(&n->refused, 1);
    return false;
}

bool
ol_counts_enter(struct ol_counts *n, const struct ol_addr *peer)
{
    if (atomic_fetch_add(&n->connections, 1) >= n->connections_max ||
        (by_address(n, peer) && !enter_address(n, peer))) {
        atomic_fetch_sub(&n->connections, 1);
        atomic_fetch_add(&n->refused, 1);
        return false;
    }
    atomic_fetch_add(&n->accepted, 1);
    return true;
}

void
ol_counts_refuse(struct ol_counts *n)
{
    atomic_fetch_sub(&n->accepted, 1);
    atomic_fetch_add(&n->refused, 1);
}

void
ol_counts_leave(struct ol_counts *n, const struct ol_addr *peer)
{
    struct address_count *a;

    atomic_fetch_sub(&n->connections, 1);
    if (!by_address(n, peer))
        return;
    pthread_mutex_lock(&n->lock);
    a = find_address(n, peer);
    OL_ASSERT(a && a->connections > 0);
    if (--a->connections == 0) {
        ol_map_remove(&n->addresses, &a->node);
        ol_free(n->heap, a);
    }
    pthread_mutex_unlock(&n->lock);
}
