/*
 * url.c - the parts of an endpoint URL that the tool wants to talk about: port, path, framing.
 *
 * The library judges URLs.  This only takes apart what outlet_url_print() made canonical, so it
 * never refuses anything that the library takes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_ROOM = 4096 };

static int
hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void
copy_decoded(char *out, size_t room, const char *from, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < room; i++) {
        if (from[i] == '%' && i + 2 < len && hex_digit(from[i + 1]) >= 0 &&
            hex_digit(from[i + 2]) >= 0) {
            out[n++] = (char)(hex_digit(from[i + 1]) * 16 + hex_digit(from[i + 2]));
            i += 2;
        } else {
            out[n++] = from[i];
        }
    }
    out[n] = '\0';
}

bool
eng_url_option(const char *url, const char *key, char *value, size_t room)
{
    const char *at = url + strcspn(url, "#?");
    size_t key_len = strlen(key);

    while (*at) {
        size_t len;

        at++;
        len = strcspn(at, ",&");
        if (strncmp(at, key, key_len) == 0 && (at[key_len] == '=' || len == key_len)) {
            const char *from = at + key_len + (at[key_len] == '=');

            snprintf(value, room, "%.*s", (int)(at + len - from), from);
            return true;
        }
        at += len;
    }
    return false;
}

size_t
eng_url_size(const char *url, const char *key, size_t otherwise)
{
    char text[32];
    char *unit;
    unsigned long long n;

    if (!eng_url_option(url, key, text, sizeof text))
        return otherwise;
    n = strtoull(text, &unit, 10);
    n <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0;
    return n ? (size_t)n : otherwise; /* off */
}

static void
split_authority(struct eng_url *out, const char *at, size_t len)
{
    size_t colon = len;

    for (size_t i = 0; i < len; i++) {
        if (at[i] == '@') { /* the user part is not ours to show */
            at += i + 1;
            len -= i + 1;
            break;
        }
    }
    while (colon > 0 && at[colon - 1] != ':' && at[colon - 1] != ']')
        colon--;
    if (colon > 0 && at[colon - 1] == ':') {
        char text[32];
        char *end;
        const struct servent *service;

        snprintf(text, sizeof text, "%.*s", (int)(len - colon), at + colon);
        out->port = (int)strtol(text, &end, 10);
        if (*end) {
            service = getservbyname(text, strcmp(out->scheme, "udp") == 0 ? "udp" : "tcp");
            out->port = service ? (service->s_port & 0xff) << 8 | (service->s_port >> 8 & 0xff)
                                : -1;
        }
        len = colon - 1;
    }
    if (len >= 2 && at[0] == '[' && at[len - 1] == ']') {
        at++;
        len -= 2;
    }
    copy_decoded(out->host, sizeof out->host, at, len);
}

bool
eng_url_split(const char *url, enum outlet_role role, struct eng_url *out)
{
    char text[URL_ROOM];
    const char *at;
    size_t len;
    int64_t n = outlet_url_print(url, role, text, sizeof text);

    memset(out, 0, sizeof *out);
    out->port = -1;
    snprintf(out->frame, sizeof out->frame, "none");
    if (n < 0 || (size_t)n >= sizeof text)
        return false;
    len = strcspn(text, ":");
    snprintf(out->scheme, sizeof out->scheme, "%.*s", (int)len, text);
    at = text + len + (text[len] == ':');
    if (strncmp(at, "//", 2) == 0)
        at += 2;
    out->stream = strcmp(out->scheme, "udp") != 0 && strcmp(out->scheme, "fd") != 0 &&
                  strcmp(out->scheme, "unix-dgram") != 0 &&
                  strcmp(out->scheme, "unix-seqpacket") != 0;
    if (strncmp(out->scheme, "unix", 4) == 0)
        copy_decoded(out->path, sizeof out->path, at, strcspn(at, "?#"));
    else
        split_authority(out, at, strcspn(at, "/?#"));
    if (eng_url_option(text, "frame", out->frame, sizeof out->frame))
        out->framed = strcmp(out->frame, "none") != 0;
    return true;
}

/* Also for a URL that the library refused, which outlet_url_print() cannot print. */
void
eng_url_masked(const char *url, char *text, size_t room)
{
    const char *from = strstr(url, "://");
    const char *at;
    const char *colon;

    if (!from && strncmp(url, "unix", 4) == 0) { /* the '@' of an abstract name */
        snprintf(text, room, "%s", url);
        return;
    }
    from = from ? from + 3 : url;
    at = memchr(from, '@', strcspn(from, "/?#"));
    colon = at ? memchr(from, ':', (size_t)(at - from)) : NULL;
    if (colon)
        snprintf(text, room, "%.*s***%s", (int)(colon + 1 - url), url, at);
    else
        snprintf(text, room, "%s", url);
}

bool
eng_url_is_loopback(const struct eng_url *u)
{
    if (u->path[0])
        return false;
    return u->host[0] == '\0' || strcmp(u->host, "localhost") == 0 || strcmp(u->host, "::1") == 0 ||
           strncmp(u->host, "127.", 4) == 0;
}
