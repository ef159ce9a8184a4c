/*
 * assert.c - the end of a program whose library no longer understands itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void
ol_assert_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "liboutlet: %s:%d: this must be true and is not: %s\n", file, line, what);
    abort();
}
