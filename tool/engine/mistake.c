/*
 * mistake.c - how near two words are, and where people would say that a byte stands.  Pure.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mistake.h"

#include "engine.h"

#include <string.h>

size_t
eng_column(const char *text, size_t at)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t len = strlen(text);
    size_t column = 1;

    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);

        i += n ? n : 1; /* a byte that is no character counts as one */
        if (i > at)
            break;
        column++;
    }
    return column;
}

size_t
eng_distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t rows[3][MAX + 1];
    size_t n = strlen(b);
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];

    if (strlen(a) > MAX || n > MAX)
        return MAX;
    for (size_t k = 0; k <= n; k++)
        above[k] = k;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *oldest = before;

        row[0] = i;
        for (size_t k = 1; k <= n; k++) {
            size_t best = above[k - 1] + (a[i - 1] != b[k - 1]);

            best = above[k] + 1 < best ? above[k] + 1 : best;
            best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
                before[k - 2] + 1 < best)
                best = before[k - 2] + 1;
            row[k] = best;
        }
        before = above;
        above = row;
        row = oldest;
    }
    return above[n];
}

bool
eng_is_near(const char *word, const char *known, size_t *best)
{
    size_t d = eng_distance(word, known);

    if (d >= *best || d > 2 || d >= strlen(known))
        return false;
    /* More than a third of a word is no likeness, unless it is the beginning. */
    if (d * 3 > strlen(word) && strncmp(word, known, strlen(word)) != 0)
        return false;
    *best = d;
    return true;
}
