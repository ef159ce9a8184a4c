/*
 * math.h - arithmetic on lengths that a peer chose.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_MATH_H
#define OL_MATH_H

#include <stdbool.h>
#include <stddef.h>

/* false: overflow, *out unchanged. */
static inline bool
ol_add(size_t a, size_t b, size_t *out)
{
    size_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline bool
ol_mul(size_t a, size_t b, size_t *out)
{
    size_t product;

    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline size_t
ol_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t
ol_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
