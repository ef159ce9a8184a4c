/*
 * frame_wrap_test.c - what is sent comes out as it was, and what would not is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frame_feed.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* The length of the message in five letters, 'a' for 0, and "." behind it. */
static int
split_letters(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame,
              size_t *need)
{
    size_t value = 0;

    (void)user;
    for (size_t i = 0; i < 5; i++) {
        if (i == len) {
            return 0;
        }
        if (bytes[i] < 'a' || bytes[i] > 'p') {
            return OUTLET_EPROTO;
        }
        value = value << 4 | (size_t)(bytes[i] - 'a');
    }
    *need = 5 + value + 1;
    if (len < *need) {
        return 0;
    }
    *frame = (struct outlet_frame){.skip = 5, .message = value, .tail = 1};
    return bytes[5 + value] == '.' ? 1 : OUTLET_EPROTO;
}

static int
wrap_letters(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
             uint8_t *tail, size_t *tail_len)
{
    (void)user;
    (void)bytes;
    for (size_t i = 0; i < 5; i++) {
        head[i] = (uint8_t)('a' + (len >> (4 * (4 - i)) & 15));
    }
    *head_len = 5;
    tail[0] = '.';
    *tail_len = 1;
    return OUTLET_OK;
}

static const struct outlet_framing letters = {.size = sizeof(struct outlet_framing),
                                              .split = split_letters,
                                              .wrap = wrap_letters};

static struct ol_framing
framing(const char *text, size_t max)
{
    struct ol_framing f;
    size_t bad_at = 0;

    if (ol_framing_parse(text, max, &letters, &f, &bad_at)) {
        fail_msg("%s: refused at %zu", text, bad_at);
    }
    return f;
}

/* Append head, message and tail to `wire`; the code of ol_frame_wrap. */
static outlet_err
wrap_to(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len, uint8_t *wire,
        size_t *wire_len)
{
    struct ol_frame_wrap wrap;
    outlet_err err = ol_frame_wrap(f, pieces, n, len, &wrap);

    if (err) {
        return err;
    }
    memcpy(wire + *wire_len, wrap.head, wrap.head_len);
    *wire_len += wrap.head_len;
    for (int i = 0; i < n; i++) {
        memcpy(wire + *wire_len, pieces[i].iov_base, pieces[i].iov_len);
        *wire_len += pieces[i].iov_len;
    }
    memcpy(wire + *wire_len, wrap.tail, wrap.tail_len);
    *wire_len += wrap.tail_len;
    return OUTLET_OK;
}

/* Cut a message into at most `most` pieces by chance, empty ones among them. */
static int
cut_by_chance(struct ol_rng *rng, uint8_t *bytes, size_t len, struct iovec *pieces, int most)
{
    int n = 0;

    while (len > 0 && n < most - 1) {
        size_t part = (size_t)ol_rng_below(rng, ol_min(len, 7) + 1);

        pieces[n++] = (struct iovec){.iov_base = bytes, .iov_len = part};
        bytes += part;
        len -= part;
    }
    if (len > 0) {
        pieces[n++] = (struct iovec){.iov_base = bytes, .iov_len = len};
    }
    return n;
}

static const struct {
    const char *text;
    size_t max;
    const uint8_t *message;
    size_t len;
    int err;
    const uint8_t *wire;
    size_t wire_len;
} cases[] = {
    {"none", 1, BYTES("abc"), 0, BYTES("abc")},
    {"idle:20ms", 3, BYTES("abc"), 0, BYTES("abc")},
    {"idle:20ms", 3, BYTES("abcd"), OUTLET_EMSGSIZE, BYTES("")},
    {"idle:20ms", 3, BYTES(""), OUTLET_EINVAL, BYTES("")},
    {"fixed:3", 9, BYTES("abc"), 0, BYTES("abc")},
    {"fixed:3", 9, BYTES("ab"), OUTLET_EINVAL, BYTES("")},
    {"fixed:3", 9, BYTES("abcd"), OUTLET_EINVAL, BYTES("")},
    {"line", 9, BYTES(""), 0, BYTES("\n")},
    {"line", 9, BYTES("a\rb"), 0, BYTES("a\rb\n")},
    {"line", 9, BYTES("a\nb"), OUTLET_EINVAL, BYTES("")},
    {"line", 9, BYTES("ab\r"), OUTLET_EINVAL, BYTES("")},
    {"delim:--", 9, BYTES(""), 0, BYTES("--")},
    {"delim:--", 9, BYTES("-a"), 0, BYTES("-a--")},
    {"delim:--", 9, BYTES("a-"), OUTLET_EINVAL, BYTES("")},
    {"delim:--", 9, BYTES("a--b"), OUTLET_EINVAL, BYTES("")},
    {"delim:aba", 9, BYTES("xab"), OUTLET_EINVAL, BYTES("")},
    {"delim:abc", 9, BYTES("xab"), 0, BYTES("xababc")},
    {"between:<<..>>", 9, BYTES("a<<b"), 0, BYTES("<<a<<b>>")},
    {"between:<<..>>", 9, BYTES("a>"), OUTLET_EINVAL, BYTES("")},
    {"between:<<..>>", 9, BYTES(""), 0, BYTES("<<>>")},
    {"len:1", 999, BYTES("ab"), 0, BYTES("\2ab")},
    {"len:2be", 999, BYTES("ab"), 0, BYTES("\0\2ab")},
    {"len:3le", 999, BYTES("ab"), 0, BYTES("\2\0\0ab")},
    {"len:8be", 999, BYTES(""), 0, BYTES("\0\0\0\0\0\0\0\0")},
    {"len:4be-4", 999, BYTES("ab"), 0, BYTES("\0\0\0\6ab")},
    {"len:1@2", 999, BYTES("ab"), 0, BYTES("\0\0\2ab")},
    {"len:2le@1+3/6", 999, BYTES("ab"), 0, BYTES("\0\2\0\0\0\0ab")},
    {"len:1+3", 999, BYTES("abcd"), 0, BYTES("\1abcd")},
    {"len:1+3", 999, BYTES("ab"), OUTLET_EINVAL, BYTES("")},
    {"len:1@1/0", 999, BYTES("x\2ab"), 0, BYTES("x\2ab")},
    {"len:1@1/0", 999, BYTES("x\3ab"), OUTLET_EINVAL, BYTES("")},
    {"len:1@1/0", 999, BYTES("x"), OUTLET_EINVAL, BYTES("")},
    {"len:1@1/0", 999, BYTES(""), OUTLET_EINVAL, BYTES("")},
    {"len:1@2/1", 999, BYTES("x\2ab"), 0, BYTES("\0x\2ab")},
    {"varint", 999, BYTES(""), 0, BYTES("\0")},
    {"varint", 999, BYTES("ab"), 0, BYTES("\2ab")},
    {"hp:123", 999, BYTES("ab"), 0, BYTES("\2\0\300\36ab")},
    {"hp:123", 999, BYTES(""), OUTLET_EINVAL, BYTES("")},
    {"custom", 999, BYTES("ab"), 0, BYTES("aaaacab.")},
};

static void
wraps_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_framing f = framing(cases[i].text, cases[i].max);
        struct iovec piece = {.iov_base = (void *)cases[i].message, .iov_len = cases[i].len};
        uint8_t wire[256];
        size_t len = 0;
        outlet_err err = wrap_to(&f, &piece, 1, cases[i].len, wire, &len);

        if (err != cases[i].err) {
            fail_msg("case %zu, %s: code %d", i, cases[i].text, err);
        }
        if (len != cases[i].wire_len || memcmp(wire, cases[i].wire, len) != 0) {
            fail_msg("case %zu, %s: other bytes", i, cases[i].text);
        }
    }
}

static void
an_empty_message_may_have_no_pieces(void **state)
{
    static const char *const texts[] = {"line",   "delim:--", "between:<..>", "len:2be",
                                        "varint", "custom",   "none"};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(texts); i++) {
        struct ol_framing f = framing(texts[i], 9);
        struct ol_frame_wrap wrap;

        assert_int_equal(ol_frame_wrap(&f, NULL, 0, 0, &wrap), OUTLET_OK);
    }
}

/* Framings for the properties below; `letters` is what messages are made of. */
static const struct {
    const char *text;
    const char *letters;
} kinds[] = {
    {"fixed:5", "ab"},
    {"line", "a\r\n"},
    {"delim:|", "a|"},
    {"delim:%0D%0A", "a\r\n"},
    {"delim:aab", "ab"},
    {"delim:abaab", "ab"},
    {"delim:0123456789abcdef0123456789abcdeX", "01"},
    {"between:a..b", "abc"},
    {"between:ab..ba", "ab"},
    {"len:1", "ab"},
    {"len:2be", "ab"},
    {"len:3le-3", "ab"},
    {"len:4be+2", "ab"},
    {"len:8le@3", "ab"},
    {"len:2le@1+3/6", "ab"},
    {"len:2be@3/0", "ab"},
    {"len:2be@3-5/2", "ab"},
    {"len:1/0", "ab"},
    {"varint", "ab"},
    {"hp:700", "ab"},
    {"custom", "ab"},
};

/* A message that holds its length field cannot be had by chance: wrap one that does not, and keep
 * what this framing would not strip. */
static size_t
message_by_chance(struct ol_rng *rng, const struct ol_framing *f, const char *from, uint8_t *bytes,
                  size_t most)
{
    size_t len = (size_t)ol_rng_below(rng, most + 1);
    size_t letters_len = strlen(from);
    struct ol_framing usual = *f;
    struct ol_frame_wrap wrap;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)from[ol_rng_below(rng, letters_len)];
    }
    if (f->kind != OL_FRAME_LEN || f->strip > f->offset) {
        return len;
    }
    usual.strip = (uint16_t)(f->offset + f->width);
    if (ol_frame_wrap(&usual, NULL, 0, len, &wrap) == OUTLET_OK) {
        memmove(bytes + wrap.head_len - f->strip, bytes, len);
        memcpy(bytes, wrap.head + f->strip, wrap.head_len - f->strip);
        len += wrap.head_len - f->strip;
    }
    return len;
}

static void
what_is_wrapped_comes_out_as_it_was(void **state)
{
    static struct feed feed;
    static uint8_t wire[FEED_BYTES_MAX];
    size_t taken[OL_COUNT(kinds)] = {0};
    struct ol_rng rng;

    (void)state;
    ol_rng_seed(&rng, 1);
    for (size_t round = 0; round < 200 * OL_COUNT(kinds); round++) {
        size_t kind = round % OL_COUNT(kinds);
        struct ol_framing f = framing(kinds[kind].text, 100);
        uint8_t sent[10][64];
        size_t sent_len[10];
        size_t count = 0;
        size_t wire_len = 0;

        for (size_t i = 0; i < 30 && count < 10; i++) {
            struct iovec pieces[8];
            size_t len = message_by_chance(&rng, &f, kinds[kind].letters, sent[count], 12);
            int n = cut_by_chance(&rng, sent[count], len, pieces, f.custom.wrap ? 1 : 8);

            if (wrap_to(&f, pieces, n, len, wire, &wire_len) == OUTLET_OK) {
                sent_len[count++] = len;
            }
        }
        feed_all(&feed, &f, wire, wire_len, 1 + round % 40, &rng);
        if (feed.broken || feed.err || feed.count != count || feed.used != wire_len) {
            fail_msg("%s, round %zu: %s, code %d, %zu of %zu messages", kinds[kind].text, round,
                     feed.broken ? feed.broken : "", feed.err, feed.count, count);
        }
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(feed.messages[i].len, sent_len[i]);
            assert_memory_equal(wire + feed.messages[i].at, sent[i], sent_len[i]);
        }
        taken[kind] += count;
    }
    for (size_t i = 0; i < OL_COUNT(kinds); i++) {
        if (taken[i] < 100) {
            fail_msg("%s: only %zu messages could be sent", kinds[i].text, taken[i]);
        }
    }
}

/* Neither too much nor too little: refused exactly when the frame would be cut elsewhere. */
static void
a_mark_in_the_way_is_found_in_any_pieces(void **state)
{
    static struct feed feed;
    struct ol_rng rng;
    size_t refused = 0;
    size_t taken = 0;

    (void)state;
    ol_rng_seed(&rng, 2);
    for (size_t round = 0; round < 20000; round++) {
        size_t kind = 1 + round % 8; /* line, delim and between */
        struct ol_framing f = framing(kinds[kind].text, 100);
        uint8_t bytes[64];
        uint8_t wire[256];
        struct iovec pieces[8];
        struct ol_frame_wrap wrap;
        size_t len = message_by_chance(&rng, &f, kinds[kind].letters, bytes, 12);
        int n = cut_by_chance(&rng, bytes, len, pieces, 8);
        size_t wire_len = 0;
        bool want;
        outlet_err err;

        assert_int_equal(ol_frame_wrap(&f, NULL, 0, 0, &wrap), OUTLET_OK);
        memcpy(wire, wrap.head, wrap.head_len);
        memcpy(wire + wrap.head_len, bytes, len);
        memcpy(wire + wrap.head_len + len, wrap.tail, wrap.tail_len);
        wire_len = wrap.head_len + len + wrap.tail_len;
        feed_all(&feed, &f, wire, wire_len, wire_len, NULL);
        want = feed.count == 1 && feed.used == wire_len && feed.messages[0].len == len;

        err = ol_frame_wrap(&f, pieces, n, len, &wrap);
        if (err != (want ? OUTLET_OK : OUTLET_EINVAL)) {
            fail_msg("%s, round %zu: code %d for %.*s", kinds[kind].text, round, err, (int)len,
                     (char *)bytes);
        }
        *(want ? &taken : &refused) += 1;
    }
    assert_true(taken > 1000);
    assert_true(refused > 1000);
}

static void
limits_are_exact_in_both_directions(void **state)
{
    static const char *const texts[] = {"line",   "delim:%0D%0A", "delim:123456", "between:<<..>>",
                                        "len:1",  "len:4le",      "len:2be@4-6",  "len:2le@1+3/6",
                                        "varint", "hp:5",         "custom"};
    static struct feed feed;
    enum { MAX = 130 };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(texts); i++) {
        struct ol_framing f = framing(texts[i], MAX);
        struct ol_framing wide = framing(texts[i], 1000);

        for (size_t len = MAX - 1; len <= MAX + 1; len++) {
            uint8_t message[MAX + 1];
            uint8_t wire[256];
            struct iovec piece = {.iov_base = message, .iov_len = len};
            struct ol_frame_wrap wrap;
            size_t wire_len = 0;
            int want = len > MAX ? OUTLET_EMSGSIZE : OUTLET_OK;

            memset(message, 'x', sizeof message);
            if (ol_frame_wrap(&f, &piece, 1, len, &wrap) != want) {
                fail_msg("%s: sending %zu bytes", texts[i], len);
            }
            assert_int_equal(wrap_to(&wide, &piece, 1, len, wire, &wire_len), OUTLET_OK);
            for (size_t slice = 1; slice <= wire_len; slice++) {
                feed_all(&feed, &f, wire, wire_len, slice, NULL);
                if (feed.broken || feed.err != want || feed.count != (len <= MAX)) {
                    fail_msg("%s: receiving %zu bytes by %zu: code %d %s", texts[i], len, slice,
                             feed.err, feed.broken ? feed.broken : "");
                }
            }
        }
    }
}

static void
what_the_field_cannot_say_is_too_long(void **state)
{
    static const struct {
        const char *text;
        size_t most;
    } fields[] = {
        {"len:1", 255},          {"len:2be", 65535}, {"len:3be", 16777215},
        {"len:4be", UINT32_MAX}, {"len:1-1", 254},   {"len:1+9", 264},
        {"len:1/4", 252},        {"hp:0", 4194303},  {"len:2le@1+3/6", 65535},
    };

    (void)state;
    for (size_t i = 0; i < OL_COUNT(fields); i++) {
        struct ol_framing f = framing(fields[i].text, SIZE_MAX);
        struct ol_frame_wrap wrap;

        /* None of these looks at the bytes. */
        assert_int_equal(ol_frame_wrap(&f, NULL, 0, fields[i].most, &wrap), OUTLET_OK);
        assert_int_equal(ol_frame_wrap(&f, NULL, 0, fields[i].most + 1, &wrap), OUTLET_EMSGSIZE);
    }
}

static void
huge_lengths_do_not_overflow(void **state)
{
    struct ol_framing f = framing("len:8be-9", SIZE_MAX);
    struct ol_frame_wrap wrap;

    (void)state;
    assert_int_equal(ol_frame_hold_max(&f), SIZE_MAX);
    assert_int_equal(ol_frame_wrap(&f, NULL, 0, SIZE_MAX - 8, &wrap), OUTLET_EMSGSIZE);
    assert_int_equal(ol_frame_wrap(&f, NULL, 0, SIZE_MAX, &wrap), OUTLET_EMSGSIZE);
    assert_int_equal(ol_frame_wrap(&f, NULL, 0, SIZE_MAX - 9, &wrap), OUTLET_OK);
    f = framing("varint", SIZE_MAX);
    assert_int_equal(ol_frame_wrap(&f, NULL, 0, SIZE_MAX, &wrap), OUTLET_OK);
    assert_int_equal(wrap.head_len, 10);
}

static int
wrap_wrongly(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
             uint8_t *tail, size_t *tail_len)
{
    const int *what = user;

    (void)bytes;
    (void)len;
    (void)head;
    (void)tail;
    *head_len = *what == 1 ? OUTLET_FRAME_HEAD_MAX + 1 : 0;
    *tail_len = *what == 2 ? OUTLET_FRAME_TAIL_MAX + 1 : 0;
    return *what == 3 ? 7 : *what == 4 ? OUTLET_EPERM : OUTLET_OK;
}

static void
a_custom_function_is_not_trusted(void **state)
{
    static const int want[] = {OUTLET_OK, OUTLET_EINVAL, OUTLET_EINVAL, OUTLET_EINVAL,
                               OUTLET_EPERM};

    (void)state;
    for (int what = 0; what < (int)OL_COUNT(want); what++) {
        const struct outlet_framing custom = {
            .size = sizeof custom, .user = &what, .split = split_letters, .wrap = wrap_wrongly};
        struct ol_framing f;
        struct ol_frame_wrap wrap;
        size_t bad_at;

        assert_int_equal(ol_framing_parse("custom", 9, &custom, &f, &bad_at), OUTLET_OK);
        assert_int_equal(ol_frame_wrap(&f, NULL, 0, 0, &wrap), want[what]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wraps_what_the_table_says),
        cmocka_unit_test(an_empty_message_may_have_no_pieces),
        cmocka_unit_test(what_is_wrapped_comes_out_as_it_was),
        cmocka_unit_test(a_mark_in_the_way_is_found_in_any_pieces),
        cmocka_unit_test(limits_are_exact_in_both_directions),
        cmocka_unit_test(what_the_field_cannot_say_is_too_long),
        cmocka_unit_test(huge_lengths_do_not_overflow),
        cmocka_unit_test(a_custom_function_is_not_trusted),
    };

    return cmocka_run_group_tests_name("frame_wrap", tests, NULL, NULL);
}
