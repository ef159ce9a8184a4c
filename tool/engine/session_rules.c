/*
 * session_rules.c - rules at work: which one a received message is for, and what it does.
 *
 * A newcomer's mistake: to close at once.  An answer may still be held back by a full queue; the
 * peer is closed when that has gone (peer_settle).  What a rule does later is made when it matched
 * and stands in a queue of its connection, behind which all its answers wait: order is kept, and
 * the rules may be others by then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>

enum { LATER_MAX = 1024, LATER_BYTES_MAX = 1024 * 1024 }; /* that wait, of a connection */

struct asked {
    struct eng_session *s;
    size_t len;
};

static void
tell_gave_up(void *user, const struct eng_rule_acts *acts)
{
    const struct asked *a = user;
    char text[256];

    snprintf(
        text, sizeof text,
        "rule %s: its regular expression gave up on a message of %zu bytes, which counts as no "
        "match; make it simpler, or bound the message with size",
        acts->name, a->len);
    session_tell_error(a->s, text);
}

struct eng_rule_acts *
session_rules_match(struct eng_session *s, bool out, const uint8_t *bytes, size_t len)
{
    struct asked asked = {s, len};

    return s->rules ? eng_rules_match(s->rules, out, bytes, len, tell_gave_up, &asked) : NULL;
}

/* ---- later ---- */

struct later_act {
    struct later_act *next;
    int64_t due_ms;
    bool sends;
    bool passes;
    const struct eng_rule_acts *rule;
    outlet_buf *bytes; /* NULL: none */
    size_t len;
    enum eng_rule_close close;
};

bool
session_rules_is_full(const struct peer *p, bool passes)
{
    return p->later.count[passes] >= LATER_MAX || p->later.bytes[passes] >= LATER_BYTES_MAX;
}

static struct later_act *
later_take(struct peer *p)
{
    struct later *l = &p->later;
    struct later_act *a = l->first;

    l->first = a->next;
    if (!l->first)
        l->last = NULL;
    l->count[a->passes]--;
    l->bytes[a->passes] -= a->len;
    return a;
}

static void
later_free(struct later_act *a)
{
    outlet_buf_unref(a->bytes);
    eng_free(a);
}

void
session_rules_drop(struct peer *p)
{
    timer_end(&p->later.timer);
    forward_blocks(p, false);
    while (p->later.first)
        later_free(later_take(p));
}

static void
end_peer(struct peer *p, enum eng_rule_close close)
{
    if (p->state != PEER_OPEN || close == ENG_CLOSE_NOT)
        return;
    if (p->s->ruled) {
        relay_rules_end(p, close);
        return;
    }
    p->closes = true;
    session_rules_drop(p); /* it came behind this */
    if (close == ENG_CLOSE_RESET) {
        p->state = PEER_CLOSING;
        outlet_abort(p->c);
    } else {
        peer_settle(p);
    }
}

/* What stands behind a message that the queue refused is known when that leaves. */
static void
send_now(struct peer *p, bool passes, const struct eng_rule_acts *rule, const void *bytes,
         size_t len, outlet_msg *from)
{
    p->passes = passes;
    p->passed_by = rule;
    p->by_rule = p->s->rules != NULL; /* what does not fit is the end of this client, not of all */
    peer_send(p, bytes, len, from);
    p->by_rule = false;
}

static void
do_act(struct peer *p, struct later_act *a)
{
    size_t len = 0;
    const uint8_t *bytes = a->bytes ? outlet_buf_data(a->bytes, &len) : (const uint8_t *)"";

    if (a->sends)
        send_now(p, a->passes, a->rule, bytes, len, NULL);
    end_peer(p, a->close);
    later_free(a);
}

static void
later_is_due(outlet_timer t, void *arg)
{
    struct peer *p = arg;

    (void)t;
    p->later.timer.id = 0;
    session_rules_pump(p);
    if (p->state == PEER_OPEN)
        peer_settle(p); /* receive again, or close: perhaps this was the last */
}

void
session_rules_pump(struct peer *p)
{
    struct later *l = &p->later;
    int64_t now = l->first ? session_now_ms() : 0;

    while (l->first && l->first->due_ms <= now && p->state == PEER_OPEN && !p->full && !p->held)
        do_act(p, later_take(p));
    if (!l->first || l->timer.id || p->state != PEER_OPEN || p->full || p->held)
        return;
    if (outlet_timer_start(p->s->loop, l->first->due_ms - now, 0, later_is_due, p, &l->timer) !=
        OUTLET_OK)
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--rules");
}

/* The first of them may stand in front of the bound with one message: that one was received. */
static void
act_later(struct peer *p, const struct session_act *act)
{
    struct later *l = &p->later;
    struct later_act *a = eng_alloc(sizeof *a);

    if (a && act->len)
        a->bytes = act->from ? outlet_msg_retain(act->from) : outlet_buf_copy(act->bytes, act->len);
    if (!a || (act->len && !a->bytes)) {
        eng_free(a);
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--rules");
        return;
    }
    a->sends = act->sends;
    a->passes = act->passes;
    a->rule = act->rule;
    a->len = act->len;
    a->close = act->close;
    a->due_ms = session_now_ms() + act->delay_ms;
    if (l->last && l->last->due_ms > a->due_ms)
        a->due_ms = l->last->due_ms;
    if (l->last)
        l->last->next = a;
    else
        l->first = a;
    l->last = a;
    l->count[a->passes]++;
    l->bytes[a->passes] += a->len;
    session_rules_pump(p);
}

void
session_rules_do(struct peer *p, const struct session_act *act)
{
    /* Two may send to one peer: the other side of a relay, and a rule that answers it. */
    if (act->delay_ms || p->later.first || p->full || p->held || p->state == PEER_CONNECTING) {
        act_later(p, act);
        return;
    }
    if (act->sends)
        send_now(p, act->passes, act->rule, act->bytes, act->len, act->from);
    end_peer(p, act->close);
}

/* ---- answers ---- */

void
session_rules_answer(struct peer *p, const void *bytes, size_t len, outlet_msg *from)
{
    session_rules_do(
        p, &(struct session_act){.sends = true, .bytes = bytes, .len = len, .from = from});
}

void
session_rules_act(struct peer *p, struct eng_rule_acts *acts, outlet_msg *m)
{
    struct eng_bytes made = {0};
    bool sends = acts->echo || acts->replies;
    const uint8_t *bytes = acts->bytes;
    size_t len = acts->len;

    forward_message(p, acts, m);
    if (acts->echo) {
        bytes = outlet_msg_data(m, &len);
    } else if (acts->template) {
        if (!peer_render_with(p, acts->template, acts->counts.replies, acts->append, acts->eol,
                              acts->match, &made))
            goto free_made;
        bytes = made.len ? made.data : (const uint8_t *)"";
        len = made.len;
    }
    acts->counts.replies += sends;
    if (sends || acts->close != ENG_CLOSE_NOT)
        session_rules_do(p, &(struct session_act){.sends = sends,
                                                  .bytes = bytes,
                                                  .len = len,
                                                  .from = acts->echo ? m : NULL,
                                                  .close = acts->close,
                                                  .delay_ms = acts->delay_ms});

free_made:
    eng_bytes_free(&made);
}

void
eng_session_set_rules(struct eng_session *s, struct eng_rules *rules)
{
    if (s->rules != rules) {
        eng_tallies_add(&s->before, s->rules, false);
        eng_rules_free(s->rules);
    }
    s->rules = rules;
    for (struct peer *p = s->peers; p; p = p->next)
        peer_settle(p);
}

void
eng_session_tallies(struct eng_session *s, struct eng_tallies *out)
{
    *out = (struct eng_tallies){0};
    eng_tallies_join(out, &s->before);
    eng_tallies_add(out, s->rules, true);
}
