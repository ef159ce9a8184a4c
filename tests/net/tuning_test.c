/*
 * tuning_test.c - keys that end in setsockopt(2): what the kernel answers when it is asked.
 *
 * The descriptor of a connection is found by its two addresses: there is no call that would tell
 * it.  The simulated network takes the keys and does nothing, so there only the life is checked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILES = 4096 };

static void
name_of(int fd, bool peer, char text[64])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t len = sizeof name;
    char ip[INET6_ADDRSTRLEN];

    text[0] = '\0';
    if ((peer ? getpeername(fd, &name.any, &len) : getsockname(fd, &name.any, &len)) != 0)
        return;
    if (name.any.sa_family == AF_INET)
        snprintf(text, 64, "%s:%u", inet_ntop(AF_INET, &name.v4.sin_addr, ip, sizeof ip),
                 ntohs(name.v4.sin_port));
    else if (name.any.sa_family == AF_INET6)
        snprintf(text, 64, "[%s]:%u", inet_ntop(AF_INET6, &name.v6.sin6_addr, ip, sizeof ip),
                 ntohs(name.v6.sin6_port));
}

/* NULL: of a listener at `local`. */
static int
find(const char *local, const char *peer)
{
    for (int fd = 0; fd < FILES; fd++) {
        char text[64];

        name_of(fd, false, text);
        if (strcmp(text, local) != 0)
            continue;
        name_of(fd, true, text);
        if (strcmp(text, peer ? peer : "") == 0)
            return fd;
    }
    fail_msg("no socket from %s to %s", local, peer ? peer : "nobody");
    return -1;
}

static int
descriptor(outlet_conn c)
{
    char local[64];
    char peer[64];

    assert_true(outlet_info(c, "local", local, sizeof local) > 0);
    assert_true(outlet_info(c, "peer", peer, sizeof peer) > 0);
    return find(local, peer);
}

static int
option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static const char every_tcp_key[] = "keepalive_s=2m,keepalive_interval_s=7,keepalive_probes=3,"
                                    "user_timeout_ms=4500,dscp=af41,device=lo";

static void
check_tcp(outlet_conn c)
{
    int fd = descriptor(c);
    char device[16] = "";
    socklen_t len = sizeof device;

    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 120);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 7);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 4500);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    assert_string_equal(device, "lo");
}

static void
both_ends_have_what_their_url_says(void **state)
{
    static const char *const places[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s#%s", places[i], every_tcp_key);
        net_connect(&n, &e, NULL, "%s#%s", s.at, every_tcp_key);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        if (!net_is_sim()) {
            outlet_conn both[] = {e.c, s.ends[0].c};

            for (size_t k = 0; k < 2; k++) {
                check_tcp(both[k]);
                if (i == 0)
                    assert_int_equal(option(descriptor(both[k]), IPPROTO_IP, IP_TOS), 34 << 2);
                else
                    assert_int_equal(option(descriptor(both[k]), IPPROTO_IPV6, IPV6_TCLASS),
                                     34 << 2);
            }
        }
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, s.ends[0].messages);
        net_server_fini(&s);
        net_end_fini(&e);
        net_close(&n);
    }
}

static void
without_a_key_the_system_decides(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count && s.ends[0].opens);
    if (!net_is_sim()) {
        outlet_conn both[] = {e.c, s.ends[0].c};

        for (size_t k = 0; k < 2; k++) {
            int fd = descriptor(both[k]);

            assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
            assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
            assert_int_equal(option(fd, IPPROTO_IP, IP_TOS), 0);
            assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
            assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
        }
    }
    net_close(&n);
}

static void
datagram_sockets_have_it_too(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#dscp=ef,device=lo,reuse");
    net_connect(&n, &e, NULL, "%s#dscp=cs1,device=lo", s.at);
    UNTIL(&n, e.opens);
    if (!net_is_sim()) {
        char local[64];

        assert_true(outlet_listener_info(s.l, "local", local, sizeof local) > 0);
        assert_int_equal(option(find(local, NULL), IPPROTO_IP, IP_TOS), 46 << 2);
        assert_int_equal(option(find(local, NULL), SOL_SOCKET, SO_REUSEPORT), 1);
        assert_int_equal(option(descriptor(e.c), IPPROTO_IP, IP_TOS), 8 << 2);
    }
    assert_true(outlet_send(e.c, "x", 1) >= 0);
    UNTIL(&n, s.count && s.ends[0].messages);
    net_server_fini(&s);
    net_close(&n);
}

static void
datagrams_to_many_are_tuned_at_both_ends(void **state)
{
    static const char keys[] = "interface=lo,ttl=7,loop=off,broadcast";
    struct net n;
    struct server s = {0};
    struct end e = {0};
    char local[64];

    (void)state;
    if (net_is_sim())
        skip(); /* nothing can be asked there; what it models is in multicast_test.c */
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0#%s", keys);
    net_connect(&n, &e, NULL, "udp://239.255.42.9:9#%s,local=127.0.0.1", keys);
    UNTIL(&n, e.opens);
    for (int i = 0; i < 2; i++) {
        int fd;

        if (i)
            assert_true(outlet_info(e.c, "local", local, sizeof local) > 0);
        else
            assert_true(outlet_listener_info(s.l, "local", local, sizeof local) > 0);
        fd = find(local, NULL); /* neither is connected */
        assert_int_equal(option(fd, IPPROTO_IP, IP_MULTICAST_TTL), 7);
        assert_int_equal(option(fd, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
        assert_int_equal(option(fd, SOL_SOCKET, SO_BROADCAST), 1);
        assert_int_equal(ntohl((uint32_t)option(fd, IPPROTO_IP, IP_UNICAST_IF)), 1);
    }
    net_close(&n);
}

static void
groups_of_ipv6_are_tuned_too(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    char local[64];

    (void)state;
    if (net_is_sim())
        skip();
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://[ff02::1:9%%251]:0#ttl=8,loop=off");
    net_connect(&n, &e, NULL, "udp://[ff02::1:9]:9#interface=lo,ttl=9,loop=off");
    UNTIL(&n, e.opens);
    for (int i = 0; i < 2; i++) {
        int fd;

        if (i)
            assert_true(outlet_info(e.c, "local", local, sizeof local) > 0);
        else
            assert_true(outlet_listener_info(s.l, "local", local, sizeof local) > 0);
        fd = find(local, NULL);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS), 8 + i);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP), 0);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF), 1);
    }
    net_close(&n);
}

/* ---- local ------------------------------------------------------------------------------- */

static void
a_connection_leaves_from_where_it_was_told(void **state)
{
    static const char *const schemes[] = {"tcp", "udp"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net n;
        struct server s = {0};
        struct server spare = {0};
        struct end e[3] = {{0}};
        unsigned port = 0;
        char text[64];
        char want[64];

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s://127.0.0.1:0", schemes[i]);
        net_listen(&n, &spare, NULL, "%s://127.0.0.1:0", schemes[i]); /* to learn of a free port */
        sscanf(strrchr(spare.at, ':'), ":%u", &port);
        assert_int_equal(outlet_listener_close(spare.l), OUTLET_OK);
        net_run_ms(&n, 1);
        net_connect(&n, &e[0], NULL, "%s#local=127.0.0.7", s.at);
        net_connect(&n, &e[1], NULL, "%s#local=:%u", s.at, port);
        net_connect(&n, &e[2], NULL, "%s#local=127.0.0.9:%u", s.at, port);
        for (int k = 0; k < 3; k++) {
            assert_true(outlet_send(e[k].c, "x", 1) >= 0);
        }
        UNTIL(&n, s.count == 3 && s.ends[0].messages && s.ends[1].messages && s.ends[2].messages);
        assert_true(outlet_info(e[0].c, "local", text, sizeof text) > 0);
        assert_memory_equal(text, "127.0.0.7:", 10);
        snprintf(want, sizeof want, "127.0.0.1:%u", port);
        assert_true(outlet_info(e[1].c, "local", text, sizeof text) > 0);
        assert_string_equal(text, want);
        snprintf(want, sizeof want, "127.0.0.9:%u", port);
        assert_true(outlet_info(e[2].c, "local", text, sizeof text) > 0);
        assert_string_equal(text, want);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* A port of its own for each of them would end at 65,535 connections to whomever. */
static void
an_address_alone_takes_no_port_before_connecting(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s#local=127.0.0.7", s.at);
    UNTIL(&n, e.opens);
    if (!net_is_sim())
        assert_int_equal(option(descriptor(e.c), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
    net_close(&n);
}

static void
a_local_address_that_is_not_ours_says_so(void **state)
{
    struct net n;
    struct end e = {0};
    struct end other = {0};

    (void)state;
    net_open(&n, NULL);
    net_connect(&n, &other, NULL, "tcp://localhost:9#local=[2001:db8::7]");
    UNTIL(&n, other.closes);
    if (!net_is_sim()) {
        assert_int_equal(other.why.code, OUTLET_EADDR);
        net_connect(&n, &e, NULL, "tcp://127.0.0.1:9#local=192.0.2.200");
        UNTIL(&n, e.closes);
        assert_int_equal(e.why.code, OUTLET_EADDR);
        assert_non_null(strstr(e.why.text, "`local`"));
        assert_int_equal(e.why.phase, OUTLET_AT_CONNECT);
    }
    net_close(&n);
}

static void
a_local_port_that_is_taken_says_so(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "udp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "udp://127.0.0.1:9#local=127.0.0.1%s", strrchr(s.at, ':'));
    UNTIL(&n, e.closes);
    assert_int_equal(e.why.code, OUTLET_EADDRINUSE);
    assert_non_null(strstr(e.why.text, "`local`"));
    net_close(&n);
}

/* ---- reuse ------------------------------------------------------------------------------- */

static void
who_says_reuse_shares_the_port_with_others_who_do(void **state)
{
    enum { CLIENTS = 40 };
    static const char *const schemes[] = {"tcp", "udp"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct end e[CLIENTS] = {0};
        struct outlet_reason why;
        struct outlet_opts opts = {.size = sizeof opts, .why = &why};
        struct net n;
        struct server a = {0};
        struct server b = {0};
        outlet_listener refused;
        char url[200];
        outlet_loop *other;

        net_open(&n, NULL);
        other = net_another_loop(&n, NULL);
        net_listen(&n, &a, NULL, "%s://127.0.0.1:0#reuse", schemes[i]);
        snprintf(url, sizeof url, "%s#reuse", a.at);
        opts.on = &net_server_handlers;
        opts.user = &b;
        b.net = &n;
        assert_int_equal(outlet_listen(other, url, &opts, &b.l), OUTLET_OK);
        assert_int_equal(outlet_listen(other, a.at, &opts, &refused), OUTLET_EADDRINUSE);
        assert_true(why.text[0]);
        /* All to one of them: once in 2 to the 39th.  All stay open, or the port of one that has
         * closed may be another's, who would then be the peer that is known already. */
        for (int k = 0; k < CLIENTS; k++) {
            net_connect(&n, &e[k], NULL, "%s", a.at);
            assert_true(outlet_send(e[k].c, "x", 1) >= 0);
            UNTIL(&n, a.count + b.count == k + 1);
        }
        for (int k = 0; k < CLIENTS; k++) {
            assert_int_equal(outlet_close(e[k].c), OUTLET_OK);
            UNTIL(&n, e[k].closes);
        }
        assert_true(a.count > 0);
        assert_true(b.count > 0);
        net_server_fini(&a);
        net_server_fini(&b);
        net_close(&n);
    }
}

/* ---- device ------------------------------------------------------------------------------ */

/* Kernels before 5.7 want CAP_NET_RAW; newer ones no more, so they are told to.  For the rest of
 * this process: the last test. */
static void
forbid_devices(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_BINDTODEVICE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void
a_device_that_is_not_allowed_says_what_is_missing(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .why = &why};
    struct net n;
    struct end e = {0};
    outlet_listener refused;

    (void)state;
    if (net_is_sim())
        skip(); /* its network has no devices */
    forbid_devices();
    net_open(&n, NULL);
    assert_int_equal(outlet_listen(n.loop, "tcp://127.0.0.1:0#device=lo", &opts, &refused),
                     OUTLET_EPERM);
    assert_non_null(strstr(why.text, "CAP_NET_RAW"));
    assert_string_equal(why.key, "device");
    net_connect(&n, &e, NULL, "tcp://127.0.0.1:9#device=lo");
    UNTIL(&n, e.closes);
    assert_int_equal(e.why.code, OUTLET_EPERM);
    assert_non_null(strstr(e.why.text, "CAP_NET_RAW"));
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(both_ends_have_what_their_url_says),
    cmocka_unit_test(without_a_key_the_system_decides),
    cmocka_unit_test(datagram_sockets_have_it_too),
    cmocka_unit_test(datagrams_to_many_are_tuned_at_both_ends),
    cmocka_unit_test(groups_of_ipv6_are_tuned_too),
    cmocka_unit_test(a_connection_leaves_from_where_it_was_told),
    cmocka_unit_test(an_address_alone_takes_no_port_before_connecting),
    cmocka_unit_test(a_local_address_that_is_not_ours_says_so),
    cmocka_unit_test(a_local_port_that_is_taken_says_so),
    cmocka_unit_test(who_says_reuse_shares_the_port_with_others_who_do),
    cmocka_unit_test(a_device_that_is_not_allowed_says_what_is_missing),
};

NET_MAIN(tests)
