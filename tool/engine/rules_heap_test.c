/*
 * rules_heap_test.c - rules where memory is refused: each request in turn, read and matched.
 *
 * The linker gives us what the engine's objects ask the C library for (meson.build: --wrap), so
 * that regular expressions are among it.  A newcomer's mistake: to take a refusal for a mistake of
 * the file.  Without memory nothing is wrong with it, and whoever reads must be told so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);

/* The linker wants to see them from the shared library, too, which does not use them. */
#pragma GCC visibility push(default)
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
#pragma GCC visibility pop

static struct {
    uint64_t requests;
    uint64_t fail_at; /* 0: none is refused */
    bool failed;
    int64_t live;
} heap;

static bool
is_refused(void)
{
    bool refused = ++heap.requests == heap.fail_at;

    heap.failed |= refused;
    return refused;
}

static void *
counted(void *p)
{
    heap.live += p != NULL;
    return p;
}

void *
__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : counted(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return is_refused() ? NULL : counted(__real_calloc(n, size));
}

void *
__wrap_realloc(void *p, size_t size)
{
    void *moved = is_refused() ? NULL : __real_realloc(p, size);

    if (!p)
        counted(moved);
    return moved;
}

void
__wrap_free(void *p)
{
    heap.live -= p != NULL;
    __real_free(p);
}

static int
load_some(const char *path, size_t most, struct eng_bytes *out)
{
    (void)path;
    (void)most;
    return eng_bytes_add(out, "some", 4) ? 0 : ENOMEM;
}

static const char text[] = "[texts]\n"
                           "is = 没有\n"
                           "starts = a\n"
                           "drop = on\n"
                           "[bytes]\n"
                           "hex = ff * 01\n"
                           "field = u16be@0 == 0x0102, u8@-1 > 1\n"
                           "reply-hex = 01 02\n"
                           "append = crc16/modbus\n"
                           "[there]\n"
                           "contains = 你好吗\n"
                           "forward = tcp://localhost:9\n"
                           "[file]\n"
                           "is = file\n"
                           "reply-file = some\n"
                           "append = xor8\n"
                           "eol = lf\n"
                           "[found]\n"
                           "regex = ^(.)((.)*)$\n"
                           "template = on\n"
                           "reply = {{match 2}}好{{match 1}} {{seq}}\n"
                           "delay = 1s\n";

static const struct {
    const char *message;
    const char *rule;
    const char *answer; /* NULL: it is not made anew */
} asked[] = {
    {"file", "file", NULL},
    {"\xc4\xe3\xba\xc3", "found", "\xba\xc3\xba\xc3\xc4\xe3 1"},
    {"abc", "found",
     "bc\xba\xc3"
     "a 1"},
};

/* Of whom is told that he gave up: without memory the expression may. */
static void
note_gave_up(void *user, const struct eng_rule_acts *acts)
{
    (void)acts;
    *(bool *)user = true;
}

/* Nothing else than what is right, or nothing. */
static void
ask(struct eng_rules *rules, size_t i, bool *all)
{
    uint64_t chance = 1;
    struct eng_context x = {.peer = "", .chance = &chance};
    struct eng_bytes out = {0};
    bool gave_up = false;
    struct eng_rule_acts *acts = eng_rules_match(rules, false, (const uint8_t *)asked[i].message,
                                                 strlen(asked[i].message), note_gave_up, &gave_up);

    if (!acts) {
        assert_true(heap.failed && gave_up);
        *all = false;
        return;
    }
    assert_string_equal(acts->name, asked[i].rule);
    if (!acts->template)
        return;
    x.match = acts->match;
    if (eng_template_render(acts->template, &x, &out)) {
        assert_int_equal(out.len, strlen(asked[i].answer));
        assert_memory_equal(out.data, asked[i].answer, out.len);
    } else {
        assert_true(heap.failed);
        *all = false;
    }
    eng_bytes_free(&out);
}

/* True: with this request refused, all was done. */
static bool
try(uint64_t fail_at)
{
    struct eng_rules_opts opts = {.charset = "GBK", .load = load_some};
    struct eng_rules_mistake m;
    struct eng_rules *rules;
    bool all = true;

    memset(&heap, 0, sizeof heap);
    heap.fail_at = fail_at;
    rules = eng_rules_parse(text, sizeof text - 1, &opts, &m);
    if (m.mistake.wrong)
        fail_msg("request %llu: wrong %d at %d:%zu", (unsigned long long)fail_at, m.mistake.wrong,
                 m.line, m.column);
    assert_true(rules || heap.failed);
    for (size_t i = 0; rules && i < sizeof asked / sizeof asked[0]; i++)
        ask(rules, i, &all);
    eng_rules_free(rules);
    assert_int_equal(heap.live, 0);
    return rules && all;
}

static void
each_request_is_refused_in_turn(void **state)
{
    uint64_t n = 0;

    (void)state;
    assert_true(try(0));
    do {
        (void)try(++n);
    } while (heap.failed);
    heap.fail_at = 0; /* what runs at exit, gcov for one, asks here, too */
    assert_in_range(n, 50, 5000); /* the regular expressions are among them */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_request_is_refused_in_turn)};

    return cmocka_run_group_tests_name("rules_heap", tests, NULL, NULL);
}
