/*
 * store.c - free chunks and queues of one reactor.
 *
 * Chunks in use are charged to the reactor's share, free ones are not: they are a fixed cost, of
 * which OL_STORE_KEEPS and OL_STORE_KEEPS_LARGE say the most.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store.h"

static const uint32_t class_size[OL_CHUNK_CLASSES] = {OL_CHUNK_SMALL, OL_CHUNK_MIDDLE,
                                                      OL_CHUNK_LARGE};

void
ol_store_init(struct ol_store *s, struct ol_share *share, const ol_heap *heap)
{
    *s = (struct ol_store){.share = share, .heap = heap};
}

void
ol_store_fini(struct ol_store *s)
{
    for (size_t k = 0; k < OL_CHUNK_CLASSES; k++) {
        while (s->free_chunks[k]) {
            struct ol_chunk *c = s->free_chunks[k];

            s->free_chunks[k] = c->next_free;
            ol_free(s->heap, c);
        }
    }
    while (s->free_queues) {
        struct ol_queue *q = s->free_queues;

        s->free_queues = q->next_free;
        if (q->ring != q->inline_ring)
            ol_free(s->heap, q->ring);
        ol_free(s->heap, q->spare);
        ol_free(s->heap, q);
    }
}

struct ol_chunk *
ol_chunk_take(struct ol_store *s, size_t want, uint8_t class_min)
{
    uint8_t k = class_min;
    struct ol_chunk *c;

    while (k + 1 < OL_CHUNK_CLASSES && class_size[k] - sizeof *c < want) {
        k++;
    }
    if (!ol_share_charge(s->share, class_size[k]))
        return NULL;
    c = s->free_chunks[k];
    if (c) {
        s->free_chunks[k] = c->next_free;
        s->free_chunk_count[k]--;
    } else {
        c = ol_alloc(s->heap, class_size[k]);
        if (!c) {
            ol_share_release(s->share, class_size[k]);
            return NULL;
        }
        c->class_ = k;
        c->room = class_size[k] - (uint32_t)sizeof *c;
    }
    c->next_free = NULL;
    c->used = 0;
    c->pieces = 0;
    return c;
}

void
ol_chunk_give_back(struct ol_store *s, struct ol_chunk *c)
{
    uint8_t k = c->class_;

    OL_ASSERT(c->pieces == 0);
    ol_share_release(s->share, class_size[k]);
    if (s->free_chunk_count[k] >= (k == 0 ? OL_STORE_KEEPS : OL_STORE_KEEPS_LARGE)) {
        ol_free(s->heap, c);
        return;
    }
    c->next_free = s->free_chunks[k];
    s->free_chunks[k] = c;
    s->free_chunk_count[k]++;
}
