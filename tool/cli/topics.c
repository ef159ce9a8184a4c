/*
 * topics.c - outlet help checksums, templates, presets, rules, line: what is too much for a line of
 * --help.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>

/* crc16/modbus        8005 ffff ...  4b37  le   its other names */
static void
add_checksums(struct cli *cli, struct eng_bytes *out)
{
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_CHECKSUMS));
    eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_CHECKSUMS_LIST));
    for (int i = 0; i < ENG_SUMS; i++) {
        const struct eng_sum_row *row = &eng_sums[i];
        int digits = (int)row->width / 4;

        eng_bytes_printf(out, "  %-24s %u  %-16.*llx  %s", row->name, row->width / 8, digits,
                         (unsigned long long)row->check,
                         row->width == 8 ? "- " : (eng_sum_order_low(row) ? "le" : "be"));
        eng_bytes_text(out, row->aliases[0] ? "  " : "");
        eng_bytes_text(out, row->aliases);
        eng_bytes_text(out, "\n");
    }
}

bool
cli_help_topic(struct cli *cli, const char *topic, struct eng_bytes *out)
{
    if (strcmp(topic, "checksums") == 0) {
        add_checksums(cli, out);
        return true;
    }
    if (strcmp(topic, "templates") == 0) {
        eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_TEMPLATES));
        return true;
    }
    if (strcmp(topic, "line") == 0) {
        eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_LINE));
        eng_bytes_text(out, cli_text(cli->lang, TEXT_TALK_HELP));
        eng_bytes_text(out, "\n");
        return true;
    }
    if (strcmp(topic, "rules") == 0) {
        eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_RULES));
        return true;
    }
    if (strcmp(topic, "presets") == 0) {
        eng_bytes_text(out, cli_text(cli->lang, TEXT_HELP_PRESETS));
        return true;
    }
    return false;
}
