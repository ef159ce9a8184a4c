/*
 * hash.c - SipHash-1-3 and a chained table on top of it.
 *
 * SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF"; one round per word and three
 * at the end is enough for a table (it is what Rust and the Linux kernel's hsiphash use).
 *
 * SPDX-License-Identifier: MIT
 */
#include "hash.h"

#include "assert.h"

#include <string.h>

enum { BUCKETS_MIN = 8 };

static inline uint64_t
rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static uint64_t
load_le64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

uint64_t
ol_hash(const struct ol_hash_key *key, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t rest = len & 7;
    uint64_t last = (uint64_t)len << 56;
    uint64_t word;
    uint64_t v[4] = {
        key->k0 ^ 0x736f6d6570736575,
        key->k1 ^ 0x646f72616e646f6d,
        key->k0 ^ 0x6c7967656e657261,
        key->k1 ^ 0x7465646279746573,
    };

    for (size_t i = 0; i < len / 8; i++) {
        word = load_le64(p + i * 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < rest; i++) {
        last |= (uint64_t)p[len - rest + i] << (8 * i);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void
ol_map_init(struct ol_map *m, const ol_heap *heap, struct ol_hash_key key)
{
    *m = (struct ol_map){.heap = heap, .key = key};
}

void
ol_map_fini(struct ol_map *m)
{
    ol_free(m->heap, m->buckets);
    m->buckets = NULL;
    m->bucket_count = 0;
    m->count = 0;
}

static struct ol_map_node **
bucket_of(const struct ol_map *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

struct ol_map_node *
ol_map_find(const struct ol_map *m, const void *key, size_t len,
            bool (*same)(const struct ol_map_node *n, const void *key, size_t len))
{
    struct ol_map_node *n;
    uint64_t hash;

    if (!m->buckets)
        return NULL;
    hash = ol_hash(&m->key, key, len);
    for (n = *bucket_of(m, hash); n; n = n->next) {
        if (n->hash == hash && same(n, key, len))
            return n;
    }
    return NULL;
}

/* False: no memory, everything as before. */
static bool
resize(struct ol_map *m, size_t bucket_count)
{
    struct ol_map_node **old = m->buckets;
    size_t old_count = m->bucket_count;
    struct ol_map_node **buckets;

    if (bucket_count > SIZE_MAX / sizeof *buckets)
        return false;
    buckets = ol_alloc_zero(m->heap, bucket_count * sizeof *buckets);
    if (!buckets)
        return false;
    m->buckets = buckets;
    m->bucket_count = bucket_count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct ol_map_node *n = old[i];
            struct ol_map_node **to = bucket_of(m, n->hash);

            old[i] = n->next;
            n->next = *to;
            *to = n;
        }
    }
    ol_free(m->heap, old);
    return true;
}

outlet_err
ol_map_insert(struct ol_map *m, struct ol_map_node *n, const void *key, size_t len)
{
    struct ol_map_node **to;

    if (!m->buckets) {
        if (!resize(m, BUCKETS_MIN))
            return OUTLET_ENOMEM;
    } else if (m->count >= m->bucket_count) {
        (void)resize(m, m->bucket_count * 2); /* without memory chains get longer, no more */
    }
    n->hash = ol_hash(&m->key, key, len);
    to = bucket_of(m, n->hash);
    n->next = *to;
    *to = n;
    m->count++;
    return OUTLET_OK;
}

void
ol_map_remove(struct ol_map *m, struct ol_map_node *n)
{
    struct ol_map_node **at;

    OL_ASSERT(m->count > 0);
    at = bucket_of(m, n->hash);
    while (*at != n) {
        OL_ASSERT(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    m->count--;
    if (m->count == 0)
        ol_map_fini(m);
}

void
ol_map_each(struct ol_map *m, void (*each)(struct ol_map_node *n, void *arg), void *arg)
{
    struct ol_map_node *n;
    struct ol_map_node *next;

    /* bucket_count is read anew each time: removing the last node frees the table. */
    for (size_t i = 0; i < m->bucket_count; i++) {
        for (n = m->buckets[i]; n; n = next) {
            next = n->next;
            each(n, arg);
        }
    }
}
