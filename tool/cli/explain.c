/*
 * explain.c - an error for people: the thing, the cause, the next step.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <pwd.h>
#include <string.h>

struct about {
    enum cli_lang lang;
    const char *url; /* masked: safe to print */
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

    if (a->parts.path[0]) {
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

static void
explain_code(const struct about *a)
{
    const char *host = a->parts.path[0] ? a->parts.path : a->parts.host;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* most codes need no words of their own */
    switch (a->why->code) {
    case OUTLET_EADDRINUSE:
        explain_in_use(a);
        return;
    case OUTLET_EADDR:
        say(a, TEXT_ERROR_NOT_OUR_ADDRESS, host);
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
        say(a, TEXT_ERROR_REFUSED, a->url);
        return;
    case OUTLET_ERESOLVE:
        say(a, TEXT_ERROR_RESOLVE, host);
        return;
    case OUTLET_ETIMEDOUT:
        explain_time(a);
        return;
    case OUTLET_EUNREACH:
        say(a, TEXT_ERROR_UNREACHABLE, host, a->why->text);
        return;
    default:
        say(a, TEXT_ERROR_PLAIN, a->url, a->why->text);
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
    struct about a = {.lang = lang, .url = masked, .role = role, .why = why, .out = out};

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
