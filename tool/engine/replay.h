/*
 * replay.h - a recording sent again: who connected then connects now, and says what was said then.
 *
 *     file --> the next record --> due? --> connect | send | what must come | close
 *
 * One record at a time is looked at, in the order of the file, so the longest recording needs no
 * more memory than a short one.  A newcomer's mistake: to compare answers when they are sent.  They
 * come before or after their record is reached; both wait for each other, each in a bounded queue.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_REPLAY_H
#define ENG_REPLAY_H

#include "engine.h"

enum { ENG_DIFFERENCE_SHOWN = 16 };

enum eng_difference_kind {
    ENG_SAME,
    ENG_OTHER_BYTES,  /* from `offset` on */
    ENG_OTHER_LENGTH, /* a message is shorter or longer than it was */
    ENG_MISSING,      /* nothing more came */
    ENG_TOO_MUCH,     /* more came than was recorded */
    ENG_ENDED_EARLY   /* the peer left while something was still to be sent */
};

struct eng_difference {
    enum eng_difference_kind kind;
    uint64_t id;      /* of the recorded connection */
    uint64_t message; /* of those that had to come on it, from 1 */
    uint64_t offset;  /* byte of the message */
    size_t want_len;
    size_t got_len;
    uint8_t want[ENG_DIFFERENCE_SHOWN]; /* from there on */
    uint8_t got[ENG_DIFFERENCE_SHOWN];
};

struct eng_replay_opts {
    const char *url;           /* all that was recorded as one side is sent there */
    struct eng_reader *reader; /* lent; at its beginning */
    struct eng_record_filter filter;
    bool side_in; /* send what was received then, and expect what was sent */
    bool expect;
    double speed;    /* 1: as it was, 2: twice as fast; 0: as fast as it goes */
    int64_t wait_ms; /* for what must come; 0: 5 s */
    struct eng_sink *sink;
    /* Once, at the end; the replay may be freed after it returned, not inside.  `difference`, when
     * not NULL, is why the result is what it is. */
    void (*ended)(void *user, enum eng_result result, const struct eng_difference *difference);
    void *user;
};

struct eng_replay;

/* ENG_DONE, or what failed with *why filled; `ended` is not called then. */
enum eng_result eng_replay_start(outlet_loop *loop, const struct eng_replay_opts *opts,
                                 struct eng_replay **out, struct outlet_reason *why);
void eng_replay_stop(struct eng_replay *r, enum eng_result result);
void eng_replay_flow(struct eng_replay *r); /* the sink can take more */
void eng_replay_totals(const struct eng_replay *r, struct eng_totals *out);
void eng_replay_free(struct eng_replay *r); /* after `ended`; NULL is allowed */

/* "2x", "0.5x", "max" */
bool eng_parse_speed(const char *text, double *speed);

#endif
