/*
 * torture_test.c - small scenes, played again and again with the 1st, 2nd, 3rd... allocation
 * failing, and then with the 1st, 2nd, 3rd... driver call.
 *
 * Whatever fails: nothing crashes, nothing leaks, every handle that was given out is closed once, a
 * call that answered an error had no effect, and what arrives was sent, in order.  In the last
 * round nothing fails, and then the scene must come out as it is written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "io/loop/loop.h"
#include "outlet/outlet.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { ACTORS = 16, LINES = 64, LONG = 150000, TURNS_MAX = 20000, ROUNDS_MAX = 3000 };

struct scene;

struct actor {
    struct scene *scene;
    outlet_conn h;
    bool server;
    int opens;
    int closes;
    int messages;
    int ends;
    int next; /* number of the next line it sends */
    int last; /* number of the last line that it heard */
    bool wrong;
    outlet_err code;
};

struct script {
    const char *name;
    void (*play)(struct scene *s);
    void (*at_open)(struct actor *a);
    void (*at_message)(struct actor *a, outlet_msg *m);
    int opens; /* that a scene without failures has */
    int messages;
};

struct scene {
    const struct script *script;
    struct failing_heap heap;
    struct ol_sim *world;
    struct outlet_loop *loop;
    struct outlet_loop *other; /* NULL: everyone is on the same */
    struct actor actors[ACTORS];
    int actor_count;
    int timers;
    int posts;
    int posts_due;
    outlet_buf *kept;
    bool wrong;
    const char *what;
};

static const struct script *playing;
static uint64_t failing;
static const char *failing_what;

static void
say_where(int sig)
{
    fprintf(stderr, "in \"%s\", %s %llu\n", playing->name, failing_what,
            (unsigned long long)failing);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* ---- actors ---- */

static struct actor *
new_actor(struct scene *s, bool server)
{
    struct actor *a = &s->actors[s->actor_count++];

    a->scene = s;
    a->server = server;
    a->last = -1;
    return a;
}

static void
bad(struct scene *s, const char *what)
{
    if (!s->wrong)
        s->what = what;
    s->wrong = true;
}

/* A numbered line.  Only what was taken uses its number up. */
static bool
say(struct actor *a, size_t len)
{
    static uint8_t bytes[LONG];
    bool taken;

    memset(bytes, 'a' + a->next % 26, len);
    bytes[0] = (uint8_t)('A' + a->next);
    taken = outlet_send(a->h, bytes, len) >= 0;
    a->next += taken;
    return taken;
}

static int
on_accept(outlet_conn c, void *user)
{
    struct scene *s = user;
    struct actor *a;

    if (s->actor_count == ACTORS)
        return 1;
    a = new_actor(s, true);
    a->h = c;
    return outlet_set_user(c, a) != OUTLET_OK;
}

static void
on_open(outlet_conn c, void *user)
{
    struct actor *a = user;

    (void)c;
    a->opens++;
    if (a->closes)
        bad(a->scene, "opened after its close");
    if (a->scene->script->at_open)
        a->scene->script->at_open(a);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct actor *a = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    int number = bytes[0] - 'A';

    (void)c;
    a->messages++;
    if (a->opens != 1 || a->closes)
        bad(a->scene, "a message outside of open and close");
    if (len == 0 || number <= a->last || number >= LINES)
        bad(a->scene, "lines out of order");
    for (size_t i = 1; i < len; i++) {
        if (bytes[i] != 'a' + number % 26) {
            bad(a->scene, "a damaged line");
            break;
        }
    }
    a->last = number;
    if (a->scene->script->at_message)
        a->scene->script->at_message(a, m);
}

static void
on_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct actor *a = user;

    (void)value;
    if (what != OUTLET_EVENT_END)
        return;
    a->ends++;
    (void)outlet_close(c); /* alive: it is being told of this */
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct actor *a = user;

    (void)c;
    a->closes++;
    a->code = why->code;
    if (!why->text[0])
        bad(a->scene, "a reason without words");
}

static const struct outlet_handlers handlers = {.size = sizeof handlers,
                                                .on_accept = on_accept,
                                                .on_open = on_open,
                                                .on_message = on_message,
                                                .on_event = on_event,
                                                .on_close = on_close};

/* ---- what scripts do ---- */

static void
run_ms(struct scene *s, int64_t ms)
{
    ol_time until = ol_sim_now(s->world) + ms * OL_MS;

    for (int i = 0; i < TURNS_MAX; i++) {
        struct ol_driver *d = ol_sim_next(s->world, until);
        struct ol_reactor *r;

        if (!d)
            return;
        r = ol_loop_reactor_of(s->loop, d);
        if (ol_reactor_turn(r ? r : ol_loop_reactor_of(s->other, d), 0) < 0)
            bad(s, "a turn failed");
    }
    bad(s, "no rest");
}

static outlet_listener
hear(struct scene *s, const char *url)
{
    struct outlet_opts o = OUTLET_OPTS;
    outlet_listener l = {0};

    o.on = &handlers;
    o.user = s;
    if (outlet_listen(s->loop, url, &o, &l) && l.id)
        bad(s, "listen failed and gave a handle");
    return l;
}

static struct actor *
call(struct scene *s, const char *url)
{
    struct outlet_opts o = OUTLET_OPTS;
    struct actor *a = new_actor(s, false);

    o.on = &handlers;
    o.user = a;
    if (outlet_connect(s->loop, url, &o, &a->h) && a->h.id)
        bad(s, "connect failed and gave a handle");
    return a;
}

static void
close_all(struct scene *s)
{
    for (int i = 0; i < s->actor_count; i++) {
        (void)outlet_close(s->actors[i].h); /* stale: it has ended already */
    }
}

static void
echo(struct actor *a, outlet_msg *m)
{
    size_t len;

    (void)outlet_msg_data(m, &len);
    if (a->server)
        (void)say(a, len);
}

static void
three_lines(struct actor *a)
{
    if (a->server)
        return;
    (void)say(a, 5);
    (void)say(a, 3000);
    (void)say(a, 1);
}

static void
long_line(struct actor *a)
{
    if (!a->server)
        (void)say(a, LONG);
}

/* ---- scripts ---- */

static void
play_tcp(struct scene *s)
{
    (void)hear(s, "tcp://127.0.0.1:7000#frame=len:4be");
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
}

static void
play_both_families(struct scene *s)
{
    outlet_listener l = hear(s, "tcp://:0#frame=line");
    char url[64];

    if (outlet_listener_info(l, "url", url, sizeof url) < 0)
        return;
    (void)call(s, url);
    run_ms(s, 100);
    (void)outlet_listener_close(l); /* it was alive a moment ago */
    run_ms(s, 100);
}

static void
play_admission(struct scene *s)
{
    (void)hear(s, "tcp://:7000#frame=line,accepts_per_second=10,deny=127.0.0.1,allow=::1");
    (void)call(s, "tcp://127.0.0.1:7000#frame=line"); /* is open until the server has looked */
    (void)call(s, "tcp://[::1]:7000#frame=line");
    (void)call(s, "tcp://[::1]:7000#frame=line"); /* waits */
    run_ms(s, 400);
    close_all(s);
    run_ms(s, 100);
}

static void
play_unix(struct scene *s)
{
    struct actor *a;

    (void)hear(s, "unix:///sim/a#frame=varint,half_open=on");
    a = call(s, "unix:///sim/a#frame=varint");
    (void)say(a, 10); /* before it is open, from outside */
    run_ms(s, 100);
    (void)outlet_end(a->h);
    run_ms(s, 100);
}

static void
play_pair(struct scene *s)
{
    struct outlet_opts o = OUTLET_OPTS;
    struct actor *a = new_actor(s, false);
    struct actor *b = new_actor(s, true);

    o.on = &handlers;
    if (outlet_pair(s->loop, "pair:#frame=line", &o, &a->h, &b->h)) {
        if (a->h.id || b->h.id)
            bad(s, "pair failed and gave handles");
        return;
    }
    (void)outlet_set_user(a->h, a); /* they have just been made */
    (void)outlet_set_user(b->h, b);
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
}

static void
play_plug(struct scene *s)
{
    (void)hear(s, "pair:somebody#frame=line");
    (void)call(s, "pair:somebody#frame=line");
    (void)call(s, "pair:nobody#frame=line");
    run_ms(s, 100);
}

static void
play_udp(struct scene *s)
{
    (void)hear(s, "udp://127.0.0.1:7000");
    (void)call(s, "udp://127.0.0.1:7000");
    (void)call(s, "udp://127.0.0.1:7000");
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
}

static void
play_local(struct scene *s)
{
    (void)hear(s, "unix-dgram:///run/a.sock");
    (void)call(s, "unix-dgram:///run/a.sock");
    (void)call(s, "unix-dgram:///run/a.sock");
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
}

static void
play_packets(struct scene *s)
{
    (void)hear(s, "unix-seqpacket:///run/a.sock");
    (void)call(s, "unix-seqpacket:///run/a.sock");
    (void)call(s, "unix-seqpacket:///run/b.sock");
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
}

static void
in_group(struct actor *a)
{
    if (a->server && outlet_join(a->h, "all"))
        (void)outlet_close(a->h);
}

static void
play_groups(struct scene *s)
{
    static const char text[] = "Aaaaa";
    outlet_buf *b = outlet_buf_copy(text, sizeof text - 1);
    outlet_conn nobody = {0};
    int64_t members;

    (void)hear(s, "tcp://127.0.0.1:7000#frame=line");
    for (int i = 0; i < 4; i++) {
        (void)call(s, "tcp://127.0.0.1:7000#frame=line");
    }
    run_ms(s, 100);
    members = outlet_group_count(s->loop, "all");
    if (members < 0 || members > 4)
        bad(s, "the wrong number of members");
    if (b && outlet_publish(s->loop, "all", b, nobody))
        members = 0;
    outlet_buf_unref(b);
    run_ms(s, 100);
    close_all(s);
    run_ms(s, 100);
    if (outlet_group_count(s->loop, "all") != 0)
        bad(s, "a group outlives its members");
}

static void
rang(outlet_timer t, void *arg)
{
    (void)t;
    ((struct scene *)arg)->timers++;
}

static void
ran(void *arg)
{
    ((struct scene *)arg)->posts++;
}

static void
play_timers_and_names(struct scene *s)
{
    outlet_timer t;
    struct actor *a;

    (void)hear(s, "tcp://127.0.0.1:7000#frame=line");
    a = call(s, "tcp://127.0.0.1:7000#frame=line");
    if (outlet_timer_start(s->loop, 5, 0, rang, s, &t) == OUTLET_OK)
        s->timers--;
    if (outlet_timer_start(s->loop, 5000, 5, rang, s, &t) == OUTLET_OK)
        (void)outlet_timer_stop(t);
    s->posts_due += outlet_post(s->loop, ran, s) == OUTLET_OK;
    run_ms(s, 100);
    if (outlet_set_name(a->h, "ada") == OUTLET_OK && outlet_by_name(s->loop, "ada").id != a->h.id)
        bad(s, "a name leads elsewhere");
    if (outlet_set_name(a->h, "bob") == OUTLET_OK && outlet_by_name(s->loop, "ada").id)
        bad(s, "an old name stays");
    close_all(s);
    run_ms(s, 100);
    if (outlet_by_name(s->loop, "ada").id || outlet_by_name(s->loop, "bob").id)
        bad(s, "a name outlives its connection");
    if (s->timers)
        bad(s, "a timer did not run, or too often");
}

static void
keep_and_pause(struct actor *a, outlet_msg *m)
{
    struct scene *s = a->scene;

    if (!s->kept)
        s->kept = outlet_msg_retain(m);
    (void)outlet_pause(a->h);
    if (outlet_resume(a->h))
        (void)outlet_close(a->h);
}

static void
play_keeping(struct scene *s)
{
    (void)hear(s, "tcp://127.0.0.1:7000#frame=len:4be");
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    run_ms(s, 1000);
    close_all(s);
    run_ms(s, 100);
}

static void
change(struct actor *a, outlet_msg *m)
{
    (void)m;
    if (a->server) {
        if (say(a, 7) && outlet_set_framing(a->h, "varint", NULL))
            (void)outlet_abort(a->h);
    } else if (outlet_set_framing(a->h, "varint", NULL) == OUTLET_OK) {
        (void)outlet_close(a->h);
    } else {
        (void)outlet_abort(a->h);
    }
}

static void
one_line(struct actor *a)
{
    if (!a->server)
        (void)say(a, 9);
}

static void
play_new_framing(struct scene *s)
{
    (void)hear(s, "tcp://127.0.0.1:7000#frame=line");
    (void)call(s, "tcp://127.0.0.1:7000#frame=line");
    run_ms(s, 100);
}

static void
play_drain(struct scene *s)
{
    (void)hear(s, "tcp://127.0.0.1:7000#frame=len:4be");
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    run_ms(s, 5);
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    if (outlet_loop_drain(s->loop, 1000))
        return;
    run_ms(s, 5000);
    for (uint32_t i = 0; i < s->loop->reactor_count; i++) {
        if (!ol_reactor_done(s->loop->reactors[i]))
            bad(s, "drained for five seconds and is not done");
    }
}

static void
play_stop(struct scene *s)
{
    (void)hear(s, "tcp://127.0.0.1:7000#frame=len:4be");
    (void)call(s, "tcp://127.0.0.1:7000#frame=len:4be");
    run_ms(s, 1);
    (void)call(s, "tcp://127.0.0.1:7001#frame=len:4be");
    if (outlet_loop_stop(s->loop))
        bad(s, "cannot be stopped");
    run_ms(s, 100);
}

static const struct script scripts[] = {
    {"tcp echo", play_tcp, three_lines, echo, 4, 12},
    {"long messages", play_tcp, long_line, echo, 4, 4},
    {"both families", play_both_families, three_lines, echo, 2, 6},
    {"admission", play_admission, three_lines, echo, 5, 12},
    {"half-close", play_unix, three_lines, echo, 2, 8},
    {"two plugged together", play_pair, three_lines, echo, 2, 6},
    {"a port of this process", play_plug, three_lines, echo, 2, 6},
    {"datagrams", play_udp, three_lines, echo, 4, 12},
    {"unix datagrams", play_local, three_lines, echo, 4, 12},
    {"packets", play_packets, three_lines, echo, 2, 6},
    {"packets kept", play_packets, long_line, keep_and_pause, 2, 1},
    {"groups", play_groups, in_group, NULL, 8, 4},
    {"timers and names", play_timers_and_names, NULL, NULL, 2, 0},
    {"keeping", play_keeping, three_lines, keep_and_pause, 2, 3},
    {"keeping long ones", play_keeping, long_line, keep_and_pause, 2, 1},
    {"new framing", play_new_framing, one_line, change, 2, 2},
    {"drain", play_drain, three_lines, echo, 2, 6},
    {"stop", play_stop, long_line, echo, -1, -1},
};

/* ---- rounds ---- */

static void
open_loop(struct scene *s)
{
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;

    o.allocator = s->heap.heap;
    o.threads = 2;
    if (ol_loop_new_in(&s->loop, &o, s->world))
        s->loop = NULL;
}

/* Plays once.  Answers whether something was made to fail. */
static bool
play(struct scene *s, const struct script *script, uint64_t fail_alloc, uint64_t fail_call,
     int sys_errno)
{
    struct ol_sim_faults faults = {.fail_call = fail_call, .fail_errno = sys_errno};
    bool failed;

    memset(s, 0, sizeof *s);
    s->script = script;
    playing = script;
    failing = fail_alloc ? fail_alloc : fail_call;
    failing_what = fail_alloc ? "allocation" : "driver call";
    failing_heap_init(&s->heap, fail_alloc);
    s->world = ol_sim_new(&ol_heap_system, 1, &faults);
    if (!s->world)
        return false;
    open_loop(s);
    if (s->loop) {
        script->play(s);
        (void)outlet_loop_free(s->loop); /* not in a callback */
    }
    failed = failing_heap_failed(&s->heap) || (fail_call && ol_sim_calls(s->world) >= fail_call);
    outlet_buf_unref(s->kept);
    if (ol_sim_open_sockets(s->world))
        bad(s, "open sockets");
    ol_sim_free(s->world);
    if (failing_heap_live(&s->heap))
        bad(s, "memory leaks");
    if (s->posts != s->posts_due)
        bad(s, "a posted function did not run once");
    for (int i = 0; i < s->actor_count; i++) {
        const struct actor *a = &s->actors[i];

        if (a->closes != (a->h.id != 0) || (!a->h.id && a->opens))
            bad(s, "not closed once");
        if (a->h.id && outlet_queued(a->h) != OUTLET_ESTALE)
            bad(s, "a handle is not stale");
    }
    return failed;
}

static void
check(const struct scene *s)
{
    if (s->wrong)
        fail_msg("\"%s\", %s %llu: %s", s->script->name, failing_what, (unsigned long long)failing,
                 s->what);
}

static void
check_whole(const struct scene *s)
{
    int opens = 0;
    int messages = 0;

    check(s);
    for (int i = 0; i < s->actor_count; i++) {
        opens += s->actors[i].opens;
        messages += s->actors[i].messages;
    }
    if (s->script->opens >= 0 && (opens != s->script->opens || messages != s->script->messages))
        fail_msg("\"%s\": %d opened, %d messages; expected %d and %d", s->script->name, opens,
                 messages, s->script->opens, s->script->messages);
}

static void
every_allocation_may_fail(void **state)
{
    struct scene s;

    (void)state;
    for (size_t i = 0; i < OL_COUNT(scripts); i++) {
        uint64_t n = 0;
        bool failed = true;

        while (failed && n < ROUNDS_MAX) {
            failed = play(&s, &scripts[i], ++n, 0, 0);
            check(&s);
        }
        assert_false(failed);
        print_message("%s: %llu allocations\n", scripts[i].name, (unsigned long long)n - 1);
        check_whole(&s);
    }
}

static void
every_driver_call_may_fail(void **state)
{
    static const int errnos[] = {ENOMEM, EMFILE, ECONNRESET, EPIPE};
    struct scene s;

    (void)state;
    for (size_t i = 0; i < OL_COUNT(scripts); i++) {
        for (size_t k = 0; k < OL_COUNT(errnos); k++) {
            uint64_t n = 0;
            bool failed = true;

            while (failed && n < ROUNDS_MAX) {
                failed = play(&s, &scripts[i], 0, ++n, errnos[k]);
                check(&s);
            }
            assert_false(failed);
            check_whole(&s);
        }
    }
}

/* ---- memory that comes back without a word ---- */

enum { HOARD = 60, HOARD_LEN = 20000 };

static struct {
    outlet_buf *bufs[HOARD];
    int count;
} hoard;

static void
hoard_it(struct actor *a, outlet_msg *m)
{
    if (a->server && hoard.count < HOARD) {
        hoard.bufs[hoard.count] = outlet_msg_retain(m);
        hoard.count += hoard.bufs[hoard.count] != NULL;
    }
}

static void
let_hoard_go(void)
{
    while (hoard.count > 0) {
        outlet_buf_unref(hoard.bufs[--hoard.count]);
    }
}

static void
reading_goes_on_when_kept_messages_are_let_go(void **state)
{
    static const struct script script = {.name = "hoard", .at_message = hoard_it};
    struct outlet_loop_opts o = OUTLET_LOOP_OPTS;
    struct scene s = {.script = &script};
    struct actor *a;
    int before;

    (void)state;
    playing = &script;
    failing_heap_init(&s.heap, 0);
    s.world = ol_sim_new(&ol_heap_system, 1, NULL);
    assert_non_null(s.world);
    o.allocator = s.heap.heap;
    o.memory_max = HOARD * HOARD_LEN;
    assert_int_equal(ol_loop_new_in(&s.loop, &o, s.world), OUTLET_OK);
    (void)hear(&s, "tcp://127.0.0.1:7000#frame=len:4be");
    s.other = s.loop;
    o.memory_max = 0;
    assert_int_equal(ol_loop_new_in(&s.loop, &o, s.world), OUTLET_OK);
    a = call(&s, "tcp://127.0.0.1:7000#frame=len:4be");
    run_ms(&s, 10);
    for (int i = 0; i < HOARD; i++) {
        assert_true(say(a, HOARD_LEN));
        run_ms(&s, 20);
    }
    run_ms(&s, 1000);
    assert_int_equal(s.actor_count, 2);
    before = s.actors[1].messages;
    assert_in_range(before, 1, HOARD - 1); /* reading stands still */
    let_hoard_go();
    run_ms(&s, 1000);
    assert_int_equal(s.actors[1].messages, HOARD);
    let_hoard_go();
    assert_int_equal(outlet_loop_free(s.loop), OUTLET_OK);
    assert_int_equal(outlet_loop_free(s.other), OUTLET_OK);
    ol_sim_free(s.world);
    check(&s);
    assert_int_equal(failing_heap_live(&s.heap), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail), cmocka_unit_test(every_driver_call_may_fail),
        cmocka_unit_test(reading_goes_on_when_kept_messages_are_let_go)};

    signal(SIGABRT, say_where);
    signal(SIGTERM, say_where);
    signal(SIGALRM, say_where);
    alarm(280);
    return cmocka_run_group_tests_name("sim_torture", tests, NULL, NULL);
}
