/*
 * record.h - recordings: every message with its time, written as it happens, read back as it was.
 *
 *     session --> eng_recorder_add --> encoder --> bounded queue --> a thread --> file
 *     file --> eng_reader_next --> records --> show, replay, or an encoder of the other format
 *
 * Two formats carry the same records: JSON Lines, and pcapng with packets made up around each
 * message.  A newcomer's mistake: to take the time of a record for the time on the wire.  It is
 * when this program had the message in its hands: received, or handed to the queue.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_RECORD_H
#define ENG_RECORD_H

#include <outlet/outlet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eng_bytes;

/* ---- records ---- */

enum {
    ENG_RECORD_BYTES_MAX = 16 * 1024 * 1024, /* a longer message is recorded in pieces */
    ENG_RECORD_CONNS_MAX = 1 << 20           /* open at once, in a file that is read */
};

enum eng_record_kind {
    ENG_RECORD_START,
    ENG_RECORD_OPEN,
    ENG_RECORD_MESSAGE,
    ENG_RECORD_CLOSE,
    ENG_RECORD_LOST, /* datagrams that the kernel had no room for */
    ENG_RECORD_END   /* the recorder was closed in order: nothing is missing behind it */
};

struct eng_record_conn {
    uint64_t id; /* above 0 */
    enum outlet_role role;
    char transport[24];
    char local[160]; /* "" when it is not known */
    char peer[160];
    char process[96]; /* that has the other end, on this computer; "" when it is not known */
};

/* Everything pointed at is lent: until the call returns, or until the next record is read. */
struct eng_record {
    enum eng_record_kind kind;
    int64_t ns;                         /* since 1970 */
    const struct eng_record_conn *conn; /* OPEN MESSAGE CLOSE */
    bool out;                           /* MESSAGE: sent, not received */
    const char *rule;                   /* MESSAGE: that acted on it; NULL: none */
    const uint8_t *bytes;
    size_t size;
    const struct outlet_reason *why; /* CLOSE: code, phase, side and text */
    uint64_t count;                  /* LOST: datagrams; END: messages; CLOSE: received bytes of a
                                        message that did not end */
    const char *app;                 /* START: who recorded */
    enum outlet_role role;           /* START */
    const char *url;                 /* START: without its secret */
};

/* ---- formats (record.c, record_json.c, record_pcap.c) ---- */

enum eng_record_format { ENG_RECORD_JSON, ENG_RECORD_PCAP };

/* By the end of the name: .jsonl, .json, .pcapng.  False: it is none of them. */
bool eng_record_format_of(const char *path, enum eng_record_format *out);

struct eng_writer;

struct eng_writer *eng_writer_open(enum eng_record_format format); /* NULL: no memory */
/* Append one record.  A connection whose OPEN was not given is opened by its first message.  What
 * could not be had memory for shows in out->failed. */
void eng_writer_add(struct eng_writer *e, const struct eng_record *r, struct eng_bytes *out);
void eng_writer_close(struct eng_writer *e);

/* Bytes at the front of `len` that are whole lines or blocks: where a broken file is cut. */
size_t eng_record_whole(enum eng_record_format format, const uint8_t *bytes, size_t len);

/* ---- reading (reader.c, reader_json.c, reader_pcap.c) ---- */

struct eng_damage {
    uint64_t offset; /* byte of the file */
    uint64_t line;   /* JSON Lines, from 1; else 0 */
    bool cut;        /* the file ends there, too early */
    bool other;      /* this is no recording; the text says what it is */
    char text[120];
};

enum eng_read {
    ENG_READ_RECORD,
    ENG_READ_DAMAGE, /* named in *damage; what is whole behind it follows */
    ENG_READ_END,
    ENG_READ_FAILED /* see eng_reader_error() */
};

struct eng_reader;

/* Can recordings be read at all?  Not without the JSON library. */
bool eng_reader_works(void);
/* NULL: no memory, or errno of opening it in *sys_errno. */
/* "-" is the standard input. */
struct eng_reader *eng_reader_open(const char *path, int *sys_errno);
struct eng_reader *eng_reader_open_bytes(const uint8_t *bytes, size_t len); /* lent until closed */
enum eng_read eng_reader_next(struct eng_reader *r, struct eng_record *out,
                              struct eng_damage *damage);
int eng_reader_error(const struct eng_reader *r);       /* an errno */
bool eng_reader_is_foreign(const struct eng_reader *r); /* pcapng that somebody else wrote */
void eng_reader_close(struct eng_reader *r);

/* ---- which records are wanted (record_filter.c) ---- */

struct eng_when {
    enum { ENG_WHEN_ANY, ENG_WHEN_SINCE, ENG_WHEN_TIME, ENG_WHEN_CLOCK } kind;
    int64_t ns; /* since the first record, 1970, midnight */
};

struct eng_record_filter {
    bool in_only;
    bool out_only;
    const char *peer; /* a part of the address; NULL: any */
    uint64_t id;      /* 0: any */
    size_t size_least;
    size_t size_most; /* SIZE_MAX: any */
    struct eng_when after;
    struct eng_when before;
    const struct eng_bytes *contains; /* NULL: anything */

    bool begun; /* from here on its own */
    int64_t after_ns;
    int64_t before_ns;
};

/* "5s" since the beginning, "2026-01-31T23:59:59.5Z", without Z of this place, "23:59:59". */
bool eng_parse_when(const char *text, struct eng_when *out);
bool eng_parse_size_range(const char *text, size_t *least, size_t *most);
bool eng_record_wanted(struct eng_record_filter *f, const struct eng_record *r);
/* Is anything asked of messages, and not only of connections? */
bool eng_record_filter_is_of_messages(const struct eng_record_filter *f);

/* ---- writing while it happens (recorder.c) ---- */

struct eng_recorder;

/* Overwrites, with the first record; "-" is the standard output, where nothing is overwritten.
 * `changed` is called from another thread when there is room again, and once when writing failed.
 * NULL: *sys_errno says why. */
struct eng_recorder *eng_recorder_open(const char *path, enum eng_record_format format,
                                       void (*changed)(void *user), void *user, int *sys_errno);
/* Never waits.  After a failure it does nothing. */
void eng_recorder_add(struct eng_recorder *r, const struct eng_record *record);
bool eng_recorder_is_full(struct eng_recorder *r); /* stop receiving until `changed` */
/* For what cannot be told to stop, such as datagrams: until there is room again. */
void eng_recorder_wait(struct eng_recorder *r);
int eng_recorder_error(struct eng_recorder *r); /* errno that ended it; 0: fine */
/* Write what waits and the end.  Answers the errno that ended it, or 0.  Without any record the
 * file is as it was. */
int eng_recorder_close(struct eng_recorder *r);

#endif
