/* SPDX-License-Identifier: Apache-2.0 */
/* How addresses, ranges, routes and listening addresses are written in the configuration. */
#ifndef GW_CONTROL_CONFIG_NET_H
#define GW_CONTROL_CONFIG_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "../dataplane/base/ip.h"

#define CONFIG_NET_TEXT_BYTES 128

/* One form of text: the elements of a list setting. */
struct setting_form {
    bool (*parse)(const char *text, void *element);
    /* As it would be written; cap is at least CONFIG_NET_TEXT_BYTES. */
    void (*format)(const void *element, char *out, size_t cap);
    const char *accepted; /* "addresses, each..." */
};

extern const struct setting_form config_form_network; /* struct gw_ip_prefix, host bits kept */
extern const struct setting_form config_form_range;   /* struct gw_ip_prefix, no host bits */
extern const struct setting_form config_form_route;   /* struct gw_ip_route */
extern const struct setting_form config_form_listen;  /* struct gw_ip_port */

#endif
