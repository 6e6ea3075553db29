/* SPDX-License-Identifier: Apache-2.0 */
/* What TCP counts: X(name, help), once for the struct, the metrics and the dumps. */
#ifndef GW_TCP_COUNTERS_H
#define GW_TCP_COUNTERS_H

#include "../base/counters.h"

/* Segments (or parts of them) that were not used, by reason. */
#define GW_TCP_DROPS(X)                                                                            \
    X(drop_header_short, "segments shorter than a TCP header")                                     \
    X(drop_header_offset, "segments whose data offset lies outside of them")                       \
    X(drop_options, "segments with an option that overruns the header")                            \
    X(drop_flags, "segments with flags that never occur together")                                 \
    X(drop_no_connection, "segments for no connection and no listening port")                      \
    X(drop_paws, "segments older than the last timestamp (RFC 7323, PAWS)")                        \
    X(drop_no_timestamp, "segments without the timestamp that was negotiated")                     \
    X(drop_sequence, "segments outside of the receive window")                                     \
    X(drop_ack, "segments that acknowledge what was never or long ago sent")                       \
    X(drop_no_ack, "segments without ACK on a synchronized connection")                            \
    X(drop_rst_sequence, "RST whose sequence number is not exactly the next (RFC 5961)")           \
    X(drop_syn, "SYN on a synchronized connection (RFC 5961)")                                     \
    X(drop_conn_full, "SYN while conn_limit connections existed")                                  \
    X(drop_text_after_fin, "text after the peer's FIN")                                            \
    X(drop_text_window, "text beyond the receive window")                                          \
    X(drop_text_duplicate, "text that was already received")                                       \
    X(drop_text_pieces, "out-of-order text beyond a connection's share of pieces")                  \
    X(drop_text_memory, "text for which there was no block or piece")                              \
    X(drop_icmp_no_connection, "ICMP errors about no connection of ours")                          \
    X(drop_icmp_sequence, "ICMP errors that quote a segment not under way (RFC 5927)")             \
    X(drop_reply_full, "answers given up because too many were waiting")

#define GW_TCP_COUNTERS(X)                                                                         \
    X(segments_in, "segments received")                                                            \
    X(segments_out, "segments sent")                                                               \
    X(text_bytes_in, "bytes received in order")                                                    \
    X(text_bytes_out, "bytes sent, repetitions included")                                          \
    X(opened_passive, "connections accepted")                                                      \
    X(opened_active, "connections asked for by connect")                                           \
    X(connect_no_port, "connects that found no free local port")                                   \
    X(established, "connections that reached ESTABLISHED")                                         \
    X(refused_by_user, "accepted connections that the user refused")                               \
    X(closed_done, "connections that ended in order")                                              \
    X(closed_reset, "connections ended by the peer's RST")                                         \
    X(closed_timeout, "connections ended by a retransmission limit or keepalive")                  \
    X(closed_aborted, "connections aborted by the user")                                           \
    X(closed_refused, "connects answered by RST")                                                  \
    X(closed_unreachable, "connects answered by a hard ICMP error")                                \
    X(cookies_sent, "SYN answered by a cookie: half_open_limit connections were opening")          \
    X(cookies_redeemed, "connections completed from a cookie")                                     \
    X(cookies_bad, "acknowledgements that were no cookie of ours")                                 \
    X(half_open_expired, "SYN-RECEIVED connections that were never completed")                     \
    X(time_wait_entered, "connections that entered TIME-WAIT")                                     \
    X(time_wait_forgotten, "TIME-WAIT entries given up early because the slab was full")           \
    X(time_wait_reused, "TIME-WAIT entries replaced by a new connection")                          \
    X(retransmits, "segments sent again")                                                          \
    X(rto_fired, "retransmission timeouts")                                                        \
    X(ranges_not_split, "ranges under way treated as a whole for want of nodes")                    \
    X(recoveries, "fast recoveries entered")                                                       \
    X(tail_probes_sent, "tail loss probes (RFC 8985)")                                             \
    X(duplicates_reported, "acknowledgements that report a duplicate (RFC 2883)")                  \
    X(probes_sent, "zero-window probes")                                                           \
    X(keepalives_sent, "keepalive probes")                                                         \
    X(keepalives_expired, "connections ended because no keepalive probe was answered")             \
    X(fin_wait_2_expired, "connections ended because the peer never closed its side")              \
    X(duplicate_acks_in, "duplicate acknowledgements")                                             \
    X(out_of_order_in, "segments kept because an earlier one was missing")                         \
    X(acks_delayed, "acknowledgements put off")                                                    \
    X(challenge_acks, "challenge acknowledgements (RFC 5961)")                                     \
    X(challenge_acks_held, "challenge acknowledgements held back by their rate limit")             \
    X(rst_in, "RST segments that ended a connection")                                              \
    X(rst_out, "RST segments sent")                                                                \
    X(icmp_too_big, "ICMP errors about segments too big for their path")                           \
    X(icmp_ignored, "ICMP errors about segments under way that end nothing (RFC 5927)")            \
    X(emit_refused, "segments the port had no room for")                                           \
    GW_TCP_DROPS(X)

struct gw_tcp_counters {
    GW_TCP_COUNTERS(GW_COUNTER_FIELD)
};

/* One description a field, in the struct's order. */
extern const struct gw_counter_desc gw_tcp_counter_descs[];
extern const unsigned gw_tcp_counter_count;

#endif
