/*
 * embed.c - inside somebody else's loop: poll() waits for stdin and for outlet at once.
 *
 *     example_embed 'tcp://localhost:7000#frame=line'      type lines, read lines; ^D ends
 *
 * The descriptor is readable whenever outlet_loop_turn() has something to do, timers included, so
 * poll() may wait for ever.  Games, GUIs and other languages' loops take outlet in like this.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static void
heard(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    (void)c;
    (void)user;
    printf("%.*s\n", (int)len, (const char *)bytes);
    fflush(stdout);
}

static void
closed(outlet_conn c, const struct outlet_reason *why, void *user)
{
    (void)c;
    fprintf(stderr, "%s\n", why->text);
    *(enum outlet_side *)user = why->side;
}

/* Answers 0 at the end of the input. */
static int
read_line(outlet_conn c)
{
    char text[1024];
    ssize_t len = read(STDIN_FILENO, text, sizeof text);

    if (len <= 0)
        outlet_end(c); /* what is queued still leaves, and answers still come */
    else if (outlet_send(c, text, (size_t)len - (text[len - 1] == '\n')) < 0)
        fprintf(stderr, "not sent\n");
    return len > 0;
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {
        .size = sizeof on, .on_message = heard, .on_close = closed};
    enum outlet_side ended = 0;
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {.size = sizeof opts, .on = &on, .user = &ended, .why = &why};
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
    outlet_loop *loop;
    outlet_conn c;

    if (outlet_loop_new(&loop, NULL))
        return 1;
    fds[1].fd = outlet_loop_fd(loop);
    if (outlet_connect(loop, argc > 1 ? argv[1] : "tcp://:7000#frame=line", &opts, &c) < 0)
        fprintf(stderr, "%s\n", why.text);
    else
        while (!ended && poll(fds, 2, -1) > 0) {
            if (fds[0].revents && !read_line(c))
                fds[0].fd = -1;
            if (fds[1].revents)
                outlet_loop_turn(loop, 0);
        }
    outlet_loop_free(loop);
    return ended == 0;
}
