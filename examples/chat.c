/*
 * chat.c - everyone hears everyone: a group is a string.
 *
 *     example_chat                        'tcp://:7000#frame=line'
 *     nc localhost 7000                   twice, and type
 *
 * A publish is encoded once and shared by all who get it.  Who does not read what is sent loses
 * messages, not the others: the queue of each connection has its own limit.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>

static void
say(outlet_loop *loop, outlet_buf *b, outlet_conn not_to)
{
    if (!b || outlet_publish(loop, "room", b, not_to) < 0)
        fprintf(stderr, "out of memory: a message is lost\n");
    outlet_buf_unref(b); /* publish took a reference of its own */
}

static void
came(outlet_conn c, void *user)
{
    outlet_loop *loop = user;
    char text[64];
    int len;

    if (outlet_join(c, "room") < 0) {
        outlet_abort(c);
        return;
    }
    len = snprintf(text, sizeof text, "* %lld here", (long long)outlet_group_count(loop, "room"));
    say(loop, outlet_buf_copy(text, (size_t)len), (outlet_conn){0});
}

static void
heard(outlet_conn c, outlet_msg *m, void *user)
{
    say(user, outlet_msg_retain(m), c);
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_open = came, .on_message = heard};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {
        .size = sizeof opts, .on = &on, .why = &why, .full = OUTLET_FULL_DROP_OLD};
    outlet_listener listener;
    outlet_loop *loop;
    char url[256];

    if (outlet_loop_new(&loop, NULL))
        return 1;
    opts.user = loop; /* what every callback of every connection receives */
    if (outlet_listen(loop, argc > 1 ? argv[1] : "tcp://:7000#frame=line", &opts, &listener) ==
        OUTLET_OK) {
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
