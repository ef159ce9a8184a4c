/*
 * sock_given.c - sockets that somebody else has made: what they are, and how they are taken up.
 *
 * A newcomer would use the descriptor itself.  Then two URLs that name it would own it twice, and
 * the second close would hit whatever has its number by then.  So a duplicate is used, and the
 * program's own stays the program's.  The flags of an open file are shared by all duplicates, also
 * by those in other processes: a listener is made non-blocking, which all of them must expect,
 * because somebody else may always be faster to accept.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PROTOCOL_MPTCP = 262 /* IPPROTO_MPTCP of newer headers: to its users it is tcp */ };

static int
get_int(int fd, int option, int *value)
{
    socklen_t len = sizeof *value;

    return getsockopt(fd, SOL_SOCKET, option, value, &len) == 0 ? 0 : -errno;
}

/* Which scheme speaks to such a socket? */
static int
scheme_of(int domain, int type, int protocol, enum ol_scheme *out)
{
    bool inet = domain == AF_INET || domain == AF_INET6;

    if (inet && type == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == PROTOCOL_MPTCP))
        *out = OL_SCHEME_TCP;
    else if (inet && type == SOCK_DGRAM && protocol == IPPROTO_UDP)
        *out = OL_SCHEME_UDP;
    else if (domain == AF_UNIX && type == SOCK_STREAM)
        *out = OL_SCHEME_UNIX;
    else if (domain == AF_UNIX && type == SOCK_SEQPACKET)
        *out = OL_SCHEME_PACKET;
    else if (domain == AF_UNIX && type == SOCK_DGRAM)
        *out = OL_SCHEME_LOCAL;
    else
        return -EPROTONOSUPPORT;
    return 0;
}

static int
inspect(int fd, struct ol_given *out)
{
    int domain;
    int type;
    int protocol;
    int listens;
    int err = get_int(fd, SO_DOMAIN, &domain);

    if (!err)
        err = get_int(fd, SO_TYPE, &type);
    if (!err)
        err = get_int(fd, SO_PROTOCOL, &protocol);
    if (!err)
        err = get_int(fd, SO_ACCEPTCONN, &listens);
    if (!err)
        err = scheme_of(domain, type, protocol, &out->scheme);
    if (!err)
        err = ol_sock_name(fd, false, &out->local);
    if (err)
        return err;
    out->is_listening = listens != 0;
    out->is_connected = ol_sock_name(fd, true, &out->peer) == 0;
    return 0;
}

int
ol_sock_given(int fd, struct ol_given *out)
{
    int err;

    memset(out, 0, sizeof *out);
    out->token = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* never 0, which is "none" */
    if (out->token < 0)
        return -errno;
    err = inspect(out->token, out);
    if (err)
        close(out->token);
    return err;
}

int
ol_sock_use_given(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}
