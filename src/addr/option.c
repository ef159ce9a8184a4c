/*
 * option.c - see option.h.
 *
 * A newcomer's mistake: taking `nodelay=0` for "off".  Zero means the default everywhere in this
 * library, so for a switch, where that would surprise, it is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "option.h"
#include "scheme.h"

enum {
    TCP = 1u << OL_SCHEME_TCP,
    UNIX = 1u << OL_SCHEME_UNIX,
    UDP = 1u << OL_SCHEME_UDP,
    PAIR = 1u << OL_SCHEME_PAIR,
    FD = 1u << OL_SCHEME_FD,
    PACKET = 1u << OL_SCHEME_PACKET,
    LOCAL = 1u << OL_SCHEME_LOCAL,
    STREAMS = TCP | UNIX | PAIR | FD,
    ALL = STREAMS | UDP | PACKET | LOCAL,
    NOBODY = 0, /* none of the schemes built has a handshake */

    LISTEN = 1u << OUTLET_TO_LISTEN,
    CONNECT = 1u << OUTLET_TO_CONNECT,
    BOTH = LISTEN | CONNECT
};

#define KIB ((int64_t)1024)
#define MIB (KIB * 1024)
#define SIZE_TOP (MIB * MIB)                     /* sums of a few of them fit in 63 bits */
#define MS_TOP ((int64_t)365 * 24 * 3600 * 1000) /* in nanoseconds, too */
#define COUNT_TOP ((int64_t)INT32_MAX)
#define KEEPALIVE_TOP ((int64_t)32767) /* the kernel's own limits */
#define PROBES_TOP ((int64_t)127)
#define TTL_TOP ((int64_t)255)
#define ACCEPTS_TOP ((int64_t)OL_RATE_MAX)

/* clang-format off */
#define ROW(id, field, type, max, off, schemes, roles, listen, listen_udp, connect, connect_udp) \
    [OL_OPT_##id] = {#field, OL_OPTION_##type, offsetof(struct outlet_opts, field), 1, max, off, \
                     schemes, roles, {{listen, listen_udp}, {connect, connect_udp}}}
#define EACH(d) d, d, d, d
#define ROW_EACH(...) ROW(__VA_ARGS__) /* lets EACH become four arguments */

/* field, syntax, greatest, may be off, schemes, roles, default: listening, udp; connecting, udp */
const struct ol_option ol_options[OL_OPTIONS] = {
    ROW_EACH(FRAME, frame, FRAME, 0, true, STREAMS, BOTH, EACH(0)),
    ROW(MAX, max, SIZE, SIZE_TOP, true, ALL, BOTH, MIB, OL_DATAGRAM_MAX, MIB, OL_DATAGRAM_MAX),

    ROW_EACH(CONNECT_MS, connect_ms, MS, MS_TOP, true, TCP | UNIX | PACKET | LOCAL | UDP, CONNECT,
             EACH(10000)),
    ROW_EACH(HANDSHAKE_MS, handshake_ms, MS, MS_TOP, true, NOBODY, BOTH, EACH(10000)),
    ROW(IDLE_MS, idle_ms, MS, MS_TOP, true, ALL, BOTH, 300000, 60000, OUTLET_OFF, OUTLET_OFF),
    ROW_EACH(PARTIAL_MS, partial_ms, MS, MS_TOP, true, STREAMS, BOTH, EACH(30000)),
    ROW_EACH(STALL_MS, stall_ms, MS, MS_TOP, true, ALL, BOTH, EACH(60000)),
    ROW_EACH(FLUSH_MS, flush_ms, MS, MS_TOP, true, ALL, BOTH, EACH(5000)),

    ROW_EACH(HIGH, high, SIZE, SIZE_TOP, true, ALL, BOTH, EACH(256 * KIB)),
    ROW_EACH(LOW, low, SIZE, SIZE_TOP, false, ALL, BOTH, EACH(64 * KIB)),
    ROW_EACH(CAP, cap, SIZE, SIZE_TOP, true, ALL, BOTH, EACH(16 * MIB)),
    ROW_EACH(FULL, full, FULL, OUTLET_FULL_CLOSE, false, ALL, BOTH, EACH(OUTLET_FULL_REFUSE)),

    ROW_EACH(HALF_OPEN, half_open, SWITCH, OUTLET_ON, true, STREAMS | PACKET, BOTH,
             EACH(OUTLET_OFF)),
    ROW_EACH(NODELAY, nodelay, SWITCH, OUTLET_ON, true, TCP | FD, BOTH, EACH(OUTLET_ON)),

    ROW_EACH(BACKLOG, backlog, COUNT, COUNT_TOP, false, TCP | UNIX | PACKET, LISTEN, EACH(4096)),
    ROW(CONNS, conns, COUNT, COUNT_TOP, true, TCP | UNIX | PACKET | LOCAL | UDP | FD, LISTEN,
        0, 65536, 0, 0),
    ROW_EACH(CONNS_PER_ADDRESS, conns_per_address, COUNT, COUNT_TOP, true, TCP | UDP | FD, LISTEN,
             EACH(OUTLET_OFF)),
    ROW_EACH(ACCEPTS_PER_SECOND, accepts_per_second, COUNT, ACCEPTS_TOP, true,
             TCP | UNIX | PACKET | LOCAL | UDP | FD, LISTEN, EACH(OUTLET_OFF)),
    ROW_EACH(ALLOW, allow, LIST, 0, false, TCP | UDP | FD, LISTEN, EACH(0)),
    ROW_EACH(DENY, deny, LIST, 0, false, TCP | UDP | FD, LISTEN, EACH(0)),
    ROW_EACH(MODE, mode, MODE, 0777, false, UNIX | PACKET | LOCAL, LISTEN, EACH(0)),
    ROW_EACH(REUSE, reuse, SWITCH, OUTLET_ON, true, TCP | UDP, LISTEN, EACH(OUTLET_OFF)),

    ROW_EACH(KEEPALIVE_S, keepalive_s, S, KEEPALIVE_TOP, true, TCP | FD, BOTH, EACH(OUTLET_OFF)),
    ROW_EACH(KEEPALIVE_INTERVAL_S, keepalive_interval_s, S, KEEPALIVE_TOP, false, TCP | FD, BOTH,
             EACH(0)),
    ROW_EACH(KEEPALIVE_PROBES, keepalive_probes, COUNT, PROBES_TOP, false, TCP | FD, BOTH, EACH(0)),
    ROW_EACH(USER_TIMEOUT_MS, user_timeout_ms, MS, COUNT_TOP, true, TCP | FD, BOTH,
             EACH(OUTLET_OFF)),
    ROW_EACH(DSCP, dscp, DSCP, 63, false, TCP | UDP | FD, BOTH, EACH(0)),
    ROW_EACH(DEVICE, device, TEXT, 0, false, TCP | UDP, BOTH, EACH(0)),
    ROW_EACH(LOCAL, local, TEXT, 0, false, TCP | UDP, CONNECT, EACH(0)),

    ROW_EACH(INTERFACE, interface, TEXT, 0, false, UDP, BOTH, EACH(0)),
    ROW_EACH(SOURCE, source, TEXT, 0, false, UDP, LISTEN, EACH(0)),
    ROW_EACH(TTL, ttl, COUNT, TTL_TOP, false, UDP, BOTH, EACH(1)),
    ROW_EACH(LOOP, loop, SWITCH, OUTLET_ON, true, UDP, BOTH, EACH(OUTLET_ON)),
    ROW_EACH(BROADCAST, broadcast, SWITCH, OUTLET_ON, true, UDP, BOTH, EACH(OUTLET_OFF)),

    ROW_EACH(FDS, fds, COUNT, OL_FDS_MAX, true, UNIX | PACKET | FD, BOTH, EACH(OUTLET_OFF)),
};
/* clang-format on */

static const char *const full_names[] = {
    [OUTLET_FULL_REFUSE] = "refuse",
    [OUTLET_FULL_DROP_NEW] = "drop_new",
    [OUTLET_FULL_DROP_OLD] = "drop_old",
    [OUTLET_FULL_CLOSE] = "close",
};

/* What a value looks like, for complaints. */
static const char *const examples[] = {
    [OL_OPTION_FRAME] = "a framing such as line or len:4be",
    [OL_OPTION_SIZE] = "a number of bytes such as 65536, 64K or 16M",
    [OL_OPTION_MS] = "a time such as 1500, 1500ms, 5s or 10m",
    [OL_OPTION_COUNT] = "a whole number such as 1000",
    [OL_OPTION_SWITCH] = "on or off",
    [OL_OPTION_FULL] = "refuse, drop_new, drop_old or close",
    [OL_OPTION_MODE] = "permissions in octal such as 0660",
    [OL_OPTION_S] = "whole seconds such as 60, 60s or 10m",
    [OL_OPTION_DSCP] = "a number up to 63, or a class such as ef, af41 or cs1",
    [OL_OPTION_LIST] = "an address or prefix such as 192.168.1.7 or 10.0.0.0/8",
};

/* What other tools and setsockopt(2) call them.  No aliases: their units and zeros are not ours. */
static const struct {
    const char *foreign;
    const char *ours;
} foreigners[] = {
    {"linger", "flush_ms"},
    {"so_linger", "flush_ms"},
    {"keepalive", "keepalive_s"},
    {"so_keepalive", "keepalive_s"},
    {"keepidle", "keepalive_s"},
    {"tcp_keepidle", "keepalive_s"},
    {"keepintvl", "keepalive_interval_s"},
    {"tcp_keepintvl", "keepalive_interval_s"},
    {"keepcnt", "keepalive_probes"},
    {"tcp_keepcnt", "keepalive_probes"},
    {"tcp_user_timeout", "user_timeout_ms"},
    {"tcp_nodelay", "nodelay"},
    {"tos", "dscp"},
    {"ip_tos", "dscp"},
    {"tclass", "dscp"},
    {"bindtodevice", "device"},
    {"so_bindtodevice", "device"},
    {"bind", "local"},
    {"sourceport", "local"},
    {"so_broadcast", "broadcast"},
    {"ip_multicast_ttl", "ttl"},
    {"ip_multicast_loop", "loop"},
    {"ip_multicast_if", "interface"},
    {"ip_add_source_membership", "source"},
    {"reuseport", "reuse"},
    {"so_reuseport", "reuse"},
};

bool
ol_option_is_text(const struct ol_option *o)
{
    return o->type == OL_OPTION_FRAME || o->type == OL_OPTION_LIST || o->type == OL_OPTION_TEXT;
}

int64_t
ol_option_fallback(const struct ol_option *o, enum ol_scheme s, enum outlet_role r)
{
    if (o == &ol_options[OL_OPT_MAX] && ol_scheme_message_max(s))
        return ol_scheme_message_max(s);
    return o->fallback[r == OUTLET_TO_CONNECT][ol_scheme_is_dgram(s)];
}

/* What is no key at all is not shown: it may be the second half of a secret. */
static bool
is_key_text(const char *key, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = ol_lower(key[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return len > 0;
}

outlet_err
ol_option_find(const char *key, size_t len, ptrdiff_t at, enum ol_option_id *out,
               struct outlet_reason *why)
{
    char shown[sizeof why->key];
    size_t best = SIZE_MAX;
    size_t near = 0;

    if (!is_key_text(key, len))
        return ol_refuse(why, OUTLET_EINVAL, at, "",
                         "an option is `key=value` or `key`, where a key has letters, digits and "
                         "`_`; write `#` and `,` inside a value as %%23 and %%2C");
    for (size_t i = 0; i < OL_OPTIONS; i++) {
        size_t edits = ol_edits(key, len, ol_options[i].key);

        if (len == strlen(ol_options[i].key) && memcmp(key, ol_options[i].key, len) == 0) {
            *out = (enum ol_option_id)i;
            return OUTLET_OK;
        }
        if (edits < best) {
            best = edits;
            near = i;
        }
    }
    len = ol_min(len, sizeof shown - 1);
    memcpy(shown, key, len);
    shown[len] = '\0';
    for (size_t i = 0; i < OL_COUNT(foreigners); i++) {
        if (ol_same_word(shown, len, foreigners[i].foreign))
            return ol_refuse(why, OUTLET_EINVAL, at, shown,
                             "unknown option `%s`; what does that here is `%s`", shown,
                             foreigners[i].ours);
    }
    if (ol_is_near(best, len))
        return ol_refuse(why, OUTLET_EINVAL, at, shown, "unknown option `%s`; did you mean `%s`?",
                         shown, ol_options[near].key);
    return ol_refuse(why, OUTLET_EINVAL, at, shown,
                     "unknown option `%s`; see the fields of struct outlet_opts", shown);
}

outlet_err
ol_option_allowed(const struct ol_option *o, enum ol_scheme s, enum outlet_role r, ptrdiff_t at,
                  struct outlet_reason *why)
{
    if (!(o->schemes & OL_BIT(s))) {
        if (o->type == OL_OPTION_FRAME)
            return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                             "%s keeps its own message borders; leave `frame` out",
                             ol_scheme_name(s));
        return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                         "the key `%s` has no meaning with %s; leave it out", o->key,
                         ol_scheme_name(s));
    }
    if (!(o->roles & OL_BIT(r)))
        return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                         "the key `%s` has no meaning when %s; leave it out", o->key,
                         r == OUTLET_TO_CONNECT ? "connecting" : "listening");
    return OUTLET_OK;
}

/* Digits of `base` and what is left behind them; too many digits stay at INT64_MAX. */
static const char *
read_digits(const char *text, int base, int64_t *out)
{
    int64_t number = 0;

    for (; *text >= '0' && *text < '0' + base; text++) {
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, *text - '0', &number))
            number = INT64_MAX;
    }
    *out = number;
    return text;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* A number with a unit; false: not one. */
static bool
read_number(const char *text, enum ol_option_type type, int64_t *out)
{
    static const struct unit none[] = {{"", 1}};
    static const struct unit sizes[] = {{"", 1}, {"k", KIB}, {"m", MIB}, {"g", MIB * KIB}};
    static const struct unit times[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}};
    static const struct unit seconds[] = {{"", 1}, {"s", 1}, {"m", 60}};
    const struct unit *units = none;
    size_t count = OL_COUNT(none);
    const char *unit = read_digits(text, type == OL_OPTION_MODE ? 8 : 10, out);

    if (unit == text)
        return false;
    if (type == OL_OPTION_SIZE) {
        units = sizes;
        count = OL_COUNT(sizes);
    } else if (type == OL_OPTION_MS) {
        units = times;
        count = OL_COUNT(times);
    } else if (type == OL_OPTION_S) {
        units = seconds;
        count = OL_COUNT(seconds);
    }
    for (size_t i = 0; i < count; i++) {
        if (ol_same_word(unit, strlen(unit), units[i].name)) {
            if (__builtin_mul_overflow(*out, units[i].factor, out))
                *out = INT64_MAX;
            return true;
        }
    }
    return false;
}

static bool
read_full(const char *text, int64_t *out)
{
    for (size_t i = OUTLET_FULL_REFUSE; i < OL_COUNT(full_names); i++) {
        if (strcmp(text, full_names[i]) == 0) {
            *out = (int64_t)i;
            return true;
        }
    }
    return false;
}

/* RFC 2474, 2597, 3246, 5865, 8622: cs0 to cs7, af11 to af43, ef, va and le. */
static bool
read_dscp(const char *text, int64_t *out)
{
    if (ol_same_word(text, strlen(text), "ef"))
        *out = 46;
    else if (ol_same_word(text, strlen(text), "va"))
        *out = 44;
    else if (ol_same_word(text, strlen(text), "le"))
        *out = 1;
    else if (ol_same_word(text, 2, "cs") && text[2] >= '0' && text[2] <= '7' && !text[3])
        *out = (text[2] - '0') * 8;
    else if (ol_same_word(text, 2, "af") && text[2] >= '1' && text[2] <= '4' && text[3] >= '1' &&
             text[3] <= '3' && !text[4])
        *out = (text[2] - '0') * 8 + (text[3] - '0') * 2;
    else
        return read_number(text, OL_OPTION_DSCP, out);
    return true;
}

outlet_err
ol_option_read(const struct ol_option *o, const char *text, ptrdiff_t at, int64_t *out,
               struct outlet_reason *why)
{
    bool good = false;

    OL_ASSERT(!ol_option_is_text(o));
    if (strcmp(text, "off") == 0) {
        *out = OUTLET_OFF;
        return OUTLET_OK; /* ol_option_check() knows whether it may be */
    }
    switch (o->type) {
    case OL_OPTION_SIZE:
    case OL_OPTION_MS:
    case OL_OPTION_COUNT:
    case OL_OPTION_MODE:
    case OL_OPTION_S:
        good = read_number(text, o->type, out);
        break;
    case OL_OPTION_DSCP:
        good = read_dscp(text, out);
        break;
    case OL_OPTION_SWITCH:
        good = strcmp(text, "on") == 0 || strcmp(text, "1") == 0;
        *out = OUTLET_ON;
        break;
    case OL_OPTION_FULL:
        good = read_full(text, out);
        break;
    case OL_OPTION_FRAME:
    case OL_OPTION_TEXT:
    case OL_OPTION_LIST:
        break;
    }
    if (!good)
        return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                         o->may_off && o->type != OL_OPTION_SWITCH ? "the key `%s` takes %s, or off"
                                                                   : "the key `%s` takes %s",
                         o->key, examples[o->type]);
    return OUTLET_OK;
}

outlet_err
ol_option_check(const struct ol_option *o, enum ol_scheme s, int64_t value, ptrdiff_t at,
                struct outlet_reason *why)
{
    int64_t max = o->max;
    char text[2][24];
    struct ol_text low;
    struct ol_text high;

    if (value == 0)
        return OUTLET_OK;
    if (value == OUTLET_OFF) {
        if (o->may_off)
            return OUTLET_OK;
        return ol_refuse(why, OUTLET_EINVAL, at, o->key, "the key `%s` cannot be off; it takes %s",
                         o->key, examples[o->type]);
    }
    if (o == &ol_options[OL_OPT_MAX] && ol_scheme_message_max(s)) {
        max = ol_scheme_message_max(s);
        if (value > max)
            return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                             "a datagram carries at most %d bytes; lower `max`", (int)max);
    }
    if (value >= o->min && value <= max)
        return OUTLET_OK;

    ol_text_init(&low, text[0], sizeof text[0]);
    ol_text_init(&high, text[1], sizeof text[1]);
    ol_option_print(o, o->min, &low);
    ol_option_print(o, max, &high);
    if (o->type == OL_OPTION_SWITCH || o->type == OL_OPTION_FULL)
        return ol_refuse(why, OUTLET_EINVAL, at, o->key, "the key `%s` takes %s", o->key,
                         examples[o->type]);
    return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                     o->may_off ? "the value of `%s` is out of range; it takes %s to %s, or off"
                                : "the value of `%s` is out of range; it takes %s to %s",
                     o->key, text[0], text[1]);
}

static void
print_size(int64_t value, struct ol_text *t)
{
    static const char units[] = "KMG";
    size_t unit = 0;

    while (unit < 3 && value >= KIB && value % KIB == 0) {
        value /= KIB;
        unit++;
    }
    ol_text_add_number(t, value);
    if (unit > 0)
        ol_text_add_bytes(t, &units[unit - 1], 1);
}

static void
print_mode(int64_t value, struct ol_text *t)
{
    for (int shift = 9; shift >= 0; shift -= 3)
        ol_text_add_number(t, value >> shift & 7);
}

void
ol_option_print(const struct ol_option *o, int64_t value, struct ol_text *t)
{
    OL_ASSERT(!ol_option_is_text(o));
    if (value == OUTLET_OFF) {
        ol_text_add(t, "off");
        return;
    }
    switch (o->type) {
    case OL_OPTION_SIZE:
        print_size(value, t);
        break;
    case OL_OPTION_MS:
    case OL_OPTION_COUNT:
    case OL_OPTION_S:
    case OL_OPTION_DSCP:
        ol_text_add_number(t, value);
        break;
    case OL_OPTION_SWITCH:
        ol_text_add(t, "on");
        break;
    case OL_OPTION_FULL:
        OL_ASSERT(value >= OUTLET_FULL_REFUSE && value <= OUTLET_FULL_CLOSE);
        ol_text_add(t, full_names[value]);
        break;
    case OL_OPTION_MODE:
        print_mode(value, t);
        break;
    case OL_OPTION_FRAME:
    case OL_OPTION_TEXT:
    case OL_OPTION_LIST:
        break;
    }
}
