/*
 * lang.c - the catalogue: which language, and a sentence with its arguments put in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *const texts[CLI_TEXTS][2] = {
#define TEXT(name, en, zh) [TEXT_##name] = {en, zh},
#include "text.def"
#undef TEXT
};

const char *
cli_text(enum cli_lang lang, enum cli_text id)
{
    return texts[id][lang];
}

void
cli_format(enum cli_lang lang, enum cli_text id, const char *const args[], struct eng_bytes *out)
{
    struct cli_piece pieces[CLI_ARGS];

    for (int i = 0; i < CLI_ARGS; i++) {
        const char *text = args[i] ? args[i] : "";

        pieces[i] = (struct cli_piece){text, strlen(text)};
    }
    cli_fill(lang, texts[id][lang], pieces, out);
}

enum cli_lang
cli_lang_from(const char *option)
{
    static const char *const names[] = {"OUTLET_LANG", "LC_ALL", "LC_MESSAGES", "LANG"};
    bool is_one = option && (strcmp(option, "en") == 0 || strcmp(option, "zh") == 0);
    const char *value = is_one ? option
                               : NULL; /* another is refused in the language that was set */

    for (size_t i = 0; !value && i < sizeof names / sizeof names[0]; i++) {
        value = getenv(names[i]);
        if (value && !*value)
            value = NULL;
    }
    return value && strncmp(value, "zh", 2) == 0 ? CLI_ZH : CLI_EN;
}
