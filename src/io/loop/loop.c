/*
 * loop.c - the public loop: made, run in one of three ways, drained or stopped, freed.
 *
 * Stop is a message to every reactor.  Each aborts what it has, turns until the last link is closed
 * (so that every connection got its on_close), and ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { REACTORS_MAX = 1024, DRAIN_MS = 30000, BUSY_POLL_US_MAX = 1000000 };

/* ---- made -------------------------------------------------------------------------------- */

static int64_t
half_of_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (int64_t)pages / 2 * page : INT64_C(1) << 30;
}

static int64_t
core_count(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static const struct ol_driver_ops *
driver_named(const char *name)
{
    if (strcmp(name, "epoll") == 0)
        return &ol_driver_epoll;
    if (strcmp(name, "uring") == 0)
        return &ol_driver_uring;
    if (strcmp(name, "sim") == 0)
        return &ol_driver_sim;
    return NULL;
}

static outlet_err
open_reactors(struct outlet_loop *l, const struct ol_driver_ops *ops)
{
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        outlet_err err = ol_reactor_open(l, i, ops, &l->reactors[i]);

        if (err) {
            while (i-- > 0) {
                ol_reactor_free(l->reactors[i]);
                l->reactors[i] = NULL;
            }
            return err;
        }
    }
    l->driver_name = ops->name;
    return OUTLET_OK;
}

/*
 * A driver named by the program must work; one named by the environment, or the default, may be
 * missing here, and then epoll takes its place: with one line in the log if somebody asked for it.
 */
static outlet_err
choose_driver(struct outlet_loop *l, const char *named, bool is_busy)
{
    bool is_named = named && *named; /* "": nothing was asked for */
    const char *wish = is_named ? named : getenv("OUTLET_DRIVER");
    /* What measures best: docs/benchmark.md. */
    const struct ol_driver_ops *ops = is_busy ? &ol_driver_epoll : &ol_driver_uring;
    outlet_err err;

    if (l->world)
        wish = "sim";
    if (wish && *wish) {
        ops = driver_named(wish);
        if (!ops || (ops == &ol_driver_sim && !l->world)) {
            ol_log(&l->log, OUTLET_LOG_ERROR, "there is no driver \"%s\": use epoll or uring",
                   wish);
            return OUTLET_EINVAL;
        }
    }
    err = open_reactors(l, ops);
    if (err && ops == &ol_driver_uring && !is_named) {
        ol_log(&l->log, wish && *wish ? OUTLET_LOG_WARN : OUTLET_LOG_DEBUG,
               "io_uring is missing or forbidden on this system: using epoll instead");
        err = open_reactors(l, &ol_driver_epoll);
    }
    return err;
}

static outlet_err
check_opts(const struct outlet_loop_opts *in, struct outlet_loop_opts *o)
{
    bool allocator_partly;

    *o = (struct outlet_loop_opts)OUTLET_LOOP_OPTS;
    if (in) {
        if (in->size < sizeof(size_t) || in->size > sizeof *o)
            return OUTLET_EINVAL;
        memcpy(o, in, in->size);
    }
    allocator_partly = !o->allocator.alloc != !o->allocator.resize ||
                       !o->allocator.alloc != !o->allocator.release;
    if (allocator_partly || o->memory_max < -1 || o->threads < OUTLET_PER_CORE ||
        o->threads > REACTORS_MAX || o->busy_poll_us < 0 || o->busy_poll_us > BUSY_POLL_US_MAX)
        return OUTLET_EINVAL;
    if (o->threads == 0)
        o->threads = 1;
    if (o->threads == OUTLET_PER_CORE)
        o->threads = core_count();
    if (o->memory_max == 0)
        o->memory_max = half_of_memory();
    if (o->memory_max == -1)
        o->memory_max = INT64_MAX;
    return OUTLET_OK;
}

outlet_err
ol_loop_new_in(struct outlet_loop **out, const struct outlet_loop_opts *opts, struct ol_sim *world)
{
    struct outlet_loop_opts o;
    struct outlet_loop *l;
    ol_heap heap;
    bool is_crowded;
    outlet_err err = check_opts(opts, &o);

    if (err)
        return err;
    heap = o.allocator.alloc ? o.allocator : ol_heap_system;
    l = ol_alloc_zero(&heap, sizeof *l);
    if (!l)
        return OUTLET_ENOMEM;
    l->heap = heap;
    l->log = (struct ol_log){.line = o.log, .user = o.log_user};
    l->reactor_count = (uint32_t)o.threads;
    l->world = world;
    l->fork_count = ol_fork_count();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->ended, NULL);
    err = OUTLET_ENOMEM;
    if (!world && o.driver && strcmp(o.driver, "sim") == 0) {
        l->world = ol_sim_new(&l->heap, o.sim_seed, NULL);
        l->owns_world = true;
        if (!l->world)
            goto free_loop;
    }
    l->budget = ol_budget_new(&l->heap, o.memory_max);
    if (!l->budget)
        goto free_world;
    l->reactors = ol_alloc_zero(&l->heap, l->reactor_count * sizeof *l->reactors);
    if (!l->reactors)
        goto unref_budget;
    err = choose_driver(l, o.driver, o.busy_poll_us > 0);
    if (err)
        goto free_reactors;
    is_crowded = o.threads > core_count();
    for (uint32_t i = 0; i < l->reactor_count && !l->world; i++) {
        l->reactors[i]->busy_poll = o.busy_poll_us * (OL_MS / 1000);
        l->reactors[i]->is_crowded = is_crowded;
    }
    l->reactors[0]->ops->random(l->reactors[0]->driver, &l->hash_key, sizeof l->hash_key);
    *out = l;
    return OUTLET_OK;

free_reactors:
    ol_free(&l->heap, l->reactors);
unref_budget:
    ol_budget_unref(l->budget);
free_world:
    if (l->owns_world)
        ol_sim_free(l->world);
free_loop:
    pthread_cond_destroy(&l->ended);
    pthread_mutex_destroy(&l->lock);
    ol_free(&heap, l);
    return err;
}

outlet_err
outlet_loop_new(outlet_loop **out, const struct outlet_loop_opts *opts)
{
    return out ? ol_loop_new_in(out, opts, NULL) : OUTLET_EINVAL;
}

const char *
outlet_loop_driver(const outlet_loop *l)
{
    return l->driver_name;
}

/* ---- asked by the layers above ----------------------------------------------------------- */

outlet_err
ol_loop_check(struct outlet_loop *l)
{
    if (l->fork_count != ol_fork_count() || atomic_load(&l->stop_asked) ||
        atomic_load(&l->state) == OL_LOOP_ENDED)
        return OUTLET_ESTATE;
    return OUTLET_OK;
}

outlet_err
ol_loop_attach(struct outlet_loop *l, const struct ol_loop_hooks *hooks)
{
    outlet_err err = OUTLET_OK;

    if (atomic_load_explicit(&l->hooks, memory_order_acquire))
        return OUTLET_OK;
    pthread_mutex_lock(&l->lock);
    if (!atomic_load(&l->hooks)) {
        err = hooks->attach(l);
        if (!err)
            atomic_store_explicit(&l->hooks, hooks, memory_order_release);
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

struct ol_reactor *
ol_loop_pick(struct outlet_loop *l, bool first_only)
{
    struct ol_reactor *r = ol_current();

    if (r && r->loop == l)
        return r;
    if (first_only || l->reactor_count == 1)
        return l->reactors[0];
    return l->reactors[atomic_fetch_add_explicit(&l->next_reactor, 1, memory_order_relaxed) %
                       l->reactor_count];
}

struct ol_reactor *
ol_loop_reactor_of(struct outlet_loop *l, const struct ol_driver *d)
{
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        if (l->reactors[i]->driver == d)
            return l->reactors[i];
    }
    return NULL;
}

/* ---- stop and drain ---------------------------------------------------------------------- */

struct post {
    struct ol_mail mail;
    void (*fn)(void *arg);
    void *arg;
};

static void
begin_stop(struct ol_reactor *r)
{
    const struct ol_loop_hooks *hooks = atomic_load(&r->loop->hooks);

    if (r->stopping)
        return;
    r->stopping = true;
    ol_watches_stop(r);
    if (hooks)
        hooks->stop(r);
}

void
ol_loop_run_stop(struct ol_reactor *r, struct ol_mail *m)
{
    (void)m;
    begin_stop(r);
}

void
ol_loop_run_drain(struct ol_reactor *r, struct ol_mail *m)
{
    const struct ol_loop_hooks *hooks = atomic_load(&r->loop->hooks);

    (void)m;
    if (hooks && !r->stopping)
        hooks->drain(r);
}

/* Needs no memory: what ends a loop must not fail, or freeing it would wait for ever. */
static void
tell(struct ol_reactor *r, struct ol_mail *m)
{
    uint32_t epoch;

    if (!ol_enter(r->cell, &epoch))
        return; /* this one has ended already */
    ol_post(r, m);
    ol_leave(r->cell, epoch);
}

outlet_err
outlet_loop_stop(outlet_loop *l)
{
    if (l->fork_count != ol_fork_count() || atomic_exchange(&l->stop_asked, true))
        return OUTLET_ESTATE;
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        tell(l->reactors[i], &l->reactors[i]->stop_mail);
    }
    return OUTLET_OK;
}

static void
drain_deadline(struct ol_reactor *r, struct ol_alarm *a)
{
    (void)a;
    (void)outlet_loop_stop(r->loop); /* ESTATE: the last connection just ended by itself */
}

/* Each reactor reports once; the last one stops the loop. */
void
ol_loop_note_drained(struct ol_reactor *r)
{
    struct outlet_loop *l = r->loop;

    if (r->index == 0 && !r->stopping && !l->drain_deadline.fire) {
        l->drain_deadline.fire = drain_deadline;
        ol_alarm_set(r, &l->drain_deadline, ol_driver_now(r->driver) + l->drain_ms * OL_MS);
    }
    if (r->busy || r->drained)
        return;
    r->drained = true;
    if (atomic_fetch_add(&l->drained, 1) + 1 == l->reactor_count)
        drain_deadline(r, NULL);
}

outlet_err
outlet_loop_drain(outlet_loop *l, int64_t deadline_ms)
{
    outlet_err err = ol_loop_check(l);

    if (err)
        return err;
    if (deadline_ms < 0 || deadline_ms > INT64_MAX / OL_MS / 4)
        return OUTLET_EINVAL;
    pthread_mutex_lock(&l->lock);
    if (atomic_load(&l->draining)) {
        pthread_mutex_unlock(&l->lock);
        return OUTLET_ESTATE;
    }
    l->drain_ms = deadline_ms ? deadline_ms : DRAIN_MS;
    /* Before the mail: a reactor that has nothing to close will not turn a second time to notice.
     */
    atomic_store(&l->draining, true);
    pthread_mutex_unlock(&l->lock);
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        tell(l->reactors[i], &l->reactors[i]->drain_mail);
    }
    return OUTLET_OK;
}

/* ---- run, start, turn -------------------------------------------------------------------- */

static void
fail(struct ol_reactor *r, int sys)
{
    ol_log(&r->loop->log, OUTLET_LOG_ERROR, "the %s driver failed: %s", r->ops->name,
           strerror(-sys));
    r->failed = true;
    begin_stop(r);
    (void)outlet_loop_stop(r->loop); /* ESTATE: being stopped already */
}

static outlet_err
work(struct ol_reactor *r)
{
    int sys;

    while ((sys = ol_reactor_run(r)) < 0) {
        fail(r, sys);
    }
    ol_reactor_end(r);
    return r->failed ? OUTLET_ESYS : OUTLET_OK;
}

/* In the simulator time and order belong to the world. */
static outlet_err
work_in_world(struct outlet_loop *l)
{
    for (;;) {
        struct ol_driver *d = ol_sim_next(l->world, OL_NEVER);
        struct ol_reactor *r = d ? ol_loop_reactor_of(l, d) : NULL;
        bool all_done = true;

        if (r && ol_reactor_turn(r, 0) < 0)
            r->failed = true;
        for (uint32_t i = 0; i < l->reactor_count; i++) {
            all_done = all_done && ol_reactor_done(l->reactors[i]);
        }
        /* Nothing will ever happen again: what a real loop would sleep through for ever. */
        if (!d && !all_done) {
            (void)outlet_loop_stop(l); /* ESTATE: asked already */
            for (uint32_t i = 0; i < l->reactor_count; i++) {
                if (ol_reactor_turn(l->reactors[i], 0) < 0)
                    l->reactors[i]->failed = true;
            }
        }
        if (all_done)
            break;
    }
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        ol_reactor_end(l->reactors[i]);
    }
    return OUTLET_OK;
}

static void *
thread_main(void *arg)
{
    (void)work(arg); /* a failed driver was logged and stopped the loop */
    return NULL;
}

/* Signals belong to the program's own threads. */
static outlet_err
start_thread(struct ol_reactor *r)
{
    sigset_t all;
    sigset_t before;
    int sys;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sys = pthread_create(&r->thread, NULL, thread_main, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (sys)
        return OUTLET_ESYS;
    r->has_thread = true;
    return OUTLET_OK;
}

static void
join_all(struct outlet_loop *l)
{
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        if (l->reactors[i]->has_thread) {
            pthread_join(l->reactors[i]->thread, NULL);
            l->reactors[i]->has_thread = false;
        }
    }
}

static outlet_err
move_state(struct outlet_loop *l, enum ol_loop_state to)
{
    int from = OL_LOOP_NEW;

    if (l->fork_count != ol_fork_count())
        return OUTLET_ESTATE;
    /* What is left of a stopped loop is turned to its end, or ended by outlet_loop_free(). */
    if (to != OL_LOOP_TURNING && atomic_load(&l->stop_asked))
        return OUTLET_ESTATE;
    return atomic_compare_exchange_strong(&l->state, &from, to) ? OUTLET_OK : OUTLET_ESTATE;
}

static outlet_err
start_threads(struct outlet_loop *l, uint32_t first)
{
    for (uint32_t i = first; i < l->reactor_count; i++) {
        outlet_err err = start_thread(l->reactors[i]);

        if (err) {
            (void)outlet_loop_stop(l); /* ends those that began; ESTATE: being stopped already */
            join_all(l);
            return err;
        }
    }
    return OUTLET_OK;
}

/* Whoever waits in outlet_loop_free() frees the loop as soon as the lock is free. */
static void
note_ended(struct outlet_loop *l)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->state, OL_LOOP_ENDED);
    pthread_cond_broadcast(&l->ended);
    pthread_mutex_unlock(&l->lock);
}

static void
wait_for_run(struct outlet_loop *l)
{
    pthread_mutex_lock(&l->lock);
    while (atomic_load(&l->state) == OL_LOOP_RUNNING) {
        pthread_cond_wait(&l->ended, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

outlet_err
outlet_loop_run(outlet_loop *l)
{
    outlet_err err;

    if (ol_current())
        return OUTLET_EDEADLK;
    err = move_state(l, OL_LOOP_RUNNING);
    if (err)
        return err;
    if (l->world) {
        err = work_in_world(l);
    } else {
        err = start_threads(l, 1);
        if (!err)
            err = work(l->reactors[0]);
        join_all(l);
    }
    note_ended(l);
    return err;
}

outlet_err
outlet_loop_start(outlet_loop *l)
{
    outlet_err err;

    if (l->world)
        return OUTLET_ENOTSUP;
    err = move_state(l, OL_LOOP_STARTED);
    return err ? err : start_threads(l, 0);
}

outlet_err
outlet_loop_turn(outlet_loop *l, int wait_ms)
{
    struct ol_reactor *r = l->reactors[0];
    ol_time until = OL_NEVER;
    int sys;

    if (ol_current())
        return OUTLET_EDEADLK;
    if (l->reactor_count > 1)
        return OUTLET_ENOTSUP;
    if (move_state(l, OL_LOOP_TURNING) == OUTLET_OK)
        atomic_store(&l->turner, pthread_self());
    if (l->fork_count != ol_fork_count() || atomic_load(&l->state) != OL_LOOP_TURNING ||
        !pthread_equal(atomic_load(&l->turner), pthread_self()))
        return OUTLET_ESTATE;
    r->by_turns = true;
    if (wait_ms >= 0)
        until = ol_driver_now(r->driver) + wait_ms * OL_MS;
    if (l->owns_world)
        (void)ol_sim_next(l->world,
                          until); /* lets virtual time pass; which driver is no question */
    sys = ol_reactor_turn(r, until);
    if (sys < 0)
        fail(r, sys);
    if (ol_reactor_done(r)) {
        ol_reactor_end(r);
        atomic_store(&l->state, OL_LOOP_ENDED);
    }
    return OUTLET_OK;
}

int
outlet_loop_fd(outlet_loop *l)
{
    struct ol_reactor *r = l->reactors[0];
    int fd;

    if (l->reactor_count > 1 || l->world)
        return OUTLET_ENOTSUP;
    if (l->fork_count != ol_fork_count() || atomic_load(&l->state) != OL_LOOP_NEW)
        return OUTLET_ESTATE;
    fd = r->ops->embed(r->driver);
    if (fd < 0)
        return ol_err_from_errno(-fd);
    if (!r->embedded) {
        r->embedded = true;
        r->ops->arm(r->driver, 0); /* mail posted before now was not told to this descriptor */
    }
    return fd;
}

/* ---- freed ------------------------------------------------------------------------------- */

/* A reactor has not ended when no thread has worked for it to the end: the loop was never run, it
 * is turned by this thread, or a thread could not be made.  Threads that drain end by themselves,
 * at the drain's deadline at the latest: to stop them here would cut off what they are still
 * sending. */
static void
finish(struct outlet_loop *l)
{
    int how = atomic_load(&l->state);
    bool threads = how == OL_LOOP_RUNNING || how == OL_LOOP_STARTED;

    if (!threads || !atomic_load(&l->draining))
        (void)outlet_loop_stop(l); /* ESTATE: asked already */
    wait_for_run(l);
    join_all(l);
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        if (!l->reactors[i]->ended)
            begin_stop(l->reactors[i]);
    }
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        if (!l->reactors[i]->ended)
            ol_reactor_end(l->reactors[i]);
    }
}

/* In a forked child: was the loop doing nothing at the moment of the fork?  If not, another thread
 * or our own caller was changing what it keeps, and nobody will finish that here. */
static bool
at_rest(struct outlet_loop *l)
{
    switch ((enum ol_loop_state)atomic_load(&l->state)) {
    case OL_LOOP_NEW:
    case OL_LOOP_ENDED:
        return true;
    case OL_LOOP_TURNING:
        return pthread_equal(atomic_load(&l->turner), pthread_self()) && !l->reactors[0]->turning;
    case OL_LOOP_RUNNING:
    case OL_LOOP_STARTED:
        break;
    }
    return false;
}

/* Threads that held a lock, or waited, are not here. */
static void
renew_locks(struct outlet_loop *l)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->ended, NULL);
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        for (size_t k = 0; k < OL_KIND_COUNT; k++) {
            pthread_mutex_init(&l->reactors[i]->slots[k].lock, NULL);
        }
    }
}

/* Answers whether the rest can be freed. */
static bool
abandon(struct outlet_loop *l)
{
    const struct ol_loop_hooks *hooks = atomic_load(&l->hooks);
    bool rest = at_rest(l);

    renew_locks(l);
    for (uint32_t i = 0; i < l->reactor_count && rest; i++) {
        ol_retired_flush(l->reactors[i]);
    }
    if (hooks)
        hooks->abandon(l, rest);
    for (uint32_t i = 0; i < l->reactor_count && !rest; i++) {
        l->reactors[i]->ops->free(l->reactors[i]->driver); /* for its descriptors */
    }
    return rest;
}

static void
release(struct outlet_loop *l)
{
    ol_heap heap = l->heap;

    for (uint32_t i = 0; i < l->reactor_count; i++) {
        ol_reactor_free(l->reactors[i]);
    }
    if (l->owns_world)
        ol_sim_free(l->world);
    ol_free(&heap, l->reactors);
    ol_budget_unref(l->budget);
    pthread_cond_destroy(&l->ended);
    pthread_mutex_destroy(&l->lock);
    ol_free(&heap, l);
}

outlet_err
outlet_loop_free(outlet_loop *l)
{
    if (!l)
        return OUTLET_OK;
    if (ol_current() && ol_current()->loop == l)
        return OUTLET_EDEADLK;
    if (l->fork_count == ol_fork_count()) {
        if (atomic_load(&l->state) == OL_LOOP_TURNING &&
            !pthread_equal(atomic_load(&l->turner), pthread_self()))
            return OUTLET_ETHREAD;
        finish(l);
        if (atomic_load(&l->hooks))
            atomic_load(&l->hooks)->detach(l);
    } else if (!abandon(l)) {
        return OUTLET_OK;
    }
    release(l);
    return OUTLET_OK;
}

/* ---- post -------------------------------------------------------------------------------- */

static void
run_post(struct ol_reactor *r, struct ol_mail *m)
{
    struct post *p = OL_CONTAINER(m, struct post, mail);
    void (*fn)(void *arg) = p->fn;
    void *arg = p->arg;

    ol_free(r->heap, p);
    fn(arg);
}

outlet_err
outlet_post(outlet_loop *l, void (*fn)(void *arg), void *arg)
{
    struct ol_reactor *r = l->reactors[0];
    struct post *p;
    uint32_t epoch;

    if (!fn)
        return OUTLET_EINVAL;
    if (l->fork_count != ol_fork_count() || !ol_enter(r->cell, &epoch))
        return OUTLET_ESTATE;
    p = ol_alloc(&l->heap, sizeof *p);
    if (p) {
        *p = (struct post){.mail.run = run_post, .fn = fn, .arg = arg};
        ol_post(r, &p->mail);
    }
    ol_leave(r->cell, epoch);
    return p ? OUTLET_OK : OUTLET_ENOMEM;
}
