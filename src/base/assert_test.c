/*
 * assert_test.c - an invariant that does not hold ends the process and says which.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void
a_broken_invariant_aborts_and_names_itself(void **state)
{
    char text[512] = "";
    const struct rlimit no_core = {0, 0};
    ssize_t len;
    pid_t child;
    int status;
    int ends[2];
    int two = 2;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &no_core); /* only saves a file */
        (void)signal(SIGABRT, SIG_DFL);         /* cmocka's own handler would jump */
        dup2(ends[1], STDERR_FILENO);
        OL_ASSERT(two == 3);
        _exit(0);
    }
    assert_true(child > 0);
    close(ends[1]);
    len = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(len > 0);
    assert_non_null(strstr(text, "two == 3"));
    assert_non_null(strstr(text, "assert_test.c"));
}

static void
an_invariant_is_evaluated_once(void **state)
{
    int n = 0;

    (void)state;
    OL_ASSERT(++n == 1);
    assert_int_equal(n, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_invariant_aborts_and_names_itself),
        cmocka_unit_test(an_invariant_is_evaluated_once),
    };
    return cmocka_run_group_tests_name("assert", tests, NULL, NULL);
}
