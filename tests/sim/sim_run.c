/*
 * sim_run.c - one run: a world and two loops made from a seed, stepped until all is quiet, ended in
 * one of several ways, and judged.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { TURNS_MAX = 300000 };

#define QUIET (20000 * OL_MS)
#define SOON (200 * OL_MS)

const struct profile profiles[] = {
    {"clean", LIVELY, 6},
    {"slices", LIVELY | SLICES, 4},
    {"rude", RUDE, 6},
    {"resets", RUDE | BREAKS, 4},
    {"refusals", NO_ANSWER, 4},
    {"queues", LIVELY | SMALL_QUEUES, 6},
    {"rude-queues", RUDE | SMALL_QUEUES | SLICES, 4},
    {"memory", SMALL_MEMORY, 4},
    {"starving", LIVELY | SMALL_MEMORY, 4},
    {"full-datagrams", LIVELY | DATAGRAMS | SLICES, 3},
    {"times", SHORT_TIMES | RUDE, 4},
    {"limits", FEW_CONNS | RUDE, 4},
    {"datagrams", LIVELY | DATAGRAMS, 4},
    {"lossy", DATAGRAMS | LOSSY | RUDE, 4},
    {"few-peers", DATAGRAMS | LOSSY | RUDE | FEW_CONNS | SHORT_TIMES | SMALL_QUEUES, 3},
    {"calls", CALL_FAILS | RUDE, 5},
    {"heap", HEAP_FAILS | RUDE, 5},
    {"heap-queues", HEAP_FAILS | SMALL_QUEUES | SLICES, 3},
    {"everything",
     RUDE | BREAKS | NO_ANSWER | SMALL_QUEUES | SMALL_MEMORY | SHORT_TIMES | FEW_CONNS | CALL_FAILS,
     6}};
const size_t profile_count = OL_COUNT(profiles);

const struct frame_kind frame_kinds[] = {
    {.text = "none", .max = MESSAGE_MAX, .none = true},
    {.text = "none", .max = MESSAGE_MAX, .none = true},
    {.text = "fixed:16", .fixed = 16, .max = 16},
    {.text = "fixed:700", .fixed = 700, .max = 700},
    {.text = "line", .max = MESSAGE_MAX, .letters = true},
    {.text = "delim:%0D%0A.", .max = MESSAGE_MAX, .letters = true},
    {.text = "len:2be", .max = 65535},
    {.text = "len:4le", .max = MESSAGE_MAX},
    {.text = "len:4be@3", .max = MESSAGE_MAX},
    {.text = "varint", .max = MESSAGE_MAX},
    {.text = "between:%02..%03", .max = MESSAGE_MAX, .letters = true},
    {.text = "hp:123", .min = 1, .max = MESSAGE_MAX}};
const size_t frame_kind_count = OL_COUNT(frame_kinds);
const struct frame_kind packet_kind = {.text = "packets", .min = 1, .max = MESSAGE_MAX};

/* ---- small things ---- */

const struct profile *
profile_named(const char *name)
{
    for (size_t i = 0; i < profile_count; i++) {
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    }
    return NULL;
}

void
wrong(struct run *r, const char *format, ...)
{
    va_list args;

    if (r->bad)
        return;
    r->bad = true;
    va_start(args, format);
    vsnprintf(r->complaint, sizeof r->complaint, format, args);
    va_end(args);
    note(r, "WRONG: %s", r->complaint);
}

void
note(struct run *r, const char *format, ...)
{
    va_list args;

    if (!r->verbose)
        return;
    fprintf(stderr, "%9.3f ms  ", (double)(r->world ? ol_sim_now(r->world) : 0) / OL_MS);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

uint64_t
pick(struct run *r, uint64_t n)
{
    return ol_rng_below(&r->rng, n);
}

bool
one_in(struct run *r, uint64_t n)
{
    return pick(r, n) == 0;
}

bool
may(const struct run *r, unsigned traits)
{
    return (r->traits & traits) != 0;
}

/* ---- the world ---- */

static void
choose_faults(struct run *r)
{
    static const int errnos[] = {ENOMEM, EMFILE, ECONNRESET, EPIPE, ENOBUFS, ETIMEDOUT};
    struct ol_sim_faults *f = &r->faults;

    f->delay_max_us = one_in(r, 3) ? 0 : (uint32_t)pick(r, may(r, SLICES) ? 300 : 20000);
    if (may(r, SLICES))
        f->send_room = 1 + (uint32_t)pick(r, one_in(r, 4) ? 16 : 500);
    if (may(r, BREAKS))
        f->reset = (uint32_t)pick(r, 4000);
    if (may(r, NO_ANSWER)) {
        f->refuse = (uint32_t)pick(r, 20000);
        f->black_hole = (uint32_t)pick(r, 20000);
        f->accept_fails = (uint32_t)pick(r, 20000);
        f->socket_fails = (uint32_t)pick(r, 20000);
    }
    if (may(r, LOSSY)) {
        f->lose = (uint32_t)pick(r, 20000);
        f->duplicate = (uint32_t)pick(r, 20000);
        f->reorder = (uint32_t)pick(r, 20000);
    }
    if (may(r, CALL_FAILS)) {
        f->fail_call = ol_sim_calls(r->world) + 1 + pick(r, 400);
        f->fail_errno = errnos[pick(r, OL_COUNT(errnos))];
    }
}

static bool
make_world(struct run *r)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    r->world = ol_sim_new(&r->heap.heap, r->seed, NULL);
    if (!r->world)
        return false;
    r->memory_max = may(r, SMALL_MEMORY) ? 20000 + (int64_t)pick(r, 1000000) : -1;
    for (int i = 0; i < 2; i++) {
        o.threads = 1 + (int64_t)pick(r, 3);
        o.memory_max = r->memory_max;
        o.allocator = r->heap.heap;
        if (ol_loop_new_in(&r->loops[i], &o, r->world))
            return false;
    }
    choose_faults(r);
    ol_sim_set_faults(r->world, &r->faults);
    if (may(r, HEAP_FAILS))
        failing_heap_reset(&r->heap, 1 + pick(r, 600));
    return true;
}

static void
forget_loop(struct run *r, int i)
{
    r->stopped[i] = true;
    if (outlet_loop_free(r->loops[i]))
        wrong(r, "loop %d could not be freed", i);
    r->loops[i] = NULL;
}

static bool
all_done(const struct outlet_loop *l)
{
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        if (!ol_reactor_done(l->reactors[i]))
            return false;
    }
    return true;
}

static void
check_after_turn(struct run *r, const struct outlet_loop *l)
{
    int64_t used = atomic_load(&l->budget->used);

    if (used > l->budget->max)
        wrong(r, "%lld bytes of memory_max %lld are used", (long long)used,
              (long long)l->budget->max);
    for (int i = 0; i < r->end_count; i++) {
        struct end *e = &r->ends[i];

        if (!e->told || e->stale_checked || !e->h.id)
            continue;
        e->stale_checked = true;
        if (outlet_queued(e->h) != OUTLET_ESTALE || outlet_close(e->h) != OUTLET_ESTALE)
            wrong(r, "end %d: its handle is alive after on_close", e->index);
    }
}

/* One step of the world.  false: nothing will happen before `until`. */
static bool
step(struct run *r, ol_time until)
{
    struct ol_driver *d = ol_sim_next(r->world, until);

    if (!d)
        return false;
    for (int i = 0; i < 2; i++) {
        struct ol_reactor *reactor = r->loops[i] ? ol_loop_reactor_of(r->loops[i], d) : NULL;

        if (!reactor)
            continue;
        if (ol_reactor_turn(reactor, 0) < 0)
            wrong(r, "a turn failed");
        check_after_turn(r, r->loops[i]);
        if (all_done(r->loops[i]))
            forget_loop(r, i);
    }
    if (++r->turns > TURNS_MAX)
        wrong(r, "no rest after %d turns", TURNS_MAX);
    return !r->bad;
}

/* ---- the story ---- */

static void
work(struct run *r)
{
    while (r->actions > 0 && !r->bad) {
        if (one_in(r, 6)) {
            r->actions--;
            user_outside(r);
        }
        if (!step(r, ol_sim_now(r->world) + 50 * OL_MS) && !r->bad) {
            r->actions--;
            user_outside(r);
        }
    }
}

static void
settle(struct run *r)
{
    ol_time soon = ol_sim_now(r->world) + SOON;

    user_settle(r);
    while (!r->bad && step(r, soon)) {
    }
    /* With memory_max used up by what is kept, reading rightly stood still.  From here nothing but
     * the freed memory tells the reactors to go on. */
    user_wind_up(r);
    while (!r->bad && step(r, ol_sim_now(r->world) + QUIET)) {
    }
    note(r, "all is quiet");
    model_quiet(r);
}

/* false: nothing was asked. */
static bool
ask_to_end(struct run *r, int i, bool in_order)
{
    outlet_err err = in_order ? outlet_loop_drain(r->loops[i], 60000)
                              : outlet_loop_stop(r->loops[i]);

    note(r, "loop %d %s: %s", i, in_order ? "drains" : "stops", outlet_error_name(err));
    if (in_order)
        r->drained[i] = r->drained[i] || err == OUTLET_OK;
    else
        r->stopped[i] = r->stopped[i] || err == OUTLET_OK;
    return err == OUTLET_OK;
}

static void
wind_up(struct run *r)
{
    bool in_order = may(r, LIVELY) || one_in(r, 2);
    int first = (int)pick(r, 2);
    bool free_at_once = !may(r, LIVELY) && one_in(r, 4);

    for (int k = 0; k < 2 && !free_at_once && !r->bad; k++) {
        int i = k ? !first : first;

        if (!r->loops[i])
            continue;
        (void)ask_to_end(r, i, in_order); /* it may have been asked before */
        while (!r->bad && r->loops[i] && step(r, OL_NEVER)) {
        }
        if (r->loops[i] && !r->bad)
            wrong(r, "loop %d was asked to end and did not", i);
    }
    for (int i = 0; i < 2; i++) {
        if (r->loops[i])
            forget_loop(r, i);
    }
    user_wind_up(r);
    if (!r->bad)
        model_final(r);
    if (r->posts_owed)
        wrong(r, "%d posted functions did not run", r->posts_owed);
}

static void
end_world(struct run *r)
{
    size_t sockets = 0;

    for (int i = 0; i < 2; i++) {
        if (r->loops[i])
            forget_loop(r, i);
    }
    if (r->world) {
        sockets = ol_sim_open_sockets(r->world);
        ol_sim_free(r->world);
        r->world = NULL;
    }
    if (sockets)
        wrong(r, "%zu sockets are still open", sockets);
    if (failing_heap_live(&r->heap))
        wrong(r, "%lld blocks of memory leak", (long long)failing_heap_live(&r->heap));
}

bool
run_once(struct run *r, const struct profile *p, uint64_t seed, bool verbose)
{
    memset(r, 0, offsetof(struct run, bytes));
    r->bad = false;
    r->complaint[0] = 0;
    r->profile = p;
    r->seed = seed;
    r->verbose = verbose;
    r->traits = p->traits;
    ol_rng_seed(&r->rng, seed);
    failing_heap_init(&r->heap, 0);
    r->actions = 30 + (int)pick(r, 150);
    if (!make_world(r))
        wrong(r, "the world could not be made");
    else
        user_begin(r);
    if (!r->bad)
        work(r);
    if (!r->bad)
        settle(r);
    if (!r->bad)
        wind_up(r);
    r->winding_up = true;
    user_wind_up(r);
    end_world(r);
    return !r->bad;
}
