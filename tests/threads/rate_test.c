/*
 * rate_test.c - accepts_per_second while several reactors accept.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

enum { RATE = 100, BURST = 10, CLIENTS = 40, THREADS = 2 };

struct seen {
    struct meet accepted;
    struct meet opened;
};

static int
on_accept(outlet_conn c, void *user)
{
    struct seen *s = user;

    (void)c;
    meet_add(&s->accepted, 1);
    return 0;
}

static void
on_open(outlet_conn c, void *user)
{
    struct seen *s = user;

    (void)c;
    meet_add(&s->opened, 1);
}

static const struct outlet_handlers servers = {.size = sizeof servers, .on_accept = on_accept};
static const struct outlet_handlers clients = {.size = sizeof clients, .on_open = on_open};

/* Each socket may let in what it has asked for already when another one uses up the rate.  All
 * clients wait in the backlog before the reactors start: a slow machine that let them arrive one by
 * one would never use the rate up. */
static void
reactors_take_from_one_rate(void **state)
{
    struct seen s;
    outlet_loop *server = new_loop(state, THREADS);
    outlet_loop *client = new_loop(state, 1);
    char at[256];
    int64_t began;
    int64_t took;
    outlet_listener listener;

    meet_init(&s.accepted);
    meet_init(&s.opened);
    listener = listen_at(server, "tcp://127.0.0.1:0#accepts_per_second=100", &servers, &s, at);
    at[strcspn(at, "#")] = '\0';
    assert_int_equal(outlet_loop_start(client), OUTLET_OK);
    for (int i = 0; i < CLIENTS; i++) {
        struct outlet_opts o = OUTLET_OPTS;
        outlet_conn c;

        o.on = &clients;
        o.user = &s;
        assert_int_equal(outlet_connect(client, at, &o, &c), OUTLET_OK);
    }
    assert_true(meet_wait(&s.opened, CLIENTS));
    began = now_ms();
    assert_int_equal(outlet_loop_start(server), OUTLET_OK);
    assert_true(meet_wait(&s.accepted, CLIENTS));
    took = now_ms() - began;
    assert_true(took + 1 >= (CLIENTS - BURST - (THREADS - 1)) * 1000 / RATE);
    assert_true(outlet_listener_info(listener, "pauses", at, sizeof at) > 0);
    assert_true(strtol(at, NULL, 10) > 0);
    assert_int_equal(outlet_loop_free(client), OUTLET_OK);
    assert_int_equal(outlet_loop_free(server), OUTLET_OK);
    meet_fini(&s.accepted);
    meet_fini(&s.opened);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {TWICE(reactors_take_from_one_rate)};

    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
