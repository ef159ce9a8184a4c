/*
 * load.h - what load.c, load_options.c and load_report.c share: one call of outlet load.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli.h"

enum { LOAD_RULES = 16 };

struct load_job {
    struct cli *cli;
    struct eng_load_opts opts;
    struct eng_bytes payload;
    struct eng_rule_of_load rules[LOAD_RULES];
    int rule_count;
    bool finds;
    struct eng_rule_of_load bound;
    double found; /* -1: nothing was looked for */
    bool cut_short;
    FILE *plot;
    FILE *hist;
    int signal_fd;
    bool signalled;
    bool painted;
    double painted_seconds; /* what the last line told, so that the next one tells the rate since */
    uint64_t painted_messages;
    bool unmet;
    struct eng_load_result r;
};

/* Options and words into the job.  0, or the exit code, and it has been said what is wrong. */
int cli_load_options(struct load_job *j);

/* load_report.c */
void load_paint(struct load_job *j);
void load_unpaint(struct load_job *j);
void load_add_titles(const struct load_job *j, struct eng_bytes *out); /* of the plot; a string */
void load_report(struct load_job *j, int code);
void load_tell_step(struct load_job *j, bool held);
void load_tell_found(struct load_job *j);
void load_tell_fault(struct load_job *j);
void load_tell_unmet(struct load_job *j, const struct eng_rule_of_load *rule);
void load_tell_rate_unmet(struct load_job *j, bool by_loss);

#endif
