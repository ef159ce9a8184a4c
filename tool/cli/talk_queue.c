/*
 * talk_queue.c - what was typed and waits until everybody whom it is for has room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "talk.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 64 * 1024,
    WAITING_MAX = 16 * 1024 * 1024, /* bytes that wait to be sent */
    SLICE = 64,                     /* messages, or chunks of a file, in one turn */
    QUIT_MS = 5000 /* what waits is still sent, while some of it is taken in so long */
};

void
talk_drop_first(struct cli_talk *t)
{
    struct talk_item *i = t->first;

    t->first = i->next;
    if (!t->first)
        t->last = &t->first;
    t->waiting -= i->bytes.len;
    t->every_waiting -= i->every;
    eng_bytes_free(&i->bytes);
    if (i->fd >= 0)
        close(i->fd);
    eng_free(i);
}

static void
say_refused(struct cli_talk *t, const struct eng_sent *sent)
{
    char ids[256] = "";
    size_t len = 0;

    for (uint64_t i = 0; i < sent->refused && i < ENG_REFUSED_MAX; i++)
        len += (size_t)snprintf(ids + len, sizeof ids - len, "%s%llu", i ? ", " : "",
                                (unsigned long long)sent->refused_ids[i]);
    if (sent->refused)
        say(t, TEXT_TALK_REFUSED, ids);
    else if (!sent->taken && !sent->wrong)
        say(t, TEXT_TALK_NOBODY, NULL);
}

/* Of a file: the next piece of it.  False: it has come to its end, one way or the other. */
static bool
send_piece(struct cli_talk *t, struct talk_item *i)
{
    uint8_t chunk[CHUNK];
    struct eng_sent sent;
    ssize_t n = read(i->fd, chunk, sizeof chunk);

    if (n < 0)
        say(t, TEXT_ERROR_FILE, i->about, strerror(errno));
    if (n <= 0)
        return false;
    eng_session_send(t->session, i->to, chunk, (size_t)n, &sent);
    if (sent.refused || !sent.taken)
        say_refused(t, &sent);
    return sent.taken > 0;
}

static bool
send_item(struct cli_talk *t, struct talk_item *i)
{
    struct eng_sent sent;

    if (i->fd >= 0)
        return send_piece(t, i);
    eng_session_send(t->session, i->to, i->bytes.len ? i->bytes.data : (const uint8_t *)"",
                     i->bytes.len, &sent);
    if (sent.refused || !sent.taken)
        say_refused(t, &sent);
    return false;
}

static void
next_turn(outlet_timer timer, void *arg)
{
    struct cli_talk *t = arg;

    (void)timer;
    t->again.id = 0;
    talk_pump(t);
}

void
talk_maybe_over(struct cli_talk *t)
{
    if (t->first || !t->session)
        return;
    if (t->quitting)
        eng_session_finish(t->session, ENG_DONE);
    else if (t->ended)
        eng_session_end_input(t->session);
}

static void
waited_enough(outlet_timer timer, void *arg)
{
    struct cli_talk *t = arg;

    (void)timer;
    t->late.id = 0;
    eng_session_finish(t->session, ENG_DONE);
}

bool
talk_wait_for_rest(struct cli_talk *t)
{
    if (t->late.id)
        outlet_timer_stop(t->late);
    t->late.id = 0;
    return outlet_timer_start(t->loop, QUIT_MS, 0, waited_enough, t, &t->late) == OUTLET_OK;
}

void
talk_pump(struct cli_talk *t)
{
    bool connecting = t->opts->role == OUTLET_TO_CONNECT;
    int left = SLICE;

    if (!t->session || t->pumping)
        return; /* it is being started, or a send has told that there is room */
    t->pumping = true;
    for (; t->first && left; left--) {
        enum eng_ready ready = eng_session_ready(t->session, t->first->to);

        if (ready == ENG_BEHIND || (ready == ENG_NOBODY && connecting))
            break;
        if (ready == ENG_NOBODY)
            say(t, TEXT_TALK_NOBODY, NULL);
        if (ready == ENG_NOBODY || !send_item(t, t->first))
            talk_drop_first(t);
    }
    t->pumping = false;
    if (t->quitting && left < SLICE && !talk_wait_for_rest(t))
        eng_session_finish(t->session, ENG_DONE);
    if (!left && !t->again.id &&
        outlet_timer_start(t->loop, 0, 0, next_turn, t, &t->again) != OUTLET_OK)
        say(t, TEXT_USAGE_NO_MEMORY, "outlet");
    talk_maybe_over(t);
}

struct talk_item *
talk_append(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd, const char *about)
{
    struct talk_item *i = NULL;

    if (!bytes->failed && t->waiting + bytes->len <= WAITING_MAX)
        i = eng_alloc(sizeof *i);
    if (!i) {
        eng_bytes_free(bytes);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    i->to = to;
    i->bytes = *bytes;
    i->fd = fd;
    snprintf(i->about, sizeof i->about, "%.60s", about);
    *bytes = (struct eng_bytes){0};
    t->waiting += i->bytes.len;
    *t->last = i;
    t->last = &i->next;
    return i;
}

void
talk_enqueue(struct cli_talk *t, uint64_t to, struct eng_bytes *bytes, int fd, const char *about)
{
    if (talk_append(t, to, bytes, fd, about))
        talk_pump(t);
    else
        say(t, TEXT_TALK_TOO_MUCH, NULL);
}

/* Messages that wait, and what there is of them; of a file as far as can be told. */
static size_t
count_waiting(const struct cli_talk *t, uint64_t *bytes)
{
    size_t count = 0;

    *bytes = t->waiting;
    for (const struct talk_item *i = t->first; i; i = i->next) {
        struct stat st;
        off_t at = i->fd >= 0 ? lseek(i->fd, 0, SEEK_CUR) : -1;

        if (at >= 0 && fstat(i->fd, &st) == 0 && st.st_size > at)
            *bytes += (uint64_t)(st.st_size - at);
        count++;
    }
    return count;
}

void
talk_say_waiting(struct cli_talk *t, enum cli_text id)
{
    uint64_t bytes;
    char count[24];
    char size[32];

    snprintf(count, sizeof count, "%zu", count_waiting(t, &bytes));
    eng_text_size(size, sizeof size, bytes);
    say(t, id, count, size);
}
