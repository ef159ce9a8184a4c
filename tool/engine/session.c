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
#include <string.h>
#include <time.h>

enum {
    STOP_MS = 1000,          /* an orderly end may take this long */
    FLUSH_MS = 60000,        /* what is queued at the peer's end is still delivered */
    ONCE_DATAGRAM_MS = 5000, /* datagrams have no end: silence is one */
    EXPECT_MS = 5000,
    ANSWER_MAX = 1024 * 1024 /* bytes in which the checksum of an answer is looked for */
};

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

/* ---- telling ---- */

bool
session_is_busy(const struct eng_session *s)
{
    return s->opts.sink->busy || (s->opts.recorder && eng_recorder_is_full(s->opts.recorder));
}

/* Pause or resume everyone when the sink's or the recorder's mind has changed. */
static void
follow_sink(struct eng_session *s)
{
    bool busy = session_is_busy(s);

    if (busy == s->was_busy)
        return;
    s->was_busy = busy;
    for (struct peer *p = s->peers; p; p = p->next) {
        feed_pump(p);
        peer_settle(p);
    }
}

static void
tell(struct eng_session *s, const struct eng_event *event)
{
    s->opts.sink->emit(s->opts.sink, event);
}

static bool
hears_many(const struct eng_session *s)
{
    return s->opts.role == OUTLET_TO_CONNECT && !s->opts.to && strcmp(s->url.scheme, "udp") == 0;
}

/* What we connected to may be a group or a broadcast address: then the sender is somebody in it. */
static const char *
sender_of(const struct peer *p, char *room, size_t size)
{
    if (!p->from || outlet_msg_peer(p->from, room, size) >= size)
        return NULL;
    return strcmp(room, p->name) == 0 ? NULL : room;
}

static void
check_message(struct eng_session *s, struct eng_event *e)
{
    /* A checksum stands in front of the end of a line, if there is one. */
    size_t len = eng_without_eol(e->bytes, e->size, s->opts.eol);

    e->sum = s->opts.verify;
    e->check = eng_sum_check(e->sum, e->bytes, len, &e->sum_has, &e->sum_want);
    if (e->check == ENG_GOOD)
        s->totals.good++;
    else
        s->totals.bad++;
    if (e->check == ENG_GOOD && s->opts.strip)
        e->hidden = e->size - len + eng_sum_size(e->sum);
}

/* The decoder of a direction keeps what a message cut off.  NULL: no memory. */
static struct eng_coder *
coder_of(struct peer *p, bool out)
{
    if (!p->coders[out])
        p->coders[out] = eng_decoder_open(p->s->opts.charset);
    return p->coders[out];
}

static void
decode_message(struct peer *p, struct eng_event *e)
{
    struct eng_coder *coder = coder_of(p, e->out);
    bool amid;

    if (!coder) {
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--charset");
        return;
    }
    amid = eng_coder_is_amid(coder);
    p->text.len = 0;
    eng_decode(coder, e->bytes, e->size - e->hidden, &p->text);
    e->text = p->text.len ? p->text.data : (const uint8_t *)"";
    e->text_len = p->text.len;
    e->text_whole = !amid && !eng_coder_is_amid(coder) &&
                    eng_decoded_is_whole(e->text, e->text_len);
}

static void
tell_message(struct peer *p, bool out, const void *bytes, size_t len)
{
    struct eng_session *s = p->s;
    char sender[sizeof p->name];
    struct eng_event e = {
        .kind = ENG_MESSAGE, .id = p->id, .peer = p->name, .out = out, .bytes = bytes, .size = len};

    p->messages[out]++;
    p->bytes[out] += len;
    if (s->opts.to) {
        /* counted at the end of each side, by the library */
    } else if (out) {
        s->totals.messages_out++;
        s->totals.bytes_out += len;
    } else {
        s->totals.messages_in++;
        s->totals.bytes_in += len;
    }
    if (!out && s->opts.verify)
        check_message(s, &e);
    if (s->opts.sink->quiet_messages)
        return;
    if (!out) {
        e.sender = sender_of(p, sender, sizeof sender);
        e.rule = p->rule ? p->rule->name : NULL;
    }
    if (s->opts.charset)
        decode_message(p, &e);
    tell(s, &e);
}

/* `url` is NULL when the error is not about the endpoint. */
static void
tell_error(struct eng_session *s, const char *url, const struct outlet_reason *why)
{
    s->totals.errors++;
    tell(s, &(struct eng_event){.kind = ENG_ERROR, .url = url, .role = s->opts.role, .why = why});
}

void
session_tell_error(struct eng_session *s, const char *text)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = OUTLET_EINVAL;
    why.side = OUTLET_BY_US;
    snprintf(why.text, sizeof why.text, "%s", text);
    tell_error(s, NULL, &why);
}

void
session_fail(struct eng_session *s, enum eng_result result, outlet_err code, int sys_errno,
             const char *about)
{
    struct outlet_reason why = OUTLET_REASON;

    if (s->state != SESSION_RUNNING)
        return;
    why.code = code;
    why.side = OUTLET_BY_US;
    why.sys_errno = sys_errno;
    snprintf(why.text, sizeof why.text, "%s: %s", about,
             sys_errno ? strerror(sys_errno) : outlet_strerror(code));
    tell_error(s, result == ENG_TIMED_OUT ? s->opts.url : NULL, &why);
    eng_session_stop(s, result);
}

void
eng_session_totals(const struct eng_session *s, struct eng_totals *out)
{
    *out = s->totals;
    for (const struct peer *p = s->opts.to ? s->peers : NULL; p; p = p->next)
        relay_count(p, out);
    out->ms = session_now_ms() - s->started_ms;
}

/* ---- ending ---- */

static void
maybe_ended(struct eng_session *s)
{
    if (s->state != SESSION_STOPPING || s->peers)
        return;
    s->state = SESSION_ENDED;
    timer_end(&s->deadline);
    session_record_lost(s);
    s->opts.ended(s->opts.user, s->result);
}

static void
stop_too_slow(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;

    (void)t;
    s->deadline.id = 0;
    for (struct peer *p = s->peers; p; p = p->next)
        outlet_abort(p->c);
}

static void
close_listener(struct eng_session *s)
{
    if (s->listener.id)
        outlet_listener_close(s->listener);
    s->listener.id = 0;
}

void
eng_session_stop(struct eng_session *s, enum eng_result result)
{
    if (s->state != SESSION_RUNNING)
        return;
    s->state = SESSION_STOPPING;
    s->result = result == ENG_DONE && s->totals.bad ? ENG_UNMET : result;
    timer_end(&s->time);
    tick_stop(s);
    input_stop(s);
    session_count_dropped(s);
    close_listener(s);
    for (struct peer *p = s->peers; p; p = p->next) {
        feed_stop(p);
        if (p->state == PEER_CONNECTING)
            outlet_abort(p->c);
        else if (p->state == PEER_OPEN)
            outlet_close(p->c);
        p->state = PEER_CLOSING;
    }
    if (s->peers &&
        outlet_timer_start(s->loop, STOP_MS, 0, stop_too_slow, s, &s->deadline) != OUTLET_OK)
        stop_too_slow(s->deadline, s); /* no memory for a timer: do not wait at all */
    maybe_ended(s);
}

/* An answer whose checksum never came right is one all the same, and told to be bad. */
static void
tell_piece(struct peer *p)
{
    struct eng_bytes piece = p->piece;

    if (piece.len == 0)
        return;
    p->piece = (struct eng_bytes){0};
    p->answers++;
    tell_message(p, false, piece.data, piece.len);
    eng_bytes_free(&piece);
}

/* A stream cuts an answer anywhere; the checksum says where it ends. */
static void
gather_answer(struct peer *p, const uint8_t *bytes, size_t len)
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
        tell_piece(p);
}

/* Without `count` it is asked until the time is over, and one answer is enough. */
static bool
asks_for_ever(const struct eng_session *s)
{
    return s->opts.every_ms && !s->opts.count;
}

/* Are there as many answers as there must be?  A stream without frames does not say how many. */
static bool
is_answered(const struct peer *p)
{
    const struct eng_session *s = p->s;

    if (asks_for_ever(s) || (s->url.stream && !s->url.framed))
        return p->answers > 0;
    return p->answers >= (uint64_t)(s->opts.count ? s->opts.count : 1);
}

static enum eng_result
result_of_silence(struct eng_session *s)
{
    struct peer *p = s->peers;

    if (!p)
        return ENG_TIMED_OUT;
    tell_piece(p);
    return is_answered(p) ? ENG_DONE : ENG_TIMED_OUT;
}

static void
time_is_over(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;
    bool reached = s->opts.role != OUTLET_TO_CONNECT || s->opened;
    enum eng_result result = ENG_DONE;

    (void)t;
    s->time.id = 0;
    if (!reached)
        result = ENG_TIMED_OUT;
    else if (s->opts.expect.len)
        result = ENG_UNMET;
    else if (s->opts.answer)
        result = result_of_silence(s);
    if (!reached)
        session_fail(s, result, OUTLET_ETIMEDOUT, 0, s->opts.url);
    else
        eng_session_stop(s, result);
}

/* The time to wait for an answer begins when there is nothing left to ask. */
static void
await_answer(struct eng_session *s)
{
    int64_t ms = s->opts.time_ms ? s->opts.time_ms : asks_for_ever(s) ? 0 : EXPECT_MS;

    timer_end(&s->time);
    if (ms && outlet_timer_start(s->loop, ms, 0, time_is_over, s, &s->time) != OUTLET_OK)
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--time");
}

void
session_all_is_sent(struct peer *p)
{
    if (p->s->opts.answer)
        await_answer(p->s);
}

/* ---- sending ---- */

bool
peer_render_with(struct peer *p, const struct eng_template *t, uint64_t n,
                 const struct eng_sum *append, const char *eol, struct eng_bytes *out)
{
    struct eng_context context = {.n = n,
                                  .client = p->id,
                                  .peer = p->name,
                                  .chance = &p->chance,
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
    return peer_render_with(p, t, n, p->s->opts.append, eol, out);
}

bool
peer_can_send(const struct peer *p)
{
    return p->state == PEER_OPEN && !p->full && !p->held && !p->ended_out;
}

static void
send_answer(struct peer *p, int64_t answer, const void *bytes, size_t len)
{
    if (answer >= 0) {
        p->full = p->s->trusts_high && answer > QUEUE_HIGH;
        peer_record_message(p, true, bytes, len);
        tell_message(p, true, bytes, len);
    } else if (answer != OUTLET_ESTATE && answer != OUTLET_ESTALE) {
        session_fail(p->s, answer == OUTLET_ENOMEM ? ENG_INTERNAL : ENG_BROKEN, (outlet_err)answer,
                     0, "a message could not be sent");
    }
}

/* `from` is the received message that the bytes are of, or NULL: it is retained rather than
 * copied. */
void
peer_send(struct peer *p, const void *bytes, size_t len, outlet_msg *from)
{
    int64_t answer = outlet_send(p->c, bytes, len);

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

static void
peer_flow(struct peer *p)
{
    bool answers = session_answers(p->s);
    bool loses = p->s->datagrams && p->s->opts.recorder; /* what comes while it is paused */
    bool pause = (session_is_busy(p->s) && !loses) ||
                 (answers && (p->full || p->held || session_rules_is_full(p)));

    if (pause == p->paused)
        return;
    p->paused = pause;
    if (pause)
        outlet_pause(p->c);
    else
        outlet_resume(p->c);
}

static void
peer_close(struct peer *p)
{
    p->state = PEER_CLOSING;
    feed_stop(p);
    session_rules_drop(p);
    session_count_dropped(p->s);
    outlet_close(p->c);
}

/* The peer has ended its side.  Close, unless something is still to be sent. */
static void
settle_ended_peer(struct peer *p)
{
    const struct eng_session *s = p->s;
    bool feeding = p->feed.state == FEED_RUNNING && !s->opts.every_ms;

    if (p->held || p->later.first || feeding)
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

    if (p->state != PEER_OPEN)
        return;
    peer_flow(p);
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
        p->ended_out = true;
        /* Where there is no half-close the peer cannot be told: reading goes on all the same. */
        (void)outlet_end(p->c);
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

static bool
expect_prepare(struct eng_session *s)
{
    const struct eng_bytes *want = &s->opts.expect;
    size_t n = 0;

    if (!want->len)
        return true;
    s->fallback = eng_alloc(want->len * sizeof *s->fallback);
    if (!s->fallback)
        return false;
    for (size_t i = 1; i < want->len; i++) {
        while (n && want->data[n] != want->data[i])
            n = s->fallback[n - 1];
        if (want->data[n] == want->data[i])
            n++;
        s->fallback[i] = n;
    }
    return true;
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
        gather_answer(p, bytes, len);
        return;
    }
    p->answers++;
    tell_message(p, p->far, bytes, len);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct peer *p = user;
    struct eng_session *s = p->s;
    struct eng_rule_acts *rule;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    if (p->state != PEER_OPEN || p->closes)
        return;
    p->rule = session_rules_match(s, bytes, len);
    p->from = hears_many(s) ? m : NULL;
    peer_record_message(p, p->far, bytes, len);
    take_message(p, bytes, len);
    p->from = NULL;
    rule = p->rule;
    p->rule = NULL;
    if (s->opts.expect.len && expect_next(p, bytes, len)) {
        eng_session_stop(s, ENG_DONE);
        return;
    }
    if (rule && p->state == PEER_OPEN)
        session_rules_act(p, rule, m);
    else if (s->opts.rule == ENG_RULE_ECHO)
        session_rules_answer(p, bytes, len, m);
    else if (s->opts.rule == ENG_RULE_REPLY)
        send_reply(p);
    if (s->opts.answer && p->feed.state == FEED_DONE && !s->opts.expect.len && is_answered(p)) {
        eng_session_stop(s, ENG_DONE);
        return;
    }
    if (p->state == PEER_OPEN && (p->full || p->held || p->later.first))
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

static void
on_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct peer *p = user;

    (void)c;
    (void)value;
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
    struct peer *p = eng_alloc(sizeof *p);

    if (!p)
        return NULL;
    p->s = s;
    p->feed.fd = -1;
    p->next = s->peers;
    if (p->next)
        p->next->where = &p->next;
    p->where = &s->peers;
    s->peers = p;
    return p;
}

void
peer_free(struct peer *p)
{
    feed_stop(p);
    session_rules_drop(p);
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
        close_listener(s);
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

static const struct outlet_handlers *handlers_of(const struct eng_session *s);

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
    tell(s, &(struct eng_event){.kind = ENG_OPEN, .id = p->id, .peer = p->name, .local = local});
    if (s->opts.to)
        relay_open(p, handlers_of(s));
    if (s->opts.answer && asks_for_ever(s))
        await_answer(s);
    else if (s->opts.answer)
        timer_end(&s->time); /* it limited the connecting, and begins anew when all is sent */
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
    struct outlet_reason told = *why;

    if (why->code == OUTLET_OK && p->ended_first) {
        told.side = OUTLET_BY_PEER;
        snprintf(told.text, sizeof told.text, "closed by the peer");
    }
    return told;
}

/* With the beginning of a character that never ended. */
static void
tell_close(struct peer *p, const struct outlet_reason *why)
{
    struct eng_event e = {.kind = ENG_CLOSE, .id = p->id, .peer = p->name, .why = why};

    if (p->coders[false]) {
        p->text.len = 0;
        eng_decode_end(p->coders[false], &p->text);
        e.text = p->text.data;
        e.text_len = p->text.len;
    }
    peer_record_close(p, why);
    tell(p->s, &e);
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

    (void)c;
    if (p == &s->nobody)
        return;
    peer_record_pass(p);
    if (s->opts.to && !relay_closed(p, &told)) {
        peer_free(p);
        return;
    }
    tell_piece(p);
    answered = is_answered(p);
    if (p->id)
        tell_close(p, why);
    if (why->code != OUTLET_OK && s->state == SESSION_RUNNING) {
        if (only && !p->told)
            tell_error(s, s->opts.url, why);
        else
            s->totals.errors++; /* one client's trouble is not the server's */
    }
    peer_free(p);
    if (s->state == SESSION_RUNNING && only)
        eng_session_stop(s, result_of_close(s, why, answered));
    else if (s->state == SESSION_RUNNING)
        input_pump(s); /* the slowest reader may have been the one that left */
    maybe_ended(s);
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
    .on_close = on_close,
};

static const struct outlet_handlers *
handlers_of(const struct eng_session *s)
{
    bool quiet = s->opts.to && s->opts.sink->quiet_messages && !s->opts.expect.len &&
                 !s->opts.recorder;

    return quiet ? &quiet_handlers : &handlers;
}

void
eng_session_flow(struct eng_session *s)
{
    follow_sink(s);
    input_pump(s);
}

/* ---- starting ---- */

static enum eng_result
start_failed(struct outlet_reason *why, outlet_err err)
{
    enum eng_result result;

    why->code = err;
    if (!why->text[0])
        snprintf(why->text, sizeof why->text, "%s", outlet_strerror(err));
    result = eng_result_of(why);
    return result == ENG_DONE ? ENG_INTERNAL : result;
}

static enum eng_result
open_endpoint(struct eng_session *s, struct outlet_reason *why)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct peer *p;
    outlet_err err;

    opts.on = handlers_of(s);
    opts.user = &s->nobody;
    opts.why = why;
    if (!s->opts.to) { /* a relay passes on the peers' ends itself */
        opts.half_open = s->url.stream ? OUTLET_ON : 0;
        opts.flush_ms = FLUSH_MS;
    }
    if (s->url.stream)
        opts.idle_ms = OUTLET_OFF;
    else if (s->opts.once && s->opts.role == OUTLET_TO_LISTEN)
        opts.idle_ms = ONCE_DATAGRAM_MS;
    if (s->opts.role == OUTLET_TO_LISTEN) {
        err = outlet_listen(s->loop, s->opts.url, &opts, &s->listener);
        return err ? start_failed(why, err) : ENG_DONE;
    }
    p = peer_new(s);
    if (!p)
        return start_failed(why, OUTLET_ENOMEM);
    opts.user = p;
    err = outlet_connect(s->loop, s->opts.url, &opts, &p->c);
    if (!err)
        return ENG_DONE;
    peer_free(p);
    return start_failed(why, err);
}

/* Is it a datagram socket, to which our wish for a half-close means nothing? */
static bool
has_no_half_close(const struct eng_session *s, const struct outlet_reason *why)
{
    return s->url.stream && strcmp(s->url.scheme, "fd") == 0 && why->position < 0 &&
           strcmp(why->key, "half_open") == 0;
}

/* What a descriptor is shows when it has been taken up: fd:3 may be anything.  Until then it is no
 * stream, so that a file was loaded as one message. */
static enum eng_result
open_descriptor(struct eng_session *s, struct outlet_reason *why)
{
    enum eng_result result;
    char transport[32] = "";
    int64_t told;

    s->url.stream = true;
    result = open_endpoint(s, why);
    if (result && has_no_half_close(s, why)) {
        *why = (struct outlet_reason)OUTLET_REASON;
        s->url.stream = false;
        result = open_endpoint(s, why);
    }
    if (result)
        return result;
    told = s->listener.id
               ? outlet_listener_info(s->listener, "transport", transport, sizeof transport)
               : outlet_info(s->peers->c, "transport", transport, sizeof transport);
    s->url.stream = told > 0 && (strcmp(transport, "tcp") == 0 || strcmp(transport, "unix") == 0);
    return ENG_DONE;
}

/* The URL as it was asked for, with the port that was picked: our own defaults say nothing to
 * people.  NULL: no memory. */
static char *
url_new(const struct eng_session *s)
{
    const char *options = s->opts.url + strcspn(s->opts.url, "#?");
    char place[1024]; /* what stands behind it is cut off anyway */
    char *url;

    if (outlet_listener_info(s->listener, "url", place, sizeof place) < 0)
        snprintf(place, sizeof place, "%s", s->opts.url);
    place[strcspn(place, "#?")] = '\0';
    url = eng_alloc(strlen(place) + strlen(options) + 1); /* lists may be long */
    if (url)
        snprintf(url, strlen(place) + strlen(options) + 1, "%s%s", place, options);
    return url;
}

static void
tell_listening(struct eng_session *s)
{
    char *url = url_new(s);

    session_record_start(s, url ? url : s->opts.url);
    tell(s, &(struct eng_event){.kind = ENG_LISTENING,
                                .url = url ? url : s->opts.url,
                                .driver = outlet_loop_driver(s->loop)});
    eng_free(url);
}

void
eng_session_record(struct eng_session *s, struct eng_recorder *recorder)
{
    char *url = s->listener.id ? url_new(s) : NULL;

    s->opts.recorder = recorder;
    session_count_dropped(s);
    s->dropped_before = s->totals.dropped;
    session_record_start(s, url ? url : s->opts.url);
    eng_free(url);
    for (struct peer *p = s->peers; p; p = p->next) {
        char local[sizeof p->name];

        eng_free(p->conn);
        p->conn = NULL;
        if (p->state != PEER_OPEN || p->far || !p->id)
            continue;
        session_address_of(p->c, "local", local, sizeof local);
        peer_record_open(p, local);
        peer_settle(p);
    }
}

enum eng_result
eng_session_start(outlet_loop *loop, const struct eng_session_opts *opts, struct eng_session **out,
                  struct outlet_reason *why)
{
    struct eng_session *s = eng_alloc(sizeof *s);
    enum eng_result result;
    char high[32];
    int64_t time_ms;

    if (!s)
        return start_failed(why, OUTLET_ENOMEM);
    s->loop = loop;
    s->opts = *opts;
    s->rules = opts->rules;
    s->nobody.s = s;
    s->started_ms = session_now_ms();
    s->tick.fd = -1;
    s->trusts_high = !eng_url_option(opts->url, "high", high, sizeof high);
    if (!expect_prepare(s)) {
        result = start_failed(why, OUTLET_ENOMEM);
        goto free_session;
    }
    if (outlet_url_check(opts->url, opts->role, why) != OUTLET_OK) {
        result = ENG_USAGE;
        goto free_fallback;
    }
    (void)eng_url_split(opts->url, opts->role, &s->url); /* it was checked just now */
    if (opts->to && outlet_url_check(opts->to, OUTLET_TO_CONNECT, why) != OUTLET_OK) {
        result = ENG_USAGE;
        goto free_fallback;
    }
    s->datagrams = strcmp(s->url.scheme, "udp") == 0;
    result = feed_prepare(s, why);
    if (result)
        goto free_fallback;
    time_ms = opts->time_ms ? opts->time_ms : opts->expect.len ? EXPECT_MS : 0;
    if (tick_start(s) != OUTLET_OK) {
        result = start_failed(why, OUTLET_ENOFILE);
        goto stop_tick;
    }
    if (time_ms) {
        outlet_err err = outlet_timer_start(loop, time_ms, 0, time_is_over, s, &s->time);

        if (err) {
            result = start_failed(why, err);
            goto stop_tick;
        }
    }
    result = strcmp(s->url.scheme, "fd") == 0 ? open_descriptor(s, why) : open_endpoint(s, why);
    if (result)
        goto stop_time;
    *out = s;
    if (opts->role == OUTLET_TO_LISTEN)
        tell_listening(s);
    else
        session_record_start(s, opts->url);
    return ENG_DONE;

stop_time:
    timer_end(&s->time);
stop_tick:
    tick_stop(s);
    tick_free(s);
    input_free(s);
free_fallback:
    eng_free(s->fallback);
free_session:
    eng_free(s);
    return result;
}

void
eng_session_free(struct eng_session *s)
{
    if (!s)
        return;
    while (s->peers)
        peer_free(s->peers);
    input_stop(s);
    input_free(s);
    tick_free(s);
    eng_rules_free(s->rules);
    eng_free(s->fallback);
    eng_free(s);
}
