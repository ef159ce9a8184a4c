/*
 * assert.h - our own invariants, checked in release builds too.
 *
 * Never for what a peer sent or a caller passed: those get an error code.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ASSERT_H
#define OL_ASSERT_H

#include "hint.h"

OL_SELDOM _Noreturn void ol_assert_failed(const char *file, int line, const char *what);

#define OL_ASSERT(x)                                  \
    do {                                              \
        if (OL_UNLIKELY(!(x)))                        \
            ol_assert_failed(__FILE__, __LINE__, #x); \
    } while (0)

#endif
