/*
 * hint.h - what is seldom run is kept out of the way of what always is.
 *
 * A core that slept has lost what it had cached, so a turn with one message pays for each line of
 * code that it runs through, and for each branch that it guesses wrongly.  docs/internals/speed.md
 * has the figures.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HINT_H
#define OL_HINT_H

/* Failures: small instead of fast, and a branch that leads there counts as not taken. */
#define OL_SELDOM __attribute__((cold))
/* As fast as any, but not in the middle of its caller. */
#define OL_APART __attribute__((noinline))

#endif
