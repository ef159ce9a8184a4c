/*
 * template_test.c - what places become, and every way to write one wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* 2026-11-26 20:02:04.123456789 UTC */
#define THEN (INT64_C(1795723324) * 1000000000 + 123456789)

static const struct {
    enum eng_notation notation;
    const char *text;
    uint64_t n;
    const char *want;
    size_t len;
} cases[] = {
    {ENG_AS_TEXT, "plain", 0, "plain", 5},
    {ENG_AS_TEXT, "", 0, "", 0},
    {ENG_AS_TEXT, "{{seq}}", 0, "1", 1},
    {ENG_AS_TEXT, "n={{seq}};", 41, "n=42;", 5},
    {ENG_AS_TEXT, "{{ seq start=0 width=4 }}", 7, "0007", 4},
    {ENG_AS_TEXT, "{{seq start=10 step=-3}}", 4, "-2", 2},
    {ENG_AS_TEXT, "{{seq base=16 start=255}}", 0, "ff", 2},
    {ENG_AS_TEXT, "{{seq base=2 width=8 start=5}}", 0, "00000101", 8},
    {ENG_AS_TEXT, "{{seq}}{{seq}}", 2, "33", 2},
    {ENG_AS_TEXT, "{{client}}@{{peer}}", 0, "9@1.2.3.4:5", 11},
    {ENG_AS_TEXT, "{{time s}}", 0, "1795723324", 10},
    {ENG_AS_TEXT, "{{time ms}}", 0, "1795723324123", 13},
    {ENG_AS_TEXT, "{{time us}}", 0, "1795723324123456", 16},
    {ENG_AS_TEXT, "{{time ns}}", 0, "1795723324123456789", 19},
    {ENG_AS_TEXT, "{{time}}", 0, "2026-11-26T20:02:04.123+0000", 28},
    {ENG_AS_TEXT, "{{time utc %d.%m. %H:%M:%S.%6N %%}}", 0, "26.11. 20:02:04.123456 %", 24},
    {ENG_AS_TEXT, "{{rand 5..5}}", 0, "5", 1},
    {ENG_AS_TEXT, "{{rand -3..-3}}", 0, "-3", 2},
    /* Braces that are text. */
    {ENG_AS_TEXT, "{\"a\":{\"b\":{{seq}}}}", 0, "{\"a\":{\"b\":1}}", 13},
    {ENG_AS_TEXT, "{{{seq}}}", 0, "{1}", 3},
    {ENG_AS_TEXT, "}} {", 0, "}} {", 4},
    {ENG_AS_TEXT, "\\{{seq}}", 0, "{{seq}}", 7},
    {ENG_AS_TEXT, "C:\\dir\\\\{{seq}}", 0, "C:\\dir\\1", 8},
    {ENG_AS_ESCAPE, "a\\t{{seq}}\\r\\n", 0, "a\t1\r\n", 5},
    {ENG_AS_ESCAPE, "\\\\{{seq}}", 0, "\\1", 2},
    {ENG_AS_ESCAPE, "\\{{\\n", 0, "{{\n", 3},
    /* Numbers as bytes. */
    {ENG_AS_HEX, "01 {{u16be}} 0x03", 0x1233, "\x01\x12\x34\x03", 4},
    {ENG_AS_HEX, "{{u16le}}", 0x1233, "\x34\x12", 2},
    {ENG_AS_HEX, "{{u8}}", 256, "\x01", 1}, /* wraps around */
    {ENG_AS_HEX, "{{u8 start=0}}", 256, "\0", 1},
    {ENG_AS_HEX, "{{u8 start=0xd6}}", 0, "\xd6", 1},
    {ENG_AS_HEX, "{{u32be start=-1}}", 0, "\xff\xff\xff\xff", 4},
    {ENG_AS_HEX, "{{u32le step=16 start=0}}", 1, "\x10\0\0\0", 4},
    {ENG_AS_HEX, "{{u64be seq}}", 0, "\0\0\0\0\0\0\0\1", 8},
    {ENG_AS_HEX, "{{u16be client}}", 0, "\0\x09", 2},
    {ENG_AS_HEX, "{{u32be time}}", 0, "\x6b\x08\x90\x3c", 4},
    {ENG_AS_HEX, "{{seq width=2}}", 0, "01", 2},
};

static uint64_t
seed(void)
{
    return 1;
}

static bool
render(const struct eng_template *t, uint64_t n, uint64_t *chance, struct eng_bytes *out)
{
    return eng_template_render(
        t,
        &(struct eng_context){
            .n = n, .real_ns = THEN, .client = 9, .peer = "1.2.3.4:5", .chance = chance},
        out);
}

static void
places_become_what_they_say(void **state)
{
    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct eng_mistake m;
        struct eng_bytes out = {0};
        uint64_t chance = seed();
        struct eng_template *t = eng_template_new(cases[i].text, cases[i].notation, NULL, &m);

        if (!t)
            fail_msg("'%s' is refused: %d at %zu", cases[i].text, (int)m.wrong, m.at);
        assert_true(render(t, cases[i].n, &chance, &out));
        if (out.len != cases[i].len || (out.len && memcmp(out.data, cases[i].want, out.len) != 0))
            fail_msg("'%s' is '%.*s'", cases[i].text, (int)out.len, (const char *)out.data);
        eng_bytes_free(&out);
        eng_template_free(t);
    }
}

static void
chance_is_the_same_for_the_same_seed_and_within_bounds(void **state)
{
    static const char text[] =
        "{{rand 1..6}} {{rand hex=4}} {{rand text=5}} {{uuid}} {{u16be rand}}";
    struct eng_mistake m;
    struct eng_template *t = eng_template_new(text, ENG_AS_TEXT, NULL, &m);
    uint64_t first = seed();
    uint64_t second = seed();
    unsigned seen = 0;

    (void)state;
    for (int i = 0; i < 500; i++) {
        struct eng_bytes a = {0};
        struct eng_bytes b = {0};

        assert_true(render(t, 0, &first, &a));
        assert_true(render(t, 0, &second, &b));
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        assert_int_equal(a.len, 2 + 9 + 6 + 37 + 2);
        assert_in_range(a.data[0], '1', '6');
        seen |= 1u << (a.data[0] - '0');
        assert_int_equal(a.data[17 + 14], '4'); /* RFC 4122: version 4 */
        assert_non_null(strchr("89ab", a.data[17 + 19]));
        eng_bytes_free(&a);
        eng_bytes_free(&b);
    }
    assert_int_equal(seen, 0x7e); /* each of six, in 500 */
    eng_template_free(t);
}

static void
text_and_places_are_in_the_charset_and_raw_bytes_are_not(void **state)
{
    struct eng_mistake m;
    struct eng_bytes out = {0};
    uint64_t chance = seed();
    struct eng_template *t = eng_template_new("中\\xd6{{seq}}{{u8}}", ENG_AS_ESCAPE, "utf-16be",
                                              &m);

    (void)state;
    assert_non_null(t);
    assert_true(render(t, 0, &chance, &out));
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\x4e\x2d\xd6\0001\x01", 6);
    eng_bytes_free(&out);
    eng_template_free(t);
}

static const struct {
    enum eng_notation notation;
    const char *text;
    enum eng_wrong wrong;
    size_t at;
    const char *near;
} mistakes[] = {
    {ENG_AS_TEXT, "ab{{seq", ENG_WRONG_OPEN, 2, ""},
    {ENG_AS_TEXT, "{{seq}} {{", ENG_WRONG_OPEN, 8, ""},
    {ENG_AS_TEXT, "{{}}", ENG_WRONG_PLACEHOLDER, 2, "seq"},
    {ENG_AS_TEXT, "x{{sqe}}", ENG_WRONG_PLACEHOLDER, 3, "seq"},
    {ENG_AS_TEXT, "{{ frobnicate }}", ENG_WRONG_PLACEHOLDER, 3, ""},
    {ENG_AS_TEXT, "{{seq=1}}", ENG_WRONG_PLACEHOLDER, 2, "seq"},
    {ENG_AS_TEXT, "{{seq from=1}}", ENG_WRONG_WORD, 6, "start=N step=N width=N base=N"},
    {ENG_AS_TEXT, "{{seq width=0}}", ENG_WRONG_NUMBER, 12, "1..64"},
    {ENG_AS_TEXT, "{{seq width=65}}", ENG_WRONG_NUMBER, 12, "1..64"},
    {ENG_AS_TEXT, "{{seq base=37}}", ENG_WRONG_NUMBER, 11, "2..36"},
    {ENG_AS_TEXT, "{{seq base=x}}", ENG_WRONG_NUMBER, 11, "2..36"},
    {ENG_AS_TEXT, "{{time hours}}", ENG_WRONG_WORD, 7, "s ms us ns utc %H:%M:%S"},
    {ENG_AS_TEXT, "{{time %Q}}", ENG_WRONG_FORMAT, 7, ""},
    {ENG_AS_TEXT, "{{time %H:%4N}}", ENG_WRONG_FORMAT, 10, ""},
    {ENG_AS_TEXT, "{{time %}}", ENG_WRONG_FORMAT, 7, ""},
    {ENG_AS_TEXT, "{{rand 6..1}}", ENG_WRONG_NUMBER, 10, "6..4611686018427387903"},
    {ENG_AS_TEXT, "{{rand 8}}", ENG_WRONG_WORD, 7, "1..6 hex=8 text=8 bytes=8"},
    {ENG_AS_TEXT, "{{rand hex=0}}", ENG_WRONG_NUMBER, 11, "1..4096"},
    {ENG_AS_TEXT, "{{client 1}}", ENG_WRONG_WORD, 9, "}}"},
    {ENG_AS_HEX, "01 {{u16}}", ENG_WRONG_PLACEHOLDER, 5, "u16be"},
    {ENG_AS_HEX, "01 {{u16be}} 0", ENG_WRONG_HEX, 14, ""},
    {ENG_AS_HEX, "0{{u16be}}", ENG_WRONG_HEX, 1, ""},
    {ENG_AS_HEX, "{{u8 start=256}}", ENG_WRONG_NUMBER, 11, "-128..255"},
    {ENG_AS_HEX, "{{u16le step=65536}}", ENG_WRONG_NUMBER, 13, "-65535..65535"},
    {ENG_AS_HEX, "{{u32be start=-2147483649}}", ENG_WRONG_NUMBER, 14, "-2147483648..4294967295"},
    {ENG_AS_HEX, "{{u16be width=4}}", ENG_WRONG_WORD, 8,
     "seq start=N step=N client rand time time=ms"},
    {ENG_AS_ESCAPE, "{{seq}}\\q", ENG_WRONG_ESCAPE, 7, ""},
};

static void
a_mistake_has_its_place_and_what_would_be_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct eng_mistake m;

        if (eng_template_new(mistakes[i].text, mistakes[i].notation, NULL, &m))
            fail_msg("'%s' is taken", mistakes[i].text);
        if (m.wrong != mistakes[i].wrong || m.at != mistakes[i].at ||
            strcmp(m.near, mistakes[i].near) != 0)
            fail_msg("'%s': %d at %zu, '%s'", mistakes[i].text, (int)m.wrong, m.at, m.near);
    }
}

/* Any prefix of a good template is a template or a mistake, never anything else. */
static void
every_truncation_is_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t len = 0; len < strlen(cases[i].text); len++) {
            struct eng_mistake m;
            struct eng_template *t;
            char text[80];

            snprintf(text, sizeof text, "%.*s", (int)len, cases[i].text);
            t = eng_template_new(text, cases[i].notation, NULL, &m);
            assert_true((t != NULL) == (m.wrong == ENG_WRONG_NOTHING));
            assert_true(m.at <= len);
            eng_template_free(t);
        }
    }
}

static void
too_many_places_are_refused(void **state)
{
    struct eng_mistake m;
    struct eng_template *t;
    struct eng_bytes text = {0};

    (void)state;
    for (int i = 0; i < 256; i++)
        eng_bytes_text(&text, "{{u8}}");
    eng_bytes_add(&text, "\0x", 3);
    t = eng_template_new((const char *)text.data, ENG_AS_TEXT, NULL, &m);
    assert_non_null(t);
    eng_template_free(t);
    text.data[text.len - 3] = ' ';
    assert_null(eng_template_new((const char *)text.data, ENG_AS_TEXT, NULL, &m));
    assert_int_equal(m.wrong, ENG_WRONG_LONG);
    eng_bytes_free(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_become_what_they_say),
        cmocka_unit_test(chance_is_the_same_for_the_same_seed_and_within_bounds),
        cmocka_unit_test(text_and_places_are_in_the_charset_and_raw_bytes_are_not),
        cmocka_unit_test(a_mistake_has_its_place_and_what_would_be_right),
        cmocka_unit_test(every_truncation_is_judged),
        cmocka_unit_test(too_many_places_are_refused),
    };

    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
