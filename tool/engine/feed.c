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
    snprintf(why->text, sizeof why->text, "%.100s: %s", s->opts.file, strerror(errno));
    return ENG_FILE;
}

/* Messages with borders need the whole file at once; a plain stream is fed from it in chunks. */
static enum eng_result
load_file(struct eng_session *s, int fd, struct outlet_reason *why)
{
    struct eng_bytes *b = &s->input.bytes; /* not used otherwise with a file */

    for (;;) {
        uint8_t *space = eng_bytes_space(b, CHUNK);
        ssize_t n;

        if (!space || b->len > LINE_MAX_BYTES) {
            errno = space ? EFBIG : ENOMEM;
            return file_failed(s, why);
        }
        n = read(fd, space, CHUNK);
        if (n < 0)
            return file_failed(s, why);
        if (n == 0)
            break;
        b->len += (size_t)n;
    }
    s->opts.bytes = *b; /* lent; freed with the input */
    s->opts.payload = ENG_PAYLOAD_BYTES;
    return ENG_DONE;
}

enum eng_result
feed_prepare(struct eng_session *s, struct outlet_reason *why)
{
    enum eng_result result = ENG_DONE;
    struct stat st;
    int fd;

    if (s->opts.payload == ENG_PAYLOAD_INPUT) {
        s->input.regular = fstat(s->opts.input, &st) == 0 && S_ISREG(st.st_mode);
        if (s->url.framed)
            s->opts.input_lines = true;
        return ENG_DONE;
    }
    if (s->opts.payload != ENG_PAYLOAD_FILE)
        return ENG_DONE;
    fd = open(s->opts.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_failed(s, why);
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        result = file_failed(s, why);
    } else if (!s->url.stream || s->url.framed) {
        result = load_file(s, fd, why);
    }
    close(fd);
    if (result)
        eng_bytes_free(&s->input.bytes);
    return result;
}

static void
round_ended(struct peer *p)
{
    struct feed *f = &p->feed;

    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->offset = 0;
    f->due = p->s->opts.every_ms == 0;
    if (f->rounds > 0)
        f->rounds--;
    if (f->rounds == 0) {
        f->state = FEED_DONE;
        timer_end(&f->every);
    }
}

static void
feed_bytes(struct peer *p)
{
    const struct eng_bytes *b = &p->s->opts.bytes;
    bool whole = !p->s->url.stream || p->s->url.framed;
    size_t left = b->len - p->feed.offset;
    size_t n = whole || left < CHUNK ? left : CHUNK;

    if (n > 0 || whole)
        peer_send(p, b->data + p->feed.offset, n, NULL);
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
           !p->s->opts.sink->busy;
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

static void
feed_again(outlet_timer t, void *arg)
{
    struct peer *p = arg;

    (void)t;
    p->feed.due = true;
    feed_pump(p);
    peer_settle(p);
}

void
feed_start(struct peer *p)
{
    const struct eng_session_opts *o = &p->s->opts;

    if (o->payload != ENG_PAYLOAD_BYTES && o->payload != ENG_PAYLOAD_FILE)
        return;
    p->feed.state = FEED_RUNNING;
    p->feed.rounds = o->count ? o->count : o->every_ms ? -1 : 1;
    p->feed.due = true;
    if (o->every_ms && outlet_timer_start(p->s->loop, o->every_ms, o->every_ms, feed_again, p,
                                          &p->feed.every) != OUTLET_OK) {
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--every");
        return;
    }
    feed_pump(p);
}

void
feed_stop(struct peer *p)
{
    timer_end(&p->feed.every);
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
receivers_ready(const struct eng_session *s)
{
    bool any = false;

    if (s->state != SESSION_RUNNING || s->opts.sink->busy)
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

    if (!end && (!in->eof || left == 0)) {
        if (left > LINE_MAX_BYTES)
            session_fail(s, ENG_FILE, OUTLET_EMSGSIZE, 0, "a line of the input");
        return false;
    }
    eng_bytes_add(&line, from, len);
    if (end)
        eng_bytes_text(&line, s->opts.eol);
    *at += len + (end != NULL);
    if (line.failed)
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "a line of the input");
    else
        send_to_all(s, line.len ? line.data : (const uint8_t *)"", line.len);
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

static void
input_ended(struct eng_session *s)
{
    s->input.eof = true;
    timer_end(&s->input.grace);
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

    if (s->opts.payload != ENG_PAYLOAD_INPUT || s->state != SESSION_RUNNING)
        return;
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
