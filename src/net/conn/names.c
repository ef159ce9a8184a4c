/*
 * names.c - connections by name, one table per loop under the loop's lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

enum { NAME_MAX_LEN = 255 };

struct name {
    struct ol_map_node node;
    uint64_t id;
    size_t len;
    char text[];
};

static bool
same_name(const struct ol_map_node *node, const void *key, size_t len)
{
    const struct name *n = OL_CONTAINER((void *)(uintptr_t)node, struct name, node);

    return n->len == len && memcmp(n->text, key, len) == 0;
}

static struct name *
find(struct ol_net_loop *nl, const char *text, size_t len)
{
    struct ol_map_node *node = ol_map_find(&nl->names, text, len, same_name);

    return node ? OL_CONTAINER(node, struct name, node) : NULL;
}

/* Under the lock. */
static void
forget(struct outlet_loop *l, struct ol_extra *extra)
{
    struct ol_net_loop *nl = l->net;

    if (!extra->name)
        return;
    ol_map_remove(&nl->names, &extra->name->node);
    ol_free(&l->heap, extra->name);
    extra->name = NULL;
}

static outlet_err
set(struct outlet_loop *l, struct ol_conn *c, struct ol_extra *extra, const char *text, size_t len)
{
    struct ol_net_loop *nl = l->net;
    struct name *other = find(nl, text, len);
    struct name *n;
    outlet_err err;

    if (other)
        return other->id == c->id ? OUTLET_OK : OUTLET_EEXIST;
    n = ol_alloc(&l->heap, sizeof *n + len + 1);
    if (!n)
        return OUTLET_ENOMEM;
    *n = (struct name){.id = c->id, .len = len};
    memcpy(n->text, text, len + 1);
    err = ol_map_insert(&nl->names, &n->node, text, len);
    if (err) {
        ol_free(&l->heap, n);
        return err;
    }
    forget(l, extra);
    extra->name = n;
    return OUTLET_OK;
}

outlet_err
outlet_set_name(outlet_conn h, const char *text)
{
    size_t len = text ? strnlen(text, NAME_MAX_LEN + 1) : 0;
    struct ol_visit v;
    struct ol_extra *extra;
    struct outlet_loop *l;
    outlet_err err = OUTLET_OK;

    if (text && (len == 0 || len > NAME_MAX_LEN))
        return OUTLET_EINVAL;
    if (!ol_visit_begin(h, &v))
        return OUTLET_ESTALE;
    l = v.reactor->loop;
    extra = ol_conn_extra(v.conn);
    pthread_mutex_lock(&l->lock);
    /* Not CLOSED yet, after the extra part was made: ol_name_forget() is still to come and finds
     * it. */
    if (atomic_load(&v.conn->state) == CONN_CLOSED)
        err = OUTLET_ESTATE;
    else if (!extra)
        err = OUTLET_ENOMEM;
    else if (text)
        err = set(l, v.conn, extra, text, len);
    else
        forget(l, extra);
    pthread_mutex_unlock(&l->lock);
    ol_visit_end(&v);
    return err;
}

void
ol_name_forget(struct ol_conn *c)
{
    struct outlet_loop *l = c->cold->reactor->loop;
    struct ol_extra *extra = atomic_load(&c->cold->extra);

    if (!extra)
        return;
    pthread_mutex_lock(&l->lock);
    forget(l, extra);
    pthread_mutex_unlock(&l->lock);
}

outlet_conn
outlet_by_name(outlet_loop *l, const char *text)
{
    outlet_conn h = {0};
    struct name *n;

    if (!text || l->fork_count != ol_fork_count() ||
        !atomic_load_explicit(&l->hooks, memory_order_acquire))
        return h;
    pthread_mutex_lock(&l->lock);
    n = find(l->net, text, strnlen(text, NAME_MAX_LEN + 1));
    if (n)
        h.id = n->id;
    pthread_mutex_unlock(&l->lock);
    return h;
}

size_t
ol_name_print(struct ol_conn *c, char *text, size_t room)
{
    struct outlet_loop *l = c->cold->reactor->loop;
    struct ol_extra *extra = atomic_load(&c->cold->extra);
    size_t len = 0;

    if (room)
        text[0] = 0;
    if (!extra)
        return 0;
    pthread_mutex_lock(&l->lock);
    if (extra->name) {
        len = extra->name->len;
        if (room) {
            size_t part = ol_min(len, room - 1);

            memcpy(text, extra->name->text, part);
            text[part] = 0;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return len;
}
