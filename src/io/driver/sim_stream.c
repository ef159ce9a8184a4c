/*
 * sim_stream.c - connections: how they come about, carry bytes, end and break.
 *
 * Each end has at most one event under way, and its state says what that is: the connect, its
 * answer, the next slice of bytes, the end, or a reset.  Hence order on a stream needs no care.
 *
 * What a newcomer gets wrong: closing is not harmless.  As with a kernel, closing with unread
 * input, or while the peer still sends, resets the connection, and what was on its way back is
 * lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_world.h"

enum { SYN_TRIES = 6, MESSAGE_PIECES = 32 };

#define SYN_GIVE_UP (127000 * OL_MS) /* Linux with its default of six retries */
#define SYN_AGAIN (1000 * OL_MS)     /* the first retry; each takes twice as long */

/* ---- lives ------------------------------------------------------------------------------- */

static struct sim_wire *
wire_new(struct ol_sim *w, const struct ol_addr *from, const struct ol_addr *to, bool packets)
{
    size_t size = sizeof(struct sim_wire) + ol_sim_name_size(from) + ol_sim_name_size(to);
    struct sim_wire *wire;

    if (ol_sim_reserve(w, 2))
        return NULL;
    wire = ol_alloc(w->heap, size);
    if (!wire) {
        ol_sim_unreserve(w, 2);
        return NULL;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct sim_end *e = &wire->end[i];

        ol_sim_socket_init(&e->s, SIM_END, NULL, NULL);
        e->out = NULL;
        e->err = 0;
        e->which = (uint8_t)i;
        e->tries = 0;
    }
    wire->packets = packets;
    (void)ol_sim_name_pack(
        to, ol_sim_name_pack(from, wire->names)); /* the end is known by its content */
    return wire;
}

static void
wire_free(struct ol_sim *w, struct sim_wire *wire)
{
    for (unsigned i = 0; i < 2; i++) {
        ol_sim_unschedule(w, &wire->end[i].s);
        ol_sim_pipe_free(w->heap, &wire->end[i].out);
    }
    ol_sim_unreserve(w, 2);
    ol_free(w->heap, wire);
}

static bool
held(const struct sim_end *e)
{
    return e->s.token >= 0 || (e->s.flags & SIM_QUEUED);
}

/* Once nobody holds either end nobody can see what is still on its way. */
static void
release(struct ol_sim *w, struct sim_end *e)
{
    if (e->s.token >= 0)
        ol_sim_token_give_back(w, &e->s);
    e->s.link = NULL;
    if (!held(e) && !held(sim_peer(e)))
        wire_free(w, sim_wire_of(e));
}

void
ol_sim_end_name(struct sim_end *e, bool peer, struct ol_addr *out)
{
    const uint8_t *second = ol_sim_name_unpack(sim_wire_of(e)->names, out);

    if ((e->which == 1) != peer)
        (void)ol_sim_name_unpack(second, out); /* the end is known by its content */
}

/* ---- what there is to tell --------------------------------------------------------------- */

static bool
connecting(const struct sim_end *e)
{
    return e->s.state == SIM_SYN || e->s.state == SIM_SYN_BACK || e->s.state == SIM_LOST;
}

/* How long the first message is, with its head; 0: it has not arrived yet. */
static size_t
first_message(const struct sim_pipe *in)
{
    uint32_t len;

    if (!ol_sim_pipe_peek(in, (uint8_t *)&len, sizeof len) || in->arrived < sizeof len + len)
        return 0;
    return sizeof len + len;
}

static size_t
unread(const struct sim_end *e)
{
    const struct sim_pipe *in = sim_peer(e)->out;

    if (sim_wire_of(e)->packets)
        return first_message(in);
    return in ? in->arrived : 0;
}

static bool
readable(const struct sim_end *e)
{
    return unread(e) > 0 || e->s.state == SIM_BROKEN || (e->s.flags & SIM_HEARD_END);
}

static size_t
send_room(const struct ol_sim *w, const struct sim_end *e)
{
    size_t max = w->faults.send_room ? w->faults.send_room : SIM_SEND_ROOM;
    size_t len = e->out ? e->out->len : 0;

    return len < max ? max - len : 0;
}

bool
ol_sim_end_has(struct ol_sim *w, const struct sim_end *e)
{
    if (e->s.flags & (SIM_CLOSING | SIM_TELL))
        return true;
    if (connecting(e))
        return false;
    if ((e->s.flags & (SIM_RECEIVING | SIM_LATE)) && readable(e))
        return true;
    if (e->s.flags & SIM_WANTS_ROOM)
        return e->s.state == SIM_BROKEN || send_room(w, e) > 0;
    if (!e->out || !e->out->pending || e->out->pending->finish == SIM_TAKEN_QUIETLY)
        return false;
    return e->out->pending->finish == SIM_TAKEN || e->s.state == SIM_BROKEN || send_room(w, e) > 0;
}

static void
tell(struct ol_sim *w, struct sim_end *e)
{
    if (e->s.link && !(e->s.flags & SIM_QUEUED) && ol_sim_end_has(w, e))
        ol_sim_ready(w, &e->s);
}

/* ---- breaking ---------------------------------------------------------------------------- */

/* Both ends at once.  Bytes that have arrived can mostly still be read, those on their way not. */
static void
wire_break(struct ol_sim *w, struct sim_wire *wire, int err)
{
    for (unsigned i = 0; i < 2; i++) {
        struct sim_end *e = &wire->end[i];

        if (e->s.state == SIM_BROKEN)
            continue;
        if (connecting(e))
            e->s.flags |= SIM_TELL;
        e->s.state = SIM_BROKEN;
        e->err = (uint16_t)err;
        ol_sim_unschedule(w, &e->s);
        ol_sim_pipe_cut(w->heap, &e->out, e->out && !ol_sim_odds(w, 4) ? e->out->arrived : 0);
    }
    tell(w, &wire->end[0]);
    tell(w, &wire->end[1]);
}

static int
take_err(struct sim_end *e, int otherwise)
{
    int err = e->err ? e->err : otherwise;

    e->err = 0;
    return -err;
}

/* ---- connecting -------------------------------------------------------------------------- */

int
ol_sim_pair(struct sim_driver *d, int32_t tokens[2])
{
    struct ol_sim *w = d->world;
    struct ol_addr none = {.kind = OL_ADDR_NONE};
    struct sim_wire *wire;

    if (ol_sim_chance(w, w->faults.socket_fails))
        return -EMFILE;
    wire = wire_new(w, &none, &none, false);
    if (!wire)
        return -ENOMEM;
    for (unsigned i = 0; i < 2; i++) {
        if (ol_sim_token_take(w, &wire->end[i].s))
            goto free_wire;
        wire->end[i].s.state = SIM_OPEN;
        wire->end[i].s.driver = d;
    }
    tokens[0] = wire->end[0].s.token;
    tokens[1] = wire->end[1].s.token;
    return 0;

free_wire:
    if (wire->end[0].s.token >= 0)
        ol_sim_token_give_back(w, &wire->end[0].s);
    wire_free(w, wire);
    return -ENOMEM;
}

static int
refusal(const struct ol_addr *to)
{
    return to->kind == OL_ADDR_PATH ? ENOENT : ECONNREFUSED;
}

int
ol_sim_connect(struct sim_driver *d, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct ol_sim *w = d->world;
    struct ol_addr to = spec->to;
    struct ol_addr from;
    struct sim_wire *wire;
    struct sim_end *e;

    if (ol_sim_chance(w, w->faults.socket_fails))
        return -EMFILE;
    if (to.kind == OL_ADDR_NONE)
        return -EAFNOSUPPORT;
    ol_sim_destination(&to);
    ol_sim_source(&to, &from);
    if (ol_sim_is_inet(&to)) {
        ol_sim_local(&spec->local, &from);
        if (from.port == 0)
            from.port = ol_sim_ephemeral_port(w);
    } else if (!ol_sim_find(w, SIM_LISTENER, &to, NULL) && ol_sim_odds(w, 2)) {
        return -refusal(&to); /* epoll hears of it at once, io_uring later: so either */
    }

    wire = wire_new(w, &from, &to, spec->kind == OL_LINK_PACKET);
    if (!wire)
        return -ENOMEM;
    e = &wire->end[0];
    if (ol_sim_token_take(w, &e->s)) {
        wire_free(w, wire);
        return -ENOMEM;
    }
    e->s.state = SIM_SYN;
    e->s.driver = d;
    e->s.link = l;
    ol_sim_link_init(l, spec->kind, e->s.token);
    ol_sim_schedule_if_idle(w, &e->s);
    return 0;
}

static void
answer(struct ol_sim *w, struct sim_end *e, int err)
{
    e->s.state = SIM_SYN_BACK;
    e->err = (uint16_t)err;
    ol_sim_schedule_if_idle(w, &e->s);
}

static void
syn_arrives(struct ol_sim *w, struct sim_end *e)
{
    struct sim_socket *s;
    struct ol_addr to;

    ol_sim_end_name(e, true, &to);
    if (ol_sim_is_inet(&to) && ol_sim_chance(w, w->faults.black_hole)) {
        e->s.state = SIM_LOST;
        ol_sim_schedule(w, &e->s, w->now + SYN_GIVE_UP);
        return;
    }
    s = ol_sim_find(w, SIM_LISTENER, &to, NULL);
    if (!s || ol_sim_chance(w, w->faults.refuse)) {
        answer(w, e, refusal(&to));
        return;
    }
    if (sim_listener_of(s)->packets != sim_wire_of(e)->packets) {
        answer(w, e, EPROTOTYPE);
        return;
    }
    if (ol_sim_listener_offer(w, sim_listener_of(s), sim_peer(e)) == 0) {
        answer(w, e, 0);
        return;
    }
    if (!ol_sim_is_inet(&to)) {
        answer(w, e, EAGAIN);
        return;
    }
    if (e->tries == SYN_TRIES) {
        wire_break(w, sim_wire_of(e), ETIMEDOUT);
        return;
    }
    ol_sim_schedule(w, &e->s, w->now + (SYN_AGAIN << e->tries++));
}

static void
answer_arrives(struct ol_sim *w, struct sim_end *e)
{
    if (e->err) {
        wire_break(w, sim_wire_of(e), e->err);
        return;
    }
    e->s.state = SIM_OPEN;
    e->s.flags |= SIM_TELL;
    tell(w, e);
}

/* ---- carrying ---------------------------------------------------------------------------- */

static bool
on_its_way(const struct sim_end *e)
{
    return e->out && e->out->len > e->out->arrived;
}

static void
deliver(struct ol_sim *w, struct sim_end *e)
{
    struct sim_end *peer = sim_peer(e);

    if (e->s.flags & SIM_RESETS || ol_sim_chance(w, w->faults.reset)) {
        wire_break(w, sim_wire_of(e), ECONNRESET);
        return;
    }
    if (on_its_way(e)) {
        if (!held(peer) || (peer->s.flags & SIM_CLOSING)) {
            wire_break(w, sim_wire_of(e), ECONNRESET); /* bytes for a closed socket */
            return;
        }
        e->out->arrived += (uint32_t)ol_sim_slice(w, e->out->len - e->out->arrived);
    } else if (e->s.flags & SIM_ENDED) {
        peer->s.flags |= SIM_HEARD_END;
    }
    tell(w, peer);
    if (on_its_way(e) || ((e->s.flags & SIM_ENDED) && !(peer->s.flags & SIM_HEARD_END)))
        ol_sim_schedule_if_idle(w, &e->s);
}

void
ol_sim_end_happens(struct ol_sim *w, struct sim_end *e)
{
    switch ((enum sim_state)e->s.state) {
    case SIM_SYN:
        syn_arrives(w, e);
        return;
    case SIM_SYN_BACK:
        answer_arrives(w, e);
        return;
    case SIM_LOST:
        wire_break(w, sim_wire_of(e), ETIMEDOUT);
        return;
    case SIM_OPEN:
        deliver(w, e);
        return;
    case SIM_UNUSED:
    case SIM_BROKEN:
        OL_ASSERT(e->s.state == SIM_OPEN); /* else nothing is under way */
    }
}

static int64_t
pend(struct ol_sim *w, struct sim_end *e, const struct iovec *pieces, int count)
{
    enum sim_finish finish = (enum sim_finish)ol_rng_below(&w->rng, 3);
    int err = ol_sim_pipe_pend(w->heap, &e->out, pieces, count, finish);

    if (err)
        return err;
    tell(w, e);
    return OL_SEND_PENDING;
}

/* ---- quiet sends ------------------------------------------------------------------------- */

static bool
can_be_quiet(struct ol_sim *w, const struct sim_end *e)
{
    return e->s.link->ops->is_awaited && e->s.driver->quiet_count < SIM_QUIET_MAX &&
           ol_sim_odds(w, 2);
}

/* Takes `n` bytes, all of them or not. */
static int64_t
send_quietly(struct ol_sim *w, struct sim_end *e, const struct iovec *pieces, int count, size_t n)
{
    struct sim_driver *d = e->s.driver;
    bool is_whole = n == ol_sim_pieces_len(pieces, count);
    int err = ol_sim_pipe_pend(w->heap, &e->out, pieces, count,
                               is_whole ? SIM_TAKEN_QUIETLY : SIM_TAKEN);

    if (err)
        return err;
    err = ol_sim_pipe_append(w->heap, &e->out, pieces, count, 0, n);
    if (err) {
        ol_sim_pipe_unpend(w->heap, &e->out);
        return err;
    }
    e->out->pending->taken = n;
    if (!is_whole) {
        tell(w, e);
    } else {
        if (d->quiet_count == 0)
            d->quiet_until = w->now + OL_QUIET_MS * OL_MS;
        d->quiet[d->quiet_count++] = e;
    }
    ol_sim_schedule_if_idle(w, &e->s);
    return OL_SEND_PENDING;
}

bool
ol_sim_end_send_quiet(struct ol_sim *w, struct sim_end *e, const struct iovec *piece)
{
    size_t room;

    OL_ASSERT(!(e->out && e->out->pending) && !(e->s.flags & SIM_CLOSING));
    if (e->s.state != SIM_OPEN || e->s.flags & SIM_ENDED || !can_be_quiet(w, e))
        return false;
    room = ol_min(send_room(w, e), piece->iov_len);
    return room > 0 && send_quietly(w, e, piece, 1, ol_sim_slice(w, room)) == OL_SEND_PENDING;
}

static void
forget_quiet(const struct sim_end *e)
{
    struct sim_driver *d = e->s.driver;
    unsigned i = 0;

    while (d->quiet[i] != e)
        i++;
    d->quiet[i] = d->quiet[--d->quiet_count];
}

bool
ol_sim_quiet_is_due(const struct sim_driver *d)
{
    if (d->quiet_count && d->quiet_until <= d->world->now)
        return true;
    for (unsigned i = 0; i < d->quiet_count; i++) {
        const struct ol_link *l = d->quiet[i]->s.link;

        if (l->ops->is_awaited(l))
            return true;
    }
    return false;
}

void
ol_sim_quiet_tell(struct sim_driver *d)
{
    while (d->quiet_count) {
        struct sim_end *e = d->quiet[--d->quiet_count];
        struct ol_link *l = e->s.link;

        if (l->ops->took && l->ops->took(l, e->out->pending->taken)) {
            ol_sim_pipe_unpend(d->world->heap, &e->out);
            continue;
        }
        e->out->pending->finish = SIM_TAKEN;
        tell(d->world, e);
    }
}

int64_t
ol_sim_end_send(struct ol_sim *w, struct sim_end *e, const struct iovec *pieces, int count,
                bool may_wait)
{
    size_t total = ol_sim_pieces_len(pieces, count);
    size_t n;
    int err;

    OL_ASSERT(!(e->out && e->out->pending) && !(e->s.flags & SIM_CLOSING));
    if (e->s.state == SIM_BROKEN)
        return e->err && ol_sim_odds(w, 2) ? -e->err : -EPIPE; /* the receiver is told too */
    if (e->s.flags & SIM_ENDED)
        return -EPIPE;
    if (total == 0)
        return 0;
    n = connecting(e) ? 0 : ol_min(send_room(w, e), total);
    if (n == 0 || ol_sim_odds(w, may_wait ? 4 : 8))
        return may_wait ? pend(w, e, pieces, count) : -EAGAIN;

    n = ol_sim_slice(w, n);
    if (may_wait && can_be_quiet(w, e))
        return send_quietly(w, e, pieces, count, n);
    err = ol_sim_pipe_append(w->heap, &e->out, pieces, count, 0, n);
    if (err)
        return err;
    ol_sim_schedule_if_idle(w, &e->s);
    return (int64_t)n;
}

static int
send_message(struct ol_sim *w, struct sim_end *e, const struct ol_dgram *m)
{
    struct iovec pieces[MESSAGE_PIECES];
    uint32_t len = (uint32_t)ol_sim_pieces_len(m->pieces, m->count);

    OL_ASSERT(len > 0 && m->count < MESSAGE_PIECES);
    if (len > OL_PACKET_MAX)
        return -EMSGSIZE;
    /* As with a kernel, what finds any room at all is taken whole. */
    if (connecting(e) || send_room(w, e) == 0 || ol_sim_odds(w, 8))
        return -EAGAIN;
    pieces[0] = (struct iovec){&len, sizeof len};
    memcpy(pieces + 1, m->pieces, (size_t)m->count * sizeof pieces[0]);
    return ol_sim_pipe_append(w->heap, &e->out, pieces, m->count + 1, 0, sizeof len + len);
}

int
ol_sim_end_send_messages(struct ol_sim *w, struct sim_end *e, const struct ol_dgram *messages,
                         int count)
{
    int most = (int)ol_sim_slice(w, (size_t)count);
    int err = 0;
    int taken = 0;

    OL_ASSERT(!(e->s.flags & SIM_CLOSING));
    if (e->s.state == SIM_BROKEN)
        return e->err && ol_sim_odds(w, 2) ? -e->err : -EPIPE; /* the receiver is told too */
    if (e->s.flags & SIM_ENDED)
        return -EPIPE;
    while (taken < most && !err) {
        err = send_message(w, e, &messages[taken]);
        taken += !err;
    }
    if (taken > 0)
        ol_sim_schedule_if_idle(w, &e->s);
    if (err && taken == 0 && err != -EAGAIN)
        return err;
    if (taken < count) {
        e->s.flags |= SIM_WANTS_ROOM;
        tell(w, e);
    }
    return taken > 0 || !err ? taken : err;
}

int
ol_sim_end_writing(struct ol_sim *w, struct sim_end *e)
{
    OL_ASSERT(!(e->out && e->out->pending) && !(e->s.flags & SIM_CLOSING));
    if (e->s.state != SIM_OPEN)
        return -ENOTCONN;
    if (!(e->s.flags & SIM_ENDED)) {
        e->s.flags |= SIM_ENDED;
        ol_sim_schedule_if_idle(w, &e->s);
    }
    return 0;
}

void
ol_sim_end_receive(struct ol_sim *w, struct sim_end *e, bool on)
{
    uint16_t was = e->s.flags;

    e->s.flags &= (uint16_t) ~(SIM_RECEIVING | SIM_LATE);
    if (on)
        e->s.flags |= SIM_RECEIVING;
    else if ((was & SIM_LATE) || ((was & SIM_RECEIVING) && readable(e) && ol_sim_odds(w, 4)))
        e->s.flags |= SIM_LATE;
    tell(w, e);
}

/* ---- ending ------------------------------------------------------------------------------ */

static void
send_reset(struct ol_sim *w, struct sim_end *e)
{
    e->s.flags |= SIM_RESETS;
    if (e->out)
        ol_sim_pipe_cut(w->heap, &e->out, e->out->arrived);
    ol_sim_schedule_if_idle(w, &e->s);
}

/* What the network sees of a close. */
static void
hang_up(struct ol_sim *w, struct sim_end *e, bool reset)
{
    if (connecting(e)) {
        wire_break(w, sim_wire_of(e), ECONNRESET);
        e->err = ECANCELED;
        if (ol_sim_odds(w, 2))
            e->s.flags &= (uint16_t)~SIM_TELL;
        return;
    }
    if (e->s.state != SIM_OPEN)
        return;
    if (reset || (unread(e) > 0 && !(e->s.flags & SIM_LATE)))
        send_reset(w, e);
    e->s.flags |= SIM_ENDED;
    ol_sim_schedule_if_idle(w, &e->s);
}

void
ol_sim_end_close(struct ol_sim *w, struct sim_end *e, bool reset)
{
    OL_ASSERT(!(e->s.flags & SIM_CLOSING));
    if ((e->s.flags & SIM_RECEIVING) && unread(e) > 0 && ol_sim_odds(w, 4))
        e->s.flags |= SIM_LATE; /* read before the cancel came, so it does not count as unread */
    e->s.flags &= (uint16_t)~SIM_RECEIVING;
    e->s.flags |= SIM_CLOSING;
    hang_up(w, e, reset);
    ol_sim_ready(w, &e->s);
}

void
ol_sim_end_discard(struct ol_sim *w, struct sim_end *e, bool reset)
{
    hang_up(w, e, reset);
    release(w, e);
}

void
ol_sim_end_refuse(struct ol_sim *w, struct sim_end *e)
{
    e->s.flags &= (uint16_t)~SIM_QUEUED;
    e->s.link = NULL;
    wire_break(w, sim_wire_of(e), ECONNRESET);
    release(w, e);
}

/* ---- completions ------------------------------------------------------------------------- */

static bool
received(struct ol_sim *w, struct sim_end *e, struct ol_completion *c)
{
    struct sim_end *peer = sim_peer(e);
    bool packets = sim_wire_of(e)->packets;
    size_t n = packets ? unread(e) : ol_min(unread(e), OL_RECEIVE_MIN);
    uint8_t head[sizeof(uint32_t)];
    uint8_t *to;

    if (!(e->s.flags & (SIM_RECEIVING | SIM_LATE)))
        return false;
    e->s.flags &= (uint16_t)~SIM_LATE;
    if (!readable(e))
        return false;

    c->kind = OL_RECEIVED;
    if (n == 0) {
        c->result = e->s.state == SIM_BROKEN ? take_err(e, 0) : 0;
        if (c->result == 0)
            ol_sim_lend_nothing(e->s.driver, &c->bytes);
        c->end = packets && c->result == 0;
        e->s.flags &= (uint16_t)~SIM_RECEIVING;
        return true;
    }
    n = packets ? n - sizeof head : ol_sim_slice(w, n);
    to = ol_sim_lend(e->s.driver, &c->bytes, n, OL_LENT_ROOM);
    if (!to) {
        c->result = -ENOMEM;
        e->s.flags &= (uint16_t)~SIM_RECEIVING;
        return true;
    }
    if (packets)
        ol_sim_pipe_read(w->heap, &peer->out, head, sizeof head);
    ol_sim_pipe_read(w->heap, &peer->out, to, n);
    c->result = (int32_t)n;
    c->more = (e->s.flags & SIM_RECEIVING) != 0;
    tell(w, peer); /* there is room again */
    return true;
}

static bool
sent(struct ol_sim *w, struct sim_end *e, struct ol_completion *c)
{
    struct sim_pending *p = e->out ? e->out->pending : NULL;

    if (e->s.flags & SIM_WANTS_ROOM && (e->s.state == SIM_BROKEN || send_room(w, e) > 0)) {
        e->s.flags &= (uint16_t)~SIM_WANTS_ROOM;
        c->kind = OL_SENT;
        return true;
    }
    if (!p || p->finish == SIM_TAKEN_QUIETLY)
        return false;
    c->kind = OL_SENT;
    if (p->finish == SIM_TAKEN) {
        c->result = (int32_t)p->taken;
    } else if (e->s.state == SIM_BROKEN) {
        c->result = p->taken > 0 ? (int32_t)p->taken : ol_sim_odds(w, 2) ? -EPIPE : -ECONNRESET;
    } else {
        size_t n = ol_min(send_room(w, e), p->total - p->taken);

        if (n == 0)
            return false;
        if (p->finish == SIM_FINISH_ROOM) {
            n = 0;
        } else {
            n = p->finish == SIM_FINISH_SOME ? ol_sim_slice(w, n) : n;
            if (ol_sim_pipe_append(w->heap, &e->out, p->pieces, p->count, p->taken, n))
                n = 0;
            else
                ol_sim_schedule_if_idle(w, &e->s);
            p->taken += n;
            if (n > 0 && p->finish == SIM_FINISH_ALL && p->taken < p->total)
                return false; /* on with it when there is room */
        }
        c->result = (int32_t)p->taken;
        if (n == 0 && p->taken == 0 && p->finish != SIM_FINISH_ROOM)
            c->result = -ENOMEM;
    }
    ol_sim_pipe_unpend(w->heap, &e->out);
    return true;
}

/* A cancelled send is sometimes heard of and sometimes not; its bytes are free either way. */
static bool
closed(struct ol_sim *w, struct sim_end *e, struct ol_completion *c)
{
    struct ol_link *l = e->s.link;

    if (e->out && e->out->pending) {
        size_t taken = e->out->pending->taken;

        if (e->out->pending->finish == SIM_TAKEN_QUIETLY)
            forget_quiet(e);
        ol_sim_pipe_unpend(w->heap, &e->out);
        if (ol_sim_odds(w, 2)) {
            c->kind = OL_SENT;
            c->result = taken > 0 ? (int32_t)taken : -ECANCELED;
            return true;
        }
    }
    if (received(w, e, c))
        return true;
    if (e->s.state == SIM_OPEN && unread(e) > 0)
        send_reset(w, e); /* the late read left some */
    c->kind = OL_CLOSED;
    release(w, e);
    ol_sim_link_fini(l);
    return true;
}

bool
ol_sim_end_complete(struct ol_sim *w, struct sim_end *e, struct ol_completion *c)
{
    if (e->s.flags & SIM_TELL) {
        e->s.flags &= (uint16_t)~SIM_TELL;
        c->kind = OL_CONNECTED;
        c->result = e->s.state == SIM_BROKEN ? take_err(e, ECONNRESET) : 0;
        return true;
    }
    if (e->s.flags & SIM_CLOSING)
        return closed(w, e, c);
    if (connecting(e))
        return false;
    if (ol_sim_odds(w, 2))
        return sent(w, e, c) || received(w, e, c);
    return received(w, e, c) || sent(w, e, c);
}
