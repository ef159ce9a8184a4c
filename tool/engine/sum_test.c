/*
 * sum_test.c - every checksum of the table against its catalogue, and against the plain method.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const uint8_t nine[] = "123456789";

static struct eng_sum
sum_named(const char *name)
{
    struct eng_sum sum;
    struct eng_mistake mistake;

    if (!eng_sum_parse(name, &sum, &mistake))
        fail_msg("'%s' is refused", name);
    return sum;
}

static void
every_row_gives_its_check_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < ENG_SUMS; i++) {
        struct eng_sum sum = sum_named(eng_sums[i].name);
        uint64_t got = eng_sum_of(&sum, nine, 9);

        if (got != eng_sums[i].check)
            fail_msg("%s: %" PRIx64 ", not %" PRIx64, eng_sums[i].name, got, eng_sums[i].check);
    }
}

static uint64_t
reflected(uint64_t value, unsigned width)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < width; i++) {
        if (value >> i & 1)
            out |= (uint64_t)1 << (width - 1 - i);
    }
    return out;
}

/* The definition: message bits go in one at a time, at the top, whatever is reflected. */
static uint64_t
bit_at_a_time(const struct eng_sum_row *row, const uint8_t *bytes, size_t len)
{
    uint64_t top = (uint64_t)1 << (row->width - 1);
    uint64_t mask = top | (top - 1);
    uint64_t reg = row->init;

    for (size_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint64_t in = bytes[i] >> (row->refin ? bit : 7 - bit) & 1;
            uint64_t out = (reg & top) != 0;

            reg = (reg << 1 & mask) ^ (in ^ out ? row->poly : 0);
        }
    }
    return (row->refout ? reflected(reg, row->width) : reg) ^ row->xorout;
}

static void
tables_and_bits_agree_on_random_bytes(void **state)
{
    uint64_t chance = 1;
    uint8_t bytes[300];

    (void)state;
    for (size_t i = 0; i < ENG_SUMS; i++) {
        struct eng_sum sum = sum_named(eng_sums[i].name);

        if (eng_sums[i].kind != ENG_SUM_CRC)
            continue;
        for (int round = 0; round < 20; round++) {
            size_t len = eng_chance(&chance) % sizeof bytes;

            for (size_t k = 0; k < len; k++)
                bytes[k] = (uint8_t)eng_chance(&chance);
            if (eng_sum_of(&sum, bytes, len) != bit_at_a_time(&eng_sums[i], bytes, len))
                fail_msg("%s of %zu bytes", eng_sums[i].name, len);
        }
    }
}

static void
names_are_unlike_each_other_and_aliases_lead_to_one(void **state)
{
    char seen[400][48];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < ENG_SUMS; i++) {
        char all[256];
        char *rest = all;
        char *name;

        snprintf(all, sizeof all, "%s %s", eng_sums[i].name, eng_sums[i].aliases);
        while ((name = strsep(&rest, " "))) {
            struct eng_sum sum;

            if (!*name)
                continue;
            sum = sum_named(name);
            if (sum.row != &eng_sums[i])
                fail_msg("%s is %s, not %s", name, sum.row->name, eng_sums[i].name);
            for (size_t k = 0; k < count; k++) {
                if (strcmp(seen[k], name) == 0)
                    fail_msg("%s stands there twice", name);
            }
            snprintf(seen[count++], sizeof seen[0], "%s", name);
        }
    }
}

static const struct {
    const char *spec;
    const char *message;
    size_t len;
    const char *want; /* what is put behind it */
    size_t size;
} appends[] = {
    /* Modbus: read ten registers of unit 1, as every manual has it. */
    {"crc16/modbus", "\x01\x03\x00\x00\x00\x0a", 6, "\xc5\xcd", 2},
    {"crc16/modbus:le", "\x01\x03\x00\x00\x00\x0a", 6, "\xc5\xcd", 2},
    {"crc16/modbus:be", "\x01\x03\x00\x00\x00\x0a", 6, "\xcd\xc5", 2},
    {"CRC-16/MODBUS", "\x01\x03\x00\x00\x00\x0a", 6, "\xc5\xcd", 2},
    {"crc16/ccitt-false", "123456789", 9, "\x29\xb1", 2},
    {"crc16_ccitt_false", "123456789", 9, NULL, 0},
    {"crc16/xmodem", "123456789", 9, "\x31\xc3", 2},
    {"crc16/kermit", "123456789", 9, "\x89\x21", 2},
    {"crc24/openpgp", "123456789", 9, "\x21\xcf\x02", 3},
    {"crc32", "123456789", 9, "\x26\x39\xf4\xcb", 4},
    {"crc32/bzip2", "123456789", 9, "\xfc\x89\x19\x18", 4},
    {"crc32c:be", "123456789", 9, "\xe3\x06\x92\x83", 4},
    /* LRC of Modbus ASCII: everything with it adds up to 0. */
    {"lrc", "\x01\x03\x00\x00\x00\x0a", 6, "\xf2", 1},
    {"sum8", "\xff\x02", 2, "\x01", 1},
    {"sum16", "\xff\x02", 2, "\x01\x01", 2},
    {"sum16:le", "\xff\x03", 2, "\x02\x01", 2},
    {"sum16/neg", "\xff\x02", 2, "\xfe\xff", 2},
    {"bcc", "\x0f\xf0\x01", 3, "\xfe", 1},
    {"xor8@1", "\xff\x0f\xf0", 3, "\xff", 1},
    {"xor8@1..-2", "\xff\x0f\xf0", 3, "\x0f", 1},
    {"xor8@-2", "\xff\x0f\xf1", 3, "\xfe", 1},
    {"xor8:le@0..1", "\x01\x02\x04", 3, "\x03", 1},
    {"xor8@0..100", "\x01\x02\x04", 3, "\x07", 1},
    {"sum8@5", "\x01\x02\x04", 3, "\x00", 1}, /* nothing is covered */
    {"crc16/modbus", "", 0, "\xff\xff", 2},
    /* NMEA 0183: two digits behind the '*', of what stands between it and the '$'. */
    {"xor8:HEX@1..-2", "$GPGLL,5300.97914,N,00259.98174,E,125926,A*", 43, "28", 2},
    {"xor8:HEX@1..-2", "$PMTK605*", 9, "31", 2},
    /* The remote protocol of gdb: a sum, in small letters. */
    {"sum8:hex@1..-2", "$vMustReplyEmpty#", 17, "3a", 2},
    {"sum8:HEX@1..-2", "$vMustReplyEmpty#", 17, "3A", 2},
    /* A number as people write it, also where its bytes go low first. */
    {"crc16/modbus:hex", "\x01\x03\x00\x00\x00\x0a", 6, "cdc5", 4},
    {"crc16/modbus:hex:le", "\x01\x03\x00\x00\x00\x0a", 6, "c5cd", 4},
    {"crc16/modbus:le:HEX@0..-1", "\x01\x03\x00\x00\x00\x0a", 6, "C5CD", 4},
    {"crc32:hex", "123456789", 9, "cbf43926", 8},
    {"crc64/xz:HEX", "123456789", 9, "995DC9BBDF1939FA", 16},
};

static void
a_checksum_stands_behind_what_it_covers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(appends); i++) {
        struct eng_bytes message = {0};
        struct eng_mistake mistake;
        struct eng_sum sum;
        uint64_t has;
        uint64_t want;

        if (!eng_sum_parse(appends[i].spec, &sum, &mistake)) {
            if (appends[i].want)
                fail_msg("%s is refused", appends[i].spec);
            continue;
        }
        assert_non_null(appends[i].want);
        eng_bytes_add(&message, appends[i].message, appends[i].len);
        eng_sum_append(&sum, &message);
        if (message.len != appends[i].len + appends[i].size ||
            memcmp(message.data + appends[i].len, appends[i].want, appends[i].size) != 0)
            fail_msg("%s: row %zu has other bytes", appends[i].spec, i);
        if (eng_sum_check(&sum, message.data, message.len, &has, &want) != ENG_GOOD || has != want)
            fail_msg("%s: row %zu does not know its own", appends[i].spec, i);
        eng_bytes_free(&message);
    }
}

static void
one_flipped_bit_and_one_missing_byte_are_bad(void **state)
{
    struct eng_sum sum = sum_named("crc16/modbus");
    struct eng_bytes message = {0};
    uint64_t has;
    uint64_t want;

    (void)state;
    eng_bytes_add(&message, "\x01\x03\x02\x00\x2a", 5);
    eng_sum_append(&sum, &message);
    for (size_t bit = 0; bit < message.len * 8; bit++) {
        message.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(eng_sum_check(&sum, message.data, message.len, &has, &want), ENG_BAD);
        assert_true(has != want);
        message.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < message.len; len++)
        assert_int_equal(eng_sum_check(&sum, message.data, len, &has, &want),
                         len < eng_sum_size(&sum) ? ENG_SHORT : ENG_BAD);
    assert_int_equal(eng_sum_check(&sum, message.data, message.len, &has, &want), ENG_GOOD);
    eng_bytes_free(&message);
}

static void
digits_are_right_in_either_case_and_nothing_else_is(void **state)
{
    static const struct {
        const char *message;
        enum eng_check check;
        uint64_t has;
    } rows[] = {
        {"$vMustReplyEmpty#3a", ENG_GOOD, 0x3a},
        {"$vMustReplyEmpty#3A", ENG_GOOD, 0x3a},
        {"$vMustReplyEmpty#3b", ENG_BAD, 0x3b},
        {"$vMustReplyEmpty#a3", ENG_BAD, 0xa3},
        {"$vMustReplyEmpty#3", ENG_BAD, 0},
        {"$vMustReplyEmpty# 3", ENG_BAD, 0},
        {"$vMustReplyEmpty#+3", ENG_BAD, 0},
        {"$vMustReplyEmpty#0x", ENG_BAD, 0},
        {"$vMustReplyEmpty#3g", ENG_BAD, 0},
        {"a", ENG_SHORT, 0},
        {"zz", ENG_BAD, 0},
        {"00", ENG_GOOD, 0},
        {"", ENG_SHORT, 0},
    };
    struct eng_sum sum = sum_named("sum8:hex@1..-2");

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t has;
        uint64_t want;

        if (eng_sum_check(&sum, (const uint8_t *)rows[i].message, strlen(rows[i].message), &has,
                          &want) != rows[i].check ||
            has != rows[i].has)
            fail_msg("'%s' has %llx", rows[i].message, (unsigned long long)has);
    }
}

static const struct {
    const char *text;
    enum eng_wrong wrong;
    size_t at;
    const char *near;
} mistakes[] = {
    {"crc16/modbis", ENG_WRONG_SUM, 0, "crc16/modbus"},
    {"crc16/frobnicate", ENG_WRONG_SUM, 0, ""},
    {"", ENG_WRONG_SUM, 0, ""},
    {"crc16", ENG_WRONG_SUM_FAMILY, 0, "crc16/modbus"},
    {"CRC-8", ENG_WRONG_SUM_FAMILY, 0, "crc8/smbus"},
    {"sum8:", ENG_WRONG_ORDER, 5, ""},
    {"sum8:bee", ENG_WRONG_ORDER, 5, ""},
    {"sum8:be:le", ENG_WRONG_ORDER, 8, ""},
    {"sum8:hex:be:HEX", ENG_WRONG_ORDER, 12, ""},
    {"sum8:Hex", ENG_WRONG_ORDER, 5, ""},
    {"sum8:hex:@1", ENG_WRONG_ORDER, 9, ""},
    {"sum8:hex@x", ENG_WRONG_RANGE, 9, ""},
    {"sum16:me", ENG_WRONG_ORDER, 6, ""},
    {"sum8@", ENG_WRONG_RANGE, 5, ""},
    {"sum8@x", ENG_WRONG_RANGE, 5, ""},
    {"sum8@1..", ENG_WRONG_RANGE, 8, ""},
    {"sum8@1...3", ENG_WRONG_RANGE, 8, ""},
    {"sum8@3..1", ENG_WRONG_RANGE, 9, ""},
    {"sum8@-1..-3", ENG_WRONG_RANGE, 11, ""},
    {"sum8@1..2x", ENG_WRONG_RANGE, 9, ""},
    {"sum8@99999999999", ENG_WRONG_RANGE, 5, ""},
};

static void
a_mistake_has_its_place_and_a_way_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        struct eng_mistake m;
        struct eng_sum sum;

        if (eng_sum_parse(mistakes[i].text, &sum, &m))
            fail_msg("'%s' is taken", mistakes[i].text);
        if (m.wrong != mistakes[i].wrong || m.at != mistakes[i].at ||
            strcmp(m.near, mistakes[i].near) != 0)
            fail_msg("'%s': %d at %zu, '%s'", mistakes[i].text, (int)m.wrong, m.at, m.near);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_gives_its_check_value),
        cmocka_unit_test(tables_and_bits_agree_on_random_bytes),
        cmocka_unit_test(names_are_unlike_each_other_and_aliases_lead_to_one),
        cmocka_unit_test(a_checksum_stands_behind_what_it_covers),
        cmocka_unit_test(one_flipped_bit_and_one_missing_byte_are_bad),
        cmocka_unit_test(digits_are_right_in_either_case_and_nothing_else_is),
        cmocka_unit_test(a_mistake_has_its_place_and_a_way_out),
    };

    return cmocka_run_group_tests_name("sum", tests, NULL, NULL);
}
