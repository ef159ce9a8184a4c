/*
 * out.c - standard output, without ever waiting for it inside the loop.
 *
 * A reader that stands still (a pager, a stopped pipeline) must not stop timers and signals, so
 * writing never blocks: what does not fit waits here, receiving pauses when too much waits, and
 * the loop tells when there is room again.  A newcomer's mistake: to set O_NONBLOCK on descriptor
 * 1.  The flag belongs to the open file, which the shell and other programs share; so the file is
 * opened anew through /proc, or, where that is not permitted, written in pieces that fit.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_HIGH = 1024 * 1024, OUT_LOW = 256 * 1024 };

void
cli_out_open(struct cli_out *out, int fd)
{
    char path[40];
    struct stat st;
    int own;

    memset(out, 0, sizeof *out);
    out->fd = fd;
    if (fstat(fd, &st) != 0)
        return;
    out->is_socket = S_ISSOCK(st.st_mode);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    out->careful = own < 0;
    out->own_fd = own >= 0;
    out->fd = own >= 0 ? own : fd;
}

static ssize_t
write_some(const struct cli_out *out, const uint8_t *bytes, size_t len)
{
    struct pollfd ready = {.fd = out->fd, .events = POLLOUT};

    if (out->is_socket)
        return send(out->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (out->careful) {
        if (poll(&ready, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        len = len < PIPE_BUF ? len : PIPE_BUF; /* that much fits whenever poll() says yes */
    }
    return write(out->fd, bytes, len);
}

static void
stop_watching(struct cli_out *out)
{
    if (out->watching)
        outlet_watch_stop(out->watch);
    out->watching = false;
}

static void
broke(struct cli_out *out, int error)
{
    out->broken = error;
    out->queue.len = 0;
    out->at = 0;
    stop_watching(out);
    if (out->changed)
        out->changed(out->arg);
}

static void
has_room(outlet_watch w, int events, void *arg)
{
    struct cli_out *out = arg;

    (void)w;
    if (events < 0) {
        out->watching = false;
        broke(out, EIO);
        return;
    }
    cli_out_flush(out);
}

void
cli_out_flush(struct cli_out *out)
{
    bool was_full = cli_out_is_full(out);
    bool had_waited = out->watching;

    while (out->at < out->queue.len) {
        ssize_t n = write_some(out, out->queue.data + out->at, out->queue.len - out->at);

        if (n >= 0) {
            out->at += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            broke(out, errno);
            return;
        }
    }
    if (out->at == out->queue.len) {
        out->queue.len = 0;
        out->at = 0;
        stop_watching(out);
    } else {
        if (out->at > OUT_LOW) {
            eng_bytes_cut(&out->queue, out->at);
            out->at = 0;
        }
        if (!out->watching && out->loop)
            out->watching = outlet_watch_start(out->loop, out->fd, OUTLET_WRITABLE, has_room, out,
                                               &out->watch) == OUTLET_OK;
    }
    /* Also when all is out: what was left out in the meantime is told then. */
    if (((was_full && !cli_out_is_full(out)) || (had_waited && !out->watching)) && out->changed)
        out->changed(out->arg);
}

void
cli_out_add(struct cli_out *out, const void *bytes, size_t len)
{
    if (out->broken)
        return;
    if (out->before)
        out->before(out->before_arg);
    if (!eng_bytes_add(&out->queue, bytes, len)) {
        broke(out, ENOMEM);
        return;
    }
    if (out->queue.len - out->at > OUT_LOW && !out->watching)
        cli_out_flush(out);
}

bool
cli_out_is_full(const struct cli_out *out)
{
    return out->queue.len - out->at > OUT_HIGH;
}

void
cli_out_finish(struct cli_out *out, int wait_ms, int stop_fd)
{
    stop_watching(out);
    out->loop = NULL;
    out->changed = NULL;
    for (;;) {
        struct pollfd ready[2] = {{.fd = out->fd, .events = POLLOUT},
                                  {.fd = stop_fd, .events = POLLIN}};

        cli_out_flush(out);
        if (out->broken || out->queue.len == 0)
            return;
        if (poll(ready, 2, wait_ms) == 0 || ready[1].revents)
            return;
    }
}

void
cli_out_drop(struct cli_out *out)
{
    out->queue.len = 0;
    out->at = 0;
}

void
cli_out_free(struct cli_out *out)
{
    if (out->own_fd)
        close(out->fd);
    out->own_fd = false;
    eng_bytes_free(&out->queue);
}
