/*
 * file.c - outlet_send_file(): part of a file as one message.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_mail {
    struct ol_conn_mail mail;
    int fd;
    int64_t offset;
    size_t len;
};

static void
run_file(struct ol_conn *c, struct ol_conn_mail *mail)
{
    struct file_mail *m = OL_CONTAINER(mail, struct file_mail, mail);
    int64_t sent;

    ol_conn_mail_sub(c, m->len);
    sent = ol_conn_send_file(c, m->fd, m->offset, m->len, true);
    if (sent < 0)
        close(m->fd);
    /* It was taken when it was posted, and cannot be taken back: the stream ends, unless it has. */
    if (sent < 0 && sent != OUTLET_ESTATE)
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
    ol_conn_mail_done(c);
}

static void
file_gone(struct ol_reactor *r, struct ol_conn_mail *mail)
{
    (void)r;
    close(OL_CONTAINER(mail, struct file_mail, mail)->fd);
}

static int64_t
file_away(struct ol_visit *v, int fd, int64_t offset, size_t len)
{
    const struct ol_settings *s = atomic_load_explicit(&v->conn->settings, memory_order_acquire);
    struct file_mail *m;

    if (ol_conn_state(v->conn) > CONN_OPEN)
        return OUTLET_ESTATE;
    if (!s->transport->stream || !ol_frame_is_blind(&s->framing))
        return OUTLET_ENOTSUP;
    if (s->filter->borders && len > s->framing.max)
        return OUTLET_EMSGSIZE;
    m = ol_alloc(v->reactor->heap, sizeof *m);
    if (!m)
        return OUTLET_ENOMEM;
    *m = (struct file_mail){.mail = {.id = v->conn->id, .run = run_file, .gone = file_gone},
                            .fd = fd,
                            .offset = offset,
                            .len = len};
    if (!ol_conn_mail_add(v->conn, len)) {
        ol_free(v->reactor->heap, m);
        return OUTLET_ESTATE;
    }
    ol_conn_post(v->reactor, &m->mail);
    return v->own ? ol_conn_queued(v->conn) : ol_conn_queued_seen(v->conn);
}

int64_t
outlet_send_file(outlet_conn h, int fd, int64_t offset, size_t len)
{
    int64_t result = OUTLET_ESTALE;
    struct ol_visit v;
    struct stat st;
    int own;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || len == 0 || offset < 0 ||
        offset > st.st_size || len > (uint64_t)(st.st_size - offset))
        return OUTLET_EINVAL;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return OUTLET_ENOFILE;
    if (ol_visit_begin(h, &v)) {
        /* Not past what was posted before. */
        result = v.own && !ol_conn_mailed(v.conn)
                     ? ol_conn_send_file(v.conn, own, offset, len, false)
                     : file_away(&v, own, offset, len);
        ol_visit_end(&v);
    }
    if (result < 0)
        close(own);
    return result;
}
