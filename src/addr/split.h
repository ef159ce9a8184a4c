/*
 * split.h - cut a URL into its parts without decoding anything.
 *
 *     scheme://[user[:secret]@]host[:port][/path][?query][#options]
 *     scheme:path[?query][#options]
 *     host:port[?query][#options]
 *
 * A part is a place in the text, so that every complaint can point at a byte.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_SPLIT_H
#define OL_ADDR_SPLIT_H

#include "base/base.h"

struct ol_part {
    bool present; /* `host:` has a port that is present and empty */
    size_t at;
    size_t len;
};

struct ol_url {
    const char *text;
    struct ol_part scheme; /* absent: bare host:port */
    struct ol_part authority;
    struct ol_part user;
    struct ol_part secret;
    struct ol_part host; /* without the brackets */
    bool bracketed;
    struct ol_part port;
    struct ol_part path; /* with its slash */
    struct ol_part query;
    struct ol_part options;
};

/* Scheme, authority, path, query, options. */
outlet_err ol_url_split(const char *text, struct ol_url *out, struct outlet_reason *why);

/* Then the authority into user, secret, host, port. */
outlet_err ol_url_split_authority(struct ol_url *u, struct outlet_reason *why);

/* The next item of a run of options, joined by ',' or '&'; *at begins as run.at. */
bool ol_part_next(const struct ol_url *u, struct ol_part run, size_t *at, struct ol_part *item);

/* An item's key, and its value: present with a '='. */
void ol_part_halve(const struct ol_url *u, struct ol_part item, struct ol_part *key,
                   struct ol_part *value);

bool ol_part_has(const struct ol_url *u, struct ol_part p, char c);

/* How a part is decoded, and what it is called when it cannot be. */
struct ol_decode {
    const char *what; /* "the path" */
    const char *key;  /* of the option; "": none */
    size_t max;       /* bytes decoded; `out` has one more for a NUL */
    bool controls;    /* %01 and the like are allowed; %00 never is */
};

outlet_err ol_part_decode(const struct ol_url *u, struct ol_part p, const struct ol_decode *how,
                          char *out, size_t *out_len, struct outlet_reason *why);

/* Fill *why, answer with `code`.  at: byte in the URL, -1: the caller's struct.  key: "" none. */
outlet_err ol_refuse(struct outlet_reason *why, outlet_err code, ptrdiff_t at, const char *key,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
