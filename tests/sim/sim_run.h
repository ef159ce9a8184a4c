/*
 * sim_run.h - whole-system runs: two loops in one simulated world, a user who decides everything by
 * the seed, and a model that knows what must come out.
 *
 *     profile + seed --> run: loops, listeners, faults --> user acts <--> model checks --> verdict
 *
 * user.c decides and calls the library; model.c writes down what was sent and judges what arrives;
 * sim_run.c makes the world, steps it, and judges the end.
 *
 * What a newcomer gets wrong: to assert inside a callback.  A run that goes wrong calls wrong(),
 * which keeps the first complaint, and is stopped from outside.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "failing_heap.h"
#include "io/loop/loop.h"
#include "outlet/outlet.h"

enum {
    ENDS_MAX = 64,
    SENT_MAX = 96, /* messages of one end */
    KEPT_MAX = 16, /* retained messages */
    PUBLISHED_MAX = 64,
    ALARMS_MAX = 256,
    LISTENERS_MAX = 4,
    NAMES = 6,
    MESSAGE_MAX = 200000,
    TEXT_MAX = 512
};

/* What a profile lets happen.  Without any of these every connection ends in order. */
enum trait {
    RUDE = 1,          /* the user aborts, refuses, stops and closes loops in the middle */
    BREAKS = 2,        /* the network resets */
    NO_ANSWER = 4,     /* refusals, black holes, no descriptors */
    SMALL_QUEUES = 8,  /* tiny cap, every policy */
    SMALL_MEMORY = 16, /* tiny memory_max */
    SHORT_TIMES = 32,  /* limits run out */
    FEW_CONNS = 64,    /* conns, conns_per_address */
    DATAGRAMS = 128,   /* udp only */
    LOSSY = 256,       /* datagrams get lost, doubled, overtaken */
    CALL_FAILS = 512,  /* one driver call fails */
    HEAP_FAILS = 1024, /* one allocation fails */
    SLICES = 2048,     /* very small send buffers */
    LIVELY = 4096      /* nothing is lost: what was sent has arrived when all is quiet */
};

struct profile {
    const char *name;
    unsigned traits;
    unsigned weight; /* share of the seeds */
};

extern const struct profile profiles[];
extern const size_t profile_count;

enum carrier {
    TCP4,
    TCP6,
    TCP_BOTH,
    UNIX_PATH,
    UNIX_ABSTRACT,
    UNIX_PACKETS,
    PLUG,
    BOTH_ENDS,
    UDP4,
    UDP6
};

struct run;
struct end;

struct frame_kind {
    const char *text;
    size_t fixed; /* every message has this size; 0: any */
    size_t min;
    size_t max;
    bool none;
    bool letters; /* content must not hold the marks */
};

extern const struct frame_kind frame_kinds[];
extern const size_t frame_kind_count;
extern const struct frame_kind packet_kind; /* no framing: the transport keeps borders */

struct sent {
    size_t len;
    const struct frame_kind *turn_to; /* both sides change to this framing after it */
    bool answer;                      /* it confirms such a change */
    bool letters;                     /* its content holds no marks */
};

struct published {
    size_t len;
    int loop;
    int group;
    int except; /* index of an end; -1: nobody */
};

struct listener {
    struct run *run;
    outlet_listener h;
    struct outlet_opts opts;
    enum carrier carrier;
    int loop;
    const struct frame_kind *frame;
    char url[64];
    bool closed;
    bool limited;
};

/* One connection, as the user sees it. */
struct end {
    struct run *run;
    int index;
    int loop;
    outlet_conn h;
    enum carrier carrier;
    bool server;
    bool away; /* everything is asked from outside of its reactor */
    const struct frame_kind *frame;
    int64_t cap;
    int64_t high;
    int64_t full;
    bool half_open;

    bool accepted;
    bool opened;
    bool told;
    bool stale_checked;
    bool refused;      /* by us, in on_accept */
    bool closed;       /* outlet_close() was called */
    bool closed_here;  /* ... on its own reactor: no message may follow */
    bool closed_early; /* ... before it was open */
    bool aborted;
    bool ended;
    bool ended_here;
    bool paused;      /* on its own reactor */
    bool vague;       /* ... which a resume from elsewhere may have undone */
    bool paused_once; /* anywhere */
    bool heard_end;
    bool frozen; /* waits for the answer to a change of framing */
    bool full_seen;
    bool posted;    /* it sent from elsewhere */
    bool lost_some; /* what was posted behind a close may be lost */
    int peer_errors;
    struct outlet_reason why;

    struct sent sent[SENT_MAX];
    int sent_count;
    uint64_t sent_bytes;
    int64_t messages_out; /* as the library should count them */
    struct end *peer;
    int next;           /* of the peer's messages */
    uint64_t got_bytes; /* of the peer's stream */
    int skipped;
    int64_t messages_in;
    int64_t bytes_in;
    int64_t dropped; /* as the library says at the end */
    int64_t told_bytes_in;
    int64_t told_bytes_out;
    uint8_t seen[SENT_MAX]; /* datagrams of the peer */
    int got_empty;
    uint8_t head[8];
    size_t head_len;

    int group; /* 0: none; its stream carries what is published there */
    bool joined;
    bool left;
    int join_at; /* first publication that it gets */
    int leave_at;
    int got_published; /* how many of the peer's group's */
    int last_published;
    bool got_unknown; /* some before it knew its peer */
    int name;         /* 0: none */
};

struct kept {
    outlet_buf *buf;
    uint64_t sum;
};

struct user_alarm {
    struct run *run;
    outlet_timer h;
    int end; /* -1: none */
    ol_time due;
    ol_time every;
    int fired;
    bool live;
    bool stopped_here;
    bool resumes;
};

struct run {
    const struct profile *profile;
    uint64_t seed;
    bool verbose;
    struct ol_rng rng;
    struct failing_heap heap;
    struct ol_sim *world;
    struct ol_sim_faults faults;
    struct outlet_loop *loops[2];
    bool stopped[2]; /* asked to stop or drain */
    bool drained[2];
    bool heap_failed;
    int64_t memory_max;
    unsigned traits;
    int actions; /* that are left */
    int depth;   /* inside a call of the library that must not call back */
    bool winding_up;
    struct listener listeners[LISTENERS_MAX];
    int listener_count;
    struct end ends[ENDS_MAX];
    int end_count;
    struct published published[PUBLISHED_MAX];
    int published_count;
    struct user_alarm alarms[ALARMS_MAX];
    int alarm_count;
    struct kept kept[KEPT_MAX];
    int posts_owed;
    uint64_t turns;
    int messages;
    uint8_t bytes[MESSAGE_MAX + 16];
    bool bad;
    char complaint[TEXT_MAX];
};

/* ---- sim_run.c ---- */

/* false: r->complaint says what is wrong. */
bool run_once(struct run *r, const struct profile *p, uint64_t seed, bool verbose);
const struct profile *profile_named(const char *name);
void wrong(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t pick(struct run *r, uint64_t n); /* 0..n-1 */
bool one_in(struct run *r, uint64_t n);
bool may(const struct run *r, unsigned traits); /* any of them */

/* ---- user.c ---- */

extern const struct outlet_handlers user_handlers;
void user_begin(struct run *r);   /* listeners, first connects */
void user_outside(struct run *r); /* something between two turns */
void user_settle(struct run *r);  /* resume everything, start nothing */
void user_wind_up(struct run *r); /* release what is kept */
bool at_home(const struct end *e);

/* ---- model.c ---- */

struct end *end_new(struct run *r, int loop, enum carrier c, bool server,
                    const struct frame_kind *frame);
bool is_udp(enum carrier c);
bool has_framing(enum carrier c);
bool drops(const struct end *e);                              /* its queue may drop messages */
size_t text_number(uint8_t *to, char first, unsigned number); /* 8 letters */
/* The bytes of the next message of `e`. */
void model_fill(const struct end *e, uint8_t *to, size_t len);
void model_sent(struct end *e, size_t len, const struct frame_kind *turn_to, bool answer);
void model_fill_published(int number, uint8_t *to, size_t len);
/* Which message was it?  NULL: nothing that asks for an answer. */
const struct sent *model_received(struct end *e, const uint8_t *bytes, size_t len);
void model_all_arrived(struct end *e, const char *when); /* everything the peer sent is here */
void model_closed(struct end *e, const struct outlet_reason *why);
void model_quiet(struct run *r); /* nothing moves any more: nothing may be stuck */
void model_final(struct run *r); /* all loops are gone */
int64_t fact(struct end *e, const char *key);

#endif
