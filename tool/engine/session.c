/*
 * session.c - one endpoint at work: listen or connect, peers, rules, expectation, the way it ends.
 *
 * Everything that may have become possible (a queue fell, the peer ended, the sink can take more)
 * ends in peer_settle(), which looks at the facts and does what is due.  A newcomer's mistake is
 * to act on an event directly: the same end must be reached whatever order the events came in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t
session_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t
session_real_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
timer_end(outlet_timer *t)
{
    if (t->id)
        outlet_timer_stop(*t);
    t->id = 0;
}

enum eng_result
eng_result_of(const struct outlet_reason *why)
{
    bool opened = why->phase == OUTLET_AT_OPEN || why->phase == OUTLET_AT_DRAIN;

    if (why->code == OUTLET_OK)
        return ENG_DONE;
    if (why->position >= 0 || why->key[0])
        return ENG_USAGE;
    if (why->code == OUTLET_ENOMEM)
        return ENG_INTERNAL;
    if (why->code == OUTLET_ETIMEDOUT)
        return ENG_TIMED_OUT;
    if (why->code == OUTLET_ETLS || why->code == OUTLET_ECERT || why->code == OUTLET_EAUTH)
        return ENG_NOT_TRUSTED;
    if (opened || why->phase == OUTLET_AT_UPGRADE)
        return ENG_BROKEN;
    if (!why->phase && (why->code == OUTLET_EINVAL || why->code == OUTLET_ENOTSUP))
        return ENG_USAGE;
    return ENG_NOT_CONNECTED;
}

static bool
is_behind(const struct eng_session *s)
{
    return s->opts.sink->busy || (s->opts.recorder && eng_recorder_is_full(s->opts.recorder));
}

bool
session_is_busy(struct eng_session *s)
{
    bool busy = is_behind(s);

    s->was_told_to_wait |= busy;
    return busy;
}

/* Pause or resume everyone when the sink's or the recorder's mind has changed, also when it was
 * busy so shortly that only who asked meanwhile knows. */
static void
follow_sink(struct eng_session *s)
{
    bool busy = is_behind(s);

    if (busy == s->was_busy && (busy || !s->was_told_to_wait))
        return;
    s->was_busy = s->was_told_to_wait = busy;
    for (struct peer *p = s->peers; p; p = p->next) {
        feed_pump(p);
        peer_settle(p);
    }
}

static void
fail(struct eng_session *s, enum eng_result result, struct outlet_reason *why)
{
    if (s->state != SESSION_RUNNING)
        return;
    why->side = OUTLET_BY_US;
    session_tell_reason(s, result == ENG_TIMED_OUT ? s->opts.url : NULL, why);
    eng_session_stop(s, result);
}

void
session_fail(struct eng_session *s, enum eng_result result, outlet_err code, int sys_errno,
             const char *about)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = code;
    why.sys_errno = sys_errno;
    snprintf(why.text, sizeof why.text, "%s: %s", about,
             sys_errno ? strerror(sys_errno) : outlet_strerror(code));
    fail(s, result, &why);
}

void
session_fail_saying(struct eng_session *s, enum eng_result result, outlet_err code,
                    const char *about, const char *text)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = code;
    snprintf(why.text, sizeof why.text, "%s: %s", about, text);
    fail(s, result, &why);
}

void
eng_session_totals(const struct eng_session *s, struct eng_totals *out)
{
    *out = s->totals;
    for (const struct peer *p = s->opts.to ? s->peers : NULL; p; p = p->next)
        relay_count(p, out);
    out->ms = session_now_ms() - s->started_ms;
}

/* ---- sending ---- */

bool
peer_render_with(struct peer *p, const struct eng_template *t, uint64_t n,
                 const struct eng_sum *append, const char *eol, const struct eng_capture *match,
                 struct eng_bytes *out)
{
    struct eng_context context = {.n = n,
                                  .client = p->id,
                                  .peer = p->name,
                                  .chance = &p->chance,
                                  .match = match,
                                  .real_ns = session_real_ns()};

    if (eng_template_render(t, &context, out)) {
        eng_seal(out, append, eol);
        if (!out->failed)
            return true;
    }
    session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--template");
    return false;
}

bool
peer_render(struct peer *p, const struct eng_template *t, uint64_t n, const char *eol,
            struct eng_bytes *out)
{
    return peer_render_with(p, t, n, p->s->opts.append, eol, NULL, out);
}

bool
peer_can_send(const struct peer *p)
{
    return p->state == PEER_OPEN && !p->full && !p->held && !p->ended_out;
}

/* What was refused for its length or its bytes is told with them; `about` is what it is. */
static void
cannot_send(struct peer *p, outlet_err err, const void *bytes, size_t len)
{
    struct eng_session *s = p->s;
    enum eng_result result = err == OUTLET_ENOMEM ? ENG_INTERNAL : ENG_BROKEN;
    char about[64] = "a message could not be sent";
    char text[160];

    if (s->input.line) {
        snprintf(about, sizeof about, "line %llu of the input", (unsigned long long)s->input.line);
        result = result == ENG_BROKEN ? ENG_FILE : result;
    }
    if ((err == OUTLET_EINVAL || err == OUTLET_EMSGSIZE) &&
        eng_carry_refuses(&s->url, s->opts.url, bytes, len, text, sizeof text))
        session_fail_saying(s, result, err, about, text);
    else
        session_fail(s, result, err, 0, about);
}

static void
send_answer(struct peer *p, int64_t answer, const void *bytes, size_t len)
{
    if (answer >= 0) {
        p->full = p->s->trusts_high && answer > QUEUE_HIGH;
        if (p->to)
            return; /* a copy of what was told */
        if (p->s->ruled) {
            relay_rules_sent(p, bytes, len);
            return;
        }
        peer_record_message(p, true, bytes, len);
        peer_tell_message(p, true, bytes, len);
    } else if (p->s->ruled || p->to || p->by_rule) {
        relay_rules_cannot(p, (outlet_err)answer, len);
    } else if (answer != OUTLET_ESTATE && answer != OUTLET_ESTALE) {
        cannot_send(p, (outlet_err)answer, bytes, len);
    }
}

/* `from` is the received message that the bytes are of, or NULL: it is retained rather than
 * copied.  Nothing is nothing where messages have no borders, and is not told as one. */
void
peer_send(struct peer *p, const void *bytes, size_t len, outlet_msg *from)
{
    bool borders = !p->s->url.stream || p->s->url.framed || p->s->ruled || p->to;
    int64_t answer;

    if (len == 0 && !borders)
        return;
    answer = outlet_send(p->c, bytes, len);
    if (answer == OUTLET_EFULL) {
        p->full = true;
        p->held = from ? outlet_msg_retain(from) : outlet_buf_copy(bytes, len);
        if (p->held)
            return;
        answer = OUTLET_ENOMEM;
    }
    send_answer(p, answer, bytes, len);
}

static void
send_held(struct peer *p)
{
    outlet_buf *held = p->held;
    size_t len;
    const uint8_t *bytes = outlet_buf_data(held, &len);
    int64_t answer = outlet_send_buf(p->c, held);

    if (answer == OUTLET_EFULL) {
        p->full = true;
        return;
    }
    p->held = NULL;
    send_answer(p, answer, bytes, len);
    outlet_buf_unref(held);
}

static bool
session_answers(const struct eng_session *s)
{
    return s->opts.rule == ENG_RULE_ECHO || s->opts.rule == ENG_RULE_REPLY || s->rules;
}

/* May what comes make more than can wait? */
static bool
answers_block(const struct peer *p)
{
    bool ruled = p->s->ruled && !p->to;
    bool answers = session_answers(p->s) && !ruled && !p->to;
    bool forwards = eng_rules_forward(p->s->rules, ENG_FORWARD_URL) ||
                    eng_rules_forward(p->s->rules, ENG_FORWARD_OTHERS);

    return (answers && !forwards && (p->full || p->held)) ||
           (answers && session_rules_is_full(p, false)) || (ruled && relay_rules_is_blocked(p)) ||
           forward_is_blocked(p);
}

/* With rules what such a client sends is counted when there is no room for what they do. */
static bool
counts_overrun(const struct peer *p)
{
    const char *scheme = p->s->url.scheme;

    return p->s->rules && p->s->opts.role == OUTLET_TO_LISTEN && !p->far && !p->to &&
           (strcmp(scheme, "udp") == 0 || strcmp(scheme, "unix-dgram") == 0);
}

bool
peer_is_overrun(struct peer *p)
{
    bool overrun = counts_overrun(p) && answers_block(p);

    p->s->totals.overrun += overrun;
    return overrun;
}

void
peer_flow(struct peer *p)
{
    bool loses = p->s->datagrams && p->s->opts.recorder; /* what comes while it is paused */
    bool pause = (session_is_busy(p->s) && !loses) || (answers_block(p) && !counts_overrun(p));

    if (pause == p->paused)
        return;
    p->paused = pause;
    if (pause)
        outlet_pause(p->c);
    else
        outlet_resume(p->c);
}

void
peer_close(struct peer *p)
{
    p->state = PEER_CLOSING;
    feed_stop(p);
    session_rules_drop(p);
    outlet_close(p->c);
}

/* The peer has ended its side.  Close, unless something is still to be sent. */
static void
settle_ended_peer(struct peer *p)
{
    const struct eng_session *s = p->s;
    bool feeding = p->feed.state == FEED_RUNNING && !s->opts.every_ms;

    if (p->held || p->later.first || feeding || p->branches)
        return;
    if (s->opts.payload != ENG_PAYLOAD_INPUT || input_done(s) || s->opts.input_person)
        peer_close(p);
    else if (s->opts.role == OUTLET_TO_CONNECT)
        input_linger(p);
}

void
peer_settle(struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;
    bool answers = session_answers(p->s);
    bool alone = o->role == OUTLET_TO_CONNECT || (o->once && o->payload == ENG_PAYLOAD_INPUT);
    bool sent = o->payload == ENG_PAYLOAD_INPUT ? input_done(p->s) : p->feed.state == FEED_DONE;

    if (p->to && !p->owner)
        forward_settle_branch(p);
    else if (p->to)
        peer_settle(p->owner);
    if (p->state != PEER_OPEN || p->to)
        return;
    peer_flow(p);
    forward_settle(p);
    if (p->s->ruled)
        relay_rules_settle(p);
    if (p->s->opts.to)
        return; /* the relay does the rest */
    if (p->closes && !p->held) {
        peer_close(p);
        return;
    }
    if (p->ended_in) {
        settle_ended_peer(p);
        return;
    }
    /* Many devices take the end of our side for the end of all; an answer is still wanted. */
    if (alone && sent && !answers && !o->answer && !p->held && !p->ended_out) {
        peer_end_sending(p);
    }
}

/* ---- receiving ---- */

static bool
expect_next(struct peer *p, const uint8_t *bytes, size_t len)
{
    const struct eng_bytes *want = &p->s->opts.expect;

    for (size_t i = 0; i < len; i++) {
        while (p->matched && want->data[p->matched] != bytes[i])
            p->matched = p->s->fallback[p->matched - 1];
        if (want->data[p->matched] == bytes[i])
            p->matched++;
        if (p->matched == want->len)
            return true;
    }
    return false;
}

static void
send_reply(struct peer *p)
{
    struct eng_session *s = p->s;
    struct eng_bytes made = {0};

    if (!s->opts.reply_template)
        session_rules_answer(p, s->opts.reply.data, s->opts.reply.len, NULL);
    else if (peer_render(p, s->opts.reply_template, p->replies++, s->opts.reply_eol, &made))
        session_rules_answer(p, made.len ? made.data : (const uint8_t *)"", made.len, NULL);
    eng_bytes_free(&made);
}

/* What is received, told at once, or when the answer that it is part of is whole. */
static void
take_message(struct peer *p, const uint8_t *bytes, size_t len)
{
    struct eng_session *s = p->s;

    if (s->opts.answer && s->opts.verify && s->url.stream && !s->url.framed) {
        peer_gather_answer(p, bytes, len);
        return;
    }
    p->answers++;
    peer_tell_message(p, p->far, bytes, len);
}

static void
answer(struct peer *p, struct eng_rule_acts *rule, outlet_msg *m)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (rule && p->state == PEER_OPEN)
        session_rules_act(p, rule, m);
    else if (p->s->opts.rule == ENG_RULE_ECHO)
        session_rules_answer(p, bytes, len, m);
    else if (p->s->opts.rule == ENG_RULE_REPLY)
        send_reply(p);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct peer *p = user;
    struct eng_session *s = p->s;
    struct eng_rule_acts *rule;
    bool overrun;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    if (p->state != PEER_OPEN || p->closes)
        return;
    overrun = peer_is_overrun(p);
    p->rule = overrun ? NULL : session_rules_match(s, false, bytes, len);
    p->from = session_hears_many(s) ? m : NULL;
    peer_record_message(p, p->far, bytes, len);
    take_message(p, bytes, len);
    p->from = NULL;
    rule = p->rule;
    p->rule = NULL;
    if (s->opts.expect.len && expect_next(p, bytes, len)) {
        eng_session_stop(s, ENG_DONE);
        return;
    }
    if (!overrun)
        answer(p, rule, m);
    if (s->opts.answer && p->feed.state == FEED_DONE && !s->opts.expect.len &&
        peer_is_answered(p)) {
        eng_session_stop(s, ENG_DONE);
        return;
    }
    if (p->state == PEER_OPEN && (p->full || p->held || p->later.first || p->branches))
        peer_flow(p);
    follow_sink(s);
}

static void
on_writable(outlet_conn c, void *user)
{
    struct peer *p = user;

    (void)c;
    if (p->state != PEER_OPEN)
        return;
    p->full = false;
    if (p->held)
        send_held(p);
    session_rules_pump(p);
    feed_pump(p);
    peer_settle(p);
    input_pump(p->s);
    follow_sink(p->s);
}

/* A datagram that nobody got.  Who wants an answer to it will have none. */
static void
was_refused(struct peer *p, int64_t sys_errno)
{
    struct eng_session *s = p->s;

    peer_tell_error(p, sys_errno);
    if (s->opts.role != OUTLET_TO_CONNECT || s->opts.to || p->to)
        return;
    s->lost = true;
    if (s->opts.answer && !session_asks_for_ever(s))
        eng_session_stop(s, s->totals.messages_in ? ENG_BROKEN : ENG_NOT_CONNECTED);
}

static void
on_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct peer *p = user;

    (void)c;
    if (what == OUTLET_EVENT_PEER_ERROR && p != &p->s->nobody)
        was_refused(p, value);
    if (what != OUTLET_EVENT_END || p == &p->s->nobody)
        return;
    p->ended_in = true;
    p->ended_first = !p->ended_out && p->state == PEER_OPEN;
    peer_settle(p);
}

/* ---- peers ---- */

struct peer *
peer_new(struct eng_session *s)
{
    return peer_new_in(s, &s->peers);
}

struct peer *
peer_new_in(struct eng_session *s, struct peer **list)
{
    struct peer *p = eng_alloc(sizeof *p);

    if (!p)
        return NULL;
    p->s = s;
    p->feed.fd = -1;
    p->next = *list;
    if (p->next)
        p->next->where = &p->next;
    p->where = list;
    *list = p;
    return p;
}

void
peer_free(struct peer *p)
{
    feed_stop(p);
    session_rules_drop(p);
    timer_end(&p->silence);
    outlet_buf_unref(p->held);
    eng_coder_close(p->coders[0]);
    eng_coder_close(p->coders[1]);
    eng_bytes_free(&p->text);
    eng_bytes_free(&p->piece);
    eng_bytes_free(&p->feed.made);
    eng_free(p->conn);
    *p->where = p->next;
    if (p->next)
        p->next->where = p->where;
    eng_free(p);
}

static int
on_accept(outlet_conn c, void *user)
{
    struct eng_session *s = ((struct peer *)user)->s;
    struct peer *p;

    if (s->state != SESSION_RUNNING || (s->opts.once && !s->listener.id))
        return -1;
    p = peer_new(s);
    if (!p)
        return -1;
    p->c = c;
    if (s->opts.once)
        session_close_listener(s);
    outlet_set_user(c, p);
    return 0;
}

/* A unix path is given as the URL that it came from: without our options it is an address again. */
void
session_address_of(outlet_conn c, const char *key, char *text, size_t room)
{
    size_t skip = 0;

    if (outlet_info(c, key, text, room) < 0)
        text[0] = '\0';
    text[strcspn(text, "#")] = '\0';
    if (strncmp(text, "unix", 4) == 0) {
        skip = strcspn(text, ":") + 1;
        skip += strncmp(text + skip, "//", 2) == 0 ? 2 : 0;
    }
    memmove(text, text + skip, strlen(text + skip) + 1);
}

static void
on_open(outlet_conn c, void *user)
{
    struct peer *p = user;
    struct eng_session *s = p->s;
    char local[sizeof p->name];

    if (p->state != PEER_CONNECTING)
        return;
    p->c = c;
    p->state = PEER_OPEN;
    if (p->far) {
        session_rules_pump(p);
        peer_settle(p);
        return;
    }
    p->id = ++s->totals.connections;
    p->opened_ns = session_real_ns();
    p->chance = s->opts.seed + p->id; /* each draws its own, whoever came first */
    s->opened = true;
    session_address_of(c, "peer", p->name, sizeof p->name);
    session_address_of(c, "local", local, sizeof local);
    peer_record_open(p, local);
    session_tell(
        s, &(struct eng_event){.kind = ENG_OPEN, .id = p->id, .peer = p->name, .local = local});
    if (s->opts.to)
        relay_open(p, session_handlers(s));
    if (s->opts.answer)
        session_await_answer(s); /* it limited the connecting, and begins anew when all is sent */
    feed_start(p);
    peer_settle(p);
    input_pump(s);
    follow_sink(s);
}

/* What the end of the only connection means for the session. */
static enum eng_result
result_of_close(const struct eng_session *s, const struct outlet_reason *why, bool answered)
{
    enum eng_result result = eng_result_of(why);

    if (result == ENG_DONE && s->opts.expect.len)
        return ENG_UNMET;
    if (result == ENG_DONE && s->opts.answer && !answered)
        return ENG_TIMED_OUT;
    return result;
}

/* With half_open the library sees us close; who began it is what people want to know. */
static struct outlet_reason
reason_of_close(const struct peer *p, const struct outlet_reason *why)
{
    struct outlet_reason told = p->failed.code ? p->failed : *why;

    if (why->code == OUTLET_OK && p->ended_first) {
        told.side = OUTLET_BY_PEER;
        snprintf(told.text, sizeof told.text, "closed by the peer");
    }
    return told;
}

/* Received bytes that no message was made of. */
static uint64_t
discarded(outlet_conn c)
{
    char text[24];

    return outlet_info(c, "held", text, sizeof text) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* Who wanted an answer is told what it waits for no longer. */
static void
tell_unanswered(struct eng_session *s)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = OUTLET_EEOF;
    why.phase = OUTLET_AT_OPEN;
    why.side = OUTLET_BY_PEER;
    snprintf(why.text, sizeof why.text, "the peer closed without an answer");
    session_tell_reason(s, s->opts.url, &why);
}

static void
on_close(outlet_conn c, const struct outlet_reason *from, void *user)
{
    struct peer *p = user;
    struct eng_session *s = p->s;
    bool only = s->opts.role == OUTLET_TO_CONNECT || s->opts.once;
    struct outlet_reason told = reason_of_close(p, from);
    const struct outlet_reason *why = &told;

    bool answered;

    if (p == &s->nobody)
        return;
    p->discarded += discarded(c);
    peer_record_pass(p);
    forward_left(p, why);
    peer_count_dropped(p);
    if (s->opts.to && !relay_closed(p, &told)) {
        peer_free(p);
        return;
    }
    peer_tell_piece(p);
    answered = peer_is_answered(p);
    if (p->id)
        peer_tell_close(p, why);
    if (why->code != OUTLET_OK && s->state == SESSION_RUNNING) {
        if (only && !p->told)
            session_tell_end(s, why, p->discarded);
        else if (!peer_is_forgotten(p, why))
            s->totals.errors++; /* one client's trouble is not the server's */
    } else if (s->opts.answer && !answered && s->state == SESSION_RUNNING && !s->opts.expect.len) {
        tell_unanswered(s);
    }
    peer_free(p);
    if (s->state == SESSION_RUNNING && only)
        eng_session_stop(s, result_of_close(s, why, answered));
    else if (s->state == SESSION_RUNNING)
        input_pump(s); /* the slowest reader may have been the one that left */
    session_maybe_ended(s);
}

static const struct outlet_handlers handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_accept = on_accept,
    .on_open = on_open,
    .on_message = on_message,
    .on_writable = on_writable,
    .on_event = on_event,
    .on_close = on_close,
};

/* Nothing shown, recorded or expected: then nothing is called for each message of a relay. */
static const struct outlet_handlers quiet_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_accept = on_accept,
    .on_open = on_open,
    .on_event = on_event,
    .on_close = on_close,
};

/* The relay is ours. */
static const struct outlet_handlers ruled_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_accept = on_accept,
    .on_open = on_open,
    .on_message = relay_rules_message,
    .on_writable = on_writable,
    .on_event = on_event,
    .on_close = on_close,
};

const struct outlet_handlers *
session_handlers(const struct eng_session *s)
{
    bool quiet = s->opts.to && s->opts.sink->quiet_messages && !s->opts.expect.len &&
                 !s->opts.recorder;

    return s->ruled ? &ruled_handlers : quiet ? &quiet_handlers : &handlers;
}

void
eng_session_flow(struct eng_session *s)
{
    follow_sink(s);
    input_pump(s);
}
