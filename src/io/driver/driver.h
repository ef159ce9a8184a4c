/*
 * driver.h - how a reactor reaches the world: the one table behind which every socket lives.
 *
 * Start an activity; hear of it in batches until it ends.  A driver never calls user code: wait()
 * fills `out` with completions and the reactor walks them, so no driver can recurse and no busy
 * socket can starve the others.  Received bytes are lent: they lie in the driver's own blocks and
 * go back when the reactor says so (give_back), unless somebody took a reference of the block.
 *
 *     listen / adopt / connect --> receive_start, send... --> close --> OL_CLOSED (the last one)
 *
 * A link is embedded in whatever the upper layer keeps per socket.  It may be freed when its
 * OL_CLOSED completion has been delivered, and never before: until then the kernel may hold memory.
 *
 * Threads: `listen`, `given`, `pair`, `discard`, `wake` and `address` may be called from any
 * thread; everything else only from the thread that calls wait(), which stays the same for the
 * driver's whole life.  `open` may happen on another thread than the first wait().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_DRIVER_H
#define OL_DRIVER_H

#include "addr/addr.h"
#include "base/base.h"

#include <sys/uio.h>
#include <time.h>

struct ol_driver; /* the first member of each driver's own struct */
struct ol_link;

enum ol_activity {
    OL_ACCEPTED,  /* result: the token of a new socket; `from`: its peer, or NULL if not known */
    OL_CONNECTED, /* result 0, or why not */
    OL_RECEIVED,  /* result > 0: bytes lent; 0: the peer's end (streams) or an empty datagram */
    OL_SENT,      /* result: bytes taken of a pending send (0: only room again), or why not */
    OL_READY,     /* a watched descriptor: result is OUTLET_READABLE | ... or a negated errno */
    OL_CLOSED     /* the descriptor is closed; nothing more will come */
};

/* What a link is. */
enum ol_link_kind {
    OL_LINK_NONE, /* all zero: not in use */
    OL_LINK_LISTENER,
    OL_LINK_STREAM,
    OL_LINK_DGRAM,
    OL_LINK_LOCAL, /* unix datagrams: longer than DGRAM's, and none is lost */
    OL_LINK_WATCH,
    OL_LINK_PACKET,   /* a connection of messages: sends and receives as DGRAM, ends as STREAM */
    OL_LINK_PASSING,  /* a unix STREAM that carries descriptors, see pass() */
    OL_LINK_INHERITED /* a listener whose socket other processes may hold, too */
};

struct ol_completion;

struct ol_link_ops {
    /* The reactor's walk calls this for each completion of the link. */
    void (*complete)(struct ol_link *l, struct ol_completion *c);
    /* Stream, asked before the driver sleeps: will anything be done when the pending send is heard
     * of?  Else that may be OL_QUIET_MS later, if all of it was taken.  NULL: always. */
    bool (*is_awaited)(const struct ol_link *l);
    /* Stream, from within wait(), and may call nothing of the driver: all of a quiet send was
     * taken.  false: that shall be told by OL_SENT.  NULL: always. */
    bool (*took)(struct ol_link *l, size_t bytes);
};

/* 32 bytes per connection; the fields after `ops` are the driver's. */
struct ol_link {
    const struct ol_link_ops *ops; /* set by the owner before the link is used */
    int32_t token;                 /* descriptor, or the simulator's number; -1: none */
    uint8_t kind;                  /* enum ol_link_kind */
    uint8_t flags;
    uint16_t pending;     /* operations that the kernel still holds */
    void *work;           /* driver's per-operation state */
    struct ol_link *next; /* on one of the driver's lists */
};
_Static_assert(sizeof(struct ol_link) <= 40, "part of what an idle connection costs");

struct ol_lent {
    uint8_t *data;
    uint32_t len;
    uint32_t room_before; /* writable bytes before data, at least OL_LENT_ROOM on streams */
    uint32_t room_after;
    struct ol_block *block; /* to take a reference of */
    uint32_t id;            /* the driver's */
};

enum {
    OL_LENT_ROOM = 64,
    OL_RECEIVE_MIN = 65536, /* offered to each stream receive */
    OL_DGRAM_MAX = 65507,   /* payload of an IPv4 datagram */
    OL_BATCH_MAX = 256,     /* completions per wait */
    OL_QUIET_MS = 10        /* see is_awaited() */
};

struct ol_completion {
    struct ol_link *link;
    enum ol_activity kind;
    int32_t result;   /* >= 0, or a negated errno */
    bool more;        /* the activity goes on; false: it must be started again */
    bool truncated;   /* datagram: its tail is lost */
    bool end;         /* packets: no empty message, but the peer's end */
    uint32_t segment; /* datagrams: `bytes` holds several, each of this size but the last; 0: one */
    struct ol_lent bytes; /* OL_RECEIVED with result >= 0 */
    /* PASSING and PACKET: descriptors that came with these bytes, close-on-exec and from now on the
     * receiver's to close; on a stream they belong to the last message that begins in them. */
    const int32_t *fds;
    int fd_count;
    bool fds_lost; /* there were more: than were allowed, or than there was room for in our table */
    const struct ol_addr
        *from; /* datagram's or accepted socket's peer; valid until the next wait() */
    const struct ol_addr *to; /* datagram: the local address it was sent to, or NULL */
};

/* Field by field: for a literal gcc clears all of it, 12 words, in a loop of one instruction
 * (rep stos) instead of a few wide stores. */
static inline void
ol_completion_set(struct ol_completion *c, struct ol_link *l, enum ol_activity kind, int32_t result,
                  bool more)
{
    c->link = l;
    c->kind = kind;
    c->result = result;
    c->more = more;
    c->truncated = false;
    c->end = false;
    c->segment = 0;
    c->bytes.data = NULL;
    c->bytes.len = 0;
    c->bytes.room_before = 0;
    c->bytes.room_after = 0;
    c->bytes.block = NULL;
    c->bytes.id = 0;
    c->fds = NULL;
    c->fd_count = 0;
    c->fds_lost = false;
    c->from = NULL;
    c->to = NULL;
}

enum ol_share_port {
    OL_PORT_ALONE,
    OL_PORT_FIRST, /* bound plainly: a stranger's port is noticed; siblings may join after */
    OL_PORT_SIBLING,
    OL_PORT_SHARED /* with whoever says the same */
};

/*
 * What the kernel is told about an internet socket beside its address; accepted sockets have it
 * from their listener.  All zero: as the system has it.  The simulator's network has neither
 * devices nor silent peers, and takes all of it without an effect.
 */
struct ol_tuning {
    bool nodelay; /* the rest of this line: tcp, too */
    int keepalive_s;
    int keepalive_interval_s;
    int keepalive_probes;
    int user_timeout_ms;
    int dscp;
    char device[OL_DEVICE_MAX + 1]; /* "": any.  -EPERM: not allowed to */
    uint32_t interface; /* udp: of groups that are joined or sent to, and of broadcasts; 0: any */
    int ttl;            /* ... hops; 0: one */
    bool deaf;          /* ... this machine does not hear what is sent to a group */
    bool broadcast;     /* may be sent to; else -EACCES */
};

/* A socket that the program has, and what it is. */
struct ol_given {
    int32_t token; /* of a duplicate; for listen(), connect() or discard() */
    enum ol_scheme scheme;
    bool is_listening;
    bool is_connected;
    struct ol_addr local; /* OL_ADDR_NONE: not bound */
    struct ol_addr peer;
};

struct ol_listen_spec {
    /* LISTENER, INHERITED: stream; DGRAM: a datagram socket, receives right away */
    enum ol_link_kind kind;
    int32_t given; /* a token from given(), taken also after an error; 0: none.  Then only `tuning`
                      counts of the rest */
    bool packets;  /* unix: accepted sockets are PACKET links */
    struct ol_addr at; /* DGRAM: a group is joined, and the port bound at any address */
    enum ol_share_port share;
    int backlog;
    int mode;              /* permissions of a unix path; -1: as umask says */
    struct ol_addr source; /* DGRAM at a group: only it is heard there; OL_ADDR_NONE: everyone */
    /* Accepting ends after each client (more = false): who comes next waits in the backlog. */
    bool singly;
    struct ol_tuning tuning;
};

struct ol_connect_spec {
    enum ol_link_kind kind; /* STREAM, PACKET or DGRAM (connected) */
    int32_t given;          /* as above: connected already */
    bool many; /* DGRAM: not connected: sends to whom each message says, and hears all */
    struct ol_addr to;
    struct ol_addr local; /* to bind to before; OL_ADDR_NONE: any address, with this port if any */
    struct ol_tuning tuning;
};

struct ol_dgram {
    const struct iovec *pieces;
    int count;
    const struct ol_addr *to;   /* NULL on a connected socket */
    const struct ol_addr *from; /* local address to send from, or NULL; the port is not used */
    uint32_t segment; /* a train: several datagrams, each of this size but the last; 0: one */
    int pass;         /* PACKET: a descriptor that goes along, plus one; 0: none */
};

enum {
    OL_TRAIN_MAX = 64,          /* datagrams: UDP_MAX_SEGMENTS of the oldest kernels that have it */
    OL_TRAIN_SEGMENT_MAX = 1400 /* larger ones exceed the usual path's MTU, and are then refused */
};

/* Who a unix socket's peer was when it connected, or when it began to listen. */
struct ol_credentials {
    uint32_t pid;
    uint32_t uid;
    uint32_t gid;
};

struct ol_tcp_facts {
    uint32_t rtt_us;
    uint32_t retransmits;
};

struct ol_dgram_facts {
    uint64_t lost;   /* arrived, and the kernel had no room: since the socket was made */
    uint64_t unread; /* bytes that wait to be received, the kernel's bookkeeping included; unix,
                        where nothing is lost and its owner is the sender: 1.  0: none */
};

/* send() answers this when it keeps the pieces until OL_SENT. */
#define OL_SEND_PENDING INT64_MIN

struct ol_sim; /* a world, see sim.h */

struct ol_driver_opts {
    struct ol_budget *budget; /* heap for everything; blocks hold a reference */
    const struct ol_log *log;
    struct ol_sim *world; /* sim only; NULL: a world of its own made from sim_seed */
    uint64_t sim_seed;
};

/* Everything int answers 0 (or a count) or a negated errno. */
struct ol_driver_ops {
    const char *name;
    int (*open)(struct ol_driver **out, const struct ol_driver_opts *opts);
    /* All links must be closed.  In a forked child: frees memory and descriptors, nothing else. */
    void (*free)(struct ol_driver *d);

    /* Bind (and listen).  Writes the address with the port that was picked.  Nothing arrives before
     * accept_start / receive_start.  A unix path: a stale socket file (nobody listens) is replaced
     * without a race, a live one is EADDRINUSE, anything else that stands there is EEXIST; the file
     * is removed at close if it is still ours. */
    int (*listen)(struct ol_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
                  struct ol_addr *bound);
    int (*accept_start)(struct ol_driver *d, struct ol_link *l);
    void (*accept_stop)(struct ol_driver *d, struct ol_link *l); /* one more may still come */

    /* An error before anything was started is the return value; else OL_CONNECTED tells, and after
     * a failure too the link must be closed. */
    int (*connect)(struct ol_driver *d, struct ol_link *l, const struct ol_connect_spec *spec);
    /* Look at a descriptor of the program and duplicate it.  -EBADF: it is not open.  -ENOTSOCK.
     * -EPROTONOSUPPORT: a socket of a kind that no scheme has.  -EOPNOTSUPP: not with this driver.
     */
    int (*given)(struct ol_driver *d, int fd, struct ol_given *out);
    int (*pair)(struct ol_driver *d, int32_t tokens[2]); /* two stream sockets plugged together */
    /* From accept or pair: STREAM or PACKET. */
    int (*adopt)(struct ol_driver *d, struct ol_link *l, enum ol_link_kind kind, int32_t token);
    void (*discard)(struct ol_driver *d, int32_t token, bool reset);
    /* A unix STREAM, which becomes PASSING, or PACKET, before anything is sent or received: take up
     * to `max` descriptors at a time.  Without it the kernel drops them. */
    int (*pass)(struct ol_driver *d, struct ol_link *l, unsigned max);

    /* OL_RECEIVED until stop, end or error (more = false).  With datagrams, what the network
     * reports about an earlier one (-ECONNREFUSED...) is told with more = true: it goes on. */
    int (*receive_start)(struct ol_driver *d, struct ol_link *l);
    void (*receive_stop)(struct ol_driver *d,
                         struct ol_link *l); /* what is under way may still come */
    void (*give_back)(struct ol_driver *d, struct ol_lent *bytes); /* once per OL_RECEIVED >= 0 */

    /*
     * Stream.  Try now and keep nothing: bytes taken, or -EAGAIN, or another negated errno.  Only
     * while no send is pending.
     */
    int64_t (*send_now)(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces,
                        int count);
    /*
     * Stream.  Bytes taken now (perhaps fewer than given), or OL_SEND_PENDING: the bytes, not the
     * iovec array, must stay until OL_SENT tells how many were taken.  One at a time per link.
     */
    int64_t (*send)(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count);
    /*
     * Stream, where `gathers`.  The same of few bytes, which all find room in all likelihood: true:
     * they must stay until OL_SENT, which is told as is_awaited() says.  false: not now, nothing is
     * kept.
     */
    bool (*send_quiet)(struct ol_driver *d, struct ol_link *l, const struct iovec *piece);
    /*
     * Stream.  `len` bytes of a file: bytes taken now, -EAGAIN, or OL_SEND_PENDING, after which
     * OL_SENT 0 says that there is room again.  -ENODATA: the file ends before.  -EINVAL: this kind
     * of file cannot be sent so.  May be NULL.
     */
    int64_t (*send_file)(struct ol_driver *d, struct ol_link *l, int file, int64_t offset,
                         size_t len);
    /* PASSING.  The bytes and a descriptor that goes along with the first of them.  Answers as
     * send_file() does. */
    int64_t (*send_fd)(struct ol_driver *d, struct ol_link *l, const struct iovec *piece, int fd);
    /*
     * Datagrams, in order: how many were taken (all or fewer).  Fewer: OL_SENT comes when there is
     * room, or right away if the next one failed; the first one failing is the return value, and
     * the caller drops that one.  Keeps nothing.  -EAGAIN: no room, OL_SENT comes; but not from a
     * LOCAL link with `to`, where it is the peer that has none: look again soon.  A train is
     * taken whole or not at all; -EOPNOTSUPP: not as a train.
     */
    int (*send_dgrams)(struct ol_driver *d, struct ol_link *l, const struct ol_dgram *messages,
                       int count);

    int (*end_writing)(struct ol_driver *d, struct ol_link *l); /* no send may be pending */
    /* Cancel everything, then close: in order, or with a reset.  OL_CLOSED is the last completion.
     */
    void (*close)(struct ol_driver *d, struct ol_link *l, bool reset);

    int (*address)(struct ol_driver *d, struct ol_link *l, bool peer, struct ol_addr *out);
    int (*credentials)(struct ol_driver *d, struct ol_link *l, struct ol_credentials *out);
    int (*tcp_facts)(struct ol_driver *d, struct ol_link *l, struct ol_tcp_facts *out);
    /* DGRAM and LOCAL.  -ENOPROTOOPT: the kernel does not tell (before Linux 4.12). */
    int (*dgram_facts)(struct ol_driver *d, struct ol_link *l, struct ol_dgram_facts *out);

    /* A foreign descriptor, level-triggered; OL_READY while it is ready, at most once per wait.
     * close() stops watching and leaves the descriptor open. */
    int (*watch)(struct ol_driver *d, struct ol_link *l, int fd, unsigned events);

    /* Wait until `until` (monotonic; the past: only look), a completion, or a wake.  Answers the
     * number of completions; < 0: the driver itself failed. */
    int (*wait)(struct ol_driver *d, ol_time until, struct ol_completion *out, int max);
    /* For who looks again and again: as wait(0), but it may see only the stream that received last,
     * and costs less.  Some looks must be waits, or the others are never heard of.  NULL: nothing
     * is cheaper than wait(0). */
    int (*look)(struct ol_driver *d, struct ol_completion *out, int max);
    void (*wake)(struct ol_driver *d); /* any thread, async-signal-safe; one wake-up per batch */

    ol_time (*now)(struct ol_driver *d);      /* monotonic */
    int64_t (*real_now)(struct ol_driver *d); /* ns since 1970 */
    void (*random)(struct ol_driver *d, void *bytes, size_t len);

    /* For a foreign poll loop: a descriptor that is readable when wait() has something, or at the
     * time last given to arm().  Before the first wait(). */
    int (*embed)(struct ol_driver *d);
    void (*arm)(struct ol_driver *d, ol_time until);
};

struct ol_driver {
    const struct ol_driver_ops *ops;
    /* Set at open, constant then: the sends of a turn are one system call, so one that is sent
     * early (send_now) costs more.  Else each send costs the same whenever it is made. */
    bool gathers;
};

/*
 * Forks of this process, counted by a handler of pthread_atfork(3): asking for the pid instead is a
 * system call for each connection that closes.
 */
struct ol_forks {
    _Atomic uint32_t depth; /* forks from the process that first asked to this one */
    _Atomic uint32_t made;  /* forks after which somebody may share our descriptors */
};
const struct ol_forks *ol_forks(void); /* counts from the first call on */

ol_time ol_host_now(struct ol_driver *d); /* does not look at it */

static inline int64_t
ol_read_clock(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t); /* cannot fail with these clocks */
    return (int64_t)t.tv_sec * 1000 * OL_MS + t.tv_nsec;
}

/* Mostly the clock is the host's, and the turn of a single message spares the call. */
static inline ol_time
ol_driver_now(struct ol_driver *d)
{
    return OL_LIKELY(d->ops->now == ol_host_now) ? ol_read_clock(CLOCK_MONOTONIC) : d->ops->now(d);
}

extern const struct ol_driver_ops ol_driver_epoll;
extern const struct ol_driver_ops ol_driver_uring;
extern const struct ol_driver_ops ol_driver_sim;

#endif
