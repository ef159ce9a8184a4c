/*
 * refusal_test.c - calls that fail: which key and byte was wrong, which address was taken, and that
 * nothing was opened and nothing is left behind.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- bad URLs
 * ----------------------------------------------------------------------------------------- */

static const struct {
    const char *url;
    outlet_err code;
    const char *key;
    const char *at; /* the offending part of the URL; NULL: no position is promised */
} bad[] = {
    {"tcp://host:99999", OUTLET_EINVAL, "", "99999"},
    {"tcp://[::1", OUTLET_EINVAL, "", "[::1"},
    {"tcp://127.0.0.1:80#frame=len:9zz", OUTLET_EINVAL, "frame", "9zz"},
    {"tcp://127.0.0.1:80#no_such_key=1", OUTLET_EINVAL, "no_such_key", "no_such_key"},
    {"tcp://127.0.0.1:80#max=many", OUTLET_EINVAL, "max", "many"},
    {"tcp://127.0.0.1:80#frame=line,idle_ms=x", OUTLET_EINVAL, "idle_ms", "x"},
    {"udp://127.0.0.1:80#frame=line", OUTLET_EINVAL, "frame", NULL},
    {"udp://127.0.0.1:80#max=65508", OUTLET_EINVAL, "max", "65508"},
    {"unix:///tmp/x#nodelay", OUTLET_EINVAL, "nodelay", NULL},
    {"tcp://127.0.0.1:80#frame=line,max=10,high=5,low=6", OUTLET_EINVAL, NULL, NULL},
    {"tcp://127.0.0.1:80#frame=fixed:11,max=10", OUTLET_EINVAL, NULL, NULL},
    {"nonsense://x", OUTLET_EINVAL, NULL, "nonsense"},
    {"", OUTLET_EINVAL, NULL, NULL},
    {"tcp://", OUTLET_EINVAL, NULL, NULL},
    {"tcp://user:s3cr3t@host:80", OUTLET_EINVAL, NULL, NULL},
};

static void
a_wrong_url_names_what_is_wrong_and_opens_nothing(void **state)
{
    struct net n;
    int64_t live;
    int files;

    (void)state;
    net_open(&n, NULL);
    net_run_ms(&n, 1);
    files = net_files();
    live = failing_heap_live(&n.heap);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int role = 1; role <= 2; role++) {
            struct outlet_reason why = OUTLET_REASON;
            struct outlet_opts opts = OUTLET_OPTS;
            outlet_listener l = {7};
            outlet_conn c = {7};
            outlet_err err;

            opts.why = &why;
            err = role == OUTLET_TO_LISTEN ? outlet_listen(n.loop, bad[i].url, &opts, &l)
                                           : outlet_connect(n.loop, bad[i].url, &opts, &c);
            if (err != bad[i].code && !(err == OUTLET_ENOTSUP && strstr(bad[i].url, "nonsense")))
                print_error("%s: %s\n", bad[i].url, outlet_error_name(err));
            assert_true(err == bad[i].code || err == OUTLET_ENOTSUP);
            assert_int_equal(why.code, err);
            assert_true(why.text[0]);
            assert_null(strstr(why.text, "s3cr3t"));
            if (bad[i].key) {
                if (strcmp(why.key, bad[i].key) != 0)
                    print_error("%s: %s\n", bad[i].url, why.text);
                assert_string_equal(why.key, bad[i].key);
            }
            if (bad[i].at) {
                const char *at = strstr(bad[i].url, bad[i].at);

                assert_non_null(at);
                if (why.position != at - bad[i].url)
                    print_error("at %d: %s\n", why.position, why.text);
                assert_int_equal(why.position, at - bad[i].url);
            }
            assert_int_equal(c.id, 7); /* after an error nothing was written */
            assert_int_equal(l.id, 7);
            assert_int_equal(net_files(), files);
        }
    }
    assert_in_range(failing_heap_live(&n.heap), 0, live + 4); /* the loop's own, once */
    net_close(&n);
}

static void
wrong_arguments_are_refused(void **state)
{
    struct outlet_handlers strange = {.size = 3};
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    outlet_listener l;
    outlet_conn c;
    outlet_conn d;

    (void)state;
    net_open(&n, NULL);
    assert_int_equal(outlet_listen(n.loop, NULL, NULL, &l), OUTLET_EINVAL);
    assert_int_equal(outlet_listen(n.loop, "tcp://:0", NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_connect(n.loop, NULL, NULL, &c), OUTLET_EINVAL);
    assert_int_equal(outlet_connect(n.loop, "tcp://h:1", NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_pair(n.loop, "tcp://h:1", NULL, &c, &d), OUTLET_EINVAL);
    opts.on = &strange;
    assert_int_equal(outlet_connect(n.loop, "tcp://h:1", &opts, &c), OUTLET_EINVAL);
    opts = (struct outlet_opts)OUTLET_OPTS;
    opts.size = 2;
    assert_int_equal(outlet_connect(n.loop, "tcp://h:1", &opts, &c), OUTLET_EINVAL);
    opts = (struct outlet_opts)OUTLET_OPTS;
    opts.idle_ms = -2;
    assert_int_equal(outlet_connect(n.loop, "tcp://h:1", &opts, &c), OUTLET_EINVAL);
    assert_int_equal(outlet_listener_close((outlet_listener){0}), OUTLET_ESTALE);
    assert_int_equal(outlet_listener_close((outlet_listener){UINT64_MAX}), OUTLET_ESTALE);
    assert_true(net_stale((outlet_conn){0}));
    assert_true(net_stale((outlet_conn){UINT64_MAX}));
    assert_true(net_stale((outlet_conn){1}));
    net_close(&n);
}

static void
a_stopped_loop_takes_nothing_new(void **state)
{
    struct net n;
    outlet_listener l;
    outlet_conn c;
    outlet_conn d;

    (void)state;
    net_open(&n, NULL);
    net_run_ms(&n, 1);
    assert_int_equal(outlet_loop_stop(n.loop), OUTLET_OK);
    assert_int_equal(outlet_listen(n.loop, "tcp://:0", NULL, &l), OUTLET_ESTATE);
    assert_int_equal(outlet_connect(n.loop, "tcp://127.0.0.1:1", NULL, &c), OUTLET_ESTATE);
    assert_int_equal(outlet_pair(n.loop, "pair:", NULL, &c, &d), OUTLET_ESTATE);
    net_close(&n);
}

/* ---- addresses that are taken
 * -------------------------------------------------------------------------- */

static void
assert_in_use(struct net *n, outlet_loop *loop, const char *url)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    outlet_listener l;
    int files = net_files();

    (void)n;
    opts.why = &why;
    assert_int_equal(outlet_listen(loop, url, &opts, &l), OUTLET_EADDRINUSE);
    assert_int_equal(why.code, OUTLET_EADDRINUSE);
    assert_true(why.text[0]);
    assert_int_equal(net_files(), files);
}

static void
a_port_of_another_loop_is_in_use(void **state)
{
    static const char *const schemes[] = {"tcp", "tcp6", "udp", "abstract", "unix"};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct net n;
        struct server s = {0};
        struct server again = {0};
        struct end e = {0};
        outlet_loop *other;

        net_open(&n, NULL);
        other = net_another_loop(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, schemes[i]));
        assert_in_use(&n, other, s.at);
        assert_in_use(&n, n.loop, s.at);
        net_run_ms(&n, 1);
        net_connect(&n, &e, NULL, "%s", s.at); /* the first one is unharmed */
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, s.count && s.ends[0].len == 1);
        assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
        assert_int_equal(outlet_abort(s.ends[0].c), OUTLET_OK);
        (void)outlet_abort(e.c); /* it may have heard of it already */
        UNTIL(&n, s.ends[0].closes && e.closes);
        net_run_ms(&n, 5);
        n.loop = other;
        net_listen(&n, &again, NULL, "%s", s.at);
        n.loop = n.loops[0];
        net_server_fini(&s);
        net_close(&n);
    }
}

/* Siblings share their port among themselves only. */
static void
sharded_listeners_do_not_share_with_others(void **state)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct net n;
    outlet_loop *one;
    outlet_loop *two;
    outlet_listener l;
    char url[128];

    (void)state;
    opts.threads = 4;
    net_open(&n, NULL);
    one = net_another_loop(&n, &opts);
    two = net_another_loop(&n, &opts);
    assert_int_equal(outlet_listen(one, "tcp://127.0.0.1:0", NULL, &l), OUTLET_OK);
    assert_true(outlet_listener_info(l, "url", url, sizeof url) > 0);
    assert_in_use(&n, two, url);
    assert_in_use(&n, one, url);
    assert_in_use(&n, n.loop, url);
    net_close(&n);
}

static void
a_strangers_port_is_in_use(void **state)
{
    (void)state;
    if (net_is_sim())
        skip();
    for (int kind = 0; kind < 2; kind++) {
        for (int64_t threads = 1; threads <= 4; threads += 3) {
            struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
            struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
            socklen_t len = sizeof in;
            struct net n;
            outlet_listener l;
            char url[64];
            int one = 1;
            int fd;

            net_open(&n, NULL);
            opts.threads = threads;
            fd = socket(AF_INET, (kind ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
            if (!kind)
                assert_int_equal(listen(fd, 5), 0);
            assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
            snprintf(url, sizeof url, "%s://127.0.0.1:%d", kind ? "udp" : "tcp",
                     ntohs(in.sin_port));
            assert_in_use(&n, net_another_loop(&n, &opts), url);
            close(fd);
            /* Nothing of ours is left on it. */
            assert_int_equal(outlet_listen(n.loop, url, NULL, &l), OUTLET_OK);
            net_close(&n);
        }
    }
}

/* ---- unix paths
 * -------------------------------------------------------------------------------------------- */

static void
stand_there(const char *path, int kind)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;

    snprintf(un.sun_path, sizeof un.sun_path, "%.107s", path);
    if (kind == 1) {
        close(open(path, O_CREAT | O_WRONLY, 0600));
    } else if (kind == 2) {
        (void)!mkdir(path, 0700); /* the assertion that follows would tell */
    } else {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void)!bind(fd, (struct sockaddr *)&un, sizeof un);
        close(fd); /* a socket file that nobody listens at */
    }
}

static void
a_stale_socket_file_is_taken_over_and_nothing_else_is(void **state)
{
    (void)state;
    if (net_is_sim())
        skip();
    for (int kind = 0; kind < 3; kind++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        struct stat st;
        outlet_listener l;
        char url[128];
        const char *path = url + 7;

        net_open(&n, NULL);
        snprintf(url, sizeof url, "%s", net_place(&n, "unix"));
        stand_there(path, kind);
        assert_int_equal(stat(path, &st), 0);
        if (kind > 0) {
            int files = net_files();
            outlet_err err = outlet_listen(n.loop, url, NULL, &l);

            assert_true(err == OUTLET_EEXIST || err == OUTLET_EADDRINUSE);
            assert_int_equal(net_files(), files);
            assert_int_equal(stat(path, &st), 0);
            assert_false(S_ISSOCK(st.st_mode));
            assert_int_equal(kind == 1 ? unlink(path) : rmdir(path), 0);
        } else {
            net_listen(&n, &s, NULL, "%s", url);
            net_connect(&n, &e, NULL, "%s", url);
            UNTIL(&n, e.opens && s.count);
        }
        net_close(&n); /* finds the folder empty */
    }
}

static void
the_permissions_of_a_path_are_set(void **state)
{
    struct net n;
    struct server s = {0};
    struct stat st;

    (void)state;
    if (net_is_sim())
        skip();
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#mode=0640", net_place(&n, "unix"));
    assert_int_equal(stat(s.at + 7, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    net_close(&n);
}

static void
addresses_that_are_not_here(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    outlet_listener l;

    (void)state;
    net_open(&n, NULL);
    opts.why = &why;
    if (!net_is_sim()) /* where every address is at home */
        assert_int_equal(outlet_listen(n.loop, "tcp://192.0.2.1:0", &opts, &l), OUTLET_EADDR);
    assert_int_equal(outlet_listen(n.loop, "tcp://no.such.host.invalid:0", &opts, &l),
                     OUTLET_ERESOLVE);
    assert_int_equal(why.phase, OUTLET_AT_RESOLVE);
    if (!net_is_sim())
        assert_int_equal(outlet_listen(n.loop, "unix:///no/such/folder/x", &opts, &l),
                         OUTLET_ENOENT);
    net_close(&n);
}

/* ---- unreachable ---------------------------------------------------------------------------- */

static void
keep_reason(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct outlet_reason *kept = user;

    (void)c;
    *kept = *why;
}

/* In a network of its own, in which nothing is up.  0: as it should be; 77: not allowed here. */
static int
connect_without_a_network(void)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_close = keep_reason};
    struct outlet_loop_opts loop_opts = OUTLET_LOOP_OPTS;
    struct outlet_opts opts = OUTLET_OPTS;
    struct outlet_reason why = OUTLET_REASON;
    outlet_loop *loop;
    outlet_conn c;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return 77;
    loop_opts.driver = net_driver();
    opts.on = &on;
    opts.user = &why;
    if (outlet_loop_new(&loop, &loop_opts) || outlet_connect(loop, "tcp://127.0.0.1:9", &opts, &c))
        return 1;
    while (why.code == OUTLET_OK && outlet_loop_turn(loop, 1000) == OUTLET_OK) {
    }
    if (outlet_loop_free(loop))
        return 2;
    if (why.code != OUTLET_EUNREACH || why.phase != OUTLET_AT_CONNECT ||
        why.side != OUTLET_BY_SYSTEM || why.sys_errno != ENETUNREACH)
        return 3;
    return 0;
}

static void
who_cannot_be_reached_is_told_so(void **state)
{
    int status = 0;
    pid_t child;

    (void)state;
    if (net_is_sim())
        skip(); /* its network is always up */
    child = fork();
    if (child == 0)
        _exit(connect_without_a_network());
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* this system lets us make no network */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_cannot_be_reached_is_told_so),
    cmocka_unit_test(a_wrong_url_names_what_is_wrong_and_opens_nothing),
    cmocka_unit_test(wrong_arguments_are_refused),
    cmocka_unit_test(a_stopped_loop_takes_nothing_new),
    cmocka_unit_test(a_port_of_another_loop_is_in_use),
    cmocka_unit_test(sharded_listeners_do_not_share_with_others),
    cmocka_unit_test(a_strangers_port_is_in_use),
    cmocka_unit_test(a_stale_socket_file_is_taken_over_and_nothing_else_is),
    cmocka_unit_test(the_permissions_of_a_path_are_set),
    cmocka_unit_test(addresses_that_are_not_here),
};

NET_MAIN(tests)
