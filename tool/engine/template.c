/*
 * template.c - compile a template, and render it.  Pure: time and chance are given.
 *
 * A template is a list of parts: bytes as they are, or a place with its numbers.  Everything that
 * can be wrong is wrong when it is compiled, with its place.  A newcomer's mistake: to treat every
 * }} as an end.  JSON is full of them; outside of a place they are text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "template.h"

#include "engine.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PARTS_MAX = 256,
    PLACE_MAX = 128,
    WORD_MAX = 48,
    RANDOM_MAX = 4096,
    DIGITS_MAX = 64,
    MATCHES_MAX = 16,
    REPLACED_MAX = 64
};

enum part_kind {
    PART_BYTES,
    PART_SEQ,
    PART_TIME,        /* by `format` */
    PART_TIME_NUMBER, /* since 1970, in `unit` ns */
    PART_RAND_NUMBER, /* from `start` to `last` */
    PART_RAND_BYTES,  /* `count` of them, as they are */
    PART_RAND_HEX,
    PART_RAND_TEXT,
    PART_CLIENT,
    PART_PEER,
    PART_UUID,
    PART_MATCH /* group `start` */
};

struct part {
    enum part_kind kind;
    size_t offset; /* of its bytes or its format, in `store` */
    size_t len;
    int64_t start;
    int64_t step;
    int64_t last;
    int64_t unit;
    unsigned width; /* of a number in text: digits, at least */
    unsigned base;
    unsigned bytes; /* as a binary number of so many; 0: as text */
    bool low_first;
    bool utc;
};

struct eng_template {
    struct eng_bytes store;
    char charset[48]; /* "": UTF-8 */
    size_t count;
    struct part parts[PARTS_MAX];
};

/* While it is compiled. */
struct compile {
    struct eng_template *t;
    const char *text;
    enum eng_notation notation;
    int groups; /* of {{match}}; -1: there is none */
    size_t matches;
    struct eng_mistake *mistake;
};

/* ---- compiling ---- */

static bool
wrong(struct compile *c, enum eng_wrong what, size_t at, const char *near)
{
    *c->mistake = (struct eng_mistake){.wrong = what, .at = at};
    snprintf(c->mistake->near, sizeof c->mistake->near, "%s", near);
    return false;
}

static struct part *
add_part(struct compile *c, size_t at, enum part_kind kind)
{
    struct part *p = &c->t->parts[c->t->count];

    if (c->t->count == PARTS_MAX) {
        wrong(c, ENG_WRONG_LONG, at, "256");
        return NULL;
    }
    c->t->count++;
    *p = (struct part){.kind = kind, .offset = c->t->store.len, .base = 10, .step = 1};
    return p;
}

/* The text from `at` on, `len` bytes of it, as bytes of the message. */
static bool
add_bytes(struct compile *c, size_t at, size_t len)
{
    struct eng_bytes text = {0};
    struct eng_bytes *store = &c->t->store;
    struct eng_mistake mistake = {0};
    struct part *p = add_part(c, at, PART_BYTES);
    bool ok;

    if (!p)
        return false;
    eng_bytes_add(&text, c->text + at, len);
    eng_bytes_add(&text, "", 1);
    if (text.failed) {
        store->failed = true;
        return true;
    }
    ok = eng_parse_payload(c->notation, (const char *)text.data,
                           c->t->charset[0] ? c->t->charset : NULL, store, &mistake);
    eng_bytes_free(&text);
    p->len = store->len - p->offset;
    if (!ok && !store->failed) /* else there was no memory to judge it */
        wrong(c, mistake.wrong, at + mistake.at, mistake.near);
    return ok;
}

/* One word of a place: a name, or key=value. */
struct word {
    char text[WORD_MAX];
    size_t at; /* in the template */
    char *value;
    size_t value_at;
};

/* The word at *at of the place, which ends at `end`.  False: there is none, or it is too long. */
static bool
next_word(struct compile *c, size_t *at, size_t end, struct word *w)
{
    size_t len = 0;

    while (*at < end && c->text[*at] == ' ')
        ++*at;
    w->at = *at;
    while (*at + len < end && c->text[*at + len] != ' ')
        len++;
    if (len >= sizeof w->text) {
        wrong(c, ENG_WRONG_LONG, w->at, "47");
        return false;
    }
    memcpy(w->text, c->text + *at, len);
    w->text[len] = '\0';
    *at += len;
    w->value = strchr(w->text, '=');
    if (w->value) {
        *w->value++ = '\0';
        w->value_at = w->at + (size_t)(w->value - w->text);
    }
    return len > 0;
}

static bool
number_of(struct compile *c, const char *text, size_t at, int64_t least, int64_t most, int64_t *out)
{
    char near[64];
    char *end;
    size_t sign = text[0] == '-';
    bool hex = text[sign] == '0' && (text[sign + 1] == 'x' || text[sign + 1] == 'X');
    long long value = strtoll(text, &end, hex ? 16 : 10);

    if (text[0] && !isspace((unsigned char)text[0]) && text[0] != '+' && !*end && value >= least &&
        value <= most) {
        *out = value;
        return true;
    }
    snprintf(near, sizeof near, "%" PRId64 "..%" PRId64, least, most);
    return wrong(c, ENG_WRONG_NUMBER, at, near);
}

/* start= and step=, of everything that counts.  1: it was one; 0: it was not; -1: wrong. */
static int
counting_word(struct compile *c, const struct word *w, struct part *p)
{
    bool narrow = p->bytes > 0 && p->bytes < 8; /* what has no room there is a mistake */
    const int64_t most = narrow ? ((int64_t)1 << p->bytes * 8) - 1 : INT64_MAX / 2;
    const int64_t least = narrow ? -(most / 2) - 1 : -most;

    if (!w->value)
        return 0;
    if (strcmp(w->text, "start") == 0)
        return number_of(c, w->value, w->value_at, least, most, &p->start) ? 1 : -1;
    if (strcmp(w->text, "step") == 0)
        return number_of(c, w->value, w->value_at, -most, most, &p->step) ? 1 : -1;
    return 0;
}

static bool
place_seq(struct compile *c, struct part *p, size_t at, size_t end)
{
    static const char takes[] = "start=N step=N width=N base=N";
    struct word w;

    p->start = 1;
    while (next_word(c, &at, end, &w)) {
        int64_t n = 0;
        int counting = counting_word(c, &w, p);

        if (counting < 0)
            return false;
        if (counting)
            continue;
        if (w.value && strcmp(w.text, "width") == 0) {
            if (!number_of(c, w.value, w.value_at, 1, DIGITS_MAX, &n))
                return false;
            p->width = (unsigned)n;
        } else if (w.value && strcmp(w.text, "base") == 0) {
            if (!number_of(c, w.value, w.value_at, 2, 36, &n))
                return false;
            p->base = (unsigned)n;
        } else {
            return wrong(c, ENG_WRONG_WORD, w.at, takes);
        }
    }
    return c->mistake->wrong == ENG_WRONG_NOTHING;
}

/* Conversions of strftime(3), and %3N %6N %9N: an unknown one would be what libc makes of it. */
static bool
place_format(struct compile *c, struct part *p, size_t at, size_t end)
{
    static const char known[] = "aAbBcCdDeFgGhHIjmMnpPrRsStTuUVwWxXyYzZ%";

    for (size_t i = at; i < end; i++) {
        size_t from = i;

        if (c->text[i] != '%')
            continue;
        i++;
        if (i + 1 < end && strchr("369", c->text[i]) && c->text[i + 1] == 'N')
            i++;
        else if (i >= end || !strchr(known, c->text[i]))
            return wrong(c, ENG_WRONG_FORMAT, from, "");
    }
    p->kind = PART_TIME;
    p->offset = c->t->store.len;
    eng_bytes_add(&c->t->store, c->text + at, end - at);
    eng_bytes_add(&c->t->store, "", 1);
    return true;
}

static bool
time_word(struct part *p, const char *word)
{
    static const struct {
        const char *word;
        int64_t unit;
    } units[] = {{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};

    if (strcmp(word, "utc") == 0) {
        p->utc = true;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(word, units[i].word) == 0) {
            p->kind = PART_TIME_NUMBER;
            p->unit = units[i].unit;
            return true;
        }
    }
    return false;
}

static bool
place_time(struct compile *c, struct part *p, size_t at, size_t end)
{
    static const char plain[] = "%Y-%m-%dT%H:%M:%S.%3N%z";

    p->offset = c->t->store.len;
    eng_bytes_add(&c->t->store, plain, sizeof plain);
    for (;;) {
        struct word w;

        while (at < end && c->text[at] == ' ')
            at++;
        if (at < end && c->text[at] == '%')
            return place_format(c, p, at, end);
        if (!next_word(c, &at, end, &w))
            return c->mistake->wrong == ENG_WRONG_NOTHING;
        if (w.value || !time_word(p, w.text))
            return wrong(c, ENG_WRONG_WORD, w.at, "s ms us ns utc %H:%M:%S");
    }
}

/* FROM..TO */
static bool
random_range(struct compile *c, struct part *p, const struct word *w)
{
    char from[WORD_MAX];
    const char *dots = strstr(w->text, "..");
    const int64_t most = INT64_MAX / 2;

    snprintf(from, sizeof from, "%.*s", (int)(dots - w->text), w->text);
    if (!number_of(c, from, w->at, -most, most, &p->start))
        return false;
    return number_of(c, dots + 2, w->at + (size_t)(dots + 2 - w->text), p->start, most, &p->last);
}

static bool
place_rand(struct compile *c, struct part *p, size_t at, size_t end)
{
    static const struct {
        const char *word;
        enum part_kind kind;
    } forms[] = {{"bytes", PART_RAND_BYTES}, {"hex", PART_RAND_HEX}, {"text", PART_RAND_TEXT}};
    struct word w;

    p->kind = PART_RAND_NUMBER;
    p->last = INT32_MAX;
    while (next_word(c, &at, end, &w)) {
        size_t i = 0;

        if (!w.value && strstr(w.text, "..")) {
            if (!random_range(c, p, &w))
                return false;
            continue;
        }
        while (i < 3 && !(w.value && strcmp(w.text, forms[i].word) == 0))
            i++;
        if (i == 3)
            return wrong(c, ENG_WRONG_WORD, w.at, "1..6 hex=8 text=8 bytes=8");
        if (!number_of(c, w.value, w.value_at, 1, RANDOM_MAX, &p->last))
            return false;
        p->kind = forms[i].kind;
    }
    return c->mistake->wrong == ENG_WRONG_NOTHING;
}

static bool
place_nothing(struct compile *c, struct part *p, size_t at, size_t end)
{
    struct word w;

    (void)p;
    if (next_word(c, &at, end, &w))
        return wrong(c, ENG_WRONG_WORD, w.at, "}}");
    return c->mistake->wrong == ENG_WRONG_NOTHING;
}

/* So many at most: each may be as long as a message. */
static bool
place_match(struct compile *c, struct part *p, size_t at, size_t end)
{
    struct word w;

    p->start = 0;
    if (c->matches++ == MATCHES_MAX)
        return wrong(c, ENG_WRONG_LONG, at, "16");
    while (next_word(c, &at, end, &w)) {
        if (w.value)
            return wrong(c, ENG_WRONG_WORD, w.at, "{{match}} {{match 1}}");
        if (!number_of(c, w.text, w.at, 0, c->groups, &p->start))
            return false;
    }
    return c->mistake->wrong == ENG_WRONG_NOTHING;
}

/* u8 u16be u16le ...: a number as bytes, what it counts being the next word. */
static bool
place_binary(struct compile *c, struct part *p, size_t at, size_t end)
{
    static const char takes[] = "seq start=N step=N client rand time time=ms";
    struct word w;

    p->start = 1;
    while (next_word(c, &at, end, &w)) {
        int counting = counting_word(c, &w, p);

        if (counting < 0)
            return false;
        if (counting || (!w.value && strcmp(w.text, "seq") == 0))
            continue;
        if (!w.value && strcmp(w.text, "client") == 0) {
            p->kind = PART_CLIENT;
        } else if (!w.value && strcmp(w.text, "rand") == 0) {
            p->kind = PART_RAND_NUMBER;
            p->start = 0;
            p->last = -1; /* every number of that width */
        } else if (strcmp(w.text, "time") == 0 && time_word(p, w.value ? w.value : "s") &&
                   !p->utc) {
            p->kind = PART_TIME_NUMBER;
        } else {
            return wrong(c, ENG_WRONG_WORD, w.at, takes);
        }
    }
    return c->mistake->wrong == ENG_WRONG_NOTHING;
}

static const struct {
    const char *name;
    enum part_kind kind;
    unsigned bytes;
    bool low_first;
    bool (*compile)(struct compile *c, struct part *p, size_t at, size_t end);
} places[] = {
    {"seq", PART_SEQ, 0, false, place_seq},
    {"time", PART_TIME, 0, false, place_time},
    {"rand", PART_RAND_NUMBER, 0, false, place_rand},
    {"client", PART_CLIENT, 0, false, place_nothing},
    {"peer", PART_PEER, 0, false, place_nothing},
    {"uuid", PART_UUID, 0, false, place_nothing},
    {"match", PART_MATCH, 0, false, place_match},
    {"u8", PART_SEQ, 1, false, place_binary},
    {"u16be", PART_SEQ, 2, false, place_binary},
    {"u16le", PART_SEQ, 2, true, place_binary},
    {"u32be", PART_SEQ, 4, false, place_binary},
    {"u32le", PART_SEQ, 4, true, place_binary},
    {"u64be", PART_SEQ, 8, false, place_binary},
    {"u64le", PART_SEQ, 8, true, place_binary},
};

enum { PLACES = sizeof places / sizeof places[0] };

/* What stands between {{ and }}. */
static bool
add_place(struct compile *c, size_t at, size_t end)
{
    struct part *p;
    struct word w;
    size_t i = 0;
    size_t best = 3;
    char near[WORD_MAX] = "";

    if (!next_word(c, &at, end, &w)) {
        if (c->mistake->wrong)
            return false;
        return wrong(c, ENG_WRONG_PLACEHOLDER, w.at, "seq");
    }
    while (i < PLACES && (w.value || strcmp(places[i].name, w.text) != 0))
        i++;
    if (i < PLACES && places[i].kind == PART_MATCH && c->groups < 0)
        return wrong(c, ENG_WRONG_MATCH, w.at, "");
    for (size_t k = 0; i == PLACES && k < PLACES; k++) {
        if ((places[k].kind != PART_MATCH || c->groups >= 0) &&
            eng_is_near(w.text, places[k].name, &best))
            snprintf(near, sizeof near, "%s", places[k].name);
    }
    if (i == PLACES)
        return wrong(c, ENG_WRONG_PLACEHOLDER, w.at, near);
    p = add_part(c, w.at, places[i].kind);
    if (!p)
        return false;
    p->bytes = places[i].bytes;
    p->low_first = places[i].low_first;
    return places[i].compile(c, p, at, end);
}

/* Where the next place opens at or behind `at`; the end of the text when none does.  Of three
 * braces the first is text: {"n":{{{seq}} is no surprise then. */
static size_t
next_open(const char *text, size_t at)
{
    const char *open = strstr(text + at, "{{");
    size_t i;

    if (!open)
        return at + strlen(text + at);
    i = (size_t)(open - text);
    while (text[i + 2] == '{')
        i++;
    return i;
}

/* How many backslashes stand in front of `open`, not before `at`. */
static size_t
backslashes(const char *text, size_t at, size_t open)
{
    size_t n = 0;

    while (open - n > at && text[open - n - 1] == '\\')
        n++;
    return n;
}

static bool
add_literal_braces(struct compile *c, size_t at)
{
    struct part *p = add_part(c, at, PART_BYTES);

    if (!p)
        return false;
    p->len = 2;
    eng_bytes_text(&c->t->store, "{{");
    return true;
}

static bool
compile(struct compile *c)
{
    size_t at = 0;

    while (c->text[at]) {
        size_t open = next_open(c->text, at);
        size_t slashes = c->text[open] ? backslashes(c->text, at, open) : 0;
        /* An odd one escapes the braces; of an even number, one is to tell, unless escapes do. */
        size_t text = open - at - (slashes % 2 || (slashes && c->notation != ENG_AS_ESCAPE));
        const char *close;

        if (text > 0 && !add_bytes(c, at, text))
            return false;
        at = open;
        if (!c->text[at])
            break;
        if (slashes % 2) {
            if (!add_literal_braces(c, at))
                return false;
            at += 2;
            continue;
        }
        close = strstr(c->text + at + 2, "}}");
        if (!close || close - (c->text + at) > PLACE_MAX)
            return wrong(c, ENG_WRONG_OPEN, at, "");
        if (!add_place(c, at + 2, (size_t)(close - c->text)))
            return false;
        at = (size_t)(close - c->text) + 2;
    }
    return true;
}

struct eng_template *
eng_template_new(const char *text, enum eng_notation notation, const char *charset,
                 struct eng_mistake *mistake)
{
    return eng_template_new_matching(text, notation, charset, -1, mistake);
}

struct eng_template *
eng_template_new_matching(const char *text, enum eng_notation notation, const char *charset,
                          int groups, struct eng_mistake *mistake)
{
    struct eng_template *t = eng_alloc(sizeof *t);
    struct compile c = {
        .t = t, .text = text, .notation = notation, .groups = groups, .mistake = mistake};

    *mistake = (struct eng_mistake){0};
    if (!t)
        return NULL;
    snprintf(t->charset, sizeof t->charset, "%s", charset ? charset : "");
    if (!compile(&c) || t->store.failed) {
        eng_template_free(t);
        return NULL;
    }
    return t;
}

void
eng_template_free(struct eng_template *t)
{
    if (!t)
        return;
    eng_bytes_free(&t->store);
    eng_free(t);
}

/* ---- rendering ---- */

uint64_t
eng_chance(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Below `n`, each as likely as any other: what would be one round too few is drawn again. */
static uint64_t
chance_below(uint64_t *state, uint64_t n)
{
    uint64_t least = (0 - n) % n;
    uint64_t value;

    do {
        value = eng_chance(state);
    } while (value < least);
    return value % n;
}

/* In the base of the part, with zeros up to its width. */
static void
add_number(struct eng_bytes *out, const struct part *p, int64_t value)
{
    char text[DIGITS_MAX + 2];
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t at = sizeof text;
    size_t digits = 0;

    do {
        text[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[left % p->base];
        left /= p->base;
        digits++;
    } while (left || digits < p->width);
    if (value < 0)
        text[--at] = '-';
    eng_bytes_add(out, text + at, sizeof text - at);
}

/* %3N is ours, the rest is strftime's. */
static void
add_time(struct eng_bytes *out, const struct part *p, const char *format, int64_t real_ns)
{
    time_t seconds = (time_t)(real_ns / 1000000000);
    char nanos[16];
    struct tm tm;

    snprintf(nanos, sizeof nanos, "%09d", (int)(real_ns % 1000000000));
    if (p->utc)
        gmtime_r(&seconds, &tm);
    else
        localtime_r(&seconds, &tm);
    while (*format) {
        size_t plain = strcspn(format, "%");
        char conversion[3] = {'%', format[plain] ? format[plain + 1] : '\0', '\0'};
        char text[64];

        eng_bytes_add(out, format, plain);
        format += plain;
        if (!*format)
            return;
        if (conversion[1] >= '3' && conversion[1] <= '9') {
            eng_bytes_add(out, nanos, (size_t)(conversion[1] - '0'));
            format += 3;
            continue;
        }
        eng_bytes_add(out, text, strftime(text, sizeof text, conversion, &tm));
        format += 2;
    }
}

static void
add_random_text(struct eng_bytes *out, const struct part *p, uint64_t *chance)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    for (int64_t i = 0; i < p->last; i++) {
        if (p->kind == PART_RAND_HEX)
            eng_bytes_printf(out, "%02x", (unsigned)chance_below(chance, 256));
        else
            eng_bytes_add(out, letters + chance_below(chance, sizeof letters - 1), 1);
    }
}

static void
add_uuid(struct eng_bytes *out, uint64_t *chance)
{
    uint64_t high = (eng_chance(chance) & ~UINT64_C(0xf000)) | 0x4000;
    uint64_t low = (eng_chance(chance) & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;

    eng_bytes_printf(out, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
                     (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff),
                     (unsigned)(low >> 48), (unsigned long long)(low & 0xffffffffffff));
}

static int64_t
number_now(const struct part *p, const struct eng_context *x)
{
    uint64_t span;

    if (p->kind == PART_SEQ) /* wraps around, as counters do */
        return (int64_t)((uint64_t)p->start + x->n * (uint64_t)p->step);
    if (p->kind == PART_CLIENT)
        return (int64_t)x->client;
    if (p->kind == PART_TIME_NUMBER)
        return x->real_ns / p->unit;
    span = (uint64_t)p->last - (uint64_t)p->start + 1;
    return span ? (int64_t)((uint64_t)p->start + chance_below(x->chance, span))
                : (int64_t)eng_chance(x->chance);
}

static void
add_binary(struct eng_bytes *out, const struct part *p, int64_t value)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < p->bytes; i++)
        bytes[p->low_first ? i : p->bytes - 1 - i] = (uint8_t)((uint64_t)value >> 8 * i);
    eng_bytes_add(out, bytes, p->bytes);
}

/* What a place is now, as UTF-8. */
static void
add_text(const struct eng_template *t, const struct part *p, const struct eng_context *x,
         struct eng_bytes *out)
{
    switch (p->kind) {
    case PART_SEQ:
    case PART_CLIENT:
    case PART_TIME_NUMBER:
    case PART_RAND_NUMBER:
        add_number(out, p, number_now(p, x));
        return;
    case PART_TIME:
        add_time(out, p, (const char *)t->store.data + p->offset, x->real_ns);
        return;
    case PART_RAND_HEX:
    case PART_RAND_TEXT:
        add_random_text(out, p, x->chance);
        return;
    case PART_PEER:
        eng_bytes_text(out, x->peer);
        return;
    case PART_MATCH:
        if (x->match[p->start].len)
            eng_bytes_add(out, x->match[p->start].bytes, x->match[p->start].len);
        return;
    case PART_UUID:
        add_uuid(out, x->chance);
        return;
    case PART_BYTES:
    case PART_RAND_BYTES:
        return; /* they are no text */
    }
}

/* Somebody else wrote this: what has no form in the charset, though it was decoded from it, must
 * not be the end of everything. */
static bool
encode_match(const char *charset, const uint8_t *text, size_t len, struct eng_bytes *out)
{
    for (int i = 0; i < REPLACED_MAX; i++) {
        size_t before = out->len;
        size_t bad_at = 0;
        size_t skip;

        if (eng_encode_text(charset, text, len, out, &bad_at) || out->failed || bad_at >= len)
            break;
        out->len = before;
        if (!eng_encode_text(charset, text, bad_at, out, &skip))
            out->len = before;
        eng_bytes_text(out, "?");
        skip = eng_utf8_next(text + bad_at, len - bad_at);
        text += bad_at + (skip ? skip : 1);
        len -= bad_at + (skip ? skip : 1);
    }
    return !out->failed;
}

static bool
render_part(const struct eng_template *t, const struct part *p, const struct eng_context *x,
            struct eng_bytes *out)
{
    struct eng_bytes text = {0};
    size_t bad_at;
    bool ok;

    if (p->kind == PART_BYTES)
        return p->len == 0 || eng_bytes_add(out, t->store.data + p->offset, p->len);
    if (p->kind == PART_RAND_BYTES) {
        for (int64_t i = 0; i < p->last; i++) {
            uint8_t byte = (uint8_t)chance_below(x->chance, 256);

            eng_bytes_add(out, &byte, 1);
        }
        return !out->failed;
    }
    if (p->bytes) {
        add_binary(out, p, number_now(p, x));
        return !out->failed;
    }
    if (!t->charset[0]) {
        add_text(t, p, x, out);
        return !out->failed;
    }
    add_text(t, p, x, &text);
    ok = !text.failed &&
         (p->kind == PART_MATCH ? encode_match(t->charset, text.data, text.len, out)
                                : eng_encode_text(t->charset, text.data, text.len, out, &bad_at));
    eng_bytes_free(&text);
    return ok && !out->failed;
}

bool
eng_template_render(const struct eng_template *t, const struct eng_context *x,
                    struct eng_bytes *out)
{
    for (size_t i = 0; i < t->count; i++) {
        if (!render_part(t, &t->parts[i], x, out))
            return false;
    }
    return true;
}
