/*
 * json_test.c - the exact lines that programs read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
expect_line(const struct eng_event *event, enum eng_form form, const char *want)
{
    struct eng_bytes out = {0};

    eng_json_event(&out, event, form, NULL);
    eng_bytes_add(&out, "", 1);
    assert_string_equal((const char *)out.data, want);
    eng_bytes_free(&out);
}

static struct eng_event
message(const char *bytes, size_t size)
{
    return (struct eng_event){
        .kind = ENG_MESSAGE, .id = 7, .peer = "", .bytes = (const uint8_t *)bytes, .size = size};
}

static void
payload_is_text_when_it_is_utf8_and_hex_when_not(void **state)
{
    struct eng_event text = message("a\"\\\n\x01\x7f\xe4\xb8\xad", 9);
    struct eng_event bytes = message("\xff\x00", 2);
    struct eng_event empty = message("", 0);

    (void)state;
    expect_line(&text, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":9,"
                "\"text\":\"a\\\"\\\\\\n\\u0001\\u007f\xe4\xb8\xad\"}\n");
    expect_line(&bytes, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":2,"
                "\"hex\":\"ff00\"}\n");
    expect_line(&empty, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":0,"
                "\"text\":\"\"}\n");
}

static void
the_form_can_be_chosen(void **state)
{
    struct eng_event e = message("hi", 2);

    (void)state;
    e.out = true;
    expect_line(&e, ENG_FORM_HEX,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"out\",\"size\":2,"
                "\"hex\":\"6869\"}\n");
    expect_line(&e, ENG_FORM_BOTH,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"out\",\"size\":2,"
                "\"text\":\"hi\",\"hex\":\"6869\"}\n");
}

static void
an_address_that_is_not_utf8_is_written_out(void **state)
{
    struct eng_event e = {.kind = ENG_OPEN, .id = 1, .peer = "@\xff", .local = "x"};

    (void)state;
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"open\",\"id\":1,\"peer\":\"@\\\\xff\",\"local\":\"x\"}\n");
}

static void
a_close_says_code_phase_side_and_text(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_event e = {.kind = ENG_CLOSE, .id = 2, .peer = "", .why = &why};

    (void)state;
    why.code = OUTLET_ERESET;
    why.phase = OUTLET_AT_OPEN;
    why.side = OUTLET_BY_PEER;
    snprintf(why.text, sizeof why.text, "gone");
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"close\",\"id\":2,\"code\":\"OUTLET_ERESET\","
                "\"phase\":\"open\",\"side\":\"peer\",\"text\":\"gone\"}\n");
}

static void
an_error_says_where_in_the_url(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_event e = {.kind = ENG_ERROR, .why = &why};

    (void)state;
    why.code = OUTLET_EINVAL;
    why.position = 12;
    snprintf(why.key, sizeof why.key, "frame");
    snprintf(why.text, sizeof why.text, "no such framing");
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"error\",\"code\":\"OUTLET_EINVAL\",\"position\":12,"
                "\"key\":\"frame\",\"text\":\"no such framing\"}\n");
}

static void
decoded_text_has_its_bytes_beside_it_unless_it_says_all(void **state)
{
    struct eng_event e = message("\xd6\xd0", 2);

    (void)state;
    e.text = (const uint8_t *)"中";
    e.text_len = 3;
    e.text_whole = true;
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":2,"
                "\"text\":\"中\"}\n");
    expect_line(&e, ENG_FORM_HEX,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":2,"
                "\"hex\":\"d6d0\"}\n");
    e.text = (const uint8_t *)"\xed\xb3\xbf"; /* the byte ff, which is no character */
    e.text_whole = false;
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":2,"
                "\"text\":\"\\\\xff\",\"hex\":\"d6d0\"}\n");
}

static void
a_checked_message_says_what_it_has_and_should_have(void **state)
{
    struct eng_event e = message("hi\x12", 3);
    struct eng_mistake mistake;
    struct eng_sum sum;

    (void)state;
    assert_true(eng_sum_parse("crc16/modbus", &sum, &mistake));
    e.check = ENG_BAD;
    e.sum = &sum;
    e.sum_has = 0x12;
    e.sum_want = 0xabcd;
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":3,"
                "\"text\":\"hi\\u0012\",\"check\":\"bad\",\"sum\":\"crc16/modbus\","
                "\"has\":\"0012\",\"want\":\"abcd\"}\n");
    e.check = ENG_GOOD;
    e.hidden = 1; /* the size is that of the message, what is shown is without it */
    expect_line(&e, ENG_FORM_HEX,
                "{\"v\":1,\"event\":\"message\",\"id\":7,\"dir\":\"in\",\"size\":3,"
                "\"hex\":\"6869\",\"check\":\"good\",\"sum\":\"crc16/modbus\","
                "\"has\":\"0012\",\"want\":\"abcd\"}\n");
}

static void
a_close_tells_what_never_became_a_character(void **state)
{
    struct outlet_reason why = OUTLET_REASON;
    struct eng_event e = {.kind = ENG_CLOSE,
                          .id = 2,
                          .peer = "",
                          .why = &why,
                          .text = (const uint8_t *)"\xed\xb3\x96",
                          .text_len = 3};

    (void)state;
    expect_line(&e, ENG_FORM_AUTO,
                "{\"v\":1,\"event\":\"close\",\"id\":2,\"code\":\"OUTLET_OK\",\"text\":\"\","
                "\"rest\":\"\\\\xd6\"}\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payload_is_text_when_it_is_utf8_and_hex_when_not),
        cmocka_unit_test(the_form_can_be_chosen),
        cmocka_unit_test(an_address_that_is_not_utf8_is_written_out),
        cmocka_unit_test(a_close_says_code_phase_side_and_text),
        cmocka_unit_test(an_error_says_where_in_the_url),
        cmocka_unit_test(decoded_text_has_its_bytes_beside_it_unless_it_says_all),
        cmocka_unit_test(a_checked_message_says_what_it_has_and_should_have),
        cmocka_unit_test(a_close_tells_what_never_became_a_character),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
