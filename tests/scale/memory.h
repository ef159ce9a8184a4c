/*
 * memory.h - which cache lines of this process have changed between two looks.
 *
 *     memory_open(&m)     in shared memory, like all that the looking itself writes
 *     memory_copy(m)      now
 *     ...                 what is to be looked at runs, and comes to rest
 *     memory_compare(m, &lines)
 *
 * All private writable mappings are looked at: globals, heaps, stacks.  Those that are shared are
 * not: io_uring's rings, and what lies there on purpose.
 *
 * What a newcomer gets wrong: to look from an ordinary thread.  Its stack and its errno change.
 * memory_look() runs a function on a thread whose stack is shared memory, so all of it is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "lines.h"

struct memory;

void *memory_shared(size_t size); /* zeroed, never freed; NULL: no memory */
bool memory_look(void (*look)(void));

struct memory *memory_open(void); /* or NULL */
bool memory_copy(struct memory *m);
/* false: the mappings are others now, so it says nothing. */
bool memory_compare(struct memory *m, struct lines *changed);

/* In words: the mapping, and what is known of the address there. */
void memory_describe(uintptr_t at, char *text, size_t room);
/* Function and line of an address in this program's code. */
void memory_describe_code(uintptr_t code, char *text, size_t room);

/*
 * An allocator that puts the blocks of a thread as close together as can be, and those of different
 * threads apart, as malloc mostly does; the first one stands `begins` bytes after a line's begin.
 * It knows for memory_describe() who took which, and never takes any back.
 */
struct outlet_allocator memory_heap(size_t begins);

#endif
