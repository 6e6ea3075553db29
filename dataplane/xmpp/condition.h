/* SPDX-License-Identifier: Apache-2.0 */
/* Error conditions of stanzas (RFC 6120 section 8.3.3) and streams (section 4.9.3). */
#ifndef GW_XMPP_CONDITION_H
#define GW_XMPP_CONDITION_H

/* X(upper, condition, error type) */
#define GW_CONDITIONS(X)                                                                           \
    X(BAD_REQUEST, "bad-request", "modify")                                                        \
    X(BLOCKED, "not-acceptable", "cancel") /* with XEP-0191's own condition */                     \
    X(FEATURE_NOT_IMPLEMENTED, "feature-not-implemented", "cancel")                                \
    X(FORBIDDEN, "forbidden", "auth")                                                              \
    X(INTERNAL_SERVER_ERROR, "internal-server-error", "cancel")                                    \
    X(NOT_ACCEPTABLE, "not-acceptable", "modify")                                                  \
    X(ITEM_NOT_FOUND, "item-not-found", "cancel")                                                  \
    X(JID_MALFORMED, "jid-malformed", "modify")                                                    \
    X(NOT_ALLOWED, "not-allowed", "cancel")                                                        \
    X(POLICY_VIOLATION, "policy-violation", "modify")                                              \
    X(REMOTE_SERVER_NOT_FOUND, "remote-server-not-found", "cancel")                                \
    X(RESOURCE_CONSTRAINT, "resource-constraint", "wait")                                          \
    X(SERVICE_UNAVAILABLE, "service-unavailable", "cancel")

enum gw_condition {
    GW_CONDITION_NONE,
#define X(upper, name, type) GW_CONDITION_##upper,
    GW_CONDITIONS(X)
#undef X
};

const char *gw_condition_name(enum gw_condition c);
const char *gw_condition_type(enum gw_condition c);

/* X(upper, condition) */
#define GW_STREAM_ERRORS(X)                                                                        \
    X(BAD_FORMAT, "bad-format")                                                                    \
    X(BAD_NAMESPACE_PREFIX, "bad-namespace-prefix")                                                \
    X(CONFLICT, "conflict")                                                                        \
    X(CONNECTION_TIMEOUT, "connection-timeout")                                                    \
    X(HOST_UNKNOWN, "host-unknown")                                                                \
    X(INTERNAL_SERVER_ERROR, "internal-server-error")                                              \
    X(INVALID_FROM, "invalid-from")                                                                \
    X(INVALID_NAMESPACE, "invalid-namespace")                                                      \
    X(INVALID_XML, "invalid-xml")                                                                  \
    X(NOT_AUTHORIZED, "not-authorized")                                                            \
    X(NOT_WELL_FORMED, "not-well-formed")                                                          \
    X(POLICY_VIOLATION, "policy-violation")                                                        \
    X(RESOURCE_CONSTRAINT, "resource-constraint")                                                  \
    X(RESTRICTED_XML, "restricted-xml")                                                            \
    X(SYSTEM_SHUTDOWN, "system-shutdown")                                                          \
    X(UNDEFINED_CONDITION, "undefined-condition")                                                  \
    X(UNSUPPORTED_ENCODING, "unsupported-encoding")                                                \
    X(UNSUPPORTED_STANZA_TYPE, "unsupported-stanza-type")                                          \
    X(UNSUPPORTED_VERSION, "unsupported-version")

enum gw_stream_error {
    GW_STREAM_ERROR_NONE,
#define X(upper, name) GW_STREAM_##upper,
    GW_STREAM_ERRORS(X)
#undef X
};

const char *gw_stream_error_name(enum gw_stream_error e);

#endif
