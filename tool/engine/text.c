/*
 * text.c - bytes as something that can be shown: UTF-8 checks, hex, escapes, sizes.  Pure.
 *
 * Received bytes never reach a terminal as they are: an escape sequence from a peer could rewrite
 * the screen or the window's title, so everything below a space is written out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

size_t
eng_utf8_next(const uint8_t *bytes, size_t len)
{
    uint8_t first = len ? bytes[0] : 0xff;
    size_t n;
    uint32_t code;

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0) {
        n = 2;
        code = first & 0x1f;
    } else if (first >= 0xe0 && first < 0xf0) {
        n = 3;
        code = first & 0x0f;
    } else if (first >= 0xf0 && first < 0xf5) {
        n = 4;
        code = first & 0x07;
    } else {
        return 0;
    }
    if (len < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    if ((n == 3 && code < 0x800) || (n == 4 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    return n;
}

bool
eng_utf8_valid(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void
eng_text_hex(struct eng_bytes *out, const uint8_t *bytes, size_t len, const char *between)
{
    static const char digits[] = "0123456789abcdef";
    size_t gap = strlen(between);
    uint8_t *at = len ? eng_bytes_space(out, len * (2 + gap)) : NULL;

    if (!at)
        return;
    for (size_t i = 0; i < len; i++) {
        if (i > 0) {
            memcpy(at, between, gap);
            at += gap;
        }
        *at++ = (uint8_t)digits[bytes[i] >> 4];
        *at++ = (uint8_t)digits[bytes[i] & 15];
    }
    out->len += len * 2 + (len - 1) * gap;
}

static void
add_visible(struct eng_bytes *out, uint8_t byte)
{
    switch (byte) {
    case '\n':
        eng_bytes_text(out, "\\n");
        return;
    case '\r':
        eng_bytes_text(out, "\\r");
        return;
    case '\t':
        eng_bytes_text(out, "\\t");
        return;
    case '\\':
        eng_bytes_text(out, "\\\\");
        return;
    default:
        eng_bytes_printf(out, "\\x%02x", byte);
    }
}

static uint32_t
code_of(const uint8_t *bytes, size_t n)
{
    uint32_t code = n == 1 ? bytes[0] : bytes[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++)
        code = code << 6 | (bytes[i] & 0x3f);
    return code;
}

/* Format characters that nobody sees: they turn the direction of a line round, or make two texts
 * look like one.  Those of the category that have a glyph, and what chooses one, are not here. */
static bool
is_unseen(uint32_t code)
{
    static const uint32_t ranges[][2] = {
        {0xad, 0xad},     {0x34f, 0x34f},     {0x61c, 0x61c},     {0x115f, 0x1160},
        {0x17b4, 0x17b5}, {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
        {0xfff9, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe007f},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    }
    return false;
}

void
eng_text_visible(struct eng_bytes *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);
        uint32_t code = n > 1 ? code_of(bytes + i, n) : 0;
        /* U+0080 to U+009F are control characters too, some terminals obey them. */
        bool control = n == 0 || (n == 1 && (bytes[i] < ' ' || bytes[i] == 0x7f)) ||
                       (n > 1 && code < 0xa0) || bytes[i] == '\\';

        if (code >= 0xa0 && code <= 0xffff && is_unseen(code)) {
            eng_bytes_printf(out, "\\u%04x", (unsigned)code); /* as -e takes it */
            i += n;
            continue;
        }
        if (!control && !is_unseen(code)) {
            eng_bytes_add(out, bytes + i, n);
            i += n;
            continue;
        }
        n = n ? n : 1;
        for (size_t k = 0; k < n; k++)
            add_visible(out, bytes[i + k]);
        i += n;
    }
}

size_t
eng_text_width(const char *text, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t columns = 0;

    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);
        int width = n > 1 ? wcwidth((wchar_t)code_of(bytes + i, n)) : 1;

        columns += width >= 0 ? (size_t)width : 1;
        i += n ? n : 1;
    }
    return columns;
}

void
eng_text_size(char *text, size_t room, uint64_t bytes)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < 1000) {
        snprintf(text, room, "%u B", (unsigned)bytes);
        return;
    }
    for (value /= 1000; value >= 999.95 && unit < 5; unit++)
        value /= 1000;
    snprintf(text, room, "%.1f %s", value, units[unit]);
}
