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

bool
eng_rules_forward(const struct eng_rules *rules, enum eng_rule_forward where)
{
    return rules && rules->forwards[where];
}

struct eng_rule_acts *
eng_rules_at(struct eng_rules *rules, size_t i)
{
    return &rules->rules[i].acts;
}

static bool
is_at(const struct eng_bytes *text, const uint8_t *bytes, size_t len, size_t at)
{
    return len - at >= text->len && (!text->len || memcmp(bytes + at, text->data, text->len) == 0);
}

/* A message while rules are tried on it: what several of them ask is found out once. */
struct looked_at {
    struct eng_rules *rules;
    bool out;
    const uint8_t *bytes;
    size_t len;
    size_t bare;     /* without the end of a line */
    bool is_decoded; /* with a charset characters are looked for, and not their bytes */
    void (*gave_up)(void *user, const struct eng_rule_acts *acts);
    void *user;
};

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

/* What cannot be had memory for shows in decoded.failed. */
static void
decode(struct looked_at *m)
{
    struct eng_coder *coder = eng_decoder_open(m->rules->opts.charset);
    struct eng_bytes *text = &m->rules->decoded;
    struct eng_bytes decoded = {0};

    m->is_decoded = true;
    text->failed = !coder;
    if (!coder)
        return;
    eng_decode(coder, m->bytes, m->len, &decoded);
    eng_decode_end(coder, &decoded);
    eng_decoded_add(text, decoded.data, decoded.len, false);
    text->failed |= decoded.failed;
    eng_bytes_free(&decoded);
    eng_coder_close(coder);
}

static enum eng_found
find(struct looked_at *m, struct rule *r)
{
    struct eng_bytes *text = &m->rules->decoded;
    const uint8_t *bytes = m->bytes;
    size_t len = m->len;
    enum eng_found found;

    if (m->rules->opts.charset) {
        if (!m->is_decoded)
            decode(m);
        if (text->failed)
            return ENG_FOUND_TOO_LONG;
        bytes = text->data;
        len = text->len;
    }
    found = eng_regex_find(r->regex, bytes, len);
    for (int i = 0; found == ENG_FOUND && i < ENG_CAPTURES; i++) {
        size_t at = 0;

        r->acts.match[i].len = 0;
        if (eng_regex_group(r->regex, i, &at, &r->acts.match[i].len))
            r->acts.match[i].bytes = bytes + at;
    }
    return found;
}

static bool
regex_holds(struct looked_at *m, struct rule *r)
{
    enum eng_found found = find(m, r);

    if (found == ENG_FOUND_TOO_LONG && r->acts.counts.gave_up++ == 0 && m->gave_up)
        m->gave_up(m->user, &r->acts);
    return found == ENG_FOUND;
}

/* The regular expression is the dearest and comes last. */
static bool
holds(struct looked_at *m, struct rule *r)
{
    if (r->not_of[m->out])
        return false;
    if (r->has_size && (m->len < r->size_least || m->len > r->size_most))
        return false;
    if (!texts_hold(r, m->bytes, m->len, m->bare))
        return false;
    if (r->has_tokens && !rule_glob_holds(r->tokens, r->token_count, m->bytes, m->len))
        return false;
    for (size_t i = 0; i < r->field_count; i++) {
        if (!rule_field_holds(&r->fields[i], m->bytes, m->len))
            return false;
    }
    return !r->regex || regex_holds(m, r);
}

struct eng_rule_acts *
eng_rules_match(struct eng_rules *rules, bool out, const uint8_t *bytes, size_t len,
                void (*gave_up)(void *user, const struct eng_rule_acts *acts), void *user)
{
    struct eng_rule_acts *acts = NULL;
    struct looked_at m = {.rules = rules,
                          .out = out,
                          .bytes = bytes,
                          .len = len,
                          .bare = eng_without_eol(bytes, len, rules->opts.eol),
                          .gave_up = gave_up,
                          .user = user};

    eng_bytes_free(&rules->decoded);
    for (size_t i = 0; i < rules->count && !acts; i++) {
        struct rule *r = &rules->rules[i];

        if (r->times && r->acts.counts.matches >= (uint64_t)r->times)
            continue;
        if (!holds(&m, r))
            continue;
        r->held++;
        if (r->every && r->held % (uint64_t)r->every != 0)
            continue;
        r->acts.counts.matches++;
        acts = &r->acts;
    }
    return acts;
}
