/*
 * demo.c - every transport on loopback, with traffic that is checked byte for byte.
 *
 * A lab is one loop with echo servers and clients.  The bytes of each message follow from its
 * number, so a client knows what must come back without keeping what it sent.  A round ends when
 * all came back; live traffic beats until the lab is freed.  A newcomer's mistake: to let a round
 * wait for ever.  Each has a timer, and on the simulated driver, whose clock jumps, it fires at
 * once when nothing else can happen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUND_MESSAGES = 64,
    ROUND_MS = 10000,
    MESSAGE_MAX = 48 * 1024,
    LIVE_MESSAGES = 8, /* per beat and client */
    LIVE_SIZE = 512,
    BEAT_MS = 20
};

const char *const eng_demo_transports[ENG_DEMO_TRANSPORTS] = {"tcp", "unix", "udp", "pair"};

struct lab;
struct line;

struct client {
    struct line *line;
    outlet_conn c;
    bool open;
    uint32_t sent;  /* messages */
    uint32_t back;  /* messages that came back whole */
    size_t back_at; /* bytes of the next one that came back already */
};

/* One transport. */
struct line {
    struct lab *lab;
    const char *transport;
    bool datagrams;
    outlet_listener listener;
    struct client clients[ENG_DEMO_CLIENTS];
    _Atomic uint64_t messages; /* counters are read from another thread */
    _Atomic uint64_t bytes;
    _Atomic uint64_t open;
    _Atomic uint64_t wrong;
};

struct lab {
    outlet_loop *loop;
    struct line lines[ENG_DEMO_TRANSPORTS];
    int clients;    /* per line */
    uint32_t limit; /* messages per client in a round; 0: live */
    bool done;
    outlet_timer timer;
    char text[160]; /* what went wrong first */
};

struct eng_demo {
    struct lab lab;
    bool simulated;
};

static uint32_t
message_size(const struct line *l, uint32_t number)
{
    if (!l->lab->limit)
        return LIVE_SIZE;
    return 1 + number * 2654435761u % (number % 4 ? 1024 : MESSAGE_MAX);
}

static uint8_t
message_byte(uint32_t number, size_t at)
{
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

static void
lab_end(struct lab *lab, const char *text)
{
    if (lab->done)
        return;
    lab->done = true;
    if (text)
        snprintf(lab->text, sizeof lab->text, "%s", text);
}

static void
wrong(struct line *l, const char *text)
{
    atomic_fetch_add(&l->wrong, 1);
    if (l->lab->limit)
        lab_end(l->lab, text);
}

/* ---- the server: give back what came ---- */

static void
server_open(outlet_conn c, void *user)
{
    struct line *l = user;

    (void)c;
    atomic_fetch_add(&l->open, 1);
}

static void
server_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    /* At most one beat of messages is under way per client: far below the queue's limit. */
    if (outlet_send(c, bytes, len) < 0)
        wrong(user, "the server could not send");
}

static void
server_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct line *l = user;

    (void)c;
    (void)why;
    atomic_fetch_sub(&l->open, 1);
}

static const struct outlet_handlers server_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = server_open,
    .on_message = server_message,
    .on_close = server_close,
};

/* ---- the client: send, and compare what comes back ---- */

static void
client_send(struct client *k)
{
    uint8_t bytes[MESSAGE_MAX];
    uint32_t size = message_size(k->line, k->sent);

    for (uint32_t i = 0; i < size; i++)
        bytes[i] = message_byte(k->sent, i);
    k->sent++;
    if (outlet_send(k->c, bytes, size) < 0)
        wrong(k->line, "the client could not send");
}

static void
client_open(outlet_conn c, void *user)
{
    struct client *k = user;

    k->c = c;
    k->open = true;
    if (k->line->lab->limit)
        client_send(k);
}

/* A whole message came back. */
static void
client_round_trip(struct client *k)
{
    struct lab *lab = k->line->lab;

    atomic_fetch_add(&k->line->messages, 1);
    k->back++;
    k->back_at = 0;
    if (!lab->limit)
        return;
    if (k->back == lab->limit)
        lab_end(lab, NULL);
    else
        client_send(k);
}

static void
client_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct client *k = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    atomic_fetch_add(&k->line->bytes, len);
    if (k->line->datagrams && len != message_size(k->line, k->back)) {
        wrong(k->line, "a datagram came back with another length");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (k->back == k->sent || bytes[i] != message_byte(k->back, k->back_at)) {
            wrong(k->line, "a byte came back changed");
            return;
        }
        if (++k->back_at == message_size(k->line, k->back))
            client_round_trip(k);
    }
}

static void
client_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct client *k = user;

    (void)c;
    k->open = false;
    if (!k->line->lab->done)
        wrong(k->line, why->text);
}

static const struct outlet_handlers client_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = client_open,
    .on_message = client_message,
    .on_close = client_close,
};

/* Both ends of a pair have the same handlers and user data: the handle tells them apart. */
static struct client *
pair_client(outlet_conn c, struct line *l)
{
    for (int i = 0; i < l->lab->clients; i++) {
        if (l->clients[i].c.id == c.id)
            return &l->clients[i];
    }
    return NULL;
}

static void
pair_open(outlet_conn c, void *user)
{
    struct client *k = pair_client(c, user);

    if (k)
        client_open(c, k);
    else
        server_open(c, user);
}

static void
pair_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct client *k = pair_client(c, user);

    if (k)
        client_message(c, m, k);
    else
        server_message(c, m, user);
}

static void
pair_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct client *k = pair_client(c, user);

    if (k)
        client_close(c, why, k);
    else
        server_close(c, why, user);
}

static const struct outlet_handlers pair_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = pair_open,
    .on_message = pair_message,
    .on_close = pair_close,
};

/* ---- setting up ---- */

static outlet_err
line_pair(struct line *l, struct outlet_opts *opts)
{
    opts->on = &pair_handlers;
    opts->user = l;
    for (int i = 0; i < l->lab->clients; i++) {
        outlet_conn server;
        outlet_err err = outlet_pair(l->lab->loop, "pair:", opts, &l->clients[i].c, &server);

        if (err)
            return err;
    }
    return OUTLET_OK;
}

static outlet_err
line_open(struct lab *lab, int transport, struct outlet_reason *why)
{
    struct line *l = &lab->lines[transport];
    struct outlet_opts opts = OUTLET_OPTS;
    char url[256];
    outlet_err err;

    l->lab = lab;
    l->transport = eng_demo_transports[transport];
    l->datagrams = strcmp(l->transport, "udp") == 0;
    opts.why = why;
    opts.idle_ms = OUTLET_OFF;
    for (int i = 0; i < lab->clients; i++)
        l->clients[i].line = l;
    if (strcmp(l->transport, "pair") == 0)
        return line_pair(l, &opts);
    /* An abstract name leaves no file behind, whatever happens to us. */
    if (strcmp(l->transport, "unix") == 0)
        snprintf(url, sizeof url, "unix:@outlet-demo-%ld-%p", (long)getpid(), (void *)l);
    else
        snprintf(url, sizeof url, "%s://127.0.0.1:0", l->transport);
    opts.on = &server_handlers;
    opts.user = l;
    err = outlet_listen(lab->loop, url, &opts, &l->listener);
    if (err)
        return err;
    if (outlet_listener_info(l->listener, "url", url, sizeof url) < 0)
        return OUTLET_ESTALE;
    url[strcspn(url, "#?")] = '\0'; /* the listener's own options are not the client's */
    opts.on = &client_handlers;
    for (int i = 0; i < lab->clients && !err; i++) {
        opts.user = &l->clients[i];
        err = outlet_connect(lab->loop, url, &opts, &l->clients[i].c);
    }
    return err;
}

static outlet_err
lab_loop(struct lab *lab, const char *driver)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;

    opts.driver = driver;
    opts.sim_seed = 1;
    return outlet_loop_new(&lab->loop, &opts);
}

/* ---- one round ---- */

static void
round_too_long(outlet_timer t, void *arg)
{
    (void)t;
    lab_end(arg, "not everything came back in time");
}

static int64_t
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
round_run(struct lab *lab, int transport, struct eng_demo_result *r)
{
    struct outlet_reason why = OUTLET_REASON;
    outlet_err err = outlet_timer_start(lab->loop, ROUND_MS, 0, round_too_long, lab, &lab->timer);
    int64_t began = now_us();

    if (!err)
        err = line_open(lab, transport, &why);
    while (!err && !lab->done)
        err = outlet_loop_turn(lab->loop, -1);
    r->us = now_us() - began;
    r->messages = atomic_load(&lab->lines[transport].messages);
    r->bytes = atomic_load(&lab->lines[transport].bytes);
    if (err)
        snprintf(r->text, sizeof r->text, "%s", why.text[0] ? why.text : outlet_strerror(err));
    else
        snprintf(r->text, sizeof r->text, "%s", lab->text);
    r->ok = !err && !lab->text[0] && r->messages == ROUND_MESSAGES;
    lab->done = true; /* the connections that end now end by our will */
}

void
eng_demo_round(const char *transport, const char *driver, struct eng_demo_result *r)
{
    struct lab *lab = eng_alloc(sizeof *lab);
    int at = 0;
    outlet_err err;

    *r = (struct eng_demo_result){.transport = transport, .driver = driver};
    while (at < ENG_DEMO_TRANSPORTS - 1 && strcmp(eng_demo_transports[at], transport) != 0)
        at++;
    if (!lab) {
        snprintf(r->text, sizeof r->text, "%s", outlet_strerror(OUTLET_ENOMEM));
        return;
    }
    lab->clients = 1;
    lab->limit = ROUND_MESSAGES;
    err = lab_loop(lab, driver);
    if (err) {
        r->skipped = err == OUTLET_ENOTSUP;
        snprintf(r->text, sizeof r->text, "%s", outlet_strerror(err));
    } else {
        round_run(lab, at, r);
        (void)outlet_loop_free(lab->loop); /* this thread turned it, outside of callbacks */
    }
    eng_free(lab);
}

/* ---- live ---- */

static void
beat(outlet_timer t, void *arg)
{
    struct lab *lab = arg;

    (void)t;
    for (int i = 0; i < ENG_DEMO_TRANSPORTS; i++) {
        for (int k = 0; k < lab->clients; k++) {
            struct client *client = &lab->lines[i].clients[k];

            /* The last beat must be back: a slow machine gets slower traffic, not a queue. */
            if (!client->open || client->back != client->sent)
                continue;
            for (int n = 0; n < LIVE_MESSAGES; n++)
                client_send(client);
        }
    }
}

outlet_err
eng_demo_start(const char *driver, struct eng_demo **out, struct outlet_reason *why)
{
    struct eng_demo *d = eng_alloc(sizeof *d);
    outlet_err err;

    if (!d)
        return OUTLET_ENOMEM;
    d->simulated = strcmp(driver, "sim") == 0;
    d->lab.clients = ENG_DEMO_CLIENTS;
    err = lab_loop(&d->lab, driver);
    if (err)
        goto free_demo;
    for (int i = 0; i < ENG_DEMO_TRANSPORTS && !err; i++)
        err = line_open(&d->lab, i, why);
    if (!err)
        err = outlet_timer_start(d->lab.loop, BEAT_MS, BEAT_MS, beat, &d->lab, &d->lab.timer);
    if (!err && !d->simulated)
        err = outlet_loop_start(d->lab.loop);
    if (err)
        goto free_loop;
    *out = d;
    return OUTLET_OK;

free_loop:
    d->lab.done = true;
    (void)outlet_loop_free(d->lab.loop); /* nothing runs yet */
free_demo:
    eng_free(d);
    return err;
}

/* Enough turns for a beat to go there and back; virtual time jumps, so the number paces it. */
void
eng_demo_turn(struct eng_demo *d)
{
    for (int i = 0; d->simulated && i < 256; i++) {
        if (outlet_loop_turn(d->lab.loop, -1) != OUTLET_OK)
            return;
    }
}

void
eng_demo_row(struct eng_demo *d, int transport, struct eng_demo_row *out)
{
    struct line *l = &d->lab.lines[transport];

    out->round_trips = atomic_load(&l->messages);
    out->bytes = atomic_load(&l->bytes);
    out->clients = atomic_load(&l->open);
    out->wrong = atomic_load(&l->wrong);
}

void
eng_demo_free(struct eng_demo *d)
{
    if (!d)
        return;
    (void)outlet_loop_stop(
        d->lab.loop); /* freeing waits for its threads, so it must stop either way */
    (void)outlet_loop_free(d->lab.loop);
    eng_free(d);
}
