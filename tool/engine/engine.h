/*
 * engine.h - what the outlet command does, without a terminal: sessions, payloads, records, owners.
 *
 * This is the folder's one door; the command calls it today and a page can call it tomorrow, so
 * nothing here prints, exits or reads an option.  What happens is told through a sink.  A
 * newcomer's mistake: to end a session by stopping the loop.  eng_session_stop() closes what it
 * opened and says `ended` once, with the result; the loop belongs to the caller.
 *
 *     eng_session_start --> events to the sink --> eng_session_stop or the natural end --> ended
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_ENGINE_H
#define ENG_ENGINE_H

#include <outlet/outlet.h>

#include "charset.h"
#include "hist.h"
#include "load.h"
#include "mistake.h"
#include "payload.h"
#include "preset.h"
#include "record.h"
#include "rules.h"
#include "schedule.h"
#include "sockets.h"
#include "sum.h"
#include "template.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- bytes that grow (bytes.c): the only place of the tool that takes memory ---- */

/* All zero is empty.  `failed` stays set after memory ran out: check it once, at the end. */
struct eng_bytes {
    uint8_t *data;
    size_t len;
    size_t room;
    bool failed;
};

void *eng_alloc(size_t size); /* zeroed; NULL: no memory */
void eng_free(void *p);
uint8_t *eng_bytes_space(struct eng_bytes *b, size_t n); /* n writable bytes behind len, or NULL */
bool eng_bytes_add(struct eng_bytes *b, const void *bytes, size_t n);
bool eng_bytes_text(struct eng_bytes *b, const char *text);
bool eng_bytes_printf(struct eng_bytes *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void eng_bytes_cut(struct eng_bytes *b, size_t n); /* drop n bytes from the front */
void eng_bytes_free(struct eng_bytes *b);

/* ---- a file that fits into memory (file.c) ---- */

/* Append all that is left of it.  Answers 0 or an errno; EFBIG: it has more than `most` bytes, and
 * the first of them were appended. */
int eng_file_read(int fd, size_t most, struct eng_bytes *out);
int eng_file_load(const char *path, size_t most, struct eng_bytes *out);

/* ---- what people write, as bytes and numbers (payload.c) ---- */

/* Each answers true, or false with *bad_at at the offending byte of `text`.  Bytes are appended. */
bool eng_parse_hex(const char *text, struct eng_bytes *out, size_t *bad_at);
bool eng_parse_escape(const char *text, struct eng_bytes *out, size_t *bad_at);
bool eng_parse_duration(const char *text, int64_t *ms); /* "500ms" "5s" "1.5m" "1h", above 0 */
bool eng_parse_duration_or_none(const char *text, int64_t *ms); /* and "0", "0ms" */
bool eng_parse_count(const char *text, int64_t *count); /* above 0 */

/* ---- what rules did, by their names (rules_tally.c) ---- */

enum { ENG_TALLIES_MAX = 2 * ENG_RULES_MAX }; /* more are not told */

struct eng_tally {
    char name[ENG_PRESET_NAME_MAX + 1];
    struct eng_rule_counts counts;
};

/* All zero is empty.  bytes.failed: there was no memory for all. */
struct eng_tallies {
    struct eng_bytes bytes;
    size_t count;
};

/* `idle`: also those that never acted. */
void eng_tallies_add(struct eng_tallies *t, struct eng_rules *rules, bool idle);
void eng_tallies_join(struct eng_tallies *t, const struct eng_tallies *more);
const struct eng_tally *eng_tallies_at(const struct eng_tallies *t, size_t i);
void eng_tallies_free(struct eng_tallies *t);

/* ---- text for people and machines (text.c) ---- */

/* Length of the UTF-8 character at the front (1-4), 0 when the bytes are not UTF-8. */
size_t eng_utf8_next(const uint8_t *bytes, size_t len);
bool eng_utf8_valid(const uint8_t *bytes, size_t len);
void eng_text_hex(struct eng_bytes *out, const uint8_t *bytes, size_t len, const char *between);
/* Safe on a terminal: control characters and broken UTF-8 as \n, \t, \xHH. */
void eng_text_visible(struct eng_bytes *out, const uint8_t *bytes, size_t len);
/* Columns on a screen: Chinese characters are two wide, marks above a letter take none.  Needs a
 * UTF-8 LC_CTYPE of the process, else what is not ASCII counts as one. */
size_t eng_text_width(const char *text, size_t len);
/* "16 B", "1.2 KB", "3.4 MB" */
void eng_text_size(char *text, size_t room, uint64_t bytes);

/* ---- the parts of a canonical URL (url.c) ---- */

struct eng_url {
    char scheme[24];
    char host[256];
    char path[256]; /* of a unix address, decoded; '@' first: abstract */
    int port;       /* -1: none */
    bool stream;    /* bytes without borders of their own */
    bool framed;    /* a stream with frame= other than none */
    char frame[64]; /* "none" when there is none */
};

bool eng_url_split(const char *url, enum outlet_role role, struct eng_url *out);
/* The value of an option behind '#' (or '?'), copied to `value`. */
bool eng_url_option(const char *url, const char *key, char *value, size_t room);
/* Of an option that is a size: 64K is 65536.  `otherwise`: it is not there, or off. */
size_t eng_url_size(const char *url, const char *key, size_t otherwise);
void eng_url_masked(const char *url, char *text, size_t room); /* a secret as "***" */
bool eng_url_is_loopback(const struct eng_url *u);

/* ---- what an endpoint can carry (carry.c) ---- */

/* Can no message of these bytes go there?  Then *why is a sentence, which begins in the middle: it
 * stands behind what the message is.  False: it can, as far as is known here. */
bool eng_carry_refuses(const struct eng_url *u, const char *url, const void *bytes, size_t len,
                       char *why, size_t room);

/* ---- who owns a socket (owner.c) ---- */

struct eng_owner {
    pid_t pid;     /* 0: hidden from this user */
    uid_t uid;     /* of the socket, when pid is 0 */
    char name[64]; /* "" when pid is 0 */
};

/* Who listens at the address of `u` (tcp, udp, unix)?  False: nobody was found. */
bool eng_owner_find(const struct eng_url *u, struct eng_owner *out);
/* unix, unix-dgram or unix-seqpacket: what the socket at a path is; NULL: unknown. */
const char *eng_socket_scheme(const char *path);
/* Who has the other end of a tcp connection on this computer, "127.0.0.1:80"? */
bool eng_owner_of_peer(const char *local, const char *peer, struct eng_owner *out);

/* ---- events and sinks ---- */

enum eng_event_kind {
    ENG_LISTENING,
    ENG_OPEN,
    ENG_MESSAGE,
    ENG_CLOSE,
    ENG_ERROR,
    ENG_DEMO,
    ENG_SUMMARY
};

struct eng_totals {
    uint64_t connections;
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t errors;
    uint64_t good; /* messages whose checksum was right, and wrong; 0 without `verify` */
    uint64_t bad;
    bool counts_dropped; /* datagrams that the kernel had no room for are counted */
    uint64_t dropped;
    uint64_t overrun; /* datagrams on which no rule acted, because too much waited */
    uint64_t skipped; /* messages that were not shown: the screen could not keep up */
    uint64_t unsent;  /* bytes that were to be sent in the end, and nobody took them in time */
    uint64_t refused; /* clients that a listener did not let in: by allow, deny or a limit */
    int64_t ms;
};

/* The exit codes of the command. */
enum eng_result {
    ENG_DONE = 0,
    ENG_UNMET = 1, /* an expectation failed */
    ENG_USAGE = 2,
    ENG_NOT_CONNECTED = 3,
    ENG_BROKEN = 4,
    ENG_TIMED_OUT = 5,
    ENG_NOT_TRUSTED = 6,
    ENG_FILE = 7,
    ENG_INTERNAL = 70
};

enum eng_result eng_result_of(const struct outlet_reason *why);
/* What the network reported of a datagram: OUTLET_EVENT_PEER_ERROR. */
void eng_reason_of_peer_error(int64_t sys_errno, struct outlet_reason *why);

struct eng_demo_result {
    const char *transport;
    const char *driver;
    bool ok;
    bool skipped; /* the driver does not work here */
    uint64_t messages;
    uint64_t bytes; /* there and back again, counted once */
    int64_t us;
    char text[160]; /* why not, "" when ok */
};

/* One thing that happened.  Everything pointed at is lent until emit() returns. */
struct eng_event {
    enum eng_event_kind kind;
    uint64_t id;     /* OPEN MESSAGE CLOSE: connections counted from 1; ERROR: 0 if of none */
    int64_t ns;      /* since 1970; 0: now */
    const char *url; /* LISTENING; ERROR: NULL when it is not about the endpoint */
    enum outlet_role role;
    const char *driver;
    const char *peer;   /* OPEN MESSAGE CLOSE; ERROR with an id */
    const char *local;  /* OPEN */
    const char *sender; /* MESSAGE: who sent it, where that is not the peer (a group); else NULL */
    const char *rule;   /* MESSAGE: that acts on it; NULL: none */
    bool stays;         /* MESSAGE: a rule of a relay keeps it from the other side */
    bool out;           /* MESSAGE: sent, not received */
    const uint8_t *bytes;
    size_t size;
    size_t hidden; /* of these at the end, what is not to be shown: a good checksum */
    /* MESSAGE: decoded text, NULL without a charset; see charset.h.  A character that ends in the
     * next message is there as a whole.  CLOSE: what no message ended. */
    const uint8_t *text;
    size_t text_len;
    bool text_whole; /* the text says all: every byte decoded, no character cut at an end */
    enum eng_check check;
    const struct eng_sum *sum; /* that it was checked with */
    uint64_t sum_has;
    uint64_t sum_want;
    const struct outlet_reason *why; /* CLOSE ERROR */
    bool aside;         /* CLOSE ERROR: the trouble of one client; the session goes on */
    uint64_t discarded; /* CLOSE ERROR: received bytes of a message that did not end */
    const struct eng_totals *totals; /* SUMMARY */
    enum eng_result result;          /* SUMMARY */
    const struct eng_tallies *rules; /* SUMMARY; NULL: there are none */
    const struct eng_demo_result *demo;
};

struct eng_sink {
    void (*emit)(struct eng_sink *sink, const struct eng_event *event);
    bool quiet_messages; /* MESSAGE is not wanted: do not even make it */
    bool busy;           /* set by the sink when it cannot keep up: receiving pauses until
                            eng_session_flow() */
};

/* How payload bytes appear in a record. */
enum eng_form {
    ENG_FORM_AUTO, /* text, or hex when it is not UTF-8 */
    ENG_FORM_HEX,
    ENG_FORM_BOTH,
    ENG_FORM_SHORT /* as AUTO, and hex also where that is shorter */
};

/* One JSON line for an event (json.c); `text` stands in for why->text in ERROR when not NULL. */
void eng_json_event(struct eng_bytes *out, const struct eng_event *event, enum eng_form form,
                    const char *text);
void eng_json_string(struct eng_bytes *out, const char *text, size_t len);
/* ,"key":value as parts of such a line; text or hex of a payload; what a reason says. */
void eng_json_text(struct eng_bytes *out, const char *key, const char *text);
void eng_json_number(struct eng_bytes *out, const char *key, int64_t value);
void eng_json_payload(struct eng_bytes *out, const uint8_t *bytes, size_t len, enum eng_form form);
void eng_json_reason(struct eng_bytes *out, const struct outlet_reason *why, const char *text);

/* ---- sessions (session.c, feed.c) ---- */

enum eng_rule { ENG_RULE_NONE, ENG_RULE_ECHO, ENG_RULE_REPLY, ENG_RULE_DISCARD };

enum eng_payload_kind {
    ENG_PAYLOAD_NONE,
    ENG_PAYLOAD_BYTES,
    ENG_PAYLOAD_FILE,
    ENG_PAYLOAD_INPUT /* the descriptor `input`, read until its end */
};

struct eng_session_opts {
    enum outlet_role role;
    const char *url;
    const char *to; /* relay to this URL; NULL: talk to `url` ourselves */
    struct eng_sink *sink;
    enum eng_rule rule;
    struct eng_bytes reply; /* lent, like all bytes here, until the session is freed */
    struct eng_bytes expect;
    bool once;
    int64_t time_ms; /* 0: no end */
    enum eng_payload_kind payload;
    struct eng_bytes bytes;
    const char *file;
    int input;                 /* below 0: the caller sends itself (clients.c) */
    void (*ready)(void *user); /* then: somebody came, left, or has room again */
    bool input_lines;          /* each line is a message */
    bool input_person; /* someone types there: do not wait for the rest when the peer has ended */
    const char *eol;   /* added to each line of the input and each reply; "" for none */
    int64_t every_ms;  /* 0: at once */
    int64_t count;     /* 0: 1, or without end when every_ms is set */
    /* `bytes` and `reply` have their checksum and line end; what is made later is given them. */
    struct eng_template *payload_template; /* instead of `bytes`; NULL: none */
    const char *payload_eol;               /* of what it makes */
    struct eng_template *reply_template;
    const char *reply_eol;
    uint64_t seed;          /* of what templates draw */
    struct eng_sum *append; /* to what is made and to lines of the input; NULL: none */
    struct eng_sum *verify; /* what is received; NULL: nothing */
    bool strip;             /* a good checksum is not shown */
    const char *charset;    /* checked; NULL: bytes are bytes */
    /* Taken if the session starts; tried before `rule`, or before a relay passes a message on. */
    struct eng_rules *rules;
    struct eng_recorder *recorder; /* lent; NULL: nothing is recorded */
    bool answer; /* end at the first answer to the last message; without one, time out */
    /* Once, at the end.  The session may be freed after it returned, not inside. */
    void (*ended)(void *user, enum eng_result result);
    void *user;
};

/* Is what is sent for certain something that the URL can carry?  `opts->url` was checked.  False:
 * the reply (or else the payload) cannot, and `why` says why, behind its name. */
bool eng_session_carries(const struct eng_session_opts *opts, bool *reply, char *why, size_t room);

struct eng_session;

/* ENG_DONE, or what failed with *why filled; nothing is left open then, and `ended` is not
 * called. */
enum eng_result eng_session_start(outlet_loop *loop, const struct eng_session_opts *opts,
                                  struct eng_session **out, struct outlet_reason *why);
/* Close in order, for at most a second, then say `ended` with `result` (perhaps inside this
 * call). */
void eng_session_stop(struct eng_session *s, enum eng_result result);
/* The same after what has arrived by now: datagrams wait in the kernel, at most as many as its
 * buffer holds.  What could not be sent by the end makes ENG_DONE ENG_BROKEN.  In a callback of the
 * loop. */
void eng_session_finish(struct eng_session *s, enum eng_result result);
/* The same without waiting for anything. */
void eng_session_abort(struct eng_session *s, enum eng_result result);
void eng_session_flow(struct eng_session *s); /* the sink can take more */
void eng_session_totals(const struct eng_session *s, struct eng_totals *out);
/* For the next message on; takes them (NULL: none) and frees those before.  Not for a relay, nor
 * inside emit(). */
void eng_session_set_rules(struct eng_session *s, struct eng_rules *rules);
/* What all rules did that the session had, those of now last; to be freed. */
void eng_session_tallies(struct eng_session *s, struct eng_tallies *out);
/* From now on: with whom is connected as if they came now.  Lends it; for a session that is no
 * relay and has no recorder, or one that has failed.  Not inside emit(). */
void eng_session_record(struct eng_session *s, struct eng_recorder *recorder);
void eng_session_free(struct eng_session *s); /* after `ended`; NULL is allowed */

/* ---- who is connected, one by one (clients.c) ---- */

struct eng_client {
    uint64_t id;
    int64_t opened_ns; /* since 1970 */
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    bool behind;     /* does not read as fast as it is sent to */
    bool closing;    /* it was sent away, and what waits is still to be sent */
    uint64_t queued; /* bytes that wait */
    char peer[160];
};

/* A snapshot, the oldest first: how many there are, of which `room` were filled in. */
size_t eng_session_clients(const struct eng_session *s, struct eng_client *out, size_t room);
/* The client of this number, also one that is closing.  False: there is none. */
bool eng_session_client(const struct eng_session *s, uint64_t id, struct eng_client *out);

enum eng_ready { ENG_NOBODY, ENG_BEHIND, ENG_READY };

/* Would the client of this number (0: all of them) take a message now? */
enum eng_ready eng_session_ready(struct eng_session *s, uint64_t id);

enum { ENG_REFUSED_MAX = 16 };

struct eng_sent {
    uint64_t taken;   /* by so many */
    uint64_t refused; /* so many had no room, or have heard our end: nothing is kept for them */
    uint64_t refused_ids[ENG_REFUSED_MAX];
    bool wrong; /* no message can be like that, which was told; nobody got it */
};

void eng_session_send(struct eng_session *s, uint64_t id, const void *bytes, size_t len,
                      struct eng_sent *sent);
/* In order, after what is queued for it, or with a reset.  False: there is no such client, or it is
 * closing in order already. */
bool eng_session_kick(struct eng_session *s, uint64_t id, bool reset);
/* Nothing more will be sent, as at an end of file. */
void eng_session_end_input(struct eng_session *s);

/* ---- the demonstration (demo.c) ---- */

enum { ENG_DEMO_TRANSPORTS = 4, ENG_DEMO_CLIENTS = 4 };

extern const char *const eng_demo_transports[ENG_DEMO_TRANSPORTS];

/* One checked round: every byte goes there and comes back, or result->text says what went wrong. */
void eng_demo_round(const char *transport, const char *driver, struct eng_demo_result *result);

struct eng_demo; /* one driver, every transport, traffic until it is freed */

struct eng_demo_row {
    uint64_t round_trips;
    uint64_t bytes;
    uint64_t clients;
    uint64_t wrong; /* bytes that came back changed, connections that ended */
};

/* Starts threads of its own, or, for "sim", is turned by eng_demo_turn(). */
outlet_err eng_demo_start(const char *driver, struct eng_demo **out, struct outlet_reason *why);
void eng_demo_turn(struct eng_demo *d); /* nothing to do unless the driver is simulated */
void eng_demo_row(struct eng_demo *d, int transport, struct eng_demo_row *out);
void eng_demo_free(struct eng_demo *d);

#endif
