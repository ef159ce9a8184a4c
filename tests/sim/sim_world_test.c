/*
 * sim_world_test.c - thousands of whole-system runs in the simulated network.
 *
 *     test_sim_world                              every profile, its share of the seeds
 *     test_sim_world --profile resets --seed 12   one run again; -v tells its story
 *     test_sim_world --runs 100000 [--profile P]  more of them; so does OUTLET_TEST_RUNS
 *
 * SPDX-License-Identifier: MIT
 */
#include "sim_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { RUNS = 2600, SEED_FIRST = 1 };

/* What is running, for the handlers below: the library may abort in the middle of it. */
static struct {
    const char *program;
    const char *profile;
    uint64_t seed;
    uint64_t runs;
    uint64_t first;
    bool verbose;
    struct run run;
} now;

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void
say_how_to_replay(void)
{
    fprintf(stderr, "replay: %s --profile %s --seed %llu -v\n", now.program, now.profile,
            (unsigned long long)now.seed);
}

static void
killed(int sig)
{
    say_how_to_replay(); /* not safe in a handler, but the process is lost anyway */
    signal(sig, SIG_DFL);
    raise(sig);
}

static bool
run_seed(const struct profile *p, uint64_t seed)
{
    now.profile = p->name;
    now.seed = seed;
    alarm(60);
    if (run_once(&now.run, p, seed, now.verbose))
        return true;
    fprintf(stderr, "%s, seed %llu: %s\n", p->name, (unsigned long long)seed, now.run.complaint);
    say_how_to_replay();
    return false;
}

static void
nothing_is_lost_stuck_or_told_twice(void **state)
{
    const struct profile *p = *state;
    unsigned weights = 0;
    uint64_t runs;
    uint64_t turns = 0;
    uint64_t messages = 0;

    for (size_t i = 0; i < profile_count; i++) {
        weights += profiles[i].weight;
    }
    runs = now.runs * p->weight / weights;
    for (uint64_t i = 0; i < runs; i++) {
        if (!run_seed(p, now.first + i))
            fail_msg("failed after %llu seeds", (unsigned long long)i + 1);
        turns += now.run.turns;
        messages += (uint64_t)now.run.messages;
    }
    print_message("%s: %llu runs, %llu turns, %llu messages\n", p->name, (unsigned long long)runs,
                  (unsigned long long)turns, (unsigned long long)messages);
    assert_true(messages > 0 || runs < 10);
}

static void
the_same_seed_is_the_same_run(void **state)
{
    (void)state;
    for (size_t i = 0; i < profile_count; i++) {
        uint64_t turns;
        int messages;

        assert_true(run_seed(&profiles[i], 77));
        turns = now.run.turns;
        messages = now.run.messages;
        assert_true(run_seed(&profiles[i], 77));
        assert_int_equal(turns, now.run.turns);
        assert_int_equal(messages, now.run.messages);
    }
}

static int
run_all(const struct profile *only)
{
    struct CMUnitTest tests[32];
    size_t n = 0;

    for (size_t i = 0; i < profile_count; i++) {
        if (only && only != &profiles[i])
            continue;
        tests[n++] = (struct CMUnitTest){.name = profiles[i].name,
                                         .test_func = nothing_is_lost_stuck_or_told_twice,
                                         .initial_state = (void *)(uintptr_t)&profiles[i]};
    }
    if (!only)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_same_seed_is_the_same_run);
    return _cmocka_run_group_tests("sim_world", tests, n, NULL, NULL);
}

static int
usage(void)
{
    fprintf(stderr, "usage: %s [--profile NAME] [--seed N] [--runs N] [--from N] [-v]\nprofiles:",
            now.program);
    for (size_t i = 0; i < profile_count; i++) {
        fprintf(stderr, " %s", profiles[i].name);
    }
    fputc('\n', stderr);
    return 2;
}

int
main(int argc, char **argv)
{
    const char *more = getenv("OUTLET_TEST_RUNS");
    const struct profile *p = NULL;
    bool one = false;
    uint64_t seed = 0;

    now.program = argv[0];
    now.runs = more ? strtoull(more, NULL, 10) : RUNS;
    now.first = SEED_FIRST;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "-v") == 0) {
            now.verbose = true;
            continue;
        }
        if (!value)
            return usage();
        if (strcmp(argv[i], "--profile") == 0) {
            p = profile_named(value);
            if (!p)
                return usage();
        } else if (strcmp(argv[i], "--seed") == 0) {
            one = true;
            seed = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--runs") == 0) {
            now.runs = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--from") == 0) {
            now.first = strtoull(value, NULL, 10);
        } else {
            return usage();
        }
        i++;
    }
    signal(SIGABRT, killed);
    signal(SIGTERM, killed);
    signal(SIGALRM, killed);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_how_to_replay);
    else
        signal(SIGSEGV, killed);
    if (one)
        return run_seed(p ? p : &profiles[0], seed) ? 0 : 1;
    return run_all(p);
}
