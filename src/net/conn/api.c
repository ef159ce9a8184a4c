/*
 * api.c - the public functions of a connection: check, then do it here or post it there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"
#include "wire.h"

#include <limits.h>

enum { PIECES_MAX = 1024 };

/* ---- connect ----------------------------------------------------------------------------- */

static void
run_dial(struct ol_conn *c, struct ol_conn_mail *m)
{
    (void)m;
    ol_conn_begin(c);
    ol_conn_dial(c);
}

/* Its one address is the peer's. */
static void
take_given(struct ol_given_set *given, struct ol_dial *d)
{
    d->given = given->tokens[given->next++];
    d->addrs[0] = given->peer;
    d->count = 1;
}

/* Everything that can fail is done before the handle works. */
static outlet_err
make_dial(struct ol_reactor *r, struct ol_settings *s, const struct ol_endpoint *e,
          struct ol_given_set *given, outlet_conn *out)
{
    struct ol_conn_mail *m = ol_alloc(r->heap, sizeof *m);
    struct ol_dial *d = ol_alloc_zero(r->heap, sizeof *d);
    struct ol_conn *c;
    struct ol_extra *extra;
    outlet_err err = OUTLET_ENOMEM;

    if (!m || !d)
        goto free_both;
    err = ol_conn_new(r, s, s->user, &c);
    if (err)
        goto free_both;
    extra = ol_conn_extra(c);
    if (!extra) {
        err = OUTLET_ENOMEM;
        goto discard_conn;
    }
    if (given->count)
        take_given(given, d);
    else
        ol_dial_fill(d, e);
    extra->dial = d;
    *m = (struct ol_conn_mail){.id = c->id, .run = run_dial};
    out->id = c->id;
    ol_conn_publish(c);
    ol_conn_post(r, m);
    return OUTLET_OK;

discard_conn:
    ol_conn_discard(c);
free_both:
    ol_free(r->heap, d);
    ol_free(r->heap, m);
    return err;
}

outlet_err
ol_why_fail(struct outlet_reason *why, outlet_err err)
{
    if (why && why->code == OUTLET_OK)
        ol_reason_set(why, err, "%s", outlet_strerror(err));
    return err;
}

struct outlet_reason *
ol_why_of(const struct outlet_opts *opts)
{
    struct outlet_reason *why = NULL;

    if (opts && opts->size >= offsetof(struct outlet_opts, why) + sizeof opts->why)
        why = opts->why;
    if (why)
        *why = (struct outlet_reason)OUTLET_REASON;
    return why;
}

outlet_err
outlet_connect(outlet_loop *l, const char *url, const struct outlet_opts *opts, outlet_conn *out)
{
    struct outlet_reason *why = ol_why_of(opts);
    struct ol_given_set given;
    struct ol_endpoint e;
    struct ol_settings *s;
    struct ol_reactor *r;
    uint32_t epoch;
    outlet_err err = url && out ? ol_loop_check(l) : OUTLET_EINVAL;

    if (err)
        return ol_why_fail(why, err);
    err = ol_endpoint_parse(url, OUTLET_TO_CONNECT, opts, &e, why);
    if (!err)
        err = ol_loop_attach(l, &ol_net_hooks);
    if (!err)
        err = ol_given_find(l, url, opts, &e, why, &given);
    if (err)
        return ol_why_fail(why, err);
    err = ol_settings_new(l, &e, why, &s);
    if (err)
        goto discard_given;
    r = ol_loop_pick(l, false);
    if (!ol_enter(r->cell, &epoch)) {
        err = OUTLET_ESTATE;
        goto unref_settings;
    }
    err = make_dial(r, s, &e, &given, out);
    ol_leave(r->cell, epoch);

unref_settings:
    ol_settings_unref(s);
discard_given:
    ol_given_discard(l, &given); /* nothing of it is left when it was taken */
    return ol_why_fail(why, err);
}

/* ---- send -------------------------------------------------------------------------------- */

/* A message framed by the sender, because only there it can still be refused. */
struct send_mail {
    struct ol_conn_mail mail;
    struct outlet_buf *buf; /* the caller's own when it is shared: no copy */
    struct ol_frame_wrap wrap;
    bool above_high; /* so the sender was told, who now waits for on_writable */
};

static size_t
mail_len(const struct send_mail *m)
{
    return m->wrap.head_len + m->buf->len + m->wrap.tail_len;
}

static void
run_send(struct ol_conn *c, struct ol_conn_mail *mail)
{
    struct send_mail *m = OL_CONTAINER(mail, struct send_mail, mail);

    ol_conn_mail_sub(c, mail_len(m));
    /* It was taken when it was posted.  Without memory now, taking it back is impossible. */
    if (ol_conn_send_taken(c, &m->wrap, m->buf) == OUTLET_ENOMEM)
        ol_conn_break(c, CAUSE_MEMORY, OUTLET_ENOMEM, OUTLET_BY_US);
    else if (m->above_high)
        ol_conn_owe_writable(c);
    outlet_buf_unref(m->buf);
    ol_conn_mail_done(c);
}

static void
send_gone(struct ol_reactor *r, struct ol_conn_mail *mail)
{
    (void)r;
    outlet_buf_unref(OL_CONTAINER(mail, struct send_mail, mail)->buf);
}

static void
run_owe(struct ol_conn *c, struct ol_conn_mail *m)
{
    (void)m;
    atomic_fetch_and(&c->cold->shown_queued, ~OL_SHOWN_OWED);
    ol_conn_owe_writable(c);
}

/* Who is refused from elsewhere is owed an on_writable, too. */
static outlet_err
refuse_away(struct ol_visit *v)
{
    struct ol_conn_mail *m;

    if (atomic_fetch_or(&v->conn->cold->shown_queued, OL_SHOWN_OWED) & OL_SHOWN_OWED)
        return OUTLET_EFULL;
    m = ol_alloc(v->reactor->heap, sizeof *m);
    if (!m) {
        atomic_fetch_and(&v->conn->cold->shown_queued, ~OL_SHOWN_OWED);
        return OUTLET_ENOMEM; /* promises nothing */
    }
    *m = (struct ol_conn_mail){.id = v->conn->id, .run = run_owe};
    ol_conn_post(v->reactor, m);
    return OUTLET_EFULL;
}

static outlet_err
make_send_mail(struct ol_visit *v, const struct ol_settings *s, const struct iovec *pieces, int n,
               struct outlet_buf *shared, struct send_mail **out)
{
    struct ol_budget *budget = v->reactor->share.budget;
    struct send_mail *m;
    struct iovec whole;
    size_t len = 0;
    int64_t left;
    outlet_err err;

    for (int i = 0; i < n; i++) {
        if (!ol_add(len, pieces[i].iov_len, &len))
            return OUTLET_EMSGSIZE;
    }
    /* The rest is left to the reactor: what is taken here must find room in a queue there. */
    left = budget->max - budget->max / 8 -
           atomic_load_explicit(&budget->used, memory_order_relaxed);
    if (left < 0 || len > (uint64_t)left)
        return OUTLET_ENOMEM;
    m = ol_alloc(v->reactor->heap, sizeof *m);
    if (!m)
        return OUTLET_ENOMEM;
    m->mail = (struct ol_conn_mail){.id = v->conn->id, .run = run_send, .gone = send_gone};
    m->buf = shared ? outlet_buf_ref(shared) : ol_buf_join(budget, pieces, n, len);
    err = OUTLET_ENOMEM;
    if (!m->buf)
        goto free_mail;
    whole = (struct iovec){(void *)(uintptr_t)m->buf->bytes, len};
    err = s->wrap(&s->framing, &whole, 1, len, &m->wrap);
    if (err)
        goto unref_buf;
    *out = m;
    return OUTLET_OK;

unref_buf:
    outlet_buf_unref(m->buf);
free_mail:
    ol_free(v->reactor->heap, m);
    return err;
}

/*
 * Room for `len` more in the mail; *queued becomes all that waits, with these.  Nothing is
 * counted that is not posted afterwards: a connection that ends waits for its mail, and what was
 * counted and taken back would leave it waiting with nobody to tell it.
 */
static outlet_err
reserve(struct ol_visit *v, const struct ol_settings *s, size_t len, int64_t *queued)
{
    struct ol_conn *c = v->conn;
    int64_t mailed = atomic_load_explicit(&c->cold->mailed, memory_order_relaxed);

    if (len > s->cap)
        return OUTLET_EMSGSIZE;
    do {
        int64_t standing = v->own ? ol_conn_queued(c) : ol_conn_queued_seen(c);
        int64_t most;

        if (mailed & OL_MAIL_SHUT)
            return OUTLET_ESTATE;
        *queued = standing + (int64_t)len;
        /* What drops or closes at cap does so on the reactor; the mail alone is bounded all the
         * same. */
        most = s->full == OUTLET_FULL_REFUSE ? *queued : mailed + (int64_t)len;
        if ((uint64_t)most > s->cap)
            return refuse_away(v);
    } while (!atomic_compare_exchange_weak_explicit(&c->cold->mailed, &mailed,
                                                    mailed + (int64_t)len, memory_order_relaxed,
                                                    memory_order_relaxed));
    return OUTLET_OK;
}

static int64_t
send_away(struct ol_visit *v, const struct iovec *pieces, int n, struct outlet_buf *shared)
{
    struct ol_conn *c = v->conn;
    const struct ol_settings *s = atomic_load_explicit(&c->settings, memory_order_acquire);
    struct send_mail *m;
    int64_t queued;
    outlet_err err;

    if (ol_conn_state(c) > CONN_OPEN)
        return OUTLET_ESTATE;
    err = make_send_mail(v, s, pieces, n, shared, &m);
    if (err)
        return err;
    err = reserve(v, s, mail_len(m), &queued);
    if (err)
        goto free_mail;
    m->above_high = (uint64_t)queued > s->high;
    ol_conn_post(v->reactor, &m->mail);
    return queued;

free_mail:
    outlet_buf_unref(m->buf);
    ol_free(v->reactor->heap, m);
    return err;
}

/* Not past what was posted before: sent first, sent out first. */
OL_APART static int64_t
send_any(outlet_conn h, const struct iovec *pieces, int n, struct outlet_buf *shared)
{
    struct ol_visit v;
    int64_t result;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    if (v.own && (!ol_conn_mailed(v.conn) || v.conn->flags & CONN_END_ASKED))
        result = ol_conn_send(v.conn, pieces, n, shared);
    else
        result = send_away(&v, pieces, n, shared);
    ol_visit_end(&v);
    return result;
}

/* The connection that is being delivered to answers: nothing has to be looked up. */
static inline bool
answer(outlet_conn h, const void *bytes, size_t len, int64_t *result)
{
    struct ol_reactor *r = ol_current();
    struct ol_net *n = r ? ol_net_of(r) : NULL;

    return OL_LIKELY(n && h.id && n->wire.id == h.id) && ol_wire_put(&n->wire, bytes, len, result);
}

int64_t
outlet_send(outlet_conn h, const void *bytes, size_t len)
{
    struct iovec piece;
    int64_t result;

    if (OL_LIKELY(bytes) && OL_LIKELY(answer(h, bytes, len, &result)))
        return result;
    if (!bytes && len > 0)
        return OUTLET_EINVAL;
    piece = (struct iovec){(void *)(uintptr_t)bytes, len};
    return send_any(h, &piece, 1, NULL);
}

int64_t
outlet_sendv(outlet_conn h, const struct iovec *pieces, int n)
{
    if (n < 0 || n > PIECES_MAX || (n && !pieces))
        return OUTLET_EINVAL;
    return send_any(h, pieces, n, NULL);
}

int64_t
outlet_send_buf(outlet_conn h, outlet_buf *b)
{
    struct iovec piece;

    if (!b)
        return OUTLET_EINVAL;
    piece = (struct iovec){(void *)(uintptr_t)b->bytes, b->len};
    return send_any(h, &piece, 1, b);
}

/* ---- orders: done at once here, posted elsewhere ----------------------------------------- */

static void
do_close(struct ol_conn *c)
{
    ol_conn_close(c, OUTLET_BY_US);
}

static void
do_abort(struct ol_conn *c)
{
    ol_conn_break(c, CAUSE_ABORT, OUTLET_ECANCELED, OUTLET_BY_US);
}

static void
do_pause(struct ol_conn *c)
{
    if (ol_conn_state(c) > CONN_OPEN || c->flags & CONN_PAUSED)
        return;
    c->flags |= CONN_PAUSED;
    if (c->flags & CONN_RECEIVING) {
        c->flags &= (uint16_t)~CONN_RECEIVING;
        ol_conn_settings(c)->transport->receive_stop(c);
    }
}

static void
run_resumed(struct ol_conn *c, struct ol_conn_mail *m)
{
    (void)m;
    c->flags &= (uint16_t)~CONN_RESUMING;
    if (!(c->flags & CONN_DELIVERING))
        ol_conn_deliver_held(c);
}

/* Held messages are delivered from mail: nothing calls back inside the call that caused it. */
static outlet_err
do_resume(struct ol_conn *c)
{
    struct ol_conn_mail *m;

    if (!(c->flags & CONN_PAUSED))
        return OUTLET_OK;
    m = ol_alloc(c->cold->reactor->heap, sizeof *m);
    if (!m)
        return OUTLET_ENOMEM;
    c->flags &= (uint16_t)~CONN_PAUSED;
    c->flags |= CONN_RESUMING;
    if (ol_conn_state(c) == CONN_OPEN)
        ol_conn_limits_resume(c);
    *m = (struct ol_conn_mail){.id = c->id, .run = run_resumed};
    ol_conn_post(c->cold->reactor, m);
    return OUTLET_OK;
}

outlet_err
ol_conn_end(struct ol_conn *c)
{
    ol_wire_leave(c);
    if (ol_conn_state(c) > CONN_OPEN || c->flags & CONN_END_ASKED)
        return OUTLET_ESTATE;
    c->flags |= CONN_END_ASKED;
    ol_conn_mail_shut(c);
    if (ol_conn_has_unsent(c))
        return OUTLET_OK; /* after that */
    if (ol_conn_state(c) == CONN_OPEN)
        ol_conn_after_flush(c);
    return OUTLET_OK;
}

struct order_mail {
    struct ol_conn_mail mail;
    outlet_err (*order)(struct ol_conn *c);
};

static void
run_order(struct ol_conn *c, struct ol_conn_mail *mail)
{
    (void)OL_CONTAINER(mail, struct order_mail, mail)->order(c); /* its caller is long gone */
}

static outlet_err
order(outlet_conn h, outlet_err (*what)(struct ol_conn *c))
{
    struct ol_visit v;
    struct order_mail *m;
    outlet_err err = OUTLET_OK;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    if (v.own) {
        err = what(v.conn);
    } else {
        m = ol_alloc(v.reactor->heap, sizeof *m);
        if (m) {
            *m = (struct order_mail){.mail = {.id = h.id, .run = run_order}, .order = what};
            ol_conn_post(v.reactor, &m->mail);
        } else {
            err = OUTLET_ENOMEM;
        }
    }
    ol_visit_end(&v);
    return err;
}

static outlet_err
order_close(struct ol_conn *c)
{
    do_close(c);
    return OUTLET_OK;
}

static outlet_err
order_abort(struct ol_conn *c)
{
    do_abort(c);
    return OUTLET_OK;
}

static outlet_err
order_pause(struct ol_conn *c)
{
    do_pause(c);
    return OUTLET_OK;
}

outlet_err
outlet_close(outlet_conn h)
{
    return order(h, order_close);
}

outlet_err
outlet_abort(outlet_conn h)
{
    return order(h, order_abort);
}

outlet_err
outlet_pause(outlet_conn h)
{
    return order(h, order_pause);
}

outlet_err
outlet_resume(outlet_conn h)
{
    return order(h, do_resume);
}

outlet_err
outlet_end(outlet_conn h)
{
    struct ol_visit v;
    bool can;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    can = atomic_load_explicit(&v.conn->settings, memory_order_acquire)->transport->end_writing;
    ol_visit_end(&v);
    return can ? order(h, ol_conn_end) : OUTLET_ENOTSUP;
}

/* ---- framing, user data ------------------------------------------------------------------ */

struct old_settings {
    struct ol_retired retired;
    struct ol_settings *settings;
};

static void
free_old_settings(struct ol_reactor *r, struct ol_retired *x)
{
    struct old_settings *old = OL_CONTAINER(x, struct old_settings, retired);

    ol_settings_unref(old->settings);
    ol_free(r->heap, old);
}

static outlet_err
reframe(struct ol_conn *c, const char *text, const struct outlet_framing *custom)
{
    struct ol_reactor *r = c->cold->reactor;
    struct ol_settings *now = ol_conn_settings(c);
    struct ol_settings *next;
    struct old_settings *old;
    struct ol_conn_mail *m = NULL;
    outlet_err err;

    if (!now->transport->stream)
        return OUTLET_ENOTSUP;
    old = ol_alloc(r->heap, sizeof *old);
    if (!old)
        return OUTLET_ENOMEM;
    err = OUTLET_ENOMEM;
    /* An unfinished message may be one or more the new way. */
    if (c->input && !(c->flags & CONN_DELIVERING)) {
        m = ol_alloc(r->heap, sizeof *m);
        if (!m)
            goto free_old;
        *m = (struct ol_conn_mail){.id = c->id, .run = run_resumed};
    }
    err = ol_settings_reframe(now, text, custom, &next);
    if (err)
        goto free_mail;
    atomic_store_explicit(&c->settings, next, memory_order_release);
    if (c->input)
        c->input->scan = (struct ol_frame_scan){0};
    old->settings = now;
    ol_retire(r, &old->retired, free_old_settings); /* another thread may be reading them */
    if (m)
        ol_conn_post(r, m);
    return OUTLET_OK;

free_mail:
    ol_free(r->heap, m);
free_old:
    ol_free(r->heap, old);
    return err;
}

outlet_err
outlet_set_framing(outlet_conn h, const char *text, const struct outlet_framing *custom)
{
    struct ol_visit v;
    outlet_err err = OUTLET_ETHREAD;

    if (!text)
        return OUTLET_EINVAL;
    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    if (v.own)
        err = reframe(v.conn, text, custom);
    ol_visit_end(&v);
    return err;
}

outlet_err
outlet_set_user(outlet_conn h, void *user)
{
    struct ol_visit v;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    atomic_store_explicit(&v.conn->user, user, memory_order_release);
    ol_visit_end(&v);
    return OUTLET_OK;
}

void *
outlet_user(outlet_conn h)
{
    struct ol_visit v;
    void *user;

    if (!ol_visit_begin(h, &v))
        return NULL;
    user = atomic_load_explicit(&v.conn->user, memory_order_acquire);
    ol_visit_end(&v);
    return user;
}

int64_t
outlet_queued(outlet_conn h)
{
    struct ol_visit v;
    int64_t queued;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    queued = v.own ? ol_conn_queued(v.conn) : ol_conn_queued_seen(v.conn);
    ol_visit_end(&v);
    return queued;
}

outlet_listener
outlet_listener_of(outlet_conn h)
{
    struct ol_visit v;
    outlet_listener l = {0};

    if (!ol_visit_begin(h, &v))
        return l;
    l = atomic_load_explicit(&v.conn->settings, memory_order_acquire)->listener;
    ol_visit_end(&v);
    return l;
}
