/*
 * replay.c - the records of a file as connections and messages, at their time or faster.
 *
 * With `expect` a message is not sent before all that was received in front of it then has come
 * now: a device that is slower today is not asked faster than it answers.  A newcomer's mistake: to
 * close when the file says so.  What is on its way still comes; a connection is closed when as much
 * has come as had come then, or when nothing comes any more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "replay.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WAIT_MS = 5000,
    STOP_MS = 1000,
    SLICE = 256, /* records in a turn, so that receiving is not starved */
    QUEUE_HIGH = 256 * 1024,
    WANT_MAX = 16 * 1024 * 1024, /* of a connection: what must come and has not */
    GOT_MAX = 1024 * 1024,       /* what has come, and is not reached in the file */
    FRONT_MAX = 256 * 1024
};

/* Messages one behind the other. */
struct line {
    struct eng_bytes bytes;
    struct eng_bytes sizes; /* of size_t */
    size_t at;              /* used up of each */
    size_t sizes_at;
};

enum talk_state {
    TALK_CONNECTING,
    TALK_OPEN,
    TALK_CLOSING,
    TALK_GONE /* the file does not know it yet */
};

struct talk {
    struct eng_replay *r;
    struct talk *next;
    struct talk **where;
    outlet_conn c;
    uint64_t id; /* as it was recorded */
    enum talk_state state;
    char name[160];
    bool opened;
    bool full;
    bool paused;
    bool ended_in; /* the peer sends nothing more */
    bool over;     /* the file has nothing more of it */
    uint64_t want_bytes;
    uint64_t got_bytes;
    struct line want;
    struct line got;
    uint64_t message; /* that is compared, from 0 */
    uint64_t offset;
    outlet_timer patience;
};

enum replay_state { REPLAY_RUNNING, REPLAY_STOPPING, REPLAY_ENDED };

struct eng_replay {
    outlet_loop *loop;
    struct eng_replay_opts opts;
    struct eng_url url;
    bool borders; /* of messages are kept on this transport */
    enum replay_state state;
    enum eng_result result;
    struct eng_difference difference;
    struct eng_record record; /* the next one */
    bool has_record;
    bool at_end;
    int64_t first_ns;
    int64_t started_ns;
    struct talk *talks;
    void *by_id;
    outlet_timer due;
    outlet_timer deadline;
    bool was_busy;
    struct eng_totals totals;
};

static void pump(struct eng_replay *r);
static void talk_free(struct talk *t);

/* ---- small things ---- */

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
timer_stop(outlet_timer *t)
{
    if (t->id)
        outlet_timer_stop(*t);
    t->id = 0;
}

bool
eng_parse_speed(const char *text, double *speed)
{
    char *end;
    double value;

    if (strcmp(text, "max") == 0) {
        *speed = 0;
        return true;
    }
    if (text[0] < '0' || text[0] > '9')
        return false;
    value = strtod(text, &end);
    if (strcmp(end, "x") != 0 || !(value >= 0.001) || !(value <= 1e6))
        return false;
    *speed = value;
    return true;
}

static size_t
line_count(const struct line *l)
{
    return l->sizes.len / sizeof(size_t) - l->sizes_at;
}

static size_t
line_bytes(const struct line *l)
{
    return l->bytes.len - l->at;
}

static size_t *
line_front(const struct line *l)
{
    return (size_t *)(void *)l->sizes.data + l->sizes_at;
}

static bool
line_add(struct line *l, const uint8_t *bytes, size_t len)
{
    return eng_bytes_add(&l->bytes, bytes, len) && eng_bytes_add(&l->sizes, &len, sizeof len);
}

/* `n` bytes of the front message are done with; all of it when there are no more. */
static void
line_use(struct line *l, size_t n)
{
    size_t *front = line_front(l);

    *front -= n;
    l->at += n;
    if (*front == 0)
        l->sizes_at++;
    if (l->at > FRONT_MAX || l->at == l->bytes.len) {
        eng_bytes_cut(&l->bytes, l->at);
        l->at = 0;
    }
    if (l->sizes_at > FRONT_MAX || line_count(l) == 0) {
        eng_bytes_cut(&l->sizes, l->sizes_at * sizeof(size_t));
        l->sizes_at = 0;
    }
}

static void
line_free(struct line *l)
{
    eng_bytes_free(&l->bytes);
    eng_bytes_free(&l->sizes);
}

/* ---- telling ---- */

static void
tell(struct eng_replay *r, const struct eng_event *e)
{
    r->opts.sink->emit(r->opts.sink, e);
}

static void
tell_message(struct talk *t, bool out, const uint8_t *bytes, size_t len)
{
    struct eng_totals *totals = &t->r->totals;

    *(out ? &totals->messages_out : &totals->messages_in) += 1;
    *(out ? &totals->bytes_out : &totals->bytes_in) += len;
    if (!t->r->opts.sink->quiet_messages)
        tell(t->r, &(struct eng_event){.kind = ENG_MESSAGE,
                                       .id = t->id,
                                       .peer = t->name,
                                       .out = out,
                                       .bytes = bytes,
                                       .size = len});
}

static void
fail(struct eng_replay *r, enum eng_result result, const char *url, const struct outlet_reason *why)
{
    if (r->state != REPLAY_RUNNING)
        return;
    r->totals.errors++;
    tell(r,
         &(struct eng_event){.kind = ENG_ERROR, .url = url, .role = OUTLET_TO_CONNECT, .why = why});
    eng_replay_stop(r, result);
}

static void
fail_plain(struct eng_replay *r, enum eng_result result, outlet_err code, const char *text)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = code;
    why.side = OUTLET_BY_US;
    snprintf(why.text, sizeof why.text, "%s", text);
    fail(r, result, NULL, &why);
}

static void
fail_memory(struct eng_replay *r)
{
    fail_plain(r, ENG_INTERNAL, OUTLET_ENOMEM, outlet_strerror(OUTLET_ENOMEM));
}

void
eng_replay_totals(const struct eng_replay *r, struct eng_totals *out)
{
    *out = r->totals;
    out->ms = (now_ns() - r->started_ns) / 1000000;
}

/* ---- ending ---- */

static void
maybe_ended(struct eng_replay *r)
{
    if (r->state == REPLAY_RUNNING && r->at_end && !r->talks) {
        r->state = REPLAY_STOPPING;
        timer_stop(&r->due);
    }
    if (r->state != REPLAY_STOPPING || r->talks)
        return;
    r->state = REPLAY_ENDED;
    timer_stop(&r->deadline);
    r->opts.ended(r->opts.user, r->result, r->difference.kind ? &r->difference : NULL);
}

static void
stop_too_slow(outlet_timer timer, void *arg)
{
    struct eng_replay *r = arg;

    (void)timer;
    r->deadline.id = 0;
    for (struct talk *t = r->talks; t; t = t->next)
        outlet_abort(t->c);
}

static void
talk_close(struct talk *t)
{
    timer_stop(&t->patience);
    if (t->state == TALK_CONNECTING)
        outlet_abort(t->c);
    else if (t->state == TALK_OPEN)
        outlet_close(t->c);
    t->state = TALK_CLOSING;
}

void
eng_replay_stop(struct eng_replay *r, enum eng_result result)
{
    if (r->state != REPLAY_RUNNING)
        return;
    r->state = REPLAY_STOPPING;
    r->result = result;
    timer_stop(&r->due);
    for (struct talk *t = r->talks, *next; t; t = next) {
        next = t->next;
        if (t->state == TALK_GONE)
            talk_free(t);
        else
            talk_close(t);
    }
    if (r->talks &&
        outlet_timer_start(r->loop, STOP_MS, 0, stop_too_slow, r, &r->deadline) != OUTLET_OK)
        stop_too_slow(r->deadline, r);
    maybe_ended(r);
}

/* ---- comparing ---- */

static size_t
copy_some(uint8_t *to, const struct line *l, size_t skip)
{
    size_t n = line_bytes(l) - skip;

    n = n < ENG_DIFFERENCE_SHOWN ? n : ENG_DIFFERENCE_SHOWN;
    if (n)
        memcpy(to, l->bytes.data + l->at + skip, n);
    return n;
}

/* The first difference ends it all, and `t` may be gone.  `skip` bytes of both are the same. */
static void
differ(struct talk *t, enum eng_difference_kind kind, size_t skip)
{
    struct eng_difference *d = &t->r->difference;

    if (t->r->state != REPLAY_RUNNING)
        return;
    d->kind = kind;
    d->id = t->id;
    d->message = t->message + 1;
    d->offset = t->offset + skip;
    d->want_len = copy_some(d->want, &t->want, skip);
    d->got_len = copy_some(d->got, &t->got, skip);
    eng_replay_stop(t->r, t->r->opts.expect ? ENG_UNMET : ENG_BROKEN);
}

static void
used(struct talk *t, size_t n)
{
    bool whole = *line_front(&t->want) == n;

    line_use(&t->want, n);
    line_use(&t->got, n);
    t->message += whole;
    t->offset = whole ? 0 : t->offset + n;
}

/* As far as both are there. */
static void
compare(struct talk *t)
{
    while (t->r->state == REPLAY_RUNNING && line_count(&t->want) && line_count(&t->got)) {
        size_t want = *line_front(&t->want);
        size_t got = *line_front(&t->got);
        size_t n = want < got ? want : got;
        const uint8_t *a = t->want.bytes.data + t->want.at;
        const uint8_t *b = t->got.bytes.data + t->got.at;
        size_t same = 0;

        while (same < n && a[same] == b[same])
            same++;
        if (same < n)
            differ(t, ENG_OTHER_BYTES, same);
        else if (t->r->borders && want != got)
            differ(t, ENG_OTHER_LENGTH, same);
        else
            used(t, n);
    }
}

static bool
all_came(const struct talk *t)
{
    return t->r->opts.expect ? line_count(&t->want) == 0 : t->got_bytes >= t->want_bytes;
}

static void
settle(struct talk *t)
{
    bool pause = t->r->opts.sink->busy || line_bytes(&t->got) > GOT_MAX;

    if (t->state == TALK_CLOSING || t->state == TALK_GONE)
        return;
    if (pause != t->paused) {
        t->paused = pause;
        if (pause)
            outlet_pause(t->c);
        else
            outlet_resume(t->c);
    }
    if (!t->over || !(all_came(t) || t->ended_in))
        return;
    if (t->r->opts.expect && line_count(&t->got))
        differ(t, ENG_TOO_MUCH, 0);
    else if (t->state == TALK_OPEN)
        talk_close(t);
}

static void
nothing_comes(outlet_timer timer, void *arg)
{
    struct talk *t = arg;

    (void)timer;
    t->patience.id = 0;
    if (t->r->opts.expect)
        differ(t, ENG_MISSING, 0);
    else
        talk_close(t);
}

/* Something is waited for, from now on or again. */
static void
be_patient(struct talk *t)
{
    int64_t ms = t->r->opts.wait_ms ? t->r->opts.wait_ms : WAIT_MS;

    timer_stop(&t->patience);
    if (outlet_timer_start(t->r->loop, ms, 0, nothing_comes, t, &t->patience) != OUTLET_OK)
        fail_memory(t->r);
}

/* ---- connections ---- */

static int
compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const struct talk *)a)->id;
    uint64_t y = ((const struct talk *)b)->id;

    return (x > y) - (x < y);
}

static struct talk *
talk_find(struct eng_replay *r, uint64_t id)
{
    const struct talk key = {.id = id};
    struct talk **found = tfind(&key, &r->by_id, compare_ids);

    return found ? *found : NULL;
}

static void
talk_forget(struct talk *t)
{
    if (talk_find(t->r, t->id) == t)
        tdelete(t, &t->r->by_id, compare_ids);
}

static void
talk_free(struct talk *t)
{
    timer_stop(&t->patience);
    talk_forget(t);
    line_free(&t->want);
    line_free(&t->got);
    *t->where = t->next;
    if (t->next)
        t->next->where = t->where;
    eng_free(t);
}

static void
on_open(outlet_conn c, void *user)
{
    struct talk *t = user;
    char local[160];

    if (t->state != TALK_CONNECTING)
        return;
    t->state = TALK_OPEN;
    t->opened = true;
    t->r->totals.connections++;
    if (outlet_info(c, "peer", t->name, sizeof t->name) < 0)
        t->name[0] = '\0';
    if (outlet_info(c, "local", local, sizeof local) < 0)
        local[0] = '\0';
    tell(t->r, &(struct eng_event){.kind = ENG_OPEN, .id = t->id, .peer = t->name, .local = local});
    if (t->over && !all_came(t))
        be_patient(t);
    settle(t);
    pump(t->r);
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct talk *t = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    if (t->state != TALK_OPEN)
        return;
    tell_message(t, false, bytes, len);
    t->got_bytes += len;
    if (t->patience.id)
        be_patient(t);
    if (t->r->opts.expect && (len || t->r->borders)) {
        if (!line_add(&t->got, bytes, len)) {
            fail_memory(t->r);
            return;
        }
        compare(t);
    }
    settle(t);
    pump(t->r);
}

static void
on_writable(outlet_conn c, void *user)
{
    struct talk *t = user;

    (void)c;
    t->full = false;
    pump(t->r);
}

/* A datagram that nobody got: whoever answered before may be there again for the next one. */
static void
was_refused(struct eng_replay *r, int64_t sys_errno)
{
    struct outlet_reason why;

    if (r->totals.messages_in) {
        r->totals.errors++;
        return;
    }
    eng_reason_of_peer_error(sys_errno, &why);
    fail(r, ENG_NOT_CONNECTED, r->opts.url, &why);
}

static void
on_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct talk *t = user;

    (void)c;
    if (what == OUTLET_EVENT_PEER_ERROR)
        was_refused(t->r, value);
    if (what != OUTLET_EVENT_END || t->state != TALK_OPEN)
        return;
    t->ended_in = true;
    if (t->r->opts.expect && line_count(&t->want))
        differ(t, ENG_MISSING, 0);
    else
        settle(t);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct talk *t = user;
    struct eng_replay *r = t->r;

    (void)c;
    timer_stop(&t->patience);
    if (t->opened)
        tell(r, &(struct eng_event){.kind = ENG_CLOSE, .id = t->id, .peer = t->name, .why = why});
    if (t->state == TALK_OPEN && why->code == OUTLET_OK && r->opts.expect && line_count(&t->want))
        differ(t, ENG_MISSING, 0);
    if (why->code != OUTLET_OK && r->state == REPLAY_RUNNING)
        fail(r, eng_result_of(why), r->opts.url, why);
    t->ended_in = true;
    if (r->state == REPLAY_RUNNING && !t->over)
        t->state = TALK_GONE;
    else
        talk_free(t);
    maybe_ended(r);
    pump(r);
}

static const struct outlet_handlers handlers = {
    .size = sizeof(struct outlet_handlers),
    .on_open = on_open,
    .on_message = on_message,
    .on_writable = on_writable,
    .on_event = on_event,
    .on_close = on_close,
};

static void
open_talk(struct eng_replay *r, uint64_t id)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    struct talk *t = eng_alloc(sizeof *t);
    outlet_err err;

    if (!t) {
        fail_memory(r);
        return;
    }
    t->r = r;
    t->id = id;
    t->next = r->talks;
    if (t->next)
        t->next->where = &t->next;
    t->where = &r->talks;
    r->talks = t;
    opts.on = &handlers;
    opts.user = t;
    opts.why = &why;
    opts.half_open = r->url.stream ? OUTLET_ON : 0;
    opts.idle_ms = OUTLET_OFF;
    err = tsearch(t, &r->by_id, compare_ids) ? outlet_connect(r->loop, r->opts.url, &opts, &t->c)
                                             : OUTLET_ENOMEM;
    if (!err)
        return;
    why.code = err;
    if (!why.text[0])
        snprintf(why.text, sizeof why.text, "%s", outlet_strerror(err));
    talk_free(t);
    fail(r, eng_result_of(&why), r->opts.url, &why);
}

/* ---- the records ---- */

/* Each answers whether the record is done with. */
static bool
play_sent(struct talk *t, const struct eng_record *record)
{
    int64_t answer;

    if (t->state == TALK_GONE || t->state == TALK_CLOSING) {
        differ(t, ENG_ENDED_EARLY, 0);
        return true;
    }
    if (t->state == TALK_CONNECTING || t->full)
        return false;
    if (t->r->opts.expect && line_count(&t->want)) {
        if (!t->patience.id)
            be_patient(t);
        return false;
    }
    timer_stop(&t->patience);
    if (record->size == 0 && !t->r->borders)
        return true; /* a stream has no empty messages */
    answer = outlet_send(t->c, record->bytes, record->size);
    if (answer == OUTLET_EFULL) {
        t->full = true;
        return false;
    }
    if (answer < 0) {
        struct outlet_reason why = OUTLET_REASON;
        char text[160];

        why.code = (outlet_err)answer;
        why.phase = OUTLET_AT_OPEN;
        if (!eng_carry_refuses(&t->r->url, t->r->opts.url, record->bytes, record->size, text,
                               sizeof text))
            snprintf(text, sizeof text, "%s", outlet_strerror(answer));
        snprintf(why.text, sizeof why.text, "connection %llu, a message: %.120s",
                 (unsigned long long)t->id, text);
        fail(t->r, ENG_BROKEN, NULL, &why);
        return true;
    }
    t->full = answer > QUEUE_HIGH;
    tell_message(t, true, record->bytes, record->size);
    return true;
}

static bool
play_wanted(struct talk *t, const struct eng_record *record)
{
    struct eng_replay *r;

    if (line_bytes(&t->want) > WANT_MAX) {
        if (!t->patience.id)
            be_patient(t);
        return false;
    }
    t->want_bytes += record->size;
    if (!t->r->opts.expect || (record->size == 0 && !t->r->borders))
        return true;
    if (!line_add(&t->want, record->bytes, record->size)) {
        fail_memory(t->r);
        return true;
    }
    r = t->r;
    compare(t);
    if (r->state != REPLAY_RUNNING)
        return true;
    if (t->ended_in && line_count(&t->want))
        differ(t, ENG_MISSING, 0);
    else
        settle(t);
    return true;
}

/* The file has nothing more of it; it ends when what was on its way has come. */
static void
talk_is_over(struct talk *t)
{
    t->over = true;
    talk_forget(t); /* its number may come again */
    if (t->state == TALK_GONE) {
        if (t->r->opts.expect && line_count(&t->got))
            differ(t, ENG_TOO_MUCH, 0);
        else
            talk_free(t);
        return;
    }
    if (!all_came(t) && t->state == TALK_OPEN)
        be_patient(t);
    settle(t);
}

static bool
play_message(struct eng_replay *r, const struct eng_record *record)
{
    struct talk *t = talk_find(r, record->conn->id);

    if (!t) { /* where it was opened is not in the file */
        open_talk(r, record->conn->id);
        t = talk_find(r, record->conn->id);
    }
    if (!t)
        return true; /* which has failed */
    return record->out != r->opts.side_in ? play_sent(t, record) : play_wanted(t, record);
}

static bool
play(struct eng_replay *r, const struct eng_record *record)
{
    struct talk *t;

    switch (record->kind) {
    case ENG_RECORD_OPEN:
        open_talk(r, record->conn->id);
        return true;
    case ENG_RECORD_MESSAGE:
        return play_message(r, record);
    case ENG_RECORD_CLOSE:
        t = talk_find(r, record->conn->id);
        if (t)
            talk_is_over(t);
        return true;
    case ENG_RECORD_START:
    case ENG_RECORD_LOST:
    case ENG_RECORD_END:
        return true;
    }
    return true;
}

static void
file_is_over(struct eng_replay *r)
{
    r->at_end = true;
    for (struct talk *t = r->talks, *next; t && r->state == REPLAY_RUNNING; t = next) {
        next = t->next;
        if (!t->over)
            talk_is_over(t);
    }
    maybe_ended(r);
}

/* The next record that is wanted.  False: there is none, or reading failed. */
static bool
next_record(struct eng_replay *r)
{
    struct eng_damage damage;

    while (!r->has_record && !r->at_end && r->state == REPLAY_RUNNING) {
        enum eng_read got = eng_reader_next(r->opts.reader, &r->record, &damage);

        if (got == ENG_READ_RECORD) {
            if (!r->first_ns)
                r->first_ns = r->record.ns;
            r->has_record = eng_record_wanted(&r->opts.filter, &r->record);
        } else if (got == ENG_READ_END) {
            file_is_over(r);
        } else {
            fail_plain(r, ENG_FILE, OUTLET_EPROTO, "the recording changed while it was replayed");
        }
    }
    return r->has_record;
}

static void
is_due(outlet_timer timer, void *arg)
{
    struct eng_replay *r = arg;

    (void)timer;
    r->due.id = 0;
    pump(r);
}

static void
wake_in(struct eng_replay *r, int64_t ms)
{
    if (!r->due.id && outlet_timer_start(r->loop, ms, 0, is_due, r, &r->due) != OUTLET_OK)
        fail_memory(r);
}

/* Nanoseconds until the record's turn. */
static int64_t
wait_ns(const struct eng_replay *r)
{
    double since = (double)(r->record.ns - r->first_ns);

    if (r->opts.speed <= 0 || since <= 0)
        return 0;
    return (int64_t)(since / r->opts.speed) - (now_ns() - r->started_ns);
}

static void
pump(struct eng_replay *r)
{
    for (int i = 0; r->state == REPLAY_RUNNING && !r->opts.sink->busy; i++) {
        int64_t ns;

        if (!next_record(r))
            return;
        ns = wait_ns(r);
        if (ns > 0 || i == SLICE) {
            wake_in(r, ns > 0 ? (ns + 999999) / 1000000 : 0);
            return;
        }
        if (!play(r, &r->record))
            return;
        r->has_record = false;
    }
}

void
eng_replay_flow(struct eng_replay *r)
{
    for (struct talk *t = r->talks; t; t = t->next)
        settle(t);
    pump(r);
}

static void
begin(outlet_timer timer, void *arg)
{
    struct eng_replay *r = arg;

    (void)timer;
    r->due.id = 0;
    r->started_ns = now_ns();
    pump(r);
}

enum eng_result
eng_replay_start(outlet_loop *loop, const struct eng_replay_opts *opts, struct eng_replay **out,
                 struct outlet_reason *why)
{
    struct eng_replay *r = eng_alloc(sizeof *r);

    why->code = OUTLET_ENOMEM;
    if (!r)
        return ENG_INTERNAL;
    if (outlet_url_check(opts->url, OUTLET_TO_CONNECT, why) != OUTLET_OK) {
        eng_free(r);
        return ENG_USAGE;
    }
    r->loop = loop;
    r->opts = *opts;
    (void)eng_url_split(opts->url, OUTLET_TO_CONNECT, &r->url); /* it was checked just now */
    r->borders = !r->url.stream || r->url.framed;
    r->started_ns = now_ns();
    if (outlet_timer_start(loop, 0, 0, begin, r, &r->due) != OUTLET_OK) {
        eng_free(r);
        return ENG_INTERNAL;
    }
    *out = r;
    return ENG_DONE;
}

void
eng_replay_free(struct eng_replay *r)
{
    if (!r)
        return;
    timer_stop(&r->due);
    timer_stop(&r->deadline);
    while (r->talks)
        talk_free(r->talks);
    eng_free(r);
}
