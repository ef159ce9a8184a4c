/*
 * timer_test.c - the wheel against a model that simply looks at every timer.
 *
 * The promises: never early, in the first run at or after the deadline, exactly once, in order;
 * next is never too late and always brings progress.  Time is an argument, so years take no time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define YEAR ((ol_time)365 * 24 * 3600 * 1000 * OL_MS)
#define TURN (((ol_time)1 << (OL_WHEEL_BITS * OL_WHEEL_LEVELS)) * OL_MS)

enum { TIMERS = 200, MILLION = 1000000 };

/* The moment from which a timer may fire: its deadline in whole milliseconds, rounded up. */
static ol_time
due_at(ol_time deadline)
{
    if (deadline > OL_NEVER - OL_MS)
        return OL_NEVER;
    return deadline <= 0 ? 0 : (deadline + OL_MS - 1) / OL_MS * OL_MS;
}

static ol_time
later(ol_time now, ol_time by)
{
    return by > OL_NEVER - now ? OL_NEVER : now + by;
}

static void
count(struct ol_timer *t, void *arg)
{
    (void)t;
    ++*(int *)arg;
}

/* Let time pass as a reactor does, from one next to another.  Answers how often, or -1 for a next
 * that brings nothing. */
static int
walk(struct ol_wheel *w, ol_time until, void (*fire)(struct ol_timer *t, void *arg), void *arg)
{
    ol_time last = -1;
    ol_time next;
    int steps = 0;

    while ((next = ol_wheel_next(w)) <= until && next != OL_NEVER) {
        if (next <= last)
            return -1;
        ol_wheel_run(w, next, fire, arg);
        last = next;
        steps++;
    }
    return steps;
}

static const ol_time starts[] = {
    0,
    1,
    5 * OL_MS,
    63 * OL_MS + 999999,
    64 * OL_MS,
    (262143 + 64) * OL_MS,
    1234567890123456789,
    TURN - OL_MS,
    TURN,
    TURN + OL_MS - 1,
    3 * TURN - 64 * OL_MS,
};

/* Fails unless a timer started at `now` for `deadline` fires exactly when it must. */
static void
check_one(ol_time now, ol_time deadline)
{
    ol_time due = due_at(deadline);
    struct ol_timer t = {0};
    struct ol_wheel w;
    int fired = 0;

    ol_wheel_init(&w, now);
    ol_timer_start(&w, &t, deadline);
    if (due > now)
        ol_wheel_run(&w, due - 1, count, &fired);
    if (fired != 0 || ol_wheel_next(&w) > (due > now ? due : now))
        fail_msg("early: start %lld, deadline %lld", (long long)now, (long long)deadline);
    ol_wheel_run(&w, due > now ? due : now, count, &fired);
    if (fired != 1 || ol_timer_running(&t) || ol_wheel_next(&w) != OL_NEVER)
        fail_msg("late: start %lld, deadline %lld", (long long)now, (long long)deadline);

    fired = 0;
    ol_wheel_init(&w, now);
    ol_timer_start(&w, &t, deadline);
    if (due > now && walk(&w, due - 1, count, &fired) > OL_WHEEL_LEVELS + (due - now) / TURN + 1)
        fail_msg("spins: start %lld, deadline %lld", (long long)now, (long long)deadline);
    if (fired != 0 || ol_wheel_next(&w) != (due > now ? due : now / OL_MS * OL_MS))
        fail_msg("walk: start %lld, deadline %lld", (long long)now, (long long)deadline);
}

static void
a_timer_fires_when_it_is_due_on_every_level(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(starts); i++) {
        for (int64_t ticks = 1; ticks < (int64_t)1 << 42; ticks *= 64) {
            for (int64_t around = -2; around <= 2; around++) {
                for (ol_time ns = -1; ns <= 1; ns++) {
                    if (ticks + around >= 0)
                        check_one(starts[i], later(starts[i], (ticks + around) * OL_MS + ns));
                }
            }
        }
        check_one(starts[i], later(starts[i], 3 * YEAR));
        check_one(starts[i], later(starts[i], 100 * YEAR));
        check_one(starts[i], starts[i]);
        check_one(starts[i], starts[i] / 2);
        check_one(starts[i], 0);
        check_one(starts[i], -5);
        check_one(starts[i], INT64_MIN);
    }
}

static void
a_wheel_without_timers_has_nothing_to_do(void **state)
{
    struct ol_wheel w;
    int fired = 0;

    (void)state;
    ol_wheel_init(&w, 17);
    assert_int_equal(ol_wheel_next(&w), OL_NEVER);
    ol_wheel_run(&w, 100 * YEAR, count, &fired);
    ol_wheel_run(&w, OL_NEVER, count, &fired);
    assert_int_equal(ol_wheel_next(&w), OL_NEVER);
    assert_int_equal(fired, 0);
}

static void
never_is_never(void **state)
{
    struct ol_timer t = {0};
    struct ol_wheel w;
    int fired = 0;

    (void)state;
    ol_wheel_init(&w, 0);
    ol_timer_start(&w, &t, OL_NEVER);
    assert_true(ol_timer_running(&t));
    ol_wheel_run(&w, 250 * YEAR, count, &fired);
    ol_wheel_run(&w, OL_NEVER, count, &fired);
    assert_int_equal(fired, 0);
    assert_int_equal(ol_wheel_next(&w), OL_NEVER);
    assert_true(ol_timer_running(&t));
    ol_timer_stop(&w, &t);
    assert_int_equal(w.count, 0);
}

static void
a_stopped_timer_does_not_fire_and_may_be_stopped_again(void **state)
{
    struct ol_timer t[3] = {{0}};
    struct ol_wheel w;
    int fired = 0;

    (void)state;
    ol_wheel_init(&w, 0);
    ol_timer_stop(&w, &t[0]);
    for (int i = 0; i < 3; i++) {
        ol_timer_start(&w, &t[i], 10 * OL_MS); /* one slot: first, middle and last of its list */
    }
    ol_timer_stop(&w, &t[1]);
    ol_timer_stop(&w, &t[1]);
    assert_false(ol_timer_running(&t[1]));
    assert_int_equal(ol_wheel_next(&w), 10 * OL_MS);
    ol_timer_stop(&w, &t[2]);
    ol_timer_stop(&w, &t[0]);
    assert_int_equal(ol_wheel_next(&w), OL_NEVER);
    ol_wheel_run(&w, YEAR, count, &fired);
    assert_int_equal(fired, 0);
    assert_int_equal(w.count, 0);
}

static void
restarting_moves_a_timer(void **state)
{
    struct ol_timer t = {0};
    struct ol_wheel w;
    int fired = 0;

    (void)state;
    ol_wheel_init(&w, 0);
    ol_timer_start(&w, &t, 10 * OL_MS);
    ol_timer_start(&w, &t, 5000 * OL_MS);
    assert_int_equal(w.count, 1);
    ol_wheel_run(&w, 4999 * OL_MS, count, &fired);
    assert_int_equal(fired, 0);
    ol_timer_start(&w, &t,
                   5 * OL_MS); /* already past: the next run, even in the same millisecond */
    assert_true(ol_wheel_next(&w) <= 4999 * OL_MS);
    ol_wheel_run(&w, 4999 * OL_MS + 1, count, &fired);
    assert_int_equal(fired, 1);
    ol_wheel_run(&w, YEAR, count, &fired);
    assert_int_equal(fired, 1);
}

static void
a_clock_that_goes_back_fires_nothing(void **state)
{
    struct ol_timer t = {0};
    struct ol_wheel w;
    int fired = 0;

    (void)state;
    ol_wheel_init(&w, 128 * OL_MS);
    ol_timer_start(&w, &t, 50 * OL_MS);
    ol_wheel_run(&w, 127 * OL_MS, count, &fired);
    assert_int_equal(fired, 0);
    assert_int_equal(ol_wheel_next(&w), 128 * OL_MS);
    ol_wheel_run(&w, 128 * OL_MS, count, &fired);
    assert_int_equal(fired, 1);
}

/* A timer that starts itself again at once. */
struct eager {
    struct ol_timer timer;
    struct ol_wheel *wheel;
    ol_time deadline;
    int fired;
};

static void
start_again(struct ol_timer *t, void *arg)
{
    struct eager *e = OL_CONTAINER(t, struct eager, timer);

    (void)arg;
    e->fired++;
    ol_timer_start(e->wheel, t, e->deadline);
}

static void
a_run_ends_although_timers_start_themselves_in_the_past(void **state)
{
    struct ol_wheel w;
    struct eager e[3] = {{.wheel = &w, .deadline = 0},
                         {.wheel = &w, .deadline = 60 * OL_MS},
                         {.wheel = &w, .deadline = 100 * OL_MS}};

    (void)state;
    ol_wheel_init(&w, 0);
    for (int i = 0; i < 3; i++) {
        ol_timer_start(&w, &e[i].timer, 50 * OL_MS);
    }
    for (int run = 1; run <= 5; run++) {
        ol_wheel_run(&w, 100 * OL_MS, start_again, NULL);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(e[i].fired, run);
        }
        assert_true(ol_wheel_next(&w) <= 100 * OL_MS);
    }
}

/* Timers in memory that is freed while others fire. */
struct crowd {
    struct ol_wheel wheel;
    struct ol_timer *timers[TIMERS];
    int freed;
};

static void
free_some(struct ol_timer *t, void *arg)
{
    struct crowd *c = arg;
    int victims = 3;

    for (int i = 0; i < TIMERS; i++) {
        bool own = c->timers[i] == t;

        if (!c->timers[i] || (!own && victims == 0))
            continue;
        if (!own) {
            victims--;
            ol_timer_stop(&c->wheel, c->timers[i]);
        }
        free(c->timers[i]);
        c->timers[i] = NULL;
        c->freed++;
    }
}

static void
timers_may_be_freed_while_others_fire(void **state)
{
    struct crowd c = {.freed = 0};

    (void)state;
    ol_wheel_init(&c.wheel, 0);
    for (int i = 0; i < TIMERS; i++) {
        c.timers[i] = calloc(1, sizeof *c.timers[i]);
        assert_non_null(c.timers[i]);
        ol_timer_start(&c.wheel, c.timers[i], (i * 7 % 90) * OL_MS);
    }
    ol_wheel_run(&c.wheel, 50 * OL_MS, free_some, &c);
    ol_wheel_run(&c.wheel, 100 * OL_MS, free_some, &c);
    assert_int_equal(c.freed, TIMERS);
    assert_int_equal(c.wheel.count, 0);
    assert_int_equal(ol_wheel_next(&c.wheel), OL_NEVER);
}

/* The model: what each timer should be doing. */
struct item {
    struct ol_timer timer;
    ol_time deadline;
    ol_time due; /* not before the wheel's own time: decides the order */
    bool running;
    bool fresh; /* started while timers fire: not before the next run */
    int fired;  /* in this run */
};

struct world {
    struct ol_wheel wheel;
    struct item items[TIMERS];
    struct ol_rng rng;
    ol_time now;
    ol_time last_due;
    bool firing;
    bool meddle; /* fire starts and stops timers at random */
    uint64_t fired;
    const char *wrong;
};

/* Any magnitude from nanoseconds to centuries, sometimes the past, seldom never. */
static ol_time
random_deadline(struct world *w)
{
    uint64_t kind = ol_rng_below(&w->rng, 40);
    ol_time ahead = (ol_time)ol_rng_below(&w->rng, (uint64_t)1 << ol_rng_below(&w->rng, 63));

    if (kind == 0)
        return OL_NEVER;
    if (kind < 4)
        return w->now - ahead;
    if (kind < 20)
        ahead %= 1000 * OL_MS; /* crowd the lower levels */
    return later(w->now, ahead);
}

static void
start_item(struct world *w, struct item *i)
{
    ol_time wheel_time = w->wheel.tick * OL_MS;

    i->deadline = random_deadline(w);
    i->due = due_at(i->deadline);
    if (i->due < wheel_time)
        i->due = wheel_time;
    i->running = true;
    i->fresh = w->firing;
    ol_timer_start(&w->wheel, &i->timer, i->deadline);
}

static void
stop_item(struct world *w, struct item *i)
{
    i->running = false;
    ol_timer_stop(&w->wheel, &i->timer);
}

static void
start_or_stop(struct world *w, struct item *i)
{
    if (ol_rng_below(&w->rng, 3) == 0) {
        stop_item(w, i);
    } else {
        start_item(w, i);
    }
}

static struct item *
any_item(struct world *w)
{
    return &w->items[ol_rng_below(&w->rng, TIMERS)];
}

static void
on_fire(struct ol_timer *t, void *arg)
{
    struct world *w = arg;
    struct item *i = OL_CONTAINER(t, struct item, timer);

    if (!i->running || i->fresh)
        w->wrong = "fired a timer that was stopped or has just been started";
    if (ol_timer_running(t))
        w->wrong = "is still running while it fires";
    if (i->due > w->now || i->deadline > w->now)
        w->wrong = "early";
    if (i->due < w->last_due)
        w->wrong = "out of order";
    w->last_due = i->due;
    w->fired++;
    i->running = false;
    if (++i->fired > 1)
        w->wrong = "fired twice";
    if (w->meddle) {
        for (uint64_t n = ol_rng_below(&w->rng, 4); n > 0; n--) {
            start_or_stop(w, ol_rng_below(&w->rng, 3) == 0 ? i : any_item(w));
        }
    }
}

/* Answers what is wrong between two runs; NULL: nothing. */
static const char *
compare(struct world *w)
{
    ol_time next = ol_wheel_next(&w->wheel);
    ol_time first = OL_NEVER;
    size_t running = 0;

    for (int k = 0; k < TIMERS; k++) {
        struct item *i = &w->items[k];

        if (ol_timer_running(&i->timer) != i->running)
            return "another idea of who is running";
        running += i->running;
        if (i->running && i->due < first)
            first = i->due;
        if (i->running && !i->fresh && i->due <= w->now && w->firing)
            return "late";
    }
    if (w->wheel.count != running)
        return "wrong count";
    if (w->wheel.tick != w->now / OL_MS)
        return "the wheel's time stood still";
    if (running == 0 && next != OL_NEVER)
        return "something to do for nobody";
    if (next > first)
        return "next is too late";
    return w->wrong;
}

static const char *
run_world(struct world *w, ol_time now)
{
    const char *wrong;

    for (int k = 0; k < TIMERS; k++) {
        w->items[k].fresh = false;
        w->items[k].fired = 0;
    }
    w->now = now;
    w->last_due = 0;
    w->firing = true;
    ol_wheel_run(&w->wheel, now, on_fire, w);
    wrong = compare(w);
    w->firing = false;
    return wrong;
}

/* The next moment to look at: just before, at or after something happens, or anywhere. */
static ol_time
random_moment(struct world *w)
{
    ol_time next = ol_wheel_next(&w->wheel);
    uint64_t kind = ol_rng_below(&w->rng, 100);
    ol_time then = w->now;

    if (kind < 30 && next != OL_NEVER) {
        then = next;
    } else if (kind < 40 && next != OL_NEVER) {
        then = next - 1;
    } else if (kind < 99) {
        then += (ol_time)ol_rng_below(&w->rng, (uint64_t)1 << ol_rng_below(&w->rng, 44));
    } else {
        then += (ol_time)ol_rng_below(&w->rng, (uint64_t)1 << ol_rng_below(&w->rng, 58));
    }
    return then < w->now || then > OL_NEVER - YEAR ? w->now : then;
}

static uint64_t
live_through(uint64_t seed, bool meddle, int moments)
{
    static struct world w;
    const char *wrong;

    memset(&w, 0, sizeof w);
    w.meddle = meddle;
    ol_rng_seed(&w.rng, seed);
    w.now = (ol_time)ol_rng_below(&w.rng, (uint64_t)1 << ol_rng_below(&w.rng, 62));
    ol_wheel_init(&w.wheel, w.now);
    for (int i = 0; i < moments; i++) {
        for (uint64_t n = ol_rng_below(&w.rng, 8); n > 0; n--) {
            start_or_stop(&w, any_item(&w));
        }
        wrong = compare(&w);
        if (!wrong)
            wrong = run_world(&w, random_moment(&w));
        if (wrong)
            fail_msg("seed %llu, moment %d: %s", (unsigned long long)seed, i, wrong);
    }
    return w.fired;
}

static void
random_lives_go_as_the_model_says(void **state)
{
    uint64_t fired = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        fired += live_through(seed, false, 3000);
    }
    assert_true(fired > 100000);
}

static void
random_lives_go_as_the_model_says_when_fire_meddles(void **state)
{
    uint64_t fired = 0;

    (void)state;
    for (uint64_t seed = 100; seed < 140; seed++) {
        fired += live_through(seed, true, 3000);
    }
    assert_true(fired > 100000);
}

static void
one_run_over_centuries_fires_everything_in_order(void **state)
{
    static struct world w;

    (void)state;
    memset(&w, 0, sizeof w);
    ol_rng_seed(&w.rng, 5);
    ol_wheel_init(&w.wheel, 0);
    for (int k = 0; k < TIMERS; k++) {
        start_item(&w, &w.items[k]);
    }
    assert_null(run_world(&w, 290 * YEAR));
    assert_true(w.fired > TIMERS * 3 / 4);
}

/* A million timers over an hour, every third one stopped again. */
struct million {
    struct ol_timer *timers;
    ol_time now;
    ol_time last;
    int fired;
    int wrong;
};

static void
on_million(struct ol_timer *t, void *arg)
{
    struct million *m = arg;

    m->wrong += due_at(t->deadline) > m->now || due_at(t->deadline) < m->last;
    m->wrong += (t - m->timers) % 3 == 0;
    m->last = due_at(t->deadline);
    m->fired++;
}

static void
a_million_timers_fire_in_order(void **state)
{
    struct million m = {.timers = calloc(MILLION, sizeof *m.timers)};
    const int kept = MILLION - (MILLION + 2) / 3;
    struct ol_wheel w;
    struct ol_rng rng;
    ol_time next;

    (void)state;
    assert_non_null(m.timers);
    ol_rng_seed(&rng, 6);
    ol_wheel_init(&w, 0);
    for (int i = 0; i < MILLION; i++) {
        ol_timer_start(&w, &m.timers[i], (ol_time)ol_rng_below(&rng, 3600 * 1000 * OL_MS));
    }
    assert_int_equal(w.count, MILLION);
    for (int i = 0; i < MILLION; i += 3) {
        ol_timer_stop(&w, &m.timers[i]);
    }
    while ((next = ol_wheel_next(&w)) != OL_NEVER) {
        assert_true(next > m.now || next == 0);
        m.now = next;
        ol_wheel_run(&w, next, on_million, &m);
    }
    assert_int_equal(m.wrong, 0);
    assert_int_equal(m.fired, kept);
    assert_int_equal(w.count, 0);
    free(m.timers);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_when_it_is_due_on_every_level),
        cmocka_unit_test(a_wheel_without_timers_has_nothing_to_do),
        cmocka_unit_test(never_is_never),
        cmocka_unit_test(a_stopped_timer_does_not_fire_and_may_be_stopped_again),
        cmocka_unit_test(restarting_moves_a_timer),
        cmocka_unit_test(a_clock_that_goes_back_fires_nothing),
        cmocka_unit_test(a_run_ends_although_timers_start_themselves_in_the_past),
        cmocka_unit_test(timers_may_be_freed_while_others_fire),
        cmocka_unit_test(random_lives_go_as_the_model_says),
        cmocka_unit_test(random_lives_go_as_the_model_says_when_fire_meddles),
        cmocka_unit_test(one_run_over_centuries_fires_everything_in_order),
        cmocka_unit_test(a_million_timers_fire_in_order),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
