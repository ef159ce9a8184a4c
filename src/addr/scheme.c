/*
 * scheme.c - see scheme.h.
 *
 * The names that are not built stand here on purpose: `tls://` is no typing error, and whoever
 * writes it must not be asked whether `tcp` was meant.
 *
 * SPDX-License-Identifier: MIT
 */
#include "option.h"
#include "scheme.h"
#include "text.h"

#define BUILT "tcp, unix, unix-seqpacket, unix-dgram, udp, pair and fd"

static const struct ol_scheme_entry schemes[] = {
    {"tcp", true, OL_SCHEME_TCP},
    {"unix", true, OL_SCHEME_UNIX},
    {"udp", true, OL_SCHEME_UDP},
    {"pair", true, OL_SCHEME_PAIR},
    {"fd", true, OL_SCHEME_FD},
    {"unix-seqpacket", true, OL_SCHEME_PACKET},
    {"unix-dgram", true, OL_SCHEME_LOCAL},
    {.name = "tls"},
    {.name = "kcp"},
    {.name = "ws"},
    {.name = "wss"},
    {.name = "ws+unix"},
    {.name = "wss+unix"},
    {.name = "sio"},
    {.name = "sios"},
    {.name = "http"},
    {.name = "https"},
};

const struct ol_scheme_entry *
ol_scheme_find(const char *name, size_t len)
{
    for (size_t i = 0; i < OL_COUNT(schemes); i++) {
        if (ol_same_word(name, len, schemes[i].name))
            return &schemes[i];
    }
    return NULL;
}

static outlet_err
refuse_unknown(const char *name, size_t len, struct outlet_reason *why)
{
    const char *near = NULL;
    size_t best = SIZE_MAX;
    int shown = (int)ol_min(len, 32);

    for (size_t i = 0; i < OL_COUNT(schemes); i++) {
        size_t edits = schemes[i].built ? ol_edits(name, len, schemes[i].name) : SIZE_MAX;

        if (edits < best) {
            best = edits;
            near = schemes[i].name;
        }
    }
    if (ol_is_near(best, len))
        return ol_refuse(why, OUTLET_EINVAL, 0, "", "unknown scheme `%.*s`; did you mean `%s`?",
                         shown, name, near);
    return ol_refuse(why, OUTLET_EINVAL, 0, "", "unknown scheme `%.*s`; this version has " BUILT,
                     shown, name);
}

outlet_err
ol_scheme_of(const struct ol_url *u, enum ol_scheme *out, struct outlet_reason *why)
{
    const struct ol_scheme_entry *entry;

    if (!u->scheme.present) {
        *out = OL_SCHEME_TCP;
        return OUTLET_OK;
    }
    entry = ol_scheme_find(u->text, u->scheme.len);
    if (!entry)
        return refuse_unknown(u->text, u->scheme.len, why);
    if (!entry->built)
        return ol_refuse(why, OUTLET_ENOTSUP, 0, "",
                         "scheme `%s` is not built into this version; it has " BUILT, entry->name);
    *out = entry->scheme;
    return OUTLET_OK;
}

const char *
ol_scheme_name(enum ol_scheme s)
{
    for (size_t i = 0; i < OL_COUNT(schemes); i++) {
        if (schemes[i].built && schemes[i].scheme == s)
            return schemes[i].name;
    }
    return "unknown";
}

bool
ol_scheme_has_host(enum ol_scheme s)
{
    return s == OL_SCHEME_TCP || s == OL_SCHEME_UDP;
}

bool
ol_scheme_has_borders(enum ol_scheme s)
{
    return s == OL_SCHEME_FD || s == OL_SCHEME_PACKET || ol_scheme_is_dgram(s);
}

bool
ol_scheme_is_dgram(enum ol_scheme s)
{
    return s == OL_SCHEME_UDP || s == OL_SCHEME_LOCAL;
}

bool
ol_scheme_is_unix(enum ol_scheme s)
{
    return s == OL_SCHEME_UNIX || s == OL_SCHEME_PACKET || s == OL_SCHEME_LOCAL;
}

int
ol_scheme_message_max(enum ol_scheme s)
{
    if (s == OL_SCHEME_PACKET || s == OL_SCHEME_LOCAL)
        return OL_PACKET_MAX;
    return s == OL_SCHEME_UDP ? OL_DATAGRAM_MAX : 0;
}
