/*
 * sockets_mnl.c - the kernel's table of sockets, from netlink (sock_diag) through libmnl.
 *
 * One dump for each family.  What the kernel says is believed in its numbers and not in its
 * lengths: a message that is too short, of another family, or with an attribute of the wrong size
 * is passed over.  Counters of the answer end a dump that would go on for ever.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

const bool eng_sockets_built = true;

enum {
    ANSWER_ROOM = 64 * 1024,
    ANSWER_SECONDS = 5, /* the kernel answers at once, or something is wrong */
    NAME_MAX_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path)
};

/* As the kernel numbers them (TCP_ESTABLISHED is 1); udp and unix use the same numbers. */
static const char *const states[] = {
    NULL,          "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait",
    "unconnected", "close-wait",  "last-ack", "listen",   "closing",    "syn-recv",   "unconnected",
};

static const char *
state_name(unsigned state)
{
    return state < sizeof states / sizeof states[0] ? states[state] : NULL;
}

/* ---- tcp and udp ---- */

static bool
is_link_local(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MC_LINKLOCAL(a);
}

/* 192.0.2.1:80 [::1]:80 [fe80::1%eth0]:80; nothing where there is no peer. */
static void
print_inet(char *text, int family, const __be32 words[4], uint16_t port, unsigned device)
{
    char address[INET6_ADDRSTRLEN];
    char name[IF_NAMESIZE] = "";

    if (!inet_ntop(family, words, address, sizeof address))
        return;
    if (family == AF_INET6) {
        struct in6_addr a;

        memcpy(&a, words, sizeof a);
        if (device && is_link_local(&a) && !if_indextoname(device, name))
            name[0] = '\0';
        snprintf(text, ENG_SOCKET_TEXT, "[%s%s%s]:%u", address, name[0] ? "%" : "", name, port);
    } else {
        snprintf(text, ENG_SOCKET_TEXT, "%s:%u", address, port);
    }
}

static bool
add_inet(struct eng_sockets *out, enum eng_proto proto, int family, const struct nlmsghdr *head)
{
    static const __be32 nobody[4];
    const struct inet_diag_msg *m = mnl_nlmsg_get_payload(head);
    struct eng_socket *s;
    size_t words = family == AF_INET ? 1 : 4;

    if (mnl_nlmsg_get_payload_len(head) < sizeof *m || m->idiag_family != family ||
        !state_name(m->idiag_state))
        return false;
    s = eng_sockets_add(out);
    if (!s)
        return false;
    s->proto = proto;
    s->kind = proto == ENG_TCP ? "tcp" : "udp";
    s->state = state_name(m->idiag_state);
    s->inode = m->idiag_inode;
    s->queue_in = m->idiag_rqueue;
    s->queue_out = m->idiag_wqueue;
    s->uid = m->idiag_inode ? m->idiag_uid : (uid_t)-1;
    s->local_port = ntohs(m->id.idiag_sport);
    s->peer_port = m->id.idiag_dport ? ntohs(m->id.idiag_dport) : -1;
    print_inet(s->local, family, m->id.idiag_src, ntohs(m->id.idiag_sport), m->id.idiag_if);
    if (m->id.idiag_dport || memcmp(m->id.idiag_dst, nobody, words * sizeof nobody[0]) != 0)
        print_inet(s->peer, family, m->id.idiag_dst, ntohs(m->id.idiag_dport), m->id.idiag_if);
    return true;
}

/* ---- unix ---- */

static int
take_attribute(const struct nlattr *attr, void *arg)
{
    const struct nlattr **attributes = arg;

    if (mnl_attr_type_valid(attr, UNIX_DIAG_MAX) > 0)
        attributes[mnl_attr_get_type(attr)] = attr;
    return MNL_CB_OK;
}

/* Of exactly that many bytes, or not there. */
static const void *
fixed(const struct nlattr *attr, size_t size)
{
    return attr && mnl_attr_get_payload_len(attr) == size ? mnl_attr_get_payload(attr) : NULL;
}

/* An abstract name begins with NUL and may contain more; they are written as '@', as ss does. */
static void
print_unix(char *text, const struct nlattr *name)
{
    const char *bytes = mnl_attr_get_payload(name);
    size_t len = mnl_attr_get_payload_len(name);

    if (len > NAME_MAX_BYTES)
        len = NAME_MAX_BYTES;
    if (len && bytes[0])
        len = strnlen(bytes, len);
    for (size_t i = 0; i < len; i++)
        text[i] = bytes[i] ? bytes[i] : '@';
    text[len] = '\0';
}

static const char *
unix_kind(unsigned type)
{
    return type == SOCK_STREAM      ? "unix"
           : type == SOCK_DGRAM     ? "unix-dgram"
           : type == SOCK_SEQPACKET ? "unix-seqpacket"
                                    : NULL;
}

static bool
add_unix(struct eng_sockets *out, const struct nlmsghdr *head)
{
    const struct nlattr *attributes[UNIX_DIAG_MAX + 1] = {NULL};
    const struct unix_diag_msg *m = mnl_nlmsg_get_payload(head);
    const struct unix_diag_rqlen *queue;
    const uint32_t *number;
    struct eng_socket *s;

    if (mnl_nlmsg_get_payload_len(head) < sizeof *m || m->udiag_family != AF_UNIX ||
        !state_name(m->udiag_state) || !unix_kind(m->udiag_type) ||
        mnl_attr_parse(head, sizeof *m, take_attribute, attributes) < 0)
        return false;
    s = eng_sockets_add(out);
    if (!s)
        return false;
    s->proto = ENG_UNIX;
    s->kind = unix_kind(m->udiag_type);
    s->state = state_name(m->udiag_state);
    s->inode = m->udiag_ino;
    s->local_port = s->peer_port = -1;
    if (attributes[UNIX_DIAG_NAME])
        print_unix(s->local, attributes[UNIX_DIAG_NAME]);
    number = fixed(attributes[UNIX_DIAG_PEER], sizeof *number);
    s->peer_inode = number ? *number : 0;
    number = fixed(attributes[UNIX_DIAG_UID], sizeof *number);
    s->uid = number ? *number : (uid_t)-1;
    queue = fixed(attributes[UNIX_DIAG_RQLEN], sizeof *queue);
    if (queue) {
        s->queue_in = queue->udiag_rqueue;
        s->queue_out = queue->udiag_wqueue;
    }
    return true;
}

bool
eng_diag_message(struct eng_sockets *out, enum eng_proto proto, int family, const void *message,
                 size_t len)
{
    const struct nlmsghdr *head = message;

    if (len < sizeof *head || head->nlmsg_len < sizeof *head || head->nlmsg_len > len ||
        head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    return family == AF_UNIX ? add_unix(out, head) : add_inet(out, proto, family, head);
}

/* ---- asking ---- */

struct dump {
    struct eng_sockets *out;
    enum eng_proto proto;
    int family;
};

static int
came(const struct nlmsghdr *head, void *arg)
{
    const struct dump *d = arg;

    (void)eng_diag_message(d->out, d->proto, d->family, head, head->nlmsg_len); /* passed over */
    return d->out->cut || d->out->bytes->failed ? MNL_CB_STOP : MNL_CB_OK;
}

static void
ask_inet(struct nlmsghdr *head, const struct dump *d)
{
    struct inet_diag_req_v2 *r = mnl_nlmsg_put_extra_header(head, sizeof *r);

    r->sdiag_family = (uint8_t)d->family;
    r->sdiag_protocol = d->proto == ENG_TCP ? IPPROTO_TCP : IPPROTO_UDP;
    r->idiag_states = UINT32_MAX;
}

static void
ask_unix(struct nlmsghdr *head)
{
    struct unix_diag_req *r = mnl_nlmsg_put_extra_header(head, sizeof *r);

    r->sdiag_family = AF_UNIX;
    r->udiag_states = UINT32_MAX;
    r->udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID;
}

/* 0, or an errno. */
static int
receive(struct mnl_socket *nl, unsigned seq, struct dump *d)
{
    uint8_t *answer = eng_alloc(ANSWER_ROOM);
    int more = MNL_CB_OK;

    if (!answer)
        return ENOMEM;
    while (more == MNL_CB_OK) {
        ssize_t n = mnl_socket_recvfrom(nl, answer, ANSWER_ROOM);

        if (n < 0 && errno == EINTR)
            continue;
        more = n < 0 ? MNL_CB_ERROR
                     : mnl_cb_run(answer, (size_t)n, seq, mnl_socket_get_portid(nl), came, d);
    }
    eng_free(answer);
    /* EPROTO, ESRCH: an answer to somebody else, which nobody has reason to send. */
    return more == MNL_CB_ERROR ? errno : 0;
}

static int
dump(struct mnl_socket *nl, struct dump *d)
{
    uint8_t request[128] = {0};
    struct nlmsghdr *head = mnl_nlmsg_put_header(request);

    head->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    head->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    head->nlmsg_seq = (unsigned)d->family;
    if (d->family == AF_UNIX)
        ask_unix(head);
    else
        ask_inet(head, d);
    if (mnl_socket_sendto(nl, head, head->nlmsg_len) < 0)
        return errno;
    return receive(nl, head->nlmsg_seq, d);
}

static int
dump_family(struct dump *d)
{
    const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    int error = 0;

    if (!nl)
        return errno;
    if (setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
        error = errno;
    if (!error)
        error = dump(nl, d);
    mnl_socket_close(nl);
    return error;
}

int
eng_diag_read(struct eng_sockets *out, enum eng_proto proto)
{
    struct dump d = {.out = out, .proto = proto, .family = proto == ENG_UNIX ? AF_UNIX : AF_INET};
    int error = dump_family(&d);

    if (!error && proto != ENG_UNIX) {
        d.family = AF_INET6;
        error = dump_family(&d);
    }
    return error;
}
