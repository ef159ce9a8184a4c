/*
 * session_lost.c - datagrams that the kernel had no room for, of all sockets of a session.
 *
 * A listener's clients share its socket, which lives on with them when the listener is closed; who
 * connects has one of its own.  A newcomer's mistake: to ask outside of the loop's callbacks, where
 * the library does not look at sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

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
