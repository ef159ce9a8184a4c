/*
 * buf.h - bytes that are shared, and the message that a callback is lent.
 *
 *     outlet_buf_copy / _wrap / outlet_msg_retain  -->  one reference, yours
 *     outlet_buf_ref   one more          outlet_buf_unref   one less; the last one frees
 *
 * A received message is lent: read it, write in it, until the callback returns.  To keep it longer,
 * retain it.  A buffer's bytes never change once it is shared.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_BUF_H
#define OUTLET_BUF_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct outlet_buf outlet_buf;
typedef struct outlet_msg outlet_msg;

/**
 * A buffer with a copy of `len` bytes.
 *
 * Memory  copies `bytes`; gives one reference, to end with outlet_buf_unref().
 * Thread  any.
 * Calls   nothing.
 * Errors  NULL when there is no memory.
 */
OUTLET_API OUTLET_MUST_USE outlet_buf *
outlet_buf_copy(const void *bytes, size_t len);

/**
 * A buffer around bytes that the caller already has.
 *
 * Memory  takes `bytes` until release(bytes, arg) runs; after an error they stay the caller's.
 *         gives one reference, to end with outlet_buf_unref().  release may be NULL for bytes that
 *         live for ever.
 * Thread  any; release runs on the thread that drops the last reference.
 * Calls   release, once, after this call returned.
 * Errors  NULL when there is no memory.
 */
OUTLET_API OUTLET_MUST_USE outlet_buf *
outlet_buf_wrap(void *bytes, size_t len, void (*release)(void *bytes, void *arg), void *arg);

/**
 * One more reference.
 *
 * Memory  gives one reference.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; answers `b`, NULL for NULL.
 */
OUTLET_API outlet_buf *
outlet_buf_ref(outlet_buf *b);

/**
 * One reference less; NULL is allowed.
 *
 * Memory  takes one reference.
 * Thread  any.
 * Calls   the release function of outlet_buf_wrap() when it was the last reference, before it
 *         returns.
 * Errors  none.
 */
OUTLET_API void
outlet_buf_unref(outlet_buf *b);

/**
 * The bytes of a buffer.  `len` may be NULL.
 *
 * Memory  lends until the caller's reference ends.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; NULL and a length of 0 for NULL.
 */
OUTLET_API const uint8_t *
outlet_buf_data(const outlet_buf *b, size_t *len);

/**
 * The bytes of a message, writable in place.  `len` may be NULL.
 *
 * Memory  lends until the callback returns.
 * Thread  reactor only: inside the callback that was given `m`.
 * Calls   nothing.
 * Errors  none.
 */
OUTLET_API uint8_t *
outlet_msg_data(outlet_msg *m, size_t *len);

/* What outlet_msg_flags() answers. */
enum {
    OUTLET_MSG_TRUNCATED = 1 /* a datagram was longer than `max` of whoever received it: its tail
                                is lost */
};

/**
 * Facts about a message: OUTLET_MSG_*.
 *
 * Memory  keeps nothing.
 * Thread  reactor only: inside the callback that was given `m`.
 * Calls   nothing.
 * Errors  none.
 */
OUTLET_API uint32_t
outlet_msg_flags(const outlet_msg *m);

/**
 * Who sent the message, as text: "192.0.2.7:5000".  A connection has one peer, which
 * outlet_info(c, "peer") tells, too; but what is sent to a group or a broadcast address may be
 * answered by anybody.  Answers the length of the text, which is cut to `room` and always ends in
 * NUL; with room 0 only the length.  Unix sockets and pairs have peers without an address: "".
 *
 * Memory  copies into `text`.
 * Thread  reactor only: inside the callback that was given `m`.
 * Calls   nothing.
 * Errors  none.
 */
OUTLET_API size_t
outlet_msg_peer(const outlet_msg *m, char *text, size_t room);

/**
 * Keep the message after the callback.  A message that fills at least a quarter of the memory it
 * lies in takes that memory without a copy; a smaller one is copied, so that 4 bytes do not pin 64
 * KiB.  The buffer may outlive its connection and its loop.
 *
 * Memory  gives one reference, to end with outlet_buf_unref(); counts against memory_max.
 * Thread  reactor only: inside the callback that was given `m`.
 * Calls   nothing.
 * Errors  NULL when there is no memory, or the loop's memory_max is reached.
 */
OUTLET_API OUTLET_MUST_USE outlet_buf *
outlet_msg_retain(outlet_msg *m);

/**
 * Take the next descriptor that came with the message, in the order in which they were sent.  It is
 * close-on-exec.  Those that nobody takes are closed when the callback returns.  More than `fds` at
 * once end the connection with OUTLET_ELIMIT.
 *
 * On a stream the kernel ties a descriptor to bytes: it comes with the last message that begins in
 * what was sent along with it, or with frame=none with the bytes that end there.
 *
 * Memory  gives a descriptor, to be closed.
 * Thread  reactor only: inside the callback that was given `m`.
 * Calls   nothing.
 * Errors  OUTLET_ENOENT  there is none, or none more.
 */
OUTLET_API OUTLET_MUST_USE int
outlet_msg_fd(outlet_msg *m);

#ifdef __cplusplus
}
#endif
#endif
