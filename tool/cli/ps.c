/*
 * ps.c - outlet ps [FILTER...]: which process owns which socket.
 *
 * --watch paints the table again and again on a terminal, and into a pipe appends what came (+) and
 * what went (-), so that it can be searched and kept.  What may not be seen is counted and said on
 * standard error: a row without a process is no proof that nobody owns the socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PROTO, STATE, QUEUE_IN, QUEUE_OUT, LOCAL, PEER, PID, PROCESS, USER, COLUMNS };

enum {
    GAP = 2,         /* between two columns */
    ADDRESS_MIN = 16 /* an address is cut to no less, even when the line does not fit */
};

static const struct {
    enum cli_text head;
    bool right; /* a number */
} columns[COLUMNS] = {
    [PROTO] = {TEXT_PS_PROTO, false}, [STATE] = {TEXT_PS_STATE, false},
    [QUEUE_IN] = {TEXT_PS_IN, true},  [QUEUE_OUT] = {TEXT_PS_OUT, true},
    [LOCAL] = {TEXT_PS_LOCAL, false}, [PEER] = {TEXT_PS_PEER, false},
    [PID] = {TEXT_PS_PID, true},      [PROCESS] = {TEXT_PS_PROCESS, false},
    [USER] = {TEXT_PS_USER, false},
};

struct ps {
    struct cli *cli;
    struct eng_filter filters[CLI_WORDS];
    size_t filter_count;
    struct eng_sockets sockets;
    int64_t every_ms;      /* 0: once */
    size_t width[COLUMNS]; /* grows and never shrinks, so that appended lines stay aligned */
    bool time_wait;        /* those that belong to the kernel alone are shown, too */
    bool said;             /* what is missing was said */
};

/* ---- cells and lines ---- */

/* Each cell ends with NUL; what a terminal would obey is written out. */
struct cells {
    struct eng_bytes bytes;
    size_t at[COLUMNS];
};

static void
cell(struct cells *c, int column, const char *text)
{
    c->at[column] = c->bytes.len;
    eng_text_visible(&c->bytes, (const uint8_t *)text, strlen(text));
    eng_bytes_add(&c->bytes, "", 1);
}

static const char *
cell_text(const struct cells *c, int column)
{
    return (const char *)c->bytes.data + c->at[column];
}

static bool
cells_of(struct cells *c, const struct eng_socket *s)
{
    char text[64];

    c->bytes.len = 0;
    cell(c, PROTO, s->kind);
    cell(c, STATE, s->state);
    snprintf(text, sizeof text, "%u", s->queue_in);
    cell(c, QUEUE_IN, text);
    snprintf(text, sizeof text, "%u", s->queue_out);
    cell(c, QUEUE_OUT, text);
    cell(c, LOCAL, s->local[0] ? s->local : "-");
    cell(c, PEER, s->peer[0] ? s->peer : "-");
    snprintf(text, sizeof text, "%ld", (long)s->pid);
    cell(c, PID, s->pid ? text : "-");
    if (s->holders > 1)
        snprintf(text, sizeof text, "%s (+%u)", s->process, s->holders - 1);
    else
        snprintf(text, sizeof text, "%s", s->pid ? s->process : "-");
    cell(c, PROCESS, text);
    cell(c, USER, s->user[0] ? s->user : "-");
    return !c->bytes.failed;
}

static void
widen(struct ps *ps, int column, const char *text)
{
    size_t width = eng_text_width(text, strlen(text));

    if (width > ps->width[column])
        ps->width[column] = width;
}

static void
measure(struct ps *ps)
{
    struct cells c = {0};

    for (int i = 0; i < COLUMNS; i++)
        widen(ps, i, cli_text(ps->cli->lang, columns[i].head));
    for (size_t k = 0; k < ps->sockets.count; k++) {
        for (int i = 0; cells_of(&c, &ps->sockets.list[k]) && i < COLUMNS; i++)
            widen(ps, i, cell_text(&c, i));
    }
    eng_bytes_free(&c.bytes);
}

/* Take what is too much from the wider of the two addresses. */
static void
fit(size_t width[COLUMNS], size_t room)
{
    size_t line = (COLUMNS - 1) * GAP;

    for (int i = 0; i < COLUMNS; i++)
        line += width[i];
    for (; line > room; line--) {
        int widest = width[LOCAL] >= width[PEER] ? LOCAL : PEER;

        if (width[widest] <= ADDRESS_MIN)
            return;
        width[widest]--;
    }
}

/* The end of `text` in that many columns, after a mark: of a path the end says most. */
static const char *
tail(const char *text, size_t width)
{
    size_t len = strlen(text);

    while (len && eng_text_width(text, len) > width) {
        size_t n = eng_utf8_next((const uint8_t *)text, len);

        text += n ? n : 1;
        len -= n ? n : 1;
    }
    return text;
}

static void
add_cell(struct eng_bytes *out, int column, const char *text, size_t width)
{
    size_t has = eng_text_width(text, strlen(text));
    bool last = column == COLUMNS - 1;

    if (columns[column].right)
        eng_bytes_printf(out, "%*s", (int)(has < width ? width - has : 0), "");
    if (has > width) {
        const char *end = tail(text, width - 1);

        eng_bytes_text(out, "\u2026");
        eng_bytes_text(out, end);
        has = 1 + eng_text_width(end, strlen(end));
    } else {
        eng_bytes_text(out, text);
    }
    if (!columns[column].right && !last)
        eng_bytes_printf(out, "%*s", (int)(width - has), "");
    if (!last)
        eng_bytes_printf(out, "%*s", GAP, "");
}

static void
add_head(const struct ps *ps, struct eng_bytes *out, const size_t width[COLUMNS])
{
    eng_bytes_text(out, cli_ink(ps->cli->colours, INK_BOLD));
    for (int i = 0; i < COLUMNS; i++)
        add_cell(out, i, cli_text(ps->cli->lang, columns[i].head), width[i]);
    eng_bytes_text(out, cli_ink(ps->cli->colours, INK_NONE));
}

static void
add_row(const struct eng_socket *s, struct eng_bytes *out, const size_t width[COLUMNS])
{
    struct cells c = {0};

    for (int i = 0; cells_of(&c, s) && i < COLUMNS; i++)
        add_cell(out, i, cell_text(&c, i), width[i]);
    eng_bytes_free(&c.bytes);
}

/* ---- what cannot be seen ---- */

static size_t
count_hidden(const struct eng_sockets *s)
{
    size_t hidden = 0;

    for (size_t i = 0; i < s->count; i++)
        hidden += eng_socket_is_hidden(&s->list[i]);
    return hidden;
}

/* At most one line for each thing. */
static void
add_notes(struct ps *ps, struct eng_bytes *out)
{
    static const char *const modules[] = {"tcp_diag", "udp_diag", "unix_diag"};
    static const char *const protos[] = {"tcp", "udp", "unix"};
    enum cli_lang lang = ps->cli->lang;
    char count[24];

    if (ps->sockets.count == 0 && !ps->every_ms) {
        eng_bytes_text(out, cli_text(lang, TEXT_PS_NONE));
        eng_bytes_text(out, "\n");
    }
    snprintf(count, sizeof count, "%zu", count_hidden(&ps->sockets));
    if (ps->sockets.holders.denied && count[0] != '0') {
        cli_format(lang, geteuid() == 0 ? TEXT_PS_HIDDEN_ROOT : TEXT_PS_HIDDEN,
                   (const char *const[CLI_ARGS]){count}, out);
        eng_bytes_text(out, "\n");
    }
    for (int i = 0; i < ENG_PROTOS; i++) {
        if (!(ps->sockets.missing & 1u << i))
            continue;
        cli_format(lang, TEXT_PS_MISSING, (const char *const[CLI_ARGS]){protos[i], modules[i]},
                   out);
        eng_bytes_text(out, "\n");
    }
    if (ps->sockets.left_out) {
        snprintf(count, sizeof count, "%zu", ps->sockets.left_out);
        cli_format(lang, TEXT_PS_LEFT_OUT, (const char *const[CLI_ARGS]){count}, out);
        eng_bytes_text(out, "\n");
    }
    if (ps->sockets.cut) {
        snprintf(count, sizeof count, "%d", ENG_SOCKETS_MAX);
        cli_format(lang, TEXT_PS_CUT, (const char *const[CLI_ARGS]){count}, out);
        eng_bytes_text(out, "\n");
    }
}

static void
say_notes(struct ps *ps)
{
    struct eng_bytes notes = {0};

    if (!ps->said && !ps->cli->quiet && !ps->cli->json)
        add_notes(ps, &notes);
    if (notes.len)
        (void)fwrite(notes.data, 1, notes.len, stderr); /* nobody to tell when this fails */
    eng_bytes_free(&notes);
    ps->said = true;
}

/* ---- into a pipe, for programs ---- */

static void
add_line(struct ps *ps, const struct eng_socket *s, const char *change)
{
    struct eng_bytes line = {0};

    if (ps->cli->json) {
        eng_socket_json(&line, s, change);
    } else {
        enum cli_ink ink = change && *change == '+' ? INK_GOOD : INK_BAD;
        bool colours = ps->cli->colours && change;

        eng_bytes_text(&line, cli_ink(colours, ink));
        if (ps->every_ms)
            eng_bytes_printf(&line, "%s ", change ? change : " ");
        add_row(s, &line, ps->width);
        eng_bytes_printf(&line, "%s\n", cli_ink(colours, INK_NONE));
    }
    if (!line.failed)
        cli_out_add(&ps->cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

static void
list_all(struct ps *ps)
{
    struct eng_bytes head = {0};
    int rows;
    int room;

    measure(ps);
    if (ps->cli->terminal && cli_screen_size(&rows, &room))
        fit(ps->width, (size_t)room);
    if (!ps->cli->json && !ps->cli->quiet && (ps->sockets.count || ps->every_ms)) {
        if (ps->every_ms)
            eng_bytes_text(&head, "  ");
        add_head(ps, &head, ps->width);
        eng_bytes_text(&head, "\n");
        cli_out_add(&ps->cli->out, head.data, head.len);
    }
    for (size_t i = 0; i < ps->sockets.count; i++)
        add_line(ps, &ps->sockets.list[i], NULL);
    eng_bytes_free(&head);
}

/* Both are in order, so one walk finds what is only in one of them. */
static void
list_changes(struct ps *ps, const struct eng_sockets *before)
{
    const struct eng_sockets *now = &ps->sockets;
    size_t i = 0;
    size_t k = 0;

    measure(ps);
    while (i < before->count || k < now->count) {
        int order = i == before->count ? 1
                    : k == now->count  ? -1
                                       : eng_socket_compare(&before->list[i], &now->list[k]);

        if (order < 0)
            add_line(ps, &before->list[i++], "-");
        else if (order > 0)
            add_line(ps, &now->list[k++], "+");
        else
            i++, k++;
    }
}

static void
tell_summary(struct ps *ps, int code)
{
    struct eng_bytes line = {0};

    if (!ps->cli->json || ps->cli->quiet)
        return;
    eng_bytes_printf(
        &line,
        "{\"v\":1,\"event\":\"summary\",\"sockets\":%zu,\"hidden\":%zu,\"left_out\":%zu,"
        "\"exit\":%d}\n",
        ps->sockets.count, count_hidden(&ps->sockets), ps->sockets.left_out, code);
    cli_out_add(&ps->cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

/* ---- on a terminal ---- */

/* From the top left corner; each line clears what stood there before. */
static void
paint(struct ps *ps)
{
    struct eng_bytes screen = {0};
    struct eng_bytes notes = {0};
    size_t width[COLUMNS];
    size_t shown;
    int rows = 24;
    int room = 80;
    char left[24];

    (void)cli_screen_size(&rows, &room); /* else as above */
    measure(ps);
    memcpy(width, ps->width, sizeof width);
    fit(width, (size_t)room);
    add_notes(ps, &notes);
    shown = rows > 6 ? (size_t)rows - 6 : 1;
    shown = shown < ps->sockets.count ? shown : ps->sockets.count;
    eng_bytes_text(&screen, "\033[H");
    add_head(ps, &screen, width);
    eng_bytes_text(&screen, "\033[K\n");
    for (size_t i = 0; i < shown; i++) {
        add_row(&ps->sockets.list[i], &screen, width);
        eng_bytes_text(&screen, "\033[K\n");
    }
    if (shown < ps->sockets.count) {
        snprintf(left, sizeof left, "%zu", ps->sockets.count - shown);
        cli_format(ps->cli->lang, TEXT_PS_MORE, (const char *const[CLI_ARGS]){left}, &screen);
        eng_bytes_text(&screen, "\033[K\n");
    }
    eng_bytes_text(&screen, "\033[J");
    eng_bytes_add(&screen, notes.data, notes.len);
    if (!screen.failed)
        cli_out_add(&ps->cli->out, screen.data, screen.len);
    eng_bytes_free(&notes);
    eng_bytes_free(&screen);
}

/* ---- reading, once or again and again ---- */

static int
read_sockets(struct ps *ps)
{
    struct outlet_reason why = OUTLET_REASON;
    outlet_err err = eng_sockets_read(&ps->sockets, ps->filters, ps->filter_count, ps->time_wait,
                                      &why);

    if (!err)
        return ENG_DONE;
    cli_fail(ps->cli, err, TEXT_PS_FAILED, why.text);
    return ENG_INTERNAL;
}

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum woken { BY_TIME, BY_SIZE, BY_END };

/* Until it is time, the screen has another size, or a signal or a reader that left ends it. */
static enum woken
rest(struct ps *ps, int signal_fd, int resize_fd, int64_t until_ms)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                               {.fd = resize_fd, .events = POLLIN},
                               {.fd = ps->cli->out.fd}}; /* only errors are asked for */
        int64_t left = until_ms - now_ms();
        int n = poll(fds, sizeof fds / sizeof fds[0], left > 0 ? (int)left : 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return BY_TIME;
        if (fds[0].revents || fds[2].revents)
            return BY_END;
        (void)cli_signals_read(resize_fd); /* which one is known */
        return BY_SIZE;
    }
}

static int
watch(struct ps *ps, int signal_fd, int resize_fd)
{
    bool paints = cli_can_paint(ps->cli) && !ps->cli->json;
    int64_t due = now_ms();
    bool again = false;
    enum woken woken = BY_TIME;

    if (paints)
        cli_out_add(&ps->cli->out, "\033[2J", 4);
    for (; woken != BY_END && !ps->cli->out.broken; again = true) {
        struct eng_sockets before = ps->sockets;
        int code = read_sockets(ps);

        if (code) {
            eng_sockets_free(&before);
            return code;
        }
        if (paints)
            paint(ps);
        else if (again)
            list_changes(ps, &before);
        else
            list_all(ps);
        eng_sockets_free(&before);
        if (!paints)
            say_notes(ps);
        /* A reader that stands still is waited for, not written past: nothing is lost. */
        cli_out_finish(&ps->cli->out, -1, signal_fd);
        if (woken != BY_SIZE)
            due += ps->every_ms;
        if (due < now_ms())
            due = now_ms(); /* slower than asked for: the next one at once, no row of them */
        woken = rest(ps, signal_fd, resize_fd, due);
    }
    return ENG_DONE;
}

static int
watch_until_signalled(struct ps *ps)
{
    int signal_fd = cli_signals_open();
    int resize_fd = cli_resize_open();
    int code = ENG_INTERNAL;

    if (signal_fd >= 0 && resize_fd >= 0)
        code = watch(ps, signal_fd, resize_fd);
    else
        cli_fail(ps->cli, OUTLET_ESYS, TEXT_ERROR_INTERNAL, "signalfd");
    if (signal_fd >= 0)
        close(signal_fd);
    if (resize_fd >= 0)
        close(resize_fd);
    return code;
}

static int
list_once(struct ps *ps)
{
    int code = read_sockets(ps);

    if (code)
        return code;
    code = ps->sockets.count ? ENG_DONE : ENG_UNMET; /* as grep and pgrep answer */
    list_all(ps);
    tell_summary(ps, code);
    /* The rows before the note that is about them. */
    cli_out_finish(&ps->cli->out, -1, -1);
    say_notes(ps);
    return code;
}

static bool
parse(struct ps *ps)
{
    const struct cli_options *o = &ps->cli->options;
    const char *every = o->value[OPT_WATCH];

    for (int i = 0; i < o->word_count; i++) {
        if (!eng_filter_parse(o->words[i], &ps->filters[ps->filter_count++])) {
            struct eng_bytes states = {0};

            for (size_t k = 0; eng_socket_states[k]; k++)
                eng_bytes_printf(&states, "%s%s", k ? " " : "", eng_socket_states[k]);
            eng_bytes_add(&states, "", 1);
            cli_usage(ps->cli, TEXT_USAGE_FILTER, o->words[i], (const char *)states.data);
            eng_bytes_free(&states);
            return false;
        }
    }
    ps->time_wait = ps->cli->verbose;
    ps->every_ms = o->has[OPT_WATCH] ? 1000 : 0;
    return !every || eng_parse_duration(every, &ps->every_ms) ||
           cli_refuse_time(ps->cli, OPT_WATCH, "1s");
}

int
cli_ps(struct cli *cli)
{
    struct ps ps = {.cli = cli};
    int code;

    if (!parse(&ps))
        return ENG_USAGE;
    if (!eng_sockets_built) {
        cli_fail(cli, OUTLET_ENOTSUP, TEXT_PS_NOT_BUILT, NULL);
        return ENG_INTERNAL;
    }
    code = ps.every_ms ? watch_until_signalled(&ps) : list_once(&ps);
    eng_sockets_free(&ps.sockets);
    return code;
}
