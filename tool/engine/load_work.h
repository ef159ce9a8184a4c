/*
 * load_work.h - what load.c, load_work.c and load_conn.c share: a run, its workers, connections.
 *
 *     load.c         threads, the common clock marks, what came out
 *     load_work.c    one worker: opening connections, the schedule, the end
 *     load_conn.c    one connection: messages out, messages back
 *     load_fanout.c  one connection speaks, the others hear
 *
 * What a newcomer gets wrong: to read the clock for each message.  worker_now() reads it once a
 * turn and again after a few callbacks.  And to send outside a callback, which would go through the
 * mailbox.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_LOAD_WORK_H
#define ENG_LOAD_WORK_H

#include "engine.h"

#include <pthread.h>
#include <time.h>

enum { NEVER_SEEN = 0, UNDER_WAY, CAME_BACK, GIVEN_UP }; /* a datagram */

enum { NUMBER_BYTES = 4 }; /* at the head of a datagram */

enum kind {
    KIND_BYTES, /* no borders: answers are told by their number of bytes */
    KIND_FRAMES,
    KIND_DATAGRAMS
};

enum conn_state { CONN_IDLE, CONN_DIALLING, CONN_OPEN, CONN_CLOSING, CONN_ENDED };

struct load_worker;

/* Messages of a stream that left, or should have, at the same time. */
struct load_run {
    int64_t stamp;
    uint64_t upto; /* the number of the first message after them */
};

/* What an answer touches comes first. */
struct load_conn {
    struct load_worker *w;
    outlet_conn c;
    enum conn_state state;
    bool full;         /* a send was refused: on_writable is owed */
    bool counted;      /* told to load_opened() */
    bool refused;      /* datagrams: nobody was there any more, which is counted once */
    bool synced;       /* fan-out: knows which message it heard first */
    uint64_t sent;     /* messages */
    uint64_t got;      /* of these, the first that are done with; fan-out: heard */
    int64_t flying;    /* sent and not done with */
    int64_t overtaken; /* of these, the datagrams below `passed` */
    uint64_t passed;
    size_t out_at;         /* where in the pattern the next message begins */
    size_t in_at;          /* where in the pattern what comes next is */
    size_t part;           /* bytes of a message that has not come whole */
    struct load_run *runs; /* streams: what is under way, the oldest first; a ring */
    uint32_t run_first;
    uint32_t run_next;
    int64_t *stamps; /* datagrams and fan-out: when each left, or should have; a ring */
    uint8_t *seen;   /* datagrams: what became of each; a ring */
    uint32_t *heard; /* datagrams of a fan-out: the number in each place, plus one; a ring */
    uint64_t last;   /* datagrams: the greatest number that came, or was heard, plus one */
    int64_t dialled;
};

enum work_state { WORK_RUN, WORK_DRAIN, WORK_END };

#define COUNTER _Atomic uint64_t

struct load_worker {
    struct eng_load *load;
    outlet_loop *loop;
    int64_t index;
    pthread_t thread;
    bool has_thread;
    bool has_sent;  /* to all that were open at the start */
    bool has_watch; /* of what wakes the caller, when this is its thread */
    bool woken;
    outlet_watch wake_watch;
    enum work_state state;

    int64_t now;
    int clock_left; /* callbacks until the clock is read again */
    bool measuring; /* `from` <= `now` < `until` */
    int64_t start;  /* copies of the run's marks */
    int64_t from;
    int64_t until;
    int64_t cpu_next; /* when the CPU time of this thread is to be read */

    struct load_conn *conns;
    struct load_conn mirror; /* pair: the user data of all far ends */
    int64_t n;
    int64_t dialled; /* how many were begun */
    int64_t dialling;
    int64_t open;
    int64_t began;
    int64_t flying;
    int64_t overtaken;
    size_t ring; /* a power of two */
    struct load_run *runs;
    int64_t *stamps;
    uint8_t *seen;
    uint32_t *heard_rings;
    uint8_t *scratch; /* a datagram to be numbered */

    int64_t left;  /* messages that may still be sent */
    int64_t share; /* of `count`; INT64_MAX: no such end */
    int64_t done;  /* of the share */
    int64_t heard; /* the last answer */
    int64_t drain_until;
    int64_t swept;
    _Atomic int64_t finished; /* when the last message counted; 0: not yet */

    double interval; /* ns between two messages of the schedule; 0: closed */
    int64_t origin;  /* when the first one is due; 0: not begun */
    uint64_t issued;
    int64_t next_at; /* when the next one is due */
    int64_t cursor;
    int timer_fd;
    outlet_watch timer_watch;

    int64_t *hearers; /* fan-out: how many heard each message; a ring */

    struct eng_hist *hist;
    COUNTER messages;
    COUNTER bytes_in;
    COUNTER bytes_out;
    COUNTER failed;
    COUNTER closed;
    COUNTER wrong;
    COUNTER unanswered;
    COUNTER lost;
    COUNTER reordered;
    COUNTER duplicates;
    COUNTER connections;
    _Atomic int64_t cpu_from;  /* CPU time of this thread when it began to measure; -1: not yet */
    _Atomic int64_t cpu_until; /* and when it ended; -1: not yet */
};

struct eng_load {
    struct eng_load_opts opts;
    struct eng_url url;
    enum kind kind;
    bool is_pair;
    bool numbered;    /* the payload tells its number */
    bool eager;       /* connections begin to send as soon as they are open */
    uint8_t *pattern; /* two periods of messages, so that one can be read on from anywhere */
    size_t period;    /* bytes */
    size_t each;      /* messages in a period */
    int64_t at_once;  /* messages that one send may carry */
    struct load_worker *workers;
    int64_t started_workers;
    _Atomic int64_t pending; /* connections that are neither open nor failed yet */
    _Atomic int64_t start;   /* when the schedule begins; INT64_MAX: not known yet */
    _Atomic int64_t from;    /* measured from ... */
    _Atomic int64_t until;   /* ... to */
    _Atomic bool opened;     /* some connection was open once */
    _Atomic bool asked;      /* to end as if the time was over ... */
    _Atomic int64_t ended;   /* ... at this time */
    _Atomic bool stopping;   /* at once */
    _Atomic int64_t running; /* workers */
    int ended_fd;
    const char *driver;
    pthread_mutex_t lock; /* of what went wrong */
    enum eng_load_fault fault;
    struct outlet_reason why;
};

static inline int64_t
clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* One writer, other threads read. */
static inline void
add(COUNTER *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t
value(const COUNTER *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void worker_read_clock(struct load_worker *w);

static inline int64_t
worker_now(struct load_worker *w)
{
    if (w->clock_left-- <= 0)
        worker_read_clock(w);
    return w->now;
}

static inline bool
is_measured(const struct load_worker *w, int64_t at)
{
    return at >= w->from && at < w->until;
}

/* load.c */
void load_fault(struct eng_load *load, enum eng_load_fault fault, const struct outlet_reason *why,
                bool fatal);
void load_opened(struct load_conn *c); /* or failed: it is waited for no more */

/* load_work.c */
outlet_err worker_prepare(struct load_worker *w);
void worker_run(struct load_worker *w);                       /* to its end */
bool worker_turn(struct load_worker *w, int wake_fd, int ms); /* false: it has ended */
void worker_free(struct load_worker *w);
void worker_pace(struct load_worker *w);
void worker_finish(struct load_worker *w);

/* After each answer. */
static inline void
worker_finish_if_done(struct load_worker *w)
{
    if (w->done >= w->share || w->state != WORK_RUN)
        worker_finish(w);
}

/* load_conn.c */
outlet_err conn_dial(struct load_conn *c);
void conn_refill(struct load_conn *c);
bool conn_has_room(const struct load_conn *c);
void conn_send(struct load_conn *c, int64_t n, int64_t stamp);
void conn_send_failed(struct load_conn *c, int64_t code);
void conn_was_wrong(struct load_conn *c, const char *text);
/* A stream that went astray cannot be followed any further. */
void conn_give_up(struct load_conn *c, const char *text);
void conn_after_answer(struct load_conn *c);
bool load_is_as_sent(const struct eng_load *load, size_t at, const uint8_t *bytes, size_t len);

static inline void
load_move_on(const struct eng_load *load, size_t *at, size_t len)
{
    *at += len;
    if (*at >= load->period)
        *at %= load->period;
}

/* load_dgram.c */
void dgram_came(struct load_conn *c, const uint8_t *bytes, size_t len);
/* The whole number, of which 32 bits travelled; false: none that `c` sent lately. */
bool dgram_number(const struct load_conn *c, const uint8_t *bytes, uint64_t *number);
void dgram_done(struct load_conn *c, uint64_t number, uint8_t how);
/* At a fixed rate a datagram counts as under way only until enough later ones came: the rate goes
 * on, whether it was lost or is late. */
void dgram_mark_overtaken(struct load_conn *c);
void dgrams_give_up_old(struct load_conn *c, int64_t before);

/* load_fanout.c */
static inline struct load_conn *
fanout_speaker(const struct load_worker *w)
{
    return &w->conns[w->n - 1];
}

void fanout_opened(struct load_conn *c);
void fanout_heard(struct load_conn *c, const uint8_t *bytes, size_t len);
uint64_t fanout_missing(const struct load_conn *speaker, uint64_t number); /* who has not heard */

#endif
