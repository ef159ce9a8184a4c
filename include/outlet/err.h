/*
 * err.h - error codes, and the reason why a connection ended.
 *
 * A call answers 0 or a positive number for success and one of these negative codes for failure.
 * After a failure nothing was taken, nothing will call back for it, and no out-parameter was
 * written; opts->why is the one exception, it is there to be written.  The numbers never move.
 * There is no errno and no thread-local: what a code cannot say stands in a struct outlet_reason.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OUTLET_ERR_H
#define OUTLET_ERR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OUTLET_API __attribute__((visibility("default")))
#define OUTLET_MUST_USE __attribute__((warn_unused_result))

#define OUTLET_ERRORS(X)                                                       \
    X(OUTLET_OK, 0, "no error")                                                \
    X(OUTLET_EINVAL, -1, "an argument is wrong")                               \
    X(OUTLET_ENOMEM, -2, "out of memory, or memory_max was reached")           \
    X(OUTLET_ESTALE, -3, "this handle is no longer alive")                     \
    X(OUTLET_ESTATE, -4, "not possible in this state")                         \
    X(OUTLET_EAGAIN, -5, "not now, try again")                                 \
    X(OUTLET_ETIMEDOUT, -6, "a time limit ran out")                            \
    X(OUTLET_ECANCELED, -7, "ended by this program")                           \
    X(OUTLET_EFULL, -8, "the send queue is at its limit")                      \
    X(OUTLET_EMSGSIZE, -9, "the message is longer than the limit")             \
    X(OUTLET_EPROTO, -10, "the peer broke the protocol")                       \
    X(OUTLET_ERESOLVE, -11, "the name could not be resolved")                  \
    X(OUTLET_EREFUSED, -12, "nobody listens there")                            \
    X(OUTLET_EUNREACH, -13, "the peer cannot be reached")                      \
    X(OUTLET_ERESET, -14, "the peer broke the connection")                     \
    X(OUTLET_EEOF, -15, "the peer ended in the middle of a message")           \
    X(OUTLET_ETLS, -16, "tls failed")                                          \
    X(OUTLET_ECERT, -17, "the certificate was not accepted")                   \
    X(OUTLET_EPROXY, -18, "the proxy failed")                                  \
    X(OUTLET_EAUTH, -19, "not authorised")                                     \
    X(OUTLET_EDENIED, -20, "refused by the accept callback or an access list") \
    X(OUTLET_ELIMIT, -21, "a limit of this program was reached")               \
    X(OUTLET_EADDRINUSE, -22, "the address is in use")                         \
    X(OUTLET_EPERM, -23, "the system does not permit it")                      \
    X(OUTLET_ENOTSUP, -24, "not supported here")                               \
    X(OUTLET_EDEADLK, -25, "would wait for itself: not allowed in a callback") \
    X(OUTLET_ESYS, -26, "a system call failed")                                \
    X(OUTLET_ETHREAD, -27, "only allowed on the connection's own reactor")     \
    X(OUTLET_ENOFILE, -28, "no file descriptors left")                         \
    X(OUTLET_EADDR, -29, "this address does not exist here")                   \
    X(OUTLET_EEXIST, -30, "the name is taken")                                 \
    X(OUTLET_ENOENT, -31, "there is no such thing")

typedef enum outlet_err {
#define OUTLET_ERROR_ENUM(name, number, text) name = (number),
    OUTLET_ERRORS(OUTLET_ERROR_ENUM)
#undef OUTLET_ERROR_ENUM
} outlet_err;

/* Where a connection was when it ended. */
enum outlet_phase {
    OUTLET_AT_RESOLVE = 1,
    OUTLET_AT_CONNECT = 2,
    OUTLET_AT_PROXY = 3,
    OUTLET_AT_TLS = 4,
    OUTLET_AT_UPGRADE = 5,
    OUTLET_AT_OPEN = 6,
    OUTLET_AT_DRAIN = 7 /* after outlet_close() or after the peer's end */
};

/* Who ended it. */
enum outlet_side {
    OUTLET_BY_US = 1,
    OUTLET_BY_PEER = 2,
    OUTLET_BY_SYSTEM = 3 /* the network or this machine's kernel */
};

/*
 * Why a connection ended, or why a call that takes a URL failed.  code OUTLET_OK is an orderly end:
 * `side` says who began it.  The first cause is the one that is told: a reset that follows our own
 * abort is not the reason.
 */
/* clang-format off */
struct outlet_reason {
    size_t size;            /* sizeof(struct outlet_reason) of whoever made it */
    outlet_err code;
    enum outlet_phase phase; /* 0: not about a connection */
    enum outlet_side side;   /* 0: not about a connection */
    int32_t sys_errno;      /* errno of the failed system call; 0: none */
    int32_t protocol_code;  /* close code, status or alert of the protocol; 0: none */
    int32_t position;       /* byte in the URL, counted from 0; -1: not about a URL */
    char key[32];           /* the option key that is wrong; "": none */
    char text[160];         /* one sentence for people, never empty in a reason that was told */
};
#define OUTLET_REASON {.size = sizeof(struct outlet_reason), .position = -1}
/* clang-format on */

/**
 * The sentence of a code: "the address is in use".
 *
 * Memory  keeps nothing; the text is static and never NULL.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; an unknown code gives "unknown error".
 */
OUTLET_API const char *
outlet_strerror(int64_t code);

/**
 * The name of a code: "OUTLET_EADDRINUSE".
 *
 * Memory  keeps nothing; the text is static and never NULL.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; an unknown code gives "OUTLET_E?".
 */
OUTLET_API const char *
outlet_error_name(int64_t code);

/**
 * The name of a phase: "connect".
 *
 * Memory  keeps nothing; the text is static and never NULL.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; an unknown value gives "unknown".
 */
OUTLET_API const char *
outlet_phase_name(enum outlet_phase phase);

/**
 * The name of a side: "us", "peer" or "system".
 *
 * Memory  keeps nothing; the text is static and never NULL.
 * Thread  any.
 * Calls   nothing.
 * Errors  none; an unknown value gives "unknown".
 */
OUTLET_API const char *
outlet_side_name(enum outlet_side side);

/**
 * The version of the library that is running: "0.1.0".
 *
 * Memory  keeps nothing; the text is static.
 * Thread  any.
 * Calls   nothing.
 * Errors  none.
 */
OUTLET_API const char *
outlet_version(void);

#ifdef __cplusplus
}
#endif
#endif
