#!/usr/bin/python3
"""man.py - the man pages, from what is written once elsewhere.

    tools/man.py --out DIR [--lang zh] 1|3|7    write the pages of a section
    tools/man.py --list 1|3|7                   their names

Section 1 is packaging/man/outlet.1 with the verbs, the options and texts of the help put in, from
options.def, verbs.def and text.def in tool/cli.  Section 7 are docs/url.md, docs/framing.md,
docs/payloads.md, docs/recordings.md, docs/rules.md and docs/interactive.md.  Section 3 are the
comments of include/outlet: a page for each function, and one for each header with its types.  A
function that has no comment of the four labels has no page; tools/tidy.py sees to both.

SPDX-License-Identifier: MIT
"""
import argparse
import ast
import os
import pathlib
import re
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 78
ENDINGS = {"en": "", "zh": ".zh-CN"}
GUIDES = {  # page: (document, what it is)
    "outlet-url": ("docs/url{}.md", {"en": "endpoint URLs of outlet and their options",
                                     "zh": "outlet 的端点 URL 及其选项"}),
    "outlet-framing": ("docs/framing{}.md", {"en": "where messages begin and end on a byte stream",
                                             "zh": "字节流上消息的起止"}),
    "outlet-payloads": ("docs/payloads{}.md", {"en": "what the outlet command sends and checks",
                                               "zh": "outlet 命令发送和检查的内容"}),
    "outlet-recordings": ("docs/recordings{}.md",
                          {"en": "what the outlet command records, shows and replays",
                           "zh": "outlet 命令的记录、查看与重放"}),
    "outlet-rules": ("docs/rules{}.md", {"en": "what the outlet command answers and lets pass",
                                         "zh": "outlet 命令按规则应答与放行"}),
    "outlet-interactive": ("docs/interactive{}.md",
                           {"en": "the line of the outlet command that is edited at a terminal",
                            "zh": "outlet 命令在终端上的交互行"}),
}


# ---- text into mdoc ----------------------------------------------------------------------------


def escaped(text):
    """Text as mdoc wants it."""
    return text.replace("\\", "\\e").replace("-", "\\-")


WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
NOT_FIRST = "，。、；：？！）】》”’…"
NOT_LAST = "（【《“‘"


def breakable(text):
    """A line may be broken between two Chinese characters, which no formatter knows by itself."""
    return re.sub(rf"(?<=[{WIDE}])(?<![{NOT_LAST}])(?=[{WIDE}])(?![{NOT_FIRST}])", r"\\:", text)


def wrapped(text):
    """Lines of the source, none too long: each sentence begins one, and one that ends between two
    Chinese characters ends in \\c, because the formatter would put a blank there."""
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[.!?]\))\s+|(?<=[.!?]\\fR)\s+", text):
        line = ""
        for piece in re.findall(r"(?:\\(?!:).|[^\s\\])+|\\:|\s+", sentence):
            if len((line + piece).encode()) > WIDTH and line.strip() and piece.strip() \
                    and (line.endswith((" ", "\\:"))):
                yield guarded(line.rstrip(" ") + ("\\c" if line.endswith("\\:") else ""))
                line = ""
            line += piece if line or piece.strip() else ""
        if line.strip():
            yield guarded(line.rstrip(" "))


def guarded(line):
    """A line of text that no formatter takes for a request."""
    return "\\&" + line if line.startswith((".", "'")) else line


def inline(text):
    """Markdown within a line: code becomes bold, links their text."""
    text = re.sub(r"\[((?:[^\]`]|`[^`]*`)*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<!\w)\*[^*]+\*(?!\w))", text)
    out = ""
    for part in parts:
        if re.fullmatch(r"`\w+\(\)`", part):
            out += part[1:-1]
        elif part.startswith("`"):
            out += "\\fB" + escaped(part[1:-1]) + "\\fR"
        elif part.startswith("**"):
            out += "\\fB" + escaped(part[2:-2]) + "\\fR"
        elif part.startswith("*") and len(part) > 2:
            out += "\\fI" + escaped(part[1:-1]) + "\\fR"
        else:
            out += escaped(part)
    return re.sub(r"\b([a-z]\w*)\(\)", r"\\fB\1\\fR()", out)


def filled(text):
    """A paragraph as lines."""
    text = re.sub(rf"(?<=[{WIDE}]) (?=[{WIDE}])", "", " ".join(text.split()))
    yield from wrapped(breakable(inline(text)))


def literal(lines, indent=True):
    """Lines that stay as they are."""
    yield ".Bd -literal" + (" -offset indent" if indent else "")
    for line in lines:
        yield guarded(escaped(line)) if line.strip() else ""
    yield ".Ed"


def argument(text):
    """Text as one argument of a macro."""
    return '"' + escaped(text).replace('"', "\\(dq") + '"'


def date():
    """Of the release, or of the build."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    m = re.search(r"^## [\d.]+, (\d{4})-(\d\d)-(\d\d)$", changes, re.M)
    if m:
        when = time.strptime("-".join(m.groups()), "%Y-%m-%d")
    else:
        when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    months = ("January February March April May June July August September October November "
              "December").split()
    return f"{months[when.tm_mon - 1]} {when.tm_mday}, {when.tm_year}"


def head(name, section, what, source):
    """What every page begins with."""
    return [f'.\\" Written by tools/man.py from {source}.', f".Dd {date()}",
            f".Dt {name.upper()} {section}", ".Os", ".Sh NAME", f".Nm {name}",
            ".Nd " + breakable(escaped(what))]


def see_also(refs, lang="en"):
    """References, in the order that mandoc wants."""
    refs = sorted(set(refs), key=lambda r: (r[1], r[0].lower()))
    return [f".Sh {'SEE ALSO' if lang == 'en' else '参见'}"] + [
        f".Xr {name} {section}" + (" ," if i + 1 < len(refs) else "")
        for i, (name, section) in enumerate(refs)]


# ---- Markdown into mdoc ------------------------------------------------------------------------


def blocks(text):
    """The blocks of a document as (kind, lines)."""
    kind, lines = None, []
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
    for line in text.splitlines() + [""]:
        if kind == "fence":
            if line.startswith("```"):
                yield kind, lines
                kind, lines = None, []
            else:
                lines.append(line)
            continue
        now = ("fence" if line.startswith("```") else "head" if line.startswith("#")
               else "table" if line.startswith("|")
               else "code" if line.startswith("    ") and kind in (None, "code")
               else "item" if line.startswith("- ") else "")
        if not line.strip() or now not in ("", kind) or now in ("head", "item"):
            if lines:
                yield kind, lines
            kind, lines = None, []
        if now == "fence":
            kind = "fence"
        elif line.strip():
            kind = kind or now or "text"
            lines.append(line)


def table_items(lines, lang):
    """A table as tags: the first cell is the tag, of the others each is called by its column."""
    rows = [[c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
            for line in lines]
    names, rows = rows[0], rows[2:]
    yield ".Bl -tag -width Ds"
    for row in rows:
        yield ".It " + inline(row[0]).replace('"', "\\(dq")
        colon, gap, stop = (": ", "; ", ".") if lang == "en" else ("：", "；", "。")
        said = [cell if len(names) == 2 or i == 1 else f"{names[i]}{colon}{cell}"
                for i, cell in enumerate(row) if i and cell]
        yield from filled(gap.join(said) + (stop if said else ""))
    yield ".El"


def document(text, lang):
    """The body of a document: all but its title and the line of links below it."""
    listing = after_head = False
    for kind, lines in blocks(text):
        if listing and kind != "item":
            yield ".El"
            listing = False
        if kind == "head":
            level = len(lines[0].split()[0])
            title = lines[0].lstrip("# ").strip()
            if level > 1:
                yield (".Sh " if level == 2 else ".Ss ") + inline(title.upper())
                after_head = True
            continue
        if kind == "text" and lines[0].startswith("[") and " · " in lines[0]:
            continue
        if kind in ("code", "fence"):
            cut = 4 if kind == "code" else 0
            yield from literal([line[cut:] for line in lines])
        elif kind == "table":
            yield from table_items(lines, lang)
        elif kind == "item":
            if not listing:
                yield ".Bl -bullet"
                listing = True
            yield ".It"
            yield from filled(" ".join(line.lstrip("- ") if not i else line.strip()
                                       for i, line in enumerate(lines)))
        else:
            if not after_head:
                yield ".Pp"
            yield from filled(" ".join(lines))
        after_head = False
    if listing:
        yield ".El"


def section7(lang):
    """(name, text) of the guides."""
    for name, (path, what) in GUIDES.items():
        path = path.format(ENDINGS[lang])
        body = list(document((ROOT / path).read_text(encoding="utf-8"), lang))
        while body and body[0] == ".Pp":
            body.pop(0)
        others = [(other, 7) for other in GUIDES if other != name]
        lines = head(name, 7, what[lang], path) + [
            ".Sh " + ("DESCRIPTION" if lang == "en" else "说明")] + body
        yield f"{name}.7", lines + see_also([("outlet", 1), ("outlet", 3), *others], lang)


# ---- the command -------------------------------------------------------------------------------


class Names(dict):
    """The tables are almost Python: what is not known there is a name."""

    def __missing__(self, key):
        return key


def table_rows(path, macro):
    """The rows of a .def file, each as a tuple."""
    text = re.sub(r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/', lambda m: m.group(1) or "",
                  (ROOT / path).read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"'(.)'", r'"\1"', text) if macro == "OPTION" else text
    rows = []
    source = (ROOT / "tool/cli/options.c").read_text(encoding="utf-8")
    names = Names(NULL=None, IN=lambda verb: frozenset([verb]))
    names[macro] = lambda *cells: rows.append(cells)
    if macro == "OPTION":
        for name, value in re.findall(r"^#define (\w+) \((.*)\)$", source, re.M):
            names[name] = None if "~0u" in value else eval(value, {}, names)
    for m in re.finditer(rf"^{macro}\(", text, re.M):
        call = text[m.start():matching(text, m.end())]
        eval(compile(ast.parse(call.strip(), mode="eval"), path, "eval"), {}, names)
    return rows


def matching(text, at):
    """Behind the bracket that closes the one before `at`."""
    depth, quoted = 1, False
    while depth:
        c = text[at]
        if quoted and c == "\\":
            at += 1
        elif c == '"':
            quoted = not quoted
        elif not quoted:
            depth += {"(": 1, ")": -1}.get(c, 0)
        at += 1
    return at


def texts(lang):
    """name: sentence."""
    column = 1 if lang == "en" else 2
    return {row[0]: row[column] for row in table_rows("tool/cli/text.def", "TEXT")}


def synopsis(arguments):
    """URL [TEXT | -] as mdoc arguments."""
    words = re.findall(r"\[[^\]]*\]|\S+", arguments)
    out = []
    for word in words:
        if word.startswith("["):
            out.append("Op " + word[1:-1].replace("|", "\\*(Ba").replace("-", "\\-"))
        else:
            out.append("Ar " + word.replace("|", " | ").replace("-", "\\-"))
    return " ".join(out)


def options_of(verb, options):
    """The names of a verb's own options."""
    return [f"\\fB\\-\\-{escaped(o[2])}\\fR" for o in options if o[4] is not None and verb in o[4]]


def verb_items(lang, options, said):
    """What stands for @VERBS@."""
    yield ".Bl -tag -width Ds"
    for name, word, arguments, text in table_rows("tool/cli/verbs.def", "VERB"):
        yield f".It Cm {word} {synopsis(arguments)}".rstrip()
        yield from filled(said[text][0].upper() + said[text][1:] + ("." if lang == "en" else "。"))
        own = options_of(name, options)
        if own:
            line = ("Options: " if lang == "en" else "选项：") + ", ".join(own)
            yield ".br"
            yield from wrapped(line + ".")
    yield ".El"


def option_items(lang, options, said):
    """What stands for @OPTIONS@: each option once, with the verbs that take it."""
    words = {row[0]: row[1] for row in table_rows("tool/cli/verbs.def", "VERB")}
    yield ".Bl -tag -width Ds"
    for _, letter, word, value, verbs, text in options:
        names = ([f"Fl {letter}"] if letter else []) + [f"Fl \\-{escaped(word)}"]
        tail = f" Ar {argument(value)}" if value else ""
        yield ".It " + " , ".join(names) + tail
        sentence = said[text]
        who = "" if verbs is None else ", ".join(words[v] for v in words if v in verbs)
        if who:
            sentence += f" ({who})" if lang == "en" else f"（{who}）"
        yield from filled_plain(sentence + ("." if lang == "en" else "。"))
    yield ".El"


def filled_plain(text):
    """A sentence of the catalogue, which is no Markdown."""
    yield from wrapped(breakable(escaped(" ".join(text.split()))))


def section1(lang):
    """The page of the command."""
    path = "packaging/man/outlet.1" if lang == "en" else "packaging/man/zh_CN/outlet.1"
    said = texts(lang)
    options = table_rows("tool/cli/options.def", "OPTION")
    lines = []
    for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
        if line.startswith('.\\" SPDX'):
            continue
        if line == "@VERBS@":
            lines += verb_items(lang, options, said)
        elif line == "@OPTIONS@":
            lines += option_items(lang, options, said)
        elif re.fullmatch(r"@\w+@", line):  # a text of the help, as it stands there
            lines += literal(said[line.strip("@")].splitlines(), indent=False)
        elif line == ".Dd":
            lines.append(f".Dd {date()}")
        else:
            if re.match(f"[{WIDE}]", line) and re.search(f"[{WIDE}]$", lines[-1]):
                lines[-1] += "\\c"  # the formatter would put a blank between them
            lines += [line] if line.startswith(".") else wrapped(breakable(line))
    yield "outlet.1", lines


# ---- the library -------------------------------------------------------------------------------


FUNCTION = re.compile(r"^/\*\*\n((?: \*[^\n]*\n)*?) \*/\nOUTLET_API\b([^;{]*);", re.M)
LABELS = ("Memory", "Thread", "Calls", "Errors")


def uncommented(comment):
    """The lines inside a comment."""
    return [re.sub(r"^ \* ?", "", line) for line in comment.rstrip("\n").splitlines()]


def paragraphs(lines):
    """Text of a comment as mdoc: paragraphs, and what is indented stays as it is."""
    lines = [line.replace("docs/url.md", "outlet-url(7)") for line in lines]
    first = True
    block = []
    for line in lines + [""]:
        code = line.startswith("    ")
        if block and (not line.strip() or code != block[0].startswith("    ")):
            if block[0].startswith("    "):
                yield from literal(textwrap.dedent("\n".join(block)).splitlines())
            else:
                if not first:
                    yield ".Pp"
                yield from filled(" ".join(block))
            first = False
            block = []
        if line.strip():
            block.append(line)


class Function:
    """A function of a header: its declaration and its comment."""

    def __init__(self, header, comment, declaration):
        self.header = header
        declaration = " ".join(declaration.replace("OUTLET_MUST_USE", "").split())
        m = re.match(r"(.*?)\b(outlet_\w+)\((.*)\)$", declaration)
        self.type, self.name, arguments = m.group(1).strip(), m.group(2), m.group(3)
        self.arguments = split_arguments(arguments)
        self.parts = {"": []}
        part = ""
        for line in uncommented(comment):
            m = re.match(rf"({'|'.join(LABELS)})\s+(\S.*)$", line)
            if m:
                part = m.group(1)
                line = m.group(2)
                self.parts[part] = []
            elif part:
                line = line[8:] if line.startswith(" " * 8) else line
            self.parts[part].append(line)

    def what(self):
        """The first sentence, as it stands in a list."""
        text = " ".join(self.parts[""]).strip().replace("`", "")
        text = re.split(r"(?<=[^.])\.(?=\s|$)|:(?=\s|$)|,? so that |; ", text)[0]
        return text[0].lower() + text[1:]

    def mentioned(self, functions):
        """Other functions that the comment names."""
        text = " ".join(" ".join(lines) for lines in self.parts.values())
        return {name for name in re.findall(r"\boutlet_\w+(?=\()", text)
                if name in functions and name != self.name}


def split_arguments(text):
    """At commas that stand in no brackets."""
    out, depth = [""], 0
    for c in text:
        depth += {"(": 1, ")": -1}.get(c, 0)
        if c == "," and depth == 0:
            out.append("")
        else:
            out[-1] += c
    return [a.strip() for a in out]


def error_items(lines, sentences):
    """ERRORS: codes as tags.  A code without words has those of the table."""
    items, free = [], []
    for line in lines:
        m = re.match(r"(OUTLET_E\w+(?:, OUTLET_E\w+)*)(,?)(?:\s\s+(\S.*)|\s+(also\b.*)|)$", line)
        if m and not m.group(2):
            for code in m.group(1).split(", ")[:-1] if not (m.group(3) or m.group(4)) else []:
                items.append([code, sentences[code] + "."])
            last = m.group(1) if m.group(3) or m.group(4) else m.group(1).split(", ")[-1]
            words = m.group(3) or (m.group(4) and
                                   f"{sentences.get(last, '')}; {m.group(4)}") or sentences[last]
            items.append([last, words + ("" if words.endswith(".") else ".")])
        elif line.startswith(" ") and items:
            items[-1][1] = items[-1][1].rstrip(".") + " " + line.strip()
        else:
            free.append(line)
    if items:
        yield ".Bl -tag -width Er"
        for codes, words in items:
            yield ".It " + " , ".join(f"Dv {c}" for c in codes.split(", "))
            yield from filled(words)
        yield ".El"
    if free:
        if items:
            yield ".Pp"
        yield from filled(" ".join(free))


def function_page(f, functions, sentences):
    """A page of section 3."""
    lines = head(f.name, 3, f.what(), f"include/outlet/{f.header}")
    lines += [".Sh LIBRARY", "outlet (liboutlet, \\-loutlet)", ".Sh SYNOPSIS",
              f".In outlet/{f.header}", f".Ft {argument(f.type)}", f".Fo {f.name}"]
    lines += [f".Fa {argument(a)}" for a in f.arguments] + [".Fc", ".Sh DESCRIPTION"]
    lines += paragraphs(f.parts[""])
    lines += [".Sh MEMORY", *paragraphs(f.parts["Memory"]), ".Sh THREADS",
              *paragraphs(f.parts["Thread"]), ".Sh CALLBACKS", *paragraphs(f.parts["Calls"])]
    if f.type in ("outlet_err", "int64_t", "int"):
        lines += [".Sh RETURN VALUES",
                  "0 or a positive number for success, a negative code for failure."]
    lines += [".Sh ERRORS", *error_items(f.parts["Errors"], sentences)]
    refs = {(name, 3) for name in f.mentioned(functions)} | {("outlet", 3), (page_of(f.header), 3)}
    return lines + see_also(refs)


def page_of(header):
    """conn.h is described in outlet_conn(3)."""
    return "outlet" if header == "outlet.h" else "outlet_" + header.split(".")[0]


def declarations(text):
    """What a header declares besides functions."""
    text = FUNCTION.sub("", text)
    text = re.sub(r"\A/\*.*?\*/\n", "", text, flags=re.S)
    text = re.sub(r"^#(?:ifndef OUTLET_\w+_H|define OUTLET_\w+_H|include.*|endif.*)\n", "", text,
                  flags=re.M)
    text = re.sub(r'^#ifdef __cplusplus\n(?:extern "C" \{|\})\n', "", text, flags=re.M)
    text = re.sub(r"^/\* clang-format (?:on|off) \*/\n", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n").splitlines()


def header_page(header, text, own, every):
    """A header: its opening comment, its types, its functions."""
    comment = uncommented(re.match(r"/\*\n(.*?)\n \*/", text, re.S).group(1))
    comment = [line for line in comment if not line.startswith("SPDX")]
    what = comment[0].split(" - ", 1)[1].rstrip(".")
    if len(comment) > 1 and comment[1].strip():  # the sentence goes on
        what += " " + comment.pop(1).rstrip(".")
    lines = head(page_of(header), 3, what, f"include/outlet/{header}")
    lines += [".Sh LIBRARY", "outlet (liboutlet, \\-loutlet)", ".Sh SYNOPSIS",
              f".In outlet/{header}", ".Sh DESCRIPTION"]
    lines += list(paragraphs(comment[1:])) or [breakable(escaped(what)) + "."]
    types = declarations(text)
    if types:
        lines += [".Sh TYPES", *literal(types, indent=False)]
    if own:
        lines += [".Sh FUNCTIONS", ".Bl -tag -width Ds"]
        for f in own:
            lines += [f".It Xr {f.name} 3", *filled(f.what() + ".")]
        lines.append(".El")
    refs = {(page_of(h), 3) for h in every} | {("outlet", 1), ("outlet-url", 7)}
    return lines + see_also(refs - {(page_of(header), 3)})


def functions_of(headers):
    """name: Function, of all that have a comment; `headers` maps names to text."""
    every = (Function(header, *m.groups()) for header, text in headers.items()
             for m in FUNCTION.finditer(text))
    return {f.name: f for f in every}


def section3():
    """(name, lines) of every page of the library."""
    headers = {p.name: p.read_text(encoding="utf-8")
               for p in sorted((ROOT / "include/outlet").iterdir())}
    functions = functions_of(headers)
    err = headers.get("err.h", "")
    sentences = {name: words for name, words in
                 re.findall(r'X\((OUTLET_\w+), -?\d+, "([^"]*)"\)', err)}
    pages = {}
    for f in functions.values():
        pages[f.name] = function_page(f, functions, sentences)
    for header, text in headers.items():
        if page_of(header) in pages:
            sys.exit(f"{page_of(header)} is a function and a header")
        own = [f for f in functions.values() if f.header == header]
        pages[page_of(header)] = header_page(header, text, own, headers)
    for name, lines in pages.items():
        yield f"{name}.3", lines


def pages_of(section, lang):
    """(name, lines) of one section."""
    return {"1": lambda: section1(lang), "7": lambda: section7(lang),
            "3": section3}[section]()


def main(argv):
    parser = argparse.ArgumentParser(description="the man pages")
    parser.add_argument("section", choices=("1", "3", "7"))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--lang", choices=("en", "zh"), default="en")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args(argv)
    for name, lines in pages_of(args.section, args.lang):
        if args.list:
            print(name)
        else:
            (args.out / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
