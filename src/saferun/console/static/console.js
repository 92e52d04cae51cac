// What the pages do with JavaScript. Without it they work too, and are not live.
"use strict";

const policy = window.trustedTypes?.createPolicy("console", { createHTML: (page) => page });

// What a one-time link brings stands behind the #, which no server and no log ever sees.
const enter = document.getElementById("enter");
if (enter && location.hash.length > 1) {
  enter.elements.code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  enter.requestSubmit();
}

// Deadlines, by the clock of the server: how much was left when the page was made.
const started = performance.now();
function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [
    Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60,
  ];
  const two = (number) => String(number).padStart(2, "0");
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  if (hours) return `${hours} h ${two(minutes)} m`;
  return minutes ? `${minutes} m ${two(rest)} s` : `${rest} s`;
}
function count() {
  for (const each of document.querySelectorAll("[data-left]")) {
    each.dataset.since ??= started;
    const left = each.dataset.left - (performance.now() - each.dataset.since) / 1000;
    const said = span(left);
    if (each.textContent !== said) each.textContent = said;
  }
}
setInterval(count, 1000);

// Lists follow what happens. A request does not change under whoever reads it: it says so.
const list = document.querySelector("[data-inbox]");
const shown = document.querySelector("[data-request]")?.dataset.request;
const stands = () => list.querySelector("[aria-current][data-moved]")?.dataset.moved;
const stood = list && stands();
let again = 0;
async function follow() {
  const turn = ++again;
  const answer = await fetch(list.dataset.inbox, { headers: { accept: "text/html" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok || turn !== again) return;
  const page = await answer.text();
  const parsed = new DOMParser().parseFromString(policy?.createHTML(page) ?? page, "text/html");
  const at = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
  list.replaceChildren(...parsed.body.childNodes);
  for (const each of list.querySelectorAll("[data-left]")) each.dataset.since = performance.now();
  if (at) [...list.querySelectorAll("a")].find((each) => each.getAttribute("href") === at)?.focus();
  // Also where it has moved while nothing was told.
  if (shown && stood !== undefined && stands() !== stood) document.getElementById("moved").hidden = false;
}
if (list) {
  let live = null;
  let soon = null;
  const say = (what) => (document.getElementById("live").textContent = what);
  const cut = () => say("Not connected: open the page again to see what is new.");
  const listen = () => {
    live = new EventSource("/live");
    live.addEventListener("moved", (event) => {
      if (event.data && event.data === shown) document.getElementById("moved").hidden = false;
      clearTimeout(soon);
      soon = setTimeout(() => follow().catch(cut), 50);
    });
    live.addEventListener("live", () =>
      follow().then(() => say("New requests appear here by themselves."), cut));
    live.addEventListener("error", cut);
  };
  // A browser has six connections to a server, for all of its pages: those that nobody sees need
  // none. Whoever comes back to one is told what they missed.
  const seen = () => {
    live?.close();
    if (!document.hidden) listen();
  };
  document.addEventListener("visibilitychange", seen);
  addEventListener("pagehide", () => live?.close());
  seen();
}

// Keys: j and k go through the list, i to the inbox, r and e open the forms.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const links = list ? [...list.querySelectorAll("a")] : [];
  if ((event.key === "j" || event.key === "k") && links.length) {
    const now = links.indexOf(document.activeElement);
    const start = links.findIndex((each) => each.hasAttribute("aria-current"));
    const from = now >= 0 ? now : start;
    const next = event.key === "j" ? from + 1 : Math.max(from, 0) - 1;
    links[Math.min(Math.max(next, 0), links.length - 1)].focus();
  } else if (event.key === "i") {
    location.assign("/");
  } else if (event.key === "r" || event.key === "e") {
    const form = document.querySelector(event.key === "r" ? "details.reject" : "details.edit");
    if (!form) return;
    form.open = true;
    form.querySelector("textarea, input:not([type=hidden]), select")?.focus();
  } else return;
  event.preventDefault();
});

// What goes on in the background is looked at again until it is over, and figures every so often:
// but never under whoever is at them, and not where nobody sees them.
for (const part of document.querySelectorAll("[data-again]")) {
  const every = Number(part.dataset.every) * 1000;
  const isBusy = () =>
    document.hidden || part.contains(document.activeElement) || !getSelection().isCollapsed;
  const look = async () => {
    if (!every || !isBusy()) await renew().catch(() => {});
    next(1000);
  };
  const renew = async () => {
    const answer = await fetch(part.dataset.again, { headers: { accept: "text/html" } });
    if (answer.redirected || answer.status === 401) return location.reload();
    if (!answer.ok || (every && isBusy())) return;
    const page = await answer.text();
    const parsed = new DOMParser().parseFromString(policy?.createHTML(page) ?? page, "text/html");
    const open = [...part.querySelectorAll("details")].map((each) => each.open);
    part.replaceChildren(...parsed.body.childNodes);
    part.querySelectorAll("details").forEach((each, at) => (each.open = open[at] ?? false));
  };
  const next = (soon) => {
    if (part.querySelector("[data-going]")) setTimeout(look, soon);
    else if (every) setTimeout(look, every);
  };
  next(500);
}

// Calls that wait for a word: a form says it in place, and the keys go from one to the next.
const waiting = [...document.querySelectorAll("[data-waiting] > li")];
for (const form of document.querySelectorAll(".waiting form.label")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const mark = event.submitter?.value;
    const said = new URLSearchParams(new FormData(form));
    said.set("mark", mark);
    said.set("part", "yes");
    const is = form.querySelector(".is");
    try {
      const answer = await fetch(form.action, { method: "POST", body: said });
      if (answer.redirected || answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(await answer.text());
      const told = await answer.json();
      form.dataset.mark = told.mark ?? "";
      is.className = `is ${{ right: "deny", false: "allow" }[told.mark] ?? "soft"}`;
      is.textContent = told.said || "nothing is said of it any more";
    } catch (problem) {
      is.className = "is deny";
      is.textContent = `It could not be said. ${problem.message}`;
    }
  });
}
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const back = document.querySelector("[data-back]");
  if (event.key === "Escape" && back) return location.assign(back.href);
  const now = waiting.findIndex((each) => each.contains(document.activeElement));
  const stand = (at) => waiting[Math.min(Math.max(at, 0), waiting.length - 1)].querySelector("a").focus();
  const mark = { "+": "right", "-": "false", "?": "none" }[event.key];
  if (!waiting.length) return;
  if (event.key === "j") stand(now + 1);
  else if (event.key === "k") stand(Math.max(now, 0) - 1);
  else if (mark && now >= 0) {
    // Held down too long, a key would say it of the next call, and the one after that.
    if (event.repeat) return;
    const button = waiting[now].querySelector(`button[value=${mark}]`);
    if (!button) return;
    button.form.requestSubmit(button);
    if (mark !== "none") stand(now + 1);
  } else return;
  event.preventDefault();
});
