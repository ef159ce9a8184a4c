/*
 * err.c - codes and their sentences, names of phases and sides, and reasons.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base.h"

#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    int64_t code;
    const char *name;
    const char *text;
} errors[] = {
#define ERROR_ROW(name, number, text) {number, #name, text},
    OUTLET_ERRORS(ERROR_ROW)
#undef ERROR_ROW
};

static const char *const phases[] = {
    [OUTLET_AT_RESOLVE] = "resolve", [OUTLET_AT_CONNECT] = "connect", [OUTLET_AT_PROXY] = "proxy",
    [OUTLET_AT_TLS] = "tls",         [OUTLET_AT_UPGRADE] = "upgrade", [OUTLET_AT_OPEN] = "open",
    [OUTLET_AT_DRAIN] = "drain",
};

static const char *const sides[] = {
    [OUTLET_BY_US] = "us",
    [OUTLET_BY_PEER] = "peer",
    [OUTLET_BY_SYSTEM] = "system",
};

const char *
outlet_strerror(int64_t code)
{
    for (size_t i = 0; i < OL_COUNT(errors); i++) {
        if (errors[i].code == code)
            return errors[i].text;
    }
    return "unknown error";
}

const char *
outlet_error_name(int64_t code)
{
    for (size_t i = 0; i < OL_COUNT(errors); i++) {
        if (errors[i].code == code)
            return errors[i].name;
    }
    return "OUTLET_E?";
}

static const char *
name_at(const char *const *names, size_t count, size_t at)
{
    return at < count && names[at] ? names[at] : "unknown";
}

const char *
outlet_phase_name(enum outlet_phase phase)
{
    return name_at(phases, OL_COUNT(phases), (size_t)phase);
}

const char *
outlet_side_name(enum outlet_side side)
{
    return name_at(sides, OL_COUNT(sides), (size_t)side);
}

const char *
outlet_version(void)
{
    return OL_VERSION;
}

/* A sentence that was cut inside a UTF-8 character loses the rest of that character too. */
static void
drop_cut_character(char *text, size_t len)
{
    size_t at = len;
    size_t whole;
    uint8_t lead;

    while (at > 0 && len - at < 3 && ((uint8_t)text[at - 1] & 0xc0) == 0x80) {
        at--;
    }
    if (at == 0)
        return;
    lead = (uint8_t)text[at - 1];
    whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - at + 1 < whole)
        text[at - 1] = '\0';
}

void
ol_reason_set(struct outlet_reason *why, outlet_err code, const char *format, ...)
{
    va_list args;
    int len;

    if (!why)
        return;
    why->code = code;
    va_start(args, format);
    len = vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    if (len <= 0) {
        snprintf(why->text, sizeof why->text, "%s", outlet_strerror(code)); /* never empty */
    } else if ((size_t)len >= sizeof why->text) {
        drop_cut_character(why->text, sizeof why->text - 1);
    }
}

outlet_err
ol_err_from_errno(int sys_errno)
{
    switch (sys_errno) {
    case 0:
        return OUTLET_OK;
    case ENOMEM:
    case ENOBUFS:
        return OUTLET_ENOMEM;
    case EAGAIN:
    case EINTR:
    case EINPROGRESS:
    case EALREADY:
        return OUTLET_EAGAIN;
    case ETIMEDOUT:
    case ETIME:
        return OUTLET_ETIMEDOUT;
    case ECANCELED:
        return OUTLET_ECANCELED;
    case EMSGSIZE:
        return OUTLET_EMSGSIZE;
    case EPROTO:
        return OUTLET_EPROTO;
    case ECONNREFUSED:
        return OUTLET_EREFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET:
        return OUTLET_EUNREACH;
    case ECONNRESET:
    case ECONNABORTED:
    case ENETRESET:
    case ENOTCONN: /* what shutdown and getpeername say after a reset */
    case EPIPE:
        return OUTLET_ERESET;
    case EADDRINUSE:
        return OUTLET_EADDRINUSE;
    case EADDRNOTAVAIL:
    case ENODEV: /* no such interface */
    case ENXIO:
        return OUTLET_EADDR;
    case EACCES:
    case EPERM:
    case EROFS:
        return OUTLET_EPERM;
    case EMFILE:
    case ENFILE:
        return OUTLET_ENOFILE;
    case EEXIST:
        return OUTLET_EEXIST;
    case ENOENT:
    case ENOTDIR:
        return OUTLET_ENOENT;
    case EISCONN:
        return OUTLET_ESTATE;
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EPROTOTYPE:
    case ENOPROTOOPT:
    case ENOSYS:
        return OUTLET_ENOTSUP;
    default:
        return OUTLET_ESYS;
    }
}
