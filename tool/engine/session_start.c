/*
 * session_start.c - a session is made: judged, opened, told; or nothing is left of it.
 *
 * A newcomer's mistake: to open first.  Whatever the caller got wrong is found before there is a
 * socket.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <string.h>

enum {
    ONCE_DATAGRAM_MS = 5000, /* datagrams have no end: silence is one */
};

static bool
expect_prepare(struct eng_session *s)
{
    const struct eng_bytes *want = &s->opts.expect;
    size_t n = 0;

    if (!want->len)
        return true;
    s->fallback = eng_alloc(want->len * sizeof *s->fallback);
    if (!s->fallback)
        return false;
    for (size_t i = 1; i < want->len; i++) {
        while (n && want->data[n] != want->data[i])
            n = s->fallback[n - 1];
        if (want->data[n] == want->data[i])
            n++;
        s->fallback[i] = n;
    }
    return true;
}

static enum eng_result
start_failed(struct outlet_reason *why, outlet_err err)
{
    enum eng_result result;

    why->code = err;
    if (!why->text[0])
        snprintf(why->text, sizeof why->text, "%s", outlet_strerror(err));
    result = eng_result_of(why);
    return result == ENG_DONE ? ENG_INTERNAL : result;
}

static enum eng_result
open_endpoint(struct eng_session *s, struct outlet_reason *why)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct peer *p;
    outlet_err err;

    opts.on = session_handlers(s);
    opts.user = &s->nobody;
    opts.why = why;
    if (!s->opts.to || s->ruled) { /* a relay of the library passes on the peers' ends itself */
        bool ends = s->url.stream || (s->ruled && strcmp(s->url.scheme, "unix-seqpacket") == 0);

        opts.half_open = ends ? OUTLET_ON : 0;
        opts.flush_ms = FLUSH_MS;
    }
    if (s->url.stream || strcmp(s->url.scheme, "unix-seqpacket") == 0)
        opts.idle_ms = OUTLET_OFF; /* who says nothing has not left: only the URL sets a limit */
    else if (s->opts.once && s->opts.role == OUTLET_TO_LISTEN)
        opts.idle_ms = ONCE_DATAGRAM_MS;
    if (s->opts.role == OUTLET_TO_LISTEN) {
        err = outlet_listen(s->loop, s->opts.url, &opts, &s->listener);
        if (!err && session_refusals_start(s) != OUTLET_OK) {
            outlet_listener_close(s->listener);
            err = OUTLET_ENOMEM;
        }
        return err ? start_failed(why, err) : ENG_DONE;
    }
    p = peer_new(s);
    if (!p)
        return start_failed(why, OUTLET_ENOMEM);
    opts.user = p;
    err = outlet_connect(s->loop, s->opts.url, &opts, &p->c);
    if (!err)
        return ENG_DONE;
    peer_free(p);
    return start_failed(why, err);
}

/* Is it a datagram socket, to which our wish for a half-close means nothing? */
static bool
has_no_half_close(const struct eng_session *s, const struct outlet_reason *why)
{
    return s->url.stream && strcmp(s->url.scheme, "fd") == 0 && why->position < 0 &&
           strcmp(why->key, "half_open") == 0;
}

/* What a descriptor is shows when it has been taken up: fd:3 may be anything.  Until then it is no
 * stream, so that a file was loaded as one message. */
static enum eng_result
open_descriptor(struct eng_session *s, struct outlet_reason *why)
{
    enum eng_result result;
    char transport[32] = "";
    int64_t told;

    s->url.stream = true;
    result = open_endpoint(s, why);
    if (result && has_no_half_close(s, why)) {
        *why = (struct outlet_reason)OUTLET_REASON;
        s->url.stream = false;
        result = open_endpoint(s, why);
    }
    if (result)
        return result;
    told = s->listener.id
               ? outlet_listener_info(s->listener, "transport", transport, sizeof transport)
               : outlet_info(s->peers->c, "transport", transport, sizeof transport);
    s->url.stream = told > 0 && (strcmp(transport, "tcp") == 0 || strcmp(transport, "unix") == 0);
    s->datagrams = told > 0 && strcmp(transport, "udp") == 0;
    return ENG_DONE;
}

/* The URL as it was asked for, with the port that was picked: our own defaults say nothing to
 * people.  NULL: no memory. */
char *
session_url_new(const struct eng_session *s)
{
    const char *options = s->opts.url + strcspn(s->opts.url, "#?");
    char place[1024]; /* what stands behind it is cut off anyway */
    char *url;

    if (outlet_listener_info(s->listener, "url", place, sizeof place) < 0)
        snprintf(place, sizeof place, "%s", s->opts.url);
    place[strcspn(place, "#?")] = '\0';
    url = eng_alloc(strlen(place) + strlen(options) + 1); /* lists may be long */
    if (url)
        snprintf(url, strlen(place) + strlen(options) + 1, "%s%s", place, options);
    return url;
}

static void
tell_listening(struct eng_session *s)
{
    char *url = session_url_new(s);

    session_record_start(s, url ? url : s->opts.url);
    session_tell(s, &(struct eng_event){.kind = ENG_LISTENING,
                                        .url = url ? url : s->opts.url,
                                        .driver = outlet_loop_driver(s->loop)});
    eng_free(url);
}

bool
eng_session_carries(const struct eng_session_opts *opts, bool *reply, char *why, size_t room)
{
    struct eng_url u;
    bool said = opts->payload == ENG_PAYLOAD_BYTES && !opts->payload_template;
    bool answered = opts->rule == ENG_RULE_REPLY && !opts->reply_template;

    if (!eng_url_split(opts->url, opts->role, &u))
        return true;
    *reply = false;
    if (said && eng_carry_refuses(&u, opts->url, opts->bytes.data, opts->bytes.len, why, room))
        return false;
    *reply = true;
    return !answered ||
           !eng_carry_refuses(&u, opts->url, opts->reply.data, opts->reply.len, why, room);
}

enum eng_result
eng_session_start(outlet_loop *loop, const struct eng_session_opts *opts, struct eng_session **out,
                  struct outlet_reason *why)
{
    struct eng_session *s = eng_alloc(sizeof *s);
    enum eng_result result;
    char high[32];
    int64_t time_ms;

    if (!s)
        return start_failed(why, OUTLET_ENOMEM);
    s->loop = loop;
    s->opts = *opts;
    s->rules = opts->rules;
    s->ruled = opts->to && opts->rules;
    s->nobody.s = s;
    s->started_ms = session_now_ms();
    s->tick.fd = -1;
    s->trusts_high = !eng_url_option(opts->url, "high", high, sizeof high) &&
                     !(opts->to && eng_url_option(opts->to, "high", high, sizeof high));
    if (!expect_prepare(s)) {
        result = start_failed(why, OUTLET_ENOMEM);
        goto free_session;
    }
    if (outlet_url_check(opts->url, opts->role, why) != OUTLET_OK) {
        result = ENG_USAGE;
        goto free_fallback;
    }
    (void)eng_url_split(opts->url, opts->role, &s->url); /* it was checked just now */
    if (opts->to && outlet_url_check(opts->to, OUTLET_TO_CONNECT, why) != OUTLET_OK) {
        result = ENG_USAGE;
        goto free_fallback;
    }
    s->datagrams = strcmp(s->url.scheme, "udp") == 0;
    result = feed_prepare(s, why);
    if (result)
        goto free_fallback;
    time_ms = opts->time_ms ? opts->time_ms : opts->expect.len ? EXPECT_MS : 0;
    if (tick_start(s) != OUTLET_OK) {
        result = start_failed(why, OUTLET_ENOFILE);
        goto stop_tick;
    }
    if (time_ms) {
        outlet_err err = outlet_timer_start(loop, time_ms, 0, session_time_is_over, s, &s->time);

        if (err) {
            result = start_failed(why, err);
            goto stop_tick;
        }
    }
    result = strcmp(s->url.scheme, "fd") == 0 ? open_descriptor(s, why) : open_endpoint(s, why);
    if (result)
        goto stop_time;
    *out = s;
    if (opts->role == OUTLET_TO_LISTEN)
        tell_listening(s);
    else
        session_record_start(s, opts->url);
    return ENG_DONE;

stop_time:
    timer_end(&s->time);
stop_tick:
    tick_stop(s);
    tick_free(s);
    input_free(s);
free_fallback:
    eng_free(s->fallback);
free_session:
    eng_free(s);
    return result;
}

void
eng_session_free(struct eng_session *s)
{
    if (!s)
        return;
    while (s->branches)
        forward_free(s->branches);
    while (s->peers)
        peer_free(s->peers);
    input_stop(s);
    input_free(s);
    tick_free(s);
    eng_rules_free(s->rules);
    eng_tallies_free(&s->before);
    eng_free(s->fallback);
    eng_free(s);
}
