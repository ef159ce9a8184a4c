/*
 * conn.h - one connection, whatever carries it.
 *
 *     outlet_connect() --> on_open --> on_message* --> on_close
 *                 \________ could not connect _______^
 *
 * on_close runs once for every connection, is the last callback, and says why.  After it the handle
 * is stale: every call with it answers OUTLET_ESTALE, for ever.
 *
 * Three classes of calls.  "any, posts": done at once on the connection's own reactor, through its
 * mailbox from elsewhere.  "any, reads": published values.  "reactor only": else OUTLET_ETHREAD.
 * No call waits for another thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_CONN_H
#define OUTLET_CONN_H

#include "loop.h"
#include "opts.h"

#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Begin to connect to `url`.
 *
 * Memory  copies `url` and `*opts` (may be NULL); `opts->on` is lent until on_close returned.
 * Thread  any, posts.  *out and the user data are set before a callback can run.
 * Calls   nothing before it returns; then on_open, or on_close with the phase that failed.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP  the URL or an option is wrong; opts->why says where.
 *         OUTLET_ELIMIT  no handle is left.
 *         OUTLET_ENOMEM
 *         OUTLET_ESTATE  the loop has been stopped.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_connect(outlet_loop *loop, const char *url, const struct outlet_opts *opts,
               outlet_conn *out);

/**
 * Make two connections that are plugged into each other, inside this process.  `url` is "pair:"
 * with options for both ends.
 *
 * Memory  copies `url` and `*opts` (may be NULL); `opts->on` is lent until on_close returned.
 * Thread  any, posts.
 * Calls   nothing before it returns; then on_open for each.
 * Errors  as outlet_connect().
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_pair(outlet_loop *loop, const char *url, const struct outlet_opts *opts, outlet_conn *a,
            outlet_conn *b);

/**
 * Send `len` bytes as one message, in order, after everything sent before.  Answers with the bytes
 * now queued.  Taken whole or refused whole.  What is sent in one turn leaves together.
 *
 * Memory  copies `bytes`; a large message on the own reactor goes to the kernel first.
 * Thread  any, posts.
 * Calls   nothing before it returns; on_writable later when the queue stands above `high`.
 * Errors  OUTLET_EFULL     the queue is at `cap`; nothing was queued, on_writable follows.
 *         OUTLET_EMSGSIZE  longer than `max`, or than the framing or a datagram can carry.
 *         OUTLET_EINVAL    the framing cannot carry these bytes (they contain its mark).
 *         OUTLET_ESTATE    closing, or the sending side was ended.
 *         OUTLET_ESTALE    this connection is gone.
 *         OUTLET_ENOMEM    also at the loop's memory_max.
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send(outlet_conn c, const void *bytes, size_t len);

/**
 * Send several pieces as one message.
 *
 * Memory  copies the pieces.
 * Thread  any, posts.
 * Calls   as outlet_send().
 * Errors  as outlet_send(); OUTLET_EINVAL  more than 1,024 pieces.
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_sendv(outlet_conn c, const struct iovec *pieces, int n);

/**
 * Send a shared buffer as one message, without a copy.
 *
 * Memory  takes a reference of its own; the caller keeps theirs.
 * Thread  any, posts.
 * Calls   as outlet_send().
 * Errors  as outlet_send().
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_buf(outlet_conn c, outlet_buf *b);

/**
 * Send `len` bytes of a regular file, from `offset`, as one message, in order.  They go from the page
 * cache to the socket; `cap` does not refuse them, since they take no memory.  The file must not
 * become shorter meanwhile: then the connection is aborted.
 *
 * Memory  keeps a duplicate of `fd` until it was sent.
 * Thread  any, posts.
 * Calls   nothing before it returns; on_writable later when the queue stands above `high`.
 * Errors  OUTLET_EINVAL   not a regular file, or not that long.
 *         OUTLET_ENOTSUP  datagrams, and framings that look into the message (line, delim, between,
 *                         custom).
 *         OUTLET_EMSGSIZE, OUTLET_ENOFILE, OUTLET_ESTATE, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_file(outlet_conn c, int fd, int64_t offset, size_t len);

/**
 * Send one datagram from a udp listener's socket to any address ("udp://192.0.2.1:53").  It makes
 * no connection; the answer arrives as that peer's first message.
 *
 * Memory  copies `bytes`.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_ENOTSUP  not a udp listener.
 *         OUTLET_EINVAL   the address is wrong or of another family.
 *         OUTLET_EMSGSIZE, OUTLET_EFULL, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_to(outlet_listener l, const char *url, const void *bytes, size_t len);

/**
 * Bytes queued in this library, not yet taken by the kernel.
 *
 * Memory  keeps nothing.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_queued(outlet_conn c);

/**
 * Stop receiving; messages wait in the kernel and at the peer.  Timers of idleness stand still.
 *
 * Memory  keeps nothing.
 * Thread  any, posts; on the own reactor no message follows.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_pause(outlet_conn c);

/**
 * Receive again.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_resume(outlet_conn c);

/**
 * End the sending side after what is queued; receiving goes on (tcp, unix, pair).
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns.
 * Errors  OUTLET_ENOTSUP  this transport has no half-close.
 *         OUTLET_ESTATE   not open, or ended already.
 *         OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_end(outlet_conn c);

/**
 * Close in order: send what is queued, end the sending side, discard input until the peer's end,
 * close.  `flush_ms` bounds it.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns; on_close later, once.  No message follows on the own reactor.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_close(outlet_conn c);

/**
 * Close at once: drop the queue and reset.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns; on_close later, once.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_abort(outlet_conn c);

/**
 * Change the framing, from the next byte in each direction.  Legal inside on_message: bytes behind
 * that message are cut the new way.
 *
 * Memory  copies `text` and `*custom` (NULL unless text is "custom").
 * Thread  reactor only.
 * Calls   nothing before it returns.
 * Errors  OUTLET_EINVAL   the text is wrong.
 *         OUTLET_ENOTSUP  this transport keeps its own message borders.
 *         OUTLET_ETHREAD, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_set_framing(outlet_conn c, const char *text, const struct outlet_framing *custom);

/**
 * User data of a connection.  It is what callbacks receive.
 *
 * Memory  keeps nothing but the pointer.
 * Thread  any, reads; setting takes effect at once.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE; outlet_user() answers NULL.
 */
OUTLET_API outlet_err
outlet_set_user(outlet_conn c, void *user);

/**
 * Memory  keeps nothing.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  NULL when the handle is stale.
 */
OUTLET_API void *
outlet_user(outlet_conn c);

/**
 * Give a connection a name, unique in its loop, of 1 to 255 bytes.  NULL takes the name away.
 *
 * Memory  copies `name`.
 * Thread  any; takes a short lock on the loop's names.
 * Calls   nothing.
 * Errors  OUTLET_EEXIST  another connection has it.
 *         OUTLET_EINVAL, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_set_name(outlet_conn c, const char *name);

/**
 * The connection of that name.
 *
 * Memory  keeps nothing.
 * Thread  any; takes a short lock on the loop's names.
 * Calls   nothing.
 * Errors  a handle with id 0 when there is none.
 */
OUTLET_API outlet_conn
outlet_by_name(outlet_loop *loop, const char *name);

/**
 * A fact about a connection, as text.  Keys: peer local transport driver url state age_ms idle_ms
 * bytes_in bytes_out messages_in messages_out queued dropped name, and for tcp on the own reactor:
 * rtt_us retransmits.  Answers the length of the text, which is cut to `room` and always ends in
 * NUL.
 *
 * Memory  copies into `text`.
 * Thread  any, reads; rtt_us and retransmits: reactor only.
 * Calls   nothing.
 * Errors  OUTLET_ENOENT   there is no such key here.
 *         OUTLET_ETHREAD, OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_info(outlet_conn c, const char *key, char *text, size_t room);

/**
 * Call `each` for every open connection of a loop, or of one listener when `only.id` is not 0,
 * until it answers non-zero.  Answers how many were visited.
 *
 * Memory  keeps nothing.
 * Thread  any, reads: a snapshot, connections may end meanwhile.
 * Calls   `each`, before it returns, on the calling thread.
 * Errors  OUTLET_ESTALE  the listener is gone.
 */
OUTLET_API int64_t
outlet_each(outlet_loop *loop, outlet_listener only, int (*each)(outlet_conn c, void *arg),
            void *arg);

#ifdef __cplusplus
}
#endif
#endif
