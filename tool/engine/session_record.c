/*
 * session_record.c - what a session records: where it is received and where it is handed over.
 *
 * A newcomer's mistake: to record what is shown.  Shown is what a checksum made whole, without what
 * it left out; recorded is what the transport carried, when it did.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* It takes milliseconds where there are many processes: connections that come faster have none. */
static const int64_t LOOK_UP_NS = 200000000;

/* Datagrams cannot be asked to wait: then the loop does, and the kernel counts what it drops. */
static void
record(struct eng_session *s, struct eng_record *r)
{
    r->ns = session_real_ns();
    eng_recorder_add(s->opts.recorder, r);
    if (s->datagrams && eng_recorder_is_full(s->opts.recorder))
        eng_recorder_wait(s->opts.recorder);
}

void
session_record_start(struct eng_session *s, const char *url)
{
    char masked[2048];
    char app[64];

    if (!s->opts.recorder)
        return;
    eng_url_masked(url, masked, sizeof masked);
    snprintf(app, sizeof app, "outlet %s", outlet_version());
    record(s, &(struct eng_record){
                  .kind = ENG_RECORD_START, .app = app, .url = masked, .role = s->opts.role});
}

/* "127.0.0.1:80" and "127.0.0.1:5000" */
static bool
same_host(const char *a, const char *b)
{
    const char *a_end = strrchr(a, ':');
    const char *b_end = strrchr(b, ':');

    return a_end && b_end && a_end - a == b_end - b && memcmp(a, b, (size_t)(a_end - a)) == 0;
}

/* The kernel knows it at once for unix, and by its tables for tcp on this computer. */
static void
find_process(struct peer *p, struct eng_record_conn *conn)
{
    struct eng_session *s = p->s;
    struct eng_owner owner = {0};
    char pid[24];
    char path[48];
    FILE *f;

    if (outlet_info(p->c, "peer_pid", pid, sizeof pid) > 0) {
        owner.pid = (pid_t)strtol(pid, NULL, 10);
        snprintf(path, sizeof path, "/proc/%ld/comm", (long)owner.pid);
        f = fopen(path, "re");
        if (f && fgets(owner.name, sizeof owner.name, f))
            owner.name[strcspn(owner.name, "\n")] = '\0';
        if (f)
            fclose(f);
    } else if (strcmp(conn->transport, "tcp") == 0 && same_host(conn->local, conn->peer) &&
               session_real_ns() - s->looked_up_ns > LOOK_UP_NS) {
        /* A server is known by its listener: it may not have taken the connection yet. */
        if (s->opts.role == OUTLET_TO_LISTEN)
            (void)eng_owner_of_peer(conn->local, conn->peer, &owner);
        else
            (void)eng_owner_find(&s->url, &owner);
        s->looked_up_ns = session_real_ns();
    }
    if (owner.pid)
        snprintf(conn->process, sizeof conn->process, "%s, pid %ld", owner.name, (long)owner.pid);
}

void
peer_record_open(struct peer *p, const char *local)
{
    struct eng_session *s = p->s;

    if (!s->opts.recorder)
        return;
    p->conn = eng_alloc(sizeof *p->conn);
    if (!p->conn) {
        session_fail(s, ENG_INTERNAL, OUTLET_ENOMEM, 0, "--record");
        return;
    }
    p->conn->id = p->id;
    p->conn->role = s->opts.role;
    snprintf(p->conn->transport, sizeof p->conn->transport, "%s", s->url.scheme);
    snprintf(p->conn->local, sizeof p->conn->local, "%s", local);
    snprintf(p->conn->peer, sizeof p->conn->peer, "%s", p->name);
    find_process(p, p->conn);
    record(s, &(struct eng_record){.kind = ENG_RECORD_OPEN, .conn = p->conn});
}

void
peer_record_message(struct peer *p, bool out, const void *bytes, size_t len)
{
    const struct eng_record_conn *conn = !p->conn && p->twin ? p->twin->conn : p->conn;

    if (conn)
        record(p->s, &(struct eng_record){.kind = ENG_RECORD_MESSAGE,
                                          .conn = conn,
                                          .out = out,
                                          .rule = p->rule ? p->rule->name : NULL,
                                          .bytes = bytes,
                                          .size = len});
}

void
peer_record_pass(struct peer *p)
{
    if (!p->twin || !p->conn)
        return;
    p->twin->conn = p->conn;
    p->conn = NULL;
}

void
peer_record_close(struct peer *p, const struct outlet_reason *why)
{
    if (p->conn)
        record(p->s,
               &(struct eng_record){
                   .kind = ENG_RECORD_CLOSE, .conn = p->conn, .why = why, .count = p->discarded});
}

void
session_record_lost(struct eng_session *s)
{
    uint64_t lost = s->totals.dropped - s->dropped_before;

    if (s->opts.recorder && lost)
        record(s, &(struct eng_record){.kind = ENG_RECORD_LOST, .count = lost});
}

void
eng_session_record(struct eng_session *s, struct eng_recorder *recorder)
{
    char *url = s->listener.id ? session_url_new(s) : NULL;

    s->opts.recorder = recorder;
    session_count_dropped(s);
    s->dropped_before = s->totals.dropped;
    session_record_start(s, url ? url : s->opts.url);
    eng_free(url);
    for (struct peer *p = s->peers; p; p = p->next) {
        char local[sizeof p->name];

        eng_free(p->conn);
        p->conn = NULL;
        if (p->state != PEER_OPEN || p->far || !p->id)
            continue;
        session_address_of(p->c, "local", local, sizeof local);
        peer_record_open(p, local);
        peer_settle(p);
    }
}
