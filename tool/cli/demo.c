/*
 * demo.c - outlet demo: every transport on every driver, as one checked round or as a live table.
 *
 * The live table needs a terminal that can move its cursor; everywhere else (a pipe, --json, a dumb
 * terminal) one checked round is made, and the exit code says whether every byte came back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DRIVERS = 3,
    PAINT_MS = 250,
    SIM_MS = 20 /* the simulated driver has no descriptor to wait for: it is turned this often */
};

static const char *const drivers[DRIVERS] = {"epoll", "uring", "sim"};

/* ---- one round ---- */

static void
show_round(struct cli *cli, const struct eng_demo_result *r)
{
    struct eng_bytes line = {0};
    char messages[24];
    char bytes[32];
    char ms[32];

    if (cli->json) {
        eng_json_event(&line, &(struct eng_event){.kind = ENG_DEMO, .demo = r}, ENG_FORM_AUTO,
                       NULL);
    } else {
        enum cli_text state = r->ok        ? TEXT_DEMO_OK
                              : r->skipped ? TEXT_DEMO_SKIPPED
                                           : TEXT_DEMO_FAILED;

        eng_bytes_printf(&line, "%-6s %-6s ", r->transport, r->driver);
        eng_bytes_text(&line, cli_text(cli->lang, state));
        eng_bytes_text(&line, "  ");
        snprintf(messages, sizeof messages, "%llu", (unsigned long long)r->messages);
        eng_text_size(bytes, sizeof bytes, r->bytes);
        snprintf(ms, sizeof ms, "%.1f", (double)r->us / 1000);
        if (r->ok)
            cli_format(cli->lang, TEXT_DEMO_LINE,
                       (const char *const[CLI_ARGS]){messages, bytes, ms}, &line);
        else
            cli_said(cli->lang, r->text, &line);
        eng_bytes_text(&line, "\n");
    }
    if (!cli->quiet || cli->json || (!r->ok && !r->skipped))
        cli_out_add(&cli->out, line.data, line.len);
    cli_out_flush(&cli->out);
    eng_bytes_free(&line);
}

static int
rounds(struct cli *cli)
{
    bool all = true;

    for (int d = 0; d < DRIVERS && !cli->out.broken; d++) {
        for (int t = 0; t < ENG_DEMO_TRANSPORTS && !cli->out.broken; t++) {
            struct eng_demo_result result;

            eng_demo_round(eng_demo_transports[t], drivers[d], &result);
            show_round(cli, &result);
            all = all && (result.ok || result.skipped);
        }
    }
    if (!cli->quiet && !cli->json)
        cli_say(cli, all ? TEXT_DEMO_ALL_BACK : TEXT_DEMO_NOT_ALL_BACK, NULL);
    return all ? ENG_DONE : ENG_BROKEN;
}

/* ---- the live table ---- */

struct live {
    struct cli *cli;
    struct eng_demo *demos[DRIVERS]; /* NULL: does not work here */
    uint64_t before[DRIVERS][ENG_DEMO_TRANSPORTS];
    int64_t painted_ms;
    bool again; /* a table stands on the screen already */
    bool wrong;
};

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
columns(const char *text)
{
    return (int)eng_text_width(text, strlen(text));
}

static void
add_cell(struct eng_bytes *out, const char *text, int width)
{
    eng_bytes_printf(out, "%*s", width - columns(text), "");
    eng_bytes_text(out, text);
}

static void
add_number(struct eng_bytes *out, uint64_t n, int width)
{
    eng_bytes_printf(out, "%*llu", width, (unsigned long long)n);
}

static void
add_row(struct live *live, struct eng_bytes *out, int d, int t, int64_t elapsed_ms)
{
    struct eng_demo_row row;
    char bytes[32];
    uint64_t since;

    eng_bytes_printf(out, "  %-10s%-8s", eng_demo_transports[t], drivers[d]);
    if (!live->demos[d]) {
        eng_bytes_text(out, cli_text(live->cli->lang, TEXT_DEMO_SKIPPED));
        eng_bytes_text(out, "\033[K\n");
        return;
    }
    eng_demo_row(live->demos[d], t, &row);
    since = row.round_trips - live->before[d][t];
    live->before[d][t] = row.round_trips;
    live->wrong = live->wrong || row.wrong;
    eng_text_size(bytes, sizeof bytes, row.bytes);
    add_number(out, row.clients, 9);
    add_number(out, row.round_trips, 14);
    add_number(out, elapsed_ms > 0 ? since * 1000 / (uint64_t)elapsed_ms : 0, 12);
    add_cell(out, bytes, 12);
    add_number(out, row.wrong, 8);
    eng_bytes_text(out, "\033[K\n");
}

static void
paint(struct live *live)
{
    struct eng_bytes out = {0};
    enum cli_lang lang = live->cli->lang;
    int64_t now = now_ms();

    if (live->again) /* back to the first line of the table */
        eng_bytes_printf(&out, "\033[%dA", DRIVERS * ENG_DEMO_TRANSPORTS + 1);
    eng_bytes_text(&out, "  ");
    eng_bytes_text(&out, cli_text(lang, TEXT_DEMO_TRANSPORT));
    eng_bytes_printf(&out, "%*s", 10 - columns(cli_text(lang, TEXT_DEMO_TRANSPORT)), "");
    eng_bytes_text(&out, cli_text(lang, TEXT_DEMO_DRIVER));
    eng_bytes_printf(&out, "%*s", 8 - columns(cli_text(lang, TEXT_DEMO_DRIVER)), "");
    add_cell(&out, cli_text(lang, TEXT_DEMO_CLIENTS), 9);
    add_cell(&out, cli_text(lang, TEXT_DEMO_ROUND_TRIPS), 14);
    add_cell(&out, cli_text(lang, TEXT_DEMO_RATE), 12);
    add_cell(&out, cli_text(lang, TEXT_DEMO_BYTES), 12);
    add_cell(&out, cli_text(lang, TEXT_DEMO_WRONG), 8);
    eng_bytes_text(&out, "\033[K\n");
    for (int d = 0; d < DRIVERS; d++) {
        for (int t = 0; t < ENG_DEMO_TRANSPORTS; t++)
            add_row(live, &out, d, t, live->again ? now - live->painted_ms : 0);
    }
    live->again = true;
    live->painted_ms = now;
    cli_out_add(&live->cli->out, out.data, out.len);
    cli_out_flush(&live->cli->out);
    eng_bytes_free(&out);
}

static void
live_work(struct live *live, int signal_fd, int64_t end_ms)
{
    int64_t paint_at = now_ms();

    for (;;) {
        struct pollfd stop = {.fd = signal_fd, .events = POLLIN};
        int64_t now = now_ms();

        if (now >= paint_at) {
            paint(live);
            paint_at = now + PAINT_MS;
        }
        if (live->cli->out.broken || (end_ms && now >= end_ms) || poll(&stop, 1, SIM_MS) > 0)
            break;
        for (int d = 0; d < DRIVERS; d++) {
            if (live->demos[d])
                eng_demo_turn(live->demos[d]);
        }
    }
    paint(live);
}

static int
live(struct cli *cli, int64_t time_ms)
{
    struct live live = {.cli = cli};
    int signal_fd = cli_signals_open();
    int code = ENG_DONE;

    if (signal_fd < 0) {
        cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_INTERNAL, "signalfd");
        return ENG_INTERNAL;
    }
    for (int d = 0; d < DRIVERS && !code; d++) {
        struct outlet_reason why = OUTLET_REASON;
        outlet_err err = eng_demo_start(drivers[d], &live.demos[d], &why);

        if (err && err != OUTLET_ENOTSUP) {
            cli_fail(cli, err, TEXT_ERROR_PLAIN, drivers[d],
                     why.text[0] ? why.text : outlet_strerror(err));
            code = ENG_NOT_CONNECTED;
        }
    }
    if (!code) {
        if (!cli->quiet)
            cli_say(cli, TEXT_DEMO_TITLE, outlet_version());
        live_work(&live, signal_fd, time_ms ? now_ms() + time_ms : 0);
        code = live.wrong ? ENG_BROKEN : ENG_DONE;
    }
    for (int d = 0; d < DRIVERS; d++)
        eng_demo_free(live.demos[d]);
    close(signal_fd);
    return code;
}

int
cli_demo(struct cli *cli)
{
    int64_t time_ms = 0;

    if (cli->options.has[OPT_TIME] && !eng_parse_duration(cli->options.value[OPT_TIME], &time_ms))
        return cli_usage(cli, TEXT_USAGE_BAD_VALUE, "--time", cli->options.value[OPT_TIME],
                         "500ms");
    if (cli->options.has[OPT_ROUND] || cli->json || !cli_can_paint(cli))
        return rounds(cli);
    return live(cli, time_ms);
}
