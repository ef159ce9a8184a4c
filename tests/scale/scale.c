/*
 * scale.c - see scale.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "scale.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DESCRIPTORS_ELSEWHERE = 128, /* loop, listener, standard streams... */
    SECONDS_MAX = 240            /* of a process: nothing here may hang for ever */
};

const char *scale_driver = "epoll";

/* ---- what this process holds ---- */

/* Before each block, so that its size is known when it goes. */
struct tag {
    size_t size;
    size_t unused; /* keeps the alignment of malloc */
};

static void *
count_alloc(void *ctx, size_t size)
{
    struct scale_heap *h = ctx;
    struct tag *t = malloc(sizeof *t + size);

    atomic_fetch_add(&h->calls, 1);
    if (!t)
        return NULL;
    t->size = size;
    atomic_fetch_add(&h->live, (int64_t)size);
    return t + 1;
}

static void *
count_resize(void *ctx, void *p, size_t size)
{
    struct scale_heap *h = ctx;
    struct tag *t = (struct tag *)p - 1;
    size_t before = t->size;

    atomic_fetch_add(&h->calls, 1);
    t = realloc(t, sizeof *t + size);
    if (!t)
        return NULL;
    t->size = size;
    atomic_fetch_add(&h->live, (int64_t)size - (int64_t)before);
    return t + 1;
}

static void
count_release(void *ctx, void *p)
{
    struct scale_heap *h = ctx;
    struct tag *t = (struct tag *)p - 1;

    atomic_fetch_add(&h->calls, 1);
    atomic_fetch_sub(&h->live, (int64_t)t->size);
    free(t);
}

struct outlet_allocator
scale_heap_table(struct scale_heap *h)
{
    return (struct outlet_allocator){count_alloc, count_resize, count_release, h};
}

int64_t
scale_rss(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kib = -1;

    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "Rss: %ld kB", &kib) == 1)
            break;
    }
    if (f)
        fclose(f);
    return (int64_t)kib * 1024;
}

int
scale_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = -3; /* ".", "..", and the one that reads them */

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

int
scale_affordable_range(int wanted, int most)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return wanted;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t)most + DESCRIPTORS_ELSEWHERE)
        return most;
    limit.rlim_cur -= limit.rlim_cur < DESCRIPTORS_ELSEWHERE ? limit.rlim_cur
                                                             : DESCRIPTORS_ELSEWHERE;
    if (limit.rlim_cur < (rlim_t)wanted)
        printf("# the limit is %lu descriptors: %d connections instead of %d\n",
               (unsigned long)limit.rlim_max, (int)limit.rlim_cur, wanted);
    return (int)limit.rlim_cur;
}

int
scale_affordable(int wanted)
{
    return scale_affordable_range(wanted, wanted);
}

struct scale_use
scale_use_now(const struct scale_heap *h)
{
    return (struct scale_use){
        .live = atomic_load(&h->live), .rss = scale_rss(), .descriptors = scale_descriptors()};
}

/* ---- two processes ---- */

struct scale_peer
scale_fork(void (*work)(int fd, const void *arg), const void *arg)
{
    struct scale_peer p = {-1, -1};
    int fds[2];

    fflush(NULL);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return p;
    p.pid = fork();
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(SECONDS_MAX);
        close(fds[0]);
        work(fds[1], arg);
        fflush(NULL);
        _exit(0);
    }
    close(fds[1]);
    p.fd = fds[0];
    return p;
}

void
scale_say(int fd, const struct scale_word *w)
{
    if (send(fd, w, sizeof *w, MSG_NOSIGNAL) != (ssize_t)sizeof *w)
        fprintf(stderr, "# the other process does not listen: %s\n", strerror(errno));
}

bool
scale_hear(int fd, struct scale_word *w)
{
    ssize_t n;

    do {
        n = recv(fd, w, sizeof *w, 0);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *w;
}

int
scale_join(struct scale_peer *p)
{
    int status = -1;

    close(p->fd);
    if (waitpid(p->pid, &status, 0) != p->pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

/* ---- a loop of this thread that also hears the other process ---- */

static void
on_word(outlet_watch w, int events, void *arg)
{
    struct scale_side *s = arg;

    (void)w;
    (void)events;
    if (s->has_word)
        return; /* one at a time */
    s->has_word = true;
    if (scale_hear(s->fd, &s->word))
        return;
    s->is_alone = true;
    (void)outlet_watch_stop(s->watch); /* it would be reported for ever */
}

static void
on_log(void *user, enum outlet_log_level level, const char *line)
{
    (void)user;
    (void)level;
    printf("# %s\n", line);
}

bool
scale_side_open(struct scale_side *s, const char *driver, int64_t memory_max, int fd)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;

    *s = (struct scale_side){.fd = fd};
    opts.driver = driver;
    opts.memory_max = memory_max;
    opts.allocator = scale_heap_table(&s->heap);
    opts.log = on_log;
    return outlet_loop_new(&s->loop, &opts) == OUTLET_OK &&
           outlet_watch_start(s->loop, fd, OUTLET_READABLE, on_word, s, &s->watch) == OUTLET_OK;
}

static bool
has_word(void *arg)
{
    return ((struct scale_side *)arg)->has_word;
}

bool
scale_side_hear(struct scale_side *s)
{
    bool heard = scale_side_until(s, has_word, s);

    s->has_word = false;
    return heard && !s->is_alone;
}

bool
scale_side_until(struct scale_side *s, bool (*is_over)(void *arg), void *arg)
{
    while (!is_over(arg)) {
        if (s->is_alone || outlet_loop_turn(s->loop, -1) != OUTLET_OK)
            return false;
    }
    return true;
}

void
scale_side_close(struct scale_side *s)
{
    outlet_loop_free(s->loop);
    s->loop = NULL;
}

int
scale_listen(outlet_loop *l, const char *url, const struct outlet_opts *opts, outlet_listener *out)
{
    char text[128];
    char *colon;

    if (outlet_listen(l, url, opts, out) != OUTLET_OK ||
        outlet_listener_info(*out, "local", text, sizeof text) < 0)
        return -1;
    colon = strrchr(text, ':');
    return colon ? (int)strtol(colon + 1, NULL, 10) : -1;
}

int64_t
scale_listener_number(outlet_listener l, const char *key)
{
    char text[64];

    return outlet_listener_info(l, key, text, sizeof text) < 0 ? -1 : strtoll(text, NULL, 10);
}

/* ---- main ---- */

int
scale_begin(int argc, char **argv)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    outlet_loop *loop;
    pid_t pid;
    int status = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        scale_driver = argv[1];
    alarm(SECONDS_MAX);
    /* Tried in a process of its own: no loop was made before a fork. */
    pid = fork();
    if (pid == 0) {
        opts.driver = scale_driver;
        _exit(outlet_loop_new(&loop, &opts) == OUTLET_OK ? 0 : 77);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return 1;
    if (WEXITSTATUS(status) == 77)
        printf("# the %s driver does not work here\n", scale_driver);
    return WEXITSTATUS(status);
}
