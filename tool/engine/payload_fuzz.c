/*
 * payload_fuzz.c - what people write, whatever it is: the first byte chooses who reads it.
 *
 * Properties: a mistake lies inside the text; what was taken can be used; decoding does not depend
 * on slicing; a checksum knows its own; a file of presets that was changed is one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
must(bool ok)
{
    if (!ok)
        abort();
}

static void
notation(enum eng_notation n, const char *charset, const char *text)
{
    struct eng_bytes out = {0};
    struct eng_mistake m;

    if (!eng_parse_payload(n, text, charset, &out, &m)) {
        must(m.wrong != ENG_WRONG_NOTHING && m.at <= strlen(text));
        must(eng_column(text, m.at) <= strlen(text) + 1);
    }
    eng_bytes_free(&out);
}

static void template(enum eng_notation n, const char *charset, const char *text)
{
    struct eng_bytes out[2] = {{0}};
    struct eng_mistake m;
    struct eng_template *t = eng_template_new(text, n, charset, &m);

    must((t != NULL) == (m.wrong == ENG_WRONG_NOTHING));
    must(t || m.at <= strlen(text));
    for (int i = 0; t && i < 2; i++) {
        uint64_t chance = 1;
        struct eng_context x = {.n = 3, .client = 2, .peer = "p", .chance = &chance};

        must(eng_template_render(t, &x, &out[i]));
    }
    must(out[0].len == out[1].len &&
         (out[0].len == 0 || memcmp(out[0].data, out[1].data, out[0].len) == 0));
    eng_bytes_free(&out[0]);
    eng_bytes_free(&out[1]);
    eng_template_free(t);
}

static void
sum(const char *text)
{
    struct eng_bytes message = {0};
    struct eng_mistake m;
    struct eng_sum s;
    uint64_t has;
    uint64_t want;

    if (!eng_sum_parse(text, &s, &m)) {
        must(m.wrong != ENG_WRONG_NOTHING && m.at <= strlen(text));
        return;
    }
    eng_bytes_text(&message, text);
    eng_sum_append(&s, &message);
    must(eng_sum_check(&s, message.data, message.len, &has, &want) == ENG_GOOD);
    eng_bytes_free(&message);
}

static void
presets(const uint8_t *in, size_t len)
{
    struct eng_presets p;
    struct eng_bytes section = {0};
    struct eng_bytes out = {0};
    struct eng_mistake m;
    int line;

    if (!eng_presets_parse(in, len, &p, &m, &line)) {
        must(m.wrong != ENG_WRONG_NOTHING && line > 0);
        return;
    }
    eng_bytes_text(&section, "[fuzz]\nhex = 01\n");
    must(eng_presets_put(&p, in, len, "fuzz", &section, &out));
    eng_presets_free(&p);
    must(eng_presets_parse(out.data, out.len, &p, &m, &line));
    eng_presets_free(&p);
    eng_bytes_free(&section);
    eng_bytes_free(&out);
}

static void
decode(const char *charset, const uint8_t *in, size_t len, size_t slice, struct eng_bytes *out)
{
    struct eng_coder *c = eng_decoder_open(charset);

    must(c != NULL);
    for (size_t at = 0; at < len; at += slice)
        eng_decode(c, in + at, len - at < slice ? len - at : slice, out);
    eng_decode_end(c, out);
    eng_coder_close(c);
}

static void
charset(const char *name, const uint8_t *in, size_t len, size_t slice)
{
    struct eng_bytes whole = {0};
    struct eng_bytes sliced = {0};
    struct eng_bytes shown = {0};

    decode(name, in, len, len + 1, &whole);
    decode(name, in, len, slice, &sliced);
    must(whole.len == sliced.len &&
         (whole.len == 0 || memcmp(whole.data, sliced.data, whole.len) == 0));
    eng_decoded_add(&shown, whole.data, whole.len, true);
    must(eng_utf8_valid(shown.data, shown.len));
    eng_bytes_free(&whole);
    eng_bytes_free(&sliced);
    eng_bytes_free(&shown);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    static const char *const charsets[] = {"gbk", "gb18030", "shift_jis", "utf-8", "utf-16le"};
    const char *name;
    char *text;

    if (len < 2 || len > 4096)
        return 0;
    name = charsets[in[0] / 16 % 5];
    text = eng_alloc(len);
    must(text != NULL);
    memcpy(text, in + 1, len - 1);
    switch (in[0] % 8) {
    case 0:
        notation((enum eng_notation)(in[0] / 8 % 4), NULL, text);
        break;
    case 1:
        notation((enum eng_notation)(in[0] / 8 % 4), name, text);
        break;
    case 2:
    case 3:
        template((enum eng_notation)(in[0] / 8 % 3), in[0] & 128 ? name : NULL, text);
        break;
    case 4:
        sum(text);
        break;
    case 5:
        presets(in + 1, len - 1);
        break;
    default:
        charset(name, in + 1, len - 1, 1 + in[1] % 7);
        break;
    }
    eng_free(text);
    return 0;
}
