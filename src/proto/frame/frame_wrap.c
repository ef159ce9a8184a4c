/*
 * frame_wrap.c - what goes before and after a message, or why it cannot be sent.
 *
 * The rule behind every refusal: what is sent must come out of ol_frame_next as the same message. A
 * newcomer's mistake: to look for the mark in the message only.  It may also begin in the message
 * and end in the mark behind it ("a-" followed by "--" is cut one byte early), or lie across two
 * pieces.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include "frame_field.h"
#include "frame_mark.h"

static outlet_err
wrap_none(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
          struct ol_frame_wrap *out)
{
    (void)f;
    (void)pieces;
    (void)n;
    (void)len;
    out->head_len = 0;
    out->tail_len = 0;
    return OUTLET_OK;
}

static outlet_err
wrap_fixed(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
           struct ol_frame_wrap *out)
{
    if (len != f->fixed) {
        return OUTLET_EINVAL;
    }
    return wrap_none(f, pieces, n, len, out);
}

static outlet_err
wrap_line(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
          struct ol_frame_wrap *out)
{
    uint8_t last = 0;

    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    for (int i = 0; i < n; i++) {
        const uint8_t *bytes = pieces[i].iov_base;
        size_t piece = pieces[i].iov_len;

        if (piece == 0) {
            continue;
        }
        if (memchr(bytes, '\n', piece)) {
            return OUTLET_EINVAL;
        }
        last = bytes[piece - 1];
    }
    if (last == '\r') {
        return OUTLET_EINVAL;
    }
    out->head_len = 0;
    out->tail[0] = '\n';
    out->tail_len = 1;
    return OUTLET_OK;
}

/* A search for a mark in bytes that come in pieces: the end of what went before is kept. */
struct search {
    const uint8_t *mark;
    size_t mark_len;
    uint8_t kept[OL_FRAME_MARK_MAX];
    size_t kept_len; /* < mark_len, so that a mark is never found in it alone */
};

static bool
search_piece(struct search *s, const uint8_t *bytes, size_t len)
{
    uint8_t seam[2 * OL_FRAME_MARK_MAX];
    size_t keep = s->mark_len - 1;
    size_t first = ol_min(len, keep);
    size_t seam_len = s->kept_len + first;

    if (len == 0) {
        return false;
    }
    if (ol_mark_find(bytes, len, s->mark, s->mark_len)) {
        return true;
    }
    if (keep == 0) {
        return false;
    }
    memcpy(seam, s->kept, s->kept_len);
    memcpy(seam + s->kept_len, bytes, first);
    if (ol_mark_find(seam, seam_len, s->mark, s->mark_len)) {
        return true;
    }

    if (len >= keep) {
        memcpy(s->kept, bytes + len - keep, keep);
        s->kept_len = keep;
    } else {
        s->kept_len = ol_min(seam_len, keep);
        memcpy(s->kept, seam + seam_len - s->kept_len, s->kept_len);
    }
    return false;
}

/* Would the mark be found before the end of the message, once the mark itself stands behind it? */
static bool
mark_comes_early(const uint8_t *mark, size_t mark_len, const struct iovec *pieces, int n)
{
    struct search s = {.mark = mark, .mark_len = mark_len};

    for (int i = 0; i < n; i++) {
        if (search_piece(&s, pieces[i].iov_base, pieces[i].iov_len)) {
            return true;
        }
    }
    return search_piece(&s, mark, mark_len - 1);
}

static outlet_err
wrap_delim(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
           struct ol_frame_wrap *out)
{
    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    if (mark_comes_early(f->mark[0], f->mark_len[0], pieces, n)) {
        return OUTLET_EINVAL;
    }
    out->head_len = 0;
    memcpy(out->tail, f->mark[0], f->mark_len[0]);
    out->tail_len = f->mark_len[0];
    return OUTLET_OK;
}

static outlet_err
wrap_between(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
             struct ol_frame_wrap *out)
{
    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    if (mark_comes_early(f->mark[1], f->mark_len[1], pieces, n)) {
        return OUTLET_EINVAL;
    }
    memcpy(out->head, f->mark[0], f->mark_len[0]);
    out->head_len = f->mark_len[0];
    memcpy(out->tail, f->mark[1], f->mark_len[1]);
    out->tail_len = f->mark_len[1];
    return OUTLET_OK;
}

/* Copy `count` bytes of the message from `from`, which are there. */
static void
copy_from_pieces(const struct iovec *pieces, int n, size_t from, uint8_t *to, size_t count)
{
    for (int i = 0; i < n && count > 0; i++) {
        size_t piece = pieces[i].iov_len;
        size_t part;

        if (from >= piece) {
            from -= piece;
            continue;
        }
        part = ol_min(piece - from, count);
        memcpy(to, (const uint8_t *)pieces[i].iov_base + from, part);
        to += part;
        count -= part;
        from = 0;
    }
    OL_ASSERT(count == 0); /* the pieces are as long as the caller said */
}

/* What the field says in a frame of `whole` bytes. */
static outlet_err
field_value(const struct ol_framing *f, size_t whole, uint64_t *value)
{
    size_t header = (size_t)f->offset + f->width;
    size_t body;

    if (whole < header) {
        return OUTLET_EINVAL;
    }
    body = whole - header;
    if (f->adjust >= 0) {
        if (body < (size_t)f->adjust) {
            return OUTLET_EINVAL;
        }
        body -= (size_t)f->adjust;
    } else if (!ol_add(body, (size_t)(-(int64_t)f->adjust), &body)) {
        return OUTLET_EMSGSIZE;
    }
    if (body > ol_field_max(f->width)) {
        return OUTLET_EMSGSIZE;
    }
    *value = body;
    return OUTLET_OK;
}

static outlet_err
wrap_len(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
         struct ol_frame_wrap *out)
{
    uint64_t value;
    size_t whole;
    outlet_err err;

    if (len > f->max || !ol_add(len, f->strip, &whole)) {
        return OUTLET_EMSGSIZE;
    }
    err = field_value(f, whole, &value);
    if (err) {
        return err;
    }
    if (f->strip <= f->offset) { /* the message holds the field */
        uint8_t field[OL_FRAME_FIELD_MAX];

        copy_from_pieces(pieces, n, (size_t)f->offset - f->strip, field, f->width);
        if (ol_field_get(field, f->width, f->little) != value) {
            return OUTLET_EINVAL;
        }
        memset(out->head, 0, f->strip);
    } else {
        if (f->strip > f->width) { /* more than the field is stripped */
            memset(out->head, 0, f->strip);
        }
        ol_field_put(out->head + f->offset, f->width, f->little, value);
    }
    out->head_len = f->strip;
    out->tail_len = 0;
    return OUTLET_OK;
}

/* The same when the field is all there is.  Also done in place: ol_wire_append(). */
static outlet_err
wrap_len_only(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
              struct ol_frame_wrap *out)
{
    (void)pieces;
    (void)n;
    if (!ol_field_fits(f, len)) {
        return OUTLET_EMSGSIZE;
    }
    ol_field_put(out->head, f->width, f->little, len);
    out->head_len = f->width;
    out->tail_len = 0;
    return OUTLET_OK;
}

static outlet_err
wrap_varint(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
            struct ol_frame_wrap *out)
{
    uint64_t rest = len;
    size_t at = 0;

    (void)pieces;
    (void)n;
    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    while (rest >= 0x80) {
        out->head[at++] = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    out->head[at++] = (uint8_t)rest;
    out->head_len = at;
    out->tail_len = 0;
    return OUTLET_OK;
}

static outlet_err
wrap_hp(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
        struct ol_frame_wrap *out)
{
    (void)pieces;
    (void)n;
    if (len > f->max || len > OL_HP_LENGTH_MAX) {
        return OUTLET_EMSGSIZE;
    }
    if (len == 0) {
        return OUTLET_EINVAL; /* the other side would close */
    }
    ol_field_put(out->head, OL_HP_HEAD, true, (uint64_t)f->flag << OL_HP_LENGTH_BITS | len);
    out->head_len = OL_HP_HEAD;
    out->tail_len = 0;
    return OUTLET_OK;
}

/* As it is.  Nothing at all would not arrive. */
static outlet_err
wrap_idle(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
          struct ol_frame_wrap *out)
{
    (void)pieces;
    (void)n;
    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    if (len == 0) {
        return OUTLET_EINVAL;
    }
    out->head_len = 0;
    out->tail_len = 0;
    return OUTLET_OK;
}

static outlet_err
wrap_custom(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
            struct ol_frame_wrap *out)
{
    const uint8_t *bytes = n > 0 ? pieces[0].iov_base : NULL;
    size_t head_len = 0;
    size_t tail_len = 0;
    int answer;

    OL_ASSERT(n <= 1);
    if (len > f->max) {
        return OUTLET_EMSGSIZE;
    }
    answer = f->custom.wrap(f->custom.user, bytes, len, out->head, &head_len, out->tail, &tail_len);
    if (answer < 0) {
        return (outlet_err)answer;
    }
    if (answer > 0 || head_len > sizeof out->head || tail_len > sizeof out->tail) {
        return OUTLET_EINVAL;
    }
    out->head_len = head_len;
    out->tail_len = tail_len;
    return OUTLET_OK;
}

static ol_frame_wrap_fn *const wrap_of[] = {
    [OL_FRAME_NONE] = wrap_none,       [OL_FRAME_FIXED] = wrap_fixed,
    [OL_FRAME_LINE] = wrap_line,       [OL_FRAME_DELIM] = wrap_delim,
    [OL_FRAME_LEN] = wrap_len,         [OL_FRAME_VARINT] = wrap_varint,
    [OL_FRAME_BETWEEN] = wrap_between, [OL_FRAME_HP] = wrap_hp,
    [OL_FRAME_IDLE] = wrap_idle,       [OL_FRAME_CUSTOM] = wrap_custom,
};

bool
ol_frame_is_blind(const struct ol_framing *f)
{
    switch (f->kind) {
    case OL_FRAME_NONE:
    case OL_FRAME_FIXED:
    case OL_FRAME_VARINT:
    case OL_FRAME_HP:
    case OL_FRAME_IDLE:
        return true;
    case OL_FRAME_LEN:
        return f->strip >= f->offset + f->width; /* else the field is checked in the message */
    case OL_FRAME_LINE:
    case OL_FRAME_DELIM:
    case OL_FRAME_BETWEEN:
    case OL_FRAME_CUSTOM:
        return false;
    }
    return false;
}

ol_frame_wrap_fn *
ol_frame_wrap_of(const struct ol_framing *f)
{
    OL_ASSERT(f->kind < OL_COUNT(wrap_of));
    return ol_field_is_all(f) ? wrap_len_only : wrap_of[f->kind];
}

outlet_err
ol_frame_wrap(const struct ol_framing *f, const struct iovec *pieces, int n, size_t len,
              struct ol_frame_wrap *out)
{
    OL_ASSERT(f->kind < OL_COUNT(wrap_of));
    OL_ASSERT(n >= 0 && (pieces || n == 0));

    return ol_frame_wrap_of(f)(f, pieces, n, len, out);
}
