/*
 * term.c - what a terminal can: colours, its size, and when that changes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

static bool
is_dumb(void)
{
    const char *term = getenv("TERM");

    return !term || !*term || strcmp(term, "dumb") == 0;
}

bool
cli_can_paint(const struct cli *cli)
{
    return cli->terminal && !is_dumb();
}

void
cli_set_colours(struct cli *cli, const char *mode)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    bool always = mode && strcmp(mode, "always") == 0;
    bool never = mode && strcmp(mode, "never") == 0;
    bool wanted = !never && !is_dumb() && !(no_color && *no_color);

    cli->colours = always || (wanted && cli->terminal);
    cli->error_colours = always || (wanted && isatty(STDERR_FILENO));
}

/* Of the 8 colours that every palette makes readable; no black, white or blue. */
const char *
cli_ink(bool colours, enum cli_ink ink)
{
    static const char *const inks[] = {
        [INK_NONE] = "\033[0m", [INK_DIM] = "\033[2m",  [INK_BOLD] = "\033[1m",
        [INK_IN] = "\033[36m",  [INK_OUT] = "\033[33m", [INK_GOOD] = "\033[32m",
        [INK_BAD] = "\033[31m",
    };

    return colours ? inks[ink] : "";
}

bool
cli_screen_size(int *rows, int *columns)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row || !size.ws_col)
        return false;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return true;
}

int
cli_resize_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}
