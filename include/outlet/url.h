/*
 * url.h - check and print endpoint URLs without opening anything.
 *
 *     scheme://[user[:secret]@]host[:port][/path][?query][#options]
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_URL_H
#define OUTLET_URL_H

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum outlet_role { OUTLET_TO_LISTEN = 1, OUTLET_TO_CONNECT = 2 };

/**
 * Would `url` be taken by outlet_listen() or outlet_connect()?  Nothing is opened or resolved.
 *
 * Memory  keeps nothing; fills *why (may be NULL) with position, key and a sentence after an error.
 * Thread  any.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP
 */
OUTLET_API OUTLET_MUST_USE outlet_err
outlet_url_check(const char *url, enum outlet_role role, struct outlet_reason *why);

/**
 * The canonical form of `url`: lower-case scheme, the default made visible, options in order, a
 * secret as "***".  Answers the length, which is cut to `room` and always ends in NUL.
 *
 * Memory  copies into `text`.
 * Thread  any.
 * Calls   nothing.
 * Errors  OUTLET_EINVAL, OUTLET_ENOTSUP
 */
OUTLET_API int64_t
outlet_url_print(const char *url, enum outlet_role role, char *text, size_t room);

#ifdef __cplusplus
}
#endif
#endif
