/*
 * watch.c - the public watches: a foreign descriptor behind a handle.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <errno.h>
#include <sys/stat.h>

struct watch {
    struct ol_link link;
    struct ol_retired retired;
    struct ol_reactor *reactor;
    void (*fn)(outlet_watch w, int events, void *arg);
    void *arg;
    uint64_t id;
    uint32_t slot;
    int fd;
    unsigned events;
    bool stopped; /* its handle is stale; the link is being closed */
    bool linked;
};

struct watch_mail {
    struct ol_mail mail;
    uint64_t id;
    bool start;
};

static struct watch *
watch_of(struct ol_reactor *r, uint64_t id)
{
    struct ol_handle h;

    if (!ol_handle_unpack(id, OL_KIND_WATCH, &h) || h.cell != r->cell->index)
        return NULL;
    return ol_slot_get(&r->slots[OL_KIND_WATCH], h.slot, h.generation);
}

static void
destroy(struct ol_reactor *r, struct ol_retired *x)
{
    struct watch *w = OL_CONTAINER(x, struct watch, retired);

    ol_slot_give_back(&r->slots[OL_KIND_WATCH], w->slot);
}

static void
stop(struct ol_reactor *r, struct watch *w)
{
    OL_ASSERT(!w->stopped);
    w->stopped = true;
    ol_slot_hide(&r->slots[OL_KIND_WATCH], w->slot);
    if (w->linked) {
        r->ops->close(r->driver, &w->link, false);
    } else {
        ol_retire(r, &w->retired, destroy);
    }
}

static void
complete(struct ol_link *l, struct ol_completion *c)
{
    struct watch *w = OL_CONTAINER(l, struct watch, link);
    struct ol_reactor *r = w->reactor;

    if (c->kind == OL_CLOSED) {
        r->live--;
        ol_retire(r, &w->retired, destroy);
        return;
    }
    if (w->stopped)
        return;
    if (c->result < 0) {
        int code = ol_err_from_errno(-c->result);

        stop(r, w);
        w->fn((outlet_watch){w->id}, code, w->arg);
        return;
    }
    w->fn((outlet_watch){w->id}, c->result, w->arg);
}

static const struct ol_link_ops link_ops = {.complete = complete};

static void
start(struct ol_reactor *r, struct watch *w)
{
    int sys = r->stopping ? -ECANCELED : r->ops->watch(r->driver, &w->link, w->fd, w->events);

    if (sys < 0) {
        int code = ol_err_from_errno(-sys);

        stop(r, w);
        w->fn((outlet_watch){w->id}, code, w->arg);
        return;
    }
    w->linked = true;
    r->live++;
}

static void
run_mail(struct ol_reactor *r, struct ol_mail *m)
{
    struct watch_mail *mail = OL_CONTAINER(m, struct watch_mail, mail);
    struct watch *w = watch_of(r, mail->id);

    if (w && mail->start) {
        start(r, w);
    } else if (w) {
        stop(r, w);
    }
    ol_free(r->heap, mail);
}

static outlet_err
mail_stop(struct ol_reactor *r, uint64_t id)
{
    struct watch_mail *m = ol_alloc(r->heap, sizeof *m);

    if (!m)
        return OUTLET_ENOMEM;
    *m = (struct watch_mail){.mail.run = run_mail, .id = id};
    ol_post(r, &m->mail);
    return OUTLET_OK;
}

/* The start is posted even on the own reactor: a failure is told by a call of fn, which must not
 * happen before this returns. */
static outlet_err
make(struct ol_reactor *r, struct watch what, outlet_watch *out)
{
    struct ol_slots *slots = &r->slots[OL_KIND_WATCH];
    struct ol_handle h = {.kind = OL_KIND_WATCH, .cell = r->cell->index};
    struct watch_mail *m = ol_alloc(r->heap, sizeof *m);
    void *hot;
    void *cold;
    struct watch *w;
    outlet_err err;

    if (!m)
        return OUTLET_ENOMEM;
    err = ol_slot_take(slots, &h.slot, &h.generation, &hot, &cold);
    if (err) {
        ol_free(r->heap, m);
        return err;
    }
    w = hot;
    *w = what;
    w->reactor = r;
    w->slot = h.slot;
    w->id = ol_handle_pack(h);
    out->id = w->id; /* before the mail: fn may run at once */
    *m = (struct watch_mail){.mail.run = run_mail, .id = w->id, .start = true};
    ol_slot_publish(slots, h.slot);
    ol_post(r, &m->mail);
    return OUTLET_OK;
}

outlet_err
outlet_watch_start(outlet_loop *l, int fd, unsigned events,
                   void (*fn)(outlet_watch w, int events, void *arg), void *arg, outlet_watch *out)
{
    struct watch what = {.link.ops = &link_ops, .fn = fn, .arg = arg, .fd = fd, .events = events};
    struct stat st;
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = ol_loop_check(l);

    if (err)
        return err;
    if (!fn || !out || !events || events & ~(unsigned)(OUTLET_READABLE | OUTLET_WRITABLE))
        return OUTLET_EINVAL;
    if (l->world)
        return OUTLET_ENOTSUP;
    if (fstat(fd, &st) < 0)
        return OUTLET_EINVAL;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return OUTLET_ENOTSUP;
    r = ol_loop_pick(l, true);
    if (!ol_enter(r->cell, &epoch))
        return OUTLET_ESTATE;
    err = make(r, what, out);
    ol_leave(r->cell, epoch);
    return err;
}

outlet_err
outlet_watch_stop(outlet_watch handle)
{
    struct ol_handle h;
    struct ol_cell *c;
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = OUTLET_ESTALE;

    if (!ol_handle_unpack(handle.id, OL_KIND_WATCH, &h) || !(c = ol_cell_at(h.cell)))
        return OUTLET_ESTALE;
    r = ol_enter(c, &epoch);
    if (!r)
        return OUTLET_ESTALE;
    if (watch_of(r, handle.id)) {
        if (ol_current() == r) {
            stop(r, watch_of(r, handle.id));
            err = OUTLET_OK;
        } else {
            err = mail_stop(r, handle.id);
        }
    }
    ol_leave(c, epoch);
    return err;
}

void
ol_watches_stop(struct ol_reactor *r)
{
    struct ol_slots *slots = &r->slots[OL_KIND_WATCH];
    uint32_t made = ol_slots_made(slots);

    for (uint32_t slot = 0; slot < made; slot++) {
        uint32_t generation;
        struct watch *w = ol_slot_peek(slots, slot, &generation);

        if (w && w->linked)
            stop(r, w);
    }
}

outlet_err
ol_watches_init(struct ol_reactor *r)
{
    return ol_slots_init(&r->slots[OL_KIND_WATCH], r->cell->generations[OL_KIND_WATCH], r->heap,
                         sizeof(struct watch), 0);
}
