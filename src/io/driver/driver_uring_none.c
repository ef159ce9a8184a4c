/*
 * driver_uring_none.c - stands in for driver_uring.c where liburing was not there at build time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "driver.h"

#include <errno.h>

static int
none_open(struct ol_driver **out, const struct ol_driver_opts *opts)
{
    (void)out;
    (void)opts;
    return -ENOSYS;
}

/* Nobody gets a driver of this kind, so nothing else is ever called. */
const struct ol_driver_ops ol_driver_uring = {.name = "uring", .open = none_open};
