/*
 * options_test.c - the command line: where options may stand, what is refused, the catalogue.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARGS = CLI_WORDS + 4 };

/* Parse with the refusals as JSON in cli->out, which nobody reads. */
static bool
parse(struct cli *cli, const char *const args[])
{
    char *argv[ARGS + 3] = {(char *)"outlet", (char *)"--json"};
    int argc = 2;

    memset(cli, 0, sizeof *cli);
    while (args[argc - 2]) {
        argv[argc] = (char *)args[argc - 2];
        argc++;
    }
    return cli_parse(cli, argc, argv);
}

#define PARSE(cli, ...) parse(cli, (const char *const[ARGS]){__VA_ARGS__})

/* What was said when it was refused. */
static void
expect_refusal(struct cli *cli, const char *text)
{
    eng_bytes_add(&cli->out.queue, "", 1);
    if (!strstr((const char *)cli->out.queue.data, text))
        fail_msg("'%s' is not in %s", text, (const char *)cli->out.queue.data);
    eng_bytes_free(&cli->out.queue);
}

static void
options_stand_anywhere_after_the_verb(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "listen", "tcp://:0", "--echo", "-qv", "--time=5s"));
    assert_int_equal(cli.options.verb, CLI_LISTEN);
    assert_true(cli.options.has[OPT_ECHO] && cli.quiet && cli.verbose);
    assert_string_equal(cli.options.value[OPT_TIME], "5s");
    assert_true(PARSE(&cli, "listen", "--time", "5s", "-ohex", "tcp://:0"));
    assert_int_equal(cli.form, FORM_HEX);
    assert_string_equal(cli.options.words[0], "tcp://:0");
    assert_true(PARSE(&cli, "connect", "u:1", "-x", "01 02"));
    assert_string_equal(cli.options.value[OPT_HEX], "01 02");
}

static void
common_options_also_stand_before_the_verb(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "-q", "-o", "both", "--lang", "zh", "listen", "tcp://:0"));
    assert_true(cli.quiet);
    assert_int_equal(cli.form, FORM_BOTH);
    assert_int_equal(cli.lang, CLI_ZH);
    assert_false(PARSE(&cli, "--echo", "listen", "tcp://:0"));
    expect_refusal(&cli, "--echo must stand after the verb");
}

static void
an_address_alone_means_connect(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "tcp://h:1", "hello"));
    assert_int_equal(cli.options.verb, CLI_CONNECT);
    assert_string_equal(cli.options.words[1], "hello");
    assert_true(PARSE(&cli, "localhost:1"));
    assert_int_equal(cli.options.verb, CLI_CONNECT);
}

/* In brackets in options.def: the next word is the value only when it can be one. */
static void
a_value_may_be_left_out_where_the_table_says_so(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "ps", "--watch", "tcp"));
    assert_true(cli.options.has[OPT_WATCH] && !cli.options.value[OPT_WATCH]);
    assert_string_equal(cli.options.words[0], "tcp");
    assert_true(PARSE(&cli, "ps", "--watch", "500ms", "tcp"));
    assert_string_equal(cli.options.value[OPT_WATCH], "500ms");
    assert_int_equal(cli.options.word_count, 1);
    assert_true(PARSE(&cli, "ps", "--watch=5s"));
    assert_string_equal(cli.options.value[OPT_WATCH], "5s");
    assert_true(PARSE(&cli, "ps", "--watch"));
    assert_true(cli.options.has[OPT_WATCH]);
}

static void
two_dashes_end_the_options(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "connect", "u:1", "--", "--echo"));
    assert_false(cli.options.has[OPT_ECHO]);
    assert_string_equal(cli.options.words[1], "--echo");
    assert_true(PARSE(&cli, "connect", "u:1", "-"));
    assert_string_equal(cli.options.words[1], "-");
}

static void
what_is_wrong_is_named_with_a_way_out(void **state)
{
    const char *many[CLI_WORDS + 3] = {"ps"};
    struct cli cli;

    (void)state;
    for (int i = 0; i < CLI_WORDS; i++)
        many[i + 1] = "tcp";
    many[CLI_WORDS + 1] = "last";
    assert_false(PARSE(&cli, "listen", "--ecko"));
    expect_refusal(&cli, "did you mean --echo?");
    assert_false(PARSE(&cli, "listen", "--frobnicate"));
    expect_refusal(&cli, "outlet listen --help");
    assert_false(PARSE(&cli, "lisetn", "tcp://:0"));
    expect_refusal(&cli, "did you mean listen?");
    assert_false(PARSE(&cli, "frobnicate"));
    expect_refusal(&cli, "unknown verb frobnicate");
    assert_false(PARSE(&cli, "listen", "--time"));
    expect_refusal(&cli, "--time needs a value");
    assert_false(PARSE(&cli, "listen", "--echo=1"));
    expect_refusal(&cli, "--echo takes no value");
    assert_false(PARSE(&cli, "listen", "-o", "xml"));
    expect_refusal(&cli, "text|hex|both|raw|none");
    assert_false(PARSE(&cli, "listen", "-Z"));
    expect_refusal(&cli, "unknown option -Z");
    assert_false(parse(&cli, many));
    expect_refusal(&cli, "too many arguments: last");
    assert_false(PARSE(&cli, "demo", "--echo"));
    expect_refusal(&cli, "unknown option --echo");
}

static void
one_name_may_be_two_options_of_two_verbs(void **state)
{
    struct cli cli;

    (void)state;
    assert_true(PARSE(&cli, "demo", "--once"));
    assert_true(cli.options.has[OPT_ROUND] && !cli.options.has[OPT_ONCE]);
    assert_true(PARSE(&cli, "listen", "--once", "tcp://:0"));
    assert_true(cli.options.has[OPT_ONCE] && !cli.options.has[OPT_ROUND]);
}

/* Both languages must use the same arguments, or one of them hides something. */
static void
both_languages_use_the_same_arguments(void **state)
{
    (void)state;
    for (int id = 0; id < CLI_TEXTS; id++) {
        const char *en = cli_text(CLI_EN, (enum cli_text)id);
        const char *zh = cli_text(CLI_ZH, (enum cli_text)id);

        for (char n = '0'; n < '0' + CLI_ARGS; n++) {
            const char mark[] = {'{', n, '}', '\0'};
            const char sentence[] = {'{', '=', n, '}', '\0'};

            if (!strstr(en, mark) != !(strstr(zh, mark) || strstr(zh, sentence)))
                fail_msg("%s in only one of '%s' and '%s'", mark, en, zh);
        }
        assert_true(*en && *zh);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere_after_the_verb),
        cmocka_unit_test(common_options_also_stand_before_the_verb),
        cmocka_unit_test(an_address_alone_means_connect),
        cmocka_unit_test(a_value_may_be_left_out_where_the_table_says_so),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(what_is_wrong_is_named_with_a_way_out),
        cmocka_unit_test(one_name_may_be_two_options_of_two_verbs),
        cmocka_unit_test(both_languages_use_the_same_arguments),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
