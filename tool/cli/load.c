/*
 * load.c - outlet load URL [TEXT]: runs it, judges what came out, chooses the exit code.
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
        if (paints && state == ENG_LOAD_RUNS) {
            eng_load_look(load, &j->r);
            load_paint(j);
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
    load_unpaint(j);
    return ENG_DONE;
}

/* ---- thresholds ---- */

/* The one that is due at the edge of the measured time may be on either side of it. */
static bool
would_meet_rate(const struct load_job *j, uint64_t messages)
{
    int64_t hearers = j->opts.mode == ENG_LOAD_FANOUT ? j->opts.connections : 1;
    double due = j->opts.rate * j->r.seconds;

    return j->opts.rate <= 0 || j->opts.count ||
           (double)messages / (double)hearers >= RATE_MET * due - 1;
}

static bool
is_rate_met(const struct load_job *j)
{
    return would_meet_rate(j, j->r.messages);
}

static void
judge(struct load_job *j)
{
    for (int i = 0; i < j->rule_count; i++) {
        if (!eng_load_rule_holds(&j->rules[i], &j->r))
            load_tell_unmet(j, &j->rules[i]);
    }
    if (!j->finds && !j->signalled && !is_rate_met(j))
        load_tell_rate_unmet(j, would_meet_rate(j, j->r.messages + j->r.lost));
}

/* ---- --find ---- */

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
        if (j->signalled)
            break; /* in the middle of a step, which says nothing */
        held = j->r.fault == ENG_LOAD_FINE && is_rate_met(j) &&
               eng_load_rule_holds(&j->bound, &j->r);
        load_tell_step(j, held);
        if (held) {
            eng_hist_clear(best);
            eng_hist_merge(best, j->r.hist);
            best_result = j->r;
            best_rate = f.rate;
        }
        more = eng_find_next(&f, held);
    }
    if (!code && best_rate > 0 && (!more || j->signalled)) {
        struct eng_hist *hist = j->r.hist;

        j->r = best_result;
        j->r.hist = hist;
        eng_hist_clear(hist);
        eng_hist_merge(hist, best);
        j->opts.rate = best_rate;
    }
    j->found = best_rate;
    j->cut_short = more && j->signalled;
    eng_free(best);
    return code;
}

/* ---- files ---- */

static bool
write_file(struct load_job *j, enum cli_option id, FILE *file, struct eng_bytes *bytes)
{
    bool ok = !bytes->failed && fwrite(bytes->data, 1, bytes->len, file) == bytes->len;

    ok = fflush(file) == 0 && ok;
    if (!ok)
        cli_fail(j->cli, OUTLET_ESYS, TEXT_ERROR_WRITE, j->cli->options.value[id], strerror(errno));
    eng_bytes_free(bytes);
    return ok;
}

static bool
write_files(struct load_job *j)
{
    struct eng_bytes out = {0};
    struct eng_bytes titles = {0};
    bool ok = true;

    if (j->plot) {
        load_add_titles(j, &titles);
        eng_load_plot(&j->r, titles.failed ? "" : (char *)titles.data, &out);
        eng_bytes_free(&titles);
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
    load_tell_fault(j);
    if (j->finds && j->r.result != ENG_BROKEN && j->r.result != ENG_NOT_CONNECTED)
        load_tell_found(j);
    judge(j);
    code = j->r.result ? j->r.result : j->unmet ? ENG_UNMET : ENG_DONE;
    load_report(j, code);
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
