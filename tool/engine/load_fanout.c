/*
 * load_fanout.c - one connection speaks, all the others hear: what a publish costs.
 *
 * The speaker is the last connection of the only worker.  Each delivery counts as a message; a
 * message is done with when everybody has heard it, and only that makes room for the next.
 *
 * What a newcomer gets wrong: to expect that everybody hears the first one.  A server may have had
 * not all in its books yet, and knows nobody by datagrams who has not said a word.
 *
 * SPDX-License-Identifier: MIT
 */
#include "load_work.h"

#include <string.h>

static uint64_t
place(const struct load_worker *w, uint64_t number)
{
    return number & (w->ring - 1);
}

uint64_t
fanout_missing(const struct load_conn *speaker, uint64_t number)
{
    const struct load_worker *w = speaker->w;

    return (uint64_t)(w->n - 1 - w->hearers[place(w, number)]);
}

void
fanout_opened(struct load_conn *c)
{
    enum { NOBODY = 0xff }; /* no number that is ever under way */
    struct load_worker *w = c->w;
    size_t size = w->load->opts.size;
    int64_t sent;

    if (w->load->kind != KIND_DATAGRAMS || c == fanout_speaker(w))
        return;
    memset(w->scratch, NOBODY, size < NUMBER_BYTES ? size : NUMBER_BYTES);
    sent = outlet_send(c->c, w->scratch, size);
    memcpy(w->scratch, w->load->pattern, size);
    if (sent < 0)
        conn_send_failed(c, sent);
}

/* `n` messages from `number` on came to one of them. */
static void
delivered(struct load_worker *w, uint64_t number, uint64_t n)
{
    const struct load_conn *speaker = fanout_speaker(w);

    for (uint64_t k = number; k < number + n; k++) {
        int64_t stamp = speaker->stamps[place(w, k)];

        w->hearers[place(w, k)]++;
        if (is_measured(w, stamp))
            eng_hist_record(w->hist, w->now - stamp);
    }
    w->heard = w->now;
    if (w->measuring)
        add(&w->messages, n);
}

/* ---- streams ---- */

/* The message that everybody has makes room for the next. */
static void
all_heard(struct load_worker *w)
{
    struct load_conn *speaker = fanout_speaker(w);

    while (speaker->got < speaker->sent && fanout_missing(speaker, speaker->got) == 0) {
        speaker->got++;
        speaker->flying--;
        w->flying--;
        w->done++;
    }
    conn_refill(speaker);
    worker_finish_if_done(w);
}

/* The first message that a connection hears tells which it is. */
static bool
find_place(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    const struct load_conn *speaker = fanout_speaker(w);

    for (uint64_t k = speaker->got; len >= load->opts.size && k < speaker->sent; k++) {
        size_t at = (size_t)(k % load->each) * load->opts.size;

        if (memcmp(bytes, load->pattern + at, load->opts.size) != 0)
            continue;
        for (uint64_t i = speaker->got; i < k; i++) {
            w->hearers[place(w, i)]++;
        }
        c->got = k;
        c->in_at = at;
        c->synced = true;
        return true;
    }
    return false;
}

static void
stream_heard(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    bool borders = load->kind != KIND_BYTES;
    size_t part = c->part + len;
    uint64_t whole = borders ? 1 : part / load->opts.size;

    if (!c->synced && load->numbered && !find_place(c, bytes, len))
        return; /* a greeting */
    if (c->got + whole > fanout_speaker(w)->sent ||
        (load->opts.check && !load_is_as_sent(load, c->in_at, bytes, len)) ||
        (load->opts.check && borders && len != load->opts.size)) {
        conn_give_up(c, "something else was heard than was said");
        return;
    }
    load_move_on(load, &c->in_at, borders ? load->opts.size : len);
    c->part = borders ? 0 : part - (size_t)whole * load->opts.size;
    delivered(w, c->got, whole);
    c->got += whole;
    all_heard(w);
}

/* ---- datagrams ---- */

static void
datagram_heard(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    struct load_worker *w = c->w;
    const struct eng_load *load = w->load;
    struct load_conn *speaker = fanout_speaker(w);
    size_t head = load->numbered ? NUMBER_BYTES : 0;
    uint64_t number = c->got > speaker->got ? c->got : speaker->got;

    if (load->numbered && (len < head || !dgram_number(speaker, bytes, &number)))
        return; /* a greeting */
    if (number >= speaker->sent)
        return;
    if (load->opts.check &&
        (len != load->opts.size || memcmp(bytes + head, load->pattern + head, len - head) != 0)) {
        conn_was_wrong(c, "something else was heard than was said");
        return;
    }
    if (c->heard[place(w, number)] == (uint32_t)number + 1) {
        add(&w->duplicates, 1);
        return;
    }
    c->heard[place(w, number)] = (uint32_t)number + 1;
    c->got = number + 1;
    if (number + 1 < c->last)
        add(&w->reordered, 1);
    else
        c->last = number + 1;
    delivered(w, number, 1);
    if (speaker->seen[place(w, number)] == GIVEN_UP)
        add(&w->lost, (uint64_t)-1); /* late, but not lost */
    else if (fanout_missing(speaker, number) == 0)
        dgram_done(speaker, number, CAME_BACK);
    if (number + 1 > speaker->last)
        speaker->last = number + 1;
    dgram_mark_overtaken(speaker);
    conn_refill(speaker);
    worker_finish_if_done(w);
}

void
fanout_heard(struct load_conn *c, const uint8_t *bytes, size_t len)
{
    if (c == fanout_speaker(c->w))
        return; /* the server also tells who said it */
    if (c->w->load->kind == KIND_DATAGRAMS)
        datagram_heard(c, bytes, len);
    else
        stream_heard(c, bytes, len);
}
