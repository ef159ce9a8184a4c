/*
 * driver_test.c - what every driver must do, checked through the table alone.
 *
 * Each test runs once per driver.  A test that needs the real kernel (raw sockets, files, threads
 * that poll) is marked KERNEL and is left out for the simulator.  A newcomer would assert in
 * complete(); there things are only written down, and the test body looks at them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "config.h"

#include "driver.h"
#include "failing_heap.h"
#include "outlet/loop.h"
#include "sim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    PEERS = 600,
    TOKENS = 128,
    WAVE = 65521, /* period of the bytes that streams carry: a prime, so that no block size divides
                     it */
    WAVE_ROOM = 4 * WAVE,
    PATIENCE_MS = 20000,
    SETTLE_STEPS = 200,
    SEEDS = 3
};

static const struct ol_driver_ops *const drivers[] = {&ol_driver_epoll, &ol_driver_uring,
                                                      &ol_driver_sim};

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

/* cmocka's group setup takes no argument. */
static const struct ol_driver_ops *current;
static uint64_t seed = 1; /* for the simulator, of which one is not like the next */

/* ---- descriptors ------------------------------------------------------------------------- */

static int
count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* ---- what a peer does when it hears something -------------------------------------------- */

static void
pump(struct peer *p)
{
    const struct ol_driver_ops *ops = p->w->ops;

    while (!p->pending && !p->send_error && p->sent < p->to_send && !p->asked_to_close) {
        uint8_t *from = p->w->wave + p->sent % WAVE;
        size_t len = ol_min(p->to_send - p->sent, WAVE_ROOM - WAVE);
        size_t first = p->times_pending % 3 == 0 ? 0 : len / 3;
        struct iovec pieces[2] = {{from, first}, {from + first, len - first}};
        int64_t n;

        if (p->w->d->gathers && first == 0 && p->link.kind == OL_LINK_STREAM &&
            ops->send_quiet(p->w->d, &p->link, &pieces[1]))
            n = OL_SEND_PENDING;
        else
            n = first == 0 ? ops->send(p->w->d, &p->link, &pieces[1], 1)
                           : ops->send(p->w->d, &p->link, pieces, 2);

        if (n == OL_SEND_PENDING) {
            p->pending = true;
            p->times_pending++;
        } else if (n < 0) {
            p->send_error = n;
        } else {
            p->sent += (size_t)n;
        }
    }
}

static void
hear_bytes(struct peer *p, const struct ol_completion *c)
{
    const struct ol_lent *b = &c->bytes;

    for (uint32_t at = 0; at < b->len; at += WAVE) {
        const uint8_t *want = p->w->wave + (p->received + at) % WAVE;

        if (memcmp(b->data + at, want, ol_min(WAVE, b->len - at)) != 0)
            p->wrong = true;
    }
    if (b->len != (uint32_t)c->result || (b->len > 0 && b->room_before < OL_LENT_ROOM))
        p->wrong = true;
    if (b->len > 0)
        memset(b->data - b->room_before, 0xAA, b->room_before + b->len + b->room_after);
    p->received += b->len;
    if (p->echo) {
        p->to_send += b->len;
        pump(p);
    }
    if (c->result == 0)
        p->ended = true;
}

static void
hear_one(struct peer *p, const struct ol_completion *c)
{
    p->datagrams++;
    p->datagram_bytes += c->bytes.len;
    p->truncated = c->truncated;
    p->has_to = c->to;
    if (c->from)
        p->from = *c->from;
    if (c->to)
        p->to = *c->to;
    if (!p->last)
        p->last = malloc(OL_DGRAM_MAX);
    p->last_len = p->last ? ol_min(c->bytes.len, OL_DGRAM_MAX) : 0;
    if (p->last_len > 0)
        memcpy(p->last, c->bytes.data, p->last_len);
    if (c->bytes.len > 0)
        p->seen[c->bytes.data[0] / 32] |= OL_BIT(c->bytes.data[0] % 32);
    if (p->reply) {
        struct iovec piece = {p->last, p->last_len};
        struct ol_dgram answer = {.pieces = &piece, .count = 1, .to = c->from, .from = c->to};
        int n = p->w->ops->send_dgrams(p->w->d, &p->link, &answer, 1);

        if (n < 0)
            p->send_error = n;
    }
}

/* Several of one sender may come as one. */
static void
hear_datagram(struct peer *p, const struct ol_completion *c)
{
    struct ol_completion one = *c;

    if (!c->segment) {
        hear_one(p, c);
        return;
    }
    for (uint32_t at = 0; at < c->bytes.len; at += c->segment) {
        one.bytes.data = c->bytes.data + at;
        one.bytes.len = (uint32_t)ol_min(c->segment, c->bytes.len - at);
        hear_one(p, &one);
    }
}

static void
hear_received(struct peer *p, struct ol_completion *c)
{
    p->receive_calls++;
    p->receive_more = c->more;
    if (c->result < 0) {
        p->receive_error = c->result;
        return;
    }
    if (p->keep && !p->kept) {
        p->kept = ol_block_ref(c->bytes.block);
        p->kept_data = c->bytes.data;
        p->kept_len = c->bytes.len;
        p->received += c->bytes.len;
    } else if (p->link.kind == OL_LINK_DGRAM) {
        hear_datagram(p, c);
    } else {
        hear_bytes(p, c);
    }
    p->w->ops->give_back(p->w->d, &c->bytes);
}

static void
hear_accepted(struct peer *p, const struct ol_completion *c)
{
    if (c->result < 0) {
        p->accept_error = c->result;
    } else if (p->accepted < TOKENS) {
        p->tokens[p->accepted++] = c->result;
        p->has_from = c->from != NULL;
        p->goes_on = c->more;
        if (c->from)
            p->accepted_from = *c->from;
    }
}

static void
hear(struct ol_link *l, struct ol_completion *c)
{
    struct peer *p = OL_CONTAINER(l, struct peer, link);

    if (p->closed > 0)
        p->heard_after_closed = true;
    switch (c->kind) {
    case OL_ACCEPTED:
        hear_accepted(p, c);
        break;
    case OL_CONNECTED:
        p->connected++;
        p->connect_result = c->result;
        break;
    case OL_RECEIVED:
        hear_received(p, c);
        break;
    case OL_SENT:
        p->pending = false;
        if (c->result < 0)
            p->send_error = c->result;
        else
            p->sent += (size_t)c->result;
        if (p->link.kind == OL_LINK_STREAM)
            pump(p);
        break;
    case OL_READY:
        p->ready_calls++;
        p->ready = c->result;
        break;
    case OL_CLOSED: /* the owner may free the link from now on */
        p->closed++;
        memset(&p->link.token, 0xDB, sizeof p->link - offsetof(struct ol_link, token));
        break;
    }
}

static bool
is_awaited(const struct ol_link *l)
{
    return OL_CONTAINER(l, struct peer, link)->times_pending % 2;
}

static bool
took(struct ol_link *l, size_t bytes)
{
    struct peer *p = OL_CONTAINER(l, struct peer, link);

    if (!p->takes)
        return false;
    if (!p->pending || p->closed > 0)
        p->wrong = true;
    p->pending = false;
    p->sent += bytes;
    p->took += bytes;
    return true;
}

static const struct ol_link_ops peer_ops = {.complete = hear,
                                            .is_awaited = is_awaited,
                                            .took = took};

/* ---- driving ----------------------------------------------------------------------------- */

/* The simulator's wait() never blocks: it is the stepper that lets time pass. */
static int
wait_simulated(struct world *w, ol_time until, struct ol_completion *out)
{
    for (;;) {
        struct ol_driver *d = ol_sim_next(ol_sim_of(w->d), until);
        int n = w->ops->wait(w->d, until, out, w->max);

        if (!d || n != 0 || w->ops->now(w->d) >= until)
            return n;
    }
}

static int
step(struct world *w, ol_time until)
{
    struct ol_completion out[OL_BATCH_MAX];
    int n;

    if (w->looks)
        n = w->ops->look(w->d, out, w->max);
    else if (w->ops == &ol_driver_sim)
        n = wait_simulated(w, until, out);
    else
        n = w->ops->wait(w->d, until, out, w->max);
    w->waits++;
    for (int i = 0; i < n; i++)
        out[i].link->ops->complete(out[i].link, &out[i]);
    return n;
}

#define RUN_UNTIL(w, condition)                                       \
    do {                                                              \
        ol_time limit_ = (w)->ops->now((w)->d) + PATIENCE_MS * OL_MS; \
        while (!(condition) && (w)->ops->now((w)->d) < limit_) {      \
            if (step((w), limit_) < 0)                                \
                break;                                                \
        }                                                             \
        assert_true(condition);                                       \
    } while (0)

/*
 * Everything that comes by itself within a short time.  The simulated network carries megabytes in
 * no time at all, so with two ends that never stop sending it is the number of steps that ends it.
 */
static void
settle(struct world *w, int ms)
{
    ol_time until = w->ops->now(w->d) + ms * OL_MS;
    int steps = w->ops == &ol_driver_sim ? SETTLE_STEPS : INT_MAX;

    while (w->ops->now(w->d) < until && steps-- > 0) {
        if (step(w, until) < 0)
            return;
    }
}

static int64_t
cpu_time(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A driver that spins may do it inside of one wait() as well as by returning from many. */
static void
assert_quiet(struct world *w)
{
    int64_t before = cpu_time();
    int64_t spent;

    w->waits = 0;
    settle(w, 100);
    spent = cpu_time() - before;
    assert_in_range(w->waits, 1, 20);
    assert_in_range(spent, 0, 20 * OL_MS);
}

static struct peer *
peer(struct world *w)
{
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];

        if (!p->used) {
            p->used = true;
            p->w = w;
            p->link.ops = &peer_ops;
            p->link.token = -1;
            return p;
        }
    }
    fail_msg("more than %d peers", PEERS);
    return NULL;
}

static void
close_peer(struct peer *p, bool reset)
{
    p->asked_to_close = true;
    p->w->ops->close(p->w->d, &p->link, reset);
}

static bool
all_closed(const struct world *w)
{
    for (int i = 0; i < PEERS; i++) {
        if (w->peers[i].asked_to_close && !w->peers[i].closed)
            return false;
    }
    return true;
}

static int
set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct ol_driver_opts opts = {.sim_seed = seed};

    if (!w)
        return -1;
    w->ops = current;
    w->max = OL_BATCH_MAX;
    w->descriptors = count_descriptors();
    w->peers = calloc(PEERS, sizeof *w->peers);
    w->wave = malloc(WAVE_ROOM);
    failing_heap_init(&w->heap, 0);
    w->budget = ol_budget_new(&w->heap.heap, INT64_MAX);
    if (!w->peers || !w->wave || !w->budget)
        return -1;
    for (size_t i = 0; i < WAVE_ROOM; i++)
        w->wave[i] = (uint8_t)((i % WAVE) * 167 + (i % WAVE) / 251);
    opts.budget = w->budget;
    opts.log = &w->log;
    if (w->ops->open(&w->d, &opts) != 0)
        return -1;
    *state = w;
    return 0;
}

/* What every test must leave behind: nothing, and each link ended exactly once. */
static int
tear_down(void **state)
{
    struct world *w = *state;
    int wrong = 0;

    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];

        for (; p->adopted < p->accepted; p->adopted++)
            w->ops->discard(w->d, p->tokens[p->adopted], false);
        if (p->used && !p->asked_to_close && p->link.kind != OL_LINK_NONE)
            close_peer(p, false);
    }
    for (int i = 0; i < 1000 && !all_closed(w); i++)
        (void)step(w, w->ops->now(w->d) + 10 * OL_MS);
    (void)step(w, 0); /* nothing may follow */
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];

        if (p->closed != p->asked_to_close || p->heard_after_closed)
            wrong++;
        if (p->kept)
            ol_block_unref(p->kept);
        free(p->last);
    }
    w->ops->free(w->d);
    ol_budget_unref(w->budget);
    if (wrong > 0)
        print_error("%d links were not told closed exactly once and last\n", wrong);
    if (failing_heap_live(&w->heap) != 0)
        wrong++, print_error("memory was not given back\n");
    if (count_descriptors() != w->descriptors)
        wrong++, print_error("descriptors leak\n");
    if (w->directory[0] != '\0' && rmdir(w->directory) != 0)
        wrong++, print_error("files were left in %s\n", w->directory);
    free(w->wave);
    free(w->peers);
    free(w);
    return wrong > 0 ? -1 : 0;
}

/* ---- addresses --------------------------------------------------------------------------- */

static struct ol_addr
v4(uint8_t last, uint16_t port)
{
    return (struct ol_addr){.kind = OL_ADDR_V4, .port = port, .ip = {127, 0, 0, last}};
}

static struct ol_addr
v6(uint16_t port)
{
    return (struct ol_addr){.kind = OL_ADDR_V6, .port = port, .ip = {[15] = 1}};
}

static struct ol_addr
named(enum ol_addr_kind kind, const char *name)
{
    struct ol_addr a = {.kind = (uint8_t)kind, .path_len = (uint8_t)strlen(name)};

    memcpy(a.path, name, a.path_len);
    return a;
}

static struct ol_addr
abstract(void)
{
    char name[64];

    (void)snprintf(name, sizeof name, "outlet-driver-test-%ld", (long)getpid());
    return named(OL_ADDR_ABSTRACT, name);
}

static struct ol_addr
in_directory(struct world *w, const char *name)
{
    char path[64];

    if (w->directory[0] == '\0') {
        (void)snprintf(w->directory, sizeof w->directory, "/tmp/outlet-test-XXXXXX");
        assert_non_null(mkdtemp(w->directory));
    }
    (void)snprintf(path, sizeof path, "%s/%s", w->directory, name);
    return named(OL_ADDR_PATH, path);
}

/* ---- making things ----------------------------------------------------------------------- */

static int
try_listen(struct peer *p, enum ol_link_kind kind, struct ol_addr at, enum ol_share_port share,
           struct ol_addr *bound)
{
    struct ol_listen_spec spec = {
        .kind = kind, .at = at, .share = share, .backlog = 512, .mode = -1, .tuning.nodelay = true};

    return p->w->ops->listen(p->w->d, &p->link, &spec, bound);
}

static struct peer *
listen_at(struct world *w, struct ol_addr at, struct ol_addr *bound)
{
    struct peer *p = peer(w);

    assert_int_equal(try_listen(p, OL_LINK_LISTENER, at, OL_PORT_ALONE, bound), 0);
    assert_int_equal(w->ops->accept_start(w->d, &p->link), 0);
    return p;
}

static struct peer *
dgrams_at(struct world *w, struct ol_addr at, struct ol_addr *bound)
{
    struct peer *p = peer(w);

    assert_int_equal(try_listen(p, OL_LINK_DGRAM, at, OL_PORT_ALONE, bound), 0);
    assert_int_equal(w->ops->receive_start(w->d, &p->link), 0);
    return p;
}

/* The result of connecting, wherever the driver tells it. */
static int
connect_result(struct peer *p, enum ol_link_kind kind, struct ol_addr to)
{
    struct world *w = p->w;
    struct ol_connect_spec spec = {.kind = kind, .to = to, .tuning.nodelay = true};
    int err = w->ops->connect(w->d, &p->link, &spec);

    if (err)
        return err;
    RUN_UNTIL(w, p->connected > 0);
    return p->connect_result;
}

static struct peer *
connect_to(struct world *w, enum ol_link_kind kind, struct ol_addr to)
{
    struct peer *p = peer(w);

    assert_int_equal(connect_result(p, kind, to), 0);
    assert_int_equal(w->ops->receive_start(w->d, &p->link), 0);
    return p;
}

static struct peer *
adopt_token(struct world *w, int32_t token)
{
    struct peer *p = peer(w);

    assert_int_equal(w->ops->adopt(w->d, &p->link, OL_LINK_STREAM, token), 0);
    return p;
}

static struct peer *
adopt_next(struct peer *listener)
{
    struct world *w = listener->w;

    RUN_UNTIL(w, listener->accepted > listener->adopted);
    return adopt_token(w, listener->tokens[listener->adopted++]);
}

static void
receive(struct peer *p)
{
    assert_int_equal(p->w->ops->receive_start(p->w->d, &p->link), 0);
}

/* A connection over tcp: both sides receive. */
static void
connect_both(struct world *w, struct peer **client, struct peer **server)
{
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    *client = connect_to(w, OL_LINK_STREAM, bound);
    *server = adopt_next(listener);
    receive(*server);
}

static void
pair_both(struct world *w, struct peer **a, struct peer **b)
{
    int32_t tokens[2];

    assert_int_equal(w->ops->pair(w->d, tokens), 0);
    *a = adopt_token(w, tokens[0]);
    *b = adopt_token(w, tokens[1]);
    receive(*a);
    receive(*b);
}

static void
send_wave(struct peer *p, size_t bytes)
{
    p->to_send += bytes;
    pump(p);
}

static void
send_datagram(struct peer *p, const void *bytes, size_t len, const struct ol_addr *to)
{
    struct iovec piece = {(void *)bytes, len};
    struct ol_dgram m = {.pieces = &piece, .count = 1, .to = to};

    assert_int_equal(p->w->ops->send_dgrams(p->w->d, &p->link, &m, 1), 1);
}

/* ---- streams ----------------------------------------------------------------------------- */

static void
echo_over(struct world *w, struct ol_addr at)
{
    struct ol_addr bound;
    struct ol_addr local;
    struct ol_addr remote;
    struct peer *listener = listen_at(w, at, &bound);
    struct peer *client = connect_to(w, OL_LINK_STREAM, bound);
    struct peer *server = adopt_next(listener);

    server->echo = true;
    receive(server);
    send_wave(client, 5);
    RUN_UNTIL(w, client->received == 5);
    send_wave(client, 100000);
    RUN_UNTIL(w, client->received == 100005);
    assert_false(client->wrong);
    assert_false(server->wrong);

    assert_int_equal(bound.kind, at.kind);
    assert_int_equal(w->ops->address(w->d, &client->link, true, &remote), 0);
    assert_true(ol_addr_same(&remote, &bound));
    assert_int_equal(w->ops->address(w->d, &client->link, false, &local), 0);
    assert_int_equal(w->ops->address(w->d, &server->link, true, &remote), 0);
    assert_true(ol_addr_same(&local, &remote));
    if (listener->has_from)
        assert_true(ol_addr_same(&local, &listener->accepted_from));
    if (at.kind == OL_ADDR_V4 || at.kind == OL_ADDR_V6)
        assert_int_not_equal(bound.port, 0);
}

static void
tcp_over_v4_echoes(void **state)
{
    echo_over(*state, v4(1, 0));
}

static void
tcp_over_v6_echoes(void **state)
{
    echo_over(*state, v6(0));
}

static void
a_unix_path_echoes(void **state)
{
    echo_over(*state, in_directory(*state, "a.sock"));
}

static void
an_abstract_name_echoes(void **state)
{
    echo_over(*state, abstract());
}

static void
a_pair_echoes(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    pair_both(w, &a, &b);
    b->echo = true;
    send_wave(a, 100000);
    RUN_UNTIL(w, a->received == 100000);
    assert_false(a->wrong);
}

static void
move_much(struct world *w, struct peer *a, struct peer *b, size_t bytes)
{
    send_wave(a, bytes);
    send_wave(b, bytes);
    RUN_UNTIL(w, a->received == bytes && b->received == bytes);
    assert_false(a->wrong);
    assert_false(b->wrong);
    assert_true(a->times_pending > 0);
    assert_int_equal(a->sent, bytes);
}

static void
large_transfers_both_ways_are_exact_over_tcp(void **state)
{
    struct peer *a;
    struct peer *b;

    connect_both(*state, &a, &b);
    move_much(*state, a, b, 16u << 20);
}

static void
large_transfers_both_ways_are_exact_over_a_pair(void **state)
{
    struct peer *a;
    struct peer *b;

    pair_both(*state, &a, &b);
    move_much(*state, a, b, 8u << 20);
}

static void
send_now_takes_what_fits_and_keeps_nothing(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;
    struct iovec piece;
    size_t sent = 0;
    int64_t n;

    pair_both(w, &a, &b);
    do {
        piece = (struct iovec){w->wave + sent % WAVE, WAVE};
        n = w->ops->send_now(w->d, &a->link, &piece, 1);
        sent += n > 0 ? (size_t)n : 0;
    } while (n > 0 && sent < (64u << 20));
    assert_int_equal(n, -EAGAIN);
    RUN_UNTIL(w, b->received == sent);
    assert_false(b->wrong);
}

static void
what_is_sent_quietly_is_told_once(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    a->takes = true;
    for (int i = 0; i < 60; i++) {
        send_wave(a, 100);
        RUN_UNTIL(w, a->sent == a->to_send && b->received == a->to_send);
        assert_false(a->pending || a->wrong || b->wrong || a->send_error);
    }
    assert_true(a->took > 0 || !w->d->gathers);
    settle(w, 5);
    assert_int_equal(a->sent, a->to_send);
}

static void
half_closed_still_receives(void **state)
{
    struct world *w = *state;
    struct peer *client;
    struct peer *server;

    connect_both(w, &client, &server);
    send_wave(client, 300000);
    RUN_UNTIL(w, client->sent == 300000);
    assert_int_equal(w->ops->end_writing(w->d, &client->link), 0);
    RUN_UNTIL(w, server->ended);
    assert_int_equal(server->received, 300000);
    assert_false(server->receive_more);
    assert_false(client->ended);

    send_wave(server, 1000000);
    RUN_UNTIL(w, client->received == 1000000);
    close_peer(server, false);
    RUN_UNTIL(w, client->ended);
    assert_false(client->wrong);
    assert_false(server->wrong);
}

static void
close_while_the_peer_sends(struct world *w, bool reset)
{
    struct peer *client;
    struct peer *server;

    connect_both(w, &client, &server);
    send_wave(client, (size_t)1 << 40);
    RUN_UNTIL(w, server->received > 100000);
    close_peer(server, reset);
    RUN_UNTIL(w, server->closed == 1);
    RUN_UNTIL(w, client->receive_error || (!reset && client->ended));
    if (client->receive_error)
        assert_int_equal(client->receive_error, -ECONNRESET);
    assert_false(client->receive_more);
    close_peer(client, false);
    RUN_UNTIL(w, client->closed == 1);
}

static void
closing_while_the_peer_sends_ends_it(void **state)
{
    close_while_the_peer_sends(*state, false);
}

static void
closing_with_a_reset_is_seen_as_one(void **state)
{
    close_while_the_peer_sends(*state, true);
}

static void
closed_is_told_once_and_last_with_everything_under_way(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    send_wave(a, (size_t)1 << 40);
    send_wave(b, (size_t)1 << 40);
    settle(w, 5);
    w->ops->receive_stop(w->d, &b->link);
    settle(w, 20);
    assert_true(a->pending);
    close_peer(a, false);
    close_peer(b, false);
    assert_int_equal(a->closed, 0);
    RUN_UNTIL(w, a->closed && b->closed);
    settle(w, 20);
    assert_int_equal(a->closed + b->closed, 2);
}

static void
a_connect_can_be_closed_at_once(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *client = peer(w);
    struct ol_connect_spec spec = {.kind = OL_LINK_STREAM};

    (void)listen_at(w, v4(1, 0), &bound);
    spec.to = bound;
    assert_int_equal(w->ops->connect(w->d, &client->link, &spec), 0);
    close_peer(client, false);
    RUN_UNTIL(w, client->closed);
    settle(w, 10);
    assert_int_equal(client->closed, 1);
}

static void
stopping_to_receive_holds_the_peer_back(void **state)
{
    struct world *w = *state;
    size_t bytes = 32u << 20;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    w->ops->receive_stop(w->d, &b->link);
    send_wave(a, bytes);
    settle(w, 50);
    assert_true(a->pending);
    assert_true(b->received < bytes / 2);
    receive(b);
    RUN_UNTIL(w, b->received == bytes);
    assert_false(b->wrong);
}

static void
stopping_and_starting_again_at_once_loses_nothing(void **state)
{
    struct world *w = *state;
    size_t bytes = 4u << 20;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    send_wave(a, bytes);
    for (int i = 0; i < 10000 && b->received < bytes; i++) {
        w->ops->receive_stop(w->d, &b->link);
        if (i % 3 == 0)
            (void)step(w, w->ops->now(w->d) + OL_MS);
        receive(b);
        (void)step(w, w->ops->now(w->d) + OL_MS);
    }
    RUN_UNTIL(w, b->received == bytes);
    assert_false(b->wrong);
}

static void
a_paused_link_whose_peer_resets_does_not_spin(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    w->ops->receive_stop(w->d, &b->link);
    settle(w, 5);
    close_peer(a, true);
    RUN_UNTIL(w, a->closed);
    settle(w, 10);
    assert_quiet(w);
    if (!b->receive_error) {
        receive(b);
        RUN_UNTIL(w, b->receive_error);
    }
    assert_int_equal(b->receive_error, -ECONNRESET);
}

static void
an_end_that_was_told_does_not_spin(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    assert_int_equal(w->ops->end_writing(w->d, &a->link), 0);
    RUN_UNTIL(w, b->ended);
    settle(w, 5);
    assert_quiet(w);
    assert_int_equal(w->ops->end_writing(w->d, &b->link), 0);
    RUN_UNTIL(w, a->ended);
    settle(w, 5);
    assert_quiet(w);
}

static void
small_batches_forget_nothing(void **state)
{
    struct world *w = *state;
    enum { N = 40 };
    struct peer *a[N];
    struct peer *b[N];

    w->max = 3;
    for (int i = 0; i < N; i++) {
        pair_both(w, &a[i], &b[i]);
        b[i]->echo = true;
        send_wave(a[i], 200000);
    }
    for (int i = 0; i < N; i++) {
        RUN_UNTIL(w, a[i]->received == 200000);
        assert_false(a[i]->wrong);
    }
}

static void
links_closed_in_the_middle_of_a_batch_are_not_heard_again(void **state)
{
    struct world *w = *state;
    enum { N = 40 };
    struct peer *a[N];
    struct peer *b[N];

    w->max = 3;
    for (int i = 0; i < N; i++) {
        pair_both(w, &a[i], &b[i]);
        send_wave(a[i], 10);
    }
    (void)step(w, 0);
    for (int i = 0; i < N; i++)
        close_peer(b[i], false);
    RUN_UNTIL(w, all_closed(w));
    settle(w, 5);
    for (int i = 0; i < N; i++)
        assert_false(b[i]->heard_after_closed);
}

/* Every wait has ends to tell at once; what others have to say must come in between. */
static void
links_that_come_and_go_hold_nobody_up(void **state)
{
    struct world *w = *state;
    struct peer *from;
    struct peer *to;

    pair_both(w, &from, &to);
    settle(w, 1);
    send_wave(from, 10);
    for (int i = 0; i < PEERS / 4 && to->received < 10; i++) {
        int32_t tokens[2];

        assert_int_equal(w->ops->pair(w->d, tokens), 0);
        close_peer(adopt_token(w, tokens[0]), false);
        close_peer(adopt_token(w, tokens[1]), false);
        assert_int_not_equal(step(w, 0), 0);
    }
    assert_int_equal(to->received, 10);
    RUN_UNTIL(w, all_closed(w));
}

static void
bytes_that_are_kept_survive_later_batches(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    pair_both(w, &a, &b);
    b->keep = true;
    send_wave(a, 5000);
    RUN_UNTIL(w, b->kept);
    send_wave(a, 5u << 20);
    RUN_UNTIL(w, b->received == 5000 + (5u << 20));
    assert_memory_equal(b->kept_data, w->wave, b->kept_len);
    assert_false(b->wrong);
}

static void
tcp_tells_its_round_trip_time(void **state)
{
    struct world *w = *state;
    struct ol_tcp_facts facts = {0, 99};
    struct peer *a;
    struct peer *b;

    connect_both(w, &a, &b);
    b->echo = true;
    send_wave(a, 1000);
    RUN_UNTIL(w, a->received == 1000);
    assert_int_equal(w->ops->tcp_facts(w->d, &a->link, &facts), 0);
    assert_true(facts.rtt_us > 0);
    assert_int_equal(facts.retransmits, 0);
}

/* ---- listening and connecting ------------------------------------------------------------ */

static void
a_port_where_nobody_listens_refuses(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    close_peer(listener, false);
    RUN_UNTIL(w, listener->closed);
    assert_int_equal(connect_result(peer(w), OL_LINK_STREAM, bound), -ECONNREFUSED);
}

static void
a_path_that_is_not_there_is_told(void **state)
{
    struct world *w = *state;

    assert_int_equal(connect_result(peer(w), OL_LINK_STREAM, in_directory(w, "none")), -ENOENT);
}

static void
a_port_in_use_is_told(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;

    (void)listen_at(w, v4(1, 0), &bound);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_ALONE, &other),
                     -EADDRINUSE);
    (void)dgrams_at(w, v4(1, 0), &bound);
    assert_int_equal(try_listen(peer(w), OL_LINK_DGRAM, bound, OL_PORT_ALONE, &other), -EADDRINUSE);
}

static void
an_address_of_another_machine_is_refused(void **state)
{
    struct world *w = *state;
    struct ol_addr at = {.kind = OL_ADDR_V4, .ip = {192, 0, 2, 1}};
    struct ol_addr bound;

    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound),
                     -EADDRNOTAVAIL);
}

static void
both_families_share_a_port_number(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;
    struct ol_addr any6 = {.kind = OL_ADDR_V6};
    struct ol_addr any4 = {.kind = OL_ADDR_V4};
    struct peer *listener = listen_at(w, any6, &bound);
    struct peer *second = peer(w);

    any4.port = bound.port;
    assert_int_equal(try_listen(second, OL_LINK_LISTENER, any4, OL_PORT_ALONE, &other), 0);
    assert_int_equal(w->ops->accept_start(w->d, &second->link), 0);
    (void)connect_to(w, OL_LINK_STREAM, v6(bound.port));
    (void)connect_to(w, OL_LINK_STREAM, v4(1, bound.port));
    RUN_UNTIL(w, listener->accepted == 1 && second->accepted == 1);
}

static void
siblings_share_a_port_and_a_stranger_does_not(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;
    struct peer *shards[3] = {peer(w), peer(w), peer(w)};

    assert_int_equal(try_listen(shards[0], OL_LINK_LISTENER, v4(1, 0), OL_PORT_FIRST, &bound), 0);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(try_listen(shards[i], OL_LINK_LISTENER, bound, OL_PORT_SIBLING, &other),
                         0);
        assert_int_equal(other.port, bound.port);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(w->ops->accept_start(w->d, &shards[i]->link), 0);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_ALONE, &other),
                     -EADDRINUSE);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_FIRST, &other),
                     -EADDRINUSE);

    for (int i = 0; i < 90; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, shards[0]->accepted + shards[1]->accepted + shards[2]->accepted == 90);
    for (int i = 0; i < 3; i++)
        assert_in_range(shards[i]->accepted, 5, 80);
}

static void
accepted_sockets_do_not_delay(void **state)
{
    struct world *w = *state;
    struct peer *client;
    struct peer *server;
    int client_says = 0;
    int server_says = 0;
    socklen_t len = sizeof(int);

    connect_both(w, &client, &server);
    assert_int_equal(getsockopt(server->link.token, IPPROTO_TCP, TCP_NODELAY, &server_says, &len),
                     0);
    assert_int_equal(getsockopt(client->link.token, IPPROTO_TCP, TCP_NODELAY, &client_says, &len),
                     0);
    assert_int_not_equal(server_says, 0);
    assert_int_not_equal(client_says, 0);
    assert_true(fcntl(server->link.token, F_GETFD) & FD_CLOEXEC);
}

static void
accepting_can_be_stopped_and_started(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    w->ops->accept_stop(w->d, &listener->link);
    settle(w, 5);
    for (int i = 0; i < 5; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    settle(w, 10);
    assert_in_range(listener->accepted, 0, 1);
    assert_quiet(w);
    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    RUN_UNTIL(w, listener->accepted == 5);
}

static void
a_hundred_clients_at_once_are_all_accepted(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    for (int i = 0; i < 100; i++) {
        struct peer *p = peer(w);
        struct ol_connect_spec spec = {.kind = OL_LINK_STREAM, .to = bound};

        assert_int_equal(w->ops->connect(w->d, &p->link, &spec), 0);
    }
    RUN_UNTIL(w, listener->accepted == 100);
    assert_int_equal(listener->accept_error, 0);
}

static void
asked_for_singly_a_client_comes_for_each_start(void **state)
{
    struct world *w = *state;
    struct peer *listener = peer(w);
    struct ol_listen_spec spec = {
        .kind = OL_LINK_LISTENER, .at = v4(1, 0), .backlog = 512, .mode = -1, .singly = true};
    struct ol_addr bound;

    assert_int_equal(w->ops->listen(w->d, &listener->link, &spec, &bound), 0);
    for (int i = 0; i < 5; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
        RUN_UNTIL(w, listener->accepted == i);
        assert_false(listener->goes_on);
        settle(w, 5);
        assert_int_equal(listener->accepted, i);
    }
    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    assert_quiet(w);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, listener->accepted == 6);
}

static void
running_out_of_descriptors_stops_accepting_without_a_spin(void **state)
{
    struct world *w = *state;
    struct rlimit before;
    struct rlimit tight;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);
    int lowest;
    int64_t before_quiet; /* no assertion may jump out while the limit is tight */
    int64_t spent;

    w->ops->accept_stop(w->d, &listener->link);
    settle(w, 5);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    settle(w, 5);
    for (; listener->adopted < listener->accepted; listener->adopted++)
        w->ops->discard(w->d, listener->tokens[listener->adopted], false);
    (void)connect_to(w, OL_LINK_STREAM, bound);

    lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){(rlim_t)lowest, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    if (w->ops->accept_start(w->d, &listener->link) == 0)
        settle(w, 20);
    before_quiet = cpu_time();
    settle(w, 100);
    spent = cpu_time() - before_quiet;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(listener->accept_error, -EMFILE);
    assert_in_range(spent, 0, 20 * OL_MS);

    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    RUN_UNTIL(w, listener->accepted > listener->adopted);
}

/* ---- unix paths -------------------------------------------------------------------------- */

static void
make_stale(const struct ol_addr *at)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(name.sun_path, at->path, at->path_len);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    close(fd);
}

static void
a_stale_socket_file_is_taken_over(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "stale.sock");

    make_stale(&at);
    echo_over(w, at);
}

static void
a_live_socket_file_is_left_alone(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "live.sock");
    struct ol_addr bound;
    struct peer *first = listen_at(w, at, &bound);

    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound), -EADDRINUSE);
    settle(w, 5);
    assert_int_equal(first->accepted, 0); /* looking does not disturb it */
    (void)connect_to(w, OL_LINK_STREAM, at);
    RUN_UNTIL(w, first->accepted == 1);
}

static void
a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "file");
    struct ol_addr bound;
    struct stat after;
    int fd = open(at.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound), -EEXIST);
    assert_int_equal(stat(at.path, &after), 0);
    assert_int_equal(after.st_size, 1);
    unlink(at.path);
}

static void
a_socket_file_has_the_mode_that_was_asked_for(void **state)
{
    struct world *w = *state;
    static const int modes[] = {0600, 0666, 0777, 0};

    for (size_t i = 0; i < OL_COUNT(modes); i++) {
        struct ol_listen_spec spec = {
            .kind = OL_LINK_LISTENER, .at = in_directory(w, "mode.sock"), .mode = modes[i]};
        struct ol_addr bound;
        struct stat made;
        struct peer *p = peer(w);

        assert_int_equal(w->ops->listen(w->d, &p->link, &spec, &bound), 0);
        assert_int_equal(stat(spec.at.path, &made), 0);
        assert_int_equal(made.st_mode & 07777, modes[i]);
        close_peer(p, false);
        RUN_UNTIL(w, p->closed);
        assert_int_not_equal(stat(spec.at.path, &made), 0);
    }
}

static void
a_socket_file_of_somebody_else_survives_our_close(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "moved.sock");
    struct ol_addr bound;
    struct stat theirs;
    struct peer *p = listen_at(w, at, &bound);
    char aside[OL_PATH_MAX + 8];

    (void)snprintf(aside, sizeof aside, "%s.aside",
                   at.path); /* keeps the inode from being used again */
    assert_int_equal(rename(at.path, aside), 0);
    make_stale(&at);
    close_peer(p, false);
    RUN_UNTIL(w, p->closed);
    assert_int_equal(stat(at.path, &theirs), 0);
    unlink(at.path);
    unlink(aside);
}

/* ---- datagrams --------------------------------------------------------------------------- */

static void
udp_echo(struct world *w, struct ol_addr any, struct ol_addr asked)
{
    struct ol_addr bound;
    struct ol_addr local;
    struct peer *server = dgrams_at(w, any, &bound);
    struct peer *client;

    server->reply = true;
    asked.port = bound.port;
    client = connect_to(w, OL_LINK_DGRAM, asked);
    send_datagram(client, "ping", 4, NULL);
    RUN_UNTIL(w, client->datagrams == 1); /* connected: takes it only from the address it asked */
    assert_int_equal(client->last_len, 4);
    assert_memory_equal(client->last, "ping", 4);
    assert_int_equal(w->ops->address(w->d, &client->link, false, &local), 0);
    assert_true(ol_addr_same(&local, &server->from));
    assert_true(server->has_to);
    assert_memory_equal(server->to.ip, asked.ip, 16);

    client->reply = false;
    send_datagram(server, "pong!", 5, &server->from);
    RUN_UNTIL(w, client->datagrams == 2 || client->receive_error);
    assert_int_equal(server->send_error, 0);
}

static void
udp_over_v4_answers_from_the_address_that_was_asked(void **state)
{
    struct world *w = *state;
    struct ol_addr any = {.kind = OL_ADDR_V4};
    struct ol_addr bound;
    struct ol_addr asked = v4(2, 0);
    struct peer *server = dgrams_at(w, any, &bound);
    struct peer *client;

    server->reply = true;
    asked.port = bound.port;
    client = connect_to(w, OL_LINK_DGRAM, asked);
    send_datagram(client, "ping", 4, NULL);
    RUN_UNTIL(w, client->datagrams == 1); /* connected: takes it only from the address it asked */
    assert_int_equal(server->to.ip[3], 2);
}

static void
udp_over_v4_echoes(void **state)
{
    udp_echo(*state, (struct ol_addr){.kind = OL_ADDR_V4}, v4(1, 0));
}

static void
udp_over_v6_echoes(void **state)
{
    udp_echo(*state, (struct ol_addr){.kind = OL_ADDR_V6}, v6(0));
}

static void
the_largest_datagram_goes_whole(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec piece = {w->wave, OL_DGRAM_MAX + 1};
    struct ol_dgram too_long = {.pieces = &piece, .count = 1};

    server->reply = true;
    send_datagram(client, w->wave, OL_DGRAM_MAX, NULL);
    RUN_UNTIL(w, client->datagrams == 1);
    assert_int_equal(client->last_len, OL_DGRAM_MAX);
    assert_memory_equal(client->last, w->wave, OL_DGRAM_MAX);
    assert_false(server->truncated);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, &too_long, 1), -EMSGSIZE);
}

static void
an_empty_datagram_is_not_an_end(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    send_datagram(client, "", 0, NULL);
    RUN_UNTIL(w, server->datagrams == 1);
    assert_true(server->receive_more);
    send_datagram(client, "x", 1, NULL);
    RUN_UNTIL(w, server->datagrams == 2);
    assert_int_equal(server->datagram_bytes, 1);
}

static void
a_hundred_datagrams_go_in_batches(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec pieces[100];
    struct ol_dgram messages[100];
    uint8_t bytes[100];
    int sent = 0;

    for (int i = 0; i < 100; i++) {
        bytes[i] = (uint8_t)i;
        pieces[i] = (struct iovec){&bytes[i], 1};
        messages[i] = (struct ol_dgram){.pieces = &pieces[i], .count = 1};
    }
    while (sent < 100) {
        int n = w->ops->send_dgrams(w->d, &client->link, messages + sent, 100 - sent);

        assert_true(n > 0);
        sent += n;
    }
    RUN_UNTIL(w, server->datagrams == 100);
    for (int i = 0; i < 100; i++)
        assert_true(server->seen[i / 32] & OL_BIT(i % 32));
}

static void
many_datagrams_of_several_sockets_take_turns(void **state)
{
    struct world *w = *state;
    enum { N = 3, EACH = 60 };
    struct peer *servers[N];
    struct ol_addr bound[N];
    struct peer *client = NULL;

    for (int i = 0; i < N; i++)
        servers[i] = dgrams_at(w, v4(1, 0), &bound[i]);
    for (int i = 0; i < N; i++) {
        client = connect_to(w, OL_LINK_DGRAM, bound[i]);
        for (int k = 0; k < EACH; k++)
            send_datagram(client, w->wave, 100, NULL);
    }
    for (int i = 0; i < N; i++) {
        RUN_UNTIL(w, servers[i]->datagrams == EACH);
        assert_int_equal(servers[i]->datagram_bytes, EACH * 100);
    }
}

static void
a_bad_datagram_in_a_batch_does_not_hold_the_others(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);
    struct iovec good = {w->wave, 1};
    struct iovec bad = {w->wave, OL_DGRAM_MAX + 1};
    struct ol_dgram messages[3] = {
        {.pieces = &good, .count = 1}, {.pieces = &bad, .count = 1}, {.pieces = &good, .count = 1}};

    client->pending = true;
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages, 3), 1);
    RUN_UNTIL(w, !client->pending);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages + 1, 2), -EMSGSIZE);
    assert_int_equal(w->ops->send_dgrams(w->d, &client->link, messages + 2, 1), 1);
    RUN_UNTIL(w, server->datagrams == 2);
}

static void
a_datagram_that_is_too_long_is_marked(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, abstract(), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    send_datagram(client, w->wave, 150000, NULL);
    RUN_UNTIL(w, server->datagrams == 1);
    assert_true(server->truncated);
    assert_true(server->last_len >= OL_DGRAM_MAX);
    send_datagram(client, w->wave, 1000, NULL);
    RUN_UNTIL(w, server->datagrams == 2);
    assert_false(server->truncated);
}

static void
a_connected_udp_socket_hears_that_nobody_is_there(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *gone = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client;
    struct peer *server;

    close_peer(gone, false);
    RUN_UNTIL(w, gone->closed);
    client = connect_to(w, OL_LINK_DGRAM, bound);
    send_datagram(client, "x", 1, NULL);
    RUN_UNTIL(w, client->receive_error);
    assert_int_equal(client->receive_error, -ECONNREFUSED);
    assert_true(client->receive_more);

    server = dgrams_at(w, bound, &bound);
    server->reply = true;
    send_datagram(client, "y", 1, NULL);
    RUN_UNTIL(w, client->datagrams == 1);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void
waiting_is_never_too_short(void **state)
{
    struct world *w = *state;
    static const int64_t ns[] = {1, 1000, 300000, 999999, 1000001, 7500000};

    for (size_t i = 0; i < OL_COUNT(ns); i++) {
        ol_time until = w->ops->now(w->d) + ns[i];

        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
    assert_int_equal(step(w, 0), 0);
    assert_int_equal(step(w, w->ops->now(w->d) - 1), 0);
}

/* A driver may keep a deadline from wait to wait: neither an earlier one nor a later one is told
 * at its time. */
static void
deadlines_far_and_near_take_turns(void **state)
{
    struct world *w = *state;
    static const int64_t ms[] = {30, 1, 60, 25, 2, 40, 21, 50};
    ol_time began;

    w->ops->wake(w->d); /* ends the first one, whose timer stays; the simulated hour is short */
    assert_int_equal(step(w, w->ops->now(w->d) + 3600 * 1000 * OL_MS), 0);
    began = w->ops->now(w->d);
    for (size_t i = 0; i < OL_COUNT(ms); i++) {
        ol_time until = w->ops->now(w->d) + ms[i] * OL_MS;

        /* The one after the next is asked for, too, and left when something comes. */
        w->ops->wake(w->d);
        assert_int_equal(step(w, until + ms[(i + 2) % OL_COUNT(ms)] * OL_MS), 0);
        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
    assert_true(w->ops->now(w->d) - began < 600 * 1000 * OL_MS); /* not the hour */
}

/* Bytes, an end, and a link that is closed meanwhile: nothing is told twice, late or to nobody. */
static void
looking_sees_what_waiting_sees(void **state)
{
    struct world *w = *state;
    struct peer *a;
    struct peer *b;

    if (!w->ops->look)
        skip();
    w->looks = true;
    pair_both(w, &a, &b);
    assert_int_equal(step(w, 0), 0); /* nobody has spoken yet */
    for (int i = 1; i <= 20; i++) {
        send_wave(a, 100);
        RUN_UNTIL(w, b->received == (size_t)i * 100);
        assert_int_equal(step(w, 0), 0);
    }
    w->ops->receive_stop(w->d, &b->link);
    send_wave(a, 100);
    settle(w, 5); /* nobody wants it */
    assert_int_equal(b->received, 2000);
    receive(b);
    RUN_UNTIL(w, b->received == 2100);
    assert_false(b->wrong);
    close_peer(a, false);
    RUN_UNTIL(w, b->ended);
    close_peer(b, false);
    RUN_UNTIL(w, b->closed);
    b->link.kind = OL_LINK_STREAM; /* its memory may be another one's by now */
    b->link.flags = UINT8_MAX;
    assert_int_equal(step(w, 0), 0);
}

/* As of a busy reactor: the same deadline, wait after wait; then it is put off, comes, or is put
 * forward. */
static void
a_deadline_that_outlives_waits_comes_in_time(void **state)
{
    struct world *w = *state;
    static const int64_t put_off_ms[] = {0, 15, -10, 0, 1, -29};

    for (size_t i = 0; i < OL_COUNT(put_off_ms); i++) {
        ol_time until = w->ops->now(w->d) + 30 * OL_MS;

        for (int k = 0; k < 3; k++) {
            w->ops->wake(w->d);
            assert_int_equal(step(w, until), 0);
        }
        until += put_off_ms[i] * OL_MS;
        for (int k = 0; k < 2; k++) {
            w->ops->wake(w->d);
            assert_int_equal(step(w, until), 0);
        }
        assert_int_equal(step(w, until), 0);
        assert_true(w->ops->now(w->d) >= until);
    }
}

/* Before Linux 5.11, and in sandboxes, the precise call is missing. */
static void
without_epoll_pwait2_waiting_is_never_too_short(void **state)
{
    struct world *w = *state;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {OL_COUNT(rules), rules};
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int wrong = 0;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            _exit(0); /* no filters here: nothing to see */
        for (int i = 0; i < 20; i++) {
            ol_time until = w->ops->now(w->d) + 100000 + i * 170000;

            if (step(w, until) != 0 || w->ops->now(w->d) < until)
                wrong++;
        }
        _exit(wrong);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void
random_bytes_differ(void **state)
{
    struct world *w = *state;
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    w->ops->random(w->d, a, sizeof a);
    w->ops->random(w->d, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(w->ops->real_now(w->d) > 0);
}

static void
a_foreign_descriptor_is_watched_by_level(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    int ends[2];
    char byte;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(w->ops->watch(w->d, &p->link, ends[0], OUTLET_READABLE), 0);
    settle(w, 5);
    assert_int_equal(p->ready_calls, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    RUN_UNTIL(w, p->ready_calls >= 3);
    assert_int_equal(p->ready, OUTLET_READABLE);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    settle(w, 5);
    p->ready_calls = 0;
    settle(w, 20);
    assert_int_equal(p->ready_calls, 0);
    close(ends[1]);
    RUN_UNTIL(w, p->ready_calls > 0);
    assert_true(p->ready & OUTLET_HANGUP);
    close_peer(p, false);
    RUN_UNTIL(w, p->closed);
    assert_true(fcntl(ends[0], F_GETFD) >= 0); /* still the owner's */
    close(ends[0]);
}

static void
one_descriptor_can_be_watched_twice(void **state)
{
    struct world *w = *state;
    struct peer *reads = peer(w);
    struct peer *writes = peer(w);
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(w->ops->watch(w->d, &reads->link, fds[0], OUTLET_READABLE), 0);
    assert_int_equal(w->ops->watch(w->d, &writes->link, fds[0], OUTLET_WRITABLE), 0);
    RUN_UNTIL(w, writes->ready_calls > 0);
    assert_int_equal(writes->ready, OUTLET_WRITABLE);
    close_peer(writes, false);
    assert_int_equal(write(fds[1], "x", 1), 1);
    RUN_UNTIL(w, reads->ready_calls > 0);
    assert_int_equal(reads->ready, OUTLET_READABLE);
    close_peer(reads, false);
    RUN_UNTIL(w, all_closed(w));
    close(fds[0]);
    close(fds[1]);
}

static void
a_regular_file_cannot_be_watched(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(w->ops->watch(w->d, &p->link, fd, OUTLET_READABLE), -EPERM);
    close(fd);
}

static bool
is_readable(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};

    return poll(&p, 1, ms) == 1;
}

static void
an_embedded_driver_shows_when_it_has_something(void **state)
{
    struct world *w = *state;
    int fd = w->ops->embed(w->d);
    struct ol_addr bound;
    struct peer *listener;
    struct peer *a;
    struct peer *b;
    ol_time until;

    assert_true(fd >= 0);
    pair_both(w, &a, &b);
    listener = listen_at(w, v4(1, 0), &bound);
    settle(w, 5);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    w->ops->wake(w->d);
    assert_true(is_readable(fd, 5000));
    (void)step(w, 0);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    send_wave(a, 10);
    assert_true(is_readable(fd, 5000));
    RUN_UNTIL(w, b->received == 10);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    until = w->ops->now(w->d) + 5 * OL_MS;
    w->ops->arm(w->d, until);
    assert_true(is_readable(fd, 5000));
    assert_true(w->ops->now(w->d) >= until);
    (void)step(w, 0);
    w->ops->arm(w->d, OL_NEVER);
    assert_false(is_readable(fd, 0));

    close_peer(listener, false); /* nobody else sees this one end */
    assert_true(is_readable(fd, 5000));
    RUN_UNTIL(w, listener->closed);
}

/* ---- failures ---------------------------------------------------------------------------- */

static void
opening_survives_every_failing_allocation(void **state)
{
    struct world *w = *state;

    for (uint64_t n = 1; n < 100; n++) {
        struct failing_heap heap;
        struct ol_budget *budget;
        struct ol_driver *d = NULL;
        int err = -ENOMEM;

        failing_heap_init(&heap, n);
        budget = ol_budget_new(&heap.heap, INT64_MAX);
        if (budget) {
            struct ol_driver_opts opts = {.budget = budget, .log = &w->log, .sim_seed = 1};

            err = w->ops->open(&d, &opts);
            if (!err)
                w->ops->free(d);
            ol_budget_unref(budget);
        }
        assert_int_equal(failing_heap_live(&heap), 0);
        if (!err && failing_heap_failed(&heap) == 0)
            return;
    }
    fail_msg("it never succeeded");
}

static void
without_memory_a_listener_is_not_made(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    struct ol_addr bound;
    int err;

    failing_heap_exhaust(&w->heap);
    err = try_listen(p, OL_LINK_LISTENER, in_directory(w, "poor.sock"), OL_PORT_ALONE, &bound);
    failing_heap_reset(&w->heap, 0);
    assert_int_equal(err, -ENOMEM);
}

static void
without_memory_receiving_ends_and_can_be_started_again(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *server = dgrams_at(w, v4(1, 0), &bound);
    struct peer *client = connect_to(w, OL_LINK_DGRAM, bound);

    failing_heap_exhaust(&w->heap);
    send_datagram(client, "x", 1, NULL);
    for (int i = 0; i < 100 && !server->receive_error && !server->datagrams; i++)
        (void)step(w, w->ops->now(w->d) + 20 * OL_MS);
    failing_heap_reset(&w->heap, 0);
    if (server->receive_error) { /* a driver may have had its memory already */
        assert_int_equal(server->receive_error, -ENOMEM);
        assert_false(server->receive_more);
        receive(server);
    }
    RUN_UNTIL(w, server->datagrams == 1);
}

/* The child shares every kernel object with its parent and must leave all of them as they are. */
static void
a_forked_child_can_free_without_disturbing_its_parent(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "parent.sock");
    struct ol_addr bound;
    struct peer *listener = listen_at(w, at, &bound);
    struct peer *client = connect_to(w, OL_LINK_STREAM, bound);
    struct peer *server = adopt_next(listener);
    int status = -1;
    pid_t child;

    receive(server);
    child = fork();
    if (child == 0) {
        w->ops->close(w->d, &server->link, true);
        w->ops->close(w->d, &listener->link, false);
        w->ops->free(w->d);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    server->echo = true;
    send_wave(client, 1000);
    RUN_UNTIL(w, client->received == 1000);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, listener->accepted == 2);
}

/* ---- the list ---------------------------------------------------------------------------- */

#define EVERY(test)                          \
    {                                        \
#test, test, set_up, tear_down, NULL \
    }
#define KERNEL(test) EVERY(test)

static const struct CMUnitTest for_every_driver[] = {
    EVERY(tcp_over_v4_echoes),
    EVERY(tcp_over_v6_echoes),
    EVERY(a_pair_echoes),
    EVERY(a_live_socket_file_is_left_alone),
    EVERY(a_forked_child_can_free_without_disturbing_its_parent),
    EVERY(without_memory_a_listener_is_not_made),
    EVERY(udp_over_v4_answers_from_the_address_that_was_asked),
    EVERY(a_path_that_is_not_there_is_told),
    EVERY(tcp_tells_its_round_trip_time),
    EVERY(an_abstract_name_echoes),
    EVERY(a_unix_path_echoes),
    EVERY(large_transfers_both_ways_are_exact_over_tcp),
    EVERY(large_transfers_both_ways_are_exact_over_a_pair),
    EVERY(send_now_takes_what_fits_and_keeps_nothing),
    EVERY(what_is_sent_quietly_is_told_once),
    EVERY(half_closed_still_receives),
    EVERY(closing_while_the_peer_sends_ends_it),
    EVERY(closing_with_a_reset_is_seen_as_one),
    EVERY(closed_is_told_once_and_last_with_everything_under_way),
    EVERY(a_connect_can_be_closed_at_once),
    EVERY(stopping_to_receive_holds_the_peer_back),
    EVERY(stopping_and_starting_again_at_once_loses_nothing),
    EVERY(a_paused_link_whose_peer_resets_does_not_spin),
    EVERY(an_end_that_was_told_does_not_spin),
    EVERY(small_batches_forget_nothing),
    EVERY(links_closed_in_the_middle_of_a_batch_are_not_heard_again),
    EVERY(bytes_that_are_kept_survive_later_batches),
    EVERY(a_port_where_nobody_listens_refuses),
    EVERY(a_port_in_use_is_told),
    EVERY(both_families_share_a_port_number),
    EVERY(siblings_share_a_port_and_a_stranger_does_not),
    EVERY(accepting_can_be_stopped_and_started),
    EVERY(asked_for_singly_a_client_comes_for_each_start),
    EVERY(a_hundred_clients_at_once_are_all_accepted),
    EVERY(udp_over_v4_echoes),
    EVERY(udp_over_v6_echoes),
    EVERY(the_largest_datagram_goes_whole),
    EVERY(an_empty_datagram_is_not_an_end),
    EVERY(a_hundred_datagrams_go_in_batches),
    EVERY(many_datagrams_of_several_sockets_take_turns),
    EVERY(a_bad_datagram_in_a_batch_does_not_hold_the_others),
    EVERY(a_connected_udp_socket_hears_that_nobody_is_there),
    EVERY(waiting_is_never_too_short),
    EVERY(deadlines_far_and_near_take_turns),
    EVERY(a_deadline_that_outlives_waits_comes_in_time),
    EVERY(looking_sees_what_waiting_sees),
    EVERY(random_bytes_differ),
    EVERY(opening_survives_every_failing_allocation),
};

/* The world of the simulator has no files, threads or foreign descriptors, and every address. */
static const struct CMUnitTest for_the_kernel[] = {
    KERNEL(an_address_of_another_machine_is_refused),
    KERNEL(accepted_sockets_do_not_delay),
    KERNEL(links_that_come_and_go_hold_nobody_up),
    KERNEL(running_out_of_descriptors_stops_accepting_without_a_spin),
    KERNEL(a_stale_socket_file_is_taken_over),
    KERNEL(a_file_that_is_no_socket_is_left_alone),
    KERNEL(a_socket_file_has_the_mode_that_was_asked_for),
    KERNEL(a_socket_file_of_somebody_else_survives_our_close),
    KERNEL(a_datagram_that_is_too_long_is_marked),
    KERNEL(a_foreign_descriptor_is_watched_by_level),
    KERNEL(one_descriptor_can_be_watched_twice),
    KERNEL(a_regular_file_cannot_be_watched),
    KERNEL(an_embedded_driver_shows_when_it_has_something),
    KERNEL(without_memory_a_listener_is_not_made),
    KERNEL(without_memory_receiving_ends_and_can_be_started_again),
    KERNEL(a_forked_child_can_free_without_disturbing_its_parent),
};

static const struct CMUnitTest for_epoll[] = {
    EVERY(without_epoll_pwait2_waiting_is_never_too_short),
};

static bool
works_here(const struct ol_driver_ops *ops)
{
    struct ol_budget *budget = ol_budget_new(&ol_heap_system, INT64_MAX);
    struct ol_log log = {NULL, NULL};
    struct ol_driver_opts opts = {.budget = budget, .log = &log, .sim_seed = 1};
    struct ol_driver *d;
    int err = budget ? ops->open(&d, &opts) : -ENOMEM;

    if (!err)
        ops->free(d);
    if (budget)
        ol_budget_unref(budget);
    return !err;
}

int
main(void)
{
    int failed = 0;

    for (size_t i = 0; i < OL_COUNT(drivers); i++) {
        char name[32];

        current = drivers[i];
        if (!works_here(current)) {
            print_message("%s does not work here: skipped\n", current->name);
            continue;
        }
        for (seed = 1; seed <= (current == &ol_driver_sim ? SEEDS : 1); seed++) {
            (void)snprintf(name, sizeof name, "%s, seed %d", current->name, (int)seed);
            failed += cmocka_run_group_tests_name(name, for_every_driver, NULL, NULL);
        }
        (void)snprintf(name, sizeof name, "%s, kernel", current->name);
        if (strcmp(current->name, "sim") != 0)
            failed += cmocka_run_group_tests_name(name, for_the_kernel, NULL, NULL);
        if (current == &ol_driver_epoll)
            failed += cmocka_run_group_tests_name("epoll alone", for_epoll, NULL, NULL);
    }
    return failed;
}
