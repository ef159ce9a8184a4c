/*
 * measure.h - what the clients share: what a message contains, what was counted, the CPU time of
 * the server, the line that is printed at the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROOM = 1 << 18 }; /* the most that is compared at once, and the longest message */

static uint8_t *pattern; /* more than a period of what is sent, so that any offset can be read on */
static size_t period;
static uint64_t messages;
static uint64_t wrong;
static uint64_t lost;     /* datagrams */
static uint64_t given_up; /* the same, those before measuring too */
static uint64_t late;     /* of these, those that came nevertheless */
static struct {
    int server;
    int64_t began;
    int64_t server_cpu;
    int64_t own_cpu;
} measured;

static inline void
die(const char *what)
{
    perror(what);
    exit(1);
}

static inline int64_t
now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CPU time of all threads of a process, in ns; 0 where /proc does not say.  *children, if wanted:
 * of the processes that it made, which some servers do for each connection. */
static inline int64_t
process_cpu(int pid, int64_t *children)
{
    char path[300];
    DIR *tasks;
    struct dirent *entry;
    int64_t sum = 0;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        long long run;
        int child;
        FILE *f;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        f = fopen(path, "r");
        if (f && fscanf(f, "%lld", &run) == 1)
            sum += run;
        if (f)
            fclose(f);
        if (!children)
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, entry->d_name);
        f = fopen(path, "r");
        while (f && fscanf(f, "%d", &child) == 1)
            *children += process_cpu(child, NULL);
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

static inline int64_t
server_cpu(int pid)
{
    int64_t children = 0;
    int64_t own = process_cpu(pid, &children);

    return own + children;
}

/* Each message tells its number, so that a lost, repeated or moved one is seen. */
static inline void
make_pattern(size_t size, bool is_framed)
{
    size_t count = size < 65536 ? 65536 / size + 1 : 2;
    size_t head = is_framed ? 4 : 0;

    period = count * size;
    pattern = malloc(period + (period > ROOM ? period : ROOM));
    if (!pattern)
        die("malloc");
    for (size_t i = 0; i < period + (period > ROOM ? period : ROOM); i++) {
        size_t at = i % size;
        size_t number = i % period / size;

        if (is_framed && at < 4)
            pattern[i] = (uint8_t)((size - 4) >> (8 * (3 - at)));
        else if (at < head + 2)
            pattern[i] = (uint8_t)(number >> (8 * (at - head)));
        else
            pattern[i] = (uint8_t)(at * 7 + number * 31 + 3);
    }
}

static inline void
datagrams_lost(uint64_t count)
{
    lost += count;
    given_up += count;
}

/*
 * Looks at a datagram when `sent` have gone and `received` have come back or been given up, and
 * answers by how much `received` moves on.  One that was given up for lost may come late; more of
 * these than were given up are repeats.
 */
static inline uint64_t
datagram_ahead(const uint8_t *bytes, size_t len, size_t size, uint64_t received, uint64_t sent)
{
    uint64_t count = period / size;
    uint64_t index = len == size ? (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 : count;
    uint64_t skipped;

    if (index >= count || memcmp(bytes, pattern + index * size, size) != 0) {
        wrong++;
        return 0;
    }
    skipped = (index + count - received % count) % count;
    if (received + skipped >= sent) {
        wrong += ++late > given_up;
        return 0;
    }
    datagrams_lost(skipped);
    messages++;
    return skipped + 1;
}

static inline void
measure_begin(int server)
{
    messages = 0;
    lost = 0;
    measured.server = server;
    measured.server_cpu = server_cpu(server);
    measured.own_cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    measured.began = now_ns(CLOCK_MONOTONIC);
}

/* Prints the line and answers the exit code. */
static inline int
measure_end(void)
{
    double took = (double)(now_ns(CLOCK_MONOTONIC) - measured.began) / 1e9;
    int64_t cpu = server_cpu(measured.server) - measured.server_cpu;
    int64_t own = now_ns(CLOCK_PROCESS_CPUTIME_ID) - measured.own_cpu;

    printf("{\"messages\":%llu,\"seconds\":%.6f,\"server_cpu_ns\":%lld,\"client_cpu_ns\":%lld,"
           "\"wrong\":%llu,\"lost\":%llu}\n",
           (unsigned long long)messages, took, (long long)cpu, (long long)own,
           (unsigned long long)wrong, (unsigned long long)lost);
    return wrong != 0;
}

#endif
