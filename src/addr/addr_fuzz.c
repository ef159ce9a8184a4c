/*
 * addr_fuzz.c - any bytes as a URL and as numbers of the caller's struct.
 *
 * Property: what is taken prints as a text that is taken, in turn, as the same endpoint, and that
 * prints as itself; what is refused has a reason with a sentence and a byte inside the text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
check_reason(const struct outlet_reason *why, outlet_err err, const char *url, bool with_opts)
{
    size_t len = strlen(url);

    OL_ASSERT(err == OUTLET_EINVAL || err == OUTLET_ENOTSUP);
    OL_ASSERT(why->code == err);
    OL_ASSERT(why->text[0] != '\0' && memchr(why->text, '\0', sizeof why->text));
    OL_ASSERT(memchr(why->key, '\0', sizeof why->key));
    OL_ASSERT(why->position >= (with_opts ? -1 : 0));
    OL_ASSERT(why->position < 0 || (size_t)why->position <= len);
}

static void
check_same(const struct ol_endpoint *a, const struct ol_endpoint *b)
{
    struct outlet_opts x = a->opts;
    struct outlet_opts y = b->opts;

    x.frame = x.device = x.local = x.interface = NULL;
    y.frame = y.device = y.local = y.interface = NULL;
    OL_ASSERT(memcmp(a->texts, b->texts, sizeof a->texts) == 0);
    OL_ASSERT(memcmp(&x, &y, sizeof x) == 0);
    OL_ASSERT(a->scheme == b->scheme && a->any_host == b->any_host);
    OL_ASSERT(a->loopback == b->loopback && a->has_literal == b->has_literal);
    OL_ASSERT(a->port == b->port && a->zone == b->zone && a->addr.port == b->addr.port);
    OL_ASSERT(ol_addr_same(&a->addr, &b->addr));
    OL_ASSERT(strcmp(a->host, b->host) == 0);
    OL_ASSERT(strcmp(a->frame, b->frame) == 0);
}

static void
check_round_trip(const struct ol_endpoint *e)
{
    char text[2][OL_ENDPOINT_TEXT];
    struct ol_endpoint again;

    OL_ASSERT(ol_endpoint_print(e, 0, text[0], sizeof text[0]) < sizeof text[0]);
    OL_ASSERT(ol_endpoint_parse(text[0], e->role, NULL, &again, NULL) == OUTLET_OK);
    check_same(e, &again);
    OL_ASSERT(ol_endpoint_print(&again, 0, text[1], sizeof text[1]) < sizeof text[1]);
    OL_ASSERT(strcmp(text[0], text[1]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct outlet_reason why = OUTLET_REASON;
    struct ol_endpoint e;
    enum outlet_role role;
    bool with_opts;
    char *url;
    outlet_err err;

    if (len < 1)
        return 0;
    role = in[0] & 1 ? OUTLET_TO_LISTEN : OUTLET_TO_CONNECT;
    with_opts = in[0] & 2 && len > 13;
    in++;
    len--;
    if (with_opts) {
        int32_t numbers[3];

        memcpy(numbers, in, sizeof numbers);
        opts.low = numbers[0];
        opts.high = numbers[1];
        opts.cap = numbers[2];
        in += sizeof numbers;
        len -= sizeof numbers;
    }
    url = malloc(len + 1); /* its own block, so that a byte read behind it is noticed */
    if (!url)
        return 0;
    memcpy(url, in, len);
    url[len] = '\0';

    err = ol_endpoint_parse(url, role, with_opts ? &opts : NULL, &e, &why);
    if (err)
        check_reason(&why, err, url, with_opts);
    else
        check_round_trip(&e);
    free(url);
    return 0;
}
