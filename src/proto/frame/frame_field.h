/*
 * frame_field.h - length fields of 1 to 8 bytes in either order, and HP-Socket's header.
 *
 * A part of frame.h, so that a bare length field is cut and written where it is needed, without a
 * call.  A field lies anywhere in the bytes, aligned or not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_FRAME_FIELD_H
#define OL_FRAME_FIELD_H

#include "frame.h"

#include <endian.h>

enum { OL_FRAME_FIELD_MAX = 8 };

/*
 * HP-Socket's PACK model: a 32-bit header, its high 10 bits the flag, its low 22 bits the length of
 * the body without the header.  Little-endian: newer releases convert, older ones write the order
 * of the host, which was x86 or ARM.  Both its sides take an empty body for an error, and so do we.
 * With flag 0 it does not look at the peer's flag; here 0 is a flag like the others.
 */
enum {
    OL_HP_HEAD = 4,
    OL_HP_LENGTH_BITS = 22,
    OL_HP_LENGTH_MAX = (1 << OL_HP_LENGTH_BITS) - 1,
    OL_HP_FLAG_MAX = 1023
};

/* A length and the message, nothing else: by far the most usual header, so it has a short way. */
static inline bool
ol_field_is_all(const struct ol_framing *f)
{
    return f->kind == OL_FRAME_LEN && f->offset == 0 && f->adjust == 0 && f->strip == f->width;
}

static inline uint64_t
ol_field_max(unsigned width)
{
    return UINT64_MAX >> (64 - 8 * width);
}

static inline uint64_t
ol_field_get(const uint8_t *at, unsigned width, bool little)
{
    uint64_t value = 0;

    /* A constant width becomes one load. */
    if (OL_LIKELY(width == 4)) {
        uint32_t four;

        memcpy(&four, at, sizeof four);
        return little ? le32toh(four) : be32toh(four);
    }
    switch (width) {
    case 1:
        return at[0];
    case 2: {
        uint16_t two;

        memcpy(&two, at, sizeof two);
        return little ? le16toh(two) : be16toh(two);
    }
    default:
        for (unsigned i = 0; i < width; i++) {
            value = value << 8 | at[little ? width - 1 - i : i];
        }
        return value;
    }
}

static inline void
ol_field_put(uint8_t *at, unsigned width, bool little, uint64_t value)
{
    uint16_t two = (uint16_t)value;
    uint32_t four = (uint32_t)value;

    /* As above: one store. */
    if (OL_LIKELY(width == 4)) {
        four = little ? htole32(four) : htobe32(four);
        memcpy(at, &four, sizeof four);
        return;
    }
    switch (width) {
    case 1:
        at[0] = (uint8_t)value;
        return;
    case 2:
        two = little ? htole16(two) : htobe16(two);
        memcpy(at, &two, sizeof two);
        return;
    default:
        for (unsigned i = 0; i < width; i++) {
            at[little ? i : width - 1 - i] = (uint8_t)(value >> 8 * i);
        }
    }
}

/* ---- a bare length field ----------------------------------------------------------------- */

/* As an ol_frame_next_fn. */
static inline int
ol_field_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
              size_t len, struct outlet_frame *out)
{
    size_t width = f->width;
    size_t whole;
    uint64_t value;

    if (OL_UNLIKELY(len < width)) {
        return 0;
    }
    value = ol_field_get(bytes, f->width, f->little);
    if (OL_UNLIKELY(value > f->max) || OL_UNLIKELY(!ol_add(width, (size_t)value, &whole))) {
        return OUTLET_EMSGSIZE;
    }
    if (OL_UNLIKELY(len < whole)) {
        scan->need = whole;
        return 0;
    }
    *out = (struct outlet_frame){.skip = width, .message = (size_t)value};
    return 1;
}

/* Can it say this length?  As a shift, for widths from 1 to 8: ol_field_max() would cost three
 * times as much. */
static inline bool
ol_field_fits(const struct ol_framing *f, size_t len)
{
    return len <= f->max && (uint64_t)len >> 8 * (f->width - 1) <= UINT8_MAX;
}

#endif
