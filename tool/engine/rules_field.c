/*
 * rules_field.c - the notations that only rules have: numbers inside of a message, hex with places
 * for any byte.
 *
 *     u16be@2 == 0x0103, u8@-1 & 0x0f >= 10          01 03 ?? 0? *
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

struct field_reader {
    const char *text;
    const char *at;
    struct eng_mistake *mistake;
};

static bool
wrong_field(struct field_reader *r, enum eng_wrong what, const char *hint)
{
    *r->mistake = (struct eng_mistake){.wrong = what, .at = (size_t)(r->at - r->text)};
    snprintf(r->mistake->near, sizeof r->mistake->near, "%s", hint);
    return false;
}

static void
skip_space(struct field_reader *r)
{
    r->at += strspn(r->at, " \t");
}

static bool
read_type(struct field_reader *r, struct rule_field *f)
{
    static const struct {
        const char *name;
        unsigned size;
        bool is_signed;
        bool little;
    } types[] = {
        {"u8", 1, false, false},    {"i8", 1, true, false},     {"u16be", 2, false, false},
        {"u16le", 2, false, true},  {"i16be", 2, true, false},  {"i16le", 2, true, true},
        {"u32be", 4, false, false}, {"u32le", 4, false, true},  {"i32be", 4, true, false},
        {"i32le", 4, true, true},   {"u64be", 8, false, false}, {"u64le", 8, false, true},
        {"i64be", 8, true, false},  {"i64le", 8, true, true},
    };
    size_t len = strcspn(r->at, "@ \t,");

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strlen(types[i].name) != len || strncmp(types[i].name, r->at, len) != 0)
            continue;
        f->size = types[i].size;
        f->is_signed = types[i].is_signed;
        f->little = types[i].little;
        r->at += len;
        return true;
    }
    return wrong_field(r, ENG_WRONG_FIELD, "u8 u16be u16le u32be u32le u64be u64le, i8 .. i64le");
}

/* Decimal or 0x, nothing else: "010" is ten for people. */
static bool
read_digits(struct field_reader *r, uint64_t *out)
{
    bool hex = r->at[0] == '0' && (r->at[1] == 'x' || r->at[1] == 'X');
    const char *digits = r->at + (hex ? 2 : 0);
    size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");

    if (len == 0)
        return false;
    errno = 0;
    *out = strtoull(digits, NULL, hex ? 16 : 10);
    if (errno)
        return false;
    r->at = digits + len;
    return true;
}

static bool
read_offset(struct field_reader *r, struct rule_field *f)
{
    const char *begin;
    uint64_t n;
    bool minus;

    if (*r->at != '@')
        return wrong_field(r, ENG_WRONG_FIELD, "@ and where it begins");
    begin = ++r->at;
    minus = *r->at == '-';
    r->at += minus;
    if (!read_digits(r, &n) || n > INT32_MAX || (minus && n == 0)) {
        r->at = begin;
        return wrong_field(r, ENG_WRONG_FIELD, "a number of bytes, from 0; -1 is the last byte");
    }
    f->offset = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static uint64_t
most_of(const struct rule_field *f)
{
    uint64_t all = UINT64_MAX >> (64 - 8 * f->size);

    return f->is_signed ? all >> 1 : all;
}

static bool
read_mask(struct field_reader *r, struct rule_field *f)
{
    const char *begin;

    skip_space(r);
    if (*r->at != '&')
        return true;
    r->at++;
    skip_space(r);
    begin = r->at;
    if (!read_digits(r, &f->mask) || f->mask > UINT64_MAX >> (64 - 8 * f->size)) {
        r->at = begin;
        return wrong_field(r, ENG_WRONG_FIELD, "a mask no wider than the field");
    }
    f->has_mask = true;
    return true;
}

static bool
read_op(struct field_reader *r, struct rule_field *f)
{
    static const struct {
        const char *sign;
        enum rule_op op;
    } ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
               {">=", OP_GE}, {"<", OP_LT},  {">", OP_GT}};

    skip_space(r);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        size_t len = strlen(ops[i].sign);

        if (strncmp(r->at, ops[i].sign, len) == 0) {
            f->op = ops[i].op;
            r->at += len;
            return true;
        }
    }
    return wrong_field(r, ENG_WRONG_FIELD, "== != < <= > >=");
}

static bool
read_number(struct field_reader *r, struct rule_field *f)
{
    const char *begin;
    uint64_t most = most_of(f);
    bool minus;

    skip_space(r);
    begin = r->at;
    minus = f->is_signed && *r->at == '-';
    r->at += minus;
    if (!read_digits(r, &f->number) || f->number > most + (minus ? 1 : 0)) {
        r->at = begin;
        return wrong_field(r, ENG_WRONG_FIELD, "a number that the field can have");
    }
    if (minus)
        f->number = 0 - f->number;
    skip_space(r);
    return true;
}

bool
rule_parse_fields(const char *text, struct rule *r, struct eng_mistake *mistake)
{
    struct field_reader reader = {.text = text, .at = text, .mistake = mistake};

    r->fields = eng_alloc(ENG_RULE_FIELDS_MAX * sizeof *r->fields);
    if (!r->fields)
        return false;
    for (;;) {
        struct rule_field f = {0};

        skip_space(&reader);
        if (r->field_count == ENG_RULE_FIELDS_MAX)
            return wrong_field(&reader, ENG_WRONG_LONG, "");
        if (!read_type(&reader, &f) || !read_offset(&reader, &f) || !read_mask(&reader, &f) ||
            !read_op(&reader, &f) || !read_number(&reader, &f))
            return false;
        r->fields[r->field_count++] = f;
        if (!*reader.at)
            return true;
        if (*reader.at != ',')
            return wrong_field(&reader, ENG_WRONG_FIELD, "a comma, or the end");
        reader.at++;
    }
}

bool
rule_field_holds(const struct rule_field *f, const uint8_t *bytes, size_t len)
{
    uint64_t value = 0;
    size_t at;
    bool less;

    if (f->offset < 0 && (uint64_t)-f->offset > len)
        return false;
    at = f->offset < 0 ? len - (size_t)-f->offset : (size_t)f->offset;
    if (at > len || len - at < f->size)
        return false;
    for (size_t i = 0; i < f->size; i++)
        value = value << 8 | bytes[at + (f->little ? f->size - 1 - i : i)];
    if (f->has_mask)
        value &= f->mask;
    if (f->is_signed && value & UINT64_C(1) << (8 * f->size - 1))
        value |= ~(UINT64_MAX >> (64 - 8 * f->size));
    less = f->is_signed ? (int64_t)value < (int64_t)f->number : value < f->number;
    switch (f->op) {
    case OP_EQ:
        return value == f->number;
    case OP_NE:
        return value != f->number;
    case OP_LT:
        return less;
    case OP_LE:
        return less || value == f->number;
    case OP_GT:
        return !less && value != f->number;
    case OP_GE:
        return !less;
    }
    return false;
}

/* ---- hex with places ---- */

/* False: neither a digit nor '?'. */
static bool
read_nibble(char c, uint8_t *value, uint8_t *mask)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

    if (c != '?' && !digit)
        return false;
    *value = (uint8_t)(*value << 4 | (digit ? digit - digits : 0));
    *mask = (uint8_t)(*mask << 4 | (digit ? 0xf : 0));
    return true;
}

bool
rule_parse_glob(const char *text, struct rule *r, struct eng_mistake *mistake)
{
    const char *at = text;

    r->has_tokens = true;
    r->tokens = eng_alloc((strlen(text) + 1) * sizeof *r->tokens);
    if (!r->tokens)
        return false;
    for (at += strspn(at, " \t"); *at; at += strspn(at, " \t")) {
        struct rule_token t = {.any = *at == '*'};

        *mistake = (struct eng_mistake){.wrong = ENG_WRONG_GLOB, .at = (size_t)(at - text)};
        if (r->token_count == ENG_RULE_TOKENS_MAX) {
            mistake->wrong = ENG_WRONG_LONG;
            return false;
        }
        for (int i = 0; !t.any && i < 2; i++) {
            mistake->at = (size_t)(at - text);
            if (!read_nibble(*at, &t.value, &t.mask))
                return false;
            at++;
        }
        at += t.any;
        r->tokens[r->token_count++] = t;
    }
    *mistake = (struct eng_mistake){0};
    return true;
}

/* Where it fails, only the last run of any bytes takes one more: what stood in front of it has the
 * earliest place that it could have, and a later one would help nobody. */
bool
rule_glob_holds(const struct rule_token *tokens, size_t count, const uint8_t *bytes, size_t len)
{
    size_t t = 0;
    size_t b = 0;
    size_t star = SIZE_MAX; /* the token behind the last run */
    size_t begun = 0;       /* where that was tried last */

    while (b < len) {
        if (t < count && tokens[t].any) {
            star = ++t;
            begun = b;
        } else if (t < count && (bytes[b] & tokens[t].mask) == tokens[t].value) {
            t++;
            b++;
        } else if (star != SIZE_MAX) {
            t = star;
            b = ++begun;
        } else {
            return false;
        }
    }
    while (t < count && tokens[t].any)
        t++;
    return t == count;
}
