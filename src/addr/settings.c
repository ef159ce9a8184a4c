/*
 * settings.c - see settings.h.
 *
 * high, low and cap hang together: low <= high <= cap.  What the user said must agree, and a
 * default gives way to what was said: `high=32M` alone raises the cap to 32M, `cap=10K` alone
 * lowers the other two.  `high=off` and `cap=off` are above every number.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules.h"
#include "scheme.h"
#include "settings.h"

enum {
    VALUE_MAX = OL_OPTION_TEXT_MAX, /* the framing has its own limit */
    OPTS_SIZE_MAX = 4096            /* no version's struct; a size above it was never set */
};

void
ol_settings_init(struct ol_settings *s, enum ol_scheme scheme, enum outlet_role role)
{
    memset(s, 0, sizeof *s);
    s->scheme = scheme;
    s->role = role;
    memcpy(s->frame, "none", sizeof "none");
    for (size_t i = 0; i < OL_OPTIONS; i++) {
        s->of[i].key_at = -1;
        s->of[i].value_at = -1;
    }
}

static outlet_err
refuse_long_frame(ptrdiff_t at, struct outlet_reason *why)
{
    return ol_refuse(why, OUTLET_EINVAL, at, "frame", "the framing is longer than %d bytes",
                     OL_FRAME_TEXT_MAX);
}

/* As it is written: its escapes belong to the framing, where %00 is a fine delimiter. */
static outlet_err
read_frame(struct ol_settings *s, const struct ol_url *u, struct ol_part value,
           struct outlet_reason *why)
{
    const char *text = u->text + value.at;

    if (value.len > OL_FRAME_TEXT_MAX)
        return refuse_long_frame((ptrdiff_t)(value.at + OL_FRAME_TEXT_MAX), why);
    if (ol_same_word(text, value.len, "off"))
        return OUTLET_OK; /* "none" stands there already */
    memcpy(s->frame, text, value.len);
    s->frame[value.len] = '\0';
    return OUTLET_OK;
}

static outlet_err
refuse_more_rules(const struct ol_option *o, ptrdiff_t at, struct outlet_reason *why)
{
    return ol_refuse(why, OUTLET_EINVAL, at, o->key,
                     "`allow` and `deny` have more than %d entries together; join some of them "
                     "into shorter prefixes",
                     OL_RULES_MAX);
}

/* One entry of a list: the key may come again. */
static outlet_err
read_rule(struct ol_settings *s, const struct ol_option *o, const char *text, ptrdiff_t at,
          struct outlet_reason *why)
{
    struct ol_rule rule;

    if (++s->rules > OL_RULES_MAX)
        return refuse_more_rules(o, at, why);
    return ol_rule_read(o->key, text, at, &rule, why);
}

static outlet_err
read_value(struct ol_settings *s, const struct ol_url *u, enum ol_option_id id,
           struct ol_part value, struct outlet_reason *why)
{
    const struct ol_option *o = &ol_options[id];
    const struct ol_decode how = {"the value", o->key, VALUE_MAX, false};
    struct ol_setting *set = &s->of[id];
    char text[VALUE_MAX + 1];
    size_t len;
    outlet_err err;

    if (!value.present && o->type != OL_OPTION_SWITCH)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)(value.at), o->key,
                         "the key `%s` needs a value; write %s=...", o->key, o->key);
    if (value.present && value.len == 0)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)(value.at), o->key,
                         "the value of `%s` is empty; leave the key out for the default", o->key);
    if (o->type == OL_OPTION_FRAME)
        return read_frame(s, u, value, why);
    if (o->type == OL_OPTION_TEXT)
        return ol_part_decode(u, value, &how, set->text, &len, why);
    if (!value.present) {
        set->value = OUTLET_ON;
        return OUTLET_OK;
    }
    err = ol_part_decode(u, value, &how, text, &len, why);
    if (err)
        return err;
    if (o->type == OL_OPTION_LIST)
        return read_rule(s, o, text, (ptrdiff_t)value.at, why);
    err = ol_option_read(o, text, (ptrdiff_t)value.at, &set->value, why);
    if (err)
        return err;
    return ol_option_check(o, s->scheme, set->value, (ptrdiff_t)value.at, why);
}

static outlet_err
read_item(struct ol_settings *s, const struct ol_url *u, struct ol_part item,
          struct outlet_reason *why)
{
    struct ol_part key;
    struct ol_part value;
    enum ol_option_id id;
    struct ol_setting *set;
    outlet_err err;

    if (item.len == 0)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)item.at, "",
                         "an option is empty; take one of the commas away");
    ol_part_halve(u, item, &key, &value);
    err = ol_option_find(u->text + key.at, key.len, (ptrdiff_t)item.at, &id, why);
    if (err)
        return err;
    set = &s->of[id];
    if (set->given && ol_options[id].type == OL_OPTION_LIST)
        return read_value(s, u, id, value, why);
    if (set->given)
        return ol_refuse(why, OUTLET_EINVAL, (ptrdiff_t)item.at, ol_options[id].key,
                         "the key `%s` is given twice; keep one of them", ol_options[id].key);
    err = ol_option_allowed(&ol_options[id], s->scheme, s->role, (ptrdiff_t)item.at, why);
    if (err)
        return err;
    set->given = true;
    set->key_at = (ptrdiff_t)item.at;
    set->value_at = (ptrdiff_t)value.at;
    return read_value(s, u, id, value, why);
}

outlet_err
ol_settings_read(struct ol_settings *s, const struct ol_url *u, struct ol_part run,
                 struct outlet_reason *why)
{
    size_t at = run.at;
    struct ol_part item;
    outlet_err err = OUTLET_OK;

    while (!err && ol_part_next(u, run, &at, &item))
        err = read_item(s, u, item, why);
    return err;
}

static int64_t
number_at(const struct outlet_opts *opts, size_t offset)
{
    int64_t number;

    memcpy(&number, (const char *)opts + offset, sizeof number);
    return number;
}

/* Commas and the like in the caller's text become escapes, so that it can stand in a URL. */
static outlet_err
merge_frame(struct ol_settings *s, const char *frame, struct outlet_reason *why)
{
    const struct ol_option *o = &ol_options[OL_OPT_FRAME];
    struct ol_setting *set = &s->of[OL_OPT_FRAME];
    char copy[OL_FRAME_TEXT_MAX + 1];
    struct ol_text t;
    outlet_err err;

    if (!frame || strcmp(frame, "none") == 0 || strcmp(frame, "off") == 0)
        return OUTLET_OK;
    err = ol_option_allowed(o, s->scheme, s->role, -1, why);
    if (err)
        return err;
    if (frame[0] == '\0')
        return ol_refuse(why, OUTLET_EINVAL, -1, o->key,
                         "the value of `frame` is empty; leave it NULL for none");
    ol_text_init(&t, copy, sizeof copy);
    for (size_t i = 0; frame[i] != '\0' && t.len <= OL_FRAME_TEXT_MAX; i++) {
        if (strchr(",&#", frame[i]) || ol_is_control((unsigned char)frame[i]))
            ol_text_add_escaped(&t, &frame[i], 1, ",&#");
        else
            ol_text_add_bytes(&t, &frame[i], 1);
    }
    if (t.len > OL_FRAME_TEXT_MAX)
        return refuse_long_frame(-1, why);
    if (!set->given) {
        memcpy(s->frame, copy, t.len + 1);
        set->given = true;
    }
    return OUTLET_OK;
}

/* Where the URL has the list too, it wins, but a mistake in this one is told all the same. */
static outlet_err
merge_list(struct ol_settings *s, enum ol_option_id id, const char *text, struct outlet_reason *why)
{
    const struct ol_option *o = &ol_options[id];
    size_t before = s->rules;
    char item[VALUE_MAX + 1];
    outlet_err err;

    if (!text)
        return OUTLET_OK;
    err = ol_option_allowed(o, s->scheme, s->role, -1, why);
    while (!err && ol_list_next(&text, item, sizeof item))
        err = read_rule(s, o, item, -1, why);
    if (!err && s->rules == before)
        err = ol_refuse(why, OUTLET_EINVAL, -1, o->key,
                        "the list `%s` is empty; leave it NULL for none", o->key);
    if (s->of[id].given)
        s->rules = before;
    s->of[id].given = true;
    return err;
}

static outlet_err
merge_text(struct ol_settings *s, const struct ol_option *o, const char *text,
           struct outlet_reason *why)
{
    struct ol_setting *set = &s->of[o - ol_options];
    size_t len = text ? strnlen(text, OL_OPTION_TEXT_MAX + 1) : 0;
    outlet_err err;

    if (!text)
        return OUTLET_OK;
    err = ol_option_allowed(o, s->scheme, s->role, -1, why);
    if (err)
        return err;
    if (len == 0 || len > OL_OPTION_TEXT_MAX)
        return ol_refuse(why, OUTLET_EINVAL, -1, o->key,
                         "the value of `%s` has 1 to %d bytes; leave it NULL for none", o->key,
                         OL_OPTION_TEXT_MAX);
    if (!set->given) {
        memcpy(set->text, text, len + 1);
        set->given = true;
    }
    return OUTLET_OK;
}

static const char *
text_at(const struct outlet_opts *opts, size_t offset)
{
    const char *text;

    memcpy(&text, (const char *)opts + offset, sizeof text);
    return text;
}

outlet_err
ol_settings_merge(struct ol_settings *s, const struct outlet_opts *opts, struct outlet_reason *why)
{
    outlet_err err = merge_frame(s, opts->frame, why);

    if (!err)
        err = merge_list(s, OL_OPT_ALLOW, opts->allow, why);
    if (!err)
        err = merge_list(s, OL_OPT_DENY, opts->deny, why);

    for (size_t i = 0; i < OL_OPTIONS && !err; i++) {
        const struct ol_option *o = &ol_options[i];
        int64_t value;

        if (o->type == OL_OPTION_TEXT)
            err = merge_text(s, o, text_at(opts, o->offset), why);
        if (ol_option_is_text(o))
            continue;
        value = number_at(opts, o->offset);
        if (value == 0)
            continue;
        err = ol_option_allowed(o, s->scheme, s->role, -1, why);
        if (!err)
            err = ol_option_check(o, s->scheme, value, -1, why);
        if (!err && !s->of[i].given) {
            s->of[i].given = true;
            s->of[i].value = value;
        }
    }
    return err;
}

/* A number that somebody asked for: neither a default nor "off". */
static bool
is_said(const struct ol_setting *set)
{
    return set->given && set->value > 0;
}

static outlet_err
check_order(const struct ol_settings *s, enum ol_option_id below, enum ol_option_id above,
            struct outlet_reason *why)
{
    const struct ol_setting *low = &s->of[below];
    const struct ol_setting *high = &s->of[above];
    const struct ol_setting *last = low->key_at > high->key_at ? low : high;

    if (!is_said(low) || !is_said(high) || low->value <= high->value)
        return OUTLET_OK;
    return ol_refuse(why, OUTLET_EINVAL, last->value_at, ol_options[last - s->of].key,
                     "`%s` is above `%s`; the order must be low <= high <= cap",
                     ol_options[below].key, ol_options[above].key);
}

static outlet_err
settle_queue(struct ol_settings *s, struct outlet_reason *why)
{
    int64_t *low = &s->of[OL_OPT_LOW].value;
    int64_t *high = &s->of[OL_OPT_HIGH].value;
    int64_t *cap = &s->of[OL_OPT_CAP].value;
    bool low_said = is_said(&s->of[OL_OPT_LOW]);
    bool high_said = is_said(&s->of[OL_OPT_HIGH]);
    outlet_err err = check_order(s, OL_OPT_LOW, OL_OPT_HIGH, why);

    if (!err)
        err = check_order(s, OL_OPT_HIGH, OL_OPT_CAP, why);
    if (!err)
        err = check_order(s, OL_OPT_LOW, OL_OPT_CAP, why);
    if (err)
        return err;

    if (*cap == 0) {
        *cap = ol_option_fallback(&ol_options[OL_OPT_CAP], s->scheme, s->role);
        if (high_said && *cap < *high)
            *cap = *high;
        if (low_said && *cap < *low)
            *cap = *low;
    }
    if (*high == 0) {
        *high = ol_option_fallback(&ol_options[OL_OPT_HIGH], s->scheme, s->role);
        if (low_said && *high < *low)
            *high = *low;
        if (*cap != OUTLET_OFF && *high > *cap)
            *high = *cap;
    }
    if (*low == 0) {
        *low = ol_option_fallback(&ol_options[OL_OPT_LOW], s->scheme, s->role);
        if (*high != OUTLET_OFF && *low > *high)
            *low = *high;
        if (*cap != OUTLET_OFF && *low > *cap)
            *low = *cap;
    }
    OL_ASSERT(*high == OUTLET_OFF || *low <= *high);
    OL_ASSERT(*cap == OUTLET_OFF || (*low <= *cap && *high <= *cap));
    return OUTLET_OK;
}

/* Without keepalive_s nothing is ever probed. */
static outlet_err
check_keepalive(const struct ol_settings *s, struct outlet_reason *why)
{
    static const enum ol_option_id probes[] = {OL_OPT_KEEPALIVE_INTERVAL_S,
                                               OL_OPT_KEEPALIVE_PROBES};

    for (size_t i = 0; i < OL_COUNT(probes) && !is_said(&s->of[OL_OPT_KEEPALIVE_S]); i++) {
        const struct ol_setting *set = &s->of[probes[i]];

        if (is_said(set))
            return ol_refuse(why, OUTLET_EINVAL, set->key_at, ol_options[probes[i]].key,
                             "the key `%s` needs `keepalive_s`; add for example keepalive_s=60",
                             ol_options[probes[i]].key);
    }
    return OUTLET_OK;
}

outlet_err
ol_settings_settle(struct ol_settings *s, struct outlet_reason *why)
{
    const struct ol_setting *full = &s->of[OL_OPT_FULL];
    outlet_err err = settle_queue(s, why);

    if (!err)
        err = check_keepalive(s, why);
    if (err)
        return err;
    for (size_t i = 0; i < OL_OPTIONS; i++) {
        if (s->of[i].value == 0)
            s->of[i].value = ol_option_fallback(&ol_options[i], s->scheme, s->role);
    }
    if (ol_scheme_message_max(s->scheme) && s->of[OL_OPT_MAX].value == OUTLET_OFF)
        s->of[OL_OPT_MAX].value = ol_scheme_message_max(s->scheme); /* the protocol's own stays */

    if ((full->value == OUTLET_FULL_DROP_NEW || full->value == OUTLET_FULL_DROP_OLD) &&
        !ol_scheme_has_borders(s->scheme) && strcmp(s->frame, "none") == 0)
        return ol_refuse(why, OUTLET_EINVAL, full->value_at, "full",
                         "messages can only be dropped where there are borders between them; add "
                         "a framing such as frame=line");
    return OUTLET_OK;
}

void
ol_settings_store(const struct ol_settings *s, struct outlet_opts *out)
{
    for (size_t i = 0; i < OL_OPTIONS; i++) {
        if (!ol_option_is_text(&ol_options[i]))
            memcpy((char *)out + ol_options[i].offset, &s->of[i].value, sizeof s->of[i].value);
    }
    if (s->of[OL_OPT_ALLOW].key_at >= 0)
        out->allow = NULL;
    if (s->of[OL_OPT_DENY].key_at >= 0)
        out->deny = NULL;
}

outlet_err
ol_opts_copy(const struct outlet_opts *opts, struct outlet_opts *out, struct outlet_reason *why)
{
    const size_t known = sizeof *out;

    if (opts->size < sizeof opts->size || opts->size > OPTS_SIZE_MAX)
        return ol_refuse(why, OUTLET_EINVAL, -1, "",
                         "the size of struct outlet_opts is not set; begin with OUTLET_OPTS");
    for (size_t i = known; i < opts->size; i++) {
        if (((const char *)opts)[i] != 0)
            return ol_refuse(why, OUTLET_EINVAL, -1, "",
                             "struct outlet_opts has a field that this version does not know; "
                             "leave it 0 or use a newer library");
    }
    memset(out, 0, known);
    memcpy(out, opts, ol_min(opts->size, known));
    out->size = known;
    return OUTLET_OK;
}
