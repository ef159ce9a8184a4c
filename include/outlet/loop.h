/*
 * loop.h - the loop: 1..N reactors, one thread each, that everything else hangs off.
 *
 *     outlet_loop_new --> outlet_loop_run   (this thread works until stop)     --> outlet_loop_free
 *                     \-> outlet_loop_start (own threads work, this one is free) /
 *                     \-> outlet_loop_turn  (one pass, inside somebody else's loop) /
 *
 * outlet_loop_drain() lets connections finish; outlet_loop_stop() ends them at once.  Either way
 * each gets its on_close before the loop's work ends.  A stopped loop cannot be started again.
 *
 * Signals: none is raised, none is handled.  Fork: the child may free a loop that was made before
 * the fork, and nothing else; its handles answer OUTLET_ESTALE there, the parent is not affected.
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

/* Thread-safe; all three or none.  Sizes are never 0. */
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
    int64_t threads;    /* 0: 1; OUTLET_PER_CORE: one for each core this process may use */
    const char *driver; /* "epoll", "uring", "sim"; NULL: OUTLET_DRIVER, else the fastest here */
    int64_t memory_max; /* bytes of queues, partial messages and retained buffers; 0: half of the
                           machine's memory; -1: off */
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
 * Calls   log, before it returns, when it falls back from io_uring to epoll.
 * Errors  OUTLET_EINVAL   an option is wrong, or OUTLET_DRIVER names no driver.
 *         OUTLET_ENOTSUP  the driver that was asked for by option does not work here.
 *         OUTLET_ENOMEM, OUTLET_ENOFILE, OUTLET_ESYS
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_loop_new(outlet_loop **out, const struct outlet_loop_opts *opts);

/**
 * Work on this thread, and one more for each further reactor, until the loop is stopped.
 *
 * Memory  keeps nothing.
 * Thread  one at a time; not in a callback.
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
 * Thread  one at a time.
 * Calls   nothing itself.
 * Errors  OUTLET_ESTATE   it was stopped, or runs already.
 *         OUTLET_ENOTSUP  driver "sim", which needs one thread.
 *         OUTLET_ESYS     no thread could be made.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_loop_start(outlet_loop *loop);

/**
 * One pass: wait at most `wait_ms` (0: not at all, -1: until something happens), then do what there
 * is to do.  For loops of one reactor, always on the same thread, which must free the loop too.
 * Answers OUTLET_ESTATE once the loop has stopped and all is closed.
 *
 * Memory  keeps nothing.
 * Thread  the thread of the first turn.
 * Calls   every callback.
 * Errors  OUTLET_EDEADLK  called in a callback.
 *         OUTLET_ENOTSUP  the loop has more than one reactor.
 *         OUTLET_ESTATE   it has stopped, or runs on another thread.
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
 * Close every connection at once and end.  Legal in a callback.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns; then on_close for each connection.
 * Errors  OUTLET_ESTATE  stopped already.
 */
OUTLET_API outlet_err
outlet_loop_stop(outlet_loop *loop);

/**
 * Stop listening, close every connection in order, and end when the last is gone or `deadline_ms`
 * (0: 30,000) have passed, whichever comes first.  Legal in a callback.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing before it returns; then on_close for each connection.
 * Errors  OUTLET_ESTATE  stopped already.
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
 * Calls   on_close for connections that are still there.
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
 * Memory  keeps `arg`, the pointer, until fn ran.
 * Thread  any, posts.
 * Calls   fn, after it returned, once; in the order of posting per thread.  Also when the loop
 *         stops before its turn came, so that `arg` can be freed.
 * Errors  OUTLET_EINVAL  no function.
 *         OUTLET_ENOMEM
 *         OUTLET_ESTATE  the loop has stopped.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_post(outlet_loop *loop, void (*fn)(void *arg), void *arg);

/**
 * Call `fn` after `after_ms`, then every `repeat_ms` (0: once).  The timer ends by itself after its
 * last call.  Repeats do not drift.
 *
 * Memory  keeps `arg`, the pointer.
 * Thread  any, posts; fn runs on the current reactor, else on the loop's first.
 * Calls   fn, never before it returns, never early.
 * Errors  OUTLET_EINVAL  a negative time.
 *         OUTLET_ENOMEM, OUTLET_ELIMIT, OUTLET_ESTATE
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_timer_start(outlet_loop *loop, int64_t after_ms, int64_t repeat_ms,
                   void (*fn)(outlet_timer t, void *arg), void *arg, outlet_timer *out);

/**
 * End a timer.  On its own reactor `fn` does not run again.
 *
 * Memory  keeps nothing.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE  it has ended already.
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
 * Memory  keeps `arg`, the pointer, and lends `fd` until outlet_watch_stop() has taken effect.
 * Thread  any, posts; fn runs on the current reactor, else on the loop's first.
 * Calls   fn with OUTLET_READABLE | OUTLET_WRITABLE | OUTLET_HANGUP; after a failure to watch at
 *         all, fn once with a negative code.
 * Errors  OUTLET_EINVAL, OUTLET_ENOMEM, OUTLET_ELIMIT, OUTLET_ESTATE
 *         OUTLET_ENOTSUP  driver "sim"; a regular file, which is always ready.
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_watch_start(outlet_loop *loop, int fd, unsigned events,
                   void (*fn)(outlet_watch w, int events, void *arg), void *arg, outlet_watch *out);

/**
 * Stop watching.  The descriptor stays open.
 *
 * Memory  keeps nothing.  On the own reactor the descriptor may be closed when it returns.
 * Thread  any, posts.
 * Calls   nothing.
 * Errors  OUTLET_ESTALE
 */
OUTLET_API outlet_err
outlet_watch_stop(outlet_watch w);

#ifdef __cplusplus
}
#endif
#endif
