"""results.py - what the samples say: medians, spread, ratios within a round, the table, goals.

A server of a row has one sample for each round, in order, so that samples of one round can be
divided by each other: whatever else the machine did then, it did to both.

SPDX-License-Identifier: MIT
"""
import statistics

# Figures of a sample: (key, what is better).
LOWER = {"cpu": True, "memory": True, "rate": False}
FEWNESS = 10  # with 5 rounds 4 times the noise is in doubt, with many twice
MEDIAN_ERROR = 1.4826 * 1.2533  # of the median distance: to a deviation, to a median's error
UNITS = {"cpu": "CPU per message", "rate": "messages per second", "memory": "bytes each"}


def spread(values):
    """Median, least and most; None when there is nothing."""
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(samples, base, key):
    """a / b for every round in which both have a figure."""
    return [a[key] / b[key] for a, b in zip(samples, base)
            if a and b and a.get(key) and b.get(key)]


def summarize(row):
    """Fill in what follows from the samples of each server of a row."""
    base = row["servers"][0]["samples"] if row["servers"] else []
    for server in row["servers"]:
        for key in LOWER:
            server[key] = spread([s.get(key) for s in server["samples"] if s])
            server[key + "_ratio"] = spread(ratios(server["samples"], base, key))


def best_of(row, names, metric):
    """The better one of goals with several candidates, by its median ratio to the row's base within
    a round: the plain medians may be of other rounds, in which the machine was another one."""
    known = [s for s in row["servers"] if s["name"] in names and s.get(metric + "_ratio")]
    pick = min if LOWER[metric] else max
    return pick(known, key=lambda s: s[metric + "_ratio"]["median"]) if known else None


def noise(values):
    """How far off the median of so many values may be: its standard error, from the median
    distance to it, which one spoilt round does not move."""
    middle = statistics.median(values)
    away = statistics.median(abs(v - middle) for v in values)
    return MEDIAN_ERROR * away / len(values) ** 0.5


def judge(goal, rows):
    """One goal: its figure, how far off that may be, and whether it holds; None when something was
    not measured."""
    row = next((r for r in rows if r["name"] == goal.row), None)
    a = best_of(row, goal.a, goal.metric) if row else None
    others = [s for s in row["servers"] if s["name"] in goal.b and s.get(goal.metric)] if row \
        else []
    answer = {"text": goal.text, "row": goal.row, "metric": goal.metric, "limit": goal.limit,
              "at_least": goal.at_least, "value": None, "noise": None, "rounds": 0,
              "holds": None}
    if not a or not others:
        return answer
    each = [ratios(a["samples"], b["samples"], goal.metric) for b in others]
    known = [(statistics.median(e), noise(e), len(e)) for e in each if e]
    if not known:
        return answer
    # Against the hardest.
    value, answer["noise"], answer["rounds"] = max(known) if LOWER[goal.metric] else min(known)
    answer["value"] = value
    answer["holds"] = value >= goal.limit if goal.at_least else value <= goal.limit
    return answer


def is_undecided(goal, row):
    """Is a goal nearer to its limit than the noise?  Whether it holds or not.  Few figures lie
    close together by chance, so their noise counts for more."""
    got = judge(goal, [row])
    if got["value"] is None:
        return False
    return abs(got["value"] - got["limit"]) < (2 + FEWNESS / got["rounds"]) * got["noise"]


def undecided(goals, row):
    """The names of those whom an undecided goal of the row is about, and of a peer that seems to be
    ahead: so few rounds may have been luck."""
    names = set()
    for goal in goals:
        if is_undecided(goal, row):
            names.update(goal.a, goal.b)
    for peer, ours, _ in seem_ahead(row):
        names.update((peer["name"], ours["name"]))
    return names


def seem_ahead(row):
    """Each peer whose median is less than ours by more than noise, with the better of ours and the
    ratio in each round."""
    ours = best_of(row, [s["name"] for s in row["servers"] if s["family"] == "outlet"], "cpu")
    for peer in row["servers"]:
        if not ours or row["metric"] != "cpu" or peer["family"] != "peer":
            continue
        each = ratios(peer["samples"], ours["samples"], "cpu")
        if each and statistics.median(each) < 1 - NOISE:
            yield peer, ours, each


def peers_ahead(rows):
    """Peers that need less CPU than ours, and not by luck."""
    for row in rows:
        for peer, ours, each in seem_ahead(row):
            if statistics.median(each) + 2 * noise(each) < 1:
                yield f"{row['name']}: {peer['name']} is ahead of {ours['name']}"


# ---- the table ---------------------------------------------------------------------------------


def show(key, value):
    """A figure for people."""
    if key == "cpu":
        return f"{value / 1000:.3g} us" if value < 1e6 else f"{value / 1e6:.3g} ms"
    if key == "memory":
        return f"{value:,.0f} B"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def show_spread(key, s):
    """5.5 us [5.4-5.7]"""
    if not s:
        return "-"
    return f"{show(key, s['median'])} [{show(key, s['min']).split()[0]}-" \
           f"{show(key, s['max']).split()[0]}]"


def show_ratio(s):
    """1.02 [1.00-1.05]"""
    return f"{s['median']:.2f} [{s['min']:.2f}-{s['max']:.2f}]" if s else "-"


def row_table(row):
    """The lines of one row."""
    yield f"{row['name']}: {row['title']}"
    keys = ["memory"] if row["metric"] == "memory" else ["cpu", "rate"]
    cells = [["", *(c for k in keys for c in (UNITS[k], "x " + row["base"]))]]
    for s in row["servers"]:
        cells.append([s["name"], *(c for k in keys for c in (
            show_spread(k, s[k]), show_ratio(s[k + "_ratio"])))])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        yield "  " + "  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
    for s in row["servers"]:
        for error in s["errors"]:
            yield f"  {s['name']} FAILED: {error}"
        wrong = sum(x.get("lost", 0) for x in s["samples"] if x)
        if wrong:
            yield f"  {s['name']}: {wrong} datagrams lost"
    for name, why in row["skipped"]:
        yield f"  {name} skipped: {why}"
    for note in row["notes"]:
        yield f"  note: {note}"


def goal_table(result):
    """The goals, and who is ahead of us."""
    goals = result["goals"]
    if not goals:
        return
    yield "goals (medians of ratios within a round)"
    words = {True: "holds", False: "DOES NOT HOLD", None: "not measured"}
    for g in goals:
        value = "" if g["value"] is None else f"{g['value']:.2f} +-{g['noise']:.2f}"
        sign = ">=" if g["at_least"] else "<="
        yield f"  {words[g['holds']]:<14}{value:>12} {sign} {g['limit']:<5} {g['text']}"
    for line in result["peers_ahead"]:
        yield f"  PEER AHEAD                  {line}"


def machine_table(result):
    """What it was measured on."""
    m = result["machine"]
    yield f"outlet {result['commit']}, {result['time']}"
    yield f"{m['cpu']}, {m['cpus']} CPUs, {m['memory_gib']:.0f} GiB, Linux {m['kernel']}, {m['cc']}"
    for note in result["notes"]:
        yield f"note: {note}"


def table(result):
    """All of it."""
    parts = ["\n".join(machine_table(result))]
    parts += ["\n".join(row_table(row)) for row in result["rows"]]
    parts += ["\n".join(goal_table(result))]
    return "\n\n".join(p for p in parts if p) + "\n"


# ---- two results -------------------------------------------------------------------------------

NOISE = 0.02  # a change of less is none, however steady the figures are
NOISE_OF_FEW = 0.10  # the same for fewer rounds than FEW, whose ranges miss each other by chance
FEW = 4
ENOUGH = 7  # rounds that can do without their least and most


def trimmed(values):
    """The range without the least and the most, when there are enough to do without them."""
    values = sorted(values)
    return (values[1], values[-2]) if len(values) >= ENOUGH else (values[0], values[-1])


def figures(row, server):
    """What to compare: ratios to the row's base, which do not drift; bytes as they are."""
    if row["metric"] == "memory":
        return [s["memory"] for s in server["samples"] if s]
    base = row["servers"][0]
    return ratios(server["samples"], base["samples"], row["metric"])


def by_name(result):
    """{(row, server): its figures}.  Where only the base is measured against itself: none."""
    return {(row["name"], s["name"]): (row["metric"], figures(row, s))
            for row in result["rows"] for s in row["servers"]
            if s["name"] != row["base"] or row["metric"] == "memory"}


def compare(old, new):
    """(verdict, row, server, old median, new median) of every server in either result."""
    before, after = by_name(old), by_name(new)
    for key in {**before, **after}:
        metric, a = before.get(key, (None, []))
        metric, b = after.get(key, (metric, []))
        if a and b:
            yield judge_change(metric, a, b), *key, statistics.median(a), statistics.median(b)
        elif a or b:
            yield "new" if b else "gone", *key, None, None


def judge_change(metric, a, b):
    """Better, worse, or the same as far as these figures can tell."""
    (low_a, high_a), (low_b, high_b) = trimmed(a), trimmed(b)
    change = statistics.median(b) / statistics.median(a) - 1
    least = NOISE_OF_FEW if min(len(a), len(b)) < FEW else NOISE
    if (low_b <= high_a and high_b >= low_a) or abs(change) < least:
        return "same"
    return "worse" if (change > 0) == LOWER[metric] else "better"
