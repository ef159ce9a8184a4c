/*
 * queue_test.c - bounded queues: when on_writable is owed, what happens at cap, and a loop that stays
 * within its memory whatever its peers do.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <pthread.h>
#include <stdio.h>

enum { KIB = 1024, MIB = 1 << 20 };

static void
pause_it(struct end *e)
{
    e->result = outlet_pause(e->c);
}

static const struct does sleepy = {.on_open = pause_it};

/* A sender `a` towards a peer that does not read; what the kernel takes first is filled up. */
struct stuck {
    struct net n;
    struct server s;
    struct end a;
};

static uint8_t block[64 * KIB];

static void
fill_the_kernel(void *arg)
{
    struct end *a = arg;

    /* Directly to the kernel until it takes no more. */
    for (int i = 0; i < 4096 && outlet_queued(a->c) == 0; i++) {
        a->result = outlet_send(a->c, block, sizeof block - 4);
    }
    a->results[15] = outlet_queued(a->c);
}

static void
get_stuck(struct stuck *k, const char *scheme, const char *options)
{
    memset(k, 0, sizeof *k);
    k->s.does = &sleepy;
    k->s.forget = true;
    net_open(&k->n, NULL);
    net_listen(&k->n, &k->s, NULL, "%s#frame=len:4be,idle_ms=off", net_place(&k->n, scheme));
    net_connect(&k->n, &k->a, NULL, "%s#frame=len:4be,stall_ms=off,%s", k->s.at, options);
    UNTIL(&k->n, k->a.opens && k->s.count && k->s.ends[0].opens);
    net_run_ms(&k->n, 2);
}

/* Until something stays queued. */
static void
fill_up(struct stuck *k)
{
    do {
        net_do(&k->n, fill_the_kernel, &k->a);
        net_run_ms(&k->n, 1);
    } while (outlet_queued(k->a.c) == 0);
}

static void
get_loose(struct stuck *k)
{
    net_end_fini(&k->a);
    net_server_fini(&k->s);
    net_close(&k->n);
}

/* ---- owed and paid ------------------------------------------------------------------------------------ */

static void
send_some(void *arg)
{
    struct end *a = arg;

    a->results[0] = outlet_send(a->c, block, (size_t)a->results[1]);
}

static void
on_writable_comes_once_when_the_queue_has_fallen_to_low(void **state)
{
    struct stuck k;
    int64_t below;

    (void)state;
    get_stuck(&k, "unix", "high=200K,low=100K");
    fill_up(&k);
    below = outlet_queued(k.a.c);
    assert_in_range(below, 1, 100 * KIB);
    /* Up to high nothing is owed. */
    k.a.results[1] = 100;
    net_do(&k.n, send_some, &k.a);
    assert_int_equal(outlet_resume(k.s.ends[0].c), OUTLET_OK);
    UNTIL(&k.n, outlet_queued(k.a.c) == 0);
    net_run_ms(&k.n, 1);
    assert_int_equal(k.a.writables, 0);

    for (int round = 1; round <= 3; round++) {
        assert_int_equal(outlet_pause(k.s.ends[0].c), OUTLET_OK);
        net_run_ms(&k.n, 1);
        fill_up(&k);
        k.a.results[1] = 60 * KIB;
        while (outlet_queued(k.a.c) <= 300 * KIB) {
            net_do(&k.n, send_some, &k.a);
            assert_true(k.a.results[0] > 0);
        }
        net_run_ms(&k.n, 1);
        assert_int_equal(k.a.writables, round - 1);
        assert_int_equal(outlet_resume(k.s.ends[0].c), OUTLET_OK);
        UNTIL(&k.n, k.a.writables == round);
        UNTIL(&k.n, outlet_queued(k.a.c) == 0);
        net_run_ms(&k.n, 1);
        assert_int_equal(k.a.writables, round);
    }
    get_loose(&k);
}

static void
see_the_queue(struct end *e)
{
    e->results[7] = outlet_queued(e->c);
}

/* At cap: refused, the queue as it was, and on_writable afterwards, from every thread alike. */
static void
a_refused_send_leaves_the_queue_and_is_told_of_room(void **state)
{
    static const struct does looks = {.on_writable = see_the_queue};

    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        struct stuck k;
        int64_t queued;
        int64_t messages;
        size_t sent;

        get_stuck(&k, "unix", "high=500K,cap=500K,low=50K");
        k.a.does = &looks;
        fill_up(&k);
        k.a.results[1] = 60 * KIB;
        do {
            queued = outlet_queued(k.a.c);
            if (outside)
                send_some(&k.a);
            else
                net_do(&k.n, send_some, &k.a);
        } while (k.a.results[0] > 0);
        assert_int_equal(k.a.results[0], OUTLET_EFULL);
        net_run_ms(&k.n, 1);
        assert_in_range(queued, 400 * KIB, 500 * KIB);
        assert_in_range(outlet_queued(k.a.c), 300 * KIB, queued + 16);
        assert_int_equal(outlet_send(k.a.c, block, 0) > 0, 1); /* a small one still fits */
        messages = net_number(k.a.c, "messages_out");
        assert_int_equal(k.a.writables, 0);
        assert_int_equal(outlet_resume(k.s.ends[0].c), OUTLET_OK);
        UNTIL(&k.n, k.a.writables == 1);
        assert_in_range(k.a.results[7], 0, 50 * KIB);
        UNTIL(&k.n, outlet_queued(k.a.c) == 0);
        sent = (size_t)net_number(k.a.c, "messages_out");
        assert_true((int64_t)sent >= messages);
        UNTIL(&k.n, k.s.ends[0].messages == sent);
        assert_int_equal(k.a.closes, 0);
        get_loose(&k);
    }
}

static void
a_message_longer_than_cap_is_refused_for_ever(void **state)
{
    struct stuck k;

    (void)state;
    get_stuck(&k, "tcp", "cap=10004");
    assert_int_equal(outlet_send(k.a.c, block, 10001), OUTLET_EMSGSIZE);
    k.a.results[1] = 10001;
    net_do(&k.n, send_some, &k.a);
    assert_int_equal(k.a.results[0], OUTLET_EMSGSIZE);
    k.a.results[1] = 10000;
    net_do(&k.n, send_some, &k.a);
    assert_true(k.a.results[0] >= 0);
    get_loose(&k);
}

/* ---- the other policies ----------------------------------------------------------------------------------- */

struct numbered {
    struct end *a;
    uint32_t next;
    int64_t worst; /* the least answer */
};

static void
send_numbered(void *arg)
{
    struct numbered *s = arg;
    uint8_t bytes[20000] = {0};
    int64_t result;

    for (int i = 0; i < 100; i++) {
        memcpy(bytes, &s->next, sizeof s->next);
        s->next++;
        result = outlet_send(s->a->c, bytes, sizeof bytes);
        if (result < s->worst)
            s->worst = result;
    }
}

static void
what_is_dropped_is_counted_and_told(void **state)
{
    static const char *const policies[] = {"drop_new", "drop_old"};

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        for (int outside = 0; outside < 2; outside++) {
            struct stuck k;
            struct numbered s;
            struct end *b;
            char options[64];
            uint32_t last = 0;
            size_t gaps = 0;

            snprintf(options, sizeof options, "cap=400K,full=%s", policies[p]);
            get_stuck(&k, "unix", options);
            b = &k.s.ends[0];
            b->forget = false;
            s = (struct numbered){.a = &k.a};
            for (int round = 0; round < 5; round++) {
                if (outside)
                    send_numbered(&s);
                else
                    net_do(&k.n, send_numbered, &s);
                net_run_ms(&k.n, 1);
            }
            if (!outside)
                assert_true(s.worst >= 0);
            assert_true(k.a.events >= 1);
            assert_int_equal(k.a.event, OUTLET_EVENT_DROPPED);
            assert_int_equal(k.a.value_sum, net_number(k.a.c, "dropped"));
            assert_true(k.a.value_sum > (outside ? 20 : 400)); /* the mail is bounded, too: EFULL */
            assert_in_range(outlet_queued(k.a.c), 1, 400 * KIB + 16);
            assert_int_equal(outlet_resume(b->c), OUTLET_OK);
            UNTIL(&k.n, outlet_queued(k.a.c) == 0 &&
                            (int64_t)b->messages == net_number(k.a.c, "messages_out") -
                                                        (p ? net_number(k.a.c, "dropped") : 0));
            /* Whole, in order; the newest or the oldest are missing. */
            for (size_t i = 0; i < b->messages; i++) {
                uint32_t number;

                if (i < NET_SIZES)
                    assert_int_equal(b->sizes[i], 20000);
                memcpy(&number, b->bytes + i * 20000, sizeof number);
                if (i)
                    assert_true(number > last);
                gaps += i && number != last + 1;
                last = number;
            }
            if (!outside) {
                assert_int_equal(b->messages + (size_t)k.a.value_sum, 500);
                if (p)
                    assert_int_equal(last, 499);
                else
                    assert_true(last < 499);
            }
            assert_int_equal(k.a.closes, 0);
            get_loose(&k);
        }
    }
}

static void
a_full_queue_may_close(void **state)
{
    (void)state;
    for (int outside = 0; outside < 2; outside++) {
        struct stuck k;
        struct numbered s;

        get_stuck(&k, "unix", "cap=400K,full=close");
        s = (struct numbered){.a = &k.a};
        for (int i = 0; i < 5 && !k.a.closes; i++) {
            if (outside)
                send_numbered(&s);
            else
                net_do(&k.n, send_numbered, &s);
            net_run_ms(&k.n, 1);
        }
        UNTIL(&k.n, k.a.closes);
        assert_int_equal(k.a.why.code, OUTLET_EFULL);
        assert_int_equal(k.a.why.side, OUTLET_BY_US);
        get_loose(&k);
    }
}

static void
dropping_needs_borders(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    struct net n;
    outlet_conn c;

    (void)state;
    net_open(&n, NULL);
    opts.why = &why;
    assert_int_equal(outlet_connect(n.loop, "tcp://127.0.0.1:1#full=drop_old", &opts, &c),
                     OUTLET_EINVAL);
    assert_string_equal(why.key, "full");
    assert_int_equal(outlet_connect(n.loop, "tcp://127.0.0.1:1#full=drop_new", &opts, &c),
                     OUTLET_EINVAL);
    net_close(&n);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static void
send_until_refused(void *arg)
{
    struct end *a = arg;

    for (int i = 0; i < 10000; i++) {
        a->results[0] = outlet_send(a->c, block, 30000);
        if (a->results[0] < 0)
            return;
    }
}

static void
sends_are_refused_at_memory_max_and_taken_again_below_it(void **state)
{
    static const int64_t maxima[] = {300 * KIB, MIB, 4 * MIB};

    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
        struct net n;
        struct server s = {.does = &sleepy, .forget = true};
        struct end a = {0};

        opts.memory_max = maxima[m];
        net_open(&n, &opts);
        n.loop = net_another_loop(&n, NULL); /* the reader is another program, as it were */
        net_listen(&n, &s, NULL, "%s#frame=len:4be,idle_ms=off", net_place(&n, "unix"));
        n.loop = n.loops[0];
        net_connect(&n, &a, NULL, "%s#frame=len:4be,stall_ms=off", s.at);
        UNTIL(&n, a.opens && s.count && s.ends[0].opens);
        for (int outside = 0; outside < 2; outside++) {
            size_t sent;

            if (outside)
                send_until_refused(&a);
            else
                net_do(&n, send_until_refused, &a);
            assert_int_equal(a.results[0], OUTLET_ENOMEM);
            sent = (size_t)net_number(a.c, "messages_out");
            assert_int_equal(a.closes, 0);
            assert_int_equal(outlet_resume(s.ends[0].c), OUTLET_OK);
            UNTIL(&n, outlet_queued(a.c) == 0 && s.ends[0].messages >= sent);
            assert_true(outlet_send(a.c, "again", 5) > 0);
            UNTIL(&n, s.ends[0].messages == (size_t)net_number(a.c, "messages_out"));
            assert_int_equal(outlet_pause(s.ends[0].c), OUTLET_OK);
            net_run_ms(&n, 1);
        }
        net_end_fini(&a);
        net_server_fini(&s);
        net_close(&n);
    }
}

struct hoard {
    outlet_buf *bufs[4096];
    size_t count;
    size_t refused;
};

static void
hoard_it(struct end *e, outlet_msg *m)
{
    struct hoard *h = e->arg;
    outlet_buf *b = outlet_msg_retain(m);

    if (b && h->count < 4096)
        h->bufs[h->count++] = b;
    else
        h->refused++;
}

static void
go_on_sending(struct end *e)
{
    while (outlet_queued(e->c) < 256 * KIB && outlet_send(e->c, block, 30000) >= 0) {
    }
}

static void *
drop_all(void *arg)
{
    struct hoard *h = arg;

    while (h->count > 0) {
        outlet_buf_unref(h->bufs[--h->count]);
    }
    return NULL;
}

/* Kept buffers count: reading stops before the limit, and goes on when they are gone, on whichever
 * thread that happens and though nothing else wakes the loop. */
static void
reading_stops_at_memory_max_and_goes_on_below_it(void **state)
{
    static const struct does hoards = {.on_message = hoard_it};
    static const struct does floods = {.on_open = go_on_sending, .on_writable = go_on_sending};

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
        struct net n;
        struct hoard h = {0};
        struct server s = {.does = &hoards, .arg = &h, .forget = true};
        struct end a = {.does = &floods};
        size_t stopped;
        pthread_t thread;

        opts.memory_max = round == 0 ? 800 * KIB : round == 1 ? 2 * MIB : 16 * MIB;
        net_open(&n, NULL); /* the sender has a loop of its own */
        n.loop = net_another_loop(&n, &opts);
        net_listen(&n, &s, NULL, "%s#frame=len:4be,idle_ms=off,partial_ms=off", net_place(&n, "unix"));
        n.loop = n.loops[0];
        net_connect(&n, &a, NULL, "%s#frame=len:4be,stall_ms=off", s.at);
        UNTIL(&n, s.count && h.count > 5);
        do {
            stopped = s.ends[0].messages;
            net_run_ms(&n, 30);
        } while (s.ends[0].messages > stopped);
        assert_int_equal(s.ends[0].closes, 0);
        assert_true(h.count > 5);
        assert_int_equal(pthread_create(&thread, NULL, drop_all, &h), 0);
        pthread_join(thread, NULL);
        UNTIL(&n, s.ends[0].messages > stopped + 5);
        assert_int_equal(s.ends[0].closes, 0);
        drop_all(&h);
        net_end_fini(&a);
        net_server_fini(&s);
        net_free_loops(&n);
        drop_all(&h);
        net_close(&n);
    }
}

/* Peers that begin messages and never end them may not stop the loop for good. */
static void
unfinished_messages_at_memory_max_run_out_of_time(void **state)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct net n;
    struct server s = {.forget = true};
    struct end e[30] = {{0}};
    struct end good = {0};

    (void)state;
    opts.memory_max = 8 * MIB;
    net_open(&n, NULL);
    n.loop = net_another_loop(&n, &opts);
    net_listen(&n, &s, NULL, "%s#frame=len:4be,partial_ms=200,idle_ms=off", net_place(&n, "unix"));
    n.loop = n.loops[0];
    for (int i = 0; i < 30; i++) {
        static uint8_t part[1000000] = {0, 15, 66, 64}; /* a million, of which most are missing */

        net_connect(&n, &e[i], NULL, "%s#stall_ms=off", s.at);
        assert_true(outlet_send(e[i].c, part, 300000) > 0);
    }
    UNTIL(&n, s.count == 30);
    net_connect(&n, &good, NULL, "%s#frame=len:4be,stall_ms=off", s.at);
    assert_true(outlet_send(good.c, "good", 4) > 0);
    UNTIL(&n, s.count == 31 && s.ends[30].messages == 1);
    for (int i = 0; i < 30; i++) {
        if (s.ends[i].closes)
            assert_true(s.ends[i].why.code == OUTLET_ETIMEDOUT ||
                        s.ends[i].why.code == OUTLET_ENOMEM);
    }
    net_server_fini(&s);
    net_close(&n);
}

static void
publish_one(struct end *e)
{
    outlet_buf *b = outlet_buf_copy(block, 20000);

    e->result = outlet_publish(e->net->loop, "all", b, (outlet_conn){0});
    outlet_buf_unref(b);
}

static void
publish_from_reactor(void *arg)
{
    publish_one(arg);
}

static void
ten_slow_peers_cost_no_more_than_their_queues(void **state)
{
    struct net n;
    struct server s = {.forget = true};
    struct end e[10] = {{0}};
    int64_t before;
    int64_t worst = 0;

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "%s#frame=len:4be,idle_ms=off,stall_ms=off,cap=200K,full=drop_old",
               net_place(&n, "unix"));
    for (int i = 0; i < 10; i++) {
        e[i].does = &sleepy;
        net_connect(&n, &e[i], NULL, "%s#frame=len:4be", s.at);
    }
    UNTIL(&n, s.count == 10 && s.ends[9].opens && e[9].opens);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(outlet_join(s.ends[i].c, "all"), OUTLET_OK);
    }
    before = failing_heap_bytes(&n.heap);
    for (int i = 0; i < 500; i++) {
        int64_t now;

        net_do(&n, publish_from_reactor, &s.ends[0]);
        now = failing_heap_bytes(&n.heap) - before;
        if (now > worst)
            worst = now;
    }
    assert_in_range(worst, 0, 10 * (200 + 300) * KIB + MIB);
    for (int i = 0; i < 10; i++) {
        assert_true(net_number(s.ends[i].c, "dropped") > 0);
        assert_int_equal(s.ends[i].closes, 0);
    }
    net_server_fini(&s);
    net_close(&n);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(on_writable_comes_once_when_the_queue_has_fallen_to_low),
    cmocka_unit_test(a_refused_send_leaves_the_queue_and_is_told_of_room),
    cmocka_unit_test(a_message_longer_than_cap_is_refused_for_ever),
    cmocka_unit_test(what_is_dropped_is_counted_and_told),
    cmocka_unit_test(a_full_queue_may_close),
    cmocka_unit_test(dropping_needs_borders),
    cmocka_unit_test(sends_are_refused_at_memory_max_and_taken_again_below_it),
    cmocka_unit_test(reading_stops_at_memory_max_and_goes_on_below_it),
    cmocka_unit_test(unfinished_messages_at_memory_max_run_out_of_time),
    cmocka_unit_test(ten_slow_peers_cost_no_more_than_their_queues),
};

NET_MAIN(tests)
