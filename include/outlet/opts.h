/*
 * opts.h - everything that can be set, with its default.
 *
 * Each number, frame and the lists allow and deny are also keys of the URL
 * ("tcp://:9000#idle_ms=60000,frame=line"); where both say something the URL wins.  Zero always
 * means the default written beside the field; OUTLET_OFF means none, no limit or no (low, full,
 * backlog and mode cannot be off).
 *
 * A field that the transport or the role cannot honour is refused like such a key in the URL, never
 * ignored: leave it 0.  docs/url.md says who honours which, and its greatest value.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_OPTS_H
#define OUTLET_OPTS_H

#include "buf.h"
#include "frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OUTLET_OFF (-1)
#define OUTLET_ON 1

/* What a connection or listener is called by.  Values, never pointers: copy and compare freely. */
typedef struct outlet_conn {
    uint64_t id;
} outlet_conn;
typedef struct outlet_listener {
    uint64_t id;
} outlet_listener;

/* What happens to a send when the queue is at `cap`, on the connection's own reactor.  From other
 * threads it is refused whatever stands here: nothing there may be dropped, and nothing ended. */
enum outlet_full {
    OUTLET_FULL_REFUSE = 1,   /* the send answers OUTLET_EFULL */
    OUTLET_FULL_DROP_NEW = 2, /* the new message is dropped and counted, the send succeeds; needs
                                 message borders */
    OUTLET_FULL_DROP_OLD = 3, /* the oldest ones not yet begun are; needs message borders */
    OUTLET_FULL_CLOSE = 4     /* the connection is aborted with OUTLET_EFULL */
};

/* What on_event tells. */
enum outlet_event {
    OUTLET_EVENT_END = 1,       /* the peer ended its sending side; only with half_open */
    OUTLET_EVENT_DROPPED = 2,   /* value: messages that drop_new or drop_old dropped since the last
                                   such event; at most one in a turn */
    OUTLET_EVENT_PEER_ERROR = 3 /* udp: value is the errno the network reported, traffic goes on */
};

/*
 * The callbacks of a connection, all optional.  `user` is the connection's user data.
 *
 *     accept? -> open -> (message | writable | event)* -> close
 *           \______\____ refused, or could not connect ______^
 *
 * Callbacks of one connection never overlap; all run on its reactor.  Any function of the library
 * may be called in them, close and stop included, but those that wait: run, turn, and free of the
 * same loop answer OUTLET_EDEADLK.
 */
struct outlet_handlers {
    size_t size; /* sizeof(struct outlet_handlers) */
    /* A client arrived at a listener, or the first datagram of a peer.  0 takes it; anything else
     * refuses it, and on_close follows. */
    int (*on_accept)(outlet_conn c, void *user);
    /* Every handshake is done: both sides may send. */
    void (*on_open)(outlet_conn c, void *user);
    /* One message, lent until this returns. */
    void (*on_message)(outlet_conn c, outlet_msg *m, void *user);
    /* The queue was above `high` or refused a send, and has fallen to `low` or below. */
    void (*on_writable)(outlet_conn c, void *user);
    void (*on_event)(outlet_conn c, enum outlet_event what, int64_t value, void *user);
    /* Once for every connection, the last callback.  The handle is stale when it returns. */
    void (*on_close)(outlet_conn c, const struct outlet_reason *why, void *user);
};

/* clang-format off */
struct outlet_opts {
    size_t size;                       /* set by OUTLET_OPTS; tells which fields exist */
    const struct outlet_handlers *on;  /* NULL: none; copied */
    void *user;                        /* user data of the connection, or of each accepted one */
    struct outlet_reason *why;         /* NULL, or filled when the call fails */
    const struct outlet_framing *framing; /* with frame=custom; copied */

    const char *frame;                 /* NULL: "none"; copied */
    int64_t max;                       /* bytes of a message, in both directions; 0: 1 MiB;
                                          udp: 65,507; unix-seqpacket and unix-dgram: 256 KiB.
                                          A stream with frame=none has no messages, and
                                          no limit here */

    int64_t connect_ms;                /* connect: all addresses together; 0: 10,000 */
    int64_t handshake_ms;              /* 0: 10,000; no transport of this version has a handshake */
    int64_t idle_ms;                   /* nothing received or sent; 0: listeners 300,000, udp
                                          listeners 60,000, connections made by connect: off */
    int64_t partial_ms;                /* a message began and did not end; 0: 30,000 */
    int64_t stall_ms;                  /* the peer takes nothing of what is queued; 0: 60,000 */
    int64_t flush_ms;                  /* after close: to send what is queued and see the peer's
                                          end; 0: 5,000 */

    int64_t high;                      /* queued bytes: on_writable is owed above; 0: 256 KiB */
    int64_t low;                       /* ... and paid at or below; 0: 64 KiB.  low <= high <= cap:
                                          a default gives way to what is said */
    int64_t cap;                       /* queued bytes: `full` applies above; 0: 16 MiB */
    int64_t full;                      /* enum outlet_full; 0: refuse */

    int64_t half_open;                 /* 0: off.  On: the peer's end does not close ours */
    int64_t nodelay;                   /* tcp; 0: on */

    int64_t backlog;                   /* listen; 0: 4,096, which the system may lower */
    int64_t conns;                     /* listen: connections of this listener at once; above it
                                          they are closed on arrival.  0: descriptor limit at this
                                          time less 64.  udp: peers; 0: 65,536; above it the one
                                          longest silent that has never answered gives way, else
                                          newcomers are dropped */
    int64_t conns_per_address;         /* listen, tcp and udp; 0: off */
    int64_t mode;                      /* listen, unix and the like: permissions of the path;
                                          0: as umask says */

    int64_t accepts_per_second;        /* listen, not pair: a tenth of it at once, then evenly; who
                                          is above it waits in the backlog.  udp: new peers, above
                                          it they are dropped.  0: off; at most 1,000,000 */
    const char *allow;                 /* listen, tcp and udp: who may come in, as addresses and
                                          prefixes ("10.0.0.0/8, ::1"), joined by commas or spaces;
                                          copied.  NULL: everyone; else all others may not */
    const char *deny;                  /* ... and who may not.  The most specific prefix decides, of
                                          two equal ones deny; at most 1,024 in both */
    int64_t reuse;                     /* listen, tcp and udp: other processes of this user that say
                                          the same share the port (SO_REUSEPORT); 0: off */

    int64_t keepalive_s;               /* tcp: after so long a silence the system asks the peer
                                          whether it is there; 0: off */
    int64_t keepalive_interval_s;      /* ... and asks again; 0: as the system says */
    int64_t keepalive_probes;          /* ... so often, then it is gone; 0: as the system says */
    int64_t user_timeout_ms;           /* tcp: what was sent must be acknowledged by then; 0: off,
                                          the system gives up after about 15 minutes */
    int64_t dscp;                      /* tcp and udp: class of traffic, 1 to 63; 0: none */
    const char *device;                /* tcp and udp: only through this network device; NULL: any;
                                          copied */
    const char *local;                 /* connect, tcp and udp: from this address, port or both;
                                          NULL: the system chooses; copied */

    const char *interface;             /* udp: groups are joined and sent to through it: a name, a
                                          number or an address of it; NULL: the system chooses;
                                          copied */
    int64_t ttl;                       /* udp: hops that what is sent to a group may go; 0: 1 */
    int64_t loop;                      /* udp: this computer hears what it sends to groups; 0: on */
    int64_t broadcast;                 /* udp: broadcast addresses may be sent to; 0: off */

    int64_t fds;                       /* unix and unix-seqpacket: descriptors that may come with a
                                          message or wait for it, and as many may wait to be sent;
                                          0: off, then none is taken, at most 64 */
    const char *source;                /* listen at a group, udp: only what this address sends to
                                          it is heard (source-specific multicast); NULL: everyone;
                                          copied */
};
#define OUTLET_OPTS {.size = sizeof(struct outlet_opts)}
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
