/*
 * pass_test.c - descriptors that travel along with messages: which message, which order, and that
 * none is left in our table whatever happens.
 *
 * They are real ones.  net_close() counts what is open.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TAKEN = 512 };

static int taken[TAKEN];       /* by take_all */
static size_t taken_at[TAKEN]; /* the number of the message */
static int taken_count;

static void
take_all(struct end *e, outlet_msg *m)
{
    int fd;

    while ((fd = outlet_msg_fd(m)) >= 0 && taken_count < TAKEN) {
        taken_at[taken_count] = e->messages - 1;
        taken[taken_count++] = fd;
    }
    e->result = fd;
}

static const struct does takes = {.on_message = take_all};

static void
drop_taken(void)
{
    for (int i = 0; i < taken_count; i++) {
        close(taken[i]);
    }
    taken_count = 0;
}

/* A descriptor that can be told from others by its content. */
static int
marked(uint32_t number)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], &number, sizeof number), sizeof number);
    close(ends[1]);
    return ends[0];
}

static void
assert_marked(int fd, uint32_t number)
{
    uint32_t got = UINT32_MAX;

    assert_int_equal(read(fd, &got, sizeof got), sizeof got);
    assert_int_equal(got, number);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static int64_t
send_marked(outlet_conn c, uint32_t number, const char *text)
{
    int fd = marked(number);
    int64_t sent = outlet_send_fd(c, fd, text, strlen(text));

    close(fd);
    return sent;
}

static int
raw_to(const struct server *s, int type)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = strchr(s->at, '/') + 2;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_true(strlen(path) < sizeof un.sun_path);
    memcpy(un.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

/* `count` descriptors with some bytes, as a plain program sends them. */
static void
raw_pass(int to, const char *text, int count)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec piece = {(char *)(uintptr_t)text, strlen(text)};
    struct msghdr head = {.msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
    int fds[16];

    for (int i = 0; i < count; i++) {
        fds[i] = marked((uint32_t)i);
    }
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(&control.head), fds, (size_t)count * sizeof(int));
    assert_int_equal(sendmsg(to, &head, 0), strlen(text));
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static const struct {
    const char *scheme;
    const char *frame; /* with a comma behind it */
} kinds[] = {{"unix", "frame=line,"},
             {"unix", "frame=len:4be,"},
             {"unix", "frame=between:%02..%03,"},
             {"unix-seqpacket", ""}};

#define EACH_KIND(i) for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && !net_is_sim(); i++)

/* ---- they arrive ------------------------------------------------------------------------------
 */

static void
send_some_with_descriptors(struct end *e)
{
    e->results[0] = outlet_send(e->c, "plain", 5);
    e->results[1] = send_marked(e->c, 1, "first");
    e->results[2] = outlet_send(e->c, "plain", 5);
    e->results[3] = outlet_send(e->c, "plain", 5);
    e->results[4] = send_marked(e->c, 2, "second");
    e->results[5] = send_marked(e->c, 3, "third");
    e->results[6] = outlet_send(e->c, "plain", 5);
}

/* All in one turn: on a stream they lie one behind the other. */
static void
each_comes_with_the_message_that_it_was_sent_with(void **state)
{
    static const struct does sends = {.on_open = send_some_with_descriptors};
    static const size_t at[] = {1, 4, 5};

    (void)state;
    EACH_KIND(i)
    {
        struct server s = {.does = &takes};
        struct end e = {.does = &sends};
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%sfds=4", net_place(&n, kinds[i].scheme), kinds[i].frame);
        net_connect(&n, &e, NULL, "%s#%sfds=4", s.at, kinds[i].frame);
        UNTIL(&n, s.count && s.ends[0].messages == 7);
        for (int k = 0; k < 7; k++) {
            assert_true(e.results[k] >= 0);
        }
        assert_int_equal(taken_count, 3);
        for (uint32_t k = 0; k < 3; k++) {
            assert_marked(taken[k], k + 1);
            assert_int_equal(taken_at[k], at[k]);
        }
        assert_int_equal(s.ends[0].result, OUTLET_ENOENT);
        assert_memory_equal(s.ends[0].bytes, "plainfirstplainplainsecondthirdplain", 36);
        drop_taken();
        net_close(&n);
        net_server_fini(&s);
    }
}

/* From outside of the reactor, in both directions, without framing, and with long messages. */
static void
they_pass_the_mailbox_and_come_with_bytes_without_borders(void **state)
{
    static uint8_t long_one[300000];
    struct server s = {.does = &takes};
    struct end e = {.does = &takes};
    struct net n;
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#fds=4", net_place(&n, "unix"));
    net_connect(&n, &e, NULL, "%s#fds=4", s.at);
    assert_true(send_marked(e.c, 10, "before it opened") >= 0);
    UNTIL(&n, taken_count == 1);
    assert_marked(taken[0], 10);
    assert_true(send_marked(s.ends[0].c, 11, "back") >= 0);
    UNTIL(&n, taken_count == 2);
    assert_marked(taken[1], 11);
    net_pattern(long_one, sizeof long_one, 5);
    fd = marked(12);
    assert_true(outlet_send_fd(e.c, fd, long_one, sizeof long_one) >= 0);
    close(fd);
    UNTIL(&n, s.ends[0].len == 16 + sizeof long_one);
    assert_memory_equal(s.ends[0].bytes + 16, long_one, sizeof long_one);
    assert_int_equal(taken_count, 3);
    assert_marked(taken[2], 12);
    drop_taken();
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static uint32_t flood_sent;

static void
flood(struct end *e)
{
    while (flood_sent < 400) {
        char text[16];

        snprintf(text, sizeof text, "%u", flood_sent);
        e->result = send_marked(e->c, flood_sent, text);
        if (e->result < 0)
            break;
        flood_sent++;
    }
}

/* Four at a time may wait; the others are refused and come later. */
static void
many_go_a_few_at_a_time_and_stay_in_order(void **state)
{
    static const struct does floods = {.on_open = flood, .on_writable = flood};

    (void)state;
    EACH_KIND(i)
    {
        struct server s = {.does = &takes};
        struct end e = {.does = &floods};
        struct net n;

        flood_sent = 0;
        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%sfds=2", net_place(&n, kinds[i].scheme), kinds[i].frame);
        net_connect(&n, &e, NULL, "%s#%sfds=4", s.at, kinds[i].frame);
        UNTIL(&n, s.count && (s.ends[0].messages == 400 || s.ends[0].closes));
        assert_int_equal(taken_count, 400);
        for (uint32_t k = 0; k < 400; k++) {
            assert_marked(taken[k], k);
            assert_int_equal(taken_at[k], k);
        }
        drop_taken();
        net_close(&n);
        net_server_fini(&s);
    }
}

static void
a_socket_that_was_passed_becomes_a_connection(void **state)
{
    struct server s = {.does = &takes};
    struct end e = {0};
    struct end passed = {0};
    struct net n;
    int pair[2];
    char byte;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#fds=1", net_place(&n, "unix-seqpacket"));
    net_connect(&n, &e, NULL, "%s#fds=1", s.at);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(outlet_send_fd(e.c, pair[0], "here", 4) >= 0);
    close(pair[0]);
    UNTIL(&n, taken_count == 1);
    net_connect(&n, &passed, NULL, "fd:%d", taken[0]);
    drop_taken();
    assert_true(outlet_send(passed.c, "x", 1) >= 0);
    UNTIL(&n, passed.opens && outlet_queued(passed.c) == 0);
    assert_int_equal(read(pair[1], &byte, 1), 1);
    close(pair[1]);
    net_close(&n);
    net_server_fini(&s);
}

/* ---- they do not stay -------------------------------------------------------------------------
 */

static void
take_none(struct end *e, outlet_msg *m)
{
    (void)m;
    e->result++;
}

static void
what_nobody_takes_is_closed(void **state)
{
    static const struct does ignores = {.on_message = take_none};

    (void)state;
    EACH_KIND(i)
    {
        struct server s = {.does = &ignores};
        struct end e = {0};
        struct net n;
        int before;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%sfds=4", net_place(&n, kinds[i].scheme), kinds[i].frame);
        net_connect(&n, &e, NULL, "%s#%sfds=4", s.at, kinds[i].frame);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        before = net_files();
        for (size_t k = 1; k <= 20; k++) {
            assert_true(send_marked(e.c, 0, "x") >= 0);
            UNTIL(&n, s.ends[0].messages == k);
        }
        assert_int_equal(net_files(), before);
        net_close(&n);
        net_server_fini(&s);
    }
}

/* The kernel drops them; nothing else is different. */
static void
where_they_are_off_none_is_taken(void **state)
{
    (void)state;
    EACH_KIND(i)
    {
        struct server s = {.does = &takes};
        struct end e = {0};
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%sidle_ms=off", net_place(&n, kinds[i].scheme),
                   kinds[i].frame);
        net_connect(&n, &e, NULL, "%s#%sfds=4", s.at, kinds[i].frame);
        for (int k = 0; k < 3; k++) {
            assert_true(send_marked(e.c, 0, "x") >= 0);
        }
        UNTIL(&n, s.count && s.ends[0].messages == 3);
        assert_int_equal(taken_count, 0);
        assert_int_equal(s.ends[0].result, OUTLET_ENOENT);
        net_close(&n);
        net_server_fini(&s);
    }
}

static void
more_than_allowed_end_the_connection(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_STREAM, SOCK_STREAM, SOCK_SEQPACKET};

    (void)state;
    EACH_KIND(i)
    {
        for (int at_once = 0; at_once < 2; at_once++) {
            struct server s = {.does = &takes};
            struct net n;
            int before;
            int fd;

            if (!at_once && types[i] != SOCK_STREAM)
                continue;
            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "%s#%sfds=3", net_place(&n, kinds[i].scheme), kinds[i].frame);
            before = net_files();
            fd = raw_to(&s, types[i]);
            if (at_once) {
                raw_pass(fd, "xx", 4);
            } else if (i == 0) {
                raw_pass(fd, "be", 2); /* a message that does not end */
                raw_pass(fd, "gun", 2);
            } else {
                raw_pass(fd, i == 1 ? "\x01" : "\x02", 2);
                raw_pass(fd, i == 1 ? "\x01" : "x", 2);
            }
            UNTIL(&n, s.count && s.ends[0].closes);
            assert_int_equal(s.ends[0].why.code, OUTLET_ELIMIT);
            assert_int_equal(s.ends[0].why.side, OUTLET_BY_PEER);
            assert_int_equal(taken_count, 0);
            close(fd);
            assert_int_equal(net_files(), before);
            net_close(&n);
            net_server_fini(&s);
        }
    }
}

static void
as_many_as_allowed_may_come_at_once(void **state)
{
    struct server s = {.does = &takes};
    struct net n;
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#frame=line,fds=3", net_place(&n, "unix"));
    fd = raw_to(&s, SOCK_STREAM);
    raw_pass(fd, "abc\n", 3);
    raw_pass(fd, "un", 1); /* in the middle of a message: it is that one's */
    assert_int_equal(write(fd, "finished\n", 9), 9);
    UNTIL(&n, s.count && s.ends[0].messages == 2);
    assert_int_equal(taken_count, 4);
    assert_marked(taken[1], 1);
    assert_int_equal(taken_at[2], 0);
    assert_int_equal(taken_at[3], 1);
    drop_taken();
    close(fd);
    UNTIL(&n, s.ends[0].closes);
    net_close(&n);
    net_server_fini(&s);
}

static void
pause_at_once(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static void
pause_now(struct end *e, outlet_msg *m)
{
    (void)m;
    e->result = outlet_pause(e->c);
}

/* Waiting to be sent, on the way, held by a pause: wherever they are when the end comes. */
static void
the_end_of_a_connection_closes_those_that_are_under_way(void **state)
{
    static const struct does pauses = {.on_open = pause_at_once};
    static const struct does pauses_late = {.on_message = pause_now};

    (void)state;
    EACH_KIND(i)
    {
        for (int late = 0; late < 2; late++) {
            struct server s = {.does = late ? &pauses_late : &pauses};
            struct end e = {0};
            struct net n;
            int before;

            net_open(&n, NULL);
            net_listen(&n, &s, NULL, "%s#%sfds=8", net_place(&n, kinds[i].scheme), kinds[i].frame);
            before = net_files();
            net_connect(&n, &e, NULL, "%s#%sfds=8", s.at, kinds[i].frame);
            UNTIL(&n, e.opens && s.count && s.ends[0].opens);
            for (uint32_t k = 0; k < 8; k++) {
                assert_true(send_marked(e.c, k, "x") >= 0);
            }
            UNTIL(&n, !late || s.ends[0].messages);
            net_run_ms(&n, 2);
            assert_int_equal(outlet_abort(s.ends[0].c), OUTLET_OK);
            UNTIL(&n, e.closes && s.ends[0].closes);
            assert_int_equal(net_files(), before);
            net_close(&n);
            net_server_fini(&s);
        }
    }
}

static void
what_was_held_by_a_pause_comes_with_its_message(void **state)
{
    static const struct does sends = {.on_open = send_some_with_descriptors};

    (void)state;
    EACH_KIND(i)
    {
        static const size_t at[] = {1, 4, 5};
        struct server s = {.does = &takes};
        struct end e = {.does = &sends};
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%sfds=4", net_place(&n, kinds[i].scheme), kinds[i].frame);
        net_connect(&n, &e, NULL, "%s#%sfds=4", s.at, kinds[i].frame);
        UNTIL(&n, s.count);
        for (int k = 0; k < 40; k++) {
            assert_int_equal(outlet_pause(s.ends[0].c), OUTLET_OK);
            assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
            net_step(&n);
        }
        UNTIL(&n, s.ends[0].messages == 7);
        for (uint32_t k = 0; k < 3; k++) {
            assert_marked(taken[k], k + 1);
            assert_int_equal(taken_at[k], at[k]);
        }
        drop_taken();
        net_close(&n);
        net_server_fini(&s);
    }
}

static void
a_full_table_is_said_to_be_full(void **state)
{
    struct server s = {.does = &takes};
    struct rlimit before;
    struct rlimit now;
    struct net n;
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#fds=3", net_place(&n, "unix"));
    fd = raw_to(&s, SOCK_STREAM);
    UNTIL(&n, s.count && s.ends[0].opens);
    raw_pass(fd, "x", 2);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    now = before;
    now.rlim_cur = (rlim_t)dup(0); /* the first that is free */
    close((int)now.rlim_cur);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    UNTIL(&n, s.ends[0].closes);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(s.ends[0].why.code, OUTLET_ENOFILE);
    close(fd);
    net_close(&n);
    net_server_fini(&s);
}

/* ---- no memory --------------------------------------------------------------------------------
 */

/* Answers whether something was made to fail. */
static bool
play(struct net *n, const char *at, size_t kind)
{
    struct outlet_opts o = OUTLET_OPTS;
    struct server s = {.net = n, .does = &takes};
    struct end e = {.net = n};
    char url[256];
    bool failed;
    bool made;

    snprintf(url, sizeof url, "%s#%sfds=4", at, kinds[kind].frame);
    o.on = &net_server_handlers;
    o.user = &s;
    made = outlet_listen(n->loop, url, &o, &s.l) == OUTLET_OK;
    o.on = &net_handlers;
    o.user = &e;
    if (made && outlet_connect(n->loop, url, &o, &e.c) == OUTLET_OK) {
        int64_t lost = 0;

        for (uint32_t i = 0; i < 3; i++) {
            lost += send_marked(e.c, i, "text") < 0;
        }
        net_begin(n);
        while (!e.closes && !(s.count && (s.ends[0].closes || s.ends[0].messages + lost == 3)) &&
               failing_heap_failed(&n->heap) == 0 && net_step(n)) {
        }
    }
    failed = failing_heap_failed(&n->heap) > 0;
    failing_heap_reset(&n->heap, 0);
    net_run_ms(n, 1);
    net_free_loops(n);
    net_end_fini(&e);
    net_server_fini(&s);
    drop_taken();
    return failed;
}

static void
no_descriptor_stays_when_memory_runs_out(void **state)
{
    (void)state;
    EACH_KIND(i)
    {
        bool failed = true;

        for (uint64_t at = 1; failed; at++) {
            struct net n;
            char place[128];

            net_open(&n, NULL);
            snprintf(place, sizeof place, "%s", net_place(&n, kinds[i].scheme));
            failing_heap_reset(&n.heap, at);
            failed = play(&n, place, i);
            net_close(&n);
            assert_in_range(at, 1, 500);
        }
    }
}

/* ---- refused ----------------------------------------------------------------------------------
 */

static void
try_to_send(struct end *e)
{
    e->results[0] = outlet_send_fd(e->c, -1, "x", 1);
    e->results[1] = outlet_send_fd(e->c, 999, "x", 1);
    e->results[2] = outlet_send_fd(e->c, 0, NULL, 1);
    e->results[3] = outlet_send_fd(e->c, 0, "", 0);
    for (int i = 4; i < 7; i++) {
        e->results[i] = outlet_send_fd(e->c, 0, "x", 1);
    }
}

static void
what_cannot_travel_is_refused(void **state)
{
    static const char *const others[] = {"tcp", "udp", "pair", "unix", "unix-seqpacket"};
    static const struct does tries = {.on_open = try_to_send};
    struct net n;

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct server s = {0};
        struct end e = {.does = &tries};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, others[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens);
        assert_int_equal(e.results[0], OUTLET_EINVAL);
        assert_int_equal(e.results[4], OUTLET_ENOTSUP);
        assert_int_equal(outlet_send_fd(e.c, 0, "x", 1), OUTLET_ENOTSUP);
        net_close(&n);
        assert_int_equal(outlet_send_fd(e.c, 0, "x", 1), OUTLET_ESTALE);
    }
    for (int packet = 0; packet < 2; packet++) {
        struct server s = {0};
        struct end e = {.does = &tries};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#fds=2", net_place(&n, packet ? "unix-seqpacket" : "unix"));
        net_connect(&n, &e, NULL, "%s#fds=2", s.at);
        if (net_is_sim()) { /* it says so, and does not lose them silently */
            UNTIL(&n, e.closes && s.count && s.ends[0].closes);
            assert_true(e.why.code == OUTLET_ENOTSUP || s.ends[0].why.code == OUTLET_ENOTSUP);
            net_close(&n);
            continue;
        }
        UNTIL(&n, e.opens);
        assert_int_equal(e.results[0], OUTLET_EINVAL);
        assert_int_equal(e.results[1], OUTLET_EINVAL);
        assert_int_equal(e.results[2], OUTLET_EINVAL);
        assert_int_equal(e.results[3], OUTLET_EINVAL);
        assert_true(e.results[4] >= 0 && e.results[5] >= 0);
        assert_int_equal(e.results[6], OUTLET_EFULL);
        assert_int_equal(outlet_send_fd(e.c, 0, "", 0), OUTLET_EINVAL);
        for (int i = 0; i < 3; i++) {
            e.results[7 + i] = outlet_send_fd(e.c, 0, "x", 1); /* by mail */
        }
        assert_true(e.results[7] >= 0 && e.results[8] >= 0);
        assert_int_equal(e.results[9], OUTLET_EFULL);
        UNTIL(&n, s.count && s.ends[0].len == 4);
        net_close(&n);
        net_server_fini(&s);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_comes_with_the_message_that_it_was_sent_with),
    cmocka_unit_test(they_pass_the_mailbox_and_come_with_bytes_without_borders),
    cmocka_unit_test(many_go_a_few_at_a_time_and_stay_in_order),
    cmocka_unit_test(a_socket_that_was_passed_becomes_a_connection),
    cmocka_unit_test(what_nobody_takes_is_closed),
    cmocka_unit_test(where_they_are_off_none_is_taken),
    cmocka_unit_test(more_than_allowed_end_the_connection),
    cmocka_unit_test(as_many_as_allowed_may_come_at_once),
    cmocka_unit_test(the_end_of_a_connection_closes_those_that_are_under_way),
    cmocka_unit_test(what_was_held_by_a_pause_comes_with_its_message),
    cmocka_unit_test(a_full_table_is_said_to_be_full),
    cmocka_unit_test(no_descriptor_stays_when_memory_runs_out),
    cmocka_unit_test(what_cannot_travel_is_refused),
};

NET_MAIN(tests)
