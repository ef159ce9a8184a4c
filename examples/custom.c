/*
 * custom.c - a framing of one's own: netstrings, "5:hello,".
 *
 *     example_custom                                  tcp://:7000: sends each one back
 *     printf '5:hello,' | nc -N localhost 7000
 *
 * `split` is called with all the bytes so far whenever more have come; `wrap` says what stands
 * around a message that is sent.  Both depend on their arguments alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <outlet/outlet.h>
#include <stdio.h>

static int
split(void *user, const uint8_t *bytes, size_t len, struct outlet_frame *frame, size_t *need)
{
    size_t digits = 0;
    size_t size = 0;

    while (digits < len && bytes[digits] >= '0' && bytes[digits] <= '9' && digits < 7)
        size = size * 10 + (size_t)(bytes[digits++] - '0');
    if (digits == len)
        return 0; /* the number may go on */
    if (digits == 0 || bytes[digits] != ':' || (bytes[0] == '0' && digits > 1))
        return OUTLET_EPROTO;
    (void)user;
    *need = digits + 1 + size + 1; /* judged by `max` before memory is taken for it */
    if (len >= *need && bytes[*need - 1] != ',')
        return OUTLET_EPROTO;
    *frame = (struct outlet_frame){.skip = digits + 1, .message = size, .tail = 1};
    return len >= *need; /* 1: a whole one, as *frame says; 0: more is needed */
}

static int
wrap(void *user, const uint8_t *bytes, size_t len, uint8_t *head, size_t *head_len, uint8_t *tail,
     size_t *tail_len)
{
    (void)user, (void)bytes;
    *head_len = (size_t)snprintf((char *)head, OUTLET_FRAME_HEAD_MAX, "%zu:", len);
    *tail_len = (size_t)snprintf((char *)tail, OUTLET_FRAME_TAIL_MAX, ",");
    return OUTLET_OK;
}

static void
echo(outlet_conn c, outlet_msg *m, void *user)
{
    size_t len;
    const uint8_t *bytes = outlet_msg_data(m, &len);

    if (outlet_send(c, bytes, len) < 0)
        outlet_abort(c);
    (void)user;
}

int
main(int argc, char **argv)
{
    static const struct outlet_handlers on = {.size = sizeof on, .on_message = echo};
    static const struct outlet_framing netstring = {sizeof netstring, NULL, split, wrap};
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = {
        .size = sizeof opts, .on = &on, .why = &why, .frame = "custom", .framing = &netstring};
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
