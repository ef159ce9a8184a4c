/*
 * system_test.c - a system that forbids io_uring or threads, and signals.
 *
 * Everything happens in forked children, because a filter of system calls never comes off again.
 * The child exits with the line that was wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_SECONDS = 60, NO_FILTER = 255, FIRST_HIDDEN = 32 }; /* 32 and 33 are the C library's */

#define MUST(what)                     \
    do {                               \
        if (!(what))                   \
            _exit(__LINE__ % 250 + 1); \
    } while (0)

/* From now on `first` and `second` answer `error`. */
static void
forbid(long first, long second, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)first, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)second, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        _exit(NO_FILTER);
}

/* 0: all was well.  A signal counts as 1000 and its number. */
static int
in_child(void (*what)(const char *driver), void **state)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        alarm(CHILD_SECONDS);
        what(*state);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER)
        skip();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- io_uring is forbidden ---- */

static void
count_line(void *user, enum outlet_log_level level, const char *line)
{
    (void)line;
    *(int *)user += level == OUTLET_LOG_WARN ? 1 : 100;
}

static outlet_err
open_with(outlet_loop **l, const char *driver, int64_t threads, int *lines)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    o.driver = driver;
    o.threads = threads;
    o.log = count_line;
    o.log_user = lines;
    return outlet_loop_new(l, &o);
}

static outlet_err
open_busy(outlet_loop **l)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    o.busy_poll_us = 100;
    return outlet_loop_new(l, &o);
}

static void
it_falls_back(unsigned error)
{
    outlet_loop *l = NULL;
    int lines = 0;

    forbid(SYS_io_uring_setup, SYS_io_uring_setup, error);
    MUST(setenv("OUTLET_DRIVER", "uring", 1) == 0);
    MUST(open_with(&l, NULL, 3, &lines) == OUTLET_OK);
    MUST(strcmp(outlet_loop_driver(l), "epoll") == 0);
    MUST(lines == 1); /* one, and not one for each reactor */
    MUST(outlet_loop_free(l) == OUTLET_OK);

    lines = 0;
    l = NULL;
    MUST(open_with(&l, "uring", 1, &lines) == OUTLET_ENOTSUP);
    MUST(l == NULL);
    MUST(open_with(&l, "epoll", 1, &lines) == OUTLET_OK);
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(lines == 0);

    MUST(unsetenv("OUTLET_DRIVER") == 0);
    MUST(open_with(&l, NULL, 1, &lines) == OUTLET_OK); /* the default, whatever it is, works */
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(open_with(&l, "", 1, &lines) == OUTLET_OK); /* nothing was asked for */
    MUST(outlet_loop_free(l) == OUTLET_OK);
}

static void
forbidden(const char *driver)
{
    (void)driver;
    it_falls_back(EPERM);
}

static void
unknown(const char *driver)
{
    (void)driver;
    it_falls_back(ENOSYS);
}

static void
without_io_uring_epoll_takes_its_place_with_one_line(void **state)
{
    assert_int_equal(in_child(forbidden, state), 0);
    assert_int_equal(in_child(unknown, state), 0);
}

static void
named_by_environment(const char *driver)
{
    outlet_loop *l = NULL;
    int lines = 0;

    MUST(setenv("OUTLET_DRIVER", "no such driver", 1) == 0);
    MUST(open_with(&l, NULL, 1, &lines) == OUTLET_EINVAL);
    MUST(l == NULL);
    MUST(open_with(&l, driver, 1, &lines) == OUTLET_OK); /* the option is not overruled */
    MUST(strcmp(outlet_loop_driver(l), driver) == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(setenv("OUTLET_DRIVER", driver, 1) == 0);
    MUST(open_with(&l, NULL, 1, &lines) == OUTLET_OK);
    MUST(strcmp(outlet_loop_driver(l), driver) == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(open_busy(&l) == OUTLET_OK);
    MUST(strcmp(outlet_loop_driver(l), driver) == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(unsetenv("OUTLET_DRIVER") == 0);
    MUST(open_busy(&l) == OUTLET_OK); /* epoll is the faster one for who looks all the time */
    MUST(strcmp(outlet_loop_driver(l), "epoll") == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
}

static void
the_environment_names_the_driver_unless_the_program_does(void **state)
{
    outlet_loop_free(new_loop(state, 1)); /* skips where there is no io_uring */
    assert_int_equal(in_child(named_by_environment, state), 0);
}

/* ---- no thread can be made ---- */

struct ends {
    int closed;
    int opened;
};

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    ((struct ends *)user)->closed++;
}

static void
on_open(outlet_conn c, void *user)
{
    (void)c;
    ((struct ends *)user)->opened++;
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_open = on_open,
                                                .on_close = on_close};

static int
count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    MUST(d);
    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n;
}

static void
count_post(void *arg)
{
    ++*(int *)arg;
}

static void
threads_are_forbidden(const char *driver)
{
    struct outlet_opts o = OUTLET_OPTS;
    int before = count_descriptors();

    forbid(SYS_clone, SYS_clone3, EAGAIN);
    for (int run = 0; run < 2; run++) {
        struct ends e = {0, 0};
        outlet_loop *l = NULL;
        outlet_listener listener;
        outlet_conn c;
        int lines = 0;
        int posted = 0;

        o.on = &handlers;
        o.user = &e;
        MUST(open_with(&l, driver, 2, &lines) == OUTLET_OK);
        MUST(outlet_listen(l, "tcp://127.0.0.1:0", &o, &listener) == OUTLET_OK);
        MUST(outlet_connect(l, "tcp://127.0.0.1:1", &o, &c) == OUTLET_OK);
        MUST(outlet_connect(l, "tcp://127.0.0.1:1", &o, &c) == OUTLET_OK);
        MUST(outlet_post(l, count_post, &posted) == OUTLET_OK);
        MUST((run ? outlet_loop_run(l) : outlet_loop_start(l)) == OUTLET_ESYS);
        MUST((run ? outlet_loop_run(l) : outlet_loop_start(l)) == OUTLET_ESTATE);
        MUST(outlet_loop_free(l) == OUTLET_OK);
        MUST(e.closed == 2);
        MUST(posted == 1);
        MUST(count_descriptors() == before);
    }
}

static void
a_loop_whose_threads_cannot_be_made_is_freed_whole(void **state)
{
    outlet_loop_free(new_loop(state, 1)); /* skips where there is no io_uring */
    assert_int_equal(in_child(threads_are_forbidden, state), 0);
}

/* ---- signals ---- */

static bool
turn_until(outlet_loop *l, const int *what, int want)
{
    while (*what < want) {
        if (outlet_loop_turn(l, 10000) != OUTLET_OK)
            return false;
    }
    return true;
}

struct rude {
    struct ends ends;
    int told;
};

/* The far end is gone at once, with what it was sent unread. */
static void
slam(outlet_conn c, void *user)
{
    struct rude *r = user;

    r->ends.opened++;
    (void)outlet_abort(c);
}

static void
rude_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    ((struct rude *)user)->ends.closed++;
}

static const struct outlet_handlers rude_handlers = {.size = sizeof rude_handlers,
                                                     .on_open = slam,
                                                     .on_close = rude_close};

static void
stay(outlet_conn c, void *user)
{
    static char big[300000];
    struct rude *r = user;

    r->ends.opened++;
    for (int i = 0; i < 4; i++) {
        ignore(outlet_send(c, big, sizeof big));
    }
}

/* Writing goes on until it is told that the peer is gone. */
static void
insist(outlet_conn c, outlet_msg *m, void *user)
{
    (void)c;
    (void)m;
    (void)user;
}

static const struct outlet_handlers patient = {.size = sizeof patient,
                                               .on_open = stay,
                                               .on_message = insist,
                                               .on_close = rude_close};

static void
write_to_closed_peers(const char *driver)
{
    char path[128];
    const char *urls[] = {"tcp://127.0.0.1:0", path, "pair:sig"};

    MUST(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    snprintf(path, sizeof path, "unix:/tmp/outlet-sig-%d", (int)getpid());
    for (size_t u = 0; u < sizeof urls / sizeof urls[0]; u++) {
        for (int i = 0; i < 10; i++) {
            struct rude far = {{0, 0}, 0};
            struct rude near = {{0, 0}, 0};
            struct outlet_opts o = OUTLET_OPTS;
            outlet_loop *l = NULL;
            outlet_listener listener;
            outlet_conn c;
            char at[256];
            int lines = 0;

            MUST(open_with(&l, driver, 1, &lines) == OUTLET_OK);
            o.on = &rude_handlers;
            o.user = &far;
            MUST(outlet_listen(l, urls[u], &o, &listener) == OUTLET_OK);
            MUST(outlet_listener_info(listener, "url", at, sizeof at) > 0);
            o.on = &patient;
            o.user = &near;
            MUST(outlet_connect(l, at, &o, &c) == OUTLET_OK);
            MUST(turn_until(l, &near.ends.closed, 1));
            MUST(turn_until(l, &far.ends.closed, 1));
            MUST(outlet_loop_free(l) == OUTLET_OK);
        }
    }
}

static void
writing_to_a_peer_that_is_gone_raises_no_signal(void **state)
{
    outlet_loop_free(new_loop(state, 1));
    assert_int_equal(in_child(write_to_closed_peers, state), 0);
}

static void
read_mask(void *arg)
{
    sigset_t *mask = arg;

    pthread_sigmask(SIG_SETMASK, NULL, mask);
}

struct masked {
    sigset_t mask;
    struct meet done;
};

static void
read_mask_and_tell(void *arg)
{
    struct masked *m = arg;

    read_mask(&m->mask);
    meet_add(&m->done, 1);
}

static void
read_open_mask(outlet_conn c, void *user)
{
    (void)c;
    read_mask_and_tell(user);
}

static bool
all_blocked(const sigset_t *mask)
{
    for (int s = 1; s < FIRST_HIDDEN; s++) {
        if (s != SIGKILL && s != SIGSTOP && sigismember(mask, s) != 1)
            return false;
    }
    return true;
}

static void
own_threads_block_every_signal_and_the_caller_s_mask_stays(void **state)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_open = read_open_mask};
    struct outlet_opts o = OUTLET_OPTS;
    outlet_loop *l = new_loop(state, 2);
    struct masked m;
    sigset_t before;
    sigset_t after;

    meet_init(&m.done);
    read_mask(&before);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    read_mask(&after);
    for (int s = 1; s < FIRST_HIDDEN; s++) {
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
    }
    assert_int_equal(outlet_post(l, read_mask_and_tell, &m), OUTLET_OK);
    assert_true(meet_wait(&m.done, 1));
    assert_true(all_blocked(&m.mask));
    o.on = &on;
    o.user = &m;
    for (int i = 0; i < 2; i++) { /* one lands on each reactor */
        outlet_conn a;
        outlet_conn b;

        assert_int_equal(outlet_pair(l, "pair:", &o, &a, &b), OUTLET_OK);
        assert_true(meet_wait(&m.done, 3 + 2 * i));
        assert_true(all_blocked(&m.mask));
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    meet_fini(&m.done);
}

static void
interrupted(int signal)
{
    (void)signal;
}

/* A program's own handlers interrupt the thread that runs a loop: nothing of it shows. */
static void
disturb(const char *driver)
{
    struct sigaction act = {.sa_handler = interrupted}; /* without SA_RESTART */
    struct rude near = {{0, 0}, 0};
    struct outlet_opts o = OUTLET_OPTS;
    outlet_loop *l = NULL;
    outlet_conn a;
    outlet_conn b;
    int lines = 0;

    MUST(sigaction(SIGUSR1, &act, NULL) == 0);
    MUST(open_with(&l, driver, 1, &lines) == OUTLET_OK);
    o.on = &handlers;
    o.user = &near.ends;
    MUST(outlet_pair(l, "pair:", &o, &a, &b) == OUTLET_OK);
    MUST(turn_until(l, &near.ends.opened, 2));
    for (int i = 0; i < 50; i++) {
        pid_t me = getpid();
        pid_t child = fork();

        if (child == 0) {
            kill(me, SIGUSR1);
            _exit(0);
        }
        MUST(outlet_loop_turn(l, 2) == OUTLET_OK);
        while (waitpid(child, NULL, 0) < 0) {
            MUST(errno == EINTR);
        }
    }
    MUST(near.ends.closed == 0);
    MUST(lines == 0);
    MUST(outlet_loop_free(l) == OUTLET_OK);
    MUST(near.ends.closed == 2);
}

static void
a_signal_of_the_program_disturbs_nothing(void **state)
{
    outlet_loop_free(new_loop(state, 1));
    assert_int_equal(in_child(disturb, state), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_io_uring_epoll_takes_its_place_with_one_line),
        TWICE(the_environment_names_the_driver_unless_the_program_does),
        TWICE(a_loop_whose_threads_cannot_be_made_is_freed_whole),
        TWICE(writing_to_a_peer_that_is_gone_raises_no_signal),
        TWICE(own_threads_block_every_signal_and_the_caller_s_mask_stays),
        TWICE(a_signal_of_the_program_disturbs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
