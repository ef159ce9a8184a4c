/*
 * record_fuzz.c - any bytes as a recording: read, written in both formats, and read again.
 *
 * Property: what is read of what was written is what was written, in each format; and what is read
 * of a prefix is a prefix of what is read of the whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
demand(bool holds)
{
    if (!holds)
        abort();
}

/* All records of some bytes, written as `format`.  Answers how many there were. */
static size_t
copy(const uint8_t *bytes, size_t len, enum eng_record_format format, struct eng_bytes *out,
     bool *damaged)
{
    struct eng_reader *r = eng_reader_open_bytes(bytes, len);
    struct eng_writer *w = eng_writer_open(format);
    struct eng_record record;
    struct eng_damage damage;
    size_t count = 0;
    enum eng_read got;

    demand(r && w);
    *damaged = false;
    while ((got = eng_reader_next(r, &record, &damage)) != ENG_READ_END) {
        demand(got != ENG_READ_FAILED);
        if (got == ENG_READ_DAMAGE) {
            demand(damage.text[0] && damage.offset <= len);
            *damaged = true;
        } else {
            count++;
            eng_writer_add(w, &record, out);
        }
    }
    eng_writer_close(w);
    eng_reader_close(r);
    return count;
}

static void
same_again(const struct eng_bytes *json, enum eng_record_format format)
{
    struct eng_bytes written = {0};
    struct eng_bytes again = {0};
    struct eng_bytes twice = {0};
    bool damaged;

    (void)copy(json->data, json->len, format, &written, &damaged);
    (void)copy(written.data, written.len, ENG_RECORD_JSON, &again, &damaged);
    if (format == ENG_RECORD_JSON) {
        demand(again.len == json->len && memcmp(again.data, json->data, json->len) == 0);
    } else {
        /* A connection that had no beginning has been given one; then nothing changes any more. */
        (void)copy(again.data, again.len, format, &twice, &damaged);
        demand(twice.len == written.len && memcmp(twice.data, written.data, twice.len) == 0);
    }
    eng_bytes_free(&written);
    eng_bytes_free(&again);
    eng_bytes_free(&twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct eng_bytes whole = {0};
    struct eng_bytes part = {0};
    size_t half = len / 2;
    bool damaged;
    bool cut;

    /* A line that ends where the file does needs no newline, and may be the front of nonsense. */
    if (len && in[0] == '{')
        half = eng_record_whole(ENG_RECORD_JSON, in, half);
    if (copy(in, len, ENG_RECORD_JSON, &whole, &damaged) > 0) {
        same_again(&whole, ENG_RECORD_JSON);
        same_again(&whole, ENG_RECORD_PCAP);
    }
    (void)copy(in, half, ENG_RECORD_JSON, &part, &cut);
    demand(damaged || part.len <= whole.len);
    demand(part.len == 0 || part.len > whole.len || memcmp(part.data, whole.data, part.len) == 0);
    eng_bytes_free(&whole);
    eng_bytes_free(&part);
    return 0;
}
