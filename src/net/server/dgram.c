/*
 * dgram.c - a datagram listener: one socket, one connection for each peer that writes to it.
 *
 * A peer is confirmed once it has answered something we sent: only then is its address known not to
 * be forged.  At the limit the unconfirmed peer that has been silent longest makes room; when all
 * are confirmed, newcomers are dropped.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listener.h"

#include <errno.h>

enum { LOOK_AGAIN_MS = 5 };

struct ol_dsock {
    const ol_heap *heap;
    struct ol_map peers;
    struct peer *last; /* who was found last: a train is from one peer.  NULL: look it up */
    struct ol_list unconfirmed; /* of struct peer, longest silent first */
    struct ol_list waiting;     /* peers whose queue waits for room in the socket */
};

struct peer {
    struct ol_map_node node;
    struct ol_list unconfirmed;
    struct ol_list waiting;
    struct ol_lsock *sock;
    struct ol_conn *conn;
    struct ol_addr from;
    struct ol_addr to; /* our address that it wrote to: answers leave from there */
    bool has_to;
    bool answered; /* we sent to it */
    bool confirmed;
};

struct ol_dsock *
ol_dsock_new(const ol_heap *heap, struct ol_hash_key key)
{
    struct ol_dsock *d = ol_alloc_zero(heap, sizeof *d);

    if (!d)
        return NULL;
    d->heap = heap;
    ol_map_init(&d->peers, heap, key);
    ol_list_init(&d->unconfirmed);
    ol_list_init(&d->waiting);
    return d;
}

static void
free_peer(struct ol_map_node *n, void *arg)
{
    struct ol_dsock *d = arg;

    ol_map_remove(&d->peers, n);
    ol_free(d->heap, OL_CONTAINER(n, struct peer, node));
}

void
ol_dsock_free(struct ol_dsock *d)
{
    ol_map_each(&d->peers, free_peer, d); /* only in a forked child are there any */
    ol_map_fini(&d->peers);
    ol_free(d->heap, d);
}

bool
ol_dsock_has_peers(const struct ol_lsock *s)
{
    return s->dgram->peers.count > 0;
}

/* ---- peers ------------------------------------------------------------------------------- */

static struct peer *
peer_of(const struct ol_conn *c)
{
    return atomic_load_explicit(&c->cold->extra, memory_order_relaxed)->peer;
}

static bool
is_unix(const struct ol_addr *a)
{
    return a->kind == OL_ADDR_PATH || a->kind == OL_ADDR_ABSTRACT;
}

static bool
same_from(const struct ol_addr *a, const struct ol_addr *b)
{
    return memcmp(a, b, OL_ADDR_INET_SIZE) == 0 &&
           (!is_unix(a) || memcmp(a->path, b->path, a->path_len) == 0);
}

/* What an address is found by: what stands behind a path is nothing. */
static uint32_t
hash_len(const struct ol_addr *a)
{
    return OL_ADDR_INET_SIZE + (is_unix(a) ? a->path_len : 0u);
}
_Static_assert(offsetof(struct ol_addr, path) == OL_ADDR_INET_SIZE, "one run of bytes");

static bool
same_peer(const struct ol_map_node *node, const void *key, size_t len)
{
    const struct peer *p = OL_CONTAINER((void *)(uintptr_t)node, struct peer, node);

    (void)len;
    return same_from(&p->from, key);
}

static struct peer *
find_peer(struct ol_dsock *d, const struct ol_addr *from)
{
    struct ol_map_node *n;

    if (d->last && same_from(&d->last->from, from))
        return d->last;
    n = ol_map_find(&d->peers, from, hash_len(from), same_peer);
    d->last = n ? OL_CONTAINER(n, struct peer, node) : NULL;
    return d->last;
}

static void
forget_peer(struct peer *p)
{
    struct ol_lsock *s = p->sock;

    if (s->dgram->last == p)
        s->dgram->last = NULL;
    ol_map_remove(&s->dgram->peers, &p->node);
    ol_list_remove(&p->unconfirmed);
    ol_list_remove(&p->waiting);
    p->conn->flags &= (uint16_t)~CONN_SENDING;
    atomic_load(&p->conn->cold->extra)->peer = NULL;
    ol_free(s->dgram->heap, p);
    if (s->closing)
        ol_lsock_close(s);
}

static void
peer_heard(struct peer *p)
{
    struct ol_dsock *d = p->sock->dgram;

    if (p->confirmed)
        return;
    ol_list_remove(&p->unconfirmed);
    if (p->answered)
        p->confirmed = true;
    else
        ol_list_insert(&d->unconfirmed, &p->unconfirmed);
}

/* Room for one more?  Somebody who never proved to be there may have to go, and leaves the count at
 * once: the newcomer's datagram is here now, not at the end of the turn. */
static bool
make_room(struct ol_lsock *s)
{
    struct ol_counts *n = s->listener->settings->counts;
    struct peer *oldest;
    struct ol_conn *c;

    if (atomic_load_explicit(&n->connections, memory_order_relaxed) < n->connections_max)
        return true;
    if (ol_list_empty(&s->dgram->unconfirmed))
        return false;
    oldest = OL_CONTAINER(s->dgram->unconfirmed.next, struct peer, unconfirmed);
    c = oldest->conn;
    if (c->flags & CONN_COUNTED)
        ol_counts_leave(n, &oldest->from);
    c->flags &= (uint16_t)~CONN_COUNTED;
    ol_conn_break(c, CAUSE_EVICTED, OUTLET_ELIMIT, OUTLET_BY_US);
    return true;
}

static struct peer *
new_peer(struct ol_lsock *s, const struct ol_completion *done)
{
    struct ol_reactor *r = s->reactor;
    struct ol_settings *settings = s->listener->settings;
    struct peer *p = ol_alloc_zero(s->dgram->heap, sizeof *p);
    struct ol_extra *extra;

    if (!p)
        return NULL;
    p->sock = s;
    p->from = *done->from;
    p->has_to = done->to != NULL;
    if (done->to) {
        p->to = *done->to;
        p->to.port = s->bound.port;
    }
    ol_list_init(&p->unconfirmed);
    ol_list_init(&p->waiting);
    if (ol_conn_new(r, settings, settings->user, &p->conn))
        goto free_peer;
    extra = ol_conn_extra(p->conn);
    if (!extra)
        goto discard_conn;
    if (ol_map_insert(&s->dgram->peers, &p->node, &p->from, hash_len(&p->from)))
        goto discard_conn;
    extra->peer = p;
    ol_list_insert(&s->dgram->unconfirmed, &p->unconfirmed);
    if (is_unix(&p->from))
        ol_conn_name_addr(p->conn, OL_OF_PEER, &p->from);
    ol_shown_addr_set(&p->conn->cold->peer, &p->from);
    ol_shown_addr_set(&p->conn->cold->local, p->has_to ? &p->to : &s->bound);
    return p;

discard_conn:
    ol_conn_discard(p->conn);
free_peer:
    ol_free(s->dgram->heap, p);
    return NULL;
}

/* Before anybody gives way to it. */
static bool
may_come(const struct ol_lsock *s, const struct ol_addr *from)
{
    struct ol_counts *n = s->listener->settings->counts;

    if (n->rules && !ol_counts_admit(n, from))
        return false;
    return !ol_rate_is_on(&n->rate) || ol_rate_take(&n->rate, s->reactor->now);
}

/* A peer's first datagram: the same steps as for an accepted stream. */
static struct ol_conn *
welcome(struct ol_lsock *s, const struct ol_completion *done)
{
    struct ol_reactor *r = s->reactor;
    struct ol_settings *settings = s->listener->settings;
    struct peer *p;
    struct ol_conn *c;
    int refused = 0;

    if (s->closing || r->stopping || !may_come(s, done->from) || !make_room(s))
        return NULL;
    p = new_peer(s, done);
    if (!p)
        return NULL;
    c = p->conn;
    c->flags |= CONN_LINKED;
    ol_conn_publish(c);
    ol_conn_begin(c);
    if (!ol_counts_enter(settings->counts, &p->from)) {
        c->flags |= CONN_UNTOLD;
        ol_conn_break(c, CAUSE_REFUSED_BY_CALLBACK, OUTLET_EDENIED, OUTLET_BY_US);
        return NULL;
    }
    c->flags |= CONN_COUNTED;
    if (settings->on.on_accept)
        refused = settings->on.on_accept(ol_conn_handle(c), settings->user);
    if (refused) {
        ol_counts_refuse(settings->counts);
        ol_conn_break(c, CAUSE_REFUSED_BY_CALLBACK, OUTLET_EDENIED, OUTLET_BY_US);
    }
    if (ol_conn_state(c) == CONN_NONE)
        ol_conn_linked_up(c);
    return ol_conn_state(c) == CONN_OPEN ? c : NULL;
}

/* ---- completions ------------------------------------------------------------------------- */

static void
received(struct ol_lsock *s, const struct ol_completion *done, const struct ol_lent *lent)
{
    struct peer *p = find_peer(s->dgram, done->from);
    struct ol_conn *c = p ? p->conn : NULL;

    if (!c)
        c = welcome(s, done);
    if (!c) {
        atomic_fetch_add(&s->listener->settings->counts->dropped, 1);
        return;
    }
    peer_heard(peer_of(c));
    ol_conn_received(c, lent, done->truncated ? OUTLET_MSG_TRUNCATED : 0, NULL);
}

static void
received_all(struct ol_lsock *s, const struct ol_completion *done)
{
    struct ol_lent part;

    if (!done->segment) {
        received(s, done, &done->bytes);
        return;
    }
    for (uint32_t at = 0; ol_lent_segment(done, at, &part); at += done->segment) {
        received(s, done, &part);
    }
}

static void
room_again(struct ol_lsock *s)
{
    while (!ol_list_empty(&s->dgram->waiting)) {
        struct peer *p = OL_CONTAINER(s->dgram->waiting.next, struct peer, waiting);

        ol_list_remove(&p->waiting);
        p->conn->flags &= (uint16_t)~CONN_SENDING;
        if (p->conn->queue)
            ol_conn_mark_dirty(p->conn);
    }
}

static void
complete(struct ol_link *l, struct ol_completion *done)
{
    struct ol_lsock *s = OL_CONTAINER(l, struct ol_lsock, link);
    struct ol_reactor *r = s->reactor;

    switch (done->kind) {
    case OL_RECEIVED:
        if (done->result >= 0) {
            received_all(s, done);
            r->ops->give_back(r->driver, &done->bytes);
            ol_wire_end_delivery(&ol_net_of(r)->wire); /* of a stream that a peer is relayed to */
        }
        if (!done->more && !s->closing)
            ol_dsock_start(s);
        return;
    case OL_SENT:
        room_again(s);
        return;
    case OL_CLOSED:
        ol_lsock_closed(s);
        return;
    case OL_ACCEPTED:
    case OL_CONNECTED:
    case OL_READY:
        break;
    }
    OL_ASSERT(!"a completion that no datagram socket asks for");
}

const struct ol_link_ops ol_dsock_ops = {.complete = complete};

void
ol_dsock_start(struct ol_lsock *s)
{
    struct ol_reactor *r = s->reactor;
    int sys = r->ops->receive_start(r->driver, &s->link);

    if (sys < 0)
        ol_log(&r->loop->log, OUTLET_LOG_ERROR, "cannot receive at %s: %s",
               s->listener->settings->url, strerror(-sys));
}

/* ---- the transport of a peer ------------------------------------------------------------- */

static int
peer_receive_start(struct ol_conn *c)
{
    (void)c;
    return 0;
}

/* The socket goes on for the others: a paused peer loses what it sends, as datagrams may be lost.
 */
static void
peer_receive_stop(struct ol_conn *c)
{
    (void)c;
}

static void
look_at_room(struct ol_reactor *r, struct ol_alarm *a)
{
    struct ol_lsock *s = OL_CONTAINER(a, struct ol_lsock, again);

    (void)r;
    room_again(s);
}

/* A unix socket has room while a peer's queue is full: the kernel does not tell when that changes,
 * and says "writable" all the time.  The alarm is free, nothing is accepted here. */
static void
look_again(struct ol_lsock *s)
{
    struct ol_reactor *r = s->reactor;

    if (s->link.kind != OL_LINK_LOCAL || ol_timer_running(&s->again.timer))
        return;
    s->again.fire = look_at_room;
    ol_alarm_set(r, &s->again, r->now + LOOK_AGAIN_MS * OL_MS);
}

static int
peer_flush(struct ol_conn *c)
{
    struct peer *p = peer_of(c);
    int sys = ol_conn_flush_dgrams(c, &p->sock->link, &p->from, p->has_to ? &p->to : NULL);

    p->answered = true;
    if (c->flags & CONN_SENDING) {
        ol_list_insert(&p->sock->dgram->waiting, &p->waiting);
        look_again(p->sock);
    }
    return sys;
}

static int
peer_send_train(struct ol_conn *c, const struct iovec *all, uint32_t segment)
{
    struct peer *p = peer_of(c);
    struct ol_dgram like = {.to = &p->from, .from = p->has_to ? &p->to : NULL, .segment = segment};

    p->answered = true;
    return ol_conn_send_train(c, &p->sock->link, all, like);
}

static int
peer_facts(struct ol_conn *c, struct ol_dgram_facts *out)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);
    struct peer *p = extra ? extra->peer : NULL;

    if (!p)
        return -ENOTCONN;
    return p->sock->reactor->ops->dgram_facts(p->sock->reactor->driver, &p->sock->link, out);
}

static void
peer_close(struct ol_conn *c, bool reset)
{
    (void)reset;
    if (c->queue)
        ol_queue_returned(c->queue);
    forget_peer(peer_of(c));
    ol_conn_end_later(c);
}

const struct ol_transport ol_transport_peer = {.name = "datagram peer",
                                               .link = OL_LINK_NONE,
                                               .receive_start = peer_receive_start,
                                               .receive_stop = peer_receive_stop,
                                               .flush = peer_flush,
                                               .send_train = peer_send_train,
                                               .facts = peer_facts,
                                               .close = peer_close};

/* ---- to anyone --------------------------------------------------------------------------- */

struct send_to_mail {
    struct ol_mail mail;
    struct ol_lsock *sock;
    struct ol_addr to;
    size_t len;
    uint8_t bytes[];
};

static int64_t
send_now(struct ol_lsock *s, const struct ol_addr *to, const void *bytes, size_t len)
{
    struct ol_reactor *r = s->reactor;
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    struct ol_dgram out = {.pieces = &piece, .count = 1, .to = to};
    int sent = s->closing ? -ECANCELED : r->ops->send_dgrams(r->driver, &s->link, &out, 1);

    if (sent == -EAGAIN)
        return OUTLET_EFULL;
    return sent < 0 ? ol_err_from_errno(-sent) : 0;
}

static void
run_send_to(struct ol_reactor *r, struct ol_mail *mail)
{
    struct send_to_mail *m = OL_CONTAINER(mail, struct send_to_mail, mail);

    if (send_now(m->sock, &m->to, m->bytes, m->len) < 0)
        atomic_fetch_add(&m->sock->listener->settings->counts->dropped, 1);
    ol_listener_unref(m->sock->listener);
    ol_free(r->heap, m);
}

static int64_t
send_away(struct ol_lsock *s, const struct ol_addr *to, const void *bytes, size_t len)
{
    struct ol_reactor *r = s->reactor;
    struct send_to_mail *m;
    uint32_t epoch;

    if (!ol_enter(r->cell, &epoch))
        return OUTLET_ESTATE;
    m = ol_alloc(r->heap, sizeof *m + len);
    if (m) {
        *m = (struct send_to_mail){.mail.run = run_send_to, .sock = s, .to = *to, .len = len};
        if (len)
            memcpy(m->bytes, bytes, len);
        atomic_fetch_add_explicit(&s->listener->refs, 1, memory_order_relaxed);
        ol_post(r, &m->mail);
    }
    ol_leave(r->cell, epoch);
    return m ? 0 : OUTLET_ENOMEM;
}

int64_t
ol_dsock_send_to(struct ol_listener *l, const char *url, const void *bytes, size_t len)
{
    /* Whether broadcasts may be sent to is the listener's to say. */
    static const struct outlet_opts any = {.size = sizeof any, .broadcast = OUTLET_ON};
    struct ol_endpoint e;
    struct ol_addr to[OL_ENDPOINT_ADDRS];
    bool many = l->settings->scheme == OL_SCHEME_UDP;
    int count;

    if (!ol_scheme_is_dgram(l->settings->scheme))
        return OUTLET_ENOTSUP;
    if (len > l->settings->framing.max)
        return OUTLET_EMSGSIZE;
    if (strpbrk(url, "#?") ||
        ol_endpoint_parse(url, OUTLET_TO_CONNECT, many ? &any : NULL, &e, NULL) ||
        e.scheme != l->settings->scheme)
        return OUTLET_EINVAL;
    count = ol_endpoint_addrs(&e, to, OL_ENDPOINT_ADDRS);
    for (int a = 0; a < count; a++) {
        for (uint32_t i = 0; i < l->count; i++) {
            struct ol_lsock *s = &l->socks[i];

            if (s->bound.kind == to[a].kind || (is_unix(&s->bound) && is_unix(&to[a])))
                return ol_current() == s->reactor ? send_now(s, &to[a], bytes, len)
                                                  : send_away(s, &to[a], bytes, len);
        }
    }
    return OUTLET_EINVAL;
}
