/*
 * rules_test.c - rules: each condition, each mistake with its place, globs against a slow matcher.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules_impl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct eng_rules *
rules_of(const char *text, const struct eng_rules_opts *opts)
{
    static const struct eng_rules_opts none = {0};
    struct eng_rules_mistake m;
    struct eng_rules *rules = eng_rules_parse(text, strlen(text), opts ? opts : &none, &m);

    if (!rules)
        fail_msg("%s: wrong %d at %d:%zu (%s)", text, m.mistake.wrong, m.line, m.column,
                 m.mistake.near);
    return rules;
}

static const char *
who_acts(struct eng_rules *rules, const char *bytes, size_t len)
{
    struct eng_rule_acts *acts = eng_rules_match(rules, false, (const uint8_t *)bytes, len, NULL,
                                                 NULL);

    return acts ? acts->name : "";
}

static const struct {
    const char *condition;
    const char *bytes;
    size_t len;
    bool holds;
} conditions[] = {
#define MESSAGE(text) text, sizeof text - 1
    {"note = always", MESSAGE(""), true},
    {"is = PING", MESSAGE("PING"), true},
    {"is = PING", MESSAGE("PING\r\n"), true},
    {"is = PING", MESSAGE("PING\n"), false},
    {"is = PING", MESSAGE("PINGS"), false},
    {"starts = AB", MESSAGE("ABC"), true},
    {"starts = AB", MESSAGE("A"), false},
    {"ends = BC", MESSAGE("ABC"), true},
    {"ends = BC", MESSAGE("ABC\r\n"), true},
    {"ends = BC", MESSAGE("C"), false},
    {"contains = B", MESSAGE("ABC"), true},
    {"contains = B", MESSAGE(""), false},
    {"hex = 01 03", MESSAGE("\x01\x03"), true},
    {"hex = 0103*", MESSAGE("\x01\x03\x00"), true},
    {"hex = 01 ?? 0? ?f", MESSAGE("\x01\xff\x07\xaf"), true},
    {"hex = 01 ?? 0? ?f", MESSAGE("\x01\xff\x17\xaf"), false},
    {"hex = * 0d 0a", MESSAGE("abc\r\n"), true},
    {"hex = *", MESSAGE(""), true},
    {"regex = ^a+b", MESSAGE("aaab"), true},
    {"regex = ^a+b", MESSAGE("xaab"), false},
    {"regex = ^.$", MESSAGE("\xe4\xbd\xa0"), true}, /* one character */
    {"regex = ^..$", MESSAGE("\xff\xfe"), true},    /* two bytes */
    {"regex = \\x{4f60}", MESSAGE("\xe4\xbd\xa0"), true},
    {"regex = b$", MESSAGE(""), false},
    {"field = u8@0 == 1", MESSAGE("\x01"), true},
    {"field = u8@0 == 1", MESSAGE(""), false},
    {"field = u16be@1 == 0x0102", MESSAGE("\x00\x01\x02"), true},
    {"field = u16le@1 == 0x0201", MESSAGE("\x00\x01\x02"), true},
    {"field = u16be@1 == 0x0102", MESSAGE("\x00\x01"), false},
    {"field = u16be@1 != 5", MESSAGE("\x00\x01"), false}, /* too short is no match either */
    {"field = u8@-1 >= 10", MESSAGE("\x00\x0a"), true},
    {"field = u8@-3 >= 0", MESSAGE("\x00\x0a"), false},
    {"field = u16be@-1 >= 0", MESSAGE("\x00\x0a"), false},
    {"field = i8@0 < 0", MESSAGE("\x80"), true},
    {"field = i8@0 == -128", MESSAGE("\x80"), true},
    {"field = i16le@0 > -2", MESSAGE("\xff\xff"), true},
    {"field = i32be@0 <= -1", MESSAGE("\xff\xff\xff\xff"), true},
    {"field = i64be@0 == -1", MESSAGE("\xff\xff\xff\xff\xff\xff\xff\xff"), true},
    {"field = u64le@0 == 18446744073709551615", MESSAGE("\xff\xff\xff\xff\xff\xff\xff\xff"), true},
    {"field = u8@0 & 0x0f == 3", MESSAGE("\xf3"), true},
    {"field = u8@0 == 1, u8@1 != 1", MESSAGE("\x01\x02"), true},
    {"field = u8@0 == 1, u8@1 != 1", MESSAGE("\x01\x01"), false},
    {"size = 0", MESSAGE(""), true},
    {"size = 0", MESSAGE("a"), false},
    {"size = 2..3", MESSAGE("a"), false},
    {"size = 2..3", MESSAGE("ab"), true},
    {"size = 2..3", MESSAGE("abcd"), false},
    {"starts = a\nends = z", MESSAGE("abz"), true},
    {"starts = a\nends = z", MESSAGE("abc"), false},
};

static void
each_condition_holds_where_it_should(void **state)
{
    struct eng_rules_opts opts = {.eol = "\r\n"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < COUNT(conditions); i++) {
        struct eng_rules *rules;
        bool held;

        snprintf(text, sizeof text, "[r]\n%s\ndrop = on\n", conditions[i].condition);
        rules = rules_of(text, &opts);
        held = *who_acts(rules, conditions[i].bytes, conditions[i].len) != '\0';
        eng_rules_free(rules);
        if (held != conditions[i].holds)
            fail_msg("%zu: %s", i, conditions[i].condition);
    }
}

static void
the_first_whose_conditions_hold_acts(void **state)
{
    struct eng_rules *rules = rules_of(
        "[a]\nis = x\necho = on\n[b]\nstarts = x\ndrop = off\n[c]\nclose = off\n", NULL);

    (void)state;
    assert_string_equal(who_acts(rules, "x", 1), "a");
    assert_string_equal(who_acts(rules, "xy", 2), "b");
    assert_string_equal(who_acts(rules, "y", 1), "c");
    assert_int_equal(eng_rules_count(rules), 3);
    assert_int_equal(eng_rules_at(rules, 1)->counts.matches, 1);
    eng_rules_free(rules);
}

static void
times_ends_a_rule_and_every_lets_others_act_between(void **state)
{
    struct eng_rules *rules = rules_of("[a]\nevery = 2\ntimes = 2\necho = on\n[b]\necho = on\n",
                                       NULL);
    static const char *const want[] = {"b", "a", "b", "a", "b", "b"};

    (void)state;
    for (size_t i = 0; i < COUNT(want); i++)
        assert_string_equal(who_acts(rules, "x", 1), want[i]);
    eng_rules_free(rules);
}

static void
answers_are_complete(void **state)
{
    struct eng_rules_mistake m;
    struct eng_sum sum;
    struct eng_rules_opts opts = {.append = &sum, .eol = "\n"};
    struct eng_rules *rules;

    (void)state;
    assert_true(eng_sum_parse("xor8", &sum, &m.mistake));
    rules = rules_of(
        "[a]\nreply = A\n[b]\nreply-hex = 4142\nappend = none\n[c]\n"
        "eol = crlf\nappend = none\nreply-escape = \\x41\\t\n[d]\nreply-base64 = QQ==\n"
        "[e]\nreply = {{seq}}\ntemplate = on\nclose = reset\n[f]\necho = on\n",
        &opts);
    assert_memory_equal(eng_rules_at(rules, 0)->bytes, "AA\n", 3);
    assert_int_equal(eng_rules_at(rules, 0)->len, 3);
    assert_memory_equal(eng_rules_at(rules, 1)->bytes, "AB", 2);
    assert_int_equal(eng_rules_at(rules, 1)->len, 2);
    assert_memory_equal(eng_rules_at(rules, 2)->bytes, "A\t\r\n", 4);
    assert_memory_equal(eng_rules_at(rules, 3)->bytes, "AA", 2);
    assert_int_equal(eng_rules_at(rules, 3)->len, 2);
    assert_non_null(eng_rules_at(rules, 4)->template);
    assert_int_equal(eng_rules_at(rules, 4)->close, ENG_CLOSE_RESET);
    assert_true(eng_rules_at(rules, 5)->echo);
    assert_false(eng_rules_at(rules, 5)->replies);
    eng_rules_free(rules);
}

static void
a_charset_is_that_of_texts_and_regular_expressions(void **state)
{
    struct eng_rules_opts opts = {.charset = "GBK"};
    struct eng_rules *rules = rules_of(
        "[a]\nis = 你好\nreply = 好\n[b]\nregex = ^你.$\necho = on\n", &opts);

    (void)state;
    assert_string_equal(who_acts(rules, "\xc4\xe3\xba\xc3", 4), "a");
    assert_string_equal(who_acts(rules, "\xc4\xe3\xc4\xe3", 4), "b");
    assert_string_equal(who_acts(rules, "\xc4\xe3", 2), "");
    assert_memory_equal(eng_rules_at(rules, 0)->bytes, "\xba\xc3", 2);
    eng_rules_free(rules);
}

static void
a_direction_is_one_side_of_a_relay(void **state)
{
    struct eng_rules *rules = rules_of(
        "[a]\ndir = in\ndrop = on\n[b]\ndir = out\ntimes = 1\ndrop = on\n[c]\ndrop = on\n", NULL);
    const uint8_t *bytes = (const uint8_t *)"";

    (void)state;
    assert_string_equal(eng_rules_match(rules, false, bytes, 0, NULL, NULL)->name, "a");
    assert_string_equal(eng_rules_match(rules, true, bytes, 0, NULL, NULL)->name, "b");
    assert_string_equal(eng_rules_match(rules, true, bytes, 0, NULL, NULL)->name, "c");
    eng_rules_free(rules);
}

static void
a_relay_passes_on_what_a_rule_does_nothing_else_with(void **state)
{
    static const struct {
        const char *actions;
        bool passes;
    } rows[] = {
        {"echo = off\n", true},     {"delay = 1s\n", true},
        {"drop = off\n", true},     {"drop = on\n", false},
        {"reply = x\n", false},     {"echo = on\n", false},
        {"close = on\n", false},    {"close = off\n", true},
        {"close = reset\n", false}, {"forward = on\nreply = x\n", true},
        {"forward = off\n", true},  {"forward = udp://h:1\n", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct eng_rules_opts opts = {.who = ENG_RULES_RELAY};
        struct eng_rules *rules;
        char text[64];

        snprintf(text, sizeof text, "[a]\n%s", rows[i].actions);
        rules = rules_of(text, &opts);
        if (eng_rules_at(rules, 0)->passes != rows[i].passes)
            fail_msg("%s: passes is not %d", rows[i].actions, rows[i].passes);
        eng_rules_free(rules);
    }
}

/* What the first rule answers, made by its template. */
static const char *
answer_to(struct eng_rules *rules, const char *message)
{
    static char text[256];
    uint64_t chance = 1;
    struct eng_bytes out = {0};
    struct eng_rule_acts *acts = eng_rules_match(rules, false, (const uint8_t *)message,
                                                 strlen(message), NULL, NULL);
    struct eng_context context = {.peer = "", .chance = &chance};

    assert_non_null(acts);
    context.match = acts->match;
    assert_true(eng_template_render(acts->template, &context, &out));
    snprintf(text, sizeof text, "%.*s", (int)out.len, out.len ? (const char *)out.data : "");
    eng_bytes_free(&out);
    return text;
}

static void
an_answer_has_what_was_matched(void **state)
{
    struct eng_rules *rules = rules_of("[a]\nregex = (\\w+) (\\d+)(x)?\ntemplate = on\n"
                                       "reply = {{match 2}}-{{match 1}}-{{match 3}}|{{match}}\n",
                                       NULL);
    struct eng_rules_opts opts = {.charset = "GBK"};
    struct eng_rules *gbk = rules_of(
        "[a]\nregex = ^(.)(.)\ntemplate = on\nreply = {{match 2}}{{match 1}}好\n", &opts);

    (void)state;
    assert_string_equal(answer_to(rules, "..set 15!"), "15-set-|set 15");
    assert_string_equal(answer_to(rules, "b 2x"), "2-b-x|b 2x");
    assert_string_equal(answer_to(gbk, "\xc4\xe3\xba\xc3\xc2\xf0"), "\xba\xc3\xc4\xe3\xba\xc3");
    /* What is no character of it comes back as it was told. */
    assert_string_equal(answer_to(gbk, "\xff\xba\xc3"), "x\\\xba\xc3");
    eng_rules_free(rules);
    eng_rules_free(gbk);
}

static int
load_some(const char *path, size_t most, struct eng_bytes *out)
{
    (void)most;
    if (strcmp(path, "some") != 0)
        return ENOENT;
    return eng_bytes_add(out, "a\0b", 3) ? 0 : ENOMEM;
}

static void
a_file_is_an_answer(void **state)
{
    struct eng_rules_opts opts = {.load = load_some, .eol = "\n"};
    struct eng_rules *rules = rules_of(
        "[a]\nreply-file = some\n[b]\nreply-file = some\nappend = xor8\neol = lf\n", &opts);
    struct eng_rules_mistake m;
    const char *bad = "[a]\nreply-file = none\n";

    (void)state;
    assert_int_equal(eng_rules_at(rules, 0)->len, 3);
    assert_memory_equal(eng_rules_at(rules, 0)->bytes, "a\0b", 3);
    assert_int_equal(eng_rules_at(rules, 1)->len, 5);
    assert_memory_equal(eng_rules_at(rules, 1)->bytes, "a\0b\x03\n", 5);
    eng_rules_free(rules);
    assert_null(eng_rules_parse(bad, strlen(bad), &opts, &m));
    assert_int_equal(m.mistake.wrong, ENG_WRONG_FILE);
    assert_string_equal(m.mistake.near, strerror(ENOENT));
    assert_int_equal(m.line, 2);
    assert_int_equal(m.column, 14);
}

static void
count_told(void *user, const struct eng_rule_acts *acts)
{
    assert_string_equal(acts->name, "bad");
    ++*(int *)user;
}

static void
a_regular_expression_that_explodes_gives_up_and_others_act(void **state)
{
    struct eng_rules *rules = rules_of("[bad]\nregex = ^(a+)+$\necho = on\n[good]\necho = on\n",
                                       NULL);
    char text[64];
    int told = 0;

    (void)state;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '!';
    for (int i = 0; i < 2; i++) {
        const struct eng_rule_acts *acts = eng_rules_match(rules, false, (const uint8_t *)text,
                                                           sizeof text, count_told, &told);

        assert_non_null(acts);
        assert_string_equal(acts->name, "good");
    }
    assert_int_equal(told, 1);
    assert_string_equal(who_acts(rules, text, sizeof text), "good"); /* nobody need be told */
    assert_int_equal(eng_rules_at(rules, 0)->counts.gave_up, 3);
    assert_string_equal(who_acts(rules, "aaa", 3), "bad");
    eng_rules_free(rules);
}

/* The library's own limit would begin anew at each of these places. */
static void
the_bound_is_of_the_whole_message(void **state)
{
    enum { LEN = 1024 * 1024 };
    struct eng_mistake m;
    struct eng_regex *r = eng_regex_new("a.*b", &m);
    uint8_t *bytes = eng_alloc(LEN);

    (void)state;
    assert_non_null(r);
    assert_non_null(bytes);
    memset(bytes, 'a', LEN);
    assert_int_equal(eng_regex_find(r, bytes, LEN), ENG_FOUND_TOO_LONG);
    assert_int_equal(eng_regex_find(r, bytes, 100), ENG_FOUND_NOT);
    eng_free(bytes);
    eng_regex_free(r);
}

static const struct {
    const char *text;
    enum eng_wrong wrong;
    int line;
    size_t column;
    const char *near;
} mistakes[] = {
    {"is = x\n", ENG_WRONG_OUTSIDE, 1, 1, ""},
    {"[a]\nis\n", ENG_WRONG_LINE, 2, 3, ""},
    {"[a b]\n", ENG_WRONG_SECTION, 1, 2, ""},
    {"[a]\n[b]\n[a]\n", ENG_WRONG_TWICE, 3, 2, ""},
    {"[a]\nis = 1\n  is = 2\n", ENG_WRONG_TWICE, 3, 3, ""},
    {"[a]\n replay = x\n", ENG_WRONG_KEY, 2, 2, "reply"},
    {"[a]\nzzzzzzz = x\n", ENG_WRONG_KEY, 2, 1, ""},
    {"[a]\nhex = 01 0g\n", ENG_WRONG_GLOB, 2, 11, ""},
    {"[a]\nhex = 0\n", ENG_WRONG_GLOB, 2, 8, ""},
    {"[a]\nhex = 01 ***x\n", ENG_WRONG_GLOB, 2, 13, ""},
    {"[a]\nregex = 你(x\n", ENG_WRONG_REGEX, 2, 12, "missing closing parenthesis"},
    {"[a]\nfield = u24@0 == 1\n", ENG_WRONG_FIELD, 2, 9,
     "u8 u16be u16le u32be u32le u64be u64le, i8 .. i64le"},
    {"[a]\nfield = u8 == 1\n", ENG_WRONG_FIELD, 2, 11, "@ and where it begins"},
    {"[a]\nfield = u8@x == 1\n", ENG_WRONG_FIELD, 2, 12,
     "a number of bytes, from 0; -1 is the last byte"},
    {"[a]\nfield = u8@0 = 1\n", ENG_WRONG_FIELD, 2, 14, "== != < <= > >="},
    {"[a]\nfield = u8@0 == 256\n", ENG_WRONG_FIELD, 2, 17, "a number that the field can have"},
    {"[a]\nfield = u8@0 == -1\n", ENG_WRONG_FIELD, 2, 17, "a number that the field can have"},
    {"[a]\nfield = i8@0 == -129\n", ENG_WRONG_FIELD, 2, 17, "a number that the field can have"},
    {"[a]\nfield = u8@0 & 256 == 1\n", ENG_WRONG_FIELD, 2, 16, "a mask no wider than the field"},
    {"[a]\nfield = u8@0 == 1; u8@1 == 1\n", ENG_WRONG_FIELD, 2, 18, "a comma, or the end"},
    {"[a]\nfield = u8@0 == 1,\n", ENG_WRONG_FIELD, 2, 19,
     "u8 u16be u16le u32be u32le u64be u64le, i8 .. i64le"},
    {"[a]\nsize = 4-12\n", ENG_WRONG_CHOICE, 2, 8, "64, 10.., ..100, 10..100"},
    {"[a]\ndir = both\n", ENG_WRONG_CHOICE, 2, 7, "in, out"},
    {"[a]\nforward = on\n", ENG_WRONG_CHOICE, 2, 11, "others, off, tcp://HOST:PORT"},
    {"[a]\nforward = tcp://h\n", ENG_WRONG_URL, 2, 18, ""},
    {"[a]\nforward = udp://h:1#half_open=on\n", ENG_WRONG_URL, 2, 21, ""},
    {"[a]\ndrop = on\nforward = tcp://h:1\n", ENG_WRONG_BOTH, 2, 1, "forward"},
    {"[a]\ndrop = yes\n", ENG_WRONG_CHOICE, 2, 8, "on, off"},
    {"[a]\ndrop = on\ndelay = 1s\n", ENG_WRONG_NEEDS, 3, 1, "reply"},
    {"[a]\ntimes = 0\n", ENG_WRONG_NUMBER, 2, 9, "1.."},
    {"[a]\nevery = x\n", ENG_WRONG_NUMBER, 2, 9, "1.."},
    {"[a]\nreply = a\nreply-hex = 01\n", ENG_WRONG_BOTH, 3, 1, "reply"},
    {"[a]\necho = on\nreply = a\n", ENG_WRONG_BOTH, 3, 1, "echo"},
    {"[a]\nreply-hex = 1\n", ENG_WRONG_HEX, 2, 14, ""},
    {"[a]\nreply-escape = ab\\q\n", ENG_WRONG_ESCAPE, 2, 18, ""},
    {"[a]\nreply = {{sek}}\ntemplate = on\n", ENG_WRONG_PLACEHOLDER, 2, 11, "seq"},
    {"[a]\nreply = 1{{match}}\ntemplate = on\n", ENG_WRONG_MATCH, 2, 12, ""},
    {"[a]\nregex = (a)(b)\nreply = 1{{match 3}}\ntemplate = on\n", ENG_WRONG_NUMBER, 3, 18, "0..2"},
    {"[a]\nregex = a\nreply = {{match 1}}\ntemplate = on\n", ENG_WRONG_NUMBER, 3, 17, "0..0"},
    {"[a]\nregex = a\nreply = {{match x=1}}\ntemplate = on\n", ENG_WRONG_WORD, 3, 17, ""},
    {"[a]\nregex = a\nreply = {{metch}}\ntemplate = on\n", ENG_WRONG_PLACEHOLDER, 3, 11, "match"},
    {"[a]\nreply-file = x\ntemplate = on\n", ENG_WRONG_BOTH, 3, 1, "reply-file"},
    {"[a]\nreply-file = x\nreply = x\n", ENG_WRONG_BOTH, 3, 1, "reply-file"},
    {"[a]\nreply = a\nappend = xor9\n", ENG_WRONG_SUM, 3, 10, "xor8"},
    {"[a]\nreply = a\neol = cr\n", ENG_WRONG_CHOICE, 3, 7, "none, lf, crlf"},
    {"[a]\nappend = xor8\n", ENG_WRONG_NEEDS, 2, 1, "reply"},
    {"[a]\necho = on\neol = lf\n", ENG_WRONG_NEEDS, 3, 1, "reply"},
    {"[a]\nclose = yes\n", ENG_WRONG_CHOICE, 2, 9, "on, off, reset"},
    {"[a]\necho = yes\n", ENG_WRONG_CHOICE, 2, 8, "on, off"},
    {"", ENG_WRONG_NO_RULE, 1, 1, ""},
    {"# nothing\n\n", ENG_WRONG_NO_RULE, 1, 1, ""},
    {"[a]\necho = on\n [bb]\n", ENG_WRONG_NO_ACTION, 3, 2, "bb"},
    {"[a]\nis = x\nnote = x\n", ENG_WRONG_NO_ACTION, 1, 1, "a"},
    {"[a]\nis =\necho = on\n", ENG_WRONG_NO_VALUE, 2, 1, ""},
    {"[a]\ncontains = \"\"\necho = on\n", ENG_WRONG_NO_VALUE, 2, 1, ""},
    {"[a]\nhex = \necho = on\n", ENG_WRONG_NO_VALUE, 2, 1, ""},
    {"[a]\nregex =\necho = on\n", ENG_WRONG_NO_VALUE, 2, 1, ""},
    {"\xef\xbb\xbf你\n", ENG_WRONG_OUTSIDE, 1, 1, ""},
    {"\xef\xbb\xbf[a]\n", ENG_WRONG_NO_ACTION, 1, 1, "a"},
};

static void
each_mistake_has_its_line_and_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct eng_rules_opts opts = {0};
        struct eng_rules_mistake m;
        const char *text = mistakes[i].text;

        assert_null(eng_rules_parse(text, strlen(text), &opts, &m));
        if (m.mistake.wrong != mistakes[i].wrong || m.line != mistakes[i].line ||
            m.column != mistakes[i].column ||
            (*mistakes[i].near && strcmp(m.mistake.near, mistakes[i].near) != 0))
            fail_msg("%s: wrong %d at %d:%zu (%s)", text, m.mistake.wrong, m.line, m.column,
                     m.mistake.near);
    }
}

static void
a_file_of_another_system_is_the_same(void **state)
{
    struct eng_rules *rules = rules_of(
        "\xef\xbb\xbf[a]\r\nis = x\r\nreply = \"y \"\r\n\r\n; z\r\n[b]\r\nhex = 01 ??\r\n"
        "field = u8@0 == 1\r\nsize = 2\r\ndir = in\r\ndelay = 1s\r\necho = on\r\n",
        NULL);

    (void)state;
    assert_string_equal(who_acts(rules, "x", 1), "a");
    assert_memory_equal(eng_rules_at(rules, 0)->bytes, "y ", 2);
    assert_int_equal(eng_rules_at(rules, 0)->len, 2);
    assert_string_equal(who_acts(rules, "\x01\x02", 2), "b");
    eng_rules_free(rules);
}

/* As slow as it is plain. */
static bool
slow_holds(const struct rule_token *t, size_t count, const uint8_t *bytes, size_t len)
{
    if (count == 0)
        return len == 0;
    if (t->any)
        return slow_holds(t + 1, count - 1, bytes, len) ||
               (len && slow_holds(t, count, bytes + 1, len - 1));
    return len && (bytes[0] & t->mask) == t->value &&
           slow_holds(t + 1, count - 1, bytes + 1, len - 1);
}

static void
globs_agree_with_a_slow_matcher(void **state)
{
    uint64_t chance = 1;
    size_t held = 0;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct rule_token tokens[6];
        uint8_t bytes[8];
        size_t count = eng_chance(&chance) % 7;
        size_t len = eng_chance(&chance) % 9;
        bool want;

        for (size_t k = 0; k < count; k++) {
            uint64_t n = eng_chance(&chance) % 5;

            tokens[k] = (struct rule_token){
                .value = (uint8_t)(n & 1), .mask = n < 2 ? 0xff : 0, .any = n == 4};
            tokens[k].value &= tokens[k].mask;
        }
        for (size_t k = 0; k < len; k++)
            bytes[k] = (uint8_t)(eng_chance(&chance) & 1);
        want = slow_holds(tokens, count, bytes, len);
        held += want;
        assert_int_equal(rule_glob_holds(tokens, count, bytes, len), want);
    }
    assert_in_range(held, 1000, 199000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_condition_holds_where_it_should),
        cmocka_unit_test(the_first_whose_conditions_hold_acts),
        cmocka_unit_test(times_ends_a_rule_and_every_lets_others_act_between),
        cmocka_unit_test(answers_are_complete),
        cmocka_unit_test(a_charset_is_that_of_texts_and_regular_expressions),
        cmocka_unit_test(an_answer_has_what_was_matched),
        cmocka_unit_test(a_file_is_an_answer),
        cmocka_unit_test(a_direction_is_one_side_of_a_relay),
        cmocka_unit_test(a_relay_passes_on_what_a_rule_does_nothing_else_with),
        cmocka_unit_test(a_regular_expression_that_explodes_gives_up_and_others_act),
        cmocka_unit_test(the_bound_is_of_the_whole_message),
        cmocka_unit_test(each_mistake_has_its_line_and_column),
        cmocka_unit_test(a_file_of_another_system_is_the_same),
        cmocka_unit_test(globs_agree_with_a_slow_matcher),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
