/*
 * payload.c - what people write on a command line, as bytes, durations and counts.  Pure.
 *
 * Hex is forgiving about what stands between bytes (spaces, commas, colons, 0x) because it is
 * pasted from manuals and dumps; it is strict about digits: an odd one is an error, never a guess.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <string.h>

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool
is_between(char c)
{
    return c == ' ' || c == ',' || c == ':' || c == '-' || c == '\t' || c == '\n' || c == '\r';
}

bool
eng_parse_hex(const char *text, struct eng_bytes *out, size_t *bad_at)
{
    size_t i = 0;
    bool fresh = true; /* at the start, or behind something between: where 0x may stand */

    while (text[i]) {
        uint8_t byte;

        if (is_between(text[i])) {
            fresh = true;
            i++;
            continue;
        }
        if (fresh && text[i] == '0' && (text[i + 1] == 'x' || text[i + 1] == 'X')) {
            i += 2;
            fresh = false;
            if (digit_of(text[i]) < 0) {
                *bad_at = i;
                return false;
            }
            continue;
        }
        if (digit_of(text[i]) < 0 || digit_of(text[i + 1]) < 0) {
            *bad_at = digit_of(text[i]) < 0 ? i : i + 1;
            return false;
        }
        byte = (uint8_t)(digit_of(text[i]) * 16 + digit_of(text[i + 1]));
        eng_bytes_add(out, &byte, 1);
        fresh = false;
        i += 2;
    }
    return !out->failed;
}

static void
add_utf8(struct eng_bytes *out, uint32_t code)
{
    uint8_t bytes[3];
    size_t n = 0;

    if (code < 0x80) {
        bytes[n++] = (uint8_t)code;
    } else if (code < 0x800) {
        bytes[n++] = (uint8_t)(0xc0 | code >> 6);
        bytes[n++] = (uint8_t)(0x80 | (code & 0x3f));
    } else {
        bytes[n++] = (uint8_t)(0xe0 | code >> 12);
        bytes[n++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code & 0x3f));
    }
    eng_bytes_add(out, bytes, n);
}

/* `digits` hexadecimal digits at `text`, or -1. */
static int32_t
hex_number(const char *text, int digits)
{
    int32_t value = 0;

    for (int i = 0; i < digits; i++) {
        if (digit_of(text[i]) < 0)
            return -1;
        value = value * 16 + digit_of(text[i]);
    }
    return value;
}

bool
eng_parse_escape(const char *text, struct eng_bytes *out, size_t *bad_at)
{
    static const char names[] = "abefnrtv0\\\"'";
    static const char codes[] = "\a\b\033\f\n\r\t\v\0\\\"'";

    for (size_t i = 0; text[i]; i++) {
        const char *name;
        int32_t code;

        if (text[i] != '\\') {
            eng_bytes_add(out, text + i, 1);
            continue;
        }
        name = text[i + 1] ? strchr(names, text[i + 1]) : NULL;
        if (name) {
            eng_bytes_add(out, codes + (name - names), 1);
            i++;
            continue;
        }
        code = text[i + 1] == 'x' ? hex_number(text + i + 2, 2) : -1;
        if (code >= 0) {
            uint8_t byte = (uint8_t)code;

            eng_bytes_add(out, &byte, 1);
            i += 3;
            continue;
        }
        code = text[i + 1] == 'u' ? hex_number(text + i + 2, 4) : -1;
        if (code < 0 || (code >= 0xd800 && code < 0xe000)) {
            *bad_at = i;
            return false;
        }
        add_utf8(out, (uint32_t)code);
        i += 5;
    }
    return !out->failed;
}

bool
eng_parse_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {
        {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000},
    };
    const int64_t most_us = (int64_t)1000000 * 3600 * 24 * 3660; /* ten years */
    int64_t whole = 0;
    int64_t part = 0; /* millionths */
    int64_t scale = 1000000;
    size_t i = 0;

    while (text[i] >= '0' && text[i] <= '9') {
        if (whole > most_us)
            return false;
        whole = whole * 10 + (text[i++] - '0');
    }
    if (i == 0)
        return false;
    if (text[i] == '.') {
        i++;
        if (text[i] < '0' || text[i] > '9')
            return false;
        while (text[i] >= '0' && text[i] <= '9') {
            if (scale > 1) {
                scale /= 10;
                part += (text[i] - '0') * scale;
            }
            i++;
        }
    }
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++) {
        int64_t us;

        if (strcmp(text + i, units[k].unit) != 0)
            continue;
        if (whole > most_us / units[k].us)
            return false;
        us = whole * units[k].us + part * units[k].us / 1000000;
        if (us <= 0)
            return false;
        *ms = (us + 999) / 1000; /* never early */
        return true;
    }
    return false;
}

bool
eng_parse_count(const char *text, int64_t *count)
{
    int64_t n = 0;

    for (size_t i = 0; text[i]; i++) {
        if (text[i] < '0' || text[i] > '9' || n > INT64_MAX / 10 - 10)
            return false;
        n = n * 10 + (text[i] - '0');
    }
    if (n <= 0)
        return false;
    *count = n;
    return true;
}
