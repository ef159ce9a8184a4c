/*
 * driver_life_test.c - opening a driver without memory, forking with one, its random bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static void
opening_survives_every_failing_allocation(void **state)
{
    struct world *w = *state;

    for (uint64_t n = 1; n < 100; n++) {
        struct failing_heap heap;
        struct ol_budget *budget;
        struct ol_driver *d = NULL;
        int err = -ENOMEM;

        failing_heap_init(&heap, n);
        budget = ol_budget_new(&heap.heap, INT64_MAX);
        if (budget) {
            struct ol_driver_opts opts = {.budget = budget, .log = &w->log, .sim_seed = 1};

            err = w->ops->open(&d, &opts);
            if (!err)
                w->ops->free(d);
            ol_budget_unref(budget);
        }
        assert_int_equal(failing_heap_live(&heap), 0);
        if (!err && failing_heap_failed(&heap) == 0)
            return;
    }
    fail_msg("it never succeeded");
}

/* The child shares every kernel object with its parent and must leave all of them as they are. */
static void
a_forked_child_can_free_without_disturbing_its_parent(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "parent.sock");
    struct ol_addr bound;
    struct peer *listener = listen_at(w, at, &bound);
    struct peer *client = connect_to(w, OL_LINK_STREAM, bound);
    struct peer *server = adopt_next(listener);
    int status = -1;
    pid_t child;

    receive(server);
    child = fork();
    if (child == 0) {
        w->ops->close(w->d, &server->link, true);
        w->ops->close(w->d, &listener->link, false);
        w->ops->free(w->d);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    server->echo = true;
    send_wave(client, 1000);
    RUN_UNTIL(w, client->received == 1000);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, listener->accepted == 2);
}

static void
random_bytes_differ(void **state)
{
    struct world *w = *state;
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    w->ops->random(w->d, a, sizeof a);
    w->ops->random(w->d, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(w->ops->real_now(w->d) > 0);
}

/* ---- the list ---------------------------------------------------------------------------- */

static const struct CMUnitTest for_every_driver[] = {
    IN_WORLD(opening_survives_every_failing_allocation),
    IN_WORLD(a_forked_child_can_free_without_disturbing_its_parent),
    IN_WORLD(random_bytes_differ),
};

int
main(void)
{
    return run_in_worlds(WORLD_TESTS(for_every_driver), NO_WORLD_TESTS, NO_WORLD_TESTS);
}
