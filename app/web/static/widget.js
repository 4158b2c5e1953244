/* The chat widget: <script src=".../static/widget.js" data-channel-id="..." async></script>. Speaks /widget/live, version 1. */
(() => {
  "use strict";
  const script = document.currentScript;
  const channel = script && script.dataset.channelId;
  if (!channel) return console.error("chat widget: data-channel-id is missing");
  const address = new URL("../widget/live", script.src);
  address.protocol = address.protocol.replace("http", "ws");
  address.search = "";

  const ENGLISH = {
    title: "Chat with us", open: "Open the chat", close: "Close the chat", write: "Your message", send: "Send",
    hello: "Hello! How can we help?", connecting: "Connecting…", online: "We are here", offline: "No connection. What you write is sent as soon as there is one.",
    stopped: "The chat is not available here.", sending: "Sending…", sent: "Sent", failed: "Not sent", typing: "is writing…", team: "Service",
    joined: "takes care of you.", asked: "Is it solved?", yes: "Yes, it is solved", no: "No, not solved", satisfied: "How satisfied are you?",
    rate: "5 = very, 1 = not at all", comment: "Anything you want to add?", answer: "Send my answer", thanks: "Thank you for your answer.", unread: "new messages",
    file: "Attachment",
  };
  const CHINESE = {
    title: "在线客服", open: "打开聊天", close: "关闭聊天", write: "请输入消息", send: "发送",
    hello: "您好！请问有什么可以帮您？", connecting: "正在连接…", online: "我们在线", offline: "网络已断开，恢复后会自动发送您的消息。",
    stopped: "此处无法使用在线客服。", sending: "发送中…", sent: "已发送", failed: "未发送", typing: "正在输入…", team: "客服",
    joined: "为您服务。", asked: "问题解决了吗？", yes: "已解决", no: "未解决", satisfied: "您的满意度？",
    rate: "5 = 非常满意，1 = 很不满意", comment: "您还有什么想告诉我们的？", answer: "提交", thanks: "感谢您的反馈。", unread: "条新消息",
    file: "附件",
  };
  const chinese = /^zh/i.test(script.dataset.lang || navigator.language || "");
  const say = chinese ? CHINESE : ENGLISH;

  /* What is kept in the browser; a browser that keeps nothing still chats. */
  const keep = (area) => {
    const memory = new Map(), prefix = `roundtrip:${channel}:`;
    const real = () => { try { return window[area]; } catch { return null; } };
    return {
      get: (key) => { try { return real().getItem(prefix + key); } catch { return memory.get(key) ?? null; } },
      set: (key, value) => {
        memory.set(key, value);
        try { value === null ? real().removeItem(prefix + key) : real().setItem(prefix + key, value); } catch { /* in memory */ }
        if (value === null) memory.delete(key);
      },
      keys: (start) => {
        let names = [...memory.keys()];
        try { names = Object.keys(real()).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length)); } catch { /* in memory */ }
        return names.filter((name) => name.startsWith(start)).sort();
      },
    };
  };
  const local = keep("localStorage"), tab = keep("sessionStorage");
  const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };
  const random = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  /* The page */
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };
  const CSS = `
    :host { all: initial; --accent: #0b6b63; --ink: #17212b; --soft: #56636f; --line: #d9e0e6; --ground: #f1f4f6; --focus: #1a56db; }
    * { box-sizing: border-box; font: 15px/1.45 system-ui, "Segoe UI", Roboto, "PingFang SC", "Microsoft YaHei", sans-serif; }
    [hidden] { display: none !important; }
    .box { position: fixed; z-index: 2147483000; right: 20px; bottom: 20px; color: var(--ink); display: grid; justify-items: end; gap: 12px; }
    button { cursor: pointer; border: 0; border-radius: 10px; background: var(--accent); color: #fff; padding: 8px 14px; font-weight: 600; }
    :focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
    .launch { width: 60px; height: 60px; border-radius: 50%; padding: 0; box-shadow: 0 6px 20px rgb(16 32 48 / 30%); position: relative; }
    .launch svg { width: 28px; height: 28px; vertical-align: middle; }
    .count { position: absolute; top: -4px; right: -4px; min-width: 22px; padding: 0 6px; border-radius: 11px; background: #a3261b; font-size: 13px; line-height: 22px; }
    .panel { width: min(370px, calc(100vw - 24px)); height: min(560px, calc(100vh - 120px)); background: #fff; border-radius: 16px; overflow: hidden;
      display: grid; grid-template-rows: auto 1fr auto; box-shadow: 0 12px 48px rgb(16 32 48 / 28%); }
    header { background: var(--accent); color: #fff; padding: 12px 8px 12px 16px; display: flex; justify-content: space-between; align-items: center; }
    header h2 { margin: 0; font-size: 17px; font-weight: 700; } header p { margin: 0; font-size: 13px; }
    header button { font-size: 22px; line-height: 1; padding: 6px 12px; } header :focus-visible { outline-color: #fff; outline-offset: -3px; }
    .log { overflow-y: auto; padding: 16px; background: var(--ground); display: flex; flex-direction: column; gap: 8px; overscroll-behavior: contain; }
    .line { max-width: 86%; padding: 8px 12px; border-radius: 14px; background: #fff; align-self: flex-start; border-bottom-left-radius: 4px; }
    .mine { align-self: flex-end; background: var(--accent); color: #fff; border-bottom-left-radius: 14px; border-bottom-right-radius: 4px; }
    .line p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; } .line a { color: inherit; }
    .line small, .info { font-size: 12px; color: var(--soft); } .mine small { color: #d7efec; } .info { align-self: center; margin: 0; text-align: center; }
    .ask { align-self: stretch; background: #fff; border: 1.5px solid var(--accent); border-radius: 14px; padding: 12px; display: grid; gap: 10px; }
    fieldset { border: 0; margin: 0; padding: 0; } legend { font-weight: 700; padding: 0 0 4px; } .ask label { display: block; padding: 3px 0; }
    .stars { display: flex; gap: 12px; } .ask small { color: var(--soft); font-size: 12px; }
    textarea { width: 100%; resize: none; border: 1.5px solid #8a97a3; border-radius: 10px; padding: 8px 10px; color: inherit; background: #fff; }
    .bar { display: grid; grid-template-columns: 1fr auto; gap: 8px; padding: 10px; border-top: 1px solid var(--line); align-items: end; }
    .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }`;
  const status = make("p", { role: "status" }, say.connecting);
  const log = make("div", { class: "log", role: "log", tabindex: "0", "aria-label": say.title });
  const typing = make("p", { class: "info", hidden: true });
  const input = make("textarea", { rows: "2", maxlength: "10000", id: "text", placeholder: say.write });
  const panel = make("section", { class: "panel", role: "dialog", "aria-label": say.title, hidden: true, lang: chinese ? "zh-Hans" : "en" },
    make("header", {}, make("div", {}, make("h2", {}, say.title), status), make("button", { type: "button", "aria-label": say.close, onclick: () => show(false) }, "×")),
    log,
    make("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); write(); } },
      make("div", {}, make("label", { class: "unseen", for: "text" }, say.write), input), make("button", {}, say.send)));
  const count = make("span", { class: "count", hidden: true });
  const launch = make("button", { class: "launch", type: "button", "aria-label": say.open, "aria-expanded": "false", onclick: () => show(panel.hidden) }, count);
  launch.insertAdjacentHTML("afterbegin", '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" aria-hidden="true"><path d="M4 5h16v11H10l-5 4v-4H4z"/></svg>');
  log.append(make("p", { class: "info" }, say.hello), typing);
  panel.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) { event.preventDefault(); write(); }
  });

  let unread = 0;
  const show = (on) => {
    panel.hidden = !on;
    launch.setAttribute("aria-expanded", String(on));
    launch.setAttribute("aria-label", on ? say.close : say.open);
    count.hidden = true;
    unread = 0;
    if (on) { input.focus(); log.scrollTop = log.scrollHeight; markRead(); } else launch.focus();
  };
  const place = (element, time) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    element.dataset.time = time;
    const next = [...log.children].find((other) => (other.dataset.time || "") > time) || typing;
    log.insertBefore(element, next);
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const linked = (text) => text.split(/(https?:\/\/[^\s<>"]+)/).map((part, index) =>
    index % 2 ? make("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part) : part);

  /* Messages */
  const shown = new Map();
  const LAST = "~";
  const line = (message, note) => {
    const mine = message.direction === "inbound", key = (mine && message.client_message_id) || message.id;
    const known = shown.get(key);
    const files = (message.attachments || []).map((file) => make("p", {}, `${say.file}: ${file.name}`));
    const foot = make("small", {}, note || (mine ? say.sent : (message.author && message.author.name) || say.team));
    const element = make("div", { class: mine ? "line mine" : "line" }, make("p", {}, ...linked(message.text || "")), ...files, foot);
    if (known) known.remove();
    shown.set(key, element);
    place(element, message.created_at || LAST);
    return known;
  };
  const arrived = (message, conversation) => {
    if (conversation !== current.id) current = { id: conversation, top: 0, read: 0 };
    if (message.direction === "inbound") dequeue(message.client_message_id);
    if (line(message) || message.direction !== "outbound") return;
    typing.hidden = true;
    current.top = Math.max(current.top, message.seq || 0);
    markRead();
    if (panel.hidden) { count.textContent = ++unread; count.hidden = false; launch.setAttribute("aria-label", `${say.open}: ${unread} ${say.unread}`); }
  };
  let current = { id: null, top: 0, read: 0 };
  const markRead = () => {
    if (panel.hidden || document.hidden || current.top <= current.read || !ready) return;
    current.read = current.top;
    command({ type: "conversation.read", seq: current.top });
  };
  document.addEventListener("visibilitychange", () => { markRead(); if (!document.hidden) hurry(); });

  /* What was written and is not known to be stored: it survives a reload and is sent again under the same name. */
  const write = () => {
    const text = input.value.trim();
    if (!text) return;
    const name = `${Date.now()}-${random()}`;
    local.set(`queue:${name}`, JSON.stringify({ client_message_id: name, text }));
    input.value = "";
    tellTyping(false);
    line({ direction: "inbound", client_message_id: name, text }, say.sending);
    submit(name);
  };
  const dequeue = (name) => { if (name) local.set(`queue:${name}`, null); };
  const submit = (name) => {
    const item = parsed(local.get(`queue:${name}`));
    if (!ready || !item) return;
    command({ type: "message.send", ...item }, (answer) => {
      const pending = shown.get(name), foot = pending && pending.querySelector("small");
      if (answer.type === "ok") { dequeue(name); if (foot) foot.textContent = say.sent; return; }
      if (answer.code === "rate-limited" || answer.code === "unavailable") return void setTimeout(submit, 1000 * (answer.retry_after || 2), name);
      if (answer.code === "internal-error") return;
      dequeue(name);
      if (foot) foot.textContent = `${say.failed}: ${answer.detail}`;
    });
  };
  const flush = () => {
    for (const key of local.keys("queue:")) {
      const name = key.slice(6), item = parsed(local.get(key));
      if (!item) { local.set(key, null); continue; }
      if (!shown.has(name)) line({ direction: "inbound", client_message_id: name, text: item.text }, say.sending);
      submit(name);
    }
  };
  let typingSince = 0, typingTimer = 0;
  const tellTyping = (on) => {
    clearTimeout(typingTimer);
    if (on) typingTimer = setTimeout(tellTyping, 4000, false);
    if (!ready || !current.id || (on ? Date.now() - typingSince < 3000 : !typingSince)) return;
    typingSince = on ? Date.now() : 0;
    command({ type: "typing", on });
  };
  input.addEventListener("input", () => tellTyping(true));

  /* The receipt's question */
  let card = null;
  const forget = () => { local.set("receipt", null); if (card) { card.remove(); card = null; } };
  const ask = (receipt) => {
    if (!receipt || (card && card.dataset.id === receipt.id)) return;
    forget();
    local.set("receipt", JSON.stringify(receipt));
    const radio = (name, value, label) => make("label", {}, make("input", { type: "radio", name, value, required: name === "outcome" }), ` ${label}`);
    const error = make("small", { role: "alert" });
    card = make("form", { class: "ask", "data-id": receipt.id },
      make("fieldset", {}, make("legend", {}, say.asked), radio("outcome", "confirmed", say.yes), radio("outcome", "rejected", say.no)),
      make("fieldset", {}, make("legend", {}, say.satisfied), make("div", { class: "stars" }, ...["1", "2", "3", "4", "5"].map((star) => radio("csat", star, star))), make("small", {}, say.rate)),
      make("label", {}, say.comment, make("textarea", { name: "comment", rows: "2", maxlength: "4000" })), error, make("button", {}, say.answer));
    card.addEventListener("submit", (event) => {
      event.preventDefault();
      const form = new FormData(event.target), answer = {};
      for (const [name, value] of form) if (value) answer[name] = name === "csat" ? Number(value) : value;
      if (!ready) { error.textContent = say.offline; return; }
      command({ type: "feedback.submit", receipt_id: receipt.id, ...answer }, (result) => {
        if (result.type !== "ok" && result.code !== "already-answered") { error.textContent = result.detail; return; }
        forget();
        place(make("p", { class: "info" }, result.type === "ok" ? say.thanks : result.detail), LAST);
      });
    });
    place(card, LAST);
  };

  /* The socket */
  let socket = null, ready = false, stopped = false, attempts = 0, timer = 0, beat = 0, heard = 0, number = 0, cursor = tab.get("cursor"), refused = false;
  const answers = new Map();
  const command = (frame, then) => {
    const id = `c${++number}`;
    if (then) answers.set(id, then);
    socket.send(JSON.stringify({ ...frame, id }));
  };
  const hurry = () => { if (!socket && !stopped) { clearTimeout(timer); connect(); } };
  const later = (seconds) => { clearTimeout(timer); timer = setTimeout(connect, seconds * 1000); };
  const on = {
    welcome(frame) {
      local.set("token", frame.visitor_token);
      ready = true; attempts = 0; refused = false;
      status.textContent = say.online;
      clearInterval(beat);
      beat = setInterval(() => {
        if (Date.now() - heard > frame.heartbeat_s * 2500) socket.close(); else command({ type: "ping" });
      }, frame.heartbeat_s * 1000);
      const conversation = frame.conversation;
      if (conversation) {
        if (conversation.id !== current.id) current = { id: conversation.id, top: 0, read: 0 };
        for (const message of conversation.messages || []) {
          line(message);
          if (message.direction === "inbound") dequeue(message.client_message_id); else current.top = Math.max(current.top, message.seq);
        }
      }
      if (conversation && conversation.status === "resolved") ask(parsed(local.get("receipt"))); else forget();
      markRead();
      flush();
    },
    "message.created"(frame) { arrived(frame.message, frame.conversation_id); },
    "conversation.updated"(frame) { if (frame.conversation.status !== "resolved") forget(); },
    "agent.joined"(frame) { place(make("p", { class: "info" }, `${frame.agent.name} ${say.joined}`), LAST); },
    "feedback.requested"(frame) { ask(frame.receipt); },
    typing(frame) {
      typing.textContent = `${(frame.author && frame.author.name) || say.team} ${say.typing}`;
      typing.hidden = !frame.on;
      clearTimeout(typing.timer);
      typing.timer = setTimeout(() => { typing.hidden = true; }, 6000);
    },
    resync_required() { cursor = null; tab.set("cursor", null); },
    draining(frame) { attempts = 0; const old = socket; lost(old, frame.reconnect_in_s * (1 + Math.random())); old.close(); },
    ok: settle, error: settle,
  };
  function settle(frame) {
    const then = answers.get(frame.re);
    answers.delete(frame.re);
    if (then) then(frame);
    else if (frame.type === "error" && !ready && ["origin-not-allowed", "not-found", "forbidden"].includes(frame.code)) stop();
  }
  function stop() { stopped = true; status.textContent = say.stopped; input.disabled = true; }
  function lost(which, wait) {
    if (which !== socket) return;
    socket = null; ready = false;
    clearInterval(beat);
    answers.clear();
    if (stopped) return;
    status.textContent = say.offline;
    later(wait ?? Math.min(30, 0.5 * 2 ** attempts++) * (0.5 + Math.random() / 2));
  }
  function connect() {
    const mine = new WebSocket(address);
    socket = mine;
    mine.onopen = () => {
      heard = Date.now();
      const hello = { type: "hello", channel_id: channel, visitor_token: local.get("token"), cursor };
      if (script.dataset.identity) hello.identity = script.dataset.identity;
      mine.send(JSON.stringify(hello));
    };
    mine.onmessage = (event) => {
      if (mine !== socket) return;
      heard = Date.now();
      const frame = parsed(event.data);
      if (!frame) return;
      (Object.hasOwn(on, frame.type) ? on[frame.type] : () => {})(frame);
      if (frame.cursor) { cursor = frame.cursor; tab.set("cursor", cursor); }
    };
    mine.onclose = (event) => {
      if (event.code === 4401 && mine === socket) {
        if (refused || !local.get("token")) stop();
        refused = true; cursor = null; local.set("token", null); tab.set("cursor", null);
      }
      lost(mine);
    };
  }
  window.addEventListener("online", hurry);

  const host = make("div");
  const root = host.attachShadow({ mode: "open" });
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
    root.adoptedStyleSheets = [sheet];
  } catch {
    root.append(make("style", {}, CSS));
  }
  root.append(make("div", { class: "box" }, panel, launch));
  const mount = () => { document.body.append(host); connect(); };
  document.body ? mount() : document.addEventListener("DOMContentLoaded", mount);
})();
