/*
 * option.h - the one table of options: key, syntax, limits, default, and who honours it.
 *
 * A row is both a key of the URL and a field of struct outlet_opts; adding an option is adding a
 * row.  The order of rows is the order in which options are printed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_OPTION_H
#define OL_ADDR_OPTION_H

#include "addr.h"
#include "split.h"
#include "text.h"

enum ol_option_type {
    OL_OPTION_FRAME, /* text, not looked into here */
    OL_OPTION_SIZE,  /* 65536, 64K, 16M, 1G */
    OL_OPTION_MS,    /* 1500, 1500ms, 5s, 10m */
    OL_OPTION_COUNT,
    OL_OPTION_SWITCH, /* on, off */
    OL_OPTION_FULL,   /* enum outlet_full by name */
    OL_OPTION_MODE,   /* octal */
    OL_OPTION_S,      /* 60, 60s, 10m */
    OL_OPTION_DSCP,   /* a number, or a class by name */
    OL_OPTION_TEXT,   /* decoded; endpoint.c knows what it must be */
    OL_OPTION_LIST    /* text: a prefix of addresses each time that the key is given, see rules.h */
};

/* Which row; the rows stand in this order. */
enum ol_option_id {
    OL_OPT_FRAME,
    OL_OPT_MAX,
    OL_OPT_CONNECT_MS,
    OL_OPT_HANDSHAKE_MS,
    OL_OPT_IDLE_MS,
    OL_OPT_PARTIAL_MS,
    OL_OPT_STALL_MS,
    OL_OPT_FLUSH_MS,
    OL_OPT_HIGH,
    OL_OPT_LOW,
    OL_OPT_CAP,
    OL_OPT_FULL,
    OL_OPT_HALF_OPEN,
    OL_OPT_NODELAY,
    OL_OPT_BACKLOG,
    OL_OPT_CONNS,
    OL_OPT_CONNS_PER_ADDRESS,
    OL_OPT_ACCEPTS_PER_SECOND,
    OL_OPT_ALLOW,
    OL_OPT_DENY,
    OL_OPT_MODE,
    OL_OPT_REUSE,
    OL_OPT_KEEPALIVE_S,
    OL_OPT_KEEPALIVE_INTERVAL_S,
    OL_OPT_KEEPALIVE_PROBES,
    OL_OPT_USER_TIMEOUT_MS,
    OL_OPT_DSCP,
    OL_OPT_DEVICE,
    OL_OPT_LOCAL,
    OL_OPT_INTERFACE,
    OL_OPT_SOURCE,
    OL_OPT_TTL,
    OL_OPT_LOOP,
    OL_OPT_BROADCAST,
    OL_OPT_FDS,
    OL_OPTIONS
};

enum { OL_FRAME_TEXT_MAX = 255, OL_DATAGRAM_MAX = 65507 };

struct ol_option {
    const char *key;
    enum ol_option_type type;
    size_t offset; /* in struct outlet_opts */
    int64_t min;
    int64_t max;
    bool may_off;
    unsigned schemes;       /* OL_BIT(enum ol_scheme) */
    unsigned roles;         /* OL_BIT(enum outlet_role) */
    int64_t fallback[2][2]; /* the default: [connecting][udp] */
};

extern const struct ol_option ol_options[OL_OPTIONS];

/* Text in the struct, not a number. */
bool ol_option_is_text(const struct ol_option *o);

int64_t ol_option_fallback(const struct ol_option *o, enum ol_scheme s, enum outlet_role r);

/* OUTLET_EINVAL with a suggestion when there is no such key. */
outlet_err ol_option_find(const char *key, size_t len, ptrdiff_t at, enum ol_option_id *out,
                          struct outlet_reason *why);

/* Does this scheme, in this role, honour the key? */
outlet_err ol_option_allowed(const struct ol_option *o, enum ol_scheme s, enum outlet_role r,
                             ptrdiff_t at, struct outlet_reason *why);

/* Text to number; 0 means the default. */
outlet_err ol_option_read(const struct ol_option *o, const char *text, ptrdiff_t at, int64_t *out,
                          struct outlet_reason *why);

/* The limits of a number, wherever it came from. */
outlet_err ol_option_check(const struct ol_option *o, enum ol_scheme s, int64_t value, ptrdiff_t at,
                           struct outlet_reason *why);

/* A number in the syntax of the key, so that it reads back the same. */
void ol_option_print(const struct ol_option *o, int64_t value, struct ol_text *t);

#endif
