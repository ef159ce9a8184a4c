/*
 * crowd_test.c - a million connections at once in the simulated network, through the public API:
 * every one is opened, has one message echoed, rests with all the others, and is closed once.
 *
 * Server, clients and network have a heap each, so that what a connection costs is known for each.
 * How many there are is the program's argument.
 *
 * What a newcomer gets wrong: to begin everything at once.  What is under way then takes more
 * memory than what rests, and the backlog is full.  Here each that is done begins the next.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "io/loop/loop.h"
#include "outlet/outlet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    MILLION = 1000000,
    UNDER_WAY = 1024, /* below the backlog */
    /* Bytes of each connection at rest; measured: 252, 782 and 194. */
    SERVER_MAX = 256,
    CLIENT_MAX = 800,
    NETWORK_MAX = 208
};

#define FRAME "fixed:4" /* the network slices */

struct client {
    outlet_conn conn;
    uint8_t opens;
    uint8_t messages;
    uint8_t closes;
};

static struct crowd {
    int size;
    struct ol_sim *world;
    struct failing_heap network_heap;
    struct failing_heap server_heap;
    struct failing_heap client_heap;
    outlet_loop *server;
    outlet_loop *clients;
    outlet_listener listener;
    char url[64];

    struct client *client;
    void (*begin)(struct client *c); /* what this phase does with each */
    int begun;                       /* clients that it has reached */
    int opens;
    int messages;
    int closes;
    int wrong; /* echoes, results, reasons */

    uint8_t *served; /* closes of each connection, in the order of their coming */
    int server_opens;
    int server_messages;
    int server_closes;
} crowd;

/* ---- the server -------------------------------------------------------------------------- */

static void
server_open(outlet_conn c, void *user)
{
    (void)user;
    if (crowd.server_opens == crowd.size) {
        crowd.wrong++;
        return;
    }
    crowd.wrong += outlet_set_user(c, &crowd.served[crowd.server_opens++]) != OUTLET_OK;
}

static void
server_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    crowd.server_messages++;
    crowd.wrong += outlet_send(c, bytes, len) < 0;
}

static void
server_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    uint8_t *closes = user;

    (void)c;
    crowd.server_closes++;
    crowd.wrong += why->code != OUTLET_OK || ++*closes != 1;
}

/* ---- the clients ------------------------------------------------------------------------- */

static const struct outlet_handlers client_on;

static int
number_of(const struct client *c)
{
    return (int)(c - crowd.client);
}

static void
begin_open(struct client *c)
{
    struct outlet_opts opts = OUTLET_OPTS;

    opts.on = &client_on;
    opts.user = c;
    opts.frame = FRAME;
    crowd.wrong += outlet_connect(crowd.clients, crowd.url, &opts, &c->conn) != OUTLET_OK;
}

static void
begin_message(struct client *c)
{
    int number = number_of(c);

    crowd.wrong += outlet_send(c->conn, &number, sizeof number) < 0;
}

static void
begin_close(struct client *c)
{
    crowd.wrong += outlet_close(c->conn) != OUTLET_OK;
}

static void
next(void)
{
    if (crowd.begun < crowd.size)
        crowd.begin(&crowd.client[crowd.begun++]);
}

static void
client_open(outlet_conn c, void *user)
{
    struct client *me = user;

    crowd.opens++;
    crowd.wrong += ++me->opens != 1 || c.id != me->conn.id;
    next();
}

static void
client_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct client *me = user;
    int number = number_of(me);
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    crowd.messages++;
    crowd.wrong += ++me->messages != 1 || len != sizeof number ||
                   memcmp(bytes, &number, sizeof number) != 0;
    next();
}

static void
client_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct client *me = user;

    (void)c;
    crowd.closes++;
    crowd.wrong += ++me->closes != 1 || why->code != OUTLET_OK;
    next();
}

static const struct outlet_handlers client_on = {.size = sizeof client_on,
                                                 .on_open = client_open,
                                                 .on_message = client_message,
                                                 .on_close = client_close};

static void
first_ones(void *arg)
{
    (void)arg;
    for (int i = 0; i < UNDER_WAY; i++)
        next();
}

/* ---- the world --------------------------------------------------------------------------- */

static bool
step(void)
{
    struct ol_driver *d = ol_sim_next(crowd.world, ol_sim_now(crowd.world) + 1000 * OL_MS);

    if (!d)
        return false;
    return outlet_loop_turn(ol_loop_reactor_of(crowd.server, d) ? crowd.server : crowd.clients,
                            0) == OUTLET_OK;
}

/* All clients, one phase, until both sides have counted them all. */
static void
everybody(void (*begin)(struct client *c), const int *clients, const int *served)
{
    crowd.begin = begin;
    crowd.begun = 0;
    assert_int_equal(outlet_post(crowd.clients, first_ones, NULL), OUTLET_OK);
    while (*clients < crowd.size || *served < crowd.size) {
        if (!step())
            fail_msg("nothing happens any more: %d of the clients, %d of the server's, %d wrong",
                     *clients, *served, crowd.wrong);
    }
    assert_int_equal(crowd.wrong, 0);
}

static outlet_loop *
open_loop(struct failing_heap *heap)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    outlet_loop *loop;

    failing_heap_init(heap, 0);
    opts.driver = "sim";
    opts.allocator = heap->heap;
    assert_int_equal(ol_loop_new_in(&loop, &opts, crowd.world), OUTLET_OK);
    return loop;
}

static int
set_up(void **state)
{
    static const struct outlet_handlers on = {.size = sizeof on,
                                              .on_open = server_open,
                                              .on_message = server_message,
                                              .on_close = server_close};
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    failing_heap_init(&crowd.network_heap, 0);
    crowd.world = ol_sim_new(&crowd.network_heap.heap, 1, NULL);
    crowd.client = calloc((size_t)crowd.size, sizeof *crowd.client);
    crowd.served = calloc((size_t)crowd.size, 1);
    if (!crowd.world || !crowd.client || !crowd.served)
        return -1;
    crowd.server = open_loop(&crowd.server_heap);
    crowd.clients = open_loop(&crowd.client_heap);
    opts.on = &on;
    opts.frame = FRAME;
    opts.conns = crowd.size; /* the default knows nothing of a world without descriptors */
    if (outlet_listen(crowd.server, "tcp://10.0.0.1:0", &opts, &crowd.listener) != OUTLET_OK)
        return -1;
    if (outlet_listener_info(crowd.listener, "url", crowd.url, sizeof crowd.url) < 0)
        return -1;
    crowd.url[strcspn(crowd.url, "#")] = 0; /* its options are the listener's */
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    free(crowd.client);
    free(crowd.served);
    return 0;
}

/* ---- the test ---------------------------------------------------------------------------- */

static int64_t
connections(void)
{
    char text[32];

    assert_true(outlet_listener_info(crowd.listener, "connections", text, sizeof text) > 0);
    return strtoll(text, NULL, 10);
}

static double
each(struct failing_heap *heap, int64_t before)
{
    return (double)(failing_heap_bytes(heap) - before) / crowd.size;
}

static void
all_live_at_once_and_end_once(void **state)
{
    int64_t server_before = failing_heap_bytes(&crowd.server_heap);
    int64_t client_before = failing_heap_bytes(&crowd.client_heap);
    int64_t network_before = failing_heap_bytes(&crowd.network_heap);
    double server;
    double client;
    double network;

    (void)state;
    everybody(begin_open, &crowd.opens, &crowd.server_opens);
    assert_int_equal(connections(), crowd.size);
    everybody(begin_message, &crowd.messages, &crowd.server_messages);
    assert_int_equal(crowd.closes + crowd.server_closes, 0);
    assert_int_equal(ol_sim_open_sockets(crowd.world), 2 * (size_t)crowd.size + 1);

    server = each(&crowd.server_heap, server_before);
    client = each(&crowd.client_heap, client_before);
    network = each(&crowd.network_heap, network_before);
    printf("# %d connections at rest, bytes of each: server %.1f, client %.1f, network %.1f\n",
           crowd.size, server, client, network);
    assert_true(server > 0 && server <= SERVER_MAX);
    assert_true(client > 0 && client <= CLIENT_MAX);
    assert_true(network > 0 && network <= NETWORK_MAX);

    everybody(begin_close, &crowd.closes, &crowd.server_closes);
    assert_int_equal(connections(), 0);
    for (int i = 0; i < crowd.size; i++) {
        const struct client *c = &crowd.client[i];

        if (c->opens != 1 || c->messages != 1 || c->closes != 1 || crowd.served[i] != 1)
            fail_msg("connection %d: %d opens, %d messages, %d closes, %d of the server's", i,
                     c->opens, c->messages, c->closes, crowd.served[i]);
        assert_int_equal(outlet_close(c->conn), OUTLET_ESTALE);
    }

    assert_int_equal(outlet_loop_free(crowd.clients), OUTLET_OK);
    assert_int_equal(outlet_loop_free(crowd.server), OUTLET_OK);
    assert_int_equal(ol_sim_open_sockets(crowd.world), 0);
    ol_sim_free(crowd.world);
    assert_int_equal(failing_heap_live(&crowd.server_heap), 0);
    assert_int_equal(failing_heap_live(&crowd.client_heap), 0);
    assert_int_equal(failing_heap_live(&crowd.network_heap), 0);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_live_at_once_and_end_once)};

    crowd.size = argc > 1 ? (int)strtol(argv[1], NULL, 10) : MILLION;
    if (crowd.size <= 0) {
        fprintf(stderr, "usage: %s [connections]\n", argv[0]);
        return 2;
    }
    return cmocka_run_group_tests_name("crowd", tests, set_up, tear_down);
}
