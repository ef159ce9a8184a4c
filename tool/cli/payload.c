/*
 * payload.c - the options that say what is sent: text, hex, escapes, base64, a file, the input; a
 * template, a charset, a checksum, the end of a line.
 *
 * All of it is judged here, before anything is opened.  A newcomer's mistake: the order of what is
 * added.  The checksum covers the bytes as they are sent, so it comes after the charset and in
 * front of the end of the line.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>
#include <sys/random.h>

static const char *
given(const struct cli *cli, int id)
{
    if (id == CLI_WORD_PAYLOAD)
        return cli->options.words[1];
    return cli->options.value[id];
}

static enum eng_notation
notation_of(int id)
{
    switch (id) {
    case OPT_HEX:
    case OPT_EXPECT_HEX:
    case OPT_REPLY_HEX:
    case OPT_CONTAINS_HEX:
        return ENG_AS_HEX;
    case OPT_ESCAPE:
        return ENG_AS_ESCAPE;
    case OPT_BASE64:
        return ENG_AS_BASE64;
    default:
        return ENG_AS_TEXT;
    }
}

static bool
no_memory(struct cli *cli)
{
    cli_fail(cli, OUTLET_ENOMEM, TEXT_ERROR_INTERNAL, outlet_strerror(OUTLET_ENOMEM));
    cli->refusal = ENG_INTERNAL;
    return false;
}

bool
cli_payload_bytes(struct cli *cli, int id, const char *charset, struct eng_bytes *out)
{
    struct eng_mistake mistake;

    if (eng_parse_payload(notation_of(id), given(cli, id), charset, out, &mistake))
        return true;
    return out->failed ? no_memory(cli) : cli_refuse_mistake(cli, id, given(cli, id), &mistake);
}

bool
cli_payload_charset(struct cli *cli, const char **charset)
{
    struct eng_mistake mistake;

    *charset = cli->options.has[OPT_CHARSET] ? cli->options.value[OPT_CHARSET] : NULL;
    return !*charset || eng_charset_check(*charset, &mistake) ||
           cli_refuse_mistake(cli, OPT_CHARSET, *charset, &mistake);
}

bool
cli_payload_sum(struct cli *cli, enum cli_option id, struct eng_sum **sum)
{
    struct eng_mistake mistake;

    if (!cli->options.has[id])
        return true;
    *sum = eng_alloc(sizeof **sum);
    if (!*sum)
        return no_memory(cli);
    if (eng_sum_parse(cli->options.value[id], *sum, &mistake))
        return true;
    eng_free(*sum);
    *sum = NULL;
    return cli_refuse_mistake(cli, (int)id, cli->options.value[id], &mistake);
}

static bool
parse_eol(struct cli *cli, struct eng_session_opts *opts)
{
    static const struct {
        const char *name;
        const char *eol;
    } eols[] = {{"none", ""}, {"lf", "\n"}, {"crlf", "\r\n"}};
    const char *text = cli->options.value[OPT_EOL];

    opts->eol = "";
    if (!cli->options.has[OPT_EOL])
        return true;
    for (size_t i = 0; i < sizeof eols / sizeof eols[0]; i++) {
        if (strcmp(text, eols[i].name) == 0) {
            opts->eol = eols[i].eol;
            return true;
        }
    }
    return cli_refuse(cli, OPT_EOL, 0, TEXT_USAGE_BAD_VALUE, "--eol", text,
                      cli_option_infos[OPT_EOL].argument);
}

static bool
uses_template(const struct cli *cli)
{
    return cli->options.has[OPT_TEMPLATE];
}

/* Any 64 bits, so that a run can be repeated by the number that it was given. */
static bool
parse_seed(struct cli *cli, struct eng_session_opts *opts)
{
    const char *text = cli->options.value[OPT_SEED];
    int64_t n = 0;

    if (!cli->options.has[OPT_SEED]) {
        /* Without it the numbers of two runs are alike, which a template does not promise to avoid
         * where the system has no chance to offer. */
        (void)!getrandom(&opts->seed, sizeof opts->seed, GRND_NONBLOCK);
        return true;
    }
    if (!uses_template(cli) && !cli->options.has[OPT_RULES]) /* whose replies may be templates */
        return cli_refuse(cli, OPT_SEED, 0, TEXT_USAGE_NEEDS_OTHER, "--seed", "--template");
    if (strcmp(text, "0") != 0 && !eng_parse_count(text, &n))
        return cli_refuse(cli, OPT_SEED, 0, TEXT_USAGE_BAD_VALUE, "--seed", text, "1");
    opts->seed = (uint64_t)n;
    return true;
}

static bool
parse_template(struct cli *cli, int id, const struct eng_session_opts *opts,
               struct eng_template **out)
{
    struct eng_mistake mistake;

    *out = eng_template_new(given(cli, id), notation_of(id), opts->charset, &mistake);
    if (*out)
        return true;
    return mistake.wrong ? cli_refuse_mistake(cli, id, given(cli, id), &mistake) : no_memory(cli);
}

static bool
parse_reply(struct cli *cli, struct eng_session_opts *opts)
{
    bool hex = cli->options.has[OPT_REPLY_HEX];
    int id = hex ? OPT_REPLY_HEX : OPT_REPLY;

    if (!cli->options.has[id])
        return true;
    opts->reply_eol = hex ? "" : opts->eol;
    if (uses_template(cli))
        return parse_template(cli, id, opts, &opts->reply_template);
    if (!cli_payload_bytes(cli, id, opts->charset, &opts->reply))
        return false;
    eng_seal(&opts->reply, opts->append, opts->reply_eol);
    return opts->reply.failed ? no_memory(cli) : true;
}

/* The one thing that is given to be sent; -1: nothing. */
static bool
what_is_sent(struct cli *cli, int *id)
{
    static const int kinds[] = {OPT_HEX, OPT_ESCAPE, OPT_BASE64, OPT_FILE};

    *id = cli->options.word_count > 1 ? CLI_WORD_PAYLOAD : -1;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!cli->options.has[kinds[i]])
            continue;
        if (*id >= 0)
            return cli_refuse_pair(cli, *id, kinds[i], TEXT_USAGE_ONE_PAYLOAD);
        *id = kinds[i];
    }
    return true;
}

int
cli_payload_id(const struct cli *cli)
{
    static const int kinds[] = {OPT_HEX, OPT_ESCAPE, OPT_BASE64, OPT_FILE};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (cli->options.has[kinds[i]])
            return kinds[i];
    }
    return cli->options.word_count > 1 ? CLI_WORD_PAYLOAD : -1;
}

static bool
parse_bytes(struct cli *cli, int id, struct eng_session_opts *opts)
{
    bool is_text = notation_of(id) == ENG_AS_TEXT || notation_of(id) == ENG_AS_ESCAPE;

    opts->payload = ENG_PAYLOAD_BYTES;
    opts->payload_eol = is_text ? opts->eol : "";
    if (uses_template(cli) && id != OPT_BASE64)
        return parse_template(cli, id, opts, &opts->payload_template);
    if (!cli_payload_bytes(cli, id, opts->charset, &opts->bytes))
        return false;
    eng_seal(&opts->bytes, opts->append, opts->payload_eol);
    return opts->bytes.failed ? no_memory(cli) : true;
}

static bool
parse_payload(struct cli *cli, struct eng_session_opts *opts)
{
    int id;
    bool templates;

    if (!what_is_sent(cli, &id))
        return false;
    templates = id == CLI_WORD_PAYLOAD || id == OPT_HEX || id == OPT_ESCAPE;
    if (id == CLI_WORD_PAYLOAD && strcmp(cli->options.words[1], "-") == 0) {
        opts->payload = ENG_PAYLOAD_INPUT;
        templates = false;
    } else if (id == OPT_FILE) {
        opts->payload = ENG_PAYLOAD_FILE;
        opts->file = cli->options.value[OPT_FILE];
    } else if (id >= 0 && !parse_bytes(cli, id, opts)) {
        return false;
    }
    if (uses_template(cli) && !templates && !cli->options.has[OPT_REPLY] &&
        !cli->options.has[OPT_REPLY_HEX])
        return cli_refuse(cli, OPT_TEMPLATE, 0, TEXT_USAGE_NO_TEMPLATE, NULL);
    return true;
}

bool
cli_payload_options(struct cli *cli, struct eng_session_opts *opts)
{
    opts->strip = cli->options.has[OPT_STRIP];
    if (opts->strip && !cli->options.has[OPT_VERIFY])
        return cli_refuse(cli, OPT_STRIP, 0, TEXT_USAGE_NEEDS_OTHER, "--strip", "--verify SUM");
    return parse_eol(cli, opts) && parse_seed(cli, opts) &&
           cli_payload_charset(cli, &opts->charset) &&
           cli_payload_sum(cli, OPT_APPEND, &opts->append) &&
           cli_payload_sum(cli, OPT_VERIFY, &opts->verify) && parse_payload(cli, opts) &&
           parse_reply(cli, opts);
}
