/*
 * rules_impl.h - a rule inside: what the file that reads it and the file that tries it share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_RULES_IMPL_H
#define ENG_RULES_IMPL_H

#include "engine.h"
#include "regex.h"

enum rule_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

struct rule_field {
    unsigned size; /* in bytes */
    bool is_signed;
    bool little;
    int64_t offset; /* from the end when below 0 */
    bool has_mask;
    uint64_t mask;
    enum rule_op op;
    uint64_t number; /* two's complement when signed */
};

struct rule_token {
    uint8_t value;
    uint8_t mask;
    bool any; /* run of bytes */
};

enum { TEXT_IS, TEXT_STARTS, TEXT_ENDS, TEXT_CONTAINS, RULE_TEXTS };

struct rule {
    struct eng_rule_acts acts; /* first */
    bool has_text[RULE_TEXTS];
    struct eng_bytes texts[RULE_TEXTS];
    struct rule_token *tokens;
    size_t token_count;
    bool has_tokens;
    struct eng_regex *regex;
    struct rule_field *fields;
    size_t field_count;
    bool not_of[2]; /* directions: in, out */
    bool has_size;
    size_t size_least;
    size_t size_most;
    int64_t times; /* 0: without end */
    int64_t every; /* 0: each */
    uint64_t held; /* how often its conditions held */
    struct eng_bytes reply;
    struct eng_template *template;
    struct eng_sum *append; /* its own; NULL: what the command line says, or none */
};

struct eng_rules {
    struct eng_rules_opts opts;
    struct eng_presets file; /* names point into it */
    struct rule *rules;
    size_t count;
    struct eng_bytes decoded; /* the message that was looked at last, with a charset */
    bool forwards[3];         /* by enum eng_rule_forward */
};

/* rules_field.c: the two notations of their own.  False: `mistake`, or no memory. */
bool rule_parse_fields(const char *text, struct rule *r, struct eng_mistake *mistake);
bool rule_parse_glob(const char *text, struct rule *r, struct eng_mistake *mistake);
bool rule_glob_holds(const struct rule_token *tokens, size_t count, const uint8_t *bytes,
                     size_t len);
bool rule_field_holds(const struct rule_field *f, const uint8_t *bytes, size_t len);

#endif
