/*
 * pair.c - outlet_pair(): two connections of this process, plugged into each other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net/conn/conn.h"

struct pair_mail {
    struct ol_mail mail;
    struct ol_conn *ends[2];
};

static void
plug(struct ol_reactor *r, struct ol_conn *ends[2])
{
    int32_t tokens[2];
    int sys = r->ops->pair(r->driver, tokens);

    for (int i = 0; i < 2 && sys == 0; i++) {
        sys = r->ops->adopt(r->driver, &ends[i]->link, OL_LINK_STREAM, tokens[i]);
        if (sys == 0)
            ends[i]->flags |= CONN_LINKED;
        else
            for (int k = i; k < 2; k++) {
                r->ops->discard(r->driver, tokens[k], false);
            }
    }
    for (int i = 0; i < 2 && sys < 0; i++) {
        bool linked = ends[i]->flags & CONN_LINKED;

        ol_conn_fail(ends[i], -sys);
        if (!linked)
            ol_conn_closed(ends[i]);
    }
    for (int i = 0; i < 2 && sys == 0; i++) {
        if (ol_conn_state(ends[i]) == CONN_NONE)
            ol_conn_linked_up(ends[i]);
    }
}

static void
run(struct ol_reactor *r, struct ol_mail *mail)
{
    struct pair_mail *m = OL_CONTAINER(mail, struct pair_mail, mail);
    struct ol_conn *ends[2] = {m->ends[0], m->ends[1]};
    bool alive = true;

    ol_free(r->heap, m);
    for (int i = 0; i < 2; i++) {
        ol_conn_begin(ends[i]);
        if (r->stopping || atomic_load(&r->loop->draining))
            ol_conn_break(ends[i], CAUSE_STOP, OUTLET_ECANCELED, OUTLET_BY_US);
        alive = alive && ol_conn_state(ends[i]) == CONN_NONE;
    }
    if (alive) {
        plug(r, ends);
        return;
    }
    /* One was closed before it began; without it the other has nobody to talk to. */
    for (int i = 0; i < 2; i++) {
        ol_conn_break(ends[i], CAUSE_PEER, OUTLET_OK, OUTLET_BY_PEER);
        ol_conn_closed(ends[i]);
    }
}

static outlet_err
make(struct ol_reactor *r, struct ol_settings *s, outlet_conn *a, outlet_conn *b)
{
    struct pair_mail *m = ol_alloc_zero(r->heap, sizeof *m);
    outlet_err err;

    if (!m)
        return OUTLET_ENOMEM;
    err = ol_conn_new(r, s, s->user, &m->ends[0]);
    if (err)
        goto free_mail;
    err = ol_conn_new(r, s, s->user, &m->ends[1]);
    if (err)
        goto discard_first;
    m->mail.run = run;
    *a = ol_conn_handle(m->ends[0]);
    *b = ol_conn_handle(m->ends[1]);
    ol_conn_publish(m->ends[0]);
    ol_conn_publish(m->ends[1]);
    ol_post(r, &m->mail);
    return OUTLET_OK;

discard_first:
    ol_conn_discard(m->ends[0]);
free_mail:
    ol_free(r->heap, m);
    return err;
}

outlet_err
outlet_pair(outlet_loop *l, const char *url, const struct outlet_opts *opts, outlet_conn *a,
            outlet_conn *b)
{
    struct outlet_reason *why = ol_why_of(opts);
    struct ol_endpoint e;
    struct ol_settings *s;
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = url && a && b ? ol_loop_check(l) : OUTLET_EINVAL;

    if (!err)
        err = ol_endpoint_parse(url, OUTLET_TO_CONNECT, opts, &e, why);
    if (!err && e.scheme != OL_SCHEME_PAIR)
        err = OUTLET_EINVAL;
    if (!err)
        err = ol_loop_attach(l, &ol_net_hooks);
    if (!err)
        err = ol_settings_new(l, &e, why, &s);
    if (err)
        return ol_why_fail(why, err);
    r = ol_loop_pick(l, false);
    err = OUTLET_ESTATE;
    if (ol_enter(r->cell, &epoch)) {
        err = make(r, s, a, b);
        ol_leave(r->cell, epoch);
    }
    ol_settings_unref(s);
    return ol_why_fail(why, err);
}
