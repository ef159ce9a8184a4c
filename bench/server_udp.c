/*
 * server_udp.c - the bare datagram echo.
 *
 *     server_udp plain PORT     recvfrom and sendto, one datagram each
 *     server_udp gso PORT       trains: UDP_GRO gathers what one sender sent, UDP_SEGMENT cuts the
 *                               answer again
 *
 * Both wait in epoll and take at most 64 receives before they ask it again.  A train can be
 * gathered only where the sender sent one: against plain senders "gso" is a recvmsg and sendmsg
 * loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"

#include <netinet/udp.h>
#include <sys/epoll.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { TURN = 64 };

static _Alignas(BARE_LINE) uint8_t buffer[BARE_ROOM];

static bool
echo_plain(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &len);

    if (n < 0)
        return false;
    /* What does not fit is lost, as datagrams are. */
    (void)!sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&peer, len);
    return true;
}

/* The size of each datagram in a train, or 0 when one datagram came. */
static uint16_t
segment_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int size;

        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO)
            continue;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        return (uint16_t)size;
    }
    return 0;
}

static bool
echo_train(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct sockaddr_in peer;
    struct iovec piece = {.iov_base = buffer, .iov_len = sizeof buffer};
    struct msghdr m = {.msg_name = &peer,
                       .msg_namelen = sizeof peer,
                       .msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &m, 0);
    uint16_t segment;

    if (n < 0)
        return false;
    segment = segment_of(&m);
    piece.iov_len = (size_t)n;
    m.msg_control = NULL;
    m.msg_controllen = 0;
    if (segment && segment < n) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof segment);
        *CMSG_FIRSTHDR(&m) = (struct cmsghdr){
            .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof segment)};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &segment, sizeof segment);
    }
    (void)!sendmsg(fd, &m, 0);
    return true;
}

int
main(int argc, char **argv)
{
    struct epoll_event e = {.events = EPOLLIN};
    bool (*echo)(int) = echo_plain;
    int one = 1;
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    int fd;

    if (argc < 3)
        return 2;
    fd = bare_bind("udp", argv[2], SOCK_DGRAM | SOCK_NONBLOCK);
    if (strcmp(argv[1], "gso") == 0) {
        echo = echo_train;
        if (setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one))
            bare_die("UDP_GRO");
    }
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e))
        bare_die("epoll_ctl");
    bare_ready_fd(fd);
    for (;;) {
        int n = epoll_wait(epfd, &e, 1, -1);

        for (int i = 0; n > 0 && i < TURN; i++) {
            if (!echo(fd))
                break;
        }
    }
}
