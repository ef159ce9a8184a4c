/*
 * relay.c - a session that relays: each client of its URL gets a connection of its own to another.
 *
 *     client --> peer (near) | peer (far) --> `to`       outlet_relay() between the two
 *
 * The library passes on bytes, ends and backpressure; what is left is to tell the two as one: one
 * number, what the client sent as received and what it got as sent, and one end with the reason of
 * whichever side it came from.  With rules the session passes on itself: relay_rules.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- facts ------------------------------------------------------------------------------- */

static uint64_t
fact(outlet_conn c, const char *key)
{
    char text[24];

    return outlet_info(c, key, text, sizeof text) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* What came from one side is what went to the other. */
void
relay_count(const struct peer *p, struct eng_totals *t)
{
    if (p->state == PEER_CONNECTING)
        return;
    if (p->s->ruled && !p->far) { /* what it got is not what came from the other side */
        t->messages_out += fact(p->c, "messages_out");
        t->bytes_out += fact(p->c, "bytes_out");
    } else if (p->far && !p->s->ruled) {
        t->messages_out += fact(p->c, "messages_in");
        t->bytes_out += fact(p->c, "bytes_in");
    }
    if (!p->far) {
        t->messages_in += fact(p->c, "messages_in");
        t->bytes_in += fact(p->c, "bytes_in");
    }
}

/* ---- the other side ---------------------------------------------------------------------- */

static void
tell_far_error(struct eng_session *s, const struct outlet_reason *why)
{
    s->opts.sink->emit(s->opts.sink, &(struct eng_event){.kind = ENG_ERROR,
                                                         .url = s->opts.to,
                                                         .role = OUTLET_TO_CONNECT,
                                                         .why = why});
}

void
relay_open(struct peer *near, const struct outlet_handlers *on)
{
    struct eng_session *s = near->s;
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = on, .why = &why};
    struct peer *far = peer_new(s);
    outlet_err err = OUTLET_ENOMEM;

    if (far) {
        far->far = true;
        far->id = near->id;
        memcpy(far->name, near->name, sizeof far->name);
        far->chance = s->opts.seed - near->id;
        opts.user = far;
        err = s->ruled ? forward_connect(far, s->opts.to, &opts)
                       : outlet_connect(s->loop, s->opts.to, &opts, &far->c);
        if (err)
            peer_free(far);
    }
    if (!err) {
        far->twin = near;
        near->twin = far;
        err = s->ruled ? OUTLET_OK : outlet_relay(near->c, far->c);
        if (err)
            (void)outlet_abort(far->c); /* it was made just now */
    }
    if (!err)
        return;
    why.code = err;
    if (!why.text[0])
        snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
    s->totals.errors++;
    tell_far_error(s, &why);
    outlet_abort(near->c);
}

/* ---- the end of both --------------------------------------------------------------------- */

/* Does the reason only say that the other side had one? */
static bool
follows(const struct outlet_reason *why)
{
    return why->code == OUTLET_ECANCELED && why->side == OUTLET_BY_US;
}

bool
relay_closed(struct peer *p, struct outlet_reason *why)
{
    struct eng_session *s = p->s;
    struct peer *twin = p->twin;
    const struct outlet_reason *before = &p->twin_why;

    relay_count(p, &s->totals);
    if (p->far && p->state == PEER_CONNECTING && why->code != OUTLET_OK && !follows(why) &&
        s->state == SESSION_RUNNING) {
        tell_far_error(s, why); /* its clients have done nothing wrong */
        p->told = true;
    }
    if (twin) {
        twin->told = p->told;
        twin->discarded += p->discarded;
        twin->twin = NULL;
        twin->twin_why = *why;
        twin->has_twin_why = true;
        if (s->ruled)
            relay_rules_left(twin, why);
        return false;
    }
    if (!p->has_twin_why)
        return true;
    /* Whoever failed of itself; else an orderly end, told as the peer's if it was one. */
    if ((why->code == OUTLET_OK || follows(why)) && before->code != OUTLET_OK)
        *why = *before;
    else if (why->code == OUTLET_OK && before->side == OUTLET_BY_PEER)
        *why = *before;
    return true;
}
