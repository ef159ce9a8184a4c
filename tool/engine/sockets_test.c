/*
 * sockets_test.c - this process finds its own sockets; the kernel's answers are not trusted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- real sockets ---- */

static int
bind_inet(int family, int type, int *port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t len = family == AF_INET ? sizeof v4 : sizeof v6;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, at, len) != 0 || (type == SOCK_STREAM && listen(fd, 7) != 0) ||
        getsockname(fd, at, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
    return fd;
}

/* Read with filters in words, which end with NULL. */
static void
read_with(struct eng_sockets *out, const char *const words[])
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_filter filters[8];
    size_t n = 0;

    for (; words[n]; n++)
        assert_true(eng_filter_parse(words[n], &filters[n]));
    if (eng_sockets_read(out, filters, n, true, &why) != OUTLET_OK)
        fail_msg("%s", why.text);
}

#define READ(out, ...) read_with(out, (const char *const[8]){__VA_ARGS__})

static void
find_inet(int family, int type, const char *proto, const char *form, const char *state)
{
    struct eng_sockets s;
    char where[16];
    char pid[24];
    char local[64];
    int port;
    int fd = bind_inet(family, type, &port);

    if (fd < 0 && family == AF_INET6)
        return; /* a machine without IPv6 */
    assert_true(fd >= 0);
    snprintf(where, sizeof where, ":%d", port);
    snprintf(pid, sizeof pid, "pid:%ld", (long)getpid());
    snprintf(local, sizeof local, form, port);
    READ(&s, proto, where, pid);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.list[0].kind, proto);
    assert_string_equal(s.list[0].local, local);
    assert_string_equal(s.list[0].peer, "");
    assert_string_equal(s.list[0].state, state);
    assert_int_equal(s.list[0].local_port, port);
    assert_int_equal(s.list[0].pid, getpid());
    assert_true(s.list[0].process[0] && s.list[0].user[0]);
    assert_int_equal(s.list[0].uid, geteuid());
    assert_false(eng_socket_is_hidden(&s.list[0]));
    if (type == SOCK_STREAM)
        assert_int_equal(s.list[0].queue_out, 7); /* of a listener: how many may wait */
    eng_sockets_free(&s);
    close(fd);
    READ(&s, proto, where, pid);
    assert_int_equal(s.count, 0);
    eng_sockets_free(&s);
}

static void
tcp_and_udp_sockets_are_found_with_their_process(void **state)
{
    (void)state;
    find_inet(AF_INET, SOCK_STREAM, "tcp", "127.0.0.1:%d", "listen");
    find_inet(AF_INET6, SOCK_STREAM, "tcp", "[::1]:%d", "listen");
    find_inet(AF_INET, SOCK_DGRAM, "udp", "127.0.0.1:%d", "unconnected");
    find_inet(AF_INET6, SOCK_DGRAM, "udp", "[::1]:%d", "unconnected");
}

static void
find_unix(int type, const char *kind)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct eng_sockets s;
    char pid[24];
    socklen_t len;
    size_t found = 0;
    int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "outlet-sockets-%ld", (long)getpid());
    int server = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    int client = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    assert_true(server >= 0 && client >= 0);
    assert_int_equal(bind(server, (struct sockaddr *)&at, len), 0);
    if (type != SOCK_DGRAM)
        assert_int_equal(listen(server, 1), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, len), 0);
    snprintf(pid, sizeof pid, "pid:%ld", (long)getpid());
    READ(&s, "unix", pid);
    at.sun_path[0] = '@';
    for (size_t i = 0; i < s.count; i++) {
        if (strcmp(s.list[i].kind, kind) != 0)
            continue;
        assert_int_equal(s.list[i].pid, getpid());
        assert_int_equal(s.list[i].local_port, -1);
        found += strcmp(s.list[i].local, at.sun_path) == 0;
        /* The client's peer is known by name where it has been accepted or needs not be. */
        found += type == SOCK_DGRAM && strcmp(s.list[i].peer, at.sun_path) == 0;
    }
    assert_int_equal(found, type == SOCK_DGRAM ? 2 : 1);
    eng_sockets_free(&s);
    close(client);
    close(server);
}

static void
unix_sockets_are_found_with_their_names(void **state)
{
    (void)state;
    find_unix(SOCK_STREAM, "unix");
    find_unix(SOCK_DGRAM, "unix-dgram");
    find_unix(SOCK_SEQPACKET, "unix-seqpacket");
}

static void
a_connection_is_found_from_both_ends(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct eng_sockets s;
    char where[16];
    int port;
    int server = bind_inet(AF_INET, SOCK_STREAM, &port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int accepted;

    (void)state;
    assert_true(server >= 0 && client >= 0);
    at.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof at), 0);
    accepted = accept(server, NULL, NULL);
    assert_true(accepted >= 0);
    assert_int_equal(send(client, "abc", 3, 0), 3);
    snprintf(where, sizeof where, ":%d", port);
    READ(&s, where, "state:established");
    assert_int_equal(s.count, 2);
    for (size_t i = 0; i < 2; i++) {
        bool is_server = s.list[i].local_port == port;

        assert_int_equal(s.list[i].queue_in, is_server ? 3 : 0);
        assert_string_equal(s.list[i].local, s.list[1 - i].peer);
    }
    eng_sockets_free(&s);
    close(client);
    close(accepted);
    close(server);
}

static void
two_descriptors_of_one_socket_are_one_holder(void **state)
{
    struct eng_sockets s;
    char where[16];
    int port;
    int fd = bind_inet(AF_INET, SOCK_DGRAM, &port);
    int twin = dup(fd);

    (void)state;
    assert_true(fd >= 0 && twin >= 0);
    snprintf(where, sizeof where, ":%d", port);
    READ(&s, where, "udp");
    assert_int_equal(s.count, 1);
    assert_int_equal(s.list[0].holders, 1);
    eng_sockets_free(&s);
    close(twin);
    close(fd);
}

/* ---- filters ---- */

static void
filters_of_a_kind_are_alternatives(void **state)
{
    struct eng_sockets s;
    char where[2][16];
    char pid[24];
    int port[2];
    int tcp = bind_inet(AF_INET, SOCK_STREAM, &port[0]);
    int udp = bind_inet(AF_INET, SOCK_DGRAM, &port[1]);

    (void)state;
    assert_true(tcp >= 0 && udp >= 0);
    for (int i = 0; i < 2; i++)
        snprintf(where[i], sizeof where[i], ":%d", port[i]);
    snprintf(pid, sizeof pid, "pid:%ld", (long)getpid());
    READ(&s, "tcp", "udp", where[0], where[1], pid);
    assert_int_equal(s.count, 2);
    eng_sockets_free(&s);
    READ(&s, "tcp", "unix", where[0], where[1], pid);
    assert_int_equal(s.count, 1);
    eng_sockets_free(&s);
    READ(&s, "state:LISTEN", "state:unconnected", where[0], where[1], pid);
    assert_int_equal(s.count, 2);
    eng_sockets_free(&s);
    close(tcp);
    close(udp);
}

/* Whoever closes first waits: a row of the kernel's own, of which there may be thousands. */
static void
time_wait_is_only_counted_unless_asked_for(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_sockets s;
    struct eng_filter f[2];
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    char where[16];
    char byte;
    int port;
    int server = bind_inet(AF_INET, SOCK_STREAM, &port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int accepted;

    (void)state;
    assert_true(server >= 0 && client >= 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, len), 0);
    accepted = accept(server, NULL, NULL);
    assert_true(accepted >= 0);
    shutdown(accepted, SHUT_WR);
    assert_int_equal(read(client, &byte, 1), 0);
    close(client);
    assert_int_equal(read(accepted, &byte, 1), 0); /* both ends are known to both */
    close(accepted);
    close(server);
    snprintf(where, sizeof where, ":%d", port);
    assert_true(eng_filter_parse(where, &f[0]));
    assert_true(eng_filter_parse("state:TIME-WAIT", &f[1]));
    assert_int_equal(eng_sockets_read(&s, f, 1, false, &why), OUTLET_OK);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.left_out, 1);
    eng_sockets_free(&s);
    assert_int_equal(eng_sockets_read(&s, f, 1, true, &why), OUTLET_OK);
    assert_int_equal(s.count, 1);
    eng_sockets_free(&s);
    assert_int_equal(eng_sockets_read(&s, f, 2, false, &why), OUTLET_OK);
    assert_int_equal(s.count, 1);
    eng_sockets_free(&s);
}

static void
a_filter_is_taken_or_refused(void **state)
{
    static const char *const good[] = {
        "tcp",          "udp",       "unix",           ":0",           ":65535",          "proc:r",
        "pid:1",        "user:root", "pid:2147483647", "state:listen", "state:time-wait", "TCP",
        "state:LISTEN", ":http"};
    static const char *const bad[] = {
        "",      ":",      ":65536",   ":x",   ":9000x", "9000",
        "tcp:",  "tcp6",   "proc:",    "pid:", "pid:-1", "pid:2147483648",
        "user:", "state:", "state:up", "sctp", "port:1", "127.0.0.1:80"};
    struct eng_filter f;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!eng_filter_parse(good[i], &f))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (eng_filter_parse(bad[i], &f))
            fail_msg("taken: %s", bad[i]);
    }
}

/* ---- messages that no kernel should send ---- */

enum { ROOM = 512 };

struct message {
    union {
        struct nlmsghdr head;
        uint32_t words[ROOM / 4];
    };
};

static struct eng_bytes list;
static struct eng_sockets table;

static void
start(void)
{
    eng_bytes_free(&list);
    table = (struct eng_sockets){.bytes = &list};
}

static struct message
inet_message(void)
{
    struct message m = {0};
    struct inet_diag_msg *d;

    mnl_nlmsg_put_header(&m);
    m.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    d = mnl_nlmsg_put_extra_header(&m.head, sizeof *d);
    d->idiag_family = AF_INET;
    d->idiag_state = 10;
    d->id.idiag_sport = htons(80);
    d->id.idiag_src[0] = htonl(0x7f000001);
    d->idiag_inode = 7;
    return m;
}

static struct message
unix_message(const char *name, size_t len)
{
    struct message m = {0};
    struct unix_diag_msg *d;

    mnl_nlmsg_put_header(&m);
    m.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    d = mnl_nlmsg_put_extra_header(&m.head, sizeof *d);
    d->udiag_family = AF_UNIX;
    d->udiag_type = SOCK_STREAM;
    d->udiag_state = 10;
    d->udiag_ino = 9;
    mnl_attr_put(&m.head, UNIX_DIAG_NAME, len, name);
    mnl_attr_put_u32(&m.head, UNIX_DIAG_UID, 5);
    return m;
}

static bool
take(const struct message *m, int family, size_t len)
{
    enum eng_proto proto = family == AF_UNIX ? ENG_UNIX : ENG_TCP;

    return eng_diag_message(&table, proto, family, m, len);
}

static void
a_whole_message_is_a_row(void **state)
{
    struct message m = inet_message();

    (void)state;
    start();
    assert_true(take(&m, AF_INET, m.head.nlmsg_len));
    assert_int_equal(table.count, 1);
    assert_string_equal(table.list[0].local, "127.0.0.1:80");
    m = unix_message("\0a\0b", 4);
    assert_true(take(&m, AF_UNIX, m.head.nlmsg_len));
    assert_string_equal(table.list[1].local, "@a@b");
    assert_int_equal(table.list[1].uid, 5);
}

/* Neither a message that is shorter than it says nor one that says it is shorter. */
static void
every_truncation_is_refused_or_whole(void **state)
{
    struct message m = inet_message();

    (void)state;
    start();
    for (size_t len = 0; len < m.head.nlmsg_len; len++)
        assert_false(take(&m, AF_INET, len));
    for (uint32_t says = 0; says < inet_message().head.nlmsg_len; says++) {
        m.head.nlmsg_len = says;
        assert_false(take(&m, AF_INET, ROOM));
    }
    assert_int_equal(table.count, 0);
    m = unix_message("/run/x", 7);
    for (uint32_t says = 0; says < NLMSG_HDRLEN + sizeof(struct unix_diag_msg); says++) {
        m.head.nlmsg_len = says;
        assert_false(take(&m, AF_UNIX, ROOM));
    }
}

static void
what_was_not_asked_for_is_refused(void **state)
{
    struct message m = inet_message();
    struct inet_diag_msg *d = mnl_nlmsg_get_payload(&m.head);
    struct unix_diag_msg *u;

    (void)state;
    start();
    assert_false(take(&m, AF_INET6, m.head.nlmsg_len)); /* another family */
    d->idiag_state = 0;
    assert_false(take(&m, AF_INET, m.head.nlmsg_len));
    d->idiag_state = 200;
    assert_false(take(&m, AF_INET, m.head.nlmsg_len));
    d->idiag_state = 10;
    m.head.nlmsg_type = NLMSG_NOOP;
    assert_false(take(&m, AF_INET, m.head.nlmsg_len));
    m = unix_message("/run/x", 7);
    u = mnl_nlmsg_get_payload(&m.head);
    u->udiag_type = SOCK_RAW;
    assert_false(take(&m, AF_UNIX, m.head.nlmsg_len));
    assert_int_equal(table.count, 0);
}

/* A name is cut to what a name can be, and attributes of a wrong size are not read. */
static void
attributes_are_bounded(void **state)
{
    char name[300];
    struct message m;

    (void)state;
    start();
    memset(name, 'x', sizeof name);
    m = unix_message(name, sizeof name);
    assert_true(take(&m, AF_UNIX, m.head.nlmsg_len));
    assert_int_equal(strlen(table.list[0].local), 108);
    m = unix_message("", 0);
    mnl_attr_put(&m.head, UNIX_DIAG_PEER, 2, "ab");
    mnl_attr_put(&m.head, UNIX_DIAG_RQLEN, 12, "0123456789ab");
    mnl_attr_put(&m.head, 999, 4, "abcd");
    assert_true(take(&m, AF_UNIX, m.head.nlmsg_len));
    assert_string_equal(table.list[1].local, "");
    assert_int_equal(table.list[1].peer_inode, 0);
    assert_int_equal(table.list[1].queue_in, 0);
}

/* Any byte may be any value: nothing is read or written outside, which the sanitizers judge. */
static void
any_byte_may_be_wrong(void **state)
{
    (void)state;
    start();
    for (size_t at = 0; at < 96; at++) {
        for (int value = 0; value < 256; value += 5) {
            struct message inet = inet_message();
            struct message unix_one = unix_message("/run/some/where", 16);

            ((uint8_t *)&inet)[at] = (uint8_t)value;
            ((uint8_t *)&unix_one)[at] = (uint8_t)value;
            (void)take(&inet, AF_INET, ROOM);
            (void)take(&inet, AF_INET6, ROOM);
            (void)take(&unix_one, AF_UNIX, ROOM);
        }
        for (size_t i = 0; i < table.count; i++)
            assert_true(memchr(table.list[i].local, '\0', ENG_SOCKET_TEXT) != NULL);
        start();
    }
}

static void
a_row_as_json(void **state)
{
    struct eng_socket s = {.kind = "tcp",
                           .state = "listen",
                           .inode = 1,
                           .queue_out = 7,
                           .local = "127.0.0.1:80",
                           .uid = (uid_t)-1};
    struct eng_bytes out = {0};

    (void)state;
    eng_socket_json(&out, &s, NULL);
    eng_bytes_add(&out, "", 1);
    assert_string_equal(
        (const char *)out.data,
        "{\"v\":1,\"event\":\"socket\",\"proto\":\"tcp\",\"local\":\"127.0.0.1:80\","
        "\"peer\":\"\",\"state\":\"listen\",\"queue_in\":0,\"queue_out\":7,"
        "\"pid\":null,\"process\":null,\"user\":null}\n");
    out.len = 0;
    s.pid = 12;
    s.holders = 2;
    snprintf(s.process, sizeof s.process, "a\"b");
    snprintf(s.user, sizeof s.user, "root");
    eng_socket_json(&out, &s, "+");
    eng_bytes_add(&out, "", 1);
    assert_string_equal((const char *)out.data,
                        "{\"v\":1,\"event\":\"socket\",\"change\":\"+\",\"proto\":\"tcp\","
                        "\"local\":\"127.0.0.1:80\",\"peer\":\"\",\"state\":\"listen\","
                        "\"queue_in\":0,\"queue_out\":7,\"pid\":12,\"process\":\"a\\\"b\","
                        "\"user\":\"root\",\"holders\":2}\n");
    eng_bytes_free(&out);
}

/* In a shared network a port that the kernel gives has a past: connections in time-wait of whoever
 * had it before.  A user without the right to a network of its own looks into the shared one. */
static int
in_a_network_of_its_own(void **state)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd;

    (void)state;
    if (unshare(CLONE_NEWNET))
        return 0;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
        return 1;
    return close(fd);
}

static int
tear_down(void **state)
{
    (void)state;
    eng_bytes_free(&list);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_and_udp_sockets_are_found_with_their_process),
        cmocka_unit_test(unix_sockets_are_found_with_their_names),
        cmocka_unit_test(a_connection_is_found_from_both_ends),
        cmocka_unit_test(two_descriptors_of_one_socket_are_one_holder),
        cmocka_unit_test(a_filter_is_taken_or_refused),
        cmocka_unit_test(filters_of_a_kind_are_alternatives),
        cmocka_unit_test(time_wait_is_only_counted_unless_asked_for),
        cmocka_unit_test(a_whole_message_is_a_row),
        cmocka_unit_test(every_truncation_is_refused_or_whole),
        cmocka_unit_test(what_was_not_asked_for_is_refused),
        cmocka_unit_test(attributes_are_bounded),
        cmocka_unit_test(any_byte_may_be_wrong),
        cmocka_unit_test(a_row_as_json),
    };

    return cmocka_run_group_tests_name("sockets", tests, in_a_network_of_its_own, tear_down);
}
