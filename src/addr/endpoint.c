/*
 * endpoint.c - a URL and the caller's options become an endpoint with every default filled in.
 *
 * A newcomer's mistake: to quote in a complaint what stands where a port should.  In
 * `tcp://user:se#cret@host` that is half of a secret.  A URL with an '@' that we cannot use is
 * refused before anything of it is quoted; what is shown later stands in a URL without one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "lookup.h"
#include "scheme.h"
#include "settings.h"
#include "split.h"
#include "text.h"

#include <arpa/inet.h>

enum { LABEL_MAX = 63, SERVICE_MAX = 63 };

static ptrdiff_t
at_of(struct ol_part p)
{
    return (ptrdiff_t)p.at;
}

/* An '@' in the options, outside of a framing, is the tail of a secret that held a '#' or '?'. */
static outlet_err
refuse_split_secret(const struct ol_url *u, struct ol_part run, struct outlet_reason *why)
{
    static const char frame[] = "frame=";
    size_t item = run.at;

    for (size_t i = run.at; i < run.at + run.len; i++) {
        char c = u->text[i];

        if (c == ',' || c == '&')
            item = i + 1;
        if (c == '@' && strncmp(u->text + item, frame, sizeof frame - 1) != 0)
            return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)i, "",
                             "an `@` has no place in the options; a `#` or `?` before it must be "
                             "written as %%23 or %%3F");
    }
    return OUTLET_OK;
}

static outlet_err
refuse_secrets(const struct ol_url *u, enum ol_scheme s, struct outlet_reason *why)
{
    outlet_err err = refuse_split_secret(u, u->query, why);

    if (!err)
        err = refuse_split_secret(u, u->options, why);
    if (err || !ol_scheme_has_host(s))
        return err;
    if (ol_part_has(u, u->authority, '@') || ol_part_has(u, u->path, '@'))
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->authority), "",
                         "%s has no user name and no secret; leave out what stands before the `@`",
                         ol_scheme_name(s));
    return OUTLET_OK;
}

/* With an '@' anywhere, what looks like a port may be the beginning of a secret. */
static int
shown_len(const struct ol_url *u, size_t len)
{
    return strchr(u->text, '@') ? 0 : (int)ol_min(len, 32);
}

static outlet_err
parse_port_number(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const char *text = u->text + u->port.at;
    int shown = shown_len(u, u->port.len);
    uint32_t port = 0;

    for (size_t i = 0; i < u->port.len; i++) {
        port = port * 10 + (uint32_t)(text[i] - '0');
        if (port > UINT16_MAX)
            return ol_refuse(why, OUTLET_EINVAL, at_of(u->port), "",
                             "the port%s%.*s is above 65535; choose a lower one",
                             shown > 0 ? " " : "", shown, text);
    }
    if (port == 0 && e->role == OUTLET_TO_CONNECT)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->port), "",
                         "the port 0 is for listening only; give the peer's port");
    e->port = (uint16_t)port;
    return OUTLET_OK;
}

static outlet_err
parse_port(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const char *text = u->text + u->port.at;
    size_t len = u->port.len;
    char service[SERVICE_MAX + 1];
    int32_t port = -1;

    if (len == 0) {
        size_t end = u->authority.at + u->authority.len;

        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)end, "",
                         "the port is missing; write it after the host, as in host:9000");
    }
    if (strspn(text, "0123456789") >= len)
        return parse_port_number(u, e, why);
    if (len <= SERVICE_MAX) {
        memcpy(service, text, len);
        service[len] = '\0';
        port = ol_lookup_service(service, e->scheme == OL_SCHEME_UDP ? "udp" : "tcp");
    }
    if (port <= 0)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->port), "",
                         "`%.*s` is neither a port nor a known service; give a number up to 65535",
                         shown_len(u, len), text);
    e->port = (uint16_t)port;
    return OUTLET_OK;
}

static void
set_literal(struct ol_endpoint *e, const struct ol_addr *a)
{
    e->addr = *a;
    e->zone = a->zone;
    e->has_literal = true;
    OL_ASSERT(
        inet_ntop(a->kind == OL_ADDR_V4 ? AF_INET : AF_INET6, a->ip, e->host, sizeof e->host));
}

/* RFC 6874 writes the percent sign before a zone as %25; everybody else does not. */
static outlet_err
parse_bracketed(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const char *text = u->text + u->host.at;
    const char *percent = memchr(text, '%', u->host.len);
    size_t ip_len = percent ? (size_t)(percent - text) : u->host.len;
    struct ol_addr a;
    char literal[128];
    size_t len = ip_len;

    if (u->host.len >= sizeof literal || !ol_addr_parse(text, ip_len, &a) || a.kind != OL_ADDR_V6)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                         "what stands in the brackets is no IPv6 address; write for example [::1]");
    if (percent) {
        size_t skip = u->host.len - ip_len > 3 && memcmp(percent, "%25", 3) == 0 ? 3 : 1;
        size_t zone_len = u->host.len - ip_len - skip;

        memcpy(literal, text, ip_len);
        literal[len++] = '%';
        memcpy(literal + len, percent + skip, zone_len);
        if (!ol_addr_parse(literal, len + zone_len, &a))
            return ol_refuse(why, OUTLET_EINVAL, percent - u->text, "",
                             "the zone after `%%` is no interface of this computer; give its name "
                             "or number");
    } else if (a.ip[0] == 0xfe && (a.ip[1] & 0xc0) == 0x80) {
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                         "a link-local address needs its interface; write for example "
                         "[fe80::1%%eth0]");
    }
    set_literal(e, &a);
    return OUTLET_OK;
}

/*
 * The last label decides: what ends in a number was meant as an IPv4 address, and the resolver
 * would read 010.1 and 0x7f000001 as addresses that nobody expects.
 */
static bool
ends_in_number(const char *host, size_t len)
{
    size_t at = len;

    while (at > 0 && host[at - 1] != '.')
        at--;
    if (len - at > 2 && host[at] == '0' && host[at + 1] == 'x')
        return strspn(host + at + 2, "0123456789abcdef") == len - at - 2;
    return at < len && strspn(host + at, "0123456789") == len - at;
}

static outlet_err
check_name(const struct ol_url *u, const char *host, size_t len, struct outlet_reason *why)
{
    size_t label = 0;

    for (size_t i = 0; i < len; i++) {
        char c = host[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';

        if (!good && c != '.')
            return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                             "the host has a character that no name has; international names are "
                             "written as xn--...");
        label = good ? label + 1 : 0;
        if (label > LABEL_MAX || (label == 0 && (i == 0 || host[i - 1] == '.')))
            return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                             "between the dots of a host stand 1 to %d characters", LABEL_MAX);
    }
    return OUTLET_OK;
}

static outlet_err
parse_name(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const struct ol_decode how = {"the host", "", OL_HOST_MAX, false};
    char host[OL_HOST_MAX + 1];
    struct ol_addr a;
    size_t len;
    outlet_err err = ol_part_decode(u, u->host, &how, host, &len, why);

    if (err)
        return err;
    for (size_t i = 0; i < len; i++)
        host[i] = ol_lower(host[i]);

    if (ol_same_word(host, len, "localhost") || ol_same_word(host, len, "localhost.")) {
        e->loopback = true; /* RFC 6761, 6.3: it never needs to be looked up */
        return OUTLET_OK;
    }
    if (ol_addr_parse(host, len, &a) && a.kind == OL_ADDR_V4) {
        set_literal(e, &a);
        return OUTLET_OK;
    }
    if (!u->port.present && strspn(host, "0123456789") == len)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                         "a number alone is no host; for a port on this computer write :%.*s",
                         (int)ol_min(len, 20), host);
    if (ends_in_number(host, len))
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                         "the host ends in a number but is no IPv4 address; write for example "
                         "127.0.0.1");
    err = check_name(u, host, len, why);
    if (err)
        return err;
    memcpy(e->host, host, len + 1);
    return OUTLET_OK;
}

static outlet_err
parse_host(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    if (u->bracketed)
        return parse_bracketed(u, e, why);
    if (u->host.len == 0) {
        e->loopback = true;
        return OUTLET_OK;
    }
    if (u->host.len == 1 && u->text[u->host.at] == '*') {
        if (e->role == OUTLET_TO_CONNECT)
            return ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                             "`*` is every interface to listen on; name the host to connect to");
        e->any_host = true;
        return OUTLET_OK;
    }
    return parse_name(u, e, why);
}

static outlet_err
parse_host_and_port(struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const char *name = ol_scheme_name(e->scheme);
    outlet_err err;

    if (!u->authority.present)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->path), "",
                         "after `%s:` stands `//`; write "
                         "%s://host:9000",
                         name, name);
    err = ol_url_split_authority(u, why);
    if (!err)
        err = parse_host(u, e, why);
    if (!err)
        err = parse_port(u, e, why);
    if (err)
        return err;
    if (u->path.len > 1) /* a lone slash says nothing, and is what people paste */
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->path), "",
                         "%s has no path; take away what follows the port", name);
    e->addr.port = e->port;
    return OUTLET_OK;
}

static outlet_err
parse_unix(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    bool abstract = u->path.len > 0 && u->text[u->path.at] == '@';
    const struct ol_decode how = {abstract ? "the abstract name" : "the path", "", OL_PATH_MAX,
                                  abstract};
    const char *name = ol_scheme_name(e->scheme);
    struct ol_part path = u->path;
    size_t len;
    outlet_err err;

    if (u->authority.len > 0)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->authority), "",
                         "%s has no host; write %s:///run/a.sock, %s:a.sock or %s:@name", name,
                         name, name, name);
    if (abstract) {
        path.at++;
        path.len--;
    }
    if (path.len == 0)
        return ol_refuse(why, OUTLET_EINVAL, at_of(path), "",
                         "the %s is missing; write %s:///run/a.sock or %s:@name",
                         abstract ? "abstract name" : "path", name, name);
    err = ol_part_decode(u, path, &how, e->addr.path, &len, why);
    if (err)
        return err;
    e->addr.kind = abstract ? OL_ADDR_ABSTRACT : OL_ADDR_PATH;
    e->addr.path_len = (uint8_t)len;
    e->has_literal = true;
    return OUTLET_OK;
}

static outlet_err
parse_pair(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const struct ol_decode how = {"the name of the pair", "", OL_PATH_MAX, false};
    size_t len;
    outlet_err err;

    if (u->authority.present)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->authority) - 2, "",
                         "pair has no host; write pair: or pair:name");
    err = ol_part_decode(u, u->path, &how, e->addr.path, &len, why);
    if (err)
        return err;
    e->addr.kind = OL_ADDR_NONE;
    e->addr.path_len = (uint8_t)len;
    e->has_literal = true;
    return OUTLET_OK;
}

static outlet_err
parse_descriptor(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    const char *text = u->text + u->path.at;
    int64_t number = 0;

    for (size_t i = 0; i < u->path.len; i++) {
        number = number * 10 + (text[i] - '0');
        if (number > INT32_MAX)
            return ol_refuse(why, OUTLET_EINVAL, at_of(u->path), "",
                             "no descriptor has a number above %d", INT32_MAX);
    }
    e->fd = (int32_t)number;
    return OUTLET_OK;
}

/* The name is kept where others have their host. */
static outlet_err
parse_given(const struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    static const char manager[] = "systemd";
    const struct ol_decode how = {"the name of the socket", "", OL_HOST_MAX, false};
    const char *text = u->text + u->path.at;
    size_t word = sizeof manager - 1;
    struct ol_part name = u->path;
    size_t len;

    if (u->authority.present)
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->authority) - 2, "",
                         "fd has no host; write fd:3, fd:systemd or fd:systemd/name");
    if (u->path.len > 0 && strspn(text, "0123456789") >= u->path.len)
        return parse_descriptor(u, e, why);
    e->fd = -1;
    if (ol_same_word(text, u->path.len, manager))
        return OUTLET_OK;
    if (u->path.len <= word || !ol_same_word(text, word, manager) || text[word] != '/')
        return ol_refuse(why, OUTLET_EINVAL, at_of(u->path), "",
                         "after `fd:` stands a number or `systemd`; write fd:3, fd:systemd or "
                         "fd:systemd/name");
    name.at += word + 1;
    name.len -= word + 1;
    if (name.len == 0)
        return ol_refuse(why, OUTLET_EINVAL, at_of(name), "",
                         "the name is missing; write fd:systemd/name, or fd:systemd for all");
    return ol_part_decode(u, name, &how, e->host, &len, why);
}

static outlet_err
parse_place(struct ol_url *u, struct ol_endpoint *e, struct outlet_reason *why)
{
    switch (e->scheme) {
    case OL_SCHEME_TCP:
    case OL_SCHEME_UDP:
        return parse_host_and_port(u, e, why);
    case OL_SCHEME_UNIX:
    case OL_SCHEME_PACKET:
    case OL_SCHEME_LOCAL:
        return parse_unix(u, e, why);
    case OL_SCHEME_PAIR:
        return parse_pair(u, e, why);
    case OL_SCHEME_FD:
        return parse_given(u, e, why);
    }
    return OUTLET_EINVAL;
}

static outlet_err
check_device(const struct ol_settings *s, struct outlet_reason *why)
{
    const struct ol_setting *set = &s->of[OL_OPT_DEVICE];

    if (!set->given || (strlen(set->text) <= OL_DEVICE_MAX && ol_lookup_zone(set->text)))
        return OUTLET_OK;
    return ol_refuse(why, OUTLET_EINVAL, set->value_at, "device",
                     "this computer has no network device `%.15s`; `ip link` lists them",
                     set->text);
}

static outlet_err
settle_local(const struct ol_settings *s, struct ol_endpoint *e, struct outlet_reason *why)
{
    const struct ol_setting *set = &s->of[OL_OPT_LOCAL];

    if (!set->given)
        return OUTLET_OK;
    if (!ol_addr_parse_local(set->text, &e->local))
        return ol_refuse(why, OUTLET_EINVAL, set->value_at, "local",
                         "the key `local` takes an address of this computer, a port or both, such "
                         "as 192.0.2.7, [2001:db8::7]:9000 or :9000");
    if (e->has_literal && e->local.kind != OL_ADDR_NONE && e->local.kind != e->addr.kind)
        return ol_refuse(why, OUTLET_EINVAL, set->value_at, "local",
                         "`local` and the host are addresses of different families");
    return OUTLET_OK;
}

static outlet_err
settle_interface(const struct ol_settings *s, struct ol_endpoint *e, struct outlet_reason *why)
{
    const struct ol_setting *set = &s->of[OL_OPT_INTERFACE];
    struct ol_addr a;

    e->interface = e->has_literal && ol_addr_is_group(&e->addr) ? e->zone : 0;
    if (!set->given)
        return OUTLET_OK;
    if (ol_addr_parse(set->text, strlen(set->text), &a))
        e->interface = a.zone ? a.zone : ol_lookup_holder(&a);
    else
        e->interface = ol_addr_zone(set->text);
    if (e->interface == 0)
        return ol_refuse(
            why, OUTLET_EINVAL, set->value_at, "interface",
            "this computer has no network interface `%.32s`; give the name, the number "
            "or an address of one",
            set->text);
    if (e->zone && e->zone != e->interface)
        return ol_refuse(why, OUTLET_EINVAL, set->value_at, "interface",
                         "`interface` is another one than the host's after the `%%`");
    return OUTLET_OK;
}

/* RFC 4607: what anybody else sends to the group stays in the network. */
static outlet_err
settle_source(const struct ol_settings *s, bool is_group, struct ol_endpoint *e,
              struct outlet_reason *why)
{
    const struct ol_setting *set = &s->of[OL_OPT_SOURCE];
    struct ol_addr *a = &e->source;

    if (!set->given)
        return OUTLET_OK;
    if (!is_group)
        return ol_refuse(why, OUTLET_EINVAL, set->key_at, "source",
                         "the key `source` is about a group, which the host is not; listen at one "
                         "such as 232.1.2.3 or [ff3e::8000:1], or say allow=ADDRESS instead");
    if (!ol_addr_parse(set->text, strlen(set->text), a) || ol_addr_is_any(a) ||
        ol_addr_is_group(a) || ol_addr_is_broadcast(a))
        return ol_refuse(why, OUTLET_EINVAL, set->value_at, "source",
                         "the key `source` takes the address of the one who sends to the group, "
                         "such as 192.0.2.7 or 2001:db8::7");
    if (a->kind != e->addr.kind)
        return ol_refuse(why, OUTLET_EINVAL, set->value_at, "source",
                         "`source` and the group are addresses of different families; give an "
                         "%s address here",
                         e->addr.kind == OL_ADDR_V4 ? "IPv4" : "IPv6");
    if (a->zone && !e->interface)
        e->interface = a->zone;
    if (a->zone && a->zone != e->interface)
        return ol_refuse(
            why, OUTLET_EINVAL, set->value_at, "source",
            "the interface after the `%%` is another one than that of the group; leave "
            "it out");
    return OUTLET_OK;
}

/* Keys about groups, where nothing will ever be sent to one. */
static outlet_err
refuse_alone(const struct ol_settings *s, enum ol_option_id id, const char *of,
             struct outlet_reason *why)
{
    if (!s->of[id].given)
        return OUTLET_OK;
    return ol_refuse(why, OUTLET_EINVAL, s->of[id].key_at, ol_options[id].key,
                     "the key `%s` is about sending to %s, which the host is not; leave it out",
                     ol_options[id].key, of);
}

/* Groups and broadcasts: who is meant by the host, through which interface, and may we? */
static outlet_err
settle_many(const struct ol_url *u, const struct ol_settings *s, struct ol_endpoint *e,
            struct outlet_reason *why)
{
    bool is_group = e->has_literal && ol_addr_is_group(&e->addr);
    bool connects = e->role == OUTLET_TO_CONNECT;
    bool broadcast = s->of[OL_OPT_BROADCAST].value == OUTLET_ON;
    outlet_err err = settle_interface(s, e, why);

    if (!err)
        err = settle_source(s, is_group, e, why);
    e->many = connects && (is_group || broadcast);
    if (!err && connects && !broadcast && e->has_literal && ol_addr_is_broadcast(&e->addr))
        err = ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "broadcast",
                        "%s is a broadcast address; to send to it add broadcast=on", e->host);
    if (!err && is_group && e->addr.kind == OL_ADDR_V6 && (e->addr.ip[1] & 15) <= 2 &&
        e->interface == 0)
        err = ol_refuse(why, OUTLET_EINVAL, at_of(u->host), "",
                        "a link-local group needs its interface; write for example "
                        "[ff02::1%%eth0] or interface=eth0");
    if (!err && connects && !is_group)
        err = refuse_alone(s, OL_OPT_TTL, "a group", why);
    if (!err && connects && !is_group)
        err = refuse_alone(s, OL_OPT_LOOP, "a group", why);
    if (!err && connects && !e->many)
        err = refuse_alone(s, OL_OPT_INTERFACE, "a group or a broadcast address", why);
    if (!err && is_group && e->addr.kind == OL_ADDR_V6 && e->addr.zone == 0)
        e->addr.zone = e->interface; /* the URL keeps what was written */
    return err;
}

/* In the order of their rows. */
static void
store_texts(const struct ol_settings *s, struct ol_endpoint *e)
{
    size_t n = 0;

    for (size_t i = 0; i < OL_OPTIONS; i++) {
        if (ol_options[i].type == OL_OPTION_TEXT)
            memcpy(e->texts[n++], s->of[i].text, sizeof e->texts[0]);
    }
    OL_ASSERT(n == OL_TEXT_OPTIONS);
}

void
ol_endpoint_moved(struct ol_endpoint *e)
{
    size_t n = 0;

    e->opts.frame = e->frame;
    for (size_t i = 0; i < OL_OPTIONS; i++) {
        const char *text = NULL;

        if (ol_options[i].type != OL_OPTION_TEXT)
            continue;
        if (e->texts[n][0] != '\0')
            text = e->texts[n];
        memcpy((char *)&e->opts + ol_options[i].offset, &text, sizeof text);
        n++;
    }
}

static outlet_err
parse_options(const struct ol_url *u, const struct outlet_opts *opts, struct ol_endpoint *e,
              struct outlet_reason *why)
{
    struct ol_settings s;
    const struct ol_setting *mode = &s.of[OL_OPT_MODE];
    outlet_err err;

    ol_settings_init(&s, e->carrier, e->role);
    err = ol_settings_read(&s, u, u->query, why);
    if (!err)
        err = ol_settings_read(&s, u, u->options, why);
    if (!err && opts)
        err = ol_opts_copy(opts, &e->opts, why);
    if (!err && opts)
        err = ol_settings_merge(&s, &e->opts, why);
    if (!err)
        err = ol_settings_settle(&s, why);
    if (!err)
        err = check_device(&s, why);
    if (!err)
        err = settle_local(&s, e, why);
    if (!err && e->scheme == OL_SCHEME_UDP)
        err = settle_many(u, &s, e, why);
    if (err)
        return err;
    if (mode->given && e->addr.kind == OL_ADDR_ABSTRACT)
        return ol_refuse(why, OUTLET_EINVAL, mode->key_at, "mode",
                         "the key `mode` has no meaning for an abstract name, which is no file; "
                         "leave it out");
    e->opts.size = sizeof e->opts;
    ol_settings_store(&s, &e->opts);
    store_texts(&s, e);
    if (s.of[OL_OPT_ALLOW].key_at >= 0 || s.of[OL_OPT_DENY].key_at >= 0)
        e->lists_url = u->text;
    memcpy(e->frame, s.frame, sizeof e->frame);
    e->frame_at = (int32_t)s.of[OL_OPT_FRAME].value_at;
    return OUTLET_OK;
}

/* `carrier` matters with fd only. */
static outlet_err
parse(const char *url, enum outlet_role role, const struct outlet_opts *opts,
      enum ol_scheme carrier, struct ol_endpoint *out, struct outlet_reason *why)
{
    struct outlet_reason unread = OUTLET_REASON;
    struct ol_endpoint e;
    struct ol_url u;
    outlet_err err;

    _Static_assert(sizeof e.frame == OL_FRAME_TEXT_MAX + 1, "the same limit");
    if (!why)
        why = &unread;
    if (!url)
        return ol_refuse(why, OUTLET_EINVAL, 0, "", "the URL is NULL");
    if (role != OUTLET_TO_LISTEN && role != OUTLET_TO_CONNECT)
        return ol_refuse(why, OUTLET_EINVAL, -1, "",
                         "the role is neither OUTLET_TO_LISTEN nor OUTLET_TO_CONNECT");

    memset(&e, 0, sizeof e);
    e.role = role;
    err = ol_url_split(url, &u, why);
    if (!err)
        err = ol_scheme_of(&u, &e.scheme, why);
    e.carrier = e.scheme == OL_SCHEME_FD ? carrier : e.scheme;
    if (!err)
        err = refuse_secrets(&u, e.scheme, why);
    if (!err)
        err = parse_place(&u, &e, why);
    if (!err)
        err = parse_options(&u, opts, &e, why);
    if (err)
        return err;

    *out = e;
    ol_endpoint_moved(out);
    return OUTLET_OK;
}

outlet_err
ol_endpoint_parse(const char *url, enum outlet_role role, const struct outlet_opts *opts,
                  struct ol_endpoint *out, struct outlet_reason *why)
{
    return parse(url, role, opts, OL_SCHEME_FD, out, why);
}

outlet_err
ol_endpoint_carry(const char *url, const struct outlet_opts *opts, enum ol_scheme carrier,
                  struct ol_endpoint *e, struct outlet_reason *why)
{
    OL_ASSERT(e->scheme == OL_SCHEME_FD && carrier != OL_SCHEME_FD);
    return parse(url, e->role, opts, carrier, e, why);
}
