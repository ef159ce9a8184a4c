/*
 * facts_test.c - what can be asked of connections and listeners: user data, names, info, iteration.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *
info(outlet_conn c, const char *key)
{
    static char text[256];
    int64_t len = outlet_info(c, key, text, sizeof text);

    if (len < 0)
        snprintf(text, sizeof text, "%s", outlet_error_name(len));
    else if (strlen(text) != (size_t)len)
        return "wrong length";
    return text;
}

static void
ask_tcp(void *arg)
{
    struct end *e = arg;

    e->results[0] = net_number(e->c, "rtt_us");
    e->results[1] = net_number(e->c, "retransmits");
}

static void
every_fact_is_told(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e = {0};
    struct end *p = &s.ends[0];
    char copy[128];
    char small[6];
    char url[256];

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s#frame=line", s.at);
    UNTIL(&n, e.opens && s.count && p->opens);
    assert_true(outlet_send(e.c, "12345", 5) > 0);
    assert_true(outlet_send(e.c, "678", 3) > 0);
    UNTIL(&n, p->messages == 2);
    net_run_ms(&n, 20);

    assert_string_equal(info(e.c, "peer"), strstr(s.at, "127"));
    assert_string_equal(info(p->c, "local"), strstr(s.at, "127"));
    snprintf(copy, sizeof copy, "%s", info(e.c, "local"));
    assert_string_equal(info(p->c, "peer"), copy);
    assert_string_equal(info(e.c, "transport"), "tcp");
    assert_string_equal(info(e.c, "driver"), net_driver());
    assert_string_equal(outlet_loop_driver(n.loop), net_driver());
    snprintf(url, sizeof url, "%s#frame=line", s.at);
    assert_string_equal(info(e.c, "url"), url);
    assert_string_equal(info(e.c, "state"), "open");
    assert_true(net_number(e.c, "idle_ms") >= 15);
    assert_true(net_number(e.c, "age_ms") >= 0);
    assert_string_equal(info(e.c, "bytes_out"), "10");
    assert_string_equal(info(e.c, "bytes_in"), "0");
    assert_string_equal(info(p->c, "bytes_in"), "10");
    assert_string_equal(info(e.c, "messages_out"), "2");
    assert_string_equal(info(p->c, "messages_in"), "2");
    assert_string_equal(info(e.c, "queued"), "0");
    assert_string_equal(info(e.c, "dropped"), "0");
    assert_string_equal(info(e.c, "name"), "");
    assert_string_equal(info(e.c, "rtt_us"), "OUTLET_ETHREAD");
    net_do(&n, ask_tcp, &e);
    assert_true(e.results[0] >= 0);
    assert_true(e.results[1] >= 0);
    assert_string_equal(info(e.c, "no such key"), "OUTLET_ENOENT");
    assert_int_equal(outlet_info(e.c, "transport", small, 3), 3);
    assert_string_equal(small, "tc");
    assert_int_equal(outlet_info(e.c, "transport", NULL, 0), 3);
    assert_int_equal(outlet_info(e.c, NULL, small, 3), OUTLET_EINVAL);

    assert_int_equal(outlet_listener_info(s.l, "transport", copy, sizeof copy), 3);
    assert_true(outlet_listener_info(s.l, "local", copy, sizeof copy) > 0);
    assert_string_equal(copy, strstr(s.at, "127"));
    assert_true(outlet_listener_info(s.l, "driver", copy, sizeof copy) > 0);
    assert_string_equal(copy, net_driver());
    assert_int_equal(net_listener_number(&s, "connections"), 1);
    assert_int_equal(net_listener_number(&s, "accepted"), 1);
    assert_int_equal(net_listener_number(&s, "refused"), 0);
    assert_int_equal(net_listener_number(&s, "dropped"), 0);
    assert_int_equal(outlet_listener_info(s.l, "nothing", copy, sizeof copy), OUTLET_ENOENT);
    assert_int_equal(outlet_listener_close(s.l), OUTLET_OK);
    assert_int_equal(outlet_listener_info(s.l, "url", copy, sizeof copy), OUTLET_ESTALE);
    net_server_fini(&s);
    net_close(&n);
}

/* Its handle is known to other threads from then on; the reactor may come to it later. */
static void
time_counts_from_when_it_was_made_and_not_from_when_it_began(void **state)
{
    static const char *const schemes[] = {"tcp", "unix", "pair", "udp"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};
        int64_t before;
        int64_t age;
        int64_t idle;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, schemes[i]));
        before = net_now_ms(&n);
        net_connect(&n, &e, NULL, "%s", s.at);
        age = net_number(e.c, "age_ms");
        idle = net_number(e.c, "idle_ms");
        assert_in_range(idle, 0, net_now_ms(&n) - before + 1);
        assert_in_range(age, 0, net_now_ms(&n) - before + 1 + 125);
        net_server_fini(&s);
        net_close(&n);
    }
}

static void
facts_of_other_transports(void **state)
{
    static const char *const schemes[] = {"unix", "abstract", "pair", "udp"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct net n;
        struct server s = {0};
        struct end e = {0};

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, schemes[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        assert_true(outlet_send(e.c, "x", 1) >= 0);
        UNTIL(&n, e.opens && s.count && s.ends[0].len == 1);
        assert_string_equal(info(e.c, "transport"), i < 2 ? "unix" : schemes[i]);
        assert_string_equal(info(e.c, "url"), s.at);
        assert_string_equal(info(e.c, "rtt_us"), "OUTLET_ENOENT");
        assert_true(strncmp(info(e.c, "peer"), "OUTLET", 6) != 0);
        assert_true(strncmp(info(s.ends[0].c, "local"), "OUTLET", 6) != 0);
        net_server_fini(&s);
        net_close(&n);
    }
}

/* ---- user data
 * --------------------------------------------------------------------------------------- */

static void
user_data_is_what_callbacks_receive(void **state)
{
    struct net n;
    struct server s = {0};
    struct end first = {0};
    struct end second = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    net_connect(&n, &first, NULL, "%s", s.at);
    assert_ptr_equal(outlet_user(first.c), &first); /* set before anything can call back */
    UNTIL(&n, first.opens && s.count);
    assert_ptr_equal(outlet_user(s.ends[0].c), &s.ends[0]);
    assert_int_equal(outlet_set_user(first.c, &second), OUTLET_OK);
    assert_true(outlet_send(s.ends[0].c, "x", 1) > 0);
    UNTIL(&n, second.messages);
    assert_int_equal(first.messages, 0);
    assert_int_equal(outlet_close(first.c), OUTLET_OK);
    UNTIL(&n, second.closes);
    assert_int_equal(first.closes, 0);
    assert_null(outlet_user(first.c));
    net_end_fini(&second);
    net_close(&n);
}

/* ---- who the peer is
 * ------------------------------------------------------------------------------------ */

static void
ask_who(struct end *e)
{
    e->results[0] = net_number(e->c, "peer_pid");
    e->results[1] = net_number(e->c, "peer_uid");
    e->results[2] = net_number(e->c, "peer_gid");
}

static const struct does asks_who = {.on_open = ask_who};

static void
assert_is(const struct end *e, int64_t pid)
{
    assert_int_equal(e->results[0], pid);
    assert_int_equal(e->results[1], getuid());
    assert_int_equal(e->results[2], getgid());
}

static void
who_is_on_the_other_side_of_a_local_socket(void **state)
{
    static const char *const places[] = {"unix", "abstract", "unix-seqpacket", "pair"};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct server s = {.does = &asks_who};
        struct end e = {.does = &asks_who};
        struct net n;

        net_open(&n, NULL);
        net_listen(&n, &s, NULL, "%s", net_place(&n, places[i]));
        net_connect(&n, &e, NULL, "%s", s.at);
        UNTIL(&n, e.opens && s.count && s.ends[0].opens);
        assert_is(&e, getpid());
        assert_is(&s.ends[0], getpid());
        assert_int_equal(net_number(e.c, "peer_pid"), OUTLET_ETHREAD);
        net_close(&n);
    }
}

static void
another_process_is_told_apart(void **state)
{
    struct server s = {.does = &asks_who};
    struct server t = {.does = &asks_who};
    struct end e = {.does = &asks_who};
    struct net n;
    pid_t child;
    int stop[2];

    (void)state;
    if (net_is_sim())
        return;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s", net_place(&n, "unix"));
    net_listen(&n, &t, NULL, "tcp://127.0.0.1:0");
    assert_int_equal(pipe(stop), 0);
    child = fork();
    if (child == 0) {
        char byte;

        close(stop[1]);
        net_raw(&s);
        _exit(read(stop[0], &byte, 1) != 0);
    }
    assert_true(child > 0);
    UNTIL(&n, s.count && s.ends[0].opens);
    assert_is(&s.ends[0], child);
    net_connect(&n, &e, NULL, "%s", t.at);
    UNTIL(&n, e.opens);
    assert_int_equal(e.results[0], OUTLET_ENOENT);
    close(stop[0]);
    close(stop[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    net_close(&n);
}

/* ---- names
 * --------------------------------------------------------------------------------------------- */

static void
a_name_belongs_to_one_connection_until_it_ends(void **state)
{
    struct net n;
    struct server s = {0};
    struct end e[3] = {{0}};
    char name[257];

    (void)state;
    net_open(&n, NULL);
    assert_int_equal(outlet_by_name(n.loop, "alice").id, 0);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0");
    for (int i = 0; i < 3; i++) {
        net_connect(&n, &e[i], NULL, "%s", s.at);
    }
    assert_int_equal(outlet_set_name(e[0].c, "alice"), OUTLET_OK); /* also before it opened */
    UNTIL(&n, e[0].opens && e[1].opens && e[2].opens);
    assert_int_equal(outlet_by_name(n.loop, "alice").id, e[0].c.id);
    assert_int_equal(outlet_set_name(e[0].c, "alice"), OUTLET_OK);
    assert_int_equal(outlet_set_name(e[1].c, "alice"), OUTLET_EEXIST);
    assert_int_equal(outlet_set_name(e[1].c, "bob"), OUTLET_OK);
    assert_int_equal(outlet_set_name(e[1].c, "alice"), OUTLET_EEXIST);
    assert_string_equal(info(e[1].c, "name"), "bob");
    assert_int_equal(outlet_set_name(e[0].c, "carol"), OUTLET_OK);
    assert_int_equal(outlet_by_name(n.loop, "alice").id, 0);
    assert_int_equal(outlet_set_name(e[1].c, "alice"), OUTLET_OK);
    assert_int_equal(outlet_by_name(n.loop, "bob").id, 0);
    assert_int_equal(outlet_close(e[1].c), OUTLET_OK);
    UNTIL(&n, e[1].closes);
    assert_int_equal(outlet_by_name(n.loop, "alice").id, 0);
    assert_int_equal(outlet_set_name(e[2].c, "alice"), OUTLET_OK);
    assert_int_equal(outlet_set_name(e[2].c, NULL), OUTLET_OK);
    assert_int_equal(outlet_set_name(e[2].c, NULL), OUTLET_OK);
    assert_int_equal(outlet_by_name(n.loop, "alice").id, 0);
    memset(name, 'n', sizeof name);
    name[256] = 0;
    assert_int_equal(outlet_set_name(e[2].c, name), OUTLET_EINVAL);
    assert_int_equal(outlet_set_name(e[2].c, ""), OUTLET_EINVAL);
    name[255] = 0;
    assert_int_equal(outlet_set_name(e[2].c, name), OUTLET_OK);
    assert_int_equal(outlet_by_name(n.loop, name).id, e[2].c.id);
    assert_int_equal(outlet_info(e[2].c, "name", name, 4), 255);
    assert_string_equal(name, "nnn");
    net_close(&n);
}

/* ---- iteration
 * -------------------------------------------------------------------------------------------- */

struct visits {
    uint64_t ids[300];
    int count;
    int most;
};

static int
visit(outlet_conn c, void *arg)
{
    struct visits *v = arg;

    v->ids[v->count++] = c.id;
    (void)outlet_close(c); /* a call while iterating; it is alive, or not: both are fine */
    return v->count == v->most;
}

static void
all_open_connections_are_visited_once(void **state)
{
    struct net n;
    struct server a = {0};
    struct server b = {0};
    struct end e[40] = {{0}};
    struct visits v = {.most = 7};

    (void)state;
    net_open(&n, NULL);
    assert_int_equal(outlet_each(n.loop, (outlet_listener){0}, visit, &v), 0);
    net_listen(&n, &a, NULL, "tcp://127.0.0.1:0");
    net_listen(&n, &b, NULL, "%s", net_place(&n, "abstract"));
    for (int i = 0; i < 40; i++) {
        net_connect(&n, &e[i], NULL, "%s", i < 30 ? a.at : b.at);
    }
    UNTIL(&n, a.count == 30 && b.count == 10 && a.ends[29].opens && b.ends[9].opens &&
                  e[29].opens && e[39].opens);
    net_run_ms(&n, 2);
    assert_int_equal(outlet_each(n.loop, b.l, visit, &v), 7);
    assert_int_equal(outlet_each(n.loop, a.l, NULL, &v), OUTLET_EINVAL);
    v = (struct visits){.most = -1};
    assert_int_equal(outlet_each(n.loop, a.l, visit, &v), 30);
    for (int i = 0; i < 30; i++) {
        for (int k = 0; k < i; k++) {
            assert_true(v.ids[i] != v.ids[k]);
        }
        assert_int_equal(outlet_listener_of((outlet_conn){v.ids[i]}).id, a.l.id);
    }
    UNTIL(&n, net_listener_number(&a, "connections") == 0);
    v = (struct visits){.most = -1};
    assert_int_equal(outlet_each(n.loop, a.l, visit, &v), 0);
    assert_int_equal(outlet_listener_close(a.l), OUTLET_OK);
    assert_int_equal(outlet_each(n.loop, a.l, visit, &v), OUTLET_ESTALE);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_fact_is_told),
    cmocka_unit_test(time_counts_from_when_it_was_made_and_not_from_when_it_began),
    cmocka_unit_test(facts_of_other_transports),
    cmocka_unit_test(who_is_on_the_other_side_of_a_local_socket),
    cmocka_unit_test(another_process_is_told_apart),
    cmocka_unit_test(user_data_is_what_callbacks_receive),
    cmocka_unit_test(a_name_belongs_to_one_connection_until_it_ends),
    cmocka_unit_test(all_open_connections_are_visited_once),
};

NET_MAIN(tests)
