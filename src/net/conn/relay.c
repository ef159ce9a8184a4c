/*
 * relay.c - two connections plugged together.
 *
 *     received --> on_message --> the other one's wire or queue --> above `high`: stop reading
 *                                  fell to `low`: read again <-----'
 *
 * Both ends share one object, claimed when the relay is made and given up when the connection is
 * destroyed.  An end belongs to its connection's reactor.  Where both live on one reactor the other
 * is called; else mail goes there, and every mail but those with bytes lies in the object already:
 * to stop, to go on and to end need no memory.
 *
 * What a newcomer gets wrong: who stops reading here must be sure that somebody will say when to go
 * on.  A send that was refused, or answered with more than `high`, is owed an on_writable by the
 * other connection, and that leads to ol_relay_room().
 *
 * SPDX-License-Identifier: MIT
 */
#include "msg.h"
#include "relay.h"
#include "wire.h"

struct ol_relay {
    _Atomic uint32_t refs; /* each end's connection, and each mail under way */
    struct ol_budget *budget;
    struct ol_relay_end ends[2];
};

static struct ol_relay_end *
end_of(const struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load_explicit(&c->cold->extra, memory_order_acquire);

    return extra ? atomic_load_explicit(&extra->relay, memory_order_acquire) : NULL;
}

static void
unref(struct ol_relay *relay)
{
    struct ol_budget *budget = relay->budget;

    if (atomic_fetch_sub_explicit(&relay->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < 2; i++) {
        outlet_buf_unref(relay->ends[i].held);
    }
    ol_free(&budget->heap, relay);
    ol_budget_unref(budget);
}

/* To that end's reactor.  If that has ended, so has the connection. */
static void
post(struct ol_relay_end *end, struct ol_mail *m)
{
    struct ol_reactor *r;
    struct ol_cell *cell;
    struct ol_handle h;
    uint32_t epoch;

    OL_ASSERT(ol_handle_unpack(end->id, OL_KIND_CONN, &h));
    cell = ol_cell_at(h.cell);
    r = cell ? ol_enter(cell, &epoch) : NULL;
    if (!r)
        return;
    atomic_fetch_add_explicit(&end->relay->refs, 1, memory_order_relaxed);
    ol_post(r, m);
    ol_leave(cell, epoch);
}

/* ---- the end of one is the end of both ----------------------------------------------------- */

static void
let_go(struct ol_conn *c, struct ol_relay_end *end)
{
    end->left = true;
    end->near = NULL;
    outlet_buf_unref(end->held);
    end->held = NULL;
    c->flags &= (uint16_t) ~(CONN_RELAYED | CONN_BLOCKED);
}

static void
follow(struct ol_conn *c, struct ol_relay_end *end, bool abort)
{
    if (end->left || end_of(c) != end) /* or it was claimed for another one */
        return;
    let_go(c, end);
    if (abort) {
        ol_conn_break(c, CAUSE_RELAY_BROKEN, OUTLET_ECANCELED, OUTLET_BY_US);
        return;
    }
    if (c->flags & CONN_PEER_ENDED) {
        ol_conn_close(c, OUTLET_BY_PEER);
        return;
    }
    if (ol_conn_state(c) == CONN_OPEN)
        ol_cause_set(c, CAUSE_RELAY_CLOSED, OUTLET_OK, OUTLET_BY_US, 0);
    ol_conn_close(c, OUTLET_BY_US);
}

static void
run_over(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_relay_end *end = OL_CONTAINER(m, struct ol_relay_end, over);
    struct ol_conn *c = ol_conn_find(r, end->id);

    if (c)
        follow(c, end, end->abort);
    unref(end->relay);
}

static void
end_other(struct ol_reactor *r, struct ol_relay_end *other, bool abort)
{
    struct ol_conn *c;

    if (other->is_near) {
        c = ol_conn_find(r, other->id);
        other->near = NULL;
        if (c)
            follow(c, other, abort);
    } else {
        other->abort = abort;
        post(other, &other->over);
    }
}

void
ol_relay_leave(struct ol_conn *c, enum ol_conn_state to)
{
    struct ol_relay_end *end = end_of(c);

    if (!end || end->left)
        return;
    let_go(c, end);
    end_other(c->cold->reactor, end->other, to != CONN_FLUSHING && c->code != OUTLET_OK);
}

void
ol_relay_forget(struct ol_conn *c)
{
    struct ol_relay_end *end = end_of(c);

    if (end && !end->left)
        let_go(c, end);
}

void
ol_relay_give_up(struct ol_conn *c, struct ol_relay_end *end)
{
    /* It was claimed while the connection was ending. */
    if (!end->left) {
        end->left = true;
        end_other(c->cold->reactor, end->other, true);
    }
    unref(end->relay);
}

/* ---- bytes ------------------------------------------------------------------------------- */

static void
block(struct ol_conn *c)
{
    if (c->flags & CONN_BLOCKED)
        return;
    c->flags |= CONN_BLOCKED;
    if (c->flags & CONN_RECEIVING) {
        c->flags &= (uint16_t)~CONN_RECEIVING;
        ol_conn_settings(c)->transport->receive_stop(c);
    }
}

/* As outlet_send() to the other one, but without looking for it. */
static int64_t
put(struct ol_conn *c, struct ol_relay_end *end, const uint8_t *bytes, size_t len)
{
    struct ol_wire *w = ol_wire_of(c);
    struct ol_conn *near = end->near;
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    int64_t result;

    if (!near || ol_conn_mailed(near)) /* not past what was posted before */
        return outlet_send((outlet_conn){end->other->id}, bytes, len);
    if (w->conn != near || !ol_wire_put(w, bytes, len, &result))
        result = ol_conn_send(near, &piece, 1, NULL);
    if (result >= 0)
        atomic_store_explicit(&near->active, c->cold->reactor->now, memory_order_relaxed);
    return result;
}

/* false: the rest, from *done on, has to wait.  true: all was taken, or nobody wants it. */
static bool
put_all(struct ol_conn *c, struct ol_relay_end *end, const uint8_t *bytes, size_t len, size_t *done)
{
    do {
        size_t part = ol_min(len - *done, end->piece);
        int64_t result = put(c, end, bytes + *done, part);

        if (end->left)
            return true; /* sending broke the other one, and so us */
        if (result == OUTLET_EFULL) {
            block(c);
            return false;
        }
        if (result == OUTLET_EINVAL && len == 0) {
            ol_conn_count_missed(c); /* the other one's transport has no empty messages */
            return true;
        }
        if (result == OUTLET_ESTATE || result == OUTLET_ESTALE)
            return true; /* it is closing, and its word about that is on the way */
        if (result < 0) {
            ol_conn_break(c, result == OUTLET_ENOMEM ? CAUSE_MEMORY : CAUSE_RELAY_CANNOT,
                          (outlet_err)result, OUTLET_BY_US);
            return true;
        }
        if ((uint64_t)result > end->high)
            block(c);
        *done += part;
    } while (*done < len);
    return true;
}

static void
hold(struct ol_conn *c, struct ol_relay_end *end, const uint8_t *bytes, size_t len)
{
    OL_ASSERT(!end->held);
    end->held = ol_buf_copy(c->cold->reactor->share.budget, bytes, len);
    end->held_at = 0;
    if (!end->held)
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
}

void
ol_relay_pass(struct ol_conn *c, const struct outlet_msg *m)
{
    struct ol_relay_end *end = end_of(c);
    size_t done = 0;

    if (m->flags & OUTLET_MSG_TRUNCATED)
        ol_conn_count_missed(c);
    else if (!put_all(c, end, m->bytes, m->len, &done))
        hold(c, end, m->bytes + done, m->len - done);
}

struct ol_conn *
ol_relay_near(const struct ol_conn *c)
{
    struct ol_conn *near = end_of(c)->near;

    return near && ol_conn_state(near) == CONN_OPEN ? near : NULL;
}

/* ---- room again -------------------------------------------------------------------------- */

/* false: it still does not fit, or the relay has ended. */
static bool
pass_held(struct ol_conn *c, struct ol_relay_end *end)
{
    struct outlet_buf *b = end->held;

    if (!b)
        return true;
    if (!put_all(c, end, b->bytes, b->len, &end->held_at) || end->left)
        return false; /* what has left let go of the buffer, too */
    end->held = NULL;
    outlet_buf_unref(b);
    return ol_conn_state(c) == CONN_OPEN;
}

static void
go_on(struct ol_conn *c, struct ol_relay_end *end)
{
    if (end->left || !(c->flags & CONN_BLOCKED))
        return;
    c->flags &= (uint16_t)~CONN_BLOCKED; /* put_all() may set it again */
    if (!pass_held(c, end) || c->flags & (CONN_BLOCKED | CONN_DELIVERING))
        return;
    ol_conn_limits_resume(c);
    ol_conn_deliver_held(c);
}

static void
run_room(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_relay_end *end = OL_CONTAINER(m, struct ol_relay_end, room);
    struct ol_conn *c = ol_conn_find(r, end->id);

    atomic_store(&end->room_under_way, false);
    if (c)
        go_on(c, end);
    unref(end->relay);
}

void
ol_relay_room(struct ol_conn *c)
{
    struct ol_relay_end *end = end_of(c);
    struct ol_relay_end *reader;
    struct ol_conn *near;

    if (!end || end->left)
        return;
    reader = end->other;
    if (reader->is_near) {
        near = ol_conn_find(c->cold->reactor, reader->id);
        if (near)
            go_on(near, reader);
    } else if (!atomic_exchange(&reader->room_under_way, true)) {
        post(reader, &reader->room);
    }
}

/* ---- a peer's end ------------------------------------------------------------------------ */

static void
run_fin(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_relay_end *end = OL_CONTAINER(m, struct ol_relay_end, fin);
    struct ol_conn *c = ol_conn_find(r, end->id);

    if (c)
        (void)ol_conn_end(c); /* closing already: then there is nothing to end */
    unref(end->relay);
}

bool
ol_relay_waits_to_end(const struct ol_conn *c)
{
    const struct ol_relay_end *end = end_of(c);

    return end->ended && !end->other_ends;
}

bool
ol_relay_peer_ended(struct ol_conn *c)
{
    struct ol_relay_end *end = end_of(c);
    struct ol_relay_end *other = end->other;

    if (end->held)
        return false; /* ol_conn_deliver_held() comes back here */
    if (end->ended)
        return true;
    end->ended = true;
    if (!end->other_ends) {
        const struct ol_settings *s = ol_conn_settings(c);

        if (s->flush != OL_NEVER)
            ol_conn_limit_by(c, c->cold->reactor->now + s->flush);
    } else if (end->near) {
        (void)ol_conn_end(end->near); /* closing already: then there is nothing to end */
    } else {
        post(other, &other->fin);
    }
    return true;
}

/* ---- made -------------------------------------------------------------------------------- */

static void
attach(struct ol_conn *c, struct ol_relay_end *end)
{
    if (end->left || ol_conn_state(c) >= CONN_FLUSHING)
        return;
    c->flags |= CONN_RELAYED;
    if (end->other->is_near)
        end->near = ol_conn_find(c->cold->reactor, end->other->id);
    if (c->flags & CONN_PEER_ENDED && ol_conn_state(c) == CONN_OPEN)
        ol_conn_peer_ended(c);
}

/* What has to be known of a connection to make a relay; read in its cell. */
struct facts {
    struct ol_budget *budget; /* a reference */
    uint32_t cell;
    bool has_borders;
    bool ends;
    size_t high;
    size_t max; /* of a message, or SIZE_MAX; and no more than `cap` */
};

static outlet_err
look(outlet_conn h, struct facts *out)
{
    const struct ol_settings *s;
    struct ol_visit v;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    s = atomic_load_explicit(&v.conn->settings, memory_order_acquire);
    *out = (struct facts){.budget = ol_budget_ref(v.reactor->share.budget),
                          .cell = v.reactor->cell->index,
                          .has_borders = !s->transport->stream || s->framing.kind != OL_FRAME_NONE,
                          .ends = s->transport->end_writing != NULL,
                          .high = s->high};
    out->max = s->cap;
    if (out->has_borders) /* the framing's own bytes count against `cap`, too */
        out->max = ol_min(s->framing.max, s->cap - ol_min(s->cap, OL_WIRE_AROUND_MAX));
    ol_visit_end(&v);
    return OUTLET_OK;
}

static void
run_attach(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_relay_end *end = OL_CONTAINER(m, struct ol_relay_end, attach);
    struct ol_conn *c = ol_conn_find(r, end->id);

    if (c && end_of(c) == end)
        attach(c, end);
    unref(end->relay);
}

static void
end_init(struct ol_relay_end *end, struct ol_relay *relay, outlet_conn h, const struct facts *own,
         const struct facts *of_other)
{
    end->relay = relay;
    end->other = &relay->ends[end == &relay->ends[0]];
    end->id = h.id;
    end->is_near = own->cell == of_other->cell;
    end->other_ends = own->ends && of_other->ends;
    end->high = of_other->high;
    end->piece = own->has_borders ? SIZE_MAX : ol_max(of_other->max, 1);
    end->attach.run = run_attach;
    end->room.run = run_room;
    end->fin.run = run_fin;
    end->over.run = run_over;
}

static outlet_err
relay_new(outlet_conn a, outlet_conn b, struct ol_relay **out)
{
    struct ol_relay *relay;
    struct facts of_a;
    struct facts of_b;
    outlet_err err = look(a, &of_a);

    if (err)
        return err;
    err = look(b, &of_b);
    if (err)
        goto unref_budget;
    ol_budget_unref(of_b.budget);
    relay = ol_alloc_zero(&of_a.budget->heap, sizeof *relay);
    if (!relay) {
        err = OUTLET_ENOMEM;
        goto unref_budget;
    }
    relay->budget = of_a.budget;
    atomic_store(&relay->refs, 1);
    end_init(&relay->ends[0], relay, a, &of_a, &of_b);
    end_init(&relay->ends[1], relay, b, &of_b, &of_a);
    *out = relay;
    return OUTLET_OK;

unref_budget:
    ol_budget_unref(of_a.budget);
    return err;
}

/* One relay for each connection: whoever comes first. */
static outlet_err
claim(struct ol_relay_end *end)
{
    struct ol_relay_end *none = NULL;
    struct ol_extra *extra;
    struct ol_visit v;
    outlet_err err = OUTLET_OK;

    if (!ol_visit_begin((outlet_conn){end->id}, &v))
        return OUTLET_ESTALE;
    extra = ol_conn_extra(v.conn);
    atomic_fetch_add_explicit(&end->relay->refs, 1, memory_order_relaxed);
    if (!extra)
        err = OUTLET_ENOMEM;
    else if (!atomic_compare_exchange_strong(&extra->relay, &none, end))
        err = OUTLET_EEXIST;
    if (err)
        unref(end->relay); /* not the last one: its maker has one, too */
    ol_visit_end(&v);
    return err;
}

static void
disclaim(struct ol_relay_end *end)
{
    struct ol_relay_end *ours = end;
    struct ol_visit v;

    if (!ol_visit_begin((outlet_conn){end->id}, &v))
        return; /* it is destroyed, and gives up its claim then */
    if (atomic_compare_exchange_strong(&ol_conn_extra(v.conn)->relay, &ours, NULL))
        unref(end->relay);
    ol_visit_end(&v);
}

static void
begin(struct ol_relay_end *end)
{
    struct ol_reactor *here = ol_current();
    struct ol_conn *c = here ? ol_conn_find(here, end->id) : NULL;

    if (c)
        attach(c, end);
    else
        post(end, &end->attach);
}

outlet_err
outlet_relay(outlet_conn a, outlet_conn b)
{
    struct ol_relay *relay;
    outlet_err err;

    if (a.id == b.id)
        return OUTLET_EINVAL;
    err = relay_new(a, b, &relay);
    if (err)
        return err;
    err = claim(&relay->ends[0]);
    if (err)
        goto unref_relay;
    err = claim(&relay->ends[1]);
    if (err)
        goto disclaim_first;
    /* Neither begins before both are claimed: what one says finds the other. */
    begin(&relay->ends[1]);
    begin(&relay->ends[0]);
    unref(relay);
    return OUTLET_OK;

disclaim_first:
    disclaim(&relay->ends[0]);
unref_relay:
    unref(relay);
    return err;
}
