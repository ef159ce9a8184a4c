#!/usr/bin/python3
"""tidy.py - the project's own rules, as a test.

    tools/tidy.py                    every rule that the sources can show
    tools/tidy.py --symbols LIB...   what a built .so exports, what of a .a can change
    tools/tidy.py --write-map        write liboutlet.map from the headers
    tools/tidy.py --write-snippets   cut the snippets of the READMEs from their sources again
    tools/tidy.py --wrap             wrap comments that are too long

Each rule is one function: it takes the tree and yields problems.  The layers stand in
docs/internals/layers.md, so that a new arrow is a change that people see.  Sizes are printed and
never fail: a long function may be the better one.

SPDX-License-Identifier: MIT
"""
import argparse
import fnmatch
import itertools
import os
import pathlib
import re
import subprocess
import sys

import man
import said

CODE = (".c", ".h", ".hpp", ".cpp")
SCRIPT = (".py", ".sh")
COLUMNS = 100
FILE_LINES = 700
FUNCTION_LINES = 60
SPDX = "SPDX-License-" + "Identifier:"

# name: (where it is banned, what to do instead).  "tests" are *_test.c, *_fuzz.c and tests/.
EVERYWHERE = ("src", "tool", "tests")
BANNED = {
    **{n: (EVERYWHERE, "it does not know the room: snprintf or memcpy") for n in
       ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "stpcpy", "strncat", "strncpy")},
    **{n: (EVERYWHERE, "it hides errors: strtol, or a parser of our own") for n in
       ("atoi", "atol", "atoll", "atof")},
    "strtok": (EVERYWHERE, "it keeps state between calls"),
    **{n: (EVERYWHERE, "nothing here waits for time to pass: use a timer") for n in
       ("sleep", "usleep", "nanosleep")},
    "alloca": (EVERYWHERE, "the stack has no limit that can be checked"),
    **{n: (("src",), "memory comes from a heap: ol_alloc, ol_resize, ol_free") for n in
       ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "reallocarray", "asprintf",
        "vasprintf", "aligned_alloc", "posix_memalign")},
    **{n: (("src",), "a library neither prints nor ends the program") for n in
       ("printf", "puts", "putchar", "fprintf", "vprintf", "vfprintf", "perror", "exit", "_exit",
        "abort")},
    **{n: (EVERYWHERE, "it is not seeded: ol_rng, or the driver's random") for n in
       ("rand", "srand")},
}
MAY_CALL = {
    "src/base/alloc.c": {"malloc", "calloc", "realloc", "free"},
    "src/base/assert.c": {"fprintf", "abort"},
}

# Public structs without a leading size, and why that is right.
NO_SIZE = {
    "outlet_allocator": "three functions and their context; a heap is copied by value",
    "outlet_frame": "an answer of three numbers, written by a callback for each message",
}

WORDS = (
    (re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\)| #\d+)"), "needs the number of an issue"),
    (re.compile(r"(?<![\w.])/(?:home|root|Users|work|mnt)/\w"), "names somebody's machine"),
)

# What compilers, coverage and sanitizers put into the data of an object.
FOREIGN_DATA = re.compile(r"^(?:__|\.L|_GLOBAL_|completed\.|\.bss|\.data)")
# All that a process has only once: the registry of reactors, how often it has forked, and for each
# thread its reactor.
MAY_CHANGE = {
    ("src_io_loop_registry.c.o", "registry"),
    ("src_io_driver_host.c.o", "forks"),
    ("src_io_loop_reactor.c.o", "ol_current_reactor"),
}


class Tree:
    """The files of a source tree, read once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(f for f in folders if self._is_source(folder, f))
            for name in sorted(names):
                path = pathlib.Path(folder, name)
                if path.is_symlink() or not path.is_file() or name == ".git":
                    continue
                try:
                    text = path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue  # an image, a corpus input
                self.files[path.relative_to(self.root).as_posix()] = text
        self.layers = Layers(self.files.get("docs/internals/layers.md", ""))

    @staticmethod
    def _is_source(parent, folder):
        return (folder not in (".git", "__pycache__", ".cache", "corpus")
                and not folder.startswith("build")
                and not os.path.isdir(os.path.join(parent, folder, "meson-private")))

    def under(self, *folders, endings=CODE):
        """(path, text) of files with these endings below these folders; no folder: everywhere."""
        for path, text in self.files.items():
            if path.endswith(tuple(endings)) and (
                    not folders or path.startswith(tuple(f + "/" for f in folders))):
                yield path, text


class Layers:
    """The tables of docs/internals/layers.md."""

    def __init__(self, text):
        self.may = {}
        self.tests_may = {}
        self.headers = {}
        tables = {"folder": self.may, "tests in": self.tests_may, "header": self.headers}
        table = None
        for line in text.splitlines():
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if not line.startswith("|") or len(cells) != 2:
                table = None
            elif cells[0] in tables:
                table = tables[cells[0]]
            elif table is not None and not set(line) <= set("|- "):
                entries = re.findall(r"`([^`]+)`", cells[1])
                for key in re.findall(r"`([^`]+)`", cells[0]):
                    table[key] = entries

    def folder_of(self, path):
        """The row a file belongs to: src/io/driver/x.c is io/driver, tool/cli/x.c is tool."""
        parts = path.split("/")
        if parts[0] == "src":
            parts = parts[1:]
        for length in (2, 1):
            if "/".join(parts[:length]) in self.may and len(parts) > length:
                return "/".join(parts[:length])
        return None

    def allowed(self, folder, is_test):
        """What files of this folder may include."""
        entries = list(self.may.get(folder, []))
        if is_test:
            for pattern, more in self.tests_may.items():
                if fnmatch.fnmatch(folder, pattern):
                    entries += more
        return entries


def is_test(path):
    """Tests may allocate, print and look inside."""
    return path.endswith(("_test.c", "_fuzz.c")) or path.startswith("tests/")


def blank(text):
    """The code with comments and the insides of literals turned into spaces; lines stay."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def includes_of(text):
    """(line, name, is_system) of every #include."""
    for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', text, re.M):
        yield line_of(text, m.start()), m.group(2), m.group(1) == "<"


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, p) for p in patterns)


# ---- rules -------------------------------------------------------------------------------------


def layers(tree):
    """An arrow that points back, a door that is not the folder's own, a folder without a row."""
    if not tree.layers.may:
        yield "docs/internals/layers.md", 1, "the table of layers is missing"
    for path, text in tree.under("src", "tool", "examples", "bindings", "bench"):
        folder = tree.layers.folder_of(path)
        if folder is None:
            yield path, 1, "its folder has no row in docs/internals/layers.md"
            continue
        allowed = tree.layers.allowed(folder, is_test(path))
        for line, name, is_system in includes_of(text):
            problem = None if is_system and not name.startswith("outlet/") \
                else judge_include(tree, path, folder, name, allowed)
            if problem:
                yield path, line, problem


def judge_include(tree, path, folder, name, allowed):
    """What is wrong with one quoted include, or None."""
    here = os.path.dirname(path)
    if name == "config.h" or name == "outlet/err.h":
        return None
    if name.startswith("outlet/"):
        return None if matches(name, allowed) else f"{folder} may not include {name}"
    if "/" not in name:
        return beside(tree, here, path, name, allowed)
    if not path.startswith("src/"):
        # Programs have folders of their own: cli/cli.h from tool/main.c or tool/tui/tui.c.
        top = path.split("/")[0]
        if f"{top}/{name}" in tree.files or os.path.normpath(f"{here}/{name}") in tree.files:
            return None
        return f"{folder} sees only the public headers, not {name}"
    if matches(name, allowed):
        return None  # an entry that is one header
    other = os.path.dirname(name)
    if f"src/{name}" not in tree.files and not name.startswith("tests/"):
        return f"{name}: there is no such file under src/"
    if other == folder:
        # Its own door may be used by the whole name too, as others do.
        bare = os.path.basename(name)
        return None if bare == os.path.basename(folder) + ".h" \
            else f'a folder includes its own files by the bare name: "{bare}"'
    if not matches(other, allowed):
        return f"{folder} may not include {other} (docs/internals/layers.md)"
    if os.path.basename(name) != os.path.basename(other) + ".h":
        return f"the only door of {other} is {other}/{os.path.basename(other)}.h"
    return None


def beside(tree, here, path, name, allowed):
    """A bare name: the same folder, or the common helpers of the tests."""
    if f"{here}/{name}" in tree.files:
        return None
    if is_test(path) and "tests/support" in allowed and f"tests/support/{name}" in tree.files:
        return None
    return f"{name} is not in {here}/"


def one_place(tree):
    """A header that has one place enters somewhere else."""
    for path, text in tree.under("src", "tool", "examples", "bindings", "bench", "tests",
                                 "include"):
        for line, name, _ in includes_of(text):
            for pattern, places in tree.layers.headers.items():
                if fnmatch.fnmatch(name, pattern) and not matches(path, places):
                    yield path, line, f"{name} may be included only in {', '.join(places)}"


def banned_calls(tree):
    """A function that this project does without."""
    for path, text in tree.under("src", "tool", "tests"):
        where = "tests" if is_test(path) else path.split("/")[0]
        code = blank(text)
        for m in re.finditer(r"(?<![\w.>])(\w+)\s*\(", code):
            name = m.group(1)
            folders, instead = BANNED.get(name, ((), ""))
            if where in folders and name not in MAY_CALL.get(path, ()):
                yield path, line_of(code, m.start(1)), f"{name}(): {instead}"


def public_functions(tree):
    """(path, line, name, comment) of every function that the headers export."""
    for path, text in tree.under("include/outlet"):
        code = blank(text)
        for m in re.finditer(r"^OUTLET_API\b([^;{]*?)\b(\w+)\s*\(", code, re.M):
            before = text[:m.start()].rstrip()
            comment = ""
            if before.endswith("*/"):
                comment = before[before.rindex("/*"):]
            yield path, line_of(text, m.start()), m.group(2), comment


def four_labels(tree):
    """A public function must say, in this order, who owns memory, which thread, what is called
    back and how it fails."""
    want = ["Memory", "Thread", "Calls", "Errors"]
    for path, line, name, comment in public_functions(tree):
        got = re.findall(r"^ \* (Memory|Thread|Calls|Errors) +\S", comment, re.M)
        if not comment.startswith("/**"):
            yield path, line, f"{name} has no /** comment */"
        elif got != want:
            yield path, line, f"{name}: the labels are {' '.join(got) or 'missing'}, " \
                              f"not {' '.join(want)}"
        else:
            memory = comment[comment.index(" * Memory"):comment.index(" * Thread")]
            if not re.match(r" \* Memory  (copies|lends|takes|gives|keeps nothing)\b", memory):
                yield path, line, f"{name}: Memory copies, lends, takes, gives or keeps nothing"


def read_map(text):
    """The names under `global:` in a version script."""
    code = re.sub(r"/\*.*?\*/|#[^\n]*", "", text, flags=re.S)
    names = []
    for part in re.findall(r"global:(.*?)(?:local:|\})", code, re.S):
        names += re.findall(r"[\w*]+", part)
    return names


def symbol_map(tree):
    """liboutlet.map must list the functions of the headers, each by its name."""
    declared = {name for _, _, name, _ in public_functions(tree)}
    listed = read_map(tree.files.get("liboutlet.map", ""))
    for name in sorted(declared - set(listed)):
        yield "liboutlet.map", 1, \
            f"{name} is in the headers and not here (tools/tidy.py --write-map)"
    for name in sorted(set(listed) - declared):
        yield "liboutlet.map", 1, f"{name} is here and not in the headers"
    for name in sorted({n for n in listed if listed.count(n) > 1}):
        yield "liboutlet.map", 1, f"{name} stands here twice"


def man_pages(tree):
    """Every function of the map must have a page of section 3, which tools/man.py writes from the
    comments: where it cannot read one, the page would be missing after `make install`."""
    written = man.functions_of(dict(tree.under("include/outlet", endings=(".h",))))
    for name in read_map(tree.files.get("liboutlet.map", "")):
        if name not in written:
            yield "liboutlet.map", 1, f"{name} has no man page: tools/man.py cannot read it"


def public_structs(tree):
    """A public struct begins with its size, so that it can grow; a handle is one field."""
    for path, text in tree.under("include/outlet", endings=(".h",)):
        code = blank(text)
        for m in re.finditer(r"^(?:typedef )?struct (\w+) \{(.*?)^\}", code, re.M | re.S):
            name, body = m.group(1), m.group(2)
            fields = [f.strip() for f in body.split(";") if f.strip()]
            if name in NO_SIZE or len(fields) == 1 or re.match(r"size_t\s+size$", fields[0]):
                continue
            yield path, line_of(text, m.start()), f"struct {name} must begin with `size_t size`"


def registered(tree):
    """A source that no meson.build names is never built, a test that none names never runs."""
    for path, _ in tree.under("src", "tool", "tests", "examples", "bench",
                              endings=(".c", "_test.py")):
        folder, name = os.path.split(path)
        relative = name
        while True:
            build = tree.files.get(f"{folder}/meson.build" if folder else "meson.build", "")
            if re.search(r"(?<![\w/])" + re.escape(f"'{relative}'"), strip_hash(build)):
                break
            if not folder:
                yield path, 1, "no meson.build names this file"
                break
            folder, last = os.path.split(folder)
            relative = f"{last}/{relative}"
    for path, _ in tree.under("include/outlet", endings=(".h",)):
        if f"'outlet/{os.path.basename(path)}'" not in tree.files.get("include/meson.build", ""):
            yield path, 1, "include/meson.build does not install this header"


def strip_hash(text):
    return re.sub(r"#[^\n]*", "", text)


def openings(tree):
    """A file says what it is for before anything else, and its licence once."""
    for path, text in tree.files.items():
        name = os.path.basename(path)
        shebang = text.startswith("#!")
        if path.endswith(CODE):
            opens = text.startswith("/*")
        elif path.endswith(SCRIPT) or shebang:
            body = text.split("\n", 1)[1] if shebang and "\n" in text else text
            opens = body.lstrip("\n").startswith(("#", '"""'))
        elif name == "Makefile":
            opens = text.startswith("#")
        else:
            continue
        if not opens:
            yield path, 1, "must open with a comment that says what it is for"
        if text.count(SPDX) != 1:
            yield path, 1, f"must have one line with {SPDX}, has {text.count(SPDX)}"


def layout(tree):
    """Trailing blanks, tabs, long lines, a last line that does not end."""
    for path, text in tree.files.items():
        if text and not text.endswith("\n"):
            yield path, line_of(text, len(text)), "the last line has no end"
        code = path.endswith((*CODE, *SCRIPT, "meson.build")) or path.startswith("tools/")
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip() and not path.endswith((".diff", ".patch")):
                yield path, number, "blanks at the end of the line"
            if code and "\t" in line:
                yield path, number, "a tab"
            if code and len(line) > COLUMNS:
                yield path, number, f"{len(line)} columns, more than {COLUMNS}"


def words(tree):
    """Words that must not reach the tree."""
    for path, text in tree.files.items():
        if path in ("tools/tidy.py", "tests/tidy_test.py"):
            continue
        for pattern, problem in WORDS:
            for m in pattern.finditer(text):
                yield path, line_of(text, m.start()), f"{m.group()}: {problem}"


SNIPPET = re.compile(r"<!-- snippet: (\S+) -->\n```\w*\n(.*?)^```$", re.M | re.S)


def snippet_of(text):
    """What a README shows of a source: all but its opening comment."""
    if text.startswith("/*"):
        text = text[text.index("*/") + 2:]
    return text.strip("\n") + "\n"


def snippets(tree):
    """What the documents show must be what is compiled."""
    for path, text in tree.under(endings=(".md",)):
        for m in SNIPPET.finditer(text):
            source = m.group(1)
            if source not in tree.files:
                yield path, line_of(text, m.start()), f"there is no {source}"
            elif m.group(2) != snippet_of(tree.files[source]):
                yield path, line_of(text, m.start()), \
                    f"differs from {source} (tools/tidy.py --write-snippets)"
        if len(SNIPPET.findall(text)) != text.count("<!-- snippet:"):
            yield path, 1, "a snippet mark without a code block under it"


def links(tree):
    """A link inside the repository must lead somewhere."""
    for path, text in tree.under(endings=(".md",)):
        for m in re.finditer(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", text):
            target = os.path.normpath(os.path.join(os.path.dirname(path), m.group(1)))
            if not (tree.root / target).exists():
                yield path, line_of(text, m.start()), f"leads nowhere: {m.group(1)}"


TRANSLATED = re.compile(r"(?:README|docs/(?!internals/)(?:.*/)?[^/]+?)\.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def outline(text):
    """What a document and its translation have in common: (kind, text) in order."""
    body = FENCE.sub("", text)
    yield from (("heading", "#" * len(m.group(1)))
                for m in re.finditer(r"^(#+) ", body, re.M))
    for m in FENCE.finditer(text):
        yield "block of", m.group(1) or "text"
        if m.group(1) == "sh":
            for line in m.group(2).splitlines():
                yield "command", re.sub(r"(?:^|\s+)# .*$", "", line).rstrip()
    for m in re.finditer(r"(?:^\|.*\n)+", body, re.M):
        yield "table with lines", str(m.group().count("\n"))
    body = re.sub(r"<!--.*?-->", "", FENCE.sub("\n\n", text), flags=re.S)
    for block in re.split(r"\n\s*\n", body):
        items = len(re.findall(r"^ *(?:-|\d+\.) ", block, re.M))
        yield from [("item", "")] * items
        if not items and re.match(r"\s*[^\s#|]", block):
            yield "paragraph", ""


def man_outline(text):
    """The same of a man page: sections, paragraphs, items of lists, commands, what is put in."""
    for m in re.finditer(r"^\.(Sh|Ss|Pp|Bl|El|It|Bd|Ed|Dl)\b(.*)$|^(@.*@)$", text, re.M):
        yield m.group(1) or m.group(3), m.group(2).strip() if m.group(1) == "Dl" else ""


def differs(ours, theirs):
    """The first place where they do: (theirs, ours); None: they do not."""
    for mine, its in itertools.zip_longest(ours, theirs, fillvalue=("the end", "")):
        if mine != its:
            return " ".join(its).strip(), " ".join(mine).strip()
    return None


def translations(tree):
    """A document that people read stands in both languages: headings, commands, tables, items of
    lists, paragraphs."""
    for path, text in tree.under("docs", endings=(".md",)):
        if path.endswith(".zh-CN.md") and path.replace(".zh-CN", "") not in tree.files:
            yield path, 1, "is a translation of nothing"
    for path, text in tree.files.items():
        if path.endswith(".zh-CN.md") or not TRANSLATED.fullmatch(path):
            continue
        other = path.removesuffix(".md") + ".zh-CN.md"
        if other not in tree.files:
            yield path, 1, f"there is no {other}"
            continue
        difference = differs(outline(text), outline(tree.files[other]))
        if difference:
            yield other, 1, f"has {difference[0]} where {path} has {difference[1]}"
    for path, text in tree.under("packaging/man/zh_CN", endings=(".1",)):
        original = path.replace("zh_CN/", "")
        difference = differs(man_outline(tree.files.get(original, "")), man_outline(text))
        if difference:
            yield path, 1, f"has {difference[0]} where {original} has {difference[1]}"


# Where somebody copies a command line from.  What fits no file is an error in zsh and fish, which
# take * ? [ for a pattern; zsh takes # for one, too, when it is set EXTENDED_GLOB.
COPIED = (
    (".md", re.compile(r"`((?:build/\S*)?(?:outlet|example_\w+) [^`\n]+)`")),
    (".1", re.compile(r"^\.Dl (.*)$", re.M)),
    (".def", re.compile(r"^(.*)$", re.M)),
    (".c", re.compile(r"^ \* +(example_\w+ .*)$", re.M)),
)
URL = re.compile(r"\b[a-z][\w+-]*:(?://|@|\.?/)?[^\s'\"\\]*")


def bare_urls(line):
    """URLs outside of quotes that a shell would take for patterns."""
    line = re.sub(r"'[^']*'|(?:^|\s)# .*", lambda m: " " * len(m.group()), line)
    return [url for url in URL.findall(line) if re.search(r"[*?\[#]", url)
            and not re.search(r"://\[[\da-f:]*\](?::\d+)?$", url)]


def quoted(tree):
    """A command line that is copied out of a document works in every shell."""
    for path, text in tree.files.items():
        lines = [(m.start(1), m.group(1)) for ending, pattern in COPIED
                 if path.endswith(ending) and (ending != ".c" or path.startswith("examples/"))
                 for m in pattern.finditer(text)]
        for block in FENCE.finditer(text) if path.endswith(".md") else ():
            if block.group(1) == "sh":
                lines += [(block.start(2) + m.start(), m.group())
                          for m in re.finditer(r"^.+$", block.group(2), re.M)]
        for offset, line in lines:
            for url in bare_urls(line):
                yield path, line_of(text, offset), f"write '{url}', in quotes"


def sentences(tree):
    """What the library and the engine say is said in Chinese, too."""
    yield from said.problems(tree)


RULES = (layers, one_place, banned_calls, four_labels, symbol_map, man_pages, public_structs,
         registered, openings, layout, words, snippets, links, translations, quoted,
         sentences)


# ---- the built libraries -----------------------------------------------------------------------


def exported(library):
    """The functions and data that a shared library exports."""
    out = subprocess.run(["nm", "-D", "--defined-only", str(library)], check=True,
                         capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {row[2].split("@")[0] for row in rows if len(row) == 3 and row[1] != "A"}


def changeable(library):
    """(object, symbol) of everything in a static library that can change at run time."""
    out = subprocess.run(["objdump", "-t", str(library)], check=True, capture_output=True,
                         text=True).stdout
    unit = ""
    for line in out.splitlines():
        head = re.match(r"^(\S+):\s+file format", line)
        if head:
            unit = os.path.basename(head.group(1))
        m = re.match(r"^[0-9a-f]+ .{7} (\.\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
        if m and m.group(1).startswith((".bss", ".data", ".tbss", ".tdata")) \
                and not m.group(1).startswith(".data.rel.ro"):
            yield unit, m.group(2)


def strangers(library):
    """Global symbols of a static library that a program could have, too: those that begin with
    an underscore are the compiler's."""
    out = subprocess.run(["nm", "-g", "--defined-only", str(library)], check=True,
                         capture_output=True, text=True).stdout
    rows = [line.split() for line in out.splitlines()]
    return {row[2] for row in rows if len(row) == 3
            and not row[2].startswith(("outlet_", "ol_", "_"))}


def library_problems(tree, library):
    """Symbols: exported == declared, all with our prefix; nothing that changes but what rule 6
    names."""
    name = os.path.basename(library)
    if library.endswith(".a"):
        for symbol in sorted(strangers(library)):
            yield name, 0, f"{symbol} is global and begins neither with outlet_ nor with ol_"
        for unit, symbol in changeable(library):
            if not FOREIGN_DATA.match(symbol) and (unit, symbol) not in MAY_CHANGE:
                yield name, 0, f"{unit}: {symbol} is a global that changes"
        return
    declared = {n for _, _, n, _ in public_functions(tree)}
    got = exported(library)
    for symbol in sorted(declared - got):
        yield name, 0, f"{symbol} is declared and not exported"
    for symbol in sorted(got - declared):
        yield name, 0, f"{symbol} is exported and not declared"


# ---- what is only printed, what is written -----------------------------------------------------


def sizes(tree):
    """Files and functions that have grown long: to look at, not to fail."""
    for path, text in tree.under("src", "tool", "include"):
        lines = text.split("\n")
        if len(lines) > FILE_LINES:
            yield path, 1, f"{len(lines)} lines"
        name, start = None, 0
        for number, line in enumerate(lines, 1):
            m = re.match(r"^(\w+)\(", line)
            if m:
                name, start = m.group(1), number
            elif line == "}" and name:
                if number - start > FUNCTION_LINES:
                    yield path, start, f"{name}() has {number - start} lines"
                name = None


def write_map(tree):
    """liboutlet.map, from the headers."""
    names = sorted({name for _, _, name, _ in public_functions(tree)})
    body = "".join(f"    {name};\n" for name in names)
    text = ("/* Every public function, by name: tools/tidy.py --write-map writes this. */\n"
            "OUTLET_0 {\n  global:\n" + body + "  local:\n    *;\n};\n")
    (tree.root / "liboutlet.map").write_text(text, encoding="utf-8")


def write_snippets(tree):
    """The snippets of the documents, from their sources."""
    for path, text in tree.under(endings=(".md",)):
        def fresh(m):
            source = tree.files.get(m.group(1))
            if source is None:
                return m.group()
            start, end = m.start(2) - m.start(), m.end(2) - m.start()
            return m.group()[:start] + snippet_of(source) + m.group()[end:]
        new = SNIPPET.sub(fresh, text)
        if new != text:
            (tree.root / path).write_text(new, encoding="utf-8")


def wrap(tree):
    """Comments within the columns.  Only lines that are too long are touched: elsewhere
    clang-format would spoil pictures, so .clang-format says ReflowComments: false."""
    style = f"{{BasedOnStyle: LLVM, ColumnLimit: {COLUMNS}, ReflowComments: true}}"
    for path, text in tree.under():
        long = [number for number, line in enumerate(text.split("\n"), 1)
                if len(line) > COLUMNS and re.match(r"\s*(/\*|\*)", line)]
        if long:
            subprocess.run(["clang-format", "-i", "--style=" + style,
                            *(f"--lines={n}:{n}" for n in long), tree.root / path], check=True)


def main(argv):
    parser = argparse.ArgumentParser(description="the project's own rules")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--symbols", nargs="+", metavar="LIB")
    parser.add_argument("--write-map", action="store_true")
    parser.add_argument("--write-snippets", action="store_true")
    parser.add_argument("--wrap", action="store_true")
    args = parser.parse_args(argv)
    tree = Tree(args.root)

    writers = [(args.write_map, write_map), (args.write_snippets, write_snippets),
               (args.wrap, wrap)]
    if any(asked for asked, _ in writers):
        for asked, write in writers:
            if asked:
                write(tree)
        return 0
    if args.symbols:
        problems = [p for library in args.symbols for p in library_problems(tree, library)]
    else:
        for path, line, text in sizes(tree):
            print(f"{path}:{line}: (only said) {text}")
        problems = [(path, line, f"{text} [{rule.__name__}]")
                    for rule in RULES for path, line, text in rule(tree)]
    for path, line, text in problems:
        print(f"{path}:{line}: {text}")
    print(f"{len(problems)} problems in {len(tree.files)} files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
