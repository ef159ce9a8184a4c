/*
 * load_options.c - the options of outlet load, as a description of a run.
 *
 * Files that will be written are opened here: hours of load are not to end with a path that is not
 * there.  A newcomer's mistake: to let a default hide a contradiction.  Options that exclude each
 * other are refused, also where one of them has its usual value.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE = 64,
    DEPTH_OPEN = 128, /* with --rate: under way on a connection before messages wait */
    TIME_MS = 5000,
    STEP_MS = 1000, /* of a search */
    WARM_MS = 200
};

static const char *
option(const struct load_job *j, enum cli_option id)
{
    return j->cli->options.has[id] ? j->cli->options.value[id] : NULL;
}

static bool
bad(struct load_job *j, enum cli_option id, const char *example)
{
    char name[40];

    snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    return cli_refuse(j->cli, id, 0, TEXT_USAGE_BAD_VALUE, name, j->cli->options.value[id],
                      example);
}

static bool
number(struct load_job *j, enum cli_option id, int64_t most, int64_t *out)
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
duration(struct load_job *j, enum cli_option id, int64_t *ms)
{
    const char *text = option(j, id);

    if (!text)
        return true;
    return (id == OPT_TIME ? eng_parse_duration(text, ms) : eng_parse_duration_or_none(text, ms)) ||
           cli_refuse_time(j->cli, (int)id, "500ms");
}

static bool
excluded(struct load_job *j, enum cli_option a, enum cli_option b)
{
    return !j->cli->options.has[a] || !j->cli->options.has[b] ||
           cli_refuse_pair(j->cli, (int)a, (int)b, TEXT_USAGE_EXCLUDE);
}

static bool
modes(struct load_job *j)
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
numbers(struct load_job *j)
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

/* One that is too long is refused with every other payload that is. */
static bool
read_file(struct load_job *j, const char *path)
{
    int error = eng_file_load(path, ENG_LOAD_SIZE_MAX, &j->payload);

    if (!error || error == EFBIG)
        return true;
    cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_FILE, path, strerror(error));
    return false;
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

/* What the pattern of load cannot have. */
static int
own_payload_only(struct load_job *j)
{
    if (!option(j, OPT_APPEND) && !option(j, OPT_CHARSET))
        return ENG_DONE;
    (void)cli_refuse(j->cli, option(j, OPT_APPEND) ? OPT_APPEND : OPT_CHARSET, 0,
                     TEXT_USAGE_OWN_PAYLOAD, option(j, OPT_APPEND) ? "--append" : "--charset");
    return j->cli->refusal; /* it says so */
}

static bool
own_payload(struct load_job *j)
{
    static const int given[] = {CLI_WORD_PAYLOAD, OPT_HEX, OPT_ESCAPE, OPT_BASE64};
    const struct cli_options *o = &j->cli->options;
    const char *charset;
    struct eng_sum *sum = NULL;

    if (!cli_payload_charset(j->cli, &charset) || !cli_payload_sum(j->cli, OPT_APPEND, &sum))
        return false;
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        bool is = given[i] < CLI_OPTIONS ? o->has[given[i]] : o->word_count > 1;

        if (is && !cli_payload_bytes(j->cli, given[i], charset, &j->payload)) {
            eng_free(sum);
            return false;
        }
    }
    eng_seal(&j->payload, sum, "");
    eng_free(sum);
    return true;
}

static bool
is_one_payload(struct load_job *j)
{
    static const int kinds[] = {OPT_HEX, OPT_ESCAPE, OPT_FILE, OPT_BASE64, OPT_SIZE};
    int before = j->cli->options.word_count > 1 ? CLI_WORD_PAYLOAD : -1;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!j->cli->options.has[kinds[i]])
            continue;
        if (before >= 0)
            return cli_refuse_pair(j->cli, before, kinds[i], TEXT_USAGE_ONE_LOAD);
        before = kinds[i];
    }
    return true;
}

/* 0, or the exit code. */
static int
payload(struct load_job *j)
{
    const struct cli_options *o = &j->cli->options;
    const char *word = o->word_count > 1 ? o->words[1] : NULL;
    const char *size = option(j, OPT_SIZE);
    int64_t n = usual_size(j->opts.url);

    if (!is_one_payload(j))
        return j->cli->refusal;
    if (size && !eng_load_size_parse(size, &n)) {
        (void)bad(j, OPT_SIZE, "1..16M"); /* it says so */
        return j->cli->refusal;
    }
    j->opts.size = (size_t)n;
    j->opts.check = !o->has[OPT_NO_CHECK];
    if (!word && !o->has[OPT_HEX] && !o->has[OPT_ESCAPE] && !o->has[OPT_FILE] &&
        !o->has[OPT_BASE64])
        return own_payload_only(j);
    if (o->has[OPT_FILE] && !read_file(j, o->value[OPT_FILE]))
        return ENG_FILE;
    if (!own_payload(j))
        return j->cli->refusal;
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
rules(struct load_job *j)
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
            if (j->rule_count == LOAD_RULES ||
                !eng_load_rule_parse(text, &j->rules[j->rule_count])) {
                return cli_refuse(j->cli, OPT_REQUIRE, (size_t)(at - o->list[i]),
                                  TEXT_USAGE_BAD_VALUE, "--require", text,
                                  "'p99<2ms', 'rate>50000', 'errors=0'");
            }
            j->rule_count++;
            at += len + (at[len] == ',');
        }
    }
    return true;
}

static bool
open_file(struct load_job *j, enum cli_option id, FILE **out)
{
    const char *path = option(j, id);

    if (!path)
        return true;
    *out = fopen(path, "we");
    if (*out)
        return true;
    cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_WRITE, path, strerror(errno));
    return false;
}

/* A payload of the user's own that the URL cannot carry; the size of a pattern is judged when it is
 * sent. */
static bool
carries(struct load_job *j)
{
    struct eng_url u;
    char why[160];
    char name[40] = "TEXT";
    int id = cli_payload_id(j->cli);

    if (!j->opts.payload || !eng_url_split(j->opts.url, OUTLET_TO_CONNECT, &u) ||
        !eng_carry_refuses(&u, j->opts.url, j->opts.payload, j->opts.size, why, sizeof why))
        return true;
    if (id < CLI_OPTIONS)
        snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    return cli_refuse(j->cli, id, 0, TEXT_ERROR_PLAIN, name, why);
}

int
cli_load_options(struct load_job *j)
{
    const char *driver = getenv("OUTLET_DRIVER");
    int code;

    if (j->cli->options.word_count == 0)
        return cli_usage_no_url(j->cli, TEXT_USAGE_NO_URL);
    if (driver && strcmp(driver, "sim") == 0)
        return cli_usage(j->cli, TEXT_USAGE_DRIVER, driver);
    j->opts.url = j->cli->options.words[0];
    if (!cli_refuse_url(j->cli, 0, OUTLET_TO_CONNECT) || !modes(j) || !numbers(j) || !rules(j))
        return j->cli->refusal;
    code = payload(j);
    if (!code && !carries(j))
        code = j->cli->refusal;
    if (!code && (!open_file(j, OPT_PLOT, &j->plot) || !open_file(j, OPT_HIST, &j->hist)))
        code = ENG_FILE;
    if (!code && !cli_preset_save(j->cli))
        code = j->cli->refusal;
    return code;
}
