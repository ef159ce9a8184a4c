/*
 * sim.h - the simulated network: one world in memory for all its drivers, stepped on one thread.
 *
 * Everything that chance does comes from the seed: how bytes are sliced, how long they travel,
 * which datagram is lost, doubled or overtaken, when a connection is reset, which call runs out of
 * descriptors.  The clock is virtual: it stands still while anyone has work and jumps to the next
 * event when nobody has.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_SIM_H
#define OL_SIM_H

#include "driver.h"

/* Chances in 1/65536.  All zero: a network that never fails, but still slices. */
struct ol_sim_faults {
    uint32_t reset;        /* per delivery on a stream: the connection breaks for both */
    uint32_t refuse;       /* per connect */
    uint32_t black_hole;   /* per tcp connect: no answer; ETIMEDOUT after 127 s, as with Linux */
    uint32_t accept_fails; /* per accept: EMFILE */
    uint32_t socket_fails; /* per connect or listen: EMFILE */
    uint32_t lose;         /* per datagram */
    uint32_t duplicate;
    uint32_t reorder;
    uint32_t delay_max_us; /* per delivery: 0..this, uniform, on top of 10: if it could
                              take no time at all, endless traffic would stop the clock */
    uint32_t send_room;    /* bytes a socket's send buffer holds; 0: 65,536 */
    uint64_t fail_call;    /* the n-th driver call that can fail does, with fail_errno; 0: none */
    int fail_errno;
};

struct ol_sim *ol_sim_new(const ol_heap *heap, uint64_t seed, const struct ol_sim_faults *faults);
void ol_sim_free(struct ol_sim *w); /* all its drivers must be freed */
void ol_sim_set_faults(struct ol_sim *w, const struct ol_sim_faults *faults);
ol_time ol_sim_now(const struct ol_sim *w);
uint64_t ol_sim_calls(const struct ol_sim *w);      /* driver calls that could have failed so far */
struct ol_sim *ol_sim_of(struct ol_driver *d);      /* the world of a sim driver */
size_t ol_sim_open_sockets(const struct ol_sim *w); /* for leak checks */

/*
 * The stepper.  A sim driver's wait() never blocks: it answers what has happened by the virtual
 * time and remembers `until`.  ol_sim_next() says what the world would do next: a driver that has
 * something to wait() for (a completion, a wake, a deadline that has come), chosen by the seed
 * among all that have; when none has, the clock jumps to the next event or deadline; NULL when
 * nothing will ever happen again, or not before `until`, where the clock then stands (unless that
 * is OL_NEVER).
 *
 * A deadline stays until the next wait() or arm(): a driver that waits with one in the past is
 * runnable until it waits again with a later one, and one that finds an earlier deadline after its
 * wait() says so with arm().
 */
struct ol_driver *ol_sim_next(struct ol_sim *w, ol_time until);

#endif
