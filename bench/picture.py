"""picture.py - the results as bars, in an SVG written by hand.

Colours are of the set by Okabe and Ito, which the colour-blind can tell apart; every bar has its
name and figure beside it, so that no colour is needed to read it.  A thin line shows the spread.

SPDX-License-Identifier: MIT
"""
from xml.sax.saxutils import escape

from results import show

COLOURS = {"bare": "#8c8c8c", "outlet": "#0072b2", "peer": "#e69f00"}
LEGEND = {"bare": "no library: the limit", "outlet": "outlet", "peer": "other libraries"}
WIDTH, COLUMNS, MARGIN = 1200, 2, 24
BAR, GAP, HEAD = 16, 7, 44
NAME, FIGURE = 130, 150
LONGEST = 2.6  # a longer bar is cut, with a mark; its figure says how long it is


def text(x, y, words, size=13, weight="normal", anchor="start", fill="#222222",
         halo=False):
    """Words; with a halo they can be read on a line."""
    more = ' stroke="#ffffff" stroke-width="4" paint-order="stroke"' if halo else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" ' \
           f'text-anchor="{anchor}" fill="{fill}"{more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour="#222222", more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" ' \
           f'stroke="{colour}" {more}/>'


def bars_of(row):
    """(server, spread of what is drawn, figure in words)."""
    for s in row["servers"]:
        key = row["metric"]
        drawn = s[key] if key == "memory" else s[key + "_ratio"]
        if drawn and s[key]:
            words = show(key, s[key]["median"])
            if key != "memory":
                words = f"{drawn['median']:.2f} ({words}{'/s' * (key == 'rate')})"
            yield s, drawn, words


def panel_height(row):
    return HEAD + len(list(bars_of(row))) * (BAR + GAP) + 18


def panel(row, x, y, width):
    """One row: a title, a bar for each server."""
    bars = list(bars_of(row))
    of = row.get("of", "server")
    words = {"cpu": f"CPU of the {of} per message, × {row['base']}; shorter is better",
             "rate": f"rate, × {row['base']}; longer is better",
             "memory": "bytes of the server's memory for a connection; shorter is better"}
    yield text(x, y + 14, row["title"], 14, "bold")
    yield text(x, y + 31, words[row["metric"]], 11, fill="#555555")
    if not bars:
        return
    left, room = x + NAME, width - NAME - FIGURE
    longest = max(drawn["max"] for _, drawn, _ in bars)
    if row["metric"] == "cpu":
        longest = min(longest, LONGEST)
    scale = room / max(longest, 1e-9)
    top = y + HEAD
    if row["metric"] != "memory":
        bottom = top + len(bars) * (BAR + GAP) - GAP + 3
        yield line(left + scale, top - 3, left + scale, bottom, "#222222",
                   'stroke-dasharray="3 3"')
    for i, (s, drawn, label) in enumerate(bars):
        at = top + i * (BAR + GAP)
        length = min(drawn["median"], longest) * scale
        weight = "bold" if s["family"] == "outlet" else "normal"
        yield text(left - 8, at + 12, s["name"], 12, weight, "end")
        yield f'<rect x="{left:.1f}" y="{at:.1f}" width="{max(length, 1):.1f}" height="{BAR}" ' \
              f'fill="{COLOURS[s["family"]]}"/>'
        if drawn["median"] > longest:
            for cut in (10, 16):
                yield line(left + length - cut - 4, at + BAR + 2, left + length - cut + 4, at - 2,
                           "#ffffff", 'stroke-width="3"')
            end = left + length
        else:
            low, high = (left + min(v, longest) * scale for v in (drawn["min"], drawn["max"]))
            middle = at + BAR / 2
            yield line(low, middle, high, middle)
            for tip in (low, high):
                yield line(tip, middle - 4, tip, middle + 4)
            end = max(left + length, high)
        yield text(end + 6, at + 12, label, 12, weight, halo=True)


def draw(result):
    """The whole picture."""
    width = (WIDTH - MARGIN * (COLUMNS + 1)) / COLUMNS
    m = result["machine"]
    head = [
        text(MARGIN, 36, f"outlet {result['commit']}: what a message costs", 20, "bold"),
        text(MARGIN, 58, f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}; loopback, server and "
                         f"client pinned; median of {result['rounds']} alternated rounds, the thin "
                         "line is least to most", 12, fill="#555555")]
    x = MARGIN
    for family, words in LEGEND.items():
        head.append(f'<rect x="{x}" y="70" width="14" height="14" fill="{COLOURS[family]}"/>')
        head.append(text(x + 20, 82, words, 12))
        x += 40 + 7 * len(words)
    body = []
    ends = [108.0] * COLUMNS
    for row in result["rows"]:
        if not list(bars_of(row)):
            continue
        column = ends.index(min(ends))
        body += panel(row, MARGIN + column * (width + MARGIN), ends[column], width)
        ends[column] += panel_height(row)
    height = max(ends) + MARGIN
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'width="{WIDTH}" height="{height:.0f}" '
            'font-family="system-ui, sans-serif">\n'
            f'<title>outlet {escape(result["commit"])}: benchmark</title>\n'
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>\n'
            + "\n".join(head + body) + "\n</svg>\n")
