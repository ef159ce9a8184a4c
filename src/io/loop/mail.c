/*
 * mail.c - how other threads reach a reactor, and how what they look at is freed.
 *
 * A visitor announces itself in the cell's current epoch before it looks at anything, and leaves
 * within microseconds.  What the reactor retires is freed when everyone who could have seen it has
 * left: the epoch moves on, and those of the one before are waited for.  Neither side ever waits
 * for the other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

struct ol_reactor *
ol_enter(struct ol_cell *c, uint32_t *epoch)
{
    struct ol_reactor *r;

    for (;;) {
        uint32_t e = atomic_load(&c->epoch);

        atomic_fetch_add(&c->visitors[e & 1], 1);
        if (atomic_load(&c->epoch) == e) {
            *epoch = e;
            break;
        }
        /* The epoch moved on between the two: announced in the wrong one. */
        atomic_fetch_sub(&c->visitors[e & 1], 1);
    }
    r = atomic_load(&c->reactor);
    if (!r)
        ol_leave(c, *epoch);
    return r;
}

void
ol_leave(struct ol_cell *c, uint32_t epoch)
{
    atomic_fetch_sub(&c->visitors[epoch & 1], 1);
}

void
ol_post(struct ol_reactor *r, struct ol_mail *m)
{
    struct ol_mail *head = atomic_load_explicit(&r->cell->mail, memory_order_relaxed);

    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak(&r->cell->mail, &head, m));
    /* On the own reactor the turn looks before it waits.  If there was mail already, whoever put it
     * there has woken it. */
    if (!head && ol_current() != r)
        r->ops->wake(r->driver);
}

bool
ol_mail_run(struct ol_reactor *r)
{
    struct ol_mail *newest;
    struct ol_mail *oldest = NULL;

    if (!atomic_load_explicit(&r->cell->mail, memory_order_relaxed))
        return false;
    newest = atomic_exchange(&r->cell->mail, NULL);
    while (newest) {
        struct ol_mail *m = newest;

        newest = m->next;
        m->next = oldest;
        oldest = m;
    }
    while (oldest) {
        struct ol_mail *m = oldest;

        oldest = m->next;
        m->run(r, m);
        OL_ASSERT(ol_current() == r); /* see ol_reactor_turn() */
    }
    return true;
}

void
ol_retire(struct ol_reactor *r, struct ol_retired *x,
          void (*destroy)(struct ol_reactor *r, struct ol_retired *x))
{
    x->destroy = destroy;
    x->next = r->retired_now;
    r->retired_now = x;
}

static void
destroy_all(struct ol_reactor *r, struct ol_retired *x)
{
    while (x) {
        struct ol_retired *next = x->next;

        x->destroy(r, x);
        x = next;
    }
}

/* Visitors of the other parity came before the last flip; once they are gone nobody can see what
 * was retired before it. */
static bool
has_early_visitors(const struct ol_cell *c)
{
    return atomic_load(&c->visitors[(atomic_load(&c->epoch) + 1) & 1]) > 0;
}

static void
destroy_before(struct ol_reactor *r)
{
    struct ol_retired *before = r->retired_before;

    r->retired_before = NULL;
    destroy_all(r, before);
}

/*
 * Mostly nobody is inside, and all of it goes at once.  What is left for a later turn makes this
 * one wait with a deadline, and a timer that the kernel sets for each wait costs a server of short
 * connections 7 % of its time.
 */
void
ol_retired_run(struct ol_reactor *r)
{
    struct ol_cell *c = r->cell;

    if (has_early_visitors(c))
        return;
    destroy_before(r);
    r->retired_before = r->retired_now;
    r->retired_now = NULL;
    atomic_store(&c->epoch, atomic_load(&c->epoch) + 1);
    if (!has_early_visitors(c))
        destroy_before(r);
}

void
ol_retired_flush(struct ol_reactor *r)
{
    struct ol_retired *now = r->retired_now;

    r->retired_now = NULL;
    destroy_before(r);
    destroy_all(r, now);
}
