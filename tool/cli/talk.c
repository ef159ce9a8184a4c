/*
 * talk.c - what is done with the lines that somebody types: sent, or obeyed when they begin with /.
 *
 * What is to be sent waits in a queue of its own until everybody whom it is for has room, so that
 * a slow client loses nothing and a command is obeyed all the same.  A newcomer's mistake: to hold
 * the keyboard instead.  Then a client that does not read could not be sent away.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talk.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

void
talk_say_args(struct cli_talk *t, enum cli_text id, const char *const args[])
{
    struct eng_bytes line = {0};

    cli_format(t->cli->lang, id, args, &line);
    eng_bytes_text(&line, "\n");
    if (!line.failed)
        cli_out_add(&t->cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

void
talk_set_prompt(struct cli_talk *t)
{
    char prompt[240];

    if (t->to)
        snprintf(prompt, sizeof prompt, "%.180s #%llu", t->address, (unsigned long long)t->to);
    else
        snprintf(prompt, sizeof prompt, "%.180s", t->address);
    cli_line_prompt(t->line, prompt);
}

void
talk_end_typing(struct cli_talk *t)
{
    t->ended = true;
    talk_every_off(t);
    if (t->watching)
        outlet_watch_stop(t->input);
    t->watching = false;
    cli_line_leave(t->line);
}

bool
cli_talk_quit(struct cli_talk *t)
{
    bool asked = t->quitting;

    talk_every_off(t);
    if (asked || !t->first || !talk_wait_for_rest(t))
        return false;
    t->quitting = true;
    if (!t->ended)
        talk_end_typing(t);
    talk_say_waiting(t, TEXT_TALK_QUITTING);
    return true;
}

static void
took(void *user, const char *line, size_t len, bool pasted)
{
    struct cli_talk *t = user;

    if (t->ended)
        return; /* typed together with what ended it */
    if (!line) {
        talk_end_typing(t);
        talk_maybe_over(t);
    } else if (pasted || line[0] != '/' || line[1] == '/') {
        talk_send_text(t, t->to, "TEXT", ENG_AS_TEXT, line + (!pasted && line[0] == '/'));
    } else if (strlen(line) == len) {
        talk_obey(t, line);
    }
}

/* ---- the terminal ---- */

static bool watch_input(struct cli_talk *t);

static void
typed(outlet_watch w, int events, void *arg)
{
    struct cli_talk *t = arg;
    uint8_t bytes[4096];
    ssize_t n;

    (void)w;
    if (events < 0) { /* being stopped may end it */
        t->watching = false;
        if (!watch_input(t))
            took(t, NULL, 0, false);
        return;
    }
    n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n > 0)
        cli_line_typed(t->line, bytes, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        took(t, NULL, 0, false); /* the terminal has gone */
}

static bool
watch_input(struct cli_talk *t)
{
    t->watching = outlet_watch_start(t->loop, STDIN_FILENO, OUTLET_READABLE, typed, t, &t->input) ==
                  OUTLET_OK;
    return t->watching;
}

static void
watch_again(struct cli_talk *t, int fd, void (*fn)(outlet_watch w, int events, void *arg),
            outlet_watch *out)
{
    if (outlet_watch_start(t->loop, fd, OUTLET_READABLE, fn, t, out) != OUTLET_OK)
        say(t, TEXT_USAGE_NO_MEMORY, "outlet");
}

static void
resized(outlet_watch w, int events, void *arg)
{
    struct cli_talk *t = arg;

    (void)w;
    if (events < 0) {
        watch_again(t, t->resize_fd, resized, &t->resize);
        return;
    }
    while (cli_signals_read(t->resize_fd))
        continue;
    cli_line_resized(t->line);
}

/* Ctrl-Z: the shell gets its terminal as it was, and we ours when it lets us go on. */
static void
stopped(outlet_watch w, int events, void *arg)
{
    struct cli_talk *t = arg;

    (void)w;
    if (events < 0) {
        watch_again(t, t->stop_fd, stopped, &t->stop);
        return;
    }
    while (cli_signals_read(t->stop_fd))
        continue;
    if (t->ended) {
        (void)kill(getpid(), SIGSTOP);
        return;
    }
    cli_line_leave(t->line);
    (void)kill(getpid(), SIGSTOP);
    cli_line_back(t->line);
}

static int
stop_signal_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Ctrl-Z works as ever again: without a line, it is the plain typing's. */
static void
stop_signal_close(int fd)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (fd >= 0)
        close(fd);
}

struct cli_talk *
cli_talk_open(struct cli *cli, outlet_loop *loop, struct eng_session_opts *opts)
{
    struct cli_talk *t = eng_alloc(sizeof *t);
    struct cli_line_opts line = {.words = talk_words(), .took = took, .user = t};
    struct eng_url url;
    char masked[2048];

    if (!t)
        return NULL;
    t->cli = cli;
    t->loop = loop;
    t->opts = opts;
    t->last = &t->first;
    t->whole = !eng_url_split(opts->url, opts->role, &url) || !url.stream || url.framed;
    eng_url_masked(opts->url, masked, sizeof masked);
    masked[strcspn(masked, "#?")] = '\0';
    snprintf(t->address, sizeof t->address, "%.190s", masked);
    line.address = t->address;
    t->resize_fd = cli_resize_open();
    t->stop_fd = stop_signal_open();
    t->line = cli_line_open(cli, &line);
    if (!t->line || !watch_input(t) ||
        outlet_watch_start(loop, t->resize_fd, OUTLET_READABLE, resized, t, &t->resize) !=
            OUTLET_OK ||
        outlet_watch_start(loop, t->stop_fd, OUTLET_READABLE, stopped, t, &t->stop) != OUTLET_OK) {
        cli_talk_close(t);
        return NULL;
    }
    opts->input = -1;
    return t;
}

void
cli_talk_begin(struct cli_talk *t, struct eng_session *session,
               void (*save)(void *user, const char *path), void *user)
{
    t->save = save;
    t->save_user = user;
    t->session = session;
    talk_pump(t);
}

void
cli_talk_flow(struct cli_talk *t)
{
    if (t->to && eng_session_ready(t->session, t->to) == ENG_NOBODY) {
        char number[24];

        snprintf(number, sizeof number, "%llu", (unsigned long long)t->to);
        t->to = 0;
        say(t, TEXT_TALK_LEFT, number);
        talk_set_prompt(t);
    }
    talk_pump(t);
}

void
cli_talk_show(struct cli_talk *t)
{
    cli_line_show(t->line);
}

void
cli_talk_close(struct cli_talk *t)
{
    if (!t)
        return;
    talk_every_off(t);
    if (t->again.id)
        outlet_timer_stop(t->again);
    if (t->late.id)
        outlet_timer_stop(t->late);
    cli_line_close(t->line);
    t->line = NULL;
    if (t->first)
        talk_say_waiting(t, TEXT_TALK_LOST);
    while (t->first)
        talk_drop_first(t);
    eng_bytes_free(&t->repeated);
    eng_bytes_free(&t->latest);
    if (t->watching)
        outlet_watch_stop(t->input);
    if (t->resize.id)
        outlet_watch_stop(t->resize);
    if (t->stop.id)
        outlet_watch_stop(t->stop);
    if (t->resize_fd >= 0)
        close(t->resize_fd);
    stop_signal_close(t->stop_fd);
    eng_free(t);
}
