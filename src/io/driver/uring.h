/*
 * uring.h - inside the driver for io_uring: what its files share.
 *
 *     uring_links.c --begun--> [kernel] --completions--> uring_reap.c --> told
 *     uring_send.c  --sent-->     ^                          |
 *                             uring_wait.c             polled: uring_read.c
 *
 * driver_uring.c makes rings and links, and is the table of it all; uring_links.c starts, stops and
 * ends what the kernel goes on with; uring_send.c sends, and uring_quiet.c keeps those sends that
 * complete only when they fail; uring_wait.c enters the kernel, and nobody else does; uring_reap.c
 * makes of the ring's completions ours; uring_read.c reads what is only polled; uring_buffers.c is
 * what streams are received into.
 *
 * What a newcomer gets wrong: to tell without a look at the room (uring_has_room), or outside of a
 * wait. What finds none stays where it is: a completion in the ring, a quiet send in `quiet`, a
 * link on `todo`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_URING_H
#define OL_URING_H

#include "driver.h"
#include "lend.h"
#include "sock.h"
#include "uring_blocks.h"
#include "uring_embed.h"

#include <liburing.h>
#include <sys/ioctl.h>

enum {
    URING_BUFFER_GROUP = 0,
    URING_SEND_PIECES = 64,     /* of one gathered send */
    URING_QUIET_MAX = 256,      /* quiet sends at a time */
    URING_HOT_BLOCKS = 4,       /* offered while they come back full */
    URING_NO_BUFFER = OL_BLOCKS /* lent->id of what is not a block's */
};

/* flags of a link */
enum {
    URING_WANTED = 1,      /* accepting, receiving or watching, as far as our user knows */
    URING_ARMED = 2,       /* the kernel is at it */
    URING_CANCELLED = 4,   /* ... but was told to stop */
    URING_SENDING = 8,     /* stream: a send is under way; datagrams: waiting for room */
    URING_CLOSING = 16,    /* nothing is told any more but OL_CLOSED */
    URING_LISTED = 32,     /* on `todo` or `starved` */
    URING_CONNECTING = 64, /* OL_CONNECTED is owed; `work` is the operation, NULL: it is done */
    URING_READABLE = 128,  /* datagrams, inherited listeners: there may be some */
    URING_BROKEN = 128,    /* stream: a send has failed */
    URING_SINGLY = 128,    /* listener: one client for each start; if inherited, `work` says it */
    URING_NESTED = 128,    /* watch: `token` is an epoll of ours around the descriptor */
    URING_RESET = 128      /* stream that is URING_CLOSING */
};

/* A completion names its link in user_data, with the kind of operation in the three low bits.
 * Values without a link: cancellations, the wake-up and the timers. */
enum uring_tag {
    URING_TAG_MAIN, /* accept, receive, or poll for reading, by the link's kind */
    URING_TAG_SEND, /* send, or poll for room */
    URING_TAG_CONNECT,
    URING_TAG_CANCEL,
    URING_TAG_WAKE,
    URING_TAG_TIMER,
    URING_TAG_TICK,
    URING_TAG_QUIET, /* a quiet send was not taken whole; without a link: see send_marker() */
    URING_TAG_BITS = 7
};

/* What the kernel reads while an operation is under way. */
struct uring_op {
    struct uring_op *next; /* idle ones */
    bool is_poll;          /* for room: its result is no number of bytes */
    union ol_sockaddr name;
    struct msghdr head;
    struct iovec pieces[URING_SEND_PIECES];
};

struct uring_quiet {
    struct ol_link *link;
    int32_t len;
};

/* Where the reactor is.  Whoever wakes an awake one spares the system call. */
enum uring_bed { URING_AWAKE, URING_ASLEEP, URING_WOKEN };

struct uring_links { /* first in, first out, through `next` */
    struct ol_link *first;
    struct ol_link *last;
};

/* Made when the first datagram socket wants to receive. */
struct uring_dgrams {
    struct ol_lender lender;
    struct ol_sock_inbox inbox;
    struct ol_sock_fds fds;
    struct ol_addr to[OL_BATCH_MAX]; /* of the completion with the same index */
};

/*
 * Other fields of a link.  `work`: a stream's struct uring_op, or one of the two words below; a
 * unix listener's struct ol_sock_file; the poll bits of a watch; how many descriptors a PASSING or
 * PACKET link takes at a time.
 */
struct uring {
    struct ol_driver base;
    struct ol_budget *budget;
    struct io_uring ring;
    bool is_enabled;
    bool is_child; /* links are being closed in a forked child: the ring is not there */
    const struct ol_forks *forks;
    uint32_t depth; /* of who opened it: a forked child has no ring */

    int wake_fd;
    _Atomic int bed;    /* enum uring_bed */
    bool is_wake_heard; /* the kernel is reading wake_fd... */
    uint64_t wakes;     /* ... into this */
    ol_time rings_at;   /* when the timer does that stands in the ring; OL_NEVER: none does */
    ol_time outlived;   /* the last deadline that a wait was given: see leave_to_timer() */
    struct __kernel_timespec ring_time; /* of a timer that is being submitted */
    struct ol_embed embed;
    bool is_armed; /* embedded and outside of a turn: whoever begins something must uring_kick() */

    struct io_uring_buf_ring *buffers; /* one page, shared with the kernel */
    struct ol_blocks blocks;
    unsigned offered; /* blocks that the kernel has */

    bool is_spared; /* the last turn had something to tell and did not enter the kernel */
    struct uring_links todo;
    struct uring_links starved;
    bool sweep_starved; /* somebody on it wants to be closed */
    unsigned feeds;     /* how often those on it were armed again */

    struct uring_quiet quiet[URING_QUIET_MAX];
    unsigned quiet_count;
    unsigned quiet_sent;   /* of these, from the first on: they only have to be told */
    unsigned quiet_from;   /* completions before this one tell nothing of the others */
    bool has_marker;       /* is under way, submitted after the first... */
    unsigned quiet_marked; /* ... so many */
    bool is_ticking;

    struct uring_op *ops;
    unsigned op_count;
    struct uring_dgrams *dgrams;

    struct ol_completion *out; /* what wait() is filling */
    int out_count;
    int out_max;
    struct ol_addr from[OL_BATCH_MAX]; /* of the completion with the same index */
};

/* Words for `work` of a stream: what has these addresses is looked at by nobody.  The send under
 * way is quiet; or the last one was, and was not taken whole: the next shall wait. */
extern const char ol_uring_quiet_send;
extern const char ol_uring_no_room;

/* ---- entering the kernel (uring_wait.c) ------------------------------------------------ */

/* When the queue of submissions was full.  NULL: the kernel takes nothing more for now. */
OL_SELDOM struct io_uring_sqe *ol_uring_submission_late(struct uring *u);
int ol_uring_wait(struct ol_driver *d, ol_time until, struct ol_completion *out, int max);
void ol_uring_wake(struct ol_driver *d);
int ol_uring_embed(struct ol_driver *d);
void ol_uring_arm(struct ol_driver *d, ol_time until);

/* ---- completions (uring_reap.c) -------------------------------------------------------- */

void ol_uring_reap(struct uring *u); /* as many as there is room to tell */

/* ---- links (uring_links.c) ------------------------------------------------------------- */

/* The kernel goes on with it: accepts, receives or polls.  false: it takes nothing more for now. */
bool ol_uring_begin(struct uring *u, struct ol_link *l);
/* The same for our user, who wants it from now on.  0 or -ENOMEM. */
int ol_uring_start(struct uring *u, struct ol_link *l);
void ol_uring_cease(struct uring *u, struct ol_link *l); /* wanted no more */
void ol_uring_close(struct ol_driver *d, struct ol_link *l, bool reset);
/* Its last operation has completed, and there is room. */
void ol_uring_tell_closed(struct uring *u, struct ol_link *l);
/* Each link that is on `todo` now, once. */
void ol_uring_go_through_todo(struct uring *u);
/* Receive again, as many links as there are buffers: more would only come back. */
void ol_uring_feed_starved(struct uring *u);

/* ---- what is polled, and read here (uring_read.c) -------------------------------------- */

int ol_uring_make_dgrams(struct uring *u); /* 0 or -ENOMEM */
void ol_uring_free_dgrams(struct uring *u);
void ol_uring_renew_dgrams(struct uring_dgrams *g); /* what was lent has come back */
/* A link that is READABLE: as much as one system call brings; then it may stand on `todo`. */
void ol_uring_read_on(struct uring *u, struct ol_link *l);

/* ---- buffers (uring_buffers.c) --------------------------------------------------------- */

int ol_uring_make_blocks(struct uring *u);   /* and offer all; 0 or -ENOMEM */
void ol_uring_renew_blocks(struct uring *u); /* places that memory was missing for */
/* Of those held back, until the kernel has so many. */
void ol_uring_offer_spares(struct uring *u, unsigned up_to);
void ol_uring_give_back(struct ol_driver *d, struct ol_lent *bytes);

/* ---- sending (uring_send.c) ------------------------------------------------------------ */

struct uring_op *ol_uring_take_op(struct uring *u);            /* NULL: no memory */
void ol_uring_return_op(struct uring *u, struct uring_op *op); /* NULL and words are nothing */
void ol_uring_free_ops(struct uring *u);
int64_t ol_uring_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces,
                          int count);
int64_t ol_uring_send(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces,
                      int count);
int64_t ol_uring_send_fd(struct ol_driver *d, struct ol_link *l, const struct iovec *piece, int fd);
int64_t ol_uring_send_file(struct ol_driver *d, struct ol_link *l, int file, int64_t offset,
                           size_t len);
int ol_uring_send_dgrams(struct ol_driver *d, struct ol_link *l, const struct ol_dgram *messages,
                         int count);

/* ---- quiet sends (uring_quiet.c) ------------------------------------------------------- */

/* May a send of `len` bytes be quiet?  Nobody may wait to hear of it, and it should find room. */
bool ol_uring_can_be_quiet(const struct uring *u, const struct ol_link *l, size_t len);
/* Does not wait for room, and fails unless it takes all. */
void ol_uring_prepare_quiet(struct uring *u, struct io_uring_sqe *s, struct ol_link *l,
                            const struct iovec *piece);
bool ol_uring_send_quiet(struct ol_driver *d, struct ol_link *l, const struct iovec *piece);
/* What is submitted and waited for in one entry would be heard of too late. */
bool ol_uring_is_quiet_awaited(const struct uring *u);
/* After an entry: those that have not failed were sent. */
void ol_uring_tell_quiet(struct uring *u);
/* Its completion has come, so it has failed. */
void ol_uring_forget_quiet(struct uring *u, struct ol_link *l);
/* ... and that of what was submitted behind them, so all of theirs have. */
void ol_uring_read_marker(struct uring *u);

/* ---- inline: short, or done for each message --------------------------------------- */

static inline struct uring *
uring_self(struct ol_driver *d)
{
    return OL_CONTAINER(d, struct uring, base);
}

static inline const ol_heap *
uring_heap(struct uring *u)
{
    return &u->budget->heap;
}

/* What the kernel holds back until we enter: IORING_SQ_... */
static inline unsigned
uring_held_back(const struct uring *u)
{
    return __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

/* Something was begun that only a turn brings on: who polls the embedded descriptor must come. */
static inline void
uring_kick(struct uring *u)
{
    if (OL_LIKELY(!u->is_armed))
        return;
    u->is_armed = false;
    ol_embed_arm(&u->embed, 0);
}

/* NULL: the kernel takes nothing more for now. */
static inline struct io_uring_sqe *
uring_submission(struct uring *u)
{
    struct io_uring_sqe *s = io_uring_get_sqe(&u->ring);

    uring_kick(u);
    return OL_LIKELY(s) ? s : ol_uring_submission_late(u);
}

static inline void
uring_set_tag(struct io_uring_sqe *s, struct ol_link *l, enum uring_tag tag)
{
    uint64_t key = (uintptr_t)l;

    OL_ASSERT((key & URING_TAG_BITS) == 0);
    io_uring_sqe_set_data64(s, key | tag);
}

static inline void
uring_set_blocking(int fd)
{
    int off = 0;

    /* On a socket it cannot fail. */
    (void)ioctl(fd, FIONBIO, &off);
}

static inline void
uring_push(struct uring_links *list, struct ol_link *l)
{
    l->next = NULL;
    if (list->last)
        list->last->next = l;
    else
        list->first = l;
    list->last = l;
}

static inline void
uring_put_on(struct uring_links *list, struct ol_link *l)
{
    if (l->flags & URING_LISTED)
        return;
    l->flags |= URING_LISTED;
    uring_push(list, l);
}

static inline void
uring_clear(struct ol_link *l, unsigned flags)
{
    l->flags &= (uint8_t)~flags;
}

static inline bool
uring_has_room(const struct uring *u)
{
    return u->out_count < u->out_max;
}

static inline struct ol_completion *
uring_tell(struct uring *u, struct ol_link *l, enum ol_activity kind, int32_t result, bool more)
{
    struct ol_completion *c = &u->out[u->out_count++];

    OL_ASSERT(u->out_count <= u->out_max);
    ol_completion_set(c, l, kind, result, more);
    c->bytes.id = URING_NO_BUFFER;
    return c;
}

static inline void
uring_offer_block(struct uring *u, unsigned id)
{
    io_uring_buf_ring_add(u->buffers, ol_blocks_room(&u->blocks, id), OL_RECEIVE_MIN,
                          (unsigned short)id, io_uring_buf_ring_mask(OL_BLOCKS), 0);
    io_uring_buf_ring_advance(u->buffers, 1);
    u->offered++;
}

static inline void
uring_begin_again(struct uring *u, struct ol_link *l)
{
    if (!(l->flags & URING_WANTED) || OL_LIKELY(l->flags & (URING_ARMED | URING_LISTED)))
        return;
    if (!ol_uring_begin(u, l))
        uring_put_on(&u->todo, l);
}

static inline bool
uring_goes_by_readiness(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM || l->kind == OL_LINK_LOCAL || l->kind == OL_LINK_PACKET ||
           l->kind == OL_LINK_PASSING || l->kind == OL_LINK_INHERITED;
}

static inline bool
uring_passes(const struct ol_link *l)
{
    return l->kind == OL_LINK_PASSING || (l->kind == OL_LINK_PACKET && l->work);
}

#endif
