/*
 * filter.c - the three top filters.
 *
 * SPDX-License-Identifier: MIT
 */
#include "filter.h"

static int
whole_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
           struct outlet_frame *out)
{
    (void)f;
    (void)scan;
    (void)bytes;
    *out = (struct outlet_frame){.message = len};
    return 1;
}

static outlet_err
plain_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
           struct ol_frame_wrap *out)
{
    (void)f;
    (void)pieces;
    (void)n;
    (void)len;
    out->head_len = 0;
    out->tail_len = 0;
    return OUTLET_OK;
}

/* Also done in place: ol_wire_append(). */
static outlet_err
dgram_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
           struct ol_frame_wrap *out)
{
    return len > f->max ? OUTLET_EMSGSIZE : plain_wrap(f, pieces, n, len, out);
}

static outlet_err
packet_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
            struct ol_frame_wrap *out)
{
    return len == 0 ? OUTLET_EINVAL : dgram_wrap(f, pieces, n, len, out);
}

static size_t
whole_hold_max(const struct ol_framing *f)
{
    (void)f;
    return 0;
}

static ol_frame_next_fn *
whole_next_of(const struct ol_framing *f)
{
    (void)f;
    return whole_next;
}

static ol_frame_wrap_fn *
plain_wrap_of(const struct ol_framing *f)
{
    (void)f;
    return plain_wrap;
}

static ol_frame_wrap_fn *
dgram_wrap_of(const struct ol_framing *f)
{
    (void)f;
    return dgram_wrap;
}

static ol_frame_wrap_fn *
packet_wrap_of(const struct ol_framing *f)
{
    (void)f;
    return packet_wrap;
}

/* This one and the datagrams' are also done in place: change that, too (conn.h, wire.h). */
const struct ol_filter ol_filter_none = {.name = "none",
                                         .next_of = whole_next_of,
                                         .wrap_of = plain_wrap_of,
                                         .hold_max = whole_hold_max};

const struct ol_filter ol_filter_frame = {.name = "frame",
                                          .next_of = ol_frame_next_of,
                                          .wrap_of = ol_frame_wrap_of,
                                          .hold_max = ol_frame_hold_max,
                                          .borders = true};

const struct ol_filter ol_filter_dgram = {.name = "datagram",
                                          .next_of = whole_next_of,
                                          .wrap_of = dgram_wrap_of,
                                          .hold_max = whole_hold_max,
                                          .borders = true};

const struct ol_filter ol_filter_packet = {.name = "packet",
                                           .next_of = whole_next_of,
                                           .wrap_of = packet_wrap_of,
                                           .hold_max = whole_hold_max,
                                           .borders = true};

const struct ol_filter *
ol_filter_for(bool stream, const struct ol_framing *f)
{
    if (!stream)
        return &ol_filter_dgram;
    return f->kind == OL_FRAME_NONE ? &ol_filter_none : &ol_filter_frame;
}
