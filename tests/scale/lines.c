/*
 * lines.c - see lines.h.  The long names are the sanitizer's: gcc and clang make calls of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lines.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))

_Thread_local struct lines *lines_written;

static uintptr_t
line_of(uintptr_t at)
{
    return at & ~(uintptr_t)(LINE - 1);
}

static size_t
place_of(const struct lines *l, uintptr_t line)
{
    size_t i = (size_t)((line / LINE) * 0x9e3779b97f4a7c15u >> 40) % (2 * LINES_MAX);

    while (l->table[i].at && l->table[i].at != line) {
        i = (i + 1) % (2 * LINES_MAX);
    }
    return i;
}

const struct line *
lines_find(const struct lines *l, uintptr_t at)
{
    const struct line *found = &l->table[place_of(l, line_of(at))];

    return found->at ? found : NULL;
}

void
lines_add(struct lines *l, uintptr_t at, size_t size, uintptr_t code)
{
    for (uintptr_t line = line_of(at); line < at + size; line += LINE) {
        struct line *to = &l->table[place_of(l, line)];

        if (to->at)
            continue;
        if (l->count == LINES_MAX) {
            l->is_full = true;
            return;
        }
        *to = (struct line){line, code};
        l->count++;
    }
}

static void
note(const volatile void *at, size_t size, uintptr_t code)
{
    if (lines_written)
        lines_add(lines_written, (uintptr_t)at, size, code);
}

/* ---- what is no write -------------------------------------------------------------------- */

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *at, size_t size);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);

void
__tsan_init(void)
{
}

void
__tsan_func_entry(void *caller)
{
    (void)caller;
}

void
__tsan_func_exit(void)
{
}

void
__tsan_read_range(void *at, size_t size)
{
    (void)at;
    (void)size;
}

void
__tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void
__tsan_atomic_signal_fence(int order)
{
    (void)order;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* ---- plain accesses ---------------------------------------------------------------------- */

void __tsan_write_range(void *at, size_t size);

void
__tsan_write_range(void *at, size_t size)
{
    note(at, size, CALLER);
}

#define PLAIN(size)                              \
    void __tsan_read##size(void *at);            \
    void __tsan_write##size(void *at);           \
    void __tsan_unaligned_read##size(void *at);  \
    void __tsan_unaligned_write##size(void *at); \
    void __tsan_read##size(void *at)             \
    {                                            \
        (void)at;                                \
    }                                            \
    void __tsan_write##size(void *at)            \
    {                                            \
        note(at, size, CALLER);                  \
    }                                            \
    void __tsan_unaligned_read##size(void *at)   \
    {                                            \
        (void)at;                                \
    }                                            \
    void __tsan_unaligned_write##size(void *at)  \
    {                                            \
        note(at, size, CALLER);                  \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

/* ---- atomic accesses --------------------------------------------------------------------- */

/* The strongest order will do.  A read-modify-write that changes nothing takes the line, too. */
#define CHANGE(bits, type, name, builtin)                                        \
    type __tsan_atomic##bits##_##name(volatile type *at, type value, int order); \
    type __tsan_atomic##bits##_##name(volatile type *at, type value, int order)  \
    {                                                                            \
        (void)order;                                                             \
        note(at, sizeof *at, CALLER);                                            \
        return builtin(at, value, __ATOMIC_SEQ_CST);                             \
    }

#define COMPARE(bits, type, name)                                                            \
    int __tsan_atomic##bits##_##name(volatile type *at, type *expected, type value, int yes, \
                                     int no);                                                \
    int __tsan_atomic##bits##_##name(volatile type *at, type *expected, type value, int yes, \
                                     int no)                                                 \
    {                                                                                        \
        (void)yes;                                                                           \
        (void)no;                                                                            \
        note(at, sizeof *at, CALLER);                                                        \
        return __atomic_compare_exchange_n(at, expected, value, 0, __ATOMIC_SEQ_CST,         \
                                           __ATOMIC_SEQ_CST);                                \
    }

#define ATOMIC(bits, type)                                                      \
    type __tsan_atomic##bits##_load(const volatile type *at, int order);        \
    type __tsan_atomic##bits##_load(const volatile type *at, int order)         \
    {                                                                           \
        (void)order;                                                            \
        return __atomic_load_n(at, __ATOMIC_SEQ_CST);                           \
    }                                                                           \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order); \
    void __tsan_atomic##bits##_store(volatile type *at, type value, int order)  \
    {                                                                           \
        (void)order;                                                            \
        note(at, sizeof *at, CALLER);                                           \
        __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                          \
    }                                                                           \
    CHANGE(bits, type, exchange, __atomic_exchange_n)                           \
    CHANGE(bits, type, fetch_add, __atomic_fetch_add)                           \
    CHANGE(bits, type, fetch_sub, __atomic_fetch_sub)                           \
    CHANGE(bits, type, fetch_and, __atomic_fetch_and)                           \
    CHANGE(bits, type, fetch_or, __atomic_fetch_or)                             \
    CHANGE(bits, type, fetch_xor, __atomic_fetch_xor)                           \
    CHANGE(bits, type, fetch_nand, __atomic_fetch_nand)                         \
    COMPARE(bits, type, compare_exchange_strong)                                \
    COMPARE(bits, type, compare_exchange_weak)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

/* ---- the C library's --------------------------------------------------------------------- */

void *__real_memcpy(void *to, const void *from, size_t n);
void *__real_memmove(void *to, const void *from, size_t n);
void *__real_memset(void *to, int value, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);
void *__wrap_memmove(void *to, const void *from, size_t n);
void *__wrap_memset(void *to, int value, size_t n);

void *
__wrap_memcpy(void *to, const void *from, size_t n)
{
    note(to, n, CALLER);
    return __real_memcpy(to, from, n);
}

void *
__wrap_memmove(void *to, const void *from, size_t n)
{
    note(to, n, CALLER);
    return __real_memmove(to, from, n);
}

void *
__wrap_memset(void *to, int value, size_t n)
{
    note(to, n, CALLER);
    return __real_memset(to, value, n);
}
