/*
 * log_test.c - one call is one line, whatever a peer put into it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct heard {
    int calls;
    enum outlet_log_level level;
    char line[1024];
};

static void
hear(void *user, enum outlet_log_level level, const char *line)
{
    struct heard *h = user;

    h->calls++;
    h->level = level;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static void
a_line_arrives_with_its_level(void **state)
{
    struct heard h = {0};
    const struct ol_log log = {hear, &h};

    (void)state;
    ol_log(&log, OUTLET_LOG_WARN, "%s fell back to %s", "uring", "epoll");
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.level, OUTLET_LOG_WARN);
    assert_string_equal(h.line, "uring fell back to epoll");
}

static void
nobody_has_to_listen(void **state)
{
    const struct ol_log silent = {NULL, NULL};

    (void)state;
    ol_log(&silent, OUTLET_LOG_ERROR, "x");
    ol_log(NULL, OUTLET_LOG_ERROR, "x");
}

static void
control_characters_cannot_forge_a_line(void **state)
{
    struct heard h = {0};
    const struct ol_log log = {hear, &h};

    (void)state;
    ol_log(&log, OUTLET_LOG_INFO, "from %s", "a\nb\r\x1b[2J\x7f \u00e9");
    assert_string_equal(h.line, "from a?b??[2J? \u00e9");
}

static void
a_long_line_is_cut(void **state)
{
    struct heard h = {0};
    const struct ol_log log = {hear, &h};
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ol_log(&log, OUTLET_LOG_DEBUG, "%s", text);
    assert_int_equal(h.calls, 1);
    assert_in_range(strlen(h.line), 200, 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_arrives_with_its_level),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(control_characters_cannot_forge_a_line),
        cmocka_unit_test(a_long_line_is_cut),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
