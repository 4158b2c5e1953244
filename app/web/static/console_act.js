/* The agents' console: what the agent does. */
"use strict";
const doing = async (frame) => {
  try { return await command(frame); } catch (error) { say(error.message); return null; }
};
const act = async (frame, done) => {
  const answer = await doing({ conversation_id: openId, ...frame });
  if (answer) say(done);
  return answer;
};
/* Opened when the stream says that it is ours, which may be before or after the answer. */
const getting = async (id, frame) => {
  wanted = id;
  const answer = await doing(frame);
  if (!answer && wanted === id) wanted = null;
  if (answer && mine.has(id)) { wanted = null; show(id); }
  return answer;
};
const decide = async (type, offer) => {
  const frame = { type, offer_id: offer.offer_id };
  const answer = await (type === "offer.accept" ? getting(offer.conversation.id, frame) : doing(frame));
  if (answer) dropOffer(offer);
};
const pickUp = (id) => getting(id, { type: "conversation.pick_up", conversation_id: id });
const openMatter = async (id) => {
  try { show(id, mine.get(id) ?? helping.get(id) ?? await read(`conversations/${id}`)); } catch (error) { say(error.message); }
};
const watch = (id) => {
  watched = id === watched ? null : id;
  showQueues();
  showWaiting([], []);
  if (watched) readWaiting();
};

/* Writing: a reply, a note, a whisper */
const kindOf = () => new FormData($("reply")).get("kind");
let draft = null;
$("reply").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim(), kind = kindOf(), conversation_id = openId;
  if (!text) return;
  const frame = kind === "whisper" ? { type: "conversation.whisper", conversation_id, text } : { type: "message.send", conversation_id, kind, text };
  const mentions = kind === "note" ? [...named].filter(([name]) => text.includes(`@${name}`)).map(([, id]) => id) : [];
  if (mentions.length) frame.mentions = mentions;
  const says = JSON.stringify(frame);
  if (draft?.says !== says) draft = { says, client_message_id: unique() };
  if (!await doing({ ...frame, client_message_id: draft.client_message_id })) return;
  draft = null;
  if ($("text").value.trim() !== text) return;
  $("text").value = "";
  named.clear();
});
$("reply").addEventListener("change", () => { $("text").placeholder = hints[kindOf()]; suggest(); });
let typed = 0;
$("text").addEventListener("input", () => {
  suggest();
  if (!ready || Date.now() - typed < 3000 || kindOf() !== "reply") return;
  typed = Date.now();
  command({ type: "typing", conversation_id: openId, on: true }).catch(() => {});
});

/* Naming colleagues in a note: @ and the beginning of a name, arrows and Enter. */
const named = new Map();
let picks = [], picked = 0;
const begun = () => /(?:^|\s)@([^\s@]*(?: [^\s@]+)?)$/u.exec($("text").value.slice(0, $("text").selectionStart))?.[1].toLowerCase();
const suggest = () => {
  const start = kindOf() === "note" ? begun() : undefined;
  const fits = (name) => name.startsWith(start) || name.split(" ").some((word) => word.startsWith(start));
  const found = start === undefined ? [] : [...house.agents.values()].filter((agent) => agent.id !== me.id && fits(agent.name.toLowerCase()));
  showNames(found.slice(0, 6));
};
const showNames = (agents, at = 0) => {
  [picks, picked] = [agents, at];
  $("names").hidden = !agents.length;
  $("names").replaceChildren(...agents.map((agent, place) => make("li", {
    id: `name-${place}`, role: "option", "aria-selected": String(place === at), onmousedown: (event) => { event.preventDefault(); pick(agent); },
  }, labelOf(agent))));
  if (agents.length) $("text").setAttribute("aria-activedescendant", `name-${at}`); else $("text").removeAttribute("aria-activedescendant");
};
const pick = (agent) => {
  const field = $("text"), end = field.selectionStart, start = begun();
  showNames([]);
  if (start === undefined) return;
  field.setRangeText(`@${agent.name} `, end - start.length - 1, end, "end");
  named.set(agent.name, agent.id);
};
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return $("reply").requestSubmit();
  if (!picks.length || event.isComposing) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) showNames(picks, (picked + step + picks.length) % picks.length);
  else if (event.key === "Enter" || event.key === "Tab") pick(picks[picked]);
  else if (event.key === "Escape") showNames([]);
  else return;
  event.preventDefault();
});
$("text").addEventListener("blur", () => showNames([]));

/* The forms beside the transcript. A choice such as `queue_id:…` names its own field. */
const forms = {
  resolve: ["conversation.resolve", "The receipt is on its way."],
  classify: ["conversation.classify", "Corrected."],
  transfer: ["conversation.transfer", "Passed on."],
  call: ["collaborator.add", "They help from now on."],
  assign: ["conversation.assign", "Assigned."],
};
for (const [id, [type, done]] of Object.entries(forms)) {
  $(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value.trim()));
    if (fields.choice) {
      const [field, value] = fields.choice.split(":");
      delete fields.choice;
      fields[field] = value;
    }
    if (fields.force) fields.force = true;
    if (!await act({ type, ...fields }, done)) return;
    event.target.reset();
    if (current()) $("category").value = current().category;
  });
}
$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { name, email, phone, assign_to_me, ...fields } = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value.trim()));
  const contact = Object.fromEntries(Object.entries({ name, email, phone }).filter(([, value]) => value));
  const answer = await doing({ type: "conversation.enter", contact, assign_to_me: Boolean(assign_to_me), ...fields });
  if (!answer) return;
  event.target.reset();
  const { conversation, answers, progress_url: href } = answer;
  $("entered").replaceChildren(answers.possible ? `Answers go by ${spaced(answers.channel_type)}. ` : "The customer cannot be written to: only notes. ", make("a", { href }, "Page for the customer"));
  if (mine.has(conversation.id)) show(conversation.id); else if (assign_to_me) wanted = conversation.id;
});
$("pick_up").addEventListener("click", () => pickUp(openId));
$("take").addEventListener("click", () => getting(openId, { type: "conversation.take", conversation_id: openId }));
$("monitor").addEventListener("click", () => act({ type: "conversation.monitor" }, "You listen; the customer does not learn of it."));
$("join").addEventListener("click", () => act({ type: "conversation.join" }, "You have joined; the customer is told your name."));
$("leave").addEventListener("click", () => act({ type: "conversation.leave" }, "You take no part any more."));
$("back").addEventListener("click", () => {
  const was = openId;
  show(null);
  (registering ? $("register_title") : document.querySelector(`nav [data-row="${was}"] button`))?.focus();
});

$("availability").addEventListener("change", async (event) => {
  const { value } = event.target;
  if (await doing({ type: "availability.set", availability: value })) me.availability = value; else event.target.value = me.availability;
});
const signOut = (reason = "") => {
  kept.removeItem("desk.token");
  kept.removeItem("desk.cursor");
  hangUp();
  registering = false;
  if (me) show(null);
  inRooms("forget");
  for (const sheet of document.querySelectorAll("dialog[open]")) sheet.close();
  for (const map of [offers, mine, helping, queues, notices, transcripts, unread, house.agents]) map.clear();
  house.at = 0;
  me = watched = wanted = draft = null;
  say("");
  $("desk").hidden = true;
  $("login").hidden = false;
  document.querySelector("#login .error").textContent = reason;
  $("token").focus();
};
$("sign_out").addEventListener("click", () => signOut());
document.querySelector("#login form").addEventListener("submit", (event) => {
  event.preventDefault();
  document.querySelector("#login .error").textContent = "";
  kept.setItem("desk.token", $("token").value.trim());
  $("token").value = "";
  connect();
});
window.addEventListener("online", () => { if (!socket && kept.getItem("desk.token")) connect(); });
document.addEventListener("visibilitychange", () => { if (me) markRead(); });
if (kept.getItem("desk.token")) connect(); else signOut();
