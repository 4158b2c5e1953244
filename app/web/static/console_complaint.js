/* The agents' console: the record of a complaint, in its dialog. */
"use strict";
let record = null;
const stages = ["registered", "analysed", "handled", "replied", "improved", "closed"];

const readRecord = async () => {
  const id = openId;
  if (current()?.matter !== "complaint") return;
  try { keepRecord(await read(`complaints/${id}`)); } catch (error) { complain(`The complaint could not be read: ${error.message}`); }
};
const refreshRecord = seldom(300, () => { if (me && openId) readRecord(); });
const keepRecord = (fresh, how) => {
  if (fresh.conversation_id !== openId) return;
  record = fresh;
  showRecord(how);
};

const showComplaining = () => {
  const isOne = Boolean(openId) && current()?.matter === "complaint";
  $("complaining").hidden = !isOne;
  if (!isOne) return;
  if (record?.conversation_id === openId) { $("complaint_facts").textContent = factsOf(record); showDuties(); } else readRecordOnce();
};
const readRecordOnce = () => {
  if (readRecordOnce.of === openId) return;
  readRecordOnce.of = openId;
  readRecord();
};
const factsOf = (one) => joined(one.number, one.type && spaced(one.type), one.severity, spaced(one.progress), one.anonymous && "anonymous", cut(one.what ?? "", 200));
const showRecord = (how) => {
  $("complaint_facts").textContent = factsOf(record);
  $("complaint_title").textContent = `Complaint ${record.number}`;
  $("complaint_now").textContent = joined(record.complainant ? record.complainant.name ?? "a customer without a name" : "anonymous", record.subject, `registered ${when(record.registered_at)}`);
  const isOurs = current() && mayAct(current());
  for (const part of document.querySelectorAll("#complaint_sheet fieldset")) part.disabled = !isOurs;
  fillForm($("typing_it"), record, how);
  fillForm($("recording"), record, how);
  const left = stages.slice(stages.indexOf(record.progress) + 1);
  choices($("step_progress"), left, left.includes($("step_progress").value) ? $("step_progress").value : left[0] ?? "");
  conceal($("stepping"), !left.length, $("complaint_sheet").querySelector("[data-close]"));
  fill("steps", record.steps.map((step) => ({ key: step.progress, says: step, make: () => make("li", {}, joined(spaced(step.progress), when(step.created_at), step.agent_id && nameOf(step.agent_id), step.note)) })));
  showCauses(how);
  showDuties();
};
$("complaint_open").addEventListener("click", async () => {
  const anew = $("complaint_sheet").dataset.of !== openId; // what was typed and not kept is still there for the same one
  try { keepRecord(await read(`complaints/${openId}`), { anew }); } catch (error) { return say(error.message); }
  if (anew) for (const id of ["stepping", "acting"]) $(id).reset();
  $("complaint_sheet").dataset.of = openId;
  readHouse();
  showSheet("complaint_sheet");
});

/* Type and severity are the conversation's: they are corrected with a reason. */
submits("typing_it", async (form) => {
  const { reason, type, severity } = filledIn(form), { conversation_id: id } = record;
  const body = { category: current().category, matter: "complaint", complaint_type: type, reason, ...(severity && { severity }) };
  await call("POST", `conversations/${id}/classify`, { body });
  keepRecord(await read(`complaints/${id}`));
  $("complaint_reason").value = "";
  say("Corrected.");
});
submits("recording", async (form) => {
  keepRecord(await save(form, `complaints/${record.conversation_id}`, { version: record.version, again: readRecord }));
  say("Kept.");
});
submits("stepping", async (form) => {
  keepRecord(await call("POST", `complaints/${record.conversation_id}/steps`, { body: filledIn(form) }));
  form.elements.note.value = "";
  say("Kept.");
});
Object.assign(on, { "complaint.updated"(frame) { if (frame.conversation_id === openId) refreshRecord(); refreshRegister(); } });
rooms.push({
  show: showComplaining, hear(conversation) { if (conversation.id === openId) refreshRecord(); },
  open() {
    if (record?.conversation_id === openId) { refreshRecord(); return; }
    record = null;
    readRecordOnce.of = null;
    if ($("complaint_sheet").open) $("complaint_sheet").close();
    showComplaining();
  },
  forget() { record = null; },
});
