/*
 * bytes.c - a growing buffer that was told its maximum when it was made.
 *
 * What is charged to the share is `room`, not `len`: that is the memory which is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bytes.h"

#include "assert.h"
#include "math.h"

#include <string.h>

enum { ROOM_MIN = 64 };

void
ol_bytes_init(struct ol_bytes *b, struct ol_share *share, size_t max)
{
    *b = (struct ol_bytes){.max = max, .share = share};
}

void
ol_bytes_fini(struct ol_bytes *b)
{
    if (b->data) {
        ol_free(&b->share->budget->heap, b->data);
        ol_share_release(b->share, b->room);
    }
    b->data = NULL;
    b->len = 0;
    b->room = 0;
}

static bool
set_room(struct ol_bytes *b, size_t room)
{
    uint8_t *data;

    if (!ol_share_charge(b->share, room - b->room))
        return false;
    data = ol_resize(&b->share->budget->heap, b->data, room);
    if (!data) {
        ol_share_release(b->share, room - b->room);
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

outlet_err
ol_bytes_reserve(struct ol_bytes *b, size_t more)
{
    size_t need;
    size_t doubled;

    OL_ASSERT(b->len <= b->room); /* not room <= max: the owner may lower max later */
    if (!ol_add(b->len, more, &need) || need > b->max)
        return OUTLET_EMSGSIZE;
    if (need <= b->room)
        return OUTLET_OK;
    if (!ol_mul(b->room, 2, &doubled))
        doubled = b->max;
    doubled = ol_min(ol_max(ol_max(doubled, ROOM_MIN), need), b->max);
    if (set_room(b, doubled))
        return OUTLET_OK;
    /* Near the limit what is needed may fit where twice as much does not. */
    if (need < doubled && set_room(b, need))
        return OUTLET_OK;
    return OUTLET_ENOMEM;
}

outlet_err
ol_bytes_append(struct ol_bytes *b, const void *bytes, size_t len)
{
    outlet_err err = ol_bytes_reserve(b, len);

    if (err)
        return err;
    if (len > 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return OUTLET_OK;
}

void
ol_bytes_consume(struct ol_bytes *b, size_t len)
{
    OL_ASSERT(len <= b->len);
    b->len -= len;
    if (b->len == 0) {
        ol_bytes_fini(b);
    } else if (len > 0) {
        memmove(b->data, b->data + len, b->len);
    }
}
