/*
 * frame_text.c - the text after frame= in a URL.
 *
 * Every parser here moves *at over what it took and, when it refuses, leaves it on the byte to
 * blame: that is where the command puts its caret.  A newcomer's mistake: to decode the percents of
 * the whole text first, after which ".." between two marks and a %2E%2E within one look the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include "frame_field.h"

/* Decimal within [least, most]; one out of range is blamed on its first digit. */
static bool
take_number(const char **at, size_t least, size_t most, size_t *out)
{
    const char *p = *at;
    size_t value = 0;

    while (*p >= '0' && *p <= '9') {
        if (!ol_mul(value, 10, &value) || !ol_add(value, (size_t)(*p - '0'), &value)) {
            return false;
        }
        p++;
    }
    if (p == *at || value < least || value > most) {
        return false;
    }
    *at = p;
    *out = value;
    return true;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool
take_mark(const char **at, const char *end, struct ol_framing *f, int which)
{
    size_t len = 0;

    while (*at < end) {
        char c = **at;
        uint8_t byte = (uint8_t)c;
        size_t taken = 1;

        if (len == OL_FRAME_MARK_MAX) {
            return false;
        }
        if (c == '%') {
            for (; taken <= 2; taken++) {
                if (*at + taken == end || hex_digit((*at)[taken]) < 0) {
                    *at += taken;
                    return false;
                }
            }
            byte = (uint8_t)(hex_digit((*at)[1]) << 4 | hex_digit((*at)[2]));
        }
        f->mark[which][len++] = byte;
        *at += taken;
    }
    f->mark_len[which] = (uint8_t)len;
    return len > 0;
}

static bool
parse_fixed(const char **at, struct ol_framing *f)
{
    return take_number(at, 1, f->max, &f->fixed);
}

static bool
parse_delim(const char **at, struct ol_framing *f)
{
    return take_mark(at, *at + strlen(*at), f, 0);
}

static bool
parse_between(const char **at, struct ol_framing *f)
{
    const char *dots = strstr(*at, "..");

    if (!dots) {
        *at += strlen(*at);
        return false;
    }
    if (!take_mark(at, dots, f, 0)) {
        return false;
    }
    *at += 2;
    return take_mark(at, *at + strlen(*at), f, 1);
}

static bool
parse_hp(const char **at, struct ol_framing *f)
{
    size_t flag;

    if (!take_number(at, 0, OL_HP_FLAG_MAX, &flag)) {
        return false;
    }
    f->flag = (uint16_t)flag;
    return true;
}

/* Milliseconds, or with a unit as everywhere in a URL: ms, s. */
static bool
parse_idle(const char **at, struct ol_framing *f)
{
    const char *first = *at;
    size_t value;
    size_t unit = 1;

    if (!take_number(at, 1, OL_FRAME_IDLE_MAX_MS, &value)) {
        return false;
    }
    if (strcmp(*at, "ms") == 0) {
        *at += 2;
    } else if (strcmp(*at, "s") == 0) {
        *at += 1;
        unit = 1000;
    }
    if (value > OL_FRAME_IDLE_MAX_MS / unit) {
        *at = first;
        return false;
    }
    f->idle_ms = (int32_t)(value * unit);
    return true;
}

static bool
take_width(const char **at, struct ol_framing *f)
{
    const char *first = *at;
    size_t width;

    if (!take_number(at, 1, OL_FRAME_FIELD_MAX, &width)) {
        return false;
    }
    if (width > 4 && width != 8) {
        *at = first;
        return false;
    }
    f->width = (uint8_t)width;

    if (strncmp(*at, "be", 2) == 0) {
        *at += 2;
    } else if (strncmp(*at, "le", 2) == 0) {
        *at += 2;
        f->little = width > 1; /* one byte has no order: len:1be and len:1le are the same */
    } else if (width > 1) {
        return false;
    }
    return true;
}

static bool
take_adjust(const char **at, struct ol_framing *f)
{
    bool minus = **at == '-';
    size_t most = INT32_MAX;
    size_t by;

    /* Less than the field can make good would leave no frame that is legal. */
    if (minus && ol_field_max(f->width) < most) {
        most = (size_t)ol_field_max(f->width);
    }
    (*at)++;
    if (!take_number(at, 0, most, &by)) {
        return false;
    }
    f->adjust = minus ? -(int32_t)by : (int32_t)by;
    return true;
}

static bool
parse_len(const char **at, struct ol_framing *f)
{
    const char *first;
    size_t value;

    if (!take_width(at, f)) {
        return false;
    }
    if (**at == '@') {
        (*at)++;
        if (!take_number(at, 0, OUTLET_FRAME_HEAD_MAX - (size_t)f->width, &value)) {
            return false;
        }
        f->offset = (uint16_t)value;
    }
    if ((**at == '+' || **at == '-') && !take_adjust(at, f)) {
        return false;
    }
    f->strip = (uint16_t)(f->offset + f->width);
    if (**at == '/') {
        first = ++*at;
        if (!take_number(at, 0, OUTLET_FRAME_HEAD_MAX, &value)) {
            return false;
        }
        if (value > f->offset && value < f->strip) {
            *at = first; /* half a field could not be sent back */
            return false;
        }
        f->strip = (uint16_t)value;
    }
    return true;
}

static const struct {
    const char *name;
    bool (*parse)(const char **at, struct ol_framing *f); /* NULL: the name is all */
} kinds[] = {
    [OL_FRAME_NONE] = {"none", NULL},
    [OL_FRAME_FIXED] = {"fixed", parse_fixed},
    [OL_FRAME_LINE] = {"line", NULL},
    [OL_FRAME_DELIM] = {"delim", parse_delim},
    [OL_FRAME_LEN] = {"len", parse_len},
    [OL_FRAME_VARINT] = {"varint", NULL},
    [OL_FRAME_BETWEEN] = {"between", parse_between},
    [OL_FRAME_HP] = {"hp", parse_hp},
    [OL_FRAME_IDLE] = {"idle", parse_idle},
    [OL_FRAME_CUSTOM] = {"custom", NULL},
};

const char *
ol_framing_kind(size_t i)
{
    return i < OL_COUNT(kinds) ? kinds[i].name : NULL;
}

static bool
take_kind(const char **at, struct ol_framing *f)
{
    size_t len = strcspn(*at, ":");

    for (size_t i = 0; i < OL_COUNT(kinds); i++) {
        if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, *at, len) == 0) {
            f->kind = (enum ol_frame_kind)i;
            *at += len;
            return true;
        }
    }
    return false;
}

static bool
parse(const char **at, const struct outlet_framing *custom, struct ol_framing *f)
{
    const char *text = *at;

    if (!take_kind(at, f)) {
        return false;
    }
    if (f->kind == OL_FRAME_CUSTOM) {
        if (!custom || custom->size < sizeof *custom || !custom->split || !custom->wrap) {
            *at = text;
            return false;
        }
        f->custom = *custom;
    }
    if (kinds[f->kind].parse) {
        if (**at != ':') {
            return false;
        }
        (*at)++;
        if (!kinds[f->kind].parse(at, f)) {
            return false;
        }
    }
    return **at == '\0';
}

outlet_err
ol_framing_parse(const char *text, size_t max, const struct outlet_framing *custom,
                 struct ol_framing *out, size_t *bad_at)
{
    struct ol_framing f = {.max = max};
    const char *at = text;

    OL_ASSERT(max > 0);
    if (!parse(&at, custom, &f)) {
        *bad_at = (size_t)(at - text);
        return OUTLET_EINVAL;
    }
    *out = f;
    return OUTLET_OK;
}

static bool
same_mark(const struct ol_framing *a, const struct ol_framing *b, int which)
{
    return a->mark_len[which] == b->mark_len[which] &&
           memcmp(a->mark[which], b->mark[which], a->mark_len[which]) == 0;
}

/* Fields that a kind does not use are zero. */
bool
ol_framing_same(const struct ol_framing *a, const struct ol_framing *b)
{
    return a->kind == b->kind && a->max == b->max && a->fixed == b->fixed && same_mark(a, b, 0) &&
           same_mark(a, b, 1) && a->width == b->width && a->little == b->little &&
           a->offset == b->offset && a->strip == b->strip && a->adjust == b->adjust &&
           a->flag == b->flag && a->custom.user == b->custom.user &&
           a->custom.split == b->custom.split && a->custom.wrap == b->custom.wrap;
}

/* Stand-ins: whether the program has functions of its own is not a matter of the text. */
static int
no_split(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame, size_t *need)
{
    (void)user;
    (void)bytes;
    (void)len;
    (void)frame;
    (void)need;
    return OUTLET_ENOTSUP;
}

static int
no_wrap(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len,
        uint8_t *tail, size_t *tail_len)
{
    (void)user;
    (void)bytes;
    (void)len;
    (void)head;
    (void)head_len;
    (void)tail;
    (void)tail_len;
    return OUTLET_ENOTSUP;
}

outlet_err
outlet_framing_check(const char *text, size_t *bad_at)
{
    static const struct outlet_framing any = {
        .size = sizeof any, .split = no_split, .wrap = no_wrap};
    struct ol_framing f;
    size_t at = 0;
    outlet_err err = OUTLET_EINVAL;

    if (text) {
        err = ol_framing_parse(text, SIZE_MAX, &any, &f, &at);
    }
    if (err && bad_at) {
        *bad_at = at;
    }
    return err;
}
