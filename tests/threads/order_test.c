/*
 * order_test.c - what several threads send and post arrives in each one's order, once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

enum { SENDERS = 4, CONNS = 6, EACH = 1500, POSTS = 3000 };

/* One message: who sent it, and the how-manieth of that sender on that connection it is. */
struct record {
    uint32_t sender;
    uint32_t number;
};

/* The far end of a connection, on one reactor: only its callbacks write here. */
struct far {
    uint32_t last[SENDERS];
    uint32_t wrong;
};

struct stage {
    outlet_loop *loop;
    outlet_conn conns[CONNS];
    struct far far[CONNS * 2];
    _Atomic int accepted;
    _Atomic int wrong;
    _Atomic int bad_end; /* why a connection broke, if one did */
    struct meet opened;
    struct meet arrived;
    struct meet closed;
};

static struct stage
    *the_stage; /* for accepted connections, whose user data becomes their struct far */

static int
on_accept(outlet_conn c, void *user)
{
    struct stage *s = user;
    int i = s->accepted++;

    return i < CONNS * 2 ? (int)outlet_set_user(c, &s->far[i]) : 1;
}

static void
on_open_far(outlet_conn c, void *user)
{
    (void)c;
    (void)user;
    meet_add(&the_stage->opened, 1);
}

static void
on_message_far(outlet_conn c, outlet_msg *m, void *user)
{
    struct far *f = user;
    struct record r;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    if (len < sizeof r) {
        the_stage->wrong++;
        return;
    }
    memcpy(&r, bytes, sizeof r);
    if (r.sender >= SENDERS || r.number != f->last[r.sender] + 1)
        the_stage->wrong++;
    else
        f->last[r.sender] = r.number;
    for (size_t i = sizeof r; i < len; i++) {
        the_stage->wrong += bytes[i] != (uint8_t)(r.sender + r.number);
    }
    meet_add(&the_stage->arrived, 1);
}

static void
on_open(outlet_conn c, void *user)
{
    (void)c;
    meet_add(&((struct stage *)user)->opened, 1);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)user;
    if (why->code)
        the_stage->bad_end = (int)why->code;
    meet_add(&the_stage->closed, 1);
}

static const struct outlet_handlers far_handlers = {.size = sizeof far_handlers,
                                                    .on_accept = on_accept,
                                                    .on_open = on_open_far,
                                                    .on_message = on_message_far,
                                                    .on_close = on_close};
static const struct outlet_handlers near_handlers = {.size = sizeof near_handlers,
                                                     .on_open = on_open,
                                                     .on_close = on_close};

struct sender {
    struct stage *stage;
    uint32_t me;
    int failed;
    pthread_t thread;
};

static int64_t
send_one(outlet_conn c, uint32_t sender, uint32_t number)
{
    static const size_t sizes[] = {0, 1, 50, 700, 3000, 0, 0, 9000};
    uint8_t bytes[sizeof(struct record) + 9000];
    struct record r = {sender, number};
    size_t more = sizes[(sender * 7 + number) % 8];
    struct iovec pieces[2] = {{bytes, sizeof r}, {bytes + sizeof r, more}};
    int64_t sent = OUTLET_ENOMEM;
    outlet_buf *b;

    memcpy(bytes, &r, sizeof r);
    memset(bytes + sizeof r, (uint8_t)(sender + number), more);
    switch (number % 3) { /* the three ways to send, mixed */
    case 0:
        return outlet_send(c, bytes, sizeof r + more);
    case 1:
        return outlet_sendv(c, pieces, 2);
    default:
        b = outlet_buf_copy(bytes, sizeof r + more);
        if (b)
            sent = outlet_send_buf(c, b);
        outlet_buf_unref(b);
        return sent;
    }
}

static void *
send_to_all(void *arg)
{
    struct sender *s = arg;

    for (uint32_t n = 1; n <= EACH; n++) {
        for (int i = 0; i < CONNS; i++) {
            if (send_one(s->stage->conns[i], s->me, n) < 0)
                s->failed++;
        }
    }
    return NULL;
}

static void
stage_open(struct stage *s, outlet_loop *l, const char *url)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener listener = {0};
    char at[256];

    memset(s, 0, sizeof *s);
    the_stage = s;
    s->loop = l;
    meet_init(&s->opened);
    meet_init(&s->arrived);
    meet_init(&s->closed);
    o.on = &far_handlers;
    o.user = s;
    o.frame = "len:4be";
    assert_int_equal(outlet_listen(l, url, &o, &listener), OUTLET_OK);
    assert_true(outlet_listener_info(listener, "url", at, sizeof at) > 0);
    o.on = &near_handlers;
    o.cap = OUTLET_OFF;
    o.flush_ms = OUTLET_OFF; /* however slow this machine is */
    for (int i = 0; i < CONNS; i++) {
        assert_int_equal(outlet_connect(l, at, &o, &s->conns[i]), OUTLET_OK);
    }
}

static void
per_sender_order_is_kept_and_nothing_is_lost_or_doubled(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "pair:order"};

    for (size_t u = 0; u < 2; u++) {
        outlet_loop *l = new_loop(state, 2);
        static struct stage s;
        struct sender senders[SENDERS];
        int failed = 0;

        stage_open(&s, l, urls[u]);
        assert_int_equal(outlet_loop_start(l), OUTLET_OK);
        assert_true(meet_wait(&s.opened, 2 * CONNS));
        for (uint32_t i = 0; i < SENDERS; i++) {
            senders[i] = (struct sender){.stage = &s, .me = i};
            assert_int_equal(pthread_create(&senders[i].thread, NULL, send_to_all, &senders[i]), 0);
        }
        for (int i = 0; i < SENDERS; i++) {
            pthread_join(senders[i].thread, NULL);
            failed += senders[i].failed;
        }
        assert_int_equal(failed, 0);
        assert_true(meet_wait(&s.arrived, SENDERS * CONNS * EACH));
        for (int i = 0; i < CONNS; i++) {
            assert_int_equal(outlet_close(s.conns[i]), OUTLET_OK);
        }
        assert_true(meet_wait(&s.closed, 2 * CONNS));
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        assert_int_equal(meet_count(&s.arrived), SENDERS * CONNS * EACH);
        assert_int_equal(s.wrong, 0);
    }
}

/* What was sent before the close, on the same thread, arrives before the end. */
static void *
send_then_close(void *arg)
{
    struct sender *s = arg;

    for (uint32_t n = 1; n <= EACH; n++) {
        if (send_one(s->stage->conns[s->me], s->me, n) < 0)
            s->failed++;
    }
    if (outlet_close(s->stage->conns[s->me]) != OUTLET_OK)
        s->failed++;
    return NULL;
}

static void
what_was_sent_before_a_close_arrives(void **state)
{
    outlet_loop *l = new_loop(state, 2);
    static struct stage s;
    struct sender senders[SENDERS];
    int failed = 0;

    stage_open(&s, l, "tcp://127.0.0.1:0");
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    assert_true(meet_wait(&s.opened, 2 * CONNS));
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.stage = &s, .me = i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_then_close, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        failed += senders[i].failed;
    }
    assert_true(meet_wait(&s.closed, 2 * SENDERS));
    assert_int_equal(s.bad_end, OUTLET_OK);
    assert_int_equal(failed, 0);
    assert_int_equal(meet_count(&s.arrived), SENDERS * EACH);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
}

/* ---- posts ---- */

struct poster;

struct errand {
    struct poster *poster;
    int number;
};

struct poster {
    outlet_loop *loop;
    struct errand errands[POSTS];
    int posted;
    int last; /* on the reactor */
    int ran;
    int wrong;
    outlet_err refusal;
    pthread_t thread;
};

static void
run_errand(void *arg)
{
    struct errand *e = arg;
    struct poster *p = e->poster;

    p->wrong += e->number <= p->last;
    p->last = e->number;
    p->ran++;
}

static void *
post_all(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++) {
        outlet_err err;

        p->errands[i] = (struct errand){p, i + 1};
        err = outlet_post(p->loop, run_errand, &p->errands[i]);
        if (err)
            p->refusal = err;
        else
            p->posted++;
    }
    return NULL;
}

static void
count_up(void *arg)
{
    meet_add(arg, 1);
}

static void
posts_run_in_the_order_of_each_thread(void **state)
{
    outlet_loop *l = new_loop(state, 3);
    static struct poster p[SENDERS];
    struct meet m;

    meet_init(&m);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int i = 0; i < SENDERS; i++) {
        memset(&p[i], 0, sizeof p[i]);
        p[i].loop = l;
        assert_int_equal(pthread_create(&p[i].thread, NULL, post_all, &p[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(p[i].thread, NULL);
    }
    assert_int_equal(outlet_post(l, count_up, &m), OUTLET_OK);
    assert_true(meet_wait(&m, 1));
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(p[i].posted, POSTS);
        assert_int_equal(p[i].ran, POSTS);
        assert_int_equal(p[i].wrong, 0);
    }
    meet_fini(&m);
}

/* The loop stops somewhere in between: what was taken runs, what was refused does not. */
static void
posts_taken_before_a_stop_all_run(void **state)
{
    for (int round = 0; round < 10; round++) {
        outlet_loop *l = new_loop(state, 2);
        static struct poster p[SENDERS];
        struct meet m;

        meet_init(&m);
        assert_int_equal(outlet_loop_start(l), OUTLET_OK);
        assert_int_equal(outlet_post(l, count_up, &m), OUTLET_OK);
        assert_true(meet_wait(&m, 1));
        for (int i = 0; i < SENDERS; i++) {
            memset(&p[i], 0, sizeof p[i]);
            p[i].loop = l;
            assert_int_equal(pthread_create(&p[i].thread, NULL, post_all, &p[i]), 0);
        }
        assert_int_equal(outlet_loop_stop(l), OUTLET_OK);
        for (int i = 0; i < SENDERS; i++) {
            pthread_join(p[i].thread, NULL);
        }
        assert_int_equal(outlet_loop_free(l), OUTLET_OK);
        for (int i = 0; i < SENDERS; i++) {
            assert_int_equal(p[i].ran, p[i].posted);
            assert_int_equal(p[i].wrong, 0);
            assert_true(p[i].refusal == OUTLET_OK || p[i].refusal == OUTLET_ESTATE);
        }
        meet_fini(&m);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(per_sender_order_is_kept_and_nothing_is_lost_or_doubled),
        TWICE(what_was_sent_before_a_close_arrives),
        TWICE(posts_run_in_the_order_of_each_thread),
        TWICE(posts_taken_before_a_stop_all_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
