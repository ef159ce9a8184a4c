/*
 * visit.c - from a handle to its connection, on whichever thread.
 *
 * For the connection that is being delivered to this is one compare, on its own reactor two loads
 * more.  Elsewhere the visitor enters
 * the reactor's cell first, and may only look at published fields and post mail.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

bool
ol_visit_begin(outlet_conn handle, struct ol_visit *v)
{
    struct ol_handle h;
    struct ol_reactor *here = ol_current();
    struct ol_net *n = here ? ol_net_of(here) : NULL;

    if (n && n->delivering && n->delivering->id == handle.id) {
        *v = (struct ol_visit){.reactor = here, .conn = n->delivering, .own = true};
        return true;
    }
    if (!ol_handle_unpack(handle.id, OL_KIND_CONN, &h))
        return false;
    v->own = here && here->cell->index == h.cell;
    if (v->own) {
        v->reactor = here;
    } else {
        v->cell = ol_cell_at(h.cell);
        v->reactor = v->cell ? ol_enter(v->cell, &v->epoch) : NULL;
        if (!v->reactor)
            return false;
    }
    v->conn = v->reactor->net ? ol_slot_get(&v->reactor->slots[OL_KIND_CONN], h.slot, h.generation)
                              : NULL;
    if (v->conn)
        return true;
    ol_visit_end(v);
    return false;
}

void
ol_visit_end(struct ol_visit *v)
{
    if (!v->own)
        ol_leave(v->cell, v->epoch);
}

struct ol_conn *
ol_conn_find(struct ol_reactor *r, uint64_t id)
{
    struct ol_handle h;

    if (!ol_handle_unpack(id, OL_KIND_CONN, &h) || h.cell != r->cell->index)
        return NULL;
    return ol_slot_get(&r->slots[OL_KIND_CONN], h.slot, h.generation);
}

static void
run(struct ol_reactor *r, struct ol_mail *mail)
{
    struct ol_conn_mail *m = OL_CONTAINER(mail, struct ol_conn_mail, mail);
    struct ol_conn *c = ol_conn_find(r, m->id);

    if (c)
        m->run(c, m);
    else if (m->gone)
        m->gone(r, m);
    ol_free(r->heap, m);
}

void
ol_conn_post(struct ol_reactor *r, struct ol_conn_mail *m)
{
    m->mail.run = run;
    ol_post(r, &m->mail);
}
