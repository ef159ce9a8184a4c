/*
 * loop.h - reactors: one driver, one thread, one mailbox each; and the handles that find them.
 *
 *     any thread --- mail ---> mailbox \
 *     driver ------ completions ------> turn: links, mail, timers, then what the turn left to flush
 *     wheel ------- alarms ----------> /
 *
 * What a newcomer gets wrong: an object of a reactor may be touched by its own thread only.  Others
 * enter the reactor's cell (ol_enter), look at published (atomic) fields or post mail, and leave.
 * What they can reach is freed through ol_retire(), never directly.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_LOOP_H
#define OL_LOOP_H

#include "base/base.h"
#include "io/driver/driver.h"
#include "io/driver/sim.h"
#include "io/timer/timer.h"
#include "outlet/loop.h"

#include <pthread.h>

/* ---- handles: kind 3 bits, reactor 12, slot 24, generation 24; 63 in all ----------------- */

enum ol_kind {
    OL_KIND_CONN = 1,
    OL_KIND_LISTENER = 2,
    OL_KIND_TIMER = 3,
    OL_KIND_WATCH = 4,
    OL_KIND_COUNT = 5
};

enum {
    OL_GENERATION_BITS = 24,
    OL_SLOT_BITS = 24,
    OL_CELL_BITS = 12,
    OL_CHUNK_BITS = 8, /* slots are made 256 at a time */
    OL_CHUNK_SLOTS = 1 << OL_CHUNK_BITS,
    OL_CHUNKS_MAX = 1 << (OL_SLOT_BITS - OL_CHUNK_BITS),
    OL_GENERATION_PAGE_BITS = 10, /* generations are mapped a page at a time: 1,024 of 4 bytes */
    OL_GENERATIONS_PER_PAGE = 1 << OL_GENERATION_PAGE_BITS,
    OL_GENERATION_PAGES_MAX = 1 << (OL_SLOT_BITS - OL_GENERATION_PAGE_BITS)
};

struct ol_handle {
    enum ol_kind kind;
    uint32_t cell;
    uint32_t slot;
    uint32_t generation;
};

uint64_t ol_handle_pack(struct ol_handle h);
bool ol_handle_unpack(uint64_t id, enum ol_kind kind, struct ol_handle *out);
bool ol_handle_alive(uint64_t id, enum ol_kind kind); /* any thread */

/* Of an id that ol_handle_pack() made. */
static inline uint32_t
ol_handle_slot(uint64_t id)
{
    return (uint32_t)(id >> OL_GENERATION_BITS) & ((UINT32_C(1) << OL_SLOT_BITS) - 1);
}

/* ---- the registry: what outlives every loop ---------------------------------------------- */

struct ol_reactor;
struct ol_mail;

/*
 * Generations of one kind's slots.  They outlive the reactor, so that a handle of a loop that is
 * gone never fits an object of the next one.  A stored value is generation << 1 | alive.
 */
struct ol_generations {
    _Atomic(_Atomic uint32_t *) chunks[OL_GENERATION_PAGES_MAX];
};

/* One reactor's place.  Never unmapped; used again by a later loop once its reactor is gone. */
struct ol_cell {
    uint32_t index;
    _Atomic(struct ol_reactor *) reactor; /* NULL: no reactor, or this is a forked child */
    /* Visitors from other threads, in two epochs: what was retired in the old one is freed when its
     * last visitor has left. */
    _Atomic uint32_t epoch;
    _Atomic uint32_t visitors[2];
    _Atomic(struct ol_mail *) mail; /* newest first */
    struct ol_generations *generations[OL_KIND_COUNT];
    struct ol_cell *next_free;
};

struct ol_cell *ol_cell_take(void); /* NULL: no memory or 4,096 are in use */
void ol_cell_open(struct ol_cell *c, struct ol_reactor *r); /* visitors from now on */
void ol_cell_close(struct ol_cell *c);      /* no new visitors; waits for those inside */
void ol_cell_give_back(struct ol_cell *c);  /* closed before */
struct ol_cell *ol_cell_at(uint32_t index); /* NULL: never made */
uint32_t ol_fork_count(void);               /* how many forks deep this process is */

/* ---- slots: where a reactor's objects live ----------------------------------------------- */

/*
 * Objects of one kind, in two parts: the hot one starts on a cache line, the cold one lies apart.
 * Taking and giving back lock, because connect and timers come from any thread; looking up does
 * not.  A reactor that makes and ends objects itself keeps some of its own at hand: no lock, and
 * the one that ended last is still in the cache.
 */
enum { OL_SLOTS_AT_HAND = 64 };

struct ol_slots {
    struct ol_generations *generations;
    const ol_heap *heap;
    size_t hot_size;
    size_t cold_size;
    pthread_mutex_t lock;
    _Atomic(uint8_t *) *chunks; /* OL_CHUNKS_MAX pointers, mapped lazily */
    uint32_t made;
    uint32_t free_first; /* oldest first, so that generations last; OL_SLOT_NONE: empty */
    uint32_t free_last;
    _Atomic uint32_t live;
    struct ol_reactor *owner; /* who alone touches what is below, and only while it runs */
    uint32_t at_hand_count;
    uint32_t at_hand[OL_SLOTS_AT_HAND];
};
#define OL_SLOT_NONE UINT32_MAX

outlet_err ol_slots_init(struct ol_slots *s, struct ol_generations *g, const ol_heap *heap,
                         size_t hot_size, size_t cold_size);
void ol_slots_set_owner(struct ol_slots *s, struct ol_reactor *r);
void ol_slots_fini(struct ol_slots *s); /* every live generation ends: its handles become stale */
/* Both parts come zeroed.  The handle, made of *slot and *generation, answers "stale" until
 * ol_slot_publish(); a slot that was never published can be given back at once. */
outlet_err ol_slot_take(struct ol_slots *s, uint32_t *slot, uint32_t *generation, void **hot,
                        void **cold);
void ol_slot_publish(struct ol_slots *s, uint32_t slot);
void ol_slot_hide(struct ol_slots *s, uint32_t slot);      /* its handle is stale from now on */
void ol_slot_give_back(struct ol_slots *s, uint32_t slot); /* hidden, and no visitor sees it */
/* NULL: stale.  From other threads only between ol_enter and ol_leave. */
void *ol_slot_get(const struct ol_slots *s, uint32_t slot, uint32_t generation);
bool ol_slot_alive(const struct ol_slots *s, uint32_t slot, uint32_t generation);
/* The slot's object and generation if it is alive now; NULL if not.  slot < ol_slots_made(). */
void *ol_slot_peek(const struct ol_slots *s, uint32_t slot, uint32_t *generation);
uint32_t ol_slots_made(struct ol_slots *s);

/* ---- mail -------------------------------------------------------------------------------- */

struct ol_mail {
    struct ol_mail *next;
    void (*run)(struct ol_reactor *r, struct ol_mail *m); /* on the reactor; frees the mail */
};

/* Memory that visitors may still look at. */
struct ol_retired {
    struct ol_retired *next;
    void (*destroy)(struct ol_reactor *r, struct ol_retired *x);
};

/* ---- alarms: timers with something to call ----------------------------------------------- */

struct ol_alarm {
    struct ol_timer timer;
    void (*fire)(struct ol_reactor *r, struct ol_alarm *a);
};

/* ---- reactor ----------------------------------------------------------------------------- */

/* Called at the end of each turn, before it waits again: flush what the turn left. */
struct ol_turn_end {
    struct ol_list node;
    void (*run)(struct ol_reactor *r, struct ol_turn_end *e);
};

struct ol_reactor {
    struct outlet_loop *loop;
    struct ol_driver *driver;
    const struct ol_driver_ops *ops; /* of the driver */
    struct ol_cell *cell;
    uint32_t index; /* in its loop */
    ol_time now;    /* read once per turn */
    const ol_heap *heap;
    struct ol_share share; /* its part of the loop's memory_max */
    struct ol_wheel wheel;
    struct ol_list turn_ends;
    struct ol_slots slots[OL_KIND_COUNT];
    struct ol_retired *retired_now;
    struct ol_retired *retired_before;
    ol_time busy_poll;   /* how long to look before sleeping; 0: not at all */
    uint32_t misses;     /* looks in a row that found nothing */
    uint32_t busy_looks; /* all of them; one in some is a wait */
    bool is_crowded;     /* the loop has more reactors than CPUs */
    struct ol_mail stop_mail;
    struct ol_mail drain_mail;
    size_t live;  /* links that must be closed before the reactor may end */
    size_t busy;  /* of these, what a drain waits for: connections and listeners */
    bool hurry;   /* a turn's end left work: do not sleep before the next turn */
    bool turning; /* inside a turn */
    bool stopping;
    bool drained;
    bool embedded;
    bool by_turns; /* of the program, which may look at anything between them */
    bool failed;   /* the driver did: nothing more can be waited for */
    bool ended;
    _Atomic(void *) net; /* what the layer above keeps per reactor; see ol_loop_hooks */
    pthread_t thread;
    bool has_thread;
    struct ol_completion batch[OL_BATCH_MAX];
};

/* What the layer above wants to know.  It attaches itself when it is first used on a loop. */
struct ol_loop_hooks {
    outlet_err (*attach)(struct outlet_loop *l); /* make the per-reactor part; under the lock */
    void (*drain)(struct ol_reactor *r);         /* on the reactor: begin to close all in order */
    void (*stop)(struct ol_reactor *r);          /* on the reactor: abort everything */
    void (*detach)(struct outlet_loop *l);       /* every reactor has ended: free the rest */
    /* Instead, in a forked child: close the descriptors, tell nobody, and leave the parent's
     * connections as they are.  Not at rest, the memory is left alone: it ends with the child. */
    void (*abandon)(struct outlet_loop *l, bool at_rest);
};

enum ol_loop_state {
    OL_LOOP_NEW,
    OL_LOOP_RUNNING, /* outlet_loop_run(): on its caller's thread, which says when it is done */
    OL_LOOP_STARTED, /* outlet_loop_start(): threads to be joined */
    OL_LOOP_TURNING,
    OL_LOOP_ENDED
};

struct outlet_loop {
    ol_heap heap; /* a copy of the caller's table */
    struct ol_budget *budget;
    struct ol_log log;
    struct ol_sim *world; /* driver sim: stepped by run */
    bool owns_world;
    const char *driver_name;
    uint32_t reactor_count;
    struct ol_reactor **reactors;
    uint32_t fork_count;
    pthread_mutex_t lock; /* attach, state, names; never held while a callback runs */
    pthread_cond_t ended; /* with `lock`: RUNNING became ENDED */
    _Atomic int state;    /* enum ol_loop_state */
    _Atomic bool stop_asked;
    _Atomic uint32_t drained; /* reactors with nothing left while draining */
    _Atomic bool draining;
    struct ol_alarm drain_deadline; /* on reactor 0 */
    int64_t drain_ms;
    _Atomic pthread_t turner; /* the thread of outlet_loop_turn() */
    _Atomic(const struct ol_loop_hooks *) hooks;
    void *net; /* what the layer above keeps per loop */
    struct ol_hash_key hash_key;
    _Atomic uint32_t next_reactor; /* round robin for work from outside */
};

/*
 * The reactor whose turn this thread is in, or NULL.  Looked at in every call of the library, so it
 * is reached by one instruction instead of a call, also in a shared library (initial-exec): that
 * takes 8 bytes of the room that glibc keeps for libraries which dlopen() brings.
 */
extern _Thread_local struct ol_reactor *ol_current_reactor
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline struct ol_reactor *
ol_current(void)
{
    return ol_current_reactor;
}

static inline void
ol_current_set(struct ol_reactor *r)
{
    ol_current_reactor = r;
}

/* The thread-safe way to another reactor: NULL when it is gone.  Leave soon; never nest. */
struct ol_reactor *ol_enter(struct ol_cell *c, uint32_t *epoch);
void ol_leave(struct ol_cell *c, uint32_t epoch);

/* From any thread that is in the reactor's cell, or on the reactor itself. */
void ol_post(struct ol_reactor *r, struct ol_mail *m);
/* On the reactor: destroy when no visitor can see it any more. */
void ol_retire(struct ol_reactor *r, struct ol_retired *x,
               void (*destroy)(struct ol_reactor *r, struct ol_retired *x));

void ol_alarm_set(struct ol_reactor *r, struct ol_alarm *a, ol_time deadline);
void ol_alarm_clear(struct ol_reactor *r, struct ol_alarm *a);

/* ---- running them ------------------------------------------------------------------------ */

outlet_err ol_reactor_open(struct outlet_loop *l, uint32_t index, const struct ol_driver_ops *ops,
                           struct ol_reactor **out);
void ol_reactor_free(struct ol_reactor *r);
/* One pass.  Negative errno when the driver failed. */
int ol_reactor_turn(struct ol_reactor *r, ol_time until);
/* Until it is done: 0; or until the driver fails. */
int ol_reactor_run(struct ol_reactor *r);
/* Stop was asked and everything is closed. */
static inline bool
ol_reactor_done(const struct ol_reactor *r)
{
    return OL_UNLIKELY(r->stopping) && (r->live == 0 || r->failed);
}

/* On the reactor, once it is done: shut the cell, run the last mail, free the driver. */
void ol_reactor_end(struct ol_reactor *r);
/* Run what was mailed.  Answers whether there was any. */
bool ol_mail_run(struct ol_reactor *r);
void ol_retired_run(struct ol_reactor *r);                      /* only when there is any */
void ol_retired_flush(struct ol_reactor *r);                    /* no visitor can come any more */
void ol_loop_note_drained(struct ol_reactor *r);                /* after each turn while draining */
void ol_loop_run_stop(struct ol_reactor *r, struct ol_mail *m); /* what the two mails do */
void ol_loop_run_drain(struct ol_reactor *r, struct ol_mail *m);

outlet_err ol_timers_init(struct ol_reactor *r);
outlet_err ol_watches_init(struct ol_reactor *r);
void ol_watches_stop(struct ol_reactor *r);

/* The datagram that starts at byte `at` of a completion that holds several; false: behind the last.
 */
bool ol_lent_segment(const struct ol_completion *done, uint32_t at, struct ol_lent *out);

/* Make sure that the layer above is attached. */
outlet_err ol_loop_attach(struct outlet_loop *l, const struct ol_loop_hooks *hooks);
/* The current reactor if it belongs to `l`, else the next in turn (first_only: reactor 0). */
struct ol_reactor *ol_loop_pick(struct outlet_loop *l, bool first_only);
/* OUTLET_ESTATE when the loop has stopped, or this is a forked child of its maker. */
outlet_err ol_loop_check(struct outlet_loop *l);

/* For tests: a loop whose reactors live in a world that somebody else steps. */
outlet_err ol_loop_new_in(struct outlet_loop **out, const struct outlet_loop_opts *opts,
                          struct ol_sim *world);
/* Which reactor belongs to a driver that the world chose; NULL: none of this loop. */
struct ol_reactor *ol_loop_reactor_of(struct outlet_loop *l, const struct ol_driver *d);

#endif
