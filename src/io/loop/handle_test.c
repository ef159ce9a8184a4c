/*
 * handle_test.c - four numbers in one, and back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const uint32_t cells[] = {0, 1, 77, (1u << OL_CELL_BITS) - 1};
static const uint32_t slots[] = {0, 1, 255, 256, (1u << OL_SLOT_BITS) - 1};
static const uint32_t generations[] = {1, 2, 4711, (1u << OL_GENERATION_BITS) - 1};

static void
what_is_packed_comes_out_again(void **state)
{
    (void)state;
    for (int kind = OL_KIND_CONN; kind < OL_KIND_COUNT; kind++) {
        for (size_t i = 0; i < OL_COUNT(cells) * OL_COUNT(slots) * OL_COUNT(generations); i++) {
            struct ol_handle in = {
                .kind = (enum ol_kind)kind,
                .cell = cells[i % OL_COUNT(cells)],
                .slot = slots[i / OL_COUNT(cells) % OL_COUNT(slots)],
                .generation = generations[i / OL_COUNT(cells) / OL_COUNT(slots)]};
            struct ol_handle out;
            uint64_t id = ol_handle_pack(in);

            assert_int_equal(id >> 63, 0); /* languages without unsigned integers carry it, too */
            assert_true(ol_handle_unpack(id, in.kind, &out));
            assert_int_equal(out.kind, in.kind);
            assert_int_equal(out.cell, in.cell);
            assert_int_equal(out.slot, in.slot);
            assert_int_equal(out.generation, in.generation);
        }
    }
}

static void
a_handle_of_another_kind_is_refused(void **state)
{
    (void)state;
    for (int kind = OL_KIND_CONN; kind < OL_KIND_COUNT; kind++) {
        struct ol_handle h = {.kind = (enum ol_kind)kind, .cell = 3, .slot = 9, .generation = 1};
        uint64_t id = ol_handle_pack(h);

        for (int other = OL_KIND_CONN; other < OL_KIND_COUNT; other++) {
            assert_int_equal(ol_handle_unpack(id, (enum ol_kind)other, &h), other == kind);
        }
    }
}

static void
numbers_that_nobody_was_given_are_refused(void **state)
{
    struct ol_handle h = {.kind = OL_KIND_CONN, .cell = 1, .slot = 1, .generation = 1};
    uint64_t id = ol_handle_pack(h);

    (void)state;
    for (int kind = OL_KIND_CONN; kind < OL_KIND_COUNT; kind++) {
        assert_false(ol_handle_unpack(0, (enum ol_kind)kind, &h));
        assert_false(ol_handle_unpack(UINT64_MAX, (enum ol_kind)kind, &h));
        assert_false(ol_handle_alive(UINT64_MAX, (enum ol_kind)kind));
    }
    assert_false(ol_handle_unpack(id | UINT64_C(1) << 63, OL_KIND_CONN, &h));
    h = (struct ol_handle){.kind = OL_KIND_CONN, .cell = (1u << OL_CELL_BITS) - 1, .generation = 1};
    assert_false(ol_handle_alive(ol_handle_pack(h), OL_KIND_CONN)); /* no such reactor was made */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_out_again),
        cmocka_unit_test(a_handle_of_another_kind_is_refused),
        cmocka_unit_test(numbers_that_nobody_was_given_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
