/*
 * listen.c - outlet listen URL [payload]
 *
 * A payload greets every client; lines typed on a terminal go to all of them.  A pipe is only read
 * when "-" asks for it: servers are often started with some open pipe that nobody meant.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <signal.h>
#include <unistd.h>

int
cli_listen(struct cli *cli)
{
    struct eng_session_opts opts = {.role = OUTLET_TO_LISTEN};
    bool typed = isatty(STDIN_FILENO);
    int code;

    if (!cli_session_options(cli, &opts)) {
        code = cli->refusal;
    } else {
        pid_t owner = tcgetpgrp(STDIN_FILENO); /* -1: nobody's terminal */
        bool foreground = owner < 0 || owner == getpgrp();

        if (typed && foreground && opts.payload == ENG_PAYLOAD_NONE && opts.rule == ENG_RULE_NONE)
            opts.payload = ENG_PAYLOAD_INPUT;
        opts.input_lines = typed;
        opts.input_person = typed;
        /* In the background reading a terminal would stop us; ignored, it answers EIO instead. */
        signal(SIGTTIN, SIG_IGN);
        code = cli_run_session(cli, &opts);
    }
    cli_session_options_free(&opts);
    return code;
}
