/*
 * contract_test.c - promises of the public headers, each kept through the public functions alone.
 *
 * The loops live in the simulated network: a timer of 40 seconds takes no time, and a loop ends
 * when nothing more can happen.  Callbacks record; the test body asserts once the loop has ended.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { HELD_MAX = 4096, STEPS_MAX = 24 };

/* What one side of a conversation saw. */
struct side {
    struct talk *talk;
    outlet_conn conn; /* the last one */
    int opens;
    int messages;
    int events;
    int writables;
    int closes;
    size_t len; /* of the last message */
    size_t total;
    uint32_t flags;
    char text[32];
    outlet_err code; /* of the first close */
    bool keeps;      /* retains what it gets */
    const char *answer;
    void (*then)(struct talk *t); /* at its close */
};

struct step {
    struct talk *talk;
    void (*run)(struct talk *t);
};

struct talk {
    outlet_loop *loop;
    outlet_listener listener;
    struct side server;
    struct side client;
    outlet_buf *held[HELD_MAX];
    int held_count;
    struct step steps[STEPS_MAX];
    int step_count;
    int64_t result;
    size_t sent;
};

static void
opened(outlet_conn c, void *user)
{
    struct side *s = user;

    s->conn = c;
    s->opens++;
}

static void
heard(outlet_conn c, outlet_msg *m, void *user)
{
    struct side *s = user;
    const uint8_t *bytes = outlet_msg_data(m, &s->len);
    size_t part = s->len < sizeof s->text ? s->len : sizeof s->text - 1;

    memcpy(s->text, bytes, part);
    s->text[part] = 0;
    s->flags = outlet_msg_flags(m);
    s->messages++;
    s->total += s->len;
    if (s->keeps && s->talk->held_count < HELD_MAX) {
        outlet_buf *b = outlet_msg_retain(m);

        if (b)
            s->talk->held[s->talk->held_count++] = b;
    }
    if (s->answer)
        s->talk->result = outlet_send(c, s->answer, strlen(s->answer));
}

static void
writable(outlet_conn c, void *user)
{
    (void)c;
    ((struct side *)user)->writables++;
}

static void
event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    (void)c;
    (void)what;
    (void)value;
    ((struct side *)user)->events++;
}

static void
closed(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct side *s = user;

    (void)c;
    if (s->closes++ == 0)
        s->code = why->code;
    if (s->then)
        s->then(s->talk);
}

static const struct outlet_handlers on = {.size = sizeof on,
                                          .on_open = opened,
                                          .on_message = heard,
                                          .on_writable = writable,
                                          .on_event = event,
                                          .on_close = closed};

/* ---- a talk: made, run, ended ------------------------------------------------------------------
 */

static void
talk_init(struct talk *t, int64_t memory_max)
{
    struct outlet_loop_opts opts = {.size = sizeof opts, .driver = "sim", .memory_max = memory_max};

    memset(t, 0, sizeof *t);
    t->server.talk = t;
    t->client.talk = t;
    assert_int_equal(outlet_loop_new(&t->loop, &opts), OUTLET_OK);
}

static void
talk_fini(struct talk *t)
{
    assert_int_equal(outlet_loop_free(t->loop), OUTLET_OK);
}

static void
listen_at(struct talk *t, const char *url)
{
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .user = &t->server};

    assert_int_equal(outlet_listen(t->loop, url, &opts, &t->listener), OUTLET_OK);
}

static outlet_conn
connect_to(struct talk *t, const char *url)
{
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .user = &t->client};
    outlet_conn c;

    assert_int_equal(outlet_connect(t->loop, url, &opts, &c), OUTLET_OK);
    return c;
}

static void
run_step(outlet_timer timer, void *arg)
{
    struct step *s = arg;

    (void)timer;
    s->run(s->talk);
}

static void
at_ms(struct talk *t, int64_t ms, void (*run)(struct talk *t))
{
    struct step *s = &t->steps[t->step_count++];
    outlet_timer timer;

    *s = (struct step){t, run};
    assert_int_equal(outlet_timer_start(t->loop, ms, 0, run_step, s, &timer), OUTLET_OK);
}

static void
run_all(struct talk *t)
{
    assert_int_equal(outlet_loop_run(t->loop), OUTLET_OK);
}

/* ---- time that we did not read
 * ------------------------------------------------------------------- */

static void
pause_server(struct talk *t)
{
    (void)outlet_pause(t->server.conn); /* stale: the test will see it closed */
}

static void
resume_server(struct talk *t)
{
    (void)outlet_resume(t->server.conn); /* stale: the test will see it closed */
}

static void
send_rest(struct talk *t)
{
    t->result = outlet_send(t->client.conn, "llo", 3);
}

static void
a_pause_does_not_count_against_an_unfinished_message(void **state)
{
    static struct talk t;
    outlet_conn c;

    (void)state;
    talk_init(&t, 0);
    listen_at(&t, "tcp://:9000#frame=len:4be");
    c = connect_to(&t, "tcp://:9000");
    assert_true(outlet_send(c, "\0\0\0\5he", 6) > 0);
    at_ms(&t, 1000, pause_server);
    at_ms(&t, 41000, resume_server); /* partial_ms is 30 seconds */
    at_ms(&t, 42000, send_rest);
    run_all(&t);
    assert_int_equal(t.server.messages, 1);
    assert_string_equal(t.server.text, "hello");
    talk_fini(&t);
}

static void
send_much(struct talk *t)
{
    static const char bytes[65536];

    if (outlet_send(t->client.conn, bytes, sizeof bytes) >= 0)
        t->sent += sizeof bytes; /* else its end has no memory for it either */
}

static void
release_held(struct talk *t)
{
    t->result = (int64_t)t->server.total;
    while (t->held_count)
        outlet_buf_unref(t->held[--t->held_count]);
}

static void
waiting_for_memory_does_not_count_as_idle_and_idle_counts_again_after_it(void **state)
{
    static struct talk t;

    (void)state;
    talk_init(&t, 1 << 20);
    t.server.keeps = true;
    listen_at(&t, "tcp://:9000#idle_ms=1000");
    connect_to(&t, "tcp://:9000");
    for (int i = 1; i <= 15; i++)
        at_ms(&t, i, send_much);
    at_ms(&t, 5000, release_held);
    run_all(&t);
    assert_in_range(t.result, 1, t.sent - 1); /* reading had stopped */
    release_held(&t);
    assert_int_equal(t.server.total, t.sent);
    assert_int_equal(t.server.code, OUTLET_ETIMEDOUT);
    talk_fini(&t);
}

/* ---- datagrams
 * ------------------------------------------------------------------------------------- */

static void
a_silent_peer_makes_room_for_the_datagram_of_a_new_one(void **state)
{
    static struct talk t;
    outlet_conn a;
    outlet_conn b;

    (void)state;
    talk_init(&t, 0);
    listen_at(&t, "udp://127.0.0.1:9000#conns=1");
    a = connect_to(&t, "udp://127.0.0.1:9000");
    b = connect_to(&t, "udp://127.0.0.1:9000");
    assert_true(outlet_send(a, "one", 3) > 0);
    assert_true(outlet_send(b, "two", 3) > 0);
    run_all(&t);
    assert_int_equal(t.server.messages, 2);
    assert_int_equal(t.server.opens, 2);
    assert_int_equal(t.server.closes, 2);
    assert_int_equal(t.server.code, OUTLET_ELIMIT);
    talk_fini(&t);
}

static void
a_datagram_longer_than_max_is_cut_on_either_side(void **state)
{
    static struct talk t;
    outlet_conn c;

    (void)state;
    talk_init(&t, 0);
    t.server.answer = "too long";
    listen_at(&t, "udp://127.0.0.1:9000#max=8");
    c = connect_to(&t, "udp://127.0.0.1:9000#max=5");
    assert_int_equal(outlet_send(c, "longer", 6), OUTLET_EMSGSIZE);
    assert_true(outlet_send(c, "short", 5) > 0);
    run_all(&t);
    assert_int_equal(t.client.messages, 1);
    assert_string_equal(t.client.text, "too l");
    assert_int_equal(t.client.flags, OUTLET_MSG_TRUNCATED);
    talk_fini(&t);
}

/* ---- sending
 * --------------------------------------------------------------------------------------- */

static void
max_bounds_messages_and_not_a_stream_without_borders(void **state)
{
    static struct talk t;
    outlet_conn c;

    (void)state;
    talk_init(&t, 0);
    listen_at(&t, "tcp://:9000#max=4");
    c = connect_to(&t, "tcp://:9000#max=4");
    assert_int_equal(outlet_send(c, "longer", 6), 6);
    c = connect_to(&t, "tcp://:9000#max=4,frame=line");
    assert_int_equal(outlet_send(c, "longer", 6), OUTLET_EMSGSIZE);
    assert_int_equal(outlet_send(c, "l\nne", 4), OUTLET_EINVAL);
    c = connect_to(&t, "tcp://:9000#cap=5,frame=line");
    assert_int_equal(outlet_send(c, "12345", 5), OUTLET_EMSGSIZE); /* with its LF above cap */
    assert_int_equal(outlet_send(c, "1234", 4), 5);
    assert_int_equal(outlet_send(c, "", 0), OUTLET_EFULL);
    talk_fini(&t);
}

static void
a_refused_option_names_its_key_and_its_place(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .why = &why, .nodelay = OUTLET_ON};
    static struct talk t;
    outlet_conn c = {0};

    (void)state;
    talk_init(&t, 0);
    assert_int_equal(outlet_connect(t.loop, "unix:@name", &opts, &c), OUTLET_EINVAL);
    assert_string_equal(why.key, "nodelay");
    assert_int_equal(why.position, -1);
    assert_int_equal(c.id, 0);
    opts.nodelay = 0;
    assert_int_equal(outlet_connect(t.loop, "tcp://:9000#frme=line", &opts, &c), OUTLET_EINVAL);
    assert_string_equal(why.key, "frme");
    assert_int_equal(why.position, 12);
    talk_fini(&t);
}

static void
handlers_are_copied(void **state)
{
    struct outlet_handlers mine = on;
    struct outlet_opts opts = {.size = sizeof opts, .on = &mine};
    static struct talk t;
    outlet_conn c;

    (void)state;
    talk_init(&t, 0);
    opts.user = &t.client;
    assert_int_equal(outlet_connect(t.loop, "tcp://:9000", &opts, &c), OUTLET_OK);
    memset(&mine, 0, sizeof mine);
    run_all(&t);
    assert_int_equal(t.client.closes, 1);
    assert_int_equal(t.client.code, OUTLET_EREFUSED);
    mine.size = 3;
    assert_int_equal(outlet_connect(t.loop, "tcp://:9000", &opts, &c), OUTLET_ESTATE);
    talk_fini(&t);
}

/* ---- ending
 * ---------------------------------------------------------------------------------------- */

static void
drain(struct talk *t)
{
    t->result = outlet_loop_drain(t->loop, 0);
}

static void
begin_late(struct talk *t)
{
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .user = &t->client};
    outlet_conn a;
    outlet_conn b;

    t->server.then = NULL;
    t->client.then = NULL;
    if (outlet_pair(t->loop, "pair:", &opts, &a, &b) || outlet_connect(t->loop, ":9000", &opts, &a))
        t->result = OUTLET_ESYS;
}

static void
what_begins_while_the_loop_drains_ends_at_once(void **state)
{
    static struct talk t;

    (void)state;
    talk_init(&t, 0);
    listen_at(&t, "tcp://:9000");
    connect_to(&t, "tcp://:9000");
    at_ms(&t, 100, drain);
    t.server.then = begin_late; /* whoever of the two is first */
    t.client.then = begin_late;
    run_all(&t);
    assert_int_equal(t.result, OUTLET_OK);
    assert_int_equal(t.client.opens, 1);
    assert_int_equal(t.client.closes, 4);
    talk_fini(&t);
}

static void
nothing_to_call_is_refused(void **state)
{
    static struct talk t;
    outlet_timer timer = {0};

    (void)state;
    talk_init(&t, 0);
    assert_int_equal(outlet_post(t.loop, NULL, NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_timer_start(t.loop, 0, INT64_MAX, run_step, NULL, &timer),
                     OUTLET_EINVAL);
    assert_int_equal(outlet_timer_start(t.loop, 0, 0, NULL, NULL, &timer), OUTLET_EINVAL);
    assert_int_equal(timer.id, 0);
    talk_fini(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_does_not_count_against_an_unfinished_message),
        cmocka_unit_test(waiting_for_memory_does_not_count_as_idle_and_idle_counts_again_after_it),
        cmocka_unit_test(a_silent_peer_makes_room_for_the_datagram_of_a_new_one),
        cmocka_unit_test(a_datagram_longer_than_max_is_cut_on_either_side),
        cmocka_unit_test(max_bounds_messages_and_not_a_stream_without_borders),
        cmocka_unit_test(a_refused_option_names_its_key_and_its_place),
        cmocka_unit_test(handlers_are_copied),
        cmocka_unit_test(what_begins_while_the_loop_drains_ends_at_once),
        cmocka_unit_test(nothing_to_call_is_refused),
    };

    return cmocka_run_group_tests_name("contract", tests, NULL, NULL);
}
