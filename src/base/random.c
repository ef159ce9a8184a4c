/*
 * random.c - xoshiro256** of Blackman and Vigna, seeded by splitmix64.
 *
 * SPDX-License-Identifier: MIT
 */
#include "random.h"

#include "assert.h"

#include <string.h>

static uint64_t
rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t
splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void
ol_rng_seed(struct ol_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->s[i] = splitmix(&seed);
    }
}

uint64_t
ol_rng_next(struct ol_rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t
ol_rng_below(struct ol_rng *r, uint64_t n)
{
    uint64_t x;
    uint64_t uneven;

    OL_ASSERT(n > 0);
    uneven = (0 - n) % n; /* 2^64 mod n: the first so many values would come once too often */
    do {
        x = ol_rng_next(r);
    } while (x < uneven);
    return x % n;
}

void
ol_rng_fill(struct ol_rng *r, void *bytes, size_t len)
{
    uint8_t *p = bytes;
    uint64_t word;
    size_t n;

    while (len > 0) {
        word = ol_rng_next(r);
        n = len < sizeof word ? len : sizeof word;
        memcpy(p, &word, n);
        p += n;
        len -= n;
    }
}
