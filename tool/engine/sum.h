/*
 * sum.h - checksums by their catalogue names: chosen by a word, put behind a message, looked for
 * at the end of one.
 *
 *     NAME[:be|:le][:hex|:HEX][@FROM[..TO]]    crc16/modbus   crc32/bzip2:le   xor8:HEX@1..-2
 *
 * With :hex or :HEX it stands there as text, two digits a byte: 4a or 4A.  FROM and TO are the
 * first and the last byte that is covered, from 0, or from the end: -1 is the last.  Names are
 * those of the CRC RevEng catalogue; case, '-' and '_' do not matter.  A newcomer's mistake: to
 * write "crc16".  Thirty-one checksums are called that, so it is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_SUM_H
#define ENG_SUM_H

#include "mistake.h"

#include <stdint.h>

struct eng_bytes;

enum eng_sum_kind {
    ENG_SUM_CRC,
    ENG_SUM_ADD,    /* of all bytes */
    ENG_SUM_NEGATE, /* two's complement of that: everything with it adds up to 0 */
    ENG_SUM_XOR
};

struct eng_sum_row {
    const char *name;
    const char *aliases; /* with spaces between, "" for none */
    enum eng_sum_kind kind;
    unsigned width; /* in bits, a multiple of 8 up to 64 */
    uint64_t poly;  /* of a CRC, as in the catalogue: the highest bit left away, not reflected */
    uint64_t init;
    bool refin;
    bool refout;
    uint64_t xorout;
    uint64_t check; /* of "123456789" */
};

enum { ENG_SUMS = 89 };

extern const struct eng_sum_row eng_sums[ENG_SUMS];

enum eng_sum_form { ENG_SUM_BYTES, ENG_SUM_LOWER, ENG_SUM_UPPER /* hexadecimal digits */ };

/* One of them, ready to work. */
struct eng_sum {
    const struct eng_sum_row *row;
    /* On the wire: as the protocol has it, but text as people write a number, unless :be or :le
     * says otherwise. */
    bool low_first;
    enum eng_sum_form form;
    int64_t from;
    int64_t to; /* the last one that is covered */
    uint64_t table[256];
};

bool eng_sum_parse(const char *text, struct eng_sum *out, struct eng_mistake *mistake);
/* Of all these bytes, whatever range was chosen. */
uint64_t eng_sum_of(const struct eng_sum *sum, const uint8_t *bytes, size_t len);
size_t eng_sum_size(const struct eng_sum *sum); /* bytes on the wire, or digits */
bool eng_sum_order_low(const struct eng_sum_row *row);

/* Put it behind `message`, of which the range is covered as far as it is there. */
void eng_sum_append(const struct eng_sum *sum, struct eng_bytes *message);

enum eng_check {
    ENG_UNCHECKED,
    ENG_GOOD,
    ENG_BAD,
    ENG_SHORT /* so short that it has none: bad as well */
};

/* Is it at the end of the message?  *has and *want are numbers; a message that is too short, or
 * ends in no digits where it should, has 0.  Digits are right in either case. */
enum eng_check eng_sum_check(const struct eng_sum *sum, const uint8_t *bytes, size_t len,
                             uint64_t *has, uint64_t *want);

#endif
