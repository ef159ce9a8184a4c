/*
 * url.c - the public functions that look at a URL and open nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net/conn/conn.h"

static outlet_err
parse(const char *url, enum outlet_role role, struct ol_endpoint *e, struct outlet_reason *why)
{
    struct ol_framing framing;
    outlet_err err;

    err = ol_endpoint_parse(url, role, NULL, e, why);
    if (!err && strcmp(e->frame, "custom") != 0)
        err = ol_framing_of(e, why, &framing);
    return err;
}

outlet_err
outlet_url_check(const char *url, enum outlet_role role, struct outlet_reason *why)
{
    struct ol_endpoint e;

    if (why)
        *why = (struct outlet_reason)OUTLET_REASON;
    return parse(url, role, &e, why);
}

int64_t
outlet_url_print(const char *url, enum outlet_role role, char *text, size_t room)
{
    struct ol_endpoint e;
    outlet_err err = parse(url, role, &e, NULL);

    return err ? err : (int64_t)ol_endpoint_print(&e, 0, text, text ? room : 0);
}
