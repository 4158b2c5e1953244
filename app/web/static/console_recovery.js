/* The agents' console: what is to be made good, for supervisors. Frames say that something changed; what, is read. */
"use strict";
const tasks = new Map();
let task = null;
const nextStates = { open: ["open", "in_progress", "done", "cancelled"], in_progress: ["in_progress", "open", "done", "cancelled"], done: ["done", "in_progress", "confirmed", "failed"] };
const isLive = ({ state }) => Object.hasOwn(nextStates, state);
const causes = { low_score: "low score", rejection: "not solved", by_hand: "by hand" };
const matterOf = ({ about: matter }) => joined(matter.contact_name, cut(matter.subject ?? "", 90)) || matter.channel_type;

const readTasks = async () => {
  if (!me || !isSenior()) { tasks.clear(); return showTasks(); }
  try {
    const pages = await Promise.all(Object.keys(nextStates).map((state) => read(`recovery-tasks?state=${state}&limit=200`)));
    if (!me) return;
    tasks.clear();
    for (const each of pages.flatMap(({ items }) => items)) tasks.set(each.id, each);
    showTasks();
    if (tasks.size) readHouse();
  } catch (error) { complain(`What is to be made good could not be read: ${error.message}`); }
};
const refreshTasks = seldom(300, readTasks);
const readTask = async () => {
  const fresh = await read(`recovery-tasks/${task.id}`);
  if (task?.id === fresh.id) { task = fresh; showTask(); }
};
const changeTask = async (id, version, body) => { keepTask(await call("PATCH", `recovery-tasks/${id}`, { body, version })); };
const keepTask = (fresh) => {
  keep(tasks, fresh, isLive(fresh));
  if (task?.id === fresh.id) task = fresh;
  showTasks();
};

/* Shown: the list, those of the open conversation, and one in its dialog. */
const whoMakesGood = (one) => (one.assignee_id ? `${nameOf(one.assignee_id)} has it` : "nobody in particular has it");
const taskRow = (one) => {
  const facts = joined(one.overdue && "overdue", causes[one.cause], spaced(one.state), `by ${when(one.due_at)}`, whoMakesGood(one));
  const isFree = one.state === "open" || (one.state === "in_progress" && !one.assignee_id);
  const take = () => make("button", { class: "plain", "aria-label": `Take: ${matterOf(one)}`, onclick: () => takeTask(one) }, "Take");
  return {
    key: one.id, says: [facts, matterOf(one), one.version], make: () => make("li", { class: one.overdue ? "card late" : "card" },
      make("button", { class: "bare", onclick: () => openTask(one) }, matterOf(one)),
      make("div", { class: "row" }, make("span", { class: "hint" }, facts), ...(isFree ? [take()] : []))),
  };
};
const showTasks = () => {
  const sorted = [...tasks.values()].sort((one, other) => (one.state === "done") - (other.state === "done") || new Date(one.due_at) - new Date(other.due_at));
  $("recoveries").hidden = !me || !isSenior();
  fill("recovery_list", sorted.map(taskRow), "Nothing at the moment.");
  const own = sorted.filter((one) => one.conversation_id === openId);
  $("recovering").hidden = !me || !openId || !isSenior();
  fill("recovery_here", own.map(taskRow), "Nothing of this conversation.");
  conceal($("recover"), own.length > 0, $("recovering").querySelector("summary"));
};
const takeTask = async (one) => {
  const body = one.state === "open" ? { assignee_id: me.id, state: "in_progress" } : { assignee_id: me.id };
  try { await changeTask(one.id, one.version, body); say("It is yours now."); } catch (error) { say(error.message); refreshTasks(); }
};
const openTask = (one) => {
  task = one;
  showTask({ anew: $("task_sheet").dataset.of !== one.id });
  $("task_sheet").dataset.of = one.id;
  readHouse();
  showSheet("task_sheet");
};
const showTask = (how) => {
  const { score } = task, said = score && Object.entries(score).filter(([name, value]) => value !== null && name !== "comment").map(([name, value]) => `${name} ${value}`);
  $("task_title").textContent = `To make good: ${matterOf(task)}`;
  $("task_facts").textContent = joined(task.overdue && "overdue", causes[task.cause], spaced(task.state), task.done_at && `done ${when(task.done_at)}`, task.asked_at && `the customer was asked ${when(task.asked_at)}`, task.via && `known by ${spaced(task.via)}`);
  $("task_said").hidden = !score;
  $("task_said").textContent = score ? joined(...said, score.comment) : "";
  choices($("task_state"), nextStates[task.state] ?? [task.state]);
  fillForm($("task_form"), task, how);
  $("task_form").querySelector("fieldset").disabled = !isLive(task);
};
submits("task_form", async (form) => {
  const fresh = await save(form, `recovery-tasks/${task.id}`, { version: task.version, again: readTask });
  keepTask(fresh);
  $("task_sheet").close();
  say(fresh.asked_at && fresh.state === "done" ? "Done: the customer is asked whether it helped." : "Kept.");
});
$("task_matter").addEventListener("click", () => { $("task_sheet").close(); openMatter(task.conversation_id); });
submits("recover", async (form) => {
  keepTask(await call("POST", `conversations/${openId}/recovery-tasks`, { body: filledIn(form) }));
  form.reset();
  say("It is to be made good.");
});

const recoveryTold = (words) => (frame) => {
  refreshTasks();
  if (task?.id === frame.task.id && $("task_sheet").open) readTask().catch((error) => say(error.message));
  if (words && isSenior() && [null, me.id].includes(frame.task.assignee_id)) say(words);
};
Object.assign(on, {
  "recovery.opened": recoveryTold("Something is to be made good."), "recovery.updated": recoveryTold(""),
  "recovery.overdue": recoveryTold("Something should have been made good by now."),
});
rooms.push({ begin: readTasks, open: showTasks, show: showTasks, forget() { tasks.clear(); task = null; showTasks(); } });
