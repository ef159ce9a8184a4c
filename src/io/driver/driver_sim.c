/*
 * driver_sim.c - the simulated network as a driver: its table of functions and its wait().
 *
 * One thread steps the world and all its drivers (sim.h); only wake() may come from elsewhere.  A
 * wait() never blocks, and tells a random part of what there is to tell: what is left comes with
 * the next one, as if it had happened later.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

#include <unistd.h>

/* 2001-09-09 01:46:40 UTC, plus the virtual time: certificates and logs see a plausible clock. */
#define EPOCH_NS INT64_C(1000000000000000000)

static struct sim_driver *
sim_of(struct ol_driver *d)
{
    OL_ASSERT(d->ops == &ol_driver_sim);
    return OL_CONTAINER(d, struct sim_driver, base);
}

static struct sim_socket *
socket_of(struct sim_driver *d, const struct ol_link *l)
{
    struct sim_socket *s = ol_sim_socket_of(d->world, l->token);

    OL_ASSERT(s->link == l && s->driver == d);
    return s;
}

static struct sim_end *
stream_of(struct sim_driver *d, const struct ol_link *l)
{
    return sim_end_of(socket_of(d, l));
}

struct ol_sim *
ol_sim_of(struct ol_driver *d)
{
    return sim_of(d)->world;
}

static void
discard_socket(struct ol_sim *w, struct sim_socket *s, bool reset)
{
    switch ((enum sim_kind)s->kind) {
    case SIM_END:
        ol_sim_end_discard(w, sim_end_of(s), reset);
        return;
    case SIM_LISTENER:
        ol_sim_listener_discard(w, sim_listener_of(s));
        return;
    case SIM_DGRAM:
        ol_sim_dgram_discard(w, sim_dgram_of(s));
        return;
    }
}

/* ---- the driver's life ------------------------------------------------------------------- */

static int
op_open(struct ol_driver **out, const struct ol_driver_opts *opts)
{
    const ol_heap *heap = &opts->budget->heap;
    struct sim_driver *d;
    int err = opts->world ? ol_sim_call(opts->world) : 0;

    if (err)
        return err;
    d = ol_alloc_zero(heap, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->addrs = ol_alloc(heap, (size_t)2 * OL_BATCH_MAX * sizeof *d->addrs);
    if (!d->addrs)
        goto free_driver;
    d->world = opts->world;
    if (!d->world) {
        d->world = ol_sim_new(heap, opts->sim_seed, NULL);
        d->owns_world = true;
    }
    if (!d->world)
        goto free_addrs;

    d->base.ops = &ol_driver_sim;
    d->base.gathers = d->world->gathers;
    d->budget = ol_budget_ref(opts->budget);
    d->next = d->world->drivers;
    d->world->drivers = d;
    *out = &d->base;
    return 0;

free_addrs:
    ol_free(heap, d->addrs);
free_driver:
    ol_free(heap, d);
    return -ENOMEM;
}

/* Links may still be open in a forked child, and may be gone already: they are not looked into. */
static void
op_free(struct ol_driver *driver)
{
    struct sim_driver *d = sim_of(driver);
    struct ol_sim *w = d->world;
    struct ol_budget *budget = d->budget;
    struct sim_driver **at = &w->drivers;

    for (size_t i = 0; i < w->token_count; i++) {
        struct sim_socket *s = ol_sim_socket_at(w, i);

        if (s && s->driver == d)
            s->link = NULL;
    }
    for (size_t i = 0; i < w->token_count; i++) {
        struct sim_socket *s = ol_sim_socket_at(w, i);

        if (s && s->driver == d)
            discard_socket(w, s, true);
    }
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    if (d->owns_world)
        ol_sim_free(w);
    ol_sim_lent_fini(d);
    ol_free(&budget->heap, d->addrs);
    ol_free(&budget->heap, d);
    ol_budget_unref(budget);
}

/* ---- sockets ----------------------------------------------------------------------------- */

static bool
is_dgram(enum ol_link_kind kind)
{
    return kind == OL_LINK_DGRAM || kind == OL_LINK_LOCAL;
}

static int
op_listen(struct ol_driver *driver, struct ol_link *l, const struct ol_listen_spec *spec,
          struct ol_addr *bound)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    return is_dgram(spec->kind) ? ol_sim_dgram_listen(d, l, spec, bound)
                                : ol_sim_listen(d, l, spec, bound);
}

static int
op_accept_start(struct ol_driver *driver, struct ol_link *l)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    if (!err)
        ol_sim_listener_accept(d->world, sim_listener_of(socket_of(d, l)), true);
    return err;
}

static void
op_accept_stop(struct ol_driver *driver, struct ol_link *l)
{
    struct sim_driver *d = sim_of(driver);

    ol_sim_listener_accept(d->world, sim_listener_of(socket_of(d, l)), false);
}

static int
op_connect(struct ol_driver *driver, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    return is_dgram(spec->kind) ? ol_sim_dgram_connect(d, l, spec) : ol_sim_connect(d, l, spec);
}

static int
op_given(struct ol_driver *driver, int fd, struct ol_given *out)
{
    (void)driver;
    (void)fd;
    (void)out;
    return -EOPNOTSUPP; /* a real descriptor knows nothing of virtual time */
}

static int
op_pair(struct ol_driver *driver, int32_t tokens[2])
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    return err ? err : ol_sim_pair(d, tokens);
}

static int
op_adopt(struct ol_driver *driver, struct ol_link *l, enum ol_link_kind kind, int32_t token)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = ol_sim_socket_of(d->world, token);
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    OL_ASSERT(s->kind == SIM_END && !s->link);
    OL_ASSERT(sim_wire_of(sim_end_of(s))->packets == (kind == OL_LINK_PACKET));
    s->driver = d;
    s->link = l;
    ol_sim_link_init(l, kind, token);
    return 0;
}

static int
op_pass(struct ol_driver *driver, struct ol_link *l, unsigned max)
{
    (void)driver;
    (void)l;
    (void)max;
    return -EOPNOTSUPP; /* they are real ones */
}

static void
op_discard(struct ol_driver *driver, int32_t token, bool reset)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = ol_sim_socket_of(d->world, token);

    /* A listener that was bound and never started may be discarded, a stream that is in use not. */
    OL_ASSERT(s->kind != SIM_END || !s->link);
    s->link = NULL;
    discard_socket(d->world, s, reset);
}

static void
receive(struct sim_driver *d, struct ol_link *l, bool on)
{
    struct sim_socket *s = socket_of(d, l);

    if (s->kind == SIM_DGRAM)
        ol_sim_dgram_receive(d->world, sim_dgram_of(s), on);
    else
        ol_sim_end_receive(d->world, sim_end_of(s), on);
}

static int
op_receive_start(struct ol_driver *driver, struct ol_link *l)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    if (!err)
        receive(d, l, true);
    return err;
}

static void
op_receive_stop(struct ol_driver *driver, struct ol_link *l)
{
    receive(sim_of(driver), l, false);
}

static void
op_give_back(struct ol_driver *driver, struct ol_lent *bytes)
{
    ol_sim_give_back(sim_of(driver), bytes);
}

static int64_t
op_send_now(struct ol_driver *driver, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    return err ? err : ol_sim_end_send(d->world, stream_of(d, l), pieces, count, false);
}

static int64_t
op_send(struct ol_driver *driver, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    return err ? err : ol_sim_end_send(d->world, stream_of(d, l), pieces, count, true);
}

static bool
op_send_quiet(struct ol_driver *driver, struct ol_link *l, const struct iovec *piece)
{
    struct sim_driver *d = sim_of(driver);

    return ol_sim_call(d->world) == 0 && ol_sim_end_send_quiet(d->world, stream_of(d, l), piece);
}

static int
op_send_dgrams(struct ol_driver *driver, struct ol_link *l, const struct ol_dgram *messages,
               int count)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    if (!err && messages->segment)
        return -EOPNOTSUPP; /* no trains here */
    if (!err && l->kind == OL_LINK_PACKET)
        return ol_sim_end_send_messages(d->world, stream_of(d, l), messages, count);
    return err ? err : ol_sim_dgram_send(d->world, sim_dgram_of(socket_of(d, l)), messages, count);
}

static int
op_end_writing(struct ol_driver *driver, struct ol_link *l)
{
    struct sim_driver *d = sim_of(driver);
    int err = ol_sim_call(d->world);

    return err ? err : ol_sim_end_writing(d->world, stream_of(d, l));
}

static void
op_close(struct ol_driver *driver, struct ol_link *l, bool reset)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = socket_of(d, l);

    switch ((enum sim_kind)s->kind) {
    case SIM_END:
        ol_sim_end_close(d->world, sim_end_of(s), reset);
        return;
    case SIM_LISTENER:
        ol_sim_listener_close(d->world, sim_listener_of(s));
        return;
    case SIM_DGRAM:
        ol_sim_dgram_close(d->world, sim_dgram_of(s));
        return;
    }
}

static int
op_address(struct ol_driver *driver, struct ol_link *l, bool peer, struct ol_addr *out)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = socket_of(d, l);
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    switch ((enum sim_kind)s->kind) {
    case SIM_END:
        if (peer && s->state != SIM_OPEN)
            return -ENOTCONN;
        ol_sim_end_name(sim_end_of(s), peer, out);
        return 0;
    case SIM_LISTENER:
        if (peer)
            return -ENOTCONN;
        *out = sim_listener_of(s)->bound.at;
        return 0;
    case SIM_DGRAM:
        if (peer && !(s->flags & SIM_CONNECTED))
            return -ENOTCONN;
        *out = peer ? sim_dgram_of(s)->peer : sim_dgram_of(s)->bound.at;
        return 0;
    }
    return -ENOTSOCK;
}

/* All of the world is this process. */
static int
op_credentials(struct ol_driver *driver, struct ol_link *l, struct ol_credentials *out)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = socket_of(d, l);
    struct ol_addr a;
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    if (s->kind != SIM_END)
        return -EOPNOTSUPP;
    ol_sim_end_name(sim_end_of(s), true, &a);
    if (ol_sim_is_inet(&a))
        return -EOPNOTSUPP;
    *out = (struct ol_credentials){(uint32_t)getpid(), getuid(), getgid()};
    return 0;
}

/* Nothing is ever sent twice, because nothing gets lost on a stream. */
static int
op_tcp_facts(struct ol_driver *driver, struct ol_link *l, struct ol_tcp_facts *out)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = socket_of(d, l);
    struct ol_addr a;
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    if (s->kind != SIM_END)
        return -EOPNOTSUPP;
    ol_sim_end_name(sim_end_of(s), true, &a);
    if (!ol_sim_is_inet(&a))
        return -EOPNOTSUPP;
    if (s->state != SIM_OPEN)
        return -ENOTCONN;
    out->rtt_us = d->world->faults.delay_max_us + 2 * SIM_DELAY_MIN_US;
    out->retransmits = 0;
    return 0;
}

static int
op_dgram_facts(struct ol_driver *driver, struct ol_link *l, struct ol_dgram_facts *out)
{
    struct sim_driver *d = sim_of(driver);
    struct sim_socket *s = socket_of(d, l);
    const struct sim_dgram *g;
    int err = ol_sim_call(d->world);

    if (err)
        return err;
    if (s->kind != SIM_DGRAM)
        return -EOPNOTSUPP;
    g = sim_dgram_of(s);
    out->lost = g->lost;
    out->unread = g->local ? g->arrived.first != NULL : g->arrived.bytes;
    return 0;
}

static int
op_watch(struct ol_driver *driver, struct ol_link *l, int fd, unsigned events)
{
    (void)driver;
    (void)l;
    (void)fd;
    (void)events;
    return -EOPNOTSUPP; /* a real descriptor knows nothing of virtual time */
}

/* ---- waiting ----------------------------------------------------------------------------- */

static bool
complete(struct sim_driver *d, struct sim_socket *s, struct ol_completion *c,
         struct ol_addr addrs[2])
{
    switch ((enum sim_kind)s->kind) {
    case SIM_END:
        return ol_sim_end_complete(d->world, sim_end_of(s), c);
    case SIM_LISTENER:
        return ol_sim_listener_complete(d->world, sim_listener_of(s), c, &addrs[0]);
    case SIM_DGRAM:
        return ol_sim_dgram_complete(d->world, sim_dgram_of(s), c, addrs);
    }
    return false;
}

static bool
has_more(struct sim_driver *d, struct sim_socket *s)
{
    switch ((enum sim_kind)s->kind) {
    case SIM_END:
        return ol_sim_end_has(d->world, sim_end_of(s));
    case SIM_LISTENER:
        return ol_sim_listener_has(sim_listener_of(s));
    case SIM_DGRAM:
        return ol_sim_dgram_has(sim_dgram_of(s));
    }
    return false;
}

static int
op_wait(struct ol_driver *driver, ol_time until, struct ol_completion *out, int max)
{
    struct sim_driver *d = sim_of(driver);
    struct ol_sim *w = d->world;
    int n = 0;

    d->until = until;
    d->woken = false;
    ol_sim_run_due(w);
    if (ol_sim_quiet_is_due(d))
        ol_sim_quiet_tell(d);
    max = max < OL_BATCH_MAX ? max : OL_BATCH_MAX;
    if (max > 1 && ol_sim_odds(w, 4))
        max = 1 + (int)ol_rng_below(&w->rng, (uint64_t)max);
    while (n < max && d->ready) {
        struct ol_link *l = d->ready;
        struct sim_socket *s = ol_sim_socket_of(w, l->token);

        d->ready = l->next;
        l->next = NULL;
        s->flags &= (uint16_t)~SIM_READY;
        memset(&out[n], 0, sizeof out[n]);
        out[n].link = l;
        if (!complete(d, s, &out[n], &d->addrs[(size_t)2 * n]))
            continue;
        if (out[n++].kind != OL_CLOSED && has_more(d, s))
            ol_sim_ready(w, s);
        ol_sim_quiet_tell(d);
    }
    return n;
}

static void
op_wake(struct ol_driver *driver)
{
    sim_of(driver)->woken = true;
}

static ol_time
op_now(struct ol_driver *driver)
{
    return sim_of(driver)->world->now;
}

static int64_t
op_real_now(struct ol_driver *driver)
{
    return EPOCH_NS + sim_of(driver)->world->now;
}

static void
op_random(struct ol_driver *driver, void *bytes, size_t len)
{
    ol_rng_fill(&sim_of(driver)->world->rng, bytes, len);
}

static int
op_embed(struct ol_driver *driver)
{
    (void)driver;
    return -ENOTSUP;
}

/* A deadline that was found after the last wait(). */
static void
op_arm(struct ol_driver *driver, ol_time until)
{
    sim_of(driver)->until = until;
}

const struct ol_driver_ops ol_driver_sim = {
    .name = "sim",
    .open = op_open,
    .free = op_free,
    .listen = op_listen,
    .accept_start = op_accept_start,
    .accept_stop = op_accept_stop,
    .connect = op_connect,
    .given = op_given,
    .pair = op_pair,
    .adopt = op_adopt,
    .discard = op_discard,
    .pass = op_pass,
    .receive_start = op_receive_start,
    .receive_stop = op_receive_stop,
    .give_back = op_give_back,
    .send_now = op_send_now,
    .send = op_send,
    .send_quiet = op_send_quiet,
    .send_dgrams = op_send_dgrams,
    .end_writing = op_end_writing,
    .close = op_close,
    .address = op_address,
    .credentials = op_credentials,
    .tcp_facts = op_tcp_facts,
    .dgram_facts = op_dgram_facts,
    .watch = op_watch,
    .wait = op_wait,
    .wake = op_wake,
    .now = op_now,
    .real_now = op_real_now,
    .random = op_random,
    .embed = op_embed,
    .arm = op_arm,
};
