/*
 * frame_mark.h - find a mark of a few bytes.
 *
 * Private to this folder.  memmem alone takes a nanosecond for every byte, which a message without
 * anything like the mark need not cost: memchr is thirty times faster.  Alone, memchr would stop at
 * every byte of a message made of first bytes; so it gets a few tries, and memmem does the rest.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_FRAME_MARK_H
#define OL_FRAME_MARK_H

#include "frame.h"

static inline const uint8_t *
ol_mark_find(const uint8_t *bytes, size_t len, const uint8_t *mark, size_t mark_len)
{
    enum { TRIES = 16 };

    for (int i = 0; i < TRIES; i++) {
        const uint8_t *hit;

        if (len < mark_len) {
            return NULL;
        }
        hit = memchr(bytes, mark[0], len - mark_len + 1);
        if (!hit || mark_len == 1 || memcmp(hit, mark, mark_len) == 0) {
            return hit;
        }
        len -= (size_t)(hit + 1 - bytes);
        bytes = hit + 1;
    }
    return memmem(bytes, len, mark, mark_len);
}

#endif
