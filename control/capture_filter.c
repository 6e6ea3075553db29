/* SPDX-License-Identifier: Apache-2.0 */
#include "capture_filter.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../dataplane/capture.h"

/* What pcap-filter(7) has for Ethernet and needs no name: each is a word of libpcap's own scanner. */
static const char *const words[] = {
    "and",      "arp",       "broadcast", "dst",         "ether",    "greater",  "host",
    "icmp",     "icmp-echo", "icmp-echoreply", "icmp-unreach", "icmp6", "icmpcode", "icmptype", "igmp",
    "ip",       "ip6",       "len",       "less",        "mask",     "multicast", "net",
    "not",      "or",        "port",      "portrange",   "proto",    "rarp",     "sctp",
    "src",      "tcp",       "tcp-ack",   "tcp-fin",     "tcp-push", "tcp-rst",  "tcp-syn",
    "tcp-urg",  "tcpflags",  "udp",       "vlan"};

static bool is_word(const char *token)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(token, words[i]) == 0)
            return true;
    return false;
}

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* 5222, 0x5a, 10.77 or 10.77.0.0, and in brackets 12:2. What only begins so (1-2, 1.2.3.4.5) is a name
 * to libpcap. */
static bool is_number(const char *token)
{
    size_t len = digits(token);
    if (token[0] == '0' && (token[1] == 'x' || token[1] == 'X'))
        return token[2] != '\0' && token[2 + strspn(token + 2, "0123456789abcdefABCDEF")] == '\0';
    if (len == 0)
        return strcmp(token, ":") == 0;
    token += len;
    if (token[0] == ':')
        return token[1 + digits(token + 1)] == '\0';
    for (unsigned dots = 0; dots < 3 && token[0] == '.' && (len = digits(token + 1)) > 0; dots++)
        token += 1 + len;
    return token[0] == '\0';
}

static bool is_range(const char *token)
{
    size_t low = digits(token), high = low > 0 && token[low] == '-' ? digits(token + low + 1) : 0;
    return high > 0 && token[low + 1 + high] == '\0';
}

static bool is_mac(const char *token)
{
    unsigned pairs = 0;
    for (; isxdigit((unsigned char)token[0]); token++) {
        token += isxdigit((unsigned char)token[1]) ? 1 : 0;
        pairs++;
        if (token[1] != ':')
            return token[1] == '\0' && pairs == 6;
        token++;
    }
    return false;
}

static bool is_v6(const char *token)
{
    struct in6_addr a;
    return strchr(token, '.') == NULL && inet_pton(AF_INET6, token, &a) == 1;
}

/* Length of what libpcap could take for a name or an address; 0: an operator stands there. */
static size_t token_len(const char *s)
{
    size_t len = 0;
    if (s[0] == '-')
        return 0;
    while (isalnum((unsigned char)s[len]) || (s[len] != '\0' && strchr("_.:-", s[len]) != NULL))
        len++;
    return len;
}

static int refuse(char err[256], const char *what, const char *token, size_t len)
{
    snprintf(err, 256, "filter: %.*s%s", len < 64 ? (int)len : 64, token, what);
    return -EINVAL;
}

static int check_tokens(const char *e, char err[256])
{
    char token[64] = "";
    while (*e != '\0') {
        size_t len = token_len(e);
        if (len == 0) {
            if (strchr(" \t\n()[]&|!=<>+-*/%^", *e) == NULL)
                return refuse(err, " is no character of the language", e, isprint((unsigned char)*e) != 0);
            e++;
            continue;
        }
        bool range = strcmp(token, "portrange") == 0;
        snprintf(token, sizeof(token), "%.*s", (int)len, e);
        if (len >= sizeof(token) ||
            !(is_word(token) || is_number(token) || is_mac(token) || is_v6(token) ||
              (range && is_range(token))))
            return refuse(err, " is no word of the language, number or address; names are not looked "
                          "up", e, len);
        e += len;
    }
    return 0;
}

int capture_filter_compile(const char *expression, struct bpf_program *out, char err[256])
{
    *out = (struct bpf_program){0};
    int rc = check_tokens(expression, err);
    if (rc != 0 || expression[strspn(expression, " \t\n")] == '\0')
        return rc;
    pcap_t *p = pcap_open_dead(DLT_EN10MB, (int)GW_CAPTURE_FRAME_BYTES_MAX);
    if (p == NULL) {
        snprintf(err, 256, "filter: out of memory");
        return -EINVAL;
    }
    if (pcap_compile(p, out, expression, 1, PCAP_NETMASK_UNKNOWN) != 0) {
        snprintf(err, 256, "filter: %.200s", pcap_geterr(p));
        rc = -EINVAL;
    } else if (out->bf_len > GW_CAPTURE_PROGRAM_MAX) {
        snprintf(err, 256, "filter: it becomes %u instructions, at most %u are run for each frame",
                 out->bf_len, GW_CAPTURE_PROGRAM_MAX);
        pcap_freecode(out);
        rc = -EINVAL;
    }
    pcap_close(p);
    return rc;
}
