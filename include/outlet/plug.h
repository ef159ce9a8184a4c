/*
 * plug.h - two connections plugged together: what one receives the other sends.
 *
 *     outlet_relay(a, b)
 *
 *     a receives --> on_message of a, if there is one --> b sends --> on_message of b ... the same
 *     a's peer ends ------------------------------------> b's sending side ends
 *     a closes in order --------------------------------> b is closed in order, too
 *     a ends in any other way --------------------------> b is aborted
 *
 * Any transport to any, on one reactor or on two, also of two loops.  Messages stay messages where
 * both have borders; bytes without borders become messages of whatever length they came in, and
 * messages without framing on the other side become bytes.
 *
 * While the queue of one is above its `high`, the other is not read: neither grows without a limit,
 * and a stream loses nothing.  Datagrams that arrive meanwhile are lost, as datagrams may be.
 *
 * What a newcomer gets wrong: to close b in on_close of a.  That has happened.  The callbacks of
 * both go on: open, event, writable, close, each with its own reason, and on_message sees each
 * message before it is passed on, which is the place to count, record or change it.  Leave it NULL
 * when that is not wanted: then nothing is called for each message.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_PLUG_H
#define OUTLET_PLUG_H

#include "conn.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Relay between `a` and `b` until one of them ends.  Neither has to be open yet: what is sent to
 * one that is still connecting waits in its queue.
 *
 * The end of a peer's sending side is passed on whatever `half_open` says, where both transports
 * have a half-close.  Where the other one has none, it may still answer: the two are closed once
 * nothing has moved for `flush_ms`.  A message that the other side cannot carry (too long, or its
 * framing cannot) aborts both with OUTLET_EMSGSIZE or OUTLET_EINVAL; a datagram that arrived
 * without its tail is not passed on, and counted as dropped.
 *
 * From another thread than a connection's own, what arrived before the order is there goes to
 * on_message alone: whoever relays so pauses the connection in on_open and resumes it afterwards.
 *
 * Memory  keeps nothing of the caller's; one message may be held beside the two queues.
 * Thread  any, posts; on the own reactor of a connection its next message is relayed already.
 * Calls   nothing itself.
 * Errors  OUTLET_EEXIST  one of them is relayed already.
 *         OUTLET_EINVAL  a and b are the same connection.
 *         OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_relay(outlet_conn a, outlet_conn b);

#ifdef __cplusplus
}
#endif
#endif
