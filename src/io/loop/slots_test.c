/*
 * slots_test.c - the life of a slot, and that no handle ever fits a second object.
 *
 * A table of generations is made by hand here, so that a test can preset how often a slot has
 * lived.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HOT = 72, COLD = 24, GENERATION_MAX = (1 << OL_GENERATION_BITS) - 1 };

struct made {
    uint32_t slot;
    uint32_t generation;
    uint8_t *hot;
    uint8_t *cold;
};

static struct ol_generations *
new_generations(void)
{
    void *p = mmap(NULL, sizeof(struct ol_generations), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void
free_generations(struct ol_generations *g)
{
    for (size_t i = 0; i < OL_GENERATION_PAGES_MAX; i++) {
        void *chunk = (void *)atomic_load(&g->chunks[i]);

        if (chunk)
            munmap(chunk, sizeof(uint32_t) * OL_GENERATIONS_PER_PAGE);
    }
    munmap(g, sizeof *g);
}

static outlet_err
take(struct ol_slots *s, struct made *m)
{
    void *hot = NULL;
    void *cold = NULL;
    outlet_err err = ol_slot_take(s, &m->slot, &m->generation, &hot, &cold);

    m->hot = hot;
    m->cold = cold;
    return err;
}

static void
live_and_die(struct ol_slots *s, struct made *m)
{
    ol_slot_publish(s, m->slot);
    ol_slot_hide(s, m->slot);
    ol_slot_give_back(s, m->slot);
}

static void
a_handle_works_from_publish_to_hide(void **state)
{
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made m;
    uint32_t generation = 0;

    (void)state;
    assert_non_null(g);
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    assert_int_equal(take(&s, &m), OUTLET_OK);
    assert_false(ol_slot_alive(&s, m.slot, m.generation));
    assert_null(ol_slot_get(&s, m.slot, m.generation));
    assert_null(ol_slot_peek(&s, m.slot, &generation));
    ol_slot_publish(&s, m.slot);
    assert_ptr_equal(ol_slot_get(&s, m.slot, m.generation), m.hot);
    assert_ptr_equal(ol_slot_peek(&s, m.slot, &generation), m.hot);
    assert_int_equal(generation, m.generation);
    assert_null(ol_slot_get(&s, m.slot, m.generation + 1));
    assert_null(ol_slot_get(&s, m.slot, 0));
    assert_int_equal(s.live, 1);
    ol_slot_hide(&s, m.slot);
    assert_null(ol_slot_get(&s, m.slot, m.generation));
    assert_int_equal(s.live, 0);
    ol_slot_give_back(&s, m.slot);
    ol_slots_fini(&s);
    free_generations(g);
}

static void
slots_that_were_never_made_are_not_alive(void **state)
{
    struct ol_generations *g = new_generations();
    struct ol_slots s;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    assert_false(ol_slot_alive(&s, 0, 1));
    assert_false(ol_slot_alive(&s, (1u << OL_SLOT_BITS) - 1, 1));
    assert_int_equal(ol_slots_made(&s), 0);
    ol_slots_fini(&s);
    free_generations(g);
}

static void
a_slot_comes_zeroed_and_a_generation_older_each_time(void **state)
{
    static const uint8_t zero[HOT];
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made m;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (uint32_t life = 1; life <= 100; life++) {
        assert_int_equal(take(&s, &m), OUTLET_OK);
        assert_int_equal(m.slot, 0);
        assert_int_equal(m.generation, life);
        assert_memory_equal(m.hot, zero, HOT);
        assert_memory_equal(m.cold, zero, COLD);
        memset(m.hot, 0xa5, HOT);
        memset(m.cold, 0xa5, COLD);
        live_and_die(&s, &m);
    }
    ol_slots_fini(&s);
    free_generations(g);
}

static void
a_slot_that_was_never_published_gives_its_generation_to_the_next(void **state)
{
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made first;
    struct made second;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    assert_int_equal(take(&s, &first), OUTLET_OK);
    ol_slot_give_back(&s, first.slot);
    assert_int_equal(take(&s, &second), OUTLET_OK);
    assert_int_equal(second.slot, first.slot);
    assert_int_equal(second.generation, first.generation);
    ol_slots_fini(&s);
    free_generations(g);
}

/* Otherwise a busy program would use up one slot's generations while others rest. */
static void
free_slots_are_used_oldest_first(void **state)
{
    enum { N = 10 };
    static const uint32_t order[N] = {3, 1, 4, 0, 9, 2, 6, 5, 8, 7};
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made m[N];

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(take(&s, &m[i]), OUTLET_OK);
    }
    for (int i = 0; i < N; i++) {
        live_and_die(&s, &m[order[i]]);
    }
    for (int i = 0; i < N; i++) {
        struct made again;

        assert_int_equal(take(&s, &again), OUTLET_OK);
        assert_int_equal(again.slot, order[i]);
        assert_int_equal(again.generation, 2);
    }
    assert_int_equal(take(&s, &m[0]), OUTLET_OK); /* none is free: a new one */
    assert_int_equal(m[0].slot, N);
    ol_slots_fini(&s);
    free_generations(g);
}

static void
a_used_up_slot_is_retired(void **state)
{
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made m;
    struct made last;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    assert_int_equal(take(&s, &m), OUTLET_OK);
    live_and_die(&s, &m);
    atomic_store(&g->chunks[0][0], (uint32_t)(GENERATION_MAX - 1) << 1);
    assert_int_equal(take(&s, &last), OUTLET_OK);
    assert_int_equal(last.slot, m.slot);
    assert_int_equal(last.generation, GENERATION_MAX);
    ol_slot_publish(&s, last.slot);
    assert_true(ol_slot_alive(&s, last.slot, GENERATION_MAX));
    ol_slot_hide(&s, last.slot);
    ol_slot_give_back(&s, last.slot);
    assert_int_equal(take(&s, &m), OUTLET_OK);
    assert_int_not_equal(m.slot, last.slot);
    assert_false(ol_slot_alive(&s, last.slot, GENERATION_MAX));
    assert_false(ol_slot_alive(&s, last.slot, 0));
    assert_false(ol_slot_alive(&s, last.slot, 1));
    ol_slots_fini(&s);

    /* The next reactor in this cell passes it over, too. */
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    assert_int_equal(take(&s, &m), OUTLET_OK);
    assert_int_equal(m.slot, last.slot + 1);
    ol_slots_fini(&s);
    free_generations(g);
}

/* What an owner has at hand is its own; what is more than that, others find. */
static void
an_owner_takes_back_what_it_gave_last(void **state)
{
    enum { N = OL_SLOTS_AT_HAND + 1 };
    struct ol_generations *g = new_generations();
    struct ol_reactor *owner = calloc(1, sizeof *owner);
    struct ol_slots s;
    struct made m[N];
    struct made other;
    struct made again;

    (void)state;
    assert_non_null(owner);
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    ol_slots_set_owner(&s, owner);
    ol_current_set(owner);
    for (int i = 0; i < N; i++) {
        assert_int_equal(take(&s, &m[i]), OUTLET_OK);
    }
    for (int i = 0; i < N; i++) {
        live_and_die(&s, &m[i]);
    }
    ol_current_set(NULL);
    assert_int_equal(take(&s, &other), OUTLET_OK);
    assert_int_equal(other.slot, m[N - 1].slot);
    assert_int_equal(take(&s, &other), OUTLET_OK);
    assert_int_equal(other.slot, N); /* a new one */
    ol_current_set(owner);
    for (int i = N - 2; i >= 0; i--) {
        assert_int_equal(take(&s, &again), OUTLET_OK);
        assert_int_equal(again.slot, m[i].slot);
        assert_int_equal(again.generation, m[i].generation + 1);
        assert_false(ol_slot_alive(&s, m[i].slot, m[i].generation));
    }
    assert_int_equal(take(&s, &again), OUTLET_OK);
    assert_int_equal(again.slot, N + 1);
    ol_current_set(NULL);
    ol_slots_fini(&s);
    free(owner);
    free_generations(g);
}

static void
a_later_reactor_in_the_same_cell_keeps_old_handles_stale(void **state)
{
    enum { N = 300 };
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct made old[N];
    struct made m;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(take(&s, &old[i]), OUTLET_OK);
        ol_slot_publish(&s, old[i].slot);
    }
    ol_slots_fini(&s); /* with all of them alive */
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (int i = 0; i < N; i++) {
        assert_false(ol_slot_alive(&s, old[i].slot, old[i].generation));
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(take(&s, &m), OUTLET_OK);
        ol_slot_publish(&s, m.slot);
        assert_int_equal(m.slot, old[i].slot);
        assert_int_equal(m.generation, old[i].generation + 1);
        assert_false(ol_slot_alive(&s, old[i].slot, old[i].generation));
    }
    ol_slots_fini(&s);
    free_generations(g);
}

/* Growing moves nothing: threads look at objects while others are made. */
static void
chunks_are_added_without_moving_what_is_there(void **state)
{
    enum { N = 3 * OL_CHUNK_SLOTS + 1 };
    static struct made m[N];
    struct ol_generations *g = new_generations();
    struct ol_slots s;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(take(&s, &m[i]), OUTLET_OK);
        assert_int_equal(m[i].slot, i);
        memset(m[i].hot, (int)(i & 0xff), HOT);
        memset(m[i].cold, (int)(~i & 0xff), COLD);
        ol_slot_publish(&s, i);
    }
    assert_int_equal(ol_slots_made(&s), N);
    for (uint32_t i = 0; i < N; i++) {
        assert_ptr_equal(ol_slot_get(&s, i, 1), m[i].hot);
        assert_int_equal(m[i].hot[0], i & 0xff);
        assert_int_equal(m[i].hot[HOT - 1], i & 0xff);
        assert_int_equal(m[i].cold[0], ~i & 0xff);
        assert_int_equal(m[i].cold[COLD - 1], ~i & 0xff);
    }
    ol_slots_fini(&s);
    free_generations(g);
}

static void
without_memory_nothing_is_taken_and_it_works_again_later(void **state)
{
    struct ol_generations *g = new_generations();
    struct failing_heap f;
    struct ol_slots s;
    struct made m = {.slot = 99};

    (void)state;
    failing_heap_init(&f, 0);
    assert_int_equal(ol_slots_init(&s, g, &f.heap, HOT, COLD), OUTLET_OK);
    failing_heap_exhaust(&f);
    assert_int_equal(take(&s, &m), OUTLET_ENOMEM);
    assert_int_equal(m.slot, 99);
    failing_heap_reset(&f, 0);
    for (uint32_t i = 0; i < OL_CHUNK_SLOTS; i++) {
        assert_int_equal(take(&s, &m), OUTLET_OK);
        assert_int_equal(m.slot, i);
    }
    failing_heap_exhaust(&f); /* and at the next chunk */
    assert_int_equal(take(&s, &m), OUTLET_ENOMEM);
    failing_heap_reset(&f, 0);
    assert_int_equal(take(&s, &m), OUTLET_OK);
    assert_int_equal(m.slot, OL_CHUNK_SLOTS);
    ol_slots_fini(&s);
    assert_int_equal(failing_heap_live(&f), 0);
    free_generations(g);
}

/* ---- from several threads ---- */

enum { THREADS = 4, ROUNDS = 3000, HELD = 16 };

struct worker {
    struct ol_slots *slots;
    uint32_t seed;
    int mistakes;
    pthread_t thread;
};

static void *
take_and_give_back(void *arg)
{
    struct worker *w = arg;
    struct made held[HELD] = {{0}};

    for (int i = 0; i < ROUNDS; i++) {
        struct made *m;

        w->seed = w->seed * 1103515245u + 12345u;
        m = &held[(w->seed >> 16) % HELD];
        if (m->hot) {
            /* What we wrote is still there: nobody else was given this slot. */
            w->mistakes += m->hot[1] != 7;
            ol_slot_hide(w->slots, m->slot);
            ol_slot_give_back(w->slots, m->slot);
            m->hot = NULL;
        } else if (take(w->slots, m) == OUTLET_OK) {
            w->mistakes += m->hot[1] != 0;
            m->hot[1] = 7;
            ol_slot_publish(w->slots, m->slot);
            w->mistakes += ol_slot_get(w->slots, m->slot, m->generation) != m->hot;
        } else {
            w->mistakes++;
        }
    }
    for (int i = 0; i < HELD; i++) {
        if (held[i].hot) {
            ol_slot_hide(w->slots, held[i].slot);
            ol_slot_give_back(w->slots, held[i].slot);
        }
    }
    return NULL;
}

static void
threads_never_share_a_slot(void **state)
{
    struct ol_generations *g = new_generations();
    struct ol_slots s;
    struct worker w[THREADS];
    int mistakes = 0;

    (void)state;
    assert_int_equal(ol_slots_init(&s, g, &ol_heap_system, HOT, COLD), OUTLET_OK);
    for (uint32_t i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.slots = &s, .seed = i};
        assert_int_equal(pthread_create(&w[i].thread, NULL, take_and_give_back, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(w[i].thread, NULL);
        mistakes += w[i].mistakes;
    }
    assert_int_equal(mistakes, 0);
    assert_int_equal(s.live, 0);
    assert_true(ol_slots_made(&s) <= THREADS * HELD);
    ol_slots_fini(&s);
    free_generations(g);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_works_from_publish_to_hide),
        cmocka_unit_test(slots_that_were_never_made_are_not_alive),
        cmocka_unit_test(a_slot_comes_zeroed_and_a_generation_older_each_time),
        cmocka_unit_test(a_slot_that_was_never_published_gives_its_generation_to_the_next),
        cmocka_unit_test(free_slots_are_used_oldest_first),
        cmocka_unit_test(a_used_up_slot_is_retired),
        cmocka_unit_test(an_owner_takes_back_what_it_gave_last),
        cmocka_unit_test(a_later_reactor_in_the_same_cell_keeps_old_handles_stale),
        cmocka_unit_test(chunks_are_added_without_moving_what_is_there),
        cmocka_unit_test(without_memory_nothing_is_taken_and_it_works_again_later),
        cmocka_unit_test(threads_never_share_a_slot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
