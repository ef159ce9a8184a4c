/*
 * driver_world.c - see driver_world.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include "io/driver/sim.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_STEPS = 200, SEEDS = 3 };

static const struct ol_driver_ops *const drivers[] = {&ol_driver_epoll, &ol_driver_uring,
                                                      &ol_driver_sim};

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

int
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

/*
 * Everything that comes by itself within a short time.  The simulated network carries megabytes in
 * no time at all, so with two ends that never stop sending it is the number of steps that ends it.
 */
void
settle(struct world *w, int ms)
{
    ol_time until = w->ops->now(w->d) + ms * OL_MS;
    int steps = w->ops == &ol_driver_sim ? SETTLE_STEPS : INT_MAX;

    while (w->ops->now(w->d) < until && steps-- > 0) {
        if (step(w, until) < 0)
            return;
    }
}

int64_t
cpu_time(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A driver that spins may do it inside of one wait() as well as by returning from many. */
void
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

struct peer *
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

void
close_peer(struct peer *p, bool reset)
{
    p->asked_to_close = true;
    p->w->ops->close(p->w->d, &p->link, reset);
}

bool
all_closed(const struct world *w)
{
    for (int i = 0; i < PEERS; i++) {
        if (w->peers[i].asked_to_close && !w->peers[i].closed)
            return false;
    }
    return true;
}

int
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
int
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

struct ol_addr
v4(uint8_t last, uint16_t port)
{
    return (struct ol_addr){.kind = OL_ADDR_V4, .port = port, .ip = {127, 0, 0, last}};
}

struct ol_addr
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

struct ol_addr
abstract(void)
{
    char name[64];

    (void)snprintf(name, sizeof name, "outlet-driver-test-%ld", (long)getpid());
    return named(OL_ADDR_ABSTRACT, name);
}

struct ol_addr
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

int
try_listen(struct peer *p, enum ol_link_kind kind, struct ol_addr at, enum ol_share_port share,
           struct ol_addr *bound)
{
    struct ol_listen_spec spec = {
        .kind = kind, .at = at, .share = share, .backlog = 512, .mode = -1, .tuning.nodelay = true};

    return p->w->ops->listen(p->w->d, &p->link, &spec, bound);
}

struct peer *
listen_at(struct world *w, struct ol_addr at, struct ol_addr *bound)
{
    struct peer *p = peer(w);

    assert_int_equal(try_listen(p, OL_LINK_LISTENER, at, OL_PORT_ALONE, bound), 0);
    assert_int_equal(w->ops->accept_start(w->d, &p->link), 0);
    return p;
}

struct peer *
dgrams_at(struct world *w, struct ol_addr at, struct ol_addr *bound)
{
    struct peer *p = peer(w);

    assert_int_equal(try_listen(p, OL_LINK_DGRAM, at, OL_PORT_ALONE, bound), 0);
    assert_int_equal(w->ops->receive_start(w->d, &p->link), 0);
    return p;
}

/* The result of connecting, wherever the driver tells it. */
int
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

struct peer *
connect_to(struct world *w, enum ol_link_kind kind, struct ol_addr to)
{
    struct peer *p = peer(w);

    assert_int_equal(connect_result(p, kind, to), 0);
    assert_int_equal(w->ops->receive_start(w->d, &p->link), 0);
    return p;
}

struct peer *
adopt_token(struct world *w, int32_t token)
{
    struct peer *p = peer(w);

    assert_int_equal(w->ops->adopt(w->d, &p->link, OL_LINK_STREAM, token), 0);
    return p;
}

struct peer *
adopt_next(struct peer *listener)
{
    struct world *w = listener->w;

    RUN_UNTIL(w, listener->accepted > listener->adopted);
    return adopt_token(w, listener->tokens[listener->adopted++]);
}

void
receive(struct peer *p)
{
    assert_int_equal(p->w->ops->receive_start(p->w->d, &p->link), 0);
}

/* A connection over tcp: both sides receive. */
void
connect_both(struct world *w, struct peer **client, struct peer **server)
{
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    *client = connect_to(w, OL_LINK_STREAM, bound);
    *server = adopt_next(listener);
    receive(*server);
}

void
pair_both(struct world *w, struct peer **a, struct peer **b)
{
    int32_t tokens[2];

    assert_int_equal(w->ops->pair(w->d, tokens), 0);
    *a = adopt_token(w, tokens[0]);
    *b = adopt_token(w, tokens[1]);
    receive(*a);
    receive(*b);
}

void
send_wave(struct peer *p, size_t bytes)
{
    p->to_send += bytes;
    pump(p);
}

void
send_datagram(struct peer *p, const void *bytes, size_t len, const struct ol_addr *to)
{
    struct iovec piece = {(void *)bytes, len};
    struct ol_dgram m = {.pieces = &piece, .count = 1, .to = to};

    assert_int_equal(p->w->ops->send_dgrams(p->w->d, &p->link, &m, 1), 1);
}

void
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

/* ---- running ----------------------------------------------------------------------------- */

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

static int
run(const char *of, struct world_tests t)
{
    char name[64];

    if (t.count == 0)
        return 0;
    (void)snprintf(name, sizeof name, "%s, %s", current->name, of);
    /* The macro for it takes an array, not what a caller hands over. */
    return _cmocka_run_group_tests(name, t.tests, t.count, NULL, NULL);
}

int
run_in_worlds(struct world_tests for_every_driver, struct world_tests for_the_kernel,
              struct world_tests for_epoll)
{
    int failed = 0;

    for (size_t i = 0; i < OL_COUNT(drivers); i++) {
        current = drivers[i];
        if (!works_here(current)) {
            print_message("%s does not work here: skipped\n", current->name);
            continue;
        }
        for (seed = 1; seed <= (current == &ol_driver_sim ? SEEDS : 1); seed++) {
            char of[32];

            (void)snprintf(of, sizeof of, "seed %d", (int)seed);
            failed += run(of, for_every_driver);
        }
        if (current != &ol_driver_sim)
            failed += run("kernel", for_the_kernel);
        if (current == &ol_driver_epoll)
            failed += run("alone", for_epoll);
    }
    return failed;
}
