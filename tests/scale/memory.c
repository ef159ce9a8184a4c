/*
 * memory.c - see memory.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "memory.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <outlet/outlet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MAPS_MAX = 1 << 16, /* bytes of /proc/self/maps */
    RANGES_MAX = 512,
    STACK = 1 << 20,
    PAGE = 4096,
    BLOCKS_MAX = 1 << 15,
    ARENA = 16 << 20, /* of each thread */
    FRAMES = 5        /* the first two are our own */
};

/* Address space, of which only what is copied takes memory. */
#define COPY_MAX ((size_t)1 << 32)

struct range {
    const uint8_t *from;
    size_t size;
};

struct memory {
    char maps[2][MAPS_MAX];
    size_t maps_len[2];
    struct range ranges[RANGES_MAX];
    size_t count;
    uint8_t *copy;
};

void *
memory_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static void *
run_look(void *arg)
{
    void (*look)(void);

    memcpy(&look, arg, sizeof look);
    look();
    return NULL;
}

bool
memory_look(void (*look)(void))
{
    void *stack = memory_shared(STACK);
    pthread_attr_t attr;
    pthread_t thread;
    bool ran;

    if (!stack || pthread_attr_init(&attr) != 0)
        return false;
    ran = pthread_attr_setstack(&attr, stack, STACK) == 0 &&
          pthread_create(&thread, &attr, run_look, &look) == 0 && pthread_join(thread, NULL) == 0;
    pthread_attr_destroy(&attr);
    return ran;
}

struct memory *
memory_open(void)
{
    struct memory *m = memory_shared(sizeof *m);

    if (m)
        m->copy = memory_shared(COPY_MAX);
    return m && m->copy ? m : NULL;
}

/* ---- looking: no function here may write what is looked at ------------------------------- */

static bool
read_maps(struct memory *m, int which)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 1;

    while (fd >= 0 && n > 0 && len < MAPS_MAX - 1) {
        n = read(fd, m->maps[which] + len, MAPS_MAX - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    m->maps[which][len] = 0;
    m->maps_len[which] = len;
    return fd >= 0 && n == 0;
}

/* "55e0c0a00000-55e0c0a21000 rw-p ..." */
static bool
parse_line(const char *line, uintptr_t *from, uintptr_t *to, const char **rights)
{
    char *end;

    *from = strtoull(line, &end, 16);
    if (*end != '-')
        return false;
    *to = strtoull(end + 1, &end, 16);
    *rights = end + 1;
    return *end == ' ';
}

static const char *
next_line(const char *line)
{
    const char *end = strchr(line, '\n');

    return end ? end + 1 : line + strlen(line);
}

static bool
find_ranges(struct memory *m)
{
    m->count = 0;
    for (const char *line = m->maps[0]; *line; line = next_line(line)) {
        uintptr_t from;
        uintptr_t to;
        const char *rights;

        if (!parse_line(line, &from, &to, &rights) || m->count == RANGES_MAX)
            return false;
        if (memcmp(rights, "rw-p", 4) == 0)
            m->ranges[m->count++] = (struct range){(const uint8_t *)from, to - from};
    }
    return true;
}

bool
memory_copy(struct memory *m)
{
    size_t at = 0;

    if (!read_maps(m, 0) || !find_ranges(m))
        return false;
    for (size_t i = 0; i < m->count; i++) {
        if (m->ranges[i].size > COPY_MAX - at)
            return false;
        memcpy(m->copy + at, m->ranges[i].from, m->ranges[i].size);
        at += m->ranges[i].size;
    }
    return true;
}

bool
memory_compare(struct memory *m, struct lines *changed)
{
    const uint8_t *copy = m->copy;

    if (!read_maps(m, 1) || m->maps_len[0] != m->maps_len[1] ||
        memcmp(m->maps[0], m->maps[1], m->maps_len[0]) != 0)
        return false;
    for (size_t i = 0; i < m->count; i++) {
        const struct range *r = &m->ranges[i];

        for (size_t page = 0; page < r->size; page += PAGE) {
            if (memcmp(copy + page, r->from + page, PAGE) == 0)
                continue;
            for (size_t at = page; at < page + PAGE; at += LINE) {
                if (memcmp(copy + at, r->from + at, LINE) != 0)
                    lines_add(changed, (uintptr_t)(r->from + at), LINE, 0);
            }
        }
        copy += r->size;
    }
    return true;
}

/* ---- saying what was found --------------------------------------------------------------- */

static struct blocks {
    _Atomic size_t count;
    struct block {
        uintptr_t at;
        size_t size;
        void *frames[FRAMES];
    } all[BLOCKS_MAX];
} * blocks;

static const struct block *
block_at(uintptr_t at)
{
    size_t n = blocks ? atomic_load(&blocks->count) : 0;

    for (size_t i = n < BLOCKS_MAX ? n : BLOCKS_MAX; i-- > 0;) {
        const struct block *b = &blocks->all[i];

        if (at >= b->at && at < b->at + b->size)
            return b;
    }
    return NULL;
}

/* What a thread has taken its blocks from. */
static _Thread_local uint8_t *arena;
static _Thread_local size_t arena_used;
static size_t arena_begins;

static void *
take(size_t size)
{
    uint8_t *p;

    size = (size + 15) & ~(size_t)15;
    if (!arena) {
        p = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        arena = p;
        arena_used = arena_begins;
    }
    if (size > ARENA - arena_used)
        return NULL;
    p = arena + arena_used;
    arena_used += size;
    return p;
}

static void *
heap_alloc(void *ctx, size_t size)
{
    void *p = take(size);
    size_t i = p ? atomic_fetch_add(&blocks->count, 1) : BLOCKS_MAX;

    (void)ctx;
    if (i >= BLOCKS_MAX)
        return NULL;
    blocks->all[i].at = (uintptr_t)p;
    blocks->all[i].size = size;
    (void)backtrace(blocks->all[i].frames, FRAMES); /* the rest stays NULL */
    return p;
}

static void *
heap_resize(void *ctx, void *old, size_t size)
{
    void *p = heap_alloc(ctx, size);
    const struct block *b = block_at((uintptr_t)old);

    if (p && b)
        memcpy(p, old, size < b->size ? size : b->size);
    return p;
}

static void
heap_release(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

struct outlet_allocator
memory_heap(size_t begins)
{
    if (!blocks)
        blocks = memory_shared(sizeof *blocks);
    arena = NULL;
    arena_begins = begins;
    return (struct outlet_allocator){heap_alloc, heap_resize, heap_release, NULL};
}

void
memory_describe_code(uintptr_t code, char *text, size_t room)
{
    Dl_info info = {0};
    char command[256];
    FILE *f;
    size_t len;

    snprintf(text, room, "%#zx", (size_t)code);
    if (!dladdr((void *)code, &info)) /* 0: in no file, and then there is nothing to say */
        return;
    snprintf(command, sizeof command, "addr2line -s -f -p -e '%s' %#zx", info.dli_fname,
             (size_t)(code - (uintptr_t)info.dli_fbase - 1));
    f = popen(command, "r");
    if (f && fgets(text, (int)room, f)) {
        len = strcspn(text, "\n");
        text[len] = 0;
    }
    if (f)
        (void)pclose(f);
}

static size_t
say_mapping(uintptr_t at, char *text, size_t room)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    int len = 0;

    while (f && fgets(line, sizeof line, f)) {
        uintptr_t from;
        uintptr_t to;
        const char *rights;

        if (!parse_line(line, &from, &to, &rights) || at < from || at >= to)
            continue;
        line[strcspn(line, "\n")] = 0;
        len = snprintf(text, room, "in %s", line);
    }
    if (f)
        fclose(f);
    return len > 0 && (size_t)len < room ? (size_t)len : 0;
}

static void
say_block(const struct block *b, uintptr_t at, char *text, size_t room)
{
    size_t len = 0;

    len += (size_t)snprintf(text, room, "; byte %td of %zu:", (ptrdiff_t)(at - b->at), b->size);
    for (int i = 2; i < FRAMES && b->frames[i] && len < room; i++) {
        char name[256];

        memory_describe_code((uintptr_t)b->frames[i], name, sizeof name);
        len += (size_t)snprintf(text + len, room - len, " < %s", name);
    }
}

void
memory_describe(uintptr_t at, char *text, size_t room)
{
    size_t len = say_mapping(at, text, room);
    const struct block *before = NULL;
    Dl_info info = {0};

    if (dladdr((void *)at, &info) && info.dli_sname) {
        snprintf(text + len, room - len, "; %s%+td", info.dli_sname,
                 (ptrdiff_t)(at - (uintptr_t)info.dli_saddr));
        return;
    }
    for (uintptr_t p = at; p < at + LINE; p += 16) {
        const struct block *b = block_at(p);

        if (b && b != before)
            say_block(b, p, text + len, room - len);
        len = strlen(text);
        before = b;
    }
}
