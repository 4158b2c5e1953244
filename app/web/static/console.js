/* The agents' console, 1 of 4: the line to the server. /desk/live for everything live, /api/v1 for what is read once.
   The four parts share their names; the page loads them in this order. */
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

const read = async (path) => {
  const answer = await fetch(new URL(`api/v1/${path}`, location.href), {
    headers: { Authorization: `Bearer ${kept.getItem("desk.token")}`, Accept: "application/json" },
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  return body;
};
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
let sayTimer = 0;
const say = (text) => {
  $("said").textContent = text;
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => { $("said").textContent = ""; }, 6000);
};
