/*
 * forward.c - what a connection received another sends: `forward` of rules, and their relay.
 *
 *     client --> rules --> forward = URL     a branch: a connection of its own to that URL
 *        ^                     '--> what it answers goes back to the client
 *        '------ rules <-- forward = others  from any other client
 *
 * A branch is made at the first match and kept; when its server has ended it, the next match makes
 * another one.  It stands in a list of the session apart from the clients, so that nothing that is
 * for clients goes there.  A newcomer's mistake: to let the slowest reader grow a queue.  Whoever
 * sends to one who has no room is paused; but nobody is for what he does not read himself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end of one side cannot be told to a server without a half-close: how long it may answer in
 * silence.  As outlet_relay() does. */
enum { SILENCE_MS = 5000 };

/* ---- pieces ------------------------------------------------------------------------------ */

/* What it is shows when it is made: fd:3 may be anything. */
static void
look_at(struct peer *p)
{
    const char *url = p->to ? p->to : p->far ? p->s->opts.to : p->s->opts.url;
    size_t cap = eng_url_size(url, "cap", SIZE_MAX) / 2; /* the framing's own bytes count, too */
    char transport[32] = "";
    char frame[64] = "none";

    if (p->portion)
        return;
    (void)outlet_info(p->c, "transport", transport, sizeof transport);
    (void)eng_url_option(url, "frame", frame, sizeof frame);
    p->has_borders = (strcmp(transport, "tcp") != 0 && strcmp(transport, "unix") != 0) ||
                     strcmp(frame, "none") != 0;
    p->portion = eng_url_size(url, "max", DATAGRAM_MAX);
    p->portion = p->portion < DATAGRAM_MAX ? p->portion : DATAGRAM_MAX;
    if (p->portion > cap)
        p->portion = cap ? cap : 1;
}

/* What has no borders may be more than the other side can take at once. */
void
forward_pass(struct peer *from, struct peer *to, const struct eng_rule_acts *rule, outlet_msg *m)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    size_t piece = len;
    size_t done = 0;

    look_at(from);
    look_at(to);
    if (!from->has_borders && len > to->portion)
        piece = to->portion;
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

bool
forward_has_no_room(const struct peer *p)
{
    return p->full || p->held || session_rules_is_full(p, true);
}

/* ---- to a side that may have no half-close ----------------------------------------------- */

outlet_err
forward_connect(struct peer *p, const char *url, struct outlet_opts *opts)
{
    struct eng_url parts;
    bool is_fd;
    outlet_err err;

    (void)eng_url_split(url, OUTLET_TO_CONNECT, &parts); /* it was checked at the start */
    is_fd = strcmp(parts.scheme, "fd") == 0;
    opts->half_open = parts.stream || is_fd || strcmp(parts.scheme, "unix-seqpacket") == 0
                          ? OUTLET_ON
                          : 0;
    opts->flush_ms = FLUSH_MS;
    err = outlet_connect(p->s->loop, url, opts, &p->c);
    if (!err || !is_fd || opts->why->position >= 0 || strcmp(opts->why->key, "half_open") != 0)
        return err;
    *opts->why = (struct outlet_reason)OUTLET_REASON; /* it is a datagram socket */
    opts->half_open = 0;
    return outlet_connect(p->s->loop, url, opts, &p->c);
}

void
forward_end(struct peer *p, void (*silent)(outlet_timer t, void *arg))
{
    p->ended_out = true;
    if (outlet_end(p->c) == OUTLET_OK)
        return;
    p->silent = silent;
    forward_moved(p);
    if (!p->silence.id)
        p->silent = NULL;
}

void
forward_moved(struct peer *p)
{
    if (!p->silent)
        return;
    timer_end(&p->silence);
    if (outlet_timer_start(p->s->loop, SILENCE_MS, 0, p->silent, p, &p->silence) != OUTLET_OK)
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--rules");
}

/* ---- branches ---------------------------------------------------------------------------- */

static void
tell_error(const struct peer *b, const struct outlet_reason *why)
{
    struct eng_session *s = b->s;

    s->totals.errors++;
    session_tell(s, &(struct eng_event){
                        .kind = ENG_ERROR, .url = b->to, .role = OUTLET_TO_CONNECT, .why = why});
}

void
forward_free(struct peer *b)
{
    struct peer **at = b->owner ? &b->owner->branches : NULL;

    while (at && *at != b)
        at = &(*at)->next_branch;
    if (at)
        *at = b->next_branch;
    eng_free(b->to);
    peer_free(b);
}

static void
abort_branch(struct peer *b)
{
    if (b->state == PEER_CLOSING)
        return;
    b->state = PEER_CLOSING;
    session_rules_drop(b);
    outlet_abort(b->c);
}

static void
is_silent(outlet_timer t, void *arg)
{
    struct peer *b = arg;

    (void)t;
    b->silence.id = 0;
    b->closes = true;
    peer_settle(b);
}

void
forward_settle_branch(struct peer *b)
{
    const struct peer *owner = b->owner;

    b->closes |= b->ended_in || (owner && owner->ended_out);
    if (b->state == PEER_CONNECTING && b->closes && !b->later.first)
        abort_branch(b);
    if (b->state != PEER_OPEN)
        return;
    peer_flow(b);
    if (b->later.first || b->held)
        return;
    if (b->closes)
        peer_close(b);
    else if (owner && owner->ended_in && !b->ended_out)
        forward_end(b, is_silent);
}

void
forward_settle(struct peer *p)
{
    for (struct peer *b = p->branches; b; b = b->next_branch)
        forward_settle_branch(b);
    forward_blocks(p, eng_rules_forward(p->s->rules, ENG_FORWARD_OTHERS) && p->state == PEER_OPEN &&
                          forward_has_no_room(p));
}

void
forward_left(struct peer *p, const struct outlet_reason *why)
{
    struct peer *next;

    for (struct peer *b = p->branches; b; b = next) {
        next = b->next_branch;
        b->owner = NULL;
        b->next_branch = NULL;
        b->closes = true;
        if (why->code == OUTLET_OK)
            forward_settle_branch(b);
        else
            abort_branch(b);
    }
    p->branches = NULL;
}

static void
on_branch_open(outlet_conn c, void *user)
{
    struct peer *b = user;

    (void)c;
    if (b->state != PEER_CONNECTING)
        return;
    b->state = PEER_OPEN;
    session_rules_pump(b);
    peer_settle(b);
}

static void
on_branch_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct peer *b = user;
    struct peer *owner = b->owner;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    if (!owner || owner->state != PEER_OPEN || owner->closes || b->state != PEER_OPEN)
        return;
    if (outlet_msg_flags(m) & OUTLET_MSG_TRUNCATED)
        return;
    forward_moved(b);
    if (b->s->ruled) /* else it is told when it is sent */
        peer_tell_message(owner, true, bytes, len);
    forward_pass(b, owner, NULL, m);
    peer_settle(owner);
    eng_session_flow(b->s);
}

static void
on_branch_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct peer *b = user;
    struct peer *owner = b->owner;
    struct eng_session *s = b->s;
    const struct outlet_reason *told = b->failed.code ? &b->failed : why;
    bool ours = told->code == OUTLET_ECANCELED && told->side == OUTLET_BY_US;

    (void)c;
    if (told->code != OUTLET_OK && !ours && s->state == SESSION_RUNNING)
        tell_error(b, told);
    forward_free(b);
    if (owner)
        peer_settle(owner);
    session_maybe_ended(s);
}

static struct peer *
branch_new(struct peer *p, const char *url)
{
    struct outlet_handlers on = *session_handlers(p->s);
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .why = &why};
    struct peer *b = peer_new_in(p->s, &p->s->branches);
    outlet_err err = OUTLET_ENOMEM;

    if (!b)
        return NULL;
    b->to = eng_alloc(strlen(url) + 1);
    if (b->to)
        memcpy(b->to, url, strlen(url) + 1);
    on.on_accept = NULL;
    on.on_open = on_branch_open;
    on.on_message = on_branch_message;
    on.on_close = on_branch_close;
    opts.user = b;
    if (b->to)
        err = forward_connect(b, b->to, &opts);
    if (err) {
        why.code = err;
        if (!why.text[0])
            snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
        tell_error(b, &why);
        forward_free(b);
        return NULL;
    }
    b->owner = p;
    b->next_branch = p->branches;
    p->branches = b;
    return b;
}

static void
to_url(struct peer *p, struct peer *owner, const struct eng_rule_acts *rule, outlet_msg *m)
{
    struct peer *b = owner ? owner->branches : NULL;

    if (!owner || owner->state != PEER_OPEN)
        return;
    while (b && (b->state == PEER_CLOSING || b->closes || b->ended_out ||
                 strcmp(b->to, rule->forward_url) != 0))
        b = b->next_branch;
    if (!b)
        b = branch_new(owner, rule->forward_url);
    if (b)
        forward_pass(p, b, rule, m);
}

/* ---- to the other clients ---------------------------------------------------------------- */

void
forward_blocks(struct peer *p, bool blocks)
{
    struct eng_session *s = p->s;

    if (p->blocks == blocks || p->to)
        return;
    p->blocks = blocks;
    if (blocks)
        s->blocking++;
    else
        s->blocking--;
    for (struct peer *q = s->peers; q; q = q->next) {
        if (q->state == PEER_OPEN)
            peer_flow(q);
    }
}

static void
to_others(struct peer *p, const struct eng_rule_acts *rule, outlet_msg *m)
{
    struct eng_session *s = p->s;

    for (struct peer *q = s->peers; q && s->state == SESSION_RUNNING; q = q->next) {
        if (q == p || q->state != PEER_OPEN || q->closes || !q->id)
            continue;
        forward_pass(p, q, rule, m);
        forward_blocks(q, forward_has_no_room(q));
    }
}

/* ---- for rules --------------------------------------------------------------------------- */

void
forward_message(struct peer *p, const struct eng_rule_acts *rule, outlet_msg *m)
{
    if (rule->forward == ENG_FORWARD_OTHERS)
        to_others(p, rule, m);
    else if (rule->forward == ENG_FORWARD_URL)
        to_url(p, p->far ? p->twin : p, rule, m);
}

bool
forward_is_blocked(const struct peer *p)
{
    if (p->to)
        return p->owner && forward_has_no_room(p->owner);
    for (const struct peer *b = p->branches; b; b = b->next_branch) {
        if (forward_has_no_room(b))
            return true;
    }
    /* Not for what it does not read itself: it may write all before it reads. */
    return p->s->blocking > (p->blocks ? 1 : 0);
}
