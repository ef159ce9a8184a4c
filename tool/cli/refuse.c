/*
 * refuse.c - what was given is wrong: where, and what would be right.
 *
 * The same option may come from the command line or from a file of presets.  A newcomer's mistake:
 * to answer 2 for both.  A file that is wrong ends with 7, and its line and column are said.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>

bool
cli_refuse_args(struct cli *cli, int id, size_t at, enum cli_text text, const char *const args[])
{
    const struct cli_place *place = &cli->options.place[id];
    struct eng_bytes sentence = {0};
    char line[16];
    char column[24];

    if (!place->line) {
        cli->refusal = cli_usage_args(cli, text, args);
        return false;
    }
    cli->refusal = ENG_FILE;
    cli_format(cli->json ? CLI_EN : cli->lang, text, args, &sentence);
    eng_bytes_add(&sentence, "", 1);
    snprintf(line, sizeof line, "%d", place->line);
    snprintf(column, sizeof column, "%zu", place->at + (at > 0 ? eng_column(place->value, at) : 1));
    cli_fail(cli, OUTLET_EINVAL, TEXT_ERROR_AT, cli->preset_path, line, column,
             sentence.failed ? "" : (const char *)sentence.data);
    eng_bytes_free(&sentence);
    return false;
}

/* The sentence about a mistake: {0} the option, {1} the column, {2} what was given, {3} the hint.
 */
enum cli_text
cli_text_of_mistake(const struct eng_mistake *m)
{
    bool near = m->near[0] != '\0';

    switch (m->wrong) {
    case ENG_WRONG_HEX:
        return TEXT_USAGE_BAD_HEX;
    case ENG_WRONG_ESCAPE:
        return TEXT_USAGE_BAD_ESCAPE;
    case ENG_WRONG_BASE64:
        return TEXT_USAGE_BAD_BASE64;
    case ENG_WRONG_CHARACTER:
        return TEXT_USAGE_BAD_CHARACTER;
    case ENG_WRONG_CHARSET:
        return near ? TEXT_USAGE_BAD_CHARSET_NEAR : TEXT_USAGE_BAD_CHARSET;
    case ENG_WRONG_SUM:
        return near ? TEXT_USAGE_BAD_SUM_NEAR : TEXT_USAGE_BAD_SUM;
    case ENG_WRONG_SUM_FAMILY:
        return TEXT_USAGE_SUM_FAMILY;
    case ENG_WRONG_ORDER:
        return TEXT_USAGE_BAD_ORDER;
    case ENG_WRONG_RANGE:
        return TEXT_USAGE_BAD_RANGE;
    case ENG_WRONG_OPEN:
        return TEXT_USAGE_BAD_OPEN;
    case ENG_WRONG_PLACEHOLDER:
        return near ? TEXT_USAGE_BAD_PLACE_NEAR : TEXT_USAGE_BAD_PLACE;
    case ENG_WRONG_WORD:
        return TEXT_USAGE_BAD_WORD;
    case ENG_WRONG_NUMBER:
        return TEXT_USAGE_BAD_NUMBER;
    case ENG_WRONG_FORMAT:
        return TEXT_USAGE_BAD_FORMAT;
    case ENG_WRONG_LONG:
        return TEXT_USAGE_BAD_LENGTH;
    case ENG_WRONG_KEY:
        return near ? TEXT_RULES_KEY_NEAR : TEXT_RULES_KEY;
    case ENG_WRONG_CHOICE:
        return TEXT_RULES_CHOICE;
    case ENG_WRONG_REGEX:
        return TEXT_RULES_REGEX;
    case ENG_WRONG_NO_REGEX:
        return TEXT_RULES_NO_REGEX;
    case ENG_WRONG_FIELD:
        return TEXT_RULES_FIELD;
    case ENG_WRONG_GLOB:
        return TEXT_RULES_GLOB;
    case ENG_WRONG_BOTH:
        return TEXT_RULES_BOTH;
    case ENG_WRONG_MATCH:
        return TEXT_USAGE_BAD_MATCH;
    case ENG_WRONG_FILE:
        return TEXT_RULES_FILE;
    case ENG_WRONG_URL:
        return TEXT_RULES_URL;
    case ENG_WRONG_NEEDS:
        return TEXT_RULES_NEEDS;
    case ENG_WRONG_NO_RULE:
        return TEXT_RULES_NO_RULE;
    case ENG_WRONG_NO_ACTION:
        return TEXT_RULES_NO_ACTION;
    case ENG_WRONG_NO_VALUE:
        return TEXT_RULES_NO_VALUE;
    case ENG_WRONG_NOTHING: /* there was no memory to judge it */
    case ENG_WRONG_SECTION:
    case ENG_WRONG_LINE:
    case ENG_WRONG_TWICE:
    case ENG_WRONG_OUTSIDE:
        break;
    }
    return TEXT_USAGE_NO_MEMORY;
}

const char *
cli_hint_of_mistake(const struct cli *cli, const struct eng_mistake *m)
{
    return m->wrong == ENG_WRONG_CHARACTER ? cli->options.value[OPT_CHARSET] : m->near;
}

void
cli_say_mistake(struct cli *cli, const char *name, const char *text,
                const struct eng_mistake *mistake)
{
    char column[24];

    snprintf(column, sizeof column, "%zu", eng_column(text, mistake->at));
    cli_say(cli, cli_text_of_mistake(mistake), name, column, text,
            cli_hint_of_mistake(cli, mistake));
}

bool
cli_refuse_mistake(struct cli *cli, int id, const char *text, const struct eng_mistake *mistake)
{
    char name[40] = "TEXT";
    char column[24];

    if (id < CLI_OPTIONS)
        snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    snprintf(column, sizeof column, "%zu", eng_column(text, mistake->at));
    return cli_refuse(cli, id, mistake->at, cli_text_of_mistake(mistake), name, column, text,
                      cli_hint_of_mistake(cli, mistake));
}
