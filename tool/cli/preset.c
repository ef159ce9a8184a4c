/*
 * preset.c - --preset, --save and the verb preset: options by a name, in a file.
 *
 * Keys are the options' own names, and `url`, `text`, `note`.  What the command line says goes
 * before what the preset says, kind by kind: a payload of any form takes the place of the preset's
 * payload.  A newcomer's mistake: to judge only the section that is used.  A key that no verb knows
 * is a mistake wherever it stands, and is found before it is needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
find_path(struct cli *cli)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    char *path = cli->preset_path;
    size_t room = sizeof cli->preset_path;
    int n;

    if (cli->options.has[OPT_PRESETS])
        n = snprintf(path, room, "%s", cli->options.value[OPT_PRESETS]);
    else if (config && *config)
        n = snprintf(path, room, "%s/outlet/presets", config);
    else
        n = snprintf(path, room, "%s/.config/outlet/presets", home ? home : "");
    if (n > 0 && (size_t)n < room)
        return true;
    cli->refusal = cli_usage(cli, TEXT_USAGE_BAD_VALUE, "--presets", path, "FILE");
    return false;
}

static bool
file_failed(struct cli *cli, int error)
{
    cli_fail(cli, OUTLET_ESYS, TEXT_ERROR_PRESETS, cli->preset_path, strerror(error));
    cli->refusal = ENG_FILE;
    return false;
}

/* The whole file.  One that is not there is empty when `may_be_none`. */
static bool
read_file(struct cli *cli, bool may_be_none, struct eng_bytes *out)
{
    int error = eng_file_load(cli->preset_path, ENG_PRESET_BYTES_MAX, out);

    return !error || (error == ENOENT && may_be_none) || file_failed(cli, error);
}

static bool
wrong_at(struct cli *cli, int line, size_t at, enum cli_text text, const char *word,
         const char *near)
{
    char where[2][24];

    snprintf(where[0], sizeof where[0], "%d", line);
    snprintf(where[1], sizeof where[1], "%zu", at + 1);
    cli->refusal = ENG_FILE;
    cli_fail(cli, OUTLET_EINVAL, text, cli->preset_path, where[0], where[1], word, near);
    return false;
}

static bool
parse_file(struct cli *cli, const struct eng_bytes *text)
{
    struct eng_mistake mistake;
    enum cli_text sentence = TEXT_PRESET_LINE;
    int line;

    if (eng_presets_parse(text->data, text->len, &cli->presets, &mistake, &line))
        return true;
    if (mistake.wrong == ENG_WRONG_NOTHING)
        return file_failed(cli, ENOMEM);
    if (mistake.wrong == ENG_WRONG_SECTION)
        sentence = TEXT_PRESET_SECTION;
    else if (mistake.wrong == ENG_WRONG_TWICE)
        sentence = TEXT_PRESET_TWICE;
    else if (mistake.wrong == ENG_WRONG_OUTSIDE)
        sentence = TEXT_PRESET_OUTSIDE;
    return wrong_at(cli, line, mistake.at, sentence, NULL, NULL);
}

/* ---- keys ---- */

static bool
may_stand_in_a_preset(int id)
{
    static const int not [] = {OPT_PRESET, OPT_PRESETS, OPT_SAVE,   OPT_JSON,
                               OPT_LANG,   OPT_HELP,    OPT_VERSION};

    for (size_t i = 0; i < sizeof not / sizeof not [0]; i++) {
        if (not [i] == id)
            return false;
    }
    /* Of those verbs that take presets. */
    return (cli_option_infos[id].verbs & cli_option_infos[OPT_PRESET].verbs) != 0;
}

/* The option of this name that the verb has, else of any verb; -1: none. */
static int
option_of(const char *key, enum cli_verb verb)
{
    int found = -1;

    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (!may_stand_in_a_preset(i) || strcmp(cli_option_infos[i].word, key) != 0)
            continue;
        if (verb < CLI_VERBS && cli_option_infos[i].verbs & 1u << verb)
            return i;
        found = i;
    }
    return found;
}

static bool
is_word_key(const char *key)
{
    return strcmp(key, "url") == 0 || strcmp(key, "text") == 0 || strcmp(key, "note") == 0;
}

static bool
unknown_key(struct cli *cli, const struct eng_preset_entry *e)
{
    size_t best = 3;
    const char *near = NULL;

    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (may_stand_in_a_preset(i) && eng_is_near(e->key, cli_option_infos[i].word, &best))
            near = cli_option_infos[i].word;
    }
    return wrong_at(cli, e->line, e->key_at, near ? TEXT_PRESET_KEY_NEAR : TEXT_PRESET_KEY, e->key,
                    near);
}

static bool
keys_are_known(struct cli *cli)
{
    for (size_t i = 0; i < cli->presets.count; i++) {
        const struct eng_preset_entry *e = &cli->presets.entries[i];

        if (e->key && !is_word_key(e->key) && option_of(e->key, CLI_VERBS) < 0)
            return unknown_key(cli, e);
    }
    return true;
}

enum { GROUPS = 6 };

/* Options of one group take each other's place. */
static int
group_of(int id)
{
    switch (id) {
    case CLI_WORD_PAYLOAD:
    case OPT_HEX:
    case OPT_ESCAPE:
    case OPT_FILE:
    case OPT_BASE64:
    case OPT_SIZE:
        return 1;
    case OPT_ECHO:
    case OPT_REPLY:
    case OPT_REPLY_HEX:
    case OPT_DISCARD:
        return 2;
    case OPT_EXPECT:
    case OPT_EXPECT_HEX:
        return 3;
    case OPT_CHURN:
    case OPT_HOLD:
    case OPT_FANOUT:
        return 4;
    case OPT_CHECK:
    case OPT_NO_CHECK:
        return 5;
    default:
        return 0;
    }
}

/* What the command line itself says, before anything of the preset is put to it. */
struct said {
    bool has[CLI_OPTIONS];
    bool group[GROUPS];
};

static struct said
said_already(const struct cli_options *o)
{
    struct said said = {0};

    for (int i = 0; i < CLI_OPTIONS; i++) {
        said.has[i] = o->has[i];
        if (o->has[i])
            said.group[group_of(i)] = true;
    }
    if (o->word_count > 1)
        said.group[group_of(CLI_WORD_PAYLOAD)] = true;
    said.group[0] = false; /* those without a group */
    return said;
}

static void
put_value(struct cli *cli, int id, const struct eng_preset_entry *e)
{
    struct cli_options *o = &cli->options;

    o->place[id] = (struct cli_place){.line = e->line, .at = e->value_at, .value = e->value};
    if (id >= CLI_OPTIONS) {
        o->words[id - CLI_WORD_URL] = e->value;
        return;
    }
    o->has[id] = true;
    o->value[id] = e->value;
    if (id == OPT_REQUIRE) /* it stands there once, and the command line has none */
        o->list[o->list_count++] = e->value;
}

static bool
put_option(struct cli *cli, const struct said *said, const struct eng_preset_entry *e)
{
    int id = option_of(e->key, cli->options.verb);

    if (!(cli_option_infos[id].verbs & 1u << cli->options.verb))
        return wrong_at(cli, e->line, e->key_at, TEXT_PRESET_NOT_OF_VERB, e->key,
                        cli_verb_infos[cli->options.verb].word);
    if (said->has[id] || said->group[group_of(id)])
        return true;
    if (cli_option_infos[id].argument) {
        put_value(cli, id, e);
        return true;
    }
    if (strcmp(e->value, "on") != 0 && strcmp(e->value, "off") != 0)
        return wrong_at(cli, e->line, e->value_at, TEXT_PRESET_SWITCH, e->key, e->value);
    if (*e->value == 'o' && e->value[1] == 'n')
        put_value(cli, id, e);
    return true;
}

static bool
put_entry(struct cli *cli, const struct said *said, const struct eng_preset_entry *e)
{
    if (!is_word_key(e->key))
        return put_option(cli, said, e);
    if (strcmp(e->key, "url") == 0 && cli->options.word_count == 0)
        put_value(cli, CLI_WORD_URL, e);
    if (strcmp(e->key, "text") == 0 && !said->group[group_of(CLI_WORD_PAYLOAD)])
        put_value(cli, CLI_WORD_PAYLOAD, e);
    return true;
}

static bool
unknown_name(struct cli *cli, const char *name)
{
    size_t best = 3;
    const char *near = NULL;

    for (size_t i = 0; i < cli->presets.count; i++) {
        if (eng_is_near(name, cli->presets.entries[i].section, &best))
            near = cli->presets.entries[i].section;
    }
    cli->refusal = cli_usage(cli, near ? TEXT_USAGE_NO_PRESET_NEAR : TEXT_USAGE_NO_PRESET, name,
                             cli->preset_path, near);
    return false;
}

static bool
has_section(const struct eng_presets *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->entries[i].section, name) == 0)
            return true;
    }
    return false;
}

static bool
load_file(struct cli *cli, bool may_be_none)
{
    struct eng_bytes text = {0};
    bool ok = find_path(cli) && read_file(cli, may_be_none, &text) && parse_file(cli, &text) &&
              keys_are_known(cli);

    eng_bytes_free(&text);
    return ok;
}

bool
cli_preset_apply(struct cli *cli)
{
    struct cli_options *o = &cli->options;
    const char *name = o->value[OPT_PRESET];
    struct said said = said_already(o);

    if (!load_file(cli, false))
        return false;
    if (!has_section(&cli->presets, name))
        return unknown_name(cli, name);
    for (size_t i = 0; i < cli->presets.count; i++) {
        const struct eng_preset_entry *e = &cli->presets.entries[i];

        if (e->key && strcmp(e->section, name) == 0 && !put_entry(cli, &said, e))
            return false;
    }
    for (int i = 0; i < CLI_WORDS; i++) {
        if (o->words[i] && o->word_count == i)
            o->word_count++;
    }
    return true;
}

/* ---- saving ---- */

/* A value as its line has it.  False: it has what no line can. */
static bool
add_value(struct cli *cli, const char *key, const char *value, struct eng_bytes *out)
{
    size_t len = strlen(value);
    bool quoted = len > 0 && (strchr(" \t\"", value[0]) || strchr(" \t\"", value[len - 1]));

    if (strpbrk(value, "\r\n")) {
        cli->refusal = cli_usage(cli, TEXT_USAGE_SAVE_LINES, key);
        return false;
    }
    eng_bytes_text(out, key);
    eng_bytes_text(out, quoted ? " = \"" : " = ");
    eng_bytes_text(out, value);
    eng_bytes_text(out, quoted ? "\"\n" : "\n");
    return true;
}

/* What may stand several times on the command line is one value with commas. */
static bool
add_list(struct cli *cli, const char *key, struct eng_bytes *out)
{
    struct eng_bytes all = {0};
    bool ok;

    for (int i = 0; i < cli->options.list_count; i++) {
        eng_bytes_text(&all, i > 0 ? "," : "");
        eng_bytes_text(&all, cli->options.list[i]);
    }
    eng_bytes_add(&all, "", 1);
    ok = !all.failed && add_value(cli, key, (const char *)all.data, out);
    if (all.failed)
        (void)file_failed(cli, ENOMEM); /* it says so */
    eng_bytes_free(&all);
    return ok;
}

static bool
make_section(struct cli *cli, const char *name, struct eng_bytes *out)
{
    const struct cli_options *o = &cli->options;
    bool ok = true;

    eng_bytes_text(out, "[");
    eng_bytes_text(out, name);
    eng_bytes_text(out, "]\n");
    if (o->word_count > 0)
        ok = add_value(cli, "url", o->words[0], out);
    if (ok && o->word_count > 1)
        ok = add_value(cli, "text", o->words[1], out);
    for (int i = 0; ok && i < CLI_OPTIONS; i++) {
        if (o->has[i] && i == OPT_REQUIRE)
            ok = add_list(cli, cli_option_infos[i].word, out);
        else if (o->has[i] && may_stand_in_a_preset(i))
            ok = add_value(cli, cli_option_infos[i].word, o->value[i] ? o->value[i] : "on", out);
    }
    return ok;
}

void
cli_make_folders(const char *path)
{
    char folder[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        (void)mkdir(folder, 0700); /* opening the file will say */
    }
}

/* All or nothing: a new file takes the old one's place. */
static bool
write_file(struct cli *cli, const struct eng_bytes *text)
{
    char real[PATH_MAX];
    char temporary[PATH_MAX + 16];
    struct stat st;
    mode_t mode = 0600; /* a URL may hold a secret */
    bool ok;
    int error;
    int fd;

    if (!realpath(cli->preset_path, real))
        snprintf(real, sizeof real, "%s", cli->preset_path);
    else if (stat(real, &st) == 0)
        mode = st.st_mode & 0777;
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", real);
    cli_make_folders(real);
    fd = mkstemp(temporary);
    if (fd < 0)
        return file_failed(cli, errno);
    ok = write(fd, text->data, text->len) == (ssize_t)text->len && fchmod(fd, mode) == 0 &&
         fsync(fd) == 0;
    error = ok ? 0 : errno ? errno : ENOSPC;
    close(fd);
    if (ok && rename(temporary, real) != 0) {
        error = errno;
        ok = false;
    }
    if (!ok)
        (void)unlink(temporary); /* what matters has failed already */
    return ok || file_failed(cli, error);
}

bool
cli_preset_save(struct cli *cli)
{
    const char *name = cli->options.value[OPT_SAVE];
    struct eng_bytes before = {0};
    struct eng_bytes section = {0};
    struct eng_bytes after = {0};
    bool replaces = false;
    bool ok;

    if (!cli->options.has[OPT_SAVE])
        return true;
    if (!eng_preset_name_is_good(name)) {
        cli->refusal = cli_usage(cli, TEXT_USAGE_PRESET_NAME, name);
        return false;
    }
    ok = make_section(cli, name, &section);
    /* The file of --preset stays: values of the options are in it. */
    if (ok && !cli->options.has[OPT_PRESET])
        ok = find_path(cli);
    if (ok && read_file(cli, true, &before)) {
        ok = cli->options.has[OPT_PRESET] || parse_file(cli, &before);
        replaces = ok && has_section(&cli->presets, name);
        ok = ok && (eng_presets_put(&cli->presets, before.data, before.len, name, &section, &after)
                        ? write_file(cli, &after)
                        : file_failed(cli, ENOMEM));
    } else {
        ok = false;
    }
    if (ok && replaces && !cli->json && !cli->quiet)
        cli_say(cli, TEXT_PRESET_REPLACED, name, cli->preset_path);
    eng_bytes_free(&before);
    eng_bytes_free(&section);
    eng_bytes_free(&after);
    return ok;
}

/* ---- the verb ---- */

static void
add_json(const struct eng_presets *p, const char *name, struct eng_bytes *out)
{
    eng_bytes_text(out, "{\"v\":1,\"event\":\"preset\",\"name\":");
    eng_json_string(out, name, strlen(name));
    for (size_t i = 0; i < p->count; i++) {
        const struct eng_preset_entry *e = &p->entries[i];

        if (!e->key || strcmp(e->section, name) != 0)
            continue;
        eng_bytes_text(out, ",");
        eng_json_string(out, e->key, strlen(e->key));
        eng_bytes_text(out, ":");
        eng_json_string(out, e->value, strlen(e->value));
    }
    eng_bytes_text(out, "}\n");
}

/* Its note, or where it goes. */
static void
add_name(const struct eng_presets *p, const char *name, struct eng_bytes *out)
{
    const char *about = "";
    bool noted = false;

    for (size_t i = 0; i < p->count; i++) {
        const struct eng_preset_entry *e = &p->entries[i];

        if (!e->key || strcmp(e->section, name) != 0 || noted)
            continue;
        if (strcmp(e->key, "note") == 0 || strcmp(e->key, "url") == 0)
            about = e->value;
        noted = strcmp(e->key, "note") == 0;
    }
    eng_bytes_printf(out, "%-20s ", name);
    eng_bytes_text(out, about);
    eng_bytes_text(out, "\n");
}

static void
add_section(const struct eng_presets *p, const char *name, struct eng_bytes *out)
{
    eng_bytes_printf(out, "[%s]\n", name);
    for (size_t i = 0; i < p->count; i++) {
        const struct eng_preset_entry *e = &p->entries[i];

        if (!e->key || strcmp(e->section, name) != 0)
            continue;
        eng_bytes_printf(out, "%s = ", e->key);
        eng_bytes_text(out, e->value);
        eng_bytes_text(out, "\n");
    }
}

int
cli_preset(struct cli *cli)
{
    const char *name = cli->options.word_count ? cli->options.words[0] : NULL;
    struct eng_bytes out = {0};

    if (!load_file(cli, name == NULL))
        return cli->refusal;
    if (name && !has_section(&cli->presets, name)) {
        (void)unknown_name(cli, name); /* it says so */
        return cli->refusal;
    }
    for (size_t i = 0; i < cli->presets.count; i++) {
        const struct eng_preset_entry *e = &cli->presets.entries[i];

        if (e->key || (name && strcmp(e->section, name) != 0))
            continue;
        if (cli->json)
            add_json(&cli->presets, e->section, &out);
        else if (name)
            add_section(&cli->presets, e->section, &out);
        else
            add_name(&cli->presets, e->section, &out);
    }
    if (!cli->quiet && cli->presets.count == 0 && !cli->json)
        cli_say(cli, TEXT_NO_PRESETS, cli->preset_path);
    cli_out_add(&cli->out, out.data, out.len);
    eng_bytes_free(&out);
    return ENG_DONE;
}
