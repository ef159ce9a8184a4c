/*
 * url_test.c - the parts of a URL that the tool talks about.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
hosts_ports_and_framings_are_found(void **state)
{
    struct eng_url u;

    (void)state;
    assert_true(eng_url_split("tcp://127.0.0.1:9000#frame=line", OUTLET_TO_CONNECT, &u));
    assert_string_equal(u.scheme, "tcp");
    assert_string_equal(u.host, "127.0.0.1");
    assert_int_equal(u.port, 9000);
    assert_true(u.stream && u.framed);
    assert_string_equal(u.frame, "line");
    assert_true(eng_url_split("udp://[::1]:53", OUTLET_TO_CONNECT, &u));
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 53);
    assert_true(!u.stream && !u.framed);
    assert_true(eng_url_split("unix:///run/a%20b.sock", OUTLET_TO_LISTEN, &u));
    assert_string_equal(u.path, "/run/a b.sock");
    assert_int_equal(u.port, -1);
    assert_true(eng_url_split("unix:@name", OUTLET_TO_LISTEN, &u));
    assert_string_equal(u.path, "@name");
    assert_false(eng_url_split("tcp://[::1", OUTLET_TO_LISTEN, &u));
}

static void
a_listener_with_only_a_port_is_loopback(void **state)
{
    struct eng_url u;

    (void)state;
    assert_true(eng_url_split("tcp://:0", OUTLET_TO_LISTEN, &u));
    assert_true(eng_url_is_loopback(&u));
    assert_true(eng_url_split("tcp://*:0", OUTLET_TO_LISTEN, &u));
    assert_false(eng_url_is_loopback(&u));
    assert_true(eng_url_split("unix:@x", OUTLET_TO_LISTEN, &u));
    assert_false(eng_url_is_loopback(&u));
}

static void
options_are_found_by_their_whole_name(void **state)
{
    char value[16];

    (void)state;
    assert_true(eng_url_option("tcp://h:1#higher=1,high=2&low", "high", value, sizeof value));
    assert_string_equal(value, "2");
    assert_true(eng_url_option("tcp://h:1#higher=1,high=2&low", "low", value, sizeof value));
    assert_string_equal(value, "");
    assert_false(eng_url_option("tcp://h:1#higher=1", "high", value, sizeof value));
    assert_false(eng_url_option("tcp://high=1:1", "high", value, sizeof value));
}

static void
a_secret_is_masked_even_in_a_wrong_url(void **state)
{
    char text[64];

    (void)state;
    eng_url_masked("tcp://me:secret@h:99999", text, sizeof text);
    assert_string_equal(text, "tcp://me:***@h:99999");
    eng_url_masked("tcp://me@h:1", text, sizeof text);
    assert_string_equal(text, "tcp://me@h:1");
    eng_url_masked("me:secret@h:1", text, sizeof text);
    assert_string_equal(text, "me:***@h:1");
    eng_url_masked("unix:@name", text, sizeof text);
    assert_string_equal(text, "unix:@name");
    eng_url_masked("tcp://h:1/a:b@c", text, sizeof text);
    assert_string_equal(text, "tcp://h:1/a:b@c");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_ports_and_framings_are_found),
        cmocka_unit_test(a_listener_with_only_a_port_is_loopback),
        cmocka_unit_test(options_are_found_by_their_whole_name),
        cmocka_unit_test(a_secret_is_masked_even_in_a_wrong_url),
    };

    return cmocka_run_group_tests_name("url_parts", tests, NULL, NULL);
}
