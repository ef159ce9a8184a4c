/*
 * load.c - outlet load URL [TEXT]: options into a run, progress while it runs, what came out.
 *
 * The threads of the run do the work; this one sleeps until they have ended, and on a terminal
 * looks four times a second.  A newcomer's mistake: to look more often, which costs what is
 * measured.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    LOOK_MS = 250,
    SIZE = 64,
    DEPTH_OPEN = 128, /* with --rate: under way on a connection before messages wait */
    RULES = 16,
    BAR = 40,
    TIME_MS = 5000,
    STEP_MS = 1000, /* of a search */
    WARM_MS = 200,
    FILES_LEFT = 64 /* descriptors for everything that is no connection */
};

#define RATE_MET 0.95 /* of what was asked for */

struct job {
    struct cli *cli;
    struct eng_load_opts opts;
    struct eng_bytes payload;
    struct eng_rule_of_load rules[RULES];
    int rule_count;
    bool finds;
    struct eng_rule_of_load bound;
    double found; /* -1: nothing was looked for */
    FILE *plot;
    FILE *hist;
    int signal_fd;
    bool signalled;
    bool painted;
    bool unmet;
    struct eng_load_result r;
};

/* ---- options ---- */

static const char *
option(const struct job *j, enum cli_option id)
{
    return j->cli->options.has[id] ? j->cli->options.value[id] : NULL;
}

static bool
bad(struct job *j, enum cli_option id, const char *example)
{
    char name[40];

    snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    cli_usage(j->cli, TEXT_USAGE_BAD_VALUE, name, j->cli->options.value[id], example);
    return false;
}

static bool
number(struct job *j, enum cli_option id, int64_t most, int64_t *out)
{
    const char *text = option(j, id);
    char example[24];

    if (!text)
        return true;
    if (eng_parse_count(text, out) && *out <= most)
        return true;
    snprintf(example, sizeof example, most < INT32_MAX ? "1..%lld" : "10", (long long)most);
    return bad(j, id, example);
}

static bool
duration(struct job *j, enum cli_option id, int64_t *ms)
{
    const char *text = option(j, id);

    if (!text)
        return true;
    if (strcmp(text, "0") == 0 && id != OPT_TIME) {
        *ms = 0;
        return true;
    }
    return eng_parse_duration(text, ms) || bad(j, id, "500ms");
}

static bool
excluded(struct job *j, enum cli_option a, enum cli_option b)
{
    char names[2][40];

    if (!j->cli->options.has[a] || !j->cli->options.has[b])
        return true;
    snprintf(names[0], sizeof names[0], "--%s", cli_option_infos[a].word);
    snprintf(names[1], sizeof names[1], "--%s", cli_option_infos[b].word);
    cli_usage(j->cli, TEXT_USAGE_EXCLUDE, names[0], names[1]);
    return false;
}

static bool
modes(struct job *j)
{
    static const struct {
        enum cli_option a;
        enum cli_option b;
    } pairs[] = {
        {OPT_CHURN, OPT_HOLD},      {OPT_CHURN, OPT_FANOUT},    {OPT_HOLD, OPT_FANOUT},
        {OPT_CHURN, OPT_RATE},      {OPT_HOLD, OPT_RATE},       {OPT_CHURN, OPT_FIND},
        {OPT_HOLD, OPT_FIND},       {OPT_CHURN, OPT_DEPTH},     {OPT_HOLD, OPT_DEPTH},
        {OPT_FIND, OPT_LOAD_COUNT}, {OPT_HOLD, OPT_LOAD_COUNT}, {OPT_FANOUT, OPT_THREADS},
        {OPT_CHECK, OPT_NO_CHECK},  {OPT_RATE, OPT_CORRECT},    {OPT_FIND, OPT_CORRECT},
    };
    const bool *has = j->cli->options.has;

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (!excluded(j, pairs[i].a, pairs[i].b))
            return false;
    }
    j->opts.mode = has[OPT_CHURN]    ? ENG_LOAD_CHURN
                   : has[OPT_HOLD]   ? ENG_LOAD_HOLD
                   : has[OPT_FANOUT] ? ENG_LOAD_FANOUT
                                     : ENG_LOAD_ECHO;
    j->finds = has[OPT_FIND];
    return true;
}

static bool
numbers(struct job *j)
{
    struct eng_load_opts *o = &j->opts;
    const bool *has = j->cli->options.has;
    const char *rate = option(j, OPT_RATE);
    const char *correct = option(j, OPT_CORRECT);

    o->connections = 1;
    o->threads = 1;
    if (rate && !eng_load_rate_parse(rate, &o->rate))
        return bad(j, OPT_RATE, "50000/s");
    o->depth = o->rate > 0 || j->finds ? DEPTH_OPEN : 1;
    if (!has[OPT_LOAD_COUNT])
        o->time_ms = j->finds ? STEP_MS : TIME_MS;
    if (correct && !eng_load_time_parse(correct, &o->correct_ns))
        return bad(j, OPT_CORRECT, "10ms");
    if (!number(j, OPT_CONNECTIONS, ENG_LOAD_CONNECTIONS_MAX, &o->connections) ||
        !number(j, OPT_DEPTH, ENG_LOAD_DEPTH_MAX, &o->depth) ||
        !number(j, OPT_THREADS, ENG_LOAD_THREADS_MAX, &o->threads) ||
        !number(j, OPT_LOAD_COUNT, INT64_MAX, &o->count) || !duration(j, OPT_TIME, &o->time_ms) ||
        !duration(j, OPT_RAMP, &o->ramp_ms))
        return false;
    /* A tenth of the time, so that a short run is not mostly warm-up. */
    if (!o->count && o->mode != ENG_LOAD_HOLD)
        o->warm_ms = o->time_ms / 10 < WARM_MS ? o->time_ms / 10 : WARM_MS;
    return duration(j, OPT_WARM_UP, &o->warm_ms);
}

static bool
read_file(struct job *j, const char *path)
{
    enum { CHUNK = 64 * 1024 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;

    while (n > 0 && j->payload.len <= ENG_LOAD_SIZE_MAX) {
        uint8_t *space = eng_bytes_space(&j->payload, CHUNK);

        n = space ? read(fd, space, CHUNK) : -1;
        if (n > 0)
            j->payload.len += (size_t)n;
    }
    if (n < 0)
        cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_PLAIN, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return n >= 0;
}

/* frame=fixed:N says how long each message is. */
static int64_t
usual_size(const char *url)
{
    struct eng_url parts;
    int64_t n;

    if (eng_url_split(url, OUTLET_TO_CONNECT, &parts) && strncmp(parts.frame, "fixed:", 6) == 0 &&
        eng_parse_count(parts.frame + 6, &n) && n <= ENG_LOAD_SIZE_MAX)
        return n;
    return SIZE;
}

/* 0, or the exit code. */
static int
payload(struct job *j)
{
    const struct cli_options *o = &j->cli->options;
    const char *word = o->word_count > 1 ? o->words[1] : NULL;
    const char *size = option(j, OPT_SIZE);
    int64_t n = usual_size(j->opts.url);

    if (o->has[OPT_HEX] + o->has[OPT_ESCAPE] + o->has[OPT_FILE] + o->has[OPT_SIZE] +
            (word != NULL) >
        1)
        return cli_usage(j->cli, TEXT_USAGE_ONE_LOAD, NULL);
    if (size && !eng_load_size_parse(size, &n)) {
        bad(j, OPT_SIZE, "64");
        return ENG_USAGE;
    }
    j->opts.size = (size_t)n;
    j->opts.check = !o->has[OPT_NO_CHECK];
    if (!word && !o->has[OPT_HEX] && !o->has[OPT_ESCAPE] && !o->has[OPT_FILE])
        return ENG_DONE;
    if (o->has[OPT_FILE] && !read_file(j, o->value[OPT_FILE]))
        return ENG_FILE;
    if ((o->has[OPT_HEX] && !cli_payload_bytes(j->cli, OPT_HEX, &j->payload)) ||
        (o->has[OPT_ESCAPE] && !cli_payload_bytes(j->cli, OPT_ESCAPE, &j->payload)))
        return ENG_USAGE;
    if (word)
        eng_bytes_text(&j->payload, word);
    if (j->payload.len == 0 || j->payload.len > ENG_LOAD_SIZE_MAX)
        return cli_usage(j->cli, TEXT_USAGE_LOAD_SIZE, NULL);
    j->opts.payload = j->payload.data;
    j->opts.size = j->payload.len;
    /* A request of the user's own is perhaps answered with something else. */
    j->opts.check = o->has[OPT_CHECK];
    return ENG_DONE;
}

/* --require may stand several times, and name several rules with commas between. */
static bool
rules(struct job *j)
{
    const struct cli_options *o = &j->cli->options;
    const char *bound = option(j, OPT_FIND);

    if (bound && (!eng_load_rule_parse(bound, &j->bound) || !eng_load_rule_is_latency(&j->bound)))
        return bad(j, OPT_FIND, "'p99<1ms'");
    for (int i = 0; i < o->list_count; i++) {
        const char *at = o->list[i];

        while (*at || at == o->list[i]) {
            size_t len = strcspn(at, ",");
            char text[80];

            snprintf(text, sizeof text, "%.*s", (int)len, at);
            if (j->rule_count == RULES || !eng_load_rule_parse(text, &j->rules[j->rule_count])) {
                cli_usage(j->cli, TEXT_USAGE_BAD_VALUE, "--require", text,
                          "'p99<2ms', 'rate>50000', 'errors=0'");
                return false;
            }
            j->rule_count++;
            at += len + (at[len] == ',');
        }
    }
    return true;
}

/* Before the run: hours of load are not to end with a path that is not there. */
static bool
open_file(struct job *j, enum cli_option id, FILE **out)
{
    const char *path = option(j, id);

    if (!path)
        return true;
    *out = fopen(path, "we");
    if (*out)
        return true;
    cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_PLAIN, path, strerror(errno));
    return false;
}

static int
understand(struct job *j)
{
    const char *driver = getenv("OUTLET_DRIVER");
    struct outlet_reason why = OUTLET_REASON;
    int code;

    if (j->cli->options.word_count == 0)
        return cli_usage(j->cli, TEXT_USAGE_NO_URL, "load");
    if (driver && strcmp(driver, "sim") == 0)
        return cli_usage(j->cli, TEXT_USAGE_DRIVER, driver);
    j->opts.url = j->cli->options.words[0];
    if (outlet_url_check(j->opts.url, OUTLET_TO_CONNECT, &why))
        return ENG_DONE; /* the start of the run refuses it, with the reason */
    if (!modes(j) || !numbers(j) || !rules(j))
        return ENG_USAGE;
    code = payload(j);
    if (!code && (!open_file(j, OPT_PLOT, &j->plot) || !open_file(j, OPT_HIST, &j->hist)))
        code = ENG_FILE;
    return code;
}

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
paint(struct job *j, const struct eng_load_result *r)
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
wait_for(struct job *j, struct eng_load *load)
{
    const char *term = getenv("TERM");
    bool paints = j->cli->terminal && !j->cli->quiet && !j->cli->json && term &&
                  strcmp(term, "dumb") != 0;

    for (;;) {
        struct pollfd ready[2] = {{.fd = eng_load_fd(load), .events = POLLIN},
                                  {.fd = j->signal_fd, .events = POLLIN}};
        int n = poll(ready, 2, paints ? LOOK_MS : -1);

        if (n < 0 && errno != EINTR)
            return;
        if (n > 0 && ready[1].revents && cli_signals_read(j->signal_fd)) {
            j->signalled = true;
            eng_load_stop(load);
        }
        if (n > 0 && ready[0].revents)
            return;
        if (paints) {
            eng_load_look(load, &j->r);
            paint(j, &j->r);
        }
    }
}

/* One run, with what came out in j->r.  0, or the exit code when it did not even begin. */
static int
run(struct job *j)
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
add_datagrams(const struct job *j, struct eng_bytes *out)
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
report(struct job *j, int code)
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
tell_fault(struct job *j)
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
tell_unmet(struct job *j, const struct eng_rule_of_load *rule)
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
is_rate_met(const struct job *j)
{
    return j->opts.rate <= 0 || j->opts.count || j->r.rate >= RATE_MET * j->opts.rate;
}

static void
judge(struct job *j)
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
tell_step(struct job *j, bool held)
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
find(struct job *j)
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
tell_found(struct job *j)
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
write_file(struct job *j, enum cli_option id, FILE *file, struct eng_bytes *bytes)
{
    bool ok = !bytes->failed && fwrite(bytes->data, 1, bytes->len, file) == bytes->len;

    ok = fflush(file) == 0 && ok;
    if (!ok)
        cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_PLAIN, option(j, id), strerror(errno));
    eng_bytes_free(bytes);
    return ok;
}

static bool
write_files(struct job *j)
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
work(struct job *j)
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
    struct job j = {.cli = cli, .found = -1, .signal_fd = -1, .r = {.hist = eng_hist_new()}};
    int code = ENG_INTERNAL;

    if (!j.r.hist)
        cli_fail(cli, OUTLET_ENOMEM, TEXT_ERROR_INTERNAL, outlet_strerror(OUTLET_ENOMEM));
    else
        code = understand(&j);
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
