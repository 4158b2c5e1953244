/* The agents' console: the register of complaints, with its figures and the table to take away. */
"use strict";
const register = { items: [], cursor: null, asked: 0 };
const PAGE = 50;
/* A day begins at midnight here, and the last one counts too. */
const midnight = (day, later = 0) => { const at = new Date(`${day}T00:00`); at.setDate(at.getDate() + later); return at.toISOString(); };
const days = { from: (day) => midnight(day), to: (day) => midnight(day, 1) };
const wantedIn = (form) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filledIn(form))) query.set(name, days[name]?.(value) ?? value);
  return query;
};
const readRegister = async ({ more = false } = {}) => {
  const asked = ++register.asked, query = wantedIn($("filter"));
  query.set("limit", Math.min(200, more ? PAGE : Math.max(PAGE, register.items.length)));
  if (more) query.set("cursor", register.cursor);
  try {
    const by = $("figure_by").value, figures = new URLSearchParams(wantedIn($("filter")));
    figures.set("by", by);
    const [page, counted] = await Promise.all([read(`complaints?${query}`), isSenior() ? read(`complaints/statistics?${figures}`) : null]);
    if (asked !== register.asked || !me) return;
    register.items = more ? [...register.items, ...page.items] : page.items;
    register.cursor = page.next_cursor;
    clearRefusal($("filter"));
    showRegister(counted);
  } catch (error) { if (asked === register.asked && me) refuse($("filter"), error); }
};
const refreshRegister = seldom(500, () => { if (me && registering && !openId) readRegister(); });

const complaintRow = (one) => {
  const cells = [when(one.registered_at), one.type && spaced(one.type), one.severity, spaced(one.progress), cut(one.what ?? one.subject ?? "", 120), one.anonymous ? "anonymous" : one.complainant?.name, one.assignee_id ? nameOf(one.assignee_id) : "nobody"];
  const link = () => make("button", { class: "bare", onclick: () => openMatter(one.conversation_id) }, one.number);
  return { key: one.conversation_id, says: cells, make: () => make("tr", {}, make("th", { scope: "row" }, link()), ...cells.map((cell) => make("td", {}, cell ?? ""))) };
};
const figureName = (value) => (value === null ? "not known" : typeof value === "object" ? value.name ?? "a colleague" : spaced(String(value)));
const showRegister = (counted) => {
  fill("register_rows", register.items.map(complaintRow));
  $("register_none").hidden = register.items.length > 0;
  $("register_more").hidden = !register.cursor;
  $("figures").hidden = $("taking").hidden = !isSenior();
  if (!counted) return;
  fill("figure_rows", counted.items.map((one) => ({ key: JSON.stringify(one.value), says: one, make: () => make("tr", {}, make("th", { scope: "row" }, figureName(one.value)), make("td", {}, String(one.complaints)), make("td", {}, String(one.closed))) })));
  $("figure_total").textContent = `${counted.total} in all`;
};
const takeTable = async (format) => {
  const query = wantedIn($("filter"));
  query.set("format", format);
  try {
    const href = URL.createObjectURL(await (await request("GET", `complaints/export?${query}`)).blob());
    make("a", { href, download: `complaints.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) { refuse($("filter"), error); }
};

const leaveRegister = () => { registering = false; showOpener(); if (!openId) showPlace(); };
const showOpener = () => $("complaints").setAttribute("aria-expanded", String(registering && !openId));
const openRegister = () => {
  registering = true;
  show(null);
  showOpener();
  readHouse();
  readRegister();
  $("register_title").focus();
};
$("complaints").addEventListener("click", () => { if (registering && !openId) leaveRegister(); else openRegister(); });
$("register_close").addEventListener("click", () => { leaveRegister(); $("complaints").focus(); });
$("register_more").addEventListener("click", () => readRegister({ more: true }));
$("filter").addEventListener("input", seldom(300, () => { register.items = []; readRegister(); }));
$("filter").addEventListener("submit", (event) => { event.preventDefault(); readRegister(); });
$("figure_by").addEventListener("change", () => readRegister());
for (const button of document.querySelectorAll("[data-format]")) button.addEventListener("click", () => takeTable(button.dataset.format));
rooms.push({
  begin: refreshRegister, open() { showOpener(); refreshRegister(); },
  hear(conversation) { if (conversation.matter === "complaint") refreshRegister(); },
  show() { if (registering && !openId) showRegister(null); },
  forget() { Object.assign(register, { items: [], cursor: null }); register.asked++; $("register_rows").replaceChildren(); $("figure_rows").replaceChildren(); $("filter").reset(); },
});
