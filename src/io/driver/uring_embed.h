/*
 * uring_embed.h - one descriptor for a foreign poll loop that is readable when a ring has work.
 *
 * The ring's own descriptor would not do: a ring with deferred task work finishes nothing until its
 * thread enters the kernel, so polling it never wakes.  An event descriptor that the kernel signals
 * when there is such work does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_URING_EMBED_H
#define OL_URING_EMBED_H

#include "base/base.h"

struct ol_embed {
    int poll_fd;  /* what the foreign loop watches; -1: not embedded */
    int event_fd; /* the ring signals it */
    int timer_fd;
    ol_time armed; /* what timer_fd was set to */
};

void ol_embed_init(struct ol_embed *e); /* not embedded */
/* `wake_fd` stays the caller's.  0 or a negated errno, with nothing open. */
int ol_embed_open(struct ol_embed *e, int wake_fd);
void ol_embed_close(struct ol_embed *e);
void ol_embed_drain(struct ol_embed *e);              /* forget what the ring has signalled */
void ol_embed_arm(struct ol_embed *e, ol_time until); /* the past: readable now */

static inline bool
ol_embed_is_open(const struct ol_embed *e)
{
    return OL_UNLIKELY(e->poll_fd >= 0);
}

#endif
