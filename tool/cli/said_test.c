/*
 * said_test.c - each sentence is found by its form, whatever its arguments are, and no other's.
 *
 * That every sentence has a translation is what tools/said.py checks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *format;
    const char *zh;
};

static const struct row rows[] = {
#define SAID(format, zh) {format, zh},
#define OTHERS(format, zh) {format, zh},
#define ERRNO(name, zh)
#include "said.def"
#undef SAID
#undef OTHERS
#undef ERRNO
};

enum { ROWS = sizeof rows / sizeof rows[0] };

/* The sentence with "w0", "w1" for words and "90", "91" for numbers. */
static size_t
fill(const char *format, char *out, char args[CLI_ARGS][4])
{
    size_t count = 0;

    while (*format) {
        if (*format == '%' && format[1] != '%') {
            format += strcspn(format, "sduxXc");
            assert_true(count < CLI_ARGS);
            snprintf(args[count], sizeof args[count], "%c%zu", *format++ == 's' ? 'w' : '9', count);
            out = stpncpy(out, args[count], 4);
            count++;
            continue;
        }
        format += *format == '%';
        *out++ = *format++;
    }
    *out = '\0';
    return count;
}

static void
expect(const char *text, const char *zh)
{
    struct eng_bytes got = {0};

    cli_said(CLI_ZH, text, &got);
    eng_bytes_add(&got, "", 1);
    if (strcmp((const char *)got.data, zh) != 0)
        fail_msg("'%s' is said as '%s', not as '%s'", text, (const char *)got.data, zh);
    eng_bytes_free(&got);
}

static void
each_sentence_is_found_by_its_form(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        char args[CLI_ARGS][4] = {{0}};
        char text[400];
        char want[800] = "";
        size_t count = fill(rows[i].format, text, args);
        unsigned used = 0;
        char *out = want;

        assert_true(strlen(rows[i].format) < sizeof text && strlen(rows[i].zh) < sizeof want / 2);
        for (const char *zh = rows[i].zh; *zh;) {
            bool is_sentence = *zh == '{' && zh[1] == '=';
            size_t n = *zh == '{' ? (size_t)(zh[is_sentence ? 2 : 1] - '0') : CLI_ARGS;

            if (n < CLI_ARGS && zh[is_sentence ? 3 : 2] == '}') {
                if (n >= count)
                    fail_msg("there is no {%zu} in '%s'", n, rows[i].format);
                used |= 1u << n;
                out = stpncpy(out, args[n], 4);
                zh += is_sentence ? 4 : 3;
            } else {
                *out++ = *zh++;
            }
        }
        *out = '\0';
        if (used != (1u << count) - 1)
            fail_msg("'%s' does not say all of '%s'", rows[i].zh, rows[i].format);
        expect(text, want);
    }
}

static void
each_sentence_stands_there_once_and_in_chinese(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        bool chinese = strcmp(rows[i].format, "\"%s\" %s") == 0; /* has no word of its own */

        for (const char *at = rows[i].zh; *at; at++)
            chinese |= (uint8_t)*at >= 0x80;
        if (!chinese)
            fail_msg("'%s' is not in Chinese", rows[i].zh);
        for (int k = 0; k < i; k++) {
            if (strcmp(rows[i].format, rows[k].format) == 0)
                fail_msg("'%s' stands there twice", rows[i].format);
        }
    }
}

static void
every_code_and_every_error_of_the_system_is_said(void **state)
{
    static const int codes[] = {
#define ERROR_CODE(name, number, text) name,
        OUTLET_ERRORS(ERROR_CODE)
#undef ERROR_CODE
    };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct eng_bytes got = {0};

        cli_said(CLI_ZH, outlet_strerror(codes[i]), &got);
        eng_bytes_add(&got, "", 1);
        assert_string_not_equal((const char *)got.data, outlet_strerror(codes[i]));
        eng_bytes_free(&got);
    }
    for (int error = 1; error <= EHWPOISON; error++) {
        struct eng_bytes got = {0};

        if (strncmp(strerror(error), "Unknown error", 13) == 0)
            continue;
        cli_said(CLI_ZH, strerror(error), &got);
        eng_bytes_add(&got, "", 1);
        if (strcmp((const char *)got.data, strerror(error)) == 0)
            fail_msg("error %d, %s, is not said in Chinese", error, strerror(error));
        eng_bytes_free(&got);
    }
}

static void
sentences_in_sentences_are_said_too_and_names_are_not(void **state)
{
    (void)state;
    expect("cannot listen at 127.0.0.1:9: the address is in use",
           "无法在 127.0.0.1:9 监听：地址已被占用");
    expect("the peer broke the connection (Connection reset by peer)",
           "对方中断了连接（连接被对方重置）");
    expect("/tmp/a: b: No such file or directory", "/tmp/a：b：没有那个文件或目录");
    expect("\"event\" is missing", "\"event\" 缺失");
    expect("not JSON: unexpected token near 'closed'", "不是 JSON：意外的记号，在 'closed' 附近");
    expect("unknown option `closed`; did you mean `reset`?",
           "未知选项 `closed`；是否想用 `reset`？");
    /* The longer form goes before the one that it begins with. */
    expect("the key `idle_ms` takes a whole number such as 1000, or off",
           "键 `idle_ms` 的值应为整数，例如 1000，或 off");
    expect("the key `x` takes on or off", "键 `x` 的值应为 on 或 off");
    expect("descriptor -7 is not open; start this program with a socket there",
           "描述符 -7 未打开；启动本程序时请在该处提供套接字");
    expect("100% of something else", "100% of something else");
    expect("", "");
}

/* A reason has room for 159 bytes. */
static void
a_sentence_that_had_no_room_is_said_as_far_as_it_goes(void **state)
{
    char name[101] = {0};
    char text[160];
    struct eng_bytes got = {0};

    (void)state;
    memset(name, 'x', sizeof name - 1);
    snprintf(text, sizeof text,
             "cannot listen at \"%s\": it is neither an address nor in /etc/hosts", name);
    cli_said(CLI_ZH, text, &got);
    eng_bytes_add(&got, "", 1);
    assert_non_null(strstr((const char *)got.data, "无法在"));
    assert_non_null(strstr((const char *)got.data, name));
    eng_bytes_free(&got);
    for (size_t len = 0; len < strlen(rows[0].format); len++) {
        char begun[40] = {0};

        memcpy(begun, rows[0].format, len);
        cli_said(CLI_ZH, begun, &got); /* too little of it: as it is, or said */
    }
    assert_false(got.failed);
    eng_bytes_free(&got);
}

static void
english_stays_as_it_is(void **state)
{
    struct eng_bytes got = {0};

    (void)state;
    cli_said(CLI_EN, "closed by the peer", &got);
    assert_memory_equal(got.data, "closed by the peer", got.len);
    eng_bytes_free(&got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sentence_is_found_by_its_form),
        cmocka_unit_test(each_sentence_stands_there_once_and_in_chinese),
        cmocka_unit_test(every_code_and_every_error_of_the_system_is_said),
        cmocka_unit_test(sentences_in_sentences_are_said_too_and_names_are_not),
        cmocka_unit_test(a_sentence_that_had_no_room_is_said_as_far_as_it_goes),
        cmocka_unit_test(english_stays_as_it_is),
    };

    return cmocka_run_group_tests_name("said", tests, NULL, NULL);
}
