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
    X(drop_eth_not_for_us, "frames to another Ethernet address, or multicast that is not ARP")   \
    X(drop_eth_type, "frames of a protocol that we do not speak")                                \
    X(drop_arp_short, "ARP packets that are cut short")                                          \
    X(drop_arp_format, "ARP packets that are not Ethernet and IPv4, request or reply")           \
    X(drop_arp_sender, "ARP packets from an impossible sender address")                          \
    X(drop_arp_not_for_us, "ARP requests for somebody else")                                     \
    X(drop_arp_unsolicited, "ARP replies that nobody asked for")                                 \
    X(drop_arp_conflict, "ARP packets of another station that claims our address")               \
    X(arp_requests_in, "ARP requests for our address")                                           \
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
    X(drop_tcp_short, "packets too short for a TCP header")                                      \
    X(drop_tcp_checksum, "TCP segments with a wrong checksum")                                   \
    X(drop_icmp_short, "ICMP packets too short for their header")                                \
    X(drop_icmp_checksum, "ICMP packets with a wrong checksum")                                  \
    X(drop_icmp_type, "ICMP messages that we do not answer")                                     \
    X(drop_icmp_rate, "echo requests beyond the rate that we answer")                            \
    X(drop_icmp_size, "echo requests whose answer would not fit into the MTU")                   \
    X(icmp_echo_replies, "echo requests answered")                                               \
    X(drop_tx_no_route, "segments to an off-link address, and there is no gateway")              \
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
