/*
 * sock_fds.c - descriptors that travel with bytes over unix sockets (SCM_RIGHTS).
 *
 * The mistake to make here is to look away: what the kernel has put into our table is ours to
 * close, whatever becomes of the message.  So the room for them is exactly what was allowed (the
 * rest the kernel drops), they are close-on-exec from the first moment, and they are handed on with
 * their completion, which always reaches somebody.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>

union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(OL_FDS_MAX * sizeof(int))];
};

static void
take(struct msghdr *head, struct ol_sock_fds *fds, struct ol_completion *c)
{
    c->fds = fds->of + fds->used;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(head); m; m = CMSG_NXTHDR(head, m)) {
        size_t n = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_RIGHTS)
            continue;
        OL_ASSERT(n <= (size_t)(OL_SOCK_FDS - fds->used));
        memcpy(fds->of + fds->used, CMSG_DATA(m), n * sizeof(int));
        fds->used += (int)n;
        c->fd_count += (int)n;
    }
}

int64_t
ol_sock_receive_fds(int fd, const struct iovec *room, unsigned max, struct ol_sock_fds *fds,
                    struct ol_completion *c)
{
    union control control;
    struct msghdr head = {.msg_iov = (struct iovec *)room,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_LEN(max * sizeof(int))};
    ssize_t n;

    OL_ASSERT(max > 0 && max <= OL_FDS_MAX);
    if (OL_SOCK_FDS - fds->used < (int)max)
        return -ENOBUFS;
    n = recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    c->fds = NULL;
    c->fd_count = 0;
    take(&head, fds, c);
    c->fds_lost = head.msg_flags & MSG_CTRUNC;
    c->truncated = head.msg_flags & MSG_TRUNC;
    return n;
}

int64_t
ol_sock_send_fd(int fd, const struct iovec *piece, int pass)
{
    union control control;
    struct msghdr head = {.msg_iov = (struct iovec *)piece,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = CMSG_SPACE(sizeof pass)};
    ssize_t n;

    memset(&control, 0, CMSG_SPACE(sizeof pass));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof pass);
    memcpy(CMSG_DATA(&control.head), &pass, sizeof pass);
    n = sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return n;
}
