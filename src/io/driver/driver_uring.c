/*
 * driver_uring.c - the world through io_uring: accepts and receives that are started once, sends
 * that leave together, one system call per wait.
 *
 * What a newcomer would get wrong: a socket that is O_NONBLOCK.  The ring answers -EAGAIN on such a
 * descriptor instead of waiting for it, so streams and listeners are blocking sockets here, and
 * every direct system call says MSG_DONTWAIT.
 *
 * The ring is opened disabled, by anybody; the first wait() enables it and so makes its own thread
 * the only one that may enter.  Links are made here, and left to the other files; uring.h says
 * which.
 *
 * SPDX-License-Identifier: MIT
 */
#include "uring.h"

#include "host.h"

#include "outlet/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUBMISSIONS = 1024, COMPLETIONS = 8192 };

/* ---- links ----------------------------------------------------------------------------- */

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
    const ol_heap *heap = uring_heap(uring_self(d));
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
        uring_set_blocking(fd);
    if (spec->kind == OL_LINK_LISTENER && spec->singly)
        l->flags |= URING_SINGLY;
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
    struct uring_op *op = ol_uring_take_op(u);
    struct io_uring_sqe *s = op ? uring_submission(u) : NULL;
    socklen_t len;

    if (!s) {
        ol_uring_return_op(u, op);
        return -ENOMEM;
    }
    len = ol_sockaddr_set(&op->name, to);
    io_uring_prep_connect(s, l->token, &op->name.any, len);
    uring_set_tag(s, l, URING_TAG_CONNECT);
    l->work = op;
    l->pending++;
    return 0;
}

static int
uring_connect(struct ol_driver *d, struct ol_link *l, const struct ol_connect_spec *spec)
{
    struct uring *u = uring_self(d);
    int fd = ol_sock_open(spec);
    int err;

    if (fd < 0)
        return fd;
    take(l, spec->kind, fd);
    l->flags = URING_CONNECTING;
    if (spec->given || spec->kind == OL_LINK_DGRAM || spec->kind == OL_LINK_LOCAL) {
        err = spec->given ? 0 : ol_sock_connect(fd, spec);
        if (spec->given && spec->kind == OL_LINK_STREAM)
            uring_set_blocking(fd);
        if (!err) {
            uring_put_on(&u->todo, l);
            uring_kick(u);
        }
    } else {
        uring_set_blocking(fd);
        err = submit_connect(u, l, &spec->to);
    }
    if (err) {
        close(fd);
        *l = (struct ol_link){.ops = l->ops, .token = -1};
    }
    return err;
}

static int
uring_pair(struct ol_driver *d, int32_t tokens[2])
{
    int err = ol_sock_pair(tokens);

    (void)d;
    if (err)
        return err;
    uring_set_blocking(tokens[0]);
    uring_set_blocking(tokens[1]);
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

static int
uring_accept_start(struct ol_driver *d, struct ol_link *l)
{
    OL_ASSERT(l->kind == OL_LINK_LISTENER || l->kind == OL_LINK_INHERITED);
    return ol_uring_start(uring_self(d), l);
}

static int
uring_receive_start(struct ol_driver *d, struct ol_link *l)
{
    struct uring *u = uring_self(d);
    int err;

    OL_ASSERT(l->kind == OL_LINK_STREAM || uring_goes_by_readiness(l));
    err = l->kind == OL_LINK_STREAM ? ol_uring_make_blocks(u) : ol_uring_make_dgrams(u);
    return err ? err : ol_uring_start(u, l);
}

static void
uring_stop(struct ol_driver *d, struct ol_link *l)
{
    ol_uring_cease(uring_self(d), l);
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
    return ol_uring_start(uring_self(d), l);
}

static int
uring_end_writing(struct ol_driver *d, struct ol_link *l)
{
    (void)d;
    OL_ASSERT(!(l->flags & URING_SENDING));
    return ol_sock_end_writing(l->token);
}

/* ---- the driver itself ----------------------------------------------------------------- */

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
    struct io_uring_buf_reg reg = {.ring_entries = OL_BLOCKS, .bgid = URING_BUFFER_GROUP};
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
    atomic_init(&u->bed, URING_AWAKE);
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
    struct uring *u = uring_self(d);
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
    ol_uring_free_dgrams(u);
    ol_uring_free_ops(u);
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
    .given = ol_host_given,
    .pair = uring_pair,
    .adopt = uring_adopt,
    .discard = ol_host_discard,
    .pass = uring_pass,
    .receive_start = uring_receive_start,
    .receive_stop = uring_stop,
    .give_back = ol_uring_give_back,
    .send_now = ol_uring_send_now,
    .send = ol_uring_send,
    .send_quiet = ol_uring_send_quiet,
    .send_file = ol_uring_send_file,
    .send_fd = ol_uring_send_fd,
    .send_dgrams = ol_uring_send_dgrams,
    .end_writing = uring_end_writing,
    .close = ol_uring_close,
    .address = ol_host_address,
    .credentials = ol_host_credentials,
    .tcp_facts = ol_host_tcp_facts,
    .dgram_facts = ol_host_dgram_facts,
    .watch = uring_watch,
    .wait = ol_uring_wait,
    .wake = ol_uring_wake,
    .now = ol_host_now,
    .real_now = ol_host_real_now,
    .random = ol_host_random,
    .embed = ol_uring_embed,
    .arm = ol_uring_arm,
};
