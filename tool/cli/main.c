/*
 * main.c - the outlet command.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct {
    int (*run)(struct cli *cli);
    int words; /* arguments that are not options */
} verbs[CLI_VERBS] = {
    [CLI_CONNECT] = {cli_connect, 2},
    [CLI_LISTEN] = {cli_listen, 2},
    [CLI_RELAY] = {cli_relay, 2},
    [CLI_SEND] = {cli_send, 2},
    [CLI_DEMO] = {cli_demo, 0},
    [CLI_LOAD] = {cli_load, 2},
    [CLI_COMPLETION] = {cli_completion, 1},
    [CLI_PS] = {cli_ps, CLI_WORDS},
    [CLI_PRESET] = {cli_preset, 1},
    [CLI_SHOW] = {cli_recording, 1},
    [CLI_REPLAY] = {cli_replay, 2},
    [CLI_HELP] = {cli_help, 1},
    [CLI_VERSION] = {cli_version, 0},
};

/* A socket must never get number 0, 1 or 2: what is printed would be sent to a peer. */
static void
open_standard_files(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

static int
run(struct cli *cli, int argc, char **argv)
{
    const struct cli_options *o = &cli->options;
    struct eng_bytes out = {0};
    bool takes_payload;

    if (!cli_parse(cli, argc, argv))
        return cli->refusal;
    if (o->has[OPT_VERSION])
        return cli_version(cli);
    if (o->has[OPT_HELP] || o->verb == CLI_VERBS) {
        if (o->verb == CLI_VERBS || o->verb == CLI_HELP)
            cli_help_all(cli, &out);
        else
            cli_help_verb(cli, o->verb, &out);
        if (o->has[OPT_HELP])
            cli_out_add(&cli->out, out.data, out.len);
        else
            (void)fwrite(out.data, 1, out.len, stderr); /* nobody to tell when this fails */
        eng_bytes_free(&out);
        return o->has[OPT_HELP] ? ENG_DONE : ENG_USAGE;
    }
    takes_payload = (cli_option_infos[OPT_HEX].verbs & 1u << o->verb) != 0;
    if (o->word_count > verbs[o->verb].words)
        return cli_usage(cli, takes_payload ? TEXT_USAGE_TOO_MUCH : TEXT_USAGE_TOO_MANY,
                         o->words[verbs[o->verb].words], cli_verb_infos[o->verb].word);
    return verbs[o->verb].run(cli);
}

int
main(int argc, char **argv)
{
    struct cli cli = {0};
    int code;

    open_standard_files();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of the write */
    /* How wide a character is, whatever the locale: our text is UTF-8.  Else some columns shift. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    cli_out_open(&cli.out, STDOUT_FILENO);
    cli.terminal = isatty(STDOUT_FILENO);
    code = run(&cli, argc, argv);
    cli_out_finish(&cli.out, -1, -1);
    /* A reader that left has what it wanted, and so has who closed the terminal; a disk that is
     * full is an error. */
    if (cli.out.broken && cli.out.broken != EPIPE && cli.out.broken != ECONNRESET &&
        !(cli.terminal && cli.out.broken == EIO)) {
        cli.json = false;
        cli_fail(&cli, OUTLET_ESYS, TEXT_ERROR_OUTPUT, strerror(cli.out.broken));
        if (code == ENG_DONE)
            code = ENG_FILE;
    }
    cli_out_free(&cli.out);
    eng_presets_free(&cli.presets);
    return code;
}
