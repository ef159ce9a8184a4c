/*
 * options.c - the command line, read against options.def and verbs.def.
 *
 * Options may stand anywhere after the verb, a few also before it, and "--" ends them.  A word
 * that is no verb but looks like an address means connect.  Nothing is guessed beyond that: an
 * unknown word is refused with the nearest known one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>

#define IN(verb) (1u << CLI_##verb)
#define ENDS (IN(CONNECT) | IN(LISTEN))
#define SENDS (ENDS | IN(SEND))
#define ALL (~0u)

const struct cli_option_info cli_option_infos[CLI_OPTIONS] = {
#define OPTION(name, letter, word, argument, verbs, text) \
    [OPT_##name] = {letter, word, argument, verbs, TEXT_##text},
#include "options.def"
#undef OPTION
};

const struct cli_verb_info cli_verb_infos[CLI_VERBS] = {
#define VERB(name, word, arguments, text) [CLI_##name] = {word, arguments, TEXT_##text},
#include "verbs.def"
#undef VERB
};

static bool
is_option_of(int id, enum cli_verb verb)
{
    /* Before the verb: what every verb has. */
    return verb == CLI_VERBS ? cli_option_infos[id].verbs == ALL
                             : (cli_option_infos[id].verbs & 1u << verb) != 0;
}

static int
find_word(const char *word, size_t len, enum cli_verb verb)
{
    for (int i = 0; i < CLI_OPTIONS; i++) {
        const char *known = cli_option_infos[i].word;

        if (is_option_of(i, verb) && strlen(known) == len && memcmp(known, word, len) == 0)
            return i;
    }
    return -1;
}

static int
find_letter(char letter, enum cli_verb verb)
{
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (is_option_of(i, verb) && cli_option_infos[i].letter == letter)
            return i;
    }
    return -1;
}

static void
unknown_option(struct cli *cli, const char *given, size_t len)
{
    enum cli_verb verb = cli->options.verb;
    char text[64];
    char near[64] = "";
    size_t best = 3;

    snprintf(text, sizeof text, "%.*s", (int)len, given);
    if (verb == CLI_VERBS) {
        for (int i = 0; i < CLI_OPTIONS; i++) {
            if (strncmp(text, "--", 2) == 0 ? strcmp(text + 2, cli_option_infos[i].word) == 0
                                            : text[1] == cli_option_infos[i].letter) {
                cli_usage(cli, TEXT_USAGE_OPTION_BEFORE_VERB, text);
                return;
            }
        }
    }
    for (int i = 0; strncmp(text, "--", 2) == 0 && i < CLI_OPTIONS; i++) {
        if (is_option_of(i, verb) && eng_is_near(text + 2, cli_option_infos[i].word, &best))
            snprintf(near, sizeof near, "--%s", cli_option_infos[i].word);
    }
    if (near[0])
        cli_usage(cli, TEXT_USAGE_UNKNOWN_OPTION_NEAR, text, near);
    else
        cli_usage(cli, TEXT_USAGE_UNKNOWN_OPTION, text,
                  verb == CLI_VERBS ? "help" : cli_verb_infos[verb].word);
}

static bool
set(struct cli *cli, int id, const char *value)
{
    struct cli_options *o = &cli->options;

    if (o->has[id] && cli_option_infos[id].argument && id != OPT_REQUIRE) {
        char name[40];

        snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
        cli_usage(cli, TEXT_USAGE_TWICE, name);
        return false;
    }
    o->has[id] = true;
    o->value[id] = value;
    if (id != OPT_REQUIRE)
        return true;
    if (o->list_count == CLI_LIST) {
        cli_usage(cli, TEXT_USAGE_TOO_MUCH, value);
        return false;
    }
    o->list[o->list_count++] = value;
    return true;
}

/* Of an option whose argument is written in brackets: the next word if it begins as a time does,
 * else none. */
static const char *
optional_value(char **argv, int *i)
{
    const char *next = argv[*i + 1];

    return next && next[0] >= '0' && next[0] <= '9' ? argv[++*i] : NULL;
}

/* --word, --word=value, --word value */
static bool
long_option(struct cli *cli, char **argv, int *i)
{
    const char *word = argv[*i] + 2;
    size_t len = strcspn(word, "=");
    int id = find_word(word, len, cli->options.verb);
    const char *argument = id < 0 ? NULL : cli_option_infos[id].argument;
    char name[40];

    if (id < 0) {
        unknown_option(cli, argv[*i], len + 2);
        return false;
    }
    snprintf(name, sizeof name, "--%.*s", (int)len, word);
    if (!argument && word[len]) {
        cli_usage(cli, TEXT_USAGE_TAKES_NO_VALUE, name);
        return false;
    }
    if (argument && argument[0] == '[')
        return set(cli, id, word[len] ? word + len + 1 : optional_value(argv, i));
    if (argument && !word[len] && !argv[*i + 1]) {
        cli_usage(cli, TEXT_USAGE_NEEDS_VALUE, name, argument);
        return false;
    }
    if (!argument)
        return set(cli, id, NULL);
    return set(cli, id, word[len] ? word + len + 1 : argv[++*i]);
}

/* -q, -qv, -x01, -x 01 */
static bool
letters(struct cli *cli, char **argv, int *i)
{
    const char *at = argv[*i] + 1;

    for (; *at; at++) {
        int id = find_letter(*at, cli->options.verb);
        char name[3] = {'-', *at, '\0'};

        if (id < 0) {
            unknown_option(cli, name, 2);
            return false;
        }
        if (!cli_option_infos[id].argument) {
            (void)set(cli, id, NULL); /* only one with a value can be too much */
            continue;
        }
        if (!at[1] && !argv[*i + 1]) {
            cli_usage(cli, TEXT_USAGE_NEEDS_VALUE, name, cli_option_infos[id].argument);
            return false;
        }
        return set(cli, id, at[1] ? at + 1 : argv[++*i]);
    }
    return true;
}

static bool
add_word(struct cli *cli, const char *word)
{
    struct cli_options *o = &cli->options;

    if (o->word_count == CLI_WORDS) {
        cli_usage(cli, TEXT_USAGE_TOO_MANY, word, cli_verb_infos[o->verb].word);
        return false;
    }
    o->words[o->word_count++] = word;
    return true;
}

static bool
first_word(struct cli *cli, const char *word)
{
    const char *near = NULL;
    size_t best = 3;

    for (int i = 0; i < CLI_VERBS; i++) {
        if (strcmp(word, cli_verb_infos[i].word) == 0) {
            cli->options.verb = (enum cli_verb)i;
            return true;
        }
        if (eng_is_near(word, cli_verb_infos[i].word, &best))
            near = cli_verb_infos[i].word;
    }
    if (strpbrk(word, ":/")) {
        cli->options.verb = CLI_CONNECT;
        return add_word(cli, word);
    }
    if (near)
        cli_usage(cli, TEXT_USAGE_UNKNOWN_VERB_NEAR, word, near);
    else
        cli_usage(cli, TEXT_USAGE_UNKNOWN_VERB, word);
    return false;
}

static bool
one_of(struct cli *cli, enum cli_option id, const char *const values[], int *at)
{
    char name[40];

    if (!cli->options.has[id])
        return true;
    for (int i = 0; values[i]; i++) {
        if (strcmp(cli->options.value[id], values[i]) == 0) {
            *at = i;
            return true;
        }
    }
    snprintf(name, sizeof name, "--%s", cli_option_infos[id].word);
    return cli_refuse(cli, (int)id, 0, TEXT_USAGE_BAD_VALUE, name, cli->options.value[id],
                      cli_option_infos[id].argument);
}

/* The options that every verb has. */
static bool
common_options(struct cli *cli)
{
    static const char *const forms[] = {"", "text", "hex", "both", "raw", "none", NULL};
    static const char *const langs[] = {"en", "zh", NULL};
    static const char *const colours[] = {"auto", "always", "never", NULL};
    const bool *has = cli->options.has;
    int form = FORM_DEFAULT;
    int lang = cli->lang;
    int colour = 0;

    cli->quiet = has[OPT_QUIET];
    cli->verbose = has[OPT_VERBOSE];
    cli->json = has[OPT_JSON];
    if (!one_of(cli, OPT_LANG, langs, &lang))
        return false;
    cli->lang = (enum cli_lang)lang;
    if (!one_of(cli, OPT_OUTPUT, forms, &form))
        return false;
    cli->form = (enum cli_form)form;
    if (!one_of(cli, OPT_COLOR, colours, &colour))
        return false;
    cli_set_colours(cli, colours[colour]);
    return true;
}

/* How to say what is wrong must be known before anything is found wrong. */
static void
look_ahead(struct cli *cli, char **argv)
{
    const char *lang = NULL;
    const char *colour = NULL;

    for (int i = 1; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
        else if (strncmp(argv[i], "--lang=", 7) == 0)
            lang = argv[i] + 7;
        else if (strcmp(argv[i], "--lang") == 0 && argv[i + 1])
            lang = argv[i + 1];
        else if (strncmp(argv[i], "--color=", 8) == 0)
            colour = argv[i] + 8;
        else if (strcmp(argv[i], "--color") == 0 && argv[i + 1])
            colour = argv[i + 1];
    }
    cli_set_colours(cli, colour);
    cli->lang = cli_lang_from(lang);
}

bool
cli_parse(struct cli *cli, int argc, char **argv)
{
    bool words_only = false;

    cli->options.verb = CLI_VERBS;
    cli->refusal = ENG_USAGE;
    look_ahead(cli, argv);
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool ok;

        if (!words_only && strcmp(arg, "--") == 0) {
            words_only = true;
            continue;
        }
        if (!words_only && strncmp(arg, "--", 2) == 0)
            ok = long_option(cli, argv, &i);
        else if (!words_only && arg[0] == '-' && arg[1])
            ok = letters(cli, argv, &i);
        else if (cli->options.verb == CLI_VERBS)
            ok = first_word(cli, arg);
        else
            ok = add_word(cli, arg);
        if (!ok)
            return false;
    }
    if (cli->options.has[OPT_PRESET] && !cli_preset_apply(cli))
        return false;
    return common_options(cli);
}
