/*
 * relay.h - one end of a relay, and where the rest of a connection leads to it; see relay.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_RELAY_H
#define OL_RELAY_H

#include "conn.h"

struct ol_relay;

struct ol_relay_end {
    struct ol_relay *relay;
    struct ol_relay_end *other;
    uint64_t id;
    bool is_near;            /* both connections live on one reactor */
    bool left;               /* it relays no more */
    bool ended;              /* our peer's end was passed on */
    bool other_ends;         /* the other one has a half-close */
    size_t high;             /* of the other one's queue */
    size_t piece;            /* bytes without borders are cut to that */
    struct ol_conn *near;    /* the other one, if it is near and has not left */
    struct outlet_buf *held; /* what the other one had no room for; NULL: nothing */
    size_t held_at;
    bool abort; /* what `over` says */
    _Atomic bool room_under_way;
    struct ol_mail attach; /* these run on our reactor: the relay begins, */
    struct ol_mail room;   /* the other one has room again, */
    struct ol_mail fin;    /* its peer ended, */
    struct ol_mail over;   /* it has left */
};

/* A message that was received, with CONN_RELAYED. */
void ol_relay_pass(struct ol_conn *c, const struct outlet_msg *m);
/* With CONN_RELAYED: the other one, if it is here and open. */
struct ol_conn *ol_relay_near(const struct ol_conn *c);
/* c's queue fell to `low`. */
void ol_relay_room(struct ol_conn *c);
/* c's peer ended, and all it sent was passed on.  false: it was not yet. */
bool ol_relay_peer_ended(struct ol_conn *c);
/* ... and the other one cannot be told, so c ends when nothing moves any more. */
bool ol_relay_waits_to_end(const struct ol_conn *c);
/* c's state becomes FLUSHING or a later one. */
void ol_relay_leave(struct ol_conn *c, enum ol_conn_state to);
void ol_relay_forget(struct ol_conn *c); /* without a word to the other one */
/* c is being destroyed. */
void ol_relay_give_up(struct ol_conn *c, struct ol_relay_end *end);

#endif
