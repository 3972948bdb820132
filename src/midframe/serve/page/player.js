// Two videos that run as one, a divider between them, and steps by single frames.

const SLOWEST = 1 / 16; // rates below are refused by browsers
const LOOSE = 0.12; // seconds of drift that are mended by a jump
const TIGHT = 0.012; // those that are mended by the rate

export class Player {
  constructor(parts) {
    Object.assign(this, parts); // before, after, stage, handle, figure, seek, clock, kind, play
    this.speed = 1;
    this.frame = 0;
    this.running = false;
    this.asked = 0; // for the next frame of the screen
    this.onFrame = this.onFrame.bind(this);
    this.play.addEventListener("click", () => this.toggle());
    this.seek.addEventListener("input", () => this.show(Number(this.seek.value)));
    this.after.addEventListener("ended", () => this.running && this.loop());
    divide(this);
  }

  // facts: fps of what was made, its frames, the factor, slow, even (whether times are)
  async open(beforeUrl, afterUrl, facts) {
    this.stop();
    this.facts = facts;
    this.ratio = facts.slow ? facts.factor : 1; // seconds of it for one of the clip
    this.before.src = beforeUrl;
    this.after.src = afterUrl;
    await Promise.all([this.before, this.after].map(loaded));
    const { videoWidth: width, videoHeight: height } = this.after;
    this.sizes = [width, height];
    this.fit();
    this.seek.max = facts.frames - 1;
    this.move(50);
    this.show(0);
  }

  close() {
    this.stop();
    for (const video of [this.before, this.after]) {
      video.removeAttribute("src");
      video.load();
    }
  }

  fit() {
    if (!this.sizes) return;
    const [width, height] = this.sizes;
    const across = this.figure.classList.contains("beside") ? 2 * width : width;
    this.stage.style.aspectRatio = `${across} / ${height}`;
    const taken = document.fullscreenElement ? 130 : 330; // pixels of what stands above and below
    this.stage.style.maxWidth = `min(100%, max(300px, (100vh - ${taken}px) * ${across / height}))`;
  }

  async toggle() {
    if (this.running) {
      this.stop();
      this.show(this.frame);
      return;
    }
    this.running = true;
    this.play.classList.add("playing");
    this.play.setAttribute("aria-label", "Pause");
    if (this.frame >= this.facts.frames - 1) await this.rewind();
    await this.go();
  }

  async go() {
    const rate = this.speed / this.ratio;
    this.after.playbackRate = this.speed;
    this.drives = rate < SLOWEST; // then the slow one is moved frame by frame
    if (!this.drives) this.before.playbackRate = rate;
    try {
      await Promise.all([this.after.play(), this.drives ? null : this.before.play()]);
    } catch {
      this.stop(); // it was stopped meanwhile
      return;
    }
    if (this.running) this.goOn();
  }

  // One chain of calls, however often it is begun: at a loop or another speed one runs already.
  goOn() {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(this.onFrame);
  }

  stop() {
    this.running = false;
    cancelAnimationFrame(this.asked);
    this.before.pause();
    this.after.pause();
    this.play.classList.remove("playing");
    this.play.setAttribute("aria-label", "Play");
  }

  async loop() {
    await this.rewind();
    if (this.running) await this.go();
  }

  rewind() {
    this.before.pause();
    return Promise.all([this.before, this.after].map((video) => jumped(video, 0)));
  }

  show(frame) {
    if (this.running) this.stop();
    this.frame = Math.max(0, Math.min(frame, this.facts.frames - 1));
    const time = (this.frame + 0.5) / this.facts.fps;
    this.after.currentTime = inside(this.after, time);
    this.before.currentTime = inside(this.before, time / this.ratio);
    this.tell();
  }

  step(by) {
    this.show(this.frame + by);
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.running) this.go();
  }

  onFrame() {
    if (!this.running) return;
    const wanted = this.after.currentTime / this.ratio;
    const drift = this.before.currentTime - wanted;
    const rate = this.speed / this.ratio;
    if (this.drives) {
      const length = this.facts.factor / this.facts.fps / this.ratio; // of a frame of the clip
      const middle = (Math.floor(wanted / length + 1e-3) + 0.5) * length;
      const there = Math.abs(this.before.currentTime - middle) < length / 4;
      if (!there && !this.before.seeking) this.before.currentTime = inside(this.before, middle);
    } else if (!this.before.seeking && !this.before.ended) {
      if (Math.abs(drift) > LOOSE) this.before.currentTime = wanted;
      const change = Math.abs(drift) > TIGHT ? Math.max(-0.1, Math.min(0.1, 2 * drift)) : 0;
      this.before.playbackRate = Math.max(SLOWEST, rate * (1 - change));
    }
    const frame = Math.floor(this.after.currentTime * this.facts.fps + 1e-3);
    if (frame !== this.frame) {
      this.frame = Math.min(frame, this.facts.frames - 1);
      this.tell();
    }
    this.goOn();
  }

  tell() {
    const { frames, fps, factor, even } = this.facts;
    const last = Math.floor((frames - 1) / factor) * factor; // which is shown as long as it was
    const between = this.frame % factor !== 0 && this.frame < last; // by its time: at a cut it repeats one
    const seconds = (this.frame / fps).toFixed(2);
    this.seek.value = this.frame;
    this.clock.textContent = `${this.frame + 1} / ${frames} · ${seconds} s`;
    this.kind.textContent = between ? "between two frames" : "frame of your clip";
    this.kind.classList.toggle("new", between);
    this.kind.hidden = !even;
    const kind = even ? `, ${this.kind.textContent}` : "";
    this.seek.setAttribute("aria-valuetext", `frame ${this.frame + 1} of ${frames}, ${seconds} seconds${kind}`);
  }

  move(at) {
    this.at = Math.max(0, Math.min(100, at));
    const beside = this.figure.classList.contains("beside");
    this.after.style.clipPath = beside ? "none" : `inset(0 0 0 ${this.at}%)`;
    this.handle.style.left = `${this.at}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.at));
  }

  setBeside(beside) {
    this.figure.classList.toggle("beside", beside);
    this.fit();
    this.move(this.at);
  }
}

function divide(player) {
  const { stage, handle } = player;
  let held = false;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    player.move((100 * (event.clientX - box.x)) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || player.figure.classList.contains("beside")) return;
    held = true;
    stage.setPointerCapture(event.pointerId);
    place(event);
    handle.focus({ preventScroll: true });
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => held && place(event));
  for (const kind of ["pointerup", "pointercancel"]) {
    stage.addEventListener(kind, () => { held = false; });
  }
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const moves = {
      ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step,
      PageDown: -10, PageUp: 10, Home: -100, End: 100,
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    player.move(player.at + moves[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });
}

function inside(video, time) {
  return Math.max(0, Math.min(time, (video.duration || time) - 0.001));
}

// Wait until a video shows its first frame; false if it never will.
export function loaded(video) {
  return new Promise((done) => {
    const end = (result) => {
      clearTimeout(timer);
      for (const kind of ["loadeddata", "error"]) video.removeEventListener(kind, said);
      done(result);
    };
    // a file whose sound alone is understood has no width
    const said = (event) => end(event.type === "loadeddata" && video.videoWidth > 0);
    const timer = setTimeout(() => end(false), 8000);
    for (const kind of ["loadeddata", "error"]) video.addEventListener(kind, said);
  });
}

function jumped(video, time) {
  return new Promise((done) => {
    video.addEventListener("seeked", done, { once: true });
    video.currentTime = time;
    setTimeout(done, 2000);
  });
}
