/*
 * load_dgram.c - datagrams that come back, or do not: late, twice, out of order, never.
 *
 *     sent: UNDER_WAY --> CAME_BACK
 *                    \--> GIVEN_UP, after half a second --> CAME_BACK, late
 *
 * Each begins with its number, unless the payload is the user's own: then the oldest one counts as
 * the one that came.  What a newcomer gets wrong: to let a lost one hold its place at a fixed rate.
 * A few lost ones then fill the window, and the latency that is told is that of our own waiting.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load_work.h"

#include <string.h>

void
dgram_done(struct load_conn *c, uint64_t number, uint8_t how)
{
    struct load_worker *w = c->w;

    c->seen[number & (w->ring - 1)] = how;
    c->flying--;
    w->flying--;
    if (number < c->passed) {
        c->overtaken--;
        w->overtaken--;
    }
    w->done++;
    /* The oldest ones that are done with leave the ring. */
    while (c->got < c->sent && c->seen[c->got & (w->ring - 1)] != UNDER_WAY)
        c->got++;
}

void
dgram_mark_overtaken(struct load_conn *c)
{
    enum { LATER_MIN = 8 };
    struct load_worker *w = c->w;
    int64_t depth = w->load->opts.depth;
    uint64_t later = (uint64_t)(depth / 2 > LATER_MIN ? depth / 2 : LATER_MIN);

    if (w->interval <= 0)
        return;
    if (c->passed < c->got)
        c->passed = c->got; /* what is done with may have left the ring */
    for (; c->passed + later < c->last; c->passed++) {
        if (c->seen[c->passed & (w->ring - 1)] == UNDER_WAY) {
            c->overtaken++;
            w->overtaken++;
        }
    }
}

static void
datagram_back(struct load_conn *c, uint64_t number)
{
    struct load_worker *w = c->w;
    int64_t stamp = c->stamps[number & (w->ring - 1)];
    uint8_t was = c->seen[number & (w->ring - 1)];

    if (was == CAME_BACK) {
        add(&w->duplicates, 1);
        return;
    }
    if (was == GIVEN_UP) { /* late, but not lost */
        add(&w->lost, (uint64_t)-1);
        c->seen[number & (w->ring - 1)] = CAME_BACK;
    } else {
        dgram_done(c, number, CAME_BACK);
    }
    if (number + 1 < c->last)
        add(&w->reordered, 1);
    else
        c->last = number + 1;
    dgram_mark_overtaken(c);
    if (is_measured(w, stamp))
        eng_hist_record(w->hist, w->now - stamp);
    if (w->measuring)
        add(&w->messages, 1);
    w->heard = w->now;
}

bool
dgram_number(const struct load_conn *c, const uint8_t *bytes, uint64_t *number)
{
    uint32_t low;

    memcpy(&low, bytes, NUMBER_BYTES);
    *number = c->sent - (uint32_t)((uint32_t)c->sent - low);
    return *number < c->sent && c->sent - *number <= c->w->ring;
}

void
dgram_came(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    size_t head = load->numbered ? NUMBER_BYTES : 0;
    uint64_t number = c->got;

    if (load->opts.check || load->numbered) {
        if (len != load->opts.size ||
            (load->opts.check && memcmp(bytes + head, load->pattern + head, len - head) != 0)) {
            conn_was_wrong(c, "another datagram came back than was sent");
            return;
        }
    }
    if (load->numbered && !dgram_number(c, bytes, &number)) {
        add(&w->duplicates, 1); /* older than anything that can be new */
        return;
    }
    if (!load->numbered && c->flying == 0) {
        add(&w->duplicates, 1);
        return;
    }
    datagram_back(c, number);
    conn_after_answer(c);
}

void
dgrams_give_up_old(struct load_conn *c, int64_t before)
{
    struct load_worker *w = c->w;

    if (!c->seen || c->flying == 0)
        return;
    for (uint64_t number = c->got; number < c->sent; number++) {
        if (c->seen[number & (w->ring - 1)] != UNDER_WAY)
            continue;
        if (c->stamps[number & (w->ring - 1)] > before)
            break;
        dgram_done(c, number, GIVEN_UP);
        add(&w->lost, w->hearers ? fanout_missing(c, number) : 1);
    }
}
