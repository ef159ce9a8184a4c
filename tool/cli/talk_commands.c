/*
 * talk_commands.c - the lines that begin with /, and text as bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    WHOLE_MAX = 16 * 1024 * 1024, /* of a file that is one message */
    CLIENTS_SHOWN = 64,
    EVERY_MAX = 64 /* of /every that wait; what is due beyond is left out */
};

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

void
talk_send_text(struct cli_talk *t, uint64_t to, const char *name, enum eng_notation notation,
               const char *text)
{
    struct eng_bytes bytes = {0};

    if (!make(t, name, notation, text, &bytes))
        return;
    t->latest.len = 0;
    eng_bytes_add(&t->latest, bytes.data, bytes.len);
    talk_enqueue(t, to, &bytes, -1, name);
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
    talk_send_text(t, t->to, "/hex", ENG_AS_HEX, rest);
}

static void
do_escape(struct cli_talk *t, const char *rest)
{
    talk_send_text(t, t->to, "/escape", ENG_AS_ESCAPE, rest);
}

static void
do_all(struct cli_talk *t, const char *rest)
{
    talk_send_text(t, 0, "/all", ENG_AS_TEXT, rest);
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
        talk_enqueue(t, t->to, &bytes, fd, rest);
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
    talk_enqueue(t, t->to, &bytes, -1, rest);
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
    struct talk_item *i;

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
    i = talk_append(t, t->to, &copy, -1, "/every");
    if (!i) {
        leave_out(t, TEXT_TALK_EVERY_BEHIND);
        return;
    }
    i->every = true;
    t->every_waiting++;
    talk_pump(t);
}

void
talk_every_off(struct cli_talk *t)
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
        talk_every_off(t);
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
    talk_every_off(t);
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
    talk_set_prompt(t);
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

const char *const *
talk_words(void)
{
    static const char *words[COMMANDS + 1];

    for (int i = 0; i < COMMANDS; i++)
        words[i] = commands[i].word;
    return words;
}

void
talk_obey(struct cli_talk *t, const char *line)
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
