/*
 * base.h - what every folder may use: memory with a limit, buffers, lists, maps, chance, checks.
 *
 * This is the folder's one door.  Nothing in base knows of sockets, connections or loops.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_BASE_H
#define OL_BASE_H

#include "outlet/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "assert.h"
#include "block.h"
#include "bytes.h"
#include "hash.h"
#include "hint.h"
#include "list.h"
#include "log.h"
#include "math.h"
#include "random.h"
#include "rate.h"

#define OL_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define OL_BIT(n) (1u << (n))
#define OL_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Monotonic time in nanoseconds. */
typedef int64_t ol_time;
#define OL_NEVER INT64_MAX
#define OL_MS ((ol_time)1000000)

/* A reason with one sentence, cut to its room; sys_errno, key and position stay as they were. */
void ol_reason_set(struct outlet_reason *why, outlet_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The code for an errno of connect, bind, send, receive... (positive errno). */
outlet_err ol_err_from_errno(int sys_errno);

#endif
