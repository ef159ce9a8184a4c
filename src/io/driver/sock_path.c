/*
 * sock_path.c - the file of a unix listener: it replaces one that nobody listens behind any more,
 * has the mode that was asked for from its first instant, and is removed if it is still ours.
 *
 * A newcomer would replace a stale unix socket file by "connect fails, so unlink and bind".  Two
 * programs that start at once then remove each other's file.  Here a lock file stands beside the
 * path while somebody decides, and the probe is a datagram connect: it cannot disturb a stream
 * server, and it sees one that has bound but does not listen yet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_TRIES = 16 };

static const char lock_suffix[] = ".lock";

/*
 * Lock "PATH.lock" and answer its descriptor; -EADDRINUSE when somebody else is binding there right
 * now.  The file is removed by whoever holds the lock, so after locking it must still be the one
 * that the name stands for.
 */
static int
lock_path(const char *lock)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct stat ours;
        struct stat named;
        int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int err = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

            close(fd);
            return err;
        }
        if (fstat(fd, &ours) == 0 && lstat(lock, &named) == 0 && ours.st_dev == named.st_dev &&
            ours.st_ino == named.st_ino)
            return fd;
        close(fd);
    }
    return -EADDRINUSE;
}

static void
unlock_path(int fd, const char *lock)
{
    (void)unlink(lock); /* a lock file that stays does no harm */
    close(fd);
}

/* Remove a socket file that nobody is bound to any more. */
static int
remove_stale(const struct ol_addr *at)
{
    union ol_sockaddr name;
    socklen_t len = ol_sockaddr_set(&name, at);
    struct stat before;
    struct stat after;
    int probe;
    int err;

    if (lstat(at->path, &before) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(before.st_mode))
        return -EEXIST;
    probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    err = connect(probe, &name.any, len) == 0 ? 0 : errno;
    close(probe);
    if (err == ENOENT)
        return 0;
    if (err != ECONNREFUSED) /* connected, EPROTOTYPE, EACCES...: somebody may live there */
        return -EADDRINUSE;
    if (lstat(at->path, &after) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (after.st_dev != before.st_dev || after.st_ino != before.st_ino)
        return -EADDRINUSE;
    return unlink(at->path) == 0 || errno == ENOENT ? 0 : -errno;
}

/*
 * The mode that a socket has before bind is the mode of the file that bind makes, less the umask:
 * so the file is never more open than asked, not even for an instant.  What the umask took is given
 * back afterwards.
 */
static int
widen_mode(const struct ol_addr *at, const struct stat *file, int mode)
{
    if (mode < 0 || (file->st_mode & 07777) == (mode_t)mode)
        return 0;
    return chmod(at->path, (mode_t)mode) == 0 ? 0 : -errno;
}

static int
bind_path_locked(int fd, const struct ol_listen_spec *spec, struct ol_sock_file *file)
{
    const struct ol_addr *at = &spec->at;
    struct stat made;
    int err;

    if (spec->mode >= 0 && fchmod(fd, (mode_t)spec->mode) != 0)
        return -errno;
    err = ol_sock_bind(fd, at);
    if (err == -EADDRINUSE) {
        err = remove_stale(at);
        if (!err)
            err = ol_sock_bind(fd, at);
    }
    if (err)
        return err;

    if (lstat(at->path, &made) != 0)
        return -errno;
    file->dev = made.st_dev;
    file->ino = made.st_ino;
    file->is_set = true;
    memcpy(file->path, at->path, (size_t)at->path_len + 1);
    err = widen_mode(at, &made, spec->mode);
    if (!err)
        err = ol_sock_start_listening(fd, spec);
    if (err) {
        ol_sock_unlink(file);
        file->is_set = false;
    }
    return err;
}

int
ol_sock_bind_path(int fd, const struct ol_listen_spec *spec, struct ol_sock_file *file)
{
    char lock[OL_PATH_MAX + sizeof lock_suffix];
    int lock_fd;
    int err;

    if (spec->at.path_len == 0 || strlen(spec->at.path) != spec->at.path_len)
        return -EINVAL;
    (void)snprintf(lock, sizeof lock, "%s%s", spec->at.path, lock_suffix); /* it fits */
    lock_fd = lock_path(lock);
    if (lock_fd < 0)
        return lock_fd;
    err = bind_path_locked(fd, spec, file);
    unlock_path(lock_fd, lock);
    return err;
}

void
ol_sock_unlink(const struct ol_sock_file *file)
{
    struct stat now;

    if (!file->is_set || lstat(file->path, &now) != 0)
        return;
    /* Nothing to do about a directory that has become read-only. */
    if (now.st_dev == file->dev && now.st_ino == file->ino)
        (void)unlink(file->path);
}
