/*
 * log.c - one line to whoever asked for lines.
 *
 * What is logged may hold words of a peer: control characters become '?', so that nobody can forge
 * a second line or drive a terminal.
 *
 * SPDX-License-Identifier: MIT
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LINE_ROOM = 512 };

void
ol_log(const struct ol_log *log, enum outlet_log_level level, const char *format, ...)
{
    char line[LINE_ROOM];
    va_list args;
    int len;

    if (!log || !log->line)
        return;
    va_start(args, format);
    len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0)
        return;
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    log->line(log->user, level, line);
}
