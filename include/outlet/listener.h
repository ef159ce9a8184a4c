/*
 * listener.h - where connections arrive.
 *
 *     outlet_listen() --> (on_accept --> on_open ... on_close)* --> outlet_listener_close()
 *
 * A listener is a set of sockets under one handle: each address family, and for tcp each reactor.
 * Closing it leaves its connections alone.
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
 * Listen at `url`.  "tcp://:9000" is this computer only; "tcp://0.0.0.0:9000" every IPv4 interface,
 * "tcp://[::]:9000" or "*" as host every interface; port 0 picks one, the same for all sockets.
 *
 * Memory  copies `url` and `*opts` (may be NULL); `opts->on` is lent until the listener and all its
 *         connections are gone.
 * Thread  any.  *out is set before a callback can run.
 * Calls   nothing before it returns.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP  the URL or an option is wrong; opts->why says where.
 *         OUTLET_EADDRINUSE, OUTLET_EADDR, OUTLET_EPERM, OUTLET_ENOFILE, OUTLET_ERESOLVE
 *         OUTLET_ENOMEM, OUTLET_ELIMIT, OUTLET_ESYS, OUTLET_ESTATE
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_listen(outlet_loop *loop, const char *url, const struct outlet_opts *opts,
              outlet_listener *out);

/**
 * Stop listening.  Connections stay; those of udp go on until they close.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.  The address is free again when the reactors have run.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_listener_close(outlet_listener l);

/**
 * A fact about a listener, as text.  Keys: url (with the port that was picked) local transport
 * driver connections accepted refused dropped.
 *
 * Memory  copies into `text`.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  OUTLET_ENOENT, OUTLET_ESTALE
 */
OUTLET_API int64_t
outlet_listener_info(outlet_listener l, const char *key, char *text, size_t room);

/**
 * The listener that a connection came from; id 0 when it was made by connect.
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
