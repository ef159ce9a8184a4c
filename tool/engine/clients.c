/*
 * clients.c - who is connected to a session: seen, spoken to one by one, sent away.
 *
 * For a session whose caller brings what is sent itself (opts.input below 0): someone at a line, a
 * page.  A newcomer's mistake: to send to a client that is behind.  The queue would refuse it in
 * the middle of a burst; eng_session_ready() says so before, and opts.ready when it is over.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>

static bool
is_asked(const struct peer *p, uint64_t id)
{
    return p->state == PEER_OPEN && p->id && (!id || p->id == id);
}

/* Who is closing does not read, perhaps: it is there until it has all, or is reset. */
static bool
is_there(const struct peer *p, uint64_t id)
{
    return p->state != PEER_CONNECTING && p->id && (!id || p->id == id);
}

static void
fill(const struct peer *p, struct eng_client *out)
{
    int64_t queued = outlet_queued(p->c);

    out->id = p->id;
    out->opened_ns = p->opened_ns;
    out->messages_in = p->messages[false];
    out->messages_out = p->messages[true];
    out->bytes_in = p->bytes[false];
    out->bytes_out = p->bytes[true];
    out->behind = p->full || p->held;
    out->closing = p->state == PEER_CLOSING;
    out->queued = queued > 0 ? (uint64_t)queued : 0;
    snprintf(out->peer, sizeof out->peer, "%s", p->name);
}

/* The newest stands first in the list. */
size_t
eng_session_clients(const struct eng_session *s, struct eng_client *out, size_t room)
{
    size_t count = 0;
    size_t left;

    for (const struct peer *p = s->peers; p; p = p->next)
        count += is_there(p, 0);
    left = count;
    for (const struct peer *p = s->peers; p; p = p->next) {
        if (is_there(p, 0) && --left < room)
            fill(p, &out[left]);
    }
    return count;
}

bool
eng_session_client(const struct eng_session *s, uint64_t id, struct eng_client *out)
{
    for (const struct peer *p = s->peers; p; p = p->next) {
        if (id && is_there(p, id)) {
            fill(p, out);
            return true;
        }
    }
    return false;
}

enum eng_ready
eng_session_ready(struct eng_session *s, uint64_t id)
{
    enum eng_ready ready = ENG_NOBODY;

    if (s->state != SESSION_RUNNING)
        return ENG_NOBODY;
    for (const struct peer *p = s->peers; p; p = p->next) {
        if (!is_asked(p, id) || p->ended_out)
            continue;
        if (!peer_can_send(p) || session_is_busy(s))
            return ENG_BEHIND;
        ready = ENG_READY;
    }
    return ready;
}

void
eng_session_send(struct eng_session *s, uint64_t id, const void *bytes, size_t len,
                 struct eng_sent *sent)
{
    char why[160];

    *sent = (struct eng_sent){0};
    if (eng_carry_refuses(&s->url, s->opts.url, bytes, len, why, sizeof why)) {
        char text[160];

        snprintf(text, sizeof text, "not sent: %.148s", why);
        session_tell_error(s, text);
        sent->wrong = true;
        return;
    }
    for (struct peer *p = s->peers; p && s->state == SESSION_RUNNING; p = p->next) {
        if (!is_asked(p, id))
            continue;
        if (peer_can_send(p)) {
            peer_send(p, bytes, len, NULL);
            sent->taken++;
            continue;
        }
        if (sent->refused < ENG_REFUSED_MAX)
            sent->refused_ids[sent->refused] = p->id;
        sent->refused++;
    }
}

bool
eng_session_kick(struct eng_session *s, uint64_t id, bool reset)
{
    for (struct peer *p = s->peers; p; p = p->next) {
        if (p->state == PEER_CONNECTING || p->id != id || !id)
            continue;
        /* Who is closing in order, but does not read, can still be reset. */
        if (p->state == PEER_CLOSING && !reset)
            return false;
        p->state = PEER_CLOSING;
        feed_stop(p);
        session_rules_drop(p);
        if (reset)
            outlet_abort(p->c);
        else
            outlet_close(p->c);
        return true;
    }
    return false;
}

void
eng_session_end_input(struct eng_session *s)
{
    struct peer *next;

    s->input.eof = true;
    for (struct peer *p = s->peers; p && s->state == SESSION_RUNNING; p = next) {
        next = p->next;
        peer_settle(p);
    }
}
