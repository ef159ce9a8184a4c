/*
 * dial.c - connecting: each address in turn until one answers.
 *
 * A failed attempt closes its link first; the next one begins when the driver has said so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "hosts.h"

#include <errno.h>

void
ol_dial_free(struct ol_reactor *r, struct ol_dial *d)
{
    if (d && d->given)
        r->ops->discard(r->driver, d->given, false);
    ol_free(r->heap, d);
}

void
ol_dial_done(struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);

    if (!extra)
        return;
    ol_dial_free(c->cold->reactor, extra->dial);
    extra->dial = NULL;
}

/* Both ends are sockets of this process: one for us, one for whoever listens under that name. */
static int
plug_in(struct ol_conn *c, const struct ol_addr *name)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_net_loop *nl = r->loop->net;
    int32_t tokens[2];
    int result = -ECONNREFUSED;

    pthread_mutex_lock(&r->loop->lock);
    for (struct ol_list *n = nl->ports.next; n != &nl->ports; n = n->next) {
        struct ol_pair_port *p = OL_CONTAINER(n, struct ol_pair_port, node);

        if (p->name_len != name->path_len || memcmp(p->name, name->path, p->name_len) != 0)
            continue;
        result = r->ops->pair(r->driver, tokens);
        if (result < 0)
            break;
        if (!p->arrived(p, tokens[1])) {
            r->ops->discard(r->driver, tokens[1], false);
            r->ops->discard(r->driver, tokens[0], false);
            result = -ENOMEM;
            break;
        }
        result = r->ops->adopt(r->driver, &c->link, OL_LINK_STREAM, tokens[0]);
        if (result < 0)
            r->ops->discard(r->driver, tokens[0], false);
        break;
    }
    pthread_mutex_unlock(&r->loop->lock);
    return result;
}

static void
dial_pair(struct ol_conn *c)
{
    struct ol_dial *d = atomic_load(&c->cold->extra)->dial;
    int sys = plug_in(c, &d->addrs[0]);

    ol_dial_done(c);
    if (sys < 0) {
        ol_conn_fail(c, -sys);
        ol_conn_closed(c);
        return;
    }
    c->flags |= CONN_LINKED;
    ol_conn_linked_up(c);
}

void
ol_conn_dial(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_dial *d = atomic_load(&c->cold->extra)->dial;

    if (r->stopping || atomic_load(&r->loop->draining))
        ol_conn_break(c, CAUSE_STOP, OUTLET_ECANCELED, OUTLET_BY_US);
    if (ol_conn_state(c) != CONN_NONE) {
        ol_dial_done(c); /* closed before it began: only the telling is left */
        ol_conn_closed(c);
        return;
    }
    ol_conn_move(c, CONN_DIALING);
    ol_conn_limits_start(c);
    if (ol_conn_settings(c)->scheme == OL_SCHEME_PAIR) {
        dial_pair(c);
        return;
    }
    if (d->count == 0 && d->others)
        ol_cause_set(c, CAUSE_LOCAL_FAMILY, OUTLET_EADDR, OUTLET_BY_SYSTEM, 0);
    else if (d->count == 0)
        ol_cause_set(c, CAUSE_RESOLVE, OUTLET_ERESOLVE, OUTLET_BY_SYSTEM, 0);
    ol_dial_next(c);
}

/* udp: the kernel's word for a broadcast address that we may not use; it knows those of subnets. */
static enum ol_cause
cannot_connect(const struct ol_conn *c, int sys_errno)
{
    return sys_errno == EACCES && !ol_conn_settings(c)->transport->stream ? CAUSE_BROADCAST
                                                                          : CAUSE_SYSTEM;
}

/* What failed before anything was sent is about our own end. */
static enum ol_cause
cannot_open(const struct ol_conn *c, const struct ol_dial *d, int sys_errno)
{
    const struct ol_settings *s = ol_conn_settings(c);

    if (sys_errno == EPERM && s->tuning.device[0])
        return CAUSE_DEVICE;
    if ((sys_errno == EADDRINUSE || sys_errno == EADDRNOTAVAIL) &&
        (d->local.kind != OL_ADDR_NONE || d->local.port))
        return CAUSE_LOCAL;
    return cannot_connect(c, sys_errno);
}

/* The connection is DIALING, without a link. */
void
ol_dial_next(struct ol_conn *c)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);
    struct ol_dial *d = extra->dial;
    struct ol_reactor *r = c->cold->reactor;
    const struct ol_settings *s = ol_conn_settings(c);

    while (ol_conn_state(c) == CONN_DIALING && d->next < d->count) {
        struct ol_connect_spec spec = {.kind = s->transport->link,
                                       .given = d->given,
                                       .many = s->transport->many,
                                       .to = d->addrs[d->next],
                                       .local = d->local,
                                       .tuning = s->tuning};
        int sys = r->ops->connect(r->driver, &c->link, &spec);

        d->given = 0;
        ol_shown_addr_set(&c->cold->peer, &spec.to);
        d->next++;
        if (sys == 0) {
            c->flags |= CONN_LINKED;
            return;
        }
        if (d->next == d->count)
            ol_cause_set(c, cannot_open(c, d, -sys), ol_err_from_errno(-sys), OUTLET_BY_SYSTEM,
                         -sys);
    }
    ol_dial_done(c);
    ol_conn_closed(c);
}

void
ol_dial_connected(struct ol_conn *c, int32_t result)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_dial *d = atomic_load(&c->cold->extra)->dial;
    struct ol_addr local;

    if (ol_conn_state(c) != CONN_DIALING)
        return; /* closed meanwhile; OL_CLOSED will follow */
    if (result < 0) {
        /* The last one's failure is the reason, and closed() finds no other address. */
        if (d->next == d->count)
            ol_cause_set(c, cannot_connect(c, -result), ol_err_from_errno(-result),
                         result == -ECONNREFUSED ? OUTLET_BY_PEER : OUTLET_BY_SYSTEM, -result);
        c->flags &= (uint16_t)~CONN_LINKED; /* being closed: an abort now must not do it again */
        r->ops->close(r->driver, &c->link, false);
        return;
    }
    if (r->ops->address(r->driver, &c->link, false, &local) == 0) {
        if (ol_conn_settings(c)->transport->link == OL_LINK_LOCAL)
            ol_conn_name_addr(c, OL_OF_US, &local); /* the kernel picked it */
        ol_shown_addr_set(&c->cold->local, &local);
    }
    ol_dial_done(c);
    ol_conn_linked_up(c);
}

/* ---- which addresses --------------------------------------------------------------------- */

static struct ol_addr
loopback(bool v6, uint16_t port)
{
    struct ol_addr a = {.kind = v6 ? OL_ADDR_V6 : OL_ADDR_V4, .port = port};

    if (v6) {
        a.ip[15] = 1;
    } else {
        a.ip[0] = 127;
        a.ip[3] = 1;
    }
    return a;
}

void
ol_dial_fill(struct ol_dial *d, const struct ol_endpoint *e)
{
    int count = ol_endpoint_addrs(e, d->addrs, OL_DIAL_ADDRS);

    d->local = e->local;
    for (int i = 0; i < count; i++) {
        if (d->local.kind == OL_ADDR_NONE || d->addrs[i].kind == d->local.kind)
            d->addrs[d->count++] = d->addrs[i];
    }
    d->others = count - d->count;
}

int
ol_endpoint_addrs(const struct ol_endpoint *e, struct ol_addr *out, int max)
{
    int n;

    if (e->has_literal) {
        out[0] = e->addr;
        return 1;
    }
    if (e->loopback) {
        out[0] = loopback(false, e->port);
        out[1] = loopback(true, e->port);
        return 2;
    }
    if (e->any_host) {
        out[0] = (struct ol_addr){.kind = OL_ADDR_V4, .port = e->port};
        out[1] = (struct ol_addr){.kind = OL_ADDR_V6, .port = e->port};
        return 2;
    }
    n = ol_hosts_find(e->host, out, max);
    for (int i = 0; i < n; i++) {
        out[i].port = e->port;
    }
    return n;
}
