/*
 * carry_test.c - what cannot be carried is said exactly where the library refuses it, with the byte
 * or the sizes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *frame;
    const char *bytes;
    size_t len;
    const char *says; /* NULL: it can be carried */
} rows[] = {
    {"fixed:4", "abcd", 4, NULL},
    {"fixed:4", "abc", 3, "length 3, but a message of frame=fixed:4 has length 4"},
    {"fixed:4", "abcde", 5, "length 5,"},
    {"line", "", 0, NULL},
    {"line", "a\rb", 3, NULL},
    {"line", "a\nb", 3, "byte 2 ends a line"},
    {"line", "ab\r", 3, "byte 3, the last, is a CR"},
    {"line,max=4", "abcd", 4, NULL},
    {"line,max=4", "abcde", 5, "length 5, but max=4 is the limit"},
    {"delim:--", "a-b", 3, NULL},
    {"delim:--", "a--b", 4, "the mark of frame=delim:-- begins at byte 2"},
    {"delim:--", "a-", 2, "begins at byte 2"},
    {"delim:aba", "xab", 3, "begins at byte 2"},
    {"delim:aba", "xa", 2, NULL},
    {"delim:abab", "xab", 3, "begins at byte 2"},
    {"delim:%00", "a\0b", 3, "begins at byte 2"},
    {"between:%02..%03", "a\002b", 3, NULL},
    {"between:%02..%03", "a\003b", 3, "the mark of frame=between:%02..%03 begins at byte 2"},
    {"len:1", "", 0, NULL},
    {"len:2be", "abc", 3, NULL},
    {"len:2be+2", "a", 1, "length 1, but a message of frame=len:2be+2 has at least 2 bytes"},
    {"len:2be+2", "ab", 2, NULL},
    {"len:2be-4", "", 0, NULL},
    {"len:2be@2/0", "\0\0\0\001x", 5, NULL},
    {"len:2le@2/0", "\0\0\001\0x", 5, NULL},
    {"len:2be@2/0", "\0\0\0\002x", 5,
     "the length field at byte 3 says 2, but for length 5 it must "
     "say 1"},
    {"len:2be@2/2", "\0\001x", 3, NULL},
    {"len:2be@2/2", "\0\002x", 3, "the length field at byte 1 says 2"},
    {"len:2be@2/0", "\0\0", 2, "at least 4 bytes"},
    {"varint", "", 0, NULL},
    {"hp:7", "", 0, "it is empty, which frame=hp:7 cannot carry"},
    {"idle:10ms", "", 0, "it is empty, which frame=idle:10ms cannot carry"},
    {"idle:10ms", "a", 1, NULL},
    {"line,cap=16,high=8,low=4", "123456789012345", 15, NULL},
    {"line,cap=16,high=8,low=4", "12345678901234567", 17, "length 17, but cap=16 is the limit"},
};

/* What outlet_send() answers on a connection with this framing. */
static int64_t
asked(const char *frame, const void *bytes, size_t len)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    struct outlet_opts none = OUTLET_OPTS;
    outlet_loop *loop;
    outlet_listener listener;
    outlet_conn c;
    char url[128];
    int64_t answer;

    snprintf(url, sizeof url, "pair:carry#frame=%s", frame);
    assert_int_equal(outlet_loop_new(&loop, &opts), OUTLET_OK);
    assert_int_equal(outlet_listen(loop, url, &none, &listener), OUTLET_OK);
    assert_int_equal(outlet_connect(loop, url, &none, &c), OUTLET_OK);
    answer = outlet_send(c, len ? bytes : "", len);
    assert_int_equal(outlet_loop_free(loop), OUTLET_OK);
    return answer;
}

static void
refused_is_what_the_library_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct eng_url u;
        char url[128];
        char why[160] = "";
        bool refused;
        int64_t answer = asked(rows[i].frame, rows[i].bytes, rows[i].len);

        snprintf(url, sizeof url, "tcp://localhost:1#frame=%s", rows[i].frame);
        assert_true(eng_url_split(url, OUTLET_TO_CONNECT, &u));
        refused = eng_carry_refuses(&u, url, rows[i].bytes, rows[i].len, why, sizeof why);
        if (refused != (answer == OUTLET_EINVAL || answer == OUTLET_EMSGSIZE))
            fail_msg("%s, row %zu: '%s', the library answers %lld", url, i, why, (long long)answer);
        if (refused != (rows[i].says != NULL) || (refused && !strstr(why, rows[i].says)))
            fail_msg("%s, row %zu: '%s'", url, i, why);
    }
}

static void
is_refused(const char *url, size_t len, const char *says)
{
    static const uint8_t zeros[70000];
    struct eng_url u;
    char why[160] = "";

    assert_true(eng_url_split(url, OUTLET_TO_CONNECT, &u));
    if (eng_carry_refuses(&u, url, zeros, len, why, sizeof why) != (says != NULL) ||
        (says && !strstr(why, says)))
        fail_msg("%s, %zu bytes: '%s'", url, len, why);
}

static void
what_a_transport_carries(void **state)
{
    (void)state;
    is_refused("udp://localhost:1", 65507, NULL);
    is_refused("udp://localhost:1", 65508, "length 65508, but a datagram carries at most 65507");
    is_refused("udp://localhost:1#max=1K", 1025, "length 1025, but max=1024 is the limit");
    is_refused("udp://localhost:1", 0, NULL);
    is_refused("unix-dgram:@x#max=2", 3, "length 3, but max=2");
    is_refused("unix-dgram:@x", 0, NULL);
    is_refused("unix-seqpacket:@x", 0, "it is empty, which unix-seqpacket cannot carry");
    is_refused("unix-seqpacket:@x", 1, NULL);
    is_refused("tcp://localhost:1", 70000, NULL);
    is_refused("tcp://localhost:1#max=2", 3, NULL); /* a stream has no messages */
    is_refused("tcp://localhost:1#frame=len:2be", 65536, "counts to 65535 only");
    is_refused("tcp://localhost:1#frame=len:2be", 65535, NULL);
    is_refused("fd:3", 0, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_is_what_the_library_refuses),
        cmocka_unit_test(what_a_transport_carries),
    };
    return cmocka_run_group_tests_name("carry", tests, NULL, NULL);
}
