/*
 * procs.c - who holds which socket: one walk through /proc/PID/fd.
 *
 * A socket's descriptor is a link to "socket:[inode]".  Processes come and go during the walk, so
 * whatever cannot be read is passed over; only what is forbidden is counted, because the user can
 * do something about it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLDERS_MAX = 1 << 20, LINK_ROOM = 64 };

enum { PROCESSES, HOLDERS, LISTS };

/* socket:[123] */
static bool
inode_of(const char *link, uint64_t *inode)
{
    char *end;

    if (strncmp(link, "socket:[", 8) != 0 || !isdigit((unsigned char)link[8]))
        return false;
    *inode = strtoull(link + 8, &end, 10);
    return strcmp(end, "]") == 0;
}

static void
describe(const char *pid, int dir, struct eng_process *out)
{
    char path[300];
    struct stat st;
    FILE *f;

    out->pid = (pid_t)strtol(pid, NULL, 10);
    out->uid = fstat(dir, &st) == 0 ? st.st_uid : (uid_t)-1;
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    f = fopen(path, "re");
    if (f && fgets(out->name, sizeof out->name, f))
        out->name[strcspn(out->name, "\n")] = '\0';
    if (f)
        fclose(f);
}

/* The sockets of one process; answers how many were added. */
static size_t
walk_descriptors(struct eng_bytes *holders, DIR *dir, uint64_t only, size_t process)
{
    const struct dirent *entry;
    char link[LINK_ROOM];
    size_t added = 0;

    while ((entry = readdir(dir)) && !(only && added)) {
        struct eng_holder holder = {.process = (uint32_t)process};
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof link - 1);

        if (n <= 0)
            continue;
        link[n] = '\0';
        if (!inode_of(link, &holder.inode) || (only && holder.inode != only))
            continue;
        if (holders->len >= HOLDERS_MAX * sizeof holder)
            break;
        added += eng_bytes_add(holders, &holder, sizeof holder);
    }
    return added;
}

static size_t
walk_process(struct eng_holders *h, const char *pid, uint64_t only)
{
    struct eng_process process = {0};
    char path[300];
    size_t added;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    dir = opendir(path);
    if (!dir) {
        h->denied += errno == EACCES || errno == EPERM;
        return 0;
    }
    added = walk_descriptors(&h->bytes[HOLDERS], dir, only, h->process_count);
    if (added) {
        describe(pid, dirfd(dir), &process);
        h->process_count += eng_bytes_add(&h->bytes[PROCESSES], &process, sizeof process);
    }
    closedir(dir);
    return added;
}

static int
compare(const void *a, const void *b, void *arg)
{
    const struct eng_process *processes = arg;
    const struct eng_holder *x = a;
    const struct eng_holder *y = b;

    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return processes[x->process].pid < processes[y->process].pid   ? -1
           : processes[x->process].pid > processes[y->process].pid ? 1
                                                                   : 0;
}

/* A process may have two descriptors of one socket. */
static void
sort(struct eng_holders *h)
{
    size_t kept = 0;

    h->processes = (struct eng_process *)(void *)h->bytes[PROCESSES].data;
    h->list = (struct eng_holder *)(void *)h->bytes[HOLDERS].data;
    h->count = h->bytes[HOLDERS].len / sizeof *h->list;
    if (h->count == 0)
        return;
    qsort_r(h->list, h->count, sizeof *h->list, compare, h->processes);
    for (size_t i = 0; i < h->count; i++) {
        if (kept == 0 || compare(&h->list[kept - 1], &h->list[i], h->processes) != 0)
            h->list[kept++] = h->list[i];
    }
    h->count = kept;
}

bool
eng_holders_read(struct eng_holders *h, uint64_t only)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    size_t added = 0;

    memset(h, 0, sizeof *h);
    h->bytes = eng_alloc(LISTS * sizeof *h->bytes);
    while (proc && h->bytes && (entry = readdir(proc)) && !(only && added)) {
        if (isdigit((unsigned char)entry->d_name[0]))
            added += walk_process(h, entry->d_name, only);
    }
    if (proc)
        closedir(proc);
    if (!h->bytes || h->bytes[PROCESSES].failed || h->bytes[HOLDERS].failed) {
        eng_holders_free(h);
        return false;
    }
    sort(h);
    return true;
}

const struct eng_holder *
eng_holders_find(const struct eng_holders *h, uint64_t inode, size_t *count)
{
    size_t low = 0;
    size_t high = h->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (h->list[middle].inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < h->count && h->list[low + *count].inode == inode)
        ++*count;
    return *count ? &h->list[low] : NULL;
}

void
eng_holders_free(struct eng_holders *h)
{
    for (int i = 0; h->bytes && i < LISTS; i++)
        eng_bytes_free(&h->bytes[i]);
    eng_free(h->bytes);
    memset(h, 0, sizeof *h);
}
