/*
 * queue.c - a ring of pieces, filled at the end by messages and emptied at the front by the kernel.
 *
 * Small messages are copied one behind the other into a chunk and, where borders need not be kept,
 * grow one single piece: a turn's worth of messages leaves as one write of one piece.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store.h"

#include <errno.h>
#include <unistd.h>

enum {
    SHORT_MAX = OL_CHUNK_SMALL - sizeof(struct ol_chunk),
    RING_KEPT = 256 /* pieces of a free queue's ring, 10 KiB: several trains of datagrams */
};

static struct ol_piece *
piece_at(const struct ol_queue *q, uint32_t i)
{
    return &q->ring[(q->first + i) & (q->room - 1)];
}

static void
drop_ring(struct ol_queue *q)
{
    ol_free(q->store->heap, q->ring);
    q->ring = q->inline_ring;
    q->room = OL_COUNT(q->inline_ring);
}

/* A free queue is as if new, but for its spare chunk and a ring that has grown: see
 * ol_queue_free(). */
struct ol_queue *
ol_queue_new(struct ol_store *s, bool borders)
{
    struct ol_queue *q = s->free_queues;

    if (q) {
        s->free_queues = q->next_free;
        s->free_queue_count--;
        if (q->ring != q->inline_ring && !ol_share_charge(s->share, q->room * sizeof *q->ring))
            drop_ring(q);
    } else {
        q = ol_alloc_zero(s->heap, sizeof *q);
        if (!q)
            return NULL;
        q->store = s;
        q->stalled_since = OL_NEVER;
        q->room = OL_COUNT(q->inline_ring);
        q->ring = q->inline_ring;
    }
    q->borders = borders;
    return q;
}

/* The last piece of a small chunk leaves it with the queue, which will soon want one again. */
static void
release_chunk(struct ol_queue *q, struct ol_chunk *c)
{
    if (c->class_ == 0 && !q->spare) {
        ol_share_release(q->store->share, OL_CHUNK_SMALL);
        q->spare = c;
        return;
    }
    ol_chunk_give_back(q->store, c);
}

static void
release_piece(struct ol_queue *q, struct ol_piece *p)
{
    if (p->buf)
        outlet_buf_unref(p->buf);
    if (p->file > 0)
        close(p->file - 1);
    if (p->file < 0) {
        close(-p->file - 1);
        q->passing--;
    }
    if (p->chunk && --p->chunk->pieces == 0)
        release_chunk(q, p->chunk);
}

static void
release_ring(struct ol_queue *q)
{
    struct ol_store *s = q->store;

    if (q->ring == q->inline_ring)
        return;
    ol_share_release(s->share, q->room * sizeof *q->ring);
    if (q->room <= RING_KEPT)
        return; /* for the next life of the queue: not charged, as nothing free is */
    drop_ring(q);
}

void
ol_queue_free(struct ol_queue *q)
{
    struct ol_store *s = q->store;

    OL_ASSERT(q->out == 0);
    OL_ASSERT(!q->dirty);
    for (uint32_t i = 0; i < q->count; i++) {
        release_piece(q, piece_at(q, i));
    }
    release_ring(q);
    if (s->free_queue_count >= OL_STORE_KEEPS) {
        if (q->ring != q->inline_ring)
            drop_ring(q);
        ol_free(s->heap, q->spare);
        ol_free(s->heap, q);
        return;
    }
    q->first = 0;
    q->count = 0;
    q->begun = false;
    q->borrows = false;
    q->owed = false;
    q->bytes = 0;
    q->dropped = 0;
    q->peer_errno = 0;
    q->stalled_since = OL_NEVER;
    q->next_free = s->free_queues;
    s->free_queues = q;
    s->free_queue_count++;
}

static struct ol_chunk *
take_chunk(struct ol_queue *q, size_t want, uint8_t class_min)
{
    struct ol_chunk *c = q->spare;

    if (!c || class_min > 0 || want > c->room)
        return ol_chunk_take(q->store, want, class_min);
    if (!ol_share_charge(q->store->share, OL_CHUNK_SMALL))
        return NULL;
    q->spare = NULL;
    c->used = 0;
    return c;
}

/* Room for `more` pieces. */
static outlet_err
reserve(struct ol_queue *q, uint32_t more)
{
    uint32_t room = q->room;
    struct ol_piece *ring;

    if (q->count + more <= room)
        return OUTLET_OK;
    while (room < q->count + more) {
        room *= 2;
    }
    if (!ol_share_charge(q->store->share, room * sizeof *ring))
        return OUTLET_ENOMEM;
    ring = ol_alloc(q->store->heap, room * sizeof *ring);
    if (!ring) {
        ol_share_release(q->store->share, room * sizeof *ring);
        return OUTLET_ENOMEM;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        ring[i] = *piece_at(q, i);
    }
    if (q->ring != q->inline_ring) {
        ol_share_release(q->store->share, q->room * sizeof *ring);
        ol_free(q->store->heap, q->ring);
    }
    q->ring = ring;
    q->room = room;
    q->first = 0;
    return OUTLET_OK;
}

static struct ol_piece *
last_piece(const struct ol_queue *q)
{
    return q->count ? piece_at(q, q->count - 1) : NULL;
}

/*
 * A chunk with room: the one that the last piece lies in, or the one before a shared last piece, so
 * that the heads of many shared messages lie together.
 */
static struct ol_chunk *
open_chunk(const struct ol_queue *q)
{
    struct ol_piece *p = last_piece(q);

    if (p && !p->chunk && q->count > 1)
        p = piece_at(q, q->count - 2);
    if (!p || !p->chunk || p->chunk->used == p->chunk->room)
        return NULL;
    return p->chunk;
}

static void
push(struct ol_queue *q, struct ol_piece piece)
{
    OL_ASSERT(q->count < q->room);
    q->count++;
    *piece_at(q, q->count - 1) = piece;
}

/*
 * A piece that the kernel holds must not grow: what it was given is what it answers for.  Without
 * borders the last piece grows, unless it is out.
 */
static bool
may_grow(const struct ol_queue *q, const struct ol_chunk *c)
{
    struct ol_piece *p = last_piece(q);

    return p && p->chunk == c && q->out < q->count && p->file == 0 && !(q->borders && p->last);
}

static void
append_to_chunk(struct ol_queue *q, struct ol_chunk *c, const uint8_t *bytes, size_t len)
{
    memcpy(c->bytes + c->used, bytes, len);
    if (may_grow(q, c)) {
        last_piece(q)->len += len;
    } else {
        push(q, (struct ol_piece){.bytes = c->bytes + c->used, .len = len, .chunk = c});
        c->pieces++;
    }
    c->used += (uint32_t)len;
    q->bytes += len;
}

/* How the queue was before a message, to go back to when memory ends half-way. */
struct mark {
    uint32_t count;
    size_t last_len;
    uint32_t chunk_used;
    size_t bytes;
    bool last;
};

static struct mark
mark_here(const struct ol_queue *q)
{
    struct ol_piece *p = last_piece(q);

    return (struct mark){.count = q->count,
                         .last_len = p ? p->len : 0,
                         .chunk_used = p && p->chunk ? p->chunk->used : 0,
                         .bytes = q->bytes,
                         .last = p && p->last};
}

static void
go_back(struct ol_queue *q, struct mark m)
{
    struct ol_piece *p;

    while (q->count > m.count) {
        release_piece(q, last_piece(q));
        q->count--;
    }
    p = last_piece(q);
    if (p) {
        p->len = m.last_len;
        p->last = m.last;
        if (p->chunk)
            p->chunk->used = m.chunk_used;
    }
    q->bytes = m.bytes;
}

/* About as much as waits already: a queue that grows takes few chunks, and one that drops its
 * oldest messages to stay small holds none that is larger than itself.  Behind shared bytes stands
 * only a tail or the next head. */
static uint8_t
next_class(const struct ol_queue *q)
{
    if (q->count && !last_piece(q)->chunk)
        return 0;
    return q->bytes >= OL_CHUNK_MIDDLE ? 2 : q->bytes >= SHORT_MAX ? 1 : 0;
}

static outlet_err
append(struct ol_queue *q, const uint8_t *bytes, size_t len, size_t whole)
{
    while (len > 0) {
        struct ol_chunk *c = open_chunk(q);
        size_t part;

        if (!c || !may_grow(q, c)) {
            outlet_err err = reserve(q, 1);

            if (err)
                return err;
        }
        if (!c) {
            c = take_chunk(q, whole, next_class(q));
            if (!c)
                c = take_chunk(q, whole, 0); /* near memory_max a small one may be left */
            if (!c)
                return OUTLET_ENOMEM;
        }
        part = ol_min(len, c->room - c->used);
        append_to_chunk(q, c, bytes, part);
        bytes += part;
        len -= part;
        whole -= part;
    }
    return OUTLET_OK;
}

/* An empty message still is one, where borders are kept. */
static outlet_err
finish_message(struct ol_queue *q, uint32_t count_before)
{
    if (q->borders && q->count == count_before) {
        outlet_err err = reserve(q, 1);

        if (err)
            return err;
        push(q, (struct ol_piece){.bytes = (const uint8_t *)""});
    }
    if (q->count)
        last_piece(q)->last = true;
    return OUTLET_OK;
}

/* The usual case: the message fits behind the last one, or is the first and fits a small chunk. */
static bool
copy_short(struct ol_queue *q, const struct iovec *pieces, int n, size_t whole)
{
    struct ol_chunk *c = open_chunk(q);
    uint8_t *at;

    if (c ? whole > c->room - c->used : q->count > 0 || whole > SHORT_MAX)
        return false;
    if (q->count == q->room && !may_grow(q, c) && reserve(q, 1))
        return false;
    if (!c) {
        c = take_chunk(q, whole, 0);
        if (!c)
            return false;
    }
    at = c->bytes + c->used;
    if (may_grow(q, c)) {
        last_piece(q)->len += whole;
    } else {
        push(q, (struct ol_piece){.bytes = at, .len = whole, .chunk = c, .last = true});
        c->pieces++;
    }
    for (int i = 0; i < n; i++) {
        if (pieces[i].iov_len)
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    c->used += (uint32_t)whole;
    q->bytes += whole;
    return true;
}

outlet_err
ol_queue_copy(struct ol_queue *q, const struct iovec *pieces, int n, size_t skip)
{
    struct mark before;
    size_t whole = 0;
    outlet_err err = OUTLET_OK;

    for (int i = 0; i < n; i++) {
        whole += pieces[i].iov_len;
    }
    OL_ASSERT(skip <= whole);
    if (skip == 0 && whole > 0 && copy_short(q, pieces, n, whole))
        return OUTLET_OK;
    before = mark_here(q);
    whole -= skip;
    for (int i = 0; i < n && !err; i++) {
        const uint8_t *bytes = pieces[i].iov_base;
        size_t len = pieces[i].iov_len;
        size_t left_out = ol_min(skip, len);

        skip -= left_out;
        if (left_out) /* else it may be NULL */
            bytes += left_out;
        err = append(q, bytes, len - left_out, whole);
        whole -= len - left_out;
    }
    if (!err)
        err = finish_message(q, before.count);
    if (err)
        go_back(q, before);
    return err;
}

void
ol_queue_borrow(struct ol_queue *q, const void *bytes, size_t len)
{
    OL_ASSERT(q->count == 0 && len > 0);
    q->ring[q->first] = (struct ol_piece){.bytes = bytes, .len = len, .last = true};
    q->count = 1;
    q->bytes = len;
    q->out = 1;
    q->borrows = true;
}

outlet_err
ol_queue_share(struct ol_queue *q, const struct iovec *head, struct outlet_buf *buf,
               const struct iovec *tail)
{
    struct mark before = mark_here(q);
    outlet_err err = append(q, head->iov_base, head->iov_len, head->iov_len);

    if (!err && buf->len) {
        err = reserve(q, 1);
        if (!err) {
            push(q, (struct ol_piece){
                        .bytes = buf->bytes, .len = buf->len, .buf = outlet_buf_ref(buf)});
            q->bytes += buf->len;
        }
    }
    if (!err)
        err = append(q, tail->iov_base, tail->iov_len, tail->iov_len);
    if (!err)
        err = finish_message(q, before.count);
    if (err)
        go_back(q, before);
    return err;
}

/* The file piece that was pushed last, behind which pieces of its tail may stand. */
static struct ol_piece *
last_file(const struct ol_queue *q)
{
    uint32_t i = q->count - 1;

    while (piece_at(q, i)->file <= 0) {
        i--;
    }
    return piece_at(q, i);
}

outlet_err
ol_queue_file(struct ol_queue *q, const struct iovec *head, int fd, int64_t offset, size_t len,
              const struct iovec *tail)
{
    struct mark before = mark_here(q);
    outlet_err err = append(q, head->iov_base, head->iov_len, head->iov_len);
    bool pushed = false;

    if (!err)
        err = reserve(q, 1);
    if (!err) {
        push(q, (struct ol_piece){.offset = offset, .len = len, .file = fd + 1});
        pushed = true;
        q->bytes += len;
        err = append(q, tail->iov_base, tail->iov_len, tail->iov_len);
    }
    if (!err)
        err = finish_message(q, before.count);
    if (err) {
        if (pushed)
            last_file(q)->file = 0; /* stays the caller's */
        go_back(q, before);
    }
    return err;
}

bool
ol_queue_first_file(const struct ol_queue *q, int *fd, int64_t *offset, size_t *len)
{
    struct ol_piece *p = q->count ? piece_at(q, 0) : NULL;

    if (!p || p->file <= 0)
        return false;
    *fd = p->file - 1;
    *offset = p->offset;
    *len = p->len;
    return true;
}

/* The rest of the file stands behind what was read: another piece, unless that was all. */
static void
put_loaded(struct ol_queue *q, struct ol_chunk *c, size_t n)
{
    struct ol_piece *p = piece_at(q, 0);
    struct ol_piece loaded = {.bytes = c->bytes, .len = n, .chunk = c};

    c->used = c->room; /* nothing is put behind it */
    c->pieces = 1;
    p->offset += (int64_t)n;
    p->len -= n;
    if (p->len == 0) {
        loaded.last = p->last;
        close(p->file - 1);
        *p = loaded;
        return;
    }
    q->first = (q->first - 1) & (q->room - 1);
    q->count++;
    *piece_at(q, 0) = loaded;
}

int
ol_queue_load_file(struct ol_queue *q)
{
    struct ol_chunk *c;
    struct ol_piece *p;
    ssize_t n;

    OL_ASSERT(q->count && piece_at(q, 0)->file > 0 && q->out == 0);
    if (reserve(q, 1))
        return -ENOMEM;
    p = piece_at(q, 0);
    c = ol_chunk_take(q->store, p->len, 0);
    if (!c)
        return -ENOMEM;
    n = pread(p->file - 1, c->bytes, ol_min(p->len, c->room), p->offset);
    if (n <= 0) {
        ol_chunk_give_back(q->store, c);
        return n < 0 ? -errno : -ENODATA;
    }
    put_loaded(q, c, (size_t)n);
    return 0;
}

/* On a piece of its own: what left along with other bytes would arrive with a message of those. */
outlet_err
ol_queue_pass(struct ol_queue *q, const struct iovec *pieces, int n, int fd)
{
    uint32_t before = q->count;
    bool borders = q->borders;
    outlet_err err;

    q->borders = true;
    err = ol_queue_copy(q, pieces, n, 0);
    q->borders = borders;
    if (err)
        return err;
    OL_ASSERT(q->count > before);
    piece_at(q, before)->file = -(fd + 1);
    q->passing++;
    return OUTLET_OK;
}

bool
ol_queue_first_pass(const struct ol_queue *q, int *fd, struct iovec *piece)
{
    struct ol_piece *p = q->count ? piece_at(q, 0) : NULL;

    if (!p || p->file >= 0)
        return false;
    *fd = -p->file - 1;
    *piece = (struct iovec){(void *)(uintptr_t)p->bytes, p->len};
    return true;
}

void
ol_queue_passed(struct ol_queue *q)
{
    struct ol_piece *p = piece_at(q, 0);

    OL_ASSERT(p->file < 0 && q->passing > 0);
    close(-p->file - 1);
    p->file = 0;
    q->passing--;
}

int
ol_queue_message_pass(const struct ol_queue *q, uint32_t after)
{
    struct ol_piece *p = piece_at(q, after);

    return p->file < 0 ? -p->file : 0;
}

int
ol_queue_gather(const struct ol_queue *q, struct iovec *iov, int max)
{
    int n = 0;

    for (uint32_t i = 0; i < q->count; i++) {
        struct ol_piece *p = piece_at(q, i);

        if (p->file)
            break;
        if (n > 0 && (const uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == p->bytes) {
            iov[n - 1].iov_len += p->len;
            continue;
        }
        if (n == max)
            break;
        iov[n].iov_base = (void *)(uintptr_t)p->bytes; /* the kernel only reads it */
        iov[n].iov_len = p->len;
        n++;
    }
    return n;
}

int
ol_queue_first_message(const struct ol_queue *q, struct iovec *iov, int max, uint32_t after,
                       uint32_t *pieces)
{
    int n = 0;

    for (uint32_t i = after; i < q->count; i++) {
        struct ol_piece *p = piece_at(q, i);

        if (n == max)
            return 0;
        iov[n].iov_base = (void *)(uintptr_t)p->bytes; /* the kernel only reads it */
        iov[n].iov_len = p->len;
        n++;
        if (p->last) {
            *pieces = i - after + 1;
            return n;
        }
    }
    return 0;
}

static void
pop(struct ol_queue *q)
{
    struct ol_piece *p = piece_at(q, 0);

    q->begun = !p->last;
    release_piece(q, p);
    q->first = (q->first + 1) & (q->room - 1);
    q->count--;
    if (q->out)
        q->out--;
}

void
ol_queue_taken(struct ol_queue *q, size_t bytes)
{
    OL_ASSERT(bytes <= q->bytes);
    q->bytes -= bytes;
    while (q->count) {
        struct ol_piece *p = piece_at(q, 0);

        if (p->len > bytes) {
            if (OL_UNLIKELY(p->file > 0))
                p->offset += (int64_t)bytes;
            else
                p->bytes += bytes;
            p->len -= bytes;
            if (bytes)
                q->begun = true;
            return;
        }
        bytes -= p->len;
        pop(q);
    }
}

/* Into a chunk of its own. */
static outlet_err
keep_borrowed(struct ol_queue *q, struct ol_piece *p)
{
    struct ol_chunk *c = take_chunk(q, p->len, 0);

    if (!c)
        return OUTLET_ENOMEM;
    OL_ASSERT(p->len <= c->room);
    memcpy(c->bytes, p->bytes, p->len);
    c->used = (uint32_t)p->len;
    c->pieces = 1;
    p->bytes = c->bytes;
    p->chunk = c;
    return OUTLET_OK;
}

outlet_err
ol_queue_settle(struct ol_queue *q, size_t taken)
{
    struct ol_piece *p = piece_at(q, 0);
    bool is_whole = taken == p->len;
    outlet_err err;

    OL_ASSERT(q->borrows && taken <= p->len);
    q->borrows = false;
    q->out = 0;
    ol_queue_taken(q, taken);
    err = is_whole ? OUTLET_OK : keep_borrowed(q, p);
    if (err)
        ol_queue_drop_message(q);
    return err;
}

void
ol_queue_drop_message(struct ol_queue *q)
{
    bool last = false;

    while (q->count && !last) {
        last = piece_at(q, 0)->last;
        q->bytes -= piece_at(q, 0)->len;
        pop(q);
    }
}

void
ol_queue_hold(struct ol_queue *q, size_t bytes)
{
    uint32_t out = 0;

    for (size_t held = 0; held < bytes; out++) {
        held += piece_at(q, out)->len;
    }
    q->out = out;
}

void
ol_queue_returned(struct ol_queue *q)
{
    q->out = 0;
}

/* The first piece that is neither out nor part of a message that has begun to leave. */
static uint32_t
first_droppable(const struct ol_queue *q)
{
    uint32_t i = q->out;
    bool inside = q->begun;

    if (i > 0)
        inside = !piece_at(q, i - 1)->last;
    while (inside && i < q->count) {
        inside = !piece_at(q, i)->last;
        i++;
    }
    return i;
}

size_t
ol_queue_drop_oldest(struct ol_queue *q, size_t need, size_t cap)
{
    uint32_t at = first_droppable(q);
    uint32_t end = at;
    size_t dropped = 0;
    size_t stays = 0;

    for (uint32_t i = 0; i < at; i++) {
        stays += piece_at(q, i)->len;
    }
    if (stays + need > cap)
        return 0; /* all of it would not be enough */
    while (q->bytes + need > cap && end < q->count) {
        bool last = false;

        while (!last) {
            struct ol_piece *p = piece_at(q, end);

            last = p->last;
            q->bytes -= p->len;
            release_piece(q, p);
            end++;
        }
        dropped++;
    }
    /* What stays in front moves up to what stays behind: it is the shorter side. */
    for (uint32_t i = at; i > 0; i--) {
        *piece_at(q, end - at + i - 1) = *piece_at(q, i - 1);
    }
    q->first = (q->first + (end - at)) & (q->room - 1);
    q->count -= end - at;
    return dropped;
}
