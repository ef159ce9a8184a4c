/*
 * conn.h - one connection: where a link, a queue, a filter and a user's handlers meet.
 *
 *     DIALING --> SHAKING --> OPEN --> FLUSHING --> LINGERING --> CLOSING --> CLOSED
 *         \__________\__________\__________\____________\___________^
 *
 * FLUSHING   we end: what is queued still leaves
 * LINGERING  our side is ended: input is discarded until the peer's end
 * CLOSING    the driver was told; its last completion is awaited
 *
 * The files: conn.c life and states, receive.c bytes to messages, send.c messages taken or
 * refused, queued.c what waits, flush.c what leaves, limits.c everything that runs out of time,
 * cause.c why it ended, dial.c connecting, settings.c what is shared by all connections of a
 * listener, visit.c from handle to connection, api.c the public functions, info.c facts.
 *
 * What a newcomer gets wrong: to free or to call back from within a public call.  Those only change
 * state; the driver's completion, mail or the end of the turn does the rest.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_CONN_H
#define OL_CONN_H

#include "addr/addr.h"
#include "base/base.h"
#include "io/loop/loop.h"
#include "io/queue/queue.h"
#include "net/filter/filter.h"
#include "outlet/conn.h"
#include "outlet/listener.h"
#include "outlet/plug.h"

struct ol_conn;
struct ol_net;

/* ---- settings: shared, counted, never changed -------------------------------------------- */

/* A listener's numbers, which outlive it while connections remain. */
struct ol_counts {
    _Atomic uint32_t refs;
    const ol_heap *heap;
    _Atomic int64_t connections;
    _Atomic int64_t accepted;
    _Atomic int64_t refused;
    _Atomic int64_t dropped;
    _Atomic int64_t denied; /* of those refused: by the lists */
    _Atomic int64_t pauses; /* of accepting, for the rate */
    int64_t connections_max;
    int64_t per_address_max; /* 0: off */
    struct ol_rules *rules;  /* NULL: everyone may come in */
    struct ol_rate rate;
    pthread_mutex_t lock; /* of `addresses`, only used with per_address_max */
    struct ol_map addresses;
};

/* How a kind of link is driven; the only thing that differs between transports. */
struct ol_transport {
    const char *name;
    enum ol_link_kind link; /* of its connections; NONE: they have none of their own */
    bool stream;            /* bytes without borders */
    bool ends; /* reliable, and the peer's end is seen: what is held back is not lost */
    bool many; /* datagrams to one address and from anybody */
    int (*receive_start)(struct ol_conn *c);
    void (*receive_stop)(struct ol_conn *c);
    /* Take from the queue what the kernel takes.  0, or a negated errno that ends the connection.
     */
    int (*flush)(struct ol_conn *c);
    /* Datagrams of `segment` bytes, the last one perhaps shorter; 0: one.  All of them or none: 0,
     * or a negated errno; -EOPNOTSUPP: not as a train. */
    int (*send_train)(struct ol_conn *c, const struct iovec *all, uint32_t segment); /* or NULL */
    int (*end_writing)(struct ol_conn *c);                                           /* or NULL */
    /* Of its socket, which a listener's peers share; or NULL. */
    int (*facts)(struct ol_conn *c, struct ol_dgram_facts *out);
    void (*close)(struct ol_conn *c, bool reset); /* leads to ol_conn_closed(), later */
};

extern const struct ol_transport ol_transport_stream;
extern const struct ol_transport ol_transport_packet; /* messages in order, and an end */
extern const struct ol_transport ol_transport_local;  /* connected, of unix: no trains */
extern const struct ol_transport ol_transport_dgram;  /* a connected datagram socket */
extern const struct ol_transport ol_transport_many;   /* a datagram socket that is not */

/* What is done where it is needed: a call for each message would cost more than its work. */
enum ol_in_place {
    OL_IN_PLACE_NOT,
    OL_IN_PLACE_NONE,  /* what ol_filter_none does */
    OL_IN_PLACE_FIELD, /* a length of 1 to 8 bytes and the message: ol_field_next() */
    OL_IN_PLACE_DGRAM  /* what ol_filter_dgram looks at: nothing stands around one */
};

struct ol_settings {
    _Atomic uint32_t refs;
    const ol_heap *heap;
    struct outlet_loop *loop;
    const struct ol_transport *transport;
    const struct ol_filter *filter;
    ol_frame_next_fn *next; /* the filter's for this framing: see ol_settings_next() */
    ol_frame_wrap_fn *wrap;
    struct outlet_handlers on;
    void *user;
    enum ol_scheme scheme;
    ol_time connect, handshake, idle, partial, stall, flush; /* durations; OL_NEVER: off */
    ol_time soonest; /* of those that an open connection may ask for */
    size_t high, low, cap;
    size_t wire_room; /* how much may leave the short way, see wire.c; 0: nothing */
    enum outlet_full full;
    bool half_open;
    struct ol_tuning tuning;
    uint8_t in_place; /* enum ol_in_place */
    uint8_t fds;      /* descriptors that may come with a message; 0: none are taken */
    outlet_listener listener;
    struct ol_counts *counts; /* NULL: made by connect */
    struct ol_framing framing;
    size_t url_room;
    char url[]; /* canonical, without a secret */
};

outlet_err ol_settings_new(struct outlet_loop *l, const struct ol_endpoint *e,
                           struct outlet_reason *why, struct ol_settings **out);
outlet_err ol_framing_of(const struct ol_endpoint *e, struct outlet_reason *why,
                         struct ol_framing *out);
struct ol_settings *ol_settings_ref(struct ol_settings *s);
void ol_settings_unref(struct ol_settings *s);
/* Before they are shared: the port that the system picked, for the URL. */
void ol_settings_set_port(struct ol_settings *s, const struct ol_endpoint *e, uint16_t port);
/* A copy with another framing. */
outlet_err ol_settings_reframe(const struct ol_settings *s, const char *text,
                               const struct outlet_framing *custom, struct ol_settings **out);

struct ol_counts *ol_counts_new(const ol_heap *heap, struct ol_hash_key key);
struct ol_counts *ol_counts_ref(struct ol_counts *n);
void ol_counts_unref(struct ol_counts *n);
/* With rules: may this address come in at all?  Counts it if not. */
bool ol_counts_admit(struct ol_counts *n, const struct ol_addr *peer);
/* May this peer come in?  Counts it if so. */
bool ol_counts_enter(struct ol_counts *n, const struct ol_addr *peer);
/* It was let in, and then refused by the accept callback. */
void ol_counts_refuse(struct ol_counts *n);
void ol_counts_leave(struct ol_counts *n, const struct ol_addr *peer);

/* Room for a listener in its slot; the server layer fills it. */
#define OL_LISTENER_SIZE 64

/* ---- the connection ---------------------------------------------------------------------- */

enum ol_conn_state {
    CONN_NONE,
    CONN_DIALING,
    CONN_SHAKING,
    CONN_OPEN,
    CONN_FLUSHING,
    CONN_LINGERING,
    CONN_CLOSING,
    CONN_CLOSED
};

enum ol_conn_flag {
    CONN_LINKED = 1,     /* the driver knows the link */
    CONN_RECEIVING = 2,  /* OL_RECEIVED may come */
    CONN_PAUSED = 4,     /* by the user */
    CONN_STARVED = 8,    /* by memory_max */
    CONN_SENDING = 16,   /* the driver holds pieces of the queue */
    CONN_END_ASKED = 32, /* outlet_end(): after the queue */
    CONN_ENDED = 64,     /* our sending side is ended */
    CONN_PEER_ENDED = 128,
    CONN_DELIVERING = 256, /* inside the receive path: held input must stay where it is */
    CONN_ENDING = 512,     /* on the list of those that end without a driver's word */
    CONN_COUNTED = 1024,   /* in settings->counts */
    CONN_UNTOLD = 2048,    /* refused before the user heard of it: no on_close */
    CONN_END_TOLD = 4096,  /* the user heard of the peer's end */
    CONN_RELAYED = 8192,   /* messages go to another connection, see relay.c */
    CONN_BLOCKED = 16384,  /* ... whose queue is above `high`: not read meanwhile */
    CONN_RESUMING = 32768, /* no longer paused, and the mail that delivers what is held is posted */
    CONN_STOPPED = CONN_PAUSED | CONN_BLOCKED
};

/* Bytes of an unfinished message, or of messages held back by a pause. */
struct ol_input {
    struct ol_bytes bytes;
    struct ol_frame_scan scan;
    ol_time since;   /* when its first byte came */
    ol_time last;    /* ... and the last one so far */
    bool given_away; /* the bytes were retained by the message callback */
    struct ol_input *next_free;
};

/*
 * Free ones of a reactor, with their memory: messages that cross the borders of receives allocate
 * nothing in a steady flow.  What is free is charged to nobody, so it is bounded here.
 */
struct ol_inputs {
    struct ol_input *first;
    uint32_t count;
    size_t bytes;
};

/* Something that a layer above ties to a connection, and that must hear of its end. */
struct ol_tie {
    struct ol_list node;
    void (*conn_gone)(struct ol_conn *c, struct ol_tie *t); /* frees the tie */
};

/* Made by whoever needs it first. */
struct ol_local {
    /* Unix addresses, which have no place in the published words: peer's, ours.  Constant once set;
     * NULL: not known. */
    _Atomic(struct ol_addr *) named[2];
    struct ol_fds *fds;         /* received ones; NULL: they are off */
    _Atomic int32_t fds_mailed; /* that other threads sent and that are still under way */
};

/* What few connections need. */
struct ol_extra {
    struct ol_list ties;
    struct name *name; /* of names.c; under the loop's lock */
    _Atomic int64_t dropped;
    struct ol_dial *dial;
    union {
        void *peer;    /* a listener's datagram peers: what their socket keeps of them */
        uint64_t lost; /* ... and who has a socket alone: how many it had lost, once it is closed */
    };
    _Atomic(struct ol_local *) local; /* what only unix connections may have */
    _Atomic(struct ol_relay_end *) relay;
};

/* What an address is as published words, so that any thread may read it while we live. */
struct ol_shown_addr {
    _Atomic uint64_t words[OL_ADDR_INET_SIZE / 8];
};

/* Set in shown_queued by who was refused from elsewhere: mail that owes an on_writable is under
 * way, and one is enough however often they try. */
#define OL_SHOWN_OWED (UINT32_C(1) << 31)

/*
 * Set in `mailed` by an end or a close when it is carried out: from then on no other thread's
 * message is taken.  In one word with the count, so that each message was either counted before,
 * and the end waits for it, or is refused: one that is answered as taken is not lost.
 */
#define OL_MAIL_SHUT (INT64_C(1) << 62)

struct ol_conn_cold {
    union {
        struct ol_alarm alarm;
        struct ol_retired retired; /* after the end, when the alarm is clear */
    };
    struct ol_conn *conn;
    struct ol_reactor *reactor;
    uint32_t born; /* in eighths of a second of the driver's clock: 17 years in four bytes */
    _Atomic uint32_t shown_queued; /* queue bytes in units of 16, rounded up; OL_SHOWN_OWED */
    struct ol_shown_addr peer;
    struct ol_shown_addr local;
    _Atomic int64_t mailed; /* bytes on their way from other threads; OL_MAIL_SHUT */
    _Atomic(struct ol_extra *) extra;
};

enum { OL_CAUSE_BITS = 5 }; /* and 11 for an errno: the largest of Linux is 1,133, on mips */

/* Two cache lines: nearly all that an echo touches. */
struct ol_conn {
    struct ol_link link;
    _Atomic(struct ol_settings *) settings;
    struct ol_queue *queue; /* NULL: nothing waits */
    struct ol_input *input; /* NULL: nothing held */
    _Atomic uint8_t state;
    uint8_t lent; /* the wire's number of what the driver reads there of us; 0: nothing */
    uint8_t phase_side;
    int8_t code;
    uint16_t flags;
    uint16_t cause : OL_CAUSE_BITS; /* enum ol_cause, set once by whoever ends it */
    uint16_t sys_errno : 16 - OL_CAUSE_BITS;

    _Atomic(void *) user;
    uint64_t id;
    _Atomic int64_t bytes_in;
    _Atomic int64_t bytes_out;
    _Atomic int64_t messages_in;
    _Atomic int64_t messages_out;
    _Atomic int64_t active; /* when bytes last came or went */
    struct ol_conn_cold *cold;
};
_Static_assert(sizeof(struct ol_conn) == 128, "two cache lines");
_Static_assert(sizeof(struct ol_conn) + sizeof(struct ol_conn_cold) + 4 <= 256,
               "what an idle connection may cost, its generation included");

/* Sockets that are no connections: closed before the connections when the loop drains or stops. */
struct ol_closable {
    struct ol_list node;
    void (*close)(struct ol_closable *x);
};

enum {
    OL_WIRE_ROOM = 65536,  /* for what one connection answers at a time */
    OL_WIRE_LENT_MAX = 255 /* ol_conn.lent is one byte */
};

/* What one connection has answered so far; see wire.h. */
struct ol_wire {
    struct ol_conn *conn; /* NULL: closed */
    uint64_t id;          /* of conn; 0: closed */
    uint8_t *at;          /* where its answers begin */
    size_t used;
    size_t
        room; /* messages end within this, but for the last one's head and tail: do not subtract */
    bool is_train;    /* datagrams: */
    bool is_ended;    /* the last one was shorter than the others, so none may follow */
    uint32_t count;   /* how many */
    uint32_t segment; /* the size of each but the last */
    uint8_t *bytes;
    size_t size;
    size_t from;        /* before this lies what the driver still reads, of... */
    uint32_t lent;      /* ... so many connections */
    uint32_t lent_last; /* the last piece's number, counted since nothing was lent */
    struct iovec lent_pieces[OL_WIRE_LENT_MAX];
    int64_t
        used_max; /* of the loop's memory: above, what is taken might find no place in a queue */
};

/* Per reactor. */
struct ol_net {
    struct ol_reactor *reactor;
    struct ol_conn *delivering; /* whose callbacks are being called with what arrived, or NULL */
    struct ol_wire wire;
    int64_t starve_from; /* of the loop's memory: from there on nothing more is read */
    struct ol_mail attach;
    struct ol_turn_end turn_end;
    struct ol_store store;
    struct ol_inputs inputs;
    struct ol_queue *dirty_first;
    struct ol_queue *dirty_last;
    struct ol_conn *ending; /* linked by link.next: no driver will tell of their end */
    size_t starved;         /* connections whose receiving memory_max has stopped */
    struct ol_alarm hungry; /* while there are any */
    struct ol_list closables;
    void *groups; /* of the group layer */
    void (*groups_free)(struct ol_net *n);
};

/* Where in-process connections of one name arrive. */
struct ol_pair_port {
    struct ol_list node;
    const char *name;
    size_t name_len;
    /* Under the loop's lock, on any reactor: posts the token to the listener's.  False: no memory.
     */
    bool (*arrived)(struct ol_pair_port *p, int32_t token);
    void (*end)(struct ol_pair_port *p); /* the loop ends; not under the lock */
};

/* Per loop; names and ports under the loop's lock. */
struct ol_net_loop {
    struct ol_net *nets;
    struct ol_map names;
    struct ol_map group_counts; /* of the group layer */
    struct ol_list ports;
    /* Of the server layer: listeners in a forked child, as ol_conn_abandon(). */
    _Atomic(void (*)(struct outlet_loop *l, bool at_rest)) listeners_abandon;
};

static inline struct ol_net *
ol_net_of(struct ol_reactor *r)
{
    return atomic_load_explicit(&r->net, memory_order_relaxed);
}

static inline struct ol_settings *
ol_conn_settings(const struct ol_conn *c)
{
    return atomic_load_explicit(&c->settings, memory_order_relaxed);
}

/* Of its own variables, so that the caller's need not lie in memory for the sake of this way. */
static inline int
ol_settings_next_called(const struct ol_settings *s, struct ol_frame_scan *scan,
                        const uint8_t *bytes, size_t len, struct outlet_frame *out)
{
    struct ol_frame_scan scanned = *scan;
    struct outlet_frame found = {0};
    int got = s->next(&s->framing, &scanned, bytes, len, &found);

    *scan = scanned;
    *out = found;
    return got;
}

/* The filter's next message.  The usual ones are cut here: a core that slept would not have guessed
 * the call. */
static inline int
ol_settings_next(const struct ol_settings *s, struct ol_frame_scan *scan, const uint8_t *bytes,
                 size_t len, struct outlet_frame *out)
{
    if (OL_LIKELY(s->in_place == OL_IN_PLACE_NONE)) {
        *out = (struct outlet_frame){.message = len};
        return 1;
    }
    if (s->in_place == OL_IN_PLACE_FIELD)
        return ol_field_next(&s->framing, scan, bytes, len, out);
    return ol_settings_next_called(s, scan, bytes, len, out);
}

/* A stream, of which nothing waits: bytes taken, or a negated errno. */
static OL_INSIDE int64_t
ol_conn_send_now(struct ol_conn *c, const struct iovec *pieces, int n)
{
    const struct ol_reactor *r = c->cold->reactor;

    return r->ops->send_now(r->driver, &c->link, pieces, n);
}

/* Was something taken that the kernel does not have yet?  Beside what is in the mail. */
static inline bool
ol_conn_has_unsent(const struct ol_conn *c)
{
    return OL_UNLIKELY(c->queue) || OL_UNLIKELY(c->lent);
}

static inline enum ol_conn_state
ol_conn_state(const struct ol_conn *c)
{
    return (enum ol_conn_state)atomic_load_explicit(&c->state, memory_order_relaxed);
}

/* How long nothing comes at the end of a message; OL_NEVER: that does not end it. */
static inline ol_time
ol_conn_silence(const struct ol_conn *c)
{
    const struct ol_settings *s = atomic_load_explicit(&c->settings, memory_order_relaxed);

    return s->framing.kind == OL_FRAME_IDLE ? s->framing.idle_ms * OL_MS : OL_NEVER;
}

/* A published counter with one writer: no locked instruction. */
static inline void
ol_count_add(_Atomic int64_t *counter, int64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline outlet_conn
ol_conn_handle(const struct ol_conn *c)
{
    return (outlet_conn){c->id};
}

/* Bytes of messages that other threads sent and that are still under way. */
static inline int64_t
ol_conn_mailed(const struct ol_conn *c)
{
    return atomic_load_explicit(&c->cold->mailed, memory_order_relaxed) & ~OL_MAIL_SHUT;
}

/* `len` more is about to be posted, whatever stands there.  false: no more is taken. */
static inline bool
ol_conn_mail_add(struct ol_conn *c, size_t len)
{
    int64_t mailed = atomic_load_explicit(&c->cold->mailed, memory_order_relaxed);

    do {
        if (mailed & OL_MAIL_SHUT)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->cold->mailed, &mailed,
                                                    mailed + (int64_t)len, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* It arrived. */
static inline void
ol_conn_mail_sub(struct ol_conn *c, size_t len)
{
    atomic_fetch_sub_explicit(&c->cold->mailed, (int64_t)len, memory_order_relaxed);
}

/* What was added before arrives; nothing more is added. */
static inline void
ol_conn_mail_shut(struct ol_conn *c)
{
    atomic_fetch_or_explicit(&c->cold->mailed, OL_MAIL_SHUT, memory_order_relaxed);
}

/* (local.c) */
struct ol_local *ol_conn_local(struct ol_conn *c);              /* NULL: no memory */
struct ol_local *ol_conn_local_if_any(const struct ol_conn *c); /* NULL: there is none */
void ol_conn_local_free(struct ol_conn *c);                     /* nobody looks any more */
enum ol_whose { OL_OF_PEER, OL_OF_US };
/* No memory: it is not known. */
void ol_conn_name_addr(struct ol_conn *c, enum ol_whose whose, const struct ol_addr *a);
size_t ol_conn_print_addr(const struct ol_conn *c, enum ol_whose whose, char *text, size_t room);
void ol_shown_addr_set(struct ol_shown_addr *s, const struct ol_addr *a);
void ol_shown_addr_get(const struct ol_shown_addr *s, struct ol_addr *out);

/* ---- life (conn.c) ----------------------------------------------------------------------- */

/* From any thread that is in the reactor's cell, or on it.  Takes a reference of settings.  The
 * handle works from ol_conn_publish() on; until then the connection may be discarded. */
outlet_err ol_conn_new(struct ol_reactor *r, struct ol_settings *s, void *user,
                       struct ol_conn **out);
void ol_conn_publish(struct ol_conn *c);
/* On the reactor: it will be closed sooner or later, and told. */
void ol_conn_begin(struct ol_conn *c);
/* Not published. */
void ol_conn_discard(struct ol_conn *c);
/* In a forked child: closes our copy of the parent's descriptor and, if the loop was at rest, frees
 * the memory.  Tells nobody. */
void ol_conn_abandon(struct ol_conn *c, bool at_rest);
/* The same of a link; by_driver: also what the driver keeps for it, which must not be closing. */
void ol_link_abandon(struct ol_reactor *r, struct ol_link *l, bool by_driver);
struct ol_extra *ol_conn_extra(struct ol_conn *c); /* NULL: no memory */
/* The link is up: run handshakes (none yet), then open. */
void ol_conn_linked_up(struct ol_conn *c);
void ol_conn_move(struct ol_conn *c, enum ol_conn_state to); /* the only writer of the state */
void ol_conn_receive_start(struct ol_conn *c);
void ol_conn_peer_ended(struct ol_conn *c);
outlet_err ol_conn_end(struct ol_conn *c);  /* our sending side, after what is queued */
void ol_conn_flush_step(struct ol_conn *c); /* FLUSHING or LINGERING: what comes next? */
void ol_conn_close(struct ol_conn *c, enum outlet_side side); /* in order */
void ol_conn_uncount(struct ol_conn *c);   /* it takes no place of its listener any more */
void ol_conn_closed(struct ol_conn *c);    /* nothing of it is in the kernel any more */
void ol_conn_end_later(struct ol_conn *c); /* ol_conn_closed() at the end of this turn */
/* At once.  The first cause stays. */
OL_SELDOM void ol_conn_fail(struct ol_conn *c, int sys_errno);
OL_SELDOM void ol_conn_break(struct ol_conn *c, uint8_t cause, outlet_err code,
                             enum outlet_side side);
const char *ol_conn_state_name(enum ol_conn_state s);
extern const struct ol_link_ops ol_conn_link_ops; /* stream.c */

/* ---- why (cause.c) ----------------------------------------------------------------------- */

enum ol_cause {
    CAUSE_NONE,
    CAUSE_US,   /* outlet_close() */
    CAUSE_PEER, /* the peer's orderly end */
    CAUSE_ABORT,
    CAUSE_STOP,
    CAUSE_SYSTEM, /* sys_errno says */
    CAUSE_REFUSED_BY_CALLBACK,
    CAUSE_RESOLVE,
    CAUSE_LOCAL,
    CAUSE_LOCAL_FAMILY,
    CAUSE_DEVICE,
    CAUSE_BROADCAST,
    CAUSE_CONNECT_TIME,
    CAUSE_IDLE,
    CAUSE_PARTIAL,
    CAUSE_STALL,
    CAUSE_FLUSH_TIME,
    CAUSE_CUT_SHORT, /* the peer's end inside a message */
    CAUSE_TOO_LONG,
    CAUSE_FRAMING,
    CAUSE_QUEUE_FULL,
    CAUSE_MEMORY,
    CAUSE_FILE,   /* shorter than when it was given */
    CAUSE_FDS,    /* more descriptors than the option allows */
    CAUSE_NO_FDS, /* our table is full */
    CAUSE_RELAY_CLOSED,
    CAUSE_RELAY_BROKEN,
    CAUSE_RELAY_CANNOT,
    CAUSE_EVICTED, /* datagram peers: room for a newer one */
    CAUSE_COUNT
};
_Static_assert(CAUSE_COUNT <= 1 << OL_CAUSE_BITS, "a cause has so many bits");

/* Keeps the first cause it is told. */
void ol_cause_set(struct ol_conn *c, enum ol_cause cause, outlet_err code, enum outlet_side side,
                  int sys_errno);
void ol_cause_tell(const struct ol_conn *c, struct outlet_reason *out);

/* ---- receive (receive.c) ----------------------------------------------------------------- */

/* `from`: who sent this datagram, if that is not the connection's one peer; else NULL.  Then the
 * bytes are given back, and at last comes ol_wire_end_delivery(). */
void ol_conn_received(struct ol_conn *c, const struct ol_lent *lent, uint32_t flags,
                      const struct ol_addr *from);
/* Messages held back by a pause, now that there is none. */
void ol_conn_deliver_held(struct ol_conn *c);
/* frame=idle: nothing more will come, or has for that long.  What is held is a message. */
void ol_conn_deliver_silent(struct ol_conn *c);
void ol_conn_input_free(struct ol_conn *c);
void ol_inputs_free(struct ol_inputs *free, const ol_heap *heap);
void ol_net_feed_starved(struct ol_net *n);

/* ---- wire (wire.c) ----------------------------------------------------------------------- */

outlet_err ol_wire_init(struct ol_net *n);
void ol_wire_fini(struct ol_net *n);
void ol_wire_flush(struct ol_wire *w); /* and close it; the connection may break */
void ol_wire_yield(struct ol_wire *w); /* the same when another connection wants it */

/* A stream's answers leave when nothing holds what was received any more. */
static inline void
ol_wire_end_delivery(struct ol_wire *w)
{
    if (OL_LIKELY(w->conn) && OL_LIKELY(!w->is_train))
        ol_wire_flush(w);
}

/* The driver reads what one of them has answered no more. */
static inline void
ol_wire_returned(struct ol_wire *w)
{
    OL_ASSERT(w->lent > 0);
    if (--w->lent == 0) {
        w->from = 0;
        w->lent_last = 0;
    }
}

static inline struct ol_wire *
ol_wire_of(const struct ol_conn *c)
{
    return &ol_net_of(c->cold->reactor)->wire;
}

/* What the driver reads there of c, which has lent it. */
static inline struct iovec
ol_wire_lent(const struct ol_conn *c)
{
    return ol_wire_of(c)->lent_pieces[c->lent - 1];
}

/* Before anything else is done with c's queue or its end.  The connection may break. */
static inline void
ol_wire_leave(const struct ol_conn *c)
{
    struct ol_wire *w = ol_wire_of(c);

    if (w->conn == c)
        ol_wire_flush(w);
}

/* ---- what waits to leave (queued.c) ------------------------------------------------------ */

bool ol_keeps_borders(const struct ol_settings *s);
struct ol_queue *ol_conn_queue_of(struct ol_conn *c); /* made when needed; NULL: no memory */
void ol_conn_queue_free(struct ol_conn *c);
/* What the driver was lent without a queue is read no more. */
void ol_conn_take_back(struct ol_conn *c);
void ol_conn_mark_dirty(struct ol_conn *c); /* flushed at the end of the turn */
void ol_net_forget_dirty(struct ol_net *n, struct ol_queue *gone);
size_t ol_conn_waiting(const struct ol_conn *c);      /* in the queue or with the driver, no mail */
int64_t ol_conn_queued(const struct ol_conn *c);      /* all of it, on its reactor */
int64_t ol_conn_queued_seen(const struct ol_conn *c); /* from elsewhere */
void ol_conn_show_queued(struct ol_conn *c);          /* to them, after it grew or shrank */
void ol_conn_count_sent(struct ol_conn *c, size_t bytes);
void ol_conn_count_dropped(struct ol_conn *c, size_t messages); /* of the queue; is told */
void ol_conn_count_missed(struct ol_conn *c); /* a published message that could not be queued */

/* ---- send (send.c) ----------------------------------------------------------------------- */

/* One message in pieces, or shared (buf, then pieces is its one piece).  As outlet_send(). */
int64_t ol_conn_send(struct ol_conn *c, const struct iovec *pieces, int n, struct outlet_buf *buf);
/* One message that is part of a file; takes the descriptor unless it fails. */
int64_t ol_conn_send_file(struct ol_conn *c, int fd, int64_t offset, size_t len, bool taken);
/* One message with a descriptor that goes along, which is taken unless it fails. */
int64_t ol_conn_send_fd(struct ol_conn *c, int fd, const struct iovec *piece, bool taken);
/* A message that was wrapped already. */
int64_t ol_conn_send_wrapped(struct ol_conn *c, struct outlet_buf *buf);
/* One that was taken when it was posted, and may not be refused any more: `cap` may be exceeded,
 * and a close or an end that came meanwhile waits for it. */
int64_t ol_conn_send_taken(struct ol_conn *c, const struct ol_frame_wrap *w,
                           struct outlet_buf *buf);
/* What is left of messages that were taken and have begun to leave, on an empty queue. */
void ol_conn_queue_rest(struct ol_conn *c, const struct iovec *rest);
/* Datagrams that were taken, each of `segment` bytes but the last, on an empty queue.  sys_errno:
 * what the network said meanwhile, to be told; 0: nothing. */
void ol_conn_queue_train(struct ol_conn *c, const struct iovec *all, uint32_t segment,
                         int sys_errno);

/* ---- out (flush.c) ----------------------------------------------------------------------- */

void ol_net_flush(struct ol_net *n);       /* the end of a turn */
void ol_conn_mail_done(struct ol_conn *c); /* after each: an end or a close may wait for it */
/* A sender elsewhere was refused, or told that more than `high` is queued. */
void ol_conn_owe_writable(struct ol_conn *c);
bool ol_conn_awaits_sent(const struct ol_conn *c);
bool ol_conn_took(struct ol_conn *c, size_t bytes);   /* all of it; false: tell us by OL_SENT */
void ol_conn_sent(struct ol_conn *c, int32_t result); /* OL_SENT */
void ol_conn_after_flush(struct ol_conn *c);
void ol_conn_peer_error(struct ol_conn *c, int sys_errno);
/* (stream.c) Whole messages of the queue, in order, until the kernel has no room: CONN_SENDING then
 * says that OL_SENT is awaited. */
int ol_conn_flush_dgrams(struct ol_conn *c, struct ol_link *link, const struct ol_addr *to,
                         const struct ol_addr *from);
/* (stream.c) One message of a train or of a single datagram at once: 0 or a negated errno. */
int ol_conn_send_train(struct ol_conn *c, struct ol_link *link, const struct iovec *all,
                       struct ol_dgram like);

enum {
    OL_DIRECT_MIN = 16384, /* from here on copying costs more than a system call of its own */
    OL_DIRECT_PIECES = 18, /* gathered without joining: 16 of the user's, a head, a tail */
    OL_SHARE_MIN = 1024 /* a shared buffer below this is copied: that costs less than a reference */
};

/* (wrap.c) One buffer of several pieces; a buffer with its framing around it. */
struct outlet_buf *ol_buf_join(struct ol_budget *budget, const struct iovec *pieces, int n,
                               size_t len);
struct outlet_buf *ol_wrap_buf(const struct ol_settings *s, struct outlet_buf *plain,
                               struct ol_budget *budget, outlet_err *err);

/* ---- descriptors that travel (fds.c) ----------------------------------------------------- */

int ol_fds_start(struct ol_conn *c); /* the link is up: 0 or a negated errno */
/* Bytes have come, perhaps with some; takes those.  The connection may break. */
void ol_fds_arrived(struct ol_conn *c, const struct ol_completion *done);
/* A message is about to be told: so many bytes (of a stream) or messages of what came. */
void ol_fds_told(struct ol_conn *c, size_t whole);
void ol_fds_drop_told(struct ol_conn *c); /* ... and nobody took what came with it */
void ol_fds_fini(struct ol_conn *c);

/* ---- names (names.c) --------------------------------------------------------------------- */

void ol_name_forget(struct ol_conn *c);
size_t ol_name_print(struct ol_conn *c, char *text, size_t room);

/* ---- limits (limits.c) ------------------------------------------------------------------- */

void ol_conn_limits_open(struct ol_conn *c);
void ol_conn_limits_start(struct ol_conn *c);
void ol_conn_limits_resume(struct ol_conn *c); /* after a pause, the user's or for want of memory */
/* Something new has a deadline: see that the alarm is no later. */
void ol_conn_limit_by(struct ol_conn *c, ol_time deadline);

/* ---- connecting (dial.c) ----------------------------------------------------------------- */

enum { OL_DIAL_ADDRS = OL_ENDPOINT_ADDRS };

/* Where a connection tries to connect to, one after the other. */
struct ol_dial {
    int count;
    int next;
    int32_t given;        /* a socket that is connected already; 0: none, or taken up */
    int others;           /* addresses of another family than `local` */
    struct ol_addr local; /* to bind to before */
    struct ol_addr addrs[OL_DIAL_ADDRS];
};

void ol_dial_fill(struct ol_dial *d, const struct ol_endpoint *e); /* all zero before */
void ol_conn_dial(struct ol_conn *c); /* begun, and nothing was tried yet */
void ol_dial_next(struct ol_conn *c);
void ol_dial_connected(struct ol_conn *c, int32_t result);
void ol_dial_done(struct ol_conn *c);
void ol_dial_free(struct ol_reactor *r, struct ol_dial *d); /* also what it was given */
/* Addresses of an endpoint: its literal, loopback, or names in /etc/hosts.  0: none. */
int ol_endpoint_addrs(const struct ol_endpoint *e, struct ol_addr *out, int max);

/* ---- sockets that fd: names (given.c) ---------------------------------------------------- */

enum { OL_GIVEN_MAX = 64 };

/* Duplicates, all of one scheme; those before `next` have been taken. */
struct ol_given_set {
    int next;
    int count;
    int32_t tokens[OL_GIVEN_MAX];
    enum ol_scheme scheme;
    struct ol_addr peer; /* of the last one */
};

/* For an endpoint that was parsed from `url` and `opts`: nothing unless its scheme is fd.  Then *e
 * is settled for what the sockets are.  Fills *why (may be NULL). */
outlet_err ol_given_find(struct outlet_loop *l, const char *url, const struct outlet_opts *opts,
                         struct ol_endpoint *e, struct outlet_reason *why,
                         struct ol_given_set *out);
/* Those that nobody has taken. */
void ol_given_discard(struct outlet_loop *l, struct ol_given_set *set);

/* ---- from handle to connection (visit.c) ------------------------------------------------- */

struct ol_visit {
    struct ol_reactor *reactor;
    struct ol_conn *conn;
    struct ol_cell *cell;
    uint32_t epoch;
    bool own; /* on the connection's reactor: everything is allowed */
};

bool ol_visit_begin(outlet_conn h, struct ol_visit *v); /* false: stale */
void ol_visit_end(struct ol_visit *v);
/* On reactor r: the connection, or NULL if stale. */
struct ol_conn *ol_conn_find(struct ol_reactor *r, uint64_t id);

/* Mail about one connection; run with the connection, if it is still alive. */
struct ol_conn_mail {
    struct ol_mail mail;
    uint64_t id;
    void (*run)(struct ol_conn *c, struct ol_conn_mail *m);
    void (*gone)(struct ol_reactor *r, struct ol_conn_mail *m); /* NULL: nothing to undo */
};
void ol_conn_post(struct ol_reactor *r, struct ol_conn_mail *m);

/* ---- for public calls that take a URL (api.c) -------------------------------------------- */

struct outlet_reason *ol_why_of(const struct outlet_opts *opts);   /* emptied; NULL: not wanted */
outlet_err ol_why_fail(struct outlet_reason *why, outlet_err err); /* answers err */

/* ---- hooks (net.c) ----------------------------------------------------------------------- */

extern const struct ol_loop_hooks ol_net_hooks;

#endif
