/*
 * ours.h - what the servers on outlet share: a loop on the driver that was asked for, or none, and
 * the line that tells the runner that it may begin.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_OURS_H
#define BENCH_OURS_H

#include <outlet/outlet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* OUTLET_DRIVER is a wish, and outlet falls back to what works.  A figure must not. */
static inline outlet_loop *
ours_loop(int threads, int busy_us)
{
    struct outlet_loop_opts opts = OUTLET_LOOP_OPTS;
    const char *driver = getenv("OUTLET_DRIVER");
    outlet_loop *loop;

    opts.threads = threads;
    opts.busy_poll_us = busy_us;
    if (outlet_loop_new(&loop, &opts)) {
        fprintf(stderr, "no loop\n");
        exit(1);
    }
    if (driver && strcmp(driver, outlet_loop_driver(loop)) != 0) {
        fprintf(stderr, "the driver %s does not work here\n", driver);
        exit(77);
    }
    return loop;
}

static inline void
ours_listen(outlet_loop *loop, const char *url, const struct outlet_handlers *on)
{
    struct outlet_reason why = OUTLET_REASON;
    struct outlet_opts opts = OUTLET_OPTS;
    outlet_listener listener;
    const char *port;
    char local[200] = "";

    opts.on = on;
    opts.why = &why;
    if (outlet_listen(loop, url, &opts, &listener)) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    outlet_listener_info(listener, "local", local, sizeof local);
    port = strncmp(url, "unix", 4) == 0 ? NULL : strrchr(local, ':');
    printf("ready %s\n", port ? port + 1 : "0");
    fflush(stdout);
}

#endif
