/*
 * clients_test.c - who is connected to a session is listed, spoken to and sent away, one by one.
 *
 * All of it lives in one loop, which is turned until what is waited for has happened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 3, TURN_MS = 60000 };

struct far {
    outlet_conn c;
    char heard[64];
    size_t len;
    uint64_t bytes;
    bool open;
    bool closed;
    enum outlet_side side;
};

struct world {
    outlet_loop *loop;
    struct eng_sink sink;
    struct eng_session *session;
    char url[256];
    struct far far[CLIENTS];
    uint64_t opened;
    uint64_t closed;
    int readies;
    bool ended;
};

static void
emit(struct eng_sink *sink, const struct eng_event *e)
{
    struct world *w = (struct world *)((char *)sink - offsetof(struct world, sink));

    if (e->kind == ENG_LISTENING)
        snprintf(w->url, sizeof w->url, "%s", e->url);
    w->opened += e->kind == ENG_OPEN;
    w->closed += e->kind == ENG_CLOSE;
}

static void
ended(void *user, enum eng_result result)
{
    struct world *w = user;

    (void)result;
    w->ended = true;
}

static void
ready(void *user)
{
    struct world *w = user;

    w->readies++;
}

static void
far_open(outlet_conn c, void *user)
{
    struct far *f = user;

    (void)c;
    f->open = true;
}

static void
far_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct far *f = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    size_t room = sizeof f->heard - f->len;

    (void)c;
    memcpy(f->heard + f->len, bytes, len < room ? len : room);
    f->len += len < room ? len : room;
    f->bytes += len;
}

static void
far_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct far *f = user;

    (void)c;
    f->closed = true;
    f->side = why->side;
}

static const struct outlet_handlers far_handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = far_open,
    .on_message = far_message,
    .on_close = far_close,
};

#define TURN_UNTIL(w, what) \
    while (!(what))         \
    assert_int_equal(outlet_loop_turn((w)->loop, TURN_MS), OUTLET_OK)

static int
start(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct eng_session_opts opts = {.role = OUTLET_TO_LISTEN, .url = "tcp://127.0.0.1:0"};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts far = OUTLET_OPTS;

    memset(w, 0, sizeof *w);
    *state = w;
    assert_int_equal(outlet_loop_new(&w->loop, NULL), OUTLET_OK);
    w->sink.emit = emit;
    opts.sink = &w->sink;
    opts.payload = ENG_PAYLOAD_INPUT;
    opts.input = -1;
    opts.ready = ready;
    opts.ended = ended;
    opts.eol = "";
    opts.user = w;
    assert_int_equal(eng_session_start(w->loop, &opts, &w->session, &why), ENG_DONE);
    assert_int_equal(eng_session_ready(w->session, 0), ENG_NOBODY);
    far.on = &far_handlers;
    for (int i = 0; i < CLIENTS; i++) { /* one by one, so that their numbers are known */
        far.user = &w->far[i];
        assert_int_equal(outlet_connect(w->loop, w->url, &far, &w->far[i].c), OUTLET_OK);
        TURN_UNTIL(w, w->far[i].open && w->opened == (uint64_t)i + 1);
    }
    return 0;
}

static int
stop(void **state)
{
    struct world *w = *state;

    eng_session_stop(w->session, ENG_DONE);
    TURN_UNTIL(w, w->ended);
    eng_session_free(w->session);
    assert_int_equal(outlet_loop_free(w->loop), OUTLET_OK);
    return 0;
}

static void
the_oldest_is_listed_first(void **state)
{
    struct world *w = *state;
    struct eng_client c[CLIENTS];

    assert_int_equal(eng_session_clients(w->session, c, CLIENTS), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(c[i].id, i + 1);
        assert_int_equal(memcmp(c[i].peer, "127.0.0.1:", 10), 0);
        assert_true(c[i].opened_ns > 0);
        assert_true(i == 0 || c[i].opened_ns >= c[i - 1].opened_ns);
    }
    c[1].id = 77;
    assert_int_equal(eng_session_clients(w->session, c, 1), CLIENTS);
    assert_int_equal(c[0].id, 1);
    assert_int_equal(c[1].id, 77);
    assert_int_equal(eng_session_clients(w->session, NULL, 0), CLIENTS);
}

static void
one_is_spoken_to_or_all(void **state)
{
    struct world *w = *state;
    struct eng_client c[CLIENTS];
    struct eng_sent sent;

    eng_session_send(w->session, 2, "two", 3, &sent);
    assert_int_equal(sent.taken, 1);
    assert_int_equal(sent.refused, 0);
    eng_session_send(w->session, 0, "all", 3, &sent);
    assert_int_equal(sent.taken, CLIENTS);
    eng_session_send(w->session, 9, "none", 4, &sent);
    assert_int_equal(sent.taken + sent.refused, 0);
    assert_int_equal(eng_session_ready(w->session, 9), ENG_NOBODY);
    TURN_UNTIL(w, w->far[0].bytes == 3 && w->far[1].bytes == 6 && w->far[2].bytes == 3);
    assert_memory_equal(w->far[1].heard, "twoall", 6);
    eng_session_clients(w->session, c, CLIENTS);
    assert_int_equal(c[1].messages_out, 2);
    assert_int_equal(c[1].bytes_out, 6);
    assert_true(outlet_send(w->far[2].c, "back", 4) >= 0);
    do {
        assert_int_equal(outlet_loop_turn(w->loop, TURN_MS), OUTLET_OK);
        eng_session_clients(w->session, c, CLIENTS);
    } while (c[2].bytes_in != 4);
    assert_int_equal(c[2].messages_in, 1);
    assert_int_equal(c[0].messages_in, 0);
}

static void
who_is_behind_is_named_and_loses_nothing(void **state)
{
    static uint8_t block[256 * 1024];
    struct world *w = *state;
    struct eng_sent sent;
    uint64_t taken = 0;
    int before;

    outlet_pause(w->far[1].c);
    while (eng_session_ready(w->session, 2) == ENG_READY) {
        eng_session_send(w->session, 2, block, sizeof block, &sent);
        assert_int_equal(sent.taken, 1);
        taken += sizeof block;
        assert_int_equal(outlet_loop_turn(w->loop, 0), OUTLET_OK);
    }
    assert_int_equal(eng_session_ready(w->session, 2), ENG_BEHIND);
    assert_int_equal(eng_session_ready(w->session, 0), ENG_BEHIND);
    assert_int_equal(eng_session_ready(w->session, 1), ENG_READY);
    eng_session_send(w->session, 0, "late", 4, &sent);
    assert_int_equal(sent.taken, 2);
    assert_int_equal(sent.refused, 1);
    assert_int_equal(sent.refused_ids[0], 2);
    before = w->readies;
    outlet_resume(w->far[1].c);
    TURN_UNTIL(w, eng_session_ready(w->session, 0) == ENG_READY && w->far[1].bytes == taken);
    assert_true(w->readies > before);
}

static void
one_is_sent_away(void **state)
{
    struct world *w = *state;
    struct eng_client c[CLIENTS];

    assert_false(eng_session_kick(w->session, 0, false));
    assert_false(eng_session_kick(w->session, 4, false));
    assert_true(eng_session_kick(w->session, 2, false));
    assert_false(eng_session_kick(w->session, 2, false));
    TURN_UNTIL(w, w->far[1].closed && w->closed == 1);
    assert_int_equal(w->far[1].side, OUTLET_BY_PEER);
    assert_true(eng_session_kick(w->session, 3, true));
    TURN_UNTIL(w, w->far[2].closed && w->closed == 2);
    assert_int_equal(eng_session_clients(w->session, c, CLIENTS), 1);
    assert_int_equal(c[0].id, 1);
    assert_false(w->far[0].closed);
}

/* Who does not read has its end before it, for a minute; until then it can be reset. */
static void
one_that_is_sent_away_is_there_until_it_has_gone(void **state)
{
    static uint8_t block[256 * 1024];
    struct world *w = *state;
    struct eng_client c[CLIENTS];
    struct eng_sent sent;

    outlet_pause(w->far[1].c);
    while (eng_session_ready(w->session, 2) == ENG_READY) {
        eng_session_send(w->session, 2, block, sizeof block, &sent);
        assert_int_equal(outlet_loop_turn(w->loop, 0), OUTLET_OK);
    }
    assert_true(eng_session_kick(w->session, 2, false));
    assert_int_equal(eng_session_ready(w->session, 2), ENG_NOBODY);
    assert_int_equal(eng_session_clients(w->session, c, CLIENTS), CLIENTS);
    assert_int_equal(c[1].id, 2);
    assert_true(c[1].closing);
    assert_true(c[1].queued > 0);
    assert_false(c[0].closing);
    assert_true(eng_session_client(w->session, 2, c));
    assert_true(c[0].closing);
    assert_false(eng_session_client(w->session, 0, c));
    assert_false(eng_session_client(w->session, 4, c));
    assert_false(eng_session_kick(w->session, 2, false));
    assert_true(eng_session_kick(w->session, 2, true));
    outlet_resume(w->far[1].c);
    TURN_UNTIL(w, w->far[1].closed && w->closed == 1);
    assert_false(eng_session_client(w->session, 2, c));
}

/* ---- silence, on a clock that jumps ------------------------------------------------------- */

static void
note(outlet_timer t, void *arg)
{
    (void)t;
    *(bool *)arg = true;
}

static void
who_says_nothing_is_not_sent_away(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", "tcp://127.0.0.1:0#frame=line",
                                       "unix-seqpacket:@silent", "tcp://127.0.0.1:0#idle_ms=60s"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct world w = {.sink = {.emit = emit}};
        struct outlet_loop_opts loop = OUTLET_LOOP_OPTS;
        struct eng_session_opts opts = {.role = OUTLET_TO_LISTEN, .sink = &w.sink, .eol = ""};
        struct outlet_reason why = OUTLET_REASON;
        struct outlet_opts far = OUTLET_OPTS;
        outlet_timer timer;
        bool rang = false;

        loop.driver = "sim";
        loop.sim_seed = 1;
        assert_int_equal(outlet_loop_new(&w.loop, &loop), OUTLET_OK);
        opts.url = urls[i];
        opts.ended = ended;
        opts.user = &w;
        assert_int_equal(eng_session_start(w.loop, &opts, &w.session, &why), ENG_DONE);
        w.url[strcspn(w.url, "#")] = '\0';
        far.on = &far_handlers;
        far.user = &w.far[0];
        assert_int_equal(outlet_connect(w.loop, w.url, &far, &w.far[0].c), OUTLET_OK);
        assert_int_equal(outlet_timer_start(w.loop, 3600000, 0, note, &rang, &timer), OUTLET_OK);
        TURN_UNTIL(&w, rang);
        assert_int_equal(w.opened, 1);
        assert_int_equal(w.closed, i == 3);
        eng_session_stop(w.session, ENG_DONE);
        TURN_UNTIL(&w, w.ended);
        eng_session_free(w.session);
        assert_int_equal(outlet_loop_free(w.loop), OUTLET_OK);
    }
}

static void
unused(void *user)
{
    (void)user;
}

/* How often `what` stands in the text, which is no larger than that of a few records. */
static int
times(const char *text, const char *what)
{
    int n = 0;

    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

static void
a_recording_begins_in_the_middle(void **state)
{
    struct world *w = *state;
    struct eng_recorder *recorder;
    struct eng_sent sent;
    char path[] = "/tmp/outlet-clients-XXXXXX";
    char text[8192] = "";
    int error = 0;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    eng_session_send(w->session, 1, "early", 5, &sent);
    assert_true(eng_session_kick(w->session, 3, true));
    recorder = eng_recorder_open(path, ENG_RECORD_JSON, unused, NULL, &error);
    assert_non_null(recorder);
    eng_session_record(w->session, recorder);
    eng_session_send(w->session, 2, "late", 4, &sent);
    assert_int_equal(sent.taken, 1);
    TURN_UNTIL(w, w->far[1].len == 4 && w->closed == 1);
    eng_session_stop(w->session, ENG_DONE);
    TURN_UNTIL(w, w->ended);
    assert_int_equal(eng_recorder_close(recorder), 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    unlink(path);
    assert_int_equal(times(text, w->url), 1); /* with the port that was picked */
    assert_int_equal(times(text, "\"event\":\"open\""), 2);
    assert_int_equal(times(text, "\"event\":\"message\""), 1);
    assert_int_equal(times(text, "\"text\":\"late\""), 1);
    assert_int_equal(times(text, "\"event\":\"close\""), 2);
    assert_int_equal(times(text, "\"event\":\"end\""), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_oldest_is_listed_first, start, stop),
        cmocka_unit_test_setup_teardown(one_is_spoken_to_or_all, start, stop),
        cmocka_unit_test_setup_teardown(who_is_behind_is_named_and_loses_nothing, start, stop),
        cmocka_unit_test_setup_teardown(one_is_sent_away, start, stop),
        cmocka_unit_test_setup_teardown(one_that_is_sent_away_is_there_until_it_has_gone, start,
                                        stop),
        cmocka_unit_test(who_says_nothing_is_not_sent_away),
        cmocka_unit_test_setup_teardown(a_recording_begins_in_the_middle, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
