/*
 * group.c - named sets of connections, and one send to all of them.
 *
 * Each reactor keeps its own members.  A publish is one mail per reactor with a shared buffer;
 * there the message is framed once per framing and queued by reference or, when it is short, by
 * copy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net/conn/conn.h"
#include "outlet/group.h"

enum { GROUP_NAME_MAX = 255 };

/* Members of one group on one reactor.  Gone with its last member. */
struct group {
    struct ol_map_node node;
    struct ol_list members; /* of struct member, by in_group */
    size_t len;
    char name[];
};

/* The tie between a connection and a group. */
struct member {
    struct ol_tie tie;
    struct ol_list in_group;
    struct group *group;
    struct ol_conn *conn;
};

/* One reactor's groups. */
struct groups {
    struct ol_map map;
};

/* Members of one name on all reactors, for outlet_group_count(); under the loop's lock. */
struct count {
    struct ol_map_node node;
    int64_t members;
    size_t len;
    char name[];
};

/* ---- counted for everyone ---------------------------------------------------------------- */

static bool
same_count(const struct ol_map_node *node, const void *key, size_t len)
{
    const struct count *n = OL_CONTAINER((void *)(uintptr_t)node, struct count, node);

    return n->len == len && memcmp(n->name, key, len) == 0;
}

static struct count *
find_count(struct outlet_loop *l, const char *name, size_t len)
{
    struct ol_net_loop *nl = l->net;
    struct ol_map_node *node = ol_map_find(&nl->group_counts, name, len, same_count);

    return node ? OL_CONTAINER(node, struct count, node) : NULL;
}

static bool
count_in(struct outlet_loop *l, const char *name, size_t len)
{
    struct ol_net_loop *nl = l->net;
    struct count *n;

    pthread_mutex_lock(&l->lock);
    n = find_count(l, name, len);
    if (!n) {
        n = ol_alloc_zero(&l->heap, sizeof *n + len);
        if (n) {
            n->len = len;
            memcpy(n->name, name, len);
            if (ol_map_insert(&nl->group_counts, &n->node, n->name, len)) {
                ol_free(&l->heap, n);
                n = NULL;
            }
        }
    }
    if (n)
        n->members++;
    pthread_mutex_unlock(&l->lock);
    return n != NULL;
}

static void
count_out(struct outlet_loop *l, const char *name, size_t len)
{
    struct ol_net_loop *nl = l->net;
    struct count *n;

    pthread_mutex_lock(&l->lock);
    n = find_count(l, name, len);
    OL_ASSERT(n && n->members > 0);
    if (--n->members == 0) {
        ol_map_remove(&nl->group_counts, &n->node);
        ol_free(&l->heap, n);
    }
    pthread_mutex_unlock(&l->lock);
}

/* ---- groups of a reactor ----------------------------------------------------------------- */

static void
free_groups(struct ol_net *n)
{
    struct groups *g = n->groups;

    OL_ASSERT(g->map.count == 0); /* the last connection has left the last group */
    ol_map_fini(&g->map);
    ol_free(n->reactor->heap, g);
    n->groups = NULL;
}

static struct groups *
groups_of(struct ol_net *n)
{
    struct groups *g = n->groups;

    if (g)
        return g;
    g = ol_alloc_zero(n->reactor->heap, sizeof *g);
    if (!g)
        return NULL;
    ol_map_init(&g->map, n->reactor->heap, n->reactor->loop->hash_key);
    n->groups = g;
    n->groups_free = free_groups;
    return g;
}

static bool
same_group(const struct ol_map_node *node, const void *key, size_t len)
{
    const struct group *g = OL_CONTAINER((void *)(uintptr_t)node, struct group, node);

    return g->len == len && memcmp(g->name, key, len) == 0;
}

static struct group *
find(struct ol_net *n, const char *name, size_t len)
{
    struct groups *g = n->groups;
    struct ol_map_node *node = g ? ol_map_find(&g->map, name, len, same_group) : NULL;

    return node ? OL_CONTAINER(node, struct group, node) : NULL;
}

static struct group *
find_or_make(struct ol_net *n, const char *name, size_t len)
{
    struct group *g = find(n, name, len);
    struct groups *all;

    if (g)
        return g;
    all = groups_of(n);
    if (!all)
        return NULL;
    g = ol_alloc_zero(n->reactor->heap, sizeof *g + len);
    if (!g)
        return NULL;
    ol_list_init(&g->members);
    g->len = len;
    memcpy(g->name, name, len);
    if (ol_map_insert(&all->map, &g->node, g->name, len)) {
        ol_free(n->reactor->heap, g);
        return NULL;
    }
    return g;
}

static void
forget_if_empty(struct ol_net *n, struct group *g)
{
    struct groups *all = n->groups;

    if (!ol_list_empty(&g->members))
        return;
    ol_map_remove(&all->map, &g->node);
    ol_free(n->reactor->heap, g);
}

/* ---- members ----------------------------------------------------------------------------- */

static void
part(struct ol_conn *c, struct ol_tie *t)
{
    struct member *m = OL_CONTAINER(t, struct member, tie);
    struct ol_net *n = ol_net_of(c->cold->reactor);
    struct group *g = m->group;

    ol_list_remove(&t->node);
    ol_list_remove(&m->in_group);
    count_out(n->reactor->loop, g->name, g->len);
    ol_free(n->reactor->heap, m);
    forget_if_empty(n, g);
}

static struct member *
membership(struct ol_conn *c, const char *name, size_t len)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);

    if (!extra)
        return NULL;
    for (struct ol_list *at = extra->ties.next; at != &extra->ties; at = at->next) {
        struct ol_tie *t = OL_CONTAINER(at, struct ol_tie, node);
        struct member *m = OL_CONTAINER(t, struct member, tie);

        if (t->conn_gone == part && m->group->len == len && memcmp(m->group->name, name, len) == 0)
            return m;
    }
    return NULL;
}

static outlet_err
join(struct ol_conn *c, const char *name, size_t len)
{
    struct ol_net *n = ol_net_of(c->cold->reactor);
    struct ol_extra *extra = ol_conn_extra(c);
    struct group *g;
    struct member *m;

    if (ol_conn_state(c) > CONN_OPEN)
        return OUTLET_ESTATE;
    if (!extra)
        return OUTLET_ENOMEM;
    if (membership(c, name, len))
        return OUTLET_OK;
    m = ol_alloc_zero(n->reactor->heap, sizeof *m);
    if (!m)
        return OUTLET_ENOMEM;
    g = find_or_make(n, name, len);
    if (!g)
        goto free_member;
    if (!count_in(n->reactor->loop, name, len))
        goto forget_group;
    m->tie.conn_gone = part;
    m->group = g;
    m->conn = c;
    ol_list_insert(&g->members, &m->in_group);
    ol_list_insert(&extra->ties, &m->tie.node);
    return OUTLET_OK;

forget_group:
    forget_if_empty(n, g);
free_member:
    ol_free(n->reactor->heap, m);
    return OUTLET_ENOMEM;
}

static outlet_err
leave(struct ol_conn *c, const char *name, size_t len)
{
    struct member *m = membership(c, name, len);

    if (m)
        part(c, &m->tie);
    return OUTLET_OK;
}

static outlet_err
leave_all(struct ol_conn *c, const char *name, size_t len)
{
    struct ol_extra *extra = atomic_load(&c->cold->extra);

    (void)name;
    (void)len;
    if (!extra)
        return OUTLET_OK;
    for (struct ol_list *at = extra->ties.next; at != &extra->ties;) {
        struct ol_tie *t = OL_CONTAINER(at, struct ol_tie, node);

        at = at->next;
        if (t->conn_gone == part)
            part(c, t);
    }
    return OUTLET_OK;
}

/* ---- from any thread --------------------------------------------------------------------- */

typedef outlet_err order_fn(struct ol_conn *c, const char *name, size_t len);

struct group_mail {
    struct ol_conn_mail mail;
    order_fn *order;
    size_t len;
    char name[];
};

static void
run_order(struct ol_conn *c, struct ol_conn_mail *mail)
{
    struct group_mail *m = OL_CONTAINER(mail, struct group_mail, mail);

    if (m->order(c, m->name, m->len) == OUTLET_ENOMEM)
        ol_log(&c->cold->reactor->loop->log, OUTLET_LOG_ERROR,
               "no memory to put a connection into a group");
}

static outlet_err
order(outlet_conn h, order_fn *what, const char *name, size_t len)
{
    struct ol_visit v;
    struct group_mail *m;
    outlet_err err = OUTLET_OK;

    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    if (v.own) {
        err = what(v.conn, name, len);
    } else {
        m = ol_alloc(v.reactor->heap, sizeof *m + len);
        if (m) {
            *m = (struct group_mail){
                .mail = {.id = h.id, .run = run_order}, .order = what, .len = len};
            memcpy(m->name, name, len);
            ol_conn_post(v.reactor, &m->mail);
        } else {
            err = OUTLET_ENOMEM;
        }
    }
    ol_visit_end(&v);
    return err;
}

static size_t
name_len(const char *name)
{
    size_t len = name ? strnlen(name, GROUP_NAME_MAX + 1) : 0;

    return len <= GROUP_NAME_MAX ? len : 0;
}

outlet_err
outlet_join(outlet_conn h, const char *name)
{
    size_t len = name_len(name);

    return len ? order(h, join, name, len) : OUTLET_EINVAL;
}

outlet_err
outlet_leave(outlet_conn h, const char *name)
{
    size_t len = name_len(name);

    if (!name)
        return order(h, leave_all, "", 0);
    return len ? order(h, leave, name, len) : OUTLET_EINVAL;
}

int64_t
outlet_group_count(outlet_loop *l, const char *name)
{
    size_t len = name_len(name);
    struct count *n;
    int64_t members;

    if (!len)
        return OUTLET_EINVAL;
    if (!atomic_load_explicit(&l->hooks, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&l->lock);
    n = find_count(l, name, len);
    members = n ? n->members : 0;
    pthread_mutex_unlock(&l->lock);
    return members;
}

/* ---- publish ----------------------------------------------------------------------------- */

struct publish_mail {
    struct ol_mail mail;
    struct outlet_buf *buf;
    uint64_t except;
    size_t len;
    char name[];
};

/* The last framing that was used, and what the message looks like in it. */
struct encoded {
    const struct ol_settings *settings;
    struct outlet_buf *buf;
};

static bool
looks_the_same(const struct ol_settings *a, const struct ol_settings *b)
{
    return a == b || (a->filter == b->filter && ol_framing_same(&a->framing, &b->framing));
}

static struct outlet_buf *
encode_for(struct ol_conn *c, struct outlet_buf *plain, struct encoded *last)
{
    const struct ol_settings *s = ol_conn_settings(c);
    outlet_err err;

    if (last->settings && looks_the_same(last->settings, s))
        return last->buf;
    outlet_buf_unref(last->buf);
    last->settings = s;
    last->buf = ol_wrap_buf(s, plain, c->cold->reactor->share.budget, &err);
    return last->buf; /* NULL: this framing cannot carry it; its members miss it */
}

static void
publish_here(struct ol_reactor *r, const struct publish_mail *m)
{
    struct group *g = r->stopping ? NULL : find(ol_net_of(r), m->name, m->len);
    struct encoded last = {0};

    if (!g)
        return;
    for (struct ol_list *at = g->members.next; at != &g->members; at = at->next) {
        struct ol_conn *c = OL_CONTAINER(at, struct member, in_group)->conn;
        struct outlet_buf *buf;

        if (c->id == m->except)
            continue;
        buf = encode_for(c, m->buf, &last);
        if (!buf || ol_conn_send_wrapped(c, buf) < 0)
            ol_conn_count_missed(c);
    }
    outlet_buf_unref(last.buf);
}

static void
run_publish(struct ol_reactor *r, struct ol_mail *mail)
{
    struct publish_mail *m = OL_CONTAINER(mail, struct publish_mail, mail);

    publish_here(r, m);
    outlet_buf_unref(m->buf);
    ol_free(r->heap, m);
}

static struct publish_mail *
new_mail(struct outlet_loop *l, const char *name, size_t len, struct outlet_buf *b, uint64_t except)
{
    struct publish_mail *m = ol_alloc(&l->heap, sizeof *m + len);

    if (!m)
        return NULL;
    *m = (struct publish_mail){
        .mail.run = run_publish, .buf = outlet_buf_ref(b), .except = except, .len = len};
    memcpy(m->name, name, len);
    return m;
}

/* Posted to the own reactor, too: what a thread publishes arrives in the order it was published. */
outlet_err
outlet_publish(outlet_loop *l, const char *name, outlet_buf *b, outlet_conn except)
{
    size_t len = name_len(name);
    struct ol_mail *all = NULL;
    outlet_err err = len && b ? ol_loop_check(l) : OUTLET_EINVAL;

    if (err)
        return err;
    if (!atomic_load_explicit(&l->hooks, memory_order_acquire))
        return OUTLET_OK; /* no connection was ever made: nobody is in it */
    for (uint32_t i = 0; i < l->reactor_count; i++) {
        struct publish_mail *m = new_mail(l, name, len, b, except.id);

        if (!m) {
            err = OUTLET_ENOMEM;
            break;
        }
        m->mail.next = all;
        all = &m->mail;
    }
    for (uint32_t i = 0; all; i++) {
        struct publish_mail *m = OL_CONTAINER(all, struct publish_mail, mail);
        struct ol_reactor *r = l->reactors[i];
        uint32_t epoch;

        all = all->next;
        if (!err && ol_enter(r->cell, &epoch)) {
            ol_post(r, &m->mail);
            ol_leave(r->cell, epoch);
            continue;
        }
        outlet_buf_unref(m->buf);
        ol_free(&l->heap, m);
    }
    return err;
}
