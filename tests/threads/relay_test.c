/*
 * relay_test.c - relays whose ends live on different reactors: each byte once and in order, and
 * an end that comes from anywhere reaches both.
 *
 *     accepted at `source` <--> connected | relayed | connected <--> accepted at `echo`
 *
 * SPDX-License-Identifier: MIT
 */
#include "meet.h"

enum { RELAYS = 24, LEN = 400000, PART = 10000, ROUNDS = 4 };

/* What the accepted end at `source` received; only its reactor writes here. */
struct got {
    size_t len;
    int wrong;
};

struct stage {
    _Atomic int accepted;
    struct got got[RELAYS * ROUNDS];
    _Atomic int wrong;
    _Atomic int failed; /* ends without order */
    bool chaos;
    struct meet opened; /* of what is relayed */
    struct meet closed; /* of both kinds of ends */
};

static uint8_t
byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761u >> 13);
}

static struct stage *the_stage;

static void
source_open(outlet_conn c, void *user)
{
    struct stage *s = user;
    int i = s->accepted++;
    uint8_t bytes[PART];

    if (i >= RELAYS * ROUNDS || outlet_set_user(c, &s->got[i]))
        s->wrong++;
    for (size_t at = 0; at < LEN; at += PART) {
        for (size_t k = 0; k < PART; k++) {
            bytes[k] = byte_at(at + k);
        }
        s->wrong += outlet_send(c, bytes, PART) == OUTLET_EFULL;
    }
    ignore(outlet_end(c)); /* it may be gone already */
}

static void
source_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct got *g = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    for (size_t i = 0; i < len; i++) {
        g->wrong += bytes[i] != byte_at(g->len + i);
    }
    g->len += len;
}

static void
source_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct got *g = user;

    (void)c;
    the_stage->wrong += g->wrong || g->len > LEN;
    the_stage->wrong += !the_stage->chaos && g->len != LEN;
    the_stage->failed += why->code != OUTLET_OK;
    meet_add(&the_stage->closed, 1);
}

static void
echo_message(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    the_stage->wrong += outlet_send(c, bytes, len) == OUTLET_EFULL;
}

static void
echo_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    (void)value;
    (void)user;
    if (what == OUTLET_EVENT_END)
        ignore(outlet_end(c)); /* it may be gone already */
}

/* What arrives before the relay is made would be nobody's. */
static void
relayed_open(outlet_conn c, void *user)
{
    (void)user;
    ignore(outlet_pause(c)); /* on its own reactor it cannot fail */
    meet_add(&the_stage->opened, 1);
}

static void
relayed_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    (void)why;
    (void)user;
    meet_add(&the_stage->closed, 1);
}

static void
one_round(void **state, bool chaos)
{
    static const struct outlet_handlers source = {.size = sizeof source,
                                                  .on_open = source_open,
                                                  .on_message = source_message,
                                                  .on_close = source_close};
    static const struct outlet_handlers echo = {
        .size = sizeof echo, .on_message = echo_message, .on_event = echo_event};
    static const struct outlet_handlers relayed = {
        .size = sizeof relayed, .on_open = relayed_open, .on_close = relayed_close};
    struct outlet_opts opts = {.size = sizeof opts, .on = &relayed, .high = 50000, .low = 5000};
    outlet_loop *l = new_loop(state, 3); /* first: it may skip the test */
    struct stage *s = calloc(1, sizeof *s);
    char urls[2][256];
    char source_at[256];
    char echo_at[256];
    int made = 0;

    the_stage = s;
    s->chaos = chaos;
    meet_init(&s->opened);
    meet_init(&s->closed);
    assert_int_equal(outlet_loop_start(l), OUTLET_OK);
    listen_at(l, "tcp://127.0.0.1:0#half_open", &source, s, source_at);
    listen_at(l, "tcp://127.0.0.1:0#half_open", &echo, s, echo_at);
    snprintf(urls[0], sizeof urls[0], "%.200s", source_at);
    snprintf(urls[1], sizeof urls[1], "%.200s", echo_at);
    urls[0][strcspn(urls[0], "#")] = 0;
    urls[1][strcspn(urls[1], "#")] = 0;
    for (int round = 0; round < ROUNDS; round++) {
        outlet_conn ends[RELAYS][2];

        for (int i = 0; i < RELAYS; i++) {
            assert_int_equal(outlet_connect(l, urls[0], &opts, &ends[i][0]), OUTLET_OK);
            assert_int_equal(outlet_connect(l, urls[1], &opts, &ends[i][1]), OUTLET_OK);
            made++;
        }
        assert_true(meet_wait(&s->opened, 2 * made));
        for (int i = 0; i < RELAYS; i++) {
            assert_int_equal(outlet_relay(ends[i][0], ends[i][1]), OUTLET_OK);
            assert_int_equal(outlet_resume(ends[i][0]), OUTLET_OK);
            assert_int_equal(outlet_resume(ends[i][1]), OUTLET_OK);
        }
        for (int i = 0; i < RELAYS && chaos; i++) {
            if (i % 4 == 0)
                ignore(outlet_abort(ends[i][round % 2])); /* it may be over already */
            else if (i % 4 == 1)
                ignore(outlet_close(ends[i][round % 2]));
        }
        if (chaos) {
            assert_true(meet_wait(&s->closed, 2 * made)); /* some never reached `source` */
        } else {
            assert_true(meet_wait(&s->closed, 3 * made));
            assert_int_equal(s->failed, 0);
        }
        assert_int_equal(s->wrong, 0);
    }
    assert_int_equal(outlet_loop_free(l), OUTLET_OK);
    assert_int_equal(s->wrong, 0);
    meet_fini(&s->opened);
    meet_fini(&s->closed);
    free(s);
}

static void
each_byte_passes_once_and_in_order_between_reactors(void **state)
{
    one_round(state, false);
}

static void
an_end_in_the_middle_reaches_both_reactors(void **state)
{
    one_round(state, true);
}

static const struct CMUnitTest tests[] = {
    TWICE(each_byte_passes_once_and_in_order_between_reactors),
    TWICE(an_end_in_the_middle_reaches_both_reactors),
};

int
main(void)
{
    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
