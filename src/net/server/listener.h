/*
 * listener.h - a listener: a set of sockets under one handle.
 *
 * The handle's slot, on the loop's first reactor, holds a pointer to the shared part below, which
 * lives until the last socket is closed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_LISTENER_H
#define OL_LISTENER_H

#include "net/conn/conn.h"

struct ol_listener;
struct ol_listener_slot;
struct ol_dsock;

/* One socket of a listener, on one reactor. */
struct ol_lsock {
    struct ol_link link;
    struct ol_listener *listener;
    struct ol_reactor *reactor;
    struct ol_mail start;
    struct ol_mail end;
    struct ol_closable closable; /* on its reactor, while it listens */
    struct ol_alarm again;       /* no descriptors left, or resting: try again */
    struct ol_addr bound;
    bool started;
    bool closing;
    bool asked_driver; /* to close */
    bool warned;
    bool resting;           /* the rate has no room; `again` is set */
    struct ol_dsock *dgram; /* NULL: a stream listener */
};

/*
 * References: one for the handle, one for each socket until it is closed, one for each mail that is
 * under way.  The last one frees.
 */
struct ol_listener {
    struct outlet_loop *loop;
    struct ol_settings *settings;
    _Atomic uint32_t refs;
    _Atomic bool ended; /* the handle is stale */
    uint64_t id;
    bool shared_out; /* one reactor accepts for all: connections are placed in turn */
    _Atomic uint32_t next_place;
    struct ol_mail home; /* ends the slot, on the first reactor */
    struct ol_mail port_start;
    struct ol_closable port_closable; /* on the first reactor: a port has no socket to be closed */
    struct ol_listener_slot *slot;
    struct ol_pair_port port;
    struct ol_addr port_name;
    uint32_t count;
    struct ol_lsock socks[];
};

/* What the slot holds. */
struct ol_listener_slot {
    struct ol_listener *listener;
    struct ol_retired retired;
    uint32_t slot;
};
_Static_assert(sizeof(struct ol_listener_slot) <= OL_LISTENER_SIZE, "fits into its slot");

void ol_listener_start(struct ol_listener *l); /* bound and published */
void ol_listener_unref(struct ol_listener *l);
/* Any thread that keeps `l` alive: the handle ends, every socket is told. */
void ol_listener_end(struct ol_listener *l);

/* (accept.c) */
void ol_accept_start(struct ol_lsock *s);
void ol_accept_token(struct ol_reactor *r, struct ol_settings *settings, int32_t token,
                     const struct ol_addr *from, const struct ol_addr *local);
bool ol_accept_arrived(struct ol_pair_port *p, int32_t token);
void ol_accept_port_end(struct ol_pair_port *p);
extern const struct ol_link_ops ol_lsock_ops;

/* (listener.c) On the socket's reactor. */
void ol_lsock_close(struct ol_lsock *s);
void ol_lsock_closed(struct ol_lsock *s);

/* (dgram.c) */
struct ol_dsock *ol_dsock_new(const ol_heap *heap, struct ol_hash_key key);
void ol_dsock_free(struct ol_dsock *d);
void ol_dsock_start(struct ol_lsock *s);
bool ol_dsock_has_peers(const struct ol_lsock *s);
int64_t ol_dsock_send_to(struct ol_listener *l, const char *url, const void *bytes, size_t len);
extern const struct ol_link_ops ol_dsock_ops;
extern const struct ol_transport ol_transport_peer;

#endif
