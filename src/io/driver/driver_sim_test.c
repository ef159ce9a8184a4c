/*
 * driver_sim_test.c - the simulated network: the same seed is the same run, nothing is lost that a
 * kernel would not lose, and careless users are caught.
 *
 * Two drivers share each world, as two reactors would.  Completions are written down by heard() and
 * judged in the test bodies.  A failing property prints its seed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "sim.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    SIDES = 8,
    SEEDS = 2000,
    WAVE =
        4093 /* period of the bytes that streams carry; a prime, so that slices do not match it */
};

#define ALWAYS 65536u
#define SECOND (1000 * OL_MS)

/* A link and what was heard of it. */
struct side {
    struct ol_link link;
    struct ol_driver *d;
    struct net *net;
    bool open;  /* close() was not called yet */
    bool echo;  /* streams: send back what comes; datagrams: count only */
    bool pause; /* stop and start receiving by lot */

    int32_t token; /* the last one accepted; -1: none */
    int accepted;
    int accept_errors;
    int connected;
    int32_t connect_result;

    uint8_t *bytes; /* what is sent: heap memory that is freed as soon as it may be */
    size_t to_send;
    size_t sent;
    bool pending;
    bool end_when_sent;
    int32_t send_error;

    size_t received;
    bool wrong; /* a byte that is not the wave's */
    bool ended;
    int32_t receive_error;
    int receive_errors;
    int datagrams;
    uint32_t last_number; /* datagrams begin with one */
    int overtaken;
    int rooms;
    bool keep; /* keep a reference of the next block */
    struct ol_block *kept;
    uint8_t *kept_data;
    size_t kept_len;

    int closed;
    bool heard_after_closed;
};

struct net {
    struct failing_heap heap;
    struct ol_budget *budget;
    struct ol_sim *world;
    struct ol_driver *d[2];
    struct side sides[SIDES];
    uint64_t trace;
    struct ol_rng rng; /* what the test itself leaves to chance */
    uint8_t wave[4 * WAVE];
};

static const struct ol_driver_ops *const ops = &ol_driver_sim;

/* ---- hearing ----------------------------------------------------------------------------- */

static void
mix(struct net *n, uint64_t word)
{
    n->trace = (n->trace ^ word) * 0x9e3779b97f4a7c15u;
    n->trace ^= n->trace >> 29;
}

static void
end_sending(struct side *s)
{
    if (s->sent == s->to_send && s->end_when_sent && s->open) {
        s->end_when_sent = false;
        if (ops->end_writing(s->d, &s->link))
            s->send_error = -1;
    }
}

/* The bytes live in memory of their own, which goes away when the driver is done with it. */
static void
pump(struct side *s)
{
    while (s->open && !s->pending && !s->send_error && s->sent < s->to_send) {
        size_t from = s->sent % WAVE;
        size_t len = ol_min(s->to_send - s->sent, 2 * WAVE);
        struct iovec pieces[2];
        int64_t n;

        s->bytes = malloc(len);
        if (!s->bytes)
            abort();
        memcpy(s->bytes, s->net->wave + from, len);
        pieces[0] = (struct iovec){s->bytes, len / 3};
        pieces[1] = (struct iovec){s->bytes + len / 3, len - len / 3};
        n = ol_rng_below(&s->net->rng, 2) ? ops->send_now(s->d, &s->link, pieces, 2) : -EAGAIN;
        if (n == -EAGAIN)
            n = ops->send(s->d, &s->link, pieces, 2);
        if (n == OL_SEND_PENDING) {
            s->pending = true;
            return;
        }
        free(s->bytes);
        s->bytes = NULL;
        if (n < 0)
            s->send_error = (int32_t)n;
        else
            s->sent += (size_t)n;
    }
    end_sending(s);
}

static void
heard_stream_bytes(struct side *s, struct ol_lent *b)
{
    for (uint32_t i = 0; i < b->len; i++) {
        if (b->data[i] != s->net->wave[(s->received + i) % WAVE])
            s->wrong = true;
    }
    if (b->room_before < OL_LENT_ROOM)
        s->wrong = true;
    memset(b->data - b->room_before, 0xaa, b->room_before);
    memset(b->data + b->len, 0xaa, b->room_after);
    s->received += b->len;
    if (s->echo) {
        s->to_send += b->len;
        pump(s);
    }
}

static void
heard_datagram(struct side *s, const struct ol_lent *b)
{
    uint32_t number;

    s->datagrams++;
    if (b->len < sizeof number)
        return;
    memcpy(&number, b->data, sizeof number);
    s->overtaken += number < s->last_number;
    s->last_number = number;
}

static void
heard_received(struct side *s, struct ol_completion *c)
{
    if (c->result < 0) {
        s->receive_error = c->result;
        s->receive_errors++;
        return;
    }
    for (uint32_t i = 0; i < c->bytes.len; i++)
        mix(s->net, c->bytes.data[i]);
    if (s->keep && c->bytes.block) {
        s->kept = ol_block_ref(c->bytes.block);
        s->kept_data = c->bytes.data;
        s->kept_len = c->bytes.len;
        s->keep = false;
    }
    if (s->link.kind == OL_LINK_DGRAM)
        heard_datagram(s, &c->bytes);
    else if (c->result == 0)
        s->ended = true;
    else if (s->kept_data != c->bytes.data)
        heard_stream_bytes(s, &c->bytes);
    ops->give_back(s->d, &c->bytes);
    if (s->pause && s->open && !s->ended && ol_rng_below(&s->net->rng, 4) == 0) {
        ops->receive_stop(s->d, &s->link);
        if (ops->receive_start(s->d, &s->link))
            s->wrong = true;
    }
}

static void
done_sending(struct side *s)
{
    free(s->bytes);
    s->bytes = NULL;
    s->pending = false;
}

static void
heard(struct ol_link *l, struct ol_completion *c)
{
    struct side *s = OL_CONTAINER(l, struct side, link);

    mix(s->net, (uint64_t)(s - s->net->sides));
    mix(s->net, (uint64_t)c->kind << 32 | (uint32_t)c->result);
    mix(s->net, (uint64_t)ol_sim_now(s->net->world));
    if (s->closed)
        s->heard_after_closed = true;
    switch (c->kind) {
    case OL_ACCEPTED:
        if (c->result < 0) {
            s->accept_errors++;
            break;
        }
        if (s->token >= 0)
            ops->discard(s->d, s->token, false);
        s->token = c->result;
        s->accepted++;
        break;
    case OL_CONNECTED:
        s->connected++;
        s->connect_result = c->result;
        break;
    case OL_RECEIVED:
        heard_received(s, c);
        break;
    case OL_SENT:
        if (s->link.kind == OL_LINK_DGRAM) {
            s->rooms++;
            break;
        }
        done_sending(s);
        if (c->result < 0)
            s->send_error = c->result;
        else
            s->sent += (size_t)c->result;
        pump(s);
        break;
    case OL_CLOSED:
        done_sending(s);
        s->closed++;
        break;
    case OL_READY:
        s->wrong = true;
        break;
    }
}

static const struct ol_link_ops side_ops = {.complete = heard};

/* ---- a net ------------------------------------------------------------------------------- */

static bool
net_init(struct net *n, uint64_t seed, const struct ol_sim_faults *faults)
{
    struct ol_driver_opts opts = {.sim_seed = seed};

    memset(n, 0, sizeof *n);
    failing_heap_init(&n->heap, 0);
    ol_rng_seed(&n->rng, seed + 1);
    for (size_t i = 0; i < sizeof n->wave; i++)
        n->wave[i] = (uint8_t)((i % WAVE) * 167 + (i % WAVE) / 251);
    n->budget = ol_budget_new(&n->heap.heap, INT64_MAX);
    n->world = ol_sim_new(&n->heap.heap, seed, faults);
    opts.budget = n->budget;
    opts.world = n->world;
    for (int i = 0; i < 2; i++) {
        if (ops->open(&n->d[i], &opts))
            return false;
    }
    for (int i = 0; i < SIDES; i++) {
        n->sides[i].net = n;
        n->sides[i].link.ops = &side_ops;
        n->sides[i].token = -1;
    }
    return true;
}

/* false: nothing will happen any more before `until`. */
static bool
step(struct net *n, ol_time until)
{
    struct ol_completion out[OL_BATCH_MAX];
    struct ol_driver *d = ol_sim_next(n->world, until);
    int count;

    if (!d)
        return false;
    count = ops->wait(d, OL_NEVER, out, 1 + (int)ol_rng_below(&n->rng, OL_BATCH_MAX));
    for (int i = 0; i < count; i++)
        out[i].link->ops->complete(out[i].link, &out[i]);
    return true;
}

static void
run(struct net *n)
{
    while (step(n, OL_NEVER)) {
    }
}

static void
close_side(struct side *s, bool reset)
{
    if (s->open)
        ops->close(s->d, &s->link, reset);
    s->open = false;
}

/* What every test must leave behind: nothing. */
static void
net_fini(struct net *n)
{
    bool told_once = true;
    bool was_open[SIDES];

    for (int i = 0; i < SIDES; i++) {
        struct side *s = &n->sides[i];

        if (s->token >= 0)
            ops->discard(s->d, s->token, true);
        s->token = -1;
        was_open[i] = s->d && s->open;
        close_side(s, false);
    }
    run(n);
    for (int i = 0; i < SIDES; i++) {
        struct side *s = &n->sides[i];

        if (s->token >= 0)
            ops->discard(s->d, s->token, true); /* a late one */
        if (s->heard_after_closed || s->closed > 1 || (was_open[i] && s->closed != 1))
            told_once = false;
        if (s->kept)
            ol_block_unref(s->kept);
    }
    assert_true(told_once);
    assert_int_equal(ol_sim_open_sockets(n->world), 0);
    ops->free(n->d[0]);
    ops->free(n->d[1]);
    ol_sim_free(n->world);
    ol_budget_unref(n->budget);
    assert_int_equal(failing_heap_live(&n->heap), 0);
}

static struct ol_addr
v4(uint8_t last, uint16_t port)
{
    return (struct ol_addr){.kind = OL_ADDR_V4, .port = port, .ip = {127, 0, 0, last}};
}

static struct ol_addr
path(const char *name)
{
    struct ol_addr a = {.kind = OL_ADDR_PATH, .path_len = (uint8_t)strlen(name)};

    memcpy(a.path, name, a.path_len);
    return a;
}

static int
listen_at(struct side *s, struct ol_driver *d, enum ol_link_kind kind, struct ol_addr at,
          struct ol_addr *bound)
{
    struct ol_listen_spec spec = {.kind = kind, .at = at, .backlog = 4, .mode = -1};
    int err = ops->listen(d, &s->link, &spec, bound);

    if (err)
        return err;
    s->d = d;
    s->open = true;
    return kind == OL_LINK_DGRAM ? ops->receive_start(d, &s->link) : ops->accept_start(d, &s->link);
}

static int
connect_to(struct side *s, struct ol_driver *d, enum ol_link_kind kind, struct ol_addr to)
{
    struct ol_connect_spec spec = {.kind = kind, .to = to};
    int err = ops->connect(d, &s->link, &spec);

    if (!err) {
        s->d = d;
        s->open = true;
    }
    return err;
}

static int
adopt(struct side *s, struct ol_driver *d, int32_t token)
{
    int err = ops->adopt(d, &s->link, OL_LINK_STREAM, token);

    if (!err) {
        s->d = d;
        s->open = true;
    }
    return err;
}

static bool
receive(struct side *s)
{
    return ops->receive_start(s->d, &s->link) == 0;
}

/* sides[0] listens on one driver, sides[1] connects on the other to sides[2]. */
static bool
plug(struct net *n, struct ol_addr at)
{
    struct side *s = n->sides;
    struct ol_addr bound;

    if (listen_at(&s[0], n->d[0], OL_LINK_LISTENER, at, &bound) ||
        connect_to(&s[1], n->d[1], OL_LINK_STREAM, bound))
        return false;
    while (!(s[0].accepted && s[1].connected) && step(n, OL_NEVER)) {
    }
    if (s[0].token < 0 || s[1].connect_result || adopt(&s[2], n->d[0], s[0].token))
        return false;
    s[0].token = -1;
    return true;
}

static bool
pair(struct net *n, struct side *a, struct side *b)
{
    int32_t tokens[2];

    return ops->pair(n->d[0], tokens) == 0 && adopt(a, n->d[0], tokens[0]) == 0 &&
           adopt(b, n->d[1], tokens[1]) == 0;
}

static void
send_wave(struct side *s, size_t len)
{
    s->to_send += len;
    pump(s);
}

/* ---- the whole of it --------------------------------------------------------------------- */

/* Both ways at once, ended in order; how it went is told by the sides. */
static bool
exchange(struct net *n, size_t len)
{
    struct side *a = &n->sides[1];
    struct side *b = &n->sides[2];

    a->pause = true;
    b->echo = true;
    a->end_when_sent = true;
    if (!receive(a) || !receive(b))
        return false;
    send_wave(a, len);
    run(n);
    return b->ended && a->received == len && b->received == len && !a->wrong && !b->wrong &&
           !a->send_error && !b->send_error && !a->receive_error && !b->receive_error;
}

static void
bytes_are_exact_however_they_are_sliced(void **state)
{
    struct net *n = *state;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct ol_sim_faults faults = {.delay_max_us = seed % 3 ? 2000 : 0,
                                       .send_room = seed % 2 ? 1 + (uint32_t)seed : 0};
        bool exact;

        assert_true(net_init(n, seed, &faults));
        exact = plug(n, seed % 5 ? v4(1, 0) : path("/run/a.sock")) && exchange(n, 1 + seed * 7);
        if (!exact)
            fail_msg("seed %llu", (unsigned long long)seed);
        net_fini(n);
    }
}

static uint64_t
trace_of(struct net *n, uint64_t seed)
{
    struct ol_sim_faults faults = {.delay_max_us = 500, .reset = 2000, .accept_fails = 20000};
    uint64_t trace;

    assert_true(net_init(n, seed, &faults));
    if (plug(n, v4(1, 0)))
        (void)exchange(n, 50000); /* it may break: that is part of the trace */
    mix(n, (uint64_t)ol_sim_now(n->world));
    trace = n->trace;
    net_fini(n);
    return trace;
}

static void
the_same_seed_is_the_same_run(void **state)
{
    enum { RUNS = 50 };
    uint64_t traces[RUNS];

    for (uint64_t i = 0; i < RUNS; i++) {
        void *shift = malloc(1 + i * 100); /* addresses in memory must not matter */

        traces[i] = trace_of(*state, i);
        free(shift);
        for (uint64_t j = 0; j < i; j++)
            assert_true(traces[i] != traces[j]);
    }
    for (uint64_t i = 0; i < RUNS; i++)
        assert_true(trace_of(*state, i) == traces[i]);
}

/* ---- connecting -------------------------------------------------------------------------- */

static void
nobody_there_refuses(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    int told = 0;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(connect_to(&s[0], n->d[0], OL_LINK_STREAM, v4(1, 9)), 0);
    run(n);
    assert_int_equal(s[0].connect_result, -ECONNREFUSED);
    for (int i = 1; i < SIDES; i++) {
        int err = connect_to(&s[i], n->d[0], OL_LINK_STREAM, path("/none"));

        assert_true(err == 0 || err == -ENOENT);
        run(n);
        told += err == 0 && s[i].connect_result == -ENOENT;
    }
    assert_in_range(told, 1, SIDES - 2); /* at once and later, both happen */
    net_fini(n);
}

static void
a_black_hole_answers_never(void **state)
{
    struct net *n = *state;
    struct ol_sim_faults faults = {.black_hole = ALWAYS};
    struct ol_addr bound;
    ol_time began;

    assert_true(net_init(n, 1, &faults));
    began = ol_sim_now(n->world);
    assert_int_equal(listen_at(&n->sides[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
    assert_int_equal(connect_to(&n->sides[1], n->d[1], OL_LINK_STREAM, bound), 0);
    while (step(n, began + 120 * SECOND)) {
    }
    assert_int_equal(n->sides[1].connected, 0);
    assert_int_equal(ol_sim_now(n->world), began + 120 * SECOND);
    run(n);
    assert_int_equal(n->sides[1].connect_result, -ETIMEDOUT);
    net_fini(n);
}

static void
faults_refuse_and_run_out_of_descriptors(void **state)
{
    struct net *n = *state;
    struct ol_sim_faults faults = {.refuse = ALWAYS};
    struct side *s = n->sides;
    struct ol_addr bound;

    assert_true(net_init(n, 1, &faults));
    assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
    assert_int_equal(connect_to(&s[1], n->d[1], OL_LINK_STREAM, bound), 0);
    run(n);
    assert_int_equal(s[1].connect_result, -ECONNREFUSED);

    faults = (struct ol_sim_faults){.socket_fails = ALWAYS};
    ol_sim_set_faults(n->world, &faults);
    assert_int_equal(connect_to(&s[2], n->d[1], OL_LINK_STREAM, bound), -EMFILE);
    assert_int_equal(listen_at(&s[2], n->d[1], OL_LINK_LISTENER, v4(1, 0), &bound), -EMFILE);

    faults = (struct ol_sim_faults){.accept_fails = ALWAYS};
    ol_sim_set_faults(n->world, &faults);
    assert_int_equal(connect_to(&s[3], n->d[1], OL_LINK_STREAM, bound), 0);
    run(n);
    assert_int_equal(s[0].accept_errors, 1);
    assert_int_equal(s[0].accepted, 0);
    assert_int_equal(s[3].connect_result, 0);

    faults.accept_fails = 0;
    ol_sim_set_faults(n->world, &faults);
    assert_int_equal(ops->accept_start(n->d[0], &s[0].link), 0);
    run(n);
    assert_int_equal(s[0].accepted, 1);
    net_fini(n);
}

static void
a_full_backlog_makes_clients_wait(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_addr bound;
    int connected = 0;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
    ops->accept_stop(n->d[0], &s[0].link);
    for (int i = 1; i < SIDES; i++)
        assert_int_equal(connect_to(&s[i], n->d[1], OL_LINK_STREAM, bound), 0);
    while (step(n, ol_sim_now(n->world) + SECOND / 2)) {
    }
    for (int i = 1; i < SIDES; i++)
        connected += s[i].connected;
    assert_int_equal(connected, 4);
    assert_int_equal(ops->accept_start(n->d[0], &s[0].link), 0);
    run(n);
    assert_int_equal(s[0].accepted, SIDES - 1);
    net_fini(n);
}

static void
closing_a_listener_resets_its_backlog(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_addr bound;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
    ops->accept_stop(n->d[0], &s[0].link);
    assert_int_equal(connect_to(&s[1], n->d[1], OL_LINK_STREAM, bound), 0);
    run(n);
    assert_int_equal(s[1].connect_result, 0);
    assert_true(receive(&s[1]));
    close_side(&s[0], false);
    run(n);
    assert_int_equal(s[1].receive_error, -ECONNRESET);
    assert_int_equal(connect_to(&s[2], n->d[1], OL_LINK_STREAM, bound), 0);
    run(n);
    assert_int_equal(s[2].connect_result, -ECONNREFUSED);
    net_fini(n);
}

static void
a_backlog_that_stays_full_is_told(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_listen_spec spec = {.kind = OL_LINK_LISTENER, .at = path("/a"), .backlog = 1};
    struct ol_addr bound;
    ol_time began;

    assert_true(net_init(n, 1, NULL));
    began = ol_sim_now(n->world);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ops->listen(n->d[0], &s[3 * i].link, &spec, &bound), 0);
        s[3 * i].d = n->d[0];
        s[3 * i].open = true;
        assert_int_equal(connect_to(&s[3 * i + 1], n->d[1], OL_LINK_STREAM, bound), 0);
        run(n);
        assert_int_equal(connect_to(&s[3 * i + 2], n->d[1], OL_LINK_STREAM, bound), 0);
        run(n);
        assert_int_equal(s[3 * i + 1].connect_result, 0);
        spec.at = v4(1, 0);
    }
    assert_int_equal(s[2].connect_result, -EAGAIN);
    assert_int_equal(s[5].connect_result, -ETIMEDOUT);
    assert_true(ol_sim_now(n->world) >= began + 60 * SECOND);
    net_fini(n);
}

/* As with io_uring, where a completion can be on its way when the cancel comes. */
static void
a_closing_listener_may_bring_one_more(void **state)
{
    struct net *n = *state;
    int late = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct side *s = n->sides;
        struct ol_addr bound;

        assert_true(net_init(n, seed, NULL));
        assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
        for (int i = 1; i < 4; i++)
            assert_int_equal(connect_to(&s[i], n->d[1], OL_LINK_STREAM, bound), 0);
        while (step(n, ol_sim_now(n->world))) {
        }
        assert_ptr_equal(ol_sim_next(n->world, OL_NEVER), n->d[0]); /* they have arrived */
        close_side(&s[0], false);
        run(n);
        assert_in_range(s[0].accepted, 0, 1);
        late += s[0].accepted;
        net_fini(n);
    }
    assert_in_range(late, 1, 60);
}

static void
siblings_share_what_comes(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_listen_spec spec = {
        .kind = OL_LINK_LISTENER, .at = {.kind = OL_ADDR_V6}, .share = OL_PORT_FIRST};
    struct ol_addr bound;

    assert_true(net_init(n, 1, NULL));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ops->listen(n->d[i], &s[i].link, &spec, &bound), 0);
        assert_int_equal(ops->accept_start(n->d[i], &s[i].link), 0);
        s[i].d = n->d[i];
        s[i].open = true;
        spec.at = bound;
        spec.share = OL_PORT_SIBLING;
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(connect_to(&s[2], n->d[0], OL_LINK_STREAM, bound), 0);
        run(n);
        assert_int_equal(s[2].connect_result, 0);
        close_side(&s[2], false);
        run(n);
        s[2].closed = 0;
    }
    assert_in_range(s[0].accepted, 30, 70);
    assert_int_equal(s[0].accepted + s[1].accepted, 100);
    net_fini(n);
}

/* What a forked child does, whose links nobody will close. */
static void
a_driver_can_be_freed_with_everything_open(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_addr bound;

    assert_true(net_init(n, 1, NULL));
    assert_true(plug(n, v4(1, 0)) && receive(&s[1]) && receive(&s[2]));
    send_wave(&s[1], 1000000);
    while (!s[1].pending && step(n, OL_NEVER)) {
    }
    assert_true(pair(n, &s[5], &s[6]));
    assert_int_equal(listen_at(&s[3], n->d[0], OL_LINK_DGRAM, v4(1, 0), &bound), 0);
    assert_int_equal(connect_to(&s[4], n->d[1], OL_LINK_STREAM, v4(1, 1)), 0);
    memset(s, 0, sizeof n->sides[0]); /* links may be gone already */
    ops->free(n->d[0]);
    ops->free(n->d[1]);
    assert_int_equal(ol_sim_open_sockets(n->world), 0);
    ol_sim_free(n->world);
    ol_budget_unref(n->budget);
    free(s[1].bytes);
    assert_int_equal(failing_heap_live(&n->heap), 0);
}

static void
addresses_in_use_are_told(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct ol_addr bound;
    struct ol_addr any = {.kind = OL_ADDR_V4};
    struct ol_addr name;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound), 0);
    any.port = bound.port;
    assert_int_equal(listen_at(&s[1], n->d[1], OL_LINK_LISTENER, bound, &name), -EADDRINUSE);
    assert_int_equal(listen_at(&s[1], n->d[1], OL_LINK_LISTENER, any, &name), -EADDRINUSE);
    assert_int_equal(listen_at(&s[1], n->d[1], OL_LINK_DGRAM, bound, &name), 0);
    assert_int_equal(listen_at(&s[2], n->d[1], OL_LINK_LISTENER, v4(2, bound.port), &name), 0);
    assert_int_equal(listen_at(&s[3], n->d[1], OL_LINK_LISTENER, path("/a"), &name), 0);
    assert_int_equal(listen_at(&s[4], n->d[1], OL_LINK_LISTENER, path("/a"), &name), -EADDRINUSE);

    assert_int_equal(connect_to(&s[4], n->d[0], OL_LINK_STREAM, v4(2, bound.port)), 0);
    run(n);
    assert_int_equal(s[2].accepted, 1);
    assert_int_equal(ops->address(n->d[0], &s[4].link, false, &name), 0);
    assert_int_equal(name.ip[3], 1);
    assert_int_equal(ops->address(n->d[0], &s[4].link, true, &name), 0);
    assert_int_equal(name.ip[3], 2);
    assert_int_equal(name.port, bound.port);
    net_fini(n);
}

/* ---- ending ------------------------------------------------------------------------------ */

/* `len` bytes sent and closed in order; true: the other side got all of them and an end. */
static bool
arrives_before_close(struct net *n, size_t len, bool unread_input)
{
    struct side *a = &n->sides[0];
    struct side *b = &n->sides[1];

    if (!pair(n, a, b) || !receive(b))
        return false;
    if (unread_input) {
        send_wave(b, 1);
        while (b->sent < 1 && step(n, OL_NEVER)) {
        }
        while (step(n, ol_sim_now(n->world) + SECOND)) {
        }
    }
    send_wave(a, len);
    while (a->sent < len && step(n, OL_NEVER)) {
    }
    close_side(a, false);
    run(n);
    return b->ended && b->received == len && !b->wrong;
}

static void
closing_in_order_delivers_what_was_sent(void **state)
{
    struct net *n = *state;

    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct ol_sim_faults faults = {.delay_max_us = 100};

        assert_true(net_init(n, seed, &faults));
        if (!arrives_before_close(n, 100000, false))
            fail_msg("seed %llu", (unsigned long long)seed);
        net_fini(n);
    }
}

static void
closing_with_unread_input_loses_what_was_sent(void **state)
{
    struct net *n = *state;
    int lost = 0;

    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct ol_sim_faults faults = {.delay_max_us = 100};

        assert_true(net_init(n, seed, &faults));
        lost += !arrives_before_close(n, 100000, true);
        assert_int_equal(n->sides[1].receive_error, -ECONNRESET);
        net_fini(n);
    }
    assert_int_equal(lost, 100);
}

static void
closing_while_the_peer_sends_resets_it(void **state)
{
    struct net *n = *state;
    struct side *a = &n->sides[0];
    struct side *b = &n->sides[1];

    assert_true(net_init(n, 1, NULL));
    assert_true(pair(n, a, b) && receive(a) && receive(b));
    send_wave(a, (size_t)1 << 40);
    while (b->received < 1000000 && step(n, OL_NEVER)) {
    }
    close_side(b, false);
    run(n);
    assert_true(a->send_error == -EPIPE || a->send_error == -ECONNRESET);
    assert_int_equal(a->receive_error, -ECONNRESET);
    assert_int_equal(b->closed, 1);
    net_fini(n);
}

static void
resets_strike_both_ends_once(void **state)
{
    struct net *n = *state;
    int struck = 0;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct ol_sim_faults faults = {.reset = 3000, .delay_max_us = 100};
        struct side *a = &n->sides[0];
        struct side *b = &n->sides[1];

        assert_true(net_init(n, seed, &faults));
        assert_true(pair(n, a, b) && receive(a) && receive(b));
        b->echo = true;
        send_wave(a, 200000);
        run(n);
        assert_int_equal(a->receive_errors, b->receive_errors);
        assert_true(a->receive_errors <= 1 && !a->wrong && !b->wrong);
        struck += a->receive_errors;
        net_fini(n);
    }
    assert_in_range(struck, 20, 199);
}

/* Closing at any moment, with anything under way, ends both links exactly once: net_fini looks. */
static void
closing_at_any_moment_leaves_nothing(void **state)
{
    struct net *n = *state;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct ol_sim_faults faults = {.delay_max_us = 300, .send_room = 3000};
        uint64_t steps = seed % 60;

        assert_true(net_init(n, seed, &faults));
        if (seed % 4 == 0) {
            struct ol_addr bound;

            assert_int_equal(listen_at(&n->sides[0], n->d[0], OL_LINK_LISTENER, v4(1, 0), &bound),
                             0);
            assert_int_equal(connect_to(&n->sides[1], n->d[1], OL_LINK_STREAM, bound), 0);
            steps /= 10;
        } else {
            assert_true(plug(n, v4(1, 0)));
            assert_true(receive(&n->sides[1]) && receive(&n->sides[2]));
            n->sides[1].pause = true;
            n->sides[2].echo = true;
            send_wave(&n->sides[1], 100000);
        }
        for (; steps > 0; steps--)
            (void)step(n, OL_NEVER);
        close_side(&n->sides[seed % 3], seed % 2);
        (void)step(n, OL_NEVER);
        net_fini(n);
    }
}

/* ---- who is careless is caught ----------------------------------------------------------- */

static void
bytes_given_back_are_poisoned_and_kept_ones_are_not(void **state)
{
    struct net *n = *state;
    struct side *a = &n->sides[0];
    struct side *b = &n->sides[1];
    struct ol_completion out[1];
    uint8_t *data = NULL;
    int count = 0;

    assert_true(net_init(n, 1, NULL));
    assert_true(pair(n, a, b) && receive(b));
    b->keep = true;
    send_wave(a, 10);
    run(n);
    assert_non_null(b->kept);
    assert_memory_equal(b->kept_data, n->wave, b->kept_len);
    assert_true(b->kept_len + b->received == 10);

    send_wave(a, 10);
    while (count == 0) {
        struct ol_driver *d = ol_sim_next(n->world, OL_NEVER);

        assert_non_null(d);
        count = ops->wait(d, OL_NEVER, out, 1);
        if (count == 1 && out[0].kind == OL_SENT) {
            heard(out[0].link, &out[0]);
            count = 0;
        }
    }
    assert_int_equal(out[0].kind, OL_RECEIVED);
    data = out[0].bytes.data;
    assert_true(data[0] == n->wave[10]);
    ops->give_back(n->d[1], &out[0].bytes);
    assert_int_equal(data[0], 0xdb);
    assert_memory_equal(b->kept_data, n->wave, b->kept_len);
    run(n);
    net_fini(n);
}

/* In a child: 0: nobody noticed. */
static int
change_pending_bytes(struct net *n, bool change)
{
    struct rlimit no_core = {0, 0};
    struct side *a = &n->sides[0];
    struct side *b = &n->sides[1];

    (void)setrlimit(RLIMIT_CORE, &no_core); /* at worst a core file */
    if (!freopen("/dev/null", "w", stderr) || !net_init(n, 1, NULL) || !pair(n, a, b) ||
        !receive(b))
        return 1;
    a->to_send = 1 << 20;
    while (!a->pending)
        pump(a);
    if (change)
        a->bytes[0] ^= 1;
    run(n);
    return b->received == (1 << 20) ? 0 : 1;
}

static int
in_child(struct net *n, bool change)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(change_pending_bytes(n, change));
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void
changing_the_bytes_of_a_pending_send_is_caught(void **state)
{
    int status = in_child(*state, true);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(in_child(*state, false), 0);
}

/* ---- datagrams --------------------------------------------------------------------------- */

/* `count` numbered datagrams from a connected socket to a bound one. */
static void
shower(struct net *n, const struct ol_sim_faults *faults, int count)
{
    struct side *server = &n->sides[0];
    struct side *client = &n->sides[1];
    struct ol_addr bound;

    assert_true(net_init(n, 7, faults));
    assert_int_equal(listen_at(server, n->d[0], OL_LINK_DGRAM, v4(1, 0), &bound), 0);
    assert_int_equal(connect_to(client, n->d[1], OL_LINK_DGRAM, bound), 0);
    run(n);
    assert_int_equal(client->connected, 1);
    for (int i = 0; i < count; i++) {
        uint32_t number = (uint32_t)i;
        struct iovec piece = {&number, sizeof number};
        struct ol_dgram m = {.pieces = &piece, .count = 1};

        assert_int_equal(ops->send_dgrams(client->d, &client->link, &m, 1), 1);
        for (int j = 0; j < 3; j++)
            (void)step(n, ol_sim_now(n->world) + 50000);
    }
    run(n);
}

static void
datagrams_arrive_in_order_when_nothing_happens_to_them(void **state)
{
    struct net *n = *state;
    struct ol_sim_faults faults = {.delay_max_us = 1000};

    shower(n, &faults, 2000);
    assert_int_equal(n->sides[0].datagrams, 2000);
    assert_int_equal(n->sides[0].overtaken, 0);
    net_fini(n);
}

static void
datagrams_are_lost_doubled_and_overtaken(void **state)
{
    struct net *n = *state;
    struct ol_sim_faults lose = {.lose = ALWAYS / 4};
    struct ol_sim_faults duplicate = {.duplicate = ALWAYS / 4};
    struct ol_sim_faults reorder = {.reorder = ALWAYS / 4, .delay_max_us = 1000};

    shower(n, &lose, 4000);
    assert_in_range(n->sides[0].datagrams, 2800, 3200);
    net_fini(n);
    shower(n, &duplicate, 4000);
    assert_in_range(n->sides[0].datagrams, 4800, 5200);
    net_fini(n);
    shower(n, &reorder, 4000);
    assert_int_equal(n->sides[0].datagrams, 4000);
    assert_in_range(n->sides[0].overtaken, 100, 2000);
    net_fini(n);
}

static void
a_datagram_to_nobody_is_heard_of_by_the_connected(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct iovec piece = {n->wave, OL_DGRAM_MAX + 1};
    struct ol_dgram m = {.pieces = &piece, .count = 1};
    struct ol_addr nobody = v4(1, 9);
    struct ol_addr bound;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(connect_to(&s[0], n->d[0], OL_LINK_DGRAM, nobody), 0);
    assert_int_equal(listen_at(&s[1], n->d[1], OL_LINK_DGRAM, v4(1, 0), &bound), 0);
    assert_true(receive(&s[0]));
    assert_int_equal(ops->send_dgrams(n->d[0], &s[0].link, &m, 1), -EMSGSIZE);
    piece.iov_len = 5;
    assert_int_equal(ops->send_dgrams(n->d[0], &s[0].link, &m, 1), 1);
    assert_int_equal(ops->send_dgrams(n->d[1], &s[1].link, &m, 1), -EDESTADDRREQ);
    m.to = &nobody;
    assert_int_equal(ops->send_dgrams(n->d[1], &s[1].link, &m, 1), 1);
    run(n);
    assert_int_equal(s[0].receive_error, -ECONNREFUSED);
    assert_int_equal(s[1].receive_errors, 0);
    net_fini(n);
}

static void
datagrams_beyond_the_receive_buffer_are_dropped(void **state)
{
    struct net *n = *state;
    struct side *s = n->sides;
    struct iovec piece = {n->wave, 10000};
    struct ol_dgram m = {.pieces = &piece, .count = 1};
    struct ol_addr bound;

    assert_true(net_init(n, 1, NULL));
    assert_int_equal(listen_at(&s[0], n->d[0], OL_LINK_DGRAM, v4(1, 0), &bound), 0);
    assert_int_equal(connect_to(&s[1], n->d[1], OL_LINK_DGRAM, bound), 0);
    ops->receive_stop(n->d[0], &s[0].link);
    for (int i = 0; i < 100; i++) {
        int sent = ops->send_dgrams(n->d[1], &s[1].link, &m, 1);

        if (sent == -EAGAIN)
            i--;
        else
            assert_int_equal(sent, 1);
        if (sent == -EAGAIN)
            run(n);
    }
    run(n);
    assert_true(s[1].rooms > 0);
    assert_true(receive(&s[0]));
    run(n);
    assert_in_range(s[0].datagrams, 15, 25);
    net_fini(n);
}

/* ---- the clock --------------------------------------------------------------------------- */

static void
the_clock_jumps_to_deadlines(void **state)
{
    struct net *n = *state;
    struct ol_completion out[4];
    ol_time began;

    assert_true(net_init(n, 1, NULL));
    began = ol_sim_now(n->world);
    assert_int_equal(ops->wait(n->d[0], began + 3600 * SECOND, out, 4), 0);
    assert_int_equal(ops->wait(n->d[1], began + 5 * SECOND, out, 4), 0);
    assert_null(ol_sim_next(n->world, began + SECOND));
    assert_int_equal(ops->now(n->d[0]), began + SECOND);
    assert_ptr_equal(ol_sim_next(n->world, OL_NEVER), n->d[1]);
    assert_int_equal(ops->now(n->d[0]), began + 5 * SECOND);
    assert_int_equal(ops->wait(n->d[1], OL_NEVER, out, 4), 0);
    ops->wake(n->d[1]);
    assert_ptr_equal(ol_sim_next(n->world, OL_NEVER), n->d[1]);
    assert_int_equal(ops->wait(n->d[1], OL_NEVER, out, 4), 0);
    ops->arm(n->d[1], began + 7 * SECOND);
    assert_ptr_equal(ol_sim_next(n->world, OL_NEVER), n->d[1]);
    assert_int_equal(ops->wait(n->d[1], OL_NEVER, out, 4), 0);
    assert_ptr_equal(ol_sim_next(n->world, OL_NEVER), n->d[0]);
    assert_int_equal(ops->real_now(n->d[0]) - ops->now(n->d[0]), INT64_C(1000000000000000000));
    assert_int_equal(ops->wait(n->d[0], OL_NEVER, out, 4), 0);
    assert_null(ol_sim_next(n->world, OL_NEVER));
    assert_int_equal(ops->now(n->d[0]), began + 3600 * SECOND);
    net_fini(n);
}

/* ---- failures ---------------------------------------------------------------------------- */

/* The scenario that is repeated with each allocation or call failing; true: it went well. */
static bool
scenario(struct net *n)
{
    struct side *s = n->sides;
    struct ol_addr bound;
    struct iovec piece = {n->wave, 100};
    struct ol_dgram m = {.pieces = &piece, .count = 1};
    struct ol_tcp_facts facts;
    int32_t tokens[2];
    bool well = plug(n, v4(1, 0)) && receive(&s[1]) && receive(&s[2]);

    if (!well)
        return false;
    s[2].echo = true;
    s[1].end_when_sent = true;
    send_wave(&s[1], 20000);
    if (ops->tcp_facts(s[1].d, &s[1].link, &facts))
        well = false;
    run(n);
    well = well && s[1].received == 20000 && s[2].ended && !s[1].wrong;
    if (listen_at(&s[3], n->d[0], OL_LINK_DGRAM, v4(1, 0), &bound) ||
        connect_to(&s[4], n->d[1], OL_LINK_DGRAM, bound) ||
        ops->send_dgrams(n->d[1], &s[4].link, &m, 1) != 1 || !pair(n, &s[5], &s[6]))
        well = false;
    if (ops->pair(n->d[0], tokens)) /* for which the table of tokens must grow */
        return false;
    ops->discard(n->d[0], tokens[0], false);
    ops->discard(n->d[0], tokens[1], true);
    run(n);
    return well && s[3].datagrams == 1;
}

static void
every_failing_allocation_is_survived(void **state)
{
    struct net *n = *state;
    uint64_t at = 0;
    uint64_t failed = 1;

    while (failed > 0) {
        bool well;

        assert_true(net_init(n, 3, NULL));
        failing_heap_reset(&n->heap, ++at);
        well = scenario(n);
        failed = failing_heap_failed(&n->heap);
        failing_heap_reset(&n->heap, 0);
        if (!well && failed == 0)
            fail_msg("went wrong without a failure");
        for (int i = 0; i < SIDES; i++)
            assert_true(n->sides[i].receive_error == 0 || n->sides[i].receive_error == -ENOMEM);
        net_fini(n);
    }
    assert_true(at > 20);
}

static void
every_failing_call_is_told(void **state)
{
    struct net *n = *state;
    uint64_t calls = UINT64_MAX;

    for (uint64_t at = 3; at <= calls; at++) {
        struct ol_sim_faults faults = {.fail_call = at, .fail_errno = ENOBUFS};
        bool well;

        assert_true(net_init(n, 3, &faults));
        well = scenario(n);
        calls = ol_sim_calls(n->world);
        assert_true(well == (calls < at));
        net_fini(n);
    }
}

static void
a_driver_without_a_world_makes_its_own(void **state)
{
    struct net *n = *state;
    struct ol_driver_opts opts = {.sim_seed = 5};
    struct ol_driver *d;

    memset(n, 0, sizeof *n);
    failing_heap_init(&n->heap, 0);
    n->budget = ol_budget_new(&n->heap.heap, INT64_MAX);
    opts.budget = n->budget;
    assert_int_equal(ops->open(&d, &opts), 0);
    assert_ptr_equal(ol_sim_next(ol_sim_of(d), OL_NEVER), d);
    assert_int_equal(ops->embed(d), -ENOTSUP);
    assert_int_equal(ops->watch(d, &n->sides[0].link, 0, OUTLET_READABLE), -EOPNOTSUPP);
    ops->free(d);
    ol_budget_unref(n->budget);
    assert_int_equal(failing_heap_live(&n->heap), 0);
}

static void
an_idle_connection_is_small(void **state)
{
    enum { PAIRS = 100000 };
    struct net *n = *state;
    int32_t(*tokens)[2] = malloc(PAIRS * sizeof *tokens);
    int64_t before;
    int64_t each;
    int failed = 0;

    assert_non_null(tokens);
    assert_true(net_init(n, 1, NULL));
    before = failing_heap_bytes(&n->heap);
    for (int i = 0; i < PAIRS; i++)
        failed += ops->pair(n->d[0], tokens[i]) != 0;
    run(n);
    each = (failing_heap_bytes(&n->heap) - before) / PAIRS;
    print_message("%d idle connections: %lld bytes each, both ends\n", PAIRS, (long long)each);
    assert_int_equal(failed, 0);
    assert_true(each <= 200);
    for (int i = 0; i < PAIRS; i++) {
        ops->discard(n->d[0], tokens[i][0], false);
        ops->discard(n->d[0], tokens[i][1], false);
    }
    net_fini(n);
    free(tokens);
}

int
main(void)
{
    static struct net net;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(bytes_are_exact_however_they_are_sliced, &net),
        cmocka_unit_test_prestate(the_same_seed_is_the_same_run, &net),
        cmocka_unit_test_prestate(nobody_there_refuses, &net),
        cmocka_unit_test_prestate(a_black_hole_answers_never, &net),
        cmocka_unit_test_prestate(faults_refuse_and_run_out_of_descriptors, &net),
        cmocka_unit_test_prestate(a_full_backlog_makes_clients_wait, &net),
        cmocka_unit_test_prestate(closing_a_listener_resets_its_backlog, &net),
        cmocka_unit_test_prestate(a_driver_can_be_freed_with_everything_open, &net),
        cmocka_unit_test_prestate(siblings_share_what_comes, &net),
        cmocka_unit_test_prestate(a_closing_listener_may_bring_one_more, &net),
        cmocka_unit_test_prestate(a_backlog_that_stays_full_is_told, &net),
        cmocka_unit_test_prestate(addresses_in_use_are_told, &net),
        cmocka_unit_test_prestate(closing_in_order_delivers_what_was_sent, &net),
        cmocka_unit_test_prestate(closing_with_unread_input_loses_what_was_sent, &net),
        cmocka_unit_test_prestate(closing_while_the_peer_sends_resets_it, &net),
        cmocka_unit_test_prestate(resets_strike_both_ends_once, &net),
        cmocka_unit_test_prestate(closing_at_any_moment_leaves_nothing, &net),
        cmocka_unit_test_prestate(bytes_given_back_are_poisoned_and_kept_ones_are_not, &net),
        cmocka_unit_test_prestate(changing_the_bytes_of_a_pending_send_is_caught, &net),
        cmocka_unit_test_prestate(datagrams_arrive_in_order_when_nothing_happens_to_them, &net),
        cmocka_unit_test_prestate(datagrams_are_lost_doubled_and_overtaken, &net),
        cmocka_unit_test_prestate(a_datagram_to_nobody_is_heard_of_by_the_connected, &net),
        cmocka_unit_test_prestate(datagrams_beyond_the_receive_buffer_are_dropped, &net),
        cmocka_unit_test_prestate(the_clock_jumps_to_deadlines, &net),
        cmocka_unit_test_prestate(every_failing_allocation_is_survived, &net),
        cmocka_unit_test_prestate(every_failing_call_is_told, &net),
        cmocka_unit_test_prestate(a_driver_without_a_world_makes_its_own, &net),
        cmocka_unit_test_prestate(an_idle_connection_is_small, &net),
    };

    return cmocka_run_group_tests_name("driver_sim", tests, NULL, NULL);
}
