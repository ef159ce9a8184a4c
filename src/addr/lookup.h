/*
 * lookup.h - the names that only the running system can explain.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_LOOKUP_H
#define OL_ADDR_LOOKUP_H

#include "addr.h"

/* Names need a NUL at the end.  0: there is no such interface; -1: no such service. */
uint32_t ol_lookup_zone(const char *interface_name);
enum { OL_ZONE_NAME_ROOM = 16 }; /* IF_NAMESIZE, with its NUL */
/* The name of an interface, if it can stand in a URL as it is.  False: the number must do. */
bool ol_lookup_zone_name(uint32_t zone, char name[OL_ZONE_NAME_ROOM]);
/* By one of its addresses; 0: no interface has it. */
uint32_t ol_lookup_holder(const struct ol_addr *a);
int32_t ol_lookup_service(const char *service, const char *protocol);

#endif
