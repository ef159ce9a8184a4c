/*
 * recorder.c - records on their way to a file, without ever making the loop wait for a disk.
 *
 *     loop: encode --> front | swap under the lock | back --> thread: write
 *
 * The loop encodes into one buffer while the thread writes the other.  Above FULL bytes the front
 * is full: whoever records stops receiving until `changed` says that there is room, so a slow disk
 * slows peers down and loses nothing.  A newcomer's mistake: to take `full` for a refusal.  What is
 * added then is kept all the same, since it has been received already.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FULL = 8 * 1024 * 1024,
    SHRINK = 2 * FULL, /* a buffer that one huge message made larger is not kept */
    WRITE_AT_LEAST = 64 * 1024,
    WRITE_WAIT_MS = 20 /* less than that to write waits so long for more */
};

struct eng_recorder {
    int fd;
    enum eng_record_format format;
    struct eng_writer *encoder;
    void (*changed)(void *user);
    void *user;
    uint64_t messages;
    bool begun;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct eng_bytes front;
    bool full; /* `changed` is owed */
    bool closing;
    int error;
    struct eng_bytes back; /* the thread's */
    off_t whole;           /* bytes of the file up to the end of a record */
    bool created;          /* the file was not there before */
    bool given;            /* it is the standard output: what stands there already is not ours */
    const char *path;
};

/* ---- the thread ---- */

/* A record of which only a part fitted is cut off again: what is left is whole. */
static void
cut_to_whole(struct eng_recorder *r, size_t written)
{
    struct stat st;

    r->whole += (off_t)eng_record_whole(r->format, r->back.data, written);
    if (!r->given && fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode))
        (void)!ftruncate(r->fd, r->whole); /* else it ends with a part, which readers name */
}

static int
write_back(struct eng_recorder *r)
{
    size_t at = 0;

    if (r->whole == 0 && !r->given)
        (void)!ftruncate(r->fd, 0); /* not possible: a device or a pipe, which need it not */
    while (at < r->back.len) {
        ssize_t n = write(r->fd, r->back.data + at, r->back.len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int error = errno;

            cut_to_whole(r, at);
            return error;
        }
        at += (size_t)n;
    }
    r->whole += (off_t)at;
    r->back.len = 0;
    if (r->back.room > SHRINK)
        eng_bytes_free(&r->back);
    return 0;
}

/* Under the lock.  False: there is nothing more to write, ever. */
static bool
wait_for_work(struct eng_recorder *r)
{
    struct timespec until;

    while (r->front.len == 0 && !r->front.failed && !r->closing)
        pthread_cond_wait(&r->wake, &r->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WRITE_WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (r->front.len < WRITE_AT_LEAST && !r->front.failed && !r->closing) {
        if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
            break;
    }
    return r->front.len > 0 || r->front.failed;
}

static void *
writer(void *arg)
{
    struct eng_recorder *r = arg;
    bool tell;

    pthread_mutex_lock(&r->lock);
    while (r->error == 0 && wait_for_work(r)) {
        struct eng_bytes taken = r->front;
        int error;

        r->front = r->back;
        r->back = taken;
        tell = r->full;
        r->full = false;
        pthread_cond_broadcast(&r->wake);
        pthread_mutex_unlock(&r->lock);
        if (tell)
            r->changed(r->user);
        error = taken.failed ? ENOMEM : write_back(r);
        pthread_mutex_lock(&r->lock);
        r->error = error;
    }
    tell = r->error != 0;
    pthread_cond_broadcast(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (tell)
        r->changed(r->user);
    return NULL;
}

/* ---- the loop ---- */

/* Of a pipe a description of our own, since somebody may have set the other one not to wait. */
static int
output_open(struct eng_recorder *r)
{
    struct stat st;

    r->given = true;
    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
        r->fd = open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC);
    if (r->fd < 0)
        r->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return r->fd < 0 ? errno : 0;
}

/* It must not be empty already when nothing comes to be recorded.  A pipe that nobody reads is
 * ENXIO at once: its opening would wait for a reader, for ever. */
static int
file_open(struct eng_recorder *r)
{
    const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

    r->fd = open(r->path, flags | O_EXCL, 0666);
    r->created = r->fd >= 0;
    if (r->fd < 0 && errno == EEXIST)
        r->fd = open(r->path, flags, 0666);
    if (r->fd < 0)
        return errno;
    /* The thread may wait: for the disk, or for whoever reads the pipe. */
    return fcntl(r->fd, F_SETFL, 0) == 0 ? 0 : errno;
}

static int
lock_open(struct eng_recorder *r)
{
    pthread_condattr_t attr;
    int error = pthread_condattr_init(&attr);

    if (error)
        return error;
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    error = pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (error)
        return error;
    error = pthread_mutex_init(&r->lock, NULL);
    if (error)
        pthread_cond_destroy(&r->wake);
    return error;
}

struct eng_recorder *
eng_recorder_open(const char *path, enum eng_record_format format, void (*changed)(void *user),
                  void *user, int *sys_errno)
{
    struct eng_recorder *r = eng_alloc(sizeof *r);
    int error = ENOMEM;

    if (!r)
        goto fail;
    r->format = format;
    r->changed = changed;
    r->user = user;
    r->encoder = eng_writer_open(format);
    if (!r->encoder)
        goto free_recorder;
    error = lock_open(r);
    if (error)
        goto close_encoder;
    r->path = path;
    r->fd = -1;
    error = strcmp(path, "-") == 0 ? output_open(r) : file_open(r);
    if (error)
        goto close_file;
    error = pthread_create(&r->thread, NULL, writer, r);
    if (error)
        goto close_file;
    return r;

close_file:
    if (r->fd >= 0)
        close(r->fd);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
close_encoder:
    eng_writer_close(r->encoder);
free_recorder:
    eng_free(r);
fail:
    *sys_errno = error;
    return NULL;
}

void
eng_recorder_add(struct eng_recorder *r, const struct eng_record *record)
{
    bool was_empty;

    r->begun = true;
    r->messages += record->kind == ENG_RECORD_MESSAGE;
    pthread_mutex_lock(&r->lock);
    if (r->error == 0) {
        size_t before = r->front.len;

        was_empty = before == 0;
        eng_writer_add(r->encoder, record, &r->front);
        if (r->front.len >= FULL)
            r->full = true;
        if (was_empty || r->front.failed ||
            (before < WRITE_AT_LEAST && r->front.len >= WRITE_AT_LEAST))
            pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&r->lock);
}

bool
eng_recorder_is_full(struct eng_recorder *r)
{
    bool full;

    pthread_mutex_lock(&r->lock);
    full = r->full && r->error == 0;
    pthread_mutex_unlock(&r->lock);
    return full;
}

void
eng_recorder_wait(struct eng_recorder *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->full && r->error == 0)
        pthread_cond_wait(&r->wake, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

int
eng_recorder_error(struct eng_recorder *r)
{
    int error;

    pthread_mutex_lock(&r->lock);
    error = r->error;
    pthread_mutex_unlock(&r->lock);
    return error;
}

static int64_t
real_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int
eng_recorder_close(struct eng_recorder *r)
{
    int error;

    if (!r)
        return 0;
    if (r->begun)
        eng_recorder_add(
            r, &(struct eng_record){.kind = ENG_RECORD_END, .ns = real_ns(), .count = r->messages});
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    error = r->error;
    if (close(r->fd) != 0 && error == 0)
        error = errno; /* of a network's file system, which says it late */
    if (r->created && !r->begun)
        unlink(r->path);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    eng_writer_close(r->encoder);
    eng_bytes_free(&r->front);
    eng_bytes_free(&r->back);
    eng_free(r);
    return error;
}
