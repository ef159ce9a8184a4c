/*
 * sock_test.c - addresses survive the way to the kernel and back; a path is bound by one at a time.
 *
 * What goes through a driver is checked by the tests with driver_world.h; here stands what they
 * cannot reach.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct ol_addr
local(enum ol_addr_kind kind, const char *name, size_t len)
{
    struct ol_addr a = {.kind = (uint8_t)kind, .path_len = (uint8_t)len};

    memcpy(a.path, name, len);
    return a;
}

static void
addresses_survive_the_kernels_form(void **state)
{
    char longest[OL_PATH_MAX];
    struct ol_addr all[8];
    size_t n = 0;

    (void)state;
    memset(longest, 'x', sizeof longest);
    all[n++] = (struct ol_addr){.kind = OL_ADDR_V4, .port = 65535, .ip = {1, 2, 3, 4}};
    all[n++] = (struct ol_addr){
        .kind = OL_ADDR_V6, .port = 1, .zone = 7, .ip = {0xfe, 0x80, [15] = 9}};
    all[n++] = local(OL_ADDR_PATH, "/a", 2);
    all[n++] = local(OL_ADDR_PATH, longest, sizeof longest);
    all[n++] = local(OL_ADDR_ABSTRACT, longest, sizeof longest);
    all[n++] = local(OL_ADDR_ABSTRACT, "a\0b", 3);
    all[n++] = local(OL_ADDR_ABSTRACT, "", 0);
    for (size_t i = 0; i < n; i++) {
        union ol_sockaddr s;
        struct ol_addr back;
        socklen_t len = ol_sockaddr_set(&s, &all[i]);

        memset(&back, 0xDB, sizeof back);
        ol_sockaddr_get(&s, len, &back);
        assert_int_equal(back.kind, all[i].kind);
        assert_int_equal(back.path_len, all[i].path_len);
        assert_memory_equal(&back, &all[i], OL_ADDR_INET_SIZE);
        assert_memory_equal(back.path, all[i].path, (size_t)all[i].path_len + 1);
    }
}

static void
nothing_known_is_no_address(void **state)
{
    union ol_sockaddr s = {.any.sa_family = AF_UNIX};
    struct ol_addr a = {.kind = OL_ADDR_V4, .port = 1};
    struct ol_addr none = {.kind = OL_ADDR_NONE};

    (void)state;
    ol_sockaddr_get(&s, sizeof s.any.sa_family, &a);
    assert_int_equal(a.kind, OL_ADDR_NONE);
    a.kind = OL_ADDR_V4;
    ol_sockaddr_get(&s, 0, &a); /* a connected datagram socket or a nameless peer */
    assert_int_equal(a.kind, OL_ADDR_NONE);
    s.any.sa_family = AF_INET;
    ol_sockaddr_get(&s, 4, &a); /* cut short */
    assert_int_equal(a.kind, OL_ADDR_NONE);
    assert_int_equal(ol_sockaddr_set(&s, &none), 0);
}

static void
a_path_is_bound_by_one_at_a_time(void **state)
{
    char directory[] = "/tmp/outlet-test-XXXXXX";
    char path[64];
    char lock[80];
    struct ol_listen_spec spec = {.kind = OL_LINK_LISTENER, .mode = -1};
    struct ol_sock_file file;
    struct ol_addr bound;
    int holder;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/a.sock", directory);
    (void)snprintf(lock, sizeof lock, "%s.lock", path);
    spec.at = local(OL_ADDR_PATH, path, strlen(path));

    holder = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(holder, LOCK_EX), 0);
    assert_int_equal(ol_sock_listen(&spec, &bound, &file), -EADDRINUSE);
    assert_false(file.is_set);
    close(holder); /* died and left its lock file behind */

    fd = ol_sock_listen(&spec, &bound, &file);
    assert_true(fd >= 0);
    assert_true(file.is_set);
    assert_int_not_equal(access(lock, F_OK), 0);
    ol_sock_unlink(&file);
    close(fd);
    assert_int_equal(rmdir(directory), 0);
}

static void
a_path_that_cannot_be_is_refused(void **state)
{
    struct ol_listen_spec spec = {.kind = OL_LINK_LISTENER, .mode = -1};
    struct ol_sock_file file;
    struct ol_addr bound;

    (void)state;
    spec.at = local(OL_ADDR_PATH, "", 0);
    assert_int_equal(ol_sock_listen(&spec, &bound, &file), -EINVAL);
    spec.at = local(OL_ADDR_PATH, "a\0b", 3);
    assert_int_equal(ol_sock_listen(&spec, &bound, &file), -EINVAL);
    spec.at = local(OL_ADDR_PATH, "/nowhere/at/all", 15);
    assert_int_equal(ol_sock_listen(&spec, &bound, &file), -ENOENT);
    spec.at = (struct ol_addr){.kind = OL_ADDR_NONE};
    assert_int_equal(ol_sock_listen(&spec, &bound, &file), -EAFNOSUPPORT);
}

/* The kernel takes 1,024 pieces per call; more must be cut, not refused. */
static void
very_many_pieces_are_cut(void **state)
{
    struct iovec pieces[OL_SOCK_PIECES + 10];
    char byte = 'x';
    int32_t ends[2];

    (void)state;
    for (size_t i = 0; i < OL_COUNT(pieces); i++)
        pieces[i] = (struct iovec){&byte, 1};
    assert_int_equal(ol_sock_pair(ends), 0);
    assert_int_equal(ol_sock_send(ends[0], pieces, (int)OL_COUNT(pieces)), OL_SOCK_PIECES);
    ol_sock_close(ends[1], false);
    assert_int_equal(ol_sock_send(ends[0], pieces, 1), -EPIPE); /* and no signal */
    ol_sock_close(ends[0], false);
}

static void
what_the_network_says_is_told_from_what_we_did_wrong(void **state)
{
    (void)state;
    assert_true(ol_sock_is_peer_error(ECONNREFUSED));
    assert_true(ol_sock_is_peer_error(EHOSTUNREACH));
    assert_false(ol_sock_is_peer_error(EBADF));
    assert_false(ol_sock_is_peer_error(ENOMEM));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_survive_the_kernels_form),
        cmocka_unit_test(nothing_known_is_no_address),
        cmocka_unit_test(a_path_is_bound_by_one_at_a_time),
        cmocka_unit_test(a_path_that_cannot_be_is_refused),
        cmocka_unit_test(very_many_pieces_are_cut),
        cmocka_unit_test(what_the_network_says_is_told_from_what_we_did_wrong),
    };

    return cmocka_run_group_tests_name("sock", tests, NULL, NULL);
}
