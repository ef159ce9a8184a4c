/*
 * driver_wake_test.c - waking a driver from other threads: the one call of it that any may make.
 *
 * Of its own, so that the checker for races looks at threads, not at all the tests of the drivers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct waker {
    const struct ol_driver_ops *ops;
    struct ol_budget *budget;
    struct ol_driver *d;
};

static int
open_driver(void **state)
{
    static struct waker one;
    static const struct ol_log log = {NULL, NULL};
    struct ol_driver_opts opts = {.log = &log};

    one = (struct waker){.ops = *state, .budget = ol_budget_new(&ol_heap_system, INT64_MAX)};
    opts.budget = one.budget;
    if (!one.budget)
        return -1;
    *state = &one;
    if (one.ops->open(&one.d, &opts) == 0)
        return 0;
    one.d = NULL;
    return one.ops == &ol_driver_uring ? 0 : -1; /* io_uring is not everywhere */
}

static int
close_driver(void **state)
{
    struct waker *w = *state;

    if (w->d)
        w->ops->free(w->d);
    ol_budget_unref(w->budget);
    return 0;
}

static int
wait(struct waker *w, ol_time until)
{
    struct ol_completion out[OL_BATCH_MAX];

    return w->ops->wait(w->d, until, out, OL_BATCH_MAX);
}

static void *
wake_it(void *arg)
{
    struct waker *w = arg;

    w->ops->wake(w->d);
    return NULL;
}

static void
a_wake_from_another_thread_ends_the_wait(void **state)
{
    struct waker *w = *state;

    if (!w->d)
        skip();
    for (int i = 0; i < 200; i++) {
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, wake_it, w), 0);
        assert_int_equal(wait(w, OL_NEVER), 0);
        pthread_join(t, NULL);
    }
}

static void
many_wakes_are_one(void **state)
{
    struct waker *w = *state;
    ol_time until;
    int waits = 0;

    if (!w->d)
        skip();
    for (int i = 0; i < 1000; i++) {
        w->ops->wake(w->d);
    }
    assert_int_equal(wait(w, OL_NEVER), 0);
    until = w->ops->now(w->d) + 20 * OL_MS;
    while (w->ops->now(w->d) < until) {
        assert_int_equal(wait(w, until), 0);
        waits++;
    }
    assert_in_range(waits, 1, 3);
}

#define ON_BOTH(f)                                                                      \
    {"epoll: " #f, f, open_driver, close_driver, (void *)(uintptr_t)&ol_driver_epoll},  \
    {                                                                                   \
        "uring: " #f, f, open_driver, close_driver, (void *)(uintptr_t)&ol_driver_uring \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_wake_from_another_thread_ends_the_wait),
        ON_BOTH(many_wakes_are_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
