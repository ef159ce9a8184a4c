/*
 * addr_fuzz.c - any bytes as a URL and as numbers and a list of the caller's struct.
 *
 * Property: what is taken prints as a text that is taken, in turn, as the same endpoint, and that
 * prints as itself; what is refused has a reason with a sentence and a byte inside the text.  Who
 * may come in is what looking at the rules one by one says, and the same for the printed text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules.h"

#include <stdlib.h>

enum { RULES_LOOKED_AT = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void
check_reason(const struct outlet_reason *why, outlet_err err, const char *url, bool with_opts)
{
    size_t len = strlen(url);

    OL_ASSERT(err == OUTLET_EINVAL || err == OUTLET_ENOTSUP);
    OL_ASSERT(why->code == err);
    OL_ASSERT(why->text[0] != '\0' && memchr(why->text, '\0', sizeof why->text));
    OL_ASSERT(memchr(why->key, '\0', sizeof why->key));
    OL_ASSERT(why->position >= (with_opts ? -1 : 0));
    OL_ASSERT(why->position < 0 || (size_t)why->position <= len);
}

static void
check_same(const struct ol_endpoint *a, const struct ol_endpoint *b)
{
    struct outlet_opts x = a->opts;
    struct outlet_opts y = b->opts;

    x.frame = x.device = x.local = x.interface = x.source = NULL;
    y.frame = y.device = y.local = y.interface = y.source = NULL;
    x.allow = y.allow = x.deny = y.deny = NULL; /* compared as they are printed */
    OL_ASSERT(memcmp(a->texts, b->texts, sizeof a->texts) == 0);
    OL_ASSERT(memcmp(&x, &y, sizeof x) == 0);
    OL_ASSERT(a->scheme == b->scheme && a->any_host == b->any_host);
    OL_ASSERT(a->loopback == b->loopback && a->has_literal == b->has_literal);
    OL_ASSERT(a->carrier == b->carrier && a->fd == b->fd);
    OL_ASSERT(a->port == b->port && a->zone == b->zone && a->addr.port == b->addr.port);
    OL_ASSERT(ol_addr_same(&a->addr, &b->addr));
    OL_ASSERT(strcmp(a->host, b->host) == 0);
    OL_ASSERT(strcmp(a->frame, b->frame) == 0);
}

/* The most specific rule of one list that holds `who`; -1: none.  *any: there are rules. */
static int
best_of(const struct ol_endpoint *e, enum ol_option_id list, const struct ol_addr *who, bool *any)
{
    struct ol_rule_walk w;
    struct ol_rule r;
    int best = -1;

    ol_rule_walk_init(&w, e, list);
    while (ol_rule_walk_next(&w, &r)) {
        *any = true;
        if (ol_rule_holds(&r, who) && r.bits > best)
            best = r.bits;
    }
    return best;
}

static void
check_verdict(const struct ol_endpoint *e, const struct ol_rules *rules, const struct ol_addr *who)
{
    bool has_allow = false;
    bool has_deny = false;
    int allow = best_of(e, OL_OPT_ALLOW, who, &has_allow);
    int deny = best_of(e, OL_OPT_DENY, who, &has_deny);
    bool admit = allow > deny || (allow == deny && deny < 0 && !has_allow);

    OL_ASSERT((rules != NULL) == (has_allow || has_deny));
    OL_ASSERT(!rules || ol_rules_admit(rules, who) == admit);
}

/* 0: the first address of a rule, 1: the one before, 2: the last, 3: the one behind. */
static struct ol_addr
edge_of(const struct ol_rule *r, int edge)
{
    struct ol_addr who = {.kind = r->family};
    size_t size = r->family == OL_ADDR_V4 ? 4 : 16;

    memcpy(who.ip, r->ip, size);
    for (size_t bit = r->bits; bit < size * 8 && edge >= 2; bit++)
        who.ip[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    for (size_t i = size; i-- > 0 && edge == 1;) {
        if (who.ip[i]-- > 0)
            break;
    }
    for (size_t i = size; i-- > 0 && edge == 3;) {
        if (++who.ip[i] > 0)
            break;
    }
    return who;
}

static void
check_rules(const struct ol_endpoint *e, const struct ol_endpoint *again)
{
    struct ol_rules *rules;
    struct ol_rules *same;
    int left = RULES_LOOKED_AT;

    OL_ASSERT(ol_rules_new(&ol_heap_system, e, &rules) == OUTLET_OK);
    OL_ASSERT(ol_rules_new(&ol_heap_system, again, &same) == OUTLET_OK);
    for (int k = 0; k < 2; k++) {
        struct ol_rule_walk w;
        struct ol_rule r;

        ol_rule_walk_init(&w, e, k ? OL_OPT_ALLOW : OL_OPT_DENY);
        while (ol_rule_walk_next(&w, &r) && left-- > 0) {
            for (int edge = 0; edge < 4; edge++) {
                struct ol_addr who = edge_of(&r, edge);

                check_verdict(e, rules, &who);
                check_verdict(again, same, &who);
            }
        }
    }
    ol_rules_free(&ol_heap_system, rules);
    ol_rules_free(&ol_heap_system, same);
}

static void
check_round_trip(const struct ol_endpoint *e)
{
    static char text[2][OL_ENDPOINT_TEXT];
    struct ol_endpoint again;

    OL_ASSERT(ol_endpoint_print(e, 0, text[0], sizeof text[0]) < sizeof text[0]);
    OL_ASSERT(ol_endpoint_parse(text[0], e->role, NULL, &again, NULL) == OUTLET_OK);
    check_same(e, &again);
    check_rules(e, &again);
    OL_ASSERT(ol_endpoint_print(&again, 0, text[1], sizeof text[1]) < sizeof text[1]);
    OL_ASSERT(strcmp(text[0], text[1]) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct outlet_opts opts = OUTLET_OPTS;
    struct outlet_reason why = OUTLET_REASON;
    struct ol_endpoint e;
    enum outlet_role role;
    bool with_opts;
    char *url;
    char *list;
    outlet_err err;

    if (len < 1)
        return 0;
    role = in[0] & 1 ? OUTLET_TO_LISTEN : OUTLET_TO_CONNECT;
    with_opts = in[0] & 2 && len > 13;
    in++;
    len--;
    if (with_opts) {
        int32_t numbers[3];

        memcpy(numbers, in, sizeof numbers);
        opts.low = numbers[0];
        opts.high = numbers[1];
        opts.cap = numbers[2];
        in += sizeof numbers;
        len -= sizeof numbers;
    }
    url = malloc(len + 1); /* its own block, so that a byte read behind it is noticed */
    if (!url)
        return 0;
    memcpy(url, in, len);
    url[len] = '\0';
    list = with_opts ? strchr(url, '\n') : NULL; /* a URL has none */
    if (list) {
        *list = '\0';
        opts.deny = list + 1;
    }

    err = ol_endpoint_parse(url, role, with_opts ? &opts : NULL, &e, &why);
    if (err)
        check_reason(&why, err, url, with_opts);
    else
        check_round_trip(&e);
    free(url);
    return 0;
}
