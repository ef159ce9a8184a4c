/*
 * meet.c - see meet.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <time.h>

enum { MINUTE = 60 };

void
meet_init(struct meet *m)
{
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    m->count = 0;
}

void
meet_fini(struct meet *m)
{
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
}

void
meet_add(struct meet *m, int64_t n)
{
    pthread_mutex_lock(&m->lock);
    m->count += n;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

int64_t
meet_count(struct meet *m)
{
    int64_t count;

    pthread_mutex_lock(&m->lock);
    count = m->count;
    pthread_mutex_unlock(&m->lock);
    return count;
}

bool
meet_wait(struct meet *m, int64_t want)
{
    struct timespec until;
    bool reached;
    int sys = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MINUTE;
    pthread_mutex_lock(&m->lock);
    while (m->count < want && sys == 0) {
        sys = pthread_cond_timedwait(&m->changed, &m->lock, &until);
    }
    reached = m->count >= want;
    pthread_mutex_unlock(&m->lock);
    return reached;
}

int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

outlet_loop *
new_loop_with(void **state, struct outlet_loop_opts *o)
{
    outlet_loop *l = NULL;
    outlet_err err;

    o->driver = *state;
    err = outlet_loop_new(&l, o);
    if (err == OUTLET_ENOTSUP && strcmp(o->driver, "uring") == 0)
        skip();
    assert_int_equal(err, OUTLET_OK);
    return l;
}

outlet_loop *
new_loop(void **state, int64_t threads)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    o.threads = threads;
    return new_loop_with(state, &o);
}

outlet_listener
listen_at(outlet_loop *l, const char *url, const struct outlet_handlers *on, void *user, char *at)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener listener = {0};

    o.on = on;
    o.user = user;
    assert_int_equal(outlet_listen(l, url, &o, &listener), OUTLET_OK);
    assert_true(outlet_listener_info(listener, "url", at, 256) > 0);
    return listener;
}
