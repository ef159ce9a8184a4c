/*
 * group.h - a named set of connections, and one send to all of them.
 *
 * A group is a string.  It exists while someone is in it.  A publish is encoded once per framing,
 * posted once per reactor, and shares its bytes between all members.
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
 * Put a connection into a group.  Being in it twice is being in it once.  Closing leaves all
 * groups.
 *
 * Memory  copies `group` (1 to 255 bytes).
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL, OUTLET_ESTALE, OUTLET_ENOMEM
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
 * kept per publishing thread and member.  A member whose queue is full follows its own `full`
 * policy; with "refuse" it misses this message and the drop is counted.
 *
 * Memory  takes a reference of its own; the caller keeps theirs.
 * Thread  any, posts.
 * Calls   nothing before it returns.
 * Errors  OUTLET_EINVAL, OUTLET_ENOMEM, OUTLET_ESTATE
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_publish(outlet_loop *loop, const char *group, outlet_buf *b, outlet_conn except);

/**
 * How many connections are in a group.
 *
 * Memory  keeps nothing.
 * Thread  any, reads.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL
 */
OUTLET_API int64_t
outlet_group_count(outlet_loop *loop, const char *group);

#ifdef __cplusplus
}
#endif
#endif
