/*
 * relay.c - outlet relay FROM TO
 *
 * Each client of FROM gets a connection of its own to TO.  Without a terminal both directions are
 * still shown as lines: bytes of two directions in one stream would be of use to nobody.  Rules
 * decide what passes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <sys/random.h>

int
cli_relay(struct cli *cli)
{
    struct eng_session_opts opts = {.role = OUTLET_TO_LISTEN, .eol = ""};
    int code;

    if (cli->options.word_count < 2)
        return cli_usage_no_url(cli, TEXT_USAGE_TWO_URLS);
    if (cli->options.has[OPT_DIAL])
        opts.role = OUTLET_TO_CONNECT;
    opts.url = cli->options.words[0];
    opts.to = cli->options.words[1];
    opts.once = cli->options.has[OPT_ONCE];
    if (!cli_parse_time(cli, &opts.time_ms))
        return cli->refusal;
    (void)!getrandom(&opts.seed, sizeof opts.seed, GRND_NONBLOCK); /* as without --seed */
    if (!cli_payload_charset(cli, &opts.charset) || !cli_rules_options(cli, &opts))
        return cli->refusal;
    if (cli->form == FORM_DEFAULT)
        cli->form = FORM_TEXT;
    code = cli_run_session(cli, &opts);
    eng_rules_free(opts.rules);
    return code;
}
