/*
 * meet.h - what tests with several threads share: a place to wait for each other, and loops.
 *
 *     meet_add(&m, 1) in callbacks, meet_wait(&m, 3) in the test body
 *
 * Callbacks only count and record; the test body waits and asserts.  Nothing sleeps: a wait ends
 * when the number is reached, and after a minute the test has failed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MEET_H
#define MEET_H

#include <errno.h>
#include <outlet/outlet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct meet {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t count;
};

void meet_init(struct meet *m);
void meet_fini(struct meet *m);
void meet_add(struct meet *m, int64_t n);
int64_t meet_count(struct meet *m);
bool meet_wait(struct meet *m, int64_t want); /* until at least `want`; false: it never came */

int64_t now_ms(void); /* monotonic */

/* For calls whose answer may be anything. */
static inline void
ignore(int64_t answer)
{
    (void)answer;
}

/* A loop of the driver that the test was started for; where io_uring is missing, the test is
 * skipped. */
outlet_loop *new_loop(void **state, int64_t threads);
outlet_loop *new_loop_with(void **state, struct outlet_loop_opts *o); /* of that driver, too */

/* A listener at a port or path of its own; `url` takes where it is (room: 256). */
outlet_listener listen_at(outlet_loop *l, const char *url, const struct outlet_handlers *on,
                          void *user, char *at);

/* The test once for each driver. */
#define TWICE(test)                                                    \
    {"epoll: " #test, test, NULL, NULL, (void *)(uintptr_t) "epoll"},  \
    {                                                                  \
        "uring: " #test, test, NULL, NULL, (void *)(uintptr_t) "uring" \
    }

#endif
