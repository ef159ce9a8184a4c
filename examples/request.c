/*
 * request.c - ask, and wait for the answer until a deadline.
 *
 *     example_request tcp://localhost:7000 'how are you' 500      within 500 ms; else exit code 1
 *
 * What is sent before the connection is open waits in its queue, so there is no need to wait for
 * on_open.  Whatever happens, on_close comes once and last: it is the place to end.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
    outlet_loop *loop;
    outlet_conn conn;
    int answered;
};

static void
answered(outlet_conn c, outlet_msg *m, void *user)
{
    struct request *r = user;
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    printf("%.*s\n", (int)len, (const char *)bytes);
    r->answered = 1;
    outlet_close(c);
}

static void
closed(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct request *r = user;

    (void)c;
    if (!r->answered)
        fprintf(stderr, "no answer: %s\n", why->text);
    outlet_loop_stop(r->loop);
}

static void
too_late(outlet_timer t, void *arg)
{
    struct request *r = arg;

    (void)t;
    outlet_abort(r->conn); /* if it is closed already, this is OUTLET_ESTALE and does nothing */
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_message = answered, .on_close = closed};
    struct request r = {0};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {
        .size = sizeof opts, .on = &on, .user = &r, .why = &why, .frame = "len:4be"};
    const char *text = argc > 2 ? argv[2] : "how are you";
    long limit_ms = argc > 3 ? strtol(argv[3], NULL, 10) : 2000;
    outlet_timer deadline;

    if (outlet_loop_new(&r.loop, NULL))
        return 1;
    if (outlet_connect(r.loop, argc > 1 ? argv[1] : "tcp://:7000", &opts, &r.conn) < 0)
        fprintf(stderr, "%s\n", why.text);
    else if (outlet_send(r.conn, text, strlen(text)) >= 0 &&
             outlet_timer_start(r.loop, limit_ms, 0, too_late, &r, &deadline) == OUTLET_OK)
        outlet_loop_run(r.loop);
    outlet_loop_free(r.loop);
    return !r.answered;
}
