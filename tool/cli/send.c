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
#include <unistd.h>

enum { INPUT_MAX = 16 * 1024 * 1024, READ = 64 * 1024 };

/* The whole input is one message. */
static int
read_input(struct cli *cli, struct eng_session_opts *opts)
{
    struct eng_bytes raw = {0};
    ssize_t n = 1;
    size_t bad_at;
    int code = ENG_DONE;

    while (n > 0 && raw.len <= INPUT_MAX) {
        uint8_t *space = eng_bytes_space(&raw, READ);

        errno = ENOMEM;
        n = space ? read(opts->input, space, READ) : -1;
        if (n > 0)
            raw.len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    if (n < 0 || raw.len > INPUT_MAX) {
        cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_PLAIN, "-", strerror(n < 0 ? errno : EFBIG));
        code = ENG_FILE;
    } else if (!eng_encode_text(opts->charset, raw.data, raw.len, &opts->bytes, &bad_at)) {
        char at[24];

        snprintf(at, sizeof at, "%zu", bad_at + 1);
        cli_fail(cli, OUTLET_EINVAL, TEXT_ERROR_INPUT_CHARACTER, at, opts->charset);
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
