/*
 * feed.c - where the bytes that a session sends come from: a payload for each peer, or one input
 * for all of them.
 *
 * Both read only while every receiver has room, so the slowest peer slows the source and memory
 * stays bounded.  A newcomer's mistake: to watch a regular file.  It is always ready and no kernel
 * will say so; it is read in slices, one per turn of the loop, so that receiving is not starved.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    SLICE_READS = 8,  /* chunks of a file per turn */
    SLICE_SENDS = 64, /* messages of a payload per turn */
    GRACE_MS = 500,   /* silence of the input, after the peer has ended, that means it is over */
    LINE_MAX_BYTES = 16 * 1024 * 1024
};

/* ---- a payload, for each peer ---- */

static enum eng_result
file_failed(const struct eng_session *s, struct outlet_reason *why)
{
    why->code = OUTLET_ESYS;
    why->side = OUTLET_BY_US;
    why->sys_errno = errno;
    if (errno == EFBIG)
        snprintf(
            why->text, sizeof why->text,
            "%.60s is longer than %d bytes, the most that a message read from a file has; break "
            "it up",
            s->opts.file, LINE_MAX_BYTES);
    else
        snprintf(why->text, sizeof why->text, "%.80s cannot be read: %s; check the path",
                 s->opts.file, strerror(errno));
    return ENG_FILE;
}

/* Messages with borders need the whole file at once; a plain stream is fed from it in chunks. */
static enum eng_result
load_file(struct eng_session *s, int fd, struct outlet_reason *why)
{
    struct eng_bytes *b = &s->input.bytes; /* not used otherwise with a file */
    char text[160];

    errno = eng_file_read(fd, LINE_MAX_BYTES, b);
    if (errno)
        return file_failed(s, why);
    eng_seal(b, s->opts.append, "");
    if (b->failed) {
        errno = ENOMEM;
        return file_failed(s, why);
    }
    if (eng_carry_refuses(&s->url, s->opts.url, b->data, b->len, text, sizeof text)) {
        why->code = OUTLET_EINVAL;
        snprintf(why->text, sizeof why->text, "%.40s: %.117s", s->opts.file, text);
        return ENG_USAGE;
    }
    s->opts.bytes = *b; /* lent; freed with the input */
    s->opts.payload = ENG_PAYLOAD_BYTES;
    return ENG_DONE;
}

/* Nothing would be sent of an empty message where messages have no borders, and nobody could
 * answer it.  What is no plain file, and may never say anything, is not looked into. */
static bool
asks_nothing(const struct eng_session *s, int fd)
{
    bool borders = s->url.stream ? s->url.framed : strcmp(s->url.scheme, "unix-seqpacket") != 0;
    bool inherited = strcmp(s->url.scheme, "fd") == 0; /* may be anything */
    struct stat st;
    char byte;

    if (!s->opts.answer || borders || inherited || s->opts.payload_template)
        return false;
    if (s->opts.payload == ENG_PAYLOAD_BYTES)
        return s->opts.bytes.len == 0;
    return s->opts.payload == ENG_PAYLOAD_FILE && fstat(fd, &st) == 0 &&
           (S_ISREG(st.st_mode) || st.st_rdev == makedev(1, 3)) && read(fd, &byte, 1) == 0;
}

static enum eng_result
nothing_asked(struct outlet_reason *why)
{
    why->code = OUTLET_EINVAL;
    why->side = OUTLET_BY_US;
    snprintf(why->text, sizeof why->text,
             "an empty message cannot be sent there; give it some bytes, or set frame=");
    return ENG_USAGE;
}

enum eng_result
feed_prepare(struct eng_session *s, struct outlet_reason *why)
{
    enum eng_result result = ENG_DONE;
    struct stat st;
    int fd;

    if (s->opts.payload == ENG_PAYLOAD_INPUT) {
        s->input.regular = fstat(s->opts.input, &st) == 0 && S_ISREG(st.st_mode);
        /* A checksum is of a message, and a stream as it comes has none. */
        if (s->url.framed || s->opts.append)
            s->opts.input_lines = true;
        if (s->opts.charset && !s->opts.input_lines)
            s->input.encoder = eng_encoder_open(s->opts.charset);
        if (s->opts.charset && !s->opts.input_lines && !s->input.encoder) {
            why->code = OUTLET_ENOMEM;
            return ENG_INTERNAL;
        }
        return ENG_DONE;
    }
    if (s->opts.payload != ENG_PAYLOAD_FILE)
        return asks_nothing(s, -1) ? nothing_asked(why) : ENG_DONE;
    fd = open(s->opts.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_failed(s, why);
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        result = file_failed(s, why);
    } else if (!s->url.stream || s->url.framed || s->opts.append) {
        result = load_file(s, fd, why);
    }
    if (!result && asks_nothing(s, fd))
        result = nothing_asked(why);
    close(fd);
    if (result)
        eng_bytes_free(&s->input.bytes);
    return result;
}

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
tick_set(struct eng_session *s, int64_t at_ns)
{
    struct itimerspec spec = {
        .it_value = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000}};

    s->tick.at_ns = at_ns;
    (void)timerfd_settime(s->tick.fd, TFD_TIMER_ABSTIME, &spec, NULL); /* cannot fail */
}

static void
round_ended(struct peer *p)
{
    struct feed *f = &p->feed;
    struct tick *tick = &p->s->tick;
    int64_t due;

    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->offset = 0;
    f->made_is = false;
    f->schedule.sent++;
    if (f->rounds > 0)
        f->rounds--;
    if (f->rounds == 0) {
        f->state = FEED_DONE;
        session_all_is_sent(p);
        return;
    }
    if (p->s->opts.every_ms == 0)
        return;
    due = eng_schedule_due(&f->schedule);
    f->due = due <= now_ns();
    if (!f->due && (!tick->at_ns || due < tick->at_ns))
        tick_set(p->s, due);
}

/* The bytes of this round; NULL: they could not be made, and the session has failed. */
static const struct eng_bytes *
round_bytes(struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;
    struct feed *f = &p->feed;

    if (!o->payload_template)
        return &o->bytes;
    if (!f->made_is) {
        f->made.len = 0;
        if (!peer_render(p, o->payload_template, f->schedule.sent, o->payload_eol, &f->made))
            return NULL;
        f->made_is = true;
    }
    return &f->made;
}

static void
feed_bytes(struct peer *p)
{
    const struct eng_bytes *b = round_bytes(p);
    bool whole = !p->s->url.stream || p->s->url.framed;
    size_t left = b ? b->len - p->feed.offset : 0;
    size_t n = whole || left < CHUNK ? left : CHUNK;

    if (!b)
        return;
    if (n > 0 || whole)
        peer_send(p, n ? b->data + p->feed.offset : (const uint8_t *)"", n, NULL);
    p->feed.offset += n;
    if (p->feed.offset == b->len)
        round_ended(p);
}

static void
feed_file(struct peer *p)
{
    uint8_t chunk[CHUNK];
    ssize_t n;

    if (p->feed.fd < 0)
        p->feed.fd = open(p->s->opts.file, O_RDONLY | O_CLOEXEC);
    n = p->feed.fd < 0 ? -1 : read(p->feed.fd, chunk, sizeof chunk);
    if (n < 0)
        session_fail(p->s, ENG_FILE, OUTLET_ESYS, errno, p->s->opts.file);
    else if (n == 0)
        round_ended(p);
    else
        peer_send(p, chunk, (size_t)n, NULL);
}

static bool
feed_ready(const struct peer *p)
{
    return p->feed.state == FEED_RUNNING && p->feed.due && peer_can_send(p) &&
           !session_is_busy(p->s);
}

static void
feed_next_turn(outlet_timer t, void *arg)
{
    struct peer *p = arg;

    (void)t;
    p->feed.again.id = 0;
    feed_pump(p);
    peer_settle(p);
}

void
feed_pump(struct peer *p)
{
    for (int i = 0; i < SLICE_SENDS && feed_ready(p); i++) {
        if (p->s->opts.payload == ENG_PAYLOAD_BYTES)
            feed_bytes(p);
        else
            feed_file(p);
    }
    if (feed_ready(p) && !p->feed.again.id &&
        outlet_timer_start(p->s->loop, 0, 0, feed_next_turn, p, &p->feed.again) != OUTLET_OK)
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the payload");
}

/* Whoever has a message due sends it; then the next one of all is waited for. */
static void
tick_came(outlet_watch w, int events, void *arg)
{
    struct eng_session *s = arg;
    int64_t now = now_ns();
    int64_t next = 0;
    uint64_t rings;

    (void)w;
    if (events < 0) {
        s->tick.watching = false;
        session_fail(s, ENG_INTERNAL, (outlet_err)events, 0, "--every");
        return;
    }
    (void)!read(s->tick.fd, &rings, sizeof rings); /* how many is not asked: the schedule knows */
    s->tick.at_ns = 0;
    for (struct peer *p = s->peers; p && s->state == SESSION_RUNNING; p = p->next) {
        if (p->feed.state != FEED_RUNNING || !eng_schedule_is_due(&p->feed.schedule, now))
            continue;
        p->feed.due = true;
        feed_pump(p);
        peer_settle(p);
    }
    if (s->state != SESSION_RUNNING)
        return;
    for (struct peer *p = s->peers; p; p = p->next) {
        int64_t due = eng_schedule_due(&p->feed.schedule);

        if (p->feed.state == FEED_RUNNING && !p->feed.due && (!next || due < next))
            next = due;
    }
    tick_set(s, next);
}

outlet_err
tick_start(struct eng_session *s)
{
    outlet_err err;

    s->tick.fd = -1;
    if (!s->opts.every_ms)
        return OUTLET_OK;
    s->tick.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (s->tick.fd < 0)
        return OUTLET_ENOFILE;
    err = outlet_watch_start(s->loop, s->tick.fd, OUTLET_READABLE, tick_came, s, &s->tick.watch);
    s->tick.watching = !err;
    return err;
}

void
tick_stop(struct eng_session *s)
{
    if (s->tick.watching)
        outlet_watch_stop(s->tick.watch);
    s->tick.watching = false;
}

void
tick_free(struct eng_session *s)
{
    if (s->tick.fd >= 0)
        close(s->tick.fd);
    s->tick.fd = -1;
}

void
feed_start(struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;

    if (o->payload != ENG_PAYLOAD_BYTES && o->payload != ENG_PAYLOAD_FILE)
        return;
    if (p->s->last.look.id)
        return; /* it came too late */
    p->feed.state = FEED_RUNNING;
    p->feed.rounds = o->count ? o->count : o->every_ms ? -1 : 1;
    p->feed.due = true;
    p->feed.schedule = (struct eng_schedule){.start_ns = now_ns(),
                                             .every_ns = o->every_ms * 1000000};
    feed_pump(p);
}

/* What is sent again and again is never all sent: only a message that has begun counts. */
uint64_t
feed_left(const struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;
    const struct feed *f = &p->feed;
    const struct eng_bytes *b = o->payload_template ? &f->made : &o->bytes;
    struct stat st;
    off_t at;

    if (f->state != FEED_RUNNING || !f->due || (o->every_ms && f->fd < 0 && !f->offset))
        return 0;
    if (o->payload == ENG_PAYLOAD_BYTES)
        return b->len - f->offset;
    at = f->fd < 0 ? 0 : lseek(f->fd, 0, SEEK_CUR);
    if ((f->fd < 0 ? stat(o->file, &st) : fstat(f->fd, &st)) != 0 || at < 0 || st.st_size < at)
        return 0;
    return (uint64_t)(st.st_size - at);
}

void
feed_stop(struct peer *p)
{
    timer_end(&p->feed.again);
    if (p->feed.fd >= 0)
        close(p->feed.fd);
    p->feed.fd = -1;
    if (p->feed.state == FEED_RUNNING)
        p->feed.state = FEED_IDLE;
}

/* ---- one input, for all peers ---- */

/* Someone is there, and nobody is behind. */
static bool
receivers_ready(struct eng_session *s)
{
    bool any = false;

    if (s->state != SESSION_RUNNING || session_is_busy(s))
        return false;
    for (const struct peer *p = s->peers; p; p = p->next) {
        if (p->state != PEER_OPEN || p->ended_out)
            continue;
        if (!peer_can_send(p))
            return false;
        any = true;
    }
    return any;
}

static void
send_to_all(struct eng_session *s, const uint8_t *bytes, size_t len)
{
    for (struct peer *p = s->peers; p && s->state == SESSION_RUNNING; p = p->next) {
        if (peer_can_send(p))
            peer_send(p, bytes, len, NULL);
    }
}

/* Someone who types can type it anew. */
static void
input_is_wrong(struct eng_session *s, const char *text)
{
    char about[64] = "the input";
    char what[160];

    if (s->input.line)
        snprintf(about, sizeof about, "line %llu of the input", (unsigned long long)s->input.line);
    if (!s->opts.input_person) {
        session_fail_saying(s, ENG_FILE, OUTLET_EINVAL, about, text);
        return;
    }
    snprintf(what, sizeof what, "not sent: %s", text);
    session_tell_error(s, what);
}

/* A character has no code, or is none. */
static void
input_has_no_code(struct eng_session *s, const uint8_t *text, size_t len, size_t at)
{
    struct eng_bytes shown = {0};
    char what[160];
    size_t n = eng_utf8_next(text + at, len - at);

    eng_text_visible(&shown, text + at, n ? n : 1);
    if (n)
        snprintf(what, sizeof what,
                 "'%.*s' has no code in %.40s; leave it out, or use another charset",
                 (int)shown.len, shown.len ? (const char *)shown.data : "", s->opts.charset);
    else
        snprintf(what, sizeof what,
                 "'%.*s' is not UTF-8, which it must be to be sent in %.40s; leave --charset out "
                 "for bytes as they are",
                 (int)shown.len, shown.len ? (const char *)shown.data : "", s->opts.charset);
    eng_bytes_free(&shown);
    input_is_wrong(s, what);
}

/* The message that a line becomes.  False: it has characters that the charset does not, or what
 * the URL cannot carry. */
static bool
make_line(struct eng_session *s, const uint8_t *from, size_t len, bool whole,
          struct eng_bytes *line)
{
    char why[160];
    size_t bad_at;

    if (!eng_encode_text(s->opts.charset, from, len, line, &bad_at)) {
        input_has_no_code(s, from, len, bad_at);
        return false;
    }
    eng_seal(line, s->opts.append, whole ? s->opts.eol : "");
    /* Of what a pipe brings the library finds it, and costs nothing more. */
    if (s->opts.input_person && !line->failed &&
        eng_carry_refuses(&s->url, s->opts.url, line->data, line->len, why, sizeof why)) {
        input_is_wrong(s, why);
        return false;
    }
    return true;
}

/* Send one line out of what was read.  False: there is no whole one. */
static bool
send_line(struct eng_session *s, size_t *at)
{
    struct input *in = &s->input;
    const uint8_t *from = in->bytes.data + *at;
    size_t left = in->bytes.len - *at;
    const uint8_t *end = left ? memchr(from, '\n', left) : NULL;
    size_t len = end ? (size_t)(end - from) : left;
    struct eng_bytes line = {0};
    bool made;

    if (!end && (!in->eof || left == 0)) {
        if (left > LINE_MAX_BYTES)
            session_fail_saying(s, ENG_FILE, OUTLET_EMSGSIZE, "the input",
                                "a line is longer than 16 MiB, the limit; break it up");
        return false;
    }
    in->line = ++in->lines;
    made = make_line(s, from, len, end != NULL, &line);
    *at += len + (end != NULL);
    if (line.failed)
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "a line of the input");
    else if (made)
        send_to_all(s, line.len ? line.data : (const uint8_t *)"", line.len);
    in->line = 0;
    eng_bytes_free(&line);
    return true;
}

/* Send what was read, as far as receivers have room. */
static void
input_send(struct eng_session *s)
{
    struct input *in = &s->input;
    size_t at = 0;

    if (in->bytes.len == 0)
        return;
    if (!s->opts.input_lines) {
        if (receivers_ready(s)) {
            send_to_all(s, in->bytes.data, in->bytes.len);
            at = in->bytes.len;
        }
    } else {
        while (receivers_ready(s) && send_line(s, &at))
            continue;
    }
    eng_bytes_cut(&in->bytes, at);
}

/* What was read just now, as the last `n` bytes, is encoded where it stands. */
static bool
input_encode(struct eng_session *s, size_t n)
{
    struct input *in = &s->input;
    struct eng_bytes raw = {0};
    size_t bad_at;
    bool ok;

    if (!in->encoder || n == 0)
        return true;
    eng_bytes_add(&raw, in->bytes.data + in->bytes.len - n, n);
    in->bytes.len -= n;
    ok = !raw.failed;
    if (!ok) {
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the input");
    } else if (!eng_encode(in->encoder, raw.data, n, &in->bytes, &bad_at)) {
        input_has_no_code(s, raw.data, n, bad_at);
        ok = false;
    }
    eng_bytes_free(&raw);
    return ok;
}

static void
input_ended(struct eng_session *s)
{
    s->input.eof = true;
    timer_end(&s->input.grace);
    if (s->input.encoder && !eng_encode_end(s->input.encoder, &s->input.bytes))
        input_is_wrong(s, "it ends in the middle of a character");
    input_send(s);
}

bool
input_done(const struct eng_session *s)
{
    return s->input.eof && s->input.bytes.len == 0;
}

static bool
input_read(struct eng_session *s)
{
    struct input *in = &s->input;
    size_t room = s->url.stream ? CHUNK : DATAGRAM_MAX;
    uint8_t *space = eng_bytes_space(&in->bytes, room);
    ssize_t n;

    if (!space) {
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the input");
        return false;
    }
    n = read(s->opts.input, space, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    /* EIO: a terminal that belongs to somebody else now.  Nothing more will be typed for us. */
    if (n < 0 && errno != EIO) {
        session_fail(s, ENG_FILE, OUTLET_ESYS, errno, "the input");
        return false;
    }
    if (n <= 0) {
        input_ended(s);
        return false;
    }
    in->bytes.len += (size_t)n;
    if (!input_encode(s, (size_t)n))
        return false;
    input_send(s);
    return true;
}

static void
input_is_silent(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;

    (void)t;
    s->input.grace.id = 0;
    if (!s->input.watching) { /* nobody looked: a receiver is behind.  That is not silence. */
        for (struct peer *p = s->peers; p; p = p->next)
            peer_settle(p);
        return;
    }
    input_ended(s);
    input_pump(s);
}

void
input_linger(struct peer *p)
{
    struct input *in = &p->s->input;

    if (in->regular || in->grace.id)
        return; /* its end comes by itself, or the silence is being measured */
    if (outlet_timer_start(p->s->loop, GRACE_MS, 0, input_is_silent, p->s, &in->grace) != OUTLET_OK)
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the input");
}

/* It has no readiness (a file, /dev/null): it is read like a file. */
static void
watch_failed(struct eng_session *s, outlet_err err)
{
    s->input.watching = false;
    if (err == OUTLET_ENOTSUP || err == OUTLET_EPERM) {
        s->input.regular = true;
        input_pump(s);
    } else {
        session_fail(s, ENG_INTERNAL, err, 0, "the input");
    }
}

static void
input_is_ready(outlet_watch w, int events, void *arg)
{
    struct eng_session *s = arg;

    (void)w;
    if (events < 0) {
        watch_failed(s, (outlet_err)events);
        return;
    }
    if (s->input.grace.id) {
        timer_end(&s->input.grace);
        input_read(s);
        for (struct peer *p = s->peers; p; p = p->next)
            peer_settle(p); /* begins to measure silence anew */
    } else {
        input_read(s);
    }
    input_pump(s);
}

static void
input_again(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;

    (void)t;
    s->input.again.id = 0;
    input_pump(s);
}

static void
watch_stop(struct input *in)
{
    if (in->watching)
        outlet_watch_stop(in->watch);
    in->watching = false;
}

static void
watch_start(struct eng_session *s)
{
    struct input *in = &s->input;
    outlet_err err;

    if (in->watching)
        return;
    err = outlet_watch_start(s->loop, s->opts.input, OUTLET_READABLE, input_is_ready, s,
                             &in->watch);
    if (err)
        watch_failed(s, err);
    else
        in->watching = true;
}

void
input_pump(struct eng_session *s)
{
    struct input *in = &s->input;

    if (s->opts.payload != ENG_PAYLOAD_INPUT || s->state != SESSION_RUNNING || s->last.look.id)
        return;
    if (s->opts.input < 0) {
        if (s->opts.ready)
            s->opts.ready(s->opts.user);
        return;
    }
    input_send(s);
    for (int i = 0; in->regular && i < SLICE_READS && !in->eof && receivers_ready(s); i++) {
        if (!input_read(s))
            break;
    }
    if (s->state != SESSION_RUNNING)
        return;
    if (in->eof || !receivers_ready(s)) {
        watch_stop(in);
        for (struct peer *p = s->peers; p && input_done(s); p = p->next)
            peer_settle(p);
        return;
    }
    if (!in->regular) {
        watch_start(s);
    } else if (!in->again.id &&
               outlet_timer_start(s->loop, 0, 0, input_again, s, &in->again) != OUTLET_OK) {
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "the input");
    }
}

void
input_stop(struct eng_session *s)
{
    watch_stop(&s->input);
    timer_end(&s->input.again);
    timer_end(&s->input.grace);
}

void
input_free(struct eng_session *s)
{
    eng_bytes_free(&s->input.bytes);
    eng_coder_close(s->input.encoder);
    s->input.encoder = NULL;
}
