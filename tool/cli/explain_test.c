/*
 * explain_test.c - errors that only some networks and users meet, in words: the thing, the cause,
 * the next step.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *url;
    enum outlet_role role;
    outlet_err code;
    int sys_errno;
    const char *text; /* NULL: what the code says */
    const char *want;
} rows[] = {
    {"tcp://10.9.0.2:1", OUTLET_TO_CONNECT, OUTLET_EUNREACH, EHOSTUNREACH, NULL,
     "10.9.0.2 cannot be reached: No route to host; check the address and the network"},
    {"tcp://10.9.0.2:1", OUTLET_TO_CONNECT, OUTLET_EUNREACH, 0, NULL,
     "10.9.0.2 cannot be reached; check the address and the network"},
    {"tcp://www.example.org:80", OUTLET_TO_CONNECT, OUTLET_ERESOLVE, 0, NULL,
     "the name www.example.org is not in /etc/hosts, and this version does not ask DNS; use its "
     "address: 'getent hosts www.example.org' prints it"},
    {"tcp://localhost:1#local=192.0.2.9", OUTLET_TO_CONNECT, OUTLET_EADDR, EADDRNOTAVAIL, NULL,
     "local=192.0.2.9 cannot be used: it is no address of this computer, or its port is taken; "
     "'ip addr' lists the addresses"},
    {"tcp://localhost:1#local=:9", OUTLET_TO_CONNECT, OUTLET_EADDRINUSE, EADDRINUSE, NULL,
     "local=:9 cannot be used: it is no address of this computer, or its port is taken; 'ip addr' "
     "lists the addresses"},
    {"tcp://192.0.2.9:1#local=127.0.0.1", OUTLET_TO_CONNECT, OUTLET_ESYS, EINVAL, NULL,
     "local=127.0.0.1 does not lead to 192.0.2.9; leave local out, or take the address that 'ip "
     "route get 192.0.2.9' shows as src"},
    {"tcp://192.0.2.9:1", OUTLET_TO_LISTEN, OUTLET_EADDR, EADDRNOTAVAIL, NULL,
     "192.0.2.9 is not an address of this computer; 'ip addr' lists them, * is every interface"},
    {"unix:///run/not-ours", OUTLET_TO_CONNECT, OUTLET_EPERM, EACCES, NULL,
     "you may not connect to /run/not-ours; 'ls -l /run/not-ours' shows who may, and its server's "
     "mode= decides it"},
    {"unix:///no/where/s", OUTLET_TO_CONNECT, OUTLET_ENOENT, ENOENT, NULL,
     "there is nothing at /no/where/s; check the path, or start a server: outlet listen "
     "'unix:///no/where/s'"},
    {"unix:///no/where/s", OUTLET_TO_LISTEN, OUTLET_ENOENT, ENOENT, NULL,
     "cannot listen at /no/where/s: its directory is not there; make it: mkdir -p '/no/where'"},
    {"unix-seqpacket:///etc/hosts", OUTLET_TO_CONNECT, OUTLET_EREFUSED, ECONNREFUSED, NULL,
     "/etc/hosts is not a socket; check the path"},
    {"pair:", OUTLET_TO_CONNECT, OUTLET_EREFUSED, 0, NULL,
     "nobody listens at pair: and nobody can: a pair lives within one process, and this command "
     "is one end only; between processes use unix:@name"},
    {"unix:///no/where/s", OUTLET_TO_CONNECT, OUTLET_ENOTSUP, EPROTOTYPE, NULL,
     "/no/where/s is a socket of another kind; use unix-dgram:///no/where/s"},
    {"unix:///no/where/s", OUTLET_TO_CONNECT, OUTLET_ENOTSUP, 0, "no such thing here",
     "unix:///no/where/s: no such thing here"},
};

static void
an_error_has_a_thing_a_cause_and_a_next_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outlet_reason why = OUTLET_REASON;
        struct eng_bytes out = {0};

        why.code = rows[i].code;
        why.sys_errno = rows[i].sys_errno;
        snprintf(why.text, sizeof why.text, "%s",
                 rows[i].text ? rows[i].text : outlet_strerror(rows[i].code));
        cli_explain(CLI_EN, rows[i].url, rows[i].role, &why, &out);
        eng_bytes_add(&out, "", 1);
        assert_false(out.failed);
        assert_string_equal((const char *)out.data, rows[i].want);
        eng_bytes_free(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_a_thing_a_cause_and_a_next_step),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
