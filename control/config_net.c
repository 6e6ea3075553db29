/* SPDX-License-Identifier: Apache-2.0 */
#include "config_net.h"

#include <stdio.h>
#include <stdlib.h>

static const struct gw_ip every;

/* ---- pieces ---- */

/* Mapped addresses are written as IPv4. */
static bool is_written_well(const char *text, const struct gw_ip *ip)
{
    return gw_ip_is_v4(ip) == (strchr(text, ':') == NULL);
}

/* A literal address in either family. */
static bool parse_ip(const char *text, struct gw_ip *out)
{
    return gw_ip_parse(text, out) && is_written_well(text, out);
}

/* Decimal digits alone. */
static bool parse_number(const char *text, unsigned max, unsigned *out)
{
    size_t len = strlen(text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    *out = (unsigned)strtoul(text, NULL, 10);
    return *out <= max;
}

/* The text in front of a separator into out; what is behind it is returned, or NULL. */
static const char *cut(const char *text, const char *separator, char out[CONFIG_NET_TEXT_BYTES])
{
    const char *at = strstr(text, separator);
    if (at == NULL || (size_t)(at - text) >= CONFIG_NET_TEXT_BYTES)
        return NULL;
    memcpy(out, text, (size_t)(at - text));
    out[at - text] = '\0';
    return at + strlen(separator);
}

static bool parse_prefix(const char *text, struct gw_ip_prefix *out)
{
    return gw_ip_parse_prefix(text, out) && is_written_well(text, &out->ip);
}

static bool has_host_bits(const struct gw_ip_prefix *p)
{
    for (unsigned bit = p->bits; bit < 128; bit++)
        if (p->ip.b[bit / 8] & 0x80 >> bit % 8)
            return true;
    return false;
}

static void format_prefix(const void *element, char *out, size_t cap)
{
    const struct gw_ip_prefix *p = element;
    char ip[GW_IP_TEXT_BYTES];
    gw_ip_format(&p->ip, ip);
    snprintf(out, cap, "%s/%u", ip, p->bits - (gw_ip_is_v4(&p->ip) ? GW_IP_V4_BITS : 0));
}

/* ---- forms ---- */

static bool parse_network(const char *text, void *element)
{
    return parse_prefix(text, element);
}

const struct setting_form config_form_network = {
    parse_network, format_prefix,
    "addresses, each with its network's prefix length, as \"10.77.0.1/24\" or \"fd00::1/64\""};

static bool parse_range(const char *text, void *element)
{
    struct gw_ip_prefix *p = element;
    if (strchr(text, '/') == NULL) {
        p->bits = 128;
        return parse_ip(text, &p->ip);
    }
    return parse_prefix(text, p) && !has_host_bits(p);
}

const struct setting_form config_form_range = {
    parse_range, format_prefix,
    "prefixes with nothing behind their length, or addresses, as \"10.77.1.0/24\", "
    "\"fd00:0:0:1::/64\" or \"10.77.0.9\""};

/* "PREFIX via ROUTER"; the prefix "default" is all of the router's family. */
static bool parse_route(const char *text, void *element)
{
    struct gw_ip_route *r = element;
    char to[CONFIG_NET_TEXT_BYTES];
    const char *via = cut(text, " via ", to);
    if (via == NULL || !parse_ip(via, &r->via))
        return false;
    bool v4 = gw_ip_is_v4(&r->via);
    if (strcmp(to, "default") == 0) {
        r->to = (struct gw_ip_prefix){every, 0};
        if (v4)
            r->to = (struct gw_ip_prefix){gw_ip_from_v4((const uint8_t[4]){0}), GW_IP_V4_BITS};
        return true;
    }
    return parse_prefix(to, &r->to) && gw_ip_is_v4(&r->to.ip) == v4 && !has_host_bits(&r->to);
}

static void format_route(const void *element, char *out, size_t cap)
{
    const struct gw_ip_route *r = element;
    char to[GW_IP_TEXT_BYTES + 4] = "default", via[GW_IP_TEXT_BYTES];
    if (r->to.bits > (gw_ip_is_v4(&r->via) ? GW_IP_V4_BITS : 0))
        format_prefix(&r->to, to, sizeof(to));
    gw_ip_format(&r->via, via);
    snprintf(out, cap, "%s via %s", to, via);
}

const struct setting_form config_form_route = {
    parse_route, format_route,
    "routes, as \"default via 10.77.0.254\" or \"fd00:9::/32 via fe80::1\""};

/* "*:PORT", "ADDRESS:PORT", "[ADDRESS]:PORT" */
static bool parse_listen(const char *text, void *element)
{
    struct gw_ip_port *p = element;
    char address[CONFIG_NET_TEXT_BYTES];
    unsigned number;
    bool bracket = text[0] == '[';
    const char *port = bracket ? cut(text + 1, "]:", address) : cut(text, ":", address);
    if (port == NULL || !parse_number(port, 65535, &number) || number == 0)
        return false;
    p->port = (uint16_t)number;
    p->ip = every;
    if (!bracket && strcmp(address, "*") == 0)
        return true;
    return parse_ip(address, &p->ip) && gw_ip_is_v4(&p->ip) == !bracket;
}

static void format_listen(const void *element, char *out, size_t cap)
{
    const struct gw_ip_port *p = element;
    char ip[GW_IP_TEXT_BYTES] = "*";
    bool any = gw_ip_eq(&p->ip, &every);
    if (!any)
        gw_ip_format(&p->ip, ip);
    snprintf(out, cap, any || gw_ip_is_v4(&p->ip) ? "%s:%u" : "[%s]:%u", ip, p->port);
}

const struct setting_form config_form_listen = {
    parse_listen, format_listen,
    "addresses with TCP ports, as \"*:5222\", \"10.77.0.1:5222\" or \"[fd00::1]:5222\""};
