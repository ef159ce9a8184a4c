/*
 * stream.c - the transports that have a link of their own: streams, packets, and datagrams to one
 * or many.
 *
 * Completions of the link enter here and go to receive.c, flush.c or conn.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <errno.h>

enum { GATHER_MAX = 64, WIRE_MAX = 65536, DGRAMS_MAX = 64, DGRAM_PIECES_MAX = 16 };

static struct ol_driver *
driver_of(const struct ol_conn *c)
{
    return c->cold->reactor->driver;
}

/* ---- completions ------------------------------------------------------------------------- */

/* On the others it is the peer. */
static const struct ol_addr *
sender_of(const struct ol_conn *c, const struct ol_completion *done)
{
    return ol_conn_settings(c)->transport->many ? done->from : NULL;
}

/* Several datagrams in one. */
static void
received_train(struct ol_conn *c, struct ol_completion *done)
{
    struct ol_lent part;

    for (uint32_t at = 0; ol_lent_segment(done, at, &part); at += done->segment) {
        ol_conn_received(c, &part, 0, sender_of(c, done));
    }
}

/* Ends, failures, datagrams, what comes with descriptors. */
OL_APART static void
received_rarer(struct ol_conn *c, struct ol_completion *done)
{
    const struct ol_settings *s = ol_conn_settings(c);
    bool end = done->end || (done->result == 0 && s->transport->stream);

    if (!done->more)
        c->flags &= (uint16_t)~CONN_RECEIVING;
    if (done->result < 0) {
        /* A connected datagram socket reports what the network said of an earlier datagram. */
        if (!s->transport->stream && done->more) {
            ol_conn_peer_error(c, -done->result);
            return;
        }
        ol_conn_deliver_silent(c);
        if (ol_conn_state(c) >= CONN_CLOSING)
            return; /* by what it was told */
        if (ol_conn_state(c) == CONN_LINGERING)
            ol_conn_peer_ended(c); /* a reset is an end, too: our side was sent and acknowledged */
        else
            ol_conn_fail(c, -done->result);
        return;
    }
    if (s->fds)
        ol_fds_arrived(c, done);
    if (!end && done->segment)
        received_train(c, done);
    else if (!end)
        ol_conn_received(c, &done->bytes, done->truncated ? OUTLET_MSG_TRUNCATED : 0,
                         sender_of(c, done));
    c->cold->reactor->ops->give_back(driver_of(c), &done->bytes);
    ol_wire_end_delivery(ol_wire_of(c));
    if (end) {
        ol_conn_peer_ended(c);
        return;
    }
    /* The kernel ended a receive that nobody stopped (it ran out of buffers): go on. */
    if (!done->more && (ol_conn_state(c) == CONN_OPEN || ol_conn_state(c) == CONN_LINGERING ||
                        ol_conn_state(c) == CONN_FLUSHING))
        ol_conn_receive_start(c);
}

/* Mostly it is bytes of a stream. */
static void
received(struct ol_conn *c, struct ol_completion *done)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_reactor *r = c->cold->reactor;

    if (OL_UNLIKELY(done->result <= 0 || !done->more || !s->transport->stream || s->fds)) {
        received_rarer(c, done);
        return;
    }
    ol_conn_received(c, &done->bytes, 0, NULL);
    r->ops->give_back(r->driver, &done->bytes);
    ol_wire_end_delivery(&ol_net_of(r)->wire);
}

static void
closed(struct ol_conn *c)
{
    c->flags &= (uint16_t) ~(CONN_LINKED | CONN_SENDING | CONN_RECEIVING);
    c->link.kind = OL_LINK_NONE;
    if (ol_conn_state(c) == CONN_DIALING)
        ol_dial_next(c); /* an address failed; there may be another */
    else
        ol_conn_closed(c);
}

static void
complete(struct ol_link *l, struct ol_completion *done)
{
    struct ol_conn *c = OL_CONTAINER(l, struct ol_conn, link);

    if (OL_LIKELY(done->kind == OL_RECEIVED)) {
        received(c, done);
        return;
    }
    switch (done->kind) {
    case OL_SENT:
        ol_conn_sent(c, done->result);
        return;
    case OL_CONNECTED:
        ol_dial_connected(c, done->result);
        return;
    case OL_CLOSED:
        closed(c);
        return;
    case OL_RECEIVED:
    case OL_ACCEPTED:
    case OL_READY:
        break;
    }
    OL_ASSERT(!"a completion that no connection asks for");
}

static bool
is_awaited(const struct ol_link *l)
{
    return ol_conn_awaits_sent(OL_CONTAINER(l, struct ol_conn, link));
}

static bool
took(struct ol_link *l, size_t bytes)
{
    return ol_conn_took(OL_CONTAINER(l, struct ol_conn, link), bytes);
}

const struct ol_link_ops ol_conn_link_ops = {.complete = complete,
                                             .is_awaited = is_awaited,
                                             .took = took};

/* ---- streams ----------------------------------------------------------------------------- */

static int
receive_start(struct ol_conn *c)
{
    return c->cold->reactor->ops->receive_start(driver_of(c), &c->link);
}

static void
receive_stop(struct ol_conn *c)
{
    c->cold->reactor->ops->receive_stop(driver_of(c), &c->link);
}

/* What the driver holds cannot be dropped any more, so where the oldest may be it gets little. */
static size_t
what_goes_out(const struct ol_queue *q, const struct iovec *iov, int *n)
{
    size_t bytes = 0;
    int count = 0;

    while (count < *n && (count == 0 || !q->borders || bytes + iov[count].iov_len <= WIRE_MAX)) {
        bytes += iov[count++].iov_len;
    }
    *n = count;
    return bytes;
}

/* *out: how many bytes of the queue a pending send holds. */
static int64_t
send_pieces(struct ol_conn *c, size_t *out)
{
    struct iovec iov[GATHER_MAX];
    int n = ol_queue_gather(c->queue, iov, GATHER_MAX);

    *out = what_goes_out(c->queue, iov, &n);
    return c->cold->reactor->ops->send(driver_of(c), &c->link, iov, n);
}

/* A file goes from the page cache to the socket where the driver can do that. */
static int64_t
send_some(struct ol_conn *c, size_t *out)
{
    const struct ol_driver_ops *ops = c->cold->reactor->ops;
    struct iovec iov[1];
    int64_t offset;
    int64_t sent = -EINVAL;
    size_t len;
    int fd;

    *out = 0;
    if (ol_queue_first_is_bytes(c->queue))
        return send_pieces(c, out);
    if (ol_queue_first_pass(c->queue, &fd, &iov[0])) {
        sent = ops->send_fd(driver_of(c), &c->link, &iov[0], fd);
        if (sent > 0)
            ol_queue_passed(c->queue);
        return sent;
    }
    if (ol_queue_first_file(c->queue, &fd, &offset, &len)) {
        if (ops->send_file)
            sent = ops->send_file(driver_of(c), &c->link, fd, offset, len);
        if (sent != -EINVAL && sent != -ENOSYS)
            return sent;
        sent = ol_queue_load_file(c->queue);
        if (sent < 0)
            return sent;
    }
    return send_pieces(c, out);
}

static int
stream_flush(struct ol_conn *c)
{
    while (c->queue->count && !(c->flags & CONN_SENDING)) {
        size_t bytes;
        int64_t sent = send_some(c, &bytes);

        if (sent == OL_SEND_PENDING) {
            ol_queue_hold(c->queue, bytes);
            c->flags |= CONN_SENDING;
        } else if (sent < 0) {
            return (int)sent;
        } else {
            ol_queue_taken(c->queue, (size_t)sent);
            ol_conn_count_sent(c, (size_t)sent);
        }
    }
    return 0;
}

static int
link_end_writing(struct ol_conn *c)
{
    return c->cold->reactor->ops->end_writing(driver_of(c), &c->link);
}

static void
link_close(struct ol_conn *c, bool reset)
{
    c->cold->reactor->ops->close(driver_of(c), &c->link, reset);
}

const struct ol_transport ol_transport_stream = {.name = "stream",
                                                 .link = OL_LINK_STREAM,
                                                 .stream = true,
                                                 .ends = true,
                                                 .receive_start = receive_start,
                                                 .receive_stop = receive_stop,
                                                 .flush = stream_flush,
                                                 .end_writing = link_end_writing,
                                                 .close = link_close};

/* ---- messages ----------------------------------------------------------------- */

/* The first messages as datagrams; how many. */
static int
gather_dgrams(const struct ol_queue *q, struct ol_dgram *out, size_t *sizes, struct iovec *iov,
              struct ol_dgram like)
{
    uint32_t after = 0;
    int used = 0;
    int n = 0;

    while (n < DGRAMS_MAX && after < q->count) {
        uint32_t pieces = 0;
        int room = DGRAMS_MAX + DGRAM_PIECES_MAX - used;
        int count = ol_queue_first_message(
            q, iov + used, room < DGRAM_PIECES_MAX ? room : DGRAM_PIECES_MAX, after, &pieces);

        if (count == 0)
            break; /* the next call takes it */
        out[n] = like;
        out[n].pieces = iov + used;
        out[n].count = count;
        out[n].pass = ol_queue_message_pass(q, after);
        sizes[n] = 0;
        for (int i = 0; i < count; i++) {
            sizes[n] += iov[used + i].iov_len;
        }
        used += count;
        after += pieces;
        n++;
    }
    OL_ASSERT(n > 0); /* a datagram fits into DGRAM_PIECES_MAX chunks */
    return n;
}

int
ol_conn_flush_dgrams(struct ol_conn *c, struct ol_link *link, const struct ol_addr *to,
                     const struct ol_addr *from)
{
    const struct ol_driver_ops *ops = c->cold->reactor->ops;
    struct iovec iov[DGRAMS_MAX + DGRAM_PIECES_MAX];
    struct ol_dgram out[DGRAMS_MAX];
    size_t sizes[DGRAMS_MAX];
    int said = c->queue->peer_errno;

    c->queue->peer_errno = 0;
    if (said)
        ol_conn_peer_error(c, said);
    while (c->queue->count) {
        int n = gather_dgrams(c->queue, out, sizes, iov, (struct ol_dgram){.to = to, .from = from});
        int sent = ops->send_dgrams(driver_of(c), link, out, n);

        if (sent == -EAGAIN) {
            c->flags |= CONN_SENDING; /* until there is room; nothing is held */
            return 0;
        }
        if (sent < 0 && ol_conn_settings(c)->transport->ends)
            return sent; /* nothing may be missing from what arrives */
        if (sent < 0) {
            /* The first one failed, or an error of an earlier one was reported in its place. */
            ol_conn_peer_error(c, -sent);
            ol_queue_drop_message(c->queue);
        }
        for (int i = 0; i < sent; i++) {
            ol_queue_drop_message(c->queue);
            ol_conn_count_sent(c, sizes[i]);
        }
    }
    return 0;
}

static int
dgram_flush(struct ol_conn *c)
{
    return ol_conn_flush_dgrams(c, &c->link, NULL, NULL);
}

int
ol_conn_send_train(struct ol_conn *c, struct ol_link *link, const struct iovec *all,
                   struct ol_dgram like)
{
    int sent;

    like.pieces = all;
    like.count = 1;
    sent = c->cold->reactor->ops->send_dgrams(driver_of(c), link, &like, 1);
    return sent == 1 ? 0 : sent < 0 ? sent : -EAGAIN;
}

static int
dgram_send_train(struct ol_conn *c, const struct iovec *all, uint32_t segment)
{
    return ol_conn_send_train(c, &c->link, all, (struct ol_dgram){.segment = segment});
}

static int
dgram_facts(struct ol_conn *c, struct ol_dgram_facts *out)
{
    const struct ol_extra *extra = atomic_load(&c->cold->extra);

    if (c->flags & CONN_LINKED)
        return c->cold->reactor->ops->dgram_facts(driver_of(c), &c->link, out);
    *out = (struct ol_dgram_facts){.lost = extra ? extra->lost : 0};
    return 0;
}

/* The kernel forgets with the socket what it dropped; on_close may want to know. */
static void
dgram_close(struct ol_conn *c, bool reset)
{
    struct ol_dgram_facts facts;
    struct ol_extra *extra;

    if (dgram_facts(c, &facts) == 0 && facts.lost > 0) {
        extra = ol_conn_extra(c);
        if (extra)
            extra->lost = facts.lost;
    }
    link_close(c, reset);
}

/* Whole messages as with datagrams; none may be lost, and there is an end. */
const struct ol_transport ol_transport_packet = {.name = "packets",
                                                 .link = OL_LINK_PACKET,
                                                 .ends = true,
                                                 .receive_start = receive_start,
                                                 .receive_stop = receive_stop,
                                                 .flush = dgram_flush,
                                                 .end_writing = link_end_writing,
                                                 .close = link_close};

/* As the next, but a train would be one long message to the kernel. */
const struct ol_transport ol_transport_local = {.name = "unix datagram",
                                                .link = OL_LINK_LOCAL,
                                                .receive_start = receive_start,
                                                .receive_stop = receive_stop,
                                                .flush = dgram_flush,
                                                .facts = dgram_facts,
                                                .close = link_close};

const struct ol_transport ol_transport_dgram = {.name = "datagram",
                                                .link = OL_LINK_DGRAM,
                                                .receive_start = receive_start,
                                                .receive_stop = receive_stop,
                                                .flush = dgram_flush,
                                                .send_train = dgram_send_train,
                                                .facts = dgram_facts,
                                                .close = dgram_close};

/* ---- datagrams to many -------------------------------------------------------------------- */

static struct ol_addr
target_of(const struct ol_conn *c)
{
    struct ol_addr to;

    ol_shown_addr_get(&c->cold->peer, &to);
    return to;
}

static int
many_flush(struct ol_conn *c)
{
    struct ol_addr to = target_of(c);

    return ol_conn_flush_dgrams(c, &c->link, &to, NULL);
}

static int
many_send_train(struct ol_conn *c, const struct iovec *all, uint32_t segment)
{
    struct ol_addr to = target_of(c);

    return ol_conn_send_train(c, &c->link, all, (struct ol_dgram){.to = &to, .segment = segment});
}

const struct ol_transport ol_transport_many = {.name = "datagrams to many",
                                               .link = OL_LINK_DGRAM,
                                               .many = true,
                                               .receive_start = receive_start,
                                               .receive_stop = receive_stop,
                                               .flush = many_flush,
                                               .send_train = many_send_train,
                                               .facts = dgram_facts,
                                               .close = dgram_close};
