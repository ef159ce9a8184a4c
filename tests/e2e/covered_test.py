#!/usr/bin/python3
"""covered_test.py - does every option of every verb stand in a case?

    covered_test.py OUTLET

What there is, the command says itself (`outlet VERB --help`); what is tried, the command lines of
all cases say.  A new option without a case fails here.

SPDX-License-Identifier: MIT
"""
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import run

CASES = pathlib.Path(run.HERE) / "cases"


def said(outlet, *args):
    """What it prints, in English."""
    done = subprocess.run([outlet, *args], env={**os.environ, "OUTLET_LANG": "en"},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout


def verbs_of(outlet):
    """The first words of the list of verbs."""
    listed = said(outlet, "--help").split("\nverbs:\n")[1].split("\n\n")[0]
    return re.findall(r"^  ([a-z]+)", listed, re.M)


def options_of(outlet, verb):
    """{long name: its letter or None}; `help` has none, it only shows those of others."""
    listed = said(outlet, verb, "--help").partition("\noptions:\n")[2]
    return {long: letter for letter, long in
            re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)", listed, re.M)}


def command_lines():
    """Every command line of outlet in the cases, once per row of the case."""
    for path in sorted(CASES.glob("*.toml")):
        spec = tomllib.loads(path.read_text(encoding="utf-8"))
        for row in spec.get("each", [{}]):
            for step in spec["step"]:
                argv = run.replaced(step.get("run", []), row)
                if argv and argv[0] == "outlet":
                    yield argv[1:]


def uses(argv, long, letter):
    """Does a command line have this option?"""
    return any(word == f"--{long}" or word.startswith(f"--{long}=") or
               (letter and re.match(rf"-[a-zA-Z]*{letter}", word)) for word in argv)


def verb_of(argv, verbs):
    """The verb of a command line; a URL alone is connected to."""
    known = [word for word in argv if word in verbs]
    return known[0] if known else "connect"


def main():
    """Names what no case has."""
    outlet = os.path.abspath(sys.argv[1])
    verbs = verbs_of(outlet)
    tried = [(verb_of(argv, verbs), argv) for argv in command_lines()]
    missing = [f"{verb} --{long}" for verb in verbs
               for long, letter in options_of(outlet, verb).items()
               if not any(v == verb and uses(argv, long, letter) for v, argv in tried)]
    for what in missing:
        print(f"no case has: outlet {what}")
    total = sum(len(options_of(outlet, verb)) for verb in verbs)
    print(f"{total - len(missing)} of {total} options of {len(verbs)} verbs are in a case")
    return 1 if missing or len(verbs) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
