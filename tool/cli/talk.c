/*
 * talk.c - what is done with the lines that somebody types: sent, or obeyed when they begin with /.
 *
 * What is to be sent waits in a queue of its own until everybody whom it is for has room, so that
 * a slow client loses nothing and a command is obeyed all the same.  A newcomer's mistake: to hold
 * the keyboard instead.  Then a client that does not read could not be sent away.
 *
 * SPDX-License-Identifier: MIT
 */
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 64 * 1024,
    WAITING_MAX = 16 * 1024 * 1024, /* bytes that wait to be sent */
    WHOLE_MAX = 16 * 1024 * 1024,   /* of a file that is one message */
    CLIENTS_SHOWN = 64,
    SLICE = 64,     /* messages, or chunks of a file, in one turn */
    EVERY_MAX = 64, /* of /every that wait; what is due beyond is left out */
    QUIT_MS = 5000  /* what waits is still sent, while some of it is taken in so long */
};

struct item {
    struct item *next;
    uint64_t to; /* 0: all */
    struct eng_bytes bytes;
    int fd;     /* of a file that is sent as it is read; -1: none */
    bool every; /* made by /every */
    char about[64];
};

struct cli_talk {
    struct cli *cli;
    outlet_loop *loop;
    const struct eng_session_opts *opts;
    struct eng_session *session;
    void (*save)(void *user, const char *path);
    void *save_user;
    struct cli_line *line;
    struct item *first;
    struct item **last;
    size_t waiting;
    uint64_t to;
    bool whole; /* messages have borders */
    bool ended;
    bool quitting; /* it ends when nothing waits any more, or nothing of it moves */
    bool watching;
    bool pumping;
    outlet_watch input;
    int resize_fd;
    int stop_fd;
    outlet_watch resize;
    outlet_watch stop;
    outlet_timer again;
    outlet_timer late;
    outlet_timer every;
    int every_waiting;
    uint64_t every_left_out;
    struct eng_bytes repeated;
    struct eng_bytes latest;
    char address[200];
};

#define say(t, id, ...) say_args(t, id, (const char *const[CLI_ARGS]){__VA_ARGS__})

static void
say_args(struct cli_talk *t, enum cli_text id, const char *const args[])
{
    struct eng_bytes line = {0};

    cli_format(t->cli->lang, id, args, &line);
    eng_bytes_text(&line, "\n");
    if (!line.failed)
        cli_out_add(&t->cli->out, line.data, line.len);
    eng_bytes_free(&line);
}

/* ---- what waits ---- */

static void
drop_first(struct cli_talk *t)
{
    struct item *i = t->first;

    t->first = i->next;
    if (!t->first)
        t->last = &t->first;
    t->waiting -= i->bytes.len;
    t->every_waiting -= i->every;
    eng_bytes_free(&i->bytes);
    if (i->fd >= 0)
        close(i->fd);
    eng_free(i);
}

static void
say_refused(struct cli_talk *t, const struct eng_sent *sent)
{
    char ids[256] = "";
    size_t len = 0;

    for (uint64_t i = 0; i < sent->refused && i < ENG_REFUSED_MAX; i++)
        len += (size_t)snprintf(ids + len, sizeof ids - len, "%s%llu", i ? ", " : "",
                                (unsigned long long)sent->refused_ids[i]);
    if (sent->refused)
        say(t, TEXT_TALK_REFUSED, ids);
    else if (!sent->taken && !sent->wrong)
        say(t, TEXT_TALK_NOBODY, NULL);
}

/* Of a file: the next piece of it.  False: it has come to its end, one way or the other. */
static bool
send_piece(struct cli_talk *t, struct item *i)
{
    uint8_t chunk[CHUNK];
    struct eng_sent sent;
    ssize_t n = read(i->fd, chunk, sizeof chunk);

    if (n < 0)
        say(t, TEXT_ERROR_FILE, i->about, strerror(errno));
    if (n <= 0)
        return false;
    eng_session_send(t->session, i->to, chunk, (size_t)n, &sent);
    if (sent.refused || !sent.taken)
        say_refused(t, &sent);
    return sent.taken > 0;
}

static bool
send_item(struct cli_talk *t, struct item *i)
{
    struct eng_sent sent;

    if (i->fd >= 0)
        return send_piece(t, i);
    eng_session_send(t->session, i->to, i->bytes.len ? i->bytes.data : (const uint8_t *)"",
                     i->bytes.len, &sent);
    if (sent.refused || !sent.taken)
        say_refused(t, &sent);
    return false;
}

static void pump(struct cli_talk *t);

static void
next_turn(outlet_timer timer, void *arg)
{
    struct cli_talk *t = arg;

    (void)timer;
    t->again.id = 0;
    pump(t);
}

static void
maybe_over(struct cli_talk *t)
{
    if (t->first || !t->session)
        return;
    if (t->quitting)
        eng_session_finish(t->session, ENG_DONE);
    else if (t->ended)
        eng_session_end_input(t->session);
}

static void
waited_enough(outlet_timer timer, void *arg)
{
    struct cli_talk *t = arg;

    (void)timer;
    t->late.id = 0;
    eng_session_finish(t->session, ENG_DONE);
}

/* From now on.  False: no memory for a timer. */
static bool
wait_for_rest(struct cli_talk *t)
{
    if (t->late.id)
        outlet_timer_stop(t->late);
    t->late.id = 0;
    return outlet_timer_start(t->loop, QUIT_MS, 0, waited_enough, t, &t->late) == OUTLET_OK;
}

static void
pump(struct cli_talk *t)
{
    bool connecting = t->opts->role == OUTLET_TO_CONNECT;
    int left = SLICE;

    if (!t->session || t->pumping)
        return; /* it is being started, or a send has told that there is room */
    t->pumping = true;
    for (; t->first && left; left--) {
        enum eng_ready ready = eng_session_ready(t->session, t->first->to);

        if (ready == ENG_BEHIND || (ready == ENG_NOBODY && connecting))
            break;
        if (ready == ENG_NOBODY)
            say(t, TEXT_TALK_NOBODY, NULL);
        if (ready == ENG_NOBODY || !send_item(t, t->first))
            drop_first(t);
    }
    t->pumping = false;
    if (t->quitting && left < SLICE && !wait_for_rest(t))
        eng_session_finish(t->session, ENG_DONE);
    if (!left && !t->again.id &&
        outlet_timer_start(t->loop, 0, 0, next_turn, t, &t->again) != OUTLET_OK)
        say(t, TEXT_USAGE_NO_MEMORY, "outlet");
    maybe_over(t);
}

/* Takes the bytes.  NULL: there is no room, and they are gone. */
static struct item *
append(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd, const char *about)
{
    struct item *i = NULL;

    if (!bytes->failed && t->waiting + bytes->len <= WAITING_MAX)
        i = eng_alloc(sizeof *i);
    if (!i) {
        eng_bytes_free(bytes);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    i->to = to;
    i->bytes = *bytes;
    i->fd = fd;
    snprintf(i->about, sizeof i->about, "%.60s", about);
    *bytes = (struct eng_bytes){0};
    t->waiting += i->bytes.len;
    *t->last = i;
    t->last = &i->next;
    return i;
}

static void
enqueue(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd, const char *about)
{
    if (append(t, to, bytes, fd, about))
        pump(t);
    else
        say(t, TEXT_TALK_TOO_MUCH, NULL);
}

/* ---- what is typed, as bytes ---- */

static bool
make(struct cli_talk *t, const char *name, enum eng_notation notation, const char *text,
     struct eng_bytes *out)
{
    struct eng_mistake mistake;
    bool ends = notation == ENG_AS_TEXT || notation == ENG_AS_ESCAPE;

    if (!eng_parse_payload(notation, text, t->opts->charset, out, &mistake)) {
        if (out->failed)
            say(t, TEXT_USAGE_NO_MEMORY, name);
        else
            cli_say_mistake(t->cli, name, text, &mistake);
        eng_bytes_free(out);
        return false;
    }
    eng_seal(out, t->opts->append, ends ? t->opts->eol : "");
    return true;
}

static void
send_text(struct cli_talk *t, uint64_t to, const char *name, enum eng_notation notation,
          const char *text)
{
    struct eng_bytes bytes = {0};

    if (!make(t, name, notation, text, &bytes))
        return;
    t->latest.len = 0;
    eng_bytes_add(&t->latest, bytes.data, bytes.len);
    enqueue(t, to, &bytes, -1, name);
}

/* ---- commands ---- */

static void
do_help(struct cli_talk *t, const char *rest)
{
    (void)rest;
    say(t, TEXT_TALK_HELP, NULL);
}

static void
do_hex(struct cli_talk *t, const char *rest)
{
    send_text(t, t->to, "/hex", ENG_AS_HEX, rest);
}

static void
do_escape(struct cli_talk *t, const char *rest)
{
    send_text(t, t->to, "/escape", ENG_AS_ESCAPE, rest);
}

static void
do_all(struct cli_talk *t, const char *rest)
{
    send_text(t, 0, "/all", ENG_AS_TEXT, rest);
}

/* A file that is one message is read at once, with its checksum behind it. */
static void
do_file(struct cli_talk *t, const char *rest)
{
    struct eng_bytes bytes = {0};
    struct stat st;
    int fd = open(rest, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error;

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        close(fd);
        fd = -1;
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    }
    if (fd < 0) {
        say(t, TEXT_ERROR_FILE, rest, strerror(errno));
        return;
    }
    if (!t->whole && !t->opts->append) {
        enqueue(t, t->to, &bytes, fd, rest);
        return;
    }
    error = eng_file_read(fd, WHOLE_MAX, &bytes);
    close(fd);
    if (error) {
        if (error == EFBIG)
            say(t, TEXT_ERROR_FILE_LONG, rest, "16 MiB");
        else
            say(t, TEXT_ERROR_FILE, rest, strerror(error));
        eng_bytes_free(&bytes);
        return;
    }
    eng_seal(&bytes, t->opts->append, "");
    enqueue(t, t->to, &bytes, -1, rest);
}

/* Said once, and counted: who does not read is told at no tick that he does not. */
static void
leave_out(struct cli_talk *t, enum cli_text why)
{
    if (t->every_left_out++ == 0)
        say(t, why, NULL);
}

static void
every_came(outlet_timer timer, void *arg)
{
    struct cli_talk *t = arg;
    struct eng_bytes copy = {0};
    struct item *i;

    (void)timer;
    if (t->every_waiting >= EVERY_MAX) {
        leave_out(t, TEXT_TALK_EVERY_BEHIND);
        return;
    }
    if (t->opts->role == OUTLET_TO_LISTEN && eng_session_ready(t->session, t->to) == ENG_NOBODY) {
        leave_out(t, TEXT_TALK_EVERY_NOBODY);
        return;
    }
    eng_bytes_add(&copy, t->repeated.data, t->repeated.len);
    i = append(t, t->to, &copy, -1, "/every");
    if (!i) {
        leave_out(t, TEXT_TALK_EVERY_BEHIND);
        return;
    }
    i->every = true;
    t->every_waiting++;
    pump(t);
}

static void
every_off(struct cli_talk *t)
{
    char count[24];

    if (t->every.id)
        outlet_timer_stop(t->every);
    t->every.id = 0;
    snprintf(count, sizeof count, "%llu", (unsigned long long)t->every_left_out);
    if (t->every_left_out)
        say(t, TEXT_TALK_EVERY_LEFT_OUT, count);
    t->every_left_out = 0;
}

static void
do_every(struct cli_talk *t, const char *rest)
{
    char time[32];
    size_t len = strcspn(rest, " ");
    const char *text = rest + len + strspn(rest + len, " ");
    struct eng_bytes bytes = {0};
    int64_t ms;

    if (strcmp(rest, "off") == 0) {
        every_off(t);
        return;
    }
    snprintf(time, sizeof time, "%.*s", (int)len, rest);
    if (len >= sizeof time || !eng_parse_duration(time, &ms)) {
        say(t, TEXT_USAGE_BAD_VALUE, "/every", time, "500ms TEXT");
        return;
    }
    if (*text ? !make(t, "/every", ENG_AS_TEXT, text, &bytes)
              : !eng_bytes_add(&bytes, t->latest.data, t->latest.len))
        return;
    if (!*text && !t->latest.len) {
        say(t, TEXT_TALK_NOTHING_YET, NULL);
        return;
    }
    every_off(t);
    eng_bytes_free(&t->repeated);
    t->repeated = bytes;
    every_came(t->every, t);
    if (outlet_timer_start(t->loop, ms, ms, every_came, t, &t->every) != OUTLET_OK)
        say(t, TEXT_USAGE_NO_MEMORY, "/every");
}

/* A client that is there, by its number.  False: it is not, which has been said. */
static bool
client_of(struct cli_talk *t, const char *name, const char *text, size_t len,
          struct eng_client *out)
{
    char number[24];
    int64_t n = 0;

    snprintf(number, sizeof number, "%.*s", (int)len, text);
    if (len < sizeof number && eng_parse_count(number, &n) &&
        eng_session_client(t->session, (uint64_t)n, out))
        return true;
    if (n && eng_session_clients(t->session, NULL, 0))
        say(t, TEXT_TALK_NO_CLIENT, number);
    else if (n)
        say(t, TEXT_TALK_NO_CLIENTS, NULL);
    else
        say(t, TEXT_USAGE_BAD_VALUE, name, number, "1");
    return false;
}

static void
set_prompt(struct cli_talk *t)
{
    char prompt[240];

    if (t->to)
        snprintf(prompt, sizeof prompt, "%.180s #%llu", t->address, (unsigned long long)t->to);
    else
        snprintf(prompt, sizeof prompt, "%.180s", t->address);
    cli_line_prompt(t->line, prompt);
}

static void
say_closing(struct cli_talk *t, const struct eng_client *client)
{
    char number[24];
    char size[32];

    snprintf(number, sizeof number, "%llu", (unsigned long long)client->id);
    eng_text_size(size, sizeof size, client->queued);
    say(t, TEXT_TALK_CLOSING, number, size);
}

static void
do_to(struct cli_talk *t, const char *rest)
{
    struct eng_client client = {0};

    if (strcmp(rest, "all") != 0 && !client_of(t, "/to", rest, strlen(rest), &client))
        return;
    if (client.closing) {
        say_closing(t, &client);
        return;
    }
    t->to = client.id;
    set_prompt(t);
}

static void
do_kick(struct cli_talk *t, const char *rest)
{
    size_t len = strcspn(rest, " ");
    const char *how = rest + len + strspn(rest + len, " ");
    struct eng_client client;

    if (*how && strcmp(how, "reset") != 0)
        say(t, TEXT_USAGE_BAD_VALUE, "/kick", rest, "1 reset");
    else if (client_of(t, "/kick", rest, len, &client) &&
             !eng_session_kick(t->session, client.id, *how != '\0'))
        say_closing(t, &client);
}

static void
do_clients(struct cli_talk *t, const char *rest)
{
    struct eng_client clients[CLIENTS_SHOWN];
    size_t count = eng_session_clients(t->session, clients, CLIENTS_SHOWN);
    char more[24];

    (void)rest;
    if (count == 0)
        say(t, TEXT_TALK_NO_CLIENTS, NULL);
    for (size_t i = 0; i < count && i < CLIENTS_SHOWN; i++) {
        const struct eng_client *c = &clients[i];
        time_t at = (time_t)(c->opened_ns / 1000000000);
        char id[24];
        char since[16] = "";
        char in[32];
        char out[32];
        char counts[2][24];
        char queued[32];
        struct tm tm;

        if (localtime_r(&at, &tm))
            (void)strftime(since, sizeof since, "%H:%M:%S", &tm);
        snprintf(id, sizeof id, "%llu", (unsigned long long)c->id);
        eng_text_size(in, sizeof in, c->bytes_in);
        eng_text_size(out, sizeof out, c->bytes_out);
        snprintf(counts[0], sizeof counts[0], "%llu", (unsigned long long)c->messages_in);
        snprintf(counts[1], sizeof counts[1], "%llu", (unsigned long long)c->messages_out);
        eng_text_size(queued, sizeof queued, c->queued);
        say(t,
            c->closing  ? TEXT_TALK_CLIENT_CLOSING
            : c->behind ? TEXT_TALK_CLIENT_BEHIND
                        : TEXT_TALK_CLIENT,
            id, c->peer, since, in, counts[0], out, counts[1], queued);
    }
    snprintf(more, sizeof more, "%zu", count > CLIENTS_SHOWN ? count - CLIENTS_SHOWN : 0);
    if (count > CLIENTS_SHOWN)
        say(t, TEXT_TALK_MORE_CLIENTS, more);
}

static void
do_save(struct cli_talk *t, const char *rest)
{
    t->save(t->save_user, rest);
}

/* They are another's from the next message on; with a mistake those before stay. */
static void
do_rules(struct cli_talk *t, const char *rest)
{
    struct eng_rules *rules = NULL;
    struct stat st;
    char count[24];

    if (strcmp(rest, "off") == 0) {
        eng_session_set_rules(t->session, NULL);
        say(t, TEXT_TALK_RULES_OFF, NULL);
        return;
    }
    if (stat(rest, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe would hold the loop */
        say(t, TEXT_ERROR_RULES, rest, strerror(S_ISDIR(st.st_mode) ? EISDIR : EINVAL));
        return;
    }
    if (!cli_rules_read(t->cli, rest, t->opts, &rules))
        return;
    snprintf(count, sizeof count, "%zu", eng_rules_count(rules));
    eng_session_set_rules(t->session, rules);
    say(t, TEXT_TALK_RULES, rest, count);
}

/* Messages that wait, and what there is of them; of a file as far as can be told. */
static size_t
count_waiting(const struct cli_talk *t, uint64_t *bytes)
{
    size_t count = 0;

    *bytes = t->waiting;
    for (const struct item *i = t->first; i; i = i->next) {
        struct stat st;
        off_t at = i->fd >= 0 ? lseek(i->fd, 0, SEEK_CUR) : -1;

        if (at >= 0 && fstat(i->fd, &st) == 0 && st.st_size > at)
            *bytes += (uint64_t)(st.st_size - at);
        count++;
    }
    return count;
}

static void
say_waiting(struct cli_talk *t, enum cli_text id)
{
    uint64_t bytes;
    char count[24];
    char size[32];

    snprintf(count, sizeof count, "%zu", count_waiting(t, &bytes));
    eng_text_size(size, sizeof size, bytes);
    say(t, id, count, size);
}

/* Nothing more is typed. */
static void
end_typing(struct cli_talk *t)
{
    t->ended = true;
    every_off(t);
    if (t->watching)
        outlet_watch_stop(t->input);
    t->watching = false;
    cli_line_leave(t->line);
}

bool
cli_talk_quit(struct cli_talk *t)
{
    bool asked = t->quitting;

    every_off(t);
    if (asked || !t->first || !wait_for_rest(t))
        return false;
    t->quitting = true;
    if (!t->ended)
        end_typing(t);
    say_waiting(t, TEXT_TALK_QUITTING);
    return true;
}

static void
do_quit(struct cli_talk *t, const char *rest)
{
    (void)rest;
    if (!cli_talk_quit(t))
        eng_session_finish(t->session, ENG_DONE);
}

static const struct {
    const char *word;
    const char *argument; /* NULL: none; in brackets: it may be left away */
    void (*run)(struct cli_talk *t, const char *rest);
} commands[] = {
    {"/hex", "01 03 ff", do_hex},
    {"/escape", "a\\r\\n", do_escape},
    {"/file", "FILE", do_file},
    {"/every", "500ms TEXT", do_every},
    {"/to", "1", do_to},
    {"/all", "TEXT", do_all},
    {"/clients", NULL, do_clients},
    {"/kick", "1", do_kick},
    {"/save", "FILE.jsonl", do_save},
    {"/rules", "FILE", do_rules},
    {"/quit", NULL, do_quit},
    {"/help", NULL, do_help},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void
obey(struct cli_talk *t, const char *line)
{
    size_t len = strcspn(line, " ");
    const char *rest = line + len + strspn(line + len, " ");
    const char *near = NULL;
    size_t best = 3;
    bool begins = false;
    char word[32];

    snprintf(word, sizeof word, "%.*s", (int)(len < 31 ? len : 31), line);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(word, commands[i].word) == 0) {
            if (commands[i].argument && !*rest)
                say(t, TEXT_TALK_NEEDS, word, commands[i].argument);
            else
                commands[i].run(t, rest);
            return;
        }
        if (!begins && len > 1 && strncmp(word, commands[i].word, len) == 0) {
            begins = true; /* that is nearer than any letters */
            near = commands[i].word;
        }
        if (!begins && len > 2 && eng_is_near(word, commands[i].word, &best))
            near = commands[i].word;
    }
    if (near)
        say(t, TEXT_TALK_UNKNOWN_NEAR, word, near);
    else
        say(t, TEXT_TALK_UNKNOWN, word);
}

static void
took(void *user, const char *line, size_t len, bool pasted)
{
    struct cli_talk *t = user;

    if (t->ended)
        return; /* typed together with what ended it */
    if (!line) {
        end_typing(t);
        maybe_over(t);
    } else if (pasted || line[0] != '/' || line[1] == '/') {
        send_text(t, t->to, "TEXT", ENG_AS_TEXT, line + (!pasted && line[0] == '/'));
    } else if (strlen(line) == len) {
        obey(t, line);
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
    static const char *words[COMMANDS + 1];
    struct cli_talk *t = eng_alloc(sizeof *t);
    struct cli_line_opts line = {.words = words, .took = took, .user = t};
    struct eng_url url;
    char masked[2048];

    if (!t)
        return NULL;
    for (int i = 0; i < COMMANDS; i++)
        words[i] = commands[i].word;
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
    pump(t);
}

void
cli_talk_flow(struct cli_talk *t)
{
    if (t->to && eng_session_ready(t->session, t->to) == ENG_NOBODY) {
        char number[24];

        snprintf(number, sizeof number, "%llu", (unsigned long long)t->to);
        t->to = 0;
        say(t, TEXT_TALK_LEFT, number);
        set_prompt(t);
    }
    pump(t);
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
    every_off(t);
    if (t->again.id)
        outlet_timer_stop(t->again);
    if (t->late.id)
        outlet_timer_stop(t->late);
    cli_line_close(t->line);
    t->line = NULL;
    if (t->first)
        say_waiting(t, TEXT_TALK_LOST);
    while (t->first)
        drop_first(t);
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
