/*
 * lines_test.c - two reactors that work at the same time write no cache line in common.
 *
 *     clients' process                     this process
 *     rounds on A's connections only  -->  reactor A writes lines; B sleeps
 *     rounds on B's connections only  -->  reactor B writes lines; A sleeps
 *
 * A line is A's if its bytes are others after A's rounds, or if A's thread wrote to it (lines.h).
 * The first finds also what the kernel and the C library write, the second also what holds the same
 * value again afterwards.  No line may be A's and B's.
 *
 * What a newcomer gets wrong: to look while a reactor still works.  An answer has left before the
 * turn that sent it is over: both threads must sleep first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "io/loop/loop.h"
#include "memory.h"
#include "scale.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    REACTORS = 2,
    CONNS_MAX = 300, /* of each reactor: more than a batch, and than a chunk of slots */
    MESSAGE_MAX = 65536,
    IN_FLIGHT_MAX = 16,
    HEAD = 4,
    WARM_ROUNDS = 50,
    ROUNDS = 50,
    TRIES = 10, /* of a look, until no chance event falls into it */
    TOLD_MAX = 8
};

static const struct flow {
    const char *name;
    int conns; /* of each reactor */
    int in_flight;
    uint32_t size;
    bool is_framed;
} flows[] = {
    {"1 connection, 1 in flight, plain", 1, 1, 64, false},
    {"1 connection, 16 in flight, framed", 1, 16, 64, true},
    {"300 connections, 1 in flight, plain", 300, 1, 64, false},
    {"300 connections, 4 in flight, framed", 300, 4, 700, true},
    {"4 connections, 2 in flight, 64 KiB, framed", 4, 2, MESSAGE_MAX, true},
};

enum word { CONNECT = 1, DRIVE, LEAVE };

/* ---- the clients' process: plain sockets ------------------------------------------------- */

static struct clients {
    const struct flow *flow;
    int fds[REACTORS][CONNS_MAX];
    int count[REACTORS];
    int others[REACTORS * CONNS_MAX * 8]; /* of a reactor that has enough already */
    int others_count;
    uint8_t out[IN_FLIGHT_MAX * (HEAD + MESSAGE_MAX)];
    uint8_t in[IN_FLIGHT_MAX * (HEAD + MESSAGE_MAX)];
    uint64_t chance;
    char text[256]; /* what went wrong */
} clients;

static bool
wrong(const char *what)
{
    snprintf(clients.text, sizeof clients.text, "%s: %s", what, strerror(errno));
    return false;
}

static size_t
put_head(uint8_t *to, uint32_t len)
{
    uint32_t wire = htonl(len);

    if (!clients.flow->is_framed)
        return 0;
    memcpy(to, &wire, sizeof wire);
    return sizeof wire;
}

/* Other bytes in each round, so that whatever holds them changes. */
static size_t
fill(uint8_t *to)
{
    const struct flow *f = clients.flow;
    uint8_t *at = to;

    clients.chance = clients.chance * 6364136223846793005u + 1442695040888963407u;
    for (int i = 0; i < f->in_flight; i++) {
        at += put_head(at, f->size);
        for (uint32_t k = 0; k < f->size; k++)
            at[k] = (uint8_t)('a' + (k + (clients.chance >> 40)) % 26);
        at += f->size;
    }
    return (size_t)(at - to);
}

static bool
send_all(int fd, size_t len)
{
    return send(fd, clients.out, len, MSG_NOSIGNAL) == (ssize_t)len || wrong("send");
}

static bool
receive_all(int fd, size_t len)
{
    errno = 0;
    if (recv(fd, clients.in, len, MSG_WAITALL) != (ssize_t)len)
        return wrong("receive");
    return memcmp(clients.in, clients.out, len) == 0 || wrong("another answer");
}

/* "?" is answered with the number of the reactor. */
static int
ask_reactor(int fd)
{
    uint8_t text[HEAD + 1];
    size_t head = put_head(text, 1);

    text[head] = '?';
    if (send(fd, text, head + 1, MSG_NOSIGNAL) != (ssize_t)head + 1 ||
        recv(fd, text, head + 1, MSG_WAITALL) != (ssize_t)head + 1)
        return -1;
    return text[head];
}

static bool
connect_one(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int reactor;

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return wrong("connect");
    reactor = ask_reactor(fd);
    if (reactor < 0 || reactor >= REACTORS)
        return wrong("no answer to which reactor it is on");
    if (clients.count[reactor] < clients.flow->conns)
        clients.fds[reactor][clients.count[reactor]++] = fd;
    else
        clients.others[clients.others_count++] = fd;
    return true;
}

/* The kernel places each by its address; so on, until both reactors have enough. */
static void
connect_all(int flow, int port)
{
    bool good = true;

    clients.flow = &flows[flow];
    while (good &&
           (clients.count[0] < clients.flow->conns || clients.count[1] < clients.flow->conns)) {
        if (clients.others_count == (int)(sizeof clients.others / sizeof *clients.others))
            good = wrong("one reactor gets no connections");
        good = good && connect_one(port);
    }
}

static void
drive(int reactor, int rounds)
{
    const int *fds = clients.fds[reactor];
    int n = clients.flow->conns;
    bool good = true;

    for (int round = 0; good && round < rounds; round++) {
        size_t len = fill(clients.out);

        for (int i = 0; good && i < n; i++)
            good = send_all(fds[i], len);
        for (int i = 0; good && i < n; i++)
            good = receive_all(fds[i], len);
    }
}

static void
leave(void)
{
    for (int r = 0; r < REACTORS; r++) {
        for (int i = 0; i < clients.count[r]; i++)
            close(clients.fds[r][i]);
        clients.count[r] = 0;
    }
    for (int i = 0; i < clients.others_count; i++)
        close(clients.others[i]);
    clients.others_count = 0;
}

static void
be_the_clients(int control, const void *arg)
{
    struct scale_word w;

    (void)arg;
    while (scale_hear(control, &w)) {
        switch ((enum word)w.what) {
        case CONNECT:
            connect_all((int)w.n[0], (int)w.n[1]);
            break;
        case DRIVE:
            drive((int)w.n[0], (int)w.n[1]);
            break;
        case LEAVE:
            leave();
            break;
        }
        memcpy(w.text, clients.text, sizeof w.text);
        scale_say(control, &w);
    }
}

/* ---- the server -------------------------------------------------------------------------- */

/* What its callbacks do beside answering. */
enum fault {
    NONE,
    COUNTS, /* both reactors add to one counter */
    WRITES  /* both reactors write what stands there already */
};

/* Each thread's part lies on lines of its own. */
struct thread {
    _Alignas(2 * LINE) pid_t id;
    struct lines *writes; /* all the time */
};

static struct server {
    struct thread threads[REACTORS];
    _Alignas(2 * LINE) _Atomic int threads_count;
    enum fault fault;
    _Alignas(2 * LINE) _Atomic uint64_t counter;
    _Alignas(2 * LINE) _Atomic uint64_t same;
    _Alignas(2 * LINE) struct scale_peer peer;
    outlet_loop *loop;
    struct memory *memory;
    struct lines *changed[REACTORS]; /* in its look */
    struct lines *written[REACTORS];
} server;

static _Thread_local int thread_number = -1;

static void
note_thread(void)
{
    thread_number = atomic_fetch_add(&server.threads_count, 1);
    if (thread_number >= REACTORS)
        abort();
    server.threads[thread_number].id = gettid();
    lines_written = server.threads[thread_number].writes;
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    uint8_t number;

    (void)user;
    if (thread_number < 0)
        note_thread();
    if (len == 1 && bytes[0] == '?') {
        number = (uint8_t)thread_number;
        bytes = &number;
    }
    if (server.fault == COUNTS)
        atomic_store(&server.counter, atomic_load(&server.counter) + 1);
    if (server.fault == WRITES)
        atomic_store(&server.same, 1);
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

static void
say_log(void *user, enum outlet_log_level level, const char *line)
{
    (void)user;
    (void)level;
    printf("# %s\n", line);
}

static bool
open_loop(size_t begins)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;

    atomic_store(&server.threads_count, 0);
    opts.driver = scale_driver;
    opts.threads = REACTORS;
    opts.allocator = memory_heap(begins);
    opts.log = say_log;
    return outlet_loop_new(&server.loop, &opts) == OUTLET_OK &&
           outlet_loop_start(server.loop) == OUTLET_OK;
}

static int
set_up(void **state)
{
    (void)state;
    server.peer = scale_fork(be_the_clients, NULL);
    server.memory = memory_open();
    for (int i = 0; i < REACTORS; i++) {
        server.threads[i].writes = memory_shared(sizeof(struct lines));
        server.changed[i] = memory_shared(sizeof(struct lines));
        server.written[i] = memory_shared(sizeof(struct lines));
        if (!server.threads[i].writes || !server.changed[i] || !server.written[i])
            return -1;
    }
    return server.peer.pid > 0 && server.memory && open_loop(0) ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    outlet_loop_free(server.loop);
    return scale_join(&server.peer);
}

/* ---- looking: on a thread of its own, which writes nothing that is looked at --------------- */

static struct look {
    const struct flow *flow;
    outlet_listener at;
    char text[256]; /* what went wrong */
} * look;

static bool
fail_look(const char *why)
{
    snprintf(look->text, sizeof look->text, "%s", why);
    return false;
}

static bool
tell(enum word what, int64_t n0, int64_t n1)
{
    struct scale_word w = {.what = what, .n = {n0, n1}};

    scale_say(server.peer.fd, &w);
    if (!scale_hear(server.peer.fd, &w))
        return fail_look("the clients' process is gone");
    return w.text[0] ? fail_look(w.text) : true;
}

/* How often it went to sleep; -1: it is awake. */
static int64_t
sleeps(const struct thread *t)
{
    char path[64];
    char text[4096];
    const char *found;
    int fd;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)t->id);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    if (!strstr(text, "\nState:\tS"))
        return -1;
    found = strstr(text, "\nvoluntary_ctxt_switches:");
    return found ? strtoll(found + strlen("\nvoluntary_ctxt_switches:"), NULL, 10) : -1;
}

static int64_t
until_asleep(const struct thread *t)
{
    int64_t n;

    while ((n = sleeps(t)) < 0)
        sched_yield();
    return n;
}

/* One reactor works, the other one sleeps all the time.  false: something came between. */
static bool
look_at(int reactor)
{
    struct lines *changed = server.changed[reactor];
    struct lines *writes = server.threads[reactor].writes;
    const struct thread *idle = &server.threads[!reactor];
    int64_t before;

    until_asleep(&server.threads[reactor]);
    before = until_asleep(idle);
    memset(changed, 0, sizeof *changed);
    memset(writes, 0, sizeof *writes);
    if (!memory_copy(server.memory))
        return fail_look("the memory of this process cannot be copied");
    if (!tell(DRIVE, reactor, ROUNDS))
        return false;
    until_asleep(&server.threads[reactor]);
    *server.written[reactor] = *writes;
    /* Last: it may wake while the memory is compared, to say what was sent before (OL_QUIET_MS). */
    return memory_compare(server.memory, changed) && sleeps(idle) == before;
}

static void
look_at_both(void)
{
    if (!tell(DRIVE, 0, WARM_ROUNDS) || !tell(DRIVE, 1, WARM_ROUNDS))
        return;
    for (int reactor = 0; reactor < REACTORS; reactor++) {
        int tries = 0;

        while (!look->text[0] && !look_at(reactor)) {
            if (++tries == TRIES)
                fail_look("no look was undisturbed: the idle reactor wakes, or memory is mapped");
        }
    }
}

static void
look_at_flow(const struct flow *f)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = on_message};
    struct outlet_opts opts = OUTLET_OPTS;
    int port;

    if (!look)
        look = memory_shared(sizeof *look);
    assert_non_null(look);
    *look = (struct look){.flow = f};
    opts.on = &on;
    opts.frame = f->is_framed ? "len:4be" : NULL;
    port = scale_listen(server.loop, "tcp://127.0.0.1:0", &opts, &look->at);
    assert_true(port > 0);
    if (tell(CONNECT, f - flows, port))
        assert_true(memory_look(look_at_both));
    if (look->text[0])
        fail_msg("%s", look->text);
    assert_true(tell(LEAVE, 0, 0));
    assert_int_equal(outlet_listener_close(look->at), OUTLET_OK);
    assert_int_equal(atomic_load(&server.threads_count), REACTORS);
    for (int i = 0; i < REACTORS; i++) {
        assert_false(server.changed[i]->is_full);
        assert_false(server.written[i]->is_full);
    }
}

/* ---- judging ----------------------------------------------------------------------------- */

static bool
is_of(int reactor, uintptr_t at)
{
    return lines_find(server.changed[reactor], at) || lines_find(server.written[reactor], at);
}

static void
describe(uintptr_t at)
{
    char text[2048];

    memory_describe(at, text, sizeof text);
    printf("# line %#zx %s\n", (size_t)at, text);
    for (int i = 0; i < REACTORS; i++) {
        const struct line *by = lines_find(server.written[i], at);

        snprintf(text, sizeof text, "the kernel, or the C library");
        if (by)
            memory_describe_code(by->code, text, sizeof text);
        printf("#     reactor %d: %s\n", i, text);
    }
}

/* Lines of both, without repetition. */
static size_t
common(bool tells)
{
    const struct lines *sets[] = {server.changed[0], server.written[0]};
    size_t n = 0;

    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sizeof sets[s]->table / sizeof sets[s]->table[0]; i++) {
            uintptr_t at = sets[s]->table[i].at;

            if (!at || !is_of(1, at) || (s == 1 && lines_find(sets[0], at)))
                continue;
            if (tells && n < TOLD_MAX)
                describe(at);
            n++;
        }
    }
    return n;
}

static size_t
common_in_all_flows(void)
{
    size_t all = 0;

    for (size_t i = 0; i < sizeof flows / sizeof flows[0]; i++) {
        size_t n;

        look_at_flow(&flows[i]);
        n = common(true);
        printf("# %s: reactor 0 changes %zu lines and writes %zu, reactor 1 %zu and %zu; "
               "%zu in common\n",
               flows[i].name, server.changed[0]->count, server.written[0]->count,
               server.changed[1]->count, server.written[1]->count, n);
        all += n;
    }
    return all;
}

/* Where an allocator happens to put things must not matter: every way to lie on lines. */
static void
no_line_is_written_by_both(void **state)
{
    size_t bad = common_in_all_flows();

    (void)state;
    for (size_t begins = 16; begins < LINE; begins += 16) {
        outlet_loop_free(server.loop);
        assert_true(open_loop(begins));
        bad += common_in_all_flows();
    }
    assert_int_equal(bad, 0);
}

/* ---- the looks see what they are for: else finding nothing would mean nothing --------------- */

static uintptr_t
line_of(const volatile void *p)
{
    return (uintptr_t)p & ~(uintptr_t)(LINE - 1);
}

/* Which thread is which reactor's? */
static int
thread_of(const struct ol_reactor *r)
{
    return lines_find(server.written[0], line_of(&r->now)) ? 0 : 1;
}

static void
each_reactor_is_seen_to_write_its_own(void **state)
{
    const struct ol_reactor *r = server.loop->reactors[0];
    const struct ol_reactor *other = server.loop->reactors[1];
    int t;

    (void)state;
    look_at_flow(&flows[0]);
    t = thread_of(r);
    assert_non_null(lines_find(server.written[t], line_of(&r->now)));
    assert_non_null(lines_find(server.changed[t], line_of(&r->now)));
    assert_false(is_of(!t, line_of(&r->now)));
    assert_non_null(lines_find(server.written[!t], line_of(&other->now)));
    assert_non_null(lines_find(server.changed[!t], line_of(&other->now)));
}

static void
a_shared_counter_is_found(void **state)
{
    (void)state;
    server.fault = COUNTS;
    look_at_flow(&flows[0]);
    server.fault = NONE;
    for (int i = 0; i < REACTORS; i++) {
        assert_non_null(lines_find(server.changed[i], line_of(&server.counter)));
        assert_non_null(lines_find(server.written[i], line_of(&server.counter)));
    }
    assert_int_equal(common(false), 1);
}

static void
a_line_that_holds_the_same_again_is_found(void **state)
{
    (void)state;
    atomic_store(&server.same, 1);
    server.fault = WRITES;
    look_at_flow(&flows[0]);
    server.fault = NONE;
    for (int i = 0; i < REACTORS; i++) {
        assert_null(lines_find(server.changed[i], line_of(&server.same)));
        assert_non_null(lines_find(server.written[i], line_of(&server.same)));
    }
    assert_int_equal(common(false), 1);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reactor_is_seen_to_write_its_own),
        cmocka_unit_test(no_line_is_written_by_both),
        cmocka_unit_test(a_shared_counter_is_found),
        cmocka_unit_test(a_line_that_holds_the_same_again_is_found),
    };
    int skip = scale_begin(argc, argv);

    return skip ? skip : cmocka_run_group_tests_name("lines", tests, set_up, tear_down);
}
