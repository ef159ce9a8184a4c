/*
 * rules_fuzz.c - any text as a file of rules; what stands behind its first NUL is a message.
 *
 * Property: a mistake has its line and column; what was taken acts on a message as the same file
 * read anew does, answers the same, forwards to an address, and passes on in a relay alone; a file
 * read with a message counts no more matches than it was asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <errno.h>
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

/* No file is opened: of two letters there is one. */
static int
load_some(const char *path, size_t most, struct eng_bytes *out)
{
    demand(most >= 4);
    if (strlen(path) != 2)
        return ENOENT;
    return eng_bytes_add(out, path, 2) ? 0 : ENOMEM;
}

static struct eng_rules *
read_rules(const uint8_t *text, size_t len, const char *charset, enum eng_rules_for who)
{
    const struct eng_rules_opts opts = {
        .who = who, .charset = charset, .eol = "\n", .load = load_some};
    struct eng_rules_mistake m;
    struct eng_rules *rules = eng_rules_parse(text, len, &opts, &m);

    demand((rules != NULL) == (m.mistake.wrong == ENG_WRONG_NOTHING));
    demand(rules || (m.line > 0 && m.column > 0));
    return rules;
}

static void
check_acts(const struct eng_rule_acts *a, enum eng_rules_for who)
{
    demand(!a->passes || who == ENG_RULES_RELAY);
    demand(a->forward != ENG_FORWARD_OTHERS || who == ENG_RULES_LISTEN);
    demand((a->forward == ENG_FORWARD_URL) == (a->forward_url != NULL));
    demand(!a->forward_url ||
           outlet_url_check(a->forward_url, OUTLET_TO_CONNECT, NULL) == OUTLET_OK);
    demand(!a->template || a->replies);
}

/* What two of the same answer to the same message is the same. */
static void
check_answers(const struct eng_rule_acts *a, const struct eng_rule_acts *b)
{
    uint64_t chance[2] = {1, 1};
    struct eng_context x = {.n = 1, .client = 1, .peer = "p", .chance = &chance[0]};
    struct eng_bytes out[2] = {{0}, {0}};
    bool made;

    if (!a->template)
        return;
    x.match = a->match;
    made = eng_template_render(a->template, &x, &out[0]);
    x.chance = &chance[1];
    x.match = b->match;
    demand(eng_template_render(b->template, &x, &out[1]) == made);
    demand(out[0].len == out[1].len &&
           (!out[0].len || memcmp(out[0].data, out[1].data, out[0].len) == 0));
    eng_bytes_free(&out[0]);
    eng_bytes_free(&out[1]);
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
    enum eng_rules_for who;
    struct eng_rules *rules[2];

    if (len < 2 || len > 4096)
        return 0;
    charset = in[0] % 4 == 0 ? "gbk" : NULL;
    who = (enum eng_rules_for)(in[0] / 4 % 3);
    in++;
    len--;
    end = memchr(in, '\0', len);
    rules[0] = read_rules(in, end ? (size_t)(end - in) : len, charset, who);
    if (!rules[0])
        return 0;
    rules[1] = read_rules(in, end ? (size_t)(end - in) : len, charset, who);
    demand(rules[1] != NULL);
    for (int i = 0; end && i < TIMES; i++) {
        size_t left = len - (size_t)(end + 1 - in);
        struct eng_rule_acts *a = eng_rules_match(rules[0], i % 2, end + 1, left, NULL, NULL);
        struct eng_rule_acts *b = eng_rules_match(rules[1], i % 2, end + 1, left, NULL, NULL);

        demand((a != NULL) == (b != NULL) && (!a || strcmp(a->name, b->name) == 0));
        if (a) {
            check_acts(a, who);
            check_answers(a, b);
        }
    }
    check_counts(rules[0]);
    eng_rules_free(rules[0]);
    eng_rules_free(rules[1]);
    return 0;
}
