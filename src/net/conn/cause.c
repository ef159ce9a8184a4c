/*
 * cause.c - why a connection ended: four bytes while it is ending, a sentence when it is told.
 *
 * The first cause wins: a reset that follows our own abort is not the reason.
 *
 * SPDX-License-Identifier: MIT
 */
#include "conn.h"

#include <string.h>

static const char *const sentences[] = {
    [CAUSE_NONE] = "ended",
    [CAUSE_US] = "closed by this program",
    [CAUSE_PEER] = "closed by the peer",
    [CAUSE_ABORT] = "aborted by this program",
    [CAUSE_STOP] = "the loop was stopped",
    [CAUSE_SYSTEM] = "",
    [CAUSE_REFUSED_BY_CALLBACK] = "refused by the accept callback",
    [CAUSE_RESOLVE] = "the name is neither an address nor in /etc/hosts",
    [CAUSE_LOCAL] =
        "`local` cannot be used: this computer has no such address, or the port is taken",
    [CAUSE_LOCAL_FAMILY] = "`local` is of a family in which the host has no address",
    [CAUSE_DEVICE] = "`device` needs the capability CAP_NET_RAW here",
    [CAUSE_BROADCAST] = "not allowed to send there; if it is a broadcast address add broadcast=on",
    [CAUSE_CONNECT_TIME] = "no answer within connect_ms",
    [CAUSE_IDLE] = "nothing was sent or received within idle_ms",
    [CAUSE_PARTIAL] = "a message began and did not end within partial_ms",
    [CAUSE_STALL] = "the peer took nothing of what is queued within stall_ms",
    [CAUSE_FLUSH_TIME] = "what was queued could not be sent within flush_ms after the close",
    [CAUSE_CUT_SHORT] = "the peer ended in the middle of a message",
    [CAUSE_TOO_LONG] = "the peer sent a message longer than max",
    [CAUSE_FRAMING] = "the peer sent bytes that the framing does not allow",
    [CAUSE_QUEUE_FULL] = "the send queue was at cap and full=close is set",
    [CAUSE_MEMORY] = "out of memory, or the loop's memory_max was reached",
    [CAUSE_FDS] = "the peer sent more descriptors than fds allows",
    [CAUSE_NO_FDS] = "no descriptor was left for one that the peer sent",
    [CAUSE_FILE] = "a file became shorter while it was being sent",
    [CAUSE_RELAY_CLOSED] = "closed because the other side of the relay was",
    [CAUSE_RELAY_BROKEN] = "aborted because the other side of the relay ended without order",
    [CAUSE_RELAY_CANNOT] =
        ("the other side of the relay cannot carry what this one received: too long "
         "for it, or not for its framing"),
    [CAUSE_EVICTED] = "a newer peer needed the room: the listener is at conns"};

static enum outlet_phase
phase_of(const struct ol_conn *c)
{
    switch (ol_conn_state(c)) {
    case CONN_NONE:
    case CONN_DIALING:
        return OUTLET_AT_CONNECT;
    case CONN_SHAKING:
        return OUTLET_AT_UPGRADE;
    case CONN_OPEN:
        return OUTLET_AT_OPEN;
    case CONN_FLUSHING:
    case CONN_LINGERING:
    case CONN_CLOSING:
    case CONN_CLOSED:
        return OUTLET_AT_DRAIN;
    }
    return OUTLET_AT_OPEN;
}

void
ol_cause_set(struct ol_conn *c, enum ol_cause cause, outlet_err code, enum outlet_side side,
             int sys_errno)
{
    enum outlet_phase phase = cause == CAUSE_RESOLVE ? OUTLET_AT_RESOLVE : phase_of(c);

    if (c->cause != CAUSE_NONE)
        return;
    c->cause = (unsigned)cause & (OL_BIT(OL_CAUSE_BITS) - 1);
    c->code = (int8_t)code;
    c->phase_side = (uint8_t)((unsigned)phase << 4 | (unsigned)side);
    c->sys_errno = (unsigned)sys_errno & (OL_BIT(16 - OL_CAUSE_BITS) - 1);
}

void
ol_cause_tell(const struct ol_conn *c, struct outlet_reason *out)
{
    char buffer[64];
    outlet_err code = (outlet_err)c->code;

    *out = (struct outlet_reason)OUTLET_REASON;
    out->phase = (enum outlet_phase)(c->phase_side >> 4);
    out->side = (enum outlet_side)(c->phase_side & 15);
    out->sys_errno = c->sys_errno;
    if (c->cause == CAUSE_SYSTEM) {
        ol_reason_set(out, code, "%s (%s)", outlet_strerror(code),
                      strerror_r(c->sys_errno, buffer, sizeof buffer));
    } else {
        ol_reason_set(out, code, "%s", sentences[c->cause]);
    }
}
