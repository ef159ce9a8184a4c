/*
 * session.h - what the files of a session share: one endpoint, its peers, and what they are sent.
 *
 * A newcomer's mistake: to call outlet_send() directly.  peer_send() counts, records, and holds
 * what the queue refused, so that nothing is lost.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_SESSION_H
#define ENG_SESSION_H

#include "engine.h"

enum {
    CHUNK = 64 * 1024,       /* read at once from a file or the input */
    QUEUE_HIGH = 256 * 1024, /* queued bytes above which a peer is fed no more */
    FLUSH_MS = 60000,        /* what is queued at the peer's end is still delivered */
    DATAGRAM_MAX = 65507,
    PAUSE_MS = 1000, /* without a datagram: over, where there is no end, when all is sent */
    EXPECT_MS = 5000 /* for what is expected, unless a time is given */
};

enum peer_state { PEER_CONNECTING, PEER_OPEN, PEER_CLOSING };

enum feed_state {
    FEED_IDLE, /* nothing to send, and no end to tell the peer about */
    FEED_RUNNING,
    FEED_DONE
};

struct feed {
    enum feed_state state;
    int64_t rounds; /* still to send, this one included; -1: without end */
    struct eng_schedule schedule;
    bool due;              /* a round may begin or go on */
    bool made_is;          /* `made` is this round's */
    struct eng_bytes made; /* by the template */
    size_t offset;         /* into opts.bytes or `made` */
    int fd;                /* of the file, -1: not open */
    outlet_timer again;    /* goes on in the next turn, so that receiving is not starved */
};

/* What a rule does later, and what waits behind that to keep the order. */
struct later {
    struct later_act *first; /* NULL: nothing waits */
    struct later_act *last;
    size_t count[2]; /* of ours, and of what passes */
    size_t bytes[2];
    outlet_timer timer;
};

/* What is to happen on a connection, now or when it is its turn. */
struct session_act {
    bool sends;
    bool passes;                      /* what another connection has received */
    const struct eng_rule_acts *rule; /* by which it passes; NULL: none */
    const void *bytes;
    size_t len;
    outlet_msg *from; /* that they are of; NULL: none */
    enum eng_rule_close close;
    int64_t delay_ms;
};

struct peer {
    struct eng_session *s;
    struct peer *next;
    struct peer **where;
    outlet_conn c;
    uint64_t id;
    int64_t opened_ns;    /* since 1970 */
    uint64_t messages[2]; /* received, sent */
    uint64_t bytes[2];
    enum peer_state state;
    char name[160];
    outlet_buf *held; /* a message that the queue refused: goes before all others */
    bool full;        /* above the high mark, on_writable is owed */
    bool paused;
    bool ended_in;        /* the peer ended its side */
    bool ended_out;       /* we ended ours */
    bool ended_first;     /* the peer did, before us */
    size_t matched;       /* bytes of `expect` that the end of the input matches */
    uint32_t told_errors; /* of the network, a bit for each code */
    uint64_t discarded;   /* see struct eng_event */
    struct feed feed;
    struct peer *twin; /* the other side of the relay; NULL: none, or it has ended */
    bool far;          /* we are the connection to opts.to */
    bool told;         /* that the other side could not be connected to */
    bool has_twin_why;
    struct outlet_reason twin_why; /* of the side that ended first */
    const outlet_msg *from; /* while one is received; NULL: none, or its sender is the peer */
    uint64_t chance;        /* of what templates draw */
    uint64_t replies;
    struct eng_rule_acts *rule; /* for the message that is received; NULL: none */
    bool stays;                 /* and a relay does not pass it on */
    bool closes;                /* a rule wants it, when all has gone */
    struct later later;
    bool by_rule;     /* what is sent just now */
    bool has_borders; /* what it sends comes as messages */
    size_t portion;   /* at most as much is sent to it at once, of what has none */
    bool passes;      /* what was sent last, or is held */
    const struct eng_rule_acts *passed_by; /* then; NULL: no rule */
    struct outlet_reason failed;           /* why we ended it; code 0: we did not */
    outlet_timer silence;                  /* cannot be told of an end: runs while nothing comes */
    void (*silent)(outlet_timer t, void *arg); /* then */
    char *to;                                  /* a branch: where to, ours; NULL: it is none */
    struct peer *owner;                        /* whose branch; NULL: that is gone */
    struct peer *branches;
    struct peer *next_branch;
    bool blocks; /* counted in `blocking` */
    uint64_t answers;
    struct eng_bytes piece;       /* of an answer whose checksum is not there yet */
    struct eng_coder *coders[2];  /* decode what is received, what is sent; NULL until needed */
    struct eng_bytes text;        /* decoded last */
    struct eng_record_conn *conn; /* as it is recorded; NULL: it is not */
};

struct input {
    uint64_t line;  /* that is sent just now, from 1; 0: none is */
    uint64_t lines; /* so far */
    bool eof;
    bool regular; /* a file: always ready, cannot be watched */
    bool watching;
    outlet_watch watch;
    outlet_timer again;        /* goes on reading a regular file in the next turn */
    outlet_timer grace;        /* the peer has ended: how long the input may stay silent */
    struct eng_bytes bytes;    /* read, not yet sent */
    struct eng_coder *encoder; /* of what is not read by lines; NULL: not needed */
};

/* The loop's timers have steps of a millisecond, which is as long as an interval may be. */
struct tick {
    int fd; /* a timerfd, -1: nothing is sent every so often */
    bool watching;
    outlet_watch watch;
    int64_t at_ns; /* when it will ring; 0: it will not */
};

/* The session shall end, and hears what has arrived before. */
struct last {
    outlet_timer look; /* id 0: it does not */
    enum eng_result result;
    uint64_t unread;   /* bytes that waited when it began; 0: not looked at yet */
    uint64_t received; /* ... had been by then */
    int64_t until_ms;
};

enum session_state { SESSION_RUNNING, SESSION_STOPPING, SESSION_ENDED };

struct eng_session {
    outlet_loop *loop;
    struct eng_session_opts opts;
    struct eng_url url;
    enum session_state state;
    enum eng_result result;
    struct peer nobody; /* user data of a connection before on_accept gave it a peer */
    struct peer *peers;
    struct peer *branches;    /* connections that rules forward to */
    size_t blocking;          /* clients without room for what others are to be forwarded */
    outlet_listener listener; /* id 0: none, or closed */
    struct eng_totals totals;
    int64_t started_ms;
    struct eng_rules *rules;   /* ours; NULL: none */
    struct eng_tallies before; /* of the rules that these came after */
    bool ruled;                /* a relay that passes on by them, and not in the library */
    bool opened;               /* some peer was open once */
    bool lost;                 /* the network reported of a datagram that nobody got it */
    bool hurried;              /* the end was asked for: what is not sent by then is told */
    uint64_t refused_told;
    outlet_timer refusals;   /* looks for clients that were refused */
    bool was_busy;           /* when it was last looked after */
    bool was_told_to_wait;   /* somebody was, since then */
    int64_t looked_up_ns;    /* when the process at the other end was last looked for */
    uint64_t dropped_before; /* the recording began */
    uint64_t dropped_ended;  /* by sockets that are closed */
    bool datagrams;          /* that are lost while nobody receives */
    bool trusts_high;        /* no high= in the URL: QUEUE_HIGH is where on_writable is owed */
    size_t *fallback;        /* of the search for `expect` */
    bool looks_again;        /* the time seemed to be over */
    outlet_timer time;
    outlet_timer deadline;
    struct last last;
    struct tick tick;
    struct input input;
};

/* session_tell.c */
void session_tell(struct eng_session *s, const struct eng_event *event);
/* `url` is NULL when the error is not about the endpoint. */
void session_tell_reason(struct eng_session *s, const char *url, const struct outlet_reason *why);
void session_tell_error(struct eng_session *s, const char *text); /* and go on */
/* Why the only connection has ended. */
void session_tell_end(struct eng_session *s, const struct outlet_reason *why, uint64_t discarded);
/* A datagram peer that was silent for idle_ms: it may come again, and nothing has failed. */
bool peer_is_forgotten(const struct peer *p, const struct outlet_reason *why);
void peer_tell_message(struct peer *p, bool out, const void *bytes, size_t len);
void peer_tell_close(struct peer *p, const struct outlet_reason *why);
void peer_tell_error(struct peer *p, int64_t sys_errno); /* of a datagram */
/* Who was not let in, from now on, if the URL of the listener may refuse somebody. */
outlet_err session_refusals_start(struct eng_session *s);
void session_count_refused(struct eng_session *s);
/* Did we connect to what may be a group or a broadcast address? */
bool session_hears_many(const struct eng_session *s);

/* session_start.c */
/* The URL as people are told it; NULL: no memory. */
char *session_url_new(const struct eng_session *s);

/* session.c */
const struct outlet_handlers *session_handlers(const struct eng_session *s);
int64_t session_now_ms(void);                 /* of a clock that only goes forward */
int64_t session_real_ns(void);                /* since 1970 */
struct peer *peer_new(struct eng_session *s); /* NULL: no memory */
struct peer *peer_new_in(struct eng_session *s, struct peer **list);
void peer_free(struct peer *p);
void peer_send(struct peer *p, const void *bytes, size_t len, outlet_msg *from);
bool peer_can_send(const struct peer *p);
void peer_settle(struct peer *p); /* pause or resume, half-close, close: whatever is due now */
void peer_flow(struct peer *p);   /* pause or resume */
/* A datagram of a listener's client, for which there is no room: counted.  A pause would lose it
 * without a count. */
bool peer_is_overrun(struct peer *p);
void peer_close(struct peer *p);
void session_fail(struct eng_session *s, enum eng_result result, outlet_err code, int sys_errno,
                  const char *about);
/* The same with a sentence about what was to be sent, which is `about`. */
void session_fail_saying(struct eng_session *s, enum eng_result result, outlet_err code,
                         const char *about, const char *text);
void timer_end(outlet_timer *t);
bool peer_render(struct peer *p, const struct eng_template *t, uint64_t n, const char *eol,
                 struct eng_bytes *out); /* false: the session has failed */

bool peer_render_with(struct peer *p, const struct eng_template *t, uint64_t n,
                      const struct eng_sum *append, const char *eol,
                      const struct eng_capture *match, struct eng_bytes *out);

/* session_end.c */
void session_time_is_over(outlet_timer t, void *arg);
void session_stop_sending(struct eng_session *s); /* of itself; answers go on */
void session_count_left(struct eng_session *s);   /* before it: what will not be sent any more */
void session_close_listener(struct eng_session *s);
void session_maybe_ended(struct eng_session *s);
void session_all_is_sent(struct peer *p); /* the payload: now an answer may be waited for */
void session_await_answer(struct eng_session *s);
/* Without `count` it is asked until the time is over, and one answer is enough. */
bool session_asks_for_ever(const struct eng_session *s);
bool peer_is_answered(const struct peer *p);
void peer_gather_answer(struct peer *p, const uint8_t *bytes, size_t len);
void peer_tell_piece(struct peer *p);
void peer_end_sending(struct peer *p); /* all is sent */

/* session_rules.c */
struct eng_rule_acts *session_rules_match(struct eng_session *s, bool out, const uint8_t *bytes,
                                          size_t len);
void session_rules_pump(struct peer *p); /* does what is due, as far as there is room */
void session_rules_do(struct peer *p, const struct session_act *act);
void session_rules_answer(struct peer *p, const void *bytes, size_t len, outlet_msg *from);
/* Of answers, or of what passes: no more of it may be received for now. */
bool session_rules_is_full(const struct peer *p, bool passes);
void session_rules_drop(struct peer *p); /* what waits */
void session_rules_act(struct peer *p, struct eng_rule_acts *acts, outlet_msg *m);

/* relay.c */
void relay_open(struct peer *near, const struct outlet_handlers *on);
void relay_count(const struct peer *p, struct eng_totals *t); /* adds what its side received */
/* One side has ended.  false: the other one has not; true: *why is that of both. */
bool relay_closed(struct peer *p, struct outlet_reason *why);

/* forward.c */
/* What `from` received, on to `to`: now or later, in pieces that it can take. */
void forward_pass(struct peer *from, struct peer *to, const struct eng_rule_acts *rule,
                  outlet_msg *m);
bool forward_has_no_room(const struct peer *p); /* for more that passes */
outlet_err forward_connect(struct peer *p, const char *url, struct outlet_opts *opts);
/* Our side; where there is no half-close, `silent` is called when no message has passed. */
void forward_end(struct peer *p, void (*silent)(outlet_timer t, void *arg));
void forward_moved(struct peer *p);
void forward_message(struct peer *p, const struct eng_rule_acts *rule, outlet_msg *m);
void forward_settle(struct peer *p);
void forward_settle_branch(struct peer *b);
void forward_left(struct peer *p, const struct outlet_reason *why); /* the client: with branches */
void forward_free(struct peer *b);                                  /* a branch */
void forward_blocks(struct peer *p, bool blocks);
bool forward_is_blocked(const struct peer *p); /* somebody to whom it is forwarded has no room */

/* relay_rules.c: a relay that has rules (`ruled`) */
void relay_rules_message(outlet_conn c, outlet_msg *m, void *user);
bool relay_rules_is_blocked(const struct peer *p);
void relay_rules_settle(struct peer *p);
void relay_rules_end(struct peer *p, enum eng_rule_close close);        /* both sides */
void relay_rules_left(struct peer *p, const struct outlet_reason *why); /* by the other side */
void relay_rules_sent(struct peer *p, const void *bytes, size_t len);
void relay_rules_cannot(struct peer *p, outlet_err code, size_t len); /* be sent to it */

/* Nothing more may come or go for now.  Whoever is told so is called when it may. */
bool session_is_busy(struct eng_session *s);

/* "peer" or "local", as people write it */
void session_address_of(outlet_conn c, const char *key, char *text, size_t room);

/* session_record.c: nothing without a recorder */
void session_record_start(struct eng_session *s, const char *url);
void session_record_lost(struct eng_session *s);
void peer_record_open(struct peer *p, const char *local);
void peer_record_message(struct peer *p, bool out, const void *bytes, size_t len);
void peer_record_pass(struct peer *p); /* the side of a relay that is left goes on with it */
void peer_record_close(struct peer *p, const struct outlet_reason *why);

/* session_lost.c, in a callback of the loop */
void session_count_dropped(struct eng_session *s);
void peer_count_dropped(struct peer *p); /* at its end */

/* feed.c */
enum eng_result feed_prepare(struct eng_session *s, struct outlet_reason *why);
void feed_start(struct peer *p);
void feed_pump(struct peer *p);
void feed_stop(struct peer *p);
uint64_t feed_left(const struct peer *p); /* bytes of this round that were not handed over */
outlet_err tick_start(struct eng_session *s);
void tick_stop(struct eng_session *s);
void tick_free(struct eng_session *s);
void input_pump(struct eng_session *s);
bool input_done(const struct eng_session *s); /* at its end, and all of it handed over */
void
input_linger(struct peer *p); /* the peer has ended: send what the input still has, then close */
void input_stop(struct eng_session *s);
void input_free(struct eng_session *s);

#endif
