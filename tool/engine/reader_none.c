/*
 * reader_none.c - built without the JSON library: recordings are written, and cannot be read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <stdio.h>

bool
eng_reader_works(void)
{
    return false;
}

bool
record_line_parse(struct record_line *line, const uint8_t *json, size_t len, char *text,
                  size_t room)
{
    (void)line;
    (void)json;
    (void)len;
    snprintf(text, room, "this program was built without libjansson");
    return false;
}

void
record_line_free(struct record_line *line)
{
    (void)line;
}

enum eng_read
reader_json_next(struct eng_reader *r, struct eng_record *out)
{
    (void)out;
    r->state = READER_DONE;
    return reader_damage(r, 0, "this program was built without libjansson");
}
