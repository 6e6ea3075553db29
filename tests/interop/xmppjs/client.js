// SPDX-License-Identifier: Apache-2.0
// A small XMPP client over @xmpp/client, driven line by line, for tests.
//
// usage: client.js HOST PORT JID [--receipts]
//
// The password is in the environment (GODWIT_PASSWORD). Standard input takes commands:
//   send TO ID BODY..   a chat message, with a receipt asked for
//   drop                the connection is lost; the library makes another and resumes the stream
//   quit                ends the stream in order
// Standard output gives one JSON object a line: online, resumed, acked, message, receipt, error, failed,
// lost, disconnected. --receipts answers receipt requests.
import { webcrypto } from "node:crypto";
import readline from "node:readline";
import { client, jid, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // Node.js 18 has none there, and the library wants one

const NS_RECEIPTS = "urn:xmpp:receipts";

const [host, port, address, ...options] = process.argv.slice(2);
const me = jid(address);
const receipts = options.includes("--receipts");
let quitting = false;

function tell(event, more) {
  process.stdout.write(JSON.stringify({ event, ...more }) + "\n");
}

const xmpp = client({
  service: `xmpp://${host}:${port}`,
  domain: me.domain,
  username: me.local,
  resource: me.resource,
  password: process.env.GODWIT_PASSWORD,
});
xmpp.reconnect.delay = 50;

function isOwnPresence(stanza) {
  return stanza.is("presence") && stanza.attrs.from === xmpp.jid.toString() && !stanza.attrs.type;
}

const NS_SM = "urn:xmpp:sm:3";
let online = false;

// The server shows us our own presence (RFC 6121, section 4.2.2): it knows now that we are here.
function tellOnline() {
  if (!online) tell("online", { jid: xmpp.jid.toString() });
  online = true;
}

// Not on `online`, which comes first: what arrives together with <enabled/> is not counted by the library.
xmpp.on("nonza", (element) => {
  if (element.is("enabled", NS_SM)) setImmediate(() => xmpp.send(xml("presence")));
});

function onMessage(stanza) {
  const { from, id, type } = stanza.attrs;
  if (type === "error") {
    const condition = stanza.getChild("error")?.children[0]?.name;
    tell("error", { id, condition });
    return;
  }
  const body = stanza.getChildText("body");
  const received = stanza.getChild("received", NS_RECEIPTS);
  if (received) tell("receipt", { from, about: received.attrs.id });
  if (body === null) return;
  tell("message", {
    from,
    id,
    body,
    delay: stanza.getChild("delay", "urn:xmpp:delay")?.attrs.stamp,
    stanza_id: stanza.getChild("stanza-id", "urn:xmpp:sid:0")?.attrs.id,
  });
  if (receipts && stanza.getChild("request", NS_RECEIPTS)) {
    xmpp.send(
      xml("message", { to: from, type: "chat" }, xml("received", { xmlns: NS_RECEIPTS, id })),
    );
  }
}

xmpp.on("stanza", (stanza) => {
  if (isOwnPresence(stanza)) tellOnline();
  if (stanza.is("message")) onMessage(stanza);
});
xmpp.streamManagement.on("resumed", () => tell("resumed"));
xmpp.streamManagement.on("ack", (stanza) => tell("acked", { id: stanza.attrs.id }));
xmpp.on("error", (error) => tell("failed", { condition: error.condition ?? String(error) }));
xmpp.on("disconnect", () => {
  if (!quitting) tell("lost");
});
xmpp.on("offline", () => {
  tell("disconnected");
  process.exit(0);
});

function send(to, id, body) {
  xmpp.send(
    xml(
      "message",
      { to, id, type: "chat" },
      xml("body", {}, body),
      xml("request", { xmlns: NS_RECEIPTS }),
    ),
  );
}

async function quit() {
  quitting = true;
  await xmpp.stop();
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, to, id, ...words] = line.split(" ");
    if (command === "send") send(to, id, words.join(" "));
    else if (command === "drop") xmpp.socket.destroy();
    else if (command === "quit") quit();
  })
  .on("close", quit);

xmpp.start().catch(() => process.exit(1));
