/*
 * server_uring.c - the bare ring: the same echoes with accepts and receives that are started once,
 * 64 KiB buffers that the kernel picks from, and sends that leave with the next wait.
 *
 *     server_uring tcp PORT | unix PATH | frame PORT | udp PORT [BUFFERS]
 *
 * What a newcomer gets wrong: buffers smaller than a large message.  With 4 KiB and one send each,
 * a 64 KiB echo costs ten times as much.  And more of them than are needed: the kernel uses them in
 * turn, and large ones that take turns are never in the cache.
 *
 * A received buffer is sent as it is and goes back to the kernel when the send is done.  Of several
 * buffers of one connection one is under way, the others wait in a chain.  A small send completes
 * only when it fails, so that one entry submits the answers and sleeps: with one connection that is
 * 8 % less CPU.  Datagrams are answered by sendto, which measures better than a send through the
 * ring.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <errno.h>
#include <liburing.h>
#include <sys/mman.h>

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 8192,
    BUFFERS_MAX = 256,   /* a power of two */
    QUIET_BYTES = 16384, /* a longer send often finds no room for all of it at once */
    COLOUR = 64, /* so that the first lines of all buffers do not compete for one cache set */
    GROUP = 0,
    NONE = -1
};

/* The low bits of user_data; above them the connection. */
enum kind { ACCEPT, RECEIVE, SEND, DATAGRAM, KIND_BITS = 7 };

struct conn {
    int fd;
    int first;       /* the buffer that is being sent, or NONE */
    int last;        /* of the chain that waits behind it */
    bool is_starved; /* on the list of those who lack a buffer to receive into */
    bool is_over;    /* nothing more is received; ends when nothing is being sent */
    bool is_quiet;   /* what is being sent completes only when it fails */
    bool is_full;    /* and that it did: the next send waits for room */
    struct conn *next_starved;
    struct bare_bytes part; /* framed: the beginning of a message */
};

static struct io_uring ring;
static struct io_uring_buf_ring *offered;
static uint8_t *memory;
static unsigned buffer_count = BUFFERS_MAX;
static size_t stride;
static size_t headroom; /* framed: before each buffer, for the part that came earlier */
static struct {
    int next;
    uint8_t *at;
    size_t len;
} chain[BUFFERS_MAX];
static struct conn *starved;
static struct conn *quiet[COMPLETIONS];
static int quiet_count;
static struct msghdr dgram_shape = {.msg_namelen = sizeof(struct sockaddr_in)};
static bool is_framed;
static int listener; /* or the datagram socket */

/* ---- buffers ----------------------------------------------------------------------------- */

static uint8_t *
buffer(int id)
{
    return memory + (size_t)id * stride + headroom;
}

static void
give_back(int id)
{
    io_uring_buf_ring_add(offered, buffer(id), BARE_ROOM, (unsigned short)id,
                          io_uring_buf_ring_mask(buffer_count), 0);
    io_uring_buf_ring_advance(offered, 1);
}

static void
make_buffers(void)
{
    struct io_uring_buf_reg reg = {.ring_entries = buffer_count, .bgid = GROUP};
    size_t size = buffer_count * sizeof(struct io_uring_buf);

    headroom = is_framed ? BARE_ROOM : 0;
    stride = headroom + BARE_ROOM + COLOUR;
    offered = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = aligned_alloc(BARE_LINE, buffer_count * stride);
    if (offered == MAP_FAILED || !memory)
        bare_die("memory");
    reg.ring_addr = (uintptr_t)offered;
    if (io_uring_register_buf_ring(&ring, &reg, 0)) {
        fprintf(stderr, "no buffer rings in this kernel\n");
        exit(77);
    }
    io_uring_buf_ring_init(offered);
    for (int i = 0; i < (int)buffer_count; i++) {
        give_back(i);
    }
}

/* ---- what is asked of the kernel --------------------------------------------------------- */

static struct io_uring_sqe *
submission(void)
{
    struct io_uring_sqe *s = io_uring_get_sqe(&ring);

    if (!s) {
        io_uring_submit(&ring);
        s = io_uring_get_sqe(&ring);
    }
    if (!s)
        bare_die("io_uring_get_sqe");
    return s;
}

static void
tag(struct io_uring_sqe *s, enum kind kind, struct conn *c)
{
    io_uring_sqe_set_data64(s, (uintptr_t)c | (unsigned)kind);
}

static void
start_accepting(void)
{
    struct io_uring_sqe *s = submission();

    io_uring_prep_multishot_accept(s, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(s, ACCEPT, NULL);
}

static void
start_receiving(struct conn *c)
{
    struct io_uring_sqe *s = submission();

    io_uring_prep_recv_multishot(s, c->fd, NULL, 0, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = GROUP;
    tag(s, RECEIVE, c);
}

static void
start_datagrams(void)
{
    struct io_uring_sqe *s = submission();

    io_uring_prep_recvmsg_multishot(s, listener, &dgram_shape, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = GROUP;
    tag(s, DATAGRAM, NULL);
}

static void
start_sending(struct conn *c)
{
    struct io_uring_sqe *s = submission();

    io_uring_prep_send(s, c->fd, chain[c->first].at, chain[c->first].len,
                       MSG_NOSIGNAL | MSG_WAITALL);
    tag(s, SEND, c);
    if (chain[c->first].len <= QUIET_BYTES && !c->is_full && quiet_count < COMPLETIONS) {
        s->msg_flags |= MSG_DONTWAIT;
        s->flags |= IOSQE_CQE_SKIP_SUCCESS;
        c->is_quiet = true;
        quiet[quiet_count++] = c;
    }
    c->is_full = false;
}

static void
feed_starved(void)
{
    while (starved) {
        struct conn *c = starved;

        starved = c->next_starved;
        c->is_starved = false;
        start_receiving(c);
    }
}

/* ---- what the kernel answers ------------------------------------------------------------- */

static void
end_if_idle(struct conn *c)
{
    if (!c->is_over || c->first != NONE)
        return;
    close(c->fd);
    free(c->part.at);
    free(c);
}

static void
accepted(struct io_uring_cqe *cqe)
{
    struct conn *c;

    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_accepting();
    if (cqe->res < 0)
        return;
    bare_nodelay(cqe->res);
    c = calloc(1, sizeof *c);
    if (!c)
        bare_die("calloc");
    c->fd = cqe->res;
    c->first = NONE;
    start_receiving(c);
}

/* Puts the part that came earlier before the buffer, and keeps what has no end yet. */
static bool
cut(struct conn *c, int id)
{
    size_t before = c->part.len;
    size_t whole;

    if (before) {
        chain[id].at -= before;
        chain[id].len += before;
        memcpy(chain[id].at, c->part.at, before);
        bare_drop(&c->part, before);
    }
    whole = bare_whole_frames(chain[id].at, chain[id].len);
    if (whole == SIZE_MAX || chain[id].len - whole > BARE_ROOM)
        return false;
    bare_keep(&c->part, chain[id].at + whole, chain[id].len - whole);
    chain[id].len = whole;
    return true;
}

static void
queue(struct conn *c, int id)
{
    chain[id].next = NONE;
    if (c->first != NONE) {
        chain[c->last].next = id;
        c->last = id;
        return;
    }
    c->first = c->last = id;
    start_sending(c);
}

static void
received(struct conn *c, struct io_uring_cqe *cqe)
{
    bool is_more = cqe->flags & IORING_CQE_F_MORE;

    if (cqe->res > 0) {
        int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

        chain[id].at = buffer(id);
        chain[id].len = (size_t)cqe->res;
        if (is_framed && !cut(c, id)) {
            shutdown(c->fd, SHUT_RDWR);
            chain[id].len = 0;
        }
        if (chain[id].len)
            queue(c, id);
        else
            give_back(id);
    } else if (cqe->flags & IORING_CQE_F_BUFFER) {
        give_back((int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT)); /* older kernels, at the end */
    }
    if (is_more)
        return;
    if (cqe->res == -ENOBUFS && !c->is_starved) {
        c->is_starved = true;
        c->next_starved = starved;
        starved = c;
        return;
    }
    if (cqe->res > 0) {
        start_receiving(c);
        return;
    }
    c->is_over = true;
    end_if_idle(c);
}

static void
sent(struct conn *c, int64_t result)
{
    int id = c->first;

    c->is_quiet = false;
    if (result == -EAGAIN)
        result = 0;
    if (result >= 0 && (size_t)result < chain[id].len) {
        chain[id].at += result;
        chain[id].len -= (size_t)result;
        c->is_full = true;
        start_sending(c);
        return;
    }
    if (result < 0)
        shutdown(c->fd, SHUT_RDWR); /* the receive ends too, and with it the connection */
    c->first = chain[id].next;
    give_back(id);
    if (c->first != NONE)
        start_sending(c);
    end_if_idle(c);
}

/* Once the kernel has all submissions: what no completion tells of was sent. */
static void
settle_quiet(void)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    int count = quiet_count;

    if (count == 0 || io_uring_sq_ready(&ring) > 0 || io_uring_cq_has_overflow(&ring))
        return;
    io_uring_for_each_cqe(&ring, head, cqe)
    {
        uint64_t data = io_uring_cqe_get_data64(cqe);

        if ((data & KIND_BITS) == SEND)
            ((struct conn *)(uintptr_t)(data & ~(uint64_t)KIND_BITS))->is_quiet = false;
    }
    quiet_count = 0; /* sent() begins at most one more for each */
    for (int i = 0; i < count; i++) {
        struct conn *c = quiet[i];

        if (c->is_quiet)
            sent(c, (int64_t)chain[c->first].len);
    }
}

static void
datagram(struct io_uring_cqe *cqe)
{
    if (cqe->res > 0) {
        int id = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(buffer(id), cqe->res,
                                                                     &dgram_shape);

        /* What does not fit is lost, as datagrams are. */
        if (out)
            (void)!sendto(listener, io_uring_recvmsg_payload(out, &dgram_shape),
                          io_uring_recvmsg_payload_length(out, cqe->res, &dgram_shape),
                          MSG_DONTWAIT, io_uring_recvmsg_name(out), out->namelen);
        give_back(id);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        start_datagrams();
}

static void
answer(struct io_uring_cqe *cqe)
{
    uint64_t data = io_uring_cqe_get_data64(cqe);
    struct conn *c = (struct conn *)(uintptr_t)(data & ~(uint64_t)KIND_BITS);

    switch ((enum kind)(data & KIND_BITS)) {
    case ACCEPT:
        accepted(cqe);
        break;
    case RECEIVE:
        received(c, cqe);
        break;
    case SEND:
        sent(c, cqe->res);
        break;
    case DATAGRAM:
        datagram(cqe);
        break;
    case KIND_BITS:
        abort();
    }
}

int
main(int argc, char **argv)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = COMPLETIONS};

    if (argc < 3)
        return 2;
    is_framed = strcmp(argv[1], "frame") == 0;
    if (argc > 3)
        buffer_count = (unsigned)atoi(argv[3]);
    if (buffer_count < 1 || buffer_count > BUFFERS_MAX || (buffer_count & (buffer_count - 1)))
        return 2;
    if (io_uring_queue_init_params(SUBMISSIONS, &ring, &params)) {
        fprintf(stderr, "no io_uring with DEFER_TASKRUN in this kernel\n");
        return 77;
    }
    make_buffers();
    /* Blocking sockets: on others the ring answers -EAGAIN instead of waiting. */
    if (strcmp(argv[1], "udp") == 0) {
        listener = bare_bind("udp", argv[2], SOCK_DGRAM);
        start_datagrams();
        bare_ready_fd(listener);
    } else {
        listener = bare_listen(argv[1], argv[2], SOCK_STREAM);
        start_accepting();
    }
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned count = 0;
        int err = io_uring_submit_and_wait(&ring, 1);

        if (err < 0 && err != -EINTR)
            return 1;
        settle_quiet();
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            answer(cqe);
            count++;
        }
        io_uring_cq_advance(&ring, count);
        feed_starved();
    }
}
