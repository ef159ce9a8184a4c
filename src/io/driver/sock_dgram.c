/*
 * sock_dgram.c - datagrams in batches and trains: recvmmsg, sendmmsg, UDP_GRO and UDP_SEGMENT.
 *
 * A train is several datagrams of one size to or from one peer in one message of the kernel.  A
 * newcomer's mistake: to forget that a path, a device or a kernel may refuse trains; the same batch
 * is then sent once more without.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>

int
ol_sock_receive_dgrams(int fd, struct ol_sock_inbox *in, int count, bool local)
{
    int n;

    OL_ASSERT(count > 0 && count <= OL_SOCK_BATCH);
    for (int i = 0; i < count; i++) {
        in->heads[i].msg_hdr = (struct msghdr){.msg_name = &in->names[i],
                                               .msg_namelen = sizeof in->names[i],
                                               .msg_iov = &in->pieces[i],
                                               .msg_iovlen = 1,
                                               .msg_control = local ? NULL : in->control[i],
                                               .msg_controllen = local ? 0 : OL_SOCK_CONTROL};
        in->heads[i].msg_len = 0;
    }
    n = recvmmsg(fd, in->heads, (unsigned)count, MSG_DONTWAIT, NULL);
    return n < 0 ? -errno : n;
}

bool
ol_sock_dgram_truncated(const struct ol_sock_inbox *in, int i)
{
    return in->heads[i].msg_hdr.msg_flags & MSG_TRUNC;
}

void
ol_sock_dgram_from(const struct ol_sock_inbox *in, int i, struct ol_addr *out)
{
    ol_sockaddr_get(&in->names[i], in->heads[i].msg_hdr.msg_namelen, out);
}

static bool
get_info_v4(const struct cmsghdr *c, struct ol_addr *out)
{
    struct in_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof info);
    out->kind = OL_ADDR_V4;
    /* Not ipi_addr: for a broadcast that is the broadcast address, which no answer can leave from.
     */
    memcpy(out->ip, &info.ipi_spec_dst, 4);
    return true;
}

static bool
get_info_v6(const struct cmsghdr *c, struct ol_addr *out)
{
    struct in6_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof info);
    if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
        return false;
    out->kind = OL_ADDR_V6;
    memcpy(out->ip, &info.ipi6_addr, 16);
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        out->zone = (uint32_t)info.ipi6_ifindex;
    return true;
}

bool
ol_sock_dgram_to(const struct ol_sock_inbox *in, int i, struct ol_addr *out)
{
    struct msghdr *head = (struct msghdr *)&in->heads[i].msg_hdr; /* CMSG_NXTHDR wants it plain */

    memset(out, 0, OL_ADDR_INET_SIZE);
    out->path[0] = '\0';
    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
            return get_info_v4(c, out);
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            return get_info_v6(c, out);
    }
    return false;
}

uint32_t
ol_sock_dgram_segment(const struct ol_sock_inbox *in, int i)
{
    struct msghdr *head = (struct msghdr *)&in->heads[i].msg_hdr; /* CMSG_NXTHDR wants it plain */
    int size = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(c), sizeof size);
    }
    return size > 0 && (unsigned)size < in->heads[i].msg_len ? (uint32_t)size : 0;
}

/* Whether something waits says poll: the kernel takes received bytes off its sum in steps. */
int
ol_sock_dgram_facts(int fd, bool local, struct ol_dgram_facts *out)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof memory;
    bool waits;

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &len) != 0)
        return -errno;
    if (len <= SK_MEMINFO_DROPS * sizeof memory[0])
        return -ENOPROTOOPT;
    waits = poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
    out->lost = local ? 0 : memory[SK_MEMINFO_DROPS];
    out->unread = 0;
    if (waits)
        out->unread = local ? 1 : ol_max(memory[SK_MEMINFO_RMEM_ALLOC], 1u);
    return 0;
}

bool
ol_sock_at_end(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    char byte;

    if (poll(&p, 1, 0) != 1 || !(p.revents & (POLLRDHUP | POLLHUP)))
        return false;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

bool
ol_sock_packet_end(int fd, const struct ol_sock_inbox *in, int i, int n)
{
    for (; i < n; i++) {
        if (in->heads[i].msg_len > 0)
            return false; /* an empty message with others behind it */
    }
    return ol_sock_at_end(fd);
}

enum { TRAIN_BYTES = 65507 /* what one datagram could carry */ };

/* What one sendmmsg works on: each head is one datagram, or a train of equal ones to one peer. */
struct outbox {
    struct mmsghdr heads[OL_SOCK_BATCH];
    union ol_sockaddr names[OL_SOCK_BATCH];
    _Alignas(struct cmsghdr) char control[OL_SOCK_BATCH][OL_SOCK_CONTROL];
    struct iovec iov[OL_SOCK_BATCH * 8];
    int messages[OL_SOCK_BATCH]; /* of each head */
};

static void
put_control(struct msghdr *head, char *room, int level, int type, const void *data, size_t len)
{
    size_t used = head->msg_controllen;
    struct cmsghdr *c;

    OL_ASSERT(used + CMSG_SPACE(len) <= OL_SOCK_CONTROL);
    memset(room + used, 0, CMSG_SPACE(len));
    head->msg_control = room;
    head->msg_controllen = used + CMSG_SPACE(len);
    c = (struct cmsghdr *)(void *)(room + used); /* CMSG_SPACE keeps it aligned */
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
}

static void
put_from(struct msghdr *head, char *room, const struct ol_addr *from)
{
    if (from->kind == OL_ADDR_V4) {
        struct in_pktinfo info = {0};

        memcpy(&info.ipi_spec_dst, from->ip, 4);
        put_control(head, room, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (from->kind == OL_ADDR_V6) {
        struct in6_pktinfo info = {.ipi6_ifindex = from->zone};

        memcpy(&info.ipi6_addr, from->ip, 16);
        put_control(head, room, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

static size_t
dgram_len(const struct ol_dgram *m)
{
    size_t len = 0;

    for (int i = 0; i < m->count; i++)
        len += m->pieces[i].iov_len;
    return len;
}

/* How many of the first datagrams can leave as one train: the same peer, the same size, only the
 * last may be shorter; and their pieces fit into `room`. */
static int
train_len(const struct ol_dgram *m, int count, size_t room)
{
    size_t size = dgram_len(m);
    size_t bytes = size;
    size_t pieces = (size_t)m->count;
    int n = 1;

    if (size == 0 || size > OL_TRAIN_SEGMENT_MAX || m->segment)
        return 1;
    while (n < count && n < OL_TRAIN_MAX) {
        size_t len;

        if (m[n].segment || m[n].to != m->to || m[n].from != m->from)
            break;
        len = dgram_len(&m[n]);
        if (len == 0 || len > size || bytes + len > TRAIN_BYTES ||
            pieces + (size_t)m[n].count > room)
            break;
        bytes += len;
        pieces += (size_t)m[n].count;
        n++;
        if (len < size)
            break;
    }
    return n;
}

/* Messages that were queued one behind the other lie so in memory, too: one piece for the kernel.
 */
static size_t
put_pieces(struct iovec *iov, size_t used, const struct iovec *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        struct iovec *last = used ? &iov[used - 1] : NULL;

        if (last && (char *)last->iov_base + last->iov_len == (char *)pieces[i].iov_base)
            last->iov_len += pieces[i].iov_len;
        else
            iov[used++] = pieces[i];
    }
    return used;
}

/* Answers how many pieces of `iov` are used. */
static size_t
put_head(struct outbox *box, int at, struct iovec *iov, const struct ol_dgram *m, int count)
{
    struct msghdr *head = &box->heads[at].msg_hdr;
    size_t used = 0;

    *head = (struct msghdr){.msg_iov = (struct iovec *)m->pieces, .msg_iovlen = (size_t)m->count};
    for (int i = 0; i < count && count > 1; i++)
        used = put_pieces(iov, used, m[i].pieces, m[i].count);
    if (count > 1) {
        head->msg_iov = iov;
        head->msg_iovlen = used;
    }
    box->heads[at].msg_len = 0;
    box->messages[at] = count;
    if (m->to) {
        head->msg_name = &box->names[at];
        head->msg_namelen = ol_sockaddr_set(&box->names[at], m->to);
    }
    if (m->pass) {
        int fd = m->pass - 1;

        put_control(head, box->control[at], SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
    }
    if (m->from)
        put_from(head, box->control[at], m->from);
    if (count > 1 || m->segment) {
        uint16_t size = (uint16_t)(m->segment ? m->segment : dgram_len(m));

        put_control(head, box->control[at], IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
    }
    return used;
}

/* *took: how many datagrams the call was about. */
static int
send_batch(int fd, struct outbox *box, const struct ol_dgram *messages, int count, bool trains,
           int *took)
{
    size_t room = sizeof box->iov / sizeof box->iov[0];
    size_t used = 0;
    int heads = 0;
    int done = 0;
    int n;

    *took = 0;
    while (heads < OL_SOCK_BATCH && *took < count) {
        const struct ol_dgram *m = &messages[*took];
        int train = 1;

        if (trains)
            train = train_len(m, count - *took, room - used);
        used += put_head(box, heads, box->iov + used, m, train);
        *took += train;
        heads++;
    }
    OL_ASSERT(heads > 0);
    n = sendmmsg(fd, box->heads, (unsigned)heads, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++)
        done += box->messages[i];
    return done;
}

/* A path whose MTU is small, a device without checksums, or a kernel before 4.18: these do not take
 * trains, and say so in one of these ways. */
static bool
refuses_trains(int sys)
{
    return sys == -EINVAL || sys == -EMSGSIZE || sys == -EIO || sys == -EOPNOTSUPP ||
           sys == -ENOPROTOOPT;
}

int
ol_sock_send_dgrams(int fd, const struct ol_dgram *messages, int count, bool trains)
{
    struct outbox box;
    int done = 0;

    /* A unix socket would take a train for one message. */
    if (!trains && messages->segment)
        return -EOPNOTSUPP;

    while (done < count) {
        int took;
        int n = send_batch(fd, &box, messages + done, count - done, trains, &took);

        if (n < 0 && trains && box.messages[0] > 1 && refuses_trains(n)) {
            trains = false;
            continue;
        }
        if (n < 0 && messages[done].segment && refuses_trains(n))
            n = -EOPNOTSUPP;
        if (n < 0)
            return done > 0 ? done : n;
        done += n;
        if (n < took)
            break;
    }
    return done;
}

bool
ol_sock_is_peer_error(int sys_errno)
{
    switch (sys_errno) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EACCES:
    case EPROTO:
    case EMSGSIZE:
    case ECONNRESET: /* unix datagrams: the peer has closed; somebody may bind there again */
    case ENOTCONN:   /* ... there is no address to answer to */
        return true;
    default:
        return false;
    }
}
