/*
 * bare.h - the listening socket that the bare servers share: tcp on 127.0.0.1, unix, or udp.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static inline void
bare_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on unix, and need not work */
}

static inline int
bare_bind(const char *kind, const char *where, int type)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int is_unix = strcmp(kind, "unix") == 0;
    int one = 1;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    in.sin_port = htons((uint16_t)atoi(where));
    snprintf(un.sun_path, sizeof un.sun_path, "%s", where);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, is_unix ? (void *)&un : (void *)&in, is_unix ? sizeof un : sizeof in)) {
        perror("bind");
        exit(1);
    }
    return fd;
}

/* Listens as the arguments say and tells the port that was picked. */
static inline int
bare_listen(int argc, char **argv)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    int fd;

    if (argc < 3)
        exit(2);
    fd = bare_bind(argv[1], argv[2], SOCK_STREAM);
    if (listen(fd, 4096)) {
        perror("listen");
        exit(1);
    }
    getsockname(fd, (struct sockaddr *)&in, &len);
    printf("ready %d\n", in.sin_family == AF_INET ? ntohs(in.sin_port) : 0);
    fflush(stdout);
    return fd;
}

#endif
