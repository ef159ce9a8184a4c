#!/usr/bin/python3
"""tidy_test.py - show that each rule of tools/tidy.py bites, and that a clean tree passes.

Each case starts from a small clean tree in a temporary folder and spoils one thing.

SPDX-License-Identifier: MIT
"""
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))  # what it imports itself
spec = importlib.util.spec_from_file_location("tidy", ROOT / "tools" / "tidy.py")
sys.dont_write_bytecode = True
tidy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tidy)

HEAD = "/*\n * {} - what it is for.\n *\n * " + tidy.SPDX + " MIT\n */\n"

LABELS = """\
/**
 * Do it.
 *
 * Memory  keeps nothing.
 * Thread  any.
 * Calls   nothing.
 * Errors  none.
 */
"""

CLEAN = {
    "include/meson.build": "# installed\ninstall_headers('outlet/err.h', 'outlet/one.h')\n",
    "include/outlet/err.h": HEAD.format("err.h"),
    "include/outlet/one.h": HEAD.format("one.h") + LABELS + "OUTLET_API int\noutlet_one(int a);\n",
    "liboutlet.map": "OUTLET_0 {\n  global:\n    outlet_one;\n  local:\n    *;\n};\n",
    "src/meson.build": "# all\n",
    "src/base/meson.build": "# base\nx = files('alloc.c', 'base_test.c')\n",
    "src/base/base.h": HEAD.format("base.h") + '#include "alloc.h"\n',
    "src/base/alloc.h": HEAD.format("alloc.h"),
    "src/base/alloc.c": HEAD.format("alloc.c") + '#include "alloc.h"\nint x(void) { free(0); }\n',
    "src/base/base_test.c": HEAD.format("base_test.c") + "#include <cmocka.h>\n",
    "src/addr/meson.build": "# addr\nx = files('addr.c')\n",
    "src/addr/addr.h": HEAD.format("addr.h") + '#include "base/base.h"\n',
    "src/addr/addr.c": HEAD.format("addr.c") + '#include "addr.h"\n#include <string.h>\n',
    "src/proto/frame/frame.h": HEAD.format("frame.h") + '#include "base/base.h"\n',
    "src/io/driver/driver.h": HEAD.format("driver.h") + '#include "addr/addr.h"\n',
    "tool/meson.build": "# tool\nx = files('main.c', 'cli/cli.c')\n",
    "tool/main.c": HEAD.format("main.c") + '#include "cli/cli.h"\n#include <outlet/one.h>\n',
    "tool/cli/cli.h": HEAD.format("cli.h"),
    "tool/cli/cli.c": HEAD.format("cli.c") + '#include "cli.h"\n',
    "examples/meson.build": "# examples\nx = files('a.c')\n",
    "examples/a.c": HEAD.format("a.c") + "\nint main(void);\n",
    "README.md": "# it\n\n<!-- snippet: examples/a.c -->\n```c\nint main(void);\n```\n"
                 "See [the map](liboutlet.map).\n",
}
CLEAN["README.zh-CN.md"] = CLEAN["README.md"].replace("<!-- snippet: examples/a.c -->\n", "")


class TidyTest(unittest.TestCase):
    """One method for each way to spoil the tree."""

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="outlet-tidy-"))
        self.addCleanup(shutil.rmtree, self.root)
        for path, text in CLEAN.items():
            self.write(path, text)
        layers = (ROOT / "docs/internals/layers.md").read_text(encoding="utf-8")
        self.write("docs/internals/layers.md", layers)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def add(self, path, text):
        """Append to a file of the clean tree, or make one that opens well."""
        name = path.rsplit("/", maxsplit=1)[-1]
        self.write(path, CLEAN.get(path, HEAD.format(name)) + text)

    def found(self, rule):
        tree = tidy.Tree(self.root)
        return [f"{path}:{line}: {text}" for path, line, text in getattr(tidy, rule)(tree)]

    def bites(self, rule, *parts):
        """Exactly one problem, with these words in it; and the program's exit code says so."""
        problems = self.found(rule)
        self.assertEqual(len(problems), 1, problems)
        for part in parts:
            self.assertIn(part, problems[0])

    def test_a_clean_tree_has_no_problems(self):
        for rule in tidy.RULES:
            self.assertEqual(self.found(rule.__name__), [], rule.__name__)

    def test_the_exit_code_tells(self):
        argv = [sys.executable, str(ROOT / "tools/tidy.py"), "--root", str(self.root)]
        self.assertEqual(subprocess.run(argv, capture_output=True, check=False).returncode, 0)
        self.add("src/addr/addr.c", "int y(void) { return atoi(\"1\"); }\n")
        self.assertEqual(subprocess.run(argv, capture_output=True, check=False).returncode, 1)

    def test_base_may_not_include_addr(self):
        self.add("src/base/alloc.c", '#include "addr/addr.h"\n')
        self.bites("layers", "src/base/alloc.c", "base may not include addr")

    def test_proto_may_not_include_io(self):
        self.add("src/proto/frame/frame.h", '#include "io/driver/driver.h"\n')
        self.bites("layers", "proto/frame may not include io/driver")

    def test_a_folder_has_one_door(self):
        self.add("src/addr/addr.h", '#include "base/alloc.h"\n')
        self.bites("layers", "the only door of base is base/base.h")

    def test_a_tool_sees_only_the_public_headers(self):
        self.add("tool/main.c", '#include "base/base.h"\n')
        self.bites("layers", "sees only the public headers")

    def test_a_folder_includes_its_own_files_by_the_bare_name(self):
        self.add("src/base/alloc.c", '#include "base/base.h"\n#include "base/alloc.h"\n')
        self.bites("layers", '"alloc.h"')

    def test_an_include_inside_a_comment_does_not_count_as_a_call(self):
        self.add("src/addr/addr.c",
                 '/* malloc(1); */ // free(x)\nconst char *s = "strcpy(a, b)";\n')
        self.assertEqual(self.found("banned_calls"), [])

    def test_a_new_folder_needs_a_row(self):
        self.add("src/net/magic/magic.h", "")
        self.bites("layers", "src/net/magic/magic.h", "has no row")

    def test_a_public_header_that_the_folder_does_not_implement(self):
        self.add("src/addr/addr.c", '#include "outlet/one.h"\n')
        self.bites("layers", "addr may not include outlet/one.h")

    def test_a_missing_table_is_a_problem(self):
        self.write("docs/internals/layers.md", "# nothing\n")
        self.assertIn("the table of layers is missing", self.found("layers")[0])

    def test_liburing_enters_through_one_file(self):
        self.add("src/io/driver/driver.h", "#include <liburing.h>\n")
        self.bites("one_place", "liburing.h may be included only in")

    def test_proto_knows_no_socket(self):
        self.add("src/proto/frame/frame.h", "#include <sys/socket.h>\n")
        self.bites("one_place", "sys/socket.h")

    def test_each_banned_call(self):
        for name in ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "strtok",
                     "sleep", "usleep", "alloca", "malloc", "calloc", "realloc", "free", "printf",
                     "exit"):
            self.add("src/addr/addr.c", f"void y(void) {{ {name}(z); }}\n")
            self.bites("banned_calls", "src/addr/addr.c", f"{name}()")

    def test_a_member_called_free_is_not_the_function(self):
        self.add("src/addr/addr.c", "void y(void) { d->ops->free(d); a.free(a); ol_free(h, p); }\n")
        self.assertEqual(self.found("banned_calls"), [])

    def test_the_command_may_allocate_but_not_sleep(self):
        self.add("tool/main.c", "void y(void) { free(malloc(1)); printf(\"x\"); sleep(1); }\n")
        self.bites("banned_calls", "sleep()")

    def test_a_test_may_allocate_but_not_sleep(self):
        self.add("src/base/base_test.c", "void y(void) { free(malloc(1)); usleep(1); }\n")
        self.bites("banned_calls", "usleep()")

    def test_a_label_is_missing(self):
        self.write("include/outlet/one.h", CLEAN["include/outlet/one.h"].replace(
            " * Calls   nothing.\n", ""))
        self.bites("four_labels", "outlet_one", "Memory Thread Errors")

    def test_labels_in_another_order(self):
        text = CLEAN["include/outlet/one.h"].replace(" * Thread  any.\n", "")
        self.write("include/outlet/one.h", text.replace(" * Memory", " * Thread  any.\n * Memory"))
        self.bites("four_labels", "Thread Memory Calls Errors")

    def test_a_function_without_a_comment(self):
        self.add("include/outlet/one.h", "OUTLET_API void\noutlet_two(void);\n")
        self.bites("four_labels", "outlet_two has no")

    def test_memory_uses_its_own_words(self):
        self.write("include/outlet/one.h", CLEAN["include/outlet/one.h"].replace(
            "keeps nothing", "is fine"))
        self.bites("four_labels", "Memory copies, lends")

    def test_keeping_something_is_no_word(self):
        self.write("include/outlet/one.h", CLEAN["include/outlet/one.h"].replace(
            "keeps nothing", "keeps the pointer"))
        self.bites("four_labels", "Memory copies, lends")

    def test_a_function_missing_in_the_map(self):
        self.add("include/outlet/one.h", LABELS + "OUTLET_API void\noutlet_two(void);\n")
        self.bites("symbol_map", "outlet_two is in the headers and not here")

    def test_a_map_entry_without_a_function(self):
        self.write("liboutlet.map", CLEAN["liboutlet.map"].replace(
            "outlet_one;", "outlet_one; outlet_old;"))
        self.bites("symbol_map", "outlet_old is here and not in the headers")

    def test_a_document_has_a_translation_with_the_same_commands(self):
        self.assertEqual(self.found("translations"), [])
        self.write("docs/a.md", "# A\n\n## B\n\n```sh\noutlet ps      # who\n```\n")
        self.bites("translations", "docs/a.md", "there is no docs/a.zh-CN.md")
        for text, said in (("# A\n\n```sh\noutlet ps\n```\n", "heading ##"),
                           ("# A\n\n## B\n\n```sh\noutlet ps -q\n```\n", "command outlet ps -q"),
                           ("# A\n\n## B\n", "the end"),
                           ("# A\n\n## B\n\n```sh\noutlet ps\n```\n\n| x |\n", "table")):
            self.write("docs/a.zh-CN.md", text)
            self.bites("translations", "docs/a.zh-CN.md", said)
        self.write("docs/a.zh-CN.md", "# A\n\n## B\n\n```sh\noutlet ps   # 谁\n```\n")
        self.assertEqual(self.found("translations"), [])
        self.write("docs/b.zh-CN.md", "# B\n")
        self.bites("translations", "a translation of nothing")

    def test_a_function_that_has_no_man_page(self):
        text = CLEAN["include/outlet/one.h"].replace(" */\nOUTLET_API", " */\n\nOUTLET_API")
        self.write("include/outlet/one.h", text)
        self.bites("man_pages", "outlet_one has no man page")

    def test_a_wildcard_is_no_map(self):
        self.write("liboutlet.map", CLEAN["liboutlet.map"].replace("outlet_one", "outlet_*"))
        self.assertEqual(len(self.found("symbol_map")), 2)

    def test_writing_the_map_mends_it(self):
        self.write("liboutlet.map", "")
        tidy.write_map(tidy.Tree(self.root))
        self.assertEqual(self.found("symbol_map"), [])

    def test_a_public_struct_without_its_size(self):
        self.add("include/outlet/one.h",
                 "struct outlet_x {\n    int a; /* size_t size */\n    int b;\n};\n")
        self.bites("public_structs", "struct outlet_x must begin")

    def test_a_handle_is_one_field(self):
        self.add("include/outlet/one.h",
                 "typedef struct outlet_y {\n    uint64_t id;\n} outlet_y;\n")
        self.assertEqual(self.found("public_structs"), [])

    def test_an_unregistered_test(self):
        self.add("src/addr/addr_test.c", "")
        self.bites("registered", "src/addr/addr_test.c")

    def test_a_registration_in_a_comment_does_not_count(self):
        self.add("src/addr/addr_fuzz.c", "")
        self.write("src/addr/meson.build",
                   CLEAN["src/addr/meson.build"] + "# files('addr_fuzz.c')\n")
        self.bites("registered", "src/addr/addr_fuzz.c")

    def test_a_header_that_is_not_installed(self):
        self.add("include/outlet/two.h", "")
        self.bites("registered", "include/outlet/two.h")

    def test_a_file_without_an_opening_comment(self):
        self.write("src/addr/addr.c", "int x;\n/* " + tidy.SPDX + " MIT */\n")
        self.bites("openings", "must open with a comment")

    def test_a_file_without_a_licence(self):
        self.write("src/addr/addr.c", "/* addr.c - it. */\n")
        self.bites("openings", "must have one line")

    def test_a_file_with_two_licences(self):
        self.add("src/addr/addr.c", "/* " + tidy.SPDX + " MIT */\n")
        self.bites("openings", "has 2")

    def test_blanks_at_the_end_of_a_line(self):
        self.add("src/addr/addr.c", "int x; \n")
        self.bites("layout", "blanks at the end")

    def test_a_tab(self):
        self.add("src/addr/addr.c", "\tint x;\n")
        self.bites("layout", "a tab")

    def test_column_100_is_the_last(self):
        self.add("src/addr/addr.c", "/*" + "x" * 96 + "*/\n")
        self.assertEqual(self.found("layout"), [])
        self.add("src/addr/addr.c", "/*" + "x" * 97 + "*/\n")
        self.bites("layout", "101 columns")

    def test_a_last_line_without_an_end(self):
        self.add("src/addr/addr.c", "int x;")
        self.bites("layout", "no end")

    def test_a_todo_without_an_issue(self):
        self.add("src/addr/addr.c", "/* TODO later */\n")
        self.bites("words", "needs the number of an issue")
        self.add("src/addr/addr.c", "/* TODO(#12) later */\n")
        self.assertEqual(self.found("words"), [])

    def test_a_path_of_somebodys_machine(self):
        self.add("README.md", "Look in /home/" + "me/outlet.\n")
        self.bites("words", "somebody's machine")

    def test_a_snippet_that_differs(self):
        self.add("examples/a.c", "\nint main(int argc);\n")
        self.bites("snippets", "README.md", "differs from examples/a.c")
        tidy.write_snippets(tidy.Tree(self.root))
        self.assertEqual(self.found("snippets"), [])

    def test_a_snippet_of_nothing(self):
        (self.root / "examples/a.c").unlink()
        self.bites("snippets", "there is no examples/a.c")

    def test_a_link_that_leads_nowhere(self):
        self.add("README.md", "[x](docs/none.md) [y](https://example.org) [z](#it)\n")
        self.bites("links", "docs/none.md")

    def test_a_paragraph_or_an_item_that_only_one_language_has(self):
        self.write("docs/a.md", "# A\n\nOne.\n\n- two\n- three\n\nFour.\n")
        self.write("docs/a.zh-CN.md", "# 甲\n\n一。\n\n- 二\n- 三\n\n四。\n")
        self.assertEqual(self.found("translations"), [])
        self.write("docs/a.zh-CN.md", "# 甲\n\n一。\n\n- 二\n\n四。\n")
        self.bites("translations", "docs/a.zh-CN.md", "has paragraph", "has item")
        self.write("docs/a.zh-CN.md", "# 甲\n\n一。\n\n- 二\n- 三\n")
        self.bites("translations", "docs/a.zh-CN.md", "has the end")

    def test_a_man_page_that_lacks_an_item(self):
        page = '.\\" a.1 - ' + tidy.SPDX + "\n.Sh NAME\n.Bl -tag\n.It Cm a\nA.\n.It Cm b\nB.\n.El\n"
        self.write("packaging/man/a.1", page)
        self.write("packaging/man/zh_CN/a.1", page.replace("NAME", "名称").replace("A.", "甲。"))
        self.assertEqual(self.found("translations"), [])
        self.write("packaging/man/zh_CN/a.1", page.replace(".It Cm b\nB.\n", ""))
        self.bites("translations", "packaging/man/zh_CN/a.1", "has El where", "has It")

    def test_a_url_that_a_shell_would_expand(self):
        for path, text in (
                ("docs/a.md", "```sh\noutlet listen tcp://*:9000  # why\n```\n"),
                ("docs/a.md", "| `outlet listen 'tcp://:1#frame=line' -o raw udp://*:9000` |\n"),
                ("packaging/man/a.1", ".Dl outlet listen tcp://:9000#frame=line\n"),
                ("examples/a.c", HEAD.format("a.c").replace(
                    " *\n * SPDX", " *     example_a tcp://:7000?x\n *\n * SPDX")),
                ("tool/cli/text.def", 'TEXT(X, "outlet listen tcp://*:9000")\n')):
            with self.subTest(path):
                self.write(path, text)
                self.bites("quoted", path, "in quotes")
                self.write(path, "")

    def test_a_url_in_quotes_or_in_a_sentence(self):
        self.add("docs/a.md", "`tcp://*:9000` is all.\n\n```sh\n"
                              "outlet listen 'tcp://*:9000#x' tcp://:1  # not tcp://*:2\n```\n")
        self.assertEqual(self.found("quoted"), [])

    def catalogue(self, *lines):
        self.write("tool/cli/said.def", HEAD.format("said.def") + "".join(lines))

    def test_a_sentence_without_its_translation(self):
        self.add("src/addr/addr.c", 'const char *s = "the port is missing";\n')
        self.bites("sentences", "src/addr/addr.c", '"the port is missing" has no translation')
        self.catalogue('SAID("the port is missing", "缺少端口")\n')
        self.assertEqual(self.found("sentences"), [])

    def test_a_sentence_in_pieces_and_by_a_macro(self):
        self.add("src/addr/addr.c",
                 '#define BUILT "tcp, udp"\nf("no `%s`: " BUILT\n  " and \\"%%\\"");\n')
        self.catalogue('SAID("no `%s`: tcp, udp and \\"%%\\"", "没有 `{0}`")\n')
        self.bites("sentences", '"tcp, udp"')

    def test_either_side_of_a_question_mark(self):
        self.add("src/addr/addr.c", 'f(x ? "one thing" : "another thing");\n')
        self.catalogue('SAID("one thing", "一")\n')
        self.bites("sentences", '"another thing"')

    def test_a_translation_of_nothing(self):
        self.catalogue('SAID("the port is missing", "缺少端口")\n')
        self.bites("sentences", "said.def", 'nobody says "the port is missing"')

    def test_what_nobody_is_told_needs_no_translation(self):
        self.add("src/addr/addr.c",
                 '/* "a comment" */\n_Static_assert(sizeof(int) == 4, "two lines");\n'
                 "char q = '\"'; f(x, \"%d\"); g(\"word\"); char r = '\"';\n")
        self.add("src/base/base_test.c", 'const char *s = "a test says so";\n')
        self.assertEqual(self.found("sentences"), [])

    def test_sizes_are_only_said(self):
        body = "int\nlong_one(void)\n{\n" + "    x();\n" * 61 + "}\n"
        self.add("src/addr/addr.c", body)
        self.assertEqual(len(self.found("sizes")), 1)
        for rule in tidy.RULES:
            self.assertEqual(self.found(rule.__name__), [], rule.__name__)

    def build(self, source, *flags):
        """Compile one C file into an object."""
        self.write("scratch.c", source)
        out = self.root / "scratch.o"
        subprocess.run(["cc", *flags, "-o", str(out), str(self.root / "scratch.c")], check=True)
        return out

    def test_exported_symbols_must_be_the_declared_ones(self):
        library = self.build("int outlet_one(int a) { return a; }\n", "-shared", "-fPIC")
        tree = tidy.Tree(self.root)
        self.assertEqual(list(tidy.library_problems(tree, str(library))), [])
        library = self.build("int outlet_two(int a) { return a; }\n", "-shared", "-fPIC")
        texts = [text for _, _, text in tidy.library_problems(tree, str(library))]
        self.assertEqual(texts, ["outlet_one is declared and not exported",
                                 "outlet_two is exported and not declared"])

    def archive_problems(self, source):
        archive = self.root / "x.a"
        archive.unlink(missing_ok=True)
        unit = self.build(source, "-c", "-fPIC")
        subprocess.run(["ar", "rcs", str(archive), str(unit)], check=True)
        return [text for _, _, text in
                tidy.library_problems(tidy.Tree(self.root), str(archive))]

    def test_a_global_that_changes(self):
        source = ("static int hits; static const int fixed = 1;\n"
                  "static const char *const names[] = {\"a\"};\n"
                  "int ol_f(void) { return ++hits + fixed + !names[0]; }\n")
        self.assertEqual(self.archive_problems(source),
                         ["scratch.o: hits is a global that changes"])

    def test_a_global_that_a_program_may_have_too(self):
        self.assertEqual(self.archive_problems("int ring_wait(void) { return 0; }\n"
                                               "int outlet_f(void) { return ring_wait(); }\n"),
                         ["ring_wait is global and begins neither with outlet_ nor with ol_"])


if __name__ == "__main__":
    unittest.main()
