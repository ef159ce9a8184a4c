/*
 * frame_next.c - where the first message lies in the bytes so far.
 *
 * Every function here must give the same verdict however the bytes were sliced: it may decide
 * early, but only what any further bytes could not change.  A newcomer's mistake: to compare with
 * `max` before the mark's own bytes were allowed for, which refuses a message of exactly max bytes
 * when the slice ends inside its mark.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include "frame_field.h"
#include "frame_mark.h"

enum { VARINT_MAX = 10 };

/* The frame's parts are known and its message is within the limit; is all of it here? */
static int
give(struct ol_frame_scan *scan, size_t len, size_t skip, size_t message, struct outlet_frame *out)
{
    size_t whole;

    if (!ol_add(skip, message, &whole)) {
        return OUTLET_EMSGSIZE;
    }
    if (len < whole) {
        scan->need = whole;
        return 0;
    }
    *out = (struct outlet_frame){.skip = skip, .message = message};
    return 1;
}

static int
next_none(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
          struct outlet_frame *out)
{
    (void)f;
    (void)bytes;
    return give(scan, len, 0, len, out);
}

static int
next_fixed(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
           struct outlet_frame *out)
{
    (void)bytes;
    return give(scan, len, 0, f->fixed, out);
}

static int
next_line(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
          struct outlet_frame *out)
{
    const uint8_t *lf = memchr(bytes + scan->searched, '\n', len - scan->searched);
    size_t message;
    size_t tail = 1;

    if (!lf) {
        scan->searched = len;
        /* One byte more than max is not too long yet when it may be the CR of CR LF. */
        if (len > f->max && (len - 1 > f->max || bytes[len - 1] != '\r')) {
            return OUTLET_EMSGSIZE;
        }
        return 0;
    }

    message = (size_t)(lf - bytes);
    if (message > 0 && lf[-1] == '\r') {
        message--;
        tail = 2;
    }
    if (message > f->max) {
        return OUTLET_EMSGSIZE;
    }
    *out = (struct outlet_frame){.message = message, .tail = tail};
    return 1;
}

/* May the mark begin in bytes[from..last], the bytes behind len being unknown? */
static bool
mark_may_begin(const uint8_t *mark, const uint8_t *bytes, size_t len, size_t from, size_t last)
{
    for (size_t i = from; i <= last; i++) {
        if (memcmp(bytes + i, mark, len - i) == 0) {
            return true;
        }
    }
    return false;
}

/* A message from `skip` up to the mark. */
static int
next_marked(const struct ol_framing *f, int which, size_t skip, struct ol_frame_scan *scan,
            const uint8_t *bytes, size_t len, struct outlet_frame *out)
{
    const uint8_t *mark = f->mark[which];
    size_t mark_len = f->mark_len[which];
    size_t from = ol_max(scan->searched, skip);
    const uint8_t *hit = ol_mark_find(bytes + from, len - from, mark, mark_len);
    size_t message;

    if (!hit) {
        if (len - from >= mark_len) {
            from = len - mark_len + 1;
        }
        scan->searched = from;
        if (len - skip > f->max && !mark_may_begin(mark, bytes, len, from, skip + f->max)) {
            return OUTLET_EMSGSIZE;
        }
        return 0;
    }

    message = (size_t)(hit - bytes) - skip;
    if (message > f->max) {
        return OUTLET_EMSGSIZE;
    }
    *out = (struct outlet_frame){.skip = skip, .message = message, .tail = mark_len};
    return 1;
}

static int
next_delim(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
           struct outlet_frame *out)
{
    return next_marked(f, 0, 0, scan, bytes, len, out);
}

static int
next_between(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
             size_t len, struct outlet_frame *out)
{
    size_t head_len = f->mark_len[0];

    if (memcmp(bytes, f->mark[0], ol_min(len, head_len)) != 0) {
        return OUTLET_EPROTO;
    }
    if (len < head_len) {
        return 0;
    }
    return next_marked(f, 1, head_len, scan, bytes, len, out);
}

static int
next_len(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
         struct outlet_frame *out)
{
    size_t header = (size_t)f->offset + f->width;
    size_t whole;
    uint64_t value;

    if (len < header) {
        return 0;
    }

    value = ol_field_get(bytes + f->offset, f->width, f->little);
    if (value > SIZE_MAX) {
        return OUTLET_EMSGSIZE;
    }
    whole = (size_t)value;
    if (f->adjust >= 0) {
        if (!ol_add(whole, (size_t)f->adjust, &whole)) {
            return OUTLET_EMSGSIZE;
        }
    } else {
        size_t less = (size_t)(-(int64_t)f->adjust);

        if (whole < less) {
            return OUTLET_EPROTO;
        }
        whole -= less;
    }
    if (!ol_add(whole, header, &whole)) {
        return OUTLET_EMSGSIZE;
    }
    if (whole < f->strip) {
        return OUTLET_EPROTO;
    }
    if (whole - f->strip > f->max) {
        return OUTLET_EMSGSIZE;
    }
    return give(scan, len, f->strip, whole - f->strip, out);
}

/* The same when the field is all there is. */
static int
next_len_only(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
              size_t len, struct outlet_frame *out)
{
    return ol_field_next(f, scan, bytes, len, out);
}

static int
next_varint(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
            size_t len, struct outlet_frame *out)
{
    size_t most = ol_min(len, VARINT_MAX);
    uint64_t value = 0;

    for (size_t i = 0; i < most; i++) {
        uint8_t byte = bytes[i];

        /* The tenth byte has one bit of the 64; a last byte of zero says nothing. */
        if ((i == VARINT_MAX - 1 && byte > 1) || (i > 0 && byte == 0)) {
            return OUTLET_EPROTO;
        }
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            if (value > f->max) {
                return OUTLET_EMSGSIZE;
            }
            return give(scan, len, i + 1, (size_t)value, out);
        }
    }
    return 0;
}

static int
next_hp(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
        struct outlet_frame *out)
{
    uint32_t header;
    uint32_t message;

    if (len < OL_HP_HEAD) {
        return 0;
    }

    header = (uint32_t)ol_field_get(bytes, OL_HP_HEAD, true);
    message = header & OL_HP_LENGTH_MAX;
    if (header >> OL_HP_LENGTH_BITS != f->flag || message == 0) {
        return OUTLET_EPROTO;
    }
    if (message > f->max) {
        return OUTLET_EMSGSIZE;
    }
    return give(scan, len, OL_HP_HEAD, message, out);
}

/* Its end is no byte. */
static int
next_idle(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes, size_t len,
          struct outlet_frame *out)
{
    (void)scan;
    (void)bytes;
    (void)out;
    return len > f->max ? OUTLET_EMSGSIZE : 0;
}

static int
next_custom(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
            size_t len, struct outlet_frame *out)
{
    struct outlet_frame got = {0};
    size_t hold = ol_frame_hold_max(f);
    size_t need = 0;
    size_t whole;
    int answer = f->custom.split(f->custom.user, bytes, len, &got, &need);

    if (answer < 0) {
        return answer;
    }
    if (answer == 0) {
        if (need > hold || len >= hold) {
            return OUTLET_EMSGSIZE;
        }
        scan->need = need > len ? need : 0;
        return 0;
    }

    /* The answer is not trusted: a frame of nothing would be found for ever. */
    if (answer != 1 || !ol_add(got.skip, got.message, &whole) || !ol_add(whole, got.tail, &whole) ||
        whole == 0 || whole > len) {
        return OUTLET_EINVAL;
    }
    if (got.message > f->max || whole > hold) {
        return OUTLET_EMSGSIZE;
    }
    *out = got;
    return 1;
}

static ol_frame_next_fn *const next_of[] = {
    [OL_FRAME_NONE] = next_none,       [OL_FRAME_FIXED] = next_fixed,
    [OL_FRAME_LINE] = next_line,       [OL_FRAME_DELIM] = next_delim,
    [OL_FRAME_LEN] = next_len,         [OL_FRAME_VARINT] = next_varint,
    [OL_FRAME_BETWEEN] = next_between, [OL_FRAME_HP] = next_hp,
    [OL_FRAME_IDLE] = next_idle,       [OL_FRAME_CUSTOM] = next_custom,
};

ol_frame_next_fn *
ol_frame_next_of(const struct ol_framing *f)
{
    OL_ASSERT(f->kind < OL_COUNT(next_of));
    return ol_field_is_all(f) ? next_len_only : next_of[f->kind];
}

int
ol_frame_next(const struct ol_framing *f, struct ol_frame_scan *scan, const uint8_t *bytes,
              size_t len, struct outlet_frame *out)
{
    OL_ASSERT(f->kind < OL_COUNT(next_of));
    OL_ASSERT(scan->searched <= len); /* else it belongs to a message that is gone */

    if (len == 0 || len < scan->need) {
        return 0;
    }
    return ol_frame_next_of(f)(f, scan, bytes, len, out);
}

/* What stands around the message, at most.  For LEN and VARINT it is also what must have arrived
 * before the length is known, which may be more than a message of max bytes needs. */
static size_t
around_max(const struct ol_framing *f)
{
    switch (f->kind) {
    case OL_FRAME_NONE:
    case OL_FRAME_FIXED:
        return 0;
    case OL_FRAME_IDLE:
        return 1; /* the one too many: until it comes the message may be whole */
    case OL_FRAME_LINE:
        return 2;
    case OL_FRAME_DELIM:
    case OL_FRAME_BETWEEN:
        return (size_t)f->mark_len[0] + f->mark_len[1];
    case OL_FRAME_LEN:
        return ol_max((size_t)f->offset + f->width, f->strip);
    case OL_FRAME_VARINT:
        return VARINT_MAX;
    case OL_FRAME_HP:
        return OL_HP_HEAD;
    case OL_FRAME_CUSTOM:
        return OUTLET_FRAME_HEAD_MAX + OUTLET_FRAME_TAIL_MAX;
    }
    return 0;
}

size_t
ol_frame_hold_max(const struct ol_framing *f)
{
    size_t hold;

    if (!ol_add(f->max, around_max(f), &hold)) {
        return SIZE_MAX;
    }
    return hold;
}
