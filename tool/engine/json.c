/*
 * json.c - events as JSON Lines: compact, one object per line, "v" and "event" first.
 *
 * Payload that is not UTF-8 has no honest JSON string, so it goes into "hex" instead of "text";
 * nothing is replaced.  Machine output is never translated.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <inttypes.h>
#include <string.h>

static void
json_bytes(struct eng_bytes *out, const uint8_t *bytes, size_t len)
{
    size_t plain = 0; /* start of what needs no escape */

    eng_bytes_text(out, "\"");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = bytes[i];

        if (c >= ' ' && c != '"' && c != '\\' && c != 0x7f)
            continue;
        eng_bytes_add(out, bytes + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\')
            eng_bytes_printf(out, "\\%c", c);
        else if (c == '\n')
            eng_bytes_text(out, "\\n");
        else if (c == '\r')
            eng_bytes_text(out, "\\r");
        else if (c == '\t')
            eng_bytes_text(out, "\\t");
        else
            eng_bytes_printf(out, "\\u%04x", c);
    }
    if (plain < len) /* else it may be NULL */
        eng_bytes_add(out, bytes + plain, len - plain);
    eng_bytes_text(out, "\"");
}

/* A string that is not UTF-8 (an address with strange bytes) has them written out. */
void
eng_json_string(struct eng_bytes *out, const char *text, size_t len)
{
    struct eng_bytes visible = {0};

    if (eng_utf8_valid((const uint8_t *)text, len)) {
        json_bytes(out, (const uint8_t *)text, len);
        return;
    }
    eng_text_visible(&visible, (const uint8_t *)text, len);
    json_bytes(out, visible.data, visible.len);
    eng_bytes_free(&visible);
}

void
eng_json_text(struct eng_bytes *out, const char *key, const char *text)
{
    eng_bytes_printf(out, ",\"%s\":", key);
    eng_json_string(out, text ? text : "", text ? strlen(text) : 0);
}

void
eng_json_number(struct eng_bytes *out, const char *key, int64_t value)
{
    eng_bytes_printf(out, ",\"%s\":%" PRId64, key, value);
}

static void
json_flag(struct eng_bytes *out, const char *key, bool value)
{
    eng_bytes_printf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

/* Would a string be longer than hexadecimal?  Each control character takes six bytes of it. */
static bool
is_shorter_in_hex(const uint8_t *bytes, size_t len)
{
    size_t text = 0;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = bytes[i];

        text += c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' ? 2
                : c < ' ' || c == 0x7f                                       ? 6
                                                                             : 1;
    }
    return text > 2 * len;
}

void
eng_json_payload(struct eng_bytes *out, const uint8_t *bytes, size_t len, enum eng_form form)
{
    bool is_text = form != ENG_FORM_HEX && eng_utf8_valid(bytes, len) &&
                   (form != ENG_FORM_SHORT || !is_shorter_in_hex(bytes, len));

    if (is_text) {
        eng_bytes_text(out, ",\"text\":");
        json_bytes(out, bytes, len);
    }
    if (!is_text || form == ENG_FORM_BOTH) {
        eng_bytes_text(out, ",\"hex\":\"");
        eng_text_hex(out, bytes, len, "");
        eng_bytes_text(out, "\"");
    }
}

/* What no character is stands in the text as \xHH, and then the bytes are told too. */
static void
json_decoded(struct eng_bytes *out, const struct eng_event *e, enum eng_form form)
{
    struct eng_bytes text = {0};

    if (form != ENG_FORM_HEX) {
        eng_decoded_add(&text, e->text, e->text_len, false);
        eng_bytes_text(out, ",\"text\":");
        json_bytes(out, text.data, text.len);
        eng_bytes_free(&text);
    }
    if (form != ENG_FORM_AUTO || !e->text_whole) {
        eng_bytes_text(out, ",\"hex\":\"");
        eng_text_hex(out, e->bytes, e->size - e->hidden, "");
        eng_bytes_text(out, "\"");
    }
}

static void
json_check(struct eng_bytes *out, const struct eng_event *e)
{
    int digits = (int)e->sum->row->width / 4;

    eng_json_text(out, "check", e->check == ENG_GOOD ? "good" : "bad");
    eng_json_text(out, "sum", e->sum->row->name);
    if (e->check == ENG_SHORT) { /* null is what could not be found out */
        eng_bytes_text(out, ",\"has\":null,\"want\":null");
        return;
    }
    eng_bytes_printf(out, ",\"has\":\"%0*" PRIx64 "\",\"want\":\"%0*" PRIx64 "\"", digits,
                     e->sum_has, digits, e->sum_want);
}

void
eng_json_reason(struct eng_bytes *out, const struct outlet_reason *why, const char *text)
{
    eng_json_text(out, "code", outlet_error_name(why->code));
    if (why->phase)
        eng_json_text(out, "phase", outlet_phase_name(why->phase));
    if (why->side)
        eng_json_text(out, "side", outlet_side_name(why->side));
    if (why->position >= 0)
        eng_json_number(out, "position", why->position);
    if (why->key[0])
        eng_json_text(out, "key", why->key);
    eng_json_text(out, "text", text ? text : why->text);
}

static void
json_rules(struct eng_bytes *out, const struct eng_tallies *rules)
{
    size_t count = rules ? rules->count : 0;

    if (count == 0)
        return;
    eng_bytes_text(out, ",\"rules\":{");
    for (size_t i = 0; i < count; i++) {
        const struct eng_tally *row = eng_tallies_at(rules, i);

        eng_bytes_text(out, i ? "," : "");
        eng_json_string(out, row->name, strlen(row->name));
        eng_bytes_printf(out, ":{\"matches\":%" PRIu64 ",\"replies\":%" PRIu64, row->counts.matches,
                         row->counts.replies);
        if (row->counts.gave_up)
            eng_bytes_printf(out, ",\"gave_up\":%" PRIu64, row->counts.gave_up);
        eng_bytes_text(out, "}");
    }
    eng_bytes_text(out, "}");
}

static void
json_totals(struct eng_bytes *out, const struct eng_totals *t)
{
    eng_json_number(out, "connections", (int64_t)t->connections);
    eng_json_number(out, "messages_in", (int64_t)t->messages_in);
    eng_json_number(out, "messages_out", (int64_t)t->messages_out);
    eng_json_number(out, "bytes_in", (int64_t)t->bytes_in);
    eng_json_number(out, "bytes_out", (int64_t)t->bytes_out);
    eng_json_number(out, "errors", (int64_t)t->errors);
    if (t->good || t->bad) {
        eng_json_number(out, "good", (int64_t)t->good);
        eng_json_number(out, "bad", (int64_t)t->bad);
    }
    if (t->counts_dropped)
        eng_json_number(out, "dropped", (int64_t)t->dropped);
    if (t->overrun)
        eng_json_number(out, "overrun", (int64_t)t->overrun);
    if (t->skipped)
        eng_json_number(out, "skipped", (int64_t)t->skipped);
    if (t->unsent)
        eng_json_number(out, "unsent", (int64_t)t->unsent);
    if (t->refused)
        eng_json_number(out, "refused", (int64_t)t->refused);
    eng_json_number(out, "ms", t->ms);
}

static void
json_demo(struct eng_bytes *out, const struct eng_demo_result *r)
{
    eng_json_text(out, "transport", r->transport);
    eng_json_text(out, "driver", r->driver);
    json_flag(out, "ok", r->ok);
    if (r->skipped)
        json_flag(out, "skipped", true);
    eng_json_number(out, "messages", (int64_t)r->messages);
    eng_json_number(out, "bytes", (int64_t)r->bytes);
    eng_json_number(out, "us", r->us);
    if (r->text[0])
        eng_json_text(out, "text", r->text);
}

static const char *const event_names[] = {
    [ENG_LISTENING] = "listening", [ENG_OPEN] = "open",   [ENG_MESSAGE] = "message",
    [ENG_CLOSE] = "close",         [ENG_ERROR] = "error", [ENG_DEMO] = "demo",
    [ENG_SUMMARY] = "summary",
};

void
eng_json_event(struct eng_bytes *out, const struct eng_event *e, enum eng_form form,
               const char *text)
{
    struct eng_bytes rest = {0};

    eng_bytes_printf(out, "{\"v\":1,\"event\":\"%s\"", event_names[e->kind]);
    switch (e->kind) {
    case ENG_LISTENING:
        eng_json_text(out, "url", e->url);
        eng_json_text(out, "driver", e->driver);
        break;
    case ENG_OPEN:
        eng_json_number(out, "id", (int64_t)e->id);
        eng_json_text(out, "peer", e->peer);
        eng_json_text(out, "local", e->local);
        break;
    case ENG_MESSAGE:
        eng_json_number(out, "id", (int64_t)e->id);
        eng_json_text(out, "dir", e->out ? "out" : "in");
        if (e->sender)
            eng_json_text(out, "peer", e->sender);
        eng_json_number(out, "size", (int64_t)e->size);
        if (e->text)
            json_decoded(out, e, form);
        else
            eng_json_payload(out, e->bytes, e->size - e->hidden, form);
        if (e->check)
            json_check(out, e);
        if (e->rule)
            eng_json_text(out, "rule", e->rule);
        if (e->stays)
            json_flag(out, "passed", false);
        break;
    case ENG_CLOSE:
        eng_json_number(out, "id", (int64_t)e->id);
        eng_json_reason(out, e->why, NULL);
        if (e->discarded)
            eng_json_number(out, "discarded", (int64_t)e->discarded);
        if (e->text_len) {
            eng_bytes_text(out, ",\"rest\":");
            eng_decoded_add(&rest, e->text, e->text_len, false);
            json_bytes(out, rest.data, rest.len);
            eng_bytes_free(&rest);
        }
        break;
    case ENG_ERROR:
        if (e->id)
            eng_json_number(out, "id", (int64_t)e->id);
        eng_json_reason(out, e->why, text);
        break;
    case ENG_DEMO:
        json_demo(out, e->demo);
        break;
    case ENG_SUMMARY:
        json_totals(out, e->totals);
        json_rules(out, e->rules);
        eng_json_number(out, "exit", e->result);
        break;
    }
    eng_bytes_text(out, "}\n");
}

static void
json_us(struct eng_bytes *out, const char *key, int64_t ns)
{
    eng_bytes_printf(out, "%s\"%s\":%.3f", strcmp(key, "p50") == 0 ? "" : ",", key,
                     (double)ns / 1000);
}

static void
json_real(struct eng_bytes *out, const char *key, double value)
{
    eng_bytes_printf(out, ",\"%s\":%.3f", key, value);
}

static void
json_latency(struct eng_bytes *out, const struct eng_hist *h)
{
    eng_bytes_text(out, ",\"latency_us\":{");
    json_us(out, "p50", eng_hist_percentile(h, 50));
    json_us(out, "p90", eng_hist_percentile(h, 90));
    json_us(out, "p99", eng_hist_percentile(h, 99));
    json_us(out, "p999", eng_hist_percentile(h, 99.9));
    json_us(out, "max", eng_hist_max(h));
    json_us(out, "min", eng_hist_min(h));
    json_us(out, "mean", (int64_t)eng_hist_mean(h));
    eng_bytes_text(out, "}");
}

void
eng_load_json(const struct eng_load_opts *opts, const struct eng_load_result *r, double found_rate,
              int exit_code, struct eng_bytes *out)
{
    static const char *const modes[] = {
        [ENG_LOAD_ECHO] = "echo",
        [ENG_LOAD_CHURN] = "churn",
        [ENG_LOAD_HOLD] = "hold",
        [ENG_LOAD_FANOUT] = "fanout",
    };

    eng_bytes_text(out, "{\"v\":1,\"event\":\"load\"");
    eng_json_number(out, "messages", (int64_t)r->messages);
    json_real(out, "rate", r->rate);
    eng_json_number(out, "bytes_in", (int64_t)r->bytes_in);
    eng_json_number(out, "bytes_out", (int64_t)r->bytes_out);
    eng_json_number(out, "errors", (int64_t)r->errors);
    json_latency(out, r->hist);
    json_real(out, "seconds", r->seconds);
    eng_json_number(out, "cpu_ns", r->cpu_ns);
    eng_json_text(out, "mode", modes[opts->mode]);
    eng_json_text(out, "driver", r->driver ? r->driver : "");
    eng_json_number(out, "connections", opts->connections);
    eng_json_number(out, "depth", opts->depth);
    eng_json_number(out, "size", (int64_t)opts->size);
    eng_json_number(out, "threads", r->threads);
    if (opts->rate > 0)
        json_real(out, "rate_asked", opts->rate);
    if (found_rate >= 0)
        json_real(out, "rate_found", found_rate);
    eng_json_number(out, "failed", (int64_t)r->failed);
    eng_json_number(out, "closed", (int64_t)r->closed);
    eng_json_number(out, "wrong", (int64_t)r->wrong);
    eng_json_number(out, "unanswered", (int64_t)r->unanswered);
    eng_json_number(out, "lost", (int64_t)r->lost);
    eng_json_number(out, "reordered", (int64_t)r->reordered);
    eng_json_number(out, "duplicates", (int64_t)r->duplicates);
    eng_json_number(out, "exit", exit_code);
    eng_bytes_text(out, "}\n");
}
