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

void
eng_text_visible(struct eng_bytes *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);
        /* U+0080 to U+009F are control characters too, some terminals obey them. */
        bool control = n == 0 || (n == 1 && (bytes[i] < ' ' || bytes[i] == 0x7f)) ||
                       (n == 2 && bytes[i] == 0xc2 && bytes[i + 1] < 0xa0) || bytes[i] == '\\';

        if (!control) {
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

static wchar_t
code_of(const uint8_t *bytes, size_t n)
{
    uint32_t code = n == 1 ? bytes[0] : bytes[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++)
        code = code << 6 | (bytes[i] & 0x3f);
    return (wchar_t)code;
}

size_t
eng_text_width(const char *text, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t columns = 0;

    for (size_t i = 0; i < len;) {
        size_t n = eng_utf8_next(bytes + i, len - i);
        int width = n > 1 ? wcwidth(code_of(bytes + i, n)) : 1;

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
