/*
 * mail_test.c - mail in order, retired memory and its visitors, alarms, and a reactor's place.
 *
 * Reactors are turned by hand here; only "hammer" tests have other threads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sched.h>
#include <stdlib.h>
#include <cmocka.h>

enum { THREADS = 4, MAILS = 2000 };

static struct ol_reactor *
open_loop(struct outlet_loop **l, const ol_heap *heap)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    o.driver = "epoll";
    if (heap)
        o.allocator = *heap;
    return outlet_loop_new(l, &o) == OUTLET_OK ? (*l)->reactors[0] : NULL;
}

static void
turn(struct ol_reactor *r)
{
    assert_int_equal(ol_reactor_turn(r, 0), 0);
}

/* ---- mail ---- */

struct letter {
    struct ol_mail mail;
    int from;
    int number;
};

static struct {
    int last[THREADS]; /* number seen last */
    int wrong;
    _Atomic int seen;
} inbox;

static void
read_letter(struct ol_reactor *r, struct ol_mail *m)
{
    struct letter *l = OL_CONTAINER(m, struct letter, mail);

    (void)r;
    if (l->number != inbox.last[l->from] + 1)
        inbox.wrong++;
    inbox.last[l->from] = l->number;
    inbox.seen++;
    free(l);
}

static bool
write_letter(struct ol_reactor *r, int from, int number)
{
    struct letter *l = malloc(sizeof *l);
    uint32_t epoch;

    if (!l)
        return false;
    *l = (struct letter){.mail.run = read_letter, .from = from, .number = number};
    if (!ol_enter(r->cell, &epoch)) {
        free(l);
        return false;
    }
    ol_post(r, &l->mail);
    ol_leave(r->cell, epoch);
    return true;
}

static void
mail_is_run_in_the_order_it_was_posted(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);

    (void)state;
    assert_non_null(r);
    memset(&inbox, 0, sizeof inbox);
    for (int i = 1; i <= 100; i++) {
        assert_true(write_letter(r, 0, i));
    }
    assert_int_equal(inbox.seen, 0); /* nothing runs on the poster's thread */
    turn(r);
    assert_int_equal(inbox.seen, 100);
    assert_int_equal(inbox.wrong, 0);
    outlet_loop_free(l);
}

struct again {
    struct ol_mail mail;
    int left;
};

static void
post_again(struct ol_reactor *r, struct ol_mail *m)
{
    struct again *a = OL_CONTAINER(m, struct again, mail);

    if (a->left-- > 0)
        ol_post(r, m);
}

/* Otherwise two connections that answer each other by mail would hold the reactor for ever. */
static void
mail_posted_by_mail_waits_for_the_next_turn(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct again a = {.mail.run = post_again, .left = 3};
    uint32_t epoch;

    (void)state;
    assert_ptr_equal(ol_enter(r->cell, &epoch), r);
    ol_post(r, &a.mail);
    ol_leave(r->cell, epoch);
    for (int left = 2; left >= -1; left--) {
        turn(r);
        assert_int_equal(a.left, left);
    }
    turn(r);
    assert_int_equal(a.left, -1);
    outlet_loop_free(l);
}

struct sender {
    struct ol_reactor *r;
    int me;
    bool failed;
    pthread_t thread;
};

static void *
send_all(void *arg)
{
    struct sender *s = arg;

    for (int i = 1; i <= MAILS; i++) {
        if (!write_letter(s->r, s->me, i))
            s->failed = true;
    }
    return NULL;
}

/* Waits without a limit, so that a wake-up that is lost hangs the test. */
static void
every_thread_s_mail_arrives_in_its_order_and_wakes(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct sender s[THREADS];

    (void)state;
    memset(&inbox, 0, sizeof inbox);
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct sender){.r = r, .me = i};
        assert_int_equal(pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
    }
    while (inbox.seen < THREADS * MAILS) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(s[i].thread, NULL);
        assert_false(s[i].failed);
        assert_int_equal(inbox.last[i], MAILS);
    }
    assert_int_equal(inbox.wrong, 0);
    outlet_loop_free(l);
}

static void
mail_that_waits_when_the_reactor_ends_is_run(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);

    (void)state;
    memset(&inbox, 0, sizeof inbox);
    for (int i = 1; i <= 10; i++) {
        assert_true(write_letter(r, 0, i));
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(inbox.seen, 10);
    assert_int_equal(inbox.wrong, 0);
}

/* ---- retired memory ---- */

struct thing {
    struct ol_retired retired;
    bool destroyed;
};

static void
destroy(struct ol_reactor *r, struct ol_retired *x)
{
    (void)r;
    OL_CONTAINER(x, struct thing, retired)->destroyed = true;
}

static void
nothing_is_destroyed_while_a_visitor_who_may_see_it_is_inside(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct thing t = {.destroyed = false};
    uint32_t epoch;

    (void)state;
    assert_ptr_equal(ol_enter(r->cell, &epoch), r);
    ol_retire(r, &t.retired, destroy);
    for (int i = 0; i < 10; i++) {
        turn(r);
        assert_false(t.destroyed);
    }
    ol_leave(r->cell, epoch);
    for (int i = 0; i < 3; i++) {
        turn(r);
    }
    assert_true(t.destroyed);
    outlet_loop_free(l);
}

static void
visitors_who_came_later_do_not_keep_it(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct thing t = {.destroyed = false};
    uint32_t before;
    uint32_t later;

    (void)state;
    assert_ptr_equal(ol_enter(r->cell, &before), r);
    ol_retire(r, &t.retired, destroy);
    turn(r); /* the epoch moves on */
    assert_ptr_equal(ol_enter(r->cell, &later), r);
    assert_int_not_equal(before, later);
    ol_leave(r->cell, before);
    turn(r);
    assert_true(t.destroyed);
    ol_leave(r->cell, later);
    outlet_loop_free(l);
}

/* Else a deadline would be left, and the kernel would set a timer for the next wait. */
static void
with_nobody_inside_it_is_destroyed_by_the_same_turn(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct thing t = {.destroyed = false};

    (void)state;
    ol_retire(r, &t.retired, destroy);
    turn(r);
    assert_true(t.destroyed);
    outlet_loop_free(l);
}

static void
what_is_retired_is_destroyed_without_any_event(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct thing t = {.destroyed = false};
    struct thing late = {.destroyed = false};

    (void)state;
    ol_retire(r, &t.retired, destroy);
    while (!t.destroyed) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0); /* a hang here is the failure */
    }
    ol_retire(r, &late.retired, destroy);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_true(late.destroyed);
}

struct box {
    struct ol_retired retired;
    _Atomic int value;
};

struct visitor {
    struct ol_cell *cell;
    _Atomic(struct box *) *shown;
    _Atomic bool *over;
    int mistakes;
    int64_t visits;
    pthread_t thread;
};

static void
break_box(struct ol_reactor *r, struct ol_retired *x)
{
    struct box *b = OL_CONTAINER(x, struct box, retired);

    (void)r;
    b->value = -1;
    free(b);
}

static void *
look_into_the_box(void *arg)
{
    struct visitor *v = arg;

    while (!atomic_load(v->over)) {
        uint32_t epoch;

        if (!ol_enter(v->cell, &epoch))
            continue;
        v->mistakes += (*v->shown)->value != 42;
        ol_leave(v->cell, epoch);
        v->visits++;
    }
    return NULL;
}

static struct box *
new_box(void)
{
    struct box *b = malloc(sizeof *b);

    if (b)
        b->value = 42;
    return b;
}

/* Sanitizers see it when a box is looked into after it was freed. */
static void
visitors_never_see_what_is_destroyed(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct visitor v[THREADS];
    _Atomic(struct box *) shown = new_box();
    _Atomic bool over = false;
    int mistakes = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        v[i] = (struct visitor){.cell = r->cell, .shown = &shown, .over = &over};
        assert_int_equal(pthread_create(&v[i].thread, NULL, look_into_the_box, &v[i]), 0);
    }
    for (int i = 0; i < 5000; i++) {
        struct box *old = shown;

        shown = new_box();
        ol_retire(r, &old->retired, break_box);
        turn(r);
        if (i % 64 == 0)
            sched_yield();
    }
    over = true;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(v[i].thread, NULL);
        mistakes += v[i].mistakes;
    }
    assert_int_equal(mistakes, 0);
    outlet_loop_free(l);
    free(shown);
}

/* ---- a reactor's place ---- */

static void
a_closed_cell_lets_nobody_in_and_is_used_again(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct ol_cell *c = r->cell;
    uint32_t index = c->index;
    uint32_t epoch;

    (void)state;
    assert_ptr_equal(ol_cell_at(index), c);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_null(ol_enter(c, &epoch));
    assert_int_equal(c->visitors[0] + c->visitors[1], 0);
    r = open_loop(&l, NULL);
    assert_int_equal(r->cell->index, index);
    outlet_loop_free(l);
}

static void
cells_that_were_never_made_are_not_there(void **state)
{
    (void)state;
    assert_null(ol_cell_at((1 << OL_CELL_BITS) - 1));
    assert_null(ol_cell_at(1 << OL_CELL_BITS));
    assert_null(ol_cell_at(UINT32_MAX));
}

static void
a_later_loop_in_the_same_cell_keeps_old_handles_stale(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    uint32_t cell = r->cell->index;
    uint32_t slot;
    uint32_t generation;
    void *hot;
    void *cold;
    uint64_t old;

    (void)state;
    assert_int_equal(ol_slot_take(&r->slots[OL_KIND_WATCH], &slot, &generation, &hot, &cold),
                     OUTLET_OK);
    old = ol_handle_pack((struct ol_handle){OL_KIND_WATCH, cell, slot, generation});
    ol_slot_publish(&r->slots[OL_KIND_WATCH], slot);
    assert_true(ol_handle_alive(old, OL_KIND_WATCH));
    ol_slot_hide(&r->slots[OL_KIND_WATCH], slot);
    outlet_loop_free(l);
    assert_false(ol_handle_alive(old, OL_KIND_WATCH));

    r = open_loop(&l, NULL);
    assert_int_equal(r->cell->index, cell);
    assert_false(ol_handle_alive(old, OL_KIND_WATCH));
    assert_int_equal(ol_slot_take(&r->slots[OL_KIND_WATCH], &slot, &generation, &hot, &cold),
                     OUTLET_OK);
    ol_slot_publish(&r->slots[OL_KIND_WATCH], slot);
    assert_false(ol_handle_alive(old, OL_KIND_WATCH));
    assert_true(ol_handle_alive(
        ol_handle_pack((struct ol_handle){OL_KIND_WATCH, cell, slot, generation}), OL_KIND_WATCH));
    ol_slot_hide(&r->slots[OL_KIND_WATCH], slot);
    outlet_loop_free(l);
}

/* ---- alarms ---- */

struct bell {
    struct ol_alarm alarm;
    int rings;
    ol_time at;
};

static void
ring(struct ol_reactor *r, struct ol_alarm *a)
{
    struct bell *b = OL_CONTAINER(a, struct bell, alarm);

    b->rings++;
    b->at = r->now;
}

static void
an_alarm_fires_once_and_never_early(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct bell b = {.alarm.fire = ring};
    ol_time due = r->now + 3 * OL_MS + 1;

    (void)state;
    ol_alarm_set(r, &b.alarm, due);
    while (!b.rings) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0);
    }
    assert_true(b.at >= due);
    for (int i = 0; i < 3; i++) {
        turn(r);
    }
    assert_int_equal(b.rings, 1);
    outlet_loop_free(l);
}

static void
an_alarm_that_was_cleared_is_silent(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct bell off = {.alarm.fire = ring};
    struct bell on = {.alarm.fire = ring};

    (void)state;
    ol_alarm_set(r, &off.alarm, r->now + OL_MS);
    ol_alarm_set(r, &on.alarm, r->now + 2 * OL_MS);
    ol_alarm_clear(r, &off.alarm);
    ol_alarm_clear(r, &off.alarm); /* twice is fine */
    while (!on.rings) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0);
    }
    assert_int_equal(off.rings, 0);
    outlet_loop_free(l);
}

static void
an_alarm_can_be_put_off_and_brought_forward(void **state)
{
    struct outlet_loop *l;
    struct ol_reactor *r = open_loop(&l, NULL);
    struct bell b = {.alarm.fire = ring};
    ol_time start = r->now;

    (void)state;
    ol_alarm_set(r, &b.alarm, start + OL_MS);
    ol_alarm_set(r, &b.alarm, start + 5 * OL_MS);
    while (!b.rings) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0);
    }
    assert_true(b.at >= start + 5 * OL_MS);
    ol_alarm_set(r, &b.alarm, r->now + 3600 * 1000 * OL_MS);
    ol_alarm_set(r, &b.alarm, r->now + OL_MS);
    while (b.rings < 2) {
        assert_int_equal(ol_reactor_turn(r, OL_NEVER), 0);
    }
    outlet_loop_free(l);
}

/* ---- public timers, with a clock that can be held ---- */

static void
count_call(outlet_timer t, void *arg)
{
    (void)t;
    ++*(int *)arg;
}

/* The reactor has its turn at that time and not before, as if it had been busy. */
static void
turn_at(struct ol_reactor *r, struct ol_sim *w, ol_time at)
{
    r->ops->arm(r->driver, OL_NEVER);
    assert_null(ol_sim_next(w, at));
    assert_true(ol_sim_now(w) == at);
    turn(r);
}

static void
a_late_call_does_not_shift_those_after_it(void **state)
{
    static const struct {
        int ms;
        int calls;
    } table[] = {{9, 0}, {13, 1}, {19, 1}, {20, 2}, {29, 2}, {55, 3}, {59, 3}, {60, 4}, {70, 5}};
    struct ol_sim *w = ol_sim_new(&ol_heap_system, 1, NULL);
    struct outlet_loop *l;
    struct ol_reactor *r;
    outlet_timer t;
    ol_time start;
    int calls = 0;

    (void)state;
    assert_non_null(w);
    assert_int_equal(ol_loop_new_in(&l, NULL, w), OUTLET_OK);
    r = l->reactors[0];
    start = ol_sim_now(w);
    assert_int_equal(outlet_timer_start(l, 10, 10, count_call, &calls, &t), OUTLET_OK);
    turn(r);
    for (size_t i = 0; i < OL_COUNT(table); i++) {
        turn_at(r, w, start + table[i].ms * OL_MS);
        assert_int_equal(calls, table[i].calls);
    }
    outlet_loop_free(l);
    ol_sim_free(w);
}

/* ---- memory ---- */

static void
nothing(void *arg)
{
    ++*(int *)arg;
}

static void
nothing_timer(outlet_timer t, void *arg)
{
    (void)t;
    (void)arg;
}

/* Each request in turn is refused, until a run in which none was. */
static void
a_loop_is_made_whole_or_not_at_all_when_memory_fails(void **state)
{
    struct failing_heap f;
    int ran = 0;
    int posted = 0;
    uint64_t n = 0;

    (void)state;
    do {
        struct outlet_loop *l = NULL;
        struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
        outlet_timer t = {0};
        outlet_err err;

        failing_heap_init(&f, ++n);
        o.allocator = f.heap;
        o.driver = "epoll";
        o.threads = 3;
        err = outlet_loop_new(&l, &o);
        if (err) {
            assert_int_equal(err, OUTLET_ENOMEM);
            assert_null(l);
        } else {
            err = outlet_post(l, nothing, &ran);
            assert_true(err == OUTLET_OK || err == OUTLET_ENOMEM);
            posted += err == OUTLET_OK;
            err = outlet_timer_start(l, 1000, 0, nothing_timer, NULL, &t);
            assert_true(err == OUTLET_OK || err == OUTLET_ENOMEM);
            assert_int_equal(t.id != 0, err == OUTLET_OK); /* an error writes nothing */
            assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        }
        assert_int_equal(failing_heap_live(&f), 0);
    } while (failing_heap_failed(&f));
    assert_true(n > 10);
    assert_int_equal(ran, posted);
}

static void
stopping_and_freeing_need_no_memory(void **state)
{
    struct failing_heap f;
    struct outlet_loop *l;
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    (void)state;
    failing_heap_init(&f, 0);
    o.allocator = f.heap;
    o.driver = "epoll";
    o.threads = 2;
    assert_int_equal(outlet_loop_new(&l, &o), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    failing_heap_exhaust(&f);
    assert_int_equal(outlet_loop_drain(l, 1000), OUTLET_OK);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK); /* a hang here is the failure */
    assert_int_equal(failing_heap_live(&f), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_is_run_in_the_order_it_was_posted),
        cmocka_unit_test(mail_posted_by_mail_waits_for_the_next_turn),
        cmocka_unit_test(every_thread_s_mail_arrives_in_its_order_and_wakes),
        cmocka_unit_test(mail_that_waits_when_the_reactor_ends_is_run),
        cmocka_unit_test(nothing_is_destroyed_while_a_visitor_who_may_see_it_is_inside),
        cmocka_unit_test(visitors_who_came_later_do_not_keep_it),
        cmocka_unit_test(with_nobody_inside_it_is_destroyed_by_the_same_turn),
        cmocka_unit_test(what_is_retired_is_destroyed_without_any_event),
        cmocka_unit_test(visitors_never_see_what_is_destroyed),
        cmocka_unit_test(a_closed_cell_lets_nobody_in_and_is_used_again),
        cmocka_unit_test(cells_that_were_never_made_are_not_there),
        cmocka_unit_test(a_later_loop_in_the_same_cell_keeps_old_handles_stale),
        cmocka_unit_test(an_alarm_fires_once_and_never_early),
        cmocka_unit_test(an_alarm_that_was_cleared_is_silent),
        cmocka_unit_test(an_alarm_can_be_put_off_and_brought_forward),
        cmocka_unit_test(a_late_call_does_not_shift_those_after_it),
        cmocka_unit_test(a_loop_is_made_whole_or_not_at_all_when_memory_fails),
        cmocka_unit_test(stopping_and_freeing_need_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
