/*
 * text.h - write text into a room that may be too small, and spell bytes as %XX.
 *
 * The length counts what would have been written, as snprintf() does; the text itself is cut and
 * always ends in NUL.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_TEXT_H
#define OL_ADDR_TEXT_H

#include "base/base.h"

struct ol_text {
    char *out;
    size_t room; /* 0: nothing is written, only counted */
    size_t len;
};

void ol_text_init(struct ol_text *t, char *out, size_t room);
void ol_text_add(struct ol_text *t, const char *text);
void ol_text_add_bytes(struct ol_text *t, const char *bytes, size_t len);
void ol_text_add_number(struct ol_text *t, int64_t number);

/* Everything outside of printing ASCII as %XX, and the bytes that stand in `also`. */
void ol_text_add_escaped(struct ol_text *t, const char *bytes, size_t len, const char *also);

bool ol_is_control(unsigned char c);
int ol_hex_digit(char c); /* -1: none */

/* Letters compared in ASCII, whatever the locale. */
char ol_lower(char c);
bool ol_same_word(const char *a, size_t len, const char *word);

#endif
