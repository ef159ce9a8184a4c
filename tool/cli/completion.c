/*
 * completion.c - outlet completion bash|zsh|fish: what the shell needs to finish a command line.
 *
 * Written from the tables that are parsed, so a new option is completed the day it exists: a set of
 * values is what options.def writes with bars (none|lf|crlf), FILE is a file, and what a verb takes
 * besides options is read from its arguments in verbs.def.  A newcomer's mistake: to forget that
 * bash cuts words at ':' and '=', so that of tcp://h only h would be seen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <string.h>

/* What is offered of the schemes: those that this build takes. */
static const struct {
    const char *prefix;
    const char *sample;
} schemes[] = {
    {"tcp://", "tcp://:1"},
    {"tls://", "tls://:1"},
    {"udp://", "udp://:1"},
    {"kcp://", "kcp://:1"},
    {"unix:", "unix:a"},
    {"unix-dgram:", "unix-dgram:a"},
    {"unix-seqpacket:", "unix-seqpacket:a"},
    {"ws://", "ws://:1/"},
    {"wss://", "wss://:1/"},
    {"sio://", "sio://:1/"},
    {"sios://", "sios://:1/"},
    {"http://", "http://:1/"},
    {"https://", "https://:1/"},
    {"fd:", "fd:3"},
    {"fd:systemd/", "fd:systemd/a"},
};

static void
add_schemes(struct eng_bytes *out)
{
    const char *gap = "";

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (outlet_url_check(schemes[i].sample, OUTLET_TO_LISTEN, NULL) != OUTLET_OK &&
            outlet_url_check(schemes[i].sample, OUTLET_TO_CONNECT, NULL) != OUTLET_OK)
            continue;
        eng_bytes_printf(out, "%s%s", gap, schemes[i].prefix);
        gap = " ";
    }
}

/* Keys of a URL, which programs can be told of by their names alone. */
static const char *const keys[] = {"frame",
                                   "max",
                                   "connect_ms",
                                   "handshake_ms",
                                   "idle_ms",
                                   "partial_ms",
                                   "stall_ms",
                                   "flush_ms",
                                   "high",
                                   "low",
                                   "cap",
                                   "full",
                                   "half_open",
                                   "nodelay",
                                   "backlog",
                                   "conns",
                                   "conns_per_address",
                                   "accepts_per_second",
                                   "allow",
                                   "deny",
                                   "mode",
                                   "reuse",
                                   "keepalive_s",
                                   "keepalive_interval_s",
                                   "keepalive_probes",
                                   "user_timeout_ms",
                                   "dscp",
                                   "device",
                                   "local",
                                   "interface",
                                   "source",
                                   "ttl",
                                   "loop",
                                   "broadcast",
                                   "fds"};

/* What stands behind a '#'.  A key that this build does not know is not offered. */
static void
add_keys(struct eng_bytes *out)
{
    const char *gap = "";

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct outlet_reason why = OUTLET_REASON;
        char url[80];

        snprintf(url, sizeof url, "tcp://h:1#%s=", keys[i]);
        if (outlet_url_check(url, OUTLET_TO_CONNECT, &why) != OUTLET_OK &&
            strncmp(why.text, "unknown", 7) == 0)
            continue;
        eng_bytes_printf(out, "%s%s=", gap, keys[i]);
        gap = " ";
    }
}

static void
add_filters(struct eng_bytes *out)
{
    eng_bytes_text(out, "tcp udp unix proc: pid: user:");
    for (size_t i = 0; eng_socket_states[i]; i++)
        eng_bytes_printf(out, " state:%s", eng_socket_states[i]);
}

static void
add_verbs(struct eng_bytes *out)
{
    for (int i = 0; i < CLI_VERBS; i++)
        eng_bytes_printf(out, "%s%s", i ? " " : "", cli_verb_infos[i].word);
}

/* none|lf|crlf: words of small letters, not names of what is to be written there; and the
 * checksums. */
static bool
is_set(const char *argument)
{
    return argument && (strcmp(argument, "SUM") == 0 ||
                        (strchr(argument, '|') &&
                         !argument[strspn(argument, "abcdefghijklmnopqrstuvwxyz0123456789|-")]));
}

static bool
is_file(const char *argument)
{
    return argument && strcmp(argument, "FILE") == 0;
}

/* Names that only a run of the command knows: those of the presets. */
static bool
is_preset(const struct cli_option_info *option)
{
    return option == &cli_option_infos[OPT_PRESET] || option == &cli_option_infos[OPT_SAVE];
}

static bool
is_charset(const struct cli_option_info *option)
{
    return option == &cli_option_infos[OPT_CHARSET];
}

static void
add_charsets(struct eng_bytes *out)
{
    for (size_t i = 0; eng_charsets[i]; i++)
        eng_bytes_printf(out, "%s%s", i ? " " : "", eng_charsets[i]);
}

static void
add_set(struct eng_bytes *out, const char *argument)
{
    if (strcmp(argument, "SUM") == 0) {
        for (int i = 0; i < ENG_SUMS; i++)
            eng_bytes_printf(out, "%s%s", i ? " " : "", eng_sums[i].name);
        return;
    }
    for (const char *at = argument; *at; at++)
        eng_bytes_add(out, *at == '|' ? " " : at, 1);
}

static bool
takes_url(const struct cli_verb_info *verb)
{
    return strstr(verb->arguments, "URL") || strstr(verb->arguments, "FROM");
}

/* What stands for the first word that is no option. */
static void
add_words(struct eng_bytes *out, const struct cli_verb_info *verb)
{
    if (is_set(verb->arguments))
        add_set(out, verb->arguments);
    else if (takes_url(verb))
        add_schemes(out);
    else if (strstr(verb->arguments, "FILTER"))
        add_filters(out);
    else if (strstr(verb->arguments, "VERB")) {
        add_verbs(out);
        for (size_t i = 0; cli_topics[i]; i++)
            eng_bytes_printf(out, " %s", cli_topics[i]);
    }
}

static bool
takes_file(const struct cli_verb_info *verb)
{
    return strncmp(verb->arguments, "FILE", 4) == 0;
}

static bool
is_of(const struct cli_option_info *option, int verb)
{
    return (option->verbs & 1u << verb) != 0;
}

static bool
is_common(const struct cli_option_info *option)
{
    return option->verbs == ~0u;
}

/* In single quotes; `escaped` are characters that the shell's own notation wants a backslash for.
 */
static void
add_quoted(struct eng_bytes *out, const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'') {
            eng_bytes_text(out, "'\\''");
            continue;
        }
        if (strchr(escaped, *text))
            eng_bytes_text(out, "\\");
        eng_bytes_add(out, text, 1);
    }
}

/* ---- bash ---- */

static void
bash_option(struct eng_bytes *out, const struct cli_option_info *o)
{
    if (o->letter)
        eng_bytes_printf(out, " -%c", o->letter);
    eng_bytes_printf(out, " --%s", o->word);
}

static void
bash_verb(struct eng_bytes *out, int verb)
{
    eng_bytes_printf(out, "    %s)\n        options='", cli_verb_infos[verb].word);
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (is_of(&cli_option_infos[i], verb))
            bash_option(out, &cli_option_infos[i]);
    }
    eng_bytes_text(out, "'\n        values='");
    add_words(out, &cli_verb_infos[verb]);
    eng_bytes_printf(out, "'%s\n        files=%s\n        ;;\n",
                     verb == CLI_PRESET ? "$(_outlet_presets)" : "",
                     takes_file(&cli_verb_infos[verb]) ? "yes" : "");
}

/* An arm for each option with an argument: VERB,--word|VERB,-w) */
static void
bash_value(struct eng_bytes *out, const struct cli_option_info *o)
{
    const char *gap = "    ";

    if (!o->argument || o->argument[0] == '[')
        return;
    for (int verb = 0; verb < CLI_VERBS; verb++) {
        const char *word = is_common(o) ? "*" : cli_verb_infos[verb].word;

        if (!is_of(o, verb))
            continue;
        eng_bytes_printf(out, "%s%s,--%s", gap, word, o->word);
        gap = " | ";
        if (o->letter)
            eng_bytes_printf(out, " | %s,-%c", word, o->letter);
        if (is_common(o))
            break;
    }
    eng_bytes_text(out, ")\n        options= values='");
    if (is_set(o->argument))
        add_set(out, o->argument);
    else if (is_charset(o))
        add_charsets(out);
    eng_bytes_printf(out, "'%s files=%s\n        ;;\n", is_preset(o) ? "$(_outlet_presets)" : "",
                     is_file(o->argument) ? "yes" : "");
}

static void
bash(struct eng_bytes *out)
{
    eng_bytes_text(out, "# bash completion of outlet, as \"outlet completion bash\" writes it\n\n"
                        "# The names of the presets, of the file that the line itself gives.\n"
                        "_outlet_presets()\n"
                        "{\n"
                        "    local -a file=()\n"
                        "    local i\n\n"
                        "    for ((i = 1; i < ${#words[@]} - 1; i++)); do\n"
                        "        case ${words[i]} in\n"
                        "        --presets) file=(--presets \"${words[i + 1]/#\\~/$HOME}\") ;;\n"
                        "        --presets=*) file=(\"${words[i]}\") ;;\n"
                        "        esac\n"
                        "    done\n"
                        "    \"${words[0]/#\\~/$HOME}\" preset \"${file[@]}\" 2>/dev/null |\n"
                        "        while read -r i _; do echo \"$i\"; done\n"
                        "}\n\n"
                        "# Of a URL what stands behind its scheme: a path, or keys of options.\n"
                        "_outlet_url()\n"
                        "{\n"
                        "    local head i\n\n"
                        "    if [[ $cur == *:*[#?]* ]]; then\n"
                        "        head=${cur%\"${cur##*[#?,&]}\"}\n"
                        "        mapfile -t COMPREPLY < <(compgen -P \"$head\" -W '");
    add_keys(out);
    eng_bytes_text(
        out, "' -- \"${cur#\"$head\"}\")\n"
             "    elif [[ $cur == unix*:/* ]]; then\n"
             "        head=${cur%%/*}\n"
             "        [[ $cur == unix*:///* ]] && head+=//\n"
             "        i=${cur#\"$head\"}\n"
             "        mapfile -t COMPREPLY < <(compgen -P \"$head\" -f -- \"$i\")\n"
             "        for i in \"${!COMPREPLY[@]}\"; do\n"
             "            [[ -d ${COMPREPLY[i]#\"$head\"} ]] && COMPREPLY[i]+=/\n"
             "        done\n"
             "    fi\n"
             "}\n\n"
             "_outlet()\n"
             "{\n"
             "    local line=${COMP_LINE:0:COMP_POINT} options= values= files= verb= i n cur prev\n"
             "    local quote=\n"
             "    local -a words\n\n"
             "    # Not COMP_WORDS, which is cut at ':' and '='.\n"
             "    read -ra words <<<\"$line\"\n"
             "    [[ $line == *[[:space:]] ]] && words+=('')\n"
             "    n=${#words[@]}\n"
             "    cur=${words[n - 1]}\n"
             "    [[ $cur == [\\'\\\"]* ]] && quote=${cur:0:1} cur=${cur:1}\n"
             "    prev=${words[n - 2]}\n"
             "    for ((i = 1; i < n - 1; i++)); do\n"
             "        case ${words[i]} in\n");
    eng_bytes_text(out, "        ''");
    for (int i = 0; i < CLI_OPTIONS; i++) {
        const struct cli_option_info *o = &cli_option_infos[i];

        if (is_common(o) && o->argument) {
            eng_bytes_printf(out, " | --%s", o->word);
            if (o->letter)
                eng_bytes_printf(out, " | -%c", o->letter);
        }
    }
    eng_bytes_text(out, ") ((i++)) ;;\n"
                        "        -*) ;;\n"
                        "        *:* | */*) verb=connect ;;\n"
                        "        *) verb=${words[i]} ;;\n"
                        "        esac\n"
                        "        [[ $verb ]] && break\n"
                        "    done\n\n"
                        "    case $verb in\n    '')\n        options='");
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (is_common(&cli_option_infos[i]))
            bash_option(out, &cli_option_infos[i]);
    }
    eng_bytes_text(out, "'\n        values='");
    add_verbs(out);
    eng_bytes_text(out, " ");
    add_schemes(out);
    eng_bytes_text(out, "'\n        ;;\n");
    for (int i = 0; i < CLI_VERBS; i++)
        bash_verb(out, i);
    eng_bytes_text(out, "    esac\n\n"
                        "    if [[ $cur == --*=* ]]; then\n"
                        "        prev=${cur%%=*}\n"
                        "        cur=${cur#*=}\n"
                        "    fi\n"
                        "    case $verb,$prev in\n");
    for (int i = 0; i < CLI_OPTIONS; i++)
        bash_value(out, &cli_option_infos[i]);
    eng_bytes_text(out, "    *)\n"
                        "        [[ $cur == -* ]] && values=$options files=\n"
                        "        ;;\n"
                        "    esac\n\n"
                        "    if [[ $files ]]; then\n"
                        "        compopt -o filenames 2>/dev/null\n"
                        "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                        "        return\n"
                        "    fi\n"
                        "    mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$cur\")\n"
                        "    [[ $values == *tcp://* ]] && _outlet_url\n"
                        "    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/=] ]] &&\n"
                        "        compopt -o nospace 2>/dev/null\n"
                        "    # bash replaces what stands behind the last ':' or '=' only.\n"
                        "    if [[ ! $quote && $cur == *[:=]* && $COMP_WORDBREAKS == *:* ]]; then\n"
                        "        prev=${cur%\"${cur##*[:=]}\"}\n"
                        "        COMPREPLY=(\"${COMPREPLY[@]#\"$prev\"}\")\n"
                        "    fi\n"
                        "}\n\n"
                        "complete -F _outlet outlet\n");
}

/* ---- zsh ---- */

/* '(-x --hex)'{-x+,--hex=}'[what it does]:HEX:' */
static void
zsh_option(struct eng_bytes *out, const struct cli *cli, const struct cli_option_info *o)
{
    bool optional = o->argument && o->argument[0] == '[';
    const char *more = !o->argument ? "" : optional ? "=-" : "=";

    if (o->letter)
        eng_bytes_printf(out, " \\\n        '(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->word,
                         o->letter, o->argument ? "+" : "", o->word, more);
    else
        eng_bytes_printf(out, " \\\n        '--%s%s[", o->word, more);
    add_quoted(out, cli_text(cli->lang, (enum cli_text)o->text), "[]\\");
    eng_bytes_text(out, "]");
    if (o->argument) {
        eng_bytes_printf(out, "%s:", optional ? ":" : "");
        add_quoted(out, o->argument, ":[]\\");
        eng_bytes_text(out, ":");
        if (is_file(o->argument)) {
            eng_bytes_text(out, "_files");
        } else if (is_preset(o)) {
            eng_bytes_text(out, "_outlet_presets");
        } else if (is_set(o->argument) || is_charset(o)) {
            eng_bytes_text(out, "(");
            if (is_charset(o))
                add_charsets(out);
            else
                add_set(out, o->argument);
            eng_bytes_text(out, ")");
        }
    }
    eng_bytes_text(out, "'");
}

static void
zsh_verb(struct eng_bytes *out, const struct cli *cli, int verb)
{
    const struct cli_verb_info *v = &cli_verb_infos[verb];

    eng_bytes_printf(out, "    %s)\n        _arguments -s", v->word);
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (is_of(&cli_option_infos[i], verb))
            zsh_option(out, cli, &cli_option_infos[i]);
    }
    if (takes_file(v)) {
        eng_bytes_text(out, " \\\n        '1:file:_files'");
        if (takes_url(v))
            eng_bytes_text(out, " \\\n        '2:word:_outlet_urls'");
    } else if (takes_url(v)) {
        eng_bytes_printf(out, " \\\n        '%s:word:_outlet_urls'",
                         strstr(v->arguments, "TO") ? "*" : "1");
    } else if (verb == CLI_PRESET) {
        eng_bytes_text(out, " \\\n        '1:word:_outlet_presets'");
    } else if (v->arguments[0]) {
        eng_bytes_printf(out, " \\\n        '%s:word:{compadd -S \"\" -- ",
                         strstr(v->arguments, "FILTER") ? "*" : "1");
        add_words(out, v);
        eng_bytes_text(out, "}'");
    }
    eng_bytes_text(out, "\n        ;;\n");
}

static void
zsh(struct eng_bytes *out, const struct cli *cli)
{
    eng_bytes_text(out, "#compdef outlet\n"
                        "# zsh completion of outlet, as \"outlet completion zsh\" writes it\n\n"
                        "# The names of the presets, of the file that the line itself gives.\n"
                        "_outlet_presets()\n"
                        "{\n"
                        "    local -a file names\n"
                        "    local i\n\n"
                        "    for ((i = 1; i < CURRENT; i++)); do\n"
                        "        case $words[i] in\n"
                        "        --presets) file=(--presets ${${(Q)words[i+1]}/#\\~/$HOME}) ;;\n"
                        "        --presets=*) file=(${(Q)words[i]}) ;;\n"
                        "        esac\n"
                        "    done\n"
                        "    names=(${(f)\"$(outlet preset $file 2>/dev/null)\"})\n"
                        "    compadd -- ${names%% *}\n"
                        "}\n\n"
                        "# A URL: its scheme, a path, or keys of options.\n"
                        "_outlet_urls()\n"
                        "{\n"
                        "    if [[ $PREFIX == *:*[\\#\\?]* ]]; then\n"
                        "        compset -P '*[\\#\\?,&]'\n"
                        "        compadd -S '' -- ");
    add_keys(out);
    eng_bytes_text(out, "\n"
                        "    elif [[ $PREFIX == unix*:/* ]]; then\n"
                        "        compset -P 'unix*:'\n"
                        "        [[ $PREFIX == ///* ]] && compset -P '//'\n"
                        "        _files\n"
                        "    else\n"
                        "        compadd -S '' -- ");
    add_schemes(out);
    eng_bytes_text(out, "\n"
                        "    fi\n"
                        "}\n\n"
                        "_outlet()\n"
                        "{\n"
                        "    local state line\n"
                        "    local -a verbs\n\n"
                        "    verbs=(\n");
    for (int i = 0; i < CLI_VERBS; i++) {
        eng_bytes_printf(out, "        '%s:", cli_verb_infos[i].word);
        add_quoted(out, cli_text(cli->lang, (enum cli_text)cli_verb_infos[i].text), "\\:");
        eng_bytes_text(out, "'\n");
    }
    eng_bytes_text(out, "    )\n    _arguments -C -s");
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (is_common(&cli_option_infos[i]))
            zsh_option(out, cli, &cli_option_infos[i]);
    }
    eng_bytes_text(out, " \\\n        '1: :->verb' '*:: :->rest'\n"
                        "    if [[ $state == verb ]]; then\n"
                        "        _describe -t verbs verb verbs\n"
                        "        compadd -S '' -- ");
    add_schemes(out);
    eng_bytes_text(out, "\n        return\n    fi\n    case $words[1] in\n");
    for (int i = 0; i < CLI_VERBS; i++)
        zsh_verb(out, cli, i);
    eng_bytes_text(out, "    esac\n}\n\n"
                        "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
                        "    _outlet \"$@\"\n"
                        "else\n"
                        "    compdef _outlet outlet\n"
                        "fi\n");
}

/* ---- fish ---- */

/* Whose line it is: the verbs that have the option, and its names. */
static void
fish_names(struct eng_bytes *out, const struct cli_option_info *o)
{
    eng_bytes_text(out, "complete -c outlet");
    if (!is_common(o)) {
        eng_bytes_text(out, " -n '__fish_seen_subcommand_from");
        for (int verb = 0; verb < CLI_VERBS; verb++) {
            if (is_of(o, verb))
                eng_bytes_printf(out, " %s", cli_verb_infos[verb].word);
        }
        eng_bytes_text(out, "'");
    }
    if (o->letter)
        eng_bytes_printf(out, " -s %c", o->letter);
    eng_bytes_printf(out, " -l %s", o->word);
}

/* Values in a line of their own, or each would be described as the option is. */
static void
fish_option(struct eng_bytes *out, const struct cli *cli, const struct cli_option_info *o)
{
    bool optional = o->argument && o->argument[0] == '[';

    fish_names(out, o);
    if (is_file(o->argument))
        eng_bytes_text(out, " -r -F");
    else if (o->argument && !optional)
        eng_bytes_text(out, " -x");
    eng_bytes_text(out, " -d '");
    add_quoted(out, cli_text(cli->lang, (enum cli_text)o->text), "\\");
    eng_bytes_text(out, "'\n");
    if (!is_preset(o) && !is_set(o->argument) && !is_charset(o))
        return;
    fish_names(out, o);
    eng_bytes_text(out, " -x -a '");
    if (is_preset(o))
        eng_bytes_text(out, "(__outlet_presets)");
    else if (is_charset(o))
        add_charsets(out);
    else
        add_set(out, o->argument);
    eng_bytes_text(out, "'\n");
}

static void
fish(struct eng_bytes *out, const struct cli *cli)
{
    eng_bytes_text(out, "# fish completion of outlet, as \"outlet completion fish\" writes it\n\n"
                        "# The names of the presets, of the file that the line itself gives.\n"
                        "function __outlet_presets\n"
                        "    set -l words (commandline -opc)\n"
                        "    set -l file\n"
                        "    for i in (seq (count $words))\n"
                        "        switch $words[$i]\n"
                        "            case --presets\n"
                        "                set file --presets (string replace -r '^~' $HOME -- "
                        "$words[(math $i + 1)])\n"
                        "            case '--presets=*'\n"
                        "                set file $words[$i]\n"
                        "        end\n"
                        "    end\n"
                        "    outlet preset $file 2>/dev/null | "
                        "string replace -r '^(\\S+) +' '$1\\t'\n"
                        "end\n\n"
                        "# Of a URL what stands behind its scheme: a path, or keys of options.\n"
                        "function __outlet_urls\n"
                        "    set -l cur (commandline -ct | string trim -l -c '\\'\"')\n"
                        "    if string match -qr '^[a-z-]+:.*[#?]' -- $cur\n"
                        "        set -l head (string replace -r '[^#?,&]*$' '' -- $cur)\n"
                        "        for key in ");
    add_keys(out);
    eng_bytes_text(out,
                   "\n"
                   "            echo $head$key\n"
                   "        end\n"
                   "    else if string match -qr '^unix[a-z-]*:/' -- $cur\n"
                   "        set -l head (string match -r '^unix[a-z-]*:(?://(?=/))?' -- $cur)\n"
                   "        set -l path (string replace -- $head '' $cur)\n"
                   "        for found in $path*\n"
                   "            test -d $found; and set found $found/\n"
                   "            echo $head$found\n"
                   "        end\n"
                   "    end\n"
                   "end\n\n"
                   "complete -c outlet -f\n");
    for (int i = 0; i < CLI_VERBS; i++) {
        eng_bytes_text(out, "complete -c outlet -n 'not __fish_seen_subcommand_from ");
        add_verbs(out);
        eng_bytes_printf(out, "' -a %s -d '", cli_verb_infos[i].word);
        add_quoted(out, cli_text(cli->lang, (enum cli_text)cli_verb_infos[i].text), "\\");
        eng_bytes_text(out, "'\n");
    }
    eng_bytes_text(out, "complete -c outlet -n 'not __fish_seen_subcommand_from ");
    add_verbs(out);
    eng_bytes_text(out, "' -a '");
    add_schemes(out);
    eng_bytes_text(out, "'\n");
    for (int i = 0; i < CLI_VERBS; i++) {
        const struct cli_verb_info *v = &cli_verb_infos[i];

        if (!v->arguments[0])
            continue;
        eng_bytes_printf(out, "complete -c outlet -n '__fish_seen_subcommand_from %s'", v->word);
        if (takes_file(v)) {
            eng_bytes_text(out, " -F\n");
            continue;
        }
        if (takes_url(v))
            eng_bytes_printf(out,
                             " -a '(__outlet_urls)'\ncomplete -c outlet -n "
                             "'__fish_seen_subcommand_from %s'",
                             v->word);
        eng_bytes_text(out, " -a '");
        if (i == CLI_PRESET)
            eng_bytes_text(out, "(__outlet_presets)");
        add_words(out, v);
        eng_bytes_text(out, "'\n");
    }
    for (int i = 0; i < CLI_OPTIONS; i++)
        fish_option(out, cli, &cli_option_infos[i]);
}

int
cli_completion(struct cli *cli)
{
    const char *shell = cli->options.word_count ? cli->options.words[0] : "";
    struct eng_bytes out = {0};
    int code = ENG_DONE;

    if (strcmp(shell, "bash") == 0)
        bash(&out);
    else if (strcmp(shell, "zsh") == 0)
        zsh(&out, cli);
    else if (strcmp(shell, "fish") == 0)
        fish(&out, cli);
    else
        return cli_usage(cli, TEXT_USAGE_SHELL, shell);
    if (out.failed) {
        cli_fail(cli, OUTLET_ENOMEM, TEXT_ERROR_INTERNAL, outlet_strerror(OUTLET_ENOMEM));
        code = ENG_INTERNAL;
    } else {
        cli_out_add(&cli->out, out.data, out.len);
    }
    eng_bytes_free(&out);
    return code;
}
