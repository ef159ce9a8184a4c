/*
 * session_lost.c - datagrams in the kernel, of all sockets of a session: those it had no room for,
 * and those that have arrived when the session shall end.
 *
 * A listener's clients share its socket, which lives on with them when the listener is closed; who
 * connects has one of its own.  A newcomer's mistake: to ask outside of the loop's callbacks, where
 * the library does not look at sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdlib.h>

enum { LAST_MS = 1000 };

static bool
has_own_socket(const struct peer *p)
{
    return p->far || p->s->opts.role == OUTLET_TO_CONNECT;
}

static bool
add_conn(const struct peer *p, const char *key, uint64_t *sum)
{
    char text[24];

    if (outlet_info(p->c, key, text, sizeof text) <= 0)
        return false;
    *sum += strtoull(text, NULL, 10);
    return true;
}

static bool
add_listener(const struct eng_session *s, const char *key, uint64_t *sum)
{
    char text[24];

    if (!s->listener.id || outlet_listener_info(s->listener, key, text, sizeof text) <= 0)
        return false;
    *sum += strtoull(text, NULL, 10);
    return true;
}

/* Of the socket that listens, or listened and has clients. */
static bool
add_shared(const struct eng_session *s, const char *key, uint64_t *sum)
{
    if (s->listener.id)
        return add_listener(s, key, sum);
    for (const struct peer *p = s->peers; p; p = p->next) {
        if (!has_own_socket(p) && add_conn(p, key, sum))
            return true;
    }
    return false;
}

static bool
add_all(const struct eng_session *s, const char *key, uint64_t *sum)
{
    bool known = add_shared(s, key, sum);

    for (const struct peer *p = s->peers; p; p = p->next) {
        if (has_own_socket(p))
            known |= add_conn(p, key, sum);
    }
    return known;
}

void
session_count_dropped(struct eng_session *s)
{
    uint64_t dropped = s->dropped_ended;

    if (!s->datagrams)
        return;
    s->totals.counts_dropped |= add_all(s, "lost", &dropped);
    if (dropped > s->totals.dropped) /* a socket without clients is closed, and asked no more */
        s->totals.dropped = dropped;
}

/* In on_close: the library has asked the kernel for us when it closed the socket. */
void
peer_count_dropped(struct peer *p)
{
    struct eng_session *s = p->s;

    if (s->datagrams && has_own_socket(p))
        s->totals.counts_dropped |= add_conn(p, "lost", &s->dropped_ended);
}

/* ---- what has arrived at the end --------------------------------------------------------- */

static uint64_t
received(const struct eng_session *s)
{
    struct eng_totals t;

    eng_session_totals(s, &t);
    return t.bytes_in + t.messages_in; /* empty ones count, too */
}

/*
 * Nothing waits any more, or as many bytes have come as there were with the kernel's bookkeeping:
 * then what waits came later.  A unix socket does not say how many; a sender in no hurry to end
 * must not keep us.
 */
static bool
has_heard_all(struct eng_session *s)
{
    struct last *last = &s->last;
    uint64_t unread = 0;

    if (!add_all(s, "unread", &unread) || unread == 0)
        return true;
    if (!last->unread) {
        last->unread = unread;
        last->received = received(s);
    }
    if (s->datagrams)
        return received(s) - last->received >= last->unread;
    return session_now_ms() >= last->until_ms;
}

/* Timers run after what the turn has received: nothing is on its way to us. */
static void
look(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;

    (void)t;
    if (has_heard_all(s))
        eng_session_stop(s, s->last.result);
}

void
eng_session_finish(struct eng_session *s, enum eng_result result)
{
    struct last *last = &s->last;
    uint64_t unread = 0;

    if (s->state != SESSION_RUNNING || last->look.id)
        return;
    session_count_left(s);
    *last = (struct last){.result = result, .until_ms = session_now_ms() + LAST_MS};
    if (!add_all(s, "unread", &unread) ||
        outlet_timer_start(s->loop, 0, 1, look, s, &last->look) != OUTLET_OK) {
        eng_session_stop(s, result);
        return;
    }
    session_stop_sending(s);
}
