/*
 * mistake.h - what is wrong with a text that somebody wrote: where, and what would be right.
 *
 * Parsers of the engine say it in this form, so that the command and a page can say it in any
 * language.  A newcomer's mistake: to show `at` as it is.  It counts bytes; people count
 * characters, and eng_column() says how many.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_MISTAKE_H
#define ENG_MISTAKE_H

#include <stdbool.h>
#include <stddef.h>

enum eng_wrong {
    ENG_WRONG_NOTHING,
    ENG_WRONG_HEX,
    ENG_WRONG_ESCAPE,
    ENG_WRONG_BASE64,
    ENG_WRONG_CHARACTER,   /* this character does not exist in the charset */
    ENG_WRONG_UTF8,        /* what should be put into a charset is not UTF-8 */
    ENG_WRONG_CHARSET,     /* no such charset; `near` */
    ENG_WRONG_SUM,         /* no such checksum; `near` */
    ENG_WRONG_SUM_FAMILY,  /* a family of checksums, not one of them; `near` is one */
    ENG_WRONG_ORDER,       /* neither be nor le */
    ENG_WRONG_RANGE,       /* not FROM or FROM..TO */
    ENG_WRONG_OPEN,        /* {{ without }} */
    ENG_WRONG_PLACEHOLDER, /* no such placeholder; `near` */
    ENG_WRONG_WORD,        /* the placeholder takes no such word; `near` is what it takes */
    ENG_WRONG_NUMBER,      /* not a number, or out of the bounds that `near` says */
    ENG_WRONG_FORMAT,      /* no such conversion of a time */
    ENG_WRONG_LONG,        /* too much of it */
    ENG_WRONG_SECTION,     /* a [section] that is not one */
    ENG_WRONG_LINE,        /* not KEY = VALUE */
    ENG_WRONG_TWICE,       /* a section or key that stands there already */
    ENG_WRONG_OUTSIDE,     /* a key in front of the first section */
    ENG_WRONG_KEY,         /* no such key; `near` */
    ENG_WRONG_CHOICE,      /* not one of those that `near` has */
    ENG_WRONG_REGEX,       /* a regular expression; `near` is what is wrong with it */
    ENG_WRONG_NO_REGEX,    /* built without regular expressions */
    ENG_WRONG_FIELD,       /* TYPE@OFFSET OP NUMBER; `near` is what should stand there */
    ENG_WRONG_GLOB,        /* not two of 0-9 a-f ?, nor * */
    ENG_WRONG_BOTH,        /* cannot stand beside the key `near` */
    ENG_WRONG_MATCH,       /* {{match}} where nothing was matched by a regular expression */
    ENG_WRONG_FILE,        /* cannot be read; `near` is why */
    ENG_WRONG_URL,         /* nothing that can be connected to; `near` is why */
    ENG_WRONG_NEEDS,       /* means nothing without the key `near` */
    ENG_WRONG_NO_RULE,     /* a file of rules without any */
    ENG_WRONG_NO_ACTION,   /* the rule `near` does nothing */
    ENG_WRONG_NO_VALUE     /* a condition that would hold always, or for nothing */
};

struct eng_mistake {
    enum eng_wrong wrong;
    size_t at;     /* byte of the text */
    char near[96]; /* "" or what may have been meant */
};

/* Characters up to and with the one at byte `at`: as people count, from 1. */
size_t eng_column(const char *text, size_t at);

/* Letters to be changed, added, left out or swapped with a neighbour; 32 when either is longer. */
size_t eng_distance(const char *a, const char *b);

/* Is `known` nearer to `word` than *best (begin with 3), and near at all?  Then *best is that. */
bool eng_is_near(const char *word, const char *known, size_t *best);

#endif
