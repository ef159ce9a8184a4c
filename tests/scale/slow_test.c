/*
 * slow_test.c - 2,000 peers that never read, and one that does.
 *
 * Sent to without end, every queue stops at its cap and its policy is applied; all of them together
 * stop at the loop's memory_max, where reading stops too.  Memory stays where it is, and who is not
 * to blame goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
    POLICIES = 4, /* enum outlet_full, from 1 on */
    PEERS = 2000,
    PEERS_EACH = PEERS / POLICIES,
    CAP = 65536,
    HEAD = 4, /* of the framing */
    ROUNDS_MAX = 5000,
    ROUNDS_LOOK = 300, /* several times a cap: dropping the oldest has come round */
    MEMORY_MAX = 32 << 20,
    /* Queues, rings and what the kernel reads of a send under way are costs of a connection, not of
     * what is queued. */
    LIVE_TOLERANCE = PEERS * 2048,
    RSS_TOLERANCE = 8 << 20
};

/* ---- the peers' process: plain sockets ---- */

enum word {
    CONNECT = 1, /* n: the ports */
    ECHO,        /* n[0]: the port; one echo on a new connection */
    KNOCK,       /* send one message on the good connection, and do not wait */
    LEAVE        /* n[0]: how many; then wait for n[1] echoes of knocks */
};

/* Little room, and short segments: else the kernel's send buffers hold half a megabyte of each. */
static int
connect_one(int port, int room)
{
    int segment = 1000;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (room) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? fd : -1;
}

static const uint8_t knock[] = {0, 0, 0, 6, 'k', 'n', 'o', 'c', 'k', '!'};

static bool
hear_echo(int fd)
{
    uint8_t back[sizeof knock];

    return recv(fd, back, sizeof back, MSG_WAITALL) == (ssize_t)sizeof back &&
           memcmp(back, knock, sizeof back) == 0;
}

static bool
send_knock(int fd)
{
    return send(fd, knock, sizeof knock, MSG_NOSIGNAL) == (ssize_t)sizeof knock;
}

static int peers[PEERS];

static bool
connect_all(const int64_t *ports)
{
    for (int i = 0; i < PEERS; i++) {
        peers[i] = connect_one((int)ports[i % POLICIES], 4096);
        if (peers[i] < 0)
            return false;
    }
    return true;
}

/* They leave with unread input, so with a reset. */
static void
leave(int64_t count)
{
    for (int i = 0; i < PEERS && count; i++) {
        if (peers[i] < 0)
            continue;
        close(peers[i]);
        peers[i] = -1;
        count--;
    }
}

static void
never_read(int control, const void *arg)
{
    struct scale_word w;
    int good = -1;
    int fd;

    (void)arg;
    while (scale_hear(control, &w)) {
        bool is_done = false;

        switch ((enum word)w.what) {
        case CONNECT:
            is_done = connect_all(w.n);
            good = connect_one((int)w.n[POLICIES], 0);
            break;
        case ECHO:
            fd = connect_one((int)w.n[0], 0);
            is_done = fd >= 0 && send_knock(fd) && hear_echo(fd);
            close(fd);
            break;
        case KNOCK:
            is_done = send_knock(good);
            break;
        case LEAVE:
            leave(w.n[0]);
            for (is_done = true; is_done && w.n[1]; w.n[1]--)
                is_done = hear_echo(good);
            break;
        }
        if (!is_done)
            snprintf(w.text, sizeof w.text, "word %d: %s", (int)w.what, strerror(errno));
        scale_say(control, &w);
    }
}

/* ---- the server ---- */

struct slow {
    outlet_conn conn;
    enum outlet_full policy;
    int64_t told_dropped; /* by events */
    int closes;
    outlet_err why;
};

static struct server {
    struct scale_side side;
    struct scale_peer peer;
    struct slow slow[PEERS];
    int count;
    int64_t closes;
    int64_t knocks; /* heard from the one that reads */
    int64_t unanswered;
    int64_t taken[POLICIES + 1]; /* in the last round */
    int64_t refused[POLICIES + 1];
    int64_t no_memory;
    int64_t other;
    size_t message; /* bytes of each */
    bool is_filled;
    uint8_t bytes[16384];
} server;

/* One message to each. */
static void
fill(void *arg)
{
    (void)arg;
    server.is_filled = true;
    server.no_memory = server.other = 0;
    memset(server.taken, 0, sizeof server.taken);
    memset(server.refused, 0, sizeof server.refused);
    for (int i = 0; i < server.count; i++) {
        struct slow *s = &server.slow[i];
        int64_t sent = outlet_send(s->conn, server.bytes, server.message);

        server.taken[s->policy] += sent >= 0;
        server.refused[s->policy] += sent == OUTLET_EFULL;
        server.no_memory += sent == OUTLET_ENOMEM;
        server.other += sent < 0 && sent != OUTLET_EFULL && sent != OUTLET_ENOMEM &&
                        sent != OUTLET_ESTALE && sent != OUTLET_ESTATE;
    }
}

static bool
is_filled(void *arg)
{
    (void)arg;
    return server.is_filled;
}

static void
round_of_messages(void)
{
    server.is_filled = false;
    assert_int_equal(outlet_post(server.side.loop, fill, NULL), OUTLET_OK);
    assert_true(scale_side_until(&server.side, is_filled, NULL));
}

static void
slow_open(outlet_conn c, void *user)
{
    struct slow *s = &server.slow[server.count++];

    s->conn = c;
    s->policy = (enum outlet_full)(intptr_t)user;
    outlet_set_user(c, s);
}

static void
slow_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct slow *s = user;

    (void)c;
    if (what == OUTLET_EVENT_DROPPED)
        s->told_dropped += value;
}

static void
slow_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct slow *s = user;

    (void)c;
    s->closes++;
    s->why = why->code;
    server.closes++;
}

static void
good_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    server.knocks++;
    server.unanswered += outlet_send(c, bytes, len) < 0;
}

static const struct outlet_handlers slow_on = {.size = sizeof slow_on,
                                               .on_open = slow_open,
                                               .on_event = slow_event,
                                               .on_close = slow_close};
static const struct outlet_handlers good_on = {.size = sizeof good_on, .on_message = good_message};

static int64_t ports[POLICIES + 1];

/* A listener for each policy, or all with the default one; the last one is for who reads. */
static void
start(int64_t memory_max, bool has_caps)
{
    outlet_listener at;

    assert_true(scale_side_open(&server.side, scale_driver, memory_max, server.peer.fd));
    for (int i = 0; i <= POLICIES; i++) {
        struct outlet_opts opts = OUTLET_OPTS;

        opts.frame = "len:4be";
        opts.on = i < POLICIES ? &slow_on : &good_on;
        opts.stall_ms = OUTLET_OFF;
        opts.user = (void *)(intptr_t)(has_caps ? i + 1 : OUTLET_FULL_REFUSE);
        if (has_caps && i < POLICIES) {
            opts.high = CAP / 2;
            opts.low = CAP / 4;
            opts.cap = CAP;
            opts.full = i + 1;
        }
        ports[i] = scale_listen(server.side.loop, "tcp://127.0.0.1:0", &opts, &at);
        assert_true(ports[i] > 0);
    }
}

static void
tell(enum word what, int64_t n0, int64_t n1)
{
    struct scale_word w = {.what = what, .n = {n0, n1}};

    if (what == CONNECT)
        memcpy(w.n, ports, sizeof ports);
    scale_say(server.peer.fd, &w);
    if (!scale_side_hear(&server.side))
        fail_msg("the peers' process is gone");
    if (server.side.word.text[0])
        fail_msg("%s", server.side.word.text);
}

static bool
all_here(void *arg)
{
    (void)arg;
    return server.count == PEERS;
}

static bool
all_left(void *arg)
{
    (void)arg;
    return server.closes == PEERS;
}

/* The most that was held during some rounds. */
static struct scale_use
most_of_rounds(int rounds)
{
    struct scale_use most = {0};

    for (int i = 0; i < rounds; i++) {
        struct scale_use use;

        round_of_messages();
        use = scale_use_now(&server.side.heap);
        if (use.live > most.live)
            most.live = use.live;
        if (use.rss > most.rss)
            most.rss = use.rss;
    }
    return most;
}

/* Until some rounds in a row were refused by all: the kernel takes a little more now and then. */
static int
rounds_until(const int64_t *refused, int64_t all)
{
    int in_a_row = 0;
    int rounds = 0;

    while (in_a_row < 20 && rounds < ROUNDS_MAX) {
        round_of_messages();
        in_a_row = *refused == all ? in_a_row + 1 : 0;
        rounds++;
    }
    return rounds;
}

static int64_t
info_number(outlet_conn c, const char *key)
{
    char text[64];

    return outlet_info(c, key, text, sizeof text) < 0 ? -1 : strtoll(text, NULL, 10);
}

/* Do nearly all queues that are left have no room for one more message? */
static bool
near_cap(void)
{
    int64_t near = 0;

    for (int i = 0; i < PEERS; i++)
        near += outlet_queued(server.slow[i].conn) > CAP - (int64_t)(server.message + HEAD);
    return near > (PEERS - PEERS_EACH) * 9 / 10;
}

static void
check_one(const struct slow *s)
{
    int64_t queued = outlet_queued(s->conn);
    int64_t dropped = info_number(s->conn, "dropped");

    if (s->policy == OUTLET_FULL_CLOSE) {
        assert_int_equal(s->closes, 1);
        assert_int_equal(s->why, OUTLET_EFULL);
        assert_int_equal(queued, OUTLET_ESTALE);
        return;
    }
    assert_int_equal(s->closes, 0);
    assert_true(queued <= CAP);
    assert_int_equal(dropped, s->told_dropped);
    if (s->policy == OUTLET_FULL_REFUSE)
        assert_int_equal(dropped, 0);
    else
        assert_true(dropped >= ROUNDS_LOOK);
}

static void
every_queue_stops_at_its_cap(void **state)
{
    struct scale_use before;
    struct scale_use full;
    struct scale_use later;
    int64_t most = (int64_t)(PEERS - PEERS_EACH) * 3 * CAP + LIVE_TOLERANCE;
    int rounds;

    (void)state;
    server.message = 1000;
    start(-1, true);
    tell(CONNECT, 0, 0);
    assert_true(scale_side_until(&server.side, all_here, NULL));
    before = scale_use_now(&server.side.heap);
    rounds = rounds_until(&server.refused[OUTLET_FULL_REFUSE], PEERS_EACH);
    assert_true(rounds < ROUNDS_MAX);
    full = most_of_rounds(ROUNDS_LOOK);
    later = most_of_rounds(ROUNDS_LOOK);
    /* In the very last round the kernel may have taken some from many at once. */
    for (int more = 0; !near_cap() && more < ROUNDS_MAX; more++)
        round_of_messages();
    printf("# %d peers that do not read: all full after %d messages; %lld KiB of the heap each; "
           "then %lld -> %lld KiB of the heap, %lld -> %lld KiB resident\n",
           PEERS, rounds, (long long)(full.live - before.live) / 1024 / (PEERS - PEERS_EACH),
           (long long)full.live / 1024, (long long)later.live / 1024, (long long)full.rss / 1024,
           (long long)later.rss / 1024);

    assert_int_equal(server.taken[OUTLET_FULL_DROP_NEW], PEERS_EACH);
    assert_int_equal(server.taken[OUTLET_FULL_DROP_OLD], PEERS_EACH);
    assert_int_equal(server.taken[OUTLET_FULL_CLOSE], 0);
    assert_int_equal(server.taken[OUTLET_FULL_REFUSE] + server.refused[OUTLET_FULL_REFUSE],
                     PEERS_EACH);
    assert_int_equal(server.other + server.no_memory, 0);
    assert_int_equal(server.closes, PEERS_EACH);
    for (int i = 0; i < PEERS; i++)
        check_one(&server.slow[i]);
    assert_true(near_cap());
    /* What waits, and a large chunk at either end that is not all in use. */
    assert_true(full.live - before.live <= most);
    assert_true(later.live - before.live <= most);
    /* The system allocator may leave gaps. */
    assert_true(later.rss - before.rss <= (later.live - before.live) * 3 / 2 + RSS_TOLERANCE);

    tell(ECHO, ports[POLICIES], 0); /* who reads is served */
    assert_int_equal(server.unanswered, 0);
    tell(LEAVE, PEERS, 0);
    assert_true(scale_side_until(&server.side, all_left, NULL));
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(server.slow[i].closes, 1);
    scale_side_close(&server.side);
    assert_int_equal(atomic_load(&server.side.heap.live), 0);
}

/*
 * A message that is read finds that memory is short, the next one stays in the kernel.  Several
 * times, because the kernel may just have taken enough of the queues for memory not to be short.
 * Answers how many there were.
 */
static int
knock_until_unheard(void)
{
    int knocks = 0;

    do {
        (void)rounds_until(&server.no_memory, PEERS);
        tell(KNOCK, 0, 0);
        knocks++;
        for (int i = 0; i < 10; i++)
            outlet_loop_turn(server.side.loop, 0);
    } while (server.knocks == knocks && knocks < 50);
    return knocks;
}

static void
all_queues_stop_at_memory_max(void **state)
{
    struct scale_use before;
    struct scale_use full;
    struct scale_use later;
    int knocks;
    int rounds;

    (void)state;
    server.message = 8000;
    start(MEMORY_MAX, false);
    tell(CONNECT, 0, 0);
    assert_true(scale_side_until(&server.side, all_here, NULL));
    before = scale_use_now(&server.side.heap);
    rounds = rounds_until(&server.no_memory, PEERS);
    assert_true(rounds < ROUNDS_MAX);
    full = most_of_rounds(20);
    later = most_of_rounds(20);
    printf("# memory_max %d KiB: reached after %d messages to each; %lld KiB of the heap more than "
           "before, then %lld -> %lld KiB, %lld -> %lld KiB resident\n",
           MEMORY_MAX / 1024, rounds, (long long)(full.live - before.live) / 1024,
           (long long)full.live / 1024, (long long)later.live / 1024, (long long)full.rss / 1024,
           (long long)later.rss / 1024);
    assert_int_equal(server.other, 0);
    assert_true(full.live - before.live <= MEMORY_MAX + LIVE_TOLERANCE);
    assert_true(full.live - before.live >= MEMORY_MAX - MEMORY_MAX / 8);
    assert_true(later.live - before.live <= MEMORY_MAX + LIVE_TOLERANCE);
    assert_true(later.rss <= full.rss + RSS_TOLERANCE);
    assert_int_equal(server.closes, 0);

    knocks = knock_until_unheard();
    assert_true(server.knocks < knocks);
    tell(LEAVE, PEERS * 3 / 4, knocks - server.unanswered);
    assert_int_equal(server.knocks, knocks);
    tell(ECHO, ports[POLICIES], 0);

    tell(LEAVE, PEERS, 0);
    assert_true(scale_side_until(&server.side, all_left, NULL));
    scale_side_close(&server.side);
    assert_int_equal(atomic_load(&server.side.heap.live), 0);
}

/* Before there is any loop. */
static struct scale_peer forked[2];

static int
fork_peers(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        forked[i] = scale_fork(never_read, NULL);
        if (forked[i].pid < 0)
            return -1;
    }
    return 0;
}

static int
set_up(void **state)
{
    memset(&server, 0, sizeof server);
    server.peer = forked[*(int *)*state];
    return 0;
}

int
main(int argc, char **argv)
{
    static int numbers[] = {0, 1};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(every_queue_stops_at_its_cap, set_up, NULL,
                                                 &numbers[0]),
        cmocka_unit_test_prestate_setup_teardown(all_queues_stop_at_memory_max, set_up, NULL,
                                                 &numbers[1]),
    };
    int skip = scale_begin(argc, argv);

    if (skip)
        return skip;
    scale_affordable(PEERS);
    return cmocka_run_group_tests_name("slow", tests, fork_peers, NULL);
}
