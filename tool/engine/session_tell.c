/*
 * session_tell.c - what happens in a session as events for its sink: counted, checked, decoded.
 *
 * A newcomer's mistake: to decode a message for itself.  A character may begin in one and end in
 * the next; the decoder of each direction keeps the beginning.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSED_MS = 1000 }; /* so often it is looked for who was not let in */

void
session_tell(struct eng_session *s, const struct eng_event *event)
{
    s->opts.sink->emit(s->opts.sink, event);
}

bool
session_hears_many(const struct eng_session *s)
{
    return s->opts.role == OUTLET_TO_CONNECT && !s->opts.to && strcmp(s->url.scheme, "udp") == 0;
}

/* What we connected to may be a group or a broadcast address: then the sender is somebody in it. */
static const char *
sender_of(const struct peer *p, char *room, size_t size)
{
    if (!p->from || outlet_msg_peer(p->from, room, size) >= size)
        return NULL;
    return strcmp(room, p->name) == 0 ? NULL : room;
}

static void
check_message(struct eng_session *s, struct eng_event *e)
{
    /* A checksum stands in front of the end of a line, if there is one. */
    size_t len = eng_without_eol(e->bytes, e->size, s->opts.eol);

    e->sum = s->opts.verify;
    e->check = eng_sum_check(e->sum, e->bytes, len, &e->sum_has, &e->sum_want);
    if (e->check == ENG_GOOD)
        s->totals.good++;
    else
        s->totals.bad++;
    if (e->check == ENG_GOOD && s->opts.strip)
        e->hidden = e->size - len + eng_sum_size(e->sum);
}

/* The decoder of a direction keeps what a message cut off.  NULL: no memory. */
static struct eng_coder *
coder_of(struct peer *p, bool out)
{
    if (!p->coders[out])
        p->coders[out] = eng_decoder_open(p->s->opts.charset);
    return p->coders[out];
}

static void
decode_message(struct peer *p, struct eng_event *e)
{
    struct eng_coder *coder = coder_of(p, e->out);
    bool amid;

    if (!coder) {
        session_fail(p->s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--charset");
        return;
    }
    amid = eng_coder_is_amid(coder);
    p->text.len = 0;
    eng_decode(coder, e->bytes, e->size - e->hidden, &p->text);
    e->text = p->text.len ? p->text.data : (const uint8_t *)"";
    e->text_len = p->text.len;
    e->text_whole = !amid && !eng_coder_is_amid(coder) &&
                    eng_decoded_is_whole(e->text, e->text_len);
}

void
peer_tell_message(struct peer *p, bool out, const void *bytes, size_t len)
{
    struct eng_session *s = p->s;
    char sender[sizeof p->name];
    struct eng_event e = {
        .kind = ENG_MESSAGE, .id = p->id, .peer = p->name, .out = out, .bytes = bytes, .size = len};

    p->messages[out]++;
    p->bytes[out] += len;
    if (s->opts.to) {
        /* counted at the end of each side, by the library */
    } else if (out) {
        s->totals.messages_out++;
        s->totals.bytes_out += len;
    } else {
        s->totals.messages_in++;
        s->totals.bytes_in += len;
    }
    if (!out && s->opts.verify)
        check_message(s, &e);
    if (s->opts.sink->quiet_messages)
        return;
    if (!out)
        e.sender = sender_of(p, sender, sizeof sender);
    e.rule = p->rule ? p->rule->name : NULL;
    e.stays = p->stays;
    if (s->opts.charset)
        decode_message(p, &e);
    session_tell(s, &e);
}

/* `url` is NULL when the error is not about the endpoint. */
void
session_tell_reason(struct eng_session *s, const char *url, const struct outlet_reason *why)
{
    s->totals.errors++;
    session_tell(
        s, &(struct eng_event){.kind = ENG_ERROR, .url = url, .role = s->opts.role, .why = why});
}

void
session_tell_error(struct eng_session *s, const char *text)
{
    struct outlet_reason why = OUTLET_REASON;

    why.code = OUTLET_EINVAL;
    why.side = OUTLET_BY_US;
    snprintf(why.text, sizeof why.text, "%s", text);
    session_tell_reason(s, NULL, &why);
}

void
session_tell_end(struct eng_session *s, const struct outlet_reason *why, uint64_t discarded)
{
    s->totals.errors++;
    session_tell(s, &(struct eng_event){.kind = ENG_ERROR,
                                        .url = s->opts.url,
                                        .role = s->opts.role,
                                        .why = why,
                                        .discarded = discarded});
}

/* ---- datagrams that did not arrive ------------------------------------------------------- */

static outlet_err
code_of(int64_t sys_errno)
{
    switch (sys_errno) {
    case ECONNREFUSED:
    case ECONNRESET: /* a unix socket that was there */
    case ENOTCONN:   /* ... and is not connected to any more */
    case ENOENT:
        return OUTLET_EREFUSED;
    case EMSGSIZE:
        return OUTLET_EMSGSIZE;
    case EACCES:
    case EPERM:
        return OUTLET_EPERM;
    default:
        return OUTLET_EUNREACH;
    }
}

void
eng_reason_of_peer_error(int64_t sys_errno, struct outlet_reason *why)
{
    *why = (struct outlet_reason)OUTLET_REASON;
    why->code = code_of(sys_errno);
    why->phase = OUTLET_AT_OPEN;
    why->side = OUTLET_BY_SYSTEM;
    why->sys_errno = (int32_t)sys_errno;
    if (why->code == OUTLET_EUNREACH)
        snprintf(why->text, sizeof why->text, "%s (%s)", outlet_strerror(why->code),
                 strerror((int)sys_errno));
    else
        snprintf(why->text, sizeof why->text, "%s", outlet_strerror(why->code));
}

/* Once for each kind: who sends a thousand is not told so a thousand times.  They are counted. */
void
peer_tell_error(struct peer *p, int64_t sys_errno)
{
    struct eng_session *s = p->s;
    struct outlet_reason why;
    struct eng_event e = {.kind = ENG_ERROR, .id = p->id, .peer = p->name, .why = &why};
    uint32_t bit;

    eng_reason_of_peer_error(sys_errno, &why);
    bit = UINT32_C(1) << -why.code;
    s->totals.errors++;
    if (p->told_errors & bit)
        return;
    p->told_errors |= bit;
    e.role = OUTLET_TO_CONNECT;
    if (p->to || p->far)
        e.url = p->to ? p->to : s->opts.to;
    else if (s->opts.role == OUTLET_TO_CONNECT)
        e.url = s->opts.url;
    else
        e.aside = true;
    if (e.aside && sys_errno == ENOTCONN)
        snprintf(why.text, sizeof why.text, "it has no address that an answer could go to");
    session_tell(s, &e);
}

bool
peer_is_forgotten(const struct peer *p, const struct outlet_reason *why)
{
    const char *scheme = p->s->url.scheme;

    return why->code == OUTLET_ETIMEDOUT && p->s->opts.role == OUTLET_TO_LISTEN && !p->far &&
           (strcmp(scheme, "udp") == 0 || strcmp(scheme, "unix-dgram") == 0);
}

/* ---- clients that were not let in -------------------------------------------------------- */

void
session_count_refused(struct eng_session *s)
{
    char text[24];

    if (s->listener.id && outlet_listener_info(s->listener, "refused", text, sizeof text) > 0)
        s->totals.refused = strtoull(text, NULL, 10);
}

/* The first one, and whenever there are twice as many as were told: somebody may try for ever. */
static void
look_for_refused(outlet_timer t, void *arg)
{
    struct eng_session *s = arg;
    struct outlet_reason why = OUTLET_REASON;

    (void)t;
    session_count_refused(s);
    if (!s->totals.refused || s->totals.refused < 2 * s->refused_told)
        return;
    s->refused_told = s->totals.refused;
    why.code = OUTLET_EDENIED;
    why.side = OUTLET_BY_US;
    snprintf(why.text, sizeof why.text, "not let in by allow, deny or a limit, so far: %llu",
             (unsigned long long)s->totals.refused);
    session_tell(s, &(struct eng_event){.kind = ENG_ERROR, .why = &why});
}

outlet_err
session_refusals_start(struct eng_session *s)
{
    static const char *const keys[] = {"allow", "deny", "conns", "conns_per_address"};
    char value[8];

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (eng_url_option(s->opts.url, keys[i], value, sizeof value))
            return outlet_timer_start(s->loop, REFUSED_MS, REFUSED_MS, look_for_refused, s,
                                      &s->refusals);
    }
    return OUTLET_OK;
}

/* ---- ends -------------------------------------------------------------------------------- */

/* Did it end otherwise than somebody here wanted? */
static bool
has_failed(const struct peer *p, const struct outlet_reason *why)
{
    bool ours = why->code == OUTLET_ECANCELED && why->side == OUTLET_BY_US;

    return why->code != OUTLET_OK && !ours && !peer_is_forgotten(p, why);
}

/* With the beginning of a character that never ended. */
void
peer_tell_close(struct peer *p, const struct outlet_reason *why)
{
    bool only = p->s->opts.role == OUTLET_TO_CONNECT || p->s->opts.once;
    struct eng_event e = {.kind = ENG_CLOSE,
                          .id = p->id,
                          .peer = p->name,
                          .why = why,
                          .aside = !only && !p->told && has_failed(p, why),
                          .discarded = p->discarded};

    if (p->coders[false]) {
        p->text.len = 0;
        eng_decode_end(p->coders[false], &p->text);
        e.text = p->text.data;
        e.text_len = p->text.len;
    }
    peer_record_close(p, why);
    session_tell(p->s, &e);
}
