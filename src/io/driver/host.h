/*
 * host.h - clocks and chance of this machine, in the shape that the drivers' table wants.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HOST_H
#define OL_HOST_H

#include "driver.h"

/* None looks at `d`, which may be NULL. */
int64_t ol_host_real_now(struct ol_driver *d);
void ol_host_random(struct ol_driver *d, void *bytes, size_t len);

#endif
