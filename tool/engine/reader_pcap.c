/*
 * reader_pcap.c - pcapng back into records: our own files as they were, others' as far as they go.
 *
 * Of a file that this program wrote everything is checked (sums, sequence numbers, the comments
 * that say what packets cannot), and PSH is where a message ends.  Of others this is understood:
 * TCP and UDP over IPv4 and IPv6, with Ethernet, Linux' cooked header, a loopback's or no header in
 * front; each segment with new bytes is a message, who connects is "us", repeated bytes are passed
 * over.  A newcomer's mistake: to demand good sums of others.  Their cards compute them behind the
 * capture's back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <arpa/inet.h>
#include <search.h>
#include <stdio.h>
#include <string.h>

enum {
    BLOCK_MAX = 16 * 1024 * 1024,
    INTERFACES_MAX = 256,
    OLD_PACKET = 2,
    SIMPLE_PACKET = 3,
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_LOOP = 108,
    LINK_COOKED = 113,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_COOKED2 = 276
};

static const uint64_t STRANGER = (uint64_t)1 << 40; /* numbers that no recorder has given */

struct talk {
    struct pcap_pair pair;
    struct eng_record_conn *conn;
    uint32_t sequence[2];
    bool sequence_known[2];
    bool ended[2];
    struct eng_bytes part[2]; /* of a message whose end has not come */
};

struct interface {
    unsigned link;
    uint8_t resolution;
};

struct pcap_reader {
    bool begun;
    bool swapped;
    bool ours; /* this program wrote the section */
    struct interface interfaces[INTERFACES_MAX];
    unsigned interface_count;
    void *talks; /* by pair */
    uint64_t strangers;
    bool again; /* the packet opened a stranger: it is looked at once more, for what it carries */
    struct talk *lent; /* its part is a record's bytes: to be emptied */
    int lent_from;
    struct outlet_reason why;
    char rule[ENG_PRESET_NAME_MAX + 1];
};

/* One block, in memory as a whole. */
struct block {
    uint32_t type;
    const uint8_t *body;
    size_t len; /* of the body */
    size_t all;
    uint64_t offset;
};

struct found {
    const uint8_t *comment; /* a record as a line; NULL: there is none */
    size_t comment_len;
    const uint8_t *rule; /* that acted on the message; NULL: none is named */
    size_t rule_len;
    bool part; /* of a datagram, and not the last */
    const uint8_t *application;
    size_t application_len;
    uint32_t flags;
    uint8_t resolution;
};

struct segment {
    struct pcap_pair pair; /* [0] is who sent it */
    uint32_t sequence;
    unsigned flags;
    const uint8_t *bytes;
    size_t len;
    const uint8_t *rule; /* NULL: none */
    size_t rule_len;
    bool part;
    int64_t ns;
};

/* ---- numbers ---- */

static uint16_t
get16(const struct pcap_reader *p, const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof value);
    return p->swapped ? __builtin_bswap16(value) : value;
}

static uint32_t
get32(const struct pcap_reader *p, const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return p->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t
big16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
big32(const uint8_t *at)
{
    return (uint32_t)big16(at) << 16 | big16(at + 2);
}

/* False: it is no time of ours. */
static bool
time_of(const struct pcap_reader *p, const uint8_t *at, uint8_t resolution, int64_t *ns)
{
    uint64_t value = (uint64_t)get32(p, at) << 32 | get32(p, at + 4);
    unsigned power = resolution & 0x7f;
    uint64_t part = 0;

    if (resolution & 0x80) {
        if (power >= 64)
            return false;
        part = power ? value & (((uint64_t)1 << power) - 1) : 0;
        value >>= power;
        if (power > 32) { /* more than a nanosecond's digits */
            part >>= power - 32;
            power = 32;
        }
        part = part * 1000000000 >> power;
        power = 0;
    }
    for (; power < 9; power++) {
        if (value > INT64_MAX / 10)
            return false;
        value *= 10;
    }
    for (; power > 9; power--)
        value /= 10;
    if (value > (uint64_t)INT64_MAX - part)
        return false;
    *ns = (int64_t)(value + part);
    return true;
}

/* ---- blocks and options ---- */

/* A comment may also be somebody's own. */
static bool
is_record(const uint8_t *at, size_t len)
{
    static const char begin[] = "{\"v\":1,\"event\":";

    return len >= sizeof begin - 1 && memcmp(at, begin, sizeof begin - 1) == 0;
}

static void
option_found(const struct pcap_reader *p, const struct block *b, unsigned code, const uint8_t *at,
             size_t len, struct found *out)
{
    if (code == PCAP_COMMENT && !out->comment && is_record(at, len)) {
        out->comment = at;
        out->comment_len = len;
    } else if (code == PCAP_COMMENT && !out->rule && len > sizeof PCAP_RULE - 1 &&
               memcmp(at, PCAP_RULE, sizeof PCAP_RULE - 1) == 0) {
        out->rule = at + sizeof PCAP_RULE - 1;
        out->rule_len = len - (sizeof PCAP_RULE - 1);
    } else if (code == PCAP_COMMENT && len == sizeof PCAP_PART - 1 &&
               memcmp(at, PCAP_PART, len) == 0) {
        out->part = true;
    } else if (b->type == PCAP_SECTION && code == PCAP_APPLICATION) {
        out->application = at;
        out->application_len = len;
    } else if (b->type == PCAP_INTERFACE && code == PCAP_RESOLUTION && len == 1) {
        out->resolution = at[0];
    } else if (b->type == PCAP_PACKET && code == PCAP_FLAGS && len == 4) {
        out->flags = get32(p, at);
    }
}

/* The options of a block stand behind `from` bytes of its body.  False: they do not add up. */
static bool
read_options(const struct pcap_reader *p, const struct block *b, size_t from, struct found *out)
{
    memset(out, 0, sizeof *out);
    out->resolution = 6; /* microseconds unless said */
    while (from + 4 <= b->len) {
        unsigned code = get16(p, b->body + from);
        size_t len = get16(p, b->body + from + 2);
        size_t padded = (len + 3) / 4 * 4;

        from += 4;
        if (code == 0)
            return true;
        if (padded > b->len - from)
            return false;
        option_found(p, b, code, b->body + from, len, out);
        from += padded;
    }
    return from == b->len;
}

static enum eng_read
cut(struct eng_reader *r, const char *what)
{
    (void)reader_damage(r, r->input.offset, "%s", what);
    r->damage->cut = true;
    return ENG_READ_DAMAGE;
}

/* A section says in which order its bytes stand; all other numbers depend on it. */
static bool
find_order(struct pcap_reader *p, const uint8_t *head)
{
    uint32_t magic;

    memcpy(&magic, head + 8, sizeof magic);
    if (magic != PCAP_MAGIC && magic != __builtin_bswap32(PCAP_MAGIC))
        return false;
    p->swapped = magic != PCAP_MAGIC;
    return true;
}

/* ENG_READ_RECORD: there is a block. */
static enum eng_read
next_block(struct eng_reader *r, struct block *b)
{
    struct pcap_reader *p = r->pcap;
    const uint8_t *at = record_input_need(&r->input, 12);
    uint32_t section = PCAP_SECTION;
    uint32_t len;

    if (!at)
        return record_input_left(&r->input) ? cut(r, "a block is cut off") : ENG_READ_END;
    if (memcmp(at, &section, 4) == 0) {
        if (!find_order(p, at))
            return cut(r, "a section without its magic number");
        p->begun = true;
    }
    if (!p->begun)
        return cut(r, "it does not begin with a section");
    b->type = get32(p, at);
    len = get32(p, at + 4);
    if (len < 12 || len % 4 || len > BLOCK_MAX)
        return cut(r, "a block has an impossible length; nothing behind it can be found");
    at = record_input_need(&r->input, len);
    if (!at)
        return cut(r, "a block is cut off");
    if (get32(p, at + len - 4) != len)
        return cut(r, "the two lengths of a block differ; nothing behind it can be found");
    *b = (struct block){
        .type = b->type, .body = at + 8, .len = len - 12, .all = len, .offset = r->input.offset};
    return ENG_READ_RECORD;
}

/* ---- talks ---- */

static int
compare_talks(const void *a, const void *b)
{
    return record_pair_compare(&((const struct talk *)a)->pair, &((const struct talk *)b)->pair);
}

static struct talk *
talk_find(struct pcap_reader *p, const struct pcap_pair *pair)
{
    const struct talk key = {.pair = *pair};
    struct talk **found = tfind(&key, &p->talks, compare_talks);

    return found ? *found : NULL;
}

/* NULL: no memory. */
static struct talk *
talk_add(struct pcap_reader *p, const struct pcap_pair *pair, struct eng_record_conn *conn)
{
    struct talk *t = eng_alloc(sizeof *t);

    if (!t)
        return NULL;
    t->pair = *pair;
    t->conn = conn;
    if (tsearch(t, &p->talks, compare_talks))
        return t;
    eng_free(t);
    return NULL;
}

static void
talk_end(struct pcap_reader *p, struct talk *t)
{
    if (p->lent == t)
        p->lent = NULL;
    tdelete(t, &p->talks, compare_talks);
    eng_bytes_free(&t->part[0]);
    eng_bytes_free(&t->part[1]);
    eng_free(t);
}

static void
talks_end(struct pcap_reader *p)
{
    while (p->talks)
        talk_end(p, *(struct talk **)p->talks);
}

static void
pair_turned(const struct pcap_pair *from, struct pcap_pair *out)
{
    *out = *from;
    memcpy(out->address[0], from->address[1], 16);
    memcpy(out->address[1], from->address[0], 16);
    out->port[0] = from->port[1];
    out->port[1] = from->port[0];
}

/* As the writer chose it: the real addresses, unless another talk has them. */
static bool
talk_open(struct pcap_reader *p, struct eng_record_conn *conn)
{
    struct pcap_pair pair;

    if (!record_pair_real(conn, &pair) || talk_find(p, &pair))
        record_pair_made_up(conn, &pair);
    return !talk_find(p, &pair) && talk_add(p, &pair, conn);
}

static struct talk *
talk_of_conn(struct pcap_reader *p, const struct eng_record_conn *conn)
{
    struct pcap_pair pair;
    struct talk *t = record_pair_real(conn, &pair) ? talk_find(p, &pair) : NULL;

    if (t && t->conn == conn)
        return t;
    record_pair_made_up(conn, &pair);
    t = talk_find(p, &pair);
    return t && t->conn == conn ? t : NULL;
}

static void
print_end(const struct pcap_pair *pair, int end, char *text, size_t room)
{
    char host[INET6_ADDRSTRLEN] = "";

    inet_ntop(pair->v6 ? AF_INET6 : AF_INET, pair->address[end], host, sizeof host);
    snprintf(text, room, pair->v6 ? "[%s]:%u" : "%s:%u", host, pair->port[end]);
}

/* A connection that nobody said anything about: who sent the first packet is us. */
static enum eng_read
stranger(struct eng_reader *r, const struct segment *s, const struct block *b, bool turned,
         struct eng_record *out)
{
    struct pcap_reader *p = r->pcap;
    struct eng_record_conn conn = {.id = STRANGER + ++p->strangers, .role = OUTLET_TO_CONNECT};
    struct pcap_pair pair = s->pair;
    struct eng_record_conn *c;

    if (turned)
        pair_turned(&s->pair, &pair);
    if (!p->ours)
        conn.id = p->strangers;
    snprintf(conn.transport, sizeof conn.transport, "%s", pair.protocol == IP_UDP ? "udp" : "tcp");
    print_end(&pair, 0, conn.local, sizeof conn.local);
    print_end(&pair, 1, conn.peer, sizeof conn.peer);
    c = record_table_find(&r->table, conn.id) ? NULL : record_table_add(&r->table, &conn);
    if (!c || !talk_add(p, &pair, c))
        return reader_damage(r, b->offset, "too many connections are open");
    p->again = true;
    *out = (struct eng_record){.kind = ENG_RECORD_OPEN, .ns = s->ns, .conn = c};
    return ENG_READ_RECORD;
}

/* ---- packets ---- */

/* Passes over what stands in front of IP.  False: this is no IP. */
static bool
skip_link(unsigned link, const uint8_t **at, size_t *len)
{
    size_t skip = 0;
    unsigned type = 0x0800;

    if (link == LINK_ETHERNET && *len >= 18) {
        skip = 14;
        type = big16(*at + 12);
        if (type == 0x8100 || type == 0x88a8) { /* a VLAN */
            skip = 18;
            type = big16(*at + 16);
        }
    } else if (link == LINK_COOKED && *len >= 16) {
        skip = 16;
        type = big16(*at + 14);
    } else if (link == LINK_COOKED2 && *len >= 20) {
        skip = 20;
        type = big16(*at);
    } else if ((link == LINK_NULL || link == LINK_LOOP) && *len >= 4) {
        skip = 4;
    } else if (link != PCAP_RAW_IP && link != LINK_IPV4 && link != LINK_IPV6) {
        return false;
    }
    *at += skip;
    *len -= skip;
    return type == 0x0800 || type == 0x86dd;
}

/* Fills addresses and what is behind the header.  False: nothing for us. */
static bool
read_ip(const uint8_t *at, size_t len, struct segment *s, size_t *head)
{
    size_t all;

    memset(&s->pair, 0, sizeof s->pair);
    if (len >= 20 && at[0] >> 4 == 4) {
        *head = (size_t)(at[0] & 15) * 4;
        all = big16(at + 2) ? big16(at + 2) : len; /* 0: the card cuts it, later */
        if (big16(at + 6) & 0x3fff)
            return false; /* a fragment */
        s->pair.protocol = at[9];
        memcpy(s->pair.address[0], at + 12, 4);
        memcpy(s->pair.address[1], at + 16, 4);
    } else if (len >= 40 && at[0] >> 4 == 6) {
        *head = 40;
        all = big16(at + 4) ? big16(at + 4) + 40u : len;
        s->pair.v6 = true;
        s->pair.protocol = at[6];
        memcpy(s->pair.address[0], at + 8, 16);
        memcpy(s->pair.address[1], at + 24, 16);
    } else {
        return false;
    }
    if (*head < 20 || all < *head || all > len)
        return false;
    s->bytes = at + *head;
    s->len = all - *head;
    return s->pair.protocol == IP_TCP || s->pair.protocol == IP_UDP;
}

static bool
read_transport(struct segment *s)
{
    size_t head;

    if (s->len < (s->pair.protocol == IP_TCP ? 20u : 8u))
        return false;
    s->pair.port[0] = big16(s->bytes);
    s->pair.port[1] = big16(s->bytes + 2);
    if (s->pair.protocol == IP_TCP) {
        head = (size_t)(s->bytes[12] >> 4) * 4;
        s->sequence = big32(s->bytes + 4);
        s->flags = s->bytes[13];
        if (head < 20 || head > s->len)
            return false;
    } else {
        head = 8;
        s->flags = 0;
        if (big16(s->bytes + 4) != s->len)
            return false;
    }
    s->bytes += head;
    s->len -= head;
    return true;
}

/* Sums as the writer makes them.  `at` is the header of IP. */
static bool
sums_are_right(const struct segment *s, const uint8_t *at, size_t head)
{
    const uint8_t *behind = at + head;
    size_t len = (size_t)(s->bytes - behind) + s->len;
    uint32_t sum = record_sum(record_sum_pseudo(&s->pair, len), behind, len);

    return record_sum_end(sum) == 0 && (s->pair.v6 || record_sum_end(record_sum(0, at, head)) == 0);
}

/* A comment that somebody wrote may look like one of ours: then it is none.  NULL: none. */
static const char *
rule_of(struct pcap_reader *p, const struct segment *s)
{
    if (!s->rule || s->rule_len >= sizeof p->rule || memchr(s->rule, '\0', s->rule_len) ||
        !eng_utf8_valid(s->rule, s->rule_len))
        return NULL;
    memcpy(p->rule, s->rule, s->rule_len);
    p->rule[s->rule_len] = '\0';
    return eng_preset_name_is_good(p->rule) ? p->rule : NULL;
}

/* A message of ours is whole with the segment that pushes it. */
static enum eng_read
take_ours(struct eng_reader *r, struct talk *t, int from, const struct segment *s, uint64_t offset,
          struct eng_record *out)
{
    struct eng_bytes *part = &t->part[from];
    bool tcp = s->pair.protocol == IP_TCP;
    bool gap = tcp && t->sequence_known[from] && s->sequence != t->sequence[from];

    t->sequence[from] = s->sequence + (uint32_t)s->len + ((s->flags & (TCP_SYN | TCP_FIN)) != 0);
    t->sequence_known[from] = true;
    if (gap) {
        part->len = 0;
        return reader_damage(r, offset, "bytes in front of this packet are missing");
    }
    if (s->len > ENG_RECORD_BYTES_MAX - part->len || !eng_bytes_add(part, s->bytes, s->len)) {
        part->len = 0;
        return reader_damage(r, offset, "a message is longer than any that is recorded");
    }
    if (tcp ? !(s->flags & TCP_PSH) : s->part)
        return ENG_READ_END;
    r->pcap->lent = t;
    r->pcap->lent_from = from;
    *out = (struct eng_record){.kind = ENG_RECORD_MESSAGE,
                               .ns = s->ns,
                               .conn = t->conn,
                               .out = from == 0,
                               .rule = rule_of(r->pcap, s),
                               .bytes = part->len ? part->data : (const uint8_t *)"",
                               .size = part->len};
    return ENG_READ_RECORD;
}

static enum eng_read
stranger_ends(struct eng_reader *r, struct talk *t, int from, const struct segment *s,
              struct eng_record *out)
{
    struct pcap_reader *p = r->pcap;
    bool reset = s->flags & TCP_RST;

    if (!t->ended[0] && !t->ended[1])
        p->why = (struct outlet_reason){.size = sizeof p->why,
                                        .position = -1,
                                        .code = reset ? OUTLET_ERESET : OUTLET_OK,
                                        .phase = OUTLET_AT_OPEN,
                                        .side = from == 0 ? OUTLET_BY_US : OUTLET_BY_PEER};
    snprintf(p->why.text, sizeof p->why.text, "%s", reset ? "reset" : "closed");
    t->ended[from] = true;
    if (!reset && !(t->ended[0] && t->ended[1]))
        return ENG_READ_END;
    *out = (struct eng_record){
        .kind = ENG_RECORD_CLOSE, .ns = s->ns, .conn = t->conn, .why = &p->why};
    record_table_close(&r->table, t->conn);
    talk_end(p, t);
    return ENG_READ_RECORD;
}

static enum eng_read
take_strangers(struct eng_reader *r, struct talk *t, int from, const struct segment *s,
               struct eng_record *out)
{
    const uint8_t *bytes = s->bytes;
    size_t len = s->len;

    if (s->pair.protocol == IP_TCP) {
        uint32_t begin = s->sequence + ((s->flags & TCP_SYN) != 0);
        uint32_t known = t->sequence_known[from] ? t->sequence[from] - begin : 0;

        if (known < 1u << 31) { /* the first so many came before */
            size_t again = known < len ? known : len;

            bytes += again;
            len -= again;
        }
        if (len || !t->sequence_known[from])
            t->sequence[from] = begin + (uint32_t)s->len;
        t->sequence_known[from] = true;
    }
    if (len == 0 && (s->flags & (TCP_FIN | TCP_RST)))
        return stranger_ends(r, t, from, s, out);
    if (len == 0 && s->pair.protocol == IP_TCP)
        return ENG_READ_END;
    *out = (struct eng_record){.kind = ENG_RECORD_MESSAGE,
                               .ns = s->ns,
                               .conn = t->conn,
                               .out = from == 0,
                               .bytes = bytes,
                               .size = len};
    return ENG_READ_RECORD;
}

static enum eng_read
take_packet(struct eng_reader *r, const struct block *b, const struct segment *s, uint32_t flags,
            struct eng_record *out)
{
    struct pcap_reader *p = r->pcap;
    struct pcap_pair turned;
    struct talk *t;
    int from = 0;

    pair_turned(&s->pair, &turned);
    t = p->ours && (flags & 3) == PCAP_INBOUND ? NULL : talk_find(p, &s->pair);
    if (!t) {
        from = 1;
        t = talk_find(p, &turned);
    }
    if (t)
        return p->ours ? take_ours(r, t, from, s, b->offset, out)
                       : take_strangers(r, t, from, s, out);
    if (s->pair.protocol == IP_TCP && s->len == 0 &&
        (p->ours || !(s->flags & TCP_SYN) || (s->flags & TCP_RST)))
        return ENG_READ_END; /* the rest of an end that was told */
    return stranger(r, s, b,
                    (p->ours && (flags & 3) == PCAP_INBOUND) ||
                        (s->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK),
                    out);
}

/* ---- what blocks say ---- */

/* What a comment says; the talk that it is about begins or ends. */
static enum eng_read
take_comment(struct eng_reader *r, const struct block *b, const struct found *f,
             struct eng_record *out)
{
    struct pcap_reader *p = r->pcap;
    struct record_line *line = &r->parsed;
    struct talk *t = NULL;
    char text[120];
    enum eng_read got;

    if (!record_line_parse(line, f->comment, f->comment_len, text, sizeof text))
        return reader_damage(r, b->offset, "%s", text);
    if (line->r.kind == ENG_RECORD_MESSAGE)
        return reader_damage(r, b->offset, "a message in a comment");
    if (line->r.kind == ENG_RECORD_START && !r->bare)
        return ENG_READ_END; /* Wireshark wrote it anew, and has put this to the end */
    if (line->r.kind == ENG_RECORD_CLOSE) {
        struct eng_record_conn *c = record_table_find(&r->table, line->conn.id);

        t = c ? talk_of_conn(p, c) : NULL;
    }
    got = reader_take(r, line, b->offset, out);
    if (got != ENG_READ_RECORD)
        return got;
    if (t)
        talk_end(p, t);
    if (line->r.kind == ENG_RECORD_OPEN &&
        !talk_open(p, record_table_find(&r->table, line->conn.id))) {
        record_table_close(&r->table, record_table_find(&r->table, line->conn.id));
        return reader_damage(r, b->offset, "a connection opens that is open");
    }
    return got;
}

static enum eng_read
take_section(struct eng_reader *r, const struct block *b)
{
    struct pcap_reader *p = r->pcap;
    struct found f;

    p->interface_count = 0;
    talks_end(p);
    record_table_free(&r->table);
    r->ours = false;
    r->ended = false;
    if (b->len < 16 || get16(p, b->body + 4) != 1 || !read_options(p, b, 16, &f))
        return reader_damage(r, b->offset, "a section that does not add up");
    p->ours = f.application && f.application_len > 7 && memcmp(f.application, "outlet ", 7) == 0;
    r->bare = p->ours;
    return ENG_READ_END;
}

static enum eng_read
take_interface(struct eng_reader *r, const struct block *b)
{
    struct pcap_reader *p = r->pcap;
    struct found f;

    if (b->len < 8 || !read_options(p, b, 8, &f))
        return reader_damage(r, b->offset, "an interface that does not add up");
    if (p->interface_count == INTERFACES_MAX)
        return reader_damage(r, b->offset, "more than %d interfaces", INTERFACES_MAX);
    p->interfaces[p->interface_count++] = (struct interface){.link = get16(p, b->body),
                                                             .resolution = f.resolution};
    return ENG_READ_END;
}

static enum eng_read
take_statistics(struct eng_reader *r, const struct block *b, struct eng_record *out)
{
    struct found f;

    if (b->len < 12 || !read_options(r->pcap, b, 12, &f))
        return reader_damage(r, b->offset, "statistics that do not add up");
    return r->pcap->ours && f.comment ? take_comment(r, b, &f, out) : ENG_READ_END;
}

static enum eng_read
take_packet_block(struct eng_reader *r, const struct block *b, struct eng_record *out)
{
    struct pcap_reader *p = r->pcap;
    const uint8_t *at = b->body + 20;
    struct segment s = {0};
    struct found f;
    uint32_t interface;
    size_t captured;
    size_t head;

    if (b->len < 20)
        return reader_damage(r, b->offset, "a packet that does not add up");
    interface = get32(p, b->body);
    captured = get32(p, b->body + 12);
    if (captured > b->len - 20 || !read_options(p, b, 20 + (captured + 3) / 4 * 4, &f) ||
        interface >= p->interface_count)
        return reader_damage(r, b->offset, "a packet that does not add up");
    if (!time_of(p, b->body + 4, p->interfaces[interface].resolution, &s.ns))
        return reader_damage(r, b->offset, "a packet of another age");
    if (!skip_link(p->interfaces[interface].link, &at, &captured) ||
        !read_ip(at, captured, &s, &head) || !read_transport(&s))
        return p->ours ? reader_damage(r, b->offset, "a packet that is none of ours")
                       : ENG_READ_END;
    if (p->ours && !sums_are_right(&s, at, head))
        return reader_damage(r, b->offset, "a packet with a wrong sum");
    if (p->ours && f.comment)
        return take_comment(r, b, &f, out);
    s.rule = f.rule;
    s.rule_len = f.rule_len;
    s.part = f.part;
    return take_packet(r, b, &s, f.flags, out);
}

static enum eng_read
take_block(struct eng_reader *r, const struct block *b, struct eng_record *out)
{
    switch (b->type) {
    case PCAP_SECTION:
        return take_section(r, b);
    case PCAP_INTERFACE:
        return take_interface(r, b);
    case PCAP_STATISTICS:
        return take_statistics(r, b, out);
    case PCAP_PACKET:
        return take_packet_block(r, b, out);
    case OLD_PACKET:
    case SIMPLE_PACKET:
        return reader_damage(r, b->offset, "a kind of packet block that is not understood");
    default:
        return ENG_READ_END; /* names, secrets, somebody's own */
    }
}

/* The bytes of the record before were lent from there. */
static void
take_back(struct pcap_reader *p)
{
    if (p->lent)
        p->lent->part[p->lent_from].len = 0;
    p->lent = NULL;
}

enum eng_read
reader_pcap_next(struct eng_reader *r, struct eng_record *out)
{
    enum eng_read got;
    struct block b;

    if (!r->pcap)
        r->pcap = eng_alloc(sizeof *r->pcap);
    if (!r->pcap)
        return cut(r, "found no memory");
    take_back(r->pcap);
    for (;;) {
        got = next_block(r, &b);
        if (got != ENG_READ_RECORD)
            return got;
        got = take_block(r, &b, out);
        if (r->pcap->again) {
            r->pcap->again = false;
            return got;
        }
        record_input_use(&r->input, b.all);
        if (got != ENG_READ_END)
            return got;
    }
}

void
reader_pcap_free(struct pcap_reader *p)
{
    if (!p)
        return;
    talks_end(p);
    eng_free(p);
}
