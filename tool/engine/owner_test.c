/*
 * owner_test.c - this process finds itself behind its own sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A socket at a port of the kernel's choice on 127.0.0.1, or -1. */
static int
bind_inet(int type, int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&at, len) != 0 || (type == SOCK_STREAM && listen(fd, 1) != 0) ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(at.sin_port);
    return fd;
}

static void
find_own(int type, const char *scheme)
{
    struct eng_url url = {.host = "127.0.0.1"};
    struct eng_owner owner;
    int fd = bind_inet(type, &url.port);

    assert_true(fd >= 0);
    snprintf(url.scheme, sizeof url.scheme, "%s", scheme);
    assert_true(eng_owner_find(&url, &owner));
    assert_int_equal(owner.pid, getpid());
    assert_true(owner.name[0] != '\0');
    close(fd);
    assert_false(eng_owner_find(&url, &owner));
}

static void
a_tcp_listener_is_found(void **state)
{
    (void)state;
    find_own(SOCK_STREAM, "tcp");
}

static void
a_udp_socket_is_found(void **state)
{
    (void)state;
    find_own(SOCK_DGRAM, "udp");
}

static void
another_address_with_the_same_port_is_not_in_the_way(void **state)
{
    struct eng_url url = {.scheme = "tcp", .host = "127.0.0.2"};
    struct eng_owner owner;
    int fd = bind_inet(SOCK_STREAM, &url.port);

    (void)state;
    assert_true(fd >= 0);
    assert_false(eng_owner_find(&url, &owner));
    snprintf(url.host, sizeof url.host, "localhost");
    assert_true(eng_owner_find(&url, &owner));
    close(fd);
}

static void
a_unix_listener_is_found(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct eng_url url = {.scheme = "unix", .port = -1};
    struct eng_owner owner;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n;

    (void)state;
    assert_true(fd >= 0);
    snprintf(url.path, sizeof url.path, "@outlet-owner-test-%ld", (long)getpid());
    n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "%s", url.path + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)),
                     0);
    assert_int_equal(listen(fd, 1), 0);
    assert_true(eng_owner_find(&url, &owner));
    assert_int_equal(owner.pid, getpid());
    close(fd);
}

static void
the_other_end_of_a_connection_is_found(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    struct eng_owner owner;
    char local[32];
    char peer[32];
    int port;
    int listener = bind_inet(SOCK_STREAM, &port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    assert_true(listener >= 0 && fd >= 0);
    at.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(local, sizeof local, "127.0.0.1:%d", port);
    snprintf(peer, sizeof peer, "127.0.0.1:%d", ntohs(at.sin_port));
    assert_true(eng_owner_of_peer(local, peer, &owner));
    assert_int_equal(owner.pid, getpid());
    assert_false(eng_owner_of_peer(local, "127.0.0.1:0", &owner));
    assert_false(eng_owner_of_peer(local, "[::1]:1", &owner));
    assert_false(eng_owner_of_peer("", "@name", &owner));
    close(fd);
    close(listener);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tcp_listener_is_found),
        cmocka_unit_test(a_udp_socket_is_found),
        cmocka_unit_test(another_address_with_the_same_port_is_not_in_the_way),
        cmocka_unit_test(a_unix_listener_is_found),
        cmocka_unit_test(the_other_end_of_a_connection_is_found),
    };

    return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
