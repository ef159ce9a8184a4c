/*
 * wire.c - the short way out: its memory, and its end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "wire.h"

#include <errno.h>

outlet_err
ol_wire_init(struct ol_net *n)
{
    n->wire = (struct ol_wire){0};
    if (n->reactor->driver->gathers)
        return OUTLET_OK;
    n->wire.bytes = ol_alloc(n->reactor->heap, OL_WIRE_ROOM);
    return n->wire.bytes ? OUTLET_OK : OUTLET_ENOMEM;
}

void
ol_wire_fini(struct ol_net *n)
{
    ol_free(n->reactor->heap, n->wire.bytes);
    n->wire = (struct ol_wire){0};
}

void
ol_wire_flush(struct ol_wire *w)
{
    struct ol_conn *c = w->conn;
    struct iovec all = {w->bytes, w->used};
    int64_t sent;

    ol_wire_close(w);
    if (!all.iov_len)
        return;
    sent = ol_conn_settings(c)->transport->send_now(c, &all, 1);
    if (sent < 0 && sent != -EAGAIN) {
        ol_conn_fail(c, (int)-sent);
        return;
    }
    if (sent > 0) {
        ol_count_add(&c->bytes_out, sent); /* `active` was set by what is being answered */
        all.iov_base = w->bytes + sent;
        all.iov_len -= (size_t)sent;
    }
    if (all.iov_len)
        ol_conn_queue_rest(c, &all);
}
