// From a clip to before and after: what is shown when, and what is asked of the server.

import { Player, loaded } from "./player.js";
import { duration, left, number } from "./words.js";

const LOOKS = 500; // milliseconds between two questions about a job
const SECTIONS = ["choose", "setup", "work", "result"];
const at = (id) => document.getElementById(id);
const parts = (...ids) => Object.fromEntries(ids.map((id) => [id, at(id)]));
const player = new Player({ ...parts("before", "after", "stage", "handle", "seek", "clock", "kind", "play"), figure: at("player") });
let choices = null; // what the server offers
let clip = null; // what was sent
let shown = null; // of which the settings are shown
let plays = Promise.resolve(true); // whether the browser can show it as it is
let job = null;
let upload = null;
let turn = 0; // answers to earlier questions are dropped

function show(name) {
  for (const one of SECTIONS) at(one).hidden = one !== name;
  document.body.classList.toggle("begun", name !== "choose");
  delete at("player").dataset.ready;
  if (name !== "result") player.close();
  if (name !== "setup") at("original").pause();
}

function say(text) {
  at("error").textContent = text;
  at("error").hidden = !text;
  if (text) at("error").scrollIntoView({ block: "nearest" });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, options);
  } catch {
    throw new Error("The server does not answer. Is midframe serve still running?");
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error || `The server says ${answer.status}.`);
  return told;
}

function notes(id, lines) {
  at(id).replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
}

// --- choosing ---

function restart() {
  turn += 1;
  upload?.abort();
  upload = clip = job = null;
  history.replaceState(null, "", location.pathname);
  at("file").value = "";
  say("");
  show("choose");
}

function send(file) {
  if (choices === null || file === undefined) return;
  restart();
  if (file.size > choices.limits.bytes) {
    say(`The clip is larger than ${Math.round(choices.limits.bytes / 1e6)} MB, the limit of this page.`);
    return;
  }
  const mine = turn;
  upload = new XMLHttpRequest();
  upload.open("POST", `api/clips?name=${encodeURIComponent(file.name)}`);
  upload.upload.onprogress = (event) => {
    working("Receiving the clip", event.loaded / event.total, `${Math.round(event.loaded / 1e6)} of ${Math.round(event.total / 1e6)} MB`);
  };
  upload.upload.onload = () => working("Looking at the clip");
  upload.onload = () => {
    let told = {};
    try {
      told = JSON.parse(upload.responseText);
    } catch { /* the status says enough */ }
    const { status } = upload;
    upload = null;
    if (mine !== turn) return;
    if (status === 201) setup(told);
    else fail(told.error || `The server says ${status}.`);
  };
  upload.onerror = () => mine === turn && fail("The clip could not be sent. Is midframe serve still running?");
  working("Receiving the clip", 0);
  at("work-title").focus();
  upload.send(file);
}

function fail(text) {
  upload = job = null; // so that another clip may be dropped
  back();
  say(text);
}

// --- settings ---

async function setup(told) {
  clip = shown = told;
  at("setup-title").textContent = clip.name;
  const rate = clip.even ? `${number(clip.fps)} frames a second` : `about ${number(clip.fps)} frames a second, uneven`;
  at("facts").textContent = `${clip.width} × ${clip.height}, ${rate}, ${duration(clip.seconds)}`;
  notes("clip-notes", clip.notes);
  outcome();
  show("setup");
  at("original").hidden = false;
  at("unshown").hidden = true;
  at("original").src = `api/clips/${clip.id}/file`;
  at("setup-title").focus({ preventScroll: true });
  plays = loaded(at("original"));
  const can = await plays;
  if (shown !== told) return;
  at("original").hidden = !can;
  at("unshown").hidden = can;
}

function back() {
  if (clip !== null && shown?.id !== clip.id) setup(clip); // the page was loaded anew meanwhile
  else show(clip === null ? "choose" : "setup");
}

function settings() {
  const data = new FormData(at("form"));
  return { model: at("model").value, factor: Number(data.get("factor")), slow: data.get("slow") === "slow" };
}

function outcome() {
  const { model, factor, slow } = settings();
  const chosen = choices.models.find((one) => one.key === model);
  at("model-note").textContent = chosen ? chosen.note : "";
  if (clip === null) return;
  const rate = number(clip.fps * (slow ? 1 : factor));
  const time = duration(clip.seconds * (slow ? factor : 1));
  at("outcome").textContent = slow
    ? `${factor} times slower: ${time} instead of ${duration(clip.seconds)}, at ${rate} frames a second, without sound.`
    : `${rate} frames a second instead of ${number(clip.fps)}, ${time} as before.`;
}

async function start(event) {
  event.preventDefault();
  if (at("make").disabled) return;
  say("");
  const mine = turn;
  at("make").disabled = true; // a second press would start another job, which nobody sees
  const asked = { clip: clip.id, ...settings() };
  let begun;
  try {
    asked.preview = !(await plays);
    if (mine !== turn) return;
    begun = await ask("jobs", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
    });
  } catch (error) {
    if (mine === turn) say(error.message);
    return;
  } finally {
    at("make").disabled = false;
  }
  if (mine !== turn) return end(begun); // another clip was wanted meanwhile
  job = begun;
  history.replaceState(null, "", `#${job.id}`);
  working("Starting");
  at("work-title").focus();
  follow();
}

// --- working ---

function working(title, share = null, text = "") {
  if (at("work").hidden) show("work");
  if (at("work-title").textContent !== title) at("work-title").textContent = title;
  if (share === null) at("progress").removeAttribute("value");
  else at("progress").value = share;
  at("work-facts").textContent = text || " ";
}

async function follow() {
  turn += 1;
  const mine = turn;
  while (mine === turn) {
    try {
      const told = await ask(`jobs/${job.id}`);
      if (mine !== turn) return;
      job = told;
    } catch (error) {
      if (mine === turn) fail(error.message);
      return;
    }
    if (job.state === "done") return finish();
    if (job.state === "failed" || job.state === "cancelled") return fail(job.error || "This was cancelled.");
    progress();
    await new Promise((done) => setTimeout(done, LOOKS));
  }
}

function progress() {
  if (job.state === "waiting") {
    const others = job.before === 1 ? "another clip" : `${job.before} other clips`;
    working(job.before ? `Waiting for ${others}` : "Starting");
  } else if (!job.total) {
    working(job.step === "preview" ? "Making a copy that your browser plays" : `Loading ${job.model}`);
  } else {
    const title = job.step === "preview" ? "Making a copy that your browser plays" : "Making frames";
    const speed = job.speed ? `${number(job.speed, 1)} frames/s` : "";
    const facts = [`${job.done} of ${job.total} frames`, speed, left(job.left)];
    working(title, job.done / job.total, facts.filter(Boolean).join(" · "));
    if (job.done === job.total) working("Writing the file", 1, facts[0]);
  }
}

async function cancel() {
  const gone = job;
  turn += 1;
  upload?.abort();
  upload = job = null;
  history.replaceState(null, "", location.pathname);
  back();
  at("said").textContent = "Cancelled";
  if (gone !== null) end(gone);
}

function end(gone) {
  return ask(`jobs/${gone.id}`, { method: "DELETE" }).catch((error) => say(error.message));
}

// --- before and after ---

async function finish() {
  const mine = turn;
  const { slow, factor } = job;
  clip = job.clip;
  at("result-title").textContent = clip.name;
  const what = slow ? `${factor} times slower` : `${factor}× the frames`;
  at("result-facts").textContent = `${job.model}, ${what}; made in ${duration(job.took)}`;
  at("tag-before").textContent = slow ? "Before" : `Before · ${number(clip.fps)} fps`;
  at("tag-after").textContent = slow ? `After · ${factor}× slow` : `After · ${number(job.fps)} fps`;
  at("sound").hidden = slow;
  at("download").href = `api/jobs/${job.id}/download`;
  notes("result-notes", job.notes);
  show("result");
  at("result-title").focus({ preventScroll: true });
  const facts = { fps: job.fps, frames: job.frames, factor, slow, even: clip.even };
  await player.open(`api/jobs/${job.id}/before`, `api/jobs/${job.id}/after`, facts);
  if (mine !== turn || at("result").hidden) return;
  at("said").textContent = "Done: before and after can be watched";
  at("player").dataset.ready = "true";
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.toggle();
}

async function again() {
  turn += 1;
  job = null;
  history.replaceState(null, "", location.pathname);
  say("");
  await setup(clip);
}

function pressed(event) {
  if (at("result").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const tag = event.target.tagName;
  if (event.key === " " && !["BUTTON", "SELECT", "A"].includes(tag)) player.toggle();
  else if (["ArrowLeft", "ArrowRight"].includes(event.key) && !["SELECT", "INPUT"].includes(tag)) {
    player.step(event.key === "ArrowLeft" ? -1 : 1);
  } else return;
  event.preventDefault();
}

function offer() {
  at("model").replaceChildren(...choices.models.map((one) => new Option(one.title, one.key)));
  at("factors").replaceChildren(...choices.factors.flatMap((factor, index) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "factor", id: `factor-${factor}`, value: factor, checked: index === 0 });
    const label = document.createElement("label");
    label.htmlFor = input.id;
    label.textContent = `${factor}×`;
    return [input, label];
  }));
  const { bytes, seconds } = choices.limits;
  at("takes").textContent = `MP4, MOV, MKV, WebM, AVI, GIF and others, up to ${number(bytes / 1e6, 0)} MB and ${number(seconds / 60, 0)} minutes`;
}

function listen() {
  at("file").addEventListener("change", () => send(at("file").files[0]));
  // wherever on the page a clip is dropped
  let inside = 0;
  const over = (on) => at("drop").classList.toggle("over", on);
  addEventListener("dragenter", (event) => { inside += 1; over(true); event.preventDefault(); });
  addEventListener("dragleave", () => { inside -= 1; over(inside > 0); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    over(false);
    if (job === null || job.state === "done") send(event.dataTransfer.files[0]);
  });
  at("form").addEventListener("submit", start);
  at("form").addEventListener("input", outcome);
  at("cancel").addEventListener("click", cancel);
  at("again").addEventListener("click", again);
  for (const one of document.querySelectorAll(".another")) one.addEventListener("click", restart);
  at("back").addEventListener("click", () => player.step(-1));
  at("forth").addEventListener("click", () => player.step(1));
  at("speed").addEventListener("change", () => player.setSpeed(Number(at("speed").value)));
  toggle("view", (on) => player.setBeside(on));
  toggle("sound", (on) => { at("after").muted = !on; });
  at("full").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else at("player").requestFullscreen();
  });
  document.addEventListener("fullscreenchange", () => player.fit());
  addEventListener("keydown", pressed);
}

function toggle(id, does) {
  at(id).addEventListener("click", () => {
    const on = at(id).getAttribute("aria-pressed") !== "true";
    at(id).setAttribute("aria-pressed", on);
    does(on);
  });
}

async function begin() {
  listen();
  try {
    choices = await ask("choices");
    offer();
  } catch (error) {
    say(error.message);
    return;
  }
  if (!/^#[0-9a-f]{16}$/.test(location.hash)) return;
  try {
    job = await ask(`jobs/${location.hash.slice(1)}`); // the page was loaded anew
    clip = job.clip;
    follow();
  } catch (error) {
    restart();
    say(error.message);
  }
}

begin();
