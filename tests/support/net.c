/*
 * net.c - see net.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"
#include "io/loop/loop.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SECOND (1000 * OL_MS)
enum { PATIENCE_S = 20 };

static const char *driver = "epoll";

int
net_choose(int argc, char **argv)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    outlet_loop *probe;
    outlet_err err;

    if (argc > 1)
        driver = argv[1];
    opts.driver = driver;
    err = outlet_loop_new(&probe, &opts);
    if (err) {
        fprintf(stderr, "%s: %s\n", driver, outlet_strerror(err));
        return err == OUTLET_ENOTSUP ? 77 : 1;
    }
    outlet_loop_free(probe);
    return 0;
}

const char *
net_driver(void)
{
    return driver;
}

bool
net_is_sim(void)
{
    return strcmp(driver, "sim") == 0;
}

int
net_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(d)) {
        count++;
    }
    closedir(d);
    return count;
}

/* ---- loops -------------------------------------------------------------------------------------
 */

static void
log_line(void *user, enum outlet_log_level level, const char *line)
{
    struct net *n = user;
    size_t len = strlen(n->log);

    snprintf(n->log + len, sizeof n->log - len, "%d %s\n", (int)level, line);
}

outlet_loop *
net_another_loop(struct net *n, const struct outlet_loop_opts *opts)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
    outlet_loop *loop;

    if (opts)
        o = *opts;
    o.driver = driver;
    o.allocator = n->heap.heap;
    o.log = log_line;
    o.log_user = n;
    assert_true(n->count < NET_LOOPS);
    assert_int_equal(ol_loop_new_in(&loop, &o, n->world), OUTLET_OK);
    n->loops[n->count++] = loop;
    return loop;
}

static void
open_in(struct net *n, const struct outlet_loop_opts *opts, uint64_t seed,
        const struct ol_sim_faults *faults)
{
    memset(n, 0, sizeof *n);
    n->files = net_files();
    failing_heap_init(&n->heap, 0);
    if (net_is_sim()) {
        n->world = ol_sim_new(&n->heap.heap, seed, faults);
        assert_non_null(n->world);
    }
    n->loop = net_another_loop(n, opts);
}

void
net_open(struct net *n, const struct outlet_loop_opts *opts)
{
    static const struct ol_sim_faults none;
    const char *seed = getenv("OUTLET_SEED");

    open_in(n, opts, seed ? strtoull(seed, NULL, 0) : 1, &none);
}

void
net_open_world(struct net *n, uint64_t seed, const struct ol_sim_faults *faults)
{
    open_in(n, NULL, seed, faults);
}

void
net_free_loops(struct net *n)
{
    while (n->count > 0) {
        assert_int_equal(outlet_loop_free(n->loops[--n->count]), OUTLET_OK);
    }
    if (n->world) {
        assert_int_equal(ol_sim_open_sockets(n->world), 0);
        ol_sim_free(n->world);
    }
    n->world = NULL;
}

void
net_close(struct net *n)
{
    net_free_loops(n);
    if (n->dir[0])
        assert_int_equal(rmdir(n->dir), 0); /* not empty: a socket file was left behind */
    assert_int_equal(net_files(), n->files);
    assert_int_equal(failing_heap_live(&n->heap), 0);
}

/* ---- time --------------------------------------------------------------------------------------
 */

static ol_time
now(const struct net *n)
{
    struct timespec t;

    if (n->world)
        return ol_sim_now(n->world);
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t
net_now_ms(struct net *n)
{
    return now(n) / OL_MS;
}

void
net_begin(struct net *n)
{
    n->until = now(n) + (n->world ? 24 * 3600 : PATIENCE_S) * SECOND;
}

static bool
step_world(struct net *n)
{
    struct ol_driver *d = ol_sim_next(n->world, n->until);

    for (int i = 0; d && i < n->count; i++) {
        if (ol_loop_reactor_of(n->loops[i], d)) {
            (void)outlet_loop_turn(n->loops[i], 0); /* ESTATE: it has ended */
            return true;
        }
    }
    return false;
}

bool
net_step(struct net *n)
{
    if (now(n) >= n->until)
        return false;
    if (n->world)
        return step_world(n);
    for (int i = 0; i < n->count; i++) {
        /* Threads that the loop does not know may be what is waited for: look often. */
        (void)outlet_loop_turn(n->loops[i], n->count == 1 ? 5 : 1); /* ESTATE: it has ended */
    }
    return true;
}

static void
time_is_up(outlet_timer t, void *arg)
{
    (void)t;
    *(bool *)arg = true;
}

void
net_run_ms(struct net *n, int64_t ms)
{
    bool up = false;
    outlet_timer t;

    assert_int_equal(outlet_timer_start(n->loop, ms, 0, time_is_up, &up, &t), OUTLET_OK);
    UNTIL(n, up);
}

struct errand {
    void (*fn)(void *arg);
    void *arg;
    bool done;
};

static void
run_errand(void *arg)
{
    struct errand *e = arg;

    e->fn(e->arg);
    e->done = true;
}

void
net_do(struct net *n, void (*fn)(void *arg), void *arg)
{
    struct errand e = {fn, arg, false};

    assert_int_equal(outlet_post(n->loop, run_errand, &e), OUTLET_OK);
    UNTIL(n, e.done);
}

/* ---- what connections are told ------------------------------------------------------------------
 */

static void
tell(struct end *e, char what)
{
    size_t len = strlen(e->story);

    if (len + 1 < sizeof e->story && !(what == 'M' && len && e->story[len - 1] == 'M'))
        e->story[len] = what;
}

static void
told_open(outlet_conn c, void *user)
{
    struct end *e = user;

    e->c = c;
    e->opens++;
    tell(e, 'O');
    if (e->does && e->does->on_open)
        e->does->on_open(e);
}

static void
keep(struct end *e, const uint8_t *bytes, size_t len)
{
    if (e->len + len > e->room) {
        e->room = (e->len + len) * 2;
        e->bytes = realloc(e->bytes, e->room);
        if (!e->bytes)
            abort();
    }
    if (len)
        memcpy(e->bytes + e->len, bytes, len);
}

static void
told_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct end *e = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    tell(e, 'M');
    if (e->messages < NET_SIZES)
        e->sizes[e->messages] = len;
    e->messages++;
    if (!e->forget)
        keep(e, bytes, len);
    e->len += len;
    e->flags = outlet_msg_flags(m);
    if (e->does && e->does->on_message)
        e->does->on_message(e, m);
}

static void
told_writable(outlet_conn c, void *user)
{
    struct end *e = user;

    (void)c;
    e->writables++;
    tell(e, 'W');
    if (e->does && e->does->on_writable)
        e->does->on_writable(e);
}

static void
told_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct end *e = user;

    (void)c;
    e->events++;
    e->event = what;
    e->value = value;
    e->value_sum += value;
    tell(e, 'E');
    if (e->does && e->does->on_event)
        e->does->on_event(e);
}

static void
told_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct end *e = user;

    (void)c;
    e->closes++;
    e->why = *why;
    tell(e, 'C');
    if (e->does && e->does->on_close)
        e->does->on_close(e);
}

static int
told_accept(outlet_conn c, void *user)
{
    struct server *s = user;
    struct end *e;

    if (s->count == NET_ENDS)
        return 1;
    e = &s->ends[s->count++];
    *e = (struct end){
        .net = s->net, .server = s, .does = s->does, .arg = s->arg, .forget = s->forget, .c = c};
    (void)outlet_set_user(c, e); /* cannot fail: it is alive in its own callback */
    tell(e, 'A');
    if (e->does && e->does->on_accept)
        return e->does->on_accept(e);
    return s->refuse;
}

const struct outlet_handlers net_handlers = {.size = sizeof net_handlers,
                                             .on_open = told_open,
                                             .on_message = told_message,
                                             .on_writable = told_writable,
                                             .on_event = told_event,
                                             .on_close = told_close};

const struct outlet_handlers net_server_handlers = {.size = sizeof net_server_handlers,
                                                    .on_accept = told_accept,
                                                    .on_open = told_open,
                                                    .on_message = told_message,
                                                    .on_writable = told_writable,
                                                    .on_event = told_event,
                                                    .on_close = told_close};

static void
echo(struct end *e, outlet_msg *m)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    e->result = outlet_send(e->c, bytes, len);
}

const struct does net_echoes = {.on_message = echo};

void
net_end_fini(struct end *e)
{
    free(e->bytes);
    e->bytes = NULL;
}

void
net_server_fini(struct server *s)
{
    for (int i = 0; i < s->count; i++) {
        net_end_fini(&s->ends[i]);
    }
}

/* ---- listening and connecting
 * -------------------------------------------------------------------- */

const char *
net_place(struct net *n, const char *scheme)
{
    int number = n->places++;

    if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "udp") == 0) {
        snprintf(n->place, sizeof n->place, "%s://127.0.0.1:0", scheme);
    } else if (strcmp(scheme, "tcp6") == 0) {
        snprintf(n->place, sizeof n->place, "tcp://[::1]:0");
    } else if (strcmp(scheme, "pair") == 0) {
        snprintf(n->place, sizeof n->place, "pair:place%d", number);
    } else if (strcmp(scheme, "abstract") == 0) {
        snprintf(n->place, sizeof n->place, "unix:@outlet-test-%d-%d", (int)getpid(), number);
    } else {
        assert_int_equal(strncmp(scheme, "unix", 4), 0);
        if (!n->dir[0]) {
            snprintf(n->dir, sizeof n->dir, "/tmp/outlet-test-XXXXXX");
            assert_non_null(mkdtemp(n->dir));
        }
        snprintf(n->place, sizeof n->place, "%s://%s/%d", scheme, n->dir, number);
    }
    return n->place;
}

void
net_listen(struct net *n, struct server *s, const struct outlet_opts *opts, const char *url, ...)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts o = OUTLET_OPTS;
    const struct does *does = s->does;
    void *arg = s->arg;
    char text[256];
    va_list args;
    outlet_err err;

    va_start(args, url);
    vsnprintf(text, sizeof text, url, args);
    va_end(args);
    if (opts)
        o = *opts;
    o.on = &net_server_handlers;
    o.user = s;
    o.why = &why;
    s->net = n;
    s->does = does;
    s->arg = arg;
    s->count = 0;
    err = outlet_listen(n->loop, text, &o, &s->l);
    if (err)
        print_error("%s: %s\n", text, why.text);
    assert_int_equal(err, OUTLET_OK);
    assert_true(outlet_listener_info(s->l, "url", s->at, sizeof s->at) < (int64_t)sizeof s->at);
    s->at[strcspn(s->at, "#")] = 0;
}

void
net_connect(struct net *n, struct end *e, const struct outlet_opts *opts, const char *url, ...)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts o = OUTLET_OPTS;
    char text[256];
    va_list args;
    outlet_err err;

    va_start(args, url);
    vsnprintf(text, sizeof text, url, args);
    va_end(args);
    if (opts)
        o = *opts;
    o.on = &net_handlers;
    o.user = e;
    o.why = &why;
    e->net = n;
    err = outlet_connect(n->loop, text, &o, &e->c);
    if (err)
        print_error("%s: %s\n", text, why.text);
    assert_int_equal(err, OUTLET_OK);
}

void
net_pair(struct net *n, struct end *a, struct end *b, const char *url)
{
    struct outlet_opts o = OUTLET_OPTS;

    o.on = &net_handlers;
    a->net = n;
    b->net = n;
    assert_int_equal(outlet_pair(n->loop, url, &o, &a->c, &b->c), OUTLET_OK);
    assert_int_equal(outlet_set_user(a->c, a), OUTLET_OK);
    assert_int_equal(outlet_set_user(b->c, b), OUTLET_OK);
}

/* ---- looked up
 * ------------------------------------------------------------------------------------ */

int64_t
net_number(outlet_conn c, const char *key)
{
    char text[32];
    int64_t got = outlet_info(c, key, text, sizeof text);

    return got < 0 ? got : strtoll(text, NULL, 10);
}

int64_t
net_listener_number(const struct server *s, const char *key)
{
    char text[32];
    int64_t got = outlet_listener_info(s->l, key, text, sizeof text);

    return got < 0 ? got : strtoll(text, NULL, 10);
}

bool
net_stale(outlet_conn c)
{
    struct iovec piece = {(char *)"x", 1};
    char text[8];

    return outlet_send(c, "x", 1) == OUTLET_ESTALE && outlet_sendv(c, &piece, 1) == OUTLET_ESTALE &&
           outlet_close(c) == OUTLET_ESTALE && outlet_abort(c) == OUTLET_ESTALE &&
           outlet_end(c) == OUTLET_ESTALE && outlet_pause(c) == OUTLET_ESTALE &&
           outlet_resume(c) == OUTLET_ESTALE && outlet_queued(c) == OUTLET_ESTALE &&
           outlet_set_framing(c, "line", NULL) == OUTLET_ESTALE &&
           outlet_set_user(c, NULL) == OUTLET_ESTALE && !outlet_user(c) &&
           outlet_set_name(c, "x") == OUTLET_ESTALE && outlet_join(c, "g") == OUTLET_ESTALE &&
           outlet_leave(c, "g") == OUTLET_ESTALE &&
           outlet_info(c, "peer", text, sizeof text) == OUTLET_ESTALE &&
           outlet_listener_of(c).id == 0;
}

void
net_pattern(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)((i * 2654435761u + seed) >> 11);
    }
}

/* ---- plain sockets
 * ---------------------------------------------------------------------------------- */

int
net_raw(const struct server *s)
{
    unsigned port;
    int fd;

    if (sscanf(s->at, "tcp://127.0.0.1:%u", &port) == 1) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
        return fd;
    }
    assert_int_equal(strncmp(s->at, "unix://", 7), 0);
    {
        struct sockaddr_un un = {.sun_family = AF_UNIX};

        snprintf(un.sun_path, sizeof un.sun_path, "%s", s->at + 7);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    }
    return fd;
}
