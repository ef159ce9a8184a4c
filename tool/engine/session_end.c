/*
 * session_end.c - how a session ends: asked to, when its time is over, when an answer has come or
 * none does, and where nobody can be told that all is sent.
 *
 * A newcomer's mistake: to end in order whoever does not read.  It would wait for him once more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdlib.h>

enum {
    STOP_MS = 1000,          /* an orderly end may take this long */
    ANSWER_MAX = 1024 * 1024 /* bytes in which the checksum of an answer is looked for */
};

void
session_maybe_ended(struct eng_session *s)
{
    if (s->state != SESSION_STOPPING || s->peers || s->branches)
        return;
    s->state = SESSION_ENDED;
    timer_end(&s->deadline);
    if (s->hurried && s->result == ENG_DONE && s->totals.unsent)
        s->result = ENG_BROKEN;
    session_record_lost(s);
    s->opts.ended(s->opts.user, s->result);
}

static uint64_t
peer_queued(const struct peer *p)
{
    int64_t queued = outlet_queued(p->c);
    size_t held = 0;

    if (p->held)
        (void)outlet_buf_data(p->held, &held);
    return (queued > 0 ? (uint64_t)queued : 0) + held;
}

static void
stop_too_slow(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;

    (void)t;
    s->deadline.id = 0;
    for (struct peer *p = s->peers; p; p = p->next) {
        s->totals.unsent += peer_queued(p);
        outlet_abort(p->c);
    }
    for (struct peer *b = s->branches; b; b = b->next)
        outlet_abort(b->c);
}

void
session_close_listener(struct eng_session *s)
{
    session_count_dropped(s);
    session_count_refused(s);
    timer_end(&s->refusals);
    if (s->listener.id)
        outlet_listener_close(s->listener);
    s->listener.id = 0;
}

static void
stop_peers(struct peer *first)
{
    for (struct peer *p = first; p; p = p->next) {
        if (p->state == PEER_CONNECTING)
            outlet_abort(p->c);
        else if (p->state == PEER_OPEN)
            outlet_close(p->c);
        p->state = PEER_CLOSING;
    }
}

void
session_stop_sending(struct eng_session *s)
{
    timer_end(&s->time);
    tick_stop(s);
    input_stop(s);
    for (struct peer *p = s->peers; p; p = p->next)
        feed_stop(p);
}

/* Nobody ever answered, and the network has said why. */
static bool
is_unheard(const struct eng_session *s, enum eng_result result)
{
    return s->lost && !s->totals.messages_in &&
           (result == ENG_DONE || result == ENG_UNMET || result == ENG_TIMED_OUT);
}

void
eng_session_stop(struct eng_session *s, enum eng_result result)
{
    if (s->state != SESSION_RUNNING)
        return;
    s->state = SESSION_STOPPING;
    s->result = is_unheard(s, result)                 ? ENG_NOT_CONNECTED
                : result == ENG_DONE && s->totals.bad ? ENG_UNMET
                                                      : result;
    timer_end(&s->last.look);
    session_stop_sending(s);
    session_close_listener(s);
    stop_peers(s->peers);
    stop_peers(s->branches);
    if ((s->peers || s->branches) &&
        outlet_timer_start(s->loop, STOP_MS, 0, stop_too_slow, s, &s->deadline) != OUTLET_OK)
        stop_too_slow(s->deadline, s); /* no memory for a timer: do not wait at all */
    session_maybe_ended(s);
}

void
session_count_left(struct eng_session *s)
{
    bool any = false;

    s->hurried = true;
    for (struct peer *p = s->peers; p; p = p->next) {
        if (p->state != PEER_OPEN)
            continue;
        s->totals.unsent += feed_left(p);
        any = true;
    }
    if (any && s->opts.payload == ENG_PAYLOAD_INPUT)
        s->totals.unsent += s->input.bytes.len;
}

void
eng_session_abort(struct eng_session *s, enum eng_result result)
{
    if (s->state == SESSION_RUNNING && !s->hurried)
        session_count_left(s);
    eng_session_stop(s, result);
    if (s->state != SESSION_STOPPING || !s->deadline.id)
        return;
    timer_end(&s->deadline);
    stop_too_slow(s->deadline, s);
}

/* ---- answers ---------------------------------------------------------------------------- */

/* An answer whose checksum never came right is one all the same, and told to be bad. */
void
peer_tell_piece(struct peer *p)
{
    struct eng_bytes piece = p->piece;

    if (piece.len == 0)
        return;
    p->piece = (struct eng_bytes){0};
    p->answers++;
    peer_tell_message(p, false, piece.data, piece.len);
    eng_bytes_free(&piece);
}

/* A stream cuts an answer anywhere; the checksum says where it ends. */
void
peer_gather_answer(struct peer *p, const uint8_t *bytes, size_t len)
{
    struct eng_session *s = p->s;
    uint64_t has;
    uint64_t want;

    if (!eng_bytes_add(&p->piece, bytes, len)) {
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "an answer");
        return;
    }
    len = eng_without_eol(p->piece.data, p->piece.len, s->opts.eol);
    if (p->piece.len >= ANSWER_MAX ||
        eng_sum_check(s->opts.verify, p->piece.data, len, &has, &want) == ENG_GOOD)
        peer_tell_piece(p);
}

/* Without `count` it is asked until the time is over, and one answer is enough. */
bool
session_asks_for_ever(const struct eng_session *s)
{
    return s->opts.every_ms && !s->opts.count;
}

/* Are there as many answers as there must be?  A stream without frames does not say how many. */
bool
peer_is_answered(const struct peer *p)
{
    const struct eng_session *s = p->s;

    if (session_asks_for_ever(s) || (s->url.stream && !s->url.framed))
        return p->answers > 0;
    return p->answers >= (uint64_t)(s->opts.count ? s->opts.count : 1);
}

static enum eng_result
result_of_silence(struct eng_session *s)
{
    struct peer *p = s->peers;

    if (!p)
        return ENG_TIMED_OUT;
    peer_tell_piece(p);
    return peer_is_answered(p) ? ENG_DONE : ENG_TIMED_OUT;
}

static int64_t
peer_idle_ms(const struct peer *p)
{
    char text[24];

    return outlet_info(p->c, "idle_ms", text, sizeof text) > 0 ? strtoll(text, NULL, 10) : 0;
}

/* How long there is patience for one answer. */
static int64_t
answer_ms(const struct eng_session *s)
{
    return s->opts.time_ms ? s->opts.time_ms : EXPECT_MS;
}

/* Not all of what is asked has left. */
static bool
is_asking(const struct eng_session *s)
{
    const struct peer *p = s->opts.answer && !session_asks_for_ever(s) ? s->peers : NULL;

    return p && p->state == PEER_OPEN && (p->feed.state == FEED_RUNNING || peer_queued(p) > 0);
}

/* While it moves, a large message may take its time; so may whoever reads what we show.  Where
 * nothing waits to be taken, it is we who are between two messages, or late. */
static int64_t
asking_left_ms(struct eng_session *s)
{
    if (!is_asking(s))
        return 0;
    if (session_is_busy(s) || peer_queued(s->peers) == 0)
        return answer_ms(s);
    return answer_ms(s) - peer_idle_ms(s->peers);
}

void
session_time_is_over(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;
    bool reached = s->opts.role != OUTLET_TO_CONNECT || s->opened;
    enum eng_result result = ENG_DONE;
    int64_t left_ms = asking_left_ms(s);

    (void)t;
    s->time.id = 0;
    /* What this turn sends leaves after its timers: when we were late ourselves, look once more. */
    if (left_ms <= 0 && is_asking(s) && !s->looks_again) {
        s->looks_again = true;
        left_ms = 1;
    } else {
        s->looks_again = false;
    }
    if (left_ms > 0 &&
        outlet_timer_start(s->loop, left_ms, 0, session_time_is_over, s, &s->time) == OUTLET_OK)
        return;
    if (is_asking(s)) { /* nobody takes it: there is no use in an orderly end */
        eng_session_abort(s, ENG_TIMED_OUT);
        return;
    }
    if (!reached)
        result = ENG_TIMED_OUT;
    else if (s->opts.expect.len)
        result = ENG_UNMET;
    else if (s->opts.answer)
        result = result_of_silence(s);
    if (!reached)
        session_fail(s, result, OUTLET_ETIMEDOUT, 0, s->opts.url);
    else
        eng_session_finish(s, result);
}

/* The time to wait for an answer begins when there is nothing left to ask. */
void
session_await_answer(struct eng_session *s)
{
    int64_t ms = session_asks_for_ever(s) ? s->opts.time_ms : answer_ms(s);

    timer_end(&s->time);
    if (ms && outlet_timer_start(s->loop, ms, 0, session_time_is_over, s, &s->time) != OUTLET_OK)
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--time");
}

void
session_all_is_sent(struct peer *p)
{
    if (p->s->opts.answer)
        session_await_answer(p->s);
}

/* ---- where there is no end --------------------------------------------------------------- */

static void pause_began(struct peer *p);

static void
pause_is_over(outlet_timer t, void *arg)
{
    struct peer *p = arg;

    (void)t;
    p->silence.id = 0;
    if (p->state != PEER_OPEN)
        return;
    if (p->paused || peer_queued(p) > 0 || peer_idle_ms(p) < PAUSE_MS)
        pause_began(p);
    else
        peer_close(p);
}

/* Until then answers may come: the peer cannot be told that this was all, and has no end either. */
static void
pause_began(struct peer *p)
{
    int64_t idle_ms = p->paused ? 0 : peer_idle_ms(p);

    if (outlet_timer_start(p->s->loop, idle_ms < PAUSE_MS ? PAUSE_MS - idle_ms : PAUSE_MS, 0,
                           pause_is_over, p, &p->silence) != OUTLET_OK)
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the payload");
}

/* Our side is over.  Somebody who types may go on to read, and what sends nothing only listens. */
void
peer_end_sending(struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;

    p->ended_out = true;
    if (outlet_end(p->c) != OUTLET_ENOTSUP || o->role != OUTLET_TO_CONNECT)
        return;
    if (!o->time_ms && !o->expect.len && !o->input_person && p->messages[true])
        pause_began(p);
}
