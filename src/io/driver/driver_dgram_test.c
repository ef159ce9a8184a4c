/*
 * driver_dgram_test.c - datagrams on every driver: whole, in batches, too long, to nobody.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include <errno.h>

static void
udp_echo(struct world *w, struct ol_addr any, struct ol_addr asked)
{
    struct ol_addr bound;
    struct ol_addr local;
    struct peer *server = dgrams_at(w, any, &bound);
    struct peer *client;

    server->reply = true;
    asked.port = bound.port;
    client = connect_to(w, OL_LINK_DGRAM, asked);
    send_datagram(client, "ping", 4, NULL);
    RUN_UNTIL(w, client->datagrams == 1); /* connected: takes it only from the address it asked */
    assert_int_equal(client->last_len, 4);
    assert_memory_equal(client->last, "ping", 4);
    assert_int_equal(w->ops->address(w->d, &client->link, false, &local), 0);
    assert_true(ol_addr_same(&local, &server->from));
    assert_true(server->has_to);
    assert_memory_equal(server->to.ip, asked.ip, 16);

    client->reply = false;
    send_datagram(server, "pong!", 5, &server->from);
    RUN_UNTIL(w, client->datagrams == 2 || client->receive_error);
    assert_int_equal(server->send_error, 0);
}

static void
udp_over_v4_answers_from_the_address_that_was_asked(void **state)
{
    struct world *w = *state;
    struct ol_addr any = {.kind = OL_ADDR_V4};
    struct ol_addr bound;
    struct ol_addr asked = v4(2, 0);
    struct peer *server = dgrams_at(w, any, &bound);
    struct peer *client;

    server->reply = true;
    asked.port = bound.port;
    client = connect_to(w, OL_LINK_DGRAM, asked);
    send_datagram(client, "ping", 4, NULL);
    RUN_UNTIL(w, client->datagrams == 1); /* connected: takes it only from the address it asked */
    assert_int_equal(server->to.ip[3], 2);
}

static void
udp_over_v4_echoes(void **state)
{
    udp_echo(*state, (struct ol_addr){.kind = OL_ADDR_V4}, v4(1, 0));
}

static void
udp_over_v6_echoes(void **state)
{
    udp_echo(*state, (struct ol_addr){.kind = OL_ADDR_V6}, v6(0));
}

static void
the_largest_datagram_goes_whole(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec piece = {w->wave, OL_DGRAM_MAX + 1};
    struct ol_dgram too_long = {.pieces = &piece, .count = 1};

    server->reply = true;
    send_datagram(client, w->wave, OL_DGRAM_MAX, NULL);
    RUN_UNTIL(w, client->datagrams == 1);
    assert_int_equal(client->last_len, OL_DGRAM_MAX);
    assert_memory_equal(client->last, w->wave, OL_DGRAM_MAX);
    assert_false(server->truncated);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, &too_long, 1), -EMSGSIZE);
}

static void
an_empty_datagram_is_not_an_end(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    send_datagram(client, "", 0, NULL);
    RUN_UNTIL(w, server->datagrams == 1);
    assert_true(server->receive_more);
    send_datagram(client, "x", 1, NULL);
    RUN_UNTIL(w, server->datagrams == 2);
    assert_int_equal(server->datagram_bytes, 1);
}

static void
a_hundred_datagrams_go_in_batches(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec pieces[100];
    struct ol_dgram messages[100];
    uint8_t bytes[100];
    int sent = 0;

    for (int i = 0; i < 100; i++) {
        bytes[i] = (uint8_t)i;
        pieces[i] = (struct iovec){&bytes[i], 1};
        messages[i] = (struct ol_dgram){.pieces = &pieces[i], .count = 1};
    }
    while (sent < 100) {
        int n = w->ops->send_dgrams(w->d, &client->link, messages + sent, 100 - sent);

        assert_true(n > 0);
        sent += n;
    }
    RUN_UNTIL(w, server->datagrams == 100);
    for (int i = 0; i < 100; i++)
        assert_true(server->seen[i / 32] & OL_BIT(i % 32));
}

static void
many_datagrams_of_several_sockets_take_turns(void **state)
{
    struct world *w = *state;
    enum { N = 3, EACH = 60 };
    struct peer *servers[N];
    struct ol_addr bound[N];
    struct peer *client = NULL;

    for (int i = 0; i < N; i++)
        servers[i] = dgrams_at(w, v4(1, 0), &bound[i]);
    for (int i = 0; i < N; i++) {
        client = connect_to(w, OL_LINK_DGRAM, bound[i]);
        for (int k = 0; k < EACH; k++)
            send_datagram(client, w->wave, 100, NULL);
    }
    for (int i = 0; i < N; i++) {
        RUN_UNTIL(w, servers[i]->datagrams == EACH);
        assert_int_equal(servers[i]->datagram_bytes, EACH * 100);
    }
}

static void
a_bad_datagram_in_a_batch_does_not_hold_the_others(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec good = {w->wave, 1};
    struct iovec bad = {w->wave, OL_DGRAM_MAX + 1};
    struct ol_dgram messages[3] = {
        {.pieces = &good, .count = 1}, {.pieces = &bad, .count = 1}, {.pieces = &good, .count = 1}};

    client->pending = true;
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages, 3), 1);
    RUN_UNTIL(w, !client->pending);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages + 1, 2), -EMSGSIZE);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages + 2, 1), 1);
    RUN_UNTIL(w, server->datagrams == 2);
}

static void
a_datagram_that_is_too_long_is_marked(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, abstract(), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    send_datagram(client, w->wave, 150000, NULL);
    RUN_UNTIL(w, server->datagrams == 1);
    assert_true(server->truncated);
    assert_true(server->last_len >= OL_DGRAM_MAX);
    send_datagram(client, w->wave, 1000, NULL);
    RUN_UNTIL(w, server->datagrams == 2);
    assert_false(server->truncated);
}

static void
a_connected_udp_socket_hears_that_nobody_is_there(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *gone = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client;
    struct peer *server;

    close_peer(gone, false);
    RUN_UNTIL(w, gone->closed);
    client = connect_to(w, OL_LINK_DGRAM, bound);
    send_datagram(client, "x", 1, NULL);
    RUN_UNTIL(w, client->receive_error);
    assert_int_equal(client->receive_error, -ECONNREFUSED);
    assert_true(client->receive_more);

    server = dgrams_at(w, bound, &bound);
    server->reply = true;
    send_datagram(client, "y", 1, NULL);
    RUN_UNTIL(w, client->datagrams == 1);
}

static void
without_memory_receiving_ends_and_can_be_started_again(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    failing_heap_exhaust(&w->heap);
    send_datagram(client, "x", 1, NULL);
    for (int i = 0; i < 100 && !server->receive_error && !server->datagrams; i++)
        (void)step(w, w->ops->now(w->d) + 20 * OL_MS);
    failing_heap_reset(&w->heap, 0);
    if (server->receive_error) { /* a driver may have had its memory already */
        assert_int_equal(server->receive_error, -ENOMEM);
        assert_false(server->receive_more);
        receive(server);
    }
    RUN_UNTIL(w, server->datagrams == 1);
}

/* ---- the list ---------------------------------------------------------------------------- */

static const struct CMUnitTest for_every_driver[] = {
    IN_WORLD(udp_over_v4_answers_from_the_address_that_was_asked),
    IN_WORLD(udp_over_v4_echoes),
    IN_WORLD(udp_over_v6_echoes),
    IN_WORLD(the_largest_datagram_goes_whole),
    IN_WORLD(an_empty_datagram_is_not_an_end),
    IN_WORLD(a_hundred_datagrams_go_in_batches),
    IN_WORLD(many_datagrams_of_several_sockets_take_turns),
    IN_WORLD(a_bad_datagram_in_a_batch_does_not_hold_the_others),
    IN_WORLD(a_connected_udp_socket_hears_that_nobody_is_there),
};

static const struct CMUnitTest for_the_kernel[] = {
    IN_WORLD(a_datagram_that_is_too_long_is_marked),
    IN_WORLD(without_memory_receiving_ends_and_can_be_started_again),
};

int
main(void)
{
    return run_in_worlds(WORLD_TESTS(for_every_driver), WORLD_TESTS(for_the_kernel),
                         NO_WORLD_TESTS);
}
