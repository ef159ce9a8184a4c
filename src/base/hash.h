/*
 * hash.h - a keyed hash and a table of things that embed their node.
 *
 * Keys come from peers (addresses, names), so the hash is keyed (SipHash-1-3) and the key is drawn
 * from the driver's random: nobody can aim at one bucket.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HASH_H
#define OL_HASH_H

#include "alloc.h"

struct ol_hash_key {
    uint64_t k0;
    uint64_t k1;
};

uint64_t ol_hash(const struct ol_hash_key *key, const void *bytes, size_t len);

struct ol_map_node {
    struct ol_map_node *next;
    uint64_t hash;
};

struct ol_map {
    struct ol_map_node **buckets; /* NULL while empty */
    size_t bucket_count;          /* a power of two */
    size_t count;
    const ol_heap *heap;
    struct ol_hash_key key;
};

void ol_map_init(struct ol_map *m, const ol_heap *heap, struct ol_hash_key key);
void ol_map_fini(struct ol_map *m); /* frees the table, not the nodes */
/* First node whose hash is that of `key` and for which same(node, key, len) holds, else NULL. */
struct ol_map_node *ol_map_find(const struct ol_map *m, const void *key, size_t len,
                                bool (*same)(const struct ol_map_node *n, const void *key,
                                             size_t len));
/* The key must not be in the map.  OUTLET_ENOMEM only for the first node; a table that cannot grow
 * gets slower instead. */
outlet_err ol_map_insert(struct ol_map *m, struct ol_map_node *n, const void *key, size_t len);
void ol_map_remove(struct ol_map *m, struct ol_map_node *n); /* must be in it */
/* Any order; `each` may remove the node it was given. */
void ol_map_each(struct ol_map *m, void (*each)(struct ol_map_node *n, void *arg), void *arg);

#endif
