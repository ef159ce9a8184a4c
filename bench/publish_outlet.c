/*
 * publish_outlet.c - fan-out on outlet: what one connection says goes to everyone else in a group.
 *
 *     publish_outlet URL     the driver: OUTLET_DRIVER
 *
 * The URL says the framing ("frame=fixed:100").  The counterpart of server_publish.c: a new
 * connection is sent one message of zeros.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ours.h"

static size_t size;
static outlet_loop *loop;

static void
greet(outlet_conn c, void *user)
{
    static const uint8_t zeros[65536];

    (void)user;
    if (outlet_join(c, "all") || outlet_send(c, zeros, size) < 0)
        outlet_abort(c);
}

static void
publish(outlet_conn c, outlet_msg *m, void *user)
{
    outlet_buf *b = outlet_msg_retain(m);

    (void)user;
    if (!b || outlet_publish(loop, "all", b, c))
        outlet_abort(c);
    outlet_buf_unref(b);
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_open = greet, .on_message = publish};
    const char *fixed = argc > 1 ? strstr(argv[1], "fixed:") : NULL;

    if (!fixed)
        return 2;
    size = (size_t)atol(fixed + strlen("fixed:"));
    if (size > 65536)
        return 2;
    loop = ours_loop(1, 0);
    ours_listen(loop, argv[1], &on);
    return outlet_loop_run(loop) != OUTLET_OK;
}
