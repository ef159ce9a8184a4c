/*
 * frame_feed.h - for tests and fuzz targets: cut bytes that arrive in slices, as a connection does.
 *
 * What must hold at every single step is watched here and said in `broken`, which callers look at
 * outside: nothing here asserts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_FRAME_FEED_H
#define OL_FRAME_FEED_H

#include "frame.h"

enum { FEED_BYTES_MAX = 4096, FEED_MESSAGES_MAX = 4096 };

struct feed {
    int err;          /* the verdict, 0 when all bytes were fine so far */
    size_t err_after; /* bytes that had arrived when it fell */
    size_t used;      /* bytes of whole frames */
    size_t need;      /* what the unfinished frame waits for, 0: not known */
    size_t count;
    struct {
        size_t at;
        size_t len;
    } messages[FEED_MESSAGES_MAX];
    const char *broken; /* NULL, or the rule that did not hold */
};

static inline void
feed_step(struct feed *feed, const struct ol_framing *f, struct ol_frame_scan *scan,
          const uint8_t *bytes, size_t len, int *answer)
{
    uint8_t room[FEED_BYTES_MAX];
    uint8_t *at = room + sizeof room - len; /* so that a sanitizer sees a read behind the end */
    struct outlet_frame frame = {0};
    size_t hold = ol_frame_hold_max(f);

    memcpy(at, bytes, len);
    *answer = ol_frame_next(f, scan, at, len, &frame);
    if (*answer == 1) {
        if (frame.skip + frame.message + frame.tail > len) {
            feed->broken = "a frame is longer than what has arrived";
        }
        if (f->kind != OL_FRAME_NONE && frame.message > f->max) {
            feed->broken = "a message is over the limit";
        }
        feed->messages[feed->count].at = feed->used + frame.skip;
        feed->messages[feed->count++].len = frame.message;
        feed->used += frame.skip + frame.message + frame.tail;
        *scan = (struct ol_frame_scan){0};
    } else if (*answer == 0) {
        if (scan->searched > len || (scan->need && scan->need <= len)) {
            feed->broken = "the scan does not fit the bytes";
        }
        if (len >= hold || scan->need > hold) {
            feed->broken = "more is wanted than may be held";
        }
        if (memcmp(at, bytes, len) != 0) {
            feed->broken = "the bytes were written to";
        }
    }
}

/* Feed `wire` in slices of `slice` bytes; with `rng`, of 1 to `slice` bytes by chance. */
static inline void
feed_all(struct feed *feed, const struct ol_framing *f, const uint8_t *wire, size_t len,
         size_t slice, struct ol_rng *rng)
{
    struct ol_frame_scan scan = {0};
    size_t have = 0;

    feed->err = 0;
    feed->err_after = 0;
    feed->used = 0;
    feed->count = 0;
    feed->broken = NULL;
    while (have < len && !feed->err) {
        size_t more = rng ? 1 + (size_t)ol_rng_below(rng, slice) : slice;
        int answer = 1;

        have += ol_min(more, len - have);
        while (answer == 1 && feed->used < have && feed->count < FEED_MESSAGES_MAX) {
            feed_step(feed, f, &scan, wire + feed->used, have - feed->used, &answer);
        }
        if (answer < 0) {
            feed->err = answer;
            feed->err_after = have;
        }
    }
    feed->need = feed->err ? 0 : scan.need;
}

/* What slicing must not change. */
static inline bool
feed_same(const struct feed *a, const struct feed *b)
{
    return a->err == b->err && a->used == b->used && a->need == b->need && a->count == b->count &&
           memcmp(a->messages, b->messages, a->count * sizeof a->messages[0]) == 0;
}

#endif
