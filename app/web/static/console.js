/* The agents' console: /desk/live for everything live, /api/v1 for transcripts. */
(() => {
"use strict";
const $ = (id) => document.getElementById(id);
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else if (value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};
const kept = window.sessionStorage;
const address = new URL("desk/live", location.href);
address.protocol = address.protocol.replace("http", "ws");
address.search = address.hash = "";

let me = null, openId = null;
const offers = new Map(), mine = new Map(), transcripts = new Map(), unread = new Set();

/* The socket: hello with the cursor, so that nothing that happened meanwhile is missed. */
let socket = null, ready = false, attempts = 0, timer = 0, beat = 0, heard = 0, number = 0;
const answers = new Map();

const command = (frame) => new Promise((resolve, reject) => {
  if (!ready) return reject(new Error("There is no connection at the moment."));
  const id = `c${++number}`;
  answers.set(id, { resolve, reject });
  socket.send(JSON.stringify({ ...frame, id }));
});
const settle = (frame) => {
  const waiting = answers.get(frame.re);
  answers.delete(frame.re);
  if (frame.type === "error") waiting ? waiting.reject(new Error(frame.detail)) : say(frame.detail);
  else waiting?.resolve(frame);
};
const lost = (which, code, waitS) => {
  if (which !== socket) return;
  socket = null;
  ready = false;
  clearInterval(beat);
  for (const { reject } of answers.values()) reject(new Error("The connection was lost; please try again."));
  answers.clear();
  $("link").textContent = "offline, reconnecting";
  $("link").className = "";
  if (code === 4401) return signOut("This token is not valid.");
  timer = setTimeout(connect, 1000 * (waitS ?? Math.min(30, 0.5 * 2 ** attempts++) * (0.5 + Math.random() / 2)));
};
const connect = () => {
  clearTimeout(timer);
  const current = socket = new WebSocket(address);
  current.onopen = () => {
    heard = Date.now();
    current.send(JSON.stringify({ type: "hello", token: kept.getItem("desk.token"), cursor: kept.getItem("desk.cursor") }));
  };
  current.onmessage = (event) => {
    if (current !== socket) return;
    heard = Date.now();
    const frame = JSON.parse(event.data);
    if (Object.hasOwn(on, frame.type)) on[frame.type](frame);
    if (frame.cursor) kept.setItem("desk.cursor", frame.cursor);
  };
  current.onclose = (event) => lost(current, event.code);
};
const signOut = (reason = "") => {
  kept.removeItem("desk.token");
  kept.removeItem("desk.cursor");
  const old = socket;
  socket = null;
  ready = false;
  clearInterval(beat);
  clearTimeout(timer);
  old?.close();
  for (const map of [offers, mine, transcripts, unread]) map.clear();
  me = openId = null;
  $("desk").hidden = true;
  $("login").hidden = false;
  document.querySelector("#login .error").textContent = reason;
  $("token").focus();
};

let sayTimer = 0;
const say = (text) => {
  $("said").textContent = text;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { $("said").textContent = ""; }, 6000);
};

/* What comes */
const update = (conversation) => {
  const isMine = conversation.assignee_id === me.id && conversation.status !== "closed";
  if (isMine) mine.set(conversation.id, conversation);
  else if (mine.has(conversation.id)) {
    mine.delete(conversation.id);
    if (conversation.id === openId) open(null);
  }
  showMine();
  if (conversation.id === openId) showFacts();
};
const dropOffer = (frame) => { offers.delete(frame.offer_id); showOffers(); };
const told = (frame, text) => {
  if (frame.conversation) update(frame.conversation);
  const lines = transcripts.get(frame.conversation_id);
  if (!lines) return;
  lines.events.push({ after: frame.seq || 0, text });
  if (frame.conversation_id === openId) showTranscript();
};
const on = {
  ok: settle, error: settle, pong: settle,
  welcome(frame) {
    me = frame.agent;
    ready = true;
    attempts = 0;
    clearInterval(beat);
    beat = setInterval(() => {
      if (Date.now() - heard > frame.heartbeat_s * 2500) socket.close(); else command({ type: "ping" }).catch(() => {});
    }, frame.heartbeat_s * 1000);
    $("login").hidden = true;
    $("desk").hidden = false;
    $("me").textContent = `${me.name} (${me.role})`;
    $("load").textContent = `capacity ${me.capacity}`;
    $("availability").value = me.availability;
    $("link").textContent = "connected";
    $("link").className = "on";
    offers.clear();
    for (const offer of frame.offers) offers.set(offer.offer_id, offer);
    mine.clear();
    for (const conversation of frame.conversations) mine.set(conversation.id, conversation);
    showOffers();
    showMine();
    if (openId) mine.has(openId) ? catchUp(openId) : open(null);
  },
  "offer.created"(frame) { offers.set(frame.offer_id, frame); showOffers(); },
  "offer.accepted": dropOffer, "offer.expired": dropOffer, "offer.rescinded": dropOffer,
  "conversation.created"(frame) { update(frame.conversation); },
  "conversation.updated"(frame) { update(frame.conversation); },
  "conversation.assigned"(frame) { told(frame, `assigned to ${frame.assignee?.name ?? "nobody"}`); },
  "conversation.resolved"(frame) { told(frame, "resolved: the receipt is on its way"); },
  "conversation.closed"(frame) { told(frame, "confirmed by the customer, closed"); },
  "conversation.reopened"(frame) { told(frame, `opened again: ${frame.reason}`); },
  "agent.joined"(frame) { told(frame, `${frame.agent.name} joined`); },
  "agent.mentioned"(frame) { say(`${frame.by.name ?? "A colleague"} asks for your help: ${frame.message.text}`); },
  "feedback.received"(frame) {
    const ratings = Object.entries(frame.ratings || {}).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`);
    told(frame, ["feedback", frame.cycle?.state, ...ratings, frame.comment].filter(Boolean).join(" · "));
  },
  "sla.warned"(frame) { told(frame, "a deadline is near"); if (mine.has(frame.conversation_id)) say("A deadline is near."); },
  "sla.breached"(frame) { told(frame, "a deadline was missed"); if (mine.has(frame.conversation_id)) say("A deadline was missed."); },
  "message.created"(frame) {
    const lines = transcripts.get(frame.conversation_id);
    if (lines) {
      const gap = frame.message.seq > lines.top + 1;
      lines.add(frame.message);
      if (frame.conversation_id === openId) { if (gap) catchUp(openId); else { showTranscript(); markRead(); } }
    }
    if (frame.conversation_id !== openId && frame.message.direction === "inbound" && mine.has(frame.conversation_id)) {
      unread.add(frame.conversation_id);
      showMine();
    }
  },
  "message.status"(frame) {
    const lines = transcripts.get(frame.conversation_id);
    const message = lines && [...lines.messages.values()].find((item) => item.id === frame.message_id);
    if (!message) return;
    Object.assign(message, { status: frame.status, error: frame.error });
    if (frame.conversation_id === openId) showTranscript();
  },
  typing(frame) {
    if (frame.conversation_id !== openId || frame.author?.id === me.id) return;
    $("typing").textContent = frame.on ? `${frame.author?.name ?? "The customer"} is writing…` : "";
    clearTimeout(on.typing.timer);
    on.typing.timer = setTimeout(() => { $("typing").textContent = ""; }, 6000);
  },
  "presence.updated"(frame) { if (frame.agent.id === me.id) $("availability").value = frame.agent.availability; },
  resync_required() {
    kept.removeItem("desk.cursor");
    transcripts.clear();
  },
  draining(frame) { attempts = 0; lost(socket, 0, frame.reconnect_in_s * (1 + Math.random())); },
};

/* Transcripts, by seq: what is missing is fetched; what is not there then (a whisper to others) is not for us. */
class Transcript {
  messages = new Map();
  events = [];
  top = 0;
  add(message) {
    this.messages.set(message.seq, message);
    this.through(0);
  }
  through(seq) {
    this.top = Math.max(this.top, seq);
    while (this.messages.has(this.top + 1)) this.top++;
  }
}
const catchUp = async (id) => {
  if (!transcripts.has(id)) transcripts.set(id, new Transcript());
  const lines = transcripts.get(id);
  try {
    for (let more = true; more;) {
      const answer = await fetch(new URL(`api/v1/conversations/${id}/messages?after_seq=${lines.top}`, location.href), {
        headers: { Authorization: `Bearer ${kept.getItem("desk.token")}`, Accept: "application/json" },
      });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.detail);
      for (const message of body.items) lines.add(message);
      lines.through(body.items.at(-1)?.seq ?? 0);
      more = Boolean(body.next_cursor);
    }
  } catch (error) { say(`The transcript could not be read: ${error.message}`); }
  if (id === openId) { showTranscript(); markRead(); }
};
const markRead = () => {
  const lines = transcripts.get(openId);
  if (lines?.top && ready && !document.hidden) command({ type: "conversation.read", conversation_id: openId, seq: lines.top }).catch(() => {});
};

/* What is shown */
const about = (conversation) => conversation.subject || `${conversation.channel_type} · ${conversation.category} ${conversation.matter.replace("_", " ")}`;
const showOffers = () => {
  $("offers").replaceChildren(...[...offers.values()].map((offer) => {
    const act = (type, words) => make("button", { class: type === "offer.accept" ? "" : "plain", onclick: () => decide(type, offer) }, words);
    return make("li", { class: "offer" }, make("strong", {}, about(offer.conversation)),
      make("span", { class: "hint" }, `${offer.conversation.category} · ${offer.conversation.channel_type} · `, make("span", { "data-until": offer.expires_at })),
      make("div", { class: "row" }, act("offer.accept", "Accept"), act("offer.reject", "Reject")));
  }));
  if (!offers.size) $("offers").append(make("li", { class: "hint" }, "None at the moment."));
  tick();
};
const tick = () => {
  for (const element of document.querySelectorAll("[data-until]")) {
    element.textContent = `${Math.max(0, Math.ceil((new Date(element.dataset.until) - Date.now()) / 1000))} s left`;
  }
};
setInterval(tick, 500);
const decide = async (type, offer) => {
  try {
    const answer = await command({ type, offer_id: offer.offer_id });
    offers.delete(offer.offer_id);
    showOffers();
    if (answer.conversation) { update(answer.conversation); open(answer.conversation.id); }
  } catch (error) {
    say(error.message);
  }
};
const showMine = () => {
  const list = [...mine.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
  $("mine").replaceChildren(...list.map((conversation) => make("li", {},
    make("button", { class: unread.has(conversation.id) ? "entry unread" : "entry", "aria-current": conversation.id === openId, onclick: () => open(conversation.id) },
      make("strong", {}, about(conversation)), make("br"), make("span", { class: "hint" }, `${conversation.status.replaceAll("_", " ")} · ${conversation.category}`)))));
  if (!list.length) $("mine").append(make("li", { class: "hint" }, "None yet."));
};
const open = (id) => {
  if (id !== openId) for (const form of document.querySelectorAll("aside form, #reply")) form.reset();
  openId = id;
  unread.delete(id);
  $("nothing").hidden = Boolean(id);
  $("open").hidden = $("acts").hidden = !id;
  $("typing").textContent = "";
  showMine();
  if (!id) return;
  showFacts();
  showTranscript();
  catchUp(id);
  $("text").focus();
};
const showFacts = () => {
  const conversation = mine.get(openId);
  if (!conversation) return;
  $("title").textContent = about(conversation);
  $("facts").textContent = [conversation.status.replaceAll("_", " "), conversation.category, conversation.matter.replace("_", " "), conversation.severity, conversation.channel_type, `cycle ${conversation.cycle}`].filter(Boolean).join(" · ");
  $("category").value = conversation.category;
};
const showTranscript = () => {
  const list = $("transcript"), lines = transcripts.get(openId);
  const rows = [];
  const event = (item) => make("li", { class: "event" }, item.text);
  const events = lines ? [...lines.events] : [];
  for (const message of lines ? [...lines.messages.values()].sort((one, other) => one.seq - other.seq) : []) {
    while (events.length && events[0].after < message.seq) rows.push(event(events.shift()));
    const kind = { inbound: "line", outbound: "line ours", note: "line note" }[message.direction];
    const foot = [message.whisper ? "whisper" : message.direction === "note" ? "note" : null, message.author.name || message.author.type, new Date(message.created_at).toLocaleString(), message.status, message.error];
    rows.push(make("li", { class: kind }, make("p", {}, message.text), ...message.attachments.map((file) => make("p", {}, `Attachment: ${file.name}`)), make("small", {}, foot.filter(Boolean).join(" · "))));
  }
  rows.push(...events.map(event));
  list.replaceChildren(...rows);
  list.scrollTop = list.scrollHeight;
};

/* What the agent does */
let draft = null;
$("reply").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim(), kind = new FormData(event.target).get("kind"), conversation_id = openId;
  if (!text) return;
  if (!draft || draft.text !== text || draft.kind !== kind || draft.conversation_id !== conversation_id) {
    draft = { conversation_id, kind, text, client_message_id: [...crypto.getRandomValues(new Uint32Array(4))].join("-") };
  }
  try {
    await command({ type: "message.send", ...draft });
    draft = null;
    if ($("text").value.trim() === text) $("text").value = "";
  } catch (error) { say(error.message); }
});
let typed = 0;
$("text").addEventListener("input", () => {
  if (!ready || Date.now() - typed < 3000 || new FormData($("reply")).get("kind") !== "reply") return;
  typed = Date.now();
  command({ type: "typing", conversation_id: openId, on: true }).catch(() => {});
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("reply").requestSubmit();
});
for (const name of ["resolve", "classify", "transfer"]) {
  $(name).addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value.trim()));
    try {
      const answer = await command({ type: `conversation.${name}`, conversation_id: openId, ...fields });
      event.target.reset();
      if (answer.conversation) update(answer.conversation);
      say({ resolve: "The receipt is on its way.", classify: "Corrected.", transfer: "Offered to the other agent." }[name]);
    } catch (error) { say(error.message); }
  });
}
$("availability").addEventListener("change", async (event) => {
  try { await command({ type: "availability.set", availability: event.target.value }); } catch (error) { say(error.message); event.target.value = me.availability; return; }
  me.availability = event.target.value;
});
$("leave").addEventListener("click", () => signOut());
document.querySelector("#login form").addEventListener("submit", (event) => {
  event.preventDefault();
  kept.setItem("desk.token", $("token").value.trim());
  $("token").value = "";
  connect();
});
window.addEventListener("online", () => { if (!socket && kept.getItem("desk.token")) connect(); });
document.addEventListener("visibilitychange", markRead);
if (kept.getItem("desk.token")) connect(); else signOut();
})();
