/*
 * regex_pcre2.c - regular expressions by PCRE2, step by step.
 *
 * Each step of the matcher is reported to us (PCRE2_AUTO_CALLOUT) and charged, with the bytes that
 * were walked since the last one.  What would make steps disappear is turned off, so that the count
 * depends on the pattern and the message alone.  Compiled to machine code it would be faster and
 * would count otherwise: it is not.  Its memory is taken where all of the engine's is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "regex.h"

#include "engine.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { HEAP_KIB = 64 * 1024, PATTERN_MAX = 16 * 1024 };

struct eng_regex {
    pcre2_general_context *memory;
    pcre2_compile_context *compile;
    pcre2_code *codes[2]; /* of bytes (NULL: it has characters), of characters */
    pcre2_match_data *data;
    pcre2_match_context *context;
    int found;      /* groups, of those that `data` has room for */
    uint64_t spent; /* on the message that is looked at */
    size_t last;
};

static void *
take(size_t size, void *user)
{
    (void)user;
    return eng_alloc(size);
}

static void
give_back(void *p, void *user)
{
    (void)user;
    eng_free(p);
}

static int
charge(pcre2_callout_block *block, void *user)
{
    struct eng_regex *r = user;
    size_t at = block->current_position;

    r->spent += 1 + (at > r->last ? at - r->last : r->last - at);
    r->last = at;
    return r->spent > ENG_REGEX_STEPS ? PCRE2_ERROR_CALLOUT : 0;
}

static pcre2_code *
compile(const struct eng_regex *r, const char *pattern, uint32_t options,
        struct eng_mistake *mistake)
{
    int error = 0;
    size_t at = 0;
    PCRE2_UCHAR text[sizeof mistake->near];
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern),
                                     options | PCRE2_AUTO_CALLOUT | PCRE2_NO_START_OPTIMIZE |
                                         PCRE2_NO_AUTO_POSSESS,
                                     &error, &at, r->compile);

    if (code)
        return code;
    if (error == PCRE2_ERROR_NOMEMORY || error == 121) /* the same while it compiles */
        return NULL;
    *mistake = (struct eng_mistake){.wrong = ENG_WRONG_REGEX, .at = at};
    if (pcre2_get_error_message(error, text, sizeof text) < 0)
        snprintf((char *)text, sizeof text, "error %d", error);
    snprintf(mistake->near, sizeof mistake->near, "%s", (const char *)text);
    return NULL;
}

struct eng_regex *
eng_regex_new(const char *pattern, struct eng_mistake *mistake)
{
    struct eng_regex *r;

    *mistake = (struct eng_mistake){0};
    if (strlen(pattern) > PATTERN_MAX) {
        *mistake = (struct eng_mistake){.wrong = ENG_WRONG_LONG, .at = PATTERN_MAX};
        return NULL;
    }
    r = eng_alloc(sizeof *r);
    if (!r)
        return NULL;
    r->memory = pcre2_general_context_create(take, give_back, NULL);
    r->compile = r->memory ? pcre2_compile_context_create(r->memory) : NULL;
    if (!r->compile)
        goto failed;
    r->codes[1] = compile(r, pattern, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, mistake);
    if (r->codes[1])
        r->codes[0] = compile(r, pattern, PCRE2_NEVER_UTF, mistake);
    if (!r->codes[1] || (!r->codes[0] && !mistake->wrong))
        goto failed;
    *mistake = (struct eng_mistake){0}; /* what only characters can be is never found in bytes */
    r->data = pcre2_match_data_create(ENG_CAPTURES, r->memory);
    r->context = pcre2_match_context_create(r->memory);
    if (!r->data || !r->context)
        goto failed;
    (void)pcre2_set_heap_limit(r->context, HEAP_KIB); /* these two only ever answer 0 */
    (void)pcre2_set_callout(r->context, charge, r);
    return r;

failed:
    eng_regex_free(r);
    return NULL;
}

void
eng_regex_free(struct eng_regex *r)
{
    if (!r)
        return;
    pcre2_match_context_free(r->context);
    pcre2_match_data_free(r->data);
    pcre2_code_free(r->codes[0]);
    pcre2_code_free(r->codes[1]);
    pcre2_compile_context_free(r->compile);
    pcre2_general_context_free(r->memory);
    eng_free(r);
}

enum eng_found
eng_regex_find(struct eng_regex *r, const uint8_t *bytes, size_t len)
{
    bool text = eng_utf8_valid(bytes, len);
    int result;

    if (!r->codes[text])
        return ENG_FOUND_NOT;
    r->spent = 0;
    r->last = 0;
    result = pcre2_match(r->codes[text], len ? bytes : (const uint8_t *)"", len, 0,
                         text ? PCRE2_NO_UTF_CHECK : 0, r->data, r->context);
    if (result >= 0) {
        r->found = result ? result : ENG_CAPTURES;
        return ENG_FOUND;
    }
    return result == PCRE2_ERROR_NOMATCH ? ENG_FOUND_NOT : ENG_FOUND_TOO_LONG;
}

int
eng_regex_groups(const struct eng_regex *r)
{
    uint32_t count = 0;

    (void)pcre2_pattern_info(r->codes[1], PCRE2_INFO_CAPTURECOUNT, &count); /* it is one */
    return count < ENG_CAPTURES ? (int)count : ENG_CAPTURES - 1;
}

bool
eng_regex_group(const struct eng_regex *r, int n, size_t *at, size_t *len)
{
    const size_t *pairs = pcre2_get_ovector_pointer(r->data);
    size_t from;
    size_t to;

    if (n >= r->found)
        return false;
    from = pairs[2 * n];
    to = pairs[2 * n + 1];
    if (from == PCRE2_UNSET || to < from) /* \K in a lookahead: it ends before it begins */
        return false;
    *at = from;
    *len = to - from;
    return true;
}
