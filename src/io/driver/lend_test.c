/*
 * lend_test.c - parts of a block never overlap, and what somebody holds is never written again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "lend.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SIZE = 4096 };

struct fixture {
    struct failing_heap heap;
    struct ol_budget *budget;
    struct ol_lender lender;
};

static int
set_up(void **state)
{
    static struct fixture f;

    failing_heap_init(&f.heap, 0);
    f.budget = ol_budget_new(&f.heap.heap, INT64_MAX);
    if (!f.budget)
        return -1;
    ol_lender_init(&f.lender, f.budget, SIZE);
    *state = &f;
    return 0;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    ol_lender_fini(&f->lender);
    ol_budget_unref(f->budget);
    return failing_heap_live(&f->heap) == 0 ? 0 : -1;
}

static struct ol_lent
lend(struct ol_lender *l, size_t len)
{
    struct ol_lent lent;
    uint8_t *data = NULL;
    size_t room;

    assert_int_equal(ol_lender_offer(l, len, &data, &room), 0);
    assert_true(room >= len);
    ol_lender_lend(l, data, len, &lent);
    return lent;
}

static void
parts_with_their_room_do_not_overlap(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    uint8_t *end = NULL;
    uint8_t *data;
    size_t room;
    struct ol_lent parts[SIZE / 128];
    size_t n = 0;

    for (size_t len = 0; ol_lender_offer(l, len, &data, &room) == 0; len = (len * 7 + 1) % 301) {
        struct ol_lent *p = &parts[n++];

        ol_lender_lend(l, data, len, p);
        assert_int_equal(p->len, len);
        assert_true(p->room_before >= OL_LENT_ROOM && p->room_after >= OL_LENT_ROOM);
        assert_true(!end || p->data - p->room_before >= end);
        end = p->data + p->len + p->room_after;
        assert_true(end <= l->block->bytes + SIZE);
    }
    assert_true(n > 5);
    assert_int_equal(ol_lender_offer(l, SIZE, &data, &room), -ENOBUFS);
    for (size_t i = 0; i < n; i++)
        ol_lender_give_back(l, &parts[i]);
}

static void
the_whole_block_can_be_one_part(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    size_t most = SIZE - 2 * OL_LENT_ROOM;
    struct ol_lent part = lend(l, most);
    uint8_t *data;
    size_t room;

    assert_int_equal(ol_lender_offer(l, 0, &data, &room), -ENOBUFS);
    ol_lender_give_back(l, &part);
    ol_lender_renew(l);
    assert_int_equal(ol_lender_offer(l, most + 1, &data, &room), -ENOBUFS);
}

static void
a_block_that_came_back_is_used_again(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    struct ol_lent first = lend(l, 100);
    struct ol_lent second;
    struct ol_block *block = l->block;
    uint8_t *data = first.data;

    ol_lender_give_back(l, &first);
    ol_lender_renew(l);
    second = lend(l, 100);
    assert_ptr_equal(second.block, block);
    assert_ptr_equal(second.data, data);
    ol_lender_give_back(l, &second);
}

static void
a_block_that_somebody_keeps_is_left_to_him(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    struct ol_lent part = lend(l, 100);
    struct ol_block *kept = ol_block_ref(part.block);
    const uint8_t *bytes = part.data;

    memset(part.data, 7, 100);
    ol_lender_give_back(l, &part);
    ol_lender_renew(l);
    part = lend(l, 100);
    assert_ptr_not_equal(part.block, kept);
    memset(part.data, 9, 100);
    assert_int_equal(bytes[99], 7);
    ol_lender_give_back(l, &part);
    ol_block_unref(kept);
}

static void
parts_that_come_back_late_stay_valid(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    struct ol_lent early = lend(l, 100);
    struct ol_lent late = lend(l, 100);
    struct ol_lent later = lend(l, 100);
    struct ol_lent next;

    ol_lender_give_back(l, &early);
    ol_lender_renew(l);
    memset(late.data, 7, 100);
    next = lend(l, 100);
    assert_ptr_not_equal(next.block, late.block);
    ol_lender_give_back(l, &late);
    memset(later.data, 7, 100);
    ol_lender_renew(l);
    ol_lender_give_back(l, &later);
    ol_lender_give_back(l, &next);
}

static void
slots_are_as_many_as_fit(void **state)
{
    struct ol_lender *l = &((struct fixture *)*state)->lender;
    size_t stride = ol_lender_stride(500);
    struct ol_lent parts[6];
    uint8_t *first;

    assert_true(stride >= 500 + 2 * OL_LENT_ROOM);
    assert_int_equal(ol_lender_offer_slots(l, 500, 4, &first), 4);
    for (size_t i = 0; i < 4; i++)
        ol_lender_lend_slot(l, first + i * stride, i == 2 ? 0 : 500, 500, &parts[i]);
    assert_int_equal(ol_lender_offer_slots(l, 500, 32, &first), 2);
    for (size_t i = 0; i < 2; i++)
        ol_lender_lend_slot(l, first + i * stride, 500, 500, &parts[4 + i]);
    assert_int_equal(ol_lender_offer_slots(l, 500, 32, &first), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_true(parts[i].room_after >= OL_LENT_ROOM);
        ol_lender_give_back(l, &parts[i]);
    }
}

static void
without_memory_nothing_is_offered(void **state)
{
    struct fixture *f = *state;
    uint8_t *data;
    size_t room;

    failing_heap_exhaust(&f->heap);
    assert_int_equal(ol_lender_offer(&f->lender, 1, &data, &room), -ENOMEM);
    assert_int_equal(ol_lender_offer_slots(&f->lender, 1, 1, &data), -ENOMEM);
    failing_heap_reset(&f->heap, 0);
    assert_int_equal(ol_lender_offer(&f->lender, 1, &data, &room), 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(parts_with_their_room_do_not_overlap),
        WITH(the_whole_block_can_be_one_part),
        WITH(a_block_that_came_back_is_used_again),
        WITH(a_block_that_somebody_keeps_is_left_to_him),
        WITH(parts_that_come_back_late_stay_valid),
        WITH(slots_are_as_many_as_fit),
        WITH(without_memory_nothing_is_offered),
    };

    return cmocka_run_group_tests_name("lend", tests, NULL, NULL);
}
