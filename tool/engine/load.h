/*
 * load.h - put load on one endpoint that the user names, and measure what comes back.
 *
 *     eng_load_start --> (eng_load_wait --> eng_load_look)* --> eng_load_end
 *
 * Each thread has a loop of its own and its share of the connections.  A run is closed (a
 * connection sends when an answer came) or open (`rate` messages a second whatever comes back).  In
 * an open run a latency counts from when a message should have left by the schedule, so that a
 * server that stalls is charged for everything it held up.
 *
 * What a newcomer gets wrong: to run for ever.  Each run ends: by time_ms, by count, or by stall_ms
 * without an answer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_LOAD_H
#define ENG_LOAD_H

#include "hist.h"

#include <outlet/outlet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eng_bytes;

enum eng_load_mode {
    ENG_LOAD_ECHO,  /* each message comes back on its connection */
    ENG_LOAD_CHURN, /* connect, one round trip, close, again */
    ENG_LOAD_HOLD,  /* connect, and stay silent */
    ENG_LOAD_FANOUT /* one connection more speaks, all the others hear it */
};

enum {
    ENG_LOAD_SIZE_MAX = 16 * 1024 * 1024,
    ENG_LOAD_DEPTH_MAX = 65536,
    ENG_LOAD_CONNECTIONS_MAX = 1000000,
    ENG_LOAD_THREADS_MAX = 256
};

struct eng_load_opts {
    const char *url;    /* lent until eng_load_end() */
    const char *driver; /* NULL: what the environment says */
    enum eng_load_mode mode;
    int64_t connections;
    int64_t depth; /* messages in flight per connection, at most; with a rate, datagrams that later
                      ones overtook are not counted: those may be lost */
    int64_t threads;
    const uint8_t *payload; /* NULL: `size` bytes that tell their number; lent until the end */
    size_t size;
    bool check;         /* compare what comes back */
    double rate;        /* messages a second, all connections together; 0: closed */
    int64_t count;      /* messages in all; 0: no such end */
    int64_t time_ms;    /* measured; 0: no such end */
    int64_t ramp_ms;    /* over which connections are opened */
    int64_t warm_ms;    /* before anything is counted */
    int64_t stall_ms;   /* without one answer for so long, a run by count ends; 0: 5,000 */
    int64_t correct_ns; /* correct for omission: what a client that sends this often would have
                           seen; 0: off */
};

/* What went wrong first. */
enum eng_load_fault {
    ENG_LOAD_FINE,
    ENG_LOAD_NOT_CONNECTED, /* `why` tells */
    ENG_LOAD_CLOSED,        /* a connection ended before we did */
    ENG_LOAD_WRONG,         /* an answer is not what was sent; `why` tells */
    ENG_LOAD_UNANSWERED,
    ENG_LOAD_NOT_SENT, /* such a message cannot be sent there */
    ENG_LOAD_BROKEN    /* this machine */
};

struct eng_load_result {
    uint64_t messages; /* answered while it was measured; hold: connections */
    uint64_t bytes_in; /* of payload */
    uint64_t bytes_out;
    uint64_t errors;     /* failed + closed + wrong + unanswered */
    uint64_t failed;     /* connections that could not be made */
    uint64_t closed;     /* connections that ended before we did */
    uint64_t wrong;      /* answers that are not what was sent */
    uint64_t unanswered; /* streams: sent, and not answered at the end */
    uint64_t lost;       /* datagrams that did not come back, of the whole run */
    uint64_t reordered;
    uint64_t duplicates;
    uint64_t connections; /* open now */
    int64_t threads;      /* no more than there are connections, or messages */
    int64_t cpu_ns;       /* what this side used of it, all threads; 0 until it is over */
    double seconds;       /* measured so far */
    double rate;
    struct eng_hist *hist; /* the caller's; in ns */
    bool measuring;
    int result; /* enum eng_result, thresholds aside */
    enum eng_load_fault fault;
    struct outlet_reason why;
    const char *driver;
};

struct eng_load;

/* 0 or enum eng_result with *why filled, and nothing was started. */
int eng_load_start(const struct eng_load_opts *opts, struct eng_load **out,
                   struct outlet_reason *why);
/*
 * Work, or wait for the threads that do, until all has ended, `fd` (-1: none, always the same)
 * is readable, or `ms` (-1: for ever) have passed.  One thread is the caller's own: a process
 * without a second one pays less for each system call.
 */
enum eng_load_state { ENG_LOAD_RUNS, ENG_LOAD_WOKEN, ENG_LOAD_ENDED };
enum eng_load_state eng_load_wait(struct eng_load *load, int fd, int ms);
void eng_load_look(struct eng_load *load, struct eng_load_result *out); /* clears out->hist first */
/* End as if the time was over; asked twice, at once. */
void eng_load_stop(struct eng_load *load);
void eng_load_end(struct eng_load *load); /* waits for the threads; NULL is allowed */

/* ---- what people write (load_rule.c) ---- */

/* "p99<2ms": what is measured, a comparison, a limit. */
struct eng_rule_of_load {
    char text[64];
    int metric;
    double percent; /* of latencies */
    char op;        /* '<' '>' 'l' (<=) 'g' (>=) '=' */
    double limit;   /* latencies: ns */
};

bool eng_load_rule_parse(const char *text, struct eng_rule_of_load *out);
bool eng_load_rule_holds(const struct eng_rule_of_load *rule, const struct eng_load_result *r);
bool eng_load_rule_is_latency(const struct eng_rule_of_load *rule); /* an upper bound of one */
double eng_load_rule_value(const struct eng_rule_of_load *rule, const struct eng_load_result *r);
bool eng_load_rate_parse(const char *text, double *rate);  /* "50000" "50k/s" "1.5M/s" */
bool eng_load_time_parse(const char *text, int64_t *ns);   /* "50us" "1.5ms", above 0 */
bool eng_load_size_parse(const char *text, int64_t *size); /* "64" "64k" "1M" */

/* ---- the greatest rate under a bound (load_rule.c) ---- */

/* Doubles until a step fails, then halves what lies between; pure. */
struct eng_find {
    double low;  /* held */
    double high; /* did not; 0: none yet */
    double rate; /* of the next step */
    int steps;
    int misses; /* at this rate */
};

void eng_find_start(struct eng_find *f, double rate);
/* False: there is nothing more to try, and `low` (0: none) was found.  One miss may be the
 * machine's: a rate is tried three times before it counts as too much. */
bool eng_find_next(struct eng_find *f, bool held);

/* ---- pictures (load_plot.c) ---- */

/* Edges 1, 2, 5, 10 ... ns around what was recorded; answers how many rows there are. */
enum { ENG_PICTURE_ROWS = 24 };
struct eng_picture_row {
    int64_t from; /* ns */
    int64_t to;
    uint64_t count;
};
int eng_load_picture(const struct eng_hist *h, struct eng_picture_row rows[ENG_PICTURE_ROWS]);
/* Latency by percentile, as SVG; each line of `titles` above it. */
void eng_load_plot(const struct eng_load_result *r, const char *titles, struct eng_bytes *out);
void eng_load_time_text(char *text, size_t room, double ns); /* "12.3 µs" */
/* One JSON line (json.c of load): `load`. */
void eng_load_json(const struct eng_load_opts *opts, const struct eng_load_result *r,
                   double found_rate, int exit_code, struct eng_bytes *out);

#endif
