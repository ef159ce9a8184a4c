/*
 * server_outlet.c - the echo server on outlet, as its manual shows it.
 *
 *     server_outlet URL [REACTORS]     the driver: OUTLET_DRIVER
 *     server_outlet --takes URL        does nothing but answer whether this outlet takes the URL
 *
 * The URL says the transport and the framing: nothing else differs.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .why = &why};
    struct outlet_loop_opts loop_opts = OUTLET_LOOP_OPTS;
    outlet_listener listener;
    outlet_loop *loop;
    char local[200] = "";

    if (argc < 2)
        return 2;
    if (argc > 2 && strcmp(argv[1], "--takes") == 0)
        return outlet_url_check(argv[2], OUTLET_TO_LISTEN, NULL) != OUTLET_OK;
    loop_opts.threads = argc > 2 ? atoi(argv[2]) : 1;
    if (outlet_loop_new(&loop, &loop_opts) || outlet_listen(loop, argv[1], &opts, &listener)) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    outlet_listener_info(listener, "local", local, sizeof local);
    printf("ready %s\n", strrchr(local, ':') ? strrchr(local, ':') + 1 : "0");
    fflush(stdout);
    return outlet_loop_run(loop) != OUTLET_OK;
}
