/*
 * preset.h - a file of named sections with one KEY = VALUE to a line, read and changed.  Pure.
 *
 *     # a comment
 *     [read-registers]
 *     note = ten registers of unit 1
 *     hex = 01 03 00 00 00 0a
 *     append = crc16/modbus
 *
 * A value is what stands behind '=' without the space around it; quotes keep that.  Nothing is
 * escaped: options have escapes of their own.  A newcomer's mistake: a comment behind a value.  '#'
 * is text there, or no URL could have options.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_PRESET_H
#define ENG_PRESET_H

#include "mistake.h"

struct eng_bytes;

enum { ENG_PRESET_BYTES_MAX = 1024 * 1024, ENG_PRESET_NAME_MAX = 64 };

struct eng_preset_entry {
    const char *section;
    const char *key; /* NULL: the line of the section itself */
    const char *value;
    int line;      /* from 1 */
    size_t key_at; /* bytes of the line in front of it */
    size_t value_at;
};

struct eng_presets {
    char *text; /* everything below points into it */
    struct eng_preset_entry *entries;
    size_t count;
};

/* Behind the mark that some editors put in front of UTF-8. */
const void *eng_presets_begin(const void *text, size_t *len);
/* False: `mistake` in line *line, mistake->at bytes into it; ENG_WRONG_NOTHING: no memory. */
bool eng_presets_parse(const void *text, size_t len, struct eng_presets *out,
                       struct eng_mistake *mistake, int *line);
void eng_presets_free(struct eng_presets *p);
bool eng_preset_name_is_good(const char *name);

/* The file with `section` (its [line] and all) in place of the one of that name, or behind all. */
bool eng_presets_put(const struct eng_presets *p, const void *text, size_t len, const char *name,
                     const struct eng_bytes *section, struct eng_bytes *out);

#endif
