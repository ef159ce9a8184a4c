/*
 * conn.c - the life of a connection: made, opened, closed, told, given back.
 *
 * One function writes the state.  A connection ends in ol_conn_closed(), which runs from a driver's
 * completion, from mail or at the end of a turn, never inside a public call: that is why every
 * function here may be used in a callback.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "relay.h"
#include "wire.h"

#include <errno.h>

static const unsigned moves[] = {
    [CONN_NONE] = OL_BIT(CONN_DIALING) | OL_BIT(CONN_SHAKING) | OL_BIT(CONN_CLOSING),
    [CONN_DIALING] = OL_BIT(CONN_SHAKING) | OL_BIT(CONN_CLOSING) | OL_BIT(CONN_CLOSED),
    [CONN_SHAKING] = OL_BIT(CONN_OPEN) | OL_BIT(CONN_CLOSING),
    [CONN_OPEN] = OL_BIT(CONN_FLUSHING) | OL_BIT(CONN_CLOSING),
    [CONN_FLUSHING] = OL_BIT(CONN_LINGERING) | OL_BIT(CONN_CLOSING),
    [CONN_LINGERING] = OL_BIT(CONN_CLOSING),
    [CONN_CLOSING] = OL_BIT(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

void
ol_conn_move(struct ol_conn *c, enum ol_conn_state to)
{
    OL_ASSERT(moves[ol_conn_state(c)] & OL_BIT(to));
    /* The last one in one order with the extra part, for names.c: who names and who ends must see
     * each other. */
    if (to == CONN_CLOSED)
        atomic_store(&c->state, (uint8_t)to);
    else
        atomic_store_explicit(&c->state, (uint8_t)to, memory_order_release);
    if (to >= CONN_FLUSHING)
        ol_relay_leave(c, to);
}

const char *
ol_conn_state_name(enum ol_conn_state s)
{
    static const char *const names[] = {
        [CONN_NONE] = "none",       [CONN_DIALING] = "connecting", [CONN_SHAKING] = "handshake",
        [CONN_OPEN] = "open",       [CONN_FLUSHING] = "flushing",  [CONN_LINGERING] = "lingering",
        [CONN_CLOSING] = "closing", [CONN_CLOSED] = "closed"};

    return names[s];
}

static struct ol_slots *
slots_of(struct ol_reactor *r)
{
    return &r->slots[OL_KIND_CONN];
}

/* ---- made -------------------------------------------------------------------------------- */

/* A reactor's own is of this turn; from elsewhere it may not be looked at. */
static ol_time
time_of_birth(const struct ol_reactor *r)
{
    return ol_current() == r ? r->now : ol_driver_now(r->driver);
}

outlet_err
ol_conn_new(struct ol_reactor *r, struct ol_settings *s, void *user, struct ol_conn **out)
{
    struct ol_handle h = {.kind = OL_KIND_CONN, .cell = r->cell->index};
    void *hot;
    void *cold;
    struct ol_conn *c;
    ol_time born;
    outlet_err err = ol_slot_take(slots_of(r), &h.slot, &h.generation, &hot, &cold);

    if (err)
        return err;
    c = hot;
    c->id = ol_handle_pack(h);
    c->cold = cold;
    c->cold->conn = c;
    c->cold->reactor = r;
    c->link.ops = &ol_conn_link_ops;
    c->link.token = -1;
    born = time_of_birth(r);
    c->cold->born = (uint32_t)(born / (OL_MS * 125));
    atomic_store_explicit(&c->active, born, memory_order_relaxed);
    atomic_store_explicit(&c->settings, ol_settings_ref(s), memory_order_relaxed);
    atomic_store_explicit(&c->user, user, memory_order_relaxed);
    *out = c;
    return OUTLET_OK;
}

void
ol_conn_publish(struct ol_conn *c)
{
    ol_slot_publish(slots_of(c->cold->reactor), ol_handle_slot(c->id));
}

void
ol_conn_begin(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;

    OL_ASSERT(ol_current() == r);
    r->live++;
    r->busy++;
    atomic_store_explicit(&c->active, r->now, memory_order_relaxed);
}

static void
untie(struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);

    while (extra && !ol_list_empty(&extra->ties)) {
        struct ol_tie *t = OL_CONTAINER(extra->ties.next, struct ol_tie, node);

        ol_list_remove(&t->node);
        t->conn_gone(c, t);
    }
}

static void
destroy(struct ol_reactor *r, struct ol_retired *x)
{
    struct ol_conn_cold *cold = OL_CONTAINER(x, struct ol_conn_cold, retired);
    struct ol_conn *c = cold->conn;
    struct ol_extra *extra = atomic_load(&cold->extra);

    if (extra) {
        if (atomic_load(&extra->relay))
            ol_relay_give_up(c, atomic_load(&extra->relay));
        ol_dial_free(r, extra->dial);
        ol_fds_fini(c);
        ol_conn_local_free(c);
        ol_free(r->heap, extra);
    }
    ol_settings_unref(ol_conn_settings(c));
    ol_slot_give_back(slots_of(r), ol_handle_slot(c->id));
}

void
ol_conn_discard(struct ol_conn *c)
{
    destroy(c->cold->reactor, &c->cold->retired); /* no visitor can know it */
}

void
ol_conn_abandon(struct ol_conn *c, bool at_rest)
{
    struct ol_reactor *r = c->cold->reactor;
    enum ol_conn_state s = ol_conn_state(c);

    /* In other states the driver may have been told to close it. */
    ol_link_abandon(r, &c->link, at_rest && s >= CONN_OPEN && s < CONN_CLOSING);
    if (!at_rest)
        return;
    if (c->queue)
        c->queue->dirty = false;
    ol_conn_queue_free(c);
    ol_conn_input_free(c);
    untie(c);
    ol_name_forget(c);
    ol_relay_forget(c);
    ol_alarm_clear(r, &c->cold->alarm);
    ol_slot_hide(slots_of(r), ol_handle_slot(c->id));
    destroy(r, &c->cold->retired);
}

struct ol_extra *
ol_conn_extra(struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load_explicit(&c->cold->extra, memory_order_acquire);
    struct ol_extra *none = NULL;

    if (extra)
        return extra;
    extra = ol_alloc_zero(c->cold->reactor->heap, sizeof *extra);
    if (!extra)
        return NULL;
    ol_list_init(&extra->ties);
    /* Naming happens on any thread, joining on the reactor: the first one's wins. */
    if (!atomic_compare_exchange_strong(&c->cold->extra, &none, extra)) {
        ol_free(c->cold->reactor->heap, extra);
        return none;
    }
    return extra;
}

/* ---- opened ------------------------------------------------------------------------------ */

void
ol_conn_receive_start(struct ol_conn *c)
{
    int sys;

    if (c->flags & (CONN_RECEIVING | CONN_PEER_ENDED | CONN_STOPPED | CONN_STARVED))
        return;
    c->flags |= CONN_RECEIVING;
    sys = ol_conn_settings(c)->transport->receive_start(c);
    if (sys < 0) {
        c->flags &= (uint16_t)~CONN_RECEIVING;
        ol_conn_fail(c, -sys);
    }
}

void
ol_conn_linked_up(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_reactor *r = c->cold->reactor;
    int sys;

    atomic_store_explicit(&c->active, r->now, memory_order_relaxed);
    ol_conn_move(c, CONN_SHAKING);
    ol_conn_move(c, CONN_OPEN); /* no filter has a handshake yet */
    ol_conn_limits_open(c);
    sys = s->fds ? ol_fds_start(c) : 0;
    if (sys < 0) {
        ol_conn_fail(c, -sys);
        return;
    }
    if (s->on.on_open)
        s->on.on_open(ol_conn_handle(c), atomic_load_explicit(&c->user, memory_order_relaxed));
    if (ol_conn_state(c) == CONN_OPEN)
        ol_conn_receive_start(c);
    if (c->queue)
        ol_conn_mark_dirty(c); /* sent before open */
    else if (c->flags & CONN_END_ASKED)
        ol_conn_after_flush(c);
}

/* ---- closed ------------------------------------------------------------------------------ */

static void
shut(struct ol_conn *c, bool reset)
{
    struct ol_wire *w = ol_wire_of(c);

    if (ol_conn_state(c) >= CONN_CLOSING)
        return;
    if (w->conn == c)
        ol_wire_close(w); /* as what is queued: an end without order discards it */
    ol_conn_move(c, CONN_CLOSING);
    if (c->flags & CONN_LINKED)
        ol_conn_settings(c)->transport->close(c, reset);
    /* else a dial is under way that will find the state, or the maker ends it */
}

void
ol_conn_break(struct ol_conn *c, uint8_t cause, outlet_err code, enum outlet_side side)
{
    bool reset = code != OUTLET_OK;

    /* Closing in order was the plan, and is not what happens to what is still queued. */
    if (reset && ol_conn_state(c) == CONN_FLUSHING && ol_conn_has_unsent(c))
        c->cause = CAUSE_NONE;
    ol_cause_set(c, (enum ol_cause)cause, code, side, 0);
    shut(c, reset);
}

static enum outlet_side
side_of(int sys_errno)
{
    return sys_errno == ECONNRESET || sys_errno == EPIPE || sys_errno == ECONNREFUSED
               ? OUTLET_BY_PEER
               : OUTLET_BY_SYSTEM;
}

/* An error while we discard a peer's last words changes nothing: ours were sent. */
void
ol_conn_fail(struct ol_conn *c, int sys_errno)
{
    enum ol_conn_state s = ol_conn_state(c);

    if (s == CONN_FLUSHING && ol_conn_has_unsent(c)) {
        c->cause = CAUSE_NONE;
    }
    ol_cause_set(c, CAUSE_SYSTEM, ol_err_from_errno(sys_errno), side_of(sys_errno), sys_errno);
    shut(c, true);
}

void
ol_conn_flush_step(struct ol_conn *c)
{
    const struct ol_transport *t = ol_conn_settings(c)->transport;

    if (ol_conn_has_unsent(c) || ol_conn_mailed(c))
        return;
    /* Both sides are done: closing ends ours, and nothing is unread. */
    if (!t->end_writing || c->flags & CONN_PEER_ENDED) {
        shut(c, false);
        return;
    }
    if (!(c->flags & CONN_ENDED)) {
        c->flags |= CONN_ENDED;
        if (t->end_writing(c) < 0) {
            shut(c, true); /* not connected any more: nothing to wait for */
            return;
        }
    }
    if (ol_conn_state(c) == CONN_FLUSHING)
        ol_conn_move(c, CONN_LINGERING);
}

/*
 * What the peer still sends must be read, paused or not: a peer that waits for us to read does not
 * read either, and closing over unread input makes the kernel reset the connection, which destroys
 * what the peer has not read of ours.
 */
static void
discard_input(struct ol_conn *c)
{
    if (c->flags & CONN_STARVED)
        ol_net_of(c->cold->reactor)->starved--;
    c->flags &= (uint16_t) ~(CONN_STOPPED | CONN_STARVED);
    ol_conn_receive_start(c);
}

void
ol_conn_close(struct ol_conn *c, enum outlet_side side)
{
    enum ol_conn_state s = ol_conn_state(c);

    if (s == CONN_DIALING || s == CONN_SHAKING || s == CONN_NONE) {
        ol_conn_break(c, CAUSE_ABORT, OUTLET_ECANCELED, OUTLET_BY_US);
        return;
    }
    ol_wire_leave(c);
    if (ol_conn_state(c) != CONN_OPEN)
        return;
    ol_cause_set(c, side == OUTLET_BY_US ? CAUSE_US : CAUSE_PEER, OUTLET_OK, side, 0);
    ol_conn_move(c, CONN_FLUSHING);
    ol_conn_mail_shut(c);
    atomic_store_explicit(&c->active, c->cold->reactor->now, memory_order_relaxed);
    discard_input(c);
    if (ol_conn_state(c) != CONN_FLUSHING)
        return; /* it could not be started: the link is broken and being closed */
    /* The queue may hold what this turn sent: it leaves at the turn's end, then the step is taken.
     */
    if (c->queue)
        ol_conn_mark_dirty(c);
    else
        ol_conn_flush_step(c);
    if (ol_conn_state(c) < CONN_CLOSING)
        ol_conn_limits_start(c); /* it waits for the peer, and not for ever */
}

void
ol_conn_peer_ended(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);

    c->flags |= CONN_PEER_ENDED;
    c->flags &= (uint16_t)~CONN_RECEIVING;
    if (ol_conn_state(c) == CONN_LINGERING || ol_conn_state(c) == CONN_FLUSHING) {
        ol_conn_flush_step(c);
        return;
    }
    /* Messages held back come first; ol_conn_deliver_held() returns here. */
    if (ol_conn_state(c) != CONN_OPEN || (c->input && c->flags & (CONN_STOPPED | CONN_RESUMING)))
        return;
    ol_conn_deliver_silent(c); /* its end is as good as a silence */
    if (ol_conn_state(c) != CONN_OPEN)
        return;
    if (c->input)
        ol_cause_set(c, CAUSE_CUT_SHORT, OUTLET_EEOF, OUTLET_BY_PEER, 0);
    else if (c->flags & CONN_RELAYED && !ol_relay_peer_ended(c))
        return;
    if (ol_conn_state(c) != CONN_OPEN)
        return; /* so both had ended */
    if (!(s->half_open || c->flags & CONN_RELAYED) || c->input || c->flags & CONN_ENDED) {
        ol_conn_close(c, OUTLET_BY_PEER);
        return;
    }
    if (c->flags & CONN_END_TOLD || !s->half_open)
        return; /* a resume after it leads here again */
    c->flags |= CONN_END_TOLD;
    if (s->on.on_event)
        s->on.on_event(ol_conn_handle(c), OUTLET_EVENT_END, 0,
                       atomic_load_explicit(&c->user, memory_order_relaxed));
}

/* ---- told and given back ----------------------------------------------------------------- */

static void
tell(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct outlet_reason why;

    if (!s->on.on_close || c->flags & CONN_UNTOLD)
        return;
    ol_cause_tell(c, &why);
    s->on.on_close(ol_conn_handle(c), &why, atomic_load_explicit(&c->user, memory_order_relaxed));
}

void
ol_conn_uncount(struct ol_conn *c)
{
    struct ol_addr peer;

    if (!(c->flags & CONN_COUNTED))
        return;
    c->flags &= (uint16_t)~CONN_COUNTED;
    ol_shown_addr_get(&c->cold->peer, &peer);
    ol_counts_leave(ol_conn_settings(c)->counts, &peer);
}

void
ol_conn_closed(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_net *n = ol_net_of(r);

    OL_ASSERT(ol_current() == r);
    if (ol_conn_state(c) != CONN_CLOSED)
        ol_conn_move(c, CONN_CLOSED);
    if (c->flags & CONN_STARVED)
        n->starved--;
    c->flags &= (uint16_t) ~(CONN_LINKED | CONN_RECEIVING | CONN_STARVED);
    ol_conn_queue_free(c);
    ol_fds_fini(c);
    untie(c);
    tell(c);
    ol_conn_input_free(c); /* on_close may ask how much it was */
    ol_name_forget(c);
    ol_conn_uncount(c);
    ol_alarm_clear(r, &c->cold->alarm);
    ol_slot_hide(slots_of(r), ol_handle_slot(c->id));
    ol_retire(r, &c->cold->retired, destroy);
    r->live--;
    r->busy--;
}

void
ol_conn_end_later(struct ol_conn *c)
{
    struct ol_net *n = ol_net_of(c->cold->reactor);

    if (c->flags & CONN_ENDING)
        return;
    c->flags |= CONN_ENDING;
    c->link.next = (struct ol_link *)(void *)n->ending;
    n->ending = c;
}

/* ---- addresses as published words -------------------------------------------------------- */

void
ol_shown_addr_set(struct ol_shown_addr *s, const struct ol_addr *a)
{
    uint64_t words[OL_COUNT(s->words)];

    memcpy(words, a, sizeof words);
    for (size_t i = 0; i < OL_COUNT(words); i++) {
        atomic_store_explicit(&s->words[i], words[i], memory_order_relaxed);
    }
}

void
ol_shown_addr_get(const struct ol_shown_addr *s, struct ol_addr *out)
{
    uint64_t words[OL_COUNT(s->words)];

    for (size_t i = 0; i < OL_COUNT(words); i++) {
        words[i] = atomic_load_explicit(&s->words[i], memory_order_relaxed);
    }
    memset(out, 0, sizeof *out);
    memcpy(out, words, sizeof words);
}
