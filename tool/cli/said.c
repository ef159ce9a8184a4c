/*
 * said.c - sentences of the library and of the engine, in the language of whoever reads them.
 *
 * The library and the engine know no language: what they say is English, and stable.  Here the
 * sentence is found by its form, a format of printf(), and what stood for the conversions goes into
 * the translation, in any order.  A newcomer's mistake: to translate an argument that is no
 * sentence.  A file may be called "closed"; only {=0} is looked up, and {0} is as it was.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <string.h>

enum {
    DEPTH = 4,       /* sentences in sentences */
    CUT_LITERAL = 12 /* so much must be there of one that had no room */
};

static const struct {
    const char *format;
    const char *zh;
} said[] = {
#define SAID(format, zh) {format, zh},
#define OTHERS(format, zh) {format, zh},
#define ERRNO(name, zh)
#include "said.def"
#undef SAID
#undef OTHERS
#undef ERRNO
};

static const struct {
    int number;
    const char *zh;
} errnos[] = {
#define SAID(format, zh)
#define OTHERS(format, zh)
#define ERRNO(name, zh) {name, zh},
#include "said.def"
#undef SAID
#undef OTHERS
#undef ERRNO
};

struct match {
    bool cut;       /* the text may end before its form does */
    size_t literal; /* bytes that stand in the form itself */
    struct cli_piece args[CLI_ARGS];
};

/* How many bytes of the text a conversion may stand for, at most. */
static size_t
longest(char conversion, const char *text, size_t len)
{
    static const char digits[] = "0123456789";
    const char *of = strchr("xX", conversion) ? "0123456789abcdefABCDEF" : digits;
    size_t sign = conversion == 'd' && len > 0 && *text == '-';
    size_t n = sign;

    if (conversion == 's')
        return len;
    while (n < len && strchr(of, text[n]) && text[n])
        n++;
    return n;
}

static bool follow(struct match *m, const char *format, const char *text, size_t len, size_t arg,
                   size_t literal);

/* `format` stands behind a %. */
static bool
follow_argument(struct match *m, const char *format, const char *text, size_t len, size_t arg,
                size_t literal)
{
    char conversion;
    size_t least;
    size_t most;

    format += strspn(format, "-+ #0123456789.*hlzjt");
    conversion = *format++;
    least = conversion != 's';
    most = longest(conversion, text, len);
    if (arg == CLI_ARGS)
        return false;
    for (size_t n = least; n <= most; n++) {
        m->args[arg] = (struct cli_piece){text, n};
        if (follow(m, format, text + n, len - n, arg + 1, literal))
            return true;
    }
    return false;
}

static bool
follow(struct match *m, const char *format, const char *text, size_t len, size_t arg,
       size_t literal)
{
    for (; *format; format++, text++, len--, literal++) {
        if (*format == '%' && format[1] != '%')
            return follow_argument(m, format + 1, text, len, arg, literal);
        if (*format == '%')
            format++;
        if (len == 0 && m->cut)
            break;
        if (len == 0 || *format != *text)
            return false;
    }
    m->literal = literal;
    for (; arg < CLI_ARGS; arg++)
        m->args[arg] = (struct cli_piece){"", 0};
    return len == 0;
}

static const char *
of_errno(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof errnos / sizeof errnos[0]; i++) {
        const char *is = strerror(errnos[i].number);

        if (strlen(is) == len && memcmp(is, text, len) == 0)
            return errnos[i].zh;
    }
    return NULL;
}

/* The form with the most of its own in the text: "%s: %s" fits nearly everything. */
static const char *
find(const char *text, size_t len, bool cut, struct match *best)
{
    const char *zh = NULL;

    best->literal = 0;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        struct match m = {.cut = cut};

        if (!follow(&m, said[i].format, text, len, 0, 0))
            continue;
        if ((zh && m.literal <= best->literal) || (cut && m.literal < CUT_LITERAL))
            continue;
        zh = said[i].zh;
        *best = m;
    }
    return zh;
}

static void say(const char *text, size_t len, int depth, struct eng_bytes *out);

static void
fill(enum cli_lang lang, const char *form, const struct cli_piece args[CLI_ARGS], int depth,
     struct eng_bytes *out)
{
    while (*form) {
        size_t plain = strcspn(form, "{");
        bool is_sentence;
        char n;

        eng_bytes_add(out, form, plain);
        form += plain;
        is_sentence = *form && form[1] == '=';
        n = *form ? form[is_sentence ? 2 : 1] : '\0';
        if (n >= '0' && n < '0' + CLI_ARGS && form[is_sentence ? 3 : 2] == '}') {
            const struct cli_piece *arg = &args[n - '0'];

            if (is_sentence && lang != CLI_EN)
                say(arg->text, arg->len, depth, out);
            else
                eng_bytes_add(out, arg->text, arg->len);
            form += is_sentence ? 4 : 3;
        } else if (*form) {
            eng_bytes_add(out, form++, 1);
        }
    }
}

void
cli_fill(enum cli_lang lang, const char *form, const struct cli_piece args[CLI_ARGS],
         struct eng_bytes *out)
{
    fill(lang, form, args, 0, out);
}

static void
say(const char *text, size_t len, int depth, struct eng_bytes *out)
{
    struct match m;
    const char *zh = of_errno(text, len);

    if (zh) {
        eng_bytes_text(out, zh);
        return;
    }
    zh = find(text, len, false, &m);
    if (!zh)
        zh = find(text, len, true, &m);
    if (!zh || depth == DEPTH)
        eng_bytes_add(out, text, len);
    else
        fill(CLI_ZH, zh, m.args, depth + 1, out);
}

void
cli_said(enum cli_lang lang, const char *text, struct eng_bytes *out)
{
    if (lang == CLI_EN)
        eng_bytes_text(out, text);
    else
        say(text, strlen(text), 0, out);
}
