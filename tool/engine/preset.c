/*
 * preset.c - the lines of a file of presets.
 *
 * There are libraries that read such files; those in Debian say in which line a mistake is and not
 * where in it, and none keeps the comments of a file that it changes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "preset.h"

#include "engine.h"

#include <stdio.h>
#include <string.h>

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool
is_of_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-_.", c) || (unsigned char)c >= 0x80;
}

bool
eng_preset_name_is_good(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        if (!is_of_name(name[i]))
            return false;
    }
    return len > 0 && len <= ENG_PRESET_NAME_MAX;
}

/* While it is read: the line that is looked at, which is cut into its words where it stands. */
struct reader {
    struct eng_presets *p;
    struct eng_mistake *mistake;
    const char *section; /* NULL: none has begun */
    char *line;
    size_t len;
    int number;
};

static bool
wrong(struct reader *r, enum eng_wrong what, size_t at)
{
    *r->mistake = (struct eng_mistake){.wrong = what, .at = at};
    return false;
}

static bool
stands_already(const struct eng_presets *p, const char *section, const char *key)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct eng_preset_entry *e = &p->entries[i];

        if (strcmp(e->section, section) == 0 &&
            (key ? e->key && strcmp(e->key, key) == 0 : !e->key))
            return true;
    }
    return false;
}

static bool
read_section(struct reader *r, size_t at)
{
    char *close = memchr(r->line + at, ']', r->len - at);
    char *name = r->line + at + 1;

    if (!close)
        return wrong(r, ENG_WRONG_SECTION, r->len);
    for (const char *c = close + 1; c < r->line + r->len; c++) {
        if (!is_space(*c))
            return wrong(r, ENG_WRONG_SECTION, (size_t)(c - r->line));
    }
    while (is_space(*name))
        name++;
    while (close > name && is_space(close[-1]))
        close--;
    *close = '\0';
    if (!eng_preset_name_is_good(name))
        return wrong(r, ENG_WRONG_SECTION, (size_t)(name - r->line));
    if (stands_already(r->p, name, NULL))
        return wrong(r, ENG_WRONG_TWICE, (size_t)(name - r->line));
    r->section = name;
    r->p->entries[r->p->count++] = (struct eng_preset_entry){
        .section = name, .line = r->number, .key_at = at};
    return true;
}

static bool
read_value(struct reader *r, size_t at)
{
    char *equals = memchr(r->line + at, '=', r->len - at);
    char *key_end = equals;
    char *value;
    char *end = r->line + r->len;

    if (!r->section)
        return wrong(r, ENG_WRONG_OUTSIDE, at);
    if (!equals)
        return wrong(r, ENG_WRONG_LINE, r->len);
    while (key_end > r->line + at && is_space(key_end[-1]))
        key_end--;
    if (key_end == r->line + at)
        return wrong(r, ENG_WRONG_LINE, at);
    value = equals + 1;
    while (value < end && is_space(*value))
        value++;
    while (end > value && is_space(end[-1]))
        end--;
    if (end - value >= 2 && *value == '"' && end[-1] == '"') {
        value++;
        end--;
    }
    *key_end = '\0';
    *end = '\0';
    if (stands_already(r->p, r->section, r->line + at))
        return wrong(r, ENG_WRONG_TWICE, at);
    r->p->entries[r->p->count++] = (struct eng_preset_entry){.section = r->section,
                                                             .key = r->line + at,
                                                             .value = value,
                                                             .line = r->number,
                                                             .key_at = at,
                                                             .value_at = (size_t)(value - r->line)};
    return true;
}

static bool
read_line(struct reader *r)
{
    size_t at = 0;
    char *nul = memchr(r->line, '\0', r->len);

    if (nul)
        return wrong(r, ENG_WRONG_LINE, (size_t)(nul - r->line));
    while (at < r->len && is_space(r->line[at]))
        at++;
    if (at == r->len || r->line[at] == '#' || r->line[at] == ';')
        return true;
    return r->line[at] == '[' ? read_section(r, at) : read_value(r, at);
}

const void *
eng_presets_begin(const void *text, size_t *len)
{
    if (*len < 3 || memcmp(text, "\xef\xbb\xbf", 3) != 0)
        return text;
    *len -= 3;
    return (const char *)text + 3;
}

bool
eng_presets_parse(const void *text, size_t len, struct eng_presets *out,
                  struct eng_mistake *mistake, int *line)
{
    struct eng_presets p = {0};
    struct reader r = {.p = &p, .mistake = mistake};
    size_t lines = 1;

    *mistake = (struct eng_mistake){0};
    *line = 0;
    text = eng_presets_begin(text, &len);
    for (size_t i = 0; i < len; i++)
        lines += ((const char *)text)[i] == '\n';
    p.text = eng_alloc(len + 1);
    p.entries = eng_alloc(lines * sizeof *p.entries);
    if (!p.text || !p.entries)
        goto failed;
    if (len > 0)
        memcpy(p.text, text, len);
    for (size_t at = 0; at < len; at += r.len + 1) {
        char *end = memchr(p.text + at, '\n', len - at);

        r.line = p.text + at;
        r.len = (end ? (size_t)(end - r.line) : len - at);
        r.line[r.len] = '\0';
        r.number++;
        *line = r.number;
        if (!read_line(&r))
            goto failed;
    }
    *out = p;
    return true;

failed:
    eng_presets_free(&p);
    return false;
}

void
eng_presets_free(struct eng_presets *p)
{
    eng_free(p->text);
    eng_free(p->entries);
    *p = (struct eng_presets){0};
}

/* Where line `number` begins; the end of the text when there is none. */
static size_t
line_at(const char *text, size_t len, int number)
{
    size_t at = 0;

    for (int i = 1; i < number && at < len; i++) {
        const char *end = memchr(text + at, '\n', len - at);

        at = end ? (size_t)(end - text) + 1 : len;
    }
    return at;
}

bool
eng_presets_put(const struct eng_presets *p, const void *text, size_t len, const char *name,
                const struct eng_bytes *section, struct eng_bytes *out)
{
    size_t from = len;
    size_t to = len;

    if (!text) /* there is no file yet */
        text = "";
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->entries[i].section, name) != 0)
            continue;
        if (!p->entries[i].key)
            from = line_at(text, len, p->entries[i].line);
        to = line_at(text, len, p->entries[i].line + 1); /* comments behind it are the next one's */
    }
    eng_bytes_add(out, text, from);
    if (from > 0 && ((const char *)text)[from - 1] != '\n')
        eng_bytes_text(out, "\n");
    if (from == len && from > 0)
        eng_bytes_text(out, "\n");
    eng_bytes_add(out, section->data, section->len);
    return eng_bytes_add(out, (const char *)text + to, len - to);
}
