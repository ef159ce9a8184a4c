/*
 * consumer.c - a stranger's program: one line to an echo server over loopback and back.
 *
 * It is compiled as C and as C++, against what was installed and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>

#include <stdio.h>
#include <string.h>

struct talk {
    outlet_loop *loop;
    int answered;
    int failed;
};

static void
server_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct talk *talk = (struct talk *)user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (outlet_send(c, bytes, len) < 0)
        talk->failed = 1;
}

static void
client_open(outlet_conn c, void *user)
{
    struct talk *talk = (struct talk *)user;

    if (outlet_send(c, "plug in", 7) < 0)
        talk->failed = 1;
}

static void
client_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct talk *talk = (struct talk *)user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    talk->answered = len == 7 && memcmp(bytes, "plug in", 7) == 0;
    outlet_close(c);
}

static void
client_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct talk *talk = (struct talk *)user;

    (void)c;
    if (why->code != OUTLET_OK) {
        fprintf(stderr, "closed: %s\n", why->text);
        talk->failed = 1;
    }
    outlet_loop_stop(talk->loop);
}

int
main(void)
{
    struct talk talk = {NULL, 0, 0};
    struct outlet_handlers server;
    struct outlet_handlers client;
    struct outlet_opts opts = OUTLET_OPTS;
    outlet_listener listener;
    outlet_conn conn;
    char url[256];
    int64_t err;

    memset(&server, 0, sizeof server);
    server.size = sizeof server;
    server.on_message = server_message;
    memset(&client, 0, sizeof client);
    client.size = sizeof client;
    client.on_open = client_open;
    client.on_message = client_message;
    client.on_close = client_close;

    err = outlet_loop_new(&talk.loop, NULL);
    if (err)
        goto said;
    opts.user = &talk;
    opts.frame = "line";
    opts.on = &server;
    err = outlet_listen(talk.loop, "tcp://127.0.0.1:0", &opts, &listener);
    if (err)
        goto free_loop;
    err = outlet_listener_info(listener, "url", url, sizeof url);
    if (err < 0)
        goto free_loop;
    opts.on = &client;
    err = outlet_connect(talk.loop, url, &opts, &conn);
    if (err)
        goto free_loop;
    err = outlet_loop_run(talk.loop);

free_loop:
    outlet_loop_free(talk.loop);
said:
    if (err < 0) {
        fprintf(stderr, "%s: %s\n", outlet_error_name(err), outlet_strerror(err));
        return 1;
    }
    if (!talk.answered || talk.failed)
        return 1;
    printf("outlet %s: plugged in\n", outlet_version());
    return 0;
}
