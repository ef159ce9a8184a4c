/*
 * scale.h - what the tests with thousands of connections share: a counting heap, what this process
 * holds, and the process at the other end.
 *
 * Client and server are two processes, because a process may have no more than 20,000 descriptors.
 * What a newcomer gets wrong: to fork after a loop was made.  The other process is forked first,
 * and told by words over a socket what there is to know.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SCALE_H
#define SCALE_H

#include <outlet/outlet.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* ---- what this process holds ---- */

struct scale_heap {
    _Atomic int64_t live;  /* bytes as asked for */
    _Atomic int64_t calls; /* of alloc, resize and release */
};

struct outlet_allocator scale_heap_table(struct scale_heap *h);

int64_t scale_rss(void); /* bytes */
int scale_descriptors(void);
/* As many connections as wanted, or as the limit of descriptors allows; says so if fewer. */
int scale_affordable(int wanted);
/* More than wanted, up to most, where the limit allows. */
int scale_affordable_range(int wanted, int most);

struct scale_use {
    int64_t live;
    int64_t rss;
    int64_t descriptors;
};
struct scale_use scale_use_now(const struct scale_heap *h);

/* ---- two processes ---- */

struct scale_word {
    int64_t what;
    int64_t n[8];
    char text[256];
};

struct scale_peer {
    pid_t pid;
    int fd;
};

/* The child ends when `work` returns, or when its parent does. */
struct scale_peer scale_fork(void (*work)(int fd, const void *arg), const void *arg);
void scale_say(int fd, const struct scale_word *w);
bool scale_hear(int fd, struct scale_word *w); /* false: the other side is gone */
int scale_join(struct scale_peer *p);          /* exit code; -1: it was killed */

/* ---- a loop of this thread that also hears the other process ---- */

struct scale_side {
    struct scale_heap heap;
    outlet_loop *loop;
    outlet_watch watch;
    int fd;
    bool has_word;
    bool is_alone; /* the other process is gone */
    struct scale_word word;
};

bool scale_side_open(struct scale_side *s, const char *driver, int64_t memory_max, int fd);
/* Turn until the other process says something.  false: it is gone, or the loop failed. */
bool scale_side_hear(struct scale_side *s);
/* Turn until is_over(arg). */
bool scale_side_until(struct scale_side *s, bool (*is_over)(void *arg), void *arg);
void scale_side_close(struct scale_side *s); /* heap.live stays to be looked at */

/* Answers the port, or -1. */
int scale_listen(outlet_loop *l, const char *url, const struct outlet_opts *opts,
                 outlet_listener *out);
int64_t scale_listener_number(outlet_listener l, const char *key);

/* ---- main ---- */

extern const char *scale_driver; /* from the command line */

/* Takes the arguments; answers 77 when the driver does not work here, 0 when it does. */
int scale_begin(int argc, char **argv);

#endif
