/*
 * load_plot.c - latencies as pictures: rows for a terminal, and a curve as SVG.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void
eng_load_time_text(char *text, size_t room, double ns)
{
    static const struct {
        double least;
        double unit;
        const char *name;
    } units[] = {{999.5e6, 1e9, "s"}, {999.5e3, 1e6, "ms"}, {999.5, 1e3, "\u00b5s"}, {0, 1, "ns"}};
    size_t i = 0;
    double value;

    while (ns < units[i].least)
        i++;
    value = ns / units[i].unit;
    snprintf(text, room, "%.*f %s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, units[i].name);
}

/* The edge after `edge` in 1, 2, 5, 10, 20 ... */
static int64_t
edge_after(int64_t edge)
{
    int64_t power = 1;

    while (power * 10 <= edge)
        power *= 10;
    return edge < 2 * power ? 2 * power : edge < 5 * power ? 5 * power : 10 * power;
}

int
eng_load_picture(const struct eng_hist *h, struct eng_picture_row rows[ENG_PICTURE_ROWS])
{
    uint64_t left = eng_hist_total(h);
    int64_t least = eng_hist_min(h);
    int64_t from = 0;
    int64_t to = 1;
    int n = 0;

    while (left > 0 && to <= least) {
        from = to;
        to = edge_after(to);
    }
    for (; left > 0; n++) {
        /* What is beyond the last row is in it. */
        bool last = n + 1 == ENG_PICTURE_ROWS;

        rows[n].from = from;
        rows[n].to = last ? ENG_HIST_MAX + 1 : to;
        rows[n].count = eng_hist_between(h, rows[n].from, rows[n].to);
        left -= rows[n].count;
        from = to;
        to = edge_after(to);
    }
    return n;
}

enum { PLOT_WIDTH = 760, PLOT_HEIGHT = 420, LEFT = 84, RIGHT = 40, TOP = 64, BOTTOM = 40 };

struct scale {
    double low; /* log10 of ns */
    double high;
    double halves; /* nines on the x axis */
};

static double
plot_x(const struct scale *s, double percent)
{
    double nines = -log10(1 - percent / 100);

    if (nines > s->halves)
        nines = s->halves;
    return LEFT + nines / s->halves * (PLOT_WIDTH - LEFT - RIGHT);
}

static double
plot_y(const struct scale *s, double ns)
{
    double at = (log10(ns < 1 ? 1 : ns) - s->low) / (s->high - s->low);

    return PLOT_HEIGHT - BOTTOM - at * (PLOT_HEIGHT - TOP - BOTTOM);
}

/* What is not UTF-8 would make the whole file unreadable. */
static void
add_escaped(struct eng_bytes *out, const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t n;

    for (; len > 0; at += n, len -= n) {
        n = eng_utf8_next(at, len);
        if (n == 0 || *at < ' ' || *at == 0x7f)
            eng_bytes_text(out, "?");
        else if (*at == '&')
            eng_bytes_text(out, "&amp;");
        else if (*at == '<')
            eng_bytes_text(out, "&lt;");
        else if (*at == '>')
            eng_bytes_text(out, "&gt;");
        else
            eng_bytes_add(out, at, n);
        n = n ? n : 1;
    }
}

static void
add_titles(struct eng_bytes *out, const char *titles)
{
    enum { FIRST = 26, STEP = 20 };

    for (int y = FIRST; *titles && y < TOP; y += STEP) {
        size_t space = strspn(titles, " ");
        size_t len = strcspn(titles + space, "\n");

        eng_bytes_printf(out, "<text x=\"%d\" y=\"%d\" font-size=\"%d\">", LEFT, y,
                         y == FIRST ? 14 : 12);
        add_escaped(out, titles + space, len);
        eng_bytes_text(out, "</text>\n");
        titles += space + len;
        titles += *titles == '\n';
    }
}

static void
add_grid(struct eng_bytes *out, const struct scale *s)
{
    static const struct {
        double percent;
        const char *name;
    } marks[] = {{0, "0"},       {50, "50"},       {90, "90"},         {99, "99"},
                 {99.9, "99.9"}, {99.99, "99.99"}, {99.999, "99.999"}, {99.9999, "99.9999"}};

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        double x = plot_x(s, marks[i].percent);

        if (-log10(1 - marks[i].percent / 100) > s->halves + 1e-9)
            break;
        eng_bytes_printf(out, "<path class=\"g\" d=\"M%.1f %dV%d\"/>", x, TOP,
                         PLOT_HEIGHT - BOTTOM);
        eng_bytes_printf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s%%</text>\n", x,
                         PLOT_HEIGHT - BOTTOM + 20, marks[i].name);
    }
    for (int power = (int)ceil(s->low); power <= (int)floor(s->high + 1e-9); power++) {
        char text[32];
        double y = plot_y(s, pow(10, power));

        eng_load_time_text(text, sizeof text, pow(10, power));
        eng_bytes_printf(out, "<path class=\"g\" d=\"M%d %.1fH%d\"/>", LEFT, y, PLOT_WIDTH - RIGHT);
        eng_bytes_printf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8,
                         y + 4, text);
    }
}

static void
add_curve(struct eng_bytes *out, const struct scale *s, const struct eng_hist *h)
{
    eng_bytes_text(out, "<path class=\"c\" d=\"");
    for (double nines = 0; nines <= s->halves + 1e-9; nines += s->halves / 240) {
        double percent = 100 * (1 - pow(10, -nines));

        eng_bytes_printf(out, "%s%.1f %.1f", nines > 0 ? "L" : "M", plot_x(s, percent),
                         plot_y(s, (double)eng_hist_percentile(h, percent)));
    }
    eng_bytes_text(out, "\"/>\n");
}

/* The curve rises to the right: below it is room, but for the last ones, which go above it. */
static void
add_points(struct eng_bytes *out, const struct scale *s, const struct eng_hist *h)
{
    static const struct {
        const char *name;
        double percent;
    } points[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
    enum { LABEL = 96, UNDER = 16, OVER = 8 };

    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        bool is_max = points[i].percent >= 100;
        double x = is_max ? PLOT_WIDTH - RIGHT : plot_x(s, points[i].percent);
        double ns = (double)eng_hist_percentile(h, points[i].percent);
        bool over = x > PLOT_WIDTH - RIGHT - LABEL;
        char text[32];

        if (!is_max && x > PLOT_WIDTH - RIGHT - 1)
            continue; /* the same place as the maximum */
        eng_load_time_text(text, sizeof text, ns);
        eng_bytes_printf(out, "<circle class=\"p\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", x,
                         plot_y(s, ns));
        eng_bytes_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s %s</text>\n",
                         over ? x : x + 4, plot_y(s, ns) + (over ? -OVER : UNDER),
                         over ? "end" : "start", points[i].name, text);
    }
}

void
eng_load_plot(const struct eng_load_result *r, const char *titles, struct eng_bytes *out)
{
    uint64_t total = eng_hist_total(r->hist);
    struct scale s = {.low = floor(log10((double)eng_hist_min(r->hist) + 1)),
                      .high = ceil(log10((double)eng_hist_max(r->hist) + 1)),
                      .halves = ceil(log10((double)total + 1))};

    if (s.high <= s.low)
        s.high = s.low + 1;
    if (s.halves < 2)
        s.halves = 2;
    eng_bytes_printf(out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                     "font-family=\"sans-serif\" font-size=\"12\">\n",
                     PLOT_WIDTH, PLOT_HEIGHT);
    eng_bytes_text(out,
                   "<style>.g{stroke:#ccc;fill:none}.c{stroke:#06c;stroke-width:2;fill:none}"
                   ".p{fill:#06c}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    add_titles(out, titles);
    add_grid(out, &s);
    if (total > 0) {
        add_curve(out, &s, r->hist);
        add_points(out, &s, r->hist);
    }
    eng_bytes_text(out, "</svg>\n");
}
