/*
 * sim_world.h - inside the simulated network: what its files share.
 *
 * The world is made for a million idle connections and for thousands of short runs: a connection is
 * one allocation that holds both ends, a socket has at most one event in the queue, and bytes take
 * memory only while they are on their way or unread.
 *
 * What a newcomer gets wrong: there is one pipe per direction, owned by the sending end, and it
 * holds the bytes in flight *and* those that have arrived unread (`arrived` of `len`).  So a
 * receiver that does not read stalls its sender, as with a kernel.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_SIM_WORLD_H
#define OL_SIM_WORLD_H

#include "sim.h"

#include <errno.h>

enum {
    SIM_SEND_ROOM = 65536,
    SIM_DELAY_MIN_US = 10,
    SIM_ODDS = 65536, /* what the chances of struct ol_sim_faults are parts of */
    SIM_QUARANTINE = 4,
    SIM_QUIET_MAX = 8 /* quiet sends of a driver that are not told yet */
};

#define SIM_NO_SLOT UINT32_MAX /* not in the event queue */

enum sim_kind { SIM_END, SIM_LISTENER, SIM_DGRAM };

enum {
    SIM_READY = 1 << 0,      /* on its driver's list */
    SIM_RECEIVING = 1 << 1,  /* or accepting */
    SIM_LATE = 1 << 2,       /* stopped, but one more completion is under way */
    SIM_CLOSING = 1 << 3,    /* close() was called, OL_CLOSED is owed */
    SIM_QUEUED = 1 << 4,     /* an end that waits in a listener's backlog */
    SIM_TELL = 1 << 5,       /* OL_CONNECTED is owed */
    SIM_ENDED = 1 << 6,      /* an end that writes no more */
    SIM_HEARD_END = 1 << 7,  /* the peer's end has arrived here */
    SIM_RESETS = 1 << 8,     /* a reset is on its way to the peer */
    SIM_CONNECTED = 1 << 9,  /* a datagram socket with a peer */
    SIM_WANTS_ROOM = 1 << 10 /* a socket that sends messages and is owed OL_SENT */
};

enum sim_state {
    SIM_UNUSED,   /* the serving end before the connect has reached the listener */
    SIM_SYN,      /* on its way to the listener */
    SIM_SYN_BACK, /* the answer is on its way: `err`, or 0 for yes */
    SIM_LOST,     /* a black hole: the system gives up in the end */
    SIM_OPEN,
    SIM_BROKEN /* `err` is told once, to the first who asks */
};

struct sim_driver;

struct sim_socket {
    struct sim_driver *driver; /* whose list it comes on; NULL: nobody's */
    union {
        struct ol_link *link;        /* NULL: not adopted yet, or closed */
        struct sim_end *next_queued; /* with SIM_QUEUED */
    };
    uint32_t slot; /* place of its event in the queue */
    int32_t token; /* -1: nobody holds this socket */
    uint16_t flags;
    uint8_t kind;  /* enum sim_kind */
    uint8_t state; /* enum sim_state */
};

struct sim_end {
    struct sim_socket s;
    struct sim_pipe *out; /* NULL: nothing on its way */
    uint16_t err;         /* positive errno */
    uint8_t which;        /* 0: the connecting end, 1: the serving one */
    uint8_t tries;        /* connects that met a full backlog */
};

/* A connection: both ends and their packed names, the connecting end's first. */
struct sim_wire {
    struct sim_end end[2];
    bool packets; /* each message stands behind its length */
    uint8_t names[];
};

struct sim_port;

/* A socket's place at an address. */
struct sim_bound {
    struct sim_bound *next; /* at the same port */
    struct sim_port *port;  /* NULL: not bound */
    struct sim_socket *socket;
    enum ol_share_port share;
    struct ol_addr at;
};

struct sim_listener {
    struct sim_socket s;
    struct sim_bound bound;
    struct sim_end *first;
    struct sim_end *last;
    int queued;
    int backlog;
    bool singly;
    bool packets;
};

struct sim_message;

struct sim_messages {
    struct sim_message *first;
    struct sim_message *last;
    size_t bytes; /* with overhead */
};

struct sim_dgram {
    struct sim_socket s;
    struct sim_bound bound;
    struct ol_addr peer;        /* with SIM_CONNECTED */
    struct sim_messages flying; /* by time of arrival */
    struct sim_messages arrived;
    uint64_t lost;    /* arrived, and there was no room */
    ol_time last_at;  /* those that keep their order arrive no earlier */
    bool local;       /* of unix: nothing is lost, doubled or overtaken, and a full peer is said */
    ol_time retry_at; /* local: OL_SENT is owed then; 0: it is not */
    ol_time burst_at;
    size_t burst;          /* bytes sent at that instant: they fill the send buffer */
    uint16_t err;          /* refused, told once */
    bool deaf;             /* what it sends to a group is heard by nobody here */
    bool broadcast;        /* it may */
    struct ol_addr group;  /* joined; OL_ADDR_NONE: none */
    struct ol_addr source; /* ... and only this one is heard there; OL_ADDR_NONE: everyone */
};

struct sim_driver {
    struct ol_driver base;
    struct sim_driver *next; /* in the world */
    struct ol_sim *world;
    struct ol_budget *budget;
    ol_time until;
    _Atomic bool woken;
    bool owns_world;
    struct ol_link *ready;
    struct ol_link *ready_last;
    struct ol_addr *addrs; /* what `from` and `to` of a batch point at: two for each completion */
    struct ol_block *quarantine[SIM_QUARANTINE]; /* given back and poisoned */
    unsigned quarantine_at;
    uint32_t lent;
    struct sim_end *quiet[SIM_QUIET_MAX];
    unsigned quiet_count;
    ol_time quiet_until; /* then they are told, if there are any */
};

/* The key lies here and not in the socket: a queue of a million would miss the cache at each step.
 */
struct sim_event {
    ol_time at;
    struct sim_socket *socket;
    uint32_t order; /* drawn by lot: who is first at the same instant */
};

struct ol_sim {
    const ol_heap *heap;
    bool gathers; /* its drivers pretend to: what lies above has a way for either kind */
    struct ol_rng rng;
    ol_time now;
    uint64_t calls;
    struct ol_sim_faults faults;
    struct sim_driver *drivers;
    struct sim_event *events; /* a binary heap; room for every socket, so that no event can fail */
    size_t event_count;
    size_t event_room;
    size_t socket_count; /* what the room is kept for */
    uintptr_t *tokens;   /* a socket, or the next free token and a set lowest bit */
    size_t token_count;
    size_t token_free; /* first of the free ones, counted from 1; 0: none */
    size_t open_sockets;
    struct ol_map ports;
    uint32_t ephemeral;
};

/* sim_world.c: chance, clock, events, tokens */
bool ol_sim_chance(struct ol_sim *w, uint32_t parts); /* of SIM_ODDS */
bool ol_sim_odds(struct ol_sim *w, unsigned n);       /* one in n */
size_t ol_sim_slice(struct ol_sim *w, size_t n);      /* 1..n, often n; 0 of 0 */
ol_time ol_sim_delay(struct ol_sim *w);
int
ol_sim_call(struct ol_sim *w); /* a call that can fail: 0, or the negated errno it must fail with */
int ol_sim_reserve(struct ol_sim *w, size_t sockets); /* room for their events, or -ENOMEM */
void ol_sim_unreserve(struct ol_sim *w, size_t sockets);
void ol_sim_schedule(struct ol_sim *w, struct sim_socket *s, ol_time at); /* or moves it there */
void ol_sim_schedule_if_idle(struct ol_sim *w, struct sim_socket *s);     /* after a delay */
void ol_sim_unschedule(struct ol_sim *w, struct sim_socket *s);
void ol_sim_run_due(struct ol_sim *w);
int ol_sim_token_take(struct ol_sim *w, struct sim_socket *s); /* 0 or -ENOMEM */
void ol_sim_token_give_back(struct ol_sim *w, struct sim_socket *s);
struct sim_socket *ol_sim_socket_at(const struct ol_sim *w,
                                    size_t i); /* i < token_count; or NULL */
struct sim_socket *ol_sim_socket_of(const struct ol_sim *w, int32_t token);
void ol_sim_ready(struct ol_sim *w, struct sim_socket *s);
void ol_sim_socket_init(struct sim_socket *s, enum sim_kind kind, struct sim_driver *d,
                        struct ol_link *l);
void ol_sim_link_init(struct ol_link *l, enum ol_link_kind kind, int32_t token);
void ol_sim_link_fini(struct ol_link *l);

/* sim_names.c: addresses, ports */
size_t ol_sim_name_size(const struct ol_addr *a);
uint8_t *ol_sim_name_pack(const struct ol_addr *a, uint8_t *to); /* answers the byte after */
const uint8_t *ol_sim_name_unpack(const uint8_t *from, struct ol_addr *a);
bool ol_sim_is_inet(const struct ol_addr *a);
void ol_sim_destination(struct ol_addr *to);                        /* "any" means loopback */
void ol_sim_source(const struct ol_addr *to, struct ol_addr *from); /* without the port */
void ol_sim_local(const struct ol_addr *local,
                  struct ol_addr *from); /* what it says, if anything */
uint16_t ol_sim_ephemeral_port(struct ol_sim *w);
/* `at` with port 0 gets one; b->at says which. */
int ol_sim_bind(struct ol_sim *w, struct sim_bound *b, struct sim_socket *s,
                const struct ol_addr *at, enum ol_share_port share);
void ol_sim_unbind(struct ol_sim *w, struct sim_bound *b); /* twice does no harm */
/* Who gets what is sent to `to`; `from` only for datagrams.  NULL: nobody. */
struct sim_socket *ol_sim_find(struct ol_sim *w, enum sim_kind kind, const struct ol_addr *to,
                               const struct ol_addr *from);

/* The next socket after `after` (NULL: the first) that gets what is sent to the group or broadcast
 * address `to`. */
struct sim_dgram *ol_sim_next_member(struct ol_sim *w, const struct ol_addr *to,
                                     const struct sim_dgram *after);

/* sim_lent.c: blocks handed out and poisoned */
uint8_t *ol_sim_lend(struct sim_driver *d, struct ol_lent *lent, size_t len,
                     size_t room);                                    /* or NULL */
void ol_sim_lend_nothing(struct sim_driver *d, struct ol_lent *lent); /* for the end of a stream */
void ol_sim_give_back(struct sim_driver *d, struct ol_lent *lent);
void ol_sim_lent_fini(struct sim_driver *d);

/* sim_pipe.c: bytes on their way, and sends that wait */
struct sim_chunk;
struct sim_pending;

struct sim_pipe {
    struct sim_chunk *first;
    struct sim_chunk *last;
    uint32_t len;
    uint32_t arrived;
    struct sim_pending *pending; /* NULL: none */
};

enum sim_finish {
    SIM_FINISH_ROOM,  /* like epoll: says that there is room, takes nothing */
    SIM_FINISH_SOME,  /* like io_uring: takes what fits */
    SIM_FINISH_ALL,   /* like io_uring told to wait: says so when it has everything */
    SIM_TAKEN,        /* when it was given; that is to be told */
    SIM_TAKEN_QUIETLY /* ... not yet */
};

struct sim_pending {
    size_t total;
    size_t taken;
    uint64_t sum; /* of the bytes when they were given */
    enum sim_finish finish;
    int count;
    struct iovec pieces[];
};

size_t ol_sim_pieces_len(const struct iovec *pieces, int count);
/* Copy `n` bytes from `skip` on.  0 or -ENOMEM. */
int ol_sim_pipe_append(const ol_heap *heap, struct sim_pipe **pipe, const struct iovec *pieces,
                       int count, size_t skip, size_t n);
void ol_sim_pipe_read(const ol_heap *heap, struct sim_pipe **pipe, uint8_t *to, size_t n);
bool ol_sim_pipe_peek(const struct sim_pipe *pipe, uint8_t *to, size_t n); /* of what has arrived */
void ol_sim_pipe_cut(const ol_heap *heap, struct sim_pipe **pipe,
                     size_t keep); /* drop the newest */
void ol_sim_pipe_free(const ol_heap *heap, struct sim_pipe **pipe);
int ol_sim_pipe_pend(const ol_heap *heap, struct sim_pipe **pipe, const struct iovec *pieces,
                     int count, enum sim_finish finish);
/* Ends the pending send; aborts if its bytes are no longer what they were. */
void ol_sim_pipe_unpend(const ol_heap *heap, struct sim_pipe **pipe);

/* sim_stream.c */
int ol_sim_connect(struct sim_driver *d, struct ol_link *l, const struct ol_connect_spec *spec);
int ol_sim_pair(struct sim_driver *d, int32_t tokens[2]);
void ol_sim_end_happens(struct ol_sim *w, struct sim_end *e); /* its event */
bool ol_sim_end_complete(struct ol_sim *w, struct sim_end *e, struct ol_completion *c);
bool ol_sim_end_has(struct ol_sim *w, const struct sim_end *e); /* something to tell */
/* Sends of a driver's ends that were taken quietly, see is_awaited(): must it be told now? */
bool ol_sim_quiet_is_due(const struct sim_driver *d);
void ol_sim_quiet_tell(struct sim_driver *d);
int64_t ol_sim_end_send(struct ol_sim *w, struct sim_end *e, const struct iovec *pieces, int count,
                        bool may_wait);
bool ol_sim_end_send_quiet(struct ol_sim *w, struct sim_end *e, const struct iovec *piece);
int ol_sim_end_send_messages(struct ol_sim *w, struct sim_end *e, const struct ol_dgram *messages,
                             int count);
int ol_sim_end_writing(struct ol_sim *w, struct sim_end *e);
void ol_sim_end_receive(struct ol_sim *w, struct sim_end *e, bool on);
void ol_sim_end_close(struct ol_sim *w, struct sim_end *e, bool reset);
void ol_sim_end_discard(struct ol_sim *w, struct sim_end *e, bool reset); /* no completion */
void ol_sim_end_refuse(struct ol_sim *w, struct sim_end *e); /* taken out of a closing backlog */
void ol_sim_end_name(struct sim_end *e, bool peer, struct ol_addr *out);

/* sim_listen.c */
int ol_sim_listen(struct sim_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
                  struct ol_addr *bound);
int ol_sim_listener_offer(struct ol_sim *w, struct sim_listener *l,
                          struct sim_end *e); /* or -EAGAIN */
bool ol_sim_listener_complete(struct ol_sim *w, struct sim_listener *l, struct ol_completion *c,
                              struct ol_addr *from);
bool ol_sim_listener_has(const struct sim_listener *l);
void ol_sim_listener_accept(struct ol_sim *w, struct sim_listener *l, bool on);
void ol_sim_listener_close(struct ol_sim *w, struct sim_listener *l);
void ol_sim_listener_discard(struct ol_sim *w, struct sim_listener *l);

/* sim_dgram.c */
int ol_sim_dgram_listen(struct sim_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
                        struct ol_addr *bound);
int ol_sim_dgram_connect(struct sim_driver *d, struct ol_link *l,
                         const struct ol_connect_spec *spec);
int ol_sim_dgram_send(struct ol_sim *w, struct sim_dgram *g, const struct ol_dgram *messages,
                      int count);
void ol_sim_dgram_happens(struct ol_sim *w, struct sim_dgram *g);
bool ol_sim_dgram_complete(struct ol_sim *w, struct sim_dgram *g, struct ol_completion *c,
                           struct ol_addr addrs[2]);
bool ol_sim_dgram_has(const struct sim_dgram *g);
void ol_sim_dgram_receive(struct ol_sim *w, struct sim_dgram *g, bool on);
void ol_sim_dgram_close(struct ol_sim *w, struct sim_dgram *g);
void ol_sim_dgram_discard(struct ol_sim *w, struct sim_dgram *g);

static inline struct sim_end *
sim_end_of(struct sim_socket *s)
{
    OL_ASSERT(s->kind == SIM_END);
    return OL_CONTAINER(s, struct sim_end, s);
}

static inline struct sim_listener *
sim_listener_of(struct sim_socket *s)
{
    OL_ASSERT(s->kind == SIM_LISTENER);
    return OL_CONTAINER(s, struct sim_listener, s);
}

static inline struct sim_dgram *
sim_dgram_of(struct sim_socket *s)
{
    OL_ASSERT(s->kind == SIM_DGRAM);
    return OL_CONTAINER(s, struct sim_dgram, s);
}

static inline struct sim_wire *
sim_wire_of(const struct sim_end *e)
{
    return OL_CONTAINER(e - e->which, struct sim_wire, end[0]);
}

static inline struct sim_end *
sim_peer(const struct sim_end *e)
{
    return &sim_wire_of(e)->end[!e->which];
}

#endif
