/*
 * sockets.c - the table of sockets: filters, owners, order, JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const char *const eng_socket_states[] = {
    "listen",     "established", "unconnected", "syn-sent", "syn-recv", "fin-wait-1",
    "fin-wait-2", "time-wait",   "close-wait",  "last-ack", "closing",  NULL,
};

/* ---- filters ---- */

static bool
parse_number(const char *text, unsigned long most, unsigned *out)
{
    unsigned long value = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned long)(*text - '0');
        if (value > most)
            return false;
    }
    *out = (unsigned)value;
    return true;
}

static const char *
state_of(const char *text)
{
    for (size_t i = 0; eng_socket_states[i]; i++) {
        if (strcasecmp(eng_socket_states[i], text) == 0)
            return eng_socket_states[i];
    }
    return NULL;
}

/* 9000, or a service of /etc/services. */
static bool
parse_port(const char *text, unsigned *out)
{
    const struct servent *service;

    if (parse_number(text, 65535, out))
        return true;
    service = *text ? getservbyname(text, NULL) : NULL;
    if (!service)
        return false;
    *out = ntohs((uint16_t)service->s_port);
    return true;
}

bool
eng_filter_parse(const char *word, struct eng_filter *out)
{
    static const char *const protos[] = {[ENG_TCP] = "tcp", [ENG_UDP] = "udp", [ENG_UNIX] = "unix"};
    const char *colon = strchr(word, ':');
    const char *text = colon ? colon + 1 : "";
    size_t len = colon ? (size_t)(colon - word) : 0;
    struct eng_filter f = {.text = text};
    bool ok = false;

    for (unsigned i = 0; !colon && i < ENG_PROTOS; i++) {
        if (strcasecmp(word, protos[i]) == 0) {
            f.kind = ENG_FILTER_PROTO;
            f.number = i;
            ok = true;
        }
    }
    if (colon && len == 0) {
        f.kind = ENG_FILTER_PORT;
        ok = parse_port(text, &f.number);
    } else if (len == 3 && strncmp(word, "pid", 3) == 0) {
        f.kind = ENG_FILTER_PID;
        ok = parse_number(text, INT32_MAX, &f.number);
    } else if (len == 4 && strncmp(word, "proc", 4) == 0) {
        f.kind = ENG_FILTER_PROCESS;
        ok = *text != '\0';
    } else if (len == 4 && strncmp(word, "user", 4) == 0) {
        f.kind = ENG_FILTER_USER;
        ok = *text != '\0';
    } else if (len == 5 && strncmp(word, "state", 5) == 0) {
        f.kind = ENG_FILTER_STATE;
        f.text = state_of(text);
        ok = f.text != NULL;
    }
    if (ok)
        *out = f;
    return ok;
}

static bool
has_process(const struct eng_sockets *all, const struct eng_socket *s, const struct eng_filter *f)
{
    for (size_t i = 0; i < s->holders; i++) {
        const struct eng_holder *h = &all->holders.list[s->holder + i];
        const struct eng_process *p = &all->holders.processes[h->process];

        if (f->kind == ENG_FILTER_PID ? (unsigned)p->pid == f->number
                                      : strcasestr(p->name, f->text) != NULL)
            return true;
    }
    return false;
}

static bool
is_match(const struct eng_sockets *all, const struct eng_socket *s, const struct eng_filter *f)
{
    switch (f->kind) {
    case ENG_FILTER_PROTO:
        return s->proto == (enum eng_proto)f->number;
    case ENG_FILTER_PORT:
        return s->local_port == (int)f->number || s->peer_port == (int)f->number;
    case ENG_FILTER_STATE:
        return strcmp(s->state, f->text) == 0;
    case ENG_FILTER_PROCESS:
    case ENG_FILTER_PID:
        return has_process(all, s, f);
    case ENG_FILTER_USER:
        return strcmp(s->user, f->text) == 0;
    }
    return false;
}

static unsigned
kinds_of(const struct eng_filter *filters, size_t n)
{
    unsigned kinds = 0;

    for (size_t i = 0; i < n; i++)
        kinds |= 1u << filters[i].kind;
    return kinds;
}

static void
filter(struct eng_sockets *all, const struct eng_filter *filters, size_t n, bool time_wait)
{
    const unsigned kinds = kinds_of(filters, n);
    size_t kept = 0;

    for (size_t i = 0; i < all->count; i++) {
        const struct eng_socket *s = &all->list[i];
        unsigned held = 0;

        for (size_t k = 0; k < n; k++) {
            if (is_match(all, s, &filters[k]))
                held |= 1u << filters[k].kind;
        }
        if (held != kinds)
            continue;
        if (!time_wait && strcmp(s->state, "time-wait") == 0)
            all->left_out++;
        else
            all->list[kept++] = *s;
    }
    all->count = kept;
}

/* ---- owners ---- */

static void
name_user(struct eng_socket *s, const struct eng_socket *known)
{
    const struct passwd *user;

    if (s->uid == (uid_t)-1)
        return;
    if (known && known->uid == s->uid) { /* one look-up for a row of sockets of one user */
        memcpy(s->user, known->user, sizeof s->user);
        return;
    }
    user = getpwuid(s->uid);
    if (user)
        snprintf(s->user, sizeof s->user, "%s", user->pw_name);
    else
        snprintf(s->user, sizeof s->user, "%lu", (unsigned long)s->uid);
}

static void
find_owners(struct eng_sockets *all)
{
    const struct eng_socket *known = NULL;

    for (size_t i = 0; i < all->count; i++) {
        struct eng_socket *s = &all->list[i];
        const struct eng_holder *h = NULL;
        size_t count = 0;

        if (s->inode)
            h = eng_holders_find(&all->holders, s->inode, &count);
        if (h) {
            const struct eng_process *p = &all->holders.processes[h->process];

            s->holder = (uint32_t)(h - all->holders.list);
            s->holders = (uint32_t)count;
            s->pid = p->pid;
            memcpy(s->process, p->name, sizeof s->process);
            if (s->uid == (uid_t)-1)
                s->uid = p->uid;
        }
        name_user(s, known);
        if (s->uid != (uid_t)-1)
            known = s;
    }
}

bool
eng_socket_is_hidden(const struct eng_socket *s)
{
    return s->inode != 0 && s->holders == 0;
}

/* ---- unix peers: the kernel tells an inode, people want a name ---- */

static int
compare_inodes(const void *a, const void *b)
{
    const struct eng_socket *x = a;
    const struct eng_socket *y = b;

    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void
name_peers(struct eng_sockets *all)
{
    struct eng_socket key = {0};

    if (all->count == 0)
        return;
    qsort(all->list, all->count, sizeof *all->list, compare_inodes);
    for (size_t i = 0; i < all->count; i++) {
        struct eng_socket *s = &all->list[i];
        const struct eng_socket *peer;

        if (!s->peer_inode)
            continue;
        key.inode = s->peer_inode;
        peer = bsearch(&key, all->list, all->count, sizeof key, compare_inodes);
        if (peer)
            memcpy(s->peer, peer->local, sizeof s->peer);
    }
}

/* ---- order ---- */

static int
less(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* By protocol, listeners first, by port, address, peer; the rest makes the order total. */
int
eng_socket_compare(const void *a, const void *b)
{
    const struct eng_socket *x = a;
    const struct eng_socket *y = b;
    int order = less(x->proto, y->proto);

    if (!order)
        order = less(strcmp(x->state, "listen") != 0, strcmp(y->state, "listen") != 0);
    if (!order)
        order = less(x->local[0] == '\0', y->local[0] == '\0');
    if (!order)
        order = less((uint64_t)x->local_port + 1, (uint64_t)y->local_port + 1); /* none: first */
    if (!order)
        order = strcmp(x->local, y->local);
    if (!order)
        order = strcmp(x->peer, y->peer);
    if (!order)
        order = less(x->inode, y->inode);
    if (!order)
        order = strcmp(x->state, y->state);
    return order ? order : less((uint64_t)x->pid, (uint64_t)y->pid);
}

/* ---- all of it ---- */

struct eng_socket *
eng_sockets_add(struct eng_sockets *out)
{
    struct eng_socket *s;

    if (out->count >= ENG_SOCKETS_MAX) {
        out->cut = true;
        return NULL;
    }
    s = (struct eng_socket *)(void *)eng_bytes_space(out->bytes, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    out->bytes->len += sizeof *s;
    out->list = (struct eng_socket *)(void *)out->bytes->data;
    out->count++;
    return s;
}

static bool
wants(const struct eng_filter *filters, size_t n, enum eng_proto proto)
{
    bool any = true;

    for (size_t i = 0; i < n; i++) {
        if (filters[i].kind != ENG_FILTER_PROTO)
            continue;
        if (filters[i].number == proto)
            return true;
        any = false;
    }
    return any;
}

static outlet_err
fail(struct outlet_reason *why, outlet_err code, int sys_errno)
{
    why->code = code;
    why->sys_errno = sys_errno;
    snprintf(why->text, sizeof why->text, "%s",
             code == OUTLET_ENOMEM ? outlet_strerror(code) : strerror(sys_errno));
    return code;
}

outlet_err
eng_sockets_read(struct eng_sockets *out, const struct eng_filter *filters, size_t n,
                 bool time_wait, struct outlet_reason *why)
{
    bool asked = time_wait || kinds_of(filters, n) & 1u << ENG_FILTER_STATE;

    memset(out, 0, sizeof *out);
    out->bytes = eng_alloc(sizeof *out->bytes);
    if (!out->bytes)
        return fail(why, OUTLET_ENOMEM, 0);
    for (int proto = 0; proto < ENG_PROTOS; proto++) {
        int error = wants(filters, n, (enum eng_proto)proto)
                        ? eng_diag_read(out, (enum eng_proto)proto)
                        : 0;

        if (error == ENOENT) {
            out->missing |= 1u << proto;
        } else if (error) {
            eng_sockets_free(out);
            return fail(why, OUTLET_ESYS, error);
        }
    }
    /* After the kernel's table: a socket that was opened in between has no row to be missed from.
     */
    if (out->bytes->failed || !eng_holders_read(&out->holders, 0)) {
        eng_sockets_free(out);
        return fail(why, OUTLET_ENOMEM, 0);
    }
    name_peers(out);
    find_owners(out);
    filter(out, filters, n, asked);
    if (out->count)
        qsort(out->list, out->count, sizeof *out->list, eng_socket_compare);
    return OUTLET_OK;
}

void
eng_sockets_free(struct eng_sockets *s)
{
    if (s->bytes)
        eng_bytes_free(s->bytes);
    eng_free(s->bytes);
    eng_holders_free(&s->holders);
    memset(s, 0, sizeof *s);
}

/* ---- for programs ---- */

static void
add_text(struct eng_bytes *out, const char *key, const char *text)
{
    eng_bytes_printf(out, ",\"%s\":", key);
    eng_json_string(out, text, strlen(text));
}

/* null is what could not be found out; "" is what is not there. */
static void
add_known(struct eng_bytes *out, const char *key, const char *text)
{
    if (text[0])
        add_text(out, key, text);
    else
        eng_bytes_printf(out, ",\"%s\":null", key);
}

void
eng_socket_json(struct eng_bytes *out, const struct eng_socket *s, const char *change)
{
    eng_bytes_text(out, "{\"v\":1,\"event\":\"socket\"");
    if (change)
        add_text(out, "change", change);
    add_text(out, "proto", s->kind);
    add_text(out, "local", s->local);
    add_text(out, "peer", s->peer);
    add_text(out, "state", s->state);
    eng_bytes_printf(out, ",\"queue_in\":%" PRIu32 ",\"queue_out\":%" PRIu32, s->queue_in,
                     s->queue_out);
    if (s->pid)
        eng_bytes_printf(out, ",\"pid\":%ld", (long)s->pid);
    else
        eng_bytes_text(out, ",\"pid\":null");
    add_known(out, "process", s->process);
    add_known(out, "user", s->user);
    if (s->holders > 1)
        eng_bytes_printf(out, ",\"holders\":%" PRIu32, s->holders);
    eng_bytes_text(out, "}\n");
}
