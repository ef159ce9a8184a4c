/*
 * hist.c - reading a histogram: totals, percentiles, merging, HdrHistogram's text.
 *
 * Recording is in hist.h, so that it is inlined.  Everything here walks all the counts, which is
 * fine four times a second and not for each message.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <math.h>

static uint64_t
count_at(const struct eng_hist *h, unsigned i)
{
    return atomic_load_explicit(&h->counts[i], memory_order_relaxed);
}

/* The least value of a step, and how wide the step is. */
static int64_t
step_at(unsigned i, int64_t *width)
{
    unsigned bucket = i >> ENG_HIST_HALF_BITS;
    int64_t sub = i & (ENG_HIST_HALF - 1);

    if (bucket > 0) {
        bucket--;
        sub += ENG_HIST_HALF;
    }
    *width = (int64_t)1 << bucket;
    return sub << bucket;
}

static int64_t
middle_of(unsigned i)
{
    int64_t width;
    int64_t from = step_at(i, &width); /* on its own: in one sum the width might be read first */

    return from + width / 2;
}

static int64_t
step_end(unsigned i)
{
    int64_t width;
    int64_t from = step_at(i, &width);

    return from + width - 1;
}

struct eng_hist *
eng_hist_new(void)
{
    return eng_alloc(sizeof(struct eng_hist));
}

void
eng_hist_clear(struct eng_hist *h)
{
    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        atomic_store_explicit(&h->counts[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&h->max, 0, memory_order_relaxed);
}

void
eng_hist_merge(struct eng_hist *into, const struct eng_hist *from)
{
    int64_t max = eng_hist_max(from);

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        uint64_t n = count_at(from, i);

        if (n)
            atomic_store_explicit(&into->counts[i], count_at(into, i) + n, memory_order_relaxed);
    }
    if (max > eng_hist_max(into))
        atomic_store_explicit(&into->max, max, memory_order_relaxed);
}

void
eng_hist_merge_corrected(struct eng_hist *into, const struct eng_hist *from, int64_t interval)
{
    eng_hist_merge(into, from);
    if (interval <= 0)
        return;
    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        uint64_t n = count_at(from, i);
        int64_t value = middle_of(i);

        if (n == 0)
            continue;
        for (value -= interval; value >= interval; value -= interval)
            eng_hist_record_n(into, value, n);
    }
}

uint64_t
eng_hist_total(const struct eng_hist *h)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        total += count_at(h, i);
    }
    return total;
}

uint64_t
eng_hist_between(const struct eng_hist *h, int64_t from, int64_t to)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        int64_t width;
        int64_t value = step_at(i, &width);

        if (value >= from && value < to)
            total += count_at(h, i);
    }
    return total;
}

int64_t
eng_hist_min(const struct eng_hist *h)
{
    int64_t width;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        if (count_at(h, i))
            return step_at(i, &width);
    }
    return 0;
}

int64_t
eng_hist_max(const struct eng_hist *h)
{
    return atomic_load_explicit(&h->max, memory_order_relaxed);
}

double
eng_hist_mean(const struct eng_hist *h)
{
    double sum = 0;
    uint64_t total = 0;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        int64_t value = middle_of(i);

        sum += (double)count_at(h, i) * (double)value;
        total += count_at(h, i);
    }
    return total ? sum / (double)total : 0;
}

static double
deviation(const struct eng_hist *h, double mean)
{
    double sum = 0;
    uint64_t total = 0;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        double off = (double)middle_of(i) - mean;

        sum += (double)count_at(h, i) * off * off;
        total += count_at(h, i);
    }
    return total ? sqrt(sum / (double)total) : 0;
}

int64_t
eng_hist_percentile(const struct eng_hist *h, double percent)
{
    uint64_t total = eng_hist_total(h);
    /* 99.9 % of 1,000 is 999, and not 1,000 because 99.9 is no binary fraction. */
    double rank = ceil(percent / 100 * (double)total - 1e-9 * (double)total);
    uint64_t want = rank < 1 ? 1 : (uint64_t)rank;
    uint64_t seen = 0;

    for (unsigned i = 0; i < ENG_HIST_COUNTS; i++) {
        seen += count_at(h, i);
        if (seen >= want && seen > 0) {
            int64_t max = eng_hist_max(h);
            int64_t end = step_end(i);

            return end < max ? end : max;
        }
    }
    return eng_hist_max(h);
}

/*
 * HdrHistogram's iteration: five lines for each halving of what is left above, so that the tail is
 * told as finely as the middle.
 */
void
eng_hist_print(const struct eng_hist *h, double unit, struct eng_bytes *out)
{
    const double ticks_per_half = 5;
    uint64_t total = eng_hist_total(h);
    uint64_t seen = 0;
    double level = 0;
    double mean = eng_hist_mean(h);

    eng_bytes_printf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
                     "1/(1-Percentile)");
    for (unsigned i = 0; i < ENG_HIST_COUNTS && seen < total; i++) {
        int64_t end = step_end(i);

        if (count_at(h, i) == 0)
            continue;
        seen += count_at(h, i);
        end = end < eng_hist_max(h) ? end : eng_hist_max(h);
        while (seen < total && 100.0 * (double)seen / (double)total >= level) {
            double halves = floor(log2(100.0 / (100.0 - level)));

            eng_bytes_printf(out, "%12.3f %2.12f %10llu %14.2f\n", (double)end / unit, level / 100,
                             (unsigned long long)seen, 1 / (1 - level / 100));
            level += 100.0 / (ticks_per_half * exp2(halves + 1));
        }
        if (seen == total)
            eng_bytes_printf(out, "%12.3f %2.12f %10llu\n", (double)end / unit, 1.0,
                             (unsigned long long)seen);
    }
    eng_bytes_printf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean / unit,
                     deviation(h, mean) / unit);
    eng_bytes_printf(out, "#[Max     = %12.3f, Total count    = %12llu]\n",
                     (double)eng_hist_max(h) / unit, (unsigned long long)total);
    eng_bytes_printf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", (int)ENG_HIST_BUCKETS,
                     2 * ENG_HIST_HALF);
}
