/*
 * life_test.c - run, start, turn, stop, drain and free: in every order, from every place.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <unistd.h>

enum { BIG = 4 << 20 };

/* What callbacks saw. */
struct seen {
    struct meet opened;
    struct meet closed;
    struct meet bytes;
    outlet_loop *loop;
    _Atomic int free_answer;
    _Atomic int stop_answer;
    _Atomic int run_answer;
    _Atomic int code; /* of the last close */
};

static void
seen_init(struct seen *s, outlet_loop *l)
{
    memset(s, 0, sizeof *s);
    meet_init(&s->opened);
    meet_init(&s->closed);
    meet_init(&s->bytes);
    s->loop = l;
}

static void
seen_fini(struct seen *s)
{
    meet_fini(&s->opened);
    meet_fini(&s->closed);
    meet_fini(&s->bytes);
}

static void
on_open(outlet_conn c, void *user)
{
    struct seen *s = user;

    (void)c;
    meet_add(&s->opened, 1);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct seen *s = user;
    size_t len;

    (void)c;
    (void)outlet_msg_data(m, &len);
    meet_add(&s->bytes, (int64_t)len);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct seen *s = user;

    (void)c;
    s->code = (int)why->code;
    meet_add(&s->closed, 1);
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_open = on_open,
                                                .on_message = on_message,
                                                .on_close = on_close};

static outlet_conn
connect_to(outlet_loop *l, const char *url, struct seen *s)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_conn c = {0};

    o.on = &handlers;
    o.user = s;
    assert_int_equal(outlet_connect(l, url, &o, &c), OUTLET_OK);
    return c;
}

/* ---- options ---- */

static void *
some_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void *
some_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    return realloc(p, size);
}

static void
some_release(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

static void
an_allocator_is_given_whole_or_not_at_all(void **state)
{
    for (int given = 0; given < 8; given++) {
        struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
        outlet_loop *l = NULL;
        outlet_err err;

        o.driver = *state;
        o.allocator.alloc = given & 1 ? some_alloc : NULL;
        o.allocator.resize = given & 2 ? some_resize : NULL;
        o.allocator.release = given & 4 ? some_release : NULL;
        err = outlet_loop_new(&l, &o);
        if (err == OUTLET_ENOTSUP)
            skip();
        assert_int_equal(err, given == 0 || given == 7 ? OUTLET_OK : OUTLET_EINVAL);
        assert_int_equal(l != NULL, err == OUTLET_OK);
        outlet_loop_free(l);
    }
}

static void
options_of_a_wrong_size_or_value_are_refused(void **state)
{
    static const struct {
        size_t size;
        int64_t threads;
        int64_t memory_max;
        const char *driver;
        outlet_err want;
    } table[] = {
        {0, 0, 0, NULL, OUTLET_EINVAL},
        {sizeof(size_t) - 1, 0, 0, NULL, OUTLET_EINVAL},
        {sizeof(size_t), 0, 0, NULL, OUTLET_OK}, /* from a time when there were no options */
        {sizeof(struct outlet_loop_opts), 0, 0, NULL, OUTLET_OK},
        {sizeof(struct outlet_loop_opts) + 1, 0, 0, NULL, OUTLET_EINVAL},
        {SIZE_MAX, 0, 0, NULL, OUTLET_EINVAL},
        {sizeof(struct outlet_loop_opts), -2, 0, NULL, OUTLET_EINVAL},
        {sizeof(struct outlet_loop_opts), INT64_MAX, 0, NULL, OUTLET_EINVAL},
        {sizeof(struct outlet_loop_opts), 2, 0, NULL, OUTLET_OK},
        {sizeof(struct outlet_loop_opts), 0, -2, NULL, OUTLET_EINVAL},
        {sizeof(struct outlet_loop_opts), 0, OUTLET_OFF, NULL, OUTLET_OK},
        {sizeof(struct outlet_loop_opts), 0, 0, "kqueue", OUTLET_EINVAL},
        {sizeof(struct outlet_loop_opts), 0, 0, "", OUTLET_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
        outlet_loop *l = NULL;

        o.size = table[i].size;
        o.threads = table[i].threads;
        o.memory_max = table[i].memory_max;
        o.driver = table[i].driver;
        assert_int_equal(outlet_loop_new(&l, &o), table[i].want);
        outlet_loop_free(l);
    }
    assert_int_equal(outlet_loop_new(NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_loop_free(NULL), OUTLET_OK);
}

static void
count_thread(void *arg)
{
    meet_add(arg, 1);
}

static void
per_core_makes_a_reactor_for_each(void **state)
{
    outlet_loop *l = new_loop(state, OUTLET_PER_CORE);
    struct meet ran;

    meet_init(&ran);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_int_equal(outlet_post(l, count_thread, &ran), OUTLET_OK);
    assert_true(meet_wait(&ran, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&ran);
}

/* ---- stop ---- */

static void
stop_here(void *arg)
{
    struct seen *s = arg;

    s->stop_answer = outlet_loop_stop(s->loop);
}

static void
a_loop_is_stopped_from_a_callback(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct seen s;

    seen_init(&s, l);
    s.stop_answer = 99;
    assert_int_equal(outlet_post(l, stop_here, &s), OUTLET_OK);
    assert_int_equal(outlet_loop_run(l), OUTLET_OK);
    assert_int_equal(s.stop_answer, OUTLET_OK);
    assert_int_equal(outlet_loop_stop(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_drain(l, 0), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_run(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_start(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_turn(l, 0), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_fd(l), OUTLET_ESTATE);
    assert_int_equal(outlet_post(l, stop_here, &s), OUTLET_ESTATE);
    outlet_loop_free(l);
    seen_fini(&s);
}

static void *
stop_from_there(void *arg)
{
    struct seen *s = arg;

    meet_wait(&s->opened, 1);
    s->stop_answer = outlet_loop_stop(s->loop);
    return NULL;
}

static void
note_running(void *arg)
{
    struct seen *s = arg;

    meet_add(&s->opened, 1);
}

static void
a_running_loop_is_stopped_from_another_thread(void **state)
{
    for (int64_t threads = 1; threads <= 3; threads++) {
        outlet_loop *l = new_loop(state, threads);
        struct seen s;
        pthread_t t;

        seen_init(&s, l);
        s.stop_answer = 99;
        assert_int_equal(outlet_post(l, note_running, &s), OUTLET_OK);
        assert_int_equal(pthread_create(&t, NULL, stop_from_there, &s), 0);
        assert_int_equal(outlet_loop_run(l), OUTLET_OK);
        pthread_join(t, NULL);
        assert_int_equal(s.stop_answer, OUTLET_OK);
        outlet_loop_free(l);
        seen_fini(&s);
    }
}

static void
stopping_tells_every_connection(void **state)
{
    enum { N = 20 };
    outlet_loop *l = new_loop(state, 2);
    char at[256];
    struct seen s;

    seen_init(&s, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        connect_to(l, at, &s);
    }
    assert_true(meet_wait(&s.opened, 2 * N));
    assert_int_equal(outlet_loop_stop(l), OUTLET_OK);
    assert_true(meet_wait(&s.closed, 2 * N));
    assert_int_equal(s.code, OUTLET_ECANCELED);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(meet_count(&s.closed), 2 * N);
    seen_fini(&s);
}

static void
a_stopped_loop_is_not_run(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    char at[256];
    struct seen s;

    seen_init(&s, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    connect_to(l, at, &s);
    assert_int_equal(outlet_loop_stop(l), OUTLET_OK);
    assert_int_equal(outlet_loop_stop(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_run(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_start(l), OUTLET_ESTATE);
    assert_int_equal(meet_count(&s.closed), 0);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(meet_count(&s.closed), 1);
    seen_fini(&s);
}

static void
a_stopped_loop_is_turned_to_its_end(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    char at[256];
    struct seen s;
    int turns = 0;
    outlet_err err;

    seen_init(&s, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    connect_to(l, at, &s);
    while (meet_count(&s.opened) < 2) {
        assert_int_equal(outlet_loop_turn(l, -1), OUTLET_OK);
    }
    assert_int_equal(outlet_loop_stop(l), OUTLET_OK);
    do {
        err = outlet_loop_turn(l, 1000);
    } while (err == OUTLET_OK && ++turns < 1000);
    assert_int_equal(err, OUTLET_ESTATE);
    assert_int_equal(meet_count(&s.closed), 2);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    seen_fini(&s);
}

/* ---- run, start and turn exclude each other ---- */

static void
run_here(void *arg)
{
    struct seen *s = arg;

    s->run_answer = outlet_loop_run(s->loop);
    s->stop_answer = outlet_loop_turn(s->loop, 0);
    s->free_answer = outlet_loop_free(s->loop);
    meet_add(&s->opened, 1);
}

static void
what_would_wait_for_itself_is_refused_in_a_callback(void **state)
{
    outlet_loop *l = new_loop(state, 2);
    struct seen s;

    seen_init(&s, l);
    assert_int_equal(outlet_post(l, run_here, &s), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 1));
    assert_int_equal(s.run_answer, OUTLET_EDEADLK);
    assert_int_equal(s.stop_answer, OUTLET_EDEADLK);
    assert_int_equal(s.free_answer, OUTLET_EDEADLK);
    assert_int_equal(outlet_loop_start(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_run(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_turn(l, 0), OUTLET_ENOTSUP); /* two reactors */
    assert_int_equal(outlet_loop_fd(l), OUTLET_ENOTSUP);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    seen_fini(&s);
}

static void *
turn_from_there(void *arg)
{
    struct seen *s = arg;

    s->run_answer = outlet_loop_turn(s->loop, 0);
    s->free_answer = outlet_loop_free(s->loop);
    return NULL;
}

static void
only_the_thread_that_turns_a_loop_turns_and_frees_it(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct seen s;
    pthread_t t;

    seen_init(&s, l);
    assert_int_equal(outlet_loop_turn(l, 0), OUTLET_OK);
    assert_int_equal(pthread_create(&t, NULL, turn_from_there, &s), 0);
    pthread_join(t, NULL);
    assert_int_equal(s.run_answer, OUTLET_ESTATE);
    assert_int_equal(s.free_answer, OUTLET_ETHREAD);
    assert_int_equal(outlet_loop_start(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_run(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_fd(l), OUTLET_ESTATE);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    seen_fini(&s);
}

static void *
race_to_turn(void *arg)
{
    struct seen *s = arg;

    for (int i = 0; i < 100; i++) {
        if (outlet_loop_turn(s->loop, 0) == OUTLET_OK) {
            s->run_answer = 1;
            break;
        }
    }
    meet_add(&s->opened, 1);
    if (meet_wait(&s->closed, 1) && s->run_answer && outlet_loop_free(s->loop) == OUTLET_OK)
        s->free_answer = 1;
    return NULL;
}

static void
of_two_threads_one_becomes_the_turner(void **state)
{
    for (int i = 0; i < 20; i++) {
        outlet_loop *l = new_loop(state, 1);
        struct seen s[2];
        pthread_t t[2];

        for (int k = 0; k < 2; k++) {
            seen_init(&s[k], l);
        }
        for (int k = 0; k < 2; k++) {
            assert_int_equal(pthread_create(&t[k], NULL, race_to_turn, &s[k]), 0);
        }
        for (int k = 0; k < 2; k++) {
            assert_true(meet_wait(&s[k].opened, 1));
        }
        for (int k = 0; k < 2; k++) {
            meet_add(&s[k].closed, 1);
        }
        for (int k = 0; k < 2; k++) {
            pthread_join(t[k], NULL);
        }
        assert_int_equal(s[0].run_answer + s[1].run_answer, 1);
        assert_int_equal(s[0].free_answer + s[1].free_answer, 1);
        for (int k = 0; k < 2; k++) {
            seen_fini(&s[k]);
        }
    }
}

/* ---- free ---- */

static void
a_loop_that_never_ran_is_freed_with_all_that_hangs_off_it(void **state)
{
    for (int64_t threads = 1; threads <= 3; threads++) {
        outlet_loop *l = new_loop(state, threads);
        char at[256];
        struct seen s;

        seen_init(&s, l);
        listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
        connect_to(l, at, &s);
        connect_to(l, "tcp://127.0.0.1:1", &s);
        assert_int_equal(outlet_post(l, count_thread, &s.opened), OUTLET_OK);
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        assert_int_equal(meet_count(&s.closed), 2);
        assert_int_equal(meet_count(&s.opened),
                         1); /* the post, so that its argument can be freed */
        seen_fini(&s);
    }
}

static void
a_started_loop_at_work_is_freed(void **state)
{
    outlet_loop *l = new_loop(state, 2);
    char at[256];
    struct seen s;
    static char big[65536];

    seen_init(&s, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < 8; i++) {
        outlet_conn c = connect_to(l, at, &s);

        for (int k = 0; k < 20; k++) {
            assert_true(outlet_send(c, big, sizeof big) > 0);
        }
    }
    assert_true(meet_wait(&s.bytes, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(meet_count(&s.closed) >= 8, 1);
    seen_fini(&s);
}

static void *
run_there(void *arg)
{
    struct seen *s = arg;

    s->run_answer = outlet_loop_run(s->loop);
    return NULL;
}

static void
freeing_waits_for_a_run_on_another_thread(void **state)
{
    for (int i = 0; i < 20; i++) {
        outlet_loop *l = new_loop(state, 1 + i % 2);
        struct seen s;
        pthread_t t;

        seen_init(&s, l);
        s.run_answer = 99;
        assert_int_equal(outlet_post(l, note_running, &s), OUTLET_OK);
        assert_int_equal(pthread_create(&t, NULL, run_there, &s), 0);
        assert_true(meet_wait(&s.opened, 1));
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        pthread_join(t, NULL);
        assert_int_equal(s.run_answer, OUTLET_OK);
        seen_fini(&s);
    }
}

struct two {
    outlet_loop *other;
    struct seen *seen;
};

static void
free_the_other(void *arg)
{
    struct two *t = arg;

    t->seen->free_answer = outlet_loop_free(t->other);
    meet_add(&t->seen->opened, 1);
}

static void
a_loop_is_freed_in_a_callback_of_another(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    outlet_loop *idle = new_loop(state, 1);
    outlet_loop *busy = new_loop(state, 2);
    char at[256];
    struct seen s;
    struct two a = {idle, &s};
    struct two b = {busy, &s};

    seen_init(&s, l);
    s.free_answer = 99;
    listen_at(idle, "tcp://127.0.0.1:0", &handlers, &s, at);
    connect_to(idle, at, &s);
    assert_int_equal(outlet_loop_start(busy), OUTLET_OK);
    assert_int_equal(outlet_post(l, free_the_other, &a), OUTLET_OK);
    assert_int_equal(outlet_post(l, free_the_other, &b), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 2));
    assert_int_equal(s.free_answer, OUTLET_OK);
    assert_int_equal(meet_count(&s.closed), 1);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    seen_fini(&s);
}

/* ---- drain ---- */

static void
draining_nothing_ends_at_once(void **state)
{
    for (int i = 0; i < 60; i++) {
        outlet_loop *l = new_loop(state, 1 + i % 3);
        struct seen s;
        pthread_t t;

        seen_init(&s, l);
        s.run_answer = 99;
        assert_int_equal(pthread_create(&t, NULL, run_there, &s), 0);
        if (i % 2 == 0) {
            assert_int_equal(outlet_post(l, note_running, &s), OUTLET_OK);
            assert_true(meet_wait(&s.opened, 1));
        }
        assert_int_equal(outlet_loop_drain(l, 1000000), OUTLET_OK); /* a hang is the failure */
        pthread_join(t, NULL);
        /* Drained before it ran at all, it still runs, and ends. */
        assert_int_equal(s.run_answer, OUTLET_OK);
        outlet_loop_free(l);
        seen_fini(&s);
    }
}

/* The other end lives in another loop: here it would be closed, too, and not listen any more. */
static void
draining_delivers_what_is_under_way(void **state)
{
    outlet_loop *l = new_loop(state, 2);
    outlet_loop *far = new_loop(state, 1);
    char *big = calloc(1, BIG);
    char at[256];
    struct seen s;
    struct seen away;
    outlet_conn c;
    pthread_t t;
    outlet_listener listener;

    assert_non_null(big);
    seen_init(&s, l);
    seen_init(&away, far);
    listen_at(far, "tcp://127.0.0.1:0", &handlers, &away, at);
    assert_int_equal(outlet_loop_start(far), OUTLET_OK);
    c = connect_to(l, at, &s);
    listener = listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    assert_int_equal(pthread_create(&t, NULL, run_there, &s), 0);
    assert_true(meet_wait(&s.opened, 1));
    assert_true(meet_wait(&away.opened, 1));
    assert_true(outlet_send(c, big, BIG) > 0);
    assert_int_equal(outlet_loop_drain(l, 0), OUTLET_OK);
    assert_int_equal(outlet_loop_drain(l, 0), OUTLET_ESTATE);
    pthread_join(t, NULL);
    assert_int_equal(s.run_answer, OUTLET_OK);
    assert_int_equal(s.code, OUTLET_OK);
    assert_true(meet_wait(&away.closed, 1));
    assert_int_equal(meet_count(&away.bytes), BIG);
    assert_int_equal(outlet_listener_close(listener), OUTLET_ESTALE);
    outlet_loop_free(l);
    outlet_loop_free(far);
    seen_fini(&s);
    seen_fini(&away);
    free(big);
}

static void
pause_it(outlet_conn c, void *user)
{
    struct seen *s = user;

    (void)outlet_pause(c);
    meet_add(&s->opened, 1);
}

static const struct outlet_handlers deaf = {.size = sizeof deaf,
                                            .on_open = pause_it,
                                            .on_close = on_close};

/* A loop of its own for the deaf end, so that nobody makes it hear again. */
static void
the_deadline_of_a_drain_ends_the_rest(void **state)
{
    outlet_loop *l = new_loop(state, 2);
    outlet_loop *far = new_loop(state, 1);
    char *big = calloc(1, BIG);
    struct outlet_opts o = OUTLET_OPTS;
    char at[256];
    struct seen s;
    struct seen away;
    outlet_conn c = {0};
    pthread_t t;
    int64_t begin;

    assert_non_null(big);
    seen_init(&s, l);
    seen_init(&away, far);
    listen_at(far, "tcp://127.0.0.1:0", &deaf, &away, at);
    assert_int_equal(outlet_loop_start(far), OUTLET_OK);
    o.on = &handlers;
    o.user = &s;
    o.flush_ms = OUTLET_OFF;
    o.stall_ms = OUTLET_OFF;
    assert_int_equal(outlet_connect(l, at, &o, &c), OUTLET_OK);
    assert_int_equal(pthread_create(&t, NULL, run_there, &s), 0);
    assert_true(meet_wait(&s.opened, 1));
    for (int i = 0; i < 3; i++) { /* more than two kernel buffers take */
        assert_true(outlet_send(c, big, BIG) > 0);
    }
    begin = now_ms();
    assert_int_equal(outlet_loop_drain(l, -1), OUTLET_EINVAL);
    assert_int_equal(outlet_loop_drain(l, INT64_MAX), OUTLET_EINVAL);
    assert_int_equal(outlet_loop_drain(l, 50), OUTLET_OK);
    pthread_join(t, NULL);
    assert_true(now_ms() - begin >= 50);
    assert_int_equal(meet_count(&s.closed), 1);
    outlet_loop_free(l);
    outlet_loop_free(far);
    assert_int_equal(meet_count(&away.closed), 1);
    seen_fini(&s);
    seen_fini(&away);
    free(big);
}

static void
while_draining_nothing_new_is_opened(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener listener = {0};
    char at[256];
    struct seen s;

    seen_init(&s, l);
    listen_at(l, "tcp://127.0.0.1:0", &handlers, &s, at);
    assert_int_equal(outlet_loop_drain(l, 0), OUTLET_OK);
    assert_int_equal(outlet_listen(l, "tcp://127.0.0.1:0", &o, &listener), OUTLET_ESTATE);
    connect_to(l, at, &s); /* is told that it is over */
    assert_int_equal(outlet_loop_run(l), OUTLET_OK);
    assert_int_equal(meet_count(&s.opened), 0);
    assert_int_equal(meet_count(&s.closed), 1);
    outlet_loop_free(l);
    seen_fini(&s);
}

static void
drain_here(void *arg)
{
    struct seen *s = arg;

    s->stop_answer = outlet_loop_drain(s->loop, 0);
}

static void
a_loop_is_drained_from_a_callback(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct seen s;

    seen_init(&s, l);
    s.stop_answer = 99;
    assert_int_equal(outlet_post(l, drain_here, &s), OUTLET_OK);
    assert_int_equal(outlet_loop_run(l), OUTLET_OK);
    assert_int_equal(s.stop_answer, OUTLET_OK);
    outlet_loop_free(l);
    seen_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(an_allocator_is_given_whole_or_not_at_all),
        cmocka_unit_test(options_of_a_wrong_size_or_value_are_refused),
        TWICE(per_core_makes_a_reactor_for_each),
        TWICE(a_loop_is_stopped_from_a_callback),
        TWICE(a_running_loop_is_stopped_from_another_thread),
        TWICE(stopping_tells_every_connection),
        TWICE(a_stopped_loop_is_not_run),
        TWICE(a_stopped_loop_is_turned_to_its_end),
        TWICE(what_would_wait_for_itself_is_refused_in_a_callback),
        TWICE(only_the_thread_that_turns_a_loop_turns_and_frees_it),
        TWICE(of_two_threads_one_becomes_the_turner),
        TWICE(a_loop_that_never_ran_is_freed_with_all_that_hangs_off_it),
        TWICE(a_started_loop_at_work_is_freed),
        TWICE(freeing_waits_for_a_run_on_another_thread),
        TWICE(a_loop_is_freed_in_a_callback_of_another),
        TWICE(draining_nothing_ends_at_once),
        TWICE(draining_delivers_what_is_under_way),
        TWICE(the_deadline_of_a_drain_ends_the_rest),
        TWICE(while_draining_nothing_new_is_opened),
        TWICE(a_loop_is_drained_from_a_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
