/*
 * sockets_none.c - stands in for sockets_mnl.c where libmnl was not there at build time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <errno.h>

const bool eng_sockets_built = false;

int
eng_diag_read(struct eng_sockets *out, enum eng_proto proto)
{
    (void)out;
    (void)proto;
    return ENOSYS;
}
