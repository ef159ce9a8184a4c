/*
 * busy_test.c - a reactor that looks before it sleeps: at whom it heard last, or giving the CPU to
 * others meanwhile.  Nobody is forgotten.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TRIPS = 200 };

struct talk {
    outlet_loop *loop;
    outlet_conn asks;
    int trips;
    bool has_rung;
    bool is_aborted;
};

static void
answer(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const void *bytes = outlet_msg_data(m, &len);

    (void)user;
    ignore(outlet_send(c, bytes, len));
}

static void
end_when_all_were_heard(struct talk *t)
{
    if (t->trips >= TRIPS && t->has_rung && t->is_aborted)
        ignore(outlet_loop_stop(t->loop)); /* more may be heard in the same turn */
}

static void
count(outlet_conn c, outlet_msg *m, void *user)
{
    struct talk *t = user;

    if (c.id == t->asks.id)
        t->trips++;
    answer(c, m, user);
    end_when_all_were_heard(t);
}

static void
ring(outlet_timer timer, void *user)
{
    struct talk *t = user;

    (void)timer;
    t->has_rung = true;
    end_when_all_were_heard(t);
}

static void
gone(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    ((struct talk *)user)->is_aborted = true;
}

/* Asks and asks: whoever is looked at alone, it is the connection of this one, and in vain for a
 * few microseconds only. */
static void *
talk_on_and_on(void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*(uint16_t *)arg)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char bytes[64] = "on and on";

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        while (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) > 0 &&
               recv(fd, bytes, sizeof bytes, 0) > 0)
            ;
    }
    close(fd);
    return NULL;
}

/* By mail. */
static void *
abort_it(void *arg)
{
    return (void *)(intptr_t)outlet_abort(*(outlet_conn *)arg);
}

static const struct outlet_handlers talkers = {.size = sizeof talkers, .on_message = answer};
static const struct outlet_handlers askers = {.size = sizeof askers, .on_message = count};
static const struct outlet_handlers victims = {.size = sizeof victims, .on_close = gone};

static void
who_never_stops_talking_hides_nobody(void **state)
{
    struct outlet_loop_opts how = OUTLET_LOOP_OPTS;
    struct outlet_opts o = OUTLET_OPTS;
    struct talk t = {.loop = NULL};
    outlet_conn victim[2];
    outlet_conn c[2];
    outlet_timer timer;
    pthread_t talker;
    pthread_t aborter;
    void *answered;
    char at[256];
    uint16_t port;

    how.busy_poll_us = 100000;
    t.loop = new_loop_with(state, &how);
    o.user = &t;
    o.on = &victims;
    assert_int_equal(outlet_pair(t.loop, "pair:", &o, &victim[0], &victim[1]), OUTLET_OK);
    (void)listen_at(t.loop, "tcp://127.0.0.1:0", &talkers, &t, at);
    port = (uint16_t)strtol(strrchr(at, ':') + 1, NULL, 10);
    assert_int_equal(pthread_create(&talker, NULL, talk_on_and_on, &port), 0);
    o.on = &askers;
    assert_int_equal(outlet_pair(t.loop, "pair:", &o, &c[0], &c[1]), OUTLET_OK);
    t.asks = c[0];
    assert_true(outlet_send(c[0], "and I?", 6) >= 0);
    assert_int_equal(outlet_timer_start(t.loop, 1, 0, ring, &t, &timer), OUTLET_OK);
    assert_int_equal(pthread_create(&aborter, NULL, abort_it, &victim[0]), 0);
    assert_int_equal(outlet_loop_run(t.loop), OUTLET_OK);
    pthread_join(talker, NULL);
    pthread_join(aborter, &answered);
    assert_int_equal((intptr_t)answered, OUTLET_OK);
    assert_true(t.trips >= TRIPS && t.has_rung && t.is_aborted);
    assert_int_equal(outlet_loop_free(t.loop), OUTLET_OK);
}

/* ---- more reactors than CPUs ---- */

enum { CROWD = 3, PAIRS = 12 };

struct crowd {
    struct meet trips;
    struct meet rung;
    struct meet closed;
};

static void
count_and_answer(outlet_conn c, outlet_msg *m, void *user)
{
    meet_add(&((struct crowd *)user)->trips, 1);
    answer(c, m, user);
}

static void
count_ring(outlet_timer timer, void *user)
{
    (void)timer;
    meet_add(&((struct crowd *)user)->rung, 1);
}

static void
count_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    meet_add(&((struct crowd *)user)->closed, 1);
}

static const struct outlet_handlers crowders = {.size = sizeof crowders,
                                                .on_message = count_and_answer,
                                                .on_close = count_close};

/* How many CPUs there are is looked up when it is made. */
static outlet_loop *
new_crowded_loop(void **state, struct outlet_loop_opts *how)
{
    outlet_loop *l;
    cpu_set_t all;
    cpu_set_t one;
    int cpu = 0;

    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    while (!CPU_ISSET(cpu, &all)) {
        cpu++;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    how->threads = CROWD;
    l = new_loop_with(state, how);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK); /* its threads inherit the one */
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    return l;
}

static void
reactors_that_share_a_cpu_serve_everybody(void **state)
{
    for (int64_t us = 0; us <= 1000; us += 1000) {
        struct outlet_loop_opts how = OUTLET_LOOP_OPTS;
        struct outlet_opts o = OUTLET_OPTS;
        struct crowd crowd;
        outlet_conn c[PAIRS][2];
        outlet_timer timer;
        outlet_loop *l;

        how.busy_poll_us = us;
        l = new_crowded_loop(state, &how);
        meet_init(&crowd.trips);
        meet_init(&crowd.rung);
        meet_init(&crowd.closed);
        o.on = &crowders;
        o.user = &crowd;
        for (int i = 0; i < PAIRS; i++) {
            assert_int_equal(outlet_pair(l, "pair:", &o, &c[i][0], &c[i][1]), OUTLET_OK);
            assert_true(outlet_send(c[i][0], "on and on", 9) >= 0);
        }
        assert_int_equal(outlet_timer_start(l, 1, 0, count_ring, &crowd, &timer), OUTLET_OK);
        assert_true(meet_wait(&crowd.trips, TRIPS * PAIRS));
        assert_true(meet_wait(&crowd.rung, 1));
        for (int i = 0; i < PAIRS; i++) {
            assert_int_equal(outlet_abort(c[i][0]), OUTLET_OK); /* by mail */
        }
        assert_true(meet_wait(&crowd.closed, (int64_t)2 * PAIRS));
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        meet_fini(&crowd.trips);
        meet_fini(&crowd.rung);
        meet_fini(&crowd.closed);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(who_never_stops_talking_hides_nobody),
        TWICE(reactors_that_share_a_cpu_serve_everybody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
