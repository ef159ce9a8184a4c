/*
 * talk.h - what the parts of "what is done with typed lines" share.
 *
 *     the line --> talk.c --> talk_commands.c --> talk_queue.c --> the session
 *                             obeyed, or made     sent, when
 *                             bytes               there is room
 *
 * Only talk*.c include it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "line.h"

struct talk_item {
    struct talk_item *next;
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
    struct talk_item *first;
    struct talk_item **last;
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

#define say(t, id, ...) talk_say_args(t, id, (const char *const[CLI_ARGS]){__VA_ARGS__})
void talk_say_args(struct cli_talk *t, enum cli_text id, const char *const args[]);

/* ---- what waits (talk_queue.c) ---- */

/* Takes the bytes.  NULL: there is no room, and they are gone. */
struct talk_item *talk_append(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd,
                              const char *about);
void talk_enqueue(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd,
                  const char *about); /* and sends what it can; no room: says so */
void talk_pump(struct cli_talk *t);   /* send what there is room for */
void talk_drop_first(struct cli_talk *t);
void talk_maybe_over(struct cli_talk *t);    /* nothing waits and nothing more is typed */
bool talk_wait_for_rest(struct cli_talk *t); /* from now on; false: no memory for a timer */
void talk_say_waiting(struct cli_talk *t, enum cli_text id);

/* ---- commands (talk_commands.c) ---- */

const char *const *talk_words(void); /* all commands, NULL at the end */
void talk_obey(struct cli_talk *t, const char *line);
void talk_send_text(struct cli_talk *t, uint64_t to, const char *name, enum eng_notation notation,
                    const char *text);
void talk_every_off(struct cli_talk *t);

/* ---- the terminal (talk.c) ---- */

void talk_set_prompt(struct cli_talk *t);
void talk_end_typing(struct cli_talk *t); /* nothing more is typed */

#endif
