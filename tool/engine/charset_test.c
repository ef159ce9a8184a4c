/*
 * charset_test.c - however messages cut the bytes, the text is the same, and no byte is lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <iconv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    const char *charset;
    const char *bytes;
    size_t len;
    const char *text; /* with \xHH for what is no character */
} cases[] = {
    {"gbk", "\xd6\xd0\xce\xc4", 4, "中文"},
    {"gbk", "a\xd6\xd0z", 4, "a中z"},
    {"gb18030", "\x81\x30\x81\x30\x95\x32\x82\x36", 8, "\xc2\x80\xf0\xa0\x80\x80"},
    {"big5", "\xa4\xa4\xa4\xe5", 4, "中文"},
    {"shift_jis", "\x93\xfa\x96\x7b", 4, "日本"},
    {"euc-kr", "\xc7\xd1", 2, "한"},
    {"utf-16le", "a\0\x2d\x4e", 4, "a中"},
    {"utf-16be", "\xd8\x3d\xde\0", 4, "😀"},
    {"utf-8", "\xe4\xb8\xad", 3, "中"},
    {"iso-8859-1", "caf\xe9", 4, "café"},
    {"windows-1251", "\xcc\xe8\xf0", 3, "Мир"},
    {"iso-2022-jp", "\x1b$BF|\x1b(B!", 9, "日!"},
    /* What is no character stands there as it is, and what follows is read. */
    {"gbk", "\xff", 1, "\\xff"},
    {"gbk", "\x81 x", 3, "\\x81 x"},
    {"gbk", "a\xff\xff\xd6\xd0", 5, "a\\xff\\xff中"},
    {"gbk", "\xd6", 1, "\\xd6"}, /* cut off for ever */
    {"utf-8", "\xed\xb2\x80", 3, "\\xed\\xb2\\x80"},
    {"utf-8", "\xe4\xb8\xe4\xb8\xad", 5, "\\xe4\\xb8中"},
    {"utf-16le", "a\0b", 3, "a\\x62"},
};

static void
decode_in_slices(size_t row, size_t slice, struct eng_bytes *shown)
{
    struct eng_coder *coder = eng_decoder_open(cases[row].charset);
    struct eng_bytes text = {0};

    assert_non_null(coder);
    for (size_t at = 0; at < cases[row].len; at += slice) {
        size_t n = cases[row].len - at < slice ? cases[row].len - at : slice;

        eng_decode(coder, cases[row].bytes + at, n, &text);
    }
    eng_decode_end(coder, &text);
    assert_false(eng_coder_is_amid(coder));
    eng_decoded_add(shown, text.data, text.len, false);
    eng_bytes_add(shown, "", 1);
    eng_bytes_free(&text);
    eng_coder_close(coder);
}

static void
the_text_does_not_depend_on_slicing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t slice = 1; slice <= cases[i].len; slice++) {
            struct eng_bytes shown = {0};

            decode_in_slices(i, slice, &shown);
            if (strcmp((const char *)shown.data, cases[i].text) != 0)
                fail_msg("row %zu, slice %zu: %s, not %s", i, slice, (const char *)shown.data,
                         cases[i].text);
            eng_bytes_free(&shown);
        }
    }
}

/* Whatever the bytes are: encoded again, with the escapes as bytes, they are what came. */
static void
no_byte_is_ever_lost(void **state)
{
    uint64_t chance = 7;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct eng_coder *decoder = eng_decoder_open("gbk");
        struct eng_bytes text = {0};
        struct eng_bytes back = {0};
        uint8_t bytes[40];
        size_t len = 1 + eng_chance(&chance) % sizeof bytes;
        size_t cut = eng_chance(&chance) % (len + 1);
        size_t bad_at;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(eng_chance(&chance) % 3 ? 0x80 | eng_chance(&chance)
                                                         : eng_chance(&chance));
        eng_decode(decoder, bytes, cut, &text);
        eng_decode(decoder, bytes + cut, len - cut, &text);
        eng_decode_end(decoder, &text);
        for (size_t i = 0; i < text.len;) {
            size_t n = eng_utf8_next(text.data + i, text.len - i);

            if (n == 0) {
                uint8_t byte = (uint8_t)((text.data[i + 1] & 3) << 6 | (text.data[i + 2] & 0x3f));

                eng_bytes_add(&back, &byte, 1);
                i += 3;
            } else {
                assert_true(eng_encode_text("gbk", text.data + i, n, &back, &bad_at));
                i += n;
            }
        }
        assert_int_equal(back.len, len);
        assert_memory_equal(back.data, bytes, len);
        eng_bytes_free(&text);
        eng_bytes_free(&back);
        eng_coder_close(decoder);
    }
}

static void
a_character_split_between_two_reads_is_encoded_whole(void **state)
{
    static const char text[] = "a中文z";
    static const uint8_t want[] = {'a', 0xd6, 0xd0, 0xce, 0xc4, 'z'};

    (void)state;
    for (size_t slice = 1; slice < sizeof text; slice++) {
        struct eng_coder *coder = eng_encoder_open("gbk");
        struct eng_bytes out = {0};
        size_t bad_at;

        for (size_t at = 0; at < sizeof text - 1; at += slice) {
            size_t n = sizeof text - 1 - at < slice ? sizeof text - 1 - at : slice;

            assert_true(eng_encode(coder, text + at, n, &out, &bad_at));
        }
        assert_true(eng_encode_end(coder, &out));
        assert_int_equal(out.len, sizeof want);
        assert_memory_equal(out.data, want, sizeof want);
        eng_bytes_free(&out);
        eng_coder_close(coder);
    }
}

static void
a_character_without_a_code_has_its_place(void **state)
{
    struct eng_bytes out = {0};
    size_t bad_at = 99;

    (void)state;
    assert_false(eng_encode_text("gbk", "中é😀x", 10, &out, &bad_at));
    assert_int_equal(bad_at, 5);
    assert_int_equal(eng_column("中é😀x", bad_at), 3);
    assert_false(eng_encode_text("gbk", "ab\xff", 3, &out, &bad_at));
    assert_int_equal(bad_at, 2);
    assert_false(eng_encode_text("gbk", "ab\xe4\xb8", 4, &out, &bad_at));
    assert_int_equal(bad_at, 2);
    assert_int_equal(out.len, 0);
    assert_true(eng_encode_text(NULL, "ab\xff", 3, &out, &bad_at));
    assert_int_equal(out.len, 3);
    eng_bytes_free(&out);
}

static void
an_unknown_charset_is_named_with_the_nearest(void **state)
{
    struct eng_mistake m;

    (void)state;
    assert_true(eng_charset_check("gbk", &m));
    assert_true(eng_charset_check("GB18030", &m));
    assert_true(eng_charset_check("Shift_JIS", &m));
    assert_false(eng_charset_check("gbkk", &m));
    assert_int_equal(m.wrong, ENG_WRONG_CHARSET);
    assert_string_equal(m.near, "gbk");
    assert_false(eng_charset_check("frobnicate", &m));
    assert_string_equal(m.near, "");
    assert_false(eng_charset_check("", &m));
    assert_false(eng_charset_check("gbk//IGNORE", &m)); /* it would lose bytes */
}

static void
undecoded_bytes_are_shown_and_text_is_safe(void **state)
{
    struct eng_coder *coder = eng_decoder_open("gbk");
    struct eng_bytes text = {0};
    struct eng_bytes shown = {0};

    (void)state;
    eng_decode(coder, "\x1b[2J\\\xff\xd6\xd0", 8, &text);
    assert_false(eng_decoded_is_whole(text.data, text.len));
    eng_decoded_add(&shown, text.data, text.len, true);
    eng_bytes_add(&shown, "", 1);
    assert_string_equal((const char *)shown.data, "\\x1b[2J\\\\\\xff中");
    eng_bytes_free(&text);
    eng_bytes_free(&shown);
    eng_coder_close(coder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_does_not_depend_on_slicing),
        cmocka_unit_test(no_byte_is_ever_lost),
        cmocka_unit_test(a_character_split_between_two_reads_is_encoded_whole),
        cmocka_unit_test(a_character_without_a_code_has_its_place),
        cmocka_unit_test(an_unknown_charset_is_named_with_the_nearest),
        cmocka_unit_test(undecoded_bytes_are_shown_and_text_is_safe),
    };

    return cmocka_run_group_tests_name("charset", tests, NULL, NULL);
}
