/*
 * cli.h - what the files of the command share: options, text, output, the way a session is run.
 *
 * The command is a thin face on engine/: it reads options, shows events and chooses the exit
 * code.  A newcomer's mistake: to print with printf().  Standard output goes through cli_out,
 * which never blocks the loop; what people are told goes to standard error through cli_say().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "engine/engine.h"

#include <stdio.h>

/* ---- verbs and options (options.c) ---- */

enum cli_verb {
#define VERB(name, word, arguments, text) CLI_##name,
#include "verbs.def"
#undef VERB
    CLI_VERBS
};

enum cli_option {
#define OPTION(name, letter, word, argument, verbs, text) OPT_##name,
#include "options.def"
#undef OPTION
    CLI_OPTIONS
};

enum { CLI_WORDS = 16 /* the filters of ps; main.c says how many a verb takes */, CLI_LIST = 16 };

/* What stands in front of --name: an option, or one of the words. */
enum { CLI_WORD_URL = CLI_OPTIONS, CLI_WORD_PAYLOAD, CLI_GIVEN };

/* Where in a file of presets a value stands; line 0: it is from the command line. */
struct cli_place {
    int line;
    size_t at; /* bytes of the line in front of it */
    const char *value;
};

struct cli_options {
    enum cli_verb verb; /* CLI_VERBS: none was given */
    bool has[CLI_OPTIONS];
    const char *value[CLI_OPTIONS]; /* NULL where an option takes none */
    const char *words[CLI_WORDS];   /* what is not an option, after the verb */
    int word_count;
    const char *list[CLI_LIST]; /* the values of --require, which may stand several times */
    int list_count;
    struct cli_place place[CLI_GIVEN];
};

struct cli_option_info {
    char letter;
    const char *word;
    const char *argument;
    unsigned verbs; /* a bit per enum cli_verb */
    int text;
};

struct cli_verb_info {
    const char *word;
    const char *arguments;
    int text;
};

extern const struct cli_option_info cli_option_infos[CLI_OPTIONS];
extern const struct cli_verb_info cli_verb_infos[CLI_VERBS];

/* ---- text (lang.c) ---- */

enum cli_lang { CLI_EN, CLI_ZH };

enum cli_text {
#define TEXT(name, en, zh) TEXT_##name,
#include "text.def"
#undef TEXT
    CLI_TEXTS
};

enum { CLI_ARGS = 8 };

/* {0}.. of the sentence are args[0].., which end with NULL; {=0} is one that cli_said() says. */
void cli_format(enum cli_lang lang, enum cli_text id, const char *const args[],
                struct eng_bytes *out);
const char *cli_text(enum cli_lang lang, enum cli_text id);
/* A sentence of the library or of the engine, which are in English (said.c). */
/* A form with {0} and {=0}, the one way in which sentences are filled in. */
struct cli_piece {
    const char *text;
    size_t len;
};
void cli_fill(enum cli_lang lang, const char *form, const struct cli_piece args[CLI_ARGS],
              struct eng_bytes *out);
void cli_said(enum cli_lang lang, const char *text, struct eng_bytes *out);
enum cli_lang cli_lang_from(const char *option); /* NULL: from the environment */

/* ---- one run of the command ---- */

/* Standard output: a bounded queue in front of a descriptor that may be slow (out.c). */
struct cli_out {
    int fd;
    bool own_fd; /* a description of our own, so that O_NONBLOCK is nobody else's */
    bool is_socket;
    bool careful; /* blocking: ask poll() first, and write little */
    int broken;   /* errno of the failure that ended it; 0: fine */
    struct eng_bytes queue;
    size_t at;         /* bytes of the queue that are written */
    outlet_loop *loop; /* NULL: nobody watches, writing waits */
    bool watching;
    outlet_watch watch;
    void (*changed)(void *arg); /* it drained, or broke */
    void *arg;
    void (*before)(void *arg); /* something is about to be added; NULL: nobody asks */
    void *before_arg;
};

/* FORM_DECODED: as it is, in UTF-8; what a pipe is given with --charset. */
enum cli_form { FORM_DEFAULT, FORM_TEXT, FORM_HEX, FORM_BOTH, FORM_RAW, FORM_NONE, FORM_DECODED };

struct cli {
    struct cli_options options;
    enum cli_lang lang;
    bool json;
    bool quiet;
    bool verbose;
    bool terminal; /* standard output is one */
    bool colours;  /* on standard output */
    bool error_colours;
    enum cli_form form;
    struct cli_out out;
    int refusal;                /* the exit code of what cli_refuse() refused */
    struct eng_presets presets; /* where values of the options may be */
    char preset_path[4096];
};

/* Parse, or say what is wrong and answer false. */
bool cli_parse(struct cli *cli, int argc, char **argv);

/* A sentence on standard error, as an `error` event with --json.  cli_usage() answers 2. */
#define cli_say(cli, id, ...) cli_say_args(cli, id, (const char *const[CLI_ARGS]){__VA_ARGS__})
#define cli_usage(cli, id, ...) cli_usage_args(cli, id, (const char *const[CLI_ARGS]){__VA_ARGS__})
#define cli_fail(cli, code, id, ...) \
    cli_fail_args(cli, code, id, (const char *const[CLI_ARGS]){__VA_ARGS__})
void cli_say_args(struct cli *cli, enum cli_text id, const char *const args[]);
int cli_usage_args(struct cli *cli, enum cli_text id, const char *const args[]);
void cli_fail_args(struct cli *cli, outlet_err code, enum cli_text id, const char *const args[]);

/* What was given as `id` (an option or CLI_WORD_...) is wrong at its byte `at`: said with the place
 * in the file when a preset gave it.  Both answer false, and set cli->refusal. */
#define cli_refuse(cli, id, at, text, ...) \
    cli_refuse_args(cli, id, at, text, (const char *const[CLI_ARGS]){__VA_ARGS__})
bool cli_refuse_args(struct cli *cli, int id, size_t at, enum cli_text text,
                     const char *const args[]);
bool cli_refuse_mistake(struct cli *cli, int id, const char *text,
                        const struct eng_mistake *mistake);
bool cli_refuse_time(struct cli *cli, int id, const char *example);      /* no possible duration */
bool cli_refuse_pair(struct cli *cli, int a, int b, enum cli_text text); /* {0} beside {1} */
/* True: words[word] is a URL for `role`.  False: refused as above. */
bool cli_refuse_url(struct cli *cli, int word, enum outlet_role role);
/* `otherwise` says that a URL is missing, {0} being the verb.  Answers 2. */
int cli_usage_no_url(struct cli *cli, enum cli_text otherwise);
/* The same, and it goes on. */
void cli_say_mistake(struct cli *cli, const char *name, const char *text,
                     const struct eng_mistake *mistake);

/* Its sentence, and that one's hint. */
enum cli_text cli_text_of_mistake(const struct eng_mistake *mistake);
const char *cli_hint_of_mistake(const struct cli *cli, const struct eng_mistake *mistake);

/* Why a URL could not be used or a connection failed, with the next step (explain.c). */
void cli_explain(enum cli_lang lang, const char *url, enum outlet_role role,
                 const struct outlet_reason *why, struct eng_bytes *out);

void cli_out_open(struct cli_out *out, int fd);
void cli_out_add(struct cli_out *out, const void *bytes, size_t len);
void cli_out_flush(struct cli_out *out);
/* Write the rest, for at most `wait_ms` (-1: no limit) or until `stop_fd` is readable. */
void cli_out_finish(struct cli_out *out, int wait_ms, int stop_fd);
void cli_out_drop(struct cli_out *out); /* what nobody took in time */
bool cli_out_is_full(const struct cli_out *out);
void cli_out_free(struct cli_out *out);

/* Events as lines (show.c). */
struct cli_show {
    struct eng_sink sink; /* first */
    struct cli *cli;
    bool signalled; /* somebody ended it: the summary is wanted */
    bool skips;     /* what the screen is too slow for is left out, since it is recorded */
    uint64_t skipped;
    uint64_t skipped_told;
};

void cli_show_init(struct cli_show *show, struct cli *cli);
void cli_show_skipped(struct cli_show *show); /* the output has room: how many were left out */

/* SIGINT, SIGTERM and SIGHUP as a readable descriptor (signals.c). */
int cli_signals_open(void);
int cli_signals_read(int fd); /* the signal; 0: none is waiting */
/* While something is waited for that no loop watches, they end the program as they end others. */
void cli_signals_end_it(bool at_once);

/* The terminal (term.c). */
bool cli_can_paint(const struct cli *cli); /* a terminal that can move its cursor */
bool cli_screen_size(int *rows, int *columns);
enum cli_ink { INK_NONE, INK_DIM, INK_BOLD, INK_IN, INK_OUT, INK_GOOD, INK_BAD };

/* `mode`: auto, always or never; NULL: auto. */
void cli_set_colours(struct cli *cli, const char *mode);
/* What begins a colour, and INK_NONE ends it; "" where there are none.  A colour only repeats what
 * a word or a sign says. */
const char *cli_ink(bool colours, enum cli_ink ink);
int cli_resize_open(void); /* readable when the size has changed; read as cli_signals_read() */

/* A loop, or what is wrong with it, which has been said: the exit code (session.c). */
int cli_loop_open(struct cli *cli, outlet_loop **loop);

/* listen, connect and send (session.c) */
bool cli_session_options(struct cli *cli, struct eng_session_opts *opts);
void cli_session_options_free(struct eng_session_opts *opts);
bool cli_parse_time(struct cli *cli, int64_t *ms); /* --time, if it was given */
int cli_run_session(struct cli *cli, struct eng_session_opts *opts);

/* What is sent, from the options that say it (payload.c).  False: refused, which has been said. */
bool cli_payload_options(struct cli *cli, struct eng_session_opts *opts);
int cli_payload_id(const struct cli *cli); /* CLI_WORD_PAYLOAD, an option, or -1: nothing is sent */
bool cli_payload_charset(struct cli *cli, const char **charset); /* NULL: none was given */
bool cli_payload_sum(struct cli *cli, enum cli_option id, struct eng_sum **sum);
/* The bytes of an option or word, text encoded in the charset; NULL: as it is. */
bool cli_payload_bytes(struct cli *cli, int id, const char *charset, struct eng_bytes *out);

/* show and replay (recording.c).  NULL, false: refused, which has been said. */
struct eng_reader *cli_reader_open(struct cli *cli, const char *path);
bool cli_filter_options(struct cli *cli, struct eng_record_filter *f, struct eng_bytes *contains);
void cli_say_damage(struct cli *cli, const char *path, const struct eng_damage *damage);

/* --preset and --save (preset.c) */
bool cli_preset_apply(struct cli *cli);
bool cli_preset_save(struct cli *cli);
/* The folders of the path, which may not be there yet; opening the file says what is wrong. */
void cli_make_folders(const char *path);

/* --rules, and /rules (rules.c).  False: it has been said, with the place in the file. */
bool cli_rules_read(struct cli *cli, const char *path, const struct eng_session_opts *opts,
                    struct eng_rules **out);
bool cli_rules_options(struct cli *cli, struct eng_session_opts *opts);

int cli_connect(struct cli *cli);
int cli_listen(struct cli *cli);
int cli_relay(struct cli *cli);
int cli_send(struct cli *cli);
int cli_preset(struct cli *cli);
int cli_recording(struct cli *cli);
int cli_replay(struct cli *cli);
int cli_load(struct cli *cli);
int cli_completion(struct cli *cli);
int cli_ps(struct cli *cli);
int cli_demo(struct cli *cli);
int cli_help(struct cli *cli);
int cli_version(struct cli *cli);
void cli_help_verb(struct cli *cli, enum cli_verb verb, struct eng_bytes *out);
void cli_help_all(struct cli *cli, struct eng_bytes *out);
extern const char *const cli_topics[]; /* NULL at the end */
bool cli_help_topic(struct cli *cli, const char *topic, struct eng_bytes *out);

#endif
