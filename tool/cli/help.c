/*
 * help.c - outlet help [VERB], --help and version, from the same tables that are parsed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>

static void
add_line(struct eng_bytes *out, const char *left, const char *right)
{
    enum { WIDTH = 32 };

    if (strlen(left) > WIDTH)
        eng_bytes_printf(out, "  %s\n  %-*s ", left, WIDTH, "");
    else
        eng_bytes_printf(out, "  %-*s ", WIDTH, left);
    eng_bytes_text(out, right);
    eng_bytes_text(out, "\n");
}

void
cli_help_verb(struct cli *cli, enum cli_verb verb, struct eng_bytes *out)
{
    const struct cli_verb_info *v = &cli_verb_infos[verb];

    cli_format(cli->lang, TEXT_HELP_USAGE_VERB, (const char *const[CLI_ARGS]){v->word}, out);
    eng_bytes_printf(out, "%s%s\n  ", *v->arguments ? " " : "", v->arguments);
    eng_bytes_text(out, cli_text(cli->lang, (enum cli_text)v->text));
    eng_bytes_text(out, "\n\n");
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_OPTIONS));
    eng_bytes_text(out, "\n");
    for (int i = 0; i < CLI_OPTIONS; i++) {
        const struct cli_option_info *o = &cli_option_infos[i];
        char left[64];
        char letter[8] = "    ";

        if (!(o->verbs & 1u << verb))
            continue;
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->word, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        add_line(out, left, cli_text(cli->lang, (enum cli_text)o->text));
    }
}

void
cli_help_all(struct cli *cli, struct eng_bytes *out)
{
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_USAGE));
    eng_bytes_text(out, "\n");
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_VERBS));
    eng_bytes_text(out, "\n");
    for (int i = 0; i < CLI_VERBS; i++) {
        char left[64];

        snprintf(left, sizeof left, "%s %s", cli_verb_infos[i].word, cli_verb_infos[i].arguments);
        add_line(out, left, cli_text(cli->lang, (enum cli_text)cli_verb_infos[i].text));
    }
    eng_bytes_text(out, "\n");
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_MORE));
}

int
cli_help(struct cli *cli)
{
    struct eng_bytes out = {0};
    const char *about = cli->options.word_count ? cli->options.words[0] : NULL;
    int code = ENG_DONE;

    if (!about) {
        cli_help_all(cli, &out);
    } else {
        int verb = 0;

        while (verb < CLI_VERBS && strcmp(cli_verb_infos[verb].word, about) != 0)
            verb++;
        if (verb < CLI_VERBS)
            cli_help_verb(cli, (enum cli_verb)verb, &out);
        else if (!cli_help_topic(cli, about, &out))
            code = cli_usage(cli, TEXT_USAGE_NO_HELP, about);
    }
    cli_out_add(&cli->out, out.data, out.len);
    eng_bytes_free(&out);
    return code;
}

int
cli_version(struct cli *cli)
{
    struct eng_bytes out = {0};

    if (cli->json)
        eng_bytes_printf(&out, "{\"v\":1,\"event\":\"version\",\"version\":\"%s\"}\n",
                         outlet_version());
    else
        eng_bytes_printf(&out, "outlet %s\n", outlet_version());
    cli_out_add(&cli->out, out.data, out.len);
    eng_bytes_free(&out);
    return ENG_DONE;
}
