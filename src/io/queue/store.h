/*
 * store.h - chunks, for the queue alone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_STORE_H
#define OL_STORE_H

#include "queue.h"

/* Room for `want` bytes if a class has it, else the largest; no smaller than class_min. */
struct ol_chunk *ol_chunk_take(struct ol_store *s, size_t want, uint8_t class_min);
void ol_chunk_give_back(struct ol_store *s, struct ol_chunk *c);

#endif
