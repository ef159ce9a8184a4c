/*
 * msg.c - the public functions of a message.
 *
 * SPDX-License-Identifier: MIT
 */
#include "msg.h"

uint8_t *
outlet_msg_data(outlet_msg *m, size_t *len)
{
    if (len)
        *len = m->len;
    return m->bytes;
}

uint32_t
outlet_msg_flags(const outlet_msg *m)
{
    return m->flags;
}

size_t
outlet_msg_peer(const outlet_msg *m, char *text, size_t room)
{
    if (m->from)
        return ol_addr_print(m->from, text, text ? room : 0);
    return ol_conn_print_addr(m->conn, OL_OF_PEER, text, text ? room : 0);
}

/* Bytes that a connection held and a buffer took over. */
struct taken {
    struct ol_budget *budget;
    uint8_t *data;
    size_t room;
};

static void
free_taken(void *bytes, void *arg)
{
    struct taken *t = arg;
    struct ol_budget *budget = t->budget;

    (void)bytes;
    ol_free(&budget->heap, t->data);
    ol_budget_release(budget, t->room);
    ol_free(&budget->heap, t);
    ol_budget_unref(budget);
}

/*
 * The memory moves from the reactor's share to the loop's budget, because the buffer may be freed
 * on any thread.
 */
static struct outlet_buf *
take_input(struct outlet_msg *m)
{
    struct ol_bytes *held = &m->input->bytes;
    struct ol_budget *budget = held->share->budget;
    struct taken *t = ol_alloc(&budget->heap, sizeof *t);
    struct outlet_buf *b;

    if (!t)
        return NULL;
    if (!ol_budget_charge(budget, held->room))
        goto free_record;
    b = ol_buf_blank(budget, 0);
    if (!b)
        goto release;
    *t = (struct taken){ol_budget_ref(budget), held->data, held->room};
    b->bytes = m->bytes;
    b->len = m->len;
    b->release = free_taken;
    b->arg = t;
    ol_share_release(held->share, held->room);
    m->input->given_away = true;
    return b;

release:
    ol_budget_release(budget, held->room);
free_record:
    ol_free(&budget->heap, t);
    return NULL;
}

static bool
fills_a_quarter(const struct outlet_msg *m)
{
    if (m->input)
        return m->len >= m->input->bytes.room / 4;
    return m->lent->block && m->len >= m->lent->block->size / 4;
}

outlet_buf *
outlet_msg_retain(outlet_msg *m)
{
    struct ol_budget *budget = m->conn->cold->reactor->share.budget;
    struct outlet_buf *b;

    if (m->kept)
        return outlet_buf_ref(m->kept);
    if (!fills_a_quarter(m))
        return ol_buf_copy(budget, m->bytes, m->len);
    if (!m->input)
        return ol_buf_view(budget, m->lent->block, m->bytes, m->len);
    b = take_input(m);
    /* The message itself keeps one reference until the callback has returned: its bytes are lent
     * until then, also if the caller drops the buffer at once. */
    m->kept = b;
    return b ? outlet_buf_ref(b) : NULL;
}
