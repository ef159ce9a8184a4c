/*
 * explain.c - an error for people: the thing, the cause, the next step.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

struct about {
    enum cli_lang lang;
    const char *url; /* masked: safe to print */
    const char *whole;
    enum outlet_role role;
    const struct outlet_reason *why;
    struct eng_url parts;
    struct eng_bytes *out;
};

#define say(a, id, ...) \
    cli_format((a)->lang, id, (const char *const[CLI_ARGS]){__VA_ARGS__}, (a)->out)

static void
explain_url(const struct about *a)
{
    char at[16];

    /* Counted from 1, as people do. */
    snprintf(at, sizeof at, "%d", a->why->position + 1);
    if (a->why->key[0] && a->why->position >= 0)
        say(a, TEXT_ERROR_URL_KEY, a->url, a->why->text, at, a->why->key);
    else if (a->why->position >= 0)
        say(a, TEXT_ERROR_URL, a->url, a->why->text, at);
    else
        say(a, TEXT_ERROR_URL_PLAIN, a->url, a->why->text);
}

static void
explain_in_use(const struct about *a)
{
    struct eng_owner owner;
    bool known = eng_owner_find(&a->parts, &owner);
    char port[16];
    char pid[16];

    snprintf(port, sizeof port, "%d", a->parts.port);
    snprintf(pid, sizeof pid, "%ld", known ? (long)owner.pid : 0L);
    if (a->parts.path[0]) {
        if (known && owner.pid)
            say(a, TEXT_ERROR_PATH_IN_USE_BY, a->parts.path, owner.name, pid);
        else
            say(a, TEXT_ERROR_PATH_IN_USE, a->parts.path);
    } else if (known && owner.pid) {
        say(a, TEXT_ERROR_PORT_IN_USE_BY, port, owner.name, pid);
    } else if (known) {
        const struct passwd *user = getpwuid(owner.uid);
        char uid[16];

        snprintf(uid, sizeof uid, "%lu", (unsigned long)owner.uid);
        say(a, TEXT_ERROR_PORT_IN_USE_USER, port, user ? user->pw_name : uid);
    } else {
        say(a, TEXT_ERROR_PORT_IN_USE, port);
    }
}

static void
explain_permission(const struct about *a)
{
    char port[16];

    if (a->parts.path[0] && a->role == OUTLET_TO_CONNECT) {
        say(a, TEXT_ERROR_SOCKET_PERMISSION, a->parts.path);
    } else if (a->parts.path[0]) {
        say(a, TEXT_ERROR_PATH, a->parts.path, a->why->text);
    } else if (a->role == OUTLET_TO_LISTEN && a->parts.port > 0 && a->parts.port < 1024) {
        snprintf(port, sizeof port, "%d", a->parts.port);
        say(a, TEXT_ERROR_LOW_PORT, port);
    } else {
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
    }
}

static void
explain_time(const struct about *a)
{
    if (a->role == OUTLET_TO_CONNECT && a->why->phase != OUTLET_AT_OPEN &&
        a->why->phase != OUTLET_AT_DRAIN)
        say(a, TEXT_ERROR_CONNECT_TIME, a->url);
    else
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
}

/* The address that was asked for is not here, or in use: ours, or the one we connect from. */
static void
explain_address(const struct about *a, const char *host)
{
    char local[256];

    if (a->role == OUTLET_TO_CONNECT && eng_url_option(a->whole, "local", local, sizeof local))
        say(a, TEXT_ERROR_LOCAL, local);
    else if (a->why->code == OUTLET_EADDRINUSE)
        explain_in_use(a);
    else if (a->role == OUTLET_TO_CONNECT)
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
    else
        say(a, TEXT_ERROR_NOT_OUR_ADDRESS, host);
}

/* The kernel calls it an invalid argument when the address that we connect from leads elsewhere. */
static void
explain_rest(const struct about *a, const char *host)
{
    char local[256];

    if (a->role == OUTLET_TO_CONNECT && a->why->sys_errno == EINVAL &&
        eng_url_option(a->whole, "local", local, sizeof local))
        say(a, TEXT_ERROR_LOCAL_WAY, local, host);
    else
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
}

/* Nobody listens there, and perhaps nobody can. */
static void
explain_refused(const struct about *a)
{
    struct stat st;

    if (strcmp(a->parts.scheme, "pair") == 0)
        say(a, TEXT_ERROR_PAIR, a->url);
    else if (a->parts.path[0] && stat(a->parts.path, &st) == 0 && !S_ISSOCK(st.st_mode))
        say(a, TEXT_ERROR_NO_SOCKET, a->parts.path);
    else
        say(a, TEXT_ERROR_REFUSED, a->url);
}

static void
explain_missing(const struct about *a)
{
    char folder[sizeof a->parts.path];
    char *slash;

    if (a->parts.path[0] && a->role == OUTLET_TO_CONNECT) {
        say(a, TEXT_ERROR_NOTHING_THERE, a->parts.path, a->url);
        return;
    }
    snprintf(folder, sizeof folder, "%s", a->parts.path);
    slash = strrchr(folder, '/');
    if (slash && slash > folder) {
        *slash = '\0';
        say(a, TEXT_ERROR_NO_DIRECTORY, a->parts.path, folder);
    } else {
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
    }
}

/* A socket of another kind stands at the path. */
static void
explain_kind(const struct about *a)
{
    const char *scheme = a->parts.path[0] ? eng_socket_scheme(a->parts.path) : NULL;
    char url[sizeof a->parts.path + 32];

    if (a->why->sys_errno != EPROTOTYPE || !a->parts.path[0]) {
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
        return;
    }
    if (!scheme) /* it cannot be found out: most likely */
        scheme = strcmp(a->parts.scheme, "unix") == 0 ? "unix-dgram" : "unix";
    snprintf(url, sizeof url, "%s:%s%s", scheme, a->parts.path[0] == '/' ? "//" : "",
             a->parts.path);
    say(a, TEXT_ERROR_OTHER_SOCKET, a->parts.path, url);
}

static void
explain_unreachable(const struct about *a, const char *host)
{
    if (a->why->sys_errno)
        say(a, TEXT_ERROR_UNREACHABLE, host, strerror(a->why->sys_errno));
    else if (strcmp(a->why->text, outlet_strerror(a->why->code)) == 0)
        say(a, TEXT_ERROR_UNREACHABLE_PLAIN, host);
    else
        say(a, TEXT_ERROR_UNREACHABLE, host, a->why->text);
}

static void
explain_code(const struct about *a)
{
    const char *host = a->parts.path[0] ? a->parts.path : a->parts.host;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* most codes need no words of their own */
    switch (a->why->code) {
    case OUTLET_EADDRINUSE:
    case OUTLET_EADDR:
        explain_address(a, host);
        return;
    case OUTLET_EPERM:
        explain_permission(a);
        return;
    case OUTLET_EEXIST:
        say(a, TEXT_ERROR_PATH_EXISTS, host);
        return;
    case OUTLET_ENOFILE:
        say(a, TEXT_ERROR_NO_FILES, NULL);
        return;
    case OUTLET_EREFUSED:
        explain_refused(a);
        return;
    case OUTLET_ENOENT:
        explain_missing(a);
        return;
    case OUTLET_ENOTSUP:
        explain_kind(a);
        return;
    case OUTLET_ERESOLVE:
        say(a, TEXT_ERROR_RESOLVE, host);
        return;
    case OUTLET_ETIMEDOUT:
        explain_time(a);
        return;
    case OUTLET_EUNREACH:
        explain_unreachable(a, host);
        return;
    default:
        explain_rest(a, host);
        return;
    }
#pragma GCC diagnostic pop
}

/* What the library says to programs names what they have; people have the page. */
static void
for_people(const struct outlet_reason *why, struct outlet_reason *out)
{
    static const char fields[] = "see the fields of struct outlet_opts";
    const char *at = strstr(why->text, fields);

    *out = *why;
    if (at)
        snprintf(out->text, sizeof out->text, "%.*ssee outlet-url(7)%s", (int)(at - why->text),
                 why->text, at + sizeof fields - 1);
}

void
cli_explain(enum cli_lang lang, const char *url, enum outlet_role role,
            const struct outlet_reason *why, struct eng_bytes *out)
{
    char masked[4096];
    struct outlet_reason said;
    struct about a = {
        .whole = url, .lang = lang, .url = masked, .role = role, .why = why, .out = out};

    if (!url) { /* a file, the input, memory: the text says all */
        cli_said(lang, why->text, out);
        return;
    }
    eng_url_masked(url, masked, sizeof masked);
    if (lang == CLI_EN) { /* the other translates it */
        for_people(why, &said);
        a.why = &said;
    }
    if (why->position >= 0 || why->key[0] || !eng_url_split(url, role, &a.parts)) {
        explain_url(&a);
        return;
    }
    explain_code(&a);
}
