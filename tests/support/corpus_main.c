/*
 * corpus_main.c - run a fuzz target over the inputs that are kept, without a fuzzer.
 *
 * Arguments are folders.  It also runs the empty input and every prefix of each kept one: a parser
 * that was wrong once is most often wrong near the same place.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

enum { INPUT_MAX = 1 << 20, PREFIXES_MAX = 4096 };

/* A copy of its own size, so that the address sanitizer sees one byte too many. */
static int
run_one(const uint8_t *in, size_t len)
{
    uint8_t *exact = calloc(len ? len : 1, 1);

    if (!exact)
        return 1;
    if (len)
        memcpy(exact, in, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    return 0;
}

static int
run_file(const char *path)
{
    int failed = 1;
    size_t len;
    size_t prefix;
    uint8_t *in;
    FILE *f = fopen(path, "rb");

    if (!f) {
        perror(path);
        return 1;
    }
    in = malloc(INPUT_MAX);
    if (!in)
        goto close_file;
    len = fread(in, 1, INPUT_MAX, f);
    if (ferror(f))
        goto free_input;

    fprintf(stderr, "%s\n", path);
    for (prefix = 0; prefix < len && prefix < PREFIXES_MAX; prefix++) {
        if (run_one(in, prefix))
            goto free_input;
    }
    failed = run_one(in, len);

free_input:
    free(in);
close_file:
    fclose(f);
    return failed;
}

static int
run_folder(const char *path)
{
    char file[4096];
    int failed = 0;
    struct dirent *entry;
    DIR *d = opendir(path);

    if (!d) {
        perror(path);
        return 1;
    }
    while ((entry = readdir(d)) && !failed) {
        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(file, sizeof file, "%s/%s", path, entry->d_name) >= (int)sizeof file)
            failed = 1;
        else
            failed = run_file(file);
    }
    closedir(d);
    return failed;
}

int
main(int argc, char **argv)
{
    int failed = run_one((const uint8_t *)"", 0);
    int i;

    for (i = 1; i < argc && !failed; i++)
        failed = run_folder(argv[i]);
    return failed;
}
