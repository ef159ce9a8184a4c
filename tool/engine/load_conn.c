/*
 * load_conn.c - one connection under load: messages out, messages back.
 *
 * A stream keeps its order, so the oldest message under way is the one that is answered, and all
 * that is kept of it is when it left.  Datagrams are told apart by the number they carry.
 *
 * What a newcomer gets wrong: to send a message for each that came.  What came together is answered
 * with one send.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load_work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- out ---- */

void
conn_send_failed(struct load_conn *c, int64_t code)
{
    struct outlet_reason why = OUTLET_REASON;

    if (code == OUTLET_EFULL) {
        c->full = true;
        return;
    }
    if (code == OUTLET_ESTATE || code == OUTLET_ESTALE)
        return; /* it is ending: on_close says why */
    why.code = (outlet_err)code;
    snprintf(why.text, sizeof why.text, "%s", outlet_strerror(code));
    load_fault(c->w->load, code == OUTLET_ENOMEM ? ENG_LOAD_BROKEN : ENG_LOAD_NOT_SENT, &why, true);
}

/* `n` messages as one run of bytes, or one message where borders are kept. */
static int64_t
send_some(struct load_conn *c, size_t n)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    size_t size = load->opts.size;
    const uint8_t *from = load->pattern + c->out_at;

    if (load->kind == KIND_DATAGRAMS && load->numbered) {
        uint32_t number = (uint32_t)c->sent;

        memcpy(w->scratch, &number, NUMBER_BYTES);
        from = w->scratch;
    }
    return outlet_send(c->c, from, n * size);
}

/* `k` messages left, or should have, at `stamp`. */
static void
keep_time(struct load_conn *c, int64_t k, int64_t stamp)
{
    uint32_t mask = (uint32_t)(c->w->ring - 1);

    if (c->runs) {
        if (c->run_next == c->run_first || c->runs[(c->run_next - 1) & mask].stamp != stamp)
            c->runs[c->run_next++ & mask].stamp = stamp;
        c->runs[(c->run_next - 1) & mask].upto = c->sent + (uint64_t)k;
        return;
    }
    for (int64_t i = 0; i < k; i++) {
        uint64_t at = (c->sent + (uint64_t)i) & mask;

        c->stamps[at] = stamp;
        if (c->w->hearers)
            c->w->hearers[at] = 0;
    }
    if (c->seen) /* datagrams go one by one */
        c->seen[c->sent & mask] = UNDER_WAY;
}

void
conn_send(struct load_conn *c, int64_t n, int64_t stamp)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    size_t size = load->opts.size;

    while (n > 0) {
        int64_t k = n < load->at_once ? n : load->at_once;
        int64_t sent = send_some(c, (size_t)k);

        if (sent < 0) {
            conn_send_failed(c, sent);
            return;
        }
        keep_time(c, k, stamp);
        c->sent += (uint64_t)k;
        c->out_at += (size_t)k * size;
        if (c->out_at >= load->period)
            c->out_at -= load->period;
        c->flying += k;
        w->flying += k;
        w->left -= k;
        if (w->measuring)
            add(&w->bytes_out, (size_t)k * size);
        n -= k;
    }
}

bool
conn_has_room(const struct load_conn *c)
{
    return c->state == CONN_OPEN && !c->full && c->flying - c->overtaken < c->w->load->opts.depth &&
           c->sent - c->got < c->w->ring;
}

/* Closed: as many as may be under way. */
void
conn_refill(struct load_conn *c)
{
    struct load_worker *w = c->w;
    int64_t n = w->load->opts.depth - c->flying;

    if (w->state != WORK_RUN)
        return;
    if (w->interval > 0) {
        if (w->now >= w->next_at)
            worker_pace(w);
        return;
    }
    if (!conn_has_room(c))
        return;
    n = n < w->left ? n : w->left;
    if (c->seen && n > (int64_t)(w->ring - (c->sent - c->got)))
        n = (int64_t)(w->ring - (c->sent - c->got));
    if (n > 0)
        conn_send(c, n, w->now);
}

/* ---- back ---- */

void
conn_was_wrong(struct load_conn *c, const char *text)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = OUTLET_EPROTO;
    snprintf(why.text, sizeof why.text, "%s", text);
    add(&c->w->wrong, 1);
    load_fault(c->w->load, ENG_LOAD_WRONG, &why, false);
}

/* Nothing of it comes any more. */
static void
forget_flying(struct load_conn *c)
{
    struct load_worker *w = c->w;

    w->flying -= c->flying;
    w->overtaken -= c->overtaken;
    w->done += c->flying;
    c->flying = 0;
    c->overtaken = 0;
}

void
conn_give_up(struct load_conn *c, const char *text)
{
    conn_was_wrong(c, text);
    c->w->open--;
    forget_flying(c);
    c->state = CONN_CLOSING;
    (void)outlet_abort(c->c); /* on_close follows, or has been called */
}

bool
load_is_as_sent(const struct eng_load *load, size_t at, const uint8_t *bytes, size_t len)
{
    while (len > load->period) {
        if (memcmp(bytes, load->pattern + at, load->period) != 0)
            return false;
        bytes += load->period;
        len -= load->period;
    }
    return memcmp(bytes, load->pattern + at, len) == 0;
}

/* The `n` oldest came back. */
static void
answered(struct load_conn *c, int64_t n)
{
    struct load_worker *w = c->w;
    uint64_t end = c->got + (uint64_t)n;

    while (c->got < end) {
        const struct load_run *run = &c->runs[c->run_first & (uint32_t)(w->ring - 1)];
        uint64_t upto = run->upto <= end ? run->upto : end;

        if (is_measured(w, run->stamp))
            eng_hist_record_n(w->hist, w->now - run->stamp, upto - c->got);
        c->got = upto;
        c->run_first += run->upto == upto;
    }
    c->flying -= n;
    w->flying -= n;
    w->done += n;
    w->heard = w->now;
    if (w->measuring)
        add(&w->messages, (uint64_t)n);
}

static void
churned(struct load_conn *c)
{
    c->state = CONN_CLOSING;
    c->w->open--;
    (void)outlet_close(c->c); /* on_close begins the next */
}

void
conn_after_answer(struct load_conn *c)
{
    struct load_worker *w = c->w;

    if (w->load->opts.mode == ENG_LOAD_CHURN && c->flying == 0)
        churned(c);
    else
        conn_refill(c);
    worker_finish_if_done(w);
}

static void
bytes_came(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    const struct eng_load *load = c->w->load;
    size_t part = c->part + len;
    int64_t whole = part == load->opts.size; /* most often: a division is as long as the rest */

    if (part > load->opts.size)
        whole = (int64_t)(part / load->opts.size);
    part -= (size_t)whole * load->opts.size;
    if (whole > c->flying || (whole == c->flying && part > 0)) {
        conn_give_up(c, "more came back than was sent");
        return;
    }
    if (load->opts.check && !load_is_as_sent(load, c->in_at, bytes, len)) {
        conn_give_up(c, "other bytes came back than were sent");
        return;
    }
    load_move_on(load, &c->in_at, len);
    c->part = part;
    if (whole == 0)
        return;
    answered(c, whole);
    conn_after_answer(c);
}

static void
frame_came(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    const struct eng_load *load = c->w->load;

    if (c->flying == 0) {
        conn_was_wrong(c, "a message came that answers nothing");
        return;
    }
    if (load->opts.check &&
        (len != load->opts.size || !load_is_as_sent(load, c->in_at, bytes, len))) {
        conn_give_up(c, "another message came back than was sent");
        return;
    }
    load_move_on(load, &c->in_at, load->opts.size);
    answered(c, 1);
    conn_after_answer(c);
}

/* ---- callbacks ---- */

static void
on_open(outlet_conn handle, void *user)
{
    struct load_conn *c = user;
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    int64_t now = worker_now(w);

    c->c = handle;
    c->state = CONN_OPEN;
    w->dialling--;
    w->open++;
    add(&w->connections, 1);
    atomic_store(&w->load->opened, true);
    if (load->opts.mode == ENG_LOAD_HOLD) {
        eng_hist_record(w->hist, now - c->dialled);
        add(&w->messages, 1);
        w->done++;
    }
    if (load->opts.mode == ENG_LOAD_FANOUT)
        fanout_opened(c);
    load_opened(c);
    if (load->opts.mode == ENG_LOAD_CHURN)
        conn_send(c, 1, c->dialled);
    else if (load->eager)
        conn_refill(c);
}

/* What came is counted.  NULL: it is no answer, or comes when what has not come was counted. */
static inline const uint8_t *
came(struct load_conn *c, outlet_msg *m, size_t *len)
{
    struct load_worker *w = c->w;
    const uint8_t *bytes = outlet_msg_data(m, len);

    (void)worker_now(w);
    if (w->measuring)
        add(&w->bytes_in, *len);
    return c->state == CONN_OPEN && w->state != WORK_END ? bytes : NULL;
}

static void
on_bytes(outlet_conn handle, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = came(user, m, &len);

    (void)handle;
    if (bytes)
        bytes_came(user, bytes, len);
}

static void
on_frame(outlet_conn handle, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = came(user, m, &len);

    (void)handle;
    if (bytes)
        frame_came(user, bytes, len);
}

static void
on_datagram(outlet_conn handle, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = came(user, m, &len);

    (void)handle;
    if (bytes)
        dgram_came(user, bytes, len);
}

static void
on_publish(outlet_conn handle, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = came(user, m, &len);

    (void)handle;
    if (bytes)
        fanout_heard(user, bytes, len);
}

/* Held: a server may say what it likes. */
static void
on_chatter(outlet_conn handle, outlet_msg *m, void *user)
{
    size_t len;

    (void)handle;
    (void)came(user, m, &len); /* it is counted, and answers nothing */
}

static void
on_writable(outlet_conn handle, void *user)
{
    struct load_conn *c = user;

    (void)handle;
    (void)worker_now(c->w); /* for the stamps */
    c->full = false;
    if (c->w->now >= c->w->start || c->w->load->eager)
        conn_refill(c);
}

static void
on_event(outlet_conn handle, enum outlet_event what, int64_t error, void *user)
{
    struct load_conn *c = user;
    struct outlet_reason why = OUTLET_REASON;

    (void)handle;
    if (what != OUTLET_EVENT_PEER_ERROR || error != ECONNREFUSED || c->refused)
        return;
    why.code = OUTLET_EREFUSED;
    why.phase = OUTLET_AT_CONNECT;
    why.side = OUTLET_BY_PEER;
    snprintf(why.text, sizeof why.text, "%s", outlet_strerror(OUTLET_EREFUSED));
    if (c->last > 0) { /* it answered before: it may again */
        c->refused = true;
        add(&c->w->closed, 1);
        load_fault(c->w->load, ENG_LOAD_CLOSED, &why, false);
        return;
    }
    /* Nobody ever answered there, and the machine says that nobody is there. */
    add(&c->w->failed, 1);
    load_fault(c->w->load, ENG_LOAD_NOT_CONNECTED, &why, true);
}

static void
could_not_connect(struct load_conn *c, const struct outlet_reason *why)
{
    struct load_worker *w = c->w;

    c->state = w->load->opts.mode == ENG_LOAD_CHURN ? CONN_IDLE : CONN_ENDED;
    w->dialling--;
    if (w->state == WORK_RUN) {
        add(&w->failed, 1);
        load_fault(w->load, ENG_LOAD_NOT_CONNECTED, why, !atomic_load(&w->load->opened));
    }
    load_opened(c);
}

static void
ended_early(struct load_conn *c, const struct outlet_reason *why)
{
    struct load_worker *w = c->w;
    bool again = w->load->opts.mode == ENG_LOAD_CHURN;

    c->state = again ? CONN_IDLE : CONN_ENDED;
    w->open--;
    forget_flying(c);
    if (w->state == WORK_END)
        return;
    add(&w->closed, 1);
    /* Without all of them no message is ever heard by everybody. */
    load_fault(w->load, ENG_LOAD_CLOSED, why, w->load->opts.mode == ENG_LOAD_FANOUT);
}

static void
on_close(outlet_conn handle, const struct outlet_reason *why, void *user)
{
    struct load_conn *c = user;
    struct load_worker *w = c->w;

    (void)handle;
    (void)worker_now(w);
    if (c->state == CONN_DIALLING) {
        could_not_connect(c, why);
    } else {
        add(&w->connections, (uint64_t)-1);
        if (c->state == CONN_OPEN)
            ended_early(c, why);
        else
            c->state = w->load->opts.mode == ENG_LOAD_CHURN ? CONN_IDLE : CONN_ENDED;
    }
    if (c->state == CONN_IDLE && w->state == WORK_RUN && w->left > w->dialling &&
        why->code == OUTLET_OK && conn_dial(c) != OUTLET_OK)
        add(&w->failed, 1);
    worker_finish_if_done(w);
}

#define HANDLERS(message)                                                                    \
    {                                                                                        \
        .size = sizeof(struct outlet_handlers), .on_open = on_open, .on_message = (message), \
        .on_writable = on_writable, .on_event = on_event, .on_close = on_close,              \
    }

/* For each kind of answer a table of its own, so that an answer is not asked which kind it is. */
static const struct outlet_handlers byte_handlers = HANDLERS(on_bytes);
static const struct outlet_handlers frame_handlers = HANDLERS(on_frame);
static const struct outlet_handlers datagram_handlers = HANDLERS(on_datagram);
static const struct outlet_handlers publish_handlers = HANDLERS(on_publish);
static const struct outlet_handlers hold_handlers = HANDLERS(on_chatter);

static const struct outlet_handlers *
handlers_of(const struct eng_load *load)
{
    if (load->opts.mode == ENG_LOAD_HOLD)
        return &hold_handlers;
    if (load->opts.mode == ENG_LOAD_FANOUT)
        return &publish_handlers;
    switch (load->kind) {
    case KIND_BYTES:
        return &byte_handlers;
    case KIND_FRAMES:
        return &frame_handlers;
    case KIND_DATAGRAMS:
        break;
    }
    return &datagram_handlers;
}

/* ---- pair: both ends have the same handlers, the user data tells them apart ---- */

static bool
is_mirror(const struct load_conn *c)
{
    return c == &c->w->mirror;
}

static void
pair_open(outlet_conn handle, void *user)
{
    if (!is_mirror(user))
        on_open(handle, user);
}

static void
pair_message(outlet_conn handle, outlet_msg *m, void *user)
{
    const struct load_conn *c = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (!is_mirror(c))
        handlers_of(c->w->load)->on_message(handle, m, user);
    else if (outlet_send(handle, bytes, len) < 0)
        (void)outlet_abort(handle); /* what is missing ends the other end, which is told */
}

static void
pair_writable(outlet_conn handle, void *user)
{
    if (!is_mirror(user))
        on_writable(handle, user);
}

static void
pair_close(outlet_conn handle, const struct outlet_reason *why, void *user)
{
    if (!is_mirror(user))
        on_close(handle, why, user);
}

static const struct outlet_handlers pair_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = pair_open,
    .on_message = pair_message,
    .on_writable = pair_writable,
    .on_close = pair_close,
};

/* ---- opening ---- */

static void
restart(struct load_conn *c)
{
    c->full = false;
    c->sent = 0;
    c->got = 0;
    c->flying = 0;
    c->overtaken = 0;
    c->passed = 0;
    c->out_at = 0;
    c->in_at = 0;
    c->part = 0;
    c->run_first = 0;
    c->run_next = 0;
    c->last = 0;
    c->state = CONN_DIALLING;
    c->dialled = c->w->now;
}

outlet_err
conn_dial(struct load_conn *c)
{
    enum { QUEUE = 16 * 1024 * 1024, MESSAGE = 1024 * 1024 };
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    int64_t size = (int64_t)load->opts.size;
    outlet_conn far;
    outlet_err err;

    restart(c);
    opts.on = load->is_pair ? &pair_handlers : handlers_of(load);
    opts.user = c;
    opts.why = &why;
    if (load->kind == KIND_FRAMES && size > MESSAGE)
        opts.max = size;
    if (size > QUEUE / 4)
        opts.cap = 4 * size + QUEUE;
    if (load->is_pair)
        err = outlet_pair(w->loop, load->opts.url, &opts, &c->c, &far);
    else
        err = outlet_connect(w->loop, load->opts.url, &opts, &c->c);
    if (err) {
        c->state = CONN_IDLE;
        if (!why.code)
            why.code = err;
        if (!why.text[0])
            snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
        if (err != OUTLET_ESTATE)
            load_fault(w->load, ENG_LOAD_NOT_CONNECTED, &why, true);
        return err;
    }
    if (load->is_pair)
        (void)outlet_set_user(far, &w->mirror); /* it was made just now: it is alive */
    w->dialling++;
    return OUTLET_OK;
}
