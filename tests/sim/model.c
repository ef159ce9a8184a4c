/*
 * model.c - what was sent, and whether what arrives is that.
 *
 * Content is computed from who sent it and its number, never stored.  The first eight bytes name
 * the sender: so the model finds out which two ends belong together without trusting an address.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_run.h"

#include <stdio.h>
#include <stdlib.h>

#define LETTERS_ALL UINT64_C(0x4040404040404040)
#define LETTERS_NOT UINT64_C(0x8080808080808080)

enum { HEAD = 8, NUMBER = 16 };

bool
is_udp(enum carrier c)
{
    return c == UDP4 || c == UDP6;
}

bool
has_framing(enum carrier c)
{
    return !is_udp(c) && c != UNIX_PACKETS;
}

bool
drops(const struct end *e)
{
    return e->full == OUTLET_FULL_DROP_NEW || e->full == OUTLET_FULL_DROP_OLD;
}

struct end *
end_new(struct run *r, int loop, enum carrier c, bool server, const struct frame_kind *frame)
{
    struct end *e;

    if (r->end_count == ENDS_MAX)
        return NULL;
    e = &r->ends[r->end_count];
    memset(e, 0, sizeof *e);
    e->run = r;
    e->index = r->end_count++;
    e->loop = loop;
    e->carrier = c;
    e->server = server;
    e->frame = frame;
    e->join_at = -1;
    e->last_published = -1;
    return e;
}

/* ---- content ---- */

size_t
text_number(uint8_t *to, char first, unsigned number)
{
    char text[HEAD + 1];

    snprintf(text, sizeof text, "%c%07x", first, number & 0xfffffffu);
    memcpy(to, text, HEAD);
    return HEAD;
}

static uint64_t
word(uint64_t key, uint64_t i, bool letters)
{
    uint64_t z = (key ^ (i + 1) * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);

    z ^= z >> 29;
    return letters ? (z & ~LETTERS_NOT) | LETTERS_ALL : z;
}

/* Bytes from .. from + len of an endless content. */
static void
content(uint64_t key, uint64_t from, bool letters, uint8_t *to, size_t len)
{
    while (len > 0) {
        uint64_t w = word(key, from / 8, letters);
        size_t at = from % 8;
        size_t n = ol_min(8 - at, len);

        memcpy(to, (const uint8_t *)&w + at, n);
        to += n;
        from += n;
        len -= n;
    }
}

static uint64_t
key_of(const struct end *e, int number)
{
    return e->run->seed * UINT64_C(0x2545f4914f6cdd1d) + (uint64_t)e->index * 65536 +
           (uint64_t)number + 1;
}

static void
fill(const struct end *e, int number, uint64_t from, uint8_t *to, size_t len)
{
    bool marked = !e->frame->none || is_udp(e->carrier);

    if (!marked) {
        uint8_t head[HEAD];
        size_t n = from < HEAD ? ol_min(HEAD - (size_t)from, len) : 0;

        content(key_of(e, 0), from, false, to, len);
        text_number(head, 'e', (unsigned)e->index);
        if (n)
            memcpy(to, head + from, n);
        return;
    }
    content(key_of(e, number), 0,
            number < e->sent_count ? e->sent[number].letters : e->frame->letters, to, len);
    if (len >= HEAD)
        text_number(to, 'e', (unsigned)e->index);
    if (len >= NUMBER && is_udp(e->carrier))
        text_number(to + HEAD, 'n', (unsigned)number);
}

void
model_fill(const struct end *e, uint8_t *to, size_t len)
{
    fill(e, e->sent_count, e->sent_bytes, to, len);
}

void
model_sent(struct end *e, size_t len, const struct frame_kind *turn_to, bool answer)
{
    e->sent[e->sent_count++] = (struct sent){len, turn_to, answer, e->frame->letters};
    e->sent_bytes += len;
    if (len || !e->frame->none || is_udp(e->carrier))
        e->messages_out++;
}

void
model_fill_published(int number, uint8_t *to, size_t len)
{
    content((uint64_t)number + 77, 0, true, to, len);
    if (len >= HEAD)
        text_number(to, 'g', (unsigned)number);
}

/* ---- what arrives ---- */

static bool
same(struct run *r, const struct end *from, int number, uint64_t at, const uint8_t *bytes,
     size_t len)
{
    fill(from, number, at, r->bytes, len);
    return memcmp(r->bytes, bytes, len) == 0;
}

static int
number_in(const uint8_t *bytes, char first)
{
    char text[HEAD + 1];
    char *end;
    unsigned long n;

    memcpy(text, bytes, HEAD);
    text[HEAD] = 0;
    if (text[0] != first)
        return -1;
    n = strtoul(text + 1, &end, 16);
    return *end || n > INT32_MAX ? -1 : (int)n;
}

static bool
fit_together(const struct end *a, const struct end *b)
{
    if (a == b || a->carrier != b->carrier)
        return false;
    return a->carrier == BOTH_ENDS ? a->loop == b->loop : a->server != b->server;
}

static bool
meet(struct end *e, const uint8_t head[HEAD])
{
    struct run *r = e->run;
    int n = number_in(head, 'e');
    struct end *other = n >= 0 && n < r->end_count ? &r->ends[n] : NULL;

    if (e->peer && e->peer == other)
        return true;
    if (!other || e->peer || !fit_together(e, other)) {
        wrong(r, "end %d: got a message of end %d, its peer is %d", e->index, n,
              e->peer ? e->peer->index : -1);
        return false;
    }
    /* A client's datagram socket may speak with several connections of the listener in turn. */
    if (other->peer && other->peer != e && !is_udp(e->carrier)) {
        wrong(r, "end %d and end %d both got bytes of end %d", e->index, other->peer->index, n);
        return false;
    }
    if (is_udp(e->carrier) && !e->server) {
        e->peer = NULL; /* stays free: the next one may come from a newer connection */
        return true;
    }
    e->peer = other;
    if (!is_udp(e->carrier))
        other->peer = e;
    return true;
}

static void
stream_received(struct end *e, const uint8_t *bytes, size_t len)
{
    struct run *r = e->run;
    size_t at = 0;

    while (e->head_len < HEAD && at < len) {
        e->head[e->head_len++] = bytes[at++];
    }
    e->got_bytes += len;
    if (e->head_len < HEAD)
        return;
    if (!e->peer && !meet(e, e->head))
        return;
    if (e->got_bytes > e->peer->sent_bytes) {
        wrong(r, "end %d: %llu bytes came, %llu were sent", e->index,
              (unsigned long long)e->got_bytes, (unsigned long long)e->peer->sent_bytes);
        return;
    }
    if (!same(r, e->peer, 0, e->got_bytes - len, bytes, len))
        wrong(r, "end %d: wrong bytes between %llu and %llu", e->index,
              (unsigned long long)(e->got_bytes - len), (unsigned long long)e->got_bytes);
}

static void
published_received(struct end *e, int number, const uint8_t *bytes, size_t len)
{
    struct run *r = e->run;
    const struct published *p = &r->published[number];
    const struct end *s = e->peer;

    if (number >= r->published_count || p->len != len) {
        wrong(r, "end %d: publication %d was not made", e->index, number);
        return;
    }
    model_fill_published(number, r->bytes, len);
    if (memcmp(r->bytes, bytes, len) != 0)
        wrong(r, "end %d: publication %d has wrong bytes", e->index, number);
    if (!s) { /* its first message was refused: nobody knows whose this is */
        e->got_unknown = true;
        return;
    }
    if (s->group != p->group || s->loop != p->loop || s->index == p->except)
        wrong(r, "end %d: publication %d was not for its peer", e->index, number);
    else if (number <= e->last_published || s->join_at < 0 || (s->left && number >= s->leave_at))
        wrong(r, "end %d: publication %d after %d, joined at %d, left at %d", e->index, number,
              e->last_published, s->join_at, s->leave_at);
    e->last_published = number;
    e->got_published += s && number >= s->join_at; /* else it was under way when its peer joined */
}

static const struct sent *
message_received(struct end *e, const uint8_t *bytes, size_t len)
{
    struct run *r = e->run;
    int number = len >= HEAD ? number_in(bytes, 'g') : -1;

    if (number >= 0 && number < PUBLISHED_MAX) {
        published_received(e, number, bytes, len);
        return NULL;
    }
    if (!e->peer && len < HEAD) {
        wrong(r, "end %d: its first message has %zu bytes", e->index, len);
        return NULL;
    }
    if (!e->peer && !meet(e, bytes))
        return NULL;
    for (; e->next < e->peer->sent_count; e->next++) {
        const struct sent *s = &e->peer->sent[e->next];

        if (s->len == len && same(r, e->peer, e->next, 0, bytes, len)) {
            e->next++;
            return s;
        }
        if (!drops(e->peer))
            break;
        e->skipped++;
    }
    wrong(r, "end %d: %zu bytes are not message %d of end %d (%d sent, %zu bytes expected)",
          e->index, len, e->next, e->peer->index, e->peer->sent_count,
          e->next < e->peer->sent_count ? e->peer->sent[e->next].len : 0);
    return NULL;
}

static void
datagram_received(struct end *e, const uint8_t *bytes, size_t len)
{
    struct run *r = e->run;
    struct end *from;
    int n;

    if (len == 0) {
        e->got_empty++;
        return;
    }
    n = len >= NUMBER ? number_in(bytes + HEAD, 'n') : -1;
    if (n < 0 || !meet(e, bytes)) {
        wrong(r, "end %d: a datagram of %zu bytes that nobody sent", e->index, len);
        return;
    }
    from = &r->ends[number_in(bytes, 'e')];
    if (n >= from->sent_count || from->sent[n].len != len || !same(r, from, n, 0, bytes, len)) {
        wrong(r, "end %d: datagram %d of end %d is damaged", e->index, n, from->index);
        return;
    }
    if (!may(r, LOSSY)) {
        if (e->peer && n < e->next)
            wrong(r, "end %d: datagram %d after %d", e->index, n, e->next - 1);
        e->next = n + 1;
        if (e->seen[n] && e->peer)
            wrong(r, "end %d: datagram %d came twice", e->index, n);
    }
    e->seen[n] = 1;
}

const struct sent *
model_received(struct end *e, const uint8_t *bytes, size_t len)
{
    e->messages_in++;
    e->bytes_in += (int64_t)len;
    e->run->messages++;
    note(e->run, "end %d: %zu bytes", e->index, len);
    if (is_udp(e->carrier)) {
        datagram_received(e, bytes, len);
        return NULL;
    }
    if (e->frame->none) {
        stream_received(e, bytes, len);
        return NULL;
    }
    return message_received(e, bytes, len);
}

/* ---- when all must be here ---- */

int64_t
fact(struct end *e, const char *key)
{
    char text[32];
    int64_t err;

    e->run->depth++;
    err = outlet_info(e->h, key, text, sizeof text);
    e->run->depth--;
    return err < 0 ? err : strtoll(text, NULL, 10);
}

/* An end whose framing can take this publication. */
static bool
carries(const struct end *e, size_t len)
{
    return e->frame->fixed ? e->frame->fixed == len : len <= e->frame->max;
}

static int
expected_published(const struct end *s)
{
    const struct run *r = s->run;
    int n = 0;

    for (int i = 0; i < r->published_count; i++) {
        const struct published *p = &r->published[i];

        n += p->loop == s->loop && p->group == s->group && p->except != s->index &&
             i >= s->join_at && (!s->left || i < s->leave_at) && carries(s, p->len);
    }
    return n;
}

static bool
is_live(const struct end *e)
{
    return e->opened && !e->told && !e->closed && !e->aborted && !e->ended;
}

void
model_all_arrived(struct end *e, const char *when)
{
    struct run *r = e->run;
    struct end *s = e->peer;
    int64_t dropped;

    if (!s || is_udp(e->carrier) || s->lost_some)
        return;
    dropped = s->told ? s->dropped : fact(s, "dropped");
    if (e->frame->none) {
        if (e->got_bytes != s->sent_bytes)
            wrong(r, "end %d, %s: %llu of %llu bytes of end %d came", e->index, when,
                  (unsigned long long)e->got_bytes, (unsigned long long)s->sent_bytes, s->index);
        return;
    }
    if (drops(s) && may(r, HEAP_FAILS))
        return; /* without memory the count of those that were dropped is lost */
    if (e->skipped + s->sent_count - e->next > dropped)
        wrong(r, "end %d, %s: %d of %d messages of end %d came, %lld were dropped", e->index, when,
              e->next - e->skipped, s->sent_count, s->index, (long long)dropped);
}

/* ---- the end ---- */

static bool
loop_ended(const struct end *e)
{
    return e->run->stopped[e->loop] || e->run->drained[e->loop];
}

static bool
plausible(const struct end *e, const struct outlet_reason *why)
{
    const struct run *r = e->run;
    const struct end *peer = e->peer;
    bool strange = may(r, CALL_FAILS | HEAP_FAILS | SMALL_MEMORY);

    switch (why->code) {
    case OUTLET_OK:
        if (why->side == OUTLET_BY_US)
            return e->closed || r->drained[e->loop];
        /* The other one of outlet_pair() may have ended before it began. */
        return why->side == OUTLET_BY_PEER;
    case OUTLET_ECANCELED: /* a run that went wrong is cut off */
        if (r->bad)
            return true;
        return e->aborted || e->closed_early || loop_ended(e);
    case OUTLET_EDENIED:
        return e->refused;
    case OUTLET_EREFUSED:
        return !e->opened;
    case OUTLET_ERESET:
        return may(r, RUDE | BREAKS | SHORT_TIMES | FEW_CONNS | SMALL_QUEUES | CALL_FAILS |
                          HEAP_FAILS | SMALL_MEMORY | NO_ANSWER) ||
               (peer && peer->aborted);
    case OUTLET_ETIMEDOUT:
        return may(r, SHORT_TIMES | NO_ANSWER | FEW_CONNS | SLICES) || strange || e->paused_once ||
               (peer && peer->paused_once) || (e->closed && peer && peer->half_open);
    case OUTLET_EFULL:
        return may(r, SMALL_QUEUES) && (e->full == OUTLET_FULL_CLOSE || e->away);
    case OUTLET_ENOMEM:
        return strange;
    case OUTLET_ENOFILE:
        return may(r, NO_ANSWER | CALL_FAILS);
    case OUTLET_ELIMIT:
        return may(r, FEW_CONNS) && is_udp(e->carrier);
    case OUTLET_ESYS:
    case OUTLET_EUNREACH:
    case OUTLET_EADDR:
    case OUTLET_EPERM:
    case OUTLET_EADDRINUSE:
        return may(r, CALL_FAILS);
    case OUTLET_EAGAIN: /* unix: the backlog is full */
    case OUTLET_ENOENT:
        return !e->opened || may(r, CALL_FAILS);
    case OUTLET_EINVAL:
    case OUTLET_ESTALE:
    case OUTLET_ESTATE:
    case OUTLET_EMSGSIZE:
    case OUTLET_EPROTO:
    case OUTLET_ERESOLVE:
    case OUTLET_EEOF:
    case OUTLET_ETLS:
    case OUTLET_ECERT:
    case OUTLET_EPROXY:
    case OUTLET_EAUTH:
    case OUTLET_ENOTSUP:
    case OUTLET_EDEADLK:
    case OUTLET_ETHREAD:
    case OUTLET_EEXIST:
        return false;
    }
    return false;
}

static void
check_counters(struct end *e)
{
    struct run *r = e->run;
    int64_t in = fact(e, "messages_in");
    int64_t out = fact(e, "messages_out");
    int64_t most = e->messages_out + (e->group ? PUBLISHED_MAX : 0);
    bool exact = !e->group && !drops(e) && !e->posted && !may(r, HEAP_FAILS);

    e->dropped = fact(e, "dropped");
    e->told_bytes_in = fact(e, "bytes_in");
    e->told_bytes_out = fact(e, "bytes_out");
    if (in != e->messages_in)
        wrong(r, "end %d: messages_in is %lld, %lld came", e->index, (long long)in,
              (long long)e->messages_in);
    if (out > most || (exact && out != e->messages_out))
        wrong(r, "end %d: messages_out is %lld, %lld were sent", e->index, (long long)out,
              (long long)e->messages_out);
    if (e->told_bytes_in < e->bytes_in)
        wrong(r, "end %d: bytes_in is %lld, messages had %lld", e->index,
              (long long)e->told_bytes_in, (long long)e->bytes_in);
}

void
model_closed(struct end *e, const struct outlet_reason *why)
{
    struct run *r = e->run;

    e->why = *why;
    check_counters(e);
    if (!why->text[0] || why->size != sizeof *why)
        wrong(r, "end %d: a reason without a text", e->index);
    if (!plausible(e, why))
        wrong(r, "end %d: not plausible: %s, %s, by %s: %s", e->index, outlet_error_name(why->code),
              outlet_phase_name(why->phase), outlet_side_name(why->side), why->text);
    if (e->opened && why->phase != OUTLET_AT_OPEN && why->phase != OUTLET_AT_DRAIN)
        wrong(r, "end %d: was open, but ended in phase %s", e->index,
              outlet_phase_name(why->phase));
    if (why->code == OUTLET_OK && why->side == OUTLET_BY_PEER && e->opened)
        model_all_arrived(e, "closed by its peer");
    if (why->code == OUTLET_OK && why->side == OUTLET_BY_PEER && e->peer && e->peer->told &&
        !is_udp(e->carrier) && !e->lost_some && e->told_bytes_in != e->peer->told_bytes_out)
        wrong(r, "end %d: bytes_in %lld, its peer's bytes_out %lld", e->index,
              (long long)e->told_bytes_in, (long long)e->peer->told_bytes_out);
}

/* ---- when nothing moves ---- */

static void
check_stuck(struct end *e)
{
    struct run *r = e->run;
    int64_t queued = outlet_queued(e->h);

    if (queued != 0)
        wrong(r, "end %d: all is quiet, but %lld bytes are queued", e->index, (long long)queued);
    if (e->sent_count == 0 || drops(e) || is_udp(e->carrier))
        return;
    if (!e->peer) {
        wrong(r, "end %d: all is quiet, but nothing it sent has arrived", e->index);
        return;
    }
    if (!is_live(e->peer))
        return;
    model_all_arrived(e->peer, "all is quiet");
    if (e->joined && fact(e, "dropped") == 0 && !e->peer->got_unknown &&
        e->peer->got_published != expected_published(e))
        wrong(r, "end %d: got %d publications, %d were for its peer", e->peer->index,
              e->peer->got_published, expected_published(e));
}

/* Nothing was paused, closed or lost: every datagram must be there. */
static void
check_datagrams(struct end *e)
{
    const struct end *s = e->peer;
    int empty = 0;

    if (!s || !is_live(s) || s->peer_errors || drops(s) || e->paused_once)
        return;
    for (int i = 0; i < e->run->end_count; i++) {
        if (e->run->ends[i].peer == s && i != e->index)
            return; /* an older connection got the first ones */
    }
    for (int i = 0; i < s->sent_count; i++) {
        empty += s->sent[i].len == 0;
    }
    if (e->got_empty != empty)
        wrong(e->run, "end %d: %d of %d empty datagrams came", e->index, e->got_empty, empty);
    for (int i = 0; i < s->sent_count; i++) {
        if (!e->seen[i] && s->sent[i].len)
            wrong(e->run, "end %d: datagram %d of end %d is missing", e->index, i, s->index);
    }
}

void
model_quiet(struct run *r)
{
    for (int i = 0; i < r->end_count && !r->bad; i++) {
        struct end *e = &r->ends[i];

        if (!is_live(e))
            continue;
        if (may(r, LIVELY))
            check_stuck(e);
        if (may(r, LIVELY) && is_udp(e->carrier))
            check_datagrams(e);
    }
}

void
model_final(struct run *r)
{
    for (int i = 0; i < r->end_count; i++) {
        struct end *e = &r->ends[i];

        if (!e->told && e->h.id)
            wrong(r, "end %d: was never told of its end", e->index);
        if (e->h.id && outlet_queued(e->h) != OUTLET_ESTALE)
            wrong(r, "end %d: its handle is not stale", e->index);
    }
}
