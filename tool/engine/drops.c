/*
 * drops.c - datagrams that arrived and that the kernel had no room for, from /proc/net.
 *
 * The sockets are this process's own, known by their inodes.  A newcomer's mistake: to ask after
 * they were closed; the kernel forgets the number with the socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"
#include "record.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
is_ours(uint64_t inode, const struct eng_bytes *inodes)
{
    for (size_t at = 0; at < inodes->len; at += sizeof inode) {
        if (memcmp(inodes->data + at, &inode, sizeof inode) == 0)
            return true;
    }
    return false;
}

/* The inodes of all sockets that this process has open. */
static bool
read_inodes(struct eng_bytes *out)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;

    if (!folder)
        return false;
    while ((entry = readdir(folder)) != NULL) {
        struct stat st;
        uint64_t inode;

        if (fstatat(dirfd(folder), entry->d_name, &st, 0) != 0 || !S_ISSOCK(st.st_mode))
            continue;
        inode = st.st_ino;
        eng_bytes_add(out, &inode, sizeof inode);
    }
    closedir(folder);
    return !out->failed;
}

static bool
add_table(const char *path, const struct eng_bytes *inodes, uint64_t *sum)
{
    FILE *f = fopen(path, "re");
    char line[512];

    if (!f)
        return false;
    while (fgets(line, sizeof line, f)) {
        unsigned long inode;
        unsigned long drops;

        /* sl local remote st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops */
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %*s %*s %lu", &inode, &drops) ==
                2 &&
            is_ours(inode, inodes))
            *sum += drops;
    }
    fclose(f);
    return true;
}

bool
eng_udp_drops(uint64_t *out)
{
    struct eng_bytes inodes = {0};
    uint64_t sum = 0;
    bool known = read_inodes(&inodes) && add_table("/proc/net/udp", &inodes, &sum);

    if (known)
        (void)add_table("/proc/net/udp6", &inodes, &sum); /* a kernel may be without IPv6 */
    eng_bytes_free(&inodes);
    if (known)
        *out = sum;
    return known;
}
