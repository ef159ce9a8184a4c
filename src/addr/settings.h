/*
 * settings.h - the options of one endpoint: from the URL, then from the caller, then the defaults.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_ADDR_SETTINGS_H
#define OL_ADDR_SETTINGS_H

#include "option.h"

struct ol_setting {
    bool given;       /* by the URL, or by the caller with something else than 0 */
    ptrdiff_t key_at; /* bytes in the URL; -1: not from the URL */
    ptrdiff_t value_at;
    int64_t value;
    char text[OL_OPTION_TEXT_MAX + 1]; /* of OL_OPTION_TEXT; decoded */
};

struct ol_settings {
    enum ol_scheme scheme;
    enum outlet_role role;
    struct ol_setting of[OL_OPTIONS]; /* of a list: where it is given first */
    size_t rules;                     /* in the lists, so far */
    char frame[OL_FRAME_TEXT_MAX + 1];
};

void ol_settings_init(struct ol_settings *s, enum ol_scheme scheme, enum outlet_role role);

/* One run of options, joined by ',' or '&'. */
outlet_err ol_settings_read(struct ol_settings *s, const struct ol_url *u, struct ol_part run,
                            struct outlet_reason *why);

/* What the URL left open, from the caller's struct; every field of it is checked. */
outlet_err ol_settings_merge(struct ol_settings *s, const struct outlet_opts *opts,
                             struct outlet_reason *why);

/* Defaults, and the rules between options. */
outlet_err ol_settings_settle(struct ol_settings *s, struct outlet_reason *why);

/* Numbers, and of the lists those that the URL leaves to the struct; the framing text and the other
 * texts are the caller's to place. */
void ol_settings_store(const struct ol_settings *s, struct outlet_opts *out);

/* The caller's struct in this version's length, whatever length it was compiled with. */
outlet_err ol_opts_copy(const struct outlet_opts *opts, struct outlet_opts *out,
                        struct outlet_reason *why);

#endif
