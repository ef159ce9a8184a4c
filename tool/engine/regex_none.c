/*
 * regex_none.c - regular expressions where outlet was built without libpcre2: refused, never
 * ignored.  A rule without its condition would match everything.
 *
 * SPDX-License-Identifier: MIT
 */
#include "regex.h"

struct eng_regex *
eng_regex_new(const char *pattern, struct eng_mistake *mistake)
{
    (void)pattern;
    *mistake = (struct eng_mistake){.wrong = ENG_WRONG_NO_REGEX};
    return NULL;
}

void
eng_regex_free(struct eng_regex *r)
{
    (void)r;
}

enum eng_found
eng_regex_find(struct eng_regex *r, const uint8_t *bytes, size_t len)
{
    (void)r;
    (void)bytes;
    (void)len;
    return ENG_FOUND_NOT;
}

int
eng_regex_groups(const struct eng_regex *r)
{
    (void)r;
    return 0;
}

bool
eng_regex_group(const struct eng_regex *r, int n, size_t *at, size_t *len)
{
    (void)r;
    (void)n;
    *at = 0;
    *len = 0;
    return false;
}
