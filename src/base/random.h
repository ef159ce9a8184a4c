/*
 * random.h - a small seeded generator (xoshiro256**), for jitter, ports and the simulator.
 *
 * Not for secrets: those come from the driver.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_RANDOM_H
#define OL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct ol_rng {
    uint64_t s[4];
};

void ol_rng_seed(struct ol_rng *r, uint64_t seed); /* splitmix64; any seed will do */
uint64_t ol_rng_next(struct ol_rng *r);
uint64_t ol_rng_below(struct ol_rng *r, uint64_t n); /* 0..n-1 without bias; n > 0 */
void ol_rng_fill(struct ol_rng *r, void *bytes, size_t len);

#endif
