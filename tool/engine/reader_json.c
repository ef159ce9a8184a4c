/*
 * reader_json.c - lines of JSON back into records.  The one file that knows the JSON library.
 *
 * Keys that nobody knows are passed over, so that a later version may say more; a key that is known
 * must be there, be of its type, and be in its bounds.  A newcomer's mistake: to take a text for
 * all of the payload without looking at `size`, which is what shows that somebody edited the line.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum {
    ESCAPED = 6, /* bytes of JSON for one of the text, at most: \u0001 */
    REST = 16 * 1024,
    LINE_BYTES_MAX = ENG_RECORD_BYTES_MAX * ESCAPED + REST
};

/* What is wrong with the first key that is. */
struct check {
    const json_t *line;
    char *text;
    size_t room;
    bool wrong;
};

static void
refuse(struct check *c, const char *key, const char *what)
{
    if (!c->wrong)
        snprintf(c->text, c->room, "\"%s\" %s", key, what);
    c->wrong = true;
}

static const json_t *
value_of(struct check *c, const char *key, json_type type)
{
    const json_t *value = json_object_get(c->line, key);

    if (!value)
        refuse(c, key, "is missing");
    else if (json_typeof(value) != type)
        refuse(c, key, "is of another type");
    else
        return value;
    return NULL;
}

static void
text_of(struct check *c, const char *key, char *out, size_t room)
{
    const json_t *value = value_of(c, key, JSON_STRING);
    size_t len = value ? json_string_length(value) : 0;

    out[0] = '\0';
    if (!value)
        return;
    if (len >= room || memchr(json_string_value(value), '\0', len))
        refuse(c, key, "is too long");
    else
        memcpy(out, json_string_value(value), len + 1);
}

static int64_t
number_of(struct check *c, const char *key, int64_t least)
{
    const json_t *value = value_of(c, key, JSON_INTEGER);
    int64_t number = value ? json_integer_value(value) : least;

    if (number < least)
        refuse(c, key, "is too small");
    return number;
}

/* The place of a word among some; -1: it is none of them. */
static int
word_of(struct check *c, const char *key, const char *const words[])
{
    char word[32];

    text_of(c, key, word, sizeof word);
    for (int i = 0; !c->wrong && words[i]; i++) {
        if (strcmp(word, words[i]) == 0)
            return i;
    }
    refuse(c, key, "is none of the known words");
    return -1;
}

static enum outlet_role
role_of(struct check *c)
{
    static const char *const roles[] = {"listen", "connect", NULL};

    return word_of(c, "role", roles) == 0 ? OUTLET_TO_LISTEN : OUTLET_TO_CONNECT;
}

static void
hex_of(struct check *c, const json_t *value, struct eng_bytes *out)
{
    const char *hex = json_string_value(value);
    size_t bad_at;

    for (size_t i = 0; i < json_string_length(value); i++) {
        if (!strchr("0123456789abcdef", hex[i]) || !hex[i]) {
            refuse(c, "hex", "is not of hexadecimal digits");
            return;
        }
    }
    if (!eng_parse_hex(hex, out, &bad_at))
        refuse(c, "hex", out->failed ? "found no memory" : "ends in the middle of a byte");
}

static void
payload_of(struct check *c, struct record_line *line)
{
    const json_t *text = json_object_get(c->line, "text");
    const json_t *hex = json_object_get(c->line, "hex");
    int64_t size = number_of(c, "size", 0);

    line->bytes.len = 0;
    line->bytes.failed = false;
    if (json_is_string(hex))
        hex_of(c, hex, &line->bytes);
    else if (json_is_string(text))
        eng_bytes_add(&line->bytes, json_string_value(text), json_string_length(text));
    else
        refuse(c, "text", "or \"hex\" is missing");
    if (line->bytes.failed)
        refuse(c, "text", "found no memory");
    if (line->bytes.len != (uint64_t)size)
        refuse(c, "size", "is not that of the payload");
    if (line->bytes.len > ENG_RECORD_BYTES_MAX)
        refuse(c, "size", "is too large");
    line->r.bytes = line->bytes.len ? line->bytes.data : (const uint8_t *)"";
    line->r.size = line->bytes.len;
}

static void
reason_of(struct check *c, struct outlet_reason *why)
{
    char name[32];
    bool known = false;

    *why = (struct outlet_reason)OUTLET_REASON;
    text_of(c, "code", name, sizeof name);
#define OUTLET_ERROR_OF(value, number, text)           \
    if (strcmp(name, outlet_error_name(value)) == 0) { \
        why->code = value;                             \
        known = true;                                  \
    }
    OUTLET_ERRORS(OUTLET_ERROR_OF)
#undef OUTLET_ERROR_OF
    if (!known)
        refuse(c, "code", "is none of the known words");
    text_of(c, "text", why->text, sizeof why->text);
    if (json_object_get(c->line, "phase")) {
        text_of(c, "phase", name, sizeof name);
        for (int i = OUTLET_AT_RESOLVE; i <= OUTLET_AT_DRAIN; i++) {
            if (strcmp(name, outlet_phase_name((enum outlet_phase)i)) == 0)
                why->phase = (enum outlet_phase)i;
        }
        if (!why->phase)
            refuse(c, "phase", "is none of the known words");
    }
    if (json_object_get(c->line, "side")) {
        text_of(c, "side", name, sizeof name);
        for (int i = OUTLET_BY_US; i <= OUTLET_BY_SYSTEM; i++) {
            if (strcmp(name, outlet_side_name((enum outlet_side)i)) == 0)
                why->side = (enum outlet_side)i;
        }
        if (!why->side)
            refuse(c, "side", "is none of the known words");
    }
}

static void
open_of(struct check *c, struct record_line *line)
{
    struct eng_record_conn *conn = &line->conn;

    conn->role = role_of(c);
    text_of(c, "transport", conn->transport, sizeof conn->transport);
    text_of(c, "local", conn->local, sizeof conn->local);
    text_of(c, "peer", conn->peer, sizeof conn->peer);
    if (json_object_get(c->line, "process"))
        text_of(c, "process", conn->process, sizeof conn->process);
}

static void
message_of(struct check *c, struct record_line *line)
{
    static const char *const directions[] = {"in", "out", NULL};

    line->r.out = word_of(c, "dir", directions) == 1;
    line->conn.role = OUTLET_TO_CONNECT;
    text_of(c, "transport", line->conn.transport, sizeof line->conn.transport);
    text_of(c, "peer", line->conn.peer, sizeof line->conn.peer);
    payload_of(c, line);
    if (!json_object_get(c->line, "rule"))
        return;
    text_of(c, "rule", line->rule, sizeof line->rule);
    if (!eng_preset_name_is_good(line->rule))
        refuse(c, "rule", "is no name of a rule");
    line->r.rule = line->rule;
}

static void
line_of(struct check *c, struct record_line *line)
{
    static const char *const events[] = {"recording", "open", "message", "close",
                                         "lost",      "end",  NULL};
    int event = word_of(c, "event", events);

    memset(&line->r, 0, sizeof line->r);
    memset(&line->conn, 0, sizeof line->conn);
    if (number_of(c, "v", 1) != 1)
        refuse(c, "v", "is of a later version");
    line->r.ns = number_of(c, "ns", 0);
    if (c->wrong)
        return;
    line->r.kind = (enum eng_record_kind)event;
    switch (line->r.kind) {
    case ENG_RECORD_START:
        text_of(c, "app", line->app, sizeof line->app);
        text_of(c, "url", line->url, sizeof line->url);
        line->r.app = line->app;
        line->r.url = line->url;
        line->r.role = role_of(c);
        return;
    case ENG_RECORD_LOST:
        line->r.count = (uint64_t)number_of(c, "datagrams", 0);
        return;
    case ENG_RECORD_END:
        line->r.count = (uint64_t)number_of(c, "messages", 0);
        return;
    case ENG_RECORD_OPEN:
        open_of(c, line);
        break;
    case ENG_RECORD_MESSAGE:
        message_of(c, line);
        break;
    case ENG_RECORD_CLOSE:
        reason_of(c, &line->why);
        line->r.why = &line->why;
        if (json_object_get(c->line, "discarded"))
            line->r.count = (uint64_t)number_of(c, "discarded", 0);
        break;
    }
    line->conn.id = (uint64_t)number_of(c, "id", 1);
}

bool
record_line_parse(struct record_line *line, const uint8_t *json, size_t len, char *text,
                  size_t room)
{
    json_error_t error;
    json_t *object = json_loadb((const char *)json, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                                &error);
    struct check c = {.line = object, .text = text, .room = room};

    if (!object) {
        snprintf(text, room, "not JSON: %.90s", error.text);
        return false;
    }
    if (!json_is_object(object))
        refuse(&c, "event", "is missing");
    else
        line_of(&c, line);
    json_decref(object);
    return !c.wrong;
}

void
record_line_free(struct record_line *line)
{
    eng_bytes_free(&line->bytes);
}

bool
eng_reader_works(void)
{
    return true;
}

/* The next line with its end, or what there is of one; NULL: nothing.  *len is 0: too long. */
static const uint8_t *
next_line(struct record_input *in, size_t *len)
{
    const uint8_t *at = record_input_need(in, 1);
    size_t seen = 0;

    *len = 0;
    while (at) {
        size_t left = record_input_left(in);
        const uint8_t *end = memchr(at + seen, '\n', left - seen);

        *len = end ? (size_t)(end - at) + 1 : left;
        if (*len > LINE_BYTES_MAX)
            *len = 0;
        if (end || *len == 0 || !record_input_need(in, left + 1))
            return record_input_need(in, *len); /* it may lie elsewhere now */
        seen = left;
        at = record_input_need(in, left);
    }
    return NULL;
}

enum eng_read
reader_json_next(struct eng_reader *r, struct eng_record *out)
{
    uint64_t offset = r->input.offset;
    char text[120];
    size_t len = 0;
    const uint8_t *at = next_line(&r->input, &len);
    enum eng_read got;
    bool whole;

    if (!at)
        return ENG_READ_END;
    if (len == 0) {
        got = reader_damage(r, offset, "a line of more than %d bytes", LINE_BYTES_MAX);
        r->damage->cut = true;
        return got;
    }
    whole = at[len - 1] == '\n';
    if (record_line_parse(&r->parsed, at, len, text, sizeof text)) {
        got = reader_take(r, &r->parsed, offset, out);
    } else {
        got = reader_damage(r, offset, "%s", whole ? text : "the last line is cut off");
        r->damage->cut = !whole;
    }
    record_input_use(&r->input, len);
    r->line++;
    return got;
}
