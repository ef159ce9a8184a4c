/*
 * loop.h - the loop: 1..N reactors, one thread each, that everything else hangs off.
 *
 *     outlet_loop_new --> outlet_loop_run   (this thread works until stop)     --> outlet_loop_free
 *                     \-> outlet_loop_start (own threads work, this one is free) /
 *                     \-> outlet_loop_turn  (one pass, inside somebody else's loop) /
 *
 * outlet_loop_drain() lets connections finish; outlet_loop_stop() ends them at once.  Either way
 * each gets its on_close before the loop's work ends.  A stopped loop cannot be started again.
 * Timers and watches just end with the loop: their functions are not called once more.
 *
 * "Calls nothing itself" means not inside the call.  When it was made from another thread than the
 * reactor's, a callback that follows from it may begin before it has returned.
 *
 * Signals: none is raised, none is handled, and the loop's own threads have them all blocked.
 * Fork: the child may free a loop that was made before the fork, and nothing else; its handles
 * answer OUTLET_ESTALE there, the parent is not affected.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_LOOP_H
#define OUTLET_LOOP_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct outlet_loop outlet_loop;
typedef struct outlet_timer {
    uint64_t id;
} outlet_timer;
typedef struct outlet_watch {
    uint64_t id;
} outlet_watch;

#define OUTLET_PER_CORE (-1)

/* Thread-safe; all three or none.  Sizes are never 0.  Must live as long as the loop and every
 * buffer that was retained from it. */
struct outlet_allocator {
    void *(*alloc)(void *ctx, size_t size);
    void *(*resize)(void *ctx, void *p, size_t size);
    void (*release)(void *ctx, void *p);
    void *ctx;
};

enum outlet_log_level {
    OUTLET_LOG_ERROR = 1,
    OUTLET_LOG_WARN = 2,
    OUTLET_LOG_INFO = 3,
    OUTLET_LOG_DEBUG = 4
};

/* clang-format off */
struct outlet_loop_opts {
    size_t size;        /* set by OUTLET_LOOP_OPTS */
    int64_t threads;    /* reactors, up to 1,024; 0: 1; OUTLET_PER_CORE: one for each core that this
                           process may use; more than that yield the CPU to each other, and to
                           whatever else computes there */
    const char *driver; /* "epoll", "uring", "sim"; NULL or "": what the environment says in
                           OUTLET_DRIVER, else io_uring, or epoll where that is missing or
                           forbidden (Linux before 6.1, containers) or slower (busy_poll_us) */
    int64_t memory_max; /* bytes of queues, partial messages and retained buffers; 0: half of the
                           machine's memory; -1: off.  From 7/8 of it on reading stops, at it new
                           work is refused with OUTLET_ENOMEM */
    uint64_t sim_seed;  /* driver "sim": what chance does */
    int64_t busy_poll_us; /* look for work that long before sleeping, while that finds some: lower
                             latency for a core; 0: off */
    struct outlet_allocator allocator;   /* zero: malloc */
    void (*log)(void *user, enum outlet_log_level level, const char *line); /* NULL: silent */
    void *log_user;
};
#define OUTLET_LOOP_OPTS {.size = sizeof(struct outlet_loop_opts)}
/* clang-format on */

/**
 * Make a loop.  Nothing runs yet, but listen and connect already work on it.
 *
 * Memory  copies `*opts` (may be NULL); gives *out, to end with outlet_loop_free().
 * Thread  any.
 * Calls   log, before it returns, when it falls back from io_uring to epoll: a warning if
 *         OUTLET_DRIVER asked for it.
 * Errors  OUTLET_EINVAL   an option is wrong, or OUTLET_DRIVER is neither "epoll" nor "uring".
 *         OUTLET_ENOTSUP  the driver that was asked for by option does not work here.
 *         OUTLET_ENOMEM   also with 4,096 reactors in this process.
 *         OUTLET_ENOFILE
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_loop_new(outlet_loop **out, const struct outlet_loop_opts *opts);

/**
 * Work on this thread, and one more for each further reactor, until the loop is stopped.  With
 * driver "sim", until nothing more can happen.
 *
 * Memory  keeps nothing.
 * Thread  any, once; not in a callback.
 * Calls   every callback.
 * Errors  OUTLET_EDEADLK  called in a callback.
 *         OUTLET_ESTATE   it was stopped, or runs already.
 *         OUTLET_ESYS     the driver failed; everything was closed.
 */
OUTLET_API outlet_err
outlet_loop_run(outlet_loop *loop);

/**
 * Work on threads of its own, and return.
 *
 * Memory  keeps nothing.
 * Thread  any, once.
 * Calls   nothing itself; then every callback, on those threads.
 * Errors  OUTLET_ESTATE   it was stopped, or runs already.
 *         OUTLET_ENOTSUP  driver "sim", which needs one thread.
 *         OUTLET_ESYS     a thread could not be made; the loop has been stopped.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_loop_start(outlet_loop *loop);

/**
 * One pass: wait at most `wait_ms` (0: not at all, -1: until something happens), then do what there
 * is to do.  For loops of one reactor, always on the same thread, which must free the loop too.
 * After outlet_loop_stop() it is to be called on until it answers OUTLET_ESTATE: then all is
 * closed.
 *
 * Memory  keeps nothing.
 * Thread  the thread of the first turn.
 * Calls   every callback.
 * Errors  OUTLET_EDEADLK  called in a callback.
 *         OUTLET_ENOTSUP  the loop has more than one reactor.
 *         OUTLET_ESTATE   all has ended, or it runs on another thread.
 */
OUTLET_API outlet_err
outlet_loop_turn(outlet_loop *loop, int wait_ms);

/**
 * A descriptor for poll(), select() or epoll: readable when outlet_loop_turn() has work, timers
 * included.  To be asked for before the first turn.
 *
 * Memory  lends until the loop is freed; do not read or close it.
 * Thread  the thread that will turn the loop.
 * Calls   nothing.
 * Errors  OUTLET_ENOTSUP  driver "sim", or more than one reactor.
 *         OUTLET_ESTATE   the loop has turned or stopped already.
 *         OUTLET_ENOFILE, OUTLET_ESYS
 */
OUTLET_API int
outlet_loop_fd(outlet_loop *loop);

/**
 * Stop listening, abort every connection and end.  Legal in a callback.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself; then on_close for each connection (OUTLET_ECANCELED).
 * Errors  OUTLET_ESTATE  stopped already.
 */
OUTLET_API outlet_err
outlet_loop_stop(outlet_loop *loop);

/**
 * Stop listening, close every connection in order, and end when the last is gone or `deadline_ms`
 * (0: 30,000) have passed, whichever comes first.  Meanwhile outlet_listen() is refused, and what
 * outlet_connect() begins ends at once.  Legal in a callback.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing itself; then on_close for each connection.
 * Errors  OUTLET_EINVAL  a negative time.
 *         OUTLET_ESTATE  drains or has been stopped already.
 */
OUTLET_API outlet_err
outlet_loop_drain(outlet_loop *loop, int64_t deadline_ms);

/**
 * End the loop and all that hangs off it.  NULL is allowed.  A loop that still works is stopped
 * first; one that drains on threads of its own goes on until that is done.  Either way this call
 * waits for its threads.
 *
 * Memory  takes `loop`.
 * Thread  any but a callback of this loop; after outlet_loop_turn(), the thread that turned it.
 * Calls   on_close for connections that are still there; functions that were posted and did not
 *         run.
 * Errors  OUTLET_EDEADLK  called in a callback of this loop; nothing happened.
 *         OUTLET_ETHREAD  another thread turned it; nothing happened.
 */
OUTLET_API outlet_err
outlet_loop_free(outlet_loop *loop);

/**
 * The driver in use: "epoll", "uring" or "sim".
 *
 * Memory  lends a static text.
 * Thread  any.
 * Calls   nothing.
 * Errors  none.
 */
OUTLET_API const char *
outlet_loop_driver(const outlet_loop *loop);

/**
 * Run `fn(arg)` on the loop's first reactor.
 *
 * Memory  lends `arg` until fn returned.
 * Thread  any, posts; also from a callback, and before the loop runs.
 * Calls   nothing itself; then fn, once, in the order of posting per thread.  Also when the loop
 *         stops before its turn came, so that `arg` can be freed.
 * Errors  OUTLET_EINVAL  no fn.
 *         OUTLET_ENOMEM
 *         OUTLET_ESTATE  the loop has ended.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_post(outlet_loop *loop, void (*fn)(void *arg), void *arg);

/**
 * Call `fn` after `after_ms`, then every `repeat_ms` (0: once).  A timer without repeat has ended
 * when its fn is called.  Repeats do not drift; calls that were missed altogether are not made up
 * for.  The step of the clock is 1 ms.
 *
 * Memory  lends `arg` until the last call of fn, outlet_timer_stop() or the loop's end.
 * Thread  any, posts; fn runs on the current reactor, else on the loop's first.
 * Calls   nothing itself; then fn, never early.  *out is set before.
 * Errors  OUTLET_EINVAL  no fn, or a time that is negative or above 70 years.
 *         OUTLET_ENOMEM, OUTLET_ESTATE
 *         OUTLET_ELIMIT  no handle is left.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_timer_start(outlet_loop *loop, int64_t after_ms, int64_t repeat_ms,
                   void (*fn)(outlet_timer t, void *arg), void *arg, outlet_timer *out);

/**
 * End a timer.  On its own reactor `fn` does not run again; from elsewhere it may be running, or
 * run once more.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE  it has ended already.
 *         OUTLET_ENOMEM  only from another thread.
 */
OUTLET_API outlet_err
outlet_timer_stop(outlet_timer t);

enum {
    OUTLET_READABLE = 1,
    OUTLET_WRITABLE = 2,
    OUTLET_HANGUP = 4 /* told always, never asked for */
};

/**
 * Call `fn` while a descriptor of somebody else is ready, level-triggered.
 *
 * Memory  lends `arg` and `fd` until outlet_watch_stop() has taken effect or the loop has ended.
 * Thread  any, posts; fn runs on the current reactor, else on the loop's first.
 * Calls   nothing itself; then fn with OUTLET_READABLE | OUTLET_WRITABLE | OUTLET_HANGUP; after a
 *         failure to watch, fn once with a negative code, and the watch has ended.
 * Errors  OUTLET_EINVAL   no fn, no or unknown events, not a descriptor.
 *         OUTLET_ENOTSUP  driver "sim"; a regular file, which is always ready, or a directory.
 *         OUTLET_ENOMEM, OUTLET_ESTATE
 *         OUTLET_ELIMIT   no handle is left.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_watch_start(outlet_loop *loop, int fd, unsigned events,
                   void (*fn)(outlet_watch w, int events, void *arg), void *arg, outlet_watch *out);

/**
 * Stop watching.  The descriptor stays open.
 *
 * Memory  keeps nothing.  On its own reactor `fn` does not run again, and the descriptor may be
 *         closed when it returns.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 *         OUTLET_ENOMEM  only from another thread.
 */
OUTLET_API outlet_err
outlet_watch_stop(outlet_watch w);

#ifdef __cplusplus
}
#endif
#endif
