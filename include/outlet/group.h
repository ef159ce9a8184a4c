/*
 * group.h - a named set of connections, and one send to all of them.
 *
 *     outlet_join --> (outlet_publish --> a message to each member)* --> outlet_leave, or its close
 *
 * A group is a string, within one loop.  It exists while someone is in it.  A publish is posted
 * once per reactor, encoded there once per framing, and shares its bytes between the members; below
 * 1 KiB copying them costs less and is what happens.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_GROUP_H
#define OUTLET_GROUP_H

#include "conn.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Put a connection into a group.  Being in it twice is being in it once.  Its end leaves all
 * groups, before on_close is called.
 *
 * Memory  copies `group` (1 to 255 bytes).
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL, OUTLET_ESTALE, OUTLET_ENOMEM
 *         OUTLET_ESTATE  closing; only told on its own reactor.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_join(outlet_conn c, const char *group);

/**
 * Take a connection out of a group; NULL is all of them.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL, OUTLET_ESTALE, OUTLET_ENOMEM
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_leave(outlet_conn c, const char *group);

/**
 * Send a buffer to everyone in a group, but not to `except` (id 0: nobody is spared).  Order is
 * kept per publishing thread and member.  Each member's own framing and limits apply: one whose
 * queue is full follows its `full` policy, and one that cannot get it (full with "refuse", closing,
 * a framing that cannot carry these bytes) misses it, which its fact `dropped` counts.
 *
 * Memory  takes a reference of its own; the caller keeps theirs.
 * Thread  any, posts.
 * Calls   nothing before it returns.
 * Errors  OUTLET_EINVAL, OUTLET_ENOMEM
 *         OUTLET_ESTATE  the loop has been stopped.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_publish(outlet_loop *loop, const char *group, outlet_buf *b, outlet_conn except);

/**
 * How many connections are in a group, on all reactors.
 *
 * Memory  keeps nothing.
 * Thread  any, reads; takes a short lock on the loop's names.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL
 */
OUTLET_API int64_t
outlet_group_count(outlet_loop *loop, const char *group);

#ifdef __cplusplus
}
#endif
#endif
