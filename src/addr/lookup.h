/*
 * lookup.h - the two names that only the running system can explain.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_LOOKUP_H
#define OL_ADDR_LOOKUP_H

#include "base/base.h"

/* Both need a NUL at the end.  0: there is no such interface; -1: no such service. */
uint32_t ol_lookup_zone(const char *interface_name);
int32_t ol_lookup_service(const char *service, const char *protocol);

#endif
