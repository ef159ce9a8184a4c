/*
 * load.c - a run under load: its threads, the marks on the clock they share, and what came out.
 *
 * The threads share nothing that is written while it is measured: each has its connections, its
 * counters and its histogram, and whoever looks adds them up.  A newcomer's mistake: to let a
 * thread begin to measure by itself.  The connection that opens last, on whichever thread,
 * sets the marks for all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load.h"
#include "load_work.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    LEAD_MS = 10,    /* from the last open to the start: every thread has seen the marks by then */
    SETTLE_MS = 100, /* fan-out: for the server to have everybody in its books */
    STALL_MS = 5000,
    PERIOD = 64 * 1024
};

#define MS INT64_C(1000000)

/* ---- marks ---- */

static void
set_marks(struct eng_load *load, int64_t start)
{
    if (load->opts.time_ms)
        atomic_store(&load->until, start + (load->opts.warm_ms + load->opts.time_ms) * MS);
    atomic_store(&load->from, start + load->opts.warm_ms * MS);
    atomic_store(&load->start, start);
}

void
load_opened(struct load_conn *c)
{
    struct eng_load *load = c->w->load;
    enum eng_load_mode mode = load->opts.mode;
    int64_t lead = mode == ENG_LOAD_FANOUT ? SETTLE_MS : load->eager ? 0 : LEAD_MS;

    if (c->counted)
        return;
    c->counted = true;
    if (atomic_fetch_sub(&load->pending, 1) != 1 || mode == ENG_LOAD_CHURN)
        return;
    set_marks(load, clock_ns() + lead * MS);
    c->w->clock_left = 0;
}

void
load_fault(struct eng_load *load, enum eng_load_fault fault, const struct outlet_reason *why,
           bool fatal)
{
    pthread_mutex_lock(&load->lock);
    if (load->fault == ENG_LOAD_FINE && !atomic_load(&load->stopping)) {
        load->fault = fault;
        load->why = *why;
    }
    pthread_mutex_unlock(&load->lock);
    if (fatal)
        atomic_store(&load->stopping, true);
}

/* ---- what is sent ---- */

/*
 * Each message begins with its number and goes on with what depends on it, in small letters only,
 * so that text framings can carry it.
 */
static void
number_message(uint8_t *to, size_t size, size_t number)
{
    size_t rest = number;

    for (size_t at = 0; at < size; at++) {
        if (at < 4) {
            to[at] = (uint8_t)('a' + rest % 26);
            rest /= 26;
        } else {
            to[at] = (uint8_t)('a' + (at * 7 + number * 31 + 3) % 26);
        }
    }
}

static outlet_err
make_pattern(struct eng_load *load)
{
    size_t size = load->opts.size;

    load->each = size < PERIOD ? PERIOD / size : 2;
    load->period = load->each * size;
    load->at_once = load->kind == KIND_BYTES ? (int64_t)load->each : 1;
    load->pattern = eng_alloc(2 * load->period);
    if (!load->pattern)
        return OUTLET_ENOMEM;
    for (size_t i = 0; i < load->each; i++) {
        /* Of a numbered datagram only the number differs, and that is written when it is sent. */
        if (load->opts.payload)
            memcpy(load->pattern + i * size, load->opts.payload, size);
        else
            number_message(load->pattern + i * size, size, load->kind == KIND_DATAGRAMS ? 0 : i);
    }
    memcpy(load->pattern + load->period, load->pattern, load->period);
    return OUTLET_OK;
}

/* ---- starting ---- */

static int
broken(struct outlet_reason *why, outlet_err err)
{
    why->code = err;
    snprintf(why->text, sizeof why->text, "%s", outlet_strerror(err));
    return err == OUTLET_EINVAL || err == OUTLET_ENOTSUP ? ENG_USAGE : ENG_INTERNAL;
}

static void *
work(void *arg)
{
    struct load_worker *w = arg;
    struct eng_load *load = w->load;
    uint64_t one = 1;

    worker_run(w);
    if (atomic_fetch_sub(&load->running, 1) == 1 &&
        write(load->ended_fd, &one, sizeof one) != (ssize_t)sizeof one)
        return NULL; /* an eventfd takes its first 1 */
    return NULL;
}

static void
share_out(struct eng_load *load, struct load_worker *w, int64_t i)
{
    int64_t threads = load->opts.threads;
    int64_t rest = load->opts.connections % threads;

    w->load = load;
    w->index = i;
    w->timer_fd = -1;
    w->n = load->opts.connections / threads + (i < rest);
    w->n += load->opts.mode == ENG_LOAD_FANOUT; /* who speaks is the last */
    w->left = INT64_MAX;
    w->share = INT64_MAX;
    atomic_store(&w->cpu_from, -1);
    atomic_store(&w->cpu_until, -1);
    if (load->opts.count) {
        w->share = load->opts.count / threads + (i < load->opts.count % threads);
        w->left = w->share;
    }
    if (load->opts.rate > 0) {
        w->interval = 1e9 * (double)threads / load->opts.rate;
        w->issued = 0;
    }
}

static outlet_err
make_workers(struct eng_load *load)
{
    outlet_err err = OUTLET_OK;

    load->workers = eng_alloc((size_t)load->opts.threads * sizeof *load->workers);
    if (!load->workers)
        return OUTLET_ENOMEM;
    for (int64_t i = 0; i < load->opts.threads; i++) {
        share_out(load, &load->workers[i], i);
    }
    for (int64_t i = 0; i < load->opts.threads && !err; i++) {
        err = worker_prepare(&load->workers[i]);
    }
    if (!err)
        load->driver = outlet_loop_driver(load->workers[0].loop);
    return err;
}

static outlet_err
start_threads(struct eng_load *load)
{
    atomic_store(&load->running, load->opts.threads);
    if (load->opts.mode == ENG_LOAD_CHURN) /* opening is what is measured */
        set_marks(load, clock_ns());
    for (int64_t i = 0; i < load->opts.threads && load->opts.threads > 1; i++) {
        struct load_worker *w = &load->workers[i];

        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            atomic_store(&load->stopping, true);
            return OUTLET_ESYS;
        }
        w->has_thread = true;
    }
    return OUTLET_OK;
}

static void
understand(struct eng_load *load)
{
    const struct eng_load_opts *o = &load->opts;

    load->is_pair = strcmp(load->url.scheme, "pair") == 0;
    load->kind = !load->url.stream ? KIND_DATAGRAMS : load->url.framed ? KIND_FRAMES : KIND_BYTES;
    load->numbered = !o->payload && o->size >= 4;
    load->eager = o->mode == ENG_LOAD_CHURN ||
                  (o->mode == ENG_LOAD_ECHO && !o->count && o->rate <= 0);
    if (o->mode == ENG_LOAD_HOLD)
        load->opts.count = 0;
    if (o->mode == ENG_LOAD_CHURN)
        load->opts.depth = 1;
    if (!load->opts.count && !o->time_ms)
        load->opts.time_ms = STALL_MS;
    if (o->threads > o->connections)
        load->opts.threads = o->connections;
    if (o->count && load->opts.threads > o->count)
        load->opts.threads = o->count;
    if (!o->stall_ms)
        load->opts.stall_ms = STALL_MS;
    atomic_store(&load->pending, o->connections + (o->mode == ENG_LOAD_FANOUT));
    atomic_store(&load->start, INT64_MAX);
    atomic_store(&load->from, INT64_MAX);
    atomic_store(&load->until, INT64_MAX);
}

int
eng_load_start(const struct eng_load_opts *opts, struct eng_load **out, struct outlet_reason *why)
{
    struct eng_load *load;
    int broken_as;
    outlet_err err = outlet_url_check(opts->url, OUTLET_TO_CONNECT, why);

    if (err)
        return ENG_USAGE;
    load = eng_alloc(sizeof *load);
    if (!load)
        return broken(why, OUTLET_ENOMEM);
    load->opts = *opts;
    load->ended_fd = -1;
    load->why = (struct outlet_reason)OUTLET_REASON;
    pthread_mutex_init(&load->lock, NULL);
    if (!eng_url_split(opts->url, OUTLET_TO_CONNECT, &load->url))
        err = OUTLET_EINVAL;
    understand(load);
    if (!err)
        err = make_pattern(load);
    if (!err) {
        load->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        err = load->ended_fd < 0 ? OUTLET_ENOFILE : OUTLET_OK;
    }
    if (!err)
        err = make_workers(load);
    if (!err)
        err = start_threads(load);
    if (err) {
        eng_load_end(load);
        broken_as = broken(why, err);
        if (err == OUTLET_ENOMEM)
            snprintf(why->text, sizeof why->text,
                     "no memory for %lld connections with %lld messages in flight; ask for fewer",
                     (long long)opts->connections, (long long)opts->depth);
        return broken_as;
    }
    *out = load;
    return ENG_DONE;
}

enum eng_load_state
eng_load_wait(struct eng_load *load, int fd, int ms)
{
    struct load_worker *own = load->workers;
    struct pollfd ready[2] = {{.fd = load->ended_fd, .events = POLLIN},
                              {.fd = fd, .events = POLLIN}};

    if (load->opts.threads > 1) {
        (void)poll(ready, 2, ms); /* interrupted: as if the time had passed */
        return ready[0].revents   ? ENG_LOAD_ENDED
               : ready[1].revents ? ENG_LOAD_WOKEN
                                  : ENG_LOAD_RUNS;
    }
    if (own->loop && worker_turn(own, fd, ms))
        return own->woken ? ENG_LOAD_WOKEN : ENG_LOAD_RUNS;
    atomic_store(&load->running, 0);
    return ENG_LOAD_ENDED;
}

void
eng_load_stop(struct eng_load *load)
{
    if (atomic_load(&load->asked)) {
        atomic_store(&load->stopping, true);
        return;
    }
    atomic_store(&load->ended, clock_ns());
    atomic_store(&load->asked, true);
}

void
eng_load_end(struct eng_load *load)
{
    if (!load)
        return;
    atomic_store(&load->stopping, true);
    for (int64_t i = 0; load->workers && i < load->opts.threads; i++) {
        if (load->workers[i].has_thread)
            pthread_join(load->workers[i].thread, NULL);
        else if (load->workers[i].loop && load->opts.threads == 1 && load->driver)
            worker_run(&load->workers[i]);
    }
    for (int64_t i = 0; load->workers && i < load->opts.threads; i++) {
        worker_free(&load->workers[i]);
    }
    if (load->ended_fd >= 0)
        close(load->ended_fd);
    pthread_mutex_destroy(&load->lock);
    eng_free(load->workers);
    eng_free(load->pattern);
    eng_free(load);
}

/* ---- what came out ---- */

/* When the last message counted, or now. */
static int64_t
measured_until(struct eng_load *load)
{
    int64_t last = 0;
    int64_t now = clock_ns();
    int64_t until = atomic_load(&load->until);

    if (atomic_load(&load->asked))
        until = atomic_load(&load->ended);
    for (int64_t i = 0; i < load->opts.threads; i++) {
        int64_t finished = atomic_load(&load->workers[i].finished);

        if (!finished) {
            last = now;
            break;
        }
        last = finished > last ? finished : last;
    }
    return last < until ? last : until;
}

/* Of the measured time; known when it is over. */
static int64_t
cpu_of(const struct load_worker *w)
{
    int64_t from = atomic_load(&w->cpu_from);
    int64_t until = atomic_load(&w->cpu_until);

    return from >= 0 && until > from ? until - from : 0;
}

static void
add_up(const struct eng_load *load, struct eng_load_result *out)
{
    for (int64_t i = 0; i < load->opts.threads; i++) {
        const struct load_worker *w = &load->workers[i];

        out->messages += value(&w->messages);
        out->bytes_in += value(&w->bytes_in);
        out->bytes_out += value(&w->bytes_out);
        out->failed += value(&w->failed);
        out->closed += value(&w->closed);
        out->wrong += value(&w->wrong);
        out->unanswered += value(&w->unanswered);
        out->lost += value(&w->lost);
        out->reordered += value(&w->reordered);
        out->duplicates += value(&w->duplicates);
        out->connections += value(&w->connections);
        out->cpu_ns += cpu_of(w);
        eng_hist_merge_corrected(out->hist, w->hist, load->opts.correct_ns);
    }
    out->errors = out->failed + out->closed + out->wrong + out->unanswered;
}

static void
judge(struct eng_load_result *out, bool ended)
{
    /* A datagram may be lost.  All of them are not lost by chance. */
    bool silent = out->messages == 0 && (out->unanswered || out->lost);

    if (out->fault == ENG_LOAD_FINE && ended && (silent || out->unanswered)) {
        out->fault = ENG_LOAD_UNANSWERED;
        out->why.code = OUTLET_ETIMEDOUT;
        snprintf(out->why.text, sizeof out->why.text, "no answer");
    }
    switch (out->fault) {
    case ENG_LOAD_FINE:
        out->result = ENG_DONE;
        break;
    case ENG_LOAD_NOT_CONNECTED:
        out->result = eng_result_of(&out->why);
        break;
    case ENG_LOAD_CLOSED:
    case ENG_LOAD_WRONG:
        out->result = ENG_BROKEN;
        break;
    case ENG_LOAD_UNANSWERED:
        out->result = ENG_TIMED_OUT;
        break;
    case ENG_LOAD_NOT_SENT:
        out->result = ENG_USAGE;
        break;
    case ENG_LOAD_BROKEN:
        out->result = ENG_INTERNAL;
        break;
    }
}

void
eng_load_look(struct eng_load *load, struct eng_load_result *out)
{
    struct eng_hist *hist = out->hist;
    int64_t from = atomic_load(&load->from);
    int64_t end = measured_until(load);

    eng_hist_clear(hist);
    *out = (struct eng_load_result){
        .hist = hist, .driver = load->driver, .threads = load->opts.threads};
    out->measuring = from != INT64_MAX && end > from;
    out->seconds = out->measuring ? (double)(end - from) / 1e9 : 0;
    add_up(load, out);
    out->rate = out->seconds > 0 ? (double)out->messages / out->seconds : 0;
    pthread_mutex_lock(&load->lock);
    out->fault = load->fault;
    out->why = load->why;
    pthread_mutex_unlock(&load->lock);
    judge(out, atomic_load(&load->running) == 0);
}
