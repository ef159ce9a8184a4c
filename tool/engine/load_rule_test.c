/*
 * load_rule_test.c - thresholds, rates and sizes as they are written; the search against servers
 * whose greatest rate is known; the pictures.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
rules_compare_what_was_measured(void **state)
{
    static const struct {
        const char *text;
        bool holds;
    } cases[] = {
        {"p50<51us", true},      {"p50<50us", false},     {"p99<0.1ms", true},
        {"p99.9<=100us", true},  {"max<=100us", true},    {"max<100us", false},
        {"mean<51us", true},     {"mean>51us", false},    {"p90>=90us", true},
        {"rate>1999", true},     {"rate>2k", false},      {"rate>=2k/s", true},
        {"errors=0", false},     {"errors=3", true},      {"errors==3", true},
        {"errors<=3", true},     {"lost<1", true},        {"reordered=7", true},
        {"duplicates>0", false}, {"messages>=100", true},
    };
    struct eng_load_result r = {.rate = 2000, .errors = 3, .messages = 100, .reordered = 7};

    (void)state;
    r.hist = eng_hist_new();
    for (int us = 1; us <= 100; us++) {
        eng_hist_record(r.hist, (int64_t)us * 1000);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eng_rule_of_load rule;

        if (!eng_load_rule_parse(cases[i].text, &rule))
            fail_msg("%s is refused", cases[i].text);
        if (eng_load_rule_holds(&rule, &r) != cases[i].holds)
            fail_msg("%s: not %d", cases[i].text, cases[i].holds);
    }
    eng_free(r.hist);
}

static void
a_latency_that_was_never_measured_keeps_no_bound(void **state)
{
    struct eng_load_result r = {0};
    struct eng_rule_of_load rule;

    (void)state;
    r.hist = eng_hist_new();
    assert_true(eng_load_rule_parse("p99<1s", &rule));
    assert_true(eng_load_rule_is_latency(&rule));
    assert_false(eng_load_rule_holds(&rule, &r));
    eng_free(r.hist);
}

static void
what_is_no_rule_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "p99",
                                        "p99<",
                                        "p99<2",
                                        "p99<2kg",
                                        "<2ms",
                                        "p98<2ms",
                                        "p99<-2ms",
                                        "p99!2ms",
                                        "p99<2ms ",
                                        "p99 <2ms",
                                        "rate>",
                                        "rate>2ms",
                                        "p99<.5ms",
                                        "p99<2.ms",
                                        "errors=a",
                                        "p99<<2ms",
                                        ("errors=0000000000000000000000000000000000000000000000000"
                                         "00000000000000000000000000")};
    struct eng_rule_of_load rule;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (eng_load_rule_parse(texts[i], &rule))
            fail_msg("'%s' is taken", texts[i]);
    }
}

static void
rates_sizes_and_times_have_units(void **state)
{
    double rate;
    int64_t n;

    (void)state;
    assert_true(eng_load_rate_parse("50000", &rate) && fabs(rate - 50000) < 0.5);
    assert_true(eng_load_rate_parse("1.5M/s", &rate) && fabs(rate - 1500000) < 0.5);
    assert_true(eng_load_rate_parse("0.5/s", &rate) && fabs(rate - 0.5) < 0.001);
    assert_false(eng_load_rate_parse("0", &rate));
    assert_false(eng_load_rate_parse("5/m", &rate));
    assert_false(eng_load_rate_parse("2000M", &rate));
    assert_true(eng_load_size_parse("4k", &n) && n == 4096);
    assert_true(eng_load_size_parse("16M", &n) && n == ENG_LOAD_SIZE_MAX);
    assert_false(eng_load_size_parse("17M", &n));
    assert_false(eng_load_size_parse("0", &n));
    assert_false(eng_load_size_parse("99999999999999999999", &n));
    assert_true(eng_load_time_parse("1.5us", &n) && n == 1500);
    assert_false(eng_load_time_parse("5", &n));
    assert_false(eng_load_time_parse("0ms", &n));
}

/* A server that holds up to `most` a second. */
static void
the_search_comes_within_five_percent(void **state)
{
    static const double mosts[] = {1.5, 999, 1000, 1001, 33333, 1e6, 123456789};

    (void)state;
    for (size_t i = 0; i < sizeof mosts / sizeof mosts[0]; i++) {
        struct eng_find f;

        eng_find_start(&f, 1000);
        while (eng_find_next(&f, f.rate <= mosts[i])) {
        }
        if (f.low > mosts[i] || f.low < mosts[i] / 1.06)
            fail_msg("found %g, not %g, in %d steps", f.low, mosts[i], f.steps);
        assert_in_range(f.steps, 1, 30);
    }
}

static void
two_misses_in_a_row_do_not_end_a_search(void **state)
{
    enum { MOST = 123456 };
    struct eng_find f;
    int turn = 0;

    (void)state;
    eng_find_start(&f, 1000);
    while (eng_find_next(&f, f.rate <= MOST && ++turn % 3 == 0)) {
    }
    assert_true(f.low <= MOST && f.low > MOST / 1.06);
}

static void
the_search_ends_where_nothing_or_everything_holds(void **state)
{
    struct eng_find f;

    (void)state;
    eng_find_start(&f, 1000);
    while (eng_find_next(&f, false)) {
        assert_true(f.steps < 30);
    }
    assert_true(f.low < 0.001);
    eng_find_start(&f, 1000);
    while (eng_find_next(&f, true)) {
        assert_true(f.steps < 30);
    }
    assert_true(f.low > 1e9);
}

static void
the_picture_has_everything_in_it_once(void **state)
{
    struct eng_hist *h = eng_hist_new();
    struct eng_picture_row rows[ENG_PICTURE_ROWS];
    uint64_t sum = 0;
    int n;

    (void)state;
    assert_int_equal(eng_load_picture(h, rows), 0);
    for (int64_t v = 1; v < ENG_HIST_MAX; v = v * 5 / 4 + 1) {
        eng_hist_record(h, v);
    }
    n = eng_load_picture(h, rows);
    assert_int_equal(n, ENG_PICTURE_ROWS);
    for (int i = 0; i < n; i++) {
        assert_true(i == 0 || rows[i].from == rows[i - 1].to);
        sum += rows[i].count;
    }
    assert_int_equal(sum, eng_hist_total(h));
    eng_hist_clear(h);
    eng_hist_record(h, 1500);
    assert_int_equal(eng_load_picture(h, rows), 1);
    assert_int_equal(rows[0].from, 1000);
    assert_int_equal(rows[0].to, 2000);
    eng_free(h);
}

static void
times_are_written_with_three_digits(void **state)
{
    static const struct {
        double ns;
        const char *text;
    } cases[] = {{0, "0.00 ns"},          {999, "999 ns"},     {1000, "1.00 \u00b5s"},
                 {12345, "12.3 \u00b5s"}, {999600, "1.00 ms"}, {2.5e9, "2.50 s"},
                 {123e9, "123 s"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];

        eng_load_time_text(text, sizeof text, cases[i].ns);
        assert_string_equal(text, cases[i].text);
    }
}

static void
a_plot_is_whole_with_and_without_anything_in_it(void **state)
{
    struct eng_load_result r = {0};

    (void)state;
    r.hist = eng_hist_new();
    for (int i = 0; i < 2; i++) {
        struct eng_bytes out = {0};

        eng_load_plot(&r, "a<b&c", &out);
        eng_bytes_add(&out, "", 1);
        assert_non_null(strstr((char *)out.data, ">a&lt;b&amp;c</text>"));
        assert_non_null(strstr((char *)out.data, "</svg>\n"));
        assert_null(strstr((char *)out.data, "nan"));
        assert_null(strstr((char *)out.data, "inf"));
        eng_bytes_free(&out);
        eng_hist_record(r.hist, 5000);
    }
    eng_free(r.hist);
}

/* Every answer is in some row, also the one at the far end of its step. */
static void
the_picture_has_all_that_was_recorded(void **state)
{
    static const int64_t values[] = {0, 1, 999, 5000000, 5000100, 73456789, ENG_HIST_MAX};
    struct eng_picture_row rows[ENG_PICTURE_ROWS];

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (size_t k = i; k < sizeof values / sizeof values[0]; k++) {
            struct eng_hist *h = eng_hist_new();
            uint64_t total = 0;
            int n;

            eng_hist_record_n(h, values[i], 2);
            eng_hist_record(h, values[k]);
            n = eng_load_picture(h, rows);
            for (int row = 0; row < n; row++) {
                total += rows[row].count;
                assert_true(row == 0 || rows[row].from == rows[row - 1].to);
            }
            assert_int_equal(total, 3);
            assert_true(rows[0].count > 0 && rows[n - 1].count > 0);
            eng_free(h);
        }
    }
}

static void
a_plot_of_nothing_and_of_strange_names_is_a_picture(void **state)
{
    struct eng_load_result r = {.hist = eng_hist_new()};
    struct eng_bytes out = {0};

    (void)state;
    eng_load_plot(&r, "", &out);
    eng_load_plot(&r, "  a<b&c\x01\xff>\nsecond", &out);
    eng_hist_record(r.hist, 1000);
    eng_load_plot(&r, "x", &out);
    eng_bytes_add(&out, "", 1);
    assert_false(out.failed);
    assert_non_null(strstr((char *)out.data, ">a&lt;b&amp;c??&gt;</text>"));
    assert_non_null(strstr((char *)out.data, ">second</text>"));
    assert_non_null(strstr((char *)out.data, ">max 1.00 \u00b5s</text>"));
    assert_null(strstr((char *)out.data, "nan"));
    assert_null(strstr((char *)out.data, "inf"));
    eng_bytes_free(&out);
    eng_free(r.hist);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_compare_what_was_measured),
        cmocka_unit_test(a_latency_that_was_never_measured_keeps_no_bound),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(rates_sizes_and_times_have_units),
        cmocka_unit_test(the_search_comes_within_five_percent),
        cmocka_unit_test(two_misses_in_a_row_do_not_end_a_search),
        cmocka_unit_test(the_search_ends_where_nothing_or_everything_holds),
        cmocka_unit_test(the_picture_has_everything_in_it_once),
        cmocka_unit_test(times_are_written_with_three_digits),
        cmocka_unit_test(the_picture_has_all_that_was_recorded),
        cmocka_unit_test(a_plot_of_nothing_and_of_strange_names_is_a_picture),
        cmocka_unit_test(a_plot_is_whole_with_and_without_anything_in_it),
    };

    return cmocka_run_group_tests_name("load_rule", tests, NULL, NULL);
}
