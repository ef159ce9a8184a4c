/*
 * client_outlet.c - the other end on outlet, for the rows that show what two outlets do together.
 *
 *     client_outlet echo|udp HOST:PORT CONNECTIONS DEPTH SIZE SECONDS SERVER-PID [OPTION...]
 *
 *     busy=US  look for work that long before sleeping
 *     warm=MS  before anything is counted; 300
 *     least=N  go on until N messages have come; 1
 *
 * It keeps as many messages in flight, compares as much and prints the same line as client.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "measure.h"
#include "ours.h"

#include <unistd.h>

enum { QUIET_MS = 100, CHECK_MS = 5 };

struct flight {
    uint64_t sent;     /* messages */
    uint64_t received; /* bytes; udp: datagrams, lost ones included */
    uint64_t seen;     /* of these, when last looked at */
};

static struct {
    bool is_udp;
    int connections;
    int depth;
    size_t size;
    double seconds;
    int server;
    double warm;
    uint64_t least;
} o = {.warm = 0.3, .least = 1};

static outlet_loop *loop;
static outlet_conn *conns;
static struct flight *flights;
static int open_count;
static bool is_measuring;

static void
fill(outlet_conn c, struct flight *f)
{
    uint64_t back = o.is_udp ? f->received : f->received / o.size;

    while (f->sent - back < (uint64_t)o.depth) {
        if (outlet_send(c, pattern + f->sent % (period / o.size) * o.size, o.size) < 0)
            return; /* a full queue: when something has come */
        f->sent++;
    }
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct flight *f = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (o.is_udp) {
        f->received += datagram_ahead(bytes, len, o.size, f->received, f->sent);
    } else {
        uint64_t before = f->received / o.size;

        wrong += len > ROOM || memcmp(bytes, pattern + f->received % period, len) != 0;
        f->received += len;
        wrong += f->received > f->sent * o.size;
        messages += f->received / o.size - before;
    }
    fill(c, f);
}

static void
on_open(outlet_conn c, void *user)
{
    open_count++;
    fill(c, user);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)user;
    fprintf(stderr, "the connection ended: %s\n", why->text);
    exit(1);
}

/* Datagrams that nothing was heard of since the last time are lost. */
static void
on_quiet(outlet_timer t, void *user)
{
    (void)t;
    (void)user;
    for (int i = 0; i < o.connections; i++) {
        struct flight *f = &flights[i];

        if (f->received == f->seen) {
            datagrams_lost(f->sent - f->received);
            f->received = f->sent;
            fill(conns[i], f);
        }
        f->seen = f->received;
    }
}

static void
on_check(outlet_timer t, void *user)
{
    static int64_t since;
    int64_t now = now_ns(CLOCK_MONOTONIC);

    (void)t;
    (void)user;
    if (open_count < o.connections)
        return;
    if (!since)
        since = now;
    if (!is_measuring && now - since >= (int64_t)(o.warm * 1e9)) {
        measure_begin(o.server);
        is_measuring = true;
        since = now;
    } else if (is_measuring && now - since >= (int64_t)(o.seconds * 1e9) && messages >= o.least) {
        int code = measure_end();

        fflush(stdout);
        _exit(code);
    }
}

static int
parse(int argc, char **argv)
{
    int busy_us = 0;

    if (argc < 8)
        exit(2);
    o.is_udp = strcmp(argv[1], "udp") == 0;
    o.connections = atoi(argv[3]);
    o.depth = atoi(argv[4]);
    o.size = (size_t)atol(argv[5]);
    o.seconds = atof(argv[6]);
    o.server = atoi(argv[7]);
    for (int i = 8; i < argc; i++) {
        if (strncmp(argv[i], "warm=", 5) == 0)
            o.warm = atof(argv[i] + 5) / 1000;
        if (strncmp(argv[i], "least=", 6) == 0)
            o.least = strtoull(argv[i] + 6, NULL, 10);
        if (strncmp(argv[i], "busy=", 5) == 0)
            busy_us = atoi(argv[i] + 5);
    }
    if (o.connections < 1 || o.depth < 1 || o.size < 2 || o.size > ROOM)
        exit(2);
    return busy_us;
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_open = on_open, .on_message = on_message, .on_close = on_close};
    struct outlet_opts opts = OUTLET_OPTS;
    outlet_timer timer;
    char url[128];
    int busy_us = parse(argc, argv);

    alarm((unsigned)(o.warm + o.seconds) + 60); /* a server that hangs does not keep us */
    make_pattern(o.size, false);
    loop = ours_loop(1, busy_us);
    conns = calloc((size_t)o.connections, sizeof *conns);
    flights = calloc((size_t)o.connections, sizeof *flights);
    if (!conns || !flights)
        die("calloc");
    snprintf(url, sizeof url, "%s://%s", o.is_udp ? "udp" : "tcp", argv[2]);
    opts.on = &on;
    for (int i = 0; i < o.connections; i++) {
        opts.user = &flights[i];
        if (outlet_connect(loop, url, &opts, &conns[i]))
            die("connect");
    }
    if (outlet_timer_start(loop, CHECK_MS, CHECK_MS, on_check, NULL, &timer) ||
        (o.is_udp && outlet_timer_start(loop, QUIET_MS, QUIET_MS, on_quiet, NULL, &timer)))
        die("timer");
    return outlet_loop_run(loop) != OUTLET_OK;
}
