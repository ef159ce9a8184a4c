/*
 * file_test.c - files around the bound, and what cannot be read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
a_file_is_whole_up_to_the_bound(void **state)
{
    enum { MOST = 200000 }; /* more than one read brings */
    static const struct {
        size_t size;
        int answer;
    } rows[] = {{0, 0}, {1, 0}, {MOST - 1, 0}, {MOST, 0}, {MOST + 1, EFBIG}, {4 * MOST, EFBIG}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[] = "/tmp/outlet-file-XXXXXX";
        int fd = mkstemp(path);
        uint8_t *bytes = calloc(1, rows[i].size + 1);
        struct eng_bytes out = {0};

        assert_true(fd >= 0 && bytes);
        for (size_t k = 0; k < rows[i].size; k++)
            bytes[k] = (uint8_t)(k * 7);
        assert_int_equal(write(fd, bytes, rows[i].size), rows[i].size);
        close(fd);
        eng_bytes_text(&out, "before");
        assert_int_equal(eng_file_load(path, MOST, &out), rows[i].answer);
        unlink(path);
        assert_memory_equal(out.data, "before", 6);
        if (rows[i].answer == 0)
            assert_int_equal(out.len, 6 + rows[i].size);
        else
            assert_true(out.len > MOST);
        assert_true(out.len <= 6 + rows[i].size);
        assert_memory_equal(out.data + 6, bytes, out.len - 6);
        eng_bytes_free(&out);
        free(bytes);
    }
}

static void
what_cannot_be_read_says_why(void **state)
{
    struct eng_bytes out = {0};

    (void)state;
    assert_int_equal(eng_file_load("/nonexistent/file", 10, &out), ENOENT);
    assert_int_equal(eng_file_load("/tmp", 10, &out), EISDIR);
    assert_int_equal(eng_file_read(-1, 10, &out), EBADF);
    assert_int_equal(out.len, 0);
    eng_bytes_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_whole_up_to_the_bound),
        cmocka_unit_test(what_cannot_be_read_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
