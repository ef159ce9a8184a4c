/*
 * threads.c - four reactors and a free main thread; a connection may be spoken to from any of them.
 *
 *     example_threads                     'tcp://:7000#frame=line'
 *     nc localhost 7000                   first line: my name; then "bob how are you"
 *
 * Which reactor serves whom nobody needs to know: outlet_by_name() and outlet_send() work from
 * everywhere, and so does a handle that somebody kept.  What is typed here goes to everyone; the
 * end of the input drains the loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>
#include <string.h>

static void
heard(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);
    char text[256];
    char *space;
    outlet_conn to;

    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)bytes);
    if (outlet_info(c, "name", NULL, 0) == 0) { /* nobody yet: this is the name */
        if (outlet_set_name(c, text) < 0)
            outlet_close(c);
        return;
    }
    space = strchr(text, ' ');
    if (!space)
        return;
    *space = '\0';
    to = outlet_by_name(user, text);
    if (outlet_send(to, space + 1, strlen(space + 1)) < 0 && /* on whichever reactor it lives */
        outlet_send(c, "not sent", 8) < 0)
        outlet_abort(c);
}

static int
tell(outlet_conn c, void *text)
{
    return outlet_send(c, text, strlen(text)) == OUTLET_ENOMEM; /* others may be gone or full */
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = heard};
    struct outlet_loop_opts loop_opts = {.size = sizeof loop_opts, .threads = 4};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .why = &why};
    outlet_listener listener;
    outlet_loop *loop;
    char text[256];

    if (outlet_loop_new(&loop, &loop_opts))
        return 1;
    opts.user = loop;
    if (outlet_listen(loop, argc > 1 ? argv[1] : "tcp://:7000#frame=line", &opts, &listener) < 0 ||
        outlet_loop_start(loop) < 0) {
        fprintf(stderr, "%s\n", why.text);
        outlet_loop_free(loop);
        return 1;
    }
    outlet_listener_info(listener, "url", text, sizeof text);
    puts(text);
    fflush(stdout);
    while (fgets(text, sizeof text, stdin)) {
        text[strcspn(text, "\n")] = '\0';
        outlet_each(loop, listener, tell, text);
    }
    outlet_loop_drain(loop, 0);
    outlet_loop_free(loop); /* waits for the four threads */
    return 0;
}
