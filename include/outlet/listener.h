/*
 * listener.h - where connections arrive.
 *
 *     outlet_listen() --> (on_accept --> on_open ... on_close)* --> outlet_listener_close()
 *
 * A listener is a set of sockets under one handle: one for each address family, and for tcp one for
 * each reactor besides.  A connection that is refused by on_accept still gets its on_close
 * (OUTLET_EDENIED); one above `conns` or `conns_per_address`, or that `allow` and `deny` keep out,
 * is closed before anybody hears of it, and counted as refused.  Above `accepts_per_second` clients
 * wait in the backlog.  Closing a listener leaves its connections alone.
 *
 * Without descriptors left it tries again every 100 ms, with one line in the log; clients wait in
 * the backlog meanwhile.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_LISTENER_H
#define OUTLET_LISTENER_H

#include "conn.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Listen at `url`.  "tcp://:9000" is this computer only, 127.0.0.1 and ::1; "tcp://0.0.0.0:9000" is
 * every IPv4 interface, "tcp://[::]:9000" every IPv6 interface, "*" as host both.  Port 0 picks
 * one, the same for all sockets.  A unix path that nobody listens at any more is replaced.
 * "fd:3" is a socket of the program that is bound already; a duplicate is used, which listens on
 * when the listener is closed if there are others.  It is made non-blocking, for all who have it.
 *
 * Memory  copies `url`, `*opts` (may be NULL) and what `on` and `framing` in it point to.
 * Thread  any.  *out and the user data are set before a callback can run.
 * Calls   nothing itself; then on_accept for each client.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP  the URL or an option is wrong; opts->why says where.
 *         OUTLET_EADDRINUSE, OUTLET_EADDR, OUTLET_EPERM  opts->why names the address.
 *         OUTLET_EEXIST    at the unix path stands something that is no socket.
 *         OUTLET_ERESOLVE  the host is neither an address nor in /etc/hosts.
 *         OUTLET_ELIMIT    no handle is left.
 *         OUTLET_ENOENT    fd: the descriptor is not open, or no such socket was passed.
 *         OUTLET_ESTATE    the loop drains, or has been stopped.
 *         OUTLET_ENOFILE, OUTLET_ENOMEM, OUTLET_ESYS
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_listen(outlet_loop *loop, const char *url, const struct outlet_opts *opts,
              outlet_listener *out);

/**
 * Stop listening.  Connections stay; a udp socket serves the peers it has until the last is gone,
 * and drops newcomers.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.  The address is free again when the reactors have run.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_listener_close(outlet_listener l);

/**
 * A fact about a listener, as text:
 *
 *     url          canonical, with the port that was picked
 *     local        address of its first socket
 *     transport    tcp unix unix-seqpacket unix-dgram udp pair
 *     driver       epoll uring sim
 *     connections  now
 *     accepted     so far
 *     refused      by on_accept, above conns or conns_per_address, or by allow and deny
 *     denied       of these, by allow and deny
 *     pauses       how often a socket stopped accepting for accepts_per_second
 *     dropped      datagrams of peers that could not be taken, or of outlet_send_to() from another
 *                  thread that the socket had no room for
 *     lost         datagrams that arrived and that the system had no room for; a train of
 *                  one sender may count as one.  udp, unix-dgram
 *     unread       bytes that have arrived there and wait to be received, the system's bookkeeping
 *                  included; 0: none do.  unix-dgram: 1 when some do.  What this
 *                  turn has received and not yet delivered is none of them: a timer's
 *                  function, which is called after that, sees all
 *
 * Answers the length of the text, which is cut to `room` and always ends in NUL; with room 0 only
 * the length.
 *
 * Memory  copies into `text`.
 * Thread  any, reads; lost and unread are asked of the system: on the reactor of the listener's
 *         connections only.
 * Calls   nothing.
 * Errors  OUTLET_ENOENT   there is no such key here.
 *         OUTLET_ESTATE   lost, unread: it has no socket now.
 *         OUTLET_ENOTSUP  lost, unread: the system does not tell (Linux before 4.12).
 *         OUTLET_EINVAL, OUTLET_ETHREAD, OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_listener_info(outlet_listener l, const char *key, char *text, size_t room);

/**
 * The listener that a connection came from; id 0 when it was made by connect or pair.  It may be
 * closed already.
 *
 * Memory  keeps nothing.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  id 0 when the handle is stale.
 */
OUTLET_API outlet_listener
outlet_listener_of(outlet_conn c);

#ifdef __cplusplus
}
#endif
#endif
