/*
 * text.c - see text.h.
 *
 * A newcomer's mistake: isalpha() and strcasecmp() here.  They ask the locale, and a Turkish one
 * does not know that `TCP://` and `UNIX:` are in ASCII.
 *
 * SPDX-License-Identifier: MIT
 */
#include "text.h"

#include "addr.h"

#include <stdio.h>

enum { WORD_MAX = 32 }; /* longer words are compared by their beginning */

void
ol_text_init(struct ol_text *t, char *out, size_t room)
{
    t->out = out;
    t->room = room;
    t->len = 0;
    if (room > 0)
        out[0] = '\0';
}

static void
add_byte(struct ol_text *t, char c)
{
    if (t->len + 1 < t->room) {
        t->out[t->len] = c;
        t->out[t->len + 1] = '\0';
    }
    t->len++;
}

void
ol_text_add_bytes(struct ol_text *t, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        add_byte(t, bytes[i]);
}

void
ol_text_add(struct ol_text *t, const char *text)
{
    ol_text_add_bytes(t, text, strlen(text));
}

void
ol_text_add_number(struct ol_text *t, int64_t number)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%lld", (long long)number);
    ol_text_add(t, digits);
}

void
ol_text_add_escaped(struct ol_text *t, const char *bytes, size_t len, const char *also)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c > 0x20 && c < 0x7f && !strchr(also, c)) {
            add_byte(t, bytes[i]);
        } else {
            add_byte(t, '%');
            add_byte(t, hex[c >> 4]);
            add_byte(t, hex[c & 15]);
        }
    }
}

bool
ol_is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

int
ol_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ol_lower(c);
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

char
ol_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
ol_same_word(const char *a, size_t len, const char *word)
{
    if (len != strlen(word))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (ol_lower(a[i]) != word[i])
            return false;
    }
    return true;
}

/* The textbook table, one row for each letter typed: optimal string alignment. */
size_t
ol_edits(const char *typed, size_t len, const char *word)
{
    size_t row[WORD_MAX + 1][WORD_MAX + 1];
    size_t n = ol_min(len, WORD_MAX);
    size_t m = ol_min(strlen(word), WORD_MAX);

    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[i][0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t swap = ol_lower(typed[i - 1]) != word[j - 1];
            size_t best = row[i - 1][j - 1] + swap;

            best = ol_min(best, ol_min(row[i - 1][j], row[i][j - 1]) + 1);
            if (i > 1 && j > 1 && ol_lower(typed[i - 1]) == word[j - 2] &&
                ol_lower(typed[i - 2]) == word[j - 1])
                best = ol_min(best, row[i - 2][j - 2] + 1);
            row[i][j] = best;
        }
    }
    return row[n][m];
}

bool
ol_is_near(size_t edits, size_t len)
{
    return len > 1 && edits <= (len < 5 ? 1u : 2u);
}
