/*
 * charset.c - the one file that knows iconv.
 *
 * iconv says EINVAL for a character that is cut off and EILSEQ for one that is none; the first
 * waits for more, the second is taken out byte by byte.  A newcomer's mistake: to allow
 * "gbk//IGNORE", which loses bytes without a word; a name with a slash is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "charset.h"

#include "engine.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <string.h>

enum { CUT_MAX = 16 /* bytes of one character, in any charset */ };

struct eng_coder {
    iconv_t cd;
    struct eng_bytes held; /* a character that is cut off */
};

/* What people ask for; iconv knows a thousand more, which it does not list to programs. */
const char *const eng_charsets[] = {
    "utf-8",        "utf-16",       "utf-16le",     "utf-16be",     "utf-32le",     "utf-32be",
    "gbk",          "gb18030",      "gb2312",       "big5",         "big5-hkscs",   "euc-cn",
    "euc-tw",       "hz",           "shift_jis",    "euc-jp",       "iso-2022-jp",  "euc-kr",
    "cp949",        "johab",        "iso-8859-1",   "iso-8859-2",   "iso-8859-5",   "iso-8859-7",
    "iso-8859-9",   "iso-8859-15",  "latin1",       "windows-1250", "windows-1251", "windows-1252",
    "windows-1253", "windows-1254", "windows-1256", "koi8-r",       "koi8-u",       "cp437",
    "cp850",        "cp866",        "cp932",        "cp936",        "cp950",        "tis-620",
    "ascii",        "ebcdic-us",    "macintosh",    NULL,
};

static bool
opens(const char *to, const char *from)
{
    iconv_t cd = iconv_open(to, from);

    if (cd == (iconv_t)-1)
        return false;
    iconv_close(cd);
    return true;
}

bool
eng_charset_check(const char *name, struct eng_mistake *mistake)
{
    char lower[48];
    size_t best = 4;
    size_t len = strlen(name);

    if (len > 0 && len < sizeof lower && !strpbrk(name, "/, ") && opens("UTF-8", name) &&
        opens(name, "UTF-8"))
        return true;
    *mistake = (struct eng_mistake){.wrong = ENG_WRONG_CHARSET};
    snprintf(lower, sizeof lower, "%s", name);
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
    for (size_t i = 0; eng_charsets[i]; i++) {
        if (eng_is_near(lower, eng_charsets[i], &best))
            snprintf(mistake->near, sizeof mistake->near, "%s", eng_charsets[i]);
    }
    return false;
}

static struct eng_coder *
coder_open(const char *to, const char *from)
{
    struct eng_coder *c = eng_alloc(sizeof *c);

    if (!c)
        return NULL;
    c->cd = iconv_open(to, from);
    if (c->cd == (iconv_t)-1) {
        eng_free(c);
        return NULL;
    }
    return c;
}

struct eng_coder *
eng_decoder_open(const char *charset)
{
    return coder_open("UTF-8", charset);
}

struct eng_coder *
eng_encoder_open(const char *charset)
{
    return coder_open(charset, "UTF-8");
}

void
eng_coder_close(struct eng_coder *c)
{
    if (!c)
        return;
    iconv_close(c->cd);
    eng_bytes_free(&c->held);
    eng_free(c);
}

bool
eng_coder_is_amid(const struct eng_coder *c)
{
    return c->held.len > 0;
}

/* Convert from `*at` on, until the end or what iconv cannot.  Its errno; 0: all of it. */
static int
convert(struct eng_coder *c, const uint8_t *bytes, size_t len, size_t *at, struct eng_bytes *out)
{
    for (;;) {
        char *in = (char *)(bytes + *at);
        size_t left = len - *at;
        size_t room = left * 4 + 64;
        uint8_t *space = eng_bytes_space(out, room);
        char *to = (char *)space;
        size_t n;
        int error;

        if (!space)
            return ENOMEM;
        /* NULL: what it holds back itself, and the way back to the first state. */
        n = len ? iconv(c->cd, &in, &left, &to, &room) : iconv(c->cd, NULL, NULL, &to, &room);
        error = n == (size_t)-1 ? errno : 0;
        *at = len - left;
        out->len += (size_t)(to - (char *)space);
        if (error != E2BIG)
            return error;
    }
}

/* U+DC00 + byte, as UTF-8 would have it. */
static void
add_undecoded(struct eng_bytes *out, uint8_t byte)
{
    const uint8_t mark[3] = {0xed, (uint8_t)(0xb0 | byte >> 6), (uint8_t)(0x80 | (byte & 0x3f))};

    eng_bytes_add(out, mark, sizeof mark);
}

void
eng_decode(struct eng_coder *c, const void *bytes, size_t len, struct eng_bytes *out)
{
    size_t at = 0;

    if (!eng_bytes_add(&c->held, bytes, len)) {
        out->failed = true;
        return;
    }
    while (at < c->held.len) {
        int error = convert(c, c->held.data, c->held.len, &at, out);

        if (error == EINVAL && c->held.len - at <= CUT_MAX)
            break;
        if (error == ENOMEM)
            break;
        if (error)
            add_undecoded(out, c->held.data[at++]);
    }
    eng_bytes_cut(&c->held, at);
}

void
eng_decode_end(struct eng_coder *c, struct eng_bytes *out)
{
    size_t none = 0;

    for (size_t i = 0; i < c->held.len; i++)
        add_undecoded(out, c->held.data[i]);
    c->held.len = 0;
    (void)convert(c, (const uint8_t *)"", 0, &none,
                  out); /* out->failed says what there is to say */
}

bool
eng_encode(struct eng_coder *c, const void *text, size_t len, struct eng_bytes *out, size_t *bad_at)
{
    size_t before = out->len;
    size_t held = c->held.len;
    size_t at = 0;
    int error;

    if (!eng_bytes_add(&c->held, text, len)) {
        out->failed = true;
        return true;
    }
    error = c->held.len ? convert(c, c->held.data, c->held.len, &at, out) : 0;
    if (error == EILSEQ || (error == EINVAL && c->held.len - at >= 4)) {
        *bad_at = at > held ? at - held : 0;
        out->len = before;
        c->held.len = 0;
        (void)iconv(c->cd, NULL, NULL, NULL, NULL);
        return false;
    }
    eng_bytes_cut(&c->held, at);
    return true;
}

bool
eng_encode_end(struct eng_coder *c, struct eng_bytes *out)
{
    bool whole = c->held.len == 0;
    size_t none = 0;

    c->held.len = 0;
    (void)convert(c, (const uint8_t *)"", 0, &none,
                  out); /* out->failed says what there is to say */
    return whole;
}

bool
eng_encode_text(const char *charset, const void *text, size_t len, struct eng_bytes *out,
                size_t *bad_at)
{
    size_t before = out->len;
    struct eng_coder *c;
    bool ok;

    if (!charset)
        return eng_bytes_add(out, text, len) || out->failed;
    c = eng_encoder_open(charset);
    if (!c) {
        out->failed = true;
        return true;
    }
    ok = eng_encode(c, text, len, out, bad_at);
    if (ok && eng_coder_is_amid(c)) {
        *bad_at = len - c->held.len;
        out->len = before;
        ok = false;
    }
    if (ok)
        ok = eng_encode_end(c, out);
    eng_coder_close(c);
    return ok;
}

static bool
is_undecoded(const uint8_t *text, size_t len)
{
    return len >= 3 && text[0] == 0xed && text[1] >= 0xb0 && text[1] < 0xb4;
}

void
eng_decoded_add(struct eng_bytes *out, const uint8_t *text, size_t len, bool visible)
{
    size_t plain = 0;

    if (len == 0)
        return; /* it may be NULL */
    for (size_t i = 0; i <= len; i++) {
        bool undecoded = i < len && is_undecoded(text + i, len - i);

        if (!undecoded && i < len)
            continue;
        if (visible)
            eng_text_visible(out, text + plain, i - plain);
        else
            eng_bytes_add(out, text + plain, i - plain);
        if (undecoded) {
            eng_bytes_printf(out, "\\x%02x", (text[i + 1] & 3) << 6 | (text[i + 2] & 0x3f));
            i += 2;
        }
        plain = i + 1;
    }
}

bool
eng_decoded_is_whole(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (is_undecoded(text + i, len - i))
            return false;
    }
    return true;
}
