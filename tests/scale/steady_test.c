/*
 * steady_test.c - in a steady flow nothing is allocated and nothing is locked, on either side.
 *
 * The linker leads every call of malloc and its family, and of what locks, through the counters
 * here
 * (--wrap, see meson.build).  Both processes echo, then count through a window of messages.
 *
 * What is kept for the next message grows to what the busiest moment needed.  With one connection
 * that is the first one; with many, chance decides how many are busy at once, so a few windows may
 * pass until one is as quiet as all that follow.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CONNS_MAX = 200, MESSAGE_MAX = 65536 };

static const struct flow {
    const char *name;
    int conns;
    int in_flight; /* on each */
    bool is_framed;
    uint32_t size_min;
    uint32_t size_max;
    int64_t settle; /* messages before the window */
    int64_t window;
    int windows_max; /* until there is one without an allocation */
} flows[] = {
    {"1 connection, 1 in flight, plain", 1, 1, false, 64, 64, 5000, 100000, 1},
    {"1 connection, 1 in flight, framed", 1, 1, true, 64, 64, 5000, 100000, 1},
    {"1 connection, 16 in flight, framed", 1, 16, true, 64, 64, 20000, 100000, 1},
    {"64 connections, 16 in flight, plain", 64, 16, false, 64, 64, 20000, 50000, 20},
    {"64 connections, 16 in flight, framed", 64, 16, true, 64, 64, 20000, 50000, 20},
    {"200 connections, 16 in flight, framed", 200, 16, true, 64, 64, 20000, 50000, 20},
    {"200 connections, 1 in flight, plain", 200, 1, false, 64, 64, 20000, 50000, 20},
    {"64 connections, 16 in flight, across the borders of receives", 64, 16, true, 1, 9000, 20000,
     20000, 40},
    {"16 connections, 4 in flight, 64 KiB", 16, 4, true, 65536, 65536, 5000, 10000, 20},
};
enum { FLOWS = sizeof flows / sizeof flows[0] };

/* ---- counters ---- */

static int64_t allocations;
static int64_t locks;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
int __real_posix_memalign(void **out, size_t align, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __real_pthread_mutex_trylock(pthread_mutex_t *m);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *l);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
int __wrap_posix_memalign(void **out, size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l);

void *
__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    allocations++;
    return __real_realloc(p, size);
}

void
__wrap_free(void *p)
{
    allocations++;
    __real_free(p);
}

int
__wrap_posix_memalign(void **out, size_t align, size_t size)
{
    allocations++;
    return __real_posix_memalign(out, align, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
    allocations++;
    return __real_aligned_alloc(align, size);
}

int
__wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    locks++;
    return __real_pthread_mutex_lock(m);
}

int
__wrap_pthread_mutex_trylock(pthread_mutex_t *m)
{
    locks++;
    return __real_pthread_mutex_trylock(m);
}

int
__wrap_pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    locks++;
    return __real_pthread_rwlock_rdlock(l);
}

int
__wrap_pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    locks++;
    return __real_pthread_rwlock_wrlock(l);
}

/* ---- what both sides do ---- */

/* One side of a flow, and what it counted. */
static struct run {
    struct scale_side side;
    const struct flow *flow;
    int64_t bytes;
    int64_t messages;
    int64_t failed;
    bool is_inside; /* the window */
    bool is_over;
    int64_t window_end; /* messages */
    int windows;
    int64_t allocations; /* in the last window, when it is over */
    int64_t heap_calls;
    int64_t locks;
    /* the client's only */
    struct {
        outlet_conn conn;
        uint64_t received; /* bytes, of a plain flow */
    } conns[CONNS_MAX];
    int open;
    uint64_t chance;
    uint8_t out[MESSAGE_MAX];
} run;

static void
look(int64_t sign)
{
    run.allocations += sign * allocations;
    run.heap_calls += sign * atomic_load(&run.side.heap.calls);
    run.locks += sign * locks;
}

/* After each message. */
static void
count(size_t len)
{
    const struct flow *f = run.flow;

    run.bytes += (int64_t)len;
    run.messages += f->is_framed;
    if (!f->is_framed)
        run.messages = run.bytes / f->size_min;
    if (run.is_over || run.messages < (run.is_inside ? run.window_end : f->settle))
        return;
    if (run.is_inside) {
        look(+1);
        run.windows++;
        run.is_over = (run.allocations == 0 && run.heap_calls == 0) || run.locks ||
                      run.windows == f->windows_max;
        if (run.is_over)
            return;
    }
    run.is_inside = true;
    run.window_end = run.messages + f->window;
    run.allocations = run.heap_calls = run.locks = 0;
    look(-1);
}

static bool
is_over(void *arg)
{
    (void)arg;
    return run.is_over || run.failed;
}

/* ---- the client ---- */

static void
send_one(outlet_conn c)
{
    const struct flow *f = run.flow;
    uint32_t len;

    run.chance = run.chance * 6364136223846793005u + 1442695040888963407u;
    len = f->size_min + (uint32_t)(run.chance >> 33) % (f->size_max - f->size_min + 1);
    run.failed += outlet_send(c, run.out, len) < 0;
}

static void
client_open(outlet_conn c, void *user)
{
    (void)c;
    (void)user;
    run.open++;
}

static void
client_message(outlet_conn c, outlet_msg *m, void *user)
{
    const struct flow *f = run.flow;
    uint64_t *received = user;
    uint64_t before = *received;
    uint64_t back = 1;
    size_t len;

    (void)outlet_msg_data(m, &len);
    *received += len;
    if (!f->is_framed)
        back = *received / f->size_min - before / f->size_min;
    count(len);
    for (; back; back--)
        send_one(c);
}

static void
client_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    (void)user;
    run.failed++;
}

static bool
all_open(void *arg)
{
    (void)arg;
    return run.open == run.flow->conns || run.failed;
}

static void
pump(int port)
{
    static const struct outlet_handlers on = {.size = sizeof on,
                                              .on_open = client_open,
                                              .on_message = client_message,
                                              .on_close = client_close};
    const struct flow *f = run.flow;
    struct outlet_opts opts = OUTLET_OPTS;
    char url[64];

    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    opts.on = &on;
    opts.frame = f->is_framed ? "len:4be" : NULL;
    for (int i = 0; i < f->conns; i++) {
        opts.user = &run.conns[i].received;
        run.failed += outlet_connect(run.side.loop, url, &opts, &run.conns[i].conn) != OUTLET_OK;
    }
    scale_side_until(&run.side, all_open, NULL);
    for (int i = 0; i < f->conns; i++) {
        for (int k = 0; k < f->in_flight; k++)
            send_one(run.conns[i].conn);
    }
    scale_side_until(&run.side, is_over, NULL);
}

/* Goes on after its own window is over until the server's is, too. */
static void
be_the_client(int control, const void *arg)
{
    if (!scale_side_open(&run.side, scale_driver, 0, control))
        return;
    run.flow = arg;
    if (scale_side_hear(&run.side)) {
        pump((int)run.side.word.n[0]);
        scale_say(control, &(struct scale_word){.n = {run.failed, run.messages, run.allocations,
                                                      run.heap_calls, run.locks, run.windows}});
        (void)scale_side_hear(&run.side); /* the server has seen enough */
    }
    scale_side_close(&run.side);
}

/* ---- the server ---- */

static struct scale_peer peers[FLOWS];

static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    run.failed += outlet_send(c, bytes, len) < 0;
    count(len);
}

/* Before there is any loop: each flow has a client of its own. */
static int
fork_clients(void **state)
{
    (void)state;
    for (int i = 0; i < FLOWS; i++) {
        peers[i] = scale_fork(be_the_client, &flows[i]);
        if (peers[i].pid < 0)
            return -1;
    }
    return 0;
}

static int
join_clients(void **state)
{
    int bad = 0;

    (void)state;
    for (int i = 0; i < FLOWS; i++) {
        if (peers[i].fd < 0)
            continue;
        kill(peers[i].pid, SIGKILL); /* a test has failed */
        bad += scale_join(&peers[i]) != 0;
    }
    return bad;
}

static void
check(const struct flow *f, struct scale_peer *peer)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};
    struct outlet_opts opts = OUTLET_OPTS;
    const int64_t *client = run.side.word.n;
    outlet_listener at;
    int port;

    memset(&run, 0, sizeof run);
    assert_true(scale_side_open(&run.side, scale_driver, 0, peer->fd));
    run.flow = f;
    opts.on = &on;
    opts.frame = f->is_framed ? "len:4be" : NULL;
    port = scale_listen(run.side.loop, "tcp://127.0.0.1:0", &opts, &at);
    assert_true(port > 0);
    scale_say(peer->fd, &(struct scale_word){.n = {port}});
    assert_true(scale_side_until(&run.side, is_over, NULL));
    assert_true(scale_side_hear(&run.side));
    printf("# %s, %lld messages: the server allocates or frees %lld times and locks %lld times "
           "(window %d), the client %lld and %lld (window %lld)\n",
           f->name, (long long)f->window, (long long)run.allocations, (long long)run.locks,
           run.windows, (long long)client[2], (long long)client[4], (long long)client[5]);
    assert_int_equal(run.failed, 0);
    assert_int_equal(client[0], 0);
    assert_true(run.messages >= f->settle + f->window);
    assert_true(client[1] >= f->settle + f->window);
    assert_int_equal(run.allocations, 0);
    assert_int_equal(run.heap_calls, 0);
    assert_int_equal(run.locks, 0);
    assert_int_equal(client[2], 0);
    assert_int_equal(client[3], 0);
    assert_int_equal(client[4], 0);
    scale_say(peer->fd, &(struct scale_word){0});
    scale_side_close(&run.side);
    assert_int_equal(scale_join(peer), 0);
    peer->fd = -1;
}

/* The counters count: else the zeros below would mean nothing. */
static void
counters_see_what_the_library_does(void **state)
{
    struct scale_heap heap = {0};
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    outlet_loop *loop;
    int64_t allocations_before = allocations;
    int64_t locks_before = locks;

    (void)state;
    opts.driver = scale_driver;
    opts.allocator = scale_heap_table(&heap);
    assert_int_equal(outlet_loop_new(&loop, &opts), OUTLET_OK);
    outlet_loop_free(loop);
    assert_true(allocations - allocations_before > 0);
    assert_true(locks - locks_before > 0);
    assert_true(atomic_load(&heap.calls) > 0);
    assert_int_equal(atomic_load(&heap.live), 0);
}

static void
a_steady_flow_allocates_and_locks_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < FLOWS; i++)
        check(&flows[i], &peers[i]);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_see_what_the_library_does),
        cmocka_unit_test(a_steady_flow_allocates_and_locks_nothing),
    };
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("steady", tests, fork_clients, join_clients);
}
