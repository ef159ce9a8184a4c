/*
 * frame_text_fuzz.c - any text as a framing.
 *
 * Properties: the public check and the parser agree; the byte to blame is in the text or its end,
 * and what stands before it is not to blame; a good text fills a struct within its bounds.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
check_bounds(const struct ol_framing *f)
{
    size_t header = (size_t)f->offset + f->width;

    OL_ASSERT(f->mark_len[0] <= OL_FRAME_MARK_MAX && f->mark_len[1] <= OL_FRAME_MARK_MAX);
    OL_ASSERT((f->mark_len[0] > 0) == (f->kind == OL_FRAME_DELIM || f->kind == OL_FRAME_BETWEEN));
    OL_ASSERT((f->mark_len[1] > 0) == (f->kind == OL_FRAME_BETWEEN));
    OL_ASSERT((f->fixed > 0) == (f->kind == OL_FRAME_FIXED) && f->fixed <= f->max);
    OL_ASSERT((f->width > 0) == (f->kind == OL_FRAME_LEN));
    OL_ASSERT(header <= OUTLET_FRAME_HEAD_MAX && f->strip <= OUTLET_FRAME_HEAD_MAX);
    OL_ASSERT(f->strip <= f->offset || f->strip >= header);
    OL_ASSERT(f->flag <= 1023);
    OL_ASSERT(ol_framing_same(f, f));
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    char room[256];
    char *text; /* at the end of the room, so that a sanitizer sees a read behind it */
    struct ol_framing f;
    size_t bad_at = 0;
    size_t public_bad_at = 0;
    size_t text_len;

    if (len >= sizeof room) {
        return 0;
    }
    text = room + sizeof room - len - 1;
    memcpy(text, in, len);
    text[len] = '\0';
    text_len = strlen(text);

    if (ol_framing_parse(text, SIZE_MAX, NULL, &f, &bad_at) == OUTLET_OK) {
        OL_ASSERT(outlet_framing_check(text, NULL) == OUTLET_OK);
        check_bounds(&f);
    } else if (strncmp(text, "custom", 6) != 0) {
        OL_ASSERT(outlet_framing_check(text, &public_bad_at) == OUTLET_EINVAL);
        OL_ASSERT(bad_at == public_bad_at && bad_at <= text_len);

        /* Cut before that byte, the text is good or only too short. */
        text[bad_at] = '\0';
        if (ol_framing_parse(text, SIZE_MAX, NULL, &f, &public_bad_at)) {
            OL_ASSERT(public_bad_at == bad_at);
        }
    }
    return 0;
}
