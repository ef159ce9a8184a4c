/*
 * udp.c - datagrams: every peer that writes to a listener is a connection of its own.
 *
 *     example_udp udp://:7000                       waits
 *     example_udp udp://:0 udp://127.0.0.1:7000     says hello first, and ends with the answer
 *
 * A datagram may be lost: a real program sends again until it is answered (see request.c for a
 * timer).  A silent peer's connection ends after idle_ms, here the default of 60 seconds.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>
#include <string.h>

struct place {
    outlet_loop *loop;
    int asks; /* it said hello, and is waiting for the answer */
};

static void
heard(outlet_conn c, outlet_msg *m, void *user)
{
    struct place *p = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    char peer[64];

    outlet_info(c, "peer", peer, sizeof peer);
    printf("%s: %.*s\n", peer, (int)len, (const char *)bytes);
    fflush(stdout);
    if (p->asks)
        outlet_loop_stop(p->loop);
    else if (outlet_send(c, "hello yourself", 14) < 0)
        fprintf(stderr, "the queue of %s is full\n", peer);
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = heard};
    struct place p = {.asks = argc > 2};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .user = &p, .why = &why};
    outlet_listener listener;
    char url[256];
    int64_t sent = 0;

    if (outlet_loop_new(&p.loop, NULL))
        return 1;
    if (outlet_listen(p.loop, argc > 1 ? argv[1] : "udp://:7000", &opts, &listener) < 0) {
        fprintf(stderr, "%s\n", why.text);
        outlet_loop_free(p.loop);
        return 1;
    }
    outlet_listener_info(listener, "url", url, sizeof url);
    puts(url);
    fflush(stdout);
    if (p.asks)
        sent = outlet_send_to(listener, argv[2], "hello", 5);
    if (sent < 0)
        fprintf(stderr, "%s: %s\n", argv[2], outlet_strerror(sent));
    else
        outlet_loop_run(p.loop);
    outlet_loop_free(p.loop);
    return sent < 0;
}
