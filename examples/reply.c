/*
 * reply.c - the other half of request.c: answers each request with its letters in upper case.
 *
 *     example_reply                       tcp://:7000
 *
 * len:4be: four bytes that say how long the message is, then the message.  Nothing here counts
 * bytes; the framing does, in both directions, and refuses what is longer than `max`.
 *
 * SPDX-License-Identifier: MIT
 */
#include <ctype.h>
#include <outlet/outlet.h>
#include <stdio.h>

static void
answer(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)toupper(bytes[i]); /* lent, and ours to write in until we return */
    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = answer};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {
        .size = sizeof opts, .on = &on, .why = &why, .frame = "len:4be", .max = 65536};
    outlet_listener listener;
    outlet_loop *loop;
    char url[256];

    if (outlet_loop_new(&loop, NULL))
        return 1;
    if (outlet_listen(loop, argc > 1 ? argv[1] : "tcp://:7000", &opts, &listener) == OUTLET_OK) {
        outlet_listener_info(listener, "url", url, sizeof url);
        puts(url);
        fflush(stdout);
        outlet_loop_run(loop);
    } else {
        fprintf(stderr, "%s\n", why.text);
    }
    outlet_loop_free(loop);
    return why.code != OUTLET_OK;
}
