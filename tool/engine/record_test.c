/*
 * record_test.c - what is recorded is read back as it was, in both formats; damage is named.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

enum { LARGE = 200 * 1000 };

static uint8_t large[LARGE];

static const struct eng_record_conn conns[] = {
    {.id = 1,
     .role = OUTLET_TO_LISTEN,
     .transport = "tcp",
     .local = "127.0.0.1:9000",
     .peer = "127.0.0.1:50001",
     .process = "nc, pid 7"},
    {.id = 2,
     .role = OUTLET_TO_CONNECT,
     .transport = "tcp",
     .local = "[::1]:50002",
     .peer = "[::1]:9000"},
    {.id = 3,
     .role = OUTLET_TO_LISTEN,
     .transport = "udp",
     .local = "0.0.0.0:5000",
     .peer = "192.0.2.7:53"},
    {.id = 4,
     .role = OUTLET_TO_LISTEN,
     .transport = "unix",
     .local = "/run/a \"b\".sock",
     .peer = ""},
    {.id = 5, .role = OUTLET_TO_CONNECT, .transport = "unix", .local = "", .peer = "@name"},
    /* The same addresses as 1, at the same time. */
    {.id = 6,
     .role = OUTLET_TO_CONNECT,
     .transport = "tcp",
     .local = "127.0.0.1:9000",
     .peer = "127.0.0.1:50001"},
    {.id = 7, .role = OUTLET_TO_LISTEN, .transport = "unix-dgram", .local = "@name", .peer = ""},
};

static const struct outlet_reason closed = {.size = sizeof closed,
                                            .position = -1,
                                            .code = OUTLET_OK,
                                            .phase = OUTLET_AT_OPEN,
                                            .side = OUTLET_BY_PEER,
                                            .text = "closed by the peer"};
static const struct outlet_reason broke = {.size = sizeof broke,
                                           .position = -1,
                                           .code = OUTLET_ERESET,
                                           .phase = OUTLET_AT_DRAIN,
                                           .side = OUTLET_BY_SYSTEM,
                                           .text = "reset \"hard\""};

#define MESSAGE(n, sent, text)                                        \
    {                                                                 \
        .kind = ENG_RECORD_MESSAGE, .conn = &conns[n], .out = (sent), \
        .bytes = (const uint8_t *)(text), .size = sizeof(text) - 1    \
    }
#define OPEN(n)                                    \
    {                                              \
        .kind = ENG_RECORD_OPEN, .conn = &conns[n] \
    }
#define CLOSE(n, reason)                                              \
    {                                                                 \
        .kind = ENG_RECORD_CLOSE, .conn = &conns[n], .why = &(reason) \
    }

static const struct eng_record story[] = {
    {.kind = ENG_RECORD_START,
     .app = "outlet test",
     .url = "tcp://:9000",
     .role = OUTLET_TO_LISTEN},
    OPEN(0),
    OPEN(1),
    MESSAGE(0, false, "hello"),
    MESSAGE(0, true, "\x00\x01\xff"),
    MESSAGE(1, true, ""),
    MESSAGE(1, true, "\n\r\t\"\\\x7f\x01 \xe4\xbd\xa0"),
    OPEN(2),
    MESSAGE(2, false, "datagram"),
    MESSAGE(2, true, ""),
    OPEN(5),
    MESSAGE(5, false, "in front of somebody's port"),
    OPEN(3),
    OPEN(4),
    {.kind = ENG_RECORD_MESSAGE, .conn = &conns[3], .bytes = large, .size = LARGE},
    {.kind = ENG_RECORD_MESSAGE, .conn = &conns[1], .bytes = large, .size = 60 * 1024, .out = true},
    {.kind = ENG_RECORD_MESSAGE, .conn = &conns[2], .bytes = large, .size = 65507, .out = true},
    MESSAGE(4, true, "unix"),
    OPEN(6),
    MESSAGE(6, false, "datagram"),
    {.kind = ENG_RECORD_MESSAGE, .conn = &conns[6], .bytes = large, .size = LARGE},
    MESSAGE(6, false, ""),
    CLOSE(6, closed),
    CLOSE(0, closed),
    {.kind = ENG_RECORD_LOST, .count = 12345},
    CLOSE(2, closed),
    CLOSE(1, broke),
    OPEN(0), /* the same addresses and number again */
    MESSAGE(0, true, "once more"),
    CLOSE(3, closed),
    {.kind = ENG_RECORD_END, .count = 16},
};

static int
setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)(i * 131 + i / 251);
    return 0;
}

static int64_t
time_of(size_t i)
{
    return 1700000000123456789 + (int64_t)i * 1000000007;
}

/* The first `count` records of the story. */
static void
write_story(enum eng_record_format format, size_t count, struct eng_bytes *out)
{
    struct eng_writer *w = eng_writer_open(format);

    for (size_t i = 0; i < count; i++) {
        struct eng_record r = story[i];

        r.ns = time_of(i);
        eng_writer_add(w, &r, out);
    }
    eng_writer_close(w);
    assert_false(out->failed);
}

struct result {
    struct eng_bytes text; /* of the records, as JSON */
    size_t records;
    size_t damages;
    struct eng_damage last;
};

static void
read_all(const uint8_t *bytes, size_t len, enum eng_record_format as, struct result *out)
{
    struct eng_reader *r = eng_reader_open_bytes(bytes, len);
    struct eng_writer *w = eng_writer_open(as);
    struct eng_record record;
    struct eng_damage damage;

    memset(out, 0, sizeof *out);
    for (;;) {
        enum eng_read got = eng_reader_next(r, &record, &damage);

        if (got == ENG_READ_END)
            break;
        assert_int_not_equal(got, ENG_READ_FAILED);
        if (got == ENG_READ_DAMAGE) {
            assert_true(damage.text[0]);
            out->damages++;
            out->last = damage;
        } else {
            out->records++;
            eng_writer_add(w, &record, &out->text);
        }
    }
    eng_writer_close(w);
    eng_reader_close(r);
}

static void
assert_same(const struct eng_bytes *a, const struct eng_bytes *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

static void
what_is_written_is_read(void **state)
{
    (void)state;
    for (int format = ENG_RECORD_JSON; format <= ENG_RECORD_PCAP; format++) {
        struct eng_bytes file = {0};
        struct eng_bytes json = {0};
        struct result got;

        write_story((enum eng_record_format)format, COUNT(story), &file);
        write_story(ENG_RECORD_JSON, COUNT(story), &json);
        read_all(file.data, file.len, ENG_RECORD_JSON, &got);
        assert_int_equal(got.damages, 0);
        assert_int_equal(got.records, COUNT(story));
        assert_same(&got.text, &json);
        eng_bytes_free(&got.text);
        read_all(file.data, file.len, (enum eng_record_format)format, &got);
        assert_same(&got.text, &file);
        eng_bytes_free(&got.text);
        eng_bytes_free(&json);
        eng_bytes_free(&file);
    }
}

/* What is read of a file that was cut is the beginning of what is read of the whole. */
static void
every_truncation_gives_a_prefix(void **state)
{
    (void)state;
    for (int format = ENG_RECORD_JSON; format <= ENG_RECORD_PCAP; format++) {
        struct eng_bytes file = {0};
        struct eng_bytes json = {0};
        size_t step = 1;

        write_story((enum eng_record_format)format, COUNT(story), &file);
        write_story(ENG_RECORD_JSON, COUNT(story), &json);
        for (size_t len = 0; len < file.len - 1; len += step) {
            struct result got;

            read_all(file.data, len, ENG_RECORD_JSON, &got);
            assert_int_equal(got.damages, 1);
            assert_true(got.last.cut || got.last.offset == 0);
            assert_true(got.last.offset <= len);
            assert_true(got.text.len < json.len);
            if (got.text.len)
                assert_memory_equal(got.text.data, json.data, got.text.len);
            eng_bytes_free(&got.text);
            /* The long messages are in the middle. */
            step = len < 6000 ? 1 : len < file.len - 10000 ? 9973 : 61;
        }
        eng_bytes_free(&json);
        eng_bytes_free(&file);
    }
}

/* Whatever it is: there is no crash, and that the file has no end is not forgotten over it. */
static void
a_changed_byte_breaks_no_reader(void **state)
{
    (void)state;
    for (int format = ENG_RECORD_JSON; format <= ENG_RECORD_PCAP; format++) {
        struct eng_bytes file = {0};

        struct eng_bytes head = {0};

        write_story((enum eng_record_format)format, 14, &file);
        write_story((enum eng_record_format)format, 1, &head);
        for (size_t at = head.len; at < file.len; at++) {
            struct result got;

            file.data[at] ^= 0x10;
            read_all(file.data, file.len, ENG_RECORD_JSON, &got);
            eng_bytes_free(&got.text);
            assert_true(got.damages > 0);
            file.data[at] ^= 0x10;
        }
        eng_bytes_free(&head);
        eng_bytes_free(&file);
    }
}

static void
damage_in_the_middle_leaves_the_rest(void **state)
{
    static const char text[] =
        "{\"v\":1,\"event\":\"message\",\"ns\":5,\"id\":1,\"dir\":\"in\",\"transport\":\"tcp\","
        "\"peer\":\"p\",\"size\":2,\"text\":\"ab\"}\n"
        "{\"v\":1,\"event\":\"message\",\"ns\":6,\"id\":1,\"dir\":\"in\",\"transport\":\"tcp\","
        "\"peer\":\"p\",\"size\":3,\"text\":\"ab\"}\n"
        "nonsense\n"
        "{\"v\":1,\"event\":\"message\",\"ns\":7,\"id\":1,\"dir\":\"out\",\"transport\":\"tcp\","
        "\"peer\":\"p\",\"size\":1,\"hex\":\"ff\"}\n";
    struct result got;

    (void)state;
    read_all((const uint8_t *)text, sizeof text - 1, ENG_RECORD_JSON, &got);
    assert_int_equal(got.records, 2);
    assert_int_equal(got.damages, 2);
    assert_int_equal(got.last.line, 3);
    assert_int_equal(got.last.offset, strstr(text, "nonsense") - text);
    assert_string_equal(got.last.text, "not JSON: '[' or '{' expected near 'nonsense'");
    eng_bytes_free(&got.text);
}

static void
what_a_line_must_say(void **state)
{
#define LINE(rest) "{\"v\":1,\"event\":" rest "}\n"
#define SAID "\"message\",\"ns\":5,\"id\":1,\"dir\":\"in\",\"transport\":\"tcp\",\"peer\":\"\""
    static const struct {
        const char *line;
        const char *wrong; /* NULL: nothing */
    } cases[] = {
        {LINE(SAID ",\"size\":0,\"text\":\"\""), NULL},
        {LINE(SAID ",\"size\":1,\"text\":\"\\u0000\""), NULL},
        {LINE(SAID ",\"size\":2,\"text\":\"x\",\"hex\":\"ff00\",\"note\":\"mine\""), NULL},
        {LINE(SAID ",\"size\":1,\"text\":\"\""), "\"size\" is not that of the payload"},
        {LINE(SAID ",\"size\":-1,\"text\":\"\""), "\"size\" is too small"},
        {LINE(SAID ",\"size\":\"0\",\"text\":\"\""), "\"size\" is of another type"},
        {LINE(SAID ",\"size\":0"), "\"text\" or \"hex\" is missing"},
        {LINE(SAID ",\"size\":1,\"hex\":\"0\""), "\"hex\" ends in the middle of a byte"},
        {LINE(SAID ",\"size\":1,\"hex\":\"0x\""), "\"hex\" is not of hexadecimal digits"},
        {LINE(SAID ",\"size\":1,\"hex\":\"FF\""), "\"hex\" is not of hexadecimal digits"},
        {LINE("\"message\",\"ns\":5"), "\"dir\" is missing"},
        {LINE("\"message\",\"ns\":-5"), "\"ns\" is too small"},
        {LINE("\"message\",\"ns\":5.5"), "\"ns\" is of another type"},
        {LINE("\"message\",\"ns\":99999999999999999999"), "not JSON: too big integer near"},
        {LINE("\"mess\\u0000age\",\"ns\":5"), "\"event\" is too long"},
        {LINE("\"summary\",\"ns\":5"), "\"event\" is none of the known words"},
        {"{\"v\":2,\"event\":\"end\",\"ns\":5}\n", "\"v\" is of a later version"},
        {"{\"v\":1,\"v\":1}\n", "not JSON: duplicate object key near"},
        {LINE("\"close\",\"ns\":5,\"id\":1,\"code\":\"OUTLET_OK\",\"text\":\"\""),
         "a connection closes that is not open"},
        {LINE("\"close\",\"ns\":5,\"id\":1,\"code\":\"OK\",\"text\":\"\""),
         "\"code\" is none of the known words"},
        {LINE("\"open\",\"ns\":5,\"id\":0,\"role\":\"listen\",\"transport\":\"tcp\",\"local\":\"\","
              "\"peer\":\"\""),
         "\"id\" is too small"},
        {LINE("\"open\",\"ns\":5,\"id\":1,\"role\":\"both\",\"transport\":\"tcp\",\"local\":\"\","
              "\"peer\":\"\""),
         "\"role\" is none of the known words"},
        {LINE("\"end\",\"ns\":5,\"messages\":0") LINE("\"lost\",\"ns\":5,\"datagrams\":0"),
         "a record behind the end"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct result got;

        read_all((const uint8_t *)cases[i].line, strlen(cases[i].line), ENG_RECORD_JSON, &got);
        if (!cases[i].wrong && (got.damages || got.records != 1))
            fail_msg("%s: %s", cases[i].line, got.last.text);
        if (cases[i].wrong && (got.damages != 1 ||
                               strncmp(got.last.text, cases[i].wrong, strlen(cases[i].wrong)) != 0))
            fail_msg("%s: %s, not %s", cases[i].line, got.last.text, cases[i].wrong);
        eng_bytes_free(&got.text);
    }
}

static void
a_message_above_the_limit_is_recorded_in_pieces(void **state)
{
    size_t size = ENG_RECORD_BYTES_MAX + 1;
    uint8_t *bytes = eng_alloc(size);
    struct eng_record r = {
        .kind = ENG_RECORD_MESSAGE, .conn = &conns[4], .bytes = bytes, .size = size};

    (void)state;
    memset(bytes, 'x', size);
    for (int format = ENG_RECORD_JSON; format <= ENG_RECORD_PCAP; format++) {
        struct eng_writer *w = eng_writer_open((enum eng_record_format)format);
        struct eng_bytes file = {0};
        struct eng_reader *reader;
        struct eng_record got;
        struct eng_damage damage;
        size_t all = 0;

        eng_writer_add(w, &r, &file);
        eng_writer_close(w);
        reader = eng_reader_open_bytes(file.data, file.len);
        while (eng_reader_next(reader, &got, &damage) == ENG_READ_RECORD)
            all += got.size;
        assert_int_equal(all, size);
        eng_reader_close(reader);
        eng_bytes_free(&file);
    }
    eng_free(bytes);
}

static void
formats_are_known_by_the_end_of_the_name(void **state)
{
    static const struct {
        const char *path;
        int format; /* -1: none */
    } cases[] = {{"a.jsonl", ENG_RECORD_JSON},
                 {"a.json", ENG_RECORD_JSON},
                 {"/tmp/x.y.pcapng", ENG_RECORD_PCAP},
                 {".jsonl", -1},
                 {"a.pcap", -1},
                 {"jsonl", -1},
                 {"a.jsonl.gz", -1},
                 {"", -1}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        enum eng_record_format format;
        bool known = eng_record_format_of(cases[i].path, &format);

        assert_int_equal(known ? (int)format : -1, cases[i].format);
    }
}

static void
whole_records_at_the_front(void **state)
{
    (void)state;
    for (int format = ENG_RECORD_JSON; format <= ENG_RECORD_PCAP; format++) {
        struct eng_bytes file = {0};

        write_story((enum eng_record_format)format, 14, &file);
        for (size_t len = 0; len <= file.len; len++) {
            size_t whole = eng_record_whole((enum eng_record_format)format, file.data, len);
            struct result got;

            assert_true(whole <= len);
            read_all(file.data, whole, ENG_RECORD_JSON, &got);
            assert_int_equal(got.damages, 1); /* that it has no end, and no other */
            assert_true(whole < 4 || got.last.offset == whole);
            eng_bytes_free(&got.text);
        }
        eng_bytes_free(&file);
    }
}

/* ---- other people's files ---- */

struct foreign {
    struct eng_bytes bytes;
    bool big;
};

static void
put(struct foreign *f, uint32_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * (f->big ? width - 1 - i : i));

        eng_bytes_add(&f->bytes, &byte, 1);
    }
}

static void
foreign_begin(struct foreign *f, bool big, unsigned link)
{
    memset(f, 0, sizeof *f);
    f->big = big;
    put(f, PCAP_SECTION, 4);
    put(f, 28, 4);
    put(f, PCAP_MAGIC, 4);
    put(f, 1, 2);
    put(f, 0, 2);
    put(f, UINT32_MAX, 4);
    put(f, UINT32_MAX, 4);
    put(f, 28, 4);
    put(f, PCAP_INTERFACE, 4);
    put(f, 20, 4);
    put(f, link, 2);
    put(f, 0, 2);
    put(f, 0, 4);
    put(f, 20, 4);
}

/* A TCP packet over IPv4, without sums, as a card that computes them leaves it. */
static void
foreign_packet(struct foreign *f, bool back, uint32_t sequence, unsigned flags, const char *text)
{
    uint8_t p[128] = {0};
    size_t len = strlen(text);
    size_t padded = (14 + 40 + len + 3) / 4 * 4;
    uint8_t *ip = p + 14;

    p[12] = 8;
    ip[0] = 0x45;
    ip[3] = (uint8_t)(40 + len);
    ip[9] = IP_TCP;
    memcpy(ip + 12, back ? "\x0a\0\0\x02\x0a\0\0\x01" : "\x0a\0\0\x01\x0a\0\0\x02", 8);
    memcpy(ip + 20, back ? "\0\x50\x12\x34" : "\x12\x34\0\x50", 4);
    for (int i = 0; i < 4; i++)
        ip[24 + i] = (uint8_t)(sequence >> (24 - 8 * i));
    ip[32] = 0x50;
    ip[33] = (uint8_t)flags;
    memcpy(ip + 40, text, len);
    put(f, PCAP_PACKET, 4);
    put(f, (uint32_t)(32 + padded), 4);
    put(f, 0, 4);
    put(f, 0, 4);
    put(f, 1500, 4); /* microseconds */
    put(f, (uint32_t)(54 + len), 4);
    put(f, (uint32_t)(54 + len), 4);
    eng_bytes_add(&f->bytes, p, padded);
    put(f, (uint32_t)(32 + padded), 4);
}

static void
files_of_others_are_read_as_far_as_they_go(void **state)
{
    static const char want[] =
        "{\"v\":1,\"event\":\"open\",\"ns\":1500000,\"id\":1,\"role\":\"connect\",\"transport\":"
        "\"tcp\",\"local\":\"10.0.0.1:4660\",\"peer\":\"10.0.0.2:80\"}\n"
        "{\"v\":1,\"event\":\"message\",\"ns\":1500000,\"id\":1,\"dir\":\"out\",\"transport\":"
        "\"tcp\",\"peer\":\"10.0.0.2:80\",\"size\":3,\"text\":\"GET\"}\n"
        "{\"v\":1,\"event\":\"message\",\"ns\":1500000,\"id\":1,\"dir\":\"out\",\"transport\":"
        "\"tcp\",\"peer\":\"10.0.0.2:80\",\"size\":2,\"text\":\" /\"}\n"
        "{\"v\":1,\"event\":\"message\",\"ns\":1500000,\"id\":1,\"dir\":\"in\",\"transport\":"
        "\"tcp\",\"peer\":\"10.0.0.2:80\",\"size\":2,\"text\":\"OK\"}\n"
        "{\"v\":1,\"event\":\"close\",\"ns\":1500000,\"id\":1,\"code\":\"OUTLET_OK\",\"phase\":"
        "\"open\",\"side\":\"peer\",\"text\":\"closed\"}\n";

    (void)state;
    for (int big = 0; big < 2; big++) {
        struct foreign f;
        struct result got;

        foreign_begin(&f, big, 1);
        foreign_packet(&f, false, UINT32_MAX, TCP_SYN, "");
        foreign_packet(&f, true, 100, TCP_SYN | TCP_ACK, "");
        foreign_packet(&f, false, 0, TCP_ACK, "");
        foreign_packet(&f, false, 0, TCP_ACK, "GET");
        foreign_packet(&f, false, 0, TCP_ACK, "GET");   /* again */
        foreign_packet(&f, false, 0, TCP_ACK, "GET /"); /* and with more */
        foreign_packet(&f, true, 101, TCP_ACK, "OK");
        foreign_packet(&f, true, 103, TCP_FIN | TCP_ACK, "");
        foreign_packet(&f, false, 5, TCP_FIN | TCP_ACK, "");
        foreign_packet(&f, true, 104, TCP_ACK, "");
        read_all(f.bytes.data, f.bytes.len, ENG_RECORD_JSON, &got);
        assert_int_equal(got.damages, 0);
        eng_bytes_add(&got.text, "", 1);
        assert_string_equal((const char *)got.text.data, want);
        eng_bytes_free(&got.text);
        eng_bytes_free(&f.bytes);
    }
}

static void
datagrams_of_unix_are_no_stream(void **state)
{
    /* IPv6, 16 bytes behind it, UDP */
    static const uint8_t udp[] = {0x60, 0, 0, 0, 0, 16, 17, 64};
    struct eng_writer *w = eng_writer_open(ENG_RECORD_PCAP);
    struct eng_bytes out = {0};

    (void)state;
    eng_writer_add(w, &(struct eng_record)OPEN(6), &out);
    assert_null(memmem(out.data, out.len, udp, 4)); /* no handshake */
    eng_writer_add(w, &(struct eng_record)MESSAGE(6, true, "datagram"), &out);
    assert_non_null(memmem(out.data, out.len, udp, sizeof udp));
    eng_writer_close(w);
    eng_bytes_free(&out);
}

static void
what_is_shorter_in_hex_is_recorded_so(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *recorded;
    } rows[] = {
        {"", 0, "\"text\":\"\"}"},
        {"\0\0", 2, "\"hex\":\"0000\"}"},
        {"hello\0", 6, "\"text\":\"hello\\u0000\"}"},
        {"\r\n", 2, "\"text\":\"\\r\\n\"}"},
        {"\1a", 2, "\"hex\":\"0161\"}"},
        {"\1abcd", 5, "\"text\":\"\\u0001abcd\"}"},
        {"\1abc", 4, "\"hex\":\"01616263\"}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct eng_record r = {.kind = ENG_RECORD_MESSAGE,
                               .conn = &conns[0],
                               .bytes = (const uint8_t *)rows[i].bytes,
                               .size = rows[i].len};
        struct eng_bytes line = {0};

        record_json_add(&line, &r);
        assert_non_null(memmem(line.data, line.len, rows[i].recorded, strlen(rows[i].recorded)));
        eng_bytes_free(&line);
    }
}

static void
what_is_no_recording_is_said(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *wrong;
    } cases[] = {
        {"", 0, "the file is empty; --record FILE.jsonl makes one"},
        {"hello", 5, "neither JSON Lines nor pcapng; --record FILE.jsonl makes one"},
        {"\xd4\xc3\xb2\xa1", 4,
         "this is the old pcap format; convert it: editcap -F pcapng FILE FILE.pcapng"},
        {"\n\r\r\n\x1c\0\0\0abcd", 12, "a section without its magic number"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct result got;

        read_all((const uint8_t *)cases[i].bytes, cases[i].len, ENG_RECORD_JSON, &got);
        assert_int_equal(got.damages, 1);
        assert_string_equal(got.last.text, cases[i].wrong);
        assert_int_equal(got.last.other, cases[i].bytes[0] != '\n');
        eng_bytes_free(&got.text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_truncation_gives_a_prefix),
        cmocka_unit_test(a_changed_byte_breaks_no_reader),
        cmocka_unit_test(damage_in_the_middle_leaves_the_rest),
        cmocka_unit_test(what_a_line_must_say),
        cmocka_unit_test(a_message_above_the_limit_is_recorded_in_pieces),
        cmocka_unit_test(formats_are_known_by_the_end_of_the_name),
        cmocka_unit_test(whole_records_at_the_front),
        cmocka_unit_test(files_of_others_are_read_as_far_as_they_go),
        cmocka_unit_test(datagrams_of_unix_are_no_stream),
        cmocka_unit_test(what_is_shorter_in_hex_is_recorded_so),
        cmocka_unit_test(what_is_no_recording_is_said),
    };

    return cmocka_run_group_tests_name("record", tests, setup, NULL);
}
