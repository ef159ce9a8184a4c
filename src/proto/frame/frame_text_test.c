/*
 * frame_text_test.c - which texts are framings, and which byte is to blame where not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frame.h"

#define MARK32 "0123456789abcdef0123456789abcdef"

static const struct {
    const char *text;
    struct ol_framing want;
} good[] = {
    {"none", {.kind = OL_FRAME_NONE}},
    {"fixed:1", {.kind = OL_FRAME_FIXED, .fixed = 1}},
    {"fixed:1000", {.kind = OL_FRAME_FIXED, .fixed = 1000}},
    {"line", {.kind = OL_FRAME_LINE}},
    {"delim:a", {.kind = OL_FRAME_DELIM, .mark = {"a"}, .mark_len = {1}}},
    {"delim:%0D%0a", {.kind = OL_FRAME_DELIM, .mark = {"\r\n"}, .mark_len = {2}}},
    {"delim:%00%25%2E", {.kind = OL_FRAME_DELIM, .mark = {"\0%."}, .mark_len = {3}}},
    {"delim:+ :/", {.kind = OL_FRAME_DELIM, .mark = {"+ :/"}, .mark_len = {4}}},
    {"len:1", {.kind = OL_FRAME_LEN, .width = 1, .strip = 1}},
    {"len:1be", {.kind = OL_FRAME_LEN, .width = 1, .strip = 1}},
    {"len:1le", {.kind = OL_FRAME_LEN, .width = 1, .strip = 1}},
    {"len:2be", {.kind = OL_FRAME_LEN, .width = 2, .strip = 2}},
    {"len:3le", {.kind = OL_FRAME_LEN, .width = 3, .strip = 3, .little = true}},
    {"len:4be", {.kind = OL_FRAME_LEN, .width = 4, .strip = 4}},
    {"len:8le", {.kind = OL_FRAME_LEN, .width = 8, .strip = 8, .little = true}},
    {"len:2le@1+3/6",
     {.kind = OL_FRAME_LEN, .width = 2, .little = true, .offset = 1, .adjust = 3, .strip = 6}},
    {"len:4be@60", {.kind = OL_FRAME_LEN, .width = 4, .offset = 60, .strip = 64}},
    {"len:4be@2/0", {.kind = OL_FRAME_LEN, .width = 4, .offset = 2}},
    {"len:4be@2/2", {.kind = OL_FRAME_LEN, .width = 4, .offset = 2, .strip = 2}},
    {"len:4be/64", {.kind = OL_FRAME_LEN, .width = 4, .strip = 64}},
    {"len:4be-4", {.kind = OL_FRAME_LEN, .width = 4, .adjust = -4, .strip = 4}},
    {"len:1-255", {.kind = OL_FRAME_LEN, .width = 1, .adjust = -255, .strip = 1}},
    {"len:4be+2147483647", {.kind = OL_FRAME_LEN, .width = 4, .adjust = INT32_MAX, .strip = 4}},
    {"len:4be-2147483647", {.kind = OL_FRAME_LEN, .width = 4, .adjust = -INT32_MAX, .strip = 4}},
    {"varint", {.kind = OL_FRAME_VARINT}},
    {"between:%02..%03", {.kind = OL_FRAME_BETWEEN, .mark = {"\2", "\3"}, .mark_len = {1, 1}}},
    {"between:a...b", {.kind = OL_FRAME_BETWEEN, .mark = {"a", ".b"}, .mark_len = {1, 2}}},
    {"between:a%2E..%2E%2e", {.kind = OL_FRAME_BETWEEN, .mark = {"a.", ".."}, .mark_len = {2, 2}}},
    {"hp:0", {.kind = OL_FRAME_HP}},
    {"hp:1023", {.kind = OL_FRAME_HP, .flag = 1023}},
    {"idle:20ms", {.kind = OL_FRAME_IDLE, .idle_ms = 20}},
    {"idle:1", {.kind = OL_FRAME_IDLE, .idle_ms = 1}},
    {"idle:2s", {.kind = OL_FRAME_IDLE, .idle_ms = 2000}},
    {"idle:3600s", {.kind = OL_FRAME_IDLE, .idle_ms = 3600000}},
};

static const struct {
    const char *text;
    size_t bad_at;
} bad[] = {
    {"", 0},
    {"lines", 0},
    {"lin", 0},
    {"LINE", 0},
    {" line", 0},
    {":", 0},
    {"none:", 4},
    {"line:3", 4},
    {"line ", 0},
    {"varint:1", 6},
    {"custom", 0},
    {"fixed", 5},
    {"fixed:", 6},
    {"fixed:0", 6},
    {"fixed:-1", 6},
    {"fixed:x", 6},
    {"fixed:12x", 8},
    {"fixed:1001", 6},
    {"fixed:18446744073709551616", 6},
    {"fixed:99999999999999999999999", 6},
    {"delim", 5},
    {"delim:", 6},
    {"delim:%", 7},
    {"delim:%0", 8},
    {"delim:%g0", 7},
    {"delim:a%0g", 9},
    {"delim:" MARK32 "x", 38},
    {"delim:" MARK32 "%0a", 38},
    {"len", 3},
    {"len:", 4},
    {"len:0", 4},
    {"len:5be", 4},
    {"len:9zz", 4},
    {"len:16be", 4},
    {"len:4", 5},
    {"len:4zz", 5},
    {"len:4BE", 5},
    {"len:4b", 5},
    {"len:1zz", 5},
    {"len:4bez", 7},
    {"len:4be@", 8},
    {"len:4be@61", 8},
    {"len:4be@-1", 8},
    {"len:4be+", 8},
    {"len:4be+x", 8},
    {"len:4be+2147483648", 8},
    {"len:4be-2147483648", 8},
    {"len:1-256", 6},
    {"len:4be+1@1", 9},
    {"len:4be+1-1", 9},
    {"len:4be/", 8},
    {"len:4be/1", 8},
    {"len:4be/3", 8},
    {"len:4be@2/3", 10},
    {"len:4be@2/5", 10},
    {"len:4be/65", 8},
    {"len:4be/4 ", 9},
    {"between", 7},
    {"between:", 8},
    {"between:a", 9},
    {"between:a.b", 11},
    {"between:..b", 8},
    {"between:a..", 11},
    {"between:%0..b", 10},
    {"between:a..%", 12},
    {"between:" MARK32 "x..b", 40},
    {"between:a.." MARK32 "x", 43},
    {"hp", 2},
    {"hp:", 3},
    {"hp:1024", 3},
    {"hp:-1", 3},
    {"hp:0x1", 4},
    {"idle", 4},
    {"idle:", 5},
    {"idle:0", 5},
    {"idle:0s", 5},
    {"idle:-1", 5},
    {"idle:ms", 5},
    {"idle:20m", 7},
    {"idle:20 ms", 7},
    {"idle:20msx", 7},
    {"idle:3600001", 5},
    {"idle:3601s", 5},
    {"idle:99999999999999999999999", 5},
};

static int
some_split(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame, size_t *need)
{
    (void)user;
    (void)bytes;
    (void)len;
    (void)frame;
    (void)need;
    return 0;
}

static int
some_wrap(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
          uint8_t *tail, size_t *tail_len)
{
    (void)user;
    (void)bytes;
    (void)len;
    (void)head;
    (void)head_len;
    (void)tail;
    (void)tail_len;
    return OUTLET_OK;
}

static void
good_texts_mean_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        struct ol_framing want = good[i].want;
        struct ol_framing got;
        size_t bad_at = 0;

        want.max = 1000;
        if (ol_framing_parse(good[i].text, 1000, NULL, &got, &bad_at)) {
            fail_msg("%s: refused at %zu", good[i].text, bad_at);
        }
        if (!ol_framing_same(&got, &want)) {
            fail_msg("%s: something else", good[i].text);
        }
        assert_int_equal(outlet_framing_check(good[i].text, NULL), OUTLET_OK);
    }
}

static void
a_bad_text_is_blamed_on_one_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(bad); i++) {
        struct ol_framing untouched = {.fixed = 77};
        size_t bad_at = 999;
        outlet_err err = ol_framing_parse(bad[i].text, 1000, NULL, &untouched, &bad_at);

        if (err != OUTLET_EINVAL || bad_at != bad[i].bad_at) {
            fail_msg("%s: code %d at %zu, want %zu", bad[i].text, err, bad_at, bad[i].bad_at);
        }
        assert_int_equal(untouched.fixed, 77);
    }
}

static void
the_public_check_says_the_same(void **state)
{
    size_t bad_at = 99;

    (void)state;
    assert_int_equal(outlet_framing_check("hp:1024", &bad_at), OUTLET_EINVAL);
    assert_int_equal(bad_at, 3);
    assert_int_equal(outlet_framing_check("hp:1024", NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_framing_check(NULL, &bad_at), OUTLET_EINVAL);
    assert_int_equal(bad_at, 0);

    /* It knows neither the limit nor whether there are functions. */
    assert_int_equal(outlet_framing_check("fixed:1001", &bad_at), OUTLET_OK);
    assert_int_equal(outlet_framing_check("custom", &bad_at), OUTLET_OK);
    assert_int_equal(outlet_framing_check("custom:x", &bad_at), OUTLET_EINVAL);
    assert_int_equal(bad_at, 6);
}

static void
custom_needs_both_functions(void **state)
{
    const struct outlet_framing whole = {
        .size = sizeof whole, .split = some_split, .wrap = some_wrap};
    struct outlet_framing less;
    struct ol_framing f;
    size_t bad_at = 9;

    (void)state;
    assert_int_equal(ol_framing_parse("custom", 9, &whole, &f, &bad_at), OUTLET_OK);
    assert_int_equal(ol_framing_parse("custom", 9, NULL, &f, &bad_at), OUTLET_EINVAL);
    assert_int_equal(bad_at, 0);
    less = whole;
    less.split = NULL;
    assert_int_equal(ol_framing_parse("custom", 9, &less, &f, &bad_at), OUTLET_EINVAL);
    less = whole;
    less.wrap = NULL;
    assert_int_equal(ol_framing_parse("custom", 9, &less, &f, &bad_at), OUTLET_EINVAL);
    less = whole;
    less.size = 8;
    assert_int_equal(ol_framing_parse("custom", 9, &less, &f, &bad_at), OUTLET_EINVAL);
}

static void
no_two_of_the_good_texts_are_the_same_framing(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        for (size_t j = 0; j < OL_COUNT(good); j++) {
            bool len1 = strncmp(good[i].text, "len:1", 5) == 0 &&
                        strncmp(good[j].text, "len:1", 5) == 0 &&
                        good[i].want.adjust == good[j].want.adjust;

            if (ol_framing_same(&good[i].want, &good[j].want) != (i == j || len1)) {
                fail_msg("%s and %s", good[i].text, good[j].text);
            }
        }
    }
}

static void
framings_with_other_limits_or_functions_are_not_the_same(void **state)
{
    struct outlet_framing custom = {.size = sizeof custom, .split = some_split, .wrap = some_wrap};
    struct ol_framing a;
    struct ol_framing b;
    size_t bad_at;

    (void)state;
    assert_int_equal(ol_framing_parse("line", 9, NULL, &a, &bad_at), OUTLET_OK);
    assert_int_equal(ol_framing_parse("line", 10, NULL, &b, &bad_at), OUTLET_OK);
    assert_false(ol_framing_same(&a, &b));

    assert_int_equal(ol_framing_parse("custom", 9, &custom, &a, &bad_at), OUTLET_OK);
    assert_int_equal(ol_framing_parse("custom", 9, &custom, &b, &bad_at), OUTLET_OK);
    assert_true(ol_framing_same(&a, &b));
    custom.user = &custom;
    assert_int_equal(ol_framing_parse("custom", 9, &custom, &b, &bad_at), OUTLET_OK);
    assert_false(ol_framing_same(&a, &b));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_mean_what_the_table_says),
        cmocka_unit_test(a_bad_text_is_blamed_on_one_byte),
        cmocka_unit_test(the_public_check_says_the_same),
        cmocka_unit_test(custom_needs_both_functions),
        cmocka_unit_test(no_two_of_the_good_texts_are_the_same_framing),
        cmocka_unit_test(framings_with_other_limits_or_functions_are_not_the_same),
    };

    return cmocka_run_group_tests_name("frame_text", tests, NULL, NULL);
}
