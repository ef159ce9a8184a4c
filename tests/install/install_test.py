#!/usr/bin/python3
"""install_test.py - install into a temporary folder and use what is there, and nothing else.

    layout      every promised file is there, and the headers are exactly the public ones
    headers     each header compiles on its own, as strict C11 and as C++17
    pkg-config  a C and a C++ program link the shared and the static library, and talk
    cmake       find_package(outlet) does the same; skipped (77) without cmake
    man         a page for the command, each function and each header, to which mandoc has nothing
                to say; skipped (77) without mandoc

SPDX-License-Identifier: MIT
"""
import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SKIP = 77


def run(argv, **more):
    """Run a command; when it fails, show what it said and give up."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{shlex.join(argv)}\n{done.stdout}\nexit code {done.returncode}")
    return done.stdout


class Installed:
    """One installation in a temporary folder."""

    def __init__(self, args, scratch):
        self.args = args
        self.scratch = pathlib.Path(scratch)
        dest = self.scratch / "dest"
        run([args.meson, "install", "-C", args.build, "--no-rebuild", "--quiet",
             "--destdir", dest], cwd=args.build)
        self.prefix = dest / args.prefix.lstrip("/")
        self.libdir = self.prefix / args.libdir
        self.include = self.prefix / "include"

    def pkg_config(self, *argv):
        """Ask about outlet as if it had been installed at its real place."""
        env = {**os.environ, "PKG_CONFIG_PATH": str(self.libdir / "pkgconfig")}
        return run(["pkg-config", f"--define-variable=prefix={self.prefix}", *argv, "outlet"],
                   env=env).split()

    def talk(self, program, shared):
        """Run a consumer; a static one must not need the shared library."""
        env = dict(os.environ)
        env.pop("LD_LIBRARY_PATH", None)
        needs = run(["readelf", "-d", program])
        if ("liboutlet.so.0" in needs) != shared:
            sys.exit(f"{program}: wrong kind of link\n{needs}")
        if shared:
            env["LD_LIBRARY_PATH"] = str(self.libdir)
        said = run([program], env=env, timeout=30)
        if said != f"outlet {self.args.version}: plugged in\n":
            sys.exit(f"{program} said {said!r}")


def test_layout(there):
    """Every promised file."""
    want = [there.libdir / name for name in (
        "liboutlet.so", "liboutlet.so.0", f"liboutlet.so.{there.args.version}", "liboutlet.a",
        "pkgconfig/outlet.pc", "cmake/outlet/outletConfig.cmake",
        "cmake/outlet/outletConfigVersion.cmake")]
    if there.args.tool:
        want.append(there.prefix / "bin/outlet")
        want += [there.prefix / "share" / name for name in (
            "bash-completion/completions/outlet", "zsh/site-functions/_outlet",
            "fish/vendor_completions.d/outlet.fish")]
    missing = [str(path) for path in want if not path.exists()]
    if missing:
        sys.exit("not installed: " + ", ".join(missing))

    public = {p.name for p in (ROOT / "include/outlet").iterdir()}
    got = {p.name for p in (there.include / "outlet").iterdir()}
    if public != got:
        sys.exit(f"headers differ: {sorted(public ^ got)}")
    if there.libdir.joinpath("liboutlet.a").read_bytes()[:8] != b"!<arch>\n":
        sys.exit("liboutlet.a is a thin archive: it points into the build folder")
    if "liboutlet.so.0]" not in run(["readelf", "-d", there.libdir / "liboutlet.so"]):
        sys.exit("liboutlet.so has no soname liboutlet.so.0")
    if there.args.tool:
        env = {**os.environ, "LD_LIBRARY_PATH": str(there.libdir)}
        run([there.prefix / "bin/outlet", "version"], env=env, timeout=30)


def test_headers(there):
    """Each header alone, twice, by both languages."""
    languages = [("c", [there.args.cc, "-std=c11"])]
    if shutil.which("c++"):
        languages.append(("cpp", ["c++", "-std=c++17"]))
    for header in sorted((there.include / "outlet").iterdir()):
        for ending, compiler in languages:
            source = there.scratch / f"alone.{ending}"
            source.write_text(f"#include <outlet/{header.name}>\n" * 2 + "int alone;\n",
                              encoding="utf-8")
            run([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                 f"-I{there.include}", source])


def test_pkg_config(there):
    """C and C++, shared and static."""
    if there.pkg_config("--modversion") != [there.args.version]:
        sys.exit("outlet.pc tells another version")
    cflags = there.pkg_config("--cflags")
    shared = there.pkg_config("--libs")
    static = ["-l:liboutlet.a" if flag == "-loutlet" else flag
              for flag in there.pkg_config("--static", "--libs")]
    languages = [("c", [there.args.cc])]
    if shutil.which("c++"):
        languages.append(("cpp", ["c++", "-std=c++17", "-x", "c++"]))
    for language, compiler in languages:
        for kind, libs in (("shared", shared), ("static", static)):
            program = there.scratch / f"{language}-{kind}"
            run([*compiler, "-Wall", "-Werror", *cflags, there.args.consumer, "-x", "none",
                 "-o", program, *libs])
            there.talk(program, kind == "shared")


def test_cmake(there):
    """find_package, both targets."""
    if not shutil.which("cmake"):
        print("cmake is not here")
        sys.exit(SKIP)
    build = there.scratch / "cmake"
    run(["cmake", "-S", HERE / "cmake", "-B", build, f"-DCMAKE_PREFIX_PATH={there.prefix}",
         f"-DCMAKE_C_COMPILER={there.args.cc}"])
    run(["cmake", "--build", build])
    there.talk(build / "shared", True)
    there.talk(build / "static", False)


def test_man(there):
    """The pages are the map, the headers and the guides, and they are well made."""
    man = there.prefix / "share/man"
    functions = set(re.findall(r"^ {4}(outlet_\w+);$",
                               (ROOT / "liboutlet.map").read_text(encoding="utf-8"), re.M))
    headers = {"outlet" if p.stem == "outlet" else "outlet_" + p.stem
               for p in (ROOT / "include/outlet").glob("*.h")}
    if functions & headers:
        sys.exit(f"a header and a function share a page: {functions & headers}")
    guides = {"outlet-url.7", "outlet-framing.7", "outlet-payloads.7", "outlet-recordings.7",
              "outlet-rules.7", "outlet-interactive.7"}
    for place, want in (("man1", {"outlet.1"}), ("man7", guides), ("zh_CN/man1", {"outlet.1"}),
                        ("man3", {name + ".3" for name in functions | headers}),
                        ("zh_CN/man7", guides)):
        got = {p.name for p in (man / place).iterdir()}
        if got != want:
            sys.exit(f"{place} differs: {sorted(got ^ want)}")
    if not shutil.which("mandoc"):
        print("mandoc is not here")
        sys.exit(SKIP)
    makewhatis = shutil.which("makewhatis", path="/usr/sbin:/sbin:" + os.environ["PATH"])
    run([makewhatis, man], env=dict(os.environ))
    # mandoc takes Chinese characters for blanks and marks, so only its warnings count there.
    for level, pages in (("style", sorted(man.glob("man?/*"))),
                         ("warning", sorted(man.glob("zh_CN/man?/*")))):
        run(["mandoc", "-T", "lint", "-W", level, *pages], env={**os.environ, "MANPATH": str(man)})
    for lang, word in (("", "--echo"), ("zh_CN", "回显")):
        text = run(["mandoc", "-T", "utf8", man / lang / "man1/outlet.1"])
        if word not in text.replace("\b", "") or re.search(r"@[A-Z_]{3,}@", text):
            sys.exit(f"outlet(1) {lang} lacks {word}, or a place was not filled in")


def main():
    tests = {"layout": test_layout, "headers": test_headers, "pkg-config": test_pkg_config,
             "cmake": test_cmake, "man": test_man}
    parser = argparse.ArgumentParser()
    parser.add_argument("test", choices=tests)
    for option in ("meson", "build", "cc", "consumer", "version", "prefix", "libdir"):
        parser.add_argument("--" + option, required=True)
    parser.add_argument("--tool", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outlet-install-") as scratch:
        tests[args.test](Installed(args, scratch))


if __name__ == "__main__":
    main()
