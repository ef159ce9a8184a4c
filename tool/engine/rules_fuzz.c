/*
 * rules_fuzz.c - any text as a file of rules; what stands behind its first NUL is a message.
 *
 * Property: a mistake has its line and column; what was taken acts on a message as the same file
 * read anew does, and a file read with a message counts no more matches than it was asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

enum { TIMES = 3 };

static void
demand(bool holds)
{
    if (!holds)
        abort();
}

static struct eng_rules *
read_rules(const uint8_t *text, size_t len, const char *charset)
{
    const struct eng_rules_opts opts = {.charset = charset, .eol = "\n"};
    struct eng_rules_mistake m;
    struct eng_rules *rules = eng_rules_parse(text, len, &opts, &m);

    demand((rules != NULL) == (m.mistake.wrong == ENG_WRONG_NOTHING));
    demand(rules || (m.line > 0 && m.column > 0));
    return rules;
}

static void
check_counts(struct eng_rules *rules)
{
    uint64_t matches = 0;

    for (size_t i = 0; i < eng_rules_count(rules); i++) {
        demand(eng_preset_name_is_good(eng_rules_at(rules, i)->name));
        matches += eng_rules_at(rules, i)->counts.matches;
    }
    demand(matches <= TIMES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    const uint8_t *end;
    const char *charset;
    struct eng_rules *rules[2];

    if (len < 2 || len > 4096)
        return 0;
    charset = in[0] % 4 == 0 ? "gbk" : NULL;
    in++;
    len--;
    end = memchr(in, '\0', len);
    rules[0] = read_rules(in, end ? (size_t)(end - in) : len, charset);
    if (!rules[0])
        return 0;
    rules[1] = read_rules(in, end ? (size_t)(end - in) : len, charset);
    demand(rules[1] != NULL);
    for (int i = 0; end && i < TIMES; i++) {
        size_t left = len - (size_t)(end + 1 - in);
        struct eng_rule_acts *a = eng_rules_match(rules[0], false, end + 1, left, NULL, NULL);
        struct eng_rule_acts *b = eng_rules_match(rules[1], false, end + 1, left, NULL, NULL);

        demand((a != NULL) == (b != NULL) && (!a || strcmp(a->name, b->name) == 0));
    }
    check_counts(rules[0]);
    eng_rules_free(rules[0]);
    eng_rules_free(rules[1]);
    return 0;
}
