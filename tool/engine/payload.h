/*
 * payload.h - what people write, as the bytes of a message.
 *
 * A newcomer's mistake: to encode escaped text as a whole.  \xHH is that byte in every charset;
 * only the text around it is encoded.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_PAYLOAD_H
#define ENG_PAYLOAD_H

#include "mistake.h"

#include <stdint.h>

struct eng_bytes;
struct eng_sum;

enum eng_notation { ENG_AS_TEXT, ENG_AS_ESCAPE, ENG_AS_HEX, ENG_AS_BASE64 };

/* Append the bytes of `text`.  Text and escaped text are encoded in `charset` (checked; NULL:
 * UTF-8).  False: `mistake` says what is wrong where; out->failed: no memory. */
bool eng_parse_payload(enum eng_notation notation, const char *text, const char *charset,
                       struct eng_bytes *out, struct eng_mistake *mistake);

/* A message is complete: its checksum (NULL: none), then what ends a line. */
void eng_seal(struct eng_bytes *message, const struct eng_sum *append, const char *eol);
/* Its length without that end of a line (NULL: none), if it has it. */
size_t eng_without_eol(const uint8_t *message, size_t len, const char *eol);

#endif
