/*
 * replay.c - outlet replay FILE URL
 *
 * The file is read twice: once to see that it is whole, before anything is sent, and once to send
 * it.  A newcomer's mistake: to send what is whole of a damaged file.  Half of a conversation with
 * a device may be worse than none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include "engine/replay.h"

#include <string.h>
#include <unistd.h>

enum { FINISH_MS = 1000 };

struct run {
    struct cli *cli;
    struct cli_show show;
    outlet_loop *loop;
    struct eng_replay *replay;
    enum eng_result result;
    bool ended;
    int signal_fd;
    int signals;
    outlet_watch signal_watch;
};

/* ---- options ---- */

static bool
parse_options(struct cli *cli, struct eng_replay_opts *opts)
{
    const struct cli_options *o = &cli->options;
    const char *side = o->value[OPT_SIDE];

    opts->url = o->words[1];
    opts->speed = 1;
    opts->expect = o->has[OPT_SAME];
    opts->side_in = o->has[OPT_SIDE] && strcmp(side, "in") == 0;
    if (o->has[OPT_SIDE] && !opts->side_in && strcmp(side, "out") != 0)
        return cli_refuse(cli, OPT_SIDE, 0, TEXT_USAGE_BAD_VALUE, "--side", side,
                          cli_option_infos[OPT_SIDE].argument);
    if (o->has[OPT_SPEED] && !eng_parse_speed(o->value[OPT_SPEED], &opts->speed))
        return cli_refuse(cli, OPT_SPEED, 0, TEXT_USAGE_BAD_VALUE, "--speed", o->value[OPT_SPEED],
                          "1x, 2x, 0.5x, max");
    if (o->has[OPT_PATIENCE] && !eng_parse_duration(o->value[OPT_PATIENCE], &opts->wait_ms))
        return cli_refuse_time(cli, OPT_PATIENCE, "500ms");
    return cli_filter_options(cli, &opts->filter, NULL);
}

/* What the filters let through. */
struct selection {
    struct eng_record_filter filter;
    struct eng_record_filter of_conns; /* the part of it that is about connections */
    uint64_t records;                  /* of these connections */
    uint64_t messages;
    uint64_t left_out; /* of their messages */
};

static void
select_record(struct selection *s, const struct eng_record *r)
{
    bool wanted = eng_record_wanted(&s->filter, r);

    if (!r->conn || !eng_record_wanted(&s->of_conns, r))
        return;
    s->records++;
    if (r->kind == ENG_RECORD_MESSAGE)
        *(wanted ? &s->messages : &s->left_out) += 1;
}

/* A test that compares nothing would pass for ever. */
static int
judge_selection(struct cli *cli, const char *path, const struct selection *s)
{
    const bool *has = cli->options.has;

    if (s->records && (s->messages || !s->left_out))
        return ENG_DONE;
    if (has[OPT_SAME] || has[OPT_ID] || has[OPT_PEER] || has[OPT_AFTER] || has[OPT_BEFORE])
        return cli_usage(cli, TEXT_REPLAY_NOTHING_SELECTED, path);
    if (!cli->json && !cli->quiet)
        cli_say(cli, TEXT_REPLAY_NOTHING_SELECTED, path);
    return ENG_DONE;
}

/* Nothing is sent unless all of it can be. */
static int
check_file(struct cli *cli, const char *path, const struct eng_record_filter *filter)
{
    struct eng_reader *reader = cli_reader_open(cli, path);
    struct selection selection = {
        .filter = *filter,
        .of_conns = {.id = filter->id, .peer = filter->peer, .size_most = SIZE_MAX}};
    struct eng_record record;
    struct eng_damage damage;
    enum eng_read got;
    int code;

    if (!reader)
        return cli->refusal;
    for (;;) {
        got = eng_reader_next(reader, &record, &damage);
        if (got != ENG_READ_RECORD)
            break;
        select_record(&selection, &record);
    }
    if (got == ENG_READ_FAILED)
        cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_RECORDING, path, strerror(eng_reader_error(reader)));
    if (got == ENG_READ_DAMAGE) {
        cli_say_damage(cli, path, &damage);
        if (!damage.other)
            cli_fail(cli, OUTLET_EPROTO, TEXT_REPLAY_DAMAGED, path);
    }
    code = got == ENG_READ_END ? judge_selection(cli, path, &selection) : ENG_FILE;
    eng_reader_close(reader);
    return code;
}

/* ---- running ---- */

static enum cli_text
text_of(enum eng_difference_kind kind)
{
    switch (kind) {
    case ENG_OTHER_LENGTH:
        return TEXT_REPLAY_LENGTH;
    case ENG_MISSING:
        return TEXT_REPLAY_MISSING;
    case ENG_TOO_MUCH:
        return TEXT_REPLAY_TOO_MUCH;
    case ENG_ENDED_EARLY:
        return TEXT_REPLAY_EARLY;
    case ENG_SAME:
    case ENG_OTHER_BYTES:
        break;
    }
    return TEXT_REPLAY_OTHER;
}

static void
add_bytes(const struct cli *cli, struct eng_bytes *out, const uint8_t *bytes, size_t len)
{
    if (len)
        eng_text_hex(out, bytes, len, " ");
    else
        eng_bytes_text(out, cli_text(cli->json ? CLI_EN : cli->lang, TEXT_REPLAY_NOTHING));
    eng_bytes_add(out, "", 1);
}

static void
say_difference(struct cli *cli, const struct eng_difference *d)
{
    struct eng_bytes want = {0};
    struct eng_bytes got = {0};
    char numbers[3][24];

    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)d->id);
    snprintf(numbers[1], sizeof numbers[1], "%llu",
             (unsigned long long)d->message - (d->kind == ENG_TOO_MUCH));
    snprintf(numbers[2], sizeof numbers[2], "%llu", (unsigned long long)d->offset);
    add_bytes(cli, &want, d->want, d->want_len);
    add_bytes(cli, &got, d->got, d->got_len);
    cli_fail(cli, OUTLET_EPROTO, text_of(d->kind), numbers[0], numbers[1], numbers[2],
             want.failed ? "" : (const char *)want.data, got.failed ? "" : (const char *)got.data);
    eng_bytes_free(&want);
    eng_bytes_free(&got);
}

static void
replay_ended(void *user, enum eng_result result, const struct eng_difference *difference)
{
    struct run *run = user;

    run->ended = true;
    run->result = result;
    if (difference)
        say_difference(run->cli, difference);
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
    if (run->signals++ == 0)
        eng_replay_stop(run->replay, ENG_DONE);
    else
        outlet_loop_stop(run->loop); /* asked twice: at once */
}

static void
output_flow(void *arg)
{
    struct run *run = arg;

    if (run->ended)
        return;
    run->show.sink.busy = cli_out_is_full(&run->cli->out);
    if (run->cli->out.broken)
        eng_replay_stop(run->replay, ENG_DONE);
    else
        eng_replay_flow(run->replay);
}

static void
output_changed(void *arg)
{
    struct run *run = arg;

    if (run->replay && !run->ended && outlet_post(run->loop, output_flow, run) != OUTLET_OK)
        output_flow(run);
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

static int
replay_work(struct run *run, struct eng_replay_opts *opts)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_totals totals;
    outlet_err err;

    opts->sink = &run->show.sink;
    opts->ended = replay_ended;
    opts->user = run;
    run->cli->out.loop = run->loop;
    run->cli->out.changed = output_changed;
    run->cli->out.arg = run;
    run->result = eng_replay_start(run->loop, opts, &run->replay, &why);
    if (run->result) {
        run->show.sink.emit(&run->show.sink, &(struct eng_event){.kind = ENG_ERROR,
                                                                 .url = opts->url,
                                                                 .role = OUTLET_TO_CONNECT,
                                                                 .why = &why});
        return (int)run->result;
    }
    do {
        cli_out_flush(&run->cli->out);
        err = outlet_loop_turn(run->loop, -1);
    } while (!err);
    if (err != OUTLET_ESTATE) {
        cli_fail(run->cli, err, TEXT_ERROR_INTERNAL, outlet_strerror(err));
        run->result = ENG_INTERNAL;
    }
    eng_replay_totals(run->replay, &totals);
    run->show.sink.emit(
        &run->show.sink,
        &(struct eng_event){.kind = ENG_SUMMARY, .totals = &totals, .result = run->result});
    return (int)run->result;
}

static int
run_replay(struct cli *cli, struct eng_replay_opts *opts)
{
    struct run run = {.cli = cli, .signal_fd = -1};
    int code = cli_loop_open(cli, &run.loop);

    if (code)
        return code;
    cli_show_init(&run.show, cli);
    code = signals_open(&run);
    if (!code)
        code = replay_work(&run, opts);
    cli_out_finish(&cli->out, run.signals ? FINISH_MS : -1, run.signal_fd);
    if (run.signals)
        cli_out_drop(&cli->out);      /* whoever was asked to end must not wait for it once more */
    (void)outlet_loop_free(run.loop); /* this thread turned it, and we are in no callback */
    eng_replay_free(run.replay);
    if (run.signal_fd >= 0)
        close(run.signal_fd);
    return code;
}

int
cli_replay(struct cli *cli)
{
    struct eng_replay_opts opts = {0};
    int code;

    if (cli->options.word_count < 2)
        return cli_usage_no_url(cli, TEXT_USAGE_FILE_URL);
    if (!parse_options(cli, &opts))
        return cli->refusal;
    if (strcmp(cli->options.words[0], "-") == 0)
        return cli_usage(cli, TEXT_USAGE_REPLAY_INPUT, NULL);
    code = check_file(cli, cli->options.words[0], &opts.filter);
    if (code)
        return code;
    opts.reader = cli_reader_open(cli, cli->options.words[0]);
    if (!opts.reader)
        return cli->refusal;
    code = run_replay(cli, &opts);
    eng_reader_close(opts.reader);
    return code;
}
