/*
 * hist_test.c - the histogram against a sorted array of what was recorded.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VALUES = 20000, THREADS = 4 };

static uint64_t
next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* All magnitudes alike, 0 and the greatest included. */
static int64_t
some_value(uint64_t *seed)
{
    uint64_t bits = next(seed) % (ENG_HIST_BITS + 1);

    return (int64_t)(next(seed) & (((uint64_t)1 << bits) - 1));
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static bool
is_near(int64_t got, int64_t want)
{
    return got >= want && got - want <= want / ENG_HIST_HALF;
}

static void
percentiles_agree_with_a_sorted_array(void **state)
{
    static const double percents[] = {0, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
    struct eng_hist *h = eng_hist_new();
    int64_t *values = malloc(VALUES * sizeof *values);
    uint64_t seed = 0x9e3779b97f4a7c15;
    double sum = 0;

    (void)state;
    assert_non_null(h);
    assert_non_null(values);
    for (int i = 0; i < VALUES; i++) {
        values[i] = some_value(&seed);
        sum += (double)values[i];
        eng_hist_record(h, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        int rank = (int)(percents[i] / 100 * VALUES + 0.999999);
        int64_t want = values[rank > 0 ? rank - 1 : 0];
        int64_t got = eng_hist_percentile(h, percents[i]);

        if (!is_near(got, want))
            fail_msg("p%g is %lld, not %lld", percents[i], (long long)got, (long long)want);
    }
    assert_int_equal(eng_hist_total(h), VALUES);
    assert_int_equal(eng_hist_max(h), values[VALUES - 1]);
    assert_true(is_near(values[0], eng_hist_min(h)));
    assert_true(eng_hist_mean(h) > sum / VALUES * 0.999 && eng_hist_mean(h) < sum / VALUES * 1.001);
    free(values);
    eng_free(h);
}

static void
small_values_are_exact_and_steps_do_not_overlap(void **state)
{
    struct eng_hist *h = eng_hist_new();

    (void)state;
    for (int64_t v = 0; v < 4 * ENG_HIST_HALF; v++) {
        unsigned at = eng_hist_index(v);

        assert_true(v == 0 || at == eng_hist_index(v - 1) || at == eng_hist_index(v - 1) + 1);
    }
    for (int64_t v = 0; v < 2 * ENG_HIST_HALF; v++) {
        eng_hist_clear(h);
        eng_hist_record(h, v);
        eng_hist_record(h, ENG_HIST_MAX);
        assert_int_equal(eng_hist_percentile(h, 50), v);
        assert_int_equal(eng_hist_min(h), v);
    }
    assert_int_equal(eng_hist_index(ENG_HIST_MAX), ENG_HIST_COUNTS - 1);
    eng_free(h);
}

static void
what_does_not_fit_counts_at_the_ends(void **state)
{
    struct eng_hist *h = eng_hist_new();

    (void)state;
    assert_int_equal(eng_hist_percentile(h, 99), 0);
    eng_hist_record(h, -5);
    assert_int_equal(eng_hist_percentile(h, 99), 0);
    eng_hist_record(h, INT64_MAX);
    assert_int_equal(eng_hist_max(h), ENG_HIST_MAX);
    assert_int_equal(eng_hist_total(h), 2);
    assert_int_equal(eng_hist_between(h, 0, 1), 1);
    eng_free(h);
}

/* One stall of 100 in a stream of 1s, sent every 10. */
static void
a_stall_counts_for_everyone_it_held_up_when_corrected(void **state)
{
    struct eng_hist *raw = eng_hist_new();
    struct eng_hist *plain = eng_hist_new();
    struct eng_hist *corrected = eng_hist_new();

    (void)state;
    eng_hist_record_n(raw, 1, 99);
    eng_hist_record(raw, 100);
    eng_hist_merge_corrected(plain, raw, 0);
    eng_hist_merge_corrected(corrected, raw, 10);
    assert_int_equal(eng_hist_total(plain), 100);
    assert_int_equal(eng_hist_percentile(plain, 99), 1);
    /* 90, 80 ... 10 besides. */
    assert_int_equal(eng_hist_total(corrected), 109);
    assert_int_equal(eng_hist_between(corrected, 10, 100), 9);
    assert_int_equal(eng_hist_percentile(corrected, 99), 90);
    assert_int_equal(eng_hist_max(corrected), 100);
    eng_free(raw);
    eng_free(plain);
    eng_free(corrected);
}

struct recorder {
    pthread_t thread;
    struct eng_hist *h;
    uint64_t seed;
};

static void *
record(void *arg)
{
    struct recorder *r = arg;

    for (int i = 0; i < VALUES; i++) {
        eng_hist_record(r->h, some_value(&r->seed));
    }
    return NULL;
}

static void
histograms_of_threads_merge_to_one_that_was_fed_alone(void **state)
{
    struct recorder recorders[THREADS];
    struct recorder alone = {.h = eng_hist_new()};
    struct eng_hist *all = eng_hist_new();
    uint64_t before = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        recorders[i] = (struct recorder){.h = eng_hist_new(), .seed = (uint64_t)i + 1};
        assert_int_equal(pthread_create(&recorders[i].thread, NULL, record, &recorders[i]), 0);
    }
    /* Read while they write: never more than there is, never less than before. */
    for (int k = 0; k < 20; k++) {
        uint64_t now = eng_hist_total(recorders[0].h);

        assert_true(now >= before && now <= VALUES);
        before = now;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(recorders[i].thread, NULL);
        eng_hist_merge(all, recorders[i].h);
        eng_free(recorders[i].h);
        alone.seed = (uint64_t)i + 1;
        record(&alone);
    }
    assert_memory_equal(all, alone.h, sizeof *all);
    eng_free(all);
    eng_free(alone.h);
}

static void
the_text_is_that_of_hdrhistogram(void **state)
{
    struct eng_hist *h = eng_hist_new();
    struct eng_bytes out = {0};
    const char *text;

    (void)state;
    for (int i = 1; i <= 1000; i++) {
        eng_hist_record(h, (int64_t)i * 1000);
    }
    eng_hist_print(h, 1000, &out);
    eng_bytes_add(&out, "", 1);
    text = (const char *)out.data;
    assert_non_null(text);
    assert_ptr_equal(strstr(text, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"),
                     text);
    assert_non_null(strstr(text, "       1.000 0.000000000000          1           1.00\n"));
    assert_non_null(strstr(text, " 0.500000000000        500           2.00\n"));
    assert_non_null(strstr(text, " 1.000000000000       1000\n#[Mean    =      500."));
    assert_non_null(strstr(text, "#[Max     =     1000.000, Total count    =         1000]\n"));
    assert_non_null(strstr(text, "SubBuckets     =         2048]\n"));
    eng_bytes_free(&out);
    eng_free(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_agree_with_a_sorted_array),
        cmocka_unit_test(small_values_are_exact_and_steps_do_not_overlap),
        cmocka_unit_test(what_does_not_fit_counts_at_the_ends),
        cmocka_unit_test(a_stall_counts_for_everyone_it_held_up_when_corrected),
        cmocka_unit_test(histograms_of_threads_merge_to_one_that_was_fed_alone),
        cmocka_unit_test(the_text_is_that_of_hdrhistogram),
    };

    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
