/*
 * handles_test.c - handles that live, are dead, or were never given out, on every thread at once.
 *
 * Four threads, and the callbacks of the loops themselves, call every function with handles that
 * are picked from everywhere while connections come and go and whole loops are made and freed.
 * Nothing may crash, and every answer must be one that the headers name.
 *
 * OUTLET_TEST_RUNS: how many calls each thread makes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { POOL = 512, THREADS = 4, CALLS = 10000, LOOPS = 15, CONNS_MAX = 150, LISTENERS = 4 };

struct zoo {
    outlet_loop *loop;
    char driver[8];
    _Atomic uint64_t pool[POOL];
    _Atomic uint32_t next;
    _Atomic int alive;
    _Atomic int opened;
    _Atomic int closed;
    _Atomic int wrong; /* an answer that no header names */
    _Atomic int loops; /* made on the side */
    _Atomic bool over;
    pthread_mutex_t lock; /* of what follows */
    outlet_listener listeners[LISTENERS];
    char at[LISTENERS][256];
    int event_fd;
};

static struct zoo zoo;
static _Thread_local uint64_t dice;

static uint64_t
roll(uint64_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (dice >> 11) % n;
}

static void
show(uint64_t id)
{
    zoo.pool[zoo.next++ % POOL] = id;
}

static uint64_t
some_id(void)
{
    uint64_t id = zoo.pool[roll(POOL)];

    switch (roll(8)) {
    case 0: /* nearly a handle: another generation, slot, reactor or kind */
        return id ^ UINT64_C(1) << roll(64);
    case 1: /* plausible: small numbers in every field */
        return roll(8) << 60 | roll(16) << 48 | roll(64) << 24 | roll(6);
    case 2:
        return roll(UINT64_C(1) << 53) << roll(12);
    case 3:
        return roll(2) ? 0 : UINT64_MAX;
    default:
        return id;
    }
}

/* Every answer that some header names for calls with handles. */
static void
check(int64_t answer)
{
    switch (answer) {
    case OUTLET_EINVAL:
    case OUTLET_ESTALE:
    case OUTLET_ESTATE:
    case OUTLET_EFULL:
    case OUTLET_EMSGSIZE:
    case OUTLET_ENOTSUP:
    case OUTLET_ETHREAD:
    case OUTLET_EEXIST:
    case OUTLET_ENOENT:
        return;
    default:
        if (answer < 0)
            zoo.wrong++;
    }
}

static void
fired(outlet_timer t, void *arg)
{
    (void)arg;
    show(t.id);
}

static void
ready(outlet_watch w, int events, void *arg)
{
    (void)events;
    (void)arg;
    if (roll(4) == 0)
        ignore(outlet_watch_stop(w));
}

static int
visit(outlet_conn c, void *arg)
{
    (void)arg;
    show(c.id);
    return roll(10) == 0;
}

static void
call_about_a_conn(outlet_conn c)
{
    static const char *const keys[] = {"peer",    "local",    "transport",   "driver", "url",
                                       "state",   "age_ms",   "idle_ms",     "queued", "name",
                                       "dropped", "bytes_in", "messages_in", "rtt_us", "nonsense"};
    static const char *const names[] = {"a", "b", "c", "a much longer name than the others", ""};
    static char bytes[3000];
    char text[128];
    outlet_buf *b;

    switch (roll(16)) {
    case 0:
    case 1:
    case 2:
        check(outlet_send(c, bytes, roll(sizeof bytes)));
        break;
    case 3:
        check(outlet_sendv(c, &(struct iovec){bytes, roll(100)}, 1));
        break;
    case 4:
        b = outlet_buf_copy(bytes, roll(sizeof bytes));
        if (b)
            check(outlet_send_buf(c, b));
        outlet_buf_unref(b);
        break;
    case 5:
        check(outlet_queued(c));
        break;
    case 6:
        check(outlet_pause(c));
        break;
    case 7:
        check(outlet_resume(c));
        break;
    case 8:
        check(roll(4) ? outlet_queued(c) : outlet_end(c));
        break;
    case 9:
        check(roll(8) ? outlet_resume(c) : outlet_close(c));
        break;
    case 10:
        check(roll(8) ? outlet_resume(c) : outlet_abort(c));
        break;
    case 11:
        check(outlet_set_framing(c, roll(2) ? "line" : "none", NULL));
        break;
    case 12:
        check(outlet_set_name(c, names[roll(5)]));
        break;
    case 13:
        check(outlet_info(c, keys[roll(sizeof keys / sizeof keys[0])], text, roll(sizeof text)));
        break;
    case 14:
        check(roll(2) ? outlet_join(c, names[roll(4)]) : outlet_leave(c, names[roll(4)]));
        break;
    default:
        show(outlet_listener_of(c).id);
        ignore(outlet_user(c) == &zoo);
        check(outlet_set_user(c, &zoo));
        break;
    }
}

static void
call_about_something(uint64_t id)
{
    char text[256];
    outlet_buf *b;

    switch (roll(12)) {
    case 0:
        check(roll(3) ? outlet_timer_stop((outlet_timer){id})
                      : outlet_watch_stop((outlet_watch){id}));
        break;
    case 1:
        check(outlet_listener_info((outlet_listener){id}, roll(2) ? "local" : "connections", text,
                                   sizeof text));
        break;
    case 2:
        if (roll(20) == 0)
            check(outlet_listener_close((outlet_listener){id}));
        break;
    case 3:
        check(outlet_send_to((outlet_listener){id}, "udp://127.0.0.1:9", "x", 1));
        break;
    case 4:
        check(outlet_each(zoo.loop, (outlet_listener){roll(2) ? id : 0}, visit, NULL));
        break;
    case 5:
        show(outlet_by_name(zoo.loop, roll(2) ? "a" : "b").id);
        check(outlet_group_count(zoo.loop, "a"));
        break;
    case 6:
        b = outlet_buf_copy("published", 9);
        if (b)
            check(outlet_publish(zoo.loop, roll(2) ? "a" : "b", b, (outlet_conn){id}));
        outlet_buf_unref(b);
        break;
    default:
        call_about_a_conn((outlet_conn){id});
        break;
    }
}

/* ---- callbacks, which call, too ---- */

static void
on_open(outlet_conn c, void *user)
{
    (void)user;
    zoo.opened++;
    show(c.id);
    if (!dice)
        dice = c.id | 1;
    call_about_something(roll(2) ? c.id : some_id());
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    (void)m;
    (void)user;
    if (!dice)
        dice = c.id | 1;
    if (roll(4) == 0)
        call_about_something(roll(4) ? some_id() : c.id);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)why;
    (void)user;
    zoo.alive--;
    zoo.closed++;
    if (!dice)
        dice = c.id | 1;
    call_about_something(roll(2) ? c.id : some_id());
}

static int
on_accept(outlet_conn c, void *user)
{
    (void)user;
    zoo.alive++; /* on_close takes it back, also when it is refused here */
    show(c.id);
    if (!dice)
        dice = c.id | 1;
    call_about_something(roll(2) ? c.id : some_id());
    return roll(10) == 0;
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_accept = on_accept,
                                                .on_open = on_open,
                                                .on_message = on_message,
                                                .on_close = on_close};

/* ---- new things ---- */

static void
listen_again(outlet_loop *l, int i)
{
    static const char *const urls[LISTENERS] = {"tcp://127.0.0.1:0", "tcp://127.0.0.1:0#frame=line",
                                                "udp://127.0.0.1:0", "pair:zoo"};
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener fresh = {0};
    char at[256] = "";

    o.on = &handlers;
    o.user = &zoo;
    pthread_mutex_lock(&zoo.lock);
    ignore(outlet_listener_close(zoo.listeners[i]));
    if (outlet_listen(l, urls[i], &o, &fresh) == OUTLET_OK) {
        zoo.listeners[i] = fresh;
        show(fresh.id);
        if (outlet_listener_info(fresh, "url", at, sizeof at) > 0)
            memcpy(zoo.at[i], at, sizeof at);
    }
    pthread_mutex_unlock(&zoo.lock);
}

static void
connect_somewhere(outlet_loop *l)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_conn c[2] = {{0}, {0}};
    char at[256];
    size_t i = roll(LISTENERS);

    if (zoo.alive > CONNS_MAX)
        return;
    o.on = &handlers;
    o.user = &zoo;
    pthread_mutex_lock(&zoo.lock);
    memcpy(at, zoo.at[i], sizeof at);
    pthread_mutex_unlock(&zoo.lock);
    if (roll(4) == 0) {
        zoo.alive += 2;
        if (outlet_pair(l, "pair:", &o, &c[0], &c[1]))
            zoo.alive -= 2;
        show(c[0].id);
        show(c[1].id);
        return;
    }
    zoo.alive++;
    if (outlet_connect(l, at, &o, &c[0]))
        zoo.alive--;
    show(c[0].id);
}

static void
new_timer_or_watch(outlet_loop *l)
{
    outlet_timer t = {0};
    outlet_watch w = {0};

    if (roll(3)) {
        ignore(outlet_timer_start(l, (int64_t)roll(20), (int64_t)roll(2) * 5, fired, NULL, &t));
        show(t.id);
    } else {
        ignore(outlet_watch_start(l, zoo.event_fd, OUTLET_READABLE, ready, NULL, &w));
        show(w.id);
    }
}

/* ---- the threads ---- */

struct worker {
    uint64_t seed;
    int calls;
    pthread_t thread;
};

static void *
call_everything(void *arg)
{
    struct worker *w = arg;

    dice = w->seed;
    for (int i = 0; i < w->calls || zoo.loops < LOOPS; i++) {
        switch (roll(12)) {
        case 0:
            connect_somewhere(zoo.loop);
            break;
        case 1:
            if (roll(10) == 0)
                new_timer_or_watch(zoo.loop);
            break;
        case 2:
            if (roll(40) == 0)
                listen_again(zoo.loop, (int)roll(LISTENERS));
            break;
        default:
            call_about_something(some_id());
            break;
        }
    }
    return NULL;
}

static void *
make_and_free_loops(void *arg)
{
    struct worker *w = arg;

    dice = w->seed;
    while (!zoo.over) {
        struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
        outlet_loop *l;

        o.driver = zoo.driver;
        o.threads = 1 + (int64_t)roll(2);
        if (outlet_loop_new(&l, &o))
            continue;
        zoo.loops++;
        if (roll(2))
            ignore(outlet_loop_start(l));
        for (int i = 0; i < 8; i++) {
            connect_somewhere(l);
            new_timer_or_watch(l);
            sched_yield();
        }
        if (outlet_loop_free(l) != OUTLET_OK)
            zoo.wrong++;
    }
    return NULL;
}

static int
calls_per_thread(void)
{
    const char *text = getenv("OUTLET_TEST_RUNS");

    return text ? (int)strtol(text, NULL, 10) : CALLS;
}

static void
any_handle_may_be_used_on_any_thread_at_any_time(void **state)
{
    struct worker w[THREADS];
    struct worker maker = {.seed = 4711};

    memset(&zoo, 0, sizeof zoo);
    snprintf(zoo.driver, sizeof zoo.driver, "%s", (const char *)*state);
    zoo.loop = new_loop(state, 2);
    pthread_mutex_init(&zoo.lock, NULL);
    zoo.event_fd = eventfd(1, EFD_NONBLOCK);
    dice = 42;
    for (int i = 0; i < LISTENERS; i++) {
        listen_again(zoo.loop, i);
    }
    assert_int_equal(outlet_loop_start(zoo.loop), OUTLET_OK);
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.seed = (uint64_t)i * 7919 + 1, .calls = calls_per_thread()};
        assert_int_equal(pthread_create(&w[i].thread, NULL, call_everything, &w[i]), 0);
    }
    assert_int_equal(pthread_create(&maker.thread, NULL, make_and_free_loops, &maker), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(w[i].thread, NULL);
    }
    zoo.over = true;
    pthread_join(maker.thread, NULL);
    assert_int_equal(outlet_loop_free(zoo.loop), OUTLET_OK);
    assert_int_equal(zoo.wrong, 0);
    assert_int_equal(zoo.alive, 0); /* each connection was closed once */
    assert_true(zoo.opened > 20 && zoo.closed > 20);
    /* And when all is over, every handle is dead. */
    for (int i = 0; i < POOL; i++) {
        uint64_t id = zoo.pool[i];

        assert_int_equal(outlet_close((outlet_conn){id}), OUTLET_ESTALE);
        assert_int_equal(outlet_listener_close((outlet_listener){id}), OUTLET_ESTALE);
        assert_int_equal(outlet_timer_stop((outlet_timer){id}), OUTLET_ESTALE);
        assert_int_equal(outlet_watch_stop((outlet_watch){id}), OUTLET_ESTALE);
    }
    close(zoo.event_fd);
    pthread_mutex_destroy(&zoo.lock);
}

/* ---- closed here, sent to from there ---- */

struct victim {
    outlet_conn conn;
    struct meet opened;
    struct meet closed;
    struct meet sending;
    _Atomic int64_t taken; /* bytes */
    _Atomic int64_t arrived;
    _Atomic int wrong;
};

static void
victim_open(outlet_conn c, void *user)
{
    (void)c;
    meet_add(&((struct victim *)user)->opened, 1);
}

static void
victim_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;

    (void)c;
    ignore(outlet_msg_data(m, &len) == NULL);
    ((struct victim *)user)->arrived += (int64_t)len;
}

static void
victim_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    meet_add(&((struct victim *)user)->closed, 1);
}

static const struct outlet_handlers victim_handlers = {.size = sizeof victim_handlers,
                                                       .on_open = victim_open,
                                                       .on_message = victim_message,
                                                       .on_close = victim_close};

/* Until the handle is dead: from then on it stays dead. */
static void *
send_until_it_is_gone(void *arg)
{
    struct victim *v = arg;
    int64_t answer;
    bool refused = false;

    meet_add(&v->sending, 1);
    do {
        answer = outlet_send(v->conn, "12345678", 8);
        v->taken += answer >= 0 ? 8 : 0;
        if (answer == OUTLET_ESTATE)
            refused = true;
        else if (answer >= 0 && refused)
            v->wrong++; /* closing, and then open again? */
        else if (answer < 0 && answer != OUTLET_ESTALE && answer != OUTLET_EFULL)
            v->wrong++;
    } while (answer != OUTLET_ESTALE);
    for (int i = 0; i < 100; i++) {
        v->wrong += outlet_send(v->conn, "x", 1) != OUTLET_ESTALE;
        v->wrong += outlet_close(v->conn) != OUTLET_ESTALE;
    }
    return NULL;
}

static void
a_handle_closed_here_while_others_send_to_it_dies_once(void **state)
{
    enum { ROUNDS = 60 };
    static outlet_err (*const finish[3])(outlet_conn) = {outlet_abort, outlet_close, outlet_end};
    outlet_loop *l = new_loop(state, 2);

    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    for (int round = 0; round < ROUNDS; round++) {
        struct outlet_opts o = OUTLET_OPTS;
        outlet_err (*end_it)(outlet_conn) = finish[round % 3];
        struct victim v;
        outlet_conn other = {0};
        pthread_t t[THREADS];

        memset(&v, 0, sizeof v);
        meet_init(&v.opened);
        meet_init(&v.closed);
        meet_init(&v.sending);
        o.on = &victim_handlers;
        o.user = &v;
        o.cap = 1 << 16;
        o.flush_ms = INT64_C(3600000); /* a close that waits for nothing shows below */
        assert_int_equal(outlet_pair(l, "pair:", &o, &v.conn, &other), OUTLET_OK);
        assert_true(meet_wait(&v.opened, 2));
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&t[i], NULL, send_until_it_is_gone, &v), 0);
        }
        assert_true(meet_wait(&v.sending, THREADS));
        assert_int_equal(end_it(v.conn), OUTLET_OK);
        assert_true(meet_wait(&v.closed, 2));
        for (int i = 0; i < THREADS; i++) {
            pthread_join(t[i], NULL);
        }
        assert_int_equal(meet_count(&v.closed), 2);
        assert_int_equal(v.wrong, 0);
        if (end_it != outlet_abort)
            assert_int_equal(v.arrived, v.taken);
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(a_handle_closed_here_while_others_send_to_it_dies_once),
        TWICE(any_handle_may_be_used_on_any_thread_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
