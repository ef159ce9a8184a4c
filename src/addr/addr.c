/*
 * addr.c - one address: compare, print, parse.
 *
 * A newcomer's mistake: memcmp() of two addresses.  A v4 address uses four of the sixteen bytes,
 * and the rest is whatever the memory held.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "lookup.h"
#include "text.h"

#include <arpa/inet.h>
#include <net/if.h>

static enum ol_addr_kind
kind_of(const struct ol_addr *a)
{
    return (enum ol_addr_kind)a->kind;
}

bool
ol_addr_same(const struct ol_addr *a, const struct ol_addr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (kind_of(a)) {
    case OL_ADDR_V4:
        return a->port == b->port && memcmp(a->ip, b->ip, 4) == 0;
    case OL_ADDR_V6:
        return a->port == b->port && a->zone == b->zone && memcmp(a->ip, b->ip, 16) == 0;
    case OL_ADDR_NONE:
    case OL_ADDR_PATH:
    case OL_ADDR_ABSTRACT:
        return a->path_len == b->path_len && memcmp(a->path, b->path, a->path_len) == 0;
    }
    return false;
}

bool
ol_addr_is_any(const struct ol_addr *a)
{
    static const uint8_t zero[16];

    if (a->kind == OL_ADDR_V4)
        return memcmp(a->ip, zero, 4) == 0;
    return a->kind == OL_ADDR_V6 && memcmp(a->ip, zero, 16) == 0;
}

bool
ol_addr_is_group(const struct ol_addr *a)
{
    if (a->kind == OL_ADDR_V4)
        return (a->ip[0] & 0xf0) == 0xe0;
    return a->kind == OL_ADDR_V6 && a->ip[0] == 0xff;
}

bool
ol_addr_is_broadcast(const struct ol_addr *a)
{
    return a->kind == OL_ADDR_V4 && memcmp(a->ip, "\xff\xff\xff\xff", 4) == 0;
}

static void
add_ip(struct ol_text *t, int family, const uint8_t *ip)
{
    char text[INET6_ADDRSTRLEN];

    OL_ASSERT(inet_ntop(family, ip, text, sizeof text));
    ol_text_add(t, text);
}

size_t
ol_addr_print(const struct ol_addr *a, char *text, size_t room)
{
    struct ol_text t;

    ol_text_init(&t, text, room);
    switch (kind_of(a)) {
    case OL_ADDR_NONE:
        break;
    case OL_ADDR_V4:
        add_ip(&t, AF_INET, a->ip);
        break;
    case OL_ADDR_V6:
        ol_text_add(&t, "[");
        add_ip(&t, AF_INET6, a->ip);
        if (a->zone != 0) {
            ol_text_add(&t, "%");
            ol_text_add_number(&t, a->zone);
        }
        ol_text_add(&t, "]");
        break;
    case OL_ADDR_PATH:
        ol_text_add_escaped(&t, a->path, a->path_len, "%");
        break;
    case OL_ADDR_ABSTRACT:
        ol_text_add(&t, "@");
        ol_text_add_escaped(&t, a->path, a->path_len, "%");
        break;
    }
    if (a->kind == OL_ADDR_V4 || a->kind == OL_ADDR_V6) {
        ol_text_add(&t, ":");
        ol_text_add_number(&t, a->port);
    }
    return t.len;
}

/* Interface numbers are positive ints. */
uint32_t
ol_addr_zone(const char *text)
{
    uint64_t number = 0;

    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] < '0' || text[i] > '9')
            return strlen(text) < IF_NAMESIZE ? ol_lookup_zone(text) : 0;
        number = number * 10 + (uint64_t)(text[i] - '0');
        if (number > INT32_MAX)
            return 0;
    }
    return (uint32_t)number;
}

/* What stands behind the colon; an empty text is none. */
static bool
parse_port(const char *text, uint16_t *out)
{
    uint32_t port = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *out = (uint16_t)port;
    return true;
}

bool
ol_addr_parse_local(const char *text, struct ol_addr *out)
{
    struct ol_addr a = {.kind = OL_ADDR_NONE};
    const char *colon = strchr(text, ':');
    const char *close = strchr(text, ']');
    uint16_t port = 0;

    if (text[0] == '[') {
        if (!close || !ol_addr_parse(text + 1, (size_t)(close - text - 1), &a) ||
            a.kind != OL_ADDR_V6)
            return false;
        if (close[1] != '\0' && (close[1] != ':' || !parse_port(close + 2, &port)))
            return false;
    } else if (colon && !strchr(colon + 1, ':')) { /* one colon: a port */
        if (!parse_port(colon + 1, &port))
            return false;
        if (colon != text && !ol_addr_parse(text, (size_t)(colon - text), &a))
            return false;
    } else if (!ol_addr_parse(text, strlen(text), &a)) {
        return false;
    }
    a.port = port;
    *out = a;
    return a.kind != OL_ADDR_NONE || port != 0;
}

bool
ol_addr_parse(const char *text, size_t len, struct ol_addr *out)
{
    struct ol_addr a = {.kind = OL_ADDR_NONE};
    char copy[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
    char *zone;

    if (len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    zone = strchr(copy, '%');
    if (zone)
        *zone++ = '\0';

    if (inet_pton(AF_INET6, copy, a.ip) == 1)
        a.kind = OL_ADDR_V6;
    else if (!zone && inet_pton(AF_INET, copy, a.ip) == 1)
        a.kind = OL_ADDR_V4;
    else
        return false;
    if (zone) {
        a.zone = ol_addr_zone(zone);
        if (a.zone == 0)
            return false;
    }
    *out = a;
    return true;
}
