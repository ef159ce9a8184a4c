/*
 * frame_fuzz.c - any framing, any bytes, any slices.
 *
 * Properties: slicing changes neither verdict nor messages, and a message that came in and may be
 * sent comes out of its own frame as it was, and alone.
 *
 * Input: framing text, NUL, limit (2 bytes), slice, wire bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
send_back(const struct ol_framing *f, const uint8_t *message, size_t len, size_t cut)
{
    static struct feed feed;
    uint8_t wire[FEED_BYTES_MAX + OUTLET_FRAME_HEAD_MAX + OUTLET_FRAME_TAIL_MAX];
    struct iovec pieces[2] = {
        {.iov_base = (void *)message, .iov_len = ol_min(cut, len)},
        {.iov_base = (void *)(message + ol_min(cut, len)), .iov_len = len - ol_min(cut, len)},
    };
    struct ol_frame_wrap wrap;
    outlet_err err = ol_frame_wrap(f, pieces, 2, len, &wrap);
    size_t wire_len;

    if (err) {
        /* A line may come in with a CR that could not be sent; the others take back what they gave.
         */
        OL_ASSERT(err == OUTLET_EINVAL && f->kind == OL_FRAME_LINE && message[len - 1] == '\r');
        return;
    }
    OL_ASSERT(wrap.head_len <= sizeof wrap.head && wrap.tail_len <= sizeof wrap.tail);
    memcpy(wire, wrap.head, wrap.head_len);
    memcpy(wire + wrap.head_len, message, len);
    memcpy(wire + wrap.head_len + len, wrap.tail, wrap.tail_len);
    wire_len = wrap.head_len + len + wrap.tail_len;
    if (wire_len > FEED_BYTES_MAX || wire_len == 0) {
        return;
    }
    OL_ASSERT(wire_len <= ol_frame_hold_max(f) || f->kind == OL_FRAME_NONE);

    feed_all(&feed, f, wire, wire_len, f->kind == OL_FRAME_NONE ? wire_len : cut + 1, NULL);
    OL_ASSERT(!feed.broken && !feed.err);
    OL_ASSERT(feed.count == 1 && feed.used == wire_len);
    OL_ASSERT(feed.messages[0].at == wrap.head_len && feed.messages[0].len == len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    static struct feed whole;
    static struct feed sliced;
    const uint8_t *nul = memchr(in, '\0', len);
    struct ol_framing f;
    size_t bad_at;
    size_t max;
    size_t slice;

    if (!nul || (size_t)(nul - in) + 4 > len) {
        return 0;
    }
    max = 1 + (size_t)(nul[1] | nul[2] << 8);
    if (ol_framing_parse((const char *)in, max, NULL, &f, &bad_at)) {
        return 0;
    }
    slice = 1 + nul[3] % 32;
    len -= (size_t)(nul - in) + 4;
    in = nul + 4;
    if (len > FEED_BYTES_MAX) {
        return 0;
    }

    feed_all(&whole, &f, in, len, len, NULL);
    feed_all(&sliced, &f, in, len, slice, NULL);
    OL_ASSERT(!whole.broken);
    OL_ASSERT(!sliced.broken);
    OL_ASSERT(f.kind == OL_FRAME_NONE || feed_same(&whole, &sliced));

    for (size_t i = 0; i < whole.count && i < 16; i++) {
        send_back(&f, in + whole.messages[i].at, whole.messages[i].len, slice);
    }
    return 0;
}
