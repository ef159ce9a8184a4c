/*
 * sum.c - the catalogue of checksums, and the work with one of them.  Pure.
 *
 * The rows are those of the CRC RevEng catalogue, with its names, its aliases and its check
 * values; only widths of whole bytes, since anything else has no place of its own behind a message.
 * A newcomer's mistake: to take the byte order of a CRC from its number.  Protocols whose CRC is
 * reflected send the low byte first, the others the high one; that is the default.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sum.h"

#include "engine.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONES32 0xffffffff
#define ONES64 UINT64_C(0xffffffffffffffff)
#define CRC(name, aliases, width, poly, init, reflected, xorout, check)                    \
    {                                                                                      \
        name, aliases, ENG_SUM_CRC, width, poly, init, reflected, reflected, xorout, check \
    }
#define PLAIN(name, aliases, kind, width, check)                 \
    {                                                            \
        name, aliases, kind, width, 0, 0, false, false, 0, check \
    }

/* In every row of the catalogue that has whole bytes, refin and refout are the same. */
const struct eng_sum_row eng_sums[ENG_SUMS] = {
    CRC("crc8/autosar", "", 8, 0x2f, 0xff, false, 0xff, 0xdf),
    CRC("crc8/bluetooth", "", 8, 0xa7, 0x00, true, 0x00, 0x26),
    CRC("crc8/cdma2000", "", 8, 0x9b, 0xff, false, 0x00, 0xda),
    CRC("crc8/darc", "", 8, 0x39, 0x00, true, 0x00, 0x15),
    CRC("crc8/dvb-s2", "", 8, 0xd5, 0x00, false, 0x00, 0xbc),
    CRC("crc8/gsm-a", "", 8, 0x1d, 0x00, false, 0x00, 0x37),
    CRC("crc8/gsm-b", "", 8, 0x49, 0x00, false, 0xff, 0x94),
    CRC("crc8/hitag", "", 8, 0x1d, 0xff, false, 0x00, 0xb4),
    CRC("crc8/i-432-1", "crc8/itu", 8, 0x07, 0x00, false, 0x55, 0xa1),
    CRC("crc8/i-code", "", 8, 0x1d, 0xfd, false, 0x00, 0x7e),
    CRC("crc8/lte", "", 8, 0x9b, 0x00, false, 0x00, 0xea),
    CRC("crc8/maxim-dow", "crc8/maxim dow-crc", 8, 0x31, 0x00, true, 0x00, 0xa1),
    CRC("crc8/mifare-mad", "", 8, 0x1d, 0xc7, false, 0x00, 0x99),
    CRC("crc8/nrsc-5", "", 8, 0x31, 0xff, false, 0x00, 0xf7),
    CRC("crc8/opensafety", "", 8, 0x2f, 0x00, false, 0x00, 0x3e),
    CRC("crc8/rohc", "", 8, 0x07, 0xff, true, 0x00, 0xd0),
    CRC("crc8/sae-j1850", "", 8, 0x1d, 0xff, false, 0xff, 0x4b),
    CRC("crc8/smbus", "", 8, 0x07, 0x00, false, 0x00, 0xf4),
    CRC("crc8/tech-3250", "crc8/aes crc8/ebu", 8, 0x1d, 0xff, true, 0x00, 0x97),
    CRC("crc8/wcdma", "", 8, 0x9b, 0x00, true, 0x00, 0x25),

    CRC("crc16/arc", "crc16/lha crc16/ibm arc", 16, 0x8005, 0x0000, true, 0x0000, 0xbb3d),
    CRC("crc16/cdma2000", "", 16, 0xc867, 0xffff, false, 0x0000, 0x4c06),
    CRC("crc16/cms", "", 16, 0x8005, 0xffff, false, 0x0000, 0xaee7),
    CRC("crc16/dds-110", "", 16, 0x8005, 0x800d, false, 0x0000, 0x9ecf),
    CRC("crc16/dect-r", "", 16, 0x0589, 0x0000, false, 0x0001, 0x007e),
    CRC("crc16/dect-x", "", 16, 0x0589, 0x0000, false, 0x0000, 0x007f),
    CRC("crc16/dnp", "", 16, 0x3d65, 0x0000, true, 0xffff, 0xea82),
    CRC("crc16/en-13757", "", 16, 0x3d65, 0x0000, false, 0xffff, 0xc2b7),
    CRC("crc16/genibus", "crc16/epc crc16/darc crc16/i-code", 16, 0x1021, 0xffff, false, 0xffff,
        0xd64e),
    CRC("crc16/gsm", "", 16, 0x1021, 0x0000, false, 0xffff, 0xce3c),
    CRC("crc16/ibm-3740", "crc16/ccitt-false crc16/autosar", 16, 0x1021, 0xffff, false, 0x0000,
        0x29b1),
    CRC("crc16/ibm-sdlc", "crc16/x-25 crc16/iso-hdlc crc16/iso-iec-14443-3-b crc-b x-25", 16,
        0x1021, 0xffff, true, 0xffff, 0x906e),
    CRC("crc16/iso-iec-14443-3-a", "crc-a", 16, 0x1021, 0xc6c6, true, 0x0000, 0xbf05),
    CRC("crc16/kermit", "crc16/ccitt crc16/ccitt-true crc16/v-41-lsb crc16/bluetooth kermit", 16,
        0x1021, 0x0000, true, 0x0000, 0x2189),
    CRC("crc16/lj1200", "", 16, 0x6f63, 0x0000, false, 0x0000, 0xbdf4),
    CRC("crc16/m17", "", 16, 0x5935, 0xffff, false, 0x0000, 0x772b),
    CRC("crc16/maxim-dow", "crc16/maxim", 16, 0x8005, 0x0000, true, 0xffff, 0x44c2),
    CRC("crc16/mcrf4xx", "", 16, 0x1021, 0xffff, true, 0x0000, 0x6f91),
    CRC("crc16/modbus", "modbus", 16, 0x8005, 0xffff, true, 0x0000, 0x4b37),
    CRC("crc16/nrsc-5", "", 16, 0x080b, 0xffff, true, 0x0000, 0xa066),
    CRC("crc16/opensafety-a", "", 16, 0x5935, 0x0000, false, 0x0000, 0x5d38),
    CRC("crc16/opensafety-b", "", 16, 0x755b, 0x0000, false, 0x0000, 0x20fe),
    CRC("crc16/profibus", "crc16/iec-61158-2", 16, 0x1dcf, 0xffff, false, 0xffff, 0xa819),
    CRC("crc16/riello", "", 16, 0x1021, 0xb2aa, true, 0x0000, 0x63d0),
    CRC("crc16/spi-fujitsu", "crc16/aug-ccitt", 16, 0x1021, 0x1d0f, false, 0x0000, 0xe5cc),
    CRC("crc16/t10-dif", "", 16, 0x8bb7, 0x0000, false, 0x0000, 0xd0db),
    CRC("crc16/teledisk", "", 16, 0xa097, 0x0000, false, 0x0000, 0x0fb3),
    CRC("crc16/tms37157", "", 16, 0x1021, 0x89ec, true, 0x0000, 0x26b1),
    CRC("crc16/umts", "crc16/buypass crc16/verifone", 16, 0x8005, 0x0000, false, 0x0000, 0xfee8),
    CRC("crc16/usb", "", 16, 0x8005, 0xffff, true, 0xffff, 0xb4c8),
    CRC("crc16/xmodem", "crc16/acorn crc16/lte crc16/v-41-msb xmodem zmodem", 16, 0x1021, 0x0000,
        false, 0x0000, 0x31c3),

    CRC("crc24/ble", "", 24, 0x00065b, 0x555555, true, 0x000000, 0xc25a56),
    CRC("crc24/flexray-a", "", 24, 0x5d6dcb, 0xfedcba, false, 0x000000, 0x7979bd),
    CRC("crc24/flexray-b", "", 24, 0x5d6dcb, 0xabcdef, false, 0x000000, 0x1f23b8),
    CRC("crc24/interlaken", "", 24, 0x328b63, 0xffffff, false, 0xffffff, 0xb4f3e6),
    CRC("crc24/lte-a", "", 24, 0x864cfb, 0x000000, false, 0x000000, 0xcde703),
    CRC("crc24/lte-b", "", 24, 0x800063, 0x000000, false, 0x000000, 0x23ef52),
    CRC("crc24/openpgp", "", 24, 0x864cfb, 0xb704ce, false, 0x000000, 0x21cf02),
    CRC("crc24/os-9", "", 24, 0x800063, 0xffffff, false, 0xffffff, 0x200fa5),

    CRC("crc32/aixm", "crc32q", 32, 0x814141ab, 0, false, 0, 0x3010bf7f),
    CRC("crc32/autosar", "", 32, 0xf4acfb13, ONES32, true, ONES32, 0x1697d06a),
    CRC("crc32/base91-d", "crc32d", 32, 0xa833982b, ONES32, true, ONES32, 0x87315576),
    CRC("crc32/bzip2", "crc32/aal5 crc32/dect-b b-crc-32", 32, 0x04c11db7, ONES32, false, ONES32,
        0xfc891918),
    CRC("crc32/cd-rom-edc", "", 32, 0x8001801b, 0, true, 0, 0x6ec2edc4),
    CRC("crc32/cksum", "crc32/posix cksum", 32, 0x04c11db7, 0, false, ONES32, 0x765e7680),
    CRC("crc32/iscsi", "crc32c crc32/castagnoli crc32/interlaken crc32/nvme", 32, 0x1edc6f41,
        ONES32, true, ONES32, 0xe3069283),
    CRC("crc32/iso-hdlc", "crc32 crc32/adccp crc32/v-42 crc32/xz crc32/ethernet pkzip", 32,
        0x04c11db7, ONES32, true, ONES32, 0xcbf43926),
    CRC("crc32/jamcrc", "jamcrc", 32, 0x04c11db7, ONES32, true, 0, 0x340bc6d9),
    CRC("crc32/mef", "", 32, 0x741b8cd7, ONES32, true, 0, 0xd2c22f51),
    CRC("crc32/mpeg-2", "", 32, 0x04c11db7, ONES32, false, 0, 0x0376e6e7),
    CRC("crc32/xfer", "xfer", 32, 0x000000af, 0, false, 0, 0xbd0be338),

    CRC("crc40/gsm", "", 40, UINT64_C(0x0004820009), 0, false, UINT64_C(0xffffffffff),
        UINT64_C(0xd4164fc646)),

    CRC("crc64/ecma-182", "crc64", 64, UINT64_C(0x42f0e1eba9ea3693), 0, false, 0,
        UINT64_C(0x6c40df5f0b497347)),
    CRC("crc64/go-iso", "", 64, 0x1b, ONES64, true, ONES64, UINT64_C(0xb90956c775a41001)),
    CRC("crc64/ms", "", 64, UINT64_C(0x259c84cba6426349), ONES64, true, 0,
        UINT64_C(0x75d4b74f024eceea)),
    CRC("crc64/nvme", "", 64, UINT64_C(0xad93d23594c93659), ONES64, true, ONES64,
        UINT64_C(0xae8b14860a799888)),
    CRC("crc64/redis", "", 64, UINT64_C(0xad93d23594c935a9), 0, true, 0,
        UINT64_C(0xe9c6d914c4b8d9ca)),
    CRC("crc64/we", "", 64, UINT64_C(0x42f0e1eba9ea3693), ONES64, false, ONES64,
        UINT64_C(0x62ec59e3f1a4f00a)),
    CRC("crc64/xz", "crc64/go-ecma", 64, UINT64_C(0x42f0e1eba9ea3693), ONES64, true, ONES64,
        UINT64_C(0x995dc9bbdf1939fa)),

    PLAIN("lrc", "lrc8 lrc/modbus-ascii", ENG_SUM_NEGATE, 8, 0x23),
    PLAIN("sum8", "", ENG_SUM_ADD, 8, 0xdd),
    PLAIN("sum16", "", ENG_SUM_ADD, 16, 0x01dd),
    PLAIN("sum24", "", ENG_SUM_ADD, 24, 0x0001dd),
    PLAIN("sum32", "", ENG_SUM_ADD, 32, 0x000001dd),
    PLAIN("sum8/neg", "sum8/twos-complement", ENG_SUM_NEGATE, 8, 0x23),
    PLAIN("sum16/neg", "sum16/twos-complement", ENG_SUM_NEGATE, 16, 0xfe23),
    PLAIN("sum24/neg", "sum24/twos-complement", ENG_SUM_NEGATE, 24, 0xfffe23),
    PLAIN("sum32/neg", "sum32/twos-complement", ENG_SUM_NEGATE, 32, 0xfffffe23),
    PLAIN("xor8", "xor bcc lrc/iso-1155", ENG_SUM_XOR, 8, 0x31),
};

static uint64_t
mask_of(unsigned width)
{
    return ONES64 >> (64 - width);
}

static uint64_t
reflect(uint64_t value, unsigned width)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < width; i++)
        out |= (value >> i & 1) << (width - 1 - i);
    return out;
}

/* What each byte does to a register that held nothing else. */
static void
fill_table(struct eng_sum *sum)
{
    const struct eng_sum_row *row = sum->row;
    uint64_t poly = row->refin ? reflect(row->poly, row->width) : row->poly;
    uint64_t top = (uint64_t)1 << (row->width - 1);

    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = row->refin ? byte : (uint64_t)byte << (row->width - 8);

        for (int bit = 0; bit < 8; bit++) {
            if (row->refin)
                value = value & 1 ? value >> 1 ^ poly : value >> 1;
            else
                value = value & top ? value << 1 ^ poly : value << 1;
        }
        sum->table[byte] = value & mask_of(row->width);
    }
}

static uint64_t
crc_of(const struct eng_sum *sum, const uint8_t *bytes, size_t len)
{
    const struct eng_sum_row *row = sum->row;
    uint64_t value = row->refin ? reflect(row->init, row->width) : row->init;

    for (size_t i = 0; i < len; i++) {
        if (row->refin)
            value = value >> 8 ^ sum->table[(value ^ bytes[i]) & 0xff];
        else
            value = value << 8 ^ sum->table[(value >> (row->width - 8) ^ bytes[i]) & 0xff];
    }
    if (row->refin != row->refout)
        value = reflect(value, row->width);
    return (value ^ row->xorout) & mask_of(row->width);
}

uint64_t
eng_sum_of(const struct eng_sum *sum, const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;

    if (sum->row->kind == ENG_SUM_CRC)
        return crc_of(sum, bytes, len);
    for (size_t i = 0; i < len; i++)
        value = sum->row->kind == ENG_SUM_XOR ? value ^ bytes[i] : value + bytes[i];
    if (sum->row->kind == ENG_SUM_NEGATE)
        value = 0 - value;
    return value & mask_of(sum->row->width);
}

size_t
eng_sum_size(const struct eng_sum *sum)
{
    return sum->row->width / (sum->form == ENG_SUM_BYTES ? 8 : 4);
}

bool
eng_sum_order_low(const struct eng_sum_row *row)
{
    return row->refout;
}

/* ---- the word that chooses one ---- */

/* "CRC-16/CCITT_FALSE" is "crc16/ccittfalse". */
static void
plain_name(const char *name, size_t len, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < room; i++) {
        if (name[i] != '-' && name[i] != '_')
            out[n++] = (char)tolower((unsigned char)name[i]);
    }
    out[n] = '\0';
}

/* Is `wanted` this name?  And if not, is the name the nearest so far? */
static bool
name_is(const char *name, size_t len, const char *wanted, size_t *best, struct eng_mistake *mistake)
{
    char plain[48];

    plain_name(name, len, plain, sizeof plain);
    if (strcmp(plain, wanted) == 0)
        return true;
    if (eng_is_near(wanted, plain, best)) {
        mistake->wrong = ENG_WRONG_SUM;
        snprintf(mistake->near, sizeof mistake->near, "%.*s", (int)len, name);
    }
    return false;
}

static bool
row_is(const struct eng_sum_row *row, const char *wanted, size_t *best, struct eng_mistake *mistake)
{
    if (name_is(row->name, strlen(row->name), wanted, best, mistake))
        return true;
    for (const char *at = row->aliases; *at;) {
        size_t len = strcspn(at, " ");

        if (name_is(at, len, wanted, best, mistake))
            return true;
        at += len + (at[len] == ' ');
    }
    return false;
}

/* "crc16" and "crc8" alone are families; the member that most people mean is named. */
static bool
is_family(const char *wanted, struct eng_mistake *mistake)
{
    static const char *const usual[][2] = {
        {"crc8", "crc8/smbus"},  {"crc16", "crc16/modbus"},      {"crc24", "crc24/openpgp"},
        {"crc", "crc16/modbus"}, {"ccitt", "crc16/ccitt-false"}, {"sum", "sum8"}};

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        if (strcmp(wanted, usual[i][0]) == 0) {
            mistake->wrong = ENG_WRONG_SUM_FAMILY;
            snprintf(mistake->near, sizeof mistake->near, "%s", usual[i][1]);
            return true;
        }
    }
    return false;
}

static const struct eng_sum_row *
find(const char *name, size_t len, struct eng_mistake *mistake)
{
    char wanted[48];
    size_t best = 3;

    *mistake = (struct eng_mistake){.wrong = ENG_WRONG_SUM};
    plain_name(name, len, wanted, sizeof wanted);
    if (is_family(wanted, mistake))
        return NULL;
    for (size_t i = 0; i < ENG_SUMS; i++) {
        if (row_is(&eng_sums[i], wanted, &best, mistake))
            return &eng_sums[i];
    }
    return NULL;
}

static bool
parse_offset(const char **at, int64_t *out)
{
    char *end;
    long long value;

    if (**at != '-' && !isdigit((unsigned char)**at))
        return false;
    value = strtoll(*at, &end, 10);
    if (end == *at || value > INT32_MAX || value < -INT32_MAX)
        return false;
    *at = end;
    *out = value;
    return true;
}

/* FROM[..TO] behind the '@'. */
static bool
parse_range(const char **at, struct eng_sum *sum)
{
    if (!parse_offset(at, &sum->from))
        return false;
    if (strncmp(*at, "..", 2) == 0) {
        *at += 2;
        if (!parse_offset(at, &sum->to))
            return false;
    }
    return **at == '\0' && ((sum->from < 0) != (sum->to < 0) || sum->from <= sum->to);
}

/* :be, :le, :hex and :HEX, of each kind one.  *at is left at what is none of them. */
static bool
parse_form(const char **at, struct eng_sum *sum)
{
    bool ordered = false;

    while (**at == ':') {
        const char *word = ++*at;
        size_t len = strcspn(word, ":@");

        if (len == 2 && !ordered && (strncmp(word, "be", 2) == 0 || strncmp(word, "le", 2) == 0)) {
            ordered = true;
            sum->low_first = *word == 'l';
        } else if (len == 3 && !sum->form && strncmp(word, "hex", 3) == 0) {
            sum->form = ENG_SUM_LOWER;
        } else if (len == 3 && !sum->form && strncmp(word, "HEX", 3) == 0) {
            sum->form = ENG_SUM_UPPER;
        } else {
            return false;
        }
        *at += len;
    }
    if (sum->form && !ordered)
        sum->low_first = false;
    return true;
}

bool
eng_sum_parse(const char *text, struct eng_sum *out, struct eng_mistake *mistake)
{
    size_t len = strcspn(text, ":@");
    const char *at = text + len;
    struct eng_sum sum = {.to = -1};

    sum.row = find(text, len, mistake);
    if (!sum.row)
        return false;
    sum.low_first = eng_sum_order_low(sum.row);
    if (!parse_form(&at, &sum)) {
        *mistake = (struct eng_mistake){.wrong = ENG_WRONG_ORDER, .at = (size_t)(at - text)};
        return false;
    }
    if (*at == '@') {
        at++;
        if (!parse_range(&at, &sum)) {
            *mistake = (struct eng_mistake){.wrong = ENG_WRONG_RANGE, .at = (size_t)(at - text)};
            return false;
        }
    }
    if (sum.row->kind == ENG_SUM_CRC)
        fill_table(&sum);
    *out = sum;
    return true;
}

/* ---- in a message ---- */

/* The covered part of `len` bytes, as far as it is there. */
static uint64_t
sum_of_range(const struct eng_sum *sum, const uint8_t *bytes, size_t len)
{
    int64_t n = (int64_t)len;
    int64_t from = sum->from < 0 ? sum->from + n : sum->from;
    int64_t end = (sum->to < 0 ? sum->to + n : sum->to) + 1;

    from = from < 0 ? 0 : from;
    end = end > n ? n : end;
    return end > from ? eng_sum_of(sum, bytes + from, (size_t)(end - from))
                      : eng_sum_of(sum, (const uint8_t *)"", 0);
}

void
eng_sum_append(const struct eng_sum *sum, struct eng_bytes *message)
{
    uint64_t value = sum_of_range(sum, message->data, message->len);
    size_t size = sum->row->width / 8;

    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * (sum->low_first ? i : size - 1 - i));

        if (sum->form == ENG_SUM_BYTES)
            eng_bytes_add(message, &byte, 1);
        else
            eng_bytes_printf(message, sum->form == ENG_SUM_UPPER ? "%02X" : "%02x", byte);
    }
}

/* The number at the end, of bytes or of digits.  False: these are no digits. */
static bool
read_sum(const struct eng_sum *sum, const uint8_t *at, uint64_t *out)
{
    size_t size = sum->row->width / 8;
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++) {
        size_t k = sum->low_first ? size - 1 - i : i;
        char digits[3] = {0};

        if (sum->form == ENG_SUM_BYTES) {
            value = value << 8 | at[k];
            continue;
        }
        memcpy(digits, at + 2 * k, 2);
        if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
            return false;
        value = value << 8 | strtoul(digits, NULL, 16);
    }
    *out = value;
    return true;
}

enum eng_check
eng_sum_check(const struct eng_sum *sum, const uint8_t *bytes, size_t len, uint64_t *has,
              uint64_t *want)
{
    size_t size = eng_sum_size(sum);

    *has = 0;
    *want = 0;
    if (len < size)
        return ENG_SHORT;
    *want = sum_of_range(sum, bytes, len - size);
    return read_sum(sum, bytes + len - size, has) && *has == *want ? ENG_GOOD : ENG_BAD;
}
