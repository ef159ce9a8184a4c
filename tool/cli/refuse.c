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
    case ENG_WRONG_UTF8:
        return TEXT_USAGE_BAD_UTF8;
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
    bool by_charset = m->wrong == ENG_WRONG_CHARACTER || m->wrong == ENG_WRONG_UTF8;

    return by_charset ? cli->options.value[OPT_CHARSET] : m->near;
}

/* A duration that is none: mostly its unit was left out. */
bool
cli_refuse_time(struct cli *cli, int id, const char *example)
{
    const char *text = cli->options.value[id];
    size_t digits = strspn(text, "0123456789");
    char name[40];

    snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    if (digits > 0 && !text[digits] && strspn(text, "0") < digits)
        return cli_refuse(cli, id, digits, TEXT_USAGE_NEEDS_UNIT, name, text);
    return cli_refuse(cli, id, 0, TEXT_USAGE_BAD_VALUE, name, text, example);
}

/* Two that exclude each other: of those that a file of presets gives, its later line is blamed. */
bool
cli_refuse_pair(struct cli *cli, int a, int b, enum cli_text text)
{
    char names[2][40] = {"TEXT", "TEXT"};
    int later = cli->options.place[b].line > cli->options.place[a].line ? b : a;

    if (a < CLI_OPTIONS)
        snprintf(names[0], sizeof names[0], "--%s", cli_option_infos[a].word);
    if (b < CLI_OPTIONS)
        snprintf(names[1], sizeof names[1], "--%s", cli_option_infos[b].word);
    return cli_refuse(cli, later, 0, text, names[0], names[1]);
}

/* Is the word behind it the URL, and this one what shall be sent? */
static bool
is_swapped(const struct cli *cli, int word, enum outlet_role role)
{
    const char *next = word == 0 && cli->options.word_count > 1 ? cli->options.words[1] : "";

    return strstr(next, ":/") && outlet_url_check(next, role, NULL) == OUTLET_OK;
}

/* The word `word` is a URL, or this says why it is none.  False: refused. */
bool
cli_refuse_url(struct cli *cli, int word, enum outlet_role role)
{
    const char *url = cli->options.words[word];
    struct outlet_reason why = OUTLET_REASON;
    struct eng_bytes text = {0};
    enum outlet_err err = outlet_url_check(url, role, &why);

    if (!err)
        return true;
    if (is_swapped(cli, word, role)) {
        cli->refusal = cli_usage(cli, TEXT_USAGE_URL_FIRST, cli_verb_infos[cli->options.verb].word,
                                 cli->options.words[1]);
        return false;
    }
    if (!cli->options.place[CLI_WORD_URL + word].line) {
        struct cli_show show;

        cli_show_init(&show, cli);
        show.sink.emit(&show.sink, &(struct eng_event){
                                       .kind = ENG_ERROR, .url = url, .role = role, .why = &why});
        cli->refusal = ENG_USAGE;
        return false;
    }
    cli_explain(cli->json ? CLI_EN : cli->lang, url, role, &why, &text);
    eng_bytes_add(&text, "", 1);
    (void)cli_refuse(cli, CLI_WORD_URL + word, why.position > 0 ? (size_t)why.position : 0,
                     TEXT_ERROR_BARE, text.failed ? why.text : (const char *)text.data);
    eng_bytes_free(&text);
    return false;
}

/* There is no URL; perhaps an option took it. */
int
cli_usage_no_url(struct cli *cli, enum cli_text otherwise)
{
    const struct cli_options *o = &cli->options;
    const char *verb = cli_verb_infos[o->verb].word;

    for (int i = 0; i < CLI_OPTIONS; i++) {
        const char *value = o->has[i] ? o->value[i] : NULL;
        char name[40];

        if (!value || o->place[i].line ||
            (outlet_url_check(value, OUTLET_TO_CONNECT, NULL) &&
             outlet_url_check(value, OUTLET_TO_LISTEN, NULL)))
            continue;
        snprintf(name, sizeof name, "--%s", cli_option_infos[i].word);
        return cli_usage(cli, TEXT_USAGE_TOOK_URL, verb, name, value, cli_option_infos[i].argument);
    }
    return cli_usage(cli, otherwise, verb);
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
