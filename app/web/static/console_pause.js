/* The agents' console: a conversation is parked for a while, and goes on. */
"use strict";
/* Which buttons its state allows. */
const moves = (conversation) => {
  const { status, reopen_until: until } = conversation, acts = mayAct(conversation), works = acts && isWorking(conversation);
  const isOver = status === "resolved" || (status === "closed" && until && new Date(until) > Date.now());
  return {
    hold: works && status !== "on_hold", wait: works && status !== "waiting_on_customer", snooze: works,
    resume: works && status !== "open", reopen: acts && Boolean(isOver),
  };
};
const move = (what, body, id = openId) => call("POST", `conversations/${id}/${what}`, { body });
const moving = (button, what, body, done) => $(button).addEventListener("click", async () => {
  try { await move(what, body); say(done); } catch (error) { say(error.message); }
});
moving("hold", "hold", { waiting_on_customer: false }, "On hold: its clock stands still.");
moving("wait", "hold", { waiting_on_customer: true }, "Waiting for the customer: their next message opens it.");
moving("resume", "resume", {}, "It goes on.");

/* Until when: a few times at hand, or any. */
const atNine = (days) => new Date(new Date().setHours(9, 0, 0, 0) + days * 86_400_000);
const moments = {
  hour: () => new Date(Date.now() + 3_600_000), hours: () => new Date(Date.now() + 4 * 3_600_000),
  tomorrow: () => atNine(1), monday: () => atNine((8 - new Date().getDay()) % 7 || 7),
};
for (const button of document.querySelectorAll("[data-moment]")) {
  button.addEventListener("click", () => { put($("snooze_until"), local(moments[button.dataset.moment]())); $("snooze_until").focus(); });
}
const pausing = { of: null };
const asks = (button, sheet, prepare) => $(button).addEventListener("click", () => { pausing.of = openId; prepare(); showSheet(sheet); });
asks("snooze", "snooze_sheet", () => put($("snooze_until"), local(current().snoozed_until ?? moments.hour())));
asks("reopen", "reopen_sheet", () => $("reopening").reset());
const finishes = (form, sheet, what, done) => submits(form, async (filled) => {
  await move(what, filledIn(filled), pausing.of);
  $(sheet).close();
  say(done());
});
finishes("snoozing", "snooze_sheet", "snooze", () => `Out of sight until ${when($("snooze_until").value)}, or until the customer writes.`);
finishes("reopening", "reopen_sheet", "reopen", () => "Open again.");
