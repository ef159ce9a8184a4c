/*
 * preset_test.c - a file of presets, right, wrong in every place, and changed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char file[] = "# mine\n"
                           "[read]\n"
                           "note = ten registers\n"
                           "  hex=01 03 \r\n"
                           "url = tcp://h:1#frame=line\n"
                           "text = \"  two spaces \"\n"
                           "\n"
                           "; the other\n"
                           "[ write ]\n"
                           "hex =\n";

static const char *
value_of(const struct eng_presets *p, const char *section, const char *key)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct eng_preset_entry *e = &p->entries[i];

        if (strcmp(e->section, section) == 0 && e->key && strcmp(e->key, key) == 0)
            return e->value;
    }
    return NULL;
}

static void
sections_keys_and_values_are_read_with_their_places(void **state)
{
    struct eng_presets p;
    struct eng_mistake m;
    int line;

    (void)state;
    assert_true(eng_presets_parse(file, strlen(file), &p, &m, &line));
    assert_int_equal(p.count, 7);
    assert_string_equal(value_of(&p, "read", "note"), "ten registers");
    assert_string_equal(value_of(&p, "read", "hex"), "01 03");
    assert_string_equal(value_of(&p, "read", "url"), "tcp://h:1#frame=line");
    assert_string_equal(value_of(&p, "read", "text"), "  two spaces ");
    assert_string_equal(value_of(&p, "write", "hex"), "");
    assert_int_equal(p.entries[2].line, 4);
    assert_int_equal(p.entries[2].key_at, 2);
    assert_int_equal(p.entries[2].value_at, 6);
    eng_presets_free(&p);
}

static const struct {
    const char *text;
    enum eng_wrong wrong;
    int line;
    size_t at;
} mistakes[] = {
    {"hex = 01\n", ENG_WRONG_OUTSIDE, 1, 0},      {"[a]\nhex\n", ENG_WRONG_LINE, 2, 3},
    {"[a]\n = 1\n", ENG_WRONG_LINE, 2, 1},        {"\n[a\n", ENG_WRONG_SECTION, 2, 2},
    {"[a] b\n", ENG_WRONG_SECTION, 1, 4},         {"[]\n", ENG_WRONG_SECTION, 1, 1},
    {"[a b]\n", ENG_WRONG_SECTION, 1, 1},         {"[a]\n[b]\n[a]\n", ENG_WRONG_TWICE, 3, 1},
    {"[a]\nx=1\n  x=2\n", ENG_WRONG_TWICE, 3, 2},
};

static void
a_mistake_has_its_line_and_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct eng_presets p;
        struct eng_mistake m;
        int line;

        if (eng_presets_parse(mistakes[i].text, strlen(mistakes[i].text), &p, &m, &line))
            fail_msg("'%s' is taken", mistakes[i].text);
        if (m.wrong != mistakes[i].wrong || line != mistakes[i].line || m.at != mistakes[i].at)
            fail_msg("'%s': %d in line %d at %zu", mistakes[i].text, (int)m.wrong, line, m.at);
    }
}

static void
every_truncation_is_judged_and_nul_is_refused(void **state)
{
    struct eng_presets p;
    struct eng_mistake m;
    int line;

    (void)state;
    for (size_t len = 0; len <= strlen(file); len++) {
        if (eng_presets_parse(file, len, &p, &m, &line))
            eng_presets_free(&p);
        else
            assert_true(m.wrong != ENG_WRONG_NOTHING);
    }
    assert_false(eng_presets_parse("[a]\nx=\0y\n", 9, &p, &m, &line));
    assert_int_equal(line, 2);
}

static void
put(const char *before, const char *name, const char *section, const char *after)
{
    struct eng_presets p;
    struct eng_mistake m;
    struct eng_bytes new = {0};
    struct eng_bytes out = {0};
    int line;

    assert_true(eng_presets_parse(before, strlen(before), &p, &m, &line));
    eng_bytes_text(&new, section);
    assert_true(eng_presets_put(&p, before, strlen(before), name, &new, &out));
    eng_bytes_add(&out, "", 1);
    assert_string_equal((const char *)out.data, after);
    eng_bytes_free(&new);
    eng_bytes_free(&out);
    eng_presets_free(&p);
}

static void
a_section_is_replaced_where_it_stands_and_the_rest_is_kept(void **state)
{
    (void)state;
    put("", "a", "[a]\nx = 1\n", "[a]\nx = 1\n");
    put("# c\n[b]\ny = 2", "a", "[a]\nx = 1\n", "# c\n[b]\ny = 2\n\n[a]\nx = 1\n");
    put("# c\n[a]\ny = 2\n# d\n[b]\n", "a", "[a]\nx = 1\n", "# c\n[a]\nx = 1\n# d\n[b]\n");
    put("\xef\xbb\xbf[b]\r\ny = 2\r\n", "a", "[a]\nx = 1\n",
        "\xef\xbb\xbf[b]\r\ny = 2\r\n\n[a]\nx = 1\n");
    put("\xef\xbb\xbf[a]\r\ny = 2\r\n[b]\n", "a", "[a]\nx = 1\n", "[a]\nx = 1\n[b]\n");
    put("[b]\n[a]\n", "a", "[a]\nx = 1\n", "[b]\n[a]\nx = 1\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_keys_and_values_are_read_with_their_places),
        cmocka_unit_test(a_mistake_has_its_line_and_place),
        cmocka_unit_test(every_truncation_is_judged_and_nul_is_refused),
        cmocka_unit_test(a_section_is_replaced_where_it_stands_and_the_rest_is_kept),
    };

    return cmocka_run_group_tests_name("preset", tests, NULL, NULL);
}
