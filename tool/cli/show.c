/*
 * show.c - events as lines: for a terminal, for a pipe, for a program.
 *
 * Into a pipe go the received bytes and nothing else, so that "outlet connect" can stand in a
 * pipeline; everything told to people goes to standard error.  A newcomer's mistake: to show
 * received bytes as they are on a terminal, which would obey them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SHOW_MAX = 4096,         /* bytes of one message that a terminal is shown, unless -v */
    SCREEN_FULL = 64 * 1024, /* that a screen has not taken yet */
    DUMP_WIDTH = 16
};

static void
say_bytes(struct cli *cli, struct eng_bytes *line)
{
    eng_bytes_text(line, "\n");
    if (cli->out.before && isatty(STDERR_FILENO)) { /* a line is edited there */
        cli_out_add(&cli->out, line->data, line->len);
        eng_bytes_free(line);
        return;
    }
    /* There is nobody left to tell when standard error fails. */
    (void)fwrite(line->data, 1, line->len, stderr);
    eng_bytes_free(line);
}

/* Who speaks, before an error. */
static void
add_name(const struct cli *cli, struct eng_bytes *line)
{
    eng_bytes_printf(line, "%soutlet:%s ", cli_ink(cli->error_colours, INK_BAD),
                     cli_ink(cli->error_colours, INK_NONE));
}

void
cli_say_args(struct cli *cli, enum cli_text id, const char *const args[])
{
    struct eng_bytes line = {0};

    cli_format(cli->lang, id, args, &line);
    say_bytes(cli, &line);
}

void
cli_fail_args(struct cli *cli, outlet_err code, enum cli_text id, const char *const args[])
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_event event = {.kind = ENG_ERROR, .why = &why};
    struct eng_bytes line = {0};

    if (!cli->json) {
        add_name(cli, &line);
        cli_format(cli->lang, id, args, &line);
        say_bytes(cli, &line);
        return;
    }
    why.code = code;
    cli_format(CLI_EN, id, args, &line);
    eng_bytes_add(&line, "", 1);
    if (!line.failed) {
        struct eng_bytes json = {0};

        eng_json_event(&json, &event, ENG_FORM_AUTO, (const char *)line.data);
        cli_out_add(&cli->out, json.data, json.len);
        eng_bytes_free(&json);
    }
    eng_bytes_free(&line);
}

int
cli_usage_args(struct cli *cli, enum cli_text id, const char *const args[])
{
    cli_fail_args(cli, OUTLET_EINVAL, id, args);
    return ENG_USAGE;
}

/* ---- for programs ---- */

static void
show_json(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    struct eng_bytes line = {0};
    struct eng_bytes text = {0};
    enum eng_form form = cli->form == FORM_HEX    ? ENG_FORM_HEX
                         : cli->form == FORM_BOTH ? ENG_FORM_BOTH
                                                  : ENG_FORM_AUTO;

    if (cli->quiet && e->kind != ENG_MESSAGE && e->kind != ENG_ERROR)
        return;
    if (e->kind == ENG_ERROR) {
        cli_explain(CLI_EN, e->url, e->role, e->why, &text);
        eng_bytes_add(&text, "", 1);
    }
    eng_json_event(&line, e, form, text.len && !text.failed ? (const char *)text.data : NULL);
    if (!line.failed)
        cli_out_add(&cli->out, line.data, line.len);
    eng_bytes_free(&text);
    eng_bytes_free(&line);
}

/* ---- for people ---- */

static void
add_time(struct eng_bytes *line, const struct eng_event *e, bool colours)
{
    struct timespec now = {.tv_sec = e->ns / 1000000000, .tv_nsec = e->ns % 1000000000};
    struct tm tm;

    if (!e->ns)
        clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    eng_bytes_printf(line, "%s%02d:%02d:%02d.", cli_ink(colours, INK_DIM), tm.tm_hour, tm.tm_min,
                     tm.tm_sec);
    /* What was recorded is told apart in more detail than what comes as one looks at it. */
    if (e->ns)
        eng_bytes_printf(line, "%06ld", now.tv_nsec / 1000);
    else
        eng_bytes_printf(line, "%03ld", now.tv_nsec / 1000000);
    eng_bytes_printf(line, "%s  ", cli_ink(colours, INK_NONE));
}

static void
add_peer(struct eng_bytes *line, const struct cli *cli, const struct eng_event *e)
{
    const char *peer = e->sender ? e->sender : e->peer;
    char number[24];

    if (peer[0]) {
        eng_text_visible(line, (const uint8_t *)peer, strlen(peer));
        return;
    }
    snprintf(number, sizeof number, "%llu", (unsigned long long)e->id);
    cli_format(cli->lang, TEXT_A_CLIENT, (const char *const[CLI_ARGS]){number}, line);
}

/* 00000000  68 65 6c 6c 6f                                   |hello| */
static void
add_dump(struct eng_bytes *out, const uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len; at += DUMP_WIDTH) {
        size_t n = len - at < DUMP_WIDTH ? len - at : DUMP_WIDTH;

        eng_bytes_printf(out, "%08zx  ", at);
        eng_text_hex(out, bytes + at, n, " ");
        eng_bytes_printf(out, "%*s  |", (int)((DUMP_WIDTH - n) * 3), "");
        for (size_t i = 0; i < n; i++) {
            char c = bytes[at + i] >= ' ' && bytes[at + i] < 0x7f ? (char)bytes[at + i] : '.';

            eng_bytes_add(out, &c, 1);
        }
        eng_bytes_text(out, "|\n");
    }
}

/* So many bytes of decoded text as a terminal is shown: whole characters. */
static size_t
text_shown(const struct eng_event *e)
{
    size_t len = e->text_len < SHOW_MAX ? e->text_len : SHOW_MAX;

    while (len > 0 && len < e->text_len && (e->text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* Behind the payload: its checksum, and what it should have been. */
static void
add_check(struct eng_bytes *line, const struct cli *cli, const struct eng_event *e, bool colours)
{
    int digits = (int)e->sum->row->width / 4;
    char has[24];
    char want[24];

    snprintf(has, sizeof has, "%0*llx", digits, (unsigned long long)e->sum_has);
    snprintf(want, sizeof want, "%0*llx", digits, (unsigned long long)e->sum_want);
    eng_bytes_text(line, cli_ink(colours, e->check == ENG_GOOD ? INK_GOOD : INK_BAD));
    if (e->check == ENG_SHORT) {
        snprintf(has, sizeof has, "%zu", eng_sum_size(e->sum));
        cli_format(cli->lang, TEXT_CHECK_SHORT,
                   (const char *const[CLI_ARGS]){e->sum->row->name, has}, line);
    } else {
        cli_format(cli->lang, e->check == ENG_GOOD ? TEXT_CHECK_GOOD : TEXT_CHECK_BAD,
                   (const char *const[CLI_ARGS]){e->sum->row->name, has, want}, line);
    }
    eng_bytes_text(line, cli_ink(colours, INK_NONE));
}

static void
add_payload(struct eng_bytes *line, const struct cli *cli, const struct eng_event *e)
{
    size_t size = e->size - e->hidden;
    bool cut = cli->terminal && !cli->verbose && size > SHOW_MAX;
    size_t len = cut ? SHOW_MAX : size;

    if (cli->form == FORM_BOTH) {
        if (cli->terminal)
            eng_bytes_text(line, "\n");
        add_dump(line, e->bytes, len);
    } else if (cli->form == FORM_HEX) {
        eng_text_hex(line, e->bytes, len, " ");
    } else if (e->text) {
        len = cut ? size * text_shown(e) / (e->text_len ? e->text_len : 1) : size;
        eng_decoded_add(line, e->text, cut ? text_shown(e) : e->text_len, true);
    } else {
        eng_text_visible(line, e->bytes, len);
    }
    if (cut) {
        char left[32];

        eng_text_size(left, sizeof left, size - len);
        cli_format(cli->lang, TEXT_MORE_BYTES, (const char *const[CLI_ARGS]){left}, line);
    }
    if (cut || cli->form != FORM_BOTH)
        eng_bytes_text(line, "\n");
}

/* Into a pipe goes the payload alone; people are told elsewhere. */
static void
say_bad_check(struct cli_show *show, const struct eng_event *e)
{
    struct eng_bytes line = {0};

    if ((e->check != ENG_BAD && e->check != ENG_SHORT) || show->cli->quiet)
        return;
    add_peer(&line, show->cli, e);
    eng_bytes_text(&line, "  ");
    add_check(&line, show->cli, e, show->cli->error_colours);
    say_bytes(show->cli, &line);
}

/* Text in UTF-8 and nothing else; what could not be decoded as \xHH. */
static void
show_decoded(struct cli *cli, const struct eng_event *e)
{
    struct eng_bytes text = {0};

    eng_decoded_add(&text, e->text, e->text_len, false);
    if (!text.failed)
        cli_out_add(&cli->out, text.data, text.len);
    eng_bytes_free(&text);
}

/* The beginning of a character that never ended is told when the connection has. */
static void
show_rest(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    struct eng_bytes line = {0};

    if (e->text_len == 0)
        return;
    if (cli->form == FORM_DECODED)
        show_decoded(cli, e);
    if (cli->form != FORM_TEXT)
        return;
    if (cli->terminal) {
        add_time(&line, e, cli->colours);
        eng_bytes_text(&line, "\u2190 ");
        add_peer(&line, cli, e);
        eng_bytes_text(&line, "  ");
    }
    eng_decoded_add(&line, e->text, e->text_len, true);
    eng_bytes_text(&line, "\n");
    if (!line.failed)
        cli_out_add(&cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

void
cli_show_skipped(struct cli_show *show)
{
    struct cli *cli = show->cli;
    struct eng_bytes line = {0};
    char count[24];

    if (show->skipped == show->skipped_told || !cli->terminal || cli->json)
        return;
    snprintf(count, sizeof count, "%llu", (unsigned long long)(show->skipped - show->skipped_told));
    show->skipped_told = show->skipped;
    eng_bytes_text(&line, cli_ink(cli->colours, INK_DIM));
    cli_format(cli->lang, TEXT_NOT_SHOWN, (const char *const[CLI_ARGS]){count}, &line);
    eng_bytes_text(&line, cli_ink(cli->colours, INK_NONE));
    eng_bytes_text(&line, "\n");
    if (!line.failed)
        cli_out_add(&cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

/* Is this message left out? */
static bool
skip_message(struct cli_show *show)
{
    const struct cli_out *out = &show->cli->out;

    if (!show->skips)
        return false;
    if (out->queue.len - out->at > SCREEN_FULL) {
        show->skipped++;
        return true;
    }
    cli_show_skipped(show);
    return false;
}

static void
show_message(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    struct eng_bytes line = {0};
    char size[32];

    if (!cli->terminal)
        say_bad_check(show, e);
    if (cli->form == FORM_RAW) {
        if (!e->out)
            cli_out_add(&cli->out, e->bytes, e->size - e->hidden);
        return;
    }
    if (cli->form == FORM_DECODED) {
        if (!e->out)
            show_decoded(cli, e);
        return;
    }
    if (cli->terminal || cli->options.verb == CLI_RELAY) {
        eng_text_size(size, sizeof size, e->size);
        add_time(&line, e, cli->colours);
        eng_bytes_text(&line, cli_ink(cli->colours, e->out ? INK_OUT : INK_IN));
        eng_bytes_text(&line, e->out ? "\u2192 " : "\u2190 ");
        add_peer(&line, cli, e);
        eng_bytes_printf(&line, "%s  %s  ", cli_ink(cli->colours, INK_NONE), size);
        if (e->rule)
            eng_bytes_printf(&line, "%s[%s]%s%s  ", cli_ink(cli->colours, INK_DIM), e->rule,
                             e->stays ? cli_text(cli->lang, TEXT_STAYS) : "",
                             cli_ink(cli->colours, INK_NONE));
        if (e->check) {
            add_check(&line, cli, e, cli->colours);
            eng_bytes_text(&line, "  ");
        }
    } else if (e->out) {
        return;
    }
    add_payload(&line, cli, e);
    if (!line.failed)
        cli_out_add(&cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

/* Behind why it ended: what came and is shown nowhere. */
static void
add_discarded(struct eng_bytes *line, const struct cli *cli, const struct eng_event *e)
{
    char size[32];

    if (!e->discarded)
        return;
    eng_text_size(size, sizeof size, e->discarded);
    cli_format(cli->lang, TEXT_DISCARDED, (const char *const[CLI_ARGS]){size}, line);
}

static void
show_state(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    struct eng_bytes line = {0};
    /* Off a terminal it is told on standard error. */
    bool colours = cli->terminal ? cli->colours : cli->error_colours;
    bool broke = e->kind == ENG_CLOSE && e->why->code != OUTLET_OK;

    if (e->kind == ENG_CLOSE)
        show_rest(show, e);
    if (cli->quiet || !(cli->terminal || cli->verbose || (broke && e->aside)))
        return;
    add_time(&line, e, colours);
    eng_bytes_text(&line, cli_ink(colours, broke ? INK_BAD : INK_BOLD));
    eng_bytes_text(&line, e->kind == ENG_OPEN ? "+ " : "- ");
    add_peer(&line, cli, e);
    eng_bytes_text(&line, "  ");
    if (e->kind == ENG_OPEN) {
        eng_bytes_text(&line, cli_text(cli->lang, TEXT_OPENED));
    } else if (e->why->code == OUTLET_OK) {
        eng_bytes_text(&line,
                       cli_text(cli->lang, e->why->side == OUTLET_BY_PEER ? TEXT_CLOSED_BY_PEER
                                                                          : TEXT_CLOSED_BY_US));
    } else {
        cli_format(cli->lang, TEXT_CLOSED_BECAUSE, (const char *const[CLI_ARGS]){e->why->text},
                   &line);
    }
    add_discarded(&line, cli, e);
    eng_bytes_text(&line, cli_ink(colours, INK_NONE));
    /* On a terminal it belongs between the messages, in order; else people read it elsewhere. */
    if (!cli->terminal) {
        say_bytes(cli, &line);
        return;
    }
    eng_bytes_text(&line, "\n");
    cli_out_add(&cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

static void
show_listening(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    struct eng_url parts;
    char masked[4096];
    char open_url[512];

    if (cli->quiet)
        return;
    eng_url_masked(e->url, masked, sizeof masked);
    cli_say(cli, TEXT_LISTENING, masked, e->driver);
    if (!eng_url_split(e->url, OUTLET_TO_LISTEN, &parts) || !eng_url_is_loopback(&parts))
        return;
    snprintf(open_url, sizeof open_url, "%s://*:%d", parts.scheme, parts.port);
    if (cli->options.verb == CLI_RELAY)
        cli_say(cli, TEXT_ONLY_LOCAL, open_url, "relay", " ...");
    else
        cli_say(cli, TEXT_ONLY_LOCAL, open_url, "listen", "");
}

static void
show_error(struct cli_show *show, const struct eng_event *e)
{
    const struct cli *cli = show->cli;
    struct eng_bytes line = {0};

    if (e->aside && !cli->verbose && (cli->quiet || !cli->terminal))
        return;
    add_name(cli, &line);
    if (e->aside) {
        add_peer(&line, cli, e);
        eng_bytes_text(&line, ": ");
    }
    cli_explain(cli->lang, e->url, e->role, e->why, &line);
    add_discarded(&line, cli, e);
    say_bytes(show->cli, &line);
}

static void
show_rules(struct cli *cli, const struct eng_tallies *rules)
{
    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct eng_tally *row = eng_tallies_at(rules, i);
        char numbers[3][24];

        snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)row->counts.matches);
        snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)row->counts.replies);
        snprintf(numbers[2], sizeof numbers[2], "%llu", (unsigned long long)row->counts.gave_up);
        cli_say(cli, row->counts.gave_up ? TEXT_RULE_COUNTS_GAVE_UP : TEXT_RULE_COUNTS, row->name,
                numbers[0], numbers[1], numbers[2]);
    }
}

static void
show_summary(struct cli_show *show, const struct eng_event *e)
{
    struct cli *cli = show->cli;
    const struct eng_totals *t = e->totals;
    char numbers[4][24];
    char in[32];
    char out[32];
    char seconds[32];

    if (cli->quiet || !(show->signalled || cli->verbose || cli->terminal ||
                        cli->options.verb == CLI_LISTEN || cli->options.verb == CLI_RELAY))
        return;
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)t->connections);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)t->messages_in);
    snprintf(numbers[2], sizeof numbers[2], "%llu", (unsigned long long)t->messages_out);
    snprintf(numbers[3], sizeof numbers[3], "%llu", (unsigned long long)t->errors);
    eng_text_size(in, sizeof in, t->bytes_in);
    eng_text_size(out, sizeof out, t->bytes_out);
    snprintf(seconds, sizeof seconds, "%lld.%03d", (long long)(t->ms / 1000), (int)(t->ms % 1000));
    cli_say(cli, TEXT_SUMMARY, numbers[0], in, numbers[1], out, numbers[2], numbers[3], seconds);
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)t->dropped);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)t->skipped);
    if (t->dropped)
        cli_say(cli, TEXT_SUMMARY_DROPPED, numbers[0]);
    if (t->skipped)
        cli_say(cli, TEXT_SUMMARY_SKIPPED, numbers[1]);
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)t->overrun);
    if (t->overrun)
        cli_say(cli, TEXT_SUMMARY_OVERRUN, numbers[0]);
    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)t->refused);
    if (t->refused)
        cli_say(cli, TEXT_SUMMARY_REFUSED, numbers[0]);
    if (t->good || t->bad) {
        snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)t->good);
        snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)t->bad);
        cli_say(cli, TEXT_SUMMARY_CHECKS, numbers[0], numbers[1]);
    }
    show_rules(cli, e->rules);
}

static void
emit(struct eng_sink *sink, const struct eng_event *e)
{
    struct cli_show *show = (struct cli_show *)sink;

    if (e->kind != ENG_MESSAGE)
        cli_show_skipped(show); /* before what came after them */
    else if (skip_message(show))
        return;
    if (show->cli->json) {
        show_json(show, e);
    } else {
        switch (e->kind) {
        case ENG_LISTENING:
            show_listening(show, e);
            break;
        case ENG_OPEN:
        case ENG_CLOSE:
            show_state(show, e);
            break;
        case ENG_MESSAGE:
            show_message(show, e);
            break;
        case ENG_ERROR:
            show_error(show, e);
            break;
        case ENG_SUMMARY:
            show_summary(show, e);
            break;
        case ENG_DEMO:
            break; /* the demonstration has its own table */
        }
    }
    sink->busy = cli_out_is_full(&show->cli->out);
}

void
cli_show_init(struct cli_show *show, struct cli *cli)
{
    if (cli->form == FORM_DEFAULT)
        cli->form = cli->terminal || cli->json      ? FORM_TEXT
                    : cli->options.has[OPT_CHARSET] ? FORM_DECODED
                                                    : FORM_RAW;
    *show = (struct cli_show){.sink = {.emit = emit, .quiet_messages = cli->form == FORM_NONE},
                              .cli = cli};
}
