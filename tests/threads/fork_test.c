/*
 * fork_test.c - what a forked child may do, and that its parent does not notice.
 *
 * The child checks for itself and exits with the line that was wrong.  It has no threads but its
 * own: it turns its loops.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNS = 5, CHILD_SECONDS = 60 };

/* The runtime of a sanitizer keeps locks of its own that a thread may hold at the fork, and the
 * child then waits for ever: seen in free() of both.  Only a program that is busy in other threads
 * meets it.  Without a sanitizer libc sees to that. */
#ifndef __has_feature /* clang's; gcc of before 14 says it by macros */
#define __has_feature(what) 0
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || \
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
enum { FORKS_WHILE_BUSY = 0 };
#else
enum { FORKS_WHILE_BUSY = 20 };
#endif

/* In the child: leave with the number of the line. */
#define MUST(what)                     \
    do {                               \
        if (!(what))                   \
            _exit(__LINE__ % 250 + 1); \
    } while (0)

struct side {
    outlet_loop *loop;
    outlet_listener listener;
    outlet_timer timer;
    outlet_conn clients[CONNS];
    char at[256];
    struct meet opened;
    struct meet bytes;
    struct meet closed;
    _Atomic int bad_ends;
};

static void
on_open(outlet_conn c, void *user)
{
    (void)c;
    meet_add(&((struct side *)user)->opened, 1);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;

    (void)c;
    (void)outlet_msg_data(m, &len);
    meet_add(&((struct side *)user)->bytes, (int64_t)len);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct side *s = user;

    (void)c;
    if (why->code != OUTLET_OK)
        s->bad_ends++;
    meet_add(&s->closed, 1);
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_open = on_open,
                                                .on_message = on_message,
                                                .on_close = on_close};

static void
never(outlet_timer t, void *arg)
{
    (void)t;
    (void)arg;
}

static int
count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n - 3; /* ".", ".." and the directory itself */
}

static bool
side_open(struct side *s, outlet_loop *l, const char *url)
{
    struct outlet_opts o = OUTLET_OPTS;

    memset(s, 0, sizeof *s);
    meet_init(&s->opened);
    meet_init(&s->bytes);
    meet_init(&s->closed);
    s->loop = l;
    o.on = &handlers;
    o.user = s;
    if (outlet_listen(l, url, &o, &s->listener) ||
        outlet_listener_info(s->listener, "url", s->at, sizeof s->at) <= 0 ||
        outlet_timer_start(l, 3600 * 1000, 0, never, NULL, &s->timer))
        return false;
    for (int i = 0; i < CONNS; i++) {
        if (outlet_connect(l, s->at, &o, &s->clients[i]))
            return false;
    }
    return true;
}

static bool
turn_until(struct side *s, struct meet *m, int64_t want)
{
    while (meet_count(m) < want) {
        if (outlet_loop_turn(s->loop, 10000) != OUTLET_OK)
            return false;
    }
    return true;
}

static void
nothing(void *arg)
{
    (void)arg;
}

static int
stop_walk(outlet_conn c, void *arg)
{
    (void)c;
    (void)arg;
    return 0;
}

/* ---- in the child ---- */

static void
nothing_of_the_parent_works(struct side *s)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_conn c;
    outlet_listener l;
    outlet_timer t;
    char text[64];

    for (int i = 0; i < CONNS; i++) {
        MUST(outlet_send(s->clients[i], "child", 5) == OUTLET_ESTALE);
        MUST(outlet_close(s->clients[i]) == OUTLET_ESTALE);
        MUST(outlet_abort(s->clients[i]) == OUTLET_ESTALE);
        MUST(outlet_pause(s->clients[i]) == OUTLET_ESTALE);
        MUST(outlet_queued(s->clients[i]) == OUTLET_ESTALE);
        MUST(outlet_set_name(s->clients[i], "child") == OUTLET_ESTALE);
        MUST(outlet_set_user(s->clients[i], s) == OUTLET_ESTALE);
        MUST(outlet_user(s->clients[i]) == NULL);
        MUST(outlet_info(s->clients[i], "state", text, sizeof text) == OUTLET_ESTALE);
    }
    MUST(outlet_listener_close(s->listener) == OUTLET_ESTALE);
    MUST(outlet_listener_info(s->listener, "url", text, sizeof text) == OUTLET_ESTALE);
    MUST(outlet_timer_stop(s->timer) == OUTLET_ESTALE);
    MUST(outlet_by_name(s->loop, "first").id == 0);
    MUST(outlet_each(s->loop, (outlet_listener){0}, stop_walk, NULL) == 0);
    MUST(outlet_loop_run(s->loop) == OUTLET_ESTATE);
    MUST(outlet_loop_start(s->loop) == OUTLET_ESTATE);
    MUST(outlet_loop_turn(s->loop, 0) < 0);
    MUST(outlet_loop_stop(s->loop) == OUTLET_ESTATE);
    MUST(outlet_loop_drain(s->loop, 0) == OUTLET_ESTATE);
    MUST(outlet_post(s->loop, nothing, NULL) == OUTLET_ESTATE);
    MUST(outlet_timer_start(s->loop, 1, 0, never, NULL, &t) == OUTLET_ESTATE);
    MUST(outlet_connect(s->loop, s->at, &o, &c) == OUTLET_ESTATE);
    MUST(outlet_listen(s->loop, "tcp://127.0.0.1:0", &o, &l) == OUTLET_ESTATE);
}

static void
a_loop_of_its_own_works(const char *driver)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
    outlet_loop *l;
    struct side own;

    o.driver = driver;
    MUST(outlet_loop_new(&l, &o) == OUTLET_OK);
    MUST(side_open(&own, l, "tcp://127.0.0.1:0"));
    MUST(turn_until(&own, &own.opened, 2 * CONNS));
    for (int i = 0; i < CONNS; i++) {
        MUST(outlet_send(own.clients[i], "hello", 5) == 5 ||
             outlet_queued(own.clients[i]) != OUTLET_ESTALE);
    }
    MUST(turn_until(&own, &own.bytes, 5 * CONNS));
    MUST(outlet_loop_drain(l, 0) == OUTLET_OK);
    MUST(turn_until(&own, &own.closed, 2 * CONNS));
    MUST(own.bad_ends == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
}

/* Answers the child's exit code, or 1000 and the signal that ended it. */
static int
child_s_answer(pid_t pid)
{
    int status = 0;

    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- the parent goes on ---- */

static void
say_something(struct side *s)
{
    for (int i = 0; i < CONNS; i++) {
        assert_true(outlet_send(s->clients[i], "parent", 6) > 0);
    }
}

static void
a_unix_path(char *url, size_t room, const char *name)
{
    const char *dir = getenv("TMPDIR");

    snprintf(url, room, "unix:%s/outlet-%s-%d", dir ? dir : "/tmp", name, (int)getpid());
}

static void
a_turned_loop_is_freed_in_the_child(void **state)
{
    char unix_url[128];
    const char *urls[] = {"tcp://127.0.0.1:0", unix_url, "udp://127.0.0.1:0"};

    a_unix_path(unix_url, sizeof unix_url, "fork");
    for (size_t u = 0; u < 3; u++) {
        bool connected = u < 2; /* a peer of udp is there once it has written */
        int before = count_descriptors();
        outlet_loop *l = new_loop(state, 1);
        struct side s;
        pid_t pid;

        assert_true(side_open(&s, l, urls[u]));
        assert_true(turn_until(&s, &s.opened, connected ? 2 * CONNS : CONNS));
        say_something(&s);
        assert_true(turn_until(&s, &s.bytes, 6 * CONNS));
        assert_int_equal(outlet_set_name(s.clients[0], "first"), OUTLET_OK);
        pid = fork();
        if (pid == 0) {
            alarm(CHILD_SECONDS);
            nothing_of_the_parent_works(&s);
            MUST(outlet_loop_free(l) == OUTLET_OK);
            MUST(count_descriptors() == before);
            a_loop_of_its_own_works(*state);
            MUST(count_descriptors() == before);
            _exit(0);
        }
        assert_int_equal(child_s_answer(pid), 0);
        assert_int_equal(outlet_by_name(l, "first").id, s.clients[0].id);
        say_something(&s);
        assert_true(turn_until(&s, &s.bytes, 12 * CONNS));
        assert_int_equal(meet_count(&s.closed), 0);
        side_open(&s, l, "tcp://127.0.0.1:0"); /* and it still listens and connects */
        assert_true(turn_until(&s, &s.opened, 2 * CONNS));
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        assert_int_equal(count_descriptors(), before);
    }
}

/* The usual server: it listens, forks, and each child closes what is not its own. */
static void
a_loop_that_never_ran_is_freed_in_the_child(void **state)
{
    char url[128];
    struct stat st;
    int before = count_descriptors();
    outlet_loop *l = new_loop(state, 2);
    struct side s;
    struct side path;
    pid_t pid;

    a_unix_path(url, sizeof url, "fresh");
    assert_true(side_open(&s, l, "tcp://127.0.0.1:0"));
    assert_true(side_open(&path, l, url));
    pid = fork();
    if (pid == 0) {
        alarm(CHILD_SECONDS);
        MUST(outlet_loop_free(l) == OUTLET_OK);
        MUST(count_descriptors() == before);
        MUST(stat(url + strlen("unix:"), &st) == 0); /* the parent listens there */
        _exit(0);
    }
    assert_int_equal(child_s_answer(pid), 0);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 2 * CONNS));
    assert_true(meet_wait(&path.opened, 2 * CONNS));
    say_something(&s);
    say_something(&path);
    assert_true(meet_wait(&s.bytes, 6 * CONNS));
    assert_true(meet_wait(&path.bytes, 6 * CONNS));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(stat(url + strlen("unix:"), &st), -1);
}

struct talker {
    struct side *side;
    _Atomic bool over;
    pthread_t thread;
};

static void *
talk(void *arg)
{
    struct talker *t = arg;

    for (int i = 0; !t->over; i++) {
        outlet_conn c = t->side->clients[i % CONNS];

        ignore(outlet_send(c, "noise", 5));
        ignore(outlet_set_name(c, i & 1 ? "one" : "other"));
        ignore((int64_t)outlet_by_name(t->side->loop, "one").id);
        ignore(outlet_queued(c));
    }
    return NULL;
}

/* The moment of the fork is any moment: visitors are inside, locks are held, queues half filled. */
static void
a_loop_at_work_is_freed_in_the_child(void **state)
{
    int before = count_descriptors();
    outlet_loop *l = new_loop(state, 2);
    struct side s;
    struct talker t[2];
    int sent;

    assert_true(side_open(&s, l, "tcp://127.0.0.1:0"));
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 2 * CONNS));
    for (int i = 0; i < 2; i++) {
        t[i].side = &s;
        t[i].over = false;
        assert_int_equal(pthread_create(&t[i].thread, NULL, talk, &t[i]), 0);
    }
    for (int i = 0; i < FORKS_WHILE_BUSY; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            alarm(CHILD_SECONDS);
            nothing_of_the_parent_works(&s);
            MUST(outlet_loop_free(l) == OUTLET_OK);
            MUST(count_descriptors() <= before);
            a_loop_of_its_own_works(*state);
            _exit(0);
        }
        assert_int_equal(child_s_answer(pid), 0);
    }
    for (int i = 0; i < 2; i++) {
        t[i].over = true;
        pthread_join(t[i].thread, NULL);
    }
    sent = s.bad_ends;
    assert_int_equal(meet_count(&s.closed), 0);
    assert_int_equal(sent, 0);
    say_something(&s);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(count_descriptors(), before);
}

struct forked {
    struct side *side;
    const char *driver;
    struct meet done;
    _Atomic int answer;
};

static void
fork_here(void *arg)
{
    struct forked *f = arg;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(CHILD_SECONDS);
        nothing_of_the_parent_works(f->side);
        a_loop_of_its_own_works(f->driver);
        MUST(outlet_loop_free(f->side->loop) == OUTLET_OK);
        _exit(0); /* a child must not go back into its parent's loop */
    }
    f->answer = child_s_answer(pid);
    meet_add(&f->done, 1);
}

static void
a_child_of_a_callback_is_a_child_like_others(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct side s;
    struct forked f = {.side = &s, .driver = *state, .answer = 99};

    meet_init(&f.done);
    assert_true(side_open(&s, l, "tcp://127.0.0.1:0"));
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 2 * CONNS));
    assert_int_equal(outlet_post(l, fork_here, &f), OUTLET_OK);
    assert_true(meet_wait(&f.done, 1));
    assert_int_equal(f.answer, 0);
    say_something(&s);
    assert_true(meet_wait(&s.bytes, 6 * CONNS));
    assert_int_equal(meet_count(&s.closed), 0);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&f.done);
}

static void
a_child_of_a_child_knows_neither(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct side s;
    pid_t pid;

    assert_true(side_open(&s, l, "tcp://127.0.0.1:0"));
    assert_true(turn_until(&s, &s.opened, 2 * CONNS));
    pid = fork();
    if (pid == 0) {
        struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
        outlet_loop *mine;
        struct side own;
        pid_t grandchild;

        alarm(CHILD_SECONDS);
        o.driver = *state;
        MUST(outlet_loop_new(&mine, &o) == OUTLET_OK);
        MUST(side_open(&own, mine, "tcp://127.0.0.1:0"));
        MUST(turn_until(&own, &own.opened, 2 * CONNS));
        grandchild = fork();
        if (grandchild == 0) {
            alarm(CHILD_SECONDS);
            nothing_of_the_parent_works(&s);
            nothing_of_the_parent_works(&own);
            MUST(outlet_loop_free(mine) == OUTLET_OK);
            MUST(outlet_loop_free(l) == OUTLET_OK);
            a_loop_of_its_own_works(*state);
            _exit(0);
        }
        MUST(child_s_answer(grandchild) == 0);
        for (int i = 0; i < CONNS; i++) {
            MUST(outlet_send(own.clients[i], "parent", 6) > 0);
        }
        MUST(turn_until(&own, &own.bytes, 6 * CONNS));
        MUST(outlet_loop_free(mine) == OUTLET_OK);
        _exit(0);
    }
    assert_int_equal(child_s_answer(pid), 0);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(a_turned_loop_is_freed_in_the_child),
        TWICE(a_loop_that_never_ran_is_freed_in_the_child),
        TWICE(a_loop_at_work_is_freed_in_the_child),
        TWICE(a_child_of_a_callback_is_a_child_like_others),
        TWICE(a_child_of_a_child_knows_neither),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
