/*
 * given.c - fd:3 and fd:systemd/name: sockets that this program was started with, or made itself.
 *
 *     LISTEN_PID    whom the sockets are for
 *     LISTEN_FDS    how many; they begin at descriptor 3
 *     LISTEN_FDNAMES  a:b:b, one name for each; several may have the same
 *
 * See sd_listen_fds(3).  The environment is read and left as it is: a child has another pid, and so
 * does not take them for its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST = 3 };

#define refuse(why, err, ...)                     \
    do {                                          \
        if (why)                                  \
            ol_reason_set(why, err, __VA_ARGS__); \
        return err;                               \
    } while (0)

void
ol_given_discard(struct outlet_loop *l, struct ol_given_set *set)
{
    struct ol_reactor *r = l->reactors[0];

    while (set->next < set->count) {
        r->ops->discard(r->driver, set->tokens[set->next++], false);
    }
}

/* ---- one descriptor ---------------------------------------------------------------------- */

static outlet_err
cannot_use(int fd, int sys, struct outlet_reason *why)
{
    outlet_err err = ol_err_from_errno(sys);

    if (why)
        why->sys_errno = sys;
    switch (sys) {
    case EBADF:
        refuse(why, OUTLET_ENOENT,
               "descriptor %d is not open; start this program with a socket there", fd);
    case ENOTSOCK:
        refuse(why, OUTLET_EINVAL, "descriptor %d is no socket; see what /proc/self/fd/%d is", fd,
               fd);
    case EPROTONOSUPPORT:
        refuse(why, OUTLET_ENOTSUP, "descriptor %d is a socket, but of no kind that outlet speaks",
               fd);
    case EOPNOTSUPP:
        refuse(why, OUTLET_ENOTSUP, "the simulator has no real sockets");
    default:
        refuse(why, err, "cannot use descriptor %d: %s", fd, outlet_strerror(err));
    }
}

static outlet_err
check_role(int fd, const struct ol_given *g, enum outlet_role role, struct outlet_reason *why)
{
    const char *name = ol_scheme_name(g->scheme);
    bool is_dgram = ol_scheme_is_dgram(g->scheme);

    if (role == OUTLET_TO_CONNECT) {
        if (g->is_listening)
            refuse(why, OUTLET_EINVAL, "descriptor %d is a %s socket that listens; listen at it",
                   fd, name);
        if (!g->is_connected)
            refuse(why, OUTLET_EINVAL, "descriptor %d is a %s socket that is not connected", fd,
                   name);
        return OUTLET_OK;
    }
    if (g->is_connected)
        refuse(why, OUTLET_EINVAL, "descriptor %d is a %s socket that is connected; connect to it",
               fd, name);
    if (!is_dgram && !g->is_listening)
        refuse(why, OUTLET_EINVAL, "descriptor %d is a %s socket that does not listen", fd, name);
    /* A udp socket that is not bound has an address without a port. */
    if (is_dgram &&
        (g->local.kind == OL_ADDR_NONE || (g->scheme == OL_SCHEME_UDP && g->local.port == 0)))
        refuse(why, OUTLET_EINVAL, "descriptor %d is a %s socket that is bound to no address", fd,
               name);
    return OUTLET_OK;
}

static outlet_err
add(struct outlet_loop *l, int fd, enum outlet_role role, struct outlet_reason *why,
    struct ol_given_set *set)
{
    struct ol_reactor *r = l->reactors[0];
    struct ol_given g;
    int sys;
    outlet_err err;

    if (set->count == OL_GIVEN_MAX)
        refuse(why, OUTLET_ELIMIT, "more than %d sockets have that name", OL_GIVEN_MAX);
    sys = r->ops->given(r->driver, fd, &g);
    if (sys < 0)
        return cannot_use(fd, -sys, why);
    if (set->count == 0)
        set->scheme = g.scheme;
    set->tokens[set->count++] = g.token; /* from here on it is discarded with the others */
    set->peer = g.peer;
    err = check_role(fd, &g, role, why);
    if (!err && g.scheme != set->scheme)
        refuse(why, OUTLET_EINVAL, "the sockets are of different kinds, %s and %s; name them apart",
               ol_scheme_name(set->scheme), ol_scheme_name(g.scheme));
    return err;
}

/* ---- those of the service manager -------------------------------------------------------- */

/* A number that is nothing but a number. */
static long
number_of(const char *key)
{
    const char *text = getenv(key);
    char *end;
    long n;

    if (!text || *text == '\0')
        return -1;
    errno = 0;
    n = strtol(text, &end, 10);
    return *end || errno || n < 0 || n > INT32_MAX ? -1 : n;
}

/* Is socket number `i` called so?  Without LISTEN_FDNAMES each is "unknown", as systemd says. */
static bool
has_name(long i, const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    size_t len = strlen(name);

    if (!names)
        return strcmp(name, "unknown") == 0;
    for (; i > 0; i--) {
        names += strcspn(names, ":");
        if (*names == '\0')
            return false;
        names++;
    }
    return strcspn(names, ":") == len && memcmp(names, name, len) == 0;
}

static outlet_err
not_found(const char *name, long passed, struct outlet_reason *why)
{
    const char *names = getenv("LISTEN_FDNAMES");

    if (name[0] == '\0')
        refuse(why, OUTLET_ENOENT, "no socket was passed: LISTEN_FDS is %ld", passed);
    refuse(why, OUTLET_ENOENT,
           "no socket that was passed is called `%.40s`; LISTEN_FDNAMES is "
           "`%.60s`",
           name, names ? names : "");
}

static outlet_err
add_passed(struct outlet_loop *l, const struct ol_endpoint *e, struct outlet_reason *why,
           struct ol_given_set *set)
{
    long passed = number_of("LISTEN_FDS");
    long pid = number_of("LISTEN_PID");

    if (passed < 0 || pid < 0)
        refuse(why, OUTLET_ENOENT,
               "LISTEN_FDS and LISTEN_PID are not set: no service manager passed sockets here; "
               "begin with a socket unit, or with systemd-socket-activate");
    if (pid != (long)getpid())
        refuse(why, OUTLET_ENOENT,
               "LISTEN_PID is %ld, and this is %ld: the sockets are for another process", pid,
               (long)getpid());
    for (long i = 0; i < passed; i++) {
        outlet_err err = OUTLET_OK;

        if (e->host[0] == '\0' || has_name(i, e->host))
            err = add(l, (int)(FIRST + i), e->role, why, set);
        if (err)
            return err;
    }
    if (set->count == 0)
        return not_found(e->host, passed, why);
    if (set->count > 1 && e->role == OUTLET_TO_CONNECT)
        refuse(why, OUTLET_EINVAL, "%d sockets are meant, and a connection has one; name it",
               set->count);
    return OUTLET_OK;
}

outlet_err
ol_given_find(struct outlet_loop *l, const char *url, const struct outlet_opts *opts,
              struct ol_endpoint *e, struct outlet_reason *why, struct ol_given_set *out)
{
    outlet_err err;

    out->next = 0;
    out->count = 0;
    if (e->scheme != OL_SCHEME_FD)
        return OUTLET_OK;
    if (why)
        why->phase = OUTLET_AT_CONNECT;
    err = e->fd >= 0 ? add(l, e->fd, e->role, why, out) : add_passed(l, e, why, out);
    if (!err)
        err = ol_endpoint_carry(url, opts, out->scheme, e, why);
    if (err)
        ol_given_discard(l, out);
    return err;
}
