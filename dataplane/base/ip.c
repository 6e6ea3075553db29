/* SPDX-License-Identifier: Apache-2.0 */
#include "ip.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "check.h"

_Static_assert(GW_IP_TEXT_BYTES == INET6_ADDRSTRLEN, "the longest text of an address");

bool gw_ip_parse(const char *text, struct gw_ip *out)
{
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) != 1)
        return inet_pton(AF_INET6, text, out->b) == 1;
    *out = gw_ip_from_v4(v4);
    return true;
}

bool gw_ip_parse_prefix(const char *text, struct gw_ip_prefix *out)
{
    char address[GW_IP_TEXT_BYTES];
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof(address))
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    const char *number = slash + 1;
    size_t digits = strspn(number, "0123456789");
    if (digits == 0 || digits > 5 || number[digits] != '\0' || !gw_ip_parse(address, &out->ip))
        return false;
    unsigned long bits = strtoul(number, NULL, 10);
    bool v4 = gw_ip_is_v4(&out->ip);
    if (bits > (v4 ? 32 : 128))
        return false;
    out->bits = (uint8_t)(bits + (v4 ? GW_IP_V4_BITS : 0));
    return true;
}

void gw_ip_format(const struct gw_ip *ip, char out[GW_IP_TEXT_BYTES])
{
    bool v4 = gw_ip_is_v4(ip);
    const void *bytes = ip->b + (v4 ? GW_IP_V4_BITS / 8 : 0);
    check(inet_ntop(v4 ? AF_INET : AF_INET6, bytes, out, GW_IP_TEXT_BYTES) != NULL);
}
