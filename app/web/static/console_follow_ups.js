/* The agents' console: return contacts that were promised. Frames say that something changed; what, is read. */
"use strict";
let promises = [], promised = [], follow = null;
const kindsOfContact = { call: "call", message: "write to", visit: "visit" };

const readPromises = async () => {
  try {
    const { items } = await read(`follow-ups?state=planned&limit=200${$("follow_whose").value === "mine" ? "&mine=true" : ""}`);
    if (!me) return;
    promises = items;
    showPromises();
    if (items.length) readHouse();
  } catch (error) { complain(`The follow-ups could not be read: ${error.message}`); }
};
const readPromised = async () => {
  const id = openId;
  if (!id) return;
  try {
    const { items } = await read(`conversations/${id}/follow-ups`);
    if (id !== openId) return;
    promised = items;
    showPromised();
  } catch (error) { complain(`The follow-ups could not be read: ${error.message}`); }
};
const refreshPromises = seldom(300, () => { if (me) { readPromises(); readPromised(); } });

const promiseRow = (one, words) => {
  const isPlanned = one.state === "planned", name = matterOf(one), whose = one.assignee_id !== me.id && nameOf(one.assignee_id);
  const facts = joined(one.missed ? "missed" : one.due && "due now", `${kindsOfContact[one.kind]} ${when(one.due_at)}`, whose, one.outcome ? spaced(one.outcome) : !isPlanned && spaced(one.state));
  const outcome = () => make("button", { class: "plain", "aria-label": `Outcome: ${name}`, onclick: () => openPromise(one) }, "Outcome");
  return {
    key: one.id, says: [facts, name, one.version], make: () => make("li", { class: one.missed || one.due ? "card late" : "card" },
      words(one, name), ...(one.note ? [make("p", { class: "word" }, cut(one.note, 300))] : []), ...(one.result ? [make("p", { class: "word" }, cut(one.result, 300))] : []),
      make("div", { class: "row" }, make("span", { class: "hint" }, facts), ...(isPlanned ? [outcome()] : []))),
  };
};
const showPromises = () => {
  const link = (one, name) => make("button", { class: "bare", onclick: () => openMatter(one.conversation_id) }, name);
  if (me) fill("follow_list", promises.map((one) => promiseRow(one, link)), "None planned.");
};
const showPromised = () => {
  $("following").hidden = !me || !openId;
  if (!me || !openId) return;
  fill("follow_here", promised.map((one) => promiseRow(one, () => "")));
  $("plan").hidden = !current() || !mayAct(current());
};
const openPromise = (one) => {
  follow = one;
  $("follow_form").reset();
  $("follow_title").textContent = `How it went: ${matterOf(one)}`;
  $("follow_facts").textContent = joined(`${kindsOfContact[one.kind]} ${when(one.due_at)}`, one.note);
  showNext();
  showSheet("follow_sheet");
};
const showNext = () => {
  const isPutOff = $("follow_outcome").value === "rescheduled";
  $("follow_next").hidden = !isPutOff;
  $("follow_next_due").required = isPutOff;
  if (!isPutOff) $("follow_next_due").value = "";
};
$("follow_outcome").addEventListener("change", showNext);
$("follow_whose").addEventListener("change", readPromises);

const finishPromise = async (body, done) => {
  const fresh = await call("PATCH", `follow-ups/${follow.id}`, { body, version: follow.version });
  promises = promises.filter(({ id }) => id !== fresh.id);
  promised = promised.map((one) => (one.id === fresh.id ? fresh : one));
  showPromises();
  showPromised();
  $("follow_sheet").close();
  say(done);
};
submits("follow_form", (form, button) => (button?.value === "cancel" ? finishPromise({ state: "cancelled" }, "It is not needed any more.") : finishPromise(filledIn(form), "Kept.")));
submits("plan", async (form) => {
  await call("POST", `conversations/${openId}/follow-ups`, { body: filledIn(form) });
  form.reset();
  refreshPromises();
  say("Planned.");
});

const followTold = (words) => (frame) => {
  refreshPromises();
  if (words && (frame.follow_up.assignee_id === me.id || isSenior())) say(`${words} ${cut(frame.follow_up.note ?? "", 90)}`);
};
Object.assign(on, {
  "follow_up.planned": followTold(""), "follow_up.updated": followTold(""),
  "follow_up.due": followTold("A follow-up is due:"), "follow_up.missed": followTold("A follow-up was missed:"),
});
rooms.push({
  begin: readPromises, show() { showPromises(); showPromised(); },
  open() { promised = []; showPromised(); readPromised(); },
  forget() { promises = promised = []; follow = null; $("follow_list").replaceChildren(); },
});
