/*
 * load.h - what load.c and load_options.c share: one call of outlet load.
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
    FILE *plot;
    FILE *hist;
    int signal_fd;
    bool signalled;
    bool painted;
    bool unmet;
    struct eng_load_result r;
};

/* Options and words into the job.  0, or the exit code, and it has been said what is wrong. */
int cli_load_options(struct load_job *j);

#endif
