/*
 * relay_rules.c - a relay that has rules: what a side receives is passed on by us.
 *
 *     near receives --> rules --> passed on, perhaps later --> far sends; above `high` near waits
 *                         '-----> answered by a rule --------> near sends
 *
 * outlet_relay() cannot hold a message back, so here the session does its work: both sides are half
 * open, and a side's end is passed on when all that it sent has gone.  A newcomer's mistake: to
 * stop receiving from whoever does not read.  A client may write all that it has before it reads;
 * only what is answered to a side itself, or what the other one cannot take, may make it wait.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The other side of one that has ended, but cannot be told: how long it may answer in silence.  As
 * outlet_relay() does. */
enum { SILENCE_MS = 5000 };

/* ---- ends -------------------------------------------------------------------------------- */

static void
abort_side(struct peer *p)
{
    if (!p || p->state == PEER_CLOSING)
        return;
    p->state = PEER_CLOSING;
    session_rules_drop(p);
    outlet_abort(p->c);
}

/* Nothing more is taken from it; it is closed when what waits for it has gone. */
static void
close_side(struct peer *p)
{
    if (!p)
        return;
    p->closes = true;
    if (p->state == PEER_CONNECTING && !p->later.first)
        abort_side(p); /* nobody is there to wait for */
    else
        peer_settle(p);
}

void
relay_rules_end(struct peer *p, enum eng_rule_close close)
{
    session_rules_drop(p); /* it came behind this */
    if (close == ENG_CLOSE_RESET) {
        abort_side(p->twin);
        abort_side(p);
        return;
    }
    p->closes = true; /* before its twin asks */
    close_side(p->twin);
    close_side(p);
}

void
relay_rules_left(struct peer *p, const struct outlet_reason *why)
{
    timer_end(&p->silence);
    if (why->code == OUTLET_OK)
        close_side(p);
    else
        abort_side(p);
}

void
relay_rules_cannot(struct peer *p, outlet_err code, size_t len)
{
    struct outlet_reason why = OUTLET_REASON;

    if (code == OUTLET_ESTATE || code == OUTLET_ESTALE || (code == OUTLET_EINVAL && len == 0))
        return; /* it is closing; or it has no empty messages */
    why.code = code;
    why.phase = OUTLET_AT_OPEN;
    why.side = OUTLET_BY_US;
    snprintf(why.text, sizeof why.text, "%s",
             code == OUTLET_EMSGSIZE || code == OUTLET_EINVAL
                 ? "one side of the relay cannot carry what it was to be sent: too long for it, or "
                   "not for its framing"
                 : outlet_strerror(code));
    p->failed = why;
    abort_side(p->twin);
    abort_side(p);
}

/* ---- half-closes ------------------------------------------------------------------------- */

static void
silence_is_over(outlet_timer t, void *arg)
{
    struct peer *p = arg;

    (void)t;
    p->silence.id = 0;
    relay_rules_end(p, ENG_CLOSE_ORDERLY);
}

/* Of `p`, whose twin has ended and cannot tell it. */
static void
await_silence(struct peer *p)
{
    timer_end(&p->silence);
    if (outlet_timer_start(p->s->loop, SILENCE_MS, 0, silence_is_over, p, &p->silence) != OUTLET_OK)
        relay_rules_end(p, ENG_CLOSE_ORDERLY); /* no memory for a timer: do not wait at all */
}

static void
moved(struct peer *p)
{
    if (p->silence.id)
        await_silence(p);
    if (p->twin && p->twin->silence.id)
        await_silence(p->twin);
}

static void
pass_end(struct peer *from, struct peer *to)
{
    if (!from->ended_in || to->ended_out || to->state != PEER_OPEN || to->closes)
        return;
    if (to->later.first || to->held)
        return;
    to->ended_out = true;
    if (outlet_end(to->c) != OUTLET_OK)
        await_silence(to);
}

static void
settle_side(struct peer *p)
{
    if (p->state != PEER_OPEN)
        return;
    peer_flow(p);
    if (p->closes ? !p->held && !p->later.first : p->ended_in && p->ended_out)
        peer_close(p);
}

bool
relay_rules_is_blocked(const struct peer *p)
{
    const struct peer *to = p->twin;

    return session_rules_is_full(p, false) ||
           (to && (to->full || to->held || session_rules_is_full(to, true)));
}

/* One side's news are the other's, too. */
void
relay_rules_settle(struct peer *p)
{
    struct peer *twin = p->twin;

    if (twin) {
        pass_end(p, twin);
        if (p->twin)
            pass_end(twin, p);
        settle_side(twin);
    }
    settle_side(p);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* Told was what passes when it came; recorded is what the client got, when it did. */
void
relay_rules_sent(struct peer *p, const void *bytes, size_t len)
{
    struct eng_rule_acts *rule = p->rule;

    if (!p->far) {
        p->rule = (struct eng_rule_acts *)(uintptr_t)p->passed_by;
        peer_record_message(p, true, bytes, len);
        p->rule = NULL;
    }
    if (!p->passes)
        peer_tell_message(p, !p->far, bytes, len);
    p->rule = rule;
}

static void
take(struct peer *p, struct eng_rule_acts *rule, bool stays, const uint8_t *bytes, size_t len)
{
    p->rule = rule;
    p->stays = stays;
    if (!p->far)
        peer_record_message(p, false, bytes, len);
    peer_tell_message(p, p->far, bytes, len);
    p->rule = NULL;
    p->stays = false;
}

/* What has no borders may be more than the other side can take at once. */
static void
pass(struct peer *p, const struct eng_rule_acts *rule, outlet_msg *m)
{
    struct peer *to = p->twin;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    size_t piece = p->has_borders || len <= to->portion ? len : to->portion;
    size_t done = 0;

    do {
        size_t part = len - done < piece ? len - done : piece;

        session_rules_do(to, &(struct session_act){.sends = true,
                                                   .passes = true,
                                                   .rule = rule,
                                                   .bytes = bytes + done,
                                                   .len = part,
                                                   .from = part == len ? m : NULL,
                                                   .delay_ms = rule ? rule->delay_ms : 0});
        done += part;
    } while (done < len);
}

void
relay_rules_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct peer *p = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    struct eng_rule_acts *rule;
    bool passes;

    (void)c;
    if (p->state != PEER_OPEN || p->closes)
        return;
    rule = session_rules_match(p->s, p->far, bytes, len);
    /* A datagram without its tail is not what was sent. */
    passes = (!rule || rule->passes) && !(outlet_msg_flags(m) & OUTLET_MSG_TRUNCATED);
    take(p, rule, !passes, bytes, len);
    if (p->state != PEER_OPEN)
        return;
    moved(p);
    if (passes && p->twin)
        pass(p, rule, m);
    if (rule && p->state == PEER_OPEN)
        session_rules_act(p, rule, m);
    peer_settle(p);
    eng_session_flow(p->s);
}

/* ---- both sides -------------------------------------------------------------------------- */

/* 64K, as the URL says it. */
static size_t
number_of(const char *url, const char *key, size_t otherwise)
{
    char text[32];
    char *unit;
    unsigned long long n;

    if (!eng_url_option(url, key, text, sizeof text))
        return otherwise;
    n = strtoull(text, &unit, 10);
    n <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0;
    return n ? (size_t)n : otherwise; /* off */
}

static void
look_at(struct peer *p, const char *url)
{
    size_t cap = number_of(url, "cap", SIZE_MAX) / 2; /* the framing's own bytes count, too */
    char transport[32] = "";
    char frame[64];

    (void)outlet_info(p->c, "transport", transport, sizeof transport);
    p->has_borders = (strcmp(transport, "tcp") != 0 && strcmp(transport, "unix") != 0) ||
                     (eng_url_option(url, "frame", frame, sizeof frame) &&
                      strcmp(frame, "none") != 0);
    p->portion = number_of(url, "max", DATAGRAM_MAX);
    p->portion = p->portion < DATAGRAM_MAX ? p->portion : DATAGRAM_MAX;
    if (p->portion > cap)
        p->portion = cap ? cap : 1;
}

/* What a descriptor is shows when it has been taken up. */
static bool
has_no_half_close(const struct outlet_reason *why)
{
    return why->position < 0 && strcmp(why->key, "half_open") == 0;
}

outlet_err
relay_rules_connect(struct peer *near, struct peer *far, struct outlet_opts *opts)
{
    struct eng_session *s = far->s;
    struct eng_url url;
    bool is_fd;
    outlet_err err;

    (void)eng_url_split(s->opts.to, OUTLET_TO_CONNECT, &url); /* it was checked at the start */
    is_fd = strcmp(url.scheme, "fd") == 0;
    opts->half_open = url.stream || is_fd || strcmp(url.scheme, "unix-seqpacket") == 0 ? OUTLET_ON
                                                                                       : 0;
    opts->flush_ms = FLUSH_MS;
    err = outlet_connect(s->loop, s->opts.to, opts, &far->c);
    if (err && is_fd && has_no_half_close(opts->why)) {
        *opts->why = (struct outlet_reason)OUTLET_REASON;
        opts->half_open = 0;
        err = outlet_connect(s->loop, s->opts.to, opts, &far->c);
    }
    if (err)
        return err;
    look_at(near, s->opts.url);
    look_at(far, s->opts.to);
    return OUTLET_OK;
}
