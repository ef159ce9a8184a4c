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
 * mailbox from elsewhere, in the order of the calls of each thread.  "any, reads": published
 * values.  "reactor only": else OUTLET_ETHREAD.  No call waits for another thread.
 *
 * What only the reactor knows cannot be the answer of a call from elsewhere: such an order is taken
 * (0) and has no effect when it arrives too late.  A posted call may also answer OUTLET_ENOMEM, for
 * its mail.  "Calls nothing itself" is explained in loop.h.
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
 * Begin to connect to `url`, on the current reactor or, from elsewhere, on the next in turn.  A
 * name is looked up in /etc/hosts; its addresses are tried one after the other.  "fd:3" is a socket
 * that is connected already; a duplicate is used, so the caller's may be closed, and a reset
 * reaches the peer when all are.  Whether it blocks is the driver's to say, for all who have it.
 *
 * Memory  copies `url`, `*opts` (may be NULL) and what `on` and `framing` in it point to.
 * Thread  any, posts.  *out and the user data are set before a callback can run.
 * Calls   nothing itself; then on_open, or on_close with the phase that failed.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP  the URL or an option is wrong; opts->why says where.
 *         OUTLET_ELIMIT  no handle is left.
 *         OUTLET_ENOENT, OUTLET_ENOFILE  fd: it is not open, was not passed, or not duplicated.
 *         OUTLET_ENOMEM
 *         OUTLET_ESTATE  the loop has been stopped.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_connect(outlet_loop *loop, const char *url, const struct outlet_opts *opts,
               outlet_conn *out);

/**
 * Make two connections that are plugged into each other, inside this process and on one reactor.
 * `url` is "pair:" with options for both ends.
 *
 * Memory  copies `url`, `*opts` (may be NULL) and what `on` and `framing` in it point to.
 * Thread  any, posts.  *a, *b and the user data are set before a callback can run.
 * Calls   nothing itself; then on_open for each.
 * Errors  as outlet_connect(); OUTLET_EINVAL also for another scheme.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_pair(outlet_loop *loop, const char *url, const struct outlet_opts *opts, outlet_conn *a,
            outlet_conn *b);

/**
 * Send `len` bytes as one message, in order, after everything sent before.  Answers with the bytes
 * now queued, the framing's included.  Taken whole or refused whole.  Before on_open it waits in
 * the queue; what is sent in one turn leaves together.
 *
 * Where `cap` would be passed, `full` decides (opts.h); with drop_new and drop_old the call may
 * succeed and a message be dropped.  From another thread it is OUTLET_EFULL whatever `full` says.
 *
 * Memory  copies `bytes`; from 16 KiB on, on its own reactor and with an empty queue, what the
 *         kernel takes at once is not copied.
 * Thread  any, posts.
 * Calls   nothing itself; then on_writable when the queue stands above `high`.
 * Errors  OUTLET_EFULL     would pass `cap`; nothing was queued.  On its own reactor on_writable
 *                          follows; from another thread, when the queue has been above `high`.
 *         OUTLET_EMSGSIZE  longer than `max` (not on a stream with frame=none), than the framing or
 *                          a datagram can carry, or, framing included, than `cap`.
 *         OUTLET_EINVAL    the framing cannot carry these bytes (they contain its mark), or an
 *                          empty message on unix-seqpacket, where it would be the end.
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
 * Errors  as outlet_send(); OUTLET_EINVAL also for more than 1,024 pieces.
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_sendv(outlet_conn c, const struct iovec *pieces, int n);

/**
 * Send a shared buffer as one message, without a copy from 1 KiB on; below that a copy costs less.
 *
 * Memory  takes a reference of its own; the caller keeps theirs.
 * Thread  any, posts.
 * Calls   as outlet_send().
 * Errors  as outlet_send().
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_buf(outlet_conn c, outlet_buf *b);

/**
 * Send `len` bytes of a regular file, from `offset`, as one message, in order.  They go from the
 * page cache to the socket; `cap` does not refuse them, since they take no memory.  The file must
 * not become shorter meanwhile: then the connection is aborted.
 *
 * Memory  copies `fd`: a duplicate is kept until the bytes were sent; the caller's may be closed.
 * Thread  any, posts.
 * Calls   nothing itself; then on_writable when the queue stands above `high`.
 * Errors  OUTLET_EINVAL   not a regular file, or not that long.
 *         OUTLET_ENOTSUP  datagrams, and framings that look into the message (line, delim, between,
 *                         custom).
 *         OUTLET_EMSGSIZE, OUTLET_ENOFILE, OUTLET_ESTATE, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_file(outlet_conn c, int fd, int64_t offset, size_t len);

/**
 * Send `len` bytes as one message, and with it a descriptor, which the peer gets as one of its own:
 * see outlet_msg_fd().  Between unix and unix-seqpacket connections with the option `fds`.
 *
 * Memory  copies `bytes` and `fd`: a duplicate is kept until it was sent; the caller's may be
 *         closed.
 * Thread  any, posts.
 * Calls   nothing itself; then on_writable when the queue stands above `high`.
 * Errors  OUTLET_ENOTSUP  another transport, or `fds` is off.
 *         OUTLET_EINVAL   `fd` is not open; or there is no byte that it could go along with.
 *         OUTLET_EFULL    also when `fds` descriptors wait to be sent, or are in the mail from
 *                         other threads.
 *         OUTLET_ENOFILE  it could not be duplicated.
 *         OUTLET_EMSGSIZE, OUTLET_ESTATE, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_fd(outlet_conn c, int fd, const void *bytes, size_t len);

/**
 * Send one datagram from a udp listener's socket to any address ("udp://192.0.2.1:53"), group or
 * broadcast address, or from a unix-dgram listener's ("unix-dgram:@name").  It makes no connection;
 * an answer arrives as its sender's first message, so who asks a group has a connection for each
 * that answered.  `ttl`, `loop`, `interface` and `broadcast` are the listener's; the URL here has
 * no options.  Nothing is queued: answers 0 when the kernel took it, or from another thread when it
 * was posted.
 *
 * Memory  copies `bytes`.
 * Thread  any, posts.  From another thread a failure is counted in the listener's fact `dropped`.
 * Calls   nothing.
 * Errors  OUTLET_ENOTSUP   not a udp or unix-dgram listener.
 *         OUTLET_EINVAL    the address is wrong, or of a family that this listener does not have.
 *         OUTLET_EPERM     a broadcast address, and the listener's URL does not say broadcast=on.
 *         OUTLET_EMSGSIZE  longer than `max`.
 *         OUTLET_EFULL     the socket has no room now.
 *         OUTLET_ESTALE, OUTLET_ENOMEM, and what the network answers, such as OUTLET_EUNREACH
 */
OUTLET_API OUTLET_MUST_USE int64_t
outlet_send_to(outlet_listener l, const char *url, const void *bytes, size_t len);

/**
 * Bytes queued in this library, not yet taken by the kernel.
 *
 * Memory  keeps nothing.
 * Thread  any, reads; from other threads than its own rounded up to 16.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_queued(outlet_conn c);

/**
 * Stop receiving; messages wait in the kernel and at the peer, datagrams are lost.  idle_ms and
 * partial_ms stand still, and begin anew with outlet_resume().
 *
 * Memory  keeps nothing.
 * Thread  any, posts; on its own reactor no message follows.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API outlet_err
outlet_pause(outlet_conn c);

/**
 * Receive again; what was held back comes first.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself; then on_message.
 * Errors  OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API outlet_err
outlet_resume(outlet_conn c);

/**
 * End the sending side after what is queued; receiving goes on (not with datagrams).
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself.
 * Errors  OUTLET_ENOTSUP  this transport has no half-close; only told on its own reactor.
 *         OUTLET_ESTATE   closing, or ended already; only told on its own reactor.
 *         OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API outlet_err
outlet_end(outlet_conn c);

/**
 * Close in order: send what is queued, end the sending side, discard input until the peer's end,
 * close.  `flush_ms` bounds it; only what could not be sent by then makes its reason a failure.  A
 * connection that is not open yet is aborted.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself; then on_close, once.  On its own reactor no message follows.
 * Errors  OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API outlet_err
outlet_close(outlet_conn c);

/**
 * Close at once: drop the queue and reset.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself; then on_close, once (OUTLET_ECANCELED).
 * Errors  OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API outlet_err
outlet_abort(outlet_conn c);

/**
 * Change the framing, from the next byte in each direction; `max` stays.  Legal inside on_message:
 * bytes behind that message are cut the new way.
 *
 * Memory  copies `text` and `*custom` (NULL unless text is "custom").
 * Thread  reactor only.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL   the text is wrong.
 *         OUTLET_ENOTSUP  this transport keeps its own message borders.
 *         OUTLET_ETHREAD, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_set_framing(outlet_conn c, const char *text, const struct outlet_framing *custom);

/**
 * Set the user data of a connection: what its callbacks receive from now on.
 *
 * Memory  copies the pointer, not what it points to.
 * Thread  any; takes effect at once.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_set_user(outlet_conn c, void *user);

/**
 * The user data of a connection.
 *
 * Memory  keeps nothing.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  NULL when the handle is stale.
 */
OUTLET_API void *
outlet_user(outlet_conn c);

/**
 * Give a connection a name, unique in its loop, of 1 to 255 bytes, in place of the one it has.
 * NULL takes the name away.  The name is free again when on_close has returned.
 *
 * Memory  copies `name`.
 * Thread  any; takes a short lock on the loop's names.
 * Calls   nothing.
 * Errors  OUTLET_EEXIST  another connection has it.
 *         OUTLET_ESTATE  it is in its on_close.
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
 * A fact about a connection, as text:
 *
 *     peer, local      addresses; unix: the URL
 *     url              canonical: its listener's, or what was connected to
 *     transport        tcp unix unix-seqpacket unix-dgram udp pair
 *     driver           epoll uring sim
 *     state            none connecting handshake open flushing lingering closing closed
 *     name             "" without one
 *     age_ms           since it was made, in steps of 125
 *     idle_ms          since bytes last came or went
 *     bytes_in, bytes_out          taken from and by the kernel, the framing's included
 *     messages_in, messages_out    delivered; taken to be sent
 *     queued           as outlet_queued()
 *     held             bytes received and not delivered: of a message that has begun, or held back
 *                                  by a pause.  In on_close they are lost.  Streams, on its own
 *                                  reactor
 *     dropped          messages that were to be sent and were not: by `full`, or in a publish
 *     rtt_us, retransmits          of the kernel; tcp, on its own reactor
 *     lost, unread     as outlet_listener_info(), of its socket, which the connections of a
 *                                  listener share; udp and unix-dgram, on its own reactor
 *     peer_pid, peer_uid, peer_gid who connected, or listened, as the kernel saw it then; unix,
 *                                  unix-seqpacket and pair, on its own reactor
 *
 * Answers the length of the text, which is cut to `room` and always ends in NUL; with room 0 only
 * the length.
 *
 * Memory  copies into `text`.
 * Thread  any, reads; held, and what the kernel knows, rtt_us to peer_gid: reactor only.
 * Calls   nothing.
 * Errors  OUTLET_ENOENT   there is no such key here.
 *         OUTLET_ESTATE   rtt_us to peer_gid: it has no socket now.
 *         OUTLET_ENOTSUP  lost, unread: the system does not tell (Linux before 4.12).
 *         OUTLET_EINVAL, OUTLET_ETHREAD, OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_info(outlet_conn c, const char *key, char *text, size_t room);

/**
 * Call `each` for every open connection of a loop, or of one listener when `only.id` is not 0,
 * until it answers non-zero.  Answers how many were visited.
 *
 * Memory  keeps nothing.
 * Thread  any, reads: no lock is held, connections may come and end meanwhile.
 * Calls   `each`, before it returns, on the calling thread.
 * Errors  OUTLET_ESTALE  the listener is gone.
 *         OUTLET_EINVAL
 */
OUTLET_API int64_t
outlet_each(outlet_loop *loop, outlet_listener only, int (*each)(outlet_conn c, void *arg),
            void *arg);

#ifdef __cplusplus
}
#endif
#endif
