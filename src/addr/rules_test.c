/*
 * rules_test.c - who may come in: what a rule may look like, and which of several decides.
 *
 * SPDX-License-Identifier: MIT
 */
#include "failing_heap.h"
#include "rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define L OUTLET_TO_LISTEN

static struct failing_heap memory;

static const ol_heap *
heap(void)
{
    return &memory.heap;
}

static int
begin(void **state)
{
    (void)state;
    failing_heap_init(&memory, 0);
    return 0;
}

static int
nothing_is_left(void **state)
{
    (void)state;
    return failing_heap_live(&memory) != 0;
}

static struct ol_rules *
rules_of(const char *url, const char *allow, const char *deny)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct outlet_reason why = OUTLET_REASON;
    struct ol_rules *rules;
    struct ol_endpoint e;

    opts.allow = allow;
    opts.deny = deny;
    if (ol_endpoint_parse(url, L, &opts, &e, &why))
        fail_msg("%s, allow %s, deny %s: %s", url, allow, deny, why.text);
    assert_int_equal(ol_rules_new(heap(), &e, &rules), OUTLET_OK);
    return rules;
}

static bool
admits(const struct ol_rules *rules, const char *text)
{
    struct ol_addr a;

    assert_true(ol_addr_parse(text, strlen(text), &a));
    memset(a.ip + (a.kind == OL_ADDR_V4 ? 4 : 16), 0xa5, a.kind == OL_ADDR_V4 ? 12 : 0);
    a.port = 4711;
    return ol_rules_admit(rules, &a);
}

/* ---- one rule ---------------------------------------------------------------------------- */

static const struct {
    const char *text;
    const char *canonical;
} good[] = {
    {"10.0.0.0/8", "10.0.0.0/8"},
    {"192.168.1.7", "192.168.1.7"},
    {"192.168.1.7/32", "192.168.1.7"},
    {"192.168.1.6/31", "192.168.1.6/31"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"128.0.0.0/1", "128.0.0.0/1"},
    {"255.255.255.255", "255.255.255.255"},
    {"10.0.0.0/08", "10.0.0.0/8"},
    {"::/0", "::/0"},
    {"::1", "::1"},
    {"0:0:0:0:0:0:0:1/128", "::1"},
    {"2001:DB8::/32", "2001:db8::/32"},
    {"2001:db8::8000:0/97", "2001:db8::8000:0/97"},
    {"fe80::/10", "fe80::/10"},
    {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
    {"::ffff:0.0.0.0/96", "0.0.0.0/0"},
    {"::ffff:1.2.3.4", "1.2.3.4"},
    {"::fffe:0:0/95", "::fffe:0:0/95"},
};

static const struct {
    const char *text;
    int offset; /* of the byte that is wrong */
    const char *says;
} bad[] = {
    {"", 0, "is no address"},
    {"all", 0, "`all` is no address; write for example 192.168.1.7, 10.0.0.0/8"},
    {"/8", 0, "is no address"},
    {"10.0.0/8", 0, "is no address"},
    {"010.0.0.0/8", 0, "is no address"},
    {"10.0.0.0:80", 0, "is no address"},
    {"[::1]", 0, "is no address"},
    {"fe80::1%1", 0, "is no address"},
    {"fe80::1%lo/64", 0, "is no address"},
    {"10.0.0.256", 0, "is no address"},
    {":::/1", 0, "is no address"},
    {"10.0.0.0/", 9, "of an IPv4 prefix stands its length, 0 to 32"},
    {"10.0.0.0/33", 9, "0 to 32"},
    {"10.0.0.0/-1", 9, "0 to 32"},
    {"10.0.0.0/8 ", 9, "0 to 32"},
    {"10.0.0.0/8/8", 9, "0 to 32"},
    {"10.0.0.0/0008", 9, "0 to 32"},
    {"10.0.0.0/255.0.0.0", 9, "0 to 32"},
    {"10.0.0.0/4294967304", 9, "0 to 32"},
    {"::/129", 3, "of an IPv6 prefix stands its length, 0 to 128"},
    {"::/x", 3, "0 to 128"},
    {"10.1.2.3/8", 0, "`10.1.2.3/8` has bits behind its prefix; write 10.0.0.0/8"},
    {"192.168.1.7/31", 0, "write 192.168.1.6/31"},
    {"1.0.0.0/0", 0, "write 0.0.0.0/0"},
    {"2001:db8::1/32", 0, "`2001:db8::1/32` has bits behind its prefix; write 2001:db8::/32"},
    {"::ffff:10.0.0.0/90", 0, "write ::ffc0:0:0/90"},
    {"1111:2222:3333:4444:5555:6666:7777:8888/127", 0, ""},
    {"1111:2222:3333:4444:5555:6666:7777:8889/127", 0,
     "write 1111:2222:3333:4444:5555:6666:7777:8888/127 for all of the network"},
};

static void
a_rule_has_one_canonical_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(good); i++) {
        struct outlet_reason why = OUTLET_REASON;
        struct ol_rule r;
        struct ol_rule again;
        char text[OL_RULE_TEXT];
        struct ol_text t;

        if (ol_rule_read("allow", good[i].text, 0, &r, &why))
            fail_msg("%s: %s", good[i].text, why.text);
        ol_text_init(&t, text, sizeof text);
        ol_rule_print(&r, &t);
        assert_string_equal(text, good[i].canonical);
        assert_int_equal(ol_rule_read("allow", text, 0, &again, &why), OUTLET_OK);
        assert_memory_equal(&r, &again, sizeof r);
    }
}

static void
a_mistake_is_told_with_its_byte_and_what_would_be_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(bad); i++) {
        struct outlet_reason why = OUTLET_REASON;
        struct ol_rule r;
        outlet_err err = ol_rule_read("deny", bad[i].text, 100, &r, &why);

        if (bad[i].says[0] == '\0') {
            assert_int_equal(err, OUTLET_OK);
            continue;
        }
        if (err != OUTLET_EINVAL || !strstr(why.text, bad[i].says) ||
            why.position != 100 + bad[i].offset || strcmp(why.key, "deny") != 0)
            fail_msg("%s: %d, at %d: %s", bad[i].text, err, why.position, why.text);
        if (strlen(why.text) + 1 == sizeof why.text)
            fail_msg("cut: %s", why.text);
        assert_int_equal(ol_rule_read("deny", bad[i].text, -1, &r, &why), OUTLET_EINVAL);
        assert_int_equal(why.position, -1);
    }
}

/* ---- which decides ----------------------------------------------------------------------- */

static const struct {
    const char *allow;
    const char *deny;
    const char *in[6];
    const char *out[6];
} verdicts[] = {
    {"10.0.0.0/8",
     NULL,
     {"10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"},
     {"9.255.255.255", "11.0.0.0", "127.0.0.1", "::1", "::ffff:11.0.0.0"}},
    {NULL, "10.0.0.0/8", {"9.255.255.255", "11.0.0.0", "::1"}, {"10.0.0.0", "::ffff:10.9.9.9"}},
    {"10.0.0.0/8 192.168.1.7",
     "10.1.0.0/16",
     {"10.0.255.255", "10.2.0.0", "192.168.1.7"},
     {"10.1.0.0", "10.1.255.255", "192.168.1.6", "192.168.1.8", "::1"}},
    /* four deep, and back up again */
    {"0.0.0.0/0 10.1.0.0/16 10.1.2.3",
     "10.0.0.0/8, 10.1.2.0/24",
     {"1.1.1.1", "11.0.0.0", "10.1.1.255", "10.1.3.0", "10.1.2.3"},
     {"10.0.0.0", "10.2.0.0", "10.1.2.2", "10.1.2.4", "10.255.255.255", "::1"}},
    {"10.0.0.0/8", "10.0.0.0/8", {NULL}, {"10.0.0.0", "11.0.0.0"}},
    {"10.0.0.1", "10.0.0.1/32", {NULL}, {"10.0.0.1"}},
    {"0.0.0.0/0", NULL, {"0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"}, {"::", "::1"}},
    {"::/0", NULL, {"::", "::1", "ffff::"}, {"1.2.3.4", "::ffff:1.2.3.4"}},
    {NULL, "::/0", {"1.2.3.4", "::ffff:1.2.3.4"}, {"::", "::1"}},
    {"::ffff:0:0/96", NULL, {"1.2.3.4", "::ffff:1.2.3.4"}, {"::1"}},
    {NULL, "0.0.0.0/0 ::/0", {NULL}, {"1.2.3.4", "::1"}},
    {"2001:db8::/32",
     "2001:db8:0:1::/64",
     {"2001:db8::", "2001:db8::ffff", "2001:db8:0:2::"},
     {"2001:db8:0:1::", "2001:db8:0:1:ffff::", "2001:db9::", "2001:db7:ffff::", "10.0.0.1"}},
    {"2001:db8::1/128\n\tfe80::/10",
     NULL,
     {"2001:db8::1", "fe80::1", "febf:ffff::"},
     {"2001:db8::2", "2001:db8::", "fec0::", "fe7f::"}},
    {"128.0.0.0/1", "192.0.0.0/2", {"128.0.0.0", "191.255.255.255"}, {"192.0.0.0", "127.0.0.1"}},
};

static void
the_most_specific_prefix_decides(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(verdicts); i++) {
        struct ol_rules *rules = rules_of("tcp://*:1", verdicts[i].allow, verdicts[i].deny);

        for (size_t k = 0; k < 6 && verdicts[i].in[k]; k++) {
            if (!admits(rules, verdicts[i].in[k]))
                fail_msg("case %zu: %s was refused", i, verdicts[i].in[k]);
        }
        for (size_t k = 0; k < 6 && verdicts[i].out[k]; k++) {
            if (admits(rules, verdicts[i].out[k]))
                fail_msg("case %zu: %s was let in", i, verdicts[i].out[k]);
        }
        ol_rules_free(heap(), rules);
    }
}

static void
what_has_no_internet_address_is_not_let_in(void **state)
{
    struct ol_rules *rules = rules_of("tcp://*:1", NULL, "10.0.0.0/8");
    struct ol_addr none = {.kind = OL_ADDR_NONE};

    (void)state;
    assert_false(ol_rules_admit(rules, &none));
    ol_rules_free(heap(), rules);
}

static void
without_lists_there_are_no_rules(void **state)
{
    (void)state;
    assert_null(rules_of("tcp://*:1", NULL, NULL));
    assert_null(rules_of("udp://*:1#conns=5", NULL, NULL));
}

static void
a_url_has_its_lists_by_repeated_keys(void **state)
{
    struct ol_rules *rules = rules_of(
        "tcp://*:1?allow=10.0.0.0%2F8,conns=5,deny=10.1.0.0/16#allow=::1&deny=10.0.0.1", NULL,
        NULL);

    (void)state;
    assert_true(admits(rules, "10.0.0.2"));
    assert_true(admits(rules, "::1"));
    assert_false(admits(rules, "10.0.0.1"));
    assert_false(admits(rules, "10.1.0.0"));
    assert_false(admits(rules, "1.1.1.1"));
    ol_rules_free(heap(), rules);
}

/* Each list for itself: what the URL says of one leaves the other to the struct. */
static void
the_list_of_a_url_wins_over_that_of_the_struct(void **state)
{
    struct ol_rules *rules = rules_of("tcp://*:1#allow=10.0.0.0/8", "11.0.0.0/8", "10.1.0.0/16");

    (void)state;
    assert_true(admits(rules, "10.0.0.1"));
    assert_false(admits(rules, "11.0.0.1"));
    assert_false(admits(rules, "10.1.0.1"));
    ol_rules_free(heap(), rules);
}

/* ---- limits, and many -------------------------------------------------------------------- */

/* "10.x.y.0/24, ..." n times. */
static char *
many(int n)
{
    char *text = malloc((size_t)n * 20 + 1);
    size_t len = 0;

    assert_non_null(text);
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, 20, "10.%d.%d.0/24,", i / 256, i % 256);
    return text;
}

static void
a_thousand_and_24_rules_are_taken_and_one_more_is_not(void **state)
{
    (void)state;
    for (int n = OL_RULES_MAX - 1; n <= OL_RULES_MAX + 1; n++) {
        char *list = many(n - 1);
        struct outlet_opts opts = OUTLET_OPTS;
        struct outlet_reason why = OUTLET_REASON;
        struct ol_endpoint e;
        outlet_err err;

        opts.allow = list;
        opts.deny = "10.3.0.9";
        err = ol_endpoint_parse("tcp://*:1", L, &opts, &e, &why);
        assert_int_equal(err, n <= OL_RULES_MAX ? OUTLET_OK : OUTLET_EINVAL);
        if (err) {
            assert_non_null(strstr(why.text, "more than 1024 entries"));
        } else {
            static char url[OL_ENDPOINT_TEXT];
            struct ol_rules *rules = rules_of("tcp://*:1", list, "10.3.0.9");

            assert_true(admits(rules, "10.0.0.0"));
            assert_true(admits(rules, "10.3.0.8"));
            assert_false(admits(rules, "10.3.0.9"));
            assert_false(admits(rules, "10.4.0.0"));
            ol_rules_free(heap(), rules);
            assert_true(ol_endpoint_print(&e, 0, url, sizeof url) < sizeof url);
            rules = rules_of(url, NULL, NULL);
            assert_true(admits(rules, "10.3.0.8"));
            assert_false(admits(rules, "10.3.0.9"));
            ol_rules_free(heap(), rules);
        }
        free(list);
    }
}

static void
the_longest_text_of_the_most_rules_is_a_url(void **state)
{
    static char url[OL_URL_MAX + 1];
    static char again[OL_ENDPOINT_TEXT];
    struct ol_endpoint e;
    size_t len = (size_t)snprintf(url, sizeof url, "tcp://*:1#");

    (void)state;
    for (unsigned i = 0; i < OL_RULES_MAX; i++)
        len += (size_t)snprintf(url + len, sizeof url - len,
                                "%sallow=1111:2222:3333:4444:5555:6666:%x:fffe/127", i ? "," : "",
                                0x1000 + i);
    assert_true(len < sizeof url);
    assert_int_equal(ol_endpoint_parse(url, L, NULL, &e, NULL), OUTLET_OK);
    assert_int_equal(ol_endpoint_print(&e, 0, again, sizeof again), len);
    assert_string_equal(url, again);
}

/* ---- against looking at each ------------------------------------------------------------- */

static bool
one_by_one(const struct ol_endpoint *e, const struct ol_addr *who)
{
    struct ol_rule_walk w;
    struct ol_rule r;
    int best = -1;
    bool has_allow = false;
    bool admit = true;

    ol_rule_walk_init(&w, e, OL_OPT_ALLOW);
    while (ol_rule_walk_next(&w, &r)) {
        has_allow = true;
        if (ol_rule_holds(&r, who) && r.bits > best)
            best = r.bits;
    }
    admit = best >= 0 || !has_allow;
    ol_rule_walk_init(&w, e, OL_OPT_DENY);
    while (ol_rule_walk_next(&w, &r)) {
        if (ol_rule_holds(&r, who) && r.bits >= best) {
            best = r.bits;
            admit = false;
        }
    }
    return admit;
}

/* Few different addresses and short prefixes, so that they lie in one another. */
static uint32_t
some_ip(struct ol_rng *random)
{
    uint32_t ip = (uint32_t)ol_rng_below(random, 4) << 30;

    for (int bit = 0; bit < 10; bit++)
        ip |= (uint32_t)ol_rng_below(random, 2) << ol_rng_below(random, 32);
    return ip;
}

static void
the_search_finds_what_looking_at_each_finds(void **state)
{
    struct ol_rng random;
    char list[2][4096];

    (void)state;
    ol_rng_seed(&random, 5);
    for (int round = 0; round < 100; round++) {
        struct outlet_opts opts = OUTLET_OPTS;
        struct ol_endpoint e;
        struct ol_rules *rules;

        for (int k = 0; k < 2; k++) {
            size_t len = 0;
            int n = 1 + (int)ol_rng_below(&random, 60);

            for (int i = 0; i < n; i++) {
                unsigned bits = (unsigned)ol_rng_below(&random, 33);
                uint32_t ip = some_ip(&random) & (bits ? UINT32_MAX << (32 - bits) : 0);

                len += (size_t)snprintf(list[k] + len, sizeof list[k] - len, "%u.%u.%u.%u/%u ",
                                        ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255, bits);
            }
        }
        opts.allow = round % 3 ? list[0] : NULL;
        opts.deny = round % 4 ? list[1] : NULL;
        assert_int_equal(ol_endpoint_parse("tcp://*:1", L, &opts, &e, NULL), OUTLET_OK);
        assert_int_equal(ol_rules_new(heap(), &e, &rules), OUTLET_OK);
        for (int i = 0; i < 200 && rules; i++) {
            uint32_t ip = some_ip(&random);
            struct ol_addr who = {
                .kind = OL_ADDR_V4,
                .ip = {(uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip}};

            assert_int_equal(ol_rules_admit(rules, &who), one_by_one(&e, &who));
        }
        ol_rules_free(heap(), rules);
    }
}

static void
no_memory_is_told(void **state)
{
    struct ol_endpoint e;
    struct ol_rules *rules;

    (void)state;
    assert_int_equal(ol_endpoint_parse("tcp://*:1#allow=::1", L, NULL, &e, NULL), OUTLET_OK);
    failing_heap_reset(&memory, 1);
    assert_int_equal(ol_rules_new(heap(), &e, &rules), OUTLET_ENOMEM);
    failing_heap_reset(&memory, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_has_one_canonical_text),
        cmocka_unit_test(a_mistake_is_told_with_its_byte_and_what_would_be_right),
        cmocka_unit_test(the_most_specific_prefix_decides),
        cmocka_unit_test(what_has_no_internet_address_is_not_let_in),
        cmocka_unit_test(without_lists_there_are_no_rules),
        cmocka_unit_test(a_url_has_its_lists_by_repeated_keys),
        cmocka_unit_test(the_list_of_a_url_wins_over_that_of_the_struct),
        cmocka_unit_test(a_thousand_and_24_rules_are_taken_and_one_more_is_not),
        cmocka_unit_test(the_longest_text_of_the_most_rules_is_a_url),
        cmocka_unit_test(the_search_finds_what_looking_at_each_finds),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests_name("rules", tests, begin, nothing_is_left);
}
