#!/usr/bin/python3
"""results_test.py - what is computed from samples, on samples made up here.  No clock, no process.

SPDX-License-Identifier: MIT
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

import picture
import results
import rows
import run

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
COMPARE = pathlib.Path(__file__).resolve().parent.parent / "tools" / "bench_compare"


def row(name, metric="cpu", **servers):
    """A row of servers; the first is the base.  A figure of None is a run that failed."""
    key = "memory" if metric == "memory" else None
    out = {"name": name, "title": name, "metric": metric, "base": next(iter(servers)),
           "skipped": [], "notes": [], "servers": []}
    for server, figures in servers.items():
        server = server.replace("_", "-")
        family = "outlet" if server.startswith("outlet") else \
            "bare" if server in ("epoll", "uring") else "peer"
        samples = [None if f is None else {key: f} if key else
                   {"cpu": f, "rate": 1e9 / f, "client_cpu": 1.0, "lost": 0} for f in figures]
        out["servers"].append({"name": server, "family": family, "samples": samples,
                               "errors": []})
    results.summarize(out)
    return out


def result(*of):
    """What the runner writes."""
    return {"v": 1, "commit": "0123456789ab", "time": "now", "rounds": 5, "seconds": 0.6,
            "notes": [], "rows": list(of), "goals": [], "peers_ahead": [],
            "machine": {"cpu": "<fast> & new", "cpus": 2, "memory_gib": 8, "kernel": "6", "cc": ""}}


class ResultsTest(unittest.TestCase):
    """Medians, ratios, goals, the table, the picture, the comparison."""

    def test_a_ratio_is_taken_within_its_round(self):
        # Both drift alike: the ratio does not.
        r = row("tcp", epoll=[1000, 2000, 4000], libuv=[1100, 2200, 4400])
        s = r["servers"][1]["cpu_ratio"]
        for key in ("median", "min", "max"):
            self.assertAlmostEqual(s[key], 1.1)

    def test_a_failed_run_spoils_only_its_round(self):
        r = row("tcp", epoll=[1000, None, 1000], libuv=[2000, 2000, None])
        self.assertEqual(r["servers"][1]["cpu_ratio"], {"median": 2, "min": 2, "max": 2})

    def test_goals_are_held_against_the_harder_of_two(self):
        r = row("tcp-64x1", epoll=[1000] * 3, uring=[900] * 3, outlet_epoll=[990] * 3,
                outlet_uring=[1200] * 3)
        goal = rows.Goal("", "tcp-64x1", "cpu", rows.OURS, rows.LIMITS, 1.05)
        got = results.judge(goal, [r])
        self.assertAlmostEqual(got["value"], 1.1)
        self.assertFalse(got["holds"])
        got = results.judge(rows.Goal("", "tcp-64x1", "cpu", rows.OURS, ("epoll",), 1.05), [r])
        self.assertTrue(got["holds"])

    def test_the_better_of_ours_is_so_within_the_rounds(self):
        # Its plain median is the worse one, because it was measured while the machine was slow.
        r = row("tcp-1x16", epoll=[1000, 1000, 2000, 2000], uring=[1100, 1100, 2200, 2200],
                outlet_epoll=[None, None, 2080, 2080], outlet_uring=[1100, 1100, 2200, None])
        got = results.judge(rows.Goal("", "tcp-1x16", "cpu", rows.OURS, rows.LIMITS, 1.05), [r])
        self.assertAlmostEqual(got["value"], 1.04)

    def test_a_goal_of_at_least_holds_when_the_rate_is_higher(self):
        r = row("publish", epoll=[3000], outlet_epoll=[1000])
        goal = rows.Goal("", "publish", "rate", rows.OURS, ("epoll",), 2.2, True)
        self.assertTrue(results.judge(goal, [r])["holds"])

    def test_a_goal_without_figures_is_not_measured(self):
        goal = rows.Goal("", "tcp-64x1", "cpu", rows.OURS, rows.LIMITS, 1.05)
        for of in ([], [row("tcp-64x1", epoll=[1000])],
                   [row("tcp-64x1", epoll=[None], outlet_epoll=[1000])]):
            self.assertIsNone(results.judge(goal, of)["holds"])

    def test_the_cpu_of_a_row_is_that_of_the_side_it_is_about(self):
        by_name = {r.name: r for r in rows.ROWS}
        bare = {"messages": 10, "seconds": 2, "server_cpu_ns": 700, "client_cpu_ns": 300, "lost": 0}
        load = {"messages": 10, "seconds": 2, "cpu_ns": 400, "lost": 0}
        self.assertEqual(run.sample(by_name["tcp-64x1"], bare)["cpu"], 70)
        self.assertEqual(run.sample(by_name["load-64x1"], bare)["cpu"], 30)
        self.assertEqual(run.sample(by_name["load-64x1"], load)["cpu"], 40)

    def test_one_spoilt_slice_does_not_spoil_its_run_but_its_losses_count(self):
        slices = [{"cpu": cpu, "rate": 1e9 / cpu, "lost": lost}
                  for cpu, lost in ((1000, 0), (5000, 3), (1002, 1))]
        self.assertEqual(run.together(slices), {"cpu": 1002, "rate": 1e9 / 1002, "lost": 4})

    def test_who_never_sleeps_is_up_alone(self):
        for r in rows.ROWS:
            if any("spin" in s.argv or "spin" in s.client for s in r.servers):
                self.assertEqual(r.slices, 1)

    def test_every_goal_names_a_row_and_its_servers(self):
        known = {r.name: {s.name for s in r.servers} for r in rows.ROWS}
        for goal in rows.GOALS:
            for name in (*goal.a, *goal.b):
                self.assertIn(name, known[goal.row])

    def test_the_pages_name_every_row_and_every_server(self):
        names = {r.name for r in rows.ROWS}
        names |= {s.name for r in rows.ROWS for s in r.servers
                  if not s.name.startswith(("outlet2", "outlet-busy", "outlet-pair"))}
        for page in ("benchmark.md", "benchmark.zh-CN.md"):
            text = (DOCS / page).read_text(encoding="utf-8")
            self.assertEqual([n for n in sorted(names) if f"`{n}`" not in text], [])

    def test_a_peer_is_ahead_when_it_is_within_the_rounds(self):
        # Both drift alike; in `near` one round is ours.
        near = row("a", epoll=[1000] * 2, outlet_epoll=[1000, 1100], libuv=[950, 1150])
        far = row("b", epoll=[1000] * 2, outlet_epoll=[1000, 1100], libuv=[950, 1050])
        self.assertEqual(list(results.peers_ahead([near, far])),
                         ["b: libuv is ahead of outlet-epoll"])

    def test_a_peer_is_not_ahead_by_less_than_the_noise(self):
        r = row("a", epoll=[1000] * 7, outlet_epoll=[1000] * 7, libuv=[990] * 7)
        self.assertEqual(list(results.peers_ahead([r])), [])
        # Of many rounds some may be spoilt.
        r = row("a", epoll=[1000] * 7, outlet_epoll=[1000] * 7, libuv=[950] * 6 + [1200])
        self.assertEqual(len(list(results.peers_ahead([r]))), 1)
        # Few that differ much tell nothing, but are worth a few more; many do tell.
        few = [850, 1050, 950, 900, 1020]
        r = row("a", epoll=[1000] * 5, outlet_epoll=[1000] * 5, libuv=few)
        self.assertEqual(list(results.peers_ahead([r])), [])
        self.assertEqual(results.undecided([], r), {"libuv", "outlet-epoll"})
        r = row("a", epoll=[1000] * 40, outlet_epoll=[1000] * 40, libuv=few * 8)
        self.assertEqual(len(list(results.peers_ahead([r]))), 1)

    def test_only_those_go_on_whom_something_undecided_is_about(self):
        goal = rows.Goal("", "churn", "cpu", rows.OURS, rows.LIMITS, 1.10)
        r = row("churn", epoll=[1000] * 5, outlet_epoll=[1100, 1150, 1050, 1120, 1080],
                libuv=[1500] * 5)
        self.assertEqual(results.undecided([goal], r), {*rows.OURS, *rows.LIMITS})
        # What was not measured in the rounds since changes nothing.
        for server in r["servers"]:
            server["samples"] += [{"cpu": 1000, "rate": 1}] * 95 if server["name"] != "libuv" \
                else [None] * 95
        results.summarize(r)
        self.assertEqual(results.undecided([goal], r), set())

    def test_a_row_goes_on_while_its_goal_is_undecided(self):
        goal = rows.Goal("", "churn", "cpu", rows.OURS, rows.LIMITS, 1.10)
        for ours, expected in (([1100, 1150, 1050, 1120, 1080], True),
                               ([1105, 1155, 1055, 1125, 1085], True),  # too much, and not sure
                               ([1300, 1350, 1250, 1320, 1280], False),
                               ([900, 950, 850, 920, 880], False)):
            r = row("churn", epoll=[1000] * 5, outlet_epoll=ours)
            self.assertEqual(results.is_undecided(goal, r), expected, ours)
        self.assertFalse(results.is_undecided(goal, row("churn", epoll=[None],
                                                        outlet_epoll=[1000])))

    def test_noise_shrinks_with_rounds_and_ignores_one_spoilt(self):
        few = results.noise([1.0, 1.1, 0.9])
        self.assertLess(results.noise([1.0, 1.1, 0.9] * 4), few / 1.9)
        self.assertAlmostEqual(results.noise([1.0, 1.1, 0.9, 1.1, 0.9]),
                               results.noise([1.0, 1.1, 0.9, 1.1, 9.0]))

    def test_the_table_shows_every_server_and_why_one_is_missing(self):
        r = row("tcp", epoll=[1000], outlet_epoll=[1020], libuv=[None])
        r["skipped"].append(("libev", "not built, libev-dev is missing"))
        r["servers"][2]["errors"].append("wrong bytes")
        shown = results.table(result(r))
        for words in ("1.02 [1.02-1.02]", "libuv FAILED: wrong bytes",
                      "libev skipped: not built, libev-dev is missing"):
            self.assertIn(words, shown)

    def test_the_picture_is_xml_and_names_every_bar(self):
        shown = picture.draw(result(
            row("tcp", epoll=[1000], outlet_epoll=[1020], libevent=[14000], libuv=[None]),
            row("idle", "memory", epoll=[80], outlet_epoll=[300]), row("none", epoll=[None])))
        xml.dom.minidom.parseString(shown)
        for words in ("epoll", "outlet-epoll", "libevent", "14.00", "300 B"):
            self.assertIn(words, shown)

    def verdicts(self, old, new):
        return [v[:3] for v in results.compare(result(*old), result(*new))]

    def test_a_change_within_the_spread_is_none(self):
        old = row("tcp", epoll=[1000] * 3, outlet_epoll=[1000, 1050, 1100])
        new = row("tcp", epoll=[1000] * 3, outlet_epoll=[1090, 1150, 1200])
        self.assertEqual(self.verdicts([old], [new]), [("same", "tcp", "outlet-epoll")])

    def test_a_small_change_is_none_however_steady(self):
        old = row("tcp", epoll=[1000] * 5, outlet_epoll=[1000] * 5)
        new = row("tcp", epoll=[1000] * 5, outlet_epoll=[1015] * 5)
        self.assertEqual(self.verdicts([old], [new]), [("same", "tcp", "outlet-epoll")])

    def test_a_change_beyond_both_is_told_in_both_directions(self):
        a = row("tcp", epoll=[1000] * 4, outlet_epoll=[1000, 1010, 1020, 1030])
        b = row("tcp", epoll=[2000] * 4, outlet_epoll=[2200, 2210, 2220, 2230])
        self.assertEqual(self.verdicts([a], [b]), [("worse", "tcp", "outlet-epoll")])
        self.assertEqual(self.verdicts([b], [a]), [("better", "tcp", "outlet-epoll")])

    def test_more_rate_is_better(self):
        a = row("busy", "rate", epoll=[1000] * 3, outlet_epoll=[1000] * 3)
        b = row("busy", "rate", epoll=[1000] * 3, outlet_epoll=[500] * 3)
        self.assertEqual(self.verdicts([a], [b]), [("better", "busy", "outlet-epoll")])

    def test_of_few_rounds_little_is_believed(self):
        for rounds, verdict in ((3, "same"), (4, "worse")):
            old = row("tcp", epoll=[1000] * rounds, outlet_epoll=[1000] * rounds)
            new = row("tcp", epoll=[1000] * rounds, outlet_epoll=[1080] * rounds)
            self.assertEqual(self.verdicts([old], [new]), [(verdict, "tcp", "outlet-epoll")])

    def test_one_outlier_of_seven_does_not_hide_a_change(self):
        old = row("tcp", epoll=[1000] * 7, outlet_epoll=[1000] * 6 + [1300])
        new = row("tcp", epoll=[1000] * 7, outlet_epoll=[1100] * 7)
        self.assertEqual(self.verdicts([old], [new]), [("worse", "tcp", "outlet-epoll")])

    def test_memory_is_compared_as_it_is_and_its_base_too(self):
        old = row("idle", "memory", epoll=[80, 80], outlet_epoll=[300, 300])
        new = row("idle", "memory", epoll=[160, 160], outlet_epoll=[300, 300])
        self.assertEqual(self.verdicts([old], [new]),
                         [("worse", "idle", "epoll"), ("same", "idle", "outlet-epoll")])

    def test_a_row_that_is_only_in_one_is_said(self):
        new = row("tcp", epoll=[1000], outlet_epoll=[1000])
        self.assertEqual(self.verdicts([], [new]), [("new", "tcp", "outlet-epoll")])
        self.assertEqual(self.verdicts([new], []), [("gone", "tcp", "outlet-epoll")])

    def test_the_command_fails_when_something_got_worse(self):
        a = result(row("tcp", epoll=[1000] * 3, outlet_epoll=[1000] * 3))
        b = result(row("tcp", epoll=[1000] * 3, outlet_epoll=[1300] * 3))
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, content in (("a", a), ("b", b)):
                paths.append(pathlib.Path(folder, name))
                paths[-1].write_text(json.dumps(content), encoding="utf-8")

            def call(*argv):
                return subprocess.run([sys.executable, COMPARE, *argv], capture_output=True,
                                      text=True, check=False)
            worse = call(*paths)
            self.assertEqual(worse.returncode, 1)
            self.assertIn("worse    +30.0 %  tcp outlet-epoll: 1.00 -> 1.30", worse.stdout)
            self.assertEqual(call(paths[0], paths[0]).returncode, 0)
            self.assertEqual(call(paths[0]).returncode, 2)
            self.assertEqual(call(paths[0], folder).returncode, 2)


if __name__ == "__main__":
    unittest.main()
