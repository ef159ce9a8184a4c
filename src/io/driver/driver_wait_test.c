/*
 * driver_wait_test.c - waiting and looking on every driver: deadlines, foreign descriptors, a
 * driver inside of somebody else's loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void
waiting_is_never_too_short(void **state)
{
    struct world *w = *state;
    static const int64_t ns[] = {1, 1000, 300000, 999999, 1000001, 7500000};

    for (size_t i = 0; i < OL_COUNT(ns); i++) {
        ol_time until = w->ops->now(w->d) + ns[i];

        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
    assert_int_equal(step(w, 0), 0);
    assert_int_equal(step(w, w->ops->now(w->d) - 1), 0);
}

/* A driver may keep a deadline from wait to wait: neither an earlier one nor a later one is told
 * at its time. */
static void
deadlines_far_and_near_take_turns(void **state)
{
    struct world *w = *state;
    static const int64_t ms[] = {30, 1, 60, 25, 2, 40, 21, 50};
    ol_time began;

    w->ops->wake(w->d); /* ends the first one, whose timer stays; the simulated hour is short */
    assert_int_equal(step(w, w->ops->now(w->d) + 3600 * 1000 * OL_MS), 0);
    began = w->ops->now(w->d);
    for (size_t i = 0; i < OL_COUNT(ms); i++) {
        ol_time until = w->ops->now(w->d) + ms[i] * OL_MS;

        /* The one after the next is asked for, too, and left when something comes. */
        w->ops->wake(w->d);
        assert_int_equal(step(w, until + ms[(i + 2) % OL_COUNT(ms)] * OL_MS), 0);
        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
    assert_true(w->ops->now(w->d) - began < 600 * 1000 * OL_MS); /* not the hour */
}

/* Bytes, an end, and a link that is closed meanwhile: nothing is told twice, late or to nobody. */
static void
looking_sees_what_waiting_sees(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    if (!w->ops->look)
        skip();
    w->looks = true;
    pair_both(w, &a, &b);
    assert_int_equal(step(w, 0), 0); /* nobody has spoken yet */
    for (int i = 1; i <= 20; i++) {
        send_wave(a, 100);
        RUN_UNTIL(w, b->received == (size_t)i * 100);
        assert_int_equal(step(w, 0), 0);
    }
    w->ops->receive_stop(w->d, &b->link);
    send_wave(a, 100);
    settle(w, 5); /* nobody wants it */
    assert_int_equal(b->received, 2000);
    receive(b);
    RUN_UNTIL(w, b->received == 2100);
    assert_false(b->wrong);
    close_peer(a, false);
    RUN_UNTIL(w, b->ended);
    close_peer(b, false);
    RUN_UNTIL(w, b->closed);
    b->link.kind = OL_LINK_STREAM; /* its memory may be another one's by now */
    b->link.flags = UINT8_MAX;
    assert_int_equal(step(w, 0), 0);
}

/* As of a busy reactor: the same deadline, wait after wait; then it is put off, comes, or is put
 * forward. */
static void
a_deadline_that_outlives_waits_comes_in_time(void **state)
{
    struct world *w = *state;
    static const int64_t put_off_ms[] = {0, 15, -10, 0, 1, -29};

    for (size_t i = 0; i < OL_COUNT(put_off_ms); i++) {
        ol_time until = w->ops->now(w->d) + 30 * OL_MS;

        for (int k = 0; k < 3; k++) {
            w->ops->wake(w->d);
            assert_int_equal(step(w, until), 0);
        }
        until += put_off_ms[i] * OL_MS;
        for (int k = 0; k < 2; k++) {
            w->ops->wake(w->d);
            assert_int_equal(step(w, until), 0);
        }
        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
}

/* Before Linux 5.11, and in sandboxes, the precise call is missing. */
static void
without_epoll_pwait2_waiting_is_never_too_short(void **state)
{
    struct world *w = *state;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {OL_COUNT(rules), rules};
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int wrong = 0;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            _exit(0); /* no filters here: nothing to see */
        for (int i = 0; i < 20; i++) {
            ol_time until = w->ops->now(w->d) + 100000 + i * 170000;

            if (step(w, until) != 0 || w->ops->now(w->d) < until)
                wrong++;
        }
        _exit(wrong);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void
a_foreign_descriptor_is_watched_by_level(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    int ends[2];
    char byte;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(w->ops->watch(w->d, &p->link, ends[0], OUTLET_READABLE), 0);
    settle(w, 5);
    assert_int_equal(p->ready_calls, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    RUN_UNTIL(w, p->ready_calls >= 3);
    assert_int_equal(p->ready, OUTLET_READABLE);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    settle(w, 5);
    p->ready_calls = 0;
    settle(w, 20);
    assert_int_equal(p->ready_calls, 0);
    close(ends[1]);
    RUN_UNTIL(w, p->ready_calls > 0);
    assert_true(p->ready & OUTLET_HANGUP);
    close_peer(p, false);
    RUN_UNTIL(w, p->closed);
    assert_true(fcntl(ends[0], F_GETFD) >= 0); /* still the owner's */
    close(ends[0]);
}

static void
one_descriptor_can_be_watched_twice(void **state)
{
    struct world *w = *state;
    struct peer *reads = peer(w);
    struct peer *writes = peer(w);
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(w->ops->watch(w->d, &reads->link, fds[0], OUTLET_READABLE), 0);
    assert_int_equal(w->ops->watch(w->d, &writes->link, fds[0], OUTLET_WRITABLE), 0);
    RUN_UNTIL(w, writes->ready_calls > 0);
    assert_int_equal(writes->ready, OUTLET_WRITABLE);
    close_peer(writes, false);
    assert_int_equal(write(fds[1], "x", 1), 1);
    RUN_UNTIL(w, reads->ready_calls > 0);
    assert_int_equal(reads->ready, OUTLET_READABLE);
    close_peer(reads, false);
    RUN_UNTIL(w, all_closed(w));
    close(fds[0]);
    close(fds[1]);
}

static void
a_regular_file_cannot_be_watched(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(w->ops->watch(w->d, &p->link, fd, OUTLET_READABLE), -EPERM);
    close(fd);
}

static bool
is_readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};

    return poll(&p, 1, ms) == 1;
}

static void
an_embedded_driver_shows_when_it_has_something(void **state)
{
    struct world *w = *state;
    int fd = w->ops->embed(w->d);
    struct ol_addr bound;
    struct peer *listener;
    struct peer *a;
    struct peer *b;
    ol_time until;

    assert_true(fd >= 0);
    pair_both(w, &a, &b);
    listener = listen_at(w, v4(1, 0), &bound);
    settle(w, 5);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    w->ops->wake(w->d);
    assert_true(is_readable(fd, 5000));
    (void)step(w, 0);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    send_wave(a, 10);
    assert_true(is_readable(fd, 5000));
    RUN_UNTIL(w, b->received == 10);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    until = w->ops->now(w->d) + 5 * OL_MS;
    w->ops->arm(w->d, until);
    assert_true(is_readable(fd, 5000));
    assert_true(w->ops->now(w->d) >= until);
    (void)step(w, 0);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    close_peer(listener, false); /* nobody else sees this one end */
    assert_true(is_readable(fd, 5000));
    RUN_UNTIL(w, listener->closed);
}

/* ---- the list ---------------------------------------------------------------------------- */

static const struct CMUnitTest for_every_driver[] = {
    IN_WORLD(waiting_is_never_too_short),
    IN_WORLD(deadlines_far_and_near_take_turns),
    IN_WORLD(looking_sees_what_waiting_sees),
    IN_WORLD(a_deadline_that_outlives_waits_comes_in_time),
};

static const struct CMUnitTest for_the_kernel[] = {
    IN_WORLD(a_foreign_descriptor_is_watched_by_level),
    IN_WORLD(one_descriptor_can_be_watched_twice),
    IN_WORLD(a_regular_file_cannot_be_watched),
    IN_WORLD(an_embedded_driver_shows_when_it_has_something),
};

static const struct CMUnitTest for_epoll[] = {
    IN_WORLD(without_epoll_pwait2_waiting_is_never_too_short),
};

int
main(void)
{
    return run_in_worlds(WORLD_TESTS(for_every_driver), WORLD_TESTS(for_the_kernel),
                         WORLD_TESTS(for_epoll));
}
