/*
 * hash_test.c - SipHash-1-3 against known values, and the map against a plain array.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"
#include "failing_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/*
 * Key 00 01 .. 0f, message 00 01 .. of n bytes; the n-th value.  Made with a SipHash-c-d that
 * reproduces the paper's SipHash-2-4 example and, with 1 and 3, CPython's hash of bytes.
 */
static const uint64_t vectors[] = {
    0xabac0158050fc4dc, 0xc9f49bf37d57ca93, 0x82cb9b024dc7d44d, 0x8bf80ab8e7ddf7fb,
    0xcf75576088d38328, 0xdef9d52f49533b67, 0xc50d2b50c59f22a7, 0xd3927d989bb11140,
    0x369095118d299a8e, 0x25a48eb36c063de4, 0x79de85ee92ff097f, 0x70c118c1f94dc352,
    0x78a384b157b4d9a2, 0x306f760c1229ffa7, 0x605aa111c0f95d34, 0xd320d86d2a519956,
    0xcc4fdd1a7d908b66, 0x9cf2689063dbd80c, 0x8ffc389cb473e63e, 0xf21f9de58d297d1c,
    0xc0dc2f46a6cce040, 0xb992abfe2b45f844, 0x7ffe7b9ba320872e, 0x525a0e7fdae6c123,
    0xf464aeb267349c8c, 0x45cd5928705b0979, 0x3a3e35e3ca9913a5, 0xa91dc74e4ade3b35,
    0xfb0bed02ef6cd00d, 0x88d93cb44ab1e1f4, 0x540f11d643c5e663, 0x2370dd1f8c21d1bc,
    0x81157b6c16a7b60d, 0x4d54b9e57a8ff9bf, 0x759f12781f2a753e, 0xcea1a3bebf186b91,
    0x2cf508d3ada26206, 0xb6101c2da3c33057, 0xb3f47496ae3a36a1, 0x626b57547b108392,
    0xc1d2363299e41531, 0x667cc1923f1ad944, 0x65704ffec8138825, 0x24f280d1c28949a6,
    0xc2ca1cedfaf8876b, 0xc2164bfc9f042196, 0xa16e9c9368b1d623, 0x49fb169c8b5114fd,
    0x9f3143f8df074c46, 0xc6fdaf2412cc86b3, 0x7eaf49d10a52098f, 0x1cf313559d292f9a,
    0xc44a30dda2f41f12, 0x36fae98943a71ed0, 0x318fb34c73f0bce6, 0xa27abf3670a7e980,
    0xb4bcc0db243c6d75, 0x23f8d852fdb71513, 0x8f035f4da67d8a08, 0xd89cd0e5b7e8f148,
    0xf6f4e6bcf7a644ee, 0xaec59ad80f1837f2, 0xc3b2f6154b6694e0, 0x9d199062b7bbb3a8,
};

static const struct ol_hash_key counting_key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

static void
it_is_siphash_1_3(void **state)
{
    uint8_t message[OL_COUNT(vectors) + 8];

    (void)state;
    for (size_t shift = 0; shift < 8; shift++) { /* alignment does not matter */
        for (size_t i = 0; i < OL_COUNT(vectors); i++) {
            message[shift + i] = (uint8_t)i;
        }
        for (size_t n = 0; n < OL_COUNT(vectors); n++) {
            if (ol_hash(&counting_key, message + shift, n) != vectors[n])
                fail_msg("%zu bytes at %zu", n, shift);
        }
    }
    assert_int_equal(ol_hash(&counting_key, NULL, 0), vectors[0]);
}

static void
another_key_gives_another_hash(void **state)
{
    const struct ol_hash_key one = {counting_key.k0 ^ 1, counting_key.k1};
    const struct ol_hash_key two = {counting_key.k0, counting_key.k1 ^ 1};

    (void)state;
    assert_int_not_equal(ol_hash(&one, "x", 1), ol_hash(&counting_key, "x", 1));
    assert_int_not_equal(ol_hash(&two, "x", 1), ol_hash(&counting_key, "x", 1));
    assert_int_not_equal(ol_hash(&one, "x", 1), ol_hash(&two, "x", 1));
}

enum { KEYS = 500 };

struct entry {
    struct ol_map_node node;
    uint32_t key;
    bool in;
    int visits;
};

static bool
same_key(const struct ol_map_node *n, const void *key, size_t len)
{
    const struct entry *e = OL_CONTAINER(n, const struct entry, node);

    return len == sizeof e->key && memcmp(&e->key, key, len) == 0;
}

static struct entry *
find(const struct ol_map *m, uint32_t key)
{
    struct ol_map_node *n = ol_map_find(m, &key, sizeof key, same_key);

    return n ? OL_CONTAINER(n, struct entry, node) : NULL;
}

static void
visit(struct ol_map_node *n, void *arg)
{
    (void)arg;
    OL_CONTAINER(n, struct entry, node)->visits++;
}

/* Everything the model says is in the map is found there and visited once, and nothing else. */
static void
compare(struct ol_map *m, struct entry *entries, size_t count)
{
    size_t in = 0;

    for (size_t i = 0; i < count; i++) {
        entries[i].visits = 0;
    }
    ol_map_each(m, visit, NULL);
    for (size_t i = 0; i < count; i++) {
        struct entry *want = entries[i].in ? &entries[i] : NULL;

        assert_ptr_equal(find(m, entries[i].key), want);
        assert_int_equal(entries[i].visits, entries[i].in);
        in += entries[i].in;
    }
    assert_int_equal(m->count, in);
}

static void
random_work_gives_what_an_array_gives(void **state)
{
    static struct entry entries[KEYS];
    struct failing_heap f;
    struct ol_map m;
    struct ol_rng rng;

    (void)state;
    failing_heap_init(&f, 0);
    ol_rng_seed(&rng, 3);
    ol_map_init(&m, &f.heap, counting_key);
    for (uint32_t i = 0; i < KEYS; i++) {
        entries[i].key = i * 7919;
    }
    for (int i = 0; i < 40000; i++) {
        /* The set swells and shrinks, so that the table grows and is given up many times. */
        bool swelling = i / 2000 % 2 == 0;
        struct entry *e = &entries[ol_rng_below(&rng, KEYS)];

        if (e->in && (!swelling || ol_rng_below(&rng, 4) == 0)) {
            ol_map_remove(&m, &e->node);
            e->in = false;
        } else if (!e->in && (swelling || ol_rng_below(&rng, 16) == 0)) {
            assert_int_equal(ol_map_insert(&m, &e->node, &e->key, sizeof e->key), OUTLET_OK);
            e->in = true;
        }
        assert_true(m.count <= m.bucket_count); /* there is memory: chains stay short */
        if (i % 500 == 0)
            compare(&m, entries, KEYS);
    }
    compare(&m, entries, KEYS);
    ol_map_fini(&m);
    assert_int_equal(failing_heap_live(&f), 0);
}

static void
an_empty_map_owns_nothing(void **state)
{
    struct failing_heap f;
    struct ol_map m;
    struct entry e = {.key = 1};

    (void)state;
    failing_heap_init(&f, 0);
    ol_map_init(&m, &f.heap, counting_key);
    assert_null(find(&m, 1));
    ol_map_each(&m, visit, NULL);
    assert_int_equal(ol_map_insert(&m, &e.node, &e.key, sizeof e.key), OUTLET_OK);
    assert_ptr_equal(find(&m, 1), &e);
    assert_null(find(&m, 2));
    ol_map_remove(&m, &e.node);
    assert_null(m.buckets);
    assert_int_equal(failing_heap_live(&f), 0);
    ol_map_fini(&m);
}

static void
without_memory_only_the_first_insert_fails(void **state)
{
    static struct entry entries[KEYS];
    struct failing_heap f;
    struct ol_map m;

    (void)state;
    memset(entries, 0, sizeof entries);
    failing_heap_init(&f, 1);
    ol_map_init(&m, &f.heap, counting_key);
    for (uint32_t i = 0; i < KEYS; i++) {
        entries[i].key = i;
    }
    assert_int_equal(ol_map_insert(&m, &entries[0].node, &entries[0].key, 4), OUTLET_ENOMEM);
    compare(&m, entries, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        if (i == 1)
            failing_heap_exhaust(&f);
        assert_int_equal(ol_map_insert(&m, &entries[i].node, &entries[i].key, 4), OUTLET_OK);
        entries[i].in = true;
    }
    compare(&m, entries, KEYS); /* slow, but all there */
    failing_heap_reset(&f, 0);
    ol_map_fini(&m);
    assert_int_equal(failing_heap_live(&f), 0);
}

struct picky {
    struct ol_map_node node;
    int number;
};

/* The key's bytes are one pointer, the same for all; what it points at tells them apart. */
static bool
same_number(const struct ol_map_node *n, const void *key, size_t len)
{
    const int *number;

    (void)len;
    memcpy(&number, key, sizeof number);
    return OL_CONTAINER(n, const struct picky, node)->number == *number;
}

static void
equal_hashes_are_told_apart_by_same(void **state)
{
    struct picky nodes[20];
    int number = 0;
    const int *key = &number;
    struct ol_map m;

    (void)state;
    ol_map_init(&m, &ol_heap_system, counting_key);
    for (int i = 0; i < 20; i++) {
        nodes[i].number = i;
        assert_int_equal(ol_map_insert(&m, &nodes[i].node, &key, sizeof key), OUTLET_OK);
        assert_int_equal(nodes[i].node.hash, nodes[0].node.hash);
    }
    ol_map_remove(&m, &nodes[7].node);
    ol_map_remove(&m, &nodes[0].node);
    ol_map_remove(&m, &nodes[19].node);
    for (number = 0; number < 20; number++) {
        bool in = number != 0 && number != 7 && number != 19;

        assert_ptr_equal(ol_map_find(&m, &key, sizeof key, same_number),
                         in ? &nodes[number].node : NULL);
    }
    ol_map_fini(&m);
}

static void
remove_visited(struct ol_map_node *n, void *arg)
{
    struct entry *e = OL_CONTAINER(n, struct entry, node);

    ol_map_remove(arg, n);
    e->visits++;
    memset(n, 0xff, sizeof *n); /* as freed as it gets */
}

static void
each_may_remove_what_it_was_given(void **state)
{
    static struct entry entries[KEYS];
    struct failing_heap f;
    struct ol_map m;

    (void)state;
    memset(entries, 0, sizeof entries);
    failing_heap_init(&f, 0);
    ol_map_init(&m, &f.heap, counting_key);
    for (uint32_t i = 0; i < KEYS; i++) {
        entries[i].key = i;
        assert_int_equal(ol_map_insert(&m, &entries[i].node, &entries[i].key, 4), OUTLET_OK);
    }
    ol_map_each(&m, remove_visited, &m);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_int_equal(entries[i].visits, 1);
    }
    assert_int_equal(m.count, 0);
    assert_int_equal(failing_heap_live(&f), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_siphash_1_3),
        cmocka_unit_test(another_key_gives_another_hash),
        cmocka_unit_test(random_work_gives_what_an_array_gives),
        cmocka_unit_test(an_empty_map_owns_nothing),
        cmocka_unit_test(without_memory_only_the_first_insert_fails),
        cmocka_unit_test(equal_hashes_are_told_apart_by_same),
        cmocka_unit_test(each_may_remove_what_it_was_given),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
