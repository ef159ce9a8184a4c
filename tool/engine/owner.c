/*
 * owner.c - which process listens at an address, from the tables in /proc/net: an error message
 * needs no more, and gets it without libmnl.
 *
 * The tables give an inode for each socket; the process is whoever has it open (procs.c).  Another
 * user's descriptors cannot be read without privileges: then only the user of the socket is known,
 * and pid stays 0.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TCP_STATE_LISTEN = 0x0a, UDP_STATE_UNCONNECTED = 0x07 };

struct found {
    uint64_t inode; /* 0: nothing yet */
    uid_t uid;
    bool exact; /* the address is the one that was asked for */
};

/* Does the table's address (hexadecimal, words in host order) cover the host? */
static bool
covers(const char *table, const char *host, bool *exact)
{
    uint32_t words[4] = {0};
    size_t n = strlen(table) / 8;
    struct in_addr v4;
    struct in6_addr v6;
    uint32_t any = 0;

    *exact = false;
    for (size_t i = 0; i < n && i < 4; i++) {
        char word[9];

        snprintf(word, sizeof word, "%.8s", table + i * 8);
        words[i] = (uint32_t)strtoul(word, NULL, 16);
        any |= words[i];
    }
    if (any == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        *exact = n == 1 ? memcmp(&v4, words, 4) == 0 : memcmp(&v4, &words[3], 4) == 0;
    else if (inet_pton(AF_INET6, host, &v6) == 1)
        *exact = n == 4 && memcmp(&v6, words, 16) == 0;
    else
        return true; /* a name, every interface, or only a port: any address may be in the way */
    return *exact;
}

static void
find_inet(const char *file, const struct eng_url *u, unsigned state, struct found *best)
{
    char line[512];
    FILE *f = fopen(file, "re");

    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        char address[40];
        unsigned port;
        unsigned seen;
        unsigned uid;
        uint64_t inode;
        bool exact;

        if (sscanf(
                line,
                " %*d: %39[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*d %" SCNu64,
                address, &port, &seen, &uid, &inode) != 5)
            continue;
        if ((int)port != u->port || seen != state || inode == 0)
            continue;
        if (!covers(address, u->host, &exact) || (best->inode && !exact))
            continue;
        *best = (struct found){.inode = inode, .uid = uid, .exact = exact};
    }
    fclose(f);
}

static void
find_unix(const char *file, const struct eng_url *u, struct found *best)
{
    char line[512];
    FILE *f = fopen(file, "re");

    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        unsigned flags;
        uint64_t inode;
        int path_at = 0;

        if (sscanf(line, "%*s %*s %*s %x %*s %*s %" SCNu64 " %n", &flags, &inode, &path_at) != 2 ||
            path_at == 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line + path_at, u->path) != 0)
            continue;
        /* 0x10000 is __SO_ACCEPTCON: accepted sockets carry the listener's path too. */
        if (!best->inode || (flags & 0x10000))
            best->inode = inode;
        best->uid = (uid_t)-1;
    }
    fclose(f);
}

const char *
eng_socket_scheme(const char *path)
{
    const char *scheme = NULL;
    char line[512];
    FILE *f = fopen("/proc/net/unix", "re");

    while (f && !scheme && fgets(line, sizeof line, f)) {
        unsigned type;
        int path_at = 0;

        if (sscanf(line, "%*s %*s %*s %*s %x %*s %*s %n", &type, &path_at) != 1 || path_at == 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line + path_at, path) == 0)
            scheme = type == SOCK_STREAM  ? "unix"
                     : type == SOCK_DGRAM ? "unix-dgram"
                                          : "unix-seqpacket";
    }
    if (f)
        fclose(f);
    return scheme;
}

static void
find_process(uint64_t inode, struct eng_owner *out)
{
    struct eng_holders holders;
    const struct eng_holder *h;
    size_t count;

    if (!eng_holders_read(&holders, inode))
        return;
    h = eng_holders_find(&holders, inode, &count);
    if (h) {
        const struct eng_process *p = &holders.processes[h->process];

        out->pid = p->pid;
        snprintf(out->name, sizeof out->name, "%s", p->name);
    }
    eng_holders_free(&holders);
}

bool
eng_owner_find(const struct eng_url *u, struct eng_owner *out)
{
    struct found best = {0};

    memset(out, 0, sizeof *out);
    if (u->path[0]) {
        find_unix("/proc/net/unix", u, &best);
    } else if (u->port > 0 && strcmp(u->scheme, "udp") == 0) {
        find_inet("/proc/net/udp", u, UDP_STATE_UNCONNECTED, &best);
        find_inet("/proc/net/udp6", u, UDP_STATE_UNCONNECTED, &best);
    } else if (u->port > 0) {
        find_inet("/proc/net/tcp", u, TCP_STATE_LISTEN, &best);
        find_inet("/proc/net/tcp6", u, TCP_STATE_LISTEN, &best);
    }
    if (!best.inode)
        return false;
    out->uid = best.uid;
    find_process(best.inode, out);
    return true;
}

/* ---- the other end of a connection ---- */

/* "127.0.0.1:80" as the tables have it; `mapped`: as those of IPv6 have it.  False: it is none. */
static bool
table_text(const char *end, bool mapped, char *text, size_t room)
{
    char host[64];
    uint32_t words[4] = {0};
    const char *colon = strrchr(end, ':');
    const char *begin = end + (end[0] == '[');
    size_t len;
    bool v6 = end[0] == '[';

    if (!colon || colon <= begin)
        return false;
    len = (size_t)(colon - begin) - v6;
    if (len >= sizeof host)
        return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    words[2] = htonl(0xffff);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? words : &words[3]) != 1)
        return false;
    if (v6 || mapped)
        snprintf(text, room, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3],
                 (unsigned)strtoul(colon + 1, NULL, 10));
    else
        snprintf(text, room, "%08X:%04X", words[3], (unsigned)strtoul(colon + 1, NULL, 10));
    return true;
}

static void
find_pair(const char *file, const char *local, const char *peer, bool mapped, struct found *best)
{
    char ends[2][48];
    char line[512];
    FILE *f;

    if (!table_text(local, mapped, ends[0], sizeof ends[0]) ||
        !table_text(peer, mapped, ends[1], sizeof ends[1]))
        return;
    f = fopen(file, "re");
    while (f && !best->inode && fgets(line, sizeof line, f)) {
        char got[2][48];
        unsigned uid;
        uint64_t inode;

        if (sscanf(line, " %*d: %47s %47s %*x %*x:%*x %*x:%*x %*x %u %*d %" SCNu64, got[0], got[1],
                   &uid, &inode) == 4 &&
            strcmp(got[0], ends[0]) == 0 && strcmp(got[1], ends[1]) == 0)
            *best = (struct found){.inode = inode, .uid = uid};
    }
    if (f)
        fclose(f);
}

bool
eng_owner_of_peer(const char *local, const char *peer, struct eng_owner *out)
{
    struct found best = {0};

    memset(out, 0, sizeof *out);
    find_pair("/proc/net/tcp", peer, local, false, &best);
    find_pair("/proc/net/tcp6", peer, local, true, &best);
    if (!best.inode)
        return false;
    out->uid = best.uid;
    find_process(best.inode, out);
    return true;
}
