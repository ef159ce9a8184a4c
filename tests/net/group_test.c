/*
 * group_test.c - named sets of connections: who is in, what they get and in which order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>

struct room {
    struct net n;
    struct server s[3];
    struct end e[6];
};

static const char *const frames[] = {"line", "len:4be", "none"};

/* Two members of each framing; ends of the listeners are r->s[f].ends[0..1]. */
static void
open_room(struct room *r)
{
    memset(r, 0, sizeof *r);
    net_open(&r->n, NULL);
    for (int f = 0; f < 3; f++) {
        net_listen(&r->n, &r->s[f], NULL, "tcp://127.0.0.1:0#frame=%s", frames[f]);
        for (int i = 0; i < 2; i++) {
            net_connect(&r->n, &r->e[2 * f + i], NULL, "%s#frame=%s", r->s[f].at, frames[f]);
            UNTIL(&r->n, r->s[f].count == i + 1 && r->s[f].ends[i].opens && r->e[2 * f + i].opens);
        }
    }
}

static outlet_conn
member(struct room *r, int i)
{
    return r->s[i / 2].ends[i % 2].c;
}

static void
close_room(struct room *r)
{
    for (int i = 0; i < 6; i++) {
        net_end_fini(&r->e[i]);
        net_server_fini(&r->s[i / 2]);
    }
    net_close(&r->n);
}

static void
publish(struct room *r, const char *group, const char *text, outlet_conn except)
{
    outlet_buf *b = outlet_buf_copy(text, strlen(text));

    assert_non_null(b);
    assert_int_equal(outlet_publish(r->n.loop, group, b, except), OUTLET_OK);
    outlet_buf_unref(b);
}

static void
everyone_in_a_group_gets_it_in_their_own_framing(void **state)
{
    struct room r;
    uint8_t *large = malloc(300000);
    outlet_buf *b;

    (void)state;
    assert_non_null(large);
    net_pattern(large, 300000, 3);
    for (size_t i = 0; i < 300000; i++) {
        large[i] = large[i] == '\n' || large[i] == '\r' ? 'x' : large[i];
    }
    open_room(&r);
    assert_int_equal(outlet_group_count(r.n.loop, "all"), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(outlet_join(member(&r, i), "all"), OUTLET_OK);
        assert_int_equal(outlet_join(member(&r, i), "all"), OUTLET_OK);
        assert_int_equal(outlet_join(member(&r, i), i % 2 ? "odd" : "even"), OUTLET_OK);
    }
    UNTIL(&r.n, outlet_group_count(r.n.loop, "all") == 6);
    assert_int_equal(outlet_group_count(r.n.loop, "odd"), 3);
    publish(&r, "all", "one", (outlet_conn){0});
    publish(&r, "odd", "two", (outlet_conn){0});
    publish(&r, "all", "three", member(&r, 3));
    publish(&r, "nobody", "four", (outlet_conn){0});
    for (int i = 0; i < 6; i++) {
        const char *want = i == 3 ? "onetwo" : i % 2 ? "onetwothree" : "onethree";

        UNTIL(&r.n, r.e[i].len == strlen(want));
        assert_memory_equal(r.e[i].bytes, want, strlen(want));
        if (i < 4)
            assert_int_equal(r.e[i].messages, i == 3 ? 2 : i % 2 ? 3 : 2);
        r.e[i].len = 0;
    }
    b = outlet_buf_copy(large, 300000);
    assert_int_equal(outlet_publish(r.n.loop, "all", b, (outlet_conn){0}), OUTLET_OK);
    outlet_buf_unref(b);
    for (int i = 0; i < 6; i++) {
        UNTIL(&r.n, r.e[i].len == 300000);
        assert_memory_equal(r.e[i].bytes, large, 300000);
    }
    free(large);
    close_room(&r);
}

static void
leaving_and_closing_leave(void **state)
{
    struct room r;

    (void)state;
    open_room(&r);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(outlet_join(member(&r, i), "all"), OUTLET_OK);
        assert_int_equal(outlet_join(member(&r, i), "more"), OUTLET_OK);
    }
    UNTIL(&r.n, outlet_group_count(r.n.loop, "more") == 6);
    assert_int_equal(outlet_leave(member(&r, 0), "all"), OUTLET_OK);
    assert_int_equal(outlet_leave(member(&r, 0), "all"), OUTLET_OK);
    assert_int_equal(outlet_leave(member(&r, 1), NULL), OUTLET_OK);
    assert_int_equal(outlet_close(member(&r, 2)), OUTLET_OK);
    assert_int_equal(outlet_abort(member(&r, 3)), OUTLET_OK);
    UNTIL(&r.n, outlet_group_count(r.n.loop, "all") == 2 &&
                    outlet_group_count(r.n.loop, "more") == 3);
    publish(&r, "all", "x", (outlet_conn){0});
    publish(&r, "more", "y", (outlet_conn){0});
    UNTIL(&r.n, r.e[4].len == 2 && r.e[5].len == 2 && r.e[0].len == 1);
    assert_int_equal(r.e[1].len, 0);
    assert_int_equal(outlet_leave(member(&r, 0), NULL), OUTLET_OK);
    assert_int_equal(outlet_close(member(&r, 4)), OUTLET_OK);
    assert_int_equal(outlet_close(member(&r, 5)), OUTLET_OK);
    UNTIL(&r.n, outlet_group_count(r.n.loop, "more") == 0);
    assert_int_equal(outlet_group_count(r.n.loop, "all"), 0);
    close_room(&r);
}

/* What one thread publishes arrives in that order, between its own sends in the same place. */
static void
publish_and_send(struct end *e)
{
    for (int i = 0; i < 20; i++) {
        char text[8];
        outlet_buf *b;

        snprintf(text, sizeof text, "%02d", i);
        b = outlet_buf_copy(text, 2);
        e->result |= outlet_publish(e->net->loop, "all", b, (outlet_conn){0});
        outlet_buf_unref(b);
    }
}

static void
join_and_publish(struct end *e, outlet_msg *m)
{
    (void)m;
    e->result = outlet_join(e->c, "all");
    publish_and_send(e);
    e->result |= outlet_leave(e->c, "all") | outlet_join(e->c, "all");
}

static void
publishes_of_a_thread_keep_their_order(void **state)
{
    static const struct does does = {.on_message = join_and_publish};
    struct net n;
    struct server s = {.does = &does};
    struct end e = {0};

    (void)state;
    net_open(&n, NULL);
    net_listen(&n, &s, NULL, "tcp://127.0.0.1:0#frame=line");
    net_connect(&n, &e, NULL, "%s#frame=line", s.at);
    assert_true(outlet_send(e.c, "go", 2) > 0);
    UNTIL(&n, e.messages == 20);
    for (int i = 0; i < 20; i++) {
        char want[8];

        snprintf(want, sizeof want, "%02d", i);
        assert_memory_equal(e.bytes + 2 * i, want, 2);
    }
    assert_int_equal(s.ends[0].result, OUTLET_OK);
    net_end_fini(&e);
    net_server_fini(&s);
    net_close(&n);
}

static void
who_cannot_carry_it_misses_it(void **state)
{
    struct room r;

    (void)state;
    open_room(&r);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(outlet_join(member(&r, i), "all"), OUTLET_OK);
    }
    publish(&r, "all", "two\nlines", (outlet_conn){0});
    publish(&r, "all", "end", (outlet_conn){0});
    for (int i = 0; i < 6; i++) {
        UNTIL(&r.n, r.e[i].len == (i < 2 ? 3 : 12));
        assert_int_equal(net_number(member(&r, i), "dropped"), i < 2);
    }
    close_room(&r);
}

static void
group_names_have_one_to_255_bytes(void **state)
{
    char name[257];
    struct room r;
    outlet_buf *b = outlet_buf_copy("x", 1);

    (void)state;
    memset(name, 'n', sizeof name);
    name[256] = 0;
    open_room(&r);
    assert_int_equal(outlet_join(member(&r, 0), name), OUTLET_EINVAL);
    assert_int_equal(outlet_join(member(&r, 0), ""), OUTLET_EINVAL);
    assert_int_equal(outlet_join(member(&r, 0), NULL), OUTLET_EINVAL);
    assert_int_equal(outlet_leave(member(&r, 0), ""), OUTLET_EINVAL);
    assert_int_equal(outlet_group_count(r.n.loop, ""), OUTLET_EINVAL);
    assert_int_equal(outlet_publish(r.n.loop, NULL, b, (outlet_conn){0}), OUTLET_EINVAL);
    assert_int_equal(outlet_publish(r.n.loop, "x", NULL, (outlet_conn){0}), OUTLET_EINVAL);
    name[255] = 0;
    assert_int_equal(outlet_join(member(&r, 0), name), OUTLET_OK);
    UNTIL(&r.n, outlet_group_count(r.n.loop, name) == 1);
    outlet_buf_unref(b);
    close_room(&r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(everyone_in_a_group_gets_it_in_their_own_framing),
    cmocka_unit_test(leaving_and_closing_leave),
    cmocka_unit_test(publishes_of_a_thread_keep_their_order),
    cmocka_unit_test(who_cannot_carry_it_misses_it),
    cmocka_unit_test(group_names_have_one_to_255_bytes),
};

NET_MAIN(tests)
