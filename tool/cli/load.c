/*
 * load.c - outlet load URL [TEXT]: progress while it runs, what came out, the exit code.
 *
 * On a terminal it looks four times a second.  A newcomer's mistake: to look more often, or to add
 * a thread for it: both cost what is measured.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    LOOK_MS = 250,
    BAR = 40,
    FILES_LEFT = 64 /* descriptors for everything that is no connection */
};

#define RATE_MET 0.95 /* of what was asked for */

/* What this process may open is raised as far as it may be. */
static void
raise_file_limit(int64_t connections)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)connections + FILES_LEFT;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* else connections fail, which is told */
}

/* ---- while it runs ---- */

static void
add_times(struct eng_bytes *out, const struct eng_hist *h)
{
    static const struct {
        const char *name;
        double percent;
    } points[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};

    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char text[32];

        eng_load_time_text(text, sizeof text, (double)eng_hist_percentile(h, points[i].percent));
        eng_bytes_printf(out, "%s%s %s", i ? "  " : "", points[i].name, text);
    }
}

static void
paint(struct load_job *j, const struct eng_load_result *r)
{
    struct eng_bytes line = {0};
    char rate[32];
    char seconds[32];
    char errors[32];

    snprintf(seconds, sizeof seconds, "%.1f", r->seconds);
    snprintf(rate, sizeof rate, "%.0f", r->rate);
    snprintf(errors, sizeof errors, "%llu", (unsigned long long)r->errors);
    eng_bytes_text(&line, "\r\033[K");
    cli_format(j->cli->lang, TEXT_LOAD_PROGRESS,
               (const char *const[CLI_ARGS]){seconds, rate, errors}, &line);
    eng_bytes_text(&line, "  ");
    add_times(&line, r->hist);
    cli_out_add(&j->cli->out, line.data, line.len);
    cli_out_flush(&j->cli->out);
    eng_bytes_free(&line);
    j->painted = true;
}

static void
wait_for(struct load_job *j, struct eng_load *load)
{
    const char *term = getenv("TERM");
    bool paints = j->cli->terminal && !j->cli->quiet && !j->cli->json && term &&
                  strcmp(term, "dumb") != 0;

    for (;;) {
        enum eng_load_state state = eng_load_wait(load, j->signal_fd, paints ? LOOK_MS : -1);

        if (state == ENG_LOAD_ENDED)
            return;
        if (state == ENG_LOAD_WOKEN && cli_signals_read(j->signal_fd)) {
            j->signalled = true;
            eng_load_stop(load);
        }
        if (paints) {
            eng_load_look(load, &j->r);
            paint(j, &j->r);
        }
    }
}

/* One run, with what came out in j->r.  0, or the exit code when it did not even begin. */
static int
run(struct load_job *j)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_bytes text = {0};
    struct eng_load *load;
    int code = eng_load_start(&j->opts, &load, &why);

    if (code) {
        cli_explain(j->cli->json ? CLI_EN : j->cli->lang, code == ENG_USAGE ? j->opts.url : NULL,
                    OUTLET_TO_CONNECT, &why, &text);
        eng_bytes_add(&text, "", 1);
        cli_fail(j->cli, why.code, TEXT_ERROR_BARE, text.failed ? why.text : (char *)text.data);
        eng_bytes_free(&text);
        return code;
    }
    wait_for(j, load);
    eng_load_look(load, &j->r);
    eng_load_end(load);
    if (j->painted)
        cli_out_add(&j->cli->out, "\r\033[K", 4);
    j->painted = false;
    return ENG_DONE;
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

static void
count_text(char text[24], uint64_t n)
{
    snprintf(text, 24, "%llu", (unsigned long long)n);
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
        uint64_t bar = (rows[i].count * BAR + most - 1) / most;
        char to[32];
        int wide; /* the micro sign is two bytes */

        eng_load_time_text(to, sizeof to, (double)rows[i].to);
        wide = strstr(to, "\u00b5") ? 1 : 0;
        eng_bytes_printf(out, "  < %*s  ", 8 + wide, to);
        for (uint64_t k = 0; k < BAR; k++)
            eng_bytes_text(out, k < bar ? "\u2588" : " ");
        eng_bytes_printf(out, " %6.2f %%\n", 100.0 * (double)rows[i].count / (double)total);
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
report(struct load_job *j, int code)
{
    const struct eng_load_result *r = &j->r;
    enum cli_lang lang = j->cli->lang;
    struct eng_bytes out = {0};
    char text[6][32];
    char masked[4096];

    if (j->cli->json) {
        eng_load_json(&j->opts, r, j->found, code, &out);
    } else if (!j->cli->quiet) {
        eng_url_masked(j->opts.url, masked, sizeof masked);
        count_text(text[0], (uint64_t)j->opts.connections);
        count_text(text[1], (uint64_t)j->opts.depth);
        eng_text_size(text[2], sizeof text[2], j->opts.size);
        add(&out, lang, TEXT_LOAD_HEAD, masked, text[0], text[1], text[2], r->driver);
        count_text(text[0], r->messages);
        snprintf(text[1], sizeof text[1], "%.2f", r->seconds);
        snprintf(text[2], sizeof text[2], "%.1f", r->rate);
        eng_text_size(text[3], sizeof text[3], r->bytes_in);
        eng_text_size(text[4], sizeof text[4], r->bytes_out);
        count_text(text[5], r->errors);
        add(&out, lang,
            j->opts.mode == ENG_LOAD_HOLD    ? TEXT_LOAD_HELD
            : j->opts.mode == ENG_LOAD_CHURN ? TEXT_LOAD_CHURNED
                                             : TEXT_LOAD_RATE,
            text[0], text[1], text[2], text[3], text[4], text[5]);
        add_datagrams(j, &out);
        if (eng_hist_total(r->hist)) {
            eng_bytes_text(&out, "  ");
            add_times(&out, r->hist);
            eng_bytes_text(&out, "\n");
            add_picture(&out, r->hist);
        }
    }
    cli_out_add(&j->cli->out, out.data, out.len);
    eng_bytes_free(&out);
}

static void
tell_fault(struct load_job *j)
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
        cli_fail(cli, r->why.code, TEXT_LOAD_UNANSWERED, masked, n[0]);
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
static void
tell_unmet(struct load_job *j, const struct eng_rule_of_load *rule)
{
    double value = eng_load_rule_value(rule, &j->r);
    struct eng_rule_of_load latency = *rule;
    char text[32];

    latency.op = '<';
    if (eng_load_rule_is_latency(&latency))
        eng_load_time_text(text, sizeof text, value);
    else
        snprintf(text, sizeof text, "%.0f", value);
    cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_UNMET, rule->text, text);
    j->unmet = true;
}

static bool
is_rate_met(const struct load_job *j)
{
    bool fans = j->opts.mode == ENG_LOAD_FANOUT;
    double heard = fans ? j->r.rate / (double)j->opts.connections : j->r.rate;

    return j->opts.rate <= 0 || j->opts.count || heard >= RATE_MET * j->opts.rate;
}

static void
judge(struct load_job *j)
{
    char asked[32];
    char got[32];

    for (int i = 0; i < j->rule_count; i++) {
        if (!eng_load_rule_holds(&j->rules[i], &j->r))
            tell_unmet(j, &j->rules[i]);
    }
    if (j->finds || j->signalled || is_rate_met(j))
        return;
    snprintf(asked, sizeof asked, "%.0f", j->opts.rate);
    snprintf(got, sizeof got, "%.0f", j->r.rate);
    cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_RATE_UNMET, asked, got);
    j->unmet = true;
}

/* ---- --find ---- */

static void
tell_step(struct load_job *j, bool held)
{
    struct eng_bytes line = {0};
    char rate[32];
    char got[32];
    char value[32];

    if (j->cli->json || j->cli->quiet)
        return;
    snprintf(rate, sizeof rate, "%.0f", j->opts.rate);
    snprintf(got, sizeof got, "%.0f", j->r.rate);
    eng_load_time_text(value, sizeof value, eng_load_rule_value(&j->bound, &j->r));
    add(&line, j->cli->lang, held ? TEXT_LOAD_STEP_HELD : TEXT_LOAD_STEP_FAILED, rate, got,
        j->bound.text, value);
    cli_out_add(&j->cli->out, line.data, line.len);
    cli_out_flush(&j->cli->out);
    eng_bytes_free(&line);
}

/* The result stays that of the best step. */
static int
find(struct load_job *j)
{
    enum { RATE = 1000 };
    struct eng_find f;
    struct eng_hist *best = eng_hist_new();
    struct eng_load_result best_result = {0};
    double best_rate = 0;
    bool more = true;
    int code = ENG_DONE;

    if (!best)
        return ENG_INTERNAL;
    eng_find_start(&f, j->opts.rate > 0 ? j->opts.rate : RATE);
    while (more && !j->signalled) {
        bool held;

        j->opts.rate = f.rate;
        code = run(j);
        if (code || (j->r.fault != ENG_LOAD_FINE && j->r.fault != ENG_LOAD_UNANSWERED))
            break;
        held = j->r.fault == ENG_LOAD_FINE && is_rate_met(j) &&
               eng_load_rule_holds(&j->bound, &j->r);
        tell_step(j, held);
        if (held) {
            eng_hist_clear(best);
            eng_hist_merge(best, j->r.hist);
            best_result = j->r;
            best_rate = f.rate;
        }
        more = eng_find_next(&f, held);
    }
    if (!code && best_rate > 0 && !more) {
        struct eng_hist *hist = j->r.hist;

        j->r = best_result;
        j->r.hist = hist;
        eng_hist_clear(hist);
        eng_hist_merge(hist, best);
        j->opts.rate = best_rate;
    }
    j->found = best_rate;
    eng_free(best);
    return code;
}

static void
tell_found(struct load_job *j)
{
    char rate[32];

    snprintf(rate, sizeof rate, "%.0f", j->found);
    if (j->found > 0) {
        if (!j->cli->json && !j->cli->quiet)
            cli_say(j->cli, TEXT_LOAD_FOUND, rate, j->bound.text);
        return;
    }
    cli_fail(j->cli, OUTLET_ELIMIT, TEXT_LOAD_NOT_FOUND, j->bound.text);
    j->unmet = true;
}

/* ---- files ---- */

static bool
write_file(struct load_job *j, enum cli_option id, FILE *file, struct eng_bytes *bytes)
{
    bool ok = !bytes->failed && fwrite(bytes->data, 1, bytes->len, file) == bytes->len;

    ok = fflush(file) == 0 && ok;
    if (!ok)
        cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_PLAIN, j->cli->options.value[id], strerror(errno));
    eng_bytes_free(bytes);
    return ok;
}

static bool
write_files(struct load_job *j)
{
    struct eng_bytes out = {0};
    char masked[4096];
    bool ok = true;

    if (j->plot) {
        eng_url_masked(j->opts.url, masked, sizeof masked);
        eng_load_plot(&j->r, masked, &out);
        ok = write_file(j, OPT_PLOT, j->plot, &out);
    }
    if (j->hist) {
        eng_hist_print(j->r.hist, 1000, &out);
        ok = write_file(j, OPT_HIST, j->hist, &out) && ok;
    }
    return ok;
}

static int
work(struct load_job *j)
{
    int code;

    raise_file_limit(j->opts.connections);
    j->signal_fd = cli_signals_open();
    if (j->signal_fd < 0) {
        cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_INTERNAL, "signalfd");
        return ENG_INTERNAL;
    }
    code = j->finds ? find(j) : run(j);
    if (code)
        return code;
    tell_fault(j);
    if (j->finds && j->r.result != ENG_BROKEN && j->r.result != ENG_NOT_CONNECTED)
        tell_found(j);
    judge(j);
    code = j->r.result ? j->r.result : j->unmet ? ENG_UNMET : ENG_DONE;
    report(j, code);
    if (!write_files(j) && !code)
        code = ENG_FILE;
    return code;
}

int
cli_load(struct cli *cli)
{
    struct load_job j = {.cli = cli, .found = -1, .signal_fd = -1, .r = {.hist = eng_hist_new()}};
    int code = ENG_INTERNAL;

    if (!j.r.hist)
        cli_fail(cli, OUTLET_ENOMEM, TEXT_ERROR_INTERNAL, outlet_strerror(OUTLET_ENOMEM));
    else
        code = cli_load_options(&j);
    if (!code)
        code = work(&j);
    if (j.plot)
        (void)fclose(j.plot); /* it was flushed, and that was checked */
    if (j.hist)
        (void)fclose(j.hist);
    if (j.signal_fd >= 0)
        close(j.signal_fd);
    eng_bytes_free(&j.payload);
    eng_free(j.r.hist);
    return code;
}
