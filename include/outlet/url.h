/*
 * url.h - check and print endpoint URLs without opening anything.
 *
 *     scheme://host:port[#options]     tcp, udp
 *     unix:///path  unix:path  unix:@name       also unix-seqpacket and unix-dgram
 *     pair:  pair:name
 *     fd:3  fd:systemd  fd:systemd/name
 *
 * docs/url.md has every scheme and every option with its default.
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
 * The canonical form of `url`: lower-case scheme, a missing host or scheme filled in, options in
 * order and only where they differ from the default.  It parses back to the same.  Answers the
 * length of the text, which is cut to `room` and always ends in NUL; with room 0 only the length.
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
