/*
 * rules.c - --rules: the file is read and judged before anything is opened; /rules does the same
 * while messages pass.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool
rules_failed(struct cli *cli, const char *path, int error)
{
    cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_RULES, path, strerror(error));
    cli->refusal = ENG_FILE;
    return false;
}

static enum cli_text
text_of(const struct eng_mistake *m)
{
    switch ((int)m->wrong) {
    case ENG_WRONG_SECTION:
        return TEXT_RULES_SECTION;
    case ENG_WRONG_LINE:
        return TEXT_RULES_LINE;
    case ENG_WRONG_TWICE:
        return TEXT_RULES_TWICE;
    case ENG_WRONG_OUTSIDE:
        return TEXT_RULES_OUTSIDE;
    case ENG_WRONG_LONG:
        return TEXT_RULES_LONG;
    default:
        return cli_text_of_mistake(m);
    }
}

/* A URL is explained in the reader's language, if it is all there. */
static bool
explain_url(const struct cli *cli, const struct eng_rules_mistake *m, struct eng_bytes *out)
{
    struct outlet_reason why = OUTLET_REASON;

    if (m->mistake.wrong != ENG_WRONG_URL || strlen(m->value) >= sizeof m->value - 1)
        return false;
    why.code = outlet_url_check(m->value, OUTLET_TO_CONNECT, &why);
    cli_explain(cli->json ? CLI_EN : cli->lang, m->value, OUTLET_TO_CONNECT, &why, out);
    return true;
}

static bool
say_mistake(struct cli *cli, const char *path, const struct eng_rules_mistake *m)
{
    struct eng_bytes sentence = {0};
    char line[16];
    char column[24];

    if (m->mistake.wrong == ENG_WRONG_NOTHING)
        return rules_failed(cli, path, ENOMEM);
    snprintf(line, sizeof line, "%d", m->line);
    snprintf(column, sizeof column, "%zu", eng_column(m->value, m->mistake.at));
    if (!explain_url(cli, m, &sentence))
        cli_format(cli->json ? CLI_EN : cli->lang, text_of(&m->mistake),
                   (const char *const[CLI_ARGS]){m->key, column, m->value,
                                                 cli_hint_of_mistake(cli, &m->mistake)},
                   &sentence);
    eng_bytes_add(&sentence, "", 1);
    snprintf(column, sizeof column, "%zu", m->column);
    cli_fail(cli, OUTLET_EINVAL, TEXT_ERROR_AT, path, line, column,
             sentence.failed ? "" : (const char *)sentence.data);
    eng_bytes_free(&sentence);
    cli->refusal = ENG_FILE;
    return false;
}

/* A pipe would hold the loop of those who read rules while it turns. */
static int
load_regular(const char *path, size_t most, struct eng_bytes *out)
{
    struct stat st;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    return eng_file_load(path, most, out);
}

bool
cli_rules_read(struct cli *cli, const char *path, const struct eng_session_opts *opts,
               struct eng_rules **out)
{
    struct eng_rules_opts with = {.who = opts->to                         ? ENG_RULES_RELAY
                                         : opts->role == OUTLET_TO_LISTEN ? ENG_RULES_LISTEN
                                                                          : ENG_RULES_CONNECT,
                                  .charset = opts->charset,
                                  .append = opts->append,
                                  .eol = opts->eol,
                                  .load = load_regular};
    struct eng_rules_mistake mistake;
    struct eng_bytes text = {0};
    int error = eng_file_load(path, ENG_PRESET_BYTES_MAX, &text);
    bool ok = !error || rules_failed(cli, path, error);

    if (ok) {
        *out = eng_rules_parse(text.data, text.len, &with, &mistake);
        ok = *out || say_mistake(cli, path, &mistake);
    }
    eng_bytes_free(&text);
    return ok;
}

bool
cli_rules_options(struct cli *cli, struct eng_session_opts *opts)
{
    return !cli->options.has[OPT_RULES] ||
           cli_rules_read(cli, cli->options.value[OPT_RULES], opts, &opts->rules);
}
