/*
 * driver_world.h - a driver, the links made on it and all that was heard of them, for tests of the
 * table of functions that every driver fills.
 *
 *     static void
 *     a_pair_echoes(void **state)
 *     {
 *         struct world *w = *state;            a driver, open; set_up() made it
 *         struct peer *a;
 *         struct peer *b;
 *
 *         pair_both(w, &a, &b);
 *         b->echo = true;
 *         send_wave(a, 1000);
 *         RUN_UNTIL(w, a->received == 1000);
 *     }                                        tear_down() closes everything, and looks for leaks
 *
 * run_in_worlds() runs such tests once for each driver that works here, and several times with
 * other seeds on the simulator, whose clock is virtual.
 *
 * What a newcomer gets wrong: to assert in complete().  cmocka jumps out of it, and a driver must
 * not be jumped: there things are only written down, and the test body looks at them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_DRIVER_WORLD_H
#define TEST_DRIVER_WORLD_H

#include "failing_heap.h"
#include "io/driver/driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    PEERS = 600,
    TOKENS = 128,
    WAVE = 65521, /* period of the bytes that streams carry: a prime, so that no block size divides
                     it */
    WAVE_ROOM = 4 * WAVE,
    PATIENCE_MS = 20000
};

struct world;

/* A link and all that was heard of it. */
struct peer {
    struct ol_link link;
    struct world *w;
    bool used;

    int32_t tokens[TOKENS]; /* accepted and not adopted yet */
    int accepted;
    int adopted;
    int32_t accept_error;
    struct ol_addr accepted_from;
    bool has_from;
    bool goes_on; /* accepting, after the last client */

    int connected;
    int32_t connect_result;

    bool echo; /* send as many bytes as come */
    size_t received;
    bool wrong; /* bytes that are not the wave's, or too little room around them */
    bool ended;
    int32_t receive_error;
    bool receive_more;
    int receive_calls;
    struct ol_block *kept; /* of the first bytes, when keep is set */
    const uint8_t *kept_data;
    size_t kept_len;
    bool keep;

    size_t to_send;
    size_t sent;
    bool pending;
    int times_pending;
    int64_t send_error;

    int datagrams;
    size_t datagram_bytes;
    bool truncated;
    bool reply; /* answer each datagram to where it came from, from where it was sent to */
    bool has_to;
    struct ol_addr from;
    struct ol_addr to;
    uint8_t *last; /* datagram; made for the first: 600 such rooms would be 39 MB each time */
    size_t last_len;
    uint32_t seen[8]; /* bit i: a datagram that begins with the byte i */

    int ready_calls;
    int32_t ready;

    bool takes; /* note of what was sent quietly, ... */
    size_t took;

    bool asked_to_close;
    int closed;
    bool heard_after_closed;
};

struct world {
    const struct ol_driver_ops *ops;
    struct failing_heap heap;
    struct ol_budget *budget;
    struct ol_log log;
    struct ol_driver *d;
    int descriptors;
    int max;    /* completions per wait */
    bool looks; /* step() looks, and waits for nothing */
    int waits;
    struct peer *peers;
    uint8_t *wave;
    char directory[32]; /* "": none was made */
};

/* ---- driving ----------------------------------------------------------------------------- */

/* One wait until then at the latest, or one look: what came is heard.  How many, or < 0. */
int step(struct world *w, ol_time until);

/* Everything that comes by itself within a short time. */
void settle(struct world *w, int ms);

int64_t cpu_time(void); /* ns, of the process */

/* Nothing comes for 100 ms, and the driver sleeps meanwhile. */
void assert_quiet(struct world *w);

#define RUN_UNTIL(w, condition)                                       \
    do {                                                              \
        ol_time limit_ = (w)->ops->now((w)->d) + PATIENCE_MS * OL_MS; \
        while (!(condition) && (w)->ops->now((w)->d) < limit_) {      \
            if (step((w), limit_) < 0)                                \
                break;                                                \
        }                                                             \
        assert_true(condition);                                       \
    } while (0)

/* ---- links ------------------------------------------------------------------------------- */

/* One that is not used yet. */
struct peer *peer(struct world *w);
void close_peer(struct peer *p, bool reset);
bool all_closed(const struct world *w); /* that were asked to */

/* The results of the driver, for tests of what it refuses. */
int try_listen(struct peer *p, enum ol_link_kind kind, struct ol_addr at, enum ol_share_port share,
               struct ol_addr *bound);
int connect_result(struct peer *p, enum ol_link_kind kind, struct ol_addr to);

/* These cannot fail.  They receive, or accept; what is adopted does so after receive(). */
struct peer *listen_at(struct world *w, struct ol_addr at, struct ol_addr *bound);
struct peer *dgrams_at(struct world *w, struct ol_addr at, struct ol_addr *bound);
struct peer *connect_to(struct world *w, enum ol_link_kind kind, struct ol_addr to);
struct peer *adopt_token(struct world *w, int32_t token);
struct peer *adopt_next(struct peer *listener);
void receive(struct peer *p);

/* A connection over tcp, and a pair of unix sockets: both sides receive. */
void connect_both(struct world *w, struct peer **client, struct peer **server);
void pair_both(struct world *w, struct peer **a, struct peer **b);

/* Further bytes of the wave, which the other side knows. */
void send_wave(struct peer *p, size_t bytes);
void send_datagram(struct peer *p, const void *bytes, size_t len, const struct ol_addr *to);

/* A connection there, whose bytes come back and whose ends name each other rightly. */
void echo_over(struct world *w, struct ol_addr at);

/* ---- addresses --------------------------------------------------------------------------- */

struct ol_addr v4(uint8_t last, uint16_t port); /* 127.0.0.last */
struct ol_addr v6(uint16_t port);               /* ::1 */
struct ol_addr abstract(void);

/* A path in a directory of this world's, which must be empty when the test is over. */
struct ol_addr in_directory(struct world *w, const char *name);

/* ---- running ----------------------------------------------------------------------------- */

int set_up(void **state);
int tear_down(void **state);

#define IN_WORLD(test)                       \
    {                                        \
#test, test, set_up, tear_down, NULL \
    }

/*
 * The simulator's world has no files, threads or foreign descriptors, and every address: what needs
 * them stands in for_the_kernel.  count == 0: there are none.  Returns how many tests failed.
 */
struct world_tests {
    const struct CMUnitTest *tests;
    size_t count;
};

#define WORLD_TESTS(array) ((struct world_tests){(array), OL_COUNT(array)})
#define NO_WORLD_TESTS ((struct world_tests){NULL, 0})

int run_in_worlds(struct world_tests for_every_driver, struct world_tests for_the_kernel,
                  struct world_tests for_epoll);

#endif
