/*
 * hist.h - a log-linear histogram of latencies, HdrHistogram's scheme with three digits.
 *
 * Each power of two is cut into 1,024 equal steps, so a value is known to 0.1 % from nanoseconds to
 * hours, in a fixed quarter of a megabyte, and recording is a shift, an index and an addition.  One
 * thread writes; others may read at the same time, and see each count as it was or will be.
 *
 * What a newcomer gets wrong: to average percentiles of several histograms.  Merge them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_HIST_H
#define ENG_HIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct eng_bytes;

enum {
    ENG_HIST_HALF_BITS = 10,
    ENG_HIST_HALF = 1 << ENG_HIST_HALF_BITS,
    ENG_HIST_BITS = 42, /* the greatest value is just under 2^42 ns: 73 minutes */
    ENG_HIST_BUCKETS = ENG_HIST_BITS - ENG_HIST_HALF_BITS,
    ENG_HIST_COUNTS = (ENG_HIST_BUCKETS + 1) * ENG_HIST_HALF
};

#define ENG_HIST_MAX (((int64_t)1 << ENG_HIST_BITS) - 1)

struct eng_hist {
    _Atomic uint64_t counts[ENG_HIST_COUNTS];
    _Atomic int64_t max; /* exact */
};

static inline unsigned
eng_hist_index(int64_t value)
{
    uint64_t v = (uint64_t)value;
    unsigned bucket = 63 - ENG_HIST_HALF_BITS -
                      (unsigned)__builtin_clzll(v | (2 * ENG_HIST_HALF - 1));

    return (bucket << ENG_HIST_HALF_BITS) + (unsigned)(v >> bucket);
}

/* `n` times `value`; what is negative counts as 0, what is too great as the greatest. */
static inline void
eng_hist_record_n(struct eng_hist *h, int64_t value, uint64_t n)
{
    _Atomic uint64_t *count;

    if (value < 0)
        value = 0;
    if (value > ENG_HIST_MAX)
        value = ENG_HIST_MAX;
    count = &h->counts[eng_hist_index(value)];
    /* One writer: a plain addition, which readers see whole. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
    if (value > atomic_load_explicit(&h->max, memory_order_relaxed))
        atomic_store_explicit(&h->max, value, memory_order_relaxed);
}

static inline void
eng_hist_record(struct eng_hist *h, int64_t value)
{
    eng_hist_record_n(h, value, 1);
}

struct eng_hist *eng_hist_new(void); /* empty; NULL: no memory.  eng_free() ends it */
void eng_hist_clear(struct eng_hist *h);
void eng_hist_merge(struct eng_hist *into, const struct eng_hist *from);

/*
 * Merge, and add what a client that sends every `interval` would have waited while a longer answer
 * held it up: value - interval, value - 2 * interval and so on.  0: as eng_hist_merge().
 */
void eng_hist_merge_corrected(struct eng_hist *into, const struct eng_hist *from, int64_t interval);

uint64_t eng_hist_total(const struct eng_hist *h);
uint64_t eng_hist_between(const struct eng_hist *h, int64_t from, int64_t to); /* to is outside */
int64_t eng_hist_min(const struct eng_hist *h);                                /* 0 when empty */
int64_t eng_hist_max(const struct eng_hist *h);
double eng_hist_mean(const struct eng_hist *h);
/* The value that `percent` of all are at or below, rounded up to the end of its step; at 0 the
 * least. */
int64_t eng_hist_percentile(const struct eng_hist *h, double percent);
/* HdrHistogram's text: value / unit, percentile, count so far, 1 / (1 - percentile). */
void eng_hist_print(const struct eng_hist *h, double unit, struct eng_bytes *out);

#endif
