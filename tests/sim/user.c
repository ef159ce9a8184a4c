/*
 * user.c - a program that uses the library in every way it allows, driven by the seed.
 *
 * It acts in three places: inside callbacks, from timers, and between turns, which for the library
 * is another thread.  What it does is told to the model before anything can come of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_run.h"

#include <stdio.h>

static const char *const groups[] = {"", "red", "blue"};
static const char *const names[NAMES] = {"", "ada", "bob", "cyd", "dan", "eve"};

static void act(struct end *e);

bool
at_home(const struct end *e)
{
    struct ol_handle h;
    struct ol_reactor *r = ol_current();

    return r && ol_handle_unpack(e->h.id, OL_KIND_CONN, &h) && r->cell->index == h.cell;
}

/* ---- options ---- */

static int64_t
some(struct run *r, int64_t least, int64_t most)
{
    return least + (int64_t)pick(r, (uint64_t)(most - least + 1));
}

static void
choose_queue(struct run *r, struct outlet_opts *o, bool borders)
{
    if (may(r, SMALL_QUEUES)) {
        o->cap = one_in(r, 3) ? some(r, 20000, 80000) : some(r, 100, 3000);
        o->high = some(r, 1, o->cap);
        o->low = some(r, 1, o->high);
        o->full = some(r, 0, OUTLET_FULL_CLOSE);
    } else if (one_in(r, 4)) {
        o->high = some(r, 1000, 100000);
        o->low = some(r, 1, o->high);
        o->full = one_in(r, 3) ? some(r, 0, OUTLET_FULL_DROP_OLD) : 0;
    }
    if (!borders && (o->full == OUTLET_FULL_DROP_NEW || o->full == OUTLET_FULL_DROP_OLD))
        o->full = OUTLET_FULL_REFUSE;
}

static void
choose_times(struct run *r, struct outlet_opts *o, enum carrier c, bool listens)
{
    if (may(r, SHORT_TIMES)) {
        o->idle_ms = one_in(r, 2) ? some(r, 5, 200) : 0;
        o->partial_ms = one_in(r, 2) && has_framing(c) ? some(r, 5, 100) : 0;
        o->stall_ms = one_in(r, 2) ? some(r, 5, 100) : 0;
        o->flush_ms = one_in(r, 2) ? some(r, 1, 50) : 0;
    }
    if (may(r, NO_ANSWER | SHORT_TIMES) && !listens && c != PLUG && c != BOTH_ENDS)
        o->connect_ms = some(r, 1, 300);
}

static void
choose_opts(struct run *r, struct outlet_opts *o, const struct frame_kind *frame, enum carrier c,
            bool listens)
{
    bool udp = is_udp(c);

    *o = (struct outlet_opts)OUTLET_OPTS;
    o->on = &user_handlers;
    o->frame = has_framing(c) ? frame->text : NULL;
    o->half_open = !udp && one_in(r, 4) ? OUTLET_ON : 0;
    o->nodelay = one_in(r, 8) && c <= TCP_BOTH ? OUTLET_OFF : 0;
    choose_queue(r, o, udp || !frame->none);
    choose_times(r, o, c, listens);
}

static void
adopt_opts(struct end *e, const struct outlet_opts *o)
{
    e->cap = o->cap ? o->cap : 16 << 20;
    e->high = o->high ? o->high : 256 << 10;
    e->full = o->full ? o->full : OUTLET_FULL_REFUSE;
    e->half_open = o->half_open == OUTLET_ON;
}

/* ---- messages ---- */

static size_t
choose_len(struct end *e)
{
    struct run *r = e->run;
    size_t most = ol_min(e->frame->max, may(r, SLICES) ? 300 : MESSAGE_MAX);
    size_t len;

    if (is_udp(e->carrier)) {
        len = one_in(r, 8) ? 0 : (size_t)some(r, 16, may(r, LIVELY) ? 600 : 9000);
        return len;
    }
    if (e->frame->fixed)
        return e->frame->fixed;
    switch (pick(r, 8)) {
    case 0:
        len = 0;
        break;
    case 1:
        len = (size_t)some(r, 1, 16);
        break;
    case 2:
        len = (size_t)some(r, 1000, 20000);
        break;
    case 3:
        len = one_in(r, 4) ? (size_t)some(r, 60000, MESSAGE_MAX) : (size_t)some(r, 0, 100);
        break;
    default:
        len = (size_t)some(r, 8, 1000);
        break;
    }
    if (may(r, SMALL_QUEUES) && e->cap < 10000 && !one_in(r, 8))
        len %= 500;
    len = ol_min(ol_max(len, e->frame->min), most);
    return e->sent_count == 0 || drops(e) ? ol_max(len, 8) : len;
}

static int64_t
send_pieces(struct end *e, size_t len)
{
    struct run *r = e->run;
    struct iovec pieces[40];
    int n = (int)some(r, 0, 39);
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        size_t part = one_in(r, 4) ? 0 : (size_t)pick(r, len - at + 1) / (one_in(r, 2) ? 1 : 8);

        pieces[i] = (struct iovec){r->bytes + at, part};
        at += part;
    }
    pieces[n] = (struct iovec){r->bytes + at, len - at};
    return outlet_sendv(e->h, pieces, n + 1);
}

static int64_t
send_shared(struct end *e, size_t len)
{
    outlet_buf *b = outlet_buf_copy(e->run->bytes, len);
    int64_t result = b ? outlet_send_buf(e->h, b) : OUTLET_ENOMEM;

    outlet_buf_unref(b);
    return result;
}

static bool
may_refuse(const struct end *e, int64_t err)
{
    const struct run *r = e->run;

    switch (err) {
    case OUTLET_ESTALE:
        return e->told || r->loops[e->loop] == NULL;
    case OUTLET_ESTATE: /* our own end, or one that we were not told of yet */
        return true;
    case OUTLET_EFULL:
        return may(r, SMALL_QUEUES);
    case OUTLET_EMSGSIZE:
        return may(r, SMALL_QUEUES);
    case OUTLET_ENOMEM:
        return may(r, SMALL_MEMORY | HEAP_FAILS);
    default:
        return false;
    }
}

/* Answers whether it was taken. */
static bool
send_message(struct end *e, size_t len, const struct frame_kind *turn_to, bool answer)
{
    struct run *r = e->run;
    int64_t result;
    int64_t queued;
    int64_t most;

    if (e->sent_count == SENT_MAX || (e->group && e->sent_count))
        return false;
    model_fill(e, r->bytes, len);
    r->depth++;
    switch (pick(r, 3)) {
    case 0:
        result = outlet_send(e->h, r->bytes, len);
        break;
    case 1:
        result = send_pieces(e, len);
        break;
    default:
        result = send_shared(e, len);
        break;
    }
    queued = outlet_queued(e->h);
    r->depth--;
    note(r, "end %d sends %zu: %lld", e->index, len, (long long)result);
    e->posted = e->posted || !at_home(e);
    if (result >= 0)
        model_sent(e, len, turn_to, answer);
    else if (!may_refuse(e, result))
        wrong(r, "end %d: sending %zu bytes: %s", e->index, len, outlet_error_name(result));
    if (result == OUTLET_EFULL || queued > e->high)
        e->full_seen = true;
    /* From elsewhere the queue is seen in steps of 16 bytes. */
    most = (e->full == OUTLET_FULL_REFUSE ? e->cap : 2 * e->cap) + (at_home(e) ? 0 : 15);
    if (queued > most || result > most)
        wrong(r, "end %d: %lld bytes are queued, cap is %lld", e->index, (long long)queued,
              (long long)e->cap);
    if (result >= 0 && ((e->ended_here && at_home(e)) || e->closed_here || e->told))
        wrong(r, "end %d: could send after its end", e->index);
    if (result >= 0 && (e->ended || e->closed))
        e->lost_some = true; /* the order to end was under way */
    return result >= 0;
}

/* Many large ones at once: what goes directly, what is shared, and what is full when they meet. */
static void
talk_much(struct end *e)
{
    struct run *r = e->run;
    size_t most = ol_min(e->frame->max, one_in(r, 2) ? 4000 : 40000);
    int n = (int)some(r, 3, 12);

    if (is_udp(e->carrier) || e->frame->fixed || may(r, SLICES | SHORT_TIMES))
        return;
    for (int i = 0; i < n && r->actions > 0; i++) {
        r->actions--;
        if (!send_message(e, (size_t)some(r, 1024, (int64_t)most), NULL, false) && one_in(r, 4))
            break;
    }
}

static void
talk(struct end *e)
{
    struct run *r = e->run;
    int n = (int)some(r, 1, one_in(r, 4) ? 8 : 2);

    if (e->frozen)
        return;
    if (one_in(r, 16)) {
        talk_much(e);
        return;
    }
    for (int i = 0; i < n && r->actions > 0; i++) {
        r->actions--;
        if (!send_message(e, choose_len(e), NULL, false))
            break;
    }
}

/* The client asks, both change when the other's answer has come. */
static void
ask_for_framing(struct end *e)
{
    struct run *r = e->run;
    const struct frame_kind *to = &frame_kinds[pick(r, frame_kind_count)];

    if (e->server || e->away || e->frozen || to->none || e->frame->none || drops(e) || !e->peer ||
        e->peer->away || drops(e->peer) || e->group || e->peer->group || !has_framing(e->carrier) ||
        e->carrier == BOTH_ENDS || may(r, HEAP_FAILS))
        return;
    if (send_message(e, choose_len(e), to, false))
        e->frozen = true;
}

static void
change_framing(struct end *e, const struct frame_kind *to)
{
    outlet_err err;

    e->run->depth++;
    err = outlet_set_framing(e->h, to->text, NULL);
    e->run->depth--;
    if (err)
        wrong(e->run, "end %d: set_framing: %s", e->index, outlet_error_name(err));
    note(e->run, "end %d changes to %s", e->index, to->text);
    e->frame = to;
}

static void
agree_on_framing(struct end *e, const struct sent *s)
{
    if (s->answer) {
        change_framing(e, s->turn_to);
        e->frozen = false;
    } else if (send_message(e, choose_len(e), s->turn_to, true)) {
        change_framing(e, s->turn_to);
    }
}

/* ---- orders ---- */

static void
expect_order(struct end *e, const char *what, int64_t err)
{
    bool ok = err == OUTLET_OK || (err == OUTLET_ESTALE && e->told) ||
              (err == OUTLET_ENOMEM && may(e->run, SMALL_MEMORY | HEAP_FAILS)) ||
              (err == OUTLET_ESTALE && !e->run->loops[e->loop]);

    note(e->run, "end %d: %s: %s", e->index, what, outlet_error_name(err));
    if (!ok)
        wrong(e->run, "end %d: %s: %s", e->index, what, outlet_error_name(err));
}

static void
close_end(struct end *e)
{
    bool here = at_home(e);
    outlet_err err;

    e->run->depth++;
    err = outlet_close(e->h);
    e->run->depth--;
    expect_order(e, "close", err);
    if (err)
        return;
    e->closed = true;
    e->closed_early = e->closed_early || !e->opened;
    e->closed_here = e->closed_here || here;
    e->lost_some = e->lost_some || e->group;
}

static void
abort_end(struct end *e)
{
    bool here = at_home(e);
    outlet_err err;

    e->run->depth++;
    err = outlet_abort(e->h);
    e->run->depth--;
    expect_order(e, "abort", err);
    if (err)
        return;
    e->aborted = true;
    e->closed_here = e->closed_here || here;
}

static void
end_end(struct end *e)
{
    bool here = at_home(e);
    outlet_err err;

    e->run->depth++;
    err = outlet_end(e->h);
    e->run->depth--;
    note(e->run, "end %d: end: %s", e->index, outlet_error_name(err));
    if (is_udp(e->carrier) ? err != OUTLET_ENOTSUP && err != OUTLET_ESTALE && at_home(e)
                           : err == OUTLET_ENOTSUP)
        wrong(e->run, "end %d: end: %s", e->index, outlet_error_name(err));
    if (err == OUTLET_OK && !is_udp(e->carrier)) {
        e->ended = true;
        e->ended_here = e->ended_here || here;
        e->lost_some = e->lost_some || e->group;
    }
}

static void
resume_end(struct end *e)
{
    outlet_err err;

    if (e->told)
        return;
    e->vague = e->vague || !at_home(e);
    e->run->depth++;
    err = outlet_resume(e->h);
    e->run->depth--;
    expect_order(e, "resume", err);
    if (!err)
        e->paused = false;
}

/* ---- timers ---- */

static void
alarm_rang(outlet_timer t, void *arg)
{
    struct user_alarm *a = arg;
    struct run *r = a->run;
    struct end *e = a->end >= 0 ? &r->ends[a->end] : NULL;
    ol_time now = ol_sim_now(r->world);

    if (r->depth)
        wrong(r, "a timer ran inside a call");
    if (t.id != a->h.id)
        wrong(r, "a timer ran with another one's handle");
    if (!a->live || a->stopped_here)
        wrong(r, "a timer ran after its end");
    if (now < a->due)
        wrong(r, "a timer ran %lld us early", (long long)(a->due - now) / 1000);
    a->fired++;
    a->due += a->every;
    if (!a->every)
        a->live = false;
    if (a->every && a->fired >= 3) {
        outlet_err err;

        r->depth++;
        err = outlet_timer_stop(t);
        r->depth--;
        a->live = false;
        a->stopped_here = true;
        if (err)
            wrong(r, "a timer could not be stopped: %s", outlet_error_name(err));
    }
    if (!e || r->bad)
        return;
    if (a->resumes)
        resume_end(e);
    else if (!r->winding_up)
        act(e);
}

static void
set_alarm(struct run *r, int loop, struct end *e, int64_t after_ms, bool resumes)
{
    struct user_alarm *a = &r->alarms[r->alarm_count];
    int64_t every = !resumes && one_in(r, 4) ? some(r, 1, 20) : 0;
    outlet_err err;

    if (r->alarm_count == ALARMS_MAX || !r->loops[loop])
        return;
    *a = (struct user_alarm){.run = r,
                             .end = e ? e->index : -1,
                             .due = ol_sim_now(r->world) + after_ms * OL_MS,
                             .every = every * OL_MS,
                             .live = true,
                             .resumes = resumes};
    r->depth++;
    err = outlet_timer_start(r->loops[loop], after_ms, every, alarm_rang, a, &a->h);
    r->depth--;
    if (err == OUTLET_OK)
        r->alarm_count++;
    else if (!(err == OUTLET_ESTATE && (r->stopped[loop] || r->drained[loop])) &&
             !(err == OUTLET_ENOMEM && may(r, HEAP_FAILS)))
        wrong(r, "timer_start: %s", outlet_error_name(err));
}

static void
pause_end(struct end *e)
{
    struct run *r = e->run;
    bool here = at_home(e);
    outlet_err err;

    if (is_udp(e->carrier) && may(r, LIVELY))
        return;
    r->depth++;
    err = outlet_pause(e->h);
    r->depth--;
    expect_order(e, "pause", err);
    if (err)
        return;
    e->paused = here && !e->vague;
    e->paused_once = true;
    if (!one_in(r, 8))
        set_alarm(r, e->loop, e, some(r, 0, may(r, SHORT_TIMES) ? 300 : 30), true);
}

/* ---- groups, names, iteration ---- */

static void
in_and_out(struct end *e)
{
    struct run *r = e->run;
    outlet_err err;

    if (!e->group || !at_home(e) || e->told)
        return;
    r->depth++;
    if (!e->joined && !e->left) {
        err = outlet_join(e->h, groups[e->group]);
        if (err == OUTLET_OK) {
            e->joined = true;
            e->join_at = r->published_count;
            note(r, "end %d joins %s", e->index, groups[e->group]);
        } else if (err == OUTLET_ENOMEM && !may(r, HEAP_FAILS)) {
            wrong(r, "end %d: join: %s", e->index, outlet_error_name(err));
        }
    } else if (e->joined && one_in(r, 6)) {
        err = outlet_leave(e->h, one_in(r, 2) ? NULL : groups[e->group]);
        e->joined = false;
        e->left = true;
        e->leave_at = r->published_count;
        e->lost_some = true;
        if (err)
            wrong(r, "end %d: leave: %s", e->index, outlet_error_name(err));
    }
    r->depth--;
}

static void
publish(struct run *r, int loop)
{
    struct published *p = &r->published[r->published_count];
    int except = r->end_count && one_in(r, 3) ? (int)pick(r, (uint64_t)r->end_count) : -1;
    outlet_conn spared = {except >= 0 ? r->ends[except].h.id : 0};
    outlet_buf *b;
    outlet_err err;

    if (r->published_count == PUBLISHED_MAX || !r->loops[loop])
        return;
    if (!spared.id)
        except = -1;
    *p = (struct published){.len = (size_t)some(r, 8, one_in(r, 4) ? 5000 : 200),
                            .loop = loop,
                            .group = (int)some(r, 1, (int64_t)OL_COUNT(groups) - 1),
                            .except = except};
    model_fill_published(r->published_count, r->bytes, p->len);
    b = outlet_buf_copy(r->bytes, p->len);
    if (!b)
        return;
    r->depth++;
    err = outlet_publish(r->loops[loop], groups[p->group], b, spared);
    r->depth--;
    outlet_buf_unref(b);
    note(r, "publication %d, %zu bytes, on loop %d to %s but %d: %s", r->published_count, p->len,
         loop, groups[p->group], except, outlet_error_name(err));
    if (err == OUTLET_OK)
        r->published_count++;
    else if (!(err == OUTLET_ESTATE && (r->stopped[loop] || r->drained[loop])) &&
             !(err == OUTLET_ENOMEM && may(r, HEAP_FAILS)))
        wrong(r, "publish: %s", outlet_error_name(err));
}

static void
count_group(struct run *r, int loop)
{
    for (int g = 1; g < (int)OL_COUNT(groups) && r->loops[loop]; g++) {
        int64_t count = outlet_group_count(r->loops[loop], groups[g]);
        int64_t want = 0;

        for (int i = 0; i < r->end_count; i++) {
            const struct end *e = &r->ends[i];

            want += e->loop == loop && e->group == g && e->joined && !e->told;
        }
        if (count != want)
            wrong(r, "group %s has %lld members, not %lld", groups[g], (long long)count,
                  (long long)want);
    }
}

static struct end *
named(struct run *r, int loop, int name)
{
    for (int i = 0; i < r->end_count; i++) {
        struct end *e = &r->ends[i];

        if (e->loop == loop && e->name == name && !e->told)
            return e;
    }
    return NULL;
}

static void
name_end(struct end *e)
{
    struct run *r = e->run;
    int name = (int)pick(r, NAMES);
    struct end *other = name ? named(r, e->loop, name) : NULL;
    outlet_err err;
    outlet_conn found;

    if (e->told || !r->loops[e->loop])
        return;
    r->depth++;
    err = outlet_set_name(e->h, name ? names[name] : NULL);
    if (err == OUTLET_OK && other && other != e)
        wrong(r, "end %d took the name of end %d", e->index, other->index);
    if (err == OUTLET_OK)
        e->name = name;
    else if (!(err == OUTLET_EEXIST && other && other != e) &&
             !(err == OUTLET_ENOMEM && may(r, HEAP_FAILS)) && err != OUTLET_ESTATE)
        wrong(r, "end %d: set_name: %s", e->index, outlet_error_name(err));
    if (name) {
        other = named(r, e->loop, name);
        found = outlet_by_name(r->loops[e->loop], names[name]);
        if (found.id != (other ? other->h.id : 0))
            wrong(r, "the name %s leads to the wrong connection", names[name]);
    }
    r->depth--;
}

static int
visited(outlet_conn c, void *arg)
{
    struct run *r = arg;

    for (int i = 0; i < r->end_count; i++) {
        if (r->ends[i].h.id != c.id)
            continue;
        /* In on_accept and on_open the state may be ahead of the user. */
        if (r->ends[i].told)
            wrong(r, "iteration found end %d, which has ended", i);
        return 0;
    }
    wrong(r, "iteration found a connection that nobody knows");
    return 0;
}

static void
visit_all(struct run *r, int loop)
{
    outlet_listener none = {0};

    if (!r->loops[loop])
        return;
    r->depth++;
    if (outlet_each(r->loops[loop], none, visited, r) < 0)
        wrong(r, "each failed");
    r->depth--;
}

static void
posted(void *arg)
{
    struct run *r = arg;

    if (r->depth)
        wrong(r, "a posted function ran inside a call");
    r->posts_owed--;
}

static void
post_something(struct run *r, int loop)
{
    outlet_err err;

    if (!r->loops[loop])
        return;
    r->depth++;
    err = outlet_post(r->loops[loop], posted, r);
    r->depth--;
    if (err == OUTLET_OK)
        r->posts_owed++;
}

/* ---- connecting ---- */

static void
setup_end(struct end *e)
{
    struct run *r = e->run;

    e->away = one_in(r, 5);
    if (!e->frame->none && !is_udp(e->carrier) && !e->away && one_in(r, 6))
        e->group = (int)some(r, 1, (int64_t)OL_COUNT(groups) - 1);
}

static void
choose_url(struct run *r, const struct listener *l, char *url, size_t room)
{
    if (l->carrier == TCP_BOTH)
        snprintf(url, room, "tcp://%s:%d", one_in(r, 2) ? "localhost" : "127.0.0.1",
                 7000 + (int)(l - r->listeners));
    else
        snprintf(url, room, "%s", l->url);
}

static void
connect_one(struct run *r)
{
    struct listener *l = &r->listeners[pick(r, (uint64_t)r->listener_count)];
    int loop = l->carrier == PLUG ? l->loop : one_in(r, 4) ? l->loop : !l->loop;
    struct outlet_opts o;
    struct outlet_reason why;
    char url[64];
    struct end *e;
    outlet_err err;

    if (!r->loops[loop])
        return;
    e = end_new(r, loop, l->carrier, false, l->frame);
    if (!e)
        return;
    choose_opts(r, &o, l->frame, l->carrier, false);
    o.user = e;
    o.why = &why;
    setup_end(e);
    adopt_opts(e, &o);
    choose_url(r, l, url, sizeof url);
    r->depth++;
    err = outlet_connect(r->loops[loop], url, &o, &e->h);
    r->depth--;
    note(r, "end %d connects to %s: %s", e->index, url, outlet_error_name(err));
    if (err) {
        if (!(err == OUTLET_ESTATE && (r->stopped[loop] || r->drained[loop])) &&
            !(err == OUTLET_ENOMEM && may(r, HEAP_FAILS)))
            wrong(r, "connect to %s: %s", url, why.text);
        e->told = true;
        e->h.id = 0;
        return;
    }
    if (outlet_user(e->h) != e && !may(r, HEAP_FAILS))
        wrong(r, "end %d: its user data is wrong", e->index);
    if (one_in(r, 2))
        talk(e);
}

static void
plug_two(struct run *r)
{
    const struct frame_kind *frame = &frame_kinds[pick(r, frame_kind_count)];
    int loop = (int)pick(r, 2);
    struct outlet_opts o;
    struct end *a;
    struct end *b;
    outlet_err err;

    if (!r->loops[loop] || r->end_count + 2 > ENDS_MAX)
        return;
    a = end_new(r, loop, BOTH_ENDS, false, frame);
    b = end_new(r, loop, BOTH_ENDS, false, frame);
    choose_opts(r, &o, frame, BOTH_ENDS, false);
    setup_end(a);
    setup_end(b);
    adopt_opts(a, &o);
    adopt_opts(b, &o);
    r->depth++;
    err = outlet_pair(r->loops[loop], "pair:", &o, &a->h, &b->h);
    r->depth--;
    note(r, "ends %d and %d: pair: %s", a->index, b->index, outlet_error_name(err));
    if (err) {
        if (!(err == OUTLET_ESTATE && (r->stopped[loop] || r->drained[loop])) &&
            !(err == OUTLET_ENOMEM && may(r, HEAP_FAILS)))
            wrong(r, "pair: %s", outlet_error_name(err));
        a->told = b->told = true;
        a->h.id = b->h.id = 0;
        return;
    }
    (void)outlet_set_user(a->h, a); /* both are alive: nothing has run yet */
    (void)outlet_set_user(b->h, b);
}

/* ---- what next? ---- */

static void
stop_or_drain(struct run *r, int loop)
{
    outlet_err err;

    if (!r->loops[loop])
        return;
    r->depth++;
    if (one_in(r, 2)) {
        err = outlet_loop_drain(r->loops[loop], some(r, 1, 2000));
        r->drained[loop] = r->drained[loop] || err == OUTLET_OK;
    } else {
        err = outlet_loop_stop(r->loops[loop]);
        r->stopped[loop] = r->stopped[loop] || err == OUTLET_OK;
    }
    r->depth--;
    note(r, "loop %d stops or drains: %s", loop, outlet_error_name(err));
}

static void
close_listener(struct run *r)
{
    struct listener *l = &r->listeners[pick(r, (uint64_t)r->listener_count)];
    outlet_err err;

    r->depth++;
    err = outlet_listener_close(l->h);
    r->depth--;
    note(r, "listener %s closes: %s", l->url, outlet_error_name(err));
    if (err == OUTLET_OK && l->closed)
        wrong(r, "a listener could be closed twice");
    l->closed = l->closed || err == OUTLET_OK;
}

static void
rare(struct end *e)
{
    struct run *r = e->run;
    bool rude = may(r, RUDE);

    switch (pick(r, 12)) {
    case 0:
    case 1:
        if (e->peer || rude)
            close_end(e);
        break;
    case 2:
        if (e->peer || rude)
            end_end(e);
        break;
    case 3:
        if (rude)
            abort_end(e);
        break;
    case 4:
        if (rude && one_in(r, 4))
            close_listener(r);
        break;
    case 5:
        if (rude && one_in(r, 8))
            stop_or_drain(r, (int)pick(r, 2));
        break;
    case 6:
        connect_one(r);
        break;
    case 7:
        post_something(r, e->loop);
        break;
    default:
        ask_for_framing(e);
        break;
    }
}

/* On its reactor, or on any other. */
static void
act(struct end *e)
{
    struct run *r = e->run;

    if (r->actions <= 0 || r->bad || r->winding_up || (e->away == at_home(e) && !one_in(r, 8)))
        return;
    r->actions--;
    in_and_out(e);
    switch (pick(r, 12)) {
    case 0:
        pause_end(e);
        break;
    case 1:
        if (!e->told)
            resume_end(e);
        break;
    case 2:
        name_end(e);
        break;
    case 3:
        visit_all(r, e->loop);
        break;
    case 4:
        publish(r, e->loop);
        break;
    case 5:
        set_alarm(r, e->loop, e, some(r, 0, 30), false);
        break;
    case 6:
        rare(e);
        break;
    default:
        if (e->away != at_home(e))
            talk(e);
        break;
    }
}

/* ---- callbacks ---- */

static void
enter(struct end *e, const char *what)
{
    struct run *r = e->run;

    note(r, "end %d: %s", e->index, what);
    if (r->depth)
        wrong(r, "end %d: %s inside a call", e->index, what);
    if (e->told)
        wrong(r, "end %d: %s after on_close", e->index, what);
    if (!at_home(e))
        wrong(r, "end %d: %s on another reactor", e->index, what);
}

static struct end *
end_of(outlet_conn c, void *user, const char *what)
{
    struct end *e = user;

    if (e->h.id != c.id)
        wrong(e->run, "%s with handle %llx for end %d", what, (unsigned long long)c.id, e->index);
    enter(e, what);
    return e;
}

static int
on_accept(outlet_conn c, void *user)
{
    struct listener *l = user;
    struct run *r = l->run;
    struct end *e = end_new(r, l->loop, l->carrier, true, l->frame);

    if (!e) {
        e = &r->ends[ENDS_MAX - 1];
        (void)outlet_set_user(c, NULL); /* alive, since it has just come */
        return 1;
    }
    e->h = c;
    e->accepted = true;
    setup_end(e);
    adopt_opts(e, &l->opts);
    enter(e, "accept");
    if (outlet_set_user(c, e))
        wrong(r, "end %d: set_user failed", e->index);
    if (outlet_listener_of(c).id != l->h.id)
        wrong(r, "end %d: came from another listener", e->index);
    if (one_in(r, 4) && !e->away)
        talk(e);
    if (may(r, RUDE) && one_in(r, 10)) {
        e->refused = true;
        return 1;
    }
    if (may(r, RUDE) && one_in(r, 16))
        act(e);
    return 0;
}

static void
on_open(outlet_conn c, void *user)
{
    struct end *e = end_of(c, user, "open");
    struct run *r = e->run;

    if (e->opened || (e->server && !e->accepted) || e->refused)
        wrong(r, "end %d: opened wrongly", e->index);
    e->opened = true;
    if (!e->away)
        talk(e);
    in_and_out(e);
    if (one_in(r, 3))
        act(e);
    if (!r->winding_up)
        set_alarm(r, e->loop, e, some(r, 0, 20), false);
}

/* Written over or kept: both must leave the neighbours alone. */
static void
treat(struct end *e, outlet_msg *m, uint8_t *bytes, size_t len)
{
    struct run *r = e->run;
    struct kept *k = &r->kept[pick(r, KEPT_MAX)];
    uint64_t sum = 1;

    if (one_in(r, 3)) {
        memset(bytes, 0xee, len);
        return;
    }
    if (k->buf || r->winding_up || !one_in(r, 4))
        return;
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    r->depth++;
    k->buf = outlet_msg_retain(m);
    r->depth--;
    k->sum = sum;
    if (!k->buf && !may(r, SMALL_MEMORY | HEAP_FAILS))
        wrong(r, "end %d: a message could not be kept", e->index);
}

static void
let_go(struct run *r, struct kept *k)
{
    const uint8_t *bytes;
    size_t len;
    uint64_t sum = 1;

    if (!k->buf)
        return;
    bytes = outlet_buf_data(k->buf, &len);
    for (size_t i = 0; i < len; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    if (sum != k->sum)
        wrong(r, "a kept message has changed");
    outlet_buf_unref(k->buf);
    k->buf = NULL;
}

static void
on_message(outlet_conn c, outlet_msg *m, void *user)
{
    struct end *e = end_of(c, user, "message");
    struct run *r = e->run;
    size_t len;
    uint8_t *bytes = outlet_msg_data(m, &len);
    const struct sent *s;

    if (!e->opened || e->paused || e->closed_here || e->heard_end)
        wrong(r, "end %d: a message while it was %s", e->index,
              !e->opened       ? "not open"
              : e->paused      ? "paused"
              : e->closed_here ? "closed"
                               : "at the peer's end");
    if (outlet_msg_flags(m))
        wrong(r, "end %d: a truncated message", e->index);
    s = model_received(e, bytes, len);
    treat(e, m, bytes, len);
    if (s && s->turn_to)
        agree_on_framing(e, s);
    if (one_in(r, 3) && !e->away && r->actions > 0)
        talk(e);
    if (one_in(r, 4))
        act(e);
    if (one_in(r, 4))
        let_go(r, &r->kept[pick(r, KEPT_MAX)]);
}

static void
on_writable(outlet_conn c, void *user)
{
    struct end *e = end_of(c, user, "writable");

    if (!e->full_seen && !e->away && !e->group)
        wrong(e->run, "end %d: writable, but it never was full", e->index);
    if (!e->away)
        talk(e);
}

static void
on_event(outlet_conn c, enum outlet_event what, int64_t value, void *user)
{
    struct end *e = end_of(c, user, "event");
    struct run *r = e->run;

    switch (what) {
    case OUTLET_EVENT_END:
        if (e->heard_end || !e->half_open)
            wrong(r, "end %d: heard the peer's end %s", e->index,
                  e->heard_end ? "twice" : "without half_open");
        e->heard_end = true;
        model_all_arrived(e, "at the peer's end");
        if (one_in(r, 2))
            close_end(e);
        break;
    case OUTLET_EVENT_DROPPED:
        if (!drops(e) || value <= 0)
            wrong(r, "end %d: %lld messages were dropped", e->index, (long long)value);
        break;
    case OUTLET_EVENT_PEER_ERROR:
        if (!is_udp(e->carrier) || value <= 0)
            wrong(r, "end %d: peer error %lld", e->index, (long long)value);
        e->peer_errors++;
        break;
    }
    if (one_in(r, 3))
        act(e);
}

static void
on_close(outlet_conn c, const struct outlet_reason *why, void *user)
{
    struct end *e;

    if (!user)
        return; /* one too many for the model */
    e = end_of(c, user, "close");
    note(e->run, "end %d: %s in %s by %s", e->index, outlet_error_name(why->code),
         outlet_phase_name(why->phase), outlet_side_name(why->side));
    model_closed(e, why);
    if (outlet_send(c, "x", 1) >= 0)
        wrong(e->run, "end %d: could send in on_close", e->index);
    if (one_in(e->run, 4) && outlet_close(c))
        wrong(e->run, "end %d: its handle is stale inside on_close", e->index);
    e->told = true;
    e->paused = false;
    if (one_in(e->run, 4) && !e->run->winding_up)
        connect_one(e->run);
}

const struct outlet_handlers user_handlers = {.size = sizeof(struct outlet_handlers),
                                              .on_accept = on_accept,
                                              .on_open = on_open,
                                              .on_message = on_message,
                                              .on_writable = on_writable,
                                              .on_event = on_event,
                                              .on_close = on_close};

/* ---- from outside ---- */

static void
listen_one(struct run *r)
{
    static const enum carrier streams[] = {TCP4,      TCP4,          TCP6,         TCP_BOTH,
                                           UNIX_PATH, UNIX_ABSTRACT, UNIX_PACKETS, PLUG};
    struct listener *l = &r->listeners[r->listener_count];
    bool udp = may(r, DATAGRAMS);
    struct outlet_reason why = OUTLET_REASON;
    outlet_err err;

    l->run = r;
    l->loop = (int)pick(r, 2);
    l->carrier = udp ? (one_in(r, 3) ? UDP6 : UDP4) : streams[pick(r, OL_COUNT(streams))];
    l->frame = udp ? &frame_kinds[0] : &frame_kinds[pick(r, frame_kind_count)];
    if (l->carrier == UNIX_PACKETS)
        l->frame = &packet_kind;
    choose_opts(r, &l->opts, l->frame, l->carrier, true);
    l->opts.user = l;
    l->opts.why = &why;
    if (may(r, FEW_CONNS)) {
        l->opts.conns = l->carrier == PLUG ? 0 : some(r, 1, 3);
        l->opts.conns_per_address = l->carrier <= TCP_BOTH || udp ? some(r, 0, 2) : 0;
        l->opts.accepts_per_second = l->carrier == PLUG ? 0 : some(r, 0, 100);
        l->opts.deny = l->opts.conns_per_address && one_in(r, 4) ? "127.0.0.0/30 ::/127" : NULL;
        l->opts.backlog = udp || l->carrier == PLUG ? 0 : some(r, 1, 3);
    }
    switch (l->carrier) {
    case TCP4:
    case UDP4:
        snprintf(l->url, sizeof l->url, "%s://127.0.0.1:%d", udp ? "udp" : "tcp",
                 7000 + r->listener_count);
        break;
    case TCP6:
    case UDP6:
        snprintf(l->url, sizeof l->url, "%s://[::1]:%d", udp ? "udp" : "tcp",
                 7000 + r->listener_count);
        break;
    case TCP_BOTH:
        snprintf(l->url, sizeof l->url, "tcp://:%d", 7000 + r->listener_count);
        break;
    case UNIX_PATH:
        snprintf(l->url, sizeof l->url, "unix:///sim/%d.sock", r->listener_count);
        break;
    case UNIX_ABSTRACT:
        snprintf(l->url, sizeof l->url, "unix:@sim%d", r->listener_count);
        break;
    case UNIX_PACKETS:
        snprintf(l->url, sizeof l->url, "unix-seqpacket:@sim%d", r->listener_count);
        break;
    case PLUG:
    case BOTH_ENDS:
        snprintf(l->url, sizeof l->url, "pair:sim%d", r->listener_count);
        break;
    }
    err = outlet_listen(r->loops[l->loop], l->url, &l->opts, &l->h);
    note(r, "listener %s on loop %d, %s: %s", l->url, l->loop, l->frame->text,
         outlet_error_name(err));
    l->opts.why = NULL;
    l->closed = err != OUTLET_OK;
    if (err && !may(r, NO_ANSWER | HEAP_FAILS | CALL_FAILS))
        wrong(r, "listen at %s: %s", l->url, why.text);
    if (!err || r->listener_count)
        r->listener_count += !err;
}

void
user_begin(struct run *r)
{
    int listeners = (int)some(r, 1, LISTENERS_MAX);
    int conns = (int)some(r, 1, may(r, FEW_CONNS) ? 12 : 6);

    for (int i = 0; i < listeners; i++) {
        listen_one(r);
    }
    if (r->listener_count == 0)
        r->listener_count = 1; /* all failed: connecting to the first one's address fails, too */
    for (int i = 0; i < conns; i++) {
        connect_one(r);
    }
    if (!may(r, DATAGRAMS) && one_in(r, 3))
        plug_two(r);
}

void
user_outside(struct run *r)
{
    struct end *e = r->end_count ? &r->ends[pick(r, (uint64_t)r->end_count)] : NULL;

    switch (pick(r, 8)) {
    case 0:
        connect_one(r);
        break;
    case 1:
        count_group(r, (int)pick(r, 2));
        break;
    case 2:
        if (!may(r, DATAGRAMS) && one_in(r, 4))
            plug_two(r);
        break;
    default:
        if (e && e->h.id && (!e->told || one_in(r, 8)))
            act(e);
        break;
    }
}

void
user_wind_up(struct run *r)
{
    for (int i = 0; i < KEPT_MAX; i++) {
        let_go(r, &r->kept[i]);
    }
}

void
user_settle(struct run *r)
{
    r->winding_up = true;
    for (int i = 0; i < r->end_count && !r->bad; i++) {
        if (r->ends[i].h.id && !r->ends[i].told)
            resume_end(&r->ends[i]);
    }
}
