/*
 * connect.c - outlet connect URL [payload]
 *
 * Without a payload, standard input is it: lines that are typed, or what a pipe brings.  With a
 * rule (--echo, --reply, --discard) standard input is left alone unless "-" asks for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <signal.h>
#include <unistd.h>

int
cli_connect(struct cli *cli)
{
    struct eng_session_opts opts = {.role = OUTLET_TO_CONNECT};
    bool typed = isatty(STDIN_FILENO);
    int code;

    if (!cli_session_options(cli, &opts)) {
        code = cli->refusal;
    } else {
        if (opts.payload == ENG_PAYLOAD_NONE && opts.rule == ENG_RULE_NONE)
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
