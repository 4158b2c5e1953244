/* The agents' console: what it knows, and what comes. */
"use strict";
let me = null, openId = null, opened = null, contact = null, people = [], watched = null, wanted = null, leaving = 0, registering = false;
const offers = new Map(), mine = new Map(), helping = new Map(), queues = new Map(), notices = new Map();
const transcripts = new Map(), unread = new Set();
const house = { agents: new Map(), queues: [], teams: [], at: 0 };

/* The rooms beside the conversation keep what they read themselves. They may have: begin, after a welcome; open, another
   conversation is shown; hear, a frame said how one is now; show, what is shown of the open one or of the colleagues may have
   changed; forget, the agent has signed out. */
const rooms = [];
const inRooms = (what, ...values) => { for (const room of rooms) room[what]?.(...values); };

const isSenior = () => me.role !== "agent";
const current = () => mine.get(openId) ?? helping.get(openId) ?? opened;
const mayAct = (conversation) => isSenior() || [conversation.assignee_id, conversation.owner_id].includes(me.id);
const isWorking = ({ status }) => !["resolved", "closed"].includes(status);
const nameOf = (id) => (id === me.id ? me.name : house.agents.get(id)?.name ?? people.find((one) => one.agent_id === id)?.name ?? "a colleague");
const spaced = (word) => word.replaceAll("_", " ");
const cut = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);
const about = (conversation) => cut(conversation.subject ?? "", 90) || `${conversation.channel_type} · ${conversation.category} ${spaced(conversation.matter)}`;
const when = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const joined = (...parts) => parts.filter(Boolean).join(" · ");
const keep = (map, item, isIn) => { if (isIn) map.set(item.id, item); else map.delete(item.id); };

/* What comes. The stream is the truth: answers to commands only say that it was done. */
const update = (conversation) => {
  const { id } = conversation, isOpen = conversation.status !== "closed", isMine = conversation.assignee_id === me.id;
  const tookPart = mine.has(id) || helping.has(id), hadIt = mine.has(id);
  keep(mine, conversation, isOpen && isMine);
  keep(helping, conversation, isOpen && !isMine && conversation.participant_ids.includes(me.id));
  if (id === openId) {
    opened = conversation;
    if (mine.has(id) || helping.has(id)) clearTimeout(leaving);
    else if (tookPart && wanted !== id) leaving = setTimeout(() => show(null), 400); // a replay may bring it back at once
    showFacts();
  }
  if (wanted === id && isMine) { wanted = null; show(id); }
  if (hadIt !== mine.has(id)) refreshLoad();
  if (conversation.queue_id === watched) refreshWaiting();
  showLists();
  inRooms("hear", conversation);
};
const dropOffer = (frame) => { offers.delete(frame.offer_id); showOffers(); refreshLoad(); };
const told = (frame, text) => {
  if (frame.conversation) update(frame.conversation);
  const lines = transcripts.get(frame.conversation_id);
  if (!lines || !text) return;
  lines.events.push({ after: frame.seq || 0, text });
  if (frame.conversation_id === openId) showTranscript();
};
const setQueues = (list) => {
  queues.clear();
  for (const queue of list) queues.set(queue.id, queue);
  if (!queues.has(watched)) watched = queues.size === 1 ? list[0].id : null;
  showQueues();
  refreshWaiting();
};
const transferred = ({ agent_id, outcome }) => {
  if (outcome) return `${nameOf(agent_id)} did not take it: ${spaced(outcome)}`;
  return agent_id ? `offered to ${nameOf(agent_id)}` : "transferred to another queue";
};
const on = {
  ok: settle, error: settle, pong: settle,
  welcome(frame) {
    me = frame.agent;
    welcomed(frame.heartbeat_s);
    $("login").hidden = true;
    $("desk").hidden = false;
    $("me").textContent = `${me.name} (${me.role})`;
    $("availability").value = me.availability;
    offers.clear();
    for (const offer of frame.offers) offers.set(offer.offer_id, offer);
    mine.clear();
    for (const conversation of frame.conversations) mine.set(conversation.id, conversation);
    showLoad();
    showOffers();
    setQueues(frame.queues);
    showLists();
    readHelping();
    inRooms("begin");
    if (openId) show(openId, current());
  },
  "offer.created"(frame) { offers.set(frame.offer_id, frame); showOffers(); refreshLoad(); },
  "offer.accepted": dropOffer, "offer.expired": dropOffer, "offer.rescinded": dropOffer,
  "conversation.created"(frame) { update(frame.conversation); },
  "conversation.updated"(frame) {
    if (frame.participants && frame.conversation_id === openId) people = frame.participants;
    told(frame, frame.transfer && transferred(frame.transfer));
  },
  "conversation.assigned"(frame) {
    if (mine.has(frame.conversation_id) && frame.assignee.id !== me.id) say(`${frame.assignee.name} has it now: ${about(frame.conversation)}`);
    told(frame, `assigned to ${frame.assignee.name}`);
  },
  "conversation.resolved"(frame) { told(frame, "resolved: the receipt is on its way"); },
  "conversation.closed"(frame) {
    const silent = frame.asked === false ? "no receipt reached the customer" : "nothing heard from the customer";
    told(frame, `${frame.via === "timeout" ? silent : "confirmed by the customer"}, closed`);
  },
  "conversation.reopened"(frame) { told(frame, `opened again: ${frame.reason}`); },
  "agent.joined"(frame) { told(frame, `${frame.agent.name} joined`); },
  "agent.mentioned"(frame) {
    update(frame.conversation);
    notices.set(frame.message.id, frame);
    showNotices();
    say(`${frame.by.name ?? "A colleague"} asks for your help.`);
  },
  "feedback.received"(frame) {
    const ratings = Object.entries(frame.ratings || {}).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`);
    told(frame, ["feedback", frame.outcome, ...ratings, frame.comment].filter(Boolean).join(" · "));
  },
  "sla.warned"(frame) { deadline(frame, "A deadline is near."); },
  "sla.breached"(frame) { deadline(frame, "A deadline was missed."); },
  "message.created"(frame) {
    const lines = transcripts.get(frame.conversation_id);
    if (lines) {
      const gap = frame.message.seq > lines.top + 1;
      lines.add(frame.message);
      if (frame.conversation_id === openId) { if (gap) catchUp(openId); else { showTranscript(); markRead(); } }
    }
    if (frame.conversation_id !== openId && frame.message.direction === "inbound" && mine.has(frame.conversation_id)) {
      unread.add(frame.conversation_id);
      showLists();
    }
  },
  "message.status"(frame) {
    const lines = transcripts.get(frame.conversation_id);
    const message = lines && [...lines.messages.values()].find((item) => item.id === frame.message_id);
    if (!message) return;
    Object.assign(message, { status: frame.status, error: frame.error });
    if (frame.conversation_id === openId) showTranscript();
  },
  "message.updated"(frame) {
    const lines = transcripts.get(frame.conversation_id);
    const message = lines && lines.messages.get(frame.seq);
    if (!message) return;
    const { kind, text } = frame.change;
    if (kind === "edit") Object.assign(message, { text, edited: true });
    if (kind === "delete") Object.assign(message, { text: "", attachments: [], deleted: true });
    if (kind === "reaction") message.reactions = text ? [text] : [];
    if (kind === "call") Object.assign(message, { text, call: frame.change.call });
    if (frame.conversation_id === openId) showTranscript();
  },
  typing(frame) {
    if (frame.conversation_id !== openId || frame.author?.id === me.id) return;
    $("typing").textContent = frame.on ? `${frame.author?.name ?? "The customer"} is writing…` : "";
    clearTimeout(on.typing.timer);
    on.typing.timer = setTimeout(() => { $("typing").textContent = ""; }, 6000);
  },
  "presence.updated"(frame) {
    const known = house.agents.get(frame.agent.id);
    if (known) {
      known.availability = frame.agent.availability;
      for (const option of document.querySelectorAll(`option[value="agent_id:${known.id}"]`)) option.textContent = labelOf(known);
    }
    if (frame.agent.id === me.id) $("availability").value = me.availability = frame.agent.availability;
  },
  "queue.counts"(frame) {
    const queue = queues.get(frame.queue_id);
    if (!queue) return;
    Object.assign(queue, { waiting: frame.waiting, offered: frame.offered });
    showQueues();
    if (queue.id === watched) refreshWaiting();
  },
  "queues.changed"(frame) {
    me.role = frame.role;
    $("me").textContent = `${me.name} (${me.role})`;
    setQueues(frame.queues);
    showFacts();
    inRooms("begin");
  },
  resync_required() {
    kept.removeItem("desk.cursor");
    transcripts.clear();
  },
  draining(frame) { attempts = 0; lost(socket, 0, frame.reconnect_in_s * (1 + Math.random())); },
};
const deadline = (frame, text) => {
  told({ conversation_id: frame.conversation_id, seq: frame.seq }, text);
  if (mine.has(frame.conversation_id)) say(text);
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

/* What is read over HTTP */
const complain = (text) => { if (me) say(text); };
const catchUp = async (id) => {
  if (!transcripts.has(id)) transcripts.set(id, new Transcript());
  const lines = transcripts.get(id);
  try {
    for (let more = true; more;) {
      const body = await read(`conversations/${id}/messages?after_seq=${lines.top}`);
      for (const message of body.items) lines.add(message);
      lines.through(body.items.at(-1)?.seq ?? 0);
      more = Boolean(body.next_cursor);
    }
  } catch (error) { complain(`The transcript could not be read: ${error.message}`); }
  if (id === openId) { showTranscript(); markRead(); }
};
const readDetails = async (id) => {
  try {
    const detail = await read(`conversations/${id}`);
    if (id !== openId) return;
    ({ contact, participants: people } = opened = detail);
    showFacts();
  } catch (error) { complain(`The conversation could not be read: ${error.message}`); }
};
const readHelping = async () => {
  try {
    const { items } = await read(`conversations?participant_id=${me.id}&limit=200`);
    if (!me) return;
    helping.clear();
    for (const conversation of items) keep(helping, conversation, conversation.status !== "closed" && conversation.assignee_id !== me.id);
    showLists();
  } catch (error) { complain(`Where you take part could not be read: ${error.message}`); }
};
const readHouse = async () => {
  if (Date.now() - house.at < 300_000) return;
  house.at = Date.now();
  try {
    const [agents, list, teams] = await Promise.all(["agents?active=true", "queues?active=true", "teams?"].map(readAll));
    if (!me) return;
    const seen = new Map();
    for (const agent of agents) seen.set(agent.name, [...(seen.get(agent.name) ?? []), agent]);
    for (const namesakes of seen.values()) if (namesakes.length > 1) for (const agent of namesakes) agent.shown = `${agent.name}, ${agent.email}`;
    Object.assign(house, { agents: new Map(agents.map((agent) => [agent.id, agent])), queues: list, teams });
    showChoices();
    showFacts();
    inRooms("show");
  } catch (error) { house.at = 0; complain(`The colleagues could not be read: ${error.message}`); }
};
const readWaiting = async () => {
  const id = watched, busy = isSenior() ? read(`conversations?queue_id=${id}&unassigned=false&status=open`) : { items: [] };
  try {
    const [entries, others] = await Promise.all([read(`queues/${id}/entries`), busy]);
    if (id === watched && me) showWaiting(entries.items, others.items);
  } catch (error) { if (id === watched) complain(`The queue could not be read: ${error.message}`); }
};
const refreshWaiting = seldom(500, () => { if (me && watched) readWaiting(); else showWaiting([], []); });
const refreshLoad = seldom(300, async () => {
  try {
    const { load, capacity } = await read(`agents/${me.id}`);
    Object.assign(me, { load, capacity });
    showLoad();
  } catch { /* the next change reads it again */ }
});
const markRead = () => {
  const lines = transcripts.get(openId);
  if (lines?.top && ready && !document.hidden) command({ type: "conversation.read", conversation_id: openId, seq: lines.top }).catch(() => {});
};
