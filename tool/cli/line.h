/*
 * line.h - the line that somebody edits while messages arrive (line.c, with libedit).
 *
 * A newcomer's mistake: to write to the terminal while the line stands there.  Everything goes
 * through cli_out, which takes the line away first; cli_line_show() draws it anew.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include "cli.h"

struct cli_line;

/* Can there be one: was it built in, do people sit at both ends, does the terminal know how? */
bool cli_line_is_possible(const struct cli *cli);

/* `took` is given each line that was ended, which it may change; `pasted`: as a part of something
 * pasted, and no command.  NULL as a line: the end, Ctrl-D. */
struct cli_line_opts {
    const char *address;      /* names the history, begins the prompt */
    const char *const *words; /* that a tab completes, NULL at the end */
    void (*took)(void *user, const char *line, size_t len, bool pasted);
    void *user;
};

/* NULL: the terminal does not do it, or no memory is left. */
struct cli_line *cli_line_open(struct cli *cli, const struct cli_line_opts *opts);
void cli_line_typed(struct cli_line *l, const uint8_t *bytes, size_t len);
void cli_line_prompt(struct cli_line *l, const char *prompt);
void cli_line_show(struct cli_line *l);    /* draw it, if it was taken away */
void cli_line_resized(struct cli_line *l); /* the terminal has another size */
void cli_line_leave(struct cli_line *l);   /* the terminal as it was, for a while */
void cli_line_back(struct cli_line *l);
void cli_line_close(struct cli_line *l); /* writes the history; NULL is allowed */

/* What is done with the lines (talk.c, and its parts by talk.h). */
struct cli_talk;

struct cli_talk *cli_talk_open(struct cli *cli, outlet_loop *loop, struct eng_session_opts *opts);
/* `save` begins a recording in the file of that name, and says what came of it. */
void cli_talk_begin(struct cli_talk *t, struct eng_session *session,
                    void (*save)(void *user, const char *path), void *user);
void cli_talk_flow(struct cli_talk *t); /* somebody came, left, or has room again */
void cli_talk_show(struct cli_talk *t); /* before the loop waits */
/* Somebody wants to end it.  False: nothing waits to be sent, or he has asked before; else the
 * session is stopped when all of it is, or when for a while nothing of it was taken. */
bool cli_talk_quit(struct cli_talk *t);
void cli_talk_close(struct cli_talk *t); /* the terminal is as it was; NULL is allowed */

#endif
