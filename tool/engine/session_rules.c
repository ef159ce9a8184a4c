/*
 * session_rules.c - rules at work: which one a received message is for, and what it does.
 *
 * A newcomer's mistake: to close at once.  An answer may still be held back by a full queue; the
 * peer is closed when that has gone (peer_settle).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>

static void
tell_gave_up(struct eng_session *s, size_t len)
{
    for (size_t i = 0; i < eng_rules_count(s->rules); i++) {
        const struct eng_rule_acts *acts = eng_rules_at(s->rules, i);
        char text[256];

        if (!acts->gave_up_now)
            continue;
        snprintf(text, sizeof text,
                 "rule %s: its regular expression gave up on a message of %zu bytes, which counts "
                 "as no match; make it simpler, or bound the message with size=",
                 acts->name, len);
        session_tell_error(s, text);
    }
}

struct eng_rule_acts *
session_rules_match(struct eng_session *s, const uint8_t *bytes, size_t len)
{
    struct eng_rule_acts *acts = NULL;

    if (!s->rules)
        return NULL;
    acts = eng_rules_match(s->rules, bytes, len);
    tell_gave_up(s, len);
    return acts;
}

static void
send_made(struct peer *p, struct eng_rule_acts *acts)
{
    struct eng_bytes made = {0};

    if (peer_render_with(p, acts->template, acts->counts.replies, acts->append, acts->eol, &made))
        peer_send(p, made.len ? made.data : (const uint8_t *)"", made.len, NULL);
    eng_bytes_free(&made);
}

void
session_rules_act(struct peer *p, struct eng_rule_acts *acts, outlet_msg *m)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (acts->echo)
        peer_send(p, bytes, len, m);
    else if (acts->template)
        send_made(p, acts);
    else if (acts->replies)
        peer_send(p, acts->bytes, acts->len, NULL);
    if (acts->echo || acts->replies)
        acts->counts.replies++;
    if (p->state != PEER_OPEN || acts->close == ENG_CLOSE_NOT)
        return;
    p->closes = true;
    if (acts->close == ENG_CLOSE_RESET) {
        p->state = PEER_CLOSING;
        outlet_abort(p->c);
    } else {
        peer_settle(p);
    }
}

void
eng_session_set_rules(struct eng_session *s, struct eng_rules *rules)
{
    if (s->rules != rules)
        eng_rules_free(s->rules);
    s->rules = rules;
    for (struct peer *p = s->peers; p; p = p->next)
        peer_settle(p);
}

struct eng_rules *
eng_session_rules(struct eng_session *s)
{
    return s->rules;
}
