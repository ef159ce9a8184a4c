/*
 * driver_listen_test.c - listening, accepting and connecting on every driver: what is refused and
 * why, ports that are shared, descriptors that run out, the files of unix sockets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver_world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- listening and connecting ------------------------------------------------------------ */

static void
a_port_where_nobody_listens_refuses(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    close_peer(listener, false);
    RUN_UNTIL(w, listener->closed);
    assert_int_equal(connect_result(peer(w), OL_LINK_STREAM, bound), -ECONNREFUSED);
}

static void
a_path_that_is_not_there_is_told(void **state)
{
    struct world *w = *state;

    assert_int_equal(connect_result(peer(w), OL_LINK_STREAM, in_directory(w, "none")), -ENOENT);
}

static void
a_port_in_use_is_told(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;

    (void)listen_at(w, v4(1, 0), &bound);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_ALONE, &other),
                     -EADDRINUSE);
    (void)dgrams_at(w, v4(1, 0), &bound);
    assert_int_equal(try_listen(peer(w), OL_LINK_DGRAM, bound, OL_PORT_ALONE, &other), -EADDRINUSE);
}

static void
an_address_of_another_machine_is_refused(void **state)
{
    struct world *w = *state;
    struct ol_addr at = {.kind = OL_ADDR_V4, .ip = {192, 0, 2, 1}};
    struct ol_addr bound;

    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound),
                     -EADDRNOTAVAIL);
}

static void
both_families_share_a_port_number(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;
    struct ol_addr any6 = {.kind = OL_ADDR_V6};
    struct ol_addr any4 = {.kind = OL_ADDR_V4};
    struct peer *listener = listen_at(w, any6, &bound);
    struct peer *second = peer(w);

    any4.port = bound.port;
    assert_int_equal(try_listen(second, OL_LINK_LISTENER, any4, OL_PORT_ALONE, &other), 0);
    assert_int_equal(w->ops->accept_start(w->d, &second->link), 0);
    (void)connect_to(w, OL_LINK_STREAM, v6(bound.port));
    (void)connect_to(w, OL_LINK_STREAM, v4(1, bound.port));
    RUN_UNTIL(w, listener->accepted == 1 && second->accepted == 1);
}

static void
siblings_share_a_port_and_a_stranger_does_not(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct ol_addr other;
    struct peer *shards[3] = {peer(w), peer(w), peer(w)};

    assert_int_equal(try_listen(shards[0], OL_LINK_LISTENER, v4(1, 0), OL_PORT_FIRST, &bound), 0);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(try_listen(shards[i], OL_LINK_LISTENER, bound, OL_PORT_SIBLING, &other),
                         0);
        assert_int_equal(other.port, bound.port);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(w->ops->accept_start(w->d, &shards[i]->link), 0);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_ALONE, &other),
                     -EADDRINUSE);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, bound, OL_PORT_FIRST, &other),
                     -EADDRINUSE);

    for (int i = 0; i < 90; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, shards[0]->accepted + shards[1]->accepted + shards[2]->accepted == 90);
    for (int i = 0; i < 3; i++)
        assert_in_range(shards[i]->accepted, 5, 80);
}

static void
accepted_sockets_do_not_delay(void **state)
{
    struct world *w = *state;
    struct peer *client;
    struct peer *server;
    int client_says = 0;
    int server_says = 0;
    socklen_t len = sizeof(int);

    connect_both(w, &client, &server);
    assert_int_equal(getsockopt(server->link.token, IPPROTO_TCP, TCP_NODELAY, &server_says, &len),
                     0);
    assert_int_equal(getsockopt(client->link.token, IPPROTO_TCP, TCP_NODELAY, &client_says, &len),
                     0);
    assert_int_not_equal(server_says, 0);
    assert_int_not_equal(client_says, 0);
    assert_true(fcntl(server->link.token, F_GETFD) & FD_CLOEXEC);
}

static void
accepting_can_be_stopped_and_started(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    w->ops->accept_stop(w->d, &listener->link);
    settle(w, 5);
    for (int i = 0; i < 5; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    settle(w, 10);
    assert_in_range(listener->accepted, 0, 1);
    assert_quiet(w);
    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    RUN_UNTIL(w, listener->accepted == 5);
}

static void
a_hundred_clients_at_once_are_all_accepted(void **state)
{
    struct world *w = *state;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);

    for (int i = 0; i < 100; i++) {
        struct peer *p = peer(w);
        struct ol_connect_spec spec = {.kind = OL_LINK_STREAM, .to = bound};

        assert_int_equal(w->ops->connect(w->d, &p->link, &spec), 0);
    }
    RUN_UNTIL(w, listener->accepted == 100);
    assert_int_equal(listener->accept_error, 0);
}

static void
asked_for_singly_a_client_comes_for_each_start(void **state)
{
    struct world *w = *state;
    struct peer *listener = peer(w);
    struct ol_listen_spec spec = {
        .kind = OL_LINK_LISTENER, .at = v4(1, 0), .backlog = 512, .mode = -1, .singly = true};
    struct ol_addr bound;

    assert_int_equal(w->ops->listen(w->d, &listener->link, &spec, &bound), 0);
    for (int i = 0; i < 5; i++)
        (void)connect_to(w, OL_LINK_STREAM, bound);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
        RUN_UNTIL(w, listener->accepted == i);
        assert_false(listener->goes_on);
        settle(w, 5);
        assert_int_equal(listener->accepted, i);
    }
    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    assert_quiet(w);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    RUN_UNTIL(w, listener->accepted == 6);
}

static void
running_out_of_descriptors_stops_accepting_without_a_spin(void **state)
{
    struct world *w = *state;
    struct rlimit before;
    struct rlimit tight;
    struct ol_addr bound;
    struct peer *listener = listen_at(w, v4(1, 0), &bound);
    int lowest;
    int64_t before_quiet; /* no assertion may jump out while the limit is tight */
    int64_t spent;

    w->ops->accept_stop(w->d, &listener->link);
    settle(w, 5);
    (void)connect_to(w, OL_LINK_STREAM, bound);
    settle(w, 5);
    for (; listener->adopted < listener->accepted; listener->adopted++)
        w->ops->discard(w->d, listener->tokens[listener->adopted], false);
    (void)connect_to(w, OL_LINK_STREAM, bound);

    lowest = dup(0);
    assert_true(lowest >= 0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){(rlim_t)lowest, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    if (w->ops->accept_start(w->d, &listener->link) == 0)
        settle(w, 20);
    before_quiet = cpu_time();
    settle(w, 100);
    spent = cpu_time() - before_quiet;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(listener->accept_error, -EMFILE);
    assert_in_range(spent, 0, 20 * OL_MS);

    assert_int_equal(w->ops->accept_start(w->d, &listener->link), 0);
    RUN_UNTIL(w, listener->accepted > listener->adopted);
}

/* ---- unix paths -------------------------------------------------------------------------- */

static void
make_stale(const struct ol_addr *at)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(name.sun_path, at->path, at->path_len);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    close(fd);
}

static void
a_stale_socket_file_is_taken_over(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "stale.sock");

    make_stale(&at);
    echo_over(w, at);
}

static void
a_live_socket_file_is_left_alone(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "live.sock");
    struct ol_addr bound;
    struct peer *first = listen_at(w, at, &bound);

    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound), -EADDRINUSE);
    settle(w, 5);
    assert_int_equal(first->accepted, 0); /* looking does not disturb it */
    (void)connect_to(w, OL_LINK_STREAM, at);
    RUN_UNTIL(w, first->accepted == 1);
}

static void
a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "file");
    struct ol_addr bound;
    struct stat after;
    int fd = open(at.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(try_listen(peer(w), OL_LINK_LISTENER, at, OL_PORT_ALONE, &bound), -EEXIST);
    assert_int_equal(stat(at.path, &after), 0);
    assert_int_equal(after.st_size, 1);
    unlink(at.path);
}

static void
a_socket_file_has_the_mode_that_was_asked_for(void **state)
{
    struct world *w = *state;
    static const int modes[] = {0600, 0666, 0777, 0};

    for (size_t i = 0; i < OL_COUNT(modes); i++) {
        struct ol_listen_spec spec = {
            .kind = OL_LINK_LISTENER, .at = in_directory(w, "mode.sock"), .mode = modes[i]};
        struct ol_addr bound;
        struct stat made;
        struct peer *p = peer(w);

        assert_int_equal(w->ops->listen(w->d, &p->link, &spec, &bound), 0);
        assert_int_equal(stat(spec.at.path, &made), 0);
        assert_int_equal(made.st_mode & 07777, modes[i]);
        close_peer(p, false);
        RUN_UNTIL(w, p->closed);
        assert_int_not_equal(stat(spec.at.path, &made), 0);
    }
}

static void
a_socket_file_of_somebody_else_survives_our_close(void **state)
{
    struct world *w = *state;
    struct ol_addr at = in_directory(w, "moved.sock");
    struct ol_addr bound;
    struct stat theirs;
    struct peer *p = listen_at(w, at, &bound);
    char aside[OL_PATH_MAX + 8];

    (void)snprintf(aside, sizeof aside, "%s.aside",
                   at.path); /* keeps the inode from being used again */
    assert_int_equal(rename(at.path, aside), 0);
    make_stale(&at);
    close_peer(p, false);
    RUN_UNTIL(w, p->closed);
    assert_int_equal(stat(at.path, &theirs), 0);
    unlink(at.path);
    unlink(aside);
}

static void
without_memory_a_listener_is_not_made(void **state)
{
    struct world *w = *state;
    struct peer *p = peer(w);
    struct ol_addr bound;
    int err;

    failing_heap_exhaust(&w->heap);
    err = try_listen(p, OL_LINK_LISTENER, in_directory(w, "poor.sock"), OL_PORT_ALONE, &bound);
    failing_heap_reset(&w->heap, 0);
    assert_int_equal(err, -ENOMEM);
}

/* ---- the list ---------------------------------------------------------------------------- */

static const struct CMUnitTest for_every_driver[] = {
    IN_WORLD(a_port_where_nobody_listens_refuses),
    IN_WORLD(a_path_that_is_not_there_is_told),
    IN_WORLD(a_port_in_use_is_told),
    IN_WORLD(both_families_share_a_port_number),
    IN_WORLD(siblings_share_a_port_and_a_stranger_does_not),
    IN_WORLD(accepting_can_be_stopped_and_started),
    IN_WORLD(a_hundred_clients_at_once_are_all_accepted),
    IN_WORLD(asked_for_singly_a_client_comes_for_each_start),
    IN_WORLD(a_live_socket_file_is_left_alone),
    IN_WORLD(without_memory_a_listener_is_not_made),
};

static const struct CMUnitTest for_the_kernel[] = {
    IN_WORLD(an_address_of_another_machine_is_refused),
    IN_WORLD(accepted_sockets_do_not_delay),
    IN_WORLD(running_out_of_descriptors_stops_accepting_without_a_spin),
    IN_WORLD(a_stale_socket_file_is_taken_over),
    IN_WORLD(a_file_that_is_no_socket_is_left_alone),
    IN_WORLD(a_socket_file_has_the_mode_that_was_asked_for),
    IN_WORLD(a_socket_file_of_somebody_else_survives_our_close),
};

int
main(void)
{
    return run_in_worlds(WORLD_TESTS(for_every_driver), WORLD_TESTS(for_the_kernel),
                         NO_WORLD_TESTS);
}
