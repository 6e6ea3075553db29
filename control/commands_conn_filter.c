/* SPDX-License-Identifier: Apache-2.0 */
#include "commands_conn_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && *out <= max;
}

/* Takes ":PORT" off an IPv4 address, "]:PORT" and the brackets off an IPv6 one. */
static bool take_port(char **address, uint16_t *port)
{
    char *colon = strrchr(*address, ':'), *close = strchr(*address, ']');
    unsigned long n = 0;
    if ((*address)[0] == '[') {
        if (close == NULL || (close[1] != '\0' && close + 1 != colon))
            return false;
        *close = '\0';
        ++*address;
        if (colon < close)
            return true;
    } else if (colon == NULL || strchr(*address, ':') != colon) {
        return true; /* none, or an IPv6 address */
    }
    *colon = '\0';
    if (!parse_number(colon + 1, UINT16_MAX, &n) || n == 0)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool take_prefix(char *address, unsigned long *bits)
{
    char *slash = strchr(address, '/');
    *bits = UINT8_MAX;
    if (slash == NULL)
        return true;
    *slash = '\0';
    return parse_number(slash + 1, 128, bits);
}

bool conn_filter_parse_remote(const char *text, struct gw_tcp_filter *f)
{
    char copy[GW_IP_TEXT_BYTES + 16], *address = copy;
    unsigned long bits;
    if (strlen(text) >= sizeof(copy))
        return false;
    strcpy(copy, text);
    if (!take_prefix(address, &bits))
        return false;
    if (bits == UINT8_MAX && !take_port(&address, &f->remote_port))
        return false;
    if (!gw_ip_parse(address, &f->remote.ip))
        return false;
    bool v4 = gw_ip_is_v4(&f->remote.ip) && strchr(address, '.') != NULL;
    unsigned long most = v4 ? 32 : 128;
    if (bits == UINT8_MAX)
        bits = most;
    f->remote.bits = (uint8_t)(bits + (v4 ? GW_IP_V4_BITS : 0));
    return bits <= most;
}

bool conn_parse_id(const char *text, unsigned *lcore, uint32_t *position)
{
    char copy[32], *colon;
    unsigned long a, b;
    if (strlen(text) >= sizeof(copy))
        return false;
    strcpy(copy, text);
    colon = strchr(copy, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    if (!parse_number(copy, UINT16_MAX, &a) || !parse_number(colon + 1, UINT32_MAX, &b) || b == 0)
        return false;
    *lcore = (unsigned)a;
    *position = (uint32_t)b;
    return true;
}
