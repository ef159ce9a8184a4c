/*
 * rules_tally.c - what rules did, by their names, over all the files that were read in a session.
 *
 * A newcomer's mistake: to keep the rules for their counters.  Somebody may read files all day;
 * kept are the names of those that did something, each once, and so many of them at most.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <stdio.h>
#include <string.h>

static struct eng_tally *
row_of(struct eng_tallies *t, const char *name)
{
    struct eng_tally *rows = (struct eng_tally *)(void *)t->bytes.data;

    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    if (t->count == ENG_TALLIES_MAX || !eng_bytes_space(&t->bytes, sizeof *rows))
        return NULL;
    t->bytes.len += sizeof *rows;
    rows = (struct eng_tally *)(void *)t->bytes.data;
    rows[t->count] = (struct eng_tally){0};
    snprintf(rows[t->count].name, sizeof rows[t->count].name, "%s", name);
    return &rows[t->count++];
}

static void
add(struct eng_tallies *t, const char *name, const struct eng_rule_counts *counts)
{
    struct eng_tally *row = row_of(t, name);

    if (!row)
        return;
    row->counts.matches += counts->matches;
    row->counts.replies += counts->replies;
    row->counts.gave_up += counts->gave_up;
}

void
eng_tallies_add(struct eng_tallies *t, struct eng_rules *rules, bool idle)
{
    for (size_t i = 0; rules && i < eng_rules_count(rules); i++) {
        const struct eng_rule_acts *acts = eng_rules_at(rules, i);

        if (idle || acts->counts.matches || acts->counts.gave_up)
            add(t, acts->name, &acts->counts);
    }
}

void
eng_tallies_join(struct eng_tallies *t, const struct eng_tallies *more)
{
    for (size_t i = 0; i < more->count; i++) {
        const struct eng_tally *row = eng_tallies_at(more, i);

        add(t, row->name, &row->counts);
    }
}

const struct eng_tally *
eng_tallies_at(const struct eng_tallies *t, size_t i)
{
    return (const struct eng_tally *)(const void *)t->bytes.data + i;
}

void
eng_tallies_free(struct eng_tallies *t)
{
    eng_bytes_free(&t->bytes);
    t->count = 0;
}
