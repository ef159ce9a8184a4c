/*
 * hint.h - what is seldom run is kept out of the way of what always is.
 *
 * A core that slept guesses its branches anew, so the way of a message should be a straight one.
 * docs/internals/speed.md says what was counted and what that bought.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HINT_H
#define OL_HINT_H

/* Failures: small instead of fast, and a branch that leads there counts as not taken. */
#define OL_SELDOM __attribute__((cold))
/* As fast as any, but not in the middle of its caller. */
#define OL_APART __attribute__((noinline))

/* In the middle of its caller.  The calls of the kernel fill the core's return stack, so after a
 * system call each return that was pending then is guessed wrong. */
#define OL_INSIDE inline __attribute__((always_inline))

/* On the way of a single message only, and in OL_ASSERT: the likely side is laid out so that no
 * jump is taken. */
#define OL_LIKELY(x) __builtin_expect(!!(x), 1)
#define OL_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
