/*
 * rules.c - which rule a message is for.
 *
 * A newcomer's mistake: to count a rule that was asked and did not act.  `every` and `times` speak
 * of how often its conditions held; `matches` is how often it acted, and where it does not act the
 * rules behind it are asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules_impl.h"

#include <string.h>

size_t
eng_rules_count(const struct eng_rules *rules)
{
    return rules->count;
}

struct eng_rule_acts *
eng_rules_at(struct eng_rules *rules, size_t i)
{
    return &rules->rules[i].acts;
}

static size_t
without_eol(const struct eng_rules *rules, const uint8_t *bytes, size_t len)
{
    size_t eol = rules->opts.eol ? strlen(rules->opts.eol) : 0;

    if (eol && len >= eol && memcmp(bytes + len - eol, rules->opts.eol, eol) == 0)
        return len - eol;
    return len;
}

static bool
is_at(const struct eng_bytes *text, const uint8_t *bytes, size_t len, size_t at)
{
    return len - at >= text->len && (!text->len || memcmp(bytes + at, text->data, text->len) == 0);
}

static bool
texts_hold(const struct rule *r, const uint8_t *bytes, size_t len, size_t bare)
{
    const struct eng_bytes *t = r->texts;

    if (r->has_text[TEXT_IS] && (t[TEXT_IS].len != bare || !is_at(&t[TEXT_IS], bytes, bare, 0)) &&
        (t[TEXT_IS].len != len || !is_at(&t[TEXT_IS], bytes, len, 0)))
        return false;
    if (r->has_text[TEXT_STARTS] && !is_at(&t[TEXT_STARTS], bytes, len, 0))
        return false;
    if (r->has_text[TEXT_ENDS] &&
        (t[TEXT_ENDS].len > bare || !is_at(&t[TEXT_ENDS], bytes, bare, bare - t[TEXT_ENDS].len)))
        return false;
    return !r->has_text[TEXT_CONTAINS] || !t[TEXT_CONTAINS].len ||
           (len && memmem(bytes, len, t[TEXT_CONTAINS].data, t[TEXT_CONTAINS].len));
}

/* With a charset, characters are looked for and not their bytes. */
static enum eng_found
find_decoded(const struct eng_rules *rules, struct rule *r, const uint8_t *bytes, size_t len)
{
    struct eng_coder *coder = eng_decoder_open(rules->opts.charset);
    struct eng_bytes decoded = {0};
    struct eng_bytes text = {0};
    enum eng_found found = ENG_FOUND_TOO_LONG;

    if (!coder)
        return found;
    eng_decode(coder, bytes, len, &decoded);
    eng_decode_end(coder, &decoded);
    eng_decoded_add(&text, decoded.data, decoded.len, false);
    if (!decoded.failed && !text.failed)
        found = eng_regex_find(r->regex, text.data, text.len);
    eng_bytes_free(&text);
    eng_bytes_free(&decoded);
    eng_coder_close(coder);
    return found;
}

static bool
regex_holds(const struct eng_rules *rules, struct rule *r, const uint8_t *bytes, size_t len)
{
    enum eng_found found = rules->opts.charset ? find_decoded(rules, r, bytes, len)
                                               : eng_regex_find(r->regex, bytes, len);

    if (found == ENG_FOUND_TOO_LONG)
        r->acts.gave_up_now = r->acts.counts.gave_up++ == 0;
    return found == ENG_FOUND;
}

/* The regular expression is the dearest and comes last. */
static bool
holds(const struct eng_rules *rules, struct rule *r, const uint8_t *bytes, size_t len)
{
    if (r->has_size && (len < r->size_least || len > r->size_most))
        return false;
    if (!texts_hold(r, bytes, len, without_eol(rules, bytes, len)))
        return false;
    if (r->has_tokens && !rule_glob_holds(r->tokens, r->token_count, bytes, len))
        return false;
    for (size_t i = 0; i < r->field_count; i++) {
        if (!rule_field_holds(&r->fields[i], bytes, len))
            return false;
    }
    return !r->regex || regex_holds(rules, r, bytes, len);
}

struct eng_rule_acts *
eng_rules_match(struct eng_rules *rules, const uint8_t *bytes, size_t len)
{
    struct eng_rule_acts *acts = NULL;

    for (size_t i = 0; i < rules->count; i++)
        rules->rules[i].acts.gave_up_now = false;
    for (size_t i = 0; i < rules->count && !acts; i++) {
        struct rule *r = &rules->rules[i];

        if (r->times && r->acts.counts.matches >= (uint64_t)r->times)
            continue;
        if (!holds(rules, r, bytes, len))
            continue;
        r->held++;
        if (r->every && r->held % (uint64_t)r->every != 0)
            continue;
        r->acts.counts.matches++;
        acts = &r->acts;
    }
    return acts;
}
