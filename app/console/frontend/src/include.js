// Takes in parts of other pages, which take longer, once this one is there: `data-include` is the page, the id the part.
import { localise } from "./times.js";

export async function takeIn() {
  for (const place of document.querySelectorAll("[data-include][id]")) {
    try {
      const answer = await fetch(place.dataset.include, { headers: { "X-Requested-With": "include" } });
      if (!answer.ok) continue; // the link to it stays
      const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(place.id);
      if (!part) continue;
      place.replaceChildren(...part.childNodes);
      localise(place);
    } catch {
      // the link to it stays
    }
  }
}
