/*
 * given_test.c - sockets that the program has already: fd:3 and fd:systemd/name.
 *
 * They are real ones, so the simulator only says that it has none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PASSED = 4 /* descriptors from 3 on that a test may be given */ };

static int
inet_socket(int family, int type, bool listens)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (family == AF_INET)
        assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof v4), 0);
    else
        assert_int_equal(bind(fd, (struct sockaddr *)&v6, sizeof v6), 0);
    if (listens)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int
unix_socket(int type, const char *path, bool listens)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_true(strlen(path) < sizeof name.sun_path);
    memcpy(name.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    if (listens)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static unsigned
port_of(int fd)
{
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    return ntohs(name.sin6_port); /* at the same place in both families */
}

/* A message there and back, then the end. */
static void
talk(struct net *n, const char *url, int64_t size)
{
    struct end e = {0};
    uint8_t bytes[4000];

    assert_true((size_t)size <= sizeof bytes);
    net_pattern(bytes, (size_t)size, 7);
    net_connect(n, &e, NULL, "%s", url);
    assert_true(outlet_send(e.c, bytes, (size_t)size) >= 0);
    UNTIL(n, e.len == (size_t)size || e.closes);
    assert_int_equal(e.len, size);
    assert_memory_equal(e.bytes, bytes, (size_t)size);
    assert_int_equal(outlet_close(e.c), OUTLET_OK);
    UNTIL(n, e.closes);
    assert_int_equal(e.why.code, OUTLET_OK);
    net_end_fini(&e);
}

static const char *
told(outlet_listener l, const char *key)
{
    static char text[128];

    assert_true(outlet_listener_info(l, key, text, sizeof text) >= 0);
    return text;
}

/* ---- listening --------------------------------------------------------------------------------
 */

/* What is closed is our duplicate: the socket goes on to listen for whoever else has it. */
static void
a_listener_that_was_given_is_used_and_left_as_it_was(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};

    (void)state;
    if (net_is_sim())
        return;
    for (int i = 0; i < 2; i++) {
        struct server s = {.does = &net_echoes};
        int fd = inet_socket(families[i], SOCK_STREAM, true);
        char url[64];
        struct net n;

        net_open(&n, NULL);
        snprintf(url, sizeof url, "tcp://%s:%u", i ? "[::1]" : "127.0.0.1", port_of(fd));
        for (int round = 0; round < 2; round++) {
            net_listen(&n, &s, NULL, "fd:%d#idle_ms=60s", fd);
            assert_string_equal(told(s.l, "transport"), "tcp");
            assert_string_equal(told(s.l, "local"), url + 6);
            assert_int_equal(strncmp(told(s.l, "url"), "fd:", 3), 0);
            talk(&n, url, 3000);
            talk(&n, url, 1);
            assert_int_equal(net_listener_number(&s, "accepted"), 2);
            assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
            net_run_ms(&n, 5);
            net_server_fini(&s);
        }
        net_close(&n);
        {
            int value;
            socklen_t len = sizeof value;

            assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
            assert_int_equal(value, 1);
        }
        close(fd);
    }
}

enum { WAITING = 12, RATE = 50, BURST = 5 };

static int64_t came_at[WAITING];

static int
note_when(struct end *e)
{
    if (e->server->count <= WAITING)
        came_at[e->server->count - 1] = net_now_ms(e->net);
    return 0;
}

/* Who waited in the backlog before we were there is above the rate like anybody else. */
static void
a_listener_that_was_given_keeps_its_rate(void **state)
{
    static const struct does notes_when = {.on_accept = note_when};
    struct server s = {.does = &notes_when};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = inet_socket(AF_INET, SOCK_STREAM, true);
    int clients[WAITING];
    struct net n;
    int64_t began;

    (void)state;
    to.sin_port = htons((uint16_t)port_of(fd));
    for (int i = 0; i < WAITING; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    if (!net_is_sim()) {
        net_open(&n, NULL);
        began = net_now_ms(&n);
        net_listen(&n, &s, NULL, "fd:%d#accepts_per_second=%d", fd, RATE);
        UNTIL(&n, s.count == WAITING && s.ends[WAITING - 1].opens);
        for (int i = BURST; i < WAITING; i++) {
            int64_t due = began + (int64_t)(i + 1 - BURST) * 1000 / RATE;

            if (came_at[i] + 1 < due)
                fail_msg("client %d came %d ms too early", i, (int)(due - came_at[i]));
        }
        assert_true(net_listener_number(&s, "pauses") > 0);
        net_server_fini(&s);
        net_close(&n);
    }
    for (int i = 0; i < WAITING; i++) {
        close(clients[i]);
    }
    close(fd);
}

static void
the_file_of_a_path_that_somebody_else_bound_stays(void **state)
{
    struct server s = {.does = &net_echoes};
    struct end e = {0};
    struct net n;
    struct stat st;
    const char *at;
    char path[128];
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    at = net_place(&n, "unix");
    snprintf(path, sizeof path, "%s", at + 7);
    fd = unix_socket(SOCK_STREAM, path, true);
    net_listen(&n, &s, NULL, "fd:%d#frame=line", fd);
    assert_string_equal(told(s.l, "transport"), "unix");
    net_connect(&n, &e, NULL, "unix://%s#frame=line", path);
    assert_true(outlet_send(e.c, "one", 3) >= 0);
    assert_true(outlet_send(e.c, "two", 3) >= 0);
    UNTIL(&n, e.messages == 2);
    assert_memory_equal(e.bytes, "onetwo", 6);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_run_ms(&n, 5);
    net_free_loops(&n);
    assert_int_equal(stat(path, &st), 0);
    close(fd);
    assert_int_equal(unlink(path), 0);
    n.files = net_files();
    net_close(&n);
    net_end_fini(&e);
    net_server_fini(&s);
}

static void
a_udp_socket_that_was_given_has_peers(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};

    (void)state;
    if (net_is_sim())
        return;
    for (int i = 0; i < 2; i++) {
        struct server s = {.does = &net_echoes};
        int fd = inet_socket(families[i], SOCK_DGRAM, false);
        char url[64];
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "fd:%d", fd);
        assert_string_equal(told(s.l, "transport"), "udp");
        snprintf(url, sizeof url, "udp://%s:%u", i ? "[::1]" : "127.0.0.1", port_of(fd));
        talk(&n, url, 1000);
        talk(&n, url, 4000);
        assert_int_equal(s.count, 2);
        net_close(&n);
        close(fd);
        net_server_fini(&s);
    }
}

/* One of them is always faster to accept; the others must neither wait in accept() nor fail. */
static void
a_listener_is_shared_with_another_loop_and_with_a_plain_program(void **state)
{
    struct server a = {.does = &net_echoes};
    struct server b = {.does = &net_echoes};
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct outlet_opts o = OUTLET_OPTS;
    struct net n;
    outlet_loop *other;
    char url[64];
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    fd = inet_socket(AF_INET, SOCK_STREAM, true);
    net_open(&n, NULL);
    other = net_another_loop(&n, &opts);
    net_listen(&n, &a, NULL, "fd:%d", fd);
    b.net = &n;
    o.on = &net_server_handlers;
    o.user = &b;
    snprintf(url, sizeof url, "fd:%d", fd);
    assert_int_equal(outlet_listen(other, url, &o, &b.l), OUTLET_OK);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%u", port_of(fd));
    for (int i = 0; i < 20; i++) {
        int got;

        talk(&n, url, 100);
        got = accept(fd, NULL, NULL); /* nobody is there any more: it does not wait either */
        assert_int_equal(got, -1);
        assert_int_equal(errno, EAGAIN);
    }
    assert_int_equal(net_listener_number(&a, "accepted") + net_listener_number(&b, "accepted"), 20);
    net_close(&n);
    close(fd);
    net_server_fini(&a);
    net_server_fini(&b);
}

static void
one_reactor_accepts_and_all_have_connections(void **state)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener l;
    outlet_loop *loop;
    int clients[6];
    char url[32];
    char text[32] = "";
    int before = net_files();
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    fd = inet_socket(AF_INET, SOCK_STREAM, true);
    opts.threads = 3;
    opts.driver = net_driver();
    assert_int_equal(outlet_loop_new(&loop, &opts), OUTLET_OK);
    snprintf(url, sizeof url, "fd:%d", fd);
    assert_int_equal(outlet_listen(loop, url, &o, &l), OUTLET_OK);
    assert_int_equal(outlet_loop_start(loop), OUTLET_OK);
    for (int i = 0; i < 6; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port_of(fd)),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};

        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&in, sizeof in), 0);
    }
    for (int i = 0; i < 10000 && strcmp(text, "6") != 0; i++) {
        (void)poll(NULL, 0, 1);
        assert_true(outlet_listener_info(l, "connections", text, sizeof text) > 0);
    }
    assert_string_equal(text, "6");
    assert_int_equal(outlet_loop_free(loop), OUTLET_OK);
    for (int i = 0; i < 6; i++) {
        close(clients[i]);
    }
    close(fd);
    assert_int_equal(net_files(), before);
}

/* ---- connecting -------------------------------------------------------------------------------
 */

static void
a_connected_socket_becomes_a_connection(void **state)
{
    struct end e = {0};
    struct net n;
    char text[16];
    int pair[2];

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    net_connect(&n, &e, NULL, "fd:%d#frame=line", pair[0]);
    close(pair[0]); /* a duplicate is used */
    assert_true(outlet_send(e.c, "early", 5) >= 0);
    UNTIL(&n, e.opens && outlet_queued(e.c) == 0);
    assert_int_equal(read(pair[1], text, sizeof text), 6);
    assert_memory_equal(text, "early\n", 6);
    assert_int_equal(write(pair[1], "a\nbc\n", 5), 5);
    UNTIL(&n, e.messages == 2);
    assert_memory_equal(e.bytes, "abc", 3);
    assert_int_equal(outlet_info(e.c, "transport", text, sizeof text), 4);
    assert_string_equal(text, "unix");
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
    UNTIL(&n, e.closes);
    assert_int_equal(e.why.code, OUTLET_OK);
    assert_int_equal(e.why.side, OUTLET_BY_PEER);
    assert_int_equal(read(pair[1], text, sizeof text), 0);
    assert_string_equal(e.story, "OMC");
    close(pair[1]);
    net_close(&n);
    net_end_fini(&e);
}

static void
tcp_and_udp_sockets_too(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

    (void)state;
    if (net_is_sim())
        return;
    for (int i = 0; i < 2; i++) {
        int there = inet_socket(AF_INET, types[i], types[i] == SOCK_STREAM);
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port_of(there)),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int here = socket(AF_INET, types[i] | SOCK_CLOEXEC, 0);
        struct server s = {.does = &net_echoes};
        struct end e = {0};
        struct net n;
        char local[64];

        assert_int_equal(connect(here, (struct sockaddr *)&in, sizeof in), 0);
        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "fd:%d", there);
        net_connect(&n, &e, NULL, "fd:%d%s", here, i ? "#dscp=cs1" : "#nodelay=off,keepalive_s=77");
        UNTIL(&n, e.opens);
        {
            int value = 0;
            socklen_t len = sizeof value;

            assert_int_equal(i ? getsockopt(here, IPPROTO_IP, IP_TOS, &value, &len)
                               : getsockopt(here, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len),
                             0);
            assert_int_equal(value, i ? 8 << 2 : 77);
        }
        snprintf(local, sizeof local, "127.0.0.1:%u", port_of(there));
        {
            char peer[64];

            assert_true(outlet_info(e.c, "peer", peer, sizeof peer) > 0);
            assert_string_equal(peer, local);
            assert_true(outlet_info(e.c, "local", peer, sizeof peer) > 0);
            snprintf(local, sizeof local, "127.0.0.1:%u", port_of(here));
            assert_string_equal(peer, local);
        }
        assert_true(outlet_send(e.c, "ping", 4) >= 0);
        UNTIL(&n, e.len == 4);
        assert_int_equal(outlet_close(e.c), OUTLET_OK);
        UNTIL(&n, e.closes);
        net_close(&n);
        close(here);
        close(there);
        net_end_fini(&e);
        net_server_fini(&s);
    }
}

/* The duplicate waits for its reactor when the end comes. */
static void
a_loop_that_ends_at_once_loses_no_descriptor(void **state)
{
    struct end e[3] = {{0}};
    struct net n;
    int pair[2];

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    net_connect(&n, &e[0], NULL, "fd:%d", pair[0]);
    net_connect(&n, &e[1], NULL, "fd:%d", pair[0]); /* twice: each has its own duplicate */
    assert_int_equal(outlet_close(e[0].c), OUTLET_OK);
    UNTIL(&n, e[0].closes && e[1].opens);
    assert_int_equal(e[0].why.code, OUTLET_ECANCELED);
    net_connect(&n, &e[2], NULL, "fd:%d", pair[1]);
    close(pair[0]);
    close(pair[1]);
    net_close(&n);
    assert_int_equal(e[1].closes + e[2].closes, 2);
}

/* ---- refused ----------------------------------------------------------------------------------
 */

static void
refuses(struct net *n, enum outlet_role role, outlet_err code, const char *says, const char *url,
        int fd)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener l = {0};
    outlet_conn c = {0};
    char text[64];
    outlet_err err;

    o.why = &why;
    snprintf(text, sizeof text, url, fd);
    err = role == OUTLET_TO_LISTEN ? outlet_listen(n->loop, text, &o, &l)
                                   : outlet_connect(n->loop, text, &o, &c);
    if (code == 0)
        code = err; /* one or the other */
    if (err != code || err >= 0 || !strstr(why.text, says))
        fail_msg("%s: %d, %s", text, err, why.text);
    assert_int_equal(why.code, code);
    assert_int_equal(l.id + c.id, 0);
}

static void
what_cannot_be_used_is_refused_with_the_reason(void **state)
{
    struct net n;
    int pair[2];
    int pipes[2];
    int tcp;
    int udp;
    int lone;

    (void)state;
    net_open(&n, NULL);
    if (net_is_sim()) {
        refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOTSUP, "simulator has no real sockets", "fd:%d", 0);
        refuses(&n, OUTLET_TO_CONNECT, OUTLET_ENOTSUP, "simulator has no real sockets", "fd:%d", 0);
        net_close(&n);
        return;
    }
    tcp = inet_socket(AF_INET, SOCK_STREAM, true);
    udp = inet_socket(AF_INET, SOCK_DGRAM, false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "descriptor 999 is not open", "fd:%d", 999);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_ENOENT, "is not open", "fd:%d", 999);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "is no socket", "fd:%d", pipes[0]);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "unix socket that is connected", "fd:%d", pair[0]);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "tcp socket that listens", "fd:%d", tcp);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "udp socket that is not connected", "fd:%d", udp);
    lone = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "tcp socket that does not listen", "fd:%d", lone);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "tcp socket that is not conn", "fd:%d", lone);
    close(lone);
    lone = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "bound to no address", "fd:%d", lone);
    close(lone);
    lone = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOTSUP, "no kind that outlet speaks", "fd:%d", lone);
    close(lone);

    /* Options that this kind of socket has no use for, with their place. */
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "udp keeps its own", "fd:%d#frame=line", udp);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "with unix", "fd:%d#nodelay=off", pair[0]);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "at most 65507", "fd:%d#max=1M", udp);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "borders", "fd:%d#full=drop_old", tcp);
    close(tcp);
    close(udp);
    close(pair[0]);
    close(pair[1]);
    close(pipes[0]);
    close(pipes[1]);
    net_close(&n);
}

/* ---- the service manager ----------------------------------------------------------------------
 */

static int moved[PASSED];

/* Away from where sockets are passed. */
static int
lift(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 200);

    assert_true(high >= 0);
    close(fd);
    return high;
}

/* Descriptors 3 and up are what the test says; whoever was there stands aside. */
static void
pass(const int *fds, int count, const char *names)
{
    char text[32];

    for (int i = 0; i < PASSED; i++) {
        moved[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 100);
        if (moved[i] >= 0)
            close(3 + i);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(dup2(fds[i], 3 + i), 3 + i);
    }
    snprintf(text, sizeof text, "%d", count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
}

static void
pass_no_more(int count)
{
    for (int i = 0; i < PASSED; i++) {
        if (i < count)
            close(3 + i);
        if (moved[i] >= 0) {
            assert_int_equal(dup2(moved[i], 3 + i), 3 + i);
            close(moved[i]);
        }
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

static void
sockets_of_one_name_are_one_listener(void **state)
{
    struct server s = {.does = &net_echoes};
    struct server dns = {.does = &net_echoes};
    struct net n;
    char url[3][64];
    int fds[3];

    (void)state;
    if (net_is_sim())
        return;
    fds[0] = lift(inet_socket(AF_INET, SOCK_STREAM, true));
    fds[1] = lift(inet_socket(AF_INET, SOCK_DGRAM, false));
    fds[2] = lift(inet_socket(AF_INET6, SOCK_STREAM, true));
    snprintf(url[0], sizeof url[0], "tcp://127.0.0.1:%u", port_of(fds[0]));
    snprintf(url[1], sizeof url[1], "udp://127.0.0.1:%u", port_of(fds[1]));
    snprintf(url[2], sizeof url[2], "tcp://[::1]:%u", port_of(fds[2]));
    pass(fds, 3, "web:dns:web");
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "fd:systemd/web#idle_ms=off");
    net_listen(&n, &dns, NULL, "fd:systemd/dns");
    assert_string_equal(told(s.l, "url"), "fd:systemd/web#idle_ms=off");
    assert_string_equal(told(s.l, "local"), url[0] + 6);
    assert_string_equal(told(dns.l, "transport"), "udp");
    talk(&n, url[0], 10);
    talk(&n, url[1], 11);
    talk(&n, url[2], 12);
    assert_int_equal(net_listener_number(&s, "accepted"), 2);
    assert_string_equal(getenv("LISTEN_FDS"), "3"); /* read, and left */
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_EINVAL, "tcp and udp; name them apart", "fd:systemd", 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT,
            "is called `web2`; LISTEN_FDNAMES is `web:dns:web`", "fd:systemd/web2", 0);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "is called `we`", "fd:systemd/we", 0);
    net_close(&n);
    pass_no_more(3);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    net_server_fini(&s);
    net_server_fini(&dns);
}

static void
without_a_name_all_are_meant(void **state)
{
    struct server s = {.does = &net_echoes};
    struct server again = {.does = &net_echoes};
    struct end e = {0};
    struct net n;
    char url[2][64];
    int fds[2];

    (void)state;
    if (net_is_sim())
        return;
    fds[0] = lift(inet_socket(AF_INET, SOCK_STREAM, true));
    fds[1] = lift(inet_socket(AF_INET, SOCK_STREAM, true));
    for (int i = 0; i < 2; i++) {
        snprintf(url[i], sizeof url[i], "tcp://127.0.0.1:%u", port_of(fds[i]));
    }
    pass(fds, 2, NULL);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "fd:systemd");
    talk(&n, url[0], 10);
    talk(&n, url[1], 10);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    net_listen(&n, &again, NULL, "fd:systemd/unknown"); /* what systemd calls them without names */
    talk(&n, url[1], 10);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "tcp socket that listens", "fd:systemd", 0);
    net_close(&n);
    pass_no_more(2);
    close(fds[0]);
    close(fds[1]);
    net_server_fini(&s);
    net_server_fini(&again);

    /* Accept=yes: one connected socket. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fds[0] = lift(fds[0]);
    fds[1] = lift(fds[1]);
    pass(fds, 1, "connection");
    net_open(&n, NULL);
    net_connect(&n, &e, NULL, "fd:systemd/connection");
    assert_int_equal(write(fds[1], "hi", 2), 2);
    UNTIL(&n, e.len == 2);
    net_close(&n);
    pass_no_more(1);
    pass(fds, 2, "x:x");
    net_open(&n, NULL);
    refuses(&n, OUTLET_TO_CONNECT, OUTLET_EINVAL, "2 sockets are meant", "fd:systemd/x", 0);
    net_close(&n);
    pass_no_more(2);
    close(fds[0]);
    close(fds[1]);
    net_end_fini(&e);
}

static void
sockets_for_somebody_else_are_not_taken(void **state)
{
    static const char *const bad[] = {"", "x", "-1", "1x", "99999999999999999999"};
    struct net n;
    int fd;

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    unsetenv("LISTEN_FDS");
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "no service manager", "fd:systemd", 0);
    net_close(&n);
    fd = lift(inet_socket(AF_INET, SOCK_STREAM, true));
    pass(&fd, 1, "a");
    net_open(&n, NULL);
    setenv("LISTEN_PID", "1", 1);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "for another process", "fd:systemd", 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("LISTEN_PID", bad[i], 1);
        refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "no service manager", "fd:systemd", 0);
    }
    net_close(&n);
    pass_no_more(1);
    pass(&fd, 0, "a");
    net_open(&n, NULL);
    refuses(&n, OUTLET_TO_LISTEN, OUTLET_ENOENT, "LISTEN_FDS is 0", "fd:systemd", 0);
    net_close(&n);
    pass_no_more(0);
    /* More are announced than there are. */
    pass(&fd, 1, "a");
    setenv("LISTEN_FDS", "990", 1);
    unsetenv("LISTEN_FDNAMES");
    net_open(&n, NULL);
    refuses(&n, OUTLET_TO_LISTEN, 0, "descriptor 4 is no", "fd:systemd/unknown", 0);
    net_close(&n);
    pass_no_more(1);
    close(fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_listener_that_was_given_is_used_and_left_as_it_was),
    cmocka_unit_test(a_listener_that_was_given_keeps_its_rate),
    cmocka_unit_test(the_file_of_a_path_that_somebody_else_bound_stays),
    cmocka_unit_test(a_udp_socket_that_was_given_has_peers),
    cmocka_unit_test(a_listener_is_shared_with_another_loop_and_with_a_plain_program),
    cmocka_unit_test(one_reactor_accepts_and_all_have_connections),
    cmocka_unit_test(a_connected_socket_becomes_a_connection),
    cmocka_unit_test(tcp_and_udp_sockets_too),
    cmocka_unit_test(a_loop_that_ends_at_once_loses_no_descriptor),
    cmocka_unit_test(what_cannot_be_used_is_refused_with_the_reason),
    cmocka_unit_test(sockets_of_one_name_are_one_listener),
    cmocka_unit_test(without_a_name_all_are_meant),
    cmocka_unit_test(sockets_for_somebody_else_are_not_taken),
};

NET_MAIN(tests)
