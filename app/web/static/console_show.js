/* The agents' console: how it is shown. */
"use strict";
/* Where the focus is: a button in a row is found again after the row was made anew, or else its neighbour, or the heading. */
const controls = "button, input, select";
const whereIs = (element) => {
  const row = element.closest("[data-row]"), list = row?.parentElement;
  return { element, list, key: row?.dataset.row, place: row && [...list.children].indexOf(row), nth: row && [...row.querySelectorAll(controls)].indexOf(element) };
};
const goBack = ({ element, list, key, place, nth }) => {
  if (element.isConnected && element.checkVisibility()) return element.focus();
  const same = list?.querySelector(`[data-row="${CSS.escape(key)}"]`), next = list?.children[Math.min(place, list.children.length - 1)];
  const heading = (list ?? element).closest("section, details, dialog")?.querySelector("h2, summary");
  if (heading?.tagName === "H2") heading.tabIndex = -1;
  const places = [same?.querySelectorAll(controls)[nth], same?.querySelector(controls), next?.querySelector(controls), heading, $("text"), $("complaints")];
  places.find((each) => each?.checkVisibility())?.focus();
};
/* What is hidden gives the focus away. */
const conceal = (element, isHidden, instead) => {
  const had = element.contains(document.activeElement);
  element.hidden = isHidden;
  if (had && isHidden) instead.focus();
};
/* Rows that say the same stay in place, with the focus, and are not read out again. */
const fill = (id, rows, empty) => {
  const list = $(id), was = document.activeElement, where = list.contains(was) && was.closest("[data-row]") ? whereIs(was) : null;
  const known = new Map([...list.children].map((child) => [child.dataset.row + child.dataset.stamp, child]));
  const next = rows.map(({ key, says, make: build }) => {
    const stamp = JSON.stringify(says);
    const element = known.get(key + stamp) ?? build();
    Object.assign(element.dataset, { row: key, stamp });
    return element;
  });
  if (!next.length && empty) next.push(known.get("-empty") ?? Object.assign(make("li", { class: "hint", "data-row": "-", "data-stamp": "empty" }), { textContent: empty }));
  for (const child of [...list.children]) if (!next.includes(child)) child.remove();
  next.forEach((element, place) => { if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null); });
  if (where && !was.isConnected) goBack(where);
};
const tick = () => {
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = Math.max(0, Math.ceil((new Date(element.dataset.until) - Date.now()) / 1000));
    if (element.tagName === "PROGRESS") element.value = left; else element.textContent = `${left} s left`;
  }
  for (const element of document.querySelectorAll("[data-since]")) {
    const s = Math.max(0, (Date.now() - new Date(element.dataset.since)) / 1000);
    element.textContent = s < 100 ? `${Math.floor(s)} s` : s < 6000 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
  }
};
setInterval(() => { if (me) tick(); }, 500);
const showLoad = () => {
  $("load").textContent = `load ${me.load} of ${me.capacity}`;
  Object.assign($("meter"), { max: Math.max(me.capacity, me.load, 1), value: me.load });
};
const showOffers = () => {
  document.title = offers.size ? `(${offers.size}) Agent console` : "Agent console";
  fill("offers", [...offers.values()].map((offer) => ({ key: offer.offer_id, says: offer.expires_at, make: () => offerCard(offer) })), "None at the moment.");
  tick();
};
const offerCard = (offer) => {
  const { conversation } = offer, name = conversation.contact_name ?? "Somebody";
  const act = (type, words, kind) => make("button", { class: kind, "aria-label": `${words}: ${name}`, onclick: () => decide(type, offer) }, words);
  const facts = [conversation.category, spaced(conversation.matter), conversation.severity, conversation.channel_type, offer.escalated && "escalated", `takes ${offer.weight}`];
  const leftS = Math.max(1, Math.ceil((new Date(offer.expires_at) - Date.now()) / 1000));
  return make("li", { class: "offer" }, make("strong", {}, name), ...(conversation.subject ? [make("span", {}, conversation.subject)] : []),
    make("span", { class: "hint" }, facts.filter(Boolean).join(" · ")),
    ...(conversation.last_message ? [make("blockquote", {}, cut(conversation.last_message, 200))] : []),
    ...(offer.note ? [make("p", { class: "word" }, `Note: ${offer.note}`)] : []),
    make("progress", { max: leftS, "data-until": offer.expires_at, "aria-hidden": "true" }),
    make("div", { class: "row" }, act("offer.accept", "Accept", ""), act("offer.reject", "Reject", "plain"),
      make("span", { class: "hint", role: "timer", "data-until": offer.expires_at })));
};
const entryRow = (conversation, hint) => ({
  key: conversation.id, says: [about(conversation), hint, unread.has(conversation.id), conversation.id === openId],
  make: () => make("li", {}, make("button", { class: unread.has(conversation.id) ? "entry unread" : "entry", "aria-current": conversation.id === openId, onclick: () => show(conversation.id, conversation) },
    make("strong", {}, about(conversation)), make("br"), make("span", { class: "hint" }, hint))),
});
const showLists = () => {
  const newest = (map) => [...map.values()].sort((one, other) => (one.id < other.id ? 1 : -1));
  fill("mine", newest(mine).map((one) => entryRow(one, `${spaced(one.status)} · ${one.category}`)), "None yet.");
  fill("helping", newest(helping).map((one) => entryRow(one, `${spaced(one.status)} · ${one.assignee_id ? nameOf(one.assignee_id) : "nobody"} has it`)));
  $("helps").hidden = !helping.size;
};
const showNotices = () => {
  fill("notices", [...notices.values()].map((notice) => ({ key: notice.message.id, says: 0, make: () => make("li", {},
    make("button", { class: "entry", onclick: () => show(notice.conversation_id, notice.conversation) },
      make("strong", {}, `${notice.by.name ?? "A colleague"} mentions you`), make("br"), make("span", { class: "hint" }, cut(notice.message.text, 200)))) })));
  $("mentions").hidden = !notices.size;
};
const showQueues = () => {
  fill("queues", [...queues.values()].map((queue) => ({ key: queue.id, says: [queue, queue.id === watched], make: () => make("li", {},
    make("button", { class: "entry", "aria-expanded": queue.id === watched, "aria-controls": "watch", onclick: () => watch(queue.id) },
      make("strong", {}, queue.name), make("br"), make("span", { class: "hint" }, `${queue.waiting} waiting · ${queue.offered} offered`))) })), "None.");
  $("watch").hidden = !watched;
  $("watched").textContent = `Waiting in ${queues.get(watched)?.name ?? "no queue"}`;
};
const showWaiting = (entries, others) => {
  fill("entries", entries.map((entry) => {
    const { conversation, target_agent_id: target } = entry;
    const isFree = entry.state === "waiting" && (!target || target === me.id);
    const hint = [conversation.category, entry.escalated && "escalated", entry.state === "offered" && "being offered", target && `kept for ${nameOf(target)}`, entry.note && `note: ${entry.note}`];
    return { key: conversation.id, says: [about(conversation), hint, conversation.id === openId], make: () => make("li", { class: "card" },
      make("button", { class: "bare", "aria-current": conversation.id === openId, onclick: () => show(conversation.id, conversation) }, about(conversation)),
      make("div", { class: "row" }, make("span", { class: "hint" }, "waits ", make("span", { "data-since": entry.enqueued_at }), ` · ${hint.filter(Boolean).join(" · ")}`),
        ...(isFree ? [make("button", { class: "plain", "aria-label": `Pick up: ${about(conversation)}`, onclick: () => pickUp(conversation.id) }, "Pick up")] : []))) };
  }), "Nobody waits.");
  fill("busy", others.filter((one) => one.assignee_id !== me?.id).map((one) => entryRow(one, `${nameOf(one.assignee_id)} has it · ${one.category}`)), "Nobody works on one.");
  $("busies").hidden = !me || !isSenior();
  tick();
};
const labelOf = ({ name, shown = name, availability }) => (availability === "online" ? shown : `${shown} (${availability})`);
const showChoices = () => {
  const sorted = (list) => [...list].sort((one, other) => one.name.localeCompare(other.name));
  const group = (label, kind, list, words) => make("optgroup", { label }, ...sorted(list).map((one) => make("option", { value: `${kind}:${one.id}` }, words(one))));
  const others = [...house.agents.values()].filter((agent) => agent.id !== me.id), named = (one) => one.name;
  const choices = {
    target: [group("Queues", "queue_id", house.queues, named), group("Agents", "agent_id", others, labelOf)],
    assignee: [group("Agents", "agent_id", others, labelOf)],
    helper: [group("Agents", "agent_id", others, labelOf), group("Teams", "team_id", house.teams, named)],
  };
  for (const [id, groups] of Object.entries(choices)) {
    const chosen = $(id).value;
    $(id).replaceChildren(make("option", { value: "" }, "choose…"), ...groups);
    $(id).value = chosen;
    if ($(id).selectedIndex < 0) $(id).value = "";
  }
  const people = sorted(house.agents.values());
  for (const field of document.querySelectorAll("select[data-people]")) {
    const chosen = field.value, fitting = people.filter((one) => field.dataset.people === "everybody" || one.role !== "agent");
    field.replaceChildren(make("option", { value: "" }, field.dataset.nobody), ...fitting.map((one) => make("option", { value: one.id }, one.shown ?? one.name)));
    put(field, chosen);
  }
};
const show = (id, conversation = null) => {
  const isOther = id !== openId;
  clearTimeout(leaving);
  if (isOther) {
    for (const form of document.querySelectorAll("aside form, #reply")) { form.reset(); clearRefusal(form); }
    contact = null;
    people = [];
    named.clear();
    showNames([]);
    $("transcript").replaceChildren();
    $("typing").textContent = "";
  }
  openId = id;
  opened = conversation ?? mine.get(id) ?? helping.get(id) ?? null;
  unread.delete(id);
  for (const [key, notice] of notices) if (notice.conversation_id === id) notices.delete(key);
  showPlace();
  showLists();
  showNotices();
  if (watched) refreshWaiting();
  inRooms("open");
  if (!id) return;
  showFacts();
  showTranscript();
  catchUp(id);
  readDetails(id);
  readHouse();
  if (isOther) $("text").focus(); // the same one again, after a reconnection: whoever writes elsewhere is left alone
};
const showPlace = () => {
  $("open").hidden = $("acts").hidden = !openId;
  $("register").hidden = Boolean(openId) || !registering;
  $("nothing").hidden = Boolean(openId) || registering;
  $("desk").className = openId || registering ? "reading" : "";
};
const roles = { collaborator: "helps", monitor: "listens", joined: "joined" };
const showFacts = () => {
  const conversation = current();
  if (!openId || !conversation) return;
  const isMine = conversation.assignee_id === me.id, works = isWorking(conversation), acts = mayAct(conversation), was = document.activeElement;
  const role = people.find((one) => one.agent_id === me.id)?.role;
  $("title").textContent = about(conversation);
  $("facts").textContent = [contact?.name, spaced(conversation.status), conversation.snoozed_until && `until ${when(conversation.snoozed_until)}`, conversation.category, spaced(conversation.matter), conversation.severity, conversation.channel_type, `cycle ${conversation.cycle}`].filter(Boolean).join(" · ");
  if ($("classify").dataset.of !== openId + conversation.category) {
    $("classify").dataset.of = openId + conversation.category;
    $("category").value = conversation.category;
  }
  showPeople(conversation, acts);
  $("settled").hidden = conversation.status !== "resolved";
  for (const part of ["resolving", "classifying", "transferring"]) $(part).hidden = !acts || !works;
  $("calling").hidden = !acts || conversation.status === "closed";
  $("assigning").hidden = !isSenior() || !works;
  const offered = {
    pick_up: works && !conversation.assignee_id && queues.has(conversation.queue_id), take: works && isSenior() && !isMine,
    monitor: isSenior() && !isMine && role !== "monitor", join: works && isSenior() && !isMine && role !== "joined", leave: Boolean(role),
  };
  for (const [name, isOffered] of Object.entries({ ...offered, ...moves(conversation) })) $(name).hidden = !isOffered;
  const kinds = { reply: works && acts && role !== "monitor", note: true, whisper: Boolean(conversation.assignee_id) && conversation.status !== "closed" && (isSenior() || isMine) };
  const first = isMine && kinds.reply ? "reply" : "note";
  for (const radio of $("reply").elements.kind) radio.disabled = radio.parentElement.hidden = !kinds[radio.value];
  if ($("reply").dataset.of !== openId || !kinds[$("reply").elements.kind.value]) $("reply").elements.kind.value = first;
  $("reply").dataset.of = openId;
  $("text").placeholder = hints[$("reply").elements.kind.value];
  inRooms("show");
  if ($("moves").contains(was) && was.hidden) ($("moves").querySelector("button:not([hidden])") ?? $("text")).focus();
};
const hints = { reply: "Write to the customer", note: "Write to colleagues, @ names one", whisper: "Write to the assignee and supervisors" };
const showPeople = (conversation, acts) => {
  const { assignee_id: assignee } = conversation;
  const rows = [{ key: "assignee", says: assignee && nameOf(assignee), make: () => make("li", {}, assignee ? `${nameOf(assignee)} has it` : "Nobody has it") }];
  for (const one of people.filter((each) => each.agent_id !== assignee)) {
    const removable = one.role === "collaborator" && acts && one.agent_id !== me.id;
    rows.push({ key: one.agent_id, says: [one.name, one.role, removable], make: () => make("li", {}, `${one.name} ${roles[one.role]}`,
      ...(removable ? [make("button", { class: "plain", "aria-label": `Remove ${one.name}`, onclick: () => act({ type: "collaborator.remove", agent_id: one.agent_id }, `${one.name} helps no more.`) }, "×")] : [])) });
  }
  fill("people", rows);
};
const showTranscript = () => {
  const list = $("transcript"), lines = transcripts.get(openId), rows = [];
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const events = lines ? lines.events.map((item, place) => ({ ...item, place })) : [];
  const event = (item) => ({ key: `event ${item.place}`, says: item.text, make: () => make("div", { class: "event" }, item.text) });
  for (const message of lines ? [...lines.messages.values()].sort((one, other) => one.seq - other.seq) : []) {
    while (events.length && events[0].after < message.seq) rows.push(event(events.shift()));
    rows.push({ key: message.id, says: [message.status, message.error, message.attachments.length, message.text, message.deleted, message.call?.state, ...(message.reactions || [])], make: () => line(message) });
  }
  rows.push(...events.map(event));
  fill("transcript", rows);
  if (atEnd) list.scrollTop = list.scrollHeight;
};
const line = (message) => {
  const kind = { inbound: "line", outbound: "line ours", note: message.whisper ? "line note whisper" : "line note" }[message.direction];
  const foot = [message.whisper ? "whisper" : message.direction === "note" ? "note" : null, message.author.name || message.author.type, new Date(message.created_at).toLocaleString(), message.call?.state, message.status, message.error, message.deleted ? "deleted" : message.edited ? "edited" : null, ...(message.reactions || [])];
  return make("div", { class: message.mentions?.includes(me.id) ? `${kind} called` : kind }, make("p", {}, message.text),
    ...message.attachments.map((file) => make("p", {}, `Attachment: ${file.name}`)), make("small", {}, foot.filter(Boolean).join(" · ")));
};
