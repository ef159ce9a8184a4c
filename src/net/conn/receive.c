/*
 * receive.c - bytes that arrived become messages that are delivered.
 *
 *     lent bytes --+--> messages, straight from the driver's block (the usual case)
 *                  \--> an unfinished message is copied into `input` --> messages from there
 *
 * A pause in the middle of a batch holds the rest back in `input`.  What a newcomer gets wrong: the
 * callback may pause, close, abort, or change the framing; look again after each one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "msg.h"
#include "relay.h"
#include "wire.h"

/* Receives under way when a pause is asked for still arrive: a driver's whole buffer ring at most.
 */
enum { LATE_MAX = 8 << 20 };

enum { INPUTS_KEPT = 256, INPUTS_KEPT_BYTES = 4 << 20 };

static inline bool
deliverable(const struct ol_conn *c)
{
    return ol_conn_state(c) == CONN_OPEN && !(c->flags & CONN_STOPPED);
}

static OL_INSIDE void
deliver(struct ol_conn *c, struct outlet_msg *m, size_t whole)
{
    const struct ol_settings *s = ol_conn_settings(c);

    ol_count_add(&c->messages_in, 1);
    if (OL_UNLIKELY(s->fds))
        ol_fds_told(c, whole);
    if (OL_LIKELY(s->on.on_message))
        s->on.on_message(ol_conn_handle(c), m,
                         atomic_load_explicit(&c->user, memory_order_relaxed));
    if (OL_UNLIKELY(c->flags & CONN_RELAYED))
        ol_relay_pass(c, m);
    if (OL_UNLIKELY(s->fds))
        ol_fds_drop_told(c);
}

OL_SELDOM static void
refuse(struct ol_conn *c, int code)
{
    if (code == OUTLET_EMSGSIZE)
        ol_conn_break(c, CAUSE_TOO_LONG, OUTLET_EMSGSIZE, OUTLET_BY_PEER);
    else
        ol_conn_break(c, CAUSE_FRAMING, (outlet_err)code, OUTLET_BY_PEER);
}

/* ---- input held by us -------------------------------------------------------------------- */

/* A free one with its memory, of which more is charged now; or a new one. */
static struct ol_input *
take_input(struct ol_reactor *r)
{
    struct ol_inputs *f = &ol_net_of(r)->inputs;
    struct ol_input *in = f->first;
    struct ol_bytes bytes;

    if (!in)
        return ol_alloc_zero(r->heap, sizeof *in);
    f->first = in->next_free;
    f->count--;
    f->bytes -= in->bytes.room;
    bytes = in->bytes;
    if (bytes.room && !ol_share_charge(&r->share, bytes.room)) {
        ol_free(r->heap, bytes.data); /* less may still be there */
        bytes = (struct ol_bytes){0};
    }
    *in = (struct ol_input){.bytes = {.data = bytes.data, .room = bytes.room}};
    return in;
}

static struct ol_input *
input_of(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_input *in = c->input;
    size_t max = LATE_MAX;

    if (in)
        return in;
    in = take_input(r);
    if (!in)
        return NULL;
    if (!ol_add(max, s->filter->hold_max(&s->framing), &max))
        max = SIZE_MAX;
    in->bytes.share = &r->share;
    in->bytes.max = max;
    in->since = r->now;
    c->input = in;
    return in;
}

void
ol_conn_input_free(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_inputs *f = &ol_net_of(r)->inputs;
    struct ol_input *in = c->input;

    if (!in)
        return;
    c->input = NULL;
    if (f->count >= INPUTS_KEPT || in->bytes.room > INPUTS_KEPT_BYTES - f->bytes) {
        ol_bytes_fini(&in->bytes);
        ol_free(r->heap, in);
        return;
    }
    ol_share_release(&r->share, in->bytes.room);
    in->next_free = f->first;
    f->first = in;
    f->count++;
    f->bytes += in->bytes.room;
}

void
ol_inputs_free(struct ol_inputs *f, const ol_heap *heap)
{
    while (f->first) {
        struct ol_input *in = f->first;

        f->first = in->next_free;
        ol_free(heap, in->bytes.data);
        ol_free(heap, in);
    }
    *f = (struct ol_inputs){0};
}

/* An unfinished message ends in time, or ends its connection. */
static void
limit_input(struct ol_conn *c)
{
    const struct ol_settings *s = ol_conn_settings(c);
    ol_time silence = ol_conn_silence(c);
    ol_time by = s->partial == OL_NEVER ? OL_NEVER : c->input->since + s->partial;

    if (silence != OL_NEVER)
        by = c->input->last + silence < by ? c->input->last + silence : by;
    ol_conn_limit_by(c, by);
}

/* false: no memory, and the connection is being ended. */
OL_APART static bool
hold(struct ol_conn *c, const uint8_t *bytes, size_t len)
{
    struct ol_input *in = input_of(c);

    if (!in || ol_bytes_append(&in->bytes, bytes, len)) {
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
        return false;
    }
    in->last = c->cold->reactor->now;
    limit_input(c);
    return true;
}

/* ---- messages held with their borders ---------------------------------------------------- */

enum { HELD_HEAD = 4 };
#define HELD_CUT (UINT32_C(1) << 31) /* beside the length: it was truncated */

static uint32_t
held_head(const uint8_t *at)
{
    uint32_t head;

    memcpy(&head, at, sizeof head);
    return head;
}

/* Always whole: what is held was whole. */
static int
held_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
          struct outlet_frame *out)
{
    (void)f;
    (void)scan;
    OL_ASSERT(len >= HELD_HEAD);
    *out = (struct outlet_frame){.skip = HELD_HEAD, .message = held_head(bytes) & ~HELD_CUT};
    OL_ASSERT(out->message <= len - HELD_HEAD);
    return 1;
}

static bool
hold_message(struct ol_conn *c, const struct outlet_msg *m)
{
    uint32_t head = (uint32_t)m->len | (m->flags & OUTLET_MSG_TRUNCATED ? HELD_CUT : 0);

    return hold(c, (const uint8_t *)&head, sizeof head) && hold(c, m->bytes, m->len);
}

/* All of it: silence ended it.  `max` was looked at with each byte that came. */
static int
silent_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
            size_t len, struct outlet_frame *out)
{
    (void)scan;
    (void)bytes;
    OL_ASSERT(len <= f->max);
    *out = (struct outlet_frame){.message = len};
    return 1;
}

/*
 * Messages from the held bytes, by `ended` (NULL: by the framing).  What is left is unfinished,
 * held back or of no use any more.
 */
OL_APART static void
deliver_from_input(struct ol_conn *c, ol_frame_next_fn *ended)
{
    struct ol_input *in = c->input;
    size_t at = 0;
    size_t len = in->bytes.len;

    while (at < len && deliverable(c)) {
        const struct ol_settings *s = ol_conn_settings(c);
        struct outlet_frame frame;
        struct outlet_msg m = {0};
        ol_frame_next_fn *next = ended ? ended : s->transport->stream ? s->next : held_next;
        int got = 0;

        if (len - at >= in->scan.need)
            got = next(&s->framing, &in->scan, in->bytes.data + at, len - at, &frame);
        if (got < 0)
            refuse(c, got);
        if (got <= 0)
            break;
        in->scan = (struct ol_frame_scan){0};
        in->since = c->cold->reactor->now;
        if (next == held_next && held_head(in->bytes.data + at) & HELD_CUT)
            m.flags = OUTLET_MSG_TRUNCATED;
        m.bytes = in->bytes.data + at + frame.skip;
        m.len = frame.message;
        m.input = in;
        m.conn = c;
        at += frame.skip + frame.message + frame.tail;
        deliver(c, &m, next == held_next ? 1 : frame.skip + frame.message + frame.tail);
        if (in->given_away) {
            /* The retained message took the block; what follows it moves to a new one. */
            struct ol_bytes old = in->bytes;

            in->given_away = false;
            ol_bytes_init(&in->bytes, old.share, old.max);
            if (at < len && ol_bytes_append(&in->bytes, old.data + at, len - at))
                ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
            outlet_buf_unref(m.kept); /* the message's own hold on it */
            at = 0;
            len = in->bytes.len;
        }
    }
    if (at == in->bytes.len)
        ol_conn_input_free(c); /* with its memory, for the next one */
    else
        ol_bytes_consume(&in->bytes, at);
    if (c->input && ol_conn_silence(c) != OL_NEVER && deliverable(c))
        limit_input(c); /* the framing may be a new one */
}

/* ---- fed by the driver ------------------------------------------------------------------- */

/* Enough to finish the held message if that is known, else all: answers how much was taken. */
OL_APART static size_t
feed_input(struct ol_conn *c, const uint8_t *bytes, size_t len)
{
    struct ol_input *in = c->input;
    size_t take = len;

    if (deliverable(c) && in->scan.need > in->bytes.len)
        take = ol_min(len, in->scan.need - in->bytes.len);
    if (!hold(c, bytes, take))
        return len;
    deliver_from_input(c, NULL);
    return take;
}

/* Straight from the driver's block.  Answers how much was used up. */
static OL_INSIDE size_t
feed_direct(struct ol_conn *c, const struct ol_lent *lent, size_t at)
{
    struct ol_frame_scan scan = {0};
    struct outlet_msg m = {.lent = lent, .conn = c};

    do {
        const struct ol_settings *s = ol_conn_settings(c);
        struct outlet_frame frame;
        int got = ol_settings_next(s, &scan, lent->data + at, lent->len - at, &frame);

        if (OL_UNLIKELY(got < 0)) {
            refuse(c, got);
            return lent->len;
        }
        if (OL_UNLIKELY(got == 0)) {
            if (hold(c, lent->data + at, lent->len - at))
                c->input->scan = scan;
            return lent->len;
        }
        scan = (struct ol_frame_scan){0}; /* a custom framing may have left something */
        m.bytes = lent->data + at + frame.skip;
        m.len = frame.message;
        at += frame.skip + frame.message + frame.tail;
        deliver(c, &m, frame.skip + frame.message + frame.tail);
    } while (OL_UNLIKELY(at < lent->len) && deliverable(c));
    return at;
}

static OL_INSIDE void
feed(struct ol_conn *c, const struct ol_lent *lent)
{
    size_t at = 0;

    do {
        if (OL_UNLIKELY(c->input)) {
            at += feed_input(c, lent->data + at, lent->len - at);
        } else if (OL_UNLIKELY(!deliverable(c))) {
            (void)hold(c, lent->data + at, lent->len - at); /* false: the state has changed */
            break;
        } else {
            at = feed_direct(c, lent, at);
        }
    } while (OL_UNLIKELY(at < lent->len) && ol_conn_state(c) == CONN_OPEN);
}

/* One message, the empty one too.  A paused connection loses what comes, as datagrams do, unless
 * nothing may be lost. */
OL_APART static void
deliver_dgram(struct ol_conn *c, const struct ol_lent *lent, uint32_t flags,
              const struct ol_addr *from)
{
    size_t max = ol_conn_settings(c)->framing.max;
    struct outlet_msg m = {.bytes = lent->data,
                           .len = lent->len,
                           .flags = flags,
                           .conn = c,
                           .from = from,
                           .lent = lent};

    if (m.len > max) {
        m.len = max;
        m.flags |= OUTLET_MSG_TRUNCATED;
    }
    if (!c->input && deliverable(c)) {
        deliver(c, &m, 1);
    } else if (ol_conn_settings(c)->transport->ends && ol_conn_state(c) == CONN_OPEN) {
        if (hold_message(c, &m))
            deliver_from_input(c, NULL);
    }
}

/* Near memory_max reading stops first: what is in the kernel costs us nothing. */
static bool
is_memory_short(const struct ol_net *n)
{
    const struct ol_budget *b = n->reactor->share.budget;

    return OL_UNLIKELY(atomic_load_explicit(&b->used, memory_order_relaxed) >= n->starve_from);
}

static void
starve(struct ol_conn *c)
{
    if (c->flags & CONN_STARVED || ol_conn_state(c) != CONN_OPEN)
        return;
    c->flags |= CONN_STARVED;
    ol_net_of(c->cold->reactor)->starved++;
    if (c->flags & CONN_RECEIVING) {
        c->flags &= (uint16_t)~CONN_RECEIVING;
        ol_conn_settings(c)->transport->receive_stop(c);
    }
}

void
ol_conn_received(struct ol_conn *c, const struct ol_lent *lent, uint32_t flags,
                 const struct ol_addr *from)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_net *n = ol_net_of(r);
    struct ol_conn *answers = c;

    if (OL_UNLIKELY(ol_conn_state(c) != CONN_OPEN))
        return; /* closing: late words are discarded, by contract */
    n->delivering = c;
    if (OL_UNLIKELY(c->flags & CONN_RELAYED))
        answers = ol_relay_near(c);
    if (OL_LIKELY(answers))
        ol_wire_open(&n->wire, answers);
    ol_count_add(&c->bytes_in, lent->len);
    atomic_store_explicit(&c->active, r->now, memory_order_relaxed);
    c->flags |= CONN_DELIVERING;
    if (OL_UNLIKELY(!ol_conn_settings(c)->transport->stream)) {
        deliver_dgram(c, lent, flags, from);
    } else if (OL_LIKELY(lent->len > 0)) {
        feed(c, lent);
    }
    c->flags &= (uint16_t)~CONN_DELIVERING;
    n->delivering = NULL;
    if (is_memory_short(n))
        starve(c);
}

void
ol_conn_deliver_held(struct ol_conn *c)
{
    if (c->input && deliverable(c)) {
        c->flags |= CONN_DELIVERING;
        deliver_from_input(c, NULL);
        c->flags &= (uint16_t)~CONN_DELIVERING;
    }
    if (ol_conn_state(c) != CONN_OPEN || c->flags & CONN_STOPPED)
        return;
    if (c->flags & CONN_PEER_ENDED)
        ol_conn_peer_ended(c);
    else
        ol_conn_receive_start(c);
}

void
ol_conn_deliver_silent(struct ol_conn *c)
{
    if (!c->input || ol_conn_silence(c) == OL_NEVER || !deliverable(c))
        return;
    c->flags |= CONN_DELIVERING;
    deliver_from_input(c, silent_next);
    c->flags &= (uint16_t)~CONN_DELIVERING;
}

/* At the end of a turn in which some are starved: once a quarter is free again, all go on. */
void
ol_net_feed_starved(struct ol_net *n)
{
    struct ol_reactor *r = n->reactor;
    struct ol_slots *slots = &r->slots[OL_KIND_CONN];
    struct ol_budget *b = r->share.budget;
    uint32_t made;

    if (atomic_load_explicit(&b->used, memory_order_relaxed) > b->max - b->max / 4)
        return;
    made = ol_slots_made(slots);
    for (uint32_t slot = 0; slot < made && n->starved; slot++) {
        uint32_t generation;
        struct ol_conn *c = ol_slot_peek(slots, slot, &generation);

        if (!c || !(c->flags & CONN_STARVED))
            continue;
        c->flags &= (uint16_t)~CONN_STARVED;
        n->starved--;
        if (ol_conn_state(c) != CONN_OPEN)
            continue;
        if (!(c->flags & CONN_STOPPED))
            ol_conn_limits_resume(c);
        ol_conn_receive_start(c);
    }
}
