/*
 * embed_test.c - a loop inside somebody else's poll().
 *
 * The foreign loop sleeps in poll() without a limit and turns without waiting: whatever the
 * descriptor fails to tell hangs the test.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <poll.h>

enum { BYTES = 1 << 20, POSTS = 500 };

struct host {
    outlet_loop *loop;
    int fd;
    int posted;
    int ticks;
    int opened;
    int closed;
    int64_t bytes;
    int bad_ends;
    int64_t idle_polls; /* turns that poll() asked for */
    struct meet go;
};

static void
on_open(outlet_conn c, void *user)
{
    (void)c;
    ((struct host *)user)->opened++;
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;

    (void)c;
    (void)outlet_msg_data(m, &len);
    ((struct host *)user)->bytes += (int64_t)len;
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct host *h = user;

    (void)c;
    h->closed++;
    h->bad_ends += why->code != OUTLET_OK;
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_open = on_open,
                                                .on_message = on_message,
                                                .on_close = on_close};

static void
host_open(struct host *h, outlet_loop *l)
{
    memset(h, 0, sizeof *h);
    meet_init(&h->go);
    h->loop = l;
    h->fd = outlet_loop_fd(l);
}

/* Once around the foreign loop.  A minute is for ever. */
static bool
once(struct host *h)
{
    struct pollfd p = {.fd = h->fd, .events = POLLIN};

    if (poll(&p, 1, 60000) != 1)
        return false;
    h->idle_polls++;
    return outlet_loop_turn(h->loop, 0) == OUTLET_OK;
}

static bool
around(struct host *h, const int *what, int want)
{
    while (*what < want) {
        if (!once(h))
            return false;
    }
    return true;
}

static void
tick(outlet_timer t, void *arg)
{
    struct host *h = arg;

    (void)t;
    h->ticks++;
}

static void
timers_wake_a_foreign_loop(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct host h;
    outlet_timer t;
    int64_t began = now_ms();

    host_open(&h, l);
    assert_true(h.fd >= 0);
    assert_int_equal(outlet_timer_start(l, 20, 0, tick, &h, &t), OUTLET_OK);
    assert_int_equal(outlet_timer_start(l, 5, 5, tick, &h, &t), OUTLET_OK);
    assert_true(around(&h, &h.ticks, 8));
    assert_true(now_ms() - began >= 30);
    assert_true(h.idle_polls < 100); /* and not by turning round and round */
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&h.go);
}

static void
count_post(void *arg)
{
    ((struct host *)arg)->posted++;
}

static void *
post_many(void *arg)
{
    struct host *h = arg;

    meet_wait(&h->go, 1);
    for (int i = 0; i < POSTS; i++) {
        ignore(outlet_post(h->loop, count_post, h));
    }
    return NULL;
}

static void
posts_from_other_threads_wake_a_foreign_loop(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct host h;
    pthread_t t[2];

    host_open(&h, l);
    assert_int_equal(outlet_post(l, count_post, &h), OUTLET_OK);
    assert_true(around(&h, &h.posted, 1));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, post_many, &h), 0);
    }
    meet_add(&h.go, 1);
    assert_true(around(&h, &h.posted, 1 + 2 * POSTS));
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&h.go);
}

/* Posted before the descriptor was asked for. */
static void
what_waited_already_is_told(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct host h;

    memset(&h, 0, sizeof h);
    assert_int_equal(outlet_post(l, count_post, &h), OUTLET_OK);
    host_open(&h, l);
    assert_int_equal(outlet_loop_fd(l), h.fd); /* the same one again */
    assert_true(around(&h, &h.posted, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&h.go);
}

static void
connections_and_a_drain_in_a_foreign_loop(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "pair:embedded"};
    static char big[BYTES]; /* a test that is skipped leaves in the middle */

    for (size_t u = 0; u < 2; u++) {
        outlet_loop *l = new_loop(state, 1);
        struct outlet_opts o = OUTLET_OPTS;
        struct host h;
        outlet_conn c = {0};
        char at[256];

        host_open(&h, l);
        listen_at(l, urls[u], &handlers, &h, at);
        o.on = &handlers;
        o.user = &h;
        assert_int_equal(outlet_connect(l, at, &o, &c), OUTLET_OK);
        assert_true(around(&h, &h.opened, 2));
        for (int i = 0; i < 3; i++) {
            assert_true(outlet_send(c, big, BYTES) > 0);
        }
        while (h.bytes < 3 * BYTES) {
            assert_true(once(&h));
        }
        assert_int_equal(outlet_loop_drain(l, 0), OUTLET_OK);
        assert_true(around(&h, &h.closed, 2));
        assert_int_equal(h.bad_ends, 0);
        while (outlet_loop_turn(l, 0) == OUTLET_OK) {
        }
        assert_int_equal(outlet_loop_turn(l, 0), OUTLET_ESTATE);
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        meet_fini(&h.go);
    }
}

static void *
stop_it(void *arg)
{
    struct host *h = arg;

    meet_wait(&h->go, 1);
    ignore(outlet_loop_stop(h->loop));
    return NULL;
}

static void
a_stop_from_another_thread_wakes_a_foreign_loop(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct outlet_opts o = OUTLET_OPTS;
    struct host h;
    outlet_conn c = {0};
    char at[256];
    pthread_t t;

    host_open(&h, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &h, at);
    o.on = &handlers;
    o.user = &h;
    assert_int_equal(outlet_connect(l, at, &o, &c), OUTLET_OK);
    assert_true(around(&h, &h.opened, 2));
    assert_int_equal(pthread_create(&t, NULL, stop_it, &h), 0);
    meet_add(&h.go, 1);
    assert_true(around(&h, &h.closed, 2));
    pthread_join(t, NULL);
    assert_int_equal(h.bad_ends, 2);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&h.go);
}

static void
nothing_to_do_leaves_the_descriptor_silent(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct host h;
    struct pollfd p = {.events = POLLIN};
    outlet_timer t;
    int silent = 0;

    host_open(&h, l);
    assert_int_equal(outlet_timer_start(l, 3600 * 1000, 0, tick, &h, &t), OUTLET_OK);
    p.fd = h.fd;
    for (int i = 0; i < 50 && !silent; i++) {
        ignore(outlet_loop_turn(l, 0));
        silent = poll(&p, 1, 5) == 0;
    }
    assert_true(silent);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&h.go);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(timers_wake_a_foreign_loop),
        TWICE(posts_from_other_threads_wake_a_foreign_loop),
        TWICE(what_waited_already_is_told),
        TWICE(connections_and_a_drain_in_a_foreign_loop),
        TWICE(a_stop_from_another_thread_wakes_a_foreign_loop),
        TWICE(nothing_to_do_leaves_the_descriptor_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
