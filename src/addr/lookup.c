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

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>

uint32_t
ol_lookup_zone(const char *interface_name)
{
    return if_nametoindex(interface_name);
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
