/*
 * record.c - what both formats of a recording have in common, and JSON Lines.
 *
 * A line stands for itself: each message carries its time, direction, transport and peer, so that
 * grep finds what people look for.  A newcomer's mistake: to sort keys or to leave out what seems
 * to be said before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <string.h>

struct eng_writer {
    enum eng_record_format format;
    struct pcap_writer *pcap;
};

bool
eng_record_format_of(const char *path, enum eng_record_format *out)
{
    static const struct {
        const char *suffix;
        enum eng_record_format format;
    } known[] = {
        {".jsonl", ENG_RECORD_JSON}, {".json", ENG_RECORD_JSON}, {".pcapng", ENG_RECORD_PCAP}};
    size_t len = strlen(path);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t n = strlen(known[i].suffix);

        if (len > n && strcmp(path + len - n, known[i].suffix) == 0) {
            *out = known[i].format;
            return true;
        }
    }
    return false;
}

static void
add_open(struct eng_bytes *out, const struct eng_record_conn *c)
{
    eng_json_text(out, "role", c->role == OUTLET_TO_LISTEN ? "listen" : "connect");
    eng_json_text(out, "transport", c->transport);
    eng_json_text(out, "local", c->local);
    eng_json_text(out, "peer", c->peer);
    if (c->process[0])
        eng_json_text(out, "process", c->process);
}

void
record_json_add(struct eng_bytes *out, const struct eng_record *r)
{
    static const char *const names[] = {
        [ENG_RECORD_START] = "recording", [ENG_RECORD_OPEN] = "open",
        [ENG_RECORD_MESSAGE] = "message", [ENG_RECORD_CLOSE] = "close",
        [ENG_RECORD_LOST] = "lost",       [ENG_RECORD_END] = "end",
    };

    eng_bytes_printf(out, "{\"v\":1,\"event\":\"%s\"", names[r->kind]);
    eng_json_number(out, "ns", r->ns);
    if (r->conn)
        eng_json_number(out, "id", (int64_t)r->conn->id);
    switch (r->kind) {
    case ENG_RECORD_START:
        eng_json_text(out, "app", r->app);
        eng_json_text(out, "role", r->role == OUTLET_TO_LISTEN ? "listen" : "connect");
        eng_json_text(out, "url", r->url);
        break;
    case ENG_RECORD_OPEN:
        add_open(out, r->conn);
        break;
    case ENG_RECORD_MESSAGE:
        eng_json_text(out, "dir", r->out ? "out" : "in");
        eng_json_text(out, "transport", r->conn->transport);
        eng_json_text(out, "peer", r->conn->peer);
        eng_json_number(out, "size", (int64_t)r->size);
        eng_json_payload(out, r->bytes, r->size, ENG_FORM_SHORT);
        if (r->rule)
            eng_json_text(out, "rule", r->rule);
        break;
    case ENG_RECORD_CLOSE:
        eng_json_reason(out, r->why, NULL);
        if (r->count)
            eng_json_number(out, "discarded", (int64_t)r->count);
        break;
    case ENG_RECORD_LOST:
        eng_json_number(out, "datagrams", (int64_t)r->count);
        break;
    case ENG_RECORD_END:
        eng_json_number(out, "messages", (int64_t)r->count);
        break;
    }
    eng_bytes_text(out, "}\n");
}

struct eng_writer *
eng_writer_open(enum eng_record_format format)
{
    struct eng_writer *e = eng_alloc(sizeof *e);

    if (!e)
        return NULL;
    e->format = format;
    if (format == ENG_RECORD_JSON)
        return e;
    e->pcap = record_pcap_open();
    if (e->pcap)
        return e;
    eng_free(e);
    return NULL;
}

/* Neither a segment nor a reader's memory is without limit. */
static void
add_in_pieces(struct eng_writer *e, const struct eng_record *r, struct eng_bytes *out)
{
    struct eng_record piece = *r;

    while (piece.size > ENG_RECORD_BYTES_MAX) {
        piece.size = ENG_RECORD_BYTES_MAX;
        eng_writer_add(e, &piece, out);
        piece.bytes += ENG_RECORD_BYTES_MAX;
        piece.size = r->size - (size_t)(piece.bytes - r->bytes);
    }
    eng_writer_add(e, &piece, out);
}

void
eng_writer_add(struct eng_writer *e, const struct eng_record *r, struct eng_bytes *out)
{
    if (r->kind == ENG_RECORD_MESSAGE && r->size > ENG_RECORD_BYTES_MAX)
        add_in_pieces(e, r, out);
    else if (e->format == ENG_RECORD_JSON)
        record_json_add(out, r);
    else
        record_pcap_add(e->pcap, r, out);
}

void
eng_writer_close(struct eng_writer *e)
{
    if (!e)
        return;
    record_pcap_close(e->pcap);
    eng_free(e);
}

size_t
eng_record_whole(enum eng_record_format format, const uint8_t *bytes, size_t len)
{
    size_t whole = 0;
    uint32_t block;

    if (format == ENG_RECORD_JSON) {
        const uint8_t *end = len ? memrchr(bytes, '\n', len) : NULL;

        return end ? (size_t)(end - bytes) + 1 : 0;
    }
    /* They are our own: whole multiples of 4, at least 12. */
    while (len - whole >= 12) {
        memcpy(&block, bytes + whole + 4, sizeof block);
        if (block < 12 || block > len - whole)
            break;
        whole += block;
    }
    return whole;
}
