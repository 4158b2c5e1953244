/* The agents' console: the line to the server. /desk/live for everything live, /api/v1 for what is read, and for what the
   socket has no command for. The parts share their names; the page loads this one first, and console_act.js last. */
"use strict";
const $ = (id) => document.getElementById(id);
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else if (value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};
const kept = window.sessionStorage;
const address = new URL("desk/live", location.href);
address.protocol = address.protocol.replace("http", "ws");
address.search = address.hash = "";

/* The socket: hello with the cursor, so that nothing that happened meanwhile is missed. */
let socket = null, ready = false, attempts = 0, timer = 0, beat = 0, heard = 0, number = 0;
const answers = new Map();
const unique = () => [...crypto.getRandomValues(new Uint32Array(4))].join("-");
const tab = unique();

const command = (frame) => new Promise((resolve, reject) => {
  if (!ready) return reject(new Error("There is no connection at the moment."));
  const id = `${tab}-${++number}`;
  answers.set(id, { resolve, reject });
  socket.send(JSON.stringify({ ...frame, id }));
});
const settle = (frame) => {
  const waiting = answers.get(frame.re);
  answers.delete(frame.re);
  if (frame.type !== "error") waiting?.resolve(frame);
  else if (waiting) waiting.reject(new Error(frame.detail));
  else if (ready) say(frame.detail);
};
const welcomed = (heartbeatS) => {
  ready = true;
  attempts = 0;
  clearInterval(beat);
  beat = setInterval(() => {
    if (Date.now() - heard > heartbeatS * 2500) socket.close(); else command({ type: "ping" }).catch(() => {});
  }, heartbeatS * 1000);
  $("link").textContent = "connected";
  $("link").className = "on";
};
const lost = (which, code, waitS) => {
  if (which !== socket) return;
  socket = null;
  ready = false;
  clearInterval(beat);
  for (const { reject } of answers.values()) reject(new Error("The connection was lost; please try again."));
  answers.clear();
  $("link").textContent = "offline, reconnecting";
  $("link").className = "";
  if (code === 4401) return signOut("This token is not valid.");
  timer = setTimeout(connect, 1000 * (waitS ?? Math.min(30, 0.5 * 2 ** attempts++) * (0.5 + Math.random() / 2)));
};
const connect = () => {
  clearTimeout(timer);
  const current = socket = new WebSocket(address);
  current.onopen = () => {
    heard = Date.now();
    current.send(JSON.stringify({ type: "hello", token: kept.getItem("desk.token"), cursor: kept.getItem("desk.cursor") }));
  };
  current.onmessage = (event) => {
    if (current !== socket) return;
    heard = Date.now();
    const frame = JSON.parse(event.data);
    if (Object.hasOwn(on, frame.type)) on[frame.type](frame);
    if (frame.cursor) kept.setItem("desk.cursor", frame.cursor);
  };
  current.onclose = (event) => lost(current, event.code);
};
const hangUp = () => {
  const old = socket;
  socket = null;
  ready = false;
  clearInterval(beat);
  clearTimeout(timer);
  for (const { reject } of answers.values()) reject(new Error("You have signed out."));
  answers.clear();
  old?.close();
};

/* Over HTTP. A refusal keeps the server's words, its code and the field it is about. A POST whose answer was lost is the same
   POST when it is tried again within a minute. */
class Refused extends Error {}
const unanswered = new Map();
const request = async (method, path, { body, version } = {}) => {
  const headers = { Authorization: `Bearer ${kept.getItem("desk.token")}`, Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"${version}"`;
  const text = body && JSON.stringify(body), post = method === "POST" && path + text;
  if (post) unanswered.set(post, headers["Idempotency-Key"] = unanswered.get(post) ?? unique());
  const answer = await fetch(new URL(`api/v1/${path}`, location.href), { method, headers, body: text })
    .catch(() => {
      setTimeout(() => unanswered.delete(post), 60_000);
      throw new Refused("The server cannot be reached at the moment; please try again.");
    });
  unanswered.delete(post);
  if (answer.ok) return answer;
  const { detail, code, field } = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  throw Object.assign(new Refused(detail), { code, field });
};
const call = async (...what) => (await request(...what)).json();
const read = (path) => call("GET", path);
const readAll = async (path) => {
  const items = [];
  for (let cursor = ""; cursor !== null;) {
    const page = await read(`${path}&limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
};

/* At most once in so many milliseconds, and once more after the last call. */
const seldom = (pauseMs, work) => {
  let due = 0;
  return () => { due ||= setTimeout(() => { due = 0; work(); }, pauseMs); };
};
/* Told at the bottom of the page, or in the dialog that covers it. */
let sayTimer = 0;
const say = (text) => {
  for (const place of document.querySelectorAll(".said")) place.textContent = "";
  const [sheet] = [...document.querySelectorAll("dialog[open] .said")].slice(-1);
  (sheet ?? $("said")).textContent = text;
  clearTimeout(sayTimer);
  if (text) sayTimer = setTimeout(() => say(""), 6000);
};
