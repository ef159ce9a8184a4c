/*
 * record_impl.h - what the files behind record.h share: writers, the way they are read, lines.
 *
 * A newcomer's mistake: to look into a line of the file before it is known to be there.  Readers
 * ask input_need() for bytes and get them all or none.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_RECORD_IMPL_H
#define ENG_RECORD_IMPL_H

#include "engine.h"
#include "record.h"

/* ---- encoders ---- */

struct pcap_writer;

void record_json_add(struct eng_bytes *out, const struct eng_record *r);
struct pcap_writer *record_pcap_open(void);
void record_pcap_add(struct pcap_writer *w, const struct eng_record *r, struct eng_bytes *out);
void record_pcap_close(struct pcap_writer *w);

/* ---- pcapng, as both directions know it ---- */

enum {
    PCAP_SECTION = 0x0a0d0d0a,
    PCAP_INTERFACE = 1,
    PCAP_STATISTICS = 5,
    PCAP_PACKET = 6,
    PCAP_MAGIC = 0x1a2b3c4d,
    PCAP_RAW_IP = 101,    /* LINKTYPE_RAW: the first half byte says IPv4 or IPv6 */
    PCAP_COMMENT = 1,     /* a record, or of a message PCAP_RULE and its rule */
    PCAP_APPLICATION = 4, /* of a section */
    PCAP_NAME = 2,        /* of an interface */
    PCAP_RESOLUTION = 9,
    PCAP_FLAGS = 2, /* of a packet */
    PCAP_INBOUND = 1,
    PCAP_OUTBOUND = 2,
    PCAP_END_TIME = 3, /* of statistics */
    PCAP_OS_DROP = 7,
    TCP_FIN = 1,
    TCP_SYN = 2,
    TCP_RST = 4,
    TCP_PSH = 8,
    TCP_ACK = 16,
    IP_TCP = 6,
    IP_UDP = 17
};

#define PCAP_RULE "rule: "
#define PCAP_PART "the rest of this datagram follows" /* one of unix may be longer than of udp */

/* Two ends; [0] is ours. */
struct pcap_pair {
    bool v6;
    uint8_t address[2][16]; /* IPv4: the first 4 bytes, the others 0 */
    uint16_t port[2];
    uint8_t protocol;
};

int record_pair_compare(const struct pcap_pair *a, const struct pcap_pair *b);
/* The real addresses.  False: there are none that could stand in a packet. */
bool record_pair_real(const struct eng_record_conn *conn, struct pcap_pair *out);
void record_pair_made_up(const struct eng_record_conn *conn, struct pcap_pair *out);

/* The sum of the internet (RFC 1071), without its final complement. */
uint32_t record_sum(uint32_t sum, const uint8_t *bytes, size_t len);
uint16_t record_sum_end(uint32_t sum);
/* Of what TCP and UDP put in front: addresses, protocol, length. */
uint32_t record_sum_pseudo(const struct pcap_pair *pair, size_t len);

/* ---- a line of JSON, checked (reader_json.c) ---- */

struct record_line {
    struct eng_record r; /* points into the rest */
    struct eng_record_conn conn;
    struct outlet_reason why;
    struct eng_bytes bytes;
    char app[64];
    char url[4096];
    char rule[ENG_PRESET_NAME_MAX + 1];
};

/* False: `text` says what is wrong. */
bool record_line_parse(struct record_line *line, const uint8_t *json, size_t len, char *text,
                       size_t room);
void record_line_free(struct record_line *line);

/* ---- what is read (reader.c) ---- */

/* A file or bytes, of which as many lie in `window` as somebody needs. */
struct record_input {
    int fd; /* -1: all of it is in the window */
    const uint8_t *lent;
    size_t lent_len;
    struct eng_bytes window;
    size_t at;       /* of the window: the next byte that nobody has used */
    uint64_t offset; /* of that byte in the file */
    bool eof;
    int error;
};

/* `n` bytes from the next one on, or NULL: there are not so many. */
const uint8_t *record_input_need(struct record_input *in, size_t n);
size_t record_input_left(const struct record_input *in); /* that are in the window */
void record_input_use(struct record_input *in, size_t n);

/* Connections that are open, by number. */
struct record_table {
    void *root; /* of tsearch(3) */
    size_t count;
    struct eng_record_conn *closed; /* lent until the next record */
};

struct eng_record_conn *record_table_find(struct record_table *t, uint64_t id);
/* NULL: too many, or no memory. */
struct eng_record_conn *record_table_add(struct record_table *t,
                                         const struct eng_record_conn *conn);
void record_table_close(struct record_table *t, struct eng_record_conn *conn);
void record_table_free(struct record_table *t);

struct pcap_reader;

struct eng_reader {
    struct record_input input;
    enum { READER_FRESH, READER_JSON, READER_PCAP, READER_DONE } state;
    bool ours;  /* it began with our START */
    bool ended; /* and its END was read */
    bool bare;  /* a section of ours has begun, and nothing has come behind it */
    struct record_table table;
    uint64_t line; /* JSON: of the next one */
    struct record_line parsed;
    struct pcap_reader *pcap;
    struct eng_damage *damage; /* of the call under way */
};

enum eng_read reader_damage(struct eng_reader *r, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What a line says is fitted to the connections that are open. */
enum eng_read reader_take(struct eng_reader *r, struct record_line *line, uint64_t offset,
                          struct eng_record *out);
enum eng_read reader_json_next(struct eng_reader *r, struct eng_record *out);
enum eng_read reader_pcap_next(struct eng_reader *r, struct eng_record *out);
void reader_pcap_free(struct pcap_reader *p);

#endif
