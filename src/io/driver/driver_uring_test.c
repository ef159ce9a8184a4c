/*
 * driver_uring_test.c - what can only go wrong with a ring: no buffers, no room for completions, a
 * descriptor of the wrong kind.  What every driver must do is in the tests with driver_world.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver.h"
#include "failing_heap.h"
#include "outlet/loop.h"
#include "uring_blocks.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    HELD_MAX = 4 * OL_BLOCKS,
    WATCHES = 10000, /* more than the ring has room for completions */
    TOTAL = 3 * OL_BLOCKS * OL_RECEIVE_MIN,
    PATIENCE_MS = 20000
};

struct end {
    struct ol_link link;
    struct ring *r;
    size_t received;
    size_t sent;
    size_t at_a_time; /* what a send gets; 0: all that is left */
    size_t most;      /* bytes to send */
    bool is_under_way;
    bool is_awaited;
    bool is_wrong;
    int32_t failed; /* a send, if that may be */
    int told;       /* OL_READY */
    int closed;
};

struct ring {
    struct failing_heap heap;
    struct ol_budget *budget;
    struct ol_driver *d;
    const struct ol_driver_ops *ops;
    struct end a;
    struct end b;
    bool holds; /* give nothing back yet */
    bool keeps; /* take a reference of what is given back */
    int max;    /* completions of one wait */
    struct ol_lent held[HELD_MAX];
    int held_count;
    struct ol_block *kept[HELD_MAX];
    int kept_count;
    uint8_t *bytes; /* TOTAL of them */
};

static uint8_t
byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 15);
}

static void
send_rest(struct end *e)
{
    struct iovec piece = {e->r->bytes + e->sent, e->most - e->sent};

    if (e->at_a_time)
        piece.iov_len = ol_min(piece.iov_len, e->at_a_time);
    if (piece.iov_len == 0)
        return;
    e->is_under_way = true;
    if (e->r->ops->send(e->r->d, &e->link, &piece, 1) != OL_SEND_PENDING)
        e->is_wrong = true;
}

static void
hear_bytes(struct end *e, struct ol_completion *c)
{
    struct ring *r = e->r;

    for (uint32_t i = 0; i < c->bytes.len; i++) {
        if (c->bytes.data[i] != byte_at(e->received + i))
            e->is_wrong = true;
    }
    e->received += c->bytes.len;
    if (r->keeps)
        r->kept[r->kept_count++] = ol_block_ref(c->bytes.block);
    if (r->holds)
        r->held[r->held_count++] = c->bytes;
    else
        r->ops->give_back(r->d, &c->bytes);
}

static void
hear(struct ol_link *l, struct ol_completion *c)
{
    struct end *e = OL_CONTAINER(l, struct end, link);

    if (c->result < 0 && c->kind == OL_SENT && e->at_a_time)
        e->failed = c->result;
    else if (c->result < 0)
        e->is_wrong = true;
    switch (c->kind) {
    case OL_RECEIVED:
        hear_bytes(e, c);
        break;
    case OL_SENT:
        if (!e->is_under_way)
            e->is_wrong = true;
        e->is_under_way = false;
        if (c->result < 0)
            break;
        e->sent += (size_t)c->result;
        send_rest(e);
        break;
    case OL_READY:
        e->told++;
        break;
    case OL_CLOSED:
        e->closed++;
        break;
    case OL_ACCEPTED:
    case OL_CONNECTED:
        e->is_wrong = true;
        break;
    }
}

static bool
is_awaited(const struct ol_link *l)
{
    return OL_CONTAINER(l, struct end, link)->is_awaited;
}

static const struct ol_link_ops end_ops = {.complete = hear, .is_awaited = is_awaited};

static int
step(struct ring *r, ol_time until)
{
    struct ol_completion out[OL_BATCH_MAX];
    int n = r->ops->wait(r->d, until, out, r->max);

    for (int i = 0; i < n; i++)
        out[i].link->ops->complete(out[i].link, &out[i]);
    return n;
}

#define RUN_UNTIL(r, condition)                                       \
    do {                                                              \
        ol_time limit_ = (r)->ops->now((r)->d) + PATIENCE_MS * OL_MS; \
        while (!(condition) && (r)->ops->now((r)->d) < limit_) {      \
            if (step((r), limit_) < 0)                                \
                break;                                                \
        }                                                             \
        assert_true(condition);                                       \
    } while (0)

/* Waits until a wait brings nothing for a while; how many waits that took. */
static int
run_dry(struct ring *r)
{
    int waits = 1;

    while (step(r, r->ops->now(r->d) + 50 * OL_MS) > 0)
        waits++;
    return waits;
}

static void
begin(struct end *e, struct ring *r)
{
    e->r = r;
    e->link.ops = &end_ops;
    e->link.token = -1;
    e->most = TOTAL;
}

static int
setup(void **state)
{
    struct ring *r = calloc(1, sizeof *r);
    struct ol_driver_opts opts = {0};

    if (!r)
        return -1;
    failing_heap_init(&r->heap, 0);
    r->budget = ol_budget_new(&r->heap.heap, INT64_MAX);
    r->ops = &ol_driver_uring;
    r->max = OL_BATCH_MAX;
    r->bytes = malloc(TOTAL);
    opts.budget = r->budget;
    if (!r->budget || !r->bytes || r->ops->open(&r->d, &opts) != 0)
        return -1;
    for (size_t i = 0; i < TOTAL; i++)
        r->bytes[i] = byte_at(i);
    begin(&r->a, r);
    begin(&r->b, r);
    *state = r;
    return 0;
}

static void
give_back_all(struct ring *r)
{
    for (int i = 0; i < r->held_count; i++)
        r->ops->give_back(r->d, &r->held[i]);
    r->held_count = 0;
    r->holds = false;
}

static void
drop_all(struct ring *r)
{
    for (int i = 0; i < r->kept_count; i++)
        ol_block_unref(r->kept[i]);
    r->kept_count = 0;
    r->keeps = false;
}

static int
teardown(void **state)
{
    struct ring *r = *state;
    int live;

    give_back_all(r);
    drop_all(r);
    for (int i = 0; i < 2; i++) {
        struct end *e = i == 0 ? &r->a : &r->b;

        if (e->link.kind == OL_LINK_NONE)
            continue;
        r->ops->close(r->d, &e->link, false);
        while (!e->closed && step(r, OL_NEVER) >= 0) {
        }
    }
    r->ops->free(r->d);
    ol_budget_unref(r->budget);
    live = (int)failing_heap_live(&r->heap);
    free(r->bytes);
    free(r);
    return live;
}

static void
unix_pair(int fds[2], int flags)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0, fds), 0);
}

/* Takes a part of a send where a unix socket takes all or nothing. */
static void
tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (struct sockaddr *)&at;
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, any, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, any, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], any, len), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
}

static void
adopt(struct ring *r, const int fds[2])
{
    assert_int_equal(r->ops->adopt(r->d, &r->a.link, OL_LINK_STREAM, fds[0]), 0);
    assert_int_equal(r->ops->adopt(r->d, &r->b.link, OL_LINK_STREAM, fds[1]), 0);
    assert_int_equal(r->ops->receive_start(r->d, &r->b.link), 0);
}

static void
plug(struct ring *r, int flags)
{
    int fds[2];

    unix_pair(fds, flags);
    adopt(r, fds);
}

/* ---- tests ------------------------------------------------------------------------------- */

static void
bytes_that_find_no_buffer_wait_for_one(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->holds = true;
    send_rest(&r->a);
    assert_true(run_dry(r) < 10000);
    assert_int_equal(r->held_count, OL_BLOCKS);
    assert_true(run_dry(r) < 3); /* nothing spins */
    give_back_all(r);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static void
blocks_that_were_held_back_are_there_when_needed(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    send_rest(&r->a);
    RUN_UNTIL(r, r->b.received > TOTAL / 2); /* full blocks: few go round by now */
    r->holds = true;
    (void)run_dry(r);
    assert_int_equal(r->held_count, OL_BLOCKS);
    give_back_all(r);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static void
a_starving_link_can_be_closed(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->holds = true;
    send_rest(&r->a);
    (void)run_dry(r);
    r->ops->close(r->d, &r->b.link, false);
    RUN_UNTIL(r, r->b.closed);
    assert_int_equal(r->held_count, OL_BLOCKS);
    r->ops->close(r->d, &r->a.link, false);
    RUN_UNTIL(r, r->a.closed);
}

static void
a_starving_link_can_stop_and_start(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->holds = true;
    send_rest(&r->a);
    (void)run_dry(r);
    r->ops->receive_stop(r->d, &r->b.link);
    (void)run_dry(r);
    give_back_all(r);
    (void)run_dry(r);
    assert_true(r->b.received < TOTAL);
    assert_int_equal(r->ops->receive_start(r->d, &r->b.link), 0);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static void
without_memory_for_new_blocks_nothing_is_lost(void **state)
{
    struct ring *r = *state;
    size_t before;

    plug(r, 0);
    r->keeps = true;
    failing_heap_exhaust(&r->heap);
    send_rest(&r->a);
    assert_true(run_dry(r) < 10000);
    assert_int_equal(r->kept_count, OL_BLOCKS);
    before = r->b.received;
    assert_true(run_dry(r) < 3); /* it looks for memory now and then, and does not spin */
    assert_int_equal(r->b.received, before);
    drop_all(r);
    failing_heap_reset(&r->heap, 0);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static void
a_gathered_send_needs_no_memory(void **state)
{
    struct ring *r = *state;
    struct iovec pieces[2] = {{r->bytes, 100}, {r->bytes + 100, 100}};

    plug(r, 0);
    failing_heap_exhaust(&r->heap);
    r->a.is_under_way = true;
    assert_true(r->ops->send(r->d, &r->a.link, pieces, 2) == OL_SEND_PENDING);
    failing_heap_reset(&r->heap, 0);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static void
a_non_blocking_descriptor_is_as_good(void **state)
{
    struct ring *r = *state;

    plug(r, SOCK_NONBLOCK);
    send_rest(&r->a);
    RUN_UNTIL(r, r->b.received == TOTAL);
    assert_false(r->a.is_wrong || r->b.is_wrong);
}

static bool
all_watches(const struct end *ends, bool want_closed)
{
    for (int i = 0; i < WATCHES; i++) {
        if (want_closed ? ends[i].closed != 1 : ends[i].told == 0)
            return false;
    }
    return true;
}

static struct end *
watch_all(struct ring *r, int fd)
{
    struct end *ends = calloc(WATCHES, sizeof *ends);

    assert_non_null(ends);
    assert_true(fd >= 0);
    for (int i = 0; i < WATCHES; i++) {
        begin(&ends[i], r);
        assert_int_equal(r->ops->watch(r->d, &ends[i].link, fd, OUTLET_READABLE), 0);
    }
    return ends;
}

static void
close_all(struct ring *r, struct end *ends, int fd)
{
    bool is_wrong = false;

    for (int i = 0; i < WATCHES; i++)
        r->ops->close(r->d, &ends[i].link, false);
    close(fd); /* watching holds it no longer than it takes */
    RUN_UNTIL(r, all_watches(ends, true));
    for (int i = 0; i < WATCHES; i++)
        is_wrong = is_wrong || ends[i].is_wrong;
    assert_false(is_wrong);
    free(ends);
}

static void
more_completions_than_the_ring_holds_are_all_told(void **state)
{
    struct ring *r = *state;
    int fd = eventfd(1, EFD_CLOEXEC);
    struct end *ends = watch_all(r, fd);

    RUN_UNTIL(r, all_watches(ends, false));
    close_all(r, ends, fd);
}

/* ---- quiet sends ------------------------------------------------------------------------- */

static void
what_nobody_awaits_is_told_soon_all_the_same(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->ops->receive_stop(r->d, &r->b.link); /* nothing else comes */
    (void)run_dry(r);
    r->a.at_a_time = 100;
    r->a.most = 300;
    send_rest(&r->a);
    while (r->a.sent < 300)
        assert_true(step(r, OL_NEVER) > 0);
    r->a.is_awaited = true;
    r->a.most = 600;
    send_rest(&r->a);
    while (r->a.sent < 600)
        assert_true(step(r, OL_NEVER) > 0);
    assert_false(r->a.is_wrong || r->a.is_under_way);
}

static void
send_to_who_does_not_read(struct ring *r)
{
    static const size_t sizes[] = {1000, 3001, 16000};

    for (size_t i = 0; i < OL_COUNT(sizes); i++) {
        r->ops->receive_stop(r->d, &r->b.link);
        (void)run_dry(r);
        r->a.sent = r->b.received = 0;
        r->a.at_a_time = sizes[i];
        send_rest(&r->a);
        assert_true(run_dry(r) < 10000); /* nothing spins */
        assert_true(r->a.is_under_way && r->a.sent < TOTAL);
        assert_int_equal(r->ops->receive_start(r->d, &r->b.link), 0);
        RUN_UNTIL(r, r->b.received == TOTAL && r->a.sent == TOTAL);
        assert_false(r->a.is_wrong || r->b.is_wrong || r->a.failed);
    }
}

static void
small_sends_that_find_no_room_wait_for_it(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    send_to_who_does_not_read(r);
}

static void
small_sends_that_are_cut_short_go_on(void **state)
{
    struct ring *r = *state;
    int fds[2];

    tcp_pair(fds);
    adopt(r, fds);
    r->a.is_awaited = true; /* there is room for thousands, which else are told with each tick */
    send_to_who_does_not_read(r);
}

static void
a_send_that_nobody_awaits_can_fail(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->a.at_a_time = 100;
    r->ops->close(r->d, &r->b.link, true);
    RUN_UNTIL(r, r->b.closed);
    send_rest(&r->a);
    while (r->a.is_under_way)
        assert_true(step(r, OL_NEVER) > 0);
    assert_int_equal(r->a.failed, -EPIPE);
    assert_int_equal(r->a.sent, 0);
}

static void
a_link_closes_behind_a_send_that_nobody_awaits(void **state)
{
    struct ring *r = *state;

    plug(r, 0);
    r->a.at_a_time = r->a.most = 100;
    send_rest(&r->a);
    r->ops->close(r->d, &r->a.link, false);
    while (!r->a.closed)
        assert_true(step(r, OL_NEVER) > 0);
    RUN_UNTIL(r, r->b.received == 100); /* it had been submitted */
    assert_false(r->b.is_wrong);
}

static bool
all_sent(const struct end *ends, int count, size_t each)
{
    for (int i = 0; i < count; i += 2) {
        if (ends[i].sent < each || ends[i + 1].received < each)
            return false;
    }
    return true;
}

/* More than are told at once, few at a time, and some that fail among them. */
static void
many_sends_that_nobody_awaits(void **state)
{
    enum { ENDS = 1200, EACH = 500 };
    struct ring *r = *state;
    struct end *ends = calloc(ENDS, sizeof *ends);

    assert_non_null(ends);
    r->max = 7;
    for (int i = 0; i < ENDS; i += 2) {
        int fds[2];

        begin(&ends[i], r);
        begin(&ends[i + 1], r);
        unix_pair(fds, 0);
        assert_int_equal(r->ops->adopt(r->d, &ends[i].link, OL_LINK_STREAM, fds[0]), 0);
        assert_int_equal(r->ops->adopt(r->d, &ends[i + 1].link, OL_LINK_STREAM, fds[1]), 0);
        if (i % 3 == 0)
            assert_int_equal(r->ops->receive_start(r->d, &ends[i + 1].link), 0);
        ends[i].most = EACH;
        ends[i].at_a_time = 100;
        send_rest(&ends[i]);
    }
    for (int i = 0; i < ENDS; i += 2) {
        if (i % 3)
            assert_int_equal(r->ops->receive_start(r->d, &ends[i + 1].link), 0);
    }
    RUN_UNTIL(r, all_sent(ends, ENDS, EACH));
    for (int i = 0; i < ENDS; i++) {
        assert_false(ends[i].is_wrong || ends[i].failed || ends[i].is_under_way);
        r->ops->close(r->d, &ends[i].link, false);
    }
    for (int i = 0; i < ENDS; i++)
        RUN_UNTIL(r, ends[i].closed == 1);
    free(ends);
}

struct shortlived {
    struct end end;
    int peer;
    int *left;
};

static void
hear_shortlived(struct ol_link *l, struct ol_completion *c)
{
    struct shortlived *s = OL_CONTAINER(l, struct shortlived, end.link);

    if (c->kind == OL_SENT) {
        s->end.is_wrong = c->result != (s->peer < 0 ? -EPIPE : 10);
        s->end.r->ops->close(s->end.r->d, l, false);
    } else if (c->kind == OL_CLOSED) {
        if (s->peer >= 0)
            close(s->peer);
        *s->left -= s->end.is_wrong ? 0 : 1;
        free(s);
    }
}

/* Thousands of others make the ring overflow without an end.  What has failed is told behind them,
 * what was sent no later, and links that have gone are not touched again. */
static void
sends_while_completions_overflow(void **state)
{
    enum { SHORTLIVED = 200 };
    static const struct ol_link_ops ops = {.complete = hear_shortlived, .is_awaited = is_awaited};
    struct ring *r = *state;
    int fd = eventfd(1, EFD_CLOEXEC);
    struct end *ends = watch_all(r, fd);
    int left = SHORTLIVED;

    for (int i = 0; i < SHORTLIVED; i++) {
        struct shortlived *s = calloc(1, sizeof *s);
        struct iovec piece = {r->bytes, 10};
        int fds[2];

        assert_non_null(s);
        begin(&s->end, r);
        s->left = &left;
        s->end.link.ops = &ops;
        unix_pair(fds, 0);
        s->peer = i % 2 ? fds[1] : -1;
        if (s->peer < 0)
            close(fds[1]);
        assert_int_equal(r->ops->adopt(r->d, &s->end.link, OL_LINK_STREAM, fds[0]), 0);
        assert_true(r->ops->send_quiet(r->d, &s->end.link, &piece));
    }
    RUN_UNTIL(r, left == 0 && all_watches(ends, false));
    close_all(r, ends, fd);
}

static bool
works_here(void)
{
    struct ol_budget *budget = ol_budget_new(&ol_heap_system, INT64_MAX);
    struct ol_driver_opts opts = {.budget = budget};
    struct ol_driver *d;
    int err = budget ? ol_driver_uring.open(&d, &opts) : -ENOMEM;

    if (!err)
        ol_driver_uring.free(d);
    if (budget)
        ol_budget_unref(budget);
    return !err;
}

#define WITH_RING(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RING(bytes_that_find_no_buffer_wait_for_one),
        WITH_RING(blocks_that_were_held_back_are_there_when_needed),
        WITH_RING(a_starving_link_can_be_closed),
        WITH_RING(a_starving_link_can_stop_and_start),
        WITH_RING(without_memory_for_new_blocks_nothing_is_lost),
        WITH_RING(a_gathered_send_needs_no_memory),
        WITH_RING(a_non_blocking_descriptor_is_as_good),
        WITH_RING(more_completions_than_the_ring_holds_are_all_told),
        WITH_RING(what_nobody_awaits_is_told_soon_all_the_same),
        WITH_RING(small_sends_that_find_no_room_wait_for_it),
        WITH_RING(small_sends_that_are_cut_short_go_on),
        WITH_RING(a_send_that_nobody_awaits_can_fail),
        WITH_RING(a_link_closes_behind_a_send_that_nobody_awaits),
        WITH_RING(many_sends_that_nobody_awaits),
        WITH_RING(sends_while_completions_overflow),
    };

    if (!works_here()) {
        print_message("io_uring does not work here: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests_name("driver_uring", tests, NULL, NULL);
}
