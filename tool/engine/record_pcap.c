/*
 * record_pcap.c - a recording as pcapng: packets made up around each message.
 *
 * Every connection becomes a TCP or UDP conversation that adds up: handshake, sequence and
 * acknowledgement numbers, checksums, FIN or RST.  The addresses are the real ones where they are
 * IP; a unix socket or a pair has none and is given ones that documentation may use (RFC 3849):
 * ours is 2001:db8::1, the peer's 2001:db8:0:1::ID, so that each connection is a conversation of
 * its own.  What packets cannot say (number, names, why it ended) stands as the line of JSON that
 * the other format has, in a comment: of the SYN, of the first FIN or RST, and where there is no
 * such packet (datagrams) in a block of statistics.
 *
 *     section: app, and for people what it is
 *     interface: raw IP, nanoseconds
 *     statistics            comment = START
 *     SYN, SYN ACK, ACK     comment = OPEN
 *     segments              PSH in the last one of a message; flags say in or out
 *     PSH ACK               comment = "rule: NAME", of the rule that acted
 *     FIN ACK ...           comment = CLOSE
 *     statistics            comment = LOST, END
 *
 * START is where Wireshark does not leave it: a file that it wrote anew has lost our END, too, and
 * is not to be taken for one that was cut.
 *
 * A newcomer's mistake: to leave out the ACKs.  Without them the peer's window is full after a
 * while, and readers complain.  Also: to send an empty message as an empty segment and nothing
 * else.  That is a duplicate ACK; another window makes it a window update.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEGMENT = 60 * 1024, /* an IP packet has 64 KiB at most */
    DATAGRAM = 65507,
    ACK_BYTES = 256 * 1024,
    ACK_SEGMENTS = 128,
    WINDOW = 65535,
    WINDOW_SHIFT = 14,
    MADE_UP_PORT = 49152 /* of no protocol that a reader would try to understand */
};

struct talk {
    uint64_t id;
    struct pcap_pair pair;
    uint32_t sequence[2]; /* the next byte of each end */
    uint32_t unacked_bytes[2];
    uint32_t unacked_segments[2];
    bool other_window[2];
    bool out_first; /* we opened it */
};

struct pcap_writer {
    void *by_id;
    void *by_pair;
    bool begun;
};

/* ---- sums ---- */

uint32_t
record_sum(uint32_t sum, const uint8_t *bytes, size_t len)
{
    uint64_t wide = sum;
    size_t i = 0;
    uint32_t word;

    for (; i + 4 <= len; i += 4) {
        memcpy(&word, bytes + i, sizeof word);
        wide += ntohl(word);
    }
    if (i + 2 <= len) {
        wide += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        i += 2;
    }
    if (i < len)
        wide += (uint32_t)(bytes[i] << 8);
    while (wide >> 16)
        wide = (wide & 0xffff) + (wide >> 16);
    return (uint32_t)wide;
}

uint16_t
record_sum_end(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint32_t
record_sum_pseudo(const struct pcap_pair *pair, size_t len)
{
    const uint8_t tail[8] = {
        (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0,
        pair->protocol};
    size_t n = pair->v6 ? 16 : 4;
    uint32_t sum = record_sum(0, pair->address[0], n);

    sum = record_sum(sum, pair->address[1], n);
    return record_sum(sum, tail, sizeof tail);
}

/* ---- blocks ---- */

static void
put16(struct eng_bytes *out, unsigned value)
{
    const uint16_t v = (uint16_t)value;

    eng_bytes_add(out, &v, sizeof v);
}

static void
put32(struct eng_bytes *out, uint32_t value)
{
    eng_bytes_add(out, &value, sizeof value);
}

static void
pad(struct eng_bytes *out, size_t len)
{
    eng_bytes_add(out, "\0\0\0", (4 - len % 4) % 4);
}

static size_t
block_begin(struct eng_bytes *out, uint32_t type)
{
    size_t at = out->len;

    put32(out, type);
    put32(out, 0); /* the length, once it is known */
    return at;
}

static void
block_end(struct eng_bytes *out, size_t at)
{
    uint32_t len = (uint32_t)(out->len - at + 4);

    put32(out, len);
    if (!out->failed)
        memcpy(out->data + at + 4, &len, sizeof len);
}

static void
option(struct eng_bytes *out, unsigned code, const void *value, size_t len)
{
    put16(out, code);
    put16(out, (unsigned)len);
    eng_bytes_add(out, value, len);
    pad(out, len);
}

/* A record as a comment: its line, without the line's end. */
static void
option_record(struct eng_bytes *out, const struct eng_record *r)
{
    struct eng_bytes line = {0};

    record_json_add(&line, r);
    if (line.failed)
        out->failed = true;
    else
        option(out, PCAP_COMMENT, line.data, line.len - 1);
    eng_bytes_free(&line);
}

static void
option_rule(struct eng_bytes *out, const char *rule)
{
    char text[sizeof PCAP_RULE + ENG_PRESET_NAME_MAX];
    int len = snprintf(text, sizeof text, PCAP_RULE "%s", rule);

    if (len >= (int)sizeof text)
        return; /* no name of a rule */
    option(out, PCAP_COMMENT, text, (size_t)len);
}

static void
put_time(struct eng_bytes *out, int64_t ns)
{
    put32(out, (uint32_t)((uint64_t)ns >> 32));
    put32(out, (uint32_t)ns);
}

static void
add_section(struct eng_bytes *out, const struct eng_record *start)
{
    static const uint8_t resolution = 9; /* nanoseconds */
    char app[64];
    size_t at = block_begin(out, PCAP_SECTION);

    snprintf(app, sizeof app, "outlet %s", outlet_version());
    put32(out, PCAP_MAGIC);
    put16(out, 1);
    put16(out, 0);
    put32(out, UINT32_MAX); /* its length is not known */
    put32(out, UINT32_MAX);
    if (start) {
        struct eng_bytes about = {0};

        eng_bytes_text(&about, start->role == OUTLET_TO_LISTEN ? "listen " : "connect ");
        eng_bytes_text(&about, start->url);
        option(out, PCAP_COMMENT, about.data, about.len);
        out->failed |= about.failed;
        eng_bytes_free(&about);
    }
    option(out, PCAP_APPLICATION, app, strlen(app));
    put32(out, 0);
    block_end(out, at);

    at = block_begin(out, PCAP_INTERFACE);
    put16(out, PCAP_RAW_IP);
    put16(out, 0);
    put32(out, 0); /* no packet is cut */
    option(out, PCAP_NAME, "outlet", 6);
    option(out, PCAP_RESOLUTION, &resolution, 1);
    put32(out, 0);
    block_end(out, at);
}

/* What no packet can carry. */
static void
add_statistics(struct eng_bytes *out, const struct eng_record *r)
{
    size_t at = block_begin(out, PCAP_STATISTICS);

    put32(out, 0); /* of the only interface */
    put_time(out, r->ns);
    option_record(out, r);
    if (r->kind == ENG_RECORD_END) {
        put16(out, PCAP_END_TIME);
        put16(out, 8);
        put_time(out, r->ns);
    }
    if (r->kind == ENG_RECORD_LOST)
        option(out, PCAP_OS_DROP, &r->count, sizeof r->count);
    put32(out, 0);
    block_end(out, at);
}

/* ---- packets ---- */

/* Of one direction: from end `from` of the talk to the other. */
struct packet {
    struct talk *talk;
    int from;
    unsigned flags; /* of TCP */
    const uint8_t *bytes;
    size_t len;
    const struct eng_record *comment; /* NULL: none */
    const char *rule;                 /* NULL: none */
    bool part;                        /* of a datagram, and not the last */
    int64_t ns;
};

static void
big16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void
big32(uint8_t *at, uint32_t value)
{
    big16(at, value >> 16);
    big16(at + 2, value & 0xffff);
}

/* Answers its length.  `len` is that of all behind it. */
static size_t
ip_header(const struct packet *p, size_t len, uint8_t *at)
{
    const struct pcap_pair *pair = &p->talk->pair;

    memset(at, 0, 40);
    if (pair->v6) {
        at[0] = 0x60;
        big16(at + 4, len);
        at[6] = pair->protocol;
        at[7] = 64;
        memcpy(at + 8, pair->address[p->from], 16);
        memcpy(at + 24, pair->address[!p->from], 16);
        return 40;
    }
    at[0] = 0x45;
    big16(at + 2, len + 20);
    at[6] = 0x40; /* do not fragment: then the identification may be 0 (RFC 6864) */
    at[8] = 64;
    at[9] = pair->protocol;
    memcpy(at + 12, pair->address[p->from], 4);
    memcpy(at + 16, pair->address[!p->from], 4);
    big16(at + 10, record_sum_end(record_sum(0, at, 20)));
    return 20;
}

static size_t
tcp_header(const struct packet *p, uint8_t *at)
{
    static const uint8_t syn_options[8] = {2, 4, SEGMENT >> 8, SEGMENT & 0xff,
                                           3, 3, WINDOW_SHIFT, 1};
    const struct talk *t = p->talk;
    size_t len = p->flags & TCP_SYN ? 28 : 20;

    memset(at, 0, 20);
    big16(at, t->pair.port[p->from]);
    big16(at + 2, t->pair.port[!p->from]);
    big32(at + 4, t->sequence[p->from]);
    if (p->flags & TCP_ACK)
        big32(at + 8, t->sequence[!p->from]);
    at[12] = (uint8_t)(len / 4 << 4);
    at[13] = (uint8_t)p->flags;
    big16(at + 14, WINDOW - t->other_window[p->from]);
    if (p->flags & TCP_SYN)
        memcpy(at + 20, syn_options, sizeof syn_options);
    return len;
}

static size_t
udp_header(const struct packet *p, uint8_t *at)
{
    big16(at, p->talk->pair.port[p->from]);
    big16(at + 2, p->talk->pair.port[!p->from]);
    big16(at + 4, p->len + 8);
    big16(at + 6, 0);
    return 8;
}

static void
add_packet(struct eng_bytes *out, const struct packet *p)
{
    const struct pcap_pair *pair = &p->talk->pair;
    bool tcp = pair->protocol == IP_TCP;
    uint8_t ip[40];
    uint8_t head[40];
    size_t head_len = tcp ? tcp_header(p, head) : udp_header(p, head);
    size_t ip_len = ip_header(p, head_len + p->len, ip);
    size_t all = ip_len + head_len + p->len;
    uint32_t sum = record_sum_pseudo(pair, head_len + p->len);
    uint16_t end;
    uint32_t flags = p->from == 0 ? PCAP_OUTBOUND : PCAP_INBOUND;
    size_t at = block_begin(out, PCAP_PACKET);

    sum = record_sum(sum, head, head_len);
    end = record_sum_end(record_sum(sum, p->bytes, p->len));
    if (!tcp && end == 0)
        end = 0xffff; /* 0 says that there is none (RFC 768) */
    big16(head + (tcp ? 16 : 6), end);
    put32(out, 0);
    put_time(out, p->ns);
    put32(out, (uint32_t)all);
    put32(out, (uint32_t)all);
    eng_bytes_add(out, ip, ip_len);
    eng_bytes_add(out, head, head_len);
    eng_bytes_add(out, p->bytes, p->len);
    pad(out, all);
    if (p->comment)
        option_record(out, p->comment);
    if (p->rule)
        option_rule(out, p->rule);
    if (p->part)
        option(out, PCAP_COMMENT, PCAP_PART, sizeof PCAP_PART - 1);
    option(out, PCAP_FLAGS, &flags, sizeof flags);
    put32(out, 0);
    block_end(out, at);
}

static void
add_control(struct eng_bytes *out, struct talk *t, int from, unsigned flags, int64_t ns,
            const struct eng_record *comment)
{
    struct packet p = {.talk = t, .from = from, .flags = flags, .ns = ns, .comment = comment};

    add_packet(out, &p);
    t->unacked_bytes[!from] = 0;
    t->unacked_segments[!from] = 0;
    if (flags & (TCP_SYN | TCP_FIN))
        t->sequence[from]++;
}

/* ---- talks ---- */

static int
compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const struct talk *)a)->id;
    uint64_t y = ((const struct talk *)b)->id;

    return (x > y) - (x < y);
}

int
record_pair_compare(const struct pcap_pair *a, const struct pcap_pair *b)
{
    int order = memcmp(a->address, b->address, sizeof a->address);

    if (order == 0)
        order = memcmp(a->port, b->port, sizeof a->port);
    return order ? order : (a->protocol > b->protocol) - (a->protocol < b->protocol);
}

static int
compare_pairs(const void *a, const void *b)
{
    return record_pair_compare(&((const struct talk *)a)->pair, &((const struct talk *)b)->pair);
}

/* "192.0.2.1:7" or "[fe80::1%eth0]:7".  False: something else. */
static bool
parse_end(const char *text, bool *v6, uint8_t *address, uint16_t *port)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long number;
    size_t len;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    number = strtoul(colon + 1, &end, 10);
    if (*end || number > 65535)
        return false;
    *port = (uint16_t)number;
    *v6 = text[0] == '[';
    len = (size_t)(colon - text);
    if (*v6) {
        if (len < 2 || text[len - 1] != ']')
            return false;
        text++;
        len -= 2;
    }
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    host[strcspn(host, "%")] = '\0';
    return inet_pton(*v6 ? AF_INET6 : AF_INET, host, address) == 1;
}

static const uint8_t made_up_us[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
static const uint8_t made_up_peer[8] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};

static uint8_t
protocol_of(const struct eng_record_conn *conn)
{
    bool datagrams = strcmp(conn->transport, "udp") == 0 ||
                     strcmp(conn->transport, "unix-dgram") == 0;

    return datagrams ? IP_UDP : IP_TCP;
}

void
record_pair_made_up(const struct eng_record_conn *conn, struct pcap_pair *out)
{
    *out = (struct pcap_pair){
        .v6 = true, .port = {MADE_UP_PORT, MADE_UP_PORT}, .protocol = protocol_of(conn)};
    memcpy(out->address[0], made_up_us, sizeof made_up_us);
    memcpy(out->address[1], made_up_peer, sizeof made_up_peer);
    big32(out->address[1] + 8, (uint32_t)(conn->id >> 32));
    big32(out->address[1] + 12, (uint32_t)conn->id);
}

bool
record_pair_real(const struct eng_record_conn *conn, struct pcap_pair *out)
{
    struct pcap_pair pair = {.protocol = protocol_of(conn)};
    bool v6[2];

    if (!parse_end(conn->local, &v6[0], pair.address[0], &pair.port[0]) ||
        !parse_end(conn->peer, &v6[1], pair.address[1], &pair.port[1]) || v6[0] != v6[1])
        return false;
    pair.v6 = v6[0];
    *out = pair;
    /* What is made up elsewhere would be two conversations in one. */
    return !pair.v6 || memcmp(pair.address[1], made_up_peer, sizeof made_up_peer) != 0;
}

static void
talk_end(struct pcap_writer *w, struct talk *t)
{
    tdelete(t, &w->by_id, compare_ids);
    tdelete(t, &w->by_pair, compare_pairs);
    eng_free(t);
}

/* NULL: no memory. */
static struct talk *
talk_begin(struct pcap_writer *w, const struct eng_record_conn *conn)
{
    struct talk *t = eng_alloc(sizeof *t);

    if (!t)
        return NULL;
    t->id = conn->id;
    t->out_first = conn->role == OUTLET_TO_CONNECT;
    if (!record_pair_real(conn, &t->pair) || tfind(t, &w->by_pair, compare_pairs))
        record_pair_made_up(conn, &t->pair); /* also for what two connections claim at once */
    if (!tsearch(t, &w->by_id, compare_ids))
        goto free_talk;
    if (!tsearch(t, &w->by_pair, compare_pairs))
        goto take_from_ids;
    return t;

take_from_ids:
    tdelete(t, &w->by_id, compare_ids);
free_talk:
    eng_free(t);
    return NULL;
}

static struct talk *
talk_find(struct pcap_writer *w, uint64_t id)
{
    const struct talk key = {.id = id};
    struct talk **found = tfind(&key, &w->by_id, compare_ids);

    return found ? *found : NULL;
}

static void
add_open(struct pcap_writer *w, const struct eng_record *r, struct eng_bytes *out)
{
    struct talk *t = talk_find(w, r->conn->id);
    int first;

    if (t)
        talk_end(w, t); /* somebody's mistake; the number now means this one */
    t = talk_begin(w, r->conn);
    if (!t) {
        out->failed = true;
        return;
    }
    if (t->pair.protocol == IP_UDP) {
        add_statistics(out, r);
        return;
    }
    first = !t->out_first;
    add_control(out, t, first, TCP_SYN, r->ns, r);
    add_control(out, t, !first, TCP_SYN | TCP_ACK, r->ns, NULL);
    add_control(out, t, first, TCP_ACK, r->ns, NULL);
}

static void
add_segment(struct eng_bytes *out, struct packet *p)
{
    struct talk *t = p->talk;
    int from = p->from;

    if (p->len == 0)
        t->other_window[from] = !t->other_window[from];
    add_packet(out, p);
    t->sequence[from] += (uint32_t)p->len;
    t->unacked_bytes[!from] = 0;
    t->unacked_segments[!from] = 0;
    t->unacked_bytes[from] += (uint32_t)p->len;
    if (++t->unacked_segments[from] >= ACK_SEGMENTS || t->unacked_bytes[from] >= ACK_BYTES)
        add_control(out, t, !from, TCP_ACK, p->ns, NULL);
}

static void
add_message(struct pcap_writer *w, const struct eng_record *r, struct eng_bytes *out)
{
    struct talk *t = talk_find(w, r->conn->id);
    struct packet p = {.from = r->out ? 0 : 1, .bytes = r->bytes, .ns = r->ns};
    size_t left = r->size;
    size_t most;

    if (!t) {
        struct eng_record open = {.kind = ENG_RECORD_OPEN, .ns = r->ns, .conn = r->conn};

        add_open(w, &open, out);
        t = talk_find(w, r->conn->id);
    }
    if (!t)
        return; /* no memory, and out->failed says so */
    p.talk = t;
    most = t->pair.protocol == IP_UDP ? DATAGRAM : SEGMENT;
    do {
        p.len = left < most ? left : most;
        left -= p.len;
        p.flags = TCP_ACK | (left ? 0 : TCP_PSH);
        p.rule = left ? NULL : r->rule;
        p.part = left && t->pair.protocol == IP_UDP;
        if (t->pair.protocol == IP_UDP)
            add_packet(out, &p);
        else
            add_segment(out, &p);
        p.bytes += p.len;
    } while (left);
}

static void
add_close(struct pcap_writer *w, const struct eng_record *r, struct eng_bytes *out)
{
    struct talk *t = talk_find(w, r->conn->id);
    int first = r->why->side == OUTLET_BY_PEER;

    if (!t)
        return; /* it had no message, and no beginning */
    if (t->pair.protocol == IP_UDP) {
        add_statistics(out, r);
    } else if (r->why->code == OUTLET_OK) {
        add_control(out, t, first, TCP_FIN | TCP_ACK, r->ns, r);
        add_control(out, t, !first, TCP_FIN | TCP_ACK, r->ns, NULL);
        add_control(out, t, first, TCP_ACK, r->ns, NULL);
    } else {
        add_control(out, t, first, TCP_RST | TCP_ACK, r->ns, r);
    }
    talk_end(w, t);
}

struct pcap_writer *
record_pcap_open(void)
{
    return eng_alloc(sizeof(struct pcap_writer));
}

static void
talks_end(struct pcap_writer *w)
{
    while (w->by_id)
        talk_end(w, *(struct talk **)w->by_id);
}

void
record_pcap_add(struct pcap_writer *w, const struct eng_record *r, struct eng_bytes *out)
{
    if (!w->begun || r->kind == ENG_RECORD_START) {
        talks_end(w); /* numbers begin anew */
        add_section(out, r->kind == ENG_RECORD_START ? r : NULL);
        w->begun = true;
    }
    switch (r->kind) {
    case ENG_RECORD_OPEN:
        add_open(w, r, out);
        return;
    case ENG_RECORD_MESSAGE:
        add_message(w, r, out);
        return;
    case ENG_RECORD_CLOSE:
        add_close(w, r, out);
        return;
    case ENG_RECORD_START:
    case ENG_RECORD_LOST:
    case ENG_RECORD_END:
        add_statistics(out, r);
        return;
    }
}

void
record_pcap_close(struct pcap_writer *w)
{
    if (!w)
        return;
    talks_end(w);
    eng_free(w);
}
