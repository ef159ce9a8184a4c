/*
 * line.c - the line that somebody edits, with libedit, above which messages appear.
 *
 * libedit asks for a character and waits, also in the middle of a key's sequence and of Ctrl-R; the
 * loop must not.  So libedit lives in a thread of its own that never runs beside the loop's: it is
 * given what was typed, the loop's thread waits until it asks for more (which takes no longer than
 * drawing), and both take turns.  It draws into memory.  A newcomer's mistake: to call libedit's
 * functions while it is its turn; editor_run() returns when it is over.
 *
 * Its terminal is one of its own, that nobody looks at: it would switch the real one back and forth
 * around each line, and what came in between would be cut at 4095 bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

enum {
    HISTORY_MAX = 1000,
    ASIDE_FROM = 1024,            /* a longer line is kept where nobody draws it */
    ASIDE_MAX = 16 * 1024 * 1024, /* as of a line of the input */
    CTRL_D = 4,
    CTRL_V = 22
};

enum whose { LOOPS, EDITORS };

static const char paste_on[] = "\033[?2004h";
static const char paste_off[] = "\033[?2004l";

struct cli_line {
    struct cli *cli;
    struct cli_line_opts opts;
    EditLine *el;
    History *history;
    FILE *in;
    FILE *out;
    struct eng_bytes drawn; /* by libedit, not yet handed over */
    int master;
    int slave;
    bool shown;
    bool fresh;   /* libedit has not begun this line yet */
    bool drawing; /* what is written is the line itself */
    bool raw;
    struct termios before; /* the terminal */
    char name[200];
    char prompt[256]; /* with how much is kept aside */
    char path[512];   /* of the history, "" for none */
    struct eng_bytes aside;

    /* the turns */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum whose turn;
    bool quit;
    bool ended;  /* a line was */
    bool at_end; /* Ctrl-D */
    const char *text;
    size_t text_len;

    /* what was typed */
    struct eng_bytes typed;
    size_t at;
    mbstate_t state;
    bool pasting;
    bool was_cr;
    char mark[8]; /* the beginning of what may be a mark of a paste */
    size_t mark_len;
};

static const char paste_begin[] = "\033[200~";
static const char paste_end[] = "\033[201~";

/* ---- the turns ---- */

static void
give_turn(struct cli_line *l, enum whose to)
{
    pthread_mutex_lock(&l->lock);
    l->turn = to;
    pthread_cond_broadcast(&l->changed);
    while (l->turn == to)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void
hand_over(struct cli_line *l)
{
    l->drawing = true;
    (void)fflush(l->out);
    if (l->drawn.len)
        cli_out_add(&l->cli->out, l->drawn.data, l->drawn.len);
    l->drawn.len = 0;
    l->drawing = false;
}

/* libedit goes on until it wants more than was typed, or a line has ended. */
static void
editor_run(struct cli_line *l)
{
    give_turn(l, EDITORS);
    hand_over(l);
    l->shown = true;
}

static int
next_character(EditLine *el, wchar_t *out)
{
    struct cli_line *l;
    size_t n;

    el_get(el, EL_CLIENTDATA, &l);
    for (;;) {
        while (l->at == l->typed.len && !l->quit)
            give_turn(l, LOOPS);
        if (l->quit)
            return 0;
        n = mbrtowc(out, (const char *)l->typed.data + l->at, l->typed.len - l->at, &l->state);
        if (n == (size_t)-2) { /* the rest of it has not come yet */
            l->at = l->typed.len;
            continue;
        }
        if (n == (size_t)-1) {
            memset(&l->state, 0, sizeof l->state);
            *out = 0xfffd;
            n = 1;
        }
        l->at += n ? n : 1;
        return 1;
    }
}

static void *
editor_main(void *arg)
{
    struct cli_line *l = arg;
    int n;

    pthread_mutex_lock(&l->lock);
    while (l->turn != EDITORS)
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    while (!l->quit) {
        l->text = el_gets(l->el, &n);
        l->text_len = l->text && n > 0 ? (size_t)n : 0;
        if (l->text_len && l->text[l->text_len - 1] == '\n')
            l->text_len--;
        l->ended = true;
        if (!l->quit)
            give_turn(l, LOOPS);
    }
    pthread_mutex_lock(&l->lock);
    l->turn = LOOPS;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- drawing ---- */

static ssize_t
draw(void *cookie, const char *bytes, size_t len)
{
    struct cli_line *l = cookie;

    eng_bytes_add(&l->drawn, bytes, len);
    return (ssize_t)len;
}

/* What libedit makes of a character. */
static int
columns_of(wchar_t c)
{
    int width = iswprint((wint_t)c) ? wcwidth(c) : -1;

    return width >= 0 ? width : c < 32 || c == 127 ? 2 : 8;
}

/* The row of the cursor below the line's first, as libedit breaks it. */
static int
cursor_row(struct cli_line *l)
{
    const LineInfoW *info = el_wline(l->el);
    int columns = 80;
    int rows = 24;
    int row = 0;
    int column = 0;
    const char *prompt = l->prompt;
    mbstate_t state = {0};
    wchar_t c;
    size_t n;

    (void)cli_screen_size(&rows, &columns);
    for (const wchar_t *at = info->buffer;;) {
        int width;

        if (*prompt) {
            n = mbrtowc(&c, prompt, strlen(prompt), &state);
            prompt += n > 0 && n < (size_t)-2 ? n : 1;
        } else if (at < info->cursor) {
            c = *at++;
        } else {
            break;
        }
        width = columns_of(c);
        if (column + width > columns) {
            row++;
            column = 0;
        }
        column += width;
        if (column >= columns) {
            row++;
            column = 0;
        }
    }
    return row < rows ? row : rows - 1;
}

/* Something is to be written where the line stands. */
static void
take_away(void *arg)
{
    struct cli_line *l = arg;
    char up[24];
    int row;

    if (!l->shown || l->drawing)
        return;
    l->shown = false;
    row = cursor_row(l);
    cli_out_add(&l->cli->out, "\r", 1);
    if (row) {
        int n = snprintf(up, sizeof up, "\033[%dA", row);

        cli_out_add(&l->cli->out, up, (size_t)n);
    }
    cli_out_add(&l->cli->out, "\033[J", 3);
}

void
cli_line_show(struct cli_line *l)
{
    if (l->shown || l->fresh || !l->raw)
        return;
    el_set(l->el, EL_REFRESH);
    hand_over(l);
    l->shown = true;
}

/* libedit's own terminal is as large as the real one. */
static void
size_of(struct cli_line *l)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
        (void)ioctl(l->slave, TIOCSWINSZ, &size);
}

void
cli_line_resized(struct cli_line *l)
{
    take_away(l);
    size_of(l);
    el_resize(l->el);
    cli_line_show(l);
}

static char *
prompt_of(EditLine *el)
{
    struct cli_line *l;

    el_get(el, EL_CLIENTDATA, &l);
    return l->prompt;
}

void
cli_line_prompt(struct cli_line *l, const char *prompt)
{
    char size[32];

    take_away(l);
    if (prompt != l->name)
        snprintf(l->name, sizeof l->name, "%s", prompt);
    eng_text_size(size, sizeof size, l->aside.len);
    snprintf(l->prompt, sizeof l->prompt, "%s%s%s> ", l->name, l->aside.len ? " +" : "",
             l->aside.len ? size : "");
}

/* ---- keys ---- */

static unsigned char
key_end(EditLine *el, int c)
{
    const LineInfoW *info = el_wline(el);
    struct cli_line *l;

    (void)c;
    el_get(el, EL_CLIENTDATA, &l);
    if (info->lastchar == info->buffer && !l->aside.len) {
        l->at_end = true;
        return CC_EOF;
    }
    if (info->cursor == info->lastchar)
        return CC_ERROR;
    el_cursor(el, 1);
    el_deletestr(el, 1);
    return CC_REFRESH;
}

/* Of a command, as far as all that begin like it agree. */
static unsigned char
key_tab(EditLine *el, int c)
{
    const LineInfo *info = el_line(el);
    size_t len = (size_t)(info->cursor - info->buffer);
    const char *found = NULL;
    size_t common = 0;
    int count = 0;
    char added[64];
    struct cli_line *l;

    (void)c;
    el_get(el, EL_CLIENTDATA, &l);
    for (const char *const *word = l->opts.words; *word; word++) {
        if (len == 0 || strncmp(*word, info->buffer, len) != 0)
            continue;
        if (count++ == 0) {
            found = *word;
            common = strlen(*word);
        }
        while (strncmp(*word, found, common) != 0)
            common--;
    }
    if (!found || (count > 1 && common == len))
        return CC_ERROR;
    snprintf(added, sizeof added, "%.*s%s", (int)(common - len), found + len,
             count == 1 ? " " : "");
    return el_insertstr(el, added) == 0 ? CC_REFRESH : CC_ERROR;
}

/* ---- what is typed ---- */

/* What is typed becomes what libedit reads: in a paste nothing is a key but the end of a line. */
static void
add_typed(struct cli_line *l, uint8_t byte)
{
    const uint8_t quote = CTRL_V;
    bool is_lf_of_cr = l->was_cr && byte == '\n';

    l->was_cr = l->pasting && byte == '\r';
    if (l->pasting && is_lf_of_cr)
        return;
    if (l->pasting && byte == '\r')
        byte = '\n';
    if (l->pasting && byte != '\n' && (byte < 32 || byte == 127))
        eng_bytes_add(&l->typed, &quote, 1);
    eng_bytes_add(&l->typed, &byte, 1);
}

/* A long line is not edited any more: libedit would draw all of it for each key. */
static void
put_aside(struct cli_line *l)
{
    const LineInfoW *wide = el_wline(l->el);
    const LineInfo *info;

    if (wide->lastchar - wide->buffer < ASIDE_FROM || wide->cursor != wide->lastchar)
        return;
    info = el_line(l->el);
    take_away(l);
    if (l->aside.len < ASIDE_MAX)
        eng_bytes_add(&l->aside, info->buffer, (size_t)(info->lastchar - info->buffer));
    el_deletestr(l->el, (int)(wide->lastchar - wide->buffer));
    cli_line_prompt(l, l->name);
}

static void
line_ended(struct cli_line *l)
{
    bool at_end = l->at_end;
    HistEvent ev;
    char *text = NULL;
    size_t len;

    l->ended = false;
    l->at_end = false;
    l->shown = false;
    l->fresh = true;
    if (at_end) {
        cli_out_add(&l->cli->out, "\n", 1);
        l->opts.took(l->opts.user, NULL, 0, false);
        return;
    }
    eng_bytes_add(&l->aside, l->text ? l->text : "", l->text_len);
    eng_bytes_add(&l->aside, "", 1);
    len = l->aside.len - 1;
    if (!l->aside.failed)
        text = (char *)l->aside.data;
    if (text && len && len < ASIDE_FROM)
        history(l->history, &ev, H_ENTER, text);
    if (text)
        l->opts.took(l->opts.user, text, len, l->pasting);
    l->aside.len = 0;
    l->aside.failed = false;
    cli_line_prompt(l, l->name);
}

static void
edit(struct cli_line *l)
{
    while (l->raw && (l->fresh || l->at < l->typed.len)) {
        cli_line_show(l);
        l->fresh = false;
        editor_run(l);
        if (l->ended)
            line_ended(l);
        else
            put_aside(l);
    }
    l->typed.len = 0;
    l->at = 0;
}

/* In portions, so that a long line is put aside before it has become slow. */
static void
add_and_edit(struct cli_line *l, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        add_typed(l, bytes[i]);
        if (l->typed.len >= ASIDE_FROM)
            edit(l);
    }
}

void
cli_line_typed(struct cli_line *l, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const char *mark = l->pasting ? paste_end : paste_begin;

        if (bytes[i] == (uint8_t)mark[l->mark_len]) {
            l->mark[l->mark_len++] = (char)bytes[i];
            if (!mark[l->mark_len]) {
                edit(l); /* with `pasting` as it was */
                l->mark_len = 0;
                l->pasting = !l->pasting;
                l->was_cr = false;
            }
            continue;
        }
        add_and_edit(l, (const uint8_t *)l->mark, l->mark_len);
        l->mark_len = 0;
        if (bytes[i] == (uint8_t)mark[0])
            l->mark[l->mark_len++] = (char)bytes[i];
        else
            add_and_edit(l, &bytes[i], 1);
    }
    /* The key Escape itself begins like a mark, and so do others; they cannot wait for more. */
    if (!l->pasting && l->mark_len) {
        add_and_edit(l, (const uint8_t *)l->mark, l->mark_len);
        l->mark_len = 0;
    }
    edit(l);
}

/* ---- the terminal ---- */

static void
raw_mode(struct cli_line *l)
{
    struct termios raw = l->before;

    raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR);
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    l->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    if (l->raw)
        cli_out_add(&l->cli->out, paste_on, sizeof paste_on - 1);
}

void
cli_line_leave(struct cli_line *l)
{
    if (!l->raw)
        return;
    take_away(l);
    cli_out_add(&l->cli->out, paste_off, sizeof paste_off - 1);
    cli_out_flush(&l->cli->out);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &l->before);
    l->raw = false;
}

void
cli_line_back(struct cli_line *l)
{
    raw_mode(l);
    cli_line_resized(l);
}

bool
cli_line_is_possible(const struct cli *cli)
{
    /* In the background changing a terminal would stop us. */
    return cli_can_paint(cli) && isatty(STDIN_FILENO) && !cli->json &&
           tcgetpgrp(STDIN_FILENO) == getpgrp() &&
           (cli->form == FORM_DEFAULT || cli->form == FORM_TEXT || cli->form == FORM_HEX ||
            cli->form == FORM_BOTH);
}

/* ---- history ---- */

static bool
folder(char *path, size_t room, const char *name)
{
    size_t len = strlen(path);

    snprintf(path + len, room - len, "/%s", name);
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* One file for each address, whose name has nothing in it that a file's cannot. */
static void
history_path(struct cli_line *l)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char path[400];
    size_t len;
    bool there = true;

    if (state && state[0] == '/' && strlen(state) < 300) {
        snprintf(path, sizeof path, "%s/outlet/", state);
        cli_make_folders(path);
        snprintf(path, sizeof path, "%s", state);
    } else if (home && home[0] == '/' && strlen(home) < 300) {
        snprintf(path, sizeof path, "%s", home);
        there = folder(path, sizeof path, ".local") && folder(path, sizeof path, "state");
    } else {
        return;
    }
    if (!there || !folder(path, sizeof path, "outlet") || !folder(path, sizeof path, "history"))
        return;
    len = (size_t)snprintf(l->path, sizeof l->path, "%s/", path);
    for (const char *at = l->opts.address; *at && len < sizeof l->path - 1; at++) {
        bool plain = strchr("-_.", *at) || (*at >= '0' && *at <= '9') ||
                     (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');

        l->path[len++] = *at;
        if (!plain)
            l->path[len - 1] = '_';
    }
    l->path[len] = '\0';
}

static void
history_save(struct cli_line *l)
{
    HistEvent ev;
    int fd;

    if (!l->path[0])
        return;
    fd = open(l->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return; /* it is a comfort: not worth a word */
    (void)fchmod(fd, 0600);
    close(fd);
    history(l->history, &ev, H_SAVE, l->path);
}

/* ---- life ---- */

static bool
own_terminal(struct cli_line *l)
{
    char name[64];

    l->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (l->master < 0 || grantpt(l->master) != 0 || unlockpt(l->master) != 0 ||
        ptsname_r(l->master, name, sizeof name) != 0)
        return false;
    l->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return l->slave >= 0;
}

static bool
editor_open(struct cli_line *l)
{
    static const cookie_io_functions_t drawing = {.write = draw};
    HistEvent ev;

    l->in = fdopen(dup(l->slave), "r");
    l->out = fopencookie(l, "w", drawing);
    l->history = history_init();
    if (!l->in || !l->out || !l->history)
        return false;
    size_of(l);
    l->el = el_init_fd("outlet", l->in, l->out, l->out, l->slave, l->slave, l->slave);
    if (!l->el)
        return false;
    history(l->history, &ev, H_SETSIZE, HISTORY_MAX);
    history(l->history, &ev, H_SETUNIQUE, 1);
    history_path(l);
    if (l->path[0])
        history(l->history, &ev, H_LOAD, l->path);
    el_set(l->el, EL_CLIENTDATA, l);
    el_set(l->el, EL_EDITOR, "emacs");
    el_set(l->el, EL_PROMPT, prompt_of);
    el_set(l->el, EL_HIST, history, l->history);
    el_set(l->el, EL_GETCFN, next_character);
    el_wset(l->el, EL_ADDFN, L"outlet-end", L"the end, or delete", key_end);
    el_wset(l->el, EL_ADDFN, L"outlet-tab", L"complete a command", key_tab);
    el_set(l->el, EL_BIND, "^D", "outlet-end", NULL);
    el_set(l->el, EL_BIND, "^I", "outlet-tab", NULL);
    el_set(l->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(l->el, EL_BIND, "^V", "ed-quoted-insert", NULL);
    return true;
}

static void
free_all(struct cli_line *l)
{
    if (l->el)
        el_end(l->el);
    if (l->history)
        history_end(l->history);
    if (l->in)
        fclose(l->in);
    if (l->out)
        fclose(l->out);
    if (l->slave >= 0)
        close(l->slave);
    if (l->master >= 0)
        close(l->master);
    eng_bytes_free(&l->drawn);
    eng_bytes_free(&l->typed);
    eng_bytes_free(&l->aside);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    eng_free(l);
}

struct cli_line *
cli_line_open(struct cli *cli, const struct cli_line_opts *opts)
{
    struct cli_line *l = eng_alloc(sizeof *l);

    if (!l)
        return NULL;
    l->cli = cli;
    l->opts = *opts;
    l->master = -1;
    l->slave = -1;
    l->fresh = true;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (tcgetattr(STDIN_FILENO, &l->before) != 0 || !own_terminal(l) || !editor_open(l) ||
        pthread_create(&l->thread, NULL, editor_main, l) != 0) {
        free_all(l);
        return NULL;
    }
    raw_mode(l);
    cli->out.before = take_away;
    cli->out.before_arg = l;
    cli_line_prompt(l, opts->address);
    edit(l);
    return l;
}

void
cli_line_close(struct cli_line *l)
{
    if (!l)
        return;
    cli_line_leave(l);
    l->cli->out.before = NULL;
    l->quit = true;
    give_turn(l, EDITORS);
    pthread_join(l->thread, NULL);
    history_save(l);
    free_all(l);
}
