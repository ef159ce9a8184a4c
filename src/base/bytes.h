/*
 * bytes.h - a growing buffer that was told its maximum when it was made.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_BYTES_H
#define OL_BYTES_H

#include "alloc.h"

/* All zero but `max` and `share` is empty and owns nothing. */
struct ol_bytes {
    uint8_t *data;
    size_t len;
    size_t room;
    size_t max;
    struct ol_share *share; /* counts and provides the memory */
};

void ol_bytes_init(struct ol_bytes *b, struct ol_share *share, size_t max);
void ol_bytes_fini(struct ol_bytes *b);
/* Room for `more` bytes after len, growing by doubling up to max; OUTLET_EMSGSIZE over max (nothing
 * allocated), OUTLET_ENOMEM over the budget or out of memory.  Errors change nothing. */
outlet_err ol_bytes_reserve(struct ol_bytes *b, size_t more);
outlet_err ol_bytes_append(struct ol_bytes *b, const void *bytes, size_t len);
/* From the front; frees the memory when it gets empty. */
void ol_bytes_consume(struct ol_bytes *b, size_t len);

#endif
