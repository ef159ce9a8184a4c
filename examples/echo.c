/*
 * echo.c - a server that sends back what it gets, on any transport that its URL names.
 *
 *     example_echo                        tcp://:7000, this computer only
 *     example_echo 'tcp://0.0.0.0:7000#frame=line'
 *     example_echo udp://:7000
 *     example_echo unix:///run/user/1000/echo.sock
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>

static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c); /* it sends without reading: the queue is at its limit */
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .why = &why};
    outlet_listener listener;
    outlet_loop *loop;
    char url[256];

    if (outlet_loop_new(&loop, NULL))
        return 1;
    if (outlet_listen(loop, argc > 1 ? argv[1] : "tcp://:7000", &opts, &listener) == OUTLET_OK) {
        outlet_listener_info(listener, "url", url, sizeof url);
        puts(url); /* with the port that was picked, if it was 0 */
        fflush(stdout);
        outlet_loop_run(loop);
    } else {
        fprintf(stderr, "%s\n", why.text);
    }
    outlet_loop_free(loop);
    return why.code != OUTLET_OK;
}
