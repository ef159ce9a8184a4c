/*
 * host.h - what this machine says of itself and of its sockets, in the shape that the drivers'
 * table wants: the same for each driver whose links are descriptors.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OL_HOST_H
#define OL_HOST_H

#include "driver.h"

/* None looks at `d`, which may be NULL. */
int64_t ol_host_real_now(struct ol_driver *d);
void ol_host_random(struct ol_driver *d, void *bytes, size_t len);

int ol_host_given(struct ol_driver *d, int fd, struct ol_given *out);
void ol_host_discard(struct ol_driver *d, int32_t token, bool reset);
int ol_host_address(struct ol_driver *d, struct ol_link *l, bool peer, struct ol_addr *out);
int ol_host_credentials(struct ol_driver *d, struct ol_link *l, struct ol_credentials *out);
int ol_host_tcp_facts(struct ol_driver *d, struct ol_link *l, struct ol_tcp_facts *out);
int ol_host_dgram_facts(struct ol_driver *d, struct ol_link *l, struct ol_dgram_facts *out);

/* OUTLET_READABLE and the like, of what poll(2) or epoll(7) answered, whose bits are the same. */
int32_t ol_host_ready(uint32_t bits);

#endif
