// Numbers and times as people read them.

export function number(value, digits = 2) {
  return String(Number(value.toFixed(digits)));
}

export function duration(seconds) {
  const short = Number(seconds.toFixed(1)); // rounded first: there is no minute of 60 s
  if (short < 60) return `${short} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
  return `${Math.round(seconds / 60)} min left`;
}
