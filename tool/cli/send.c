/*
 * send.c - outlet send URL [payload]: one message, the answer, the end.
 *
 * The answer ends it, with 0; silence ends it with 5.  A newcomer's mistake: to expect our side to
 * be ended as `connect` does at the end of its input.  Many devices take that for the end of all
 * and never answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <string.h>

enum { INPUT_MAX = 16 * 1024 * 1024 };

/* The whole input is one message. */
static int
read_input(struct cli *cli, struct eng_session_opts *opts)
{
    struct eng_bytes raw = {0};
    int error = eng_file_read(opts->input, INPUT_MAX, &raw);
    size_t bad_at;
    int code = ENG_DONE;

    if (error) {
        if (error == EFBIG)
            cli_fail(cli, OUTLET_EMSGSIZE, TEXT_ERROR_INPUT_LONG, "16 MiB");
        else
            cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_INPUT, strerror(error));
        code = ENG_FILE;
    } else if (!eng_encode_text(opts->charset, raw.data, raw.len, &opts->bytes, &bad_at)) {
        char at[24];

        snprintf(at, sizeof at, "%zu", bad_at + 1);
        cli_fail(cli, OUTLET_EINVAL,
                 eng_utf8_next(raw.data + bad_at, raw.len - bad_at) ? TEXT_ERROR_INPUT_CHARACTER
                                                                    : TEXT_ERROR_INPUT_UTF8,
                 at, opts->charset);
        code = ENG_FILE;
    } else {
        eng_seal(&opts->bytes, opts->append, opts->eol);
        opts->payload = ENG_PAYLOAD_BYTES;
        opts->payload_eol = "";
    }
    eng_bytes_free(&raw);
    return code;
}

int
cli_send(struct cli *cli)
{
    struct eng_session_opts opts = {.role = OUTLET_TO_CONNECT, .answer = true};
    int code = ENG_DONE;

    if (!cli_session_options(cli, &opts))
        code = cli->refusal;
    else if (opts.payload == ENG_PAYLOAD_NONE)
        code = cli_usage(cli, TEXT_USAGE_NOTHING_TO_SEND, NULL);
    else if (opts.payload == ENG_PAYLOAD_INPUT)
        code = read_input(cli, &opts);
    if (code == ENG_DONE)
        code = cli_run_session(cli, &opts);
    cli_session_options_free(&opts);
    return code;
}
