/*
 * file_test.c - part of a file is sent as a message, whole and in its place between others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_SIZE = 3 << 20, OFFSET = 12345, PART = (2 << 20) + 77 };

static uint8_t *content;

static int
make_file(void)
{
    char path[] = "/tmp/outlet-file-XXXXXX";
    int fd = mkstemp(path);

    content = malloc(FILE_SIZE);
    if (fd < 0 || !content)
        abort();
    net_pattern(content, FILE_SIZE, 5);
    if (unlink(path) || write(fd, content, FILE_SIZE) != FILE_SIZE)
        abort();
    return fd;
}

static void
drop_file(int fd)
{
    close(fd);
    free(content);
    content = NULL;
}

static void
before_file_after(struct end *e)
{
    e->results[0] = outlet_send(e->c, "before", 6);
    e->results[1] = outlet_send_file(e->c, *(int *)e->arg, OFFSET, PART);
    e->results[2] = outlet_send(e->c, "after", 5);
}

static const struct does sends_a_file = {.on_open = before_file_after};

static void
a_file_stands_between_the_messages_around_it(const char *scheme, const char *frame)
{
    struct net n;
    struct server s = {0};
    struct end e = {.does = &sends_a_file};
    struct outlet_opts opts = OUTLET_OPTS;
    int fd = make_file();
    char at[256];
    struct end *got = &s.ends[0];

    e.arg = &fd;
    opts.max = 4 << 20;
    net_open(&n, NULL);
    snprintf(at, sizeof at, "%s#frame=%s", net_place(&n, scheme), frame);
    net_listen(&n, &s, &opts, "%s", at);
    net_connect(&n, &e, &opts, "%s#frame=%s", s.at, frame);
    UNTIL(&n, s.count == 1 && got->len == 11 + PART);
    assert_true(e.results[0] >= 0 && e.results[1] >= 0 && e.results[2] >= 0);
    assert_memory_equal(got->bytes, "before", 6);
    assert_memory_equal(got->bytes + 6, content + OFFSET, PART);
    assert_memory_equal(got->bytes + 6 + PART, "after", 5);
    if (strcmp(frame, "none") != 0) {
        assert_int_equal(got->messages, 3);
        assert_int_equal(got->sizes[1], PART);
    }
    net_server_fini(&s);
    net_close(&n);
    net_end_fini(&e);
    drop_file(fd);
}

static void
a_file_is_one_message_in_its_place(void **state)
{
    static const char *const schemes[] = {"tcp", "unix", "pair"};
    static const char *const frames[] = {"none", "len:4be", "varint", "hp:7"};

    (void)state;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        for (size_t k = 0; k < sizeof frames / sizeof *frames; k++) {
            a_file_stands_between_the_messages_around_it(schemes[i], frames[k]);
        }
    }
}

static void
a_file_that_cannot_be_sent_is_refused(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end line = {0};
    int fd = make_file();
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens);
    assert_int_equal(outlet_send_file(e.c, fd, 0, FILE_SIZE + 1), OUTLET_EINVAL);
    assert_int_equal(outlet_send_file(e.c, fd, -1, 1), OUTLET_EINVAL);
    assert_int_equal(outlet_send_file(e.c, fd, FILE_SIZE, 1), OUTLET_EINVAL);
    assert_int_equal(outlet_send_file(e.c, pipes[0], 0, 1), OUTLET_EINVAL);
    assert_int_equal(outlet_send_file(e.c, -1, 0, 1), OUTLET_EINVAL);
    net_connect(&n, &line, NULL, "%s#frame=line", s.at);
    UNTIL(&n, line.opens);
    assert_int_equal(outlet_send_file(line.c, fd, 0, 10), OUTLET_ENOTSUP);
    assert_int_equal(outlet_send_file((outlet_conn){12345}, fd, 0, 10), OUTLET_ESTALE);
    net_server_fini(&s);
    net_close(&n);
    close(pipes[0]);
    close(pipes[1]);
    net_end_fini(&e);
    net_end_fini(&line);
    drop_file(fd);
}

static void
a_file_that_becomes_shorter_ends_the_connection(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    int fd = make_file();

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.opens && s.count == 1);
    assert_true(outlet_send_file(e.c, fd, 0, FILE_SIZE) >= 0);
    assert_int_equal(ftruncate(fd, 100), 0);
    UNTIL(&n, e.closes && s.ends[0].closes);
    assert_int_equal(e.why.code, OUTLET_ESYS);
    assert_non_null(strstr(e.why.text, "shorter"));
    net_server_fini(&s);
    net_close(&n);
    net_end_fini(&e);
    drop_file(fd);
}

static volatile sig_atomic_t pipe_signals;

static void
count_signal(int signal)
{
    (void)signal;
    pipe_signals++;
}

static int
abort_at_once(struct end *e)
{
    (void)outlet_abort(e->c);
    return 0;
}

static const struct does hangs_up = {.on_accept = abort_at_once};

static void
send_it_again(struct end *e)
{
    if (e->messages == 0)
        e->result = outlet_send_file(e->c, *(int *)e->arg, 0, FILE_SIZE);
}

static const struct does keeps_sending = {.on_open = send_it_again, .on_writable = send_it_again};

static void
a_file_to_a_closed_peer_raises_no_signal(void **state)
{
    struct net n;
    struct server s = {.does = &hangs_up};
    struct end e = {.does = &keeps_sending};
    struct sigaction count = {.sa_handler = count_signal};
    struct sigaction before;
    int fd = make_file();

    (void)state;
    e.arg = &fd;
    pipe_signals = 0;
    sigaction(SIGPIPE, &count, &before);
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix"));
    net_connect(&n, &e, NULL, "%s", s.at);
    UNTIL(&n, e.closes);
    assert_int_equal(pipe_signals, 0);
    net_server_fini(&s);
    net_close(&n);
    net_end_fini(&e);
    sigaction(SIGPIPE, &before, NULL);
    drop_file(fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_file_is_one_message_in_its_place),
    cmocka_unit_test(a_file_that_cannot_be_sent_is_refused),
    cmocka_unit_test(a_file_that_becomes_shorter_ends_the_connection),
    cmocka_unit_test(a_file_to_a_closed_peer_raises_no_signal),
};

NET_MAIN(tests)
