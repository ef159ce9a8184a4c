/*
 * addr.h - addresses and endpoint URLs: parse, print, compare.  Pure: no socket, no file, no clock.
 *
 * This is the folder's one door.  A newcomer's mistake: percent-decoding a URL before splitting it.
 * Here the split comes first, so that %23 in a path is a '#', never the start of options.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_H
#define OL_ADDR_H

#include "base/base.h"
#include "outlet/opts.h"
#include "outlet/url.h"

enum ol_addr_kind {
    OL_ADDR_NONE, /* an unnamed unix socket, a pair */
    OL_ADDR_V4,
    OL_ADDR_V6,
    OL_ADDR_PATH,    /* unix, in the file system */
    OL_ADDR_ABSTRACT /* unix, Linux's abstract names */
};

enum {
    OL_PATH_MAX = 107,      /* sun_path less one */
    OL_ADDR_INET_SIZE = 24, /* the part before `path`: all of an internet address */
    OL_ADDR_TEXT = 328,     /* room for any address as text: 107 bytes as %XX, '@', NUL */
    OL_DEVICE_MAX = 15      /* IFNAMSIZ less one */
};

struct ol_addr {
    uint8_t kind;
    uint8_t path_len;
    uint16_t port;  /* host order */
    uint32_t zone;  /* v6 scope id; 0: none */
    uint8_t ip[16]; /* v4 in the first four */
    char path[OL_PATH_MAX + 1];
};
_Static_assert(offsetof(struct ol_addr, path) == OL_ADDR_INET_SIZE, "published by words");

bool ol_addr_same(const struct ol_addr *a, const struct ol_addr *b);
/* "127.0.0.1:80", "[fe80::1%3]:80", "/run/a.sock", "@name" (non-printing bytes as %XX), "" for
 * none. */
size_t ol_addr_print(const struct ol_addr *a, char *text, size_t room);
bool ol_addr_is_any(const struct ol_addr *a);       /* 0.0.0.0 or :: */
bool ol_addr_is_group(const struct ol_addr *a);     /* multicast */
bool ol_addr_is_broadcast(const struct ol_addr *a); /* 255.255.255.255; a subnet's cannot be told */

enum ol_scheme {
    OL_SCHEME_TCP,
    OL_SCHEME_UNIX,
    OL_SCHEME_UDP,
    OL_SCHEME_PAIR,
    OL_SCHEME_FD,
    OL_SCHEME_PACKET, /* unix-seqpacket */
    OL_SCHEME_LOCAL   /* unix-dgram */
};

enum {
    OL_URL_MAX = 65536,
    OL_HOST_MAX = 255,
    OL_ENDPOINT_ADDRS = 8,
    OL_OPTION_TEXT_MAX = 63, /* bytes of `device` and its like */
    OL_TEXT_OPTIONS = 4,     /* how many of them there are */
    OL_RULES_MAX = 1024,     /* of allow and deny together */
    OL_RULE_TEXT = 50,       /* "allow=", a prefix, a comma */
    OL_FDS_MAX = 64,         /* descriptors that travel with a message */
    OL_PACKET_MAX = 262144,  /* a message between unix sockets: Linux's own limit as it comes is
                               425,984 less some */
    OL_ENDPOINT_TEXT = 3072 + OL_RULES_MAX * OL_RULE_TEXT /* room for any endpoint as text */
};
_Static_assert(OL_ENDPOINT_TEXT <= OL_URL_MAX, "it is read again");

/*
 * A URL after parsing, with the options of the caller's struct merged in (the URL wins) and every
 * default filled in: no field of `opts` is 0 any more where 0 means a default, except handlers,
 * user, why, framing, and two that are settled where they are used: conns 0 is the descriptor limit
 * less 64, mode 0 is as umask says.  Off is OUTLET_OFF everywhere; `low` is never off.
 *
 * opts.frame points into `frame` below and the other texts into `texts`: after copying an endpoint,
 * ol_endpoint_moved().  The lists allow and deny are not copied: what is in opts was the caller's,
 * what stands in the URL is read there again (ol_rules_new).  Both must still be there when an
 * endpoint with lists is printed, too.
 */
struct ol_endpoint {
    enum ol_scheme scheme;
    enum ol_scheme carrier; /* the same; of fd: what the socket is, see ol_endpoint_carry() */
    enum outlet_role role;
    bool any_host;    /* "*": every interface, both families */
    bool loopback;    /* a port only, or "localhost": 127.0.0.1 and ::1, in both roles */
    bool has_literal; /* `addr` is complete; else resolve `host` */
    uint16_t port;
    uint32_t zone;              /* of a v6 literal */
    char host[OL_HOST_MAX + 1]; /* name in lower case, or the literal without brackets and zone;
                                   "" with any_host, loopback, unix, pair.
                                   fd:systemd/name: the name, "": all */
    int32_t fd;                 /* fd:3; -1: what the service manager passed */
    struct ol_addr addr;        /* literal address, unix path, or pair name in path */
    struct outlet_opts opts;
    char frame[256];       /* the framing text as written, not decoded; "none" */
    int32_t frame_at;      /* where its value stands in the URL; -1: not from the URL */
    const char *lists_url; /* the URL, when a list stands there; else NULL */
    char texts[OL_TEXT_OPTIONS][OL_OPTION_TEXT_MAX + 1]; /* in the order of their options */
    struct ol_addr local;  /* connect: to bind to before; OL_ADDR_NONE with a port: any address */
    struct ol_addr source; /* listen, at a group: of whom it is heard; OL_ADDR_NONE: everyone */
    uint32_t interface;    /* of groups and broadcasts; 0: the system chooses */
    bool many;             /* connect, udp: to a group or by broadcast, so anybody may answer */
};

/*
 * Parse `url` for `role`, merging `opts` (NULL: none; opts->size says which fields exist).
 * OUTLET_EINVAL or OUTLET_ENOTSUP with *why (may be NULL) filled: position, key, sentence.
 * *out is written on success only.  The framing text is not looked into here: byte `bad_at` of it
 * stands at frame_at + bad_at in the URL.
 */
outlet_err ol_endpoint_parse(const char *url, enum outlet_role role, const struct outlet_opts *opts,
                             struct ol_endpoint *out, struct outlet_reason *why);

/* It was copied: its options shall point into itself. */
void ol_endpoint_moved(struct ol_endpoint *e);

/* Once it is known what the socket of an fd: endpoint is: the options as that kind of socket
 * honours them, with its defaults.  `url` and `opts` are those that *e was parsed from.  Errors as
 * above. */
outlet_err ol_endpoint_carry(const char *url, const struct outlet_opts *opts,
                             enum ol_scheme carrier, struct ol_endpoint *e,
                             struct outlet_reason *why);

/* The canonical text, the secret as "***", with `port` in place of the URL's (0: keep it). */
size_t ol_endpoint_print(const struct ol_endpoint *e, uint16_t port, char *text, size_t room);

/* An address literal ("1.2.3.4", "fe80::1%eth0" by zone number or interface name) without a port.
 */
bool ol_addr_parse(const char *text, size_t len, struct ol_addr *out);
uint32_t ol_addr_zone(const char *text); /* an interface by number or name; 0: neither */
/* "1.2.3.4", "1.2.3.4:5", "fe80::1%eth0", "[::1]:5", ":5" (OL_ADDR_NONE with a port). */
bool ol_addr_parse_local(const char *text, struct ol_addr *out);

/*
 * Who may come in, of allow and deny: the most specific prefix that holds an address decides, of
 * two equal ones deny.  What none holds may come in unless there is an allow.  A v4-mapped address
 * is the IPv4 one.  *out NULL: there are no lists.
 */
struct ol_rules;
outlet_err ol_rules_new(const ol_heap *heap, const struct ol_endpoint *e, struct ol_rules **out);
void ol_rules_free(const ol_heap *heap, struct ol_rules *rules);
bool ol_rules_admit(const struct ol_rules *rules, const struct ol_addr *who);

const char *ol_scheme_name(enum ol_scheme s);
bool ol_scheme_is_unix(enum ol_scheme s); /* it has a path or an abstract name */
bool ol_scheme_is_dgram(enum ol_scheme s);

/* Edits (a neighbouring swap is one) between what was typed and a word of ours. */
size_t ol_edits(const char *typed, size_t len, const char *word);
/* Close enough to ask "did you mean"? */
bool ol_is_near(size_t edits, size_t len);

#endif
