/*
 * text_test.c - UTF-8, safe text for terminals, sizes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    const char *bytes;
    size_t next;
} utf8[] = {
    {"a", 1},
    {"\xc3\xa9", 2},
    {"\xe4\xb8\xad", 3},
    {"\xf0\x9f\x98\x80", 4},
    {"\xf4\x8f\xbf\xbf", 4},
    {"\xf4\x90\x80\x80", 0}, /* above U+10FFFF */
    {"\xed\xa0\x80", 0},     /* half of a surrogate pair */
    {"\xc0\x80", 0},         /* longer than needed */
    {"\xe0\x80\x80", 0},
    {"\xf0\x80\x80\x80", 0},
    {"\x80", 0},
    {"\xff", 0},
    {"\xc3", 0},
    {"\xe4\xb8", 0},
    {"\xc3(", 0},
};

static void
utf8_is_judged_as_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(utf8); i++) {
        size_t got = eng_utf8_next((const uint8_t *)utf8[i].bytes, strlen(utf8[i].bytes));

        if (got != utf8[i].next)
            fail_msg("case %zu: %zu, not %zu", i, got, utf8[i].next);
    }
    assert_int_equal(eng_utf8_next((const uint8_t *)"", 0), 0);
    assert_true(eng_utf8_valid((const uint8_t *)"", 0));
}

static void
nothing_that_a_terminal_obeys_is_shown(void **state)
{
    static const char in[] = "a\x1b[2J\n\r\t\\\x7f\xff\xc2\x9b\xe4\xb8\xad\0";
    struct eng_bytes out = {0};

    (void)state;
    eng_text_visible(&out, (const uint8_t *)in, sizeof in - 1);
    eng_bytes_add(&out, "", 1);
    assert_string_equal((const char *)out.data,
                        "a\\x1b[2J\\n\\r\\t\\\\\\x7f\\xff\\xc2\\x9b\xe4\xb8\xad\\x00");
    eng_bytes_free(&out);
}

static void
what_nobody_sees_is_shown(void **state)
{
    static const struct {
        const char *in;
        const char *shown;
    } rows[] = {
        {"\u202eabc\u202c", "\\u202eabc\\u202c"},
        {"\u2066a\u2069", "\\u2066a\\u2069"},
        {"ad\u00admin\u200b", "ad\\u00admin\\u200b"},
        {"\ufeffa\u2028b", "\\ufeffa\\u2028b"},
        {"\U000e0041", "\\xf3\\xa0\\x81\\x81"},
        /* What can be seen stays: letters, accents, an emoji with the sign that colours it. */
        {"\u00e9 e\u0301 \u4f60 \u2764\ufe0f \u0600 \u05d0",
         "\u00e9 e\u0301 \u4f60 \u2764\ufe0f \u0600 \u05d0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct eng_bytes out = {0};

        eng_text_visible(&out, (const uint8_t *)rows[i].in, strlen(rows[i].in));
        eng_bytes_add(&out, "", 1);
        assert_string_equal((const char *)out.data, rows[i].shown);
        eng_bytes_free(&out);
    }
}

static void
sizes_have_a_unit(void **state)
{
    char text[32];

    (void)state;
    eng_text_size(text, sizeof text, 0);
    assert_string_equal(text, "0 B");
    eng_text_size(text, sizeof text, 999);
    assert_string_equal(text, "999 B");
    eng_text_size(text, sizeof text, 1200);
    assert_string_equal(text, "1.2 KB");
    eng_text_size(text, sizeof text, 999999);
    assert_string_equal(text, "1.0 MB");
    eng_text_size(text, sizeof text, UINT64_MAX);
    assert_string_equal(text, "18.4 EB");
}

/* What a table of Chinese and Latin words needs to stay aligned. */
static void
width_is_counted_in_columns(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xe4\xb8\xad\xe6\x96\x87", 4}, /* two Chinese characters */
        {"a\xe4\xb8\xad", 3},            /* mixed */
        {"\xe2\x86\x92", 1},             /* an arrow */
        {"\xef\xbc\x9a", 2},             /* a full-width colon */
        {"e\xcc\x81", 1},                /* e and an accent above it */
        {"\xf0\x9f\x98\x80", 2},         /* a face */
        {"\xff\xfe", 2},                 /* no UTF-8: a column for each byte */
    };

    (void)state;
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t got = eng_text_width(cases[i].text, strlen(cases[i].text));

        if (got != cases[i].columns)
            fail_msg("case %zu: got %zu, want %zu", i, got, cases[i].columns);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_judged_as_the_standard_says),
        cmocka_unit_test(nothing_that_a_terminal_obeys_is_shown),
        cmocka_unit_test(what_nobody_sees_is_shown),
        cmocka_unit_test(width_is_counted_in_columns),
        cmocka_unit_test(sizes_have_a_unit),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
