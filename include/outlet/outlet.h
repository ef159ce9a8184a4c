/*
 * outlet.h - one socket for every transport.
 *
 * Four things to know: a loop, connections, handlers, buffers.  An endpoint is a URL, a group is a
 * string.  Start with conn.h and listener.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_OUTLET_H
#define OUTLET_OUTLET_H

#include "buf.h"
#include "conn.h"
#include "err.h"
#include "frame.h"
#include "group.h"
#include "listener.h"
#include "loop.h"
#include "opts.h"
#include "plug.h"
#include "url.h"

#endif
