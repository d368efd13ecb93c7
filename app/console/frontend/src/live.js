// Reads the page again now and then, and replaces the parts marked `data-live` that have changed.
// What somebody is using just now stays as it is: its turn comes when they have moved on.
import { drawCharts } from "./charts.js";
import { localise } from "./times.js";

const EVERY_MS = 5000;
const LONGEST_MS = 60000;
const CHARTS_EVERY = 3;

export function stayLive() {
  const parts = [...document.querySelectorAll("[data-live][id]")];
  if (parts.length === 0) return;
  const shown = new Map(parts.map((part) => [part.id, null]));
  const status = document.querySelector("[data-live-status]");
  let wait = EVERY_MS;
  let count = 0;

  const say = (text) => {
    if (status && status.textContent !== text) status.textContent = text;
  };

  async function look() {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { "X-Requested-With": "live" } });
    if (answer.status === 401) {
      say("Logged out: load the page again");
      wait = Infinity;
      return;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of shown.keys()) update(shown, id, page.getElementById(id));
    count += 1;
    if (count % CHARTS_EVERY === 0) drawCharts(document);
    wait = EVERY_MS;
    say("Live");
  }

  async function forever() {
    try {
      await look();
    } catch {
      wait = Math.min(wait * 2, LONGEST_MS);
      say("Not connected: trying again");
    }
    if (wait < Infinity) setTimeout(forever, wait);
  }

  setTimeout(forever, EVERY_MS);
  document.addEventListener("visibilitychange", () => look().catch(() => {}));
}

function update(shown, id, fresh) {
  const old = document.getElementById(id);
  if (!old || !fresh || shown.get(id) === fresh.innerHTML || isUsed(old)) return;
  shown.set(id, fresh.innerHTML);
  const open = [...old.querySelectorAll("details")].map((part) => part.open);
  const scrolled = [...old.querySelectorAll(".scroll")].map((part) => part.scrollLeft);
  old.className = fresh.className;
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll("details").forEach((part, i) => { if (i in open) part.open = open[i]; });
  old.querySelectorAll(".scroll").forEach((part, i) => { part.scrollLeft = scrolled[i] ?? 0; });
  localise(old);
}

function isUsed(part) {
  return part.contains(document.activeElement) || (part.contains(getSelection().anchorNode) && !getSelection().isCollapsed);
}
