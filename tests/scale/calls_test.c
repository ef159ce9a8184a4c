/*
 * calls_test.c - how many system calls an echo takes, counted from outside.
 *
 * The server is traced: each of its system calls stops it and is counted here.  It marks the begin
 * and the end of what is counted by a call that nothing else makes (getpriority).  The client sends
 * one write to each connection and waits for all echoes, round after round, so what is in flight on
 * a connection arrives as one.
 *
 * A batch is what one turn of the loop finds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MESSAGE = 64, CONNS_MAX = 64, IN_FLIGHT_MAX = 16, CALLS = 512 };

static const struct flow {
    const char *name;
    int conns;
    int in_flight;
    int rounds;
} flows[] = {
    {"1 connection, 1 in flight", 1, 1, 5000},
    {"1 connection, 16 in flight", 1, 16, 5000},
    {"64 connections, 16 in flight", 64, 16, 200},
};

/* Seen by both sides. */
struct seen {
    int64_t turns; /* while counting */
    int64_t bytes;
};

/* ---- the server, traced ---- */

static struct server {
    struct seen *seen;
    bool is_counting;
    bool is_over;
} server;

static void
mark(void)
{
    syscall(SYS_getpriority, PRIO_PROCESS, 0);
}

/* A message that begins with B or E is a mark, and is echoed like the others. */
static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    if (bytes[0] == 'B' || bytes[0] == 'E') {
        server.is_counting = bytes[0] == 'B';
        mark();
    }
    if (server.is_counting)
        server.seen->bytes += (int64_t)len;
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

static void
serve(int control, const void *arg)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};
    struct outlet_opts opts = OUTLET_OPTS;
    struct scale_side s;
    outlet_listener at;
    int port;

    server.seen = (struct seen *)(uintptr_t)arg;
    opts.on = &on;
    if (!scale_side_open(&s, scale_driver, 0, control))
        return;
    port = scale_listen(s.loop, "tcp://127.0.0.1:0", &opts, &at);
    scale_say(control, &(struct scale_word){.n = {port}});
    while (!s.has_word) {
        outlet_loop_turn(s.loop, -1);
        server.seen->turns += server.is_counting;
    }
    scale_side_close(&s);
}

/* ---- the client ---- */

static int
connect_one(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? fd : -1;
}

static bool
send_to_all(const int *fds, int n, char first, size_t len)
{
    uint8_t bytes[MESSAGE * IN_FLIGHT_MAX];

    memset(bytes, first, len);
    for (int i = 0; i < n; i++) {
        if (send(fds[i], bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
            return false;
    }
    for (int i = 0; i < n; i++) {
        if (recv(fds[i], bytes, len, MSG_WAITALL) != (ssize_t)len || bytes[len - 1] != first)
            return false;
    }
    return true;
}

struct client {
    const struct flow *flow;
    int port;
};

static void
drive(int control, const void *arg)
{
    const struct client *c = arg;
    int fds[CONNS_MAX];
    size_t len = (size_t)c->flow->in_flight * MESSAGE;
    bool good = true;

    for (int i = 0; i < c->flow->conns; i++)
        fds[i] = connect_one(c->port);
    good = send_to_all(fds, c->flow->conns, 'w', len) && send_to_all(fds, 1, 'B', MESSAGE);
    for (int round = 0; good && round < c->flow->rounds; round++)
        good = send_to_all(fds, c->flow->conns, 'm', len);
    good = good && send_to_all(fds, 1, 'E', MESSAGE);
    scale_say(control, &(struct scale_word){.what = good});
}

/* ---- the tracer ---- */

static struct tracer {
    int64_t calls[CALLS]; /* while counting */
    int marks;            /* seen */
} tracer;

/* Let the server run from call to call until its second mark, and then alone. */
static bool
trace(pid_t pid)
{
    int status;

    while (tracer.marks < 2) {
        struct __ptrace_syscall_info info;

        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            return false;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) &&
            ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 &&
            info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            if (info.entry.nr == SYS_getpriority)
                tracer.marks++;
            else if (tracer.marks == 1 && info.entry.nr < CALLS)
                tracer.calls[info.entry.nr]++;
        }
        if (ptrace(tracer.marks < 2 ? PTRACE_SYSCALL : PTRACE_DETACH, pid, 0, 0) != 0)
            return false;
    }
    return true;
}

static bool
seize(pid_t pid)
{
    return ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0 &&
           ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0;
}

static int64_t
sum(const long *calls, size_t n)
{
    int64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += tracer.calls[calls[i]];
    return all;
}

static int64_t
receives(void)
{
    static const long calls[] = {SYS_recvfrom, SYS_recvmsg, SYS_read, SYS_readv};

    return sum(calls, sizeof calls / sizeof *calls);
}

static int64_t
sends(void)
{
    static const long calls[] = {SYS_sendto, SYS_sendmsg, SYS_write, SYS_writev};

    return sum(calls, sizeof calls / sizeof *calls);
}

/* Where the machine has no fast clock, reading it is a system call: no fault of ours. */
static int64_t
clocks(void)
{
    static const long calls[] = {SYS_clock_gettime};

    return sum(calls, sizeof calls / sizeof *calls);
}

static int64_t
waits(void)
{
    static const long calls[] = {
#ifdef SYS_epoll_wait
        SYS_epoll_wait,
#endif
        SYS_epoll_pwait, SYS_epoll_pwait2, SYS_io_uring_enter};

    return sum(calls, sizeof calls / sizeof *calls);
}

/* A timer that stands from wait to wait: set again when it has rung, which is told to one wait. */
static int64_t
timers(void)
{
    static const long calls[] = {SYS_timerfd_settime};

    return sum(calls, sizeof calls / sizeof *calls);
}

static int64_t
others(void)
{
    int64_t all = 0;

    for (long i = 0; i < CALLS; i++) {
        all += tracer.calls[i];
    }
    return all - receives() - sends() - clocks() - waits() - timers();
}

static void
check(const struct flow *f, const struct seen *seen)
{
    /* Each connection sees one batch in each round; the two marks are batches of their own. */
    int64_t batches = (int64_t)f->conns * f->rounds + 2;
    int64_t messages = batches * f->in_flight;
    bool is_uring = strcmp(scale_driver, "uring") == 0;
    int64_t rings = is_uring ? 0 : timers() + 1; /* one that was set before */

    printf("# %s: %lld messages, %lld turns; calls: %lld to receive, %lld to send, %lld to wait, "
           "%lld to set a timer, %lld others; %.3f of each message\n",
           f->name, (long long)messages, (long long)seen->turns, (long long)receives(),
           (long long)sends(), (long long)waits(), (long long)timers(), (long long)others(),
           (double)(receives() + sends() + waits() + timers() + others()) / (double)messages);
    assert_int_equal(seen->bytes, (messages - 2 * f->in_flight + 1) * MESSAGE);
    assert_true(timers() <= batches / 100);
    assert_true(waits() <= seen->turns + 1 + rings);
    assert_int_equal(others(), 0);
    if (is_uring) {
        assert_int_equal(receives(), 0);
        assert_int_equal(sends(), 0);
        /* One that waits for messages, and one that finds the sends of the last one done. */
        assert_true(waits() <= 2 * batches);
    } else {
        assert_true(receives() <= batches + rings);
        assert_true(sends() <= batches);
        assert_true(waits() <= batches + 1 + rings);
    }
}

static void
count(const struct flow *f)
{
    struct seen *seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                             -1, 0);
    struct client client = {.flow = f};
    struct scale_word w;
    struct scale_peer s;
    struct scale_peer c;

    assert_true(seen != MAP_FAILED);
    tracer = (struct tracer){0};
    s = scale_fork(serve, seen);
    assert_true(s.pid > 0);
    assert_true(scale_hear(s.fd, &w));
    client.port = (int)w.n[0];
    if (!seize(s.pid)) {
        printf("# tracing is forbidden here: %s\n", strerror(errno));
        kill(s.pid, SIGKILL);
        scale_join(&s);
        skip();
    }
    c = scale_fork(drive, &client);
    assert_true(c.pid > 0);
    assert_true(trace(s.pid));
    assert_true(scale_hear(c.fd, &w));
    assert_int_equal(w.what, true);
    assert_int_equal(scale_join(&c), 0);
    scale_say(s.fd, &w);
    assert_int_equal(scale_join(&s), 0);
    check(f, seen);
    munmap(seen, sizeof *seen);
}

static void
a_batch_takes_one_call_each_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flows / sizeof flows[0]; i++)
        count(&flows[i]);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_batch_takes_one_call_each_way)};
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
