
"use strict";
const search = document.getElementById("search");
const all = [...document.querySelectorAll("details")];
function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const one of all) {
    const text = one.dataset.words + " " + one.querySelector("summary").textContent.toLowerCase();
    one.hidden = !words.every((word) => text.includes(word));
    count += !one.hidden;
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
  document.getElementById("found").textContent = words.length ? count + " found" : "";
}
function open() {
  const one = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (one && one.tagName === "DETAILS") { one.open = true; one.scrollIntoView(); }
}
search.addEventListener("input", show);
addEventListener("hashchange", () => { search.value = ""; show(); open(); });
show();
open();
