/*
 * file.c - a file that fits into memory, read whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

int
eng_file_read(int fd, size_t most, struct eng_bytes *out)
{
    size_t before = out->len;

    while (out->len - before <= most) {
        uint8_t *space = eng_bytes_space(out, CHUNK);
        ssize_t n;

        if (!space)
            return ENOMEM;
        n = read(fd, space, CHUNK);
        if (n == 0)
            return 0;
        if (n > 0)
            out->len += (size_t)n;
        else if (errno != EINTR)
            return errno;
    }
    return EFBIG;
}

int
eng_file_load(const char *path, size_t most, struct eng_bytes *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error;

    if (fd < 0)
        return errno;
    error = eng_file_read(fd, most, out);
    close(fd);
    return error;
}
