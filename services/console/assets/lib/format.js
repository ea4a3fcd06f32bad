// Figures and times as people read them, by their browser's language.

const number = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const points = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));
export const compact = (value) => (value === null || value === undefined ? "–" : short.format(value));
export const time = (ms) => clock.format(new Date(ms));
export const moment = (ms) => day.format(new Date(ms));
export const volume = (hundredths) => points.format(Number(hundredths) / 100);

// An amount as the API has it, such as "1234.50".
export const amount = (text) => points.format(Number(text));

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${value.toFixed(at && value < 10 ? 1 : 0)} ${units[at]}`;
}

export function age(ms) {
  const s = Math.max(ms, 0) / 1000;
  if (s < 2) return "just now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} days ago`;
}

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
