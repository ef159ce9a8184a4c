/*
 * settings_test.c - options: the URL, the caller's struct, the defaults, and the rules between
 * them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define L OUTLET_TO_LISTEN
#define C OUTLET_TO_CONNECT
#define OFF OUTLET_OFF

#define KIB 1024LL
#define MIB (1024 * KIB)

static struct ol_endpoint
parse(const char *url, enum outlet_role role, const struct outlet_opts *opts)
{
    struct outlet_reason why = OUTLET_REASON;
    struct ol_endpoint e;

    if (ol_endpoint_parse(url, role, opts, &e, &why) != OUTLET_OK)
        fail_msg("%s: %s", url, why.text);
    e.opts.frame = NULL; /* these point into what is about to be copied */
    e.opts.device = NULL;
    e.opts.local = NULL;
    e.opts.interface = NULL;
    e.opts.source = NULL;
    return e;
}

/* Refused, without a place in the URL unless `at` says so. */
static void
refuses(const char *url, enum outlet_role role, const struct outlet_opts *opts, int32_t at,
        const char *key)
{
    struct outlet_reason why = OUTLET_REASON;
    struct ol_endpoint e;

    if (ol_endpoint_parse(url, role, opts, &e, &why) != OUTLET_EINVAL)
        fail_msg("%s was taken, `%s` should not", url, key);
    if (why.position != at || strcmp(why.key, key) != 0 || why.text[0] == '\0')
        fail_msg("%s: at %d, key `%s`: %s", url, why.position, why.key, why.text);
}

static void
the_table_has_a_row_for_every_number_of_the_struct(void **state)
{
    (void)state;
    assert_int_equal(ol_options[OL_OPT_FRAME].offset, offsetof(struct outlet_opts, frame));
    for (size_t i = OL_OPT_MAX; i < OL_OPTIONS; i++) {
        size_t expected = offsetof(struct outlet_opts, max) + (i - OL_OPT_MAX) * sizeof(int64_t);
        bool found = false;

        for (size_t j = 0; j < OL_OPTIONS; j++)
            found = found || ol_options[j].offset == expected;
        assert_true(found);
        assert_non_null(ol_options[i].key);
    }
    assert_int_equal(sizeof(struct outlet_opts),
                     offsetof(struct outlet_opts, max) + (OL_OPTIONS - OL_OPT_MAX) * 8);
}

static void
defaults_are_those_written_beside_the_fields(void **state)
{
    static const struct {
        const char *url;
        enum outlet_role role;
        int64_t max;
        int64_t idle_ms;
        int64_t conns;
    } cases[] = {
        {"tcp://h:1", L, MIB, 300000, 0},
        {"tcp://h:1", C, MIB, OFF, 0},
        {"unix:a", L, MIB, 300000, 0},
        {"unix:a", C, MIB, OFF, 0},
        {"unix-dgram:a", L, 256 * KIB, 60000, 65536},
        {"unix-dgram:a", C, 256 * KIB, OFF, 0},
        {"unix-seqpacket:a", L, 256 * KIB, 300000, 0},
        {"unix-seqpacket:a", C, 256 * KIB, OFF, 0},
        {"udp://h:1", L, 65507, 60000, 65536},
        {"udp://h:1", C, 65507, OFF, 0},
        {"pair:", C, MIB, OFF, 0},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct outlet_opts o = parse(cases[i].url, cases[i].role, NULL).opts;
        const struct outlet_opts want = {
            .size = sizeof o,
            .max = cases[i].max,
            .connect_ms = 10000,
            .handshake_ms = 10000,
            .idle_ms = cases[i].idle_ms,
            .partial_ms = 30000,
            .stall_ms = 60000,
            .flush_ms = 5000,
            .high = 256 * KIB,
            .low = 64 * KIB,
            .cap = 16 * MIB,
            .full = OUTLET_FULL_REFUSE,
            .half_open = OFF,
            .nodelay = OUTLET_ON,
            .backlog = 4096,
            .conns = cases[i].conns,
            .conns_per_address = OFF,
            .mode = 0,
            .fds = OFF,
            .reuse = OFF,
            .keepalive_s = OFF,
            .user_timeout_ms = OFF,
            .ttl = 1,
            .loop = OUTLET_ON,
            .broadcast = OFF,
            .accepts_per_second = OFF,
        };

        assert_memory_equal(&o, &want, sizeof o);
    }
}

static void
the_framing_of_the_endpoint_points_into_itself(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct ol_endpoint e;

    (void)state;
    opts.frame = "line";
    assert_int_equal(ol_endpoint_parse("h:1", C, &opts, &e, NULL), OUTLET_OK);
    assert_ptr_equal(e.opts.frame, e.frame);
    assert_string_equal(e.frame, "line");
    assert_int_equal(e.frame_at, -1);
}

static void
the_struct_fills_what_the_url_leaves_open(void **state)
{
    static const struct outlet_handlers on = {.size = sizeof on};
    struct outlet_opts opts = OUTLET_OPTS;
    struct ol_endpoint e;
    int user;

    (void)state;
    opts.on = &on;
    opts.user = &user;
    opts.frame = "line";
    opts.max = 5;
    opts.idle_ms = 7;
    opts.nodelay = OFF;
    e = parse("tcp://h:1#max=6,frame=varint", C, &opts);
    assert_ptr_equal(e.opts.on, &on);
    assert_ptr_equal(e.opts.user, &user);
    assert_string_equal(e.frame, "varint");
    assert_int_equal(e.opts.max, 6);
    assert_int_equal(e.opts.idle_ms, 7);
    assert_int_equal(e.opts.nodelay, OFF);

    e = parse("tcp://h:1#frame=off,idle_ms=0", L, &opts); /* 0 is the default, and the URL wins */
    assert_string_equal(e.frame, "none");
    assert_int_equal(e.opts.idle_ms, 300000);
}

static void
a_struct_is_checked_by_the_same_table(void **state)
{
    static const struct {
        const char *url;
        enum outlet_role role;
        struct outlet_opts opts;
        const char *key;
    } cases[] = {
        {"h:1", C, {.max = -2}, "max"},
        {"h:1#max=9", C, {.max = -2}, "max"},
        {"h:1", C, {.idle_ms = INT64_MAX}, "idle_ms"},
        {"h:1", C, {.idle_ms = INT64_MIN}, "idle_ms"},
        {"h:1", C, {.low = OFF}, "low"},
        {"h:1", C, {.full = 5}, "full"},
        {"h:1", C, {.full = OFF}, "full"},
        {"h:1", C, {.half_open = 2}, "half_open"},
        {"h:1", C, {.backlog = 5}, "backlog"},
        {"h:1", C, {.handshake_ms = 5}, "handshake_ms"},
        {"h:1", L, {.connect_ms = 5}, "connect_ms"},
        {"h:1", L, {.mode = 0600}, "mode"},
        {"unix:a", L, {.mode = 01000}, "mode"},
        {"unix:@a", L, {.mode = 0600}, "mode"},
        {"unix:a", L, {.nodelay = OFF}, "nodelay"},
        {"udp://h:1", L, {.max = 65508}, "max"},
        {"udp://h:1", L, {.frame = "line"}, "frame"},
        {"h:1", L, {.frame = ""}, "frame"},
        {"h:1", L, {.accepts_per_second = 1000001}, "accepts_per_second"},
        {"h:1", C, {.accepts_per_second = 1}, "accepts_per_second"},
        {"pair:", L, {.accepts_per_second = 1}, "accepts_per_second"},
        {"h:1", C, {.allow = "::1"}, "allow"},
        {"unix:a", L, {.deny = "::1"}, "deny"},
        {"h:1", L, {.allow = ""}, "allow"},
        {"h:1", L, {.deny = " ,\n"}, "deny"},
        {"h:1", L, {.allow = "10.0.0.0/8, 10.0.0.0/33"}, "allow"},
        {"h:1#deny=::1", L, {.deny = "10.0.0.1/8"}, "deny"},
        {"h:1", L, {.full = OUTLET_FULL_DROP_NEW}, "full"},
        {"h:1", L, {.low = 2, .high = 1}, "high"},
        {"h:1", C, {.keepalive_s = 32768}, "keepalive_s"},
        {"h:1", C, {.keepalive_probes = 128, .keepalive_s = 1}, "keepalive_probes"},
        {"h:1", C, {.keepalive_interval_s = 5}, "keepalive_interval_s"},
        {"h:1", C, {.keepalive_probes = 5, .keepalive_s = OFF}, "keepalive_probes"},
        {"udp://h:1", C, {.keepalive_s = 5}, "keepalive_s"},
        {"h:1", C, {.user_timeout_ms = INT64_C(2147483648)}, "user_timeout_ms"},
        {"h:1", C, {.dscp = 64}, "dscp"},
        {"h:1", C, {.dscp = OFF}, "dscp"},
        {"unix:a", C, {.dscp = 5}, "dscp"},
        {"h:1", C, {.reuse = OUTLET_ON}, "reuse"},
        {"h:1", L, {.local = "127.0.0.1"}, "local"},
        {"h:1", C, {.local = "localhost"}, "local"},
        {"h:1", C, {.local = ""}, "local"},
        {"127.0.0.1:1", C, {.local = "::1"}, "local"},
        {"unix:a", C, {.device = "lo"}, "device"},
        {"h:1", C, {.device = "no such device"}, "device"},
        {"h:1", L, {.high = 2, .cap = 1}, "cap"},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct outlet_opts opts = cases[i].opts;

        opts.size = sizeof opts;
        refuses(cases[i].url, cases[i].role, &opts, -1, cases[i].key);
    }
}

static void
texts_of_the_struct_and_of_the_url_are_one(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct ol_endpoint e;
    char text[OL_ENDPOINT_TEXT];

    (void)state;
    opts.device = "lo";
    opts.local = "[fe80::1%lo]:5";
    assert_int_equal(ol_endpoint_parse("h:1", C, &opts, &e, NULL), OUTLET_OK);
    (void)ol_endpoint_print(&e, 0, text, sizeof text); /* the text is what matters */
    assert_string_equal(text, "tcp://h:1#device=lo,local=[fe80::1%25lo]:5");
    assert_ptr_equal(e.opts.device, e.texts[0]);
    assert_ptr_equal(e.opts.local, e.texts[1]);
    assert_int_equal(e.local.kind, OL_ADDR_V6);
    assert_int_equal(e.local.zone, 1);
    assert_int_equal(e.local.port, 5);
    assert_int_equal(ol_endpoint_parse("h:1#local=:7", C, &opts, &e, NULL), OUTLET_OK);
    assert_int_equal(e.local.kind, OL_ADDR_NONE);
    assert_int_equal(e.local.port, 7);
    assert_string_equal(e.opts.device, "lo");
}

static void
url_and_struct_that_disagree_are_refused_in_the_url(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    opts.low = 2 * KIB;
    refuses("h:1#high=1K", C, &opts, 9, "high");
    opts.low = 0;
    opts.high = 1 * KIB;
    refuses("h:1#low=2K", C, &opts, 8, "low");
    opts.high = 0;
    opts.frame = "line";
    refuses("h:1#full=drop_new,frame=none", C, &opts, 9, "full");
    opts.frame = NULL;
    opts.full = OUTLET_FULL_DROP_OLD;
    refuses("h:1", C, &opts, -1, "full");
    assert_int_equal(parse("h:1#frame=line", C, &opts).opts.full, OUTLET_FULL_DROP_OLD);
}

static void
defaults_of_the_queue_give_way_to_what_was_said(void **state)
{
    static const struct {
        struct outlet_opts said;
        int64_t low;
        int64_t high;
        int64_t cap;
    } cases[] = {
        {{.low = 1}, 1, 256 * KIB, 16 * MIB},
        {{.low = MIB}, MIB, MIB, 16 * MIB},
        {{.low = 32 * MIB}, 32 * MIB, 32 * MIB, 32 * MIB},
        {{.high = 10}, 10, 10, 16 * MIB},
        {{.high = 32 * MIB}, 64 * KIB, 32 * MIB, 32 * MIB},
        {{.cap = 10}, 10, 10, 10},
        {{.cap = 100 * KIB}, 64 * KIB, 100 * KIB, 100 * KIB},
        {{.high = OFF}, 64 * KIB, OFF, 16 * MIB},
        {{.high = OFF, .cap = 10}, 10, OFF, 10},
        {{.cap = OFF}, 64 * KIB, 256 * KIB, OFF},
        {{.cap = OFF, .low = 32 * MIB}, 32 * MIB, 32 * MIB, OFF},
        {{.low = 5, .high = 5, .cap = 5}, 5, 5, 5},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct outlet_opts opts = cases[i].said;
        struct ol_endpoint e;
        struct ol_endpoint again;
        char text[OL_ENDPOINT_TEXT];

        opts.size = sizeof opts;
        e = parse("h:1", C, &opts);
        assert_int_equal(e.opts.low, cases[i].low);
        assert_int_equal(e.opts.high, cases[i].high);
        assert_int_equal(e.opts.cap, cases[i].cap);

        (void)ol_endpoint_print(&e, 0, text, sizeof text); /* the text is what matters */
        again = parse(text, C, NULL);
        assert_memory_equal(&again.opts, &e.opts, sizeof e.opts);
    }
}

static void
a_framing_of_the_struct_can_stand_in_a_url(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct ol_endpoint e;
    char text[OL_ENDPOINT_TEXT];
    char longest[258];

    (void)state;
    opts.frame = "delim:,&#\n%0D";
    e = parse("h:1", C, &opts);
    assert_string_equal(e.frame, "delim:%2C%26%23%0A%0D");
    (void)ol_endpoint_print(&e, 0, text, sizeof text); /* the text is what matters */
    assert_string_equal(text, "tcp://h:1#frame=delim:%2C%26%23%0A%0D");
    assert_string_equal(parse(text, C, NULL).frame, e.frame);

    opts.frame = longest;
    for (size_t n = 254; n <= 256; n++) {
        memset(longest, 'x', n);
        longest[n] = '\0';
        if (n > 255)
            refuses("h:1", C, &opts, -1, "frame");
        else
            assert_string_equal(parse("h:1", C, &opts).frame, longest);
    }
    memset(longest, ',', 86); /* three bytes each */
    longest[86] = '\0';
    refuses("h:1", C, &opts, -1, "frame");
    longest[85] = '\0';
    assert_int_equal(strlen(parse("h:1", C, &opts).frame), 255);

    opts.frame = "none";
    assert_string_equal(parse("udp://h:1", C, &opts).frame, "none");
}

static void
an_older_struct_ends_where_its_size_says(void **state)
{
    struct outlet_opts opts = OUTLET_OPTS;

    (void)state;
    opts.max = 5;
    opts.idle_ms = 7;
    opts.size = offsetof(struct outlet_opts, idle_ms);
    assert_int_equal(parse("h:1", L, &opts).opts.max, 5);
    assert_int_equal(parse("h:1", L, &opts).opts.idle_ms, 300000);
    opts.size = sizeof opts.size;
    assert_int_equal(parse("h:1", L, &opts).opts.max, MIB);
    opts.size = sizeof opts.size - 1;
    refuses("h:1", L, &opts, -1, "");
    opts.size = 0;
    refuses("h:1", L, &opts, -1, "");
    opts.size = SIZE_MAX;
    refuses("h:1", L, &opts, -1, "");
}

static void
a_newer_struct_is_taken_while_its_new_fields_are_zero(void **state)
{
    struct {
        struct outlet_opts known;
        char tail[8];
    } newer = {.known = {.size = sizeof newer, .max = 5}};

    (void)state;
    assert_int_equal(parse("h:1", L, &newer.known).opts.max, 5);
    assert_int_equal(parse("h:1", L, &newer.known).opts.size, sizeof newer.known);
    newer.tail[7] = 1;
    refuses("h:1", L, &newer.known, -1, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_a_row_for_every_number_of_the_struct),
        cmocka_unit_test(defaults_are_those_written_beside_the_fields),
        cmocka_unit_test(the_framing_of_the_endpoint_points_into_itself),
        cmocka_unit_test(the_struct_fills_what_the_url_leaves_open),
        cmocka_unit_test(a_struct_is_checked_by_the_same_table),
        cmocka_unit_test(texts_of_the_struct_and_of_the_url_are_one),
        cmocka_unit_test(url_and_struct_that_disagree_are_refused_in_the_url),
        cmocka_unit_test(defaults_of_the_queue_give_way_to_what_was_said),
        cmocka_unit_test(a_framing_of_the_struct_can_stand_in_a_url),
        cmocka_unit_test(an_older_struct_ends_where_its_size_says),
        cmocka_unit_test(a_newer_struct_is_taken_while_its_new_fields_are_zero),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
