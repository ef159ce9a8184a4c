/*
 * split.c - see split.h.
 *
 * A newcomer's mistake: to quote the URL in a complaint.  What looks like a port may be the first
 * half of a secret with a '#' in it; only ol_endpoint_parse() decides what may be shown.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "scheme.h"
#include "split.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>

outlet_err
ol_refuse(struct outlet_reason *why, outlet_err code, ptrdiff_t at, const char *key,
          const char *format, ...)
{
    char text[sizeof why->text];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    why->phase = (enum outlet_phase)0; /* it failed before the first phase */
    why->side = OUTLET_BY_US;
    why->sys_errno = 0;
    why->protocol_code = 0;
    why->position = (int32_t)at;
    snprintf(why->key, sizeof why->key, "%s", key);
    ol_reason_set(why, code, "%s", text);
    return code;
}

static struct ol_part
part(size_t from, size_t to)
{
    OL_ASSERT(from <= to);
    return (struct ol_part){.present = true, .at = from, .len = to - from};
}

/* The first of `set` in text[from..to), or `to`. */
static size_t
find(const char *text, size_t from, size_t to, const char *set)
{
    while (from < to && !strchr(set, text[from]))
        from++;
    return from;
}

bool
ol_part_has(const struct ol_url *u, struct ol_part p, char c)
{
    return memchr(u->text + p.at, c, p.len) != NULL;
}

static bool
is_scheme_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = ol_lower(text[i]);
        bool letter = c >= 'a' && c <= 'z';

        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    return len > 0;
}

/*
 * Is the text before the first colon a scheme?  With "//" behind the colon it must be one; without,
 * only when we know it, because `printer:9100` is a host and a port.
 */
static outlet_err
split_scheme(struct ol_url *u, size_t end, size_t *rest, struct outlet_reason *why)
{
    size_t colon = find(u->text, 0, end, ":/");
    bool slashes;

    *rest = 0;
    if (colon == end || u->text[colon] != ':')
        return OUTLET_OK;
    slashes = end - colon >= 3 && u->text[colon + 1] == '/' && u->text[colon + 2] == '/';
    if (!slashes && !ol_scheme_find(u->text, colon))
        return OUTLET_OK;
    if (!is_scheme_text(u->text, colon))
        return ol_refuse(why, OUTLET_EINVAL, 0, "",
                         "there is no scheme name before `://`; write for example tcp://");
    u->scheme = part(0, colon);
    *rest = colon + 1;
    return OUTLET_OK;
}

outlet_err
ol_url_split(const char *text, struct ol_url *out, struct outlet_reason *why)
{
    struct ol_url u = {.text = text};
    size_t len = strnlen(text, OL_URL_MAX + 1);
    size_t end;
    size_t rest;
    outlet_err err;

    if (len > OL_URL_MAX)
        return ol_refuse(why, OUTLET_EINVAL, OL_URL_MAX, "", "the URL is longer than %d bytes",
                         OL_URL_MAX);
    if (len == 0)
        return ol_refuse(why, OUTLET_EINVAL, 0, "",
                         "the URL is empty; write for example tcp://127.0.0.1:9000");
    for (size_t i = 0; i < len; i++) {
        if (ol_is_control((unsigned char)text[i]))
            return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)i, "",
                             "a control character (0x%02X) stands in the URL; write it as %%%02X",
                             (unsigned char)text[i], (unsigned char)text[i]);
    }

    end = find(text, 0, len, "#");
    if (end < len) {
        size_t second = find(text, end + 1, len, "#");

        if (second < len)
            return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)second, "",
                             "a second `#` stands in the URL; join options with `,`, and write a "
                             "`#` itself as %%23");
        u.options = part(end + 1, len);
    }
    len = end;
    end = find(text, 0, len, "?");
    if (end < len)
        u.query = part(end + 1, len);

    err = split_scheme(&u, end, &rest, why);
    if (err)
        return err;
    if (u.scheme.present && end - rest >= 2 && text[rest] == '/' && text[rest + 1] == '/') {
        u.authority = part(rest + 2, find(text, rest + 2, end, "/"));
        rest = u.authority.at + u.authority.len;
    } else if (!u.scheme.present) {
        u.authority = part(0, find(text, 0, end, "/"));
        rest = u.authority.len;
    }
    u.path = part(rest, end);
    *out = u;
    return OUTLET_OK;
}

static outlet_err
split_brackets(struct ol_url *u, size_t at, size_t end, struct outlet_reason *why)
{
    size_t close = find(u->text, at, end, "]");

    if (close == end)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, "",
                         "the bracket of the IPv6 address is not closed; write [::1]:9000");
    u->bracketed = true;
    u->host = part(at + 1, close);
    if (close + 1 == end)
        return OUTLET_OK;
    if (u->text[close + 1] != ':')
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)close + 1, "",
                         "only a port may follow the bracket; write [::1]:9000");
    u->port = part(close + 2, end);
    return OUTLET_OK;
}

outlet_err
ol_url_split_authority(struct ol_url *u, struct outlet_reason *why)
{
    size_t at = u->authority.at;
    size_t end = at + u->authority.len;
    size_t colon;

    for (size_t i = end; i > at; i--) { /* the last '@': a careless secret may contain one */
        if (u->text[i - 1] == '@') {
            size_t user_end = find(u->text, at, i - 1, ":");

            u->user = part(at, user_end);
            if (user_end < i - 1)
                u->secret = part(user_end + 1, i - 1);
            at = i;
            break;
        }
    }
    if (at < end && u->text[at] == '[')
        return split_brackets(u, at, end, why);

    colon = find(u->text, at, end, ":");
    u->host = part(at, colon);
    if (colon == end)
        return OUTLET_OK;
    if (find(u->text, colon + 1, end, ":") < end)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, "",
                         "there is more than one colon; an IPv6 address stands in brackets: "
                         "[::1]:9000");
    u->port = part(colon + 1, end);
    return OUTLET_OK;
}

bool
ol_part_next(const struct ol_url *u, struct ol_part run, size_t *at, struct ol_part *item)
{
    size_t end = run.at + run.len;

    if (run.len == 0 || *at > end)
        return false;
    *item = part(*at, find(u->text, *at, end, ",&"));
    *at = item->at + item->len + 1; /* behind the end after the last one */
    return true;
}

void
ol_part_halve(const struct ol_url *u, struct ol_part item, struct ol_part *key,
              struct ol_part *value)
{
    size_t end = item.at + item.len;
    size_t equals = find(u->text, item.at, end, "=");

    *key = part(item.at, equals);
    *value = part(equals < end ? equals + 1 : end, end);
    value->present = equals < end;
}

outlet_err
ol_part_decode(const struct ol_url *u, struct ol_part p, const struct ol_decode *how, char *out,
               size_t *out_len, struct outlet_reason *why)
{
    size_t end = p.at + p.len;
    size_t n = 0;

    for (size_t i = p.at; i < end; i++) {
        size_t at = i;
        char c = u->text[i];

        if (c == '%') {
            int high = end - i > 2 ? ol_hex_digit(u->text[i + 1]) : -1;
            int low = end - i > 2 ? ol_hex_digit(u->text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, how->key,
                                 "two hexadecimal digits must follow `%%` in %s; a percent sign "
                                 "itself is %%25",
                                 how->what);
            c = (char)(high * 16 + low);
            i += 2;
            if (c == '\0')
                return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, how->key,
                                 "%%00 is not allowed in %s; leave it out", how->what);
            if (ol_is_control((unsigned char)c) && !how->controls)
                return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, how->key,
                                 "a control character is not allowed in %s; leave it out",
                                 how->what);
        }
        if (n == how->max)
            return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)at, how->key,
                             "%s is longer than %zu bytes, the limit; choose a shorter one",
                             how->what, how->max);
        out[n++] = c;
    }
    out[n] = '\0';
    *out_len = n;
    return OUTLET_OK;
}
