/*
 * server_outlet.c - the echo server on outlet, as its manual shows it.
 *
 *     server_outlet URL [REACTORS [BUSY-US]]     the driver: OUTLET_DRIVER
 *
 * The URL says the transport and the framing: nothing else differs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ours.h"

static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};
    outlet_loop *loop;

    if (argc < 2)
        return 2;
    loop = ours_loop(argc > 2 ? atoi(argv[2]) : 1, argc > 3 ? atoi(argv[3]) : 0);
    ours_listen(loop, argv[1], &on);
    return outlet_loop_run(loop) != OUTLET_OK;
}
