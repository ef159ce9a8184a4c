/*
 * rules.c - who may come in: prefixes, of which the most specific decides.
 *
 * They are sorted by address and length, so that a prefix stands before everything inside of it,
 * and each knows the one that it lies in.  All that hold an address lie on the way up from the last
 * one that is not behind it: a binary search, and at most 128 steps.
 *
 * What a newcomer gets wrong: "::/0" is every IPv6 address and no IPv4 one, although a socket for
 * both families shows IPv4 clients as ::ffff:a.b.c.d.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rules.h"

#include <arpa/inet.h>

enum {
    ITEM_MAX = 63,
    SHOWN = 45,        /* of what is no address, in the complaint */
    MAPPED_BITS = 96,  /* ::ffff:0:0/96 */
    NONE = UINT16_MAX, /* lies in no other */
};

struct entry {
    struct ol_rule rule;
    bool allow;
    uint16_t up; /* the smallest prefix that this one lies in */
};

struct ol_rules {
    bool otherwise; /* what no rule holds may come in */
    size_t count;
    struct entry of[];
};
_Static_assert((int)OL_RULES_MAX < (int)NONE, "an index");

/* ---- one rule ---------------------------------------------------------------------------- */

static unsigned
bits_of(unsigned family)
{
    return family == OL_ADDR_V4 ? 32 : 128;
}

/* `ip` without what stands behind the prefix. */
static void
cut_to(const uint8_t *ip, unsigned bits, uint8_t *out)
{
    memset(out, 0, 16);
    memcpy(out, ip, bits / 8);
    if (bits % 8)
        out[bits / 8] = (uint8_t)(ip[bits / 8] & 0xff << (8 - bits % 8));
}

static bool
is_mapped(const uint8_t *ip)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof prefix) == 0;
}

/* The number behind the slash; false: none, or too great. */
static bool
read_bits(const char *text, unsigned most, uint8_t *out)
{
    unsigned bits = 0;
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 3 || text[len] != '\0')
        return false;
    for (size_t i = 0; i < len; i++)
        bits = bits * 10 + (unsigned)(text[i] - '0');
    *out = (uint8_t)bits;
    return bits <= most;
}

static ptrdiff_t
place(ptrdiff_t at, size_t offset)
{
    return at < 0 ? -1 : at + (ptrdiff_t)offset;
}

static outlet_err
refuse_host_bits(const char *key, const struct ol_rule *r, ptrdiff_t at, struct outlet_reason *why)
{
    char alone[INET6_ADDRSTRLEN];
    char text[INET6_ADDRSTRLEN + 4];
    struct ol_rule network = *r;
    struct ol_text t;

    cut_to(r->ip, r->bits, network.ip);
    ol_text_init(&t, text, sizeof text);
    ol_rule_print(&network, &t);
    OL_ASSERT(inet_ntop(r->family == OL_ADDR_V4 ? AF_INET : AF_INET6, r->ip, alone, sizeof alone));
    return ol_refuse(why, OUTLET_EINVAL, at, key,
                     "`%s/%d` has bits behind its prefix; write %s for all of the network", alone,
                     r->bits, text);
}

static void
from_mapped(struct ol_rule *r)
{
    if (r->family != OL_ADDR_V6 || r->bits < MAPPED_BITS || !is_mapped(r->ip))
        return;
    r->family = OL_ADDR_V4;
    r->bits -= MAPPED_BITS;
    memmove(r->ip, r->ip + 12, 4);
    memset(r->ip + 4, 0, 12);
}

outlet_err
ol_rule_read(const char *key, const char *text, ptrdiff_t at, struct ol_rule *out,
             struct outlet_reason *why)
{
    size_t len = strcspn(text, "/");
    struct ol_addr a;
    struct ol_rule r;
    uint8_t cut[16];

    if (memchr(text, '%', len) || !ol_addr_parse(text, len, &a))
        return ol_refuse(why, OUTLET_EINVAL, at, key,
                         "`%.*s` is no address; write for example 192.168.1.7, 10.0.0.0/8 or "
                         "2001:db8::/32",
                         SHOWN, text);
    memset(&r, 0, sizeof r);
    r.family = a.kind;
    r.bits = (uint8_t)bits_of(a.kind);
    memcpy(r.ip, a.ip, a.kind == OL_ADDR_V4 ? 4 : 16);
    if (text[len] == '/' && !read_bits(text + len + 1, bits_of(a.kind), &r.bits))
        return ol_refuse(why, OUTLET_EINVAL, place(at, len + 1), key,
                         "behind the slash of an %s prefix stands its length, 0 to %u",
                         a.kind == OL_ADDR_V4 ? "IPv4" : "IPv6", bits_of(a.kind));
    cut_to(r.ip, r.bits, cut);
    if (memcmp(cut, r.ip, sizeof cut) != 0)
        return refuse_host_bits(key, &r, at, why);
    from_mapped(&r);
    *out = r;
    return OUTLET_OK;
}

void
ol_rule_print(const struct ol_rule *r, struct ol_text *t)
{
    char text[INET6_ADDRSTRLEN];

    OL_ASSERT(inet_ntop(r->family == OL_ADDR_V4 ? AF_INET : AF_INET6, r->ip, text, sizeof text));
    ol_text_add(t, text);
    if (r->bits < bits_of(r->family)) {
        ol_text_add(t, "/");
        ol_text_add_number(t, r->bits);
    }
}

/* An address as the longest prefix; false: it is none of the internet. */
static bool
rule_of(const struct ol_addr *a, struct ol_rule *out)
{
    if (a->kind != OL_ADDR_V4 && a->kind != OL_ADDR_V6)
        return false;
    memset(out, 0, sizeof *out);
    out->family = a->kind;
    out->bits = (uint8_t)bits_of(a->kind);
    memcpy(out->ip, a->ip, a->kind == OL_ADDR_V4 ? 4 : 16);
    from_mapped(out);
    return true;
}

/* Does `inner` lie in `r`? */
static bool
holds(const struct ol_rule *r, const struct ol_rule *inner)
{
    unsigned whole = r->bits / 8;
    unsigned rest = r->bits % 8;

    if (r->family != inner->family || r->bits > inner->bits || memcmp(r->ip, inner->ip, whole) != 0)
        return false;
    return rest == 0 || (r->ip[whole] ^ inner->ip[whole]) >> (8 - rest) == 0;
}

bool
ol_rule_holds(const struct ol_rule *r, const struct ol_addr *a)
{
    struct ol_rule whole;

    return rule_of(a, &whole) && holds(r, &whole);
}

/* ---- lists ------------------------------------------------------------------------------- */

bool
ol_list_next(const char **text, char *item, size_t room)
{
    static const char between[] = ", \t\r\n";
    const char *from = *text + strspn(*text, between);
    size_t len = strcspn(from, between);
    size_t part = ol_min(len, room - 1);

    memcpy(item, from, part);
    item[part] = '\0';
    *text = from + len;
    return len > 0;
}

void
ol_rule_walk_init(struct ol_rule_walk *w, const struct ol_endpoint *e, enum ol_option_id list)
{
    memset(w, 0, sizeof *w);
    w->list = list;
    w->text = list == OL_OPT_ALLOW ? e->opts.allow : e->opts.deny;
    if (w->text)
        return;
    w->text = e->lists_url ? NULL : "";
    if (e->lists_url && ol_url_split(e->lists_url, &w->url, NULL))
        OL_ASSERT(!"a URL that was taken before");
    w->at = w->url.query.at;
}

static bool
next_item(struct ol_rule_walk *w, struct ol_part *item)
{
    if (w->run == 0 && ol_part_next(&w->url, w->url.query, &w->at, item))
        return true;
    if (w->run == 0)
        w->at = w->url.options.at;
    w->run = 1;
    return ol_part_next(&w->url, w->url.options, &w->at, item);
}

static bool
next_in_url(struct ol_rule_walk *w, char *text, size_t room)
{
    const char *name = ol_options[w->list].key;
    const struct ol_decode how = {"the value", name, room - 1, false};
    struct ol_part item;
    struct ol_part key;
    struct ol_part value;
    size_t len;

    while (next_item(w, &item)) {
        ol_part_halve(&w->url, item, &key, &value);
        if (key.len == strlen(name) && memcmp(w->url.text + key.at, name, key.len) == 0)
            return ol_part_decode(&w->url, value, &how, text, &len, NULL) == OUTLET_OK;
    }
    return false;
}

bool
ol_rule_walk_next(struct ol_rule_walk *w, struct ol_rule *out)
{
    char item[ITEM_MAX + 1];

    if (w->text ? !ol_list_next(&w->text, item, sizeof item) : !next_in_url(w, item, sizeof item))
        return false;
    return ol_rule_read(ol_options[w->list].key, item, -1, out, NULL) == OUTLET_OK;
}

/* ---- all of an endpoint's ---------------------------------------------------------------- */

/* How many entries stand before `r` or are the same. */
static size_t
place_of(const struct ol_rules *rules, const struct ol_rule *r)
{
    size_t from = 0;
    size_t to = rules->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (memcmp(&rules->of[middle].rule, r, sizeof *r) <= 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* What is there already stays: of two equal ones the first, which is the one that denies. */
static void
insert(struct ol_rules *rules, const struct ol_rule *r, bool allow)
{
    size_t at = place_of(rules, r);
    struct entry *e = &rules->of[at];

    if (at > 0 && memcmp(&e[-1].rule, r, sizeof *r) == 0)
        return;
    memmove(e + 1, e, (rules->count - at) * sizeof *e);
    *e = (struct entry){.rule = *r, .allow = allow, .up = NONE};
    rules->count++;
}

static void
nest(struct ol_rules *rules)
{
    for (size_t i = 1; i < rules->count; i++) {
        size_t up = i - 1;

        while (up != NONE && !holds(&rules->of[up].rule, &rules->of[i].rule))
            up = rules->of[up].up;
        rules->of[i].up = (uint16_t)up;
    }
}

static size_t
count_rules(const struct ol_endpoint *e, enum ol_option_id list)
{
    struct ol_rule_walk w;
    struct ol_rule r;
    size_t n = 0;

    ol_rule_walk_init(&w, e, list);
    while (ol_rule_walk_next(&w, &r))
        n++;
    return n;
}

outlet_err
ol_rules_new(const ol_heap *heap, const struct ol_endpoint *e, struct ol_rules **out)
{
    static const enum ol_option_id lists[] = {OL_OPT_DENY, OL_OPT_ALLOW};
    size_t allowed = count_rules(e, OL_OPT_ALLOW);
    size_t n = count_rules(e, OL_OPT_DENY) + allowed;
    struct ol_rules *rules;

    OL_ASSERT(n <= OL_RULES_MAX);
    if (n == 0) {
        *out = NULL;
        return OUTLET_OK;
    }
    rules = ol_alloc_zero(heap, sizeof *rules + n * sizeof rules->of[0]);
    if (!rules)
        return OUTLET_ENOMEM;
    rules->otherwise = allowed == 0;
    for (size_t i = 0; i < OL_COUNT(lists); i++) {
        struct ol_rule_walk w;
        struct ol_rule r;

        ol_rule_walk_init(&w, e, lists[i]);
        while (ol_rule_walk_next(&w, &r))
            insert(rules, &r, lists[i] == OL_OPT_ALLOW);
    }
    nest(rules);
    *out = rules;
    return OUTLET_OK;
}

void
ol_rules_free(const ol_heap *heap, struct ol_rules *rules)
{
    ol_free(heap, rules);
}

bool
ol_rules_admit(const struct ol_rules *rules, const struct ol_addr *who)
{
    struct ol_rule whole;
    size_t at;

    if (!rule_of(who, &whole))
        return false;
    at = place_of(rules, &whole);
    at = at == 0 ? NONE : at - 1;
    while (at != NONE && !holds(&rules->of[at].rule, &whole))
        at = rules->of[at].up;
    return at == NONE ? rules->otherwise : rules->of[at].allow;
}
