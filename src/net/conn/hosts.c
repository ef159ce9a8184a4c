/*
 * hosts.c - names that this machine itself knows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hosts.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

enum { FILE_MAX = 65536 }; /* of /etc/hosts that is looked at */

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next word of a line, which ends at a comment. */
static bool
next_word(const char **at, const char *end, const char **word, size_t *len)
{
    while (*at < end && is_space(**at)) {
        (*at)++;
    }
    if (*at == end || **at == '#')
        return false;
    *word = *at;
    while (*at < end && !is_space(**at) && **at != '#') {
        (*at)++;
    }
    *len = (size_t)(*at - *word);
    return true;
}

static bool
line_names(const char *at, const char *end, const char *name, struct ol_addr *out)
{
    size_t name_len = strlen(name);
    const char *word;
    size_t len;

    if (!next_word(&at, end, &word, &len) || !ol_addr_parse(word, len, out))
        return false;
    while (next_word(&at, end, &word, &len)) {
        if (len == name_len && strncasecmp(word, name, len) == 0)
            return true;
    }
    return false;
}

int
ol_hosts_find_in(const char *text, size_t len, const char *name, struct ol_addr *out, int max)
{
    const char *end = text + len;
    int n = 0;

    while (text < end && n < max) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        struct ol_addr a;

        if (!line_end)
            line_end = end;
        if (line_names(text, line_end, name, &a))
            out[n++] = a;
        text = line_end < end ? line_end + 1 : end;
    }
    return n;
}

static int
localhost(struct ol_addr *out, int max)
{
    struct ol_addr v4 = {.kind = OL_ADDR_V4, .ip = {127, 0, 0, 1}};
    struct ol_addr v6 = {.kind = OL_ADDR_V6};

    if (max < 2)
        return 0;
    v6.ip[15] = 1;
    out[0] = v4;
    out[1] = v6;
    return 2;
}

int
ol_hosts_find(const char *name, struct ol_addr *out, int max)
{
    char text[FILE_MAX];
    size_t len = 0;
    ssize_t got = 1;
    int fd;

    if (strcasecmp(name, "localhost") == 0)
        return localhost(out, max);
    fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while (got > 0 && len < sizeof text) {
        got = read(fd, text + len, sizeof text - len);
        if (got > 0)
            len += (size_t)got;
    }
    close(fd);
    return ol_hosts_find_in(text, len, name, out, max);
}
