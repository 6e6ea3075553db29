/* SPDX-License-Identifier: Apache-2.0 */
/* Characters, references and escapes of XML 1.0: pure functions on bytes. */
#ifndef GW_XMPP_XML_CHARS_H
#define GW_XMPP_XML_CHARS_H

#include "xml.h"

/* Decode one character, strictly (RFC 3629: no overlong form, no surrogate, at most U+10FFFF).
 * Its length, 0 when more bytes are needed, -1 when it can never be right. */
int gw_utf8_take(const uint8_t *p, size_t len, uint32_t *code);
/* Writes 1 to 4 bytes. */
int gw_utf8_put(uint32_t code, char out[4]);

/* XML 1.0 (fifth edition) productions 2, 4 and 4a; the colon is left to the caller. */
bool gw_xml_is_char(uint32_t code);
bool gw_xml_is_name_start(uint32_t code);
bool gw_xml_is_name(uint32_t code);

#define GW_XML_REFERENCE_UNKNOWN (-2)
/* At '&': length of the reference and what it stands for; 0 when more bytes are needed; -1 malformed;
 * GW_XML_REFERENCE_UNKNOWN an entity that is not predefined. */
int gw_xml_reference(const uint8_t *p, size_t len, uint32_t *code);

/* "<?xml version='1.0' encoding='UTF-8'" without the closing '>'. */
bool gw_xml_declaration_ok(struct gw_bytes d, enum gw_xml_error *error);

#endif
