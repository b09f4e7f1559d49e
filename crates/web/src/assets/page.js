// Keeps the page up to date. Without it the page is right at the moment at which it was loaded.
"use strict";
(() => {
  const body = document.body;
  const QUIET = 4500; // two beats of the server and a little, ms
  let heard = Date.now();
  let note = null;

  const put = (id, html) => {
    const element = document.getElementById(id);
    if (element) element.innerHTML = html;
  };
  const nodeElement = (name) =>
    document.querySelector(`[data-node="${CSS.escape(name)}"]`);

  // Groups of large clusters bring their nodes when they are opened, and again when they change.
  const GROUPS = "details[data-group]";
  const asked = new Set();
  const load = async (group) => {
    const block = group.dataset.block;
    const part = block === undefined ? "" : "&block=" + block;
    const answer = await fetch("/nodes?group=" + encodeURIComponent(group.dataset.group) + part)
      .catch(() => null);
    if (answer?.ok) group.querySelector("ul").innerHTML = await answer.text();
  };
  const loadSoon = (group) => {
    if (asked.has(group)) return;
    asked.add(group);
    setTimeout(() => { asked.delete(group); if (group.open && group.isConnected) load(group); }, 400);
  };
  const key = (group) => group.dataset.group + "\n" + (group.dataset.block ?? "");

  const update = (change) => {
    const open = new Set([...document.querySelectorAll(GROUPS + "[open]")].map(key));
    for (const [id, html] of change.parts) {
      put(id, html);
      const group = document.getElementById(id)?.closest(GROUPS + "[open]");
      if (group) loadSoon(group);
    }
    if (change.layout)
      for (const group of document.querySelectorAll(GROUPS)) group.open = open.has(key(group));
    for (const [name, html] of change.nodes) {
      const element = nodeElement(name);
      if (element) element.outerHTML = html;
    }
    for (const name of change.gone) nodeElement(name)?.remove();
    prepare();
  };

  const span = (seconds) => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    if (s < 129600) return `${Math.round(s / 3600)} h`;
    return `${Math.round(s / 86400)} d`;
  };
  const ages = () => {
    const now = Date.now() / 1000;
    for (const time of document.querySelectorAll("time[data-since]"))
      time.textContent = span(now - Number(time.dataset.since));
    for (const time of document.querySelectorAll("time[data-until]"))
      time.textContent = span(Number(time.dataset.until) - now);
  };

  // A phone offers the names of the nodes, so that they need not be typed.
  document.querySelector("input[name=node]")?.addEventListener("focus", () => {
    const names = document.getElementById("names");
    names.replaceChildren(...[...document.querySelectorAll("[data-node]")].map((node) => {
      const option = document.createElement("option");
      option.value = node.dataset.node;
      return option;
    }));
  });

  const prepare = () => {
    for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
    ages();
  };

  document.addEventListener("toggle", (event) => {
    if (event.target.open && event.target.matches(GROUPS)) load(event.target);
  }, true);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const line = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(line);
    } catch {
      // Browsers give the clipboard to https alone; a selection is copied everywhere.
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      document.execCommand("copy");
    }
    const before = button.textContent;
    button.textContent = body.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1500);
  });

  // Plots of an hour or a day; the links are the same without this script.
  let plots = "/plots";
  const drawPlots = async () => {
    if (document.hidden) return;
    const answer = await fetch(plots).catch(() => null);
    if (answer?.ok) put("plots", await answer.text());
  };
  setInterval(drawPlots, 30000);
  const spans = document.querySelectorAll(".plots h2 a");
  for (const link of spans)
    link.addEventListener("click", (event) => {
      event.preventDefault();
      for (const other of spans) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      plots = link.getAttribute("href");
      drawPlots();
    });

  const stale = (is) => {
    body.classList.toggle("stale", is);
    if (is && !note) {
      note = document.createElement("p");
      note.className = "lost";
      note.setAttribute("role", "alert");
      note.textContent = body.dataset.stale;
      document.querySelector("header").append(note);
    } else if (!is && note) {
      note.remove();
      note = null;
    }
  };

  // A browser has six connections to a server: a page that is not seen gives its own back. One that
  // the server refused, or that slept with its phone, begins anew.
  let source = null;
  let last = body.dataset.event;
  const alive = (event) => {
    heard = Date.now();
    if (event.lastEventId) last = event.lastEventId;
    stale(false);
  };
  const listen = () => {
    source?.close();
    source = null;
    if (document.hidden) return;
    heard = Date.now();
    source = new EventSource("/live?since=" + encodeURIComponent(last));
    source.addEventListener("update", (event) => { alive(event); update(JSON.parse(event.data)); });
    source.addEventListener("beat", alive);
  };
  document.addEventListener("visibilitychange", listen);
  // Kept for the way back to this page, with its events.
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  let tried = Date.now();
  setInterval(() => {
    ages();
    if (document.hidden) return;
    if (Date.now() - heard > QUIET) stale(true);
    if (source?.readyState === EventSource.CLOSED && Date.now() - tried > QUIET) {
      tried = Date.now();
      const since = heard;
      listen();
      heard = since;
    }
  }, 250);
  listen();
  prepare();
})();
