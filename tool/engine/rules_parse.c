/*
 * rules_parse.c - a file of rules, read; every mistake with the line and the column of it.
 *
 * A newcomer's mistake: to compile an answer where its key stands.  `append`, `eol` and `template`
 * may stand behind it, so keys are collected first, and the answer is made when its rule ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum key {
    KEY_IS,
    KEY_STARTS,
    KEY_ENDS,
    KEY_CONTAINS,
    KEY_HEX,
    KEY_REGEX,
    KEY_FIELD,
    KEY_SIZE,
    KEY_DIR,
    KEY_TIMES,
    KEY_EVERY,
    KEY_REPLY,
    KEY_REPLY_ESCAPE,
    KEY_REPLY_HEX,
    KEY_REPLY_BASE64,
    KEY_REPLY_FILE,
    KEY_ECHO,
    KEY_TEMPLATE,
    KEY_APPEND,
    KEY_EOL,
    KEY_FORWARD,
    KEY_DROP,
    KEY_CLOSE,
    KEY_DELAY,
    KEY_NOTE,
    KEYS
};

static const char *const key_names[KEYS] = {
    [KEY_IS] = "is",
    [KEY_STARTS] = "starts",
    [KEY_ENDS] = "ends",
    [KEY_CONTAINS] = "contains",
    [KEY_HEX] = "hex",
    [KEY_REGEX] = "regex",
    [KEY_FIELD] = "field",
    [KEY_SIZE] = "size",
    [KEY_DIR] = "dir",
    [KEY_TIMES] = "times",
    [KEY_EVERY] = "every",
    [KEY_REPLY] = "reply",
    [KEY_REPLY_ESCAPE] = "reply-escape",
    [KEY_REPLY_HEX] = "reply-hex",
    [KEY_REPLY_BASE64] = "reply-base64",
    [KEY_REPLY_FILE] = "reply-file",
    [KEY_ECHO] = "echo",
    [KEY_TEMPLATE] = "template",
    [KEY_APPEND] = "append",
    [KEY_EOL] = "eol",
    [KEY_FORWARD] = "forward",
    [KEY_DROP] = "drop",
    [KEY_CLOSE] = "close",
    [KEY_DELAY] = "delay",
    [KEY_NOTE] = "note",
};

struct reader {
    struct eng_rules *rules;
    struct eng_rules_mistake *mistake;
    const struct eng_preset_entry *entries[KEYS]; /* of the rule that is read */
};

static bool
wrong_at(struct reader *r, const struct eng_preset_entry *e, bool in_key,
         const struct eng_mistake *m)
{
    struct eng_rules_mistake *out = r->mistake;

    *out = (struct eng_rules_mistake){.mistake = *m, .line = e->line};
    snprintf(out->key, sizeof out->key, "%s", e->key ? e->key : "");
    snprintf(out->value, sizeof out->value, "%s", in_key ? "" : e->value);
    out->column = in_key ? e->key_at + 1 : e->value_at + eng_column(e->value, m->at);
    return false;
}

static bool
wrong(struct reader *r, const struct eng_preset_entry *e, bool in_key, enum eng_wrong what,
      const char *near)
{
    struct eng_mistake m = {.wrong = what};

    snprintf(m.near, sizeof m.near, "%s", near);
    return wrong_at(r, e, in_key, &m);
}

static bool
no_memory(struct reader *r)
{
    *r->mistake = (struct eng_rules_mistake){0};
    return false;
}

static bool
parse_switch(struct reader *r, enum key key, bool *out)
{
    const struct eng_preset_entry *e = r->entries[key];

    if (!e)
        return true;
    *out = strcmp(e->value, "on") == 0;
    return *out || strcmp(e->value, "off") == 0 || wrong(r, e, false, ENG_WRONG_CHOICE, "on, off");
}

static bool
parse_texts(struct reader *r, struct rule *rule)
{
    for (int i = 0; i < RULE_TEXTS; i++) {
        const struct eng_preset_entry *e = r->entries[KEY_IS + i];
        struct eng_mistake m;

        if (!e)
            continue;
        rule->has_text[i] = true;
        if (eng_parse_payload(ENG_AS_TEXT, e->value, r->rules->opts.charset, &rule->texts[i], &m))
            continue;
        return rule->texts[i].failed ? no_memory(r) : wrong_at(r, e, false, &m);
    }
    return true;
}

static bool
parse_own_notation(struct reader *r, enum key key, struct rule *rule,
                   bool (*parse)(const char *, struct rule *, struct eng_mistake *))
{
    const struct eng_preset_entry *e = r->entries[key];
    struct eng_mistake m = {0};

    if (!e || parse(e->value, rule, &m))
        return true;
    return m.wrong ? wrong_at(r, e, false, &m) : no_memory(r);
}

static bool
parse_regex(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_REGEX];
    struct eng_mistake m;

    if (!e)
        return true;
    rule->regex = eng_regex_new(e->value, &m);
    if (rule->regex)
        return true;
    return m.wrong ? wrong_at(r, e, false, &m) : no_memory(r);
}

static bool
parse_counts(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *size = r->entries[KEY_SIZE];
    const struct eng_preset_entry *times = r->entries[KEY_TIMES];
    const struct eng_preset_entry *every = r->entries[KEY_EVERY];

    rule->has_size = size != NULL;
    if (size && !eng_parse_size_range(size->value, &rule->size_least, &rule->size_most))
        return wrong(r, size, false, ENG_WRONG_CHOICE, "64, 10.., ..100, 10..100");
    if (times && !eng_parse_count(times->value, &rule->times))
        return wrong(r, times, false, ENG_WRONG_NUMBER, "1..");
    if (every && !eng_parse_count(every->value, &rule->every))
        return wrong(r, every, false, ENG_WRONG_NUMBER, "1..");
    return true;
}

static bool
parse_dir(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_DIR];

    if (!e)
        return true;
    rule->not_of[true] = strcmp(e->value, "in") == 0;
    rule->not_of[false] = strcmp(e->value, "out") == 0;
    return rule->not_of[true] || rule->not_of[false] ||
           wrong(r, e, false, ENG_WRONG_CHOICE, "in, out");
}

/* ---- what is answered ---- */

static bool
parse_eol(struct reader *r, const char **eol)
{
    const struct eng_preset_entry *e = r->entries[KEY_EOL];

    *eol = r->rules->opts.eol ? r->rules->opts.eol : "";
    if (!e)
        return true;
    *eol = strcmp(e->value, "lf") == 0     ? "\n"
           : strcmp(e->value, "crlf") == 0 ? "\r\n"
           : strcmp(e->value, "none") == 0 ? ""
                                           : NULL;
    return *eol || wrong(r, e, false, ENG_WRONG_CHOICE, "none, lf, crlf");
}

static bool
parse_append(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_APPEND];
    struct eng_mistake m;

    rule->acts.append = r->rules->opts.append;
    if (!e)
        return true;
    rule->acts.append = NULL;
    if (strcmp(e->value, "none") == 0)
        return true;
    rule->append = eng_alloc(sizeof *rule->append);
    if (!rule->append)
        return no_memory(r);
    rule->acts.append = rule->append;
    return eng_sum_parse(e->value, rule->append, &m) || wrong_at(r, e, false, &m);
}

/* The one answer that a rule has; NULL: none.  False: there are two. */
static bool
find_answer(struct reader *r, const struct eng_preset_entry **answer, enum eng_notation *notation)
{
    static const enum eng_notation notations[] = {ENG_AS_TEXT, ENG_AS_ESCAPE, ENG_AS_HEX,
                                                  ENG_AS_BASE64, ENG_AS_BASE64};

    *answer = NULL;
    for (int key = KEY_REPLY; key <= KEY_ECHO; key++) {
        const struct eng_preset_entry *e = r->entries[key];

        if (!e || (key == KEY_ECHO && strcmp(e->value, "off") == 0))
            continue;
        if (*answer)
            return wrong(r, e->line > (*answer)->line ? e : *answer, true, ENG_WRONG_BOTH,
                         e->line > (*answer)->line ? (*answer)->key : e->key);
        *answer = e;
        *notation = key == KEY_ECHO ? ENG_AS_TEXT : notations[key - KEY_REPLY];
    }
    return true;
}

/* Its bytes are those of the file when the rules are read. */
static bool
load_answer(struct reader *r, struct rule *rule, const struct eng_preset_entry *e)
{
    int error = r->rules->opts.load ? r->rules->opts.load(e->value, ENG_RULE_FILE_MAX, &rule->reply)
                                    : ENOSYS;

    if (error == ENOMEM)
        return no_memory(r);
    return !error || wrong(r, e, false, ENG_WRONG_FILE, strerror(error));
}

static bool
parse_bytes(struct reader *r, struct rule *rule, const struct eng_preset_entry *e,
            enum eng_notation notation)
{
    struct eng_mistake m;

    if (e == r->entries[KEY_REPLY_FILE])
        return load_answer(r, rule, e);
    return eng_parse_payload(notation, e->value, r->rules->opts.charset, &rule->reply, &m) ||
           (rule->reply.failed ? no_memory(r) : wrong_at(r, e, false, &m));
}

static bool
make_answer(struct reader *r, struct rule *rule, const struct eng_preset_entry *e,
            enum eng_notation notation, bool template)
{
    const char *charset = r->rules->opts.charset;
    bool is_text = notation == ENG_AS_TEXT || notation == ENG_AS_ESCAPE;
    struct eng_mistake m;

    rule->acts.replies = true;
    if (!is_text && !r->entries[KEY_EOL])
        rule->acts.eol = ""; /* as of --reply-hex */
    if (template) {
        rule->template = eng_template_new_matching(
            e->value, notation, charset, rule->regex ? eng_regex_groups(rule->regex) : -1, &m);
        rule->acts.template = rule->template;
        return rule->template || (m.wrong ? wrong_at(r, e, false, &m) : no_memory(r));
    }
    if (!parse_bytes(r, rule, e, notation))
        return false;
    eng_seal(&rule->reply, rule->acts.append, rule->acts.eol);
    rule->acts.bytes = rule->reply.len ? rule->reply.data : (const uint8_t *)"";
    rule->acts.len = rule->reply.len;
    return !rule->reply.failed || no_memory(r);
}

/* What only says how an answer is made is a mistake where there is none. */
static bool
check_lonely(struct reader *r, bool has_answer)
{
    static const enum key keys[] = {KEY_TEMPLATE, KEY_APPEND, KEY_EOL};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (r->entries[keys[i]] && !has_answer)
            return wrong(r, r->entries[keys[i]], true, ENG_WRONG_NEEDS, "reply");
    }
    return true;
}

static bool
parse_answer(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e;
    enum eng_notation notation = ENG_AS_TEXT;
    bool template = false;

    if (!parse_switch(r, KEY_ECHO, &rule->acts.echo) || !parse_switch(r, KEY_TEMPLATE, &template) ||
        !parse_eol(r, &rule->acts.eol) || !parse_append(r, rule) ||
        !find_answer(r, &e, &notation) || !check_lonely(r, e && e != r->entries[KEY_ECHO]))
        return false;
    if (template && notation == ENG_AS_BASE64)
        return wrong(r, r->entries[KEY_TEMPLATE], true, ENG_WRONG_BOTH, e->key);
    return !e || e == r->entries[KEY_ECHO] || make_answer(r, rule, e, notation, template);
}

static bool
parse_close(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_CLOSE];

    if (!e || strcmp(e->value, "off") == 0)
        return true;
    rule->acts.close = strcmp(e->value, "on") == 0      ? ENG_CLOSE_ORDERLY
                       : strcmp(e->value, "reset") == 0 ? ENG_CLOSE_RESET
                                                        : ENG_CLOSE_NOT;
    return rule->acts.close != ENG_CLOSE_NOT ||
           wrong(r, e, false, ENG_WRONG_CHOICE, "on, off, reset");
}

/* ---- where else it goes ---- */

static bool
parse_url(struct reader *r, struct rule *rule, const struct eng_preset_entry *e)
{
    static const char *const choices[] = {[ENG_RULES_LISTEN] = "others, off, tcp://HOST:PORT",
                                          [ENG_RULES_CONNECT] = "off, tcp://HOST:PORT",
                                          [ENG_RULES_RELAY] = "on, off, tcp://HOST:PORT"};
    struct outlet_reason why = OUTLET_REASON;
    struct eng_mistake m = {.wrong = ENG_WRONG_URL};

    if (!strpbrk(e->value, ":/"))
        return wrong(r, e, false, ENG_WRONG_CHOICE, choices[r->rules->opts.who]);
    rule->acts.forward = ENG_FORWARD_URL;
    rule->acts.forward_url = e->value;
    r->rules->forwards[ENG_FORWARD_URL] = true;
    if (outlet_url_check(e->value, OUTLET_TO_CONNECT, &why) == OUTLET_OK)
        return true;
    m.at = why.position > 0 ? (size_t)why.position : 0;
    snprintf(m.near, sizeof m.near, "%.95s", why.text);
    return wrong_at(r, e, false, &m);
}

/* A relay passes on what a rule does nothing else with. */
static bool
parse_passing(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_FORWARD];
    const char *where = e ? e->value : "off";
    bool relays = r->rules->opts.who == ENG_RULES_RELAY;
    struct eng_rule_acts *a = &rule->acts;
    bool drops = false;

    if (!parse_switch(r, KEY_DROP, &drops))
        return false;
    if (strcmp(where, "others") == 0 && r->rules->opts.who == ENG_RULES_LISTEN) {
        a->forward = ENG_FORWARD_OTHERS;
        r->rules->forwards[ENG_FORWARD_OTHERS] = true;
    } else if (strcmp(where, "on") == 0 && relays) {
        a->passes = true;
    } else if (strcmp(where, "off") == 0) {
        a->passes = relays && !drops && !a->replies && !a->echo && a->close == ENG_CLOSE_NOT;
    } else if (!parse_url(r, rule, e)) {
        return false;
    }
    return !drops || (!a->passes && a->forward == ENG_FORWARD_NOT) ||
           wrong(r, r->entries[KEY_DROP], true, ENG_WRONG_BOTH, "forward");
}

static bool
parse_delay(struct reader *r, struct rule *rule)
{
    const struct eng_preset_entry *e = r->entries[KEY_DELAY];
    const struct eng_rule_acts *a = &rule->acts;

    if (!e)
        return true;
    if (!eng_parse_duration(e->value, &rule->acts.delay_ms))
        return wrong(r, e, false, ENG_WRONG_CHOICE, "200ms, 1.5s, 2m");
    return a->replies || a->echo || a->close != ENG_CLOSE_NOT || a->passes ||
           a->forward != ENG_FORWARD_NOT || wrong(r, e, true, ENG_WRONG_NEEDS, "reply");
}

/* What holds always is no condition; what shall hold for an empty message says size = 0. */
static bool
check_values(struct reader *r)
{
    for (int key = KEY_IS; key <= KEY_SIZE; key++) {
        if (r->entries[key] && !*r->entries[key]->value)
            return wrong(r, r->entries[key], true, ENG_WRONG_NO_VALUE, "");
    }
    return true;
}

/* Also one that says "off": it keeps the message from the rules behind it, and means to. */
static bool
check_acts(struct reader *r, const struct eng_preset_entry *section)
{
    for (int key = KEY_REPLY; key <= KEY_DELAY; key++) {
        if (r->entries[key] && key != KEY_TEMPLATE && key != KEY_APPEND && key != KEY_EOL)
            return true;
    }
    return wrong(r, section, true, ENG_WRONG_NO_ACTION, section->section);
}

/* ---- the file ---- */

static bool
take_key(struct reader *r, const struct eng_preset_entry *e)
{
    size_t best = 3;
    const char *near = "";

    for (int i = 0; i < KEYS; i++) {
        if (strcmp(key_names[i], e->key) == 0) {
            r->entries[i] = e;
            return true;
        }
        if (eng_is_near(e->key, key_names[i], &best))
            near = key_names[i];
    }
    return wrong(r, e, true, ENG_WRONG_KEY, near);
}

static bool
parse_rule(struct reader *r, struct rule *rule, const struct eng_preset_entry *section)
{
    return check_values(r) && parse_texts(r, rule) &&
           parse_own_notation(r, KEY_HEX, rule, rule_parse_glob) && parse_regex(r, rule) &&
           parse_own_notation(r, KEY_FIELD, rule, rule_parse_fields) && parse_counts(r, rule) &&
           parse_dir(r, rule) && parse_answer(r, rule) && parse_close(r, rule) &&
           parse_passing(r, rule) && parse_delay(r, rule) && check_acts(r, section);
}

/* Keys of a section stand behind it, up to the next one: a section is in a file once. */
static bool
parse_sections(struct reader *r)
{
    const struct eng_presets *file = &r->rules->file;

    for (size_t i = 0; i < file->count;) {
        const struct eng_preset_entry *section = &file->entries[i];
        struct rule *rule = &r->rules->rules[r->rules->count++];

        rule->acts.name = section->section;
        memset(r->entries, 0, sizeof r->entries);
        if (!eng_utf8_valid((const uint8_t *)rule->acts.name, strlen(rule->acts.name)))
            return wrong(r, section, true, ENG_WRONG_SECTION, "");
        for (i++; i < file->count && file->entries[i].key; i++) {
            if (!take_key(r, &file->entries[i]))
                return false;
        }
        if (!parse_rule(r, rule, section))
            return false;
    }
    return true;
}

/* Of a line that is no entry there is no word to point at: its column is counted in the text. */
static void
place_in_line(const char *text, size_t len, struct eng_rules_mistake *m)
{
    char line[1024];
    size_t at = 0;
    size_t n;

    for (int i = 1; i < m->line; i++)
        at += (size_t)((const char *)memchr(text + at, '\n', len - at) - (text + at)) + 1;
    n = len - at < sizeof line - 1 ? len - at : sizeof line - 1;
    memcpy(line, text + at, n);
    line[n] = '\0';
    m->column = m->mistake.at < n ? eng_column(line, m->mistake.at) : m->mistake.at + 1;
}

static bool
parse_lines(struct eng_rules *rules, const void *text, size_t len, struct eng_rules_mistake *m)
{
    size_t sections = 0;

    text = eng_presets_begin(text, &len);
    if (!eng_presets_parse(text, len, &rules->file, &m->mistake, &m->line)) {
        if (m->mistake.wrong)
            place_in_line(text, len, m);
        return false;
    }
    for (size_t i = 0; i < rules->file.count; i++) {
        const struct eng_preset_entry *e = &rules->file.entries[i];

        if (e->key || ++sections <= ENG_RULES_MAX)
            continue;
        *m = (struct eng_rules_mistake){
            .mistake.wrong = ENG_WRONG_LONG, .line = e->line, .column = e->key_at + 1};
        return false;
    }
    if (sections == 0) {
        *m = (struct eng_rules_mistake){.mistake.wrong = ENG_WRONG_NO_RULE, .line = 1, .column = 1};
        return false;
    }
    rules->rules = eng_alloc((sections + 1) * sizeof *rules->rules);
    return rules->rules != NULL;
}

struct eng_rules *
eng_rules_parse(const void *text, size_t len, const struct eng_rules_opts *opts,
                struct eng_rules_mistake *mistake)
{
    struct eng_rules *rules = eng_alloc(sizeof *rules);
    struct reader r = {.rules = rules, .mistake = mistake};

    *mistake = (struct eng_rules_mistake){0};
    if (!rules)
        return NULL;
    rules->opts = *opts;
    if (parse_lines(rules, text, len, mistake) && parse_sections(&r))
        return rules;
    eng_rules_free(rules);
    return NULL;
}

void
eng_rules_free(struct eng_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        struct rule *r = &rules->rules[i];

        for (int k = 0; k < RULE_TEXTS; k++)
            eng_bytes_free(&r->texts[k]);
        eng_bytes_free(&r->reply);
        eng_free(r->tokens);
        eng_free(r->fields);
        eng_free(r->append);
        eng_regex_free(r->regex);
        eng_template_free(r->template);
    }
    eng_free(rules->rules);
    eng_bytes_free(&rules->decoded);
    eng_presets_free(&rules->file);
    eng_free(rules);
}
