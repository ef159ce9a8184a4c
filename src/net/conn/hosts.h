/*
 * hosts.h - names that this machine itself knows: /etc/hosts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HOSTS_H
#define OL_HOSTS_H

#include "addr/addr.h"

/* Addresses of `name`, in the file's order; how many, at most `max`.  "localhost" is known without
 * the file (RFC 6761 6.3).  Reads a small local file: never the network. */
int ol_hosts_find(const char *name, struct ol_addr *out, int max);
/* The same in a text, for tests. */
int ol_hosts_find_in(const char *text, size_t len, const char *name, struct ol_addr *out, int max);

#endif
