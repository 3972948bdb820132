// Numbers and times as people read them.

export function number(value, digits = 2) {
  return String(Number(value.toFixed(digits)));
}

export function duration(seconds) {
  if (seconds < 60) return `${number(seconds, 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
  return `${Math.round(seconds / 60)} min left`;
}
