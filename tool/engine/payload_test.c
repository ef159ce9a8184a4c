/*
 * payload_test.c - hex, escapes, durations and counts, right and wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    const char *text;
    const char *want; /* NULL: refused */
    size_t len;       /* or the place of the bad byte */
} hexes[] = {
    {"", "", 0},
    {"0103ff", "\x01\x03\xff", 3},
    {"01 03 FF", "\x01\x03\xff", 3},
    {"0x01,0x03,0Xff", "\x01\x03\xff", 3},
    {"01:03-ff\n", "\x01\x03\xff", 3},
    {"0x0103", "\x01\x03", 2},
    {"00", "\0", 1},
    {"1", NULL, 1},
    {"01 3", NULL, 4},
    {"0g", NULL, 1},
    {"01 zz", NULL, 3},
    {"0x", NULL, 2},
    {"010x02", NULL, 3},
};

static void
hex_is_read_with_anything_between_and_no_odd_digit(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hexes); i++) {
        struct eng_bytes out = {0};
        size_t bad_at = 99;
        bool ok = eng_parse_hex(hexes[i].text, &out, &bad_at);

        if (ok != (hexes[i].want != NULL))
            fail_msg("'%s': %s", hexes[i].text, ok ? "taken" : "refused");
        if (ok &&
            (out.len != hexes[i].len || (out.len && memcmp(out.data, hexes[i].want, out.len))))
            fail_msg("'%s': other bytes", hexes[i].text);
        if (!ok && bad_at != hexes[i].len)
            fail_msg("'%s': bad at %zu, not %zu", hexes[i].text, bad_at, hexes[i].len);
        eng_bytes_free(&out);
    }
}

static const struct {
    const char *text;
    const char *want;
    size_t len;
} escapes[] = {
    {"plain", "plain", 5},
    {"a\\r\\n", "a\r\n", 3},
    {"\\0\\t\\\\\\\"", "\0\t\\\"", 4},
    {"\\x41\\xfF", "A\xff", 2},
    {"\\u0041\\u00e9\\u4e2d", "A\xc3\xa9\xe4\xb8\xad", 6},
    {"\xe4\xb8\xad", "\xe4\xb8\xad", 3},
    {"\\", NULL, 0},
    {"ab\\q", NULL, 2},
    {"\\x4", NULL, 0},
    {"\\ud800", NULL, 0},
    {"x\\u12", NULL, 1},
};

static void
escapes_are_read_and_unknown_ones_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(escapes); i++) {
        struct eng_bytes out = {0};
        size_t bad_at = 99;
        bool ok = eng_parse_escape(escapes[i].text, &out, &bad_at);

        if (ok != (escapes[i].want != NULL))
            fail_msg("'%s': %s", escapes[i].text, ok ? "taken" : "refused");
        if (ok && (out.len != escapes[i].len || memcmp(out.data, escapes[i].want, out.len) != 0))
            fail_msg("'%s': other bytes", escapes[i].text);
        if (!ok && bad_at != escapes[i].len)
            fail_msg("'%s': bad at %zu, not %zu", escapes[i].text, bad_at, escapes[i].len);
        eng_bytes_free(&out);
    }
}

static const struct {
    const char *text;
    const char *want; /* NULL: refused */
    size_t len;       /* or the place of the mistake */
} base64s[] = {
    {"", "", 0},
    {"AQMA", "\x01\x03\0", 3},
    {"AQM=", "\x01\x03", 2},
    {"AQM", "\x01\x03", 2},
    {"AQ==", "\x01", 1},
    {"AQ", "\x01", 1},
    {"+/-_", "\xfb\xff\xbf", 3},
    {"aGVs\nbG8 =", "hello", 5},
    {"A", NULL, 1},
    {"AQMAA", NULL, 5},
    {"AQ=", NULL, 3},
    {"AQ===", NULL, 4},
    {"AQM=A", NULL, 4},
    {"A===", NULL, 1},
    {"=", NULL, 0},
    {"AQ!A", NULL, 2},
    {"AR==", NULL, 1}, /* bits that mean nothing */
    {"AQN=", NULL, 2},
};

static void
base64_is_read_with_or_without_padding_and_nothing_left_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(base64s); i++) {
        struct eng_bytes out = {0};
        struct eng_mistake m;
        bool ok = eng_parse_payload(ENG_AS_BASE64, base64s[i].text, NULL, &out, &m);

        if (ok != (base64s[i].want != NULL))
            fail_msg("'%s': %s", base64s[i].text, ok ? "taken" : "refused");
        if (ok && (out.len != base64s[i].len ||
                   (out.len && memcmp(out.data, base64s[i].want, out.len) != 0)))
            fail_msg("'%s': other bytes", base64s[i].text);
        if (!ok && (m.wrong != ENG_WRONG_BASE64 || m.at != base64s[i].len))
            fail_msg("'%s': bad at %zu, not %zu", base64s[i].text, m.at, base64s[i].len);
        eng_bytes_free(&out);
    }
}

static void
text_is_encoded_and_escaped_bytes_are_not(void **state)
{
    struct eng_bytes out = {0};
    struct eng_mistake m;

    (void)state;
    assert_true(eng_parse_payload(ENG_AS_ESCAPE, "中\\xff\\u6587\\n", "gbk", &out, &m));
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\xd6\xd0\xff\xce\xc4\n", 6);
    out.len = 0;
    assert_true(eng_parse_payload(ENG_AS_TEXT, "中", "gbk", &out, &m));
    assert_int_equal(out.len, 2);
    assert_false(eng_parse_payload(ENG_AS_ESCAPE, "中\\t\\u00e9\\ud83d", "gbk", &out, &m));
    assert_int_equal(m.wrong, ENG_WRONG_ESCAPE);
    assert_int_equal(eng_column("中\\t\\u00e9\\ud83d", m.at), 10);
    assert_false(eng_parse_payload(ENG_AS_ESCAPE, "中\\u20bd", "gbk", &out, &m));
    assert_int_equal(m.wrong, ENG_WRONG_CHARACTER);
    assert_int_equal(m.at, 3);
    assert_false(eng_parse_payload(ENG_AS_ESCAPE, "ab\xff", "gbk", &out, &m));
    assert_int_equal(m.at, 2);
    eng_bytes_free(&out);
}

static void
a_column_counts_characters(void **state)
{
    (void)state;
    assert_int_equal(eng_column("abc", 0), 1);
    assert_int_equal(eng_column("abc", 2), 3);
    assert_int_equal(eng_column("abc", 3), 4);
    assert_int_equal(eng_column("中文c", 6), 3);
    assert_int_equal(eng_column("\xff\xff", 1), 2);
}

static const struct {
    const char *text;
    int64_t want; /* 0: refused */
} durations[] = {
    {"500ms", 500},
    {"5s", 5000},
    {"1.5s", 1500},
    {"2m", 120000},
    {"1h", 3600000},
    {"1us", 1},
    {"0.25s", 250},
    {"0.0000001s", 0},
    {"5", 0},
    {"", 0},
    {"s", 0},
    {"-5s", 0},
    {"0s", 0},
    {"5 s", 0},
    {"5sec", 0},
    {"1.s", 0},
    {"99999999999999999999s", 0},
    {"9999999h", 0},
};

static void
durations_need_a_unit_and_are_above_zero(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(durations); i++) {
        int64_t ms = 0;
        bool ok = eng_parse_duration(durations[i].text, &ms);

        if (ok != (durations[i].want != 0) || ms != durations[i].want)
            fail_msg("'%s': %s, %lld ms", durations[i].text, ok ? "taken" : "refused",
                     (long long)ms);
    }
}

static void
no_duration_is_zero_with_any_unit_or_none(void **state)
{
    static const char *const zeros[] = {"0", "0us", "0ms", "0s", "0.0m", "0h"};
    int64_t ms;

    (void)state;
    for (size_t i = 0; i < COUNT(zeros); i++) {
        ms = 7;
        assert_true(eng_parse_duration_or_none(zeros[i], &ms));
        assert_int_equal(ms, 0);
    }
    assert_true(eng_parse_duration_or_none("1.5s", &ms));
    assert_int_equal(ms, 1500);
    assert_false(eng_parse_duration_or_none("", &ms));
    assert_false(eng_parse_duration_or_none("7", &ms));
    assert_false(eng_parse_duration_or_none("-0s", &ms));
}

static void
counts_are_above_zero_and_fit(void **state)
{
    int64_t n = 0;

    (void)state;
    assert_true(eng_parse_count("1", &n));
    assert_int_equal(n, 1);
    assert_true(eng_parse_count("1000000", &n));
    assert_int_equal(n, 1000000);
    assert_false(eng_parse_count("0", &n));
    assert_false(eng_parse_count("", &n));
    assert_false(eng_parse_count("-1", &n));
    assert_false(eng_parse_count("1k", &n));
    assert_false(eng_parse_count("99999999999999999999", &n));
    assert_int_equal(n, 1000000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_is_read_with_anything_between_and_no_odd_digit),
        cmocka_unit_test(escapes_are_read_and_unknown_ones_refused),
        cmocka_unit_test(base64_is_read_with_or_without_padding_and_nothing_left_over),
        cmocka_unit_test(text_is_encoded_and_escaped_bytes_are_not),
        cmocka_unit_test(a_column_counts_characters),
        cmocka_unit_test(durations_need_a_unit_and_are_above_zero),
        cmocka_unit_test(no_duration_is_zero_with_any_unit_or_none),
        cmocka_unit_test(counts_are_above_zero_and_fit),
    };

    return cmocka_run_group_tests_name("payload", tests, NULL, NULL);
}
