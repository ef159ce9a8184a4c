/*
 * reader.c - records out of a file, one after the other: which format it is, what is whole, what is
 * not.
 *
 * Nothing that the file says is believed before it was checked, and no more of it lies in memory
 * than the longest record.  A newcomer's mistake: to end at the first damage.  What is whole behind
 * it can often be read, and people want to see it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AT_ONCE = 256 * 1024 };

/* ---- input ---- */

static const uint8_t *
window(const struct record_input *in)
{
    return (in->fd < 0 ? in->lent : in->window.data) + in->at;
}

size_t
record_input_left(const struct record_input *in)
{
    return (in->fd < 0 ? in->lent_len : in->window.len) - in->at;
}

static void
read_more(struct record_input *in)
{
    uint8_t *space;
    ssize_t n;

    if (in->at > in->window.len / 2) {
        eng_bytes_cut(&in->window, in->at);
        in->at = 0;
    }
    space = eng_bytes_space(&in->window, READ_AT_ONCE);
    do {
        n = space ? read(in->fd, space, READ_AT_ONCE) : -1;
    } while (n < 0 && space && errno == EINTR);
    if (n > 0) {
        in->window.len += (size_t)n;
        return;
    }
    in->eof = true;
    if (n < 0)
        in->error = space ? errno : ENOMEM;
}

const uint8_t *
record_input_need(struct record_input *in, size_t n)
{
    while (record_input_left(in) < n && !in->eof)
        read_more(in);
    return record_input_left(in) < n ? NULL : window(in);
}

void
record_input_use(struct record_input *in, size_t n)
{
    in->at += n;
    in->offset += n;
}

/* ---- connections ---- */

static int
compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const struct eng_record_conn *)a)->id;
    uint64_t y = ((const struct eng_record_conn *)b)->id;

    return (x > y) - (x < y);
}

struct eng_record_conn *
record_table_find(struct record_table *t, uint64_t id)
{
    const struct eng_record_conn key = {.id = id};
    struct eng_record_conn **found = tfind(&key, &t->root, compare_ids);

    return found ? *found : NULL;
}

struct eng_record_conn *
record_table_add(struct record_table *t, const struct eng_record_conn *conn)
{
    struct eng_record_conn *c;

    if (t->count == ENG_RECORD_CONNS_MAX)
        return NULL;
    c = eng_alloc(sizeof *c);
    if (!c)
        return NULL;
    *c = *conn;
    if (!tsearch(c, &t->root, compare_ids)) {
        eng_free(c);
        return NULL;
    }
    t->count++;
    return c;
}

void
record_table_close(struct record_table *t, struct eng_record_conn *conn)
{
    tdelete(conn, &t->root, compare_ids);
    t->count--;
    eng_free(t->closed);
    t->closed = conn;
}

void
record_table_free(struct record_table *t)
{
    while (t->root)
        record_table_close(t, *(struct eng_record_conn **)t->root);
    eng_free(t->closed);
    t->closed = NULL;
}

/* ---- records ---- */

enum eng_read
reader_damage(struct eng_reader *r, uint64_t offset, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->damage->text, sizeof r->damage->text, format, args);
    va_end(args);
    r->damage->offset = offset;
    r->damage->line = r->state == READER_JSON ? r->line : 0;
    r->damage->cut = false;
    r->damage->other = false;
    return ENG_READ_DAMAGE;
}

/* A connection that speaks and was not opened: the beginning of the file is not here. */
static struct eng_record_conn *
conn_of_message(struct eng_reader *r, const struct eng_record_conn *said, const char **wrong)
{
    struct eng_record_conn *c = record_table_find(&r->table, said->id);

    *wrong = "too many connections are open";
    if (!c)
        return record_table_add(&r->table, said);
    *wrong = "a message of another transport or peer than its connection";
    return strcmp(c->transport, said->transport) || strcmp(c->peer, said->peer) ? NULL : c;
}

enum eng_read
reader_take(struct eng_reader *r, struct record_line *line, uint64_t offset, struct eng_record *out)
{
    struct eng_record_conn *c = line->conn.id ? record_table_find(&r->table, line->conn.id) : NULL;
    const char *wrong = "too many connections are open";

    if (r->ended && line->r.kind != ENG_RECORD_START)
        return reader_damage(r, offset, "a record behind the end");
    *out = line->r;
    switch (line->r.kind) {
    case ENG_RECORD_START:
        record_table_free(&r->table); /* numbers begin anew */
        r->ours = true;
        r->ended = false;
        break;
    case ENG_RECORD_OPEN:
        if (c)
            return reader_damage(r, offset, "a connection opens that is open");
        out->conn = record_table_add(&r->table, &line->conn);
        if (!out->conn)
            return reader_damage(r, offset, "%s", wrong);
        break;
    case ENG_RECORD_MESSAGE:
        out->conn = conn_of_message(r, &line->conn, &wrong);
        if (!out->conn)
            return reader_damage(r, offset, "%s", wrong);
        break;
    case ENG_RECORD_CLOSE:
        if (!c)
            return reader_damage(r, offset, "a connection closes that is not open");
        out->conn = c;
        record_table_close(&r->table, c);
        break;
    case ENG_RECORD_END:
        r->ended = true;
        break;
    case ENG_RECORD_LOST:
        break;
    }
    return ENG_READ_RECORD;
}

/* ---- the file ---- */

static struct eng_reader *
reader_new(int fd)
{
    struct eng_reader *r = eng_alloc(sizeof *r);

    if (r) {
        r->input.fd = fd;
        r->line = 1;
    }
    return r;
}

struct eng_reader *
eng_reader_open(const char *path, int *sys_errno)
{
    struct eng_reader *r;
    struct stat st;
    int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                                    : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        *sys_errno = errno;
        return NULL;
    }
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        *sys_errno = EISDIR;
        goto close_file;
    }
    r = reader_new(fd);
    if (r)
        return r;
    *sys_errno = ENOMEM;
close_file:
    close(fd);
    return NULL;
}

struct eng_reader *
eng_reader_open_bytes(const uint8_t *bytes, size_t len)
{
    struct eng_reader *r = reader_new(-1);

    if (r) {
        r->input.lent = bytes;
        r->input.lent_len = len;
        r->input.eof = true;
    }
    return r;
}

static enum eng_read
reader_other(struct eng_reader *r, const char *what)
{
    (void)reader_damage(r, 0, "%s", what);
    r->damage->other = true;
    return ENG_READ_DAMAGE;
}

/* By what it begins with, whatever its name. */
static enum eng_read
reader_begin(struct eng_reader *r)
{
    static const uint8_t section[4] = {0x0a, 0x0d, 0x0d, 0x0a};
    static const uint8_t classic[][4] = {{0xd4, 0xc3, 0xb2, 0xa1},
                                         {0xa1, 0xb2, 0xc3, 0xd4},
                                         {0x4d, 0x3c, 0xb2, 0xa1},
                                         {0xa1, 0xb2, 0x3c, 0x4d}};
    const uint8_t *at = record_input_need(&r->input, 4);

    r->state = READER_DONE;
    for (size_t i = 0; at && i < sizeof classic / sizeof classic[0]; i++) {
        if (memcmp(at, classic[i], 4) == 0)
            return reader_other(r, "this is the old pcap format; convert it: editcap -F pcapng "
                                   "FILE FILE.pcapng");
    }
    if (at && memcmp(at, section, 4) == 0) {
        r->state = READER_PCAP;
        return ENG_READ_RECORD;
    }
    at = record_input_need(&r->input, 1);
    if (at && *at == '{') {
        r->state = READER_JSON;
        return ENG_READ_RECORD;
    }
    if (r->input.error)
        return ENG_READ_FAILED;
    return reader_other(r, at ? "neither JSON Lines nor pcapng; --record FILE.jsonl makes one"
                              : "the file is empty; --record FILE.jsonl makes one");
}

static enum eng_read
reader_end(struct eng_reader *r)
{
    r->state = READER_DONE;
    if (!r->bare && (!r->ours || r->ended))
        return ENG_READ_END;
    (void)reader_damage(r, r->input.offset,
                        "it has no end: whoever recorded was stopped, or is "
                        "still at work");
    r->damage->cut = true;
    return ENG_READ_DAMAGE;
}

enum eng_read
eng_reader_next(struct eng_reader *r, struct eng_record *out, struct eng_damage *damage)
{
    enum eng_read got = ENG_READ_RECORD;

    r->damage = damage;
    if (r->state == READER_FRESH)
        got = reader_begin(r);
    if (got != ENG_READ_RECORD)
        return got;
    if (r->state == READER_DONE)
        return ENG_READ_END;
    got = r->state == READER_JSON ? reader_json_next(r, out) : reader_pcap_next(r, out);
    if (r->input.error)
        return ENG_READ_FAILED;
    if (got == ENG_READ_DAMAGE && damage->cut) {
        r->state = READER_DONE; /* that it has no end is said by that */
        return got;
    }
    r->bare &= got != ENG_READ_RECORD;
    return got == ENG_READ_END ? reader_end(r) : got;
}

int
eng_reader_error(const struct eng_reader *r)
{
    return r->input.error;
}

bool
eng_reader_is_foreign(const struct eng_reader *r)
{
    return r->pcap && !r->ours;
}

void
eng_reader_close(struct eng_reader *r)
{
    if (!r)
        return;
    if (r->input.fd >= 0)
        close(r->input.fd);
    eng_bytes_free(&r->input.window);
    record_table_free(&r->table);
    record_line_free(&r->parsed);
    reader_pcap_free(r->pcap);
    eng_free(r);
}
