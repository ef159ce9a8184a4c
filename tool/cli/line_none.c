/*
 * line_none.c - without libedit there is no line to edit: the terminal's own is used.
 *
 * SPDX-License-Identifier: MIT
 */
#include "line.h"

bool
cli_line_is_possible(const struct cli *cli)
{
    (void)cli;
    return false;
}

struct cli_line *
cli_line_open(struct cli *cli, const struct cli_line_opts *opts)
{
    (void)cli;
    (void)opts;
    return NULL;
}

void
cli_line_typed(struct cli_line *l, const uint8_t *bytes, size_t len)
{
    (void)l;
    (void)bytes;
    (void)len;
}

void
cli_line_prompt(struct cli_line *l, const char *prompt)
{
    (void)l;
    (void)prompt;
}

void
cli_line_show(struct cli_line *l)
{
    (void)l;
}

void
cli_line_resized(struct cli_line *l)
{
    (void)l;
}

void
cli_line_leave(struct cli_line *l)
{
    (void)l;
}

void
cli_line_back(struct cli_line *l)
{
    (void)l;
}

void
cli_line_close(struct cli_line *l)
{
    (void)l;
}
