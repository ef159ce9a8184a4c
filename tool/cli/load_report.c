/*
 * load_report.c - what outlet load tells: a line while it runs, what came out, what went wrong.
 *
 * A newcomer's mistake: a line that is longer than the terminal is wide.  It breaks, and the next
 * one cannot be painted over it; so what does not fit is left out, the least wanted first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR = 40,
    COLUMNS = 80 /* of a terminal that does not say */
};

#define BUSY 0.9 /* of its CPUs: this side may be what limits */

static void
count_text(char text[24], uint64_t n)
{
    snprintf(text, 24, "%llu", (unsigned long long)n);
}

static void
rate_text(char text[32], double rate)
{
    snprintf(text, 32, rate < 99.95 ? "%.1f" : "%.0f", rate);
}

/* ---- latencies ---- */

enum { POINTS = 5 };

static const struct {
    const char *name;
    double percent;
    int wanted; /* the least goes first */
} points[POINTS] = {{"p50", 50, 4},
                    {"p90", 90, 1},
                    {"p99", 99, 5},
                    {"p99.9", 99.9, 2},
                    {"max", 100, 3}};

/* Those that are wanted more than `least`. */
static void
add_times(struct eng_bytes *out, const struct eng_hist *h, int least)
{
    bool first = true;

    for (size_t i = 0; i < POINTS; i++) {
        char text[32];

        if (points[i].wanted <= least)
            continue;
        eng_load_time_text(text, sizeof text, (double)eng_hist_percentile(h, points[i].percent));
        eng_bytes_printf(out, "%s%s %s", first ? "" : "  ", points[i].name, text);
        first = false;
    }
}

/* ---- while it runs ---- */

static int
terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS;
    return size.ws_col;
}

static void
add_progress(struct load_job *j, struct eng_bytes *line)
{
    const struct eng_load_result *r = &j->r;
    double seconds = r->seconds - j->painted_seconds;
    uint64_t messages = r->messages - j->painted_messages;
    char texts[3][32];

    if (!r->measuring || j->opts.mode == ENG_LOAD_HOLD) {
        count_text(texts[0], r->connections);
        count_text(texts[1], (uint64_t)j->opts.connections);
        cli_format(j->cli->lang, TEXT_LOAD_OPENING,
                   (const char *const[CLI_ARGS]){texts[0], texts[1]}, line);
        return;
    }
    snprintf(texts[0], sizeof texts[0], "%.1f", r->seconds);
    rate_text(texts[1], seconds > 0 ? (double)messages / seconds : 0);
    count_text(texts[2], r->errors);
    cli_format(j->cli->lang, TEXT_LOAD_PROGRESS,
               (const char *const[CLI_ARGS]){texts[0], texts[1], texts[2]}, line);
    j->painted_seconds = r->seconds;
    j->painted_messages = r->messages;
}

void
load_paint(struct load_job *j)
{
    struct eng_bytes line = {0};
    int columns = terminal_columns();
    bool shows_times = j->r.measuring && j->opts.mode != ENG_LOAD_HOLD;
    size_t head;

    add_progress(j, &line);
    head = line.len;
    for (int least = 0; shows_times && least < POINTS; least++) {
        eng_bytes_text(&line, "  ");
        add_times(&line, j->r.hist, least);
        eng_bytes_add(&line, "", 1);
        if (line.failed ||
            eng_text_width((char *)line.data, strlen((char *)line.data)) < (size_t)columns)
            break;
        line.len = head;
    }
    if (!line.failed) {
        cli_out_add(&j->cli->out, "\r\033[K", 4);
        cli_out_add(&j->cli->out, line.data, line.len - (line.len > head));
        cli_out_flush(&j->cli->out);
    }
    eng_bytes_free(&line);
    j->painted = true;
}

void
load_unpaint(struct load_job *j)
{
    if (j->painted)
        cli_out_add(&j->cli->out, "\r\033[K", 4);
    j->painted = false;
    j->painted_seconds = 0;
    j->painted_messages = 0;
}

/* ---- what came out ---- */

static void
add_line(struct eng_bytes *out, enum cli_lang lang, enum cli_text id, const char *const args[])
{
    eng_bytes_text(out, "  ");
    cli_format(lang, id, args, out);
    eng_bytes_text(out, "\n");
}

#define add(out, lang, id, ...) add_line(out, lang, id, (const char *const[CLI_ARGS]){__VA_ARGS__})

/* In eighths of a character, so that little is not shown as much. */
static void
add_bar(struct eng_bytes *out, uint64_t count, uint64_t most)
{
    uint64_t eighths = (count * BAR * 8 + most - 1) / most;

    for (int i = 0; i < BAR; i++) {
        uint64_t n = eighths < 8 ? eighths : 8;
        char block[] = {'\xe2', '\x96', (char)(0x90 - n), 0}; /* U+2588 is full, U+258F an eighth */

        eng_bytes_text(out, n ? block : " ");
        eighths -= n;
    }
}

static void
add_picture(struct eng_bytes *out, const struct eng_hist *h)
{
    struct eng_picture_row rows[ENG_PICTURE_ROWS];
    int n = eng_load_picture(h, rows);
    uint64_t total = eng_hist_total(h);
    uint64_t most = 1;

    for (int i = 0; i < n; i++)
        most = rows[i].count > most ? rows[i].count : most;
    for (int i = 0; i < n; i++) {
        double percent = 100.0 * (double)rows[i].count / (double)total;
        char to[32];

        eng_load_time_text(to, sizeof to, (double)rows[i].to);
        eng_bytes_printf(out, "  < %*s%s  ", 8 - (int)eng_text_width(to, strlen(to)), "", to);
        add_bar(out, rows[i].count, most);
        if (rows[i].count && percent < 0.005)
            eng_bytes_text(out, " < 0.01 %\n");
        else
            eng_bytes_printf(out, " %6.2f %%\n", percent);
    }
}

static void
add_datagrams(const struct load_job *j, struct eng_bytes *out)
{
    const struct eng_load_result *r = &j->r;
    struct eng_url parts;
    char n[3][24];

    if (!eng_url_split(j->opts.url, OUTLET_TO_CONNECT, &parts) || parts.stream)
        return;
    count_text(n[0], r->lost);
    count_text(n[1], r->reordered);
    count_text(n[2], r->duplicates);
    add(out, j->cli->lang, TEXT_LOAD_DATAGRAMS, n[0], n[1], n[2]);
}

static void
add_cpu(const struct load_job *j, struct eng_bytes *out)
{
    const struct eng_load_result *r = &j->r;
    double cpus = r->seconds > 0 ? (double)r->cpu_ns / 1e9 / r->seconds : 0;
    bool busy = cpus >= BUSY * (double)r->threads;
    char percent[32];
    char each[32];

    if (j->opts.mode == ENG_LOAD_HOLD || r->cpu_ns == 0 || r->messages == 0)
        return;
    snprintf(percent, sizeof percent, "%.0f", 100 * cpus);
    eng_load_time_text(each, sizeof each, (double)r->cpu_ns / (double)r->messages);
    add(out, j->cli->lang, busy ? TEXT_LOAD_CPU_BUSY : TEXT_LOAD_CPU, percent, each);
}

static void
add_latency(const struct load_job *j, struct eng_bytes *out)
{
    if (!eng_hist_total(j->r.hist))
        return;
    eng_bytes_text(out, "  ");
    if (j->opts.mode == ENG_LOAD_HOLD)
        eng_bytes_text(out, cli_text(j->cli->lang, TEXT_LOAD_TIMES_HOLD));
    else if (j->opts.mode == ENG_LOAD_CHURN)
        eng_bytes_text(out, cli_text(j->cli->lang, TEXT_LOAD_TIMES_CHURN));
    else if (j->opts.rate > 0)
        eng_bytes_text(out, cli_text(j->cli->lang, TEXT_LOAD_TIMES_DUE));
    add_times(out, j->r.hist, 0);
    eng_bytes_text(out, "\n");
    add_picture(out, j->r.hist);
}

static void
add_head(const struct load_job *j, struct eng_bytes *out)
{
    const struct eng_load_result *r = &j->r;
    bool holds = j->opts.mode == ENG_LOAD_HOLD;
    char texts[3][32];
    char masked[4096];

    eng_url_masked(j->opts.url, masked, sizeof masked);
    count_text(texts[0], (uint64_t)j->opts.connections);
    count_text(texts[1], (uint64_t)j->opts.depth);
    eng_text_size(texts[2], sizeof texts[2], j->opts.size);
    add(out, j->cli->lang, holds ? TEXT_LOAD_HEAD_HOLD : TEXT_LOAD_HEAD, masked, texts[0], texts[1],
        texts[2], r->driver);
}

static void
add_counts(const struct load_job *j, struct eng_bytes *out)
{
    static const enum cli_text texts_of[] = {
        [ENG_LOAD_ECHO] = TEXT_LOAD_RATE,
        [ENG_LOAD_CHURN] = TEXT_LOAD_CHURNED,
        [ENG_LOAD_HOLD] = TEXT_LOAD_HELD,
        [ENG_LOAD_FANOUT] = TEXT_LOAD_RATE,
    };
    const struct eng_load_result *r = &j->r;
    char texts[6][32];

    count_text(texts[0], r->messages);
    snprintf(texts[1], sizeof texts[1], "%.*f", r->seconds < 0.1 ? 5 : 2, r->seconds);
    rate_text(texts[2], r->rate);
    eng_text_size(texts[3], sizeof texts[3], r->bytes_in);
    eng_text_size(texts[4], sizeof texts[4], r->bytes_out);
    count_text(texts[5], r->errors);
    add(out, j->cli->lang,
        r->messages || r->seconds > 0 ? texts_of[j->opts.mode] : TEXT_LOAD_NOTHING, texts[0],
        texts[1], texts[2], texts[3], texts[4], texts[5]);
}

void
load_add_titles(const struct load_job *j, struct eng_bytes *out)
{
    add_head(j, out);
    add_counts(j, out);
    eng_bytes_add(out, "", 1);
}

void
load_report(struct load_job *j, int code)
{
    struct eng_bytes out = {0};

    if (j->cli->json) {
        eng_load_json(&j->opts, &j->r, j->found, code, &out);
    } else if (!j->cli->quiet) {
        add_head(j, &out);
        add_counts(j, &out);
        add_datagrams(j, &out);
        add_cpu(j, &out);
        add_latency(j, &out);
    }
    cli_out_add(&j->cli->out, out.data, out.len);
    eng_bytes_free(&out);
}

/* ---- a search ---- */

static void
tell(struct load_job *j, enum cli_text id, const char *const args[])
{
    struct eng_bytes line = {0};

    if (j->cli->json || j->cli->quiet)
        return;
    add_line(&line, j->cli->lang, id, args);
    cli_out_add(&j->cli->out, line.data, line.len);
    cli_out_flush(&j->cli->out);
    eng_bytes_free(&line);
}

void
load_tell_step(struct load_job *j, bool held)
{
    char rate[32];
    char got[32];
    char value[32];

    rate_text(rate, j->opts.rate);
    rate_text(got, j->r.rate);
    if (eng_hist_total(j->r.hist))
        eng_load_time_text(value, sizeof value, eng_load_rule_value(&j->bound, &j->r));
    else
        snprintf(value, sizeof value, "-");
    tell(j, held ? TEXT_LOAD_STEP_HELD : TEXT_LOAD_STEP_FAILED,
         (const char *const[CLI_ARGS]){rate, got, j->bound.text, value});
}

void
load_tell_found(struct load_job *j)
{
    char rate[32];

    rate_text(rate, j->found);
    if (j->found > 0) {
        tell(j, j->cut_short ? TEXT_LOAD_FOUND_SO_FAR : TEXT_LOAD_FOUND,
             (const char *const[CLI_ARGS]){rate, j->bound.text});
        return;
    }
    if (j->cut_short) {
        tell(j, TEXT_LOAD_FOUND_NOTHING_YET, (const char *const[CLI_ARGS]){NULL, j->bound.text});
        return;
    }
    cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_NOT_FOUND, j->bound.text);
    j->unmet = true;
}

/* ---- what went wrong ---- */

void
load_tell_fault(struct load_job *j)
{
    const struct eng_load_result *r = &j->r;
    struct cli *cli = j->cli;
    struct eng_bytes text = {0};
    char masked[4096];
    char n[2][24];

    eng_url_masked(j->opts.url, masked, sizeof masked);
    count_text(n[1], (uint64_t)j->opts.connections);
    switch (r->fault) {
    case ENG_LOAD_FINE:
        break;
    case ENG_LOAD_NOT_CONNECTED:
        cli_explain(cli->json ? CLI_EN : cli->lang, j->opts.url, OUTLET_TO_CONNECT, &r->why, &text);
        eng_bytes_add(&text, "", 1);
        count_text(n[0], r->failed);
        cli_fail(cli, r->why.code, TEXT_LOAD_FAILED, text.failed ? r->why.text : (char *)text.data,
                 n[0]);
        eng_bytes_free(&text);
        break;
    case ENG_LOAD_CLOSED:
        count_text(n[0], r->closed);
        cli_fail(cli, r->why.code ? r->why.code : OUTLET_EEOF, TEXT_LOAD_CLOSED, masked, n[0], n[1],
                 r->why.text);
        break;
    case ENG_LOAD_WRONG:
        count_text(n[0], r->wrong);
        cli_fail(cli, r->why.code, TEXT_LOAD_WRONG, masked, r->why.text, n[0]);
        break;
    case ENG_LOAD_UNANSWERED:
        count_text(n[0], r->unanswered + r->lost);
        cli_fail(cli, r->why.code,
                 j->opts.mode == ENG_LOAD_FANOUT ? TEXT_LOAD_UNHEARD : TEXT_LOAD_UNANSWERED, masked,
                 n[0]);
        break;
    case ENG_LOAD_NOT_SENT:
        eng_text_size(n[0], sizeof n[0], j->opts.size);
        cli_fail(cli, r->why.code, TEXT_LOAD_NOT_SENT, masked, n[0], r->why.text);
        break;
    case ENG_LOAD_BROKEN:
        cli_fail(cli, r->why.code, TEXT_ERROR_INTERNAL, r->why.text);
        break;
    }
}

/* What a rule measured, as it would be written. */
void
load_tell_unmet(struct load_job *j, const struct eng_rule_of_load *rule)
{
    double value = eng_load_rule_value(rule, &j->r);
    struct eng_rule_of_load latency = *rule;
    char text[32];

    latency.op = '<';
    j->unmet = true;
    if (eng_load_rule_is_latency(&latency) && eng_hist_total(j->r.hist) == 0) {
        cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_UNMEASURED, rule->text);
        return;
    }
    if (eng_load_rule_is_latency(&latency))
        eng_load_time_text(text, sizeof text, value);
    else
        snprintf(text, sizeof text, "%.0f", value);
    cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_UNMET, rule->text, text);
}

void
load_tell_rate_unmet(struct load_job *j, bool by_loss)
{
    char asked[32];
    char got[32];
    char lost[24];

    rate_text(asked, j->opts.rate);
    rate_text(got, j->r.rate);
    count_text(lost, j->r.lost);
    cli_fail(j->cli, OUTLET_ELIMIT, by_loss ? TEXT_LOAD_RATE_LOST : TEXT_LOAD_RATE_UNMET, asked,
             got, lost);
    j->unmet = true;
}
