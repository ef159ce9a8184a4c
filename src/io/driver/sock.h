/*
 * sock.h - the plain system calls on sockets that both kernel drivers share.
 *
 * Nothing here knows of links, completions or events.  Every socket that is made here is
 * non-blocking and close-on-exec; int answers 0, a descriptor or a count, or a negated errno.  What
 * a newcomer would get wrong: a unix listener's file is removed *before* its descriptor is closed
 * (ol_sock_unlink), so that whoever finds the file still finds somebody alive behind it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_SOCK_H
#define OL_SOCK_H

#include "driver.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

union ol_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* (sock_addr.c) */
socklen_t ol_sockaddr_set(union ol_sockaddr *s, const struct ol_addr *a); /* 0: a is OL_ADDR_NONE */
void ol_sockaddr_get(const union ol_sockaddr *s, socklen_t len, struct ol_addr *out);
int ol_sock_name(int fd, bool peer, struct ol_addr *out);

/* (sock_path.c) The file of a unix listener, to remove it at close if it is still ours. */
struct ol_sock_file {
    dev_t dev;
    ino_t ino;
    bool is_set;
    char path[OL_PATH_MAX + 1];
};

/* Bind to a path and listen there, under a lock. */
int ol_sock_bind_path(int fd, const struct ol_listen_spec *spec, struct ol_sock_file *file);
void ol_sock_unlink(const struct ol_sock_file *file);

/* The two steps of it that every address needs. */
int ol_sock_bind(int fd, const struct ol_addr *at);
int ol_sock_start_listening(int fd, const struct ol_listen_spec *spec); /* datagrams: nothing */

/* Socket, options, bind, listen; answers the descriptor.  *file is always written. */
int ol_sock_listen(const struct ol_listen_spec *spec, struct ol_addr *bound,
                   struct ol_sock_file *file);

/* One new socket of a listener, or -EAGAIN, or what else accept4 said.  `from` may be NULL.  The
 * listener hands its tuning down, so there is nothing more to set. */
int ol_sock_accept(int fd, struct ol_addr *from);

/* (sock_given.c) As ol_driver_ops.given; and one that will be listened at, or is connected. */
int ol_sock_given(int fd, struct ol_given *out);
int ol_sock_use_given(int fd);
void ol_sock_use_packets(int fd); /* room for long messages */

/* A descriptor that is not connected yet, but bound if `local` says so. */
int ol_sock_open(const struct ol_connect_spec *spec);
int ol_sock_connect(int fd, const struct ol_connect_spec *spec); /* 0, -EINPROGRESS, or why not */
int ol_sock_error(int fd); /* 0 or the negated SO_ERROR, which it clears */
int ol_sock_pair(int32_t tokens[2]);
void ol_sock_close(int fd, bool reset); /* reset: a TCP peer gets RST and loses what is under way */
int ol_sock_end_writing(int fd);

int ol_sock_credentials(int fd, struct ol_credentials *out);
int ol_sock_dgram_facts(int fd, bool local, struct ol_dgram_facts *out);
int ol_sock_tcp_facts(int fd, struct ol_tcp_facts *out);

int64_t ol_sock_send_pieces(int fd, const struct iovec *pieces, int count);

/* One system call; bytes taken or a negated errno. */
static OL_INSIDE int64_t
ol_sock_send(int fd, const struct iovec *pieces, int count)
{
    ssize_t n;

    if (OL_UNLIKELY(count != 1))
        return ol_sock_send_pieces(fd, pieces, count);
    n = send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return OL_UNLIKELY(n < 0) ? -errno : n;
}

enum {
    OL_SOCK_BATCH = 32,   /* datagrams per system call */
    OL_SOCK_CONTROL = 96, /* holds one packet info of either family and a segment size */
    OL_SOCK_PIECES = 1024 /* IOV_MAX: more make the system call fail */
};

/* What recvmmsg works on, about 8 KiB: one per driver.  The caller sets pieces[i] before each call.
 */
struct ol_sock_inbox {
    struct iovec pieces[OL_SOCK_BATCH];
    struct mmsghdr heads[OL_SOCK_BATCH];
    union ol_sockaddr names[OL_SOCK_BATCH];
    _Alignas(struct cmsghdr) char control[OL_SOCK_BATCH][OL_SOCK_CONTROL];
};

/* Bytes of a file, as ol_driver_ops.send_file says, without the signal that sendfile(2) would raise
 * on a closed peer. */
int64_t ol_sock_send_file(int fd, int file, int64_t offset, size_t len);

/* Up to `count` (at most OL_SOCK_BATCH) datagrams that are there now, or -EAGAIN, or the error that
 * the network reported about an earlier one we sent (connected sockets: -ECONNREFUSED and the
 * like).  `local`: unix sockets, from which control data would bring descriptors that nobody asked
 * for. */
int ol_sock_receive_dgrams(int fd, struct ol_sock_inbox *in, int count, bool local);
bool ol_sock_dgram_truncated(const struct ol_sock_inbox *in, int i);
void ol_sock_dgram_from(const struct ol_sock_inbox *in, int i, struct ol_addr *out);
/* The local address it was sent to, port 0.  false: not known (connected, unix) or a multicast
 * group, which cannot be answered from. */
bool ol_sock_dgram_to(const struct ol_sock_inbox *in, int i, struct ol_addr *out);

/* Several datagrams of one sender may arrive as one (UDP_GRO, Linux 5.0): the size of each but the
 * last, or 0 when it is a single one. */
uint32_t ol_sock_dgram_segment(const struct ol_sock_inbox *in, int i);

/* (sock_fds.c) Descriptors that were received in this batch and not told yet. */
enum { OL_SOCK_FDS = 1024 };
struct ol_sock_fds {
    int used;
    int32_t of[OL_SOCK_FDS];
};

/* Bytes, and up to `max` descriptors behind the used ones; -ENOBUFS: no room for them in this
 * batch.  Of *c it fills fds, fd_count, fds_lost and truncated. */
int64_t ol_sock_receive_fds(int fd, const struct iovec *room, unsigned max, struct ol_sock_fds *fds,
                            struct ol_completion *c);
int64_t ol_sock_send_fd(int fd, const struct iovec *piece, int pass);

/* Is the empty message `i` of the `n` received ones the end of a PACKET socket?  recvmmsg tells
 * both alike. */
bool ol_sock_at_end(int fd); /* the peer has ended and nothing is left */
bool ol_sock_packet_end(int fd, const struct ol_sock_inbox *in, int i, int n);

/* How many were taken, or why the first one was not.  With `trains`, neighbours
 * of the same size to the same peer leave as one (UDP_SEGMENT, Linux 4.18). */
int ol_sock_send_dgrams(int fd, const struct ol_dgram *messages, int count, bool trains);

/* Did accept4 speak of a connection that died before it was accepted, or a network that did?  Then
 * the next one may be alive: see accept(2). */
bool ol_sock_is_lost_client(int sys_errno);

/* Did the network say it about an earlier datagram?  Then the socket goes on. */
bool ol_sock_is_peer_error(int sys_errno);

#endif
