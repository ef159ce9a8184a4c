/*
 * filter.h - what lies between a link's bytes and a connection's messages: one table per layer.
 *
 * The top filter finds and wraps messages.  Filters hold no memory for an idle connection: what
 * they need to know between two calls is the scan, kept with the bytes of an unfinished message.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_FILTER_H
#define OL_FILTER_H

#include "base/base.h"
#include "proto/frame/frame.h"

struct ol_filter {
    const char *name;
    /* What to call for each message: looked up once, when the framing is known. */
    ol_frame_next_fn *(*next_of)(const struct ol_framing *f);
    ol_frame_wrap_fn *(*wrap_of)(const struct ol_framing *f);
    size_t (*hold_max)(const struct ol_framing *f);
    bool borders; /* what one side sends as one message arrives as one message */
};

extern const struct ol_filter ol_filter_none;  /* a stream as it comes */
extern const struct ol_filter ol_filter_frame; /* messages cut from a stream */
extern const struct ol_filter ol_filter_dgram; /* the transport keeps borders itself */
extern const struct ol_filter
    ol_filter_packet; /* ... and cannot tell an empty message from its end */

const struct ol_filter *ol_filter_for(bool stream, const struct ol_framing *f);

#endif
