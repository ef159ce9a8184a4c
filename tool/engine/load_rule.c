/*
 * load_rule.c - thresholds, rates and sizes as people write them; the search for the greatest rate.
 *
 * Pure.  A latency without a unit is refused: "p99<2" could be seconds or microseconds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum metric {
    METRIC_PERCENTILE,
    METRIC_MEAN,
    METRIC_MAX,
    METRIC_RATE,
    METRIC_ERRORS,
    METRIC_MESSAGES,
    METRIC_LOST,
    METRIC_REORDERED,
    METRIC_DUPLICATES
};

static const struct {
    const char *name;
    enum metric metric;
    double percent;
    bool is_latency;
} metrics[] = {
    {"p50", METRIC_PERCENTILE, 50, true},
    {"p75", METRIC_PERCENTILE, 75, true},
    {"p90", METRIC_PERCENTILE, 90, true},
    {"p95", METRIC_PERCENTILE, 95, true},
    {"p99", METRIC_PERCENTILE, 99, true},
    {"p999", METRIC_PERCENTILE, 99.9, true},
    {"p99.9", METRIC_PERCENTILE, 99.9, true},
    {"p9999", METRIC_PERCENTILE, 99.99, true},
    {"p99.99", METRIC_PERCENTILE, 99.99, true},
    {"mean", METRIC_MEAN, 0, true},
    {"max", METRIC_MAX, 100, true},
    {"rate", METRIC_RATE, 0, false},
    {"errors", METRIC_ERRORS, 0, false},
    {"messages", METRIC_MESSAGES, 0, false},
    {"lost", METRIC_LOST, 0, false},
    {"reordered", METRIC_REORDERED, 0, false},
    {"duplicates", METRIC_DUPLICATES, 0, false},
};

/* A number that begins with a digit, in no locale; *end is behind it. */
static bool
number(const char *text, double *value, const char **end)
{
    double whole = 0;
    double scale = 1;
    size_t i = 0;

    while (text[i] >= '0' && text[i] <= '9' && i < 18)
        whole = whole * 10 + (text[i++] - '0');
    if (i == 0)
        return false;
    if (text[i] == '.') {
        i++;
        if (text[i] < '0' || text[i] > '9')
            return false;
        while (text[i] >= '0' && text[i] <= '9') {
            scale /= 10;
            whole += (text[i++] - '0') * scale;
        }
    }
    *value = whole;
    *end = text + i;
    return true;
}

struct unit {
    const char *name;
    double factor;
};

/* A number with one of the units, which end with NULL. */
static bool
with_unit(const char *text, const struct unit *units, double *value)
{
    const char *end;

    if (!number(text, value, &end))
        return false;
    for (; units->name; units++) {
        if (strcmp(end, units->name) == 0) {
            *value *= units->factor;
            return true;
        }
    }
    return false;
}

static const struct unit time_units[] = {{"ns", 1},
                                         {"us", 1e3},
                                         {"ms", 1e6},
                                         {"s", 1e9},
                                         {NULL, 0}};
static const struct unit rate_units[] = {{"", 1},      {"k", 1e3},   {"M", 1e6}, {"/s", 1},
                                         {"k/s", 1e3}, {"M/s", 1e6}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},
                                         {"k", 1 << 10},
                                         {"K", 1 << 10},
                                         {"M", 1 << 20},
                                         {NULL, 0}};

bool
eng_load_rule_parse(const char *text, struct eng_rule_of_load *out)
{
    struct eng_rule_of_load rule = {.metric = -1};
    size_t len = strcspn(text, "<>=");
    const char *at = text + len;
    bool is_latency = false;

    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        if (strlen(metrics[i].name) == len && memcmp(metrics[i].name, text, len) == 0) {
            rule.metric = (int)metrics[i].metric;
            rule.percent = metrics[i].percent;
            is_latency = metrics[i].is_latency;
        }
    }
    if (rule.metric < 0 || !*at || strlen(text) >= sizeof rule.text)
        return false;
    rule.op = *at++;
    if (*at == '=') {
        rule.op = rule.op == '<' ? 'l' : rule.op == '>' ? 'g' : '=';
        at++;
    }
    if (!with_unit(at, is_latency ? time_units : rate_units, &rule.limit))
        return false;
    snprintf(rule.text, sizeof rule.text, "%s", text);
    *out = rule;
    return true;
}

bool
eng_load_rule_is_latency(const struct eng_rule_of_load *rule)
{
    return rule->metric <= METRIC_MAX && (rule->op == '<' || rule->op == 'l');
}

double
eng_load_rule_value(const struct eng_rule_of_load *rule, const struct eng_load_result *r)
{
    switch ((enum metric)rule->metric) {
    case METRIC_PERCENTILE:
        return (double)eng_hist_percentile(r->hist, rule->percent);
    case METRIC_MEAN:
        return eng_hist_mean(r->hist);
    case METRIC_MAX:
        return (double)eng_hist_max(r->hist);
    case METRIC_RATE:
        return r->rate;
    case METRIC_ERRORS:
        return (double)r->errors;
    case METRIC_MESSAGES:
        return (double)r->messages;
    case METRIC_LOST:
        return (double)r->lost;
    case METRIC_REORDERED:
        return (double)r->reordered;
    case METRIC_DUPLICATES:
        return (double)r->duplicates;
    }
    return 0;
}

bool
eng_load_rule_holds(const struct eng_rule_of_load *rule, const struct eng_load_result *r)
{
    double value = eng_load_rule_value(rule, r);

    /* Without one answer there is no latency, and a bound of it is not kept. */
    if (rule->metric <= METRIC_MAX && eng_hist_total(r->hist) == 0)
        return false;
    switch (rule->op) {
    case '<':
        return value < rule->limit;
    case '>':
        return value > rule->limit;
    case 'l':
        return value <= rule->limit;
    case 'g':
        return value >= rule->limit;
    default:
        return fabs(value - rule->limit) < 0.5;
    }
}

bool
eng_load_rate_parse(const char *text, double *rate)
{
    double value;

    if (!with_unit(text, rate_units, &value) || value < 0.001 || value > 1e9)
        return false;
    *rate = value;
    return true;
}

bool
eng_load_time_parse(const char *text, int64_t *ns)
{
    double value;

    if (!with_unit(text, time_units, &value) || value < 1 || value > (double)ENG_HIST_MAX)
        return false;
    *ns = (int64_t)value;
    return true;
}

bool
eng_load_size_parse(const char *text, int64_t *size)
{
    double value;

    if (!with_unit(text, size_units, &value) || value < 1 || value > ENG_LOAD_SIZE_MAX)
        return false;
    *size = (int64_t)value;
    return true;
}

enum { FIND_STEPS = 30 };

void
eng_find_start(struct eng_find *f, double rate)
{
    *f = (struct eng_find){.rate = rate};
}

bool
eng_find_next(struct eng_find *f, bool held)
{
    const double close = 1.05; /* the answer is known to 5 % */
    const double least = 1;
    enum { TRIES = 3 };

    if (!held && ++f->misses < TRIES)
        return true;
    f->misses = 0;
    if (held)
        f->low = f->rate;
    else
        f->high = f->rate;
    if (++f->steps == FIND_STEPS)
        return false;
    if (f->high == 0)
        f->rate = f->low * 2;
    else if (f->low == 0)
        f->rate = f->high / 4 > least ? f->high / 4 : least;
    else
        f->rate = sqrt(f->low * f->high);
    if (f->low == 0)
        return f->high > least;
    return f->high == 0 || f->high / f->low > close;
}
