/*
 * sockets.h - the sockets of this machine and the processes that hold them.
 *
 * The kernel's table comes from netlink (sockets_mnl.c), who holds a socket from /proc (procs.c),
 * and the two meet by the inode.  A newcomer's mistake: to take a socket without a process for one
 * without an owner.  A process of another user cannot be looked into without rights, and a
 * connection in time-wait belongs to the kernel alone (inode 0).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_SOCKETS_H
#define ENG_SOCKETS_H

#include <outlet/outlet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct eng_bytes;

/* ---- who holds which socket (procs.c) ---- */

struct eng_process {
    pid_t pid;
    uid_t uid;
    char name[32]; /* as the kernel knows it, 15 bytes */
};

struct eng_holder {
    uint64_t inode;
    uint32_t process; /* index */
};

struct eng_holders {
    struct eng_bytes *bytes; /* of both lists below */
    struct eng_process *processes;
    size_t process_count;
    struct eng_holder *list; /* by inode, then pid; no pair twice */
    size_t count;
    size_t denied; /* processes that could not be looked into */
};

/* `only`: this inode, and the first process that has it; 0: all.  False: no memory. */
bool eng_holders_read(struct eng_holders *out, uint64_t only);
/* The first holder of an inode, *count of them; NULL: nobody is known. */
const struct eng_holder *eng_holders_find(const struct eng_holders *h, uint64_t inode,
                                          size_t *count);
void eng_holders_free(struct eng_holders *h);

/* ---- the table (sockets.c) ---- */

enum eng_proto { ENG_TCP, ENG_UDP, ENG_UNIX, ENG_PROTOS };

enum { ENG_SOCKET_TEXT = 112, ENG_SOCKETS_MAX = 1 << 18 };

struct eng_socket {
    enum eng_proto proto;
    const char *kind;  /* tcp udp unix unix-dgram unix-seqpacket */
    const char *state; /* listen established ... */
    uint64_t inode;    /* 0: no process has it any more */
    uint64_t peer_inode;
    uint32_t queue_in;  /* bytes to be read; of a listener: clients that wait */
    uint32_t queue_out; /* bytes not yet taken by the peer; of a listener: how many may wait */
    int local_port;     /* -1: none */
    int peer_port;
    char local[ENG_SOCKET_TEXT]; /* 127.0.0.1:80 [::1]:80 /path @abstract; "": none */
    char peer[ENG_SOCKET_TEXT];
    uid_t uid; /* (uid_t)-1: unknown */
    char user[33];
    pid_t pid; /* the oldest holder; 0: unknown */
    char process[32];
    uint32_t holder; /* index of the first, of `holders` */
    uint32_t holders;
};

struct eng_sockets {
    struct eng_bytes *bytes;
    struct eng_socket *list;
    size_t count;
    size_t left_out;  /* in time-wait, for which nobody asked */
    bool cut;         /* there are more than ENG_SOCKETS_MAX */
    unsigned missing; /* a bit per proto that this kernel does not tell about */
    struct eng_holders holders;
};

extern const bool eng_sockets_built; /* false: outlet was built without libmnl */

/* One condition.  Those of a kind are alternatives; of each kind that is given one must hold. */
enum eng_filter_kind {
    ENG_FILTER_PROTO,
    ENG_FILTER_PORT,
    ENG_FILTER_STATE,
    ENG_FILTER_PROCESS,
    ENG_FILTER_PID,
    ENG_FILTER_USER
};

struct eng_filter {
    enum eng_filter_kind kind;
    unsigned number;  /* PROTO PORT PID */
    const char *text; /* STATE: of eng_socket_states; PROCESS USER: into the word */
};

/* tcp udp unix  :9000 :ssh  state:listen  proc:redis  pid:12  user:root */
bool eng_filter_parse(const char *word, struct eng_filter *out);
extern const char *const eng_socket_states[]; /* ends with NULL */

/* Read what the filters let through, in order; OUTLET_OK or what failed with *why filled.  What is
 * in time-wait is only counted, unless it is asked for so or by a filter for states. */
outlet_err eng_sockets_read(struct eng_sockets *out, const struct eng_filter *filters, size_t n,
                            bool time_wait, struct outlet_reason *why);
bool eng_socket_is_hidden(const struct eng_socket *s); /* somebody has it and we may not see who */
int eng_socket_compare(const void *a, const void *b);
void eng_socket_json(struct eng_bytes *out, const struct eng_socket *s, const char *change);
void eng_sockets_free(struct eng_sockets *s);

/* ---- the kernel's answers (sockets_mnl.c, or sockets_none.c) ---- */

/* Append what the kernel knows of one protocol.  0, ENOENT: it does not tell, or another errno. */
int eng_diag_read(struct eng_sockets *out, enum eng_proto proto);
/* One netlink message of `len` bytes.  False: it is not what was asked for, nothing was added. */
bool eng_diag_message(struct eng_sockets *out, enum eng_proto proto, int family,
                      const void *message, size_t len);
struct eng_socket *eng_sockets_add(struct eng_sockets *out); /* zeroed; NULL: full, or no memory */

#endif
