/*
 * recording.c - outlet show FILE: a recording as lines, as JSON, as bytes, or as another file.
 *
 * It needs no loop: what is shown waits for whoever reads.  A newcomer's mistake: to end at the
 * first damage.  Each is said with its place, what is whole is shown, and only then it ends with 7.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DAMAGES_MAX = 10, /* of which each is said */
    WRITE_AT_ONCE = 256 * 1024
};

/* ---- which records ---- */

static bool
parse_filter_number(struct cli *cli, struct eng_record_filter *f)
{
    const char *text = cli->options.value[OPT_ID];
    int64_t id;

    if (!cli->options.has[OPT_ID])
        return true;
    if (!eng_parse_count(text, &id))
        return cli_refuse(cli, OPT_ID, 0, TEXT_USAGE_BAD_VALUE, "--id", text, "1");
    f->id = (uint64_t)id;
    return true;
}

static bool
parse_when(struct cli *cli, enum cli_option id, struct eng_when *out)
{
    const char *text = cli->options.value[id];
    char name[40];

    if (!cli->options.has[id] || eng_parse_when(text, out))
        return true;
    snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    return cli_refuse(cli, (int)id, 0, TEXT_USAGE_BAD_VALUE, name, text,
                      "5s, 23:59:59, 2026-01-31T23:59:59Z");
}

static bool
parse_contains(struct cli *cli, struct eng_record_filter *f, struct eng_bytes *contains)
{
    const bool *has = cli->options.has;
    enum cli_option id = has[OPT_CONTAINS] ? OPT_CONTAINS : OPT_CONTAINS_HEX;

    if (!has[OPT_CONTAINS] && !has[OPT_CONTAINS_HEX])
        return true;
    if (has[OPT_CONTAINS] && has[OPT_CONTAINS_HEX])
        return cli_refuse(cli, OPT_CONTAINS, 0, TEXT_USAGE_EXCLUDE, "--contains", "--contains-hex");
    if (!cli_payload_bytes(cli, (int)id, NULL, contains))
        return false;
    if (contains->len == 0)
        return cli_refuse(cli, (int)id, 0, TEXT_USAGE_EMPTY_EXPECT,
                          has[OPT_CONTAINS] ? "--contains" : "--contains-hex");
    f->contains = contains;
    return true;
}

static bool
parse_direction(struct cli *cli, struct eng_record_filter *f)
{
    const char *text = cli->options.value[OPT_DIR];

    if (!cli->options.has[OPT_DIR])
        return true;
    f->in_only = strcmp(text, "in") == 0;
    f->out_only = strcmp(text, "out") == 0;
    return f->in_only || f->out_only ||
           cli_refuse(cli, OPT_DIR, 0, TEXT_USAGE_BAD_VALUE, "--dir", text,
                      cli_option_infos[OPT_DIR].argument);
}

bool
cli_filter_options(struct cli *cli, struct eng_record_filter *f, struct eng_bytes *contains)
{
    const struct cli_options *o = &cli->options;

    *f = (struct eng_record_filter){.size_most = SIZE_MAX, .peer = o->value[OPT_PEER]};
    if (!parse_filter_number(cli, f) || !parse_when(cli, OPT_AFTER, &f->after) ||
        !parse_when(cli, OPT_BEFORE, &f->before) || !parse_direction(cli, f) ||
        !parse_contains(cli, f, contains))
        return false;
    return !o->has[OPT_SIZES] ||
           eng_parse_size_range(o->value[OPT_SIZES], &f->size_least, &f->size_most) ||
           cli_refuse(cli, OPT_SIZES, 0, TEXT_USAGE_BAD_VALUE, "--size", o->value[OPT_SIZES],
                      "64, 10..100, 10.., ..100");
}

/* ---- the file ---- */

struct eng_reader *
cli_reader_open(struct cli *cli, const char *path)
{
    struct eng_reader *reader;
    int error = 0;

    if (!eng_reader_works()) {
        cli_fail(cli, OUTLET_ENOTSUP, TEXT_ERROR_NO_JANSSON,
                 cli_verb_infos[cli->options.verb].word);
        cli->refusal = ENG_INTERNAL;
        return NULL;
    }
    reader = eng_reader_open(path, &error);
    if (!reader) {
        cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_RECORDING, path, strerror(error));
        cli->refusal = ENG_FILE;
    }
    return reader;
}

void
cli_say_damage(struct cli *cli, const char *path, const struct eng_damage *damage)
{
    char offset[24];
    char line[24];

    snprintf(offset, sizeof offset, "%llu", (unsigned long long)damage->offset);
    snprintf(line, sizeof line, "%llu", (unsigned long long)damage->line);
    cli_fail(cli, OUTLET_EPROTO,
             damage->other  ? TEXT_ERROR_RECORDING_OTHER
             : damage->cut  ? TEXT_ERROR_RECORDING_CUT
             : damage->line ? TEXT_ERROR_RECORDING_LINE
                            : TEXT_ERROR_RECORDING_BYTE,
             path, offset, damage->text, line);
}

/* ---- showing ---- */

struct shown {
    struct cli *cli;
    struct cli_show show;
    struct eng_record_filter filter;
    struct eng_bytes contains;
    const char *path;
    struct eng_reader *reader;
    struct eng_writer *writer; /* of the other file, or of JSON; NULL: lines for people */
    struct eng_bytes written;
    int fd; /* of the other file; -1: standard output */
    int64_t last_ns;
    bool begun; /* the file has a START */
    bool ended; /* and an END */
    uint64_t messages;
    uint64_t taken;
    uint64_t damages;
    bool live;  /* it comes through a pipe, perhaps as it happens */
    bool other; /* the file is no recording: there is nothing to count */
    bool failed;
};

static bool
target_failed(struct shown *s, int error)
{
    cli_fail(s->cli, OUTLET_ESYS, TEXT_ERROR_RECORD, s->cli->options.value[OPT_TO],
             strerror(error));
    s->failed = true;
    return false;
}

/* What can be said of it before anything is read. */
static bool
target_prepare(struct shown *s)
{
    struct cli *cli = s->cli;
    const char *path = cli->options.value[OPT_TO];
    enum eng_record_format format = ENG_RECORD_JSON;
    struct stat from;
    struct stat to;

    if (!cli->options.has[OPT_TO] && !cli->json)
        return true;
    if (cli->options.has[OPT_TO]) {
        if (!eng_record_format_of(path, &format))
            return cli_refuse(cli, OPT_TO, 0, TEXT_USAGE_RECORD, "--to", path);
        if (stat(s->path, &from) == 0 && stat(path, &to) == 0 && from.st_dev == to.st_dev &&
            from.st_ino == to.st_ino)
            return cli_refuse(cli, OPT_TO, 0, TEXT_USAGE_SAME_FILE, path);
    }
    s->writer = eng_writer_open(format);
    if (s->writer)
        return true;
    cli->refusal = ENG_INTERNAL;
    return target_failed(s, ENOMEM);
}

/* Only when the first record has been read, or the end: opening it empties it, and what turns out
 * to be no recording must not cost the one that is there.  False: it has been said. */
static bool
target_open(struct shown *s)
{
    struct cli *cli = s->cli;

    if (!cli->options.has[OPT_TO] || s->fd >= 0 || s->other)
        return true;
    s->fd = open(cli->options.value[OPT_TO], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY,
                 0666);
    return s->fd >= 0 || target_failed(s, errno);
}

/* Hand on what was written, when it is much or all. */
static void
target_flush(struct shown *s, size_t most)
{
    size_t at = 0;

    if (s->written.failed) {
        target_failed(s, ENOMEM);
        return;
    }
    if (s->written.len <= most)
        return;
    if (s->fd < 0)
        cli_out_add(&s->cli->out, s->written.data, s->written.len);
    while (s->fd >= 0 && at < s->written.len) {
        ssize_t n = write(s->fd, s->written.data + at, s->written.len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            target_failed(s, errno);
            return;
        }
        at += (size_t)n;
    }
    s->written.len = 0;
}

/* Some files only say here that there was no room.  False: it has been said. */
static bool
target_close(struct shown *s)
{
    int fd = s->fd;

    s->fd = -1;
    return fd < 0 || close(fd) == 0 || s->failed || target_failed(s, errno);
}

static void
show_event(struct shown *s, const struct eng_record *r)
{
    struct eng_event e = {
        .ns = r->ns,
        .id = r->conn ? r->conn->id : 0,
        .peer = r->conn ? r->conn->peer : NULL,
        .local = r->conn ? r->conn->local : NULL,
        .out = r->out,
        .rule = r->rule,
        .bytes = r->bytes,
        .size = r->size,
        .why = r->why,
        .discarded = r->kind == ENG_RECORD_CLOSE ? r->count : 0,
    };

    if (s->cli->form == FORM_NONE)
        return;
    if (s->cli->form == FORM_RAW) {
        if (r->kind == ENG_RECORD_MESSAGE)
            cli_out_add(&s->cli->out, r->bytes, r->size);
        return;
    }
    if (r->kind == ENG_RECORD_MESSAGE)
        e.kind = ENG_MESSAGE;
    else if (r->kind == ENG_RECORD_OPEN)
        e.kind = ENG_OPEN;
    else if (r->kind == ENG_RECORD_CLOSE)
        e.kind = ENG_CLOSE;
    else
        return;
    if (e.kind == ENG_MESSAGE || !eng_record_filter_is_of_messages(&s->filter))
        s->show.sink.emit(&s->show.sink, &e);
}

static void
show_record(struct shown *s, struct eng_record *r)
{
    char count[24];

    s->last_ns = r->ns;
    s->begun |= r->kind == ENG_RECORD_START;
    s->ended |= r->kind == ENG_RECORD_END;
    s->messages += r->kind == ENG_RECORD_MESSAGE;
    if (!eng_record_wanted(&s->filter, r))
        return;
    s->taken += r->kind == ENG_RECORD_MESSAGE;
    if (r->kind == ENG_RECORD_LOST && !s->cli->quiet) {
        snprintf(count, sizeof count, "%llu", (unsigned long long)r->count);
        cli_say(s->cli, TEXT_SUMMARY_DROPPED, count);
    }
    if (!s->writer) {
        show_event(s, r);
        return;
    }
    if (r->kind == ENG_RECORD_END)
        r->count = s->taken;
    eng_writer_add(s->writer, r, &s->written);
    target_flush(s, WRITE_AT_ONCE);
}

static void
show_damage(struct shown *s, const struct eng_damage *damage)
{
    if (s->cli->json && s->fd < 0)
        target_flush(s, 0); /* it is told where it stands */
    s->other |= damage->other;
    if (s->damages++ < DAMAGES_MAX)
        cli_say_damage(s->cli, s->path, damage);
}

/* The other file is whole in itself, whatever this one lacks. */
static void
target_end(struct shown *s)
{
    if (s->fd >= 0 && s->begun && !s->ended)
        eng_writer_add(
            s->writer,
            &(struct eng_record){.kind = ENG_RECORD_END, .ns = s->last_ns, .count = s->taken},
            &s->written);
    target_flush(s, 0);
}

/* Until the end of the file, or until nobody reads. */
static int
show_all(struct shown *s)
{
    struct eng_record record;
    struct eng_damage damage;
    enum eng_read got;

    do {
        got = eng_reader_next(s->reader, &record, &damage);
        if (got == ENG_READ_DAMAGE)
            show_damage(s, &damage);
        else if (got != ENG_READ_FAILED && target_open(s) && got == ENG_READ_RECORD)
            show_record(s, &record);
        if (s->live) {
            target_flush(s, 0);
            cli_out_flush(&s->cli->out);
        }
        while (cli_out_is_full(&s->cli->out) && !s->cli->out.broken)
            cli_out_finish(&s->cli->out, -1, -1);
    } while ((got == ENG_READ_RECORD || got == ENG_READ_DAMAGE) && !s->failed &&
             !s->cli->out.broken);
    if (!s->failed && s->writer)
        target_end(s);
    if (got == ENG_READ_FAILED) {
        cli_fail(s->cli, OUTLET_ESYS, TEXT_ERROR_RECORDING, s->path,
                 strerror(eng_reader_error(s->reader)));
        return ENG_FILE;
    }
    return s->failed || s->damages ? ENG_FILE : ENG_DONE;
}

static void
say_end(struct shown *s)
{
    struct cli *cli = s->cli;
    char numbers[3][24];

    snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)s->taken);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)s->messages);
    snprintf(numbers[2], sizeof numbers[2], "%llu", (unsigned long long)(s->damages - DAMAGES_MAX));
    if (s->damages > DAMAGES_MAX)
        cli_fail(cli, OUTLET_EPROTO, TEXT_ERROR_RECORDING_MORE, s->path, numbers[2]);
    if (cli->quiet || cli->json || s->other || s->failed)
        return;
    if (eng_reader_is_foreign(s->reader))
        cli_say(cli, TEXT_FOREIGN, s->path);
    if (cli->options.has[OPT_TO])
        cli_say(cli, TEXT_CONVERTED, numbers[0], numbers[1], cli->options.value[OPT_TO]);
    else
        cli_say(cli, TEXT_SHOWN, numbers[0], numbers[1]);
}

/* Lines are for people also in a pipe, and then whole. */
static void
prepare_lines(struct shown *s)
{
    struct cli *cli = s->cli;

    if (cli->form == FORM_DEFAULT)
        cli->form = FORM_TEXT;
    cli_show_init(&s->show, cli);
    if (!cli->terminal)
        cli->verbose = true;
    cli->terminal = true;
}

int
cli_recording(struct cli *cli)
{
    struct shown s = {.cli = cli, .fd = -1};
    int code;

    if (cli->options.word_count == 0)
        return cli_usage(cli, TEXT_USAGE_NO_FILE, "show");
    s.path = cli->options.words[0];
    s.live = strcmp(s.path, "-") == 0;
    cli->refusal = ENG_USAGE;
    if (!cli_filter_options(cli, &s.filter, &s.contains))
        goto refused;
    s.reader = cli_reader_open(cli, s.path);
    if (!s.reader || !target_prepare(&s))
        goto refused;
    if (!cli->json)
        prepare_lines(&s);
    code = show_all(&s);
    if (!target_close(&s))
        code = ENG_FILE;
    say_end(&s);
    goto close_all;

refused:
    code = cli->refusal;
close_all:
    (void)target_close(&s); /* after a refusal, which has been said */
    eng_writer_close(s.writer);
    eng_reader_close(s.reader);
    eng_bytes_free(&s.written);
    eng_bytes_free(&s.contains);
    return code;
}
