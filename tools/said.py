"""said.py - the sentences that people are shown, found in the sources.

The library and the engine speak English; tool/cli/said.def has each of their sentences in Chinese.
Every string literal in src/, include/, tool/engine/ and tool/cli/ that reads like one must stand
there, or in SILENT, which says what nobody is told.  What stands there and is said nowhere is in
vain.  A newcomer's mistake: to look for calls of the functions that refuse.  A sentence also comes
from a table, from a macro, or from either side of a question mark.

SPDX-License-Identifier: MIT
"""
import re

CATALOGUE = "tool/cli/said.def"
WHERE = ("src", "include", "tool/engine", "tool/cli")

# Files that write what others read: a recording, a drawing, a shell's script; and tables of names.
# src/proto/frame/frame_feed.h serves tests.
SILENT_FILES = {"src/proto/frame/frame_feed.h", "tool/cli/completion.c", "tool/engine/hist.c",
                "tool/engine/load_plot.c", "tool/engine/sum.c"}

# What is no sentence, or nobody is told.
SILENT = {
    "tool/cli/explain.c": {"see the fields of struct outlet_opts", "%.*ssee outlet-url(7)%s"},
    "tool/cli/help.c": {"outlet %s\n"},
    "tool/cli/line.c": {"the end, or delete", "complete a command"},
    "tool/cli/load_options.c": {"'p99<2ms', 'rate>50000', 'errors=0'"},
    "tool/cli/payload.c": {"--verify SUM"},
    "tool/cli/session.c": {"--record -", "outlet: %s: %s\n"},
    "tool/cli/show.c": {"%soutlet:%s "},
    "tool/cli/replay.c": {"1x, 2x, 0.5x, max"},
    "tool/cli/said.c": {"-+ #0123456789.*hlzjt"},
    "tool/cli/talk_commands.c": {"500ms TEXT", "1 reset", "01 03 ff"},
    "tool/engine/reader_pcap.c": {"outlet "},
    "tool/engine/record_impl.h": {"rule: ", "the rest of this datagram follows"},
    "tool/engine/record_pcap.c": {"outlet %s", "listen ", "connect "},
    "tool/engine/rules_parse.c": {"on, off", "none, lf, crlf", "on, off, reset", "in, out",
                                  "200ms, 1.5s, 2m", "others, off, tcp://HOST:PORT",
                                  "off, tcp://HOST:PORT", "on, off, tcp://HOST:PORT"},
    "tool/engine/session_record.c": {"outlet %s", "%s, pid %ld"},
    "tool/engine/template.c": {"start=N step=N width=N base=N", "s ms us ns utc %H:%M:%S",
                               "1..6 hex=8 text=8 bytes=8", "{{match}} {{match 1}}",
                               "seq start=N step=N client rand time time=ms"},
    "src/addr/scheme.c": {"tcp, unix, unix-seqpacket, unix-dgram, udp, pair and fd"},
    "src/net/conn/stream.c": {"unix datagram", "datagrams to many"},
    "src/net/server/dgram.c": {"datagram peer"},
    "src/base/assert.c": {"liboutlet: %s:%d: this must be true and is not: %s\n"},
}

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
STRING = r'"(?:\\.|[^"\\\n])*"'
PIECES = re.compile(rf"(?:\b[A-Z][A-Z_]*\s*)?{STRING}(?:\s*(?:{STRING}|[A-Z][A-Z_]*\b(?!\s*\()))*")
CONVERSION = re.compile(r"%[-+ #0-9.*hlzjt]*[a-zA-Z%]")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def unescaped(text):
    return re.sub(r'\\([ntr"\\])', lambda m: ESCAPES[m.group(1)], text)


def without_comments(text):
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group())
                     if m.group().startswith("/") else m.group(), text)


def literals(text):
    """(offset, value) of every string literal, with those beside it and its macros joined to it."""
    code = without_comments(text)
    code = re.sub(r"^[ \t]*#[ \t]*include[^\n]*", lambda m: " " * len(m.group()), code, flags=re.M)
    # A check of the compiler or of the program itself is for whoever works on it.
    code = re.sub(rf"(?:_Static_assert|OL_ASSERT|ol_assert_failed)\((?:[^;\"]|{STRING})*\);",
                  lambda m: re.sub(r"[^\n]", " ", m.group()), code)
    # 'c' may be a quote.
    code = re.sub(r"'(?:\\.|[^'\\\n])'", lambda m: " " * len(m.group()), code)
    code = code.replace("\\\n", "  ")
    define = re.compile(rf"^#define ([A-Z][A-Z_]*) ({STRING})[ \t]*$", re.M)
    macros = dict(define.findall(code))
    for m in define.finditer(code):
        yield m.start(2), unescaped(m.group(2)[1:-1])
    code = define.sub(lambda m: " " * len(m.group()), code)
    for m in PIECES.finditer(code):
        value = ""
        for piece in re.findall(rf"{STRING}|[A-Z][A-Z_]*", m.group()):
            piece = macros.get(piece, piece)
            value += piece[1:-1] if piece.startswith('"') else ""
        yield m.start(), unescaped(value)


def is_sentence(value):
    """Two words, or a word and something beside it."""
    words = CONVERSION.sub("", value)
    return " " in value.strip() + value[-1:] and re.search(r"[a-z]{2}", words) is not None \
        and re.search(r"%\*|%\[", value) is None


def catalogue(text):
    """{sentence: line} of SAID in said.def."""
    return {unescaped(m.group(1)[1:-1]): text.count("\n", 0, m.start()) + 1
            for m in re.finditer(rf"^SAID\(({STRING})", without_comments(text), re.M)}


def problems(tree):
    """What a sentence lacks: its translation, or whoever says it."""
    known = catalogue(tree.files.get(CATALOGUE, ""))
    found = set()
    for path, text in tree.under(*WHERE, endings=(".c", ".h")):
        if path.endswith(("_test.c", "_fuzz.c")) or path in SILENT_FILES:
            continue
        for offset, value in literals(text):
            if value in known:
                found.add(value)
            elif is_sentence(value) and value not in SILENT.get(path, ()):
                yield path, text.count("\n", 0, offset) + 1, \
                    f'"{value}" has no translation in {CATALOGUE}'
    for value, line in known.items():
        if value not in found:
            yield CATALOGUE, line, f'nobody says "{value}"'
