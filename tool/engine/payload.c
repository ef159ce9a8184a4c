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

/* One escape at text[i], which is a backslash.  How long it is, 0: it is none.  *raw says that its
 * bytes are not text, and so have no charset. */
static size_t
parse_one_escape(const char *text, struct eng_bytes *out, bool *raw)
{
    static const char names[] = "abefnrtv0\\\"'";
    static const char codes[] = "\a\b\033\f\n\r\t\v\0\\\"'";
    const char *name = text[1] ? strchr(names, text[1]) : NULL;
    int32_t code;

    *raw = false;
    if (name) {
        eng_bytes_add(out, codes + (name - names), 1);
        return 2;
    }
    code = text[1] == 'x' ? hex_number(text + 2, 2) : -1;
    if (code >= 0) {
        uint8_t byte = (uint8_t)code;

        *raw = true;
        eng_bytes_add(out, &byte, 1);
        return 4;
    }
    code = text[1] == 'u' ? hex_number(text + 2, 4) : -1;
    if (code < 0 || (code >= 0xd800 && code < 0xe000))
        return 0;
    add_utf8(out, (uint32_t)code);
    return 6;
}

bool
eng_parse_escape(const char *text, struct eng_bytes *out, size_t *bad_at)
{
    for (size_t i = 0; text[i];) {
        bool raw;
        size_t n = text[i] == '\\' ? parse_one_escape(text + i, out, &raw) : 1;

        if (n == 0) {
            *bad_at = i;
            return false;
        }
        if (text[i] != '\\')
            eng_bytes_add(out, text + i, 1);
        i += n;
    }
    return !out->failed;
}

/* Does something else than UTF-8 stand there?  Then no charset has a code for it. */
static bool
is_no_character(const char *text)
{
    return *text && eng_utf8_next((const uint8_t *)text, strlen(text)) == 0;
}

/* Escaped text in a charset, character by character, so that a mistake has its place. */
static bool
parse_encoded_escape(const char *text, const char *charset, struct eng_bytes *out,
                     struct eng_mistake *mistake)
{
    struct eng_coder *coder = eng_encoder_open(charset);
    struct eng_bytes one = {0};
    size_t i = 0;
    size_t bad_at;
    bool ok = coder != NULL;

    out->failed |= !coder;
    while (ok && text[i]) {
        size_t n = eng_utf8_next((const uint8_t *)text + i, strlen(text + i));
        bool raw = false;

        one.len = 0;
        n = n ? n : 1;
        if (text[i] == '\\')
            n = parse_one_escape(text + i, &one, &raw);
        else
            eng_bytes_add(&one, text + i, n);
        ok = n > 0;
        mistake->wrong = !ok                         ? ENG_WRONG_ESCAPE
                         : is_no_character(text + i) ? ENG_WRONG_UTF8
                                                     : ENG_WRONG_CHARACTER;
        mistake->at = i;
        if (ok && raw)
            eng_bytes_add(out, one.data, one.len);
        else if (ok)
            ok = eng_encode(coder, one.data, one.len, out, &bad_at) && !eng_coder_is_amid(coder);
        i += n;
    }
    if (ok)
        (void)eng_encode_end(coder, out); /* it is not amid a character */
    eng_coder_close(coder);
    eng_bytes_free(&one);
    return ok && !out->failed;
}

static int
base64_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* RFC 4648, in either alphabet, with or without padding; bits that mean nothing must be 0. */
static bool
parse_base64(const char *text, struct eng_bytes *out, size_t *bad_at)
{
    uint32_t bits = 0;
    int have = 0;    /* digits of a group of four */
    int ends = 0;    /* '=' so far */
    size_t last = 0; /* where the last digit stands */
    size_t i;

    for (i = 0; text[i]; i++) {
        int value = base64_of(text[i]);

        if (strchr(" \t\r\n", text[i]))
            continue;
        *bad_at = i;
        if (text[i] == '=' && have + ends >= 2 && have + ends < 4) {
            ends++;
            continue;
        }
        if (value < 0 || ends)
            return false;
        last = i;
        bits = bits << 6 | (uint32_t)value;
        if (++have < 4)
            continue;
        for (int k = 16; k >= 0; k -= 8)
            eng_bytes_add(out, &(uint8_t){(uint8_t)(bits >> k)}, 1);
        have = 0;
        bits = 0;
    }
    *bad_at = i;
    if (have == 1 || (ends && have + ends != 4))
        return false;
    *bad_at = last;
    if ((have == 2 && bits & 15) || (have == 3 && bits & 3))
        return false;
    for (int k = 1; k < have; k++)
        eng_bytes_add(out, &(uint8_t){(uint8_t)(bits >> (6 * have - 8 * k))}, 1);
    return !out->failed;
}

bool
eng_parse_payload(enum eng_notation notation, const char *text, const char *charset,
                  struct eng_bytes *out, struct eng_mistake *mistake)
{
    static const enum eng_wrong wrongs[] = {
        [ENG_AS_TEXT] = ENG_WRONG_CHARACTER,
        [ENG_AS_ESCAPE] = ENG_WRONG_ESCAPE,
        [ENG_AS_HEX] = ENG_WRONG_HEX,
        [ENG_AS_BASE64] = ENG_WRONG_BASE64,
    };

    bool ok;

    *mistake = (struct eng_mistake){.wrong = wrongs[notation]};
    switch (notation) {
    case ENG_AS_HEX:
        return eng_parse_hex(text, out, &mistake->at);
    case ENG_AS_BASE64:
        return parse_base64(text, out, &mistake->at);
    case ENG_AS_ESCAPE:
        return charset ? parse_encoded_escape(text, charset, out, mistake)
                       : eng_parse_escape(text, out, &mistake->at);
    case ENG_AS_TEXT:
        break;
    }
    ok = eng_encode_text(charset, text, strlen(text), out, &mistake->at);
    if (!ok && is_no_character(text + mistake->at))
        mistake->wrong = ENG_WRONG_UTF8;
    return ok && !out->failed;
}

void
eng_seal(struct eng_bytes *message, const struct eng_sum *append, const char *eol)
{
    if (append)
        eng_sum_append(append, message);
    eng_bytes_text(message, eol);
}

static bool
parse_time(const char *text, int64_t least_us, int64_t *ms)
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
        if (us < least_us)
            return false;
        *ms = (us + 999) / 1000; /* never early */
        return true;
    }
    return false;
}

bool
eng_parse_duration(const char *text, int64_t *ms)
{
    return parse_time(text, 1, ms);
}

bool
eng_parse_duration_or_none(const char *text, int64_t *ms)
{
    if (strcmp(text, "0") != 0)
        return parse_time(text, 0, ms);
    *ms = 0;
    return true;
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

size_t
eng_without_eol(const uint8_t *message, size_t len, const char *eol)
{
    size_t n = eol ? strlen(eol) : 0;

    return n && len >= n && memcmp(message + len - n, eol, n) == 0 ? len - n : len;
}
