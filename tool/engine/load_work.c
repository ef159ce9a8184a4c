/*
 * load_work.c - one thread of a run: a loop, its connections, the schedule, the end.
 *
 *     WORK_RUN     opening connections, sending
 *     WORK_DRAIN   nothing new is sent; what is under way may still come back
 *     WORK_END     everything is being closed
 *
 * Whatever happens, the tick moves it on: it looks at the clock 200 times a second, also when
 * nothing comes.  A newcomer's mistake: to trust outlet_timer for a schedule.  Its step is a
 * millisecond, which is long against a round trip; the schedule has a timerfd of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load_work.h"

#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    CLOCK_EVERY = 4, /* callbacks for which one reading of the clock is good */
    TICK_MS = 5,
    DIAL_MAX = 256,      /* connections that are being opened at once */
    CLOSE_MS = 500,      /* to close in order */
    RING_MAX = 1 << 18,  /* datagrams of one connection: half a second at 500,000/s, 2.4 MB */
    RING_TOTAL = 1 << 19 /* of all together; what a ring is rounded up to may double it */
};

#define MS INT64_C(1000000)
#define PACE_NS (50 * INT64_C(1000)) /* the shortest sleep of the schedule */
#define SWEEP_NS (50 * MS)
#define LOSS_NS (500 * MS)   /* a datagram that has not come back by then is lost */
#define DRAIN_NS (1000 * MS) /* for what is under way at the end */

static int64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The CPU time is read where the measured time begins and where it ends. */
static void
set_measuring(struct load_worker *w, bool measuring)
{
    _Atomic int64_t *mark = measuring ? &w->cpu_from : &w->cpu_until;

    w->measuring = measuring;
    if (atomic_load(mark) < 0)
        atomic_store(mark, cpu_ns());
}

void
worker_read_clock(struct load_worker *w)
{
    const struct eng_load *load = w->load;

    w->now = clock_ns();
    w->clock_left = CLOCK_EVERY - 1;
    w->start = atomic_load_explicit(&load->start, memory_order_relaxed);
    w->from = atomic_load_explicit(&load->from, memory_order_relaxed);
    w->until = atomic_load_explicit(atomic_load(&load->asked) ? &load->ended : &load->until,
                                    memory_order_relaxed);
    if (is_measured(w, w->now) != w->measuring)
        set_measuring(w, !w->measuring);
}

/* When message `number` of the schedule should leave. */
static int64_t
due_at(const struct load_worker *w, uint64_t number)
{
    return w->origin + (int64_t)((double)number * w->interval);
}

/* ---- the end ---- */

/* What was sent, or should have been, and has not come back has waited this long at least. */
static void
not_back(struct load_worker *w, int64_t stamp, uint64_t n)
{
    if (is_measured(w, stamp))
        eng_hist_record_n(w->hist, w->now - stamp, n);
}

static void
stream_not_back(struct load_conn *c)
{
    struct load_worker *w = c->w;

    for (; c->flying > 0 && c->run_first != c->run_next; c->run_first++) {
        const struct load_run *run = &c->runs[c->run_first & (uint32_t)(w->ring - 1)];

        not_back(w, run->stamp, run->upto - c->got);
        c->got = run->upto;
    }
    add(&w->unanswered, (uint64_t)c->flying);
}

/* Each message once for each that has not heard it. */
static void
fanout_not_heard(struct load_conn *speaker)
{
    struct load_worker *w = speaker->w;

    for (uint64_t k = speaker->got; speaker->flying > 0 && k < speaker->sent; k++) {
        uint64_t missing = fanout_missing(speaker, k);

        not_back(w, speaker->stamps[k & (w->ring - 1)], missing);
        add(&w->unanswered, missing);
    }
}

static void
not_even_sent(struct load_worker *w)
{
    double step = w->interval;
    int64_t end = w->until < w->now ? w->until : w->now;

    if (step <= 0 || w->origin == 0)
        return;
    for (; w->next_at < end && w->left > 0; w->next_at = due_at(w, w->issued)) {
        uint64_t n = (uint64_t)(100000 / step) + 1; /* a tenth of a millisecond at once */

        n = n < (uint64_t)w->left ? n : (uint64_t)w->left;
        w->left -= (int64_t)n;
        not_back(w, w->next_at, n);
        w->issued += n;
    }
}

static void
count_unanswered(struct load_worker *w)
{
    for (int64_t i = 0; i < w->n && w->flying > 0; i++) {
        struct load_conn *c = &w->conns[i];

        if (w->load->kind == KIND_DATAGRAMS)
            dgrams_give_up_old(c, w->now);
        else if (w->hearers)
            fanout_not_heard(c);
        else
            stream_not_back(c);
    }
    not_even_sent(w);
}

static void
set_timer(struct load_worker *w, int64_t at)
{
    struct itimerspec spec = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};

    /* Setting it also makes it unreadable, so that it need not be read. */
    if (w->timer_fd >= 0)
        (void)timerfd_settime(w->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL); /* cannot fail */
}

static void
end(struct load_worker *w)
{
    int64_t last = w->now < w->until ? w->now : w->until;

    w->state = WORK_END;
    if (!atomic_load(&w->load->stopping))
        count_unanswered(w);
    if (!atomic_load(&w->finished))
        atomic_store(&w->finished, last);
    if (w->measuring)
        set_measuring(w, false);
    set_timer(w, 0);
    /* It fails only where the loop has been stopped, and then there is nothing to close. */
    (void)outlet_loop_drain(w->loop, CLOSE_MS);
}

static void
begin_to_drain(struct load_worker *w)
{
    w->state = WORK_DRAIN;
    w->drain_until = w->now + (w->load->kind == KIND_DATAGRAMS ? LOSS_NS : DRAIN_NS);
    set_timer(w, 0);
}

void
worker_finish(struct load_worker *w)
{
    if (w->state == WORK_RUN && w->done >= w->share) {
        atomic_store(&w->finished, w->now);
        if (w->measuring)
            set_measuring(w, false);
        begin_to_drain(w);
    }
    if (w->state == WORK_DRAIN && w->flying == 0)
        end(w);
}

static bool
is_over(const struct load_worker *w)
{
    const struct eng_load *load = w->load;
    bool all_dialled = w->dialled == w->n && w->dialling == 0;
    int64_t quiet = w->now - (w->heard > w->start ? w->heard : w->start);

    if (w->now >= w->until || atomic_load(&load->stopping))
        return true;
    if (load->opts.mode != ENG_LOAD_CHURN && all_dialled && w->open == 0)
        return true;
    return load->opts.count > 0 && load->opts.mode != ENG_LOAD_HOLD && w->start < w->now &&
           w->start > 0 && quiet > load->opts.stall_ms * MS;
}

/* ---- the schedule ---- */

/* The next one in turn that may send. */
static struct load_conn *
with_room(struct load_worker *w)
{
    if (w->hearers)
        return conn_has_room(fanout_speaker(w)) ? fanout_speaker(w) : NULL;
    if (w->flying - w->overtaken >= w->open * w->load->opts.depth)
        return NULL;
    for (int64_t i = 0; i < w->n; i++) {
        struct load_conn *c = &w->conns[w->cursor];

        w->cursor = w->cursor + 1 < w->n ? w->cursor + 1 : 0;
        if (conn_has_room(c))
            return c;
    }
    return NULL;
}

void
worker_pace(struct load_worker *w)
{
    struct load_conn *c = NULL;
    int64_t next;

    if (w->state != WORK_RUN || w->interval <= 0 || w->now < w->start)
        return;
    if (w->origin == 0) { /* threads take turns */
        w->origin = w->start +
                    (int64_t)(w->interval * (double)w->index / (double)w->load->opts.threads);
        w->next_at = w->origin;
    }
    while (w->next_at <= w->now && w->next_at < w->until && w->left > 0) {
        c = with_room(w);
        if (!c)
            break;
        conn_send(c, 1, w->next_at);
        if (c->full)
            continue;
        w->issued++;
        w->next_at = due_at(w, w->issued);
    }
    /* All windows full: an answer goes on with it, the timer only looks after it. */
    next = w->next_at <= w->now ? w->now + MS : w->next_at;
    if (next < w->now + PACE_NS)
        next = w->now + PACE_NS;
    set_timer(w, w->next_at < w->until && w->left > 0 ? next : 0);
}

static void
due(outlet_watch watch, int events, void *arg)
{
    struct load_worker *w = arg;

    (void)watch;
    (void)events;
    worker_read_clock(w);
    if (w->state == WORK_RUN)
        worker_pace(w);
    else
        set_timer(w, 0);
}

/* ---- opening ---- */

static void
dial(struct load_worker *w)
{
    int64_t ramp = w->load->opts.ramp_ms * MS;
    int64_t want = w->n;

    if (ramp > 0 && w->now - w->began < ramp)
        want = 1 + (int64_t)((double)w->n * (double)(w->now - w->began) / (double)ramp);
    while (w->dialled < want && w->dialled < w->n && w->dialling < DIAL_MAX) {
        if (conn_dial(&w->conns[w->dialled]) != OUTLET_OK)
            return;
        w->dialled++;
    }
}

/* Churn: those that failed try again, one tick later. */
static void
dial_again(struct load_worker *w)
{
    for (int64_t i = 0; i < w->dialled && w->left > w->dialling; i++) {
        if (w->conns[i].state == CONN_IDLE && conn_dial(&w->conns[i]) != OUTLET_OK)
            return;
    }
}

/* ---- the tick ---- */

static void
start_all(struct load_worker *w)
{
    int64_t first = w->hearers ? w->n - 1 : 0;

    if (w->interval > 0) {
        worker_pace(w);
        return;
    }
    for (int64_t i = w->has_sent ? w->n : first; i < w->n; i++) {
        conn_refill(&w->conns[i]);
    }
    w->has_sent = true;
}

static void
sweep(struct load_worker *w)
{
    w->swept = w->now;
    if (!w->seen)
        return;
    for (int64_t i = w->hearers ? w->n - 1 : 0; i < w->n; i++) {
        dgrams_give_up_old(&w->conns[i], w->now - LOSS_NS);
        if (w->conns[i].state == CONN_OPEN && w->now >= w->start)
            conn_refill(&w->conns[i]);
    }
}

static void
tick(outlet_timer t, void *arg)
{
    struct load_worker *w = arg;
    bool waits = w->load->opts.mode != ENG_LOAD_HOLD && w->load->opts.mode != ENG_LOAD_CHURN;

    (void)t;
    worker_read_clock(w);
    if (w->state == WORK_RUN) {
        dial(w);
        if (w->load->opts.mode == ENG_LOAD_CHURN)
            dial_again(w);
        if (waits && !w->load->eager && w->now >= w->start)
            start_all(w);
        if (w->now - w->swept >= SWEEP_NS)
            sweep(w);
        if (is_over(w))
            begin_to_drain(w);
    }
    worker_finish_if_done(w);
    /* Asked to stop, or it failed: nobody waits for what is under way. */
    if (w->state == WORK_DRAIN && (w->now >= w->drain_until || atomic_load(&w->load->stopping)))
        end(w);
}

static void
begin(void *arg)
{
    struct load_worker *w = arg;
    struct outlet_reason why = OUTLET_REASON;
    outlet_timer ticker;
    outlet_err err;

    worker_read_clock(w);
    w->began = w->now;
    w->swept = w->now;
    err = outlet_timer_start(w->loop, TICK_MS, TICK_MS, tick, w, &ticker);
    if (!err && w->timer_fd >= 0)
        err = outlet_watch_start(w->loop, w->timer_fd, OUTLET_READABLE, due, w, &w->timer_watch);
    if (err) {
        why.code = err;
        snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
        load_fault(w->load, ENG_LOAD_BROKEN, &why, true);
        outlet_loop_stop(w->loop);
        return;
    }
    dial(w);
}

/* ---- the thread ---- */

/*
 * Room for what is under way.  Of datagrams there is more, as far as memory goes: one that is lost
 * stands in it for half a second while others come and go, and one that comes late is known again.
 */
static size_t
ring_of(const struct eng_load *load)
{
    size_t least = (size_t)load->opts.depth;
    size_t ring = 1;

    if (load->kind == KIND_DATAGRAMS) {
        size_t share = RING_TOTAL / (size_t)load->opts.connections;

        share = share < RING_MAX ? share : RING_MAX;
        least = 4 * least > share ? 4 * least : share;
    }
    while (ring < least)
        ring *= 2;
    return ring;
}

static outlet_err
take_memory(struct load_worker *w)
{
    const struct eng_load *load = w->load;
    size_t n = (size_t)w->n;
    bool datagrams = load->kind == KIND_DATAGRAMS;
    bool fans = load->opts.mode == ENG_LOAD_FANOUT;
    bool rings = load->opts.mode != ENG_LOAD_HOLD;
    size_t runs = rings && !datagrams && !fans ? n : 0;
    size_t stamps = !rings ? 0 : fans ? 1 : datagrams ? n : 0;

    w->ring = ring_of(load);
    w->hist = eng_hist_new();
    w->conns = eng_alloc(n * sizeof *w->conns);
    w->scratch = eng_alloc(load->opts.size);
    w->runs = runs ? eng_alloc(runs * w->ring * sizeof *w->runs) : NULL;
    w->stamps = stamps ? eng_alloc(stamps * w->ring * sizeof *w->stamps) : NULL;
    w->seen = datagrams && stamps ? eng_alloc(stamps * w->ring) : NULL;
    w->hearers = fans ? eng_alloc(w->ring * sizeof *w->hearers) : NULL;
    w->heard_rings = fans && datagrams ? eng_alloc(n * w->ring * sizeof *w->heard_rings) : NULL;
    if (!w->hist || !w->conns || !w->scratch || (runs && !w->runs) || (stamps && !w->stamps) ||
        (datagrams && stamps && !w->seen) || (fans && !w->hearers) ||
        (fans && datagrams && !w->heard_rings))
        return OUTLET_ENOMEM;
    memcpy(w->scratch, load->pattern, load->opts.size);
    for (size_t i = 0; i < n; i++) {
        size_t ring = fans ? 0 : i * w->ring;

        w->conns[i].w = w;
        w->conns[i].runs = w->runs ? w->runs + ring : NULL;
        w->conns[i].stamps = w->stamps ? w->stamps + ring : NULL;
        w->conns[i].seen = w->seen ? w->seen + ring : NULL;
        w->conns[i].heard = w->heard_rings ? w->heard_rings + i * w->ring : NULL;
    }
    return OUTLET_OK;
}

outlet_err
worker_prepare(struct load_worker *w)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    outlet_err err = take_memory(w);

    w->mirror.w = w;
    w->timer_fd = -1;
    if (err)
        return err;
    opts.driver = w->load->opts.driver;
    err = outlet_loop_new(&w->loop, &opts);
    if (err)
        return err;
    if (w->interval > 0) {
        w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (w->timer_fd < 0)
            return OUTLET_ENOFILE;
    }
    return outlet_post(w->loop, begin, w);
}

static void
wake(outlet_watch watch, int events, void *arg)
{
    struct load_worker *w = arg;

    (void)watch;
    (void)events;
    w->woken = true;
}

static void
turned_out(struct load_worker *w, outlet_err err)
{
    if (err != OUTLET_ESTATE) {
        struct outlet_reason why = OUTLET_REASON;

        why.code = err;
        snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
        load_fault(w->load, ENG_LOAD_BROKEN, &why, true);
    }
    (void)outlet_loop_free(w->loop); /* this thread turned it, and we are in no callback */
    w->loop = NULL;
}

bool
worker_turn(struct load_worker *w, int wake_fd, int ms)
{
    int64_t end = clock_ns() + ms * MS;
    outlet_err err = OUTLET_OK;

    if (wake_fd >= 0 && !w->has_watch)
        err = outlet_watch_start(w->loop, wake_fd, OUTLET_READABLE, wake, w, &w->wake_watch);
    w->has_watch = wake_fd >= 0;
    w->woken = false;
    /* The tick sees to it that a turn is short and that the time is known. */
    while (!err && !w->woken && (ms < 0 || w->now < end)) {
        w->clock_left = 0;
        err = outlet_loop_turn(w->loop, -1);
    }
    if (err)
        turned_out(w, err);
    return !err;
}

void
worker_run(struct load_worker *w)
{
    while (worker_turn(w, -1, -1)) {
    }
}

void
worker_free(struct load_worker *w)
{
    if (w->loop)
        (void)outlet_loop_free(w->loop); /* it never turned */
    if (w->timer_fd >= 0)
        close(w->timer_fd);
    eng_free(w->hist);
    eng_free(w->conns);
    eng_free(w->runs);
    eng_free(w->stamps);
    eng_free(w->scratch);
    eng_free(w->seen);
    eng_free(w->hearers);
    eng_free(w->heard_rings);
}
