/*
 * timers_test.c - public timers: never early, silent once stopped.
 *
 * How late a timer may be depends on the machine; how early does not.  Only the second is a
 * promise.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <time.h>

enum { MANY = 100000 };

struct shot {
    outlet_loop *loop;
    struct meet *fired;
    outlet_timer timer;
    int64_t due;   /* ns */
    int64_t early; /* the earliest, as ns before it was due; 0: never */
    int calls;
    int calls_max;
    int wrong_handle;
    outlet_err stop_answer;
    _Atomic bool stopped;
    int calls_after_stop;
};

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
fired(outlet_timer t, void *arg)
{
    struct shot *s = arg;
    int64_t early = s->due - now_ns();

    if (early > s->early)
        s->early = early;
    s->wrong_handle += t.id != s->timer.id;
    s->calls++;
    meet_add(s->fired, 1);
}

static outlet_err
shoot(outlet_loop *l, struct shot *s, struct meet *m, int64_t after_ms, int64_t repeat_ms,
      void (*fn)(outlet_timer t, void *arg))
{
    memset(s, 0, sizeof *s);
    s->loop = l;
    s->fired = m;
    s->due = now_ns() + after_ms * 1000000;
    return outlet_timer_start(l, after_ms, repeat_ms, fn, s, &s->timer);
}

static void
a_timer_fires_once_and_never_early(void **state)
{
    enum { N = 20 };
    outlet_loop *l = new_loop(state, 1);
    struct shot s[N];
    struct meet m;

    meet_init(&m);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(shoot(l, &s[i], &m, i, 0, fired), OUTLET_OK);
    }
    assert_true(meet_wait(&m, N));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(s[i].calls, 1);
        assert_int_equal(s[i].early, 0);
        assert_int_equal(s[i].wrong_handle, 0);
        assert_int_equal(outlet_timer_stop(s[i].timer), OUTLET_ESTALE);
    }
    meet_fini(&m);
}

/* The loop's own time stands still during a callback; the promise counts from the call. */
static void
start_after_work(void *arg)
{
    struct shot *s = arg;
    int64_t until = now_ns() + 20 * 1000000;

    while (now_ns() < until) {
    }
    ignore(shoot(s->loop, s, s->fired, 10, 0, fired));
}

static void
a_timer_that_a_slow_callback_starts_is_not_early(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct shot s = {.loop = l};
    struct meet m;

    meet_init(&m);
    s.fired = &m;
    assert_int_equal(outlet_post(l, start_after_work, &s), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&m, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(s.early, 0);
    meet_fini(&m);
}

/* The n-th call is due n repeats after the first. */
static void
fired_again(outlet_timer t, void *arg)
{
    struct shot *s = arg;
    int64_t early = s->due - now_ns();

    if (early > s->early)
        s->early = early;
    s->due += 3 * 1000000;
    if (++s->calls == s->calls_max) {
        s->stop_answer = outlet_timer_stop(t);
        meet_add(s->fired, 1);
    }
}

/* That a late call does not shift the next ones takes a clock that can be held: mail_test.c. */
static void
a_repeat_is_never_early(void **state)
{
    enum { N = 40 };
    outlet_loop *l = new_loop(state, 1);
    struct shot s;
    struct meet m;

    meet_init(&m);
    assert_int_equal(shoot(l, &s, &m, 3, 3, fired_again), OUTLET_OK);
    s.calls_max = N;
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&m, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(s.calls, N);
    assert_int_equal(s.early, 0);
    assert_int_equal(s.stop_answer, OUTLET_OK);
    meet_fini(&m);
}

static void
stop_in_callback(outlet_timer t, void *arg)
{
    struct shot *s = arg;

    if (++s->calls == 3) {
        s->stop_answer = outlet_timer_stop(t);
        s->wrong_handle = outlet_timer_stop(t) != OUTLET_ESTALE;
        meet_add(s->fired, 1);
    }
}

static void
count_one(outlet_timer t, void *arg)
{
    (void)t;
    meet_add(arg, 1);
}

static void
a_repeat_stopped_in_its_callback_is_silent(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct shot s;
    struct meet m;
    struct meet later;
    outlet_timer t;

    meet_init(&m);
    meet_init(&later);
    assert_int_equal(shoot(l, &s, &m, 1, 1, stop_in_callback), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&m, 1));
    assert_int_equal(outlet_timer_start(l, 20, 0, count_one, &later, &t), OUTLET_OK);
    assert_true(meet_wait(&later, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(s.calls, 3);
    assert_int_equal(s.stop_answer, OUTLET_OK);
    assert_int_equal(s.wrong_handle, 0);
    meet_fini(&m);
    meet_fini(&later);
}

/* Both are due in the same turn: the first one's stop must still reach the second. */
struct couple {
    struct shot shots[2];
};

static void
stop_the_other(outlet_timer t, void *arg)
{
    struct couple *c = arg;
    struct shot *me = &c->shots[t.id == c->shots[1].timer.id];
    struct shot *other = &c->shots[t.id != c->shots[1].timer.id];

    me->calls++;
    ignore(outlet_timer_stop(other->timer));
    other->stopped = true;
    me->calls_after_stop += me->stopped;
    meet_add(me->fired, 1);
}

static void
start_couple(void *arg)
{
    struct couple *c = arg;

    for (int i = 0; i < 2; i++) {
        ignore(outlet_timer_start(c->shots[i].loop, 5, 0, stop_the_other, c, &c->shots[i].timer));
    }
}

static void
on_its_own_reactor_a_stopped_timer_is_never_called(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct couple c;
    struct meet m;
    struct meet later;
    outlet_timer t;

    meet_init(&m);
    meet_init(&later);
    memset(&c, 0, sizeof c);
    for (int i = 0; i < 2; i++) {
        c.shots[i].loop = l;
        c.shots[i].fired = &m;
    }
    assert_int_equal(outlet_post(l, start_couple, &c), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&m, 1));
    assert_int_equal(outlet_timer_start(l, 20, 0, count_one, &later, &t), OUTLET_OK);
    assert_true(meet_wait(&later, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(c.shots[0].calls + c.shots[1].calls, 1);
    assert_int_equal(c.shots[0].calls_after_stop + c.shots[1].calls_after_stop, 0);
    meet_fini(&m);
    meet_fini(&later);
}

static void
note(void *arg)
{
    meet_add(arg, 1);
}

static void
a_timer_is_stopped_from_another_thread(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct shot s;
    struct meet m;
    struct meet taken;
    int calls;

    meet_init(&m);
    meet_init(&taken);
    assert_int_equal(shoot(l, &s, &m, 1, 1, fired), OUTLET_OK);
    s.due = 0;
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&m, 3));
    assert_int_equal(outlet_timer_stop(s.timer), OUTLET_OK);
    assert_int_equal(outlet_post(l, note, &taken), OUTLET_OK); /* what was posted before has run */
    assert_true(meet_wait(&taken, 1));
    calls = (int)meet_count(&m);
    assert_int_equal(outlet_timer_stop(s.timer), OUTLET_ESTALE);
    assert_int_equal(shoot(l, &s, &taken, 20, 0, fired), OUTLET_OK);
    assert_true(meet_wait(&taken, 2));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(meet_count(&m), calls);
    meet_fini(&m);
    meet_fini(&taken);
}

static void
wrong_times_are_refused_and_write_nothing(void **state)
{
    static const int64_t table[][2] = {
        {-1, 0},        {0, -1},        {INT64_MIN, 0},          {INT64_MAX, 0},
        {0, INT64_MAX}, {0, INT64_MIN}, {INT64_MAX / 1000000, 0}};
    outlet_loop *l = new_loop(state, 1);
    outlet_timer t = {0};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(outlet_timer_start(l, table[i][0], table[i][1], count_one, NULL, &t),
                         OUTLET_EINVAL);
    }
    assert_int_equal(outlet_timer_start(l, 1, 0, NULL, NULL, &t), OUTLET_EINVAL);
    assert_int_equal(outlet_timer_start(l, 1, 0, count_one, NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_timer_stop(t), OUTLET_ESTALE);
    assert_int_equal(t.id, 0);
    outlet_loop_free(l);
}

static void
a_hundred_thousand_timers_all_fire_but_those_that_were_stopped(void **state)
{
    static struct shot s[MANY];
    outlet_loop *l = new_loop(state, 1);
    struct meet m;
    int stopped = 0;

    meet_init(&m);
    for (int i = 0; i < MANY; i++) {
        /* Every fifth is far away, so that it is surely stopped in time. */
        assert_int_equal(shoot(l, &s[i], &m, i % 5 ? i % 97 : 3600 * 1000, 0, fired), OUTLET_OK);
    }
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < MANY; i += 5) {
        assert_int_equal(outlet_timer_stop(s[i].timer), OUTLET_OK);
        stopped++;
    }
    assert_true(meet_wait(&m, MANY - stopped));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(meet_count(&m), MANY - stopped);
    for (int i = 0; i < MANY; i++) {
        if (s[i].early || s[i].calls != (i % 5 != 0) || s[i].wrong_handle)
            fail_msg("timer %d: early %lld, called %d times", i, (long long)s[i].early, s[i].calls);
    }
    meet_fini(&m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(a_timer_fires_once_and_never_early),
        TWICE(a_timer_that_a_slow_callback_starts_is_not_early),
        TWICE(a_repeat_is_never_early),
        TWICE(a_repeat_stopped_in_its_callback_is_silent),
        TWICE(on_its_own_reactor_a_stopped_timer_is_never_called),
        TWICE(a_timer_is_stopped_from_another_thread),
        TWICE(wrong_times_are_refused_and_write_nothing),
        TWICE(a_hundred_thousand_timers_all_fire_but_those_that_were_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
