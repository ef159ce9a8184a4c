/*
 * queue.h - messages waiting to leave: pieces in order, copied into chunks or shared by reference.
 *
 * A queue exists only while something waits, so an idle connection has none.  Queues and chunks
 * come from a store, one per reactor, that keeps a bounded number of free ones: in a steady flow
 * nothing is allocated.
 *
 * What a newcomer gets wrong: pieces that were given to the kernel must neither move nor go before
 * it answers.  They are `sent_out` until ol_queue_taken() or ol_queue_returned().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_QUEUE_H
#define OL_QUEUE_H

#include "base/base.h"

#include <sys/uio.h>

enum {
    OL_CHUNK_SMALL = 1280, /* a message of 1 KiB and its framing fits into the first one */
    OL_CHUNK_MIDDLE = 8192,
    OL_CHUNK_LARGE = 65536,
    OL_CHUNK_CLASSES = 3,
    /* Free ones that a store holds on to.  A turn may touch as many connections as there are
     * completions in a batch; few of them have more to send than a small chunk holds. */
    OL_STORE_KEEPS = 256,
    OL_STORE_KEEPS_LARGE = 64 /* chunks above the small ones, of each class */
};

/* Copied bytes of one queue.  Freed when its last piece has left. */
struct ol_chunk {
    struct ol_chunk *next_free;
    uint32_t room;
    uint32_t used;
    uint32_t pieces; /* that lie in it */
    uint8_t class_;
    uint8_t bytes[];
};

struct ol_piece {
    union {
        const uint8_t *bytes;
        int64_t offset; /* of a file */
    };
    size_t len;
    struct ol_chunk *chunk; /* one of the three keeps the bytes */
    struct outlet_buf *buf;
    int file; /* a descriptor of our own, plus one; 0: none; negative: less one, one that goes along
                  with the bytes to the peer */
    bool last; /* of its message */
};

struct ol_queue {
    struct ol_queue *next_free;
    struct ol_store *store;
    struct ol_piece *ring;
    uint32_t room; /* pieces in ring; a power of two */
    uint32_t first;
    uint32_t count;
    uint32_t out;     /* pieces that the kernel holds */
    uint32_t passing; /* descriptors that wait to go along */
    bool begun;       /* part of the first message has left */
    bool borders;     /* keep messages apart: datagrams, and streams that may drop the oldest */
    bool owed;        /* the user is owed an on_writable */
    bool dirty;       /* on the owner's list of what to flush */
    bool borrows;     /* the first piece, which is out: its bytes are somebody else's */
    size_t bytes;     /* waiting, as counted against high, low and cap */
    size_t dropped;   /* messages, of which the user has not been told */
    int peer_errno;   /* the network's word about an earlier datagram, not told yet; 0: none */
    ol_time stalled_since; /* the kernel took nothing since; OL_NEVER: it does */
    void *owner;
    struct ol_queue *next_dirty;
    struct ol_chunk *spare; /* a small chunk, empty and not charged, for the next first message */
    struct ol_piece inline_ring[2];
};

struct ol_store {
    struct ol_share *share; /* what is in use is charged here */
    const ol_heap *heap;
    struct ol_chunk *free_chunks[OL_CHUNK_CLASSES];
    uint32_t free_chunk_count[OL_CHUNK_CLASSES];
    struct ol_queue *free_queues;
    uint32_t free_queue_count;
};

void ol_store_init(struct ol_store *s, struct ol_share *share, const ol_heap *heap);
void ol_store_fini(struct ol_store *s);

struct ol_queue *ol_queue_new(struct ol_store *s, bool borders); /* NULL: no memory */
void ol_queue_free(struct ol_queue *q); /* also with pieces in it, but none out */

/* Add one message, copied: head, pieces, tail; `skip` bytes of it have left already.  All or
 * nothing: OUTLET_ENOMEM leaves the queue as it was. */
outlet_err ol_queue_copy(struct ol_queue *q, const struct iovec *pieces, int n, size_t skip);
/* Add a message to an empty queue that is out already and stays where it is.  Whoever keeps its
 * bytes has them back with ol_queue_settle(), or when the queue is freed. */
void ol_queue_borrow(struct ol_queue *q, const void *bytes, size_t len);
/* The kernel has answered for what was borrowed.  What it did not take is copied; OUTLET_ENOMEM: it
 * is lost. */
outlet_err ol_queue_settle(struct ol_queue *q, size_t taken);
/* Add one message that shares `buf` (takes a reference), between a copied head and tail. */
outlet_err ol_queue_share(struct ol_queue *q, const struct iovec *head, struct outlet_buf *buf,
                          const struct iovec *tail);

/* Add one message that is part of a file; takes the descriptor unless it fails. */
outlet_err ol_queue_file(struct ol_queue *q, const struct iovec *head, int fd, int64_t offset,
                         size_t len, const struct iovec *tail);
/* Is the first piece neither one of a file nor one that a descriptor goes along with?  There is
 * one. */
static inline bool
ol_queue_first_is_bytes(const struct ol_queue *q)
{
    return q->ring[q->first].file == 0;
}

/* Is the first piece one of a file? */
bool ol_queue_first_file(const struct ol_queue *q, int *fd, int64_t *offset, size_t *len);
/* Read the start of that piece into memory.  0, or a negated errno; -ENODATA: the file ends before.
 */
int ol_queue_load_file(struct ol_queue *q);

/* Add one message, copied, with a descriptor that goes along; takes it unless it fails. */
outlet_err ol_queue_pass(struct ol_queue *q, const struct iovec *pieces, int n, int fd);
/* Does one go along with the first piece?  Then it leaves alone, as *piece. */
bool ol_queue_first_pass(const struct ol_queue *q, int *fd, struct iovec *piece);
void ol_queue_passed(struct ol_queue *q); /* it has gone, the bytes are taken next */
int ol_queue_message_pass(const struct ol_queue *q, uint32_t after); /* plus one; 0: none */

/* The first pieces as one gathered write, neighbours joined; at most `max`. */
int ol_queue_gather(const struct ol_queue *q, struct iovec *iov, int max);
/* The first message as pieces; 0: it has more than `max`. */
int ol_queue_first_message(const struct ol_queue *q, struct iovec *iov, int max, uint32_t after,
                           uint32_t *pieces);
void ol_queue_taken(struct ol_queue *q, size_t bytes); /* that many left, from the front */
void ol_queue_drop_message(struct ol_queue *q);        /* the first, whole */
void ol_queue_hold(struct ol_queue *q, size_t bytes);  /* that many go out, from the front */
void ol_queue_returned(struct ol_queue *q);            /* the kernel holds nothing any more */
/* Drop the oldest messages not begun until `need` bytes are free below `cap`; counts them.  None
 * when all of them would not be enough. */
size_t ol_queue_drop_oldest(struct ol_queue *q, size_t need, size_t cap);

#endif
