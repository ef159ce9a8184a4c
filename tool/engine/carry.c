/*
 * carry.c - why a message cannot go to an endpoint: its length, or bytes that its framing needs for
 * itself.  Pure.
 *
 * The library refuses such a message and says no more than a code; people want to know which byte,
 * or which two sizes, and what to do.  A newcomer's mistake: to decide here.  What this does not
 * understand may be sent, and the library has the last word.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARK_MAX = 32,
    DATAGRAM = 65507,     /* that UDP carries */
    MAX_USUAL = 1 << 20,  /* without max= */
    CAP_USUAL = 16 << 20, /* without cap= */
    HP_MAX = (1 << 22) - 1
};

struct carry {
    const char *frame; /* as the URL has it */
    const uint8_t *bytes;
    size_t len;
    char *why;
    size_t room;
};

#define refuse(c, ...) (snprintf((c)->why, (c)->room, __VA_ARGS__), true)

static int
digit_of(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* A mark as bytes; 0: it is too long to be one. */
static size_t
mark_of(const char *text, size_t len, uint8_t *mark)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (n == MARK_MAX)
            return 0;
        if (text[i] == '%' && i + 2 < len && digit_of(text[i + 1]) >= 0 &&
            digit_of(text[i + 2]) >= 0) {
            mark[n++] = (uint8_t)(digit_of(text[i + 1]) * 16 + digit_of(text[i + 2]));
            i += 2;
        } else {
            mark[n++] = (uint8_t)text[i];
        }
    }
    return n;
}

/* Also one that begins in the message and ends in the mark behind it. */
static bool
is_cut_by_mark(const struct carry *c, const char *text, size_t text_len)
{
    uint8_t mark[MARK_MAX];
    size_t n = mark_of(text, text_len, mark);

    for (size_t at = 0; n && at < c->len; at++) {
        size_t inside = c->len - at < n ? c->len - at : n;

        if (memcmp(c->bytes + at, mark, inside) == 0 &&
            memcmp(mark + inside, mark, n - inside) == 0)
            return refuse(c,
                          "the mark of frame=%.24s begins at byte %zu, in the message; leave it "
                          "out, or use another frame, such as len:4be",
                          c->frame, at + 1);
    }
    return false;
}

static bool
is_no_line(const struct carry *c)
{
    const uint8_t *end = c->len ? memchr(c->bytes, '\n', c->len) : NULL;

    if (end)
        return refuse(c,
                      "byte %zu ends a line, which no message of frame=line can have in it; leave "
                      "it out, or use another frame, such as len:4be",
                      (size_t)(end - c->bytes) + 1);
    if (c->len && c->bytes[c->len - 1] == '\r')
        return refuse(
            c,
            "byte %zu, the last, is a CR, which frame=line takes for the end of the line; "
            "leave it out, or use another frame",
            c->len);
    return false;
}

/* ---- a length field ---- */

struct field {
    size_t width;
    size_t offset;
    int64_t adjust;
    size_t strip;
    bool little;
};

static bool
field_parse(const char *at, struct field *f)
{
    char *end;

    *f = (struct field){.width = strtoul(at, &end, 10)};
    f->little = strncmp(end, "le", 2) == 0;
    if (f->little || strncmp(end, "be", 2) == 0)
        end += 2;
    if (*end == '@')
        f->offset = strtoul(end + 1, &end, 10);
    if (*end == '+' || *end == '-')
        f->adjust = strtoll(end, &end, 10);
    f->strip = f->offset + f->width;
    if (*end == '/')
        f->strip = strtoul(end + 1, &end, 10);
    return !*end && f->width >= 1 && f->width <= 8;
}

static uint64_t
field_most(const struct field *f)
{
    return f->width == 8 ? UINT64_MAX : ((uint64_t)1 << f->width * 8) - 1;
}

static uint64_t
field_get(const struct field *f, const uint8_t *at)
{
    uint64_t value = 0;

    for (size_t i = 0; i < f->width; i++)
        value = value << 8 | at[f->little ? f->width - 1 - i : i];
    return value;
}

static bool
is_beyond_field(const struct carry *c, const char *text)
{
    struct field f;
    int64_t least; /* bytes of a message */
    int64_t value; /* of the field */
    uint64_t says;

    if (!field_parse(text, &f))
        return false;
    least = (int64_t)(f.offset + f.width) + (f.adjust > 0 ? f.adjust : 0) - (int64_t)f.strip;
    if ((int64_t)c->len < least)
        return refuse(
            c,
            "length %zu, but a message of frame=%.24s has at least %lld bytes; add what is "
            "missing",
            c->len, c->frame, (long long)least);
    value = (int64_t)(c->len + f.strip) - (int64_t)(f.offset + f.width) - f.adjust;
    if ((uint64_t)value > field_most(&f))
        return refuse(c,
                      "length %zu, but the length field of frame=%.24s counts to %llu only; send "
                      "less, or use a wider one",
                      c->len, c->frame, (unsigned long long)field_most(&f));
    if (f.strip > f.offset)
        return false;
    says = field_get(&f, c->bytes + f.offset - f.strip);
    if (says == (uint64_t)value)
        return false;
    return refuse(c,
                  "the length field at byte %zu says %llu, but for length %zu it must say %lld; "
                  "correct it",
                  f.offset - f.strip + 1, (unsigned long long)says, c->len, (long long)value);
}

/* ---- all of it ---- */

static bool
is_too_long(const struct carry *c, const char *url, const char *scheme)
{
    bool udp = strcmp(scheme, "udp") == 0;
    size_t max = eng_url_size(url, "max", udp ? DATAGRAM : MAX_USUAL);
    size_t cap = eng_url_size(url, "cap", CAP_USUAL);

    if (udp && c->len > DATAGRAM)
        return refuse(
            c,
            "length %zu, but a datagram carries at most %d bytes; send less, or use tcp if the "
            "peer speaks it",
            c->len, DATAGRAM);
    if (c->len > max)
        return refuse(c,
                      "length %zu, but max=%zu is the limit; send less, or raise max= in the URL",
                      c->len, max);
    if (c->len > cap)
        return refuse(c,
                      "length %zu, but cap=%zu is the limit; send less, or raise cap= in the URL",
                      c->len, cap);
    return false;
}

static bool
is_empty(const struct carry *c, const char *kind, const char *what)
{
    return c->len == 0 &&
           refuse(c, "it is empty, which %s%.24s cannot carry; send at least one byte", kind, what);
}

bool
eng_carry_refuses(const struct eng_url *u, const char *url, const void *bytes, size_t len,
                  char *why, size_t room)
{
    const char *frame = u->frame;
    struct carry c = {.frame = frame, .bytes = bytes, .len = len, .why = why, .room = room};
    const char *dots = strstr(frame, "..");

    if (!u->framed && (u->stream || strcmp(u->scheme, "fd") == 0))
        return false;
    if (strlen(frame) + 1 >= sizeof u->frame) /* it is cut off */
        return false;
    if (strncmp(frame, "fixed:", 6) == 0) {
        size_t n = strtoul(frame + 6, NULL, 10);

        return len != n &&
               refuse(&c,
                      "length %zu, but a message of frame=fixed:%zu has length %zu; make "
                      "them the same",
                      len, n, n);
    }
    if (is_too_long(&c, url, u->scheme))
        return true;
    if (strcmp(u->scheme, "unix-seqpacket") == 0)
        return is_empty(&c, "", u->scheme);
    if (strcmp(frame, "line") == 0)
        return is_no_line(&c);
    if (strncmp(frame, "delim:", 6) == 0)
        return is_cut_by_mark(&c, frame + 6, strlen(frame + 6));
    if (strncmp(frame, "between:", 8) == 0 && dots)
        return is_cut_by_mark(&c, dots + 2, strlen(dots + 2));
    if (strncmp(frame, "len:", 4) == 0)
        return is_beyond_field(&c, frame + 4);
    if (strncmp(frame, "hp:", 3) == 0 && len > HP_MAX)
        return refuse(&c, "length %zu, but frame=%.24s carries at most %d bytes; send less", len,
                      frame, HP_MAX);
    if (strncmp(frame, "hp:", 3) == 0 || strncmp(frame, "idle:", 5) == 0)
        return is_empty(&c, "frame=", frame);
    return false;
}
