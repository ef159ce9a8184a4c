/*
 * lookup.c - see lookup.h.
 *
 * The one impure file of this folder: an interface's number is known to the kernel alone, and the
 * names of services stand in a file.  Neither waits for a network.  URLs with numbers never get
 * here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lookup.h"

#include "text.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

uint32_t
ol_lookup_zone(const char *interface_name)
{
    return if_nametoindex(interface_name);
}

bool
ol_lookup_zone_name(uint32_t zone, char name[OL_ZONE_NAME_ROOM])
{
    _Static_assert(OL_ZONE_NAME_ROOM == IF_NAMESIZE, "if_indextoname() writes as much");

    if (!if_indextoname(zone, name))
        return false;
    for (const char *c = name; *c; c++) {
        bool letter = ol_lower(*c) >= 'a' && ol_lower(*c) <= 'z';

        /* A number would be read as one; what else the kernel allows may mean something in a URL.
         */
        if (!letter && (c == name || !((*c >= '0' && *c <= '9') || strchr("-_.", *c))))
            return false;
    }
    return name[0] != '\0';
}

uint32_t
ol_lookup_holder(const struct ol_addr *a)
{
    struct ifaddrs *all;
    uint32_t found = 0;

    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        const struct sockaddr *s = i->ifa_addr;

        if (s && s->sa_family == AF_INET && a->kind == OL_ADDR_V4 &&
            memcmp(&((const struct sockaddr_in *)(const void *)s)->sin_addr, a->ip, 4) == 0)
            found = if_nametoindex(i->ifa_name);
        else if (s && s->sa_family == AF_INET6 && a->kind == OL_ADDR_V6 &&
                 memcmp(&((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, a->ip, 16) == 0)
            found = if_nametoindex(i->ifa_name);
    }
    freeifaddrs(all);
    return found;
}

int32_t
ol_lookup_service(const char *service, const char *protocol)
{
    struct servent entry;
    struct servent *found = NULL;
    char room[2048]; /* one line of the file with its aliases */

    if (getservbyname_r(service, protocol, &entry, room, sizeof room, &found) != 0 || !found)
        return -1;
    return ntohs((uint16_t)found->s_port);
}
