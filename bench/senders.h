/*
 * senders.h - the threads of the rows where others than the loop send: the same for every server.
 *
 * A turn of a thread is TURN messages to each connection.  It begins when the client has said the
 * thread's number ('0' for the first), and the client says it when the last turn has arrived; so
 * what is under way is bounded by the client, and memory with it.  A message begins with the
 * number of the thread and the number of the message for this connection, both 32 bits in the
 * machine's order.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SENDERS_H
#define BENCH_SENDERS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENDERS_MAX = 16, SENDERS_TURN = 8, SENDERS_SIZE_MAX = 4096 };

/* Each server has these two. */
void senders_target(int i, const void *bytes, size_t len);
int senders_targets(void);

static struct {
    sem_t go[SENDERS_MAX];
    size_t size;
} senders;

static void *
senders_main(void *arg)
{
    uint32_t me = (uint32_t)(uintptr_t)arg;
    uint8_t message[SENDERS_SIZE_MAX];

    for (size_t i = 0; i < senders.size; i++) {
        message[i] = (uint8_t)(i * 7 + 3);
    }
    memcpy(message, &me, sizeof me);
    for (uint32_t turn = 0;; turn++) {
        int count;

        while (sem_wait(&senders.go[me])) {
        }
        count = senders_targets();
        for (int to = 0; to < count; to++) {
            for (uint32_t i = 0; i < SENDERS_TURN; i++) {
                uint32_t number = turn * SENDERS_TURN + i;

                memcpy(message + sizeof me, &number, sizeof number);
                senders_target(to, message, senders.size);
            }
        }
    }
    return NULL;
}

static inline void
senders_start(int threads, size_t size)
{
    if (threads < 1 || threads > SENDERS_MAX || size < 8 || size > SENDERS_SIZE_MAX)
        exit(2);
    senders.size = size;
    for (int i = 0; i < threads; i++) {
        pthread_t t;

        if (sem_init(&senders.go[i], 0, 0) ||
            pthread_create(&t, NULL, senders_main, (void *)(uintptr_t)i)) {
            perror("thread");
            exit(1);
        }
    }
}

static inline void
senders_go(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] >= '0' && bytes[i] < '0' + SENDERS_MAX)
            sem_post(&senders.go[bytes[i] - '0']);
    }
}

#endif
