/*
 * sock_addr.c - our addresses and the kernel's, in both directions.
 *
 * What a newcomer gets wrong: the length is part of a unix address.  One that is not bound has only
 * its family, an abstract name may have zeros in it, a path may be told without its NUL.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>

static socklen_t
set_local(struct sockaddr_un *s, const struct ol_addr *a)
{
    bool is_path = a->kind == OL_ADDR_PATH;
    size_t head = offsetof(struct sockaddr_un, sun_path);

    OL_ASSERT(a->path_len <= OL_PATH_MAX);
    memset(s, 0, sizeof *s);
    s->sun_family = AF_UNIX;
    memcpy(s->sun_path + (is_path ? 0 : 1), a->path, a->path_len);
    return (socklen_t)(head + a->path_len + 1); /* NUL behind a path, before an abstract name */
}

socklen_t
ol_sockaddr_set(union ol_sockaddr *s, const struct ol_addr *a)
{
    switch ((enum ol_addr_kind)a->kind) {
    case OL_ADDR_V4:
        memset(&s->v4, 0, sizeof s->v4);
        s->v4.sin_family = AF_INET;
        s->v4.sin_port = htons(a->port);
        memcpy(&s->v4.sin_addr, a->ip, 4);
        return sizeof s->v4;
    case OL_ADDR_V6:
        memset(&s->v6, 0, sizeof s->v6);
        s->v6.sin6_family = AF_INET6;
        s->v6.sin6_port = htons(a->port);
        s->v6.sin6_scope_id = a->zone;
        memcpy(&s->v6.sin6_addr, a->ip, 16);
        return sizeof s->v6;
    case OL_ADDR_PATH:
    case OL_ADDR_ABSTRACT:
        return set_local(&s->local, a);
    case OL_ADDR_NONE:
        break;
    }
    return 0;
}

static void
get_local(const struct sockaddr_un *s, size_t path_len, struct ol_addr *out)
{
    const char *path = s->sun_path;

    if (path_len == 0)
        return;
    if (path[0] == '\0') {
        out->kind = OL_ADDR_ABSTRACT;
        path++;
        path_len--;
    } else {
        out->kind = OL_ADDR_PATH;
        path_len = strnlen(path, path_len);
    }
    out->path_len = (uint8_t)ol_min(path_len, OL_PATH_MAX);
    memcpy(out->path, path, out->path_len);
    out->path[out->path_len] = '\0';
}

void
ol_sockaddr_get(const union ol_sockaddr *s, socklen_t len, struct ol_addr *out)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);

    memset(out, 0, OL_ADDR_INET_SIZE);
    out->path[0] = '\0';
    if (len < sizeof s->any.sa_family)
        return;
    if (s->any.sa_family == AF_INET && len >= sizeof s->v4) {
        out->kind = OL_ADDR_V4;
        out->port = ntohs(s->v4.sin_port);
        memcpy(out->ip, &s->v4.sin_addr, 4);
    } else if (s->any.sa_family == AF_INET6 && len >= sizeof s->v6) {
        out->kind = OL_ADDR_V6;
        out->port = ntohs(s->v6.sin6_port);
        out->zone = s->v6.sin6_scope_id;
        memcpy(out->ip, &s->v6.sin6_addr, 16);
    } else if (s->any.sa_family == AF_UNIX && len > head) {
        get_local(&s->local, ol_min(len - head, sizeof s->local.sun_path), out);
    }
}

int
ol_sock_name(int fd, bool peer, struct ol_addr *out)
{
    union ol_sockaddr name;
    socklen_t len = sizeof name;

    if ((peer ? getpeername(fd, &name.any, &len) : getsockname(fd, &name.any, &len)) != 0)
        return -errno;
    ol_sockaddr_get(&name, len, out);
    return 0;
}
