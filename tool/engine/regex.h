/*
 * regex.h - one regular expression, and a bound on the work that a message may make of it.
 *
 * A newcomer's mistake: to trust the library's own limit.  It begins anew at every byte where a
 * match could start, so that a message decides how often it is used up; ours is for the whole
 * message, counts steps, and so gives up at the same place on every machine.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_REGEX_H
#define ENG_REGEX_H

#include "mistake.h"

#include <stdint.h>

struct eng_regex;

enum { ENG_REGEX_STEPS = 4000000 };

enum eng_found { ENG_FOUND_NOT, ENG_FOUND, ENG_FOUND_TOO_LONG };

/* NULL: `mistake` says what is wrong where; ENG_WRONG_NOTHING: no memory. */
struct eng_regex *eng_regex_new(const char *pattern, struct eng_mistake *mistake);
void eng_regex_free(struct eng_regex *r); /* NULL is allowed */

/* Anywhere in it.  Characters when it is UTF-8, else bytes. */
enum eng_found eng_regex_find(struct eng_regex *r, const uint8_t *bytes, size_t len);

int eng_regex_groups(const struct eng_regex *r);
/* Of what was found last, where group `n` is: 0, all of it, to 9.  False: it took no part. */
bool eng_regex_group(const struct eng_regex *r, int n, size_t *at, size_t *len);

#endif
