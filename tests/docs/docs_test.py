#!/usr/bin/python3
"""docs_test.py - every command line of the documents, run as it stands.

    docs_test.py OUTLET EXAMPLES [DOCUMENT...]

A command line is a line of a block marked sh, or an example of the man page (.Dl).  They run one
after the other, in a folder of their own in which build/outlet and build/examples are what was
built.  What listens stays in the background, until the document ends or something else listens
there; what is said at a port is said to whoever listens there in this document.  A fixed port,
/tmp, /run and abstract names are replaced, so that nothing collides.

A comment right above a block says what is special about it:

    <!-- run: exit 0|1 -->       the exit codes that the last line may have, else 0
    <!-- run: input hello\\n -->  what is typed into its last line, else nothing
    <!-- not run: REASON -->     it cannot be, because ...; such lines are counted and shown

Lines that begin with "#> " are what the line above them prints, all of it.

Code in a sentence that begins with "outlet VERB" is not run, but its verb and options must exist.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))
import children
import home

MAN_COLUMNS = 66  # of an example, on a terminal of 80
KEPT = 1 << 16  # bytes of an output
PATIENCE = 120  # seconds that any one line may take: reached only by failures

BLOCK = re.compile(r"((?:^<!-- (?:not )?run: .*? -->\n)*)^```(\w*)\n(.*?)^```$", re.M | re.S)
MARK = re.compile(r"<!-- (not run|run): (.*?) -->")
SERVES = re.compile(r"\boutlet (?:-\S+ )*(?:listen|relay)\b"
                    r"|\bexample_(?:chat|echo|reply|custom|udp)\b")
WATCHES = re.compile(r"\s--watch\b")
ENDS = re.compile(r"\s--(?:once|expect|expect-hex)\b")
URL = re.compile(r"'?(?:\w[\w+-]*:(?://)?[^\s']*|:\d+)'?")
PORT = re.compile(r"(?<=:)(\d{2,5})(?=[\s'#/?]|$)|(?<=localhost )(\d{4,5})\b")


class Failure(Exception):
    """A line that did not do what its document says."""


class Line:
    """One command line of a document."""

    def __init__(self, number, text, exits=(0,), typed=""):
        self.number, self.text, self.exits, self.typed = number, text, exits, typed
        self.prints = None  # None: it is not said


def printed(text):
    """What each line prints, by its number, of those of which it is said."""
    prints, last = {}, 0
    for number, line in enumerate(text.splitlines()):
        if line.startswith("#> "):
            prints[last] = prints.get(last, "") + line[3:] + "\n"
        elif not line.startswith("#"):
            last = number
    return prints


def joined(text):
    """Lines, those that end with a backslash together with the next; comments alone are none."""
    number, whole, began = 0, "", 0
    for number, line in enumerate(text.splitlines()):
        began = number if not whole else began
        whole += line.rstrip("\\") if line.endswith("\\") else line
        if not line.endswith("\\"):
            if whole.strip() and not whole.lstrip().startswith("#"):
                yield began, whole.strip()
            whole = ""


def lines_of(path, text):
    """The lines to run, and (number, line, reason) of those that are not."""
    run, not_run = [], []
    if path.suffix == ".1":
        shown = "\n".join(
            re.sub(r"\\(.)", lambda m: {"e": "\\"}.get(m.group(1), m.group(1)), line[4:])
            if line.startswith(".Dl ") else "" for line in text.splitlines())
        for number, line in enumerate(shown.splitlines(), 1):
            if len(line) > MAN_COLUMNS:
                raise Failure(f"{path}:{number}: it would be broken where it cannot be copied: "
                              "end it with \\e, and go on in another .Dl")
        run = [Line(number, line) for number, line in joined(shown)]
        return run, not_run
    for m in BLOCK.finditer(text):
        first = text.count("\n", 0, m.start(3)) + 1
        marks = dict(MARK.findall(m.group(1)))
        language, body = m.group(2), m.group(3)
        if language in ("bash", "shell", "console"):
            raise Failure(f"{path}:{first}: a block of {language}: write sh, so that it is run")
        if language != "sh":
            if re.search(r"^(?:\$ )?(?:build/)?outlet [a-z]+ ", body, re.M):
                raise Failure(f"{path}:{first}: command lines in a block that is not sh")
            continue
        lines = [Line(first + at, line) for at, line in joined(body)]
        for at, text_of in printed(body).items():
            next(line for line in reversed(lines) if line.number <= first + at).prints = text_of
        if "not run" in marks:
            not_run += [(line.number, line.text, marks["not run"]) for line in lines]
            continue
        for word, value in re.findall(r"(exit|input) (.*)", marks.get("run", "")):
            if word == "exit":
                lines[-1].exits = tuple(int(code) for code in value.split("|"))
            else:
                lines[-1].typed = value.encode().decode("unicode_escape")
        run += lines
    return run, not_run


class Child:
    """A program that runs; what it says is read as it comes, so that it never waits for us."""

    def __init__(self, text, folder, env, typed):
        given = folder / "typed"
        given.write_text(typed, encoding="utf-8")
        self.said, self.changed, self.open = [bytearray(), bytearray()], threading.Condition(), 2
        with given.open("rb") as stdin:
            self.child = subprocess.Popen(["bash", "-c", text], cwd=folder, env=env, stdin=stdin,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          start_new_session=True)
        children.running.add(self.child)
        self.readers = [threading.Thread(target=self.read, args=each, daemon=True)
                        for each in zip((self.child.stdout, self.child.stderr), self.said)]
        for reader in self.readers:
            reader.start()

    def read(self, stream, said):
        while got := os.read(stream.fileno(), 1 << 16):
            with self.changed:
                said += got[:max(0, KEPT - len(said))]
                self.changed.notify_all()
        with self.changed:
            self.open -= 1
            self.changed.notify_all()

    def texts(self):
        return [bytes(said).decode(errors="replace") for said in self.said]

    def until(self, pattern):
        """Wait until a whole line on either output has that; answers its last group."""
        end = time.monotonic() + PATIENCE
        with self.changed:
            while True:
                for text in self.texts():
                    m = re.search(pattern, text[:text.rfind("\n") + 1])
                    if m:
                        return m.group(m.lastindex or 0)
                if not self.open or not self.changed.wait(end - time.monotonic()):
                    raise Failure(f"it does not say that it is ready: {self.texts()}")

    def finish(self, exits, number=None):
        """Its end, in time and with the right exit code."""
        if number and self.child.poll() is None:
            self.child.send_signal(number)
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("it does not end") from None
        self.clean()
        if code not in exits:
            out, err = self.texts()
            raise Failure(f"exit code {code}, not {exits}\n{out[-300:]}{err[-600:]}")

    def kill(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        self.clean()

    def clean(self):
        children.running.discard(self.child)
        for reader in self.readers:
            reader.join(PATIENCE)
        self.child.stdout.close()
        self.child.stderr.close()


class Document:
    """The lines of one document, in one folder."""

    def __init__(self, path, outlet, examples):
        self.path = path
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="outlet-docs-"))
        self.ports = {}  # as written: as it is
        self.servers = []  # (line, process, what is written of the place)
        (self.folder / "build").mkdir()
        (self.folder / "build/outlet").symlink_to(os.path.abspath(outlet))
        (self.folder / "build/examples").symlink_to(os.path.abspath(examples))
        env = {k: v for k, v in os.environ.items()
               if k not in ("LANG", "LC_ALL", "LC_MESSAGES", "OUTLET_LANG")}
        self.env = {**env, "HOME": str(self.folder),
                    "PATH": f"{self.folder}/build:{os.environ['PATH']}"}

    def start(self, text, typed=""):
        return Child(text, self.folder, self.env, typed)

    def places(self, text):
        """The line with places of our own."""
        text = re.sub(r"(?<!\w)/(tmp|run)/", f"{self.folder}/", text)
        return re.sub(r"unix(-\w+)?:@(\w+)", rf"unix\1:@\2-{self.folder.name}", text)

    def port(self, m):
        written = m.group(1) or m.group(2)
        if written not in self.ports:
            raise Failure(f"nobody listens at port {written} in this document")
        return self.ports[written]

    def run(self, line):
        text = self.places(line.text)
        if SERVES.search(text):
            self.serve(line, text)
        elif WATCHES.search(text):
            child = self.start("exec " + PORT.sub(self.port, text))
            child.until(r"\n")
            child.finish(line.exits, signal.SIGTERM)
        else:
            child = self.start(PORT.sub(self.port, text), line.typed)
            child.finish(line.exits)
            self.compare(line, child.texts()[0])

    def compare(self, line, got):
        if line.prints is None:
            return
        want = "\n".join(PORT.sub(self.port, each) for each in line.prints.splitlines())
        # What was received ends where its sender ended it; in a document that is a line.
        if got.rstrip("\n") != want:
            raise Failure(f"it prints {got!r}, not {want!r}")

    def serve(self, line, text):
        """In the background.  The first URL is where it listens; others are known already."""
        url = URL.search(text, SERVES.search(text).end())
        if not url:
            raise Failure("it listens nowhere")
        place = PORT.search(url.group())
        where = place.group() if place else url.group().split("#")[0]
        self.end_servers(where)
        here = PORT.sub("0", url.group())
        text = text[:url.start()] + here + PORT.sub(self.port, text[url.end():])
        child = self.start("exec " + text, line.typed)
        self.servers.append((line, child, where))
        found = child.until(r"(?:listening at |\A)(\w[\w+-]*:(?://)?\S*)")
        if place:
            self.ports[where] = PORT.search(found).group()

    def end_servers(self, where=None):
        """Those that listen there, or all."""
        kept = []
        for line, child, at in self.servers:
            if where not in (None, at):
                kept.append((line, child, at))
                continue
            try:
                # What ends by itself must do so: it was written to.
                exits = (*line.exits, -signal.SIGTERM) if "example_" in line.text else line.exits
                child.finish(exits, None if ENDS.search(line.text) else signal.SIGTERM)
            except Failure as failure:
                raise Failure(f"line {line.number}, {line.text}: {failure}") from None
        self.servers = kept

    def clean(self):
        for _, child, _ in self.servers:
            child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def run_document(path, outlet, examples):
    """(how many lines ran, those that were not run, problems)"""
    name = path.relative_to(ROOT)
    try:
        run, not_run = lines_of(path, path.read_text(encoding="utf-8"))
    except Failure as failure:
        return 0, [], [str(failure)]
    document, ran, line = Document(path, outlet, examples), 0, None
    try:
        for line in run:
            document.run(line)
            ran += 1
        document.end_servers()
    except Failure as failure:
        return ran, not_run, [f"{name}:{line.number}: {line.text}\n    {failure}"]
    finally:
        document.clean()
    return ran, not_run, []


class Known:
    """The verbs and their options, as help tells them."""

    def __init__(self, outlet):
        self.outlet = outlet
        self.options = {}

    def help(self, *verb):
        done = subprocess.run([self.outlet, "help", *verb], capture_output=True, text=True,
                              check=False, timeout=PATIENCE)
        return done.stdout if done.returncode == 0 else None

    def problem(self, code):
        """What is wrong with `outlet VERB ...` in a sentence, or None."""
        words = code.split()
        verb = next((w for w in words[1:] if not w.startswith("-")), None)
        if verb is None or ":" in verb or not re.fullmatch(r"[a-z]+", verb):
            return None
        if verb not in self.options:
            text = self.help(verb)
            self.options[verb] = None if text is None else set(re.findall(r"--[a-z-]+", text))
        if self.options[verb] is None:
            return f"there is no verb {verb}"
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", code):
            if option not in self.options[verb]:
                return f"{verb} has no option {option}"
        return None


def inline_problems(path, known):
    """Commands in sentences and tables that do not exist."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", lambda m: re.sub(r"[^\n]", "", m.group()), text,
                  flags=re.M | re.S)
    for m in re.finditer(r"`((?:build/)?outlet [^`\n]+)`", text):
        problem = known.problem(m.group(1))
        if problem:
            line = text.count("\n", 0, m.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: `{m.group(1)}`: {problem}"


def main(argv):
    outlet, examples, *only = argv
    children.end_with_us()
    home.use_own()
    documents = [ROOT / name for name in only] or sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packaging/man/**/*.1")])
    known = Known(outlet)
    total, problems, left_out = 0, [], []
    for path in documents:
        ran, not_run, wrong = run_document(path, outlet, examples)
        total += ran
        problems += wrong
        left_out += [(path.relative_to(ROOT), *row) for row in not_run]
        if path.suffix == ".md" and "internals" not in path.parts:
            problems += inline_problems(path, known)
    for path, number, text, reason in left_out:
        print(f"not run: {path}:{number}: {text}\n    {reason}")
    for problem in problems:
        print(f"wrong: {problem}")
    print(f"{total} command lines ran, {len(left_out)} not run, {len(problems)} problems")
    return 1 if problems or not total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
