/*
 * net.h - a loop, its connections and what they were told, for tests of the public API.
 *
 *     struct net n;                       struct server s;          struct end e;
 *     net_open(&n, NULL);
 *     net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
 *     net_connect(&n, &e, NULL, "%s#frame=line", s.at);
 *     UNTIL(&n, s.count == 1 && s.ends[0].opens);
 *     net_close(&n);                      frees the loop; nothing may be left of it
 *
 * The driver is the program's argument: "epoll", "uring" or "sim".  On sim the clock is virtual, so
 * a minute passes at once; on the others keep times in the tens of milliseconds.
 *
 * What a newcomer gets wrong: to assert in a callback.  cmocka jumps out of it, and the loop must
 * not be jumped: record here, assert in the test body.  And calls from the test body come from
 * outside the loop, through the mailbox; what shall happen on the reactor belongs into a callback
 * (struct does) or into net_do().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_NET_H
#define TEST_NET_H

#include "failing_heap.h"
#include "io/driver/driver.h"
#include "io/driver/sim.h"
#include "outlet/outlet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NET_LOOPS = 4, NET_ENDS = 64, NET_SIZES = 256, NET_STORY = 64 };

struct net {
    outlet_loop *loop; /* the first one */
    outlet_loop *loops[NET_LOOPS];
    int count;
    struct ol_sim *world; /* sim only */
    struct failing_heap heap;
    int files; /* descriptors open before */
    char dir[64];
    int places;
    char place[128];
    ol_time until;
    char log[4096];
};

struct end;

/* What an end does beside remembering.  All may be NULL. */
struct does {
    int (*on_accept)(struct end *e);
    void (*on_open)(struct end *e);
    void (*on_message)(struct end *e, outlet_msg *m);
    void (*on_writable)(struct end *e);
    void (*on_event)(struct end *e);
    void (*on_close)(struct end *e);
};

/* One connection and what it was told. */
struct end {
    struct net *net;
    struct server *server; /* NULL: made by connect */
    const struct does *does;
    void *arg;
    outlet_conn c;
    char story[NET_STORY]; /* A accept, O open, M messages, W writable, E event, C close */
    int opens;
    int writables;
    int events;
    int closes;
    size_t messages;
    size_t sizes[NET_SIZES]; /* of the first messages */
    uint8_t *bytes;          /* all that was received */
    size_t len;
    size_t room;
    bool forget;    /* count the bytes, do not keep them */
    uint32_t flags; /* of the last message */
    enum outlet_event event;
    int64_t value; /* of the last event */
    int64_t value_sum;
    int64_t result; /* for hooks */
    int64_t results[16];
    struct outlet_reason why; /* on_close */
};

struct server {
    struct net *net;
    outlet_listener l;
    char at[160]; /* where to connect */
    const struct does *does;
    void *arg;
    int refuse; /* what on_accept answers */
    bool forget;
    int count;
    struct end ends[NET_ENDS];
};

extern const struct does net_echoes; /* what it receives; `result` is what the send answered */
extern const struct outlet_handlers net_handlers;        /* for connections made by connect */
extern const struct outlet_handlers net_server_handlers; /* user data is the struct server */

/* Driver by argument: 0, or what main shall answer (77: it is missing here). */
int net_choose(int argc, char **argv);
const char *net_driver(void);
bool net_is_sim(void);

#define NET_MAIN(tests)                                                                    \
    int main(int argc, char **argv)                                                        \
    {                                                                                      \
        int code = net_choose(argc, argv);                                                 \
        return code ? code : cmocka_run_group_tests_name(net_driver(), tests, NULL, NULL); \
    }

void net_open(struct net *n, const struct outlet_loop_opts *opts);
/* sim: the run that `seed` makes of these faults.  The kernel drivers ignore both. */
void net_open_world(struct net *n, uint64_t seed, const struct ol_sim_faults *faults);
outlet_loop *net_another_loop(struct net *n, const struct outlet_loop_opts *opts);
void net_free_loops(struct net *n);
void net_close(struct net *n);
int net_files(void); /* descriptors open in this process */

/* The opts may be NULL; handlers and user data are set here. */
void net_listen(struct net *n, struct server *s, const struct outlet_opts *opts, const char *url,
                ...) __attribute__((format(printf, 4, 5)));
void net_connect(struct net *n, struct end *e, const struct outlet_opts *opts, const char *url, ...)
    __attribute__((format(printf, 4, 5)));
void net_pair(struct net *n, struct end *a, struct end *b, const char *url);
void net_end_fini(struct end *e);
void net_server_fini(struct server *s);
/* A fresh place of a scheme to listen at: "tcp", "tcp6", "unix", "unix-seqpacket", "abstract",
 * "pair", "udp". */
const char *net_place(struct net *n, const char *scheme);

/* One turn of some loop.  False: the time is up, or nothing will ever happen again. */
void net_begin(struct net *n);
bool net_step(struct net *n);
void net_run_ms(struct net *n, int64_t ms);
int64_t net_now_ms(struct net *n);
/* Run fn(arg) on the reactor and wait for it. */
void net_do(struct net *n, void (*fn)(void *arg), void *arg);

int64_t net_number(outlet_conn c, const char *key);
int64_t net_listener_number(const struct server *s, const char *key);
bool net_stale(outlet_conn c);
void net_pattern(uint8_t *bytes, size_t len, unsigned seed);

/* A plain blocking socket of this process, connected to `s`.  Kernel drivers only. */
int net_raw(const struct server *s);

#define UNTIL(n, condition)                   \
    do {                                      \
        net_begin(n);                         \
        while (!(condition) && net_step(n)) { \
        }                                     \
        assert_true(condition);               \
    } while (0)

#endif
