/*
 * frame.h - cut a byte stream into messages, and wrap messages for it.  Pure.
 *
 * The decoder is called with all bytes of the unfinished message so far and answers where the first
 * message lies.  `struct ol_frame_scan` remembers how far a mark was searched for, so that a line
 * arriving byte by byte costs n, not n².  A newcomer's mistake: to keep the scan after the bytes
 * before it were consumed; reset it (all zero) with each new message.
 *
 * The framings, wire bytes on the left:
 *
 *   none      whatever has arrived is a message; `max` does not apply in either direction
 *   fixed:N   N bytes; N over max is refused as a text
 *   line      message LF, or message CR LF; written with LF.  A message that contains LF or ends in
 *             CR is refused on send: it would come back as something else
 *   delim:M   message M.  Refused on send when M would be found earlier than where it was put
 *   len:...   see below
 *   varint    LEB128 length, message.  At most 10 bytes of length, no needless ones
 *   between:H..T   H message T.  Other bytes where H should stand are OUTLET_EPROTO
 *   hp:FLAG   four bytes, then the message: HP-Socket's PACK model.  Never empty, at most 4 MiB - 1
 *   idle:T    what came before a silence of T.  A border in time, not in bytes: the parser only
 *             keeps within `max`, and who has a clock ends the message.  Written as it is, never
 *             empty
 *   custom    two functions of the program's own
 *
 * len:WIDTH[be|le][@offset][+n|-n][/strip], the four numbers of Netty's decoder:
 *
 *     | offset bytes | field: WIDTH bytes | value + adjust bytes |
 *     |<--- strip bytes are taken away --->|  (as the default has it)
 *
 * adjust is -(offset + width) where the field counts the whole frame, and +n where n bytes of
 * further header stand uncounted between the field and what it counts.  strip may lie
 *   - at the end of the field or behind it: the message is what follows.  On send the field is
 *     computed, and stripped bytes before and behind it are written as zeros;
 *   - at its start or before: the message holds the field.  On send the stripped bytes are written
 *     as zeros and the field is not written but verified (OUTLET_EINVAL): /0 adds nothing at all.
 * Within the field it is refused as a text.  Whatever was received can thus be sent as it is, and
 * gives the same message on the other side; only stripped bytes that were not zero are lost.
 * offset + width and strip are at most OUTLET_FRAME_HEAD_MAX.
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
    OL_FRAME_IDLE,
    OL_FRAME_CUSTOM
};

enum { OL_FRAME_MARK_MAX = 32, OL_FRAME_IDLE_MAX_MS = 3600000 };

struct ol_framing {
    enum ol_frame_kind kind;
    size_t max;                         /* bytes of a message */
    size_t fixed;                       /* FIXED */
    uint8_t mark[2][OL_FRAME_MARK_MAX]; /* DELIM: [0]; BETWEEN: head [0] and tail [1] */
    uint8_t mark_len[2];
    uint8_t width; /* LEN: 1, 2, 3, 4 or 8 */
    bool little;
    uint16_t offset; /* LEN: bytes before the length field */
    uint16_t strip;  /* LEN: header bytes removed on receive; never within the field */
    union {
        int32_t adjust; /* LEN: added to the field's value to get the bytes that follow the field */
        int32_t idle_ms; /* IDLE: 1 to OL_FRAME_IDLE_MAX_MS */
    };
    uint16_t flag; /* HP: 10 bits */
    struct outlet_framing custom;
};

struct ol_frame_scan {
    size_t searched; /* bytes that cannot hold the start of the mark */
    size_t need;     /* whole frame once it is known; 0: not yet */
};

/* "none", "line", and so on; NULL: there are no more. */
const char *ol_framing_kind(size_t i);

/* Parse the text after frame=, its marks still percent-encoded.  OUTLET_EINVAL: *bad_at is the
 * first byte that cannot be, or the first of a number out of range.  `custom` is needed for
 * "custom" (else OUTLET_EINVAL), with both functions.  max > 0; SIZE_MAX is none. */
outlet_err ol_framing_parse(const char *text, size_t max, const struct outlet_framing *custom,
                            struct ol_framing *out, size_t *bad_at);

/* Do both cut and wrap alike?  Two framings that are the same share encoded bytes in a publish; the
 * limits count, because they say what may be sent at all. */
bool ol_framing_same(const struct ol_framing *a, const struct ol_framing *b);

/*
 * Where is the first message in bytes[0..len)?  Answers 1 and *out (skip + message + tail is the
 * whole frame); 0: more bytes are needed (scan->need may say how many in all); OUTLET_EMSGSIZE,
 * OUTLET_EPROTO or the custom code.  FRAME_NONE gives everything there is.  len 0 gives 0.
 * EMSGSIZE is answered as soon as it can be known, before memory for the message is needed.
 */
int ol_frame_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
                  size_t len, struct outlet_frame *out);

/* The same for one kind of framing, without a look at which it is.  To be called only with
 * len > 0 and len >= scan->need. */
typedef int ol_frame_next_fn(const struct ol_framing *f, struct ol_frame_scan *scan,
                             const uint8_t *bytes, size_t len, struct outlet_frame *out);
ol_frame_next_fn *ol_frame_next_of(const struct ol_framing *f);

/* Do head and tail depend on the message's length alone?  Then it may be wrapped unseen. */
bool ol_frame_is_blind(const struct ol_framing *f);

/* The longest frame: max + head + tail of this framing.  With this many bytes ol_frame_next never
 * asks for more. */
size_t ol_frame_hold_max(const struct ol_framing *f);

struct ol_frame_wrap {
    uint8_t head[OUTLET_FRAME_HEAD_MAX];
    uint8_t tail[OUTLET_FRAME_TAIL_MAX];
    size_t head_len;
    size_t tail_len;
};

/* Head and tail for a message given in pieces (n >= 0).  OUTLET_EMSGSIZE: over max or what the
 * field can say; OUTLET_EINVAL: it would not come out as it is (the bytes contain the mark, a fixed
 * size differs, a verified field is wrong).  Custom framing gets the first piece; the caller joins
 * pieces for it. */
outlet_err ol_frame_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
                         struct ol_frame_wrap *out);
typedef outlet_err ol_frame_wrap_fn(const struct ol_framing *f, const struct iovec *pieces, int n,
                                    size_t len, struct ol_frame_wrap *out);
ol_frame_wrap_fn *ol_frame_wrap_of(const struct ol_framing *f);

#include "frame_field.h" /* it needs all of this */

#endif
