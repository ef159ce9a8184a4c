/*
 * print.c - an endpoint as the one text that stands for it, and that parses back to it.
 *
 * None of the schemes built carries a user or a secret, so there is none to hide: the parser
 * refused it, and the endpoint has no field to keep it in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "addr.h"
#include "lookup.h"
#include "option.h"
#include "rules.h"
#include "scheme.h"
#include "text.h"

static void
print_host(const struct ol_endpoint *e, struct ol_text *t)
{
    char name[OL_ZONE_NAME_ROOM];

    if (e->any_host) {
        ol_text_add(t, "*");
    } else if (e->loopback) {
        ol_text_add(t, "localhost");
    } else if (e->has_literal && e->addr.kind == OL_ADDR_V6) {
        ol_text_add(t, "[");
        ol_text_add(t, e->host);
        if (e->zone != 0) { /* %25: a bare %251 would read back as zone 1 */
            ol_text_add(t, "%25");
            if (ol_lookup_zone_name(e->zone, name))
                ol_text_add(t, name);
            else
                ol_text_add_number(t, e->zone);
        }
        ol_text_add(t, "]");
    } else {
        ol_text_add(t, e->host);
    }
}

static void
print_unix(const struct ol_addr *a, struct ol_text *t)
{
    bool absolute = a->kind == OL_ADDR_PATH && a->path[0] == '/';
    bool at_sign = a->kind == OL_ADDR_PATH && a->path[0] == '@';

    ol_text_add(t, absolute ? "//" : a->kind == OL_ADDR_ABSTRACT ? "@" : "");
    ol_text_add_escaped(t, a->path, a->path_len, at_sign ? "%?#@" : "%?#");
}

static void
print_given(const struct ol_endpoint *e, struct ol_text *t)
{
    if (e->fd >= 0) {
        ol_text_add_number(t, e->fd);
        return;
    }
    ol_text_add(t, "systemd");
    if (e->host[0] != '\0') {
        ol_text_add(t, "/");
        ol_text_add_escaped(t, e->host, strlen(e->host), "%?#/");
    }
}

static void
print_place(const struct ol_endpoint *e, uint16_t port, struct ol_text *t)
{
    switch (e->scheme) {
    case OL_SCHEME_TCP:
    case OL_SCHEME_UDP:
        ol_text_add(t, "//");
        print_host(e, t);
        ol_text_add(t, ":");
        ol_text_add_number(t, port ? port : e->port);
        break;
    case OL_SCHEME_UNIX:
    case OL_SCHEME_PACKET:
    case OL_SCHEME_LOCAL:
        print_unix(&e->addr, t);
        break;
    case OL_SCHEME_PAIR:
        ol_text_add_escaped(t, e->addr.path, e->addr.path_len, "%?#/");
        break;
    case OL_SCHEME_FD:
        print_given(e, t);
        break;
    }
}

static void
print_key(const struct ol_option *o, const char **join, struct ol_text *t)
{
    ol_text_add(t, *join);
    ol_text_add(t, o->key);
    ol_text_add(t, "=");
    *join = ",";
}

static void
print_list(const struct ol_endpoint *e, enum ol_option_id id, const char **join, struct ol_text *t)
{
    struct ol_rule_walk w;
    struct ol_rule r;

    ol_rule_walk_init(&w, e, id);
    while (ol_rule_walk_next(&w, &r)) {
        print_key(&ol_options[id], join, t);
        ol_rule_print(&r, t);
    }
}

static void
print_number(const struct ol_endpoint *e, const struct ol_option *o, const char **join,
             struct ol_text *t)
{
    int64_t value;

    memcpy(&value, (const char *)&e->opts + o->offset, sizeof value);
    if (value == ol_option_fallback(o, e->carrier, e->role))
        return;
    print_key(o, join, t);
    ol_option_print(o, value, t);
}

static void
print_text(const struct ol_endpoint *e, const struct ol_option *o, const char **join,
           struct ol_text *t)
{
    const char *text;

    memcpy(&text, (const char *)&e->opts + o->offset, sizeof text);
    if (!text)
        return;
    print_key(o, join, t);
    ol_text_add_escaped(t, text, strlen(text), "%,&#@");
}

static void
print_options(const struct ol_endpoint *e, struct ol_text *t)
{
    const char *join = "#";

    for (size_t i = 0; i < OL_OPTIONS; i++) {
        const struct ol_option *o = &ol_options[i];

        if (o->type == OL_OPTION_LIST) {
            print_list(e, (enum ol_option_id)i, &join, t);
        } else if (o->type == OL_OPTION_TEXT) {
            print_text(e, o, &join, t);
        } else if (o->type != OL_OPTION_FRAME) {
            print_number(e, o, &join, t);
        } else if (strcmp(e->frame, "none") != 0) {
            print_key(o, &join, t);
            ol_text_add(t, e->frame);
        }
    }
}

size_t
ol_endpoint_print(const struct ol_endpoint *e, uint16_t port, char *text, size_t room)
{
    struct ol_text t;

    ol_text_init(&t, text, room);
    ol_text_add(&t, ol_scheme_name(e->scheme));
    ol_text_add(&t, ":");
    print_place(e, port, &t);
    print_options(e, &t);
    return t.len;
}
