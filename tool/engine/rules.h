/*
 * rules.h - what is answered to which message: read from a file, matched, counted.  Pure.
 *
 *     [ping]
 *     is = PING
 *     reply = PONG
 *
 *     [read]
 *     hex = 01 03 *
 *     field = u16be@4 <= 125
 *     reply-hex = 01 83 02
 *     append = crc16/modbus
 *
 * The file is one of sections, as presets are (preset.h).  Rules are tried in its order; the first
 * of which all conditions hold acts.  A newcomer's mistake: to expect lines of a stream without
 * frame=.  A message is what framing makes it, else what one read brought.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_RULES_H
#define ENG_RULES_H

#include "mistake.h"
#include "template.h"

#include <stdint.h>

struct eng_bytes;
struct eng_rules;
struct eng_sum;
struct eng_template;

enum {
    ENG_RULES_MAX = 4096,
    ENG_RULE_TOKENS_MAX = 1024,
    ENG_RULE_FIELDS_MAX = 16,
    ENG_RULE_FILE_MAX = 16 * 1024 * 1024
};

/* For whom they are: a file may say more for a relay. */
enum eng_rules_for { ENG_RULES_LISTEN, ENG_RULES_CONNECT, ENG_RULES_RELAY };

/* What the command line says; lent until the rules are freed. */
struct eng_rules_opts {
    enum eng_rules_for who;
    const char *charset;          /* checked; NULL: UTF-8 */
    const struct eng_sum *append; /* NULL: none */
    const char *eol;              /* NULL: none */
    /* reply-file, answering with an errno as eng_file_load() does; NULL: there are no files. */
    int (*load)(const char *path, size_t most, struct eng_bytes *out);
};

/* Where a file is wrong.  `key` and `value` are what stands there, "" where that is no entry. */
struct eng_rules_mistake {
    struct eng_mistake mistake; /* ENG_WRONG_NOTHING: no memory */
    int line;
    size_t column; /* as people count, from 1 */
    char key[64];
    char value[256];
};

enum eng_rule_close { ENG_CLOSE_NOT, ENG_CLOSE_ORDERLY, ENG_CLOSE_RESET };

enum eng_rule_forward { ENG_FORWARD_NOT, ENG_FORWARD_OTHERS, ENG_FORWARD_URL };

struct eng_rule_counts {
    uint64_t matches; /* when it acted */
    uint64_t replies;
    uint64_t gave_up; /* messages on which its regular expression did */
};

/* One rule, as those who act and tell look at it. */
struct eng_rule_acts {
    const char *name;
    bool replies;
    bool echo;
    const uint8_t *bytes; /* complete, with checksum and end of line */
    size_t len;
    const struct eng_template *template; /* instead of `bytes`; NULL: none */
    const struct eng_sum *append;        /* behind what it makes */
    const char *eol;
    enum eng_rule_close close;
    bool passes; /* relay: on to the other side */
    enum eng_rule_forward forward;
    const char *forward_url; /* checked */
    int64_t delay_ms;        /* that all of it happens later */
    /* What its regular expression found last: lent until the message ends, or another comes. */
    struct eng_capture match[ENG_CAPTURES];
    struct eng_rule_counts counts;
};

struct eng_rules *eng_rules_parse(const void *text, size_t len, const struct eng_rules_opts *opts,
                                  struct eng_rules_mistake *mistake);
void eng_rules_free(struct eng_rules *rules); /* NULL is allowed */

size_t eng_rules_count(const struct eng_rules *rules);
/* Does one of them?  NULL is allowed. */
bool eng_rules_forward(const struct eng_rules *rules, enum eng_rule_forward where);
struct eng_rule_acts *eng_rules_at(struct eng_rules *rules, size_t i);

/* The rule that acts on this message, counted; NULL: none.  `out`: the server of a relay has sent
 * it.  `gave_up` (NULL: nobody) is told of a rule whose regular expression gives up for the first
 * time. */
struct eng_rule_acts *eng_rules_match(struct eng_rules *rules, bool out, const uint8_t *bytes,
                                      size_t len,
                                      void (*gave_up)(void *user, const struct eng_rule_acts *acts),
                                      void *user);

#endif
