/*
 * frame.h - cut a byte stream into messages, and wrap messages for it.  Pure.
 *
 * The decoder is called with all bytes of the unfinished message so far and answers where the first
 * message lies.  `struct ol_frame_scan` remembers how far a mark was searched for, so that a line
 * arriving byte by byte costs n, not n².  A newcomer's mistake: to keep the scan after the bytes
 * before it were consumed; reset it (all zero) with each new message.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_FRAME_H
#define OL_FRAME_H

#include "base/base.h"
#include "outlet/frame.h"

#include <sys/uio.h>

enum ol_frame_kind {
    OL_FRAME_NONE,
    OL_FRAME_FIXED,
    OL_FRAME_LINE,
    OL_FRAME_DELIM,
    OL_FRAME_LEN,
    OL_FRAME_VARINT,
    OL_FRAME_BETWEEN,
    OL_FRAME_HP,
    OL_FRAME_CUSTOM
};

enum { OL_FRAME_MARK_MAX = 32 };

struct ol_framing {
    enum ol_frame_kind kind;
    size_t max;       /* bytes of a message */
    size_t fixed;     /* FIXED */
    uint8_t mark[2][OL_FRAME_MARK_MAX]; /* DELIM: [0]; BETWEEN: head [0] and tail [1] */
    uint8_t mark_len[2];
    uint8_t width;    /* LEN: 1, 2, 3, 4 or 8 */
    bool little;
    uint16_t offset;  /* LEN: bytes before the length field */
    uint16_t strip;   /* LEN: header bytes removed on receive */
    int32_t adjust;   /* LEN: added to the field's value to get the bytes that follow the field */
    uint16_t flag;    /* HP: 10 bits */
    struct outlet_framing custom;
};

struct ol_frame_scan {
    size_t searched; /* bytes that cannot hold the start of the mark */
    size_t need;     /* whole frame once it is known; 0: not yet */
};

/* Parse the text after frame=.  OUTLET_EINVAL: *bad_at is the byte.  `custom` is needed for "custom"
 * (else OUTLET_EINVAL).  max > 0. */
outlet_err ol_framing_parse(const char *text, size_t max, const struct outlet_framing *custom,
                            struct ol_framing *out, size_t *bad_at);

/* Cuts differently?  Two framings that are the same share encoded bytes in a publish. */
bool ol_framing_same(const struct ol_framing *a, const struct ol_framing *b);

/*
 * Where is the first message in bytes[0..len)?  Answers 1 and *out (skip + message + tail is the whole
 * frame); 0: more bytes are needed (scan->need may say how many in all); OUTLET_EMSGSIZE,
 * OUTLET_EPROTO or the custom code.  FRAME_NONE gives everything there is.  len 0 gives 0.
 * EMSGSIZE is answered as soon as it can be known, before memory for the message is needed.
 */
int ol_frame_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
                  size_t len, struct outlet_frame *out);

/* The most bytes an unfinished frame may grow to: max + head + tail of this framing. */
size_t ol_frame_hold_max(const struct ol_framing *f);

struct ol_frame_wrap {
    uint8_t head[OUTLET_FRAME_HEAD_MAX];
    uint8_t tail[OUTLET_FRAME_TAIL_MAX];
    size_t head_len;
    size_t tail_len;
};

/* Head and tail for a message given in pieces (n >= 0).  OUTLET_EMSGSIZE: over max or what the field
 * can say; OUTLET_EINVAL: the bytes contain the mark, or a fixed size differs.  Custom framing gets
 * the first piece; the caller joins pieces for it. */
outlet_err ol_frame_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
                         struct ol_frame_wrap *out);

#endif
