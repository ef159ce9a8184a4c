/*
 * record_filter_test.c - times, sizes and speeds as people write them, and what they leave over.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"
#include "replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const int64_t FIRST = 1700000000000000000; /* 2023-11-14 22:13:20 UTC */

static int
setup(void **state)
{
    (void)state;
    setenv("TZ", "HERE-2", 1); /* two hours in front of UTC */
    tzset();
    return 0;
}

static void
times_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        int kind; /* -1: wrong */
        int64_t ns;
    } cases[] = {
        {"5s", ENG_WHEN_SINCE, 5000000000},
        {"1.5m", ENG_WHEN_SINCE, 90000000000},
        {"2023-11-14T22:13:20Z", ENG_WHEN_TIME, 1700000000000000000},
        {"2023-11-14T22:13:20.000000001Z", ENG_WHEN_TIME, 1700000000000000001},
        {"2023-11-15T00:13:20.5", ENG_WHEN_TIME, 1700000000500000000},
        {"2023-11-15 00:13:20", ENG_WHEN_TIME, 1700000000000000000},
        {"00:13:21", ENG_WHEN_CLOCK, 801000000000},
        {"23:59:59.25", ENG_WHEN_CLOCK, 86399250000000},
        {"", -1, 0},
        {"5", -1, 0},
        {"23:59", -1, 0},
        {"23:59:59.", -1, 0},
        {"23:59:59Z", -1, 0},
        {"23:59:59.0123456789", -1, 0},
        {"2023-11-14T22:13:20+02", -1, 0},
        {"2023-13-14T22:13:20Z", -1, 0},
        {"1960-01-01T00:00:00Z", -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct eng_when when;
        bool right = eng_parse_when(cases[i].text, &when);

        if ((right ? (int)when.kind : -1) != cases[i].kind || (right && when.ns != cases[i].ns))
            fail_msg("%s: %d, %lld", cases[i].text, right, right ? (long long)when.ns : 0);
    }
}

static void
sizes_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        bool right;
        size_t least;
        size_t most;
    } cases[] = {
        {"64", true, 64, 64},    {"10..100", true, 10, 100}, {"10..", true, 10, SIZE_MAX},
        {"..100", true, 0, 100}, {"0", true, 0, 0},          {"7..7", true, 7, 7},
        {"", false, 0, 0},       {"..", false, 0, 0},        {"5..4", false, 0, 0},
        {"x", false, 0, 0},      {"1x", false, 0, 0},        {"1..x", false, 0, 0},
        {"1...2", false, 0, 0},  {"1..2..3", false, 0, 0},   {"99999999999999999999", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t least = 0;
        size_t most = 0;
        bool right = eng_parse_size_range(cases[i].text, &least, &most);

        if (right != cases[i].right || least != cases[i].least || most != cases[i].most)
            fail_msg("%s: %d %zu..%zu", cases[i].text, right, least, most);
    }
}

static void
speeds_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        double speed; /* -1: wrong */
    } cases[] = {{"1x", 1},   {"2x", 2},    {"0.5x", 0.5}, {"max", 0},  {"0x", -1},
                 {"2", -1},   {"", -1},     {"x", -1},     {"-1x", -1}, {"nanx", -1},
                 {"2xx", -1}, {"1e9x", -1}, {" 2x", -1}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        double speed = -1;

        (void)!eng_parse_speed(cases[i].text, &speed);
        if (speed < cases[i].speed || speed > cases[i].speed)
            fail_msg("%s: %f", cases[i].text, speed);
    }
}

/* Records at 0, 1, 2 ... seconds; bit i of `want` is whether record i is taken. */
static void
each_filter_leaves_what_it_says(void **state)
{
    static const struct eng_record_conn one = {.id = 1, .peer = "192.0.2.1:5"};
    static const struct eng_record_conn two = {.id = 2, .peer = "192.0.2.2:5"};
    static const struct eng_record records[] = {
        {.kind = ENG_RECORD_START},
        {.kind = ENG_RECORD_OPEN, .conn = &one},
        {.kind = ENG_RECORD_MESSAGE, .conn = &one, .bytes = (const uint8_t *)"abc", .size = 3},
        {.kind = ENG_RECORD_MESSAGE,
         .conn = &two,
         .out = true,
         .bytes = (const uint8_t *)"bcd\0e",
         .size = 5},
        {.kind = ENG_RECORD_CLOSE, .conn = &one},
        {.kind = ENG_RECORD_END},
    };
    static struct eng_bytes contains = {.data = (uint8_t *)(uintptr_t) "d\0e", .len = 3};
    static const struct {
        struct eng_record_filter filter;
        unsigned want;
    } cases[] = {
        {{.size_most = SIZE_MAX}, 0x3f},
        {{.size_most = SIZE_MAX, .id = 1}, 0x37},
        {{.size_most = SIZE_MAX, .id = 3}, 0x21},
        {{.size_most = SIZE_MAX, .peer = "2.2:"}, 0x29},
        {{.size_most = SIZE_MAX, .in_only = true}, 0x37},
        {{.size_most = SIZE_MAX, .out_only = true}, 0x3b},
        {{.size_most = 4}, 0x37},
        {{.size_least = 5, .size_most = SIZE_MAX}, 0x3b},
        {{.size_most = SIZE_MAX, .contains = &contains}, 0x3b},
        {{.size_most = SIZE_MAX, .after = {ENG_WHEN_SINCE, 2000000001}}, 0x3b},
        {{.size_most = SIZE_MAX, .before = {ENG_WHEN_SINCE, 2000000000}}, 0x37},
        {{.size_most = SIZE_MAX, .after = {ENG_WHEN_TIME, 1700000003000000000}}, 0x3b},
        {{.size_most = SIZE_MAX, .before = {ENG_WHEN_CLOCK, 802000000000}}, 0x37},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct eng_record_filter f = cases[i].filter;
        unsigned got = 0;

        for (size_t k = 0; k < COUNT(records); k++) {
            struct eng_record r = records[k];

            r.ns = FIRST + (int64_t)k * 1000000000;
            got |= (unsigned)eng_record_wanted(&f, &r) << k;
        }
        if (got != cases[i].want)
            fail_msg("filter %zu: %x, not %x", i, got, cases[i].want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_as_people_write_them),
        cmocka_unit_test(sizes_as_people_write_them),
        cmocka_unit_test(speeds_as_people_write_them),
        cmocka_unit_test(each_filter_leaves_what_it_says),
    };

    return cmocka_run_group_tests_name("record_filter", tests, setup, NULL);
}
