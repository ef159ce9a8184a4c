/*
 * local_test.c - unix-dgram: datagrams of this machine, a connection for each peer that has a name.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LONGEST = 262144 };

static uint8_t block[LONGEST + 1];

/* A plain socket at `path`; NULL: without a name. */
static int
raw(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (path) {
        assert_true(strlen(path) < sizeof un.sun_path);
        memcpy(un.sun_path, path, strlen(path) + 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    }
    return fd;
}

static ssize_t
raw_send(int fd, const struct server *s, const char *text)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = s->at + strlen("unix-dgram://");

    assert_true(strlen(path) < sizeof un.sun_path);
    memcpy(un.sun_path, path, strlen(path) + 1);
    return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&un, sizeof un);
}

static const char *
info(outlet_conn c, const char *key)
{
    static char text[256];

    assert_true(outlet_info(c, key, text, sizeof text) >= 0);
    return text;
}

/* ---- there and back ---------------------------------------------------------------------------
 */

static void
messages_of_any_length_go_both_ways(void **state)
{
    static const size_t sizes[] = {0, 1, 1400, 65507, 65536, 200000, LONGEST};
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct net n;
    size_t at = 0;

    (void)state;
    net_pattern(block, sizeof block, 9);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
    net_connect(&n, &e, NULL, "%s", s.at);
    for (size_t i = 0; i < 7; i++) {
        assert_true(outlet_send(e.c, block, sizes[i]) >= 0);
        UNTIL(&n, e.messages == i + 1);
        assert_int_equal(e.sizes[i], sizes[i]);
        if (sizes[i])
            assert_memory_equal(e.bytes + at, block, sizes[i]);
        at += sizes[i];
    }
    assert_int_equal(e.flags, 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(outlet_send(e.c, block, LONGEST + 1), OUTLET_EMSGSIZE);
    assert_int_equal(outlet_end(e.c), OUTLET_ENOTSUP);
    assert_string_equal(info(e.c, "transport"), "unix-dgram");
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
each_peer_with_a_name_is_a_connection(void **state)
{
    struct server s = {.does = &net_echoes};
    struct end e[5] = {{0}};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "unix-dgram:@outlet-test-%d-local", (int)getpid());
    for (int i = 0; i < 5; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    for (size_t round = 1; round <= 3; round++) {
        for (int i = 0; i < 5; i++) {
            char text[16];

            snprintf(text, sizeof text, "%d", i);
            assert_true(outlet_send(e[i].c, text, 1) >= 0);
            UNTIL(&n, e[i].messages == round);
            assert_int_equal(e[i].bytes[round - 1], text[0]);
        }
    }
    assert_int_equal(s.count, 5);
    for (int i = 0; i < 5; i++) {
        char name[256];

        snprintf(name, sizeof name, "%s", info(s.ends[i].c, "peer"));
        assert_int_equal(name[0], '@'); /* the kernel picked it */
        assert_string_equal(info(e[i].c, "local"), name);
        assert_string_equal(info(e[i].c, "peer"), s.at);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(info(s.ends[k].c, "peer"), name);
        }
    }
    assert_int_equal(outlet_close(s.ends[2].c), OUTLET_OK);
    UNTIL(&n, s.ends[2].closes);
    assert_true(outlet_send(e[2].c, "a", 1) >= 0);
    UNTIL(&n, s.count == 6 && e[2].messages == 4); /* a new one */
    net_close(&n);
    for (int i = 0; i < 5; i++) {
        net_end_fini(&e[i]);
    }
    net_server_fini(&s);
}

static void
send_many(struct end *e)
{
    for (uint32_t i = 0; i < 2000; i++) {
        e->results[0] += outlet_send(e->c, &i, sizeof i) < 0;
    }
}

/* More than a send buffer holds. */
static void
send_much(struct end *e)
{
    for (int i = 0; i < 2000; i++) {
        e->results[0] += outlet_send(e->c, block, 5000) < 0;
    }
}

static void
pause_at_first(struct end *e, outlet_msg *m)
{
    (void)m;
    if (e->messages == 1)
        e->result = outlet_pause(e->c);
}

/* Whose queue is full makes others wait, and what waits arrives: also at a peer of a listener, of
 * whose room the kernel does not tell. */
static void
a_burst_waits_for_room_and_nothing_is_lost(void **state)
{
    static const struct does bursts = {.on_open = send_many};
    static const struct does answers = {.on_message = NULL};

    (void)state;
    for (int back = 0; back < 2; back++) {
        struct server s = {.does = back ? &bursts : &answers};
        struct end e = {.does = back ? &answers : &bursts};
        struct end *to = back ? &e : &s.ends[0];
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
        net_connect(&n, &e, NULL, "%s", s.at);
        if (back)
            assert_true(outlet_send(e.c, "come", 4) >= 0);
        UNTIL(&n, to->messages == 2000);
        for (uint32_t i = 0; i < 2000; i++) {
            uint32_t got;

            memcpy(&got, to->bytes + i * sizeof got, sizeof got);
            assert_int_equal(got, i);
        }
        net_close(&n);
        net_end_fini(&e);
        net_server_fini(&s);
    }
}

/* It reads nothing, and the loop must not look for room all the time: only stall_ms ends it. */
static void
a_peer_that_reads_nothing_is_given_up(void **state)
{
    static const struct does bursts = {.on_open = send_much};
    static const struct does pauses = {.on_message = pause_at_first};
    struct server s = {.does = &bursts};
    struct end e = {.does = &pauses};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#stall_ms=60", net_place(&n, "unix-dgram"));
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "come", 4) >= 0);
    UNTIL(&n, s.count && s.ends[0].closes);
    assert_int_equal(s.ends[0].why.code, OUTLET_ETIMEDOUT);
    assert_true(e.messages >= 1);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

/* ---- who cannot be answered -------------------------------------------------------------------
 */

static void
who_has_no_name_is_heard_and_not_answered(void **state)
{
    struct server s = {.does = &net_echoes};
    struct net n;
    int fd[2];

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
    fd[0] = raw(NULL);
    fd[1] = raw(NULL);
    assert_int_equal(raw_send(fd[0], &s, "one"), 3);
    assert_int_equal(raw_send(fd[1], &s, "two"), 3);
    UNTIL(&n, s.count && s.ends[0].messages == 2 && s.ends[0].events == 2);
    assert_int_equal(s.count, 1); /* nobody knows one from the other */
    assert_string_equal(info(s.ends[0].c, "peer"), "");
    assert_int_equal(s.ends[0].event, OUTLET_EVENT_PEER_ERROR);
    assert_int_equal(s.ends[0].value, ENOTCONN);
    assert_int_equal(s.ends[0].closes, 0);
    close(fd[0]);
    close(fd[1]);
    net_close(&n);
    net_server_fini(&s);
}

static void
a_plain_program_is_answered_at_its_name(void **state)
{
    struct server s = {.does = &net_echoes};
    struct net n;
    char path[160];
    char text[16];
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
    snprintf(path, sizeof path, "%.100s/peer", n.dir);
    fd = raw(path);
    assert_int_equal(raw_send(fd, &s, "hello"), 5);
    assert_int_equal(raw_send(fd, &s, ""), 0);
    UNTIL(&n, s.count && s.ends[0].messages == 2 && outlet_queued(s.ends[0].c) == 0);
    net_run_ms(&n, 1);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), 5);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), 0);
    assert_string_equal(info(s.ends[0].c, "peer"), path);
    close(fd);
    assert_int_equal(unlink(path), 0);

    /* It is gone: the kernel says so, and that is no end. */
    assert_true(outlet_send(s.ends[0].c, "anybody?", 8) >= 0);
    UNTIL(&n, s.ends[0].events == 1);
    assert_int_equal(s.ends[0].value, ENOENT);
    assert_int_equal(s.ends[0].closes, 0);
    net_close(&n);
    net_server_fini(&s);
}

static void
to_anybody_without_a_connection(void **state)
{
    struct server a = {.does = NULL};
    struct server b = {.does = &net_echoes};
    struct net n;
    char tcp[] = "udp://127.0.0.1:1";

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &a, NULL, "%s", net_place(&n, "unix-dgram"));
    net_listen(&n, &b, NULL, "unix-dgram:@outlet-test-%d-to", (int)getpid());
    assert_int_equal(outlet_send_to(a.l, b.at, "hello", 5), 0);
    UNTIL(&n, a.count && a.ends[0].messages == 1); /* the answer is its first message */
    assert_memory_equal(a.ends[0].bytes, "hello", 5);
    assert_int_equal(b.count, 1);
    assert_int_equal(outlet_send_to(a.l, tcp, "x", 1), OUTLET_EINVAL);
    net_close(&n);
    net_server_fini(&a);
    net_server_fini(&b);
}

/* ---- places -----------------------------------------------------------------------------------
 */

static void
the_path_is_ours_until_the_listener_closes(void **state)
{
    struct outlet_opts o = OUTLET_OPTS;
    struct server s = {0};
    struct end e[2] = {{0}};
    struct net n;
    outlet_listener l;
    struct stat st;
    char at[160];
    const char *path;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#mode=0600", net_place(&n, "unix-dgram"));
    snprintf(at, sizeof at, "%s", s.at);
    path = at + strlen("unix-dgram://");
    assert_int_equal(outlet_listen(n.loop, at, &o, &l), OUTLET_EADDRINUSE);
    if (!net_is_sim()) {
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_run_ms(&n, 5);
    assert_int_equal(stat(path, &st), -1);
    if (!net_is_sim())
        close(raw(path)); /* a stale one, which nobody is bound to any more */
    net_listen(&n, &s, NULL, "%s", at);
    net_connect(&n, &e[0], NULL, "%s", at);
    net_connect(&n, &e[1], NULL, "%sx", at);
    UNTIL(&n, e[0].opens && e[1].closes);
    assert_int_equal(e[1].why.code, OUTLET_ENOENT);
    assert_int_equal(e[1].why.phase, OUTLET_AT_CONNECT);
    net_close(&n);
    net_server_fini(&s);
}

static void
the_listener_goes_and_the_client_is_told(void **state)
{
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
    net_connect(&n, &e, NULL, "%s", s.at);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.messages);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    assert_int_equal(outlet_abort(s.ends[0].c),
                     OUTLET_OK); /* the last peer: the socket goes, too */
    UNTIL(&n, s.ends[0].closes);
    net_run_ms(&n, 5);
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, e.events);
    assert_int_equal(e.event, OUTLET_EVENT_PEER_ERROR);
    assert_true(e.value == ECONNREFUSED || e.value == ECONNRESET);
    assert_int_equal(e.closes, 0);
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
limits_hold_as_for_udp(void **state)
{
    struct server s = {.does = &net_echoes};
    struct end e[3] = {{0}};
    struct net n;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#conns=2,idle_ms=80", net_place(&n, "unix-dgram"));
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
        assert_true(outlet_send(e[i].c, "x", 1) >= 0);
        UNTIL(&n, e[i].messages == 1);
    }
    assert_int_equal(s.count, 3);
    UNTIL(&n, s.ends[0].closes); /* the longest silent one gave way */
    assert_int_equal(s.ends[0].why.code, OUTLET_ELIMIT);
    UNTIL(&n, s.ends[1].closes && s.ends[2].closes);
    assert_int_equal(s.ends[2].why.code, OUTLET_ETIMEDOUT);
    net_close(&n);
    for (int i = 0; i < 3; i++) {
        net_end_fini(&e[i]);
    }
    net_server_fini(&s);
}

/* What a peer sends along is none of ours: it would stay in our table for ever. */
static void
descriptors_that_nobody_asked_for_are_not_taken(void **state)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {.bytes = {0}};
    int fds[4] = {0, 1, 2, 0};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct iovec piece = {(char[]){"x"}, 1};
    struct msghdr head = {.msg_name = &un,
                          .msg_namelen = sizeof un,
                          .msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = sizeof control};
    struct server s = {0};
    struct net n;
    const char *path;
    int before;
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix-dgram"));
    path = s.at + strlen("unix-dgram://");
    memcpy(un.sun_path, path, strlen(path) + 1);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(&control.head), fds, sizeof fds);
    fd = raw(NULL);
    assert_int_equal(raw_send(fd, &s, "x"), 1);
    UNTIL(&n, s.count && s.ends[0].messages == 1);
    before = net_files();
    for (size_t i = 2; i < 10; i++) {
        assert_int_equal(sendmsg(fd, &head, 0), 1);
        UNTIL(&n, s.ends[0].messages == i);
    }
    assert_int_equal(net_files(), before);
    close(fd);
    net_close(&n);
    net_server_fini(&s);
}

static void
sockets_of_this_kind_can_be_given(void **state)
{
    struct server s = {.does = &net_echoes};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts o = OUTLET_OPTS;
    struct end e = {0};
    struct net n;
    outlet_listener l;
    char path[160];
    char url[32];
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    (void)net_place(&n, "unix-dgram");
    snprintf(path, sizeof path, "%.100s/given", n.dir);
    fd = raw(path);
    net_listen(&n, &s, NULL, "fd:%d", fd);
    net_connect(&n, &e, NULL, "unix-dgram://%s", path);
    assert_true(outlet_send(e.c, block, 100000) >= 0);
    UNTIL(&n, e.len == 100000);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    close(fd);
    fd = raw(NULL);
    snprintf(url, sizeof url, "fd:%d", fd);
    o.why = &why;
    assert_int_equal(outlet_listen(n.loop, url, &o, &l), OUTLET_EINVAL);
    assert_non_null(strstr(why.text, "bound to no address"));
    close(fd);
    net_free_loops(&n);
    assert_int_equal(unlink(path), 0); /* somebody else made it */
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(messages_of_any_length_go_both_ways),
    cmocka_unit_test(each_peer_with_a_name_is_a_connection),
    cmocka_unit_test(a_burst_waits_for_room_and_nothing_is_lost),
    cmocka_unit_test(a_peer_that_reads_nothing_is_given_up),
    cmocka_unit_test(who_has_no_name_is_heard_and_not_answered),
    cmocka_unit_test(a_plain_program_is_answered_at_its_name),
    cmocka_unit_test(to_anybody_without_a_connection),
    cmocka_unit_test(the_path_is_ours_until_the_listener_closes),
    cmocka_unit_test(the_listener_goes_and_the_client_is_told),
    cmocka_unit_test(limits_hold_as_for_udp),
    cmocka_unit_test(descriptors_that_nobody_asked_for_are_not_taken),
    cmocka_unit_test(sockets_of_this_kind_can_be_given),
};

NET_MAIN(tests)
