/*
 * charset.h - text in another charset than UTF-8, one direction of one conversation at a time.
 *
 * A coder keeps what a message cut in two, so that a character whose bytes came in two messages is
 * one in the end.  What cannot be decoded is kept too: decoded text has a byte b that is no
 * character as U+DC00 + b, which UTF-8 itself never has.  A newcomer's mistake: to give decoded
 * text away as it is.  eng_decoded_add() makes \xHH of such bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ENG_CHARSET_H
#define ENG_CHARSET_H

#include "mistake.h"

#include <stdint.h>

struct eng_bytes;
struct eng_coder;

/* Does iconv know it?  If not, `mistake` has what may have been meant. */
extern const char *const eng_charsets[]; /* the usual ones, NULL at the end */
bool eng_charset_check(const char *name, struct eng_mistake *mistake);

/* The name was checked; NULL: no memory. */
struct eng_coder *eng_decoder_open(const char *charset);
struct eng_coder *eng_encoder_open(const char *charset);
void eng_coder_close(struct eng_coder *coder);         /* NULL is allowed */
bool eng_coder_is_amid(const struct eng_coder *coder); /* in the middle of a character */

/* Append what these bytes are; the beginning of a character is kept for the next call. */
void eng_decode(struct eng_coder *coder, const void *bytes, size_t len, struct eng_bytes *out);
void eng_decode_end(struct eng_coder *coder, struct eng_bytes *out); /* what is kept, as it is */

/* The same for UTF-8 into the charset.  False: a character has no code there; *bad_at is its
 * place in `text`, and nothing of this call was appended. */
bool eng_encode(struct eng_coder *coder, const void *text, size_t len, struct eng_bytes *out,
                size_t *bad_at);
bool eng_encode_end(struct eng_coder *coder, struct eng_bytes *out); /* false: amid a character */
/* A whole text, apart from all others.  `charset` NULL: UTF-8, as it is. */
bool eng_encode_text(const char *charset, const void *text, size_t len, struct eng_bytes *out,
                     size_t *bad_at);

/* Decoded text with \xHH for what is no character; `visible`: safe on a terminal. */
void eng_decoded_add(struct eng_bytes *out, const uint8_t *text, size_t len, bool visible);
bool eng_decoded_is_whole(const uint8_t *text, size_t len); /* nothing in it is undecoded */

#endif
