/*
 * record_filter.c - which records of a file somebody wants to see.
 *
 * What is asked of connections (number, peer) leaves out all of them; what is asked of messages
 * (direction, size, bytes, time) leaves out messages only, so that a part of a recording still says
 * who spoke.  A newcomer's mistake: to look for a text across messages.  A record is one message,
 * and where a stream was cut is where it was received.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <string.h>
#include <time.h>

enum { DIGITS = 9 };

/* ".5" as nanoseconds.  NULL: no digits. */
static const char *
parse_fraction(const char *text, int64_t *ns)
{
    int64_t scale = 100000000;
    const char *at = text + 1;

    *ns = 0;
    if (*text != '.')
        return text;
    for (; *at >= '0' && *at <= '9' && at - text <= DIGITS; at++) {
        *ns += (*at - '0') * scale;
        scale /= 10;
    }
    return at == text + 1 ? NULL : at;
}

bool
eng_parse_when(const char *text, struct eng_when *out)
{
    struct tm tm = {.tm_isdst = -1};
    const char *rest;
    int64_t ms;
    int64_t part;
    bool day = true;

    if (eng_parse_duration(text, &ms)) {
        *out = (struct eng_when){.kind = ENG_WHEN_SINCE, .ns = ms * 1000000};
        return true;
    }
    rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        rest = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
    if (!rest) {
        memset(&tm, 0, sizeof tm);
        rest = strptime(text, "%H:%M:%S", &tm);
        day = false;
    }
    rest = rest ? parse_fraction(rest, &part) : NULL;
    if (!rest || (*rest && (!day || strcmp(rest, "Z") != 0)))
        return false;
    if (!day) {
        int64_t seconds = (int64_t)tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;

        *out = (struct eng_when){.kind = ENG_WHEN_CLOCK, .ns = seconds * 1000000000 + part};
        return true;
    }
    *out = (struct eng_when){.kind = ENG_WHEN_TIME,
                             .ns = (int64_t)(*rest ? timegm(&tm) : mktime(&tm)) * 1000000000 +
                                   part};
    return out->ns >= 0;
}

/* "64", "10..", "..100", "10..100" */
bool
eng_parse_size_range(const char *text, size_t *least, size_t *most)
{
    const char *dots = strstr(text, "..");
    uint64_t ends[2] = {0, SIZE_MAX};
    const char *at = text;

    for (int i = 0; i < 2; i++) {
        const char *begin = at;
        uint64_t number = 0;

        for (; *at >= '0' && *at <= '9'; at++) {
            if (number > UINT64_MAX / 20)
                return false;
            number = number * 10 + (uint64_t)(*at - '0');
        }
        if (at > begin)
            ends[i] = number;
        else if (!dots)
            return false;
        if (!dots) {
            ends[1] = number;
            break;
        }
        if (i == 0 && at != dots)
            return false;
        at += i == 0 ? 2 : 0;
    }
    if (*at || ends[0] > ends[1] || strcmp(text, "..") == 0)
        return false;
    *least = (size_t)ends[0];
    *most = (size_t)ends[1];
    return true;
}

/* A time of the clock is one of the day on which the recording began. */
static int64_t
resolve(const struct eng_when *when, int64_t first_ns, int64_t otherwise)
{
    time_t seconds = (time_t)(first_ns / 1000000000);
    struct tm tm;

    switch (when->kind) {
    case ENG_WHEN_ANY:
        break;
    case ENG_WHEN_TIME:
        return when->ns;
    case ENG_WHEN_SINCE:
        return first_ns > INT64_MAX - when->ns ? INT64_MAX : first_ns + when->ns;
    case ENG_WHEN_CLOCK:
        localtime_r(&seconds, &tm);
        tm.tm_hour = 0;
        tm.tm_min = 0;
        tm.tm_sec = 0;
        tm.tm_isdst = -1;
        return (int64_t)mktime(&tm) * 1000000000 + when->ns;
    }
    return otherwise;
}

bool
eng_record_wanted(struct eng_record_filter *f, const struct eng_record *r)
{
    if (!f->begun) {
        f->begun = true;
        f->after_ns = resolve(&f->after, r->ns, INT64_MIN);
        f->before_ns = resolve(&f->before, r->ns, INT64_MAX);
    }
    if (!r->conn)
        return true;
    if ((f->id && r->conn->id != f->id) || (f->peer && !strstr(r->conn->peer, f->peer)))
        return false;
    if (r->kind != ENG_RECORD_MESSAGE)
        return true;
    if ((f->in_only && r->out) || (f->out_only && !r->out) || r->size < f->size_least ||
        r->size > f->size_most || r->ns < f->after_ns || r->ns > f->before_ns)
        return false;
    return !f->contains || memmem(r->bytes, r->size, f->contains->data, f->contains->len);
}

bool
eng_record_filter_is_of_messages(const struct eng_record_filter *f)
{
    return f->in_only || f->out_only || f->size_least || f->size_most != SIZE_MAX ||
           f->after.kind || f->before.kind || f->contains;
}
