/*
 * wrap.c - buffers of one piece, with and without framing, for messages that go to other reactors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

struct outlet_buf *
ol_buf_join(struct ol_budget *budget, const struct iovec *pieces, int n, size_t len)
{
    struct outlet_buf *b = ol_buf_blank(budget, len);
    uint8_t *at;

    if (!b)
        return NULL;
    at = (uint8_t *)(uintptr_t)b->bytes; /* not shared yet */
    for (int i = 0; i < n; i++) {
        if (pieces[i].iov_len)
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    return b;
}

struct outlet_buf *
ol_wrap_buf(const struct ol_settings *s, struct outlet_buf *plain, struct ol_budget *budget,
            outlet_err *err)
{
    struct iovec piece = {(void *)(uintptr_t)plain->bytes, plain->len};
    struct iovec all[3];
    struct ol_frame_wrap w;
    struct outlet_buf *b;

    *err = s->wrap(&s->framing, &piece, 1, plain->len, &w);
    if (*err)
        return NULL;
    if (w.head_len + w.tail_len == 0)
        return outlet_buf_ref(plain);
    all[0] = (struct iovec){w.head, w.head_len};
    all[1] = piece;
    all[2] = (struct iovec){w.tail, w.tail_len};
    b = ol_buf_join(budget, all, 3, w.head_len + plain->len + w.tail_len);
    if (!b)
        *err = OUTLET_ENOMEM;
    return b;
}
