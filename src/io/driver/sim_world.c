/*
 * sim_world.c - chance, the clock, the queue of events, and who is next.
 *
 * Nothing here may depend on an address in memory or on the order of a hash table: the same seed
 * must give the same run in every process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

/* Far from real descriptors, so that a stray close() of a token cannot hit one. */
enum { SIM_TOKEN_BASE = 1 << 20 };

struct ol_sim *
ol_sim_new(const ol_heap *heap, uint64_t seed, const struct ol_sim_faults *faults)
{
    struct ol_sim *w = ol_alloc_zero(heap, sizeof *w);
    struct ol_hash_key key;

    if (!w)
        return NULL;

    w->heap = heap;
    ol_rng_seed(&w->rng, seed);
    w->gathers = seed & 1;
    key.k0 = ol_rng_next(&w->rng);
    key.k1 = ol_rng_next(&w->rng);
    ol_map_init(&w->ports, heap, key);
    w->now = 1000 * OL_MS; /* not 0: a deadline of 0 must lie in the past */
    if (faults)
        w->faults = *faults;
    return w;
}

void
ol_sim_free(struct ol_sim *w)
{
    if (!w)
        return;
    OL_ASSERT(!w->drivers && w->open_sockets == 0); /* every socket goes with its driver */
    OL_ASSERT(w->event_count == 0 && w->socket_count == 0);
    ol_map_fini(&w->ports);
    ol_free(w->heap, w->tokens);
    ol_free(w->heap, w->events);
    ol_free(w->heap, w);
}

void
ol_sim_set_faults(struct ol_sim *w, const struct ol_sim_faults *faults)
{
    w->faults = *faults;
}

ol_time
ol_sim_now(const struct ol_sim *w)
{
    return w->now;
}

uint64_t
ol_sim_calls(const struct ol_sim *w)
{
    return w->calls;
}

size_t
ol_sim_open_sockets(const struct ol_sim *w)
{
    return w->open_sockets;
}

/* ---- chance ------------------------------------------------------------------------------ */

bool
ol_sim_chance(struct ol_sim *w, uint32_t parts)
{
    /* Without the first test every fault that is off would still shift all later draws. */
    return parts && ol_rng_next(&w->rng) % SIM_ODDS < parts;
}

bool
ol_sim_odds(struct ol_sim *w, unsigned n)
{
    return ol_rng_below(&w->rng, n) == 0;
}

size_t
ol_sim_slice(struct ol_sim *w, size_t n)
{
    uint64_t how;

    if (n <= 1)
        return n;
    how = ol_rng_below(&w->rng, 8);
    if (how < 5)
        return n;
    if (how == 5)
        return 1;
    return 1 + ol_rng_below(&w->rng, n);
}

ol_time
ol_sim_delay(struct ol_sim *w)
{
    uint64_t max = (uint64_t)w->faults.delay_max_us * 1000;

    return SIM_DELAY_MIN_US * 1000 + (max ? (ol_time)ol_rng_below(&w->rng, max + 1) : 0);
}

int
ol_sim_call(struct ol_sim *w)
{
    w->calls++;
    if (w->calls != w->faults.fail_call)
        return 0;
    return w->faults.fail_errno ? -w->faults.fail_errno : -EIO;
}

/* ---- events ------------------------------------------------------------------------------ */

int
ol_sim_reserve(struct ol_sim *w, size_t sockets)
{
    size_t need = w->socket_count + sockets;

    if (need > w->event_room) {
        size_t room = ol_max(need, w->event_room * 2);
        struct sim_event *events;

        room = ol_max(room, 16);
        events = ol_resize(w->heap, w->events, room * sizeof *events);
        if (!events)
            return -ENOMEM;
        w->events = events;
        w->event_room = room;
    }
    w->socket_count = need;
    return 0;
}

void
ol_sim_unreserve(struct ol_sim *w, size_t sockets)
{
    OL_ASSERT(w->socket_count >= sockets);
    w->socket_count -= sockets;
}

static bool
before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
put(struct ol_sim *w, size_t i, const struct sim_event *e)
{
    w->events[i] = *e;
    e->socket->slot = (uint32_t)i;
}

static void
sift_up(struct ol_sim *w, size_t i, struct sim_event e)
{
    while (i > 0 && before(&e, &w->events[(i - 1) / 2])) {
        put(w, i, &w->events[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(w, i, &e);
}

static void
sift_down(struct ol_sim *w, size_t i, struct sim_event e)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->event_count)
            break;
        if (child + 1 < w->event_count && before(&w->events[child + 1], &w->events[child]))
            child++;
        if (!before(&w->events[child], &e))
            break;
        put(w, i, &w->events[child]);
        i = child;
    }
    put(w, i, &e);
}

void
ol_sim_unschedule(struct ol_sim *w, struct sim_socket *s)
{
    size_t i = s->slot;
    struct sim_event last;

    if (s->slot == SIM_NO_SLOT)
        return;
    OL_ASSERT(i < w->event_count && w->events[i].socket == s);
    s->slot = SIM_NO_SLOT;
    last = w->events[--w->event_count];
    if (last.socket == s)
        return;
    if (i > 0 && before(&last, &w->events[(i - 1) / 2]))
        sift_up(w, i, last);
    else
        sift_down(w, i, last);
}

void
ol_sim_schedule(struct ol_sim *w, struct sim_socket *s, ol_time at)
{
    struct sim_event e = {.at = at, .socket = s, .order = (uint32_t)ol_rng_next(&w->rng)};

    ol_sim_unschedule(w, s);
    OL_ASSERT(w->event_count < w->event_room);
    w->event_count++;
    sift_up(w, w->event_count - 1, e);
}

void
ol_sim_schedule_if_idle(struct ol_sim *w, struct sim_socket *s)
{
    if (s->slot == SIM_NO_SLOT)
        ol_sim_schedule(w, s, w->now + ol_sim_delay(w));
}

void
ol_sim_run_due(struct ol_sim *w)
{
    while (w->event_count > 0 && w->events[0].at <= w->now) {
        struct sim_socket *s = w->events[0].socket;

        ol_sim_unschedule(w, s);
        switch ((enum sim_kind)s->kind) {
        case SIM_END:
            ol_sim_end_happens(w, sim_end_of(s));
            break;
        case SIM_DGRAM:
            ol_sim_dgram_happens(w, sim_dgram_of(s));
            break;
        case SIM_LISTENER:
            OL_ASSERT(s->kind != SIM_LISTENER); /* it has no events */
        }
    }
}

static bool
runnable(const struct sim_driver *d)
{
    return d->ready || d->woken || d->until <= d->world->now || ol_sim_quiet_is_due(d);
}

static struct sim_driver *
choose(struct ol_sim *w)
{
    struct sim_driver *chosen = NULL;
    unsigned count = 0;

    for (struct sim_driver *d = w->drivers; d; d = d->next)
        count += runnable(d);
    if (count == 0)
        return NULL;
    count = count == 1 ? 0 : (unsigned)ol_rng_below(&w->rng, count);
    for (struct sim_driver *d = w->drivers; d; d = d->next) {
        if (runnable(d) && count-- == 0)
            chosen = d;
    }
    return chosen;
}

struct ol_driver *
ol_sim_next(struct ol_sim *w, ol_time until)
{
    for (;;) {
        ol_time at = OL_NEVER;
        struct sim_driver *d;

        ol_sim_run_due(w);
        d = choose(w);
        if (d)
            return &d->base;

        if (w->event_count > 0)
            at = w->events[0].at;
        for (d = w->drivers; d; d = d->next) {
            at = d->until < at ? d->until : at;
            if (d->quiet_count && d->quiet_until < at)
                at = d->quiet_until;
        }
        if (at == OL_NEVER || at > until) {
            if (until != OL_NEVER && until > w->now)
                w->now = until;
            return NULL;
        }
        OL_ASSERT(at > w->now);
        w->now = at;
    }
}

/* ---- tokens ------------------------------------------------------------------------------ */

int
ol_sim_token_take(struct ol_sim *w, struct sim_socket *s)
{
    size_t i;

    OL_ASSERT(s->token < 0);
    if (w->token_free == 0) {
        size_t count = ol_max(8, w->token_count * 2);
        uintptr_t *tokens = ol_resize(w->heap, w->tokens, count * sizeof *tokens);

        if (!tokens)
            return -ENOMEM;
        for (i = w->token_count; i < count; i++)
            tokens[i] = (i + 1 < count ? i + 2 : 0) << 1 | 1;
        w->token_free = w->token_count + 1;
        w->tokens = tokens;
        w->token_count = count;
    }
    i = w->token_free - 1;
    w->token_free = w->tokens[i] >> 1;
    w->tokens[i] = (uintptr_t)s;
    s->token = SIM_TOKEN_BASE + (int32_t)i;
    w->open_sockets++;
    return 0;
}

void
ol_sim_token_give_back(struct ol_sim *w, struct sim_socket *s)
{
    size_t i = (size_t)(s->token - SIM_TOKEN_BASE);

    OL_ASSERT(ol_sim_socket_of(w, s->token) == s);
    w->tokens[i] = w->token_free << 1 | 1;
    w->token_free = i + 1;
    w->open_sockets--;
    s->token = -1;
}

struct sim_socket *
ol_sim_socket_at(const struct ol_sim *w, size_t i)
{
    return w->tokens[i] & 1 ? NULL : (struct sim_socket *)w->tokens[i];
}

struct sim_socket *
ol_sim_socket_of(const struct ol_sim *w, int32_t token)
{
    size_t i = (size_t)(token - SIM_TOKEN_BASE);

    OL_ASSERT(token >= SIM_TOKEN_BASE && i < w->token_count && !(w->tokens[i] & 1));
    return (struct sim_socket *)w->tokens[i];
}

/* ---- sockets and links ------------------------------------------------------------------- */

void
ol_sim_socket_init(struct sim_socket *s, enum sim_kind kind, struct sim_driver *d,
                   struct ol_link *l)
{
    memset(s, 0, sizeof *s);
    s->kind = (uint8_t)kind;
    s->driver = d;
    s->link = l;
    s->slot = SIM_NO_SLOT;
    s->token = -1;
}

void
ol_sim_link_init(struct ol_link *l, enum ol_link_kind kind, int32_t token)
{
    l->token = token;
    l->kind = (uint8_t)kind;
    l->flags = 0;
    l->pending = 0;
    l->work = NULL;
    l->next = NULL;
}

void
ol_sim_link_fini(struct ol_link *l)
{
    ol_sim_link_init(l, OL_LINK_NONE, -1);
}

/* Sometimes at the front, so that nobody relies on an order between links. */
void
ol_sim_ready(struct ol_sim *w, struct sim_socket *s)
{
    struct sim_driver *d = s->driver;

    if ((s->flags & (SIM_READY | SIM_QUEUED)) || !s->link)
        return;
    s->flags |= SIM_READY;
    if (d->ready && !ol_sim_odds(w, 4)) {
        s->link->next = NULL;
        d->ready_last->next = s->link;
        d->ready_last = s->link;
        return;
    }
    if (!d->ready)
        d->ready_last = s->link;
    s->link->next = d->ready;
    d->ready = s->link;
}
