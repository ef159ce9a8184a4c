/*
 * limits_test.c - what runs out: time, room for connections, descriptors.
 *
 * On the simulator the clock is virtual and the defaults are tried as they are; elsewhere short ones.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint8_t block[1 << 20];

/* A limit of `ms`: where the clock is real, not before it and not long after. */
static void
assert_took(struct net *n, int64_t since, int64_t ms)
{
    int64_t took = net_now_ms(n) - since;

    assert_in_range(took, net_is_sim() ? ms - 2 : ms - 15, net_is_sim() ? ms + ms / 8 + 20 : ms + 3000);
}

/* ---- idle --------------------------------------------------------------------------------------------- */

static void
the_idle_are_closed(void **state)
{
    (void)state;
    for (int by_default = 0; by_default <= net_is_sim(); by_default++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        int64_t began;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0%s", by_default ? "" : "#idle_ms=40");
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        began = net_now_ms(&n);
        UNTIL(&n, s.ends[0].closes && e.closes);
        assert_took(&n, began, by_default ? 300000 : 40);
        assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
        assert_int_equal(s.ends[0].why.phase, OUTLET_AT_OPEN);
        net_close(&n);
    }
}

static void
say_something(outlet_timer t, void *arg)
{
    struct end *e = arg;

    if (e->results[0]++ == 12)
        (void)outlet_timer_stop(t); /* it is running: it cannot be stale */
    else
        e->result = outlet_send(e->c, "x", 1);
}

static void
bytes_either_way_are_a_sign_of_life(void **state)
{
    (void)state;
    for (int from_server = 0; from_server < 2; from_server++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        outlet_timer t;
        int64_t began;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#idle_ms=100");
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        began = net_now_ms(&n);
        assert_int_equal(outlet_timer_start(n.loop, 20, 20, say_something,
                                            from_server ? &s.ends[0] : &e, &t),
                         OUTLET_OK);
        UNTIL(&n, s.ends[0].closes);
        assert_true(net_now_ms(&n) - began >= 12 * 20 + 100 - 2);
        net_end_fini(&e);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
off_is_no_limit(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL,
               "tcp://127.0.0.1:0#frame=line,idle_ms=off,partial_ms=off,stall_ms=off,flush_ms=off");
    net_connect(&n, &e, NULL, "%s#connect_ms=off", s.at); /* connect's own idle_ms is off by default */
    UNTIL(&n, e.opens && s.count);
    assert_true(outlet_send(e.c, "half", 4) > 0);
    net_run_ms(&n, net_is_sim() ? 24 * 3600 * 1000 - 1 : 50);
    assert_int_equal(e.closes + s.ends[0].closes, 0);
    net_close(&n);
}

/* ---- partial, stalled, unflushed ------------------------------------------------------------------------- */

static void
dribble(outlet_timer t, void *arg)
{
    struct end *e = arg;

    (void)t;
    e->result = outlet_send(e->c, "x", 1); /* stale at last */
}

static void
a_message_that_never_ends_runs_out_of_time_though_bytes_trickle(void **state)
{
    (void)state;
    for (int by_default = 0; by_default <= net_is_sim(); by_default++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        outlet_timer t;
        int64_t began;
        int64_t step = by_default ? 5000 : 10;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line%s", by_default ? "" : ",partial_ms=60");
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        net_run_ms(&n, step * 20); /* no message has begun: nothing runs */
        assert_int_equal(s.ends[0].closes, 0);
        began = net_now_ms(&n);
        assert_int_equal(outlet_timer_start(n.loop, 0, step, dribble, &e, &t), OUTLET_OK);
        UNTIL(&n, s.ends[0].closes);
        assert_took(&n, began, by_default ? 30000 : 60);
        assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
        assert_non_null(strstr(s.ends[0].why.text, "partial_ms"));
        assert_int_equal(s.ends[0].messages, 0);
        assert_int_equal(outlet_timer_stop(t), OUTLET_OK);
        net_close(&n);
    }
}

static void
pause_it(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static const struct does sleepy = {.on_open = pause_it};

static void
a_peer_that_takes_nothing_stalls(void **state)
{
    (void)state;
    for (int by_default = 0; by_default <= net_is_sim(); by_default++) {
        struct net n;
        struct server s = {.does = &sleepy};
        struct end e = {0};
        int64_t began;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#idle_ms=off", net_place(&n, "abstract"));
        net_connect(&n, &e, NULL, "%s%s", s.at, by_default ? "" : "#stall_ms=50");
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        for (int i = 0; i < 4; i++) {
            assert_true(outlet_send(e.c, block, sizeof block) > 0);
        }
        net_run_ms(&n, 1);
        assert_true(outlet_queued(e.c) > 0);
        began = net_now_ms(&n);
        UNTIL(&n, e.closes);
        assert_took(&n, began, by_default ? 60000 - 2 : 50 - 2);
        assert_int_equal(e.why.code, OUTLET_ETIMEDOUT);
        assert_non_null(strstr(e.why.text, "stall_ms"));
        net_close(&n);
    }
}

/* The kernel takes a little every now and then: no stall, however long it lasts. */
static void
let_some_through(outlet_timer t, void *arg)
{
    struct end *e = arg;

    (void)t;
    e->result = e->results[0]++ % 2 ? outlet_pause(e->c) : outlet_resume(e->c);
}

static void
a_slow_peer_does_not_stall(void **state)
{
    struct net n;
    struct server s = {.does = &sleepy, .forget = true};
    struct end e = {0};
    outlet_timer t;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#idle_ms=off", net_place(&n, "abstract"));
    net_connect(&n, &e, NULL, "%s#stall_ms=150", s.at);
    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
    for (int i = 0; i < 12; i++) {
        assert_true(outlet_send(e.c, block, sizeof block) > 0);
    }
    assert_int_equal(outlet_timer_start(n.loop, 5, 5, let_some_through, &s.ends[0], &t), OUTLET_OK);
    net_run_ms(&n, 300);
    assert_int_equal(e.closes, 0);
    net_close(&n);
}

static void
a_close_is_bounded(void **state)
{
    (void)state;
    for (int by_default = 0; by_default <= net_is_sim(); by_default++) {
        for (int queued = 0; queued < 2; queued++) {
            struct net n;
            struct server s = {.does = &sleepy};
            struct end e = {0};
            int64_t began;

            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "%s#idle_ms=off,half_open", net_place(&n, "abstract"));
            net_connect(&n, &e, NULL, "%s%s", s.at, by_default ? "" : "#flush_ms=40");
            UNTIL(&n, e.opens && s.count && s.ends[0].opens);
            if (queued)
                assert_true(outlet_send(e.c, block, sizeof block) > 0);
            began = net_now_ms(&n);
            assert_int_equal(outlet_close(e.c), OUTLET_OK);
            UNTIL(&n, e.closes);
            assert_took(&n, began, by_default ? 5000 : 40);
            assert_int_equal(e.why.code, queued ? OUTLET_ETIMEDOUT : OUTLET_OK);
            net_close(&n);
        }
    }
}

/* ---- connecting ---------------------------------------------------------------------------------------------- */

static void
nobody_answers(void **state)
{
    struct net n;
    struct end e = {0};
    int64_t began;

    (void)state;
    net_open(&n, NULL);
    if (net_is_sim()) {
        struct ol_sim_faults faults = {.black_hole = 65536};
        struct server s = {0};

        net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
        net_run_ms(&n, 1);
        ol_sim_set_faults(n.world, &faults);
        began = net_now_ms(&n);
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.closes);
        assert_took(&n, began, 10000);
    } else {
        /* A listener that accepts nobody, and whose backlog is full. */
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t len = sizeof in;
        int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int fds[4];

        assert_int_equal(bind(l, (struct sockaddr *)&in, len), 0);
        assert_int_equal(listen(l, 0), 0);
        assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
        for (int i = 0; i < 4; i++) {
            fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            (void)!connect(fds[i], (struct sockaddr *)&in, len); /* EINPROGRESS */
        }
        began = net_now_ms(&n);
        net_connect(&n, &e, NULL, "tcp://127.0.0.1:%d#connect_ms=50", ntohs(in.sin_port));
        UNTIL(&n, e.closes);
        assert_took(&n, began, 50);
        for (int i = 0; i < 4; i++) {
            close(fds[i]);
        }
        close(l);
    }
    assert_string_equal(e.story, "C");
    assert_int_equal(e.why.code, OUTLET_ETIMEDOUT);
    assert_int_equal(e.why.phase, OUTLET_AT_CONNECT);
    assert_int_equal(e.why.side, OUTLET_BY_SYSTEM);
    net_close(&n);
}

/* ---- how many ---------------------------------------------------------------------------------------------------- */

static void
more_connections_than_conns_are_turned_away(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[5] = {{0}};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#conns=3");
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
        UNTIL(&n, e[i].opens && s.count == i + 1);
    }
    net_connect(&n, &e[3], NULL, "%s", s.at);
    UNTIL(&n, e[3].closes);
    assert_int_equal(s.count, 3); /* nobody was told of it */
    assert_int_equal(net_listener_number(&s, "refused"), 1);
    assert_int_equal(net_listener_number(&s, "accepted"), 3);
    assert_int_equal(net_listener_number(&s, "connections"), 3);
    assert_int_equal(outlet_close(e[0].c), OUTLET_OK);
    UNTIL(&n, net_listener_number(&s, "connections") == 2);
    net_connect(&n, &e[4], NULL, "%s", s.at);
    UNTIL(&n, s.count == 4 && s.ends[3].opens);
    assert_int_equal(e[4].closes, 0);
    net_close(&n);
}

static void
addresses_are_counted_for_themselves(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "[::1]"};
    struct net n;
    struct server s = {0};
    struct end e[8] = {{0}};
    unsigned port;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://localhost:0#conns_per_address=2");
    assert_int_equal(sscanf(strrchr(s.at, ':'), ":%u", &port), 1);
    for (int i = 0; i < 6; i++) {
        net_connect(&n, &e[i], NULL, "tcp://%s:%u", hosts[i / 3], port);
        UNTIL(&n, i % 3 == 2 ? e[i].closes : e[i].opens && s.count == i - i / 3 + 1);
    }
    assert_int_equal(s.count, 4);
    assert_int_equal(net_listener_number(&s, "refused"), 2);
    assert_int_equal(outlet_abort(e[0].c), OUTLET_OK);
    UNTIL(&n, s.ends[0].closes);
    net_connect(&n, &e[6], NULL, "tcp://127.0.0.1:%u", port);
    UNTIL(&n, s.count == 5);
    net_connect(&n, &e[7], NULL, "tcp://127.0.0.1:%u", port);
    UNTIL(&n, e[7].closes);
    assert_int_equal(s.count, 5);
    net_close(&n);
}

/* ---- no descriptors left --------------------------------------------------------------------------------------------- */

static double
cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* In a child, whose limit cannot hurt anybody.  Answers 0 when all went well. */
static int
run_out_of_descriptors(void)
{
    struct net n;
    struct server s = {0};
    struct rlimit limit;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    unsigned port;
    int fds[8];
    int spare[64];
    int spares = 0;
    int64_t until;
    double cpu;
    int turns = 0;

    net_open(&n, NULL);
    net_run_ms(&n, 1);
    /* io_uring remembers the limit from when accepting began: that is in the next turn. */
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#conns=1000");
    if (sscanf(s.at, "tcp://127.0.0.1:%u", &port) != 1)
        return 1;
    in.sin_port = htons((uint16_t)port);
    for (int i = 0; i < 8; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)dup(0) + 3; /* two are left */
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 2;
    while (spares < 64 && (spare[spares] = dup(0)) >= 0) {
        spares++;
    }
    close(spare[--spares]);
    close(spare[--spares]);
    for (int i = 0; i < 8; i++) {
        if (connect(fds[i], (struct sockaddr *)&in, sizeof in) < 0)
            return 3;
    }
    cpu = cpu_ms();
    until = net_now_ms(&n) + 250;
    while (net_now_ms(&n) < until) {
        (void)outlet_loop_turn(n.loop, 50); /* it is alive */
        turns++;
    }
    if (s.count != 2 || !strstr(n.log, "cannot accept"))
        return 4;
    if (turns > 60 || cpu_ms() - cpu > 150)
        return 5; /* it spun */
    while (spares > 0) {
        close(spare[--spares]);
    }
    limit.rlim_cur += 20;
    setrlimit(RLIMIT_NOFILE, &limit);
    net_begin(&n);
    while (s.count < 8 && net_step(&n)) {
    }
    return s.count == 8 ? 0 : 6;
}

static void
without_descriptors_accepting_waits_and_does_not_spin(void **state)
{
    int status;
    pid_t child;

    (void)state;
    if (net_is_sim())
        skip();
    child = fork();
    if (child == 0)
        _exit(run_out_of_descriptors());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void
without_descriptors_in_the_simulator_too(void **state)
{
    struct ol_sim_faults faults = {.accept_fails = 65536};
    struct ol_sim_faults none = {0};
    struct net n;
    struct server s = {0};
    struct end e[3] = {{0}};

    (void)state;
    if (!net_is_sim())
        skip();
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_run_ms(&n, 1);
    ol_sim_set_faults(n.world, &faults);
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    net_run_ms(&n, 1000);
    assert_int_equal(s.count, 0);
    ol_sim_set_faults(n.world, &none);
    UNTIL(&n, s.count == 3);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_idle_are_closed),
    cmocka_unit_test(bytes_either_way_are_a_sign_of_life),
    cmocka_unit_test(off_is_no_limit),
    cmocka_unit_test(a_message_that_never_ends_runs_out_of_time_though_bytes_trickle),
    cmocka_unit_test(a_peer_that_takes_nothing_stalls),
    cmocka_unit_test(a_slow_peer_does_not_stall),
    cmocka_unit_test(a_close_is_bounded),
    cmocka_unit_test(nobody_answers),
    cmocka_unit_test(more_connections_than_conns_are_turned_away),
    cmocka_unit_test(addresses_are_counted_for_themselves),
    cmocka_unit_test(without_descriptors_accepting_waits_and_does_not_spin),
    cmocka_unit_test(without_descriptors_in_the_simulator_too),
};

NET_MAIN(tests)
