/*
 * addr_test.c - addresses: parse, print, compare; and the words beside them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct ol_addr
addr(const char *text, uint16_t port)
{
    struct ol_addr a;

    assert_true(ol_addr_parse(text, strlen(text), &a));
    a.port = port;
    return a;
}

static struct ol_addr
path(enum ol_addr_kind kind, const char *bytes, size_t len)
{
    struct ol_addr a = {.kind = (uint8_t)kind, .path_len = (uint8_t)len};

    memcpy(a.path, bytes, len);
    return a;
}

static void
literals_print_as_they_were_parsed(void **state)
{
    static const char *const cases[][2] = {
        {"1.2.3.4", "1.2.3.4:80"},
        {"0.0.0.0", "0.0.0.0:80"},
        {"::", "[::]:80"},
        {"::1", "[::1]:80"},
        {"2001:DB8:0:0::1", "[2001:db8::1]:80"},
        {"fe80::1%3", "[fe80::1%3]:80"},
        {"fe80::1%251", "[fe80::1%251]:80"},
        {"fe80::1%lo", "[fe80::1%1]:80"},
        {"fe80::1%2147483647", "[fe80::1%2147483647]:80"},
        {"::ffff:1.2.3.4", "[::ffff:1.2.3.4]:80"},
    };
    char text[OL_ADDR_TEXT];

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_addr a = addr(cases[i][0], 80);

        assert_int_equal(ol_addr_print(&a, text, sizeof text), strlen(cases[i][1]));
        assert_string_equal(text, cases[i][1]);
    }
}

static void
what_is_no_literal_is_refused_and_writes_nothing(void **state)
{
    static const char *const cases[] = {
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4 ",
        "::1::",
        "fe80::1%",
        "fe80::1%no-such-if0",
        "fe80::1%0",
        "1.2.3.4%1",
        "localhost",
        "[::1]",
        "fe80::1%2147483648",
        "fe80::1%1%2",
        "fe80::1%averyverylonginterfacename",
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_addr a = {.port = 7};

        if (ol_addr_parse(cases[i], strlen(cases[i]), &a) || a.port != 7)
            fail_msg("%s", cases[i]);
    }
}

static void
a_literal_ends_where_its_length_says(void **state)
{
    struct ol_addr a;

    (void)state;
    assert_true(ol_addr_parse("1.2.3.45", 7, &a));
    assert_int_equal(a.ip[3], 4);
    assert_false(ol_addr_parse("1.2.3.4\0x", 9, &a));
}

static void
names_of_unix_sockets_print_without_control_characters(void **state)
{
    char text[OL_ADDR_TEXT];
    struct ol_addr none = {.kind = OL_ADDR_NONE};
    struct ol_addr file = path(OL_ADDR_PATH, "/run/a b\n%", 10);
    struct ol_addr abstract = path(OL_ADDR_ABSTRACT, "a\0\xff", 3);

    (void)state;
    assert_int_equal(ol_addr_print(&none, text, sizeof text), 0);
    assert_string_equal(text, "");
    (void)ol_addr_print(&file, text, sizeof text); /* the text is what matters */
    assert_string_equal(text, "/run/a%20b%0A%25");
    (void)ol_addr_print(&abstract, text, sizeof text);
    assert_string_equal(text, "@a%00%FF");
}

static void
text_is_cut_to_its_room_and_ends_in_nul(void **state)
{
    struct ol_addr a = addr("127.0.0.1", 9000);
    const char *whole = "127.0.0.1:9000";

    (void)state;
    assert_int_equal(ol_addr_print(&a, NULL, 0), strlen(whole));
    for (size_t room = 1; room <= strlen(whole) + 1; room++) {
        char text[32];

        memset(text, '#', sizeof text);
        assert_int_equal(ol_addr_print(&a, text, room), strlen(whole));
        assert_int_equal(strlen(text), room - 1);
        assert_memory_equal(text, whole, room - 1);
        assert_int_equal(text[room], '#');
    }
}

static void
only_what_belongs_to_an_address_is_compared(void **state)
{
    struct ol_addr a = addr("1.2.3.4", 80);
    struct ol_addr b = a;
    struct ol_addr c = addr("fe80::1%1", 80);
    struct ol_addr d = c;

    (void)state;
    b.ip[4] = 1;
    b.zone = 7;
    b.path[0] = 'x';
    assert_true(ol_addr_same(&a, &b));
    b.port = 81;
    assert_false(ol_addr_same(&a, &b));
    assert_false(ol_addr_same(&a, &c));
    assert_true(ol_addr_same(&c, &d));
    d.zone = 2;
    assert_false(ol_addr_same(&c, &d));
    d = c;
    d.ip[15] = 2;
    assert_false(ol_addr_same(&c, &d));

    a = path(OL_ADDR_PATH, "/a", 2);
    b = path(OL_ADDR_PATH, "/a", 2);
    assert_true(ol_addr_same(&a, &b));
    b = path(OL_ADDR_ABSTRACT, "/a", 2);
    assert_false(ol_addr_same(&a, &b));
    b = path(OL_ADDR_PATH, "/ab", 3);
    assert_false(ol_addr_same(&a, &b));
}

static void
any_is_all_zero(void **state)
{
    static const struct {
        const char *text;
        bool any;
    } cases[] = {{"0.0.0.0", true}, {"::", true}, {"0.0.0.1", false}, {"::1", false}};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_addr a = addr(cases[i].text, 1);

        assert_int_equal(ol_addr_is_any(&a), cases[i].any);
    }
}

static void
edits_count_a_neighbouring_swap_once(void **state)
{
    (void)state;
    assert_int_equal(ol_edits("idle_ms", 7, "idle_ms"), 0);
    assert_int_equal(ol_edits("idel_ms", 7, "idle_ms"), 1);
    assert_int_equal(ol_edits("IDLE_MS", 7, "idle_ms"), 0);
    assert_int_equal(ol_edits("idl_ms", 6, "idle_ms"), 1);
    assert_int_equal(ol_edits("", 0, "low"), 3);
    assert_int_equal(ol_edits("cap", 3, "low"), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_print_as_they_were_parsed),
        cmocka_unit_test(what_is_no_literal_is_refused_and_writes_nothing),
        cmocka_unit_test(a_literal_ends_where_its_length_says),
        cmocka_unit_test(names_of_unix_sockets_print_without_control_characters),
        cmocka_unit_test(text_is_cut_to_its_room_and_ends_in_nul),
        cmocka_unit_test(only_what_belongs_to_an_address_is_compared),
        cmocka_unit_test(any_is_all_zero),
        cmocka_unit_test(edits_count_a_neighbouring_swap_once),
    };
    return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
