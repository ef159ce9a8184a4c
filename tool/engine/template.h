/*
 * template.h - a payload with places that are filled in anew for each message.
 *
 *     {{seq}}  {{seq start=0 step=2 width=4 base=16}}          {{client}}  {{peer}}  {{uuid}}
 *     {{time}} {{time ms}} {{time utc %Y-%m-%d %H:%M:%S.%3N}}   {{rand 1..6}} {{rand hex=8}}
 *     {{u16be}} {{u32le start=7}} {{u8 rand}} {{u32be time}}    numbers as bytes
 *
 * A template is compiled once, which is where all mistakes are found, and rendered without any.
 * \{{ is two braces; \\{{ is a backslash in front of a place.  A newcomer's mistake: to escape the
 * braces of JSON.  Only two together open a place, and }} outside of one is text.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_TEMPLATE_H
#define ENG_TEMPLATE_H

#include "payload.h"

#include <stdint.h>

struct eng_bytes;
struct eng_template;

/* What a regular expression found: all of it, and its groups. */
struct eng_capture {
    const uint8_t *bytes; /* UTF-8 when the template has a charset */
    size_t len;
};

enum { ENG_CAPTURES = 10 };

/* `notation` is that of the text around the places.  Text is encoded in `charset` (checked; NULL:
 * UTF-8), also what the places become.  NULL with mistake->wrong ENG_WRONG_NOTHING: no memory. */
struct eng_template *eng_template_new(const char *text, enum eng_notation notation,
                                      const char *charset, struct eng_mistake *mistake);
/* The same with {{match}} and {{match 1}} up to `groups`, for answers to what was matched. */
struct eng_template *eng_template_new_matching(const char *text, enum eng_notation notation,
                                               const char *charset, int groups,
                                               struct eng_mistake *mistake);
void eng_template_free(struct eng_template *t); /* NULL is allowed */

/* What a message is rendered from. */
struct eng_context {
    uint64_t n;       /* messages before this one */
    int64_t real_ns;  /* since 1970 */
    uint64_t client;  /* its number, from 1 */
    const char *peer; /* its address */
    uint64_t *chance; /* state of the random numbers, moved on */
    /* ENG_CAPTURES of them, for a template that may have {{match}}. */
    const struct eng_capture *match;
};

/* Append one message.  False: no memory, or a place has no form in the charset. */
bool eng_template_render(const struct eng_template *t, const struct eng_context *context,
                         struct eng_bytes *out);

/* SplitMix64: the next number of a seeded sequence. */
uint64_t eng_chance(uint64_t *state);

#endif
