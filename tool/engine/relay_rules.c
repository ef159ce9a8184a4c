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
    if (why->code == OUTLET_OK && p->ended_in && p->branches)
        peer_settle(p);
    else if (why->code == OUTLET_OK)
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
                 ? "this side cannot carry what it was to be sent: too long for it, or "
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

static void
moved(struct peer *p)
{
    forward_moved(p);
    if (p->twin)
        forward_moved(p->twin);
}

static void
pass_end(struct peer *from, struct peer *to)
{
    if (!from->ended_in || to->ended_out || to->state != PEER_OPEN || to->closes)
        return;
    if (to->later.first || to->held || (to->ended_in && to->branches))
        return; /* they may still answer */
    forward_end(to, silence_is_over);
}

/* A client that has ended waits for all that may still answer, its branches as well. */
static bool
is_done(const struct peer *p)
{
    if (p->held || p->later.first)
        return false;
    if (p->closes || !p->ended_in || p->branches)
        return p->closes;
    return p->ended_out || !p->twin;
}

static void
settle_side(struct peer *p)
{
    if (p->state != PEER_OPEN)
        return;
    peer_flow(p);
    forward_settle(p);
    if (is_done(p))
        peer_close(p);
}

bool
relay_rules_is_blocked(const struct peer *p)
{
    const struct peer *to = p->twin;

    return session_rules_is_full(p, false) || (to && forward_has_no_room(to));
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

void
relay_rules_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct peer *p = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    struct eng_rule_acts *rule;
    bool overrun;
    bool passes;

    (void)c;
    if (p->state != PEER_OPEN || p->closes)
        return;
    overrun = peer_is_overrun(p);
    rule = overrun ? NULL : session_rules_match(p->s, p->far, bytes, len);
    /* A datagram without its tail is not what was sent. */
    passes = !overrun && (!rule || rule->passes) && !(outlet_msg_flags(m) & OUTLET_MSG_TRUNCATED);
    take(p, rule, !passes && !(rule && rule->forward == ENG_FORWARD_URL), bytes, len);
    if (p->state != PEER_OPEN)
        return;
    moved(p);
    if (passes && p->twin)
        forward_pass(p, p->twin, rule, m);
    if (rule && p->state == PEER_OPEN)
        session_rules_act(p, rule, m);
    peer_settle(p);
    eng_session_flow(p->s);
}
