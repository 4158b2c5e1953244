/* The agents' console: corrective actions, of a complaint and one's own. Frames say that something changed; what, is read. */
"use strict";
let duties = [], duty = null;
const readDuties = async () => {
  const mine = `owner_id=${me.id}`, wanted = [`${mine}&status=not_started`, `${mine}&status=in_progress`, ...(isSenior() ? ["overdue=true"] : [])];
  try {
    const pages = await Promise.all(wanted.map((query) => read(`corrective-actions?${query}&limit=200`)));
    if (!me) return;
    duties = [...new Map(pages.flatMap(({ items }) => items).map((one) => [one.id, one])).values()].sort((one, other) => (one.due_on < other.due_on ? -1 : 1));
    showDuties();
    if (duties.length) readHouse();
  } catch (error) { complain(`The corrective actions could not be read: ${error.message}`); }
};
const refreshDuties = seldom(300, () => { if (me) readDuties(); });

const dutyRow = (one) => {
  const facts = joined(one.overdue && "overdue", spaced(one.status), `by ${one.due_on}`, nameOf(one.owner_id), one.effect);
  return {
    key: one.id, says: [facts, one.version], make: () => make("li", { class: one.overdue ? "card late" : "card" }, make("p", { class: "word" }, one.text),
      make("div", { class: "row" }, make("span", { class: "hint" }, facts), make("button", { type: "button", class: "plain", "aria-label": `Change: ${cut(one.text, 60)}`, onclick: () => openDuty(one) }, "Change"))),
  };
};
const showDuties = () => {
  $("duties").hidden = !duties.length;
  if (!me) return;
  fill("duty_list", duties.map(dutyRow));
  if (record) fill("duties_here", record.actions.map(dutyRow), "None yet.");
};
const openDuty = (one) => {
  duty = one;
  fillForm($("duty_form"), one, { anew: true });
  readHouse();
  showSheet("duty_sheet");
};
const readDuty = async () => {
  await Promise.all([readDuties(), readRecord()]);
  const fresh = [...duties, ...(record?.actions ?? [])].find(({ id }) => id === duty.id);
  if (fresh) { duty = fresh; fillForm($("duty_form"), fresh); }
};
const changed = () => { refreshDuties(); if (record) refreshRecord(); };
submits("duty_form", async (form) => {
  await save(form, `corrective-actions/${duty.id}`, { version: duty.version, again: readDuty });
  changed();
  $("duty_sheet").close();
  say("Kept.");
});
submits("acting", async (form) => {
  await call("POST", `complaints/${record.conversation_id}/actions`, { body: filledIn(form) });
  form.reset();
  changed();
  say("They are told.");
});
const dutyTold = (words, isForMe = () => true) => (frame) => {
  changed();
  if (words && isForMe(frame.action)) say(`${words} ${cut(frame.action.text, 90)}`);
};
Object.assign(on, {
  "corrective_action.planned": dutyTold("You are to put something right:", ({ owner_id: owner }) => owner === me.id), "corrective_action.updated": dutyTold(""),
  "corrective_action.overdue": dutyTold("A corrective action is overdue:"),
});
rooms.push({ begin: readDuties, show: showDuties, forget() { duties = []; duty = null; $("duty_list").replaceChildren(); showDuties(); } });
