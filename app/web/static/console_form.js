/* The agents' console: forms and dialogs. */
"use strict";
/* Beside each field is kept what the server last said: only what somebody changed is sent, and what they typed stays when news come. */
const lastSaid = new WeakMap();
const plainly = (text) => text.replaceAll("\r\n", "\n").trim();
const local = (time) => {
  const at = new Date(time);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};
const shownAs = (field, value) => (value === null || value === undefined ? "" : field.type === "datetime-local" ? local(value) : plainly(String(value)));
const valueIn = (field) => (field.type === "checkbox" ? String(field.checked) : plainly(field.value));
const put = (field, shown) => {
  if (field.type === "checkbox") { field.checked = shown === "true"; return; }
  const isMissing = field.tagName === "SELECT" && shown && ![...field.options].some((option) => option.value === shown);
  if (isMissing) field.append(make("option", { value: shown }, field.dataset.people ? nameOf(shown) : spaced(shown)));
  field.value = shown;
};
const sentAs = (field) => {
  if (field.type === "checkbox") return field.checked;
  const value = plainly(field.value);
  return !value ? null : field.type === "datetime-local" ? new Date(value).toISOString() : value;
};
const fieldsOf = (form) => [...form.elements].filter((field) => field.name);
const isChanged = (field) => lastSaid.has(field) && valueIn(field) !== lastSaid.get(field);
const fillForm = (form, values, { anew = false } = {}) => {
  for (const field of fieldsOf(form)) {
    const shown = shownAs(field, values[field.name]);
    if (anew || !isChanged(field)) put(field, shown);
    lastSaid.set(field, shown || (field.type === "checkbox" ? "false" : ""));
  }
};
const changesIn = (form) => Object.fromEntries(fieldsOf(form).filter(isChanged).map((field) => [field.name, sentAs(field)]));
const filledIn = (form) => Object.fromEntries(fieldsOf(form).map((field) => [field.name, sentAs(field)]).filter(([, value]) => value !== null && value !== false));
const choices = (field, words, chosen = field.value) => {
  field.replaceChildren(...words.map((word) => make("option", { value: word }, spaced(word))));
  put(field, chosen);
};

/* A refusal is told in the form, in the server's words, and at the field that it is about. */
const refusalIn = (form) => form.querySelector(".error");
const clearRefusal = (form) => {
  if (refusalIn(form)) refusalIn(form).textContent = "";
  for (const field of form.querySelectorAll("[aria-invalid]")) { field.removeAttribute("aria-invalid"); field.removeAttribute("aria-describedby"); }
};
const refuse = (form, error, field = form.elements[error.field]) => {
  if (!(error instanceof Refused)) throw error;
  refusalIn(form).textContent = error.message;
  if (!(field instanceof Element)) return;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", refusalIn(form).id);
  field.focus();
};
const submits = (id, work) => $(id).addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  clearRefusal(form);
  try { await work(form, event.submitter); } catch (error) { refuse(form, error); } finally { delete form.dataset.busy; }
});
/* Who was overtaken is shown the newest beside their own words, and saves again. */
const save = async (form, path, { version, again }) => {
  const body = changesIn(form);
  if (!Object.keys(body).length) throw new Refused("Nothing was changed.");
  try { return await call("PATCH", path, { body, version }); } catch (error) {
    if (error.code === "precondition-failed") await again();
    throw error;
  }
};

/* Dialogs: the browser keeps the focus inside; afterwards it goes back to where it was, made anew or not. */
const cameFrom = new WeakMap();
const showSheet = (id) => {
  const sheet = $(id);
  if (sheet.open) return;
  cameFrom.set(sheet, whereIs(document.activeElement));
  for (const form of sheet.querySelectorAll("form")) clearRefusal(form);
  sheet.showModal();
};
for (const sheet of document.querySelectorAll("dialog")) {
  sheet.addEventListener("close", () => {
    const where = cameFrom.get(sheet), now = document.activeElement;
    if (where && (!now || now === document.body || sheet.contains(now))) goBack(where);
  });
  sheet.querySelector("[data-close]").addEventListener("click", () => sheet.close());
}
