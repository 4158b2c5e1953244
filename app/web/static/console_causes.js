/* The agents' console: why it happened. What is written in the tree is the tree, until it is kept or what was kept is shown anew. */
"use strict";
let touched = false;
const limbs = (list) => [...list.children];
const causeBox = (cause = { text: "", root: false, because: [] }) => make("li", {},
  make("div", { class: "row" },
    make("input", { class: "cause", maxlength: "2000", autocomplete: "off", value: cause.text }),
    make("label", {}, make("input", { type: "checkbox", class: "root", checked: cause.root }), " root"),
    make("button", { type: "button", class: "plain", onclick: (event) => askWhy(event.target.closest("li")) }, "Why?"),
    make("button", { type: "button", class: "plain", onclick: (event) => cutOff(event.target.closest("li")) }, "×")),
  make("ul", {}, ...cause.because.map(causeBox)));
const numbered = (list, before = "") => limbs(list).forEach((limb, place) => {
  const path = `${before}${place + 1}`, [text, root, why, remove] = limb.firstElementChild.querySelectorAll("input, button");
  text.setAttribute("aria-label", before ? `Why: cause ${path}` : `Cause ${path}`);
  root.setAttribute("aria-label", `Cause ${path} is a root cause`);
  why.setAttribute("aria-label", `Why? Below cause ${path}`);
  remove.setAttribute("aria-label", `Remove cause ${path}`);
  numbered(limb.lastElementChild, `${path}.`);
});
const grown = (limb) => { touched = true; numbered($("causes")); limb?.querySelector("input").focus(); };
const add = (list) => { const limb = causeBox(); list.append(limb); return limb; };
const askWhy = (limb) => grown(add(limb.lastElementChild));
const cutOff = (limb) => {
  const next = limb.previousElementSibling ?? limb.nextElementSibling ?? limb.parentElement.closest("#causes li");
  limb.remove();
  grown(next);
  if (!next) $("cause_add").focus();
};
const fiveWhys = () => {
  const first = add($("causes"));
  for (let limb = first, whys = 1; whys < 5; whys++) limb = add(limb.lastElementChild);
  grown(first);
};
/* What was left empty at the ends is left out; what is empty in between the server refuses, at its place. */
const causesIn = (list) => limbs(list).map((limb) => {
  const [text, root] = limb.querySelectorAll("input");
  return { text: plainly(text.value), root: root.checked, because: causesIn(limb.lastElementChild), text_field: text };
}).filter(({ text, because }) => text || because.length);
const bare = ({ text, root, because }) => ({ text, root, because: because.map(bare) });
const boxAt = (trees, path) => {
  const [, place, ...below] = path.split(".");
  const found = trees[Number(place)];
  return below[0] === "because" ? boxAt(found.because, below.join(".")) : found?.text_field;
};

const showCauses = ({ anew = false } = {}) => {
  if (touched && !anew) return;
  touched = false;
  const stamp = JSON.stringify([record.conversation_id, record.causes]);
  if ($("causes").dataset.stamp === stamp && !anew) return;
  $("causes").dataset.stamp = stamp;
  const was = $("causes").contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  $("causes").replaceChildren(...record.causes.map(causeBox));
  numbered($("causes"));
  if (was) ($("causes").querySelector(`[aria-label="${CSS.escape(was)}"]`) ?? $("cause_add")).focus();
};
$("causes").addEventListener("input", () => { touched = true; });
$("cause_add").addEventListener("click", () => grown(add($("causes"))));
$("cause_five").addEventListener("click", fiveWhys);
submits("explaining", async (form) => {
  const trees = causesIn($("causes"));
  try {
    const fresh = await call("PUT", `complaints/${record.conversation_id}/causes`, { body: { causes: trees.map(bare) } });
    touched = false;
    keepRecord(fresh);
    say("Kept.");
  } catch (error) {
    if (!(error instanceof Refused) || !error.field?.startsWith("causes.")) throw error;
    refuse(form, error, boxAt(trees, error.field));
  }
});
