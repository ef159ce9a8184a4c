/*
 * driver_uring.c - the world through io_uring: accepts and receives that are started once, sends
 * that leave together, one system call per wait.
 *
 * What a newcomer would get wrong: a socket that is O_NONBLOCK.  The ring answers -EAGAIN on such a
 * descriptor instead of waiting for it, so streams and listeners are blocking sockets here, and
 * every direct system call says MSG_DONTWAIT.
 *
 * The ring is opened disabled, by anybody; the first wait() enables it and so makes its own thread
 * the only one that may enter.  A completion names its link in user_data, with the kind of
 * operation in the three low bits.  link->pending counts what the kernel holds; a link is closed
 * when that is zero, because an operation holds the socket and closing the descriptor earlier would
 * end nothing.
 *
 * A listener that other processes may hold, too, cannot be made blocking behind their backs: it is
 * polled, and accepted from directly.
 *
 * Most sends take all at once, and nobody waits to hear it.  Such a send is quiet: it completes
 * only when it has failed, so an echo server sleeps in the same entry that submits its answers.
 * What no completion has told of once the kernel has all submissions was sent.
 *
 * Every link that something must be done about, other than by a completion, stands on `todo`, or on
 * `starved` when what it lacks is a buffer to receive into.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver.h"
#include "host.h"
#include "lend.h"
#include "sock.h"
#include "uring_blocks.h"
#include "uring_embed.h"

#include "outlet/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Newer than the oldest liburing we build with; used only when the kernel says it knows them. */
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7) /* Linux 6.15 */
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    BUFFER_GROUP = 0,
    SEND_PIECES = 64,      /* of one gathered send */
    SEND_MAX = 1 << 30,    /* bytes of one piece: the kernel's length has 32 bits */
    QUIET_MAX = 256,       /* quiet sends at a time, and... */
    QUIET_BYTES = 16384,   /* ... of one: a longer one seldom finds room for all of it at once */
    OPS_KEPT = 256,        /* idle operation structs */
    DGRAM_ROOM = 65536,    /* more than any udp datagram */
    ACCEPTS_PER_WAIT = 64, /* of an inherited listener */
    HOT_BLOCKS = 4,        /* offered while they come back full */
    RETRY_MS = 20,         /* when the system has no memory for us */
    NO_BUFFER = OL_BLOCKS  /* lent->id of what is not a block's */
};
#define SECOND (1000 * OL_MS)

/* flags of a link */
enum {
    WANTED = 1,      /* accepting, receiving or watching, as far as our user knows */
    ARMED = 2,       /* the kernel is at it */
    CANCELLED = 4,   /* ... but was told to stop */
    SENDING = 8,     /* stream: a send is under way; datagrams: waiting for room */
    CLOSING = 16,    /* nothing is told any more but OL_CLOSED */
    LISTED = 32,     /* on `todo` or `starved` */
    CONNECTING = 64, /* OL_CONNECTED is owed; `work` is the operation, NULL: connected already */
    READABLE = 128,  /* datagrams, inherited listeners: there may be some */
    BROKEN = 128,    /* stream: a send has failed */
    SINGLY = 128,    /* listener: one client for each start; an inherited one: `work` is not NULL */
    NESTED = 128,    /* watch: `token` is an epoll of ours around the descriptor */
    RESET = 128      /* stream that is CLOSING */
};

/* The low bits of user_data.  Values without a link: cancellations, the wake-up and the timers. */
enum tag {
    TAG_MAIN, /* accept, receive, or poll for reading, by the link's kind */
    TAG_SEND, /* send, or poll for room */
    TAG_CONNECT,
    TAG_CANCEL,
    TAG_WAKE,
    TAG_TIMER,
    TAG_TICK,
    TAG_QUIET, /* a quiet send has failed, or was cut short; without a link: see send_marker() */
    TAG_BITS = 7
};

/* What the kernel reads while an operation is under way. */
struct op {
    struct op *next; /* idle ones */
    bool is_poll;    /* for room: its result is no number of bytes */
    union ol_sockaddr name;
    struct msghdr head;
    struct iovec pieces[SEND_PIECES];
};

struct quiet {
    struct ol_link *link;
    int32_t len;
};

/* Where the reactor is.  Whoever wakes an awake one spares the system call. */
enum bed { AWAKE, ASLEEP, WOKEN };

struct links { /* first in, first out, through `next` */
    struct ol_link *first;
    struct ol_link *last;
};

/* Made when the first datagram socket wants to receive. */
struct dgrams {
    struct ol_lender lender;
    struct ol_sock_inbox inbox;
    struct ol_sock_fds fds;
    struct ol_addr to[OL_BATCH_MAX]; /* of the completion with the same index */
};

/*
 * Other fields of a link.  `work`: a stream's struct op, or one of the two words below; a unix
 * listener's struct ol_sock_file; the poll bits of a watch; how many descriptors a PASSING or
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
    _Atomic int bed;    /* enum bed */
    bool is_wake_heard; /* the kernel is reading wake_fd... */
    uint64_t wakes;     /* ... into this */
    ol_time rings_at;   /* when the timer does that stands in the ring; OL_NEVER: none does */
    ol_time outlived;   /* the last deadline that a wait was given: see leave_to_timer() */
    struct __kernel_timespec ring_time; /* of a timer that is being submitted */
    struct ol_embed embed;
    bool is_armed; /* embedded and outside of a turn: whoever begins something must kick() */

    struct io_uring_buf_ring *buffers; /* one page, shared with the kernel */
    struct ol_blocks blocks;
    unsigned offered; /* blocks that the kernel has */

    bool is_spared; /* the last turn had something to tell and did not enter the kernel */
    struct links todo;
    struct links starved;
    bool sweep_starved; /* somebody on it wants to be closed */
    unsigned feeds;     /* how often those on it were armed again */

    struct quiet quiet[QUIET_MAX];
    unsigned quiet_count;
    unsigned quiet_sent;   /* of these, from the first on: they only have to be told */
    unsigned quiet_from;   /* completions before this one tell nothing of the others */
    bool has_marker;       /* is under way, submitted after the first... */
    unsigned quiet_marked; /* ... so many */
    bool is_ticking;

    struct op *ops;
    unsigned op_count;
    struct dgrams *dgrams;

    struct ol_completion *out; /* what wait() is filling */
    int out_count;
    int out_max;
    struct ol_addr from[OL_BATCH_MAX]; /* of the completion with the same index */
};

/* Words for `work` of a stream: what has these addresses is looked at by nobody. */
static const char quiet_send = 0; /* the one under way is quiet */
static const char no_room = 0; /* the last one was, and was not taken whole: the next shall wait */

static void
set_word(struct ol_link *l, const char *word)
{
    l->work = (void *)(uintptr_t)word;
}

static bool
is_word(const void *work)
{
    return work == &quiet_send || work == &no_room;
}

static struct uring *
self(struct ol_driver *d)
{
    return OL_CONTAINER(d, struct uring, base);
}

static const ol_heap *
heap_of(struct uring *u)
{
    return &u->budget->heap;
}

/* ---- entering the kernel ----------------------------------------------------------------- */

static int
enable(struct uring *u)
{
    int err;

    if (OL_LIKELY(u->is_enabled))
        return 0;
    /* Not by io_uring_enable_rings(), which liburing 2.3 declares and does not export. */
    err = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (!err)
        u->is_enabled = true;
    return err;
}

/* What the kernel holds back until we enter: IORING_SQ_... */
static unsigned
held_back(const struct uring *u)
{
    return __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static unsigned
publish_submissions(struct uring *u)
{
    struct io_uring_sq *sq = &u->ring.sq;

    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

/* Submit all, run what the kernel has deferred and, if told to, wait for a completion. */
static int
enter(struct uring *u, bool is_blocking, ol_time until)
{
    struct __kernel_timespec left;
    struct io_uring_getevents_arg arg = {0};
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    unsigned count = publish_submissions(u);
    int n;

    if (OL_UNLIKELY(count == 0) && !is_blocking && !held_back(u))
        return 0;
    if (OL_UNLIKELY(until != OL_NEVER) && is_blocking) {
        ol_time ns = until - ol_host_now(NULL);

        if (ns < 0)
            ns = 0;
        left = (struct __kernel_timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
        arg.ts = (uintptr_t)&left;
    }
    /* An idle server is not a machine that waits for its disk. */
    if (OL_LIKELY(u->ring.features & IORING_FEAT_NO_IOWAIT))
        flags |= IORING_ENTER_NO_IOWAIT;
    n = io_uring_enter2((unsigned)u->ring.ring_fd, count, is_blocking, flags, (sigset_t *)&arg,
                        sizeof arg);
    if (OL_LIKELY(n >= 0))
        return 0;
    switch (n) {
    case -ETIME:
    case -EINTR:
        return 0;
    case -EAGAIN: /* no memory for an operation, or for completions that did not fit */
    case -ENOMEM:
    case -EBUSY:
        if (is_blocking)
            (void)poll(NULL, 0, 1); /* it did not wait; neither must we spin */
        return 0;
    default:
        return n;
    }
}

/* Something was begun that only a turn brings on: who polls the embedded descriptor must come. */
static void
kick(struct uring *u)
{
    if (OL_LIKELY(!u->is_armed))
        return;
    u->is_armed = false;
    ol_embed_arm(&u->embed, 0);
}

/* NULL: the kernel takes nothing more for now. */
static struct io_uring_sqe *
new_submission(struct uring *u)
{
    struct io_uring_sqe *s = io_uring_get_sqe(&u->ring);

    kick(u);
    if (OL_LIKELY(s))
        return s;
    if (enable(u) != 0 || enter(u, false, 0) != 0)
        return NULL; /* wait() will find the same and tell */
    return io_uring_get_sqe(&u->ring);
}

static void
set_tag(struct io_uring_sqe *s, struct ol_link *l, enum tag tag)
{
    uint64_t key = (uintptr_t)l;

    OL_ASSERT((key & TAG_BITS) == 0);
    io_uring_sqe_set_data64(s, key | tag);
}

static void
set_blocking(int fd)
{
    int off = 0;

    /* On a socket it cannot fail. */
    (void)ioctl(fd, FIONBIO, &off);
}

/* ---- lists ------------------------------------------------------------------------------- */

static void
push(struct links *list, struct ol_link *l)
{
    l->next = NULL;
    if (list->last)
        list->last->next = l;
    else
        list->first = l;
    list->last = l;
}

static struct ol_link *
pop(struct links *list)
{
    struct ol_link *l = list->first;

    if (!l)
        return NULL;
    list->first = l->next;
    if (!list->first)
        list->last = NULL;
    l->next = NULL;
    return l;
}

static void
put_on(struct links *list, struct ol_link *l)
{
    if (l->flags & LISTED)
        return;
    l->flags |= LISTED;
    push(list, l);
}

static void
clear(struct ol_link *l, unsigned flags)
{
    l->flags &= (uint8_t)~flags;
}

static bool
has_room(const struct uring *u)
{
    return u->out_count < u->out_max;
}

static struct ol_completion *
tell(struct uring *u, struct ol_link *l, enum ol_activity kind, int32_t result, bool more)
{
    struct ol_completion *c = &u->out[u->out_count++];

    OL_ASSERT(u->out_count <= u->out_max);
    ol_completion_set(c, l, kind, result, more);
    c->bytes.id = NO_BUFFER;
    return c;
}

/* ---- operation structs ------------------------------------------------------------------- */

static struct op *
take_op(struct uring *u)
{
    struct op *op = u->ops;

    if (!op)
        return ol_alloc_zero(heap_of(u), sizeof *op);
    u->ops = op->next;
    u->op_count--;
    op->is_poll = false;
    return op;
}

static void
return_op(struct uring *u, struct op *op)
{
    if (!op || is_word(op))
        return;
    if (u->op_count >= OPS_KEPT) {
        ol_free(heap_of(u), op);
        return;
    }
    op->next = u->ops;
    u->ops = op;
    u->op_count++;
}

/* ---- buffers ----------------------------------------------------------------------------- */

static void
offer_block(struct uring *u, unsigned id)
{
    io_uring_buf_ring_add(u->buffers, ol_blocks_room(&u->blocks, id), OL_RECEIVE_MIN,
                          (unsigned short)id, io_uring_buf_ring_mask(OL_BLOCKS), 0);
    io_uring_buf_ring_advance(u->buffers, 1);
    u->offered++;
}

static void
offer_spares(struct uring *u, unsigned up_to)
{
    while (u->offered < up_to && ol_blocks_spares(&u->blocks) > 0)
        offer_block(u, ol_blocks_unspare(&u->blocks));
}

static int
make_blocks(struct uring *u)
{
    int err;

    if (u->blocks.count > 0)
        return 0;
    err = ol_blocks_make(&u->blocks, u->budget);
    for (unsigned id = 0; id < u->blocks.count; id++)
        offer_block(u, id);
    return err;
}

OL_APART static void
renew_blocks(struct uring *u)
{
    int id;

    while ((id = ol_blocks_renew(&u->blocks)) >= 0)
        offer_block(u, (unsigned)id);
}

/*
 * The kernel takes the block that was offered first, so all that are offered go round.  For small
 * messages that is what we want: a burst finds room, and little memory is touched.  Full blocks
 * would go round through 4 MiB and find none of it in the cache (measured: half as much work
 * again), so while they come back full only a few stay.
 */
static void
take_back_block(struct uring *u, unsigned id)
{
    bool is_full = ol_blocks_was_full(&u->blocks, id);

    if (OL_UNLIKELY(!ol_blocks_take_back(&u->blocks, id)))
        return;
    if (OL_UNLIKELY(is_full) && u->offered >= HOT_BLOCKS) {
        ol_blocks_spare(&u->blocks, id);
        return;
    }
    offer_block(u, id);
    if (OL_UNLIKELY(ol_blocks_spares(&u->blocks) > 0) && !is_full)
        offer_spares(u, u->offered + 1);
}

static void
uring_give_back(struct ol_driver *d, struct ol_lent *bytes)
{
    struct uring *u = self(d);

    if (OL_LIKELY(bytes->id < NO_BUFFER)) {
        take_back_block(u, bytes->id);
    } else if (bytes->block) {
        ol_lender_give_back(&u->dgrams->lender, bytes);
    }
    bytes->block = NULL;
}

/* ---- starting what the kernel goes on with ----------------------------------------------- */

/* false: the kernel takes nothing more for now. */
static bool
arm(struct uring *u, struct ol_link *l)
{
    struct io_uring_sqe *s = new_submission(u);

    if (!s)
        return false;
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
        if (l->flags & SINGLY)
            io_uring_prep_accept(s, l->token, NULL, NULL, SOCK_CLOEXEC);
        else
            io_uring_prep_multishot_accept(s, l->token, NULL, NULL, SOCK_CLOEXEC);
        break;
    case OL_LINK_STREAM:
        io_uring_prep_recv_multishot(s, l->token, NULL, 0, 0);
        s->flags |= IOSQE_BUFFER_SELECT;
        s->buf_group = BUFFER_GROUP;
        break;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
    case OL_LINK_PACKET:
    case OL_LINK_PASSING:
    case OL_LINK_INHERITED:
        io_uring_prep_poll_multishot(s, l->token, POLLIN);
        break;
    case OL_LINK_WATCH:
        io_uring_prep_poll_add(s, l->token,
                               l->flags & NESTED ? POLLIN : (unsigned)(uintptr_t)l->work);
        break;
    case OL_LINK_NONE:
        OL_ASSERT(false); /* such a link is not in use */
    }
    set_tag(s, l, TAG_MAIN);
    l->pending++;
    l->flags |= ARMED;
    return true;
}

static void
arm_again(struct uring *u, struct ol_link *l)
{
    if (!(l->flags & WANTED) || OL_LIKELY(l->flags & (ARMED | LISTED)))
        return;
    if (!arm(u, l))
        put_on(&u->todo, l);
}

static bool
cancel(struct uring *u, struct ol_link *l, enum tag tag)
{
    struct io_uring_sqe *s = new_submission(u);

    if (!s)
        return false;
    /* By user_data, which the kernel has hashed; by descriptor it would walk all operations. */
    io_uring_prep_cancel64(s, (uintptr_t)l | tag, 0);
    set_tag(s, NULL, TAG_CANCEL);
    return true;
}

static void
stop(struct uring *u, struct ol_link *l)
{
    clear(l, WANTED);
    if (!(l->flags & ARMED) || l->flags & CANCELLED)
        return;
    /* Not cancelled, for want of memory: what comes is told, which the contract allows. */
    if (cancel(u, l, TAG_MAIN))
        l->flags |= CANCELLED;
}

/* ---- the end of a link ------------------------------------------------------------------- */

static void
tell_closed(struct uring *u, struct ol_link *l)
{
    if (l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_LOCAL) {
        if (l->work)
            ol_sock_unlink(l->work); /* before the descriptor, see sock.h */
        ol_free(heap_of(u), l->work);
    }
    if (l->kind == OL_LINK_WATCH && l->flags & NESTED)
        close(l->token);
    else if (l->kind != OL_LINK_WATCH && l->token >= 0)
        ol_sock_close(l->token, l->flags & RESET);
    l->token = -1;
    l->kind = OL_LINK_NONE;
    l->flags = 0;
    l->work = NULL;
    tell(u, l, OL_CLOSED, 0, false);
}

/* Cancel what is under way, once each; then wait for the completions, on no list. */
static void
go_on_closing(struct uring *u, struct ol_link *l)
{
    if (l->flags & ARMED && !(l->flags & CANCELLED)) {
        if (!cancel(u, l, TAG_MAIN))
            goto later;
        l->flags |= CANCELLED;
    }
    if (l->flags & SENDING && l->work != &quiet_send) {
        if (!cancel(u, l, TAG_SEND))
            goto later;
        clear(l, SENDING);
    }
    if (l->flags & CONNECTING && l->work) {
        if (!cancel(u, l, TAG_CONNECT))
            goto later;
    }
    clear(l, CONNECTING);
    if (l->pending > 0)
        return;
    if (has_room(u)) {
        tell_closed(u, l);
        return;
    }

later:
    put_on(&u->todo, l);
}

/* ---- quiet sends ------------------------------------------------------------------------- */

static void
forget_quiet(struct uring *u, struct ol_link *l)
{
    unsigned i = u->quiet_sent;

    set_word(l, &no_room);
    while (i < u->quiet_count && u->quiet[i].link != l)
        i++;
    if (i == u->quiet_count)
        return; /* settle_quiet() has seen it coming */
    u->quiet_count--;
    if (i < u->quiet_marked)
        u->quiet_marked--;
    memmove(&u->quiet[i], &u->quiet[i + 1], (u->quiet_count - i) * sizeof u->quiet[0]);
}

static bool
can_be_quiet(const struct uring *u, const struct ol_link *l, size_t len)
{
    return len <= QUIET_BYTES && l->work != &no_room && l->ops->is_awaited &&
           u->quiet_count < QUIET_MAX && !ol_embed_is_open(&u->embed);
}

/* Does not wait for room, and fails unless it takes all. */
static void
prepare_quiet(struct uring *u, struct io_uring_sqe *s, struct ol_link *l, const struct iovec *piece)
{
    io_uring_prep_send(s, l->token, piece->iov_base, piece->iov_len,
                       MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
    s->flags |= IOSQE_CQE_SKIP_SUCCESS;
    set_tag(s, l, TAG_QUIET);
    if (OL_LIKELY(u->quiet_count == u->quiet_sent))
        u->quiet_from = *u->ring.cq.khead + io_uring_cq_ready(&u->ring);
    u->quiet[u->quiet_count++] = (struct quiet){l, (int32_t)piece->iov_len};
    set_word(l, &quiet_send);
}

/* What is submitted and waited for in one entry would be heard of too late. */
static bool
is_quiet_awaited(const struct uring *u)
{
    for (unsigned i = u->quiet_sent; i < u->quiet_count; i++) {
        struct ol_link *l = u->quiet[i].link;

        if (l->flags & CLOSING || l->ops->is_awaited(l))
            return true;
    }
    return u->quiet_sent > 0;
}

/*
 * While completions overflow, the kernel may hold back one of a send that has failed, and that may
 * last.  But it keeps their order: once the completion of a submission is read that came after the
 * sends, so are all of theirs.
 */
static void
send_marker(struct uring *u)
{
    struct io_uring_sqe *s = u->has_marker ? NULL : new_submission(u);

    if (!s)
        return;
    io_uring_prep_nop(s);
    set_tag(s, NULL, TAG_QUIET);
    u->has_marker = true;
    u->quiet_marked = u->quiet_count;
}

static void
read_marker(struct uring *u)
{
    if (u->quiet_marked > u->quiet_sent)
        u->quiet_sent = u->quiet_marked;
    u->has_marker = false;
    u->quiet_marked = 0;
}

/* After an entry: those that have failed are struck out, the others were sent. */
static void
settle_quiet(struct uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned ready = io_uring_cq_ready(&u->ring);
    unsigned end = *cq->khead + ready;
    unsigned kept = u->quiet_sent;
    bool has_failures = false;

    if (u->quiet_count == u->quiet_sent || OL_UNLIKELY(io_uring_sq_ready(&u->ring) > 0))
        return;
    if (OL_UNLIKELY(held_back(u) & IORING_SQ_CQ_OVERFLOW)) {
        send_marker(u);
        return;
    }
    /* Of those that were read meanwhile forget_quiet() knows; their links may be gone. */
    if (OL_UNLIKELY(end - u->quiet_from > ready))
        u->quiet_from = end - ready;
    for (unsigned at = u->quiet_from; at != end; at++) {
        const struct io_uring_cqe *e = &cq->cqes[at & cq->ring_mask];

        struct ol_link *l = (struct ol_link *)(uintptr_t)(e->user_data & ~(uint64_t)TAG_BITS);

        if (OL_UNLIKELY((e->user_data & TAG_BITS) == TAG_QUIET) && l) {
            set_word(l, &no_room);
            has_failures = true;
        }
    }
    if (OL_UNLIKELY(has_failures)) {
        for (unsigned i = kept; i < u->quiet_count; i++) {
            if (u->quiet[i].link->work == &quiet_send)
                u->quiet[kept++] = u->quiet[i];
        }
        u->quiet_count = kept;
    }
    u->quiet_sent = u->quiet_count;
    u->quiet_marked = 0; /* what the marker would tell is known */
}

/* Before what was received: who answers that then finds nothing in its way. */
static void
tell_quiet(struct uring *u)
{
    unsigned told = 0;

    if (u->quiet_sent == 0)
        return;
    for (; told < u->quiet_sent && has_room(u); told++) {
        struct ol_link *l = u->quiet[told].link;

        OL_ASSERT(l->work == &quiet_send && l->pending > 0);
        l->pending--;
        l->work = NULL;
        clear(l, SENDING);
        if (OL_LIKELY(!(l->flags & CLOSING))) {
            if (OL_UNLIKELY(!l->ops->took) ||
                OL_UNLIKELY(!l->ops->took(l, (size_t)u->quiet[told].len)))
                tell(u, l, OL_SENT, u->quiet[told].len, false);
        } else if (l->pending == 0 && !(l->flags & LISTED)) {
            tell_closed(u, l);
        }
    }
    u->quiet_sent -= told;
    u->quiet_count -= told;
    u->quiet_marked -= u->quiet_marked < told ? u->quiet_marked : told;
    if (OL_UNLIKELY(u->quiet_count > 0))
        memmove(&u->quiet[0], &u->quiet[told], u->quiet_count * sizeof u->quiet[0]);
}

/* A completion of a link that is closing. */
static void
drop(struct uring *u, struct ol_link *l, enum tag tag, const struct io_uring_cqe *e)
{
    if (e->flags & IORING_CQE_F_BUFFER)
        offer_block(u, e->flags >> IORING_CQE_BUFFER_SHIFT);
    if (tag == TAG_MAIN && l->kind == OL_LINK_LISTENER && e->res >= 0)
        ol_sock_close(e->res, false);
    if (tag == TAG_QUIET)
        forget_quiet(u, l);
    if (tag == TAG_CONNECT || (tag == TAG_SEND && l->kind == OL_LINK_STREAM)) {
        return_op(u, l->work);
        l->work = NULL;
    }
    if (l->pending == 0 && !(l->flags & LISTED))
        tell_closed(u, l);
}

/* ---- datagrams and packets --------------------------------------------------------------- */

static size_t
message_room(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM ? DGRAM_ROOM : OL_PACKET_MAX;
}

static void
tell_dgram(struct uring *u, struct ol_link *l, int i, uint8_t *data)
{
    struct dgrams *g = u->dgrams;
    size_t len = g->inbox.heads[i].msg_len;
    struct ol_completion *c = tell(u, l, OL_RECEIVED, (int32_t)len, true);
    struct ol_addr *from = &u->from[u->out_count - 1];
    struct ol_addr *to = &g->to[u->out_count - 1];

    ol_lender_lend_slot(&g->lender, data, len, message_room(l), &c->bytes);
    c->bytes.id = NO_BUFFER;
    c->truncated = ol_sock_dgram_truncated(&g->inbox, i);
    c->segment = ol_sock_dgram_segment(&g->inbox, i);
    ol_sock_dgram_from(&g->inbox, i, from);
    c->from = from;
    c->to = ol_sock_dgram_to(&g->inbox, i, to) ? to : NULL;
}

static void
tell_end(struct uring *u, struct ol_link *l)
{
    stop(u, l);
    clear(l, READABLE);
    tell(u, l, OL_RECEIVED, 0, false)->end = l->kind == OL_LINK_PACKET;
}

/* One message, or what a stream has up to the next descriptors.  A ring's receive brings none. */
static void
receive_passing(struct uring *u, struct ol_link *l)
{
    struct dgrams *g = u->dgrams;
    bool packet = l->kind == OL_LINK_PACKET;
    size_t size = packet ? OL_PACKET_MAX : OL_RECEIVE_MIN;
    struct ol_completion got = {.fd_count = 0};
    struct ol_completion *c;
    uint8_t *data = NULL;
    int64_t n;

    if (ol_lender_offer_slots(&g->lender, size, 1, &data) <= 0)
        return; /* this batch's room is used up, or there is no memory */
    n = ol_sock_receive_fds(l->token, &(struct iovec){data, size}, (unsigned)(uintptr_t)l->work,
                            &g->fds, &got);
    if (n == -EINTR || n == -ENOBUFS)
        return;
    if (n == -EAGAIN) {
        clear(l, READABLE); /* the next arrival completes the poll once more */
        return;
    }
    if (n == 0 && !got.fd_count && (!packet || ol_sock_at_end(l->token))) {
        tell_end(u, l);
        return;
    }
    c = tell(u, l, OL_RECEIVED, (int32_t)n, n >= 0);
    if (n < 0) {
        stop(u, l);
        return;
    }
    ol_lender_lend_slot(&g->lender, data, (size_t)n, size, &c->bytes);
    c->bytes.id = NO_BUFFER;
    c->truncated = packet && got.truncated;
    c->fds = got.fds;
    c->fd_count = got.fd_count;
    c->fds_lost = got.fds_lost;
}

/* One system call's worth, so that other sockets get their turn; READABLE stays until a call brings
 * less than it could have. */
static void
receive_dgrams(struct uring *u, struct ol_link *l)
{
    struct dgrams *g = u->dgrams;
    size_t size = message_room(l);
    size_t stride = ol_lender_stride(size);
    int room = u->out_max - u->out_count;
    uint8_t *first = NULL;
    int asked;
    int n;

    asked = ol_lender_offer_slots(&g->lender, size, room < OL_SOCK_BATCH ? room : OL_SOCK_BATCH,
                                  &first);
    if (asked <= 0) /* this batch's room is used up, or there is no memory */
        return;
    for (int i = 0; i < asked; i++)
        g->inbox.pieces[i] = (struct iovec){first + (size_t)i * stride, size};
    n = ol_sock_receive_dgrams(l->token, &g->inbox, asked, l->kind != OL_LINK_DGRAM);
    if (n == -EINTR)
        return;
    if (n < asked && (n >= 0 || n == -EAGAIN))
        clear(l, READABLE); /* the next arrival completes the poll once more */
    if (n < 0 && n != -EAGAIN) {
        bool more = l->kind != OL_LINK_PACKET && ol_sock_is_peer_error(-n);

        tell(u, l, OL_RECEIVED, n, more);
        if (!more)
            stop(u, l);
    }
    for (int i = 0; i < n; i++) {
        if (l->kind == OL_LINK_PACKET && g->inbox.heads[i].msg_len == 0 &&
            ol_sock_packet_end(l->token, &g->inbox, i, n)) {
            tell_end(u, l);
            return;
        }
        tell_dgram(u, l, i, first + (size_t)i * stride);
    }
}

/* ---- inherited listeners ----------------------------------------------------------------- */

static void
accept_some(struct uring *u, struct ol_link *l)
{
    for (int i = 0; i < ACCEPTS_PER_WAIT && has_room(u); i++) {
        struct ol_addr *from = &u->from[u->out_count];
        int fd = ol_sock_accept(l->token, from);

        if (fd == -EAGAIN) {
            clear(l, READABLE); /* the next arrival completes the poll once more */
            return;
        }
        if (fd < 0 && ol_sock_is_lost_client(-fd))
            continue;
        if (fd < 0) {
            /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
            stop(u, l);
            tell(u, l, OL_ACCEPTED, fd, false);
            return;
        }
        set_blocking(fd);
        if (l->work) /* singly */
            clear(l, WANTED);
        tell(u, l, OL_ACCEPTED, fd, l->flags & WANTED)->from = from;
        if (l->work)
            return;
    }
}

/* ---- links that something must be done about --------------------------------------------- */

static bool
goes_by_readiness(const struct ol_link *l)
{
    return l->kind == OL_LINK_DGRAM || l->kind == OL_LINK_LOCAL || l->kind == OL_LINK_PACKET ||
           l->kind == OL_LINK_PASSING || l->kind == OL_LINK_INHERITED;
}

static bool
passes(const struct ol_link *l)
{
    return l->kind == OL_LINK_PASSING || (l->kind == OL_LINK_PACKET && l->work);
}

static void
read_on(struct uring *u, struct ol_link *l)
{
    if (has_room(u) && l->kind == OL_LINK_INHERITED)
        accept_some(u, l);
    else if (has_room(u) && passes(l))
        receive_passing(u, l);
    else if (has_room(u))
        receive_dgrams(u, l);
    if (l->flags & READABLE && l->flags & WANTED)
        put_on(&u->todo, l);
}

static void
go_on(struct uring *u, struct ol_link *l)
{
    if (l->flags & CLOSING) {
        go_on_closing(u, l);
        return;
    }
    if (l->flags & CONNECTING && !l->work) {
        if (!has_room(u)) {
            put_on(&u->todo, l);
            return;
        }
        clear(l, CONNECTING);
        tell(u, l, OL_CONNECTED, 0, false);
    }
    arm_again(u, l);
    if (goes_by_readiness(l) && l->flags & WANTED && l->flags & READABLE)
        read_on(u, l);
}

/* Each link that is there now, once. */
OL_APART static void
go_through_todo(struct uring *u)
{
    struct links list = u->todo;
    struct ol_link *l;

    u->todo = (struct links){NULL, NULL};
    while ((l = pop(&list))) {
        clear(l, LISTED);
        if (!u->is_child || l->flags & CLOSING)
            go_on(u, l);
    }
}

static void
do_todo(struct uring *u)
{
    if (OL_UNLIKELY(u->todo.first))
        go_through_todo(u);
}

/* Receive again, as many links as there are buffers: more would only come back. */
OL_APART static void
feed_starved(struct uring *u)
{
    struct links list = u->starved;
    unsigned buffers;
    bool is_sweep = u->sweep_starved;
    struct ol_link *l;

    if (!u->is_child)
        offer_spares(u, HOT_BLOCKS);
    buffers = u->is_child ? 0 : u->offered;
    if (buffers == 0 && !is_sweep)
        return;
    u->starved = (struct links){NULL, NULL};
    u->sweep_starved = false;
    /* Whoever is armed first may take all the buffers, and then all come back in the same order:
     * begin with another one each time, or a busy link starves the others for ever. */
    for (unsigned skip = buffers ? u->feeds++ % buffers : 0; skip > 0; skip--) {
        push(&list, pop(&list));
    }
    while ((l = pop(&list))) {
        bool is_closing = l->flags & CLOSING;

        if (!is_closing && l->flags & WANTED && buffers == 0) {
            push(&u->starved, l);
            if (is_sweep)
                continue;
            /* The rest as it is: it may be long. */
            if (list.first) {
                u->starved.last->next = list.first;
                u->starved.last = list.last;
            }
            return;
        }
        clear(l, LISTED);
        if (is_closing) {
            put_on(&u->todo, l);
        } else if (l->flags & WANTED) {
            buffers--;
            arm_again(u, l);
        }
    }
}

/* ---- completions ------------------------------------------------------------------------- */

static void
on_accepted(struct uring *u, struct ol_link *l, int32_t result)
{
    if (result >= 0) {
        struct ol_addr *from = &u->from[u->out_count];
        struct ol_completion *c;

        if (l->flags & SINGLY)
            clear(l, WANTED);
        c = tell(u, l, OL_ACCEPTED, result, l->flags & WANTED);
        /* A multishot accept has one place for the address and many clients.  One that has gone
         * already has none. */
        if (ol_sock_name(result, true, from) == 0)
            c->from = from;
    } else if (result == -EAGAIN) {
        set_blocking(l->token);
    } else if (result != -ECANCELED && !ol_sock_is_lost_client(-result)) {
        /* Mostly EMFILE: the client stays in the backlog until accepting starts again. */
        clear(l, WANTED);
        tell(u, l, OL_ACCEPTED, result, false);
    }
    arm_again(u, l);
}

static void
on_received(struct uring *u, struct ol_link *l, const struct io_uring_cqe *e)
{
    unsigned id = e->flags >> IORING_CQE_BUFFER_SHIFT;

    if (OL_LIKELY(e->res > 0)) {
        struct ol_completion *c = tell(u, l, OL_RECEIVED, e->res, l->flags & WANTED);

        OL_ASSERT(e->flags & IORING_CQE_F_BUFFER);
        ol_blocks_lend(&u->blocks, id, (size_t)e->res, &c->bytes);
        arm_again(u, l); /* it ends by itself when completions overflow */
        return;
    }
    if (e->flags & IORING_CQE_F_BUFFER)
        offer_block(u, id);
    switch (e->res) {
    case -ENOBUFS:
        if (l->flags & WANTED)
            put_on(&u->starved, l);
        return;
    case -EAGAIN: /* a descriptor that we did not make */
        set_blocking(l->token);
        break;
    case -ECANCELED: /* perhaps receiving was started again meanwhile */
    case -EINTR:
        break;
    default:
        clear(l, WANTED);
        /* A socket tells of a reset once.  If it told a send, this looks like an end in order. */
        tell(u, l, OL_RECEIVED, e->res == 0 && l->flags & BROKEN ? -ECONNRESET : e->res, false);
        return;
    }
    arm_again(u, l);
}

static void
on_readable(struct uring *u, struct ol_link *l, int32_t result)
{
    if (result < 0 && result != -ECANCELED) {
        clear(l, WANTED);
        tell(u, l, l->kind == OL_LINK_INHERITED ? OL_ACCEPTED : OL_RECEIVED, result, false);
        return;
    }
    if (result >= 0)
        l->flags |= READABLE;
    put_on(&u->todo, l);
}

/*
 * A poll that was woken in vain is started again by the kernel, and fails then with EINVAL if the
 * descriptor has two places to wait at (Linux 6.18): a terminal whose modes are set, as before and
 * after a stop by Ctrl-Z.  One with three places fails at once.  An epoll has one, whatever is in
 * it.
 */
static bool
nest(struct ol_link *l)
{
    struct epoll_event e = {.events = (uint32_t)(uintptr_t)l->work}; /* the bits are the same */
    int fd = epoll_create1(EPOLL_CLOEXEC);

    _Static_assert((uint32_t)POLLIN == (uint32_t)EPOLLIN && (uint32_t)POLLOUT == (uint32_t)EPOLLOUT,
                   "on Linux");
    if (fd < 0)
        return false;
    if (epoll_ctl(fd, EPOLL_CTL_ADD, l->token, &e) != 0) {
        close(fd);
        return false;
    }
    l->token = fd;
    l->flags |= NESTED;
    return true;
}

/* What the descriptor in it is ready for; 0: nothing any more. */
static int32_t
look_into(const struct ol_link *l)
{
    struct epoll_event e;

    return epoll_wait(l->token, &e, 1, 0) == 1 ? (int32_t)e.events : 0;
}

static void
on_watch_ready(struct uring *u, struct ol_link *l, int32_t result)
{
    int32_t ready = 0;

    if (result == -EINVAL && !(l->flags & NESTED) && nest(l))
        result = 0;
    if (result > 0 && l->flags & NESTED)
        result = look_into(l);
    if (result == 0) {
        put_on(&u->todo, l);
        return;
    }
    if (result < 0) {
        clear(l, WANTED);
        tell(u, l, OL_READY, result, false);
        return;
    }
    if (result & POLLIN)
        ready |= OUTLET_READABLE;
    if (result & POLLOUT)
        ready |= OUTLET_WRITABLE;
    if (result & (POLLHUP | POLLERR))
        ready |= OUTLET_HANGUP;
    tell(u, l, OL_READY, ready, true);
    put_on(&u->todo, l); /* polled again when the next wait() submits: level-triggered */
}

static void
on_main(struct uring *u, struct ol_link *l, const struct io_uring_cqe *e)
{
    if (OL_LIKELY(l->kind == OL_LINK_STREAM)) {
        on_received(u, l, e);
        return;
    }
    switch ((enum ol_link_kind)l->kind) {
    case OL_LINK_LISTENER:
        on_accepted(u, l, e->res);
        return;
    case OL_LINK_DGRAM:
    case OL_LINK_LOCAL:
    case OL_LINK_PACKET:
    case OL_LINK_PASSING:
    case OL_LINK_INHERITED:
        on_readable(u, l, e->res);
        return;
    case OL_LINK_WATCH:
        on_watch_ready(u, l, e->res);
        return;
    case OL_LINK_STREAM:
    case OL_LINK_NONE:
        break;
    }
    OL_ASSERT(false); /* such a link has no operations */
}

static void
on_sent(struct uring *u, struct ol_link *l, int32_t result)
{
    if (goes_by_readiness(l)) {
        tell(u, l, OL_SENT, 0, false); /* what is wrong the next send will say */
        return;
    }
    if (l->work && ((struct op *)l->work)->is_poll && result > 0)
        result = 0; /* an event mask; an error on the socket is told by the next send */
    return_op(u, l->work);
    l->work = NULL;
    if (result == -EAGAIN)
        set_blocking(l->token); /* a descriptor that we did not make */
    if (result == -EAGAIN || result == -EINTR)
        result = 0;
    if (result < 0)
        l->flags |= BROKEN;
    tell(u, l, OL_SENT, result, false);
}

static void
on_completion(struct uring *u, const struct io_uring_cqe *e)
{
    enum tag tag = (enum tag)(e->user_data & TAG_BITS);
    struct ol_link *l = (struct ol_link *)(uintptr_t)(e->user_data & ~(uint64_t)TAG_BITS);

    if (OL_UNLIKELY(!l)) {
        if (tag == TAG_WAKE)
            u->is_wake_heard = false;
        if (tag == TAG_TIMER)
            u->rings_at = OL_NEVER;
        if (tag == TAG_TICK)
            u->is_ticking = false;
        if (tag == TAG_QUIET)
            read_marker(u);
        return;
    }
    if (e->flags & IORING_CQE_F_BUFFER) {
        OL_ASSERT(u->offered > 0);
        u->offered--;
    }
    if (OL_UNLIKELY(!(e->flags & IORING_CQE_F_MORE))) {
        OL_ASSERT(l->pending > 0);
        l->pending--;
        clear(l, tag == TAG_MAIN                       ? ARMED | CANCELLED
                 : tag == TAG_SEND || tag == TAG_QUIET ? SENDING
                                                       : 0);
    }
    if (OL_UNLIKELY(l->flags & CLOSING)) {
        drop(u, l, tag, e);
        return;
    }
    if (OL_LIKELY(tag == TAG_MAIN)) {
        on_main(u, l, e);
    } else if (tag == TAG_SEND) {
        on_sent(u, l, e->res);
    } else if (tag == TAG_QUIET) {
        l->work = NULL;                                /* a word is no operation */
        on_sent(u, l, e->res == -EAGAIN ? 0 : e->res); /* no room is no fault of the descriptor's */
        forget_quiet(u, l);
    } else {
        OL_ASSERT(tag == TAG_CONNECT);
        return_op(u, l->work);
        l->work = NULL;
        clear(l, CONNECTING);
        tell(u, l, OL_CONNECTED, e->res, false);
    }
}

/* A completion of the ring makes at most one of ours. */
static void
reap(struct uring *u)
{
    const struct io_uring_cq *cq = &u->ring.cq;
    unsigned ready = io_uring_cq_ready(&u->ring);
    unsigned head = *cq->khead; /* only we write it */
    unsigned seen = 0;

    settle_quiet(u);
    tell_quiet(u);
    for (; seen < ready && has_room(u); seen++)
        on_completion(u, &cq->cqes[(head + seen) & cq->ring_mask]);
    io_uring_cq_advance(&u->ring, seen);
}

/* ---- waiting ----------------------------------------------------------------------------- */

OL_APART static void
listen_for_wakes(struct uring *u)
{
    struct io_uring_sqe *s = new_submission(u);

    if (!s)
        return;
    io_uring_prep_read(s, u->wake_fd, &u->wakes, sizeof u->wakes, 0);
    set_tag(s, NULL, TAG_WAKE);
    u->is_wake_heard = true;
}

/* What is to be done before the kernel is entered. */
static void
prepare(struct uring *u)
{
    if (OL_UNLIKELY(!u->is_wake_heard))
        listen_for_wakes(u);
    if (OL_UNLIKELY(u->blocks.missing > 0))
        renew_blocks(u);
    if (OL_UNLIKELY(u->starved.first))
        feed_starved(u);
    do_todo(u);
}

/* false: there is no room to submit it now. */
static bool
set_timer(struct uring *u, ol_time until)
{
    struct io_uring_sqe *s = new_submission(u);

    if (!s)
        return false;
    u->ring_time = (struct __kernel_timespec){until / SECOND, until % SECOND};
    if (u->rings_at == OL_NEVER) {
        io_uring_prep_timeout(s, &u->ring_time, 0, IORING_TIMEOUT_ABS);
        set_tag(s, NULL, TAG_TIMER);
    } else {
        /* If it rings meanwhile, this fails, and the ring is told by its own completion. */
        io_uring_prep_timeout_update(s, &u->ring_time, TAG_TIMER, IORING_TIMEOUT_ABS);
        set_tag(s, NULL, TAG_CANCEL);
    }
    u->rings_at = until;
    return true;
}

/*
 * The deadline that the entry itself has to keep.  For that it needs to know how long it is, reads
 * the clock again and makes a timer that each entry takes back.  So one that outlives a wait is
 * left to a timer that stands until it rings, as in driver_epoll.c.  Not where a ring is embedded:
 * its completions show in a descriptor of somebody else's loop, which has a timer of its own.
 */
static ol_time
leave_to_timer(struct uring *u, ol_time until)
{
    if (OL_LIKELY(until >= u->rings_at))
        return OL_NEVER;
    if (until != u->outlived || ol_embed_is_open(&u->embed)) {
        u->outlived = until;
        return until;
    }
    return set_timer(u, until) ? OL_NEVER : until;
}

/* Before a sleep with quiet sends: they are told when it ends, and it shall not be long.  A timer
 * that is started once while there is traffic costs less than a deadline of each sleep. */
static ol_time
start_tick(struct uring *u, ol_time until)
{
    static const struct __kernel_timespec length = {.tv_nsec = OL_QUIET_MS * OL_MS};
    struct io_uring_sqe *s;
    ol_time at;

    if (u->quiet_count == 0 || OL_LIKELY(u->is_ticking))
        return until;
    s = new_submission(u);
    if (!s) {
        at = ol_host_now(NULL) + OL_QUIET_MS * OL_MS;
        return until < at ? until : at;
    }
    io_uring_prep_timeout(s, (struct __kernel_timespec *)(uintptr_t)&length, 0, 0);
    set_tag(s, NULL, TAG_TICK);
    u->is_ticking = true;
    return until;
}

/* Is something left that no completion will tell of?  Then memory was short; look again soon. */
static bool
must_retry(const struct uring *u)
{
    return OL_UNLIKELY(!u->is_wake_heard) || OL_UNLIKELY(u->todo.first) ||
           (OL_UNLIKELY(u->starved.first) && u->blocks.missing > 0);
}

/* false: somebody woke us already. */
static bool
lie_down(struct uring *u)
{
    int bed = AWAKE;

    return atomic_compare_exchange_strong(&u->bed, &bed, ASLEEP) || bed == ASLEEP;
}

/*
 * Whoever closes is told so before the kernel is entered, and may answer with more submissions:
 * they all go with one entry, the one that waits.  But not twice in a row, or two links that make
 * and close each other would keep everybody else from being heard.
 */
static bool
can_spare_entry(struct uring *u)
{
    u->is_spared = OL_UNLIKELY(u->out_count > 0) && !u->is_spared;
    return u->is_spared;
}

/* Once around; *is_over when the caller has to be told. */
static int
turn(struct uring *u, ol_time until, bool *is_over)
{
    bool may_block;
    bool is_blocking;
    int err = 0;

    prepare(u);
    if (must_retry(u)) {
        ol_time retry = ol_host_now(NULL) + RETRY_MS * OL_MS;

        until = until < retry ? until : retry;
    }
    may_block = OL_LIKELY(u->out_count == 0) && OL_LIKELY(io_uring_cq_ready(&u->ring) == 0) &&
                OL_LIKELY(until > 0);
    is_blocking = OL_LIKELY(may_block) && OL_LIKELY(!is_quiet_awaited(u)) && OL_LIKELY(lie_down(u));
    if (OL_LIKELY(is_blocking))
        until = start_tick(u, leave_to_timer(u, until));
    if (OL_LIKELY(!can_spare_entry(u)))
        err = enter(u, is_blocking, until);
    if (OL_UNLIKELY(!is_blocking) && may_block && io_uring_sq_ready(&u->ring) > 0)
        (void)poll(NULL, 0, 1); /* no memory for what is awaited, and we must not spin */
    /* An exchange, so that what the waker wrote before it woke us is seen after this. */
    *is_over = atomic_exchange(&u->bed, AWAKE) == WOKEN;
    reap(u);
    do_todo(u);
    if (u->out_count > 0)
        *is_over = true;
    return err;
}

static void
renew_dgrams(struct dgrams *g)
{
    ol_lender_renew(&g->lender);
    g->fds.used = 0;
}

static int
uring_wait(struct ol_driver *d, ol_time until, struct ol_completion *out, int max)
{
    struct uring *u = self(d);
    bool is_over = false;
    int err;

    OL_ASSERT(max > 0);
    u->out = out;
    u->out_count = 0;
    u->out_max = max < OL_BATCH_MAX ? max : OL_BATCH_MAX;
    if (OL_UNLIKELY(u->is_child)) {
        if (u->starved.first)
            feed_starved(u);
        do_todo(u);
        return u->out_count;
    }
    err = enable(u);
    if (OL_UNLIKELY(u->dgrams))
        renew_dgrams(u->dgrams);
    u->is_armed = false;
    while (OL_LIKELY(!err)) {
        err = turn(u, until, &is_over);
        if (OL_LIKELY(is_over) || until <= 0 || (until != OL_NEVER && until <= ol_host_now(NULL)))
            break;
    }
    return OL_LIKELY(u->out_count > 0) || !err ? u->out_count : err;
}

static void
uring_wake(struct ol_driver *d)
{
    struct uring *u = self(d);
    int saved = errno; /* a signal handler may be calling */
    uint64_t one = 1;

    if (atomic_exchange(&u->bed, WOKEN) == ASLEEP) {
        /* It can only fail when the counter is full, and then it is readable anyway. */
        ssize_t n = write(u->wake_fd, &one, sizeof one);

        (void)n;
    }
    errno = saved;
}

static int
uring_embed(struct ol_driver *d)
{
    struct uring *u = self(d);
    int err;

    if (ol_embed_is_open(&u->embed))
        return u->embed.poll_fd;
    err = ol_embed_open(&u->embed, u->wake_fd);
    if (err)
        return err;
    err = io_uring_register_eventfd(&u->ring, u->embed.event_fd);
    if (err) {
        ol_embed_close(&u->embed);
        return err;
    }
    /* Nothing can be submitted before the thread that will wait is known. */
    if (!lie_down(u) || u->todo.first || io_uring_sq_ready(&u->ring) > 0)
        ol_embed_arm(&u->embed, 0);
    u->is_armed = true;
    return u->embed.poll_fd;
}

static void
uring_arm(struct ol_driver *d, ol_time until)
{
    struct uring *u = self(d);
    int err;

    u->is_armed = false;
    u->out_max = 0; /* nothing can be told here */
    u->out_count = 0;
    /* Before the kernel is entered: what it signals from now on stays to be seen. */
    ol_embed_drain(&u->embed);
    err = enable(u);
    if (!err) {
        prepare(u);
        err = enter(u, false, 0);
    }
    /* An error is for wait() to tell. */
    if (err || must_retry(u) || io_uring_cq_ready(&u->ring) > 0 || held_back(u) || !lie_down(u))
        until = 0;
    ol_embed_arm(&u->embed, until);
    u->is_armed = true;
}

/* ---- links ------------------------------------------------------------------------------- */

static void
take(struct ol_link *l, enum ol_link_kind kind, int fd)
{
    l->token = fd;
    l->kind = (uint8_t)kind;
    l->flags = 0;
    l->pending = 0;
    l->work = NULL;
    l->next = NULL;
}

static int
uring_listen(struct ol_driver *d, struct ol_link *l, const struct ol_listen_spec *spec,
             struct ol_addr *bound)
{
    const ol_heap *heap = heap_of(self(d));
    struct ol_sock_file *file = ol_alloc(heap, sizeof *file);
    int fd;

    if (!file) {
        if (spec->given)
            ol_sock_close(spec->given, false);
        return -ENOMEM;
    }
    fd = ol_sock_listen(spec, bound, file);
    if (fd < 0) {
        ol_free(heap, file);
        return fd;
    }
    take(l, spec->kind, fd);
    if (spec->kind == OL_LINK_LISTENER)
        set_blocking(fd);
    if (spec->kind == OL_LINK_LISTENER && spec->singly)
        l->flags |= SINGLY;
    if (file->is_set)
        l->work = file;
    else
        ol_free(heap, file);
    if (spec->kind == OL_LINK_INHERITED)
        l->work = (void *)(uintptr_t)spec->singly;
    return 0;
}

static int
submit_connect(struct uring *u, struct ol_link *l, const struct ol_addr *to)
{
    struct op *op = take_op(u);
    struct io_uring_sqe *s = op ? new_submission(u) : NULL;
    socklen_t len;

    if (!s) {
        return_op(u, op);
        return -ENOMEM;
    }
    len = ol_sockaddr_set(&op->name, to);
    io_uring_prep_connect(s, l->token, &op->name.any, len);
    set_tag(s, l, TAG_CONNECT);
    l->work = op;
    l->pending++;
    return 0;
}

static int
uring_connect(struct ol_driver *d, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct uring *u = self(d);
    int fd = ol_sock_open(spec);
    int err;

    if (fd < 0)
        return fd;
    take(l, spec->kind, fd);
    l->flags = CONNECTING;
    if (spec->given || spec->kind == OL_LINK_DGRAM || spec->kind == OL_LINK_LOCAL) {
        err = spec->given ? 0 : ol_sock_connect(fd, spec);
        if (spec->given && spec->kind == OL_LINK_STREAM)
            set_blocking(fd);
        if (!err) {
            put_on(&u->todo, l);
            kick(u);
        }
    } else {
        set_blocking(fd);
        err = submit_connect(u, l, &spec->to);
    }
    if (err) {
        close(fd);
        *l = (struct ol_link){.ops = l->ops, .token = -1};
    }
    return err;
}

static int
uring_given(struct ol_driver *d, int fd, struct ol_given *out)
{
    (void)d;
    return ol_sock_given(fd, out);
}

static int
uring_pair(struct ol_driver *d, int32_t tokens[2])
{
    int err = ol_sock_pair(tokens);

    (void)d;
    if (err)
        return err;
    set_blocking(tokens[0]);
    set_blocking(tokens[1]);
    return 0;
}

static int
uring_adopt(struct ol_driver *d, struct ol_link *l, enum ol_link_kind kind, int32_t token)
{
    (void)d;
    OL_ASSERT(token >= 0);
    if (kind == OL_LINK_PACKET)
        ol_sock_use_packets(token);
    take(l, kind, token);
    return 0;
}

static int
uring_pass(struct ol_driver *d, struct ol_link *l, unsigned max)
{
    (void)d;
    OL_ASSERT(l->kind == OL_LINK_STREAM || l->kind == OL_LINK_PACKET);
    OL_ASSERT(l->pending == 0 && !l->work);
    l->kind = l->kind == OL_LINK_STREAM ? OL_LINK_PASSING : l->kind;
    l->work = (void *)(uintptr_t)max;
    return 0;
}

static void
uring_discard(struct ol_driver *d, int32_t token, bool reset)
{
    (void)d;
    ol_sock_close(token, reset);
}

static int
start(struct uring *u, struct ol_link *l)
{
    OL_ASSERT(l->token >= 0 && !(l->flags & (CONNECTING | CLOSING)));
    l->flags |= WANTED;
    if (goes_by_readiness(l) && l->flags & READABLE)
        put_on(&u->todo, l); /* the poll has told already */
    kick(u);
    if (l->flags & (ARMED | LISTED) || arm(u, l))
        return 0;
    clear(l, WANTED);
    return -ENOMEM;
}

static int
uring_accept_start(struct ol_driver *d, struct ol_link *l)
{
    OL_ASSERT(l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_INHERITED);
    return start(self(d), l);
}

static int
make_dgrams(struct uring *u)
{
    if (u->dgrams)
        return 0;
    u->dgrams = ol_alloc(heap_of(u), sizeof *u->dgrams);
    if (!u->dgrams)
        return -ENOMEM;
    u->dgrams->fds.used = 0;
    /* 2 MiB of which only the pages that hold datagrams are ever touched. */
    ol_lender_init(&u->dgrams->lender, u->budget, OL_SOCK_BATCH * ol_lender_stride(DGRAM_ROOM));
    return 0;
}

static int
uring_receive_start(struct ol_driver *d, struct ol_link *l)
{
    struct uring *u = self(d);
    int err;

    OL_ASSERT(l->kind == OL_LINK_STREAM || goes_by_readiness(l));
    err = l->kind == OL_LINK_STREAM ? make_blocks(u) : make_dgrams(u);
    return err ? err : start(u, l);
}

static void
uring_stop(struct ol_driver *d, struct ol_link *l)
{
    stop(self(d), l);
}

/* ---- sending ----------------------------------------------------------------------------- */

static int64_t
uring_send_now(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    int64_t n;

    (void)d;
    OL_ASSERT(!(l->flags & SENDING));
    n = ol_sock_send(l->token, pieces, count);
    if (n == -EINTR)
        n = -EAGAIN;
    if (n < 0 && n != -EAGAIN && l->kind == OL_LINK_STREAM)
        l->flags |= BROKEN;
    return n;
}

/*
 * Without MSG_WAITALL, so that a peer that takes little is seen to take something.  No memory for a
 * gathered send: the first piece alone.
 */
static int64_t
submit_send(struct uring *u, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct op *op = count > 1 ? take_op(u) : NULL;
    struct io_uring_sqe *s = new_submission(u);

    OL_ASSERT(count > 0 && !(l->flags & (SENDING | CONNECTING)));
    if (!s) {
        return_op(u, op);
        return -ENOMEM;
    }
    if (op) {
        size_t n = count < SEND_PIECES ? (size_t)count : SEND_PIECES;

        memcpy(op->pieces, pieces, n * sizeof *pieces);
        op->head = (struct msghdr){.msg_iov = op->pieces, .msg_iovlen = n};
        io_uring_prep_sendmsg(s, l->token, &op->head, MSG_NOSIGNAL);
        set_tag(s, l, TAG_SEND);
        l->work = op;
    } else if (can_be_quiet(u, l, pieces->iov_len)) {
        prepare_quiet(u, s, l, pieces);
    } else {
        io_uring_prep_send(s, l->token, pieces->iov_base, ol_min(pieces->iov_len, SEND_MAX),
                           MSG_NOSIGNAL);
        set_tag(s, l, TAG_SEND);
        l->work = NULL;
    }
    l->pending++;
    l->flags |= SENDING;
    return OL_SEND_PENDING;
}

static int
wait_for_room(struct uring *u, struct ol_link *l)
{
    struct io_uring_sqe *s;

    if (l->flags & SENDING)
        return 0;
    s = new_submission(u);
    if (!s)
        return -ENOMEM;
    io_uring_prep_poll_add(s, l->token, POLLOUT);
    set_tag(s, l, TAG_SEND);
    l->pending++;
    l->flags |= SENDING;
    return 0;
}

/* What was tried directly found none. */
static int64_t
or_wait_for_room(struct uring *u, struct ol_link *l, int64_t n)
{
    int err;

    if (n != -EAGAIN)
        return n;
    err = wait_for_room(u, l);
    return err ? err : OL_SEND_PENDING;
}

static int64_t
uring_send(struct ol_driver *d, struct ol_link *l, const struct iovec *pieces, int count)
{
    struct uring *u = self(d);

    if (l->kind == OL_LINK_PASSING) /* `work` is in use */
        return or_wait_for_room(u, l, uring_send_now(d, l, pieces, count));
    return submit_send(u, l, pieces, count);
}

static bool
uring_send_quiet(struct ol_driver *d, struct ol_link *l, const struct iovec *piece)
{
    struct uring *u = self(d);
    struct io_uring_sqe *s = NULL;

    if (l->kind == OL_LINK_STREAM && can_be_quiet(u, l, piece->iov_len))
        s = new_submission(u);
    if (!s)
        return false;
    prepare_quiet(u, s, l, piece);
    l->pending++;
    l->flags |= SENDING;
    return true;
}

static int64_t
uring_send_fd(struct ol_driver *d, struct ol_link *l, const struct iovec *piece, int fd)
{
    return or_wait_for_room(self(d), l, ol_sock_send_fd(l->token, piece, fd));
}

/* Tried directly: a splice on the ring would need a pipe for each connection. */
static int64_t
uring_send_file(struct ol_driver *d, struct ol_link *l, int file, int64_t offset, size_t len)
{
    struct uring *u = self(d);
    int on = 1;
    int64_t n;
    struct op *op;
    int err;

    /* sendfile has no MSG_DONTWAIT, and our sockets block: the ring waits better that way.  What it
     * has under way took note of the flag when it began. */
    (void)ioctl(l->token, FIONBIO, &on);
    n = ol_sock_send_file(l->token, file, offset, len);
    set_blocking(l->token);
    if (n != -EAGAIN || l->kind == OL_LINK_PASSING)
        return or_wait_for_room(u, l, n);
    op = take_op(u);
    if (!op)
        return -ENOMEM;
    err = wait_for_room(u, l);
    if (err) {
        return_op(u, op);
        return err;
    }
    op->is_poll = true;
    l->work = op;
    return OL_SEND_PENDING;
}

static int
uring_send_dgrams(struct ol_driver *d, struct ol_link *l, const struct ol_dgram *messages,
                  int count)
{
    int n = ol_sock_send_dgrams(l->token, messages, count, l->kind == OL_LINK_DGRAM);
    int err;

    if (n == count || (n < 0 && n != -EAGAIN) || (l->kind == OL_LINK_LOCAL && messages->to))
        return n;
    /* No room, or the next one fails: then the socket is writable at once, and so OL_SENT comes. */
    err = wait_for_room(self(d), l);
    return err && n <= 0 ? err : n;
}

static int
uring_end_writing(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    OL_ASSERT(!(l->flags & SENDING));
    return ol_sock_end_writing(l->token);
}

/* ---- closing ----------------------------------------------------------------------------- */

/* A forked child shares the sockets with its parent, and has no ring. */
static void
close_in_child(struct uring *u, struct ol_link *l)
{
    u->is_child = true;
    u->is_armed = false; /* its descriptors are shared, too */
    if (l->kind != OL_LINK_WATCH || l->flags & NESTED)
        close(l->token);
    if (l->kind == OL_LINK_STREAM)
        return_op(u, l->work);
    else if (l->kind != OL_LINK_WATCH && l->kind != OL_LINK_INHERITED && !passes(l))
        ol_free(heap_of(u), l->work);
    l->work = NULL;
    l->token = -1;
    l->pending = 0;
    clear(l, ARMED | SENDING | CONNECTING | RESET);
}

static void
uring_close(struct ol_driver *d, struct ol_link *l, bool reset)
{
    struct uring *u = self(d);

    OL_ASSERT(l->kind != OL_LINK_NONE && !(l->flags & CLOSING));
    clear(l, l->kind == OL_LINK_WATCH ? WANTED : WANTED | READABLE);
    l->flags |= CLOSING;
    if (reset && l->kind == OL_LINK_STREAM)
        l->flags |= RESET;
    if (atomic_load_explicit(&u->forks->depth, memory_order_relaxed) != u->depth)
        close_in_child(u, l);
    if (l->flags & LISTED)
        u->sweep_starved = true; /* it may be on that list */
    put_on(&u->todo, l);
    kick(u);
}

static int
uring_address(struct ol_driver *d, struct ol_link *l, bool peer, struct ol_addr *out)
{
    (void)d;
    return ol_sock_name(l->token, peer, out);
}

static int
uring_credentials(struct ol_driver *d, struct ol_link *l, struct ol_credentials *out)
{
    (void)d;
    return ol_sock_credentials(l->token, out);
}

static int
uring_tcp_facts(struct ol_driver *d, struct ol_link *l, struct ol_tcp_facts *out)
{
    (void)d;
    return ol_sock_tcp_facts(l->token, out);
}

static int
uring_dgram_facts(struct ol_driver *d, struct ol_link *l, struct ol_dgram_facts *out)
{
    (void)d;
    return ol_sock_dgram_facts(l->token, l->kind == OL_LINK_LOCAL, out);
}

static int
uring_watch(struct ol_driver *d, struct ol_link *l, int fd, unsigned events)
{
    unsigned bits = 0;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return -EPERM; /* always ready; epoll says the same */
    if (events & OUTLET_READABLE)
        bits |= POLLIN;
    if (events & OUTLET_WRITABLE)
        bits |= POLLOUT;
    take(l, OL_LINK_WATCH, fd);
    l->work = (void *)(uintptr_t)bits;
    return start(self(d), l);
}

/* ---- the driver itself ------------------------------------------------------------------- */

/* Old kernels do not know a flag; a low limit on locked memory does not hold a ring.  Either way
 * another driver will do. */
static int
explain(int err)
{
    return err == -EINVAL || err == -ENOMEM ? -EOPNOTSUPP : err;
}

static int
open_ring(struct uring *u)
{
    struct io_uring_params p = {0};
    unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE |
                      IORING_FEAT_CQE_SKIP;
    int err;

    /* TASKRUN_FLAG spares the look into an empty kernel; DEFER_TASKRUN, new in Linux 6.1, does the
     * kernel's part of receiving when we wait, in batches, not as an interruption. */
    p.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
              IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
              IORING_SETUP_CQSIZE;
    p.cq_entries = COMPLETIONS;
    err = io_uring_queue_init_params(SUBMISSIONS, &u->ring, &p);
    if (err)
        return explain(err);
    /* A child must not write into the ring of its parent, not even by accident. */
    err = io_uring_ring_dontfork(&u->ring);
    if (!err && (u->ring.features & needed) != needed)
        err = -EOPNOTSUPP;
    if (!err) {
        /* A filter may allow to make rings and forbid to use them.  "Disabled" is right. */
        err = io_uring_enter((unsigned)u->ring.ring_fd, 0, 0, 0, NULL);
        err = err == -EBADFD || err >= 0 ? 0 : err;
    }
    if (err)
        io_uring_queue_exit(&u->ring);
    return err;
}

static size_t
buffers_size(void)
{
    return OL_BLOCKS * sizeof(struct io_uring_buf);
}

static int
open_buffers(struct uring *u)
{
    struct io_uring_buf_reg reg = {.ring_entries = OL_BLOCKS, .bgid = BUFFER_GROUP};
    int err;

    u->buffers = mmap(NULL, buffers_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    if (u->buffers == MAP_FAILED)
        return -errno;
    io_uring_buf_ring_init(u->buffers);
    reg.ring_addr = (uintptr_t)u->buffers;
    err = madvise(u->buffers, buffers_size(), MADV_DONTFORK) == 0 ? 0 : -errno;
    if (!err)
        err = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (err)
        munmap(u->buffers, buffers_size());
    return explain(err);
}

static int
uring_open(struct ol_driver **out, const struct ol_driver_opts *opts)
{
    const ol_heap *heap = &opts->budget->heap;
    struct uring *u = ol_alloc_zero(heap, sizeof *u);
    int err;

    if (!u)
        return -ENOMEM;
    u->base.ops = &ol_driver_uring;
    u->base.gathers = true;
    u->forks = ol_forks();
    u->depth = atomic_load(&u->forks->depth);
    atomic_init(&u->bed, AWAKE);
    ol_embed_init(&u->embed);
    u->rings_at = OL_NEVER;
    err = open_ring(u);
    if (err)
        goto free_driver;
    err = open_buffers(u);
    if (err)
        goto close_ring;
    u->wake_fd = eventfd(0, EFD_CLOEXEC); /* blocking, like all that the ring reads */
    if (u->wake_fd < 0) {
        err = -errno;
        goto unmap_buffers;
    }
    u->budget = ol_budget_ref(opts->budget);
    *out = &u->base;
    return 0;

unmap_buffers:
    munmap(u->buffers, buffers_size());
close_ring:
    io_uring_queue_exit(&u->ring);
free_driver:
    ol_free(heap, u);
    return err;
}

static void
uring_free(struct ol_driver *d)
{
    struct uring *u = self(d);
    struct ol_budget *budget = u->budget;

    if (atomic_load(&u->forks->depth) == u->depth) {
        io_uring_queue_exit(&u->ring);
        munmap(u->buffers, buffers_size());
    } else {
        /* Nothing is mapped here; by now something else may be, at the same addresses. */
        close(u->ring.ring_fd);
    }
    ol_embed_close(&u->embed);
    close(u->wake_fd);
    ol_blocks_free(&u->blocks);
    if (u->dgrams)
        ol_lender_fini(&u->dgrams->lender);
    ol_free(&budget->heap, u->dgrams);
    while (u->ops) {
        struct op *next = u->ops->next;

        ol_free(&budget->heap, u->ops);
        u->ops = next;
    }
    ol_free(&budget->heap, u);
    ol_budget_unref(budget);
}

const struct ol_driver_ops ol_driver_uring = {
    .name = "uring",
    .open = uring_open,
    .free = uring_free,
    .listen = uring_listen,
    .accept_start = uring_accept_start,
    .accept_stop = uring_stop,
    .connect = uring_connect,
    .given = uring_given,
    .pair = uring_pair,
    .adopt = uring_adopt,
    .discard = uring_discard,
    .pass = uring_pass,
    .receive_start = uring_receive_start,
    .receive_stop = uring_stop,
    .give_back = uring_give_back,
    .send_now = uring_send_now,
    .send = uring_send,
    .send_quiet = uring_send_quiet,
    .send_file = uring_send_file,
    .send_fd = uring_send_fd,
    .send_dgrams = uring_send_dgrams,
    .end_writing = uring_end_writing,
    .close = uring_close,
    .address = uring_address,
    .credentials = uring_credentials,
    .tcp_facts = uring_tcp_facts,
    .dgram_facts = uring_dgram_facts,
    .watch = uring_watch,
    .wait = uring_wait,
    .wake = uring_wake,
    .now = ol_host_now,
    .real_now = ol_host_real_now,
    .random = ol_host_random,
    .embed = uring_embed,
    .arm = uring_arm,
};
