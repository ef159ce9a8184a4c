/*
 * watch_test.c - descriptors of somebody else, watched.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

struct eye {
    outlet_loop *loop;
    struct meet calls;
    outlet_watch watch;
    int fd;
    _Atomic int events; /* all that was told */
    _Atomic int last;
    int calls_max;
    bool read_all;
    outlet_err stop_answer;
    outlet_err again_answer;
    bool closed_there;
};

static void
eye_init(struct eye *e, outlet_loop *l, int fd)
{
    memset(e, 0, sizeof *e);
    meet_init(&e->calls);
    e->loop = l;
    e->fd = fd;
    e->stop_answer = 99;
}

static void
seen(outlet_watch w, int events, void *arg)
{
    struct eye *e = arg;
    char bytes[64];

    e->last = events;
    if (events > 0)
        e->events |= events;
    if (e->read_all && events & OUTLET_READABLE)
        ignore(read(e->fd, bytes, sizeof bytes));
    if (e->calls_max && meet_count(&e->calls) + 1 == e->calls_max) {
        e->stop_answer = outlet_watch_stop(w);
        e->again_answer = outlet_watch_stop(w);
        /* "the descriptor may be closed when it returns" */
        e->closed_there = close(e->fd) == 0;
    }
    meet_add(&e->calls, 1);
}

static void
note(void *arg)
{
    meet_add(arg, 1);
}

/* What was posted and what was ready before has been handled when this returns. */
static bool
settle(outlet_loop *l)
{
    struct meet m;
    bool all = true;

    meet_init(&m);
    for (int i = 1; i <= 3 && all; i++) {
        all = outlet_post(l, note, &m) == OUTLET_OK && meet_wait(&m, i);
    }
    meet_fini(&m);
    return all;
}

static void
a_pipe_is_told_when_it_can_be_read(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    eye_init(&e, l, ends[0]);
    e.read_all = true;
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_int_equal(outlet_watch_start(l, ends[0], OUTLET_READABLE, seen, &e, &e.watch),
                     OUTLET_OK);
    assert_true(settle(l));
    assert_int_equal(meet_count(&e.calls), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_true(meet_wait(&e.calls, 1));
    assert_int_equal(e.events, OUTLET_READABLE);
    assert_true(settle(l));
    assert_int_equal(meet_count(&e.calls), 1); /* it was read: nothing more */
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_true(meet_wait(&e.calls, 2));
    assert_int_equal(outlet_watch_stop(e.watch), OUTLET_OK);
    assert_true(settle(l));
    assert_int_equal(outlet_watch_stop(e.watch), OUTLET_ESTALE);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_true(settle(l));
    assert_int_equal(meet_count(&e.calls), 2);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(fcntl(ends[0], F_GETFD) >= 0, 1); /* it stays the caller's */
    close(ends[0]);
    close(ends[1]);
    meet_fini(&e.calls);
}

/* Setting its modes wakes who waits for it, in vain: so do Ctrl-Z and the way back. */
static void
a_terminal_is_told_whatever_happens_to_its_modes(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    struct termios modes;
    int hand;
    int screen;

    assert_int_equal(openpty(&hand, &screen, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(screen, &modes), 0);
    eye_init(&e, l, screen);
    e.read_all = true;
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_int_equal(outlet_watch_start(l, screen, OUTLET_READABLE, seen, &e, &e.watch), OUTLET_OK);
    assert_true(settle(l));
    for (int i = 1; i <= 6; i++) {
        modes.c_lflag ^= ICANON | ECHO;
        assert_int_equal(tcsetattr(screen, TCSANOW, &modes), 0);
        assert_true(settle(l));
        assert_int_equal(meet_count(&e.calls), i - 1);
        assert_int_equal(write(hand, "x\n", 2), 2);
        assert_true(meet_wait(&e.calls, i));
        assert_int_equal(e.last, OUTLET_READABLE);
        assert_true(settle(l));
    }
    close(hand);
    assert_true(meet_wait(&e.calls, 7));
    assert_true(e.last & OUTLET_HANGUP);
    assert_int_equal(outlet_watch_stop(e.watch), OUTLET_OK);
    assert_true(settle(l));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    close(screen);
    meet_fini(&e.calls);
}

static void
a_watch_is_level_triggered(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    int fd = eventfd(1, EFD_NONBLOCK);

    assert_true(fd >= 0);
    eye_init(&e, l, fd);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, &e, &e.watch), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&e.calls, 5)); /* nobody reads it: it is told again and again */
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    close(fd);
    meet_fini(&e.calls);
}

static void
a_watch_stopped_in_its_callback_is_silent(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    int fd = eventfd(1, EFD_NONBLOCK);

    assert_true(fd >= 0);
    eye_init(&e, l, fd);
    e.calls_max = 3;
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, &e, &e.watch), OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&e.calls, 3));
    assert_true(settle(l));
    assert_int_equal(meet_count(&e.calls), 3);
    assert_int_equal(e.stop_answer, OUTLET_OK);
    assert_int_equal(e.again_answer, OUTLET_ESTALE);
    assert_true(e.closed_there);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&e.calls);
}

static void
room_to_write_and_the_peer_s_end_are_told(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    eye_init(&e, l, ends[0]);
    assert_int_equal(
        outlet_watch_start(l, ends[0], OUTLET_READABLE | OUTLET_WRITABLE, seen, &e, &e.watch),
        OUTLET_OK);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&e.calls, 1));
    assert_true(e.events & OUTLET_WRITABLE);
    assert_false(e.events & OUTLET_HANGUP);
    close(ends[1]);
    while (!(e.events & OUTLET_HANGUP)) {
        assert_true(meet_wait(&e.calls, meet_count(&e.calls) + 1));
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    close(ends[0]);
    meet_fini(&e.calls);
}

static void
what_cannot_be_watched_is_refused(void **state)
{
    char path[] = "/tmp/outlet-watch-XXXXXX";
    outlet_loop *l = new_loop(state, 1);
    int file = mkstemp(path);
    int dir = open("/tmp", O_RDONLY | O_DIRECTORY);
    int fd = eventfd(0, 0);
    outlet_watch w = {0};

    assert_true(file >= 0 && dir >= 0 && fd >= 0);
    unlink(path);
    assert_int_equal(outlet_watch_start(l, file, OUTLET_READABLE, seen, NULL, &w), OUTLET_ENOTSUP);
    assert_int_equal(outlet_watch_start(l, dir, OUTLET_READABLE, seen, NULL, &w), OUTLET_ENOTSUP);
    assert_int_equal(outlet_watch_start(l, -1, OUTLET_READABLE, seen, NULL, &w), OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, 1 << 20, OUTLET_READABLE, seen, NULL, &w),
                     OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, fd, 0, seen, NULL, &w), OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_HANGUP, seen, NULL, &w), OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, fd, 64, seen, NULL, &w), OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, NULL, NULL, &w), OUTLET_EINVAL);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(w.id, 0);
    assert_int_equal(outlet_watch_stop(w), OUTLET_ESTALE);
    close(file);
    close(dir);
    close(fd);
    outlet_loop_free(l);
}

/* Closed between the call and the reactor's turn: the failure arrives as a call. */
static void
a_descriptor_that_is_gone_when_its_turn_comes_is_told_once(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye e;
    int fd = eventfd(0, 0);

    eye_init(&e, l, fd);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, &e, &e.watch), OUTLET_OK);
    close(fd);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&e.calls, 1));
    assert_true(settle(l));
    assert_int_equal(meet_count(&e.calls), 1);
    assert_true(e.last < 0);
    assert_int_equal(outlet_watch_stop(e.watch), OUTLET_ESTALE);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&e.calls);
}

static void
watches_end_with_their_loop(void **state)
{
    outlet_loop *l = new_loop(state, 1);
    struct eye taken;
    struct eye fresh;
    int fd = eventfd(0, 0);
    int64_t calls;

    eye_init(&taken, l, fd);
    eye_init(&fresh, l, fd);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, &taken, &taken.watch),
                     OUTLET_OK);
    assert_int_equal(outlet_loop_turn(l, 0), OUTLET_OK);
    assert_int_equal(outlet_watch_start(l, fd, OUTLET_READABLE, seen, &fresh, &fresh.watch),
                     OUTLET_OK);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    calls = meet_count(&taken.calls);
    assert_int_equal(calls, 0);
    assert_true(meet_count(&fresh.calls) <= 1); /* it could not be watched any more */
    assert_int_equal(outlet_watch_stop(taken.watch), OUTLET_ESTALE);
    assert_int_equal(outlet_watch_stop(fresh.watch), OUTLET_ESTALE);
    close(fd);
    meet_fini(&taken.calls);
    meet_fini(&fresh.calls);
}

struct stopper {
    outlet_watch *watches;
    int count;
    _Atomic int stopped;
    pthread_t thread;
};

static void *
stop_them(void *arg)
{
    struct stopper *s = arg;

    for (int i = 0; i < s->count; i++) {
        if (outlet_watch_stop(s->watches[i]) == OUTLET_OK)
            s->stopped++;
    }
    return NULL;
}

/* Several threads stop the same watches while they are told all the time. */
static void
watches_are_stopped_from_several_threads_at_once(void **state)
{
    enum { N = 50, THREADS = 3 };
    outlet_loop *l = new_loop(state, 1);
    struct eye e[N];
    outlet_watch watches[N];
    struct stopper s[THREADS];
    int fds[N];

    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        fds[i] = eventfd(1, EFD_NONBLOCK);
        assert_true(fds[i] >= 0);
        eye_init(&e[i], l, fds[i]);
        assert_int_equal(outlet_watch_start(l, fds[i], OUTLET_READABLE, seen, &e[i], &watches[i]),
                         OUTLET_OK);
    }
    assert_true(meet_wait(&e[N - 1].calls, 1));
    for (int i = 0; i < THREADS; i++) {
        s[i] = (struct stopper){.watches = watches, .count = N};
        assert_int_equal(pthread_create(&s[i].thread, NULL, stop_them, &s[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(s[i].thread, NULL);
    }
    assert_true(settle(l));
    for (int i = 0; i < N; i++) {
        int64_t calls = meet_count(&e[i].calls);

        assert_int_equal(outlet_watch_stop(watches[i]), OUTLET_ESTALE);
        e[i].calls_max = (int)calls;
    }
    assert_true(settle(l));
    for (int i = 0; i < N; i++) {
        assert_int_equal(meet_count(&e[i].calls), e[i].calls_max);
        close(fds[i]);
        meet_fini(&e[i].calls);
    }
    assert_true(s[0].stopped + s[1].stopped + s[2].stopped >= N);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(a_pipe_is_told_when_it_can_be_read),
        TWICE(a_terminal_is_told_whatever_happens_to_its_modes),
        TWICE(a_watch_is_level_triggered),
        TWICE(a_watch_stopped_in_its_callback_is_silent),
        TWICE(room_to_write_and_the_peer_s_end_are_told),
        TWICE(what_cannot_be_watched_is_refused),
        TWICE(a_descriptor_that_is_gone_when_its_turn_comes_is_told_once),
        TWICE(watches_end_with_their_loop),
        TWICE(watches_are_stopped_from_several_threads_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
