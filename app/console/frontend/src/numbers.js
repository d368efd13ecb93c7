// Sensible digits, as app/console/formats.py has them.
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return (Math.abs(value) >= 1e4 ? compact : three).format(value).replace("-", "−");
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${three.format(Math.round(value * 1000) / 10)} %`;
}
