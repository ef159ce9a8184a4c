/*
 * registry.c - the one process-wide thing: cells of reactors, append-only and never unmapped.
 *
 * A handle names a cell, a slot and a generation.  Because cells and generations stay, any thread
 * may look at any handle at any time, also when its loop was freed long ago.
 *
 * Fork: the child inherits the memory but not the threads, so its copy of every cell is emptied and
 * handles made before the fork answer "stale" there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <sched.h>
#include <sys/mman.h>

enum { CELLS_MAX = 1 << OL_CELL_BITS };

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    _Atomic(struct ol_cell *) cells[CELLS_MAX];
    uint32_t made;
    struct ol_cell *free_first;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void
before_fork(void)
{
    pthread_mutex_lock(&registry.lock);
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&registry.lock);
}

/* The free list stays: its cells have no reactor and can serve the child's own loops.  Visitors
 * were other threads, which are not here and will never leave. */
static void
after_fork_in_child(void)
{
    for (uint32_t i = 0; i < registry.made; i++) {
        struct ol_cell *c = registry.cells[i];

        atomic_store(&c->reactor, NULL);
        atomic_store(&c->visitors[0], 0);
        atomic_store(&c->visitors[1], 0);
    }
    ol_current_set(NULL);
    pthread_mutex_unlock(&registry.lock); /* it is ours: we took it before the fork */
}

static void
watch_forks(void)
{
    /* Without it a child could reach its parent's connections; nobody is there to be told. */
    OL_ASSERT(pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0);
}

static void *
map_zeroed(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Tables of generations are mapped, not allocated: 128 KiB of address space, touched page by page.
 */
static struct ol_cell *
cell_new(uint32_t index)
{
    size_t table = sizeof(struct ol_generations);
    struct ol_cell *c = map_zeroed(sizeof *c + OL_KIND_COUNT * table);

    if (!c)
        return NULL;
    c->index = index;
    for (size_t k = 0; k < OL_KIND_COUNT; k++) {
        c->generations[k] = (struct ol_generations *)(void *)((uint8_t *)(c + 1) + k * table);
    }
    return c;
}

struct ol_cell *
ol_cell_take(void)
{
    struct ol_cell *c;

    pthread_once(&registry.once, watch_forks);
    pthread_mutex_lock(&registry.lock);
    c = registry.free_first;
    if (c) {
        registry.free_first = c->next_free;
    } else if (registry.made < CELLS_MAX) {
        c = cell_new(registry.made);
        if (c) {
            atomic_store(&registry.cells[registry.made], c);
            registry.made++;
        }
    }
    pthread_mutex_unlock(&registry.lock);
    if (c)
        atomic_store(&c->mail, NULL);
    return c;
}

/* Forged handles may name the cell at any time: what they meet must be complete. */
void
ol_cell_open(struct ol_cell *c, struct ol_reactor *r)
{
    atomic_store(&c->reactor, r);
}

void
ol_cell_close(struct ol_cell *c)
{
    atomic_store(&c->reactor, NULL);
    /* Visits are short and never wait, and no new one can begin. */
    while (atomic_load(&c->visitors[0]) || atomic_load(&c->visitors[1])) {
        sched_yield();
    }
}

void
ol_cell_give_back(struct ol_cell *c)
{
    pthread_mutex_lock(&registry.lock);
    c->next_free = registry.free_first;
    registry.free_first = c;
    pthread_mutex_unlock(&registry.lock);
}

struct ol_cell *
ol_cell_at(uint32_t index)
{
    return index < CELLS_MAX ? atomic_load_explicit(&registry.cells[index], memory_order_acquire)
                             : NULL;
}

uint32_t
ol_fork_count(void)
{
    return atomic_load_explicit(&ol_forks()->depth, memory_order_relaxed);
}
