/* The chat widget: <script src=".../static/widget.js" data-channel-id="..." async></script>
   Optional: data-lang; data-identity, a JWT of the site's backend, or empty when nobody is logged in. */
(() => {
"use strict";
const script = document.currentScript, channel = script.dataset.channelId;
if (!channel) return console.error("chat widget: data-channel-id is missing");
const address = new URL("../widget/live", script.src);
address.protocol = address.protocol.replace("http", "ws");
const chinese = /^zh/i.test(script.dataset.lang || navigator.language);
const say = Object.fromEntries(Object.entries({
  title: ["Chat with us", "在线客服"], open: ["Open the chat", "打开聊天"], close: ["Close the chat", "关闭聊天"],
  write: ["Your message", "请输入消息"], send: ["Send", "发送"], hello: ["Hello! How can we help?", "您好！请问有什么可以帮您？"],
  online: ["We are here", "我们在线"],
  offline: ["No connection, sending later", "网络已断开，稍后自动发送"],
  stopped: ["The chat is not available here", "此处无法使用在线客服"], sending: ["Sending…", "发送中…"], sent: ["Sent", "已发送"],
  failed: ["Not sent", "未发送"], typing: ["is writing…", "正在输入…"], team: ["Service", "客服"], joined: ["takes care of you", "为您服务"],
  asked: ["Is it solved?", "问题解决了吗？"], yes: ["Yes, it is solved", "已解决"], no: ["No, not solved", "未解决"],
  stars: ["How satisfied are you? (5 = very)", "您的满意度？（5 = 非常满意）"], comment: ["Anything to add?", "您还有什么想告诉我们的？"],
  thanks: ["Thank you for your answer", "感谢您的反馈"], already: ["This was answered before; the first answer counts", "此前已答复，以第一次答复为准"],
  settled: ["No answer is needed any more", "无需再答复"], choose: ["Please choose an answer first", "请先选择"],
  again: ["No connection, please try again in a moment", "网络已断开，请稍后重试"], log: ["Messages", "消息"], news: ["New message", "新消息"], file: ["Attachment", "附件"],
}).map(([key, pair]) => [key, pair[chinese ? 1 : 0]]));

/* What is kept in the browser; one that keeps nothing still chats. */
const keep = (area) => {
  const prefix = `roundtrip:${channel}:`;
  let store = {};
  try { store = window[area] || store; } catch { /* not allowed */ }
  return {
    get: (key) => store[prefix + key] ?? null,
    set(key, value) {
      if (value === null) delete store[prefix + key];
      else try { store[prefix + key] = value; } catch { /* full */ }
    },
    keys: (start) => Object.keys(store).filter((key) => key.startsWith(prefix + start)).map((key) => key.slice(prefix.length)).sort(),
  };
};
const local = keep("localStorage"), tab = keep("sessionStorage");
if (script.dataset.identity === "" && local.get("named")) for (const key of ["token", "named"]) local.set(key, null);
const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };

/* The page */
const make = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};
const CSS = `:host{all:initial}
*{box-sizing:border-box;font:15px/1.45 system-ui,"PingFang SC","Microsoft YaHei",sans-serif}
[hidden]{display:none!important}
.box{position:fixed;z-index:2147483000;right:20px;bottom:20px;color:#17212b;display:grid;justify-items:end;gap:12px}
button{cursor:pointer;border:1px solid transparent;border-radius:10px;padding:8px 14px;font-weight:600}
:focus-visible{outline:3px solid #1a56db;outline-offset:2px}
.launch{width:60px;height:60px;border-radius:50%;padding:0;box-shadow:0 6px 40px #10203047;position:relative}
.count{position:absolute;top:-4px;right:-4px;min-width:22px;border-radius:11px;background:#a3261b;font-size:13px}
.panel{width:min(370px,calc(100vw - 40px));height:min(560px,calc(100vh - 112px));background:#fff;border:1px solid transparent;border-radius:16px;overflow:hidden;display:grid;grid-template-rows:auto 1fr auto;box-shadow:0 6px 40px #10203047}
@media(max-height:480px){.panel{position:fixed;inset:4px;width:auto;height:auto}}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.head,.mine,button{background:#0b6b63;color:#fff}.head{padding:12px 8px 12px 16px;display:flex;justify-content:space-between;align-items:center}
h2,p{margin:0}h2{font-size:17px;font-weight:700}.head p,small,.info{font-size:13px}.head button{font-size:22px}
.head :focus-visible{outline-color:#fff;outline-offset:-3px}
.log{overflow-y:auto;padding:16px;background:#f1f4f6;display:flex;flex-direction:column;gap:8px}
.line{max-width:86%;padding:8px 12px;border-radius:14px;background:#fff;align-self:flex-start;border-bottom-left-radius:4px}
.line.mine{align-self:flex-end;background:#0b6b63;border-radius:14px 14px 4px}
.line p{white-space:pre-wrap;overflow-wrap:anywhere}a{color:inherit}
small,.info{color:#56636f}.mine small{color:#d7efec}.info{align-self:center;text-align:center}small[role]{color:#a3261b}
.ask{background:#fff;border:1.5px solid #0b6b63;border-radius:14px;padding:12px;display:grid;gap:10px}
fieldset{border:0;margin:0;padding:0}legend{font-weight:700;padding:0}.ask label{display:block;padding:3px 0}.stars{display:flex;gap:12px}
textarea{width:100%;resize:none;border:1.5px solid #768390;border-radius:10px;padding:8px 10px;color:inherit;background:#fff}
.bar{display:grid;grid-template-columns:1fr auto;gap:8px;padding:10px;border-top:1px solid #d9e0e6;align-items:end}`;
const status = make("p", { role: "status" }, "…");
const typing = make("p", { class: "info" });
const log = make("div", { class: "log", role: "log", tabindex: 0, "aria-label": say.log }, make("p", { class: "info" }, say.hello), typing);
const input = make("textarea", { rows: 2, maxlength: 10000, placeholder: say.write, "aria-label": say.write });
const panel = make("section", { class: "panel", role: "dialog", "aria-label": say.title, lang: chinese ? "zh-Hans" : "en" },
  make("div", { class: "head" }, make("div", {}, make("h2", {}, say.title), status), make("button", { "aria-label": say.close, onclick: () => show(false) }, "×")),
  log, make("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); write(); } }, input, make("button", {}, say.send)));
const news = make("p", { class: "unseen", role: "status", lang: panel.lang }), count = make("span", { class: "count" });
const launch = make("button", { class: "launch", "aria-label": say.open, lang: panel.lang, "aria-expanded": false, onclick: () => show(panel.hidden) }, count);
launch.insertAdjacentHTML("afterbegin", '<svg width="28" viewBox="0 0 24 24" fill="none" stroke="#fff" stroke-width="2" aria-hidden="true"><path d="M4 5h16v11H10l-5 4v-4H4z"/></svg>');
panel.hidden = typing.hidden = count.hidden = true;
panel.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); write(); }
});
let unread = 0;
const show = (open) => {
  panel.hidden = !open;
  count.hidden = true;
  unread = 0;
  news.textContent = "";
  launch.setAttribute("aria-expanded", open);
  launch.setAttribute("aria-label", open ? say.close : say.open);
  (open ? input : launch).focus();
  log.scrollTop = log.scrollHeight;
  markRead();
};
/* Lines stand in the order of the server's times; what has none yet stands last. */
const LAST = "~";
let newest = "";
const place = (element, time) => {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  element.dataset.time = time;
  if (time !== LAST && time > newest) newest = time;
  log.insertBefore(element, [...log.children].find((other) => (other.dataset.time || "") > time) || typing);
  if (atEnd) log.scrollTop = log.scrollHeight;
};
/* What stands where it belongs is not put there again: the log is read aloud. */
const keptInPlace = (element, time) => {
  if ((element.previousElementSibling.dataset.time || "") > time || (element.nextElementSibling.dataset.time || LAST) < time) return false;
  element.dataset.time = time;
  if (time !== LAST && time > newest) newest = time;
  return true;
};
const inform = (text) => place(make("p", { class: "info" }, text), newest);

/* Messages */
const shown = new Map();
let current = { top: 0, read: 0 };
const link = (href, text) => make("a", { href, target: "_blank", rel: "noopener noreferrer" }, text);
const line = (message, note) => {
  const mine = message.direction === "inbound", key = (mine && message.client_message_id) || message.id, known = shown.get(key);
  const words = message.text.split(/(https?:\/\/[^\s<>"]+)/).map((part, index) => index % 2 ? link(part, part) : part);
  const element = make("div", { class: mine ? "line mine" : "line" }, make("p", {}, ...words),
    ...(message.attachments || []).map((file) => make("p", {}, link(file.url, `${say.file}: ${file.name}`))),
    make("small", {}, note || (mine ? say.sent : message.author?.name || say.team)));
  if (known?.textContent !== element.textContent || !keptInPlace(known, message.created_at || LAST)) {
    known?.remove();
    shown.set(key, element);
    place(element, message.created_at || LAST);
  }
  if (mine && message.id) dequeue(message.client_message_id);
  if (!mine) current.top = Math.max(current.top, message.seq);
  return known;
};
const belongs = (id) => { if (id !== current.id) current = { id, top: 0, read: 0 }; };
const markRead = () => {
  if (panel.hidden || document.hidden || !ready || current.top <= current.read) return;
  current.read = current.top;
  command({ type: "conversation.read", seq: current.top });
};

/* What is not known to be stored survives a reload and is sent again under the same name. */
const write = () => {
  const text = input.value.trim(), random = crypto.getRandomValues(new Uint32Array(3)).join("-");
  if (!text) return;
  const name = `${Date.now()}-${random}`;
  local.set(`queue:${name}`, JSON.stringify({ client_message_id: name, text }));
  if (!local.get(`queue:${name}`)) return;
  input.value = "";
  tellTyping(false);
  submit(name);
};
const why = (answer) => chinese ? say.failed : `${say.failed}: ${answer.detail}`;
const dequeue = (name) => local.set(`queue:${name}`, null);
const submit = (name) => {
  const item = parsed(local.get(`queue:${name}`));
  if (!item) return dequeue(name);
  if (!shown.has(name)) line({ direction: "inbound", ...item }, say.sending);
  if (ready) command({ type: "message.send", ...item }, (answer) => {
    const foot = shown.get(name).querySelector("small");
    if (answer.type === "ok") foot.textContent = say.sent;
    else if (["rate-limited", "unavailable"].includes(answer.code)) return setTimeout(submit, 1000 * (answer.retry_after || 2), name);
    else if (answer.code === "internal-error") return;
    else foot.textContent = why(answer);
    dequeue(name);
  });
};
let typingSince = 0, typingTimer;
const tellTyping = (on) => {
  clearTimeout(typingTimer);
  if (on) typingTimer = setTimeout(tellTyping, 4000, false);
  if (!ready || !current.id || (on ? Date.now() - typingSince < 3000 : !typingSince)) return;
  typingSince = on ? Date.now() : 0;
  command({ type: "typing", on });
};
input.addEventListener("input", () => tellTyping(true));

/* The receipt's question */
let card, waiting = false;
const forget = () => {
  local.set("receipt", null);
  if (card?.contains(root.activeElement)) input.focus();
  card?.remove();
  card = null;
};
const ask = (receipt) => {
  if (!receipt || card?.dataset.id === receipt.id) return;
  forget();
  local.set("receipt", JSON.stringify(receipt));
  const radio = (name, value, label) => make("label", {}, make("input", { type: "radio", name, value }), ` ${label}`);
  const error = make("small", { role: "alert", id: "wrong" });
  const stars = make("fieldset", {}, make("legend", {}, say.stars), make("div", { class: "stars" }, ...[1, 2, 3, 4, 5].map((star) => radio("csat", star, star))));
  card = make("form", { class: "ask", "data-id": receipt.id, "aria-label": say.asked },
    make("fieldset", { "aria-describedby": "wrong" }, make("legend", {}, say.asked), radio("outcome", "confirmed", say.yes), radio("outcome", "rejected", say.no)),
    ...(receipt.survey === false ? [] : [stars]),
    make("label", {}, say.comment, make("textarea", { name: "comment", rows: 2, maxlength: 4000 })), error, make("button", {}, say.send));
  card.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = Object.fromEntries([...new FormData(card)].filter((pair) => pair[1].trim()));
    const empty = !Object.keys(answer).length;
    error.textContent = empty ? say.choose : ready ? "" : say.again;
    if (empty) card.querySelector("input").focus();
    if (empty || !ready || waiting) return;
    waiting = true;
    command({ type: "feedback.submit", receipt_id: receipt.id, about: "result", ...answer }, (result) => {
      waiting = false;
      const already = result.code === "already-answered";
      if (result.type !== "ok" && !already) { error.textContent = why(result); return; }
      forget();
      inform(already ? say.already : say.thanks);
    });
  });
  place(card, LAST);
};

/* The socket */
let socket, ready = false, stopped = false, attempts = 0, timer, beat, heard, number = 0, cursor = tab.get("cursor");
const answers = new Map();
const command = (frame, then) => {
  answers.set(`c${++number}`, then);
  socket.send(JSON.stringify({ ...frame, id: `c${number}` }));
};
const settle = (frame) => { answers.get(frame.re)?.(frame); answers.delete(frame.re); };
const on = {
  ok: settle, error: settle, pong: settle,
  welcome(frame) {
    const before = local.get("token");
    if (before && before !== frame.visitor_token) for (const key of local.keys("queue:")) dequeue(key.slice(6));
    local.set("token", frame.visitor_token);
    if (script.dataset.identity) local.set("named", 1);
    delete script.dataset.identity; // the token is enough now
    clearInterval(beat);
    ready = true;
    attempts = 0;
    status.textContent = say.online;
    beat = setInterval(() => Date.now() - heard > frame.heartbeat_s * 2500 ? socket.close() : command({ type: "ping" }), frame.heartbeat_s * 1000);
    if (frame.conversation) {
      belongs(frame.conversation.id);
      for (const message of frame.conversation.messages || []) line(message);
    }
    if (frame.conversation?.status === "resolved") ask(parsed(local.get("receipt"))); else forget();
    markRead();
    for (const key of local.keys("queue:")) submit(key.slice(6));
  },
  "message.created"({ message, conversation_id }) {
    belongs(conversation_id);
    if (line(message) || message.direction !== "outbound") return;
    typing.hidden = true;
    markRead();
    if (!panel.hidden) return;
    count.textContent = ++unread;
    count.hidden = false;
    launch.setAttribute("aria-label", `${say.open} (${unread})`);
    news.textContent = `${say.news} (${unread})`;
  },
  "conversation.updated"(frame) {
    if (frame.conversation.status === "resolved") return;
    if (card && !waiting) inform(say.settled);
    forget();
  },
  "agent.joined"(frame) { inform(`${frame.agent.name} ${say.joined}`); },
  "feedback.requested"(frame) { ask(frame.receipt); },
  typing(frame) {
    typing.textContent = `${frame.author?.name || say.team} ${say.typing}`;
    typing.hidden = !frame.on;
    clearTimeout(typing.timer);
    typing.timer = setTimeout(() => { typing.hidden = true; }, 6000);
  },
  resync_required() { tab.set("cursor", cursor = null); },
  draining(frame) { lost(socket, frame.reconnect_in_s * (1 + Math.random())); },
};
const lost = (which, wait) => {
  if (which !== socket) return;
  socket = null;
  ready = waiting = false;
  clearInterval(beat);
  answers.clear();
  status.textContent = stopped ? say.stopped : say.offline;
  if (!stopped) timer = setTimeout(connect, 1000 * (wait ?? Math.min(30, 0.5 * 2 ** attempts++) * (0.5 + Math.random() / 2)));
};
const connect = () => {
  clearTimeout(timer);
  const mine = socket = new WebSocket(address);
  mine.onopen = () => {
    heard = Date.now();
    mine.send(JSON.stringify({ type: "hello", channel_id: channel, visitor_token: local.get("token"), identity: script.dataset.identity, cursor }));
  };
  mine.onmessage = (event) => {
    if (mine !== socket) return;
    heard = Date.now();
    const frame = JSON.parse(event.data);
    on[frame.type]?.(frame);
    if (frame.cursor) tab.set("cursor", cursor = frame.cursor);
  };
  mine.onclose = (event) => { stopped = event.code === 4401; lost(mine); };
};
const hurry = () => { if (!socket && !stopped) connect(); };
addEventListener("online", hurry);
document.addEventListener("visibilitychange", () => { markRead(); if (!document.hidden) hurry(); });

const host = make("div", {}), root = host.attachShadow({ mode: "open" }), sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);
root.adoptedStyleSheets = [sheet];
root.append(make("div", { class: "box" }, panel, launch, news));
const mount = () => { document.body.append(host); connect(); };
document.body ? mount() : addEventListener("DOMContentLoaded", mount);
})();
