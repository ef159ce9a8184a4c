/*
 * driver_stream_test.c - streams on every driver: echoes, large transfers, halves that end, pauses,
 * closing with anything under way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include <errno.h>

static void
tcp_over_v4_echoes(void **state)
{
    echo_over(*state, v4(1, 0));
}

static void
tcp_over_v6_echoes(void **state)
{
    echo_over(*state, v6(0));
}

static void
a_unix_path_echoes(void **state)
{
    echo_over(*state, in_directory(*state, "a.sock"));
}

static void
an_abstract_name_echoes(void **state)
{
    echo_over(*state, abstract());
}

static void
a_pair_echoes(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    pair_both(w, &a, &b);
    b->echo = true;
    send_wave(a, 100000);
    RUN_UNTIL(w, a->received == 100000);
    assert_false(a->wrong);
}

static void
move_much(struct world *w, struct peer *a, struct peer *b, size_t bytes)
{
    send_wave(a, bytes);
    send_wave(b, bytes);
    RUN_UNTIL(w, a->received == bytes && b->received == bytes);
    assert_false(a->wrong);
    assert_false(b->wrong);
    assert_true(a->times_pending > 0);
    assert_int_equal(a->sent, bytes);
}

static void
large_transfers_both_ways_are_exact_over_tcp(void **state)
{
    struct peer *a;
    struct peer *b;

    connect_both(*state, &a, &b);
    move_much(*state, a, b, 16u << 20);
}

static void
large_transfers_both_ways_are_exact_over_a_pair(void **state)
{
    struct peer *a;
    struct peer *b;

    pair_both(*state, &a, &b);
    move_much(*state, a, b, 8u << 20);
}

static void
send_now_takes_what_fits_and_keeps_nothing(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;
    struct iovec piece;
    size_t sent = 0;
    int64_t n;

    pair_both(w, &a, &b);
    do {
        piece = (struct iovec){w->wave + sent % WAVE, WAVE};
        n = w->ops->send_now(w->d, &a->link, &piece, 1);
        sent += n > 0 ? (size_t)n : 0;
    } while (n > 0 && sent < (64u << 20));
    assert_int_equal(n, -EAGAIN);
    RUN_UNTIL(w, b->received == sent);
    assert_false(b->wrong);
}

static void
what_is_sent_quietly_is_told_once(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    a->takes = true;
    for (int i = 0; i < 60; i++) {
        send_wave(a, 100);
        RUN_UNTIL(w, a->sent == a->to_send && b->received == a->to_send);
        assert_false(a->pending || a->wrong || b->wrong || a->send_error);
    }
    assert_true(a->took > 0 || !w->d->gathers);
    settle(w, 5);
    assert_int_equal(a->sent, a->to_send);
}

static void
half_closed_still_receives(void **state)
{
    struct world *w = *state;
    struct peer *client;
    struct peer *server;

    connect_both(w, &client, &server);
    send_wave(client, 300000);
    RUN_UNTIL(w, client->sent == 300000);
    assert_int_equal(w->ops->end_writing(w->d, &client->link), 0);
    RUN_UNTIL(w, server->ended);
    assert_int_equal(server->received, 300000);
    assert_false(server->receive_more);
    assert_false(client->ended);

    send_wave(server, 1000000);
    RUN_UNTIL(w, client->received == 1000000);
    close_peer(server, false);
    RUN_UNTIL(w, client->ended);
    assert_false(client->wrong);
    assert_false(server->wrong);
}

static void
close_while_the_peer_sends(struct world *w, bool reset)
{
    struct peer *client;
    struct peer *server;

    connect_both(w, &client, &server);
    send_wave(client, (size_t)1 << 40);
    RUN_UNTIL(w, server->received > 100000);
    close_peer(server, reset);
    RUN_UNTIL(w, server->closed == 1);
    RUN_UNTIL(w, client->receive_error || (!reset && client->ended));
    if (client->receive_error)
        assert_int_equal(client->receive_error, -ECONNRESET);
    assert_false(client->receive_more);
    close_peer(client, false);
    RUN_UNTIL(w, client->closed == 1);
}

static void
closing_while_the_peer_sends_ends_it(void **state)
{
    close_while_the_peer_sends(*state, false);
}

static void
closing_with_a_reset_is_seen_as_one(void **state)
{
    close_while_the_peer_sends(*state, true);
}

static void
closed_is_told_once_and_last_with_everything_under_way(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    send_wave(a, (size_t)1 << 40);
    send_wave(b, (size_t)1 << 40);
    settle(w, 5);
    w->ops->receive_stop(w->d, &b->link);
    settle(w, 20);
    assert_true(a->pending);
    close_peer(a, false);
    close_peer(b, false);
    assert_int_equal(a->closed, 0);
    RUN_UNTIL(w, a->closed && b->closed);
    settle(w, 20);
    assert_int_equal(a->closed + b->closed, 2);
}

static void
a_connect_can_be_closed_at_once(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *client = peer(w);
    struct ol_connect_spec spec = {.kind = OL_LINK_STREAM};

    (void)listen_at(w, v4(1, 0), &bound);
    spec.to = bound;
    assert_int_equal(w->ops->connect(w->d, &client->link, &spec), 0);
    close_peer(client, false);
    RUN_UNTIL(w, client->closed);
    settle(w, 10);
    assert_int_equal(client->closed, 1);
}

static void
stopping_to_receive_holds_the_peer_back(void **state)
{
    struct world *w = *state;
    size_t bytes = 32u << 20;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    w->ops->receive_stop(w->d, &b->link);
    send_wave(a, bytes);
    settle(w, 50);
    assert_true(a->pending);
    assert_true(b->received < bytes / 2);
    receive(b);
    RUN_UNTIL(w, b->received == bytes);
    assert_false(b->wrong);
}

static void
stopping_and_starting_again_at_once_loses_nothing(void **state)
{
    struct world *w = *state;
    size_t bytes = 4u << 20;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    send_wave(a, bytes);
    for (int i = 0; i < 10000 && b->received < bytes; i++) {
        w->ops->receive_stop(w->d, &b->link);
        if (i % 3 == 0)
            (void)step(w, w->ops->now(w->d) + OL_MS);
        receive(b);
        (void)step(w, w->ops->now(w->d) + OL_MS);
    }
    RUN_UNTIL(w, b->received == bytes);
    assert_false(b->wrong);
}

static void
a_paused_link_whose_peer_resets_does_not_spin(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    w->ops->receive_stop(w->d, &b->link);
    settle(w, 5);
    close_peer(a, true);
    RUN_UNTIL(w, a->closed);
    settle(w, 10);
    assert_quiet(w);
    if (!b->receive_error) {
        receive(b);
        RUN_UNTIL(w, b->receive_error);
    }
    assert_int_equal(b->receive_error, -ECONNRESET);
}

static void
an_end_that_was_told_does_not_spin(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    assert_int_equal(w->ops->end_writing(w->d, &a->link), 0);
    RUN_UNTIL(w, b->ended);
    settle(w, 5);
    assert_quiet(w);
    assert_int_equal(w->ops->end_writing(w->d, &b->link), 0);
    RUN_UNTIL(w, a->ended);
    settle(w, 5);
    assert_quiet(w);
}

static void
small_batches_forget_nothing(void **state)
{
    struct world *w = *state;
    enum { N = 40 };
    struct peer *a[N];
    struct peer *b[N];

    w->max = 3;
    for (int i = 0; i < N; i++) {
        pair_both(w, &a[i], &b[i]);
        b[i]->echo = true;
        send_wave(a[i], 200000);
    }
    for (int i = 0; i < N; i++) {
        RUN_UNTIL(w, a[i]->received == 200000);
        assert_false(a[i]->wrong);
    }
}

static void
links_closed_in_the_middle_of_a_batch_are_not_heard_again(void **state)
{
    struct world *w = *state;
    enum { N = 40 };
    struct peer *a[N];
    struct peer *b[N];

    w->max = 3;
    for (int i = 0; i < N; i++) {
        pair_both(w, &a[i], &b[i]);
        send_wave(a[i], 10);
    }
    (void)step(w, 0);
    for (int i = 0; i < N; i++)
        close_peer(b[i], false);
    RUN_UNTIL(w, all_closed(w));
    settle(w, 5);
    for (int i = 0; i < N; i++)
        assert_false(b[i]->heard_after_closed);
}

/* Every wait has ends to tell at once; what others have to say must come in between. */
static void
links_that_come_and_go_hold_nobody_up(void **state)
{
    struct world *w = *state;
    struct peer *from;
    struct peer *to;

    pair_both(w, &from, &to);
    settle(w, 1);
    send_wave(from, 10);
    for (int i = 0; i < PEERS / 4 && to->received < 10; i++) {
        int32_t tokens[2];

        assert_int_equal(w->ops->pair(w->d, tokens), 0);
        close_peer(adopt_token(w, tokens[0]), false);
        close_peer(adopt_token(w, tokens[1]), false);
        assert_int_not_equal(step(w, 0), 0);
    }
    assert_int_equal(to->received, 10);
    RUN_UNTIL(w, all_closed(w));
}

static void
bytes_that_are_kept_survive_later_batches(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    pair_both(w, &a, &b);
    b->keep = true;
    send_wave(a, 5000);
    RUN_UNTIL(w, b->kept);
    send_wave(a, 5u << 20);
    RUN_UNTIL(w, b->received == 5000 + (5u << 20));
    assert_memory_equal(b->kept_data, w->wave, b->kept_len);
    assert_false(b->wrong);
}

static void
tcp_tells_its_round_trip_time(void **state)
{
    struct world *w = *state;
    struct ol_tcp_facts facts = {0, 99};
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    b->echo = true;
    send_wave(a, 1000);
    RUN_UNTIL(w, a->received == 1000);
    assert_int_equal(w->ops->tcp_facts(w->d, &a->link, &facts), 0);
    assert_true(facts.rtt_us > 0);
    assert_int_equal(facts.retransmits, 0);
}

/* ---- the list ---------------------------------------------------------------------------- */

static const struct CMUnitTest for_every_driver[] = {
    IN_WORLD(tcp_over_v4_echoes),
    IN_WORLD(tcp_over_v6_echoes),
    IN_WORLD(a_unix_path_echoes),
    IN_WORLD(an_abstract_name_echoes),
    IN_WORLD(a_pair_echoes),
    IN_WORLD(large_transfers_both_ways_are_exact_over_tcp),
    IN_WORLD(large_transfers_both_ways_are_exact_over_a_pair),
    IN_WORLD(send_now_takes_what_fits_and_keeps_nothing),
    IN_WORLD(what_is_sent_quietly_is_told_once),
    IN_WORLD(half_closed_still_receives),
    IN_WORLD(closing_while_the_peer_sends_ends_it),
    IN_WORLD(closing_with_a_reset_is_seen_as_one),
    IN_WORLD(closed_is_told_once_and_last_with_everything_under_way),
    IN_WORLD(a_connect_can_be_closed_at_once),
    IN_WORLD(stopping_to_receive_holds_the_peer_back),
    IN_WORLD(stopping_and_starting_again_at_once_loses_nothing),
    IN_WORLD(a_paused_link_whose_peer_resets_does_not_spin),
    IN_WORLD(an_end_that_was_told_does_not_spin),
    IN_WORLD(small_batches_forget_nothing),
    IN_WORLD(links_closed_in_the_middle_of_a_batch_are_not_heard_again),
    IN_WORLD(bytes_that_are_kept_survive_later_batches),
    IN_WORLD(tcp_tells_its_round_trip_time),
};

static const struct CMUnitTest for_the_kernel[] = {
    IN_WORLD(links_that_come_and_go_hold_nobody_up),
};

int
main(void)
{
    return run_in_worlds(WORLD_TESTS(for_every_driver), WORLD_TESTS(for_the_kernel),
                         NO_WORLD_TESTS);
}
