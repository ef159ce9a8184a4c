/*
 * err_test.c - codes, names, and sentences that are cut but never broken.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"
#include "outlet/outlet.h"

#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    int64_t code;
    const char *name;
    const char *text;
} rows[] = {
#define ROW(name, number, text) {number, #name, text},
    OUTLET_ERRORS(ROW)
#undef ROW
};

static void
every_code_has_its_own_name_and_sentence(void **state)
{
    (void)state;
    assert_int_equal(OL_COUNT(rows), 32);
    for (size_t i = 0; i < OL_COUNT(rows); i++) {
        assert_int_equal(rows[i].code, -(int64_t)i); /* numbers never move */
        assert_string_equal(outlet_error_name(rows[i].code), rows[i].name);
        assert_string_equal(outlet_strerror(rows[i].code), rows[i].text);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(rows[i].text, rows[k].text);
        }
    }
    assert_string_equal(outlet_strerror(OUTLET_EADDRINUSE), "the address is in use");
}

static void
unknown_codes_are_said_to_be_unknown(void **state)
{
    const int64_t unknown[] = {1, -32, -1000, INT64_MIN, INT64_MAX, (int64_t)1 << 32};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(unknown); i++) {
        assert_string_equal(outlet_strerror(unknown[i]), "unknown error");
        assert_string_equal(outlet_error_name(unknown[i]), "OUTLET_E?");
    }
}

static void
phases_and_sides_have_names(void **state)
{
    (void)state;
    assert_string_equal(outlet_phase_name(OUTLET_AT_RESOLVE), "resolve");
    assert_string_equal(outlet_phase_name(OUTLET_AT_CONNECT), "connect");
    assert_string_equal(outlet_phase_name(OUTLET_AT_PROXY), "proxy");
    assert_string_equal(outlet_phase_name(OUTLET_AT_TLS), "tls");
    assert_string_equal(outlet_phase_name(OUTLET_AT_UPGRADE), "upgrade");
    assert_string_equal(outlet_phase_name(OUTLET_AT_OPEN), "open");
    assert_string_equal(outlet_phase_name(OUTLET_AT_DRAIN), "drain");
    assert_string_equal(outlet_phase_name((enum outlet_phase)0), "unknown");
    assert_string_equal(outlet_phase_name((enum outlet_phase)8), "unknown");
    assert_string_equal(outlet_side_name(OUTLET_BY_US), "us");
    assert_string_equal(outlet_side_name(OUTLET_BY_PEER), "peer");
    assert_string_equal(outlet_side_name(OUTLET_BY_SYSTEM), "system");
    assert_string_equal(outlet_side_name((enum outlet_side)0), "unknown");
    assert_string_equal(outlet_side_name((enum outlet_side)4), "unknown");
}

static void
the_version_is_the_one_that_was_built(void **state)
{
    (void)state;
    assert_string_equal(outlet_version(), OL_VERSION);
}

static void
a_reason_gets_code_and_sentence_and_keeps_the_rest(void **state)
{
    struct outlet_reason why = OUTLET_REASON;

    (void)state;
    why.position = 7;
    why.sys_errno = ECONNREFUSED;
    why.phase = OUTLET_AT_CONNECT;
    memcpy(why.key, "frame", 6);
    ol_reason_set(&why, OUTLET_EREFUSED, "%s:%d refused", "127.0.0.1", 80);
    assert_int_equal(why.code, OUTLET_EREFUSED);
    assert_string_equal(why.text, "127.0.0.1:80 refused");
    assert_int_equal(why.position, 7);
    assert_int_equal(why.sys_errno, ECONNREFUSED);
    assert_int_equal(why.phase, OUTLET_AT_CONNECT);
    assert_string_equal(why.key, "frame");
    assert_int_equal(why.size, sizeof why);

    ol_reason_set(&why, OUTLET_EPROXY, "%s", "");
    assert_string_equal(why.text, "the proxy failed"); /* never empty */
    ol_reason_set(NULL, OUTLET_EPROXY, "nobody asked");
}

/* Characters of one to four bytes, and every place where the cut can fall. */
static void
a_long_sentence_is_cut_between_characters(void **state)
{
    static const char *const characters[] = {"a", "\u00e9", "\u20ac", "\U0001F50C"};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(characters); i++) {
        for (size_t before = 150; before < 165; before++) {
            struct outlet_reason why = OUTLET_REASON;
            const size_t room = sizeof why.text - 1;
            size_t size = strlen(characters[i]);
            char text[200];
            size_t want = before;
            size_t len = before;

            memset(text, '.', before);
            while (len + size < sizeof text - 1) {
                memcpy(text + len, characters[i], size);
                len += size;
                want += want + size <= room ? size : 0;
            }
            text[len] = '\0';
            ol_reason_set(&why, OUTLET_EINVAL, "%s", text);
            want = ol_min(want, room);
            if (strlen(why.text) != want || memcmp(why.text, text, want) != 0)
                fail_msg("%zu bytes each after %zu: %zu, not %zu", size, before, strlen(why.text),
                         want);
        }
    }
}

static const struct {
    int sys_errno;
    outlet_err want;
} errnos[] = {
    {0, OUTLET_OK},
    {ECONNREFUSED, OUTLET_EREFUSED},
    {ECONNRESET, OUTLET_ERESET},
    {EPIPE, OUTLET_ERESET},
    {ETIMEDOUT, OUTLET_ETIMEDOUT},
    {ENETUNREACH, OUTLET_EUNREACH},
    {EHOSTUNREACH, OUTLET_EUNREACH},
    {EADDRINUSE, OUTLET_EADDRINUSE},
    {EADDRNOTAVAIL, OUTLET_EADDR},
    {EACCES, OUTLET_EPERM},
    {EPERM, OUTLET_EPERM},
    {EMFILE, OUTLET_ENOFILE},
    {ENFILE, OUTLET_ENOFILE},
    {ENOMEM, OUTLET_ENOMEM},
    {ENOBUFS, OUTLET_ENOMEM},
    {EAGAIN, OUTLET_EAGAIN},
    {EMSGSIZE, OUTLET_EMSGSIZE},
    {EEXIST, OUTLET_EEXIST},
    {ENOENT, OUTLET_ENOENT},
    {EAFNOSUPPORT, OUTLET_ENOTSUP},
    {EOPNOTSUPP, OUTLET_ENOTSUP},
    {ECANCELED, OUTLET_ECANCELED},
    {EBADF, OUTLET_ESYS},
    {EINVAL, OUTLET_ESYS},
    {-1, OUTLET_ESYS},
    {100000, OUTLET_ESYS},
};

static void
errnos_become_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(errnos); i++) {
        outlet_err got = ol_err_from_errno(errnos[i].sys_errno);

        if (got != errnos[i].want)
            fail_msg("errno %d: %s", errnos[i].sys_errno, outlet_error_name(got));
    }
    for (int e = 1; e < 200; e++) {
        assert_int_not_equal(ol_err_from_errno(e), OUTLET_OK);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_name_and_sentence),
        cmocka_unit_test(unknown_codes_are_said_to_be_unknown),
        cmocka_unit_test(phases_and_sides_have_names),
        cmocka_unit_test(the_version_is_the_one_that_was_built),
        cmocka_unit_test(a_reason_gets_code_and_sentence_and_keeps_the_rest),
        cmocka_unit_test(a_long_sentence_is_cut_between_characters),
        cmocka_unit_test(errnos_become_codes),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
