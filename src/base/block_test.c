/*
 * block_test.c - blocks and buffers: who keeps what alive, and what is charged for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"
#include "failing_heap.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

/* Counts what outlet_buf_wrap's release was called with. */
struct released {
    int calls;
    void *bytes;
};

static void
on_release(void *bytes, void *arg)
{
    struct released *r = arg;

    r->calls++;
    r->bytes = bytes;
}

static void
a_copy_is_a_copy(void **state)
{
    char text[] = "hello";
    outlet_buf *b = outlet_buf_copy(text, 5);
    const uint8_t *bytes;
    size_t len = 0;

    (void)state;
    assert_non_null(b);
    text[0] = 'j';
    bytes = outlet_buf_data(b, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_ptr_equal(outlet_buf_data(b, NULL), bytes);
    assert_ptr_equal(outlet_buf_ref(b), b);
    outlet_buf_unref(b);
    assert_memory_equal(outlet_buf_data(b, NULL), "hello", 5);
    outlet_buf_unref(b);
}

static void
a_block_begins_on_a_cache_line_and_has_all_its_bytes(void **state)
{
    struct ol_block *blocks[20];

    (void)state;
    for (size_t i = 0; i < OL_COUNT(blocks); i++) {
        size_t size = i * 7919;

        blocks[i] = ol_block_new(NULL, size);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i]->bytes % OL_BLOCK_LINE, 0);
        memset(blocks[i]->bytes, 1, size); /* for those who look: all of it is ours */
    }
    for (size_t i = 0; i < OL_COUNT(blocks); i++) {
        ol_block_unref(blocks[i]);
    }
    assert_null(ol_block_new(NULL, SIZE_MAX - 8));
}

static void
nothing_is_allowed_where_the_header_says_so(void **state)
{
    struct released r = {0};
    outlet_buf *b = outlet_buf_copy(NULL, 0);
    size_t len = 7;

    (void)state;
    assert_non_null(b);
    assert_non_null(outlet_buf_data(b, &len));
    assert_int_equal(len, 0);
    outlet_buf_unref(b);
    outlet_buf_unref(NULL);
    assert_null(outlet_buf_ref(NULL));
    assert_null(outlet_buf_data(NULL, &len));
    assert_null(outlet_buf_copy(NULL, 1));
    assert_null(outlet_buf_copy("x", SIZE_MAX));
    assert_null(outlet_buf_wrap(NULL, 1, on_release, &r));
    assert_int_equal(r.calls, 0);
}

static void
wrapped_bytes_are_released_once_by_the_last_reference(void **state)
{
    struct released r = {0};
    char text[] = "mine";
    outlet_buf *b = outlet_buf_wrap(text, 4, on_release, &r);
    size_t len;

    (void)state;
    assert_non_null(b);
    assert_ptr_equal(outlet_buf_data(b, &len), text);
    assert_int_equal(len, 4);
    (void)outlet_buf_ref(b); /* the same b */
    outlet_buf_unref(b);
    assert_int_equal(r.calls, 0);
    outlet_buf_unref(b);
    assert_int_equal(r.calls, 1);
    assert_ptr_equal(r.bytes, text);

    b = outlet_buf_wrap(text, 4, NULL, NULL);
    assert_non_null(b);
    outlet_buf_unref(b);
    assert_string_equal(text, "mine");
}

static void
a_blank_buffer_is_there_to_be_filled(void **state)
{
    struct failing_heap f;
    struct ol_budget *budget;
    struct outlet_buf *b;

    (void)state;
    failing_heap_init(&f, 0);
    budget = ol_budget_new(&f.heap, 10000);
    b = ol_buf_blank(budget, 100);
    assert_non_null(b);
    memset((void *)(uintptr_t)b->bytes, 'x', 100);
    assert_int_equal(b->len, 100);
    assert_int_equal(budget->used, 100 + sizeof *b);
    outlet_buf_unref(b);
    assert_int_equal(budget->used, 0);
    assert_null(ol_buf_blank(budget, SIZE_MAX));
    assert_null(ol_buf_blank(NULL, SIZE_MAX - 8));
    ol_budget_unref(budget);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
a_copy_is_refused_one_byte_over_the_budget(void **state)
{
    const int64_t whole = 50 + (int64_t)sizeof(struct outlet_buf);
    struct ol_budget *budget = ol_budget_new(&ol_heap_system, whole);
    uint8_t bytes[64] = {0};
    struct outlet_buf *b;

    (void)state;
    assert_null(ol_buf_copy(budget, bytes, 51));
    assert_int_equal(budget->used, 0);
    assert_int_equal(budget->refs, 1);
    b = ol_buf_copy(budget, bytes, 49);
    assert_non_null(b);
    outlet_buf_unref(b);
    b = ol_buf_copy(budget, bytes, 50);
    assert_non_null(b);
    assert_null(ol_buf_copy(budget, bytes, 0));
    assert_int_equal(budget->used, whole);
    outlet_buf_unref(b);
    assert_int_equal(budget->used, 0);
    ol_budget_unref(budget);
}

static void
a_block_knows_when_it_is_alone(void **state)
{
    struct failing_heap f;
    struct ol_budget *budget;
    struct ol_block *block;

    (void)state;
    failing_heap_init(&f, 0);
    budget = ol_budget_new(&f.heap, 10);
    block = ol_block_new(budget, 4096); /* fixed cost: not charged */
    assert_non_null(block);
    assert_int_equal(block->size, 4096);
    assert_int_equal(budget->used, 0);
    memset(block->bytes, 0, 4096);
    assert_true(ol_block_alone(block));
    assert_ptr_equal(ol_block_ref(block), block);
    assert_false(ol_block_alone(block));
    ol_block_unref(block);
    assert_true(ol_block_alone(block));
    ol_budget_unref(budget);
    ol_block_unref(block);
    assert_int_equal(failing_heap_live(&f), 0);

    block = ol_block_new(NULL, 10);
    assert_non_null(block);
    ol_block_unref(block);
    assert_null(ol_block_new(NULL, SIZE_MAX));
}

static void
a_view_keeps_its_block_alive_and_charges_all_of_it(void **state)
{
    struct failing_heap f;
    struct ol_budget *budget;
    struct ol_block *block;
    struct outlet_buf *view;
    struct outlet_buf *end;

    (void)state;
    failing_heap_init(&f, 0);
    budget = ol_budget_new(&f.heap, 2 * 1000);
    block = ol_block_new(budget, 1000);
    memcpy(block->bytes + 990, "0123456789", 10);
    view = ol_buf_view(budget, block, block->bytes + 990, 10);
    assert_non_null(view);
    assert_int_equal(budget->used, 1000);
    assert_false(ol_block_alone(block));
    end = ol_buf_view(budget, block, block->bytes + 1000, 0);
    assert_non_null(end);
    assert_int_equal(budget->used, 2000);
    assert_null(ol_buf_view(budget, block, block->bytes, 1)); /* over max, nothing taken */
    assert_int_equal(budget->used, 2000);
    assert_int_equal(block->refs, 3);
    ol_block_unref(block);
    outlet_buf_unref(end);
    assert_int_equal(budget->used, 1000);
    assert_memory_equal(outlet_buf_data(view, NULL), "0123456789", 10);
    outlet_buf_unref(view);
    assert_int_equal(budget->used, 0);
    ol_budget_unref(budget);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
a_buffer_outlives_everyone_else_who_knew_its_budget(void **state)
{
    struct failing_heap f;
    struct ol_budget *budget;
    struct ol_block *block;
    struct outlet_buf *view;
    struct outlet_buf *copy;

    (void)state;
    failing_heap_init(&f, 0);
    budget = ol_budget_new(&f.heap, 10000);
    block = ol_block_new(budget, 8);
    memcpy(block->bytes, "retained", 8);
    view = ol_buf_view(budget, block, block->bytes, 8);
    copy = ol_buf_copy(budget, "copied", 6);
    assert_non_null(view);
    assert_non_null(copy);
    ol_block_unref(block);
    ol_budget_unref(budget);
    assert_int_equal(failing_heap_live(&f), 4);
    assert_memory_equal(outlet_buf_data(copy, NULL), "copied", 6);
    outlet_buf_unref(copy);
    assert_memory_equal(outlet_buf_data(view, NULL), "retained", 8);
    outlet_buf_unref(view);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
any_allocation_may_fail_and_nothing_stays_behind(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 5; n++) {
        struct failing_heap f;
        struct ol_budget *budget;
        struct ol_block *block = NULL;
        struct outlet_buf *view = NULL;
        struct outlet_buf *copy = NULL;
        bool whole;

        failing_heap_init(&f, n);
        budget = ol_budget_new(&f.heap, 10000);
        if (budget) {
            block = ol_block_new(budget, 100);
            copy = ol_buf_copy(budget, "abc", 3);
            view = block ? ol_buf_view(budget, block, block->bytes, 100) : NULL;
        }
        whole = budget && block && copy && view;
        assert_int_equal(whole, n == 5);
        outlet_buf_unref(copy);
        outlet_buf_unref(view);
        if (block)
            ol_block_unref(block);
        if (budget) {
            assert_int_equal(budget->used, 0);
            ol_budget_unref(budget);
        }
        assert_int_equal(failing_heap_live(&f), 0);
    }
}

enum { ROUNDS = 2000, HOLD = 8 };

/* One side of a relay race: each buffer is shared by both threads, and either may be the last. */
struct runner {
    pthread_t thread;
    struct outlet_buf **bufs;
    uint64_t wrong;
};

static void *
run(void *arg)
{
    struct runner *r = arg;
    struct outlet_buf *held[HOLD];

    for (int i = 0; i < ROUNDS; i++) {
        const uint8_t *bytes = outlet_buf_data(r->bufs[i], NULL);

        for (int k = 0; k < HOLD; k++) {
            held[k] = outlet_buf_ref(r->bufs[i]);
        }
        outlet_buf_unref(r->bufs[i]);
        for (int k = 0; k < HOLD; k++) {
            r->wrong += bytes[0] != (uint8_t)i;
            outlet_buf_unref(held[k]);
        }
    }
    return NULL;
}

static void
two_threads_share_buffers_and_the_last_one_frees(void **state)
{
    static struct outlet_buf *bufs[ROUNDS];
    struct runner runners[2] = {{.bufs = bufs}, {.bufs = bufs}};
    struct failing_heap f;
    struct ol_budget *budget;

    (void)state;
    failing_heap_init(&f, 0);
    budget = ol_budget_new(&f.heap, INT64_MAX);
    for (int i = 0; i < ROUNDS; i++) {
        struct ol_block *block = ol_block_new(budget, 16);

        assert_non_null(block);
        block->bytes[3] = (uint8_t)i;
        bufs[i] = ol_buf_view(budget, block, block->bytes + 3, 13);
        assert_non_null(bufs[i]);
        ol_block_unref(block);
        (void)outlet_buf_ref(bufs[i]); /* one reference for each thread */
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run, &runners[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
        assert_int_equal(runners[i].wrong, 0);
    }
    assert_int_equal(budget->used, 0);
    assert_int_equal(failing_heap_live(&f), 1);
    ol_budget_unref(budget);
    assert_int_equal(failing_heap_live(&f), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_a_copy),
        cmocka_unit_test(a_block_begins_on_a_cache_line_and_has_all_its_bytes),
        cmocka_unit_test(nothing_is_allowed_where_the_header_says_so),
        cmocka_unit_test(wrapped_bytes_are_released_once_by_the_last_reference),
        cmocka_unit_test(a_blank_buffer_is_there_to_be_filled),
        cmocka_unit_test(a_copy_is_refused_one_byte_over_the_budget),
        cmocka_unit_test(a_block_knows_when_it_is_alone),
        cmocka_unit_test(a_view_keeps_its_block_alive_and_charges_all_of_it),
        cmocka_unit_test(a_buffer_outlives_everyone_else_who_knew_its_budget),
        cmocka_unit_test(any_allocation_may_fail_and_nothing_stays_behind),
        cmocka_unit_test(two_threads_share_buffers_and_the_last_one_frees),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
