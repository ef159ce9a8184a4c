/*
 * session.c - run a session of the engine: options into a description, the loop, signals, the exit
 * code.
 *
 * SPDX-License-Identifier: MIT
 */
#include "line.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FINISH_MS = 1000 }; /* after a signal: how long a slow reader of our output is waited for */

/* ---- options ---- */

static bool
parse_number(struct cli *cli, enum cli_option id, int64_t *out)
{
    const char *text = cli->options.value[id];

    if (!cli->options.has[id])
        return true;
    if (id == OPT_COUNT ? eng_parse_count(text, out) : eng_parse_duration(text, out))
        return true;
    return id == OPT_COUNT
               ? cli_refuse(cli, (int)id, 0, TEXT_USAGE_BAD_VALUE, "--count", text, "10")
               : cli_refuse_time(cli, (int)id, "500ms");
}

bool
cli_parse_time(struct cli *cli, int64_t *ms)
{
    return parse_number(cli, OPT_TIME, ms);
}

static bool
parse_repetition(struct cli *cli, struct eng_session_opts *opts)
{
    const bool *has = cli->options.has;
    bool repeats = has[OPT_EVERY] || has[OPT_COUNT];

    if (!parse_number(cli, OPT_EVERY, &opts->every_ms) ||
        !parse_number(cli, OPT_COUNT, &opts->count) ||
        !parse_number(cli, has[OPT_WAIT] ? OPT_WAIT : OPT_TIME, &opts->time_ms))
        return false;
    if (repeats && opts->payload != ENG_PAYLOAD_BYTES && opts->payload != ENG_PAYLOAD_FILE) {
        return cli_refuse(cli, has[OPT_EVERY] ? OPT_EVERY : OPT_COUNT, 0,
                          TEXT_USAGE_NOTHING_TO_REPEAT, has[OPT_EVERY] ? "--every" : "--count");
    }
    return true;
}

static bool
parse_rule(struct cli *cli, struct eng_session_opts *opts)
{
    static const int rules[] = {OPT_ECHO, OPT_REPLY, OPT_REPLY_HEX, OPT_DISCARD};
    const struct cli_options *o = &cli->options;
    int before = -1;

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (o->has[rules[i]] && before >= 0)
            return cli_refuse_pair(cli, before, rules[i], TEXT_USAGE_ONE_RULE);
        if (o->has[rules[i]])
            before = rules[i];
    }
    if (o->has[OPT_ECHO])
        opts->rule = ENG_RULE_ECHO;
    if (o->has[OPT_DISCARD]) {
        opts->rule = ENG_RULE_DISCARD;
        if (!cli->json)
            cli->form = FORM_NONE;
    }
    if (o->has[OPT_REPLY] || o->has[OPT_REPLY_HEX])
        opts->rule = ENG_RULE_REPLY;
    return true;
}

static bool
parse_expectation(struct cli *cli, struct eng_session_opts *opts)
{
    const struct cli_options *o = &cli->options;

    if (o->has[OPT_EXPECT] && o->has[OPT_EXPECT_HEX])
        return cli_refuse_pair(cli, OPT_EXPECT, OPT_EXPECT_HEX, TEXT_USAGE_ONE_EXPECT);
    if (o->has[OPT_EXPECT] && !cli_payload_bytes(cli, OPT_EXPECT, opts->charset, &opts->expect))
        return false;
    if (o->has[OPT_EXPECT_HEX] && !cli_payload_bytes(cli, OPT_EXPECT_HEX, NULL, &opts->expect))
        return false;
    if ((o->has[OPT_EXPECT] || o->has[OPT_EXPECT_HEX]) && opts->expect.len == 0)
        return cli_refuse(cli, o->has[OPT_EXPECT] ? OPT_EXPECT : OPT_EXPECT_HEX, 0,
                          TEXT_USAGE_EMPTY_EXPECT,
                          o->has[OPT_EXPECT] ? "--expect" : "--expect-hex");
    return true;
}

bool
cli_session_options(struct cli *cli, struct eng_session_opts *opts)
{
    if (cli->options.word_count == 0) {
        cli->refusal = cli_usage_no_url(cli, TEXT_USAGE_NO_URL);
        return false;
    }
    opts->url = cli->options.words[0];
    opts->once = cli->options.has[OPT_ONCE];
    opts->input = STDIN_FILENO;
    return cli_refuse_url(cli, 0, opts->role) && parse_rule(cli, opts) &&
           cli_payload_options(cli, opts) && parse_repetition(cli, opts) &&
           parse_expectation(cli, opts) && cli_rules_options(cli, opts);
}

void
cli_session_options_free(struct eng_session_opts *opts)
{
    eng_bytes_free(&opts->bytes);
    eng_bytes_free(&opts->reply);
    eng_bytes_free(&opts->expect);
    eng_template_free(opts->payload_template);
    eng_template_free(opts->reply_template);
    eng_free(opts->append);
    eng_free(opts->verify);
    eng_rules_free(opts->rules);
}

/* ---- running ---- */

struct run {
    struct cli *cli;
    struct cli_show show;
    outlet_loop *loop;
    struct eng_session *session;
    enum eng_result result;
    bool ended;
    int signal_fd;
    int signals; /* how many came */
    struct eng_recorder *recorder;
    const char *record_path;
    char saved[PATH_MAX]; /* of /save */
    bool record_failed;   /* and it was said */
    bool record_lacks;    /* so did some recording: the end is a 7 at best */
    outlet_watch signal_watch;
    struct cli_talk *talk; /* NULL: nobody sits at a line that is edited */
};

static void
log_line(void *user, enum outlet_log_level level, const char *line)
{
    static const char *const names[] = {"", "error", "warning", "info", "debug"};
    const struct cli *cli = user;
    struct eng_bytes said = {0};

    cli_said(cli->json ? CLI_EN : cli->lang, line, &said);
    eng_bytes_add(&said, "", 1);
    fprintf(stderr, "outlet: %s: %s\n", names[level], said.failed ? line : (const char *)said.data);
    eng_bytes_free(&said);
}

static void
session_ended(void *user, enum eng_result result)
{
    struct run *run = user;

    run->ended = true;
    run->result = result;
    outlet_loop_stop(run->loop);
}

/* Asked twice. */
static void
end_at_once(struct run *run)
{
    eng_session_abort(run->session, ENG_DONE);
    outlet_loop_stop(run->loop);
}

static void
signal_came(outlet_watch w, int events, void *arg)
{
    struct run *run = arg;

    (void)w;
    (void)events;
    if (!cli_signals_read(run->signal_fd))
        return;
    run->show.signalled = true;
    if (run->signals++ > 0)
        end_at_once(run);
    else if (!run->talk || !cli_talk_quit(run->talk))
        eng_session_finish(run->session, ENG_DONE);
}

static void
output_flow(void *arg)
{
    struct run *run = arg;

    if (run->ended)
        return;
    run->show.sink.busy = cli_out_is_full(&run->cli->out);
    cli_show_skipped(&run->show);
    if (run->cli->out.broken)
        eng_session_stop(run->session, ENG_DONE);
    else
        eng_session_flow(run->session);
}

/* Perhaps between two turns, where every call of the library would go through the mailbox. */
static void
output_changed(void *arg)
{
    struct run *run = arg;

    if (run->session && !run->ended && outlet_post(run->loop, output_flow, run) != OUTLET_OK)
        output_flow(run);
}

/* Somebody came, left, or has room again. */
static void
clients_changed(void *arg)
{
    struct run *run = arg;

    if (run->talk && run->session)
        cli_talk_flow(run->talk);
}

/* ---- recording ---- */

static void
say_record_failed(struct run *run, int error)
{
    if (error && !run->record_failed)
        cli_fail(run->cli, OUTLET_ESYS, TEXT_ERROR_RECORD_STOPPED, run->record_path,
                 strerror(error));
    run->record_failed = error != 0;
    run->record_lacks |= run->record_failed;
}

static void
record_flow(void *arg)
{
    struct run *run = arg;

    if (run->ended)
        return;
    say_record_failed(run, eng_recorder_error(run->recorder));
    eng_session_flow(run->session);
}

/* In the recorder's thread. */
static void
record_changed(void *arg)
{
    struct run *run = arg;

    if (outlet_post(run->loop, record_flow, run) != OUTLET_OK)
        return; /* the loop has ended; how the recorder ends is looked at anyway */
}

/* Into a pipe goes the recording and nothing else, for Wireshark or another outlet. */
static bool
record_to_output(struct cli *cli)
{
    const char *path = cli->options.value[OPT_RECORD];

    if (!cli->options.has[OPT_RECORD] || strcmp(path, "-") != 0)
        return true;
    if (cli->json)
        return cli_refuse(cli, OPT_RECORD, 0, TEXT_USAGE_EXCLUDE, "--record -", "--json");
    if (cli->form != FORM_DEFAULT && cli->form != FORM_NONE)
        return cli_refuse(cli, OPT_RECORD, 0, TEXT_USAGE_EXCLUDE, "--record -", "-o");
    if (isatty(STDOUT_FILENO))
        return cli_refuse(cli, OPT_RECORD, 0, TEXT_USAGE_RECORD_TERMINAL, NULL);
    cli->form = FORM_NONE;
    return true;
}

/* Why it cannot be written, as a sentence of {0} the path and {1} what the system says. */
static enum cli_text
record_refusal(const char *path, int error)
{
    struct stat st;

    return error == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode) ? TEXT_ERROR_RECORD_PIPE
                                                                          : TEXT_ERROR_RECORD;
}

static int
record_open(struct run *run, struct eng_session_opts *opts)
{
    struct cli *cli = run->cli;
    const char *path = cli->options.value[OPT_RECORD];
    enum eng_record_format format;
    int error = 0;

    if (!cli->options.has[OPT_RECORD])
        return ENG_DONE;
    if (strcmp(path, "-") == 0) {
        format = ENG_RECORD_PCAP;
    } else if (!eng_record_format_of(path, &format)) {
        cli_refuse(cli, OPT_RECORD, 0, TEXT_USAGE_RECORD, "--record", path);
        return cli->refusal;
    }
    run->recorder = eng_recorder_open(path, format, record_changed, run, &error);
    if (!run->recorder) {
        cli_fail(cli, OUTLET_ESYS, record_refusal(path, error), path, strerror(error));
        return ENG_FILE;
    }
    run->record_path = path;
    opts->recorder = run->recorder;
    run->show.skips = cli->terminal || strncmp(opts->url, "udp:", 4) == 0;
    return ENG_DONE;
}

/* What waits is written now; a disk that was full makes the best end a 7. */
static void
record_close(struct run *run)
{
    struct stat st;
    bool may_stand_still;

    if (!run->recorder)
        return;
    /* Who reads a pipe may never read on. */
    may_stand_still = stat(run->record_path, &st) != 0 || !S_ISREG(st.st_mode);
    if (may_stand_still)
        cli_signals_end_it(true);
    say_record_failed(run, eng_recorder_close(run->recorder));
    if (may_stand_still)
        cli_signals_end_it(false);
    run->recorder = NULL;
    if (run->record_lacks && run->result == ENG_DONE)
        run->result = ENG_FILE;
}

/* What somebody at the line asks for.  One that has failed makes place for another. */
static void
record_save(void *arg, const char *path)
{
    struct run *run = arg;
    struct cli *cli = run->cli;
    enum eng_record_format format;
    struct eng_recorder *recorder = NULL;
    int error = 0;

    if (run->recorder && !eng_recorder_error(run->recorder)) {
        cli_say(cli, TEXT_TALK_SAVES, run->record_path);
        return;
    }
    if (!eng_record_format_of(path, &format)) {
        cli_say(cli, TEXT_USAGE_RECORD, "/save", path);
        return;
    }
    if (strlen(path) >= sizeof run->saved)
        error = ENAMETOOLONG;
    else
        recorder = eng_recorder_open(path, format, record_changed, run, &error);
    if (!recorder) {
        cli_say(cli, record_refusal(path, error), path, strerror(error));
        return;
    }
    if (run->recorder)
        say_record_failed(run, eng_recorder_close(run->recorder));
    run->record_failed = false;
    snprintf(run->saved, sizeof run->saved, "%s", path);
    run->record_path = run->saved;
    run->recorder = recorder;
    run->show.skips = true;
    eng_session_record(run->session, recorder);
    cli_say(cli, TEXT_TALK_SAVING, path);
}

int
cli_loop_open(struct cli *cli, outlet_loop **loop)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    const char *driver = getenv("OUTLET_DRIVER");
    outlet_err err;

    if (cli->verbose)
        opts.log = log_line;
    opts.log_user = cli;
    if (driver && strcmp(driver, "sim") == 0)
        return cli_usage(cli, TEXT_USAGE_DRIVER, driver);
    err = outlet_loop_new(loop, &opts);
    if (err == OUTLET_EINVAL && driver)
        return cli_usage(cli, TEXT_USAGE_DRIVER, driver);
    if (err) {
        cli_fail(cli, err, TEXT_ERROR_INTERNAL, outlet_strerror(err));
        return ENG_INTERNAL;
    }
    return ENG_DONE;
}

static int
signals_open(struct run *run)
{
    outlet_err err = OUTLET_ESYS;

    run->signal_fd = cli_signals_open();
    if (run->signal_fd >= 0)
        err = outlet_watch_start(run->loop, run->signal_fd, OUTLET_READABLE, signal_came, run,
                                 &run->signal_watch);
    if (!err)
        return ENG_DONE;
    cli_fail(run->cli, err, TEXT_ERROR_INTERNAL, outlet_strerror(err));
    return ENG_INTERNAL;
}

/* Turn until the session has ended.  What a turn wrote leaves together, after it. */
static void
work(struct run *run)
{
    outlet_err err;

    for (;;) {
        if (run->talk && !run->ended)
            cli_talk_show(run->talk);
        cli_out_flush(&run->cli->out);
        err = outlet_loop_turn(run->loop, -1);
        if (err)
            break;
    }
    if (err != OUTLET_ESTATE) {
        cli_fail(run->cli, err, TEXT_ERROR_INTERNAL, outlet_strerror(err));
        run->result = ENG_INTERNAL;
    }
}

static void
tell_summary(struct run *run)
{
    struct eng_totals totals;
    struct eng_tallies rules;
    struct eng_event event = {
        .kind = ENG_SUMMARY, .totals = &totals, .result = run->result, .rules = &rules};

    eng_session_totals(run->session, &totals);
    cli_show_skipped(&run->show);
    totals.skipped = run->show.skipped;
    eng_session_tallies(run->session, &rules);
    run->show.sink.emit(&run->show.sink, &event);
    eng_tallies_free(&rules);
}

/* Why it was not done, where no event has said so. */
static void
tell_result(struct run *run, const struct eng_session_opts *opts)
{
    struct eng_totals totals;
    char bad[24];
    char unsent[32];
    char masked[4096];

    eng_session_totals(run->session, &totals);
    snprintf(bad, sizeof bad, "%llu", (unsigned long long)totals.bad);
    eng_text_size(unsent, sizeof unsent, totals.unsent);
    eng_url_masked(opts->url, masked, sizeof masked);
    if (totals.unsent)
        cli_fail(run->cli, OUTLET_ETIMEDOUT, TEXT_ERROR_UNSENT, unsent);
    if (run->result == ENG_UNMET && totals.bad)
        cli_fail(run->cli, OUTLET_EPROTO, TEXT_ERROR_CHECKS, bad, opts->verify->row->name);
    else if (run->result == ENG_UNMET)
        cli_fail(run->cli, OUTLET_ETIMEDOUT, TEXT_ERROR_UNMET, NULL);
    else if (run->result == ENG_TIMED_OUT && opts->answer && !totals.errors && !totals.unsent)
        cli_fail(run->cli, OUTLET_ETIMEDOUT, TEXT_ERROR_NO_ANSWER, masked);
}

static int
session_work(struct run *run, struct eng_session_opts *opts)
{
    struct outlet_reason why = OUTLET_REASON;

    run->result = (enum eng_result)record_open(run, opts);
    if (run->result)
        return (int)run->result;
    opts->sink = &run->show.sink;
    opts->ended = session_ended;
    opts->user = run;
    run->cli->out.loop = run->loop;
    run->cli->out.changed = output_changed;
    run->cli->out.arg = run;
    opts->ready = clients_changed;
    if (opts->payload == ENG_PAYLOAD_INPUT && opts->input_person &&
        run->cli->options.word_count < 2 && cli_line_is_possible(run->cli))
        run->talk = cli_talk_open(run->cli, run->loop, opts);
    run->result = eng_session_start(run->loop, opts, &run->session, &why);
    if (run->result) {
        struct eng_event event = {
            .kind = ENG_ERROR, .url = opts->url, .role = opts->role, .why = &why};

        cli_talk_close(run->talk);
        run->talk = NULL;
        if (run->result == ENG_FILE) {
            event.url = NULL;
        } else if (opts->to && run->result == ENG_USAGE &&
                   outlet_url_check(opts->url, opts->role, NULL) == OUTLET_OK) {
            event.url = opts->to; /* so it is that one */
            event.role = OUTLET_TO_CONNECT;
        }
        run->show.sink.emit(&run->show.sink, &event);
        record_close(run);
        return (int)run->result;
    }
    opts->rules = NULL; /* the session's now */
    if (run->cli->out.broken)
        eng_session_stop(run->session, ENG_DONE);
    if (run->talk)
        cli_talk_begin(run->talk, run->session, record_save, run);
    work(run);
    cli_talk_close(run->talk);
    run->talk = NULL;
    record_close(run);
    tell_result(run, opts);
    tell_summary(run);
    return (int)run->result;
}

/* What cannot be sent is refused before anything is opened. */
static bool
carries(struct cli *cli, const struct eng_session_opts *opts)
{
    char why[160];
    char name[40] = "TEXT";
    bool reply;
    int id;

    if (opts->to || eng_session_carries(opts, &reply, why, sizeof why))
        return true;
    id = !reply ? cli_payload_id(cli) : cli->options.has[OPT_REPLY_HEX] ? OPT_REPLY_HEX : OPT_REPLY;
    if (id < CLI_OPTIONS)
        snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    else if (strcmp(cli->options.words[1], "-") == 0)
        snprintf(name, sizeof name, "-");
    return cli_refuse(cli, id, 0, TEXT_ERROR_PLAIN, name, why);
}

int
cli_run_session(struct cli *cli, struct eng_session_opts *opts)
{
    struct run run = {.cli = cli, .signal_fd = -1};
    int code;

    if (!carries(cli, opts) || !cli_preset_save(cli)) /* saved when the command line is right */
        return cli->refusal;
    if (!record_to_output(cli))
        return cli->refusal;
    cli_show_init(&run.show, cli);
    code = cli_loop_open(cli, &run.loop);
    if (code)
        return code;
    code = signals_open(&run);
    if (!code)
        code = session_work(&run, opts);
    cli_out_finish(&cli->out, run.signals ? FINISH_MS : -1, run.signal_fd);
    if (run.signals)
        cli_out_drop(&cli->out);      /* whoever was asked to end must not wait for it once more */
    (void)outlet_loop_free(run.loop); /* this thread turned it, and we are in no callback */
    eng_session_free(run.session);
    if (run.signal_fd >= 0)
        close(run.signal_fd);
    return code;
}
