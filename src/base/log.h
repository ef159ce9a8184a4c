/*
 * log.h - one line to whoever asked for lines.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_LOG_H
#define OL_LOG_H

#include "outlet/loop.h"

struct ol_log {
    void (*line)(void *user, enum outlet_log_level level, const char *line); /* NULL: silent */
    void *user;
};

void ol_log(const struct ol_log *log, enum outlet_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
