/*
 * lines.h - sets of cache lines, and which ones a thread writes, told by the code itself.
 *
 * Code that is compiled with -fsanitize=thread calls a function before each access to memory.
 * Linked with this instead of the sanitizer's library, the program hears of every write: also of
 * those that comparing cannot find, because the value is the same afterwards, as with locks and
 * counted references.
 *
 * What a newcomer gets wrong: the C library was not compiled so.  Its memcpy, memmove and memset
 * are led through here by the linker (--wrap, see meson.build); what else it writes is not seen,
 * and neither is what the kernel writes.  For these there is memory.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef LINES_H
#define LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE = 64, LINES_MAX = 1 << 17 };

struct line {
    uintptr_t at;   /* 0: none */
    uintptr_t code; /* of the first that wrote it; 0: not known */
};

/* All zero is empty.  A large thing, for memory that is not looked at itself. */
struct lines {
    struct line table[2 * LINES_MAX];
    size_t count;
    bool is_full; /* some are missing */
};

void lines_add(struct lines *l, uintptr_t at, size_t size, uintptr_t code);
const struct line *lines_find(const struct lines *l, uintptr_t at); /* or NULL */

/* What this thread writes goes there; NULL: nowhere. */
extern _Thread_local struct lines *lines_written;

#endif
