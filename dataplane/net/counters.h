/* SPDX-License-Identifier: Apache-2.0 */
/* What one gw_net counts. Every frame that goes no further is counted by one drop_ line. */
#ifndef GW_NET_COUNTERS_H
#define GW_NET_COUNTERS_H

#include "../base/counters.h"

#define GW_NET_COUNTERS(X)                                                                       \
    X(rx_frames, "frames received")                                                              \
    X(rx_bytes, "bytes received, from the Ethernet header on")                                   \
    X(tx_frames, "frames queued at the port")                                                    \
    X(tx_bytes, "bytes queued at the port")                                                      \
    X(rx_tcp, "TCP segments handed up")                                                          \
    X(drop_eth_short, "frames shorter than an Ethernet header")                                  \
    X(drop_eth_source, "frames from a multicast or zero Ethernet address")                       \
    X(drop_eth_not_for_us, "frames to another Ethernet address, or multicast IPv4")              \
    X(drop_eth_type, "frames of a protocol that we do not speak")                                \
    X(drop_arp_short, "ARP packets that are cut short")                                          \
    X(drop_arp_format, "ARP packets that are not Ethernet and IPv4, request or reply")           \
    X(drop_arp_sender, "ARP packets from an impossible sender address")                          \
    X(drop_arp_not_for_us, "ARP requests for somebody else")                                     \
    X(drop_arp_unsolicited, "ARP replies that nobody asked for")                                 \
    X(drop_arp_conflict, "ARP packets of another station that claims our address")               \
    X(arp_requests_in, "ARP requests for our addresses")                                         \
    X(arp_replies_in, "ARP replies that we had asked for")                                       \
    X(arp_requests_out, "ARP requests sent")                                                     \
    X(arp_replies_out, "ARP replies sent")                                                       \
    X(drop_ip4_short, "IPv4 packets cut short")                                                  \
    X(drop_ip4_version, "IPv4 frames whose version is not 4")                                    \
    X(drop_ip4_header_length, "IPv4 packets with an impossible header length")                   \
    X(drop_ip4_total_length, "IPv4 packets whose length is less than their header or more than " \
                             "their frame")                                                      \
    X(drop_ip4_checksum, "IPv4 packets with a wrong header checksum")                            \
    X(drop_ip4_source, "IPv4 packets from a source that none may have")                          \
    X(drop_ip4_not_for_us, "IPv4 packets to another address, broadcast and multicast included")  \
    X(drop_ip4_fragment, "IPv4 fragments")                                                       \
    X(drop_ip4_protocol, "IPv4 packets of a protocol that we do not speak")                      \
    X(drop_ip6_short, "IPv6 packets cut short")                                                  \
    X(drop_ip6_version, "IPv6 frames whose version is not 6")                                    \
    X(drop_ip6_payload_length, "IPv6 packets whose payload is longer than their frame")          \
    X(drop_ip6_source, "IPv6 packets from a source that none may have")                          \
    X(drop_ip6_not_for_us, "IPv6 packets to another address or group")                           \
    X(drop_ip6_fragment, "IPv6 fragments")                                                       \
    X(drop_ip6_extension, "IPv6 packets with extension headers that are cut short, too many or " \
                          "too long")                                                            \
    X(drop_ip6_option, "IPv6 packets with an option that must be known, or segments left in a "  \
                       "routing header")                                                         \
    X(drop_ip6_protocol, "IPv6 packets of a protocol that we do not speak")                      \
    X(drop_nd_format, "neighbour discovery packets that are malformed or came through a router") \
    X(drop_nd_own, "neighbour discovery packets of our own that came back")                      \
    X(drop_nd_source, "neighbour discovery packets of or about an address that is not on the "   \
                      "link")                                                                    \
    X(drop_nd_not_for_us, "neighbour solicitations for somebody else")                           \
    X(drop_nd_unsolicited, "neighbour advertisements that nobody asked for")                     \
    X(drop_nd_conflict, "neighbour discovery packets of another station that claims our "        \
                        "address")                                                               \
    X(nd_solicitations_in, "neighbour solicitations for our addresses")                          \
    X(nd_advertisements_in, "neighbour advertisements that we had asked for")                    \
    X(nd_solicitations_out, "neighbour solicitations sent")                                      \
    X(nd_advertisements_out, "neighbour advertisements sent")                                    \
    X(drop_mld_format, "multicast listener queries that are malformed or not from the link")     \
    X(mld_queries_in, "multicast listener queries")                                              \
    X(mld_reports_out, "multicast listener reports sent")                                        \
    X(drop_tcp_short, "packets too short for a TCP header")                                      \
    X(drop_tcp_checksum, "TCP segments with a wrong checksum")                                   \
    X(drop_icmp_short, "ICMP packets too short for their header")                                \
    X(drop_icmp_checksum, "ICMP packets with a wrong checksum")                                  \
    X(drop_icmp_type, "ICMP messages that we do not answer")                                     \
    X(drop_icmp_rate, "echo requests beyond the rate that we answer")                            \
    X(drop_icmp_size, "echo requests whose answer would not fit into the MTU")                   \
    X(drop_icmp_quoted, "ICMP errors that quote nothing that we may have sent")                  \
    X(drop_icmp_error_rate, "ICMP errors beyond the rate that we look at")                       \
    X(icmp_errors_in, "ICMP errors passed to TCP")                                               \
    X(icmp_echo_replies, "echo requests answered")                                               \
    X(drop_tx_no_route, "segments to an address that no link or route leads to")                 \
    X(drop_tx_unresolved, "frames whose neighbour did not answer, or that a later one replaced") \
    X(drop_tx_parking_full, "segments to an unresolved neighbour while all places were taken")   \
    X(drop_tx_no_room, "answers of ours that the port had no room for")                          \
    X(tx_parked, "segments kept until their neighbour has answered")                             \
    X(tx_port_full, "segments given back to TCP because the port had no room")                   \
    X(neighbours_learned, "neighbours entered into the table")                                   \
    X(neighbours_moved, "neighbours whose Ethernet address has changed")                         \
    X(neighbours_failed, "neighbours that did not answer")                                       \
    X(neighbours_evicted, "neighbours forgotten to make room")                                   \
    X(neighbours_not_learned, "neighbours not learned because the table was full")

struct gw_net_counters {
    GW_NET_COUNTERS(GW_COUNTER_FIELD)
};

#endif
