/*
 * rules.h - the lists `allow` and `deny`: one rule read and printed, and all of an endpoint's.
 *
 * A list stays where it is written, in the URL or in the caller's struct, and is read again when it
 * is needed: an endpoint is copied about, and a thousand rules are not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_RULES_H
#define OL_ADDR_RULES_H

#include "addr.h"
#include "option.h"
#include "split.h"
#include "text.h"

/* A prefix.  An IPv6 one that lies in ::ffff:0:0/96 is the IPv4 one that it stands for. */
struct ol_rule {
    uint8_t family; /* OL_ADDR_V4, OL_ADDR_V6 */
    uint8_t ip[16]; /* v4 in the first four; nothing behind the prefix */
    uint8_t bits;
};
_Static_assert(sizeof(struct ol_rule) == 18, "compared as bytes");

/* "10.0.0.0/8", "::1". */
outlet_err ol_rule_read(const char *key, const char *text, ptrdiff_t at, struct ol_rule *out,
                        struct outlet_reason *why);
void ol_rule_print(const struct ol_rule *r, struct ol_text *t);
bool ol_rule_holds(const struct ol_rule *r, const struct ol_addr *a); /* also a v4-mapped one */

/* The next item of a list in the caller's struct, cut to `room`. */
bool ol_list_next(const char **text, char *item, size_t room);

/* The rules of one list of an endpoint, as written and in that order. */
struct ol_rule_walk {
    enum ol_option_id list; /* OL_OPT_ALLOW or OL_OPT_DENY */
    const char *text;       /* of the struct; NULL: the list stands in the URL */
    struct ol_url url;
    int run; /* of options in the URL */
    size_t at;
};

void ol_rule_walk_init(struct ol_rule_walk *w, const struct ol_endpoint *e, enum ol_option_id list);
bool ol_rule_walk_next(struct ol_rule_walk *w, struct ol_rule *out);

#endif
