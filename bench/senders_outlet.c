/*
 * senders_outlet.c - threads outside of the loop send to all its connections, on outlet.
 *
 *     senders_outlet PORT THREADS SIZE     the driver: OUTLET_DRIVER
 *
 * The counterpart of server_senders.c, which tells the rules of the game.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ours.h"
#include "senders.h"

enum { CONNS = 65536 };

static outlet_conn members[CONNS];
static int member_count;

static void
greet(outlet_conn c, void *user)
{
    (void)user;
    if (member_count == CONNS || outlet_send(c, "!", 1) < 0)
        outlet_abort(c);
    else
        members[member_count++] = c;
}

/* Only the client that directs the game says anything: it is no target. */
static void
hear(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)user;
    for (int i = 0; i < member_count; i++) {
        if (members[i].id == c.id)
            members[i] = members[--member_count];
    }
    senders_go(bytes, len);
}

void
senders_target(int i, const void *bytes, size_t len)
{
    if (outlet_send(members[i], bytes, len) < 0)
        exit(1);
}

int
senders_targets(void)
{
    return member_count;
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_open = greet, .on_message = hear};
    outlet_loop *loop;
    char url[64];

    if (argc < 4)
        return 2;
    loop = ours_loop(1, 0);
    senders_start(atoi(argv[2]), (size_t)atol(argv[3]));
    snprintf(url, sizeof url, "tcp://127.0.0.1:%s", argv[1]);
    ours_listen(loop, url, &on);
    return outlet_loop_run(loop) != OUTLET_OK;
}
