/*
 * frame.h - message borders on a byte stream.
 *
 * Most programs name their framing in the URL and never look here:
 *
 *     none  fixed:128  line  delim:%0D%0A  len:4be  len:2le@1+3/6  varint  between:%02..%03  hp:123
 *     idle:20ms
 *
 * The same text works in both directions: it cuts what is received and wraps what is sent.  What
 * is sent comes out on the other side as the same message, or is refused; only the silence between
 * two messages with idle is the sender's to keep.  docs/framing.md shows
 * each with its bytes.  A protocol that none of them describes gives two functions here and says
 * `custom`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_FRAME_H
#define OUTLET_FRAME_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OUTLET_FRAME_HEAD_MAX = 64, /* bytes that a custom wrap may put before a message */
    OUTLET_FRAME_TAIL_MAX = 64  /* ... and after it */
};

/* What `split` found at the start of the bytes it was given. */
struct outlet_frame {
    size_t skip;    /* bytes before the message */
    size_t message; /* bytes of the message */
    size_t tail;    /* bytes after the message, up to the next frame */
};

/*
 * Both functions must depend on their arguments alone: they are called from every reactor, and
 * again with the same bytes when more have come.
 */
struct outlet_framing {
    size_t size; /* sizeof(struct outlet_framing) */
    void *user;  /* handed to both; must live as long as the connections and their listener */

    /*
     * Find the first frame in `bytes`; len is never 0.  Answers 1 and fills *frame, whose three
     * parts lie within len and are not all 0; 0 when more bytes are needed; a negative code,
     * usually OUTLET_EPROTO, to break the connection with it.  *need may be set to the whole length
     * of the frame once it is known: it is refused above `max` + OUTLET_FRAME_HEAD_MAX +
     * OUTLET_FRAME_TAIL_MAX before memory is taken, and until it is there split is not called
     * again.
     */
    int (*split)(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame,
                 size_t *need);

    /*
     * Write what goes before and after a message of `len` bytes, which comes in one piece and is
     * within `max`.  Both lengths are 0 on entry.  Answers OUTLET_OK or the negative code that the
     * send shall answer.
     */
    int (*wrap)(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
                uint8_t *tail, size_t *tail_len);
};

/**
 * Check a framing text, as written after `frame=` in a URL.
 *
 * Memory  keeps nothing.
 * Thread  any.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL  the text is wrong; *bad_at (may be NULL) is the offending byte.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_framing_check(const char *text, size_t *bad_at);

#ifdef __cplusplus
}
#endif
#endif
