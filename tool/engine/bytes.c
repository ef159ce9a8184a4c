/*
 * bytes.c - bytes that grow, and the only calls of the tool that take memory.
 *
 * A failed growth is remembered in `failed`, so that a long chain of additions is checked once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *
eng_alloc(size_t size)
{
    return calloc(1, size);
}

void
eng_free(void *p)
{
    free(p);
}

uint8_t *
eng_bytes_space(struct eng_bytes *b, size_t n)
{
    size_t room = b->room ? b->room : 256;
    uint8_t *data;

    if (b->failed || n > SIZE_MAX / 2 - b->len) {
        b->failed = true;
        return NULL;
    }
    if (b->len + n <= b->room)
        return b->data + b->len;
    while (room < b->len + n)
        room *= 2;
    data = realloc(b->data, room);
    if (!data) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->room = room;
    return b->data + b->len;
}

bool
eng_bytes_add(struct eng_bytes *b, const void *bytes, size_t n)
{
    uint8_t *space;

    if (n == 0)
        return !b->failed;
    space = eng_bytes_space(b, n);
    if (!space)
        return false;
    memcpy(space, bytes, n);
    b->len += n;
    return true;
}

bool
eng_bytes_text(struct eng_bytes *b, const char *text)
{
    return eng_bytes_add(b, text, strlen(text));
}

bool
eng_bytes_printf(struct eng_bytes *b, const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        return false;
    return eng_bytes_add(b, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void
eng_bytes_cut(struct eng_bytes *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void
eng_bytes_free(struct eng_bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}
