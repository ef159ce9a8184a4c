/*
 * msg.h - a message while it is lent to a callback.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_MSG_H
#define OL_MSG_H

#include "conn.h"

struct outlet_msg {
    uint8_t *bytes;
    size_t len;
    uint32_t flags;
    struct ol_conn *conn;
    const struct ol_addr *from; /* NULL: the connection's peer */
    const struct ol_lent *lent; /* it lies in a driver's block, or ... */
    struct ol_input *input;     /* ... in the connection's own held bytes */
    struct outlet_buf *kept;    /* the first retain, which later ones share */
};

#endif
