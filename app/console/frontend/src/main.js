// What pages do beside being read: times in the viewer's zone, charts, and staying up to date.
import "uplot/dist/uPlot.min.css";

import { drawCharts } from "./charts.js";
import { takeIn } from "./include.js";
import { stayLive } from "./live.js";
import { localise } from "./times.js";

localise(document);
drawCharts(document);
stayLive();
takeIn();

for (const hint of document.querySelectorAll("[data-insecure]")) {
  hint.hidden = window.isSecureContext;
}
