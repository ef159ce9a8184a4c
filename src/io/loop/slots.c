/*
 * slots.c - where a reactor's objects live, and the generations that make their handles end.
 *
 * Life of a slot: take (zeroed, nobody can see it) -> publish (its handle works) -> hide (stale for
 * ever) -> give back, once no visitor can be looking at it.  Free slots are used oldest first: 16
 * million generations then last for 16 million lives of every slot, not of one.  The few that the
 * owner keeps at hand go the other way around, and wear out sooner: then others take their place.
 *
 * A free slot's first bytes hold the next free slot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <sys/mman.h>

enum { GENERATION_MAX = (1 << OL_GENERATION_BITS) - 1, CACHE_LINE = 64 };

static size_t
table_size(void)
{
    return sizeof(uint8_t *) * OL_CHUNKS_MAX;
}

outlet_err
ol_slots_init(struct ol_slots *s, struct ol_generations *g, const ol_heap *heap, size_t hot_size,
              size_t cold_size)
{
    void *table;

    OL_ASSERT(hot_size >= sizeof(uint32_t));
    table = mmap(NULL, table_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        return OUTLET_ENOMEM;
    *s = (struct ol_slots){.generations = g,
                           .heap = heap,
                           .hot_size = hot_size,
                           .cold_size = cold_size,
                           .chunks = table,
                           .free_first = OL_SLOT_NONE,
                           .free_last = OL_SLOT_NONE};
    pthread_mutex_init(&s->lock, NULL);
    return OUTLET_OK;
}

static _Atomic uint32_t *
generation_of(const struct ol_slots *s, uint32_t slot)
{
    _Atomic uint32_t *chunk = atomic_load_explicit(
        &s->generations->chunks[slot >> OL_GENERATION_PAGE_BITS], memory_order_acquire);

    return chunk ? &chunk[slot & (OL_GENERATIONS_PER_PAGE - 1)] : NULL;
}

/* The allocation starts anywhere; the objects start on a cache line. */
static uint8_t *
aligned(uint8_t *chunk)
{
    return (uint8_t *)(((uintptr_t)chunk + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1));
}

static void *
hot_of(const struct ol_slots *s, uint32_t slot)
{
    uint8_t *chunk = atomic_load_explicit(&s->chunks[slot >> OL_CHUNK_BITS], memory_order_acquire);

    return aligned(chunk) + (slot & (OL_CHUNK_SLOTS - 1)) * s->hot_size;
}

static void *
cold_of(const struct ol_slots *s, uint32_t slot)
{
    uint8_t *chunk = atomic_load_explicit(&s->chunks[slot >> OL_CHUNK_BITS], memory_order_acquire);

    return aligned(chunk) + OL_CHUNK_SLOTS * s->hot_size +
           (slot & (OL_CHUNK_SLOTS - 1)) * s->cold_size;
}

void
ol_slots_set_owner(struct ol_slots *s, struct ol_reactor *r)
{
    s->owner = r;
}

void
ol_slots_fini(struct ol_slots *s)
{
    for (uint32_t slot = 0; slot < s->made; slot++) {
        if (atomic_load(generation_of(s, slot)) & 1)
            ol_slot_hide(s, slot);
    }
    for (uint32_t i = 0; i << OL_CHUNK_BITS < s->made; i++) {
        ol_free(s->heap, s->chunks[i]);
    }
    munmap((void *)s->chunks, table_size());
    pthread_mutex_destroy(&s->lock);
}

/* Generations of a former reactor in this cell are used on: that is what they are kept for. */
static outlet_err
make_chunk(struct ol_slots *s)
{
    uint32_t at = s->made >> OL_CHUNK_BITS;
    uint32_t page = s->made >> OL_GENERATION_PAGE_BITS;
    size_t size = OL_CHUNK_SLOTS * (s->hot_size + s->cold_size) + CACHE_LINE;
    uint8_t *chunk;

    if (at >= OL_CHUNKS_MAX)
        return OUTLET_ELIMIT;
    if (!s->generations->chunks[page]) {
        void *g = mmap(NULL, sizeof(uint32_t) * OL_GENERATIONS_PER_PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (g == MAP_FAILED)
            return OUTLET_ENOMEM;
        atomic_store_explicit(&s->generations->chunks[page], g, memory_order_release);
    }
    chunk = ol_alloc(s->heap, size);
    if (!chunk)
        return OUTLET_ENOMEM;
    atomic_store_explicit(&s->chunks[at], chunk, memory_order_release);
    return OUTLET_OK;
}

static bool
used_up(const struct ol_slots *s, uint32_t slot)
{
    return atomic_load(generation_of(s, slot)) >> 1 >= GENERATION_MAX;
}

/* The lock is held.  Slots that a former reactor used up are passed over. */
static outlet_err
take_new(struct ol_slots *s, uint32_t *slot)
{
    do {
        if ((s->made & (OL_CHUNK_SLOTS - 1)) == 0) {
            outlet_err err = make_chunk(s);

            if (err)
                return err;
        }
        *slot = s->made++;
    } while (used_up(s, *slot));
    return OUTLET_OK;
}

static bool
is_owner(const struct ol_slots *s)
{
    return s->owner && ol_current() == s->owner;
}

static outlet_err
take_any(struct ol_slots *s, uint32_t *got)
{
    outlet_err err = OUTLET_OK;

    pthread_mutex_lock(&s->lock);
    if (s->free_first != OL_SLOT_NONE) {
        *got = s->free_first;
        memcpy(&s->free_first, hot_of(s, *got), sizeof s->free_first);
        if (s->free_first == OL_SLOT_NONE)
            s->free_last = OL_SLOT_NONE;
    } else {
        err = take_new(s, got);
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

outlet_err
ol_slot_take(struct ol_slots *s, uint32_t *slot, uint32_t *generation, void **hot, void **cold)
{
    uint32_t got;

    if (is_owner(s) && s->at_hand_count) {
        got = s->at_hand[--s->at_hand_count];
    } else {
        outlet_err err = take_any(s, &got);

        if (err)
            return err;
    }
    *slot = got;
    *generation = (atomic_load_explicit(generation_of(s, got), memory_order_relaxed) >> 1) + 1;
    OL_ASSERT(*generation <= GENERATION_MAX);
    *hot = hot_of(s, got);
    *cold = cold_of(s, got);
    memset(*hot, 0, s->hot_size);
    memset(*cold, 0, s->cold_size);
    return OUTLET_OK;
}

void
ol_slot_publish(struct ol_slots *s, uint32_t slot)
{
    _Atomic uint32_t *g = generation_of(s, slot);
    uint32_t generation = (atomic_load_explicit(g, memory_order_relaxed) >> 1) + 1;

    atomic_fetch_add_explicit(&s->live, 1, memory_order_relaxed);
    atomic_store_explicit(g, generation << 1 | 1, memory_order_release);
}

void
ol_slot_hide(struct ol_slots *s, uint32_t slot)
{
    _Atomic uint32_t *g = generation_of(s, slot);
    uint32_t value = atomic_load_explicit(g, memory_order_relaxed);

    OL_ASSERT(value & 1);
    atomic_fetch_sub_explicit(&s->live, 1, memory_order_relaxed);
    atomic_store_explicit(g, value & ~1u, memory_order_release);
}

void
ol_slot_give_back(struct ol_slots *s, uint32_t slot)
{
    uint32_t none = OL_SLOT_NONE;

    OL_ASSERT(!(atomic_load(generation_of(s, slot)) & 1));
    if (used_up(s, slot))
        return; /* retired: its handles stay stale for ever */
    if (is_owner(s) && s->at_hand_count < OL_SLOTS_AT_HAND) {
        s->at_hand[s->at_hand_count++] = slot;
        return;
    }
    pthread_mutex_lock(&s->lock);
    memcpy(hot_of(s, slot), &none, sizeof none);
    if (s->free_last == OL_SLOT_NONE) {
        s->free_first = slot;
    } else {
        memcpy(hot_of(s, s->free_last), &slot, sizeof slot);
    }
    s->free_last = slot;
    pthread_mutex_unlock(&s->lock);
}

bool
ol_slot_alive(const struct ol_slots *s, uint32_t slot, uint32_t generation)
{
    _Atomic uint32_t *g = s->generations ? generation_of(s, slot) : NULL;

    return g && atomic_load_explicit(g, memory_order_acquire) == (generation << 1 | 1);
}

void *
ol_slot_get(const struct ol_slots *s, uint32_t slot, uint32_t generation)
{
    /* Alive means that this reactor made the chunk: the last one hid all of its slots. */
    return ol_slot_alive(s, slot, generation) ? hot_of(s, slot) : NULL;
}

void *
ol_slot_peek(const struct ol_slots *s, uint32_t slot, uint32_t *generation)
{
    uint32_t value = atomic_load_explicit(generation_of(s, slot), memory_order_acquire);

    if (!(value & 1))
        return NULL;
    *generation = value >> 1;
    return hot_of(s, slot);
}

uint32_t
ol_slots_made(struct ol_slots *s)
{
    uint32_t made;

    pthread_mutex_lock(&s->lock);
    made = s->made;
    pthread_mutex_unlock(&s->lock);
    return made;
}

bool
ol_handle_alive(uint64_t id, enum ol_kind kind)
{
    struct ol_handle h;
    struct ol_cell *c;
    struct ol_reactor *r;
    uint32_t epoch;
    bool alive;

    if (!ol_handle_unpack(id, kind, &h) || !(c = ol_cell_at(h.cell)) || !(r = ol_enter(c, &epoch)))
        return false;
    /* Slots of the layer above are there once it is attached. */
    alive = (kind == OL_KIND_TIMER || kind == OL_KIND_WATCH || atomic_load(&r->net)) &&
            ol_slot_alive(&r->slots[kind], h.slot, h.generation);
    ol_leave(c, epoch);
    return alive;
}
