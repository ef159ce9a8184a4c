/*
 * server_senders.c - threads outside of the loop send to all its connections, with a mutex for each
 * connection.
 *
 *     server_senders mutex PORT THREADS SIZE     lock, send, unlock: what most programs do
 *     server_senders queue PORT THREADS SIZE     lock, append, unlock; the loop is woken once and
 *                                                sends what a connection has gathered at once
 *
 * The order of one thread's messages is kept and none is lost.  What the kernel does not take waits
 * in the connection's queue.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bare.h"
#include "senders.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { CONNS = 65536 };

struct conn {
    pthread_mutex_t lock; /* guards all below */
    int fd;
    bool is_dirty; /* on the list of those the loop shall flush */
    bool is_armed; /* the loop will hear when there is room */
    struct bare_bytes out;
    struct conn *next_dirty;
};

static struct conn *members[CONNS];
static int member_count;
static pthread_mutex_t dirty_lock = PTHREAD_MUTEX_INITIALIZER;
static struct conn *dirty; /* guarded by dirty_lock */
static bool is_queueing;
static int epfd;
static int wake_fd;

static void
arm(struct conn *c, bool writing)
{
    struct epoll_event e = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u), .data.ptr = c};

    if (c->is_armed == writing)
        return;
    c->is_armed = writing;
    if (epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e))
        bare_die("epoll_ctl");
}

/* With the lock held. */
static void
flush(struct conn *c)
{
    ssize_t n = c->out.len ? send(c->fd, c->out.at, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (n > 0) {
        /* Its memory is kept for the next turn. */
        c->out.len -= (size_t)n;
        memmove(c->out.at, c->out.at + n, c->out.len);
    }
    arm(c, c->out.len > 0);
}

static void
make_dirty(struct conn *c)
{
    static const uint64_t one = 1;
    bool was_empty;

    pthread_mutex_lock(&dirty_lock);
    was_empty = !dirty;
    c->next_dirty = dirty;
    dirty = c;
    pthread_mutex_unlock(&dirty_lock);
    if (was_empty && write(wake_fd, &one, sizeof one) < 0)
        bare_die("eventfd");
}

static void
flush_dirty(void)
{
    uint64_t count;
    struct conn *c;

    if (read(wake_fd, &count, sizeof count) < 0)
        return;
    pthread_mutex_lock(&dirty_lock);
    c = dirty;
    dirty = NULL;
    pthread_mutex_unlock(&dirty_lock);
    while (c) {
        struct conn *next;

        pthread_mutex_lock(&c->lock);
        next = c->next_dirty;
        c->is_dirty = false;
        flush(c);
        pthread_mutex_unlock(&c->lock);
        c = next;
    }
}

void
senders_target(int i, const void *bytes, size_t len)
{
    struct conn *c = members[i];
    bool is_new = false;

    pthread_mutex_lock(&c->lock);
    if (is_queueing) {
        bare_keep(&c->out, bytes, len);
        is_new = !c->is_dirty;
        c->is_dirty = true;
    } else {
        ssize_t n = c->out.len ? 0 : send(c->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            n = 0;
        bare_keep(&c->out, (const uint8_t *)bytes + n, len - (size_t)n);
        if (c->out.len)
            arm(c, true);
    }
    if (is_new)
        make_dirty(c);
    pthread_mutex_unlock(&c->lock);
}

int
senders_targets(void)
{
    return member_count;
}

/* Only the client that directs the game says anything: it is no target. */
static void
hear(struct conn *c)
{
    uint8_t bytes[256];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        exit(0); /* the game is over */
    for (int i = 0; i < member_count; i++) {
        if (members[i] == c)
            members[i] = members[--member_count];
    }
    senders_go(bytes, (size_t)n);
}

static void
welcome(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;
        struct epoll_event e = {.events = EPOLLIN};

        if (fd < 0)
            return;
        c = calloc(1, sizeof *c);
        if (!c || member_count == CONNS)
            bare_die("too many");
        bare_nodelay(fd);
        pthread_mutex_init(&c->lock, NULL);
        c->fd = fd;
        e.data.ptr = c;
        if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e) || send(fd, "!", 1, MSG_NOSIGNAL) != 1)
            bare_die("greeting");
        members[member_count++] = c;
    }
}

int
main(int argc, char **argv)
{
    struct epoll_event e = {.events = EPOLLIN};
    int listener;

    if (argc < 5)
        return 2;
    is_queueing = strcmp(argv[1], "queue") == 0;
    epfd = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    senders_start(atoi(argv[3]), (size_t)atol(argv[4]));
    listener = bare_listen("tcp", argv[2], SOCK_STREAM | SOCK_NONBLOCK);
    e.data.ptr = &listener;
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e))
        bare_die("epoll_ctl");
    e.data.ptr = &wake_fd;
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, wake_fd, &e))
        bare_die("epoll_ctl");
    for (;;) {
        struct epoll_event events[BARE_EVENTS];
        int n = epoll_wait(epfd, events, BARE_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            void *of = events[i].data.ptr;

            if (of == &listener) {
                welcome(listener);
            } else if (of == &wake_fd) {
                flush_dirty();
            } else if (events[i].events & EPOLLOUT) {
                pthread_mutex_lock(&((struct conn *)of)->lock);
                flush(of);
                pthread_mutex_unlock(&((struct conn *)of)->lock);
            } else {
                hear(of);
            }
        }
    }
}
