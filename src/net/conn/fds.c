/*
 * fds.c - descriptors that travel along with messages, both ways.
 *
 * On a stream the kernel ties descriptors to bytes, not to messages: a receive ends behind the
 * bytes that they were sent with.  So they belong to the first message that reaches that place,
 * which is the last one that begins before it.  Places are counted in bytes of the stream, or in
 * messages where the transport keeps borders.
 *
 * What a newcomer gets wrong: a descriptor that was received is in our table whatever becomes of
 * its message.  Each is closed here unless the callback took it: when its message has been told,
 * when the connection ends, and when there are more than allowed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "msg.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Longest here first; those before `told` belong to the message that is being told. */
struct ol_fds {
    uint64_t arrived; /* bytes, or messages */
    uint64_t reached; /* ... that have been told */
    uint32_t count;
    uint32_t told;
    struct {
        uint64_t place;
        int32_t fd;
    } of[];
};

/* ---- received ---------------------------------------------------------------------------- */

static struct ol_fds *
fds_of(const struct ol_conn *c)
{
    struct ol_local *local = ol_conn_local_if_any(c);

    return local ? local->fds : NULL;
}

int
ol_fds_start(struct ol_conn *c)
{
    struct ol_reactor *r = c->cold->reactor;
    unsigned max = ol_conn_settings(c)->fds;
    struct ol_local *local = ol_conn_local(c);

    if (!local)
        return -ENOMEM;
    OL_ASSERT(!local->fds);
    local->fds = ol_alloc_zero(r->heap, sizeof *local->fds + max * sizeof local->fds->of[0]);
    if (!local->fds)
        return -ENOMEM;
    return r->ops->pass(r->driver, &c->link, max);
}

static void
close_all(const int32_t *fds, int count)
{
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
}

void
ol_fds_arrived(struct ol_conn *c, const struct ol_completion *done)
{
    const struct ol_settings *s = ol_conn_settings(c);
    struct ol_fds *f = fds_of(c);

    f->arrived += s->transport->stream ? (uint64_t)done->result : 1;
    if (ol_conn_state(c) != CONN_OPEN) {
        close_all(done->fds, done->fd_count);
        return;
    }
    if (done->fds_lost || f->count + (uint32_t)done->fd_count > s->fds) {
        bool full = done->fds_lost && done->fd_count < s->fds;

        close_all(done->fds, done->fd_count);
        ol_conn_break(c, full ? CAUSE_NO_FDS : CAUSE_FDS, full ? OUTLET_ENOFILE : OUTLET_ELIMIT,
                      full ? OUTLET_BY_US : OUTLET_BY_PEER);
        return;
    }
    for (int i = 0; i < done->fd_count; i++) {
        f->of[f->count].place = f->arrived;
        f->of[f->count++].fd = done->fds[i];
    }
}

void
ol_fds_told(struct ol_conn *c, size_t whole)
{
    struct ol_fds *f = fds_of(c);

    f->reached += whole;
    f->told = 0;
    while (f->told < f->count && f->of[f->told].place <= f->reached) {
        f->told++;
    }
}

static int32_t
take_first(struct ol_fds *f)
{
    int32_t fd = f->of[0].fd;

    f->count--;
    memmove(&f->of[0], &f->of[1], f->count * sizeof f->of[0]);
    return fd;
}

void
ol_fds_drop_told(struct ol_conn *c)
{
    struct ol_fds *f = fds_of(c);

    for (; f->told > 0; f->told--) {
        close(take_first(f));
    }
}

void
ol_fds_fini(struct ol_conn *c)
{
    struct ol_fds *f = fds_of(c);

    if (!f)
        return;
    while (f->count > 0) {
        close(take_first(f));
    }
    ol_free(c->cold->reactor->heap, f);
    ol_conn_local_if_any(c)->fds = NULL;
}

int
outlet_msg_fd(outlet_msg *m)
{
    struct ol_fds *f = fds_of(m->conn);

    if (!f || f->told == 0)
        return OUTLET_ENOENT;
    f->told--;
    return take_first(f);
}

/* ---- sent -------------------------------------------------------------------------------- */

struct fd_mail {
    struct ol_conn_mail mail;
    int fd;
    size_t weight; /* with what the framing adds: never 0, so that an end waits for it */
    size_t len;
    uint8_t bytes[];
};

static void
run_fd(struct ol_conn *c, struct ol_conn_mail *mail)
{
    struct fd_mail *m = OL_CONTAINER(mail, struct fd_mail, mail);
    struct iovec piece = {m->bytes, m->len};
    int64_t sent;

    ol_conn_mail_sub(c, m->weight);
    atomic_fetch_sub(&ol_conn_local_if_any(c)->fds_mailed, 1);
    sent = ol_conn_send_fd(c, m->fd, &piece, true);
    if (sent < 0)
        close(m->fd);
    /* It was taken when it was posted, and cannot be taken back. */
    if (sent == OUTLET_ENOMEM)
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
    ol_conn_mail_done(c);
}

static void
fd_gone(struct ol_reactor *r, struct ol_conn_mail *mail)
{
    (void)r;
    close(OL_CONTAINER(mail, struct fd_mail, mail)->fd);
}

/* What can be refused is refused here: on its reactor it is too late. */
static outlet_err
check_away(const struct ol_visit *v, const struct ol_settings *s, const struct iovec *piece,
           size_t *weight)
{
    struct ol_frame_wrap w;
    outlet_err err = s->wrap(&s->framing, piece, 1, piece->iov_len, &w);
    size_t whole = w.head_len + piece->iov_len + w.tail_len;
    int64_t queued = v->own ? ol_conn_queued(v->conn) : ol_conn_queued_seen(v->conn);

    if (err)
        return err;
    *weight = whole;
    if (ol_conn_state(v->conn) > CONN_OPEN)
        return OUTLET_ESTATE;
    if (whole == 0)
        return OUTLET_EINVAL;
    if (whole > s->cap)
        return OUTLET_EMSGSIZE;
    return (uint64_t)queued + whole > s->cap ? OUTLET_EFULL : OUTLET_OK;
}

static int64_t
fd_away(struct ol_visit *v, const struct ol_settings *s, int fd, const struct iovec *piece)
{
    struct ol_conn *c = v->conn;
    struct ol_local *local = ol_conn_local(c);
    struct fd_mail *m;
    size_t weight;
    outlet_err err = check_away(v, s, piece, &weight);

    if (err)
        return err;
    m = local ? ol_alloc(v->reactor->heap, sizeof *m + piece->iov_len) : NULL;
    if (!m)
        return OUTLET_ENOMEM;
    if (atomic_fetch_add(&local->fds_mailed, 1) >= s->fds)
        err = OUTLET_EFULL;
    else if (!ol_conn_mail_add(c, weight))
        err = OUTLET_ESTATE;
    if (err) {
        atomic_fetch_sub(&local->fds_mailed, 1);
        ol_free(v->reactor->heap, m);
        return err;
    }
    *m = (struct fd_mail){.mail = {.id = c->id, .run = run_fd, .gone = fd_gone},
                          .fd = fd,
                          .weight = weight,
                          .len = piece->iov_len};
    if (m->len)
        memcpy(m->bytes, piece->iov_base, m->len);
    ol_conn_post(v->reactor, &m->mail);
    return v->own ? ol_conn_queued(c) : ol_conn_queued_seen(c);
}

int64_t
outlet_send_fd(outlet_conn h, int fd, const void *bytes, size_t len)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, len};
    const struct ol_settings *s;
    int64_t result;
    struct ol_visit v;
    int own;

    if (!bytes && len)
        return OUTLET_EINVAL;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return errno == EBADF ? OUTLET_EINVAL : OUTLET_ENOFILE;
    result = OUTLET_ESTALE;
    if (ol_visit_begin(h, &v)) {
        s = atomic_load_explicit(&v.conn->settings, memory_order_acquire);
        if (!s->fds)
            result = OUTLET_ENOTSUP;
        else if (v.own && !ol_conn_mailed(v.conn)) /* not past what was posted before */
            result = ol_conn_send_fd(v.conn, own, &piece, false);
        else
            result = fd_away(&v, s, own, &piece);
        ol_visit_end(&v);
    }
    if (result < 0)
        close(own);
    return result;
}
