/*
 * scheme.h - which schemes there are, and which of them this version was built with.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_SCHEME_H
#define OL_ADDR_SCHEME_H

#include "addr.h"
#include "split.h"

struct ol_scheme_entry {
    const char *name;
    bool built;
    enum ol_scheme scheme; /* when built */
};

const struct ol_scheme_entry *ol_scheme_find(const char *name, size_t len); /* NULL: unknown */

/* A scheme of this version, tcp when none is written. */
outlet_err ol_scheme_of(const struct ol_url *u, enum ol_scheme *out, struct outlet_reason *why);

bool ol_scheme_has_host(enum ol_scheme s); /* host and port; the others have a path or name */
/* Keeps message borders by itself; fd may. */
bool ol_scheme_has_borders(enum ol_scheme s);
/* The longest message that such a socket carries; 0: it has no messages. */
int ol_scheme_message_max(enum ol_scheme s);

#endif
