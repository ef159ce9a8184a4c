/*
 * handle.c - a handle as one number.
 *
 * 63 bits, so that languages without unsigned integers can carry it.  Generation 0 is never given
 * out, so that 0 is nobody's handle.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

enum {
    SLOT_SHIFT = OL_GENERATION_BITS,
    CELL_SHIFT = OL_GENERATION_BITS + OL_SLOT_BITS,
    KIND_SHIFT = OL_GENERATION_BITS + OL_SLOT_BITS + OL_CELL_BITS
};

static uint32_t
low_bits(uint64_t value, int bits)
{
    return (uint32_t)(value & ((UINT64_C(1) << bits) - 1));
}

uint64_t
ol_handle_pack(struct ol_handle h)
{
    return (uint64_t)h.kind << KIND_SHIFT | (uint64_t)h.cell << CELL_SHIFT |
           (uint64_t)h.slot << SLOT_SHIFT | h.generation;
}

bool
ol_handle_unpack(uint64_t id, enum ol_kind kind, struct ol_handle *out)
{
    if (id >> KIND_SHIFT != (uint64_t)kind)
        return false;
    out->kind = kind;
    out->cell = low_bits(id >> CELL_SHIFT, OL_CELL_BITS);
    out->slot = low_bits(id >> SLOT_SHIFT, OL_SLOT_BITS);
    out->generation = low_bits(id, OL_GENERATION_BITS);
    return true;
}
