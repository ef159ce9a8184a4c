/*
 * check.c - the public door to the parser: would this URL be taken, and how is it spelled?
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"

outlet_err
outlet_url_check(const char *url, enum outlet_role role, struct outlet_reason *why)
{
    struct ol_endpoint e;

    return ol_endpoint_parse(url, role, NULL, &e, why);
}

int64_t
outlet_url_print(const char *url, enum outlet_role role, char *text, size_t room)
{
    struct ol_endpoint e;
    outlet_err err;

    if (!text && room > 0)
        return OUTLET_EINVAL;
    err = ol_endpoint_parse(url, role, NULL, &e, NULL);
    if (err)
        return err;
    return (int64_t)ol_endpoint_print(&e, 0, text, room);
}
