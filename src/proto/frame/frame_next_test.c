/*
 * frame_next_test.c - bytes on the wire against the messages that must come out.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frame_feed.h"

#define WIRE(text) (const uint8_t *)(text), sizeof(text) - 1

/* A netstring ("5:hello,"), and after '!' what a broken program might answer. */
static int
split_netstring(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame,
                size_t *need)
{
    size_t value = 0;
    size_t i = 0;

    (void)user;
    for (; i < len && bytes[i] >= '0' && bytes[i] <= '9' && i < 9; i++) {
        value = 10 * value + (size_t)(bytes[i] - '0');
    }
    if (i == len) {
        return 0;
    }
    if (i == 0 || bytes[i] != ':') {
        return OUTLET_EPROTO;
    }
    *need = i + value + 2;
    if (len < *need) {
        return 0;
    }
    *frame = (struct outlet_frame){.skip = i + 1, .message = value, .tail = 1};
    return bytes[i + 1 + value] == ',' ? 1 : OUTLET_EPROTO;
}

static int
wrap_nothing(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
             uint8_t *tail, size_t *tail_len)
{
    (void)user;
    (void)bytes;
    (void)len;
    (void)head;
    (void)head_len;
    (void)tail;
    (void)tail_len;
    return OUTLET_OK;
}

static const struct outlet_framing netstring = {.size = sizeof(struct outlet_framing),
                                                .split = split_netstring,
                                                .wrap = wrap_nothing};

static struct ol_framing
framing(const char *text, size_t max)
{
    struct ol_framing f;
    size_t bad_at = 0;

    if (ol_framing_parse(text, max, &netstring, &f, &bad_at)) {
        fail_msg("%s: refused at %zu", text, bad_at);
    }
    return f;
}

/* `want` is every message in brackets, then "..." when bytes of an unfinished one are left. */
static const struct {
    const char *text;
    size_t max;
    const uint8_t *wire;
    size_t len;
    int err;
    const uint8_t *want;
    size_t want_len;
} cases[] = {
    {"fixed:3", 9, WIRE("abcdefg"), 0, WIRE("[abc][def]...")},
    {"fixed:1", 1, WIRE("ab"), 0, WIRE("[a][b]")},

    {"idle:20ms", 3, WIRE("abc"), 0, WIRE("...")},
    {"idle:20ms", 3, WIRE("abcd"), OUTLET_EMSGSIZE, WIRE("...")},

    {"line", 9, WIRE("a\nbc\r\n\n\r\nd"), 0, WIRE("[a][bc][][]...")},
    {"line", 9, WIRE("a\rb\r\r\n"), 0, WIRE("[a\rb\r]")},
    {"line", 9, WIRE("a\0b\n"), 0, WIRE("[a\0b]")},
    {"line", 3, WIRE("abc\nabc\r\nab\r\n"), 0, WIRE("[abc][abc][ab]")},
    {"line", 3, WIRE("a\nabcd\n"), OUTLET_EMSGSIZE, WIRE("[a]...")},
    {"line", 3, WIRE("abc\r\r\n"), OUTLET_EMSGSIZE, WIRE("...")},
    {"line", 3, WIRE("abc\rd"), OUTLET_EMSGSIZE, WIRE("...")},
    {"line", 3, WIRE("abc\r"), 0, WIRE("...")},

    {"delim:%0D%0A", 9, WIRE("a\r\nb\rc\n\r\n\r\nd\r"), 0, WIRE("[a][b\rc\n][]...")},
    {"delim:|", 9, WIRE("|a||"), 0, WIRE("[][a][]")},
    {"delim:%00", 9, WIRE("ab\0c\0"), 0, WIRE("[ab][c]")},
    {"delim:aab", 9, WIRE("aaab"), 0, WIRE("[a]")},
    {"delim:--", 9, WIRE("a---b--"), 0, WIRE("[a][-b]")},
    {"delim:--", 3, WIRE("abc--"), 0, WIRE("[abc]")},
    {"delim:--", 3, WIRE("abcd--"), OUTLET_EMSGSIZE, WIRE("...")},
    {"delim:--", 3, WIRE("abc-d"), OUTLET_EMSGSIZE, WIRE("...")},
    {"delim:--", 3, WIRE("abc-"), 0, WIRE("...")},
    {"delim:ab", 99, WIRE("aaaaaaaaaaaaaaaaaaaaaaaaab"), 0, WIRE("[aaaaaaaaaaaaaaaaaaaaaaaa]")},
    {"delim:ab", 99, WIRE("acacacacacacacacacacacacacacacacacaab"), 0,
     WIRE("[acacacacacacacacacacacacacacacacaca]")},
    {"delim:aaab", 3, WIRE("aaaaab"), 0, WIRE("[aa]")},
    {"delim:aaab", 3, WIRE("aaaaaaa"), OUTLET_EMSGSIZE, WIRE("...")},
    {"delim:0123456789abcdef0123456789abcdeX", 9, WIRE("a0123456789abcdef0123456789abcdeXb"), 0,
     WIRE("[a]...")},

    {"len:1", 255, WIRE("\3abc\0\1x\2y"), 0, WIRE("[abc][][x]...")},
    {"len:2be", 9, WIRE("\0\2ab\0\0"), 0, WIRE("[ab][]")},
    {"len:2le", 9, WIRE("\2\0ab"), 0, WIRE("[ab]")},
    {"len:3be", 9, WIRE("\0\0\2ab"), 0, WIRE("[ab]")},
    {"len:3le", 9, WIRE("\2\0\0ab"), 0, WIRE("[ab]")},
    {"len:4be", 9, WIRE("\0\0\0\2ab\0"), 0, WIRE("[ab]...")},
    {"len:4le", 9, WIRE("\2\0\0\0ab"), 0, WIRE("[ab]")},
    {"len:8be", 9, WIRE("\0\0\0\0\0\0\0\2ab"), 0, WIRE("[ab]")},
    {"len:8le", 9, WIRE("\2\0\0\0\0\0\0\0ab"), 0, WIRE("[ab]")},
    {"len:2be", 3, WIRE("\0\3abc\0\4"), OUTLET_EMSGSIZE, WIRE("[abc]...")},
    {"len:8be", SIZE_MAX, WIRE("\xff\xff\xff\xff\xff\xff\xff\xff"), OUTLET_EMSGSIZE, WIRE("...")},
    {"len:8be+9", SIZE_MAX, WIRE("\xff\xff\xff\xff\xff\xff\xff\xf7"), OUTLET_EMSGSIZE, WIRE("...")},
    {"len:8be", 9, WIRE("\x80\0\0\0\0\0\0\0"), OUTLET_EMSGSIZE, WIRE("...")},
    {"len:1-1", 9, WIRE("\1\2a\0"), OUTLET_EPROTO, WIRE("[][a]...")},
    {"len:1/3", 9, WIRE("\2xx\3xxa\1"), OUTLET_EPROTO, WIRE("[][a]...")},
    {"len:1@2", 9, WIRE("xx\1ayy\0"), 0, WIRE("[a][]")},
    {"len:1@2/0", 9, WIRE("xx\1ayy\0"), 0, WIRE("[xx\1a][yy\0]")},
    {"len:1@2/1", 9, WIRE("xx\1ayy\0"), 0, WIRE("[x\1a][y\0]")},
    {"len:1@2/2", 9, WIRE("xx\1ayy\0"), 0, WIRE("[\1a][\0]")},
    {"len:1@2/5", 9, WIRE("xx\3zza"), 0, WIRE("[a]")},
    {"len:2le@1+3/6", 9, WIRE("T\2\0hhhab"), 0, WIRE("[ab]")},
    {"len:4be/0", 3, WIRE("\0\0\0\0"), OUTLET_EMSGSIZE, WIRE("...")},

    /* The seven examples in the documentation of Netty's LengthFieldBasedFrameDecoder. */
    {"len:2be/0", 20, WIRE("\0\x0cHELLO, WORLD"), 0, WIRE("[\0\x0cHELLO, WORLD]")},
    {"len:2be", 20, WIRE("\0\x0cHELLO, WORLD"), 0, WIRE("[HELLO, WORLD]")},
    {"len:2be-2/0", 20, WIRE("\0\x0eHELLO, WORLD"), 0, WIRE("[\0\x0eHELLO, WORLD]")},
    {"len:3be@2/0", 20, WIRE("\xca\xfe\0\0\x0cHELLO, WORLD"), 0,
     WIRE("[\xca\xfe\0\0\x0cHELLO, WORLD]")},
    {"len:3be+2/0", 20, WIRE("\0\0\x0c\xca\xfeHELLO, WORLD"), 0,
     WIRE("[\0\0\x0c\xca\xfeHELLO, WORLD]")},
    {"len:2be@1+1/3", 20, WIRE("\xca\0\x0c\xfeHELLO, WORLD"), 0, WIRE("[\xfeHELLO, WORLD]")},
    {"len:2be@1-3/3", 20, WIRE("\xca\0\x10\xfeHELLO, WORLD"), 0, WIRE("[\xfeHELLO, WORLD]")},

    {"varint", 300, WIRE("\2ab\0\1c\5"), 0, WIRE("[ab][][c]...")},
    {"varint", 3, WIRE("\3abc\4"), OUTLET_EMSGSIZE, WIRE("[abc]...")},
    {"varint", 9, WIRE("\x82\0ab"), OUTLET_EPROTO, WIRE("...")},
    {"varint", 9, WIRE("\x80\x80\x80"), 0, WIRE("...")},
    {"varint", 9, WIRE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), OUTLET_EMSGSIZE, WIRE("...")},
    {"varint", SIZE_MAX, WIRE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), OUTLET_EMSGSIZE,
     WIRE("...")},
    {"varint", 9, WIRE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), OUTLET_EPROTO, WIRE("...")},
    {"varint", 9, WIRE("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), OUTLET_EPROTO, WIRE("...")},

    {"between:%02..%03", 9, WIRE("\2ab\3\2\3\2c"), 0, WIRE("[ab][]...")},
    {"between:%02..%03", 9, WIRE("\2a\2b\3"), 0, WIRE("[a\2b]")},
    {"between:%02..%03", 9, WIRE("\2a\3b"), OUTLET_EPROTO, WIRE("[a]...")},
    {"between:<<..>>", 9, WIRE("<<a>b>><<>>"), 0, WIRE("[a>b][]")},
    {"between:<<..>>", 9, WIRE("<a>>"), OUTLET_EPROTO, WIRE("...")},
    {"between:<<..>>", 3, WIRE("<<abc>><<abcd"), OUTLET_EMSGSIZE, WIRE("[abc]...")},
    {"between:aa..aa", 3, WIRE("aaaa"), 0, WIRE("[]")},
    {"between:aa..aa", 3, WIRE("aaa"), 0, WIRE("...")},
    {"between:a..ab", 3, WIRE("abab"), 0, WIRE("[b]")},

    {"hp:123", 9, WIRE("\2\0\300\36ab"), 0, WIRE("[ab]")},
    {"hp:1023", 9, WIRE("\1\0\300\377a\1\0\300"), 0, WIRE("[a]...")},
    {"hp:0", 9, WIRE("\1\0\0\0a"), 0, WIRE("[a]")},
    {"hp:0", 9, WIRE("\1\0\x40\0a"), OUTLET_EPROTO, WIRE("...")},
    {"hp:123", 9, WIRE("\2\0\200\36ab"), OUTLET_EPROTO, WIRE("...")},
    {"hp:123", 9, WIRE("\0\0\xc0\x1e"), OUTLET_EPROTO, WIRE("...")},
    {"hp:123", 9, WIRE("\xff\xff\xff\x1e"), OUTLET_EMSGSIZE, WIRE("...")},

    {"custom", 9, WIRE("2:ab,0:,1:c"), 0, WIRE("[ab][]...")},
    {"custom", 9, WIRE("2:abc"), OUTLET_EPROTO, WIRE("...")},
    {"custom", 9, WIRE("10:0123456789,"), OUTLET_EMSGSIZE, WIRE("...")},
    {"custom", 9, WIRE("99999:"), OUTLET_EMSGSIZE, WIRE("...")},
};

static size_t
render(const struct feed *feed, const uint8_t *wire, size_t len, uint8_t *text)
{
    size_t n = 0;

    for (size_t i = 0; i < feed->count; i++) {
        text[n++] = '[';
        memcpy(text + n, wire + feed->messages[i].at, feed->messages[i].len);
        n += feed->messages[i].len;
        text[n++] = ']';
    }
    if (feed->used < len) {
        memcpy(text + n, "...", 3);
        n += 3;
    }
    return n;
}

static void
cuts_what_the_table_says(void **state)
{
    static struct feed feed;
    uint8_t text[256];

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_framing f = framing(cases[i].text, cases[i].max);
        size_t n;

        feed_all(&feed, &f, cases[i].wire, cases[i].len, cases[i].len, NULL);
        n = render(&feed, cases[i].wire, cases[i].len, text);
        if (feed.broken) {
            fail_msg("case %zu, %s: %s", i, cases[i].text, feed.broken);
        }
        if (feed.err != cases[i].err) {
            fail_msg("case %zu, %s: got %d, want %d", i, cases[i].text, feed.err, cases[i].err);
        }
        if (n != cases[i].want_len || memcmp(text, cases[i].want, n) != 0) {
            fail_msg("case %zu, %s: got \"%.*s\"", i, cases[i].text, (int)n, (char *)text);
        }
    }
}

/* Every truncation, in every slice size, is judged as the same bytes at once. */
static void
verdict_does_not_depend_on_slicing(void **state)
{
    static struct feed whole;
    static struct feed sliced;

    (void)state;
    for (size_t i = 0; i < OL_COUNT(cases); i++) {
        struct ol_framing f = framing(cases[i].text, cases[i].max);

        for (size_t len = 1; len <= cases[i].len; len++) {
            feed_all(&whole, &f, cases[i].wire, len, len, NULL);
            for (size_t slice = 1; slice < len; slice++) {
                feed_all(&sliced, &f, cases[i].wire, len, slice, NULL);
                if (sliced.broken || !feed_same(&whole, &sliced)) {
                    fail_msg("case %zu, %s: %zu bytes by %zu: %s", i, cases[i].text, len, slice,
                             sliced.broken ? sliced.broken : "another verdict");
                }
            }
        }
    }
}

static void
a_stream_gives_whatever_is_there(void **state)
{
    static struct feed feed;
    struct ol_framing f = framing("none", 2);

    (void)state;
    feed_all(&feed, &f, WIRE("abcde"), 3, NULL);
    assert_null(feed.broken);
    assert_int_equal(feed.err, 0);
    assert_int_equal(feed.count, 2);
    assert_int_equal(feed.messages[0].len, 3);
    assert_int_equal(feed.messages[1].len, 2);
}

static void
no_bytes_give_no_message(void **state)
{
    static const char *const texts[] = {"none",   "fixed:3",          "line", "delim:|", "len:1",
                                        "varint", "between:%02..%03", "hp:1", "custom"};

    (void)state;
    for (size_t i = 0; i < OL_COUNT(texts); i++) {
        struct ol_framing f = framing(texts[i], 9);
        struct ol_frame_scan scan = {0};
        struct outlet_frame frame;

        assert_int_equal(ol_frame_next(&f, &scan, (const uint8_t *)"", 0, &frame), 0);
    }
}

/* Byte by byte: after how many is a message too long or the protocol broken? */
static void
errors_fall_as_soon_as_they_can_be_known(void **state)
{
    static const struct {
        const char *text;
        size_t max;
        const uint8_t *wire;
        size_t len;
        int err;
        size_t after;
    } early[] = {
        {"line", 3, WIRE("abcdefgh"), OUTLET_EMSGSIZE, 4},
        {"line", 3, WIRE("abc\refgh"), OUTLET_EMSGSIZE, 5},
        {"delim:|", 3, WIRE("abcdefgh"), OUTLET_EMSGSIZE, 4},
        {"delim:1234", 3, WIRE("abcdefgh"), OUTLET_EMSGSIZE, 4},
        {"delim:1234", 3, WIRE("abc123gh"), OUTLET_EMSGSIZE, 7},
        {"delim:1234", 3, WIRE("a123ghij"), OUTLET_EMSGSIZE, 5},
        {"between:<..1234", 3, WIRE("<abc123gh"), OUTLET_EMSGSIZE, 8},
        {"between:<<<..>", 3, WIRE("<<abc>"), OUTLET_EPROTO, 3},
        {"len:2be", 3, WIRE("\0\4abcd"), OUTLET_EMSGSIZE, 2},
        {"len:2be@3-5", 3, WIRE("xxx\0\4abcd"), OUTLET_EPROTO, 5},
        {"varint", 3, WIRE("\4abcd"), OUTLET_EMSGSIZE, 1},
        {"varint", 3, WIRE("\x81\x80\0abcd"), OUTLET_EPROTO, 3},
        {"hp:0", 3, WIRE("\4\0\0\0abcd"), OUTLET_EMSGSIZE, 4},
        {"custom", 3, WIRE("999:"), OUTLET_EMSGSIZE, 4},
    };
    static struct feed feed;

    (void)state;
    for (size_t i = 0; i < OL_COUNT(early); i++) {
        struct ol_framing f = framing(early[i].text, early[i].max);

        feed_all(&feed, &f, early[i].wire, early[i].len, 1, NULL);
        if (feed.broken || feed.err != early[i].err || feed.err_after != early[i].after) {
            fail_msg("case %zu, %s: %s, code %d after %zu", i, early[i].text,
                     feed.broken ? feed.broken : "", feed.err, feed.err_after);
        }
    }
}

static void
what_a_frame_needs_is_told_once_it_is_known(void **state)
{
    static const struct {
        const char *text;
        const uint8_t *wire;
        size_t len;
        size_t need;
    } needs[] = {
        {"fixed:100", WIRE("a"), 100},
        {"len:2be", WIRE("\0"), 0},
        {"len:2be", WIRE("\0\x10"), 18},
        {"len:2be@1-3/0", WIRE("x\0\x10yy"), 16},
        {"varint", WIRE("\x80"), 0},
        {"varint", WIRE("\x80\1"), 130},
        {"hp:0", WIRE("\x10\0\0\0a"), 20},
        {"line", WIRE("abc"), 0},
        {"delim:|", WIRE("abc"), 0},
        {"custom", WIRE("10:abc"), 14},
        {"between:%02..%03", WIRE("\2abc"), 0},
    };
    static struct feed feed;

    (void)state;
    for (size_t i = 0; i < OL_COUNT(needs); i++) {
        struct ol_framing f = framing(needs[i].text, 1000);

        feed_all(&feed, &f, needs[i].wire, needs[i].len, 1, NULL);
        if (feed.broken || feed.err || feed.need != needs[i].need) {
            fail_msg("%s: code %d, need %zu", needs[i].text, feed.err, feed.need);
        }
    }
}

/* Bytes looked at are those behind scan->searched, which must not fall back. */
static void
a_line_of_a_mebibyte_byte_by_byte_is_searched_once(void **state)
{
    static const char *const texts[] = {"line", "delim:%0D%0A", "delim:0123456789abcdef",
                                        "between:x..yz"};
    enum { N = 1 << 20 };
    uint8_t *bytes = test_malloc(N);

    (void)state;
    memset(bytes, 'x', N);
    for (size_t t = 0; t < OL_COUNT(texts); t++) {
        struct ol_framing f = framing(texts[t], N);
        struct ol_frame_scan scan = {0};
        struct outlet_frame frame;
        size_t looked_at = 0;
        int answer = 0;

        for (size_t len = 1; len <= N && answer == 0; len++) {
            looked_at += len - scan.searched;
            answer = ol_frame_next(&f, &scan, bytes, len, &frame);
        }
        assert_int_equal(answer, 0);
        assert_in_range(looked_at, N, (size_t)N * OL_FRAME_MARK_MAX);
    }
    test_free(bytes);
}

/* What the program's own function may get wrong, by the first byte. */
static int
split_wrongly(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame,
              size_t *need)
{
    (void)user;
    switch (bytes[0]) {
    case 'n': /* a frame of nothing */
        return 1;
    case 'l': /* longer than what is there */
        frame->message = len + 1;
        return 1;
    case 'o': /* its sum overflows */
        frame->skip = SIZE_MAX;
        frame->message = 2;
        return 1;
    case '2':
        frame->message = len;
        return 2;
    case 's': /* more around the message than may be held */
        frame->skip = len;
        return 1;
    case 'f': /* needs what it has */
        *need = len;
        return 0;
    default: /* never content */
        return 0;
    }
}

static void
a_custom_function_is_not_trusted(void **state)
{
    static const struct {
        char first;
        size_t len;
        int want;
    } wrong[] = {
        {'n', 5, OUTLET_EINVAL}, {'l', 5, OUTLET_EINVAL},
        {'o', 5, OUTLET_EINVAL}, {'2', 5, OUTLET_EINVAL},
        {'s', 138, 1},           {'s', 139, OUTLET_EMSGSIZE},
        {'f', 137, 0},           {'f', 138, OUTLET_EMSGSIZE},
        {'x', 137, 0},           {'x', 138, OUTLET_EMSGSIZE},
    };
    const struct outlet_framing custom = {
        .size = sizeof custom, .split = split_wrongly, .wrap = wrap_nothing};
    struct ol_framing f;
    size_t bad_at;

    (void)state;
    assert_int_equal(ol_framing_parse("custom", 10, &custom, &f, &bad_at), OUTLET_OK);
    assert_int_equal(ol_frame_hold_max(&f), 138);
    for (size_t i = 0; i < OL_COUNT(wrong); i++) {
        uint8_t bytes[200] = {(uint8_t)wrong[i].first};
        struct ol_frame_scan scan = {0};
        struct outlet_frame frame;
        int got = ol_frame_next(&f, &scan, bytes, wrong[i].len, &frame);

        if (got != wrong[i].want || scan.need != 0) {
            fail_msg("%c, %zu bytes: got %d", wrong[i].first, wrong[i].len, got);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_what_the_table_says),
        cmocka_unit_test(verdict_does_not_depend_on_slicing),
        cmocka_unit_test(a_stream_gives_whatever_is_there),
        cmocka_unit_test(no_bytes_give_no_message),
        cmocka_unit_test(errors_fall_as_soon_as_they_can_be_known),
        cmocka_unit_test(what_a_frame_needs_is_told_once_it_is_known),
        cmocka_unit_test(a_line_of_a_mebibyte_byte_by_byte_is_searched_once),
        cmocka_unit_test(a_custom_function_is_not_trusted),
    };

    return cmocka_run_group_tests_name("frame_next", tests, NULL, NULL);
}
